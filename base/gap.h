/* Was a process kept from running: stopped by a signal, frozen with its control group, held by a debugger, asleep with the machine?
 * Told by clocks, by whoever looks at them again and again. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct gap_clocks {
    uint64_t looked, used,
        slept; /* at the last look: CLOCK_MONOTONIC, processor time of the process, time asleep; ns */
};

void gap_begin(struct gap_clocks *clocks);
/* Looks anew. The ns for which the process was kept from running since the last look, 0 when it was not; *start and *end are the looks.
 * `continued`: SIGCONT came meanwhile. */
uint64_t gap_look(struct gap_clocks *clocks, bool continued, uint64_t *start, uint64_t *end);

/* Of one look: ns since the last, processor time and time asleep within. */
bool gap_is(uint64_t passed, uint64_t used, uint64_t slept, bool continued);
