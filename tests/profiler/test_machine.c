/* Who used the processors: what /proc/stat says, shares of it, and a run of the real front beside a program that keeps a processor busy. */
#include "base/unknown.h"
#include "profiler/machine.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

static void test_what_is_read(void **state)
{
    (void)state;
    struct machine_look look = {0};
    assert_true(machine_read(&look, "cpu  10 20 30 400 5 6 7 80 9 9\n", 100));
    assert_true(look.busy == UINT64_C(730000000)); /* 10 + 20 + 30 + 6 + 7 ticks of 10 ms */
    assert_true(look.idle == UINT64_C(4050000000));
    assert_true(look.steal == UINT64_C(800000000));
    assert_true(look.total == look.busy + look.idle + look.steal);
    assert_true(machine_read(&look, "cpu  1 0 0 1 0 0 0 0", 1000));
    assert_true(look.busy == 1000000);
    assert_false(machine_read(&look, "cpu  1 2 3\n", 100));
    assert_false(machine_read(&look, "", 100));
    assert_false(machine_read(&look, "cpu  0 0 0 0 0 0 0 0 0 0\n", 100)); /* as some containers write it */
    assert_false(machine_read(&look, "cpu  1 2 3 4 5 6 7 8\n", 0));
}

static void test_shares(void **state)
{
    (void)state;
    const struct machine_look before = {
        .total = 1000, .busy = 400, .idle = 500, .steal = 100, .own = 50, .throttled = UNKNOWN_U64};
    struct machine_look now = {
        .total = 2000, .busy = 1100, .idle = 700, .steal = 200, .own = 450, .throttled = UNKNOWN_U64};
    struct machine_use use = machine_between(&before, &now, 1);
    assert_true(fabs(use.steal - 0.1) < 1e-12 && fabs(use.idle - 0.2) < 1e-12 && fabs(use.others - 0.3) < 1e-12);
    assert_false(is_known(use.throttled));
    /* A quota stops a run for a part of the time that it may use, which is `allowed` of all processors. */
    struct machine_look stopped = before, later = now;
    stopped.throttled = 10;
    later.throttled = 60;
    const long all = sysconf(_SC_NPROCESSORS_ONLN);
    for (int allowed = 1; allowed <= 2; allowed++)
        assert_true(fabs(machine_between(&stopped, &later, allowed).throttled - 0.05 * (double)all / allowed) < 1e-12);
    now.own = 1500; /* of a clock of another grain: no less than nothing is others' */
    assert_true(machine_between(&before, &now, 1).others == 0);
    now.steal = 50; /* the host's count went back */
    assert_false(is_known(machine_between(&before, &now, 1).steal));
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_read),
        cmocka_unit_test(test_shares),
        cmocka_unit_test(test_this_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
