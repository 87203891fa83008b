/* The command line: help, version, completions, and every bad word refused with one clear sentence and the right code. */
#include "command.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* clang-format off: cmocka.h needs the headers above it */
#include <cmocka.h>
/* clang-format on */

#define IN_SHELL "'" STEPTOP_BINARY "'" /* its folder may have spaces */

static int lines(const char *text)
{
    int count = 0;
    for (; *text; text++)
        count += *text == '\n';
    return count;
}

static void help_and_version(void **state)
{
    (void)state;
    struct outcome outcome;
    steptop_run(&outcome, "--version", NULL);
    expect(&outcome, 0, "steptop 0.2.0 (commit ", NULL);
    assert_int_equal(lines(outcome.output), 1);
    outcome_release(&outcome);
    steptop_run(&outcome, "--help", NULL);
    expect(&outcome, 0, "--context-length LIST", NULL);
    assert_non_null(strstr(outcome.output, "steptop run [OPTION...] [PROFILE]"));
    assert_null(strstr(outcome.output, "worker"));
    assert_string_equal(outcome.errors, "");
    char *whole = strdup(outcome.output);
    outcome_release(&outcome);
    steptop_run(&outcome, "help", NULL);
    expect(&outcome, 0, whole, NULL);
    outcome_release(&outcome);
    free(whole);
    static const char *const commands[] = {"run", "devices", "profiles", "help", "version"};
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        steptop_run(&outcome, commands[i], "--help", NULL);
        expect(&outcome, 0, "usage: steptop ", "");
        assert_non_null(strstr(outcome.output, commands[i]));
        outcome_release(&outcome);
    }
}

/* What the tables say must be what the shells are told: every long option of --help is in each script and in the page. */
static void completions_and_man_page_have_every_option(void **state)
{
    (void)state;
    static const char *const topics[] = {"man", "bash", "zsh", "fish"};
    struct outcome help, topic;
    steptop_run(&help, "--help", NULL);
    for (size_t i = 0; i < sizeof topics / sizeof *topics; i++) {
        steptop_run(&topic, "help", topics[i], NULL);
        assert_int_equal(topic.code, 0);
        int options = 0;
        for (const char *at = help.output; (at = strstr(at, "    --")) || 0; at++) {
            char name[64], wanted[160] = "";
            snprintf(name, sizeof name, "%.*s", (int)strcspn(at + 6, " \n"), at + 6);
            if (strcmp(topics[i], "man") == 0) {
                strcpy(wanted, "\\-\\-");
                for (const char *c = name; *c; c++)
                    sprintf(wanted + strlen(wanted), *c == '-' ? "\\-" : "%c", *c);
            } else
                snprintf(wanted, sizeof wanted, strcmp(topics[i], "fish") == 0 ? "-l %s" : "--%s", name);
            if (!strstr(topic.output, wanted))
                fail_msg("%s lacks %s", topics[i], wanted);
            options++;
        }
        assert_true(options > 15);
        outcome_release(&topic);
    }
    outcome_release(&help);
}

/* What the program returns, writes as a status and looks at in its surroundings is all in the man page. */
static void man_page_has_the_words_of_the_program(void **state)
{
    (void)state;
    static const char *const words[] = {".B 0\n",
                                        ".B 1\n",
                                        ".B 2\n",
                                        ".B 3\n",
                                        ".B 4\n",
                                        ".B 5\n",
                                        ".B 6\n",
                                        ".B 130\n",
                                        ".B 143\n",
                                        ".B pending\n",
                                        ".B running\n",
                                        ".B ok\n",
                                        ".B oom\n",
                                        ".B timeout\n",
                                        ".B error\n",
                                        ".B killed\n",
                                        ".B skipped\n",
                                        ".B unsupported\n",
                                        ".B unreliable\n",
                                        ".B interrupted\n",
                                        ".B NO_COLOR\n",
                                        ".B TERM\n",
                                        ".B STEPTOP_PROFILE_FOLDER\n",
                                        ".B STEPTOP_PLUGIN_FOLDER\n"};
    struct outcome man;
    steptop_run(&man, "help", "man", NULL);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        expect(&man, 0, words[i], "");
    assert_null(strstr(man.output, "(null)"));
    /* Of its own variables all that its sources ask for. */
    FILE *grep = popen("cd " TEST_SOURCE_DIR
                       "/.. && grep -rhoE 'getenv\\(\"STEPTOP_[A-Z_]+' base cli kernels model profiler profiles "
                       "report tui worker --include=*.c",
                       "r");
    char line[128];
    int variables = 0;
    for (; fgets(line, sizeof line, grep); variables++) {
        char wanted[160];
        line[strcspn(line, "\n")] = 0;
        snprintf(wanted, sizeof wanted, ".B %s\n", strchr(line, '"') + 1);
        expect(&man, 0, wanted, "");
    }
    pclose(grep);
    assert_true(variables >= 4);
    outcome_release(&man);
}

/* What there is help on is told by the refusal, by the usage, and by what shells offer; and there is help on it. */
static void topics_of_help(void **state)
{
    (void)state;
    static const char *const told[] = {"--help", "bash", "zsh", "fish"};
    struct outcome refusal, usage[4], help;
    steptop_run(&refusal, "help", "nothing", NULL);
    expect(&refusal, 2, NULL, "topics are the subcommands, man, ");
    for (size_t i = 0; i < 4; i++)
        steptop_run(&usage[i], "help", i ? told[i] : "help", NULL);
    char *rest = NULL, *list = strstr(refusal.errors, "subcommands, ") + strlen("subcommands, ");
    list[strcspn(list, "\n")] = 0;
    int topics = 0;
    for (const char *topic = strtok_r(list, ", ", &rest); topic; topic = strtok_r(NULL, ", ", &rest), topics++) {
        steptop_run(&help, "help", topic, NULL);
        assert_int_equal(help.code, 0);
        assert_true(strlen(help.output) > 500);
        outcome_release(&help);
        for (size_t i = 0; i < 4; i++) {
            char word[64];
            snprintf(word, sizeof word, i ? " %s" : "|%s", topic);
            if (!strstr(usage[i].output, word))
                fail_msg("%s does not tell of %s", told[i], topic);
        }
    }
    assert_int_equal(topics, 7);
    for (size_t i = 0; i < 4; i++)
        outcome_release(&usage[i]);
    outcome_release(&refusal);
}

/* The scripts are read by the shells themselves, where these are installed; bash completes. */
static void shells_read_their_completions(void **state)
{
    (void)state;
    assert_int_equal(
        system("sh -c '\"$0\" help bash > /tmp/steptop-completion.$$ && bash -n /tmp/steptop-completion.$$ && "
               "rm /tmp/steptop-completion.$$' " IN_SHELL),
        0);
    FILE *shell =
        popen("bash -c 'source <(\"" STEPTOP_BINARY "\" help bash); COMP_WORDS=(steptop run --dty); COMP_CWORD=2; "
              "_steptop; echo \"${COMPREPLY[@]}\"; COMP_WORDS=(steptop run --dtype b); COMP_CWORD=3; _steptop; "
              "echo \"${COMPREPLY[@]}\"; COMP_WORDS=(steptop de); COMP_CWORD=1; _steptop; echo \"${COMPREPLY[@]}\"; "
              "COMP_WORDS=(steptop run -m S,at); COMP_CWORD=3; _steptop; echo \"${COMPREPLY[@]}\"; "
              "COMP_WORDS=(steptop diff --format m); COMP_CWORD=3; _steptop; echo \"${COMPREPLY[@]}\"; "
              "COMP_WORDS=(steptop devices -f c); COMP_CWORD=3; _steptop; echo \"${COMPREPLY[@]}\"; "
              "COMP_WORDS=(steptop help pr); COMP_CWORD=2; _steptop; echo \"${COMPREPLY[@]}\"'",
              "r");
    char text[256] = "";
    const size_t length = fread(text, 1, sizeof text - 1, shell);
    text[length] = 0;
    assert_int_equal(pclose(shell), 0);
    assert_string_equal(text, "--dtype\nbf16\ndevices\nS,attention\nmarkdown\ncsv\nprofiles profile-schema\n");
    if (system("command -v zsh >/dev/null") == 0)
        assert_int_equal(system(IN_SHELL " help zsh | zsh -n /dev/stdin"), 0);
    if (system("command -v fish >/dev/null") == 0) {
        assert_int_equal(system(IN_SHELL " help fish | fish -n"), 0);
        assert_int_equal(system(IN_SHELL
                                " help fish | fish -c 'source -; complete -C \"steptop run --dtype fp32,b\"' | "
                                "grep -q ^fp32,bf16"),
                         0);
    }
    if (system("command -v man >/dev/null") == 0)
        assert_int_equal(system("test -z \"$(" IN_SHELL " help man | man --warnings -l - 2>&1 >/dev/null)\""), 0);
}

/* Without a name it is quickstart, the user's own where there is one: what is wrong in it is told, and nothing else is run. */
static void own_quickstart(void **state)
{
    (void)state;
    char *folder = folder_new(), *path = path_in(folder, "quickstart.yaml"), *variable = NULL;
    assert_true(asprintf(&variable, "STEPTOP_PROFILE_FOLDER=%s", folder) > 0);
    const char *const environment[] = {variable, NULL}, *const words[] = {"run", "--dry-run", NULL};
    static const struct {
        const char *text;
        int code;
        const char *output, *errors;
    } files[] = {{"name: own\nmodels: [tiny]\nmatrix: {batch_size: [3], context_length: [32]}\n", 0, "| tiny ", NULL},
                 {"modle: tiny\n", 3, NULL, "quickstart.yaml:2:"}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct outcome outcome;
        char *text = NULL;
        assert_true(asprintf(&text, "schema: steptop/profile/1\n%s", files[i].text) > 0);
        file_put(path, text);
        command_execute(&(struct command){.arguments = words, .environment = environment}, &outcome);
        expect(&outcome, files[i].code, files[i].output, files[i].errors);
        outcome_release(&outcome);
        free(text);
    }
    free(variable);
    free(path);
    folder_delete(folder);
}

static void bad_words_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *words[6];
        const char *said;
    } bad[] = {
        {{"frobnicate"}, "'frobnicate' is not a subcommand"},
        {{"devcies"}, "did you mean 'devices'?"},
        {{"--frobnicate"}, "'--frobnicate' is not an option of"},
        {{"run", "--modle", "S"}, "did you mean '--model'?"},
        {{"run", "-Z"}, "'-Z' is not an option of 'run'"},
        {{"run", "--model"}, "--model needs an argument"},
        {{"run", "-m"}, "-m needs an argument"},
        {{"run", "--model="}, "--model is given an empty LIST"},
        {{"run", "--dry-run=yes"}, "--dry-run takes no argument"},
        {{"run", "--model", "S", "--model", "M"},
         "--model is given twice ('S' and 'M'); several values are one comma list"},
        {{"run", "--co", "3"}, "could be --context-length or --compile"},
        {{"run", "a", "b"}, "'b' is one word too many"},
        {{"devices", "x"}, "'x' is one word too many for 'devices'"},
        {{"devices", "--dry-run"}, "--dry-run is an option of 'run', not of 'devices'"},
        {{"devices", "--format", "yaml"}, "--format yaml"},
        {{"help", "nothing"}, "there is no help on 'nothing'"},
        {{"profiles", "nwe"}, "'nwe' is not something that profiles can do"},
        {{"profiles", "new"}, "needs a name"},
        {{"profiles", "new", "../up"}, "'../up' cannot be a profile's name"},
        {{"x\x1b[31m\nred"}, "'x\\x1b[31m"},
        {{"y\xc2\x9b"
          "31m"},
         "'y\\x9b31m"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct outcome outcome;
        command_execute(&(struct command){.arguments = bad[i].words}, &outcome);
        expect(&outcome, 2, "", bad[i].said);
        assert_string_equal(outcome.output, "");
        assert_null(strchr(outcome.errors, '\x1b'));
        assert_null(strstr(outcome.errors, "\xc2\x9b"));
        assert_non_null(strstr(outcome.errors, "steptop: error: "));
        outcome_release(&outcome);
    }
}

static void profiles_are_listed_and_made(void **state)
{
    (void)state;
    struct outcome outcome;
    char *folder = folder_new(), *path = path_in(folder, "mine.yaml");
    char config[256];
    snprintf(config, sizeof config, "XDG_CONFIG_HOME=%s", folder);
    const char *const environment[] = {config, NULL};
    steptop_run(&outcome, "profiles", NULL);
    expect(&outcome, 0, "quickstart", "");
    assert_non_null(strstr(outcome.output, "profiles/seed.yaml"));
    outcome_release(&outcome);
    steptop_run(&outcome, "profiles", "new", "mine", "-o", path, NULL);
    expect(&outcome, 0, path, "");
    outcome_release(&outcome);
    file_put(path, "precious");
    steptop_run(&outcome, "profiles", "new", "mine", "-o", path, NULL);
    expect(&outcome, 1, "", "is there already; --force replaces it");
    char *text = file_get(path);
    assert_string_equal(text, "precious");
    free(text);
    outcome_release(&outcome);
    steptop_run(&outcome, "profiles", "new", "mine", "-o", path, "--force", NULL);
    expect(&outcome, 0, path, "");
    text = file_get(path);
    assert_non_null(strstr(text, "schema: steptop/profile/1"));
    assert_non_null(strstr(strstr(text, "Run it with: steptop run "), path));
    free(text);
    outcome_release(&outcome);
    steptop_run(&outcome, "run", path, "--dry-run", NULL);
    expect(&outcome, 0, "| S ", "");
    outcome_release(&outcome);
    /* Without -o: in the user's folder, where it is found by name. */
    const char *const words[] = {"profiles", "new", "own.yaml", NULL}, *const list[] = {"profiles", "-q", NULL};
    command_execute(&(struct command){.arguments = words, .environment = environment}, &outcome);
    expect(&outcome, 0, "/steptop/profiles/own.yaml", "");
    outcome_release(&outcome);
    command_execute(&(struct command){.arguments = list, .environment = environment}, &outcome);
    expect(&outcome, 0, "own\nquickstart\n", "");
    outcome_release(&outcome);
    char *own = path_in(folder, "steptop/profiles/own.yaml");
    text = file_get(own);
    assert_non_null(strstr(text, "Run it with: steptop run own\n"));
    free(text);
    free(own);
    const char *const run[] = {"run", "own", "--dry-run", NULL};
    command_execute(&(struct command){.arguments = run, .environment = environment}, &outcome);
    expect(&outcome, 0, "| S ", "");
    outcome_release(&outcome);
    /* No home at all. */
    const char *const homeless[] = {"HOME", "XDG_CONFIG_HOME", NULL};
    command_execute(&(struct command){.arguments = words, .environment = homeless}, &outcome);
    expect(&outcome, 1, "", "neither XDG_CONFIG_HOME nor HOME is an absolute path");
    outcome_release(&outcome);
    free(path);
    folder_delete(folder);
}

static void devices_say_what_is_missing(void **state)
{
    (void)state;
    struct outcome outcome;
    const char *const words[] = {"devices", NULL}, *const csv[] = {"devices", "--format", "csv", NULL};
    const char *const environment[] = {"STEPTOP_PLUGIN_FOLDER=/nonexistent", NULL};
    command_execute(&(struct command){.arguments = words, .environment = environment}, &outcome);
    expect(&outcome, 0, "| cpu ", "");
    assert_non_null(strstr(outcome.output, "cpu: bf16: ") || strstr(outcome.output, "bf16"));
    outcome_release(&outcome);
    command_execute(&(struct command){.arguments = csv, .environment = environment}, &outcome);
    expect(&outcome, 0, "name,model,architecture,memory_bytes,free_bytes,units,precisions,status,reason\n\"cpu\",", "");
    assert_non_null(strstr(outcome.output, "\"available\",\"\"\n"));
    outcome_release(&outcome);
}

static void output_that_cannot_be_written(void **state)
{
    (void)state;
    struct outcome outcome;
    const char *const help[] = {"--help", NULL}, *const devices[] = {"devices", NULL};
    command_execute(&(struct command){.arguments = help, .output_to = "/dev/full"}, &outcome);
    expect(&outcome, 1, "", "cannot write to standard output: No space left on device");
    outcome_release(&outcome);
    command_execute(&(struct command){.arguments = devices, .output_to = "/dev/full"}, &outcome);
    expect(&outcome, 1, "", "No space left on device");
    outcome_release(&outcome);
    /* Closed standard descriptors are harmless; that nothing could be written is said by the exit code. */
    command_execute(
        &(struct command){.arguments = help, .close_input = true, .close_output = true, .close_errors = true},
        &outcome);
    expect(&outcome, 1, "", "");
    outcome_release(&outcome);
    /* A reader that goes away, too. */
    assert_int_equal(system(IN_SHELL " --help | head -1 > /dev/null"), 0);
}

static void plain_surroundings(void **state)
{
    (void)state;
    static const char *const surroundings[][4] = {{"LANG=C", "LC_ALL=C", NULL},
                                                  {"TERM=dumb", "NO_COLOR=1", NULL},
                                                  {"HOME", "XDG_CACHE_HOME=relative", "PATH", NULL},
                                                  {"LANG=xx_YY.nonsense", NULL}};
    for (size_t i = 0; i < sizeof surroundings / sizeof *surroundings; i++) {
        struct outcome outcome;
        const char *const words[] = {"profiles", NULL};
        command_execute(&(struct command){.arguments = words, .environment = surroundings[i]}, &outcome);
        expect(&outcome, 0, "quickstart", "");
        assert_null(strchr(outcome.output, '\x1b'));
        outcome_release(&outcome);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(help_and_version),
        cmocka_unit_test(completions_and_man_page_have_every_option),
        cmocka_unit_test(topics_of_help),
        cmocka_unit_test(own_quickstart),
        cmocka_unit_test(man_page_has_the_words_of_the_program),
        cmocka_unit_test(shells_read_their_completions),
        cmocka_unit_test(bad_words_are_refused),
        cmocka_unit_test(profiles_are_listed_and_made),
        cmocka_unit_test(devices_say_what_is_missing),
        cmocka_unit_test(output_that_cannot_be_written),
        cmocka_unit_test(plain_surroundings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
