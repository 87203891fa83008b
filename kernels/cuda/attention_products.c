/* The candidate for what no fused kernel serves (head sizes beyond theirs): the same products one by one, on scratch, without
 * keeping the T × T matrices. */
#include "kernels/cuda/attention.h"
#include <stdio.h>

static bool serves(struct device *device, const struct cuda_attention_shape *shape, char *why, size_t why_size)
{
    (void)device, (void)shape, (void)why, (void)why_size; /* memory says whether there is room */
    return true;
}

static struct node_dims dims_of(const struct cuda_attention_shape *shape)
{
    return (struct node_dims){
        .batch = shape->batch, .context = shape->context, .heads = shape->heads, .head_dim = shape->head_dim};
}

static void forward(struct lowering *lowering, const struct cuda_attention_call *call)
{
    struct node_dims numbers = dims_of(&call->shape), *dims = &numbers;
    struct operand qkv = call->qkv, table = call->table;
    int64_t C = dims->heads * dims->head_dim, N = dims->batch * dims->context,
            S = dims->batch * dims->heads * dims->context * dims->context;
    struct operand q = qkv, k = operand_columns(qkv, C), v = operand_columns(qkv, 2 * C);
    if (table.address) {
        q = lower_scratch(lowering, qkv.dtype, N * C, C);
        k = lower_scratch(lowering, qkv.dtype, N * C, C);
        emit_rope(lowering, dims, false, qkv, table, q);
        emit_rope(lowering, dims, false, operand_columns(qkv, C), table, k);
    }
    struct operand scores = lower_scratch(lowering, DTYPE_F32, S, dims->context);
    struct operand p = qkv.dtype == DTYPE_F32 ? scores : lower_scratch(lowering, qkv.dtype, S, dims->context);
    emit_attention_product(lowering, PRODUCT_SCORES, dims, call->shape.scale, q, k, scores);
    emit_softmax(lowering, dims, scores, p, call->lse);
    emit_attention_product(lowering, PRODUCT_VALUES, dims, 1.0f, p, v, call->o);
}

static void backward(struct lowering *lowering, const struct cuda_attention_call *call)
{
    struct node_dims numbers = dims_of(&call->shape), *dims = &numbers;
    struct operand qkv = call->qkv, table = call->table, d_o = call->d_o, dqkv = call->dqkv;
    int64_t C = dims->heads * dims->head_dim, N = dims->batch * dims->context,
            S = dims->batch * dims->heads * dims->context * dims->context;
    struct operand q = qkv, k = operand_columns(qkv, C), v = operand_columns(qkv, 2 * C);
    struct operand dq = dqkv, dk = operand_columns(dqkv, C);
    if (table.address) {
        q = lower_scratch(lowering, qkv.dtype, N * C, C);
        k = lower_scratch(lowering, qkv.dtype, N * C, C);
        dq = lower_scratch(lowering, qkv.dtype, N * C, C);
        dk = lower_scratch(lowering, qkv.dtype, N * C, C);
        emit_rope(lowering, dims, false, qkv, table, q);
        emit_rope(lowering, dims, false, operand_columns(qkv, C), table, k);
    }
    struct operand scores = lower_scratch(lowering, DTYPE_F32, S, dims->context);
    struct operand dp = lower_scratch(lowering, DTYPE_F32, S, dims->context);
    bool narrow = qkv.dtype != DTYPE_F32;
    struct operand p = narrow ? lower_scratch(lowering, qkv.dtype, S, dims->context) : scores;
    struct operand ds = narrow ? lower_scratch(lowering, qkv.dtype, S, dims->context) : dp;
    emit_attention_product(lowering, PRODUCT_SCORES, dims, call->shape.scale, q, k, scores);
    emit_softmax(lowering, dims, scores, p, (struct operand){0});
    emit_attention_product(lowering, PRODUCT_DV, dims, 1.0f, p, d_o, operand_columns(dqkv, 2 * C));
    emit_attention_product(lowering, PRODUCT_DP, dims, 1.0f, d_o, v, dp);
    emit_softmax_backward(lowering, dims, dp, p, ds);
    emit_attention_product(lowering, PRODUCT_DQ, dims, call->shape.scale, ds, k, dq);
    emit_attention_product(lowering, PRODUCT_DK, dims, call->shape.scale, ds, q, dk);
    if (table.address) {
        emit_rope(lowering, dims, true, dq, table, dqkv);
        emit_rope(lowering, dims, true, dk, table, operand_columns(dqkv, C));
    }
}

static bool lower(struct lowering *lowering, const struct cuda_attention_call *call, char *why, size_t why_size)
{
    (void)why, (void)why_size;
    if (call->shape.backward)
        backward(lowering, call);
    else
        forward(lowering, call);
    return true;
}

const struct cuda_attention_candidate cuda_attention_products = {
    .name = "products", .serves = serves, .lower = lower, .last_resort = true};
