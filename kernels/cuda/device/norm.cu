/* RMSNorm, with the residual joined, and its gradient. Macros: C columns; VECTOR elements an access (divides C); THREADS a
 * block of the forward kernels; types TX (x), TR (r or dres), TY (y, dy), TZ (z, dx).
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

/* dx = rstd·(w·dy − x·rstd²·mean(w·dy·x)) [+ dres], also in bf16 when `rounded` is given; the block's share of dw = Σ dy·x·rstd goes to partial[block][C].
 * One warp a row at a time; each warp adds up its rows' dw in its C floats of shared memory. */
template <bool RESIDUAL>
__device__ __forceinline__ void norm_backward(const TY *dy, const TX *x, const float *w, const float *rstd, const TR *dres,
                                              TZ *dx, bf16 *rounded, float *partial, int rows)
{
    extern __shared__ __align__(16) float sums[];
    int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, warps = blockDim.x >> 5;
    float *own = sums + warp * C;
    bool first = true;
    for (int row = blockIdx.x * warps + warp; row < rows; row += gridDim.x * warps) {
        int64 start = (int64)row * C;
        float scale = rstd[row], dot = 0.0f;
#pragma unroll 4
        for (int column = lane * VECTOR; column < C; column += 32 * VECTOR) {
            pack<VECTOR> g = load_pack<VECTOR>(dy + start + column), v = load_pack<VECTOR>(x + start + column);
            pack<VECTOR> weight = load_pack<VECTOR>(w + column);
#pragma unroll
            for (int k = 0; k < VECTOR; ++k)
                dot += g.v[k] * weight.v[k] * v.v[k];
        }
        float shift = warp_sum(dot) * (1.0f / C) * scale * scale;
#pragma unroll 4
        for (int column = lane * VECTOR; column < C; column += 32 * VECTOR) {
            pack<VECTOR> g = load_pack<VECTOR>(dy + start + column), v = load_pack<VECTOR>(x + start + column);
            pack<VECTOR> weight = load_pack<VECTOR>(w + column), out, dw;
#pragma unroll
            for (int k = 0; k < VECTOR; ++k) {
                out.v[k] = scale * (weight.v[k] * g.v[k] - v.v[k] * shift);
                dw.v[k] = g.v[k] * v.v[k] * scale;
            }
            if constexpr (RESIDUAL) {
                pack<VECTOR> other = load_pack<VECTOR>(dres + start + column);
#pragma unroll
                for (int k = 0; k < VECTOR; ++k)
                    out.v[k] += other.v[k];
            }
            store_pack(dx + start + column, out);
            if (rounded)
                store_pack(rounded + start + column, out);
            if (!first) {
                pack<VECTOR> before = load_pack<VECTOR>(own + column);
#pragma unroll
                for (int k = 0; k < VECTOR; ++k)
                    dw.v[k] += before.v[k];
            }
            store_pack(own + column, dw);
        }
        first = false;
    }
    if (first) /* more warps than rows */
        for (int column = lane; column < C; column += 32)
            own[column] = 0.0f;
    __syncthreads();
    for (int column = threadIdx.x; column < C; column += blockDim.x) {
        float total = 0.0f;
        for (int other = 0; other < warps; ++other)
            total += sums[other * C + column];
        partial[(int64)blockIdx.x * C + column] = total;
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
