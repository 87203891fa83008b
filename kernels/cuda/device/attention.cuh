/* Pieces of the attention kernels: tiles in shared memory, and warp-wide products of 16 rows on them in the three
 * precisions. All accumulators have the layout of mma.m16n8: a thread of lane (g = lane / 4, t = lane % 4) holds of each
 * 16 × 8 piece the elements (g, 2t), (g, 2t+1), (g+8, 2t), (g+8, 2t+1); a pair is what RoPE turns.
 *
 * Macros: D head size (even), HEADS, MODE (0 bf16, 1 tf32, 2 fp32), VECTOR elements an access (divides D), types TQ
 * (qkv), TO (o), TDO (do), TDQ (dqkv); TURN 1 with RoPE, 0 without; CONTEXT when it is known. */
#pragma once
#include "common.cuh"

#define DP ((D + 15) / 16 * 16) /* columns in shared memory, zero beyond D */
#define NT_D (DP / 8)
#if MODE == 0
typedef unsigned short element;
#define LD (DP + 8) /* rows shift by 4 banks (12 at D = 80): ldmatrix reads without conflicts */
#else
typedef float element;
#define LD (DP + 4)
#endif
/* 8 warps: warp w works on rows 16·(w mod 4) of a tile of 64 and on half w / 4 of the columns it is walked along; the two
 * halves' sums are joined at the end, in a fixed order. */
#define THREADS 256
#ifdef CONTEXT
#define T CONTEXT
#else
#define T context
#endif
#define MODEL_WIDTH (HEADS * D)

template <int NT> struct tile {
    float c[NT][4];
};

template <int NT> __device__ __forceinline__ void tile_zero(tile<NT> &x)
{
#pragma unroll
    for (int n = 0; n < NT; ++n)
        x.c[n][0] = x.c[n][1] = x.c[n][2] = x.c[n][3] = 0.0f;
}

__device__ __forceinline__ float exponential(float x)
{
#if MODE == 2
    return expf(x);
#else
    return __expf(x);
#endif
}

__device__ __forceinline__ float tf32_round(float x)
{
    unsigned bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
    return __uint_as_float(bits);
}

__device__ __forceinline__ void put_shared(element *p, const pack<VECTOR> &x)
{
#if MODE == 0
    store_pack(reinterpret_cast<bf16 *>(p), x);
#elif MODE == 1
    pack<VECTOR> rounded;
#pragma unroll
    for (int k = 0; k < VECTOR; ++k)
        rounded.v[k] = tf32_round(x.v[k]);
    store_pack(p, rounded);
#else
    store_pack(p, x);
#endif
}

/* BYTES of a tensor as they lie in memory. */
template <int BYTES> struct raw {
    unsigned word[BYTES / 4];
};

template <int BYTES> __device__ __forceinline__ raw<BYTES> load_raw(const void *p)
{
    raw<BYTES> r;
    if constexpr (BYTES == 16) {
        uint4 t = *reinterpret_cast<const uint4 *>(p);
        r.word[0] = t.x, r.word[1] = t.y, r.word[2] = t.z, r.word[3] = t.w;
    } else if constexpr (BYTES == 8) {
        uint2 t = *reinterpret_cast<const uint2 *>(p);
        r.word[0] = t.x, r.word[1] = t.y;
    } else {
        r.word[0] = *reinterpret_cast<const unsigned *>(p);
    }
    return r;
}

/* ROWS rows of a head's slice on their way to shared memory, through registers: `load` issues all reads, `store` turns
 * pairs by RoPE (when ROPE), rounds and writes. Between the two there may be work that hides the reads' latency. Rows beyond
 * the context and columns beyond D are zero. */
template <int ROWS, bool ROPE, typename TIN> struct tile_in_flight {
    static constexpr int CHUNKS = DP / VECTOR, COUNT = (ROWS * CHUNKS + THREADS - 1) / THREADS;
    raw<VECTOR * sizeof(TIN)> data[COUNT];
    pack<VECTOR> turn[ROPE && TURN ? COUNT : 1];

    /* `base` is the slice's row 0, `first` the tile's first row. */
    __device__ __forceinline__ void load(const TIN *base, int64 stride, const float *table, int first, int context)
    {
#pragma unroll
        for (int i = 0; i < COUNT; ++i) {
            int index = threadIdx.x + i * THREADS, row = index / CHUNKS, column = (index - row * CHUNKS) * VECTOR;
            int t = first + row;
#pragma unroll
            for (int w = 0; w < (int)(VECTOR * sizeof(TIN) / 4); ++w)
                data[i].word[w] = 0;
            if (row < ROWS && t < T && column < D) {
                data[i] = load_raw<VECTOR * sizeof(TIN)>(base + (int64)t * stride + column);
                if constexpr (ROPE && TURN)
                    turn[i] = load_pack<VECTOR>(table + (int64)t * D + column);
            } else if constexpr (ROPE && TURN) {
                turn[i] = pack_zero<VECTOR>();
            }
        }
    }

    __device__ __forceinline__ void store(element *shared)
    {
#pragma unroll
        for (int i = 0; i < COUNT; ++i) {
            int index = threadIdx.x + i * THREADS, row = index / CHUNKS, column = (index - row * CHUNKS) * VECTOR;
            pack<VECTOR> x;
#pragma unroll
            for (int k = 0; k < VECTOR; ++k) {
                if constexpr (sizeof(TIN) == 4)
                    x.v[k] = __uint_as_float(data[i].word[k]);
                else
                    x.v[k] = __uint_as_float(k % 2 ? data[i].word[k / 2] & 0xffff0000u : data[i].word[k / 2] << 16);
            }
            if constexpr (ROPE && TURN) {
#pragma unroll
                for (int k = 0; k < VECTOR; k += 2) {
                    float a = x.v[k], b = x.v[k + 1];
                    x.v[k] = a * turn[i].v[k] - b * turn[i].v[k + 1];
                    x.v[k + 1] = a * turn[i].v[k + 1] + b * turn[i].v[k];
                }
            }
            if (row < ROWS)
                put_shared(shared + row * LD + column, x);
        }
    }
};

#if MODE == 0
__device__ __forceinline__ unsigned shared_address(const void *p) { return (unsigned)__cvta_generic_to_shared(p); }

__device__ __forceinline__ void ldmatrix(unsigned r[4], unsigned address)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
}

__device__ __forceinline__ void ldmatrix_transposed(unsigned r[4], unsigned address)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
}

__device__ __forceinline__ void mma(float c[4], const unsigned a[4], unsigned b0, unsigned b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
#elif MODE == 1
__device__ __forceinline__ void mma(float c[4], const float a[4], float b0, float b1)
{
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(__float_as_uint(a[0])), "r"(__float_as_uint(a[1])), "r"(__float_as_uint(a[2])),
                   "r"(__float_as_uint(a[3])), "r"(__float_as_uint(b0)), "r"(__float_as_uint(b1)));
}
#endif

/* out (16, 8·NT) += A · Bᵀ over the head's columns: A 16 rows of shared memory, B 8·NT rows of it. */
template <int NT> __device__ __forceinline__ void product_rows(tile<NT> &out, const element *A, const element *B)
{
    int lane = threadIdx.x & 31;
#if MODE == 0
    unsigned a_address = shared_address(A + (lane & 15) * LD + (lane >> 4) * 8);
    unsigned b_address = shared_address(B + ((lane >> 4) * 8 + (lane & 7)) * LD + ((lane >> 3) & 1) * 8);
#pragma unroll
    for (int k = 0; k < DP; k += 16) {
        unsigned a[4];
        ldmatrix(a, a_address + k * 2);
#pragma unroll
        for (int n = 0; n < NT; n += 2) {
            unsigned b[4];
            ldmatrix(b, b_address + (n * 8 * LD + k) * 2);
            mma(out.c[n], a, b[0], b[1]);
            mma(out.c[n + 1], a, b[2], b[3]);
        }
    }
#elif MODE == 1
    int g = lane >> 2, t = lane & 3;
#pragma unroll
    for (int k = 0; k < DP; k += 8) {
        const float *p = A + g * LD + k + t;
        float a[4] = {p[0], p[8 * LD], p[4], p[8 * LD + 4]};
#pragma unroll
        for (int n = 0; n < NT; ++n) {
            const float *q = B + (n * 8 + g) * LD + k + t;
            mma(out.c[n], a, q[0], q[4]);
        }
    }
#else
    int g = lane >> 2, t = lane & 3;
#pragma unroll 1
    for (int k = 0; k < DP; k += 4) {
        pack<4> a0 = load_pack<4>(A + g * LD + k), a1 = load_pack<4>(A + (g + 8) * LD + k);
#pragma unroll
        for (int n = 0; n < NT; ++n) {
            pack<4> b0 = load_pack<4>(B + (n * 8 + 2 * t) * LD + k), b1 = load_pack<4>(B + (n * 8 + 2 * t + 1) * LD + k);
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                out.c[n][0] += a0.v[i] * b0.v[i];
                out.c[n][1] += a0.v[i] * b1.v[i];
                out.c[n][2] += a1.v[i] * b0.v[i];
                out.c[n][3] += a1.v[i] * b1.v[i];
            }
        }
    }
#endif
}

/* out (16, DP) += P · B: P (16, 8·NT) in registers, B 8·NT rows of shared memory. tf32 takes the columns of P in the order
 * 0 2 4 6 1 3 5 7, which lets the accumulator serve as operand as it lies; fp32 passes P through `scratch`, 16 rows of
 * 8·NT + 4 floats of this warp's own. */
template <int NT>
__device__ __forceinline__ void product_columns(tile<NT_D> &out, const tile<NT> &P, const element *B, float *scratch)
{
    int lane = threadIdx.x & 31;
#if MODE == 0
    unsigned b_address = shared_address(B + (lane & 15) * LD + (lane >> 4) * 8);
#pragma unroll
    for (int k = 0; k < NT / 2; ++k) {
        unsigned a[4] = {bf16_pair(P.c[2 * k][0], P.c[2 * k][1]), bf16_pair(P.c[2 * k][2], P.c[2 * k][3]),
                         bf16_pair(P.c[2 * k + 1][0], P.c[2 * k + 1][1]), bf16_pair(P.c[2 * k + 1][2], P.c[2 * k + 1][3])};
#pragma unroll
        for (int n = 0; n < NT_D; n += 2) {
            unsigned b[4];
            ldmatrix_transposed(b, b_address + (k * 16 * LD + n * 8) * 2);
            mma(out.c[n], a, b[0], b[1]);
            mma(out.c[n + 1], a, b[2], b[3]);
        }
    }
#elif MODE == 1
    int g = lane >> 2, t = lane & 3;
#pragma unroll
    for (int k = 0; k < NT; ++k) {
        float a[4] = {tf32_round(P.c[k][0]), tf32_round(P.c[k][2]), tf32_round(P.c[k][1]), tf32_round(P.c[k][3])};
#pragma unroll
        for (int n = 0; n < NT_D; ++n) {
            const float *q = B + (k * 8 + 2 * t) * LD + n * 8 + g;
            mma(out.c[n], a, q[0], q[LD]);
        }
    }
#else
    constexpr int WIDTH = NT * 8 + 4;
    int g = lane >> 2, t = lane & 3;
    __syncwarp();
#pragma unroll
    for (int n = 0; n < NT; ++n) {
        *reinterpret_cast<float2 *>(scratch + g * WIDTH + n * 8 + 2 * t) = make_float2(P.c[n][0], P.c[n][1]);
        *reinterpret_cast<float2 *>(scratch + (g + 8) * WIDTH + n * 8 + 2 * t) = make_float2(P.c[n][2], P.c[n][3]);
    }
    __syncwarp();
#pragma unroll 2
    for (int k = 0; k < NT * 8; ++k) {
        float a0 = scratch[g * WIDTH + k], a1 = scratch[(g + 8) * WIDTH + k];
#pragma unroll
        for (int n = 0; n < NT_D; ++n) {
            float2 b = *reinterpret_cast<const float2 *>(B + k * LD + n * 8 + 2 * t);
            out.c[n][0] += a0 * b.x;
            out.c[n][1] += a0 * b.y;
            out.c[n][2] += a1 * b.x;
            out.c[n][3] += a1 * b.y;
        }
    }
#endif
}

/* Adds the second half's accumulator to the first half's, through `shared` (DP·256 bytes that nothing else uses). All
 * threads call it. */
__device__ __forceinline__ void join_halves(tile<NT_D> &x, float *shared)
{
    int slot = threadIdx.x & 127;
    __syncthreads();
    if (threadIdx.x >= 128) {
#pragma unroll
        for (int i = 0; i < NT_D * 4; ++i)
            shared[i * 128 + slot] = x.c[i / 4][i % 4];
    }
    __syncthreads();
    if (threadIdx.x < 128) {
#pragma unroll
        for (int i = 0; i < NT_D * 4; ++i)
            x.c[i / 4][i % 4] += shared[i * 128 + slot];
    }
}

/* The warp's 16 rows of an accumulator to global memory; BACK turns pairs back by RoPE. `first` is the first row's t. */
template <bool BACK, typename TOUT>
__device__ __forceinline__ void store_rows(TOUT *base, int64 stride, const tile<NT_D> &x, const float scale[2], const float *table,
                                           int first, int context)
{
    int lane = threadIdx.x & 31, g = lane >> 2, pair = lane & 3;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        int t = first + g + half * 8;
        if (t >= T)
            continue;
#pragma unroll
        for (int n = 0; n < NT_D; ++n) {
            int column = n * 8 + 2 * pair;
            if (column >= D)
                continue;
            float a = x.c[n][2 * half] * scale[half], b = x.c[n][2 * half + 1] * scale[half];
            pack<2> out;
            out.v[0] = a, out.v[1] = b;
            if constexpr (BACK && TURN) {
                float2 turn = *reinterpret_cast<const float2 *>(table + (int64)t * D + column);
                out.v[0] = a * turn.x + b * turn.y;
                out.v[1] = b * turn.x - a * turn.y;
            }
            store_pack(base + (int64)t * stride + column, out);
        }
    }
}
