/* The activity source. Three kinds of threads meet here:
 *
 *   the launching thread   CUPTI's API and graph callbacks run on it: they note which node each launch is of
 *   CUPTI's threads        ask for buffers and give them back filled
 *   the source's thread    flushes every period, converts filled buffers, calls the probe
 *
 * No lock is held across a call into CUPTI: CUPTI has locks of its own and calls back from within them. */
#include "kernels/cuda/cupti_source.h"
#include "base/clock.h"
#include "kernels/cuda/cupti_internal.h"
#include <stdio.h>
#include <stdlib.h>

static const CUpti_ActivityKind traced_kinds[] = {
    CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL, /* KIND_KERNEL would run them one after the other */
    CUPTI_ACTIVITY_KIND_MEMCPY, CUPTI_ACTIVITY_KIND_MEMSET, CUPTI_ACTIVITY_KIND_OVERHEAD,
    /* Not KIND_SYNCHRONIZATION: asked for once, it costs a third of an eager step and goes on to when it is switched off, so that timed
     * steps would be too slow (seen with CUPTI 13.0; no other kind does). Waits are told by the calls themselves. */
};
#define TRACED_KINDS (sizeof traced_kinds / sizeof *traced_kinds)

/* ---- opening and closing ---- */

static bool cupti_call(const struct cupti_source *source, CUptiResult result, const char *what, struct error *error)
{
    char text[256];
    if (result == CUPTI_SUCCESS)
        return true;
    return error_set(error, ERROR_DEVICE, "%s failed: %s", what,
                     cupti_result_text(source->api, result, text, sizeof text));
}

static bool subscribe_failed(const struct cupti_api *api, CUptiResult result, const char *holder, struct error *error)
{
    char text[256];
    if (result == CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED)
        return error_set(
            error, ERROR_DEVICE,
            "another tool holds CUPTI in this process%s%s (error 39); for kernel rows, run without Nsight, "
            "cuda-gdb, compute-sanitizer or an injected profiler (CUDA_INJECTION64_PATH)",
            *holder ? ": " : "", holder);
    return error_set(error, ERROR_DEVICE, "CUPTI refused the subscription (%s)",
                     cupti_result_text(api, result, text, sizeof text));
}

/* Attributes, then clock and buffers, then the subscription: CUPTI takes note of them in this order only. */
static bool source_attach(struct cupti_source *source, struct error *error)
{
    const struct cupti_api *api = source->api;
    char holder[CUPTI_OLD_SUBSCRIBER_NAME_MIN_LEN] = "";
    CUpti_SubscriberParams subscriber = {.structSize = CUpti_SubscriberParams_STRUCT_SIZE,
                                         .subscriberName = "steptop",
                                         .oldSubscriberName = holder,
                                         .oldSubscriberSize = sizeof holder};
    uint8_t zeroed = 1; /* else CUPTI clears each new buffer on the launching thread, in the step */
    size_t size = sizeof zeroed;
    if (!cupti_call(source, api->set_attribute(CUPTI_ACTIVITY_ATTR_ZEROED_OUT_ACTIVITY_BUFFER, &size, &zeroed),
                    "setting CUPTI's buffer attribute", error))
        return false;
    if (!cupti_call(source, cupti_flush_register(source), "giving CUPTI the monotonic clock and buffers", error))
        return false;

    CUptiResult result = api->subscribe
                             ? api->subscribe(&source->subscriber, cupti_subscriber_callback, source, &subscriber)
                             : api->subscribe_old(&source->subscriber, cupti_subscriber_callback, source);
    holder[sizeof holder - 1] = '\0';
    if (result != CUPTI_SUCCESS)
        return subscribe_failed(api, result, holder, error);
    if (!cupti_call(source, cupti_standing_callbacks(source), "watching CUDA graphs through CUPTI", error)) {
        api->unsubscribe(source->subscriber);
        return false;
    }
    return true;
}

static void source_free(struct cupti_source *source)
{
    name_cache_free(source->names);
    launch_table_free(source->launches);
    graph_table_free(source->graphs);
    free(source->node_kernels);
    pthread_cond_destroy(&source->wake);
    pthread_cond_destroy(&source->done);
    pthread_mutex_destroy(&source->lock);
    pthread_mutex_destroy(&source->graph_lock);
    free(source);
}

static struct cupti_source *source_create(const struct cupti_api *api, const struct probe *probe,
                                          const struct source_options *options)
{
    struct cupti_source *source = calloc(1, sizeof *source);
    if (!source)
        return NULL;
    if (options)
        source->options = *options;
    struct source_options *sizes = &source->options;
    sizes->buffer_size = sizes->buffer_size ? sizes->buffer_size : 512u << 10;
    sizes->buffers = sizes->buffers ? sizes->buffers : 16;
    sizes->limit = sizes->limit ? sizes->limit : 256;
    sizes->launches = sizes->launches ? sizes->launches : 1u << 16;
    sizes->period_ms = sizes->period_ms ? sizes->period_ms : 50;

    source->own_api = *api;
    source->api = &source->own_api;
    source->probe = probe;
    source->node = EVENT_NODE_NONE;
    source->step = LAUNCH_STEP_NONE;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&source->wake, &monotonic);
    pthread_cond_init(&source->done, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&source->lock, NULL);
    pthread_mutex_init(&source->graph_lock, NULL);
    source->launches = launch_table_create(sizes->launches);
    source->graphs = graph_table_create();
    source->names = name_cache_create(probe);
    if (source->launches && source->graphs && source->names)
        return source;
    source_free(source);
    return NULL;
}

struct cupti_source *cupti_source_open_with(const struct cupti_api *api, const struct probe *probe,
                                            const struct source_options *options, struct error *error)
{
    struct cupti_source *source = source_create(api, probe, options);
    if (!source) {
        error_set(error, ERROR_MEMORY, "no memory for the profiler's tables");
        return NULL;
    }
    if (!cupti_flush_begin(source, error))
        goto failed;
    if (source_attach(source, error))
        return source;
    cupti_flush_end(source);

failed:
    source_free(source);
    return NULL;
}

struct cupti_source *cupti_source_open(const struct probe *probe, struct error *error)
{
    struct cupti_api api;
    if (!cupti_api_load(&api, error))
        return NULL;
    return cupti_source_open_with(&api, probe, NULL, error);
}

void cupti_source_close(struct cupti_source *source)
{
    if (!source)
        return;
    cupti_source_stop(source);
    cupti_source_quiet(source);
    if (!atomic_load(&source->finalized)) {
        source->api->flush_all(CUPTI_ACTIVITY_FLAG_FLUSH_FORCED); /* the buffers that CUPTI still holds */
        source->api->unsubscribe(source->subscriber);
    }
    cupti_flush_end(source);
    source_free(source);
}

/* ---- around steps ---- */

void cupti_source_node(struct cupti_source *source, int32_t node)
{
    if (source)
        source->node = node;
}

void cupti_source_graph(struct cupti_source *source, uint32_t activities)
{
    if (source)
        source->graph_activities = activities;
}

/* Something of CUPTI's failed while steps run: from here on there are no kernel rows, the thread tells why, and the steps
 * go on. */
static void source_break(struct cupti_source *source, const struct error *error)
{
    pthread_mutex_lock(&source->lock);
    snprintf(source->broken_text, sizeof source->broken_text, "%.200s: no kernel rows from here", error->text);
    pthread_mutex_unlock(&source->lock);
    atomic_store(&source->broken, true);
    cupti_flush_ask(source, REQUEST_FLUSH);
}

static void tracing_off(struct cupti_source *source)
{
    struct error error;
    CUptiResult first = CUPTI_SUCCESS;
    for (size_t i = 0; i < TRACED_KINDS; i++) {
        CUptiResult result = source->api->disable(traced_kinds[i]);
        first = first == CUPTI_SUCCESS ? result : first;
    }
    /* Last: what another thread launches meanwhile is traced with its place, or not at all. */
    CUptiResult callbacks = cupti_launch_callbacks(source, false);
    atomic_fetch_add(&source->switched, 1);
    first = first == CUPTI_SUCCESS ? callbacks : first;
    source->tracing = false;
    if (!cupti_call(source, first, "switching CUPTI's tracing off", &error) && !atomic_load(&source->broken))
        source_break(source, &error);
}

static void tracing_on(struct cupti_source *source)
{
    struct error error;
    source->tracing = true;
    bool on = cupti_call(source, cupti_launch_callbacks(source, true), "watching launches through CUPTI", &error);
    for (size_t i = 0; on && i < TRACED_KINDS; i++)
        on = cupti_call(source, source->api->enable(traced_kinds[i]), "switching CUPTI's tracing on", &error);
    if (on)
        return;
    source_break(source, &error);
    tracing_off(source);
}

bool cupti_source_arm(struct cupti_source *source)
{
    if (!source || source->tracing || atomic_load(&source->broken))
        return false;
    tracing_on(source);
    return source->tracing;
}

void cupti_source_start(struct cupti_source *source, uint64_t step_id)
{
    cupti_source_arm(source);
    if (!source || !source->tracing || atomic_load(&source->broken))
        return;
    pthread_mutex_lock(&source->lock);
    source->windows[source->window_count++ % WINDOWS_MAX] =
        (struct step_window){.step = step_id, .start = clock_now(), .end = UINT64_MAX};
    source->in_step = true;
    pthread_cond_signal(&source->wake);
    pthread_mutex_unlock(&source->lock);
    cupti_calls_forget();
    source->step = step_id;
}

void cupti_source_watch(struct cupti_source *source)
{
    cupti_source_start(source, 0);
}

void cupti_source_pause(struct cupti_source *source)
{
    if (source->tracing && !atomic_load(&source->broken))
        tracing_off(source);
}

void cupti_source_resume(struct cupti_source *source)
{
    cupti_source_arm(source);
}

void cupti_source_stop(struct cupti_source *source)
{
    if (!source || source->step == LAUNCH_STEP_NONE)
        return;
    source->step = LAUNCH_STEP_NONE;
    pthread_mutex_lock(&source->lock);
    source->windows[(source->window_count - 1) % WINDOWS_MAX].end = clock_now();
    source->in_step = false;
    pthread_mutex_unlock(&source->lock);
}

void cupti_source_flush(struct cupti_source *source)
{
    if (source && source->tracing)
        cupti_flush_ask(source, REQUEST_SETTLE);
}

void cupti_source_quiet(struct cupti_source *source)
{
    if (!source || !source->tracing)
        return;
    cupti_flush_ask(source, REQUEST_SETTLE);
    if (atomic_load(&source->broken))
        source->tracing = false;
    else
        tracing_off(source);
}

bool cupti_source_kernel(const struct cupti_source *source, int32_t node, uint32_t *name)
{
    if (!source || node < 0 || (size_t)node >= source->node_kernel_count || !source->node_kernels[node].longest)
        return false;
    *name = source->node_kernels[node].name;
    return true;
}

void cupti_source_counts(struct cupti_source *source, struct cupti_counts *counts)
{
    *counts = (struct cupti_counts){0};
    if (!source)
        return;
    pthread_mutex_lock(&source->lock);
    *counts = source->counts;
    pthread_mutex_unlock(&source->lock);
    counts->launches = atomic_load(&source->launched);
    counts->buffers = cupti_flush_buffers();
}
