/* The ring between two threads that share one mapping, for ThreadSanitizer: it does not see across processes, nor that two
 * mappings are the same pages. So the two handles are made here by hand, out of the ring's own source. */
#include "profiler/ring.c"
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define RECORDS 200000u

static void *produce(void *context)
{
    struct ring *ring = context;
    for (uint32_t i = 0; i < RECORDS; i++) {
        struct record record = {.start = i, .end = i + 1, .launch = i ^ 0x5a5a, .name = i, .payload = ~(uint64_t)i};
        ring_push(ring, &record);
        if (i % 1000 == 0)
            ring_count_dropped(ring, 1);
        if (i % 64 == 0)
            sched_yield();
    }
    return NULL;
}

static void between_threads(uint32_t capacity)
{
    struct error error = {0};
    struct ring *ring = ring_create(capacity, &error);
    assert_non_null(ring);
    struct ring producer = *ring; /* the same pages at the same place; its own indices */
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, produce, &producer), 0);
    struct record out[128];
    uint64_t received = 0, gaps = 0;
    uint32_t expected = 0;
    struct ring_counts counts = {.dropped = RECORDS / 1000};
    while (received + counts.dropped - RECORDS / 1000 < RECORDS) {
        const size_t count = ring_drain(ring, out, 128);
        for (size_t i = 0; i < count; i++) {
            assert_true(out[i].sequence >= expected && out[i].sequence == out[i].name);
            assert_true(out[i].start == out[i].name && out[i].end == out[i].start + 1 &&
                        out[i].launch == (out[i].start ^ 0x5a5a) && out[i].payload == ~out[i].start);
            gaps += out[i].sequence - expected;
            expected = out[i].sequence + 1;
        }
        received += count;
        assert_in_range(ring_waiting(ring), 0, capacity);
        ring_counts(ring, &counts);
        if (counts.dropped < RECORDS / 1000)
            counts.dropped = RECORDS / 1000; /* not all of the other losses were counted yet */
    }
    pthread_join(thread, NULL);
    ring_counts(ring, &counts);
    assert_int_equal(counts.pushed, received);
    assert_int_equal(gaps + (RECORDS - expected), counts.dropped - RECORDS / 1000);
    ring_close(ring);
}

static void small_and_large(void **state)
{
    (void)state;
    between_threads(2);
    between_threads(64);
    between_threads(1u << 15);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(small_and_large)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
