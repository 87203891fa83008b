/* The plan's nodes to launches: what all lowerings share, and the table that says which op goes where. */
#include "base/limits.h"
#include "base/strbuf.h"
#include "kernels/cuda/cuda_internal.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void (*const lowerings[OP_COUNT])(struct lowering *, const struct node *) = {
    [OP_EMBEDDING] = lower_embedding,
    [OP_EMBEDDING_BACKWARD] = lower_embedding,
    [OP_RMSNORM] = lower_norm,
    [OP_RMSNORM_BACKWARD] = lower_norm,
    [OP_LINEAR] = lower_linear,
    [OP_LINEAR_BACKWARD_INPUT] = lower_linear,
    [OP_LINEAR_BACKWARD_WEIGHT] = lower_linear,
    [OP_ROPE] = lower_rope,
    [OP_ROPE_BACKWARD] = lower_rope,
    [OP_ATTN_SCORES] = lower_attention_product,
    [OP_ATTN_SCORES_BACKWARD_Q] = lower_attention_product,
    [OP_ATTN_SCORES_BACKWARD_K] = lower_attention_product,
    [OP_CAUSAL_SOFTMAX] = lower_softmax,
    [OP_CAUSAL_SOFTMAX_BACKWARD] = lower_softmax,
    [OP_ATTN_VALUES] = lower_attention_product,
    [OP_ATTN_VALUES_BACKWARD_P] = lower_attention_product,
    [OP_ATTN_VALUES_BACKWARD_V] = lower_attention_product,
    [OP_ADD] = lower_elementwise,
    [OP_SILU] = lower_elementwise,
    [OP_SILU_BACKWARD] = lower_elementwise,
    [OP_MUL] = lower_elementwise,
    [OP_CROSS_ENTROPY] = lower_loss,
    [OP_CROSS_ENTROPY_BACKWARD] = lower_loss,
    [OP_CAST] = lower_elementwise,
    [OP_ADAMW] = lower_optimizer,
    [OP_ADD_RMSNORM] = lower_norm,
    [OP_ATTENTION] = lower_attention,
    [OP_ATTENTION_BACKWARD] = lower_attention,
    [OP_SWIGLU] = lower_elementwise,
    [OP_SWIGLU_BACKWARD] = lower_elementwise,
    [OP_CROSS_ENTROPY_FUSED] = lower_loss,
    [OP_ADAMW_ALL] = lower_optimizer,
    [OP_ALL_REDUCE] = lower_collective,
    [OP_REDUCE_SCATTER] = lower_collective,
    [OP_ALL_GATHER] = lower_collective,
    [OP_BROADCAST] = lower_collective,
};

bool cuda_has_lowering(enum op op)
{
    return op < OP_COUNT && lowerings[op];
}

bool lower_fail(struct lowering *lowering, const char *format, ...)
{
    if (lowering->failed)
        return false;
    lowering->failed = true;
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    const struct node *node = &lowering->plan->nodes[lowering->node];
    return error_set(lowering->error, ERROR_UNSUPPORTED, "cuda:%d cannot run %s of %s: %s",
                     lowering->program->device->index, op_info(node->op)->name,
                     lowering->plan->scopes[node->scope].path, text);
}

const char *dtype_text(enum dtype dtype)
{
    return dtype == DTYPE_BF16 ? "bf16" : "float";
}

/* Logits that are padded, or their gradient. */
static bool is_padded(const struct lowering *lowering, int32_t index)
{
    return lowering->padded.address && index != TENSOR_NONE &&
           (index == lowering->logits || lowering->plan->tensors[index].view_of == lowering->logits);
}

struct operand lower_tensor(const struct lowering *lowering, int32_t index)
{
    struct operand operand = {.dtype = DTYPE_F32};
    if (index == TENSOR_NONE)
        return operand;
    const struct tensor *tensor = &lowering->plan->tensors[index];
    operand.address = CUDA_IN_ARENA | tensor->offset;
    operand.dtype = tensor->dtype;
    operand.elements = tensor_elements(tensor);
    operand.row_stride = tensor->row_stride ? tensor->row_stride : tensor->rank ? tensor->shape[tensor->rank - 1] : 1;
    if (is_padded(lowering, index)) {
        operand.address = lowering->padded.address;
        operand.row_stride = lowering->padded.row_stride;
    }
    return operand;
}

struct operand lower_input(const struct lowering *lowering, int i)
{
    return lower_tensor(lowering, lowering->plan->nodes[lowering->node].input[i]);
}

struct operand lower_output(const struct lowering *lowering, int i)
{
    return lower_tensor(lowering, lowering->plan->nodes[lowering->node].output[i]);
}

struct operand lower_scratch(struct lowering *lowering, enum dtype dtype, int64_t elements, int64_t row_stride)
{
    struct operand operand = {.dtype = dtype, .elements = elements, .row_stride = row_stride};
    operand.address = CUDA_IN_WORKSPACE | lowering->scratch_used;
    uint64_t bytes = (uint64_t)elements * dtype_size(dtype);
    lowering->scratch_used += (bytes + PLAN_ALIGNMENT - 1) / PLAN_ALIGNMENT * PLAN_ALIGNMENT;
    if (lowering->scratch_used > lowering->scratch_peak)
        lowering->scratch_peak = lowering->scratch_used;
    return operand;
}

struct operand lower_side_scratch(struct lowering *lowering, enum dtype dtype, int64_t elements, int64_t row_stride)
{
    struct operand operand = {.dtype = dtype, .elements = elements, .row_stride = row_stride};
    operand.address = CUDA_IN_SIDE | lowering->side_used;
    uint64_t bytes = (uint64_t)elements * dtype_size(dtype);
    lowering->side_used += (bytes + PLAN_ALIGNMENT - 1) / PLAN_ALIGNMENT * PLAN_ALIGNMENT;
    if (lowering->side_used > lowering->side_peak)
        lowering->side_peak = lowering->side_used;
    return operand;
}

struct operand lower_own_scratch(struct lowering *lowering, enum dtype dtype, int64_t elements, int64_t row_stride)
{
    struct operand operand = {.dtype = dtype, .elements = elements, .row_stride = row_stride};
    operand.address = CUDA_IN_OWN | lowering->own_bytes;
    uint64_t bytes = (uint64_t)elements * dtype_size(dtype);
    lowering->own_bytes += (bytes + PLAN_ALIGNMENT - 1) / PLAN_ALIGNMENT * PLAN_ALIGNMENT;
    return operand;
}

struct operand operand_columns(struct operand operand, int64_t first)
{
    operand.address += (uint64_t)first * dtype_size(operand.dtype);
    return operand;
}

void define_text(struct defines *defines, const char *name, const char *value)
{
    if (defines->count < CUDA_MAX_DEFINES)
        snprintf(defines->text[defines->count++], sizeof defines->text[0], "%s=%s", name, value);
}

void define_number(struct defines *defines, const char *name, int64_t value)
{
    char digits[24];
    snprintf(digits, sizeof digits, "%lld", (long long)value);
    define_text(defines, name, digits);
}

static bool same_module(const struct cuda_build *build, const char *file, const struct defines *defines)
{
    if (strcmp(build->file, file) != 0 || build->define_count != defines->count)
        return false;
    for (int i = 0; i < defines->count; ++i)
        if (strcmp(build->defines[i], defines->text[i]) != 0)
            return false;
    return true;
}

int32_t lower_module(struct lowering *lowering, const char *file, const struct defines *defines)
{
    struct program *program = lowering->program;
    for (int32_t i = program->build_count - 1; i >= 0; --i)
        if (same_module(&program->builds[i], file, defines))
            return i;
    if (program->build_count == program->build_capacity) {
        program->build_capacity = program->build_capacity ? program->build_capacity * 2 : 16;
        struct cuda_build *grown = realloc(program->builds, sizeof *grown * (size_t)program->build_capacity);
        if (!grown)
            memory_exhausted((size_t)program->build_capacity, "kernels to build");
        program->builds = grown;
    }
    struct cuda_build *build = &program->builds[program->build_count];
    memset(build, 0, sizeof *build);
    build->file = file;
    for (int i = 0; i < defines->count; ++i)
        build->defines[build->define_count++] = arena_strdup(&program->memory, defines->text[i]);
    return program->build_count++;
}

struct cuda_launch *lower_launch(struct lowering *lowering)
{
    struct program *program = lowering->program;
    if (program->launch_count == program->launch_capacity) {
        program->launch_capacity = program->launch_capacity ? program->launch_capacity * 2 : 256;
        struct cuda_launch *grown = realloc(program->launches, sizeof *grown * (size_t)program->launch_capacity);
        if (!grown)
            memory_exhausted((size_t)program->launch_capacity, "launches");
        program->launches = grown;
    }
    struct cuda_launch *launch = &program->launches[program->launch_count++];
    memset(launch, 0, sizeof *launch);
    launch->node = lowering->node;
    launch->module = -1;
    launch->gemm = -1;
    return launch;
}

struct cuda_launch *lower_kernel(struct lowering *lowering, int32_t module, const char *name, uint64_t blocks_x,
                                 uint64_t blocks_y, unsigned threads)
{
    struct cuda_launch *launch = lower_launch(lowering);
    launch->kind = CUDA_LAUNCH_KERNEL;
    launch->module = module;
    launch->name = name;
    launch->block = threads;
    if (blocks_x > INT32_MAX || blocks_y > 65535)
        lower_fail(lowering, "%llu × %llu blocks are more than a launch can hold", (unsigned long long)blocks_x,
                   (unsigned long long)blocks_y);
    launch->grid[0] = (unsigned)blocks_x;
    launch->grid[1] = (unsigned)blocks_y;
    launch->grid[2] = 1;
    return launch;
}

struct cuda_launch *lower_call(struct lowering *lowering, int32_t module, const char *name, cuda_launch_call call,
                               const void *context)
{
    struct cuda_launch *launch = lower_launch(lowering);
    launch->kind = CUDA_LAUNCH_CALL;
    launch->module = module;
    launch->name = name;
    launch->call = call;
    launch->call_context = context;
    return launch;
}

static uint64_t *argument_add(struct cuda_launch *launch)
{
    if (launch->argument_count == CUDA_LAUNCH_MAX_ARGUMENTS)
        abort(); /* the kernels are ours: none takes more */
    return &launch->arguments[launch->argument_count++];
}

void lower_pointer(struct cuda_launch *launch, uint64_t address)
{
    *argument_add(launch) = address;
    launch->pointers |= 1u << (launch->argument_count - 1);
}

void lower_int(struct cuda_launch *launch, int32_t value)
{
    memcpy(argument_add(launch), &value, sizeof value);
}
void lower_int64(struct cuda_launch *launch, int64_t value)
{
    memcpy(argument_add(launch), &value, sizeof value);
}
void lower_float(struct cuda_launch *launch, float value)
{
    memcpy(argument_add(launch), &value, sizeof value);
}

void lower_gemm(struct lowering *lowering, const struct cuda_gemm_shape *shape, uint64_t a, uint64_t b, uint64_t d)
{
    struct cuda_launch *launch = lower_launch(lowering);
    launch->kind = CUDA_LAUNCH_GEMM;
    int32_t known = lowering->program->gemms.count;
    launch->gemm = cuda_gemm_find(&lowering->program->gemms, shape);
    if (launch->gemm == known && lowering->program->compile)
        cuda_hopper_register(lowering, &lowering->program->gemms.items[launch->gemm]);
    launch->a = a;
    launch->b = b;
    launch->d = d;
}

uint32_t lower_alignment(uint64_t address, uint64_t step)
{
    uint64_t bits = CUDA_OFFSET(address) | step | 256;
    return (uint32_t)(bits & -bits);
}

int lower_vector(int64_t columns, const struct operand *operands, int count)
{
    if (columns % 4 != 0)
        return 1;
    for (int i = 0; i < count; ++i)
        if (operands[i].address && CUDA_OFFSET(operands[i].address) % (4 * dtype_size(operands[i].dtype)) != 0)
            return 1;
    return 4;
}

/* Logits whose rows are no whole pieces of 16 bytes (a vocabulary of 50 257) make the step's largest products slow, for the tensor
 * cores' loads need aligned rows. In compile mode, where the loss puts their gradient over them and nobody else reads them, they
 * lie in scratch of their own whose rows are padded. */
static void logits_place(struct lowering *lowering)
{
    const struct plan *plan = lowering->plan;
    int32_t logits = plan->logits;
    if (!lowering->program->compile || logits < 0 || logits >= plan->tensor_count)
        return;
    const struct tensor *tensor = &plan->tensors[logits];
    if (tensor->rank != 2 || tensor->row_stride || tensor->view_of != TENSOR_NONE || tensor->kind == TENSOR_OUTPUT ||
        tensor->shape[1] * (int64_t)dtype_size(tensor->dtype) % 16 == 0)
        return;
    bool made = false, lost = false;
    for (int32_t i = 0; i < plan->node_count; ++i) {
        const struct node *node = &plan->nodes[i];
        bool product =
            node->op == OP_LINEAR || node->op == OP_LINEAR_BACKWARD_INPUT || node->op == OP_LINEAR_BACKWARD_WEIGHT;
        for (int k = 0; k < NODE_MAX_INPUTS + NODE_MAX_OUTPUTS; ++k) {
            int32_t index = k < NODE_MAX_INPUTS ? node->input[k] : node->output[k - NODE_MAX_INPUTS];
            const struct tensor *operand = index == TENSOR_NONE ? NULL : &plan->tensors[index];
            if (!operand || (index != logits && operand->view_of != logits))
                continue;
            if ((!product && node->op != OP_CROSS_ENTROPY_FUSED) || operand->view_offset ||
                operand->dtype != tensor->dtype || operand->rank != 2 || operand->shape[1] != tensor->shape[1])
                return;
            made = made || (node->op == OP_LINEAR && node->output[0] == logits);
            lost = lost || node->op == OP_CROSS_ENTROPY_FUSED;
        }
    }
    if (!made || !lost)
        return;
    int64_t each = (int64_t)(128 / dtype_size(tensor->dtype)), stride = (tensor->shape[1] + each - 1) / each * each;
    lowering->logits = logits;
    lowering->padded = lower_own_scratch(lowering, tensor->dtype, tensor->shape[0] * stride, stride);
}

bool cuda_lower(struct program *program, uint64_t scratch_start, uint64_t *scratch_bytes, uint64_t *side_bytes,
                uint64_t *own_bytes, struct error *error)
{
    const struct plan *plan = program->plan;
    struct lowering lowering = {.program = program, .plan = plan, .scratch_peak = scratch_start, .error = error};
    lowering.logits = -1;
    logits_place(&lowering);
    for (int phase = 0; phase < PHASE_COUNT; ++phase) {
        program->phase_launch[phase] = program->launch_count;
        for (int32_t node = plan->phase_first[phase]; node < plan->phase_first[phase + 1] && !lowering.failed; ++node) {
            lowering.node = node;
            lowering.scratch_used = scratch_start;
            lowering.side_used = 0;
            enum op op = plan->nodes[node].op;
            if (!cuda_has_lowering(op))
                lower_fail(&lowering, "this device has no kernel for it");
            else
                lowerings[op](&lowering, &plan->nodes[node]);
        }
    }
    program->phase_launch[PHASE_COUNT] = program->launch_count;
    *scratch_bytes = lowering.scratch_peak - scratch_start;
    *side_bytes = lowering.side_peak;
    *own_bytes = lowering.own_bytes;
    return !lowering.failed;
}
