/* Was this process kept from running: stopped by a signal, frozen with its control group, held by a debugger, asleep with the
 * machine? Told by clocks: a thread that looks at them twenty times a second comes late though it did not wait for a processor
 * (Linux says how long a thread did); by SIGCONT; and by the clock that goes on while the machine sleeps. */
#pragma once
#include "base/gap.h"
#include "worker/reporter.h"

#define WATCH_KEPT 16

struct watch {
    struct reporter *reporter;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t looked;
    atomic_bool ends, runs;
    struct gap_clocks clocks;
    int continued; /* how often SIGCONT had come */
    struct {
        uint64_t start, end;
    } gaps[WATCH_KEPT]; /* the latest */
    unsigned gap_count;
};

/* Begins to look, and tells the front of each gap (MESSAGE_SUSPENDED). */
void watch_start(struct watch *watch, struct reporter *reporter);
void watch_stop(struct watch *watch);
/* How much of this time lies in gaps, ns; and does any? */
uint64_t watch_gap_ns(struct watch *watch, uint64_t start, uint64_t end);
bool watch_gap_in(struct watch *watch, uint64_t start, uint64_t end);
