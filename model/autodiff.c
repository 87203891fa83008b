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

/* SwiGLU's product is not kept: its backward has all that makes it in registers and writes it again. The weight's gradient of
 * the one product that reads it comes after that. */
static bool reads_swiglu(const struct builder *builder, const struct node *forward)
{
    const int32_t producer = node_producer(builder, forward->input[0]);
    return producer >= 0 && builder->nodes.items[producer].op == OP_SWIGLU;
}

static void rule_linear(struct builder *builder, const struct node *forward, const struct node *held)
{
    const int32_t dy = gradient_of(builder, forward->output[0]);
    /* The weight first: x is dead before room is needed for dx. */
    if (!reads_swiglu(builder, forward))
        emit(builder, forward, OP_LINEAR_BACKWARD_WEIGHT, dy, held->input[0], forward->input[1]);
    emit(builder, forward, OP_LINEAR_BACKWARD_INPUT, dy, held->input[1], forward->input[0]);
}

/* dx of a norm over `x`, whose value is held in `held_x`; the gradient that x has so far joins in the same pass when the
 * residual pass is on. Leaves the node for the caller to complete and push. */
static struct node norm_backward(struct builder *builder, const struct node *forward, int32_t dy, int32_t x,
                                 int32_t held_x, int32_t w, int32_t rstd)
{
    struct node node = backward_node(forward, OP_RMSNORM_BACKWARD);
    node.input[0] = dy;
    node.input[1] = held_x;
    node.input[2] = w;
    node.input[3] = rstd;
    if (wants_fusion(builder, FUSE_ADD_RMSNORM)) {
        node.input[4] = gradient_of(builder, x);
        gradient_set(builder, x, TENSOR_NONE);
    }
    node.output[0] = gradient_slot(builder, x);
    node.output[1] = gradient_slot(builder, w);
    return node;
}

static void rule_rmsnorm(struct builder *builder, const struct node *forward, const struct node *held)
{
    const struct node node = norm_backward(builder, forward, gradient_of(builder, forward->output[0]),
                                           forward->input[0], held->input[0], forward->input[1], held->output[1]);
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
    const struct tensor logits = builder->tensors.items[held->input[0]];
    node.input[0] = held->input[0];
    node.input[1] = held->input[1];
    node.input[2] = held->output[1];
    /* Over the logits, which nobody reads any more: at this node the step's memory is near its peak. */
    if (logits.dtype == DTYPE_F32 && node_readers(builder, held->input[0]) == 1) {
        node.output[0] = view_add(builder, "grad.logits", held->input[0], 0, logits.rank, logits.shape);
        builder->tensors.items[node.output[0]].scope = node.scope;
    } else {
        node.output[0] = gradient_slot(builder, forward->input[0]);
    }
    node_push(builder, &node);
    gradient_contribute(builder, forward->input[0], node.output[0]);
}

/* The sum's gradient goes to both addends. An addend in bf16 gets its rounded copy from the same kernel when casts are
 * fused, else by a CAST. */
static void rule_add_rmsnorm(struct builder *builder, const struct node *forward, const struct node *held)
{
    const int32_t z = forward->output[0], x = forward->input[0], r = forward->input[1];
    struct node node = norm_backward(builder, forward, gradient_of(builder, forward->output[1]), z, held->output[0],
                                     forward->input[2], held->output[2]);
    const bool rounds = wants_fusion(builder, FUSE_CAST) && builder->tensors.items[r].dtype == DTYPE_BF16;
    if (rounds)
        node.output[2] = gradient_slot(builder, r);
    node_push(builder, &node);
    gradient_contribute(builder, forward->input[2], node.output[1]);
    gradient_set(builder, z, node.output[0]);
    pass_through(builder, forward, node.output[0], x);
    if (rounds)
        gradient_contribute(builder, r, node.output[2]);
    else
        pass_through(builder, forward, node.output[0], r);
}

static void rule_attention(struct builder *builder, const struct node *forward, const struct node *held)
{
    struct node node = backward_node(forward, OP_ATTENTION_BACKWARD);
    const struct node_dims *dims = &forward->dims;
    node.input[0] = gradient_of(builder, forward->output[0]);
    node.input[1] = held->input[0];
    node.input[2] = held->output[0];
    node.input[3] = held->output[1];
    node.input[4] = held->input[1];
    node.output[0] = gradient_slot(builder, forward->input[0]);
    node.output[1] = activation_add(builder, forward->scope, "delta", SHAPE(dims->batch, dims->heads, dims->context));
    node_push(builder, &node);
    gradient_contribute(builder, forward->input[0], node.output[0]);
}

static void rule_swiglu(struct builder *builder, const struct node *forward, const struct node *held)
{
    struct node node = backward_node(forward, OP_SWIGLU_BACKWARD);
    node.input[0] = gradient_of(builder, forward->output[0]);
    node.input[1] = held->input[0];
    node.output[0] = gradient_slot(builder, forward->input[0]);
    node.output[1] = tensor_like(builder, "remade", forward->output[0]);
    node_push(builder, &node);
    gradient_contribute(builder, forward->input[0], node.output[0]);
    for (size_t i = 0; i < builder->nodes.count; i++) {
        const struct node reader = builder->nodes.items[i];
        if (reader.phase == PHASE_FWD && reader.op == OP_LINEAR && reader.input[0] == forward->output[0])
            emit(builder, &reader, OP_LINEAR_BACKWARD_WEIGHT, gradient_of(builder, reader.output[0]), node.output[1],
                 reader.input[1]);
    }
}

/* The gradient was written with the loss. */
static void rule_cross_entropy_fused(struct builder *builder, const struct node *forward, const struct node *held)
{
    (void)held;
    gradient_contribute(builder, forward->input[0], forward->output[1]);
}

static gradient_rule *const rules[OP_COUNT] = {
    [OP_EMBEDDING] = rule_embedding,
    [OP_RMSNORM] = rule_rmsnorm,
    [OP_LINEAR] = rule_linear,
    [OP_ROPE] = rule_rope,
    [OP_ATTN_SCORES] = rule_scores,
    [OP_CAUSAL_SOFTMAX] = rule_softmax,
    [OP_ATTN_VALUES] = rule_values,
    [OP_ADD] = rule_add,
    [OP_SILU] = rule_silu,
    [OP_MUL] = rule_mul,
    [OP_CAST] = rule_cast,
    [OP_CROSS_ENTROPY] = rule_cross_entropy,
    [OP_ADD_RMSNORM] = rule_add_rmsnorm,
    [OP_ATTENTION] = rule_attention,
    [OP_SWIGLU] = rule_swiglu,
    [OP_CROSS_ENTROPY_FUSED] = rule_cross_entropy_fused,
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

/* Every parameter's gradient, alone or within its fused weight, is its own tensor, written once. */
static bool gradients_complete(const struct builder *builder, struct error *error)
{
    for (size_t i = 0; i < builder->parameters.count; i++) {
        const struct parameter *parameter = &builder->parameters.items[i];
        const struct weight_fusion *group = parameter->fused >= 0 ? &builder->groups.items[parameter->fused] : NULL;
        const int32_t weight = group ? group->tensor : parameter->tensor, copy = group ? group->copy : parameter->copy;
        const int32_t reached =
            gradient_of(builder, weight) != TENSOR_NONE ? gradient_of(builder, weight) : gradient_of(builder, copy);
        if (reached == TENSOR_NONE || reached != (group ? group->gradient : parameter->gradient))
            return error_set(error, ERROR_INTERNAL, "the gradient of %s is not written once into its own tensor",
                             builder->tensors.items[parameter->tensor].name);
    }
    return true;
}

bool autodiff(struct builder *builder, struct error *error)
{
    const size_t forward_count = builder->nodes.count;
    int32_t recomputed = -1;
    if (builder->output_gradient != TENSOR_NONE) { /* fp32; autograd's has the output's type */
        const struct node last = builder->nodes.items[forward_count - 1];
        pass_through(builder, &last, builder->output_gradient, last.output[0]);
    }
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
    return gradients_complete(builder, error);
}
