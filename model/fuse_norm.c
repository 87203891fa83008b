/* A residual addition and the norm that follows it as one ADD_RMSNORM node: the sum is written once and not read again. In
 * backward the gradient of the sum's other readers joins the norm's inside its kernel (autodiff.c, dres). */
#include "model/builder.h"

void fuse_add_rmsnorm(struct builder *builder)
{
    for (size_t i = 0; i < builder->nodes.count; i++) {
        const struct node norm = builder->nodes.items[i];
        if (norm.op != OP_RMSNORM)
            continue;
        const int32_t add_index = node_producer(builder, norm.input[0]);
        if (add_index < 0 || builder->nodes.items[add_index].op != OP_ADD)
            continue;
        const struct node add = builder->nodes.items[add_index];
        struct node fused = norm;
        fused.op = OP_ADD_RMSNORM;
        fused.input[0] = add.input[0];
        fused.input[1] = add.input[1];
        fused.input[2] = norm.input[1];
        fused.output[0] = add.output[0];
        fused.output[1] = norm.output[0];
        fused.output[2] = norm.output[1];
        builder->tensors.items[add.output[0]].scope = norm.scope;
        builder->nodes.items[add_index] = fused; /* where the sum was: its other readers come later */
        builder->nodes.items[i].op = OP_COUNT;
        fusion_fired(builder, FUSE_ADD_RMSNORM);
    }
    nodes_compact(builder);
}
