/* Which of several processes of one program this is, by what launchers put into the environment. One table says whose variables are read;
 * the lenient reading here is for who only wants a number to show, the strict one, for ranks that have to find each other, is
 * profiler/launcher.h. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct launcher_variables {
    const char *launcher; /* as a person starts it: "torchrun" */
    const char *rank, *world;
    const char *also; /* set by this launcher alone, where the others might be somebody else's; NULL: they are none's */
    const char *local, *local_world;
    const char *run[2]; /* the same in all processes of a run, another in others; NULL */
    const char *nodes;  /* Slurm's list of hosts, rank 0's first; NULL */
};

/* In this order: what starts processes inside of another's job comes before it. */
const struct launcher_variables *launchers(size_t *count);

struct launcher_rank {
    int32_t rank, local, world; /* of all, on this machine, how many; −1: not said */
};

/* torchrun and its kin, Open MPI, MVAPICH, MPICH and others by PMI, PMIx, Slurm; the first that says a rank is believed as a whole. A job
 * of one process has no ranks, unless it is torchrun's, and what Slurm says of a job is nothing of a process that is in none of its steps.
 * False: nobody says a rank. */
bool launcher_rank(struct launcher_rank *rank);
