/* One bf16 at a time: the upper half of a float. */
#pragma once
#include <stdint.h>
#include <string.h>

static inline float bf16_get(uint16_t bits)
{
    const uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}

/* Round to nearest, ties to even; a NaN stays one. */
static inline uint16_t bf16_make(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint16_t nan = (uint16_t)(bits >> 16 | 0x40), rounded = (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
    return (bits & 0x7fffffffu) > 0x7f800000u ? nan : rounded; /* without a branch: eight at a time */
}
