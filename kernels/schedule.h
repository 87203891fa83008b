/* The order that a plan's memory demands: what a device needs that runs nodes side by side, or that must say between which two a
 * barrier stands. */
#pragma once
#include "kernels/plan.h"
#include <stdbool.h>

/* Must `later` wait for `earlier`: does it write what the other reads or writes, or read what it writes? By the bytes of the
 * arena that their operands span, so that columns of one matrix, written by two, count as one. */
bool schedule_depends(const struct plan *plan, const struct node *later, const struct node *earlier);
