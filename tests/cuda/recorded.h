/* Activity buffers as CUPTI filled them on a card, with what the callbacks knew of them, in a file: made by bench_cupti
 * record, replayed by test_cupti_replay. Little-endian, x86-64 and aarch64 alike:
 *
 *     "steptop activity 1\n"
 *     u32 count of records, windows, buffers, names
 *     windows: u64 step, start, end
 *     records, one for each activity record in order: u32 has_launch, i32 launch.node, u64 launch.step, launch.time,
 *                                                     i32 the graph node's node (−1: none), u32 0
 *     buffers: u32 bytes, then the bytes; a kernel's `name` is its index in names, other pointers are null
 *     names: u16 length, text */
#pragma once
#include "base/error.h"
#include "kernels/cuda/cupti_internal.h"
#include <stdio.h>

#define RECORDED_MAGIC "steptop activity 1\n"

struct recorded_record {
    uint32_t has_launch;
    int32_t node;
    uint64_t step, time;
    int32_t graph_node;
    uint32_t zero;
};
_Static_assert(sizeof(struct recorded_record) == 32, "no padding in the file");

struct recorder;
struct recorder *recorder_create(void);
void recorder_free(struct recorder *recorder);
/* For source_options.tap. */
void recorder_tap(void *context, const struct cupti_source *source, const uint8_t *buffer, size_t valid);
bool recorder_write(const struct recorder *recorder, const struct cupti_source *source, const char *path,
                    struct error *error);
