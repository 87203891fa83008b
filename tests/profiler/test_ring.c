/* The ring within one process, across two, full, and with a producer that lies. */
#include "base/system.h"
#include "profiler/ring.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
// clang-format off
#include <cmocka.h>
// clang-format on

static struct record numbered(uint64_t i)
{
    return (struct record){.start = i * 3 + 1, .end = i * 3 + 2, .launch = ~i, .payload = i * i, .name = (uint32_t)i};
}

static void assert_numbered(const struct record *record)
{
    struct record expected = numbered(record->name);
    expected.sequence = record->sequence;
    assert_memory_equal(record, &expected, sizeof expected);
}

static void fills_drops_and_goes_on(void **state)
{
    (void)state;
    struct error error = {0};
    struct ring *ring = ring_create(8, &error);
    assert_non_null(ring);
    struct record out[16];
    assert_int_equal(ring_drain(ring, out, 16), 0);
    for (uint64_t i = 0; i < 11; i++) {
        struct record record = numbered(i);
        assert_int_equal(ring_push(ring, &record), i < 8);
    }
    assert_int_equal(ring_waiting(ring), 8);
    assert_int_equal(ring_drain(ring, out, 3), 3);
    for (uint64_t i = 11; i < 14; i++) { /* over the end of the store */
        struct record record = numbered(i);
        assert_true(ring_push(ring, &record));
    }
    assert_int_equal(ring_drain(ring, out + 3, 13), 8);
    static const uint32_t sequences[11] = {0, 1, 2, 3, 4, 5, 6, 7, 11, 12, 13}; /* 8 9 10 are the gap */
    for (int i = 0; i < 11; i++) {
        assert_int_equal(out[i].sequence, sequences[i]);
        assert_int_equal(out[i].name, sequences[i]);
        assert_numbered(&out[i]);
    }
    ring_count_dropped(ring, 5);
    struct ring_counts counts;
    ring_counts(ring, &counts);
    assert_int_equal(counts.pushed, 11);
    assert_int_equal(counts.drained, 11);
    assert_int_equal(counts.dropped, 3 + 5);
    ring_close(ring);
}

static void refuses_what_is_no_ring(void **state)
{
    (void)state;
    struct error error = {0};
    assert_null(ring_create(100, &error));
    assert_null(ring_create(0, &error));
    assert_null(ring_create(1u << 30, &error));

    const int empty = memfd_create("empty", 0);
    assert_null(ring_attach(empty, &error));
    assert_int_equal(error.kind, ERROR_INPUT);
    assert_int_equal(ftruncate(empty, 1 << 20), 0);
    assert_null(ring_attach(empty, &error)); /* no magic */
    close(empty);
    assert_null(ring_attach(-1, &error));

    /* A header that promises more than the file holds. */
    struct ring *ring = ring_create(8, &error);
    char header[4096 + 8 * 64];
    assert_int_equal(pread(ring_fd(ring), header, sizeof header, 0), sizeof header);
    const int forged = memfd_create("forged", 0);
    uint32_t capacity = 1 << 20;
    memcpy(header + 16, &capacity, sizeof capacity);
    assert_int_equal(write(forged, header, sizeof header), sizeof header);
    assert_null(ring_attach(forged, &error));
    assert_non_null(strstr(error.text, "1048576"));
    close(forged);
    ring_close(ring);
}

static void is_sealed(void **state)
{
    (void)state;
#ifndef SYSTEM_LINUX
    skip(); /* other systems have no seals */
#endif
    struct error error = {0};
    struct ring *ring = ring_create(64, &error);
    assert_int_equal(ftruncate(ring_fd(ring), 0), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(ftruncate(ring_fd(ring), 1 << 20), -1);
    assert_int_equal(fcntl(ring_fd(ring), F_ADD_SEALS, F_SEAL_WRITE), -1);
    ring_close(ring);
}

/* Maps the shared pages as a hostile worker could and writes over all that it reaches. */
static void survives_a_lying_producer(void **state)
{
    (void)state;
    struct error error = {0};
    struct ring *ring = ring_create(16, &error);
    const size_t bytes = 4096 + 16 * sizeof(struct record);
    unsigned char *shared = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, ring_fd(ring), 0);
    assert_ptr_not_equal(shared, MAP_FAILED);
    struct record *out = malloc(32 * sizeof *out); /* on the heap: a sanitizer sees the first byte beyond it */
    for (unsigned value = 0; value < 256; value++) {
        memset(shared, (int)value, bytes);
        for (int again = 0; again < 4; again++)
            assert_in_range(ring_drain(ring, out, 32), 0, 16);
        assert_in_range(ring_waiting(ring), 0, 16);
    }
    /* It still works when the producer comes to its senses; what lies between is skipped. */
    memset(shared, 0, 4096);
    ring_drain(ring, out, 32);
    ((volatile uint64_t *)shared)[8] = 2;
    assert_int_equal(ring_drain(ring, out, 32), 2);
    munmap(shared, bytes);
    free(out);
    ring_close(ring);
}

/* A second process pushes as fast as it can into a small ring. Every record arrives whole and in order, or is missing in
 * the sequence and counted. */
static void across_processes(uint64_t total, uint32_t capacity)
{
    struct error error = {0};
    struct ring *ring = ring_create(capacity, &error);
    assert_non_null(ring);
    const pid_t child = fork();
    if (child == 0) {
        struct ring *mine = ring_attach(dup(ring_fd(ring)), &error);
        if (!mine)
            _exit(2);
        for (uint64_t i = 0; i < total; i++) {
            struct record record = numbered(i);
            ring_push(mine, &record);
            if (i % 4096 == 0)
                sched_yield();
        }
        ring_close(mine);
        _exit(0);
    }
    struct record out[256];
    uint64_t received = 0, gaps = 0;
    uint32_t expected = 0;
    int status = -1;
    for (bool ended = false;;) {
        const size_t count = ring_drain(ring, out, 256);
        for (size_t i = 0; i < count; i++) {
            assert_true(out[i].sequence >= expected);
            assert_int_equal(out[i].sequence, out[i].name);
            assert_numbered(&out[i]);
            gaps += out[i].sequence - expected;
            expected = out[i].sequence + 1;
        }
        received += count;
        if (!count) {
            if (ended)
                break;
            ended = waitpid(child, &status, WNOHANG) == child;
            sched_yield();
        }
    }
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    struct ring_counts counts;
    ring_counts(ring, &counts);
    assert_int_equal(received, counts.pushed);
    assert_int_equal(counts.pushed + counts.dropped, total);
    assert_int_equal(gaps + (total - expected), counts.dropped);
    ring_close(ring);
}

static void across_two_processes(void **state)
{
    (void)state;
    across_processes(1000000, 1024);
    across_processes(200000, 2);
    across_processes(100000, 1 << 17);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fills_drops_and_goes_on),
        cmocka_unit_test(refuses_what_is_no_ring),
        cmocka_unit_test(is_sealed),
        cmocka_unit_test(survives_a_lying_producer),
        cmocka_unit_test(across_two_processes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
