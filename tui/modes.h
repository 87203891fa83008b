/* Two humps in a histogram, and what tells their launches apart. */
#pragma once
#include "report/report.h"

#define BINS (40 * HISTOGRAM_BINS_PER_OCTAVE)

/* Bins of a histogram in a row, bin (octave · 32 + bin). */
void bins_of(const struct histogram *histogram, uint64_t bins[BINS]);
double bin_edge(int bin); /* lower edge in ns; BINS gives the end of the last */

/* True when the bins have two humps with a valley of less than half of the lower one between; *valley_ns is there. */
bool modes_find(const uint64_t bins[BINS], double *valley_ns);

/* One line that names the launches on each side of the valley by their module when the modules explain them, or says that
 * they do not. */
void modes_explain(const struct report_cell *cell, int32_t kernel, double valley_ns, char *text, size_t size);
