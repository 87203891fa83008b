/* The order that a plan's memory demands: what a device needs that runs nodes side by side, or that must say between which two a
 * barrier stands. */
#pragma once
#include "kernels/plan.h"
#include <stdbool.h>

/* Does the node read or write any of these bytes of the arena? */
bool schedule_touches(const struct plan *plan, const struct node *node, uint64_t offset, uint64_t bytes);

/* Must `later` wait for `earlier`: does it write what the other reads or writes, or read what it writes? By the bytes of the
 * arena that their operands span, so that columns of one matrix, written by two, count as one. */
bool schedule_depends(const struct plan *plan, const struct node *later, const struct node *earlier);

/* For devices that run nodes which are `aside` on a stream of their own, in order: the last such node that node i must wait for,
 * itself or the wait of an earlier node has not covered it; −1: none. Within a phase, at whose end all are waited for. `wait` has
 * node_count places. */
void schedule_waits(const struct plan *plan, int32_t *wait);
