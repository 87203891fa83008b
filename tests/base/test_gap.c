/* What a look at the clocks tells, with clocks of the test's own: a thread may lose its processor between any two of their readings. */
#include "base/gap.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

#define MS 1000000u

static struct {
    uint64_t awake, asleep, used;
    int reading, held_up; /* readings so far; before which of them the processor is away for a while */
} fake;

/* In place of the C library's. */
int clock_gettime(clockid_t id, struct timespec *time)
{
    if (++fake.reading == fake.held_up)
        fake.awake += 96 * MS;
    const uint64_t ns = id == CLOCK_PROCESS_CPUTIME_ID ? fake.used
                        : id == CLOCK_MONOTONIC        ? fake.awake
                                                       : fake.awake + fake.asleep;
    *time = (struct timespec){.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};
    return 0;
}

static void work(uint64_t ns)
{
    fake.awake += ns;
    fake.used += ns;
}

static void a_look_that_is_held_up_is_no_sleep(void **state)
{
    (void)state;
    for (int held_up = 0; held_up < 24; held_up++) {
        struct gap_clocks clocks;
        uint64_t start, end;
        fake.awake = fake.used = 1000 * MS;
        fake.asleep = 7000 * MS; /* before we came */
        fake.reading = 0;
        fake.held_up = held_up;
        gap_begin(&clocks);
        for (int i = 0; i < 3; i++) {
            work(30 * MS);
            assert_int_equal(gap_look(&clocks, false, &start, &end), 0);
        }
    }
}

static void a_machine_that_sleeps_is_told(void **state)
{
    (void)state;
    struct gap_clocks clocks;
    uint64_t start, end;
    fake.held_up = 0;
    gap_begin(&clocks);
    work(30 * MS);
    fake.asleep += 2000 * MS;
    const uint64_t gap = gap_look(&clocks, false, &start, &end);
    assert_int_equal(gap, 2030 * MS);
    assert_int_equal(end - start, 30 * MS);
    work(30 * MS);
    assert_int_equal(gap_look(&clocks, false, &start, &end), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_look_that_is_held_up_is_no_sleep),
        cmocka_unit_test(a_machine_that_sleeps_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
