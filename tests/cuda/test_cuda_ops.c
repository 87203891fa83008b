/* Every op on the GPU against the double reference, in each precision, eager and with compile's constants, at shapes that
 * no tile or vector width divides; and bit by bit from run to run. Skipped (77) without a device. */
#include "kernels/cuda/attention.h"
#include "kernels/cuda/cuda_device.h"
#include "tests/kernels/agree.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct device_class *const cuda = &steptop_device_class;

static const struct made_sizes shapes[] = {
    {.batch = 2, .context = 33, .heads = 3, .head_dim = 16, .d_in = 48, .d_out = 80, .vocab = 97},
    {.batch = 1, .context = 1, .heads = 2, .head_dim = 64, .d_in = 128, .d_out = 64, .vocab = 1003},
    {.batch = 1, .context = 257, .heads = 2, .head_dim = 80, .d_in = 160, .d_out = 131, .vocab = 1003},
    {.batch = 3, .context = 64, .heads = 2, .head_dim = 64, .d_in = 67, .d_out = 33, .vocab = 10},
    {.batch = 2, .context = 100, .heads = 1, .head_dim = 128, .d_in = 768, .d_out = 256, .vocab = 2000},
    {.batch = 1, .context = 300, .heads = 1, .head_dim = 6, .d_in = 2, .d_out = 2, .vocab = 3},
    {.batch = 1, .context = 70, .heads = 2, .head_dim = 256, .d_in = 2560, .d_out = 30, .vocab = 1007},
};
#define SHAPES ((int)(sizeof shapes / sizeof *shapes))

static struct device *device_open(void)
{
    struct error error = {0};
    struct device *device = cuda->open(0, &error);
    if (!device)
        fail_msg("%s", error.text);
    return device;
}

static void ops_agree(enum precision precision, double tolerance)
{
    const struct agree_device with = {cuda, device_open(), shapes, SHAPES, false, NULL};
    agree_ops(&with, precision, tolerance);
    cuda->close(with.device);
}

static void fp32_ops_agree(void **state)
{
    (void)state, ops_agree(PRECISION_FP32, 1e-6);
}
static void tf32_ops_agree(void **state)
{
    (void)state, ops_agree(PRECISION_TF32, 2e-3);
}
static void bf16_ops_agree(void **state)
{
    (void)state, ops_agree(PRECISION_BF16, 1e-2);
}

static void runs_repeat_bitwise(void **state)
{
    (void)state;
    const struct agree_device with = {cuda, device_open(), shapes, SHAPES, false, NULL};
    for (int precision = 0; precision < PRECISION_COUNT; precision++)
        agree_repeats(&with, 2, (enum precision)precision);
    cuda->close(with.device);
}

static const struct made_sizes heads[] = {
    {.batch = 2, .context = 33, .heads = 3, .head_dim = 16},
    {.batch = 1, .context = 1, .heads = 2, .head_dim = 64},
    {.batch = 1, .context = 257, .heads = 2, .head_dim = 80},
    {.batch = 2, .context = 256, .heads = 3, .head_dim = 64},
    {.batch = 1, .context = 100, .heads = 1, .head_dim = 128},
    {.batch = 1, .context = 70, .heads = 2, .head_dim = 256},
    {.batch = 1, .context = 650, .heads = 2, .head_dim = 32},
    {.batch = 1, .context = 700, .heads = 2, .head_dim = 96},
    {.batch = 2, .context = 384, .heads = 2, .head_dim = 128},
    {.batch = 1, .context = 200, .heads = 2, .head_dim = 160},
    {.batch = 1, .context = 1100, .heads = 3, .head_dim = 40},
};

static int only_shape = -1; /* of attention's; negative: all */

/* Each candidate alone, wherever it serves: against double, and bit by bit in a second run. */
static void each_way_to_run_attention_agrees(void **state)
{
    (void)state;
    static const double tolerances[] = {[PRECISION_FP32] = 1e-6, [PRECISION_TF32] = 2e-3, [PRECISION_BF16] = 1e-2};
    struct error error = {0};
    struct device *device = device_open(), *reference = reference_device_class.open(0, &error);
    int failures = 0, served[CUDA_ATTENTION_MAX_CANDIDATES] = {0};
    double worst[CUDA_ATTENTION_MAX_CANDIDATES][PRECISION_COUNT] = {{0}};
    for (size_t shape = 0; shape < sizeof heads / sizeof *heads; shape++)
        for (int precision = 0; precision < PRECISION_COUNT; precision++) {
            static struct made made;
            if (only_shape >= 0 && (size_t)only_shape != shape)
                continue;
            if (precision != PRECISION_BF16 && shape % 3 != 2) /* the others are among the ops above, too */
                continue;
            made_op(&made, OP_ATTENTION_BACKWARD, &heads[shape], false);
            made.plan.precision = (enum precision)precision;
            if (precision == PRECISION_BF16)
                agree_make_bf16(&made, OP_ATTENTION_BACKWARD);
            struct agree_results expected, first, second;
            agree_run(&reference_device_class, reference, &made, false, 1, &expected);
            for (int c = 0; c < cuda_attention_candidate_count; c++) {
                device->attention_only = c + 1;
                if (!agree_try(cuda, device, &made, true, 1, &first))
                    continue;
                agree_run(cuda, device, &made, true, 1, &second);
                served[c]++;
                bool same = true;
                double error_here = 0;
                for (int32_t i = 0; i < made.plan.tensor_count; i++) {
                    if (!first.bytes[i])
                        continue;
                    same = same && (cuda_attention_candidates[c]->last_resort || /* its products are chosen by timing */
                                    strcmp(made.tensors[i].name, "delta") == 0 ||
                                    memcmp(first.bytes[i], second.bytes[i], made.tensors[i].bytes) == 0);
                    if (strcmp(made.tensors[i].name, "delta") == 0)
                        continue;
                    double far = agree_relative_l2(&made, i, first.bytes[i], expected.bytes[i]);
                    error_here = far > error_here || isnan(far) ? far : error_here;
                }
                if (!same || !(error_here <= tolerances[precision])) {
                    print_error("%s %s, shape %zu: relative L2 error %.3g%s\n", cuda_attention_candidates[c]->name,
                                precision_name((enum precision)precision), shape, error_here,
                                same ? "" : ", differs between two runs");
                    failures++;
                }
                double *worst_here = &worst[c][precision];
                *worst_here = error_here > *worst_here || isnan(error_here) ? error_here : *worst_here;
                agree_free(&first);
                agree_free(&second);
            }
            agree_free(&expected);
        }
    for (int c = 0; c < cuda_attention_candidate_count; c++)
        print_message("attention by %-20s %2d cases, fp32 %.2e tf32 %.2e bf16 %.2e\n",
                      cuda_attention_candidates[c]->name, served[c], worst[c][PRECISION_FP32], worst[c][PRECISION_TF32],
                      worst[c][PRECISION_BF16]);
    int served_in_all = 0;
    for (int c = 0; c < cuda_attention_candidate_count; c++)
        served_in_all += served[c];
    assert_true(served_in_all > 0);
    device->attention_only = 0;
    cuda->close(device);
    reference_device_class.close(reference);
    assert_int_equal(failures, 0);
}

/* With little memory for its workspace cuDNN takes some of the heads at a time. */
static void attention_in_parts_agrees(void **state)
{
    (void)state;
    struct error error = {0};
    struct device *device = device_open(), *reference = reference_device_class.open(0, &error);
    device->memory_bytes = 16 * 400000;
    for (int c = 0; c < cuda_attention_candidate_count; c++)
        if (cuda_attention_candidates[c] == &cuda_attention_cudnn)
            device->attention_only = c + 1;
    for (int shape = 3; shape < 9; shape += 5) { /* B2 H3 T256 D64: 128 KiB a head; B2 H2 T384 D128: 288 KiB */
        static struct made made;
        made_op(&made, OP_ATTENTION_BACKWARD, &heads[shape], false);
        made.plan.precision = PRECISION_BF16;
        agree_make_bf16(&made, OP_ATTENTION_BACKWARD);
        struct agree_results expected, got;
        if (!agree_try(cuda, device, &made, true, 1, &got)) {
            print_message("skipped: %s\n", device->cudnn_why);
            break;
        }
        agree_run(&reference_device_class, reference, &made, false, 1, &expected);
        double far = agree_worst(&made, &got, &expected);
        print_message("attention in parts %.2e\n", far);
        assert_true(far <= 1e-2);
        agree_free(&expected);
        agree_free(&got);
    }
    cuda->close(device);
    reference_device_class.close(reference);
}

static void a_wrong_constant_is_seen(void **state)
{
    (void)state;
    const struct agree_device with = {cuda, device_open(), shapes, SHAPES, false, NULL};
    agree_sees_a_wrong_constant(&with);
    cuda->close(with.device);
}

/* Arguments: the only test to run, and the only shape of attention's: under tools that take minutes for each. */
int main(int argc, char **argv)
{
    struct device_info info;
    struct error error = {0};
    int count = 0;
    if (!cuda->enumerate(&info, 1, &count, &error)) {
        printf("skipped: %s\n", error.text);
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fp32_ops_agree),
        cmocka_unit_test(tf32_ops_agree),
        cmocka_unit_test(bf16_ops_agree),
        cmocka_unit_test(runs_repeat_bitwise),
        cmocka_unit_test(a_wrong_constant_is_seen),
        cmocka_unit_test(each_way_to_run_attention_agrees),
        cmocka_unit_test(attention_in_parts_agrees),
    };
    only_shape = argc > 2 ? atoi(argv[2]) : -1;
    cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
