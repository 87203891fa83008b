#include "base/launcher.h"
#include <stdlib.h>

/* MPICH's mpirun starts its processes from a step of Slurm's with one task a host, so it comes before that. SLURM_STEP_…: SLURM_PROCID and
 * SLURM_NTASKS are there in a batch script, too, which is one process whatever they say. */
static const struct launcher_variables table[] = {
    {.launcher = "torchrun",
     .rank = "RANK",
     .world = "WORLD_SIZE",
     .also = "MASTER_ADDR",
     .local = "LOCAL_RANK",
     .local_world = "LOCAL_WORLD_SIZE",
     .run = {"TORCHELASTIC_RUN_ID", "MASTER_PORT"}},
    {.launcher = "mpirun",
     .rank = "OMPI_COMM_WORLD_RANK",
     .world = "OMPI_COMM_WORLD_SIZE",
     .local = "OMPI_COMM_WORLD_LOCAL_RANK",
     .local_world = "OMPI_COMM_WORLD_LOCAL_SIZE",
     .run = {"PMIX_NAMESPACE", "OMPI_MCA_orte_ess_jobid"}},
    {.launcher = "mpirun",
     .rank = "MV2_COMM_WORLD_RANK",
     .world = "MV2_COMM_WORLD_SIZE",
     .local = "MV2_COMM_WORLD_LOCAL_RANK",
     .local_world = "MV2_COMM_WORLD_LOCAL_SIZE"},
    {.launcher = "mpirun",
     .rank = "PMI_RANK",
     .world = "PMI_SIZE",
     .local = "MPI_LOCALRANKID",
     .local_world = "MPI_LOCALNRANKS",
     .run = {"SLURM_JOB_ID", "SLURM_STEP_ID"},
     .nodes = "SLURM_STEP_NODELIST"},
    {.launcher = "prterun",
     .rank = "PMIX_RANK",
     .world = "PMIX_SIZE",
     .local = "PMIX_LOCAL_RANK",
     .local_world = "PMIX_LOCAL_SIZE",
     .run = {"PMIX_NAMESPACE"}},
    {.launcher = "srun",
     .rank = "SLURM_PROCID",
     .world = "SLURM_STEP_NUM_TASKS",
     .also = "SLURM_STEP_ID",
     .local = "SLURM_LOCALID",
     .local_world =
         "SLURM_STEP_TASKS_PER_NODE", /* "2(x3)", "2,1": the first host's, which is right where all have as many */
     .run = {"SLURM_JOB_ID", "SLURM_STEP_ID"},
     .nodes = "SLURM_STEP_NODELIST"},
};

const struct launcher_variables *launchers(size_t *count)
{
    *count = sizeof table / sizeof *table;
    return table;
}

static int32_t number(const char *name)
{
    const char *text = getenv(name);
    char *end;
    const long value = text && *text ? strtol(text, &end, 10) : -1;
    return text && *text && !*end && value >= 0 && value < 1 << 20 ? (int32_t)value : -1;
}

bool launcher_rank(struct launcher_rank *rank)
{
    *rank = (struct launcher_rank){-1, number("LOCAL_RANK"), -1};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const struct launcher_variables *its = &table[i];
        const int32_t found = number(its->rank), world = number(its->world);
        /* torchrun's kin say RANK and may say no more; all that another's job of one task starts would be rank 0 */
        if (found < 0 || (i > 0 && (world == 1 || (its->also && !getenv(its->also)))))
            continue;
        rank->rank = found;
        rank->world = world;
        rank->local = rank->local >= 0 ? rank->local : number(its->local);
        rank->local = rank->local >= 0 ? rank->local : found;
        return true;
    }
    return false;
}
