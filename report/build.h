/* A cell of the document from a run. */
#pragma once
#include "report/report.h"

/* Makes the cell agree with the run. What did not change since the last call is kept. */
void cell_build(struct report_cell *cell, const struct run *run);

/* Which steps of a pass are its times: a kind, or −1: all but warm-up. */
int build_counted_kind(const struct run *run, const struct rank *rank, int pass);
bool build_is_of_kind(const struct sample *sample, int kind);

/* Layers and memory, from the run's plan into cell->fixed. */
void cell_build_plan(struct report_cell *cell, const struct run *run);

/* Kernels and entries from the run's aggregate. What the rows are made of stays in cell->rows from call to call, and only
 * the rows of kernels that ran since the last call are worked out anew. */
void cell_build_rows(struct report_cell *cell, const struct run *run);
void build_rows_free(struct build_rows *rows);
/* The row (index in cell->kernels) of a record's kernel, or -1. */
int32_t build_rows_find(const struct build_rows *rows, const struct record *record);

/* The latest complete profiled step of each pass, out of the aggregate's window of raw records. */
void cell_build_timeline(struct report_cell *cell, const struct run *run);
/* build_ranks.c: what several ranks did; nothing for one. */
void cell_build_ranks(struct report_cell *cell, const struct run *run);
