/* The register tile that GEMM and attention are made of: rows of A times a packed panel of B, NR columns wide.
 *
 * A is addressed by two strides, so a row-major block, its transpose and a packed panel all do: a[i·rs + k·ks].
 * B is packed in panels: element (k, j) of a panel is b[k·NR + j]; columns beyond the matrix are zero. */
#pragma once
#include "kernels/cpu/simd/simd.h"

#define NR (2 * VN)
#if VECTOR_BYTES == 64
#define MR 12 /* 24 of 32 registers accumulate */
#else
#define MR 6 /* 12 of 16 */
#endif

enum tile_mode { TILE_STORE, TILE_ADD };

/* What will be wanted after this tile: brought into the second-level cache on the way, `step` floats further every
 * AHEAD_EVERY products. NULL: nothing. */
struct ahead {
    const float *at;
    int64_t step;
};
#define AHEAD_EVERY 4

/* sum[i][j] += a[i] b[j], one k. */
static inline __attribute__((always_inline)) void tile_step(const int rows, vf (*sum)[2], const float *a, int64_t rs,
                                                            const float *b)
{
    const vf low = vf_load(b), high = vf_load(b + VN);
#pragma GCC unroll 12
    for (int i = 0; i < rows; i++) {
        const vf x = vf_set(a[i * rs]);
        sum[i][0] += x * low;
        sum[i][1] += x * high;
    }
}

/* c[i][j] = or += alpha · Σ_k a[i,k] b[k,j] for i < rows (a constant), j < columns ≤ NR. */
static inline __attribute__((always_inline)) void tile_ahead(const int rows, int64_t columns, int64_t depth,
                                                             float alpha, const float *a, int64_t rs, int64_t ks,
                                                             const float *b, float *c, int64_t ldc, enum tile_mode mode,
                                                             struct ahead ahead)
{
    vf sum[MR][2] = {{{0}}};
#pragma GCC unroll 12
    for (int i = 0; i < rows; i++) { /* arrives while the products are made */
        __builtin_prefetch(c + i * ldc, 1);
        __builtin_prefetch(c + i * ldc + NR - 1, 1);
    }
    int64_t k = 0;
    for (; ahead.at && k + AHEAD_EVERY <= depth; k += AHEAD_EVERY) {
        __builtin_prefetch(ahead.at, 0, 2);
        ahead.at += ahead.step;
#pragma GCC unroll 4
        for (int u = 0; u < AHEAD_EVERY; u++, a += ks, b += NR)
            tile_step(rows, sum, a, rs, b);
    }
    for (; k < depth; k++, a += ks, b += NR)
        tile_step(rows, sum, a, rs, b);
#pragma GCC unroll 12
    for (int i = 0; i < rows; i++) {
        float *row = c + i * ldc;
        vf low = sum[i][0] * alpha, high = sum[i][1] * alpha;
        if (__builtin_expect(columns == NR, 1)) {
            if (mode == TILE_ADD) {
                low += vf_load(row);
                high += vf_load(row + VN);
            }
            vf_store(row, low);
            vf_store(row + VN, high);
        } else {
            float edge[2 * VECTOR_BYTES / sizeof(float)];
            vf_store(edge, low);
            vf_store(edge + VN, high);
            for (int64_t j = 0; j < columns; j++)
                row[j] = mode == TILE_ADD ? row[j] + edge[j] : edge[j];
        }
    }
}

static inline __attribute__((always_inline)) void tile(const int rows, int64_t columns, int64_t depth, float alpha,
                                                       const float *a, int64_t rs, int64_t ks, const float *b, float *c,
                                                       int64_t ldc, enum tile_mode mode)
{
    tile_ahead(rows, columns, depth, alpha, a, rs, ks, b, c, ldc, mode, (struct ahead){NULL, 0});
}

/* The same for any number of rows. */
static inline void tile_rows(int64_t rows, int64_t columns, int64_t depth, float alpha, const float *a, int64_t rs,
                             int64_t ks, const float *b, float *c, int64_t ldc, enum tile_mode mode)
{
    for (; rows >= MR; rows -= MR, a += MR * rs, c += MR * ldc)
        tile(MR, columns, depth, alpha, a, rs, ks, b, c, ldc, mode);
    for (; rows >= 4; rows -= 4, a += 4 * rs, c += 4 * ldc)
        tile(4, columns, depth, alpha, a, rs, ks, b, c, ldc, mode);
    for (; rows >= 1; rows -= 1, a += rs, c += ldc)
        tile(1, columns, depth, alpha, a, rs, ks, b, c, ldc, mode);
}

/* C (rows, columns) = or += alpha · A B, with B in panels `panel` floats apart. */
static inline void tile_multiply(int64_t rows, int64_t columns, int64_t depth, float alpha, const float *a, int64_t rs,
                                 int64_t ks, const float *b, int64_t panel, float *c, int64_t ldc, enum tile_mode mode)
{
    for (int64_t j = 0; j < columns; j += NR, b += panel)
        tile_rows(rows, columns - j < NR ? columns - j : NR, depth, alpha, a, rs, ks, b, c + j, ldc, mode);
}
