#include "kernels/cuda/gemm.h"
#include "base/limits.h"
#include "base/unknown.h"
#include "kernels/choice_cache.h"
#include "kernels/cuda/cuda_internal.h"
#include "kernels/cuda/timing.h"
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
            memory_exhausted((size_t)set->capacity, "products");
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

int64_t cuda_gemm_unaligned(const struct cuda_gemm_shape *shape)
{
    const int64_t along[] = {shape->transpose_a ? shape->m : shape->k, shape->transpose_b ? shape->k : shape->n,
                             shape->n};
    const uint8_t types[] = {shape->type_ab, shape->type_ab, shape->type_d};
    for (int i = 0; i < 3; ++i)
        if (along[i] * (int64_t)dtype_size((enum dtype)types[i]) % 16 != 0)
            return along[i];
    return 0;
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
};

static bool candidate_issue(void *context, int index, bool first_alone, struct error *error)
{
    const struct gemm_timing *timing = context;
    struct program *program = timing->program;
    struct device *device = program->device;
    const struct candidate *candidate = &timing->candidates[index];
    for (int i = 0; i < (first_alone ? 1 : timing->launch_count); ++i) {
        const struct cuda_launch *launch = &program->launches[timing->launches[i]];
        if (candidate->library
                ? !gemm_launch(device, device->stream, timing->gemm, &candidate->library->algo, launch->a, launch->b,
                               launch->d, program->gemm_workspace, program->gemm_workspace_bytes, error)
                : !cuda_hopper_launch(device, device->stream, timing->gemm, candidate->variant, launch->a, launch->b,
                                      launch->d, error))
            return false;
    }
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
    struct cuda_timing timer = {program, &timing, candidate_issue, timing.launch_count, NULL, NULL};
    struct error why = {0};
    int best = cuda_timing_fastest(&timer, timing.candidate_count, times, &gemm->tried, &why);
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
struct gemm_answer {
    cublasLtMatmulAlgo_t algorithm;
    double best_us, library_us;
    int32_t tried, hopper;
};
#define SUBJECT "gemm"

/* What else than the shape decides. */
struct gemm_question {
    struct cuda_gemm_shape shape;
    uint64_t library_version, workspace_bytes;
};

static struct gemm_question question_of(const struct program *program, const struct cuda_gemm *gemm)
{
    struct gemm_question question;
    memset(&question, 0, sizeof question);
    question.shape = gemm->shape;
    question.library_version = program->device->libraries.blaslt_version;
    question.workspace_bytes = program->gemm_workspace_bytes;
    return question;
}

/* False where nothing is known, or not what can still run. */
bool cuda_gemm_recall(struct program *program, struct cuda_gemm *gemm, struct choice_cache *cache)
{
    const struct cuda_libraries *libraries = &program->device->libraries;
    struct gemm_question question = question_of(program, gemm);
    struct gemm_answer answer;
    if (!choice_cache_find(cache, SUBJECT, &question, sizeof question, &answer, sizeof answer))
        return false;
    if (!choice_us_possible(answer.best_us) ||
        (is_known(answer.library_us) && !choice_us_possible(answer.library_us)) || answer.tried < 1 ||
        answer.tried > CANDIDATES + CUDA_HOPPER_VARIANTS || answer.hopper >= CUDA_HOPPER_VARIANTS) {
        choice_cache_refuse(cache);
        return false;
    }
    if (answer.hopper >= 0) {
        if (!gemm->hopper_function[answer.hopper])
            return false;
        gemm_take_own(gemm, answer.hopper);
    } else {
        cublasLtMatmulHeuristicResult_t result;
        if (libraries->cublasLtMatmulAlgoCheck(program->device->blaslt, gemm->operation, gemm->a, gemm->b, gemm->d,
                                               gemm->d, &answer.algorithm, &result) != CUBLAS_STATUS_SUCCESS ||
            result.workspaceSize > program->gemm_workspace_bytes)
            return false;
        result.algo = answer.algorithm;
        gemm_take(libraries, gemm, &result);
    }
    gemm->from_cache = true;
    gemm->library_us = answer.library_us;
    gemm->tried = answer.tried;
    gemm->best_us = answer.best_us;
    return true;
}

void cuda_gemm_remember(struct program *program, const struct cuda_gemm *gemm, struct choice_cache *cache)
{
    struct gemm_question question = question_of(program, gemm);
    struct gemm_answer answer;
    memset(&answer, 0, sizeof answer);
    answer.algorithm = gemm->algorithm;
    answer.best_us = gemm->best_us;
    answer.library_us = gemm->library_us;
    answer.hopper = gemm->hopper;
    answer.tried = gemm->tried;
    choice_cache_add(cache, SUBJECT, &question, sizeof question, &answer, sizeof answer);
}

bool cuda_gemm_choose(struct program *program, const struct prepare_options *options, struct choice_cache *cache,
                      struct error *error)
{
    struct device *device = program->device;
    for (int32_t i = 0; i < program->gemms.count; ++i)
        if (!gemm_describe(&device->libraries, &program->gemms.items[i], error))
            return false;
    for (int32_t i = 0; i < program->gemms.count; ++i) {
        struct cuda_gemm *gemm = &program->gemms.items[i];
        if (gemm->chosen || (cache && cuda_gemm_recall(program, gemm, cache)))
            continue;
        if (cache)
            prepare_progress(options, "timing products", i, program->gemms.count);
        if (cache ? !gemm_measure(program, i, error)
                  : !cuda_gemm_make(device, gemm, program->gemm_workspace_bytes, error))
            return false;
        if (cache)
            cuda_gemm_remember(program, gemm, cache);
    }
    return true;
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
