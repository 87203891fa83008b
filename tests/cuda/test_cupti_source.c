/* The activity source against a CUPTI that runs without a GPU: attribution, accounts, quiet, refusals, threads. */
#include "base/clock.h"
#include "fake_cupti.h"
#include "kernels/cuda/cupti_internal.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define EVENTS_MAX 100000
#define STEPS_MAX 8

struct heard {
    pthread_mutex_t lock;
    struct kernel_event events[EVENTS_MAX];
    uint64_t steps[EVENTS_MAX];
    size_t count, total;
    uint64_t dropped;
    char names[64][KERNEL_NAME_MAX];
    uint32_t name_count;
    char note[512];
};
static struct heard heard;

static uint32_t probe_intern(void *context, const char *name)
{
    struct heard *h = context;
    pthread_mutex_lock(&h->lock);
    uint32_t id = 0;
    while (id < h->name_count && strcmp(h->names[id], name))
        id++;
    if (id == h->name_count) {
        assert_true(id < 64);
        snprintf(h->names[h->name_count++], KERNEL_NAME_MAX, "%s", name);
    }
    pthread_mutex_unlock(&h->lock);
    return id;
}

static void probe_event(void *context, uint64_t step, const struct kernel_event *event)
{
    struct heard *h = context;
    pthread_mutex_lock(&h->lock);
    h->total++;
    if (h->count < EVENTS_MAX) {
        h->steps[h->count] = step;
        h->events[h->count++] = *event;
    }
    pthread_mutex_unlock(&h->lock);
}

static void probe_dropped(void *context, uint64_t count)
{
    struct heard *h = context;
    pthread_mutex_lock(&h->lock);
    h->dropped += count;
    pthread_mutex_unlock(&h->lock);
}

static void probe_note(void *context, const char *key, const char *text)
{
    struct heard *h = context;
    pthread_mutex_lock(&h->lock);
    snprintf(h->note, sizeof h->note, "%s: %s", key, text);
    pthread_mutex_unlock(&h->lock);
}

static const struct probe probe = {
    .context = &heard, .intern = probe_intern, .event = probe_event, .dropped = probe_dropped, .note = probe_note};

static size_t heard_total(void)
{
    pthread_mutex_lock(&heard.lock);
    size_t total = heard.total;
    pthread_mutex_unlock(&heard.lock);
    return total;
}

static struct cupti_source *open_source(const struct source_options *options)
{
    struct error error = {0};
    struct cupti_source *source = cupti_source_open_with(fake_api(), &probe, options, &error);
    if (!source)
        fail_msg("%s", error.text);
    return source;
}

static int setup(void **state)
{
    (void)state;
    fake_reset();
    memset(&heard, 0, sizeof heard);
    pthread_mutex_init(&heard.lock, NULL);
    return 0;
}

/* launches = records + dropped + invalid + missing, and what the probe heard agrees. */
static void check_accounts(struct cupti_source *source, struct cupti_counts *counts)
{
    cupti_source_counts(source, counts);
    assert_int_equal(counts->launches, counts->records + counts->dropped + counts->invalid + counts->missing);
    assert_int_equal(heard.dropped, counts->dropped + counts->missing);
}

static void test_stream_launches_are_of_their_nodes(void **state)
{
    (void)state;
    struct cupti_source *source = open_source(NULL);
    cupti_source_start(source, 42);
    for (int node = 0; node < 500; node++) {
        cupti_source_node(source, node);
        fake_launch(node % 2 ? "_ZN3foo3barILi4EEEvPf" : "softmax", FAKE_GOOD, node % 3 == 0);
        if (node % 5 == 0)
            fake_launch("second", FAKE_GOOD, false);
    }
    cupti_source_node(source, EVENT_NODE_NONE);
    fake_copy(4096);
    fake_empty_memset();
    fake_synchronize(1000);
    fake_overhead();
    cupti_source_stop(source);
    cupti_source_flush(source);

    struct cupti_counts counts;
    check_accounts(source, &counts);
    assert_int_equal(counts.launches, 601);
    assert_int_equal(counts.records, 601);
    assert_int_equal(counts.unattributed, 1);
    assert_int_equal(counts.surplus, 0);
    assert_int_equal(heard.count, 603);
    int next = 0, kinds[5] = {0};
    for (size_t i = 0; i < heard.count; i++) {
        const struct kernel_event *event = &heard.events[i];
        assert_int_equal(heard.steps[i], 42);
        kinds[event->kind]++;
        if (event->kind != EVENT_KERNEL)
            continue;
        assert_true(event->start >= event->launch && event->end >= event->start);
        assert_int_equal(event->stream, 7);
        if (!strcmp(heard.names[event->name], "second")) {
            assert_int_equal(event->node, next - 1);
            continue;
        }
        assert_int_equal(event->node, next);
        assert_string_equal(heard.names[event->name], next % 2 ? "foo::bar<4>" : "softmax");
        next++;
    }
    assert_int_equal(next, 500);
    uint32_t name;
    assert_true(cupti_source_kernel(source, 499, &name));
    assert_string_equal(heard.names[name], "foo::bar<4>");
    assert_false(cupti_source_kernel(source, 500, &name));
    assert_false(cupti_source_kernel(source, -1, &name));
    assert_false(cupti_source_kernel(source, 1 << 20, &name));
    assert_int_equal(kinds[EVENT_COPY], 1);
    assert_int_equal(kinds[EVENT_SYNC], 1);
    assert_int_equal(kinds[EVENT_OVERHEAD], 1);
    cupti_source_close(source);
}

/* The same kernels in the same nodes, once launched one by one and once as a graph: the same rows. */
static void test_graphs_attribute_like_streams(void **state)
{
    (void)state;
    for (int created_last = 0; created_last < 2; created_last++) {
        setup(NULL);
        static struct fake_graph graph;
        graph.count = 0;
        struct cupti_source *source = open_source(NULL);
        for (int node = 0; node < 4096; node++) {
            cupti_source_node(source, node % 997);
            fake_capture_kernel(&graph, node % 2 ? "a" : "b");
        }
        cupti_source_node(source, EVENT_NODE_NONE);
        fake_instantiate(&graph, created_last);

        cupti_source_start(source, 1);
        for (int node = 0; node < 4096; node++) {
            cupti_source_node(source, node % 997);
            fake_launch(node % 2 ? "a" : "b", FAKE_GOOD, false);
        }
        cupti_source_node(source, EVENT_NODE_NONE);
        cupti_source_stop(source);
        cupti_source_start(source, 2);
        cupti_source_graph(source, 4096);
        fake_graph_launch(&graph);
        cupti_source_stop(source);
        cupti_source_flush(source);

        struct cupti_counts counts;
        check_accounts(source, &counts);
        assert_int_equal(counts.records, 8192);
        assert_int_equal(counts.unattributed, 0);
        for (size_t i = 0; i < 4096; i++) {
            assert_int_equal(heard.steps[i], 1);
            assert_int_equal(heard.steps[i + 4096], 2);
            assert_int_equal(heard.events[i].node, heard.events[i + 4096].node);
            assert_int_equal(heard.events[i].name, heard.events[i + 4096].name);
        }
        cupti_source_close(source);
    }
}

static void test_refused_and_lost_records_are_accounted_for(void **state)
{
    (void)state;
    struct cupti_source *source = open_source(NULL);
    cupti_source_start(source, 1);
    cupti_source_node(source, 3);
    static const enum fake_fault faults[] = {FAKE_NO_TIME, FAKE_BACKWARDS, FAKE_EARLY,
                                             FAKE_LOST,    FAKE_REFUSED,   FAKE_GOOD};
    for (int i = 0; i < 6; i++)
        for (int repeat = 0; repeat <= i; repeat++)
            fake_launch("kernel", faults[i], repeat % 2);
    cupti_source_stop(source);
    cupti_source_flush(source);

    struct cupti_counts counts;
    check_accounts(source, &counts);
    assert_int_equal(counts.launches, 1 + 2 + 3 + 4 + 6); /* the refused launches are none */
    assert_int_equal(counts.records, 9);                  /* those that seem to start before their launch among them */
    assert_int_equal(counts.invalid, 3);
    assert_int_equal(counts.invalid_no_time, 1);
    assert_int_equal(counts.invalid_backwards, 2);
    assert_int_equal(counts.missing, 4);
    assert_int_equal(heard.total, 9);
    assert_non_null(strstr(heard.note, "4 launches have no record"));
    assert_non_null(strstr(heard.note, "cuLaunchKernel"));
    cupti_source_close(source);
}

/* Too few buffers: records are dropped, the number is known, nothing else suffers. */
static void test_dropped_records_are_counted(void **state)
{
    (void)state;
    struct source_options options = {.buffer_size = 4096, .buffers = 1, .limit = 2, .period_ms = 10000};
    struct cupti_source *source = open_source(&options);
    cupti_source_start(source, 1);
    cupti_source_node(source, 3);
    for (int i = 0; i < 1000; i++)
        fake_launch("kernel", FAKE_GOOD, false);
    cupti_source_stop(source);
    cupti_source_flush(source);
    struct cupti_counts counts;
    check_accounts(source, &counts);
    assert_int_equal(counts.records, 2 * (4096 / sizeof(CUpti_ActivityKernel10)));
    assert_int_equal(counts.dropped, 1000 - counts.records);
    assert_int_equal(counts.missing, 0);
    assert_int_equal(counts.buffers, 2);
    cupti_source_close(source);
}

static void test_timed_steps_are_quiet(void **state)
{
    (void)state;
    struct cupti_source *source = open_source(NULL);
    for (int step = 0; step < 20; step++) {
        cupti_source_start(source, (uint64_t)step);
        assert_int_equal(fake_state().enabled_kinds, 4);
        assert_false(fake_state().waits_traced); /* it would slow down the timed steps, for good */
        for (int i = 0; i < 10; i++)
            fake_launch("kernel", FAKE_GOOD, false);
        cupti_source_stop(source);

        cupti_source_quiet(source);
        struct fake_state before = fake_state();
        assert_int_equal(before.enabled_kinds, 0);
        assert_int_equal(before.enabled_launch_callbacks, 0);
        assert_int_equal(heard_total(), (size_t)(step + 1) * 10); /* nothing is under way any more */
        for (int i = 0; i < 10; i++)
            fake_launch("timed", FAKE_GOOD, false);
        assert_int_equal(fake_state().api_callbacks, before.api_callbacks);
    }
    struct cupti_counts counts;
    check_accounts(source, &counts);
    assert_int_equal(counts.launches, 200);
    assert_int_equal(counts.records, 200);
    cupti_source_close(source);
}

/* What runs between profiled steps while tracing stays on is nobody's. */
static void test_work_between_steps_is_left_out(void **state)
{
    (void)state;
    struct cupti_source *source = open_source(NULL);
    for (uint64_t step = 0; step < 3000; step++) { /* more than the ring of windows holds */
        cupti_source_start(source, step);
        cupti_source_node(source, (int32_t)step);
        fake_launch("kernel", FAKE_GOOD, false);
        fake_synchronize(0);
        cupti_source_stop(source);
        fake_launch("between", FAKE_GOOD, false);
        fake_copy(1);
        fake_overhead();
        if (step % 500 == 0)
            cupti_source_flush(source);
    }
    cupti_source_flush(source);
    struct cupti_counts counts;
    check_accounts(source, &counts);
    assert_int_equal(counts.launches, 3000);
    assert_int_equal(counts.records, 3000);
    assert_true(counts.outside >= 9000);
    for (size_t i = 0; i < heard.count; i++) {
        assert_true(heard.events[i].kind == EVENT_SYNC || heard.events[i].kind == EVENT_KERNEL);
        if (heard.events[i].kind == EVENT_KERNEL)
            assert_int_equal(heard.events[i].node, heard.steps[i]);
    }
    cupti_source_close(source);
}

/* Of our own programs, by the calls' own beginnings and ends: waits within steps, as long as they took, and no launches. */
static void test_waits_are_told_by_their_calls(void **state)
{
    (void)state;
    enum { STEPS = 3 };
    struct cupti_source *source = open_source(NULL);
    uint64_t before[STEPS], after[STEPS];
    for (int step = 0; step < STEPS; step++) {
        fake_synchronize(0); /* of no step */
        cupti_source_start(source, 10 + (uint64_t)step);
        cupti_source_node(source, 3);
        fake_launch("kernel", FAKE_GOOD, step % 2);
        cupti_source_node(source, EVENT_NODE_NONE);
        before[step] = clock_now();
        fake_synchronize(200000);
        after[step] = clock_now();
        cupti_source_stop(source);
        fake_synchronize(0);
    }
    cupti_source_flush(source);
    struct cupti_counts counts;
    check_accounts(source, &counts);
    assert_int_equal(counts.launches, STEPS);
    assert_int_equal(counts.records, STEPS);
    assert_int_equal(counts.surplus + counts.missing + counts.invalid, 0);
    int waits = 0;
    for (size_t i = 0; i < heard.count; i++) {
        const struct kernel_event *event = &heard.events[i];
        if (event->kind != EVENT_SYNC)
            continue;
        assert_int_equal(heard.steps[i], 10 + waits);
        assert_string_equal(heard.names[event->name], "stream synchronize");
        assert_int_equal(event->node, EVENT_NODE_NONE);
        assert_int_equal(event->bytes, 1);
        assert_true(event->start >= before[waits] && event->end <= after[waits]);
        assert_true(event->launch == event->start && event->end - event->start >= 200000);
        waits++;
    }
    assert_int_equal(waits, STEPS);
    assert_int_equal(heard.count, 2 * STEPS);
    cupti_source_close(source);
}

/* A call of the runtime waits by one of the driver's: they are one wait, and what is launched within neither is not within it. */
static void test_a_wait_within_a_wait_is_one(void **state)
{
    (void)state;
    struct cupti_source *source = open_source(NULL);
    const struct {
        CUpti_CallbackDomain domain;
        CUpti_CallbackId id;
    } calls[] = {{CUPTI_CB_DOMAIN_RUNTIME_API, CUPTI_RUNTIME_TRACE_CBID_cudaEventSynchronize_v3020},
                 {CUPTI_CB_DOMAIN_DRIVER_API, CUPTI_DRIVER_TRACE_CBID_cuEventSynchronize}};
    int refused = 1;
    CUpti_CallbackData call = {.correlationId = 1000000, .functionReturnValue = &refused};
    cupti_source_start(source, 1);
    for (int i = 0; i < 4; i++) {
        call.callbackSite = i < 2 ? CUPTI_API_ENTER : CUPTI_API_EXIT;
        cupti_subscriber_callback(source, calls[i == 1 || i == 2].domain, calls[i == 1 || i == 2].id, &call);
    }
    fake_launch("kernel", FAKE_GOOD, false);
    cupti_source_stop(source);
    cupti_source_flush(source);
    struct cupti_counts counts;
    check_accounts(source, &counts);
    assert_int_equal(counts.launches, 1); /* nor does one that failed take a launch away */
    assert_int_equal(counts.records, 1);
    assert_int_equal(heard.count, 2);
    const struct kernel_event *wait = &heard.events[heard.events[0].kind == EVENT_SYNC ? 0 : 1];
    assert_int_equal(wait->kind, EVENT_SYNC);
    assert_string_equal(heard.names[wait->name], "event synchronize");
    cupti_source_close(source);
}

/* More waits than are kept from one period to the next: the rest is counted, and no launch is missing for it. */
static void test_waits_beyond_what_is_kept_are_counted(void **state)
{
    (void)state;
    enum { BEYOND = 5 };
    const struct source_options options = {.period_ms = 600000};
    struct cupti_source *source = open_source(&options);
    cupti_source_start(source, 1);
    fake_launch("kernel", FAKE_GOOD, false);
    for (int i = 0; i < (int)WAITS_MAX + BEYOND; i++)
        fake_synchronize(0);
    cupti_source_stop(source);
    cupti_source_flush(source);
    assert_int_equal(heard.count, 1 + WAITS_MAX);
    assert_int_equal(heard.dropped, BEYOND);
    struct cupti_counts counts;
    cupti_source_counts(source, &counts);
    assert_int_equal(counts.launches, 1);
    assert_int_equal(counts.records, 1);
    assert_int_equal(counts.missing + counts.dropped, 0);
    cupti_source_close(source);
}

/* Events come while the step still runs, at the flush thread's pace. */
static void test_events_are_live(void **state)
{
    (void)state;
    struct cupti_source *source = open_source(NULL);
    cupti_source_start(source, 1);
    uint64_t slowest = 0;
    for (int round = 0; round < 4; round++) {
        size_t before = heard_total();
        uint64_t launched = clock_now();
        fake_launch("kernel", FAKE_GOOD, false);
        while (heard_total() == before && clock_now() - launched < 2000000000u)
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        assert_int_equal(heard_total(), before + 1);
        uint64_t took = clock_now() - launched;
        slowest = took > slowest ? took : slowest;
    }
    assert_true(slowest < 1000000000u); /* the period is 50 ms; a busy test machine may take its time */
    cupti_source_stop(source);
    cupti_source_close(source);
}

/* Two million records through the same few buffers. */
static void test_memory_is_flat(void **state)
{
    (void)state;
    static struct fake_graph graph;
    graph.count = 0;
    struct source_options options = {.buffer_size = 64 << 10, .buffers = 4, .limit = 64};
    struct cupti_source *source = open_source(&options);
    for (int node = 0; node < 2000; node++) {
        cupti_source_node(source, node);
        fake_capture_kernel(&graph, "kernel");
    }
    cupti_source_node(source, EVENT_NODE_NONE);
    fake_instantiate(&graph, false);
    uint64_t early = 0;
    struct cupti_counts counts;
    for (uint64_t step = 0; step < 1000; step++) {
        cupti_source_start(source, step);
        cupti_source_graph(source, 2000);
        fake_graph_launch(&graph);
        cupti_source_stop(source);
        if (step % 3 == 0)
            cupti_source_flush(source);
        if (step == 100) {
            cupti_source_counts(source, &counts);
            early = counts.buffers;
        }
    }
    cupti_source_flush(source);
    check_accounts(source, &counts);
    assert_int_equal(counts.launches, 2000000);
    assert_int_equal(counts.records + counts.dropped, 2000000);
    assert_int_equal(counts.unattributed, 0);
    assert_true(counts.buffers <= 64 && early <= 64);
    assert_int_equal(heard.total, counts.records);
    cupti_source_close(source);
}

static void expect_refusal(const char *const *words, int count)
{
    struct error error = {0};
    assert_null(cupti_source_open_with(fake_api(), &probe, NULL, &error));
    assert_int_equal(error.kind, ERROR_DEVICE);
    assert_null(strchr(error.text, '\n'));
    for (int i = 0; i < count; i++)
        if (!strstr(error.text, words[i]))
            fail_msg("\"%s\" does not say \"%s\"", error.text, words[i]);
}

static void test_refusals_are_sentences(void **state)
{
    (void)state;
    fake_subscribe_result(CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED, "Nsight Systems");
    expect_refusal((const char *const[]){"another tool", "Nsight Systems", "39"}, 3);
    fake_subscribe_result(CUPTI_ERROR_UNKNOWN, "");
    expect_refusal((const char *const[]){"driver", "999"}, 2);
    fake_subscribe_result(CUPTI_ERROR_HARDWARE, "");
    expect_refusal((const char *const[]){"refused", "error 9"}, 2);
    fake_subscribe_result(CUPTI_SUCCESS, "");
    fake_enable_fails_after(1);
    expect_refusal((const char *const[]){"graphs"}, 1);
    assert_int_equal(fake_state().subscribed, 0);
    fake_enable_fails_after(-1);

    struct cupti_source *source = open_source(NULL); /* and after all that, one opens */
    struct error error = {0};
    assert_null(cupti_source_open_with(fake_api(), &probe, NULL, &error));
    assert_non_null(strstr(error.text, "one subscriber"));
    cupti_source_close(source);
    assert_int_equal(fake_state().subscribed, 0);
    assert_int_equal(fake_state().buffers_out, 0);
    assert_int_equal(fake_state().clock_registrations, 1); /* a second one corrupts times */
}

/* Whichever of the switches fails, all are off again, it is said, and the steps go on unprofiled. */
static void test_a_failed_start_leaves_nothing_on(void **state)
{
    (void)state;
    int calls = 0;
    for (bool traced = false; !traced; calls++) {
        setup(NULL);
        struct cupti_source *source = open_source(NULL);
        fake_enable_fails_after(calls);
        cupti_source_start(source, 1);
        traced = fake_state().enabled_kinds == 4;
        fake_launch("kernel", FAKE_GOOD, false);
        cupti_source_stop(source);
        cupti_source_flush(source);
        assert_int_equal(heard_total(), traced);
        if (!traced) {
            assert_non_null(strstr(heard.note, "profiler: "));
            assert_non_null(strstr(heard.note, "no kernel rows"));
            assert_int_equal(fake_state().enabled_kinds, 0);
            assert_int_equal(fake_state().enabled_launch_callbacks, 0);
        }
        fake_enable_fails_after(-1);
        cupti_source_close(source);
        assert_int_equal(fake_state().subscribed, 0);
    }
    assert_true(calls > 40);
}

/* A program may be released in the middle of a step that failed. */
static void test_close_in_a_step(void **state)
{
    (void)state;
    struct cupti_source *source = open_source(NULL);
    cupti_source_start(source, 1);
    fake_launch("kernel", FAKE_GOOD, false);
    cupti_source_close(source);
    assert_int_equal(heard_total(), 1);
    assert_int_equal(fake_state().enabled_kinds, 0);
    assert_int_equal(fake_state().buffers_out, 0);
}

static void test_a_cupti_that_gives_up_is_left_alone(void **state)
{
    (void)state;
    struct cupti_source *source = open_source(NULL);
    cupti_source_start(source, 1);
    fake_launch("kernel", FAKE_GOOD, false);
    fake_fatal("out of semaphores");
    fake_launch("kernel", FAKE_LOST, false);
    cupti_source_stop(source);
    cupti_source_quiet(source);
    cupti_source_start(source, 2); /* the run goes on */
    cupti_source_stop(source);
    assert_non_null(strstr(heard.note, "gave up"));
    assert_non_null(strstr(heard.note, "out of semaphores"));
    struct cupti_counts counts;
    check_accounts(source, &counts);
    assert_int_equal(counts.missing, 2);
    cupti_source_close(source);
}

static struct {
    int count;
    int32_t node;
    uint64_t step, start, end;
    char how[32];
} waited;

static int32_t foreign_node(void)
{
    return 3;
}

static uint64_t foreign_step(void)
{
    return 5;
}

static void foreign_waited(int32_t node, uint64_t step, const char *how, uint64_t start, uint64_t end)
{
    waited.count++;
    waited.node = node;
    waited.step = step;
    waited.start = start;
    waited.end = end;
    snprintf(waited.how, sizeof waited.how, "%s", how);
}

/* Of a program that is not ours. A call that is under way when launches cease to be watched is not heard to end: what its thread launches
 * afterwards is not within it. */
static void test_waits_of_others_are_told_by_their_calls(void **state)
{
    (void)state;
    const struct source_options options = {.node = foreign_node, .step = foreign_step, .waited = foreign_waited};
    struct cupti_source *source = open_source(&options);
    CUpti_CallbackData call = {.callbackSite = CUPTI_API_ENTER, .correlationId = 1000000};
    cupti_source_watch(source);
    cupti_subscriber_callback(source, CUPTI_CB_DOMAIN_DRIVER_API, CUPTI_DRIVER_TRACE_CBID_cuStreamSynchronize, &call);
    cupti_source_pause(source);
    cupti_source_resume(source);
    const uint64_t before = clock_now();
    fake_launch("kernel", FAKE_GOOD, false);
    cupti_source_flush(source);
    assert_int_equal(heard.count, 1);
    assert_true(heard.events[0].launch >= before);
    call.callbackSite = CUPTI_API_EXIT;
    cupti_subscriber_callback(source, CUPTI_CB_DOMAIN_DRIVER_API, CUPTI_DRIVER_TRACE_CBID_cuStreamSynchronize, &call);
    assert_int_equal(waited.count, 0);

    fake_synchronize(20000);
    assert_int_equal(waited.count, 1);
    assert_int_equal(waited.node, 3);
    assert_int_equal(waited.step, 5);
    assert_string_equal(waited.how, "stream synchronize");
    assert_true(waited.start >= before && waited.end - waited.start >= 20000);
    assert_false(fake_state().waits_traced);

    /* A copy to pinned memory is put in the queue and no more; one to pageable memory is waited for, as long as that takes. */
    for (int long_one = 0; long_one < 2; long_one++) {
        call.callbackSite = CUPTI_API_ENTER;
        cupti_subscriber_callback(source, CUPTI_CB_DOMAIN_DRIVER_API, CUPTI_DRIVER_TRACE_CBID_cuMemcpyDtoHAsync_v2,
                                  &call);
        if (long_one)
            nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
        call.callbackSite = CUPTI_API_EXIT;
        cupti_subscriber_callback(source, CUPTI_CB_DOMAIN_DRIVER_API, CUPTI_DRIVER_TRACE_CBID_cuMemcpyDtoHAsync_v2,
                                  &call);
    }
    assert_in_range(waited.count, 2, 3); /* 3: this thread was held up within the short one */
    assert_string_equal(waited.how, "copy that is waited for");
    cupti_source_close(source);
}

static void test_no_source_is_no_work(void **state)
{
    (void)state;
    struct cupti_counts counts;
    cupti_source_node(NULL, 1);
    cupti_source_graph(NULL, 1);
    cupti_source_start(NULL, 1);
    cupti_source_stop(NULL);
    cupti_source_quiet(NULL);
    cupti_source_flush(NULL);
    cupti_source_counts(NULL, &counts);
    assert_int_equal(counts.launches, 0);
    cupti_source_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_stream_launches_are_of_their_nodes, setup),
        cmocka_unit_test_setup(test_graphs_attribute_like_streams, setup),
        cmocka_unit_test_setup(test_refused_and_lost_records_are_accounted_for, setup),
        cmocka_unit_test_setup(test_dropped_records_are_counted, setup),
        cmocka_unit_test_setup(test_timed_steps_are_quiet, setup),
        cmocka_unit_test_setup(test_work_between_steps_is_left_out, setup),
        cmocka_unit_test_setup(test_waits_are_told_by_their_calls, setup),
        cmocka_unit_test_setup(test_a_wait_within_a_wait_is_one, setup),
        cmocka_unit_test_setup(test_waits_beyond_what_is_kept_are_counted, setup),
        cmocka_unit_test_setup(test_events_are_live, setup),
        cmocka_unit_test_setup(test_memory_is_flat, setup),
        cmocka_unit_test_setup(test_refusals_are_sentences, setup),
        cmocka_unit_test_setup(test_a_failed_start_leaves_nothing_on, setup),
        cmocka_unit_test_setup(test_close_in_a_step, setup),
        cmocka_unit_test_setup(test_waits_of_others_are_told_by_their_calls, setup),
        /* The last that takes buffers: one stays with a CUPTI that gave up, where a search for leaks finds it as long as
         * no other is put into its place. */
        cmocka_unit_test_setup(test_a_cupti_that_gives_up_is_left_alone, setup),
        cmocka_unit_test_setup(test_no_source_is_no_work, setup),
    };
    return cmocka_run_group_tests_name("cupti_source", tests, NULL, NULL);
}
