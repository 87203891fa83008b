/* RMSNorm, with the residual joined, and its gradient. Macros: C columns; VECTOR elements an access (divides C); THREADS a
 * block of the forward kernels; GROUP warps a row of the backward kernels (1, 2, 4, 8); types TX (x), TR (r or dres), TY (y, dy), TZ (z, dx).
 * y = x·rstd·w with rstd = 1/√(mean(x²) + ε); statistics in fp32. */
#include "common.cuh"

#define ITEMS ((C + THREADS * VECTOR - 1) / (THREADS * VECTOR))

/* One block a row, the row in registers. */
template <bool RESIDUAL>
__device__ __forceinline__ void norm_row(const TX *x, const TR *r, const float *w, TZ *z, TY *y, float *rstd, float epsilon)
{
    __shared__ float shared[32];
    int64 row = blockIdx.x;
    pack<VECTOR> value[ITEMS];
    float squares = 0.0f;
#pragma unroll
    for (int item = 0; item < ITEMS; ++item) {
        int column = (item * THREADS + (int)threadIdx.x) * VECTOR;
        if (column < C) {
            value[item] = load_pack<VECTOR>(x + row * C + column);
            if constexpr (RESIDUAL) {
                pack<VECTOR> other = load_pack<VECTOR>(r + row * C + column);
#pragma unroll
                for (int k = 0; k < VECTOR; ++k)
                    value[item].v[k] += other.v[k];
                store_pack(z + row * C + column, value[item]);
            }
#pragma unroll
            for (int k = 0; k < VECTOR; ++k)
                squares += value[item].v[k] * value[item].v[k];
        }
    }
    float scale = 1.0f / sqrtf(block_sum(squares, shared) * (1.0f / C) + epsilon);
    if (threadIdx.x == 0)
        rstd[row] = scale;
#pragma unroll
    for (int item = 0; item < ITEMS; ++item) {
        int column = (item * THREADS + (int)threadIdx.x) * VECTOR;
        if (column < C) {
            pack<VECTOR> weight = load_pack<VECTOR>(w + column);
#pragma unroll
            for (int k = 0; k < VECTOR; ++k)
                value[item].v[k] *= scale * weight.v[k];
            store_pack(y + row * C + column, value[item]);
        }
    }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    rmsnorm(const TX *x, const float *w, TY *y, float *rstd, float epsilon)
{
    norm_row<false>(x, nullptr, w, nullptr, y, rstd, epsilon);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    add_rmsnorm(const TX *x, const TR *r, const float *w, TZ *z, TY *y, float *rstd, float epsilon)
{
    norm_row<true>(x, r, w, z, y, rstd, epsilon);
}

#define GROUP_ITEMS ((C + 32 * GROUP * VECTOR - 1) / (32 * GROUP * VECTOR))
#define GROUP_ROWS (8 / GROUP)

/* dx = rstd·(w·dy − x·rstd²·mean(w·dy·x)) [+ dres], also in bf16 when `rounded` is given; the block's share of
 * dw = Σ dy·x·rstd goes to partial[block][C]. 8 warps; GROUP of them take a row, held in registers, and GROUP_ROWS rows are
 * in work at a time. Dynamic shared memory GROUP_ROWS·C floats when that is more than one row. */
template <bool RESIDUAL>
__device__ __forceinline__ void norm_backward(const TY *dy, const TX *x, const float *w, const float *rstd, const TR *dres,
                                              TZ *dx, bf16 *rounded, float *partial, int rows)
{
    extern __shared__ __align__(16) float sums[];
    __shared__ float shared[2][8];
    int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, slot = warp / GROUP;
    int first = (warp % GROUP * 32 + lane) * VECTOR;
    pack<VECTOR> dw[GROUP_ITEMS];
#pragma unroll
    for (int item = 0; item < GROUP_ITEMS; ++item)
        dw[item] = pack_zero<VECTOR>();
    int turn = 0;
    for (int base = blockIdx.x * GROUP_ROWS; base < rows; base += gridDim.x * GROUP_ROWS, turn ^= 1) {
        int row = base + slot;
        bool there = row < rows;
        int64 start = (int64)row * C;
        pack<VECTOR> g[GROUP_ITEMS], v[GROUP_ITEMS], other[GROUP_ITEMS];
        float scale = there ? rstd[row] : 0.0f, dot = 0.0f;
#pragma unroll
        for (int item = 0; item < GROUP_ITEMS; ++item) {
            int column = first + item * 32 * GROUP * VECTOR;
            g[item] = v[item] = pack_zero<VECTOR>();
            if (there && column < C) {
                g[item] = load_pack<VECTOR>(dy + start + column);
                v[item] = load_pack<VECTOR>(x + start + column);
                if constexpr (RESIDUAL)
                    other[item] = load_pack<VECTOR>(dres + start + column);
            }
        }
#pragma unroll
        for (int item = 0; item < GROUP_ITEMS; ++item) {
            int column = first + item * 32 * GROUP * VECTOR;
            if (column < C) {
                pack<VECTOR> weight = load_pack<VECTOR>(w + column);
#pragma unroll
                for (int k = 0; k < VECTOR; ++k) {
                    dw[item].v[k] += g[item].v[k] * v[item].v[k] * scale;
                    g[item].v[k] *= weight.v[k];
                    dot += g[item].v[k] * v[item].v[k];
                }
            }
        }
        dot = warp_sum(dot);
        if constexpr (GROUP > 1) {
            if (lane == 0)
                shared[turn][warp] = dot; /* two sets: the next round's writes need not wait for this one's reads */
            __syncthreads();
            dot = 0.0f;
#pragma unroll
            for (int i = 0; i < GROUP; ++i)
                dot += shared[turn][slot * GROUP + i];
        }
        float shift = dot * (1.0f / C) * scale * scale;
#pragma unroll
        for (int item = 0; item < GROUP_ITEMS; ++item) {
            int column = first + item * 32 * GROUP * VECTOR;
            if (there && column < C) {
                pack<VECTOR> out;
#pragma unroll
                for (int k = 0; k < VECTOR; ++k) {
                    out.v[k] = scale * (g[item].v[k] - v[item].v[k] * shift);
                    if constexpr (RESIDUAL)
                        out.v[k] += other[item].v[k];
                }
                store_pack(dx + start + column, out);
                if (rounded)
                    store_pack(rounded + start + column, out);
            }
        }
    }
    float *destination = GROUP_ROWS == 1 ? partial + (int64)blockIdx.x * C : sums + slot * C;
#pragma unroll
    for (int item = 0; item < GROUP_ITEMS; ++item) {
        int column = first + item * 32 * GROUP * VECTOR;
        if (column < C)
            store_pack(destination + column, dw[item]);
    }
    if constexpr (GROUP_ROWS > 1) {
        __syncthreads();
        for (int column = threadIdx.x; column < C; column += 256) {
            float total = 0.0f;
#pragma unroll
            for (int i = 0; i < GROUP_ROWS; ++i)
                total += sums[i * C + column];
            partial[(int64)blockIdx.x * C + column] = total;
        }
    }
}

extern "C" __global__ void __launch_bounds__(256) rmsnorm_backward(const TY *dy, const TX *x, const float *w, const float *rstd,
                                                                   TZ *dx, bf16 *rounded, float *partial, int rows)
{
    norm_backward<false>(dy, x, w, rstd, nullptr, dx, rounded, partial, rows);
}

extern "C" __global__ void __launch_bounds__(256)
    rmsnorm_backward_residual(const TY *dy, const TX *x, const float *w, const float *rstd, const TR *dres, TZ *dx,
                              bf16 *rounded, float *partial, int rows)
{
    norm_backward<true>(dy, x, w, rstd, dres, dx, rounded, partial, rows);
}

/* dw[c] = Σ partial[b][c]: 32 columns a block of 32 × 8 threads, each group of 32 over every eighth part. */
extern "C" __global__ void __launch_bounds__(256) rmsnorm_weight_sum(const float *partial, float *dw, int parts)
{
    __shared__ float shared[8][32];
    int lane = threadIdx.x & 31, group = threadIdx.x >> 5;
    int column = blockIdx.x * 32 + lane;
    float total = 0.0f;
    if (column < C) {
#pragma unroll 8
        for (int part = group; part < parts; part += 8)
            total += partial[(int64)part * C + column];
    }
    shared[group][lane] = total;
    __syncthreads();
    if (group == 0 && column < C) {
        total = 0.0f;
#pragma unroll
        for (int other = 0; other < 8; ++other)
            total += shared[other][lane];
        dw[column] = total;
    }
}
