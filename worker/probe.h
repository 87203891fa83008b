/* The worker's probe: what a device reports of its kernels becomes records in the ring. */
#pragma once
#include "kernels/device.h"
#include "profiler/ring.h"
#include "worker/perf_events.h"
#include "worker/reporter.h"
#include "worker/watch.h"

#define PROBE_STEPS 1024 /* how many steps back an event may come late */

struct name_slot;
struct probe_state {
    struct probe probe; /* to hand to the device; its context is this */
    struct ring *ring;
    struct reporter *reporter;
    const struct plan *plan;
    struct counters *counters; /* NULL: not wanted */
    struct watch *watch;       /* NULL: nobody looks */

    /* Of the step that runs now, for devices that bracket each kernel on the calling thread. */
    uint32_t step;
    uint8_t pass, flags;
    uint32_t launches;
    uint64_t entered;
    uint64_t counted[COUNTERS_PER_KERNEL]; /* at the end of the last kernel */
    bool counting, told_scaled;

    /* Which pass and flags a step had, for events that come later: step << 16 | pass << 8 | flags. Written before the step
     * runs, read by the thread of the device's activity source. */
    _Atomic uint64_t steps[PROBE_STEPS];

    pthread_mutex_t names_lock;
    struct name_slot *names; /* open addressing; the id is the order of coming */
    uint32_t name_count, name_slots;
};

/* What one reading of the counters alone counts, the median of some: a launch whose figure is no larger was hardly measured. */
bool probe_count_own(struct counters *counters, uint64_t own[COUNTERS_PER_KERNEL]);

bool probe_init(struct probe_state *state, struct ring *ring, struct reporter *reporter, const struct plan *plan,
                struct error *error);
void probe_release(struct probe_state *state);
/* Before each profiled step. */
void probe_begin_step(struct probe_state *state, uint32_t step, uint8_t pass, bool warmup);
