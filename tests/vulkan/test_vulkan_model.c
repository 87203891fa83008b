/* Whole training steps on a Vulkan device: gradients and updated parameters against the double reference, eager and fused, at odd
 * shapes; bitwise from run to run; recorded steps against steps recorded anew, bit by bit; what a profiled step hands over; and
 * device loss, too little memory and a plan that does not fit as errors of their kinds. Skipped (77) without a device. */
#include "base/unknown.h"
#include "kernels/vulkan/vulkan_device.h"
#include "kernels/vulkan/vulkan_internal.h"
#include "tests/kernels/whole.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const struct device_class *const vulkan = &steptop_device_class;

static const struct whole_shape small = {
    {.name = "small", .d_model = 32, .d_ff = 44, .num_layers = 2, .num_heads = 2, .vocab_size = 101}, 2, 21};
static bool more; /* also larger shapes, and bf16 */

static struct plan *build(enum precision precision, bool fused)
{
    return whole_plan(&small, precision, fused ? FUSE_ALL | 1u << FUSE_OVERLAP : 0, steptop_device_class.overlap);
}

static struct device *device_open(void)
{
    struct error error = {0};
    struct device *device = vulkan->open(0, &error);
    if (!device)
        fail_msg("%s", error.text);
    return device;
}

static void steps_agree_with_the_reference(void **state)
{
    (void)state;
    const double tolerances[PRECISION_COUNT] = {[PRECISION_FP32] = 1e-5, [PRECISION_BF16] = more ? 1e-2 : 0};
    struct device *device = device_open();
    whole_steps_agree(vulkan, device, &small, 1, tolerances);
    if (more)
        whole_steps_agree(vulkan, device, whole_shapes, WHOLE_SHAPES, tolerances);
    vulkan->close(device);
}

/* The second program takes the choices that the first one stored, and records each step anew, as eager does. */
static void repeats_bitwise(void **state)
{
    (void)state;
    char folder[] = "/tmp/steptop-test-XXXXXX", command[128];
    assert_non_null(mkdtemp(folder));
    struct device *device = device_open();
    struct plan *plan = build(PRECISION_FP32, true);
    struct prepare_options options = {.compile = true, .cache_folder = folder};
    struct program *first = whole_ready(vulkan, device, plan, &options),
                   *second = whole_ready(vulkan, device, plan, &options);
    assert_int_equal(first->recording_count, 3);
    assert_false(first->pipelines.from_cache);
    assert_true(second->pipelines.from_cache);
    for (int32_t i = 0; i < second->gemms.count; i++)
        assert_int_equal(second->gemms.items[i].from_cache, second->gemms.items[i].candidate_count > 1);
    for (int r = 0; r < 3; r++)
        second->recordings[r].phases = 0;
    for (int step = 0; step < 3; step++) {
        whole_run(vulkan, first);
        whole_run(vulkan, second);
    }
    whole_same(vulkan, plan, first, second, "recorded once and each step");
    vulkan->release(first);
    vulkan->release(second);
    plan_free(plan);
    vulkan->close(device);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    assert_int_equal(system(command), 0);
}

/* A probe that counts. */
struct seen {
    int events, of_node[512], names, notes;
    uint64_t last_end, first_start;
    char clock[256];
};

static uint32_t seen_intern(void *context, const char *name)
{
    (void)name;
    return (uint32_t)++((struct seen *)context)->names;
}

static void seen_event(void *context, uint64_t step, const struct kernel_event *event)
{
    struct seen *seen = context;
    assert_int_equal(step, 3);
    assert_int_equal(event->kind, EVENT_KERNEL);
    assert_true(event->name > 0 && event->node >= 0 && event->node < 512);
    assert_true(event->launch <= event->start && event->start <= event->end);
    assert_true(event->start >= seen->last_end); /* one after the other */
    if (seen->events++ == 0)
        seen->first_start = event->start;
    seen->last_end = event->end;
    ++seen->of_node[event->node];
}

static void seen_note(void *context, const char *key, const char *text)
{
    struct seen *seen = context;
    ++seen->notes;
    if (strcmp(key, "clock") == 0)
        snprintf(seen->clock, sizeof seen->clock, "%s", text);
}

static void a_profiled_step_has_every_dispatch(void **state)
{
    (void)state;
    struct device *device = device_open();
    for (int compile = 0; compile < 2; compile++) {
        struct plan *plan = build(PRECISION_FP32, compile);
        struct seen seen = {0};
        struct probe probe = {.context = &seen, .intern = seen_intern, .event = seen_event, .note = seen_note};
        struct program *program =
            whole_ready(vulkan, device, plan, &(struct prepare_options){.compile = compile, .probe = &probe});
        struct error error = {0};
        struct step_times times;
        assert_true(plan->node_count < 512);
        whole_run(vulkan, program);
        assert_int_equal(seen.events, 0); /* timed steps have no stamps but the phases' */
        if (!vulkan->run(program, PHASES_TRAIN_STEP, 3, &probe, &times, &error))
            fail_msg("%s", error.text);
        for (int phase = 0; phase < PHASE_COUNT; phase++)
            assert_true(times.phase_ns[phase] < times.end - times.start);
        for (int32_t i = 0; i < plan->node_count; i++)
            assert_true(seen.of_node[i] > 0);
        assert_non_null(strstr(seen.clock, "maxDeviation"));
        /* Within the step, as far as the clocks agree: a millisecond on a busy machine. */
        assert_true(seen.first_start + 1000000 > times.start && seen.last_end < times.end + 1000000);
        vulkan->release(program);
        plan_free(plan);
    }
    vulkan->close(device);
}

static void why_there_are_no_counters_is_told(void **state)
{
    (void)state;
    struct device *device = device_open();
    struct plan *plan = build(PRECISION_FP32, false);
    struct error error = {0};
    struct prepare_report report;
    const bool has = device->traits.counters;
    for (int other = 0; other < 2; other++) {
        const char *tier = "", *why = "";
        device->traits.counters = other ? !has : has;
        struct program *program = vulkan->prepare(device, plan, &(struct prepare_options){0}, &report, &error);
        if (!program)
            fail_msg("%s", error.text);
        for (int i = 0; i < report.note_count; i++) {
            tier = strcmp(report.notes[i].key, NOTE_COUNTER_TIER) == 0 ? report.notes[i].text : tier;
            why = strcmp(report.notes[i].key, NOTE_COUNTER_TIER_WHY) == 0 ? report.notes[i].text : why;
        }
        assert_string_equal(tier, "none");
        assert_non_null(strstr(why, device->traits.counters
                                        ? "the driver has VK_KHR_performance_query: counters: on reads it"
                                        : "the driver has no VK_KHR_performance_query"));
        vulkan->release(program);
    }
    plan_free(plan);
    vulkan->close(device);
}

static void a_plan_that_does_not_fit_is_told(void **state)
{
    (void)state;
    struct device *device = device_open();
    struct plan *plan = build(PRECISION_FP32, true);
    uint64_t total = plan->memory.total;
    plan->memory.total = UINT64_C(1) << 50;
    struct error error = {0};
    struct prepare_options options = {0};
    struct prepare_report report;
    assert_null(vulkan->prepare(device, plan, &options, &report, &error));
    assert_int_equal(error.kind, ERROR_MEMORY);
    assert_non_null(strstr(error.text, "bytes: 1073741824 MiB for the plan")); /* 2^50 bytes */
    plan->memory.total = total;
    plan_free(plan);
    vulkan->close(device);
}

static VkResult VKAPI_CALL no_memory(VkDevice device, const VkMemoryAllocateInfo *info,
                                     const VkAllocationCallbacks *callbacks, VkDeviceMemory *memory)
{
    (void)device, (void)info, (void)callbacks, (void)memory;
    return VK_ERROR_OUT_OF_DEVICE_MEMORY;
}

static VkResult VKAPI_CALL lost(VkQueue queue, uint32_t count, const VkSubmitInfo *submits, VkFence fence)
{
    (void)queue, (void)count, (void)submits, (void)fence;
    return VK_ERROR_DEVICE_LOST;
}

static void memory_that_the_driver_refuses_is_told(void **state)
{
    (void)state;
    struct device *device = device_open();
    struct plan *plan = build(PRECISION_FP32, false);
    struct error error = {0};
    struct prepare_options options = {0};
    PFN_vkAllocateMemory kept = device->api.vkAllocateMemory;
    device->api.vkAllocateMemory = no_memory;
    assert_null(vulkan->prepare(device, plan, &options, NULL, &error));
    assert_int_equal(error.kind, ERROR_MEMORY);
    assert_non_null(strstr(error.text, "planned"));
    assert_non_null(strstr(error.text, "out of device memory"));
    device->api.vkAllocateMemory = kept;
    plan_free(plan);
    vulkan->close(device);
}

static void a_lost_device_is_told(void **state)
{
    (void)state;
    struct device *device = device_open();
    for (int compile = 0; compile < (more ? 2 : 1); compile++) {
        struct plan *plan = build(PRECISION_FP32, compile);
        struct program *program = whole_ready(vulkan, device, plan, &(struct prepare_options){.compile = compile});
        struct error error = {0};
        struct step_times times;
        PFN_vkQueueSubmit kept = device->api.vkQueueSubmit;
        device->api.vkQueueSubmit = lost;
        assert_false(vulkan->run(program, PHASES_TRAIN_STEP, 0, NULL, &times, &error));
        assert_int_equal(error.kind, ERROR_DEVICE);
        assert_non_null(strstr(error.text, "device lost"));
        device->api.vkQueueSubmit = kept;
        vulkan->release(program);
        plan_free(plan);
    }
    vulkan->close(device);
}

int main(int argc, char **argv)
{
    struct device_info info;
    struct error error = {0};
    int count = 0;
    (void)argv;
    if (!vulkan->enumerate(&info, 1, &count, &error)) {
        printf("skipped: %s\n", error.text);
        return 77;
    }
    more = argc > 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_agree_with_the_reference),         cmocka_unit_test(repeats_bitwise),
        cmocka_unit_test(a_profiled_step_has_every_dispatch),     cmocka_unit_test(a_plan_that_does_not_fit_is_told),
        cmocka_unit_test(memory_that_the_driver_refuses_is_told), cmocka_unit_test(a_lost_device_is_told),
        cmocka_unit_test(why_there_are_no_counters_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
