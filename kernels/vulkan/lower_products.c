/* Lowering of matrix products, RoPE, softmax and attention. */
#include "kernels/vulkan/vulkan_internal.h"
#include <string.h>

static void lower_gemm(struct lowering *lowering, struct vulkan_gemm_shape *shape, struct operand a, struct operand b,
                       struct operand d, const int64_t step[3][2], float alpha)
{
    const struct operand operands[3] = {a, b, d};
    const int64_t inner[3] = {shape->transpose_a ? shape->m : shape->k, shape->transpose_b ? shape->k : shape->n,
                              shape->n};
    const int64_t lines[3] = {shape->transpose_a ? shape->k : shape->m, shape->transpose_b ? shape->n : shape->k,
                              shape->m};
    const int64_t leading[3] = {shape->lda, shape->ldb, shape->ldd};
    uint8_t *vectors[3] = {&shape->vector_a, &shape->vector_b, &shape->vector_d};
    struct vulkan_launch *launch = lower_launch(lowering, NULL, "gemm", 256);
    shape->eights = 1;
    for (int i = 0; i < 3; ++i) {
        *vectors[i] = lower_fours(inner[i] | leading[i] | step[i][0] | step[i][1], &operands[i], 1);
        if (i < 2 && ((inner[i] | leading[i]) % 8 != 0 || VULKAN_OFFSET(operands[i].address) % 16 != 0))
            shape->eights = 0;
        lower_operand(launch, i, operands[i]);
        for (int k = 0; k < 2; ++k)
            launch->push.a[3 + i].pair[k] = (uint32_t)step[i][k];
        int64_t extent = (shape->batch - 1) * step[i][0] + (shape->heads - 1) * step[i][1] + lines[i] * leading[i];
        if (extent > INT32_MAX)
            lower_fail(lowering, "an operand of %lld elements is beyond 31 bits", (long long)extent);
    }
    shape->type_a = (uint8_t)a.dtype, shape->type_b = (uint8_t)b.dtype, shape->type_d = (uint8_t)d.dtype;
    const int64_t sizes[] = {shape->m, shape->n, shape->k, shape->lda, shape->ldb, shape->ldd};
    for (int i = 0; i < 6; ++i)
        lower_size(lowering, launch, i, sizes[i]);
    launch->push.d[7] = (uint32_t)shape->heads;
    lower_float(launch, 8, alpha);
    if (shape->batch * shape->heads > 65535)
        lower_fail(lowering, "%lld products at once", (long long)(shape->batch * shape->heads));
    if (!lowering->failed)
        launch->gemm = vulkan_gemm_find(lowering->program, shape);
}

void lower_linear(struct lowering *lowering, const struct node *node)
{
    static const int64_t alone[3][2] = {{0, 0}, {0, 0}, {0, 0}};
    struct operand a = lower_input(lowering, 0), b = lower_input(lowering, 1), d = lower_output(lowering, 0);
    struct vulkan_gemm_shape shape;
    memset(&shape, 0, sizeof shape);
    const struct linear_product product = linear_product_of(node);
    shape.m = product.m, shape.n = product.n, shape.k = product.k;
    shape.transpose_a = product.transpose_a, shape.transpose_b = product.transpose_b;
    shape.lda = a.row_stride, shape.ldb = b.row_stride, shape.ldd = d.row_stride;
    shape.batch = shape.heads = 1;
    lower_gemm(lowering, &shape, a, b, d, alone, 1.0f);
}

/* One product for each of B·H heads; operands are (B, H, T, T), or a head's columns of an (N, C) matrix. */
void lower_attention_product(struct lowering *lowering, const struct node *node)
{
    static const struct {
        bool square_a, square_d, transpose_a, transpose_b, scaled; /* b is never (T, T) */
    } forms[OP_COUNT] = {
        [OP_ATTN_SCORES] = {false, true, false, true, true},             /* s = q kᵀ */
        [OP_ATTN_SCORES_BACKWARD_Q] = {true, false, false, false, true}, /* dq = ds k */
        [OP_ATTN_SCORES_BACKWARD_K] = {true, false, true, false, true},  /* dk = dsᵀ q */
        [OP_ATTN_VALUES] = {true, false, false, false, false},           /* o = p v */
        [OP_ATTN_VALUES_BACKWARD_P] = {false, true, false, true, false}, /* dp = do vᵀ */
        [OP_ATTN_VALUES_BACKWARD_V] = {true, false, true, false, false}, /* dv = pᵀ do */
    };
    struct operand operands[3] = {lower_input(lowering, 0), lower_input(lowering, 1), lower_output(lowering, 0)};
    int64_t T = node->dims.context, D = node->dims.head_dim, H = node->dims.heads, step[3][2];
    const bool square[3] = {forms[node->op].square_a, false, forms[node->op].square_d};
    for (int i = 0; i < 3; ++i) {
        step[i][0] = square[i] ? H * T * T : T * operands[i].row_stride;
        step[i][1] = square[i] ? T * T : D;
    }
    struct vulkan_gemm_shape shape;
    memset(&shape, 0, sizeof shape);
    shape.m = T;
    shape.n = square[2] ? T : D;
    shape.k = square[2] ? D : T;
    shape.lda = square[0] ? T : operands[0].row_stride;
    shape.ldb = operands[1].row_stride;
    shape.ldd = square[2] ? T : operands[2].row_stride;
    shape.batch = node->dims.batch;
    shape.heads = H;
    shape.transpose_a = forms[node->op].transpose_a, shape.transpose_b = forms[node->op].transpose_b;
    lower_gemm(lowering, &shape, operands[0], operands[1], operands[2], step,
               forms[node->op].scaled ? node->scale : 1.0f);
}

void lower_rope(struct lowering *lowering, const struct node *node)
{
    struct operand x = lower_input(lowering, 0), y = lower_output(lowering, 0);
    const struct node_dims *dims = &node->dims;
    int64_t rows = dims->batch * dims->context, columns = dims->heads * dims->head_dim, pairs = rows * (columns / 2);
    bool backward = node->op == OP_ROPE_BACKWARD;
    struct vulkan_launch *launch = lower_launch(lowering, "rope.comp", backward ? "rope_backward" : "rope", 256);
    lower_variant(launch, 0, backward);
    lower_variant(launch, 1, columns);
    lower_variant(launch, 2, dims->head_dim);
    lower_operand(launch, 0, x);
    lower_operand(launch, 1, lower_input(lowering, 1));
    lower_operand(launch, 2, y);
    lower_size(lowering, launch, 0, pairs);
    lower_size(lowering, launch, 1, dims->context);
    lower_size(lowering, launch, 2, x.row_stride);
    lower_size(lowering, launch, 3, y.row_stride);
    /* Must be countable. */
    lower_size(lowering, launch, 4, rows * (x.row_stride > y.row_stride ? x.row_stride : y.row_stride));
    lower_groups(lowering, launch, lower_blocks(pairs, 256));
}

void lower_softmax(struct lowering *lowering, const struct node *node)
{
    bool backward = node->op == OP_CAUSAL_SOFTMAX_BACKWARD;
    int64_t T = node->dims.context, rows = node->dims.batch * node->dims.heads * T;
    struct vulkan_launch *launch =
        lower_launch(lowering, "softmax.comp", backward ? "causal_softmax_backward" : "causal_softmax", 64);
    lower_variant(launch, 0, backward);
    lower_operand(launch, 0, lower_input(lowering, 0));
    lower_operand(launch, 1, backward ? lower_input(lowering, 1) : lower_output(lowering, 0));
    if (backward)
        lower_operand(launch, 2, lower_output(lowering, 0));
    lower_size(lowering, launch, 0, rows);
    lower_size(lowering, launch, 1, T);
    lower_size(lowering, launch, 2, rows * T);
    lower_groups(lowering, launch, (uint64_t)rows);
}

/* Rows of the own and the walked tile: the largest that fit in shared memory, 0 when none does. The shaders say what they keep. */
static bool attention_tiles(uint32_t limit, int64_t head_dim, bool backward, int *own, int *walk)
{
    static const int tiles[][2] = {{32, 32}, {32, 16}, {16, 16}, {16, 8}, {8, 8}, {8, 4}};
    int64_t row = ((head_dim + 3) / 4 + 1) * 16;
    for (size_t i = 0; i < sizeof tiles / sizeof *tiles; ++i) {
        int64_t o = tiles[i][0], w = tiles[i][1];
        int64_t bytes = backward ? 2 * (o + w) * row + 2 * o * (w + 1) * 4 + 2 * (o + w) * 4
                                 : (o + 2 * w) * row + o * (w + 1) * 4 + o * 17 * 4;
        if (bytes > (int64_t)limit)
            continue;
        *own = (int)o, *walk = (int)w;
        return true;
    }
    return false;
}

void lower_attention(struct lowering *lowering, const struct node *node)
{
    const struct node_dims *dims = &node->dims;
    bool backward = node->op == OP_ATTENTION_BACKWARD;
    struct operand qkv = lower_input(lowering, backward ? 1 : 0), table = lower_input(lowering, backward ? 4 : 1);
    struct operand o = backward ? lower_input(lowering, 2) : lower_output(lowering, 0);
    struct operand out = backward ? lower_input(lowering, 0) : o; /* do, or o */
    struct operand lse = backward ? lower_input(lowering, 3) : lower_output(lowering, 1);
    struct operand dqkv = backward ? lower_output(lowering, 0) : (struct operand){0};
    struct operand delta = backward ? lower_output(lowering, 1) : (struct operand){0};
    uint32_t limit = lowering->program->device->traits.properties.limits.maxComputeSharedMemorySize;
    int own = 0, walk = 0;
    if (!attention_tiles(limit, dims->head_dim, backward, &own, &walk)) {
        lower_fail(lowering, "heads of %lld columns do not fit in %u bytes of shared memory", (long long)dims->head_dim,
                   limit);
        return;
    }
    const struct operand all[] = {qkv, out, dqkv};
    bool fours = lower_fours(dims->head_dim | qkv.row_stride | out.row_stride | dqkv.row_stride, all, 3);
    int64_t rows = dims->batch * dims->context, tiles = (dims->context + own - 1) / own;
    for (int pass = backward ? 0 : 1; pass < 2; ++pass) { /* delta before the gradient */
        struct vulkan_launch *launch =
            lower_launch(lowering, backward ? "attention_backward.comp" : "attention_forward.comp",
                         !backward   ? "attention_forward"
                         : pass == 0 ? "attention_delta"
                                     : "attention_backward",
                         128);
        lower_variant(launch, 0, pass);
        lower_variant(launch, 1, dims->head_dim);
        lower_variant(launch, 2, own);
        lower_variant(launch, 3, walk);
        lower_variant(launch, 4, dims->heads);
        lower_variant(launch, 5, fours);
        lower_operand(launch, 0, qkv);
        lower_operand(launch, 1, table);
        lower_operand(launch, 2, out);
        lower_operand(launch, 3, lse);
        if (backward) {
            lower_operand(launch, 4, dqkv);
            lower_operand(launch, 5, delta);
            lower_operand(launch, 6, o);
        }
        lower_size(lowering, launch, 0, dims->context);
        lower_size(lowering, launch, 1, qkv.row_stride);
        lower_size(lowering, launch, 2, out.row_stride);
        lower_size(lowering, launch, 3, dqkv.row_stride);
        lower_size(lowering, launch, 4, rows * qkv.row_stride);
        lower_float(launch, 8, node->scale);
        launch->push.d[9] = (uint32_t)rows;
        launch->push.d[10] = (uint32_t)o.row_stride;
        if (pass == 0) {
            lower_groups(lowering, launch, lower_blocks(rows * dims->heads, 128));
            continue;
        }
        if (dims->batch * dims->heads > INT32_MAX || tiles > 32767)
            lower_fail(lowering, "%lld tiles of queries", (long long)tiles);
        launch->grid[0] = (uint32_t)(dims->batch * dims->heads);
        launch->grid[1] = (uint32_t)(backward ? 2 * tiles : tiles);
    }
}
