#include "kernels/cuda/cupti_convert.h"

/* What all device activities have in common, whichever record they came in. */
struct activity {
    uint64_t start, end, graph_node;
    uint32_t correlation, runtime_correlation, stream, device;
};

/* The window that holds `time`; windows are ordered and do not overlap. */
static const struct step_window *window_at(const struct conversion *conversion, uint64_t time)
{
    size_t low = 0, high = conversion->window_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct step_window *window = &conversion->windows[middle];
        if (time < window->start)
            high = middle;
        else if (time >= window->end)
            low = middle + 1;
        else
            return window;
    }
    return NULL;
}

static enum verdict times_check(uint64_t start, uint64_t end)
{
    if (!start || !end)
        return VERDICT_NO_TIME;
    return end < start ? VERDICT_BACKWARDS : VERDICT_EVENT;
}

static void event_fill(struct kernel_event *event, enum kernel_event_kind kind, const struct activity *activity)
{
    *event = (struct kernel_event){
        .start = activity->start,
        .end = activity->end,
        .launch = activity->start,
        .correlation = activity->correlation,
        .node = EVENT_NODE_NONE,
        .stream = activity->stream < UINT16_MAX ? (uint16_t)activity->stream : UINT16_MAX,
        .kind = (uint8_t)kind,
        .device = activity->device < UINT8_MAX ? (uint8_t)activity->device : UINT8_MAX,
    };
}

/* An activity's launch says which step it is of, and its node; in a graph the graph node says the node. The order of the
 * checks matters: a record without times whose launch is known still counts against that launch. */
static enum verdict device_activity(const struct conversion *conversion, const struct activity *activity,
                                    enum kernel_event_kind kind, struct kernel_event *event, uint64_t *step)
{
    struct launch launch;
    bool seen = launch_table_get(conversion->launches, activity->correlation, &launch) ||
                launch_table_get(conversion->launches, activity->runtime_correlation, &launch);
    if (seen && launch.step == LAUNCH_STEP_NONE)
        return VERDICT_OUTSIDE;

    enum verdict times = times_check(activity->start, activity->end);
    if (!seen) {
        const struct step_window *window = window_at(conversion, activity->start);
        if (!window || times != VERDICT_EVENT)
            return VERDICT_OUTSIDE;
        event_fill(event, kind, activity);
        *step = window->step;
        return VERDICT_SURPLUS;
    }
    if (times != VERDICT_EVENT)
        return times;
    /* Where it seems to start before the call that launched it, it is that call's time which is in doubt. */
    event_fill(event, kind, activity);
    event->launch = launch.time < activity->start ? launch.time : activity->start;
    event->node = activity->graph_node ? graph_table_get(conversion->graphs, activity->graph_node) : launch.node;
    if (event->node == EVENT_NODE_NONE) /* a graph from before we came: where it was launched, where that is known */
        event->node = launch.node;
    *step = launch.step;
    return VERDICT_EVENT;
}

/* Time of the host. It has no launch, so the clock says which step it belongs to. */
static enum verdict host_activity(const struct conversion *conversion, const struct activity *activity,
                                  enum kernel_event_kind kind, struct kernel_event *event, uint64_t *step)
{
    const struct step_window *window = window_at(conversion, activity->start);
    if (!window || times_check(activity->start, activity->end) != VERDICT_EVENT)
        return VERDICT_OUTSIDE;
    event_fill(event, kind, activity);
    *step = window->step;
    struct launch call;
    if (launch_table_get(conversion->launches, activity->correlation, &call) && call.step != LAUNCH_STEP_NONE) {
        event->node = call.node;
        *step = call.step;
    }
    return VERDICT_HOST;
}

/* A copy's way and what it is called; of the host's side it is said whether its pages are pinned. */
struct copy_kind {
    enum copy_direction way;
    const char *name, *pageable;
};

static const struct copy_kind *copy_kind(unsigned kind)
{
    static const struct copy_kind other = {COPY_OTHER, "memcpy", "memcpy"};
    static const struct copy_kind kinds[] = {
        [CUPTI_ACTIVITY_MEMCPY_KIND_HTOD] = {COPY_TO_DEVICE, "memcpy host to device",
                                             "memcpy host to device, pageable"},
        [CUPTI_ACTIVITY_MEMCPY_KIND_DTOH] = {COPY_TO_HOST, "memcpy device to host", "memcpy device to host, pageable"},
        [CUPTI_ACTIVITY_MEMCPY_KIND_DTOD] = {COPY_ON_DEVICE, "memcpy device to device", "memcpy device to device"},
        [CUPTI_ACTIVITY_MEMCPY_KIND_HTOH] = {COPY_ON_HOST, "memcpy host to host", "memcpy host to host"},
        [CUPTI_ACTIVITY_MEMCPY_KIND_PTOP] = {COPY_BETWEEN_DEVICES, "memcpy peer to peer", "memcpy peer to peer"},
    };
    return kind < sizeof kinds / sizeof *kinds && kinds[kind].name ? &kinds[kind] : &other;
}

static const char *overhead_name(CUpti_ActivityOverheadKind kind)
{
    switch (kind) {
    case CUPTI_ACTIVITY_OVERHEAD_DRIVER_COMPILER:
        return "overhead: driver compiler";
    case CUPTI_ACTIVITY_OVERHEAD_CUPTI_BUFFER_FLUSH:
        return "overhead: profiler buffer flush";
    case CUPTI_ACTIVITY_OVERHEAD_CUPTI_INSTRUMENTATION:
        return "overhead: profiler instrumentation";
    case CUPTI_ACTIVITY_OVERHEAD_CUPTI_RESOURCE:
        return "overhead: profiler resources";
    case CUPTI_ACTIVITY_OVERHEAD_RUNTIME_TRIGGERED_MODULE_LOADING:
        return "overhead: module loading";
    case CUPTI_ACTIVITY_OVERHEAD_LAZY_FUNCTION_LOADING:
        return "overhead: lazy function loading";
    case CUPTI_ACTIVITY_OVERHEAD_COMMAND_BUFFER_FULL:
        return "overhead: command buffer full";
    case CUPTI_ACTIVITY_OVERHEAD_ACTIVITY_BUFFER_REQUEST:
        return "overhead: profiler buffer request";
    default:
        return "overhead";
    }
}

static bool is_handed_over(enum verdict verdict)
{
    return verdict <= VERDICT_HOST;
}

static enum verdict kernel_convert(const struct conversion *conversion, const CUpti_ActivityKernel10 *kernel,
                                   struct kernel_event *event, uint64_t *step)
{
    struct activity activity = {.start = kernel->start,
                                .end = kernel->end,
                                .graph_node = kernel->graphNodeId,
                                .correlation = kernel->correlationId,
                                .stream = kernel->streamId,
                                .device = kernel->deviceId};
    enum verdict verdict = device_activity(conversion, &activity, EVENT_KERNEL, event, step);
    if (is_handed_over(verdict))
        event->name = name_cache_symbol(conversion->names, kernel->name);
    return verdict;
}

static enum verdict copy_convert(const struct conversion *conversion, const CUpti_ActivityMemcpy6 *copy,
                                 struct kernel_event *event, uint64_t *step)
{
    struct activity activity = {.start = copy->start,
                                .end = copy->end,
                                .graph_node = copy->graphNodeId,
                                .correlation = copy->correlationId,
                                .runtime_correlation = copy->runtimeCorrelationId,
                                .stream = copy->streamId,
                                .device = copy->deviceId};
    enum verdict verdict = device_activity(conversion, &activity, EVENT_COPY, event, step);
    if (is_handed_over(verdict)) {
        const struct copy_kind *kind = copy_kind(copy->copyKind);
        event->copy = (uint8_t)kind->way;
        event->pageable = (kind->way == COPY_TO_DEVICE && copy->srcKind == CUPTI_ACTIVITY_MEMORY_KIND_PAGEABLE) ||
                          (kind->way == COPY_TO_HOST && copy->dstKind == CUPTI_ACTIVITY_MEMORY_KIND_PAGEABLE);
        event->name = name_cache_text(conversion->names, event->pageable ? kind->pageable : kind->name);
        event->bytes = copy->bytes;
    }
    return verdict;
}

static enum verdict memset_convert(const struct conversion *conversion, const CUpti_ActivityMemset4 *set,
                                   struct kernel_event *event, uint64_t *step)
{
    struct activity activity = {.start = set->start,
                                .end = set->end,
                                .graph_node = set->graphNodeId,
                                .correlation = set->correlationId,
                                .stream = set->streamId,
                                .device = set->deviceId};
    enum verdict verdict = device_activity(conversion, &activity, EVENT_MEMSET, event, step);
    if (is_handed_over(verdict)) {
        event->name = name_cache_text(conversion->names, "memset");
        event->copy = COPY_FILL;
        event->bytes = set->bytes;
    }
    return verdict;
}

enum verdict activity_convert(const struct conversion *conversion, const CUpti_Activity *record,
                              struct kernel_event *event, uint64_t *step)
{
    switch (record->kind) {
    case CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL:
    case CUPTI_ACTIVITY_KIND_KERNEL:
        return kernel_convert(conversion, (const CUpti_ActivityKernel10 *)record, event, step);
    case CUPTI_ACTIVITY_KIND_MEMCPY:
        return copy_convert(conversion, (const CUpti_ActivityMemcpy6 *)record, event, step);
    case CUPTI_ACTIVITY_KIND_MEMSET:
        return memset_convert(conversion, (const CUpti_ActivityMemset4 *)record, event, step);
    case CUPTI_ACTIVITY_KIND_OVERHEAD: {
        const CUpti_ActivityOverhead3 *overhead = (const CUpti_ActivityOverhead3 *)record;
        struct activity activity = {
            .start = overhead->start, .end = overhead->end, .correlation = overhead->correlationId};
        enum verdict verdict = host_activity(conversion, &activity, EVENT_OVERHEAD, event, step);
        if (is_handed_over(verdict))
            event->name = name_cache_text(conversion->names, overhead_name(overhead->overheadKind));
        return verdict;
    }
    default:
        return VERDICT_OUTSIDE;
    }
}

uint32_t activity_correlation(const CUpti_Activity *record)
{
    switch (record->kind) {
    case CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL:
    case CUPTI_ACTIVITY_KIND_KERNEL:
        return ((const CUpti_ActivityKernel10 *)record)->correlationId;
    case CUPTI_ACTIVITY_KIND_MEMCPY:
        return ((const CUpti_ActivityMemcpy6 *)record)->correlationId;
    case CUPTI_ACTIVITY_KIND_MEMSET:
        return ((const CUpti_ActivityMemset4 *)record)->correlationId;
    default:
        return 0;
    }
}
