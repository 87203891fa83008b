/* What torchrun, mpirun and srun say to each process that they start: which rank it is, of how many, and where the first one is. */
#pragma once
#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LAUNCHER_HOST_MAX 256
#define LAUNCHER_TOKEN_MAX 256

struct launcher {
    const char *name; /* "torchrun" */
    int rank, world;
    int local, local_world; /* this one's number on its host, and how many are there; what is not said is 0 of 1 */
    char host[LAUNCHER_HOST_MAX]; /* where rank 0 listens */
    uint16_t port;
    char token[LAUNCHER_TOKEN_MAX]; /* what all of them know */
    bool secret; /* STEPTOP_TOKEN; else it is made of the run's name, which keeps runs apart and is no secret */
};

/* `where`: "launcher" (all from the environment) or "HOST", "HOST:PORT" of rank 0. Errors: no launcher's variables, some that cannot
 * be, no word of where rank 0 is. */
bool launcher_read(const char *where, struct launcher *launcher, struct error *error);

/* The first name of Slurm's list of hosts, "node[03-05,9],other" → "node03". False: it is none. */
bool launcher_first_host(const char *list, char *host, size_t size);
