#include "profiler/cover.h"
#include "base/limits.h"
#include <stdlib.h>
#include <string.h>

#define OPEN_STEPS 4
#define INTERVALS 1024

struct interval {
    uint64_t start, end;
};

/* Disjoint intervals of one step in order of time. The list is bounded: its older half is let go when it is full, and what
 * then still comes from before `floor` cannot be held against it. */
struct cover_step {
    bool used;
    uint8_t pass;
    uint32_t step, count;
    uint64_t floor, busy_ns, sum_ns;
    struct interval intervals[INTERVALS];
};

/* Adds [start, end) to the step and returns how much of it was not covered before. */
static __attribute__((noinline)) uint64_t insert(struct cover_step *step, uint64_t start, uint64_t end)
{
    if (start < step->floor)
        start = step->floor < end ? step->floor : end;
    if (start == end)
        return 0;
    struct interval *list = step->intervals;
    /* The first interval that ends at or after our start; usually there is none, or the last one. */
    uint32_t first = step->count;
    while (first > 0 && list[first - 1].end >= start)
        first--;
    uint32_t last = first; /* one past the last interval that touches ours */
    uint64_t covered = 0;
    struct interval merged = {start, end};
    for (; last < step->count && list[last].start <= end; last++) {
        const uint64_t low = list[last].start > start ? list[last].start : start;
        const uint64_t high = list[last].end < end ? list[last].end : end;
        covered += high > low ? high - low : 0;
        if (list[last].start < merged.start)
            merged.start = list[last].start;
        if (list[last].end > merged.end)
            merged.end = list[last].end;
    }
    if (last == first && step->count == INTERVALS) {
        const uint32_t half = INTERVALS / 2;
        const uint64_t floor = list[half - 1].end;
        memmove(list, list + half, (INTERVALS - half) * sizeof *list);
        step->count -= half;
        step->floor = floor;
        return insert(step, start, end);
    }
    memmove(list + first + 1, list + last, (step->count - last) * sizeof *list);
    step->count = step->count - (last - first) + 1;
    list[first] = merged;
    return end - start - covered;
}

static __attribute__((noinline)) struct cover_step *step_of(struct cover *cover, const struct record *record)
{
    if (!cover->steps && !(cover->steps = calloc(OPEN_STEPS, sizeof *cover->steps)))
        memory_exhausted(OPEN_STEPS, "steps' intervals");
    for (int i = 0; i < OPEN_STEPS; i++) {
        struct cover_step *step = &cover->steps[i];
        if (step->used && step->step == record->step && step->pass == record->pass)
            return cover->last = step;
    }
    if (record->step < cover->newest)
        return NULL; /* of a step that was closed long ago */
    struct cover_step *step = &cover->steps[cover->next++ % OPEN_STEPS];
    step->used = true;
    step->pass = record->pass;
    step->step = record->step;
    step->count = 0;
    step->floor = step->busy_ns = step->sum_ns = 0;
    cover->newest = record->step;
    struct step_cover *total = &cover->passes[record->pass];
    total->steps++;
    total->last_step = record->step;
    total->launches_before = total->last_launches;
    total->last_launches = total->last_busy_ns = total->last_sum_ns = 0;
    return cover->last = step;
}

static bool counts(const struct record *record)
{
    return record_is_work(record->kind) && !(record->flags & RECORD_WARMUP);
}

/* What records of one step that come one after another add, written back once. */
struct sums {
    uint64_t launches, sum_ns, busy_ns, first_start, last_end;
};

/* Launches mostly begin within what the latest interval covers; returns how many of the records are of the step. */
static size_t add_run(struct cover_step *step, const struct record *records, size_t count, struct sums *sums)
{
    const struct record *first = records, *end = records + count;
    struct interval latest = {UINT64_MAX, 0}; /* none: nothing begins within it */
    struct sums own = *sums;
    if (step && step->count)
        latest = step->intervals[step->count - 1];
    for (; records < end && records->step == first->step && records->pass == first->pass; records++) {
        if (!counts(records))
            continue;
        const uint64_t from = records->start, to = records->end;
        own.launches++;
        own.sum_ns += to - from;
        own.first_start = from < own.first_start ? from : own.first_start;
        own.last_end = to > own.last_end ? to : own.last_end;
        if (!step) {
            own.busy_ns += to - from;
        } else if (from >= latest.start && from <= latest.end && from >= step->floor) {
            own.busy_ns += to > latest.end ? to - latest.end : 0;
            latest.end = to > latest.end ? to : latest.end;
        } else {
            if (step->count)
                step->intervals[step->count - 1] = latest;
            own.busy_ns += insert(step, from, to);
            latest = step->count ? step->intervals[step->count - 1] : latest;
        }
    }
    if (step && step->count)
        step->intervals[step->count - 1] = latest;
    *sums = own;
    return (size_t)(records - first);
}

void cover_add(struct cover *cover, const struct record *records, size_t count)
{
    for (size_t i = 0; i < count;) {
        const struct record *record = &records[i];
        if (!counts(record)) {
            i++;
            continue;
        }
        struct step_cover *total = &cover->passes[record->pass];
        struct cover_step *step = cover->last;
        if (!step || !step->used || step->step != record->step || step->pass != record->pass)
            step = step_of(cover, record);
        struct sums sums = {.first_start = total->first_start ? total->first_start : UINT64_MAX,
                            .last_end = total->last_end};
        i += add_run(step, record, count - i, &sums);
        total->sum_ns += sums.sum_ns;
        total->busy_ns += sums.busy_ns;
        if (record->step == total->last_step) {
            total->last_launches += sums.launches;
            total->last_busy_ns += sums.busy_ns;
            total->last_sum_ns += sums.sum_ns;
        }
        total->first_start = sums.first_start;
        total->last_end = sums.last_end;
        if (step) {
            step->busy_ns += sums.busy_ns;
            step->sum_ns += sums.sum_ns;
        }
    }
}

bool cover_remove(struct cover *cover, int pass, uint32_t step)
{
    for (int i = 0; cover->steps && i < OPEN_STEPS; i++) {
        struct cover_step *open = &cover->steps[i];
        if (!open->used || open->step != step || open->pass != pass)
            continue;
        struct step_cover *total = &cover->passes[pass];
        total->steps--;
        total->busy_ns -= open->busy_ns;
        total->sum_ns -= open->sum_ns;
        if (step == total->last_step)
            total->last_launches = total->last_busy_ns = total->last_sum_ns = 0;
        open->used = false;
        return true;
    }
    return false;
}

void cover_release(struct cover *cover)
{
    free(cover->steps);
    cover->steps = cover->last = NULL;
}
