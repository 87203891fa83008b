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
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SETTLE_ATTEMPTS 3

static const CUpti_ActivityKind traced_kinds[] = {
    CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL, /* KIND_KERNEL would run them one after the other */
    CUPTI_ACTIVITY_KIND_MEMCPY,
    CUPTI_ACTIVITY_KIND_MEMSET,
    CUPTI_ACTIVITY_KIND_SYNCHRONIZATION,
    CUPTI_ACTIVITY_KIND_OVERHEAD,
};
#define TRACED_KINDS (sizeof traced_kinds / sizeof *traced_kinds)

/* CUPTI's buffer callbacks carry no user data and its clock can be set once a process, so these cannot live in a source.
 * `lock` guards the pool as well: buffers come back on CUPTI's threads even while a source closes. */
static struct {
    pthread_mutex_t lock;
    struct cupti_source *source;
    struct buffer_pool pool;
    bool has_clock;
} process = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void CUPTIAPI buffer_requested(uint8_t **buffer, size_t *size, size_t *max_records)
{
    pthread_mutex_lock(&process.lock);
    *buffer = process.source ? buffer_pool_take(&process.pool) : NULL;
    *size = *buffer ? process.pool.buffer_size : 0;
    *max_records = 0; /* as many as fit */
    pthread_mutex_unlock(&process.lock);
}

static void CUPTIAPI buffer_completed(CUcontext context, uint32_t stream, uint8_t *buffer, size_t size, size_t valid)
{
    (void)context, (void)stream, (void)size;
    pthread_mutex_lock(&process.lock);
    buffer_pool_return(&process.pool, buffer, valid);
    pthread_mutex_unlock(&process.lock);
}

static uint64_t CUPTIAPI clock_callback(void)
{
    return clock_now();
}

/* ---- the source's thread ---- */

/* The windows in order of time, copied so that conversion needs no lock. */
static size_t windows_copy(struct cupti_source *source)
{
    pthread_mutex_lock(&source->lock);
    uint64_t count = source->window_count < WINDOWS_MAX ? source->window_count : WINDOWS_MAX;
    for (uint64_t i = 0; i < count; i++)
        source->snapshot[i] = source->windows[(source->window_count - count + i) % WINDOWS_MAX];
    pthread_mutex_unlock(&source->lock);
    return (size_t)count;
}

static void record_count(struct cupti_counts *counts, enum verdict verdict, const struct kernel_event *event)
{
    switch (verdict) {
    case VERDICT_EVENT:
        counts->records++;
        counts->unattributed += event->node == EVENT_NODE_NONE;
        break;
    case VERDICT_SURPLUS:
        counts->surplus++;
        break;
    case VERDICT_HOST:
        break;
    case VERDICT_NO_TIME:
        counts->invalid_no_time++;
        counts->invalid++;
        break;
    case VERDICT_BACKWARDS:
        counts->invalid_backwards++;
        counts->invalid++;
        break;
    case VERDICT_EARLY:
        counts->invalid_early++;
        counts->invalid++;
        break;
    default:
        counts->outside++;
    }
}

static void kernel_note(struct cupti_source *source, const struct kernel_event *event)
{
    size_t node = (size_t)event->node;
    if (node >= source->node_kernel_count) {
        size_t count = node + 1024;
        struct node_kernel *grown = realloc(source->node_kernels, count * sizeof *grown);
        if (!grown)
            return; /* this node's counters will find no kernel to be booked on */
        memset(grown + source->node_kernel_count, 0, (count - source->node_kernel_count) * sizeof *grown);
        source->node_kernels = grown;
        source->node_kernel_count = count;
    }
    struct node_kernel *kernel = &source->node_kernels[node];
    uint64_t duration = event->end - event->start + 1;
    if (duration > kernel->longest)
        *kernel = (struct node_kernel){.longest = duration, .name = event->name};
}

static void buffer_convert(struct cupti_source *source, const struct conversion *conversion,
                           struct activity_buffer *buffer, struct cupti_counts *counts)
{
    CUpti_Activity *record = NULL;
    while (source->api->next_record(buffer->bytes, buffer->valid, &record) == CUPTI_SUCCESS) {
        struct kernel_event event;
        uint64_t step = 0;
        enum verdict verdict = activity_convert(conversion, record, &event, &step);
        record_count(counts, verdict, &event);
        if (verdict == VERDICT_EVENT || verdict == VERDICT_SURPLUS || verdict == VERDICT_HOST)
            source->probe->event(source->probe->context, step, &event);
        if (verdict == VERDICT_EVENT && event.kind == EVENT_KERNEL && event.node != EVENT_NODE_NONE)
            kernel_note(source, &event);
        if (record->kind == CUPTI_ACTIVITY_KIND_OVERHEAD) { /* CUPTI leaves its detail to us to free */
            CUpti_ActivityOverhead3 *overhead = (CUpti_ActivityOverhead3 *)record;
            free(overhead->overheadData);
            overhead->overheadData = NULL;
        }
    }
    if (source->options.tap)
        source->options.tap(source->options.tap_context, source, buffer->bytes, buffer->valid);
}

static void counts_add(struct cupti_counts *into, const struct cupti_counts *from)
{
    into->records += from->records;
    into->dropped += from->dropped;
    into->invalid += from->invalid;
    into->surplus += from->surplus;
    into->outside += from->outside;
    into->unattributed += from->unattributed;
    into->invalid_no_time += from->invalid_no_time;
    into->invalid_backwards += from->invalid_backwards;
    into->invalid_early += from->invalid_early;
    into->flushes += from->flushes;
    if (from->longest_flush_ns > into->longest_flush_ns)
        into->longest_flush_ns = from->longest_flush_ns;
}

static void broken_tell(struct cupti_source *source)
{
    char text[sizeof source->broken_text];
    if (source->told_broken || !atomic_load(&source->broken))
        return;
    source->told_broken = true;
    pthread_mutex_lock(&source->lock);
    memcpy(text, source->broken_text, sizeof text);
    pthread_mutex_unlock(&source->lock);
    if (source->probe->note)
        source->probe->note(source->probe->context, "profiler", text);
}

/* Asks CUPTI for what is complete (with `forced`: for all there is), converts it and gives the buffers back. */
static void source_drain(struct cupti_source *source, bool forced)
{
    struct cupti_counts counts = {0};
    broken_tell(source);
    if (!atomic_load(&source->broken)) {
        uint64_t before = clock_now();
        source->api->flush_all(forced ? CUPTI_ACTIVITY_FLAG_FLUSH_FORCED : 0);
        counts.longest_flush_ns = clock_now() - before;
        counts.flushes = 1;
    }

    pthread_mutex_lock(&process.lock);
    struct activity_buffer *buffer = buffer_pool_filled(&process.pool);
    pthread_mutex_unlock(&process.lock);

    /* The windows are copied after the buffers were taken: a record in them cannot be newer than the newest window. */
    struct conversion conversion = {.launches = source->launches,
                                    .graphs = source->graphs,
                                    .names = source->names,
                                    .windows = source->snapshot,
                                    .window_count = buffer ? windows_copy(source) : 0};
    for (struct activity_buffer *next; buffer; buffer = next) {
        next = buffer->next;
        buffer_convert(source, &conversion, buffer, &counts);
        memset(buffer->bytes, 0, process.pool.buffer_size); /* CUPTI was promised zeroed buffers */
        pthread_mutex_lock(&process.lock);
        buffer_pool_recycle(&process.pool, buffer);
        pthread_mutex_unlock(&process.lock);
    }

    size_t dropped = 0;
    if (!atomic_load(&source->broken) && source->api->dropped_records(NULL, 0, &dropped) == CUPTI_SUCCESS && dropped) {
        counts.dropped = dropped;
        source->probe->dropped(source->probe->context, dropped);
    }

    pthread_mutex_lock(&source->lock);
    counts_add(&source->counts, &counts);
    pthread_mutex_unlock(&source->lock);
}

/* Launches of which nothing has been heard yet; under the source's lock. */
static uint64_t under_way(const struct cupti_source *source)
{
    uint64_t launched = atomic_load(&source->launched);
    const struct cupti_counts *counts = &source->counts;
    uint64_t heard = counts->records + counts->dropped + counts->invalid + counts->surplus + counts->missing;
    return launched > heard ? launched - heard : 0;
}

static uint64_t source_under_way(struct cupti_source *source)
{
    pthread_mutex_lock(&source->lock);
    uint64_t count = under_way(source);
    pthread_mutex_unlock(&source->lock);
    return count;
}

/* On an idle device everything must come out; what does not after forced flushes is lost, and is said to be. */
static void source_settle(struct cupti_source *source)
{
    source_drain(source, false);
    for (int i = 0; i < SETTLE_ATTEMPTS && source_under_way(source); i++) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000L << (2 * i)}, NULL);
        source_drain(source, true);
    }
    uint64_t missing = source_under_way(source);
    if (!missing)
        return;
    pthread_mutex_lock(&source->lock);
    source->counts.missing += missing;
    pthread_mutex_unlock(&source->lock);
    source->probe->dropped(source->probe->context, missing);
}

static struct timespec deadline_in(uint32_t milliseconds)
{
    uint64_t deadline = clock_now() + milliseconds * UINT64_C(1000000);
    return (struct timespec){.tv_sec = (time_t)(deadline / 1000000000u), .tv_nsec = (long)(deadline % 1000000000u)};
}

/* Sleeps until there is something to do: a request, or the end of the period while records are under way. */
static enum source_request source_wait(struct cupti_source *source, uint64_t *ticket)
{
    struct timespec until = deadline_in(source->options.period_ms);
    pthread_mutex_lock(&source->lock);
    while (source->request == REQUEST_NONE && !source->stopping) {
        if (!source->in_step && !under_way(source)) {
            pthread_cond_wait(&source->wake, &source->lock);
            until = deadline_in(source->options.period_ms);
        } else if (pthread_cond_timedwait(&source->wake, &source->lock, &until) == ETIMEDOUT) {
            break;
        }
    }
    enum source_request request = source->request;
    source->request = REQUEST_NONE;
    *ticket = source->requested;
    pthread_mutex_unlock(&source->lock);
    return request;
}

static void *source_thread(void *context)
{
    struct cupti_source *source = context;
    for (;;) {
        uint64_t ticket;
        enum source_request request = source_wait(source, &ticket);
        if (request == REQUEST_SETTLE)
            source_settle(source);
        else
            source_drain(source, false);

        pthread_mutex_lock(&source->lock);
        if (request != REQUEST_NONE)
            source->finished = ticket;
        pthread_cond_broadcast(&source->done);
        bool stop = source->stopping && source->request == REQUEST_NONE;
        pthread_mutex_unlock(&source->lock);
        if (stop)
            return NULL;
    }
}

/* Asks the thread for `request` and waits until it was done. */
static void source_ask(struct cupti_source *source, enum source_request request)
{
    pthread_mutex_lock(&source->lock);
    uint64_t ticket = ++source->requested;
    source->request = request;
    pthread_cond_signal(&source->wake);
    while (source->finished < ticket)
        pthread_cond_wait(&source->done, &source->lock);
    pthread_mutex_unlock(&source->lock);
}

static void source_join(struct cupti_source *source)
{
    pthread_mutex_lock(&source->lock);
    source->stopping = true;
    pthread_cond_signal(&source->wake);
    pthread_mutex_unlock(&source->lock);
    pthread_join(source->thread, NULL);
}

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
    if (!process.has_clock) { /* a second registration corrupts the times of kernels */
        if (!cupti_call(source, api->register_timestamp(clock_callback), "giving CUPTI the monotonic clock", error))
            return false;
        process.has_clock = true;
    }
    if (!cupti_call(source, api->register_callbacks(buffer_requested, buffer_completed),
                    "registering CUPTI's buffer callbacks", error))
        return false;

    CUptiResult result = api->subscribe(&source->subscriber, cupti_subscriber_callback, source, &subscriber);
    holder[sizeof holder - 1] = '\0';
    if (result != CUPTI_SUCCESS)
        return subscribe_failed(api, result, holder, error);
    if (!cupti_call(source, cupti_standing_callbacks(source), "watching CUDA graphs through CUPTI", error)) {
        api->unsubscribe(source->subscriber);
        return false;
    }
    return true;
}

static bool process_claim(struct cupti_source *source, struct error *error)
{
    const struct source_options *options = &source->options;
    bool taken, ready = false;
    pthread_mutex_lock(&process.lock);
    taken = process.source != NULL;
    if (!taken) {
        ready = buffer_pool_init(&process.pool, options->buffer_size, options->buffers, options->limit);
        process.source = ready ? source : NULL;
    }
    pthread_mutex_unlock(&process.lock);
    if (taken)
        return error_set(error, ERROR_DEVICE,
                         "this process profiles another program already; CUPTI has one subscriber");
    return ready || error_set(error, ERROR_MEMORY, "no memory for %u profiler buffers of %zu bytes", options->buffers,
                              options->buffer_size);
}

static void process_leave(void)
{
    pthread_mutex_lock(&process.lock);
    buffer_pool_release(&process.pool);
    process.source = NULL;
    pthread_mutex_unlock(&process.lock);
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
    sizes->launches = sizes->launches ? sizes->launches : 1u << 18;
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
    if (!process_claim(source, error))
        goto failed;
    int code = pthread_create(&source->thread, NULL, source_thread, source);
    if (code) {
        error_set(error, ERROR_SYSTEM, "the profiler's thread could not be started: %s", strerror(code));
        goto failed_process;
    }
    if (!source_attach(source, error))
        goto failed_thread;
    return source;

failed_thread:
    source_join(source);
failed_process:
    process_leave();
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
    cupti_source_stop(source, NULL);
    cupti_source_quiet(source, NULL);
    if (!atomic_load(&source->broken)) {
        source->api->flush_all(CUPTI_ACTIVITY_FLAG_FLUSH_FORCED); /* the buffers that CUPTI still holds */
        source->api->unsubscribe(source->subscriber);
    }
    source_join(source);
    process_leave();
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

static bool tracing_on(struct cupti_source *source, struct error *error)
{
    size_t on = 0;
    if (!cupti_call(source, cupti_launch_callbacks(source, true), "watching launches through CUPTI", error))
        goto failed;
    for (; on < TRACED_KINDS; on++)
        if (!cupti_call(source, source->api->enable(traced_kinds[on]), "switching CUPTI's tracing on", error))
            goto failed;
    source->tracing = true;
    return true;

failed:
    while (on-- > 0)
        source->api->disable(traced_kinds[on]);
    cupti_launch_callbacks(source, false);
    return false;
}

bool cupti_source_start(struct cupti_source *source, uint64_t step_id, struct error *error)
{
    if (!source || atomic_load(&source->broken))
        return true;
    if (!source->tracing && !tracing_on(source, error))
        return false;
    pthread_mutex_lock(&source->lock);
    source->windows[source->window_count++ % WINDOWS_MAX] =
        (struct step_window){.step = step_id, .start = clock_now(), .end = UINT64_MAX};
    source->in_step = true;
    pthread_cond_signal(&source->wake);
    pthread_mutex_unlock(&source->lock);
    source->call_depth = 0;
    source->step = step_id;
    return true;
}

bool cupti_source_stop(struct cupti_source *source, struct error *error)
{
    (void)error;
    if (!source || source->step == LAUNCH_STEP_NONE)
        return true;
    source->step = LAUNCH_STEP_NONE;
    pthread_mutex_lock(&source->lock);
    source->windows[(source->window_count - 1) % WINDOWS_MAX].end = clock_now();
    source->in_step = false;
    pthread_mutex_unlock(&source->lock);
    return true;
}

bool cupti_source_flush(struct cupti_source *source, struct error *error)
{
    (void)error;
    if (source && source->tracing)
        source_ask(source, REQUEST_SETTLE);
    return true;
}

bool cupti_source_quiet(struct cupti_source *source, struct error *error)
{
    if (!source || !source->tracing)
        return true;
    source_ask(source, REQUEST_SETTLE);
    source->tracing = false;
    if (atomic_load(&source->broken))
        return true;
    CUptiResult first = cupti_launch_callbacks(source, false);
    for (size_t i = 0; i < TRACED_KINDS; i++) {
        CUptiResult result = source->api->disable(traced_kinds[i]);
        first = first == CUPTI_SUCCESS ? result : first;
    }
    return cupti_call(source, first, "switching CUPTI's tracing off", error);
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
    pthread_mutex_lock(&process.lock);
    counts->buffers = process.pool.allocated;
    pthread_mutex_unlock(&process.lock);
}
