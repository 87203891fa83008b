/* Roofline: modelled work over modelled traffic against the rate achieved, log-log, under the ceilings that a short
 * measurement on the same device gave (Williams, Waterman, Patterson 2009). */
#include "base/unknown.h"
#include "report/counted.h"
#include "report/rules.h"
#include "tui/app.h"
#include "tui/cells.h"
#include "tui/plot.h"
#include <stdlib.h>
#include <string.h>

enum column { NAME, INTENSITY, FLOPS, ROOF, SHARE, GAIN, COUNTED_INTENSITY, COUNTED_FLOPS, COLUMNS_COUNT };

#define NAME_LEAST 30 /* of a point: a phase, and a product's name with its sizes at both ends */
#define COUNTED (1u << COUNTED_INTENSITY | 1u << COUNTED_FLOPS)

struct roofline {
    struct table table;
    kernel_rows rows;
    VEC(uint64_t) ids;
    bool layers;
    const struct report_cell *cell;
};

static double intensity(const struct kernel_row *row)
{
    return row->sum.bytes > 0 ? row->sum.flops / row->sum.bytes : UNKNOWN_DOUBLE;
}

/* The row's kernel where its counters are known; layers have none of their own. */
static const struct report_kernel *counted_kernel(const struct roofline *state, const struct kernel_row *row)
{
    if (state->layers || row->kernel < 0 || (size_t)row->kernel >= state->cell->kernel_count)
        return NULL;
    const struct report_kernel *kernel = &state->cell->kernels[row->kernel];
    return kernel->counters ? kernel : NULL;
}

static double counted_intensity(const struct roofline *state, const struct kernel_row *row)
{
    const struct report_kernel *kernel = counted_kernel(state, row);
    const double bytes = kernel ? counted_sum(state->cell, kernel, "dram_bytes") : UNKNOWN_DOUBLE;
    return bytes > 0 ? counted_sum(state->cell, kernel, "flops") / bytes : UNKNOWN_DOUBLE;
}

static double counted_rate(const struct roofline *state, const struct kernel_row *row)
{
    const struct report_kernel *kernel = counted_kernel(state, row);
    return kernel ? rate_per_s(counted_sum(state->cell, kernel, "flops"), counted_sum(state->cell, kernel, "gpu_ns"))
                  : UNKNOWN_DOUBLE;
}

static const char *format_intensity(char text[FORMAT_SIZE], double value)
{
    if (!isfinite(value))
        return "n/a";
    snprintf(text, FORMAT_SIZE, value < 10 ? "%.2f" : value < 100 ? "%.1f" : "%.0f", value);
    return text;
}

static const struct kernel_row *row_at(const void *context, size_t index)
{
    return &((const struct roofline *)context)->rows.items[index];
}

static double intensity_value(const void *context, size_t index)
{
    return intensity(row_at(context, index));
}

static double flops_value(const void *context, size_t index)
{
    return rate_per_s(row_at(context, index)->sum.flops, (double)row_at(context, index)->sum.total_ns);
}

static double roof_value(const void *context, size_t index)
{
    const struct report_kernel *sum = &row_at(context, index)->sum;
    return roof_share(((const struct roofline *)context)->cell, sum->flops, sum->bytes, (double)sum->total_ns);
}

static double share_value(const void *context, size_t index)
{
    return row_at(context, index)->sum.share;
}

static double gain_value(const void *context, size_t index)
{
    return roof_gain(share_value(context, index), roof_value(context, index));
}

static double counted_intensity_value(const void *context, size_t index)
{
    return counted_intensity(context, row_at(context, index));
}

static double counted_rate_value(const void *context, size_t index)
{
    return counted_rate(context, row_at(context, index));
}

static void name_text(const void *context, size_t index, struct cell_text *out)
{
    const struct kernel_row *row = row_at(context, index);
    snprintf(out->text, sizeof out->text, "%s%s%s", row->phase >= 0 ? phase_name((enum phase)row->phase) : "",
             row->phase >= 0 ? " " : "", row->sum.name);
}

static const struct table_column columns[COLUMNS_COUNT] = {
    [NAME] = {"point", "point", "kernel or layer", 0, 0, COLUMN_LEFT, NULL, NULL, name_text},
    [INTENSITY] = {"intensity", "FLOP/B", "modelled FLOPs over modelled least bytes", 7, 4, 0, intensity_value,
                   format_intensity, NULL},
    [FLOPS] = {"flops", "FLOP/s",
               "modelled FLOPs over measured time; attention counts the causal half, T(T + 1)/2 pairs a head: where a "
               "paper or a course "
               "counts all T x T, its figure is 2T/(T + 1) times this one, about twice",
               7, 3, 0, flops_value, format_rate, NULL},
    [ROOF] = {"roof", "roof%", "of what the ceilings allow", 6, 2, 0, roof_value, format_roof, NULL},
    [SHARE] = {"share", "self%", "of the kernel time of the pass", 6, 5, 0, share_value, format_percent, NULL},
    [GAIN] = {"gain", "gain%", "of that time, what would be saved at the ceilings: self% · (1 − roof)", 6, 1, 0,
              gain_value, format_percent, NULL},
    /* Shown where the device counts them. */
    [COUNTED_INTENSITY] = {"counted_intensity", "counted", "counted FLOPs over counted DRAM bytes", 7, 6,
                           COLUMN_HIDDEN | COLUMN_AUTOMATIC, counted_intensity_value, format_intensity, NULL},
    [COUNTED_FLOPS] = {"counted_flops", "FLOP/s", "counted FLOPs over the time of the counted launches", 7, 7,
                       COLUMN_HIDDEN | COLUMN_AUTOMATIC, counted_rate_value, format_rate, NULL},
};

static const struct table_ops ops = {
    .columns = columns,
    .column_count = COLUMNS_COUNT,
    .order = ORDER_COLUMN,
    .flexible_least = NAME_LEAST,
    .long_names = true,
    .slot = VIEW_ROOFLINE,
};

static void roofline_init(struct app *app, void *opaque)
{
    struct roofline *state = opaque;
    table_init(&state->table, &ops, GAIN);
    state->layers = app_kept_choice(app, VIEW_ROOFLINE, 2);
    app_configure_table(app, &state->table);
}

static void roofline_release(void *opaque)
{
    struct roofline *state = opaque;
    table_release(&state->table);
    vec_release(&state->rows);
    vec_release(&state->ids);
}

struct scale {
    double x_low, x_high, y_low, y_high;
}; /* of the logarithms to base 10 */

static bool point_of(const struct kernel_row *row, double *x, double *y)
{
    const double work = intensity(row), rate = rate_per_s(row->sum.flops, (double)row->sum.total_ns);
    if (!(work > 0) || !(rate > 0))
        return false;
    *x = log10(work);
    *y = log10(rate);
    return true;
}

/* Round powers of ten round all points and the ridge. */
static bool choose_scale(const struct roofline *state, struct scale *scale)
{
    const struct report_ceilings *ceilings = &state->cell->ceilings;
    *scale = (struct scale){INFINITY, -INFINITY, INFINITY, -INFINITY};
    double x, y;
    for (size_t i = 0; i < state->rows.count; i++) {
        if (!point_of(&state->rows.items[i], &x, &y))
            continue;
        scale->x_low = fmin(scale->x_low, x);
        scale->x_high = fmax(scale->x_high, x);
        scale->y_low = fmin(scale->y_low, y);
        scale->y_high = fmax(scale->y_high, y);
        const double counted = log10(counted_intensity(state, &state->rows.items[i]));
        if (isfinite(counted)) {
            scale->x_low = fmin(scale->x_low, counted);
            scale->x_high = fmax(scale->x_high, counted);
        }
    }
    if (is_known(ceilings->flops_per_s) && is_known(ceilings->bytes_per_s)) {
        const double ridge = log10(ceilings->flops_per_s / ceilings->bytes_per_s);
        scale->x_low = fmin(scale->x_low, ridge - 1);
        scale->x_high = fmax(scale->x_high, ridge + 1);
        scale->y_high = fmax(scale->y_high, log10(ceilings->flops_per_s));
    }
    if (!isfinite(scale->x_low) || !isfinite(scale->y_high))
        return false;
    if (!isfinite(scale->y_low))
        scale->y_low = scale->y_high - 2;
    scale->x_low = floor(scale->x_low);
    scale->x_high = ceil(scale->x_high + 0.1);
    scale->y_low = floor(scale->y_low);
    scale->y_high = ceil(scale->y_high + 0.1);
    /* All powers of ten of a double are within; a ratio of two of them need not be. */
    return isfinite(scale->x_low) && isfinite(scale->x_high) && isfinite(scale->y_low) && isfinite(scale->y_high);
}

static double place(double value, double low, double high)
{
    return (value - low) / (high - low);
}

static void draw_roof(const struct roofline *state, const struct scale *scale, const struct area *plot, bool braille)
{
    const double peak = state->cell->ceilings.flops_per_s, bandwidth = state->cell->ceilings.bytes_per_s;
    struct dots dots;
    if (!is_known(peak) || !is_known(bandwidth))
        return;
    dots_init(&dots, plot->height, plot->width, braille);
    for (int i = 0; i <= plot->width * 4; i++) {
        const double at = (double)i / (plot->width * 4);
        const double x = scale->x_low + at * (scale->x_high - scale->x_low);
        const double y = fmin(log10(peak), log10(bandwidth) + x);
        dots_put(&dots, at, place(y, scale->y_low, scale->y_high), STYLE_AXIS);
    }
    dots_draw(&dots, plot, 0xb7);
    dots_release(&dots);
}

static void draw_axes(const struct scale *scale, const struct area *area, const struct area *plot)
{
    char text[FORMAT_SIZE];
    int before = -1; /* a low picture has no line for each power of ten */
    for (int power = (int)scale->y_low; power <= (int)scale->y_high; power++) {
        const int y = scale_to(1 - place(power, scale->y_low, scale->y_high), plot->height - 1);
        if (y == before)
            continue;
        before = y;
        area_text_right(area, 1 + y, 0, 7, STYLE_AXIS, format_rate(text, pow(10, power)));
    }
    area_fill(area, 1 + plot->height, 8, 1, plot->width, STYLE_AXIS, 0x2500);
    int free_from = 0;
    for (int power = (int)scale->x_low; power <= (int)scale->x_high; power++) {
        const int x = scale_to(place(power, scale->x_low, scale->x_high), plot->width - 1);
        snprintf(text, sizeof text, power < 0 ? "%g" : "%.0f", pow(10, power));
        area_put(area, 1 + plot->height, 8 + x, STYLE_AXIS, 0x253c);
        if (x >= free_from && 8 + x + (int)strlen(text) <= area->width)
            free_from = x + area_text(area, 2 + plot->height, 8 + x, -1, STYLE_AXIS, text) + 1;
    }
}

/* Where the selected kernel lies by what was counted: the distance to the modelled point is traffic that the model leaves out. */
static void draw_counted(const struct roofline *state, const struct scale *scale, const struct area *plot,
                         const struct kernel_row *row)
{
    const double work = counted_intensity(state, row), rate = counted_rate(state, row);
    if (!(work > 0) || !(rate > 0))
        return;
    const double x = place(log10(work), scale->x_low, scale->x_high),
                 y = place(log10(rate), scale->y_low, scale->y_high);
    if (x >= 0 && x <= 1 && y >= 0 && y <= 1)
        area_put(plot, scale_to(1 - y, plot->height - 1), scale_to(x, plot->width - 1), STYLE_CURSOR, 0x25c7);
}

#define LABELS 12
#define LABEL_WIDTH 26

/* Where a point is drawn; false: it has no place. */
static bool point_cell(const struct kernel_row *row, const struct scale *scale, const struct area *plot, int *line,
                       int *column)
{
    double x, y;
    if (!point_of(row, &x, &y))
        return false;
    *column = scale_to(place(x, scale->x_low, scale->x_high), plot->width - 1);
    *line = scale_to(1 - place(y, scale->y_low, scale->y_high), plot->height - 1);
    return true;
}

/* True when nothing is drawn there, nor right beside it. */
static bool is_free(const struct area *plot, int line, int column, int width)
{
    if (line < 0 || line >= plot->height || column < 0 || column + width > plot->width)
        return false;
    const struct glyph *row = area_row(plot, line);
    for (int x = column > 0 ? column - 1 : 0; x < column + width + 1 && x < plot->width; x++)
        if (row[x].base != L' ')
            return false;
    return true;
}

/* Beside its point, else above or below it; not at all where there is no room. */
static bool put_label(const struct area *plot, int line, int column, enum style style, const char *text, bool must)
{
    const int all = text_columns(text, plot->canvas->ascii), most = must ? plot->width : LABEL_WIDTH;
    const int width = all < most ? all : most;
    const struct {
        int line, column;
    } tries[] = {{line, column + 2},     {line, column - 1 - width}, {line - 1, column + 1},
                 {line + 1, column + 1}, {line - 1, column - width}, {line + 1, column - width}};
    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++)
        if (is_free(plot, tries[i].line, tries[i].column, width)) {
            area_text_ends(plot, tries[i].line, tries[i].column, width, style, text, NULL);
            return true;
        }
    if (must) {
        const int right = column + 2, left = column - 1 - width;
        area_text_fit(plot, line,
                      right + width < plot->width || column < plot->width / 2 ? right
                      : left < 0                                              ? 0
                                                                              : left,
                      width, style, text);
    }
    return must;
}

/* The selected point last, so that none lies over it; its name in any case, and those of the list's first where there is room. */
static void draw_points(const struct roofline *state, const struct scale *scale, const struct area *plot)
{
    size_t selected = SIZE_MAX;
    int line, column, labels = 0;
    table_selected(&state->table, &selected);
    for (size_t i = 0; i < state->rows.count; i++) {
        const struct kernel_row *row = &state->rows.items[i];
        if (i != selected && point_cell(row, scale, plot, &line, &column))
            area_put(plot, line, column, row->phase < 0 ? STYLE_NORMAL : (enum style)(STYLE_PHASE + row->phase),
                     0x25cf);
    }
    if (selected != SIZE_MAX && point_cell(&state->rows.items[selected], scale, plot, &line, &column)) {
        area_put(plot, line, column, STYLE_CURSOR, 0x25c6);
        draw_counted(state, scale, plot, &state->rows.items[selected]);
        put_label(plot, line, column, STYLE_BOLD, state->rows.items[selected].sum.name, true);
    }
    for (size_t i = 0; i < state->table.items.count && labels < LABELS; i++) {
        const size_t index = state->table.items.items[i].index;
        if (index != selected && point_cell(&state->rows.items[index], scale, plot, &line, &column))
            labels += put_label(plot, line, column, STYLE_DIM, state->rows.items[index].sum.name, false);
    }
}

static void draw_picture(const struct app *app, const struct roofline *state, const struct area *area)
{
    const struct report_ceilings *ceilings = &state->cell->ceilings;
    char peak[FORMAT_SIZE], bandwidth[FORMAT_SIZE];
    struct scale scale;
    int used = 0;
    if (is_known(ceilings->flops_per_s) && is_known(ceilings->bytes_per_s))
        used =
            area_printf(area, 0, 0, STYLE_NORMAL, "ceilings, measured: gemm %sFLOP/s, copy %sB/s, ridge at %.1f FLOP/B",
                        format_rate(peak, ceilings->flops_per_s), format_rate(bandwidth, ceilings->bytes_per_s),
                        ceilings->flops_per_s / ceilings->bytes_per_s);
    else
        area_text_fit(area, 0, 0, area->width, STYLE_DIM, "no ceiling was measured in this run: points only");
    const char *when = note_text(state->cell, NOTE_CEILINGS);
    if (used && when && text_columns(when, area->canvas->ascii) <= area->width - used - 2)
        area_text(area, 0, used + 2, -1, STYLE_DIM, when);
    if (!choose_scale(state, &scale)) {
        area_text_fit(area, 2, 0, area->width, STYLE_DIM, "no kernel with modelled FLOPs and bytes yet");
        return;
    }
    const struct area plot = area_part(area, 1, 8, area->height - 3, area->width - 9);
    draw_roof(state, &scale, &plot, app->config.braille && !area->canvas->ascii);
    draw_axes(&scale, area, &plot);
    draw_points(state, &scale, &plot);
    area_text_right(area, area->height - 1, area->width - 7, 6, STYLE_AXIS, "FLOP/B");
}

static void make_rows(struct app *app, struct roofline *state)
{
    const int pass = app_pass(app, state->cell);
    if (state->cell && counted_work(state->cell) && !state->layers)
        state->table.shown |= COUNTED;
    else
        state->table.shown &= ~COUNTED;
    state->rows.count = state->ids.count = 0;
    if (!state->cell || pass == NO_PASS)
        return;
    const struct kernel_query query = {.pass = pass,
                                       .scope = NO_SCOPE,
                                       .part = app->focus.part,
                                       .grouping = state->layers ? GROUP_LAYER : GROUP_KERNEL};
    kernel_rows_make(state->cell, NULL, &query, &state->rows);
    for (size_t i = 0; i < state->rows.count; i++)
        vec_push(&state->ids, state->rows.items[i].id);
}

static void roofline_update(struct app *app, void *opaque)
{
    struct roofline *state = opaque;
    state->cell = app_cell(app);
    make_rows(app, state);
    table_update(&state->table, state, state->ids.items, state->ids.count, app->now);
}

/* What the list needs for whole names and all its columns. */
static int list_columns(const struct roofline *state)
{
    int name = NAME_LEAST, sum = 0;
    for (size_t i = 0; i < state->rows.count; i++) {
        struct cell_text cell = {0};
        name_text(state, i, &cell);
        const int own = text_columns(cell.text, false);
        name = own > name ? own : name;
    }
    for (int i = 0; i < COLUMNS_COUNT; i++)
        sum += state->table.shown & 1u << i ? (i == NAME ? name : columns[i].width) + 1 : 0;
    return sum - 1;
}

static void roofline_draw(struct app *app, void *opaque, const struct area *area)
{
    struct roofline *state = opaque;
    if (!state->cell || !state->cell->kernel_count) {
        area_text_fit(area, 1, 1, area->width - 2, STYLE_DIM, cell_has_none(app, state->cell, "points"));
        return;
    }
    if (!plot_fits(area))
        return;
    /* The list stands beside the picture where there is room, else below it. */
    const bool beside = area->width >= 110;
    const int list_width = !beside                                 ? area->width
                           : list_columns(state) < area->width / 2 ? list_columns(state)
                                                                   : area->width / 2;
    const int list_height = beside ? area->height : area->height >= 14 ? area->height / 3 : 0;
    const struct area picture = area_part(area, 0, 0, beside ? area->height : area->height - list_height,
                                          beside ? area->width - list_width - 1 : area->width);
    const struct area list =
        area_part(area, beside ? 0 : area->height - list_height, area->width - list_width, list_height, list_width);
    draw_picture(app, state, &picture);
    if (list_height > 1)
        table_draw(&state->table, state, &list, "no kernel yet");
}

static void roofline_status(const struct app *app, const void *opaque, char *text, size_t size)
{
    const struct roofline *state = opaque;
    const int pass = app_pass(app, state->cell);
    size_t index;
    char rate[FORMAT_SIZE], work[FORMAT_SIZE];
    size_t used = (size_t)snprintf(text, size, "%s, by %s", pass == NO_PASS ? "" : pass_name((enum pass)pass),
                                   state->layers ? "layer" : "kernel");
    if (used < size)
        table_asked(&state->table, text, size);
    used = strlen(text);
    if (!table_selected(&state->table, &index) || used >= size)
        return;
    used += (size_t)snprintf(text + used, size - used, ": %.40s %sFLOP/s", state->rows.items[index].sum.name,
                             format_rate(rate, flops_value(state, index)));
    const double counted = counted_intensity_value(state, index);
    if (is_known(counted) && used < size)
        snprintf(text + used, size - used, ", counted %s FLOP/B at %sFLOP/s", format_intensity(work, counted),
                 format_rate(rate, counted_rate_value(state, index)));
}

static bool roofline_command(struct app *app, void *opaque, enum command command)
{
    struct roofline *state = opaque;
    size_t index;
    if (command == COMMAND_GROUP) {
        state->layers = !state->layers;
        app_keep_choice(app, VIEW_ROOFLINE, state->layers);
        return true;
    }
    if (command != COMMAND_OPEN)
        return false;
    if (!state->cell || !table_selected(&state->table, &index))
        return true;
    const struct kernel_row *row = &state->rows.items[index];
    if (state->layers) {
        app->focus.scope = NO_SCOPE; /* the points are of the whole run */
        app_open_group(app, state->cell, app_pass(app, state->cell), GROUP_LAYER, row->group);
        return true;
    }
    struct focus focus = app->focus;
    focus.run = state->cell->run_id;
    focus.pass = app_pass(app, state->cell);
    focus.kernel = row->id;
    app->follow = false;
    app_open(app, VIEW_HISTOGRAM, &focus);
    return true;
}

static uint64_t roofline_kernel(const void *opaque)
{
    const struct roofline *state = opaque;
    size_t index;
    return !state->layers && state->cell && table_selected(&state->table, &index) ? state->rows.items[index].id : 0;
}

static struct table *roofline_table(void *opaque)
{
    return &((struct roofline *)opaque)->table;
}

const struct view_ops roofline_view = {
    .name = "Roofline",
    .state_size = sizeof(struct roofline),
    .init = roofline_init,
    .release = roofline_release,
    .update = roofline_update,
    .draw = roofline_draw,
    .status = roofline_status,
    .command = roofline_command,
    .table = roofline_table,
    .kernel = roofline_kernel,
};
