#include "fake_cupti.h"
#include "base/clock.h"
#include "record_size.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KINDS 64
#define CALLBACKS 1024

static struct {
    pthread_mutex_t lock; /* held while calling back, like CUPTI's own */
    CUpti_CallbackFunc callback;
    void *context;
    bool callbacks[CUPTI_CB_DOMAIN_SIZE][CALLBACKS];
    bool kinds[KINDS];
    CUpti_BuffersCallbackRequestFunc request;
    CUpti_BuffersCallbackCompleteFunc complete;
    CUpti_TimestampCallbackFunc clock;
    uint8_t *buffer;
    size_t size, used;
    uint32_t correlation;
    uint64_t next_node, device_time;
    CUptiResult subscribe_result;
    const char *holder;
    int enables_left;
    bool always_runtime, finalized;
    struct fake_state state;
} fake = {.lock = PTHREAD_MUTEX_INITIALIZER};

void fake_reset(void)
{
    CUpti_TimestampCallbackFunc clock = fake.clock; /* once a process, as in CUPTI */
    int registrations = fake.state.clock_registrations;
    uint32_t correlation = fake.correlation;
    uint64_t next_node = fake.next_node;
    memset((char *)&fake + sizeof fake.lock, 0, sizeof fake - sizeof fake.lock);
    fake.clock = clock;
    fake.state.clock_registrations = registrations;
    fake.correlation = correlation;
    fake.next_node = next_node;
    fake.enables_left = -1;
}

struct fake_state fake_state(void)
{
    pthread_mutex_lock(&fake.lock);
    struct fake_state state = fake.state;
    for (int i = 0; i < KINDS; i++)
        state.enabled_kinds += fake.kinds[i];
    state.waits_traced = fake.kinds[CUPTI_ACTIVITY_KIND_SYNCHRONIZATION];
    for (int i = 0; i < CALLBACKS; i++)
        state.enabled_launch_callbacks +=
            fake.callbacks[CUPTI_CB_DOMAIN_DRIVER_API][i] + fake.callbacks[CUPTI_CB_DOMAIN_RUNTIME_API][i];
    pthread_mutex_unlock(&fake.lock);
    return state;
}

void fake_subscribe_result(CUptiResult result, const char *holder)
{
    fake.subscribe_result = result;
    fake.holder = holder;
}

void fake_numbers_by_runtime(void)
{
    fake.always_runtime = true;
}

void fake_enable_fails_after(int calls)
{
    fake.enables_left = calls;
}

/* ---- records ---- */

static void buffer_give_back(void)
{
    if (!fake.buffer)
        return;
    uint8_t *buffer = fake.buffer;
    fake.buffer = NULL;
    fake.state.buffers_out--;
    fake.complete(NULL, 0, buffer, fake.size, fake.used);
}

/* Room for a record of `size` bytes, or NULL: dropped and counted. The buffer must come zeroed, as promised. */
static void *record_place(CUpti_ActivityKind kind, size_t size)
{
    if (!fake.kinds[kind])
        return NULL;
    if (fake.buffer && fake.used + size > fake.size)
        buffer_give_back();
    if (!fake.buffer) {
        size_t most = 1;
        fake.request(&fake.buffer, &fake.size, &most);
        fake.used = 0;
        if (fake.buffer)
            fake.state.buffers_out++;
    }
    if (!fake.buffer || fake.size < size) {
        fake.state.dropped++;
        return NULL;
    }
    uint8_t *place = fake.buffer + fake.used;
    for (size_t i = 0; i < size; i++)
        if (place[i]) {
            fprintf(stderr, "the source gave a buffer that is not zeroed\n");
            abort();
        }
    fake.used += size;
    *(CUpti_ActivityKind *)place = kind;
    return place;
}

static CUptiResult fake_next_record(uint8_t *buffer, size_t valid, CUpti_Activity **record)
{
    uint8_t *next = buffer;
    if (*record)
        next = (uint8_t *)*record + record_size((*record)->kind);
    if (next >= buffer + valid)
        return CUPTI_ERROR_MAX_LIMIT_REACHED;
    size_t size = record_size(((CUpti_Activity *)next)->kind);
    if (!size || next + size > buffer + valid)
        return CUPTI_ERROR_INVALID_KIND;
    *record = (CUpti_Activity *)next;
    return CUPTI_SUCCESS;
}

static void kernel_record(const char *name, uint32_t correlation, uint64_t graph_node, uint64_t launched,
                          enum fake_fault fault)
{
    if (fault == FAKE_LOST || fault == FAKE_REFUSED)
        return;
    CUpti_ActivityKernel10 *kernel = record_place(CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL, sizeof *kernel);
    if (!kernel)
        return;
    uint64_t start = fake.device_time > launched ? fake.device_time : launched;
    kernel->start = start + 10;
    kernel->end = start + 110;
    fake.device_time = kernel->end;
    if (fault == FAKE_NO_TIME)
        kernel->start = kernel->end = 0;
    if (fault == FAKE_BACKWARDS)
        kernel->end = kernel->start - 1;
    if (fault == FAKE_EARLY)
        kernel->start = launched - 1;
    kernel->correlationId = correlation;
    kernel->graphNodeId = graph_node ? (UINT64_C(5) << 32) + graph_node : 0;
    kernel->streamId = 7;
    kernel->name = name;
}

/* ---- launches ---- */

static void api_callback(CUpti_CallbackDomain domain, CUpti_CallbackId id, CUpti_ApiCallbackSite site,
                         uint32_t correlation, int result)
{
    if (!fake.callbacks[domain][id])
        return;
    fake.state.api_callbacks++;
    static const char parameters[64]; /* zeros: an empty memset, where it is one */
    CUpti_CallbackData data = {.callbackSite = site,
                               .correlationId = correlation,
                               .functionReturnValue = &result,
                               .functionParams = &parameters};
    if (!fake.state.subscribed)
        fake.state.callbacks_after_unsubscribe++;
    fake.callback(fake.context, domain, id, &data);
}

void fake_launch(const char *name, enum fake_fault fault, bool nested)
{
    pthread_mutex_lock(&fake.lock);
    const bool runtime = fake.callbacks[CUPTI_CB_DOMAIN_RUNTIME_API][CUPTI_RUNTIME_TRACE_CBID_cudaLaunchKernel_v7000] ||
                         fake.always_runtime;
    uint32_t outer = ++fake.correlation, inner = nested && runtime ? ++fake.correlation : outer;
    int result = fault == FAKE_REFUSED;
    uint64_t launched = clock_now();
    if (nested)
        api_callback(CUPTI_CB_DOMAIN_RUNTIME_API, CUPTI_RUNTIME_TRACE_CBID_cudaLaunchKernel_v7000, CUPTI_API_ENTER,
                     outer, 0);
    api_callback(CUPTI_CB_DOMAIN_DRIVER_API, CUPTI_DRIVER_TRACE_CBID_cuLaunchKernel, CUPTI_API_ENTER, inner, 0);
    if (fault != FAKE_EARLY)
        launched = clock_now();
    api_callback(CUPTI_CB_DOMAIN_DRIVER_API, CUPTI_DRIVER_TRACE_CBID_cuLaunchKernel, CUPTI_API_EXIT, inner, result);
    if (nested)
        api_callback(CUPTI_CB_DOMAIN_RUNTIME_API, CUPTI_RUNTIME_TRACE_CBID_cudaLaunchKernel_v7000, CUPTI_API_EXIT,
                     outer, result);
    kernel_record(name, outer, 0, launched, fault);
    pthread_mutex_unlock(&fake.lock);
}

void fake_empty_memset(void)
{
    pthread_mutex_lock(&fake.lock);
    uint32_t correlation = ++fake.correlation;
    api_callback(CUPTI_CB_DOMAIN_RUNTIME_API, CUPTI_RUNTIME_TRACE_CBID_cudaMemsetAsync_v3020, CUPTI_API_ENTER,
                 correlation, 0);
    api_callback(CUPTI_CB_DOMAIN_RUNTIME_API, CUPTI_RUNTIME_TRACE_CBID_cudaMemsetAsync_v3020, CUPTI_API_EXIT,
                 correlation, 0);
    pthread_mutex_unlock(&fake.lock);
}

void fake_copy(uint64_t bytes)
{
    pthread_mutex_lock(&fake.lock);
    uint32_t correlation = ++fake.correlation;
    api_callback(CUPTI_CB_DOMAIN_DRIVER_API, CUPTI_DRIVER_TRACE_CBID_cuMemcpyDtoDAsync_v2, CUPTI_API_ENTER, correlation,
                 0);
    api_callback(CUPTI_CB_DOMAIN_DRIVER_API, CUPTI_DRIVER_TRACE_CBID_cuMemcpyDtoDAsync_v2, CUPTI_API_EXIT, correlation,
                 0);
    CUpti_ActivityMemcpy6 *copy = record_place(CUPTI_ACTIVITY_KIND_MEMCPY, sizeof *copy);
    if (copy) {
        copy->start = clock_now();
        copy->end = copy->start + 50;
        copy->correlationId = correlation;
        copy->bytes = bytes;
        copy->copyKind = CUPTI_ACTIVITY_MEMCPY_KIND_DTOD;
    }
    pthread_mutex_unlock(&fake.lock);
}

void fake_synchronize(uint64_t nanoseconds)
{
    pthread_mutex_lock(&fake.lock);
    uint32_t correlation = ++fake.correlation;
    const uint64_t start = clock_now();
    api_callback(CUPTI_CB_DOMAIN_DRIVER_API, CUPTI_DRIVER_TRACE_CBID_cuStreamSynchronize, CUPTI_API_ENTER, correlation,
                 0);
    pthread_mutex_unlock(&fake.lock); /* others go on meanwhile */
    nanosleep(&(struct timespec){.tv_nsec = (long)nanoseconds}, NULL);
    pthread_mutex_lock(&fake.lock);
    api_callback(CUPTI_CB_DOMAIN_DRIVER_API, CUPTI_DRIVER_TRACE_CBID_cuStreamSynchronize, CUPTI_API_EXIT, correlation,
                 0);
    CUpti_ActivitySynchronization2 *wait = record_place(CUPTI_ACTIVITY_KIND_SYNCHRONIZATION, sizeof *wait);
    if (wait) {
        wait->type = CUPTI_ACTIVITY_SYNCHRONIZATION_TYPE_STREAM_SYNCHRONIZE;
        wait->start = start;
        wait->end = start + nanoseconds;
    }
    pthread_mutex_unlock(&fake.lock);
}

void fake_overhead(void)
{
    pthread_mutex_lock(&fake.lock);
    CUpti_ActivityOverhead3 *overhead = record_place(CUPTI_ACTIVITY_KIND_OVERHEAD, sizeof *overhead);
    if (overhead) {
        overhead->overheadKind = CUPTI_ACTIVITY_OVERHEAD_COMMAND_BUFFER_FULL;
        overhead->start = clock_now();
        overhead->end = overhead->start + 5;
        overhead->overheadData = malloc(12); /* the source's to free */
    }
    pthread_mutex_unlock(&fake.lock);
}

static void graph_callback(CUpti_CallbackIdResource id, uint64_t node, uint64_t original)
{
    CUpti_GraphData graph = {.node = (CUgraphNode)(uintptr_t)node, .originalNode = (CUgraphNode)(uintptr_t)original};
    CUpti_ResourceData data = {.resourceDescriptor = &graph};
    if (fake.callbacks[CUPTI_CB_DOMAIN_RESOURCE][id])
        fake.callback(fake.context, CUPTI_CB_DOMAIN_RESOURCE, id, &data);
}

void fake_capture_kernel(struct fake_graph *graph, const char *name)
{
    pthread_mutex_lock(&fake.lock);
    uint64_t node = ++fake.next_node;
    graph->names[graph->count] = name;
    graph->nodes[graph->count++] = node;
    graph_callback(CUPTI_CBID_RESOURCE_GRAPHNODE_CREATED, node, 0);
    pthread_mutex_unlock(&fake.lock);
}

void fake_instantiate(struct fake_graph *graph, bool created_last)
{
    pthread_mutex_lock(&fake.lock);
    for (int i = 0; i < graph->count; i++) {
        uint64_t clone = graph->clones[i] = ++fake.next_node;
        if (!created_last)
            graph_callback(CUPTI_CBID_RESOURCE_GRAPHNODE_CREATED, clone, 0);
        graph_callback(CUPTI_CBID_RESOURCE_GRAPHNODE_CLONED, clone, graph->nodes[i]);
        if (created_last)
            graph_callback(CUPTI_CBID_RESOURCE_GRAPHNODE_CREATED, clone, 0);
    }
    pthread_mutex_unlock(&fake.lock);
}

void fake_graph_launch(const struct fake_graph *graph)
{
    pthread_mutex_lock(&fake.lock);
    uint32_t correlation = ++fake.correlation;
    api_callback(CUPTI_CB_DOMAIN_DRIVER_API, CUPTI_DRIVER_TRACE_CBID_cuGraphLaunch, CUPTI_API_ENTER, correlation, 0);
    uint64_t launched = clock_now();
    api_callback(CUPTI_CB_DOMAIN_DRIVER_API, CUPTI_DRIVER_TRACE_CBID_cuGraphLaunch, CUPTI_API_EXIT, correlation, 0);
    for (int i = 0; i < graph->count; i++)
        kernel_record(graph->names[i], correlation, graph->clones[i], launched, FAKE_GOOD);
    pthread_mutex_unlock(&fake.lock);
}

void fake_fatal(const char *message)
{
    CUpti_StateData state = {.notification = {.result = CUPTI_ERROR_HARDWARE, .message = message}};
    pthread_mutex_lock(&fake.lock);
    if (fake.callbacks[CUPTI_CB_DOMAIN_STATE][CUPTI_CBID_STATE_FATAL_ERROR])
        fake.callback(fake.context, CUPTI_CB_DOMAIN_STATE, CUPTI_CBID_STATE_FATAL_ERROR, &state);
    pthread_mutex_unlock(&fake.lock);
}

void fake_finalize(void)
{
    pthread_mutex_lock(&fake.lock);
    buffer_give_back();
    memset(fake.callbacks, 0, sizeof fake.callbacks);
    memset(fake.kinds, 0, sizeof fake.kinds);
    fake.state.subscribed = 0;
    fake.finalized = true;
    pthread_mutex_unlock(&fake.lock);
}

/* ---- the table ---- */

static CUptiResult fake_version(uint32_t *version)
{
    *version = CUPTI_API_VERSION;
    return CUPTI_SUCCESS;
}

static CUptiResult fake_message(CUptiResult result, const char **text)
{
    (void)result;
    *text = "a message\nof two lines";
    return CUPTI_SUCCESS;
}

static CUptiResult fake_subscribe(CUpti_SubscriberHandle *subscriber, CUpti_CallbackFunc callback, void *context,
                                  CUpti_SubscriberParams *parameters)
{
    if (fake.subscribe_result != CUPTI_SUCCESS) {
        snprintf(parameters->oldSubscriberName, parameters->oldSubscriberSize, "%s", fake.holder);
        return fake.subscribe_result;
    }
    fake.callback = callback;
    fake.context = context;
    fake.state.subscribed++;
    *subscriber = (CUpti_SubscriberHandle)&fake;
    return CUPTI_SUCCESS;
}

static CUptiResult fake_unsubscribe(CUpti_SubscriberHandle subscriber)
{
    (void)subscriber;
    if (fake.finalized)
        return CUPTI_ERROR_NOT_INITIALIZED;
    fake.state.subscribed--;
    memset(fake.callbacks, 0, sizeof fake.callbacks);
    return CUPTI_SUCCESS;
}

static CUptiResult fake_enable_callback(uint32_t on, CUpti_SubscriberHandle subscriber, CUpti_CallbackDomain domain,
                                        CUpti_CallbackId id)
{
    (void)subscriber;
    if (fake.finalized)
        return CUPTI_ERROR_NOT_INITIALIZED;
    if (on && fake.enables_left >= 0 && fake.enables_left-- == 0)
        return CUPTI_ERROR_INVALID_PARAMETER;
    pthread_mutex_lock(&fake.lock);
    fake.callbacks[domain][id] = on;
    pthread_mutex_unlock(&fake.lock);
    return CUPTI_SUCCESS;
}

static CUptiResult fake_set_attribute(CUpti_ActivityAttribute attribute, size_t *size, void *value)
{
    (void)attribute, (void)size, (void)value;
    return CUPTI_SUCCESS;
}

static CUptiResult fake_register(CUpti_BuffersCallbackRequestFunc request, CUpti_BuffersCallbackCompleteFunc complete)
{
    fake.request = request;
    fake.complete = complete;
    return CUPTI_SUCCESS;
}

static CUptiResult fake_register_clock(CUpti_TimestampCallbackFunc clock)
{
    fake.clock = clock;
    fake.state.clock_registrations++;
    return CUPTI_SUCCESS;
}

static CUptiResult fake_enable(CUpti_ActivityKind kind)
{
    if (fake.finalized)
        return CUPTI_ERROR_NOT_INITIALIZED;
    if (fake.enables_left >= 0 && fake.enables_left-- == 0)
        return CUPTI_ERROR_INSUFFICIENT_PRIVILEGES;
    pthread_mutex_lock(&fake.lock);
    fake.kinds[kind] = true;
    pthread_mutex_unlock(&fake.lock);
    return CUPTI_SUCCESS;
}

static CUptiResult fake_disable(CUpti_ActivityKind kind)
{
    if (fake.finalized)
        return CUPTI_ERROR_NOT_INITIALIZED;
    pthread_mutex_lock(&fake.lock);
    fake.kinds[kind] = false;
    pthread_mutex_unlock(&fake.lock);
    return CUPTI_SUCCESS;
}

static CUptiResult fake_flush(uint32_t flag)
{
    (void)flag;
    if (fake.finalized)
        return CUPTI_ERROR_NOT_INITIALIZED;
    pthread_mutex_lock(&fake.lock);
    buffer_give_back();
    pthread_mutex_unlock(&fake.lock);
    return CUPTI_SUCCESS;
}

static CUptiResult fake_dropped(CUcontext context, uint32_t stream, size_t *dropped)
{
    (void)context, (void)stream;
    pthread_mutex_lock(&fake.lock);
    *dropped = fake.state.dropped;
    fake.state.dropped = 0;
    pthread_mutex_unlock(&fake.lock);
    return CUPTI_SUCCESS;
}

static CUptiResult fake_graph_node_id(CUgraphNode node, uint64_t *id)
{
    *id = (UINT64_C(5) << 32) + (uint64_t)(uintptr_t)node;
    return CUPTI_SUCCESS;
}

static CUptiResult fake_callback_name(CUpti_CallbackDomain domain, uint32_t id, const char **name)
{
    *name =
        domain == CUPTI_CB_DOMAIN_DRIVER_API && id == CUPTI_DRIVER_TRACE_CBID_cuLaunchKernel ? "cuLaunchKernel" : "?";
    return CUPTI_SUCCESS;
}

const struct cupti_api *fake_api(void)
{
    static const struct cupti_api api = {
        .path = "libfake.so",
        .version = CUPTI_API_VERSION,
        .get_version = fake_version,
        .get_error_message = fake_message,
        .subscribe = fake_subscribe,
        .unsubscribe = fake_unsubscribe,
        .enable_callback = fake_enable_callback,
        .set_attribute = fake_set_attribute,
        .register_callbacks = fake_register,
        .register_timestamp = fake_register_clock,
        .enable = fake_enable,
        .disable = fake_disable,
        .flush_all = fake_flush,
        .next_record = fake_next_record,
        .dropped_records = fake_dropped,
        .graph_node_id = fake_graph_node_id,
        .callback_name = fake_callback_name,
    };
    return &api;
}
