/* The candidate that cuDNN is, where it is installed: fused attention in bf16, described as a graph that its engines recognise.
 * RoPE is ours: q and k are turned into scratch first, dq and dk turned back in place. */
#include "base/limits.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/cudnn.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if __has_include(<cudnn_graph.h>)

/* Tensors in memory by their number in the graph, which is the order in which both graphs make them. */
enum { TENSOR_Q, TENSOR_K, TENSOR_V, TENSOR_O, TENSOR_LSE, TENSOR_DO, TENSOR_DQ, TENSOR_DK, TENSOR_DV, TENSOR_DELTA };
#define TENSORS 10

struct attention_plan {
    struct attention_plan *next;
    struct cuda_attention_shape shape;
    struct cudnn_plan *plan;         /* NULL: there is none, and why */
    struct cuda_attention_part part; /* what it does at once */
    char why[120];
};

/* A shape and how much of it a graph is for. */
struct portion {
    const struct cuda_attention_shape *shape;
    int64_t B, H, T, D;
};

/* (B, H, T, D), or turned over (B, H, D, T), of a matrix whose rows lie `stride` elements apart. */
static struct cudnn_layout heads_of(const struct portion *portion, int64_t stride, bool turned)
{
    int64_t B = portion->B, H = portion->H, T = portion->T, D = portion->D;
    if (turned)
        return (struct cudnn_layout){{B, H, D, T}, {T * stride, D, 1, stride}};
    return (struct cudnn_layout){{B, H, T, D}, {T * stride, D, stride, 1}};
}

static struct cudnn_layout scores_of(const struct portion *portion, bool turned)
{
    int64_t B = portion->B, H = portion->H, T = portion->T;
    return (struct cudnn_layout){{B, H, T, T}, {H * T * T, T * T, turned ? 1 : T, turned ? T : 1}};
}

static struct cudnn_layout sums_of(const struct portion *portion)
{
    int64_t B = portion->B, H = portion->H, T = portion->T;
    return (struct cudnn_layout){{B, H, T, 1}, {portion->shape->heads * T, T, 1, 1}};
}

static int virtual(struct cudnn_graph *graph, enum cudnn_type type, struct cudnn_layout layout)
{
    return cudnn_graph_tensor(graph, type, CUDNN_VIRTUAL, layout);
}

/* A new virtual y = f(x, b). */
static int pointwise(struct cudnn_graph *graph, enum cudnn_pointwise function, int x, int b, struct cudnn_layout layout)
{
    int y = virtual(graph, CUDNN_TENSOR_F32, layout);
    cudnn_graph_pointwise(graph, function, x, b, CUDNN_NO_TENSOR, y, 0);
    return y;
}

/* −∞ above the diagonal. */
static int masked(struct cudnn_graph *graph, const struct portion *portion, int scores)
{
    struct cudnn_layout square = scores_of(portion, false);
    int row = virtual(graph, CUDNN_TENSOR_I32, square), column = virtual(graph, CUDNN_TENSOR_I32, square);
    cudnn_graph_pointwise(graph, CUDNN_INDEX, scores, CUDNN_NO_TENSOR, CUDNN_NO_TENSOR, row, 2);
    cudnn_graph_pointwise(graph, CUDNN_INDEX, scores, CUDNN_NO_TENSOR, CUDNN_NO_TENSOR, column, 3);
    int seen = virtual(graph, CUDNN_TENSOR_BOOL, square), result = virtual(graph, CUDNN_TENSOR_F32, square);
    cudnn_graph_pointwise(graph, CUDNN_GE, row, column, CUDNN_NO_TENSOR, seen, 0);
    int nothing = cudnn_graph_number(graph, -__builtin_inff());
    cudnn_graph_pointwise(graph, CUDNN_SELECT, scores, nothing, seen, result, 0);
    return result;
}

/* Rows of turned q and k, which lie in scratch. */
static int64_t stride_qk(const struct cuda_attention_shape *shape)
{
    return shape->rope ? 2 * shape->heads * shape->head_dim : shape->stride_qkv;
}

static void memory_tensors(struct cudnn_graph *graph, const struct portion *portion)
{
    const struct cuda_attention_shape *shape = portion->shape;
    cudnn_graph_tensor(graph, CUDNN_TENSOR_BF16, CUDNN_IN_MEMORY, heads_of(portion, stride_qk(shape), false));
    cudnn_graph_tensor(graph, CUDNN_TENSOR_BF16, CUDNN_IN_MEMORY, heads_of(portion, stride_qk(shape), true));
    cudnn_graph_tensor(graph, CUDNN_TENSOR_BF16, CUDNN_IN_MEMORY,
                       heads_of(portion, shape->stride_qkv, shape->backward));
    cudnn_graph_tensor(graph, CUDNN_TENSOR_BF16, CUDNN_IN_MEMORY, heads_of(portion, shape->stride_o, false));
    cudnn_graph_tensor(graph, CUDNN_TENSOR_F32, CUDNN_IN_MEMORY, sums_of(portion));
    if (!shape->backward)
        return;
    cudnn_graph_tensor(graph, CUDNN_TENSOR_BF16, CUDNN_IN_MEMORY, heads_of(portion, shape->stride_do, false));
    for (int i = 0; i < 3; ++i)
        cudnn_graph_tensor(graph, CUDNN_TENSOR_BF16, CUDNN_IN_MEMORY, heads_of(portion, shape->stride_dqkv, false));
    cudnn_graph_tensor(graph, CUDNN_TENSOR_F32, CUDNN_IN_MEMORY, sums_of(portion));
}

/* o = softmax(mask(scale·q kᵀ)) v and lse = max + ln Σ exp(s − max). */
static void forward(struct cudnn_graph *graph, const struct portion *portion)
{
    const struct cuda_attention_shape *shape = portion->shape;
    struct cudnn_layout square = scores_of(portion, false), sums = sums_of(portion);
    int s = virtual(graph, CUDNN_TENSOR_F32, square);
    cudnn_graph_product(graph, TENSOR_Q, TENSOR_K, s);
    s = pointwise(graph, CUDNN_MUL, s, cudnn_graph_number(graph, shape->scale), square);
    s = masked(graph, portion, s);
    int largest = virtual(graph, CUDNN_TENSOR_F32, sums), sum = virtual(graph, CUDNN_TENSOR_F32, sums);
    cudnn_graph_reduce(graph, true, s, largest);
    int weights = pointwise(graph, CUDNN_SUB, s, largest, square);
    weights = pointwise(graph, CUDNN_EXP, weights, CUDNN_NO_TENSOR, square);
    cudnn_graph_reduce(graph, false, weights, sum);
    int logarithm = pointwise(graph, CUDNN_LOG, sum, CUDNN_NO_TENSOR, sums);
    cudnn_graph_pointwise(graph, CUDNN_ADD, largest, logarithm, CUDNN_NO_TENSOR, TENSOR_LSE, 0);
    int p = virtual(graph, CUDNN_TENSOR_BF16, square);
    cudnn_graph_pointwise(graph, CUDNN_DIV, weights, sum, CUDNN_NO_TENSOR, p, 0);
    cudnn_graph_product(graph, p, TENSOR_V, TENSOR_O);
}

/* With P = exp(s − lse) and delta = Σ do·o of each row: dv = Pᵀ do, ds = scale·P∘(do vᵀ − delta), dk = dsᵀ q, dq = ds k. dq is the
 * product itself, not a sum of partial ones in memory: that is how the engine is asked for the order that repeats. */
static void backward(struct cudnn_graph *graph, const struct portion *portion)
{
    const struct cuda_attention_shape *shape = portion->shape;
    struct cudnn_layout square = scores_of(portion, false), turned = scores_of(portion, true), sums = sums_of(portion);
    int64_t B = portion->B, H = portion->H, T = portion->T, D = portion->D;
    struct cudnn_layout packed = {{B, H, T, D}, {H * T * D, T * D, H * D, 1}};
    int scale = cudnn_graph_number(graph, shape->scale), one = cudnn_graph_number(graph, 1.0f);
    int delta = virtual(graph, CUDNN_TENSOR_F32, sums);
    cudnn_graph_reduce(graph, false, pointwise(graph, CUDNN_MUL, TENSOR_DO, TENSOR_O, packed), delta);
    cudnn_graph_pointwise(graph, CUDNN_MUL, delta, one, CUDNN_NO_TENSOR, TENSOR_DELTA, 0);

    int s = virtual(graph, CUDNN_TENSOR_F32, square);
    cudnn_graph_product(graph, TENSOR_Q, TENSOR_K, s);
    s = pointwise(graph, CUDNN_MUL, s, scale, square);
    s = pointwise(graph, CUDNN_SUB, s, TENSOR_LSE, square);
    s = masked(graph, portion, s);
    int p = pointwise(graph, CUDNN_EXP, s, CUDNN_NO_TENSOR, square);
    int p_turned = virtual(graph, CUDNN_TENSOR_BF16, turned);
    cudnn_graph_reshape(graph, p, p_turned);
    cudnn_graph_product(graph, p_turned, TENSOR_DO, TENSOR_DV);

    int dp = virtual(graph, CUDNN_TENSOR_F32, square);
    cudnn_graph_product(graph, TENSOR_DO, TENSOR_V, dp);
    dp = pointwise(graph, CUDNN_SUB, dp, TENSOR_DELTA, square);
    int ds = pointwise(graph, CUDNN_MUL, dp, p, square);
    ds = pointwise(graph, CUDNN_MUL, ds, scale, square);
    int ds_turned = virtual(graph, CUDNN_TENSOR_BF16, turned);
    cudnn_graph_reshape(graph, ds, ds_turned);
    cudnn_graph_product(graph, ds_turned, TENSOR_Q, TENSOR_DK);
    int k_again = virtual(graph, CUDNN_TENSOR_BF16, heads_of(portion, stride_qk(shape), false));
    cudnn_graph_reshape(graph, TENSOR_K, k_again);
    cudnn_graph_product(graph, ds, k_again, TENSOR_DQ);
}

struct cudnn_plan *cuda_attention_cudnn_plan(struct cudnn *cudnn, const struct cuda_attention_shape *shape,
                                             uint64_t most_workspace, struct cuda_attention_part *part, char *why,
                                             size_t why_size)
{
    if (!cudnn_start(cudnn, why, why_size))
        return NULL;
    *part = (struct cuda_attention_part){shape->batch, shape->heads};
    for (;;) {
        const struct portion portion = {shape, part->batches, part->heads, shape->context, shape->head_dim};
        struct cudnn_graph *graph = cudnn_graph_new(cudnn);
        uint64_t needed = 0;
        memory_tensors(graph, &portion);
        if (shape->backward)
            backward(graph, &portion);
        else
            forward(graph, &portion);
        struct cudnn_plan *plan = cudnn_graph_plan(graph, most_workspace, &needed, why, why_size);
        if (plan || needed == 0 || part->batches * part->heads == 1)
            return plan;
        /* The largest part, of whole batches or else of one's heads, for which a workspace in proportion is small enough. */
        double fits = (double)(part->batches * part->heads) * (double)most_workspace / (double)needed;
        int64_t batches = part->batches - (part->batches > 1),
                heads = part->batches > 1 ? part->heads : part->heads - 1;
        while (batches > 1 && (shape->batch % batches != 0 || (double)(batches * heads) > fits))
            --batches;
        while (batches == 1 && heads > 1 && (shape->heads % heads != 0 || (double)heads > fits))
            --heads;
        *part = (struct cuda_attention_part){batches, heads};
    }
}

/* Of the device's memory; the deterministic backward engine writes B·H·T² elements, and takes fewer heads at a time where those
 * are too many. */
#define WORKSPACE_SHARE 16

static const struct attention_plan *plan_find(struct device *device, const struct cuda_attention_shape *shape)
{
    for (const struct attention_plan *plan = device->cudnn_plans; plan; plan = plan->next)
        // NOLINTNEXTLINE(bugprone-suspicious-memory-comparison): no padding, and scale counts by its bits
        if (memcmp(&plan->shape, shape, sizeof *shape) == 0)
            return plan;
    struct attention_plan *plan = calloc(1, sizeof *plan);
    if (!plan)
        memory_exhausted(1, "plan of cuDNN's");
    plan->shape = *shape;
    plan->plan = cuda_attention_cudnn_plan(device->cudnn, shape, device->memory_bytes / WORKSPACE_SHARE, &plan->part,
                                           plan->why, sizeof plan->why);
    plan->next = device->cudnn_plans;
    device->cudnn_plans = plan;
    return plan;
}

static bool serves(struct device *device, const struct cuda_attention_shape *shape, char *why, size_t why_size)
{
    bool narrow = shape->type_qkv == DTYPE_BF16 && shape->type_o == DTYPE_BF16 &&
                  (!shape->backward || (shape->type_do == DTYPE_BF16 && shape->type_dqkv == DTYPE_BF16));
    if (!narrow)
        snprintf(why, why_size, "it has bf16 alone");
    else if (shape->head_dim % 8 != 0 || shape->align % 16 != 0 || shape->stride_qkv % 8 != 0 ||
             shape->stride_o % 8 != 0 || shape->stride_do % 8 != 0 || shape->stride_dqkv % 8 != 0)
        snprintf(why, why_size, "rows of heads are not whole pieces of 16 bytes");
    else {
        if (!device->cudnn && !device->cudnn_why[0])
            device->cudnn = cudnn_open(device->cudnn_why, sizeof device->cudnn_why);
        if (device->cudnn)
            return true;
        snprintf(why, why_size, "%s", device->cudnn_why);
    }
    return false;
}

/* Arguments: the tensors' addresses in the order of their numbers, then the workspace. */
static bool call_plan(struct program *program, const struct cuda_launch *launch, CUstream stream, struct error *error)
{
    (void)program;
    CUdeviceptr addresses[TENSORS];
    for (int i = 0; i < TENSORS; ++i)
        addresses[i] = launch->arguments[i];
    return cudnn_plan_run(launch->call_context, addresses, launch->arguments[TENSORS], stream, error);
}

/* q and k lie side by side, and so do dq and dk: RoPE takes them for one matrix of twice the heads. */
static struct node_dims both_dims(const struct cuda_attention_shape *shape)
{
    return (struct node_dims){
        .batch = shape->batch, .context = shape->context, .heads = 2 * shape->heads, .head_dim = shape->head_dim};
}

/* From batch b and head h on. */
static struct operand from(struct operand operand, const struct cuda_attention_shape *shape, int64_t b, int64_t h)
{
    return operand.address ? operand_columns(operand, b * shape->context * operand.row_stride + h * shape->head_dim)
                           : operand;
}

static struct operand sums_from(struct operand operand, const struct cuda_attention_shape *shape, int64_t b, int64_t h)
{
    return operand.address ? operand_columns(operand, (b * shape->heads + h) * shape->context) : operand;
}

static void lower_part(struct lowering *lowering, const struct cuda_attention_call *call,
                       const struct attention_plan *found, struct operand qk, struct operand workspace, int64_t b,
                       int64_t h)
{
    const struct cuda_attention_shape *shape = &call->shape;
    int64_t C = shape->heads * shape->head_dim;
    struct cuda_launch *launch = lower_call(
        lowering, -1, shape->backward ? "cudnn_attention_backward" : "cudnn_attention", call_plan, found->plan);
    const struct operand none = {0};
    const struct operand tensors[TENSORS] = {
        [TENSOR_Q] = from(qk, shape, b, h),
        [TENSOR_K] = from(operand_columns(qk, C), shape, b, h),
        [TENSOR_V] = from(operand_columns(call->qkv, 2 * C), shape, b, h),
        [TENSOR_O] = from(call->o, shape, b, h),
        [TENSOR_LSE] = sums_from(call->lse, shape, b, h),
        [TENSOR_DO] = from(call->d_o, shape, b, h),
        [TENSOR_DQ] = from(call->dqkv, shape, b, h),
        [TENSOR_DK] = shape->backward ? from(operand_columns(call->dqkv, C), shape, b, h) : none,
        [TENSOR_DV] = shape->backward ? from(operand_columns(call->dqkv, 2 * C), shape, b, h) : none,
        [TENSOR_DELTA] = sums_from(call->delta, shape, b, h),
    };
    for (int i = 0; i < TENSORS; ++i)
        lower_pointer(launch, tensors[i].address);
    lower_pointer(launch, workspace.address);
}

static bool lower(struct lowering *lowering, const struct cuda_attention_call *call, char *why, size_t why_size)
{
    const struct cuda_attention_shape *shape = &call->shape;
    const struct attention_plan *found = plan_find(lowering->program->device, shape);
    if (!found->plan) {
        snprintf(why, why_size, "%s", found->why);
        return false;
    }
    int64_t C = shape->heads * shape->head_dim, N = shape->batch * shape->context;
    struct node_dims both = both_dims(shape);
    struct operand qk = call->qkv;
    if (shape->rope) {
        qk = lower_scratch(lowering, DTYPE_BF16, N * 2 * C, 2 * C);
        emit_rope(lowering, &both, false, call->qkv, call->table, qk);
    }
    uint64_t bytes = cudnn_plan_workspace(found->plan);
    struct operand workspace = {0};
    if (bytes)
        workspace = lower_scratch(lowering, DTYPE_F32, (int64_t)(bytes + 3) / 4, 0);
    for (int64_t b = 0; b < shape->batch; b += found->part.batches)
        for (int64_t h = 0; h < shape->heads; h += found->part.heads)
            lower_part(lowering, call, found, qk, workspace, b, h);
    if (shape->backward && shape->rope)
        emit_rope(lowering, &both, true, call->dqkv, call->table, call->dqkv);
    return true;
}

void cuda_attention_cudnn_close(struct device *device)
{
    for (struct attention_plan *plan = device->cudnn_plans, *next; plan; plan = next) {
        next = plan->next;
        cudnn_plan_release(plan->plan);
        free(plan);
    }
    device->cudnn_plans = NULL;
    cudnn_close(device->cudnn);
    device->cudnn = NULL;
}

#else

static bool serves(struct device *device, const struct cuda_attention_shape *shape, char *why, size_t why_size)
{
    (void)device, (void)shape;
    snprintf(why, why_size, "steptop was built without its headers");
    return false;
}

static bool lower(struct lowering *lowering, const struct cuda_attention_call *call, char *why, size_t why_size)
{
    (void)call;
    return serves(lowering->program->device, NULL, why, why_size);
}

void cuda_attention_cudnn_close(struct device *device)
{
    (void)device;
}
#endif

const struct cuda_attention_candidate cuda_attention_cudnn = {.name = "cuDNN", .serves = serves, .lower = lower};
