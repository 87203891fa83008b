/* Every op on the GPU against the double reference, in each precision, eager and with compile's constants, at shapes that
 * no tile or vector width divides; and bit by bit from run to run. Skipped (77) without a device. */
#include "kernels/cuda/attention.h"
#include "kernels/cuda/cuda_device.h"
#include "tests/kernels/made.h"
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

struct results {
    void *bytes[MADE_TENSORS]; /* of tensors that nodes write, in their own type */
};

static void results_free(struct results *results)
{
    for (int i = 0; i < MADE_TENSORS; i++)
        free(results->bytes[i]);
}

static bool is_written(const struct plan *plan, int32_t tensor)
{
    for (int32_t i = 0; i < plan->node_count; i++)
        for (int k = 0; k < NODE_MAX_OUTPUTS; k++)
            if (plan->nodes[i].output[k] == tensor)
                return true;
    return false;
}

static uint16_t bf16_from(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static double value_at(const struct tensor *tensor, const void *bytes, int64_t i)
{
    if (tensor->dtype == DTYPE_F32)
        return ((const float *)bytes)[i];
    uint32_t bits = (uint32_t)((const uint16_t *)bytes)[i] << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* What stays fp32 in a bf16 plan: statistics, tables, parameters and gradients of norms and embeddings, the residual
 * stream and what flows back along it, and all of the optimizer. */
static bool stays_f32(enum op op, const char *name)
{
    static const char *const always[] = {"rstd", "lse", "delta", "loss", "table", "dtable", "dw", "m", "v", "p", "g"};
    static const char *const in_norms[] = {"w", "x", "z", "dx", "dres"};
    bool norm = op == OP_RMSNORM || op == OP_RMSNORM_BACKWARD || op == OP_ADD_RMSNORM || op == OP_EMBEDDING ||
                op == OP_EMBEDDING_BACKWARD;
    bool products = op == OP_ATTN_VALUES || op == OP_ATTN_VALUES_BACKWARD_V || op == OP_ATTN_SCORES_BACKWARD_Q ||
                    op == OP_ATTN_SCORES_BACKWARD_K || op == OP_CAUSAL_SOFTMAX || op == OP_CAUSAL_SOFTMAX_BACKWARD;
    for (size_t i = 0; i < sizeof always / sizeof *always; i++)
        if (strcmp(name, always[i]) == 0 && !(products && (name[0] == 'p' || name[0] == 'v')))
            return true;
    for (size_t i = 0; norm && i < sizeof in_norms / sizeof *in_norms; i++)
        if (strcmp(name, in_norms[i]) == 0)
            return true;
    return false;
}

static void make_bf16(struct made *made, enum op op)
{
    for (int32_t i = 0; i < made->plan.tensor_count; i++) {
        struct tensor *tensor = &made->tensors[i];
        if (tensor->dtype != DTYPE_F32 || stays_f32(op, tensor->name))
            continue;
        tensor->dtype = DTYPE_BF16;
        tensor->bytes /= 2;
        if (tensor->view_of != TENSOR_NONE && tensor->view_offset) {
            tensor->view_offset /= 2;
            tensor->offset = made->tensors[tensor->view_of].offset + tensor->view_offset;
        }
    }
}

static void write_values(const struct device_class *class, struct program *program, const struct made *made)
{
    struct error error = {0};
    for (int32_t i = 0; i < made->plan.tensor_count; i++) {
        if (made->fill[i] == FILL_NONE)
            continue;
        struct made wide = *made; /* the values are drawn as fp32 */
        wide.tensors[i].bytes *= made->tensors[i].dtype == DTYPE_BF16 ? 2 : 1;
        void *values = made_values(&wide, i, 7);
        assert_non_null(values);
        if (made->tensors[i].dtype == DTYPE_BF16)
            for (uint64_t e = 0; e < made->tensors[i].bytes / 2; e++)
                ((uint16_t *)values)[e] = bf16_from(((float *)values)[e]);
        if (!class->write(program, i, values, &error))
            fail_msg("%s", error.text);
        free(values);
    }
}

/* False, and nothing in `results`, where the device says that it cannot run it. */
static bool try_on(const struct device_class *class, struct device *device, const struct made *made, bool compile,
                   int steps, struct results *results)
{
    struct error error = {0};
    struct prepare_options options = {.compile = compile};
    struct program *program = class->prepare(device, &made->plan, &options, NULL, &error);
    if (!program && error.kind == ERROR_UNSUPPORTED)
        return false;
    if (!program)
        fail_msg("%s", error.text);
    write_values(class, program, made);
    for (int step = 0; step < steps; step++)
        if (!class->run(program, PHASES_TRAIN_STEP, (uint64_t)step, NULL, NULL, &error))
            fail_msg("%s", error.text);
    memset(results, 0, sizeof *results);
    for (int32_t i = 0; i < made->plan.tensor_count; i++) {
        if (!is_written(&made->plan, i))
            continue;
        results->bytes[i] = malloc(made->tensors[i].bytes + 4);
        assert_non_null(results->bytes[i]);
        if (!class->read(program, i, results->bytes[i], &error))
            fail_msg("%s", error.text);
    }
    class->release(program);
    return true;
}

static void run_on(const struct device_class *class, struct device *device, const struct made *made, bool compile,
                   int steps, struct results *results)
{
    if (!try_on(class, device, made, compile, steps, results))
        fail_msg("%s does not run it", class->name);
}

/* Above the diagonal these are unspecified. */
static bool is_triangular(enum op op)
{
    return op == OP_ATTN_SCORES || op == OP_ATTN_VALUES_BACKWARD_P;
}

static double relative_l2(const struct made *made, int32_t index, const void *got, const void *expected)
{
    const struct tensor *tensor = &made->tensors[index];
    const struct node *last = &made->nodes[made_last(made)];
    int64_t count = (int64_t)(tensor->bytes / dtype_size(tensor->dtype)), context = made->plan.context;
    double error = 0, norm = 0;
    for (int64_t i = 0; i < count; i++) {
        if (is_triangular(last->op) && i % context > i / context % context)
            continue;
        double want = value_at(tensor, expected, i), difference = value_at(tensor, got, i) - want;
        error += difference * difference;
        norm += want * want;
    }
    return norm > 0 ? sqrt(error / norm) : sqrt(error);
}

static double worst_error(const struct made *made, const struct results *got, const struct results *expected)
{
    double worst = 0;
    const struct node *last = &made->nodes[made_last(made)];
    for (int k = 0; k < NODE_MAX_OUTPUTS; k++) {
        const int32_t i = last->output[k];
        if (i == TENSOR_NONE || strcmp(made->tensors[i].name, "delta") == 0) /* a workspace nobody else reads */
            continue;
        const double error = relative_l2(made, i, got->bytes[i], expected->bytes[i]);
        worst = error > worst || isnan(error) ? error : worst;
    }
    return worst;
}

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

static bool takes_slices(enum op op)
{
    return op != OP_ADD && op != OP_MUL && op != OP_SILU && op != OP_SILU_BACKWARD;
}

/* Between ranks there is nothing to run on one card. */
static bool runs_here(enum op op)
{
    return op_info(op)->kernel_class != CLASS_COLLECTIVE;
}

static void ops_agree(enum precision precision, double tolerance)
{
    struct error error = {0};
    struct device *device = device_open(), *reference = reference_device_class.open(0, &error);
    int failures = 0;
    for (int op = 0; op < OP_COUNT; op++) {
        if (!runs_here((enum op)op))
            continue;
        double worst_of_op = 0;
        for (int shape = 0; shape < SHAPES; shape++)
            for (int variant = 0; variant < 2; variant++) { /* packed and compiled; sliced and eager */
                static struct made made;
                made_op(&made, (enum op)op, &shapes[shape], variant == 1 && takes_slices((enum op)op));
                made.plan.precision = precision;
                if (precision == PRECISION_BF16)
                    make_bf16(&made, (enum op)op);
                struct results expected, got;
                run_on(&reference_device_class, reference, &made, false, 1, &expected);
                run_on(cuda, device, &made, variant == 0, 1, &got);
                const double worst = worst_error(&made, &got, &expected);
                if (!(worst <= tolerance)) {
                    print_error("%s %s, shape %d, %s: relative L2 error %.3g\n", precision_name(precision),
                                op_info((enum op)op)->name, shape, variant ? "sliced, eager" : "packed, compiled",
                                worst);
                    failures++;
                }
                worst_of_op = worst > worst_of_op || isnan(worst) ? worst : worst_of_op;
                results_free(&expected);
                results_free(&got);
            }
        print_message("%s %-24s %.2e\n", precision_name(precision), op_info((enum op)op)->name, worst_of_op);
    }
    cuda->close(device);
    reference_device_class.close(reference);
    assert_int_equal(failures, 0);
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
    struct device *device = device_open();
    for (int op = 0; op < OP_COUNT; op++)
        for (int precision = 0; runs_here((enum op)op) && precision < PRECISION_COUNT; precision++) {
            static struct made made;
            made_op(&made, (enum op)op, &shapes[2], false);
            made.plan.precision = (enum precision)precision;
            if (precision == PRECISION_BF16)
                make_bf16(&made, (enum op)op);
            struct results first, second;
            run_on(cuda, device, &made, false, 2, &first);
            run_on(cuda, device, &made, false, 2, &second);
            for (int32_t i = 0; i < made.plan.tensor_count; i++)
                if (first.bytes[i] && !is_triangular((enum op)op) &&
                    memcmp(first.bytes[i], second.bytes[i], made.tensors[i].bytes) != 0)
                    fail_msg("%s %s: %s differs between two runs", precision_name((enum precision)precision),
                             op_info((enum op)op)->name, made.tensors[i].name);
            results_free(&first);
            results_free(&second);
        }
    cuda->close(device);
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
            if (precision != PRECISION_BF16 && shape % 3 != 2) /* the others are among the ops above, too */
                continue;
            made_op(&made, OP_ATTENTION_BACKWARD, &heads[shape], false);
            made.plan.precision = (enum precision)precision;
            if (precision == PRECISION_BF16)
                make_bf16(&made, OP_ATTENTION_BACKWARD);
            struct results expected, first, second;
            run_on(&reference_device_class, reference, &made, false, 1, &expected);
            for (int c = 0; c < cuda_attention_candidate_count; c++) {
                device->attention_only = c + 1;
                if (!try_on(cuda, device, &made, true, 1, &first))
                    continue;
                run_on(cuda, device, &made, true, 1, &second);
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
                    double far = relative_l2(&made, i, first.bytes[i], expected.bytes[i]);
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
                results_free(&first);
                results_free(&second);
            }
            results_free(&expected);
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
        struct results expected, got;
        run_on(&reference_device_class, reference, &made, false, 2, &expected);
        struct node *node = &made.nodes[0];
        if (fault == 0)
            node->epsilon = 1e-4f;
        else if (fault == 1)
            node->scale *= 1.001f;
        else
            node->adamw.weight_decay = 0;
        run_on(cuda, device, &made, false, 2, &got);
        assert_true(worst_error(&made, &got, &expected) > 2e-6);
        results_free(&expected);
        results_free(&got);
    }
    cuda->close(device);
    reference_device_class.close(reference);
}

/* One argument: the only test to run. */
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
        cmocka_unit_test(fp32_ops_agree),           cmocka_unit_test(tf32_ops_agree),
        cmocka_unit_test(bf16_ops_agree),           cmocka_unit_test(runs_repeat_bitwise),
        cmocka_unit_test(a_wrong_constant_is_seen), cmocka_unit_test(each_way_to_run_attention_agrees),
    };
    cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
