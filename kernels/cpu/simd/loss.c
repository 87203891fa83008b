/* Cross entropy over the vocabulary: alone, its gradient, and both in one pass over a row while it is in cache. */
#include "kernels/cpu/simd/values.h"

cpu_kernel ISA(cross_entropy), ISA(cross_entropy_backward), ISA(cross_entropy_fused);

static inline float row_largest(struct values row, int64_t count)
{
    vf top = vf_set(-INFINITY);
    int64_t v = 0;
    for (; v + VN <= count; v += VN)
        top = vf_max(top, values_get(row, v, VN));
    float largest = vf_largest(top);
    for (; v < count; v++) {
        const float one = values_one(row, v);
        largest = one > largest ? one : largest;
    }
    return largest;
}

/* Σ exp(row − top); the terms themselves to `terms` when given, which may be the row. */
static inline float row_exp_sum(struct values row, int64_t count, float top, float *terms)
{
    vf sum = {0};
    int64_t v = 0;
    for (; v + VN <= count; v += VN) {
        const vf e = vf_exp(values_get(row, v, VN) - top);
        if (terms)
            vf_store(terms + v, e);
        sum += e;
    }
    float total = vf_sum(sum);
    if (v < count) {
        const vf e = vf_exp(values_get(row, v, count - v) - top);
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
    const struct values logits = values_input(program, node, 0);
    const int32_t *targets = program->data[node->input[1]];
    float *loss = cpu_output(program, node, 0), *lse = cpu_output(program, node, 1), *losses = program->scratch;
    const int64_t V = node->dims.vocab, rows = node->dims.rows;
#pragma omp parallel for schedule(static) num_threads(program->threads)
    for (int64_t n = 0; n < rows; n++) {
        const struct values row = values_from(logits, n * V);
        const float top = row_largest(row, V);
        lse[n] = top + logf(row_exp_sum(row, V, top, NULL));
        losses[n] = lse[n] - values_one(row, targets[n]);
    }
    loss[0] = mean_of(losses, rows);
}

/* dlogits = (exp(logits − lse) − onehot(target)) / N */
void ISA(cross_entropy_backward)(struct program *program, const struct node *node)
{
    const struct values logits = values_input(program, node, 0), dlogits = values_output(program, node, 0);
    const float *lse = cpu_input(program, node, 2);
    const int32_t *targets = program->data[node->input[1]];
    const int64_t V = node->dims.vocab;
    const float inverse = 1.0f / (float)node->dims.rows;
#pragma omp parallel for schedule(static) num_threads(program->threads)
    for (int64_t n = 0; n < node->dims.rows; n++) {
        const struct values row = values_from(logits, n * V), d = values_from(dlogits, n * V);
        const float own = expf(values_one(row, targets[n]) - lse[n]) * inverse - inverse;
        for (int64_t v = 0; v < V; v += VN)
            values_put(d, v, vf_exp(values_get(row, v, V - v) - lse[n]) * inverse, V - v);
        values_put(d, targets[n], vf_set(own), 1);
    }
}

/* The loss and dlogits over the logits themselves: exp once, kept in place, then scaled. */
void ISA(cross_entropy_fused)(struct program *program, const struct node *node)
{
    const struct values logits = values_input(program, node, 0), dlogits = values_output(program, node, 1);
    const int32_t *targets = program->data[node->input[1]];
    float *loss = cpu_output(program, node, 0), *losses = program->scratch;
    const int64_t V = node->dims.vocab, rows = node->dims.rows;
    const float inverse_rows = 1.0f / (float)rows;
#pragma omp parallel for schedule(static) num_threads(program->threads)
    for (int64_t n = 0; n < rows; n++) {
        const struct values row = values_from(logits, n * V), d = values_from(dlogits, n * V);
        const float top = row_largest(row, V), target = values_one(row, targets[n]) - top;
        const float sum = row_exp_sum(row, V, top, d.narrow ? NULL : (float *)(void *)d.at);
        const float scale = inverse_rows / sum;
        losses[n] = logf(sum) - target;
        for (int64_t v = 0; v < V; v += VN) {
            const vf e =
                values_get(d, v, V - v); /* the row itself where it is bf16, which would round the terms twice */
            values_put(d, v, (d.narrow ? vf_exp(e - top) : e) * scale, V - v);
        }
        values_put(d, targets[n], vf_set(expf(target) * scale - inverse_rows), 1);
    }
    loss[0] = mean_of(losses, rows);
}
