/* Cross entropy over the vocabulary: alone, its gradient, and both in one pass over a row while it is in cache. */
#include "kernels/cpu/simd/simd.h"

cpu_kernel ISA(cross_entropy), ISA(cross_entropy_backward), ISA(cross_entropy_fused);

static inline float row_largest(const float *row, int64_t count)
{
    vf top = vf_set(-INFINITY);
    int64_t v = 0;
    for (; v + VN <= count; v += VN)
        top = vf_max(top, vf_load(row + v));
    float largest = vf_largest(top);
    for (; v < count; v++)
        largest = row[v] > largest ? row[v] : largest;
    return largest;
}

/* Σ exp(row − top); the terms themselves to `terms` when given, which may be the row. */
static inline float row_exp_sum(const float *row, int64_t count, float top, float *terms)
{
    vf sum = {0};
    int64_t v = 0;
    for (; v + VN <= count; v += VN) {
        const vf e = vf_exp(vf_load(row + v) - top);
        if (terms)
            vf_store(terms + v, e);
        sum += e;
    }
    float total = vf_sum(sum);
    if (v < count) {
        const vf e = vf_exp(vf_get(row + v, count - v) - top);
        if (terms)
            vf_put(terms + v, e, count - v);
        for (int64_t i = 0; i < count - v; i++)
            total += e[i];
    }
    return total;
}

/* The rows' losses are added by one thread in double, in their order. */
static float mean_of(const float *losses, int64_t rows)
{
    double sum = 0;
    for (int64_t n = 0; n < rows; n++)
        sum += (double)losses[n];
    return (float)(sum / (double)rows);
}

void ISA(cross_entropy)(struct program *program, const struct node *node)
{
    const float *logits = cpu_input(program, node, 0);
    const int32_t *targets = program->data[node->input[1]];
    float *loss = cpu_output(program, node, 0), *lse = cpu_output(program, node, 1), *losses = program->scratch;
    const int64_t V = node->dims.vocab, rows = node->dims.rows;
#pragma omp parallel for schedule(static) num_threads(program->threads)
    for (int64_t n = 0; n < rows; n++) {
        const float *row = logits + n * V;
        const float top = row_largest(row, V);
        lse[n] = top + logf(row_exp_sum(row, V, top, NULL));
        losses[n] = lse[n] - row[targets[n]];
    }
    loss[0] = mean_of(losses, rows);
}

/* dlogits = (exp(logits − lse) − onehot(target)) / N */
void ISA(cross_entropy_backward)(struct program *program, const struct node *node)
{
    const float *logits = cpu_input(program, node, 0), *lse = cpu_input(program, node, 2);
    const int32_t *targets = program->data[node->input[1]];
    float *dlogits = cpu_output(program, node, 0);
    const int64_t V = node->dims.vocab;
    const float inverse = 1.0f / (float)node->dims.rows;
#pragma omp parallel for schedule(static) num_threads(program->threads)
    for (int64_t n = 0; n < node->dims.rows; n++) {
        const float *row = logits + n * V;
        float *d = dlogits + n * V;
        for (int64_t v = 0; v < V; v += VN)
            vf_put(d + v, vf_exp(vf_get(row + v, V - v) - lse[n]) * inverse, V - v);
        d[targets[n]] -= inverse;
    }
}

/* The loss and dlogits over the logits themselves: exp once, kept in place, then scaled. */
void ISA(cross_entropy_fused)(struct program *program, const struct node *node)
{
    const float *logits = cpu_input(program, node, 0);
    const int32_t *targets = program->data[node->input[1]];
    float *loss = cpu_output(program, node, 0), *dlogits = cpu_output(program, node, 1), *losses = program->scratch;
    const int64_t V = node->dims.vocab, rows = node->dims.rows;
    const float inverse_rows = 1.0f / (float)rows;
#pragma omp parallel for schedule(static) num_threads(program->threads)
    for (int64_t n = 0; n < rows; n++) {
        const float *row = logits + n * V;
        float *d = dlogits + n * V;
        const float top = row_largest(row, V), target = row[targets[n]] - top;
        const float sum = row_exp_sum(row, V, top, d);
        const float scale = inverse_rows / sum;
        losses[n] = logf(sum) - target;
        for (int64_t v = 0; v < V; v += VN)
            vf_put(d + v, vf_get(d + v, V - v) * scale, V - v);
        d[targets[n]] -= inverse_rows;
    }
    loss[0] = mean_of(losses, rows);
}
