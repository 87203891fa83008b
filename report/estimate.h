/* What a cell will take, read off its plan: nothing is allocated on a device. */
#pragma once
#include "base/vec.h"
#include "profiles/profile.h"

struct known_estimate;

struct estimate {
    double flops[PASS_COUNT];      /* modelled, one step of each pass; NaN where the cell does not run it */
    double full_flops[PASS_COUNT]; /* with all T² pairs of attention, as papers and courses count */
    double work;     /* FLOPs of all its steps: warm-up, timed, profiled; steps without end count as one */
    uint64_t memory; /* planned bytes: the arena */
};

/* Builds the plan (with all fusions in compile mode, as a device that can do everything would run it) and frees it. */
bool estimate_cell(const struct cell *cell, struct estimate *estimate, struct error *error);

/* The same for many cells: repetitions, seeds, threads and the like have one plan, which is built once. {0} knows none. */
struct estimates {
    VEC(struct known_estimate) known;
    uint32_t *slots; /* 1 + place in `known`, by hash; 0: free */
    size_t slot_count;
};
bool estimates_cell(struct estimates *estimates, const struct cell *cell, struct estimate *estimate,
                    struct error *error);
void estimates_release(struct estimates *estimates);

/* Steps of one pass: warm-up, timed and profiled. */
double cell_steps(const struct cell *cell);
