/* Cross entropy and AdamW, in double. */
#include "kernels/reference/internal.h"
#include <math.h>

#define IN(k) reference_matrix(program, node->input[k])
#define OUT(k) reference_matrix(program, node->output[k])

static double log_sum_exp(const double *row, int64_t count)
{
    double top = -INFINITY, sum = 0;
    for (int64_t v = 0; v < count; v++)
        top = fmax(top, row[v]);
    for (int64_t v = 0; v < count; v++)
        sum += exp(row[v] - top);
    return top + log(sum);
}

/* loss = mean over rows of lse − logits[target] */
void reference_cross_entropy(struct program *program, const struct node *node)
{
    const struct matrix logits = IN(0), targets = IN(1), loss = OUT(0), lse = OUT(1);
    double sum = 0;
    for (int64_t n = 0; n < node->dims.rows; n++) {
        const double *row = logits.v + n * logits.stride;
        lse.v[n] = log_sum_exp(row, node->dims.vocab);
        sum += lse.v[n] - row[(int64_t)targets.v[n]];
    }
    loss.v[0] = sum / (double)node->dims.rows;
}

/* dlogits = (softmax(logits) − onehot(target)) / N */
void reference_cross_entropy_backward(struct program *program, const struct node *node)
{
    const struct matrix logits = IN(0), targets = IN(1), lse = IN(2), dlogits = OUT(0);
    const double rows = (double)node->dims.rows;
    for (int64_t n = 0; n < node->dims.rows; n++)
        for (int64_t v = 0; v < node->dims.vocab; v++)
            dlogits.v[n * dlogits.stride + v] =
                (exp(logits.v[n * logits.stride + v] - lse.v[n]) - ((int64_t)targets.v[n] == v)) / rows;
}

void reference_cross_entropy_fused(struct program *program, const struct node *node)
{
    const struct matrix logits = IN(0), targets = IN(1), loss = OUT(0), dlogits = OUT(1);
    const double rows = (double)node->dims.rows;
    double sum = 0;
    for (int64_t n = 0; n < node->dims.rows; n++) {
        const double *row = logits.v + n * logits.stride;
        const int64_t target = (int64_t)targets.v[n];
        const double lse = log_sum_exp(row, node->dims.vocab);
        sum += lse - row[target];
        for (int64_t v = 0; v < node->dims.vocab; v++)
            dlogits.v[n * dlogits.stride + v] = (exp(row[v] - lse) - (target == v)) / rows;
    }
    loss.v[0] = sum / rows;
}

/* The course's AdamW at step t, counted from 1:
 *   p ← p − lr·λ·p;  m ← β1·m + (1−β1)·g;  v ← β2·v + (1−β2)·g²;  p ← p − lr·√(1−β2ᵗ)/(1−β1ᵗ)·m/(√v + ε)
 * with ε outside the bias correction. */
void reference_adamw(struct program *program, const struct node *node)
{
    const struct matrix p = IN(0), g = IN(1), m = IN(2), v = IN(3), copy = OUT(3);
    const double lr = (double)node->adamw.learning_rate, beta1 = (double)node->adamw.beta1,
                 beta2 = (double)node->adamw.beta2, epsilon = (double)node->adamw.epsilon,
                 decay = (double)node->adamw.weight_decay, t = (double)program->steps_done;
    const double rate = lr * sqrt(1 - pow(beta2, t)) / (1 - pow(beta1, t));
    for (int64_t i = 0; i < node->dims.elements; i++) {
        p.v[i] -= lr * decay * p.v[i];
        m.v[i] = beta1 * m.v[i] + (1 - beta1) * g.v[i];
        v.v[i] = beta2 * v.v[i] + (1 - beta2) * g.v[i] * g.v[i];
        p.v[i] -= rate * m.v[i] / (sqrt(v.v[i]) + epsilon);
        if (copy.v)
            copy.v[i] = p.v[i];
    }
}
