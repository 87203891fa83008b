/* Every op of the CPU against the double reference, at shapes that no vector width divides. */
#include "base/file.h"
#include "base/random.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/cpu_device.h"
#include "tests/kernels/agree.h"
#include "tests/kernels/made.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define TOLERANCE 1e-6

static const char *cache_folder; /* of the programs that run_on prepares: one choice of product for all */

/* Runs the plan `steps` times on a device and collects what was written. */
static void run_on(const struct device_class *class, const struct made *made, int threads, int steps,
                   struct agree_results *results)
{
    struct error error = {0};
    struct device *device = class->open(0, &error);
    assert_non_null(device);
    const struct prepare_options options = {.cache_folder = cache_folder, .threads = threads};
    assert_true(agree_try_with(class, device, made, &options, steps, results));
    class->close(device);
}

static const struct made_sizes shapes[] = {
    {.batch = 2, .context = 33, .heads = 3, .head_dim = 16, .d_in = 48, .d_out = 80, .vocab = 97},
    {.batch = 1, .context = 1, .heads = 2, .head_dim = 64, .d_in = 128, .d_out = 64, .vocab = 1003},
    {.batch = 1, .context = 257, .heads = 2, .head_dim = 80, .d_in = 160, .d_out = 131, .vocab = 1003},
    {.batch = 3, .context = 64, .heads = 2, .head_dim = 64, .d_in = 67, .d_out = 33, .vocab = 10},
    {.batch = 2, .context = 100, .heads = 1, .head_dim = 128, .d_in = 400, .d_out = 100, .vocab = 500},
    {.batch = 1, .context = 300, .heads = 1, .head_dim = 6, .d_in = 2, .d_out = 2, .vocab = 3},
    {.batch = 1,
     .context = 1100,
     .heads = 1,
     .head_dim = 20,
     .d_in = 9,
     .d_out = 30,
     .vocab = 50}, /* several key blocks */
};
#define SHAPES ((int)(sizeof shapes / sizeof *shapes))

static void every_op_agrees_with_the_reference(void **state)
{
    (void)state;
    for (int op = 0; op < OP_COUNT; op++) {
        if (op_info((enum op)op)->kernel_class == CLASS_COLLECTIVE)
            continue; /* of several ranks: test_ranks */
        double worst_of_op = 0;
        for (int shape = 0; shape < SHAPES; shape++)
            for (int sliced = 0; sliced < (shape == 0 || shape == 3 ? 2 : 1); sliced++) {
                static struct made made;
                made_op(&made, (enum op)op, &shapes[shape], sliced);
                struct agree_results expected, got;
                run_on(&reference_device_class, &made, 0, 1, &expected);
                run_on(&cpu_device_class, &made, 0, 1, &got);
                const double error = agree_worst(&made, &got, &expected);
                if (!(error <= TOLERANCE))
                    fail_msg("%s, shape %d%s: relative L2 error %.3g", op_info((enum op)op)->name, shape,
                             sliced ? " sliced" : "", error);
                worst_of_op = error > worst_of_op ? error : worst_of_op;
                agree_free(&expected);
                agree_free(&got);
            }
        print_message("%-24s %.2e\n", op_info((enum op)op)->name, worst_of_op);
    }
}

/* Both blockings of the own GEMM at each instruction set that runs here, in all three layouts, against plain loops. */
static void own_gemm_agrees_with_plain_loops(void **state)
{
    (void)state;
    struct cpu_blas blas;
    struct error missing = {0};
    if (!cpu_blas_open(&blas, &missing))
        fail_msg("%s", missing.text);
    static const int64_t sizes[][3] = {{1, 1, 1},      {5, 17, 3},    {6, 16, 8},
                                       {97, 131, 769}, {20, 1601, 9}, {200, 33, 390}};
    const struct cpu_isa *isas[4] = {&cpu_isa_baseline};
    int isa_count = 1;
    if (cpu_isa_best() != &cpu_isa_baseline)
        isas[isa_count++] = cpu_isa_best();
    if (cpu_isa_best() == &cpu_isa_avx512 || cpu_isa_best() == &cpu_isa_avx512_bf16)
        isas[isa_count++] = &cpu_isa_avx2;
    if (cpu_isa_best() == &cpu_isa_avx512_bf16)
        isas[isa_count++] = &cpu_isa_avx512;
    float *scratch = malloc(3 * GEMM_SCRATCH_FLOATS * sizeof *scratch);
    assert_non_null(scratch);
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        const int64_t m = sizes[s][0], n = sizes[s][1], k = sizes[s][2];
        float *a = malloc((size_t)(m * k) * 4), *b = malloc((size_t)(k * n) * 4), *c = malloc((size_t)(m * n) * 4),
              *expected = calloc((size_t)(m * n), 4);
        assert_true(a && b && c && expected);
        for (int64_t i = 0; i < m * k; i++)
            a[i] = (float)random_normal_cut3(1, 1, (uint64_t)i);
        for (int64_t i = 0; i < k * n; i++)
            b[i] = (float)random_normal_cut3(1, 2, (uint64_t)i);
        for (int layout = 0; layout < 4; layout++) {
            const int64_t a_rs = layout & 1 ? 1 : k, a_ks = layout & 1 ? m : 1, b_ks = layout & 2 ? 1 : n,
                          b_cs = layout & 2 ? k : 1;
            for (int64_t i = 0; i < m; i++)
                for (int64_t j = 0; j < n; j++) {
                    double sum = 0;
                    for (int64_t p = 0; p < k; p++)
                        sum += (double)a[i * a_rs + p * a_ks] * (double)b[p * b_ks + j * b_cs];
                    expected[i * n + j] = (float)sum;
                }
            for (int i = 0; i < isa_count; i++)
                for (int choice = 0; choice < GEMM_CHOICES; choice++)
                    for (int threads = 1; threads <= 3; threads += 2) {
                        const struct gemm gemm = {m, n, k, a, a_rs, a_ks, b, b_ks, b_cs, c, n};
                        memset(c, 0xff, (size_t)(m * n) * 4);
                        cpu_gemm_run(&blas, isas[i], (enum gemm_choice)choice, &gemm, threads, scratch,
                                     GEMM_SCRATCH_FLOATS);
                        const double error = agree_floats(c, expected, m * n);
                        if (!(error <= TOLERANCE))
                            fail_msg("%s %s layout %d, %lldx%lldx%lld, %d threads: %.3g", isas[i]->name,
                                     cpu_gemm_choice_name((enum gemm_choice)choice), layout, (long long)m, (long long)n,
                                     (long long)k, threads, error);
                    }
        }
        free(a);
        free(b);
        free(c);
        free(expected);
    }
    free(scratch);
}

/* Two runs with the same number of threads agree bit by bit. */
static void runs_repeat_bitwise(void **state)
{
    (void)state;
    char folder[] = "/tmp/steptop-repeat-XXXXXX", command[64];
    assert_non_null(mkdtemp(folder));
    cache_folder = folder;
    for (int op = 0; op < OP_COUNT; op++)
        for (int threads = 2; op_info((enum op)op)->kernel_class != CLASS_COLLECTIVE && threads <= 3; threads++) {
            static struct made made;
            made_op(&made, (enum op)op, &shapes[0], false);
            struct agree_results first, second;
            run_on(&cpu_device_class, &made, threads, 2, &first);
            run_on(&cpu_device_class, &made, threads, 2, &second);
            for (int32_t i = 0; i < made.plan.tensor_count; i++)
                if (first.bytes[i] && memcmp(first.bytes[i], second.bytes[i], made.tensors[i].bytes) != 0)
                    fail_msg("%s, %d threads: %s differs between two runs", op_info((enum op)op)->name, threads,
                             made.tensors[i].name);
            agree_free(&first);
            agree_free(&second);
        }
    cache_folder = NULL;
    snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0);
}

static void a_wrong_constant_is_seen(void **state)
{
    (void)state;
    struct error error = {0};
    const struct agree_device with = {&cpu_device_class, cpu_device_class.open(0, &error), shapes, SHAPES, false, NULL};
    agree_sees_a_wrong_constant(&with);
    cpu_device_class.close(with.device);
}

static char *text_of(const char *path)
{
    char *text;
    size_t length;
    struct error error = {0};
    if (!file_read(path, 1 << 20, &text, &length, &error))
        fail_msg("%s", error.text);
    return text;
}

/* Compile mode times a shape once, keeps its choice, and a damaged or foreign file is timed anew. */
static void gemm_choices_are_kept(void **state)
{
    (void)state;
    char folder[] = "/tmp/steptop-gemm-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/cpu-gemm-2.txt", folder);
    static struct made made;
    made_op(&made, OP_LINEAR, &shapes[0], false);
    struct error error = {0};
    struct device *device = cpu_device_class.open(0, &error);
    const struct prepare_options options = {.compile = true, .threads = 2, .cache_folder = folder};
    char *first = NULL;
    for (int round = 0; round < 5; round++) {
        struct prepare_report report;
        struct program *program = cpu_device_class.prepare(device, &made.plan, &options, &report, &error);
        assert_non_null(program);
        assert_true(report.compile_ns > 0);
        bool noted = false;
        for (int i = 0; i < report.note_count; i++)
            noted |= strcmp(report.notes[i].key, "gemm nt 66x80x48") == 0;
        assert_true(noted);
        cpu_device_class.release(program);
        char *text = text_of(path);
        assert_non_null(strstr(text, "66x80x48"));
        if (round == 1)
            assert_string_equal(text, first); /* nothing was timed again */
        if (round == 2)
            assert_null(strstr(text, "garbage"));
        if (round == 3)
            assert_null(strstr(text, "another machine"));
        if (round == 4)
            assert_null(strstr(text, "66x80x48 3 ")); /* a choice that there is not */
        free(first);
        first = text;
        if (round == 3) {
            char kept[2048];
            snprintf(kept, sizeof kept, "%s", first);
            char *choice = strstr(kept, "66x80x48 ");
            assert_non_null(choice);
            choice[9] = '3';
            assert_true(file_write_atomic(path, kept, strlen(kept), &error));
        } else if (round > 0) {
            assert_true(file_write_atomic(path, round == 1 ? "garbage\n" : "another machine\n0 66x80x48 1 1 1 1\n",
                                          round == 1 ? 8 : 35, &error));
        }
    }
    free(first);
    cpu_device_class.close(device);
    unlink(path);
    rmdir(folder);
}

static void extreme_values_stay_finite(void **state)
{
    (void)state;
    const enum op ops[] = {OP_CAUSAL_SOFTMAX, OP_SILU, OP_SILU_BACKWARD, OP_SWIGLU, OP_CROSS_ENTROPY_FUSED};
    for (size_t o = 0; o < sizeof ops / sizeof *ops; o++) {
        static struct made made;
        made_op(&made, ops[o], &shapes[0], false);
        struct error error = {0};
        struct device *device = cpu_device_class.open(0, &error);
        struct program *program = cpu_device_class.prepare(device, &made.plan, NULL, NULL, &error);
        assert_non_null(program);
        for (int32_t i = 0; i < made.plan.tensor_count; i++) {
            if (made.fill[i] == FILL_NONE)
                continue;
            void *values = made_values(&made, i, 3);
            for (int64_t e = 0; made.fill[i] == FILL_NORMAL && e < (int64_t)(made.tensors[i].bytes / 4); e++)
                ((float *)values)[e] = e % 3 == 0 ? 300.0f : e % 3 == 1 ? -300.0f : 1e-30f;
            assert_true(cpu_device_class.write(program, i, values, &error));
            free(values);
        }
        assert_true(cpu_device_class.run(program, PHASES_TRAIN_STEP, 0, NULL, NULL, &error));
        for (int32_t i = 0; i < made.plan.tensor_count; i++) {
            float *values = malloc(made.tensors[i].bytes);
            assert_true(cpu_device_class.read(program, i, values, &error));
            for (int64_t e = 0; made.tensors[i].dtype == DTYPE_F32 && e < (int64_t)(made.tensors[i].bytes / 4); e++)
                if (!isfinite(values[e]))
                    fail_msg("%s: %s[%lld] is %g", op_info(ops[o])->name, made.tensors[i].name, (long long)e,
                             (double)values[e]);
            free(values);
        }
        cpu_device_class.release(program);
        cpu_device_class.close(device);
    }
}

static void refuses_tokens_outside_the_vocabulary(void **state)
{
    (void)state;
    static struct made made;
    made_op(&made, OP_EMBEDDING, &shapes[0], false);
    const struct device_class *classes[] = {&cpu_device_class, &reference_device_class};
    for (int c = 0; c < 2; c++) {
        struct error error = {0};
        struct device *device = classes[c]->open(0, &error);
        struct program *program = classes[c]->prepare(device, &made.plan, NULL, NULL, &error);
        assert_non_null(program);
        int32_t *tokens = made_values(&made, 0, 1);
        tokens[5] = 97;
        assert_false(classes[c]->write(program, 0, tokens, &error));
        assert_int_equal(error.kind, ERROR_INPUT);
        assert_non_null(strstr(error.text, "tokens[5] is 97"));
        tokens[5] = -1;
        assert_false(classes[c]->write(program, 0, tokens, &error));
        free(tokens);
        classes[c]->release(program);
        classes[c]->close(device);
    }
}

static void a_plan_too_large_is_out_of_memory(void **state)
{
    (void)state;
    static struct made made;
    made_op(&made, OP_EMBEDDING, &shapes[0], false);
    made.plan.memory.total = (uint64_t)1 << 50;
    struct error error = {0};
    struct device *device = cpu_device_class.open(0, &error);
    struct prepare_report report;
    assert_null(cpu_device_class.prepare(device, &made.plan, NULL, &report, &error));
    assert_int_equal(error.kind, ERROR_MEMORY);
    assert_non_null(strstr(error.text, "1073741824.0 MiB"));
    cpu_device_class.close(device);
}

static void other_precisions_are_refused_by_name(void **state)
{
    (void)state;
    static struct made made;
    made_op(&made, OP_LINEAR, &shapes[0], false);
    struct error error = {0};
    struct device *device = cpu_device_class.open(0, &error);
    for (int precision = PRECISION_TF32; precision < PRECISION_COUNT; precision++) {
        if (cpu_precision_works((enum precision)precision, (char[160]){0}, 160))
            continue;
        made.plan.precision = (enum precision)precision;
        assert_null(cpu_device_class.prepare(device, &made.plan, NULL, NULL, &error));
        assert_int_equal(error.kind, ERROR_UNSUPPORTED);
        assert_non_null(strstr(error.text, precision_name((enum precision)precision)));
        char why[160] = "";
        assert_false(cpu_device_class.supports(device, OP_LINEAR, (enum precision)precision, why, sizeof why));
        assert_true(strlen(why) > 0);
    }
    cpu_device_class.close(device);
    assert_non_null(strstr(cpu_bf16_refusal("fpu avx2 fma avx512_bf16x"), "no bf16 instructions"));
    assert_non_null(strstr(cpu_bf16_refusal(""), "no bf16 instructions"));
    assert_non_null(strstr(cpu_bf16_refusal("avx512f avx512_bf16 clzero"), "no kernels"));
    assert_null(cpu_bf16_refusal("avx512f avx512dq avx512bw avx512vl avx512_bf16 clzero"));
    assert_non_null(strstr(cpu_bf16_refusal("fp asimd bf16"), "no kernels"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_op_agrees_with_the_reference),
        cmocka_unit_test(own_gemm_agrees_with_plain_loops),
        cmocka_unit_test(runs_repeat_bitwise),
        cmocka_unit_test(a_wrong_constant_is_seen),
        cmocka_unit_test(gemm_choices_are_kept),
        cmocka_unit_test(extreme_values_stay_finite),
        cmocka_unit_test(refuses_tokens_outside_the_vocabulary),
        cmocka_unit_test(a_plan_too_large_is_out_of_memory),
        cmocka_unit_test(other_precisions_are_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
