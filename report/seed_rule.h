/* The seed's measuring rule: backward as the difference of two means, its deviation by the sum of variances. */
#pragma once
#include "report/report.h"

struct seed_times {
    double forward_mean, forward_sd, backward_mean, backward_sd, both_mean, both_sd;
}; /* ns; NaN */

/* back mean = (fwd & back mean) − (fwd mean); back sd = √((fwd & back sd)² + (fwd sd)²). */
struct seed_times seed_times_of(const struct report_cell *cell);

/* True, with one line in `reason`, when the cell's backward cannot be believed: negative, or smaller than its own
 * deviation, by difference or timed directly. */
bool seed_unreliable(const struct report_cell *cell, char *reason, size_t size);
