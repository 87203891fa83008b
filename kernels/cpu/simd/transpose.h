/* Rows to columns, a square of lanes at a time, by shuffles. */
#pragma once
#include "kernels/cpu/simd/simd.h"

#if VECTOR_BYTES == 16
#define SQUARE 4
#else
#define SQUARE 8
#endif

typedef float vsquare __attribute__((vector_size(SQUARE * sizeof(float))));
typedef float vsquare_loose __attribute__((vector_size(SQUARE * sizeof(float)), aligned(4), may_alias));

/* to[k · stride + i] = from[i · ld + k] for i, k < SQUARE; rows from `rows` on are taken as zero. */
static inline __attribute__((always_inline)) void transpose_square(const float *from, int64_t ld, const int rows,
                                                                   float *to, int64_t stride)
{
    vsquare r[SQUARE], s[SQUARE];
#pragma GCC unroll 8
    for (int i = 0; i < SQUARE; i++)
        if (i < rows)
            r[i] = *(const vsquare_loose *)(from + i * ld);
        else
            r[i] = (vsquare){0};
#if SQUARE == 4
#pragma GCC unroll 2
    for (int i = 0; i < 4; i += 2) {
        s[i] = __builtin_shufflevector(r[i], r[i + 1], 0, 4, 2, 6);
        s[i + 1] = __builtin_shufflevector(r[i], r[i + 1], 1, 5, 3, 7);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
        r[i] = __builtin_shufflevector(s[i], s[i + 2], 0, 1, 4, 5);
        r[i + 2] = __builtin_shufflevector(s[i], s[i + 2], 2, 3, 6, 7);
    }
#else
            /* Pairs of lanes within rows 2i and 2i+1, pairs of pairs, then the halves. */
#pragma GCC unroll 4
    for (int i = 0; i < 8; i += 2) {
        s[i] = __builtin_shufflevector(r[i], r[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
        s[i + 1] = __builtin_shufflevector(r[i], r[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 8; i += 4) {
        r[i] = __builtin_shufflevector(s[i], s[i + 2], 0, 1, 8, 9, 4, 5, 12, 13);
        r[i + 1] = __builtin_shufflevector(s[i], s[i + 2], 2, 3, 10, 11, 6, 7, 14, 15);
        r[i + 2] = __builtin_shufflevector(s[i + 1], s[i + 3], 0, 1, 8, 9, 4, 5, 12, 13);
        r[i + 3] = __builtin_shufflevector(s[i + 1], s[i + 3], 2, 3, 10, 11, 6, 7, 14, 15);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        s[i] = __builtin_shufflevector(r[i], r[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        s[i + 4] = __builtin_shufflevector(r[i], r[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
        r[i] = s[i];
#endif
#pragma GCC unroll 8
    for (int k = 0; k < SQUARE; k++)
        *(vsquare_loose *)(to + k * stride) = r[k];
}
