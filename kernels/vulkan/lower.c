/* The plan's nodes to launches: what all lowerings share, and the table that says which op goes where. */
#include "base/limits.h"
#include "kernels/vulkan/vulkan_internal.h"
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
};

bool vulkan_has_lowering(enum op op)
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
    return error_set(lowering->error, ERROR_UNSUPPORTED, "%s cannot run %s of %s: %s", lowering->program->device->name,
                     op_info(node->op)->name, lowering->plan->scopes[node->scope].path, text);
}

struct operand lower_tensor(const struct lowering *lowering, int32_t index)
{
    struct operand operand = {.dtype = DTYPE_F32};
    if (index == TENSOR_NONE)
        return operand;
    const struct tensor *tensor = &lowering->plan->tensors[index];
    operand.address = VULKAN_IN_ARENA | tensor->offset;
    operand.dtype = tensor->dtype;
    operand.elements = tensor_elements(tensor);
    operand.row_stride = tensor->row_stride ? tensor->row_stride : tensor->rank ? tensor->shape[tensor->rank - 1] : 1;
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

struct operand lower_scratch(struct lowering *lowering, int64_t elements, int64_t row_stride)
{
    struct operand operand = {.dtype = DTYPE_F32, .elements = elements, .row_stride = row_stride};
    operand.address = VULKAN_IN_WORKSPACE | lowering->scratch_used;
    lowering->scratch_used += ((uint64_t)elements * 4 + PLAN_ALIGNMENT - 1) / PLAN_ALIGNMENT * PLAN_ALIGNMENT;
    if (lowering->scratch_used > lowering->scratch_peak)
        lowering->scratch_peak = lowering->scratch_used;
    return operand;
}

struct operand operand_columns(struct operand operand, int64_t first)
{
    operand.address += (uint64_t)first * dtype_size(operand.dtype);
    return operand;
}

struct vulkan_launch *lower_launch(struct lowering *lowering, const char *shader, const char *name, unsigned threads)
{
    struct program *program = lowering->program;
    if (program->launch_count == program->launch_capacity) {
        program->launch_capacity = program->launch_capacity ? program->launch_capacity * 2 : 256;
        struct vulkan_launch *grown = realloc(program->launches, sizeof *grown * (size_t)program->launch_capacity);
        if (!grown)
            memory_exhausted((size_t)program->launch_capacity, "launches");
        program->launches = grown;
    }
    struct vulkan_launch *launch = &program->launches[program->launch_count++];
    memset(launch, 0, sizeof *launch);
    launch->node = lowering->node;
    launch->pipeline = launch->gemm = -1;
    launch->shader = shader;
    launch->name = name;
    launch->grid[0] = launch->grid[1] = launch->grid[2] = 1;
    for (int i = VULKAN_VARIANT; i < VULKAN_TYPES; ++i)
        launch->special[i] = 1;
    launch->special[VULKAN_THREADS] = threads;
    return launch;
}

/* Shaders that take any number of groups find their own by group_index(), and check that it is one. */
void lower_groups(struct lowering *lowering, struct vulkan_launch *launch, uint64_t groups)
{
    const uint64_t most = 32768;
    if (groups > most * 65535)
        lower_fail(lowering, "%llu workgroups are more than a dispatch holds", (unsigned long long)groups);
    launch->grid[0] = (uint32_t)(groups < most ? groups : most);
    launch->grid[1] = (uint32_t)((groups + most - 1) / most);
}

void lower_operand(struct vulkan_launch *launch, int slot, struct operand operand)
{
    launch->push.a[slot].address = operand.address;
    launch->pointers |= 1u << slot;
    if (operand.address && operand.dtype == DTYPE_BF16)
        launch->special[VULKAN_TYPES] |= 1u << slot;
}

/* Elements are counted in 31 bits: what an index of SPIR-V holds. */
void lower_size(struct lowering *lowering, struct vulkan_launch *launch, int slot, int64_t value)
{
    if (value < 0 || value > INT32_MAX)
        lower_fail(lowering, "a size of %lld elements is beyond 31 bits", (long long)value);
    launch->push.d[slot] = (uint32_t)value;
    if (lowering->program->compile && slot < VULKAN_SIZES)
        launch->special[slot] = (uint32_t)value;
}

void lower_variant(struct vulkan_launch *launch, int slot, int64_t value)
{
    launch->special[VULKAN_VARIANT + slot] = (uint32_t)value;
}

void lower_float(struct vulkan_launch *launch, int slot, float value)
{
    memcpy(&launch->push.d[slot], &value, sizeof value);
}

bool lower_fours(int64_t columns, const struct operand *operands, int count)
{
    if (columns % 4 != 0)
        return false;
    for (int i = 0; i < count; ++i)
        if (operands[i].address && VULKAN_OFFSET(operands[i].address) % (4 * dtype_size(operands[i].dtype)) != 0)
            return false;
    return true;
}

static bool pipelines_register(struct program *program, struct error *error)
{
    for (int32_t i = 0; i < program->launch_count; ++i) {
        struct vulkan_launch *launch = &program->launches[i];
        if (launch->gemm >= 0)
            continue;
        if (launch->special[VULKAN_TYPES] && !program->device->traits.narrow)
            return error_set(error, ERROR_UNSUPPORTED, "%s has no 16-bit storage, which bf16 needs",
                             program->device->name);
        launch->pipeline = vulkan_pipeline_find(&program->pipelines, launch->shader, launch->special);
    }
    return true;
}

bool vulkan_lower(struct program *program, struct error *error)
{
    const struct plan *plan = program->plan;
    struct lowering lowering = {.program = program, .plan = plan, .error = error};
    for (int phase = 0; phase < PHASE_COUNT; ++phase) {
        program->phase_launch[phase] = program->launch_count;
        for (int32_t node = plan->phase_first[phase]; node < plan->phase_first[phase + 1] && !lowering.failed; ++node) {
            int32_t first = program->launch_count;
            lowering.node = node;
            lowering.scratch_used = 0;
            enum op op = plan->nodes[node].op;
            if (!vulkan_has_lowering(op))
                lower_fail(&lowering, "this device has no kernel for it");
            else
                lowerings[op](&lowering, &plan->nodes[node]);
            for (int32_t i = first; i < program->launch_count; ++i)
                program->launches[i].scratch = lowering.scratch_used > 0;
        }
    }
    program->phase_launch[PHASE_COUNT] = program->launch_count;
    program->scratch_bytes = lowering.scratch_peak;
    return !lowering.failed && pipelines_register(program, error);
}
