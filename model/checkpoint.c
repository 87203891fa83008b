/* Checkpointing by block: forward keeps only what enters a block, backward makes the rest again just before it needs it. */
#include "model/builder.h"
#include <stdlib.h>

static void again_set(struct builder *builder, int32_t tensor, int32_t copy)
{
    while (builder->again.count <= (size_t)tensor)
        vec_push(&builder->again, TENSOR_NONE);
    builder->again.items[tensor] = copy;
}

static int32_t again_get(const struct builder *builder, int32_t tensor)
{
    if (tensor == TENSOR_NONE || (size_t)tensor >= builder->again.count)
        return TENSOR_NONE;
    return builder->again.items[tensor];
}

/* A fused residual and norm at the head of a block made the block's input: again, only the norm is needed. */
static void recompute_norm_only(struct builder *builder, struct node *node)
{
    const int32_t z = node->output[0], y = node->output[1], rstd = node->output[2], w = node->input[2];
    const struct node_dims dims = node->dims;
    const float epsilon = node->epsilon;
    *node = node_make(OP_RMSNORM, node->scope);
    node->dims = dims;
    node->epsilon = epsilon;
    node->input[0] = z;
    node->input[1] = w;
    node->output[0] = y;
    node->output[1] = rstd;
    (void)builder;
}

void checkpoint_recompute(struct builder *builder, int32_t layer, size_t forward_count)
{
    bool first = true;
    for (size_t i = 0; i < forward_count; i++) {
        struct node node = builder->nodes.items[i];
        if (node.op == OP_COUNT || builder->scopes.items[node.scope].layer != layer)
            continue;
        if (first && node.op == OP_ADD_RMSNORM)
            recompute_norm_only(builder, &node);
        first = false;
        node.phase = PHASE_BWD;
        node.recompute = true;
        for (int k = 0; k < NODE_MAX_INPUTS; k++)
            if (again_get(builder, node.input[k]) != TENSOR_NONE)
                node.input[k] = again_get(builder, node.input[k]);
        for (int k = 0; k < NODE_MAX_OUTPUTS; k++) {
            if (node.output[k] == TENSOR_NONE)
                continue;
            const int32_t fresh = tensor_like(builder, "again", node.output[k]);
            again_set(builder, node.output[k], fresh);
            node.output[k] = fresh;
        }
        node_push(builder, &node);
    }
}

void checkpoint_drop_unread(struct builder *builder)
{
    bool *read = calloc(builder->tensors.count + 1, sizeof *read);
    if (!read)
        return; /* the nodes stay: slower, not wrong */
    for (size_t i = builder->nodes.count; i-- > 0;) {
        struct node *node = &builder->nodes.items[i];
        bool needed = !node->recompute;
        for (int k = 0; k < NODE_MAX_OUTPUTS; k++)
            needed = needed || (node->output[k] != TENSOR_NONE && read[node->output[k]]);
        if (!needed) {
            node->op = OP_COUNT;
            continue;
        }
        for (int k = 0; k < NODE_MAX_INPUTS; k++)
            if (node->input[k] != TENSOR_NONE)
                read[node->input[k]] = true;
    }
    free(read);
    nodes_compact(builder);
}
