#include "kernels/cuda/gemm.h"
#include "base/arena.h"
#include "base/strbuf.h"
#include "base/unknown.h"
#include "kernels/build_cache.h"
#include "kernels/choice.h"
#include "kernels/cuda/cuda_internal.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CANDIDATES 16
#define MAX_ROTATION 32 /* operand sets that timing walks through, so that weights come from memory as in a step */

int32_t cuda_gemm_find(struct cuda_gemm_set *set, const struct cuda_gemm_shape *shape)
{
    for (int32_t i = 0; i < set->count; ++i)
        // NOLINTNEXTLINE(bugprone-suspicious-memory-comparison): no padding, and alpha counts by its bits
        if (memcmp(&set->items[i].shape, shape, sizeof *shape) == 0)
            return i;
    if (set->count == set->capacity) {
        set->capacity = set->capacity ? set->capacity * 2 : 16;
        set->items = realloc(set->items, sizeof *set->items * (size_t)set->capacity);
        if (!set->items)
            abort();
    }
    struct cuda_gemm *gemm = &set->items[set->count];
    memset(gemm, 0, sizeof *gemm);
    gemm->shape = *shape;
    gemm->best_us = gemm->library_us = UNKNOWN_DOUBLE;
    gemm->hopper = -1;
    for (int variant = 0; variant < CUDA_HOPPER_VARIANTS; ++variant)
        gemm->hopper_module[variant] = -1;
    return set->count++;
}

static bool blaslt_ok(const struct cuda_libraries *libraries, cublasStatus_t status, const char *what,
                      const struct cuda_gemm_shape *shape, struct error *error)
{
    if (status == CUBLAS_STATUS_SUCCESS)
        return true;
    enum error_kind kind = status == CUBLAS_STATUS_ALLOC_FAILED    ? ERROR_MEMORY
                           : status == CUBLAS_STATUS_NOT_SUPPORTED ? ERROR_UNSUPPORTED
                                                                   : ERROR_INTERNAL;
    return error_set(error, kind, "%s for a product of %lld × %lld × %lld: %s", what, (long long)shape->m,
                     (long long)shape->n, (long long)shape->k, libraries->cublasLtGetStatusName(status));
}

static bool layout_make(const struct cuda_libraries *libraries, const struct cuda_gemm_shape *shape,
                        cudaDataType_t type, int64_t rows, int64_t columns, int64_t leading, int64_t stride,
                        cublasLtMatrixLayout_t *layout, struct error *error)
{
    cublasStatus_t status =
        libraries->cublasLtMatrixLayoutCreate(layout, type, (uint64_t)rows, (uint64_t)columns, leading);
    if (status == CUBLAS_STATUS_SUCCESS && shape->batch > 1) {
        int32_t batch = (int32_t)shape->batch;
        status = libraries->cublasLtMatrixLayoutSetAttribute(*layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &batch,
                                                             sizeof batch);
        if (status == CUBLAS_STATUS_SUCCESS)
            status = libraries->cublasLtMatrixLayoutSetAttribute(*layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                                                                 &stride, sizeof stride);
    }
    return blaslt_ok(libraries, status, "cuBLASLt layout", shape, error);
}

/* cuBLASLt counts by columns, so the row-major d = op(a)·op(b) is handed over as dᵀ = op(b)ᵀ·op(a)ᵀ: its A is our b. */
static bool gemm_describe(const struct cuda_libraries *libraries, struct cuda_gemm *gemm, struct error *error)
{
    const struct cuda_gemm_shape *shape = &gemm->shape;
    if (gemm->operation)
        return true;
    cublasComputeType_t compute = shape->tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
    cudaDataType_t type_ab = shape->type_ab == DTYPE_BF16 ? CUDA_R_16BF : CUDA_R_32F;
    cudaDataType_t type_d = shape->type_d == DTYPE_BF16 ? CUDA_R_16BF : CUDA_R_32F;
    cublasOperation_t none = CUBLAS_OP_N, transposed = CUBLAS_OP_T;
    cublasStatus_t status = libraries->cublasLtMatmulDescCreate(&gemm->operation, compute, CUDA_R_32F);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = libraries->cublasLtMatmulDescSetAttribute(gemm->operation, CUBLASLT_MATMUL_DESC_TRANSA,
                                                           shape->transpose_b ? &transposed : &none, sizeof none);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = libraries->cublasLtMatmulDescSetAttribute(gemm->operation, CUBLASLT_MATMUL_DESC_TRANSB,
                                                           shape->transpose_a ? &transposed : &none, sizeof none);
    if (!blaslt_ok(libraries, status, "cuBLASLt descriptor", shape, error))
        return false;
    return layout_make(libraries, shape, type_ab, shape->transpose_b ? shape->k : shape->n,
                       shape->transpose_b ? shape->n : shape->k, shape->ldb, shape->batch_b, &gemm->a, error) &&
           layout_make(libraries, shape, type_ab, shape->transpose_a ? shape->m : shape->k,
                       shape->transpose_a ? shape->k : shape->m, shape->lda, shape->batch_a, &gemm->b, error) &&
           layout_make(libraries, shape, type_d, shape->n, shape->m, shape->ldd, shape->batch_d, &gemm->d, error);
}

/* Up to `wanted` algorithms, best guess first. Partial sums of split-k stay in fp32 and are added in a fixed order, in the
 * workspace, never by atomics. */
static bool gemm_heuristics(struct device *device, struct cuda_gemm *gemm, uint64_t workspace_bytes, int wanted,
                            cublasLtMatmulHeuristicResult_t *results, int *count, struct error *error)
{
    const struct cuda_libraries *libraries = &device->libraries;
    const struct cuda_gemm_shape *shape = &gemm->shape;
    cublasLtMatmulPreference_t preference = NULL;
    uint32_t schemes = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    const struct {
        cublasLtMatmulPreferenceAttributes_t attribute;
        const void *value;
        size_t size;
    } settings[] = {
        {CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace_bytes, sizeof workspace_bytes},
        {CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &schemes, sizeof schemes},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &shape->align_b, sizeof shape->align_b},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &shape->align_a, sizeof shape->align_a},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &shape->align_d, sizeof shape->align_d},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &shape->align_d, sizeof shape->align_d},
    };
    cublasStatus_t status = libraries->cublasLtMatmulPreferenceCreate(&preference);
    for (size_t i = 0; i < sizeof settings / sizeof *settings && status == CUBLAS_STATUS_SUCCESS; ++i)
        status = libraries->cublasLtMatmulPreferenceSetAttribute(preference, settings[i].attribute, settings[i].value,
                                                                 settings[i].size);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = libraries->cublasLtMatmulAlgoGetHeuristic(device->blaslt, gemm->operation, gemm->a, gemm->b, gemm->d,
                                                           gemm->d, preference, wanted, results, count);
    if (preference)
        libraries->cublasLtMatmulPreferenceDestroy(preference);
    if (status == CUBLAS_STATUS_SUCCESS && *count == 0)
        status = CUBLAS_STATUS_NOT_SUPPORTED;
    return blaslt_ok(libraries, status, "cuBLASLt has no algorithm", shape, error);
}

static void gemm_name(const struct cuda_libraries *libraries, struct cuda_gemm *gemm)
{
    int32_t id = -1, split = 1;
    uint32_t tile = 0, stages = 0;
    size_t written;
    libraries->cublasLtMatmulAlgoConfigGetAttribute(&gemm->algorithm, CUBLASLT_ALGO_CONFIG_ID, &id, sizeof id,
                                                    &written);
    libraries->cublasLtMatmulAlgoConfigGetAttribute(&gemm->algorithm, CUBLASLT_ALGO_CONFIG_TILE_ID, &tile, sizeof tile,
                                                    &written);
    libraries->cublasLtMatmulAlgoConfigGetAttribute(&gemm->algorithm, CUBLASLT_ALGO_CONFIG_STAGES_ID, &stages,
                                                    sizeof stages, &written);
    libraries->cublasLtMatmulAlgoConfigGetAttribute(&gemm->algorithm, CUBLASLT_ALGO_CONFIG_SPLITK_NUM, &split,
                                                    sizeof split, &written);
    snprintf(gemm->name, sizeof gemm->name, "cublasLt %d tile %u stages %u split-k %d", id, tile, stages, split);
}

static void gemm_take(const struct cuda_libraries *libraries, struct cuda_gemm *gemm,
                      const cublasLtMatmulHeuristicResult_t *result)
{
    gemm->algorithm = result->algo;
    gemm->algorithm_workspace = result->workspaceSize;
    gemm->chosen = true;
    gemm_name(libraries, gemm);
}

static void gemm_take_own(struct cuda_gemm *gemm, int variant)
{
    gemm->hopper = variant;
    gemm->algorithm_workspace = 0;
    gemm->chosen = true;
    cuda_hopper_name(variant, gemm->name, sizeof gemm->name);
}

static bool gemm_launch(struct device *device, CUstream stream, const struct cuda_gemm *gemm,
                        const cublasLtMatmulAlgo_t *algorithm, CUdeviceptr a, CUdeviceptr b, CUdeviceptr d,
                        CUdeviceptr workspace, uint64_t workspace_bytes, struct error *error)
{
    const float zero = 0.0f;
    cublasStatus_t status = device->libraries.cublasLtMatmul(
        device->blaslt, gemm->operation, &gemm->shape.alpha, (const void *)b, gemm->a, (const void *)a, gemm->b, &zero,
        (void *)d, gemm->d, (void *)d, gemm->d, algorithm, (void *)workspace, workspace_bytes, (cudaStream_t)stream);
    return blaslt_ok(&device->libraries, status, "cuBLASLt", &gemm->shape, error);
}

bool cuda_gemm_run(struct program *program, const struct cuda_gemm *gemm, CUdeviceptr a, CUdeviceptr b, CUdeviceptr d,
                   bool side, struct error *error)
{
    CUstream stream = side ? program->side_stream : program->device->stream;
    if (gemm->hopper >= 0)
        return cuda_hopper_launch(program->device, stream, gemm, gemm->hopper, a, b, d, error);
    return gemm_launch(program->device, stream, gemm, &gemm->algorithm, a, b, d,
                       side ? program->side_workspace : program->gemm_workspace, program->gemm_workspace_bytes, error);
}

bool cuda_gemm_make(struct device *device, struct cuda_gemm *gemm, uint64_t workspace_bytes, struct error *error)
{
    cublasLtMatmulHeuristicResult_t result;
    int count = 0;
    if (!gemm_describe(&device->libraries, gemm, error) ||
        !gemm_heuristics(device, gemm, workspace_bytes, 1, &result, &count, error))
        return false;
    gemm_take(&device->libraries, gemm, &result);
    return true;
}

/* One way to run a product: an algorithm of cuBLASLt, or a variant of the kernel of our own. */
struct candidate {
    const cublasLtMatmulHeuristicResult_t *library; /* NULL: own */
    int variant;
};

/* A product whose candidates are being timed, on the operands of all launches that have its shape. */
struct gemm_timing {
    struct program *program;
    const struct cuda_gemm *gemm;
    struct candidate candidates[CANDIDATES + CUDA_HOPPER_VARIANTS];
    int candidate_count;
    int32_t launches[MAX_ROTATION];
    int launch_count;
    CUgraph graph;
    CUgraphExec executable;
};

static bool candidate_issue(const struct gemm_timing *timing, int index, int launch_count, int repeats,
                            struct error *error)
{
    struct program *program = timing->program;
    struct device *device = program->device;
    const struct candidate *candidate = &timing->candidates[index];
    for (int repeat = 0; repeat < repeats; ++repeat)
        for (int i = 0; i < launch_count; ++i) {
            const struct cuda_launch *launch = &program->launches[timing->launches[i]];
            if (candidate->library
                    ? !gemm_launch(device, device->stream, timing->gemm, &candidate->library->algo, launch->a,
                                   launch->b, launch->d, program->gemm_workspace, program->gemm_workspace_bytes, error)
                    : !cuda_hopper_launch(device, device->stream, timing->gemm, candidate->variant, launch->a,
                                          launch->b, launch->d, error))
                return false;
        }
    return true;
}

static void timing_done(void *context)
{
    struct gemm_timing *timing = context;
    if (timing->executable)
        timing->program->device->libraries.cuGraphExecDestroy(timing->executable);
    if (timing->graph)
        timing->program->device->libraries.cuGraphDestroy(timing->graph);
    timing->executable = NULL, timing->graph = NULL;
}

/* A graph, as the step will be: some of cuBLASLt's algorithms clear a counter first, which costs a node there. */
static bool timing_ready(void *context, int candidate, int repeats, struct error *error)
{
    struct gemm_timing *timing = context;
    struct device *device = timing->program->device;
    if (repeats == 1 && (!candidate_issue(timing, candidate, 1, 1, error) || /* loads its code */
                         !CUDA_OK(device, cuStreamSynchronize(device->stream), error)))
        return false;
    if (!CUDA_OK(device, cuStreamBeginCapture(device->stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL), error))
        return false;
    bool issued = candidate_issue(timing, candidate, timing->launch_count, repeats, error);
    struct error second = {0};
    return CUDA_OK(device, cuStreamEndCapture(device->stream, &timing->graph), issued ? error : &second) && issued &&
           CUDA_OK(device, cuGraphInstantiate(&timing->executable, timing->graph, 0), error);
}

static bool timing_round(void *context, double *us, struct error *error)
{
    struct gemm_timing *timing = context;
    struct device *device = timing->program->device;
    CUevent start = timing->program->boundary[0], end = timing->program->boundary[1];
    float ms = 0.0f;
    if (!CUDA_OK(device, cuEventRecord(start, device->stream), error) ||
        !CUDA_OK(device, cuGraphLaunch(timing->executable, device->stream), error) ||
        !CUDA_OK(device, cuEventRecord(end, device->stream), error) ||
        !CUDA_OK(device, cuEventSynchronize(end), error) ||
        !CUDA_OK(device, cuEventElapsedTime(&ms, start, end), error))
        return false;
    *us = (double)ms * 1e3;
    return true;
}

/* The fastest of the top heuristics and of our own kernels. A candidate that cannot run here is passed over. */
static bool gemm_measure(struct program *program, int32_t index, struct error *error)
{
    struct device *device = program->device;
    struct cuda_gemm *gemm = &program->gemms.items[index];
    cublasLtMatmulHeuristicResult_t results[CANDIDATES];
    struct gemm_timing timing = {.program = program, .gemm = gemm};
    int found = 0;
    if (!gemm_heuristics(device, gemm, program->gemm_workspace_bytes, CANDIDATES, results, &found, error))
        return false;
    for (int i = 0; i < found; ++i)
        if (results[i].state == CUBLAS_STATUS_SUCCESS && results[i].workspaceSize <= program->gemm_workspace_bytes)
            timing.candidates[timing.candidate_count++] = (struct candidate){.library = &results[i]};
    for (int variant = 0; variant < CUDA_HOPPER_VARIANTS; ++variant)
        if (gemm->hopper_function[variant])
            timing.candidates[timing.candidate_count++] = (struct candidate){.variant = variant};
    for (int32_t i = 0; i < program->launch_count && timing.launch_count < MAX_ROTATION; ++i)
        if (program->launches[i].kind == CUDA_LAUNCH_GEMM && program->launches[i].gemm == index)
            timing.launches[timing.launch_count++] = i;
    double times[CANDIDATES + CUDA_HOPPER_VARIANTS];
    struct choice_timer timer = {&timing, timing_ready, timing_round, timing_done, timing.launch_count};
    struct error why = {0};
    int best = choice_fastest(&timer, timing.candidate_count, times, &gemm->tried, &why);
    if (best < 0)
        return error_set(error, ERROR_UNSUPPORTED,
                         "none of %d algorithms runs for a product of %lld × %lld × %lld%s%.200s",
                         timing.candidate_count, (long long)gemm->shape.m, (long long)gemm->shape.n,
                         (long long)gemm->shape.k, why.text[0] ? "; the last: " : "", why.text);
    for (int c = 0; c < timing.candidate_count; ++c)
        if (timing.candidates[c].library && is_known(times[c]) &&
            (!is_known(gemm->library_us) || times[c] < gemm->library_us))
            gemm->library_us = times[c];
    if (timing.candidates[best].library)
        gemm_take(&device->libraries, gemm, timing.candidates[best].library);
    else
        gemm_take_own(gemm, timing.candidates[best].variant);
    gemm->best_us = times[best];
    return true;
}

/* What is kept on disk of one choice. */
struct gemm_record {
    struct cuda_gemm_shape shape;
    cublasLtMatmulAlgo_t algorithm;
    double best_us, library_us;
    int32_t tried, hopper;
};

static void cache_key(const struct device *device, uint64_t workspace_bytes, struct strbuf *key)
{
    strbuf_printf(key, "gemm algorithms 2, cublasLt %zu, %s sm_%d %d units, driver %d, workspace %llu\n",
                  device->libraries.blaslt_version, device->name, device->architecture, device->units,
                  device->libraries.driver_version, (unsigned long long)workspace_bytes);
}

static void cache_apply(struct program *program, const struct gemm_record *records, size_t count)
{
    const struct cuda_libraries *libraries = &program->device->libraries;
    for (size_t r = 0; r < count; ++r)
        for (int32_t i = 0; i < program->gemms.count; ++i) {
            struct cuda_gemm *gemm = &program->gemms.items[i];
            // NOLINTNEXTLINE(bugprone-suspicious-memory-comparison): no padding, and alpha counts by its bits
            if (gemm->chosen || memcmp(&gemm->shape, &records[r].shape, sizeof gemm->shape) != 0)
                continue;
            cublasLtMatmulHeuristicResult_t result;
            int32_t hopper = records[r].hopper;
            if (hopper >= 0) {
                if (hopper >= CUDA_HOPPER_VARIANTS || !gemm->hopper_function[hopper])
                    continue; /* timed again */
                gemm_take_own(gemm, hopper);
            } else {
                if (libraries->cublasLtMatmulAlgoCheck(program->device->blaslt, gemm->operation, gemm->a, gemm->b,
                                                       gemm->d, gemm->d, &records[r].algorithm,
                                                       &result) != CUBLAS_STATUS_SUCCESS ||
                    result.workspaceSize > program->gemm_workspace_bytes)
                    continue;
                result.algo = records[r].algorithm;
                gemm_take(libraries, gemm, &result);
            }
            gemm->from_cache = true;
            gemm->library_us = records[r].library_us;
            gemm->tried = records[r].tried;
            gemm->best_us = records[r].best_us;
        }
}

static void cache_store(struct program *program, const char *path, const char *key, const char *old, size_t old_size)
{
    struct strbuf content = {0};
    strbuf_add(&content, old, old_size);
    for (int32_t i = 0; i < program->gemms.count; ++i) {
        const struct cuda_gemm *gemm = &program->gemms.items[i];
        if (gemm->from_cache)
            continue;
        struct gemm_record record;
        memset(&record, 0, sizeof record);
        record.shape = gemm->shape;
        record.algorithm = gemm->algorithm;
        record.best_us = gemm->best_us;
        record.library_us = gemm->library_us;
        record.hopper = gemm->hopper;
        record.tried = gemm->tried;
        strbuf_add(&content, (const char *)&record, sizeof record);
    }
    struct error ignored = {0}; /* without the file the next start times again */
    build_cache_write(path, key, content.text ? content.text : "", content.length, &ignored);
    strbuf_release(&content);
}

bool cuda_gemm_choose(struct program *program, const char *cache_path, bool measure, struct error *error)
{
    struct device *device = program->device;
    struct strbuf key = {0};
    char *stored = NULL;
    size_t stored_size = 0;
    bool done = false, measured = false;
    cache_key(device, program->gemm_workspace_bytes, &key);
    for (int32_t i = 0; i < program->gemms.count; ++i)
        if (!gemm_describe(&device->libraries, &program->gemms.items[i], error))
            goto cleanup;
    if (measure && cache_path) {
        stored = build_cache_read(cache_path, key.text, &stored_size, NULL, 0);
        if (stored && stored_size % sizeof(struct gemm_record) == 0)
            cache_apply(program, (const struct gemm_record *)(const void *)stored,
                        stored_size / sizeof(struct gemm_record));
        else
            stored_size = 0;
    }
    for (int32_t i = 0; i < program->gemms.count; ++i) {
        struct cuda_gemm *gemm = &program->gemms.items[i];
        if (gemm->chosen)
            continue;
        if (measure ? !gemm_measure(program, i, error)
                    : !cuda_gemm_make(device, gemm, program->gemm_workspace_bytes, error))
            goto cleanup;
        measured = measured || measure;
    }
    if (measured && cache_path)
        cache_store(program, cache_path, key.text, stored ? stored : "", stored_size);
    done = true;
cleanup:
    free(stored);
    strbuf_release(&key);
    return done;
}

void cuda_gemm_release(const struct cuda_libraries *libraries, struct cuda_gemm_set *set)
{
    for (int32_t i = 0; i < set->count; ++i) {
        struct cuda_gemm *gemm = &set->items[i];
        if (gemm->a)
            libraries->cublasLtMatrixLayoutDestroy(gemm->a);
        if (gemm->b)
            libraries->cublasLtMatrixLayoutDestroy(gemm->b);
        if (gemm->d)
            libraries->cublasLtMatrixLayoutDestroy(gemm->d);
        if (gemm->operation)
            libraries->cublasLtMatmulDescDestroy(gemm->operation);
    }
    free(set->items);
    memset(set, 0, sizeof *set);
}
