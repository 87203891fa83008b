/* Report documents made by hand for the screen: every figure follows from a table here, none from a model or a clock. */
#pragma once
#include "report/report.h"

/* Three runs: eager, compiled (faster), and one that ran out of memory. */
void document_make(struct report *report);
/* One run with counters of memory traffic, FLOPs and occupancy. */
void document_make_counted(struct report *report);
/* One run whose kernels have awkward names: 500 characters, wide, combining, control and bidirectional characters. */
void document_make_names(struct report *report);
/* One run with `count` kernels. */
void document_make_many(struct report *report, int count);
/* One run that has no kernel and no layer yet. */
void document_make_empty(struct report *report);
