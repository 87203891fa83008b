/* Cross entropy and its gradient in one pass over the logits, the gradient written where they were. */
#include "model/builder.h"

void fuse_cross_entropy(struct builder *builder)
{
    if (!wants_phase(builder, PHASE_BWD))
        return; /* nobody would read the gradient, and the logits would be lost */
    for (size_t i = 0; i < builder->nodes.count; i++) {
        struct node *node = &builder->nodes.items[i];
        if (node->op != OP_CROSS_ENTROPY || node_readers(builder, node->input[0]) != 1)
            continue;
        const struct tensor logits = builder->tensors.items[node->input[0]];
        node->op = OP_CROSS_ENTROPY_FUSED;
        node->output[1] = view_add(builder, "grad.logits", node->input[0], 0, logits.rank, logits.shape);
        builder->tensors.items[node->output[1]].scope = node->scope;
        fusion_fired(builder, FUSE_CROSS_ENTROPY);
    }
}
