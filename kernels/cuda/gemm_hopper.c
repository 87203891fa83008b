/* The tf32 products of device/gemm_hopper.cu: which shapes they serve, their variants, and their launch. */
#include "kernels/cuda/cuda_internal.h"
#include <stdio.h>
#include <string.h>

#define TILE_K 32

/* Rows (64 a warpgroup) and columns of a tile, stages of (rows + columns) · 128 bytes in shared memory, and how many blocks
 * share k. The card is full when tiles · split comes close to its multiprocessors, or to twice that for the smallest tile. */
static const struct {
    int warpgroups, columns, stages, split;
} variants[] = {
    {2, 128, 3, 1}, {2, 128, 3, 2}, {2, 128, 3, 4}, {2, 192, 5, 1}, {2, 192, 5, 2}, {2, 192, 5, 3}, {2, 256, 4, 1},
    {2, 256, 4, 2}, {2, 256, 4, 3}, {2, 256, 4, 4}, {3, 192, 4, 1}, {3, 192, 4, 2}, {3, 192, 4, 4},
};
_Static_assert(sizeof variants / sizeof *variants == CUDA_HOPPER_VARIANTS, "one build a variant");

/* What the kernel calls A and B, and how it stores d. */
struct operands {
    int64_t m, n, k, stride_a, stride_b;
    bool along, across, swapped; /* A lies along k; d is stored n by n; A is the product's b */
};

static struct operands operands_of(const struct cuda_gemm_shape *shape)
{
    if (shape->transpose_a) /* tt: a (k, m), b (n, k) */
        return (struct operands){
            .m = shape->m, .n = shape->n, .k = shape->k, .stride_a = shape->lda, .stride_b = shape->ldb};
    if (shape->transpose_b) /* nt: a (m, k), b (n, k) */
        return (struct operands){
            .m = shape->m, .n = shape->n, .k = shape->k, .stride_a = shape->lda, .stride_b = shape->ldb, .along = true};
    return (struct operands){.m = shape->n,
                             .n = shape->m,
                             .k = shape->k,
                             .stride_a = shape->ldb,
                             .stride_b = shape->lda,
                             .across = true,
                             .swapped = true}; /* nn: b (k, n), a (m, k) */
}

bool cuda_hopper_serves(const struct device *device, const struct cuda_gemm_shape *shape)
{
    struct operands o = operands_of(shape);
    return device->architecture == 90 && shape->tf32 && shape->type_ab == DTYPE_F32 && shape->type_d == DTYPE_F32 &&
           shape->batch == 1 && (shape->transpose_b || !shape->transpose_a) && shape->alpha == 1.0f &&
           shape->align_a >= 16 && shape->align_b >= 16 && shape->align_d >= 8 && shape->lda % 4 == 0 &&
           shape->ldb % 4 == 0 && shape->ldd % 2 == 0 && (o.along || o.m % 2 == 0) && (o.across || o.n % 2 == 0) &&
           o.m <= INT32_MAX && o.n <= INT32_MAX && o.k <= INT32_MAX;
}

static unsigned shared_bytes(int variant)
{
    unsigned stage = (unsigned)(64 * variants[variant].warpgroups + variants[variant].columns) * TILE_K * sizeof(float);
    return (unsigned)variants[variant].stages * (stage + 16) + 1024; /* two barriers a stage; room to align */
}

/* Worth timing: enough steps for each block of a cluster, and no split where the tiles alone fill the card. */
static bool variant_fits(const struct device *device, const struct cuda_gemm_shape *shape, int variant)
{
    struct operands o = operands_of(shape);
    int64_t rows = 64 * variants[variant].warpgroups, columns = variants[variant].columns,
            split = variants[variant].split;
    int64_t blocks = (o.m + rows - 1) / rows * ((o.n + columns - 1) / columns) * split;
    int64_t slots = device->units * (rows * columns <= 128 * 128 ? 2 : 1);
    return (o.k + TILE_K - 1) / TILE_K >= 4 * split && (split == 1 || blocks <= slots);
}

void cuda_hopper_register(struct lowering *lowering, struct cuda_gemm *gemm)
{
    for (int variant = 0; variant < CUDA_HOPPER_VARIANTS; ++variant) {
        gemm->hopper_module[variant] = -1;
        if (!cuda_hopper_serves(lowering->program->device, &gemm->shape) ||
            !variant_fits(lowering->program->device, &gemm->shape, variant))
            continue;
        struct defines defines = {0};
        define_number(&defines, "WARPGROUPS", variants[variant].warpgroups);
        define_number(&defines, "BN", variants[variant].columns);
        define_number(&defines, "STAGES", variants[variant].stages);
        define_number(&defines, "SPLIT", variants[variant].split);
        if (operands_of(&gemm->shape).along)
            define_number(&defines, "ALONG", 1);
        if (operands_of(&gemm->shape).across)
            define_number(&defines, "ACROSS", 1);
        gemm->hopper_module[variant] = lower_module(lowering, "gemm_hopper.cu", &defines);
    }
}

bool cuda_hopper_resolve(struct program *program, struct cuda_gemm *gemm, struct error *error)
{
    struct device *device = program->device;
    for (int variant = 0; variant < CUDA_HOPPER_VARIANTS; ++variant) {
        if (gemm->hopper_module[variant] < 0)
            continue;
        CUfunction *function = &gemm->hopper_function[variant];
        if (!CUDA_OK(device,
                     cuModuleGetFunction(function, program->builds[gemm->hopper_module[variant]].module, "gemm_tf32"),
                     error) ||
            !CUDA_OK(device,
                     cuFuncSetAttribute(*function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                                        (int)shared_bytes(variant)),
                     error))
            return error_prefix(error, "kernel gemm_tf32");
    }
    return true;
}

/* Boxes of 32 floats by `box` rows of a matrix (rows, columns), 128 bytes a row, swizzled by 128 bytes; zeros beyond it. */
static bool map_make(struct device *device, CUtensorMap *map, CUdeviceptr address, int64_t rows, int64_t columns,
                     int64_t stride, unsigned box, struct error *error)
{
    const cuuint64_t sizes[2] = {(cuuint64_t)columns, (cuuint64_t)rows},
                     strides[1] = {(cuuint64_t)stride * sizeof(float)};
    const cuuint32_t box_sizes[2] = {TILE_K, box}, steps[2] = {1, 1};
    return CUDA_OK(device,
                   cuTensorMapEncodeTiled(map, CU_TENSOR_MAP_DATA_TYPE_FLOAT32, 2, (void *)address, sizes, strides,
                                          box_sizes, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                                          CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
                   error);
}

bool cuda_hopper_launch(struct device *device, CUstream stream, const struct cuda_gemm *gemm, int variant,
                        CUdeviceptr a, CUdeviceptr b, CUdeviceptr d, struct error *error)
{
    struct operands o = operands_of(&gemm->shape);
    CUtensorMap map_a, map_b;
    int m = (int)o.m, n = (int)o.n, k = (int)o.k;
    long long stride = gemm->shape.ldd;
    unsigned columns = (unsigned)variants[variant].columns, rows = 64 * (unsigned)variants[variant].warpgroups;
    if (!map_make(device, &map_a, o.swapped ? b : a, o.along ? o.m : o.k, o.along ? o.k : o.m, o.stride_a, TILE_K,
                  error) ||
        !map_make(device, &map_b, o.swapped ? a : b, o.n, o.k, o.stride_b, columns, error))
        return false;
    void *arguments[] = {&map_a, &map_b, &d, &m, &n, &k, &stride};
    return CUDA_OK(device,
                   cuLaunchKernel(gemm->hopper_function[variant], ((unsigned)m + rows - 1) / rows,
                                  ((unsigned)n + columns - 1) / columns, (unsigned)variants[variant].split, 2 * rows, 1,
                                  1, shared_bytes(variant), stream, arguments, NULL),
                   error);
}

void cuda_hopper_name(int variant, char *name, size_t size)
{
    snprintf(name, size, "gemm_tf32 tile %dx%d stages %d split-k %d", 64 * variants[variant].warpgroups,
             variants[variant].columns, variants[variant].stages, variants[variant].split);
}
