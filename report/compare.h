/* Two sets of steps or rows side by side: shared by the report's own comparisons and by diff. */
#pragma once
#include "report/report.h"

/* b over a: below 1, b is faster. */
enum verdict { VERDICT_SAME, VERDICT_FASTER, VERDICT_SLOWER, VERDICT_AMBIGUOUS, VERDICT_COUNT };
const char *verdict_name(enum verdict verdict);

#define COMPARE_THRESHOLD 0.02 /* the smallest change that counts, where nothing else is asked for */
#define COMPARE_SAME 0.005 /* under half a percent is the same whatever the interval says */

/* Ratio of the medians of two phases' timed samples, b ÷ a, with its 95 % interval by a seeded bootstrap; without samples,
 * of the medians or means the file gives, with an unknown interval. n is the smaller number of samples. */
struct ratio compare_phases(const struct report_phase *a, const struct report_phase *b);
/* The same without the interval, which is what takes the time. */
struct ratio compare_medians(const struct report_phase *a, const struct report_phase *b);

/* same: under COMPARE_SAME, or the interval holds 1 and its farther end is within `threshold`. faster, slower: the whole
 * interval is on one side of 1 and the ratio is beyond the threshold. ambiguous: everything else, the unknown included. */
enum verdict compare_verdict(const struct ratio *ratio, double threshold);
