/* The decision which counters to use, on machines played by a table of calls, and what reading them gives. */
#include "base/unknown.h"
#include "worker/perf_events.h"
#include "worker/probe.h"
#include <errno.h>
#include <linux/perf_event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#define OPENED 128

/* A machine: what it refuses, and what its counters say. Descriptors are 100 and up. */
struct machine {
    int hardware_error; /* errno of hardware events, 0: they are here */
    int cache_error;    /* of cache misses alone */
    int kernel_error;   /* of what would count in the kernel */
    int software_error;
    bool user_read; /* rdpmc allowed */
    bool no_map;
    bool fails; /* reading does */
    uint64_t enabled, running;
    int enabled_groups, opened, closed, mapped, unmapped, reads, threads_run;
    struct perf_event_attr attrs[OPENED];
    int leader[OPENED];
    uint64_t value[OPENED];
    struct perf_event_mmap_page pages[OPENED];
    int moves; /* how often the kernel moves a counter under a reader */
    struct perf_event_mmap_page *moving;
};

static int machine_open(void *context, struct perf_event_attr *attr, int group)
{
    struct machine *m = context;
    const bool hardware = attr->type == PERF_TYPE_HARDWARE;
    if (hardware && m->hardware_error)
        return -m->hardware_error;
    if (hardware && m->cache_error && attr->config == PERF_COUNT_HW_CACHE_MISSES)
        return -m->cache_error;
    if (!attr->exclude_kernel && m->kernel_error)
        return -m->kernel_error;
    if (!hardware && m->software_error)
        return -m->software_error;
    const int i = m->opened++;
    m->attrs[i] = *attr;
    m->leader[i] = group < 0 ? i : group - 100;
    m->value[i] = 1000u * (uint64_t)(i + 1);
    m->pages[i].cap_user_rdpmc = m->user_read;
    m->pages[i].index = (uint32_t)i + 1;
    m->pages[i].pmc_width = 48;
    m->pages[i].offset = 5;
    return 100 + i;
}

static void machine_enable(void *context, int leader)
{
    struct machine *m = context;
    assert_int_equal(m->leader[leader - 100], leader - 100);
    assert_int_equal(m->attrs[leader - 100].disabled, 1);
    m->enabled_groups++;
}

static ssize_t made_read(void *context, int fd, void *bytes, size_t size)
{
    struct machine *m = context;
    uint64_t out[16] = {0, m->enabled, m->running};
    m->reads++;
    if (m->fails)
        return -1;
    for (int i = 0; i < m->opened; i++)
        if (m->leader[i] == fd - 100)
            out[3 + out[0]++] = m->value[i];
    const size_t length = (3 + out[0]) * 8;
    memcpy(bytes, out, length < size ? length : size);
    return (ssize_t)(length < size ? length : size);
}

static struct perf_event_mmap_page *machine_map(void *context, int fd)
{
    struct machine *m = context;
    if (m->no_map)
        return NULL;
    m->mapped++;
    return &m->pages[fd - 100];
}

static void machine_unmap(void *context, struct perf_event_mmap_page *page)
{
    (void)page;
    ((struct machine *)context)->unmapped++;
}

static uint64_t machine_rdpmc(void *context, uint32_t counter)
{
    struct machine *m = context;
    struct perf_event_mmap_page *page = &m->pages[counter];
    if (m->moves > 0) { /* between the reader's two looks at the lock */
        m->moves--;
        page->lock += 2;
        page->offset += 100;
    }
    return (m->value[counter] - 5) & 0xffffffffffffu; /* 48 bits, upper ones cut */
}

static void machine_close(void *context, int fd)
{
    (void)fd;
    ((struct machine *)context)->closed++;
}

static void machine_each_thread(void *context, int threads, void (*body)(void *, int), void *argument)
{
    for (int i = 0; i < threads; i++) {
        ((struct machine *)context)->threads_run++;
        body(argument, i);
    }
}

static struct counters *open_on(struct machine *m, int threads)
{
    m->enabled = m->enabled ? m->enabled : 10;
    m->running = m->running ? m->running : m->enabled;
    const struct counters_calls calls = {.context = m,
                                         .open = machine_open,
                                         .enable = machine_enable,
                                         .read = made_read,
                                         .map = machine_map,
                                         .unmap = machine_unmap,
                                         .rdpmc = machine_rdpmc,
                                         .close = machine_close,
                                         .each_thread = machine_each_thread};
    struct counters *counters = counters_open(threads, NULL, &calls);
    assert_non_null(counters);
    return counters;
}

static void close_all(struct machine *m, struct counters *counters)
{
    counters_close(counters);
    assert_int_equal(m->closed, m->opened);
    assert_int_equal(m->unmapped, m->mapped);
}

static void reads_in_user_space(void **state)
{
    (void)state;
    struct machine *m = calloc(1, sizeof *m);
    m->user_read = true;
    struct counters *counters = open_on(m, 1);
    assert_int_equal(counters_tier(counters), TIER_RDPMC);
    assert_string_equal(counters_reason(counters), "");
    assert_string_equal(counters_names(counters)[0], "cycles");
    assert_string_equal(counters_names(counters)[3], "page_faults");
    assert_int_equal(m->attrs[0].exclude_kernel, 1);
    assert_int_equal(m->attrs[0].read_format,
                     PERF_FORMAT_GROUP | PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING);
    uint64_t values[COUNTERS_PER_KERNEL];
    bool scaled;
    assert_true(counters_read(counters, values, &scaled));
    assert_int_equal(values[0], 1000);
    assert_int_equal(values[1], 2000);
    assert_int_equal(values[2], 3000);
    assert_int_equal(values[3], UNKNOWN_U64); /* no system call was made for it */
    assert_int_equal(m->reads, 0);
    m->moves = 3; /* the kernel moves the counter three times under the reader */
    assert_true(counters_read(counters, values, &scaled));
    assert_int_equal(values[0], 1300);
    m->value[0] = (uint64_t)-20 + 5; /* a counter that the kernel let start below zero */
    m->pages[0].offset = 5000;
    assert_true(counters_read(counters, values, &scaled));
    assert_int_equal(values[0], 4980);
    assert_int_equal(m->reads, 0);
    /* taken off the processor: only the kernel knows */
    m->pages[0].index = 0;
    m->value[0] = 77;
    assert_true(counters_read(counters, values, &scaled));
    assert_int_equal(values[0], 77);
    assert_int_equal(values[3], 4000);
    assert_int_equal(m->reads, 1);
    close_all(m, counters);
    free(m);
}

static void reads_by_system_call(void **state)
{
    (void)state;
    struct machine *m = calloc(1, sizeof *m);
    struct counters *counters = open_on(m, 3);
    assert_int_equal(counters_tier(counters), TIER_READ);
    assert_non_null(strstr(counters_reason(counters), "user space"));
    assert_int_equal(counters_threads(counters), 3);
    assert_int_equal(m->threads_run, 3);
    assert_int_equal(m->opened, 12);
    assert_int_equal(m->enabled_groups, 3);
    uint64_t values[COUNTERS_PER_KERNEL];
    bool scaled;
    assert_true(counters_read(counters, values, &scaled));
    assert_int_equal(values[0], 1000 + 5000 + 9000); /* one group a thread */
    assert_int_equal(values[3], 4000 + 8000 + 12000);
    assert_false(scaled);
    /* The counters were on for a quarter of the time: extrapolated, and said so. */
    m->enabled = 40;
    m->running = 10;
    assert_true(counters_read(counters, values, &scaled));
    assert_int_equal(values[0], 4 * 15000);
    assert_true(scaled);
    m->running = 0;
    m->pages[0].cap_user_rdpmc = 0;
    /* never on: nothing is known, and nothing is divided by zero */
    assert_false(counters_read(counters, values, &scaled));
    close_all(m, counters);

    struct machine *many = calloc(1, sizeof *many);
    counters = open_on(many, COUNTERS_MAX_THREADS + 1); /* too many to read around each kernel: the calling one */
    assert_int_equal(counters_threads(counters), 1);
    close_all(many, counters);
    free(many);
    free(m);
}

static void a_shared_counter_is_left_to_the_kernel(void **state)
{
    (void)state;
    struct machine *m = calloc(1, sizeof *m);
    m->user_read = true;
    struct counters *counters = open_on(m, 1);
    m->pages[1].time_enabled = 20;
    m->pages[1].time_running = 10;
    m->enabled = 20;
    m->running = 10;
    uint64_t values[COUNTERS_PER_KERNEL];
    bool scaled;
    assert_true(counters_read(counters, values, &scaled));
    assert_int_equal(values[1], 4000);
    assert_true(scaled);
    close_all(m, counters);
    free(m);
}

static void an_event_that_is_missing_is_unknown(void **state)
{
    (void)state;
    struct machine *m = calloc(1, sizeof *m);
    m->cache_error = ENOENT;
    struct counters *counters = open_on(m, 1);
    uint64_t values[COUNTERS_PER_KERNEL];
    bool scaled;
    assert_true(counters_read(counters, values, &scaled));
    assert_int_equal(values[1], 2000);
    assert_int_equal(values[2], UNKNOWN_U64);
    assert_int_equal(values[3], 3000);
    close_all(m, counters);
    free(m);
}

static void falls_back_to_software(void **state)
{
    (void)state;
    static const int absent[] = {ENOENT, EOPNOTSUPP, ENXIO, ENODEV, EACCES, EPERM};
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++) {
        struct machine *m = calloc(1, sizeof *m);
        m->hardware_error = absent[i];
        struct counters *counters = open_on(m, 1);
        assert_int_equal(counters_tier(counters), TIER_SOFTWARE);
        assert_non_null(strstr(counters_reason(counters), i < 4 ? "does not offer" : "not permitted"));
        assert_string_equal(counters_names(counters)[0], "task_clock_ns");
        assert_string_equal(counters_names(counters)[3], "migrations");
        uint64_t values[COUNTERS_PER_KERNEL];
        bool scaled;
        assert_true(counters_read(counters, values, &scaled));
        for (int v = 0; v < COUNTERS_PER_KERNEL; v++)
            assert_int_equal(values[v], 1000 * (v + 1));
        close_all(m, counters);
        free(m);
    }
}

static void unprivileged_software_leaves_kernel_events_out(void **state)
{
    (void)state;
    struct machine *m = calloc(1, sizeof *m);
    m->hardware_error = ENOENT;
    m->kernel_error = EACCES;
    struct counters *counters = open_on(m, 1);
    assert_int_equal(counters_tier(counters), TIER_SOFTWARE);
    assert_non_null(strstr(counters_reason(counters), "switches and migrations"));
    uint64_t values[COUNTERS_PER_KERNEL];
    bool scaled;
    assert_true(counters_read(counters, values, &scaled));
    assert_int_equal(values[0], 1000);
    assert_int_equal(values[1], 2000);
    assert_int_equal(values[2], UNKNOWN_U64); /* not zero: a switch happens in the kernel, which was not counted */
    assert_int_equal(values[3], UNKNOWN_U64);
    close_all(m, counters);
    free(m);
}

static void the_clock_is_left(void **state)
{
    (void)state;
    struct machine *m = calloc(1, sizeof *m);
    m->hardware_error = m->kernel_error = m->software_error = ENOSYS;
    struct counters *counters = open_on(m, 4);
    assert_int_equal(counters_tier(counters), TIER_CLOCK);
    assert_non_null(strstr(counters_reason(counters), "no perf events"));
    assert_null(counters_names(counters)[0]);
    assert_int_equal(counters_threads(counters), 0);
    uint64_t values[COUNTERS_PER_KERNEL];
    bool scaled;
    assert_false(counters_read(counters, values, &scaled));
    assert_int_equal(values[0], UNKNOWN_U64);
    close_all(m, counters);
    free(m);
}

/* On this machine, whatever it has: work counts, and a page touched for the first time is a fault. */
static void one_thread(int threads, void (*body)(void *, int), void *argument)
{
    (void)threads;
    body(argument, 0);
}

static void this_machine(void **state)
{
    (void)state;
    struct counters *counters = counters_open(1, one_thread, NULL);
    print_message("counter tier here: %s (%s)\n", counters_tier_name(counters_tier(counters)),
                  counters_reason(counters));
    uint64_t before[COUNTERS_PER_KERNEL], after[COUNTERS_PER_KERNEL];
    bool scaled;
    if (counters_tier(counters) != TIER_CLOCK) {
        assert_true(counters_read(counters, before, &scaled));
        const size_t page = (size_t)sysconf(_SC_PAGESIZE), bytes = 64 * page;
        volatile char *fresh = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        assert_ptr_not_equal(fresh, MAP_FAILED);
        for (int again = 0; again < 200; again++)
            for (size_t i = 0; i < bytes; i += 64)
                fresh[i] = (char)(fresh[i] + 1);
        assert_true(counters_read(counters, after, &scaled));
        assert_true(after[0] > before[0]); /* cycles, or ns on the processor */
        if (counters_tier(counters) == TIER_SOFTWARE)
            assert_true(after[1] > before[1]);
        munmap((void *)fresh, bytes);
    }
    counters_close(counters);
}

/* Readings that take ten times as long in the run as before it count ten times as much; a few that a busy machine made longer still do
 * not, and shorter ones count no less. */
static void readings_in_the_run_are_stretched(void **state)
{
    (void)state;
    struct probe_readings readings = {.own = {2000, 0, UNKNOWN_U64, 1}, .wall_ns = 2500};
    uint64_t own[COUNTERS_PER_KERNEL];
    probe_own_stretched(&readings, own);
    assert_true(own[0] == 2000 && own[1] == 0 && own[2] == UNKNOWN_U64 && own[3] == 1);
    readings.count[14] = 99;
    readings.time_ns[14] = 99 * 25000;
    readings.count[24] = 1;
    readings.time_ns[24] = 20000000;
    readings.counted = 100;
    probe_own_stretched(&readings, own);
    assert_true(own[0] == 20000 && own[1] == 0 && own[2] == UNKNOWN_U64 && own[3] == 10);
    readings.excess_ns = 3000000;
    probe_own_stretched(&readings, own);
    assert_true(own[0] == 20000); /* no clock */
    readings.is_clock = true;
    probe_own_stretched(&readings, own);
    assert_true(own[0] == 30000 && own[1] == 0 && own[3] == 10);
    readings.excess_ns = 0;
    readings.count[14] = 0;
    readings.count[10] = 99;
    readings.time_ns[10] = 99 * 1024;
    probe_own_stretched(&readings, own);
    assert_true(own[0] == 2000);
}

static void launch(struct probe_state *state, struct machine *m, uint64_t cycles)
{
    state->probe.enter(state, 0);
    m->value[0] += cycles;
    state->probe.leave(state, 0, 0);
}

/* A launch that could not be counted is not in the figures of the next one. */
static void a_reading_that_fails_is_nobodys(void **state)
{
    (void)state;
    struct machine *m = calloc(1, sizeof *m);
    struct error error = {0};
    struct reporter reporter = {.fd = -1, .lost = true};
    struct probe_state *probe = calloc(1, sizeof *probe);
    struct ring *ring = ring_create(64, &error), *producer = ring ? ring_attach(ring_fd(ring), &error) : NULL;
    assert_true(m && probe && producer);
    assert_true(probe_init(probe, producer, &reporter, NULL, &error));
    probe->counters = open_on(m, 1);
    assert_int_equal(counters_tier(probe->counters), TIER_READ);
    probe_begin_step(probe, 1, 0, false);
    launch(probe, m, 10);
    m->fails = true;
    launch(probe, m, 5000);
    m->fails = false;
    launch(probe, m, 10);
    launch(probe, m, 10);
    struct record records[16];
    const size_t count = ring_drain(ring, records, 16);
    size_t counted = 0;
    for (size_t i = 0; i < count; i++) {
        if (records[i].kind != RECORD_COUNTERS)
            continue;
        assert_int_equal(records[i].counters[0], 10);
        counted++;
    }
    assert_int_equal(count, 6);
    assert_int_equal(counted, 2);
    probe_release(probe);
    ring_close(producer);
    ring_close(ring);
    free(probe);
    free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_in_user_space),
        cmocka_unit_test(reads_by_system_call),
        cmocka_unit_test(a_shared_counter_is_left_to_the_kernel),
        cmocka_unit_test(an_event_that_is_missing_is_unknown),
        cmocka_unit_test(falls_back_to_software),
        cmocka_unit_test(unprivileged_software_leaves_kernel_events_out),
        cmocka_unit_test(the_clock_is_left),
        cmocka_unit_test(this_machine),
        cmocka_unit_test(readings_in_the_run_are_stretched),
        cmocka_unit_test(a_reading_that_fails_is_nobodys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
