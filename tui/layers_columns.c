/* The columns of Layers: what each says of a row, and how. */
#include "tui/app.h"
#include "tui/cells.h"
#include "tui/layers_internal.h"
#include <stdio.h>
#include <string.h>

#define BAR_WIDTH 16

double layers_shown_time(const struct layers *layers, struct spot at)
{
    return layers->phase < 0 ? tree_time(&layers->tree, at, false)
                             : tree_phase(&layers->tree, at, layers->phase, false);
}

double layers_base_of(const struct layers *layers, const struct row *row)
{
    const struct tree *base = &layers->base;
    const int32_t layer = base->cell ? tree_same(&layers->tree, base, row->at.layer) : -1;
    struct spot other = {layer, -1};
    if (layer < 0)
        return UNKNOWN_DOUBLE;
    if (row->at.leaf >= 0) {
        const struct report_entry *leaf = &layers->tree.leaves.items[row->at.leaf];
        const char *name = layers->cell->kernels[leaf->kernel].name;
        for (int32_t at = base->first_leaf.items[layer]; at >= 0; at = base->next_leaf.items[at])
            if (base->leaves.items[at].phase == leaf->phase &&
                strcmp(base->cell->kernels[base->leaves.items[at].kernel].name, name) == 0)
                other.leaf = at;
        if (other.leaf < 0)
            return UNKNOWN_DOUBLE;
    }
    const double a_step = tree_time(base, other, false);
    const struct cell *shape = &base->cell->requested;
    return layers->unit == UNIT_TOKENS ? a_step / (double)(shape->batch_size * shape->context_length) * 1000 : a_step;
}

static double own_of(const struct layers *layers, const struct row *row)
{
    const struct cell *shape = &layers->cell->requested;
    const double a_step = tree_time(&layers->tree, row->at, false);
    return layers->unit == UNIT_TOKENS ? a_step / (double)(shape->batch_size * shape->context_length) * 1000 : a_step;
}

/* A column's value is an expression of its row; the order of children is by it, too. */
#define VALUE(name, expression)                                                                                        \
    static double name##_of(const struct layers *layers, const struct row *row)                                        \
    {                                                                                                                  \
        const struct tree *tree = &layers->tree;                                                                       \
        (void)tree;                                                                                                    \
        return expression;                                                                                             \
    }                                                                                                                  \
    static double name(const void *context, size_t index)                                                              \
    {                                                                                                                  \
        return name##_of(context, row_at(context, index));                                                             \
    }

VALUE(blocks_value,
      row->at.leaf < 0 && !layers->blocks_apart ? (double)tree->modules.members[row->at.layer] : UNKNOWN_DOUBLE)
VALUE(fwd_value, tree_phase(tree, row->at, PHASE_FWD, false))
VALUE(fwd_self_value, tree_phase(tree, row->at, PHASE_FWD, true))
VALUE(bwd_value, tree_phase(tree, row->at, PHASE_BWD, false))
VALUE(bwd_self_value, tree_phase(tree, row->at, PHASE_BWD, true))
VALUE(opt_value, tree_phase(tree, row->at, PHASE_OPT, false))
VALUE(loss_value, tree_phase(tree, row->at, PHASE_LOSS, false))
VALUE(recompute_value, tree_phase(tree, row->at, PHASE_RECOMPUTE, false))
VALUE(none_value, tree_phase(tree, row->at, PHASE_NONE, false))
VALUE(total_value, tree_time(tree, row->at, false))
VALUE(self_value, tree_time(tree, row->at, true))
VALUE(share_value, layers_shown_time(layers, row->at) / layers->step_ns)
VALUE(flops_value, tree_work(tree, row->at, true))
VALUE(rate_value, rate_per_s(tree_work(tree, row->at, true), tree_time(tree, row->at, false)))
VALUE(roof_value, roof_share(layers->cell, tree_work(tree, row->at, true), tree_work(tree, row->at, false),
                             tree_time(tree, row->at, false)))
VALUE(saved_value, row->at.leaf < 0 ? known_or_nan(tree->layers[row->at.layer].saved_bytes) : UNKNOWN_DOUBLE)
VALUE(parameters_value, row->at.leaf < 0 ? known_or_nan(tree->layers[row->at.layer].parameter_bytes) : UNKNOWN_DOUBLE)
VALUE(calls_value, tree_calls(tree, row->at))
VALUE(base_value, layers_base_of(layers, row))
VALUE(ratio_value, own_of(layers, row) / layers_base_of(layers, row))

static void name_text(const void *context, size_t index, struct cell_text *out)
{
    const struct layers *layers = context;
    const struct row *row = row_at(context, index);
    const int indent = row->depth < 20 ? row->depth * 2 : 40;
    if (row->at.leaf >= 0) {
        const struct report_entry *leaf = &layers->tree.leaves.items[row->at.leaf];
        snprintf(out->text, sizeof out->text, "%*s· %s %s", indent, "", phase_name((enum phase)leaf->phase),
                 layers->cell->kernels[leaf->kernel].name);
        out->style = (enum style)(STYLE_PHASE + leaf->phase);
        return;
    }
    snprintf(out->text, sizeof out->text, "%*s%s %s", indent, "",
             !row->has_children ? " "
             : row->open        ? "▾"
                                : "▸",
             layers->tree.layers[row->at.layer].name);
}

static void blocks_text(const void *context, size_t index, struct cell_text *out)
{
    const double blocks = blocks_value(context, index);
    out->style = STYLE_DIM;
    out->text[0] = 0;
    if (blocks > 1)
        snprintf(out->text, sizeof out->text, "×%.0f", blocks);
}

/* Nothing of that phase runs in the module: that is known, and drawn quieter than a time. */
static void quiet_zero(struct cell_text *out, double value, enum style style)
{
    if (value == 0) {
        cell_string(out, "-");
        out->style = STYLE_DIM;
    } else if (is_known(value)) {
        out->style = style;
    }
}

#define QUIET(name, of, quiet_style)                                                                                   \
    static void name(const void *context, size_t index, struct cell_text *out)                                         \
    {                                                                                                                  \
        quiet_zero(out, of(context, index), quiet_style);                                                              \
    }

QUIET(fwd_text, fwd_value, (enum style)(STYLE_PHASE + PHASE_FWD))
QUIET(fwd_self_text, fwd_self_value, (enum style)(STYLE_PHASE + PHASE_FWD))
QUIET(bwd_text, bwd_value, (enum style)(STYLE_PHASE + PHASE_BWD))
QUIET(bwd_self_text, bwd_self_value, (enum style)(STYLE_PHASE + PHASE_BWD))
QUIET(opt_text, opt_value, (enum style)(STYLE_PHASE + PHASE_OPT))
QUIET(loss_text, loss_value, (enum style)(STYLE_PHASE + PHASE_LOSS))
QUIET(recompute_text, recompute_value, (enum style)(STYLE_PHASE + PHASE_RECOMPUTE))
QUIET(none_text, none_value, STYLE_NORMAL)
QUIET(total_text, total_value, STYLE_NORMAL)
QUIET(self_text, self_value, STYLE_NORMAL)
QUIET(share_text, share_value, STYLE_NORMAL)
QUIET(flops_text, flops_value, STYLE_NORMAL)
QUIET(rate_text, rate_value, STYLE_NORMAL)
QUIET(saved_text, saved_value, STYLE_NORMAL)
QUIET(parameters_text, parameters_value, STYLE_NORMAL)
QUIET(calls_text, calls_value, STYLE_NORMAL)

static void bar_text(const void *context, size_t index, struct cell_text *out)
{
    format_bar(out->text, sizeof out->text, share_value(context, index), out->width);
    out->style = STYLE_BAR;
}

/* Two trees have no samples of their own: a ratio says how much, and the colour whether it is beyond the threshold. */
static void ratio_text(const void *context, size_t index, struct cell_text *out)
{
    const double ratio = ratio_value(context, index);
    if (ratio > 1 + COMPARE_THRESHOLD)
        out->style = STYLE_BAD;
    else if (ratio < 1 - COMPARE_THRESHOLD)
        out->style = STYLE_GOOD;
}

const struct table_column layers_columns[COLUMNS_COUNT] = {
    [NAME] = {"layer", "layer", "module of the model, in its order; the leaves are its kernels", 0, 0, COLUMN_LEFT,
              NULL, NULL, name_text},
    [BLOCKS] = {"blocks", "in", "how many modules of the same name are added up (layers.* : all blocks)", 4, 13,
                COLUMN_AUTOMATIC, blocks_value, NULL, blocks_text},
    [FWD] = {"fwd", "fwd", "forward, inclusive: the module and all below it, per step", 9, 2, 0, fwd_value,
             format_duration, fwd_text},
    [FWD_SELF] = {"fwd_self", "fwd self", "forward, exclusive: kernels of the module itself", 9, 15, COLUMN_HIDDEN,
                  fwd_self_value, format_duration, fwd_self_text},
    [BWD] = {"bwd", "bwd", "backward, inclusive", 9, 3, 0, bwd_value, format_duration, bwd_text},
    [BWD_SELF] = {"bwd_self", "bwd self", "backward, exclusive", 9, 16, COLUMN_HIDDEN, bwd_self_value, format_duration,
                  bwd_self_text},
    [OPT] = {"opt", "opt", "optimizer, inclusive", 9, 5, 0, opt_value, format_duration, opt_text},
    [LOSS] = {"loss", "loss", "loss, inclusive; fwd, bwd, opt and loss add up to total", 9, 6, 0, loss_value,
              format_duration, loss_text},
    [RECOMPUTE] = {"recompute", "again", "forward work done again for backward, inclusive", 9, 6,
                   COLUMN_AUTOMATIC | COLUMN_HIDDEN, recompute_value, format_duration, recompute_text},
    [NONE_PHASE] = {"none", "no phase", "of no phase that is known, inclusive", 9, 6, COLUMN_AUTOMATIC | COLUMN_HIDDEN,
                    none_value, format_duration, none_text},
    [TOTAL] = {"total", "total", "all phases, inclusive", 9, 4, 0, total_value, format_duration, total_text},
    [SELF] = {"self", "self", "all phases, exclusive", 9, 14, COLUMN_HIDDEN, self_value, format_duration, self_text},
    [SHARE] = {"share", "%", "of the step's kernel time, or of that of the phase that is shown; inclusive", 5, 1, 0,
               share_value, format_percent, share_text},
    [BAR] = {"bar", "", "the same as a bar", BAR_WIDTH, 9, COLUMN_LEFT | COLUMN_WIDE, share_value, NULL, bar_text},
    [FLOPS] = {"flops", "FLOP", "modelled FLOPs of a step, inclusive", 8, 8, 0, flops_value, format_rate, flops_text},
    [RATE] = {"rate", "FLOP/s", "modelled FLOPs over time, inclusive", 8, 7, 0, rate_value, format_rate, rate_text},
    [ROOF] = {"roof", "roof%", "of what the measured ceilings allow for its work as a whole", 6, 10, 0, roof_value,
              format_roof, NULL},
    [SAVED] = {"saved", "saved", "activations kept for backward, inclusive: planned, or counted in an attached program",
               9, 11, 0, saved_value, format_bytes, saved_text},
    [PARAMETERS] = {"parameters", "params", "parameter memory, inclusive", 9, 12, 0, parameters_value, format_bytes,
                    parameters_text},
    [CALLS] = {"calls", "calls", "launches in the profiled steps, exclusive", 7, 17, COLUMN_HIDDEN, calls_value,
               format_count, calls_text},
    [BASE] = {"base", "base", "total of the same module in the baseline; where the shapes differ, of a thousand tokens",
              9, 2, COLUMN_AUTOMATIC | COLUMN_HIDDEN, base_value, format_duration, NULL},
    [RATIO] = {"ratio", "ratio", "total over the baseline's", 6, 1, COLUMN_AUTOMATIC | COLUMN_HIDDEN, ratio_value,
               format_ratio, ratio_text},
};
