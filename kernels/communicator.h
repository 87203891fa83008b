/* Where the ranks of one host meet: a file without a name that all of them map. It holds a barrier, room for a short word to
 * all, the sentence of the first that failed, and, for devices whose memory is the host's, memory that each rank sees of every
 * other. Ranks are processes, or threads of one process in tests: the same code. Ranks of several hosts meet by connections
 * instead (communicator_connect); all that is said here holds for them, but that they have no memory in common.
 *
 * A rank that fails says so here, and one that is missing is named by those who waited: no wait is for ever. */
#pragma once
#include "base/error.h"
#include "base/net.h"
#include <stddef.h>
#include <stdint.h>

#define COMMUNICATOR_MAX_RANKS 64
#define COMMUNICATOR_WORD_MAX 512
#define COMMUNICATOR_KEY 32
#define COMMUNICATOR_SETUP_NS 600000000000u /* how long the ranks may be apart while they make ready … */
#define COMMUNICATOR_STEP_NS 60000000000u   /* … and in a step */

struct communicator;

/* A new meeting place for `world` ranks: a descriptor to hand to each; −1 with the reason. */
int communicator_file(int world, struct error *error);

/* Rank `rank`'s view of it. The descriptor stays the caller's. */
struct communicator *communicator_join(int fd, int rank, struct error *error);
void communicator_leave(struct communicator *communicator);

/* Where the ranks of several hosts are to be found, and the key by which they know each other: of this run alone, and secret. */
struct communicator_peers {
    int32_t world, unused;
    unsigned char key[COMMUNICATOR_KEY];
    struct net_address at[COMMUNICATOR_MAX_RANKS];
};
/* Rank `rank`'s connections with all others, made within `limit_ns`; others come to `listening`, which stays the caller's. */
struct communicator *communicator_connect(int listening, int rank, const struct communicator_peers *peers,
                                          uint64_t limit_ns, struct error *error);
bool communicator_apart(const struct communicator *communicator);

/* Of ranks apart: sends out[r] to each other rank r and takes in[r] from it, world of each; those of this rank itself mean nothing. Who
 * sends what another does not expect runs another plan: an error. */
struct communicator_part {
    void *bytes;
    uint64_t size;
};
bool communicator_swap(struct communicator *communicator, const struct communicator_part *out,
                       const struct communicator_part *in, const char *what, struct error *error);

int communicator_rank(const struct communicator *communicator);
int communicator_world(const struct communicator *communicator);
/* The longest wait of what follows, in ns. */
void communicator_limit(struct communicator *communicator, uint64_t ns);

/* All wait for all. `what` is for the sentence about a rank that does not come. */
bool communicator_meet(struct communicator *communicator, const char *what, struct error *error);
/* The same, and tells whether any rank says yes. */
bool communicator_any(struct communicator *communicator, bool mine, const char *what, bool *any, struct error *error);
/* Rank 0's `size` bytes (up to COMMUNICATOR_WORD_MAX) to all. */
bool communicator_tell(struct communicator *communicator, void *bytes, size_t size, struct error *error);
/* This rank cannot go on: whoever waits, or will, gets the sentence. The first one counts. */
void communicator_fail(struct communicator *communicator, const char *why);

/* How far this rank is, by its own count; and the rank that is behind the most, −1: none is behind this one. For devices on which a
 * rank that waits does not wait here. */
void communicator_progress(struct communicator *communicator, uint64_t done);
int communicator_behind(const struct communicator *communicator);
/* Has a rank failed? Then *error says which. */
bool communicator_failed(const struct communicator *communicator, struct error *error);
uint64_t communicator_limit_ns(const struct communicator *communicator);

/* `bytes` of zeroed memory a rank, the same on all; piece[r] gets where rank r's lies here (world pointers). It lives until
 * communicator_leave. Ranks that ask for different amounts are refused, all of them, and so are ranks apart. */
bool communicator_share(struct communicator *communicator, uint64_t bytes, void **piece, struct error *error);
