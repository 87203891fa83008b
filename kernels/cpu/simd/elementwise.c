/* Elementwise ops: residual add, multiply, SiLU, SwiGLU, casts. Operands may be column slices. */
#include "kernels/cpu/simd/values.h"

/* A matrix operand of an elementwise op. When all operands are packed the op sees one long row. */
struct rows {
    int64_t rows, columns;
};

static struct rows rows_of(const struct program *program, const struct node *node)
{
    const struct tensor *t = &program->plan->tensors[node->output[0]];
    bool packed = t->row_stride == 0;
    for (int k = 0; k < NODE_MAX_INPUTS; k++)
        packed &= node->input[k] == TENSOR_NONE || program->plan->tensors[node->input[k]].row_stride == 0;
    if (packed)
        return (struct rows){1, node->dims.elements};
    const int64_t columns = t->shape[t->rank - 1];
    return (struct rows){node->dims.elements / columns, columns};
}

/* out = expression of x (and y), each thread a range of rows, or of the one long row. */
#define ELEMENTWISE(name, two, expression)                                                                             \
    void ISA(name)(struct program * program, const struct node *node)                                                  \
    {                                                                                                                  \
        const struct values px = values_input(program, node, 0), py = two ? values_input(program, node, 1) : px,       \
                            out = values_output(program, node, 0);                                                     \
        const struct rows shape = rows_of(program, node);                                                              \
        const int64_t sx = cpu_stride(program, node->input[0]), so = cpu_stride(program, node->output[0]),             \
                      sy = two ? cpu_stride(program, node->input[1]) : sx;                                             \
        _Pragma("omp parallel num_threads(program->threads)")                                                          \
        {                                                                                                              \
            int64_t row = 0, row_end = 1, begin = 0, end = shape.columns;                                              \
            if (shape.rows == 1)                                                                                       \
                thread_range(shape.columns, 1024, &begin, &end);                                                       \
            else                                                                                                       \
                thread_range(shape.rows, 1, &row, &row_end);                                                           \
            for (; row < row_end; row++)                                                                               \
                for (int64_t i = begin; i < end; i += VN) {                                                            \
                    const vf x = values_get(px, row * sx + i, end - i), y = values_get(py, row * sy + i, end - i);     \
                    (void)y;                                                                                           \
                    values_put(out, row *so + i, expression, end - i);                                                 \
                }                                                                                                      \
        }                                                                                                              \
    }

static inline vf silu_derivative(vf x)
{
    const vf s = vf_sigmoid(x);
    return s * (1.0f + x * (1.0f - s));
}

cpu_kernel ISA(add), ISA(mul), ISA(silu), ISA(silu_backward), ISA(cast), ISA(swiglu), ISA(swiglu_backward);

ELEMENTWISE(add, true, x + y)
ELEMENTWISE(mul, true, x *y)
ELEMENTWISE(silu, false, x *vf_sigmoid(x))
ELEMENTWISE(silu_backward, true, x *silu_derivative(y)) /* x is dy, y the forward input */
ELEMENTWISE(cast, false, x)

/* y = silu(gate) · up          h (N, 2F) = [gate up], y (N, F) */
void ISA(swiglu)(struct program *program, const struct node *node)
{
    const struct values h = values_input(program, node, 0), y = values_output(program, node, 0);
    const int64_t f = node->dims.d_out, sh = cpu_stride(program, node->input[0]),
                  sy = cpu_stride(program, node->output[0]);
#pragma omp parallel for schedule(static) num_threads(program->threads)
    for (int64_t n = 0; n < node->dims.rows; n++)
        for (int64_t i = 0; i < f; i += VN) {
            const vf gate = values_get(h, n * sh + i, f - i), up = values_get(h, n * sh + f + i, f - i);
            values_put(y, n * sy + i, gate * vf_sigmoid(gate) * up, f - i);
        }
}

/* dgate = dy · up · silu'(gate),  dup = dy · silu(gate),  y = silu(gate) · up where asked for      dy, y (N, F), dh (N, 2F) */
void ISA(swiglu_backward)(struct program *program, const struct node *node)
{
    const struct values dy = values_input(program, node, 0), h = values_input(program, node, 1),
                        dh = values_output(program, node, 0), y = values_output(program, node, 1);
    const int64_t f = node->dims.d_out, sy = cpu_stride(program, node->input[0]),
                  sh = cpu_stride(program, node->input[1]), sd = cpu_stride(program, node->output[0]);
    const int64_t sp = y.at ? cpu_stride(program, node->output[1]) : 0;
#pragma omp parallel for schedule(static) num_threads(program->threads)
    for (int64_t n = 0; n < node->dims.rows; n++)
        for (int64_t i = 0; i < f; i += VN) {
            const vf gate = values_get(h, n * sh + i, f - i), up = values_get(h, n * sh + f + i, f - i);
            const vf d = values_get(dy, n * sy + i, f - i), s = vf_sigmoid(gate);
            values_put(dh, n * sd + i, d * up * s * (1.0f + gate * (1.0f - s)), f - i);
            values_put(dh, n * sd + f + i, d * gate * s, f - i);
            if (y.at)
                values_put(y, n * sp + i, gate * s * up, f - i);
        }
}
