/* Lowering of matrix products, RoPE, softmax and attention. */
#include "kernels/cuda/cuda_internal.h"

static uint64_t blocks(int64_t items, int64_t a_block)
{
    return (uint64_t)((items + a_block - 1) / a_block);
}

static bool is_tf32(const struct lowering *lowering, enum dtype dtype)
{
    return dtype == DTYPE_F32 && lowering->plan->precision == PRECISION_TF32;
}

/* dw = dyᵀ·x with the narrower operand turned over first: Hopper's tensor cores take a tf32 operand that lies across k from
 * registers, but only one of the two (device/gemm_hopper.cu). False, and nothing done, where that kernel does not serve. */
static bool weight_product_turned(struct lowering *lowering, const struct node *node, struct operand dy,
                                  struct operand x, struct operand dw)
{
    int64_t rows = node->dims.rows, in = node->dims.d_in, out = node->dims.d_out, leading = (rows + 3) / 4 * 4;
    bool turn_x = in <= out;
    struct operand from = turn_x ? x : dy, kept = turn_x ? dy : x;
    int64_t columns = turn_x ? in : out;
    struct cuda_gemm_shape shape;
    __builtin_memset(&shape, 0, sizeof shape);
    shape.m = out, shape.n = in, shape.k = rows;
    shape.transpose_a = shape.transpose_b = turn_x;
    shape.lda = turn_x ? kept.row_stride : leading;
    shape.ldb = turn_x ? leading : kept.row_stride;
    shape.ldd = dw.row_stride;
    shape.batch = 1;
    shape.align_a = turn_x ? lower_alignment(kept.address, 0) : PLAN_ALIGNMENT;
    shape.align_b = turn_x ? PLAN_ALIGNMENT : lower_alignment(kept.address, 0);
    shape.align_d = lower_alignment(dw.address, 0);
    shape.type_ab = shape.type_d = DTYPE_F32;
    shape.tf32 = 1;
    shape.alpha = 1.0f;
    if (!cuda_hopper_serves(lowering->program->device, &shape))
        return false;
    struct operand turned = lower_side_scratch(lowering, DTYPE_F32, columns * leading, leading);
    struct defines none = {0};
    struct cuda_launch *launch = lower_kernel(lowering, lower_module(lowering, "transpose.cu", &none), "transpose",
                                              blocks(rows, 64), blocks(columns, 64), 256);
    lower_pointer(launch, from.address);
    lower_pointer(launch, turned.address);
    lower_int(launch, (int32_t)rows);
    lower_int(launch, (int32_t)columns);
    lower_int64(launch, from.row_stride);
    lower_int64(launch, leading);
    lower_gemm(lowering, &shape, turn_x ? kept.address : turned.address, turn_x ? turned.address : kept.address,
               dw.address);
    return true;
}

void lower_linear(struct lowering *lowering, const struct node *node)
{
    struct operand a = lower_input(lowering, 0), b = lower_input(lowering, 1), d = lower_output(lowering, 0);
    struct cuda_gemm_shape shape;
    __builtin_memset(&shape, 0, sizeof shape);
    int64_t rows = node->dims.rows, in = node->dims.d_in, out = node->dims.d_out;
    if (node->op == OP_LINEAR) { /* y (N, O) = x (N, I) · w (O, I)ᵀ */
        shape.m = rows, shape.n = out, shape.k = in;
        shape.transpose_b = 1;
    } else if (node->op == OP_LINEAR_BACKWARD_INPUT) { /* dx (N, I) = dy (N, O) · w (O, I) */
        shape.m = rows, shape.n = in, shape.k = out;
    } else { /* dw (O, I) = dy (N, O)ᵀ · x (N, I) */
        shape.m = out, shape.n = in, shape.k = rows;
        shape.transpose_a = 1;
    }
    if (a.dtype != b.dtype) {
        lower_fail(lowering, "its operands differ in type");
        return;
    }
    if (node->op == OP_LINEAR_BACKWARD_WEIGHT && lowering->program->compile && is_tf32(lowering, a.dtype) &&
        d.dtype == DTYPE_F32 && weight_product_turned(lowering, node, a, b, d))
        return;
    shape.lda = a.row_stride, shape.ldb = b.row_stride, shape.ldd = d.row_stride;
    shape.batch = 1;
    shape.align_a = lower_alignment(a.address, 0);
    shape.align_b = lower_alignment(b.address, 0);
    shape.align_d = lower_alignment(d.address, 0);
    shape.type_ab = (uint8_t)a.dtype, shape.type_d = (uint8_t)d.dtype;
    shape.tf32 = is_tf32(lowering, a.dtype);
    shape.alpha = 1.0f;
    lower_gemm(lowering, &shape, a.address, b.address, d.address);
}

/* One product for each of B·H heads. Operands that are (B, H, T, T) and operands that are a head's columns of an (N, C)
 * matrix are regular over heads or over batches but not over both at once, so the shorter of the two is a loop. */
void emit_attention_product(struct lowering *lowering, enum attention_product product, const struct node_dims *dims,
                            float alpha, struct operand a, struct operand b, struct operand d)
{
    static const struct {
        bool square_a, square_d, transpose_a, transpose_b; /* b is never (T, T) */
    } forms[] = {
        [PRODUCT_SCORES] = {false, true, false, true},  /* s = q kᵀ */
        [PRODUCT_DQ] = {true, false, false, false},     /* dq = ds k */
        [PRODUCT_DK] = {true, false, true, false},      /* dk = dsᵀ q */
        [PRODUCT_VALUES] = {true, false, false, false}, /* o = p v */
        [PRODUCT_DP] = {false, true, false, true},      /* dp = do vᵀ */
        [PRODUCT_DV] = {true, false, true, false},      /* dv = pᵀ do */
    };
    int64_t T = dims->context, D = dims->head_dim, B = dims->batch, H = dims->heads;
    bool loop_heads = H < B;
    const struct operand operands[3] = {a, b, d};
    const bool square[3] = {forms[product].square_a, false, forms[product].square_d};
    int64_t each[3], loop[3];
    for (int i = 0; i < 3; ++i) {
        int64_t by_head = square[i] ? T * T : D, by_batch = square[i] ? H * T * T : T * operands[i].row_stride;
        each[i] = loop_heads ? by_batch : by_head;
        loop[i] = (loop_heads ? by_head : by_batch) * (int64_t)dtype_size(operands[i].dtype);
    }
    struct cuda_gemm_shape shape;
    __builtin_memset(&shape, 0, sizeof shape);
    shape.m = T;
    shape.n = square[2] ? T : D;
    shape.k = square[2] ? D : T;
    shape.lda = square[0] ? T : a.row_stride, shape.ldb = b.row_stride, shape.ldd = square[2] ? T : d.row_stride;
    shape.batch = loop_heads ? B : H;
    shape.batch_a = each[0], shape.batch_b = each[1], shape.batch_d = each[2];
    shape.align_a = lower_alignment(a.address, (uint64_t)loop[0]);
    shape.align_b = lower_alignment(b.address, (uint64_t)loop[1]);
    shape.align_d = lower_alignment(d.address, (uint64_t)loop[2]);
    shape.transpose_a = forms[product].transpose_a, shape.transpose_b = forms[product].transpose_b;
    shape.type_ab = (uint8_t)a.dtype, shape.type_d = (uint8_t)d.dtype;
    shape.tf32 = is_tf32(lowering, a.dtype);
    shape.alpha = alpha;
    if (a.dtype != b.dtype)
        lower_fail(lowering, "its operands differ in type");
    for (int64_t i = 0; i < (loop_heads ? H : B) && !lowering->failed; ++i)
        lower_gemm(lowering, &shape, a.address + (uint64_t)(i * loop[0]), b.address + (uint64_t)(i * loop[1]),
                   d.address + (uint64_t)(i * loop[2]));
}

void lower_attention_product(struct lowering *lowering, const struct node *node)
{
    struct operand first = lower_input(lowering, 0), second = lower_input(lowering, 1), out = lower_output(lowering, 0);
    enum attention_product product = PRODUCT_SCORES;
    float alpha = 1.0f;
    switch (node->op) {
    case OP_ATTN_SCORES:
        product = PRODUCT_SCORES, alpha = node->scale;
        break;
    case OP_ATTN_SCORES_BACKWARD_Q:
        product = PRODUCT_DQ, alpha = node->scale;
        break;
    case OP_ATTN_SCORES_BACKWARD_K:
        product = PRODUCT_DK, alpha = node->scale;
        break;
    case OP_ATTN_VALUES:
        product = PRODUCT_VALUES;
        break;
    case OP_ATTN_VALUES_BACKWARD_P:
        product = PRODUCT_DP;
        break;
    default:
        product = PRODUCT_DV;
        break;
    }
    emit_attention_product(lowering, product, &node->dims, alpha, first, second, out);
}

void emit_rope(struct lowering *lowering, const struct node_dims *dims, bool backward, struct operand x,
               struct operand table, struct operand y)
{
    int64_t rows = dims->batch * dims->context, columns = dims->heads * dims->head_dim;
    struct defines defines = {0};
    define_number(&defines, "C", columns);
    define_number(&defines, "D", dims->head_dim);
    define_text(&defines, "TX", dtype_text(x.dtype));
    define_text(&defines, "TY", dtype_text(y.dtype));
    if (backward)
        define_number(&defines, "BACKWARD", 1);
    int64_t pairs = rows * (columns / 2);
    struct cuda_launch *launch =
        lower_kernel(lowering, lower_module(lowering, "rope.cu", &defines), "rope", blocks(pairs, 256), 1, 256);
    lower_pointer(launch, x.address);
    lower_pointer(launch, table.address);
    lower_pointer(launch, y.address);
    lower_int64(launch, pairs);
    lower_int(launch, (int32_t)dims->context);
    lower_int64(launch, x.row_stride);
    lower_int64(launch, y.row_stride);
}

void lower_rope(struct lowering *lowering, const struct node *node)
{
    emit_rope(lowering, &node->dims, node->op == OP_ROPE_BACKWARD, lower_input(lowering, 0), lower_input(lowering, 1),
              lower_output(lowering, 0));
}

static int32_t softmax_module(struct lowering *lowering, enum dtype s, enum dtype p, enum dtype out)
{
    struct defines defines = {0};
    define_text(&defines, "TS", dtype_text(s));
    define_text(&defines, "TP", dtype_text(p));
    define_text(&defines, "TO", dtype_text(out));
    return lower_module(lowering, "softmax.cu", &defines);
}

void emit_softmax(struct lowering *lowering, const struct node_dims *dims, struct operand s, struct operand p,
                  struct operand lse)
{
    int64_t rows = dims->batch * dims->heads * dims->context;
    struct cuda_launch *launch = lower_kernel(lowering, softmax_module(lowering, s.dtype, DTYPE_F32, p.dtype),
                                              "causal_softmax", blocks(rows, 8), 1, 256);
    lower_pointer(launch, s.address);
    lower_pointer(launch, p.address);
    lower_pointer(launch, lse.address);
    lower_int(launch, (int32_t)rows);
    lower_int(launch, (int32_t)dims->context);
}

void emit_softmax_backward(struct lowering *lowering, const struct node_dims *dims, struct operand dp, struct operand p,
                           struct operand ds)
{
    int64_t rows = dims->batch * dims->heads * dims->context;
    struct cuda_launch *launch = lower_kernel(lowering, softmax_module(lowering, dp.dtype, p.dtype, ds.dtype),
                                              "causal_softmax_backward", blocks(rows, 8), 1, 256);
    lower_pointer(launch, dp.address);
    lower_pointer(launch, p.address);
    lower_pointer(launch, ds.address);
    lower_int(launch, (int32_t)rows);
    lower_int(launch, (int32_t)dims->context);
}

void lower_softmax(struct lowering *lowering, const struct node *node)
{
    if (node->op == OP_CAUSAL_SOFTMAX)
        emit_softmax(lowering, &node->dims, lower_input(lowering, 0), lower_output(lowering, 0), (struct operand){0});
    else
        emit_softmax_backward(lowering, &node->dims, lower_input(lowering, 0), lower_input(lowering, 1),
                              lower_output(lowering, 0));
}

/* Which arithmetic the fused kernels use: macro MODE of attention.cuh. */
enum attention_mode { MODE_BF16, MODE_TF32, MODE_FP32 };

/* How a kernel is cut: rows of a tile of its walk, whether it keeps its own queries in registers, and how many blocks of it
 * a multiprocessor shall hold (which bounds their registers). */
struct attention_cut {
    int rows, hold, blocks;
};

struct attention_tiles {
    int mode, padded;
    struct attention_cut forward, backward;
    unsigned forward_shared, backward_shared;
};

/* By mode (bf16, tf32, fp32) and head size (up to 64, 80, 128), the fastest of 10 to 20 cuts each on an H200 at batch 4,
 * context 256 and 1024 (docs/bench-h200.md). All fit in the 99 KB that a block may have on sm_86 and sm_120. */
static const struct {
    struct attention_cut forward, backward;
} attention_cuts[3][3] = {
    [MODE_BF16] = {{{64, 1, 2}, {64, 0, 2}}, {{32, 1, 2}, {32, 0, 2}}, {{32, 1, 1}, {32, 0, 1}}},
    [MODE_TF32] = {{{64, 0, 2}, {32, 0, 2}}, {{32, 0, 2}, {32, 0, 2}}, {{32, 1, 1}, {16, 0, 1}}},
    [MODE_FP32] = {{{32, 0, 1}, {32, 0, 1}}, {{32, 0, 1}, {32, 0, 1}}, {{32, 0, 1}, {16, 0, 1}}},
};

static unsigned attention_shared(int mode, int padded, int own_rows, int rows, unsigned more)
{
    unsigned size = mode == MODE_BF16 ? 2 : 4, leading = (unsigned)padded + 16 / size;
    unsigned scratch = mode == MODE_FP32 ? 8 * 16 * ((unsigned)rows / 2 + 4) * 4 : 0;
    return ((unsigned)own_rows + 2 * (unsigned)rows) * leading * size + more + scratch;
}

static struct attention_tiles attention_tiles_for(const struct lowering *lowering, const struct node_dims *dims,
                                                  enum dtype dtype)
{
    const struct device *device = lowering->program->device;
    int mode = dtype == DTYPE_BF16 ? MODE_BF16 : is_tf32(lowering, dtype) ? MODE_TF32 : MODE_FP32;
    int padded = (int)(dims->head_dim + 15) / 16 * 16, size = padded <= 64 ? 0 : padded <= 80 ? 1 : 2;
    struct attention_tiles tiles = {
        .mode = mode, .padded = padded, attention_cuts[mode][size].forward, attention_cuts[mode][size].backward};
    /* Few blocks gain more from their own queries in registers than from company. */
    uint64_t forward_blocks = (uint64_t)(dims->batch * dims->heads) * blocks(dims->context, 64);
    if (mode == MODE_TF32 && size == 0 && 2 * forward_blocks <= 3 * (uint64_t)device->units)
        tiles.forward = (struct attention_cut){64, 1, 1};
    if (mode == MODE_TF32 && size == 2 &&
        (int)attention_shared(mode, padded, 128, 32, 2 * 32 * 4) <= device->shared_limit)
        tiles.backward.rows = 32;
    tiles.forward_shared = attention_shared(mode, padded, 64, tiles.forward.rows, 0);
    tiles.backward_shared =
        attention_shared(mode, padded, 128, tiles.backward.rows, 2 * (unsigned)tiles.backward.rows * 4);
    if (tiles.forward.blocks * (int)tiles.forward_shared > device->shared_in_unit)
        tiles.forward.blocks = 1;
    if (tiles.backward.blocks * (int)tiles.backward_shared > device->shared_in_unit)
        tiles.backward.blocks = 1;
    return tiles;
}

static void attention_defines(const struct lowering *lowering, const struct node_dims *dims,
                              const struct attention_tiles *tiles, int vector, bool turn, struct defines *defines)
{
    define_number(defines, "D", dims->head_dim);
    define_number(defines, "HEADS", dims->heads);
    define_number(defines, "MODE", tiles->mode);
    define_number(defines, "VECTOR", vector);
    define_number(defines, "TURN", turn);
    if (lowering->program->compile)
        define_number(defines, "CONTEXT", dims->context);
}

/* Elements an access for all operands: 16 bytes where head size, addresses and strides allow; 0 where not even a pair. */
static int attention_vector(int64_t head_dim, const struct operand *operands, int count)
{
    for (int vector = 8; vector >= 2; vector /= 2) {
        bool fits = head_dim % vector == 0;
        for (int i = 0; i < count; ++i) {
            uint64_t bytes = (uint64_t)vector * dtype_size(operands[i].dtype);
            if (operands[i].address &&
                (bytes > 16 || CUDA_OFFSET(operands[i].address) % bytes != 0 || operands[i].row_stride % vector != 0))
                fits = false;
        }
        if (fits)
            return vector;
    }
    return 0;
}

/* Head sizes beyond the fused kernels: the same products one by one, on scratch, without keeping the T × T matrices. */
static void fallback_forward(struct lowering *lowering, const struct node *node, struct operand qkv,
                             struct operand table)
{
    const struct node_dims *dims = &node->dims;
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
    emit_attention_product(lowering, PRODUCT_SCORES, dims, node->scale, q, k, scores);
    emit_softmax(lowering, dims, scores, p, lower_output(lowering, 1));
    emit_attention_product(lowering, PRODUCT_VALUES, dims, 1.0f, p, v, lower_output(lowering, 0));
}

static void fallback_backward(struct lowering *lowering, const struct node *node, struct operand d_o,
                              struct operand qkv, struct operand table, struct operand dqkv)
{
    const struct node_dims *dims = &node->dims;
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
    emit_attention_product(lowering, PRODUCT_SCORES, dims, node->scale, q, k, scores);
    emit_softmax(lowering, dims, scores, p, (struct operand){0});
    emit_attention_product(lowering, PRODUCT_DV, dims, 1.0f, p, d_o, operand_columns(dqkv, 2 * C));
    emit_attention_product(lowering, PRODUCT_DP, dims, 1.0f, d_o, v, dp);
    emit_softmax_backward(lowering, dims, dp, p, ds);
    emit_attention_product(lowering, PRODUCT_DQ, dims, node->scale, ds, k, dq);
    emit_attention_product(lowering, PRODUCT_DK, dims, node->scale, ds, q, dk);
    if (table.address) {
        emit_rope(lowering, dims, true, dq, table, dqkv);
        emit_rope(lowering, dims, true, dk, table, operand_columns(dqkv, C));
    }
}

void lower_attention(struct lowering *lowering, const struct node *node)
{
    const struct node_dims *dims = &node->dims;
    bool backward = node->op == OP_ATTENTION_BACKWARD;
    struct operand qkv = lower_input(lowering, backward ? 1 : 0), table = lower_input(lowering, backward ? 4 : 1);
    struct operand d_o = backward ? lower_input(lowering, 0) : (struct operand){.dtype = qkv.dtype};
    struct operand o = backward ? lower_input(lowering, 2) : lower_output(lowering, 0);
    struct operand dqkv = backward ? lower_output(lowering, 0) : qkv;
    struct attention_tiles tiles = attention_tiles_for(lowering, dims, qkv.dtype);
    const struct operand all[] = {qkv, d_o, o, dqkv};
    int vector = attention_vector(dims->head_dim, all, 4);
    unsigned needed = backward ? tiles.backward_shared : tiles.forward_shared;
    if (dims->head_dim > 128 || vector == 0 || (int)needed > lowering->program->device->shared_limit) {
        if (backward)
            fallback_backward(lowering, node, d_o, qkv, table, dqkv);
        else
            fallback_forward(lowering, node, qkv, table);
        return;
    }
    struct defines defines = {0};
    attention_defines(lowering, dims, &tiles, vector, table.address != 0, &defines);
    const struct attention_cut *cut = backward ? &tiles.backward : &tiles.forward;
    define_number(&defines, "BN", cut->rows);
    define_number(&defines, "BLOCKS", cut->blocks);
    if (!backward)
        define_number(&defines, "HOLD", cut->hold);
    define_text(&defines, "TQ", dtype_text(qkv.dtype));
    define_text(&defines, "TO", dtype_text(o.dtype));
    uint64_t query_tiles = blocks(dims->context, 64), heads = (uint64_t)(dims->batch * dims->heads);
    if (!backward) {
        int32_t module = lower_module(lowering, "attention_forward.cu", &defines);
        struct cuda_launch *launch = lower_kernel(lowering, module, "attention_forward", heads, query_tiles, 256);
        launch->shared = tiles.forward_shared;
        lower_pointer(launch, qkv.address);
        lower_pointer(launch, table.address);
        lower_pointer(launch, o.address);
        lower_pointer(launch, lower_output(lowering, 1).address);
        lower_int(launch, (int32_t)dims->context);
        lower_float(launch, node->scale);
        lower_int64(launch, qkv.row_stride);
        lower_int64(launch, o.row_stride);
        return;
    }
    define_text(&defines, "TDO", dtype_text(d_o.dtype));
    define_text(&defines, "TDQ", dtype_text(dqkv.dtype));
    int32_t module = lower_module(lowering, "attention_backward.cu", &defines);
    struct operand lse = lower_input(lowering, 3), delta = lower_output(lowering, 1);
    int64_t count = dims->batch * dims->context * dims->heads;
    struct cuda_launch *launch = lower_kernel(lowering, module, "attention_delta", blocks(count, 8), 1, 256);
    lower_pointer(launch, d_o.address);
    lower_pointer(launch, o.address);
    lower_pointer(launch, delta.address);
    lower_int(launch, (int32_t)dims->context);
    lower_int64(launch, d_o.row_stride);
    lower_int64(launch, o.row_stride);
    lower_int(launch, (int32_t)count);
    launch = lower_kernel(lowering, module, "attention_backward", heads, 2 * query_tiles, 256);
    launch->shared = tiles.backward_shared;
    lower_pointer(launch, d_o.address);
    lower_pointer(launch, qkv.address);
    lower_pointer(launch, lse.address);
    lower_pointer(launch, table.address);
    lower_pointer(launch, dqkv.address);
    lower_pointer(launch, delta.address);
    lower_int(launch, (int32_t)dims->context);
    lower_float(launch, node->scale);
    lower_int64(launch, d_o.row_stride);
    lower_int64(launch, qkv.row_stride);
    lower_int64(launch, dqkv.row_stride);
}
