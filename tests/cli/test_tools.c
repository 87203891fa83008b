/* The subcommands beside run: verify against PyTorch's numbers, replay of a recording, view without a terminal, the schemas. */
#include "command.h"
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define REFERENCE TEST_SOURCE_DIR "/model/reference"

/* A copy of the reference with one byte of one file changed: `from_end` of its end, or of its start when negative. */
static char *reference_with_fault(const char *folder, const char *faulty, long from_end)
{
    char *copy = path_in(folder, faulty);
    assert_int_equal(mkdir(copy, 0755), 0);
    static const char *const names[] = {"weights.safetensors", "inputs.safetensors", "expected.safetensors"};
    for (size_t i = 0; i < 3; i++) {
        char *from = path_in(REFERENCE, names[i]), *to = path_in(copy, names[i]);
        FILE *in = fopen(from, "r"), *out = fopen(to, "w");
        assert_true(in && out);
        static char bytes[1 << 20];
        const size_t length = fread(bytes, 1, sizeof bytes, in);
        assert_in_range(length, 200, sizeof bytes - 1);
        if (strcmp(names[i], faulty) == 0)
            bytes[from_end > 0 ? length - (size_t)from_end : (size_t)-from_end] ^= 0x40;
        assert_int_equal(fwrite(bytes, 1, length, out), length);
        fclose(in);
        fclose(out);
        free(from);
        free(to);
    }
    return copy;
}

static void verify_against_pytorch(void **state)
{
    struct outcome outcome;
    steptop_run(&outcome, "verify", "--reference", REFERENCE, "-q", NULL);
    expect(&outcome, 0, "| bitwise ", "");
    assert_int_equal(count_of(outcome.output, "| ok "), 2); /* eager and compile */
    outcome_release(&outcome);
    /* The exponent of one number that PyTorch computed: found, and named. */
    char *wrong = reference_with_fault(*state, "expected.safetensors", 1);
    steptop_run(&outcome, "verify", "--reference", wrong, "-q", NULL);
    expect(&outcome, 1, NULL, NULL);
    assert_int_equal(count_of(outcome.output, "| ok "), 0);
    outcome_release(&outcome);
    char *broken = reference_with_fault(*state, "weights.safetensors", -20);
    steptop_run(&outcome, "verify", "--reference", broken, "-q", NULL);
    expect(&outcome, 3, "", "weights.safetensors");
    outcome_release(&outcome);
    free(wrong);
    free(broken);
}

/* A report in the place of what it is made from is refused, however that is spelled, before anything is computed. */
static void verify_spares_its_reference(void **state)
{
    struct outcome outcome;
    char *folder = path_in(*state, "spared"), *weights = path_in(folder, "../spared/weights.safetensors"),
         *hard = path_in(*state, "hard"), *command = NULL;
    assert_true(asprintf(&command,
                         "mkdir '%s' && cp '" REFERENCE "'/*.safetensors '%s/' && ln '%s/inputs.safetensors' '%s'",
                         folder, folder, folder, hard) > 0);
    assert_int_equal(system(command), 0);
    const char *const outputs[] = {weights, hard};
    for (int i = 0; i < 2; i++) {
        steptop_run(&outcome, "verify", "--reference", folder, "-o", outputs[i], NULL);
        expect(&outcome, 2, "", "that is the file that --reference reads");
        outcome_release(&outcome);
    }
    free(command);
    free(hard);
    free(weights);
    free(folder);
}

static void verify_against_the_reference_device(void **state)
{
    char *table = path_in(*state, "v.md");
    struct outcome outcome;
    steptop_run(&outcome, "verify", "-m", "tiny", "-b", "1", "-c", "9", "--compile", "true", "-o", table, NULL);
    expect(&outcome, 0, "", "verify cpu fp32 compile: tiny, B = 1, T = 9");
    char *text = file_get(table);
    assert_non_null(text);
    assert_int_equal(count_of(text, "| ok "), 1);
    assert_non_null(strstr(text, "attention swiglu"));
    free(text);
    outcome_release(&outcome);
    static const struct {
        const char *words[6];
        int code;
        const char *said;
    } wrong[] = {
        {{"verify", "--compile", "maybe"}, 2, "maybe"},
        {{"verify", "-b", "0"}, 2, "'0'"},
        {{"verify", "-m", "nobody"}, 2, "nobody"},
        {{"verify", "--dtype", "fp13"}, 2, "fp13"},
        {{"verify", "-d", "opencl:0"}, 4, "opencl"},
        {{"verify", "--reference", "/nonexistent"}, 3, "/nonexistent"},
        {{"verify", "-m", ","}, 2, "','"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        command_execute(&(struct command){.arguments = wrong[i].words}, &outcome);
        expect(&outcome, wrong[i].code, NULL, wrong[i].said);
        outcome_release(&outcome);
    }
    free(table);
}

/* A recording plays to the same table, byte for byte; cut short, it is told where. */
static void recordings_play_again(void **state)
{
    char *recording = path_in(*state, "r.rec"), *yaml = path_in(*state, "r.yaml");
    struct outcome run, replay;
    steptop_run(&run, "run", "-m", "tiny", "-b", "1", "-c", "16", "-p", "fwd,fwd_bwd", "-w", "1", "-n", "3", "-f",
                "seed", "-q", "--record", recording, NULL);
    expect(&run, 0, "|  0 | cpu ", ""); /* ok, or unreliable on a busy machine */
    steptop_run(&replay, "replay", recording, "-f", "seed", "-q", "-o", yaml, NULL);
    expect(&replay, 0, NULL, "");
    assert_string_equal(replay.output, run.output);
    outcome_release(&replay);
    char *text = file_get(yaml);
    assert_non_null(text);
    assert_non_null(strstr(text, "  name: replay"));
    assert_null(strstr(text, "kernels: []"));
    free(text);
    steptop_run(&replay, "replay", recording, "--speed", "max", "--batch", "-q", "-f", "seed", NULL);
    expect(&replay, 0, NULL, "");
    assert_string_equal(replay.output, run.output);
    outcome_release(&replay);
    outcome_release(&run);
    static const char *const speeds[] = {"0", "-1", "fast", "2x", "nan", ""};
    for (size_t i = 0; i < sizeof speeds / sizeof *speeds; i++) {
        steptop_run(&replay, "replay", recording, "--speed", speeds[i], NULL);
        expect(&replay, 2, "", "--speed");
        outcome_release(&replay);
    }
    struct stat status;
    assert_int_equal(stat(recording, &status), 0);
    assert_int_equal(truncate(recording, status.st_size - 100), 0);
    steptop_run(&replay, "replay", recording, "-f", "seed", NULL);
    expect(&replay, 3, "error: ", "cut short");
    outcome_release(&replay);
    steptop_run(&replay, "replay", yaml, "-f", "seed", NULL);
    expect(&replay, 3, "", "not a recording: 'steptop view ");
    outcome_release(&replay);
    free(recording);
    free(yaml);
}

static void view_needs_a_terminal(void **state)
{
    char *yaml = path_in(*state, "r.yaml");
    struct outcome outcome;
    steptop_run(&outcome, "run", "-m", "tiny", "-b", "1", "-c", "8", "-p", "fwd", "-n", "1", "-q", "-o", yaml, NULL);
    expect(&outcome, 0, NULL, "");
    outcome_release(&outcome);
    steptop_run(&outcome, "view", yaml, NULL);
    expect(&outcome, 2, "", "view needs a terminal");
    outcome_release(&outcome);
    steptop_run(&outcome, "view", "/nonexistent.yaml", NULL);
    expect(&outcome, 3, "", "/nonexistent.yaml");
    outcome_release(&outcome);
    free(yaml);
}

/* Each kind of file says which subcommand opens it, in every subcommand that reads another kind. */
static void wrong_files_name_their_subcommand(void **state)
{
    char *yaml = path_in(*state, "r.yaml"), *recording = path_in(*state, "r.rec"), *profile = path_in(*state, "p.yaml"),
         *json = path_in(*state, "r.json");
    struct outcome outcome;
    steptop_run(&outcome, "run", "-m", "tiny", "-b", "1", "-c", "8", "-p", "fwd", "-n", "1", "-q", "-o", yaml, "--json",
                json, "--record", recording, NULL);
    expect(&outcome, 0, NULL, "");
    outcome_release(&outcome);
    file_put(profile, "schema: steptop/profile/1\nname: p\n");
    const struct {
        const char *words[4], *said;
    } wrong[] = {
        {{"view", recording}, "r.rec is a recording, not a report: 'steptop replay "},
        {{"report", recording}, "r.rec is a recording, not a report: 'steptop replay "},
        {{"diff", yaml, recording}, "r.rec is a recording, not a report: 'steptop replay "},
        {{"diff", recording, yaml}, "r.rec is a recording, not a report: 'steptop replay "},
        {{"run", recording}, "r.rec is a recording, not a profile: 'steptop replay "},
        {{"run", "--resume", recording}, "r.rec is a recording, not a report: 'steptop replay "},
        {{"run", yaml}, "r.yaml is a report, not a profile: 'steptop view "},
        {{"run", json}, "r.json is a report, not a profile: 'steptop view "},
        {{"replay", yaml}, "r.yaml is a report, not a recording: 'steptop view "},
        {{"view", profile}, "p.yaml is a profile, not a report: 'steptop run "},
        {{"replay", profile}, "p.yaml is a profile, not a recording: 'steptop run "},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        command_execute(&(struct command){.arguments = wrong[i].words}, &outcome);
        expect(&outcome, 3, "", wrong[i].said);
        outcome_release(&outcome);
    }
    free(yaml);
    free(recording);
    free(profile);
    free(json);
}

/* A theme that there is not is refused by every subcommand with a screen, with or without a terminal. */
static void themes_are_checked_without_a_terminal(void **state)
{
    char *yaml = path_in(*state, "r.yaml");
    static const char *const commands[] = {"run", "attach", "view", "replay"};
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        struct outcome outcome;
        steptop_run(&outcome, commands[i], "--theme", "blue", yaml, NULL);
        expect(&outcome, 2, "", "--theme: there is no theme 'blue'");
        outcome_release(&outcome);
    }
    free(yaml);
}

/* Each command that the handout names for what a report cannot answer is one that steptop takes. */
static void the_handouts_commands_run(void **state)
{
    char *yaml = path_in(*state, "r.yaml");
    struct outcome handout, outcome;
    size_t commands = 0;
    steptop_run(&outcome, "run", "-m", "tiny", "-b", "1", "-c", "8", "-p", "fwd", "-n", "1", "-q", "-o", yaml, NULL);
    expect(&outcome, 0, NULL, "");
    outcome_release(&outcome);
    steptop_run(&handout, "report", yaml, "--handout", NULL);
    expect(&handout, 0, "## 2.1.3 b", "");
    for (char *at = handout.output; (at = strstr(at, "`steptop run")); commands++) {
        const char *words[24] = {0};
        size_t count = 0;
        char *end = strchr(++at, '`'), *rest = NULL;
        assert_non_null(end);
        *end = 0;
        for (char *word = strtok_r(at + strlen("steptop "), " ", &rest); word; word = strtok_r(NULL, " ", &rest))
            words[count++] = word;
        words[count] = "--dry-run";
        command_execute(&(struct command){.arguments = words, .folder = *state}, &outcome);
        expect(&outcome, 0, NULL, "");
        outcome_release(&outcome);
        at = end + 1;
    }
    assert_true(commands > 10);
    outcome_release(&handout);
    free(yaml);
}

/* What can be written in one subcommand that measures can be written in each. */
static void every_file_from_every_run(void **state)
{
    (void)state;
    static const char *const commands[] = {"run", "attach", "replay", "report"};
    static const char *const files[] = {"--markdown FILE", "--csv FILE",      "--json FILE",
                                        "--svg FILE",      "--perfetto FILE", "--html FILE"};
    for (size_t c = 0; c < sizeof commands / sizeof *commands; c++) {
        struct outcome outcome;
        steptop_run(&outcome, commands[c], "--help", NULL);
        for (size_t f = 0; f < sizeof files / sizeof *files; f++)
            expect(&outcome, 0, files[f], "");
        outcome_release(&outcome);
    }
}

static void diff_across_an_axis(void **state)
{
    char *yaml = path_in(*state, "r.yaml");
    struct outcome outcome;
    steptop_run(&outcome, "run", "-m", "tiny", "-b", "1", "-c", "8,16", "--compile", "false,true", "-p", "fwd", "-n",
                "4", "-q", "-o", yaml, NULL);
    expect(&outcome, 0, NULL, "");
    outcome_release(&outcome);
    steptop_run(&outcome, "diff", "--across", "compile", yaml, NULL);
    expect(&outcome, 0, "b1 · c8 · fp32 · compile · cpu: eager → compiled\n", "");
    assert_int_equal(count_of(outcome.output, ": eager → compiled\n"), 2);
    outcome_release(&outcome);
    steptop_run(&outcome, "diff", "--across", "context", yaml, "-f", "markdown", NULL);
    expect(&outcome, 0, "| context_length   | base   |", "");
    assert_non_null(strstr(outcome.output, "in ms a thousand tokens"));
    outcome_release(&outcome);
    static const struct {
        const char *axis, *said;
        int code;
    } wrong[] = {{"colour", "there are device, model, d_model", 2}, {"dtype", "no two cells differ in dtype alone", 3}};
    for (size_t i = 0; i < 2; i++) {
        steptop_run(&outcome, "diff", "--across", wrong[i].axis, yaml, NULL);
        expect(&outcome, wrong[i].code, "", wrong[i].said);
        outcome_release(&outcome);
    }
    steptop_run(&outcome, "diff", yaml, NULL);
    expect(&outcome, 2, "", "'diff' needs BEFORE AFTER, or --across");
    outcome_release(&outcome);
    free(yaml);
}

static void schemas_are_json(void **state)
{
    (void)state;
    static const struct {
        const char *topic, *key;
    } schemas[] = {{"profile-schema", "matrix"}, {"report-schema", "cells"}};
    for (size_t i = 0; i < 2; i++) {
        struct outcome outcome;
        json_error_t problem;
        steptop_run(&outcome, "help", schemas[i].topic, NULL);
        expect(&outcome, 0, NULL, "");
        json_t *schema = json_loads(outcome.output, JSON_REJECT_DUPLICATES, &problem);
        if (!schema)
            fail_msg("%s: line %d: %s", schemas[i].topic, problem.line, problem.text);
        assert_string_equal(json_string_value(json_object_get(schema, "$schema")),
                            "https://json-schema.org/draft/2020-12/schema");
        assert_non_null(json_object_get(json_object_get(schema, "properties"), schemas[i].key));
        json_decref(schema);
        outcome_release(&outcome);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_setup, folder_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(verify_against_pytorch),
        TEST(verify_against_the_reference_device),
        TEST(recordings_play_again),
        TEST(view_needs_a_terminal),
        TEST(schemas_are_json),
        TEST(wrong_files_name_their_subcommand),
        TEST(every_file_from_every_run),
        TEST(the_handouts_commands_run),
        TEST(diff_across_an_axis),
        TEST(themes_are_checked_without_a_terminal),
        TEST(verify_spares_its_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
