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
    struct probe_readings {
        uint64_t own[COUNTERS_PER_KERNEL]; /* what one counts, and */
        uint64_t wall_ns;                  /* what one takes: the medians of some before the run */
        uint64_t at;                       /* the end of the last one */
        uint64_t count[64];                /* of those in the run, by the power of two that their time is beyond, */
        uint64_t time_ns[64];              /* and their times together */
        uint64_t counted, told;            /* all of them; when the front was told */
        bool is_clock;                     /* the first value is a clock of so many threads, */
        int threads;
        uint64_t excess_ns; /* which showed so much beyond what the launches can have had */
    } readings;

    /* Which pass and flags a step had, for events that come later: step << 16 | pass << 8 | flags. Written before the step
     * runs, read by the thread of the device's activity source. */
    _Atomic uint64_t steps[PROBE_STEPS];

    pthread_mutex_t names_lock;
    struct name_slot *names; /* open addressing; the id is the order of coming */
    uint32_t name_count, name_slots;
};

/* Says to the front what is counted, and what one reading of it alone counts, the median of some: a launch whose figure is no larger was
 * hardly measured. */
void probe_calibrate(struct probe_state *state);
/* Readings among kernels can take many times as long as those before the run, and then count as much more: tells the front. */
void probe_tell_own(struct probe_state *state);
/* The same from what was seen, for tests: own counts, stretched as the readings in the run are longer than those before it (but for
 * their longest, when the process was not on a processor), and of a clock no less than its mean excess. */
void probe_own_stretched(const struct probe_readings *readings, uint64_t own[COUNTERS_PER_KERNEL]);

bool probe_init(struct probe_state *state, struct ring *ring, struct reporter *reporter, const struct plan *plan,
                struct error *error);
void probe_release(struct probe_state *state);
/* Before each profiled step. */
void probe_begin_step(struct probe_state *state, uint32_t step, uint8_t pass, bool warmup);
