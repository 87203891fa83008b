/* bf16 without most of the casts: what only GEMMs and attention read is written as bf16 by its own kernel; what a kernel can
 * read as bf16 is not widened first; and weights have copies in bf16 that outlive the step, renewed by AdamW. */
#include "model/builder.h"

/* Can the op write its output `index` as bf16, and read its input `index` as bf16? (The rules are in kernels/plan.h.) */
static bool writes_bf16(enum op op, int index)
{
    switch (op) {
    case OP_RMSNORM:
    case OP_ROPE:
    case OP_CAUSAL_SOFTMAX:
    case OP_SWIGLU:
        return index == 0;
    case OP_ADD_RMSNORM:
        return index == 1;
    default:
        return false;
    }
}

static bool reads_bf16(enum op op, int index)
{
    return index == 0 && (op == OP_CAUSAL_SOFTMAX || op == OP_CROSS_ENTROPY || op == OP_CROSS_ENTROPY_FUSED);
}

static void replace_readers(struct builder *builder, int32_t before, int32_t after)
{
    for (size_t i = 0; i < builder->nodes.count; i++)
        for (int k = 0; k < NODE_MAX_INPUTS; k++)
            if (builder->nodes.items[i].op != OP_COUNT && builder->nodes.items[i].input[k] == before)
                builder->nodes.items[i].input[k] = after;
}

/* The bf16 copy of a weight, single or fused; TENSOR_NONE when it is none. */
static int32_t weight_copy(struct builder *builder, int32_t tensor)
{
    const struct parameter *parameter = parameter_of(builder, tensor);
    const struct weight_fusion *group = group_of(builder, tensor);
    return parameter ? parameter->copy : group ? group->copy : TENSOR_NONE;
}

/* Do all nodes that read `tensor` cast it to bf16? */
static bool only_cast(const struct builder *builder, int32_t tensor)
{
    int readers = 0;
    for (size_t i = 0; i < builder->nodes.count; i++) {
        const struct node *node = &builder->nodes.items[i];
        for (int k = 0; k < NODE_MAX_INPUTS && node->op != OP_COUNT; k++) {
            if (node->input[k] != tensor)
                continue;
            if (node->op != OP_CAST || builder->tensors.items[node->output[0]].dtype != DTYPE_BF16)
                return false;
            readers++;
        }
    }
    return readers > 0;
}

static void drop_narrowing(struct builder *builder, struct node *cast)
{
    const int32_t source = cast->input[0], copy = weight_copy(builder, source);
    if (copy != TENSOR_NONE) {
        replace_readers(builder, cast->output[0], copy);
        cast->op = OP_COUNT;
        fusion_fired(builder, FUSE_CAST);
        return;
    }
    const int32_t producer = node_producer(builder, source);
    if (producer < 0)
        return;
    const struct node *made = &builder->nodes.items[producer];
    int index = 0;
    while (made->output[index] != source)
        index++;
    if (builder->tensors.items[source].dtype != DTYPE_BF16) {
        if (!writes_bf16(made->op, index) || !only_cast(builder, source))
            return;
        tensor_set_dtype(&builder->tensors.items[source], DTYPE_BF16);
    }
    replace_readers(builder, cast->output[0], source);
    cast->op = OP_COUNT;
    fusion_fired(builder, FUSE_CAST);
}

/* A cast to f32 whose readers take bf16 as well. The loss's gradient, in place, goes along. */
static void drop_widening(struct builder *builder, struct node *cast)
{
    const int32_t wide = cast->output[0], narrow = cast->input[0];
    for (size_t i = 0; i < builder->nodes.count; i++)
        for (int k = 0; k < NODE_MAX_INPUTS; k++)
            if (builder->nodes.items[i].op != OP_COUNT && builder->nodes.items[i].input[k] == wide &&
                !reads_bf16(builder->nodes.items[i].op, k))
                return;
    for (size_t i = 0; i < builder->tensors.count; i++) {
        struct tensor *tensor = &builder->tensors.items[i];
        if (tensor->view_of != wide)
            continue;
        tensor->view_of = narrow;
        tensor_set_dtype(tensor, DTYPE_BF16);
    }
    replace_readers(builder, wide, narrow);
    cast->op = OP_COUNT;
    fusion_fired(builder, FUSE_CAST);
}

void fuse_cast(struct builder *builder)
{
    for (size_t i = 0; i < builder->nodes.count; i++) {
        struct node *cast = &builder->nodes.items[i];
        if (cast->op != OP_CAST)
            continue;
        const enum dtype from = builder->tensors.items[cast->input[0]].dtype;
        const enum dtype to = builder->tensors.items[cast->output[0]].dtype;
        if (to == DTYPE_BF16)
            drop_narrowing(builder, cast);
        else if (from == DTYPE_BF16)
            drop_widening(builder, cast);
    }
    nodes_compact(builder);
}
