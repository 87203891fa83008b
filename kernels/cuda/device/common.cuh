/* What all kernels share. Element types come as macros (float or bf16), sizes that are known as macros too. */
#pragma once

typedef unsigned long long uint64;
typedef long long int64;

struct bf16 {
    unsigned short bits;
};

#define FULL_MASK 0xffffffffu
#define INFINITY_F __int_as_float(0x7f800000)

__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_float(bf16 x) { return __uint_as_float((unsigned)x.bits << 16); }

/* Round to nearest, ties to even; NaN stays NaN. */
__device__ __forceinline__ unsigned short bf16_bits(float x)
{
    unsigned short bits;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
}

/* `low` in the lower half, as it lies in memory before `high`. */
__device__ __forceinline__ unsigned bf16_pair(float low, float high)
{
    unsigned bits;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
    return bits;
}

/* N neighbouring elements as floats; their address is a multiple of their size together. */
template <int N> struct pack {
    float v[N];
};

template <int N> __device__ __forceinline__ pack<N> pack_zero()
{
    pack<N> r;
#pragma unroll
    for (int k = 0; k < N; ++k)
        r.v[k] = 0.0f;
    return r;
}

template <int N> __device__ __forceinline__ pack<N> load_pack(const float *p)
{
    pack<N> r;
    if constexpr (N == 8) {
        pack<4> low = load_pack<4>(p), high = load_pack<4>(p + 4);
#pragma unroll
        for (int k = 0; k < 4; ++k)
            r.v[k] = low.v[k], r.v[k + 4] = high.v[k];
    } else if constexpr (N == 4) {
        float4 t = *reinterpret_cast<const float4 *>(p);
        r.v[0] = t.x, r.v[1] = t.y, r.v[2] = t.z, r.v[3] = t.w;
    } else if constexpr (N == 2) {
        float2 t = *reinterpret_cast<const float2 *>(p);
        r.v[0] = t.x, r.v[1] = t.y;
    } else {
        r.v[0] = *p;
    }
    return r;
}

template <int N> __device__ __forceinline__ pack<N> load_pack(const bf16 *p)
{
    pack<N> r;
    if constexpr (N == 8) {
        uint4 t = *reinterpret_cast<const uint4 *>(p);
        const unsigned words[4] = {t.x, t.y, t.z, t.w};
#pragma unroll
        for (int k = 0; k < 4; ++k)
            r.v[2 * k] = __uint_as_float(words[k] << 16), r.v[2 * k + 1] = __uint_as_float(words[k] & 0xffff0000u);
    } else if constexpr (N == 4) {
        uint2 t = *reinterpret_cast<const uint2 *>(p);
        r.v[0] = __uint_as_float(t.x << 16), r.v[1] = __uint_as_float(t.x & 0xffff0000u);
        r.v[2] = __uint_as_float(t.y << 16), r.v[3] = __uint_as_float(t.y & 0xffff0000u);
    } else if constexpr (N == 2) {
        unsigned t = *reinterpret_cast<const unsigned *>(p);
        r.v[0] = __uint_as_float(t << 16), r.v[1] = __uint_as_float(t & 0xffff0000u);
    } else {
        r.v[0] = to_float(*p);
    }
    return r;
}

template <int N> __device__ __forceinline__ void store_pack(float *p, const pack<N> &x)
{
    if constexpr (N == 8) {
        *reinterpret_cast<float4 *>(p) = make_float4(x.v[0], x.v[1], x.v[2], x.v[3]);
        *reinterpret_cast<float4 *>(p + 4) = make_float4(x.v[4], x.v[5], x.v[6], x.v[7]);
    } else if constexpr (N == 4)
        *reinterpret_cast<float4 *>(p) = make_float4(x.v[0], x.v[1], x.v[2], x.v[3]);
    else if constexpr (N == 2)
        *reinterpret_cast<float2 *>(p) = make_float2(x.v[0], x.v[1]);
    else
        *p = x.v[0];
}

template <int N> __device__ __forceinline__ void store_pack(bf16 *p, const pack<N> &x)
{
    if constexpr (N == 8)
        *reinterpret_cast<uint4 *>(p) = make_uint4(bf16_pair(x.v[0], x.v[1]), bf16_pair(x.v[2], x.v[3]),
                                                   bf16_pair(x.v[4], x.v[5]), bf16_pair(x.v[6], x.v[7]));
    else if constexpr (N == 4)
        *reinterpret_cast<uint2 *>(p) = make_uint2(bf16_pair(x.v[0], x.v[1]), bf16_pair(x.v[2], x.v[3]));
    else if constexpr (N == 2)
        *reinterpret_cast<unsigned *>(p) = bf16_pair(x.v[0], x.v[1]);
    else
        p->bits = bf16_bits(x.v[0]);
}

__device__ __forceinline__ float warp_sum(float x)
{
#pragma unroll
    for (int offset = 16; offset > 0; offset >>= 1)
        x += __shfl_xor_sync(FULL_MASK, x, offset);
    return x;
}

__device__ __forceinline__ float warp_max(float x)
{
#pragma unroll
    for (int offset = 16; offset > 0; offset >>= 1)
        x = fmaxf(x, __shfl_xor_sync(FULL_MASK, x, offset));
    return x;
}

/* The sum over a block of whole warps, in every thread, always added in the same order. `shared` holds 32 floats that
 * nothing else uses. */
__device__ __forceinline__ float block_sum(float x, float *shared)
{
    int warps = blockDim.x >> 5;
    x = warp_sum(x);
    if ((threadIdx.x & 31) == 0)
        shared[threadIdx.x >> 5] = x;
    __syncthreads();
    float total = 0.0f;
    for (int w = 0; w < warps; ++w)
        total += shared[w];
    return total;
}

/* 1 / (1 + e^-x), without overflow in either direction. */
__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
