/* Every op on a Vulkan device against the double reference, eager and with compile's constants, at shapes that no tile or vector
 * width divides (Vulkan allows division and square roots 2.5 units of error); and bit by bit from run to run. With an argument at more shapes; a second one names the tests. Skipped (77) without a device: any
 * will do, software too. */
#include "kernels/vulkan/vulkan_device.h"
#include "tests/kernels/agree.h"
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

static bool is_wanted(struct device *device, enum op op, enum precision precision)
{
    char why[160];
    return vulkan->supports(device, op, precision, why, sizeof why) &&
           !(precision == PRECISION_BF16 && shape_count < SHAPES && is_slow_to_build(op));
}

static void ops_agree(enum precision precision, double tolerance)
{
    char why[160];
    const struct agree_device with = {vulkan, device_open(), shapes, shape_count, shape_count < SHAPES, is_wanted};
    const bool can = vulkan->supports(with.device, OP_ADD, precision, why, sizeof why);
    if (can)
        agree_ops(&with, precision, tolerance);
    vulkan->close(with.device);
    if (!can) {
        print_message("skipped: %s\n", why);
        skip();
    }
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

/* Each size fits, and the product of them does not: an index would come out at another element. */
static void more_than_31_bits_of_elements_are_refused(void **state)
{
    (void)state;
    static const enum op ops[] = {OP_EMBEDDING, OP_EMBEDDING_BACKWARD, OP_ROPE, OP_ROPE_BACKWARD};
    const struct made_sizes large = {
        .batch = 1, .context = 50000, .heads = 1, .head_dim = 50000, .d_in = 50000, .d_out = 2, .vocab = 3};
    struct device *device = device_open();
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        static struct made made;
        struct error error = {0};
        struct prepare_options options = {0};
        made_op(&made, ops[i], &large, false);
        assert_null(vulkan->prepare(device, &made.plan, &options, NULL, &error));
        if (!strstr(error.text, "a size of 2500000000 elements is beyond 31 bits"))
            fail_msg("%s: %s", op_info(ops[i])->name, error.text);
    }
    vulkan->close(device);
}

static void runs_repeat_bitwise(void **state)
{
    (void)state;
    const struct agree_device with = {vulkan, device_open(), shapes, shape_count, false, is_wanted};
    agree_repeats(&with, 0, PRECISION_FP32);
    vulkan->close(with.device);
}

static void a_wrong_constant_is_seen(void **state)
{
    (void)state;
    const struct agree_device with = {vulkan, device_open(), shapes, shape_count, false, is_wanted};
    agree_sees_a_wrong_constant(&with);
    vulkan->close(with.device);
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
        cmocka_unit_test(a_wrong_constant_is_seen), cmocka_unit_test(more_than_31_bits_of_elements_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
