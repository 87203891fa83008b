/* The record that every execution of every kernel becomes: 64 bytes, the same for all devices and counters. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum record_kind {
    RECORD_KERNEL,
    RECORD_COPY,
    RECORD_MEMSET,
    RECORD_SYNC,
    RECORD_OVERHEAD,
    RECORD_COUNTERS,
    RECORD_WAIT,
    RECORD_KIND_COUNT
};

enum record_flag {
    RECORD_WARMUP = 1,   /* belongs to a warm-up step */
    RECORD_PAGEABLE = 2, /* a copy whose side on the host is not pinned */
};

/* What the payload of other kinds says. */
enum record_wait {
    WAIT_DATA = 1,
    WAIT_RANK
};                     /* RECORD_WAIT: what the host waited for, or what was under way beside it */
#define SYNC_OF_HOST 1 /* RECORD_SYNC: the host waited, not one stream for another */

struct record {
    union {
        struct {
            uint64_t start, end, launch; /* ns, CLOCK_MONOTONIC; launch: UNKNOWN_U64 where not known */
            uint64_t payload;            /* bytes of a copy; of what waits, see above */
        };
        uint64_t counters[4]; /* RECORD_COUNTERS: what the cell's counters counted; UNKNOWN_U64 where not */
    };
    uint32_t correlation;
    int32_t place;     /* profiler/places.h; −1: unattributed */
    uint32_t name;     /* interned by its producer */
    uint32_t step;     /* the producer's step id */
    uint32_t sequence; /* of its ring, from 0; a gap is loss */
    uint16_t stream;
    uint8_t device; /* of a producer that has several */
    uint8_t rank;   /* stamped by the front when it takes the record out of the rank's ring */
    uint8_t kind, pass, flags;
    uint8_t copy; /* enum copy_direction (kernels/device.h) */
    uint8_t reserved[4];
};
_Static_assert(sizeof(struct record) == 64, "a record is one cache line");

/* Does a record of this kind take the device's time (kernels, copies, memsets)? */
static inline bool record_is_work(unsigned kind)
{
    return kind == RECORD_KERNEL || kind == RECORD_COPY || kind == RECORD_MEMSET;
}
