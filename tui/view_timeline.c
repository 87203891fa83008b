/* Timeline: what ran when, a row a stream or thread. Live it is the last launches as they came, and scrolls back while new
 * ones arrive; in a report it is the latest profiled step of the pass. */
#include "base/limits.h"
#include "base/unknown.h"
#include "tui/app.h"
#include "tui/flame.h"
#include "tui/format.h"
#include "tui/plot.h"
#include "tui/timeline_window.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COLUMNS_MAX 1024
#define FLAME_LEAST 14

struct lane {
    double busy[COLUMNS_MAX], best[COLUMNS_MAX];
    const struct record *launch[COLUMNS_MAX];
    bool lost[COLUMNS_MAX];
    double total;
};

/* `row` −1: all of them, each column the launch that takes most of it. */
static void fill_lane(const struct timeline *timeline, int row, struct lane *lane)
{
    const double scale = timeline->width / timeline->span;
    memset(lane, 0, sizeof *lane);
    for (size_t i = timeline->own->begin; i < timeline->own->end; i++) {
        const struct record *launch = launches_at(&timeline->own->launches, i);
        const double start = (timeline_since(timeline, launch->start) - timeline->from) * scale;
        const double end = (timeline_since(timeline, launch->end) - timeline->from) * scale;
        if (!record_is_work(launch->kind) || (row >= 0 && timeline_row_of(timeline, i) != row) || end <= 0 ||
            start >= timeline->width)
            continue;
        const int first = start > 0 ? (int)start : 0;
        if (launches_lost_before(&timeline->own->launches, i))
            lane->lost[first] = true;
        for (int x = first; x < timeline->width && x < end; x++) {
            const double overlap = (end < x + 1 ? end : x + 1) - (start > x ? start : x);
            lane->busy[x] += overlap;
            lane->total += overlap;
            if (overlap > lane->best[x] || !lane->launch[x]) {
                lane->best[x] = overlap;
                lane->launch[x] = launch;
            }
        }
    }
}

static enum style launch_style(const struct timeline *timeline, const struct record *launch)
{
    if (launch->kind != RECORD_KERNEL)
        return STYLE_DIM;
    if (!timeline->by_class)
        return (enum style)(STYLE_PHASE + launches_phase(&timeline->own->launches, launch));
    return (enum style)(STYLE_CLASS + launches_class(&timeline->own->launches, launch));
}

static void draw_lane(const struct timeline *timeline, const struct area *area, int y, const struct lane *lane,
                      int stream, bool selected)
{
    char idle[FORMAT_SIZE];
    const double idle_ns =
        timeline->span * (1 - lane->total / timeline->width) -
        (double)launches_unrecorded_ns(&timeline->own->launches, timeline->own->begin, timeline->own->end,
                                       timeline_instant(timeline, timeline->from),
                                       timeline_instant(timeline, timeline->from + timeline->span));
    const enum style style = selected ? STYLE_BOLD : STYLE_NORMAL;
    if (timeline->rank_count > 1)
        area_printf(area, y, 0, style, "%s%d.%d", selected ? "▶" : " ", (int)(timeline->own - timeline->ranks),
                    stream + 1);
    else
        area_printf(area, y, 0, style, "%s%3d", selected ? "▶" : " ",
                    timeline->own->packed ? stream + 1 : timeline->own->streams[stream]);
    for (int x = 0; x < timeline->width; x++) {
        const struct record *launch = lane->launch[x];
        if (lane->lost[x])
            area_put(area, y, 5 + x, STYLE_DROPPED, L'!');
        else if (!launch || lane->busy[x] < 0.02)
            area_put(area, y, 5 + x, STYLE_DIM, 0xb7);
        else
            area_put(area, y, 5 + x, launch_style(timeline, launch),
                     lane->busy[x] > 0.95 ? 0x2588 : 0x2581 + scale_to(lane->busy[x], 7));
    }
    area_printf(area, y, 5 + timeline->width + 1, STYLE_DIM, "idle %s",
                format_duration(idle, idle_ns > 0 ? idle_ns : 0));
}

/* The first mark is the time of the run, the others what lies between: four digits tell only those apart. A cursor within a time has
 * that time in its colour, for a mark in its place would be taken for one of its digits. */
static void draw_ruler(const struct timeline *timeline, const struct area *area, int y, int cursor)
{
    char text[FORMAT_SIZE], label[FORMAT_SIZE + 1];
    bool marked = false;
    const double tick = plot_tick(timeline->span / timeline->width * 14);
    for (int i = 0; i * tick <= timeline->span; i++) {
        const int x = scale_to(i * tick / timeline->span, timeline->width);
        area_put(area, y, 5 + x, STYLE_AXIS, 0x2502);
        if (x + 12 > timeline->width)
            continue;
        snprintf(label, sizeof label, "%s%s", i ? "+" : "", format_duration(text, i ? i * tick : timeline->from));
        const bool within = cursor > x && cursor <= x + text_columns(label, false);
        area_text(area, y, 6 + x, -1, within ? STYLE_CURSOR : STYLE_AXIS, label);
        marked = marked || within;
    }
    if (!marked)
        area_put(area, y, 5 + cursor, STYLE_CURSOR, 0x25bc);
}

/* Our own kernels on processors are timed where they are started; an attached program's threads have lanes of their own. */
static bool has_no_threads(const struct report_cell *cell)
{
    return !cell->requested.command[0] && strcmp(cell->requested.device, "cpu") == 0 && cell->requested.threads != 1;
}

/* Above the kernels what they are part of, as stretches with a name. */
static void draw_flame(const struct timeline *timeline, const struct report_cell *cell, const struct area *area, int y)
{
    struct flame flame;
    struct lane *all = malloc(sizeof *all);
    if (!all)
        memory_exhausted(1, "timeline");
    fill_lane(timeline, -1, all);
    flame_make(&flame, cell);
    const struct area row = area_part(area, y, 5, FLAME_LEVELS, area->width - 5);
    for (int level = 0; level < FLAME_LEVELS; level++) {
        const char *name = NULL;
        enum style style = STYLE_NORMAL;
        int from = 0;
        area_text(area, y + level, 0, 5, STYLE_DIM, flame_titles[level]);
        for (int x = 0; x <= timeline->width; x++) {
            const struct record *launch = x < timeline->width && all->busy[x] >= 0.02 ? all->launch[x] : NULL;
            /* A gap between two launches of one module is the module's; the end is not. */
            if (!launch && x < timeline->width)
                continue;
            const char *own = launch ? flame_name(&flame, launches_phase(&timeline->own->launches, launch),
                                                  launches_scope(&timeline->own->launches, launch), level)
                                     : NULL;
            if (name && own && strcmp(name, own) == 0)
                continue;
            flame_stretch(&row, level, from, x, style, name);
            name = own;
            from = x;
            if (launch)
                style = (enum style)(STYLE_PHASE + launches_phase(&timeline->own->launches, launch));
        }
    }
    flame_release(&flame);
    free(all);
}

static bool on_stream(const struct timeline *timeline, size_t index)
{
    const struct record *launch = launches_at(&timeline->own->launches, index);
    return timeline_row_of(timeline, index) == timeline->stream && record_is_work(launch->kind);
}

/* How long nothing runs round the cursor on the selected stream: infinite before its first launch and after its last. *unrecorded: steps
 * between the two launches of which there are no records, so that nobody knows what ran. */
static double gap_at_cursor(const struct timeline *timeline, uint32_t *unrecorded)
{
    const struct launches *launches = &timeline->own->launches;
    const struct record *before = NULL, *after = NULL;
    size_t at = timeline->own->begin;
    unsigned since = 0; /* so many came after the best one so far */
    for (; at < launches->count && since < LAUNCHES_DISORDER; at++) {
        const struct record *launch = launches_at(launches, at);
        since += after != NULL;
        if (!on_stream(timeline, at) || timeline_since(timeline, launch->start) < timeline->cursor ||
            (after && after->start <= launch->start))
            continue;
        after = launch;
        since = 0;
    }
    for (since = 0; at-- > 0 && since < LAUNCHES_DISORDER;) {
        const struct record *launch = launches_at(launches, at);
        since += before != NULL;
        if (!on_stream(timeline, at) || timeline_since(timeline, launch->end) > timeline->cursor ||
            (before && before->end >= launch->end))
            continue;
        before = launch;
        since = 0;
    }
    *unrecorded = before && after ? launches_steps_between(launches, before, after) : 0;
    return before && after ? timeline_since(timeline, after->start) - timeline_since(timeline, before->end) : INFINITY;
}

/* The launch under the cursor on the selected stream; NULL when none is. */
static const struct record *under_cursor(const struct timeline *timeline)
{
    const double tick = timeline->span / (timeline->width > 0 ? timeline->width : 1);
    const struct record *best = NULL;
    double best_overlap = 0;
    for (size_t i = timeline->own->begin; i < timeline->own->end; i++) {
        const struct record *launch = launches_at(&timeline->own->launches, i);
        if (!on_stream(timeline, i))
            continue;
        const double start = timeline_since(timeline, launch->start), end = timeline_since(timeline, launch->end);
        const double overlap = (end < timeline->cursor + tick ? end : timeline->cursor + tick) -
                               (start > timeline->cursor ? start : timeline->cursor);
        if (overlap > best_overlap) {
            best_overlap = overlap;
            best = launch;
        }
    }
    return best;
}

static const char *scope_path(const struct report_cell *cell, int32_t scope)
{
    return scope >= 0 && (size_t)scope < cell->layer_count ? cell->layers[scope].path : "(unattributed)";
}

static void draw_cursor(const struct timeline *timeline, const struct report_cell *cell, const struct area *area, int y)
{
    char at[FORMAT_SIZE], duration[FORMAT_SIZE];
    const struct record *launch = under_cursor(timeline);
    uint32_t unrecorded = 0;
    const double gap = launch ? 0 : gap_at_cursor(timeline, &unrecorded);
    format_duration(at, timeline->cursor);
    if (launch) {
        int x = area_printf(area, y, 0, STYLE_NORMAL, "at %s: ", at);
        x += area_text_fit(area, y, x, area->width - x - 12, STYLE_BOLD,
                           launches_name(&timeline->own->launches, launch));
        x += area_printf(area, y, x, STYLE_NORMAL, "  %s",
                         format_duration(duration, (double)(launch->end - launch->start)));
        x += area_printf(area, y, x, STYLE_DIM, "  %s  ",
                         phase_name((enum phase)launches_phase(&timeline->own->launches, launch)));
        area_text_ends(area, y, x, area->width - x, STYLE_DIM,
                       scope_path(cell, launches_scope(&timeline->own->launches, launch)), NULL);
    } else if (unrecorded) {
        area_printf(area, y, 0, STYLE_NORMAL, "at %s: not recorded: %u step%s ran here unprofiled", at, unrecorded,
                    unrecorded == 1 ? "" : "s");
    } else if (isfinite(gap)) {
        area_printf(area, y, 0, STYLE_NORMAL, "at %s: idle for %s", at, format_duration(duration, gap));
    } else {
        area_printf(area, y, 0, STYLE_NORMAL, "at %s: before the first launch or after the last", at);
    }
}

/* The first `most` launches from the cursor on, by when they began: they come as they end. How many there are. */
static int launches_from_cursor(const struct timeline *timeline, const struct record **list, int most)
{
    const struct launches *launches = &timeline->own->launches;
    int count = 0;
    unsigned since = 0; /* so many came after the last that found a place */
    for (size_t i = timeline->own->begin; i < launches->count && since < LAUNCHES_DISORDER; i++) {
        const struct record *launch = launches_at(launches, i);
        since += count == most;
        if (!on_stream(timeline, i) || timeline_since(timeline, launch->end) < timeline->cursor ||
            (count == most && list[most - 1]->start <= launch->start))
            continue;
        int at = count < most ? count++ : most - 1;
        for (; at > 0 && list[at - 1]->start > launch->start; at--)
            list[at] = list[at - 1];
        list[at] = launch;
        since = 0;
    }
    return count;
}

static void draw_launches(const struct timeline *timeline, const struct report_cell *cell, const struct area *area)
{
    char start[FORMAT_SIZE], duration[FORMAT_SIZE];
    int y = 0;
    if (area->height < 2)
        return;
    area_fill(area, y, 0, 1, area->width, STYLE_HEAD, L' ');
    area_text_right(area, y, 0, 11, STYLE_HEAD, "from left");
    area_text_right(area, y, 12, 10, STYLE_HEAD, "duration");
    /* A wide window's room is the names': kernels' first, which are the longer ones. */
    const int room = area->width - 29 - 2, name = room < 80 ? 31 : room * 6 / 10 < 72 ? room * 6 / 10 : 72;
    area_text(area, y, 23, -1, STYLE_HEAD, "phase kernel");
    area_text(area, y++, 29 + name + 1, -1, STYLE_HEAD, "layer");
    const struct record **list = malloc((size_t)(area->height - y) * sizeof *list);
    const int count = list ? launches_from_cursor(timeline, list, area->height - y) : 0;
    for (int i = 0; i < count; i++, y++) {
        const struct record *launch = list[i];
        area_text_right(area, y, 0, 11, STYLE_NORMAL,
                        format_duration(start, timeline_since(timeline, launch->start) - timeline->from));
        area_text_right(area, y, 12, 10, STYLE_NORMAL,
                        format_duration(duration, (double)(launch->end - launch->start)));
        area_text(area, y, 23, 5, (enum style)(STYLE_PHASE + launches_phase(&timeline->own->launches, launch)),
                  phase_name((enum phase)launches_phase(&timeline->own->launches, launch)));
        area_text_ends(area, y, 29, name, STYLE_NORMAL, launches_name(&timeline->own->launches, launch), NULL);
        area_text_ends(area, y, 30 + name, area->width - 30 - name, STYLE_DIM,
                       scope_path(cell, launches_scope(&timeline->own->launches, launch)), NULL);
    }
    free(list);
}

static void timeline_update(struct app *app, void *opaque)
{
    const struct report_cell *cell = app_cell(app);
    if (cell)
        timeline_choose(app, opaque, cell);
}

/* The selected row among those of all ranks. */
static int selected_place(struct timeline *timeline)
{
    int place = timeline->stream;
    for (int r = 0; r < timeline->rank; r++) {
        timeline->own = &timeline->ranks[r];
        place += timeline_row_count(timeline);
    }
    timeline->own = &timeline->ranks[timeline->rank];
    return place;
}

/* To the row above or below, beyond a rank's rows to those of its neighbour. */
static void select_row(struct timeline *timeline, int step)
{
    const int row = timeline->stream + step, rank = timeline->rank + step;
    if (row >= 0 && row < timeline_row_count(timeline)) {
        timeline->stream = row;
        return;
    }
    if (rank < 0 || rank >= timeline->rank_count)
        return;
    struct rank_lanes *const next = &timeline->ranks[rank];
    timeline->rank = rank;
    timeline->own = next;
    timeline->stream = step > 0 || timeline_row_count(timeline) == 0 ? 0 : timeline_row_count(timeline) - 1;
}

static void timeline_draw(struct app *app, void *opaque, const struct area *area)
{
    struct timeline *timeline = opaque;
    const struct report_cell *cell = app_cell(app);
    if (!cell || timeline->own->launches.count == 0) {
        area_text_fit(area, 1, 1, area->width - 2, STYLE_DIM, cell_has_none(app, cell, "launches"));
        return;
    }
    if (!plot_fits(area))
        return;
    timeline->width = area->width - 5 - 15;
    timeline->width = timeline->width > COLUMNS_MAX ? COLUMNS_MAX : timeline->width;
    timeline->plot_x = area->x + 5;
    timeline_place_window(timeline);
    for (int r = 0; r < timeline->rank_count; r++) {
        timeline->own = &timeline->ranks[r];
        timeline_find_visible(timeline);
        timeline_pack_lanes(timeline);
    }
    timeline->own = &timeline->ranks[timeline->rank];
    struct lane *lane = malloc(sizeof *lane);
    if (!lane)
        return;
    const int cursor = scale_to((timeline->cursor - timeline->from) / timeline->span, timeline->width - 1);
    draw_ruler(timeline, area, 0, cursor);
    int y = 1;
    if (area->height >= FLAME_LEAST) {
        draw_flame(timeline, cell, area, y);
        y += FLAME_LEVELS;
    }
    const int most = area->height - 3;
    const int place = selected_place(timeline);
    int before = place >= most - y ? place - (most - y) : 0; /* rows above the picture */
    for (int r = 0; r < timeline->rank_count; r++) {
        timeline->own = &timeline->ranks[r];
        for (int i = 0; i < timeline_row_count(timeline) && y <= most; i++) {
            if (before-- > 0)
                continue;
            fill_lane(timeline, i, lane);
            draw_lane(timeline, area, y++, lane, i, r == timeline->rank && i == timeline->stream);
        }
    }
    timeline->own = &timeline->ranks[timeline->rank];
    free(lane);
    /* Marks above (the ruler's) and below, so that what is under the cursor keeps its colour. */
    if (area->height >= FLAME_LEAST)
        area_put(area, y++, 5 + cursor, STYLE_CURSOR, 0x25b2);
    if (area->height >= FLAME_LEAST && has_no_threads(cell))
        area_text_fit(area, y++, 0, area->width, STYLE_DIM,
                      "lanes of threads: unsupported: a kernel is timed whole, by who starts it");
    draw_cursor(timeline, cell, area, y);
    const struct area rest = area_part(area, y + 1, 0, area->height - y - 1, area->width);
    draw_launches(timeline, cell, &rest);
}

static void timeline_status(const struct app *app, const void *opaque, char *text, size_t size)
{
    const struct timeline *timeline = opaque;
    char span[FORMAT_SIZE], rank[32] = "";
    const struct run *run = app->session ? session_find(app->session, timeline->run) : NULL;
    const bool follows = timeline->at_end && run && run->status == STATUS_RUNNING;
    if (timeline->rank_count > 1)
        snprintf(rank, sizeof rank, ", rank %d", timeline->rank);
    snprintf(text, size, "%s, %zu launches%s%s, by %s%s", format_duration(span, timeline->span),
             timeline->own->launches.count, rank, timeline->own->packed ? ", streams packed" : "",
             timeline->by_class ? "class" : "phase", follows ? ", following" : "");
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
    double place = (timeline->cursor - timeline->from) / timeline->span;
    if (!isfinite(place)) /* it was just sent to an end */
        place = timeline->cursor > 0 ? 1 : 0;
    timeline->span *= factor;
    timeline->from = timeline->cursor - place * timeline->span;
    timeline->at_end = false;
}

/* Enter: how long the others of this kernel took. */
static void open_launch(struct app *app, const struct timeline *timeline)
{
    const struct report_cell *cell = app_cell(app);
    const struct record *launch = under_cursor(timeline);
    if (!cell || !launch) {
        app_message(app, STYLE_DIM, "no launch is under the cursor");
        return;
    }
    struct focus focus = app->focus;
    focus.run = cell->run_id;
    focus.pass = launch->pass;
    focus.kernel = kernel_id(launches_name(&timeline->own->launches, launch),
                             launches_phase(&timeline->own->launches, launch), launch->pass);
    app->follow = false;
    app_open(app, VIEW_HISTOGRAM, &focus);
}

/* Where somebody put the cursor; one that follows the newest launches was put nowhere. */
static uint64_t timeline_kernel(const void *opaque)
{
    const struct timeline *timeline = opaque;
    if (timeline->at_end || timeline->own->launches.count == 0)
        return 0;
    const struct record *launch = under_cursor(timeline);
    return launch && launch->pass == timeline->pass
               ? kernel_id(launches_name(&timeline->own->launches, launch),
                           launches_phase(&timeline->own->launches, launch), launch->pass)
               : 0;
}

static bool timeline_command(struct app *app, void *opaque, enum command command)
{
    struct timeline *timeline = opaque;
    if (timeline->own->launches.count == 0)
        return false;
    switch (command) {
    case COMMAND_OPEN:
        open_launch(app, timeline);
        return true;
    case COMMAND_LEFT:
        move_cursor(timeline, -1);
        return true;
    case COMMAND_RIGHT:
        move_cursor(timeline, 1);
        return true;
    case COMMAND_UP:
        select_row(timeline, -1);
        return true;
    case COMMAND_DOWN:
        select_row(timeline, 1);
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
        app_keep_choice(app, VIEW_TIMELINE, timeline->by_class);
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
    timeline->by_class = app_kept_choice(app, VIEW_TIMELINE, 2);
    timeline->run = NO_RUN;
    timeline->pass = NO_PASS;
    timeline->at_end = true;
    timeline->own = timeline->ranks;
    timeline->rank_count = 1;
}

static void timeline_release(void *opaque)
{
    struct timeline *timeline = opaque;
    for (int r = 0; r < LIVE_RANKS; r++) {
        launches_release(&timeline->ranks[r].launches);
        vec_release(&timeline->ranks[r].lane_of);
        vec_release(&timeline->ranks[r].order);
    }
}

const struct view_ops timeline_view = {
    .name = "Timeline",
    .state_size = sizeof(struct timeline),
    .init = timeline_init,
    .release = timeline_release,
    .update = timeline_update,
    .draw = timeline_draw,
    .status = timeline_status,
    .command = timeline_command,
    .click = timeline_click,
    .kernel = timeline_kernel,
};
