/* Was this process kept from running: stopped by a signal, frozen with its control group, held by a debugger, asleep with the
 * machine? Told by clocks: a thread that looks at them twenty times a second finds a gap in which the process used no processor
 * time; by SIGCONT; and by the clock that goes on while the machine sleeps. */
#pragma once
#include "worker/reporter.h"

#define WATCH_KEPT 16

struct watch {
    struct reporter *reporter;
    pthread_t thread;
    pthread_mutex_t lock;
    atomic_bool ends, runs;
    uint64_t looked, used, slept; /* at the last look: CLOCK_MONOTONIC, processor time, time asleep; ns */
    int continued;                /* how often SIGCONT had come */
    struct {
        uint64_t start, end;
    } gaps[WATCH_KEPT]; /* the latest */
    unsigned gap_count;
};

/* Begins to look, and tells the front of each gap (MESSAGE_SUSPENDED). */
void watch_start(struct watch *watch, struct reporter *reporter);
void watch_stop(struct watch *watch);
/* Does a gap meet this time? Looks anew first. */
bool watch_gap_in(struct watch *watch, uint64_t start, uint64_t end);

/* Of one look: has the process been kept from running? For tests. ns since the last look, processor time and time asleep within. */
bool watch_is_gap(uint64_t passed, uint64_t used, uint64_t slept, bool continued);
