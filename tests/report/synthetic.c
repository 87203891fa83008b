#include "synthetic.h"
#include "base/random.h"
#include "profiler/live.h"
#include "report/build.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEED 7

struct watcher {
    int32_t often;
    void (*watch)(struct run *run, void *context);
    void *context;
};

static uint64_t kernel_time(const struct node *node, uint32_t step, uint32_t index, double slow)
{
    const double noise = random_uniform(SEED, step + 1, index);
    return (uint64_t)((2000 + node->flops / 50 + node->bytes / 10) * slow * (0.97 + 0.06 * noise));
}

static void name_kernels(struct run *run)
{
    for (int op = 0; op < OP_COUNT; op++) {
        char name[64];
        snprintf(name, sizeof name, "synthetic_%s", op_info((enum op)op)->name);
        aggregate_name(run_lead(run)->aggregate, (uint32_t)op, name);
    }
}

/* One step of a pass: records of its nodes one after the other with a gap, and the step's sample. */
static void add_step(struct run *run, const struct plan *plan, enum pass pass, int kind, uint32_t step, uint32_t id,
                     double slow, uint64_t *clock, uint32_t *sequence, const struct watcher *watcher)
{
    const unsigned phases = pass_phases(pass);
    struct sample sample = {.pass = (uint8_t)pass, .kind = (uint8_t)kind, .step = step, .step_id = id, .start = *clock};
    for (int phase = 0; phase < PHASE_COUNT; phase++)
        sample.phase_ns[phase] = phases >> phase & 1 ? 0 : UNKNOWN_U64;
    for (int32_t n = 0; n < plan->node_count; n++) {
        const struct node *node = &plan->nodes[n];
        if (!(phases >> node->phase & 1))
            continue;
        const uint64_t time = kernel_time(node, id, (uint32_t)n, slow);
        struct record record = {
            .start = *clock,
            .end = *clock + time,
            .launch = *clock,
            .place = n,
            .name = (uint32_t)node->op,
            .step = id,
            .sequence = kind == STEP_TIMED ? 0 : (*sequence)++,
            .kind = RECORD_KERNEL,
            .pass = (uint8_t)pass,
            .flags = kind == STEP_WARMUP ? RECORD_WARMUP : 0,
        };
        if (kind != STEP_TIMED)
            aggregate_add(run_lead(run)->aggregate, &record, 1);
        *clock += time + 150;
        sample.phase_ns[node->phase] += time + 150;
        if (watcher->watch && kind != STEP_TIMED && n % watcher->often == 0)
            watcher->watch(run, watcher->context);
    }
    sample.wall_ns = *clock - sample.start + 1000;
    *clock += 5000;
    vec_push(&run_lead(run)->samples, sample);
    if (sample.kind == STEP_PROFILED)
        running_add(&run_lead(run)->profiled_wall[sample.pass], sample.wall_ns);
    if (watcher->watch)
        watcher->watch(run, watcher->context);
}

static void add_note(struct run *run, const char *key, const char *text)
{
    const struct note note = {strdup(key), strdup(text)};
    vec_push(&run->notes, note);
}

uint64_t synthetic_count(int32_t node, int counter)
{
    return 1000 * ((uint64_t)node + 1) + (uint64_t)counter;
}

void synthetic_helpers(struct run *run)
{
    struct aggregate *aggregate = run_lead(run)->aggregate;
    struct aggregate_counts counts;
    size_t count;
    aggregate_counts(aggregate, &counts);
    uint32_t sequence = (uint32_t)counts.records;
    aggregate_name(aggregate, OP_COUNT, "reduce");
    const struct entry *entries = aggregate_entries(aggregate, &count);
    for (size_t e = 0; e < count; e++)
        for (uint64_t n = 0; n < 3 * entries[e].time.n; n++) {
            const uint64_t start = aggregate_latest(aggregate) + 10;
            const struct record record = {.start = start,
                                          .end = start + entries[e].time.min / 4,
                                          .launch = start,
                                          .place = entries[e].place,
                                          .name = OP_COUNT,
                                          .step = 1,
                                          .sequence = sequence++,
                                          .kind = n % 3 ? RECORD_KERNEL : RECORD_MEMSET,
                                          .pass = entries[e].pass};
            aggregate_add(aggregate, &record, 1);
        }
    run->version++;
}

void synthetic_counters(struct run *run, const char *names)
{
    struct aggregate_counts counts;
    size_t count;
    aggregate_counts(run_lead(run)->aggregate, &counts);
    uint32_t sequence = (uint32_t)counts.records;
    const struct entry *entries = aggregate_entries(run_lead(run)->aggregate, &count);
    for (size_t e = 0; e < count; e++)
        for (uint64_t n = 0; n < entries[e].time.n; n++) {
            const struct record record = {
                .counters = {synthetic_count(entries[e].place, 0), synthetic_count(entries[e].place, 1),
                             synthetic_count(entries[e].place, 2), synthetic_count(entries[e].place, 3)},
                .place = entries[e].place,
                .name = entries[e].name,
                .sequence = sequence++,
                .kind = RECORD_COUNTERS,
                .pass = entries[e].pass,
            };
            aggregate_add(run_lead(run)->aggregate, &record, 1);
        }
    add_note(run, "counters", names);
    run->version++;
}

struct run *synthetic_run(const char *model, bool compile, uint32_t steps, double slow)
{
    return synthetic_watched(model, compile, steps, slow, 1, NULL, NULL);
}

struct run *synthetic_watched(const char *model, bool compile, uint32_t steps, double slow, int32_t often,
                              void (*watch)(struct run *run, void *context), void *context)
{
    struct cell cell;
    struct error error = {0};
    cell_default(&cell);
    if (!model_preset_find(model, &cell.model, &error)) {
        fprintf(stderr, "%s\n", error.text);
        return NULL;
    }
    cell.compile = compile;
    cell.steps = steps;
    cell.memory = true;
    cell.passes = PASS_BIT(PASS_FWD) | PASS_BIT(PASS_FWD_BWD);
    return synthetic_cell(&cell, slow, often, watch, context);
}

struct run *synthetic_cell(const struct cell *wanted, double slow, int32_t often,
                           void (*watch)(struct run *run, void *context), void *context)
{
    const struct watcher watcher = {often, watch, context};
    const struct cell cell = *wanted;
    const uint32_t steps = cell.steps;
    struct plan_request request;
    struct plan_result result;
    struct plan *plan = NULL;
    struct live_run *live = NULL;
    struct error error = {0};
    uint64_t clock = 1000000;
    uint32_t id = 0, sequence = 0;
    cell_plan_request(&cell, cell.compile ? FUSE_ALL : 0, &request);
    plan = plan_build(&request, &result, &error);
    live = plan ? live_create(1, &cell, 1 << 16, &error) : NULL;
    if (!live)
        goto failed;
    struct run *run = &live->run;
    struct rank *rank = run_lead(run);
    if (!places_of_plan(&rank->places, plan, &error))
        goto failed;
    run->plan = (struct plan_named){.known = true, .digest = plan->digest, .fusions = request.fusions};
    name_kernels(run);
    for (int pass = 0; pass < PASS_COUNT; pass++) {
        if (!(run->cell.passes >> pass & 1))
            continue;
        add_step(run, plan, (enum pass)pass, STEP_WARMUP, 0, id++, slow, &clock, &sequence, &watcher);
        for (uint32_t step = 0; step < steps; step++) {
            add_step(run, plan, (enum pass)pass, STEP_TIMED, step, id++, slow, &clock, &sequence, &watcher);
            add_step(run, plan, (enum pass)pass, STEP_PROFILED, step, id++, slow, &clock, &sequence, &watcher);
        }
    }
    run->status = STATUS_OK;
    run->started = 1000000;
    run->ended = clock;
    run->version = 1;
    snprintf(rank->device.name, sizeof rank->device.name, "cpu");
    snprintf(rank->device.model, sizeof rank->device.model, "Made-up CPU <1> | \"x\"");
    rank->device.units = 2;
    rank->device.memory_bytes = 8ull << 30;
    rank->device.free_bytes = UNKNOWN_U64;
    rank->device.clock_mhz = UNKNOWN_DOUBLE;
    rank->telemetry = (struct device_telemetry){
        UNKNOWN_DOUBLE, UNKNOWN_DOUBLE, UNKNOWN_DOUBLE, UNKNOWN_DOUBLE, UNKNOWN_DOUBLE, UINT32_MAX, "", UNKNOWN_DOUBLE};
    run->use = MACHINE_UNKNOWN;
    run->ceiling_flops_per_s = 60e9;
    run->ceiling_bytes_per_s = 12e9;
    rank->resident_peak = 123 << 20;
    rank->resident_base = 7 << 20;
    add_note(run, "counter tier", "software events: no hardware counters here (ENOENT)");
    run->workspace_bytes = run->compile_ns = run->prepare_ns = 0;
    plan_free(plan);
    add_note(run, "evil", "a|b: \033[31m\"quoted\"\nsecond line <script>");
    return run;
failed:
    fprintf(stderr, "synthetic run: %s\n", error.text);
    live_free(live);
    plan_free(plan);
    return NULL;
}

struct run *synthetic_warmup(const char *model)
{
    struct run *run = synthetic_run(model, false, 0, 1);
    if (run) {
        run->status = STATUS_RUNNING;
        run->ended = 0;
    }
    return run;
}

void synthetic_free(struct run *run)
{
    live_free((struct live_run *)run); /* whose first member it is */
}

void synthetic_report(struct report *report, const char *model, bool compile, uint32_t steps, double slow)
{
    struct run *run = synthetic_run(model, compile, steps, slow);
    report_init(report);
    if (!run)
        abort();
    cell_build(report_add_cell(report), run);
    /* Only live histograms point into the run; the document must stand without it. */
    for (size_t e = 0; e < report->cells.items[0]->entry_count; e++)
        report->cells.items[0]->entries[e].live = NULL;
    synthetic_free(run);
}
