/* Causal attention in double: the separate ops of eager mode, and the fused pair as a composition of the same formulas. */
#include "kernels/reference/internal.h"
#include <math.h>
#include <stdlib.h>

#define IN(k) reference_matrix(program, node->input[k])
#define OUT(k) reference_matrix(program, node->output[k])

/* Element (b, t, h, d) of an (N, C) operand, and (b, h, t, u) of a (B, H, T, T) one. */
#define HEAD(m, b, t, h, d) ((m).v[((b)*T + (t)) * (m).stride + (h)*D + (d)])
#define PAIR(m, b, h, t, u) ((m).v[(((b)*H + (h)) * T + (t)) * T + (u)])
#define PAIR_SIZES(node) const int64_t B = (node)->dims.batch, T = (node)->dims.context, H = (node)->dims.heads
#define ATTENTION_SIZES(node)                                                                                          \
    PAIR_SIZES(node);                                                                                                  \
    const int64_t D = (node)->dims.head_dim

/* s[t,u] = scale · Σ_d left[t,d] right[u,d] */
static void scores(const struct node *node, struct matrix left, struct matrix right, struct matrix s, double scale)
{
    ATTENTION_SIZES(node);
    for (int64_t b = 0; b < B; b++)
        for (int64_t h = 0; h < H; h++)
            for (int64_t t = 0; t < T; t++)
                for (int64_t u = 0; u < T; u++) {
                    double sum = 0;
                    for (int64_t d = 0; d < D; d++)
                        sum += HEAD(left, b, t, h, d) * HEAD(right, b, u, h, d);
                    PAIR(s, b, h, t, u) = scale * sum;
                }
}

/* o[t,d] = scale · Σ_u p[t,u] v[u,d] */
static void weighted(const struct node *node, struct matrix p, struct matrix v, struct matrix o, double scale)
{
    ATTENTION_SIZES(node);
    for (int64_t b = 0; b < B; b++)
        for (int64_t h = 0; h < H; h++)
            for (int64_t t = 0; t < T; t++)
                for (int64_t d = 0; d < D; d++) {
                    double sum = 0;
                    for (int64_t u = 0; u < T; u++)
                        sum += PAIR(p, b, h, t, u) * HEAD(v, b, u, h, d);
                    HEAD(o, b, t, h, d) = scale * sum;
                }
}

/* o[u,d] = scale · Σ_t p[t,u] v[t,d] */
static void weighted_transposed(const struct node *node, struct matrix p, struct matrix v, struct matrix o,
                                double scale)
{
    ATTENTION_SIZES(node);
    for (int64_t b = 0; b < B; b++)
        for (int64_t h = 0; h < H; h++)
            for (int64_t u = 0; u < T; u++)
                for (int64_t d = 0; d < D; d++) {
                    double sum = 0;
                    for (int64_t t = 0; t < T; t++)
                        sum += PAIR(p, b, h, t, u) * HEAD(v, b, t, h, d);
                    HEAD(o, b, u, h, d) = scale * sum;
                }
}

void reference_attn_scores(struct program *program, const struct node *node)
{
    scores(node, IN(0), IN(1), OUT(0), (double)node->scale);
}

void reference_attn_scores_backward_q(struct program *program, const struct node *node)
{
    weighted(node, IN(0), IN(1), OUT(0), (double)node->scale);
}

void reference_attn_scores_backward_k(struct program *program, const struct node *node)
{
    weighted_transposed(node, IN(0), IN(1), OUT(0), (double)node->scale);
}

void reference_attn_values(struct program *program, const struct node *node)
{
    weighted(node, IN(0), IN(1), OUT(0), 1);
}

void reference_attn_values_backward_p(struct program *program, const struct node *node)
{
    scores(node, IN(0), IN(1), OUT(0), 1);
}

void reference_attn_values_backward_v(struct program *program, const struct node *node)
{
    weighted_transposed(node, IN(0), IN(1), OUT(0), 1);
}

/* p[t,u] = exp(s[t,u]) / Σ_{w≤t} exp(s[t,w]) for u ≤ t, 0 above the diagonal; log of the sum to lse when given. */
static void causal_softmax(const struct node *node, struct matrix s, struct matrix p, double *lse)
{
    PAIR_SIZES(node);
    for (int64_t b = 0; b < B; b++)
        for (int64_t h = 0; h < H; h++)
            for (int64_t t = 0; t < T; t++) {
                double top = -INFINITY, sum = 0;
                for (int64_t u = 0; u <= t; u++)
                    top = fmax(top, PAIR(s, b, h, t, u));
                for (int64_t u = 0; u <= t; u++)
                    sum += exp(PAIR(s, b, h, t, u) - top);
                for (int64_t u = 0; u < T; u++)
                    PAIR(p, b, h, t, u) = u <= t ? exp(PAIR(s, b, h, t, u) - top) / sum : 0;
                if (lse)
                    lse[(b * H + h) * T + t] = top + log(sum);
            }
}

void reference_causal_softmax(struct program *program, const struct node *node)
{
    causal_softmax(node, IN(0), OUT(0), NULL);
}

/* ds = p · (dp − Σ_u dp·p); Σ_u dp·p of each row to delta when given */
static void causal_softmax_backward(const struct node *node, struct matrix dp, struct matrix p, struct matrix ds,
                                    double *delta)
{
    PAIR_SIZES(node);
    for (int64_t b = 0; b < B; b++)
        for (int64_t h = 0; h < H; h++)
            for (int64_t t = 0; t < T; t++) {
                double sum = 0;
                for (int64_t u = 0; u <= t; u++)
                    sum += PAIR(dp, b, h, t, u) * PAIR(p, b, h, t, u);
                for (int64_t u = 0; u < T; u++)
                    PAIR(ds, b, h, t, u) = PAIR(p, b, h, t, u) * (PAIR(dp, b, h, t, u) - sum);
                if (delta)
                    delta[(b * H + h) * T + t] = sum;
            }
}

void reference_causal_softmax_backward(struct program *program, const struct node *node)
{
    causal_softmax_backward(node, IN(0), IN(1), OUT(0), NULL);
}

/* Column part `which` (0 q, 1 k, 2 v) of a (N, 3C) tensor. */
static struct matrix part(struct matrix qkv, int which)
{
    const int64_t columns = qkv.columns / 3;
    return (struct matrix){qkv.v + which * columns, qkv.rows, columns, qkv.stride};
}

/* y = x turned by position; without a table y = x. */
static void turn(const struct node *node, struct matrix x, struct matrix table, struct matrix y, double direction)
{
    ATTENTION_SIZES(node);
    for (int64_t b = 0; b < B; b++)
        for (int64_t t = 0; t < T; t++)
            for (int64_t h = 0; h < H; h++)
                for (int64_t d = 0; d < D; d += 2) {
                    const double *angle = table.v + t * D + d;
                    const double cosine = table.v ? angle[0] : 1, sine = table.v ? direction * angle[1] : 0;
                    const double even = HEAD(x, b, t, h, d), odd = HEAD(x, b, t, h, d + 1);
                    HEAD(y, b, t, h, d) = even * cosine - odd * sine;
                    HEAD(y, b, t, h, d + 1) = even * sine + odd * cosine;
                }
}

static struct matrix temporary(int64_t rows, int64_t columns)
{
    double *values = calloc((size_t)(rows * columns) + 1, sizeof *values);
    if (!values)
        abort(); /* the oracle runs small models; without memory it has nothing to say */
    return (struct matrix){values, rows, columns, columns};
}

void reference_attention(struct program *program, const struct node *node)
{
    ATTENTION_SIZES(node);
    const struct matrix qkv = IN(0), table = IN(1), o = OUT(0), lse = OUT(1);
    const struct matrix q = temporary(B * T, H * D), k = temporary(B * T, H * D), p = temporary(B * H * T, T);
    turn(node, part(qkv, 0), table, q, 1);
    turn(node, part(qkv, 1), table, k, 1);
    scores(node, q, k, p, (double)node->scale);
    causal_softmax(node, p, p, lse.v);
    weighted(node, p, part(qkv, 2), o, 1);
    free(q.v);
    free(k.v);
    free(p.v);
}

void reference_attention_backward(struct program *program, const struct node *node)
{
    ATTENTION_SIZES(node);
    const struct matrix d_o = IN(0), qkv = IN(1), table = IN(4), dqkv = OUT(0), delta = OUT(1);
    const struct matrix q = temporary(B * T, H * D), k = temporary(B * T, H * D), dturned = temporary(B * T, H * D);
    const struct matrix p = temporary(B * H * T, T), dp = temporary(B * H * T, T);
    turn(node, part(qkv, 0), table, q, 1);
    turn(node, part(qkv, 1), table, k, 1);
    scores(node, q, k, p, (double)node->scale);
    causal_softmax(node, p, p, NULL);
    weighted_transposed(node, p, d_o, part(dqkv, 2), 1);
    scores(node, d_o, part(qkv, 2), dp, 1);
    causal_softmax_backward(node, dp, p, dp, delta.v);
    weighted(node, dp, k, dturned, (double)node->scale);
    turn(node, dturned, table, part(dqkv, 0), -1);
    weighted_transposed(node, dp, q, dturned, (double)node->scale);
    turn(node, dturned, table, part(dqkv, 1), -1);
    free(q.v);
    free(k.v);
    free(dturned.v);
    free(p.v);
    free(dp.v);
}
