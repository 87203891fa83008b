/* Who used the processors: what /proc/stat says, shares of it, and what children use that have not ended. */
#include "base/unknown.h"
#include "profiler/machine.h"
#include "tests/profiler/session_helpers.h"
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static bool reads(struct machine_look *look, const char *text, long hertz, const bool *bound, int count)
{
    *look = (struct machine_look){0};
    FILE *file = *text ? fmemopen((void *)text, strlen(text), "r") : fopen("/dev/null", "r");
    assert_non_null(file);
    const bool read = machine_read(look, file, hertz, bound, count);
    fclose(file);
    return read;
}

static void test_what_is_read(void **state)
{
    (void)state;
    struct machine_look look = {0};
    assert_true(reads(&look, "cpu  10 20 30 400 5 6 7 80 9 9\n", 100, NULL, 0));
    assert_true(look.busy == UINT64_C(730000000)); /* 10 + 20 + 30 + 6 + 7 ticks of 10 ms */
    assert_true(look.idle == UINT64_C(4050000000));
    assert_true(look.steal == UINT64_C(800000000));
    assert_true(look.total == look.busy + look.idle + look.steal);
    assert_true(reads(&look, "cpu  1 0 0 1 0 0 0 0", 1000, NULL, 0));
    assert_true(look.busy == 1000000);
    assert_false(reads(&look, "cpu  1 2 3\n", 100, NULL, 0));
    assert_false(reads(&look, "", 100, NULL, 0));
    assert_false(reads(&look, "cpu  0 0 0 0 0 0 0 0 0 0\n", 100, NULL, 0)); /* as some containers write it */
    assert_false(reads(&look, "cpu  1 2 3 4 5 6 7 8\n", 0, NULL, 0));
}

/* Of a run that is bound to some processors, what goes on at the others is nobody's matter. */
static void test_bound_processors(void **state)
{
    (void)state;
    static const char text[] = "cpu  60 0 0 240 0 0 0 0 0 0\n"
                               "cpu0 10 0 0 90 0 0 0 0 0 0\n"
                               "cpu2 48 0 0 50 0 0 0 2 0 0\n" /* cpu1 is switched off */
                               "cpu3 2 0 0 98 0 0 0 0 0 0\n"
                               "intr 1 2 3\ncpu2 9 9 9 9 9 9 9 9\n";
    struct machine_look look;
    const bool third[4] = {false, false, true, false}, two[4] = {true, true, true, false}, none[4] = {0};
    assert_true(reads(&look, text, 1000, third, 4));
    assert_true(look.busy == 48000000 && look.idle == 50000000 && look.steal == 2000000 && look.processors == 1);
    assert_true(reads(&look, text, 1000, two, 4));
    assert_true(look.busy == 58000000 && look.idle == 140000000 && look.processors == 2);
    assert_true(reads(&look, text, 1000, none, 4)); /* a mask of others alone cannot be: all are told of */
    assert_true(look.busy == 60000000 && look.idle == 240000000 && look.processors == 3);
    assert_true(reads(&look, text, 1000, NULL, 0));
    assert_true(look.busy == 60000000 && look.processors == 3);
}

static void test_shares(void **state)
{
    (void)state;
    const struct machine_look before = {
        .total = 1000, .busy = 400, .idle = 500, .steal = 100, .own = 50, .throttled = UNKNOWN_U64, .processors = 4};
    struct machine_look now = {
        .total = 2000, .busy = 1100, .idle = 700, .steal = 200, .own = 450, .throttled = UNKNOWN_U64, .processors = 4};
    struct machine_use use = machine_between(&before, &now, 1);
    assert_true(fabs(use.steal - 0.1) < 1e-12 && fabs(use.idle - 0.2) < 1e-12 && fabs(use.others - 0.3) < 1e-12);
    assert_false(is_known(use.throttled));
    /* A quota stops a run for a part of the time that it may use, which is `allowed` of all processors. */
    struct machine_look stopped = before, later = now;
    stopped.throttled = 10;
    later.throttled = 60;
    for (int allowed = 1; allowed <= 2; allowed++)
        assert_true(fabs(machine_between(&stopped, &later, allowed).throttled - 0.05 * 4 / allowed) < 1e-12);
    now.own = 1500; /* of a clock of another grain: no less than nothing is others' */
    assert_true(machine_between(&before, &now, 1).others == 0);
    now.steal = 50; /* the host's count went back */
    assert_false(is_known(machine_between(&before, &now, 1).steal));
    now.processors = 3; /* one was switched off meanwhile */
    assert_false(is_known(machine_between(&before, &now, 1).idle));
    now.processors = 4;
    now.own = UNKNOWN_U64;
    assert_false(is_known(machine_between(&before, &now, 1).others));
    assert_false(is_known(machine_between(&now, &before, 1).idle));
    use = machine_believed((struct machine_use){0.5, 1.5, -0.1, UNKNOWN_DOUBLE});
    assert_true(use.steal == 0.5 && !is_known(use.others) && !is_known(use.idle) && !is_known(use.throttled));
}

/* This machine's own: every part is there, and they make up the whole. */
static void test_this_machine(void **state)
{
    (void)state;
    struct machine_look look;
    machine_look(&look);
    assert_true(is_known_u64(look.own));
    if (!is_known_u64(look.total))
        skip();
    assert_true(look.total == look.busy + look.idle + look.steal && look.busy >= look.own);
}

#define BURNT_NS 300000000

static void burn(int report)
{
    struct timespec used;
    do {
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    } while (used.tv_sec == 0 && used.tv_nsec < BURNT_NS);
    if (write(report, "b", 1) != 1)
        _exit(1);
}

static void *start_child(void *argument)
{
    if (fork() == 0) {
        burn(*(int *)argument);
        pause();
    }
    return NULL;
}

/* What a run's processes use before they end is the run's and not others': a child's, and that of one that a thread of it started. */
static void test_the_living_are_no_others(void **state)
{
    (void)state;
    int report[2];
    struct machine_look before, now;
    assert_int_equal(pipe(report), 0);
    machine_look(&before);
    if (!is_known_u64(before.living))
        skip(); /* a kernel that does not tell of children */
    const pid_t child = fork();
    if (child == 0) {
        pthread_t thread;
        setpgid(0, 0);
        close(report[0]);
        burn(report[1]);
        if (pthread_create(&thread, NULL, start_child, &report[1]) == 0)
            pthread_join(thread, NULL);
        for (;;)
            pause();
    }
    setpgid(child, child);
    close(report[1]);
    char burnt[2];
    for (int got = 0; got < 2; got++)
        assert_int_equal(read(report[0], burnt, 1), 1);
    machine_look(&now);
    kill(-child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    close(report[0]);
    /* In ticks of the clock, two numbers each. */
    assert_true(now.living >= before.living + 2 * BURNT_NS - 4 * 10000000);
    struct machine_look all = before, own = now;
    all.total = 0, all.busy = all.idle = all.steal = 0, all.processors = own.processors = 1;
    own.total = own.busy = own.own - before.own + own.living - before.living;
    own.idle = own.steal = 0;
    assert_true(machine_between(&all, &own, 1).others == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_read),
        cmocka_unit_test(test_bound_processors),
        cmocka_unit_test(test_shares),
        cmocka_unit_test(test_this_machine),
        cmocka_unit_test(test_the_living_are_no_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
