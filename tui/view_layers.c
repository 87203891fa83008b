/* Layers: the module tree of the model, forward, backward and optimizer side by side, down to the kernels of a module.
 * Times are per profiled step. */
#include "tui/app.h"
#include "tui/cells.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum column {
    NAME,
    FWD,
    FWD_SELF,
    BWD,
    BWD_SELF,
    OPT,
    LOSS,
    TOTAL,
    SELF,
    SHARE,
    FLOPS,
    RATE,
    SAVED,
    PARAMETERS,
    CALLS,
    COLUMNS_COUNT
};

static const struct table_column columns[COLUMNS_COUNT] = {
    [NAME] = {"layer", "layer", "module of the model; the leaves are its kernels", 0, 0, true, false},
    [FWD] = {"fwd", "fwd", "forward, inclusive: the module and all below it, per step", 9, 2, false, false},
    [FWD_SELF] = {"fwd_self", "fwd self", "forward, exclusive: kernels of the module itself", 9, 8, false, false},
    [BWD] = {"bwd", "bwd", "backward, inclusive", 9, 3, false, false},
    [BWD_SELF] = {"bwd_self", "bwd self", "backward, exclusive", 9, 9, false, false},
    [OPT] = {"opt", "opt", "optimizer, inclusive", 9, 6, false, false},
    [LOSS] = {"loss", "loss", "loss, inclusive", 9, 15, false, true},
    [TOTAL] = {"total", "total", "all phases, inclusive", 9, 4, false, false},
    [SELF] = {"self", "self", "all phases, exclusive", 9, 10, false, true},
    [SHARE] = {"share", "%", "of the step's kernel time, inclusive", 5, 1, false, false},
    [FLOPS] = {"flops", "FLOP", "modelled FLOPs of a step, inclusive", 8, 7, false, false},
    [RATE] = {"rate", "FLOP/s", "modelled FLOPs over time, inclusive", 8, 5, false, false},
    [SAVED] = {"saved", "saved", "activations kept for backward, planned, inclusive", 9, 11, false, false},
    [PARAMETERS] = {"parameters", "params", "parameter memory, inclusive", 9, 12, false, false},
    [CALLS] = {"calls", "calls", "launches in the profiled steps", 7, 13, false, true},
};

struct row {
    int32_t layer;
    int32_t entry; /* a kernel of the layer, or −1 */
    int depth;
    bool open, has_children;
};

struct layers {
    struct table table;
    VEC(struct row) rows;
    VEC(uint64_t) ids;
    VEC(uint64_t) toggled;                /* ids whose fold differs from the default */
    VEC(int32_t) first_entry, next_entry; /* entries of each layer as a list */
    bool all_open, all_closed;
    const struct report_cell *cell;
    int pass;
    double step_ns;
};

static uint64_t layer_id(const struct report_cell *cell, int32_t layer)
{
    return text_id(cell->layers[layer].path, 201);
}

uint64_t layer_entry_id(const struct report_cell *cell, const struct report_entry *entry)
{
    return text_id(cell->kernels[entry->kernel].name, layer_id(cell, entry->scope) + entry->phase + 1);
}

static bool is_toggled(const struct layers *layers, uint64_t id)
{
    for (size_t i = 0; i < layers->toggled.count; i++)
        if (layers->toggled.items[i] == id)
            return true;
    return false;
}

static void toggle(struct layers *layers, uint64_t id)
{
    for (size_t i = 0; i < layers->toggled.count; i++)
        if (layers->toggled.items[i] == id) {
            layers->toggled.items[i] = layers->toggled.items[--layers->toggled.count];
            return;
        }
    vec_push(&layers->toggled, id);
}

/* At first the model is open down to its blocks. */
static bool is_open(const struct layers *layers, int32_t layer)
{
    const bool by_default = layers->all_open || (!layers->all_closed && layers->cell->layers[layer].depth < 1);
    return by_default != is_toggled(layers, layer_id(layers->cell, layer));
}

static double inclusive(const struct layers *layers, int32_t layer)
{
    double sum = 0;
    for (int phase = 0; phase < PLACE_PHASE_COUNT; phase++)
        sum += layers->cell->layers[layer].phase[layers->pass][phase].inclusive_ns;
    return sum;
}

static void list_entries(struct layers *layers)
{
    const struct report_cell *cell = layers->cell;
    layers->first_entry.count = layers->next_entry.count = 0;
    for (size_t i = 0; i < cell->layer_count; i++)
        vec_push(&layers->first_entry, -1);
    for (size_t i = 0; i < cell->entry_count; i++)
        vec_push(&layers->next_entry, -1);
    for (size_t i = cell->entry_count; i-- > 0;) {
        const struct report_entry *entry = &cell->entries[i];
        if (entry->pass != layers->pass || entry->scope < 0 || (size_t)entry->scope >= cell->layer_count)
            continue;
        layers->next_entry.items[i] = layers->first_entry.items[entry->scope];
        layers->first_entry.items[entry->scope] = (int32_t)i;
    }
}

static void add_row(struct layers *layers, const struct row *row, uint64_t id)
{
    vec_push(&layers->rows, *row);
    vec_push(&layers->ids, id);
}

/* Scopes come parents first and depth first, so one pass over them with the depth of the first closed one is the tree. */
static void make_rows(struct app *app, struct layers *layers)
{
    const struct report_cell *cell = layers->cell;
    const double least = app->config.threshold * layers->step_ns;
    int32_t hidden_below = INT32_MAX;
    layers->rows.count = layers->ids.count = 0;
    for (int32_t i = 0; i < (int32_t)cell->layer_count; i++) {
        const struct report_layer *layer = &cell->layers[i];
        if (layer->depth > hidden_below)
            continue;
        hidden_below = INT32_MAX;
        if (app->focus.scope >= 0 && !scope_within(cell, i, app->focus.scope) &&
            !scope_within(cell, app->focus.scope, i))
            continue;
        if (inclusive(layers, i) < least) {
            hidden_below = layer->depth;
            continue;
        }
        const bool has_children = (i + 1 < (int32_t)cell->layer_count && cell->layers[i + 1].depth > layer->depth) ||
                                  layers->first_entry.items[i] >= 0;
        const struct row row = {i, -1, layer->depth, is_open(layers, i), has_children};
        add_row(layers, &row, layer_id(cell, i));
        if (!row.open) {
            hidden_below = layer->depth;
            continue;
        }
        for (int32_t at = layers->first_entry.items[i]; at >= 0; at = layers->next_entry.items[at]) {
            const struct report_entry *entry = &cell->entries[at];
            if ((double)entry->total_ns < least * (double)cell->passes[layers->pass].profiled_steps)
                continue;
            const struct row leaf = {i, at, layer->depth + 1, false, false};
            add_row(layers, &leaf, layer_entry_id(cell, entry));
        }
    }
}

static double phase_value(const struct layers *layers, const struct row *row, int phase, bool exclusive)
{
    const struct report_cell *cell = layers->cell;
    if (row->entry < 0) {
        const struct report_layer_phase *times = &cell->layers[row->layer].phase[layers->pass][phase];
        return exclusive ? times->exclusive_ns : times->inclusive_ns;
    }
    const struct report_entry *entry = &cell->entries[row->entry];
    const uint64_t steps = cell->passes[layers->pass].profiled_steps;
    if (entry->phase != phase)
        return 0;
    return steps ? (double)entry->total_ns / (double)steps : UNKNOWN_DOUBLE;
}

static double flops_of(const struct layers *layers, const struct row *row)
{
    const struct report_cell *cell = layers->cell;
    if (row->entry >= 0) {
        const uint64_t steps = cell->passes[layers->pass].profiled_steps;
        return steps ? cell->entries[row->entry].flops / (double)steps : UNKNOWN_DOUBLE;
    }
    double sum = 0;
    for (int phase = 0; phase < PLACE_PHASE_COUNT; phase++)
        sum += cell->layers[row->layer].phase[layers->pass][phase].flops;
    return sum;
}

static double calls_of(const struct layers *layers, const struct row *row)
{
    uint64_t calls = 0;
    if (row->entry >= 0)
        return (double)layers->cell->entries[row->entry].calls;
    for (int phase = 0; phase < PLACE_PHASE_COUNT; phase++)
        calls += layers->cell->layers[row->layer].phase[layers->pass][phase].calls;
    return (double)calls;
}

static double all_phases(const struct layers *layers, const struct row *row, bool exclusive)
{
    double sum = 0;
    for (int phase = 0; phase < PLACE_PHASE_COUNT; phase++)
        sum += phase_value(layers, row, phase, exclusive);
    return sum;
}

static double row_value(const struct layers *layers, const struct row *row, int column)
{
    const struct report_layer *layer = &layers->cell->layers[row->layer];
    switch (column) {
    case FWD:
    case FWD_SELF:
        return phase_value(layers, row, PHASE_FWD, column == FWD_SELF);
    case BWD:
    case BWD_SELF:
        return phase_value(layers, row, PHASE_BWD, column == BWD_SELF);
    case OPT:
        return phase_value(layers, row, PHASE_OPT, false);
    case LOSS:
        return phase_value(layers, row, PHASE_LOSS, false);
    case TOTAL:
    case SELF:
        return all_phases(layers, row, column == SELF);
    case SHARE:
        return all_phases(layers, row, false) / layers->step_ns;
    case FLOPS:
        return flops_of(layers, row);
    case RATE:
        return rate_per_s(flops_of(layers, row), all_phases(layers, row, false));
    case SAVED:
        return row->entry < 0 ? known_or_nan(layer->saved_bytes) : UNKNOWN_DOUBLE;
    case PARAMETERS:
        return row->entry < 0 ? known_or_nan(layer->parameter_bytes) : UNKNOWN_DOUBLE;
    default:
        return calls_of(layers, row);
    }
}

static void name_text(const struct layers *layers, const struct row *row, struct cell_text *out)
{
    const struct report_cell *cell = layers->cell;
    const int indent = row->depth < 20 ? row->depth * 2 : 40;
    if (row->entry >= 0) {
        const struct report_entry *entry = &cell->entries[row->entry];
        snprintf(out->text, sizeof out->text, "%*s· %s %s", indent, "", phase_name((enum phase)entry->phase),
                 cell->kernels[entry->kernel].name);
        out->style = (enum style)(STYLE_PHASE + entry->phase);
        return;
    }
    snprintf(out->text, sizeof out->text, "%*s%s %s", indent, "",
             !row->has_children ? " "
             : row->open        ? "▾"
                                : "▸",
             cell->layers[row->layer].name);
}

static void layers_text(const void *context, size_t index, int column, struct cell_text *out)
{
    const struct layers *layers = context;
    const struct row *row = &layers->rows.items[index];
    if (column == NAME) {
        name_text(layers, row, out);
        return;
    }
    const double value = row_value(layers, row, column);
    switch (column) {
    case SHARE:
        cell_figure(out, format_percent, value);
        break;
    case FLOPS:
    case RATE:
        cell_figure(out, format_rate, value);
        break;
    case SAVED:
    case PARAMETERS:
        cell_figure(out, format_bytes, value);
        break;
    case CALLS:
        cell_figure(out, format_count, value);
        break;
    default:
        cell_figure(out, format_duration, value);
        if (column == FWD || column == FWD_SELF)
            out->style = (enum style)(STYLE_PHASE + PHASE_FWD);
        else if (column == BWD || column == BWD_SELF)
            out->style = (enum style)(STYLE_PHASE + PHASE_BWD);
        else if (column == OPT)
            out->style = (enum style)(STYLE_PHASE + PHASE_OPT);
    }
    /* Nothing of that phase runs in the module: that is known, and drawn quieter than a time. */
    if (value == 0) {
        cell_string(out, "-");
        out->style = STYLE_DIM;
    }
}

static uint64_t layers_version(const void *context, size_t index)
{
    const struct layers *layers = context;
    const struct row *row = &layers->rows.items[index];
    uint64_t version = version_mix((uint64_t)row->open << 1 | row->has_children, calls_of(layers, row));
    for (int phase = 0; phase < PLACE_PHASE_COUNT; phase++) {
        version = version_mix(version, phase_value(layers, row, phase, false));
        version = version_mix(version, phase_value(layers, row, phase, true));
    }
    return version_mix(version, round(all_phases(layers, row, false) / layers->step_ns * 1000));
}

static const struct table_ops ops = {
    .columns = columns,
    .column_count = COLUMNS_COUNT,
    .text = layers_text,
    .flexible_least = 26,
    .long_names = true,
    .version = layers_version,
    .slot = VIEW_LAYERS,
};

static void layers_init(struct app *app, void *state)
{
    struct layers *layers = state;
    table_init(&layers->table, &ops, NAME);
    app_configure_table(app, &layers->table);
}

static void layers_release(void *state)
{
    struct layers *layers = state;
    table_release(&layers->table);
    vec_release(&layers->rows);
    vec_release(&layers->ids);
    vec_release(&layers->toggled);
    vec_release(&layers->first_entry);
    vec_release(&layers->next_entry);
}

static void layers_draw(struct app *app, void *state, const struct area *area)
{
    struct layers *layers = state;
    layers->cell = app_cell(app);
    layers->pass = app_pass(app, layers->cell);
    layers->rows.count = layers->ids.count = 0;
    if (layers->cell && layers->pass != NO_PASS && layers->cell->layer_count) {
        layers->step_ns = inclusive(layers, 0);
        list_entries(layers);
        make_rows(app, layers);
    }
    table_update(&layers->table, layers, layers->ids.items, layers->ids.count, app->now);
    table_draw(&layers->table, layers, area,
               !layers->cell ? "no run yet: n starts one" : "the layers come with the plan, when the run has begun");
}

static void layers_status(const struct app *app, const void *state, char *text, size_t size)
{
    const struct layers *layers = state;
    char attributed[FORMAT_SIZE], rest[FORMAT_SIZE];
    size_t used = 0;
    text[0] = 0;
    if (!layers->cell || layers->pass == NO_PASS)
        return;
    const struct report_pass *pass = &layers->cell->passes[layers->pass];
    used = (size_t)snprintf(text, size, "%s, %s a step", pass_name((enum pass)layers->pass),
                            format_duration(attributed, layers->cell->layer_count ? layers->step_ns : UNKNOWN_DOUBLE));
    if (is_known(pass->kernel_ns) && is_known(pass->attributed_ns) && used < size)
        used += (size_t)snprintf(text + used, size - used, ", unattributed %s",
                                 format_duration(rest, pass->kernel_ns - pass->attributed_ns));
    if (app->config.threshold > 0 && used < size)
        used += (size_t)snprintf(text + used, size - used, ", ≥%g%%", app->config.threshold * 100);
    if (layers->table.filter[0] && used < size)
        snprintf(text + used, size - used, ", filter: %s", layers->table.filter);
}

/* Enter on a layer folds it; on a layer that is a leaf of the model, or on a kernel, it shows the kernels. */
static void open_row(struct app *app, struct layers *layers)
{
    size_t index;
    if (!table_selected(&layers->table, &index))
        return;
    const struct row *row = &layers->rows.items[index];
    struct focus focus = app->focus;
    focus.run = layers->cell->run_id;
    focus.pass = layers->pass;
    if (row->entry >= 0) {
        const struct report_kernel *kernel = &layers->cell->kernels[layers->cell->entries[row->entry].kernel];
        focus.kernel = kernel_id(kernel->name, kernel->phase, kernel->pass);
        app->follow = false;
        app_open(app, VIEW_HISTOGRAM, &focus);
    } else if (row->has_children && !row->open) {
        toggle(layers, layer_id(layers->cell, row->layer));
    } else {
        app_open_layer(app, layers->cell, layers->pass, row->layer);
    }
}

static void fold_all(struct layers *layers)
{
    size_t index;
    if (!table_selected(&layers->table, &index))
        return;
    const struct row *row = &layers->rows.items[index];
    const int depth = layers->cell->layers[row->layer].depth;
    const bool open = is_open(layers, row->layer);
    for (int32_t i = 0; i < (int32_t)layers->cell->layer_count; i++)
        if (layers->cell->layers[i].depth == depth && is_open(layers, i) == open)
            toggle(layers, layer_id(layers->cell, i));
}

static void fold_one(struct layers *layers, bool open)
{
    size_t index;
    if (!table_selected(&layers->table, &index))
        return;
    const struct row *row = &layers->rows.items[index];
    /* Folding a kernel or a closed module folds the module round it, and goes there. */
    int32_t layer = row->layer;
    if (!open && row->entry < 0 && !is_open(layers, layer) && layers->cell->layers[layer].parent >= 0)
        layer = layers->cell->layers[layer].parent;
    if (is_open(layers, layer) != open)
        toggle(layers, layer_id(layers->cell, layer));
    if (!open)
        table_select(&layers->table, layer_id(layers->cell, layer));
}

static bool layers_command(struct app *app, void *state, enum command command)
{
    struct layers *layers = state;
    if (command == COMMAND_EXPAND || command == COMMAND_COLLAPSE) {
        layers->all_open = command == COMMAND_EXPAND;
        layers->all_closed = command == COMMAND_COLLAPSE;
        layers->toggled.count = 0;
        return true;
    }
    if (!layers->cell || layers->rows.count == 0)
        return false;
    switch (command) {
    case COMMAND_OPEN:
        open_row(app, layers);
        return true;
    case COMMAND_FOLD_ALL:
        fold_all(layers);
        return true;
    case COMMAND_UNFOLD:
    case COMMAND_FOLD:
        fold_one(layers, command == COMMAND_UNFOLD);
        return true;
    default:
        return false;
    }
}

static struct table *layers_table(void *state)
{
    return &((struct layers *)state)->table;
}

const struct view_ops layers_view = {
    .name = "Layers",
    .state_size = sizeof(struct layers),
    .init = layers_init,
    .release = layers_release,
    .draw = layers_draw,
    .status = layers_status,
    .command = layers_command,
    .table = layers_table,
};
