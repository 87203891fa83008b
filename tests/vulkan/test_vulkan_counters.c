/* Counters by VK_KHR_performance_query, against a driver of our own above whatever device there is: it has counters of every unit, scope
 * and storage, knows how many passes they take, and holds the device to the rules of the extension (the lock, who makes queries empty, what
 * lies between their ends). No hardware with the extension was tried. Skipped (77) without a device. */
#include "base/unknown.h"
#include "kernels/vulkan/vulkan_device.h"
#include "kernels/vulkan/vulkan_internal.h"
#include "model/model.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const struct device_class *const vulkan = &steptop_device_class;

#define COMMAND VK_PERFORMANCE_COUNTER_SCOPE_COMMAND_KHR
#define WHOLE VK_PERFORMANCE_COUNTER_SCOPE_COMMAND_BUFFER_KHR
#define UNIT(unit) VK_PERFORMANCE_COUNTER_UNIT_##unit##_KHR
#define STORED(storage) VK_PERFORMANCE_COUNTER_STORAGE_##storage##_KHR
static const struct {
    const char *name;
    VkPerformanceCounterUnitKHR unit;
    VkPerformanceCounterScopeKHR scope;
    VkPerformanceCounterStorageKHR storage;
    int cost; /* more than 10 together take two passes */
} offered[] = {
    {"EU Active", UNIT(PERCENTAGE), COMMAND, STORED(FLOAT32), 1},
    {"Command buffer bytes", UNIT(BYTES), WHOLE, STORED(UINT64), 1},
    {"Waves", UNIT(GENERIC), COMMAND, STORED(UINT64), 1},
    {"GPU Time", UNIT(NANOSECONDS), COMMAND, STORED(UINT32), 1},
    {"GPU Core Clocks", UNIT(CYCLES), COMMAND, STORED(INT64), 2},
    {"VALU Instructions", UNIT(GENERIC), COMMAND, STORED(FLOAT64), 3},
    {"VRAM read size", UNIT(BYTES), COMMAND, STORED(UINT64), 3},
    {"VRAM read size", UNIT(BYTES), COMMAND, STORED(UINT64), 3}, /* of another unit of the chip, by the same name */
    {"Bytes, all caches", UNIT(BYTES), COMMAND, STORED(UINT64), 9},
    {"VRAM / write size", UNIT(BYTES), COMMAND, STORED(FLOAT32), 2},
};
enum { OFFERED = sizeof offered / sizeof *offered, POOL = 0x5eed, MOST = 512 };
/* Those that are taken, in that order: bytes that fit into a pass, arithmetic, then cycles. */
static const uint32_t taken[] = {6, 9, 5, 4};
static const char *const taken_names[] = {"vram_read_size_bytes", "vram_write_size_bytes", "valu_instructions",
                                          "gpu_core_clocks"};

static struct {
    bool locked, refuse_lock, open; /* a query is */
    int cost_most, pools, locks, count, ended;
    uint32_t chosen[DEVICE_COUNTERS], dispatches_in_query;
    uint8_t state[MOST]; /* of a query: 0 dirty, 1 empty, 2 ended */
} driver;
static struct vulkan_api real;

static VkResult VKAPI_CALL enumerate(VkPhysicalDevice device, uint32_t family, uint32_t *count,
                                     VkPerformanceCounterKHR *counters, VkPerformanceCounterDescriptionKHR *said)
{
    (void)device, (void)family;
    for (uint32_t i = 0; counters && i < *count && i < OFFERED; i++) {
        assert_int_equal(counters[i].sType, VK_STRUCTURE_TYPE_PERFORMANCE_COUNTER_KHR);
        assert_int_equal(said[i].sType, VK_STRUCTURE_TYPE_PERFORMANCE_COUNTER_DESCRIPTION_KHR);
        counters[i].unit = offered[i].unit;
        counters[i].scope = offered[i].scope;
        counters[i].storage = offered[i].storage;
        snprintf(said[i].name, sizeof said[i].name, "%s", offered[i].name);
    }
    *count = OFFERED;
    return VK_SUCCESS;
}

static void VKAPI_CALL passes(VkPhysicalDevice device, const VkQueryPoolPerformanceCreateInfoKHR *info, uint32_t *count)
{
    (void)device;
    int cost = 0;
    for (uint32_t i = 0; i < info->counterIndexCount; i++)
        cost += offered[info->pCounterIndices[i]].cost;
    *count = cost <= driver.cost_most ? 1 : 2;
}

static VkResult VKAPI_CALL lock(VkDevice device, const VkAcquireProfilingLockInfoKHR *info)
{
    (void)device;
    assert_false(driver.locked);
    assert_true(info->timeout > 0);
    driver.locked = !driver.refuse_lock;
    driver.locks += driver.locked;
    return driver.locked ? VK_SUCCESS : VK_TIMEOUT;
}

static void VKAPI_CALL unlock(VkDevice device)
{
    (void)device;
    assert_true(driver.locked && !driver.open);
    driver.locked = false;
}

static VkResult VKAPI_CALL pool_make(VkDevice device, const VkQueryPoolCreateInfo *info,
                                     const VkAllocationCallbacks *callbacks, VkQueryPool *pool)
{
    if (info->queryType != VK_QUERY_TYPE_PERFORMANCE_QUERY_KHR)
        return real.vkCreateQueryPool(device, info, callbacks, pool);
    const VkQueryPoolPerformanceCreateInfoKHR *which = info->pNext;
    assert_true(info->queryCount <= MOST);
    driver.count = (int)which->counterIndexCount;
    memcpy(driver.chosen, which->pCounterIndices, which->counterIndexCount * sizeof *driver.chosen);
    driver.pools++;
    *pool = (VkQueryPool)(uintptr_t)POOL;
    return VK_SUCCESS;
}

static bool ours(VkQueryPool pool)
{
    return pool == (VkQueryPool)(uintptr_t)POOL;
}

static void VKAPI_CALL pool_destroy(VkDevice device, VkQueryPool pool, const VkAllocationCallbacks *callbacks)
{
    if (!ours(pool))
        real.vkDestroyQueryPool(device, pool, callbacks);
    else
        driver.pools--;
}

static void VKAPI_CALL queries_empty(VkDevice device, VkQueryPool pool, uint32_t first, uint32_t count)
{
    (void)device;
    assert_true(ours(pool) && first == 0 && count <= MOST);
    memset(driver.state, 1, count);
}

static void VKAPI_CALL queries_empty_there(VkCommandBuffer commands, VkQueryPool pool, uint32_t first, uint32_t count)
{
    assert_false(ours(pool)); /* not in the command buffer that begins them */
    real.vkCmdResetQueryPool(commands, pool, first, count);
}

static void VKAPI_CALL query_begin(VkCommandBuffer commands, VkQueryPool pool, uint32_t query,
                                   VkQueryControlFlags flags)
{
    (void)commands, (void)flags;
    assert_true(driver.locked && ours(pool) && !driver.open && driver.state[query] == 1);
    driver.open = true;
    driver.dispatches_in_query = 0;
}

static void VKAPI_CALL query_end(VkCommandBuffer commands, VkQueryPool pool, uint32_t query)
{
    (void)commands;
    assert_true(ours(pool) && driver.open && driver.state[query] == 1);
    assert_int_equal(driver.dispatches_in_query, 1);
    driver.open = false;
    driver.state[query] = 2;
    driver.ended++;
}

static void VKAPI_CALL dispatch(VkCommandBuffer commands, uint32_t x, uint32_t y, uint32_t z)
{
    driver.dispatches_in_query++;
    real.vkCmdDispatch(commands, x, y, z);
}

static VkResult VKAPI_CALL end(VkCommandBuffer commands)
{
    assert_false(driver.open); /* a query ends where it began */
    return real.vkEndCommandBuffer(commands);
}

/* Counter c of query q is 1000 q + c, in the counter's own storage. */
static VkResult VKAPI_CALL results(VkDevice device, VkQueryPool pool, uint32_t first, uint32_t count, size_t size,
                                   void *data, VkDeviceSize stride, VkQueryResultFlags flags)
{
    if (!ours(pool))
        return real.vkGetQueryPoolResults(device, pool, first, count, size, data, stride, flags);
    assert_true(driver.locked && flags == VK_QUERY_RESULT_WAIT_BIT && size >= count * stride);
    for (uint32_t q = first; q < first + count; q++)
        for (int c = 0; c < driver.count; c++) {
            VkPerformanceCounterResultKHR *out =
                (VkPerformanceCounterResultKHR *)((char *)data + (q - first) * stride) + c;
            assert_int_equal(driver.state[q], 2);
            switch (offered[driver.chosen[c]].storage) {
            case STORED(FLOAT32):
                out->float32 = (float)(1000 * q) + (float)c + 0.25f;
                break;
            case STORED(FLOAT64):
                out->float64 = 1000.0 * q + c - 0.25;
                break;
            default:
                out->uint64 = 1000 * (uint64_t)q + (uint64_t)c;
            }
        }
    return VK_SUCCESS;
}

static struct device *counting_device(int cost_most)
{
    struct error error = {0};
    struct device *device = vulkan->open(0, &error);
    if (!device)
        fail_msg("%s", error.text);
    memset(&driver, 0, sizeof driver);
    driver.cost_most = cost_most;
    real = device->api;
    device->traits.counters = true;
    device->api.vkEnumeratePhysicalDeviceQueueFamilyPerformanceQueryCountersKHR = enumerate;
    device->api.vkGetPhysicalDeviceQueueFamilyPerformanceQueryPassesKHR = passes;
    device->api.vkAcquireProfilingLockKHR = lock;
    device->api.vkReleaseProfilingLockKHR = unlock;
    device->api.vkCreateQueryPool = pool_make;
    device->api.vkDestroyQueryPool = pool_destroy;
    device->api.vkResetQueryPool = queries_empty;
    device->api.vkCmdResetQueryPool = queries_empty_there;
    device->api.vkCmdBeginQuery = query_begin;
    device->api.vkCmdEndQuery = query_end;
    device->api.vkCmdDispatch = dispatch;
    device->api.vkEndCommandBuffer = end;
    device->api.vkGetQueryPoolResults = results;
    return device;
}

static struct plan *plan_make(bool fused)
{
    struct error error = {0};
    struct plan_request request = {
        .model = {.name = "small", .d_model = 32, .d_ff = 44, .num_layers = 1, .num_heads = 2, .vocab_size = 101},
        .batch = 1,
        .context = 9,
        .precision = PRECISION_FP32,
        .fusions = fused ? FUSE_ALL | 1u << FUSE_OVERLAP : 0,
        .overlap = vulkan->overlap,
        .phases = PHASES_TRAIN_STEP};
    struct plan *plan = plan_build(&request, NULL, &error);
    if (!plan)
        fail_msg("%s", error.text);
    return plan;
}

static struct {
    struct kernel_event kernels[MOST], counters[MOST];
    int kernel_count, counter_count, names;
    char told[DEVICE_COUNTERS][VULKAN_COUNTER_NAME], tier[64], why[200], metrics[200];
} seen;

static uint32_t seen_intern(void *context, const char *name)
{
    (void)context, (void)name;
    return (uint32_t)++seen.names;
}
static void seen_event(void *context, uint64_t step, const struct kernel_event *event)
{
    (void)context, (void)step;
    if (event->kind == EVENT_COUNTERS)
        seen.counters[seen.counter_count++] = *event;
    else
        seen.kernels[seen.kernel_count++] = *event;
    assert_true(seen.counter_count < MOST && seen.kernel_count < MOST);
}
static void seen_counters(void *context, const char *const names[DEVICE_COUNTERS])
{
    (void)context;
    for (int c = 0; c < DEVICE_COUNTERS && names[c]; c++)
        snprintf(seen.told[c], sizeof seen.told[c], "%s", names[c]);
}
static void seen_note(void *context, const char *key, const char *text)
{
    (void)context;
    char *at = strcmp(key, NOTE_COUNTER_TIER) == 0       ? seen.tier
               : strcmp(key, NOTE_COUNTER_TIER_WHY) == 0 ? seen.why
               : strcmp(key, "counter metrics") == 0     ? seen.metrics
                                                         : NULL;
    if (at)
        snprintf(at, at == seen.tier ? sizeof seen.tier : sizeof seen.why, "%s", text);
}
static const struct probe probe = {
    .intern = seen_intern, .event = seen_event, .counters = seen_counters, .note = seen_note};

static void step(struct program *program, unsigned phases, const struct probe *with)
{
    struct error error = {0};
    if (!vulkan->run(program, phases, 3, with, NULL, &error))
        fail_msg("%s", error.text);
}

static void each_dispatch_is_counted_once(void **state)
{
    (void)state;
    for (int compile = 0; compile < 2; compile++) {
        struct error error = {0};
        struct device *device = counting_device(10);
        struct plan *plan = plan_make(compile);
        struct prepare_report report;
        memset(&seen, 0, sizeof seen);
        struct program *program = vulkan->prepare(
            device, plan, &(struct prepare_options){.compile = compile, .probe = &probe, .counters = true}, &report,
            &error);
        if (!program)
            fail_msg("%s", error.text);
        assert_int_equal(driver.count, 4);
        assert_memory_equal(driver.chosen, taken, sizeof taken);
        for (int c = 0; c < 4; c++)
            assert_string_equal(seen.told[c], taken_names[c]);
        assert_string_equal(seen.metrics,
                            "vram_read_size_bytes, vram_write_size_bytes, valu_instructions, gpu_core_clocks");
        for (int i = 0; i < report.note_count; i++)
            if (strcmp(report.notes[i].key, NOTE_COUNTER_TIER) == 0)
                assert_string_equal(report.notes[i].text, "4 a dispatch by VK_KHR_performance_query");
        step(program, PHASES_TRAIN_STEP, NULL); /* a timed step is not counted */
        assert_int_equal(driver.locks, 0);
        step(program, PHASES_TRAIN_STEP, &probe);
        assert_true(driver.locks == 1 && !driver.locked && seen.counter_count > 0);
        assert_int_equal(driver.ended, seen.counter_count);
        for (int i = 0; i < seen.counter_count; i++) { /* as the step was, up to its optimizer */
            const struct kernel_event *counted = &seen.counters[i], *kernel = &seen.kernels[i];
            assert_true(counted->node == kernel->node && counted->name == kernel->name);
            assert_int_equal(counted->start, 1000 * i);
            assert_int_equal(counted->end, 1000 * i + 1);    /* 0.25 more */
            assert_int_equal(counted->launch, 1000 * i + 2); /* 0.25 less */
            assert_int_equal(counted->bytes, 1000 * i + 3);
        }
        for (int i = 0; i < seen.kernel_count; i++)
            assert_int_equal(i >= seen.counter_count, plan->nodes[seen.kernels[i].node].phase == PHASE_OPT);
        const int once = seen.counter_count;
        step(program, PHASES_TRAIN_STEP, &probe); /* these phases were */
        assert_true(driver.locks == 1 && seen.counter_count == once);
        step(program, PHASES_FWD, &probe); /* and these not yet */
        assert_true(driver.locks == 2 && seen.counter_count > once && seen.counter_count < 2 * once);
        vulkan->release(program);
        assert_int_equal(driver.pools, 0);
        plan_free(plan);
        vulkan->close(device);
    }
}

static void another_profiler_has_them(void **state)
{
    (void)state;
    struct error error = {0};
    struct device *device = counting_device(10);
    struct plan *plan = plan_make(false);
    memset(&seen, 0, sizeof seen);
    struct program *program =
        vulkan->prepare(device, plan, &(struct prepare_options){.probe = &probe, .counters = true}, NULL, &error);
    if (!program)
        fail_msg("%s", error.text);
    driver.refuse_lock = true;
    step(program, PHASES_TRAIN_STEP, &probe);
    assert_int_equal(seen.counter_count, 0);
    assert_true(seen.kernel_count > 0);
    assert_string_equal(seen.tier, "none");
    assert_non_null(strstr(seen.why, "another profiler"));
    vulkan->release(program);
    plan_free(plan);
    vulkan->close(device);
}

/* Required, and cannot be had: refused with the reason, as on every device. */
static void required_and_not_there(void **state)
{
    (void)state;
    static const char *const says[] = {"has no VK_KHR_performance_query", "of the 10 of VK_KHR_performance_query none"};
    struct plan *plan = plan_make(false);
    for (int none_fits = 0; none_fits < 2; none_fits++) {
        struct error error = {0};
        struct device *device = counting_device(0);
        device->traits.counters = none_fits;
        assert_null(
            vulkan->prepare(device, plan, &(struct prepare_options){.probe = &probe, .counters = true}, NULL, &error));
        assert_int_equal(error.kind, ERROR_UNSUPPORTED);
        if (!strstr(error.text, says[none_fits]))
            fail_msg("%s", error.text);
        assert_int_equal(driver.pools, 0);
        vulkan->close(device);
    }
    plan_free(plan);
}

int main(void)
{
    struct device_info info;
    struct error error = {0};
    int count = 0;
    if (!vulkan->enumerate(&info, 1, &count, &error)) {
        printf("skipped: %s\n", error.text);
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_dispatch_is_counted_once),
        cmocka_unit_test(another_profiler_has_them),
        cmocka_unit_test(required_and_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
