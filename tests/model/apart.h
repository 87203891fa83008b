/* Ranks that meet by connections of this host with itself, as those of several hosts do. */
#pragma once
#include "base/net.h"
#include "kernels/communicator.h"
#include <string.h>
#include <unistd.h>

struct apart {
    struct communicator_peers peers;
    int listening[COMMUNICATOR_MAX_RANKS];
};

static inline bool apart_open(struct apart *apart, int world, struct error *error)
{
    *apart = (struct apart){.peers = {.world = world}};
    memset(apart->peers.key, 0x5a, sizeof apart->peers.key);
    for (int rank = 0; rank < world; rank++) {
        apart->listening[rank] = net_listen("127.0.0.1", 0, error);
        if (apart->listening[rank] < 0 || !net_own(apart->listening[rank], &apart->peers.at[rank]))
            return false;
    }
    return true;
}

static inline void apart_close(struct apart *apart)
{
    for (int rank = 0; rank < apart->peers.world; rank++)
        close(apart->listening[rank]);
}

static inline struct communicator *apart_connect(const struct apart *apart, int rank, struct error *error)
{
    return communicator_connect(apart->listening[rank], rank, &apart->peers, 20000000000u, error);
}
