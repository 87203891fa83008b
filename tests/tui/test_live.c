/* The program itself on a pseudo-terminal, with runs of the tiny model: what keys do, what happens when the worker, the
 * terminal or the program is stopped or killed, and that nothing is left behind. */
#include "base/clock.h"
#include "base/strbuf.h"
#include "processes.h"
#include "screen.h"
#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const char *const three_steps[] = {
    STEPTOP_BINARY,     "run", "--device", "cpu",     "--model", "tiny", "--batch-size", "1",
    "--context-length", "16",  "--passes", "fwd_bwd", "--steps", "3",    "--warmup",     "1",
    "--threads",        "1",   NULL};
static const char *const forever[] = {
    STEPTOP_BINARY,     "run", "--device", "cpu", "--model", "tiny",    "--batch-size", "1",
    "--context-length", "16",  "--passes", "fwd", "--steps", "forever", "--warmup",     "1",
    "--threads",        "1",   NULL};

static struct screen *started(const char *const *program, int height, int width)
{
    const struct screen_options options = {.height = height, .width = width, .program = program};
    struct screen *screen = screen_open(&options, NULL);
    if (!screen_wait_for(screen, "sgemm_"))
        fail_msg("no kernel on the screen:\n%s", screen_text(screen, false));
    screen_type(screen, "2");
    if (!screen_wait_for(screen, "Runs › Kernels"))
        fail_msg("2 does not lead to the kernels:\n%s", screen_text(screen, false));
    return screen;
}

/* The number before " records" in the second line; -1 when there is none. */
static double records(struct screen *screen)
{
    char *text = screen_text(screen, false), *at = strstr(text, " records");
    double value = -1;
    if (at) {
        while (at > text && at[-1] != ' ')
            at--;
        if (isalpha((unsigned char)*at)) /* "1.23 M" */
            for (at--; at > text && at[-1] != ' ';)
                at--;
        char unit = 0;
        if (sscanf(at, "%lf %c", &value, &unit) == 2)
            value *= unit == 'k' ? 1e3 : unit == 'M' ? 1e6 : 1;
    }
    free(text);
    return value;
}

static void expect_records_grow(struct screen *screen)
{
    const uint64_t deadline = clock_now() + 10000000000u;
    if (records(screen) < 0) /* a busy machine says so on the same line, and a narrow one has no room for both */
        screen_resize(screen, 30, 220);
    while (records(screen) < 0 && clock_now() < deadline)
        screen_read(screen, 50);
    const double before = records(screen);
    while (!(records(screen) > before) && clock_now() < deadline)
        screen_read(screen, 50);
    if (!(records(screen) > before)) {
        char *text = screen_text(screen, false);
        print_error("%.400s\n", text);
        free(text);
    }
    assert_true(before >= 0 && records(screen) > before);
}

/* A run to its end; another one by key, from the form, for ever; what stops it; the comparison; the exports. */
static void test_keys(void **state)
{
    char path[] = "/tmp/steptop-live-XXXXXX";
    (void)state;
    struct screen *screen = started(three_steps, 36, 160);
    screen_must_show(screen, " DONE ");
    screen_must_show(screen, "fwd_bwd, 1 of");
    screen_type(screen, "r<Enter>");
    screen_must_show(screen, "run 2  cpu");
    screen_must_show(screen, " DONE ");
    screen_type(screen, "1gd");
    screen_must_show(screen, "run 1 is the baseline");
    screen_must_show(screen, "baseline");
    screen_type(screen, "<Down>");
    screen_type(screen, "=");
    screen_must_show(screen, "against run 1");
    screen_must_show(screen, "vs baseline");
    screen_type(screen, "<Esc>n");
    screen_must_show(screen, "Enter starts");
    screen_type(screen, "<Esc>");
    screen_must_lose(screen, "Enter starts");
    /* The form goes through the profile's own checks: nothing starts while one refuses. */
    screen_type(screen, "n");
    screen_must_show(screen, "Enter starts");
    screen_type(screen, "<Up><Up><Up><Up><Up><^U>-3");
    screen_must_show(screen, "steps");
    screen_type(screen, "<Enter>");
    screen_must_show(screen, "Enter starts");
    /* A paste is text for the field, and its line end starts nothing. */
    screen_type(screen, "<^U>\033[200~q1\r\033[201~");
    screen_must_show(screen, "q1");
    screen_type(screen, "<^U>4<Enter>");
    screen_must_show(screen, "run 3  cpu");
    screen_must_show(screen, " DONE ");
    screen_type(screen, "c");
    screen_must_show(screen, "run 4  cpu");
    screen_must_show(screen, " LIVE ");
    screen_type(screen, "2");
    expect_records_grow(screen);
    screen_type(screen, "x");
    screen_must_show(screen, "interrupted: stopped");
    screen_must_show(screen, " DONE ");
    screen_type(screen, "1<End>");
    screen_type(screen, "<Del>");
    screen_must_show(screen, "of 3 runs ended");
    /* Views to files: text and report. */
    assert_non_null(mkdtemp(path));
    char keys[128], file[64];
    struct stat about;
    for (int i = 0; i < 2; i++) {
        snprintf(file, sizeof file, "%s/view.%s", path, i ? "yaml" : "txt");
        snprintf(keys, sizeof keys, "P<^U>%s<Enter>", file);
        screen_type(screen, keys);
        screen_must_show(screen, "wrote ");
        assert_int_equal(stat(file, &about), 0);
        assert_true(about.st_size > 500);
        unlink(file);
        screen_type(screen, "<Esc>");
        screen_must_lose(screen, "wrote ");
    }
    rmdir(path);
    screen_type(screen, "q");
    screen_must_end(screen, 0);
}

static void test_pause(void **state)
{
    (void)state;
    struct screen *screen = started(forever, 24, 150);
    screen_type(screen, "Z");
    screen_must_show(screen, " PAUSED +");
    const double frozen = records(screen);
    char *before = screen_text(screen, false), *after;
    for (int i = 0; i < 20; i++)
        screen_read(screen, 50);
    after = screen_text(screen, false);
    assert_true(records(screen) == frozen);
    /* Below the badge and the message nothing has moved; the badge has counted what waits. */
    const char *body_before = strstr(before, "kernel "), *body_after = strstr(after, "kernel ");
    assert_non_null(body_before);
    assert_non_null(body_after);
    assert_memory_equal(body_before, body_after, strlen(body_before) - 150);
    assert_string_not_equal(before, after);
    free(before);
    free(after);
    screen_type(screen, "Z");
    screen_must_show(screen, " LIVE ");
    expect_records_grow(screen);
    assert_true(records(screen) > frozen);
    const pid_t worker = worker_of(screen_child(screen));
    screen_type(screen, "q");
    screen_must_end(screen, 0);
    assert_true(ends_soon(worker));
}

/* ^C: first the run, then the program. */
static void test_interrupt(void **state)
{
    (void)state;
    struct screen *screen = started(forever, 24, 150);
    const pid_t worker = worker_of(screen_child(screen));
    screen_type(screen, "<^C>");
    screen_must_show(screen, "interrupted: stopped");
    assert_true(ends_soon(worker));
    screen_must_show(screen, "sgemm_");
    screen_type(screen, "<^C>");
    screen_must_end(screen, 130);
}

/* A worker that is stopped holds nothing up; it goes on, is stopped again, and ended. */
static void test_stopped_worker(void **state)
{
    (void)state;
    struct screen *screen = started(forever, 24, 200);
    /* Wide enough for how long it was suspended and, after that, for the count of records. */
    const pid_t worker = worker_of(screen_child(screen));
    kill(worker, SIGSTOP);
    screen_must_show(screen, "stopped by a signal");
    for (int i = 0; i < 5; i++) {
        const uint64_t before = clock_now();
        screen_type(screen, "?");
        screen_must_show(screen, "Esc closes");
        screen_type(screen, "q");
        screen_must_lose(screen, "Esc closes");
        assert_true(clock_now() - before < 2000000000u);
    }
    kill(worker, SIGCONT);
    screen_must_lose(screen, "stopped by a signal");
    expect_records_grow(screen);
    kill(worker, SIGSTOP);
    screen_must_show(screen, "stopped by a signal");
    screen_type(screen, "x"); /* asked to stop it cannot; it is ended after a second */
    screen_must_show(screen, "interrupted: stopped");
    assert_true(ends_soon(worker));
    screen_type(screen, "q");
    screen_must_end(screen, 0);
}

static void test_killed_worker(void **state)
{
    static const int signals[] = {SIGKILL, SIGABRT};
    static const char *const said[] = {"killed by SIGKILL", "crashed with SIGABRT"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct screen *screen = started(forever, 24, 150);
        kill(worker_of(screen_child(screen)), signals[i]);
        screen_must_show(screen, said[i]);
        screen_must_show(screen, "sgemm_"); /* what it measured stays */
        screen_type(screen, "r<Enter>");
        screen_must_show(screen, "run 2  cpu");
        screen_must_show(screen, " LIVE ");
        expect_records_grow(screen);
        screen_type(screen, "q");
        screen_must_end(screen, 1); /* a run failed */
    }
}

/* The terminal takes nothing for a while, as a stopped tmux: the run goes on, and so does the screen afterwards. */
static void test_terminal_does_not_read(void **state)
{
    (void)state;
    struct screen *screen = started(forever, 50, 200);
    const double before = records(screen);
    for (int i = 0; i < 40; i++) {
        assert_true(write(screen_terminal(screen), "\014", 1) == 1); /* ^L: the whole screen again */
        poll(NULL, 0, 50);
    }
    assert_non_null(memchr("SRD", state_of(screen_child(screen)), 3)); /* neither stopped nor ended */
    assert_true(records(screen) == before);                            /* nothing was read here */
    for (int i = 0; i < 10; i++)
        screen_read(screen, 100);
    assert_true(records(screen) > before + 1000);
    assert_false(screen_has(screen, "DROPPED"));
    screen_type(screen, "8");
    screen_must_show(
        screen, "lines, following"); /* the stages of preparing, and nothing that the worker would have printed of it */
    assert_false(screen_has(screen, "lost"));
    screen_type(screen, "q");
    screen_must_end(screen, 0);
}

static void test_resize_storm(void **state)
{
    (void)state;
    struct screen *screen = started(forever, 24, 140);
    for (int i = 0; i < 300; i++) {
        screen_resize(screen, 1 + i % 50, 1 + i * 7 % 190);
        if (i % 10 == 0)
            screen_type(screen, (const char *[]){"1", "2", "3", "4", "5", "6", "7", "8"}[i / 10 % 8]);
        screen_read(screen, 2);
    }
    screen_resize(screen, 30, 110);
    screen_type(screen, "2");
    screen_must_show(screen, "sgemm_");
    expect_records_grow(screen);
    screen_type(screen, "q");
    screen_must_end(screen, 0);
}

static void test_suspend(void **state)
{
    (void)state;
    struct screen *screen = started(forever, 24, 140);
    const pid_t worker = worker_of(screen_child(screen));
    screen_type(screen, "<^Z>");
    const uint64_t deadline = clock_now() + 5000000000u;
    while (state_of(screen_child(screen)) != 'T' && clock_now() < deadline)
        screen_read(screen, 20);
    assert_int_equal(state_of(screen_child(screen)), 'T');
    screen_settle(screen, 50);
    assert_false(screen_is_alternate(screen));
    assert_true(screen_modes_restored(screen));
    kill(screen_child(screen), SIGCONT);
    screen_must_show(screen, "sgemm_");
    assert_true(screen_is_alternate(screen));
    expect_records_grow(screen);
    screen_type(screen, "q");
    screen_must_end(screen, 0);
    assert_true(ends_soon(worker));
}

/* A terminal that this system has no description of: run goes on without a screen and says how to get one; view, which has
 * nothing else to do, says so and advises nothing that it would refuse. */
static void test_unknown_terminal(void **state)
{
    static const char *const run[] = {"/bin/sh", "-c",
                                      "exec '" STEPTOP_BINARY "' run --device cpu --model tiny --batch-size 1 "
                                      "--context-length 8 --passes fwd --steps 1 --warmup 0 --threads 1 2>&1",
                                      NULL};
    static const char *const view[] = {
        "/bin/sh", "-c", "exec '" STEPTOP_BINARY "' view '" TEST_SOURCE_DIR "/report/seed.yaml' 2>&1", NULL};
    struct screen_options options = {.height = 40, .width = 240, .term = "xterm-of-nobody", .program = run};
    (void)state;
    struct screen *screen = screen_open(&options, NULL);
    int status = screen_wait(screen);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    size_t length;
    const char *bytes = screen_bytes(screen, &length);
    assert_null(memmem(bytes, length, "\033[?1049h", 8));
    assert_non_null(memmem(bytes, length, "| tiny", 6)); /* the report as Markdown */
    assert_non_null(memmem(bytes, length, "TERM=xterm-256color", 19));
    screen_close(screen);
    options.program = view;
    screen = screen_open(&options, NULL);
    status = screen_wait(screen);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 2);
    screen_must_show(screen, "TERM=xterm-of-nobody");
    screen_must_show(screen, "TERM=xterm-256color");
    screen_must_show(screen, "steptop report");
    assert_false(screen_has(screen, "--batch"));
    screen_close(screen);
}

/* The screen is drawn into a file in memory, for which the limit of files holds: half a screen is none. */
static void test_limit_of_files(void **state)
{
    static const char *const view[] = {
        "/bin/sh", "-c", "ulimit -f 20; exec '" STEPTOP_BINARY "' view '" TEST_SOURCE_DIR "/report/seed.yaml' 2>&1",
        NULL};
    static const char *const run[] = {"/bin/sh", "-c",
                                      "ulimit -f 20; exec '" STEPTOP_BINARY "' run tiny --dry-run 2>&1", NULL};
    const struct screen_options options = {.height = 40, .width = 240, .program = view},
                                batch = {.height = 40, .width = 240, .program = run};
    (void)state;
    struct screen *screen = screen_open(&options, NULL);
    int status = screen_wait(screen);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 2);
    screen_must_show(screen, "files are limited to 10240 bytes here (ulimit -f)");
    screen_close(screen);
    screen = screen_open(&batch, NULL);
    status = screen_wait(screen);
    assert_true(WIFEXITED(status));
    size_t length;
    const char *bytes = screen_bytes(screen, &length);
    assert_null(memmem(bytes, length, "\033[?1049h", 8));
    screen_close(screen);
}

/* An export is no way around the check that keeps inputs and outputs apart. */
static void test_exports_spare(void **state)
{
    (void)state;
    char folder[] = "/tmp/steptop-live-XXXXXX", own[64], link_to[64], keys[128], command[200];
    assert_non_null(mkdtemp(folder));
    snprintf(own, sizeof own, "%s/own.yaml", folder);
    snprintf(link_to, sizeof link_to, "%s/twin.yaml", folder);
    snprintf(command, sizeof command, "cp %s %s", TEST_SOURCE_DIR "/report/seed.yaml", own);
    assert_int_equal(system(command), 0);
    assert_int_equal(link(own, link_to), 0);
    const char *const view[] = {STEPTOP_BINARY, "view", own, NULL};
    const struct screen_options options = {.height = 24, .width = 160, .program = view};
    struct screen *screen = screen_open(&options, NULL);
    screen_must_show(screen, "12 of 12 runs ended");
    screen_must_show(screen, "n/a records"); /* what the report does not say is no number */
    screen_must_lose(screen, "18446744073709551615");
    const char *const refused[] = {own, link_to};
    for (int i = 0; i < 2; i++) {
        snprintf(keys, sizeof keys, "P<^U>%s<Enter><Enter>", refused[i]); /* the first asks whether to replace it */
        screen_type(screen, keys);
        screen_must_show(screen, "that is the file that view reads");
        screen_type(screen, "<Esc>");
    }
    snprintf(keys, sizeof keys, "P<^U>%s/other.yaml<Enter>", folder);
    screen_type(screen, keys);
    screen_must_show(screen, "wrote ");
    screen_type(screen, "q");
    screen_must_end(screen, 0);
    snprintf(command, sizeof command, "cmp %s %s && rm -r %s", TEST_SOURCE_DIR "/report/seed.yaml", own, folder);
    assert_int_equal(system(command), 0);
}

/* However the program ends, its worker does, and the terminal is as it was. */
static void test_killed(void **state)
{
    static const int signals[] = {SIGTERM, SIGHUP, SIGPIPE, SIGQUIT, SIGSEGV, SIGABRT, SIGSYS, SIGKILL};
    (void)state;
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        struct screen *screen = started(forever, 24, 140);
        const pid_t worker = worker_of(screen_child(screen));
        kill(screen_child(screen), signals[i]);
        const int status = screen_wait(screen);
        if (signals[i] == SIGKILL)
            assert_true(WIFSIGNALED(status) && WTERMSIG(status) == signals[i]);
        else
            assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 128 + signals[i]);
        if (signals[i] != SIGKILL) { /* nobody can clean up after that */
            assert_false(screen_is_alternate(screen));
            assert_true(screen_cursor_visible(screen));
            assert_true(screen_modes_restored(screen));
        }
        assert_true(ends_soon(worker));
        screen_close(screen);
    }
    struct screen *screen = started(forever, 24, 140);
    const pid_t worker = worker_of(screen_child(screen));
    screen_hang_up(screen);
    const int status = screen_wait(screen);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 128 + SIGHUP);
    assert_true(ends_soon(worker));
    screen_close(screen);
}

/* C runs the same cell with hardware counters required; where the machine has none, that run says so and why. */
static void test_counters(void **state)
{
    (void)state;
    struct screen *screen = started(three_steps, 30, 140);
    screen_must_show(screen, " DONE ");
    screen_type(screen, "C");
    screen_must_show(screen, "run 2  cpu");
    const uint64_t deadline = clock_now() + 10000000000u;
    bool counted = false, refused = false;
    while (!counted && !refused && clock_now() < deadline) {
        screen_read(screen, 50);
        counted = screen_has(screen, " DONE ") &&
                  (screen_has(screen, "counters rdpmc") || screen_has(screen, "counters read"));
        refused = screen_has(screen, "hardware counters are required and cannot be had");
    }
    assert_true(counted || refused);
    screen_type(screen, "C");
    screen_must_show(screen, "run 3  cpu");
    screen_must_show(screen, " DONE ");
    screen_must_show(screen, "counters off");
    screen_type(screen, "q");
    screen_must_end(screen, counted ? 0 : 1); /* 1: a run was refused */
}

/* What was measured is there when the screen is gone: where is said, and "last" is it. */
static void test_kept(void **state)
{
    char folder[] = "/tmp/steptop-state-XXXXXX", command[160];
    const char *const last[] = {STEPTOP_BINARY, "view", "last", NULL};
    (void)state;
    assert_non_null(mkdtemp(folder));
    struct screen_options options = {.height = 24, .width = 100, .program = three_steps, .state_folder = folder};
    struct screen *screen = screen_open(&options, NULL);
    screen_must_show(screen, " DONE ");
    screen_type(screen, "q");
    screen_must_show(screen, "kept: ");
    screen_must_show(screen, "steptop view last");
    screen_must_end(screen, 0);
    options.program = last;
    screen = screen_open(&options, NULL);
    screen_must_show(screen, " FILE ");
    screen_must_show(screen, "steptop/tiny");
    screen_type(screen, "q");
    screen_must_end(screen, 0);
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    assert_int_equal(system(command), 0);
}

/* --fail-on is the exit code of a screen that was left, too: of what recomputing took, and not of communication that there is none of. */
static void test_fail_on(void **state)
{
    const char *program[] = {STEPTOP_BINARY, "run",   "--device",         "cpu", "--model",   "tiny",
                             "--batch-size", "1",     "--context-length", "16",  "--passes",  "train_step",
                             "--steps",      "12",    "--warmup",         "1",   "--threads", "1",
                             "--checkpoint", "block", "--fail-on",        NULL,  NULL};
    (void)state;
    for (int fires = 0; fires < 2; fires++) {
        program[21] = fires ? "any" : "communication";
        const struct screen_options options = {.height = 24, .width = 100, .program = program};
        struct screen *screen = screen_open(&options, NULL);
        /* Steps under a sanitizer, beside other tests, last longer than a screen is waited for. */
        for (int i = 0; i < 3 && !screen_wait_for(screen, " DONE "); i++)
            ;
        screen_must_show(screen, " DONE ");
        screen_type(screen, "q");
        screen_must_end(screen, fires ? 6 : 0);
    }
}

static void test_devices(void **state)
{
    (void)state;
    struct screen *screen = started(forever, 30, 140);
    screen_type(screen, "D");
    screen_must_show(screen, "Devices");
    screen_must_show(screen, "cpu        ");
    screen_must_show(screen, "Enter opens the new-run form");
    screen_type(screen, "<Enter>");
    screen_must_show(screen, "Enter starts");
    screen_type(screen, "<Esc>D<Esc>"); /* gone before the answer comes */
    screen_must_lose(screen, "Devices");
    expect_records_grow(screen);
    assert_false(screen_has(screen, "Devices"));
    screen_type(screen, "O");
    screen_must_show(screen, "Run profiles");
    screen_must_show(screen, "quickstart");
    screen_type(screen, "<Esc>q");
    screen_must_end(screen, 0);
}

/* A run that is asked for while another one runs waits for it, and says so; one that need not wait starts. */
static void test_queue(void **state)
{
    (void)state;
    struct screen *screen = started(forever, 24, 150);
    screen_type(screen, "Z");
    screen_must_show(screen, " PAUSED ");
    screen_type(screen, "r<Enter>");
    screen_must_show(screen, "run 2 waits: run 1 goes on until it is stopped (x)");
    screen_must_show(screen, " LIVE "); /* a frozen screen goes on for it */
    screen_type(screen, "x");
    screen_must_show(screen, "run 2  cpu");
    screen_must_show(screen, " DONE ");
    screen_type(screen, "r<Enter>");
    screen_must_show(screen, "run 3 starts");
    screen_must_show(screen, "run 3  cpu");
    screen_type(screen, "q");
    screen_must_end(screen, 0);
}

/* A device that is not there ends the program as it does without a screen. */
static void test_no_device(void **state)
{
    static const char *const program[] = {STEPTOP_BINARY, "run", "--device", "opencl", "--model", "tiny", NULL};
    const struct screen_options options = {.height = 24, .width = 120, .program = program};
    (void)state;
    struct screen *screen = screen_open(&options, NULL);
    screen_must_show(screen, "unsupported");
    screen_must_show(screen, " DONE ");
    screen_type(screen, "q");
    screen_must_end(screen, 4);
}

/* Every file that is asked for is there as soon as a cell has ended, whatever may end us before the next. */
static void test_files(void **state)
{
    static const char *const names[] = {"a.yaml", "a.md", "a.csv", "a.json", "a.trace", "a.svg"};
    char folder[] = "/tmp/steptop-live-XXXXXX", paths[6][64];
    struct stat about;
    (void)state;
    assert_non_null(mkdtemp(folder));
    for (int i = 0; i < 6; i++)
        snprintf(paths[i], sizeof paths[i], "%s/%s", folder, names[i]);
    const char *const program[] = {STEPTOP_BINARY,
                                   "run",
                                   "--device",
                                   "cpu",
                                   "--model",
                                   "tiny",
                                   "--batch-size",
                                   "1",
                                   "--context-length",
                                   "16",
                                   "--passes",
                                   "fwd",
                                   "--steps",
                                   "2",
                                   "--warmup",
                                   "1",
                                   "--threads",
                                   "1",
                                   "-o",
                                   paths[0],
                                   "--markdown",
                                   paths[1],
                                   "--csv",
                                   paths[2],
                                   "--json",
                                   paths[3],
                                   "--perfetto",
                                   paths[4],
                                   "--svg",
                                   paths[5],
                                   NULL};
    struct screen *screen = started(program, 24, 120);
    screen_must_show(screen, " DONE ");
    screen_settle(screen, 200);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(stat(paths[i], &about), 0);
        assert_true(about.st_size > 100);
        unlink(paths[i]);
    }
    rmdir(folder);
    kill(screen_child(screen), SIGKILL);
    screen_wait(screen);
    screen_close(screen);
}

/* With the least stack that a program starts with: libraries of the screen take more. */
static void test_small_stack(void **state)
{
    (void)state;
    static const char *const view[] = {
        "/bin/sh", "-c", "ulimit -s 64; exec '" STEPTOP_BINARY "' view '" TEST_SOURCE_DIR "/report/seed.yaml'", NULL};
#ifdef __SANITIZE_ADDRESS__
    skip(); /* AddressSanitizer itself needs more before main */
#endif
    const struct screen_options options = {.height = 30, .width = 100, .program = view};
    struct screen *screen = screen_open(&options, NULL);
    screen_must_show(screen, "runs ended");
    screen_type(screen, "q");
    screen_must_end(screen, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unknown_terminal),
        cmocka_unit_test(test_limit_of_files),
        cmocka_unit_test(test_small_stack),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_pause),
        cmocka_unit_test(test_interrupt),
        cmocka_unit_test(test_stopped_worker),
        cmocka_unit_test(test_killed_worker),
        cmocka_unit_test(test_terminal_does_not_read),
        cmocka_unit_test(test_resize_storm),
        cmocka_unit_test(test_suspend),
        cmocka_unit_test(test_exports_spare),
        cmocka_unit_test(test_killed),
        cmocka_unit_test(test_kept),
        cmocka_unit_test(test_fail_on),
        cmocka_unit_test(test_devices),
        cmocka_unit_test(test_counters),
        cmocka_unit_test(test_queue),
        cmocka_unit_test(test_no_device),
        cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
