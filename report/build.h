/* A cell of the document from a run. */
#pragma once
#include "report/report.h"

/* Makes the cell agree with the run. What did not change since the last call is kept. */
void cell_build(struct report_cell *cell, const struct run *run);

/* Layers and memory, from the run's plan into cell->fixed. */
void cell_build_plan(struct report_cell *cell, const struct run *run);

/* The kernel rows' keys, by which the timeline finds them again. */
struct kernel_key {
    uint32_t name;
    uint8_t kernel_class, phase, pass;
};
struct kernel_index { /* open addressing; kernel is -1 where free */
    struct kernel_slot {
        struct kernel_key key;
        int32_t kernel;
    } * slots;
    size_t capacity;
};
struct kernel_key kernel_key_of(const struct plan *plan, uint32_t name, int32_t node, int phase, int pass, int kind);
struct kernel_slot *kernel_index_find(const struct kernel_index *index, struct kernel_key key);

/* The latest complete profiled step of each pass, out of the aggregate's window of raw records. */
void cell_build_timeline(struct report_cell *cell, const struct run *run, const struct kernel_index *index);
