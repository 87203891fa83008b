/* Which tiles the blocks of attention's backward on Hopper work at, and in what order dq's parts are added: plain C, which a test
 * without a card follows through. attention_hopper_backward.cu says why. */
#pragma once
#ifndef WALKS
#define WALKS __device__ __forceinline__
#endif

/* A tile of keys of a head, and the tiles of queries it is walked along: from first on by step up to and with last. */
struct walk {
    int head, keys, first, last, step;
};

/* `ratio` tiles of queries are as long as one of keys; team 0: a list instead of teams. */
struct walks {
    int key_tiles, query_tiles, ratio, team, heads_in_all;
};

/* How many blocks make a team, one a tile of keys; 0 where `units`, how many the card runs at once, are fewer. */
WALKS int walks_team(int key_tiles, int units)
{
    return key_tiles <= units ? key_tiles : 0;
}

/* How many blocks to launch: whole teams, no more than there are heads. */
WALKS int walks_blocks(int key_tiles, int heads_in_all, int units)
{
    int team = walks_team(key_tiles, units), teams = team > 0 ? units / team : 0;
    return team > 0 ? (teams < heads_in_all ? teams : heads_in_all) * team : units;
}

/* Walk number i of one of `blocks` blocks; false when there are no more. */
WALKS bool walks_take(const struct walks *all, int block, int blocks, int i, struct walk *w)
{
    bool down = false;
    if (all->team > 0) {
        w->head = block / all->team + i * (blocks / all->team);
        w->keys = block % all->team;
        down = i & 1;
        if (down)
            w->keys = all->team - 1 - w->keys;
    } else {
        long long tile = (long long)block + (long long)i * blocks;
        w->head = (int)(tile / all->key_tiles);
        w->keys = all->key_tiles - 1 - (int)(tile % all->key_tiles);
    }
    int diagonal = w->keys * all->ratio;
    w->first = down ? all->query_tiles - 1 : diagonal;
    w->last = down ? diagonal : all->query_tiles - 1;
    w->step = down ? -1 : 1;
    return w->head < all->heads_in_all;
}

/* How many have added to dq's tile before this walk does. */
WALKS int walks_number(const struct walks *all, const struct walk *w, int tile)
{
    return w->step < 0 ? w->keys : tile / all->ratio - w->keys;
}
