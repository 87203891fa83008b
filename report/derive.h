/* What follows from the rows of a cell, worked out the same way for a live cell and for one that was read. */
#pragma once
#include "report/report.h"

/* Statistics of the phases that have samples, the overhead, means, shares and the layers' times. Entries and kernels
 * must have valid indices; allocations come from the cell's arena. */
void cell_derive(struct report_cell *cell);

/* The parts, for a live cell that keeps what did not change. */
void pass_derive(struct report_pass *pass, uint32_t profile_every);
void rows_derive(struct report_cell *cell);
