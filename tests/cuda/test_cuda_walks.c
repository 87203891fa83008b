/* The order in which attention's backward on Hopper adds up dq, followed through without a card: every pair of tiles once, each
 * part in its turn, no block waiting for one that cannot come, and in teams none waiting at all. */
#include <stdbool.h>
#define WALKS static inline
#include "kernels/cuda/device/attention_hopper_walks.cuh"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

struct block {
    struct walk walk;
    int number, tile; /* of the walk in hand; the tile of queries that comes next */
    bool ended;
    int64_t done; /* tiles */
};

/* All blocks try a step each at a time: one adds its part if, before the step, as many had added as its number says. Gives how many steps
 * the whole takes; fails where no block comes on. */
static int64_t follow(const struct walks *all, int blocks, int64_t *longest)
{
    struct block *working = calloc((size_t)blocks, sizeof *working);
    size_t tiles = (size_t)all->heads_in_all * (size_t)all->query_tiles;
    int *added = calloc(tiles, sizeof *added), *before = calloc(tiles, sizeof *before);
    assert_true(working && added && before);
    int left = blocks;
    for (int b = 0; b < blocks; ++b) {
        working[b].ended = !walks_take(all, b, blocks, 0, &working[b].walk);
        working[b].tile = working[b].walk.first;
        left -= working[b].ended;
    }
    int64_t steps = 0;
    for (; left > 0; ++steps) {
        int came_on = 0;
        for (size_t i = 0; i < tiles; ++i)
            before[i] = added[i];
        for (int b = 0; b < blocks; ++b) {
            struct block *block = &working[b];
            if (block->ended)
                continue;
            size_t place = (size_t)block->walk.head * (size_t)all->query_tiles + (size_t)block->tile;
            if (before[place] != walks_number(all, &block->walk, block->tile))
                continue;
            assert_int_equal(added[place], before[place]); /* nobody else adds to it in this step */
            ++added[place], ++block->done, ++came_on;
            if (block->tile != block->walk.last) {
                block->tile += block->walk.step;
                continue;
            }
            block->ended = !walks_take(all, b, blocks, ++block->number, &block->walk);
            block->tile = block->walk.first;
            left -= block->ended;
        }
        if (came_on == 0)
            fail_msg("%d tiles of keys, %d heads, %d blocks: nobody comes on", all->key_tiles, all->heads_in_all,
                     blocks);
    }
    *longest = 0;
    for (int b = 0; b < blocks; ++b)
        *longest = working[b].done > *longest ? working[b].done : *longest;
    for (size_t i = 0; i < tiles; ++i)
        assert_int_equal(added[i], (int)(i % (size_t)all->query_tiles) / all->ratio + 1);
    free(working);
    free(added);
    free(before);
    return steps;
}

static void every_part_in_its_turn(void **state)
{
    (void)state;
    static const int units[] = {132, 114, 7, 1}, heads[] = {1, 2, 3, 16}, keys[] = {1, 2, 7, 8, 31, 114, 115, 140};
    for (size_t u = 0; u < sizeof units / sizeof *units; ++u)
        for (size_t h = 0; h < sizeof heads / sizeof *heads; ++h)
            for (size_t k = 0; k < sizeof keys / sizeof *keys; ++k)
                for (int ratio = 1; ratio <= 2; ++ratio)
                    for (int less = 0; less < ratio;
                         ++less) { /* the last tile of keys may be seen by one tile of queries alone */
                        const struct walks all = {.key_tiles = keys[k],
                                                  .query_tiles = keys[k] * ratio - less,
                                                  .ratio = ratio,
                                                  .team = walks_team(keys[k], units[u]),
                                                  .heads_in_all = heads[h]};
                        int blocks = walks_blocks(keys[k], heads[h], units[u]);
                        int64_t longest, steps = follow(&all, blocks, &longest);
                        assert_in_range(blocks, 1, units[u]);
                        if (all.team > 0)
                            assert_int_equal(steps, longest);
                    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_part_in_its_turn)};
    return cmocka_run_group_tests_name("cuda_walks", tests, NULL, NULL);
}
