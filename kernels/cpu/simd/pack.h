/* Operands copied into the panels that the register tile reads. */
#pragma once
#include "kernels/cpu/simd/tile.h"
#include "kernels/cpu/simd/transpose.h"

/* Rows that are columns in memory are turned a square at a time, the last rows of a panel first. Where MR is not a multiple
 * of SQUARE that square is wider than what is left of the panel: what it writes beyond are the first rows of the next k,
 * written after it, and at the very end the slack that every packed A must have: PACK_SLACK floats. */
#define PACK_SLACK 16
static inline __attribute__((always_inline)) void turn_panel(const float *from, int64_t rs, float *panel)
{
#pragma GCC unroll 4
    for (int64_t i = (MR - 1) / SQUARE * SQUARE; i >= 0; i -= SQUARE)
        transpose_square(from + i * rs, rs, MR - i < SQUARE ? MR - i : SQUARE, panel + i, MR);
}

/* Panels of MR rows: element (i, k) at panel[k·MR + i]; rows beyond the matrix are zero. a[i·rs + k·ks]. */
static inline void pack_a(const float *a, int64_t rs, int64_t ks, int64_t rows, int64_t depth, float *to)
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
            if (ks == 1)
                for (; k + SQUARE <= depth; k += SQUARE)
                    turn_panel(from + k, rs, panel + k * MR);
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
static inline void pack_b(const float *b, int64_t ks, int64_t cs, int64_t depth, int64_t columns, float *to)
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
