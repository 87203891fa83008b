/* Operands in memory: floats, or bf16, which is the upper half of a float. Sums and products are made in float; what is written as
 * bf16 is rounded to nearest, ties to even, and a NaN stays one. */
#pragma once
#include "kernels/cpu/simd/simd.h"

struct values {
    char *at;    /* NULL: the op has no such operand */
    bool narrow; /* bf16 */
};

typedef uint16_t vh __attribute__((vector_size(VECTOR_BYTES / 2)));
typedef uint16_t vh_loose __attribute__((vector_size(VECTOR_BYTES / 2), aligned(2), may_alias));
typedef uint32_t vu __attribute__((vector_size(VECTOR_BYTES)));

static inline struct values values_of(const struct program *program, int32_t tensor)
{
    if (tensor == TENSOR_NONE)
        return (struct values){NULL, false};
    return (struct values){program->data[tensor], program->plan->tensors[tensor].dtype == DTYPE_BF16};
}

static inline struct values values_input(const struct program *program, const struct node *node, int k)
{
    return values_of(program, node->input[k]);
}

static inline struct values values_output(const struct program *program, const struct node *node, int k)
{
    return values_of(program, node->output[k]);
}

static inline struct values values_of_floats(const float *x)
{
    return (struct values){(char *)(uintptr_t)x, false};
}

/* From element i on. */
static inline struct values values_from(struct values x, int64_t i)
{
    return (struct values){x.at ? x.at + i * (x.narrow ? 2 : 4) : NULL, x.narrow};
}

static inline vf vf_widen(vh x)
{
    return (vf)(__builtin_convertvector(x, vu) << 16);
}

static inline vh vf_narrow(vf x)
{
    const vu bits = (vu)x, rounded = (bits + 0x7fffu + (bits >> 16 & 1)) >> 16, nan = bits >> 16 | 0x40;
    const vu odd = (vu)((bits & 0x7fffffffu) > 0x7f800000u);
    return __builtin_convertvector((odd & nan) | (~odd & rounded), vh);
}

/* Who reads or writes an operand has seen that the op has it. */
static inline void values_there(struct values x)
{
    if (!x.at)
        __builtin_unreachable();
}

/* n elements from i on, at most VN of them; zero beyond. */
static inline vf values_get(struct values x, int64_t i, int64_t n)
{
    values_there(x);
    if (!x.narrow)
        return vf_get((const float *)(const void *)x.at + i, n);
    const char *from = x.at + 2 * i;
    if (__builtin_expect(n >= VN, 1))
        return vf_widen(*(const vh_loose *)(const void *)from);
    vh few = {0};
    memcpy(&few, from, few_bytes(n, 2));
    return vf_widen(few);
}

static inline void values_put(struct values x, int64_t i, vf y, int64_t n)
{
    values_there(x);
    if (!x.narrow) {
        vf_put((float *)(void *)x.at + i, y, n);
        return;
    }
    char *to = x.at + 2 * i;
    const vh rounded = vf_narrow(y);
    if (__builtin_expect(n >= VN, 1))
        *(vh_loose *)(void *)to = rounded;
    else
        memcpy(to, &rounded, few_bytes(n, 2));
}

static inline float values_one(struct values x, int64_t i)
{
    return values_get(x, i, 1)[0];
}

static inline void values_clear(struct values x, int64_t i, int64_t count)
{
    const struct values from = values_from(x, i);
    values_there(from);
    memset(from.at, 0, (size_t)count * (x.narrow ? 2 : 4)); /* +0 in either */
}

/* `rows` rows of `columns` elements, `stride` apart, as floats: where they lie, or widened into `room`, packed. `*apart` becomes their
 * distance. */
static inline const float *values_wide(struct values x, int64_t rows, int64_t columns, int64_t stride, float *room,
                                       int64_t *apart)
{
    *apart = stride;
    if (!x.narrow)
        return (const float *)(const void *)x.at;
    *apart = columns;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c += VN)
            vf_put(room + r * columns + c, values_get(x, r * stride + c, columns - c), columns - c);
    return room;
}

/* Rows of floats, `columns` long and packed, to where they belong. */
static inline void values_rows_put(struct values y, const float *from, int64_t rows, int64_t columns, int64_t stride)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c += VN)
            values_put(y, r * stride + c, vf_get(from + r * columns + c, columns - c), columns - c);
}
