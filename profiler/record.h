/* The record that every execution of every kernel becomes: 64 bytes, the same for all devices and counters. */
#pragma once
#include <stdint.h>

enum record_kind { RECORD_KERNEL, RECORD_COPY, RECORD_MEMSET, RECORD_SYNC, RECORD_OVERHEAD, RECORD_COUNTERS, RECORD_KIND_COUNT };

enum record_flag {
    RECORD_WARMUP = 1,      /* belongs to a warm-up step */
    RECORD_SCALED = 2,      /* counters were multiplexed and scaled */
    RECORD_RECOMPUTE = 4,
    RECORD_MIGRATED = 8,    /* the thread changed its core meanwhile */
};

struct record {
    uint64_t start, end, launch; /* ns, CLOCK_MONOTONIC; RECORD_COUNTERS: cycles, instructions, cache misses instead */
    uint32_t correlation;
    int32_t node;                /* -1: unattributed */
    uint32_t name;               /* interned by the worker */
    int32_t scope;               /* -1: unattributed */
    uint32_t step;               /* the session's step id */
    uint32_t sequence;           /* of its ring, from 0; a gap is loss */
    uint64_t payload;            /* bytes of a copy; counters: fourth value */
    uint16_t stream;
    uint8_t device, kind, phase, pass, flags, reserved;
};
_Static_assert(sizeof(struct record) == 64, "a record is one cache line");
