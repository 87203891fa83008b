/* What CUPTI tells on the launching thread: which calls put activities on the device, and which nodes graphs are made of. */
#include "base/clock.h"
#include "kernels/cuda/cupti_internal.h"
#include <stdio.h>

/* Every call that puts an activity on the device, as the driver and as the runtime (cuBLASLt's own) know it. */
static const struct launch_call {
    CUpti_CallbackDomain domain;
    CUpti_CallbackId id;
} launch_calls[] = {
/* clang-format off */
#define DRIVER(name) {CUPTI_CB_DOMAIN_DRIVER_API, CUPTI_DRIVER_TRACE_CBID_##name}
#define RUNTIME(name) {CUPTI_CB_DOMAIN_RUNTIME_API, CUPTI_RUNTIME_TRACE_CBID_##name}
    /* clang-format on */
    DRIVER(cuLaunchKernel),
    DRIVER(cuLaunchKernel_ptsz),
    DRIVER(cuLaunchKernelEx),
    DRIVER(cuLaunchKernelEx_ptsz),
    DRIVER(cuLaunchCooperativeKernel),
    DRIVER(cuLaunchCooperativeKernel_ptsz),
    DRIVER(cuMemcpyAsync),
    DRIVER(cuMemcpyAsync_ptsz),
    DRIVER(cuMemcpyHtoDAsync_v2),
    DRIVER(cuMemcpyHtoDAsync_v2_ptsz),
    DRIVER(cuMemcpyDtoHAsync_v2),
    DRIVER(cuMemcpyDtoHAsync_v2_ptsz),
    DRIVER(cuMemcpyDtoDAsync_v2),
    DRIVER(cuMemcpyDtoDAsync_v2_ptsz),
    DRIVER(cuMemcpy2DAsync_v2),
    DRIVER(cuMemcpy2DAsync_v2_ptsz),
    DRIVER(cuMemsetD8Async),
    DRIVER(cuMemsetD8Async_ptsz),
    DRIVER(cuMemsetD16Async),
    DRIVER(cuMemsetD16Async_ptsz),
    DRIVER(cuMemsetD32Async),
    DRIVER(cuMemsetD32Async_ptsz),
    DRIVER(cuMemsetD2D8Async),
    DRIVER(cuMemsetD2D32Async),
    RUNTIME(cudaLaunchKernel_v7000),
    RUNTIME(cudaLaunchKernel_ptsz_v7000),
    RUNTIME(cudaLaunchKernelExC_v11060),
    RUNTIME(cudaLaunchKernelExC_ptsz_v11060),
    RUNTIME(__cudaLaunchKernel_v13000),
    RUNTIME(__cudaLaunchKernel_ptsz_v13000),
    RUNTIME(cudaLaunchCooperativeKernel_v9000),
    RUNTIME(cudaLaunchCooperativeKernel_ptsz_v9000),
    RUNTIME(cudaMemcpyAsync_v3020),
    RUNTIME(cudaMemcpyAsync_ptsz_v7000),
    RUNTIME(cudaMemcpy2DAsync_v3020),
    RUNTIME(cudaMemcpy2DAsync_ptsz_v7000),
    RUNTIME(cudaMemsetAsync_v3020),
    RUNTIME(cudaMemsetAsync_ptsz_v7000),
    RUNTIME(cudaMemset2DAsync_v3020),
    DRIVER(cuGraphLaunch),
    DRIVER(cuGraphLaunch_ptsz),
    RUNTIME(cudaGraphLaunch_v10000),
    RUNTIME(cudaGraphLaunch_ptsz_v10000),
#undef DRIVER
#undef RUNTIME
};
#define LAUNCH_CALLS (sizeof launch_calls / sizeof *launch_calls)

/* What else is called: copies that the host waits for, by others alone, and waiting itself, by our own programs as well. */
static const struct launch_call further_calls[] = {
/* clang-format off */
#define DRIVER(name) {CUPTI_CB_DOMAIN_DRIVER_API, CUPTI_DRIVER_TRACE_CBID_##name}
#define RUNTIME(name) {CUPTI_CB_DOMAIN_RUNTIME_API, CUPTI_RUNTIME_TRACE_CBID_##name}
    /* clang-format on */
    DRIVER(cuMemcpy),
    DRIVER(cuMemcpyAsync),
    DRIVER(cuMemcpyHtoD_v2),
    DRIVER(cuMemcpyDtoH_v2),
    DRIVER(cuMemcpyDtoD_v2),
    DRIVER(cuMemcpyPeerAsync),
    DRIVER(cuMemcpy3DAsync_v2),
    DRIVER(cuMemsetD8_v2),
    DRIVER(cuMemsetD16_v2),
    DRIVER(cuMemsetD32_v2),
    DRIVER(cuStreamSynchronize),
    DRIVER(cuStreamSynchronize_ptsz),
    DRIVER(cuCtxSynchronize),
    DRIVER(cuEventSynchronize),
    RUNTIME(cudaMemcpy_v3020),
    RUNTIME(cudaMemcpy_ptds_v7000),
    RUNTIME(cudaMemcpyPeerAsync_v4000),
    RUNTIME(cudaMemcpy3DAsync_v3020),
    RUNTIME(cudaMemset_v3020),
    RUNTIME(cudaStreamSynchronize_v3020),
    RUNTIME(cudaStreamSynchronize_ptsz_v7000),
    RUNTIME(cudaDeviceSynchronize_v3020),
    RUNTIME(cudaEventSynchronize_v3020),
#undef DRIVER
#undef RUNTIME
};
#define FURTHER_CALLS (sizeof further_calls / sizeof *further_calls)

/* Those in which the host waits for the device, and how. */
enum { WAIT_NOT, WAIT_STREAM, WAIT_CONTEXT, WAIT_EVENT, WAIT_COPY, WAIT_PERHAPS, WAITS };
static const char *const wait_names[WAITS] = {[WAIT_STREAM] = "stream synchronize",
                                              [WAIT_CONTEXT] = "context synchronize",
                                              [WAIT_EVENT] = "event synchronize",
                                              [WAIT_COPY] = "copy that is waited for",
                                              [WAIT_PERHAPS] = "copy that is waited for"};
/* clang-format off */
#define DRIVER(name) [CUPTI_DRIVER_TRACE_CBID_##name]
#define RUNTIME(name) [CUPTI_RUNTIME_TRACE_CBID_##name]
/* clang-format on */
static const uint8_t driver_waits[CUPTI_DRIVER_TRACE_CBID_SIZE] = {
    DRIVER(cuStreamSynchronize) = WAIT_STREAM,
    DRIVER(cuStreamSynchronize_ptsz) = WAIT_STREAM,
    DRIVER(cuCtxSynchronize) = WAIT_CONTEXT,
    DRIVER(cuEventSynchronize) = WAIT_EVENT,
    DRIVER(cuMemcpy) = WAIT_COPY,
    DRIVER(cuMemcpyHtoD_v2) = WAIT_COPY,
    DRIVER(cuMemcpyDtoH_v2) = WAIT_COPY,
    DRIVER(cuMemcpyAsync) = WAIT_PERHAPS, /* where the host's pages are not pinned */
    DRIVER(cuMemcpyAsync_ptsz) = WAIT_PERHAPS,
    DRIVER(cuMemcpyDtoHAsync_v2) = WAIT_PERHAPS,
    DRIVER(cuMemcpyDtoHAsync_v2_ptsz) = WAIT_PERHAPS,
};
static const uint8_t runtime_waits[CUPTI_RUNTIME_TRACE_CBID_SIZE] = {
    RUNTIME(cudaStreamSynchronize_v3020) = WAIT_STREAM,
    RUNTIME(cudaStreamSynchronize_ptsz_v7000) = WAIT_STREAM,
    RUNTIME(cudaDeviceSynchronize_v3020) = WAIT_CONTEXT,
    RUNTIME(cudaEventSynchronize_v3020) = WAIT_EVENT,
    RUNTIME(cudaMemcpy_v3020) = WAIT_COPY,
    RUNTIME(cudaMemcpy_ptds_v7000) = WAIT_COPY,
    RUNTIME(cudaMemcpyAsync_v3020) = WAIT_PERHAPS,
    RUNTIME(cudaMemcpyAsync_ptsz_v7000) = WAIT_PERHAPS,
};
#undef DRIVER
#undef RUNTIME
#define SHORT_COPY_NS 10000u /* a copy that merely was put in the queue */

/* Always on: graphs are captured while nothing is traced. */
static const struct {
    CUpti_CallbackDomain domain;
    CUpti_CallbackId id;
} standing_callbacks[] = {
    {CUPTI_CB_DOMAIN_RESOURCE, CUPTI_CBID_RESOURCE_GRAPHNODE_CREATED},
    {CUPTI_CB_DOMAIN_RESOURCE, CUPTI_CBID_RESOURCE_GRAPHNODE_CLONED},
    {CUPTI_CB_DOMAIN_STATE, CUPTI_CBID_STATE_FATAL_ERROR},
};
#define STANDING_CALLBACKS (sizeof standing_callbacks / sizeof *standing_callbacks)

/* A graph node is made while its node of the plan is current; a clone (instantiation makes them) is of the same node as its
 * original. Instantiation reports each clone as created too, before or after, and with no node current: that says nothing. */
static void graph_callback(struct cupti_source *source, CUpti_CallbackId id, const CUpti_GraphData *graph)
{
    uint64_t made, original;
    int32_t node = source_is_foreign(&source->options) ? source->options.node() : source->node;
    if (source->api->graph_node_id(graph->node, &made) != CUPTI_SUCCESS)
        return;
    if (id == CUPTI_CBID_RESOURCE_GRAPHNODE_CLONED) {
        if (source->api->graph_node_id(graph->originalNode, &original) != CUPTI_SUCCESS)
            return;
        node = graph_table_get(source->graphs, original);
    } else if (node == EVENT_NODE_NONE) {
        return;
    }
    pthread_mutex_lock(&source->graph_lock);
    graph_table_put(source->graphs, made, node); /* without memory the row is "unattributed", which is true */
    pthread_mutex_unlock(&source->graph_lock);
}

static bool call_is_graph(CUpti_CallbackDomain domain, CUpti_CallbackId id)
{
    if (domain == CUPTI_CB_DOMAIN_DRIVER_API)
        return id == CUPTI_DRIVER_TRACE_CBID_cuGraphLaunch || id == CUPTI_DRIVER_TRACE_CBID_cuGraphLaunch_ptsz;
    return id == CUPTI_RUNTIME_TRACE_CBID_cudaGraphLaunch_v10000 ||
           id == CUPTI_RUNTIME_TRACE_CBID_cudaGraphLaunch_ptsz_v10000;
}

/* cuBLASLt sets zero bytes to zero now and then: a call like any other, and nothing for the device to do. */
static bool call_is_empty(CUpti_CallbackDomain domain, CUpti_CallbackId id, const void *parameters)
{
    if (domain == CUPTI_CB_DOMAIN_RUNTIME_API)
        switch (id) {
        case CUPTI_RUNTIME_TRACE_CBID_cudaMemsetAsync_v3020:
        case CUPTI_RUNTIME_TRACE_CBID_cudaMemsetAsync_ptsz_v7000:
            return ((const cudaMemsetAsync_v3020_params *)parameters)->count == 0;
        case CUPTI_RUNTIME_TRACE_CBID_cudaMemcpyAsync_v3020:
        case CUPTI_RUNTIME_TRACE_CBID_cudaMemcpyAsync_ptsz_v7000:
            return ((const cudaMemcpyAsync_v3020_params *)parameters)->count == 0;
        default:
            return false;
        }
    switch (id) {
    case CUPTI_DRIVER_TRACE_CBID_cuMemsetD8Async:
    case CUPTI_DRIVER_TRACE_CBID_cuMemsetD8Async_ptsz:
        return ((const cuMemsetD8Async_params *)parameters)->N == 0;
    case CUPTI_DRIVER_TRACE_CBID_cuMemsetD32Async:
    case CUPTI_DRIVER_TRACE_CBID_cuMemsetD32Async_ptsz:
        return ((const cuMemsetD32Async_params *)parameters)->N == 0;
    default:
        return false;
    }
}

static uint64_t call_activities(const struct cupti_source *source, CUpti_CallbackDomain domain, CUpti_CallbackId id,
                                const CUpti_CallbackData *call)
{
    return call_is_graph(domain, id) ? source->graph_activities : !call_is_empty(domain, id, call->functionParams);
}

/* A call of the runtime may call the driver within: both ids are noted, for the record may bear either, but it is one
 * launch, made when the outer call began. One that failed put nothing on the device. This runs four times for such a call, on
 * the thread whose launches are timed: no lock, one look at the clock, and `launched`, which no other thread changes, is
 * stored and not added to. */
static _Thread_local struct {
    unsigned depth;
    uint64_t time; /* when the outermost call under way began */
    uint64_t step; /* then; of programs that are not ours */
    int32_t node;
    uint32_t switched; /* `switched` of the source then */
} calls;

void cupti_calls_forget(void)
{
    calls.depth = 0;
}

static const void *graph_of(CUpti_CallbackDomain domain, const void *parameters)
{
    if (domain == CUPTI_CB_DOMAIN_DRIVER_API)
        return ((const cuGraphLaunch_params *)parameters)->hGraph;
    return ((const cudaGraphLaunch_v10000_params *)parameters)->graphExec;
}

static unsigned wait_of(CUpti_CallbackDomain domain, CUpti_CallbackId id)
{
    if (domain == CUPTI_CB_DOMAIN_DRIVER_API)
        return id < CUPTI_DRIVER_TRACE_CBID_SIZE ? driver_waits[id] : WAIT_NOT;
    return id < CUPTI_RUNTIME_TRACE_CBID_SIZE ? runtime_waits[id] : WAIT_NOT;
}

/* Such a call puts nothing on the device. */
static bool call_is_wait(CUpti_CallbackDomain domain, CUpti_CallbackId id)
{
    const unsigned wait = wait_of(domain, id);
    return wait == WAIT_STREAM || wait == WAIT_CONTEXT || wait == WAIT_EVENT;
}

/* The outermost call is over; the source's thread hands it over, as it does records. */
static void own_wait(struct cupti_source *source, CUpti_CallbackDomain domain, CUpti_CallbackId id,
                     uint32_t correlation)
{
    const struct own_wait wait = {source->step, calls.time, clock_now(), correlation, wait_names[wait_of(domain, id)]};
    pthread_mutex_lock(&source->lock);
    if (source->wait_count < WAITS_MAX)
        source->waits[source->wait_count++] = wait;
    else
        source->waits_lost++;
    pthread_mutex_unlock(&source->lock);
}

/* The outermost call is over. */
static void foreign_wait(const struct cupti_source *source, unsigned wait)
{
    if (!source->options.waited || wait == WAIT_NOT || calls.step == LAUNCH_STEP_NONE)
        return;
    const uint64_t now = clock_now();
    if (wait != WAIT_PERHAPS || now - calls.time >= SHORT_COPY_NS)
        source->options.waited(calls.node, calls.step, wait_names[wait], calls.time, now);
}

/* Several threads launch, each with a node of its own. Nothing is counted: of a graph of somebody else's nobody knows how many
 * activities it has. */
static void foreign_callback(struct cupti_source *source, CUpti_CallbackDomain domain, CUpti_CallbackId id,
                             const CUpti_CallbackData *call)
{
    const uint32_t switched = atomic_load_explicit(&source->switched, memory_order_relaxed);
    if (calls.switched != switched)
        calls.depth = 0;
    calls.switched = switched;
    if (call->callbackSite != CUPTI_API_ENTER) {
        if (calls.depth && --calls.depth == 0)
            foreign_wait(source, wait_of(domain, id));
        return;
    }
    const bool outermost = calls.depth++ == 0;
    if (outermost) {
        calls.time = clock_now();
        if (source->options.graph && call_is_graph(domain, id))
            source->options.graph(graph_of(domain, call->functionParams));
    }
    struct launch launch = {.correlation = call->correlationId,
                            .node = source->options.node(),
                            .step = source->options.step(),
                            .time = calls.time,
                            .call = LAUNCH_CALL(domain, id)};
    if (outermost) {
        calls.node = launch.node;
        calls.step = launch.step;
    }
    launch_table_put(source->launches, &launch);
}

static void launch_callback(struct cupti_source *source, CUpti_CallbackDomain domain, CUpti_CallbackId id,
                            const CUpti_CallbackData *call)
{
    bool in_step = source->step != LAUNCH_STEP_NONE;
    const bool waits = call_is_wait(domain, id);
    uint64_t launched = atomic_load_explicit(&source->launched, memory_order_relaxed);
    if (call->callbackSite != CUPTI_API_ENTER) {
        if (!calls.depth || --calls.depth > 0 || !in_step)
            return;
        if (waits)
            own_wait(source, domain, id, call->correlationId);
        else if (call->functionReturnValue && *(const int *)call->functionReturnValue != 0)
            atomic_store_explicit(&source->launched, launched - call_activities(source, domain, id, call),
                                  memory_order_relaxed);
        return;
    }
    if (calls.depth++ == 0) {
        calls.time = clock_now();
        if (in_step && !waits)
            atomic_store_explicit(&source->launched, launched + call_activities(source, domain, id, call),
                                  memory_order_relaxed);
    }
    if (waits)
        return;
    struct launch launch = {.correlation = call->correlationId,
                            .node = call_is_graph(domain, id) ? EVENT_NODE_NONE : source->node,
                            .step = source->step,
                            .time = calls.time,
                            .call = LAUNCH_CALL(domain, id)};
    launch_table_put(source->launches, &launch);
}

void CUPTIAPI cupti_subscriber_callback(void *context, CUpti_CallbackDomain domain, CUpti_CallbackId id,
                                        const void *data)
{
    struct cupti_source *source = context;
    switch (domain) {
    case CUPTI_CB_DOMAIN_DRIVER_API:
    case CUPTI_CB_DOMAIN_RUNTIME_API:
        if (source_is_foreign(&source->options))
            foreign_callback(source, domain, id, data);
        else
            launch_callback(source, domain, id, data);
        break;
    case CUPTI_CB_DOMAIN_RESOURCE:
        graph_callback(source, id, (const CUpti_GraphData *)((const CUpti_ResourceData *)data)->resourceDescriptor);
        break;
    case CUPTI_CB_DOMAIN_STATE: {
        const CUpti_StateData *state = data;
        pthread_mutex_lock(&source->lock);
        snprintf(source->broken_text, sizeof source->broken_text,
                 "CUPTI gave up (error %d%s%s): no kernel rows from here", (int)state->notification.result,
                 state->notification.message ? ", " : "",
                 state->notification.message ? state->notification.message : "");
        pthread_mutex_unlock(&source->lock);
        atomic_store(&source->finalized, true);
        atomic_store(&source->broken, true);
        break;
    }
    default:
        break;
    }
}

CUptiResult cupti_standing_callbacks(struct cupti_source *source)
{
    CUptiResult result = CUPTI_SUCCESS;
    for (size_t i = 0; i < STANDING_CALLBACKS && result == CUPTI_SUCCESS; i++)
        result =
            source->api->enable_callback(1, source->subscriber, standing_callbacks[i].domain, standing_callbacks[i].id);
    return result;
}

/* Of a program that is not ours the driver's calls alone are watched: each of the runtime's makes one of them, whose record bears its
 * number as long as the runtime's are not watched (seen with CUPTI 13.0: of 19 060 activities all; with the runtime's alone those are
 * missed that libraries launch by the driver). Half as many callbacks, which are paid for at each launch. */
CUptiResult cupti_launch_callbacks(struct cupti_source *source, bool on)
{
    CUptiResult first = CUPTI_SUCCESS;
    const bool foreign = source_is_foreign(&source->options);
    for (size_t i = 0; i < LAUNCH_CALLS + FURTHER_CALLS; i++) {
        const struct launch_call *call = i < LAUNCH_CALLS ? &launch_calls[i] : &further_calls[i - LAUNCH_CALLS];
        if (!foreign && i >= LAUNCH_CALLS && !call_is_wait(call->domain, call->id))
            continue;
        if (foreign && call->domain == CUPTI_CB_DOMAIN_RUNTIME_API && !atomic_load(&source->runtime))
            continue;
        if (foreign && !on && source->options.graph && call_is_graph(call->domain, call->id))
            continue; /* launches of graphs may be what steps are told by: they are watched in pauses, too */
        CUptiResult result = source->api->enable_callback(on, source->subscriber, call->domain, call->id);
        /* An older CUPTI, which only other people's programs bring, does not know the newest calls, nor does its runtime. */
        if (foreign && result == CUPTI_ERROR_INVALID_PARAMETER)
            result = CUPTI_SUCCESS;
        if (first == CUPTI_SUCCESS)
            first = result;
    }
    return first;
}

void cupti_runtime_callbacks(struct cupti_source *source)
{
    atomic_store(&source->runtime, true);
    if (source->tracing)
        cupti_launch_callbacks(source, true);
}
