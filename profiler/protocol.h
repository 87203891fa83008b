/* What front and worker say to each other over the control socket, and what a recording holds: frames of a header and a
 * payload. Either side is the same program, so payloads are plain structs; the front still checks every one of them, for a
 * worker may crash in the middle of a sentence and a recording may come from a stranger. */
#pragma once
#include "base/error.h"
#include "kernels/communicator.h"
#include "kernels/device.h"
#include "profiler/session.h"
#include <stdint.h>

#define PROTOCOL_VERSION 4u
#define MESSAGE_MAX 16384u /* bytes of payload */

enum message_type {
    /* front → worker */
    MESSAGE_CELL = 1,
    MESSAGE_STOP,
    /* worker → front */
    MESSAGE_ACTIVITY,  /* text */
    MESSAGE_NAME,      /* struct message_name, text */
    MESSAGE_NOTE,      /* key, 0, text */
    MESSAGE_DEVICE,    /* struct device_info */
    MESSAGE_PLAN,      /* struct message_plan; after it comes no more place */
    MESSAGE_PREPARED,  /* struct message_prepared */
    MESSAGE_SAMPLE,    /* struct sample */
    MESSAGE_MEMORY,    /* struct message_memory */
    MESSAGE_TELEMETRY, /* struct device_telemetry */
    MESSAGE_CEILINGS,  /* struct message_ceilings */
    MESSAGE_END,       /* struct message_end, text: the reason */
    /* recordings alone */
    MESSAGE_RUN,     /* struct message_run: a run begins */
    MESSAGE_RECORDS, /* struct record[] */
    MESSAGE_LOG,     /* one byte "is error", text */
    MESSAGE_RESULT,  /* struct message_result, text: how the front saw it end */
    /* worker → front, since version 2 */
    MESSAGE_SCOPE, /* struct message_scope, text: its name. Its id is the number of scopes before it */
    MESSAGE_PLACE, /* struct message_place, text: the op, 0, the label. Its id is the number of places before it */
    /* between an attached process and the front */
    MESSAGE_HELLO,    /* struct message_hello, text: its command; the first that it says */
    MESSAGE_ATTACH,   /* struct message_attach, the ring's descriptor beside it: the front's answer */
    MESSAGE_COUNTERS, /* worker → front: struct message_counters, what the values of its records of counters are */
    /* worker → front */
    MESSAGE_SUSPENDED, /* struct message_suspended */
    MESSAGE_PROGRAM,   /* struct program_facts */
    MESSAGE_MACHINE,   /* struct machine_load */
    MESSAGE_USE,       /* recordings alone: struct machine_use, as it changes and before MESSAGE_RESULT */
    MESSAGE_WORK,      /* struct message_work: what became known of a place that was said before */
    MESSAGE_STAGE, /* worker → front; text: what it is at from now on. MESSAGE_ACTIVITY says how far it is with that */
    /* between hosts, over TCP (profiler/hosts.h); those of a worker go there, too */
    MESSAGE_CHALLENGE, /* rank 0's side → whoever connects: struct message_challenge */
    MESSAGE_JOIN,      /* its answer: struct message_join */
    MESSAGE_JOINED,    /* struct message_joined */
    MESSAGE_REFUSED,   /* text: why not */
    MESSAGE_PING,      /* struct message_ping, to a joined one … */
    MESSAGE_PONG,      /* … and back: struct message_pong */
    MESSAGE_EXIT,      /* struct message_exit: the worker there has ended, and all of it was sent */
    MESSAGE_BYE,       /* rank 0's side is done with all runs */
    MESSAGE_PEAK,      /* worker → front: struct message_peak, once a step was looked at */
    MESSAGE_DROPPED, /* recordings alone: struct message_dropped of a rank that is not the first, before MESSAGE_RESULT */
    MESSAGE_TYPE_COUNT
};

struct message_header {
    uint32_t type, length;
};

struct message_cell {
    uint32_t version, cell_bytes; /* of the program that sent it */
    struct cell cell;
    char cache_folder[1024];                         /* "": none */
    double ceiling_flops_per_s, ceiling_bytes_per_s; /* NaN: measure them */
    int32_t rank;                                    /* of cell.ranks */
    int32_t meeting; /* descriptor of the ranks' meeting place (kernels/communicator.h); −1: one rank alone */
    /* Of ranks of several hosts: then the meeting place is a socket that listens. */
    uint32_t apart; /* 1: they are */
    int32_t local;  /* its number on its host */
    int32_t sharing, share; /* how many ranks there have the same processors, and which of them this one is; 0: not known */
    struct communicator_peers peers;
};
struct message_name {
    uint32_t id;
};
struct message_plan {
    uint64_t digest; /* with the cell and what follows: what the front may build again for its ledger of memory */
    uint32_t fusions;
    int32_t overlap_nodes; /* kernels/device.h: struct overlap */
    uint64_t overlap_ops;  /* older recordings end before it */
};
struct message_scope {
    int32_t parent;
    uint32_t reserved;
    uint64_t parameter_bytes;
};
struct message_place {
    int32_t scope;
    uint8_t phase, kernel_class;
    uint16_t reserved;
    double flops, bytes;
    uint64_t saved_bytes;
};
struct message_prepared {
    uint64_t compile_ns, workspace_bytes, prepare_ns;
};
struct message_memory {
    uint64_t resident_base, resident_peak;
};
struct message_work {
    int32_t place;
    uint32_t unused;     /* 0 */
    double flops, bytes; /* of the place in one step; NaN: not known */
};
/* The most memory in use while a scope ran, beyond what was in use when the step began: seen at borders of its operators. */
struct message_peak {
    int32_t scope;
    uint32_t phase; /* PHASE_FWD, PHASE_BWD */
    uint64_t bytes;
};
struct message_ceilings {
    double flops_per_s, bytes_per_s;
};
struct message_counters {
    char names[RUN_COUNTERS][RUN_COUNTER_NAME]; /* "cycles" …; "" behind the last */
    uint64_t own[RUN_COUNTERS]; /* what one reading alone counts of each; UNKNOWN_U64. Older recordings end before it */
};
/* The process was kept from running (stopped, frozen, asleep): either how long, or a step that this fell into, which is left out:
 * no sample comes of it, and its launches are taken back. */
struct message_suspended {
    uint64_t ns;
    uint32_t is_step, step_id;
    uint8_t pass, kind, reserved[6];
};
struct message_end {
    uint32_t status;
};
struct message_run {
    uint32_t version, cell_bytes;
    struct cell cell;
};
struct message_result {
    uint32_t status, reserved;
    uint64_t dropped; /* of the first rank */
};
struct message_dropped {
    uint64_t dropped;
};

struct message_hello {
    uint32_t version, record_bytes;
    uint32_t process, parent;
    int32_t rank, local, world; /* as the launcher put them into the environment; −1: not said */
};
struct message_attach {
    uint32_t skip;        /* steps that are warm-up beyond the first */
    uint32_t layers_only; /* 1: no record of single ops */
};

#define NET_PROOF 65
#define NET_NONCE 32
#define NET_NAME 64
struct message_challenge {
    uint64_t magic;
    uint32_t version, unused;
    unsigned char nonce[NET_NONCE];
};
/* Where a rank's worker will run: the machine, by the name that its kernel took when it started ("": not known), and the processors of the
 * mask that its launcher gave it, a bit each. */
struct message_where {
    char machine[40];
    unsigned char processors[128];
};
/* Each proves that it knows the token, and sends it to nobody. */
struct message_join {
    uint64_t magic;
    uint64_t build; /* a digest of the program's file. Both sides must be the same one: structs go as they are */
    uint32_t version;
    int32_t rank, world;
    uint16_t port, unused; /* where its worker will listen for other ranks */
    char host[NET_NAME];
    struct message_where where;
    unsigned char nonce[NET_NONCE];
    char proof[NET_PROOF], unused_too[7]; /* of the challenge and of what stands before this */
};
struct message_joined {
    char proof[NET_PROOF]; /* of the nonce of message_join */
};
struct message_ping {
    uint64_t sent; /* the clock of who asks */
};
struct message_pong {
    uint64_t sent, clock, dropped; /* of the ping; this side's clock; records lost on this side so far */
};
struct message_exit {
    int32_t status;     /* waitpid's */
    uint32_t no_memory; /* 1: the kernel killed for want of memory meanwhile */
    uint64_t dropped;
};

_Static_assert(sizeof(struct message_cell) <= MESSAGE_MAX, "fits a frame");
_Static_assert(sizeof(struct device_info) <= MESSAGE_MAX, "fits a frame");

const char *message_name(uint32_t type); /* for errors; "unknown" */
/* Is this a length that a payload of this type can have? */
bool message_length_valid(uint32_t type, uint32_t length);

/* Frames read from a stream socket without waiting. All zero is an empty one. */
struct inbox {
    size_t filled, taken;
    unsigned char bytes[4 * (sizeof(struct message_header) + MESSAGE_MAX)];
};
enum inbox_state { INBOX_MESSAGE, INBOX_EMPTY, INBOX_CLOSED, INBOX_BROKEN };
/* The next frame: *payload stays valid until the next call and is aligned for any type. INBOX_BROKEN: what came is no
 * frame of this protocol, and *header is what it claims to be. */
enum inbox_state inbox_next(struct inbox *inbox, int fd, struct message_header *header, const void **payload);

/* Sends one frame whole, waiting when the other side is slow. Parts may be NULL with length 0. */
bool message_send(int fd, uint32_t type, const void *first, size_t first_length, const void *second,
                  size_t second_length, struct error *error);

/* Makes text that came from elsewhere fit for a line of a screen or a file: control characters, also those that UTF-8
 * spells with two bytes, become '?'; broken UTF-8 too. In place; the length stays. */
void text_clean(char *text, size_t length);
/* Copies at most size − 1 bytes of text, cut at a whole character, cleaned and terminated. */
void text_copy(char *to, size_t size, const void *text, size_t length);

/* A cell that came in bytes from elsewhere: strings terminated, enumerations and booleans in range. */
bool cell_from_bytes(struct cell *cell, const void *bytes, size_t length, struct error *error);
