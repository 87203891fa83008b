/* The two ways in which ranks meet: in a file that all of one host map, or by connections. */
#pragma once
#include "kernels/communicator.h"

struct meeting;
struct shared;
struct hosts;

struct communicator {
    struct meeting *meeting; /* NULL: by connections */
    struct hosts *hosts;     /* NULL: in a file */
    int fd, rank, world;
    uint32_t came;       /* meetings so far */
    uint64_t limit, end; /* end: of the file as far as it is used */
    struct shared *shared;
};

/* communicator_hosts.c: what communicator.h says, for connections. */
void hosts_leave(struct communicator *communicator);
bool hosts_meet(struct communicator *communicator, const char *what, struct error *error);
bool hosts_any(struct communicator *communicator, bool mine, const char *what, bool *any, struct error *error);
bool hosts_tell(struct communicator *communicator, void *bytes, size_t size, struct error *error);
void hosts_fail(struct communicator *communicator, const char *why);
void hosts_progress(struct communicator *communicator, uint64_t done);
int hosts_behind(const struct communicator *communicator);
bool hosts_failed(const struct communicator *communicator, struct error *error);
