/* The separate attention ops of eager mode: one small product for each batch and head. A product of one head is too small
 * for threads to share, so the threads share the heads. Whatever the causal mask makes zero or unread is skipped a block
 * at a time: scores above the diagonal are left as they are, and nobody reads them. */
#include "kernels/cpu/simd/attention.h"
#include "kernels/cpu/simd/pack.h"
#include "kernels/cpu/simd/pairs.h"
#include "kernels/cpu/simd/values.h"

cpu_kernel ISA(attn_scores), ISA(attn_scores_backward_q), ISA(attn_scores_backward_k), ISA(attn_values),
    ISA(attn_values_backward_p), ISA(attn_values_backward_v);

#define ROWS ATTENTION_ROWS
#define PAIR_ROWS 128 /* a block whose operands are bf16 */

/* A head's part of an (N, C) operand, from its first element on. */
static struct values head_at(const struct program *program, const struct node *node, int32_t tensor, int64_t pair)
{
    const int64_t T = node->dims.context, H = node->dims.heads, D = node->dims.head_dim;
    return values_from(values_of(program, tensor), pair / H * T * cpu_stride(program, tensor) + pair % H * D);
}

/* Pieces of a thread's scratch: panels of the right operand, and what bf16 operands are widened into and come from. */
struct rooms {
    float *panels, *left, *right, *out;
};

static struct rooms rooms_of(const struct program *program, const struct node *node)
{
    const int64_t T = (node->dims.context + NR - 1) / NR * NR, D = (node->dims.head_dim + NR - 1) / NR * NR;
    const int64_t block = ROWS * (T > D ? T : D);
    float *panels = program->scratch + (size_t)omp_get_thread_num() * program->scratch_stride;
    float *left = panels + T * D, *right = left + block + PACK_SLACK;
    return (struct rooms){panels, left, right, right + T * D};
}

/* Where a block of results is made: in place, or in a room of rows `columns` long. */
static float *block_open(struct values to, float *room, int64_t stride, int64_t columns, int64_t *apart)
{
    *apart = to.narrow ? columns : stride;
    return to.narrow ? room : (float *)(void *)to.at;
}

static void block_close(struct values to, const float *room, int64_t rows, int64_t columns, int64_t stride)
{
    if (to.narrow)
        values_rows_put(to, room, rows, columns, stride);
}

/* Are both operands and the result bf16? Their products then are pairs'. */
static bool all_narrow(const struct program *program, const struct node *node)
{
    return values_input(program, node, 0).narrow && values_input(program, node, 1).narrow &&
           values_output(program, node, 0).narrow;
}

static const uint16_t *narrow_at(struct values x, int64_t i)
{
    return (const uint16_t *)(const void *)x.at + i;
}

/* The product of a head's block by this thread, for each head and block that `block` describes from `t` on. */
static void blocks_multiply(struct program *program, const struct node *node, float alpha,
                            struct gemm_bf16 (*block)(const struct program *, const struct node *, int64_t pair,
                                                      int64_t t, int64_t rows))
{
    const int64_t T = node->dims.context;
#pragma omp parallel num_threads(program->threads)
    {
        float *scratch = program->scratch + (size_t)omp_get_thread_num() * program->scratch_stride;
        pairs_begin(program->amx);
#pragma omp for schedule(static)
        for (int64_t pair = 0; pair < node->dims.batch * node->dims.heads; pair++)
            for (int64_t t = 0; t < T; t += PAIR_ROWS) {
                const struct gemm_bf16 g = block(program, node, pair, t, T - t < PAIR_ROWS ? T - t : PAIR_ROWS);
                ISA(gemm_bf16_alone)(&g, alpha, program->amx, scratch);
            }
        pairs_end(program->amx);
    }
}

static struct gemm_bf16 scores_block(const struct program *program, const struct node *node, int64_t pair, int64_t t,
                                     int64_t rows)
{
    const int64_t T = node->dims.context, left_stride = cpu_stride(program, node->input[0]);
    const struct values s = values_output(program, node, 0);
    return (struct gemm_bf16){.m = rows,
                              .n = t + rows,
                              .k = node->dims.head_dim,
                              .a = narrow_at(head_at(program, node, node->input[0], pair), t * left_stride),
                              .a_rs = left_stride,
                              .a_ks = 1,
                              .b = narrow_at(head_at(program, node, node->input[1], pair), 0),
                              .b_ks = 1,
                              .b_cs = cpu_stride(program, node->input[1]),
                              .c = values_from(s, (pair * T + t) * T).at,
                              .ldc = T,
                              .narrow = true};
}

/* Rows from t on of p v, or of pᵀ v. */
static struct gemm_bf16 weighted_any(const struct program *program, const struct node *node, int64_t pair, int64_t t,
                                     int64_t rows, bool turned)
{
    const int64_t T = node->dims.context, v_stride = cpu_stride(program, node->input[1]),
                  o_stride = cpu_stride(program, node->output[0]);
    const struct values p = values_input(program, node, 0);
    return (struct gemm_bf16){.m = rows,
                              .n = node->dims.head_dim,
                              .k = turned ? T - t : t + rows,
                              .a = narrow_at(p, (pair * T + t) * T + (turned ? t : 0)),
                              .a_rs = turned ? 1 : T,
                              .a_ks = turned ? T : 1,
                              .b = narrow_at(head_at(program, node, node->input[1], pair), turned ? t * v_stride : 0),
                              .b_ks = v_stride,
                              .b_cs = 1,
                              .c = values_from(head_at(program, node, node->output[0], pair), t * o_stride).at,
                              .ldc = o_stride,
                              .narrow = true};
}

static struct gemm_bf16 weighted_block(const struct program *program, const struct node *node, int64_t pair, int64_t t,
                                       int64_t rows)
{
    return weighted_any(program, node, pair, t, rows, false);
}

static struct gemm_bf16 turned_block(const struct program *program, const struct node *node, int64_t pair, int64_t t,
                                     int64_t rows)
{
    return weighted_any(program, node, pair, t, rows, true);
}

/* s[t,u] = alpha · Σ_d left[t,d] right[u,d] for u ≤ t, and what else the blocks on the diagonal hold. */
static void scores(struct program *program, const struct node *node, float alpha)
{
    const int64_t T = node->dims.context, D = node->dims.head_dim;
    const int64_t left_stride = cpu_stride(program, node->input[0]), right_stride = cpu_stride(program, node->input[1]);
    if (all_narrow(program, node)) {
        blocks_multiply(program, node, alpha, scores_block);
        return;
    }
#pragma omp parallel for schedule(static) num_threads(program->threads)
    for (int64_t pair = 0; pair < node->dims.batch * node->dims.heads; pair++) {
        const struct rooms rooms = rooms_of(program, node);
        const struct values left = head_at(program, node, node->input[0], pair),
                            s = values_from(values_output(program, node, 0), pair * T * T);
        int64_t apart;
        const float *right =
            values_wide(head_at(program, node, node->input[1], pair), T, D, right_stride, rooms.right, &apart);
        pack_b(right, 1, apart, D, T, rooms.panels);
        for (int64_t t = 0; t < T; t += ROWS) {
            const int64_t rows = T - t < ROWS ? T - t : ROWS;
            const struct values to = values_from(s, t * T);
            int64_t a_apart, c_apart;
            const float *a =
                values_wide(values_from(left, t * left_stride), rows, D, left_stride, rooms.left, &a_apart);
            float *c = block_open(to, rooms.out, T, t + rows, &c_apart);
            tile_multiply(rows, t + rows, D, alpha, a, a_apart, 1, rooms.panels, D * NR, c, c_apart, TILE_STORE);
            block_close(to, c, rows, t + rows, T);
        }
    }
}

/* o[t,d] = alpha · Σ_{u≤t} p[t,u] v[u,d], where p is zero above the diagonal. */
static void weighted(struct program *program, const struct node *node, float alpha)
{
    const int64_t T = node->dims.context, D = node->dims.head_dim;
    const int64_t v_stride = cpu_stride(program, node->input[1]), o_stride = cpu_stride(program, node->output[0]);
    if (all_narrow(program, node)) {
        blocks_multiply(program, node, alpha, weighted_block);
        return;
    }
#pragma omp parallel for schedule(static) num_threads(program->threads)
    for (int64_t pair = 0; pair < node->dims.batch * node->dims.heads; pair++) {
        const struct rooms rooms = rooms_of(program, node);
        const struct values p = values_from(values_input(program, node, 0), pair * T * T),
                            o = head_at(program, node, node->output[0], pair);
        int64_t apart;
        const float *v = values_wide(head_at(program, node, node->input[1], pair), T, D, v_stride, rooms.right, &apart);
        pack_b(v, apart, 1, T, D, rooms.panels);
        for (int64_t t = 0; t < T; t += ROWS) {
            const int64_t rows = T - t < ROWS ? T - t : ROWS;
            const struct values to = values_from(o, t * o_stride);
            int64_t a_apart, c_apart;
            const float *a = values_wide(values_from(p, t * T), rows, t + rows, T, rooms.left, &a_apart);
            float *c = block_open(to, rooms.out, o_stride, D, &c_apart);
            tile_multiply(rows, D, t + rows, alpha, a, a_apart, 1, rooms.panels, T * NR, c, c_apart, TILE_STORE);
            block_close(to, c, rows, D, o_stride);
        }
    }
}

/* o[u,d] = alpha · Σ_{t≥u} p[t,u] x[t,d]. The block of pᵀ is packed: read in place, its column would lie in few cache
 * sets. */
static void weighted_transposed(struct program *program, const struct node *node, float alpha)
{
    const int64_t T = node->dims.context, D = node->dims.head_dim;
    const int64_t x_stride = cpu_stride(program, node->input[1]), o_stride = cpu_stride(program, node->output[0]);
    if (all_narrow(program, node)) {
        blocks_multiply(program, node, alpha, turned_block);
        return;
    }
#pragma omp parallel for schedule(static) num_threads(program->threads)
    for (int64_t pair = 0; pair < node->dims.batch * node->dims.heads; pair++) {
        const struct rooms rooms = rooms_of(program, node);
        const struct values p = values_from(values_input(program, node, 0), pair * T * T),
                            o = head_at(program, node, node->output[0], pair);
        int64_t apart;
        const float *x = values_wide(head_at(program, node, node->input[1], pair), T, D, x_stride, rooms.right, &apart);
        pack_b(x, apart, 1, T, D, rooms.panels);
        for (int64_t u = 0; u < T; u += ROWS) {
            const int64_t rows = T - u < ROWS ? T - u : ROWS, depth = T - u;
            const struct values to = values_from(o, u * o_stride);
            int64_t p_apart, c_apart;
            const float *block = values_wide(values_from(p, u * T + u), depth, rows, T, rooms.out, &p_apart);
            float *c = block_open(to, rooms.out, o_stride, D, &c_apart);
            pack_a(block, 1, p_apart, rows, depth, rooms.left);
            for (int64_t i = 0; i < rows; i += MR)
                tile_multiply(rows - i < MR ? rows - i : MR, D, depth, alpha, rooms.left + i * depth, 1, MR,
                              rooms.panels + u * NR, T * NR, c + i * c_apart, c_apart, TILE_STORE);
            block_close(to, c, rows, D, o_stride);
        }
    }
}

/* s = q kᵀ · scale */
void ISA(attn_scores)(struct program *program, const struct node *node)
{
    scores(program, node, node->scale);
}
/* dq = ds k · scale */
void ISA(attn_scores_backward_q)(struct program *program, const struct node *node)
{
    weighted(program, node, node->scale);
}
/* dk = dsᵀ q · scale */
void ISA(attn_scores_backward_k)(struct program *program, const struct node *node)
{
    weighted_transposed(program, node, node->scale);
}
/* o = p v */
void ISA(attn_values)(struct program *program, const struct node *node)
{
    weighted(program, node, 1);
}
/* dp = do vᵀ */
void ISA(attn_values_backward_p)(struct program *program, const struct node *node)
{
    scores(program, node, 1);
}
/* dv = pᵀ do */
void ISA(attn_values_backward_v)(struct program *program, const struct node *node)
{
    weighted_transposed(program, node, 1);
}
