/* Chrome's trace format, which ui.perfetto.dev opens: a process a cell, in it a track for the layers and one a stream, and
 * the planned memory as a counter. Slices are the launches of the latest profiled step of each pass; where a report has
 * none, one step is laid out from the kernels' means, one after the other, and its track says so.
 *
 * The format's rules, which the test checks: slices of a track nest or stand apart, times rise within a track, every event
 * has the process and track it names in an M event. Times are microseconds. */
#include "base/limits.h"
#include "report/emit.h"
#include "report/escape.h"
#include "report/fields.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LAYER_TRACK 1
#define FIRST_STREAM 10
#define STEP_GAP 0.1 /* between two passes, as a part of the first */

struct trace {
    struct strbuf *out;
    bool any;
};

static void event_start(struct trace *trace, const char *phase, size_t process, int track, const char *name)
{
    strbuf_puts(trace->out, trace->any ? ",\n" : "\n");
    trace->any = true;
    strbuf_printf(trace->out, "{\"ph\":\"%s\",\"pid\":%zu,\"tid\":%d,\"name\":", phase, process, track);
    escape_json(trace->out, name);
}

static void put_time(struct trace *trace, const char *key, uint64_t ns)
{
    strbuf_printf(trace->out, ",\"%s\":%llu.%03u", key, (unsigned long long)(ns / 1000), (unsigned)(ns % 1000));
}

static void name_track(struct trace *trace, const char *what, size_t process, int track, const char *name)
{
    event_start(trace, "M", process, track, what);
    strbuf_puts(trace->out, ",\"args\":{\"name\":");
    escape_json(trace->out, name);
    strbuf_puts(trace->out, "}}");
}

static void slice(struct trace *trace, size_t process, int track, const char *name, uint64_t start, uint64_t duration)
{
    event_start(trace, "X", process, track, name);
    put_time(trace, "ts", start);
    put_time(trace, "dur", duration);
}

static void launch_slice(struct trace *trace, size_t process, int track, const struct report_cell *cell,
                         const struct report_launch *launch, uint64_t origin)
{
    const struct report_kernel *kernel = &cell->kernels[launch->kernel];
    slice(trace, process, track, kernel->name, origin + launch->start_ns, launch->duration_ns);
    strbuf_puts(trace->out, ",\"cat\":");
    escape_json(trace->out, kernel_class_name(kernel->kernel_class));
    strbuf_puts(trace->out, ",\"args\":{\"layer\":");
    escape_json(trace->out, launch->scope >= 0 ? cell->layers[launch->scope].path : "unattributed");
    strbuf_printf(trace->out, ",\"phase\":\"%s\",\"op\":", phase_name((enum phase)launch->phase));
    escape_json(trace->out, kernel->op ? kernel->op : "");
    if (launch->bytes && is_known_u64(launch->bytes))
        strbuf_printf(trace->out, ",\"bytes\":%llu", (unsigned long long)launch->bytes);
    strbuf_puts(trace->out, "}}");
}

/* A track: slices on it nest or stand apart. A stream, and the layers, have a second one, and more, for slices that begin before
 * another ends and end after it: their times are told as they are. */
#define LAYERS (1u << 16) /* beside the streams' numbers */

struct lane {
    uint32_t next; /* of the same stream; 0: none */
    int track;
    VEC(uint64_t) ends; /* of the slices that are open, the outermost first */
};

/* A stream's lanes: those that are looked through for each slice, and those beyond them, of which only the one that was used longest
 * ago is asked whether it is free: a file of tens of thousands of launches that all cross is written, too. */
#define LANES_NEAR 64
struct stream {
    uint32_t first, oldest, newest, far_count; /* places in the list; 0: none */
};

struct lanes {
    VEC(struct lane) list;             /* from 1 on */
    struct stream streams[LAYERS + 1]; /* by number; the layers' */
    int extra;                         /* tracks beyond the streams' own */
};

static uint32_t lane_add(struct lanes *lanes, struct trace *trace, size_t process, uint32_t stream, int number)
{
    const int own = stream == LAYERS ? LAYER_TRACK : FIRST_STREAM + (int)stream;
    struct lane lane = {.track = number ? FIRST_STREAM + (int)LAYERS + lanes->extra++ : own};
    char name[48], whose[24] = "layers";
    if (!lanes->list.count)
        vec_push(&lanes->list, (struct lane){0});
    vec_push(&lanes->list, lane);
    if (stream != LAYERS)
        snprintf(whose, sizeof whose, "stream %u", stream);
    snprintf(name, sizeof name, number ? "%s, beside (%d)" : "%s", whose, number + 1);
    name_track(trace, "thread_name", process, lane.track, name);
    return (uint32_t)lanes->list.count - 1;
}

static void lane_close(struct lane *lane, uint64_t start)
{
    while (lane->ends.count && lane->ends.items[lane->ends.count - 1] <= start)
        lane->ends.count--;
}

/* Beyond the near lanes: one that is free, or a new one. */
static uint32_t far_lane(struct lanes *lanes, struct trace *trace, size_t process, uint32_t number, uint64_t start)
{
    struct stream *stream = &lanes->streams[number];
    uint32_t at = stream->oldest;
    if (at)
        lane_close(&lanes->list.items[at], start);
    if (at && !lanes->list.items[at].ends.count)
        stream->oldest = lanes->list.items[at].next;
    else
        at = lane_add(lanes, trace, process, number, LANES_NEAR + (int)stream->far_count++);
    lanes->list.items[at].next = 0;
    if (stream->oldest)
        lanes->list.items[stream->newest].next = at;
    else
        stream->oldest = at;
    stream->newest = at;
    return at;
}

/* The track of a slice: the first of its stream on which it nests or stands apart. Slices come in order of their start. */
static int lane_for(struct lanes *lanes, struct trace *trace, size_t process, uint32_t stream, uint64_t start,
                    uint64_t end)
{
    uint32_t at = lanes->streams[stream].first, last = 0;
    int number = 0;
    for (; at && lanes->list.items; last = at, at = lanes->list.items[at].next, number++) {
        struct lane *lane = &lanes->list.items[at];
        lane_close(lane, start);
        if (!lane->ends.count || lane->ends.items[lane->ends.count - 1] >= end)
            break;
    }
    if (!at && number == LANES_NEAR) {
        at = far_lane(lanes, trace, process, stream, start);
    } else if (!at) {
        at = lane_add(lanes, trace, process, stream, number);
        if (last)
            lanes->list.items[last].next = at;
        else
            lanes->streams[stream].first = at;
    }
    struct lane *lane = lanes->list.items ? &lanes->list.items[at] : NULL;
    if (!lane)
        abort(); /* it was added or found */
    vec_push(&lane->ends, end);
    return lane->track;
}

/* The innermost layers in which consecutive launches of a pass ran, as slices over them: a layer that comes back later gets
 * another slice. Launches are sorted by start; on several streams they may overlap, and so do then the layers. */
static void layer_slices(struct trace *trace, struct lanes *lanes, size_t process, const struct report_cell *cell,
                         const struct report_launch *launches, size_t count, uint64_t origin)
{
    for (size_t first = 0, next; first < count; first = next) {
        uint64_t end = launches[first].start_ns + launches[first].duration_ns;
        for (next = first + 1; next < count && launches[next].scope == launches[first].scope &&
                               launches[next].phase == launches[first].phase;
             next++) {
            const uint64_t stop = launches[next].start_ns + launches[next].duration_ns;
            end = stop > end ? stop : end;
        }
        if (launches[first].scope < 0)
            continue;
        const uint64_t start = launches[first].start_ns;
        slice(trace, process, lane_for(lanes, trace, process, LAYERS, start, end),
              cell->layers[launches[first].scope].path, origin + start, end - start);
        strbuf_printf(trace->out, ",\"cat\":\"layer\",\"args\":{\"phase\":\"%s\"}}",
                      phase_name((enum phase)launches[first].phase));
    }
}

static void pass_slices(struct trace *trace, struct lanes *lanes, size_t process, const struct report_cell *cell,
                        const struct report_launch *launches, size_t count, uint64_t origin)
{
    for (size_t l = 0; l < lanes->list.count; l++)
        lanes->list.items[l].ends.count = 0;
    for (size_t i = 0; i < count; i++) {
        const struct report_launch *launch = &launches[i];
        const int track =
            lane_for(lanes, trace, process, launch->stream, launch->start_ns, launch->start_ns + launch->duration_ns);
        launch_slice(trace, process, track, cell, launch, origin);
    }
    layer_slices(trace, lanes, process, cell, launches, count, origin);
}

static void memory_counter(struct trace *trace, size_t process, const struct report_cell *cell, int32_t node,
                           uint64_t time)
{
    const uint64_t *live = cell->memory.curve + (size_t)node * TENSOR_KIND_COUNT;
    event_start(trace, "C", process, 0, "planned memory");
    put_time(trace, "ts", time);
    strbuf_puts(trace->out, ",\"args\":{");
    for (int kind = 0; kind < TENSOR_KIND_COUNT; kind++)
        strbuf_printf(trace->out, "%s\"%s\":%llu", kind ? "," : "", tensor_kind_name((enum tensor_kind)kind),
                      (unsigned long long)live[kind]);
    strbuf_puts(trace->out, "}}");
}

/* The plan's memory over the pass: the n-th node of a phase stands where the n-th of its launches begins, which is where it
 * ran if each node was one launch; where there are more or fewer launches, they are shared out evenly. */
static void memory_counters(struct trace *trace, size_t process, const struct report_cell *cell,
                            const struct report_launch *launches, size_t count, uint64_t origin)
{
    const struct report_memory *memory = &cell->memory;
    uint64_t *starts = malloc((count + 1) * sizeof *starts), last = 0; /* of the launches, phase by phase */
    size_t first[PLACE_PHASE_COUNT + 1] = {0}, filled[PLACE_PHASE_COUNT] = {0};
    int32_t nodes[PLACE_PHASE_COUNT] = {0}, seen[PLACE_PHASE_COUNT] = {0};
    if (!starts)
        memory_exhausted(count, "launches");
    for (size_t i = 0; i < count; i++)
        first[launches[i].phase + 1]++;
    for (int phase = 0; phase < PLACE_PHASE_COUNT; phase++)
        first[phase + 1] += first[phase];
    for (size_t i = 0; i < count; i++)
        starts[first[launches[i].phase] + filled[launches[i].phase]++] = launches[i].start_ns;
    for (int32_t n = 0; n < memory->curve_count; n++)
        nodes[memory->curve_phase[n]]++;
    for (int32_t n = 0; n < memory->curve_count; n++) {
        const int phase = memory->curve_phase[n];
        if (!filled[phase])
            continue;
        const size_t at = (size_t)((uint64_t)seen[phase]++ * filled[phase] / (uint64_t)nodes[phase]);
        const uint64_t time = starts[first[phase] + at];
        last = time < last ? last : time;
        memory_counter(trace, process, cell, n, origin + last);
    }
    free(starts);
}

/* Without a timeline: each kernel of the longest pass once, with the time it takes in a step, phase after phase. */
static void representative_step(struct trace *trace, size_t process, const struct report_cell *cell)
{
    int pass = PASS_COUNT - 1;
    uint64_t time = 0;
    while (pass >= 0 && !(cell->passes[pass].present && cell->passes[pass].profiled_steps))
        pass--;
    if (pass < 0)
        return;
    name_track(trace, "thread_name", process, FIRST_STREAM, "one step from the kernels' means, not a recorded order");
    for (int phase = 0; phase < PLACE_PHASE_COUNT; phase++)
        for (size_t k = 0; k < cell->kernel_count; k++) {
            const struct report_kernel *kernel = &cell->kernels[k];
            const uint64_t duration = kernel->total_ns / cell->passes[pass].profiled_steps;
            if (kernel->pass != pass || kernel->phase != phase || !duration)
                continue;
            slice(trace, process, FIRST_STREAM, kernel->name, time, duration);
            strbuf_printf(trace->out, ",\"cat\":\"%s\",\"args\":{\"phase\":\"%s\"}}",
                          kernel_class_name(kernel->kernel_class), phase_name((enum phase)phase));
            time += duration;
        }
}

static void trace_cell(struct trace *trace, size_t process, const struct report_cell *cell)
{
    char title[256];
    uint64_t origin = 0;
    cell_title(&cell->requested, false, title, sizeof title);
    name_track(trace, "process_name", process, 0, title);
    if (!cell->launch_count) {
        representative_step(trace, process, cell);
        return;
    }
    struct lanes *lanes = calloc(1, sizeof *lanes);
    if (!lanes)
        memory_exhausted(1, "trace");
    lanes->streams[LAYERS].first = lane_add(lanes, trace, process, LAYERS, 0);
    for (size_t first = 0, next; first < cell->launch_count; first = next) {
        uint64_t end = 0;
        for (next = first; next < cell->launch_count && cell->timeline[next].pass == cell->timeline[first].pass;
             next++) {
            const uint64_t stop = cell->timeline[next].start_ns + cell->timeline[next].duration_ns;
            end = stop > end ? stop : end;
        }
        pass_slices(trace, lanes, process, cell, cell->timeline + first, next - first, origin);
        if (cell->memory.curve)
            memory_counters(trace, process, cell, cell->timeline + first, next - first, origin);
        origin += end + (uint64_t)((double)end * STEP_GAP);
    }
    for (size_t l = 0; l < lanes->list.count; l++)
        vec_release(&lanes->list.items[l].ends);
    vec_release(&lanes->list);
    free(lanes);
}

void emit_perfetto(const struct report *report, struct strbuf *out)
{
    struct trace trace = {.out = out};
    strbuf_puts(out, "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[");
    for (size_t i = 0; i < report->cells.count; i++)
        trace_cell(&trace, i + 1, report->cells.items[i]);
    strbuf_puts(out, "\n]}\n");
}
