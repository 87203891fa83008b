/* Device class "reference": runs any plan in double precision, one plain loop an op. The oracle of all other devices. */
#include "base/clock.h"
#include "base/unknown.h"
#include "kernels/reference/internal.h"
#include "kernels/reference/reference.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct device {
    int index;
};

static reference_kernel *const kernels[OP_COUNT] = {
    [OP_EMBEDDING] = reference_embedding,
    [OP_EMBEDDING_BACKWARD] = reference_embedding_backward,
    [OP_RMSNORM] = reference_rmsnorm,
    [OP_RMSNORM_BACKWARD] = reference_rmsnorm_backward,
    [OP_LINEAR] = reference_linear,
    [OP_LINEAR_BACKWARD_INPUT] = reference_linear_backward_input,
    [OP_LINEAR_BACKWARD_WEIGHT] = reference_linear_backward_weight,
    [OP_ROPE] = reference_rope,
    [OP_ROPE_BACKWARD] = reference_rope_backward,
    [OP_ATTN_SCORES] = reference_attn_scores,
    [OP_ATTN_SCORES_BACKWARD_Q] = reference_attn_scores_backward_q,
    [OP_ATTN_SCORES_BACKWARD_K] = reference_attn_scores_backward_k,
    [OP_CAUSAL_SOFTMAX] = reference_causal_softmax,
    [OP_CAUSAL_SOFTMAX_BACKWARD] = reference_causal_softmax_backward,
    [OP_ATTN_VALUES] = reference_attn_values,
    [OP_ATTN_VALUES_BACKWARD_P] = reference_attn_values_backward_p,
    [OP_ATTN_VALUES_BACKWARD_V] = reference_attn_values_backward_v,
    [OP_ADD] = reference_add,
    [OP_SILU] = reference_silu,
    [OP_SILU_BACKWARD] = reference_silu_backward,
    [OP_MUL] = reference_mul,
    [OP_CROSS_ENTROPY] = reference_cross_entropy,
    [OP_CROSS_ENTROPY_BACKWARD] = reference_cross_entropy_backward,
    [OP_CAST] = reference_cast,
    [OP_ADAMW] = reference_adamw,
    [OP_ADD_RMSNORM] = reference_add_rmsnorm,
    [OP_ATTENTION] = reference_attention,
    [OP_ATTENTION_BACKWARD] = reference_attention_backward,
    [OP_SWIGLU] = reference_swiglu,
    [OP_SWIGLU_BACKWARD] = reference_swiglu_backward,
    [OP_CROSS_ENTROPY_FUSED] = reference_cross_entropy_fused,
    [OP_ADAMW_ALL] = reference_adamw,
};

static bool is_collective(enum op op)
{
    return op == OP_ALL_REDUCE || op == OP_REDUCE_SCATTER || op == OP_ALL_GATHER || op == OP_BROADCAST;
}

/* Own small tables, so that the oracle stands without ops.c and cannot share a mistake with it. */
static const uint64_t dtype_bytes[DTYPE_COUNT] = {[DTYPE_F32] = 4, [DTYPE_BF16] = 2, [DTYPE_F64] = 8, [DTYPE_I32] = 4};

static int64_t element_count(const struct tensor *tensor)
{
    int64_t count = 1;
    for (int i = 0; i < tensor->rank; i++)
        count *= tensor->shape[i];
    return count;
}

double *reference_values(struct program *program, int32_t tensor)
{
    const struct tensor *t = &program->plan->tensors[tensor];
    return program->arena[t->dtype] + t->offset / dtype_bytes[t->dtype];
}

struct matrix reference_matrix(const struct program *program, int32_t tensor)
{
    if (tensor == TENSOR_NONE)
        return (struct matrix){0};
    const struct tensor *t = &program->plan->tensors[tensor];
    const int64_t columns = t->rank ? t->shape[t->rank - 1] : 1;
    return (struct matrix){
        .v = program->arena[t->dtype] + t->offset / dtype_bytes[t->dtype],
        .rows = columns ? element_count(t) / columns : 0,
        .columns = columns,
        .stride = t->row_stride ? t->row_stride : columns,
    };
}

static bool reference_enumerate(struct device_info *infos, int max, int *count, struct error *error)
{
    (void)error;
    *count = 1;
    if (max < 1)
        return true;
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    infos[0] = (struct device_info){
        .name = "reference",
        .model = "plain loops, one thread",
        .architecture = "double precision",
        .driver = "none",
        .memory_bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * page,
        .free_bytes = (uint64_t)sysconf(_SC_AVPHYS_PAGES) * page,
        .units = 1,
        .clock_mhz = UNKNOWN_DOUBLE,
        .precisions = (1u << PRECISION_COUNT) - 1, /* whatever is asked for, it computes in double */
    };
    return true;
}

static struct device *reference_open(int index, struct error *error)
{
    if (index != 0) {
        error_set(error, ERROR_DEVICE, "there is one reference device, reference:0, and no reference:%d", index);
        return NULL;
    }
    struct device *device = calloc(1, sizeof *device);
    if (!device)
        error_set(error, ERROR_SYSTEM, "cannot open the reference device: out of memory");
    return device;
}

static void reference_close(struct device *device)
{
    free(device);
}

static bool reference_supports(const struct device *device, enum op op, enum precision precision, char *why,
                               size_t why_size)
{
    (void)device;
    (void)precision;
    if ((unsigned)op < OP_COUNT && (kernels[op] || is_collective(op)))
        return true;
    snprintf(why, why_size, "the reference has no op %d", (int)op);
    return false;
}

static void reference_release(struct program *program)
{
    if (!program)
        return;
    reference_ranks_close(program);
    for (int dtype = 0; dtype < DTYPE_COUNT; dtype++)
        if (program->arena[dtype])
            munmap(program->arena[dtype], program->arena_bytes[dtype]);
    free(program->names);
    free(program);
}

/* Everything starts at zero, and so do m and v. */
static struct program *reference_prepare(struct device *device, const struct plan *plan,
                                         const struct prepare_options *options, struct prepare_report *report,
                                         struct error *error)
{
    (void)device;
    uint64_t extent[DTYPE_COUNT] = {0};
    for (int32_t i = 0; i < plan->tensor_count; i++) {
        const struct tensor *t = &plan->tensors[i];
        /* Regions that ADAMW_ALL sweeps may name no more than their first and last byte, hence bytes and shape. */
        const uint64_t shape_bytes = (uint64_t)element_count(t) * dtype_bytes[t->dtype];
        const uint64_t last = t->offset + (t->bytes > shape_bytes ? t->bytes : shape_bytes);
        const uint64_t elements = (last + dtype_bytes[t->dtype] - 1) / dtype_bytes[t->dtype];
        if (elements > extent[t->dtype])
            extent[t->dtype] = elements;
    }
    struct program *program = calloc(1, sizeof *program);
    if (!program) {
        error_set(error, ERROR_SYSTEM, "cannot prepare the reference: out of memory");
        return NULL;
    }
    program->plan = plan;
    uint64_t total = 0;
    for (int dtype = 0; dtype < DTYPE_COUNT; dtype++)
        program->arena_bytes[dtype] = extent[dtype] * sizeof(double);
    if (!reference_ranks_open(program, options ? options->communicator : NULL, error))
        goto fail;
    for (int dtype = 0; dtype < DTYPE_COUNT; dtype++) {
        const uint64_t bytes = program->arena_bytes[dtype];
        total += bytes;
        if (!bytes || program->arena[dtype])
            continue;
        void *arena = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (arena == MAP_FAILED) {
            error_set(error, ERROR_MEMORY, "the reference needs %llu MiB for its doubles: %s",
                      (unsigned long long)(bytes >> 20), strerror(errno));
            goto fail;
        }
        program->arena[dtype] = arena;
    }
    if (options && options->probe) {
        program->names = calloc((size_t)plan->node_count + 1, sizeof *program->names);
        if (!program->names) {
            error_set(error, ERROR_SYSTEM, "cannot prepare the reference: out of memory");
            goto fail;
        }
        for (int32_t i = 0; i < plan->node_count; i++)
            program->names[i] = options->probe->intern(options->probe->context, op_info(plan->nodes[i].op)->name);
    }
    if (report)
        *report = (struct prepare_report){
            .workspace_bytes = total > plan->memory.total ? total - plan->memory.total : 0,
            .device_free_bytes = UNKNOWN_U64,
            .notes = {{"kernels", "reference, double precision, one thread"}},
            .note_count = 1,
        };
    return program;
fail:
    reference_release(program);
    return NULL;
}

static bool reference_run(struct program *program, unsigned phases, uint64_t step_id, const struct probe *probe,
                          struct step_times *times, struct error *error)
{
    (void)step_id;
    const struct plan *plan = program->plan;
    struct step_times ignored;
    if (!times)
        times = &ignored;
    times->start = clock_now();
    if (phases & PHASE_BIT(PHASE_OPT))
        program->steps_done++;
    for (int phase = 0; phase < PHASE_COUNT; phase++) {
        times->phase_ns[phase] = UNKNOWN_U64;
        if (!(phases & PHASE_BIT(phase)))
            continue;
        const uint64_t start = clock_now();
        for (int32_t i = plan->phase_first[phase]; i < plan->phase_first[phase + 1]; i++) {
            const bool probed = probe && program->names;
            if (probed)
                probe->enter(probe->context, i);
            if (!is_collective(plan->nodes[i].op))
                kernels[plan->nodes[i].op](program, &plan->nodes[i]);
            else if (!reference_collective(program, &plan->nodes[i], error))
                return false;
            if (probed)
                probe->leave(probe->context, i, program->names[i]);
        }
        times->phase_ns[phase] = clock_now() - start;
    }
    times->end = clock_now();
    return true;
}

static float bf16_to_float(uint16_t bits)
{
    const uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}

/* Round to nearest, ties to even; a NaN stays one. */
static uint16_t bf16_from_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

static bool reference_write(struct program *program, int32_t tensor, const void *bytes, struct error *error)
{
    const struct plan *plan = program->plan;
    const struct tensor *t = &plan->tensors[tensor];
    const struct matrix m = reference_matrix(program, tensor);
    for (int64_t row = 0; row < m.rows; row++)
        for (int64_t column = 0; column < m.columns; column++) {
            const int64_t i = row * m.columns + column;
            double value = 0;
            switch (t->dtype) {
            case DTYPE_F32:
                value = (double)((const float *)bytes)[i];
                break;
            case DTYPE_BF16:
                value = (double)bf16_to_float(((const uint16_t *)bytes)[i]);
                break;
            case DTYPE_F64:
                value = ((const double *)bytes)[i];
                break;
            case DTYPE_I32:
                value = ((const int32_t *)bytes)[i];
                if (plan->vocab > 0 && (value < 0 || value >= (double)plan->vocab))
                    return error_set(error, ERROR_INPUT, "%s[%lld] is %.0f, outside the vocabulary of %lld", t->name,
                                     (long long)i, value, (long long)plan->vocab);
                break;
            case DTYPE_COUNT:
                break;
            }
            m.v[row * m.stride + column] = value;
        }
    for (int32_t i = 0; t->kind == TENSOR_PARAMETER && i < plan->tensor_count; i++) {
        if (plan->tensors[i].kind != TENSOR_PARAMETER_COPY || plan->tensors[i].parameter != tensor)
            continue;
        const struct matrix copy = reference_matrix(program, i);
        // NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): m is the parameter's matrix, which has values
        memcpy(copy.v, m.v, (size_t)(m.rows * m.columns) * sizeof *m.v);
    }
    return true;
}

static bool reference_read(struct program *program, int32_t tensor, void *bytes, struct error *error)
{
    (void)error;
    const struct tensor *t = &program->plan->tensors[tensor];
    const struct matrix m = reference_matrix(program, tensor);
    for (int64_t row = 0; row < m.rows; row++)
        for (int64_t column = 0; column < m.columns; column++) {
            const int64_t i = row * m.columns + column;
            const double value = m.v[row * m.stride + column];
            switch (t->dtype) {
            case DTYPE_F32:
                ((float *)bytes)[i] = (float)value;
                break;
            case DTYPE_BF16:
                ((uint16_t *)bytes)[i] = bf16_from_float((float)value);
                break;
            case DTYPE_F64:
                ((double *)bytes)[i] = value;
                break;
            case DTYPE_I32:
                ((int32_t *)bytes)[i] = (int32_t)value;
                break;
            case DTYPE_COUNT:
                break;
            }
        }
    return true;
}

const struct device_class reference_device_class = {
    .abi = DEVICE_ABI,
    .name = "reference",
    .enumerate = reference_enumerate,
    .open = reference_open,
    .close = reference_close,
    .supports = reference_supports,
    .prepare = reference_prepare,
    .release = reference_release,
    .run = reference_run,
    .write = reference_write,
    .read = reference_read,
};
