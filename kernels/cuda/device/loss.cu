/* Cross entropy, mean over the rows, in fp32. Macros: V vocabulary, VECTOR, THREADS a block; TL the type of the
 * logits, TG of their gradient; rows lie STRIDE_L and STRIDE_G elements apart, multiples of VECTOR. One block a row. A target outside
 * the vocabulary makes the loss NaN rather than wrong. */
#include "common.cuh"

struct extent {
    float largest, sum; /* of exp(x − largest) */
};

__device__ __forceinline__ extent extent_join(extent a, extent b)
{
    extent r;
    r.largest = fmaxf(a.largest, b.largest);
    r.sum = (a.largest == r.largest ? a.sum : a.sum * expf(a.largest - r.largest)) +
            (b.largest == r.largest ? b.sum : b.sum * expf(b.largest - r.largest));
    return r;
}

/* log Σ exp of the block's row, in every thread, in one pass over memory; the same bits in every thread and run. */
__device__ __forceinline__ float row_log_sum(const TL *row)
{
    __shared__ extent shared[32];
    extent mine = {-INFINITY_F, 0.0f};
#pragma unroll 4
    for (int column = threadIdx.x * VECTOR; column < V; column += THREADS * VECTOR) {
        pack<VECTOR> x = load_pack<VECTOR>(row + column);
        if constexpr (V % VECTOR != 0) { /* what lies between rows counts for nothing */
#pragma unroll
            for (int k = 1; k < VECTOR; ++k)
                x.v[k] = column + k < V ? x.v[k] : -INFINITY_F;
        }
        float largest = mine.largest;
#pragma unroll
        for (int k = 0; k < VECTOR; ++k)
            largest = fmaxf(largest, x.v[k]);
        float sum = mine.largest == largest ? mine.sum : mine.sum * expf(mine.largest - largest);
#pragma unroll
        for (int k = 0; k < VECTOR; ++k)
            sum += expf(x.v[k] - largest);
        mine.largest = largest;
        mine.sum = sum;
    }
#pragma unroll
    for (int offset = 16; offset > 0; offset >>= 1) {
        extent other;
        other.largest = __shfl_xor_sync(FULL_MASK, mine.largest, offset);
        other.sum = __shfl_xor_sync(FULL_MASK, mine.sum, offset);
        mine = extent_join(mine, other);
    }
    if ((threadIdx.x & 31) == 0)
        shared[threadIdx.x >> 5] = mine;
    __syncthreads();
    mine = shared[0];
    for (int w = 1; w < THREADS / 32; ++w)
        mine = extent_join(mine, shared[w]);
    return mine.largest + logf(mine.sum);
}

__device__ __forceinline__ float target_logit(const TL *row, int target)
{
    return (unsigned)target < (unsigned)V ? to_float(row[target]) : __int_as_float(0x7fffffff);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    cross_entropy(const TL *logits, const int *targets, float *lse, float *row_loss)
{
    const TL *row = logits + (int64)blockIdx.x * STRIDE_L;
    float log_sum = row_log_sum(row);
    if (threadIdx.x == 0) {
        lse[blockIdx.x] = log_sum;
        row_loss[blockIdx.x] = log_sum - target_logit(row, targets[blockIdx.x]);
    }
}

/* dlogits = (softmax − one-hot)·scale with scale = 1/N; may be the logits' own place. */
__device__ __forceinline__ void row_gradient(const TL *row, TG *out, float log_sum, int target, float scale)
{
#pragma unroll 4
    for (int column = threadIdx.x * VECTOR; column < V; column += THREADS * VECTOR) {
        pack<VECTOR> x = load_pack<VECTOR>(row + column);
#pragma unroll
        for (int k = 0; k < VECTOR; ++k)
            x.v[k] = V % VECTOR != 0 && column + k >= V
                         ? 0.0f
                         : (expf(x.v[k] - log_sum) - (column + k == target ? 1.0f : 0.0f)) * scale;
        store_pack(out + column, x);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    cross_entropy_backward(const TL *logits, const int *targets, const float *lse, TG *dlogits, float scale)
{
    row_gradient(logits + (int64)blockIdx.x * STRIDE_L, dlogits + (int64)blockIdx.x * STRIDE_G, lse[blockIdx.x], targets[blockIdx.x], scale);
}

/* Loss and gradient; dlogits may be the logits' own place when the types have one size: after the barrier in the middle
 * each thread overwrites only what it alone still reads. */
extern "C" __global__ void __launch_bounds__(THREADS)
    cross_entropy_fused(const TL *logits, const int *targets, float *row_loss, TG *dlogits, float scale)
{
    const TL *row = logits + (int64)blockIdx.x * STRIDE_L;
    int target = targets[blockIdx.x];
    float at_target = target_logit(row, target);
    float log_sum = row_log_sum(row); /* has a barrier, so every thread has read the target's logit */
    if (threadIdx.x == 0)
        row_loss[blockIdx.x] = log_sum - at_target;
    row_gradient(row, dlogits + (int64)blockIdx.x * STRIDE_G, log_sum, target, scale);
}

/* loss = Σ row_loss / N by one block, in a fixed order. */
extern "C" __global__ void __launch_bounds__(1024) mean_loss(const float *row_loss, float *loss, int rows)
{
    __shared__ float shared[32];
    float sum = 0.0f;
    for (int row = threadIdx.x; row < rows; row += 1024)
        sum += row_loss[row];
    sum = block_sum(sum, shared);
    if (threadIdx.x == 0)
        *loss = sum / (float)rows;
}
