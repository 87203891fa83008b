/* The product of bf16 operands: blocks as in gemm.c, but an element of a packed operand is a pair (pairs.h). Packed rows and columns
 * beyond the operands are zero, up to whole tiles. */
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/simd/pairs.h"
#include "kernels/cpu/simd/parts.h"

cpu_gemm_bf16 ISA(gemm_bf16);

#define DEPTH 512 /* elements of a block */
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

/* A block of A, its rows filled up with zeros to whole tiles. */
static void pack_a_pairs(const struct gemm_bf16 *g, int64_t i, int64_t k, int64_t rows, int64_t depth, bf16_pair *to)
{
    const uint16_t *from = g->a + i * g->a_rs + k * g->a_ks;
    if (g->a_ks == 1)
        pairs_along(from, g->a_rs, rows, depth, to, A_APART);
    else
        pairs_across(from, g->a_ks, rows, depth, to, A_APART);
    for (int64_t r = rows; r % (2 * TILE_ROWS); r++)
        memset(to + r * A_APART, 0, A_APART * sizeof *to);
}

/* A block of B in panels of NR columns. */
static void pack_b_pairs(const struct gemm_bf16 *g, int64_t k, int64_t j, int64_t depth, int64_t columns, bf16_pair *to)
{
    const int64_t pairs = pairs_of(depth);
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
                to[u * NR + c] = at[0] | (2 * u + 1 < depth ? (bf16_pair)at[1] << 16 : 0);
            }
    }
}

void ISA(gemm_bf16_alone)(const struct gemm_bf16 *g, float alpha, bool amx, float *scratch)
{
    bf16_pair *a = (bf16_pair *)(void *)scratch, *b = a + A_PAIRS;
    float *sums = scratch + A_PAIRS + B_PAIRS;
    float *square = sums + (size_t)PART_ROWS * C_APART;
    if (g->m <= 0 || g->n <= 0)
        return; /* more threads than panels */
    const int64_t part = even_block(g->m, PART_ROWS, 2 * TILE_ROWS), width = even_block(g->n, COLUMNS, NR),
                  deep = even_block(g->k, DEPTH, 2 * GRAIN);
    for (int64_t top = 0; top < g->m; top += part)
        for (int64_t j = 0; j < g->n; j += width) {
            const int64_t height = g->m - top < part ? g->m - top : part, columns = g->n - j < width ? g->n - j : width;
            const int64_t block = even_block(height, ROWS, 2 * TILE_ROWS);
            float *c = g->narrow ? sums : (float *)g->c + top * g->ldc + j;
            const int64_t ldc = g->narrow ? C_APART : g->ldc;
            for (int64_t k = 0; k < g->k; k += deep) {
                const int64_t depth = g->k - k < deep ? g->k - k : deep, pairs = pairs_of(depth);
                const enum tile_mode mode = k > 0 ? TILE_ADD : TILE_STORE;
                pack_b_pairs(g, k, j, depth, columns, b);
                for (int64_t i = 0; i < height; i += block) {
                    const int64_t rows = height - i < block ? height - i : block;
                    pack_a_pairs(g, top + i, k, rows, depth, a);
                    pairs_multiply(amx, rows, columns, pairs, a, A_APART, b, pairs * NR, c + i * ldc, ldc, mode,
                                   square);
                }
            }
            if (!g->narrow && alpha == 1)
                continue;
            for (int64_t i = 0; i < height; i++)
                for (int64_t x = 0; x < columns; x += VN)
                    values_put((struct values){g->c, g->narrow}, (top + i) * g->ldc + j + x,
                               vf_get(c + i * ldc + x, columns - x) * alpha, columns - x);
        }
}

void ISA(gemm_bf16)(const struct gemm_bf16 *whole, bool amx, int threads, float *scratch, size_t scratch_stride)
{
    int down = 1, across = 1;
    grid_choose(whole->m, whole->n, threads, &down, &across);
#pragma omp parallel num_threads(threads)
    {
        const int id = omp_get_thread_num();
        pairs_begin(amx);
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
            ISA(gemm_bf16_alone)(&part, 1, amx, scratch + (size_t)id * scratch_stride);
        }
        pairs_end(amx);
    }
}
