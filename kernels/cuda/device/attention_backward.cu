/* Causal attention, backward. Probabilities are made again from q, k and the saved log-sum; with P = exp(s·scale − lse) and
 * δ = Σ do·o a row:  dv = Pᵀ·do,  ds = P∘(do·vᵀ − δ)·scale,  dq = ds·k,  dk = dsᵀ·q; dq and dk are turned back by RoPE.
 * Two kinds of block in one launch, so that nothing is added atomically and results do not depend on timing: the first
 * ⌈T/64⌉ of grid.x own 64 keys and walk the queries from the diagonal on (dk, dv), the others own 64 queries and walk the
 * keys (dq). Macro BN: rows of a tile of the walk. Dynamic shared memory (128 + 2·BN)·LD elements, then 2·BN floats, and in
 * fp32 4·16·(BN+4) floats more. grid (2·⌈T/64⌉, B·H). */
#include "attention.cuh"

#define NT (BN / 8)

/* δ[b][h][t] = Σ_d do·o, one warp each; grid covers B·H·T warps of 4 a block. */
extern "C" __global__ void __launch_bounds__(THREADS)
    attention_delta(const TDO *d_o, const TO *o, float *delta, int context, int64 stride_do, int64 stride_o, int count)
{
    int index = blockIdx.x * (THREADS / 32) + (threadIdx.x >> 5), lane = threadIdx.x & 31;
    if (index >= count)
        return;
    /* Neighbouring warps take neighbouring heads of one row: their loads lie side by side. */
    int row = index / HEADS, head = index % HEADS;
    const TDO *a = d_o + (int64)row * stride_do + head * D;
    const TO *b = o + (int64)row * stride_o + head * D;
    float sum = 0.0f;
#pragma unroll
    for (int column = lane * 2; column < D; column += 64) {
        pack<2> x = load_pack<2>(a + column), y = load_pack<2>(b + column);
        sum += x.v[0] * y.v[0] + x.v[1] * y.v[1];
    }
    sum = warp_sum(sum);
    if (lane == 0)
        delta[((int64)(row / T) * HEADS + head) * T + row % T] = sum;
}

struct operands {
    const TQ *q;      /* this head's slice; k and v lie MODEL_WIDTH and 2·MODEL_WIDTH further */
    const TDO *d_o;
    const float *table, *lse, *delta;
    TDQ *dq;
    int64 stride_qkv, stride_do, stride_dqkv;
    float scale;
    int context;
};

__device__ __forceinline__ void keys_block(const operands &in, int first, element *k_tile, element *v_tile, element *q_tile,
                                           element *do_tile, float *lse, float *delta, float *scratch)
{
    int context = in.context;
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, pair = lane & 3;
    load_tile<64, true>(k_tile, in.q + MODEL_WIDTH, in.stride_qkv, in.table, first, context);
    load_tile<64, false>(v_tile, in.q + 2 * MODEL_WIDTH, in.stride_qkv, in.table, first, context);
    tile<NT_D> dk, dv;
    tile_zero(dk);
    tile_zero(dv);
    int row = first + warp * 16 + g; /* key */
    for (int query = first; query < T; query += BN) {
        __syncthreads();
        load_tile<BN, true>(q_tile, in.q, in.stride_qkv, in.table, query, context);
        load_tile<BN, false>(do_tile, in.d_o, in.stride_do, in.table, query, context);
        if (threadIdx.x < BN) {
            bool there = query + (int)threadIdx.x < T;
            lse[threadIdx.x] = there ? in.lse[query + threadIdx.x] : INFINITY_F; /* no weight beyond the context */
            delta[threadIdx.x] = there ? in.delta[query + threadIdx.x] : 0.0f;
        }
        __syncthreads();
        tile<NT> s, dp;
        tile_zero(s);
        product_rows(s, k_tile + warp * 16 * LD, q_tile);
#pragma unroll
        for (int n = 0; n < NT; ++n)
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                int column = n * 8 + 2 * pair + (i & 1);
                float p = exponential(s.c[n][i] * in.scale - lse[column]);
                s.c[n][i] = row + (i >> 1) * 8 > query + column ? 0.0f : p;
            }
        product_columns(dv, s, do_tile, scratch);
        tile_zero(dp);
        product_rows(dp, v_tile + warp * 16 * LD, do_tile);
#pragma unroll
        for (int n = 0; n < NT; ++n)
#pragma unroll
            for (int i = 0; i < 4; ++i)
                s.c[n][i] *= (dp.c[n][i] - delta[n * 8 + 2 * pair + (i & 1)]) * in.scale;
        product_columns(dk, s, q_tile, scratch);
    }
    const float one[2] = {1.0f, 1.0f};
    store_rows<true>(in.dq + MODEL_WIDTH, in.stride_dqkv, dk, one, in.table, first + warp * 16, context);
    store_rows<false>(in.dq + 2 * MODEL_WIDTH, in.stride_dqkv, dv, one, in.table, first + warp * 16, context);
}

__device__ __forceinline__ void queries_block(const operands &in, int first, element *q_tile, element *do_tile, element *k_tile,
                                              element *v_tile, float *scratch)
{
    int context = in.context;
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, pair = lane & 3;
    load_tile<64, true>(q_tile, in.q, in.stride_qkv, in.table, first, context);
    load_tile<64, false>(do_tile, in.d_o, in.stride_do, in.table, first, context);
    int row = first + warp * 16 + g; /* query */
    float lse[2], delta[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        bool there = row + 8 * half < T;
        lse[half] = there ? in.lse[row + 8 * half] : INFINITY_F;
        delta[half] = there ? in.delta[row + 8 * half] : 0.0f;
    }
    tile<NT_D> dq;
    tile_zero(dq);
    int last = min(first + 63, T - 1);
    for (int key = 0; key <= last; key += BN) {
        __syncthreads();
        load_tile<BN, true>(k_tile, in.q + MODEL_WIDTH, in.stride_qkv, in.table, key, context);
        load_tile<BN, false>(v_tile, in.q + 2 * MODEL_WIDTH, in.stride_qkv, in.table, key, context);
        __syncthreads();
        tile<NT> s, dp;
        tile_zero(s);
        tile_zero(dp);
        product_rows(s, q_tile + warp * 16 * LD, k_tile);
        product_rows(dp, do_tile + warp * 16 * LD, v_tile);
#pragma unroll
        for (int n = 0; n < NT; ++n)
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                int column = key + n * 8 + 2 * pair + (i & 1);
                float p = exponential(s.c[n][i] * in.scale - lse[i >> 1]);
                p = column > row + (i >> 1) * 8 ? 0.0f : p;
                s.c[n][i] = p * (dp.c[n][i] - delta[i >> 1]) * in.scale;
            }
        product_columns(dq, s, k_tile, scratch);
    }
    const float one[2] = {1.0f, 1.0f};
    store_rows<true>(in.dq, in.stride_dqkv, dq, one, in.table, first + warp * 16, context);
}

extern "C" __global__ void __launch_bounds__(THREADS, 2)
    attention_backward(const TDO *d_o, const TQ *qkv, const float *lse, const float *table, TDQ *dqkv, const float *delta, int context,
                       float scale, int64 stride_do, int64 stride_qkv, int64 stride_dqkv)
{
    extern __shared__ __align__(16) unsigned char memory[];
    element *own_0 = reinterpret_cast<element *>(memory), *own_1 = own_0 + 64 * LD;
    element *walk_0 = own_1 + 64 * LD, *walk_1 = walk_0 + BN * LD;
    float *tile_lse = reinterpret_cast<float *>(walk_1 + BN * LD), *tile_delta = tile_lse + BN;
    float *scratch = tile_delta + BN + (threadIdx.x >> 5) * 16 * (BN + 4);
    int batch = blockIdx.y / HEADS, head = blockIdx.y % HEADS, tiles = gridDim.x / 2;
    operands in;
    in.q = qkv + (int64)batch * T * stride_qkv + head * D;
    in.d_o = d_o + (int64)batch * T * stride_do + head * D;
    in.table = table;
    in.lse = lse + (int64)blockIdx.y * T;
    in.delta = delta + (int64)blockIdx.y * T;
    in.dq = dqkv + (int64)batch * T * stride_dqkv + head * D;
    in.stride_qkv = stride_qkv;
    in.stride_do = stride_do;
    in.stride_dqkv = stride_dqkv;
    in.scale = scale;
    in.context = context;
    if ((int)blockIdx.x < tiles)
        keys_block(in, (int)blockIdx.x * 64, own_0, own_1, walk_0, walk_1, tile_lse, tile_delta, scratch);
    else
        queries_block(in, (2 * tiles - 1 - (int)blockIdx.x) * 64, own_0, own_1, walk_0, walk_1, scratch);
}
