#include "tui/form_estimate.h"
#include "base/unknown.h"
#include "report/estimate.h"
#include "tui/format.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

#define CELLS_ESTIMATED 12

static bool has_steps(const struct report_cell *run)
{
    for (int pass = 0; pass < PASS_COUNT; pass++)
        if (run->passes[pass].present && run->passes[pass].phases[PHASE_COUNT].summary.median > 0)
            return true;
    return false;
}

/* The newest run of the device; with `alike` of the same precision and mode, too, and with steps that were timed. */
static const struct report_cell *run_of(const struct report *report, const struct cell *cell, bool alike)
{
    for (size_t i = report->cells.count; i-- > 0;) {
        const struct report_cell *run = report->cells.items[i];
        if (strcmp(run->requested.device, cell->device) == 0 && !run->requested.command[0] &&
            (!alike ||
             (has_steps(run) && run->requested.dtype == cell->dtype && run->requested.compile == cell->compile)))
            return run;
    }
    return NULL;
}

/* FLOPs a second that the run's steps of a pass reached; NaN. */
static double reached(const struct report_cell *run, int pass)
{
    const double median = run ? run->passes[pass].phases[PHASE_COUNT].summary.median : UNKNOWN_DOUBLE;
    return run && run->passes[pass].present && median > 0 ? run->flops[pass] / (median / 1e9) : UNKNOWN_DOUBLE;
}

/* Seconds that all steps of a cell take; *least: it is no guess but what the ceilings allow. */
static double seconds_of(const struct report *report, const struct cell *cell, const struct estimate *estimate,
                         uint32_t *as_run, bool *least)
{
    const struct report_cell *run = run_of(report, cell, true), *any = run ? run : run_of(report, cell, false);
    const double ceiling = any ? any->ceilings.flops_per_s : UNKNOWN_DOUBLE;
    double seconds = 0;
    for (int pass = 0; pass < PASS_COUNT; pass++) {
        if (!(cell->passes & PASS_BIT(pass)))
            continue;
        double rate = reached(run, pass);
        for (int other = 0; other < PASS_COUNT && !(rate > 0); other++)
            rate = reached(run, other);
        *least |= !(rate > 0);
        seconds += estimate->flops[pass] * cell_steps(cell) / (rate > 0 ? rate : ceiling);
    }
    *as_run = run ? run->run_id : 0;
    return seconds;
}

static int put_flops(const struct cell *cell, const struct estimate *estimate, char *text, size_t size)
{
    char number[FORMAT_SIZE];
    int used = 0;
    for (int pass = 0; pass < PASS_COUNT; pass++)
        if (cell->passes & PASS_BIT(pass) && is_known(estimate->flops[pass]) && (size_t)used < size)
            used += snprintf(text + used, size - (size_t)used, "%s%sFLOP a %s", used ? ", " : "",
                             format_rate(number, estimate->flops[pass]), pass_name((enum pass)pass));
    return used;
}

void form_estimate(const struct report *report, const struct cell *cells, int count, char lines[FORM_LINES][FORM_LINE])
{
    struct estimate estimate, largest = {.memory = 0};
    struct error error = {0};
    const struct cell *at = NULL;
    double seconds = 0;
    bool least = false, endless = false;
    uint32_t as_run = 0;
    lines[0][0] = lines[1][0] = 0;
    if (count > CELLS_ESTIMATED) { /* each has a plan, and somebody types */
        snprintf(lines[0], FORM_LINE, "%d runs", count);
        return;
    }
    for (int i = 0; i < count; i++) {
        if (!estimate_cell(&cells[i], &estimate, &error))
            return;
        seconds += seconds_of(report, &cells[i], &estimate, &as_run, &least);
        endless |= cells[i].steps == STEPS_FOREVER;
        if (!at || estimate.memory > largest.memory) {
            largest = estimate;
            at = &cells[i];
        }
    }
    if (!at)
        return;
    char number[FORMAT_SIZE], free_text[FORMAT_SIZE], flops[FORM_LINE] = "";
    put_flops(at, &largest, flops, sizeof flops);
    int used = 0;
    if (count > 1)
        used = snprintf(lines[0], FORM_LINE, "%d runs; the largest: ", count);
    snprintf(lines[0] + used, FORM_LINE - (size_t)used, "%s parameters, %s",
             format_rate(number, (double)model_parameter_count(&at->model)), flops);
    const struct report_cell *run = run_of(report, at, false);
    const uint64_t available = run ? run->device.free_bytes : UNKNOWN_U64;
    const int together = cell_ranks_together(at);
    used = snprintf(lines[1], FORM_LINE, "plan %s", format_bytes(number, (double)largest.memory));
    if (together > 1)
        used += snprintf(lines[1] + used, FORM_LINE - (size_t)used, " × %d ranks", together);
    if (is_known_u64(available) && available)
        used += snprintf(lines[1] + used, FORM_LINE - (size_t)used,
                         largest.memory > available / (uint64_t)together ? ", MORE THAN the %s free" : " of %s free",
                         format_bytes(free_text, (double)available));
    if (endless)
        snprintf(lines[1] + used, FORM_LINE - (size_t)used, ", until it is stopped");
    else if (seconds > 0 && isfinite(seconds))
        snprintf(lines[1] + used, FORM_LINE - (size_t)used,
                 least ? ", at least %s (ceilings)" : ", about %s (as fast as run %u)",
                 format_duration(number, seconds * 1e9), as_run);
}
