/* Causal softmax over the rows of (B, H, T, T) scores, and its gradient. Masked entries are neither read nor computed. */
#include "kernels/cpu/simd/simd.h"

cpu_kernel ISA(causal_softmax), ISA(causal_softmax_backward);

/* p[u] = exp(s[u] − max) / Σ for u < count, zero up to `columns`. */
static inline void row_forward(const float *s, float *p, int64_t count, int64_t columns)
{
    vf top = vf_set(-INFINITY), sum = {0};
    float largest = -INFINITY;
    int64_t u = 0;
    for (; u + VN <= count; u += VN)
        top = vf_max(top, vf_load(s + u));
    largest = vf_largest(top);
    for (; u < count; u++)
        largest = s[u] > largest ? s[u] : largest;
    for (u = 0; u + VN <= count; u += VN) {
        const vf e = vf_exp(vf_load(s + u) - largest);
        vf_store(p + u, e);
        sum += e;
    }
    float total = vf_sum(sum);
    if (u < count) {
        const vf e = vf_exp(vf_get(s + u, count - u) - largest);
        vf_put(p + u, e, count - u);
        for (int64_t i = 0; i < count - u; i++)
            total += e[i];
    }
    const float inverse = 1.0f / total;
    for (u = 0; u < count; u += VN)
        vf_put(p + u, vf_get(p + u, count - u) * inverse, count - u);
    memset(p + count, 0, (size_t)(columns - count) * sizeof *p);
}

void ISA(causal_softmax)(struct program *program, const struct node *node)
{
    const float *s = cpu_input(program, node, 0);
    float *p = cpu_output(program, node, 0);
    const int64_t T = node->dims.context, pairs = node->dims.batch * node->dims.heads;
#pragma omp parallel for schedule(static) collapse(2) num_threads(program->threads)
    for (int64_t pair = 0; pair < pairs; pair++)
        for (int64_t t = 0; t < T; t++)
            row_forward(s + (pair * T + t) * T, p + (pair * T + t) * T, t + 1, T);
}

/* ds = p · (dp − Σ dp·p) */
void ISA(causal_softmax_backward)(struct program *program, const struct node *node)
{
    const float *dp = cpu_input(program, node, 0), *p = cpu_input(program, node, 1);
    float *ds = cpu_output(program, node, 0);
    const int64_t T = node->dims.context, pairs = node->dims.batch * node->dims.heads;
#pragma omp parallel for schedule(static) collapse(2) num_threads(program->threads)
    for (int64_t pair = 0; pair < pairs; pair++)
        for (int64_t t = 0; t < T; t++) {
            const int64_t row = (pair * T + t) * T, count = t + 1;
            vf sum = {0};
            for (int64_t u = 0; u < count; u += VN)
                sum += vf_get(dp + row + u, count - u) * vf_get(p + row + u, count - u);
            const float total = vf_sum(sum);
            for (int64_t u = 0; u < count; u += VN)
                vf_put(ds + row + u, vf_get(p + row + u, count - u) * (vf_get(dp + row + u, count - u) - total),
                       count - u);
            memset(ds + row + count, 0, (size_t)(T - count) * sizeof *ds);
        }
}
