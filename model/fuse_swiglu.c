/* silu(gate) ⊙ up as one SWIGLU node over the (N, 2F) output of the fused gate and up projections. */
#include "model/builder.h"

static bool fuse_one(struct builder *builder, size_t mul_index)
{
    const struct node mul = builder->nodes.items[mul_index];
    const int32_t silu = node_producer(builder, mul.input[0]);
    if (silu < 0 || builder->nodes.items[silu].op != OP_SILU || node_readers(builder, mul.input[0]) != 1)
        return false;
    const int32_t operands[2] = {builder->nodes.items[silu].input[0], mul.input[1]};
    const int32_t whole = slices_of_one(builder, operands, 2);
    if (whole == TENSOR_NONE)
        return false;
    struct node fused =
        node_make(OP_SWIGLU, scope_child(builder, builder->scopes.items[mul.scope].parent, "swiglu", -1));
    fused.dims.rows = builder->tensors.items[mul.output[0]].shape[0];
    fused.dims.d_out = builder->tensors.items[mul.output[0]].shape[1];
    fused.input[0] = whole;
    fused.output[0] = mul.output[0];
    builder->tensors.items[mul.output[0]].scope = fused.scope;
    builder->nodes.items[silu].op = OP_COUNT;
    builder->nodes.items[mul_index] = fused;
    return true;
}

void fuse_swiglu(struct builder *builder)
{
    for (size_t i = 0; i < builder->nodes.count; i++)
        if (builder->nodes.items[i].op == OP_MUL && fuse_one(builder, i))
            fusion_fired(builder, FUSE_SWIGLU);
    nodes_compact(builder);
}
