/* RoPE, scores, causal softmax and values as one ATTENTION node, where q, k and v are slices of one (N, 3C) tensor. Neither
 * the scores nor the turned q and k are stored; backward makes them again from lse. */
#include "model/builder.h"

/* What `tensor` is RoPE of, with the index of the RoPE node; the tensor itself and -1 without RoPE. */
static int32_t before_rope(const struct builder *builder, int32_t tensor, int32_t *rope)
{
    *rope = node_producer(builder, tensor);
    if (*rope >= 0 && builder->nodes.items[*rope].op == OP_ROPE && node_readers(builder, tensor) == 1)
        return builder->nodes.items[*rope].input[0];
    *rope = -1;
    return tensor;
}

static bool fuse_one(struct builder *builder, size_t values_index)
{
    const struct node values = builder->nodes.items[values_index];
    const int32_t softmax = node_producer(builder, values.input[0]);
    if (softmax < 0 || builder->nodes.items[softmax].op != OP_CAUSAL_SOFTMAX)
        return false;
    const int32_t scores = node_producer(builder, builder->nodes.items[softmax].input[0]);
    if (scores < 0 || builder->nodes.items[scores].op != OP_ATTN_SCORES)
        return false;
    int32_t q_rope, k_rope;
    const int32_t operands[3] = {before_rope(builder, builder->nodes.items[scores].input[0], &q_rope),
                                 before_rope(builder, builder->nodes.items[scores].input[1], &k_rope), values.input[1]};
    const int32_t qkv = slices_of_one(builder, operands, 3);
    if (qkv == TENSOR_NONE || (q_rope < 0) != (k_rope < 0))
        return false;
    struct node fused =
        node_make(OP_ATTENTION, scope_child(builder, builder->scopes.items[values.scope].parent, "attention", -1));
    fused.dims = values.dims;
    fused.scale = values.scale;
    fused.input[0] = qkv;
    fused.input[1] = q_rope >= 0 ? builder->nodes.items[q_rope].input[1] : TENSOR_NONE;
    fused.output[0] = values.output[0];
    fused.output[1] =
        activation_add(builder, fused.scope, "lse", SHAPE(fused.dims.batch, fused.dims.heads, fused.dims.context));
    builder->tensors.items[fused.output[0]].scope = fused.scope;
    builder->nodes.items[softmax].op = builder->nodes.items[scores].op = OP_COUNT;
    if (q_rope >= 0)
        builder->nodes.items[q_rope].op = builder->nodes.items[k_rope].op = OP_COUNT;
    builder->nodes.items[values_index] = fused;
    return true;
}

void fuse_attention(struct builder *builder)
{
    for (size_t i = 0; i < builder->nodes.count; i++)
        if (builder->nodes.items[i].op == OP_ATTN_VALUES && fuse_one(builder, i))
            fusion_fired(builder, FUSE_ATTENTION);
    nodes_compact(builder);
}
