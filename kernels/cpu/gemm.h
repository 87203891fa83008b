/* The CPU's own GEMM: operands by strides, so that transposes and column slices need no copies. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* C (m,n) = A (m,k) B (k,n); element (i,k) of A is a[i·a_rs + k·a_ks], (k,j) of B is b[k·b_ks + j·b_cs], C row-major. */
struct gemm {
    int64_t m, n, k;
    const float *a;
    int64_t a_rs, a_ks;
    const float *b;
    int64_t b_ks, b_cs;
    float *c;
    int64_t ldc;
};

/* Sizes of the packed blocks, at most: A (rows × depth) stays in the second-level cache, B (depth × columns) in the third. A
 * deep block goes over C less often, a flat one keeps a panel of B in the first-level cache. Every size is a multiple of what
 * any register tile is high and wide, so that a product cut into even blocks never needs more. */
struct gemm_blocks {
    int64_t rows, depth, columns;
};
#define GEMM_BLOCK_FLAT ((struct gemm_blocks){192, 512, 2048})
#define GEMM_BLOCK_DEEP ((struct gemm_blocks){96, 1024, 1024})

/* Scratch of a thread for either: the two blocks, and the slack that packing A may write. */
#define GEMM_A_FLOATS ((size_t)192 * 512 + 64)
#define GEMM_B_FLOATS ((size_t)1024 * 1024)
#define GEMM_SCRATCH_FLOATS (GEMM_A_FLOATS + GEMM_B_FLOATS)

/* The same product of bf16 operands, summed in float; C is float or bf16 (`narrow`). Strides count elements. */
struct gemm_bf16 {
    int64_t m, n, k;
    const uint16_t *a;
    int64_t a_rs, a_ks;
    const uint16_t *b;
    int64_t b_ks, b_cs;
    void *c;
    int64_t ldc;
    bool narrow;
};

typedef void cpu_gemm(const struct gemm *gemm, struct gemm_blocks blocks, int threads, float *scratch,
                      size_t scratch_stride);

/* `amx`: by the tile unit, which this thread's process has been allowed to use (cpu_amx_ready). Scratch as above. */
typedef void cpu_gemm_bf16(const struct gemm_bf16 *gemm, bool amx, int threads, float *scratch, size_t scratch_stride);
