/* Products of bf16 operands whose elements are pairs of neighbours along k, which is what vdpbf16ps and the tile unit multiply at once.
 *
 * A lies in rows of pairs, `apart` of them from row to row; B in panels of NR columns: pair k of column j at panel[k·NR + j]. Pairs
 * beyond the operands are zero, up to whole tiles; rows and columns beyond them may hold anything where C has room for theirs.
 * Without either unit a pair is two products of floats, for the tests. */
#pragma once
#include "kernels/cpu/simd/tile.h"
#include "kernels/cpu/simd/transpose.h"
#include "kernels/cpu/simd/values.h"

#define TILE_ROWS 16 /* of the tile unit, and its columns; a tile is as many pairs deep */
#define GRAIN 16     /* pairs: depths are whole tiles */

typedef uint32_t bf16_pair; /* the earlier of the two in the low half */
typedef uint32_t vu_loose __attribute__((vector_size(VECTOR_BYTES), aligned(4), may_alias));

/* Pairs of a depth, in whole tiles. */
static inline int64_t pairs_of(int64_t depth)
{
    return (depth + 2 * GRAIN - 1) / (2 * GRAIN) * GRAIN;
}

/* to[i] = the pair of from[i] and next[i]; NULL: of zero. */
static inline void pairs_of_rows(const uint16_t *from, const uint16_t *next, int64_t count, bf16_pair *to)
{
    int64_t i = 0;
    for (; i + VN <= count; i += VN) {
        const vu low = __builtin_convertvector(*(const vh_loose *)(const void *)(from + i), vu);
        const vu high = next ? __builtin_convertvector(*(const vh_loose *)(const void *)(next + i), vu) : (vu){0};
        *(vu_loose *)(void *)(to + i) = low | high << 16;
    }
    for (; i < count; i++)
        // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): only `next` may be NULL
        to[i] = from[i] | (next ? (bf16_pair)next[i] << 16 : 0);
}

/* Rows of pairs from an operand whose k runs along memory. */
static inline void pairs_along(const uint16_t *from, int64_t rs, int64_t rows, int64_t depth, bf16_pair *to,
                               int64_t apart)
{
    const int64_t pairs = pairs_of(depth);
    for (int64_t i = 0; i < rows; i++, to += apart) {
        memcpy(to, from + i * rs, (size_t)depth * sizeof *from);
        memset((char *)to + depth * 2, 0, (size_t)(pairs * 4 - depth * 2));
    }
}

/* The same from an operand whose rows run along memory: pairs are made along it and turned by squares. */
static inline void pairs_across(const uint16_t *from, int64_t ks, int64_t rows, int64_t depth, bf16_pair *to,
                                int64_t apart)
{
    const int64_t pairs = pairs_of(depth);
    for (int64_t i = 0; i < rows; i += SQUARE) {
        const int64_t count = rows - i < SQUARE ? rows - i : SQUARE;
        for (int64_t k = 0; k < pairs; k += SQUARE) {
            bf16_pair square[SQUARE * SQUARE] = {0}, turned[SQUARE * SQUARE];
            for (int64_t u = 0; u < SQUARE && 2 * (k + u) < depth; u++) {
                const uint16_t *row = from + 2 * (k + u) * ks + i;
                pairs_of_rows(row, 2 * (k + u) + 1 < depth ? row + ks : NULL, count, square + u * SQUARE);
            }
            transpose_square((const float *)(const void *)square, SQUARE, SQUARE, (float *)(void *)turned, SQUARE);
            for (int64_t r = 0; r < count; r++)
                memcpy(to + (i + r) * apart + k, turned + r * SQUARE, sizeof(bf16_pair[SQUARE]));
        }
    }
}

/* sum += the pairs' two products each. */
static inline vf pair_product(vf sum, bf16_pair a, vu b)
{
#ifdef __AVX512BF16__
    return (vf)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32((int)a), (__m512bh)b);
#else
    const vu every = a - (vu){0};
    sum += (vf)(every << 16) * (vf)(b << 16);
    return sum + (vf)(every & 0xffff0000u) * (vf)(b & 0xffff0000u);
#endif
}

/* c = or += A B for `rows` rows (a constant) and a panel of `columns` ≤ NR. */
static inline __attribute__((always_inline)) void pair_tile(const int rows, int64_t columns, int64_t pairs,
                                                            const bf16_pair *a, int64_t apart, const bf16_pair *b,
                                                            float *c, int64_t ldc, enum tile_mode mode)
{
    vf sum[MR][2] = {{{0}}};
    for (int64_t k = 0; k < pairs; k++, a++, b += NR) {
        const vu low = *(const vu_loose *)(const void *)b, high = *(const vu_loose *)(const void *)(b + VN);
#pragma GCC unroll 12
        for (int i = 0; i < rows; i++) {
            sum[i][0] = pair_product(sum[i][0], a[i * apart], low);
            sum[i][1] = pair_product(sum[i][1], a[i * apart], high);
        }
    }
#pragma GCC unroll 12
    for (int i = 0; i < rows; i++)
        for (int half = 0; half < 2 && half * VN < columns; half++) {
            float *to = c + i * ldc + half * VN;
            const int64_t n = columns - half * VN;
            vf_put(to, mode == TILE_ADD ? sum[i][half] + vf_get(to, n) : sum[i][half], n);
        }
}

/* c = or += A B, B in panels `panel` pairs apart. `apart` is a constant of the caller's. */
static inline __attribute__((always_inline)) void block_by_pairs(int64_t rows, int64_t columns, int64_t pairs,
                                                                 const bf16_pair *a, int64_t apart, const bf16_pair *b,
                                                                 int64_t panel, float *c, int64_t ldc,
                                                                 enum tile_mode mode)
{
    for (int64_t j = 0; j < columns; j += NR, b += panel) {
        const int64_t width = columns - j < NR ? columns - j : NR;
        int64_t i = 0;
        for (; i + MR <= rows; i += MR)
            pair_tile(MR, width, pairs, a + i * apart, apart, b, c + i * ldc + j, ldc, mode);
        for (; i + 4 <= rows; i += 4)
            pair_tile(4, width, pairs, a + i * apart, apart, b, c + i * ldc + j, ldc, mode);
        for (int left = (int)(rows - i); left > 0; left--, i++)
            pair_tile(1, width, pairs, a + i * apart, apart, b, c + i * ldc + j, ldc, mode);
    }
}

#ifdef __AMX_BF16__
/* Eight tiles of 16 rows of 64 bytes: 0 to 3 sum, 4 and 5 are A's, 6 and 7 B's. */
static inline void tiles_set(void)
{
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } __attribute__((packed, aligned(64))) shape = {.palette = 1};
    _Static_assert(sizeof shape == 64, "as the processor reads it");
    for (int t = 0; t < 8; t++) {
        shape.bytes[t] = 64;
        shape.rows[t] = TILE_ROWS;
    }
    _tile_loadconfig(&shape);
}

/* From a square of sums to C, of which only a corner may be there. */
static inline void square_put(const float *from, float *c, int64_t ldc, int64_t rows, int64_t columns,
                              enum tile_mode mode)
{
    for (int64_t i = 0; i < TILE_ROWS && i < rows; i++)
        if (columns > 0) {
            float *to = c + i * ldc;
            const vf sum = vf_load(from + i * TILE_ROWS);
            vf_put(to, mode == TILE_ADD ? sum + vf_get(to, columns) : sum, columns);
        }
}

/* Two tiles of rows by two of columns at a time: as many loads as products. `square` is room for a tile. */
static inline void block_by_tiles(int64_t rows, int64_t columns, int64_t pairs, const bf16_pair *a, int64_t apart,
                                  const bf16_pair *b, int64_t panel, float *c, int64_t ldc, enum tile_mode mode,
                                  float *square)
{
    for (int64_t j = 0; j < columns; j += NR, b += panel)
        for (int64_t i = 0; i < rows; i += 2 * TILE_ROWS) {
            const bf16_pair *upper = a + i * apart, *lower = upper + (int64_t)TILE_ROWS * apart;
            float *to = c + i * ldc + j;
            const int64_t down = rows - i, across = columns - j;
            const bool whole = down >= 2 * TILE_ROWS && across >= 2 * TILE_ROWS;
            if (whole && mode == TILE_ADD) {
                _tile_loadd(0, to, (size_t)ldc * 4);
                _tile_loadd(1, to + TILE_ROWS, (size_t)ldc * 4);
                _tile_loadd(2, to + TILE_ROWS * ldc, (size_t)ldc * 4);
                _tile_loadd(3, to + TILE_ROWS * ldc + TILE_ROWS, (size_t)ldc * 4);
            } else {
                _tile_zero(0);
                _tile_zero(1);
                _tile_zero(2);
                _tile_zero(3);
            }
            for (int64_t k = 0; k < pairs; k += TILE_ROWS) {
                _tile_loadd(6, b + k * NR, NR * sizeof *b);
                _tile_loadd(4, upper + k, (size_t)apart * sizeof *a);
                _tile_loadd(7, b + k * NR + TILE_ROWS, NR * sizeof *b);
                _tile_loadd(5, lower + k, (size_t)apart * sizeof *a);
                _tile_dpbf16ps(0, 4, 6);
                _tile_dpbf16ps(1, 4, 7);
                _tile_dpbf16ps(2, 5, 6);
                _tile_dpbf16ps(3, 5, 7);
            }
            if (whole) {
                _tile_stored(0, to, (size_t)ldc * 4);
                _tile_stored(1, to + TILE_ROWS, (size_t)ldc * 4);
                _tile_stored(2, to + TILE_ROWS * ldc, (size_t)ldc * 4);
                _tile_stored(3, to + TILE_ROWS * ldc + TILE_ROWS, (size_t)ldc * 4);
                continue;
            }
            _tile_stored(0, square, TILE_ROWS * 4);
            square_put(square, to, ldc, down, across, mode);
            _tile_stored(1, square, TILE_ROWS * 4);
            square_put(square, to + TILE_ROWS, ldc, down, across - TILE_ROWS, mode);
            _tile_stored(2, square, TILE_ROWS * 4);
            square_put(square, to + TILE_ROWS * ldc, ldc, down - TILE_ROWS, across, mode);
            _tile_stored(3, square, TILE_ROWS * 4);
            square_put(square, to + TILE_ROWS * ldc + TILE_ROWS, ldc, down - TILE_ROWS, across - TILE_ROWS, mode);
        }
}
#endif

/* A thread that multiplies says so before and after. */
static inline void pairs_begin(bool amx)
{
#ifdef __AMX_BF16__
    if (amx)
        tiles_set();
#else
    (void)amx; /* of no use to the other instruction sets */
#endif
}

static inline void pairs_end(bool amx)
{
#ifdef __AMX_BF16__
    if (amx)
        _tile_release();
#else
    (void)amx;
#endif
}

/* c (rows, columns) = or += A B by whichever unit. */
static inline __attribute__((always_inline)) void pairs_multiply(bool amx, int64_t rows, int64_t columns, int64_t pairs,
                                                                 const bf16_pair *a, int64_t apart, const bf16_pair *b,
                                                                 int64_t panel, float *c, int64_t ldc,
                                                                 enum tile_mode mode, float *square)
{
#ifdef __AMX_BF16__
    if (amx) {
        block_by_tiles(rows, columns, pairs, a, apart, b, panel, c, ldc, mode, square);
        return;
    }
#else
    (void)amx, (void)square;
#endif
    block_by_pairs(rows, columns, pairs, a, apart, b, panel, c, ldc, mode);
}

/* gemm_bf16.c: alpha · A B by this thread alone, between pairs_begin and pairs_end. Scratch as GEMM_SCRATCH_FLOATS. */
void ISA(gemm_bf16_alone)(const struct gemm_bf16 *gemm, float alpha, bool amx, float *scratch);
