/* Whole training steps on the GPU: gradients and updated parameters against the double reference, eager and fused, in each
 * precision, at odd shapes; bitwise from run to run; the captured graph against the stream, bitwise; and a plan that does
 * not fit. Skipped (77) without a device. */
#include "base/file.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/cuda_device.h"
#include "kernels/cuda/cuda_internal.h"
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

static const struct device_class *const cuda = &steptop_device_class;

struct shape {
    struct model_config model;
    int64_t batch, context;
};

static const struct shape shapes[] = {
    {{.name = "d64", .d_model = 128, .d_ff = 192, .num_layers = 2, .num_heads = 2, .vocab_size = 1003}, 2, 65},
    {{.name = "d80", .d_model = 160, .d_ff = 104, .num_layers = 2, .num_heads = 2, .vocab_size = 509}, 1, 257},
    {{.name = "d128", .d_model = 128, .d_ff = 256, .num_layers = 1, .num_heads = 1, .vocab_size = 1000}, 3, 64},
    {{.name = "one token", .d_model = 64, .d_ff = 88, .num_layers = 2, .num_heads = 4, .vocab_size = 33}, 2, 1},
};
#define SHAPES ((int)(sizeof shapes / sizeof *shapes))

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
                             bool compile, const char *cache)
{
    struct error error = {0};
    struct prepare_options options = {.compile = compile, .cache_folder = cache};
    struct program *program = class->prepare(device, plan, &options, NULL, &error);
    if (!program)
        fail_msg("%s", error.text);
    fill(class, program, plan);
    return program;
}

static void run(const struct device_class *class, struct program *program, unsigned phases)
{
    struct error error = {0};
    struct step_times times;
    if (!class->run(program, phases, 0, NULL, &times, &error))
        fail_msg("%s", error.text);
    assert_true(times.end > times.start);
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

/* Relative L2 error over all tensors of the reference plan of this kind together, by name, and the worst single one. */
static double kind_error(const struct plan *expected_plan, struct program *expected, const struct plan *plan,
                         struct program *got, enum tensor_kind kind, double *worst)
{
    double error = 0, norm = 0;
    *worst = 0;
    for (int32_t i = 0; i < expected_plan->tensor_count; i++) {
        const struct tensor *tensor = &expected_plan->tensors[i];
        if (tensor->kind != kind || tensor->parameter == TENSOR_NONE)
            continue;
        int32_t other = plan_find_tensor(plan, tensor->name);
        assert_true(other >= 0);
        assert_int_equal(plan->tensors[other].dtype, DTYPE_F32);
        float *want = read_bytes(&reference_device_class, expected, expected_plan, i),
              *have = read_bytes(cuda, got, plan, other);
        double own_error = 0, own_norm = 0;
        for (int64_t e = 0; e < tensor_elements(tensor); e++) {
            double difference = (double)have[e] - (double)want[e];
            own_error += difference * difference;
            own_norm += (double)want[e] * (double)want[e];
        }
        error += own_error;
        norm += own_norm;
        double relative = own_norm > 0 ? sqrt(own_error / own_norm) : sqrt(own_error);
        if (relative > *worst || isnan(relative))
            *worst = relative;
        free(want);
        free(have);
    }
    assert_true(norm > 0);
    return sqrt(error / norm);
}

static struct device *device_open(void)
{
    struct error error = {0};
    struct device *device = cuda->open(0, &error);
    if (!device)
        fail_msg("%s", error.text);
    return device;
}

static void steps_agree_with_the_reference(void **state)
{
    (void)state;
    static const double tolerances[PRECISION_COUNT] = {1e-5, 2e-3, 1e-2};
    struct error error = {0};
    struct device *device = device_open(), *reference = reference_device_class.open(0, &error);
    int failures = 0;
    for (int s = 0; s < SHAPES; s++) {
        struct plan *expected_plan = build(&shapes[s], PRECISION_FP32, false);
        struct program *expected = ready(&reference_device_class, reference, expected_plan, false, NULL);
        run(&reference_device_class, expected, PHASES_TRAIN_STEP);
        for (int precision = 0; precision < PRECISION_COUNT; precision++)
            for (int fused = 0; fused < 2; fused++) {
                struct plan *plan = build(&shapes[s], (enum precision)precision, fused);
                struct program *program = ready(cuda, device, plan, fused, NULL);
                run(cuda, program, PHASES_TRAIN_STEP);
                double worst_gradient, worst_parameter;
                double gradient = kind_error(expected_plan, expected, plan, program, TENSOR_GRADIENT, &worst_gradient);
                kind_error(expected_plan, expected, plan, program, TENSOR_PARAMETER, &worst_parameter);
                float *loss = read_bytes(cuda, program, plan, plan->loss),
                      *want = read_bytes(&reference_device_class, expected, expected_plan, expected_plan->loss);
                double loss_error = fabs((double)*loss - (double)*want) / fabs((double)*want);
                bool good =
                    gradient <= tolerances[precision] && loss_error <= tolerances[precision] && worst_parameter < 0.1;
                print_message("%-10s %s %-8s gradients %.2e (worst tensor %.2e) loss %.2e parameters %.2e%s\n",
                              shapes[s].model.name, precision_name((enum precision)precision),
                              fused ? "compile" : "eager", gradient, worst_gradient, loss_error, worst_parameter,
                              good ? "" : "  TOO FAR");
                failures += !good;
                free(loss);
                free(want);
                cuda->release(program);
                plan_free(plan);
            }
        reference_device_class.release(expected);
        plan_free(expected_plan);
    }
    cuda->close(device);
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
        void *first = read_bytes(cuda, a, plan, i), *second = read_bytes(cuda, b, plan, i);
        if (memcmp(first, second, tensor->bytes) != 0)
            fail_msg("%s: %s differs", what, tensor->name);
        free(first);
        free(second);
    }
}

static void repeats_bitwise(void **state)
{
    (void)state;
    char folder[] = "/tmp/steptop-test-XXXXXX";
    assert_non_null(mkdtemp(folder));
    struct device *device = device_open();
    for (int precision = 0; precision < PRECISION_COUNT; precision++)
        for (int fused = 0; fused < 2; fused++) {
            struct plan *plan = build(&shapes[1], (enum precision)precision, fused);
            struct program *first = ready(cuda, device, plan, fused, folder),
                           *second = ready(cuda, device, plan, fused, folder);
            struct program *stream = ready(cuda, device, plan, fused, folder);
            assert_int_equal(first->graph_count, fused ? 3 : 0);
            for (int32_t i = 0; fused && i < second->gemms.count; i++)
                assert_true(second->gemms.items[i].from_cache); /* the algorithms the first one stored */
            for (int32_t i = 0; fused && i < second->attentions.count; i++)
                assert_true(second->attentions.items[i].from_cache || second->attentions.items[i].tried == 0);
            stream->graph_count = 0; /* so it walks the launches instead */
            for (int step = 0; step < 3; step++) {
                run(cuda, first, PHASES_TRAIN_STEP);
                run(cuda, second, PHASES_TRAIN_STEP);
                run(cuda, stream, PHASES_TRAIN_STEP);
            }
            assert_same(plan, first, second, "two programs");
            assert_same(plan, first, stream, "graph and stream");
            for (int i = 0; i < 3; i++)
                cuda->release(i == 0 ? first : i == 1 ? second : stream);
            plan_free(plan);
        }
    cuda->close(device);
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    assert_int_equal(system(command), 0);
}

/* Weights' products aside, the optimizer's pieces early, both, neither: the same bits as one launch after the other. */
static void every_arrangement_repeats_bitwise(void **state)
{
    (void)state;
    static const struct shape wide = {
        {.name = "wide", .d_model = 256, .d_ff = 1024, .num_layers = 4, .num_heads = 4, .vocab_size = 8000}, 2, 128};
    char folder[] = "/tmp/steptop-test-XXXXXX";
    struct error error = {0};
    assert_non_null(mkdtemp(folder));
    struct device *device = device_open();
    for (int precision = PRECISION_TF32; precision < PRECISION_COUNT; precision++) {
        struct plan *plan = build(&wide, (enum precision)precision, true);
        struct program *stream = ready(cuda, device, plan, true, folder);
        stream->graph_count = 0;
        for (int step = 0; step < 3; step++)
            run(cuda, stream, PHASES_TRAIN_STEP);
        for (unsigned kind = 0; kind < CUDA_ARRANGEMENTS; kind++) {
            struct program *program = ready(cuda, device, plan, true, folder);
            assert_true(program->pieces > 2);
            for (int i = 0; i < program->graph_count; i++)
                device->libraries.cuGraphExecDestroy(program->graphs[i].executable);
            program->graph_count = 0;
            program->arrangement = kind;
            if (!cuda_capture_graphs(program, &error))
                fail_msg("%s", error.text);
            for (int step = 0; step < 3; step++)
                run(cuda, program, PHASES_TRAIN_STEP);
            assert_same(plan, program, stream, kind & CUDA_OPTIMIZER_EARLY ? "optimizer early" : "optimizer last");
            cuda->release(program);
        }
        cuda->release(stream);
        plan_free(plan);
    }
    cuda->close(device);
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    assert_int_equal(system(command), 0);
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
    assert_null(cuda->prepare(device, plan, &options, &report, &error));
    assert_int_equal(error.kind, ERROR_MEMORY);
    assert_non_null(strstr(error.text, "bytes: 1073741824 MiB for the plan")); /* 2^50 bytes */
    assert_non_null(strstr(error.text, "free"));
    plan->memory.total = total;
    plan_free(plan);
    cuda->close(device);
}

int main(void)
{
    struct device_info info;
    struct error error = {0};
    int count = 0;
    if (!cuda->enumerate(&info, 1, &count, &error)) {
        printf("skipped: %s\n", error.text);
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_agree_with_the_reference),
        cmocka_unit_test(repeats_bitwise),
        cmocka_unit_test(every_arrangement_repeats_bitwise),
        cmocka_unit_test(a_plan_that_does_not_fit_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
