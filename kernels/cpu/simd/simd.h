/* Vectors of floats by GCC's vector extensions: one source for every instruction set. VECTOR_BYTES and ISA_NAME come
 * from the build. */
#pragma once
#include "kernels/cpu/cpu.h"
#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <string.h>
#if defined(__AVX__)
#include <immintrin.h>
#endif

#define VN ((int64_t)(VECTOR_BYTES / sizeof(float)))
#define ISA_JOIN_(name, isa) name##_##isa
#define ISA_JOIN(name, isa) ISA_JOIN_(name, isa)
#define ISA(name) ISA_JOIN(name, ISA_NAME) /* rmsnorm_avx2 */

typedef float vf __attribute__((vector_size(VECTOR_BYTES)));
typedef int32_t vi __attribute__((vector_size(VECTOR_BYTES)));
typedef float vf_loose __attribute__((vector_size(VECTOR_BYTES), aligned(4), may_alias));

static inline vf vf_load(const float *p)
{
    return *(const vf_loose *)p;
}
static inline void vf_store(float *p, vf x)
{
    *(vf_loose *)p = x;
}
static inline vf vf_set(float x)
{
    return x - (vf){0};
}

/* The bytes of n < VN elements, in a form whose bound the compiler sees. */
static inline size_t few_bytes(int64_t n, size_t element)
{
    return (size_t)(n & (VN - 1)) * element;
}

/* The first n lanes, zero beyond; n is VN but for the end of a row. */
static inline vf vf_get(const float *p, int64_t n)
{
    if (__builtin_expect(n >= VN, 1))
        return vf_load(p);
    vf x = {0};
    memcpy(&x, p, few_bytes(n, sizeof(float)));
    return x;
}

static inline void vf_put(float *p, vf x, int64_t n)
{
    if (__builtin_expect(n >= VN, 1))
        vf_store(p, x);
    else
        memcpy(p, &x, few_bytes(n, sizeof(float)));
}

static inline vf vf_select(vi mask, vf yes, vf no)
{
    return (vf)((mask & (vi)yes) | (~mask & (vi)no));
}
/* a > b ? a : b, and so b where one is no number: one instruction, where the compiler does not see it by itself. */
static inline vf vf_max(vf a, vf b)
{
#if VECTOR_BYTES == 32 && defined(__AVX__)
    return _mm256_max_ps(a, b);
#elif VECTOR_BYTES == 64 && defined(__AVX512F__)
    return _mm512_max_ps(a, b);
#else
    return vf_select(a > b, a, b);
#endif
}
static inline vf vf_min(vf a, vf b)
{
#if VECTOR_BYTES == 32 && defined(__AVX__)
    return _mm256_min_ps(a, b);
#elif VECTOR_BYTES == 64 && defined(__AVX512F__)
    return _mm512_min_ps(a, b);
#else
    return vf_select(a < b, a, b);
#endif
}

/* Lanes in a fixed order, pairwise. */
static inline float vf_sum(vf x)
{
    float lane[VECTOR_BYTES / sizeof(float)];
    memcpy(lane, &x, sizeof lane);
    for (int64_t width = VN / 2; width > 0; width /= 2)
        for (int64_t i = 0; i < width; i++)
            lane[i] += lane[i + width];
    return lane[0];
}

static inline float vf_largest(vf x)
{
    float top = x[0];
    for (int64_t i = 1; i < VN; i++)
        top = x[i] > top ? x[i] : top;
    return top;
}

/* e^x within 2 ulp for x in [-87.3, 88]; below it is 1.2e-38, above 1.65e38; NaN stays NaN. x = n·ln 2 + r with |r| ≤ ln 2/2,
 * ln 2 in two parts (Cody, Waite 1980), and a polynomial in r fitted by Remez (coefficients of Moshier's Cephes expf). */
static inline vf vf_exp(vf x)
{
    const vf round = vf_set(12582912.0f); /* 1.5·2^23: adding it leaves the nearest integer in the low bits */
    x = vf_max(vf_set(-87.3f), x);
    x = vf_min(vf_set(88.0f), x);
    const vf shifted = x * 1.44269504f + round;
    const vf n = shifted - round;
    vf r = x - n * 0.693359375f;
    r = r - n * -2.12194440e-4f;
    vf p = vf_set(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    const vi power = ((vi)shifted << 23) + (127 << 23);
    return p * (vf)power;
}

static inline vf vf_sigmoid(vf x)
{
    return 1.0f / (1.0f + vf_exp(-x));
}

/* This thread's piece of a loop over `total`, inside a parallel region. */
static inline void thread_range(int64_t total, int64_t grain, int64_t *begin, int64_t *end)
{
    cpu_split(total, grain, omp_get_thread_num(), omp_get_num_threads(), begin, end);
}
