/* Layers: the module tree of the model, forward, backward and optimizer side by side, down to the kernels of a module; or the
 * same over all blocks, where what they have in common is one row. Times are per profiled step. */
#include "base/system.h"
#include "tui/app.h"
#include "tui/cells.h"
#include "tui/layers_internal.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define COMPARED (1u << BASE | 1u << RATIO)

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

/* The model, what holds the blocks, and where all blocks are one, that one. */
static bool opens_by_itself(const struct tree *tree, int32_t layer)
{
    return tree->layers[layer].depth < 1 || tree_is_block(tree, layer) || tree->holds_blocks.items[layer];
}

/* At first the model is open down to its blocks. */
static bool is_open(const struct layers *layers, int32_t layer)
{
    const bool by_default = layers->all_open || (!layers->all_closed && opens_by_itself(&layers->tree, layer));
    return by_default != is_toggled(layers, tree_layer_id(&layers->tree, layer));
}

static void add_row(struct layers *layers, const struct row *row, uint64_t id)
{
    vec_push(&layers->rows, *row);
    vec_push(&layers->ids, id);
}

/* Children in the order of the model, or by a column. */
struct child {
    int32_t layer, leaf, place;
    bool part; /* a module, in the order of the model */
    double value;
};

static double child_value(const struct layers *layers, const struct child *child)
{
    /* The columns speak of rows: this child as if it were the only one. */
    struct layers lone = *layers;
    struct row row = {{child->layer, child->leaf}, 0, false, false};
    lone.rows.items = &row;
    lone.rows.count = 1;
    return layers_columns[layers->table.sort == NAME ? TOTAL : layers->table.sort].value(&lone, 0);
}

static int by_id(const void *a, const void *b)
{
    const struct ordered *left = a, *right = b;
    return left->id < right->id ? -1 : left->id > right->id;
}

/* What the child is ordered by: its figure of now, or where rows rest that of when they were ordered last. */
static double order_value(struct layers *layers, const struct child *child)
{
    const struct tree *tree = &layers->tree;
    struct ordered own = {
        child->leaf < 0 ? tree_layer_id(tree, child->layer) : tree_leaf_id(tree, &tree->leaves.items[child->leaf]), 0};
    const struct ordered *old = layers->rests && layers->ordered.count
                                    ? bsearch(&own, layers->ordered.items, layers->ordered.count, sizeof own, by_id)
                                    : NULL;
    if (old)
        return old->value;
    own.value = child_value(layers, child);
    vec_push(&layers->fresh, own);
    return own.value;
}

/* As in other tables: rows change places at most once a second, and not right after somebody moved; at once when asked for. */
static void begin_order(struct layers *layers, const struct app *app)
{
    const struct table *table = &layers->table;
    const bool asked = layers->ordered_by != table->sort || layers->ordered_ascending != table->ascending ||
                       layers->ordered_run != layers->cell->run_id || layers->ordered_pass != layers->pass;
    layers->rests = !asked && layers->ordered.count &&
                    (app->now < table->rest_until ||
                     (app->now >= layers->ordered_at && app->now - layers->ordered_at < TABLE_SORT_NS));
    layers->fresh.count = 0;
    if (layers->rests)
        return;
    layers->ordered.count = 0;
    layers->ordered_at = app->now;
    layers->ordered_by = table->sort;
    layers->ordered_ascending = table->ascending;
    layers->ordered_run = layers->cell->run_id;
    layers->ordered_pass = layers->pass;
}

/* What was ordered for the first time keeps its place, too. */
static void end_order(struct layers *layers)
{
    for (size_t i = 0; i < layers->fresh.count; i++)
        vec_push(&layers->ordered, layers->fresh.items[i]);
    if (layers->fresh.count)
        qsort(layers->ordered.items, layers->ordered.count, sizeof *layers->ordered.items, by_id);
}

static int by_value(const void *a, const void *b, void *ascending)
{
    const struct child *left = a, *right = b;
    if (left->part || right->part) /* modules, and then what runs in none of them */
        return left->part && right->part ? left->place - right->place : left->part ? -1 : 1;
    if (isnan(left->value) != isnan(right->value))
        return isnan(left->value) ? 1 : -1;
    if (!isnan(left->value) && left->value != right->value)
        return (left->value < right->value) == *(bool *)ascending ? -1 : 1;
    return left->place - right->place;
}

static bool contains(const char *text, const char *needle)
{
    return strcasestr(text, needle) != NULL;
}

/* What a filter shows: a module whose path has the text, a kernel whose name has it, and the way to each. */
static bool leaf_matches(const struct layers *layers, const struct report_entry *leaf)
{
    const struct report_kernel *kernel = &layers->cell->kernels[leaf->kernel];
    const char *filter = layers->table.filter;
    return contains(kernel->name, filter) || contains(kernel_class_name(kernel->kernel_class), filter) ||
           (kernel->op && contains(kernel->op, filter));
}

static void find_matches(struct layers *layers)
{
    const struct tree *tree = &layers->tree;
    layers->matches.count = 0;
    for (int32_t i = 0; i < tree->count; i++) {
        const int32_t parent = tree->layers[i].parent;
        const bool own = contains(tree->layers[i].path, layers->table.filter) ||
                         (parent >= 0 && parent < i && layers->matches.items[parent] == 2);
        vec_push(&layers->matches, own ? 2 : 0);
        for (int32_t at = tree->first_leaf.items[i]; at >= 0 && !layers->matches.items[i];
             at = tree->next_leaf.items[at])
            if (leaf_matches(layers, &tree->leaves.items[at]))
                layers->matches.items[i] = 1;
    }
    for (int32_t i = tree->count; i-- > 0;) {
        const int32_t parent = tree->layers[i].parent;
        if (layers->matches.items[i] && parent >= 0 && parent < i && !layers->matches.items[parent])
            layers->matches.items[parent] = 1;
    }
}

static bool is_shown(const struct app *app, const struct layers *layers, int32_t layer)
{
    const int32_t scope = app->focus.scope;
    if (layers->table.filter[0] && !layers->matches.items[layer])
        return false;
    const bool none = !(layers_shown_time(layers, (struct spot){layer, -1}) > 0);
    if (none && (layers->phase >= 0 || (layers->tree.layers[layer].parent < 0 && layers->step_ns > 0)))
        return false; /* beside the model stands what ran: not a range from before its first call */
    if (scope < 0 || !layers->blocks_apart)
        return true;
    return scope_within(layers->cell, layer, scope) || scope_within(layers->cell, scope, layer);
}

static void add_layer(struct app *app, struct layers *layers, int32_t layer, int depth, double least);

static void add_children(struct app *app, struct layers *layers, int32_t layer, int depth, double least)
{
    const struct tree *tree = &layers->tree;
    const double steps = pass_steps(&layers->cell->passes[layers->pass]);
    const bool by_model = layers->table.sort == NAME, descending = false;
    VEC(struct child) children = {0};
    for (int32_t at = tree->first_leaf.items[layer]; at >= 0; at = tree->next_leaf.items[at]) {
        const struct report_entry *leaf = &tree->leaves.items[at];
        const bool wanted =
            (!layers->table.filter[0] || layers->matches.items[layer] == 2 || leaf_matches(layers, leaf)) &&
            (layers->phase < 0 || leaf->phase == layers->phase);
        const struct child child = {layer, at, (int32_t)children.count, false, 0};
        /* Known from another pass, or from warm-up alone: nothing of it is in these figures. */
        const bool ran = leaf->calls || leaf->total_ns;
        if (wanted && ran && (double)leaf->total_ns >= least * steps)
            vec_push(&children, child);
    }
    for (int32_t at = tree->first_child.items[layer]; at >= 0; at = tree->next_sibling.items[at]) {
        const struct child child = {at, -1, (int32_t)children.count, by_model, 0};
        if (is_shown(app, layers, at) && layers_shown_time(layers, (struct spot){at, -1}) >= least)
            vec_push(&children, child);
    }
    if (children.count > 1) {
        for (size_t i = 0; i < children.count; i++)
            children.items[i].value = children.items[i].part ? 0 : order_value(layers, &children.items[i]);
        sort_with(children.items, children.count, sizeof *children.items, by_value,
                  (void *)(by_model ? &descending : &layers->table.ascending));
    }
    for (size_t i = 0; i < children.count; i++) {
        const struct child *child = &children.items[i];
        if (child->leaf < 0) {
            add_layer(app, layers, child->layer, depth, least);
            continue;
        }
        const struct row row = {{layer, child->leaf}, depth, false, false};
        add_row(layers, &row, tree_leaf_id(tree, &tree->leaves.items[child->leaf]));
    }
    vec_release(&children);
}

static void add_layer(struct app *app, struct layers *layers, int32_t layer, int depth, double least)
{
    const struct tree *tree = &layers->tree;
    const bool has_children = tree->first_child.items[layer] >= 0 || tree->first_leaf.items[layer] >= 0;
    const bool open =
        layers->table.filter[0] ? layers->matches.items[layer] == 1 || is_open(layers, layer) : is_open(layers, layer);
    const struct row row = {{layer, -1}, depth, open, has_children};
    add_row(layers, &row, tree_layer_id(tree, layer));
    if (open && depth < 64)
        add_children(app, layers, layer, depth + 1, least);
}

static void make_rows(struct app *app, struct layers *layers)
{
    const double least = app->config.threshold * layers->step_ns;
    if (layers->table.filter[0])
        find_matches(layers);
    begin_order(layers, app);
    for (int32_t i = 0; i < layers->tree.count; i++)
        if (layers->tree.layers[i].parent < 0 && is_shown(app, layers, i))
            add_layer(app, layers, i, 0, least);
    end_order(layers);
}

static uint64_t layers_version(const void *context, size_t index)
{
    const struct layers *layers = context;
    const struct row *row = row_at(context, index);
    uint64_t version = version_mix((uint64_t)row->open << 1 | row->has_children, tree_calls(&layers->tree, row->at));
    for (int phase = 0; phase < PLACE_PHASE_COUNT; phase++) {
        version = version_mix(version, tree_phase(&layers->tree, row->at, phase, false));
        version = version_mix(version, tree_phase(&layers->tree, row->at, phase, true));
    }
    if (layers->base.cell)
        version = version_mix(version, layers_base_of(layers, row));
    return version_mix(version, round(layers_shown_time(layers, row->at) / layers->step_ns * 1000));
}

static const struct table_ops ops = {
    .columns = layers_columns,
    .column_count = COLUMNS_COUNT,
    .order = ORDER_VIEW,
    .flexible_least = 26,
    .long_names = true,
    .version = layers_version,
    .slot = VIEW_LAYERS,
};

static void layers_init(struct app *app, void *state)
{
    struct layers *layers = state;
    table_init(&layers->table, &ops, NAME);
    layers->table.ascending = true;
    app_configure_table(app, &layers->table);
    layers->blocks_apart = app_kept_choice(app, VIEW_LAYERS, 2);
}

static void layers_release(void *state)
{
    struct layers *layers = state;
    table_release(&layers->table);
    vec_release(&layers->rows);
    vec_release(&layers->ids);
    vec_release(&layers->toggled);
    vec_release(&layers->matches);
    vec_release(&layers->ordered);
    vec_release(&layers->fresh);
    tree_release(&layers->tree);
    tree_release(&layers->base);
}

/* What there is something of to show. */
static void show_columns(struct layers *layers)
{
    double again = 0, none = 0; /* of the model, and of what stands beside it */
    for (int32_t i = 0; layers->rows.count > 0 && i < layers->tree.count; i++)
        if (layers->tree.layers[i].parent < 0) {
            again += tree_phase(&layers->tree, (struct spot){i, -1}, PHASE_RECOMPUTE, false);
            none += tree_phase(&layers->tree, (struct spot){i, -1}, PHASE_NONE, false);
        }
    uint32_t automatic = layers->base.cell ? COMPARED : 0;
    if (!layers->blocks_apart)
        automatic |= 1u << BLOCKS;
    if (again > 0)
        automatic |= 1u << RECOMPUTE;
    if (none > 0)
        automatic |= 1u << NONE_PHASE;
    layers->table.shown = (layers->table.shown & ~table_automatic(&ops)) | automatic;
}

static void layers_update(struct app *app, void *state)
{
    struct layers *layers = state;
    const struct report_cell *base = app->focus.compare ? app_find_cell(app, app->baseline) : NULL;
    layers->cell = app_cell(app);
    layers->pass = app_pass(app, layers->cell);
    layers->rows.count = layers->ids.count = 0;
    layers->base.cell = NULL;
    if (layers->cell && layers->pass != NO_PASS && layers->cell->layer_count) {
        tree_make(&layers->tree, layers->cell, layers->pass, layers->blocks_apart);
        if (base && base != layers->cell && base->passes[layers->pass].present && base->layer_count)
            tree_make(&layers->base, base, layers->pass, layers->blocks_apart);
        const struct kernel_query query = {.grouping = GROUP_LAYER, .baseline = layers->base.cell};
        layers->unit = kernel_unit(layers->cell, &query);
        layers->phase = app_phase(app);
        layers->step_ns = layers_shown_time(layers, (struct spot){0, -1});
        make_rows(app, layers);
    }
    show_columns(layers);
    table_update(&layers->table, layers, layers->ids.items, layers->ids.count, app->now);
}

static void layers_draw(struct app *app, void *state, const struct area *area)
{
    struct layers *layers = state;
    table_draw(&layers->table, layers, area, cell_has_none(app, layers->cell, "layers"));
}

static void layers_status(const struct app *app, const void *state, char *text, size_t size)
{
    const struct layers *layers = state;
    char attributed[FORMAT_SIZE], rest[FORMAT_SIZE];
    size_t used = 0;
    text[0] = 0;
    if (!layers->cell || layers->pass == NO_PASS || !layers->cell->layer_count)
        return;
    const struct report_pass *pass = &layers->cell->passes[layers->pass];
    used = (size_t)snprintf(text, size, "%s, %s a step", pass_name((enum pass)layers->pass),
                            format_duration(attributed, layers->step_ns));
    if (layers->base.cell && used < size)
        used += (size_t)snprintf(text + used, size - used, ", ratio by %s", unit_name(layers->unit));
    if (is_known(pass->kernel_ns) && is_known(pass->attributed_ns) && used < size)
        used += (size_t)snprintf(text + used, size - used, ", unattributed %s",
                                 format_duration(rest, pass->kernel_ns - pass->attributed_ns));
    if (app->config.threshold > 0 && used < size)
        used += (size_t)snprintf(text + used, size - used, ", ≥%g%%", app->config.threshold * 100);
    if (used < size)
        table_asked(&layers->table, text, size);
}

/* Enter on a layer unfolds it; on an open one, or a kernel, it shows the kernels. */
static void open_row(struct app *app, struct layers *layers)
{
    size_t index;
    if (!table_selected(&layers->table, &index))
        return;
    const struct row *row = &layers->rows.items[index];
    struct focus focus = app->focus;
    focus.run = layers->cell->run_id;
    focus.pass = layers->pass;
    if (row->at.leaf >= 0) {
        const struct report_kernel *kernel = &layers->cell->kernels[layers->tree.leaves.items[row->at.leaf].kernel];
        focus.kernel = kernel_id(kernel->name, kernel->phase, kernel->pass);
        app->follow = false;
        app_open(app, VIEW_HISTOGRAM, &focus);
    } else if (row->has_children && !row->open) {
        toggle(layers, tree_layer_id(&layers->tree, row->at.layer));
    } else if (layers->blocks_apart) {
        app_open_layer(app, layers->cell, layers->pass, row->at.layer);
    } else {
        app_open_module(app, layers->cell, layers->pass, layers->tree.layers[row->at.layer].path);
    }
}

static void fold_all(struct layers *layers)
{
    size_t index;
    if (!table_selected(&layers->table, &index))
        return;
    const struct row *row = &layers->rows.items[index];
    const int depth = layers->tree.layers[row->at.layer].depth;
    const bool open = is_open(layers, row->at.layer);
    for (int32_t i = 0; i < layers->tree.count; i++)
        if (layers->tree.layers[i].depth == depth && is_open(layers, i) == open)
            toggle(layers, tree_layer_id(&layers->tree, i));
}

static void fold_one(struct layers *layers, bool open)
{
    size_t index;
    if (!table_selected(&layers->table, &index))
        return;
    const struct row *row = &layers->rows.items[index];
    /* Folding a kernel or a closed module folds the module round it, and goes there. */
    int32_t layer = row->at.layer;
    if (!open && row->at.leaf < 0 && !is_open(layers, layer) && layers->tree.layers[layer].parent >= 0)
        layer = layers->tree.layers[layer].parent;
    if (is_open(layers, layer) != open)
        toggle(layers, tree_layer_id(&layers->tree, layer));
    if (!open)
        table_select(&layers->table, tree_layer_id(&layers->tree, layer));
}

/* From one tree to the other: the row that stands for the selected one. */
static void toggle_blocks(struct app *app, struct layers *layers)
{
    size_t index;
    uint64_t wanted = 0;
    if (table_selected(&layers->table, &index)) {
        const int32_t layer = layers->rows.items[index].at.layer;
        const struct modules *modules = &layers->tree.modules;
        if (layers->blocks_apart)
            wanted = text_id(modules->layers[modules->of_layer[layer]].path, 201);
        for (size_t i = 0; !wanted && i < layers->cell->layer_count; i++)
            if (modules->of_layer[i] == layer)
                wanted = text_id(layers->cell->layers[i].path, 201);
    }
    layers->blocks_apart = !layers->blocks_apart;
    app->focus.scope = NO_SCOPE;
    if (wanted)
        table_select(&layers->table, wanted);
}

static uint64_t layers_kernel(const void *state)
{
    const struct layers *layers = state;
    size_t index;
    if (!layers->cell || !table_selected(&layers->table, &index) || layers->rows.items[index].at.leaf < 0)
        return 0;
    const struct report_kernel *kernel =
        &layers->cell->kernels[layers->tree.leaves.items[layers->rows.items[index].at.leaf].kernel];
    return kernel_id(kernel->name, kernel->phase, kernel->pass);
}

void layers_show_kernel(struct app *app, const struct report_cell *cell, int32_t kernel)
{
    struct layers *layers = app->states[VIEW_LAYERS];
    struct table *table = &layers->table;
    layers->blocks_apart = layers->all_open = true;
    layers->all_closed = false;
    layers->toggled.count = 0;
    table->filter[0] = 0;
    snprintf(table->search, sizeof table->search, "%.100s", cell->kernels[kernel].name);
    layers_update(app, layers);
    for (size_t i = 0; i < layers->rows.count; i++)
        if (layers->rows.items[i].at.leaf >= 0 &&
            (int32_t)layers->tree.leaves.items[layers->rows.items[i].at.leaf].kernel == kernel) {
            table_select(table, layers->ids.items[i]);
            break;
        }
}

void layers_show_module(struct app *app, const char *path)
{
    struct layers *layers = app->states[VIEW_LAYERS];
    layers->blocks_apart = false;
    layers->table.filter[0] = layers->table.search[0] = 0;
    layers_update(app, layers);
    for (int32_t i = 0; i < layers->tree.count; i++) {
        if (strcmp(layers->tree.layers[i].path, path) != 0)
            continue;
        for (int32_t at = i; at >= 0; at = layers->tree.layers[at].parent)
            if (!is_open(layers, at))
                toggle(layers, tree_layer_id(&layers->tree, at));
        table_select(&layers->table, tree_layer_id(&layers->tree, i));
    }
}

/* The costliest of a phase comes first; all phases stand in the order of the model again. */
static void order_by_phase(struct layers *layers, int phase)
{
    static const enum column columns_of[PLACE_PHASE_COUNT] = {
        [PHASE_FWD] = FWD, [PHASE_LOSS] = LOSS,           [PHASE_BWD] = BWD,
        [PHASE_OPT] = OPT, [PHASE_RECOMPUTE] = RECOMPUTE, [PHASE_NONE] = NONE_PHASE};
    table_sort_by(&layers->table, phase < 0 ? NAME : (int)columns_of[phase]);
    layers->table.ascending = phase < 0;
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
    if (command == COMMAND_PHASE) {
        app_next_phase(app);
        order_by_phase(layers, app_phase(app));
        return true;
    }
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
    case COMMAND_GROUP:
        toggle_blocks(app, layers);
        app_keep_choice(app, VIEW_LAYERS, layers->blocks_apart);
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
    .update = layers_update,
    .draw = layers_draw,
    .status = layers_status,
    .command = layers_command,
    .table = layers_table,
    .kernel = layers_kernel,
};
