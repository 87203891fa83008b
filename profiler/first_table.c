#include "profiler/first_table.h"
#include "base/limits.h"
#include "base/unknown.h"
#include <stdio.h>
#include <stdlib.h>

static const struct figure unknown = {UNKNOWN_DOUBLE, UNKNOWN_DOUBLE};

static struct figure figure_of(const struct timed_phase *phase)
{
    return phase->summary && phase->summary->n ? (struct figure){phase->summary->mean, phase->summary->sd} : unknown;
}

/* Are all of the phases' samples there, as many as steps? */
static bool have_samples(const struct timed_pass *pass, unsigned phases, size_t *count)
{
    *count = pass->phases[PHASE_COUNT].count;
    for (int phase = 0; phase < PHASE_COUNT; phase++)
        if (phases >> phase & 1 && pass->phases[phase].summary && pass->phases[phase].summary->n &&
            (pass->phases[phase].count != *count || !pass->phases[phase].samples))
            return false;
    return *count > 0;
}

/* The phases of a step added up. */
static struct figure sum_of(const struct timed_pass *pass, unsigned phases)
{
    size_t count, parts = 0;
    struct figure sum = {0, UNKNOWN_DOUBLE};
    for (int phase = 0; phase < PHASE_COUNT; phase++) {
        const struct figure part = figure_of(&pass->phases[phase]);
        if (!(phases >> phase & 1) || !is_known(part.mean))
            continue;
        sum.mean += part.mean;
        sum.sd = parts++ ? UNKNOWN_DOUBLE : part.sd;
    }
    if (!parts)
        return unknown;
    if (parts == 1 || !have_samples(pass, phases, &count))
        return sum;
    uint64_t *steps = calloc(count, sizeof *steps);
    struct summary summary;
    if (!steps)
        memory_exhausted(count, "steps' times");
    for (int phase = 0; phase < PHASE_COUNT; phase++)
        for (size_t i = 0; phases >> phase & 1 && pass->phases[phase].count && i < count; i++)
            steps[i] += pass->phases[phase].samples[i];
    summary_of(steps, count, &summary);
    free(steps);
    return (struct figure){summary.mean, summary.sd};
}

void first_figures_of(const struct timed_pass passes[PASS_COUNT], struct first_figures *figures)
{
    const unsigned backward = PHASES_FWD_BWD & ~PHASES_FWD;
    *figures = (struct first_figures){unknown, unknown, unknown, false, PASS_FWD_BWD};
    const struct figure forward = figure_of(&passes[PASS_FWD].phases[PHASE_COUNT]);
    figures->apart = is_known(forward.mean);
    figures->both = figure_of(&passes[PASS_FWD_BWD].phases[PHASE_COUNT]);
    if (!is_known(figures->both.mean)) {
        const struct figure step = sum_of(&passes[PASS_TRAIN_STEP], PHASES_FWD_BWD);
        if (is_known(step.mean)) {
            figures->both = step;
            figures->steps = PASS_TRAIN_STEP;
        }
    }
    if (figures->apart) {
        figures->forward = forward;
        figures->backward.mean = figures->both.mean - forward.mean;
        figures->backward.sd = sqrt(figures->both.sd * figures->both.sd + forward.sd * forward.sd);
    } else {
        figures->forward = figure_of(&passes[figures->steps].phases[PHASE_FWD]);
        figures->backward = sum_of(&passes[figures->steps], backward);
    }
}

bool first_figures_unreliable(const struct first_figures *figures, char *reason, size_t size)
{
    const struct {
        const char *name;
        struct figure figure;
    } judged[] = {
        {"forward", figures->forward},
        {figures->apart ? "backward by difference" : "backward timed directly", figures->backward},
        {"forward and backward", figures->both},
    };
    for (size_t i = 0; i < sizeof judged / sizeof *judged; i++) {
        const struct figure *figure = &judged[i].figure;
        if (figure->mean < 0)
            snprintf(reason, size, "%s is negative (%.4g s): the steps vary more than it takes", judged[i].name,
                     figure->mean * 1e-9);
        else if (figure->mean < figure->sd)
            snprintf(reason, size, "%s (%.4g s) is smaller than its own deviation (%.4g s); measure more steps",
                     judged[i].name, figure->mean * 1e-9, figure->sd * 1e-9);
        else
            continue;
        return true;
    }
    return false;
}
