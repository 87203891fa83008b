/* The front's side of a command that it attaches to: starts it with the injected library in its environment, and makes a rank of
 * each process that connects. The program is never waited for, and what a process says wrong costs that process its link alone. */
#pragma once
#include "profiler/session.h"

struct attach_options {
    const char *const *command; /* words, NULL at the end; NULL: `pid` */
    pid_t pid; /* of a process that runs already: nobody here started it, and nobody here ends it but on request */
    const char *library;       /* libsteptop-attach.so */
    const char *python_folder; /* of sitecustomize.py */
    uint32_t skip;             /* steps that are warm-up beyond the first */
    uint32_t steps;            /* measured steps after which the program is left alone; 0: to its end */
    uint64_t for_ns;           /* time after the first record, the same; 0 */
    bool layers_only;
    bool through; /* input and output stay the front's own, and its process group; else output goes to the log */
};

/* Adds a run whose subject is the command; its id, or 0 with the reason. Started by session_step like any other. The options are
 * copied, but for `library` and `python_folder`, which outlive the session. */
uint32_t session_attach(struct session *session, const struct attach_options *options, struct error *error);
/* Leaves the program alone: nothing is recorded any more, its output still passes through here, and the run ends with it.
 * `detached`: has that been done, for whichever reason? */
void session_detach(struct session *session);
bool session_detached(const struct session *session);
/* Was the process here before? Then what would stop a run leaves it alone, but for session_stop, which asks it to end. */
bool session_is_guest(const struct session *session);
/* How the command ended, as a shell would say it (128 + a signal); −1 while it has not. Of a
 * process that was here before nobody is told: 0 when it was seen. */
int session_command_exit(const struct session *session);
