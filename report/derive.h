/* What follows from the rows of a cell, worked out the same way for a live cell and for one that was read. */
#pragma once
#include "report/report.h"

/* Statistics of the phases that have samples, the overhead, means, shares and the layers' times. Entries and kernels
 * must have valid indices; allocations come from the cell's arena. */
void cell_derive(struct report_cell *cell);

/* Bytes of a category (−1: of all) at three points of training: 0 when it begins, 1 before the optimizer's step, 2 after it. By the
 * plan, and so exact for the arena: what is kept over steps, then what is live before the first node of the optimizer and after the
 * last; where the ledger of live bytes is absent, what is kept and the gradients. NaN without a plan, and 1, 2 without an optimizer. */
#define MEMORY_POINTS 3
double memory_point(const struct report_cell *cell, int point, int kind);

/* Are the first counted steps still among a phase's samples? A run without end keeps only its newest. */
bool has_first_steps(const struct report_cell *cell, const struct report_phase *phase);

/* The parts, for a live cell that keeps what did not change. */
void pass_derive(struct report_pass *pass, uint32_t profile_every);
void rows_derive(struct report_cell *cell);
