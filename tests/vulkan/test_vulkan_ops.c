/* Every op on a Vulkan device against the double reference, eager and with compile's constants, at shapes that no tile or vector
 * width divides (Vulkan allows division and square roots 2.5 units of error); and bit by bit from run to run. With an argument at more shapes; a second one names the tests. Skipped (77) without a device: any
 * will do, software too. */
#include "kernels/vulkan/vulkan_device.h"
#include "tests/kernels/agree.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct device_class *const vulkan = &steptop_device_class;

static const struct made_sizes shapes[] = {
    {.batch = 2, .context = 33, .heads = 3, .head_dim = 16, .d_in = 48, .d_out = 80, .vocab = 97},
    {.batch = 1, .context = 70, .heads = 2, .head_dim = 6, .d_in = 67, .d_out = 33, .vocab = 10},
    {.batch = 1, .context = 1, .heads = 2, .head_dim = 64, .d_in = 128, .d_out = 64, .vocab = 1003},
    {.batch = 1, .context = 257, .heads = 2, .head_dim = 80, .d_in = 160, .d_out = 131, .vocab = 1003},
    {.batch = 3, .context = 64, .heads = 2, .head_dim = 64, .d_in = 256, .d_out = 768, .vocab = 10},
    {.batch = 2, .context = 100, .heads = 1, .head_dim = 128, .d_in = 768, .d_out = 256, .vocab = 2000},
    {.batch = 1, .context = 300, .heads = 1, .head_dim = 2, .d_in = 2, .d_out = 2, .vocab = 3},
    {.batch = 1, .context = 70, .heads = 2, .head_dim = 256, .d_in = 2560, .d_out = 30, .vocab = 1007},
};
#define SHAPES ((int)(sizeof shapes / sizeof *shapes))
static int shape_count = 2;

/* lavapipe takes seconds for these in bf16. */
static bool is_slow_to_build(enum op op)
{
    const enum kernel_class kind = op_info(op)->kernel_class;
    return kind == CLASS_MATMUL || kind == CLASS_ATTENTION;
}

static struct device *device_open(void)
{
    struct error error = {0};
    struct device *device = vulkan->open(0, &error);
    if (!device)
        fail_msg("%s", error.text);
    return device;
}

static bool takes_slices(enum op op)
{
    return op != OP_ADD && op != OP_MUL && op != OP_SILU && op != OP_SILU_BACKWARD;
}

static void ops_agree(enum precision precision, double tolerance)
{
    struct error error = {0};
    char why[160];
    struct device *device = device_open(), *reference = reference_device_class.open(0, &error);
    int failures = 0;
    if (!vulkan->supports(device, OP_ADD, precision, why, sizeof why)) {
        print_message("skipped: %s\n", why);
        vulkan->close(device);
        reference_device_class.close(reference);
        skip();
    }
    for (int op = 0; op < OP_COUNT; op++) {
        double worst_of_op = 0;
        if (!vulkan->supports(device, (enum op)op, precision, why, sizeof why) ||
            (precision == PRECISION_BF16 && shape_count < SHAPES && is_slow_to_build((enum op)op)))
            continue;
        for (int shape = 0; shape < shape_count; shape++)
            for (int variant = 0; variant < 2; variant++) { /* packed and compiled; sliced and eager */
                if (shape_count < SHAPES && variant != shape)
                    continue;
                static struct made made;
                made_op(&made, (enum op)op, &shapes[shape], variant == 1 && takes_slices((enum op)op));
                made.plan.precision = precision;
                if (precision == PRECISION_BF16)
                    agree_make_bf16(&made, (enum op)op);
                struct agree_results expected, got;
                agree_run(&reference_device_class, reference, &made, false, 1, &expected);
                agree_run(vulkan, device, &made, variant == 0, 1, &got);
                const double worst = agree_worst(&made, &got, &expected);
                if (!(worst <= tolerance)) {
                    print_error("%s %s, shape %d, %s: relative L2 error %.3g\n", precision_name(precision),
                                op_info((enum op)op)->name, shape, variant ? "sliced, eager" : "packed, compiled",
                                worst);
                    failures++;
                }
                worst_of_op = worst > worst_of_op || isnan(worst) ? worst : worst_of_op;
                agree_free(&expected);
                agree_free(&got);
            }
        print_message("%s %-24s %.2e\n", precision_name(precision), op_info((enum op)op)->name, worst_of_op);
    }
    vulkan->close(device);
    reference_device_class.close(reference);
    assert_int_equal(failures, 0);
}

static void fp32_ops_agree(void **state)
{
    (void)state, ops_agree(PRECISION_FP32, 2e-6);
}
static void bf16_ops_agree(void **state)
{
    (void)state, ops_agree(PRECISION_BF16, 1e-2);
}

static void tf32_is_refused_by_name(void **state)
{
    (void)state;
    struct device *device = device_open();
    char why[160] = "";
    assert_false(vulkan->supports(device, OP_LINEAR, PRECISION_TF32, why, sizeof why));
    assert_non_null(strstr(why, "tf32"));
    assert_false(vulkan->supports(device, OP_ALL_REDUCE, PRECISION_FP32, why, sizeof why));
    static struct made made;
    struct error error = {0};
    struct prepare_options options = {0};
    made_op(&made, OP_LINEAR, &shapes[0], false);
    made.plan.precision = PRECISION_TF32;
    assert_null(vulkan->prepare(device, &made.plan, &options, NULL, &error));
    assert_int_equal(error.kind, ERROR_UNSUPPORTED);
    vulkan->close(device);
}

static void runs_repeat_bitwise(void **state)
{
    (void)state;
    struct device *device = device_open();
    for (int op = 0; op < OP_COUNT; op++) {
        char why[160];
        if (!vulkan->supports(device, (enum op)op, PRECISION_FP32, why, sizeof why))
            continue;
        static struct made made;
        made_op(&made, (enum op)op, &shapes[0], false);
        struct agree_results first, second;
        agree_run(vulkan, device, &made, false, 2, &first);
        agree_run(vulkan, device, &made, false, 2, &second);
        for (int32_t i = 0; i < made.plan.tensor_count; i++)
            if (first.bytes[i] && !agree_is_triangular((enum op)op) &&
                memcmp(first.bytes[i], second.bytes[i], made.tensors[i].bytes) != 0)
                fail_msg("%s: %s differs between two runs", op_info((enum op)op)->name, made.tensors[i].name);
        agree_free(&first);
        agree_free(&second);
    }
    vulkan->close(device);
}

/* What must be seen: a wrong epsilon, a wrong scale, a missing decay. */
static void a_wrong_constant_is_seen(void **state)
{
    (void)state;
    static const enum op ops[] = {OP_RMSNORM, OP_ATTENTION, OP_ADAMW};
    struct error error = {0};
    struct device *device = device_open(), *reference = reference_device_class.open(0, &error);
    for (int fault = 0; fault < 3; fault++) {
        static struct made made;
        made_op(&made, ops[fault], &shapes[0], false);
        struct agree_results expected, got;
        agree_run(&reference_device_class, reference, &made, false, 2, &expected);
        struct node *node = &made.nodes[0];
        if (fault == 0)
            node->epsilon = 1e-4f;
        else if (fault == 1)
            node->scale *= 1.001f;
        else
            node->adamw.weight_decay = 0;
        agree_run(vulkan, device, &made, false, 2, &got);
        assert_true(agree_worst(&made, &got, &expected) > 2e-6);
        agree_free(&expected);
        agree_free(&got);
    }
    vulkan->close(device);
    reference_device_class.close(reference);
}

int main(int argc, char **argv)
{
    struct device_info info;
    struct error error = {0};
    int count = 0;
    if (!vulkan->enumerate(&info, 1, &count, &error)) {
        printf("skipped: %s\n", error.text);
        return 77;
    }
    printf("%s, %s, %s\n", info.model, info.architecture, info.driver);
    if (argc > 1)
        shape_count = SHAPES;
    if (argc > 2)
        cmocka_set_test_filter(argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fp32_ops_agree),           cmocka_unit_test(bf16_ops_agree),
        cmocka_unit_test(runs_repeat_bitwise),      cmocka_unit_test(tf32_is_refused_by_name),
        cmocka_unit_test(a_wrong_constant_is_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
