/* A GEMM of our own, after Goto and van de Geijn (2008): B in panels for the first-level cache, blocks of A for the second,
 * a register tile in the middle. Both operands may be transposed while they are packed. */
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/simd/pack.h"
#include "kernels/cpu/simd/parts.h"
#include "kernels/cpu/simd/tile.h"

cpu_gemm ISA(gemm);

/* One block of A against the panels of B. While a panel is used, the tiles together bring the next one nearer; after the
 * last comes the first again, for the next block of A. */
static void block_multiply(int64_t rows, int64_t columns, int64_t depth, const float *a, const float *b, float *c,
                           int64_t ldc, enum tile_mode mode)
{
    const int64_t tiles = (rows + MR - 1) / MR, step = AHEAD_EVERY * NR / tiles;
    for (int64_t j = 0; j < columns; j += NR) {
        const int64_t width = columns - j < NR ? columns - j : NR;
        const float *panel = a, *b_panel = b + j * depth, *next = j + NR < columns ? b_panel + depth * NR : b;
        for (int64_t i = 0; i < rows; i += MR, panel += depth * MR, next += depth / AHEAD_EVERY * step) {
            if (rows - i >= MR)
                tile_ahead(MR, width, depth, 1, panel, 1, MR, b_panel, c + i * ldc + j, ldc, mode,
                           (struct ahead){next, step});
            else
                tile_rows(rows - i, width, depth, 1, panel, 1, MR, b_panel, c + i * ldc + j, ldc, mode);
        }
    }
}

/* This thread's part of C: a grid of threads over rows and columns, each with packed operands of its own, so that nobody
 * waits for anybody before the end. */
static void part_multiply(const struct gemm *g, struct gemm_blocks most, float *scratch)
{
    float *a_packed = scratch, *b_packed = scratch + GEMM_A_FLOATS;
    if (g->m <= 0 || g->n <= 0)
        return; /* more threads than panels */
    const struct gemm_blocks size = {even_block(g->m, most.rows, MR), even_block(g->k, most.depth, SQUARE),
                                     even_block(g->n, most.columns, NR)};
    for (int64_t j = 0; j < g->n; j += size.columns) {
        const int64_t columns = g->n - j < size.columns ? g->n - j : size.columns;
        for (int64_t k = 0; k < g->k; k += size.depth) {
            const int64_t depth = g->k - k < size.depth ? g->k - k : size.depth;
            pack_b(g->b + k * g->b_ks + j * g->b_cs, g->b_ks, g->b_cs, depth, columns, b_packed);
            for (int64_t i = 0; i < g->m; i += size.rows) {
                const int64_t rows = g->m - i < size.rows ? g->m - i : size.rows;
                pack_a(g->a + i * g->a_rs + k * g->a_ks, g->a_rs, g->a_ks, rows, depth, a_packed);
                block_multiply(rows, columns, depth, a_packed, b_packed, g->c + i * g->ldc + j, g->ldc,
                               k > 0 ? TILE_ADD : TILE_STORE);
            }
        }
    }
}

void ISA(gemm)(const struct gemm *whole, struct gemm_blocks blocks, int threads, float *scratch, size_t scratch_stride)
{
    int down = 1, across = 1;
    grid_choose(whole->m, whole->n, threads, &down, &across);
#pragma omp parallel num_threads(threads)
    {
        const int id = omp_get_thread_num();
        struct gemm part = *whole;
        int64_t row, row_end, column, column_end;
        /* With fewer threads than asked for, each does several parts. */
        for (int p = id; p < down * across; p += omp_get_num_threads()) {
            cpu_split(whole->m, MR, p / across, down, &row, &row_end);
            cpu_split(whole->n, NR, p % across, across, &column, &column_end);
            part = *whole;
            part.m = row_end - row;
            part.n = column_end - column;
            part.a += row * whole->a_rs;
            part.b += column * whole->b_cs;
            part.c += row * whole->ldc + column;
            part_multiply(&part, blocks, scratch + (size_t)id * scratch_stride);
        }
    }
}
