/* The candidate for Hopper in bf16: kernels on wgmma and the copy engine, device/attention_hopper_*.cu. */
#include "kernels/cuda/attention.h"
#define WALKS static inline
#include "kernels/cuda/device/attention_hopper_walks.cuh"
#include <stdio.h>
#include <string.h>

#define KEYS_A_BLOCK 128 /* of backward */
#define BACKWARD_STAGES 2
#define CACHE_SHARE                                                                                                    \
    (24u << 20) /* bytes of keys and values that heads worked on together have: half of the second cache */

/* How forward is cut by head size and context: warpgroups of 64 queries each, keys of a tile, tiles of keys and of values on
 * their way, blocks a multiprocessor, whether the warpgroups take turns. The fastest of up to ten each on an H200
 * (docs/bench-h200.md). */
static const struct forward_cut {
    int64_t head_dim, context; /* up to these; 0: all */
    int warpgroups, keys, stages, blocks, turns;
} forward_cuts[] = {{64, 2048, 2, 128, 2, 1, 1}, {64, 0, 3, 128, 3, 1, 1}, {128, 0, 2, 128, 2, 1, 1}};

static int64_t parts(int64_t whole, int64_t part)
{
    return (whole + part - 1) / part;
}

static const struct forward_cut *forward_cut_for(int64_t head_dim, int64_t context)
{
    const struct forward_cut *cut = forward_cuts;
    while (cut->head_dim < head_dim || (cut->context > 0 && cut->context < context))
        ++cut;
    return cut;
}

static unsigned forward_shared(const struct forward_cut *cut, int64_t head_dim)
{
    return (unsigned)(1024 + (64 * cut->warpgroups + 2 * cut->stages * cut->keys) * parts(head_dim, 64) * 128 + 256);
}

/* How backward is cut: queries of a tile, and columns of dq's sums. */
struct backward_cut {
    int64_t queries, columns;
};

static struct backward_cut backward_cut_for(int64_t head_dim)
{
    if (head_dim <= 64)
        return (struct backward_cut){128, parts(head_dim, 16) * 16};
    return (struct backward_cut){64, parts(head_dim, 64) * 64};
}

static unsigned backward_shared(int64_t head_dim)
{
    struct backward_cut cut = backward_cut_for(head_dim);
    return (unsigned)(1024 + parts(head_dim, 64) * (2 * KEYS_A_BLOCK + 2 * BACKWARD_STAGES * cut.queries) * 128 +
                      2 * cut.queries * KEYS_A_BLOCK * 2 + cut.queries * cut.columns * 4 +
                      BACKWARD_STAGES * cut.queries * 8 + 256);
}

static bool serves(struct device *device, const struct cuda_attention_shape *shape, char *why, size_t why_size)
{
    const uint8_t types[] = {shape->type_qkv, shape->type_o, shape->backward ? shape->type_do : shape->type_qkv,
                             shape->backward ? shape->type_dqkv : shape->type_qkv};
    int64_t strides = shape->stride_qkv | shape->stride_o | shape->stride_do | shape->stride_dqkv;
    bool narrow = true;
    for (size_t i = 0; i < sizeof types; ++i)
        narrow = narrow && types[i] == DTYPE_BF16;
    if (device->architecture != 90)
        snprintf(why, why_size, "it is for Hopper, sm_90");
    else if (!narrow)
        snprintf(why, why_size, "it is for bf16");
    else if (shape->head_dim % 8 != 0 || shape->head_dim > 128)
        snprintf(why, why_size, "head size %lld is no multiple of 8 up to 128", (long long)shape->head_dim);
    else if (strides % 8 != 0 || shape->align % 16 != 0)
        snprintf(why, why_size, "rows do not start at multiples of 16 bytes");
    else if (shape->batch * shape->context * shape->heads > INT32_MAX / 8)
        snprintf(why, why_size, "more rows than it can count");
    else
        return true;
    return false;
}

/* Tensor maps are made for a launch's first arguments, which are addresses: a head's rows in panels of 64 columns. */
#define MAX_MAPS 4
struct mapped_launch {
    int maps;
    int64_t head_dim, context, heads, batch;
    int64_t strides[MAX_MAPS]; /* elements from row to row */
    unsigned rows[MAX_MAPS];   /* of a box */
};

static bool map_make(struct device *device, CUtensorMap *map, CUdeviceptr address, const struct mapped_launch *layout,
                     int which, struct error *error)
{
    const cuuint64_t row = (cuuint64_t)layout->strides[which] * 2,
                     sizes[4] = {(cuuint64_t)layout->head_dim, (cuuint64_t)layout->context, (cuuint64_t)layout->heads,
                                 (cuuint64_t)layout->batch},
                     strides[3] = {row, (cuuint64_t)layout->head_dim * 2, row * (cuuint64_t)layout->context};
    const cuuint32_t box[4] = {64, layout->rows[which], 1, 1}, steps[4] = {1, 1, 1, 1};
    return CUDA_OK(device,
                   cuTensorMapEncodeTiled(map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 4, (void *)(uintptr_t)address, sizes,
                                          strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
                                          CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                                          CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
                   error);
}

static bool launch_mapped(struct program *program, const struct cuda_launch *launch, CUstream stream,
                          struct error *error)
{
    const struct mapped_launch *layout = launch->call_context;
    CUtensorMap maps[MAX_MAPS];
    void *arguments[CUDA_LAUNCH_MAX_ARGUMENTS];
    for (int i = 0; i < launch->argument_count; ++i) {
        arguments[i] = i < layout->maps ? (void *)&maps[i] : (void *)(uintptr_t)&launch->arguments[i];
        if (i < layout->maps && !map_make(program->device, &maps[i], launch->arguments[i], layout, i, error))
            return error_prefix(error, "kernel %s", launch->name);
    }
    CUresult result = program->device->libraries.cuLaunchKernel(launch->function, launch->grid[0], 1, 1, launch->block,
                                                                1, 1, launch->shared, stream, arguments, NULL);
    return result == CUDA_SUCCESS || cuda_failed(&program->device->libraries, result, launch->name, error);
}

static struct cuda_launch *lower_mapped(struct lowering *lowering, int32_t module, const char *name,
                                        const struct cuda_attention_shape *shape, const struct mapped_launch *maps,
                                        unsigned blocks, unsigned threads, unsigned shared)
{
    struct mapped_launch *layout = arena_array(&lowering->program->memory, struct mapped_launch, 1);
    *layout = *maps;
    layout->head_dim = shape->head_dim, layout->context = shape->context;
    layout->heads = shape->heads, layout->batch = shape->batch;
    struct cuda_launch *launch = lower_call(lowering, module, name, launch_mapped, layout);
    launch->grid[0] = blocks, launch->grid[1] = launch->grid[2] = 1;
    launch->block = threads;
    launch->shared = shared;
    return launch;
}

static struct defines defines_for(const struct cuda_attention_shape *shape)
{
    struct defines defines = {0};
    define_number(&defines, "D", shape->head_dim);
    define_number(&defines, "HEADS", shape->heads);
    define_number(&defines, "TURN", shape->rope);
    return defines;
}

/* `count` neighbouring thirds of qkv from `first` on, turned by RoPE, side by side. */
static struct operand lower_turned(struct lowering *lowering, const struct cuda_attention_call *call, int first,
                                   int count)
{
    const struct cuda_attention_shape *shape = &call->shape;
    int64_t C = shape->heads * shape->head_dim, rows = shape->batch * shape->context;
    struct operand from = operand_columns(call->qkv, first * C);
    if (!shape->rope)
        return from;
    struct operand to = lower_scratch(lowering, DTYPE_BF16, rows * count * C, count * C);
    struct defines defines = defines_for(shape);
    struct cuda_launch *launch =
        lower_kernel(lowering, lower_module(lowering, "attention_hopper_prepare.cu", &defines), "attention_hopper_turn",
                     (uint64_t)parts(rows * count * C, 256 * 8), 1, 256);
    lower_pointer(launch, from.address);
    lower_pointer(launch, call->table.address);
    lower_pointer(launch, to.address);
    lower_int(launch, (int32_t)rows);
    lower_int(launch, count);
    lower_int(launch, (int32_t)shape->context);
    lower_int64(launch, from.row_stride);
    return to;
}

static void lower_forward(struct lowering *lowering, const struct cuda_attention_call *call)
{
    const struct cuda_attention_shape *shape = &call->shape;
    const struct forward_cut *cut = forward_cut_for(shape->head_dim, shape->context);
    int64_t C = shape->heads * shape->head_dim, heads = shape->batch * shape->heads,
            tiles = parts(shape->context, 64 * cut->warpgroups) * heads,
            blocks = (int64_t)lowering->program->device->units * cut->blocks,
            together = CACHE_SHARE / (shape->context * shape->head_dim * 4);
    struct operand k = lower_turned(lowering, call, 1, 1), v = operand_columns(call->qkv, 2 * C);
    struct operand counter =
        lower_own_scratch(lowering, DTYPE_F32, 1, 1); /* zero at the start, and after each launch */
    struct defines defines = defines_for(shape);
    define_number(&defines, "WARPGROUPS", cut->warpgroups);
    define_number(&defines, "BN", cut->keys);
    define_number(&defines, "STAGES", cut->stages);
    define_number(&defines, "BLOCKS", cut->blocks);
    define_number(&defines, "TURNS", cut->turns);
    const struct mapped_launch maps = {
        .maps = 2, .strides = {k.row_stride, v.row_stride}, .rows = {(unsigned)cut->keys, (unsigned)cut->keys}};
    struct cuda_launch *launch =
        lower_mapped(lowering, lower_module(lowering, "attention_hopper_forward.cu", &defines),
                     "attention_hopper_forward", shape, &maps, (unsigned)(tiles < blocks ? tiles : blocks),
                     128 * (unsigned)(cut->warpgroups + 1), forward_shared(cut, shape->head_dim));
    lower_pointer(launch, k.address);
    lower_pointer(launch, v.address);
    lower_pointer(launch, call->qkv.address);
    lower_pointer(launch, call->table.address);
    lower_pointer(launch, call->o.address);
    lower_pointer(launch, call->lse.address);
    lower_pointer(launch, counter.address);
    lower_int(launch, (int32_t)shape->context);
    lower_int(launch, (int32_t)heads);
    lower_int(launch, (int32_t)(together < 1 ? 1 : together < heads ? together : heads));
    lower_float(launch, shape->scale);
    lower_int64(launch, shape->stride_qkv);
    lower_int64(launch, shape->stride_o);
}

/* What backward's kernels share: sums of rows, dq's sums and how far they have come. */
struct backward_scratch {
    struct operand lse, delta, dq, counts;
    int64_t tiles, padded; /* of queries, a head; their rows */
};

static void lower_sums(struct lowering *lowering, const struct cuda_attention_call *call,
                       const struct backward_scratch *scratch)
{
    const struct cuda_attention_shape *shape = &call->shape;
    int64_t items = shape->batch * shape->heads * scratch->padded;
    struct defines defines = defines_for(shape);
    struct cuda_launch *launch = lower_kernel(lowering, lower_module(lowering, "attention_hopper_prepare.cu", &defines),
                                              "attention_hopper_sums", (uint64_t)parts(items * 8, 256), 1, 256);
    lower_pointer(launch, call->d_o.address);
    lower_pointer(launch, call->o.address);
    lower_pointer(launch, call->lse.address);
    lower_pointer(launch, scratch->lse.address);
    lower_pointer(launch, scratch->delta.address);
    lower_pointer(launch, scratch->counts.address);
    lower_int(launch, (int32_t)scratch->counts.elements);
    lower_int(launch, (int32_t)shape->context);
    lower_int(launch, (int32_t)scratch->padded);
    lower_int64(launch, items);
    lower_int64(launch, shape->stride_do);
    lower_int64(launch, shape->stride_o);
}

static void lower_backward(struct lowering *lowering, const struct cuda_attention_call *call)
{
    const struct cuda_attention_shape *shape = &call->shape;
    struct backward_cut cut = backward_cut_for(shape->head_dim);
    int64_t C = shape->heads * shape->head_dim, heads = shape->batch * shape->heads;
    int units = lowering->program->device->units, key_tiles = (int)parts(shape->context, KEYS_A_BLOCK);
    struct backward_scratch scratch = {.tiles = parts(shape->context, cut.queries)};
    scratch.padded = scratch.tiles * cut.queries;
    scratch.lse = lower_scratch(lowering, DTYPE_F32, heads * scratch.padded, 0);
    scratch.delta = lower_scratch(lowering, DTYPE_F32, heads * scratch.padded, 0);
    scratch.dq = lower_scratch(lowering, DTYPE_F32, heads * scratch.padded * cut.columns, 0);
    scratch.counts = lower_scratch(lowering, DTYPE_I32, heads * scratch.tiles, 0);
    struct operand q = lower_turned(lowering, call, 0, 2), k = operand_columns(q, C),
                   v = operand_columns(call->qkv, 2 * C);
    lower_sums(lowering, call, &scratch);
    struct defines defines = defines_for(shape);
    define_number(&defines, "BM", cut.queries);
    define_number(&defines, "STAGES", BACKWARD_STAGES);
    int32_t module = lower_module(lowering, "attention_hopper_backward.cu", &defines);
    const struct mapped_launch maps = {
        .maps = 4,
        .strides = {q.row_stride, k.row_stride, v.row_stride, shape->stride_do},
        .rows = {(unsigned)cut.queries, KEYS_A_BLOCK, KEYS_A_BLOCK, (unsigned)cut.queries}};
    struct cuda_launch *launch =
        lower_mapped(lowering, module, "attention_hopper_backward", shape, &maps,
                     (unsigned)walks_blocks(key_tiles, (int)heads, units), 384, backward_shared(shape->head_dim));
    lower_pointer(launch, q.address);
    lower_pointer(launch, k.address);
    lower_pointer(launch, v.address);
    lower_pointer(launch, call->d_o.address);
    lower_pointer(launch, scratch.lse.address);
    lower_pointer(launch, scratch.delta.address);
    lower_pointer(launch, call->table.address);
    lower_pointer(launch, scratch.dq.address);
    lower_pointer(launch, scratch.counts.address);
    lower_pointer(launch, operand_columns(call->dqkv, C).address);
    lower_pointer(launch, operand_columns(call->dqkv, 2 * C).address);
    lower_int(launch, (int32_t)shape->context);
    lower_int(launch, (int32_t)heads);
    lower_int(launch, walks_team(key_tiles, units));
    lower_float(launch, shape->scale);
    lower_int64(launch, shape->stride_dqkv);
    launch = lower_kernel(lowering, module, "attention_hopper_queries", (uint64_t)(heads * scratch.tiles), 1, 256);
    lower_pointer(launch, scratch.dq.address);
    lower_pointer(launch, call->table.address);
    lower_pointer(launch, call->dqkv.address);
    lower_int(launch, (int32_t)shape->context);
    lower_float(launch, shape->scale);
    lower_int64(launch, shape->stride_dqkv);
}

static bool lower(struct lowering *lowering, const struct cuda_attention_call *call, char *why, size_t why_size)
{
    (void)why, (void)why_size; /* what serves can be lowered */
    if (call->shape.backward)
        lower_backward(lowering, call);
    else
        lower_forward(lowering, call);
    return true;
}

const struct cuda_attention_candidate cuda_attention_hopper = {.name = "wgmma", .serves = serves, .lower = lower};
