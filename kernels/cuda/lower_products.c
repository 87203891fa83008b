/* Lowering of matrix products, RoPE and softmax. */
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
    const struct linear_product product = linear_product_of(node);
    shape.m = product.m, shape.n = product.n, shape.k = product.k;
    shape.transpose_a = product.transpose_a, shape.transpose_b = product.transpose_b;
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

/* Pairs a thread: as many as the head size, addresses and strides allow, 16 bytes of the wider type at most. */
static int64_t rope_pairs(const struct node_dims *dims, const struct operand *x, const struct operand *y)
{
    for (int64_t pairs = 4; pairs >= 1; pairs /= 2) {
        bool fits = dims->head_dim % (2 * pairs) == 0;
        const struct operand *both[] = {x, y};
        for (int i = 0; i < 2; ++i) {
            uint64_t bytes = 2 * (uint64_t)pairs * dtype_size(both[i]->dtype);
            fits = fits && bytes <= 16 && CUDA_OFFSET(both[i]->address) % bytes == 0 &&
                   both[i]->row_stride % (2 * pairs) == 0;
        }
        if (fits)
            return pairs;
    }
    return 0;
}

void emit_rope(struct lowering *lowering, const struct node_dims *dims, bool backward, struct operand x,
               struct operand table, struct operand y)
{
    int64_t rows = dims->batch * dims->context, columns = dims->heads * dims->head_dim;
    int64_t pairs = rope_pairs(dims, &x, &y);
    struct defines defines = {0};
    define_number(&defines, "C", columns);
    define_number(&defines, "D", dims->head_dim);
    define_text(&defines, "TX", dtype_text(x.dtype));
    define_text(&defines, "TY", dtype_text(y.dtype));
    define_number(&defines, "PAIRS", pairs ? pairs : 1);
    if (pairs == 0) /* not even two elements at once */
        define_number(&defines, "APART", 1);
    if (backward)
        define_number(&defines, "BACKWARD", 1);
    int64_t groups = rows * (columns / 2) / (pairs ? pairs : 1);
    struct cuda_launch *launch =
        lower_kernel(lowering, lower_module(lowering, "rope.cu", &defines), "rope", blocks(groups, 256), 1, 256);
    lower_pointer(launch, x.address);
    lower_pointer(launch, table.address);
    lower_pointer(launch, y.address);
    lower_int64(launch, groups);
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
