/* What a rank computed and what it communicated, a cell under the other on one scale: gradients sent after backward, and beside it. */
#include "report/svg.h"
#include <stdio.h>
#include <string.h>

#define LABEL 260.0
#define LANE 15.0
#define CELL 48.0
#define MOST_CELLS 6
#define LEAST_WIDTH 0.4 /* a launch narrower than this is drawn with its neighbours */

static int longest_pass(const struct report_cell *cell)
{
    int pass = PASS_COUNT - 1;
    while (pass > 0 && !cell->passes[pass].present)
        pass--;
    return pass;
}

static bool is_communication(const struct report_cell *cell, const struct report_launch *launch)
{
    return launch->kernel < cell->kernel_count && cell->kernels[launch->kernel].kernel_class == CLASS_COLLECTIVE;
}

/* How long the step of a cell of several ranks is, in ns; 0: it has no timeline. */
static double length_of(const struct report_cell *cell)
{
    const int pass = longest_pass(cell);
    uint64_t end = 0;
    if (cell->requested.ranks < 2 || cell->requested.collective != COLLECTIVE_NONE)
        return 0;
    for (size_t i = 0; i < cell->launch_count; i++) {
        const struct report_launch *launch = &cell->timeline[i];
        if (launch->pass == pass && launch->start_ns + launch->duration_ns > end)
            end = launch->start_ns + launch->duration_ns;
    }
    return (double)end;
}

/* Launches are in order of start; neighbours of one colour without a gap that one could see are one shape. */
static void draw_lane(struct canvas *canvas, const struct report_cell *cell, double y, double scale, bool communication)
{
    const int pass = longest_pass(cell);
    double from = 0, until = -1;
    const char *fill = NULL;
    char tip[160] = "";
    for (size_t i = 0; i <= cell->launch_count; i++) {
        const struct report_launch *launch = i < cell->launch_count ? &cell->timeline[i] : NULL;
        if (launch && (launch->pass != pass || is_communication(cell, launch) != communication))
            continue;
        const double start = launch ? (double)launch->start_ns * scale : 0,
                     end = launch ? start + (double)launch->duration_ns * scale : 0;
        const char *own = !launch                       ? NULL
                          : communication               ? svg_class_color(CLASS_COLLECTIVE)
                          : launch->phase < PHASE_COUNT ? svg_phase_color((enum phase)launch->phase)
                                                        : svg_class_color(CLASS_OTHER);
        if (fill && own && strcmp(own, fill) == 0 && start - until < LEAST_WIDTH) {
            until = end > until ? end : until;
            continue;
        }
        if (fill)
            canvas_rect(canvas, LABEL + from, y, until - from > LEAST_WIDTH ? until - from : LEAST_WIDTH, LANE, fill,
                        tip);
        if (!launch)
            break;
        fill = own;
        from = start;
        until = end;
        snprintf(tip, sizeof tip, "%s, from %.3f ms",
                 communication ? "communication" : phase_name((enum phase)launch->phase),
                 (double)launch->start_ns * 1e-6);
    }
}

bool draw_ranks(struct canvas *canvas, const struct report *report)
{
    double most = 0, y = 0, legend = LABEL;
    size_t shown = 0;
    const char *unit;
    char text[300], title[256];
    for (size_t i = 0; i < report->cells.count; i++) {
        const double length = length_of(report->cells.items[i]);
        if (length > 0 && shown++ < MOST_CELLS)
            most = length > most ? length : most;
    }
    if (!shown)
        return false;
    const double size = time_unit(most, &unit), scale = (canvas->width - LABEL - 10) / most,
                 mark = round_step(most / size, 6);
    const double height = (double)(shown < MOST_CELLS ? shown : MOST_CELLS) * CELL;
    for (int tick = 0; tick * mark <= most / size * (1 + 1e-9); tick++) {
        const double x = LABEL + tick * mark * size * scale;
        canvas_line(canvas, x, 0, x, height, svg_faint, false);
        snprintf(text, sizeof text, "%g %s", tick * mark, unit);
        canvas_text(canvas, x, height + 12, "middle", false, text);
    }
    shown = 0;
    for (size_t i = 0; i < report->cells.count && shown < MOST_CELLS; i++) {
        const struct report_cell *cell = report->cells.items[i];
        if (!(length_of(cell) > 0))
            continue;
        size_t used = (size_t)snprintf(title, sizeof title, "%.40s %s, %lld ranks, %s", cell->requested.model.name,
                                       precision_name(cell->requested.dtype), (long long)cell->requested.ranks,
                                       parallel_name(cell->requested.parallel));
        if (parallel_has_buckets(cell->requested.parallel))
            snprintf(title + used, sizeof title - used, " %lld MB", (long long)cell->requested.bucket_mb);
        canvas_text(canvas, LABEL - 8, y + 12, "end", false, title);
        canvas_text(canvas, LABEL - 8, y + 12 + LANE, "end", false, "communication");
        draw_lane(canvas, cell, y, scale, false);
        draw_lane(canvas, cell, y + LANE + 2, scale, true);
        y += CELL;
        shown++;
    }
    y += 22;
    canvas_text(canvas, LABEL - 8, y + 13, "end", false, "rank 0, the latest profiled step");
    for (int phase = 0; phase < PHASE_COUNT; phase++)
        legend =
            canvas_legend(canvas, legend, y + 4, svg_phase_color((enum phase)phase), phase_name((enum phase)phase));
    canvas_legend(canvas, legend, y + 4, svg_class_color(CLASS_COLLECTIVE), "communication");
    canvas->height = y + 24;
    return true;
}
