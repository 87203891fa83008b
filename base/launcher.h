/* Which of several processes of one program this is, by what launchers put into the environment. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct launcher_rank {
    int32_t rank, local, world; /* of all, on this machine, how many; −1: not said */
};

/* torchrun and its kin, Open MPI, MVAPICH, MPICH and others by PMI, PMIx, Slurm; the first that says a rank is believed as a whole. A job
 * of one process has no ranks, unless it is torchrun's. False: nobody says a rank. */
bool launcher_rank(struct launcher_rank *rank);
