/* Causal attention, forward, after FlashAttention-2: one block of 4 warps takes 64 queries of one head and walks the key
 * tiles up to the diagonal with a running maximum and sum; RoPE is applied while q and k are loaded. Macro BN: keys a tile.
 * grid (⌈T/64⌉, B·H); dynamic shared memory (64 + 2·BN)·LD elements, in fp32 followed by 4·16·(BN+4) floats. */
#include "attention.cuh"

#define NT (BN / 8)

extern "C" __global__ void __launch_bounds__(THREADS, 2)
    attention_forward(const TQ *qkv, const float *table, TO *o, float *lse, int context, float scale, int64 stride_qkv, int64 stride_o)
{
    extern __shared__ __align__(16) unsigned char memory[];
    element *q_tile = reinterpret_cast<element *>(memory), *k_tile = q_tile + 64 * LD, *v_tile = k_tile + BN * LD;
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, pair = lane & 3;
    float *scratch = reinterpret_cast<float *>(v_tile + BN * LD) + warp * 16 * (BN + 4);
    int batch = blockIdx.y / HEADS, head = blockIdx.y % HEADS;
    int first = (gridDim.x - 1 - blockIdx.x) * 64; /* the longest walks start first */
    const TQ *q = qkv + (int64)batch * T * stride_qkv + head * D;
    load_tile<64, true>(q_tile, q, stride_qkv, table, first, context);

    tile<NT_D> out;
    tile_zero(out);
    float largest[2] = {-INFINITY_F, -INFINITY_F}, sum[2] = {0.0f, 0.0f};
    int row = first + warp * 16 + g;
    int last = min(first + 63, T - 1);
    for (int key = 0; key <= last; key += BN) {
        __syncthreads();
        load_tile<BN, true>(k_tile, q + MODEL_WIDTH, stride_qkv, table, key, context);
        load_tile<BN, false>(v_tile, q + 2 * MODEL_WIDTH, stride_qkv, table, key, context);
        __syncthreads();
        tile<NT> s;
        tile_zero(s);
        product_rows(s, q_tile + warp * 16 * LD, k_tile);
        bool diagonal = key + BN - 1 > first + warp * 16;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            float top = -INFINITY_F;
#pragma unroll
            for (int n = 0; n < NT; ++n)
#pragma unroll
                for (int k = 0; k < 2; ++k) {
                    float value = s.c[n][2 * half + k] * scale;
                    if (diagonal && key + n * 8 + 2 * pair + k > row + 8 * half)
                        value = -INFINITY_F;
                    s.c[n][2 * half + k] = value;
                    top = fmaxf(top, value);
                }
            top = fmaxf(top, __shfl_xor_sync(FULL_MASK, top, 1));
            top = fmaxf(top, __shfl_xor_sync(FULL_MASK, top, 2));
            top = fmaxf(top, largest[half]); /* finite from the first tile on: key 0 is seen by every row */
            float shrink = exponential(largest[half] - top), added = 0.0f;
            largest[half] = top;
#pragma unroll
            for (int n = 0; n < NT; ++n)
#pragma unroll
                for (int k = 0; k < 2; ++k) {
                    float p = exponential(s.c[n][2 * half + k] - top);
                    s.c[n][2 * half + k] = p;
                    added += p;
                }
            sum[half] = sum[half] * shrink + added;
#pragma unroll
            for (int n = 0; n < NT_D; ++n) {
                out.c[n][2 * half] *= shrink;
                out.c[n][2 * half + 1] *= shrink;
            }
        }
        product_columns(out, s, v_tile, scratch);
    }
    float inverse[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        sum[half] += __shfl_xor_sync(FULL_MASK, sum[half], 1);
        sum[half] += __shfl_xor_sync(FULL_MASK, sum[half], 2);
        inverse[half] = 1.0f / sum[half];
        if (pair == 0 && row + 8 * half < T)
            lse[(int64)blockIdx.y * T + row + 8 * half] = largest[half] + logf(sum[half]);
    }
    store_rows<false>(o + (int64)batch * T * stride_o + head * D, stride_o, out, inverse, table, first + warp * 16, context);
}
