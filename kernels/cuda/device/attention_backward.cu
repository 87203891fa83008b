/* Causal attention, backward. Probabilities are made again from q, k and the saved log-sum; with P = exp(s·scale − lse) and
 * δ = Σ do·o a row:  dv = Pᵀ·do,  ds = P∘(do·vᵀ − δ)·scale,  dq = ds·k,  dk = dsᵀ·q; dq and dk are turned back by RoPE.
 * Two kinds of block in one launch, so that nothing is added atomically and results do not depend on timing: the
 * even ones of grid.y own 64 keys and walk the queries from the diagonal on (dk, dv), the odd ones own 64 queries and walk
 * the keys (dq). Macros BN: rows of a tile of the walk; BLOCKS: how many blocks a multiprocessor shall hold. Dynamic shared
 * memory (128 + 2·BN)·LD elements, then 2·BN floats, and in fp32 8·16·(BN/2+4) floats more. grid (B·H, 2·⌈T/64⌉): blocks start in
 * order of their walks' lengths, longest first. */
#include "attention.cuh"

#define NT (BN / 16) /* pieces of 8 columns in half a tile */

/* δ[b][h][t] = Σ_d do·o, one warp each, THREADS/32 of them a block. */
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

/* The kernel's arguments, and which head of which sequence this block works on. Addresses are worked out where they are used:
 * kept, they would take the registers that the accumulators need. */
struct operands {
    const TDO *d_o;
    const TQ *qkv;
    const float *lse, *table;
    TDQ *dqkv;
    const float *delta;
    int64 stride_do, stride_qkv, stride_dqkv;
    float scale;
    int context, sequence, head;

    /* The head's slice of q, k or v (which 0, 1, 2). */
    __device__ __forceinline__ const TQ *slice(int which) const
    {
        return qkv + (int64)(sequence * T) * stride_qkv + head * D + which * MODEL_WIDTH;
    }

    __device__ __forceinline__ const TDO *gradients() const { return d_o + (int64)(sequence * T) * stride_do + head * D; }

    __device__ __forceinline__ TDQ *slice_gradients(int which) const
    {
        return dqkv + (int64)(sequence * T) * stride_dqkv + head * D + which * MODEL_WIDTH;
    }

    /* Where the head's log-sums and δ begin. */
    __device__ __forceinline__ int64 first_sum() const { return (int64)(sequence * HEADS + head) * T; }
};

/* A tile of queries with its gradients, log-sums and δ on its way to shared memory. */
struct queries_in_flight {
    tile_in_flight<BN, true, TQ> q;
    tile_in_flight<BN, false, TDO> d_o;
    float lse, delta;

    __device__ __forceinline__ void load(const operands &in, int first)
    {
        int context = in.context, t = first + (int)threadIdx.x;
        q.load(in.slice(0), in.stride_qkv, in.table, first, context);
        d_o.load(in.gradients(), in.stride_do, in.table, first, context);
        bool there = threadIdx.x < BN && t < T;
        lse = there ? in.lse[in.first_sum() + t] * LOG_UNIT : INFINITY_F; /* no weight beyond the context */
        delta = there ? in.delta[in.first_sum() + t] : 0.0f;
    }

    __device__ __forceinline__ void store(element *q_tile, element *do_tile, float *lses, float *deltas)
    {
        q.store(q_tile);
        d_o.store(do_tile);
        if (threadIdx.x < BN)
            lses[threadIdx.x] = lse, deltas[threadIdx.x] = delta;
    }
};

__device__ __forceinline__ void keys_block(const operands &in, int first, element *k_tile, element *v_tile, element *q_tile,
                                           element *do_tile, float *lse, float *delta, float *scratch)
{
    int context = in.context;
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, pair = lane & 3;
    int group = warp & 3, half = warp >> 2;
    float factor = in.scale * LOG_UNIT;
    {
        tile_in_flight<64, true, TQ> k_next;
        tile_in_flight<64, false, TQ> v_next;
        k_next.load(in.slice(1), in.stride_qkv, in.table, first, context);
        v_next.load(in.slice(2), in.stride_qkv, in.table, first, context);
        k_next.store(k_tile);
        v_next.store(v_tile);
    }
    __syncthreads();
    own_rows<false> own_k, own_v;
    own_k.take(k_tile + group * 16 * LD);
    own_v.take(v_tile + group * 16 * LD);
    tile<NT_D> dk, dv;
    tile_zero(dk);
    tile_zero(dv);
    int row = first + group * 16 + g; /* key */
    for (int query = first; query < T; query += BN) {
        queries_in_flight next;
        next.load(in, query);
        __syncthreads();
        next.store(q_tile, do_tile, lse, delta);
        __syncthreads();
        int own = half * (BN / 2); /* this half's first query in the tile */
        if (query + own + BN / 2 - 1 < first + group * 16)
            continue; /* all of them come before these keys */
        tile<NT> s, dp;
        tile_zero(s);
        product_rows(s, own_k, q_tile + own * LD);
        bool diagonal = query + own < first + group * 16 + 15;
#pragma unroll
        for (int n = 0; n < NT; ++n) {
            int column = own + n * 8 + 2 * pair;
            float2 log_sum = *reinterpret_cast<const float2 *>(lse + column);
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                s.c[n][i] = weight(s.c[n][i], factor, i & 1 ? log_sum.y : log_sum.x);
                if (diagonal && row + (i >> 1) * 8 > query + column + (i & 1))
                    s.c[n][i] = 0.0f;
            }
        }
        product_columns(dv, s, do_tile + own * LD, scratch);
        tile_zero(dp);
        product_rows(dp, own_v, do_tile + own * LD);
#pragma unroll
        for (int n = 0; n < NT; ++n) {
            float2 minus = *reinterpret_cast<const float2 *>(delta + own + n * 8 + 2 * pair);
#pragma unroll
            for (int i = 0; i < 4; ++i)
                s.c[n][i] *= dp.c[n][i] - (i & 1 ? minus.y : minus.x);
        }
        product_columns(dk, s, q_tile + own * LD, scratch);
    }
    join_halves(dk, reinterpret_cast<float *>(k_tile));
    join_halves(dv, reinterpret_cast<float *>(k_tile));
    if (half == 1)
        return;
    store_rows<true>(in.slice_gradients(1), in.stride_dqkv, dk, in.scale, in.table, first + group * 16, context);
    store_rows<false>(in.slice_gradients(2), in.stride_dqkv, dv, 1.0f, in.table, first + group * 16, context);
}

__device__ __forceinline__ void queries_block(const operands &in, int first, element *q_tile, element *do_tile, element *k_tile,
                                              element *v_tile, float *scratch)
{
    int context = in.context;
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, pair = lane & 3;
    int group = warp & 3, half = warp >> 2;
    float factor = in.scale * LOG_UNIT;
    {
        tile_in_flight<64, true, TQ> q_next;
        tile_in_flight<64, false, TDO> do_next;
        q_next.load(in.slice(0), in.stride_qkv, in.table, first, context);
        do_next.load(in.gradients(), in.stride_do, in.table, first, context);
        q_next.store(q_tile);
        do_next.store(do_tile);
    }
    int row = first + group * 16 + g; /* query */
    float lse[2], delta[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        bool there = row + 8 * r < T;
        lse[r] = there ? in.lse[in.first_sum() + row + 8 * r] * LOG_UNIT : INFINITY_F;
        delta[r] = there ? in.delta[in.first_sum() + row + 8 * r] : 0.0f;
    }
    __syncthreads();
    own_rows<false> own_q, own_do;
    own_q.take(q_tile + group * 16 * LD);
    own_do.take(do_tile + group * 16 * LD);
    tile<NT_D> dq;
    tile_zero(dq);
    int last = min(first + 63, T - 1);
    for (int key = 0; key <= last; key += BN) {
        tile_in_flight<BN, true, TQ> k_next;
        tile_in_flight<BN, false, TQ> v_next;
        k_next.load(in.slice(1), in.stride_qkv, in.table, key, context);
        v_next.load(in.slice(2), in.stride_qkv, in.table, key, context);
        __syncthreads();
        k_next.store(k_tile);
        v_next.store(v_tile);
        __syncthreads();
        int own = half * (BN / 2); /* this half's first key in the tile */
        if (key + own > first + group * 16 + 15)
            continue;
        tile<NT> s, dp;
        tile_zero(s);
        tile_zero(dp);
        product_rows(s, own_q, k_tile + own * LD);
        product_rows(dp, own_do, v_tile + own * LD);
        bool diagonal = key + own + BN / 2 - 1 > first + group * 16;
#pragma unroll
        for (int n = 0; n < NT; ++n)
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                float p = weight(s.c[n][i], factor, lse[i >> 1]);
                if (diagonal && key + own + n * 8 + 2 * pair + (i & 1) > row + (i >> 1) * 8)
                    p = 0.0f;
                s.c[n][i] = p * (dp.c[n][i] - delta[i >> 1]);
            }
        product_columns(dq, s, k_tile + own * LD, scratch);
    }
    join_halves(dq, reinterpret_cast<float *>(q_tile));
    if (half == 1)
        return;
    store_rows<true>(in.slice_gradients(0), in.stride_dqkv, dq, in.scale, in.table, first + group * 16, context);
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    attention_backward(const TDO *d_o, const TQ *qkv, const float *lse, const float *table, TDQ *dqkv, const float *delta, int context,
                       float scale, int64 stride_do, int64 stride_qkv, int64 stride_dqkv)
{
    extern __shared__ __align__(16) unsigned char memory[];
    element *own_0 = reinterpret_cast<element *>(memory), *own_1 = own_0 + 64 * LD;
    element *walk_0 = own_1 + 64 * LD, *walk_1 = walk_0 + BN * LD;
    float *tile_lse = reinterpret_cast<float *>(walk_1 + BN * LD), *tile_delta = tile_lse + BN;
    float *scratch = tile_delta + BN + (threadIdx.x >> 5) * 16 * (BN / 2 + 4);
    int order = blockIdx.y / 2;
    operands in;
    in.d_o = d_o;
    in.qkv = qkv;
    in.lse = lse;
    in.table = table;
    in.dqkv = dqkv;
    in.delta = delta;
    in.stride_do = stride_do;
    in.stride_qkv = stride_qkv;
    in.stride_dqkv = stride_dqkv;
    in.scale = scale;
    in.context = context;
    in.sequence = blockIdx.x / HEADS;
    in.head = blockIdx.x % HEADS;
    if (blockIdx.y % 2 == 0)
        keys_block(in, order * 64, own_0, own_1, walk_0, walk_1, tile_lse, tile_delta, scratch);
    else
        queries_block(in, ((int)gridDim.y / 2 - 1 - order) * 64, own_0, own_1, walk_0, walk_1, scratch);
}
