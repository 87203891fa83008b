/* Why the device did nothing: the time of a step in which no kernel of its own ran, by what it waited for. The host's steps are the
 * windows; whatever ran in one of them counts, of whichever step it was launched. Times are of one clock, so what the host did
 * meanwhile can be laid beside it. */
#pragma once
#include "profiler/record.h"
#include "profiles/profile.h"
#include <stddef.h>

enum idle_reason {
    IDLE_LAUNCH, /* launch-bound: the queue ran dry while the host was in Python, between operators or asleep */
    IDLE_SYNC,  /* the host had waited for the device, so that nothing was queued behind: .item(), a copy to the host */
    IDLE_DATA,  /* the host waited for its data loader */
    IDLE_RANK,  /* only a collective was under way: another rank was not there yet, or bytes moved */
    IDLE_QUEUE, /* the next kernel had been launched, and had not begun: dependences, gaps between queued kernels */
    IDLE_UNKNOWN, /* nothing is known of what came next */
    IDLE_REASONS
};
const char *idle_reason_name(enum idle_reason reason); /* "launch" … */
const char *idle_reason_text(enum idle_reason reason); /* a few words for people */

struct idle_total {
    uint64_t steps, wall_ns; /* that were looked at */
    uint64_t ns[IDLE_REASONS];
    int32_t sync_place; /* that asked for most of IDLE_SYNC; PLACE_UNKNOWN */
    uint64_t sync_ns;   /* of it alone */
};

struct idle;
struct idle *idle_create(void); /* NULL: no memory */
void idle_free(struct idle *idle);
/* A profiled step came to its end: its records are there or will come. Windows come in order of time. */
void idle_window(struct idle *idle, unsigned pass, uint64_t start, uint64_t end);
/* A record that aggregate_add took as valid, of any step; counters are none of its business. `collective`: of CLASS_COLLECTIVE. */
void idle_record(struct idle *idle, const struct record *record, bool collective);
struct places; /* that the records' places are of */
void idle_records(struct idle *idle, const struct record *records, size_t count, const struct places *places);
/* Looks at the windows of which no more records are expected, which `now` tells: the newest time that was heard of. UINT64_MAX: at all. */
void idle_settle(struct idle *idle, uint64_t now);
void idle_total(const struct idle *idle, unsigned pass, struct idle_total *total);
