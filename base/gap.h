/* Was a process kept from running: stopped by a signal, frozen with its control group, held by a debugger, asleep with the machine?
 * Told by clocks, by whoever looks at them again and again. */
#pragma once
#include "base/owned.h"
#include <stdbool.h>
#include <stdint.h>

struct gap_clocks {
    uint64_t looked, used; /* at the last look: CLOCK_MONOTONIC, processor time of the process; ns */
    /* Time asleep until then, at least and at most: two clocks tell it, between whose readings the thread may lose its processor. */
    uint64_t slept, slept_most;
    /* Of a thread that looks at regular intervals: how often (ns; 0: it is no such thread), the file that says how long it has run
     * and waited for a processor, and how long it had at the last look. */
    uint64_t interval, waited;
    struct owned schedule; /* none: the system does not say */
};

void gap_begin(struct gap_clocks *clocks);
/* The calling thread alone will look, each `interval` ns. It comes late when it had to wait for a processor, which is told apart,
 * by a file that gap_end closes. */
void gap_begin_thread(struct gap_clocks *clocks, uint64_t interval);
void gap_end(struct gap_clocks *clocks);
/* Looks anew. The ns for which the process was kept from running since the last look, 0 when it was not; *start and *end are the looks.
 * `continued`: SIGCONT came meanwhile. */
uint64_t gap_look(struct gap_clocks *clocks, bool continued, uint64_t *start, uint64_t *end);

/* How long somebody has waited who looks again and again, in ns: what lies between two looks counts as GAP_LOOK_NS at most, so that a process
 * that was stopped meanwhile is not out of patience when it goes on. All zero: it begins with the first look. */
#define GAP_LOOK_NS 250000000u
struct patience {
    uint64_t waited, looked;
};
uint64_t patience_look(struct patience *patience);

/* Of one look of a thread that had meant to look after `interval` ns: it came late by what it did not wait for a processor. */
bool gap_is_late(uint64_t passed, uint64_t interval, uint64_t waited);

/* Of one look of anybody else: ns since the last, processor time and time asleep within. */
bool gap_is(uint64_t passed, uint64_t used, uint64_t slept, bool continued);
