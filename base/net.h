/* Stream sockets between hosts: addresses as text, listening, connecting within a time. */
#pragma once
#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NET_HOST_MAX 64 /* of a numeric address, with its zone and the end */
#define NET_DEAD_S 30   /* a connection whose other side has not answered for so long ends by itself */

struct net_address {
    char host[NET_HOST_MAX]; /* numeric: "10.0.0.1", "fe80::1%eth0" */
    uint16_t port, unused[3];
};

/* "host", "host:port", "[v6]:port", "v6" taken apart; *port stays where none is said. */
bool net_split(const char *text, char *host, size_t size, uint16_t *port, struct error *error);

/* A socket that listens at a port of the address that `host` stands for, of this machine; where this machine has no such address (a
 * router may translate it), or host is NULL, of all. Port 0: a free one. Neither blocks nor is inherited; −1 with the reason. */
int net_listen(const char *host, uint16_t port, struct error *error);
/* Connects until clock_now() is `until`; −1 with the reason. The socket is as net_ready makes it. */
int net_connect(const char *host, uint16_t port, uint64_t until, struct error *error);
/* Does not block, is not inherited, sends at once, and ends when the other side is dead for NET_DEAD_S. */
void net_ready(int fd);
/* The two ends of a connection, or where a socket listens. */
bool net_own(int fd, struct net_address *address);
bool net_peer(int fd, struct net_address *address);
/* Waits until a descriptor is ready for `events` of poll, or clock_now() is `until`: false then. */
bool net_wait(int fd, short events, uint64_t until);
/* All of it, on a socket that does not block; false with errno, ETIMEDOUT at `until`, ECONNRESET at the end of what comes. */
bool net_send(int fd, const void *bytes, size_t length, uint64_t until);
bool net_receive(int fd, void *bytes, size_t length, uint64_t until);

/* Unpredictable bytes. */
bool net_random(void *bytes, size_t length);
/* Are they the same? In a time that does not tell where they differ. */
bool net_equal(const void *a, const void *b, size_t length);
