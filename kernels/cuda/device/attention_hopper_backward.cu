/* Gradients of causal attention on Hopper, in five products a pair of tiles. A block owns 128 keys (64 each of two warpgroups)
 * and walks the tiles of BM queries that see them: with the scores turned over, weights and their gradients are operands from
 * registers for dv and dk, whose sums stay in registers; dq's parts pass through shared memory and are added in global memory
 * by the copy engine.
 *
 * Sums do not depend on timing: a count a tile of queries says how many blocks have added to it, and each waits for its number.
 * That no block waits in vain is a matter of order. A team of blocks, as many as a head has tiles of keys, works at one head
 * after the other in lockstep. In the first, block i takes tile i and walks up from the diagonal: at any time each is at another
 * tile of queries, and one step behind its neighbour above, whose part is added before its own. In the second it takes tile
 * i from the end, which makes all blocks' work alike, and walks down to the diagonal, one step behind its neighbour below; and
 * so on in turns. All blocks are on the card at once, one a multiprocessor. Heads of more tiles than multiprocessors are walked as
 * a list, from their last tile on (`team` 0), so that none waits for one that has not begun.
 *
 * Macros besides attention_hopper.cuh's: BM, 128 up to D = 64, else 64; STAGES of queries. Maps as in forward: `map_k`, `map_v` with boxes of
 * 64 × 128, `map_q`, `map_do` of 64 × BM; q and k are turned already. `lse` (times log2 e) and `delta` are (heads, T rounded up to BM),
 * infinity and 0 beyond T. Dynamic shared memory: 1024 + PANELS·(2·128 + 2·STAGES·BM)·128 + 2·BM·128·2 + BM·DQ_COLUMNS·4 + STAGES·BM·8 + 256. */
#include "attention_hopper.cuh"
#include "attention_hopper_walks.cuh"

#define BN 128
#define OWN_BYTES (PANELS * BN * 128)
#define TILE_BYTES (PANELS * BM * 128)
#define DS_BYTES (BM * BN * 2)
#define DQ_COLUMNS (BM == 128 ? DK : PANELS * 64) /* with 64 queries, each warpgroup sums 64 columns of dq */
#define DQ_BYTES (BM * DQ_COLUMNS * 4)
#define DQ_SUMS (BM == 128 ? DK / 2 : 32)
#define SUM_BYTES (BM * 4)
#define STAGE_BYTES (2 * TILE_BYTES + 2 * SUM_BYTES)

enum { BAR_DS = 1 };

__device__ __forceinline__ unsigned load_acquire(const unsigned *p)
{
    unsigned x;
    asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(x) : "l"(p) : "memory");
    return x;
}

/* dq's sums of a tile from shared to global memory: put there by the first, added by the others. */
__device__ __forceinline__ void hand_over(float *to, unsigned from, bool add)
{
    if (add)
        asm volatile("cp.reduce.async.bulk.global.shared::cta.bulk_group.add.f32 [%0], [%1], %2;" ::"l"(__cvta_generic_to_global(to)), "r"(from),
                     "n"(DQ_BYTES)
                     : "memory");
    else
        asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(__cvta_generic_to_global(to)), "r"(from), "n"(DQ_BYTES)
                     : "memory");
    asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}

/* 64 rows of dk or dv from the accumulator to global memory. */
template <bool BACK>
__device__ __forceinline__ void store_gradient(bf16 *base, int64 stride, const float (&x)[DK / 2], float scale, const float *table, int row,
                                               int pair, int context)
{
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        int t = row + 8 * r;
        if (t >= context)
            continue;
        unsigned *to = reinterpret_cast<unsigned *>(base + t * stride + 2 * pair);
        const float *turns = table + (int64)t * D + 2 * pair;
#pragma unroll
        for (int n = 0; n < D / 8; ++n) {
            float a = x[n * 4 + 2 * r] * scale, b = x[n * 4 + 2 * r + 1] * scale;
            to[n * 4] = BACK ? turned_back_pair(a, b, turns + n * 8) : bf16_pair(a, b);
        }
    }
}

extern "C" __global__ void __launch_bounds__(384, 1)
    attention_hopper_backward(const __grid_constant__ tensor_map map_q, const __grid_constant__ tensor_map map_k,
                              const __grid_constant__ tensor_map map_v, const __grid_constant__ tensor_map map_do, const float *lse,
                              const float *delta, const float *table, float *dq_sums, unsigned *dq_counts, bf16 *dk_to, bf16 *dv_to,
                              int context, int heads_in_all, int team, float scale, int64 stride)
{
    extern __shared__ char unaligned[];
    unsigned k_at = shared_address(unaligned) + 1023 & ~1023u, v_at = k_at + OWN_BYTES, q_at = v_at + OWN_BYTES,
             do_at = q_at + STAGES * TILE_BYTES, ds_at = do_at + STAGES * TILE_BYTES, dq_at = ds_at + 2 * DS_BYTES,
             lse_at = dq_at + DQ_BYTES, delta_at = lse_at + STAGES * SUM_BYTES, own_full = delta_at + STAGES * SUM_BYTES,
             own_empty = own_full + 8, dq_full = own_empty + 8, dq_empty = dq_full + 8, full = dq_empty + 8, empty = full + STAGES * 8;
    walks all;
    all.key_tiles = (context + BN - 1) / BN, all.query_tiles = (context + BM - 1) / BM, all.ratio = BN / BM, all.team = team;
    all.heads_in_all = heads_in_all;
    walk w;
    if (threadIdx.x == 0) {
        barrier_init(own_full, 1);
        barrier_init(own_empty, 8);
        barrier_init(dq_full, 8);
        barrier_init(dq_empty, 1);
        for (int stage = 0; stage < STAGES; ++stage) {
            barrier_init(full + stage * 8, 1);
            barrier_init(empty + stage * 8, 8);
        }
        barriers_made();
    }
    __syncthreads();
    if (threadIdx.x < 128) {
        registers_give<40>();
        if (threadIdx.x == 0) { /* fetches tiles */
            int stage = 0;
            unsigned parity = 1, own_parity = 1;
            for (int i = 0; walks_take(&all, blockIdx.x, gridDim.x, i, &w); ++i) {
                int sequence = w.head / HEADS, head = w.head % HEADS;
                barrier_wait(own_empty, own_parity);
                own_parity ^= 1;
                barrier_expect(own_full, 2 * OWN_BYTES);
#pragma unroll
                for (int panel = 0; panel < PANELS; ++panel) {
                    copy_box(k_at + panel * (BN * 128), &map_k, panel * 64, w.keys * BN, head, sequence, own_full);
                    copy_box(v_at + panel * (BN * 128), &map_v, panel * 64, w.keys * BN, head, sequence, own_full);
                }
                for (int tile = w.first;; tile += w.step) {
                    unsigned ready = full + stage * 8;
                    barrier_wait(empty + stage * 8, parity);
                    barrier_expect(ready, STAGE_BYTES);
#pragma unroll
                    for (int panel = 0; panel < PANELS; ++panel)
                        copy_box(q_at + stage * TILE_BYTES + panel * (BM * 128), &map_q, panel * 64, tile * BM, head, sequence, ready);
                    int64 sums = ((int64)w.head * all.query_tiles + tile) * BM;
                    copy_bytes(lse_at + stage * SUM_BYTES, lse + sums, SUM_BYTES, ready);
#pragma unroll
                    for (int panel = 0; panel < PANELS; ++panel)
                        copy_box(do_at + stage * TILE_BYTES + panel * (BM * 128), &map_do, panel * 64, tile * BM, head, sequence, ready);
                    copy_bytes(delta_at + stage * SUM_BYTES, delta + sums, SUM_BYTES, ready);
                    if (++stage == STAGES)
                        stage = 0, parity ^= 1;
                    if (tile == w.last)
                        break;
                }
            }
        } else if (threadIdx.x == 32) { /* adds up dq */
            unsigned parity = 0;
            for (int i = 0; walks_take(&all, blockIdx.x, gridDim.x, i, &w); ++i) {
                for (int tile = w.first;; tile += w.step) {
                    int number = walks_number(&all, &w, tile);
                    int64 place = (int64)w.head * all.query_tiles + tile;
                    barrier_wait(dq_full, parity);
                    parity ^= 1;
                    while (load_acquire(dq_counts + place) != (unsigned)number)
                        ;
                    asm volatile("fence.proxy.async.global;" ::: "memory");
                    hand_over(dq_sums + place * (BM * DQ_COLUMNS), dq_at, number > 0);
                    asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory");
                    barrier_arrive(dq_empty);
                    asm volatile("cp.async.bulk.wait_group 0;\nfence.proxy.async.global;" ::: "memory");
                    asm volatile("st.release.gpu.global.u32 [%0], %1;" ::"l"(dq_counts + place), "r"(number + 1) : "memory");
                    if (tile == w.last)
                        break;
                }
            }
        }
    } else {
        registers_take<232>();
        int thread = threadIdx.x & 127, warp = thread >> 5, lane = thread & 31, g = lane >> 2, pair = lane & 3;
        int own = (threadIdx.x >> 7) - 1, stage = 0, buffer = 0;
        unsigned parity = 0, own_parity = 0, dq_parity = 1;
        float factor = scale * LOG2_E;
        /* Where this thread's matrices of weights' gradients go: row (lane mod 16), 8 columns by lane / 16. */
        int ds_row = own * 64 + warp * 16 + (lane & 15);
        unsigned own_k = k_at + own * 64 * 128, own_v = v_at + own * 64 * 128;
        for (int i = 0; walks_take(&all, blockIdx.x, gridDim.x, i, &w); ++i) {
            int first = w.keys * BN + own * 64, row = first + warp * 16 + g; /* key */
            float dk[DK / 2], dv[DK / 2];
#pragma unroll
            for (int e = 0; e < DK / 2; ++e)
                dk[e] = dv[e] = 0.0f;
            barrier_wait(own_full, own_parity);
            own_parity ^= 1;
            for (int tile = w.first;; tile += w.step) {
                float s[BM / 2], dp[BM / 2], dq[DQ_SUMS];
                unsigned p[BM / 16][4], ds[BM / 16][4];
                unsigned q_tile = q_at + stage * TILE_BYTES, do_tile = do_at + stage * TILE_BYTES;
                unsigned lse_tile = lse_at + stage * SUM_BYTES + pair * 8, delta_tile = delta_at + stage * SUM_BYTES + pair * 8;
                barrier_wait(full + stage * 8, parity);
                products_start();
                product<0, 0, 0>(s, tile_descriptor(own_k), tile_descriptor(q_tile));
#pragma unroll
                for (int k = 1; k < DK / 16; ++k)
                    product<1, 0, 0>(s, tile_descriptor(own_k + k / 4 * (BN * 128) + k % 4 * 32),
                                     tile_descriptor(q_tile + k / 4 * (BM * 128) + k % 4 * 32));
                products_commit();
                product<0, 0, 0>(dp, tile_descriptor(own_v), tile_descriptor(do_tile));
#pragma unroll
                for (int k = 1; k < DK / 16; ++k)
                    product<1, 0, 0>(dp, tile_descriptor(own_v + k / 4 * (BN * 128) + k % 4 * 32),
                                     tile_descriptor(do_tile + k / 4 * (BM * 128) + k % 4 * 32));
                products_commit();
                products_wait<1>();
                settle(s);
                bool diagonal = tile * BM < first + 63;
#pragma unroll
                for (int n = 0; n < BM / 8; ++n) {
                    float2 base;
                    asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];" : "=f"(base.x), "=f"(base.y) : "r"(lse_tile + n * 32) : "memory");
#pragma unroll
                    for (int e = 0; e < 4; ++e) {
                        float x = power_of_two(fmaf(s[n * 4 + e], factor, e & 1 ? -base.y : -base.x));
                        if (diagonal && row + (e >> 1) * 8 > tile * BM + n * 8 + 2 * pair + (e & 1))
                            x = 0.0f;
                        s[n * 4 + e] = x;
                    }
                    p[n >> 1][n % 2 * 2] = bf16_pair(s[n * 4], s[n * 4 + 1]);
                    p[n >> 1][n % 2 * 2 + 1] = bf16_pair(s[n * 4 + 2], s[n * 4 + 3]);
                }
                settle(p);
                settle(dv);
                products_start();
#pragma unroll
                for (int k = 0; k < BM / 16; ++k)
                    product_add<1>(dv, p[k], across_descriptor(do_tile + k * 2048, BM * 128));
                products_commit();
                products_wait<1>();
                settle(dp);
#pragma unroll
                for (int n = 0; n < BM / 8; ++n) {
                    float2 minus;
                    asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];" : "=f"(minus.x), "=f"(minus.y) : "r"(delta_tile + n * 32) : "memory");
#pragma unroll
                    for (int r = 0; r < 2; ++r) {
                        unsigned both = p[n >> 1][n % 2 * 2 + r]; /* there are registers for the rounded weights alone */
                        float low = __uint_as_float(both << 16), high = __uint_as_float(both & 0xffff0000u);
                        ds[n >> 1][n % 2 * 2 + r] = bf16_pair(low * (dp[n * 4 + 2 * r] - minus.x), high * (dp[n * 4 + 2 * r + 1] - minus.y));
                    }
                }
#pragma unroll
                for (int k = 0; k < BM / 16; ++k)
                    store_matrices(ds_at + buffer * DS_BYTES + k / 4 * (BN * 128) + panel_place(ds_row, k % 4 * 16 + (lane >> 4) * 8), ds[k]);
                shared_to_engines();
                meet<256>(BAR_DS); /* also: nobody is at the products before the last any more, whose ds this replaced */
                settle(ds);
                settle(dk);
                products_start();
                unsigned ds_tile = ds_at + buffer * DS_BYTES;
                if (BM == 128) {
                    ds_tile += own * (BN * 128);
                    product<0, 1, 1>(dq, across_descriptor(ds_tile, BN * 128), across_descriptor(k_at, BN * 128));
#pragma unroll
                    for (int k = 1; k < BN / 16; ++k)
                        product<1, 1, 1>(dq, across_descriptor(ds_tile + k * 2048, BN * 128), across_descriptor(k_at + k * 2048, BN * 128));
                } else {
                    unsigned columns = k_at + own * (BN * 128);
                    product<0, 1, 1>(dq, across_descriptor(ds_tile, BN * 128), across_descriptor(columns, BN * 128));
#pragma unroll
                    for (int k = 1; k < BN / 16; ++k)
                        product<1, 1, 1>(dq, across_descriptor(ds_tile + k * 2048, BN * 128), across_descriptor(columns + k * 2048, BN * 128));
                }
                products_commit();
#pragma unroll
                for (int k = 0; k < BM / 16; ++k)
                    product_add<1>(dk, ds[k], across_descriptor(q_tile + k * 2048, BM * 128));
                products_commit();
                buffer ^= 1;
                products_wait<1>();
                settle(dq);
                barrier_wait(dq_empty, dq_parity);
                dq_parity ^= 1;
#pragma unroll
                for (int n = 0; n < DQ_SUMS / 4; ++n)
                    asm volatile("st.shared.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"(dq_at + own * (DQ_SUMS * 512) + (n * 128 + thread) * 16),
                                 "f"(dq[n * 4]), "f"(dq[n * 4 + 1]), "f"(dq[n * 4 + 2]), "f"(dq[n * 4 + 3])
                                 : "memory");
                shared_to_engines();
                __syncwarp();
                if (lane == 0)
                    barrier_arrive(dq_full);
                products_wait<0>();
                settle(dk);
                settle(dv);
                if (lane == 0)
                    barrier_arrive(empty + stage * 8);
                if (++stage == STAGES)
                    stage = 0, parity ^= 1;
                if (tile == w.last)
                    break;
            }
            if (lane == 0)
                barrier_arrive(own_empty);
            int sequence = w.head / HEADS, head = w.head % HEADS;
            int64 base = (int64)sequence * context * stride + head * D;
            store_gradient<true>(dk_to + base, stride, dk, scale, table, row, pair, context);
            store_gradient<false>(dv_to + base, stride, dv, 1.0f, table, row, pair, context);
        }
    }
}

/* dq from its sums, which lie in the order of the threads that made them: one block a tile. A thread takes 8 columns of two rows. */
extern "C" __global__ void __launch_bounds__(256)
    attention_hopper_queries(const float *dq_sums, const float *table, bf16 *dq_to, int context, float scale, int64 stride)
{
    constexpr int CHUNKS = DQ_SUMS / 4; /* of 8 columns, in what a warpgroup had */
    int query_tiles = (context + BM - 1) / BM, head = blockIdx.x / query_tiles, tile = blockIdx.x % query_tiles;
    const float4 *sums = reinterpret_cast<const float4 *>(dq_sums + (int64)blockIdx.x * (BM * DQ_COLUMNS));
    bf16 *to = dq_to + (int64)(head / HEADS) * context * stride + head % HEADS * D;
#pragma unroll
    for (int index = threadIdx.x; index < 64 * CHUNKS; index += 256) { /* 2 warpgroups of 4 warps, of 8 pairs of rows each */
        int chunk = index % CHUNKS, rows = index / CHUNKS, own = rows >> 5;
        int row = tile * BM + (BM == 128 ? own * 64 : 0) + (rows >> 3 & 3) * 16 + (rows & 7);
        int column = (BM == 128 ? 0 : own * 64) + chunk * 8;
        if (column >= D)
            continue;
        const float4 *from = sums + own * (DQ_SUMS * 32) + chunk * 128 + (rows & 31) * 4;
        float4 x[4] = {from[0], from[1], from[2], from[3]};
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            int t = row + 8 * r;
            if (t >= context)
                break;
            const float *turns = table + (int64)t * D + column;
            unsigned out[4];
#pragma unroll
            for (int k = 0; k < 4; ++k)
                out[k] = turned_back_pair((r ? x[k].z : x[k].x) * scale, (r ? x[k].w : x[k].y) * scale, turns + 2 * k);
            *reinterpret_cast<uint4 *>(to + t * stride + column) = make_uint4(out[0], out[1], out[2], out[3]);
        }
    }
}
