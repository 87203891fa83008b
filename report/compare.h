/* Two sets of steps or rows side by side: shared by the report's own comparisons and by diff. */
#pragma once
#include "report/report.h"

/* b over a: below 1, b is faster. */
enum verdict { VERDICT_SAME, VERDICT_FASTER, VERDICT_SLOWER, VERDICT_AMBIGUOUS, VERDICT_UNCLEAR, VERDICT_COUNT };
const char *verdict_name(enum verdict verdict);

#define COMPARE_THRESHOLD 0.02 /* the smallest change that counts, where nothing else is asked for */

/* Ratio of the medians of two phases' timed samples, b ÷ a, with its 95 % interval (profiler/statistics.h); without samples,
 * of the medians or means the file gives, with an unknown interval. n is the smaller number of samples. */
struct ratio compare_phases(const struct report_phase *a, const struct report_phase *b);
/* The same without the interval, which is what takes the time. */
struct ratio compare_medians(const struct report_phase *a, const struct report_phase *b);

#define COMPARE_LEAST_STEPS 5 /* profiled, for the interval of a kernel's or a layer's ratio */
/* Ratio of two means, b ÷ a, with the interval of their standard errors: e_ratio² / ratio² = (e_a / a)² + (e_b / b)². The
 * launches of a step are not independent of each other: it is the steps, the fewer of both sides, that count. */
struct ratio compare_means(double a, double error_a, double b, double error_b, uint64_t steps);

/* faster, slower: the whole interval is on one side of 1 and the ratio is beyond the threshold. same: the whole interval is
 * within `threshold` of 1. ambiguous: neither. unclear: there is no interval, as of one to three steps. */
enum verdict compare_verdict(const struct ratio *ratio, double threshold);

/* Profiled over timed steps as percent: "+1.99 %". A profiler makes no step faster: where the figure is below nothing and its
 * interval reaches nothing, or there is none, "≈ 0". "n/a" when unknown. */
void overhead_text(const struct ratio *overhead, char *text, size_t size);
