/* One head's row turned by its position: shared by RoPE and by attention, which turns while it loads. */
#pragma once
#include "kernels/cpu/simd/values.h"

#if VECTOR_BYTES == 16
#define SWAP_PAIRS(x) __builtin_shufflevector(x, x, 1, 0, 3, 2)
#define TWICE_EVEN(x) __builtin_shufflevector(x, x, 0, 0, 2, 2)
#define TWICE_ODD(x) __builtin_shufflevector(x, x, 1, 1, 3, 3)
static const vf turn_signs = {-1, 1, -1, 1};
#elif VECTOR_BYTES == 32
#define SWAP_PAIRS(x) __builtin_shufflevector(x, x, 1, 0, 3, 2, 5, 4, 7, 6)
#define TWICE_EVEN(x) __builtin_shufflevector(x, x, 0, 0, 2, 2, 4, 4, 6, 6)
#define TWICE_ODD(x) __builtin_shufflevector(x, x, 1, 1, 3, 3, 5, 5, 7, 7)
static const vf turn_signs = {-1, 1, -1, 1, -1, 1, -1, 1};
#else
#define SWAP_PAIRS(x) __builtin_shufflevector(x, x, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14)
#define TWICE_EVEN(x) __builtin_shufflevector(x, x, 0, 0, 2, 2, 4, 4, 6, 6, 8, 8, 10, 10, 12, 12, 14, 14)
#define TWICE_ODD(x) __builtin_shufflevector(x, x, 1, 1, 3, 3, 5, 5, 7, 7, 9, 9, 11, 11, 13, 13, 15, 15)
static const vf turn_signs = {-1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1};
#endif

/* y = scale · (x turned by angles)     x, y (D), angles (D/2 pairs of cos, sin); direction −1 turns back. */
static inline void rope_head(struct values x, const float *angles, struct values y, int64_t D, float direction,
                             float scale)
{
    const vf signs = turn_signs * direction;
    for (int64_t d = 0; d < D; d += VN) {
        const vf pair = values_get(x, d, D - d), angle = vf_get(angles + d, D - d);
        const vf cosine = TWICE_EVEN(angle), sine = TWICE_ODD(angle);
        values_put(y, d, (pair * cosine + SWAP_PAIRS(pair) * (sine * signs)) * scale, D - d);
    }
}
