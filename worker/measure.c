#include "worker/measure.h"
#include "base/clock.h"
#include "base/unknown.h"
#include "kernels/communicator.h"
#include <stdio.h>
#include <time.h>

#define TELL_NS 1000000000u

/* What costs a system call or more is told once a second, between steps and never within one. */
static void tell_state(struct worker *worker, bool now)
{
    const uint64_t time = clock_now();
    if (!now && time - worker->told < TELL_NS)
        return;
    worker->told = time;
    const struct message_memory memory = {worker->resident_base, resident_peak()};
    reporter_send(&worker->reporter, MESSAGE_MEMORY, &memory, sizeof memory, NULL, 0);
    struct device_telemetry telemetry = {.sm_clock_mhz = UNKNOWN_DOUBLE,
                                         .memory_clock_mhz = UNKNOWN_DOUBLE,
                                         .power_w = UNKNOWN_DOUBLE,
                                         .power_limit_w = UNKNOWN_DOUBLE,
                                         .temperature_c = UNKNOWN_DOUBLE,
                                         .other_processes = UINT32_MAX,
                                         .link_bytes_per_s = UNKNOWN_DOUBLE};
    if (worker->class->telemetry && worker->class->telemetry(worker->device, &telemetry))
        reporter_send(&worker->reporter, MESSAGE_TELEMETRY, &telemetry, sizeof telemetry, NULL, 0);
    reporter_machine(&worker->reporter, &worker->began);
}

#define TRIES 4              /* of a step that the process is kept from again and again */
#define DRAINED_NS 100000000 /* until the front has taken a step's records */

/* *counts is false when the step was begun and the process kept from running meanwhile, or that of another rank, for which this one
 * waited in it: all of them leave it out, and do it again together. */
static bool tell_sample(struct worker *worker, const struct sample *sample, bool *counts, struct error *error)
{
    bool gap = watch_gap_in(&worker->watch, sample->start, sample->start + sample->wall_ns);
    if (worker->communicator && !communicator_any(worker->communicator, gap, "end the step", &gap, error))
        return false;
    *counts = !gap;
    if (!gap) {
        reporter_send(&worker->reporter, MESSAGE_SAMPLE, sample, sizeof *sample, NULL, 0);
        return true;
    }
    const struct message_suspended message = {
        .is_step = 1, .step_id = sample->step_id, .pass = sample->pass, .kind = sample->kind};
    reporter_send(&worker->reporter, MESSAGE_SUSPENDED, &message, sizeof message, NULL, 0);
    nanosleep(&(struct timespec){.tv_nsec = DRAINED_NS}, NULL); /* its launches are taken back while it is the newest */
    return true;
}

/* *told: its sample went to the front. */
static bool try_step(struct worker *worker, enum pass pass, enum step_kind kind, uint32_t index, bool *told,
                     struct error *error)
{
    const bool probed = kind != STEP_TIMED && worker->cell.profile_every > 0;
    struct step_times times = {0};
    struct sample sample = {.pass = (uint8_t)pass, .kind = (uint8_t)kind, .step = index, .step_id = ++worker->step_id};
    if (probed)
        probe_begin_step(&worker->probe, sample.step_id, (uint8_t)pass, kind == STEP_WARMUP);
    if (worker->communicator) /* the first step of all may have to wait for one that still makes ready */
        communicator_limit(worker->communicator, worker->step_id == 1 ? COMMUNICATOR_SETUP_NS : COMMUNICATOR_STEP_NS);
    if (!worker->class->run(worker->program, pass_phases(pass), sample.step_id, probed ? &worker->probe.probe : NULL,
                            &times, error))
        return error_prefix(error, "step %u of %s", index + 1, pass_name(pass));
    sample.start = times.start;
    sample.wall_ns = times.end - times.start;
    for (int phase = 0; phase < PHASE_COUNT; phase++)
        sample.phase_ns[phase] = times.phase_ns[phase];
    if (!tell_sample(worker, &sample, told, error))
        return error_prefix(error, "step %u of %s", index + 1, pass_name(pass));
    tell_state(worker, index == 0);
    return true;
}

static bool run_step(struct worker *worker, enum pass pass, enum step_kind kind, uint32_t index, struct error *error)
{
    bool told = false;
    for (int i = 0; i < TRIES && !told && !worker_stopped(worker); i++)
        if (!try_step(worker, pass, kind, index, &told, error))
            return false;
    return true;
}

static void tell_step(struct worker *worker, enum pass pass, enum step_kind kind, uint32_t index, uint32_t count)
{
    char total[16] = "";
    if (count != STEPS_FOREVER)
        snprintf(total, sizeof total, "/%u", count);
    if (kind == STEP_WARMUP)
        reporter_activity(&worker->reporter, "%s warm-up %u%s", pass_name(pass), index + 1, total);
    else
        reporter_activity(&worker->reporter, "%s %u%s%s", pass_name(pass), index + 1, total,
                          kind == STEP_PROFILED ? " profiled" : "");
}

static bool warm_up(struct worker *worker, enum pass pass, struct error *error)
{
    for (uint32_t i = 0; i < worker->cell.warmup && !worker_stopped(worker); i++) {
        tell_step(worker, pass, STEP_WARMUP, i, worker->cell.warmup);
        if (!run_step(worker, pass, STEP_WARMUP, i, error))
            return false;
    }
    return true;
}

/* Timed step `index` of a pass, with its profiled one where it is due. The order within a pair changes from pair to pair, so
 * that what the first leaves in the caches, or a drift, falls on both kinds alike. */
static bool measure_turn(struct worker *worker, enum pass pass, uint32_t index, struct error *error)
{
    const struct cell *cell = &worker->cell;
    const bool both = cell->profile_every && index % cell->profile_every == 0;
    const uint32_t pair = both ? index / cell->profile_every : 0;
    const bool profiled_first = both && pair % 2 == 1;
    for (int turn = 0; turn < (both ? 2 : 1) && !worker_stopped(worker); turn++) {
        const enum step_kind kind = both && (turn == 0) == profiled_first ? STEP_PROFILED : STEP_TIMED;
        tell_step(worker, pass, kind, index, cell->steps);
        if (!run_step(worker, pass, kind, kind == STEP_PROFILED ? pair : index, error))
            return false;
    }
    return true;
}

static bool flush(struct worker *worker, struct error *error)
{
    return !worker->class->flush || !worker->cell.profile_every ||
           worker->class->flush(worker->program, &worker->probe.probe, error);
}

/* For ever: the passes take turns, or the first would be the only one. */
static bool measure_for_ever(struct worker *worker, struct error *error)
{
    for (int pass = 0; pass < PASS_COUNT; pass++)
        if (worker->cell.passes & PASS_BIT(pass) && !warm_up(worker, (enum pass)pass, error))
            return false;
    for (uint32_t i = 0; !worker_stopped(worker); i++)
        for (int pass = 0; pass < PASS_COUNT; pass++)
            if (worker->cell.passes & PASS_BIT(pass) && !measure_turn(worker, (enum pass)pass, i, error))
                return false;
    return flush(worker, error);
}

bool measure_passes(struct worker *worker, struct error *error)
{
    reporter_stage(&worker->reporter, "steps");
    if (worker->cell.steps == STEPS_FOREVER)
        return measure_for_ever(worker, error);
    for (int pass = 0; pass < PASS_COUNT; pass++) {
        if (!(worker->cell.passes & PASS_BIT(pass)))
            continue;
        if (!warm_up(worker, (enum pass)pass, error))
            return false;
        for (uint32_t i = 0; i < worker->cell.steps && !worker_stopped(worker); i++)
            if (!measure_turn(worker, (enum pass)pass, i, error))
                return false;
        if (!flush(worker, error))
            return false;
    }
    tell_state(worker, true);
    return true;
}
