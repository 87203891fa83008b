/* RMSNorm, alone and with the residual add before it, and its gradient. Statistics in fp32. */
#include "kernels/cpu/simd/values.h"

cpu_kernel ISA(rmsnorm), ISA(add_rmsnorm), ISA(rmsnorm_backward);

/* y = x · rstd · w of one row; returns rstd = 1/√(mean(x²) + ε). With r the row is x + r, written to z first. */
static inline float row_forward(struct values x, struct values r, const float *w, struct values z, struct values y,
                                int64_t columns, float epsilon)
{
    vf sum = {0};
    for (int64_t c = 0; c < columns; c += VN) {
        vf value = values_get(x, c, columns - c);
        if (r.at) {
            value += values_get(r, c, columns - c);
            values_put(z, c, value, columns - c);
        }
        sum += value * value;
    }
    const struct values from = r.at ? z : x;
    const float rstd = 1.0f / sqrtf(vf_sum(sum) / (float)columns + epsilon);
    for (int64_t c = 0; c < columns; c += VN)
        values_put(y, c, values_get(from, c, columns - c) * rstd * vf_get(w + c, columns - c), columns - c);
    return rstd;
}

void ISA(rmsnorm)(struct program *program, const struct node *node)
{
    const struct values x = values_input(program, node, 0), y = values_output(program, node, 0), none = {NULL, false};
    const float *w = cpu_input(program, node, 1);
    float *rstd = cpu_output(program, node, 1);
    const int64_t columns = node->dims.d_in;
#pragma omp parallel for schedule(static) num_threads(program->threads)
    for (int64_t n = 0; n < node->dims.rows; n++)
        rstd[n] = row_forward(values_from(x, n * columns), none, w, none, values_from(y, n * columns), columns,
                              node->epsilon);
}

void ISA(add_rmsnorm)(struct program *program, const struct node *node)
{
    const struct values x = values_input(program, node, 0), r = values_input(program, node, 1),
                        z = values_output(program, node, 0), y = values_output(program, node, 1);
    const float *w = cpu_input(program, node, 2);
    float *rstd = cpu_output(program, node, 2);
    const int64_t columns = node->dims.d_in;
#pragma omp parallel for schedule(static) num_threads(program->threads)
    for (int64_t n = 0; n < node->dims.rows; n++)
        rstd[n] = row_forward(values_from(x, n * columns), values_from(r, n * columns), w, values_from(z, n * columns),
                              values_from(y, n * columns), columns, node->epsilon);
}

/* With x̂ = x·rstd and g = dy·w:  dx = rstd·(g − x̂·mean(g·x̂)) [+ dres], also as bf16 where asked for; adds dy·x̂ to dw. One row. */
static inline void row_backward(struct values dy, struct values x, const float *w, float rstd, struct values dres,
                                struct values dx, struct values dx16, float *dw, int64_t columns)
{
    vf sum = {0};
    for (int64_t c = 0; c < columns; c += VN) {
        const int64_t n = columns - c;
        const vf scaled = values_get(dy, c, n) * (values_get(x, c, n) * rstd);
        vf_put(dw + c, vf_get(dw + c, n) + scaled, n);
        sum += scaled * vf_get(w + c, n);
    }
    const float mean = vf_sum(sum) / (float)columns;
    for (int64_t c = 0; c < columns; c += VN) {
        const int64_t n = columns - c;
        vf value = rstd * (values_get(dy, c, n) * vf_get(w + c, n) - values_get(x, c, n) * rstd * mean);
        if (dres.at)
            value += values_get(dres, c, n);
        values_put(dx, c, value, n);
        if (dx16.at)
            values_put(dx16, c, value, n);
    }
}

/* Each thread sums its rows' share of dw in its scratch; then the shares are added in the order of the threads, so the
 * result depends on their number alone. */
void ISA(rmsnorm_backward)(struct program *program, const struct node *node)
{
    const struct values dy = values_input(program, node, 0), x = values_input(program, node, 1),
                        dres = values_input(program, node, 4), dx = values_output(program, node, 0),
                        dx16 = values_output(program, node, 2);
    const float *w = cpu_input(program, node, 2), *rstd = cpu_input(program, node, 3);
    float *dw = cpu_output(program, node, 1);
    const int64_t columns = node->dims.d_in;
#pragma omp parallel num_threads(program->threads)
    {
        const int threads = omp_get_num_threads();
        float *share = program->scratch + (size_t)omp_get_thread_num() * program->scratch_stride;
        int64_t begin, end;
        memset(share, 0, (size_t)columns * sizeof *share);
        thread_range(node->dims.rows, 1, &begin, &end);
        for (int64_t n = begin; n < end; n++)
            row_backward(values_from(dy, n * columns), values_from(x, n * columns), w, rstd[n],
                         values_from(dres, n * columns), values_from(dx, n * columns), values_from(dx16, n * columns),
                         share, columns);
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
