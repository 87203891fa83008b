/* The two rates that set the roof: matrix products and copies, measured on random data. */
#include "base/clock.h"
#include "kernels/cuda/cuda_internal.h"
#include <stdlib.h>
#include <string.h>

#define COPY_BYTES ((uint64_t)1 << 30)
#define WORKSPACE_BYTES ((uint64_t)32 << 20)

struct bench {
    struct device *device;
    CUdeviceptr memory; /* two buffers of COPY_BYTES and the workspace */
    CUevent start, stop;
    struct cuda_gemm_set gemms;
    struct cuda_build build;
};

static bool random_fill(struct bench *bench, struct error *error)
{
    struct device *device = bench->device;
    bench->build = (struct cuda_build){
        .file = "elementwise.cu", .defines = {"T0=float", "T1=float", "T2=float", "VECTOR=4"}, .define_count = 4};
    struct cuda_build_options options = {.architecture = device->architecture};
    CUfunction function;
    long long words = (long long)(COPY_BYTES / 2);
    void *arguments[] = {&bench->memory, &words};
    return cuda_build_all(&device->libraries, &bench->build, 1, &options, error) &&
           CUDA_OK(device, cuModuleLoadData(&bench->build.module, bench->build.image), error) &&
           CUDA_OK(device, cuModuleGetFunction(&function, bench->build.module, "fill_random"), error) &&
           CUDA_OK(device,
                   cuLaunchKernel(function, (unsigned)device->units * 8, 1, 1, 256, 1, 1, 0, device->stream, arguments,
                                  NULL),
                   error);
}

static bool work(struct bench *bench, const struct cuda_gemm *gemm, struct error *error)
{
    struct device *device = bench->device;
    if (!gemm)
        return CUDA_OK(device, cuMemcpyDtoDAsync(bench->memory + COPY_BYTES, bench->memory, COPY_BYTES, device->stream),
                       error);
    struct program program = {
        .device = device, .gemm_workspace = bench->memory + 2 * COPY_BYTES, .gemm_workspace_bytes = WORKSPACE_BYTES};
    return cuda_gemm_run(&program, gemm, bench->memory, bench->memory + COPY_BYTES / 2, bench->memory + COPY_BYTES,
                         false, error);
}

/* Seconds of one piece of work, the fastest of the repeats that fit in the budget. */
static bool best_time(struct bench *bench, const struct cuda_gemm *gemm, int budget_ms, double *seconds,
                      struct error *error)
{
    struct device *device = bench->device;
    uint64_t until = clock_now() + (uint64_t)budget_ms * 1000000u;
    *seconds = 0.0;
    if (!work(bench, gemm, error)) /* warm-up */
        return false;
    do {
        float ms = 0.0f;
        if (!CUDA_OK(device, cuEventRecord(bench->start, device->stream), error) || !work(bench, gemm, error) ||
            !CUDA_OK(device, cuEventRecord(bench->stop, device->stream), error) ||
            !CUDA_OK(device, cuEventSynchronize(bench->stop), error) ||
            !CUDA_OK(device, cuEventElapsedTime(&ms, bench->start, bench->stop), error))
            return false;
        if (*seconds == 0.0 || ms * 1e-3 < *seconds)
            *seconds = ms * 1e-3;
    } while (clock_now() < until);
    return true;
}

bool cuda_measure_ceilings(struct device *device, enum precision precision, int budget_ms, double *flops_per_s,
                           double *bytes_per_s, struct error *error)
{
    struct bench bench = {.device = device};
    struct cuda_gemm_shape shape;
    memset(&shape, 0, sizeof shape);
    int64_t size = precision == PRECISION_FP32 ? 4096 : 8192; /* fits half of a buffer in either type */
    shape.m = shape.n = shape.k = shape.lda = shape.ldb = shape.ldd = size;
    shape.batch = 1;
    shape.align_a = shape.align_b = shape.align_d = 256;
    shape.transpose_b = 1;
    shape.type_ab = shape.type_d = precision == PRECISION_BF16 ? DTYPE_BF16 : DTYPE_F32;
    shape.tf32 = precision == PRECISION_TF32;
    shape.alpha = 1.0f;
    double seconds = 0.0;
    bool done = false;
    if (!CUDA_OK(device, cuCtxSetCurrent(device->context), error) ||
        !CUDA_OK(device, cuMemAlloc(&bench.memory, 2 * COPY_BYTES + WORKSPACE_BYTES), error) ||
        !CUDA_OK(device, cuEventCreate(&bench.start, CU_EVENT_DEFAULT), error) ||
        !CUDA_OK(device, cuEventCreate(&bench.stop, CU_EVENT_DEFAULT), error) || !random_fill(&bench, error))
        goto cleanup;
    int32_t index = cuda_gemm_find(&bench.gemms, &shape);
    if (!cuda_gemm_make(device, &bench.gemms.items[index], WORKSPACE_BYTES, error) ||
        !best_time(&bench, &bench.gemms.items[index], budget_ms / 2, &seconds, error))
        goto cleanup;
    *flops_per_s = 2.0 * (double)size * (double)size * (double)size / seconds;
    if (!best_time(&bench, NULL, budget_ms / 2, &seconds, error))
        goto cleanup;
    *bytes_per_s = 2.0 * (double)COPY_BYTES / seconds;
    done = true;
cleanup:
    device->libraries.cuStreamSynchronize(device->stream);
    cuda_gemm_release(&device->libraries, &bench.gemms);
    cuda_build_release(&device->libraries, &bench.build);
    if (bench.start)
        device->libraries.cuEventDestroy(bench.start);
    if (bench.stop)
        device->libraries.cuEventDestroy(bench.stop);
    if (bench.memory)
        device->libraries.cuMemFree(bench.memory);
    return done;
}
