/* What attach.c, attach_process.c and the session share. */
#pragma once
#include "profiler/attach.h"
#include "profiler/session_internal.h"

#define ATTACH_RANKS_MAX 256
#define ATTACH_LINGER_NS 1000000000u /* how long what its processes still say is waited for after the command's end */

struct attach {
    struct attach_options options;
    char **command; /* own copy */
    struct live_run *live;
    char folder[80], path[100]; /* of the socket; "" when there is none */
    int listener;
    int ended;        /* of the command: readable when it has ended; −1: not to be had, and the clock tells */
    VEC(int) pending; /* connected, not yet known who */
    uint64_t first_record, linger_until;
    uint64_t alone_until;     /* nobody has connected so far: when it is said; 0: never or no more */
    bool detached, told_most; /* told_most: that more processes connect than are shown */
    char reason[200];         /* why a process that was here before does not connect */
    int exit_code;            /* −1 */
};

/* attach.c: in place of supervise.c's for a run whose subject is a command. */
bool attach_begin(struct session *session, struct live_run *live, struct error *error);
bool attach_step(struct session *session);
void attach_stop(struct session *session, enum status status, const char *reason, bool at_once);
/* Descriptors beyond the links'; *timeout_ms becomes 0 where the next step has something to do. */
int attach_poll(const struct session *session, struct pollfd *fds, int max, int *timeout_ms);
void attach_free(struct attach *attach);

/* attach_process.c: starts the command in its environment; `process` gets pid and the output's pipes. */
bool attach_process_start(struct process *process, const struct attach *attach, struct error *error);

/* attach_running.c: lets the process that is attached to connect to the socket, which is there. */
bool attach_running_begin(struct attach *attach, struct error *error);
/* Why it does not connect, as it said itself; true once. */
bool attach_running_reason(const struct attach *attach, char *reason, size_t size);
bool attach_running_look(struct session *session); /* has it ended, or been left? True: that is new */
void attach_running_stop(struct session *session, enum status status, const char *reason);
char *attach_running_command(pid_t pid); /* one line; to free */

/* supervise.c */
bool rank_take_output(struct session *session, struct link *link, bool is_error);
bool rank_take_records(struct session *session, struct link *link, struct live_run *live);
void rank_end_output(struct session *session, struct link *link);
struct link *rank_link_add(struct session *session, struct live_rank *rank, struct error *error);
