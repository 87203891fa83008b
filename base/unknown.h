/* A value that was not obtained is marked unknown, never zero: NaN for doubles, these for integers. Screens draw
 * them as n/a, files leave the key out. */
#pragma once
#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#define UNKNOWN_U64 UINT64_MAX
#define UNKNOWN_U32 UINT32_MAX
#define UNKNOWN_DOUBLE ((double)NAN)

static inline bool is_known(double value)
{
    return isfinite(value);
} /* what was divided by nothing is not known either */
static inline bool is_known_u64(uint64_t value)
{
    return value != UNKNOWN_U64;
}
/* The same value in 64 bits: unknown stays unknown. */
static inline uint64_t widened(uint32_t value)
{
    return value == UNKNOWN_U32 ? UNKNOWN_U64 : value;
}
