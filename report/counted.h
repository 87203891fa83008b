/* What hardware counters say of a kernel. Devices name their counters (kernels/device.h, EVENT_COUNTERS); here
 * they are found by name, so that screen and Markdown read them the same way. */
#pragma once
#include "report/report.h"

/* The sum of counter `name` over the launches that were counted; NaN where it was not. */
double counted_sum(const struct report_cell *cell, const struct report_kernel *kernel, const char *name);
/* The same for the mean launch. */
double counted_mean(const struct report_cell *cell, const struct report_kernel *kernel, const char *name);

/* Is the mean launch's figure mostly what the reading of the counter itself counts? Then it says of the kernel only that it is less. */
bool counted_mostly_own(const struct report_cell *cell, const struct report_kernel *kernel, const char *name);

/* Does the cell's device count memory traffic and FLOPs? Then a measured roofline can be drawn. */
bool counted_work(const struct report_cell *cell);

/* Figures made of several counters; each NaN when one of its counters is unknown or mostly the reading of it. */
double counted_ipc(const struct report_cell *cell, const struct report_kernel *kernel);       /* instructions a cycle */
double counted_occupancy(const struct report_cell *cell, const struct report_kernel *kernel); /* of the warps, 0 to 1 */
/* Work of the mean launch as the plan models it, to be held against counted_mean. */
double modelled_mean(const struct report_kernel *kernel, bool flops);
