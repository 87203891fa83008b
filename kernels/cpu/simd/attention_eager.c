/* The separate attention ops of eager mode: one small product for each batch and head. A product of one head is too small
 * for threads to share, so the threads share the heads. Whatever the causal mask makes zero or unread is skipped a block
 * at a time: scores above the diagonal are left as they are, and nobody reads them. */
#include "kernels/cpu/simd/attention.h"
#include "kernels/cpu/simd/pack.h"

cpu_kernel ISA(attn_scores), ISA(attn_scores_backward_q), ISA(attn_scores_backward_k), ISA(attn_values),
    ISA(attn_values_backward_p), ISA(attn_values_backward_v);

#define ROWS ATTENTION_ROWS

/* First element of a head of an (N, C) tensor. */
static float *head_at(const struct program *program, const struct node *node, int32_t tensor, int64_t pair)
{
    const int64_t T = node->dims.context, H = node->dims.heads, D = node->dims.head_dim;
    return (float *)program->data[tensor] + pair / H * T * cpu_stride(program, tensor) + pair % H * D;
}

/* s[t,u] = alpha · Σ_d left[t,d] right[u,d] for u ≤ t, and what else the blocks on the diagonal hold. */
static void scores(struct program *program, const struct node *node, float alpha)
{
    const int64_t T = node->dims.context, D = node->dims.head_dim;
    const int64_t left_stride = cpu_stride(program, node->input[0]), right_stride = cpu_stride(program, node->input[1]);
#pragma omp parallel for schedule(static) num_threads(program->threads)
    for (int64_t pair = 0; pair < node->dims.batch * node->dims.heads; pair++) {
        float *panels = program->scratch + (size_t)omp_get_thread_num() * program->scratch_stride;
        const float *left = head_at(program, node, node->input[0], pair);
        float *s = cpu_output(program, node, 0) + pair * T * T;
        pack_b(head_at(program, node, node->input[1], pair), 1, right_stride, D, T, panels);
        for (int64_t t = 0; t < T; t += ROWS) {
            const int64_t rows = T - t < ROWS ? T - t : ROWS;
            tile_multiply(rows, t + rows, D, alpha, left + t * left_stride, left_stride, 1, panels, D * NR, s + t * T,
                          T, TILE_STORE);
        }
    }
}

/* o[t,d] = alpha · Σ_{u≤t} p[t,u] v[u,d], where p is zero above the diagonal. */
static void weighted(struct program *program, const struct node *node, float alpha)
{
    const int64_t T = node->dims.context, D = node->dims.head_dim;
    const int64_t v_stride = cpu_stride(program, node->input[1]), o_stride = cpu_stride(program, node->output[0]);
#pragma omp parallel for schedule(static) num_threads(program->threads)
    for (int64_t pair = 0; pair < node->dims.batch * node->dims.heads; pair++) {
        float *panels = program->scratch + (size_t)omp_get_thread_num() * program->scratch_stride;
        const float *p = cpu_input(program, node, 0) + pair * T * T;
        float *o = head_at(program, node, node->output[0], pair);
        pack_b(head_at(program, node, node->input[1], pair), v_stride, 1, T, D, panels);
        for (int64_t t = 0; t < T; t += ROWS) {
            const int64_t rows = T - t < ROWS ? T - t : ROWS;
            tile_multiply(rows, D, t + rows, alpha, p + t * T, T, 1, panels, T * NR, o + t * o_stride, o_stride,
                          TILE_STORE);
        }
    }
}

/* o[u,d] = alpha · Σ_{t≥u} p[t,u] x[t,d]. The block of pᵀ is packed: read in place, its column would lie in few cache
 * sets. */
static void weighted_transposed(struct program *program, const struct node *node, float alpha)
{
    const int64_t T = node->dims.context, D = node->dims.head_dim;
    const int64_t x_stride = cpu_stride(program, node->input[1]), o_stride = cpu_stride(program, node->output[0]);
#pragma omp parallel for schedule(static) num_threads(program->threads)
    for (int64_t pair = 0; pair < node->dims.batch * node->dims.heads; pair++) {
        float *panels = program->scratch + (size_t)omp_get_thread_num() * program->scratch_stride;
        float *turned = panels + (D + NR - 1) / NR * NR * T;
        const float *p = cpu_input(program, node, 0) + pair * T * T;
        float *o = head_at(program, node, node->output[0], pair);
        pack_b(head_at(program, node, node->input[1], pair), x_stride, 1, T, D, panels);
        for (int64_t u = 0; u < T; u += ROWS) {
            const int64_t rows = T - u < ROWS ? T - u : ROWS, depth = T - u;
            pack_a(p + u * T + u, 1, T, rows, depth, turned);
            for (int64_t i = 0; i < rows; i += MR)
                tile_multiply(rows - i < MR ? rows - i : MR, D, depth, alpha, turned + i * depth, 1, MR,
                              panels + u * NR, T * NR, o + (u + i) * o_stride, o_stride, TILE_STORE);
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
