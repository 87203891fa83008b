/* steptop on machines that are small, shared or meddled with: one processor, a control group with little memory, a clock that
 * is set again and again, a report that is swapped for something else, a second steptop on the same file. */
#include "command.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define TINY "run", "-m", "tiny", "-b", "1", "-c", "16", "-p", "fwd", "-w", "1", "-f", "seed"

/* A process that does something beside the command, once `path` is there (NULL: at once). */
static pid_t beside(const char *path, void (*act)(const char *folder), const char *folder)
{
    const pid_t child = fork();
    if (child)
        return child;
    for (int i = 0; path && access(path, F_OK) != 0; i++) {
        if (i > 3000)
            _exit(1);
        usleep(10000);
    }
    act(folder);
    _exit(0);
}

static void wait_for(pid_t child)
{
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void one_processor(void **state)
{
    (void)state;
    static const char *const threads[] = {"1", "64"};
    for (size_t i = 0; i < 2; i++) {
        struct outcome outcome;
        const char *const words[] = {TINY, "-n", "2", "--threads", threads[i], NULL};
        const char *const environment[] = {"OMP_NUM_THREADS=64", NULL};
        command_execute(
            &(struct command){.arguments = words, .environment = environment, .one_processor = true, .timeout_s = 120},
            &outcome);
        expect(&outcome, 0, "| ok ", NULL);
        outcome_release(&outcome);
    }
}

/* ---- a control group with little memory ---- */

static const char group_one[] = "/sys/fs/cgroup/memory/steptop-test", group_two[] = "/sys/fs/cgroup/steptop-test";

static bool put_number(const char *group, const char *name, unsigned long long value)
{
    char path[200], text[32];
    snprintf(path, sizeof path, "%s/%s", group, name);
    const int fd = open(path, O_WRONLY | O_CLOEXEC);
    const int length = snprintf(text, sizeof text, "%llu\n", value);
    const bool done = fd >= 0 && write(fd, text, (size_t)length) == length;
    if (fd >= 0)
        close(fd);
    return done;
}

/* Makes the group, of either version; NULL where this process may not. */
static const char *group_make(unsigned long long bytes)
{
    if (mkdir(group_one, 0755) == 0 || errno == EEXIST) {
        if (put_number(group_one, "memory.limit_in_bytes", bytes))
            return group_one;
        rmdir(group_one);
    }
    if (mkdir(group_two, 0755) == 0 || errno == EEXIST) {
        if (put_number(group_two, "memory.max", bytes))
            return group_two;
        rmdir(group_two);
    }
    return NULL;
}

static void group_remove(const char *group)
{
    for (int i = 0; i < 100 && rmdir(group) != 0 && errno == EBUSY; i++)
        usleep(20000);
}

static void a_group_with_little_memory(void **state)
{
    (void)state;
    const char *group = group_make(400u << 20);
    if (!group) {
        print_message("no control group can be made here\n");
        skip();
    }
    struct outcome outcome;
    const char *const words[] = {"run",     "-m", "S", "-b", "4", "-c", "512",  "-p",
                                 "fwd_bwd", "-w", "0", "-n", "1", "-f", "seed", NULL};
    command_execute(&(struct command){.arguments = words, .group = group}, &outcome);
    group_remove(group);
    expect(&outcome, 1, "oom", "oom after");
    /* Known before anything was allocated, and the group's bytes, not the machine's. */
    const char *has = strstr(outcome.output, "and cpu has ");
    assert_true(has && strtoull(has + 12, NULL, 10) <= 400u << 20);
    outcome_release(&outcome);
}

/* Bytes that all in the group take, of either version. */
static unsigned long long group_use(const char *group)
{
    static const char *const names[] = {"memory.usage_in_bytes", "memory.current"};
    unsigned long long bytes = 0;
    for (int i = 0; i < 2; i++) {
        char path[200];
        snprintf(path, sizeof path, "%s/%s", group, names[i]);
        FILE *file = fopen(path, "re");
        if (file && fscanf(file, "%llu", &bytes) != 1)
            bytes = 0;
        if (file)
            fclose(file);
    }
    return bytes;
}

/* Takes memory in the group until the kernel must kill somebody: the largest, which is the worker. */
static void hog(const char *group)
{
    if (!put_number(group, "cgroup.procs", (unsigned)getpid()))
        _exit(2);
    while (group_use(group) < (unsigned long long)500 << 20) /* it has its parameters: of all it is the largest */
        usleep(10000);
    const size_t bytes = (size_t)900 << 20, piece = (size_t)4 << 20;
    char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (size_t at = 0; memory != MAP_FAILED && at < bytes && workers_alive() > 0; at += piece)
        memset(memory + at, 1, piece);
    _exit(0);
}

static void the_kernel_kills_for_memory(void **state)
{
    (void)state;
#ifdef __SANITIZE_ADDRESS__
    skip(); /* its shadow counts as well, and the front's may be the larger */
#endif
    const char *group = group_make((unsigned long long)1000 << 20);
    if (!group) {
        print_message("no control group can be made here\n");
        skip();
    }
    struct outcome outcome;
    const char *const words[] = {"run", "-m", "S",  "-b",      "1",         "-c", "64", "-p",   "fwd",
                                 "-w",  "0",  "-n", "forever", "--timeout", "60", "-f", "seed", NULL};
    const pid_t other = beside(NULL, hog, group);
    command_execute(&(struct command){.arguments = words, .group = group, .timeout_s = 90}, &outcome);
    kill(other, SIGKILL);
    waitpid(other, NULL, 0);
    group_remove(group);
    expect(&outcome, 1, "out-of-memory killer", "oom after");
    outcome_release(&outcome);
}

/* ---- the clock ---- */

static double field_of(const char *text, const char *key)
{
    const char *at = strstr(text, key);
    return at ? strtod(at + strlen(key), NULL) : -1;
}

static void the_clock_is_set_again_and_again(void **state)
{
    char *yaml = path_in(*state, "r.yaml");
    struct outcome outcome;
    const char *const words[] = {TINY, "-n", "5", "-o", yaml, "--timeout", "60", NULL};
    const char *const environment[] = {"LD_PRELOAD=" JUMPING_CLOCK,
                                       "ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0", NULL};
    command_execute(&(struct command){.arguments = words, .environment = environment}, &outcome);
    expect(&outcome, 0, "| ok ", NULL);
    outcome_release(&outcome);
    char *text = file_get(yaml);
    assert_non_null(text);
    const double median = field_of(text, "median_ns: ");
    assert_true(median > 1000 && median < 10e9); /* not an hour, not less than nothing */
    assert_non_null(strstr(text, "records: "));
    assert_true(field_of(text, "records: ") > 0);
    assert_true(field_of(text, "invalid: ") <= 0);
    free(text);
    free(yaml);
}

/* ---- the report ---- */

/* The lid of a laptop is closed for a night: no step has it, and the report says so. */
static void the_machine_sleeps(void **state)
{
    char *yaml = path_in(*state, "r.yaml");
    struct outcome outcome;
#ifdef __SANITIZE_ADDRESS__
    const char *const steps = "20"; /* as long as 200 without: the night begins after a second */
#else
    const char *const steps = "200";
#endif
    const char *const words[] = {TINY, "-n", steps, "-o", yaml, "--timeout", "60", NULL};
    const char *const environment[] = {"LD_PRELOAD=" JUMPING_CLOCK, "NIGHT=1",
                                       "ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0", NULL};
    command_execute(&(struct command){.arguments = words, .environment = environment, .timeout_s = 120}, &outcome);
    expect(&outcome, 0, "| ok ", NULL);
    outcome_release(&outcome);
    char *text = file_get(yaml);
    assert_non_null(text);
    const char *said = strstr(text, "s in all, 1 time (stopped, frozen or asleep)");
    assert_non_null(said);
    assert_in_range(strtol(said - strlen("28800.05 "), NULL, 10), 28800, 28810);
    assert_true(field_of(text, "mean_ns: ") < 10e9);
    free(text);
    free(yaml);
}

static void swap_for_a_link(const char *folder)
{
    char from[300], to[300];
    snprintf(from, sizeof from, "%s/precious", folder);
    snprintf(to, sizeof to, "%s/r.yaml", folder);
    if (unlink(to) || symlink(from, to))
        _exit(1);
}

static void swap_for_a_folder(const char *folder)
{
    char to[300];
    snprintf(to, sizeof to, "%s/r.yaml", folder);
    if (unlink(to) || mkdir(to, 0755))
        _exit(1);
}

/* The first cell's report is swapped for something else while the second runs: what it is now is not touched. */
static void the_report_is_swapped_meanwhile(void **state)
{
    char *yaml = path_in(*state, "r.yaml"), *precious = path_in(*state, "precious");
    static const struct {
        void (*swap)(const char *);
        const char *said;
    } ways[] = {{swap_for_a_link, "a symbolic link, which is not followed"}, {swap_for_a_folder, "it is a folder"}};
    for (size_t i = 0; i < 2; i++) {
        file_put(precious, "precious");
        unlink(yaml);
        struct outcome outcome;
        const char *const words[] = {TINY, "-n", "forever", "--timeout", "2", "--seed", "1,2", "-o", yaml, NULL};
        const pid_t other = beside(yaml, ways[i].swap, *state);
        command_execute(&(struct command){.arguments = words}, &outcome);
        wait_for(other);
        expect(&outcome, 1, NULL, ways[i].said);
        char *text = file_get(precious);
        assert_string_equal(text, "precious");
        free(text);
        outcome_release(&outcome);
    }
    struct stat status;
    assert_int_equal(lstat(yaml, &status), 0);
    assert_true(S_ISDIR(status.st_mode));
    free(yaml);
    free(precious);
}

static void run_beside(const char *folder)
{
    char *yaml = path_in(folder, "r.yaml");
    struct outcome outcome;
    const char *const words[] = {TINY, "-n", "20", "--seed", "1,2,3", "-o", yaml, NULL};
    command_execute(&(struct command){.arguments = words, .timeout_s = 120}, &outcome);
    _exit(outcome.code);
}

/* Two at once into the same file: both end well, and the file is whole, one's or the other's. */
static void two_at_once(void **state)
{
    char *yaml = path_in(*state, "r.yaml");
    const pid_t one = beside(NULL, run_beside, *state), two = beside(NULL, run_beside, *state);
    wait_for(one);
    wait_for(two);
    struct outcome outcome;
    steptop_run(&outcome, "report", yaml, "-f", "seed", NULL);
    expect(&outcome, 0, "|  2 |", NULL);
    assert_null(strstr(outcome.output, "|  3 |"));
    outcome_release(&outcome);
    free(yaml);
}

static void small(const char *const words[], int code, const char *const environment[], size_t mib, bool data,
                  bool has_all)
{
    struct outcome outcome;
    const char *option = data ? "ulimit -d" : "ulimit -v";
    command_execute(&(struct command){.arguments = words,
                                      .environment = environment,
                                      .memory_limit = data ? 0 : mib << 20,
                                      .data_limit = data ? mib << 20 : 0,
                                      .timeout_s = 30},
                    &outcome);
    const bool named = strstr(outcome.errors, option) || strstr(outcome.output, option);
    if (outcome.code != code && (has_all || !(outcome.code == 1 && named)))
        fail_msg("%zu MiB (%s), %s: exit %d\n%s\n%s", mib, option, words[0], outcome.code, outcome.output,
                 outcome.errors);
    outcome_release(&outcome);
}

/* Below any limit of memory a command does its work or says what it lacks, naming the limit; none goes on trying. */
static void small_address_spaces(void **state)
{
#ifdef __SANITIZE_ADDRESS__
    skip(); /* AddressSanitizer takes more than all of these for itself */
#endif
    const char *folder = *state;
    static const struct {
        const char *words[20];
        int code; /* where it has all it needs */
    } commands[] = {{{"version"}, 0},
                    {{"devices"}, 0},
                    {{"help", "run"}, 0},
                    {{"run", "--dry-run", "tiny"}, 0},
                    {{"report", TEST_SOURCE_DIR "/report/seed.yaml"}, 0},
                    {{TINY, "-n", "1"}, 0}};
    static const size_t mebibytes[] = {20, 80, 244, 488, 634};
    char *cache = NULL;
    assert_true(asprintf(&cache, "XDG_CACHE_HOME=%s", folder) > 0);
    const char *const environment[] = {cache, NULL};
    for (size_t m = 0; m < sizeof mebibytes / sizeof *mebibytes; m++)
        for (size_t c = 0; c < sizeof commands / sizeof *commands; c++)
            small(&commands[c].words[0], commands[c].code, environment, mebibytes[m], false,
                  mebibytes[m] >= 390 || c < 3);
    for (size_t m = 0; m < 3; m++) /* what it has written to of its own counts: little is enough */
        small(commands[5].words, 0, environment, mebibytes[m], true, mebibytes[m] >= 240);
    free(cache);
}

/* A recording that finds no memory is not one that is broken; and that is said to who wants no progress, too. */
static void a_replay_without_memory(void **state)
{
#ifdef __SANITIZE_ADDRESS__
    skip(); /* AddressSanitizer takes more than the limit for itself */
#endif
    struct outcome outcome;
    char *recording = path_in(*state, "r.rec");
    steptop_run(&outcome, TINY, "-n", "1", "-B", "-q", "--record", recording, NULL);
    expect(&outcome, 0, "| ok ", NULL);
    outcome_release(&outcome);
    const char *const words[] = {"replay", recording, "-B", "-q", NULL};
    command_execute(&(struct command){.arguments = words, .memory_limit = (size_t)29 << 20, .timeout_s = 30}, &outcome);
    expect(&outcome, 1, NULL, "ulimit -v");
    outcome_release(&outcome);
    free(recording);
}

/* Where memory ends in the midst of what cannot go on without, that is a failure that is said, and no crash. */
static void memory_ends_without_a_core(void **state)
{
    (void)state;
#ifdef __SANITIZE_ADDRESS__
    skip(); /* AddressSanitizer takes more than the limit for itself */
#endif
    const char *const words[] = {"verify", NULL};
    for (size_t mib = 26; mib <= 36; mib += 2)
        small(words, 0, NULL, mib, false, false);
}

/* A limit of files is told of: it holds for what a run shares with its worker, too. Only its lower value is no hindrance. */
static void a_limit_of_files(void **state)
{
    struct outcome outcome;
    char *yaml = path_in(*state, "r.yaml"), *text;
    const char *const words[] = {TINY, "-n", "2", "-o", yaml, NULL};
    file_put(yaml, "before");
    command_execute(&(struct command){.arguments = words, .file_limit = 10240}, &outcome);
    expect(&outcome, 1, "| error", "files are limited to 10240 bytes here (ulimit -f)");
    outcome_release(&outcome);
    text = file_get(yaml);
    assert_non_null(strstr(text, "files are limited to 10240 bytes"));
    free(text);
    char line[600];
    snprintf(line, sizeof line,
             "exec >/dev/null 2>&1; ulimit -S -f 200; exec '%s' run -m tiny -b 1 -c 16 -p fwd -w 1 -n 2 -B -o %s",
             STEPTOP_BINARY, yaml);
    assert_int_equal(system(line), 0);
    text = file_get(yaml);
    if (!strstr(text, "status: ok") && !strstr(text, "status: unreliable"))
        fail_msg("%.800s", text);
    free(text);
    free(yaml);
}

/* Without descriptors it is no device that is missing. */
static void few_descriptors(void **state)
{
    (void)state;
    static const char *const limits[] = {"4", "5", "6", "7", "8", "10", "12", "14", "16"};
    static const char *const commands[] = {"run -m tiny -b 1 -c 16 -p fwd -w 1 -n 1 -f seed", "devices",
                                           "run tiny --dry-run", "verify -q -b 1 -c 2"};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
        for (size_t c = 0; c < sizeof commands / sizeof *commands; c++) {
            char line[400];
            snprintf(line, sizeof line, "exec > /dev/null 2>&1; ulimit -n %s; exec '%s' %s", limits[i], STEPTOP_BINARY,
                     commands[c]);
            const int status = system(line);
            assert_true(WIFEXITED(status));
            if (WEXITSTATUS(status) > 1 && WEXITSTATUS(status) != 127) /* 127: the program itself could not be loaded */
                fail_msg("%s: exit %d", line, WEXITSTATUS(status));
        }
}

/* A worker that cannot be started for want of descriptors is no want of memory, where that is limited as well. */
static void few_descriptors_and_a_limit(void **state)
{
#ifdef __SANITIZE_ADDRESS__
    skip(); /* AddressSanitizer takes more than the limit for itself */
#endif
    char *yaml = path_in(*state, "r.yaml"), *text;
    bool seen = false;
    for (int descriptors = 10; descriptors < 24; descriptors++) {
        char line[600];
        snprintf(line, sizeof line,
                 "exec >/dev/null 2>&1; ulimit -n %d; ulimit -v 40000000; exec '%s' run -m tiny -b 1 -c 16 -p fwd -w 1 "
                 "-n 1 -B -o %s",
                 descriptors, STEPTOP_BINARY, yaml);
        unlink(yaml);
        const int status = system(line);
        assert_true(WIFEXITED(status));
        if (access(yaml, F_OK) != 0)
            continue;
        text = file_get(yaml);
        if (strstr(text, "status: oom"))
            fail_msg("%d descriptors: %.800s", descriptors, text);
        seen |= strstr(text, "no descriptors are left for it (ulimit -n)") != NULL;
        free(text);
    }
    assert_true(seen);
    free(yaml);
}

/* Where no more processes or threads may be, that is what is said, with the limit, and no library ends the process. */
static void few_processes(void **state)
{
#ifdef __SANITIZE_ADDRESS__
    skip(); /* it wants a process itself, to look for leaks, and more address space than the limit */
#endif
    const char *folder = *state;
    static const char *const verify[] = {"verify", "-q", "-b", "1", "-c", "2", NULL},
                             *const devices[] = {"devices", NULL}, *const attach[] = {"attach", "--", "true", NULL};
    static const char *const run[] = {TINY, "-n", "1", "--threads", "2", NULL};
    static const struct {
        size_t limit;
        const char *const *words;
        int code;
        const char *output, *errors;
    } cases[] = {
        {1, run, 1, "| error", "cannot start a worker: fork"},
        {1, attach, 1, NULL, "cannot start the command: fork"},
        {1, devices, 0, "cannot ask for devices", NULL},
        {2, run, 1, "threads cannot be started, only 1", NULL},
        {1, verify, 1, NULL, "threads cannot be started, only 1"},
    };
    if (chmod(folder, 0777) != 0 ||
        (geteuid() == 0 && system("setpriv --reuid 54321 --clear-groups test -x '" STEPTOP_BINARY "'") != 0)) {
        print_message("nobody else may start the program here\n");
        skip();
    }
    char *cache = NULL, *kept = NULL;
    assert_true(asprintf(&cache, "XDG_CACHE_HOME=%s", folder) > 0 && asprintf(&kept, "XDG_STATE_HOME=%s", folder) > 0);
    const char *const environment[] = {cache, kept, "OMP_NUM_THREADS=2", NULL};
    /* A user who has processes beside the command's is always beyond one, and never just at two. */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (geteuid() != 0 && cases[i].limit > 1)
            continue;
        struct outcome outcome;
        command_execute(&(struct command){.arguments = cases[i].words,
                                          .environment = environment,
                                          .folder = folder,
                                          .memory_limit = i % 2 ? (size_t)40 << 30 : 0, /* is not what is wanting */
                                          .process_limit = cases[i].limit},
                        &outcome);
        expect(&outcome, cases[i].code, cases[i].output, cases[i].errors);
        if (!strstr(outcome.errors, "(ulimit -u)") && !strstr(outcome.output, "(ulimit -u)"))
            fail_msg("%s: the limit is not named\n%s\n%s", cases[i].words[0], outcome.output, outcome.errors);
        outcome_release(&outcome);
    }
    free(cache);
    free(kept);
}

/* Every signal that would end the process ends the run, and what was measured is kept. */
static void any_signal_keeps_the_report(void **state)
{
    (void)state;
    const int numbers[] = {SIGXCPU, SIGALRM, SIGIO, SIGRTMIN + 3, SIGABRT, SIGSEGV};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct outcome outcome;
        const char *const words[] = {TINY, "-n", "forever", NULL};
        command_execute(&(struct command){.arguments = words, .signal = numbers[i], .signal_after = "[1/1] tiny"},
                        &outcome);
        expect(&outcome, 128 + numbers[i], "interrupted", NULL);
        outcome_release(&outcome);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_setup, folder_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_processor),
        TEST(any_signal_keeps_the_report),
        TEST(small_address_spaces),
        TEST(a_replay_without_memory),
        TEST(memory_ends_without_a_core),
        TEST(few_descriptors),
        TEST(few_descriptors_and_a_limit),
        TEST(few_processes),
        TEST(a_limit_of_files),
        TEST(a_group_with_little_memory),
        TEST(the_kernel_kills_for_memory),
        TEST(the_clock_is_set_again_and_again),
        TEST(the_machine_sleeps),
        TEST(the_report_is_swapped_meanwhile),
        TEST(two_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
