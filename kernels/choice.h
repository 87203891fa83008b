/* The fastest of several ways to do the same work, by timing them on the device. What a candidate is, the caller knows. */
#pragma once
#include "base/error.h"
#include <stdbool.h>

struct prepare_options; /* kernels/device.h */

struct choice_timer {
    void *context;
    /* Makes `repeats` rounds of the candidate ready to go; with repeats = 1 it comes first, and loads the candidate's code. */
    bool (*ready)(void *context, int candidate, int repeats, struct error *error);
    /* Does what was made ready once; device time in microseconds. */
    bool (*round)(void *context, double *us, struct error *error);
    /* Undoes `ready`, also one that failed. */
    void (*done)(void *context);
    const struct prepare_options
        *held; /* who knows whether the process was kept from running in a round; NULL: nobody */
    int runs; /* of the work in one repeat: operand sets that are walked through, so that data come from memory as in a step */
};

/* Times the candidates in turn, each by its best round, with rounds long enough to be measured. `times` gets microseconds a run
 * of the work, NaN for a candidate that cannot run; one far behind the best so far is not timed on;
 * a round that the process was kept from is made again. `tried` gets how many ran.
 * The index of the fastest, -1 when none runs; `why` then holds the last one's reason. */
int choice_fastest(const struct choice_timer *timer, int candidates, double *times, int *tried, struct error *why);
