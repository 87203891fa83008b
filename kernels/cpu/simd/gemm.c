/* A GEMM of our own, after Goto and van de Geijn (2008): B in panels for the first-level cache, blocks of A for the second,
 * a register tile in the middle. Both operands may be transposed while they are packed. */
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/simd/tile.h"
#include "kernels/cpu/simd/transpose.h"

cpu_gemm ISA(gemm);

/* Rows that are columns in memory are turned a square at a time. A square of A is wider than a panel of MR rows where MR
 * is not a multiple of SQUARE: what it writes beyond is overwritten by the next k, and at the very end is the slack that
 * GEMM_A_FLOATS includes. */
#define A_TURNS (MR < SQUARE ? MR : SQUARE)

/* Panels of MR rows: element (i, k) at panel[k·MR + i]; rows beyond the matrix are zero. a[i·rs + k·ks]. */
static void pack_a(const float *a, int64_t rs, int64_t ks, int64_t rows, int64_t depth, float *to)
{
    const int64_t whole = rows / MR * MR;
    if (rs == 1) {
        for (int64_t k = 0; k < depth; k++)
            for (int64_t base = 0; base < whole; base += MR)
                memcpy(to + base * depth + k * MR, a + k * ks + base, MR * sizeof *to);
    } else {
        for (int64_t base = 0; base < whole; base += MR) {
            const float *from = a + base * rs;
            float *panel = to + base * depth;
            int64_t k = 0;
            if (ks == 1 && MR <= SQUARE)
                for (; k + SQUARE <= depth; k += SQUARE)
                    transpose_square(from + k, rs, A_TURNS, panel + k * MR, MR);
            for (; k < depth; k++)
                for (int64_t i = 0; i < MR; i++)
                    panel[k * MR + i] = from[i * rs + k * ks];
        }
    }
    if (whole < rows) {
        float *panel = to + whole * depth;
        memset(panel, 0, (size_t)(depth * MR) * sizeof *panel);
        for (int64_t k = 0; k < depth; k++)
            for (int64_t i = 0; i < rows - whole; i++)
                panel[k * MR + i] = a[(whole + i) * rs + k * ks];
    }
}

/* Panels of NR columns: element (k, j) at panel[k·NR + j]; columns beyond the matrix are zero. b[k·ks + j·cs]. */
static void pack_b(const float *b, int64_t ks, int64_t cs, int64_t depth, int64_t columns, float *to)
{
    for (int64_t base = 0; base < columns; base += NR, to += depth * NR) {
        const float *from = b + base * cs;
        const int64_t count = columns - base < NR ? columns - base : NR;
        int64_t k = 0;
        if (count < NR) {
            memset(to, 0, (size_t)(depth * NR) * sizeof *to);
        } else if (cs == 1) {
            for (; k < depth; k++) {
                __builtin_prefetch(from + (k + 16) * ks);
                vf_store(to + k * NR, vf_load(from + k * ks));
                vf_store(to + k * NR + VN, vf_load(from + k * ks + VN));
            }
        } else if (ks == 1) {
            for (; k + SQUARE <= depth; k += SQUARE)
                for (int64_t j = 0; j < NR; j += SQUARE)
                    transpose_square(from + j * cs + k, cs, SQUARE, to + k * NR + j, NR);
        }
        for (; k < depth; k++)
            for (int64_t j = 0; j < count; j++)
                to[k * NR + j] = from[k * ks + j * cs];
    }
}

/* One block of A against the panels of B. */
static void block_multiply(int64_t rows, int64_t columns, int64_t depth, const float *a, const float *b, float *c,
                           int64_t ldc, enum tile_mode mode)
{
    for (int64_t j = 0; j < columns; j += NR, b += depth * NR) {
        const int64_t width = columns - j < NR ? columns - j : NR;
        const float *panel = a;
        for (int64_t i = 0; i < rows; i += MR, panel += depth * MR) {
            if (rows - i >= MR)
                tile(MR, width, depth, 1, panel, 1, MR, b, c + i * ldc + j, ldc, mode);
            else
                tile_rows(rows - i, width, depth, 1, panel, 1, MR, b, c + i * ldc + j, ldc, mode);
        }
    }
}

/* This thread's part of C: a grid of threads over rows and columns, each with packed operands of its own, so that nobody
 * waits for anybody before the end. */
static void part_multiply(const struct gemm *g, struct gemm_blocks size, float *scratch)
{
    float *a_packed = scratch, *b_packed = scratch + GEMM_A_FLOATS;
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

/* How `threads` threads share C: the grid whose parts need the least packing. */
static void grid_choose(int64_t m, int64_t n, int threads, int *down, int *across)
{
    double least = 0;
    for (int d = 1; d <= threads; d++) {
        if (threads % d)
            continue;
        const double cost = (double)m / d + (double)n / (threads / d);
        if (d == 1 || cost < least) {
            least = cost;
            *down = d;
            *across = threads / d;
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
