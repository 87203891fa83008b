/* The way of the records: CUPTI fills buffers of a pool, the source's own thread asks for them every period, converts what
 * is in them and hands it to the probe.
 *
 * No lock is held across a call into CUPTI: CUPTI has locks of its own and calls back from within them. */
#include "base/clock.h"
#include "kernels/cuda/cupti_internal.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SETTLE_ATTEMPTS 3
#define IDLE_PERIODS 20 /* a second: a queue of the device's is shorter */

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
        launch_table_mark(source->launches, activity_correlation(record));
        if (verdict == VERDICT_EVENT || verdict == VERDICT_SURPLUS || verdict == VERDICT_HOST)
            source->probe->event(source->probe->context, step, &event);
        if (verdict == VERDICT_EVENT && event.kind == EVENT_KERNEL && event.node != EVENT_NODE_NONE &&
            !source_is_foreign(&source->options))
            kernel_note(source, &event);
        if (record->kind == CUPTI_ACTIVITY_KIND_OVERHEAD &&
            source->api->version >= 10000) { /* CUPTI leaves its detail to us to free */
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

/* Activities that the driver's calls do not explain: a CUPTI that numbers them by the runtime's. */
static void runtime_too(struct cupti_source *source, const struct cupti_counts *counts)
{
    if (!source_is_foreign(&source->options) || atomic_load(&source->runtime) || counts->surplus < 100 ||
        counts->surplus < counts->records)
        return;
    cupti_runtime_callbacks(source);
    if (source->probe->note)
        source->probe->note(
            source->probe->context, "launches",
            "the runtime's calls are watched as well as the driver's: this CUPTI numbers activities by them");
}

/* That the program waited for its device is told by its calls, on its own thread; handed over like a record, from this one. */
static void waits_hand_over(struct cupti_source *source)
{
    pthread_mutex_lock(&source->lock);
    const uint32_t count = source->wait_count, lost = source->waits_lost;
    memcpy(source->waited, source->waits, count * sizeof *source->waits);
    source->wait_count = source->waits_lost = 0;
    pthread_mutex_unlock(&source->lock);
    for (uint32_t i = 0; i < count; i++) {
        const struct own_wait *wait = &source->waited[i];
        const struct kernel_event event = {.start = wait->start,
                                           .end = wait->end,
                                           .launch = wait->start,
                                           .bytes = 1, /* the host waited */
                                           .correlation = wait->correlation,
                                           .name = name_cache_text(source->names, wait->how),
                                           .node = EVENT_NODE_NONE,
                                           .stream = UINT16_MAX,
                                           .kind = EVENT_SYNC};
        source->probe->event(source->probe->context, wait->step, &event);
    }
    if (lost)
        source->probe->dropped(source->probe->context, lost);
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

    waits_hand_over(source);

    size_t dropped = 0;
    if (!atomic_load(&source->broken) && source->api->dropped_records(NULL, 0, &dropped) == CUPTI_SUCCESS && dropped) {
        counts.dropped = dropped;
        source->probe->dropped(source->probe->context, dropped);
    }

    pthread_mutex_lock(&source->lock);
    counts_add(&source->counts, &counts);
    pthread_mutex_unlock(&source->lock);
    runtime_too(source, &counts);
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

/* Once: which call put something on the device, it seems, that CUPTI never spoke of. */
static void missing_tell(struct cupti_source *source, uint64_t missing)
{
    struct launch launch;
    const char *call = NULL;
    char text[256];
    if (source->told_missing || atomic_load(&source->broken) || !source->probe->note)
        return;
    source->told_missing = true;
    if (!launch_table_unheard(source->launches, &launch) ||
        source->api->callback_name((CUpti_CallbackDomain)LAUNCH_CALL_DOMAIN(launch.call), LAUNCH_CALL_ID(launch.call),
                                   &call) != CUPTI_SUCCESS ||
        !call)
        call = "of a graph, or long ago";
    snprintf(text, sizeof text, "%llu launches have no record and count as dropped, one of them %s",
             (unsigned long long)missing, call);
    source->probe->note(source->probe->context, "profiler", text);
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
    missing_tell(source, missing);
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

/* In a pause there is nothing to be asked for once the device has done what was traced. */
static bool has_work(struct cupti_source *source)
{
    source->idle_periods = source->tracing ? 0 : source->idle_periods + 1;
    return source->idle_periods <= IDLE_PERIODS || (atomic_load(&source->broken) && !source->told_broken);
}

static void *source_thread(void *context)
{
    struct cupti_source *source = context;
    for (;;) {
        uint64_t ticket;
        enum source_request request = source_wait(source, &ticket);
        if (request == REQUEST_SETTLE)
            source_settle(source);
        else if (request != REQUEST_NONE || has_work(source))
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

void cupti_flush_ask(struct cupti_source *source, enum source_request request)
{
    pthread_mutex_lock(&source->lock);
    uint64_t ticket = ++source->requested;
    source->request = request;
    pthread_cond_signal(&source->wake);
    while (source->finished < ticket)
        pthread_cond_wait(&source->done, &source->lock);
    pthread_mutex_unlock(&source->lock);
}

static void process_leave(void)
{
    pthread_mutex_lock(&process.lock);
    buffer_pool_release(&process.pool);
    process.source = NULL;
    pthread_mutex_unlock(&process.lock);
}

bool cupti_flush_begin(struct cupti_source *source, struct error *error)
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
    if (!ready)
        return error_set(error, ERROR_MEMORY, "no memory for %u profiler buffers of %zu bytes", options->buffers,
                         options->buffer_size);
    int code = pthread_create(&source->thread, NULL, source_thread, source);
    if (!code)
        return true;
    process_leave();
    return error_set(error, ERROR_SYSTEM, "the profiler's thread could not be started: %s", strerror(code));
}

void cupti_flush_end(struct cupti_source *source)
{
    pthread_mutex_lock(&source->lock);
    source->stopping = true;
    pthread_cond_signal(&source->wake);
    pthread_mutex_unlock(&source->lock);
    pthread_join(source->thread, NULL);
    process_leave();
}

CUptiResult cupti_flush_register(struct cupti_source *source)
{
    CUptiResult result = CUPTI_SUCCESS;
    if (!process.has_clock) /* a second registration corrupts the times of kernels */
        result = source->api->register_timestamp(clock_callback);
    process.has_clock = process.has_clock || result == CUPTI_SUCCESS;
    return result == CUPTI_SUCCESS ? source->api->register_callbacks(buffer_requested, buffer_completed) : result;
}

uint64_t cupti_flush_buffers(void)
{
    pthread_mutex_lock(&process.lock);
    uint64_t count = process.pool.allocated;
    pthread_mutex_unlock(&process.lock);
    return count;
}
