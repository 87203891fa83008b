/* Ranks on several hosts, started by a launcher: one steptop each. Rank 0's is the front; the others join it over TCP and run what it
 * sends them (profiler/joiner.h). On rank 0's host a process stands in for each of their workers (profiler/stand_in.h): to the session
 * it is a worker like any other, with its socket, its ring and its end, and so the session knows nothing of a network but who has
 * joined.
 *
 * A connection begins with a challenge. Whoever does not prove that it knows the token, is not the same program, or is not a rank that
 * is missing, is sent away with a sentence; nothing else that it says is looked at. Both sides are the same program file: structs go
 * as they lie in memory. */
#pragma once
#include "kernels/communicator.h"
#include "profiler/launcher.h"
#include "profiler/log.h"
#include "profiler/protocol.h"
#include <poll.h>

#define HOSTS_MAGIC 0x73746f68706f7473u
#define HOSTS_JOIN_NS 120000000000u /* how long rank 0 waits for the others, and they for it */

struct hosts;

/* Listens where the launcher says; `wait_ns` is how long the others may be missing. */
struct hosts *hosts_open(const struct launcher *launcher, uint64_t wait_ns, struct error *error);
void hosts_close(struct hosts *hosts); /* says goodbye to those that are there */
int hosts_world(const struct hosts *hosts);
int hosts_local_world(const struct hosts *hosts);
/* How many ranks compute on processors that rank `rank` may use, itself counted, and in *share which of them it is: as many as the launcher
 * started there, unless it gave each some of its own. 0: not known. */
int hosts_sharing(const struct hosts *hosts, int rank, int *share);
int where_sharing(const struct message_where *where, int world, int rank, int *share); /* of them all */
void where_here(struct message_where *where);                                          /* of this process */
/* The cell as a worker of this host is started with: its ranks are those with whom it shares processors, its threads theirs. */
void hosts_cell_here(struct cell *cell, int local_world, int sharing);

int hosts_poll(const struct hosts *hosts, struct pollfd *fds, int max);
/* Lets in who comes, and notices who left. True when anybody did. */
bool hosts_step(struct hosts *hosts, struct log *log);
/* Are all there? Else, when they have been missing for too long, *why says which. */
bool hosts_ready(const struct hosts *hosts);
bool hosts_late(const struct hosts *hosts, char *why, size_t size);

/* A run begins: a new key for it. */
bool hosts_begin(struct hosts *hosts, struct error *error);
/* What rank `rank` is told of the others. */
void hosts_peers(const struct hosts *hosts, int rank, struct communicator_peers *peers);
/* Rank `rank`'s connection and the name of its host; where rank 0's worker listens. */
int hosts_connection(const struct hosts *hosts, int rank, const char **name);
int hosts_listening(const struct hosts *hosts);
/* The run of a rank ended; not `orderly`: where the connection stands nobody knows, and it is to join anew. */
void hosts_ended(struct hosts *hosts, int rank, bool orderly);

/* What both sides need. */
uint64_t hosts_build(void); /* a digest of this program's file; 0: it cannot be read */
void hosts_prove_join(const char *token, const struct message_challenge *challenge, const struct message_join *join,
                      char proof[NET_PROOF]);
void hosts_prove_joined(const char *token, const struct message_join *join, char proof[NET_PROOF]);

/* Frames on their way out of a socket that does not block. All zero is an empty one. */
struct outbox {
    VEC(unsigned char) bytes;
    size_t sent;
};
void outbox_add(struct outbox *outbox, uint32_t type, const void *first, size_t first_length, const void *second,
                size_t second_length);
bool outbox_flush(struct outbox *outbox, int fd); /* false: the connection is broken; errno */
size_t outbox_waiting(const struct outbox *outbox);
void outbox_release(struct outbox *outbox);
