/* Histogram: how long the launches of one kernel took, in logarithmic bins. A mean hides what this shows. */
#include "base/unknown.h"
#include "report/counted.h"
#include "tui/app.h"
#include "tui/format.h"
#include "tui/modes.h"
#include "tui/plot.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_SCALE 8 /* a few launches do not fill the picture */

enum split { SPLIT_NONE, SPLIT_PHASE, SPLIT_LAYER, SPLIT_COUNT };
static const char *const split_names[SPLIT_COUNT] = {"all launches", "by phase", "by layer"};

struct histogram_state {
    enum split split;
    bool warmup;
    int zoom;
    int cursor;             /* bin */
    uint64_t cursor_kernel; /* that the cursor was set for */
    int top;                /* first row of a split */
    int group_rows, group_page;
    int first, last, per_column, column_width; /* of the bins as drawn */
    int plot_x, plot_width;
    bool untold_groups; /* two of them, and no room to say so beside the picture */
};

static const char *over(char text[FORMAT_SIZE], double counted, double modelled)
{
    if (!is_known(counted) || !(modelled > 0))
        return "n/a";
    snprintf(text, FORMAT_SIZE, "%.2f", counted / modelled);
    return text;
}

/* Counted work beside what the plan says of it. */
static void work_text(const struct report_cell *cell, const struct report_kernel *kernel, char *text, size_t size)
{
    char dram[FORMAT_SIZE], flop[FORMAT_SIZE], warps[FORMAT_SIZE], of_bytes[FORMAT_SIZE], of_flops[FORMAT_SIZE];
    const double bytes = counted_mean(cell, kernel, "dram_bytes"), flops = counted_mean(cell, kernel, "flops");
    snprintf(text, size, "DRAM %s (%s × model), FLOP %s (%s ×), occupancy %s%%", format_bytes(dram, bytes),
             over(of_bytes, bytes, modelled_mean(kernel, false)), format_count(flop, flops),
             over(of_flops, flops, modelled_mean(kernel, true)),
             format_percent(warps, counted_occupancy(cell, kernel)));
}

/* One line of a kernel's counters: how many launches were counted, and the mean of those. */
static void counters_text(const struct report_cell *cell, const struct report_kernel *kernel, char *text, size_t size)
{
    char count[FORMAT_SIZE], value[FORMAT_SIZE];
    size_t used = (size_t)snprintf(text, size, "%s counted: ", format_count(count, (double)kernel->counters->samples));
    if (counted_work(cell)) {
        work_text(cell, kernel, text + used, size - used);
        return;
    }
    for (int c = 0, shown = 0; c < REPORT_COUNTERS && used < size; c++) {
        const char *name = cell->counter_names[c];
        if (!name || !*name)
            continue;
        char words[48];
        snprintf(words, sizeof words, "%s", name);
        for (char *at = words; *at; at++)
            *at = *at == '_' ? ' ' : *at;
        const double mean = counted_mean(cell, kernel, name);
        const size_t length = strlen(words);
        const bool time = length > 3 && strcmp(words + length - 3, " ns") == 0;
        if (time)
            words[length - 3] = 0;
        used += (size_t)snprintf(text + used, size - used, "%s%s %s%s", shown++ ? ", " : "", words,
                                 counted_mostly_own(cell, kernel, name) ? "< " : "",
                                 time ? format_duration(value, mean) : format_count(value, mean));
    }
    const double ipc = counted_ipc(cell, kernel);
    if (is_known(ipc) && used < size)
        snprintf(text + used, size - used, " (%.2f instructions a cycle)", ipc);
}

/* The line is left out where the picture needs the room. */
static bool has_counters_line(const struct report_kernel *kernel, const struct area *area)
{
    return kernel->counters && kernel->counters->samples && area->height >= 14;
}

/* n, least, percentiles, greatest and spread, whole; where it is narrow the last of `leaving` are there, and none is cut. */
static void figures_line(const struct report_kernel *kernel, const struct area *area, int y)
{
    enum { N, MIN, P50, P95, P99, MAX, CV, FIGURES };
    static const uint8_t leaving[] = {MIN, MAX, P99, CV, P95, N};
    char values[FIGURES][FORMAT_SIZE], texts[FIGURES][FORMAT_SIZE + 8];
    static const char *const names[FIGURES] = {"n", "min", "p50", "p95", "p99", "max", "CV"};
    format_count(values[N], (double)kernel->calls);
    format_duration(values[MIN], known_ns(kernel->min_ns));
    format_duration(values[P50], kernel->median_ns);
    format_duration(values[P95], kernel->p95_ns);
    format_duration(values[P99], kernel->p99_ns);
    format_duration(values[MAX], known_ns(kernel->max_ns));
    format_percent(values[CV], kernel->cv);
    int columns = 0, x = 0;
    for (int i = 0; i < FIGURES; i++) {
        snprintf(texts[i], sizeof texts[i], "%s%s %s%s", i ? "  " : "", names[i], values[i], i == CV ? "%" : "");
        columns += text_columns(texts[i], area->canvas->ascii);
    }
    for (size_t i = 0; i < sizeof leaving && columns > area->width; i++) {
        columns -= text_columns(texts[leaving[i]], area->canvas->ascii);
        texts[leaving[i]][0] = 0;
    }
    for (int i = 0; i < FIGURES; i++)
        x += area_text(area, y, x, -1, STYLE_NORMAL, texts[i] + (x ? 0 : strspn(texts[i], " ")));
}

static void info_lines(const struct report_cell *cell, const struct report_kernel *kernel, const struct area *area)
{
    const int x = area_text_fit(area, 0, 0, area->width, STYLE_BOLD, kernel->name);
    const bool named = kernel->op && strcmp(kernel->op, kernel->name) != 0;
    area_printf(area, 0, x + 2, STYLE_DIM, "%s  %s  %s", phase_name((enum phase)kernel->phase),
                kernel_class_name(kernel->kernel_class), named ? kernel->op : "");
    figures_line(kernel, area, 1);
    if (has_counters_line(kernel, area)) {
        char text[512];
        counters_text(cell, kernel, text, sizeof text);
        area_text_fit(area, 2, 0, area->width, STYLE_NORMAL, text);
    }
}

/* The bins to draw: from the first to the last that was hit, zoomed in around the cursor. */
static bool choose_range(struct histogram_state *state, const uint64_t *bins)
{
    int first = 0, last = BINS - 1, most = 0;
    while (first < BINS && !bins[first])
        first++;
    if (first == BINS)
        return false;
    while (!bins[last])
        last--;
    for (int i = first; i <= last; i++)
        if (bins[i] > bins[most])
            most = i;
    if (state->cursor < first || state->cursor > last)
        state->cursor = most;
    /* A margin, and never fewer bins than a third of an octave. */
    first -= 2;
    last += 2;
    while (last - first < 12) {
        first--;
        last++;
    }
    int span = last - first + 1, zoom = 0;
    for (; zoom < state->zoom && span > 12; zoom++)
        span = span / 2 > 12 ? span / 2 : 12;
    state->zoom = zoom; /* no further than there is something to see of it */
    int from = state->cursor - span / 2;
    if (from < first)
        from = first;
    if (from + span - 1 > last)
        from = last - span + 1;
    state->first = from < 0 ? 0 : from;
    state->last = from + span - 1 < BINS ? from + span - 1 : BINS - 1;
    return true;
}

static void fit_columns(struct histogram_state *state, int width)
{
    const int span = state->last - state->first + 1;
    state->per_column = span > width ? (span + width - 1) / width : 1;
    state->column_width = span > width ? 1 : width / span;
    state->plot_width = (span + state->per_column - 1) / state->per_column * state->column_width;
}

static int column_of(const struct histogram_state *state, int bin)
{
    return (bin - state->first) / state->per_column * state->column_width;
}

/* The column of a duration; −1 outside what is drawn. */
static int column_at(const struct histogram_state *state, double ns)
{
    for (int bin = state->first; bin <= state->last; bin++)
        if (ns >= bin_edge(bin) && ns < bin_edge(bin + 1))
            return column_of(state, bin) + state->column_width / 2;
    return -1;
}

static void draw_axis(const struct histogram_state *state, const struct area *area, int y)
{
    char text[FORMAT_SIZE];
    area_fill(area, y, 0, 1, state->plot_width, STYLE_AXIS, 0x2500);
    int free_from = 0;
    for (int x = 0; x < state->plot_width; x += 16) {
        const int bin = state->first + x / state->column_width * state->per_column;
        format_duration(text, bin_edge(bin));
        area_put(area, y, x, STYLE_AXIS, 0x253c);
        if (x >= free_from && x + text_columns(text, area->canvas->ascii) <= area->width)
            free_from = x + area_text(area, y + 1, x, -1, STYLE_AXIS, text) + 1;
    }
}

static void draw_marks(const struct histogram_state *state, const struct report_kernel *kernel, const struct area *area,
                       int y)
{
    const struct {
        const char *name;
        double ns;
    } marks[] = {{"p50", kernel->median_ns}, {"p95", kernel->p95_ns}, {"p99", kernel->p99_ns}};
    int free_from = 0;
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        const int x = is_known(marks[i].ns) ? column_at(state, marks[i].ns) : -1;
        if (x < 0)
            continue;
        /* One that lies where another's name stands is named after it. */
        if (x >= free_from)
            area_put(area, y, x, STYLE_WARN, 0x25b2);
        const int name = x + 1 > free_from ? x + 1 : free_from;
        free_from = name + area_text(area, y, name, -1, STYLE_WARN, marks[i].name) + 1;
    }
}

static void draw_bars(const struct histogram_state *state, const uint64_t *bins, const uint64_t *warmup,
                      const struct area *area, uint64_t *most)
{
    double heights[1024];
    uint8_t styles[1024];
    const int width = state->plot_width < 1024 ? state->plot_width : 1024;
    *most = LEAST_SCALE;
    for (int x = 0; x < width; x += state->column_width) {
        uint64_t sum = 0, warm = 0;
        for (int i = 0; i < state->per_column; i++) {
            const int bin = state->first + x / state->column_width * state->per_column + i;
            if (bin > state->last)
                break;
            sum += bins[bin];
            warm += warmup[bin];
        }
        for (int i = 0; i < state->column_width && x + i < width; i++) {
            heights[x + i] = (double)sum;
            styles[x + i] = (uint8_t)(warm * 2 > sum ? STYLE_WARN : STYLE_BAR);
        }
        if (sum > *most)
            *most = sum;
    }
    for (int x = 0; x < width; x++) {
        // NOLINTNEXTLINE(clang-analyzer-core.uninitialized.Assign): the loop above filled all
        heights[x] /= (double)*most;
    }
    plot_bars(area, heights, width, STYLE_BAR, styles);
}

/* What is drawn: a kernel's launches, and beside them the baseline's. */
struct picture {
    const struct report_cell *cell;
    int32_t index;
    const uint64_t *bins, *warmup, *base_bins;
    uint64_t total, base_total;
    uint32_t base_run; /* NO_RUN: nothing is compared */
    const struct report_kernel *base;
};

static double percent_of(uint64_t part, uint64_t total)
{
    return total ? (double)part * 100 / (double)total : 0.0;
}

static int draw_cursor_line(const struct histogram_state *state, const struct picture *picture, const struct area *area,
                            int y)
{
    char low[FORMAT_SIZE], high[FORMAT_SIZE];
    const uint64_t own = picture->bins[state->cursor], base = picture->base_bins[state->cursor];
    int x =
        area_printf(area, y, 0, STYLE_NORMAL, "cursor %s to %s: %llu launch%s, %.1f %%",
                    format_duration(low, bin_edge(state->cursor)), format_duration(high, bin_edge(state->cursor + 1)),
                    (unsigned long long)own, own == 1 ? "" : "es", percent_of(own, picture->total));
    if (picture->base)
        x += area_printf(area, y, x, STYLE_DIM, "; baseline %llu, %.1f %%", (unsigned long long)base,
                         percent_of(base, picture->base_total));
    return x;
}

/* Says what two groups of launches are: after the cursor's line, of which `used` columns are taken, else in a line of its own.
 * Returns how many lines it took. */
static int draw_hint(struct histogram_state *state, const struct report_cell *cell, int32_t index, const uint64_t *bins,
                     int used, const struct area *area)
{
    char hint[320];
    double valley;
    if (!modes_find(bins, &valley))
        return 0;
    modes_explain(cell, index, valley, hint, sizeof hint);
    const int x = used + 3;
    if (x + text_columns(hint, area->canvas->ascii) <= area->width) {
        area_text(area, 2, x, -1, STYLE_WARN, hint);
        return 0;
    }
    state->untold_groups = area->height < 10;
    if (state->untold_groups)
        return 0;
    /* In two lines where one is too short and the picture can spare them. */
    const char *rest = hint + strlen(hint);
    if (area->height >= 14 && text_columns(hint, area->canvas->ascii) > area->width)
        for (char *at = hint; *at; at++)
            if (*at == ' ') {
                *at = 0;
                rest = text_columns(hint, area->canvas->ascii) <= area->width ? at + 1 : rest;
                *at = ' ';
            }
    const int lines = 1 + (*rest != 0);
    if (lines > 1)
        hint[rest - 1 - hint] = 0;
    area_text_fit(area, 3, 0, area->width, STYLE_WARN, hint);
    if (lines > 1)
        area_text_fit(area, 4, 0, area->width, STYLE_WARN, rest);
    return lines;
}

/* The baseline's launches of the kernel, or that it has none: a line below the kernel's own figures. */
static void draw_base_line(const struct picture *picture, const struct area *area, int y)
{
    char a[FORMAT_SIZE], b[FORMAT_SIZE], c[FORMAT_SIZE], count[FORMAT_SIZE];
    const struct report_kernel *base = picture->base, *own = &picture->cell->kernels[picture->index];
    if (!base) {
        area_printf(area, y, 0, STYLE_WARN, "run %u, the baseline, has no kernel of this name, phase and pass",
                    picture->base_run);
        return;
    }
    const int x = area_printf(area, y, 0, STYLE_DIM, "run %u, baseline: n %s  p50 %s  p95 %s", picture->base_run,
                              format_count(count, (double)base->calls), format_duration(a, base->median_ns),
                              format_duration(b, base->p95_ns));
    area_printf(area, y, x, STYLE_BOLD, "  p50 is %s of it", format_ratio(c, own->median_ns / base->median_ns));
}

/* Bars with the largest count beside them, for the marks below the least. */
static void draw_plot(const struct histogram_state *state, const uint64_t *bins, const uint64_t *warmup,
                      const struct area *area, int y, const struct area *plot)
{
    uint64_t most;
    draw_bars(state, bins, warmup, plot, &most);
    area_printf(area, y, 0, STYLE_AXIS, "%8llu", (unsigned long long)most);
    if (plot->height > 1)
        area_printf(area, y + plot->height - 1, 0, STYLE_AXIS, "%8d", 0);
}

#define LEAST_HALVES 7 /* lines for two pictures and what is said of the second */

static void draw_all(struct histogram_state *state, const struct picture *picture, const struct area *area)
{
    static const uint64_t no_warmup[BINS] = {0};
    const struct report_kernel *kernel = &picture->cell->kernels[picture->index];
    const int used = draw_cursor_line(state, picture, area, 2);
    int top = 3 + draw_hint(state, picture->cell, picture->index, picture->bins, used, area);
    const bool compared = picture->base_run != NO_RUN;
    struct area plot = area_part(area, top, 9, area->height - top - 3, area->width - 9);
    fit_columns(state, plot.width);
    state->plot_x = plot.x;
    /* This run above, the baseline below on the same axis; where it is low, the baseline's line alone. */
    const bool halves = picture->base && plot.height >= LEAST_HALVES;
    if (compared && !halves && plot.height >= 2) {
        draw_base_line(picture, area, top++);
        plot = area_part(area, top, 9, area->height - top - 3, area->width - 9);
    }
    const int lower = halves ? (plot.height - 1) / 2 : 0;
    const struct area upper = area_part(&plot, 0, 0, halves ? plot.height - 1 - lower : plot.height, plot.width);
    draw_plot(state, picture->bins, picture->warmup, area, top, &upper);
    if (halves) {
        const int y = top + upper.height;
        const struct area base = area_part(area, y + 1, 9, lower, area->width - 9);
        draw_base_line(picture, area, y);
        draw_plot(state, picture->base_bins, no_warmup, area, y + 1, &base);
    }
    const struct area below = area_part(area, top + plot.height, 9, 3, area->width - 9);
    draw_axis(state, &below, 0);
    /* The bin under the cursor: a mark above it and one below, so that its bar stays what it is. */
    const int cursor = column_of(state, state->cursor) + state->column_width / 2;
    if (state->cursor >= state->first && state->cursor <= state->last) {
        area_put(&plot, 0, cursor, STYLE_CURSOR, 0x25bc);
        area_put(&below, 0, cursor, STYLE_CURSOR, 0x25b2);
    }
    draw_marks(state, kernel, &below, 2);
}

/* One line of a split: the launches of a group on the axis that all groups share. */
struct group {
    const char *label;
    double median;
    uint64_t n;
    const struct histogram *live;
    const struct report_bins *bins;
};

static void draw_group(const struct histogram_state *state, const struct group *group, const struct area *area, int y)
{
    char median[FORMAT_SIZE], count[FORMAT_SIZE];
    uint64_t bins[BINS];
    struct histogram histogram = {0};
    area_text_fit(area, y, 0, 26, STYLE_NORMAL, group->label);
    area_text_right(area, y, 27, 9, STYLE_NORMAL, format_duration(median, group->median));
    area_text_right(area, y, 37, 7, STYLE_DIM, format_count(count, (double)group->n));
    const struct area line = area_part(area, y, 46, 1, area->width - 46);
    if (group->live)
        histogram_merge(&histogram, group->live);
    else if (group->bins)
        report_bins_expand(group->bins, &histogram);
    if (histogram.count == 0) {
        const int x = column_at(state, group->median);
        if (x >= 0)
            area_put(&line, 0, x, STYLE_BAR, 0x25cf);
        return;
    }
    bins_of(&histogram, bins);
    uint64_t most;
    struct histogram_state plain = *state;
    const uint64_t none[BINS] = {0};
    plain.cursor = -1;
    draw_bars(&plain, bins, none, &line, &most);
    histogram_release(&histogram);
}

static int list_groups(const struct app *app, const struct histogram_state *state, const struct report_cell *cell,
                       int32_t index, struct group *groups, int max)
{
    const struct report_kernel *kernel = &cell->kernels[index];
    int count = 0;
    if (state->split == SPLIT_PHASE) {
        for (size_t i = 0; i < cell->kernel_count && count < max; i++)
            if (cell->kernels[i].pass == kernel->pass && strcmp(cell->kernels[i].name, kernel->name) == 0)
                groups[count++] =
                    (struct group){phase_name((enum phase)cell->kernels[i].phase), cell->kernels[i].median_ns,
                                   cell->kernels[i].calls, NULL, &cell->kernels[i].histogram};
        return count;
    }
    for (size_t i = 0; i < cell->entry_count && count < max; i++) {
        const struct report_entry *entry = &cell->entries[i];
        if ((int32_t)entry->kernel != index)
            continue;
        const char *path = entry->scope >= 0 && (size_t)entry->scope < cell->layer_count
                               ? cell->layers[entry->scope].path
                               : "(unattributed)";
        /* A report keeps medians of the layers, not their histograms. */
        const struct entry *live = live_entry(&app->live, cell, i);
        groups[count++] = (struct group){path, entry->median_ns, entry->calls, live ? &live->histogram : NULL, NULL};
    }
    return count;
}

static void draw_split(struct app *app, struct histogram_state *state, const struct report_cell *cell, int32_t index,
                       const struct area *area)
{
    static const int most_groups = 1024;
    struct group *groups = calloc((size_t)most_groups, sizeof *groups);
    if (!groups)
        return;
    const int count = list_groups(app, state, cell, index, groups, most_groups);
    fit_columns(state, area->width - 46);
    area_fill(area, 2, 0, 1, area->width, STYLE_HEAD, L' ');
    area_text(area, 2, 0, -1, STYLE_HEAD, state->split == SPLIT_PHASE ? "phase" : "layer");
    area_text_right(area, 2, 27, 9, STYLE_HEAD, "median");
    area_text_right(area, 2, 37, 7, STYLE_HEAD, "calls");
    const int page = area->height - 5;
    state->group_rows = count;
    state->group_page = page;
    if (state->top > count - page)
        state->top = count - page;
    if (state->top < 0)
        state->top = 0;
    for (int row = 0; row < page && state->top + row < count; row++)
        draw_group(state, &groups[state->top + row], area, 3 + row);
    const struct area below = area_part(area, area->height - 2, 46, 2, area->width - 46);
    draw_axis(state, &below, 0);
    free(groups);
}

/* The parts of a split hold no warm-up. */
static bool has_warmup(const struct histogram_state *state)
{
    return state->warmup && state->split == SPLIT_NONE;
}

/* The same kernel's launches in the baseline. */
static void add_baseline(const struct app *app, struct picture *picture, uint64_t id, uint64_t *bins)
{
    const struct report_cell *base = app_find_cell(app, app->baseline);
    struct histogram all = {0};
    if (!base || base == picture->cell)
        return;
    const int32_t index = kernel_find(base, id);
    picture->base_run = base->run_id;
    if (index < 0)
        return;
    picture->base = &base->kernels[index];
    report_bins_expand(&picture->base->histogram, &all);
    bins_of(&all, bins);
    picture->base_total = all.count;
    histogram_release(&all);
}

static void histogram_view_draw(struct app *app, void *opaque, const struct area *area)
{
    struct histogram_state *state = opaque;
    const struct report_cell *cell = app_cell(app);
    const int pass = app_pass(app, cell);
    int32_t index = cell && app->focus.kernel ? kernel_find(cell, app->focus.kernel) : -1;
    if (index < 0 && cell && pass != NO_PASS)
        index = kernel_largest(cell, pass);
    state->group_rows = 0;
    state->untold_groups = false;
    if (!plot_fits(area))
        return;
    if (index < 0) {
        area_text_fit(area, 1, 1, area->width - 2, STYLE_DIM, cell_has_none(app, cell, "kernels"));
        return;
    }
    const struct report_kernel *kernel = &cell->kernels[index];
    const uint64_t id = kernel_id(kernel->name, kernel->phase, kernel->pass);
    if (state->cursor_kernel != id) {
        state->cursor_kernel = id;
        state->cursor = -1;
        state->zoom = state->top = 0;
    }
    struct histogram all = {0};
    uint64_t *bins = calloc(4 * BINS, sizeof *bins);
    if (!bins)
        return;
    struct picture picture = {.cell = cell,
                              .index = index,
                              .bins = bins,
                              .warmup = bins + BINS,
                              .base_bins = bins + 2 * BINS,
                              .base_run = NO_RUN};
    report_bins_expand(&kernel->histogram, &all);
    if (has_warmup(state) && !cell->passes[kernel->pass].warmup_rows) { /* else it is what there is anyhow */
        struct histogram warmup = {0};
        report_bins_expand(&kernel->warmup_histogram, &warmup);
        bins_of(&warmup, bins + BINS);
        histogram_release(&warmup);
        report_bins_expand(&kernel->warmup_histogram, &all);
    }
    bins_of(&all, bins);
    picture.total = all.count;
    if (app->focus.compare && state->split == SPLIT_NONE)
        add_baseline(app, &picture, id, bins + 2 * BINS);
    /* The axis is that of both. */
    for (int i = 0; i < BINS; i++)
        bins[3 * BINS + i] = bins[i] + picture.base_bins[i];
    info_lines(cell, kernel, area);
    const struct area rest =
        has_counters_line(kernel, area) ? area_part(area, 1, 0, area->height - 1, area->width) : *area;
    if (!choose_range(state, bins + 3 * BINS))
        area_text_fit(&rest, 3, 1, area->width - 2, STYLE_DIM,
                      "no launch of it was timed; u shows those of the warm-up");
    else if (state->split == SPLIT_NONE)
        draw_all(state, &picture, &rest);
    else
        draw_split(app, state, cell, index, &rest);
    histogram_release(&all);
    free(bins);
}

static void histogram_status(const struct app *app, const void *opaque, char *text, size_t size)
{
    const struct histogram_state *state = opaque;
    const struct report_cell *cell = app_cell(app);
    const int pass = app_pass(app, cell);
    const bool alone = pass != NO_PASS && cell->passes[pass].warmup_rows;
    snprintf(text, size, "%s%s, warm-up %s%s", state->untold_groups ? "two groups; " : "", split_names[state->split],
             alone               ? "alone"
             : has_warmup(state) ? "included"
                                 : "left out",
             state->zoom ? ", zoomed" : "");
}

static void move_cursor(struct histogram_state *state, int step)
{
    state->cursor += step * state->per_column;
    if (state->cursor < state->first)
        state->cursor = state->first;
    if (state->cursor > state->last)
        state->cursor = state->last;
}

/* Enter: the layers that the kernel serves. */
static void open_layers(struct app *app)
{
    const struct report_cell *cell = app_cell(app);
    const int pass = app_pass(app, cell);
    if (!cell || pass == NO_PASS)
        return;
    struct focus focus = app->focus;
    focus.run = cell->run_id;
    focus.pass = pass;
    const int32_t index = focus.kernel ? kernel_find(cell, focus.kernel) : kernel_largest(cell, pass);
    if (index < 0)
        return;
    focus.scope = NO_SCOPE;
    focus.part = (struct kernel_part){0};
    app->follow = false;
    app_open(app, VIEW_LAYERS, &focus);
    layers_show_kernel(app, cell, index);
    app_message(app, STYLE_NORMAL, "n and N go through the layers that it serves");
}

static bool histogram_command(struct app *app, void *opaque, enum command command)
{
    struct histogram_state *state = opaque;
    const int rows = state->group_rows > 0;
    switch (command) {
    case COMMAND_LEFT:
        move_cursor(state, -1);
        return true;
    case COMMAND_RIGHT:
        move_cursor(state, 1);
        return true;
    case COMMAND_UP:
        state->top -= rows;
        return true;
    case COMMAND_DOWN:
        state->top += rows;
        return true;
    case COMMAND_PAGE_UP:
    case COMMAND_HALF_UP:
        state->top -= rows * state->group_page;
        return true;
    case COMMAND_PAGE_DOWN:
    case COMMAND_HALF_DOWN:
        state->top += rows * state->group_page;
        return true;
    case COMMAND_FIRST:
        state->cursor = state->first;
        state->top = 0;
        return true;
    case COMMAND_LAST:
        state->cursor = state->last;
        state->top = state->group_rows;
        return true;
    case COMMAND_ZOOM_IN:
        state->zoom++;
        return true;
    case COMMAND_ZOOM_OUT:
        state->zoom -= state->zoom > 0;
        return true;
    case COMMAND_WARMUP:
        if (state->split != SPLIT_NONE)
            app_message(app, STYLE_WARN, "the parts of a split hold no warm-up; v goes on to all launches");
        else
            state->warmup = !state->warmup;
        return true;
    case COMMAND_SPLIT:
        state->split = (enum split)((state->split + 1) % SPLIT_COUNT);
        app_keep_choice(app, VIEW_HISTOGRAM, (int)state->split);
        state->top = 0;
        return true;
    case COMMAND_OPEN:
        open_layers(app);
        return true;
    default:
        return false;
    }
}

static bool histogram_click(struct app *app, void *opaque, int y, int x)
{
    struct histogram_state *state = opaque;
    (void)app;
    (void)y;
    if (state->split != SPLIT_NONE || state->column_width == 0 || x < state->plot_x ||
        x >= state->plot_x + state->plot_width)
        return false;
    state->cursor = state->first + (x - state->plot_x) / state->column_width * state->per_column;
    return true;
}

static void histogram_init(struct app *app, void *opaque)
{
    struct histogram_state *state = opaque;
    state->split = (enum split)app_kept_choice(app, VIEW_HISTOGRAM, SPLIT_COUNT);
    state->cursor = -1;
    state->per_column = 1;
    state->column_width = 1;
}

const struct view_ops histogram_view = {
    .name = "Histogram",
    .state_size = sizeof(struct histogram_state),
    .init = histogram_init,
    .draw = histogram_view_draw,
    .status = histogram_status,
    .command = histogram_command,
    .click = histogram_click,
};
