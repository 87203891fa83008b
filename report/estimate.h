/* What a cell will take, read off its plan: nothing is allocated on a device. */
#pragma once
#include "profiles/profile.h"

struct estimate {
    double flops[PASS_COUNT]; /* modelled, one step of each pass; NaN where the cell does not run it */
    double full_flops[PASS_COUNT]; /* with all T² pairs of attention, as papers and courses count */
    double work;              /* FLOPs of all its steps: warm-up, timed, profiled; steps without end count as one */
    uint64_t memory;          /* planned bytes: the arena */
};

/* Builds the plan (with all fusions in compile mode, as a device that can do everything would run it) and frees it. */
bool estimate_cell(const struct cell *cell, struct estimate *estimate, struct error *error);

/* Steps of one pass: warm-up, timed and profiled. */
double cell_steps(const struct cell *cell);
