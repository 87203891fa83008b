/* Pieces of the attention kernels for Hopper (bf16 in and out, fp32 sums).
 *
 * Macros: D head size, a multiple of 8 up to 128, or 256; HEADS; TURN 1 with RoPE, 0 without. */
#pragma once
#include "hopper.cuh"

#define DK ((D + 15) / 16 * 16)  /* columns that take part in products, zero beyond D */
#define PANELS ((D + 63) / 64)   /* of a tile: 64 columns each, 128 bytes a row */
#define LOG2_E 1.4426950408889634f

__device__ __forceinline__ float power_of_two(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/* Where element (row, column) of a panel of 64 columns lies, in bytes. */
__device__ __forceinline__ unsigned panel_place(int row, int column)
{
    return row * 128 + ((column >> 3 ^ row & 7) << 4) + (column & 7) * 2;
}

/* 8 neighbouring bf16 with their pairs turned by RoPE: `turns` holds cosine and sine a pair. BACK turns back. */
template <bool BACK> __device__ __forceinline__ uint4 turned(uint4 x, const float *turns)
{
#if TURN
    unsigned word[4] = {x.x, x.y, x.z, x.w};
    float4 low = *reinterpret_cast<const float4 *>(turns), high = *reinterpret_cast<const float4 *>(turns + 4);
    float turn[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
#pragma unroll
    for (int k = 0; k < 4; ++k) {
        float a = __uint_as_float(word[k] << 16), b = __uint_as_float(word[k] & 0xffff0000u), c = turn[2 * k],
              s = BACK ? -turn[2 * k + 1] : turn[2 * k + 1];
        word[k] = bf16_pair(a * c - b * s, a * s + b * c);
    }
    return make_uint4(word[0], word[1], word[2], word[3]);
#else
    return x;
#endif
}

/* Two neighbouring elements of a gradient, turned back, as they are stored. */
__device__ __forceinline__ unsigned turned_back_pair(float a, float b, const float *turns)
{
#if TURN
    float2 turn = *reinterpret_cast<const float2 *>(turns);
    return bf16_pair(a * turn.x + b * turn.y, b * turn.x - a * turn.y);
#else
    return bf16_pair(a, b);
#endif
}
