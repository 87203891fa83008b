#include "tests/kernels/agree.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

void agree_free(struct agree_results *results)
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

void agree_make_bf16(struct made *made, enum op op)
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

bool agree_try_with(const struct device_class *class, struct device *device, const struct made *made,
                    const struct prepare_options *options, int steps, struct agree_results *results)
{
    struct error error = {0};
    memset(results, 0, sizeof *results);
    struct program *program = class->prepare(device, &made->plan, options, NULL, &error);
    if (!program && error.kind == ERROR_UNSUPPORTED)
        return false;
    if (!program)
        fail_msg("%s", error.text);
    write_values(class, program, made);
    for (int step = 0; step < steps; step++)
        if (!class->run(program, PHASES_TRAIN_STEP, (uint64_t)step, NULL, NULL, &error))
            fail_msg("%s", error.text);
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

bool agree_try(const struct device_class *class, struct device *device, const struct made *made, bool compile,
               int steps, struct agree_results *results)
{
    const struct prepare_options options = {.compile = compile, .emulate = true};
    return agree_try_with(class, device, made, &options, steps, results);
}

void agree_run(const struct device_class *class, struct device *device, const struct made *made, bool compile,
               int steps, struct agree_results *results)
{
    if (!agree_try(class, device, made, compile, steps, results))
        fail_msg("%s does not run it", class->name);
}

bool agree_is_triangular(enum op op)
{
    return op == OP_ATTN_SCORES || op == OP_ATTN_VALUES_BACKWARD_P;
}

double agree_floats(const float *got, const float *expected, int64_t count)
{
    double error = 0, norm = 0;
    for (int64_t i = 0; i < count; i++) {
        const double difference = (double)got[i] - (double)expected[i];
        error += difference * difference;
        norm += (double)expected[i] * (double)expected[i];
    }
    return norm > 0 ? sqrt(error / norm) : sqrt(error);
}

double agree_relative_l2(const struct made *made, int32_t index, const void *got, const void *expected)
{
    const struct tensor *tensor = &made->tensors[index];
    const struct node *last = &made->nodes[made_last(made)];
    int64_t count = (int64_t)(tensor->bytes / dtype_size(tensor->dtype)), context = made->plan.context;
    double error = 0, norm = 0;
    for (int64_t i = 0; i < count; i++) {
        if (agree_is_triangular(last->op) && i % context > i / context % context)
            continue;
        double want = value_at(tensor, expected, i), difference = value_at(tensor, got, i) - want;
        error += difference * difference;
        norm += want * want;
    }
    return norm > 0 ? sqrt(error / norm) : sqrt(error);
}

double agree_worst(const struct made *made, const struct agree_results *got, const struct agree_results *expected)
{
    double worst = 0;
    const struct node *last = &made->nodes[made_last(made)];
    for (int k = 0; k < NODE_MAX_OUTPUTS; k++) {
        const int32_t i = last->output[k];
        if (i == TENSOR_NONE || strcmp(made->tensors[i].name, "delta") == 0) /* a workspace nobody else reads */
            continue;
        const double error = agree_relative_l2(made, i, got->bytes[i], expected->bytes[i]);
        worst = error > worst || isnan(error) ? error : worst;
    }
    return worst;
}

/* Elementwise ops take their operands whole. */
static bool takes_slices(enum op op)
{
    return op != OP_ADD && op != OP_MUL && op != OP_SILU && op != OP_SILU_BACKWARD;
}

static bool is_wanted(const struct agree_device *with, int op, enum precision precision)
{
    return op_info((enum op)op)->kernel_class != CLASS_COLLECTIVE && /* between ranks: test_ranks */
           (!with->wanted || with->wanted(with->device, (enum op)op, precision));
}

static void make(struct made *made, const struct agree_device *with, int op, int shape, bool sliced,
                 enum precision precision)
{
    made_op(made, (enum op)op, &with->shapes[shape], sliced);
    made->plan.precision = precision;
    if (precision == PRECISION_BF16)
        agree_make_bf16(made, (enum op)op);
}

void agree_ops(const struct agree_device *with, enum precision precision, double tolerance)
{
    struct error error = {0};
    struct device *reference = reference_device_class.open(0, &error);
    int failures = 0;
    assert_non_null(reference);
    for (int op = 0; op < OP_COUNT; op++) {
        double worst_of_op = 0;
        if (!is_wanted(with, op, precision))
            continue;
        for (int shape = 0; shape < with->shape_count; shape++)
            for (int variant = 0; variant < 2; variant++) { /* packed and compiled; sliced and eager */
                if (with->once && variant != shape % 2)
                    continue;
                static struct made made;
                struct agree_results expected, got;
                make(&made, with, op, shape, variant == 1 && takes_slices((enum op)op), precision);
                agree_run(&reference_device_class, reference, &made, false, 1, &expected);
                agree_run(with->class, with->device, &made, variant == 0, 1, &got);
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
    reference_device_class.close(reference);
    assert_int_equal(failures, 0);
}

void agree_repeats(const struct agree_device *with, int shape, enum precision precision)
{
    for (int op = 0; op < OP_COUNT; op++) {
        if (!is_wanted(with, op, precision))
            continue;
        static struct made made;
        struct agree_results first, second;
        make(&made, with, op, shape, false, precision);
        agree_run(with->class, with->device, &made, false, 2, &first);
        agree_run(with->class, with->device, &made, false, 2, &second);
        for (int32_t i = 0; i < made.plan.tensor_count; i++)
            if (first.bytes[i] && !agree_is_triangular((enum op)op) &&
                memcmp(first.bytes[i], second.bytes[i], made.tensors[i].bytes) != 0)
                fail_msg("%s %s: %s differs between two runs", precision_name(precision), op_info((enum op)op)->name,
                         made.tensors[i].name);
        agree_free(&first);
        agree_free(&second);
    }
}

void agree_sees_a_wrong_constant(const struct agree_device *with)
{
    static const enum op ops[] = {OP_RMSNORM, OP_ATTENTION, OP_ADAMW, OP_ADAMW};
    struct error error = {0};
    struct device *reference = reference_device_class.open(0, &error);
    assert_non_null(reference);
    for (int fault = 0; fault < 4; fault++) {
        static struct made made;
        struct agree_results expected, got;
        made_op(&made, ops[fault], &with->shapes[0], false);
        agree_run(&reference_device_class, reference, &made, false, 2, &expected);
        struct node *node = &made.nodes[0];
        if (fault == 0)
            node->epsilon = 1e-4f;
        else if (fault == 1)
            node->scale *= 1.001f;
        else if (fault == 2)
            node->adamw.weight_decay = 0;
        agree_run(with->class, with->device, &made, false, fault == 3 ? 1 : 2, &got);
        assert_true(agree_worst(&made, &got, &expected) > 2e-6);
        agree_free(&expected);
        agree_free(&got);
    }
    reference_device_class.close(reference);
}
