#include "bench_cupti_parts.h"
#include "kernels/cuda/cuda_internal.h"
#include "profiler/statistics.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool source_variant_parse(const char *text, struct source_variant *variant)
{
    char copy[128], *rest = copy;
    *variant = (struct source_variant){0};
    snprintf(copy, sizeof copy, "%s", text);
    for (char *word; (word = strsep(&rest, ","));) {
        if (!strncmp(word, "buffer=", 7))
            variant->buffer_size = (size_t)atoi(word + 7) << 10;
        else if (!strncmp(word, "period=", 7))
            variant->period_ms = (uint32_t)atoi(word + 7);
        else if (!strcmp(word, "pinned"))
            variant->pinned = true;
        else if (!strcmp(word, "shared"))
            variant->shared = true;
        else if (strcmp(word, "plain"))
            return false;
    }
    return true;
}

static bool attribute_set(const struct cupti_api *api, CUpti_ActivityAttribute attribute, uint8_t value,
                          struct error *error)
{
    char text[256];
    size_t size = sizeof value;
    CUptiResult result = api->set_attribute(attribute, &size, &value);
    return result == CUPTI_SUCCESS || error_set(error, ERROR_DEVICE, "CUPTI attribute %d: %s", (int)attribute,
                                                cupti_result_text(api, result, text, sizeof text));
}

/* Attributes come before the context, so before the run is opened; the source is opened anew for other sizes, which an
 * eager program allows: it captured no graph. */
bool source_variant_open(struct gpu_run *run, const char *model, enum precision precision,
                         const struct source_variant *variant, struct error *error)
{
    struct cupti_api api;
    struct source_options options = {.buffer_size = variant->buffer_size, .period_ms = variant->period_ms};
    if (!cupti_api_load(&api, error) ||
        (variant->pinned && !attribute_set(&api, CUPTI_ACTIVITY_ATTR_MEM_ALLOCATION_TYPE_HOST_PINNED, 1, error)) ||
        (variant->shared && !attribute_set(&api, CUPTI_ACTIVITY_ATTR_PER_THREAD_ACTIVITY_BUFFER, 0, error)) ||
        !gpu_open_model(run, model, precision, false, GPU_PROFILED, error))
        return false;
    run->heard.keep = false;
    bool done = gpu_source(run) || error_set(error, ERROR_DEVICE, "%s", run->heard.notes);
    if (done && (options.buffer_size || options.period_ms)) {
        cupti_source_close(run->program->source);
        run->program->source = cupti_source_open_with(&api, &run->probe, &options, error);
        done = run->program->source != NULL;
    }
    if (!done)
        gpu_close(run);
    return done;
}

enum {
    KERNELS = 1,
    COPIES = 2,
    WAITS = 4,
    OVERHEADS = 8,
    DRIVER_CALLS = 16,
    RUNTIME_CALLS = 32,
    STEADY = 64,      /* profiled steps one after another */
    ALTERNATING = 128 /* a profiled step straight after tracing was switched on, as a run interleaves them */
};

static const struct part {
    const char *name;
    unsigned what;
} parts[] = {
    {"off", 0},
    {"launch callbacks of the driver", DRIVER_CALLS},
    {"launch callbacks of the runtime", RUNTIME_CALLS},
    {"launch callbacks, both", DRIVER_CALLS | RUNTIME_CALLS},
    {"kernels", KERNELS},
    {"kernels, copies, memsets", KERNELS | COPIES},
    {"kernels, copies, synchronization", KERNELS | COPIES | WAITS},
    {"kernels, copies, overhead", KERNELS | COPIES | OVERHEADS},
    {"all kinds", KERNELS | COPIES | WAITS | OVERHEADS},
    {"kernels, copies, both callbacks", KERNELS | COPIES | DRIVER_CALLS | RUNTIME_CALLS},
    {"all kinds and callbacks", KERNELS | COPIES | WAITS | OVERHEADS | DRIVER_CALLS | RUNTIME_CALLS},
    {"profiled step after profiled step", STEADY},
    {"profiled step after a timed one", ALTERNATING},
};
#define PARTS (int)(sizeof parts / sizeof *parts)
#define STEPS_A_TURN 3

static const struct {
    unsigned what;
    CUpti_ActivityKind kind;
} kinds[] = {{KERNELS, CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL},
             {COPIES, CUPTI_ACTIVITY_KIND_MEMCPY},
             {COPIES, CUPTI_ACTIVITY_KIND_MEMSET},
             {WAITS, CUPTI_ACTIVITY_KIND_SYNCHRONIZATION},
             {OVERHEADS, CUPTI_ACTIVITY_KIND_OVERHEAD}};

/* The calls by which an eager step launches. */
static const struct {
    unsigned what;
    CUpti_CallbackDomain domain;
    CUpti_CallbackId id;
} calls[] = {
    {DRIVER_CALLS, CUPTI_CB_DOMAIN_DRIVER_API, CUPTI_DRIVER_TRACE_CBID_cuLaunchKernel},
    {DRIVER_CALLS, CUPTI_CB_DOMAIN_DRIVER_API, CUPTI_DRIVER_TRACE_CBID_cuLaunchKernel_ptsz},
    {DRIVER_CALLS, CUPTI_CB_DOMAIN_DRIVER_API, CUPTI_DRIVER_TRACE_CBID_cuLaunchKernelEx},
    {DRIVER_CALLS, CUPTI_CB_DOMAIN_DRIVER_API, CUPTI_DRIVER_TRACE_CBID_cuLaunchKernelEx_ptsz},
    {DRIVER_CALLS, CUPTI_CB_DOMAIN_DRIVER_API, CUPTI_DRIVER_TRACE_CBID_cuMemsetD8Async},
    {DRIVER_CALLS, CUPTI_CB_DOMAIN_DRIVER_API, CUPTI_DRIVER_TRACE_CBID_cuMemsetD32Async},
    {DRIVER_CALLS, CUPTI_CB_DOMAIN_DRIVER_API, CUPTI_DRIVER_TRACE_CBID_cuMemcpyDtoDAsync_v2},
    {RUNTIME_CALLS, CUPTI_CB_DOMAIN_RUNTIME_API, CUPTI_RUNTIME_TRACE_CBID_cudaLaunchKernel_v7000},
    {RUNTIME_CALLS, CUPTI_CB_DOMAIN_RUNTIME_API, CUPTI_RUNTIME_TRACE_CBID_cudaLaunchKernelExC_v11060},
    {RUNTIME_CALLS, CUPTI_CB_DOMAIN_RUNTIME_API, CUPTI_RUNTIME_TRACE_CBID___cudaLaunchKernel_v13000},
    {RUNTIME_CALLS, CUPTI_CB_DOMAIN_RUNTIME_API, CUPTI_RUNTIME_TRACE_CBID_cudaMemsetAsync_v3020},
    {RUNTIME_CALLS, CUPTI_CB_DOMAIN_RUNTIME_API, CUPTI_RUNTIME_TRACE_CBID_cudaMemcpyAsync_v3020},
};

static void calls_switch(struct cupti_source *source, unsigned what, bool on)
{
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        if (calls[i].what & what)
            source->api->enable_callback(on, source->subscriber, calls[i].domain, calls[i].id);
}

static void kinds_switch(struct cupti_source *source, unsigned what, bool on)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (kinds[i].what & what)
            on ? source->api->enable(kinds[i].kind) : source->api->disable(kinds[i].kind);
}

/* A first step is not counted: the first activity after a switch pays 0.35 ms, unless it is just that which is asked for. */
static bool turn_take(struct gpu_run *run, const struct part *part, uint64_t *ns, struct error *error)
{
    struct cupti_source *source = gpu_source(run);
    struct step_times times;
    bool profiled = part->what & (STEADY | ALTERNATING), done = true;
    calls_switch(source, part->what, true);
    kinds_switch(source, part->what, true);
    if (!(part->what & ALTERNATING))
        done = gpu_step(run, PHASES_FWD_BWD, 1, profiled, &times, error);
    for (int i = 0; i < STEPS_A_TURN && done; i++) {
        if (part->what & ALTERNATING)
            done = gpu_step(run, PHASES_FWD_BWD, 1, false, &times, error);
        done = done && gpu_step(run, PHASES_FWD_BWD, 1, profiled, &times, error);
        ns[i] = times.end - times.start;
    }
    if (profiled)
        cupti_source_quiet(source);
    kinds_switch(source, part->what, false);
    calls_switch(source, part->what, false);
    if (part->what & (KERNELS | COPIES))
        cupti_flush_ask(source, REQUEST_FLUSH);
    return done;
}

/* Whether the host or the card sets the pace: how long before the end of the step the last launch was made. */
static bool pace_print(struct gpu_run *run, struct error *error)
{
    struct step_times times;
    run->heard.keep = true;
    bool done = gpu_step(run, PHASES_FWD_BWD, 1, true, &times, error);
    gpu_forget(run);
    done = done && gpu_step(run, PHASES_FWD_BWD, 2, true, &times, error) && gpu_flush(run, error);
    run->heard.keep = false;
    if (!done)
        return false;
    uint64_t last_launch = 0, sum = 0, waited = 0, launches = 0, late = 0;
    for (size_t i = 0; i < run->heard.events.count; i++) {
        const struct kernel_event *event = &run->heard.events.items[i];
        if (event->kind > EVENT_MEMSET)
            continue;
        launches++;
        sum += event->end - event->start;
        waited += event->start - event->launch;
        late += event->start - event->launch < 10000;
        last_launch = event->launch > last_launch ? event->launch : last_launch;
    }
    printf("one profiled step: %.3f ms, %llu activities of %.3f ms together; the last launch %.3f ms before the end; "
           "launch to start %.1f us on average, below 10 us for %.0f %%: %s\n",
           (double)(times.end - times.start) / 1e6, (unsigned long long)launches, (double)sum / 1e6,
           (double)(times.end - last_launch) / 1e6, launches ? (double)waited / 1e3 / (double)launches : 0,
           launches ? 100.0 * (double)late / (double)launches : 0,
           late * 2 > launches ? "the host sets the pace" : "the card sets the pace");
    return true;
}

/* One domain's callbacks alone: do they name every launch? */
static bool domain_print(struct gpu_run *run, unsigned what, const char *name, struct error *error)
{
    struct cupti_source *source = gpu_source(run);
    struct cupti_counts before, after;
    struct step_times times;
    bool done = gpu_flush(run, error);
    cupti_source_counts(source, &before);
    cupti_source_arm(source);
    calls_switch(source, (DRIVER_CALLS | RUNTIME_CALLS) & ~what, false);
    done = done && gpu_step(run, PHASES_FWD_BWD, 3, true, &times, error) && gpu_flush(run, error);
    cupti_source_counts(source, &after);
    cupti_source_quiet(source);
    printf("callbacks of the %s alone: %llu launches seen, %llu records with their launch, %llu without\n", name,
           (unsigned long long)(after.launches - before.launches), (unsigned long long)(after.records - before.records),
           (unsigned long long)(after.surplus - before.surplus));
    return done;
}

bool parts_print(const char *model, enum precision precision, const struct source_variant *variant, int rounds,
                 struct error *error)
{
    struct gpu_run run;
    size_t samples = (size_t)rounds * STEPS_A_TURN;
    uint64_t *ns = calloc(samples * (size_t)PARTS, sizeof *ns), ignored[STEPS_A_TURN];
    if (!ns || !source_variant_open(&run, model, precision, variant, error)) {
        free(ns);
        return false;
    }
    bool done = true;
    for (int part = 0; part < PARTS && done; part++)
        done = turn_take(&run, &parts[part], ignored, error);
    for (int round = 0; round < rounds && done; round++)
        for (int i = 0; i < PARTS && done; i++) {
            int part = (round + i) % PARTS; /* each in each place */
            done = turn_take(&run, &parts[part], ns + (size_t)part * samples + (size_t)round * STEPS_A_TURN, error);
        }
    struct cupti_counts before, after;
    cupti_source_counts(gpu_source(&run), &before);
    done = done && pace_print(&run, error);
    cupti_source_counts(gpu_source(&run), &after);
    double launches = (double)(after.launches - before.launches) / 2;
    for (int part = 0; part < PARTS && done; part++) {
        struct ratio ratio;
        struct summary summary, off;
        ratio_of_pairs(ns + (size_t)part * samples, ns, samples, &ratio);
        summary_of(ns + (size_t)part * samples, samples, &summary);
        summary_of(ns, samples, &off);
        printf("%-36s %8.3f ms  %6.3f x [%.3f, %.3f]  %+.3f us a launch\n", parts[part].name, summary.median / 1e6,
               ratio.median, ratio.low, ratio.high, (summary.median - off.median) / 1e3 / launches);
    }
    done = done && domain_print(&run, DRIVER_CALLS, "driver", error) &&
           domain_print(&run, RUNTIME_CALLS, "runtime", error);
    if (done && run.heard.notes[0])
        printf("%s", run.heard.notes);
    gpu_close(&run);
    free(ns);
    return done;
}
