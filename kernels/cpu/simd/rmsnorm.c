/* RMSNorm, alone and with the residual add before it, and its gradient. Statistics in fp32. */
#include "kernels/cpu/simd/simd.h"

cpu_kernel ISA(rmsnorm), ISA(add_rmsnorm), ISA(rmsnorm_backward);

/* y = x · rstd · w of one row; returns rstd = 1/√(mean(x²) + ε). With r the row is x + r, written to z first. */
static inline float row_forward(const float *x, const float *r, const float *w, float *z, float *y, int64_t columns,
                                float epsilon)
{
    vf sum = {0};
    for (int64_t c = 0; c < columns; c += VN) {
        vf value = vf_get(x + c, columns - c);
        if (r) {
            value += vf_get(r + c, columns - c);
            vf_put(z + c, value, columns - c);
        }
        sum += value * value;
    }
    const float *from = r ? z : x;
    const float rstd = 1.0f / sqrtf(vf_sum(sum) / (float)columns + epsilon);
    for (int64_t c = 0; c < columns; c += VN)
        vf_put(y + c, vf_get(from + c, columns - c) * rstd * vf_get(w + c, columns - c), columns - c);
    return rstd;
}

void ISA(rmsnorm)(struct program *program, const struct node *node)
{
    const float *x = cpu_input(program, node, 0), *w = cpu_input(program, node, 1);
    float *y = cpu_output(program, node, 0), *rstd = cpu_output(program, node, 1);
    const int64_t columns = node->dims.d_in;
#pragma omp parallel for schedule(static) num_threads(program->threads)
    for (int64_t n = 0; n < node->dims.rows; n++)
        rstd[n] = row_forward(x + n * columns, NULL, w, NULL, y + n * columns, columns, node->epsilon);
}

void ISA(add_rmsnorm)(struct program *program, const struct node *node)
{
    const float *x = cpu_input(program, node, 0), *r = cpu_input(program, node, 1), *w = cpu_input(program, node, 2);
    float *z = cpu_output(program, node, 0), *y = cpu_output(program, node, 1), *rstd = cpu_output(program, node, 2);
    const int64_t columns = node->dims.d_in;
#pragma omp parallel for schedule(static) num_threads(program->threads)
    for (int64_t n = 0; n < node->dims.rows; n++)
        rstd[n] =
            row_forward(x + n * columns, r + n * columns, w, z + n * columns, y + n * columns, columns, node->epsilon);
}

/* With x̂ = x·rstd and g = dy·w:  dx = rstd·(g − x̂·mean(g·x̂)) [+ dres]; adds dy·x̂ to dw. One row. */
static inline void row_backward(const float *dy, const float *x, const float *w, float rstd, const float *dres,
                                float *dx, float *dw, int64_t columns)
{
    vf sum = {0};
    for (int64_t c = 0; c < columns; c += VN) {
        const int64_t n = columns - c;
        const vf scaled = vf_get(dy + c, n) * (vf_get(x + c, n) * rstd);
        vf_put(dw + c, vf_get(dw + c, n) + scaled, n);
        sum += scaled * vf_get(w + c, n);
    }
    const float mean = vf_sum(sum) / (float)columns;
    for (int64_t c = 0; c < columns; c += VN) {
        const int64_t n = columns - c;
        vf value = rstd * (vf_get(dy + c, n) * vf_get(w + c, n) - vf_get(x + c, n) * rstd * mean);
        if (dres)
            value += vf_get(dres + c, n);
        vf_put(dx + c, value, n);
    }
}

/* Each thread sums its rows' share of dw in its scratch; then the shares are added in the order of the threads, so the
 * result depends on their number alone. */
void ISA(rmsnorm_backward)(struct program *program, const struct node *node)
{
    const float *dy = cpu_input(program, node, 0), *x = cpu_input(program, node, 1), *w = cpu_input(program, node, 2),
                *rstd = cpu_input(program, node, 3), *dres = cpu_input(program, node, 4);
    float *dx = cpu_output(program, node, 0), *dw = cpu_output(program, node, 1);
    const int64_t columns = node->dims.d_in;
#pragma omp parallel num_threads(program->threads)
    {
        const int threads = omp_get_num_threads();
        float *share = program->scratch + (size_t)omp_get_thread_num() * program->scratch_stride;
        int64_t begin, end;
        memset(share, 0, (size_t)columns * sizeof *share);
        thread_range(node->dims.rows, 1, &begin, &end);
        for (int64_t n = begin; n < end; n++)
            row_backward(dy + n * columns, x + n * columns, w, rstd[n], dres ? dres + n * columns : NULL,
                         dx + n * columns, share, columns);
#pragma omp barrier
        thread_range(columns, VN, &begin, &end);
        for (int64_t c = begin; c < end; c += VN) {
            vf sum = vf_get(program->scratch + c, end - c);
            for (int t = 1; t < threads; t++)
                sum += vf_get(program->scratch + (size_t)t * program->scratch_stride + c, end - c);
            vf_put(dw + c, sum, end - c);
        }
    }
}
