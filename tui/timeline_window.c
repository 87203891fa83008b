#include "tui/timeline_window.h"
#include "base/system.h"
#include <math.h>

#define LEAST_SPAN_NS 1000.0
#define PACK_FROM 5 /* streams: the branches of a graph are many, and few of them at once */

static void add_stream(struct timeline *timeline, uint16_t stream)
{
    for (int i = 0; i < timeline->own->stream_count; i++)
        if (timeline->own->streams[i] == stream)
            return;
    if (timeline->own->stream_count < TIMELINE_STREAMS)
        timeline->own->streams[timeline->own->stream_count++] = stream;
}

static void collect(struct app *app, struct timeline *timeline, const struct report_cell *cell)
{
    const struct run *run = live_run_of(&app->live, cell);
    const size_t ranks = run ? run->ranks.count : 1;
    timeline->rank_count = ranks < LIVE_RANKS ? (int)ranks : LIVE_RANKS;
    timeline->ranks[0].launches.count = 0;
    for (int r = 0; run && r < timeline->rank_count; r++)
        launches_follow(&timeline->ranks[r].launches, &app->live, run, (size_t)r);
    if (timeline->ranks[0].launches.count == 0 && timeline->pass != NO_PASS) { /* a report has those of the first */
        launches_of_report(&timeline->ranks[0].launches, cell, timeline->pass);
        timeline->rank_count = 1;
    }
    if (timeline->rank >= timeline->rank_count)
        timeline->rank = timeline->stream = 0;
    timeline->own = &timeline->ranks[timeline->rank];
}

/* First start and last end of all ranks. */
static void extent(const struct timeline *timeline, uint64_t *first, uint64_t *last)
{
    launches_extent(&timeline->ranks[0].launches, first, last);
    for (int r = 1; r < timeline->rank_count; r++) {
        uint64_t own_first, own_last;
        if (timeline->ranks[r].launches.count == 0)
            continue;
        launches_extent(&timeline->ranks[r].launches, &own_first, &own_last);
        *first = own_first < *first ? own_first : *first;
        *last = own_last > *last ? own_last : *last;
    }
}

void timeline_choose(struct app *app, struct timeline *timeline, const struct report_cell *cell)
{
    const int pass = app_pass(app, cell);
    const bool other = timeline->run != cell->run_id || (!live_run_of(&app->live, cell) && timeline->pass != pass);
    uint64_t first, last;
    timeline->run = cell->run_id;
    timeline->pass = pass;
    collect(app, timeline, cell);
    extent(timeline, &first, &last);
    if (other) {
        timeline->span = 0;
        timeline->at_end = true;
        timeline->rank = timeline->stream = 0;
        timeline->own = timeline->ranks;
        for (int r = 0; r < LIVE_RANKS; r++)
            timeline->ranks[r].stream_count = 0;
    }
    if (timeline->own->launches.count && (other || timeline->origin == 0 || first < timeline->origin))
        timeline->origin = first;
}

double timeline_since(const struct timeline *timeline, uint64_t time)
{
    return (double)(int64_t)(time - timeline->origin);
}

uint64_t timeline_instant(const struct timeline *timeline, double place)
{
    return timeline->origin + (uint64_t)(place > 0 ? place : 0);
}

void timeline_find_visible(struct timeline *timeline)
{
    launches_range(&timeline->own->launches, timeline_instant(timeline, timeline->from),
                   timeline_instant(timeline, timeline->from + timeline->span) + 1, &timeline->own->begin,
                   &timeline->own->end);
    for (size_t i = timeline->own->begin; i < timeline->own->end; i++) {
        const struct record *launch = launches_at(&timeline->own->launches, i);
        if (record_is_work(launch->kind))
            add_stream(timeline, launch->stream);
    }
}

int timeline_row_count(const struct timeline *timeline)
{
    return timeline->own->packed ? timeline->own->lane_count : timeline->own->stream_count;
}

int timeline_row_of(const struct timeline *timeline, size_t index)
{
    if (timeline->own->packed)
        return index >= timeline->own->begin && index < timeline->own->end
                   ? timeline->own->lane_of.items[index - timeline->own->begin]
                   : -1;
    const uint16_t stream = launches_at(&timeline->own->launches, index)->stream;
    for (int i = 0; i < timeline->own->stream_count; i++)
        if (timeline->own->streams[i] == stream)
            return i;
    return -1;
}

static uint64_t start_of(const struct rank_lanes *own, uint32_t number)
{
    return launches_at(&own->launches, own->begin + number)->start;
}

static int by_start(const void *a, const void *b, void *own)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    const uint64_t first = start_of(own, x), second = start_of(own, y);
    return first != second ? (first < second ? -1 : 1) : (x > y) - (x < y);
}

/* Launches come as they end, those of several streams by and by: mostly few change places. */
static void order_by_start(struct rank_lanes *own)
{
    const uint32_t count = (uint32_t)(own->end - own->begin);
    size_t moves = 0;
    own->order.count = 0;
    for (uint32_t i = 0; i < count; i++)
        vec_push(&own->order, i);
    uint32_t *order = own->order.items;
    for (uint32_t i = 1; i < count && moves < 8 * (size_t)count; i++) {
        const uint64_t start = start_of(own, i);
        uint32_t place = i;
        for (; place > 0 && start_of(own, order[place - 1]) > start; place--, moves++)
            order[place] = order[place - 1];
        order[place] = i;
    }
    if (count && moves >= 8 * (size_t)count)
        sort_with(order, count, sizeof *order, by_start, own);
}

void timeline_pack_lanes(struct timeline *timeline)
{
    uint64_t busy_until[TIMELINE_STREAMS] = {0};
    timeline->own->packed = timeline->own->stream_count >= PACK_FROM;
    timeline->own->lane_count = 0;
    timeline->own->lane_of.count = 0;
    timeline->own->order.count = 0;
    if (timeline->own->packed)
        order_by_start(timeline->own);
    for (size_t i = 0; i < timeline->own->order.count; i++)
        vec_push(&timeline->own->lane_of, 0);
    for (size_t i = 0; i < timeline->own->order.count; i++) {
        const uint32_t number = timeline->own->order.items[i];
        const struct record *launch = launches_at(&timeline->own->launches, timeline->own->begin + number);
        int lane = 0;
        if (record_is_work(launch->kind)) {
            while (lane + 1 < TIMELINE_STREAMS && busy_until[lane] > launch->start)
                lane++;
            busy_until[lane] = launch->end > busy_until[lane] ? launch->end : busy_until[lane];
            timeline->own->lane_count = lane + 1 > timeline->own->lane_count ? lane + 1 : timeline->own->lane_count;
        }
        timeline->own->lane_of.items[number] = (uint8_t)lane;
    }
    if (timeline->own == &timeline->ranks[timeline->rank] && timeline->stream >= timeline_row_count(timeline))
        timeline->stream = timeline_row_count(timeline) ? timeline_row_count(timeline) - 1 : 0;
}

void timeline_place_window(struct timeline *timeline)
{
    uint64_t earliest, latest;
    extent(timeline, &earliest, &latest);
    const double first = timeline_since(timeline, earliest), last = timeline_since(timeline, latest);
    const double whole = last - first > LEAST_SPAN_NS ? last - first : LEAST_SPAN_NS;
    if (!(timeline->span > 0)) {
        const double step_ns = launches_step_ns(&timeline->own->launches);
        timeline->span = step_ns > 0 && step_ns * 1.02 < whole ? step_ns * 1.02 : whole;
        timeline->from = last - timeline->span;
        timeline->cursor = step_ns > 0 ? last - step_ns : timeline->from;
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
    if (!(timeline->cursor >= timeline->from)) /* NaN, too */
        timeline->cursor = timeline->from;
    if (timeline->cursor > timeline->from + timeline->span)
        timeline->cursor = timeline->from + timeline->span;
}
