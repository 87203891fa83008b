/* Block sizes of attention and the scratch that follows from them. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* A block of fused attention: multiples of every tile's rows, the keys of its columns as well. */
#define ATTENTION_QUERIES 96
#define ATTENTION_KEYS 384
#define ATTENTION_ROWS 48 /* a block of the eager ops, likewise */
#define ATTENTION_STRIDE                                                                                               \
    (ATTENTION_KEYS + 16) /* between rows of a block: off the power of two, so that a column of it
                                                  does not fall into one set of the first-level cache */
#define ATTENTION_HEAD_MAX 1024
#define ATTENTION_PANEL_MAX 32 /* the widest tile */

/* Floats of scratch for one head, enough for forward, backward and the eager ops at any vector width. */
static inline size_t attention_scratch(int64_t context, int64_t head_dim)
{
    const int64_t keys = (context + ATTENTION_PANEL_MAX - 1) / ATTENTION_PANEL_MAX * ATTENTION_PANEL_MAX;
    const int64_t width = (head_dim + ATTENTION_PANEL_MAX - 1) / ATTENTION_PANEL_MAX * ATTENTION_PANEL_MAX;
    return (size_t)(5 * keys * width + ATTENTION_QUERIES * (2 * ATTENTION_STRIDE + 5 * width + 2) +
                    ATTENTION_QUERIES * keys + 16);
}

#define ATTENTION_SQUARE 256 /* floats of a tile of sums */

/* The same of bf16 operands, forward and backward. */
static inline size_t attention_bf16_scratch(int64_t context, int64_t head_dim)
{
    const int64_t keys = (context + ATTENTION_PANEL_MAX - 1) / ATTENTION_PANEL_MAX * ATTENTION_PANEL_MAX;
    const int64_t width = (head_dim + ATTENTION_PANEL_MAX - 1) / ATTENTION_PANEL_MAX * ATTENTION_PANEL_MAX;
    const int64_t turned = ATTENTION_KEYS * (3 * (ATTENTION_QUERIES + 16) + ATTENTION_QUERIES / 2 + 32);
    return (size_t)(4 * keys * width + 5 * ATTENTION_QUERIES * width + 16 * width + turned + ATTENTION_SQUARE + 64);
}
