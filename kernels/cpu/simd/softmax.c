/* Causal softmax over the rows of (B, H, T, T) scores, and its gradient. Masked entries are neither read nor computed. */
#include "kernels/cpu/simd/values.h"

cpu_kernel ISA(causal_softmax), ISA(causal_softmax_backward);

/* p[u] = exp(s[u] − max) / Σ for u < count, zero up to `columns`. In fp32 the exponentials wait where p comes; bf16 would round
 * them twice, so they are made again. */
static inline void row_forward(struct values s, struct values p, int64_t count, int64_t columns)
{
    vf top = vf_set(-INFINITY), sum = {0};
    int64_t u = 0;
    for (; u + VN <= count; u += VN)
        top = vf_max(top, values_get(s, u, VN));
    float largest = vf_largest(top);
    for (; u < count; u++) {
        const float one = values_one(s, u);
        largest = one > largest ? one : largest;
    }
    for (u = 0; u + VN <= count; u += VN) {
        const vf e = vf_exp(values_get(s, u, VN) - largest);
        if (!p.narrow)
            values_put(p, u, e, VN);
        sum += e;
    }
    float total = vf_sum(sum);
    if (u < count) {
        const vf e = vf_exp(values_get(s, u, count - u) - largest);
        if (!p.narrow)
            values_put(p, u, e, count - u);
        for (int64_t i = 0; i < count - u; i++)
            total += e[i];
    }
    const float inverse = 1.0f / total;
    for (u = 0; u < count; u += VN) {
        const vf e = p.narrow ? vf_exp(values_get(s, u, count - u) - largest) : values_get(p, u, count - u);
        values_put(p, u, e * inverse, count - u);
    }
    values_clear(p, count, columns - count);
}

void ISA(causal_softmax)(struct program *program, const struct node *node)
{
    const struct values s = values_input(program, node, 0), p = values_output(program, node, 0);
    const int64_t T = node->dims.context, pairs = node->dims.batch * node->dims.heads;
#pragma omp parallel for schedule(static) collapse(2) num_threads(program->threads)
    for (int64_t pair = 0; pair < pairs; pair++)
        for (int64_t t = 0; t < T; t++)
            row_forward(values_from(s, (pair * T + t) * T), values_from(p, (pair * T + t) * T), t + 1, T);
}

/* ds = p · (dp − Σ dp·p) */
void ISA(causal_softmax_backward)(struct program *program, const struct node *node)
{
    const struct values dp = values_input(program, node, 0), p = values_input(program, node, 1),
                        ds = values_output(program, node, 0);
    const int64_t T = node->dims.context, pairs = node->dims.batch * node->dims.heads;
#pragma omp parallel for schedule(static) collapse(2) num_threads(program->threads)
    for (int64_t pair = 0; pair < pairs; pair++)
        for (int64_t t = 0; t < T; t++) {
            const int64_t row = (pair * T + t) * T, count = t + 1;
            vf sum = {0};
            for (int64_t u = 0; u < count; u += VN)
                sum += values_get(dp, row + u, count - u) * values_get(p, row + u, count - u);
            const float total = vf_sum(sum);
            for (int64_t u = 0; u < count; u += VN)
                values_put(ds, row + u,
                           values_get(p, row + u, count - u) * (values_get(dp, row + u, count - u) - total), count - u);
            values_clear(ds, row + count, T - count);
        }
}
