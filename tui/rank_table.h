/* Under Runs: what each of a run's ranks did in a profiled step, a line a rank. */
#pragma once
#include "report/report.h"
#include "tui/canvas.h"

#define RANK_LINES 8 /* at most; the last says how many more there are */

/* Lines that it takes: 0 where there is one rank, or nothing is known of them yet. */
int rank_table_height(const struct report_cell *cell);
void rank_table_draw(const struct report_cell *cell, const struct area *area);
