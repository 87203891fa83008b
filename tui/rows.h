/* Rows of kernels made from the document: plain, grouped, of a part of the model alone, of the last ten seconds; and beside
 * those of another run. A row is a kernel in the document's own form: one of its kernels, or what several add up to. */
#pragma once
#include "base/vec.h"
#include "report/compare.h"
#include "report/modules.h"
#include "report/report.h"
#include "tui/live.h"

enum grouping { GROUP_KERNEL, GROUP_CLASS, GROUP_MODULE, GROUP_LAYER, GROUP_PHASE, GROUPING_COUNT };
extern const char *const grouping_names[GROUPING_COUNT];

/* The kernels of one class, module of all blocks, block or phase; with several of them of each. All false: every kernel. */
struct kernel_part {
    bool chosen[GROUPING_COUNT];
    int32_t
        value[GROUPING_COUNT]; /* class; index in the modules' tree, −1: of no layer; scope of the block, −1; phase */
};

/* What a row and the baseline's are compared by. */
enum unit { UNIT_LAUNCH, UNIT_STEP, UNIT_TOKENS };
const char *unit_name(enum unit unit); /* "a launch (median)", "a step", "a thousand tokens" */

struct kernel_row {
    uint64_t id;
    struct report_kernel sum; /* its phase and class only where the next two say so */
    int kernel_class, phase;  /* −1: several */
    int32_t kernel;           /* index in cell->kernels; −1: a group of several */
    int32_t group;            /* of a group what kernel_part chooses it by */
    double own_ns, base_ns;   /* beside the baseline, in the query's unit; NaN */
    struct ratio ratio;       /* own ÷ base, with its 95 % interval */
    enum verdict verdict;
};

struct kernel_query {
    int pass;
    int32_t scope; /* only within this layer; −1 */
    struct kernel_part part;
    enum grouping grouping;
    bool window;                        /* only the last ten seconds; needs a live cell */
    const struct live *live;            /* what is behind the document's rows; NULL: the document alone */
    double threshold;                   /* share below which rows are left out */
    const struct report_cell *baseline; /* NULL */
};

typedef VEC(struct kernel_row) kernel_rows;
/* Fills rows (emptied first). Their names and histories point into the cell or `modules`, which is the cell's tree
 * (modules_tree), and may be NULL where no module is asked for. */
void kernel_rows_make(const struct report_cell *cell, const struct modules *modules, const struct kernel_query *query,
                      kernel_rows *rows);
enum unit kernel_unit(const struct report_cell *cell, const struct kernel_query *query);
/* What a group is called: "matmul", "layers.*.ffn", "layers.3", "bwd". */
const char *group_name(const struct report_cell *cell, const struct modules *modules, enum grouping grouping,
                       int32_t group);

/* Time in a unit, of a sum over all profiled steps of a pass; NaN where there is none. */
double per_unit(const struct report_cell *cell, int pass, double total_ns, enum unit unit);

/* Stable over updates: made of name, phase and pass. */
uint64_t kernel_id(const char *name, int phase, int pass);
uint64_t text_id(const char *text, uint64_t seed);
/* Index in cell->kernels, or −1. */
int32_t kernel_find(const struct report_cell *cell, uint64_t id);
bool kernel_any(const struct report_cell *cell, int pass); /* the pass has one that ran */
/* The kernel of a pass that took most time, or −1. */
int32_t kernel_largest(const struct report_cell *cell, int pass);
bool scope_within(const struct report_cell *cell, int32_t scope, int32_t ancestor);

/* Achieved ÷ attainable: min(peak, intensity · bandwidth) of the measured ceilings; NaN when anything is unknown. */
double roof_share(const struct report_cell *cell, double flops, double bytes, double ns);
/* What would be gained if it ran at the ceilings: share · (1 − roof); NaN when either is unknown, 0 beyond the roof. */
double roof_gain(double share, double roof);
double sum_known(double a, double b);        /* of what is known; unknown while neither is */
double rate_per_s(double amount, double ns); /* NaN when unknown or ns is 0 */
double known_ns(uint64_t ns);                /* NaN for UNKNOWN_U64 */
