/* Pictures of a whole report: its cells on one scale, and lines over what was swept. */
#include "base/limits.h"
#include "report/axis.h"
#include "report/svg.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LABEL 260.0 /* left of the bars */
#define VALUE 90.0  /* right of them */
#define BAR 18.0
#define ROW 24.0
#define MOST_CELLS 24
#define LEFT 70.0    /* of a plot, for its scale */
#define BETWEEN 60.0 /* the two plots */
#define TOP 16.0     /* of a plot, for what it shows */
#define HEIGHT 216.0
#define MOST_LINES 8
#define MOST_POINTS 32

double round_step(double most, int marks)
{
    if (!(most > 0) || marks < 1)
        return 1;
    const double rough = most / marks, power = pow(10, floor(log10(rough)));
    const double first = rough / power;
    return power * (first <= 1 + 1e-9 ? 1 : first <= 2 + 1e-9 ? 2 : first <= 5 + 1e-9 ? 5 : 10);
}

double byte_unit(double most, const char **name)
{
    static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    int unit = 0;
    double size = 1;
    while (unit < 4 && most >= size * 1024)
        size *= 1024, unit++;
    *name = names[unit];
    return size;
}

double time_unit(double most_ns, const char **name)
{
    static const char *const names[] = {"ns", "µs", "ms", "s"};
    int unit = 0;
    double size = 1;
    while (unit < 3 && most_ns >= size * 1000)
        size *= 1000, unit++;
    *name = names[unit];
    return size;
}

/* The most complete pass that every cell with timed steps has; -1. */
static int common_pass(const struct report *report)
{
    for (int pass = PASS_COUNT - 1; pass >= 0; pass--) {
        size_t with = 0, timed = 0;
        for (size_t i = 0; i < report->cells.count; i++) {
            bool any = false;
            for (int p = 0; p < PASS_COUNT; p++)
                any |= report->cells.items[i]->passes[p].phases[PHASE_COUNT].summary.n > 0;
            timed += any;
            with += report->cells.items[i]->passes[pass].phases[PHASE_COUNT].summary.n > 0;
        }
        if (with && with == timed)
            return pass;
    }
    return -1;
}

static double step_ns(const struct report_cell *cell, int pass, int phase)
{
    const struct summary *summary = &cell->passes[pass].phases[phase].summary;
    return summary->n ? is_known(summary->median) ? summary->median : summary->mean : UNKNOWN_DOUBLE;
}

bool draw_cells(struct canvas *canvas, const struct report *report)
{
    const int pass = common_pass(report);
    double most = 0, y = 0, legend = LABEL;
    size_t shown = 0;
    bool used[PHASE_COUNT] = {false};
    const char *unit;
    if (pass < 0)
        return false;
    for (size_t i = 0; i < report->cells.count; i++) {
        const double step = step_ns(report->cells.items[i], pass, PHASE_COUNT);
        if (is_known(step) && shown++ < MOST_CELLS)
            most = fmax(most, step);
    }
    if (shown < 2 || most <= 0)
        return false;
    const double size = time_unit(most, &unit), scale = (canvas->width - LABEL - VALUE) / most,
                 height = (double)(shown < MOST_CELLS ? shown : MOST_CELLS) * ROW, mark = round_step(most / size, 5);
    char text[400], title[256];
    for (int tick = 0; tick * mark <= most / size * (1 + 1e-9); tick++) {
        const double x = LABEL + tick * mark * size * scale;
        canvas_line(canvas, x, 0, x, height, svg_faint, false);
        snprintf(text, sizeof text, "%g %s", tick * mark, unit);
        canvas_text(canvas, x, height + 12, "middle", false, text);
    }
    size_t left = shown;
    shown = 0;
    for (size_t i = 0; i < report->cells.count && shown < MOST_CELLS; i++) {
        const struct report_cell *cell = report->cells.items[i];
        const double step = step_ns(cell, pass, PHASE_COUNT);
        double x = LABEL;
        if (!is_known(step))
            continue;
        cell_title(&cell->requested, false, title, sizeof title);
        canvas_text(canvas, LABEL - 8, y + 14, "end", false, title);
        canvas_rect(canvas, x, y + 1, step * scale, BAR, "#7d859044", NULL); /* what belongs to no phase */
        for (int phase = 0; phase < PHASE_COUNT; phase++) {
            const double part = step_ns(cell, pass, phase);
            if (!is_known(part) || part <= 0)
                continue;
            snprintf(text, sizeof text, "%s, %s: %.4g %s", title, phase_name((enum phase)phase), part / size, unit);
            canvas_rect(canvas, x, y + 1, part * scale, BAR, svg_phase_color(phase), text);
            x += part * scale;
            used[phase] = true;
        }
        snprintf(text, sizeof text, "%.4g %s", step / size, unit);
        canvas_text(canvas, fmax(x, LABEL + step * scale) + 6, y + 14, "start", false, text);
        y += ROW;
        shown++;
    }
    y += 22;
    snprintf(text, sizeof text, "%s", pass_name((enum pass)pass));
    canvas_text(canvas, LABEL - 8, y + 13, "end", false, text);
    for (int phase = 0; phase < PHASE_COUNT; phase++)
        if (used[phase])
            legend = canvas_legend(canvas, legend, y + 4, svg_phase_color(phase), phase_name((enum phase)phase));
    if (left > shown) {
        snprintf(text, sizeof text, "the first %zu of %zu cells", shown, left);
        canvas_text(canvas, legend + 10, y + 13, "start", false, text);
    }
    canvas->height = y + 24;
    return true;
}

/* Cells that differ in the axis alone. */
struct line {
    const struct report_cell *points[MOST_POINTS];
    int count;
};

static void find_lines(const struct report *report, const struct axis *axis, struct line lines[MOST_LINES], int *count)
{
    *count = 0;
    for (size_t i = 0; i < report->cells.count; i++) {
        const struct report_cell *cell = report->cells.items[i];
        struct cell key = experiment_of(cell);
        struct line *line = NULL;
        axis->level(&key);
        for (int l = 0; l < *count && !line; l++) {
            struct cell other = experiment_of(lines[l].points[0]);
            axis->level(&other);
            line = cell_equal(&key, &other) ? &lines[l] : NULL;
        }
        if (!line && *count < MOST_LINES) {
            line = &lines[(*count)++];
            line->count = 0;
        }
        if (!line || line->count == MOST_POINTS)
            continue;
        int at = line->count++; /* ascending */
        for (; at > 0 && axis->number(&line->points[at - 1]->requested) > axis->number(&cell->requested); at--)
            line->points[at] = line->points[at - 1];
        line->points[at] = cell;
    }
}

static double planned(const struct report_cell *cell)
{
    return is_known_u64(cell->memory.planned_total) ? (double)cell->memory.planned_total : UNKNOWN_DOUBLE;
}

static double value_of(const struct report_cell *cell, int pass, bool memory)
{
    return memory ? planned(cell) : step_ns(cell, pass, PHASE_COUNT);
}

static const char *line_color(int line)
{
    static const char *const colors[MOST_LINES] = {"#4c8dd6", "#d97b29", "#57a05a", "#9a6fc0",
                                                   "#c9504f", "#3aa6a0", "#b08a3c", "#d06ba5"};
    return colors[line];
}

/* One plot, its left at `left`: a line a group of cells, a mark a cell. */
static void plot(struct canvas *canvas, const struct axis *axis, const struct line *lines, int count, int pass,
                 bool memory, double left, double width)
{
    double low = 1e300, high = 0, most = 0;
    char text[400], is[96], title[256];
    const char *unit;
    for (int l = 0; l < count; l++)
        for (int p = 0; p < lines[l].count; p++) {
            const double x = axis->number(&lines[l].points[p]->requested),
                         y = value_of(lines[l].points[p], pass, memory);
            low = fmin(low, x);
            high = fmax(high, x);
            most = is_known(y) ? fmax(most, y) : most;
        }
    if (most <= 0 || high <= low)
        return;
    const double size = memory ? byte_unit(most, &unit) : time_unit(most, &unit), mark = round_step(most / size, 5);
    const double top = ceil(most / size / mark - 1e-9) * mark * size;
    const bool logarithmic = low > 0 && high / low >= 4; /* doublings are as far from each other */
    for (int tick = 0; tick * mark * size <= top * (1 + 1e-9); tick++) {
        const double y = HEIGHT - tick * mark * size / top * (HEIGHT - TOP);
        canvas_line(canvas, left, y, left + width, y, svg_faint, false);
        snprintf(text, sizeof text, "%g %s", tick * mark, unit);
        canvas_text(canvas, left - 6, y + 4, "end", false, text);
    }
    double last = -1e300;
    for (int l = 0; l < count; l++) {
        double before_x = UNKNOWN_DOUBLE, before_y = UNKNOWN_DOUBLE;
        for (int p = 0; p < lines[l].count; p++) {
            const struct cell *asked = &lines[l].points[p]->requested;
            const double number = axis->number(asked), value = value_of(lines[l].points[p], pass, memory);
            const double x =
                left + width * (logarithmic ? log(number / low) / log(high / low) : (number - low) / (high - low));
            axis->print(asked, is, sizeof is);
            if (l == 0 && x - last > 30) {
                canvas_line(canvas, x, HEIGHT, x, HEIGHT + 3, svg_ink, false);
                canvas_text(canvas, x, HEIGHT + 15, "middle", false, is);
                last = x;
            }
            if (!is_known(value)) {
                before_x = UNKNOWN_DOUBLE; /* a gap, not a guess */
                continue;
            }
            const double y = HEIGHT - value / top * (HEIGHT - TOP);
            if (is_known(before_x))
                strbuf_printf(
                    &canvas->body,
                    "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\" stroke-width=\"2\"/>\n",
                    before_x, before_y, x, y, line_color(l));
            cell_title(asked, false, title, sizeof title);
            snprintf(text, sizeof text, "%s: %.4g %s", title, value / size, unit);
            canvas_dot(canvas, x, y, 3.5, line_color(l), text);
            before_x = x;
            before_y = y;
        }
    }
    snprintf(text, sizeof text, "%s, by %s", memory ? "planned memory" : pass_name((enum pass)pass), axis->key);
    canvas_text(canvas, left, 2, "start", false, text);
}

/* The first of these that is swept, with a number for each of its values. */
static const struct axis *swept_axis(const struct report *report)
{
    static const enum axis_id order[] = {AXIS_CONTEXT_LENGTH, AXIS_BATCH_SIZE, AXIS_MODEL,     AXIS_D_MODEL,
                                         AXIS_NUM_LAYERS,     AXIS_D_FF,       AXIS_NUM_HEADS, AXIS_VOCAB_SIZE,
                                         AXIS_RANKS,          AXIS_THREADS};
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        if (axis_is_swept(report, axis_of(order[i])))
            return axis_of(order[i]);
    return NULL;
}

/* Of the title of a line's first cell what its last one's has, too: the rest is what is swept. */
static void common_title(const struct line *line, char *text, size_t size)
{
    static const char dot[] = " · ";
    char first[256], last[256], word[256];
    size_t used = 0;
    cell_title(&line->points[0]->requested, false, first, sizeof first);
    cell_title(&line->points[line->count - 1]->requested, false, last, sizeof last);
    text[0] = 0;
    for (const char *at = first; at && *at;) {
        const char *end = strstr(at, dot);
        const size_t length = end ? (size_t)(end - at) : strlen(at);
        snprintf(word, sizeof word, "%.*s", (int)length, at);
        bool shared = false;
        for (const char *found = last; (found = strstr(found, word)) && !shared; found++)
            shared = (found == last || strncmp(found - strlen(dot), dot, strlen(dot)) == 0) &&
                     (!found[length] || strncmp(found + length, dot, strlen(dot)) == 0);
        if (shared && used + length + sizeof dot < size)
            used += (size_t)snprintf(text + used, size - used, "%s%s", used ? dot : "", word);
        at = end ? end + strlen(dot) : NULL;
    }
}

bool draw_sweep(struct canvas *canvas, const struct report *report)
{
    const struct axis *axis = swept_axis(report);
    const int pass = axis ? common_pass(report) : -1;
    int count;
    if (pass < 0)
        return false;
    struct line *lines = calloc(MOST_LINES, sizeof *lines);
    if (!lines)
        memory_exhausted(MOST_LINES, "lines of a picture");
    find_lines(report, axis, lines, &count);
    const double width = (canvas->width - 2 * LEFT - BETWEEN) / 2;
    plot(canvas, axis, lines, count, pass, false, LEFT, width);
    plot(canvas, axis, lines, count, pass, true, 2 * LEFT + width + BETWEEN, width);
    double y = HEIGHT + 30;
    for (int l = 0; l < count; l++) {
        const struct line *line = &lines[l];
        char title[256], first[96], last[96], text[480];
        common_title(line, title, sizeof title);
        axis->print(&line->points[0]->requested, first, sizeof first);
        axis->print(&line->points[line->count - 1]->requested, last, sizeof last);
        if (line->count > 1)
            snprintf(text, sizeof text, "%s, %s %s to %s", title, axis->key, first, last);
        else
            snprintf(text, sizeof text, "%s", title);
        canvas_legend(canvas, LEFT, y, line_color(l), text);
        y += 16;
    }
    canvas->height = y + 6;
    free(lines);
    return true;
}
