/* Buffers that CUPTI filled on a card, through the conversion: one step of the tiny model as a graph, its forward pass
 * once more launch by launch. */
#include "base/file.h"
#include "record_size.h"
#include "recorded.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct replay {
    char *file;
    uint32_t records, windows, buffers, names;
    struct step_window *window;
    const struct recorded_record *record;
    struct {
        uint8_t *bytes;
        uint32_t valid;
    } buffer[64];
    char *name[256];
    CUpti_Activity *activity[8192]; /* pointers into the buffers, names mended */
    struct launch_table *launches;
    struct graph_table *graphs;
    struct name_cache *cache;
    struct conversion conversion;
};

static uint32_t intern(void *context, const char *name)
{
    static char names[256][KERNEL_NAME_MAX];
    (void)context;
    uint32_t id = 0;
    while (id < 255 && names[id][0] && strcmp(names[id], name))
        id++;
    snprintf(names[id], KERNEL_NAME_MAX, "%s", name);
    return id;
}
static const struct probe probe = {.intern = intern};

static const char *take(const char **at, const char *end, size_t bytes)
{
    const char *from = *at;
    if ((size_t)(end - from) < bytes)
        fail_msg("the recording is cut short");
    *at += bytes;
    return from;
}

/* The tables as the callbacks left them, put together again from what was noted for each record. */
static void tables_fill(struct replay *replay)
{
    uint32_t next = 0;
    for (uint32_t b = 0; b < replay->buffers; b++)
        for (uint8_t *at = replay->buffer[b].bytes; at < replay->buffer[b].bytes + replay->buffer[b].valid;) {
            CUpti_Activity *activity = (CUpti_Activity *)at;
            const struct recorded_record *note = &replay->record[next];
            uint32_t correlation = 0;
            uint64_t graph_node = 0;
            replay->activity[next++] = activity;
            const size_t size = record_size(activity->kind);
            if (!size)
                fail_msg("the recording holds a record of kind %d", (int)activity->kind);
            at += size;
            if (activity->kind == CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL) {
                CUpti_ActivityKernel10 *kernel = (CUpti_ActivityKernel10 *)activity;
                correlation = kernel->correlationId;
                graph_node = kernel->graphNodeId;
                assert_true((uintptr_t)kernel->name < replay->names);
                kernel->name = replay->name[(uintptr_t)kernel->name];
            } else if (activity->kind == CUPTI_ACTIVITY_KIND_MEMSET) {
                correlation = ((CUpti_ActivityMemset4 *)activity)->correlationId;
                graph_node = ((CUpti_ActivityMemset4 *)activity)->graphNodeId;
            } else if (activity->kind == CUPTI_ACTIVITY_KIND_MEMCPY) {
                correlation = ((CUpti_ActivityMemcpy6 *)activity)->correlationId;
                graph_node = ((CUpti_ActivityMemcpy6 *)activity)->graphNodeId;
            }
            if (note->has_launch)
                launch_table_put(replay->launches, &(struct launch){.correlation = correlation,
                                                                    .node = note->node,
                                                                    .step = note->step,
                                                                    .time = note->time});
            if (graph_node && note->graph_node != EVENT_NODE_NONE)
                graph_table_put(replay->graphs, graph_node, note->graph_node);
        }
    assert_int_equal(next, replay->records);
}

static int replay_open(void **state)
{
    struct replay *replay = calloc(1, sizeof *replay);
    struct error error = {0};
    size_t length;
    if (!file_read(TEST_SOURCE_DIR "/cuda/recorded.bin", 16 << 20, &replay->file, &length, &error))
        fail_msg("%s", error.text);
    const char *at = replay->file, *end = at + length;
    assert_memory_equal(take(&at, end, sizeof RECORDED_MAGIC - 1), RECORDED_MAGIC, sizeof RECORDED_MAGIC - 1);
    memcpy(&replay->records, take(&at, end, 16), 16);
    assert_true(replay->records <= 8192 && replay->buffers <= 64 && replay->names <= 256 && replay->windows <= 1024);
    replay->window = malloc(replay->windows * sizeof *replay->window);
    memcpy(replay->window, take(&at, end, replay->windows * sizeof *replay->window),
           replay->windows * sizeof *replay->window);
    struct recorded_record *records = malloc(replay->records * sizeof *records);
    memcpy(records, take(&at, end, replay->records * sizeof *records), replay->records * sizeof *records);
    replay->record = records;
    for (uint32_t b = 0; b < replay->buffers; b++) {
        memcpy(&replay->buffer[b].valid, take(&at, end, 4), 4);
        replay->buffer[b].bytes = aligned_alloc(8, (replay->buffer[b].valid + 7) / 8 * 8);
        memcpy(replay->buffer[b].bytes, take(&at, end, replay->buffer[b].valid), replay->buffer[b].valid);
    }
    for (uint32_t n = 0; n < replay->names; n++) {
        uint16_t bytes;
        memcpy(&bytes, take(&at, end, 2), 2);
        replay->name[n] = strndup(take(&at, end, bytes), bytes);
    }
    assert_ptr_equal(at, end);
    replay->launches = launch_table_create(1 << 16);
    replay->graphs = graph_table_create();
    replay->cache = name_cache_create(&probe);
    replay->conversion =
        (struct conversion){replay->launches, replay->graphs, replay->cache, replay->window, replay->windows};
    tables_fill(replay);
    *state = replay;
    return 0;
}

static int replay_close(void **state)
{
    struct replay *replay = *state;
    for (uint32_t b = 0; b < replay->buffers; b++)
        free(replay->buffer[b].bytes);
    for (uint32_t n = 0; n < replay->names; n++)
        free(replay->name[n]);
    launch_table_free(replay->launches);
    graph_table_free(replay->graphs);
    name_cache_free(replay->cache);
    free((void *)(uintptr_t)replay->record);
    free(replay->window);
    free(replay->file);
    free(replay);
    return 0;
}

static int by_start(const void *a, const void *b)
{
    const struct kernel_event *x = a, *y = b;
    return (x->start > y->start) - (x->start < y->start);
}

/* Every record of the card is a valid event of a node; kernels of the one stream do not overlap. */
static void test_all_records_become_events(void **state)
{
    struct replay *replay = *state;
    static struct kernel_event events[8192];
    uint64_t step;
    uint32_t verdicts[VERDICT_COUNT] = {0}, of_step[3] = {0}, count = 0, waits = 0;
    for (uint32_t i = 0; i < replay->records; i++) {
        enum verdict verdict = activity_convert(&replay->conversion, replay->activity[i], &events[count], &step);
        verdicts[verdict]++;
        if (replay->activity[i]->kind == CUPTI_ACTIVITY_KIND_SYNCHRONIZATION) {
            assert_int_equal(verdict, VERDICT_OUTSIDE);
            waits++;
        }
        if (verdict != VERDICT_EVENT)
            continue;
        assert_true(step == 1 || step == 2);
        assert_true(events[count].node >= 0);
        assert_true(events[count].launch <= events[count].start && events[count].start <= events[count].end);
        of_step[step]++;
        count++;
    }
    assert_true(of_step[1] > 40 && of_step[2] > 10);
    assert_int_equal(verdicts[VERDICT_SURPLUS] + verdicts[VERDICT_NO_TIME] + verdicts[VERDICT_BACKWARDS], 0);
    assert_true(waits >= 2); /* the recording is of a time that asked for them */
    qsort(events, count, sizeof *events, by_start);
    for (uint32_t i = 1; i < count; i++)
        assert_true(events[i].start >= events[i - 1].end);
}

/* The forward pass has the same kernels in the same nodes, whether a graph ran them or the stream. */
static void test_graph_and_stream_agree(void **state)
{
    struct replay *replay = *state;
    static uint32_t names[3][4096];
    static int32_t seen[3][4096];
    memset(seen, 0, sizeof seen);
    int32_t last = -1;
    for (uint32_t i = 0; i < replay->records; i++) {
        struct kernel_event event;
        uint64_t step;
        if (activity_convert(&replay->conversion, replay->activity[i], &event, &step) != VERDICT_EVENT)
            continue;
        assert_true(event.node < 4096);
        seen[step][event.node]++;
        names[step][event.node] += event.name * 31 + event.kind;
        if (step == 2 && event.node > last)
            last = event.node;
    }
    for (int32_t node = 0; node <= last; node++) {
        assert_int_equal(seen[1][node], seen[2][node]);
        assert_int_equal(names[1][node], names[2][node]);
    }
}

/* Real records made false in one thing each. */
static void test_spoiled_records_are_refused(void **state)
{
    struct replay *replay = *state;
    uint32_t tried = 0;
    for (uint32_t i = 0; i < replay->records; i++) {
        if (replay->activity[i]->kind != CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL || !replay->record[i].has_launch)
            continue;
        struct kernel_event event;
        uint64_t step;
        CUpti_ActivityKernel10 kernel = *(CUpti_ActivityKernel10 *)replay->activity[i];
        const CUpti_Activity *spoiled = (const CUpti_Activity *)&kernel;
        kernel.end = kernel.start - 1;
        assert_int_equal(activity_convert(&replay->conversion, spoiled, &event, &step), VERDICT_BACKWARDS);
        kernel.start = kernel.end = 0;
        assert_int_equal(activity_convert(&replay->conversion, spoiled, &event, &step), VERDICT_NO_TIME);
        kernel.start = replay->record[i].time - 1;
        kernel.end = kernel.start + 10;
        assert_int_equal(activity_convert(&replay->conversion, spoiled, &event, &step), VERDICT_EVENT);
        assert_int_equal(event.launch, kernel.start); /* kept: the launch is in doubt */
        kernel.correlationId ^= 0x40000000;
        assert_int_not_equal(activity_convert(&replay->conversion, spoiled, &event, &step), VERDICT_EVENT);
        tried++;
    }
    assert_true(tried > 50);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, replay_open, replay_close)
    const struct CMUnitTest tests[] = {
        TEST(test_all_records_become_events),
        TEST(test_graph_and_stream_agree),
        TEST(test_spoiled_records_are_refused),
    };
    return cmocka_run_group_tests_name("cupti_replay", tests, NULL, NULL);
}
