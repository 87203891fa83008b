/* Records of one rank in, totals out: one entry for each (kernel name, place), from which kernels, layers, classes and phases are
 * rolled up. Memory depends on the number of entries, not on the length of the run. */
#pragma once
#include "profiler/idle.h"
#include "profiler/places.h"
#include "profiler/record.h"
#include "profiler/statistics.h"

#define ENTRY_RECENT 32
#define ENTRY_WINDOW 10 /* seconds that entry.window reaches back */

/* One second of an entry's launches. The squares are of the distances from the first of them: no division a launch. */
struct entry_second {
    uint64_t second, n, total, min, max, first;
    double squares;
};

struct entry {
    uint32_t name;             /* index in names */
    int32_t place;             /* -1: unattributed */
    uint8_t pass, kind, copy;  /* copy: enum copy_direction */
    bool pageable;             /* of a copy: its side on the host is not pinned */
    struct running time;       /* profiled steps without warm-up */
    uint64_t first;            /* what its mean and m2 are made of: the first duration, and the sum of the squared */
    unsigned __int128 squares; /* distances from it, exact, so that it is the same in whatever portions it came */
    struct running warmup;
    struct histogram histogram; /* without warm-up */
    struct histogram warmup_histogram;
    struct entry_second window[ENTRY_WINDOW]; /* for "last 10 s"; see entry_window */
    struct histogram window_histogram[2];     /* of two halves of the window in turns; see entry_window_histogram */
    uint64_t window_half[2];
    uint32_t recent_next;
    uint32_t recent[ENTRY_RECENT]; /* last durations in ns, saturated; a ring */
    uint64_t counters[4]; /* cycles, instructions, cache misses, page faults: sums; UNKNOWN_U64 when not counted */
    uint64_t counter_samples;
};

/* Per pass, over its profiled steps without warm-up, for "busy + idle = wall": busy is the union of the intervals of
 * kernels, copies and memsets on all streams, sum their plain sum; first_start and last_end bound the whole pass. The wall
 * time is the samples' (struct sample), not the records'. All 0 before the first record. */
struct step_cover {
    uint64_t steps, busy_ns, sum_ns, first_start, last_end;
    uint64_t last_launches, launches_before; /* of the newest step, and of the one that was the newest before */
    uint64_t last_busy_ns, last_sum_ns;      /* of the newest step, which may still be under way */
    uint32_t last_step;                      /* the newest step's id */
};

#define AGGREGATE_MAX_ENTRIES (1u << 15)
#define AGGREGATE_MAX_NAMES (1u << 14)
#define AGGREGATE_NAME_MAX 1024 /* bytes, with the end */

struct aggregate;
/* `places` (not owned) outlives the aggregate and may grow meanwhile. NULL when there is no memory. */
struct aggregate *aggregate_create(size_t timeline_records, const struct places *places);
void aggregate_free(struct aggregate *aggregate);
void aggregate_finish(struct aggregate *aggregate); /* no more records: gives back what only adding needs */
bool aggregate_name(struct aggregate *aggregate, uint32_t id,
                    const char *name); /* false: refused (too many, too long) */
/* Checks each record (times in order, indices in range, its place one of the table once that is whole) and adds it; what fails
 * the check is counted invalid and otherwise left out. A record may come before its place was said. */
void aggregate_add(struct aggregate *aggregate, const struct record *records, size_t count);

/* Books what is still pending (profiler/pending.h). Entries stay where they are until aggregate_free; between two calls their figures
 * may lag behind the records by some launches each, and fit each other. */
const struct entry *aggregate_entries(struct aggregate *aggregate, size_t *count);
/* Launches of profiled steps that ended in the last ENTRY_WINDOW seconds before `now` (ns): aggregate_latest, so that it
 * also holds for a run that has ended or is replayed. */
void entry_window(const struct entry *entry, uint64_t now, struct running *window);
/* The same for quantiles: adds the bins of the half window that is under way and of the one before, so of the last
 * ENTRY_WINDOW/2 to ENTRY_WINDOW seconds. Where launches come in thousands a second every eighth stands for eight. */
void entry_window_histogram(const struct entry *entry, uint64_t now, struct histogram *histogram);
uint64_t aggregate_latest(const struct aggregate *aggregate); /* the last end of all records; 0 before the first */
const char *aggregate_name_text(const struct aggregate *aggregate, uint32_t id); /* NULL: not said yet */
void aggregate_cover(const struct aggregate *aggregate, int pass, struct step_cover *cover);
/* A profiled step came to its end: its idle time is given its reasons (profiler/idle.h) once its records have come. `now` is the newest
 * time that was heard of, UINT64_MAX at the end; called now and then. */
void aggregate_window(struct aggregate *aggregate, unsigned pass, uint64_t start, uint64_t end);
void aggregate_settle(struct aggregate *aggregate, uint64_t now);
void aggregate_idle(const struct aggregate *aggregate, unsigned pass, struct idle_total *total);
struct aggregate_counts {
    uint64_t records, lost, invalid, unattributed;
};
/* Takes the newest step of a pass, which was cut off, out of entries and cover again: times a step are over whole steps
 * alone. Only before aggregate_finish; nothing happens when the raw records no longer hold all of the step. */
void aggregate_drop_step(struct aggregate *aggregate, int pass);
void aggregate_counts(const struct aggregate *aggregate, struct aggregate_counts *counts);
/* The latest raw records, for the timeline: how many are kept, and the number of the oldest (they count from 0); one by its
 * number, where it lies until records are added. */
size_t aggregate_kept(const struct aggregate *aggregate, uint64_t *first);
const struct record *aggregate_record(const struct aggregate *aggregate, uint64_t number);
/* A copy of them, oldest first, up to max. */
size_t aggregate_recent(const struct aggregate *aggregate, struct record *records, size_t max);
