/* Idle time by its reason: gaps made by hand, each of which can have one reason alone, and any stream of records against a count
 * of nanosecond by nanosecond. */
#include "base/random.h"
#include "base/unknown.h"
#include "profiler/idle.h"
#include "profiler/places.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#define US 1000u
#define START 1000000u /* ns: where the clock of the windows begins */

static void add(struct idle *idle, unsigned kind, uint64_t launch, uint64_t start, uint64_t end, uint64_t payload,
                int32_t place)
{
    const struct record record = {.start = START + start,
                                  .end = START + end,
                                  .launch = is_known_u64(launch) ? START + launch : launch,
                                  .payload = payload,
                                  .place = place,
                                  .kind = (uint8_t)kind,
                                  .pass = PASS_TRAIN_STEP};
    idle_record(idle, &record, false);
}

static void kernel(struct idle *idle, uint64_t launch, uint64_t start, uint64_t end)
{
    add(idle, RECORD_KERNEL, launch, start, end, 0, 1);
}

static void collective(struct idle *idle, uint64_t launch, uint64_t start, uint64_t end)
{
    const struct record record = {
        .start = START + start, .end = START + end, .launch = START + launch, .kind = RECORD_KERNEL};
    idle_record(idle, &record, true);
}

static struct idle_total settled(struct idle *idle)
{
    struct idle_total total;
    idle_settle(idle, UINT64_MAX);
    idle_total(idle, PASS_TRAIN_STEP, &total);
    return total;
}

/* One window of 1 ms whose only kernel runs from 0 to 100 µs and whose next one begins at 1 ms. */
static struct idle *gap(uint64_t launch_of_next)
{
    struct idle *idle = idle_create();
    assert_non_null(idle);
    kernel(idle, 0, 0, 100 * US);
    kernel(idle, launch_of_next, 1000 * US, 1100 * US);
    idle_window(idle, PASS_TRAIN_STEP, START, START + 1000 * US);
    return idle;
}

static void only(struct idle *idle, enum idle_reason reason, uint64_t ns)
{
    const struct idle_total total = settled(idle);
    assert_int_equal(total.steps, 1);
    assert_int_equal(total.wall_ns, 1000 * US);
    for (int r = 0; r < IDLE_REASONS; r++)
        assert_int_equal(total.ns[r], r == (int)reason ? ns : 0);
    idle_free(idle);
}

/* After steps that were not recorded the device may be at what they launched: a kernel that was launched long before it began waited for
 * that, and nothing is known to have been idle. In the step after a recorded one the same gap has its reason. */
static void backlog(void **state)
{
    (void)state;
    struct idle *ahead = idle_create(); /* by a whole step: what the first two launch runs in the third */
    kernel(ahead, 1100 * US, 3500 * US, 3900 * US);
    for (unsigned w = 1; w < 4; w++)
        idle_window(ahead, PASS_TRAIN_STEP, START + w * 1000 * US, START + (w + 1) * 1000 * US);
    const struct idle_total none = settled(ahead);
    assert_int_equal(none.ns[IDLE_LAUNCH], 0);
    assert_int_equal(none.ns[IDLE_UNKNOWN], 100 * US);
    idle_free(ahead);
    for (int follows = 0; follows < 2; follows++) {
        struct idle *idle = idle_create();
        struct idle_total total;
        if (follows) {
            kernel(idle, 0, 100 * US, 200 * US);
            idle_window(idle, PASS_TRAIN_STEP, START, START + 1000 * US);
        }
        kernel(idle, 1100 * US, 1600 * US, 1900 * US);
        kernel(idle, 1950 * US, 2050 * US, 2100 * US);
        idle_window(idle, PASS_TRAIN_STEP, START + 1000 * US, START + 2000 * US);
        total = settled(idle);
        assert_int_equal(total.ns[IDLE_LAUNCH], (follows ? 100 + 800 + 600 + 100 : 100) * US);
        idle_free(idle);
    }
}

static void reasons(void **state)
{
    (void)state;
    /* The host launched late; a microsecond before the device ran dry is late, too; long before is a queue. */
    only(gap(995 * US), IDLE_LAUNCH, 900 * US);
    only(gap(99 * US), IDLE_LAUNCH, 900 * US);
    only(gap(50 * US), IDLE_QUEUE, 900 * US);
    only(gap(UNKNOWN_U64), IDLE_UNKNOWN, 900 * US);

    struct idle *idle = gap(995 * US);
    add(idle, RECORD_SYNC, 20 * US, 20 * US, 101 * US, SYNC_OF_HOST, 7);
    idle_settle(idle, UINT64_MAX);
    struct idle_total total;
    idle_total(idle, PASS_TRAIN_STEP, &total);
    assert_int_equal(total.sync_place, 7);
    assert_int_equal(total.sync_ns, 900 * US);
    only(idle, IDLE_SYNC, 900 * US);

    /* One stream that waits for another keeps no host; a wait that was over before the device ran dry drained nothing. */
    idle = gap(995 * US);
    add(idle, RECORD_SYNC, 20 * US, 20 * US, 101 * US, 0, 7);
    add(idle, RECORD_SYNC, 20 * US, 20 * US, 60 * US, SYNC_OF_HOST, 7);
    only(idle, IDLE_LAUNCH, 900 * US);

    /* Data is asked for after a synchronisation: the loader is what the time went to. */
    idle = gap(995 * US);
    add(idle, RECORD_SYNC, 20 * US, 20 * US, 100 * US, SYNC_OF_HOST, 7);
    add(idle, RECORD_WAIT, UNKNOWN_U64, 100 * US, 1000 * US, WAIT_DATA, -1);
    only(idle, IDLE_DATA, 900 * US);

    /* A kernel that waits in its queue for a collective on another stream waits for the other rank. */
    idle = gap(50 * US);
    collective(idle, 40 * US, 90 * US, 1000 * US);
    only(idle, IDLE_RANK, 900 * US);

    idle = gap(995 * US);
    add(idle, RECORD_WAIT, UNKNOWN_U64, 50 * US, 2000 * US, WAIT_RANK, -1);
    only(idle, IDLE_RANK, 900 * US);
}

static void parts(void **state)
{
    (void)state;
    struct idle *idle = gap(995 * US);
    add(idle, RECORD_WAIT, UNKNOWN_U64, 200 * US, 500 * US, WAIT_DATA, -1);
    add(idle, RECORD_WAIT, UNKNOWN_U64, 400 * US, 600 * US, WAIT_RANK, -1); /* comes first where both are */
    const struct idle_total total = settled(idle);
    assert_int_equal(total.ns[IDLE_RANK], 200 * US);
    assert_int_equal(total.ns[IDLE_DATA], 200 * US);
    assert_int_equal(total.ns[IDLE_LAUNCH], 500 * US);
    idle_free(idle);
}

/* A gap over the border of two windows is in each with its part, and what drained the queue is known in both. */
static void borders(void **state)
{
    (void)state;
    for (int together = 0; together < 2; together++) {
        struct idle *idle = idle_create();
        kernel(idle, 0, 0, 900 * US);
        add(idle, RECORD_SYNC, 20 * US, 20 * US, 900 * US, SYNC_OF_HOST, 3);
        idle_window(idle, PASS_TRAIN_STEP, START, START + 1000 * US);
        if (!together)
            idle_settle(idle, UINT64_MAX);
        kernel(idle, 1995 * US, 2000 * US, 2100 * US);
        idle_window(idle, PASS_TRAIN_STEP, START + 1000 * US, START + 2100 * US);
        const struct idle_total total = settled(idle);
        assert_int_equal(total.steps, 2);
        assert_int_equal(total.ns[IDLE_SYNC], 1100 * US);
        idle_free(idle);
    }
}

/* Windows wait for records that come late, and for no longer. */
static void patience(void **state)
{
    (void)state;
    struct idle_total total;
    struct idle *idle = gap(995 * US);
    idle_settle(idle, START + 1000 * US + 200000000u);
    idle_total(idle, PASS_TRAIN_STEP, &total);
    assert_int_equal(total.steps, 0);
    kernel(idle, 100 * US, 200 * US, 300 * US); /* out of order */
    idle_settle(idle, START + 1000 * US + 250000000u);
    idle_total(idle, PASS_TRAIN_STEP, &total);
    assert_int_equal(total.steps, 1);
    assert_int_equal(total.ns[IDLE_LAUNCH], 800 * US);
    idle_free(idle);
}

/* A million records without a window, then windows: memory has a bound, and what is older than it is not looked at. */
static void bounded(void **state)
{
    (void)state;
    struct idle *idle = idle_create();
    const uint64_t count = 1200000;
    for (uint64_t i = 0; i < count; i++)
        kernel(idle, 10 * i, 10 * i, 10 * i + 5);
    idle_window(idle, PASS_TRAIN_STEP, START, START + 100);
    idle_window(idle, PASS_TRAIN_STEP, START + 10 * (count - 100), START + 10 * count);
    const struct idle_total total = settled(idle);
    assert_int_equal(total.steps, 1);
    assert_int_equal(total.ns[IDLE_LAUNCH] + total.ns[IDLE_UNKNOWN], 500);
    idle_free(idle);
}

/* Random kernels on three streams in random order: idle is what no kernel covers, to the nanosecond. */
static void against_a_count(void **state)
{
    (void)state;
    uint64_t drawn = 0;
    enum { SPAN = 4000, STEP = 1000 };
    for (int round = 0; round < 300; round++) {
        struct idle *idle = idle_create();
        static bool busy[SPAN + 400];
        memset(busy, 0, sizeof busy);
        const int count = (int)(random_bits(20, 0, drawn++) % 60);
        for (int i = 0; i < count; i++) {
            const uint64_t start = random_bits(20, 0, drawn++) % SPAN, length = random_bits(20, 0, drawn++) % 200;
            kernel(idle, start, start, start + length);
            memset(busy + start, 1, length);
            if (i % 7 == 0)
                idle_settle(idle, START); /* nothing to look at yet: it may sort */
        }
        uint64_t expected = 0, got = 0;
        for (uint64_t at = 0; at < SPAN; at++)
            expected += !busy[at];
        for (uint64_t at = 0; at < SPAN; at += STEP)
            idle_window(idle, PASS_TRAIN_STEP, START + at, START + at + STEP);
        const struct idle_total total = settled(idle);
        for (int r = 0; r < IDLE_REASONS; r++)
            got += total.ns[r];
        assert_int_equal(got, expected);
        assert_int_equal(total.wall_ns, SPAN);
        idle_free(idle);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reasons),         cmocka_unit_test(backlog),  cmocka_unit_test(parts),
        cmocka_unit_test(borders),         cmocka_unit_test(patience), cmocka_unit_test(bounded),
        cmocka_unit_test(against_a_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
