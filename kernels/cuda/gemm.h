/* Matrix products through cuBLASLt: descriptors made once, algorithms chosen once and remembered on disk. */
#pragma once
#include "base/error.h"
#include "kernels/cuda/cuda_libraries.h"
#include "kernels/plan.h"
#include <stdbool.h>
#include <stdint.h>

/* d (m, n) = alpha · op(a) · op(b), all row-major; op(a) is (m, k): a is (m, k), or (k, m) when transpose_a; op(b) is
 * (k, n): b is (k, n), or (n, k) when transpose_b. `batch` such products lie `batch_*` elements apart. Two equal shapes
 * have equal bytes (zero the struct first). */
struct cuda_gemm_shape {
    int64_t m, n, k;
    int64_t lda, ldb, ldd;
    int64_t batch, batch_a, batch_b, batch_d;
    uint32_t align_a, align_b, align_d; /* bytes that divide every address the product is run with */
    uint8_t transpose_a, transpose_b;
    uint8_t type_ab, type_d; /* enum dtype */
    uint8_t tf32, pad[3];
    float alpha;
    uint32_t pad2;
};

/* Variants of the kernel of our own, device/gemm_hopper.cu. */
#define CUDA_HOPPER_VARIANTS 13

struct cuda_gemm {
    struct cuda_gemm_shape shape;
    cublasLtMatmulDesc_t operation;
    cublasLtMatrixLayout_t a, b, d;
    cublasLtMatmulAlgo_t algorithm;
    size_t algorithm_workspace;
    int32_t hopper_module[CUDA_HOPPER_VARIANTS]; /* of the program's builds; -1: not for this shape */
    CUfunction hopper_function[CUDA_HOPPER_VARIANTS];
    int hopper; /* the variant that was chosen; -1: cuBLASLt's algorithm */
    bool chosen;
    bool from_cache;
    int tried;         /* candidates that were timed; 0 when the first heuristic was taken */
    double best_us;    /* of the timing; NaN when not timed */
    double library_us; /* the same of cuBLASLt's fastest */
    char name[64];     /* "cublasLt 67 tile 20 split-k 3" */
};

struct cuda_gemm_set {
    struct cuda_gemm *items;
    int32_t count, capacity;
};

struct choice_cache;
struct device;
struct program;
struct lowering;

/* Index of the GEMM of this shape, made when it is new. */
int32_t cuda_gemm_find(struct cuda_gemm_set *set, const struct cuda_gemm_shape *shape);

/* Makes descriptors and chooses algorithms for the whole set: with a cache, what it knows, else by timing the top heuristics on
 * the program's own operands, which overwrites the products' outputs; without one (NULL), the first heuristic. */
struct prepare_options;
bool cuda_gemm_choose(struct program *program, const struct prepare_options *options, struct choice_cache *cache,
                      struct error *error);

/* What was chosen for the product before, where that can be and can still run; and keeping what is chosen now. */
bool cuda_gemm_recall(struct program *program, struct cuda_gemm *gemm, struct choice_cache *cache);
void cuda_gemm_remember(struct program *program, const struct cuda_gemm *gemm, struct choice_cache *cache);

/* The first of the product's sizes that lie along memory in an operand and are no whole pieces of 16 bytes, 0 when there is none:
 * such products take kernels without aligned loads, which are several times as slow. */
int64_t cuda_gemm_unaligned(const struct cuda_gemm_shape *shape);

/* `side`: on the side stream, with its own workspace. */
bool cuda_gemm_run(struct program *program, const struct cuda_gemm *gemm, CUdeviceptr a, CUdeviceptr b, CUdeviceptr d,
                   bool side, struct error *error);
void cuda_gemm_release(const struct cuda_libraries *libraries, struct cuda_gemm_set *set);

/* Descriptors and the first heuristic for one shape outside any program: for measuring ceilings. */
bool cuda_gemm_make(struct device *device, struct cuda_gemm *gemm, uint64_t workspace_bytes, struct error *error);

/* The tf32 kernel of our own for Hopper. It serves all products but those of two operands that lie across k (tn): fp32
 * operands whose rows are whole 16-byte pieces. `register` adds the variants' modules to the program,
 * `resolve` finds their functions once they are loaded. */
bool cuda_hopper_serves(const struct device *device, const struct cuda_gemm_shape *shape);
void cuda_hopper_register(struct lowering *lowering, struct cuda_gemm *gemm);
bool cuda_hopper_resolve(struct program *program, struct cuda_gemm *gemm, struct error *error);
bool cuda_hopper_launch(struct device *device, CUstream stream, const struct cuda_gemm *gemm, int variant,
                        CUdeviceptr a, CUdeviceptr b, CUdeviceptr d, struct error *error);
void cuda_hopper_name(int variant, char *name, size_t size);
