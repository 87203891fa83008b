/* The pure parts: records to events, launches and graph nodes to nodes, symbols to names. */
#include "base/unknown.h"
#include "kernels/cuda/cupti_convert.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char interned[8192][KERNEL_NAME_MAX];
static uint32_t interned_count;

static uint32_t intern(void *context, const char *name)
{
    (void)context;
    for (uint32_t i = 0; i < interned_count; i++)
        if (!strcmp(interned[i], name))
            return i;
    assert_true(interned_count < 8192);
    snprintf(interned[interned_count], KERNEL_NAME_MAX, "%s", name);
    return interned_count++;
}

static const struct probe probe = {.intern = intern};

static const struct step_window windows[] = {{10, 1000, 2000}, {11, 3000, 4000}, {12, 5000, UINT64_MAX}};

struct tables {
    struct launch_table *launches;
    struct graph_table *graphs;
    struct name_cache *names;
    struct conversion conversion;
};

static int tables_make(void **state)
{
    struct tables *tables = calloc(1, sizeof *tables);
    tables->launches = launch_table_create(16);
    tables->graphs = graph_table_create();
    tables->names = name_cache_create(&probe);
    tables->conversion = (struct conversion){tables->launches, tables->graphs, tables->names, windows, 3};
    launch_table_put(tables->launches, &(struct launch){.correlation = 100, .node = 5, .step = 10, .time = 1100});
    launch_table_put(tables->launches,
                     &(struct launch){.correlation = 101, .node = 6, .step = LAUNCH_STEP_NONE, .time = 2100});
    launch_table_put(tables->launches, &(struct launch){.correlation = 102, .node = -1, .step = 11, .time = 3100});
    graph_table_put(tables->graphs, 77, 8);
    interned_count = 0;
    *state = tables;
    return 0;
}

static int tables_drop(void **state)
{
    struct tables *tables = *state;
    launch_table_free(tables->launches);
    graph_table_free(tables->graphs);
    name_cache_free(tables->names);
    free(tables);
    return 0;
}

static enum verdict convert_kernel(struct tables *tables, uint32_t correlation, uint64_t start, uint64_t end,
                                   uint64_t graph_node, struct kernel_event *event, uint64_t *step)
{
    CUpti_ActivityKernel10 kernel = {.kind = CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL,
                                     .start = start,
                                     .end = end,
                                     .correlationId = correlation,
                                     .graphNodeId = graph_node,
                                     .streamId = 13,
                                     .name = "gemm"};
    memset(event, 0xee, sizeof *event);
    *step = 999;
    return activity_convert(&tables->conversion, (const CUpti_Activity *)&kernel, event, step);
}

static void test_kernel_of_a_stream(void **state)
{
    struct kernel_event event;
    uint64_t step;
    assert_int_equal(convert_kernel(*state, 100, 1200, 1300, 0, &event, &step), VERDICT_EVENT);
    assert_int_equal(step, 10);
    assert_int_equal(event.node, 5);
    assert_int_equal(event.launch, 1100);
    assert_int_equal(event.start, 1200);
    assert_int_equal(event.end, 1300);
    assert_int_equal(event.correlation, 100);
    assert_int_equal(event.stream, 13);
    assert_int_equal(event.kind, EVENT_KERNEL);
    assert_int_equal(event.bytes, 0);
    assert_string_equal(interned[event.name], "gemm");
    /* a kernel may take no time at all, and may start in the very nanosecond of its launch */
    assert_int_equal(convert_kernel(*state, 100, 1100, 1100, 0, &event, &step), VERDICT_EVENT);
}

static void test_kernel_of_a_graph(void **state)
{
    struct kernel_event event;
    uint64_t step;
    assert_int_equal(convert_kernel(*state, 102, 3200, 3300, 77, &event, &step), VERDICT_EVENT);
    assert_int_equal(event.node, 8);
    assert_int_equal(step, 11);
    assert_int_equal(event.launch, 3100);
    assert_int_equal(convert_kernel(*state, 102, 3200, 3300, 78, &event, &step), VERDICT_EVENT);
    assert_int_equal(event.node,
                     EVENT_NODE_NONE); /* a graph node that was never announced: unattributed, not guessed */
    /* a graph node's own mapping counts, even when the launching call had a node current */
    assert_int_equal(convert_kernel(*state, 100, 1200, 1300, 77, &event, &step), VERDICT_EVENT);
    assert_int_equal(event.node, 8);
}

static void test_bad_times_are_refused(void **state)
{
    struct kernel_event event;
    uint64_t step;
    assert_int_equal(convert_kernel(*state, 100, 0, 0, 0, &event, &step), VERDICT_NO_TIME);
    assert_int_equal(convert_kernel(*state, 100, 1200, 0, 0, &event, &step), VERDICT_NO_TIME);
    assert_int_equal(convert_kernel(*state, 100, 0, 1200, 0, &event, &step), VERDICT_NO_TIME);
    assert_int_equal(convert_kernel(*state, 100, 1300, 1299, 0, &event, &step), VERDICT_BACKWARDS);
    assert_int_equal(convert_kernel(*state, 100, 1099, 1300, 0, &event, &step), VERDICT_EVENT);
    assert_int_equal(event.start, 1099);
    assert_int_equal(event.launch, 1099); /* not the kernel is in doubt, but when it was launched */
    assert_int_equal(convert_kernel(*state, 101, 0, 0, 0, &event, &step),
                     VERDICT_OUTSIDE); /* between steps: no matter */
}

static void test_launches_that_were_not_seen(void **state)
{
    struct kernel_event event;
    uint64_t step;
    assert_int_equal(convert_kernel(*state, 555, 3500, 3600, 77, &event, &step), VERDICT_SURPLUS);
    assert_int_equal(step, 11);
    assert_int_equal(event.node, EVENT_NODE_NONE);
    assert_int_equal(convert_kernel(*state, 555, 2500, 2600, 0, &event, &step), VERDICT_OUTSIDE);
    assert_int_equal(convert_kernel(*state, 555, 999, 1600, 0, &event, &step), VERDICT_OUTSIDE);
    assert_int_equal(convert_kernel(*state, 555, 1000, 1600, 0, &event, &step), VERDICT_SURPLUS);
    assert_int_equal(convert_kernel(*state, 555, 2000, 2600, 0, &event, &step), VERDICT_OUTSIDE);
    assert_int_equal(convert_kernel(*state, 555, UINT64_C(1) << 60, (UINT64_C(1) << 60) + 1, 0, &event, &step),
                     VERDICT_SURPLUS); /* the step that still runs */
    assert_int_equal(step, 12);
    assert_int_equal(convert_kernel(*state, 555, 3500, 3400, 0, &event, &step), VERDICT_OUTSIDE);
    assert_int_equal(convert_kernel(*state, 0, 2500, 2600, 0, &event, &step), VERDICT_OUTSIDE);
}

static void test_copies_and_memsets(void **state)
{
    struct tables *tables = *state;
    struct kernel_event event;
    uint64_t step;
    CUpti_ActivityMemcpy6 copy = {.kind = CUPTI_ACTIVITY_KIND_MEMCPY,
                                  .start = 1200,
                                  .end = 1250,
                                  .bytes = UINT64_C(5) << 32,
                                  .correlationId = 4000,
                                  .runtimeCorrelationId = 100,
                                  .streamId = 70000,
                                  .copyKind = CUPTI_ACTIVITY_MEMCPY_KIND_HTOD};
    assert_int_equal(activity_convert(&tables->conversion, (CUpti_Activity *)&copy, &event, &step), VERDICT_EVENT);
    assert_int_equal(event.kind, EVENT_COPY);
    assert_int_equal(event.node, 5);
    assert_int_equal(event.bytes, UINT64_C(5) << 32);
    assert_int_equal(event.stream, UINT16_MAX); /* held at the most, not wrapped round to another stream */
    assert_string_equal(interned[event.name], "memcpy host to device");
    assert_int_equal(event.copy, COPY_TO_DEVICE);
    assert_false(event.pageable);
    copy.srcKind = CUPTI_ACTIVITY_MEMORY_KIND_PAGEABLE;
    copy.correlationId = 4000;
    assert_int_equal(activity_convert(&tables->conversion, (CUpti_Activity *)&copy, &event, &step), VERDICT_EVENT);
    assert_string_equal(interned[event.name], "memcpy host to device, pageable");
    assert_true(event.copy == COPY_TO_DEVICE && event.pageable);
    copy.copyKind = CUPTI_ACTIVITY_MEMCPY_KIND_DTOH;
    copy.dstKind = CUPTI_ACTIVITY_MEMORY_KIND_PINNED;
    assert_int_equal(activity_convert(&tables->conversion, (CUpti_Activity *)&copy, &event, &step), VERDICT_EVENT);
    assert_string_equal(interned[event.name], "memcpy device to host");
    assert_true(event.copy == COPY_TO_HOST && !event.pageable);
    copy.dstKind = CUPTI_ACTIVITY_MEMORY_KIND_PAGEABLE;
    assert_int_equal(activity_convert(&tables->conversion, (CUpti_Activity *)&copy, &event, &step), VERDICT_EVENT);
    assert_string_equal(interned[event.name], "memcpy device to host, pageable");
    assert_true(event.copy == COPY_TO_HOST && event.pageable);
    copy.copyKind = CUPTI_ACTIVITY_MEMCPY_KIND_ATOH; /* one that is not told apart: no side of it is looked at */
    assert_int_equal(activity_convert(&tables->conversion, (CUpti_Activity *)&copy, &event, &step), VERDICT_EVENT);
    assert_true(event.copy == COPY_OTHER && !event.pageable);
    assert_string_equal(interned[event.name], "memcpy");
    CUpti_ActivityMemset4 set = {.kind = CUPTI_ACTIVITY_KIND_MEMSET,
                                 .start = 3200,
                                 .end = 3201,
                                 .bytes = 64,
                                 .correlationId = 102,
                                 .graphNodeId = 77};
    assert_int_equal(activity_convert(&tables->conversion, (CUpti_Activity *)&set, &event, &step), VERDICT_EVENT);
    assert_int_equal(event.kind, EVENT_MEMSET);
    assert_int_equal(event.copy, COPY_FILL);
    assert_int_equal(event.node, 8);
    assert_int_equal(event.bytes, 64);
}

static void test_host_time_and_unknown_kinds(void **state)
{
    struct tables *tables = *state;
    struct kernel_event event;
    uint64_t step;
    /* Somebody else's wish, in the same process: waits are told by their calls. */
    CUpti_ActivitySynchronization2 wait = {.kind = CUPTI_ACTIVITY_KIND_SYNCHRONIZATION,
                                           .type = CUPTI_ACTIVITY_SYNCHRONIZATION_TYPE_CONTEXT_SYNCHRONIZE,
                                           .start = 3900,
                                           .end = 4100};
    assert_int_equal(activity_convert(&tables->conversion, (CUpti_Activity *)&wait, &event, &step), VERDICT_OUTSIDE);
    CUpti_ActivityOverhead3 overhead = {.kind = CUPTI_ACTIVITY_KIND_OVERHEAD,
                                        .overheadKind = CUPTI_ACTIVITY_OVERHEAD_CUPTI_BUFFER_FLUSH,
                                        .start = 1500,
                                        .end = 1600};
    assert_int_equal(activity_convert(&tables->conversion, (CUpti_Activity *)&overhead, &event, &step), VERDICT_HOST);
    assert_int_equal(event.kind, EVENT_OVERHEAD);
    assert_int_equal(step, 10);
    assert_int_equal(event.node, EVENT_NODE_NONE);
    assert_string_equal(interned[event.name], "overhead: profiler buffer flush");
    overhead.start = 4500;
    assert_int_equal(activity_convert(&tables->conversion, (CUpti_Activity *)&overhead, &event, &step),
                     VERDICT_OUTSIDE);
    CUpti_Activity other = {.kind = CUPTI_ACTIVITY_KIND_DEVICE};
    assert_int_equal(activity_convert(&tables->conversion, &other, &event, &step), VERDICT_OUTSIDE);
}

/* The ring forgets the oldest, and never gives one launch for another. */
static void test_launch_ring(void **state)
{
    (void)state;
    struct launch_table *table = launch_table_create(64);
    struct launch launch;
    for (uint32_t id = 1; id <= 1000; id++)
        launch_table_put(table,
                         &(struct launch){.correlation = id, .node = (int32_t)id * 2, .step = id * 3, .time = id * 5});
    for (uint32_t id = 0; id <= 1100; id++) {
        bool kept = id > 1000 - 64 && id <= 1000;
        assert_int_equal(launch_table_get(table, id, &launch), kept);
        if (kept)
            assert_true(launch.node == (int32_t)id * 2 && launch.step == id * 3 && launch.time == id * 5);
    }
    launch_table_free(table);
}

struct hammer {
    struct launch_table *table;
    _Atomic uint32_t newest;
    _Atomic bool stop;
};

static void *hammer_write(void *context)
{
    struct hammer *hammer = context;
    for (uint32_t id = 1; !atomic_load(&hammer->stop); id++) {
        launch_table_put(hammer->table, &(struct launch){.correlation = id,
                                                         .node = (int32_t)(id * 7),
                                                         .step = id * UINT64_C(9),
                                                         .time = id * UINT64_C(11)});
        atomic_store(&hammer->newest, id);
        for (uint32_t pause = id % 64; pause; pause--) /* or the reader never meets one that stays */
            atomic_load(&hammer->stop);
    }
    return NULL;
}

/* A reader beside a writer gets a whole launch or none. One place for all, so that they always meet. */
static void test_launch_ring_under_contention(void **state)
{
    (void)state;
    struct hammer hammer = {.table = launch_table_create(1)};
    pthread_t writer;
    assert_int_equal(pthread_create(&writer, NULL, hammer_write, &hammer), 0);
    uint64_t hits = 0, torn = 0;
    for (uint32_t round = 0; round < 30000000 && hits < 3000000; round++) {
        struct launch launch;
        uint32_t id = atomic_load(&hammer.newest);
        if (!launch_table_get(hammer.table, id, &launch))
            continue;
        hits++;
        torn += launch.node != (int32_t)(id * 7) || launch.step != id * UINT64_C(9) || launch.time != id * UINT64_C(11);
    }
    atomic_store(&hammer.stop, true);
    pthread_join(writer, NULL);
    assert_int_equal(torn, 0);
    assert_true(hits > 1000);
    launch_table_free(hammer.table);
}

static void test_graph_table_grows(void **state)
{
    (void)state;
    struct graph_table *table = graph_table_create();
    for (uint64_t graph = 1; graph <= 20; graph++)
        for (uint64_t node = 0; node < 3000; node++)
            assert_true(graph_table_put(table, graph << 32 | node, (int32_t)(graph * 10000 + node)));
    for (uint64_t graph = 1; graph <= 20; graph++)
        for (uint64_t node = 0; node < 3000; node++)
            assert_int_equal(graph_table_get(table, graph << 32 | node), (int32_t)(graph * 10000 + node));
    assert_int_equal(graph_table_get(table, UINT64_C(21) << 32), EVENT_NODE_NONE);
    assert_int_equal(graph_table_get(table, 0), EVENT_NODE_NONE);
    graph_table_put(table, UINT64_C(1) << 32, 4); /* an id that CUPTI uses again */
    assert_int_equal(graph_table_get(table, UINT64_C(1) << 32), 4);
    graph_table_free(table);
}

static void check_tidy(const char *symbol, const char *expected)
{
    char name[KERNEL_NAME_MAX];
    kernel_name_tidy(symbol, name, sizeof name);
    assert_string_equal(name, expected);
}

static void test_names(void **state)
{
    (void)state;
    check_tidy("sm90_xmma_gemm_bf16bf16_bf16f32", "sm90_xmma_gemm_bf16bf16_bf16f32");
    check_tidy("_ZN3foo3barILi4EEEvPf", "foo::bar<4>");
    check_tidy("_Z6kernelPKfi", "kernel");
    check_tidy("_ZN12_GLOBAL__N_16kernelEPFviE", "(anonymous namespace)::kernel");
    check_tidy("_Znot a symbol", "_Znot a symbol");
    check_tidy("", "");
    char one[1000], two[1000], tidy_one[KERNEL_NAME_MAX], tidy_two[KERNEL_NAME_MAX];
    memset(one, 'k', sizeof one);
    one[998] = 'a';
    one[999] = '\0';
    memcpy(two, one, sizeof one);
    two[998] = 'b';
    kernel_name_tidy(one, tidy_one, sizeof tidy_one);
    kernel_name_tidy(two, tidy_two, sizeof tidy_two);
    assert_int_equal(strlen(tidy_one), KERNEL_NAME_MAX - 1);
    assert_string_not_equal(tidy_one, tidy_two);
}

static void test_name_cache(void **state)
{
    struct tables *tables = *state;
    char moving[32] = "first";
    uint32_t first = name_cache_symbol(tables->names, moving);
    assert_int_equal(name_cache_symbol(tables->names, moving), first);
    strcpy(moving, "second"); /* another module's name at the same place */
    uint32_t second = name_cache_symbol(tables->names, moving);
    assert_int_not_equal(first, second);
    assert_string_equal(interned[second], "second");
    static char many[6000][16]; /* more than the cache holds: still right */
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 6000; i++) {
            snprintf(many[i], sizeof many[i], "k%d", i);
            assert_string_equal(interned[name_cache_symbol(tables->names, many[i])], many[i]);
        }
    assert_string_equal(interned[name_cache_symbol(tables->names, NULL)], "(kernel without a name)");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, tables_make, tables_drop)
    const struct CMUnitTest tests[] = {
        TEST(test_kernel_of_a_stream),
        TEST(test_kernel_of_a_graph),
        TEST(test_bad_times_are_refused),
        TEST(test_launches_that_were_not_seen),
        TEST(test_copies_and_memsets),
        TEST(test_host_time_and_unknown_kinds),
        TEST(test_launch_ring),
        TEST(test_launch_ring_under_contention),
        TEST(test_graph_table_grows),
        TEST(test_names),
        TEST(test_name_cache),
    };
    return cmocka_run_group_tests_name("cupti_convert", tests, NULL, NULL);
}
