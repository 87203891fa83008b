/* A plan made ready for the CPU, and its steps. */
#include "base/clock.h"
#include "base/processes.h"
#include "base/processors.h"
#include "base/unknown.h"
#include "kernels/cpu/bf16.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd/attention.h"
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static cpu_kernel *const shared_kernels[OP_COUNT] = {
    [OP_LINEAR] = cpu_linear,
    [OP_LINEAR_BACKWARD_INPUT] = cpu_linear_backward_input,
    [OP_LINEAR_BACKWARD_WEIGHT] = cpu_linear_backward_weight,
    [OP_ALL_REDUCE] = cpu_collective,
    [OP_REDUCE_SCATTER] = cpu_collective,
    [OP_ALL_GATHER] = cpu_collective,
    [OP_BROADCAST] = cpu_collective,
};

cpu_kernel *cpu_find_kernel(const struct cpu_isa *isa, enum op op)
{
    return isa->kernels[op] ? isa->kernels[op] : shared_kernels[op];
}

/* The kernel's name with the sizes that an engineer asks for first: m × n × k of a GEMM. */
static char *step_name(struct program *program, const struct cpu_step *step)
{
    const struct node *node = step->node;
    const bool narrow = node->input[0] != TENSOR_NONE && cpu_gemm_is_bf16(program, node);
    const char *attention_by = narrow && program->amx ? "amx" : program->isa->name;
    const char *by = step->gemm == GEMM_OPENBLAS ? "sgemm" : program->isa->gemm_name;
    if (narrow)
        by = program->amx ? "gemm_bf16_amx" : program->isa->gemm_bf16_name;
    const struct node_dims *d = &node->dims;
    const long long rows = d->rows, in = d->d_in, out = d->d_out, t = d->context, hd = d->head_dim;
    const long long heads = d->batch * d->heads;
    struct arena *arena = &program->strings;
    switch (node->op) {
    case OP_LINEAR:
        return arena_printf(arena, "%s_nt %lldx%lldx%lld", by, rows, out, in);
    case OP_LINEAR_BACKWARD_INPUT:
        return arena_printf(arena, "%s_nn %lldx%lldx%lld", by, rows, in, out);
    case OP_LINEAR_BACKWARD_WEIGHT:
        return arena_printf(arena, "%s_tn %lldx%lldx%lld", by, out, in, rows);
    case OP_ATTN_SCORES:
    case OP_ATTN_VALUES_BACKWARD_P:
        return arena_printf(arena, "gemm_batched_nt %s %lld of %lldx%lldx%lld", attention_by, heads, t, t, hd);
    case OP_ATTN_VALUES:
    case OP_ATTN_SCORES_BACKWARD_Q:
        return arena_printf(arena, "gemm_batched_nn %s %lld of %lldx%lldx%lld", attention_by, heads, t, hd, t);
    case OP_ATTN_SCORES_BACKWARD_K:
    case OP_ATTN_VALUES_BACKWARD_V:
        return arena_printf(arena, "gemm_batched_tn %s %lld of %lldx%lldx%lld", attention_by, heads, t, hd, t);
    case OP_ATTENTION:
    case OP_ATTENTION_BACKWARD:
        return arena_printf(arena, "%s %s %lld of %lldx%lld",
                            node->op == OP_ATTENTION ? "flash_attention" : "flash_attention_backward", attention_by,
                            heads, t, hd);
    case OP_ALL_REDUCE:
    case OP_REDUCE_SCATTER:
    case OP_ALL_GATHER:
    case OP_BROADCAST:
        return arena_printf(arena, "%s %s %s", op_info(node->op)->name, cpu_ranks_apart(program) ? "tcp" : "shm",
                            program->plan->tensors[node->input[0]].dtype == DTYPE_BF16 ? "bf16" : "f32");
    default:
        return arena_printf(arena, "%s %s", op_info(node->op)->name, program->isa->name);
    }
}

/* Timing of GEMMs takes no longer than this, whatever the model. */
#define CHOICE_BUDGET_NS 4000000000u

static bool node_is_collective(const struct node *node)
{
    return op_info(node->op)->kernel_class == CLASS_COLLECTIVE;
}

static bool sizes_fit(const struct plan *plan, struct error *error)
{
    for (int32_t i = 0; i < plan->node_count; i++) {
        const struct node_dims *d = &plan->nodes[i].dims;
        if (d->rows > INT_MAX || d->d_in > INT_MAX || d->d_out > INT_MAX || d->context > INT_MAX)
            return error_set(error, ERROR_UNSUPPORTED, "%s has a dimension beyond 2^31, which BLAS cannot address",
                             op_info(plan->nodes[i].op)->name);
        const bool fused = plan->nodes[i].op == OP_ATTENTION || plan->nodes[i].op == OP_ATTENTION_BACKWARD;
        if (fused && d->head_dim > ATTENTION_HEAD_MAX)
            return error_set(error, ERROR_UNSUPPORTED, "the CPU's fused attention takes heads up to %d wide, not %lld",
                             ATTENTION_HEAD_MAX, (long long)d->head_dim);
    }
    return true;
}

void cpu_release(struct program *program)
{
    if (!program)
        return;
    cpu_ranks_close(program);
    cpu_memory_unmap(program->arena, program->arena_bytes);
    cpu_memory_unmap(program->scratch, program->scratch_bytes);
    free(program->data);
    free(program->steps);
    arena_release(&program->strings);
    free(program);
}

static bool refused(uint64_t wanted, uint64_t free_bytes, struct error *error)
{
    return error_set(error, ERROR_MEMORY, "the plan needs %.1f MiB and the system refuses it (%.1f MiB free)",
                     (double)wanted / 0x1p20, (double)free_bytes / 0x1p20);
}

/* Checks that arena and scratch fit before either is mapped, and maps the scratch. */
static bool scratch_make(struct program *program, struct prepare_report *report, struct error *error)
{
    const struct plan *plan = program->plan;
    size_t bytes = plan->memory.total;
    for (int32_t i = 0; i < plan->tensor_count; i++) {
        const struct tensor *t = &plan->tensors[i];
        if (t->offset + t->bytes > bytes)
            bytes = t->offset + t->bytes;
    }
    program->arena_bytes = bytes ? bytes : PLAN_ALIGNMENT;
    const uint64_t free_bytes = cpu_memory_free(), wanted = program->arena_bytes + program->scratch_bytes;
    report->device_free_bytes = free_bytes;
    report->workspace_bytes = program->scratch_bytes;
    if (is_known_u64(free_bytes) && wanted > free_bytes)
        return error_set(error, ERROR_MEMORY, "the plan needs %.1f MiB and the machine has %.1f MiB free",
                         (double)wanted / 0x1p20, (double)free_bytes / 0x1p20);
    if (program->scratch_bytes == 0)
        return true;
    program->scratch = cpu_memory_map(program->scratch_bytes);
    if (!program->scratch)
        return refused(wanted, free_bytes, error);
    cpu_memory_touch(program->scratch, program->scratch_bytes, program->threads);
    return true;
}

/* Maps the arena. Tensors that live on are touched one by one, each in the pieces that the threads will have of it. */
static bool arena_make(struct program *program, const struct prepare_report *report, struct communicator *communicator,
                       struct error *error)
{
    const struct plan *plan = program->plan;
    if (!cpu_ranks_open(program, communicator, error))
        return false;
    if (!program->arena)
        program->arena = cpu_memory_map(program->arena_bytes);
    if (!program->arena)
        return refused(program->arena_bytes + program->scratch_bytes, report->device_free_bytes, error);
    for (int32_t i = 0; i < plan->tensor_count; i++) {
        const struct tensor *t = &plan->tensors[i];
        program->data[i] = (char *)program->arena + t->offset;
        if (t->view_of == TENSOR_NONE && tensor_kind_persists(t->kind) && t->kind != TENSOR_GRADIENT)
            cpu_memory_touch(program->data[i], t->bytes, program->threads);
    }
    return true;
}

/* The storage that activations share by lifetime, and with gradients, has no such pieces and is touched as one: right before
 * the first step, when whoever filled the parameters from a buffer of its own has given that back. */
static void activations_touch(struct program *program)
{
    const struct plan *plan = program->plan;
    uint64_t first = program->arena_bytes, last = 0;
    for (int32_t i = 0; i < plan->tensor_count; i++) {
        const struct tensor *t = &plan->tensors[i];
        if (t->view_of != TENSOR_NONE || (tensor_kind_persists(t->kind) && t->kind != TENSOR_GRADIENT))
            continue;
        first = t->offset < first ? t->offset : first;
        last = t->offset + t->bytes > last ? t->offset + t->bytes : last;
    }
    if (last > first)
        cpu_memory_touch((char *)program->arena + first, last - first, program->threads);
    program->activations_touched = true;
}

/* Floats that a node's kernel wants for each thread. */
static size_t scratch_floats(const struct program *program, const struct node *node)
{
    const bool narrow = node->input[0] != TENSOR_NONE && cpu_gemm_is_bf16(program, node);
    switch (node->op) {
    case OP_LINEAR:
    case OP_LINEAR_BACKWARD_INPUT:
    case OP_LINEAR_BACKWARD_WEIGHT:
        return GEMM_SCRATCH_FLOATS;
    case OP_RMSNORM_BACKWARD:
        return (size_t)node->dims.d_in; /* a thread's share of dw */
    case OP_ATTN_SCORES:
    case OP_ATTN_SCORES_BACKWARD_Q:
    case OP_ATTN_SCORES_BACKWARD_K:
    case OP_ATTN_VALUES:
    case OP_ATTN_VALUES_BACKWARD_P:
    case OP_ATTN_VALUES_BACKWARD_V:
    case OP_ATTENTION:
    case OP_ATTENTION_BACKWARD: {
        const size_t wide = attention_scratch(node->dims.context, node->dims.head_dim);
        const bool fused = node->op == OP_ATTENTION || node->op == OP_ATTENTION_BACKWARD;
        const size_t pairs = !narrow  ? 0
                             : !fused ? GEMM_SCRATCH_FLOATS
                                      : attention_bf16_scratch(node->dims.context, node->dims.head_dim);
        return wide > pairs ? wide : pairs; /* not all operands need be bf16 */
    }
    case OP_CROSS_ENTROPY:
    case OP_CROSS_ENTROPY_FUSED:
        return (size_t)node->dims.rows; /* losses by row, in the first thread's piece */
    default:
        return 0;
    }
}

struct program *cpu_prepare(struct device *device, const struct plan *plan, const struct prepare_options *options,
                            struct prepare_report *report, struct error *error)
{
    char why[160];
    struct prepare_report ignored;
    if (!report)
        report = &ignored;
    *report = (struct prepare_report){.device_free_bytes = UNKNOWN_U64};
    const bool works = cpu_precision_works(plan->precision, why, sizeof why);
    if (!works && !(options && options->emulate && plan->precision == PRECISION_BF16)) {
        error_set(error, ERROR_UNSUPPORTED, "%s on the CPU: %s", precision_name(plan->precision), why);
        return NULL;
    }
    if (!sizes_fit(plan, error))
        return NULL;
    struct program *program = calloc(1, sizeof *program);
    if (!program) {
        error_set(error, ERROR_MEMORY, "cannot prepare the plan: out of memory");
        return NULL;
    }
    program->plan = plan;
    program->isa = cpu_isa_best();
    program->blas = cpu_blas_of(device);
    program->amx = plan->precision == PRECISION_BF16 && !(options && options->no_tiles) && cpu_amx_ready();
    program->threads = cpu_thread_count(options ? options->threads : 0);
    if (!threads_start(program->threads, error))
        goto fail;
    program->data = calloc((size_t)plan->tensor_count + 1, sizeof *program->data);
    program->steps = calloc((size_t)plan->node_count + 1, sizeof *program->steps);
    if (!program->data || !program->steps) {
        error_set(error, ERROR_MEMORY, "cannot prepare the plan: out of memory");
        goto fail;
    }
    const struct probe *probe = options ? options->probe : NULL;
    size_t scratch = 0;
    for (int32_t i = 0; i < plan->node_count; i++) {
        const struct node *node = &plan->nodes[i];
        struct cpu_step *step = &program->steps[i];
        step->node = node;
        step->kernel = cpu_find_kernel(program->isa, node->op);
        if (!step->kernel) {
            error_set(error, ERROR_UNSUPPORTED, "the CPU has no kernel for %s", op_info(node->op)->name);
            goto fail;
        }
        const size_t wanted = scratch_floats(program, node);
        scratch = wanted > scratch ? wanted : scratch;
    }
    program->interned = probe != NULL;
    program->scratch_stride = (scratch + 1023) / 1024 * 1024;
    program->scratch_bytes = program->scratch_stride * sizeof(float) * (size_t)program->threads;
    if (program->blas)
        program->blas->set_threads(program->threads);
    if (!scratch_make(program, report, error))
        goto fail;
    char threads[96];
    const struct processors processors = processors_allowed();
    processors_text(&processors, threads, sizeof threads);
    if (options && options->threads > 0)
        snprintf(threads, sizeof threads, "%d", program->threads);
    prepare_say(report, "threads", arena_printf(&program->strings, "%s", threads));
    if (!program->blas)
        prepare_say(report, "OpenBLAS", arena_printf(&program->strings, "not used: %s", cpu_blas_reason(device)));
    prepare_say(report, "instruction set", program->isa->name);
    if (plan->precision == PRECISION_BF16)
        prepare_say(report, "bf16 products", !works ? "emulated" : program->amx ? "AMX tiles" : "vdpbf16ps");
    /* Before the arena: what the timing needs for a moment is not on top of it. Eager's linear layers take the fastest GEMM
     * too, one kernel an op as before: only what compile mode adds counts as compile time. */
    const uint64_t start = clock_now();
    if (!cpu_gemm_choose(program, options, CHOICE_BUDGET_NS, report, error))
        goto fail;
    if (options && options->compile)
        report->compile_ns = clock_now() - start;
    if (!arena_make(program, report, options ? options->communicator : NULL, error))
        goto fail;
    for (int32_t i = 0; i < plan->node_count; i++) {
        struct cpu_step *step = &program->steps[i];
        step->name = step_name(program, step);
        if (probe)
            step->interned = probe->intern(probe->context, step->name);
    }
    return program;
fail:
    cpu_release(program);
    return NULL;
}

bool cpu_run(struct program *program, unsigned phases, uint64_t step_id, const struct probe *probe,
             struct step_times *times, struct error *error)
{
    const struct plan *plan = program->plan;
    struct step_times ignored;
    if (!times)
        times = &ignored;
    if (probe && !program->interned)
        return error_set(error, ERROR_INTERNAL, "a profiled run of a program that was prepared without a probe");
    if (program->blas)
        program->blas->set_threads(program->threads); /* another program or the ceilings may have set another number */
    if (!program->activations_touched)
        activations_touch(program);
    times->start = clock_now();
    if (phases & PHASE_BIT(PHASE_OPT))
        program->steps_done++;
    for (int phase = 0; phase < PHASE_COUNT; phase++) {
        times->phase_ns[phase] = UNKNOWN_U64;
        if (!(phases & PHASE_BIT(phase)))
            continue;
        const uint64_t start = clock_now();
        for (int32_t i = plan->phase_first[phase]; i < plan->phase_first[phase + 1]; i++) {
            const struct cpu_step *step = &program->steps[i];
            const bool probed = probe && !(program->ranks && step->node->aside);
            if (program->ranks && !cpu_ranks_before(program, i, error))
                goto failed;
            if (probed)
                probe->enter(probe->context, i);
            if (program->ranks && node_is_collective(step->node)) {
                if (!cpu_ranks_run(program, i, error))
                    goto failed;
            } else {
                step->kernel(program, step->node);
            }
            if (probed)
                probe->leave(probe->context, i, step->interned);
        }
        if (program->ranks && !cpu_ranks_phase_end(program, error))
            goto failed;
        times->phase_ns[phase] = clock_now() - start;
    }
    times->end = clock_now();
    if (program->ranks)
        cpu_ranks_step_end(program, step_id, probe);
    return true;
failed:
    cpu_ranks_phase_end(program, NULL);
    cpu_ranks_step_end(program, step_id, NULL);
    return false;
}

/* Calls `copy` for each row of a tensor that may be a column slice. */
static void rows_copy(const struct program *program, int32_t tensor, void *outside, bool out)
{
    const struct tensor *t = &program->plan->tensors[tensor];
    const size_t element = dtype_size(t->dtype);
    const int64_t columns = t->rank ? t->shape[t->rank - 1] : 1;
    const int64_t rows = columns ? tensor_elements(t) / columns : 0;
    const size_t width = (size_t)columns * element,
                 stride = (size_t)(t->row_stride ? t->row_stride : columns) * element;
    char *inside = program->data[tensor];
    for (int64_t row = 0; row < rows; row++) {
        char *there = (char *)outside + (size_t)row * width, *here = inside + (size_t)row * stride;
        memcpy(out ? there : here, out ? here : there, width);
    }
}

bool cpu_write(struct program *program, int32_t tensor, const void *bytes, struct error *error)
{
    const struct plan *plan = program->plan;
    const struct tensor *t = &plan->tensors[tensor];
    if (t->dtype == DTYPE_I32 && plan->vocab > 0) {
        const int32_t *values = bytes;
        for (int64_t i = 0; i < tensor_elements(t); i++)
            if (values[i] < 0 || values[i] >= plan->vocab)
                return error_set(error, ERROR_INPUT, "%s[%lld] is %d, outside the vocabulary of %lld", t->name,
                                 (long long)i, values[i], (long long)plan->vocab);
    }
    rows_copy(program, tensor, (void *)bytes, false);
    for (int32_t i = 0; t->kind == TENSOR_PARAMETER && i < plan->tensor_count; i++) {
        if (plan->tensors[i].kind != TENSOR_PARAMETER_COPY || plan->tensors[i].parameter != tensor)
            continue;
        uint16_t *copy = program->data[i];
        for (int64_t k = 0; k < tensor_elements(t); k++) /* both are packed */
            copy[k] = bf16_make(((const float *)bytes)[k]);
    }
    return true;
}

bool cpu_read(struct program *program, int32_t tensor, void *bytes, struct error *error)
{
    (void)error;
    rows_copy(program, tensor, bytes, true);
    return true;
}

const char *cpu_kernel_name(const struct program *program, int32_t node)
{
    return program->steps[node].name;
}
