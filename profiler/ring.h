/* Single-producer single-consumer ring of records in a memfd: the worker writes, the front drains. Neither ever waits for
 * the other: a full ring drops the record, counts it, and leaves a gap in the sequence. */
#pragma once
#include "base/error.h"
#include "profiler/record.h"
#include <stdbool.h>
#include <stddef.h>

struct ring; /* process-local handle: mapping, fd, cached indices */

/* Front: makes the memfd (sealed against resizing) with room for `capacity` records, a power of two. */
struct ring *ring_create(uint32_t capacity, struct error *error);
/* Worker: maps the fd it was given; checks magic, version, size. */
struct ring *ring_attach(int fd, struct error *error);
int ring_fd(const struct ring *ring);
void ring_close(struct ring *ring);

/* Producer. Sets record->sequence. False when the ring was full and the record was dropped. */
bool ring_push(struct ring *ring, struct record *record);
/* The same with the sequence that it has of another ring. */
bool ring_pass(struct ring *ring, const struct record *record);
void ring_count_dropped(struct ring *ring, uint64_t count); /* records lost before they reached the ring */

/* Consumer. Copies up to `max` records out; validates indices, so a producer gone mad cannot make it read outside. */
size_t ring_drain(struct ring *ring, struct record *records, size_t max);
size_t ring_waiting(const struct ring *ring);

struct ring_counts {
    uint64_t pushed, dropped, drained;
};
void ring_counts(const struct ring *ring, struct ring_counts *counts);
