/* The timeline of a finished run: raw records of the latest profiled step of each pass that is whole in the window. */
#include "report/build.h"
#include <stdlib.h>

#define MAX_LAUNCHES 20000u /* a pass; a longer step is left out */

static const struct sample *latest_profiled(const struct rank *rank, int pass)
{
    for (size_t i = rank->samples.count; i-- > 0;)
        if (rank->samples.items[i].pass == pass && rank->samples.items[i].kind == STEP_PROFILED)
            return &rank->samples.items[i];
    return NULL;
}

static int by_start(const void *a, const void *b)
{
    const struct report_launch *x = a, *y = b;
    if (x->start_ns != y->start_ns)
        return x->start_ns < y->start_ns ? -1 : 1;
    return x->stream < y->stream ? -1 : x->stream > y->stream;
}

/* Steps are numbered through all passes; a process that is attached to could say otherwise. */
static bool is_of(const struct record *record, const struct sample *step)
{
    return record->step == step->step_id && record->pass == step->pass && record_is_work(record->kind);
}

static void add_step(struct report_cell *cell, const struct places *places, const struct record *records, size_t count,
                     bool from_first, const struct sample *step, size_t *capacity)
{
    size_t launches = 0;
    uint64_t origin = UNKNOWN_U64;
    for (size_t i = 0; i < count; i++)
        if (is_of(&records[i], step)) {
            launches++;
            origin = records[i].start < origin ? records[i].start : origin;
        }
    /* A step that begins at the window's edge may have lost its first records, unless these are the run's first. */
    const bool whole = launches && (records[0].step != step->step_id || from_first);
    if (!whole || launches > MAX_LAUNCHES || cell->launch_count + launches > *capacity)
        return;
    const size_t first = cell->launch_count;
    for (size_t i = 0; i < count; i++) {
        const struct record *record = &records[i];
        if (!is_of(record, step))
            continue;
        const int32_t kernel = build_rows_find(cell->rows, record);
        if (kernel < 0)
            continue;
        const struct place *place = places_at(places, record->place);
        cell->timeline[cell->launch_count++] = (struct report_launch){
            .start_ns = record->start - origin,
            .duration_ns = record->end - record->start,
            .bytes = record->kind == RECORD_COPY ? record->payload : 0,
            .kernel = (uint32_t)kernel,
            .scope = place->scope,
            .stream = record->stream,
            .kind = record->kind,
            .phase = place->phase,
            .pass = record->pass,
        };
    }
    qsort(cell->timeline + first, cell->launch_count - first, sizeof *cell->timeline, by_start);
}

void cell_build_timeline(struct report_cell *cell, const struct run *run)
{
    const struct rank *rank = run_lead(run);
    uint64_t first;
    const size_t kept = aggregate_kept(rank->aggregate, &first);
    struct record *records = malloc((kept + 1) * sizeof *records);
    if (!records)
        return; /* the timeline is a luxury */
    const size_t count = aggregate_recent(rank->aggregate, records, kept);
    size_t capacity = count;
    cell->timeline = arena_array(&cell->arena, struct report_launch, capacity + 1);
    for (int pass = 0; count && pass < PASS_COUNT; pass++) {
        const struct sample *step = cell->passes[pass].present ? latest_profiled(rank, pass) : NULL;
        if (step)
            add_step(cell, &rank->places, records, count, first == 0, step, &capacity);
    }
    free(records);
}
