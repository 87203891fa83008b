/* A plan made ready for the device: memory, pipelines, choices, recordings; and the reading and writing of tensors. */
#include "base/clock.h"
#include "base/unknown.h"
#include "kernels/choice_cache.h"
#include "kernels/vulkan/vulkan_internal.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB(bytes) ((double)(bytes) / (1024.0 * 1024.0))

static void note(struct program *program, struct prepare_report *report, const char *key, const char *text)
{
    prepare_say(report, arena_strdup(&program->memory, key), arena_strdup(&program->memory, text));
}

/* Refuses what does not fit before the driver is asked, then takes the arena and the workspace: scratch, then splits' parts. */
static bool memory_take(struct program *program, struct prepare_report *report, struct error *error)
{
    struct device *device = program->device;
    uint64_t arena = program->plan->memory.total ? program->plan->memory.total : PLAN_ALIGNMENT;
    uint64_t workspace = program->scratch_bytes + program->gemms.parts_bytes + PLAN_ALIGNMENT;
    report->device_free_bytes = vulkan_free_bytes(device);
    report->workspace_bytes = workspace;
    uint64_t limit = is_known_u64(report->device_free_bytes) ? report->device_free_bytes : device->traits.memory_bytes;
    if (arena + workspace > limit)
        return error_set(
            error, ERROR_MEMORY,
            "the plan needs %.0f MiB (%llu bytes: %.0f MiB for the plan, %.0f MiB of workspace) and %s has "
            "%.0f MiB %s (%llu bytes) of %.0f",
            MIB(arena + workspace), (unsigned long long)(arena + workspace), MIB(arena), MIB(workspace), device->name,
            MIB(limit), is_known_u64(report->device_free_bytes) ? "free" : "in all", (unsigned long long)limit,
            MIB(device->traits.memory_bytes));
    if (!vulkan_buffer_make(device, arena, false, &program->arena, error) ||
        !vulkan_buffer_make(device, workspace, false, &program->workspace, error))
        return error_prefix(error, "planned %.0f MiB, %.0f MiB %s", MIB(arena + workspace), MIB(limit),
                            is_known_u64(report->device_free_bytes) ? "free" : "in all");
    return vulkan_buffer_make(device, VULKAN_RATES_BYTES, true, &program->rates, error);
}

static uint64_t address_of(const struct program *program, uint64_t tagged)
{
    if (tagged & VULKAN_IN_ARENA)
        return program->arena.address + VULKAN_OFFSET(tagged);
    if (tagged & VULKAN_IN_RATES)
        return program->rates.address + VULKAN_OFFSET(tagged);
    return tagged & VULKAN_IN_WORKSPACE ? program->workspace.address + VULKAN_OFFSET(tagged) : 0;
}

static void launches_locate(struct program *program)
{
    for (int32_t i = 0; i < program->launch_count; ++i) {
        struct vulkan_launch *launch = &program->launches[i];
        for (int slot = 0; slot < 8; ++slot)
            if (launch->pointers >> slot & 1)
                launch->push.a[slot].address = address_of(program, launch->push.a[slot].address);
    }
}

/* elementwise.comp outside the plan: the cast that renews a parameter's copy, and random values for timing. */
static int32_t elementwise_pipeline(struct program *program, int which, uint32_t width, uint32_t pieces,
                                    uint32_t threads, bool narrow_output)
{
    uint32_t special[VULKAN_SPECIALS] = {0};
    for (int i = VULKAN_VARIANT; i < VULKAN_TYPES; ++i)
        special[i] = 1;
    special[VULKAN_VARIANT] = (uint32_t)which;
    special[VULKAN_VARIANT + 1] = width;
    special[VULKAN_VARIANT + 2] = pieces;
    special[VULKAN_TYPES] = narrow_output ? 1u << 2 : 0;
    special[VULKAN_THREADS] = threads;
    return vulkan_pipeline_find(&program->pipelines, "elementwise.comp", special);
}

int32_t vulkan_fill_pipeline(struct program *program)
{
    return elementwise_pipeline(program, 7, 1, 1, 256, false);
}

int32_t vulkan_copy_pipeline(struct program *program, uint32_t threads, uint32_t pieces)
{
    return elementwise_pipeline(program, 8, 4, pieces, threads, false);
}

static void pipelines_register(struct program *program)
{
    program->renewal_pipeline = program->fill_pipeline = -1;
    for (int32_t i = 0; i < program->plan->tensor_count && program->renewal_pipeline < 0; ++i)
        if (program->plan->tensors[i].kind == TENSOR_PARAMETER_COPY)
            program->renewal_pipeline = elementwise_pipeline(program, 0, 1, 1, 256, true);
    if (program->compile)
        program->fill_pipeline = vulkan_fill_pipeline(program);
}

static void elementwise_dispatch(const struct program *program, int32_t pipeline, uint64_t from, uint64_t to,
                                 uint64_t count, uint64_t each)
{
    struct vulkan_push push;
    memset(&push, 0, sizeof push);
    push.a[0].address = from;
    push.a[2].address = to;
    push.d[0] = (uint32_t)count;
    uint64_t groups = lower_blocks((int64_t)count, (int64_t)each); /* elements of a workgroup */
    const uint32_t grid[3] = {(uint32_t)(groups < 32768 ? groups : 32768), (uint32_t)((groups + 32767) / 32768), 1};
    vulkan_dispatch(program, program->device->transfer, pipeline, grid, &push);
}

void vulkan_copy_dispatch(const struct program *program, int32_t pipeline, uint64_t from, uint64_t to, uint64_t bytes)
{
    const uint32_t *special = program->pipelines.items[pipeline].special;
    elementwise_dispatch(program, pipeline, from, to, bytes / 4,
                         4 * (uint64_t)special[VULKAN_THREADS] * special[VULKAN_VARIANT + 2]);
}

/* Zeros draw less power than numbers do, and clocks follow the power. */
bool vulkan_fill_random(struct program *program, struct error *error)
{
    struct device *device = program->device;
    const uint64_t piece = UINT64_C(1) << 28; /* floats */
    if (!vulkan_begin(device, error))
        return false;
    for (uint64_t first = 0; first < program->arena.bytes / 4; first += piece) {
        uint64_t left = program->arena.bytes / 4 - first;
        elementwise_dispatch(program, program->fill_pipeline, 0, program->arena.address + first * 4,
                             left < piece ? left : piece, 256);
    }
    return vulkan_finish(device, error);
}

static bool memory_clear(struct program *program, struct error *error)
{
    struct device *device = program->device;
    memset(program->rates.mapped, 0, VULKAN_RATES_BYTES);
    if (!vulkan_begin(device, error))
        return false;
    vulkan_barrier(device, device->transfer);
    device->api.vkCmdFillBuffer(device->transfer, program->arena.buffer, 0, VK_WHOLE_SIZE, 0);
    device->api.vkCmdFillBuffer(device->transfer, program->workspace.buffer, 0, VK_WHOLE_SIZE, 0);
    vulkan_barrier(device, device->transfer);
    return vulkan_finish(device, error);
}

static bool stamps_make(struct program *program, struct error *error)
{
    struct device *device = program->device;
    program->most_dispatches = 2 * program->launch_count;
    program->stamp_count = PHASE_COUNT + 1 + 2 * (uint32_t)program->most_dispatches;
    VkQueryPoolCreateInfo info = {.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
                                  .queryType = VK_QUERY_TYPE_TIMESTAMP,
                                  .queryCount = program->stamp_count};
    VkCommandPoolCreateInfo pool = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                    .flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT,
                                    .queueFamilyIndex = device->traits.family};
    if (!VULKAN_OK(device, vkCreateQueryPool(device->handle, &info, NULL, &program->stamps), error) ||
        !VULKAN_OK(device, vkCreateCommandPool(device->handle, &pool, NULL, &program->eager_pool), error))
        return false;
    program->stamp_values = calloc(program->stamp_count, sizeof *program->stamp_values);
    program->eager.dispatches = calloc((size_t)program->most_dispatches + 1, sizeof *program->eager.dispatches);
    return (program->stamp_values && program->eager.dispatches) ||
           error_set(error, ERROR_MEMORY, "out of memory on the host");
}

static bool record_all(struct program *program, bool profiled, struct error *error)
{
    static const unsigned ranges[] = {PHASES_FWD, PHASES_FWD_BWD, PHASES_TRAIN_STEP};
    for (int i = 0; i < 3 * (profiled ? 2 : 1); ++i) {
        unsigned phases = ranges[i % 3];
        int last = 31 - __builtin_clz(phases); /* a range counts when the plan has nodes of its last phase */
        if (program->phase_launch[last] == program->phase_launch[last + 1])
            continue;
        struct vulkan_recording *recording = &program->recordings[program->recording_count];
        recording->dispatches = calloc((size_t)program->most_dispatches + 1, sizeof *recording->dispatches);
        if (!recording->dispatches)
            return error_set(error, ERROR_MEMORY, "out of memory on the host");
        ++program->recording_count;
        if (!vulkan_record(program, phases, i >= 3 ? RECORD_PROFILED : RECORD_TIMED, false, recording, error))
            return error_prefix(error, "recording the step");
    }
    return true;
}

static const char *launch_name(const struct program *program, const struct vulkan_launch *launch)
{
    return launch->gemm >= 0 ? program->gemms.items[launch->gemm].name : launch->name;
}

static bool names_intern(struct program *program, const struct probe *probe, struct error *error)
{
    program->launch_names = calloc(2 * (size_t)program->launch_count + 1, sizeof *program->launch_names);
    if (!program->launch_names)
        return error_set(error, ERROR_MEMORY, "out of memory on the host");
    for (int32_t i = 0; i < program->launch_count; ++i) {
        program->launch_names[2 * i] = probe->intern(probe->context, launch_name(program, &program->launches[i]));
        if (program->launches[i].gemm >= 0)
            program->launch_names[2 * i + 1] = probe->intern(probe->context, "gemm_sum");
    }
    return true;
}

static void describe(struct program *program, struct prepare_report *report)
{
    char text[256], key[64], room[CHOICE_ROOM_TEXT];
    int timed = 0, known = 0;
    const struct vulkan_traits *traits = &program->device->traits;
    snprintf(text, sizeof text, "%d for %.60s by %.60s%s", program->pipelines.count, traits->properties.deviceName,
             traits->driver,
             program->pipelines.from_cache ? ", with its cache of an earlier run"
             : program->pipelines.overfull ? "; its cache had grown too large and begins anew"
                                           : "");
    note(program, report, "pipelines", text);
    if (program->counters.pool) {
        snprintf(text, sizeof text, "%u a dispatch by VK_KHR_performance_query", program->counters.count);
        note(program, report, NOTE_COUNTER_TIER, text);
    } else {
        note(program, report, NOTE_COUNTER_TIER, "none");
        note(program, report, NOTE_COUNTER_TIER_WHY,
             traits->counters
                 ? "the driver has VK_KHR_performance_query: counters: on reads it"
                 : "the driver has no VK_KHR_performance_query, and steptop uses no vendor's own counters");
    }
    for (int32_t i = 0; i < program->gemms.count; ++i) {
        timed += !program->gemms.items[i].from_cache && program->gemms.items[i].tried > 0;
        known += program->gemms.items[i].from_cache;
    }
    snprintf(text, sizeof text, "%d shapes: %d timed now, %d known from the cache, %d by rule%s", program->gemms.count,
             timed, known, program->gemms.count - timed - known,
             choice_cache_room(program->choices_dropped, program->choices_refused, room, sizeof room));
    note(program, report, "matrix products", text);
    for (int32_t i = 0; i < program->gemms.count; ++i) {
        const struct vulkan_gemm *gemm = &program->gemms.items[i];
        if (gemm->tried == 0)
            continue;
        snprintf(key, sizeof key, "gemm %lldx%lldx%lld%s%s", (long long)gemm->shape.m, (long long)gemm->shape.n,
                 (long long)gemm->shape.k, gemm->shape.transpose_a ? " ta" : "", gemm->shape.transpose_b ? " tb" : "");
        snprintf(text, sizeof text, "%s, %.1f us, best of %d", gemm->name, gemm->best_us, gemm->tried);
        note(program, report, key, text);
    }
    for (int i = 0; i < program->recording_count; ++i) {
        const struct vulkan_recording *recording = &program->recordings[i];
        if (recording->profiled)
            continue;
        snprintf(key, sizeof key, "recording %d", i);
        snprintf(text, sizeof text, "phases %s to %s, %d dispatches, %d barriers",
                 phase_name((enum phase)__builtin_ctz(recording->phases)),
                 phase_name((enum phase)(31 - __builtin_clz(recording->phases))), recording->dispatch_count,
                 recording->barriers);
        note(program, report, key, text);
    }
}

struct program *vulkan_prepare(struct device *device, const struct plan *plan, const struct prepare_options *options,
                               struct prepare_report *report, struct error *error)
{
    struct prepare_report unused;
    char why[160];
    if (!report)
        report = &unused;
    memset(report, 0, sizeof *report);
    report->device_free_bytes = UNKNOWN_U64;
    struct program *program = calloc(1, sizeof *program);
    if (!program) {
        error_set(error, ERROR_MEMORY, "out of memory on the host");
        return NULL;
    }
    program->device = device;
    program->plan = plan;
    program->compile = options->compile;
    program->preparing = options;
    if (!vulkan_supports(device, OP_ADD, plan->precision, why, sizeof why)) {
        error_set(error, ERROR_UNSUPPORTED, "%s: %s", device->name, why);
        goto failed;
    }
    uint64_t start = clock_now();
    if (!vulkan_lower(program, error))
        goto failed;
    pipelines_register(program);
    if (!memory_take(program, report, error))
        goto failed;
    launches_locate(program);
    if (!stamps_make(program, error) ||
        (options->counters && options->probe && !vulkan_counters_open(program, options->probe, error)) ||
        !vulkan_pipelines_open(device, &program->pipelines, options->cache_folder, error) ||
        !vulkan_pipelines_build(device, &program->pipelines, error) ||
        (options->compile && !vulkan_fill_random(program, error)) ||
        !vulkan_gemm_choose(program, options->cache_folder, options->compile, error))
        goto failed;
    program->choices_dropped += vulkan_pipelines_keep(device, &program->pipelines, options->cache_folder);
    if (!memory_clear(program, error) || (options->probe && !names_intern(program, options->probe, error)) ||
        (options->compile && !record_all(program, options->probe != NULL, error)))
        goto failed;
    if (options->compile)
        report->compile_ns = clock_now() - start;
    program->preparing = NULL;
    describe(program, report);
    return program;
failed:
    vulkan_release(program);
    return NULL;
}

void vulkan_release(struct program *program)
{
    if (!program)
        return;
    struct device *device = program->device;
    device->api.vkDeviceWaitIdle(device->handle);
    vulkan_counters_release(program);
    for (int i = 0; i < program->recording_count; ++i)
        free(program->recordings[i].dispatches);
    free(program->eager.dispatches);
    if (program->eager_pool) /* its command buffers go with it */
        device->api.vkDestroyCommandPool(device->handle, program->eager_pool, NULL);
    if (program->stamps)
        device->api.vkDestroyQueryPool(device->handle, program->stamps, NULL);
    vulkan_pipelines_release(device, &program->pipelines);
    vulkan_buffer_release(device, &program->arena);
    vulkan_buffer_release(device, &program->workspace);
    vulkan_buffer_release(device, &program->rates);
    free(program->gemms.items);
    free(program->launches);
    free(program->launch_names);
    free(program->stamp_values);
    arena_release(&program->memory);
    free(program);
}

static bool tensor_copy(struct program *program, int32_t index, void *host, bool write, struct error *error)
{
    if (index < 0 || index >= program->plan->tensor_count)
        return error_set(error, ERROR_INTERNAL, "the plan has no tensor %d", index);
    const struct tensor *tensor = &program->plan->tensors[index];
    int64_t columns = tensor->rank ? tensor->shape[tensor->rank - 1] : 1;
    if (tensor->row_stride == 0 || tensor->row_stride == columns)
        return vulkan_copy(program->device, &program->arena, tensor->offset, 1, tensor->bytes, tensor->bytes, host,
                           write, error);
    uint64_t size = dtype_size(tensor->dtype);
    return vulkan_copy(program->device, &program->arena, tensor->offset, (uint64_t)(tensor_elements(tensor) / columns),
                       (uint64_t)columns * size, (uint64_t)tensor->row_stride * size, host, write, error);
}

static bool copies_renew(struct program *program, int32_t parameter, struct error *error)
{
    const struct plan *plan = program->plan;
    for (int32_t i = 0; i < plan->tensor_count; ++i) {
        const struct tensor *copy = &plan->tensors[i];
        if (copy->kind != TENSOR_PARAMETER_COPY || copy->parameter != parameter)
            continue;
        if (!vulkan_begin(program->device, error))
            return false;
        elementwise_dispatch(program, program->renewal_pipeline,
                             program->arena.address + plan->tensors[parameter].offset,
                             program->arena.address + copy->offset, (uint64_t)tensor_elements(copy), 256);
        if (!vulkan_finish(program->device, error))
            return false;
    }
    return true;
}

bool vulkan_write(struct program *program, int32_t index, const void *bytes, struct error *error)
{
    if (index >= 0 && index < program->plan->tensor_count && program->plan->tensors[index].kind == TENSOR_INPUT &&
        program->plan->tensors[index].dtype == DTYPE_I32) {
        const struct tensor *tensor = &program->plan->tensors[index];
        const int32_t *values = bytes;
        int64_t count = tensor_elements(tensor), vocab = program->plan->vocab;
        for (int64_t i = 0; i < count; ++i)
            if (values[i] < 0 || values[i] >= vocab)
                return error_set(error, ERROR_INPUT, "%s[%lld] is %d, outside the vocabulary of %lld", tensor->name,
                                 (long long)i, values[i], (long long)vocab);
    }
    return tensor_copy(program, index, (void *)(uintptr_t)bytes, true, error) &&
           (program->plan->tensors[index].kind != TENSOR_PARAMETER || program->renewal_pipeline < 0 ||
            copies_renew(program, index, error));
}

bool vulkan_read(struct program *program, int32_t index, void *bytes, struct error *error)
{
    return tensor_copy(program, index, bytes, false, error);
}
