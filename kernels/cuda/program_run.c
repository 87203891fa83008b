/* Running a program: the list of launches on the stream, or a graph captured from the same walk. */
#include "base/clock.h"
#include "base/unknown.h"
#include "kernels/adamw.h"
#include "kernels/cuda/cuda_internal.h"
#include "kernels/cuda/cupti_counters.h"
#include "kernels/cuda/cupti_source.h"
#include <stdlib.h>
#include <string.h>

bool cuda_issue_launch(struct program *program, const struct cuda_launch *launch, bool side, struct error *error)
{
    if (launch->kind == CUDA_LAUNCH_GEMM)
        return cuda_gemm_run(program, &program->gemms.items[launch->gemm], launch->a, launch->b, launch->d, side,
                             error);
    return cuda_launch_on(program, launch, side ? program->side_stream : program->device->stream, error);
}

bool cuda_launch_on(struct program *program, const struct cuda_launch *launch, CUstream stream, struct error *error)
{
    if (launch->kind == CUDA_LAUNCH_CALL)
        return launch->call(program, launch, stream, error);
    if (launch->kind == CUDA_LAUNCH_COLLECTIVE)
        return cuda_ranks_issue(program, launch, error);
    void *arguments[CUDA_LAUNCH_MAX_ARGUMENTS];
    for (int i = 0; i < launch->argument_count; ++i)
        arguments[i] = (void *)(uintptr_t)&launch->arguments[i];
    CUresult result =
        program->device->libraries.cuLaunchKernel(launch->function, launch->grid[0], launch->grid[1], launch->grid[2],
                                                  launch->block, 1, 1, launch->shared, stream, arguments, NULL);
    return result == CUDA_SUCCESS || cuda_failed(&program->device->libraries, result, launch->name, error);
}

static bool boundary_record(struct program *program, int boundary, bool capturing, struct error *error)
{
    struct device *device = program->device;
    if (capturing) /* an event node: recorded anew at every launch of the graph */
        return CUDA_OK(device,
                       cuEventRecordWithFlags(program->boundary[boundary], device->stream, CU_EVENT_RECORD_EXTERNAL),
                       error);
    return CUDA_OK(device, cuEventRecord(program->boundary[boundary], device->stream), error);
}

void cuda_source_node(struct program *program, int32_t node)
{
    cupti_source_node(program->source, node);
}

bool cuda_issue(struct program *program, unsigned phases, bool capturing, struct error *error)
{
    int last = -1;
    const bool deferred = capturing && program->steps && phases & PHASE_BIT(PHASE_BWD) &&
                          phases & PHASE_BIT(PHASE_OPT) &&
                          cuda_ranks_defers(program); /* what the optimizer waits for, it waits for launch by launch */
    for (int phase = 0; phase < PHASE_COUNT; ++phase) {
        if (!(phases & PHASE_BIT(phase)))
            continue;
        last = phase;
        if (!boundary_record(program, phase, capturing, error))
            return false;
        bool optimizer = program->steps && phases & PHASE_BIT(PHASE_BWD) && phases & PHASE_BIT(PHASE_OPT) &&
                         program->arrangement & CUDA_OPTIMIZER_EARLY;
        if (capturing && phase == PHASE_BWD && program->steps) {
            if (!cuda_schedule_issue(program, optimizer, !deferred, error))
                return false;
            continue;
        }
        for (int32_t place = program->phase_launch[phase]; place < program->phase_launch[phase + 1]; ++place) {
            int32_t i = place;
            if (phase == PHASE_OPT && deferred && !cuda_ranks_turn(program, place, &i, error))
                return false;
            const struct cuda_launch *launch = &program->launches[i];
            if (capturing && phase == PHASE_OPT && optimizer && cuda_schedule_is_early(program, i))
                continue; /* it was issued with the backward phase */
            bool first = i == program->phase_launch[phase] || launch[-1].node != launch->node;
            bool last_of_node = i + 1 == program->phase_launch[phase + 1] || launch[1].node != launch->node;
            if (first && !cuda_ranks_before(program, launch->node, error))
                return false;
            cupti_source_node(program->source, launch->node);
            if (first && !capturing)
                cupti_counters_push(program->counters, launch->node);
            if (!cuda_issue_launch(program, launch, false, error))
                return error_prefix(error, "%s of %s", op_info(program->plan->nodes[launch->node].op)->name,
                                    program->plan->scopes[program->plan->nodes[launch->node].scope].path);
            if (last_of_node && !capturing)
                cupti_counters_pop(program->counters);
        }
        if (!cuda_ranks_join(program, error))
            return false;
    }
    cupti_source_node(program->source, EVENT_NODE_NONE);
    if (capturing && phases & PHASE_BIT(PHASE_OPT) && phases & PHASE_BIT(PHASE_BWD) && program->steps &&
        program->arrangement & CUDA_OPTIMIZER_EARLY && program->pieces > 0 &&
        !CUDA_OK(program->device, cuStreamWaitEvent(program->device->stream, program->optimizer_done, 0), error))
        return false;
    return last < 0 || boundary_record(program, last + 1, capturing, error);
}

static bool count_activities(struct device *device, CUgraph graph, uint32_t *activities, struct error *error)
{
    size_t count = 0;
    *activities = 0;
    if (!CUDA_OK(device, cuGraphGetNodes(graph, NULL, &count), error))
        return false;
    CUgraphNode *nodes = calloc(count ? count : 1, sizeof *nodes);
    if (!nodes)
        return error_set(error, ERROR_MEMORY, "out of memory on the host");
    bool done = CUDA_OK(device, cuGraphGetNodes(graph, nodes, &count), error);
    for (size_t i = 0; i < count && done; ++i) {
        CUgraphNodeType type;
        done = CUDA_OK(device, cuGraphNodeGetType(nodes[i], &type), error);
        if (done && (type == CU_GRAPH_NODE_TYPE_KERNEL || type == CU_GRAPH_NODE_TYPE_MEMCPY ||
                     type == CU_GRAPH_NODE_TYPE_MEMSET))
            ++*activities;
    }
    free(nodes);
    return done;
}

static bool capture_one(struct program *program, unsigned phases, struct error *error)
{
    struct device *device = program->device;
    CUgraph graph = NULL;
    if (!CUDA_OK(device, cuStreamBeginCapture(device->stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL), error))
        return false;
    bool issued = cuda_issue(program, phases, true, error);
    struct error second = {0};
    bool done = CUDA_OK(device, cuStreamEndCapture(device->stream, &graph), issued ? error : &second) && issued;
    cupti_source_node(program->source, EVENT_NODE_NONE);
    struct cuda_graph *slot = &program->graphs[program->graph_count];
    if (done)
        done = count_activities(device, graph, &slot->activities, error) &&
               CUDA_OK(device, cuGraphInstantiate(&slot->executable, graph, 0), error);
    if (done) {
        slot->phases = phases;
        ++program->graph_count;
        done = CUDA_OK(device, cuGraphUpload(slot->executable, device->stream), error) &&
               CUDA_OK(device, cuStreamSynchronize(device->stream), error);
    }
    if (graph)
        device->libraries.cuGraphDestroy(graph);
    return done || error_prefix(error, "capturing the step in a graph");
}

bool cuda_capture_graphs(struct program *program, struct error *error)
{
    static const unsigned ranges[CUDA_MAX_GRAPHS] = {PHASES_FWD, PHASES_FWD_BWD, PHASES_TRAIN_STEP};
    for (int i = 0; i < CUDA_MAX_GRAPHS; ++i) {
        int last = 31 - __builtin_clz(ranges[i]); /* a range counts when the plan has nodes of its last phase */
        if (program->phase_launch[last] < program->phase_launch[last + 1] && !capture_one(program, ranges[i], error))
            return false;
    }
    return true;
}

/* The rates of AdamW, one number a set of values, set before the step's clock starts. */
static bool factors_renew(struct program *program, struct error *error)
{
    struct device *device = program->device;
    const int64_t step = (int64_t)++program->optimizer_step;
    for (int i = 0; i < program->optimizer_count; ++i) {
        float rate = (float)adamw_rate(&program->optimizers[i], step);
        unsigned bits;
        memcpy(&bits, &rate, sizeof bits);
        if (!CUDA_OK(
                device,
                cuMemsetD32Async(program->optimizer_factors + (unsigned)i * sizeof(float), bits, 1, device->stream),
                error))
            return false;
    }
    return CUDA_OK(device, cuStreamSynchronize(device->stream), error);
}

static bool phase_times(struct program *program, unsigned phases, struct step_times *times, struct error *error)
{
    for (int phase = 0; phase < PHASE_COUNT; ++phase) {
        times->phase_ns[phase] = UNKNOWN_U64;
        if (!(phases & PHASE_BIT(phase)))
            continue;
        float ms = 0.0f;
        if (!CUDA_OK(program->device, cuEventElapsedTime(&ms, program->boundary[phase], program->boundary[phase + 1]),
                     error))
            return false;
        times->phase_ns[phase] = (uint64_t)((double)ms * 1e6);
    }
    return true;
}

struct counted_step {
    struct program *program;
    unsigned phases;
};

static bool run_counted(void *context, struct error *error)
{
    const struct counted_step *step = context;
    return cuda_issue(step->program, step->phases, false, error) &&
           CUDA_OK(step->program->device, cuStreamSynchronize(step->program->device->stream), error);
}

/* Counters come from extra runs of the same phases on the stream, once for each set of phases. They do not change the
 * model: phases with an optimizer are counted without it, for a repeated update would. */
static void count_once(struct program *program, unsigned phases, uint64_t step_id, const struct probe *probe)
{
    struct error error = {0};
    const unsigned counted = phases & ~PHASE_BIT(PHASE_OPT);
    for (int i = 0; i < program->counted_count; ++i)
        if (program->counted[i] == phases)
            return;
    if (!counted || program->counted_count == CUDA_MAX_COUNTED)
        return;
    program->counted[program->counted_count++] = phases;
    struct counted_step step = {program, counted};
    cupti_source_quiet(program->source);
    if (cupti_counters_collect(program->counters, run_counted, &step, &error))
        cupti_counters_deliver(program->counters, program->source, probe, step_id);
    else if (probe->note) {
        probe->note(probe->context, NOTE_COUNTER_TIER, "none");
        probe->note(probe->context, NOTE_COUNTER_TIER_WHY, error.text);
    }
}

/* The first activity after tracing was switched on is slow; let it be one that no step counts. The last bytes of the rates'
 * region hold none (CUDA_MAX_OPTIMIZERS floats come first). */
static bool first_activity(struct program *program, struct error *error)
{
    struct device *device = program->device;
    return CUDA_OK(device, cuMemsetD8Async(program->optimizer_factors + CUDA_RATES_BYTES - 1, 0, 1, device->stream),
                   error) &&
           CUDA_OK(device, cuStreamSynchronize(device->stream), error);
}

bool cuda_run(struct program *program, unsigned phases, uint64_t step_id, const struct probe *probe,
              struct step_times *times, struct error *error)
{
    struct device *device = program->device;
    const struct cuda_graph *graph = NULL;
    struct step_times unused;
    if (!times)
        times = &unused;
    if (!CUDA_OK(device, cuCtxSetCurrent(device->context), error) ||
        !CUDA_OK(device, cuStreamSynchronize(device->stream), error))
        return false;
    if ((phases & PHASE_BIT(PHASE_OPT)) && !factors_renew(program, error))
        return false;
    for (int i = 0; i < program->graph_count; ++i)
        if (program->graphs[i].phases == phases)
            graph = &program->graphs[i];
    bool profiled = probe && program->source;
    if (profiled && cupti_source_arm(program->source) && !first_activity(program, error))
        return false;
    if (profiled)
        cupti_source_start(program->source, step_id);
    else
        cupti_source_quiet(program->source);
    times->start = clock_now();
    bool done;
    if (graph) {
        cupti_source_graph(program->source, graph->activities);
        done = CUDA_OK(device, cuGraphLaunch(graph->executable, device->stream), error);
    } else {
        done = cuda_issue(program, phases, false, error);
    }
    /* Also after a failed launch: what was issued must end before its memory may go. */
    struct error second = {0};
    if (done && program->ranks)
        done = cuda_ranks_wait(program, error);
    else
        done = CUDA_OK(device, cuStreamSynchronize(device->stream), done ? error : &second) && done;
    times->end = clock_now();
    if (profiled)
        cupti_source_stop(program->source);
    if (!done || !phase_times(program, phases, times, error))
        return false;
    if (profiled && program->counters)
        count_once(program, phases, step_id, probe);
    return true;
}

bool cuda_flush(struct program *program, const struct probe *probe, struct error *error)
{
    (void)probe, (void)error; /* the source knows its probe since prepare, and what it lacks it notes */
    cupti_source_flush(program->source);
    return true;
}
