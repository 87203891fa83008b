/* FNV-1a, 64 bits (Fowler, Noll, Vo): one multiplication a byte, good for tables and for telling whether something changed; no
 * guard against somebody who wants two texts to meet. A hash of several things goes on from the one before. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#define HASH_START UINT64_C(0xcbf29ce484222325)

/* One value, of one byte as the algorithm has it or wider: a step for all of it. */
static inline uint64_t hash_step(uint64_t hash, uint64_t value)
{
    return (hash ^ value) * UINT64_C(0x100000001b3);
}

static inline uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        hash = hash_step(hash, ((const unsigned char *)bytes)[i]);
    return hash;
}

/* Without its end. */
static inline uint64_t hash_text(uint64_t hash, const char *text)
{
    for (; *text; text++)
        hash = hash_step(hash, (unsigned char)*text);
    return hash;
}
