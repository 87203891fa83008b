#include "profiler/cover.h"
#include <stdio.h>
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

/* Launches mostly begin within what the last interval covers, or behind it. */
static uint64_t extend(struct cover_step *step, uint64_t start, uint64_t end)
{
    struct interval *latest = &step->intervals[step->count ? step->count - 1 : 0];
    if (!step->count || start < latest->start || start > latest->end || start < step->floor)
        return insert(step, start, end);
    const uint64_t more = end > latest->end ? end - latest->end : 0;
    latest->end += more;
    return more;
}

static __attribute__((noinline)) struct cover_step *step_of(struct cover *cover, const struct record *record)
{
    if (!cover->steps && !(cover->steps = calloc(OPEN_STEPS, sizeof *cover->steps))) {
        fprintf(stderr, "steptop: out of memory: intervals of %d steps\n", OPEN_STEPS);
        abort();
    }
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
    total->last_launches = 0;
    return cover->last = step;
}

void cover_add(struct cover *cover, const struct record *record)
{
    struct step_cover *total = &cover->passes[record->pass];
    const uint64_t duration = record->end - record->start;
    struct cover_step *step = cover->last;
    if (!step || !step->used || step->step != record->step || step->pass != record->pass)
        step = step_of(cover, record);
    const uint64_t busy = step ? extend(step, record->start, record->end) : duration;
    total->sum_ns += duration;
    total->busy_ns += busy;
    total->last_launches += record->step == total->last_step;
    if (step) {
        step->busy_ns += busy;
        step->sum_ns += duration;
    }
    if (!total->first_start || record->start < total->first_start)
        total->first_start = record->start;
    if (record->end > total->last_end)
        total->last_end = record->end;
}

bool cover_remove(struct cover *cover, int pass, uint32_t step)
{
    for (int i = 0; cover->steps && i < OPEN_STEPS; i++) {
        struct cover_step *open = &cover->steps[i];
        if (!open->used || open->step != step || open->pass != pass)
            continue;
        cover->passes[pass].steps--;
        cover->passes[pass].busy_ns -= open->busy_ns;
        cover->passes[pass].sum_ns -= open->sum_ns;
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
