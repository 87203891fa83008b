/* steptop run without a screen: from profile and flags to files and exit codes, what refuses to run, what happens to a run that
 * is interrupted, resumed, out of memory or cannot write. */
#include "command.h"
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
/* clang-format off: cmocka.h needs the headers above it */
#include <cmocka.h>
/* clang-format on */

#define BEGUN "[1/1] tiny"
/* The least there is to run. */
#define SMALL "-m", "tiny", "-b", "1", "-c", "8", "-n", "1", "-w", "0", "-p", "fwd"

static void a_run_writes_its_files(void **state)
{
    struct outcome outcome;
    char *yaml = path_in(*state, "r.yaml"), *again = path_in(*state, "again.yaml");
    steptop_run(&outcome, "run", SMALL, "-p", "fwd", NULL);
    expect(&outcome, 2, "", "--passes is given twice");
    outcome_release(&outcome);
    steptop_run(&outcome, "run", SMALL, "-o", yaml, "--format", "seed", NULL);
    expect(&outcome, 0, "|  0 | cpu      |            1 | False     | tiny    |                8 |", "[1/1] tiny");
    assert_non_null(strstr(outcome.output, "| ok       |"));
    assert_null(strchr(outcome.errors, '\x1b'));
    assert_null(strchr(outcome.errors, '\r'));
    char *report = file_get(yaml);
    assert_non_null(report);
    assert_int_equal(strncmp(report, "schema: steptop/report/1\n", 25), 0);
    assert_non_null(strstr(report, "status: ok"));
    outcome_release(&outcome);
    /* Resuming runs nothing again: same samples. */
    steptop_run(&outcome, "run", SMALL, "--resume", yaml, "-o", again, "-f", "seed", NULL);
    expect(&outcome, 0, "| ok       |", NULL);
    assert_null(strstr(outcome.errors, "[1/1]"));
    char *second = file_get(again);
    assert_non_null(strstr(second, "status: ok"));
    const char *samples = strstr(report, "samples_ns");
    assert_non_null(samples);
    char line[200];
    snprintf(line, sizeof line, "%.*s", (int)strcspn(samples, "\n"), samples);
    assert_non_null(strstr(second, line));
    outcome_release(&outcome);
    /* More cells: the old one is kept, the new one runs, and the file goes on. */
    steptop_run(&outcome, "run", "-m", "tiny", "-b", "1,2", "-c", "8", "-n", "1", "-w", "0", "-p", "fwd", "--resume",
                yaml, "-f", "seed", NULL);
    expect(&outcome, 0, NULL, "[1/1] tiny · b2");
    free(second);
    second = file_get(yaml);
    assert_int_equal(count_of(second, "status: ok"), 2);
    assert_non_null(strstr(second, line));
    outcome_release(&outcome);
    /* A report of something else. */
    steptop_run(&outcome, "run", "-m", "tiny", "-c", "16", "--resume", yaml, NULL);
    expect(&outcome, 3, "", "none of its 2 cells");
    outcome_release(&outcome);
    free(report);
    free(second);
    free(yaml);
    free(again);
}

/* The file's text with the first `from` replaced, written back; fails where it is not there. */
static void file_edit(const char *path, const char *from, const char *to)
{
    char *text = file_get(path), *place = strstr(text, from), *edited = NULL;
    if (!place)
        fail_msg("no '%s' in %s", from, path);
    assert_true(asprintf(&edited, "%.*s%s%s", (int)(place - text), text, to, place + strlen(from)) > 0);
    file_put(path, edited);
    free(edited);
    free(text);
}

/* A report that goes on elsewhere: its head is of now, its old cells say where and when they were measured. */
static void resumed_cells_say_where_they_are_from(void **state)
{
    struct outcome outcome;
    char *yaml = path_in(*state, "r.yaml");
    steptop_run(&outcome, "run", SMALL, "-o", yaml, "-f", "seed", "-q", NULL);
    expect(&outcome, 0, "| ok ", NULL);
    outcome_release(&outcome);
    char host[256], line[300];
    assert_int_equal(gethostname(host, sizeof host), 0);
    snprintf(line, sizeof line, "hostname: %s", host);
    file_edit(yaml, line, "hostname: elsewhere");
    file_edit(yaml, "created: \"2", "created: \"1");
    for (int again = 0; again < 2; again++) {
        steptop_run(&outcome, "run", "-m", "tiny", "-b", "1,2", "-c", "8", "-n", "1", "-w", "0", "-p", "fwd",
                    "--resume", yaml, "-f", "seed", "-q", NULL);
        expect(&outcome, 0, NULL, NULL);
        outcome_release(&outcome);
        char *text = file_get(yaml);
        assert_non_null(strstr(text, "\ncreated: \"2"));
        assert_int_equal(count_of(text, "elsewhere"), 1); /* the note's, the head's is gone */
        const char *note = strstr(text, "key: measured");
        assert_non_null(note);
        assert_non_null(strstr(note, " on elsewhere, by steptop "));
        assert_int_equal(count_of(text, "key: measured"), 1 + again);
        free(text);
    }
    /* Unsupported because the device could not be opened: another time it may be there. */
    file_edit(yaml, "status: ok", "status: unsupported");
    steptop_run(&outcome, "run", SMALL, "--resume", yaml, "-f", "seed", NULL);
    expect(&outcome, 0, NULL, NULL);
    assert_null(strstr(outcome.errors, "[1/1]"));
    outcome_release(&outcome);
    file_edit(yaml, "      name: cpu", "      name: \"\"");
    steptop_run(&outcome, "run", SMALL, "--resume", yaml, "-f", "seed", NULL);
    expect(&outcome, 0, NULL, "[1/1] tiny · b1");
    outcome_release(&outcome);
    free(yaml);
}

/* A picture that cannot be written costs the picture, not the report. */
static void a_report_without_a_picture(void **state)
{
    struct outcome outcome;
    char *yaml = path_in(*state, "r.yaml"), *markdown = path_in(*state, "w.md"),
         *picture = path_in(*state, "w-1-classes.svg");
    steptop_run(&outcome, "run", SMALL, "-o", yaml, "-f", "seed", "-q", NULL);
    outcome_release(&outcome);
    assert_int_equal(mkdir(picture, 0755), 0);
    steptop_run(&outcome, "report", yaml, "-o", markdown, NULL);
    expect(&outcome, 1, "", "w-1-classes.svg");
    outcome_release(&outcome);
    char *text = file_get(markdown);
    assert_non_null(text);
    assert_non_null(strstr(text, "![layers of tiny · b1 · c8 · fp32 · eager · cpu](w-1-layers.svg)"));
    assert_null(strstr(text, "(w-1-classes.svg)"));
    free(text);
    /* Standard output, said aloud. */
    steptop_run(&outcome, "report", yaml, "-f", "yaml", "-o", "-", NULL);
    expect(&outcome, 0, "schema: steptop/report/1\n", "");
    outcome_release(&outcome);
    steptop_run(&outcome, "diff", yaml, yaml, "-o", "-", NULL);
    expect(&outcome, 0, "No regression.", "");
    outcome_release(&outcome);
    free(yaml), free(markdown), free(picture);
}

static void sweeps_and_dry_runs(void **state)
{
    (void)state;
    struct outcome outcome;
    steptop_run(&outcome, "run", "--dry-run", "--model", "S,M", "--context-length", "128,256,512", "--compile",
                "false,true", NULL);
    expect(&outcome, 0, "| fits   |", "");
    assert_int_equal(count_of(outcome.output, "| cpu "), 12);
    assert_int_equal(count_of(outcome.output, "| yes "), 12);
    outcome_release(&outcome);
    /* What cells differ in is a column. */
    steptop_run(&outcome, "run", "--dry-run", "-m", "tiny", "--repetitions", "2", NULL);
    expect(&outcome, 0, "|   repetition |", "");
    outcome_release(&outcome);
    steptop_run(&outcome, "run", "--dry-run", "-m", "tiny,XL", "-b", "64", "-c", "4096", "--seed", "1,2", "--threads",
                "1,2", "--on-oom", "skip_larger", NULL);
    expect(&outcome, 0, "|   threads |   seed |", "");
    expect(&outcome, 0, "8 cells, ", "");
    expect(&outcome, 0, "of which will not fit (status oom; on_oom: skip_larger skips what needs more)", "");
    outcome_release(&outcome);
    /* On the CPU all ranks have to fit together: of batches that are eight times one another, each a rank's, fewer do. */
    size_t fitting[2];
    for (int i = 0; i < 2; i++) {
        steptop_run(&outcome, "run", "--dry-run", "-m", "tiny", "-c", "256", "-b", "1,8,64,512,4096,32768,262144",
                    "--parallel", "none", "--ranks", i ? "64" : "1", NULL);
        expect(&outcome, 0, "| fits ", "");
        fitting[i] = (size_t)count_of(outcome.output, "| yes ");
        assert_int_equal(strstr(outcome.output, "all ranks of a cell have to fit together") != NULL, i);
        outcome_release(&outcome);
    }
    assert_true(fitting[0] > fitting[1]);
    /* A small cell that took mostly its start says little about a large one, and one that does not fit takes no time. */
    steptop_run(&outcome, "run", "-m", "attention", "-b", "1", "-c", "8,16,65536", "-n", "1", "-w", "0", "--num-heads",
                "64", "--d-model", "128", "-f", "seed", NULL);
    expect(&outcome, 1, "oom: ", "[2/3] attention-d128-h64");
    assert_null(strstr(outcome.errors, " min "));
    assert_null(strstr(outcome.errors, " h "));
    outcome_release(&outcome);
    /* More than any machine has. */
    steptop_run(&outcome, "run", "--dry-run", "-m", "XL", "-b", "64", "-c", "4096", NULL);
    expect(&outcome, 0, "| no     |", "");
    outcome_release(&outcome);
    steptop_run(&outcome, "run", "-m", "tiny,XL", "-b", "64", "-c", "8192", "--on-oom", "skip_larger", "-f", "seed",
                NULL);
    expect(&outcome, 1, "oom: ", "skipped: plans ");
    outcome_release(&outcome);
    steptop_run(&outcome, "run", "-m", "tiny", "-b", "1", "-c", "8", "-p", "fwd", "-w", "0,2", "-n", "2", "--seed",
                "1,2", "-f", "seed", NULL);
    expect(&outcome, 0, "|  3 |", "[4/4]");
    outcome_release(&outcome);
}

static void a_device_that_is_not_there(void **state)
{
    (void)state;
    struct outcome outcome;
    const char *const words[] = {"run", SMALL, "-d", "cuda:0", "-f", "seed", NULL};
    const char *const environment[] = {"STEPTOP_PLUGIN_FOLDER=/nonexistent", "CUDA_VISIBLE_DEVICES=", NULL};
    command_execute(&(struct command){.arguments = words, .environment = environment}, &outcome);
    expect(&outcome, 4, "unsupported: ", "cuda");
    outcome_release(&outcome);
    steptop_run(&outcome, "run", SMALL, "-d", "opencl:0", "-f", "seed", NULL);
    expect(&outcome, 4, NULL, "opencl");
    outcome_release(&outcome);
    /* One that is there beside it: some cell failed. */
    const char *const both[] = {"run", SMALL, "-d", "cpu,cuda:7", "-f", "seed", NULL};
    command_execute(&(struct command){.arguments = both, .environment = environment}, &outcome);
    expect(&outcome, 1, "| ok ", "[2/2]");
    outcome_release(&outcome);
}

static void bad_input_runs_nothing(void **state)
{
    char *yaml = path_in(*state, "precious.yaml"), *folder = path_in(*state, "folder"), *link = path_in(*state, "link");
    char *missing = path_in(*state, "missing/r.yaml"), *bad = path_in(*state, "bad.yaml"),
         *binary = path_in(*state, "b.yaml"), *absent = path_in(*state, "absent.yaml"),
         *markdown = path_in(*state, "w.md"), *picture = path_in(*state, "w-1-classes.svg");
    file_put(yaml, "precious");
    file_put(bad, "schema: steptop/profile/1\nmatrix: {contxt_length: [8]}\n");
    file_put(binary, "\x7f"
                     "ELF\x02\x01\x01");
    mkdir(folder, 0755);
    assert_int_equal(symlink(yaml, link), 0);
    const struct {
        const char *words[10];
        int code;
        const char *said;
    } wrong[] = {
        {{"run", "--model", "Q"}, 2, "--model: no model is called 'Q'"},
        {{"run", "--steps", "0"}, 2, "--steps: steps 0 is out of range"},
        {{"run", "--steps", "many"}, 2, "--steps: 'many' is not"},
        {{"run", "--dtype", "fp64"}, 2, "--dtype: 'fp64'"},
        {{"run", "--d-model", "100"}, 2, "d_model 100 is not a multiple of num_heads 12"},
        {{"run", "--context-length", "4294967296"}, 2, "--context-length: "},
        {{"run", "--batch-size", "2147483647", "--context-length", "2147483647"},
         2,
         "batch_size 2147483647 is out of range: it is a whole number from 1 to"},
        {{"run", "--format", "pdf", "-m", "tiny"}, 2, "pdf"},
        {{"run", "--timeout", "-1"}, 2, "--timeout: timeout_s -1"},
        {{"run", "--theme", "x", "--timeout", "3"}, 2, "--theme: there is no theme 'x'"},
        {{"run", bad}, 3, ":2:10: error: 'contxt_length' is not a matrix key; did you mean 'context_length'?"},
        {{"run", binary}, 3, "b.yaml:1:1: error: "},
        {{"run", "/nonexistent/profile.yaml"}, 3, "cannot read /nonexistent/profile.yaml: No such file"},
        {{"run", folder}, 3, "a folder, not a file"},
        {{"run", "/dev/zero"}, 3, "not a file"},
        {{"run", "sed"}, 3, "did you mean 'seed'?"},
        {{"run", "-o", folder}, 2, "that is a folder"},
        {{"run", "-o", link}, 2, "a symbolic link, which is not followed"},
        {{"run", "-o", missing}, 2, "there is no folder"},
        {{"run", "-o", "/proc/r.yaml"}, 2, "cannot write to the folder /proc"},
        {{"run", "-o", yaml, "--markdown", yaml}, 2, "--output writes to this file already"},
        {{"run", "-o", "-"}, 2, "--output -: this file is written whole and renewed"},
        {{"run", "--csv", "-"}, 2, "--csv -: "},
        {{"run", "--markdown", markdown, "--svg", picture}, 2, "w-1-classes.svg: a picture beside "},
        {{"run", "--resume", folder}, 2, "--resume "},
        {{"run", "--resume", yaml}, 3, "precious.yaml"},
        {{"run", "--resume", absent}, 3, "absent.yaml"},
        {{"worker", "99", "98"}, 2, "worker is not for people"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct outcome outcome;
        if (strcmp(wrong[i].said, "cannot write to the folder /proc") == 0 && geteuid() == 0)
            continue; /* root may write anywhere; the open fails later and says so */
        command_execute(&(struct command){.arguments = wrong[i].words}, &outcome);
        expect(&outcome, wrong[i].code, "", wrong[i].said);
        assert_string_equal(outcome.output, "");
        outcome_release(&outcome);
        char *text = file_get(yaml);
        assert_string_equal(text, "precious");
        free(text);
    }
    free(yaml), free(folder), free(link), free(missing), free(bad), free(binary), free(absent);
    free(markdown), free(picture);
}

static void profile_from_standard_input(void **state)
{
    (void)state;
    struct outcome outcome;
    const char *const words[] = {"run", "-", "-f", "seed", "-q", NULL};
    command_execute(
        &(struct command){.arguments = words,
                          .input =
                              "schema: steptop/profile/1\nmodels: [tiny]\nmatrix: {batch_size: 1, context_length: 8}\n"
                              "measure: {passes: [fwd], steps: 1, warmup: 0}\n"},
        &outcome);
    expect(&outcome, 0, "| tiny    |", "");
    assert_string_equal(outcome.errors, "");
    outcome_release(&outcome);
    command_execute(&(struct command){.arguments = words, .input = "schema: 3\n"}, &outcome);
    expect(&outcome, 3, "", "standard input:1:9: error: the schema '3'");
    outcome_release(&outcome);
    command_execute(&(struct command){.arguments = words, .close_input = true}, &outcome);
    expect(&outcome, 3, "", "standard input");
    outcome_release(&outcome);
}

/* ^C in the middle: exit 130, the file is a valid report with the finished cell in it, and no worker is left. */
static void interrupted_runs_keep_what_they_have(void **state)
{
    struct outcome outcome;
    char *yaml = path_in(*state, "r.yaml");
    const char *const words[] = {"run", "-m",  "tiny", "-b",      "1",  "-c", "8",  "-w",   "0",
                                 "-p",  "fwd", "-n",   "forever", "-o", yaml, "-f", "seed", NULL};
    command_execute(&(struct command){.arguments = words, .signal = SIGINT, .signal_after = BEGUN}, &outcome);
    expect(&outcome, 130, "interrupted", "stopping the run");
    char *text = file_get(yaml);
    assert_non_null(text);
    assert_non_null(strstr(text, "status: interrupted"));
    assert_int_equal(workers_alive(), 0);
    outcome_release(&outcome);
    /* It can be resumed. */
    steptop_run(&outcome, "run", SMALL, "--resume", yaml, "-f", "seed", NULL);
    expect(&outcome, 3, "", "none of its 1 cells");
    outcome_release(&outcome);
    command_execute(&(struct command){.arguments = words, .signal = SIGTERM, .signal_after = BEGUN}, &outcome);
    expect(&outcome, 143, "interrupted", NULL);
    assert_int_equal(workers_alive(), 0);
    outcome_release(&outcome);
    /* Twice: at once. */
    command_execute(
        &(struct command){
            .arguments = words, .signal = SIGINT, .signal_after = BEGUN, .second_signal_after = "stopping the run"},
        &outcome);
    assert_int_equal(outcome.code, 130);
    assert_true(outcome.seconds < 6);
    outcome_release(&outcome);
    /* Killed outright: the worker goes too. */
    command_execute(&(struct command){.arguments = words, .signal = SIGKILL, .signal_after = BEGUN}, &outcome);
    assert_int_equal(outcome.code, 128 + SIGKILL);
    for (int i = 0; i < 10 && workers_alive(); i++)
        usleep(100000);
    assert_int_equal(workers_alive(), 0);
    outcome_release(&outcome);
    free(text);
    free(yaml);
}

static void timeouts_end_a_cell(void **state)
{
    (void)state;
    struct outcome outcome;
    steptop_run(&outcome, "run", "-m", "tiny", "-b", "1", "-c", "8", "-w", "0", "-p", "fwd", "-n", "forever",
                "--timeout", "1", "-f", "seed", NULL);
    expect(&outcome, 1, "timeout", "timeout after");
    outcome_release(&outcome);
}

/* A full disk: the error is told, the old file is whole, nothing half written is left beside it. The small disk is a tmpfs in
 * a mount namespace of our own, where the system lets us have one. */
static void full_disks_leave_the_old_file(void **state)
{
    struct outcome outcome;
    char script[1200];
    snprintf(
        script, sizeof script,
        "unshare -Urm sh -c 'mount -t tmpfs -o size=8k tmpfs %1$s && printf whole > %1$s/r.yaml && "
        "{ \"%2$s\" run -m tiny -b 1 -c 8 -n 1 -w 0 -p fwd -o %1$s/r.yaml -f seed >/dev/null 2>%1$s.said; echo $? > "
        "%1$s.code; "
        "ls %1$s > %1$s.list; cp %1$s/r.yaml %1$s.kept; }' 2>/dev/null",
        (char *)*state, STEPTOP_BINARY);
    if (system(script) == 0) {
        static const char *const wanted[][2] = {
            {".code", "1\n"}, {".list", "r.yaml\n"}, {".kept", "whole"}, {".said", "cannot write"}};
        for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
            char path[300];
            snprintf(path, sizeof path, "%s%s", (char *)*state, wanted[i][0]);
            char *text = file_get(path);
            assert_non_null(text);
            if (!(i < 3 ? strcmp(text, wanted[i][1]) == 0 : strstr(text, "No space left on device") != NULL))
                fail_msg("%s: '%s'", path, text);
            free(text);
            unlink(path);
        }
    } else
        print_message("no mount namespace here: the small disk is left out\n");
    const char *const plain[] = {"run", SMALL, "-f", "seed", NULL};
    command_execute(&(struct command){.arguments = plain, .output_to = "/dev/full"}, &outcome);
    expect(&outcome, 1, "", "cannot write to standard output");
    outcome_release(&outcome);
}

/* A folder that cannot be written to: said before anything is measured, the old file whole. Root may write anywhere, so the
 * folder is a file system mounted read-only, where the system lets us. */
static void read_only_folders_are_told_first(void **state)
{
    char script[1200];
    snprintf(script, sizeof script,
             "unshare -Urm sh -c 'mount -t tmpfs -o size=64k tmpfs %1$s && printf whole > %1$s/r.yaml && "
             "mount -o remount,ro %1$s && { \"%2$s\" run -m tiny -b 1 -c 8 -n forever -p fwd -o %1$s/r.yaml -f seed "
             ">%1$s.output 2>%1$s.said; echo $? > %1$s.code; cp %1$s/r.yaml %1$s.kept; "
             "\"%2$s\" report %1$s/r.yaml -o %1$s/new.yaml 2>>%1$s.said; ls %1$s > %1$s.list; }' 2>/dev/null",
             (char *)*state, STEPTOP_BINARY);
    if (system(script) != 0) {
        print_message("no mount namespace here: the read-only folder is left out\n");
        return;
    }
    static const char *const wanted[][2] = {{".code", "2\n"},
                                            {".kept", "whole"},
                                            {".list", "r.yaml\n"},
                                            {".output", ""},
                                            {".said", "Read-only file system"}};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        char path[300];
        snprintf(path, sizeof path, "%s%s", (char *)*state, wanted[i][0]);
        char *text = file_get(path);
        assert_non_null(text);
        if (!(i < 4 ? strcmp(text, wanted[i][1]) == 0 : strstr(text, wanted[i][1]) != NULL))
            fail_msg("%s: '%s'", path, text);
        free(text);
        unlink(path);
    }
}

static void plain_surroundings(void **state)
{
    (void)state;
    static const char *const surroundings[][5] = {
        {"LANG=C", "LC_ALL=C", NULL},
        {"TERM=dumb", "NO_COLOR=1", "HOME", NULL},
        {"XDG_CACHE_HOME=/proc/nowhere", "HOME=/proc/nowhere", NULL},
        {"OMP_NUM_THREADS=64", "LANG=de_DE.UTF-8", "LC_NUMERIC=de_DE.UTF-8", NULL}};
    for (size_t i = 0; i < sizeof surroundings / sizeof *surroundings; i++) {
        struct outcome outcome;
        const char *const words[] = {"run", SMALL, "-f", "seed", NULL};
        command_execute(&(struct command){.arguments = words, .environment = surroundings[i], .close_input = i == 0},
                        &outcome);
        expect(&outcome, 0, "| ok ", NULL);
        for (const char *c = outcome.errors; i == 0 && *c; c++)
            assert_true((unsigned char)*c < 0x80);
        outcome_release(&outcome);
    }
}

/* A machine with less memory than the model: a status with the two numbers, never a crash of the front. */
static void little_memory(void **state)
{
    (void)state;
#ifdef __SANITIZE_ADDRESS__
    skip(); /* the sanitizer itself needs terabytes of address space */
#endif
    struct outcome outcome;
    const char *const words[] = {"run", "-m", "S", "-n", "1", "-w", "0", "-p", "fwd", "-f", "seed", NULL};
    command_execute(&(struct command){.arguments = words, .memory_limit = (size_t)1 << 30}, &outcome);
    expect(&outcome, 1, "oom", "oom after");
    outcome_release(&outcome);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_setup, folder_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_run_writes_its_files),
        TEST(resumed_cells_say_where_they_are_from),
        TEST(a_report_without_a_picture),
        TEST(sweeps_and_dry_runs),
        TEST(a_device_that_is_not_there),
        TEST(bad_input_runs_nothing),
        TEST(profile_from_standard_input),
        TEST(interrupted_runs_keep_what_they_have),
        TEST(timeouts_end_a_cell),
        TEST(full_disks_leave_the_old_file),
        TEST(read_only_folders_are_told_first),
        TEST(plain_surroundings),
        TEST(little_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
