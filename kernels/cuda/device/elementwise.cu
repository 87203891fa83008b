/* One pass over whole tensors. Macros: T0, T1 the inputs' types, T2 the output's; VECTOR elements a thread; ELEMENTS when
 * the count is known. SwiGLU: F. */
#include "common.cuh"

#ifdef ELEMENTS
#define COUNT ((int64)ELEMENTS)
#else
#define COUNT count
#endif

#define INDEX(count)                                                                                                   \
    int64 i = ((int64)blockIdx.x * blockDim.x + threadIdx.x) * VECTOR;                                                 \
    if (i >= (count))                                                                                                  \
        return;

extern "C" __global__ void __launch_bounds__(256) cast(const T0 *x, T2 *y, int64 count)
{
    INDEX(COUNT)
    store_pack(y + i, load_pack<VECTOR>(x + i));
}

extern "C" __global__ void __launch_bounds__(256) add(const T0 *a, const T1 *b, T2 *c, int64 count)
{
    INDEX(COUNT)
    pack<VECTOR> p = load_pack<VECTOR>(a + i), q = load_pack<VECTOR>(b + i);
#pragma unroll
    for (int k = 0; k < VECTOR; ++k)
        p.v[k] += q.v[k];
    store_pack(c + i, p);
}

extern "C" __global__ void __launch_bounds__(256) mul(const T0 *a, const T1 *b, T2 *c, int64 count)
{
    INDEX(COUNT)
    pack<VECTOR> p = load_pack<VECTOR>(a + i), q = load_pack<VECTOR>(b + i);
#pragma unroll
    for (int k = 0; k < VECTOR; ++k)
        p.v[k] *= q.v[k];
    store_pack(c + i, p);
}

extern "C" __global__ void __launch_bounds__(256) silu(const T0 *x, T2 *y, int64 count)
{
    INDEX(COUNT)
    pack<VECTOR> p = load_pack<VECTOR>(x + i);
#pragma unroll
    for (int k = 0; k < VECTOR; ++k)
        p.v[k] *= sigmoid(p.v[k]);
    store_pack(y + i, p);
}

/* d(x·σ(x)) = σ(x)·(1 + x·(1 − σ(x))) */
__device__ __forceinline__ float silu_slope(float x, float s) { return s * (1.0f + x * (1.0f - s)); }

extern "C" __global__ void __launch_bounds__(256) silu_backward(const T0 *dy, const T1 *x, T2 *dx, int64 count)
{
    INDEX(COUNT)
    pack<VECTOR> g = load_pack<VECTOR>(dy + i), p = load_pack<VECTOR>(x + i);
#pragma unroll
    for (int k = 0; k < VECTOR; ++k)
        g.v[k] *= silu_slope(p.v[k], sigmoid(p.v[k]));
    store_pack(dx + i, g);
}

#ifdef F
/* h (N, 2F) → y (N, F): silu(h[:, :F]) · h[:, F:]; count = N·F, F a multiple of VECTOR. */
extern "C" __global__ void __launch_bounds__(256) swiglu(const T0 *h, T2 *y, int64 count)
{
    INDEX(COUNT)
    int64 at = i + i / F * F;
    pack<VECTOR> g = load_pack<VECTOR>(h + at), u = load_pack<VECTOR>(h + at + F);
#pragma unroll
    for (int k = 0; k < VECTOR; ++k)
        g.v[k] = g.v[k] * sigmoid(g.v[k]) * u.v[k];
    store_pack(y + i, g);
}

/* dy (N, F), h (N, 2F) → dh (N, 2F), and the forward y (N, F) again unless it is NULL. */
extern "C" __global__ void __launch_bounds__(256) swiglu_backward(const T0 *dy, const T1 *h, T2 *dh, T2 *y, int64 count)
{
    INDEX(COUNT)
    int64 at = i + i / F * F;
    pack<VECTOR> d = load_pack<VECTOR>(dy + i), g = load_pack<VECTOR>(h + at), u = load_pack<VECTOR>(h + at + F), dg, du;
#pragma unroll
    for (int k = 0; k < VECTOR; ++k) {
        float s = sigmoid(g.v[k]);
        dg.v[k] = d.v[k] * u.v[k] * silu_slope(g.v[k], s);
        du.v[k] = d.v[k] * g.v[k] * s;
        d.v[k] = g.v[k] * s * u.v[k];
    }
    store_pack(dh + at, dg);
    store_pack(dh + at + F, du);
    if (y)
        store_pack(y + i, d);
}
#endif

/* Values in ±[0.5, 1) whether read as fp32 or as bf16, for timing on data that is not all zeros. */
extern "C" __global__ void __launch_bounds__(256) fill_random(unsigned *words, int64 count)
{
    for (int64 i = (int64)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += (int64)gridDim.x * blockDim.x) {
        unsigned z = (unsigned)i * 0x9e3779b9u + 0x7f4a7c15u;
        z = (z ^ (z >> 16)) * 0x85ebca6bu;
        z = (z ^ (z >> 13)) * 0xc2b2ae35u;
        z ^= z >> 16;
        words[i] = (z & 0x807f807fu) | 0x3f003f00u;
    }
}
