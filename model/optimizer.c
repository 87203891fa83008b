/* The course's AdamW, a node a parameter in the order of the state dict, or one for all of them. */
#include "model/builder.h"

static const struct adamw course_values = {
    .learning_rate = 1e-3f, .beta1 = 0.9f, .beta2 = 0.999f, .epsilon = 1e-8f, .weight_decay = 0.01f};

struct node adamw_node(const struct builder *builder, enum op op, int32_t scope, int32_t p, int32_t g, int32_t m,
                       int32_t v, int32_t copy)
{
    struct node node = node_elementwise(builder, op, scope, p);
    node.phase = PHASE_OPT;
    node.adamw = builder->request->adamw.learning_rate == 0 ? course_values : builder->request->adamw;
    node.input[0] = node.output[0] = p;
    node.input[1] = g;
    node.input[2] = node.output[1] = m;
    node.input[3] = node.output[2] = v;
    node.output[3] = copy;
    return node;
}

int32_t storage_of(const struct builder *builder, int32_t tensor)
{
    while (tensor != TENSOR_NONE && builder->tensors.items[tensor].view_of != TENSOR_NONE)
        tensor = builder->tensors.items[tensor].view_of;
    return tensor;
}

void optimizer_build(struct builder *builder)
{
    if (builder->request->ranks.parallel == PARALLEL_ZERO1) {
        zero1_optimizer(builder);
        return;
    }
    if (wants_fusion(builder, FUSE_ADAMW) && builder->parameters.count) {
        int32_t copy = TENSOR_NONE;
        for (size_t i = 0; i < builder->parameters.count && copy == TENSOR_NONE; i++)
            copy = storage_of(builder, builder->parameters.items[i].copy);
        const struct parameter *any = &builder->parameters.items[0];
        const struct node node = adamw_node(builder, OP_ADAMW_ALL, scope_child(builder, 0, "optimizer", -1),
                                            storage_of(builder, any->tensor), storage_of(builder, any->gradient),
                                            storage_of(builder, any->moment1), storage_of(builder, any->moment2), copy);
        node_push(builder, &node);
        fusion_fired(builder, FUSE_ADAMW);
        return;
    }
    for (size_t i = 0; i < builder->parameters.count; i++) {
        const struct parameter *p = &builder->parameters.items[i];
        const struct node node = adamw_node(builder, OP_ADAMW, builder->tensors.items[p->tensor].scope, p->tensor,
                                            p->gradient, p->moment1, p->moment2, p->copy);
        node_push(builder, &node);
    }
}
