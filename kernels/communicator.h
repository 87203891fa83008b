/* Where the ranks of one host meet: a file without a name that all of them map. It holds a barrier, room for a short word to
 * all, the sentence of the first that failed, and, for devices whose memory is the host's, memory that each rank sees of every
 * other. Ranks are processes, or threads of one process in tests: the same code.
 *
 * A rank that fails says so here, and one that is missing is named by those who waited: no wait is for ever. */
#pragma once
#include "base/error.h"
#include <stddef.h>
#include <stdint.h>

#define COMMUNICATOR_MAX_RANKS 64
#define COMMUNICATOR_WORD_MAX 512
#define COMMUNICATOR_SETUP_NS 600000000000u /* how long the ranks may be apart while they make ready … */
#define COMMUNICATOR_STEP_NS 60000000000u   /* … and in a step */

struct communicator;

/* A new meeting place for `world` ranks: a descriptor to hand to each; −1 with the reason. */
int communicator_file(int world, struct error *error);

/* Rank `rank`'s view of it. The descriptor stays the caller's. */
struct communicator *communicator_join(int fd, int rank, struct error *error);
void communicator_leave(struct communicator *communicator);

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
 * communicator_leave. Ranks that ask for different amounts are refused, all of them. */
bool communicator_share(struct communicator *communicator, uint64_t bytes, void **piece, struct error *error);
