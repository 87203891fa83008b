/* What the two ways of collectives share: in memory (collectives.c) and over connections (collectives_apart.c). */
#pragma once
#include "kernels/cpu/cpu.h"

#define COLLECTIVE_BLOCK                                                                                               \
    4096 /* elements summed at a time: they stay in the first cache until they have been written everywhere */

/* sum = scale · Σ over ranks, in their order, of the `count` elements from element `first` of what lies at from[rank]. */
void collective_sum(const char *const *from, int world, enum dtype dtype, int64_t first, int64_t count, float scale,
                    float *restrict sum);
/* The sums as they are stored: themselves, or rounded into `narrow`, once for all who get them. */
const void *collective_pack(enum dtype dtype, const float *restrict sum, int64_t count, uint16_t *restrict narrow);

/* Bytes of the store that cpu_apart_run needs for any node of the plan. */
size_t cpu_apart_store(const struct plan *plan);
bool cpu_apart_run(const struct program *program, struct communicator *communicator, const struct node *node,
                   char *store, int threads, const char *what, struct error *error);
