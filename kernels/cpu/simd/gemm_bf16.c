/* The product of bf16 operands: blocks as in gemm.c, but an element of a packed operand is a pair of neighbours along k, which is what
 * vdpbf16ps and the tile unit multiply at once.
 *
 * A is packed in rows of pairs, a_apart apart; B in panels of NR columns: pair k of column j at panel[k·NR + j]. Rows, columns and
 * pairs beyond the operands are zero, up to whole tiles. Without either unit a pair is two products of floats, for the tests. */
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/simd/parts.h"
#include "kernels/cpu/simd/tile.h"
#include "kernels/cpu/simd/transpose.h"
#include "kernels/cpu/simd/values.h"
#if defined __AVX512BF16__ || defined __AMX_BF16__
#include <immintrin.h>
#endif

cpu_gemm_bf16 ISA(gemm_bf16);

#define TILE_ROWS 16 /* of the tile unit, and its columns; a tile is as many pairs deep */
#define GRAIN 16     /* pairs: depths are whole tiles */
#define DEPTH 512    /* elements of a block */
#define ROWS 192
#define PART_ROWS 768 /* of C that are finished before the next: their sums wait in the scratch where C is bf16 */
#define COLUMNS 512
#define A_APART                                                                                                        \
    (DEPTH / 2 +                                                                                                       \
     GRAIN) /* pairs from row to row: off the power of two, whose rows would meet in few sets of the cache */
#define A_PAIRS ((size_t)ROWS * A_APART)
#define B_PAIRS ((size_t)COLUMNS * DEPTH / 2)
#define C_APART COLUMNS
_Static_assert(A_PAIRS + B_PAIRS + (size_t)PART_ROWS * C_APART + TILE_ROWS * TILE_ROWS <= GEMM_SCRATCH_FLOATS,
               "blocks fit the scratch");

typedef uint32_t pair; /* the earlier of the two in the low half */
typedef uint32_t vu_loose __attribute__((vector_size(VECTOR_BYTES), aligned(4), may_alias));

/* to[i] = the pair of from[i] and next[i]; NULL: of zero. */
static inline void pairs_of_rows(const uint16_t *from, const uint16_t *next, int64_t count, pair *to)
{
    int64_t i = 0;
    for (; i + VN <= count; i += VN) {
        const vu low = __builtin_convertvector(*(const vh_loose *)(const void *)(from + i), vu);
        const vu high = next ? __builtin_convertvector(*(const vh_loose *)(const void *)(next + i), vu) : (vu){0};
        *(vu_loose *)(void *)(to + i) = low | high << 16;
    }
    for (; i < count; i++)
        // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): only `next` may be NULL
        to[i] = from[i] | (next ? (pair)next[i] << 16 : 0);
}

/* Rows of pairs from an operand whose k runs along memory. */
static void pack_along(const uint16_t *from, int64_t rs, int64_t rows, int64_t depth, pair *to)
{
    const int64_t pairs = (depth + 2 * GRAIN - 1) / (2 * GRAIN) * GRAIN;
    for (int64_t i = 0; i < rows; i++, to += A_APART) {
        memcpy(to, from + i * rs, (size_t)depth * sizeof *from);
        memset((char *)to + depth * 2, 0, (size_t)(pairs * 4 - depth * 2));
    }
}

/* The same from an operand whose rows run along memory: pairs are made along it and turned by squares. */
static void pack_across(const uint16_t *from, int64_t ks, int64_t rows, int64_t depth, pair *to)
{
    const int64_t pairs = (depth + 2 * GRAIN - 1) / (2 * GRAIN) * GRAIN;
    for (int64_t i = 0; i < rows; i += SQUARE) {
        const int64_t count = rows - i < SQUARE ? rows - i : SQUARE;
        for (int64_t k = 0; k < pairs; k += SQUARE) {
            pair square[SQUARE * SQUARE] = {0}, turned[SQUARE * SQUARE];
            for (int64_t u = 0; u < SQUARE && 2 * (k + u) < depth; u++) {
                const uint16_t *row = from + 2 * (k + u) * ks + i;
                pairs_of_rows(row, 2 * (k + u) + 1 < depth ? row + ks : NULL, count, square + u * SQUARE);
            }
            transpose_square((const float *)(const void *)square, SQUARE, SQUARE, (float *)(void *)turned, SQUARE);
            for (int64_t r = 0; r < count; r++)
                memcpy(to + (i + r) * A_APART + k, turned + r * SQUARE, sizeof(pair[SQUARE]));
        }
    }
}

/* A block of A, its rows filled up with zeros to whole tiles. */
static void pack_a_pairs(const struct gemm_bf16 *g, int64_t i, int64_t k, int64_t rows, int64_t depth, pair *to)
{
    const uint16_t *from = g->a + i * g->a_rs + k * g->a_ks;
    if (g->a_ks == 1)
        pack_along(from, g->a_rs, rows, depth, to);
    else
        pack_across(from, g->a_ks, rows, depth, to);
    for (int64_t r = rows; r % (2 * TILE_ROWS); r++)
        memset(to + r * A_APART, 0, A_APART * sizeof *to);
}

/* A block of B in panels of NR columns. */
static void pack_b_pairs(const struct gemm_bf16 *g, int64_t k, int64_t j, int64_t depth, int64_t columns, pair *to)
{
    const int64_t pairs = (depth + 2 * GRAIN - 1) / (2 * GRAIN) * GRAIN;
    for (int64_t base = 0; base < columns; base += NR, to += pairs * NR) {
        const uint16_t *from = g->b + k * g->b_ks + (j + base) * g->b_cs;
        const int64_t count = columns - base < NR ? columns - base : NR;
        if (count < NR || depth % (2 * GRAIN))
            memset(to, 0, (size_t)(pairs * NR) * sizeof *to);
        int64_t u = 0;
        if (g->b_cs == 1) {
            for (; 2 * u < depth; u++)
                pairs_of_rows(from + 2 * u * g->b_ks, 2 * u + 1 < depth ? from + (2 * u + 1) * g->b_ks : NULL, count,
                              to + u * NR);
            continue;
        }
        /* A column's pairs lie as floats would, where its length is even. */
        if (count == NR && g->b_cs % 2 == 0 && (uintptr_t)from % 4 == 0)
            for (; 2 * (u + SQUARE) <= depth; u += SQUARE)
                for (int64_t c = 0; c < NR; c += SQUARE)
                    transpose_square((const float *)(const void *)(from + c * g->b_cs) + u, g->b_cs / 2, SQUARE,
                                     (float *)(void *)(to + u * NR + c), NR);
        for (; 2 * u < depth; u++)
            for (int64_t c = 0; c < count; c++) {
                const uint16_t *at = from + c * g->b_cs + 2 * u;
                to[u * NR + c] = at[0] | (2 * u + 1 < depth ? (pair)at[1] << 16 : 0);
            }
    }
}

/* sum += the pairs' two products each. */
static inline vf pair_product(vf sum, pair a, vu b)
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
                                                            const pair *a, const pair *b, float *c, int64_t ldc,
                                                            enum tile_mode mode)
{
    vf sum[MR][2] = {{{0}}};
    for (int64_t k = 0; k < pairs; k++, a++, b += NR) {
        const vu low = *(const vu_loose *)(const void *)b, high = *(const vu_loose *)(const void *)(b + VN);
#pragma GCC unroll 12
        for (int i = 0; i < rows; i++) {
            sum[i][0] = pair_product(sum[i][0], a[i * A_APART], low);
            sum[i][1] = pair_product(sum[i][1], a[i * A_APART], high);
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

static void block_by_pairs(int64_t rows, int64_t columns, int64_t pairs, const pair *a, const pair *b, float *c,
                           int64_t ldc, enum tile_mode mode)
{
    for (int64_t j = 0; j < columns; j += NR, b += pairs * NR) {
        const int64_t width = columns - j < NR ? columns - j : NR;
        int64_t i = 0;
        for (; i + MR <= rows; i += MR)
            pair_tile(MR, width, pairs, a + i * A_APART, b, c + i * ldc + j, ldc, mode);
        for (; i + 4 <= rows; i += 4)
            pair_tile(4, width, pairs, a + i * A_APART, b, c + i * ldc + j, ldc, mode);
        for (; i < rows; i++)
            pair_tile(1, width, pairs, a + i * A_APART, b, c + i * ldc + j, ldc, mode);
    }
}

#ifdef __AMX_BF16__
/* Eight tiles of 16 rows of 64 bytes: 0 to 3 sum, 4 and 5 are A's, 6 and 7 B's. */
static void tiles_set(void)
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
static void square_put(const float *from, float *c, int64_t ldc, int64_t rows, int64_t columns, enum tile_mode mode)
{
    for (int64_t i = 0; i < TILE_ROWS && i < rows; i++)
        if (columns > 0) {
            float *to = c + i * ldc;
            const vf sum = vf_load(from + i * TILE_ROWS);
            vf_put(to, mode == TILE_ADD ? sum + vf_get(to, columns) : sum, columns);
        }
}

/* Two tiles of rows by two of columns at a time: as many loads as products. */
static void block_by_tiles(int64_t rows, int64_t columns, int64_t pairs, const pair *a, const pair *b, float *c,
                           int64_t ldc, enum tile_mode mode, float *square)
{
    for (int64_t j = 0; j < columns; j += NR, b += pairs * NR)
        for (int64_t i = 0; i < rows; i += 2 * TILE_ROWS) {
            const pair *upper = a + i * A_APART, *lower = upper + (int64_t)TILE_ROWS * A_APART;
            _tile_zero(0);
            _tile_zero(1);
            _tile_zero(2);
            _tile_zero(3);
            for (int64_t k = 0; k < pairs; k += TILE_ROWS) {
                _tile_loadd(6, b + k * NR, NR * sizeof *b);
                _tile_loadd(4, upper + k, A_APART * sizeof *a);
                _tile_loadd(7, b + k * NR + TILE_ROWS, NR * sizeof *b);
                _tile_loadd(5, lower + k, A_APART * sizeof *a);
                _tile_dpbf16ps(0, 4, 6);
                _tile_dpbf16ps(1, 4, 7);
                _tile_dpbf16ps(2, 5, 6);
                _tile_dpbf16ps(3, 5, 7);
            }
            float *to = c + i * ldc + j;
            const int64_t down = rows - i, across = columns - j;
            if (mode == TILE_STORE && down >= 2 * TILE_ROWS && across >= 2 * TILE_ROWS) {
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

/* This thread's part of C. */
static void part_multiply(const struct gemm_bf16 *g, bool amx, float *scratch)
{
    pair *a = (pair *)(void *)scratch, *b = a + A_PAIRS;
    float *sums = scratch + A_PAIRS + B_PAIRS;
    (void)amx; /* of no use to the other instruction sets */
    if (g->m <= 0 || g->n <= 0)
        return; /* more threads than panels */
    const int64_t part = even_block(g->m, PART_ROWS, MR), width = even_block(g->n, COLUMNS, NR),
                  deep = even_block(g->k, DEPTH, 2 * GRAIN);
    for (int64_t top = 0; top < g->m; top += part)
        for (int64_t j = 0; j < g->n; j += width) {
            const int64_t height = g->m - top < part ? g->m - top : part, columns = g->n - j < width ? g->n - j : width;
            const int64_t block = even_block(height, ROWS, 2 * TILE_ROWS);
            float *c = g->narrow ? sums : (float *)g->c + top * g->ldc + j;
            const int64_t ldc = g->narrow ? C_APART : g->ldc;
            for (int64_t k = 0; k < g->k; k += deep) {
                const int64_t depth = g->k - k < deep ? g->k - k : deep,
                              pairs = (depth + 2 * GRAIN - 1) / (2 * GRAIN) * GRAIN;
                const enum tile_mode mode = k > 0 ? TILE_ADD : TILE_STORE;
                pack_b_pairs(g, k, j, depth, columns, b);
                for (int64_t i = 0; i < height; i += block) {
                    const int64_t rows = height - i < block ? height - i : block;
                    pack_a_pairs(g, top + i, k, rows, depth, a);
#ifdef __AMX_BF16__
                    if (amx) {
                        block_by_tiles(rows, columns, pairs, a, b, c + i * ldc, ldc, mode,
                                       sums + (size_t)PART_ROWS * C_APART);
                        continue;
                    }
#endif
                    block_by_pairs(rows, columns, pairs, a, b, c + i * ldc, ldc, mode);
                }
            }
            for (int64_t i = 0; g->narrow && i < height; i++)
                for (int64_t x = 0; x < columns; x += VN)
                    values_put((struct values){g->c, true}, (top + i) * g->ldc + j + x, vf_load(sums + i * C_APART + x),
                               columns - x);
        }
}

void ISA(gemm_bf16)(const struct gemm_bf16 *whole, bool amx, int threads, float *scratch, size_t scratch_stride)
{
    int down = 1, across = 1;
    grid_choose(whole->m, whole->n, threads, &down, &across);
#pragma omp parallel num_threads(threads)
    {
        const int id = omp_get_thread_num();
#ifdef __AMX_BF16__
        if (amx)
            tiles_set();
#endif
        /* With fewer threads than asked for, each does several parts. */
        for (int p = id; p < down * across; p += omp_get_num_threads()) {
            int64_t row, row_end, column, column_end;
            cpu_split(whole->m, 2 * TILE_ROWS, p / across, down, &row, &row_end);
            cpu_split(whole->n, NR, p % across, across, &column, &column_end);
            struct gemm_bf16 part = *whole;
            part.m = row_end - row;
            part.n = column_end - column;
            part.a += row * whole->a_rs;
            part.b += column * whole->b_cs;
            part.c = (char *)whole->c + (row * whole->ldc + column) * (whole->narrow ? 2 : 4);
            part_multiply(&part, amx, scratch + (size_t)id * scratch_stride);
        }
#ifdef __AMX_BF16__
        if (amx)
            _tile_release();
#endif
    }
}
