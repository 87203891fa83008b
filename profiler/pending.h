/* An entry is some kilobytes in a dozen cache lines, and of a model's hundreds none is in the cache when its next launch comes. So the
 * latest durations of an entry wait in one line, with the key that tells whose they are, and are booked a dozen at a time: into its sums,
 * its histograms, its seconds. Nothing is lost or rounded by it: an entry is the same in whatever portions it was booked. */
#pragma once
#include "profiler/aggregate.h"

#define PENDING_MAX 11
#define SECOND_NS 1000000000u

struct pending {
    uint32_t name;
    int32_t place;
    uint8_t pass, kind, count;
    uint32_t next;   /* number of the entry that the next record was of, the last time */
    uint32_t second; /* in which all of them ended */
    uint32_t durations[PENDING_MAX];
};
_Static_assert(sizeof(struct pending) == 64, "a pending is one cache line");

/* What waits goes into the entry. */
void pending_book(struct pending *pending, struct entry *entry);
/* A duration that does not fit among those that wait, or of a warm-up step: at once. */
void entry_add(struct entry *entry, uint64_t duration, uint64_t second, bool warmup);
/* Takes a duration out of sums and histogram that was booked. The extremes stay: they still bound what is left. */
void entry_remove(struct entry *entry, uint64_t duration);
/* Asks for what booking will touch; when that has come, for the bins. */
void pending_prefetch(const struct pending *pending, const struct entry *entry);
void pending_prefetch_bins(const struct pending *pending, const struct entry *entry);
