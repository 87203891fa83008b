#include "tests/kernels/whole.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

const struct whole_shape whole_shapes[WHOLE_SHAPES] = {
    {{.name = "d64", .d_model = 128, .d_ff = 192, .num_layers = 2, .num_heads = 2, .vocab_size = 1003}, 2, 65},
    {{.name = "d80", .d_model = 160, .d_ff = 104, .num_layers = 2, .num_heads = 2, .vocab_size = 509}, 1, 257},
    {{.name = "d128", .d_model = 128, .d_ff = 256, .num_layers = 1, .num_heads = 1, .vocab_size = 1000}, 3, 64},
    {{.name = "one token", .d_model = 64, .d_ff = 88, .num_layers = 2, .num_heads = 4, .vocab_size = 33}, 2, 1},
};

struct plan *whole_plan(const struct whole_shape *shape, enum precision precision, unsigned fusions,
                        struct overlap overlap)
{
    struct error error = {0};
    const struct plan_request request = {.model = shape->model,
                                         .batch = shape->batch,
                                         .context = shape->context,
                                         .precision = precision,
                                         .fusions = fusions,
                                         .overlap = overlap,
                                         .phases = PHASES_TRAIN_STEP};
    struct plan *plan = plan_build(&request, NULL, &error);
    if (!plan) {
        fail_msg("%s", error.text);
        abort(); /* the analyzer does not know that nobody comes here */
    }
    return plan;
}

static void fill(const struct device_class *class, struct program *program, const struct plan *plan)
{
    struct error error = {0};
    for (int32_t i = 0; i < plan->tensor_count; i++) {
        const struct tensor *tensor = &plan->tensors[i];
        const bool own = tensor->kind == TENSOR_PARAMETER && tensor->parameter == i;
        if (!own && tensor->kind != TENSOR_CONSTANT && i != plan->tokens && i != plan->targets)
            continue;
        void *values = malloc(tensor->bytes + 4);
        assert_non_null(values);
        if (tensor->dtype == DTYPE_I32)
            model_random_tokens(plan, i, 5, values);
        else if (!model_initial_value(plan, i, 5, values, &error))
            fail_msg("%s", error.text);
        if (!class->write(program, i, values, &error))
            fail_msg("%s: %s", tensor->name, error.text);
        free(values);
    }
}

struct program *whole_ready(const struct device_class *class, struct device *device, const struct plan *plan,
                            const struct prepare_options *options)
{
    struct error error = {0};
    struct program *program = class->prepare(device, plan, options, NULL, &error);
    if (!program)
        fail_msg("%s", error.text);
    fill(class, program, plan);
    return program;
}

void whole_run(const struct device_class *class, struct program *program)
{
    struct error error = {0};
    struct step_times times;
    if (!class->run(program, PHASES_TRAIN_STEP, 0, NULL, &times, &error))
        fail_msg("%s", error.text);
    assert_true(times.end > times.start);
}

void *whole_read(const struct device_class *class, struct program *program, const struct plan *plan, int32_t tensor)
{
    struct error error = {0};
    void *bytes = malloc(plan->tensors[tensor].bytes + 4);
    assert_non_null(bytes);
    if (!class->read(program, tensor, bytes, &error))
        fail_msg("%s", error.text);
    return bytes;
}

void whole_same(const struct device_class *class, const struct plan *plan, struct program *a, struct program *b,
                const char *what)
{
    for (int32_t i = 0; i < plan->tensor_count; i++) {
        const struct tensor *tensor = &plan->tensors[i];
        if (!tensor_kind_persists(tensor->kind))
            continue;
        void *first = whole_read(class, a, plan, i), *second = whole_read(class, b, plan, i);
        if (memcmp(first, second, tensor->bytes) != 0)
            fail_msg("%s: %s differs", what, tensor->name);
        free(first);
        free(second);
    }
}

/* A program and what it was made from. */
struct whole {
    const struct device_class *class;
    struct plan *plan;
    struct program *program;
};

static void whole_release(struct whole *whole)
{
    whole->class->release(whole->program);
    plan_free(whole->plan);
}

/* Relative L2 error over all tensors of the expected plan of this kind together, by name, and the worst single one. */
static double kind_error(const struct whole *expected, const struct whole *got, enum tensor_kind kind, double *worst)
{
    double error = 0, norm = 0;
    *worst = 0;
    for (int32_t i = 0; i < expected->plan->tensor_count; i++) {
        const struct tensor *tensor = &expected->plan->tensors[i];
        if (tensor->kind != kind || tensor->parameter == TENSOR_NONE)
            continue;
        const int32_t other = plan_find_tensor(got->plan, tensor->name);
        assert_true(other >= 0);
        assert_int_equal(got->plan->tensors[other].dtype, DTYPE_F32);
        float *want = whole_read(expected->class, expected->program, expected->plan, i),
              *have = whole_read(got->class, got->program, got->plan, other);
        double own_error = 0, own_norm = 0;
        for (int64_t e = 0; e < tensor_elements(tensor); e++) {
            const double difference = (double)have[e] - (double)want[e];
            own_error += difference * difference;
            own_norm += (double)want[e] * (double)want[e];
        }
        error += own_error;
        norm += own_norm;
        const double relative = own_norm > 0 ? sqrt(own_error / own_norm) : sqrt(own_error);
        if (relative > *worst || isnan(relative))
            *worst = relative;
        free(want);
        free(have);
    }
    assert_true(norm > 0);
    return sqrt(error / norm);
}

static double loss_error(const struct whole *expected, const struct whole *got)
{
    float *want = whole_read(expected->class, expected->program, expected->plan, expected->plan->loss),
          *have = whole_read(got->class, got->program, got->plan, got->plan->loss);
    const double off = fabs((double)*have - (double)*want) / fabs((double)*want);
    free(want);
    free(have);
    return off;
}

/* One way to run a shape; false where it is too far. */
static bool step_agrees(const struct whole *expected, const struct whole *got, const char *name, bool fused,
                        double tolerance)
{
    double worst_gradient, worst_parameter;
    const double gradient = kind_error(expected, got, TENSOR_GRADIENT, &worst_gradient),
                 loss = loss_error(expected, got);
    kind_error(expected, got, TENSOR_PARAMETER, &worst_parameter);
    const bool good = gradient <= tolerance && loss <= tolerance && worst_parameter < 0.1;
    print_message("%-10s %s %-8s gradients %.2e (worst tensor %.2e) loss %.2e parameters %.2e%s\n", name,
                  precision_name(got->plan->precision), fused ? "compile" : "eager", gradient, worst_gradient, loss,
                  worst_parameter, good ? "" : "  TOO FAR");
    return good;
}

void whole_steps_agree(const struct device_class *class, struct device *device, const struct whole_shape *shapes,
                       int count, const double tolerances[PRECISION_COUNT])
{
    struct error error = {0};
    struct device *reference = reference_device_class.open(0, &error);
    const struct prepare_options plain = {0};
    int failures = 0;
    assert_non_null(reference);
    for (int s = 0; s < count; s++) {
        struct whole expected = {.class = &reference_device_class,
                                 .plan = whole_plan(&shapes[s], PRECISION_FP32, 0, class->overlap)};
        expected.program = whole_ready(expected.class, reference, expected.plan, &plain);
        whole_run(expected.class, expected.program);
        for (int precision = 0; precision < PRECISION_COUNT; precision++)
            for (int fused = 0; fused < 2; fused++) {
                char why[160];
                if (!(tolerances[precision] > 0) ||
                    !class->supports(device, OP_LINEAR, (enum precision)precision, why, sizeof why))
                    continue;
                const unsigned fusions = fused ? FUSE_ALL | 1u << FUSE_OVERLAP : 0;
                const struct prepare_options options = {.compile = fused};
                struct whole got = {.class = class,
                                    .plan = whole_plan(&shapes[s], (enum precision)precision, fusions, class->overlap)};
                got.program = whole_ready(class, device, got.plan, &options);
                whole_run(class, got.program);
                failures += !step_agrees(&expected, &got, shapes[s].model.name, fused, tolerances[precision]);
                whole_release(&got);
            }
        whole_release(&expected);
    }
    reference_device_class.close(reference);
    assert_int_equal(failures, 0);
}
