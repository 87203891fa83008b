/* The figures of a report's first table, and the one judge of whether they can be believed. The seed's rule: forward and
 * forward with backward are passes of their own, backward is the difference of the two. Where forward did not run as a pass of
 * its own, its phase and the others of the same steps take their places. */
#pragma once
#include "kernels/plan.h"
#include "profiler/statistics.h"
#include "profiles/profile.h"

struct figure {
    double mean, sd;
}; /* ns; NaN when unknown */
struct first_figures {
    struct figure forward, backward, both;
    bool apart;      /* forward ran as a pass of its own: it is that pass, and backward the difference of means */
    enum pass steps; /* the pass that the others are of */
};

/* The timed steps of one pass: of each phase, the last being the total (wall), the samples in order and their summary. All zero
 * where the pass was not run; samples may be NULL where only the summary is known. */
struct timed_phase {
    const uint64_t *samples;
    size_t count;
    const struct summary *summary;
};
struct timed_pass {
    struct timed_phase phases[PHASE_COUNT + 1];
};

/* back mean = (fwd & back mean) − (fwd mean); back sd = √((fwd & back sd)² + (fwd sd)²). Not apart: loss and backward of each
 * step summed; without samples the sum of means, and its deviation only where one of them takes part. */
void first_figures_of(const struct timed_pass passes[PASS_COUNT], struct first_figures *figures);

/* True, with one line in `reason`, when one of the figures is negative or smaller than its own deviation. */
bool first_figures_unreliable(const struct first_figures *figures, char *reason, size_t size);
