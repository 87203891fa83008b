/* Memory: the plan's live bytes over the step by category; what each layer saves for backward; the largest tensors. All of
 * it planned, and so exact for the arena; the worker's resident peak is measured. */
#include "report/derive.h"
#include "tui/app.h"
#include "tui/cells.h"
#include "tui/memory_points.h"
#include "tui/plot.h"
#include <stdlib.h>
#include <string.h>

enum mode { MODE_CURVE, MODE_LAYERS, MODE_TENSORS, MODE_POINTS, MODE_COUNT };
static const char *const mode_names[MODE_COUNT] = {"over the step", "saved by layer", "largest tensors",
                                                   "three points of training"};

#define BAR_WIDTH 20
#define LEAST_NODES 8 /* that a picture zooms in to */

enum layer_column {
    LAYER,
    LAYER_SAVED,
    LAYER_BASE,
    LAYER_RATIO,
    LAYER_SHARE,
    LAYER_BAR,
    LAYER_PARAMETERS,
    LAYER_PEAK_FORWARD,
    LAYER_PEAK_BACKWARD,
    LAYER_COLUMNS
};
enum tensor_column {
    TENSOR,
    TENSOR_KIND,
    TENSOR_BYTES,
    TENSOR_BASE,
    TENSOR_RATIO,
    TENSOR_BAR,
    TENSOR_LAYER,
    TENSOR_COLUMNS
};
#define COMPARED_LAYERS (1u << LAYER_BASE | 1u << LAYER_RATIO)
#define PEAK_LAYERS (1u << LAYER_PEAK_FORWARD | 1u << LAYER_PEAK_BACKWARD)
#define COMPARED_TENSORS (1u << TENSOR_BASE | 1u << TENSOR_RATIO)

struct memory {
    enum mode mode,
        chosen; /* mode: the chosen one, or where the run has nothing of it the first that it has something of */
    struct table layers, tensors;
    VEC(int32_t) layer_rows;
    VEC(uint64_t) ids;
    const struct report_cell *cell, *base; /* base: what it is compared with; NULL */
    double cursor;                         /* 0 … 1 over the nodes */
    int zoom;
    int first, last; /* nodes that are drawn */
    int plot_x, plot_width;
    bool braille;
};

static const struct report_layer *layer_at(const void *context, size_t index)
{
    const struct memory *memory = context;
    return &memory->cell->layers[memory->layer_rows.items[index]];
}

static double saved_value(const void *context, size_t index)
{
    return known_or_nan(layer_at(context, index)->saved_bytes);
}

static double saved_share(const void *context, size_t index)
{
    const struct report_cell *cell = ((const struct memory *)context)->cell;
    double all = 0; /* of the model, and of what stands beside it */
    for (size_t i = 0; i < cell->layer_count; i++)
        if (cell->layers[i].parent < 0 && is_known_u64(cell->layers[i].saved_bytes))
            all += (double)cell->layers[i].saved_bytes;
    return all > 0 ? saved_value(context, index) / all : UNKNOWN_DOUBLE;
}

/* What the module of the same path keeps in the baseline. */
static double saved_base(const void *context, size_t index)
{
    const struct report_cell *base = ((const struct memory *)context)->base;
    for (size_t i = 0; base && i < base->layer_count; i++)
        if (strcmp(base->layers[i].path, layer_at(context, index)->path) == 0)
            return known_or_nan(base->layers[i].saved_bytes);
    return UNKNOWN_DOUBLE;
}

static double ratio_of(double own, double base)
{
    return base > 0 ? own / base : UNKNOWN_DOUBLE;
}

static void ratio_style(double ratio, struct cell_text *out)
{
    if (ratio > 1)
        out->style = STYLE_BAD;
    else if (ratio < 1)
        out->style = STYLE_GOOD;
}

static double saved_ratio(const void *context, size_t index)
{
    return ratio_of(saved_value(context, index), saved_base(context, index));
}

static void saved_ratio_text(const void *context, size_t index, struct cell_text *out)
{
    ratio_style(saved_ratio(context, index), out);
}

static double parameters_value(const void *context, size_t index)
{
    return known_or_nan(layer_at(context, index)->parameter_bytes);
}

static double peak_forward(const void *context, size_t index)
{
    return known_or_nan(layer_at(context, index)->peak_bytes[0]);
}

static double peak_backward(const void *context, size_t index)
{
    return known_or_nan(layer_at(context, index)->peak_bytes[1]);
}

/* Of a plan the curve tells it better. */
static bool has_peaks(const struct report_cell *cell)
{
    for (size_t i = 0; cell && i < cell->layer_count; i++)
        if (is_known_u64(cell->layers[i].peak_bytes[0]) || is_known_u64(cell->layers[i].peak_bytes[1]))
            return true;
    return false;
}

static void layer_text(const void *context, size_t index, struct cell_text *out)
{
    const struct report_layer *layer = layer_at(context, index);
    snprintf(out->text, sizeof out->text, "%*s%s", layer->depth < 20 ? layer->depth * 2 : 40, "", layer->name);
}

static void saved_bar(const void *context, size_t index, struct cell_text *out)
{
    format_bar(out->text, sizeof out->text, saved_share(context, index), out->width);
    out->style = (enum style)(STYLE_KIND + TENSOR_SAVED);
}

static const struct table_column layer_columns[LAYER_COLUMNS] = {
    [LAYER] = {"layer", "layer", "module of the model", 0, 0, COLUMN_LEFT, NULL, NULL, layer_text},
    [LAYER_SAVED] = {"saved", "saved",
                     "activations kept for backward, inclusive: planned, or counted in an attached program", 10, 1, 0,
                     saved_value, format_bytes, NULL},
    [LAYER_BASE] = {"base", "base", "what the same module keeps in the baseline", 10, 1,
                    COLUMN_AUTOMATIC | COLUMN_HIDDEN, saved_base, format_bytes, NULL},
    [LAYER_RATIO] = {"ratio", "ratio", "saved over the baseline's", 6, 1, COLUMN_AUTOMATIC | COLUMN_HIDDEN, saved_ratio,
                     format_ratio, saved_ratio_text},
    [LAYER_SHARE] = {"share", "%", "of all that is saved", 6, 2, 0, saved_share, format_percent, NULL},
    [LAYER_BAR] = {"bar", "", "the same as a bar", BAR_WIDTH, 4, COLUMN_LEFT | COLUMN_WIDE, NULL, NULL, saved_bar},
    [LAYER_PARAMETERS] = {"parameters", "params", "parameter memory, inclusive", 10, 3, 0, parameters_value,
                          format_bytes, NULL},
    [LAYER_PEAK_FORWARD] = {"peak fwd", "peak fwd",
                            "most in use beyond the step's beginning while it ran, sampled at borders of operators", 10,
                            1, COLUMN_AUTOMATIC | COLUMN_HIDDEN, peak_forward, format_bytes, NULL},
    [LAYER_PEAK_BACKWARD] = {"peak bwd", "peak bwd", "the same in the backward pass", 10, 1,
                             COLUMN_AUTOMATIC | COLUMN_HIDDEN, peak_backward, format_bytes, NULL},
};

static const struct report_tensor *tensor_at(const void *context, size_t index)
{
    return &((const struct memory *)context)->cell->memory.largest[index];
}

static double bytes_value(const void *context, size_t index)
{
    return known_or_nan(tensor_at(context, index)->bytes);
}

/* Of a tensor that is not among the baseline's largest nobody knows. */
static double bytes_base(const void *context, size_t index)
{
    const struct report_cell *base = ((const struct memory *)context)->base;
    for (size_t i = 0; base && i < base->memory.largest_count; i++)
        if (strcmp(base->memory.largest[i].name, tensor_at(context, index)->name) == 0)
            return known_or_nan(base->memory.largest[i].bytes);
    return UNKNOWN_DOUBLE;
}

static double bytes_ratio(const void *context, size_t index)
{
    return ratio_of(bytes_value(context, index), bytes_base(context, index));
}

static void bytes_ratio_text(const void *context, size_t index, struct cell_text *out)
{
    ratio_style(bytes_ratio(context, index), out);
}

static void tensor_text(const void *context, size_t index, struct cell_text *out)
{
    cell_string(out, tensor_at(context, index)->name);
}

static void kind_text(const void *context, size_t index, struct cell_text *out)
{
    const enum tensor_kind kind = tensor_at(context, index)->kind;
    cell_string(out, tensor_kind_name(kind));
    out->style = (enum style)(STYLE_KIND + kind);
}

static void tensor_bar(const void *context, size_t index, struct cell_text *out)
{
    format_bar(out->text, sizeof out->text, bytes_value(context, index) / bytes_value(context, 0), out->width);
    out->style = (enum style)(STYLE_KIND + tensor_at(context, index)->kind);
}

static void maker_text(const void *context, size_t index, struct cell_text *out)
{
    const struct report_cell *cell = ((const struct memory *)context)->cell;
    const int32_t scope = tensor_at(context, index)->scope;
    cell_string(out, scope >= 0 && (size_t)scope < cell->layer_count ? cell->layers[scope].path : "");
}

static const struct table_column tensor_columns[TENSOR_COLUMNS] = {
    [TENSOR] = {"tensor", "tensor", "name in the plan", 0, 0, COLUMN_LEFT, NULL, NULL, tensor_text},
    [TENSOR_KIND] = {"kind", "kind", "parameter, gradient, saved …", 15, 2, COLUMN_LEFT, NULL, NULL, kind_text},
    [TENSOR_BYTES] = {"bytes", "bytes", "size", 10, 1, 0, bytes_value, format_bytes, NULL},
    [TENSOR_BASE] = {"base", "base", "size of the same tensor in the baseline", 10, 1, COLUMN_AUTOMATIC | COLUMN_HIDDEN,
                     bytes_base, format_bytes, NULL},
    [TENSOR_RATIO] = {"ratio", "ratio", "size over the baseline's", 6, 1, COLUMN_AUTOMATIC | COLUMN_HIDDEN, bytes_ratio,
                      format_ratio, bytes_ratio_text},
    [TENSOR_BAR] = {"bar", "", "the same as a bar", BAR_WIDTH, 4, COLUMN_LEFT | COLUMN_WIDE, NULL, NULL, tensor_bar},
    [TENSOR_LAYER] = {"layer", "layer", "module that made it", 24, 3, COLUMN_LEFT, NULL, NULL, maker_text},
};

static const struct table_ops layer_ops = {
    .columns = layer_columns,
    .column_count = LAYER_COLUMNS,
    .flexible_least = 24,
    .slot = VIEW_MEMORY,
};
static const struct table_ops tensor_ops = {
    .columns = tensor_columns,
    .column_count = TENSOR_COLUMNS,
    .flexible_least = 24,
    .slot = CONFIG_TENSORS,
};

static void memory_init(struct app *app, void *state)
{
    struct memory *memory = state;
    table_init(&memory->layers, &layer_ops, LAYER);
    table_init(&memory->tensors, &tensor_ops, TENSOR);
    app_configure_table(app, &memory->layers);
    app_configure_table(app, &memory->tensors);
    memory->mode = memory->chosen = (enum mode)app_kept_choice(app, VIEW_MEMORY, MODE_COUNT);
    memory->cursor = 0.5;
}

static void memory_release(void *state)
{
    struct memory *memory = state;
    table_release(&memory->layers);
    table_release(&memory->tensors);
    vec_release(&memory->layer_rows);
    vec_release(&memory->ids);
}

static uint64_t node_sum(const struct report_memory *memory, int node)
{
    uint64_t sum = 0;
    for (int kind = 0; kind < TENSOR_KIND_COUNT; kind++)
        sum += memory->curve[(size_t)node * TENSOR_KIND_COUNT + (size_t)kind];
    return sum;
}

/* The nodes between first and last that a column stands for, and of these the one with most live bytes. */
static int column_node(const struct memory *state, int x)
{
    const struct report_memory *memory = &state->cell->memory;
    const int span = state->last - state->first + 1;
    const int from = state->first + (int)((int64_t)x * span / state->plot_width);
    int to = state->first + (int)((int64_t)(x + 1) * span / state->plot_width);
    to = to > from ? to : from + 1;
    int best = from;
    for (int node = from + 1; node < to && node <= state->last; node++)
        if (node_sum(memory, node) > node_sum(memory, best))
            best = node;
    return best;
}

static void choose_nodes(struct memory *state)
{
    const int count = state->cell->memory.curve_count;
    int span = count, zoom = 0;
    for (; zoom < state->zoom && span > LEAST_NODES; zoom++)
        span = span / 2 > LEAST_NODES ? span / 2 : LEAST_NODES;
    state->zoom = zoom; /* no further than there is something to see of it */
    state->first = scale_to(state->cursor, count - 1) - span / 2;
    if (state->first > count - span)
        state->first = count - span;
    if (state->first < 0)
        state->first = 0;
    state->last = state->first + span - 1;
}

static int cursor_column(const struct memory *state)
{
    const int node = scale_to(state->cursor, state->cell->memory.curve_count - 1);
    const int span = state->last - state->first + 1;
    int x = (int)((int64_t)(node - state->first) * state->plot_width / span);
    return x < 0 ? 0 : x >= state->plot_width ? state->plot_width - 1 : x;
}

static int legend_width(const struct memory *state)
{
    return state->base ? 49 : 39;
}

static void draw_legend(const struct memory *state, const struct area *area, int node)
{
    const struct report_memory *memory = &state->cell->memory;
    char at[FORMAT_SIZE], highest[FORMAT_SIZE];
    int y = 0;
    area_text(area, y, 2, -1, STYLE_HEAD, "category        ");
    area_text_right(area, y, 18, 10, STYLE_HEAD, "at cursor");
    area_text_right(area, y, 28, 10, STYLE_HEAD, "highest");
    const struct report_memory *base = state->base ? &state->base->memory : NULL;
    if (base)
        area_text_right(area, y, 38, 10, STYLE_HEAD, "base");
    y++;
    for (int kind = TENSOR_KIND_COUNT - 1; kind >= 0 && y < area->height; kind--) {
        if (!memory->by_kind[kind])
            continue;
        area_put(area, y, 0, (enum style)(STYLE_KIND + kind), kind_shade((enum tensor_kind)kind, area->canvas->ascii));
        area_text(area, y, 2, 16, STYLE_NORMAL, tensor_kind_name((enum tensor_kind)kind));
        area_text_right(area, y, 18, 10, STYLE_NORMAL,
                        format_bytes(at, (double)memory->curve[(size_t)node * TENSOR_KIND_COUNT + (size_t)kind]));
        area_text_right(area, y, 28, 10, STYLE_DIM, format_bytes(highest, known_or_nan(memory->by_kind[kind])));
        if (base)
            area_text_right(area, y, 38, 10, STYLE_DIM, format_bytes(highest, known_or_nan(base->by_kind[kind])));
        y++;
    }
    area_text(area, y, 2, 16, STYLE_BOLD, "live");
    area_text_right(area, y, 18, 10, STYLE_BOLD, format_bytes(at, (double)node_sum(memory, node)));
    area_text_right(area, y, 28, 10, STYLE_BOLD, format_bytes(highest, known_or_nan(memory->planned_peak_live)));
    if (base)
        area_text_right(area, y, 38, 10, STYLE_BOLD, format_bytes(highest, known_or_nan(base->planned_peak_live)));
    y++;
    area_text(area, y, 2, 16, STYLE_NORMAL, "arena + work");
    area_text_right(area, y++, 28, 10, STYLE_NORMAL,
                    format_bytes(highest, known_or_nan(memory->planned_total) +
                                              (is_known_u64(memory->workspace) ? (double)memory->workspace : 0)));
    area_text(area, y, 2, 16, STYLE_NORMAL, "resident (meas.)");
    area_text_right(area, y, 28, 10, STYLE_NORMAL, format_bytes(highest, known_or_nan(memory->resident_peak)));
    if (base)
        area_text_right(area, y, 38, 10, STYLE_NORMAL, format_bytes(highest, known_or_nan(base->resident_peak)));
}

/* Where each phase begins, under the picture. */
static void draw_phases(const struct memory *state, const struct area *area, int y)
{
    const struct report_memory *memory = &state->cell->memory;
    int before = -1, free_from = 0;
    for (int x = 0; x < state->plot_width; x++) {
        const int node = column_node(state, x), phase = memory->curve_phase ? memory->curve_phase[node] : PHASE_FWD;
        const enum style style = (enum style)(STYLE_PHASE + phase);
        area_put(area, y, x, style, phase != before ? 0x253c : 0x2500);
        if (phase != before && x >= free_from)
            free_from = x + 1 + area_text(area, y + 1, x, state->plot_width - x, style, phase_name((enum phase)phase));
        before = phase;
    }
}

static void draw_curve(struct memory *state, const struct area *area)
{
    const struct report_memory *memory = &state->cell->memory;
    const bool wide = area->width >= 96;
    const int axis = 10;
    char text[FORMAT_SIZE];
    const struct area plot =
        area_part(area, 1, axis, area->height - 4, area->width - axis - (wide ? legend_width(state) + 2 : 1));
    state->plot_width = plot.width < 1024 ? plot.width : 1024;
    state->plot_x = plot.x;
    choose_nodes(state);
    double *values = calloc((size_t)state->plot_width * TENSOR_KIND_COUNT + 1, sizeof *values);
    if (!values)
        return;
    double top = 0;
    for (int x = 0; x < state->plot_width; x++) {
        const int node = column_node(state, x);
        for (int kind = 0; kind < TENSOR_KIND_COUNT; kind++)
            values[x * TENSOR_KIND_COUNT + kind] =
                (double)memory->curve[(size_t)node * TENSOR_KIND_COUNT + (size_t)kind];
        const double sum = (double)node_sum(memory, node);
        top = sum > top ? sum : top;
    }
    wchar_t glyphs[TENSOR_KIND_COUNT];
    for (int kind = 0; kind < TENSOR_KIND_COUNT; kind++)
        glyphs[kind] = kind_shade((enum tensor_kind)kind, area->canvas->ascii);
    plot_stack(&plot, values, state->plot_width, TENSOR_KIND_COUNT, top, (enum style)STYLE_KIND, glyphs,
               state->braille && !area->canvas->ascii);
    free(values);
    const int cursor = cursor_column(state);
    const int node = scale_to(state->cursor, memory->curve_count - 1);
    area_text_right(area, 1, 0, axis - 1, STYLE_AXIS, format_bytes(text, top));
    area_text_right(area, 1 + plot.height / 2, 0, axis - 1, STYLE_AXIS, format_bytes(text, top / 2));
    area_text_right(area, plot.height, 0, axis - 1, STYLE_AXIS, "0 B");
    const struct area below = area_part(area, 1 + plot.height, axis, 2, state->plot_width);
    draw_phases(state, &below, 0);
    area_put(&plot, 0, cursor, STYLE_CURSOR, 0x25bc);
    area_put(&below, 0, cursor, STYLE_CURSOR, 0x25b2);
    area_printf(area, 0, 0, STYLE_NORMAL, "node %d of %d, %s live; planned peak %s", node + 1, memory->curve_count,
                format_bytes(text, (double)node_sum(memory, node)), memory->peak_at ? memory->peak_at : "n/a");
    if (wide) {
        const struct area legend =
            area_part(area, 1, area->width - legend_width(state), area->height - 2, legend_width(state));
        draw_legend(state, &legend, node);
        return;
    }
    /* The largest first, and none that is cut off. */
    bool drawn[TENSOR_KIND_COUNT] = {false};
    for (int x = 0;;) {
        char entry[64];
        int largest = -1;
        for (int kind = TENSOR_KIND_COUNT - 1; kind >= 0; kind--)
            if (memory->by_kind[kind] && !drawn[kind] &&
                (largest < 0 || memory->by_kind[kind] > memory->by_kind[largest]))
                largest = kind;
        if (largest < 0)
            break;
        drawn[largest] = true;
        snprintf(entry, sizeof entry, "%s %s", tensor_kind_name((enum tensor_kind)largest),
                 format_bytes(text, known_or_nan(memory->by_kind[largest])));
        const int columns = text_columns(entry, area->canvas->ascii);
        if (x + 1 + columns > area->width)
            continue;
        area_put(area, area->height - 1, x, (enum style)(STYLE_KIND + largest),
                 kind_shade((enum tensor_kind)largest, area->canvas->ascii));
        x += 2 + area_text(area, area->height - 1, x + 1, -1, STYLE_DIM, entry);
    }
}

static void update_layers(struct app *app, struct memory *state)
{
    state->layer_rows.count = state->ids.count = 0;
    for (int32_t i = 0; state->cell && i < (int32_t)state->cell->layer_count; i++) {
        const struct report_layer *layer = &state->cell->layers[i];
        const bool keeps = is_known_u64(layer->saved_bytes) && layer->saved_bytes;
        if (!keeps && !is_known_u64(layer->peak_bytes[0]) && !is_known_u64(layer->peak_bytes[1]))
            continue;
        vec_push(&state->layer_rows, i);
        vec_push(&state->ids, text_id(layer->path, 301));
    }
    table_update(&state->layers, state, state->ids.items, state->ids.count, app->now);
}

static void update_tensors(struct app *app, struct memory *state)
{
    state->ids.count = 0;
    for (int32_t i = 0; state->cell && i < (int32_t)state->cell->memory.largest_count; i++)
        vec_push(&state->ids, text_id(state->cell->memory.largest[i].name, 302));
    table_update(&state->tensors, state, state->ids.items, state->ids.count, app->now);
}

/* A program of the user's own has no plan, and so no curve and no tensors by name. */
static bool has_mode(const struct memory *state, enum mode mode)
{
    const struct report_cell *cell = state->cell;
    if (!cell)
        return true;
    if (mode == MODE_CURVE)
        return cell->memory.curve && cell->memory.curve_count > 0;
    if (mode == MODE_TENSORS)
        return cell->memory.largest_count > 0;
    if (mode == MODE_POINTS)
        return is_known(memory_point(cell, 1, -1));
    for (size_t i = 0; i < cell->layer_count; i++)
        if (is_known_u64(cell->layers[i].saved_bytes) && cell->layers[i].saved_bytes)
            return true;
    return has_peaks(cell);
}

static void memory_update(struct app *app, void *opaque)
{
    struct memory *state = opaque;
    state->cell = app_cell(app);
    state->base = app->focus.compare && app->baseline != NO_RUN ? app_find_cell(app, app->baseline) : NULL;
    if (state->base == state->cell)
        state->base = NULL;
    state->layers.shown = state->base ? state->layers.shown | COMPARED_LAYERS : state->layers.shown & ~COMPARED_LAYERS;
    state->layers.shown =
        has_peaks(state->cell) ? state->layers.shown | PEAK_LAYERS : state->layers.shown & ~PEAK_LAYERS;
    state->tensors.shown =
        state->base ? state->tensors.shown | COMPARED_TENSORS : state->tensors.shown & ~COMPARED_TENSORS;
    state->mode = state->chosen;
    for (int i = 0; i < MODE_COUNT && !has_mode(state, state->mode); i++)
        state->mode = has_mode(state, (enum mode)i) ? (enum mode)i : state->chosen;
    if (state->mode == MODE_LAYERS)
        update_layers(app, state);
    else if (state->mode == MODE_TENSORS)
        update_tensors(app, state);
}

static void memory_draw(struct app *app, void *opaque, const struct area *area)
{
    struct memory *state = opaque;
    state->braille = app->config.braille;
    const char *none = cell_has_none(app, state->cell, "memory");
    if (!state->cell)
        area_text_fit(area, 1, 1, area->width - 2, STYLE_DIM, none);
    else if (state->mode == MODE_LAYERS)
        table_draw(&state->layers, state, area,
                   state->cell->layer_count ? "this run saves nothing for backward" : none);
    else if (state->mode == MODE_TENSORS)
        table_draw(&state->tensors, state, area, none);
    else if (state->mode == MODE_POINTS && has_mode(state, MODE_POINTS))
        memory_points_draw(area, state->cell, state->base);
    else if (!state->cell->memory.curve || state->cell->memory.curve_count < 1)
        area_text_fit(area, 1, 1, area->width - 2, STYLE_DIM,
                      !state->cell->layer_count           ? none
                      : state->cell->requested.command[0] ? "a program of your own has no plan; what its layers keep "
                                                            "for backward is read in the second step of its optimizer"
                                                          : "this run was asked for no memory ledger (--no-memory)");
    else if (plot_fits(area))
        draw_curve(state, area);
}

static void memory_status(const struct app *app, const void *opaque, char *text, size_t size)
{
    const struct memory *state = opaque;
    (void)app;
    /* Of a program of the user's own it was looked at as it was saved. */
    const bool own = state->cell && state->cell->requested.command[0];
    snprintf(text, size, "%s, %s", mode_names[state->mode], own ? "measured" : "planned");
}

static void move_cursor(struct memory *state, double columns)
{
    const int span = state->last - state->first + 1;
    if (!state->cell || state->cell->memory.curve_count < 2 || state->plot_width < 1)
        return;
    double nodes = columns * span / state->plot_width;
    if (fabs(nodes) < 1)
        nodes = columns < 0 ? -1 : 1;
    state->cursor += nodes / (state->cell->memory.curve_count - 1);
    state->cursor = state->cursor < 0 ? 0 : state->cursor > 1 ? 1 : state->cursor;
}

/* Round those that there is something of; where there is nothing yet, round all. */
static void next_mode(struct memory *state)
{
    enum mode next = state->mode;
    do
        next = (enum mode)((next + 1) % MODE_COUNT);
    while (next != state->mode && !has_mode(state, next));
    if (next == state->mode && !has_mode(state, next))
        next = (enum mode)((next + 1) % MODE_COUNT);
    state->chosen = next;
}

static bool memory_command(struct app *app, void *opaque, enum command command)
{
    struct memory *state = opaque;
    (void)app;
    switch (command) {
    case COMMAND_MODE:
    case COMMAND_OPEN:
        next_mode(state);
        app_keep_choice(app, VIEW_MEMORY, (int)state->chosen);
        memory_update(app, state);
        return true;
    case COMMAND_LEFT:
        move_cursor(state, -1);
        return true;
    case COMMAND_RIGHT:
        move_cursor(state, 1);
        return true;
    case COMMAND_ZOOM_IN:
        state->zoom++;
        return true;
    case COMMAND_ZOOM_OUT:
        state->zoom -= state->zoom > 0;
        return true;
    default:
        return false;
    }
}

static bool memory_click(struct app *app, void *opaque, int y, int x)
{
    struct memory *state = opaque;
    (void)app;
    (void)y;
    if (state->mode != MODE_CURVE || !state->cell || state->cell->memory.curve_count < 2 || x < state->plot_x ||
        x >= state->plot_x + state->plot_width)
        return false;
    state->cursor = (double)column_node(state, x - state->plot_x) / (state->cell->memory.curve_count - 1);
    return true;
}

static struct table *memory_table(void *opaque)
{
    struct memory *state = opaque;
    return state->mode == MODE_LAYERS ? &state->layers : state->mode == MODE_TENSORS ? &state->tensors : NULL;
}

const struct view_ops memory_view = {
    .name = "Memory",
    .state_size = sizeof(struct memory),
    .init = memory_init,
    .release = memory_release,
    .update = memory_update,
    .draw = memory_draw,
    .status = memory_status,
    .command = memory_command,
    .table = memory_table,
    .click = memory_click,
};
