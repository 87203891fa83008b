/* A worker as a process: started, watched, ended, reaped. */
#pragma once
#include "base/error.h"
#include "profiles/profile.h"
#include <stdint.h>
#include <sys/types.h>

struct process {
    pid_t pid;                    /* 0: none */
    int control, output, errors;  /* this side's ends, non-blocking; -1: none */
    uint64_t out_of_memory_kills; /* the machine's count when it started; UNKNOWN_U64 */
};

/* A stand-in's meeting place is the connection to another host, and its ends are those of the worker there. */
enum process_role { PROCESS_WORKER, PROCESS_STAND_IN };
#define WORKER_MEETING 5 /* the ranks' meeting place, where there is one */

/* Starts `program worker 3 4` with the control socket as 3, `ring` as 4, `meeting` (−1: none) as 5, stdin from /dev/null, stdout and
 * stderr in pipes, in a process group of its own, to end when this process does. Threads are set up through the environment, as libgomp
 * reads it before main: OMP_NUM_THREADS is the cell's threads, or the processors that this process may use; several
 * ranks on the CPU have their share of them, and of the processors, as long as there is one for each. */
bool process_start(struct process *process, const char *program, const struct cell *cell, int rank, int ring,
                   int meeting, enum process_role role, struct error *error);
/* Threads of a rank of this cell on this machine. */
int process_threads(const struct cell *cell);

/* In a child after fork: no signal is blocked, and what a front handles does again what it does in any program. */
void process_default_signals(void);

enum process_event { PROCESS_RUNS, PROCESS_STOPPED, PROCESS_CONTINUED, PROCESS_ENDED };
/* What became of it since the last call, without waiting; *status is waitpid's. After PROCESS_ENDED there is no pid. */
enum process_event process_poll(struct process *process, int *status);

/* Is it held: stopped by a debugger, or frozen with its control group? (What a signal stopped, process_poll tells.) */
bool process_held(pid_t pid);
void process_kill(struct process *process);    /* SIGKILL to its whole group; reaped by process_poll */
void process_release(struct process *process); /* kills what lives, waits for it, closes the descriptors */

/* How often the kernel's out-of-memory killer has struck here (machine or control group); UNKNOWN_U64. */
uint64_t out_of_memory_kills(void);
#define SIGNAL_TEXT 24
const char *signal_text(int number, char text[SIGNAL_TEXT]); /* "SIGSEGV"; "signal 34", in `text` */
