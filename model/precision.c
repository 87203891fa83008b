/* bf16 as the reference framework's autocast does it: matmuls and attention take and give bf16, with the casts that it
 * dispatches as nodes of their own; residual stream, norms, softmax and loss stay f32. Works on the forward nodes before
 * autodiff, whose CAST rule then gives the backward casts. */
#include "model/builder.h"
#include <stdio.h>

enum wanted { KEEP, TO_BF16, TO_F32 };

/* What autocast does to the operands of an op; the output is bf16 or f32 likewise, or follows from the inputs (KEEP). */
static enum wanted operands_wanted(enum op op)
{
    switch (op) {
    case OP_LINEAR:
    case OP_ATTN_SCORES:
    case OP_ATTN_VALUES:
    case OP_ATTENTION:
        return TO_BF16;
    case OP_CAUSAL_SOFTMAX:
    case OP_CROSS_ENTROPY:
    case OP_CROSS_ENTROPY_FUSED:
        return TO_F32;
    default:
        return KEEP;
    }
}

/* Operands that have one dtype whatever the precision: tables, targets. */
static bool operand_fixed(enum op op, int input)
{
    return ((op == OP_ATTENTION || op == OP_CROSS_ENTROPY || op == OP_CROSS_ENTROPY_FUSED) && input == 1);
}

/* A CAST of `tensor` for `node`, named after the reader: each reader casts for itself, as autocast does for activations.
 * A weight has one reader. */
static int32_t cast_for(struct builder *builder, const struct node *reader, int32_t tensor, enum dtype dtype)
{
    struct node cast = node_elementwise(builder, OP_CAST, reader->scope, tensor);
    cast.phase = reader->phase;
    cast.input[0] = tensor;
    char prefix[160];
    snprintf(prefix, sizeof prefix, "%s.%s", builder->scopes.items[reader->scope].path,
             dtype == DTYPE_BF16 ? "bf16" : "f32");
    cast.output[0] = tensor_like(builder, prefix, tensor);
    tensor_set_dtype(&builder->tensors.items[cast.output[0]], dtype);
    node_push(builder, &cast);
    return cast.output[0];
}

static enum dtype result_dtype(const struct builder *builder, const struct node *node)
{
    const struct tensor *tensors = builder->tensors.items;
    switch (node->op) {
    case OP_ADD:
    case OP_MUL: /* promotion: f32 when either is */
        return tensors[node->input[0]].dtype == DTYPE_F32 || tensors[node->input[1]].dtype == DTYPE_F32 ? DTYPE_F32
                                                                                                        : DTYPE_BF16;
    case OP_SILU:
    case OP_SWIGLU:
        return tensors[node->input[0]].dtype;
    default: /* RoPE multiplies by an f32 table; norms and embedding are f32 */
        return DTYPE_F32;
    }
}

void autocast(struct builder *builder)
{
    const size_t count = builder->nodes.count;
    struct node *nodes = builder->nodes.items;
    builder->nodes.items = NULL;
    builder->nodes.count = builder->nodes.capacity = 0;
    for (size_t i = 0; i < count; i++) {
        struct node node = nodes[i];
        const enum wanted wanted = operands_wanted(node.op);
        const enum dtype dtype = wanted == TO_BF16 ? DTYPE_BF16 : DTYPE_F32;
        for (int k = 0; k < NODE_MAX_INPUTS && wanted != KEEP; k++)
            if (node.input[k] != TENSOR_NONE && !operand_fixed(node.op, k) &&
                builder->tensors.items[node.input[k]].dtype != dtype)
                node.input[k] = cast_for(builder, &node, node.input[k], dtype);
        struct tensor *output = &builder->tensors.items[node.output[0]];
        if (node.op == OP_CROSS_ENTROPY_FUSED) { /* in place: on the f32 copy of the logits */
            struct tensor *gradient = &builder->tensors.items[node.output[1]];
            gradient->view_of = node.input[0];
            tensor_set_dtype(gradient, DTYPE_F32);
        } else if (wanted == TO_BF16) {
            tensor_set_dtype(output, DTYPE_BF16);
        } else if (wanted == KEEP) {
            tensor_set_dtype(output, result_dtype(builder, &node));
        }
        node_push(builder, &node);
    }
    free(nodes);
}
