/* Timeline: what ran when, a row a stream or thread. Live it is the last launches as they came, and scrolls back while new
 * ones arrive; in a report it is the latest profiled step of the pass. */
#include "base/unknown.h"
#include "tui/app.h"
#include "tui/format.h"
#include "tui/plot.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIVE_RECORDS 65536
#define STREAMS_MAX 64
#define COLUMNS_MAX 1024
#define LEAST_SPAN_NS 1000.0

struct span {
    uint64_t start, end;
    const char *name;
    int32_t scope;
    uint16_t stream;
    uint8_t phase, kind;
    int8_t kernel_class; /* −1 unknown */
    bool lost_before;    /* records are missing between the one before and this */
};

struct timeline {
    VEC(struct span) spans;
    struct record *records; /* copied from the aggregate */
    uint16_t streams[STREAMS_MAX];
    int stream_count, stream;
    uint32_t run;
    int pass;
    uint64_t version;  /* of the cell that the spans were made from */
    uint64_t origin;   /* of the times shown */
    double from, span; /* visible, ns since origin; span 0: choose */
    double cursor;     /* ns since origin */
    bool at_end, by_class;
    int width; /* columns of the picture */
    int plot_x;
    double step_ns; /* length of the newest complete step; NaN */
};

static void add_stream(struct timeline *timeline, uint16_t stream)
{
    for (int i = 0; i < timeline->stream_count; i++)
        if (timeline->streams[i] == stream)
            return;
    if (timeline->stream_count < STREAMS_MAX)
        timeline->streams[timeline->stream_count++] = stream;
}

static bool is_work(int kind)
{
    return kind == RECORD_KERNEL || kind == RECORD_COPY || kind == RECORD_MEMSET;
}

static void take_records(struct timeline *timeline, const struct run *run)
{
    if (!timeline->records)
        timeline->records = malloc(LIVE_RECORDS * sizeof *timeline->records);
    const size_t count = timeline->records ? aggregate_recent(run->aggregate, timeline->records, LIVE_RECORDS) : 0;
    uint32_t last_step = 0, complete = UINT32_MAX;
    uint64_t step_first = 0, step_last = 0;
    for (size_t i = 0; i < count; i++) {
        const struct record *record = &timeline->records[i];
        if (!is_work(record->kind))
            continue;
        int kernel_class = -1;
        if (run->plan && record->node >= 0 && record->node < run->plan->node_count)
            kernel_class = (int)op_info(run->plan->nodes[record->node].op)->kernel_class;
        const struct span span = {
            .start = record->start,
            .end = record->end,
            .name = aggregate_name_text(run->aggregate, record->name),
            .scope = record->scope,
            .stream = record->stream,
            .phase = record->phase,
            .kind = record->kind,
            .kernel_class = (int8_t)kernel_class,
            .lost_before = run->dropped > 0 && i > 0 && record->sequence > record[-1].sequence + 1,
        };
        vec_push(&timeline->spans, span);
        add_stream(timeline, record->stream);
        last_step = record->step;
    }
    for (size_t i = count; i-- > 0;) {
        const struct record *record = &timeline->records[i];
        if (!is_work(record->kind) || record->step == last_step)
            continue;
        if (complete == UINT32_MAX) {
            complete = record->step;
            step_last = record->end;
        }
        if (record->step != complete)
            break;
        step_first = record->start;
    }
    timeline->step_ns = complete == UINT32_MAX ? UNKNOWN_DOUBLE : (double)(step_last - step_first);
}

static void take_launches(struct timeline *timeline, const struct report_cell *cell, int pass)
{
    uint64_t end = 0;
    for (size_t i = 0; i < cell->launch_count; i++) {
        const struct report_launch *launch = &cell->timeline[i];
        if (launch->pass != pass || !is_work(launch->kind) || launch->kernel >= cell->kernel_count)
            continue;
        const struct span span = {
            .start = launch->start_ns,
            .end = launch->start_ns + launch->duration_ns,
            .name = cell->kernels[launch->kernel].name,
            .scope = launch->scope,
            .stream = launch->stream,
            .phase = launch->phase,
            .kind = launch->kind,
            .kernel_class = (int8_t)cell->kernels[launch->kernel].kernel_class,
        };
        vec_push(&timeline->spans, span);
        add_stream(timeline, launch->stream);
        end = span.end > end ? span.end : end;
    }
    timeline->step_ns = end ? (double)end : UNKNOWN_DOUBLE;
}

static void collect(struct app *app, struct timeline *timeline, const struct report_cell *cell)
{
    const struct run *run = app_run(app);
    const int pass = app_pass(app, cell);
    const bool other = timeline->run != cell->run_id || (!run && timeline->pass != pass);
    /* A frozen screen keeps the launches that it has. */
    if (!other && (app->paused || (timeline->version == cell->version && timeline->spans.count)))
        return;
    timeline->run = cell->run_id;
    timeline->pass = pass;
    timeline->version = cell->version;
    timeline->spans.count = 0;
    timeline->stream_count = 0;
    timeline->step_ns = UNKNOWN_DOUBLE;
    if (run && run->aggregate)
        take_records(timeline, run);
    if (timeline->spans.count == 0 && pass != NO_PASS)
        take_launches(timeline, cell, pass);
    if (other) {
        timeline->span = 0;
        timeline->at_end = true;
        timeline->origin = timeline->spans.count ? timeline->spans.items[0].start : 0;
    } else if (timeline->spans.count && (timeline->origin == 0 || timeline->spans.items[0].start < timeline->origin)) {
        timeline->origin = timeline->spans.items[0].start;
    }
    if (timeline->stream >= timeline->stream_count)
        timeline->stream = 0;
}

static double since(const struct timeline *timeline, uint64_t time)
{
    return (double)(int64_t)(time - timeline->origin);
}

static void extent(const struct timeline *timeline, double *first, double *last)
{
    *first = *last = 0;
    for (size_t i = 0; i < timeline->spans.count; i++) {
        const double start = since(timeline, timeline->spans.items[i].start),
                     end = since(timeline, timeline->spans.items[i].end);
        if (i == 0 || start < *first)
            *first = start;
        if (i == 0 || end > *last)
            *last = end;
    }
}

static void place_window(struct timeline *timeline)
{
    double first, last;
    extent(timeline, &first, &last);
    const double whole = last - first > LEAST_SPAN_NS ? last - first : LEAST_SPAN_NS;
    if (!(timeline->span > 0)) {
        timeline->span = is_known(timeline->step_ns) && timeline->step_ns > 0 ? timeline->step_ns * 1.02 : whole;
        timeline->from = timeline->cursor = last - timeline->span;
    }
    const double place = (timeline->cursor - timeline->from) / timeline->span;
    if (timeline->span > whole)
        timeline->span = whole;
    if (timeline->span < LEAST_SPAN_NS)
        timeline->span = LEAST_SPAN_NS;
    if (timeline->at_end) {
        /* The cursor keeps its place in the picture while the newest launches come in. */
        timeline->from = last - timeline->span;
        timeline->cursor = timeline->from + (isfinite(place) ? place : 1) * timeline->span;
    }
    if (timeline->from > last - timeline->span)
        timeline->from = last - timeline->span;
    if (timeline->from < first)
        timeline->from = first;
    if (timeline->cursor < timeline->from)
        timeline->cursor = timeline->from;
    if (timeline->cursor > timeline->from + timeline->span)
        timeline->cursor = timeline->from + timeline->span;
}

struct lane {
    double busy[COLUMNS_MAX], best[COLUMNS_MAX];
    const struct span *span[COLUMNS_MAX];
    bool lost[COLUMNS_MAX];
    double total;
};

static void fill_lane(const struct timeline *timeline, uint16_t stream, struct lane *lane)
{
    const double scale = timeline->width / timeline->span;
    memset(lane, 0, sizeof *lane);
    for (size_t i = 0; i < timeline->spans.count; i++) {
        const struct span *span = &timeline->spans.items[i];
        const double start = (since(timeline, span->start) - timeline->from) * scale;
        const double end = (since(timeline, span->end) - timeline->from) * scale;
        if (span->stream != stream || end <= 0 || start >= timeline->width)
            continue;
        const int first = start > 0 ? (int)start : 0;
        if (span->lost_before)
            lane->lost[first] = true;
        for (int x = first; x < timeline->width && x < end; x++) {
            const double overlap = (end < x + 1 ? end : x + 1) - (start > x ? start : x);
            lane->busy[x] += overlap;
            lane->total += overlap;
            if (overlap > lane->best[x] || !lane->span[x]) {
                lane->best[x] = overlap;
                lane->span[x] = span;
            }
        }
    }
}

static enum style span_style(const struct timeline *timeline, const struct span *span)
{
    if (span->kind != RECORD_KERNEL)
        return STYLE_DIM;
    if (timeline->by_class)
        return span->kernel_class < 0 ? STYLE_NORMAL : (enum style)(STYLE_CLASS + span->kernel_class);
    return (enum style)(STYLE_PHASE + span->phase);
}

static void draw_lane(const struct timeline *timeline, const struct area *area, int y, const struct lane *lane,
                      int stream, bool selected)
{
    char idle[FORMAT_SIZE];
    const double idle_ns = timeline->span * (1 - lane->total / timeline->width);
    area_printf(area, y, 0, selected ? STYLE_BOLD : STYLE_NORMAL, "%s%3d", selected ? "▶" : " ",
                timeline->streams[stream]);
    for (int x = 0; x < timeline->width; x++) {
        const struct span *span = lane->span[x];
        if (lane->lost[x])
            area_put(area, y, 5 + x, STYLE_DROPPED, L'!');
        else if (!span || lane->busy[x] < 0.02)
            area_put(area, y, 5 + x, STYLE_DIM, 0xb7);
        else
            area_put(area, y, 5 + x, span_style(timeline, span),
                     lane->busy[x] > 0.95 ? 0x2588 : 0x2581 + (int)(lane->busy[x] * 7));
    }
    area_printf(area, y, 5 + timeline->width + 1, STYLE_DIM, "idle %s",
                format_duration(idle, idle_ns > 0 ? idle_ns : 0));
}

static void draw_ruler(const struct timeline *timeline, const struct area *area, int y)
{
    char text[FORMAT_SIZE];
    for (int x = 0; x < timeline->width; x += 16) {
        /* The first mark is the time of the run, the others what lies between: four digits tell only those apart. */
        const double ahead = x * timeline->span / timeline->width;
        area_put(area, y, 5 + x, STYLE_AXIS, 0x2502);
        if (x + 14 <= timeline->width)
            area_printf(area, y, 6 + x, STYLE_AXIS, "%s%s", x ? "+" : "",
                        format_duration(text, x ? ahead : timeline->from));
    }
}

/* The launch under the cursor on the selected stream, and the gap round the cursor when there is none. */
static const struct span *under_cursor(const struct timeline *timeline, double *gap)
{
    const uint16_t stream = timeline->streams[timeline->stream];
    const double tick = timeline->span / (timeline->width > 0 ? timeline->width : 1);
    double before = -INFINITY, after = INFINITY;
    const struct span *best = NULL;
    double best_overlap = 0;
    for (size_t i = 0; i < timeline->spans.count; i++) {
        const struct span *span = &timeline->spans.items[i];
        if (span->stream != stream)
            continue;
        const double start = since(timeline, span->start), end = since(timeline, span->end);
        const double overlap = (end < timeline->cursor + tick ? end : timeline->cursor + tick) -
                               (start > timeline->cursor ? start : timeline->cursor);
        if (overlap > best_overlap) {
            best_overlap = overlap;
            best = span;
        }
        if (end <= timeline->cursor && end > before)
            before = end;
        if (start >= timeline->cursor && start < after)
            after = start;
    }
    *gap = after - before;
    return best;
}

static const char *scope_path(const struct report_cell *cell, int32_t scope)
{
    return scope >= 0 && (size_t)scope < cell->layer_count ? cell->layers[scope].path : "(unattributed)";
}

static void draw_cursor(const struct timeline *timeline, const struct report_cell *cell, const struct area *area, int y)
{
    char at[FORMAT_SIZE], duration[FORMAT_SIZE];
    double gap;
    const struct span *span = under_cursor(timeline, &gap);
    format_duration(at, timeline->cursor);
    if (span) {
        int x = area_printf(area, y, 0, STYLE_NORMAL, "at %s: ", at);
        x += area_text_fit(area, y, x, area->width - x - 12, STYLE_BOLD, span->name);
        x +=
            area_printf(area, y, x, STYLE_NORMAL, "  %s", format_duration(duration, (double)(span->end - span->start)));
        area_printf(area, y, x, STYLE_DIM, "  %s  %s", phase_name((enum phase)span->phase),
                    scope_path(cell, span->scope));
    } else if (isfinite(gap)) {
        area_printf(area, y, 0, STYLE_NORMAL, "at %s: idle for %s", at, format_duration(duration, gap));
    } else {
        area_printf(area, y, 0, STYLE_NORMAL, "at %s: before the first launch or after the last", at);
    }
}

/* The launches from the cursor on, as long as there is room. */
static void draw_launches(const struct timeline *timeline, const struct report_cell *cell, const struct area *area)
{
    char start[FORMAT_SIZE], duration[FORMAT_SIZE];
    int y = 0;
    if (area->height < 2)
        return;
    area_fill(area, y, 0, 1, area->width, STYLE_HEAD, L' ');
    area_text_right(area, y, 0, 11, STYLE_HEAD, "from left");
    area_text_right(area, y, 12, 10, STYLE_HEAD, "duration");
    area_text(area, y++, 23, -1, STYLE_HEAD, "phase kernel                          layer");
    const uint16_t stream = timeline->streams[timeline->stream];
    for (size_t i = 0; i < timeline->spans.count && y < area->height; i++) {
        const struct span *span = &timeline->spans.items[i];
        if (span->stream != stream || since(timeline, span->end) < timeline->cursor)
            continue;
        area_text_right(area, y, 0, 11, STYLE_NORMAL,
                        format_duration(start, since(timeline, span->start) - timeline->from));
        area_text_right(area, y, 12, 10, STYLE_NORMAL, format_duration(duration, (double)(span->end - span->start)));
        area_text(area, y, 23, 5, (enum style)(STYLE_PHASE + span->phase), phase_name((enum phase)span->phase));
        area_text_fit(area, y, 29, 31, STYLE_NORMAL, span->name);
        area_text_fit(area, y, 61, area->width - 61, STYLE_DIM, scope_path(cell, span->scope));
        y++;
    }
}

static void timeline_draw(struct app *app, void *opaque, const struct area *area)
{
    struct timeline *timeline = opaque;
    const struct report_cell *cell = app_cell(app);
    if (cell)
        collect(app, timeline, cell);
    if (!cell || timeline->spans.count == 0) {
        area_text_fit(area, 1, 1, area->width - 2, STYLE_DIM,
                      !cell ? "no run yet: n starts one"
                            : "no launch to show: the first profiled step comes after the warm-up");
        return;
    }
    if (!plot_fits(area))
        return;
    timeline->width = area->width - 5 - 15;
    timeline->width = timeline->width > COLUMNS_MAX ? COLUMNS_MAX : timeline->width;
    timeline->plot_x = area->x + 5;
    place_window(timeline);
    struct lane *lane = malloc(sizeof *lane);
    if (!lane)
        return;
    draw_ruler(timeline, area, 0);
    int y = 1;
    const int most = area->height - 3;
    const int first = timeline->stream >= most ? timeline->stream - most + 1 : 0;
    for (int i = first; i < timeline->stream_count && y <= most; i++, y++) {
        fill_lane(timeline, timeline->streams[i], lane);
        draw_lane(timeline, area, y, lane, i, i == timeline->stream);
    }
    free(lane);
    const int cursor = (int)((timeline->cursor - timeline->from) / timeline->span * (timeline->width - 1) + 0.5);
    for (int row = 0; row < y; row++)
        area_restyle(area, row, 5 + cursor, 1, STYLE_CURSOR);
    draw_cursor(timeline, cell, area, y);
    const struct area rest = area_part(area, y + 1, 0, area->height - y - 1, area->width);
    draw_launches(timeline, cell, &rest);
}

static void timeline_status(const struct app *app, const void *opaque, char *text, size_t size)
{
    const struct timeline *timeline = opaque;
    char span[FORMAT_SIZE];
    snprintf(text, size, "%s, %zu launches, by %s%s", format_duration(span, timeline->span), timeline->spans.count,
             timeline->by_class ? "class" : "phase", timeline->at_end && app->session ? ", following" : "");
}

static void pan(struct timeline *timeline, double step)
{
    timeline->from += step;
    timeline->cursor += step;
    timeline->at_end = false;
}

static void move_cursor(struct timeline *timeline, double columns)
{
    const double step = timeline->span / (timeline->width > 1 ? timeline->width - 1 : 1) * columns;
    timeline->cursor += step;
    timeline->at_end = false;
    if (timeline->cursor < timeline->from || timeline->cursor > timeline->from + timeline->span)
        timeline->from += step;
}

static void zoom(struct timeline *timeline, double factor)
{
    const double place = (timeline->cursor - timeline->from) / timeline->span;
    timeline->span *= factor;
    timeline->from = timeline->cursor - place * timeline->span;
    timeline->at_end = false;
}

static bool timeline_command(struct app *app, void *opaque, enum command command)
{
    struct timeline *timeline = opaque;
    (void)app;
    if (timeline->spans.count == 0)
        return false;
    switch (command) {
    case COMMAND_LEFT:
        move_cursor(timeline, -1);
        return true;
    case COMMAND_RIGHT:
        move_cursor(timeline, 1);
        return true;
    case COMMAND_UP:
        timeline->stream -= timeline->stream > 0;
        return true;
    case COMMAND_DOWN:
        timeline->stream += timeline->stream + 1 < timeline->stream_count;
        return true;
    case COMMAND_PAGE_UP:
        pan(timeline, -timeline->span);
        return true;
    case COMMAND_PAGE_DOWN:
        pan(timeline, timeline->span);
        return true;
    case COMMAND_HALF_UP:
        pan(timeline, -timeline->span / 2);
        return true;
    case COMMAND_HALF_DOWN:
        pan(timeline, timeline->span / 2);
        return true;
    case COMMAND_FIRST:
        timeline->from = timeline->cursor = -INFINITY;
        timeline->at_end = false;
        return true;
    case COMMAND_LAST:
        timeline->at_end = true;
        timeline->cursor = INFINITY;
        return true;
    case COMMAND_FOLLOW:
        timeline->at_end = !timeline->at_end;
        return true;
    case COMMAND_ZOOM_IN:
        zoom(timeline, 0.5);
        return true;
    case COMMAND_ZOOM_OUT:
        zoom(timeline, 2);
        return true;
    case COMMAND_MODE:
        timeline->by_class = !timeline->by_class;
        return true;
    default:
        return false;
    }
}

static bool timeline_click(struct app *app, void *opaque, int y, int x)
{
    struct timeline *timeline = opaque;
    (void)app;
    (void)y;
    if (timeline->width < 2 || x < timeline->plot_x || x >= timeline->plot_x + timeline->width)
        return false;
    timeline->cursor = timeline->from + timeline->span * (x - timeline->plot_x) / (timeline->width - 1);
    timeline->at_end = false;
    return true;
}

static void timeline_init(struct app *app, void *opaque)
{
    struct timeline *timeline = opaque;
    (void)app;
    timeline->run = NO_RUN;
    timeline->pass = NO_PASS;
    timeline->at_end = true;
}

static void timeline_release(void *opaque)
{
    struct timeline *timeline = opaque;
    vec_release(&timeline->spans);
    free(timeline->records);
}

const struct view_ops timeline_view = {
    .name = "Timeline",
    .state_size = sizeof(struct timeline),
    .init = timeline_init,
    .release = timeline_release,
    .draw = timeline_draw,
    .status = timeline_status,
    .command = timeline_command,
    .click = timeline_click,
};
