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
#define CONTEXT_IS_WHOLE(ROWS) (CONTEXT % (ROWS) == 0)
#else
#define T context
#define CONTEXT_IS_WHOLE(ROWS) false
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

/* Scores are kept as they come from the product. exp(score·scale − base) is `weight(score, factor, base·LOG_UNIT)` with
 * factor = scale·LOG_UNIT: a power of two in the mixed precisions, where one multiply-add and one instruction give it. */
#if MODE == 2
#define LOG_UNIT 1.0f
#else
#define LOG_UNIT 1.4426950408889634f
#endif

__device__ __forceinline__ float exponential(float x)
{
#if MODE == 2
    return expf(x);
#else
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#endif
}

__device__ __forceinline__ float weight(float score, float factor, float base)
{
#if MODE == 2
    return expf(score * factor - base);
#else
    return exponential(fmaf(score, factor, -base));
#endif
}

/* Rounded to tf32's 10 bits, half away from zero: the tensor cores leave out the 13 bits below. Infinities and NaN stay. */
__device__ __forceinline__ unsigned tf32_bits(float x)
{
    unsigned bits = __float_as_uint(x);
    return fabsf(x) < INFINITY_F ? bits + 0x1000u : bits;
}

__device__ __forceinline__ void put_shared(element *p, const pack<VECTOR> &x)
{
#if MODE == 0
    store_pack(reinterpret_cast<bf16 *>(p), x);
#elif MODE == 1
    pack<VECTOR> rounded;
#pragma unroll
    for (int k = 0; k < VECTOR; ++k)
        rounded.v[k] = __uint_as_float(tf32_bits(x.v[k]));
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
 * pairs by RoPE (when ROPE), rounds and writes. Between the two there may be work that hides the reads' latency. Eight
 * threads share a row, so that a thread's addresses differ by constants. Rows beyond the context and columns beyond D are
 * zero. */
template <int ROWS, bool ROPE, typename TIN> struct tile_in_flight {
    static constexpr int AT_ONCE = THREADS / 8, PASSES = (ROWS + AT_ONCE - 1) / AT_ONCE,
                         CHUNKS = (DP / VECTOR + 7) / 8; /* a thread's, in a row */
    raw<VECTOR * sizeof(TIN)> data[PASSES][CHUNKS];
    pack<VECTOR> turn[ROPE && TURN ? PASSES : 1][ROPE && TURN ? CHUNKS : 1];

    /* `base` is the slice's row 0, `first` the tile's first row. */
    __device__ __forceinline__ void load(const TIN *base, int64 stride, const float *table, int first, int context)
    {
        int row = threadIdx.x >> 3, column = (threadIdx.x & 7) * VECTOR;
        const TIN *from = base + (int64)(first + row) * stride + column;
        const float *turns = table + (int64)(first + row) * D + column;
#pragma unroll
        for (int i = 0; i < PASSES; ++i)
#pragma unroll
            for (int j = 0; j < CHUNKS; ++j) {
                bool there = row + i * AT_ONCE < ROWS && column + j * 8 * VECTOR < D &&
                             (CONTEXT_IS_WHOLE(ROWS) || first + row + i * AT_ONCE < T);
                if (there) {
                    data[i][j] = load_raw<VECTOR * sizeof(TIN)>(from + (int64)(i * AT_ONCE) * stride + j * 8 * VECTOR);
                } else {
#pragma unroll
                    for (int w = 0; w < (int)(VECTOR * sizeof(TIN) / 4); ++w)
                        data[i][j].word[w] = 0;
                }
                if constexpr (ROPE && TURN)
                    turn[i][j] = there ? load_pack<VECTOR>(turns + i * AT_ONCE * D + j * 8 * VECTOR) : pack_zero<VECTOR>();
            }
    }

    __device__ __forceinline__ void store(element *shared) const
    {
        int row = threadIdx.x >> 3, column = (threadIdx.x & 7) * VECTOR;
#pragma unroll
        for (int i = 0; i < PASSES; ++i)
#pragma unroll
            for (int j = 0; j < CHUNKS; ++j) {
                pack<VECTOR> x;
#pragma unroll
                for (int k = 0; k < VECTOR; ++k) {
                    if constexpr (sizeof(TIN) == 4)
                        x.v[k] = __uint_as_float(data[i][j].word[k]);
                    else
                        x.v[k] = __uint_as_float(k % 2 ? data[i][j].word[k / 2] & 0xffff0000u : data[i][j].word[k / 2] << 16);
                }
                if constexpr (ROPE && TURN) {
#pragma unroll
                    for (int k = 0; k < VECTOR; k += 2) {
                        float a = x.v[k], b = x.v[k + 1];
                        x.v[k] = a * turn[i][j].v[k] - b * turn[i][j].v[k + 1];
                        x.v[k + 1] = a * turn[i][j].v[k + 1] + b * turn[i][j].v[k];
                    }
                }
                if (row + i * AT_ONCE < ROWS && column + j * 8 * VECTOR < DP)
                    put_shared(shared + (row + i * AT_ONCE) * LD + column + j * 8 * VECTOR, x);
            }
    }
};

#if MODE != 2
#define K_STEP (32 / (int)sizeof(element)) /* columns of one mma step: 16 in bf16, 8 in tf32, 32 bytes in both */

__device__ __forceinline__ unsigned shared_address(const void *p) { return (unsigned)__cvta_generic_to_shared(p); }

/* Four matrices of 8 rows of 16 bytes; lane l gets of each row l / 4 the bytes 4·(l mod 4) and on: two bf16 or one tf32. */
__device__ __forceinline__ void ldmatrix(unsigned r[4], unsigned address)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
}

/* The first two of the four: lanes 0 to 15 give the addresses. */
__device__ __forceinline__ void ldmatrix_two(unsigned r[2], unsigned address)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];" : "=r"(r[0]), "=r"(r[1]) : "r"(address) : "memory");
}
#endif

#if MODE == 0
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
__device__ __forceinline__ void mma(float c[4], const unsigned a[4], unsigned b0, unsigned b1)
{
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
#endif

/* 16 rows of shared memory as the first operand of products over the head's columns. HELD keeps them in registers from
 * `take` on; otherwise each product reads them again. */
template <bool HELD> struct own_rows {
#if MODE != 2
    unsigned a[HELD ? DP / K_STEP : 1][4], address;

    __device__ __forceinline__ void take(const element *rows)
    {
        int lane = threadIdx.x & 31;
        address = shared_address(rows + (lane & 15) * LD + (lane >> 4) * (K_STEP / 2));
        if constexpr (HELD) {
#pragma unroll
            for (int k = 0; k < DP / K_STEP; ++k)
                ldmatrix(a[k], address + k * 32);
        }
    }

    __device__ __forceinline__ void step(unsigned fragment[4], int k) const
    {
        if constexpr (HELD) {
#pragma unroll
            for (int i = 0; i < 4; ++i)
                fragment[i] = a[k][i];
        } else {
            ldmatrix(fragment, address + k * 32);
        }
    }
#else
    const element *rows;

    __device__ __forceinline__ void take(const element *from) { rows = from; }
#endif
};

/* out (16, 8·NT) += A · Bᵀ over the head's columns: B 8·NT rows of shared memory. */
template <int NT, bool HELD> __device__ __forceinline__ void product_rows(tile<NT> &out, const own_rows<HELD> &A, const element *B)
{
    int lane = threadIdx.x & 31;
#if MODE != 2
    unsigned b_address = shared_address(B + ((lane >> 4) * 8 + (lane & 7)) * LD + ((lane >> 3) & 1) * (K_STEP / 2));
#pragma unroll
    for (int k = 0; k < DP / K_STEP; ++k) {
        unsigned a[4];
        A.step(a, k);
#pragma unroll
        for (int n = 0; n + 2 <= NT; n += 2) {
            unsigned b[4];
            ldmatrix(b, b_address + n * 8 * LD * (int)sizeof(element) + k * 32);
            mma(out.c[n], a, b[0], b[1]);
            mma(out.c[n + 1], a, b[2], b[3]);
        }
        if constexpr (NT % 2 != 0) {
            unsigned b[2];
            ldmatrix_two(b, b_address + (NT - 1) * 8 * LD * (int)sizeof(element) + k * 32);
            mma(out.c[NT - 1], a, b[0], b[1]);
        }
    }
#else
    int g = lane >> 2, t = lane & 3;
#pragma unroll 1
    for (int k = 0; k < DP; k += 4) {
        pack<4> a0 = load_pack<4>(A.rows + g * LD + k), a1 = load_pack<4>(A.rows + (g + 8) * LD + k);
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

/* A piece of the head's columns of `product_columns` in tf32: WIDE neighbouring columns of two rows of B serve WIDE pieces of
 * 8 columns each. Column j of piece m stands for column WIDE·j + m, so that one wide access reads the operands of all. */
#if MODE == 1
template <int WIDE> __device__ __forceinline__ void product_wide(float c[][4], const unsigned a[4], const float *even)
{
    pack<WIDE> low = load_pack<WIDE>(even), high = load_pack<WIDE>(even + LD);
#pragma unroll
    for (int m = 0; m < WIDE; ++m)
        mma(c[m], a, __float_as_uint(low.v[m]), __float_as_uint(high.v[m]));
}
#endif

/* out (16, DP) += P · B: P (16, 8·NT) in registers, B 8·NT rows of shared memory. tf32 takes the columns of P in the order
 * 0 2 4 6 1 3 5 7, which lets the accumulator serve as operand as it lies, and leaves the columns of `out` in the order of
 * `product_wide`; fp32 passes P through `scratch`, 16 rows of 8·NT + 4 floats of this warp's own. */
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
        unsigned a[4] = {tf32_bits(P.c[k][0]), tf32_bits(P.c[k][2]), tf32_bits(P.c[k][1]), tf32_bits(P.c[k][3])};
        const float *even = B + (k * 8 + 2 * t) * LD;
#pragma unroll
        for (int n = 0; n + 4 <= NT_D; n += 4)
            product_wide<4>(out.c + n, a, even + n * 8 + g * 4);
        if constexpr (NT_D % 4 != 0)
            product_wide<2>(out.c + NT_D - 2, a, even + (NT_D - 2) * 8 + g * 2);
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

/* COUNT neighbouring columns of a row to global memory, from `column` on; BACK turns pairs back by RoPE. */
template <bool BACK, int COUNT, typename TOUT>
__device__ __forceinline__ void store_columns(TOUT *row, const float *table_row, int column, const pack<COUNT> &x, float scale)
{
    constexpr int ACCESS = COUNT < VECTOR ? COUNT : VECTOR < 4 ? VECTOR : 4;
#pragma unroll
    for (int first = 0; first < COUNT; first += ACCESS) {
        if (column + first >= D)
            return;
        pack<ACCESS> out;
#pragma unroll
        for (int k = 0; k < ACCESS; ++k)
            out.v[k] = x.v[first + k] * scale;
        if constexpr (BACK && TURN) {
            pack<ACCESS> turn = load_pack<ACCESS>(table_row + column + first);
#pragma unroll
            for (int k = 0; k < ACCESS; k += 2) {
                float a = out.v[k], b = out.v[k + 1];
                out.v[k] = a * turn.v[k] + b * turn.v[k + 1];
                out.v[k + 1] = b * turn.v[k] - a * turn.v[k + 1];
            }
        }
        store_pack(row + column + first, out);
    }
}

/* The warp's 16 rows of an accumulator of `product_columns` times `scale` to global memory. `first` is the first row's t. */
template <bool BACK, typename TOUT>
__device__ __forceinline__ void store_rows(TOUT *base, int64 stride, const tile<NT_D> &x, float scale, const float *table, int first, int context)
{
    int lane = threadIdx.x & 31, g = lane >> 2, pair = lane & 3;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        int t = first + g + half * 8;
        if (t >= T)
            continue;
        TOUT *row = base + (int64)t * stride;
        const float *turns = table + (int64)t * D;
#if MODE == 1
#pragma unroll
        for (int n = 0; n + 4 <= NT_D; n += 4)
#pragma unroll
            for (int i = 0; i < 2; ++i) {
                pack<4> columns;
#pragma unroll
                for (int m = 0; m < 4; ++m)
                    columns.v[m] = x.c[n + m][2 * half + i];
                store_columns<BACK>(row, turns, n * 8 + (2 * pair + i) * 4, columns, scale);
            }
        if constexpr (NT_D % 4 != 0) {
            constexpr int n = NT_D - 2;
            pack<4> columns;
#pragma unroll
            for (int k = 0; k < 4; ++k)
                columns.v[k] = x.c[n + k % 2][2 * half + k / 2];
            store_columns<BACK>(row, turns, n * 8 + pair * 4, columns, scale);
        }
#else
#pragma unroll
        for (int n = 0; n < NT_D; ++n) {
            pack<2> columns;
            columns.v[0] = x.c[n][2 * half];
            columns.v[1] = x.c[n][2 * half + 1];
            store_columns<BACK>(row, turns, n * 8 + 2 * pair, columns, scale);
        }
#endif
    }
}
