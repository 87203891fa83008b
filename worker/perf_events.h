/* Counters of the processor around each kernel, as far as this machine, this kernel and this user allow. In tiers: read in
 * user space (rdpmc), read by a system call, software events of the kernel alone, or none but the clock. Which tier it is
 * and why is always said. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum counters_tier { TIER_RDPMC, TIER_READ, TIER_SOFTWARE, TIER_CLOCK };
const char *counters_tier_name(enum counters_tier tier);

#define COUNTERS_PER_KERNEL 4
/* Beyond so many threads only the calling one is counted: a system call for each of them around every kernel would show. */
#define COUNTERS_MAX_THREADS 8

struct perf_event_attr;
struct perf_event_mmap_page;

/* The calls that counters need, so that tests can play a machine. */
struct counters_calls {
    void *context;
    /* perf_event_open for the calling thread on any processor: a descriptor, or −errno */
    int (*open)(void *context, struct perf_event_attr *attr, int group);
    void (*enable)(void *context, int leader); /* the leader and its group */
    ssize_t (*read)(void *context, int fd, void *bytes, size_t size);
    struct perf_event_mmap_page *(*map)(void *context, int fd); /* NULL: not to be had */
    void (*unmap)(void *context, struct perf_event_mmap_page *page);
    uint64_t (*rdpmc)(void *context, uint32_t counter); /* NULL: this processor has no such instruction */
    void (*close)(void *context, int fd);
    /* Calls body(argument, thread) once on each thread of the compute pool, the calling thread being 0. */
    void (*each_thread)(void *context, int threads, void (*body)(void *argument, int thread), void *argument);
};

struct counters;
/* Calls body(argument, thread) once on each of a device's threads, as struct device_class has it. */
typedef void counters_each_thread(int threads, void (*body)(void *argument, int thread), void *argument);
/* Opens the best tier for the calling thread and the `threads` of the pool. Never fails but for memory (NULL). `calls`
 * NULL: the system's, with `each_thread`. */
struct counters *counters_open(int threads, counters_each_thread *each_thread, const struct counters_calls *calls);
void counters_close(struct counters *counters);

enum counters_tier counters_tier(const struct counters *counters);
const char *counters_reason(const struct counters *counters); /* why not a better tier; "" for the best */
/* {"cycles", "instructions", "cache_misses", "page_faults"}, {"task_clock_ns", "page_faults", "context_switches", "migrations"} or
 * four times NULL. */
const char *const *counters_names(const struct counters *counters);
int counters_threads(const struct counters *counters); /* how many are counted */

/* Sums over the counted threads since they were opened; UNKNOWN_U64 for what the tier does not count. *scaled: the kernel
 * shared the counters among more events than there are, and the values are extrapolated. False when nothing is counted. */
bool counters_read(struct counters *counters, uint64_t values[COUNTERS_PER_KERNEL], bool *scaled);
