/* Embedding, RMSNorm, linear layers, RoPE and the elementwise ops, in double. */
#include "kernels/reference/internal.h"
#include <math.h>
#include <string.h>

#define IN(k) reference_matrix(program, node->input[k])
#define OUT(k) reference_matrix(program, node->output[k])
#define AT(m, row, column) ((m).v[(row) * (m).stride + (column)])

void reference_embedding(struct program *program, const struct node *node)
{
    const struct matrix tokens = IN(0), table = IN(1), x = OUT(0);
    for (int64_t n = 0; n < node->dims.rows; n++)
        for (int64_t c = 0; c < node->dims.d_in; c++)
            AT(x, n, c) = AT(table, (int64_t)tokens.v[n], c);
}

void reference_embedding_backward(struct program *program, const struct node *node)
{
    const struct matrix tokens = IN(0), dx = IN(1), dtable = OUT(0);
    for (int64_t v = 0; v < node->dims.vocab; v++)
        for (int64_t c = 0; c < node->dims.d_in; c++)
            AT(dtable, v, c) = 0;
    for (int64_t n = 0; n < node->dims.rows; n++)
        for (int64_t c = 0; c < node->dims.d_in; c++)
            AT(dtable, (int64_t)tokens.v[n], c) += AT(dx, n, c);
}

/* y = x · rstd · w with rstd = 1/√(mean(x²) + ε)   (Zhang, Sennrich 2019) */
static void rmsnorm(struct matrix x, struct matrix w, struct matrix y, struct matrix rstd, double epsilon)
{
    for (int64_t n = 0; n < x.rows; n++) {
        double sum = 0;
        for (int64_t c = 0; c < x.columns; c++)
            sum += AT(x, n, c) * AT(x, n, c);
        const double r = 1 / sqrt(sum / (double)x.columns + epsilon);
        for (int64_t c = 0; c < x.columns; c++)
            AT(y, n, c) = AT(x, n, c) * r * w.v[c];
        rstd.v[n] = r;
    }
}

void reference_rmsnorm(struct program *program, const struct node *node)
{
    rmsnorm(IN(0), IN(1), OUT(0), OUT(1), (double)node->epsilon);
}

void reference_add_rmsnorm(struct program *program, const struct node *node)
{
    const struct matrix x = IN(0), r = IN(1), z = OUT(0);
    for (int64_t n = 0; n < z.rows; n++)
        for (int64_t c = 0; c < z.columns; c++)
            AT(z, n, c) = AT(x, n, c) + AT(r, n, c);
    rmsnorm(z, IN(2), OUT(1), OUT(2), (double)node->epsilon);
}

/* With x̂ = x·rstd and g = dy·w:  dx = rstd·(g − x̂·mean(g·x̂)) [+ dres],  dw = Σₙ dy·x̂ */
void reference_rmsnorm_backward(struct program *program, const struct node *node)
{
    const struct matrix dy = IN(0), x = IN(1), w = IN(2), rstd = IN(3), dres = IN(4), dx = OUT(0), dw = OUT(1),
                        copy = OUT(2);
    for (int64_t c = 0; c < x.columns; c++) {
        dw.v[c] = 0;
        for (int64_t n = 0; n < x.rows; n++)
            dw.v[c] += AT(dy, n, c) * AT(x, n, c) * rstd.v[n];
    }
    for (int64_t n = 0; n < x.rows; n++) {
        double mean = 0;
        for (int64_t c = 0; c < x.columns; c++)
            mean += AT(dy, n, c) * w.v[c] * AT(x, n, c) * rstd.v[n] / (double)x.columns;
        for (int64_t c = 0; c < x.columns; c++) {
            AT(dx, n, c) =
                rstd.v[n] * (AT(dy, n, c) * w.v[c] - AT(x, n, c) * rstd.v[n] * mean) + (dres.v ? AT(dres, n, c) : 0);
            if (copy.v)
                AT(copy, n, c) = AT(dx, n, c);
        }
    }
}

/* y = x wᵀ */
void reference_linear(struct program *program, const struct node *node)
{
    const struct matrix x = IN(0), w = IN(1), y = OUT(0);
    for (int64_t n = 0; n < node->dims.rows; n++)
        for (int64_t o = 0; o < node->dims.d_out; o++) {
            double sum = 0;
            for (int64_t i = 0; i < node->dims.d_in; i++)
                sum += AT(x, n, i) * AT(w, o, i);
            AT(y, n, o) = sum;
        }
}

/* dx = dy w */
void reference_linear_backward_input(struct program *program, const struct node *node)
{
    const struct matrix dy = IN(0), w = IN(1), dx = OUT(0);
    for (int64_t n = 0; n < node->dims.rows; n++) {
        for (int64_t i = 0; i < node->dims.d_in; i++)
            AT(dx, n, i) = 0;
        for (int64_t o = 0; o < node->dims.d_out; o++)
            for (int64_t i = 0; i < node->dims.d_in; i++)
                AT(dx, n, i) += AT(dy, n, o) * AT(w, o, i);
    }
}

/* dw = dyᵀ x */
void reference_linear_backward_weight(struct program *program, const struct node *node)
{
    const struct matrix dy = IN(0), x = IN(1), dw = OUT(0);
    for (int64_t o = 0; o < node->dims.d_out; o++) {
        for (int64_t i = 0; i < node->dims.d_in; i++)
            AT(dw, o, i) = 0;
        for (int64_t n = 0; n < node->dims.rows; n++)
            for (int64_t i = 0; i < node->dims.d_in; i++)
                AT(dw, o, i) += AT(dy, n, o) * AT(x, n, i);
    }
}

/* Turns each pair (2j, 2j+1) of each head by its angle, or back for direction −1. table = (cos, sin) by position, pair. */
static void rope(struct matrix x, struct matrix table, struct matrix y, const struct node_dims *dims, double direction)
{
    const int64_t half = dims->head_dim / 2;
    for (int64_t n = 0; n < dims->batch * dims->context; n++)
        for (int64_t h = 0; h < dims->heads; h++)
            for (int64_t j = 0; j < half; j++) {
                const double *angle = table.v + (n % dims->context * half + j) * 2;
                const double cosine = angle[0], sine = direction * angle[1];
                const int64_t c = h * dims->head_dim + 2 * j;
                const double even = AT(x, n, c), odd = AT(x, n, c + 1);
                AT(y, n, c) = even * cosine - odd * sine;
                AT(y, n, c + 1) = even * sine + odd * cosine;
            }
}

void reference_rope(struct program *program, const struct node *node)
{
    rope(IN(0), IN(1), OUT(0), &node->dims, 1);
}

void reference_rope_backward(struct program *program, const struct node *node)
{
    rope(IN(0), IN(1), OUT(0), &node->dims, -1);
}

void reference_add(struct program *program, const struct node *node)
{
    const struct matrix a = IN(0), b = IN(1), c = OUT(0);
    for (int64_t n = 0; n < c.rows; n++)
        for (int64_t i = 0; i < c.columns; i++)
            AT(c, n, i) = AT(a, n, i) + AT(b, n, i);
}

void reference_mul(struct program *program, const struct node *node)
{
    const struct matrix a = IN(0), b = IN(1), c = OUT(0);
    for (int64_t n = 0; n < c.rows; n++)
        for (int64_t i = 0; i < c.columns; i++)
            AT(c, n, i) = AT(a, n, i) * AT(b, n, i);
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static double silu_derivative(double x)
{
    return sigmoid(x) * (1 + x * (1 - sigmoid(x)));
}

void reference_silu(struct program *program, const struct node *node)
{
    const struct matrix x = IN(0), y = OUT(0);
    for (int64_t n = 0; n < y.rows; n++)
        for (int64_t i = 0; i < y.columns; i++)
            AT(y, n, i) = AT(x, n, i) * sigmoid(AT(x, n, i));
}

void reference_silu_backward(struct program *program, const struct node *node)
{
    const struct matrix dy = IN(0), x = IN(1), dx = OUT(0);
    for (int64_t n = 0; n < dx.rows; n++)
        for (int64_t i = 0; i < dx.columns; i++)
            AT(dx, n, i) = AT(dy, n, i) * silu_derivative(AT(x, n, i));
}

/* y = silu(gate) · up, where h = [gate up]   (Shazeer 2020) */
void reference_swiglu(struct program *program, const struct node *node)
{
    const struct matrix h = IN(0), y = OUT(0);
    const int64_t f = node->dims.d_out;
    for (int64_t n = 0; n < node->dims.rows; n++)
        for (int64_t i = 0; i < f; i++)
            AT(y, n, i) = AT(h, n, i) * sigmoid(AT(h, n, i)) * AT(h, n, f + i);
}

void reference_swiglu_backward(struct program *program, const struct node *node)
{
    const struct matrix dy = IN(0), h = IN(1), dh = OUT(0), y = OUT(1);
    const int64_t f = node->dims.d_out;
    for (int64_t n = 0; n < node->dims.rows; n++)
        for (int64_t i = 0; i < f; i++) {
            const double gate = AT(h, n, i), up = AT(h, n, f + i), d = AT(dy, n, i);
            AT(dh, n, i) = d * up * silu_derivative(gate);
            AT(dh, n, f + i) = d * gate * sigmoid(gate);
            if (y.v)
                AT(y, n, i) = gate * sigmoid(gate) * up;
        }
}

void reference_cast(struct program *program, const struct node *node)
{
    const struct matrix x = IN(0), y = OUT(0);
    memcpy(y.v, x.v, (size_t)node->dims.elements * sizeof *y.v);
}
