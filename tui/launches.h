/* Launches on a time axis, oldest first: those that a live run keeps, looked at where they lie, or what a frozen screen has of them;
 * of a report a copy. */
#pragma once
#include "base/vec.h"
#include "tui/live.h"

struct launches {
    const struct run *run;          /* whose names and plan they speak of; NULL: the cell's */
    size_t rank;                    /* of the run's */
    const struct report_cell *cell; /* of a report */
    const struct record *still;     /* those that do not move; NULL: the run's */
    VEC(struct record) copy;
    uint64_t first; /* number of the oldest of the run's */
    size_t count;
};

/* How many launches may come between two that are out of order: of other streams, and of a program that is attached to within an operator,
 * which is told of when it ends. */
#define LAUNCHES_DISORDER 1024u

void launches_release(struct launches *launches);
/* Each makes them others, until the next call: those of a run's rank as the screen has them now; those of a pass in a report. */
void launches_follow(struct launches *launches, const struct live *live, const struct run *run, size_t rank);
void launches_of_report(struct launches *launches, const struct report_cell *cell, int pass);

const struct record *launches_at(const struct launches *launches, size_t index);
const char *launches_name(const struct launches *launches, const struct record *launch);
enum kernel_class launches_class(const struct launches *launches, const struct record *launch);
int32_t launches_scope(const struct launches *launches,
                       const struct record *launch); /* index in the layers; −1: of none */
int launches_phase(const struct launches *launches, const struct record *launch); /* enum phase */
/* True when records are missing between the one before and this one. */
bool launches_lost_before(const struct launches *launches, size_t index);

/* First start and last end of all, ns. They come nearly in order, so only those at either end are looked at. */
void launches_extent(const struct launches *launches, uint64_t *first, uint64_t *last);
/* Steps of a run between those of two launches, of which nothing was recorded. */
uint32_t launches_steps_between(const struct launches *launches, const struct record *before,
                                const struct record *after);
/* How much of the time from `from` to `until`, whose launches are [begin, end), lies between two recorded steps while others ran. */
uint64_t launches_unrecorded_ns(const struct launches *launches, size_t begin, size_t end, uint64_t from,
                                uint64_t until);
/* How long the newest step took that is complete; NaN when there is none. */
double launches_step_ns(const struct launches *launches);
/* The part [*begin, *end) that holds all which overlap the time from `from` to `to`, and others between them. */
void launches_range(const struct launches *launches, uint64_t from, uint64_t to, size_t *begin, size_t *end);
