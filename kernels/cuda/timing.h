/* Candidates timed on the program's stream, each in a captured graph as it will run in a step. */
#pragma once
#include "base/error.h"
#include <cuda.h>
#include <stdbool.h>

struct program;

struct cuda_timing {
    struct program *program;
    void *context;
    /* Issues the candidate on the stream once for each of `runs` sets of operands; `first_alone`: for the first one only, to
     * load its code. */
    bool (*issue)(void *context, int candidate, bool first_alone, struct error *error);
    int runs;
    CUgraph graph; /* these two are the timing's own */
    CUgraphExec executable;
};

/* As choice_fastest: the fastest candidate's index or -1, microseconds a run in `times`. The program's buffers should hold random values. */
int cuda_timing_fastest(struct cuda_timing *timing, int candidates, double *times, int *tried, struct error *why);
