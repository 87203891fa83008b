/* bf16 on the CPU, where its instructions are missing by the same kernels with the pairs' products made of floats: the product at each
 * instruction set, every op and whole models against double. */
#include "base/random.h"
#include "kernels/cpu/bf16.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/cpu_device.h"
#include "tests/kernels/agree.h"
#include "tests/kernels/whole.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define OP_LIMIT 4e-3    /* half of bf16's last place, relative: 2^-8, and sums of it */
#define MODEL_LIMIT 1e-2 /* all gradients together */

/* float to bf16 and back: to nearest, ties to even, infinities and NaNs kept. */
static void rounding_is_to_nearest_even(void **state)
{
    (void)state;
    static const struct {
        uint32_t bits;
        uint16_t narrow;
    } cases[] = {{0x3f800000, 0x3f80}, {0x3f808000, 0x3f80}, {0x3f818000, 0x3f82}, {0x3f808001, 0x3f81},
                 {0x7f7fffff, 0x7f80}, {0x7f800000, 0x7f80}, {0xff800000, 0xff80}, {0x7f800001, 0x7fc0},
                 {0x00008000, 0x0000}, {0x80018000, 0x8002}};
    /* By the vectors, through a cast of 37 elements; by the scalar function. */
    static struct made made;
    made_op(
        &made, OP_CAST,
        &(struct made_sizes){.batch = 1, .context = 1, .heads = 1, .head_dim = 2, .d_in = 37, .d_out = 2, .vocab = 3},
        false);
    made.tensors[1].dtype = DTYPE_BF16;
    made.tensors[1].bytes /= 2;
    struct error error = {0};
    struct device *device = cpu_device_class.open(0, &error);
    struct program *program = cpu_device_class.prepare(device, &made.plan, NULL, NULL, &error);
    if (!program)
        fail_msg("%s", error.text);
    uint32_t from[37] = {0};
    uint16_t to[37];
    for (size_t i = 0; i < 37; i++)
        from[i] = cases[i % (sizeof cases / sizeof *cases)].bits;
    assert_true(cpu_device_class.write(program, 0, from, &error));
    assert_true(cpu_device_class.run(program, PHASES_TRAIN_STEP, 0, NULL, NULL, &error));
    assert_true(cpu_device_class.read(program, 1, to, &error));
    for (size_t i = 0; i < 37; i++) {
        const uint16_t wanted = cases[i % (sizeof cases / sizeof *cases)].narrow;
        float value;
        memcpy(&value, &from[i], sizeof value);
        if (to[i] != wanted || bf16_make(value) != wanted)
            fail_msg("%08x became %04x and %04x, not %04x", from[i], to[i], bf16_make(value), wanted);
    }
    cpu_device_class.release(program);
    cpu_device_class.close(device);
}

/* One product of random operands, all four layouts, C in float and in bf16, against sums in double. */
static void product_check(const struct cpu_isa *isa, bool amx, int64_t m, int64_t n, int64_t k, int threads,
                          float *scratch)
{
    const int64_t pad = 3; /* C and the operands are slices of wider rows */
    uint16_t *a = malloc((size_t)(m + pad) * (size_t)(k + pad) * 2),
             *b = malloc((size_t)(k + pad) * (size_t)(n + pad) * 2);
    float *c = malloc((size_t)m * (size_t)(n + pad) * 4);
    assert_true(a && b && c);
    for (int64_t i = 0; i < (m + pad) * (k + pad); i++)
        a[i] = bf16_make((float)random_normal_cut3(1, 1, (uint64_t)i));
    for (int64_t i = 0; i < (k + pad) * (n + pad); i++)
        b[i] = bf16_make((float)random_normal_cut3(1, 2, (uint64_t)i));
    for (int layout = 0; layout < 8; layout++) {
        const struct gemm_bf16 g = {.m = m,
                                    .n = n,
                                    .k = k,
                                    .a = a,
                                    .a_rs = layout & 1 ? 1 : k + pad,
                                    .a_ks = layout & 1 ? m + pad : 1,
                                    .b = b,
                                    .b_ks = layout & 2 ? 1 : n + pad,
                                    .b_cs = layout & 2 ? k + pad : 1,
                                    .c = c,
                                    .ldc = n + pad,
                                    .narrow = layout & 4};
        memset(c, 0xff, (size_t)m * (size_t)(n + pad) * 4);
        isa->gemm_bf16(&g, amx, threads, scratch, GEMM_SCRATCH_FLOATS);
        double error = 0, norm = 0;
        for (int64_t i = 0; i < m; i++)
            for (int64_t j = 0; j < n + pad; j++) {
                const float got = g.narrow ? bf16_get(((uint16_t *)(void *)c)[i * g.ldc + j]) : c[i * g.ldc + j];
                if (j >= n) {
                    assert_true(isnan(got)); /* beside C nothing is written */
                    continue;
                }
                double sum = 0;
                for (int64_t p = 0; p < k; p++)
                    sum += (double)bf16_get(a[i * g.a_rs + p * g.a_ks]) * (double)bf16_get(b[p * g.b_ks + j * g.b_cs]);
                error += ((double)got - sum) * ((double)got - sum);
                norm += sum * sum;
            }
        if (!(sqrt(error / norm) <= (g.narrow ? OP_LIMIT : 1e-6)))
            fail_msg("%s%s layout %d, %lldx%lldx%lld, %d threads: %.3g", isa->name, amx ? " by tiles" : "", layout,
                     (long long)m, (long long)n, (long long)k, threads, sqrt(error / norm));
    }
    free(a);
    free(b);
    free(c);
}

static void products_agree_with_double(void **state)
{
    (void)state;
    static const int64_t sizes[][3] = {{1, 1, 1},      {5, 17, 3},   {6, 16, 8},      {12, 32, 32},  {33, 70, 65},
                                       {97, 131, 769}, {20, 601, 9}, {200, 33, 1030}, {801, 12, 40}, {64, 64, 512}};
    const struct cpu_isa *isas[4] = {&cpu_isa_baseline}, *best = cpu_isa_best();
    int count = 1;
    if (best != &cpu_isa_baseline)
        isas[count++] = best;
    if (best == &cpu_isa_avx512 || best == &cpu_isa_avx512_bf16)
        isas[count++] = &cpu_isa_avx2;
    if (best == &cpu_isa_avx512_bf16)
        isas[count++] = &cpu_isa_avx512;
    float *scratch = malloc(3 * GEMM_SCRATCH_FLOATS * sizeof *scratch);
    assert_non_null(scratch);
    memset(scratch, 0xff, 3 * GEMM_SCRATCH_FLOATS * sizeof *scratch); /* what is not written is not read */
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int i = 0; i < count; i++)
            for (int threads = 1; threads <= 3; threads += 2)
                for (int amx = 0; amx <= (isas[i] == &cpu_isa_avx512_bf16 && cpu_amx_ready()); amx++)
                    product_check(isas[i], amx, sizes[s][0], sizes[s][1], sizes[s][2], threads, scratch);
    free(scratch);
    print_message("instruction sets: %d, the best %s%s\n", count, best->name, cpu_amx_ready() ? ", and tiles" : "");
}

static const struct made_sizes shapes[] = {
    {.batch = 2, .context = 33, .heads = 3, .head_dim = 16, .d_in = 48, .d_out = 80, .vocab = 97},
    {.batch = 1, .context = 1, .heads = 2, .head_dim = 64, .d_in = 128, .d_out = 64, .vocab = 1003},
    {.batch = 1, .context = 257, .heads = 2, .head_dim = 80, .d_in = 160, .d_out = 131, .vocab = 1003},
    {.batch = 3, .context = 64, .heads = 2, .head_dim = 64, .d_in = 67, .d_out = 33, .vocab = 10},
    {.batch = 1, .context = 30, .heads = 1, .head_dim = 130, .d_in = 2, .d_out = 2, .vocab = 3},
    {.batch = 1, .context = 1100, .heads = 1, .head_dim = 20, .d_in = 9, .d_out = 30, .vocab = 50},
};

static bool takes_slices(enum op op)
{
    return op != OP_CAST && op != OP_CROSS_ENTROPY && op != OP_ADAMW;
}

static void every_op_agrees_with_the_reference(void **state)
{
    (void)state;
    struct error error = {0};
    struct device *device = cpu_device_class.open(0, &error), *reference = reference_device_class.open(0, &error);
    assert_true(device && reference);
    for (int op = 0; op < OP_COUNT; op++) {
        if (op_info((enum op)op)->kernel_class == CLASS_COLLECTIVE)
            continue; /* of several ranks: test_ranks */
        double worst = 0;
        for (size_t shape = 0; shape < sizeof shapes / sizeof *shapes; shape++)
            for (int sliced = 0; sliced < (takes_slices((enum op)op) && (shape == 0 || shape == 3) ? 2 : 1); sliced++) {
                static struct made made;
                made_op(&made, (enum op)op, &shapes[shape], sliced);
                made.plan.precision = PRECISION_BF16;
                agree_make_bf16(&made, (enum op)op);
                struct agree_results expected, got;
                agree_run(&reference_device_class, reference, &made, false, 1, &expected);
                agree_run(&cpu_device_class, device, &made, false, 1, &got);
                const double off = agree_worst(&made, &got, &expected);
                if (!(off <= OP_LIMIT))
                    fail_msg("%s, shape %zu%s: relative L2 error %.3g", op_info((enum op)op)->name, shape,
                             sliced ? " sliced" : "", off);
                worst = off > worst ? off : worst;
                agree_free(&expected);
                agree_free(&got);
            }
        print_message("%-24s %.2e\n", op_info((enum op)op)->name, worst);
    }
    cpu_device_class.close(device);
    reference_device_class.close(reference);
}

/* Loss and gradients of the first step, and the parameters after three steps; malloc'ed. `gradients` of them lie first. */
static float *train(const struct device_class *class, const struct plan *plan, bool no_tiles, size_t *gradients,
                    size_t *count, double *loss)
{
    struct error error = {0};
    struct device *device = class->open(0, &error);
    const struct prepare_options options = {.threads = 2, .emulate = true, .no_tiles = no_tiles};
    assert_non_null(device);
    struct program *program = whole_ready(class, device, plan, &options);
    size_t total = 0;
    float first = 0;
    for (int32_t i = 0; i < plan->tensor_count; i++)
        total += (size_t)tensor_elements(&plan->tensors[i]);
    float *result = malloc(total * sizeof *result);
    assert_non_null(result);
    size_t at = 0;
    for (int step = 0; step < 3; step++) {
        assert_true(class->run(program, PHASES_TRAIN_STEP, (uint64_t)step, NULL, NULL, &error));
        if (step == 0)
            assert_true(class->read(program, plan->loss, &first, &error));
        for (int32_t i = 0; i < plan->tensor_count; i++) {
            const struct tensor *t = &plan->tensors[i];
            const bool wanted = t->parameter != TENSOR_NONE && t->dtype == DTYPE_F32 &&
                                t->kind == (step == 0 ? TENSOR_GRADIENT : TENSOR_PARAMETER) && step != 1;
            if (!wanted)
                continue;
            assert_true(class->read(program, i, result + at, &error));
            at += (size_t)tensor_elements(t);
        }
        if (step == 0)
            *gradients = at;
    }
    class->release(program);
    class->close(device);
    *count = at;
    *loss = (double)first;
    return result;
}

static void models_agree(bool no_tiles)
{
    static const struct whole_shape models[] = {
        {{.name = "d16", .d_model = 48, .d_ff = 72, .num_layers = 2, .num_heads = 3, .vocab_size = 101}, 2, 33},
        {{.name = "two tokens", .d_model = 64, .d_ff = 96, .num_layers = 1, .num_heads = 2, .vocab_size = 1003}, 1, 2},
        {{.name = "d80", .d_model = 80, .d_ff = 104, .num_layers = 1, .num_heads = 1, .vocab_size = 67}, 1, 257},
    };
    for (size_t s = 0; s < sizeof models / sizeof *models; s++)
        for (int fused = 0; fused < 2; fused++) {
            struct plan *plan = whole_plan(&models[s], PRECISION_BF16, fused ? FUSE_ALL : 0, cpu_device_class.overlap);
            size_t gradients, count, again;
            double loss, expected_loss;
            float *expected = train(&reference_device_class, plan, false, &gradients, &count, &expected_loss);
            float *got = train(&cpu_device_class, plan, no_tiles, &gradients, &again, &loss);
            assert_int_equal(count, again);
            assert_true(gradients > 0 && count > gradients);
            const double off = agree_floats(got, expected, gradients),
                         after = agree_floats(got + gradients, expected + gradients, count - gradients);
            print_message("model %zu, %s%s: gradients off by %.2e, parameters after three steps %.2e, loss %.2e\n", s,
                          fused ? "fused" : "eager", no_tiles ? ", without tiles" : "", off, after,
                          fabs(loss / expected_loss - 1));
            assert_true(off <= MODEL_LIMIT && after <= MODEL_LIMIT && fabs(loss / expected_loss - 1) <= MODEL_LIMIT);
            float *twice = train(&cpu_device_class, plan, no_tiles, &gradients, &again, &loss);
            assert_memory_equal(got, twice, count * sizeof *got);
            free(expected);
            free(got);
            free(twice);
            plan_free(plan);
        }
}

static void models_agree_with_double(void **state)
{
    (void)state;
    models_agree(false);
    if (cpu_amx_ready())
        models_agree(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rounding_is_to_nearest_even),
        cmocka_unit_test(products_agree_with_double),
        cmocka_unit_test(every_op_agrees_with_the_reference),
        cmocka_unit_test(models_agree_with_double),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
