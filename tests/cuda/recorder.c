#include "base/file.h"
#include "base/strbuf.h"
#include "base/vec.h"
#include "recorded.h"
#include <stdlib.h>
#include <string.h>

struct recorder {
    VEC(struct recorded_record) records;
    struct strbuf buffers;
    uint32_t buffer_count;
    VEC(char *) names;
};

struct recorder *recorder_create(void)
{
    return calloc(1, sizeof(struct recorder));
}

void recorder_free(struct recorder *recorder)
{
    if (!recorder)
        return;
    for (size_t i = 0; i < recorder->names.count; i++)
        free(recorder->names.items[i]);
    vec_release(&recorder->names);
    vec_release(&recorder->records);
    strbuf_release(&recorder->buffers);
    free(recorder);
}

static uintptr_t name_index(struct recorder *recorder, const char *name)
{
    for (size_t i = 0; i < recorder->names.count; i++)
        if (!strcmp(recorder->names.items[i], name))
            return i;
    vec_push(&recorder->names, strdup(name));
    return recorder->names.count - 1;
}

/* What the tables say of one record, and the record without pointers. */
static void record_note(struct recorder *recorder, const struct cupti_source *source, CUpti_Activity *record)
{
    uint32_t correlation = 0, other = 0;
    uint64_t graph_node = 0;
    switch (record->kind) {
    case CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL: {
        CUpti_ActivityKernel10 *kernel = (CUpti_ActivityKernel10 *)record;
        correlation = kernel->correlationId;
        graph_node = kernel->graphNodeId;
        kernel->name = (const char *)name_index(recorder, kernel->name);
        kernel->reserved0 = NULL;
        kernel->pAccessPolicyWindow = NULL;
        break;
    }
    case CUPTI_ACTIVITY_KIND_MEMCPY: {
        CUpti_ActivityMemcpy6 *copy = (CUpti_ActivityMemcpy6 *)record;
        correlation = copy->correlationId;
        other = copy->runtimeCorrelationId;
        graph_node = copy->graphNodeId;
        copy->reserved0 = NULL;
        break;
    }
    case CUPTI_ACTIVITY_KIND_MEMSET: {
        CUpti_ActivityMemset4 *set = (CUpti_ActivityMemset4 *)record;
        correlation = set->correlationId;
        graph_node = set->graphNodeId;
        set->reserved0 = NULL;
        break;
    }
    default:
        break;
    }
    struct launch launch = {.node = EVENT_NODE_NONE};
    bool has =
        launch_table_get(source->launches, correlation, &launch) || launch_table_get(source->launches, other, &launch);
    struct recorded_record note = {
        .has_launch = has,
        .node = launch.node,
        .step = launch.step,
        .time = launch.time,
        .graph_node = graph_node ? graph_table_get(source->graphs, graph_node) : EVENT_NODE_NONE,
    };
    vec_push(&recorder->records, note);
}

void recorder_tap(void *context, const struct cupti_source *source, const uint8_t *buffer, size_t valid)
{
    struct recorder *recorder = context;
    uint32_t bytes = (uint32_t)valid;
    uint8_t *copy = aligned_alloc(8, (valid + 7) / 8 * 8);
    CUpti_Activity *record = NULL;
    memcpy(copy, buffer, valid);
    while (source->api->next_record(copy, valid, &record) == CUPTI_SUCCESS)
        record_note(recorder, source, record);
    strbuf_add(&recorder->buffers, (const char *)&bytes, sizeof bytes);
    strbuf_add(&recorder->buffers, (const char *)copy, valid);
    recorder->buffer_count++;
    free(copy);
}

bool recorder_write(const struct recorder *recorder, const struct cupti_source *source, const char *path,
                    struct error *error)
{
    struct strbuf out = {0};
    uint32_t counts[4] = {(uint32_t)recorder->records.count, (uint32_t)source->window_count, recorder->buffer_count,
                          (uint32_t)recorder->names.count};
    strbuf_add(&out, RECORDED_MAGIC, sizeof RECORDED_MAGIC - 1);
    strbuf_add(&out, (const char *)counts, sizeof counts);
    strbuf_add(&out, (const char *)source->windows, (size_t)source->window_count * sizeof source->windows[0]);
    if (recorder->records.count)
        strbuf_add(&out, (const char *)recorder->records.items,
                   recorder->records.count * sizeof recorder->records.items[0]);
    strbuf_add(&out, recorder->buffers.text, recorder->buffers.length);
    for (size_t i = 0; i < recorder->names.count; i++) {
        uint16_t length = (uint16_t)strlen(recorder->names.items[i]);
        strbuf_add(&out, (const char *)&length, sizeof length);
        strbuf_add(&out, recorder->names.items[i], length);
    }
    bool done = file_write_atomic(path, out.text, out.length, error);
    strbuf_release(&out);
    return done;
}
