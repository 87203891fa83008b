/* Chrome's trace format, which ui.perfetto.dev opens: a process a cell, in it a track for the layers and one a stream, and
 * the planned memory as a counter. Slices are the launches of the latest profiled step of each pass; where a report has
 * none, one step is laid out from the kernels' means, one after the other, and its track says so.
 *
 * The format's rules, which the test checks: slices of a track nest or stand apart, times rise within a track, every event
 * has the process and track it names in an M event. Times are microseconds. */
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

static void launch_slice(struct trace *trace, size_t process, const struct report_cell *cell,
                         const struct report_launch *launch, uint64_t origin)
{
    const struct report_kernel *kernel = &cell->kernels[launch->kernel];
    slice(trace, process, FIRST_STREAM + launch->stream, kernel->name, origin + launch->start_ns, launch->duration_ns);
    strbuf_puts(trace->out, ",\"cat\":");
    escape_json(trace->out, kernel_class_name(kernel->kernel_class));
    strbuf_puts(trace->out, ",\"args\":{\"layer\":");
    escape_json(trace->out, launch->scope >= 0 ? cell->layers[launch->scope].path : "unattributed");
    strbuf_printf(trace->out, ",\"phase\":\"%s\",\"op\":", phase_name((enum phase)launch->phase));
    escape_json(trace->out, kernel->op ? kernel->op : "");
    if (launch->bytes)
        strbuf_printf(trace->out, ",\"bytes\":%llu", (unsigned long long)launch->bytes);
    strbuf_puts(trace->out, "}}");
}

/* The innermost layers in which consecutive launches of a pass ran, as slices over them: a layer that comes back later gets
 * another slice. Launches are sorted by start; on several streams they may overlap, so a slice ends where the next begins. */
static void layer_slices(struct trace *trace, size_t process, const struct report_cell *cell,
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
        if (next < count && end > launches[next].start_ns)
            end = launches[next].start_ns;
        if (launches[first].scope < 0)
            continue;
        slice(trace, process, LAYER_TRACK, cell->layers[launches[first].scope].path, origin + launches[first].start_ns,
              end - launches[first].start_ns);
        strbuf_printf(trace->out, ",\"cat\":\"layer\",\"args\":{\"phase\":\"%s\"}}",
                      phase_name((enum phase)launches[first].phase));
    }
}

/* Slices on one stream must nest or stand apart: one that begins before its predecessor ended, as by a clock's last digit,
 * and goes on after it begins where that one ends. */
static void pass_slices(struct trace *trace, size_t process, const struct report_cell *cell,
                        const struct report_launch *launches, size_t count, uint64_t origin)
{
    struct {
        uint16_t stream;
        uint64_t end;
    } streams[64];
    size_t stream_count = 0;
    for (size_t i = 0; i < count; i++) {
        struct report_launch launch = launches[i];
        size_t s = 0;
        while (s < stream_count && streams[s].stream != launch.stream)
            s++;
        if (s == stream_count && stream_count < sizeof streams / sizeof *streams) {
            streams[s].stream = launch.stream;
            streams[s].end = 0;
            stream_count++;
        }
        if (s < stream_count) {
            const uint64_t end = launch.start_ns + launch.duration_ns;
            if (launch.start_ns < streams[s].end && end > streams[s].end) {
                launch.duration_ns = end - streams[s].end;
                launch.start_ns = streams[s].end;
            }
            streams[s].end = end > streams[s].end ? end : streams[s].end;
        }
        launch_slice(trace, process, cell, &launch, origin);
    }
    layer_slices(trace, process, cell, launches, count, origin);
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
        abort();
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

static void name_streams(struct trace *trace, size_t process, const struct report_cell *cell)
{
    uint8_t seen[8192] = {0}; /* a bit a stream */
    name_track(trace, "thread_name", process, LAYER_TRACK, "layers");
    for (size_t i = 0; i < cell->launch_count; i++) {
        const uint16_t stream = cell->timeline[i].stream;
        char name[32];
        if (seen[stream / 8] >> stream % 8 & 1)
            continue;
        seen[stream / 8] |= (uint8_t)(1 << stream % 8);
        snprintf(name, sizeof name, "stream %u", stream);
        name_track(trace, "thread_name", process, FIRST_STREAM + stream, name);
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
    name_streams(trace, process, cell);
    for (size_t first = 0, next; first < cell->launch_count; first = next) {
        uint64_t end = 0;
        for (next = first; next < cell->launch_count && cell->timeline[next].pass == cell->timeline[first].pass;
             next++) {
            const uint64_t stop = cell->timeline[next].start_ns + cell->timeline[next].duration_ns;
            end = stop > end ? stop : end;
        }
        pass_slices(trace, process, cell, cell->timeline + first, next - first, origin);
        if (cell->memory.curve)
            memory_counters(trace, process, cell, cell->timeline + first, next - first, origin);
        origin += end + (uint64_t)((double)end * STEP_GAP);
    }
}

void emit_perfetto(const struct report *report, struct strbuf *out)
{
    struct trace trace = {.out = out};
    strbuf_puts(out, "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[");
    for (size_t i = 0; i < report->cells.count; i++)
        trace_cell(&trace, i + 1, report->cells.items[i]);
    strbuf_puts(out, "\n]}\n");
}
