/* How a product is cut: among threads, and into blocks. */
#pragma once
#include <stdint.h>

/* The size of blocks no larger than `most` that cut `total` most evenly, in whole grains: a narrow last block would pack
 * as much of the other operand as a full one. */
static inline int64_t even_block(int64_t total, int64_t most, int64_t grain)
{
    const int64_t blocks = (total + most - 1) / most;
    return ((total + blocks - 1) / blocks + grain - 1) / grain * grain;
}

/* How `threads` threads share C: the grid whose parts need the least packing. */
static inline void grid_choose(int64_t m, int64_t n, int threads, int *down, int *across)
{
    double least = 0;
    for (int d = 1; d <= threads; d++) {
        if (threads % d)
            continue;
        const double cost = (double)m / d + (double)n / (threads / d);
        if (d == 1 || cost < least) {
            least = cost;
            *down = d;
            *across = threads / d;
        }
    }
}
