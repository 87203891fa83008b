/* The way from the program that is attached to, to the front: a Unix socket for what is said and a shared ring for records. The
 * program never waits for either. What cannot be sent is lost, counted, and told when there is room again; when the front is gone, or
 * after a fork, everything here becomes a no-op. */
#pragma once
#include "profiler/protocol.h"
#include "profiler/record.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ATTACH_SOCKET_VARIABLE "STEPTOP_ATTACH_SOCKET"

enum link_state {
    LINK_NEVER, /* nothing was tried yet */
    LINK_OPEN,
    LINK_OFF /* no front, a front that went, a forked child: for good */
};

/* Connects once a process, when there is something to tell of. Waits up to `wait_ms` for the front's ring; some thousand
 * records that come before it is there are kept. False: there is no front to talk to. */
bool link_open(int wait_ms);
void link_use(const char *path); /* of the front's socket, where the environment does not say it */
bool link_may_open(void);        /* somebody listens, or did; nothing is opened */
/* One load. No lock of this library is taken where it is false: in a forked child a thread that is not there may hold it for ever. */
bool link_is_open(void);
/* The front asked for the program to be left alone, or is gone: nothing more is recorded. */
void link_shut(void);
/* Waits up to `wait_ms` until all that was said is sent; for the end of a process. */
void link_flush(int wait_ms);

/* Called from the link's thread every 20 ms while it is open. */
void link_tick(void (*tick)(void));
/* Called once from the link's thread when the link is shut: what watches the program lets go of it. */
void link_at_shut(void (*shut)(void));

/* Queues one message; the link's own thread sends it. Too much queued breaks the link. */
void link_send(uint32_t type, const void *first, size_t first_length, const void *second, size_t second_length);
void link_wake(void); /* the link's thread, to do at once what it does every 20 ms */
void link_note(const char *key, const char *text);
/* From any thread. Records that find the ring full are lost and counted. */
void link_push(struct record *record);
void link_count_lost(uint64_t count);

/* What the front asked for in its answer. */
struct attach_settings {
    uint32_t skip;    /* steps that are warm-up */
    bool layers_only; /* no single ops */
};
const struct attach_settings *link_settings(void);
