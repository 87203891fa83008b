/* Hardware counters of a driver that has VK_KHR_performance_query: up to four that count single dispatches and need no second pass, each
 * dispatch of a step once more between the two ends of a query. Tried on no hardware: see docs/bench-h200.md. */
#include "base/strbuf.h"
#include "base/unknown.h"
#include "kernels/vulkan/vulkan_internal.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOCK_NS UINT64_C(1000000000) /* of waiting for another profiler */
#define ALIKE 2                      /* counters of one rank, as long as there are others */
#define RANKS 5

/* What can be summed up over launches, bytes first; -1 for the others, among them percentages, rates and what a whole command buffer
 * counts. */
static int counter_rank(const VkPerformanceCounterKHR *counter, const char *name)
{
    static const char *const arithmetic[] = {"inst", "alu", "fpu", "flop", "xmx", "xve"};
    if (counter->scope != VK_PERFORMANCE_COUNTER_SCOPE_COMMAND_KHR)
        return -1;
    switch (counter->unit) {
    case VK_PERFORMANCE_COUNTER_UNIT_BYTES_KHR:
        return 0;
    case VK_PERFORMANCE_COUNTER_UNIT_GENERIC_KHR:
        for (size_t i = 0; i < sizeof arithmetic / sizeof *arithmetic; ++i)
            if (strstr(name, arithmetic[i]))
                return 1;
        return 4;
    case VK_PERFORMANCE_COUNTER_UNIT_CYCLES_KHR:
        return 2;
    case VK_PERFORMANCE_COUNTER_UNIT_NANOSECONDS_KHR:
        return 3;
    default:
        return -1;
    }
}

/* "VRAM read size" of bytes: "vram_read_size_bytes". */
static void counter_name(const VkPerformanceCounterKHR *counter, const char *given, char *name, size_t size)
{
    const char *unit = counter->unit == VK_PERFORMANCE_COUNTER_UNIT_BYTES_KHR         ? "bytes"
                       : counter->unit == VK_PERFORMANCE_COUNTER_UNIT_NANOSECONDS_KHR ? "ns"
                                                                                      : "";
    size_t used = 0, most = size - 1 - (unit[0] ? strlen(unit) + 1 : 0);
    for (; *given && used < most; ++given) {
        char c = *given >= 'A' && *given <= 'Z' ? (char)(*given - 'A' + 'a') : *given;
        bool letter = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (letter || (used > 0 && name[used - 1] != '_'))
            name[used++] = letter ? c : '_';
    }
    while (used > 0 && name[used - 1] == '_')
        --used;
    name[used] = 0;
    if (unit[0] && !strstr(name, unit))
        snprintf(name + used, size - used, "%s%s", used ? "_" : "", unit);
}

static uint32_t passes_of(const struct device *device, const uint32_t *indices, uint32_t count)
{
    const VkQueryPoolPerformanceCreateInfoKHR info = {.sType = VK_STRUCTURE_TYPE_QUERY_POOL_PERFORMANCE_CREATE_INFO_KHR,
                                                      .queueFamilyIndex = device->traits.family,
                                                      .counterIndexCount = count,
                                                      .pCounterIndices = indices};
    uint32_t passes = 0;
    device->api.vkGetPhysicalDeviceQueueFamilyPerformanceQueryPassesKHR(device->physical, &info, &passes);
    return passes;
}

/* Takes a counter where it has a name of its own and a step need not run twice for it. */
static void counter_try(const struct device *device, struct vulkan_counters *counters, uint32_t index,
                        const VkPerformanceCounterKHR *counter, const char *given)
{
    char *name = counters->names[counters->count];
    counter_name(counter, given, name, sizeof counters->names[0]);
    for (uint32_t i = 0; i < counters->count; ++i)
        if (strcmp(counters->names[i], name) == 0)
            return;
    counters->indices[counters->count] = index;
    counters->storages[counters->count] = counter->storage;
    if (name[0] && passes_of(device, counters->indices, counters->count + 1) == 1)
        ++counters->count;
}

static bool counters_choose(const struct device *device, struct vulkan_counters *counters, struct error *error)
{
    const struct vulkan_api *api = &device->api;
    VkPerformanceCounterKHR *all = NULL;
    VkPerformanceCounterDescriptionKHR *said = NULL;
    uint32_t count = 0, taken[RANKS] = {0};
    bool done = false;
    if (api->vkEnumeratePhysicalDeviceQueueFamilyPerformanceQueryCountersKHR(device->physical, device->traits.family,
                                                                             &count, NULL, NULL) < VK_SUCCESS)
        count = 0;
    all = calloc(count + 1, sizeof *all);
    said = calloc(count + 1, sizeof *said);
    if (!all || !said) {
        error_set(error, ERROR_MEMORY, "out of memory on the host");
        goto cleanup;
    }
    for (uint32_t i = 0; i < count; ++i) {
        all[i].sType = VK_STRUCTURE_TYPE_PERFORMANCE_COUNTER_KHR;
        said[i].sType = VK_STRUCTURE_TYPE_PERFORMANCE_COUNTER_DESCRIPTION_KHR;
    }
    if (count && api->vkEnumeratePhysicalDeviceQueueFamilyPerformanceQueryCountersKHR(
                     device->physical, device->traits.family, &count, all, said) < VK_SUCCESS)
        count = 0;
    for (int round = 0; round < 2; ++round) /* in the second whatever there is room for */
        for (int rank = 0; rank < RANKS; ++rank)
            for (uint32_t i = 0; i < count && counters->count < DEVICE_COUNTERS; ++i) {
                char name[VULKAN_COUNTER_NAME];
                uint32_t before = counters->count;
                counter_name(&all[i], said[i].name, name, sizeof name);
                if (counter_rank(&all[i], name) != rank || (round == 0 && taken[rank] == ALIKE))
                    continue;
                counter_try(device, counters, i, &all[i], said[i].name);
                taken[rank] += counters->count - before;
            }
    done = counters->count > 0 ||
           error_set(error, ERROR_UNSUPPORTED,
                     "hardware counters are required and cannot be had: of the %u of VK_KHR_performance_query none "
                     "counts a single dispatch in one pass; counters: auto runs without",
                     count);
cleanup:
    free(all);
    free(said);
    return done;
}

bool vulkan_counters_open(struct program *program, const struct probe *probe, struct error *error)
{
    struct vulkan_counters *counters = &program->counters;
    struct device *device = program->device;
    const char *names[DEVICE_COUNTERS] = {NULL};
    struct strbuf text = {0};
    if (!device->traits.counters)
        return error_set(error, ERROR_UNSUPPORTED,
                         "hardware counters are required and cannot be had: the driver of %s has no "
                         "VK_KHR_performance_query; counters: auto runs without",
                         device->name);
    if (!counters_choose(device, counters, error))
        return false;
    const VkQueryPoolPerformanceCreateInfoKHR which = {.sType =
                                                           VK_STRUCTURE_TYPE_QUERY_POOL_PERFORMANCE_CREATE_INFO_KHR,
                                                       .queueFamilyIndex = device->traits.family,
                                                       .counterIndexCount = counters->count,
                                                       .pCounterIndices = counters->indices};
    const uint32_t most = (uint32_t)program->most_dispatches + 1;
    const VkQueryPoolCreateInfo info = {.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
                                        .pNext = &which,
                                        .queryType = VK_QUERY_TYPE_PERFORMANCE_QUERY_KHR,
                                        .queryCount = most};
    if (!VULKAN_OK(device, vkCreateQueryPool(device->handle, &info, NULL, &counters->pool), error)) {
        counters->pool = VK_NULL_HANDLE;
        return false;
    }
    counters->results = calloc((size_t)most * counters->count, sizeof *counters->results);
    counters->recording.dispatches = calloc(most, sizeof *counters->recording.dispatches);
    if (!counters->results || !counters->recording.dispatches)
        return error_set(error, ERROR_MEMORY, "out of memory on the host");
    for (uint32_t i = 0; i < counters->count; ++i) {
        names[i] = counters->names[i];
        strbuf_printf(&text, "%s%s", i ? ", " : "", names[i]);
    }
    if (probe->counters)
        probe->counters(probe->context, names);
    if (probe->note)
        probe->note(probe->context, "counter metrics", text.text);
    strbuf_release(&text);
    return true;
}

void vulkan_counters_release(struct program *program)
{
    if (program->counters.pool)
        program->device->api.vkDestroyQueryPool(program->device->handle, program->counters.pool, NULL);
    free(program->counters.results);
    free(program->counters.recording.dispatches);
}

static uint64_t value_of(const VkPerformanceCounterResultKHR *result, VkPerformanceCounterStorageKHR storage)
{
    double value;
    switch (storage) {
    case VK_PERFORMANCE_COUNTER_STORAGE_INT32_KHR:
        return result->int32 >= 0 ? (uint64_t)result->int32 : UNKNOWN_U64;
    case VK_PERFORMANCE_COUNTER_STORAGE_INT64_KHR:
        return result->int64 >= 0 ? (uint64_t)result->int64 : UNKNOWN_U64;
    case VK_PERFORMANCE_COUNTER_STORAGE_UINT32_KHR:
        return result->uint32;
    case VK_PERFORMANCE_COUNTER_STORAGE_UINT64_KHR:
        return result->uint64;
    case VK_PERFORMANCE_COUNTER_STORAGE_FLOAT32_KHR:
        value = (double)result->float32;
        break;
    case VK_PERFORMANCE_COUNTER_STORAGE_FLOAT64_KHR:
        value = result->float64;
        break;
    default:
        return UNKNOWN_U64;
    }
    return value >= 0 && value < 0x1p63 ? (uint64_t)llround(value) : UNKNOWN_U64;
}

static void counters_deliver(const struct vulkan_counters *counters, uint64_t step_id, const struct probe *probe)
{
    for (int32_t d = 0; d < counters->recording.dispatch_count; ++d) {
        uint64_t values[DEVICE_COUNTERS];
        for (uint32_t c = 0; c < DEVICE_COUNTERS; ++c)
            values[c] = c < counters->count
                            ? value_of(&counters->results[(uint32_t)d * counters->count + c], counters->storages[c])
                            : UNKNOWN_U64;
        const struct kernel_event event = {.kind = EVENT_COUNTERS,
                                           .node = counters->recording.dispatches[d].node,
                                           .name = counters->recording.dispatches[d].name,
                                           .start = values[0],
                                           .end = values[1],
                                           .launch = values[2],
                                           .bytes = values[3]};
        probe->event(probe->context, step_id, &event);
    }
}

/* The lock must be held from the recording to the end of the work, and queries are made empty by the host: the driver's rules. */
static bool counters_collect(struct program *program, unsigned phases, struct error *error)
{
    struct vulkan_counters *counters = &program->counters;
    struct device *device = program->device;
    const VkAcquireProfilingLockInfoKHR lock = {.sType = VK_STRUCTURE_TYPE_ACQUIRE_PROFILING_LOCK_INFO_KHR,
                                                .timeout = LOCK_NS};
    if (device->api.vkAcquireProfilingLockKHR(device->handle, &lock) != VK_SUCCESS)
        return error_set(error, ERROR_DEVICE, "another profiler holds the device's counters: end it and run again");
    device->api.vkResetQueryPool(device->handle, counters->pool, 0, (uint32_t)program->most_dispatches + 1);
    bool done = vulkan_record(program, phases, RECORD_COUNTED, true, &counters->recording, error);
    if (!done) /* what was submitted must end before it is recorded anew */
        device->api.vkDeviceWaitIdle(device->handle);
    const uint32_t count = (uint32_t)counters->recording.dispatch_count;
    const VkDeviceSize stride = counters->count * sizeof *counters->results;
    if (done && count)
        done = VULKAN_OK(device,
                         vkGetQueryPoolResults(device->handle, counters->pool, 0, count, count * stride,
                                               counters->results, stride, VK_QUERY_RESULT_WAIT_BIT),
                         error);
    device->api.vkReleaseProfilingLockKHR(device->handle);
    return done;
}

void vulkan_counters_once(struct program *program, unsigned phases, uint64_t step_id, const struct probe *probe)
{
    struct vulkan_counters *counters = &program->counters;
    struct error error = {0};
    const unsigned counted = phases & ~PHASE_BIT(PHASE_OPT); /* a repeated update would change the model */
    if (!counters->pool || !counted)
        return;
    for (int i = 0; i < counters->done_count; ++i)
        if (counters->done[i] == phases)
            return;
    if (counters->done_count == VULKAN_MAX_RECORDINGS)
        return;
    counters->done[counters->done_count++] = phases;
    if (counters_collect(program, counted, &error)) {
        counters_deliver(counters, step_id, probe);
    } else if (probe->note) {
        probe->note(probe->context, NOTE_COUNTER_TIER, "none");
        probe->note(probe->context, NOTE_COUNTER_TIER_WHY, error.text);
    }
}
