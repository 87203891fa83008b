/* The axes on which the cells of a report can differ, and which cell is compared with which: all else equal, one is the base. */
#pragma once
#include "report/report.h"

enum axis_id {
    AXIS_DEVICE, AXIS_MODEL, AXIS_D_MODEL, AXIS_D_FF, AXIS_NUM_LAYERS, AXIS_NUM_HEADS, AXIS_VOCAB_SIZE, AXIS_BATCH_SIZE,
    AXIS_CONTEXT_LENGTH, AXIS_DTYPE, AXIS_COMPILE, AXIS_CHECKPOINT, AXIS_RANKS, AXIS_PARALLEL, AXIS_BUCKET_MB,
    AXIS_GRAD_DTYPE, AXIS_THREADS, AXIS_WARMUP, AXIS_SEED, AXIS_REPETITION, AXIS_COUNT
};

struct axis {
    const char *key;   /* of the profile: "context_length" */
    const char *alias; /* a shorter word for it, or NULL */
    bool shape;        /* its values are different amounts of work: times are compared by the token */
    void (*level)(struct cell *cell);                                /* one value for all */
    void (*print)(const struct cell *cell, char *text, size_t size); /* the value, for people */
    double (*number)(const struct cell *cell); /* for the axis of a plot; NULL where values have no distance */
    int (*rank)(const struct cell *cell);      /* the least is the base; NULL: the first in the report is */
};

const struct axis *axis_of(enum axis_id id);
/* By key, by alias, with - for _; NULL with the list of them all. */
const struct axis *axis_find(const char *text, struct error *error);

/* What makes two cells the same experiment: how long and how closely it was measured does not. */
struct cell experiment_of(const struct report_cell *cell);
/* The cell that this one is compared with, NULL where it is the base itself or there is none: alike in all but the axis, to the
 * letter where there is such a one, otherwise as an experiment. */
const struct report_cell *axis_base(const struct report *report, const struct axis *axis, const struct report_cell *cell);
/* Does any cell have one? */
bool axis_is_swept(const struct report *report, const struct axis *axis);
/* Tokens of a step, on all ranks. NaN where the cell does not say. */
double cell_tokens(const struct report_cell *cell);
