/* Counter-based random numbers: the value depends on (seed, stream, index) alone, so threads and devices may draw any
 * part in any order and get the same bits. */
#pragma once
#include <stdint.h>

/* SplitMix64's finaliser over a mix of the three (Steele, Lea, Flood 2014). */
static inline uint64_t random_bits(uint64_t seed, uint64_t stream, uint64_t index)
{
    uint64_t z = seed + 0x9e3779b97f4a7c15u * (stream * 0x2545f4914f6cdd1du + index + 1);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Uniform in (0, 1), 53 bits. */
static inline double random_uniform(uint64_t seed, uint64_t stream, uint64_t index)
{
    return ((double)(random_bits(seed, stream, index) >> 11) + 0.5) * 0x1p-53;
}

/* Standard normal cut at ±3, by the inverse of the distribution function; in base/random.c. */
double random_normal_cut3(uint64_t seed, uint64_t stream, uint64_t index);
