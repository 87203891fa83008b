/* Rows of kernels made from the document: plain, grouped, of a part of the model alone, of the last ten seconds. */
#pragma once
#include "base/vec.h"
#include "report/report.h"

enum grouping { GROUP_KERNEL, GROUP_CLASS, GROUP_LAYER, GROUP_PHASE, GROUPING_COUNT };
extern const char *const grouping_names[GROUPING_COUNT];

/* The kernels of one class, block of layers or phase; with several of them of each. All false: every kernel. */
struct kernel_part {
    bool chosen[GROUPING_COUNT];
    int32_t value[GROUPING_COUNT]; /* class; scope of the block, −1: of no layer; phase */
};

struct kernel_row {
    uint64_t id;
    const char *name, *op;
    int kernel_class, phase; /* −1: several */
    int32_t kernel;          /* index in cell->kernels; −1: a group of several */
    int32_t group;           /* of a group what kernel_part chooses it by */
    uint64_t calls;
    double total_ns, min_ns, max_ns, mean_ns, median_ns, p95_ns, p99_ns, cv;
    double share;        /* of the pass's kernel time */
    double flops, bytes; /* modelled, sums over the calls */
    double base_ns;      /* a call in the baseline, mean; NaN */
    const uint32_t *recent;
    uint32_t recent_count;
    int32_t layers;
};

struct kernel_query {
    int pass;
    int32_t scope; /* only within this layer; −1 */
    struct kernel_part part;
    enum grouping grouping;
    bool window;                        /* only the last ten seconds; needs a live cell */
    bool frozen;                        /* not what goes on moving under the document, the live entries */
    double threshold;                   /* share below which rows are left out */
    const struct report_cell *baseline; /* NULL */
};

typedef VEC(struct kernel_row) kernel_rows;
/* Fills rows (emptied first). Their names and histories point into the cell. */
void kernel_rows_make(const struct report_cell *cell, const struct kernel_query *query, kernel_rows *rows);
/* What a group is called: "matmul", "layers.3", "bwd". */
const char *group_name(const struct report_cell *cell, enum grouping grouping, int32_t group);
bool kernel_query_same(const struct kernel_query *a, const struct kernel_query *b); /* frozen or not */

/* Stable over updates: made of name, phase and pass. */
uint64_t kernel_id(const char *name, int phase, int pass);
uint64_t text_id(const char *text, uint64_t seed);
/* Index in cell->kernels, or −1. */
int32_t kernel_find(const struct report_cell *cell, uint64_t id);
/* The kernel of a pass that took most time, or −1. */
int32_t kernel_largest(const struct report_cell *cell, int pass);
bool scope_within(const struct report_cell *cell, int32_t scope, int32_t ancestor);

/* Achieved ÷ attainable: min(peak, intensity · bandwidth) of the measured ceilings; NaN when anything is unknown. */
double roof_share(const struct report_cell *cell, double flops, double bytes, double ns);
double rate_per_s(double amount, double ns); /* NaN when unknown or ns is 0 */
double known_ns(uint64_t ns);                /* NaN for UNKNOWN_U64 */
