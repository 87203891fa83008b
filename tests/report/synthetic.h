/* Runs without a worker: a real plan, made-up times, records that go through the real aggregate. */
#pragma once
#include "report/report.h"

/* A finished run of `model` (a preset) on "cpu" with `steps` timed and profiled steps a pass; every node's kernel takes a
 * time that depends on its FLOPs, the step and `slow` alone. NULL on failure. */
struct run *synthetic_run(const char *model, bool compile, uint32_t steps, double slow);
/* The same, and `watch` is called while it runs: after every `often` launches and after each step. */
struct run *synthetic_watched(const char *model, bool compile, uint32_t steps, double slow, int32_t often,
                              void (*watch)(struct run *run, void *context), void *context);
/* The same of a cell that is given whole: its model, sizes, dtype, passes. */
struct run *synthetic_cell(const struct cell *cell, double slow, int32_t often,
                           void (*watch)(struct run *run, void *context), void *context);
/* Under way: the warm-up of its passes has run, nothing was counted yet. */
struct run *synthetic_warmup(const char *model);
void synthetic_free(struct run *run);

/* A report of such runs. */
void synthetic_report(struct report *report, const char *model, bool compile, uint32_t steps, double slow);

/* What a product of the card launches beside itself: for each launch so far a memset, and a shorter kernel "reduce" twice. */
void synthetic_helpers(struct run *run);
/* Adds, to a finished run, one reading of four counters called `names` for every kernel that its profiled steps launched:
 * value c of a launch of `node` is synthetic_count(node, c). */
void synthetic_counters(struct run *run, const char *names);
uint64_t synthetic_count(int32_t node, int counter);
