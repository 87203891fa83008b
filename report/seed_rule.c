#include "report/seed_rule.h"
#include <math.h>
#include <stdio.h>

static const struct summary *total_of(const struct report_cell *cell, enum pass pass)
{
    static const struct summary none = {.mean = UNKNOWN_DOUBLE, .sd = UNKNOWN_DOUBLE};
    const struct summary *summary = &cell->passes[pass].phases[PHASE_COUNT].summary;
    return cell->passes[pass].present && summary->n ? summary : &none;
}

struct seed_times seed_times_of(const struct report_cell *cell)
{
    const struct summary *forward = total_of(cell, PASS_FWD), *both = total_of(cell, PASS_FWD_BWD);
    struct seed_times times = {forward->mean, forward->sd, NAN, NAN, both->mean, both->sd};
    times.backward_mean = times.both_mean - times.forward_mean;
    times.backward_sd = sqrt(times.both_sd * times.both_sd + times.forward_sd * times.forward_sd);
    return times;
}

static bool judge(const char *how, double mean, double sd, char *reason, size_t size)
{
    if (mean < 0)
        snprintf(reason, size, "backward %s is negative (%.4g s): the steps vary more than backward takes", how,
                 mean * 1e-9);
    else if (mean < sd)
        snprintf(reason, size, "backward %s (%.4g s) is smaller than its own deviation (%.4g s); measure more steps",
                 how, mean * 1e-9, sd * 1e-9);
    else
        return false;
    return true;
}

bool seed_unreliable(const struct report_cell *cell, char *reason, size_t size)
{
    const struct seed_times times = seed_times_of(cell);
    if (judge("by difference", times.backward_mean, times.backward_sd, reason, size))
        return true;
    for (int pass = PASS_FWD_BWD; pass < PASS_COUNT; pass++) {
        const struct summary *direct = &cell->passes[pass].phases[PHASE_BWD].summary;
        if (cell->passes[pass].present && direct->n && judge("timed directly", direct->mean, direct->sd, reason, size))
            return true;
    }
    return false;
}
