/* Causal softmax over scores (B, H, T, T) and its gradient, one warp a row. Macros: TS type of the scores' side, TP of the
 * probabilities', TO of the output; rows = B·H·T. Row r stands for query t = r mod T; columns after t are not read, and
 * zero in the output. The output may be the input's own place when the types are the same. lse may be null. */
#include "common.cuh"

extern "C" __global__ void __launch_bounds__(256) causal_softmax(const TS *s, TO *p, float *lse, int rows, int context)
{
    int row = blockIdx.x * 8 + (threadIdx.x >> 5), lane = threadIdx.x & 31;
    if (row >= rows)
        return;
    int seen = row % context + 1;
    const TS *in = s + (int64)row * context;
    TO *out = p + (int64)row * context;
    float largest = -INFINITY_F;
    for (int column = lane; column < seen; column += 32)
        largest = fmaxf(largest, to_float(in[column]));
    largest = warp_max(largest);
    float sum = 0.0f;
    for (int column = lane; column < seen; column += 32)
        sum += expf(to_float(in[column]) - largest);
    sum = warp_sum(sum);
    if (lse && lane == 0)
        lse[row] = largest + logf(sum);
    for (int column = lane; column < context; column += 32) {
        pack<1> value;
        value.v[0] = column < seen ? expf(to_float(in[column]) - largest) / sum : 0.0f;
        store_pack(out + column, value);
    }
}

/* ds = p·(dp − Σ dp·p) */
extern "C" __global__ void __launch_bounds__(256)
    causal_softmax_backward(const TS *dp, const TP *p, TO *ds, int rows, int context)
{
    int row = blockIdx.x * 8 + (threadIdx.x >> 5), lane = threadIdx.x & 31;
    if (row >= rows)
        return;
    int seen = row % context + 1;
    int64 start = (int64)row * context;
    float dot = 0.0f;
    for (int column = lane; column < seen; column += 32)
        dot += to_float(dp[start + column]) * to_float(p[start + column]);
    dot = warp_sum(dot);
    for (int column = lane; column < context; column += 32) {
        pack<1> value;
        value.v[0] = column < seen ? to_float(p[start + column]) * (to_float(dp[start + column]) - dot) : 0.0f;
        store_pack(ds + start + column, value);
    }
}
