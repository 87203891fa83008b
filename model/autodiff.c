/* Reverse-mode differentiation of a plan: one rule an op, applied from the last forward node to the first, each emitting
 * the nodes that turn the gradient of the op's output into those of its inputs. A gradient has the dtype of what it is the
 * gradient of. */
#include "model/builder.h"
#include <stdio.h>

/* `forward` is the node to differentiate; `held` is the same with the tensors that backward reads the values from, which
 * differ where the block was recomputed. */
typedef void gradient_rule(struct builder *builder, const struct node *forward, const struct node *held);

static int32_t gradient_of(const struct builder *builder, int32_t tensor)
{
    return tensor != TENSOR_NONE && (size_t)tensor < builder->gradient.count ? builder->gradient.items[tensor]
                                                                             : TENSOR_NONE;
}

static void gradient_set(struct builder *builder, int32_t tensor, int32_t gradient)
{
    while (builder->gradient.count <= (size_t)tensor)
        vec_push(&builder->gradient, TENSOR_NONE);
    builder->gradient.items[tensor] = gradient;
}

/* A scratch tensor for a contribution or a sum: "grad.x", then "grad+1.x" and so on, so that names stay unique. */
static int32_t gradient_part(struct builder *builder, const char *what, int32_t tensor)
{
    while (builder->contributions.count <= (size_t)tensor)
        vec_push(&builder->contributions, 0);
    const int32_t parts = builder->contributions.items[tensor]++;
    char prefix[32];
    if (parts)
        snprintf(prefix, sizeof prefix, "%s+%d", what, parts);
    else
        snprintf(prefix, sizeof prefix, "%s", what);
    return tensor_like(builder, prefix, tensor);
}

/* Where a rule writes its contribution to the gradient of `tensor`: a parameter's own gradient tensor, which is thus
 * written by its first and only use, or a new scratch tensor. */
static int32_t gradient_slot(struct builder *builder, int32_t tensor)
{
    const struct parameter *parameter = parameter_of(builder, tensor);
    const struct weight_fusion *group = group_of(builder, tensor);
    if (gradient_of(builder, tensor) == TENSOR_NONE && (parameter || group))
        return parameter ? parameter->gradient : group->gradient;
    return gradient_part(builder, "grad", tensor);
}

void gradient_contribute(struct builder *builder, int32_t tensor, int32_t contribution)
{
    const int32_t before = gradient_of(builder, tensor);
    if (before == TENSOR_NONE) {
        gradient_set(builder, tensor, contribution);
        return;
    }
    struct node sum = node_elementwise(builder, OP_ADD, builder->tensors.items[tensor].scope, tensor);
    sum.phase = PHASE_BWD;
    sum.input[0] = before;
    sum.input[1] = contribution;
    sum.output[0] = gradient_part(builder, "grad.sum", tensor);
    node_push(builder, &sum);
    gradient_set(builder, tensor, sum.output[0]);
}

/* A backward node with the forward node's scope, sizes and constants. */
static struct node backward_node(const struct node *forward, enum op op)
{
    struct node node = node_make(op, forward->scope);
    node.phase = PHASE_BWD;
    node.dims = forward->dims;
    node.epsilon = forward->epsilon;
    node.scale = forward->scale;
    return node;
}

/* Emits `op` (a, b) → gradient of `tensor`. */
static void emit(struct builder *builder, const struct node *forward, enum op op, int32_t a, int32_t b, int32_t tensor)
{
    struct node node = backward_node(forward, op);
    node.input[0] = a;
    node.input[1] = b;
    node.output[0] = gradient_slot(builder, tensor);
    node_push(builder, &node);
    gradient_contribute(builder, tensor, node.output[0]);
}

static void rule_embedding(struct builder *builder, const struct node *forward, const struct node *held)
{
    emit(builder, forward, OP_EMBEDDING_BACKWARD, held->input[0], gradient_of(builder, forward->output[0]),
         forward->input[1]);
}

static void rule_linear(struct builder *builder, const struct node *forward, const struct node *held)
{
    const int32_t dy = gradient_of(builder, forward->output[0]);
    emit(builder, forward, OP_LINEAR_BACKWARD_INPUT, dy, held->input[1], forward->input[0]);
    emit(builder, forward, OP_LINEAR_BACKWARD_WEIGHT, dy, held->input[0], forward->input[1]);
}

static void rule_rmsnorm(struct builder *builder, const struct node *forward, const struct node *held)
{
    struct node node = backward_node(forward, OP_RMSNORM_BACKWARD);
    node.input[0] = gradient_of(builder, forward->output[0]);
    node.input[1] = held->input[0];
    node.input[2] = held->input[1];
    node.input[3] = held->output[1];
    node.output[0] = gradient_slot(builder, forward->input[0]);
    node.output[1] = gradient_slot(builder, forward->input[1]);
    node_push(builder, &node);
    gradient_contribute(builder, forward->input[0], node.output[0]);
    gradient_contribute(builder, forward->input[1], node.output[1]);
}

static void rule_rope(struct builder *builder, const struct node *forward, const struct node *held)
{
    emit(builder, forward, OP_ROPE_BACKWARD, gradient_of(builder, forward->output[0]), held->input[1],
         forward->input[0]);
}

static void rule_scores(struct builder *builder, const struct node *forward, const struct node *held)
{
    const int32_t ds = gradient_of(builder, forward->output[0]);
    emit(builder, forward, OP_ATTN_SCORES_BACKWARD_Q, ds, held->input[1], forward->input[0]);
    emit(builder, forward, OP_ATTN_SCORES_BACKWARD_K, ds, held->input[0], forward->input[1]);
}

static void rule_softmax(struct builder *builder, const struct node *forward, const struct node *held)
{
    emit(builder, forward, OP_CAUSAL_SOFTMAX_BACKWARD, gradient_of(builder, forward->output[0]), held->output[0],
         forward->input[0]);
}

static void rule_values(struct builder *builder, const struct node *forward, const struct node *held)
{
    const int32_t d_out = gradient_of(builder, forward->output[0]);
    emit(builder, forward, OP_ATTN_VALUES_BACKWARD_P, d_out, held->input[1], forward->input[0]);
    emit(builder, forward, OP_ATTN_VALUES_BACKWARD_V, held->input[0], d_out, forward->input[1]);
}

/* The gradient passes through unchanged; for an addend of another dtype it is cast, as type promotion does. */
static void pass_through(struct builder *builder, const struct node *forward, int32_t gradient, int32_t tensor)
{
    if (builder->tensors.items[gradient].dtype == builder->tensors.items[tensor].dtype) {
        gradient_contribute(builder, tensor, gradient);
        return;
    }
    struct node node = node_elementwise(builder, OP_CAST, forward->scope, tensor);
    node.phase = PHASE_BWD;
    node.input[0] = gradient;
    node.output[0] = gradient_slot(builder, tensor);
    node_push(builder, &node);
    gradient_contribute(builder, tensor, node.output[0]);
}

static void rule_add(struct builder *builder, const struct node *forward, const struct node *held)
{
    (void)held;
    const int32_t gradient = gradient_of(builder, forward->output[0]);
    pass_through(builder, forward, gradient, forward->input[0]);
    pass_through(builder, forward, gradient, forward->input[1]);
}

static void rule_cast(struct builder *builder, const struct node *forward, const struct node *held)
{
    (void)held;
    pass_through(builder, forward, gradient_of(builder, forward->output[0]), forward->input[0]);
}

static void rule_silu(struct builder *builder, const struct node *forward, const struct node *held)
{
    emit(builder, forward, OP_SILU_BACKWARD, gradient_of(builder, forward->output[0]), held->input[0],
         forward->input[0]);
}

static void rule_mul(struct builder *builder, const struct node *forward, const struct node *held)
{
    const int32_t gradient = gradient_of(builder, forward->output[0]);
    emit(builder, forward, OP_MUL, gradient, held->input[1], forward->input[0]);
    emit(builder, forward, OP_MUL, gradient, held->input[0], forward->input[1]);
}

static void rule_cross_entropy(struct builder *builder, const struct node *forward, const struct node *held)
{
    struct node node = backward_node(forward, OP_CROSS_ENTROPY_BACKWARD);
    node.input[0] = held->input[0];
    node.input[1] = held->input[1];
    node.input[2] = held->output[1];
    node.output[0] = gradient_slot(builder, forward->input[0]);
    node_push(builder, &node);
    gradient_contribute(builder, forward->input[0], node.output[0]);
}

static gradient_rule *const rules[OP_COUNT] = {
    [OP_EMBEDDING] = rule_embedding, [OP_RMSNORM] = rule_rmsnorm,
    [OP_LINEAR] = rule_linear,       [OP_ROPE] = rule_rope,
    [OP_ATTN_SCORES] = rule_scores,  [OP_CAUSAL_SOFTMAX] = rule_softmax,
    [OP_ATTN_VALUES] = rule_values,  [OP_ADD] = rule_add,
    [OP_SILU] = rule_silu,           [OP_MUL] = rule_mul,
    [OP_CAST] = rule_cast,           [OP_CROSS_ENTROPY] = rule_cross_entropy,
};

static int32_t held_tensor(const struct builder *builder, int32_t tensor)
{
    if (tensor == TENSOR_NONE || (size_t)tensor >= builder->again.count || builder->again.items[tensor] == TENSOR_NONE)
        return tensor;
    return builder->again.items[tensor];
}

static struct node held_node(const struct builder *builder, const struct node *forward)
{
    struct node held = *forward;
    for (int i = 0; i < NODE_MAX_INPUTS; i++)
        held.input[i] = held_tensor(builder, forward->input[i]);
    for (int i = 0; i < NODE_MAX_OUTPUTS; i++)
        held.output[i] = held_tensor(builder, forward->output[i]);
    return held;
}

bool autodiff(struct builder *builder, struct error *error)
{
    const size_t forward_count = builder->nodes.count;
    int32_t recomputed = -1;
    if (builder->output_gradient != TENSOR_NONE)
        gradient_set(builder, builder->nodes.items[forward_count - 1].output[0], builder->output_gradient);
    for (size_t i = forward_count; i-- > 0;) {
        const struct node forward = builder->nodes.items[i];
        const int32_t layer = builder->scopes.items[forward.scope].layer;
        if (builder->request->checkpoint == CHECKPOINT_BLOCK && layer >= 0 && layer != recomputed) {
            checkpoint_recompute(builder, layer, forward_count);
            recomputed = layer;
        }
        if (!rules[forward.op])
            return error_set(error, ERROR_INTERNAL, "op %s has no gradient rule", op_info(forward.op)->name);
        const struct node held = held_node(builder, &forward);
        rules[forward.op](builder, &forward, &held);
    }
    if (builder->request->checkpoint == CHECKPOINT_BLOCK)
        checkpoint_drop_unread(builder);
    for (size_t i = 0; i < builder->parameters.count; i++) {
        const struct parameter *parameter = &builder->parameters.items[i];
        const int32_t reached = gradient_of(builder, parameter->tensor);
        if (reached != parameter->gradient && parameter->fused < 0)
            return error_set(error, ERROR_INTERNAL, "the gradient of %s is not written once into its own tensor",
                             builder->tensors.items[parameter->tensor].name);
    }
    return true;
}
