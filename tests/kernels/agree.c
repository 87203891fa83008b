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

/* False, and nothing in `results`, where the device says that it cannot run it. */
bool agree_try(const struct device_class *class, struct device *device, const struct made *made, bool compile,
               int steps, struct agree_results *results)
{
    struct error error = {0};
    struct prepare_options options = {.compile = compile, .emulate = true};
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
