/* Causal attention, forward, after FlashAttention-2: one block takes 64 queries of one head and walks the key tiles up to
 * the diagonal with a running maximum and sum; RoPE is applied while q and k are loaded, and the next tile is on its way
 * while one is worked on. Macros BN: keys a tile; HOLD: 1 keeps the queries in registers; BLOCKS: how many blocks a
 * multiprocessor shall hold. grid (B·H, ⌈T/64⌉); dynamic shared memory (64 + 2·BN)·LD elements, in fp32 followed by
 * 8·16·(BN/2+4) floats. */
#include "attention.cuh"

#define NT (BN / 16) /* pieces of 8 columns in half a tile */

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    attention_forward(const TQ *qkv, const float *table, TO *o, float *lse, int context, float scale, int64 stride_qkv,
                      int64 stride_o)
{
    extern __shared__ __align__(16) unsigned char memory[];
    element *q_tile = reinterpret_cast<element *>(memory), *k_tile = q_tile + 64 * LD, *v_tile = k_tile + BN * LD;
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, pair = lane & 3;
    int group = warp & 3, half = warp >> 2;
    float *scratch = reinterpret_cast<float *>(v_tile + BN * LD) + warp * 16 * (BN / 2 + 4);
    int batch = blockIdx.x / HEADS, head = blockIdx.x % HEADS;
    int first = (gridDim.y - 1 - blockIdx.y) * 64; /* the longest walks start first */
    const TQ *q = qkv + (int64)batch * T * stride_qkv + head * D;
    const TQ *k = q + MODEL_WIDTH, *v = q + 2 * MODEL_WIDTH;
    tile_in_flight<BN, true, TQ> k_next;
    tile_in_flight<BN, false, TQ> v_next;
    {
        tile_in_flight<64, true, TQ> q_next;
        q_next.load(q, stride_qkv, table, first, context);
        k_next.load(k, stride_qkv, table, 0, context);
        v_next.load(v, stride_qkv, table, 0, context);
        q_next.store(q_tile);
    }
    __syncthreads();
    own_rows<HOLD> own_q;
    own_q.take(q_tile + group * 16 * LD);
    tile<NT_D> out;
    tile_zero(out);
    float factor = scale * LOG_UNIT;
    float largest[2] = {-INFINITY_F, -INFINITY_F}, sum[2] = {0.0f, 0.0f};
    int row = first + group * 16 + g;
    int last = min(first + 63, T - 1);
    for (int key = 0; key <= last; key += BN) {
        __syncthreads();
        k_next.store(k_tile);
        v_next.store(v_tile);
        __syncthreads();
        if (key + BN <= last) {
            k_next.load(k, stride_qkv, table, key + BN, context);
            v_next.load(v, stride_qkv, table, key + BN, context);
        }
        int own = key + half * (BN / 2); /* this half's first key */
        if (own > first + group * 16 + 15)
            continue; /* all of it lies beyond these rows' diagonal; the warp still meets the barriers */
        tile<NT> s;
        tile_zero(s);
        product_rows(s, own_q, k_tile + half * (BN / 2) * LD);
        if (own + BN / 2 - 1 > first + group * 16) {
#pragma unroll
            for (int n = 0; n < NT; ++n)
#pragma unroll
                for (int i = 0; i < 4; ++i)
                    if (own + n * 8 + 2 * pair + (i & 1) > row + (i >> 1) * 8)
                        s.c[n][i] = -INFINITY_F;
        }
        float shrink[2];
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            float top = largest[r];
#pragma unroll
            for (int n = 0; n < NT; ++n)
                top = fmaxf(top, fmaxf(s.c[n][2 * r], s.c[n][2 * r + 1]));
            top = fmaxf(top, __shfl_xor_sync(FULL_MASK, top, 1));
            top = fmaxf(top, __shfl_xor_sync(FULL_MASK, top, 2));
            float base = top == -INFINITY_F ? 0.0f : top * factor; /* this half may hold no key that the row sees */
            float added = 0.0f;
            shrink[r] = weight(largest[r], factor, base);
            largest[r] = top;
#pragma unroll
            for (int n = 0; n < NT; ++n)
#pragma unroll
                for (int i = 2 * r; i < 2 * r + 2; ++i) {
                    s.c[n][i] = weight(s.c[n][i], factor, base);
                    added += s.c[n][i];
                }
            sum[r] = sum[r] * shrink[r] + added;
        }
#pragma unroll
        for (int n = 0; n < NT_D; ++n)
#pragma unroll
            for (int i = 0; i < 4; ++i)
                out.c[n][i] *= shrink[i >> 1];
        product_columns(out, s, v_tile + half * (BN / 2) * LD, scratch);
    }

    /* Both halves to one maximum, then their sums to the first half. */
    float *shared = reinterpret_cast<float *>(memory), *shared_largest = shared + DP * 64, *shared_sum = shared_largest + 256;
    int slot = threadIdx.x & 127;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        sum[r] += __shfl_xor_sync(FULL_MASK, sum[r], 1);
        sum[r] += __shfl_xor_sync(FULL_MASK, sum[r], 2);
    }
    __syncthreads();
    if (half == 1) {
#pragma unroll
        for (int r = 0; r < 2; ++r)
            shared_largest[r * 128 + slot] = largest[r], shared_sum[r * 128 + slot] = sum[r];
#pragma unroll
        for (int i = 0; i < NT_D * 4; ++i)
            shared[i * 128 + slot] = out.c[i / 4][i % 4];
    }
    __syncthreads();
    if (half == 1)
        return;
    float mine[2], theirs[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        float other = shared_largest[r * 128 + slot], top = fmaxf(largest[r], other);
        float base = top * factor; /* key 0 is in the first half: finite */
        float own = weight(largest[r], factor, base), added = weight(other, factor, base);
        float total = sum[r] * own + shared_sum[r * 128 + slot] * added;
        mine[r] = own / total, theirs[r] = added / total;
        if (pair == 0 && row + 8 * r < T)
            lse[(int64)blockIdx.x * T + row + 8 * r] = top * scale + logf(total);
    }
#pragma unroll
    for (int n = 0; n < NT_D; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i)
            out.c[n][i] = out.c[n][i] * mine[i >> 1] + shared[(n * 4 + i) * 128 + slot] * theirs[i >> 1];
    store_rows<false>(o + (int64)batch * T * stride_o + head * D, stride_o, out, 1.0f, table, first + group * 16, context);
}
