/* Causal attention on Hopper, forward: o = softmax(q·kᵀ·scale)·v, row by row up to the diagonal, and lse, the logarithm of the
 * softmax's sum. After FlashAttention-3: one warp has the copy engine fill a ring of key and value tiles; each of WARPGROUPS
 * warpgroups works on 64 queries of its own, with its exponentials under its product with the values before and, with
 * TURNS 1, under the other warpgroups' products, in which they take turns.
 *
 * The grid is as many blocks as the card holds; they draw tiles from a counter, the longest walks of a head first, and heads in
 * groups whose keys and values fit in the second cache together. Which block works on a tile changes no bit of the result.
 *
 * Macros besides attention_hopper.cuh's: WARPGROUPS, 1 to 3; BN keys a tile; STAGES of the ring; BLOCKS a multiprocessor shall
 * hold; TURNS. Keys and values come by `map_k`, `map_v`: (D, T, heads, sequences), boxes of 64 × BN; the keys are turned already,
 * the queries are not. `counter` is 0 before, and after. Dynamic shared memory:
 * 1024 + (64·WARPGROUPS + 2·STAGES·BN)·PANELS·128 + 256 bytes. */
#include "attention_hopper.cuh"

#define BM (64 * WARPGROUPS)
#define THREADS (128 * (WARPGROUPS + 1))
#define TILE_BYTES (PANELS * BN * 128)
#define Q_BYTES (BM * PANELS * 128)
/* Registers: every thread has REGISTERS_FIRST at the start; the producer's warpgroup gives most of its to the others. */
#define REGISTERS_FIRST (65536 / (BLOCKS * THREADS) / 8 * 8)
#define REGISTERS_LEFT (WARPGROUPS == 3 ? 32 : 24)
#define REGISTERS_FREE ((REGISTERS_FIRST * (WARPGROUPS + 1) - REGISTERS_LEFT) / WARPGROUPS / 8 * 8)
#define REGISTERS (REGISTERS_FREE < 240 ? REGISTERS_FREE : 240)

/* The thread's number in its warpgroup, asked anew each time: what is worked out from it at a tile's start and end is then not
 * kept in registers in between, where there are none to spare. */
__device__ __forceinline__ int thread_anew()
{
    int thread;
    asm volatile("mov.u32 %0, %%tid.x;" : "=r"(thread));
    return thread & 127;
}

enum { BAR_OWN = 1, BAR_TURN = BAR_OWN + WARPGROUPS };

struct tile_place {
    int head, first; /* of all sequences' heads; the first query */
};

/* Tile number `tile` in the order in which they are drawn. `together` heads make a group. */
__device__ __forceinline__ tile_place tile_of(int tile, int context, int heads_in_all, int together)
{
    int tiles_a_head = (context + BM - 1) / BM, group = tile / (tiles_a_head * together), rest = tile % (tiles_a_head * together);
    int in_group = min(together, heads_in_all - group * together);
    tile_place place;
    place.head = group * together + rest % in_group;
    place.first = (tiles_a_head - 1 - rest / in_group) * BM;
    return place;
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    attention_hopper_forward(const __grid_constant__ tensor_map map_k, const __grid_constant__ tensor_map map_v, const bf16 *q,
                             const float *table, bf16 *o, float *lse, unsigned *counter, int context, int heads_in_all,
                             int together, float scale, int64 stride_q, int64 stride_o)
{
    extern __shared__ char unaligned[];
    unsigned q_at = shared_address(unaligned) + 1023 & ~1023u, k_at = q_at + Q_BYTES, v_at = k_at + STAGES * TILE_BYTES;
    unsigned k_full = v_at + STAGES * TILE_BYTES, v_full = k_full + STAGES * 8, k_empty = v_full + STAGES * 8,
             v_empty = k_empty + STAGES * 8, drawn = v_empty + STAGES * 8, taken = drawn + 16, numbers = taken + 16;
    int tiles = (context + BM - 1) / BM * heads_in_all;
    if (threadIdx.x == 0) {
        for (int stage = 0; stage < STAGES; ++stage) {
            barrier_init(k_full + stage * 8, 1);
            barrier_init(v_full + stage * 8, 1);
            barrier_init(k_empty + stage * 8, 4 * WARPGROUPS);
            barrier_init(v_empty + stage * 8, 4 * WARPGROUPS);
        }
        for (int slot = 0; slot < 2; ++slot) {
            barrier_init(drawn + slot * 8, 1);
            barrier_init(taken + slot * 8, 4 * WARPGROUPS);
        }
        barriers_made();
    }
    __syncthreads();
    if (threadIdx.x < 128) {
        registers_give<REGISTERS_LEFT>();
        if (threadIdx.x == 0) {
            int k_stage = 0, v_stage = 0;
            unsigned k_parity = 1, v_parity = 1;
            auto fetch = [&](const tensor_map *map, unsigned to, unsigned full, unsigned empty, int &stage, unsigned &parity, int key,
                             const tile_place &place) {
                barrier_wait(empty + stage * 8, parity);
                barrier_expect(full + stage * 8, TILE_BYTES);
#pragma unroll
                for (int panel = 0; panel < PANELS; ++panel)
                    copy_box(to + stage * TILE_BYTES + panel * BN * 128, map, panel * 64, key, place.head % HEADS, place.head / HEADS,
                             full + stage * 8);
                if (++stage == STAGES)
                    stage = 0, parity ^= 1;
            };
            auto announce_tile = [&](int turn, int tile) {
                int slot = turn & 1;
                barrier_wait(taken + slot * 8, (turn >> 1 & 1) ^ 1);
                asm volatile("st.shared.u32 [%0], %1;" ::"r"(numbers + slot * 4), "r"(tile) : "memory");
                barrier_arrive(drawn + slot * 8);
            };
            int tile = blockIdx.x;
            announce_tile(0, tile);
            for (int turn = 1; tile < tiles; ++turn) {
                unsigned ticket = atomicAdd(counter, 1);
                tile_place place = tile_of(tile, context, heads_in_all, together);
                int last = (min(place.first + BM, context) - 1) / BN * BN;
                fetch(&map_k, k_at, k_full, k_empty, k_stage, k_parity, last, place);
                for (int key = last; key >= 0; key -= BN) {
                    if (key > 0)
                        fetch(&map_k, k_at, k_full, k_empty, k_stage, k_parity, key - BN, place);
                    fetch(&map_v, v_at, v_full, v_empty, v_stage, v_parity, key, place);
                    if (key == last)
                        announce_tile(turn, (int)(gridDim.x + ticket));
                }
                if (ticket == (unsigned)tiles - 1) /* the last of all: every tile draws once */
                    *counter = 0;
                tile = (int)(gridDim.x + ticket);
            }
        }
    } else {
        registers_take<REGISTERS>();
        int own = (threadIdx.x >> 7) - 1, lane = threadIdx.x & 31;
        unsigned own_q = q_at + own * (64 * PANELS * 128);
        float factor = scale * LOG2_E;
        unsigned used = 0; /* tiles of keys so far; where there is a tile of values behind, it is the one before */
#if TURNS
        if (own == WARPGROUPS - 1)
            announce<256>(BAR_TURN);
#endif
        auto turn_wait = [&]() {
#if TURNS
            meet<256>(BAR_TURN + own);
#endif
        };
        auto turn_pass = [&]() {
#if TURNS
            announce<256>(BAR_TURN + (own + 1 == WARPGROUPS ? 0 : own + 1));
#endif
        };
        auto wait_for = [&](unsigned full, unsigned count) { barrier_wait(full + count % STAGES * 8, count / STAGES & 1); };
        auto done_with = [&](unsigned empty, unsigned count) {
            if (lane == 0)
                barrier_arrive(empty + count % STAGES * 8);
        };
        int turn = 0;
        tile_place place;
        uint4 data[4 * PANELS]; /* of the next tile's queries */
        /* The block's next tile and this warp's 16 queries of it, on their way; false when there is none. */
        auto next_tile = [&]() {
            int slot = turn & 1, tile;
            barrier_wait(drawn + slot * 8, turn >> 1 & 1);
            asm volatile("ld.shared.u32 %0, [%1];" : "=r"(tile) : "r"(numbers + slot * 4) : "memory");
            __syncwarp();
            if (lane == 0)
                barrier_arrive(taken + slot * 8);
            ++turn;
            if (tile >= tiles)
                return false;
            place = tile_of(tile, context, heads_in_all, together);
            int anew = thread_anew(), warp = anew >> 5, lane = anew & 31;
            const bf16 *from = q + (int64)(place.head / HEADS) * context * stride_q + place.head % HEADS * D + (lane & 7) * 8;
            int t = place.first + own * 64 + warp * 16 + (lane >> 3);
#pragma unroll
            for (int i = 0; i < 4 * PANELS; ++i) {
                data[i] = make_uint4(0, 0, 0, 0);
                if (t + i / PANELS * 4 < context && i % PANELS * 64 + (lane & 7) * 8 < D)
                    data[i] = *reinterpret_cast<const uint4 *>(from + (t + i / PANELS * 4) * stride_q + i % PANELS * 64);
            }
            return true;
        };
        for (bool more = next_tile(); more;) {
            int first = place.first + own * 64, head = place.head;
            int key = (min(place.first + BM, context) - 1) / BN * BN, own_last = (min(first + 64, context) - 1) / BN * BN;
#pragma unroll
            for (int i = 0; i < 4 * PANELS; ++i) {
                int anew = thread_anew(), warp = anew >> 5, lane = anew & 31;
                int r = warp * 16 + i / PANELS * 4 + (lane >> 3), column = (lane & 7) * 8, whole = i % PANELS * 64 + column;
                if (TURN && first + r < context && whole < D)
                    data[i] = turned<false>(data[i], table + (int64)(first + r) * D + whole);
                asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(own_q + i % PANELS * 8192 + panel_place(r, column)),
                             "r"(data[i].x), "r"(data[i].y), "r"(data[i].z), "r"(data[i].w)
                             : "memory");
            }
            shared_to_engines();
            meet<128>(BAR_OWN + own);
            float s[BN / 2], out[DK / 2];
            unsigned p[BN / 16][4];
            float largest[2] = {-INFINITY_F, -INFINITY_F}, sum[2] = {0.0f, 0.0f}, shrink[2];
#pragma unroll
            for (int i = 0; i < DK / 2; ++i)
                out[i] = 0.0f;
            auto scores = [&]() {
                unsigned keys = k_at + used % STAGES * TILE_BYTES;
                product<0, 0, 0>(s, tile_descriptor(own_q), tile_descriptor(keys));
#pragma unroll
                for (int k = 1; k < DK / 16; ++k)
                    product<1, 0, 0>(s, tile_descriptor(own_q + k / 4 * 8192 + k % 4 * 32),
                                     tile_descriptor(keys + k / 4 * (BN * 128) + k % 4 * 32));
                products_commit();
            };
            auto values = [&]() {
                unsigned at = v_at + (used - 1) % STAGES * TILE_BYTES;
#pragma unroll
                for (int k = 0; k < BN / 16; ++k)
                    product_add<1>(out, p[k], across_descriptor(at + k * 2048, BN * 128));
                products_commit();
            };
            /* Scores to weights, with the rows' maxima and sums; `shrink` is what was summed before shall be multiplied by. */
            auto weigh = [&](int key) {
                if (key + BN - 1 > first) {
                    int anew = thread_anew(), beyond = first - key + (anew >> 5) * 16 + (anew >> 2 & 7) - 2 * (anew & 3);
#pragma unroll
                    for (int i = 0; i < BN / 2; ++i) /* row - key of the thread's first element less the steps to this one */
                        if (i / 4 * 8 + (i & 1) - (i >> 1 & 1) * 8 > beyond)
                            s[i] = -INFINITY_F;
                }
#pragma unroll
                for (int r = 0; r < 2; ++r) {
                    float top = largest[r];
#pragma unroll
                    for (int i = 2 * r; i < BN / 2; i += 4)
                        top = fmaxf(top, fmaxf(s[i], s[i + 1]));
                    top = fmaxf(top, __shfl_xor_sync(FULL_MASK, top, 1));
                    top = fmaxf(top, __shfl_xor_sync(FULL_MASK, top, 2));
                    float base = top == -INFINITY_F ? 0.0f : top * factor; /* a tile may hold no key that the row sees */
                    shrink[r] = power_of_two(fmaf(largest[r], factor, -base));
                    largest[r] = top;
                    float added = 0.0f;
#pragma unroll
                    for (int i = 2 * r; i < BN / 2; i += 4) {
                        s[i] = power_of_two(fmaf(s[i], factor, -base));
                        s[i + 1] = power_of_two(fmaf(s[i + 1], factor, -base));
                        added += s[i] + s[i + 1];
                    }
                    sum[r] = sum[r] * shrink[r] + added;
                }
            };
            auto pack_weights = [&]() {
#pragma unroll
                for (int k = 0; k < BN / 16; ++k)
#pragma unroll
                    for (int i = 0; i < 4; ++i)
                        p[k][i] = bf16_pair(s[k * 8 + i * 2], s[k * 8 + i * 2 + 1]);
            };
            for (; key > max(own_last, 0); key -= BN) { /* beyond these rows' diagonal: the others' alone */
                turn_wait();
                turn_pass();
                wait_for(k_full, used);
                done_with(k_empty, used);
                wait_for(v_full, used);
                done_with(v_empty, used++);
            }
            wait_for(k_full, used);
            turn_wait();
            products_start();
            scores();
            turn_pass();
            products_wait<0>();
            settle(s);
            done_with(k_empty, used++);
            weigh(key);
            pack_weights();
            for (key -= BN; key >= 0; key -= BN) {
                wait_for(k_full, used);
                turn_wait();
                settle(p);
                settle(out);
                products_start();
                scores();
                wait_for(v_full, used - 1);
                products_start();
                values();
                turn_pass();
                products_wait<1>();
                settle(s);
                done_with(k_empty, used);
                weigh(key);
                products_wait<0>();
                settle(out);
                done_with(v_empty, used++ - 1);
                if (__any_sync(FULL_MASK, shrink[0] != 1.0f || shrink[1] != 1.0f)) {
#pragma unroll
                    for (int i = 0; i < DK / 2; ++i)
                        out[i] *= shrink[i >> 1 & 1];
                }
                pack_weights();
            }
            if (PANELS <= 2) /* there are registers for the next queries beside the sums */
                more = next_tile();
            wait_for(v_full, used - 1);
            settle(p);
            settle(out);
            products_start();
            values();
            float inverse[2];
            int anew = thread_anew(), warp = anew >> 5, lane = anew & 31, row = first + warp * 16 + (lane >> 2);
#pragma unroll
            for (int r = 0; r < 2; ++r) {
                sum[r] += __shfl_xor_sync(FULL_MASK, sum[r], 1);
                sum[r] += __shfl_xor_sync(FULL_MASK, sum[r], 2);
                inverse[r] = 1.0f / sum[r];
                if ((lane & 3) == 0 && row + 8 * r < context)
                    lse[(int64)head * context + row + 8 * r] = largest[r] * scale + logf(sum[r]);
            }
            meet<128>(BAR_OWN + own); /* nobody's products read the queries any more */
            products_wait<0>();
            settle(out);
            done_with(v_empty, used - 1);
            /* Through the queries' place, each warp for itself, to whole rows. */
#pragma unroll
            for (int k = 0; k < DK / 16; ++k) {
                unsigned x[4];
#pragma unroll
                for (int i = 0; i < 4; ++i)
                    x[i] = bf16_pair(out[k * 8 + i * 2] * inverse[i & 1], out[k * 8 + i * 2 + 1] * inverse[i & 1]);
                store_matrices(own_q + k / 4 * 8192 + panel_place(warp * 16 + (lane & 15), k % 4 * 16 + (lane >> 4) * 8), x);
            }
            __syncwarp();
            bf16 *to = o + (int64)(head / HEADS) * context * stride_o + head % HEADS * D + (lane & 7) * 8;
#pragma unroll
            for (int i = 0; i < 4 * PANELS; ++i) {
                int r = warp * 16 + i / PANELS * 4 + (lane >> 3), column = (lane & 7) * 8;
                uint4 x;
                asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                             : "=r"(x.x), "=r"(x.y), "=r"(x.z), "=r"(x.w)
                             : "r"(own_q + i % PANELS * 8192 + panel_place(r, column))
                             : "memory");
                if (first + r < context && i % PANELS * 64 + column < D)
                    *reinterpret_cast<uint4 *>(to + (first + r) * stride_o + i % PANELS * 64) = x;
            }
            __syncwarp();
            if (PANELS > 2)
                more = next_tile();
        }
    }
}
