/* What the view of the layers holds between its rows and keys (view_layers.c) and its columns (layers_columns.c). */
#pragma once
#include "tui/layer_tree.h"
#include "tui/table.h"

enum column {
    NAME,
    BLOCKS,
    FWD,
    FWD_SELF,
    BWD,
    BWD_SELF,
    OPT,
    LOSS,
    RECOMPUTE,
    NONE_PHASE,
    TOTAL,
    SELF,
    SHARE,
    BAR,
    FLOPS,
    RATE,
    ROOF,
    SAVED,
    PARAMETERS,
    CALLS,
    BASE,
    RATIO,
    COLUMNS_COUNT
};

struct row {
    struct spot at;
    int depth;
    bool open, has_children;
};

/* What a row was ordered by. */
struct ordered {
    uint64_t id;
    double value;
};

struct layers {
    struct table table;
    VEC(struct row) rows;
    VEC(uint64_t) ids;
    VEC(uint64_t) toggled;              /* ids whose fold differs from the default */
    VEC(uint8_t) matches;               /* a layer of the tree: it, or one below it, has what the filter asks for */
    VEC(struct ordered) ordered, fresh; /* by id: the order as it stands; what came to it in this update */
    uint64_t ordered_at;
    uint32_t ordered_run;
    int ordered_by, ordered_pass;
    bool ordered_ascending, rests;
    bool all_open, all_closed, blocks_apart;
    struct tree tree, base; /* base.cell NULL: nothing is compared */
    const struct report_cell *cell;
    int pass, phase; /* phase: shown alone; −1: all */
    enum unit unit;
    double step_ns; /* of what is shown */
};

static inline const struct row *row_at(const void *context, size_t index)
{
    return &((const struct layers *)context)->rows.items[index];
}

/* Time of what is shown: one phase, or all. ns a step. */
double layers_shown_time(const struct layers *layers, struct spot at);
/* A row's time in another tree: of the layer of that path, and of the kernel of that name in it; NaN where it has none. */
double layers_base_of(const struct layers *layers, const struct row *row);
extern const struct table_column layers_columns[COLUMNS_COUNT];
