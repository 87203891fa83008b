/* Whole training steps on a Vulkan device: gradients and updated parameters against the double reference, eager and fused, at odd
 * shapes; bitwise from run to run; recorded steps against steps recorded anew, bit by bit; what a profiled step hands over; and
 * device loss, too little memory and a plan that does not fit as errors of their kinds. Skipped (77) without a device. */
#include "base/file.h"
#include "base/unknown.h"
#include "kernels/vulkan/vulkan_device.h"
#include "kernels/vulkan/vulkan_internal.h"
#include "model/model.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const struct device_class *const vulkan = &steptop_device_class;

struct shape {
    struct model_config model;
    int64_t batch, context;
};

static const struct shape shapes[] = {
    {{.name = "small", .d_model = 32, .d_ff = 44, .num_layers = 2, .num_heads = 2, .vocab_size = 101}, 2, 21},
    {{.name = "d64", .d_model = 128, .d_ff = 192, .num_layers = 2, .num_heads = 2, .vocab_size = 1003}, 2, 65},
    {{.name = "d80", .d_model = 160, .d_ff = 104, .num_layers = 2, .num_heads = 2, .vocab_size = 509}, 1, 257},
    {{.name = "d128", .d_model = 128, .d_ff = 256, .num_layers = 1, .num_heads = 1, .vocab_size = 1000}, 3, 64},
    {{.name = "one token", .d_model = 64, .d_ff = 88, .num_layers = 2, .num_heads = 4, .vocab_size = 33}, 2, 1},
};
static int shape_count = 1;
static bool with_bf16;

static struct plan *build(const struct shape *shape, enum precision precision, bool fused)
{
    struct error error = {0};
    struct plan_request request = {.model = shape->model,
                                   .batch = shape->batch,
                                   .context = shape->context,
                                   .precision = precision,
                                   .fusions = fused ? FUSE_ALL | 1u << FUSE_OVERLAP : 0,
                                   .overlap = steptop_device_class.overlap,
                                   .phases = PHASES_TRAIN_STEP};
    struct plan *plan = plan_build(&request, NULL, &error);
    if (!plan)
        fail_msg("%s", error.text);
    return plan;
}

static void fill(const struct device_class *class, struct program *program, const struct plan *plan)
{
    struct error error = {0};
    for (int32_t i = 0; i < plan->tensor_count; i++) {
        const struct tensor *tensor = &plan->tensors[i];
        bool own = tensor->kind == TENSOR_PARAMETER && tensor->parameter == i;
        if (!own && tensor->kind != TENSOR_CONSTANT && i != plan->tokens && i != plan->targets)
            continue;
        void *values = malloc(tensor->bytes + 4);
        assert_non_null(values);
        if (tensor->dtype == DTYPE_I32)
            model_random_tokens(plan, i, 5, values);
        else if (!model_initial_value(plan, i, 5, values, &error))
            fail_msg("%s", error.text);
        if (!class->write(program, i, values, &error))
            fail_msg("%s", error.text);
        free(values);
    }
}

static struct program *ready(const struct device_class *class, struct device *device, const struct plan *plan,
                             const struct prepare_options *options)
{
    struct error error = {0};
    struct program *program = class->prepare(device, plan, options, NULL, &error);
    if (!program)
        fail_msg("%s", error.text);
    fill(class, program, plan);
    return program;
}

static void run(const struct device_class *class, struct program *program, const struct probe *probe)
{
    struct error error = {0};
    struct step_times times;
    if (!class->run(program, PHASES_TRAIN_STEP, 3, probe, &times, &error))
        fail_msg("%s", error.text);
    assert_true(times.end > times.start);
    for (int phase = 0; class == vulkan && phase < PHASE_COUNT; phase++)
        assert_true(times.phase_ns[phase] < times.end - times.start);
}

static void *read_bytes(const struct device_class *class, struct program *program, const struct plan *plan,
                        int32_t tensor)
{
    struct error error = {0};
    void *bytes = malloc(plan->tensors[tensor].bytes + 4);
    assert_non_null(bytes);
    if (!class->read(program, tensor, bytes, &error))
        fail_msg("%s", error.text);
    return bytes;
}

/* Relative L2 error over all tensors of the reference plan of this kind together, by name. */
static double kind_error(const struct plan *expected_plan, struct program *expected, const struct plan *plan,
                         struct program *got, enum tensor_kind kind)
{
    double error = 0, norm = 0;
    for (int32_t i = 0; i < expected_plan->tensor_count; i++) {
        const struct tensor *tensor = &expected_plan->tensors[i];
        if (tensor->kind != kind || tensor->parameter == TENSOR_NONE)
            continue;
        int32_t other = plan_find_tensor(plan, tensor->name);
        assert_true(other >= 0);
        float *want = read_bytes(&reference_device_class, expected, expected_plan, i),
              *have = read_bytes(vulkan, got, plan, other);
        for (int64_t e = 0; e < tensor_elements(tensor); e++) {
            double difference = (double)have[e] - (double)want[e];
            error += difference * difference;
            norm += (double)want[e] * (double)want[e];
        }
        free(want);
        free(have);
    }
    assert_true(norm > 0);
    return sqrt(error / norm);
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
    static const double tolerances[PRECISION_COUNT] = {1e-5, 0, 1e-2};
    struct error error = {0};
    struct device *device = device_open(), *reference = reference_device_class.open(0, &error);
    int failures = 0;
    for (int s = 0; s < shape_count; s++) {
        struct plan *expected_plan = build(&shapes[s], PRECISION_FP32, false);
        struct program *expected =
            ready(&reference_device_class, reference, expected_plan, &(struct prepare_options){0});
        run(&reference_device_class, expected, NULL);
        for (int precision = 0; precision < PRECISION_COUNT; precision += 2)
            for (int fused = 0; fused < 2; fused++) {
                char why[160];
                if ((precision == PRECISION_BF16 && !with_bf16) ||
                    !vulkan->supports(device, OP_LINEAR, (enum precision)precision, why, sizeof why))
                    continue;
                struct plan *plan = build(&shapes[s], (enum precision)precision, fused);
                struct program *program = ready(vulkan, device, plan, &(struct prepare_options){.compile = fused});
                run(vulkan, program, NULL);
                double gradient = kind_error(expected_plan, expected, plan, program, TENSOR_GRADIENT);
                double parameter = kind_error(expected_plan, expected, plan, program, TENSOR_PARAMETER);
                float *loss = read_bytes(vulkan, program, plan, plan->loss),
                      *want = read_bytes(&reference_device_class, expected, expected_plan, expected_plan->loss);
                double loss_error = fabs((double)*loss - (double)*want) / fabs((double)*want);
                bool good = gradient <= tolerances[precision] && loss_error <= tolerances[precision] && parameter < 0.1;
                print_message("%-10s %s %-8s gradients %.2e loss %.2e parameters %.2e%s\n", shapes[s].model.name,
                              precision_name((enum precision)precision), fused ? "compile" : "eager", gradient,
                              loss_error, parameter, good ? "" : "  TOO FAR");
                failures += !good;
                free(loss);
                free(want);
                vulkan->release(program);
                plan_free(plan);
            }
        reference_device_class.release(expected);
        plan_free(expected_plan);
    }
    vulkan->close(device);
    reference_device_class.close(reference);
    assert_int_equal(failures, 0);
}

/* Everything that outlives a step must be the same, bit by bit. */
static void assert_same(const struct plan *plan, struct program *a, struct program *b, const char *what)
{
    for (int32_t i = 0; i < plan->tensor_count; i++) {
        const struct tensor *tensor = &plan->tensors[i];
        if (!tensor_kind_persists(tensor->kind))
            continue;
        void *first = read_bytes(vulkan, a, plan, i), *second = read_bytes(vulkan, b, plan, i);
        if (memcmp(first, second, tensor->bytes) != 0)
            fail_msg("%s: %s differs", what, tensor->name);
        free(first);
        free(second);
    }
}

/* The second program takes the choices that the first one stored, and records each step anew, as eager does. */
static void repeats_bitwise(void **state)
{
    (void)state;
    char folder[] = "/tmp/steptop-test-XXXXXX", command[128];
    assert_non_null(mkdtemp(folder));
    struct device *device = device_open();
    struct plan *plan = build(&shapes[0], PRECISION_FP32, true);
    struct prepare_options options = {.compile = true, .cache_folder = folder};
    struct program *first = ready(vulkan, device, plan, &options), *second = ready(vulkan, device, plan, &options);
    assert_int_equal(first->recording_count, 3);
    assert_false(first->pipelines.from_cache);
    assert_true(second->pipelines.from_cache);
    for (int32_t i = 0; i < second->gemms.count; i++)
        assert_int_equal(second->gemms.items[i].from_cache, second->gemms.items[i].candidate_count > 1);
    for (int r = 0; r < 3; r++)
        second->recordings[r].phases = 0;
    for (int step = 0; step < 3; step++) {
        run(vulkan, first, NULL);
        run(vulkan, second, NULL);
    }
    assert_same(plan, first, second, "recorded once and each step");
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
        struct plan *plan = build(&shapes[0], PRECISION_FP32, compile);
        struct seen seen = {0};
        struct probe probe = {.context = &seen, .intern = seen_intern, .event = seen_event, .note = seen_note};
        struct program *program =
            ready(vulkan, device, plan, &(struct prepare_options){.compile = compile, .probe = &probe});
        struct error error = {0};
        struct step_times times;
        assert_true(plan->node_count < 512);
        run(vulkan, program, NULL);
        assert_int_equal(seen.events, 0); /* timed steps have no stamps but the phases' */
        if (!vulkan->run(program, PHASES_TRAIN_STEP, 3, &probe, &times, &error))
            fail_msg("%s", error.text);
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
    struct plan *plan = build(&shapes[0], PRECISION_FP32, false);
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
    struct plan *plan = build(&shapes[0], PRECISION_FP32, true);
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
    struct plan *plan = build(&shapes[0], PRECISION_FP32, false);
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
    for (int compile = 0; compile < (shape_count > 1 ? 2 : 1); compile++) {
        struct plan *plan = build(&shapes[0], PRECISION_FP32, compile);
        struct program *program = ready(vulkan, device, plan, &(struct prepare_options){.compile = compile});
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
    if (argc > 1) {
        shape_count = (int)(sizeof shapes / sizeof *shapes);
        with_bf16 = true;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_agree_with_the_reference),         cmocka_unit_test(repeats_bitwise),
        cmocka_unit_test(a_profiled_step_has_every_dispatch),     cmocka_unit_test(a_plan_that_does_not_fit_is_told),
        cmocka_unit_test(memory_that_the_driver_refuses_is_told), cmocka_unit_test(a_lost_device_is_told),
        cmocka_unit_test(why_there_are_no_counters_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
