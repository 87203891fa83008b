/* The candidate for every card: fused kernels on mma.sync, device/attention_{forward,backward}.cu. */
#include "kernels/cuda/attention.h"
#include <stdio.h>

static uint64_t blocks(int64_t items, int64_t a_block)
{
    return (uint64_t)((items + a_block - 1) / a_block);
}

/* Which arithmetic the fused kernels use: macro MODE of attention.cuh. */
enum attention_mode { MODE_BF16, MODE_TF32, MODE_FP32 };

/* How a kernel is cut: rows of a tile of its walk, whether it keeps its own queries in registers, and how many blocks of it
 * a multiprocessor shall hold (which bounds their registers). */
struct attention_cut {
    int rows, hold, blocks;
};

struct attention_tiles {
    int mode, padded;
    struct attention_cut forward, backward;
    unsigned forward_shared, backward_shared;
};

/* By mode (bf16, tf32, fp32) and head size (up to 64, 80, 128), the fastest of 10 to 20 cuts each on an H200 at batch 4,
 * context 256 and 1024 (docs/bench-h200.md). All fit in the 99 KB that a block may have on sm_86 and sm_120. */
static const struct {
    struct attention_cut forward, backward;
} attention_cuts[3][3] = {
    [MODE_BF16] = {{{64, 1, 2}, {64, 0, 2}}, {{32, 1, 2}, {32, 0, 2}}, {{32, 1, 1}, {32, 0, 1}}},
    [MODE_TF32] = {{{64, 0, 2}, {32, 0, 2}}, {{32, 0, 2}, {32, 0, 2}}, {{32, 1, 1}, {16, 0, 1}}},
    [MODE_FP32] = {{{32, 0, 1}, {32, 0, 1}}, {{32, 0, 1}, {32, 0, 1}}, {{32, 0, 1}, {16, 0, 1}}},
};

static unsigned attention_shared(int mode, int padded, int own_rows, int rows, unsigned more)
{
    unsigned size = mode == MODE_BF16 ? 2 : 4, leading = (unsigned)padded + 16 / size;
    unsigned scratch = mode == MODE_FP32 ? 8 * 16 * ((unsigned)rows / 2 + 4) * 4 : 0;
    return ((unsigned)own_rows + 2 * (unsigned)rows) * leading * size + more + scratch;
}

static struct attention_tiles tiles_for(const struct device *device, const struct cuda_attention_shape *shape)
{
    int mode = shape->type_qkv == DTYPE_BF16 ? MODE_BF16 : shape->precision == PRECISION_TF32 ? MODE_TF32 : MODE_FP32;
    int padded = (int)(shape->head_dim + 15) / 16 * 16, size = padded <= 64 ? 0 : padded <= 80 ? 1 : 2;
    struct attention_tiles tiles = {
        .mode = mode, .padded = padded, attention_cuts[mode][size].forward, attention_cuts[mode][size].backward};
    /* Few blocks gain more from their own queries in registers than from company. */
    uint64_t forward_blocks = (uint64_t)(shape->batch * shape->heads) * blocks(shape->context, 64);
    if (mode == MODE_TF32 && size == 0 && 2 * forward_blocks <= 3 * (uint64_t)device->units)
        tiles.forward = (struct attention_cut){64, 1, 1};
    if (mode == MODE_TF32 && size == 2 &&
        (int)attention_shared(mode, padded, 128, 32, 2 * 32 * 4) <= device->shared_limit)
        tiles.backward.rows = 32;
    tiles.forward_shared = attention_shared(mode, padded, 64, tiles.forward.rows, 0);
    tiles.backward_shared =
        attention_shared(mode, padded, 128, tiles.backward.rows, 2 * (unsigned)tiles.backward.rows * 4);
    if (tiles.forward.blocks * (int)tiles.forward_shared > device->shared_in_unit)
        tiles.forward.blocks = 1;
    if (tiles.backward.blocks * (int)tiles.backward_shared > device->shared_in_unit)
        tiles.backward.blocks = 1;
    return tiles;
}

/* Elements an access for all operands: 16 bytes where head size, addresses and strides allow; 0 where not even a pair. */
static int vector_for(const struct cuda_attention_shape *shape)
{
    const struct {
        uint8_t type;
        int64_t stride;
    } operands[] = {{shape->type_qkv, shape->stride_qkv},
                    {shape->type_o, shape->stride_o},
                    {shape->type_do, shape->stride_do},
                    {shape->type_dqkv, shape->stride_dqkv}};
    for (int vector = 8; vector >= 2; vector /= 2) {
        bool fits = shape->head_dim % vector == 0;
        for (size_t i = 0; i < sizeof operands / sizeof *operands; ++i) {
            uint64_t bytes = (uint64_t)vector * dtype_size((enum dtype)operands[i].type);
            if (operands[i].stride && (bytes > 16 || shape->align % bytes != 0 || operands[i].stride % vector != 0))
                fits = false;
        }
        if (fits)
            return vector;
    }
    return 0;
}

static bool serves(struct device *device, const struct cuda_attention_shape *shape, char *why, size_t why_size)
{
    struct attention_tiles tiles = tiles_for(device, shape);
    unsigned needed = shape->backward ? tiles.backward_shared : tiles.forward_shared;
    if (shape->head_dim > 128)
        snprintf(why, why_size, "head size %lld is beyond 128", (long long)shape->head_dim);
    else if (vector_for(shape) == 0)
        snprintf(why, why_size, "operands are not aligned for pairs of elements");
    else if ((int)needed > device->shared_limit)
        snprintf(why, why_size, "it needs %u bytes of shared memory a block and the device has %d", needed,
                 device->shared_limit);
    else
        return true;
    return false;
}

static int32_t module_of(struct lowering *lowering, const struct cuda_attention_call *call,
                         const struct attention_tiles *tiles)
{
    const struct cuda_attention_shape *shape = &call->shape;
    const struct attention_cut *cut = shape->backward ? &tiles->backward : &tiles->forward;
    struct defines defines = {0};
    define_number(&defines, "D", shape->head_dim);
    define_number(&defines, "HEADS", shape->heads);
    define_number(&defines, "MODE", tiles->mode);
    define_number(&defines, "VECTOR", vector_for(shape));
    define_number(&defines, "TURN", shape->rope);
    if (lowering->program->compile)
        define_number(&defines, "CONTEXT", shape->context);
    define_number(&defines, "BN", cut->rows);
    define_number(&defines, "BLOCKS", cut->blocks);
    if (!shape->backward)
        define_number(&defines, "HOLD", cut->hold);
    define_text(&defines, "TQ", dtype_text(call->qkv.dtype));
    define_text(&defines, "TO", dtype_text(call->o.dtype));
    if (!shape->backward)
        return lower_module(lowering, "attention_forward.cu", &defines);
    define_text(&defines, "TDO", dtype_text(call->d_o.dtype));
    define_text(&defines, "TDQ", dtype_text(call->dqkv.dtype));
    return lower_module(lowering, "attention_backward.cu", &defines);
}

static bool lower(struct lowering *lowering, const struct cuda_attention_call *call, char *why, size_t why_size)
{
    (void)why, (void)why_size;
    const struct cuda_attention_shape *shape = &call->shape;
    struct attention_tiles tiles = tiles_for(lowering->program->device, shape);
    int32_t module = module_of(lowering, call, &tiles);
    uint64_t query_tiles = blocks(shape->context, 64), heads = (uint64_t)(shape->batch * shape->heads);
    if (!shape->backward) {
        struct cuda_launch *launch = lower_kernel(lowering, module, "attention_forward", heads, query_tiles, 256);
        launch->shared = tiles.forward_shared;
        lower_pointer(launch, call->qkv.address);
        lower_pointer(launch, call->table.address);
        lower_pointer(launch, call->o.address);
        lower_pointer(launch, call->lse.address);
        lower_int(launch, (int32_t)shape->context);
        lower_float(launch, shape->scale);
        lower_int64(launch, shape->stride_qkv);
        lower_int64(launch, shape->stride_o);
        return true;
    }
    int64_t count = shape->batch * shape->context * shape->heads;
    struct cuda_launch *launch = lower_kernel(lowering, module, "attention_delta", blocks(count, 8), 1, 256);
    lower_pointer(launch, call->d_o.address);
    lower_pointer(launch, call->o.address);
    lower_pointer(launch, call->delta.address);
    lower_int(launch, (int32_t)shape->context);
    lower_int64(launch, shape->stride_do);
    lower_int64(launch, shape->stride_o);
    lower_int(launch, (int32_t)count);
    launch = lower_kernel(lowering, module, "attention_backward", heads, 2 * query_tiles, 256);
    launch->shared = tiles.backward_shared;
    lower_pointer(launch, call->d_o.address);
    lower_pointer(launch, call->qkv.address);
    lower_pointer(launch, call->lse.address);
    lower_pointer(launch, call->table.address);
    lower_pointer(launch, call->dqkv.address);
    lower_pointer(launch, call->delta.address);
    lower_int(launch, (int32_t)shape->context);
    lower_float(launch, shape->scale);
    lower_int64(launch, shape->stride_do);
    lower_int64(launch, shape->stride_qkv);
    lower_int64(launch, shape->stride_dqkv);
    return true;
}

const struct cuda_attention_candidate cuda_attention_mma = {.name = "mma.sync", .serves = serves, .lower = lower};
