/* The separate attention ops of eager mode: one small GEMM for each batch and head. A GEMM of one head is too small for
 * two threads to share, so the threads share the heads; inside the parallel region OpenBLAS runs on the calling thread. */
#include "kernels/cpu/cpu.h"

/* Operands are heads of an (N, C) tensor or T × T matrices of a (B, H, T, T) one. */
enum shape { HEADS, PAIRS };

static const float *operand(const struct program *program, const struct node *node, int32_t tensor, enum shape shape,
                            int64_t pair, int64_t *stride)
{
    const int64_t T = node->dims.context, H = node->dims.heads, D = node->dims.head_dim;
    const float *values = program->data[tensor];
    if (shape == PAIRS) {
        *stride = T;
        return values + pair * T * T;
    }
    *stride = cpu_stride(program, tensor);
    return values + pair / H * T * *stride + pair % H * D;
}

/* out = alpha · op(left) op(right) for every batch and head. */
static void batched(struct program *program, const struct node *node, enum shape left, bool left_transposed,
                    bool right_transposed, enum shape out, float alpha)
{
    const int64_t T = node->dims.context, D = node->dims.head_dim, pairs = node->dims.batch * node->dims.heads;
    const int64_t n = out == PAIRS ? T : D, k = left == PAIRS ? T : D;
#pragma omp parallel for schedule(static) num_threads(program->threads)
    for (int64_t pair = 0; pair < pairs; pair++) {
        int64_t lda, ldb, ldc;
        const float *a = operand(program, node, node->input[0], left, pair, &lda);
        const float *b = operand(program, node, node->input[1], HEADS, pair, &ldb);
        float *c = (float *)operand(program, node, node->output[0], out, pair, &ldc);
        cpu_sgemm(left_transposed, right_transposed, T, n, k, alpha, a, lda, b, ldb, c, ldc);
    }
}

/* s = q kᵀ · scale */
void cpu_attn_scores(struct program *program, const struct node *node)
{
    batched(program, node, HEADS, false, true, PAIRS, node->scale);
}

/* dq = ds k · scale */
void cpu_attn_scores_backward_q(struct program *program, const struct node *node)
{
    batched(program, node, PAIRS, false, false, HEADS, node->scale);
}

/* dk = dsᵀ q · scale */
void cpu_attn_scores_backward_k(struct program *program, const struct node *node)
{
    batched(program, node, PAIRS, true, false, HEADS, node->scale);
}

/* o = p v */
void cpu_attn_values(struct program *program, const struct node *node)
{
    batched(program, node, PAIRS, false, false, HEADS, 1);
}

/* dp = do vᵀ */
void cpu_attn_values_backward_p(struct program *program, const struct node *node)
{
    batched(program, node, HEADS, false, true, PAIRS, 1);
}

/* dv = pᵀ do */
void cpu_attn_values_backward_v(struct program *program, const struct node *node)
{
    batched(program, node, PAIRS, true, false, HEADS, 1);
}
