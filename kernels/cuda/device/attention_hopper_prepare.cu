/* What goes before the attention kernels for Hopper: keys and queries turned by RoPE, for the copy engine fetches them as they
 * lie, and the sums of rows that backward needs. Macros D, HEADS, TURN. */
#include "attention_hopper.cuh"

#define CHUNKS (HEADS * D / 8) /* of 16 bytes, in a row of all heads */

/* `parts` neighbouring slices of HEADS·D columns, q and k or k alone, of `rows` rows, turned, side by side to `to`. */
extern "C" __global__ void __launch_bounds__(256)
    attention_hopper_turn(const bf16 *from, const float *table, bf16 *to, int rows, int parts, int context, int64 stride)
{
    int64 index = (int64)blockIdx.x * 256 + threadIdx.x;
    int row = (int)(index / (CHUNKS * parts)), chunk = (int)(index % (CHUNKS * parts));
    if (row >= rows)
        return;
    uint4 x = *reinterpret_cast<const uint4 *>(from + row * stride + chunk * 8);
    *reinterpret_cast<uint4 *>(to + index * 8) = turned<false>(x, table + (int64)(row % context) * D + chunk * 8 % D);
}

/* δ = Σ_d do·o and lse·log2 e of each row, (heads, padded) each, 0 and infinity from the context on up to `padded`; the counts of dq's tiles
 * become 0. 8 threads a row of a head; `items` = sequences · padded · HEADS. */
extern "C" __global__ void __launch_bounds__(256)
    attention_hopper_sums(const bf16 *d_o, const bf16 *o, const float *lse, float *lse_out, float *delta_out, unsigned *counts,
                          int count_of_counts, int context, int padded, int64 items, int64 stride_do, int64 stride_o)
{
    int64 thread = (int64)blockIdx.x * 256 + threadIdx.x, item = thread >> 3;
    if (thread < count_of_counts)
        counts[thread] = 0;
    if (item >= items)
        return;
    int part = threadIdx.x & 7, head = (int)(item % HEADS), t = (int)(item / HEADS % padded), sequence = (int)(item / HEADS / padded);
    float sum = 0.0f;
    if (t < context) {
        const bf16 *a = d_o + ((int64)sequence * context + t) * stride_do + head * D, *b = o + ((int64)sequence * context + t) * stride_o + head * D;
#pragma unroll
        for (int i = 0; i < PANELS; ++i) {
            int column = i * 64 + part * 8;
            if (column >= D)
                break;
            uint4 x = *reinterpret_cast<const uint4 *>(a + column), y = *reinterpret_cast<const uint4 *>(b + column);
            unsigned xs[4] = {x.x, x.y, x.z, x.w}, ys[4] = {y.x, y.y, y.z, y.w};
#pragma unroll
            for (int k = 0; k < 4; ++k)
                sum += __uint_as_float(xs[k] << 16) * __uint_as_float(ys[k] << 16) +
                       __uint_as_float(xs[k] & 0xffff0000u) * __uint_as_float(ys[k] & 0xffff0000u);
        }
    }
    sum += __shfl_xor_sync(0xffu << (threadIdx.x & 24), sum, 1);
    sum += __shfl_xor_sync(0xffu << (threadIdx.x & 24), sum, 2);
    sum += __shfl_xor_sync(0xffu << (threadIdx.x & 24), sum, 4);
    if (part != 0)
        return;
    int64 row = (int64)sequence * HEADS + head;
    delta_out[row * padded + t] = sum;
    lse_out[row * padded + t] = t < context ? lse[row * context + t] * LOG2_E : INFINITY_F;
}
