/* Linear layers: one sgemm each. */
#include "kernels/cpu/cpu.h"
#include <cblas.h>

void cpu_blas_threads(int threads)
{
    openblas_set_num_threads(threads);
}

void cpu_sgemm(bool a_transposed, bool b_transposed, int64_t m, int64_t n, int64_t k, float alpha, const float *a,
               int64_t lda, const float *b, int64_t ldb, float *c, int64_t ldc)
{
    cblas_sgemm(CblasRowMajor, a_transposed ? CblasTrans : CblasNoTrans, b_transposed ? CblasTrans : CblasNoTrans,
                (blasint)m, (blasint)n, (blasint)k, alpha, a, (blasint)lda, b, (blasint)ldb, 0, c, (blasint)ldc);
}

/* y = x wᵀ        x (N,I), w (O,I), y (N,O) */
void cpu_linear(struct program *program, const struct node *node)
{
    cpu_sgemm(false, true, node->dims.rows, node->dims.d_out, node->dims.d_in, 1, cpu_input(program, node, 0),
              cpu_stride(program, node->input[0]), cpu_input(program, node, 1), cpu_stride(program, node->input[1]),
              cpu_output(program, node, 0), cpu_stride(program, node->output[0]));
}

/* dx = dy w       dy (N,O), w (O,I), dx (N,I) */
void cpu_linear_backward_input(struct program *program, const struct node *node)
{
    cpu_sgemm(false, false, node->dims.rows, node->dims.d_in, node->dims.d_out, 1, cpu_input(program, node, 0),
              cpu_stride(program, node->input[0]), cpu_input(program, node, 1), cpu_stride(program, node->input[1]),
              cpu_output(program, node, 0), cpu_stride(program, node->output[0]));
}

/* dw = dyᵀ x      dy (N,O), x (N,I), dw (O,I) */
void cpu_linear_backward_weight(struct program *program, const struct node *node)
{
    cpu_sgemm(true, false, node->dims.d_out, node->dims.d_in, node->dims.rows, 1, cpu_input(program, node, 0),
              cpu_stride(program, node->input[0]), cpu_input(program, node, 1), cpu_stride(program, node->input[1]),
              cpu_output(program, node, 0), cpu_stride(program, node->output[0]));
}
