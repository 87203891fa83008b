#include "base/launcher.h"
#include <stddef.h>
#include <stdlib.h>

static int32_t number(const char *name)
{
    const char *text = getenv(name);
    char *end;
    const long value = text && *text ? strtol(text, &end, 10) : -1;
    return text && *text && !*end && value >= 0 && value < 1 << 20 ? (int32_t)value : -1;
}

bool launcher_rank(struct launcher_rank *rank)
{
    static const struct {
        const char *rank, *local, *world;
    } launchers[] = {
        {"RANK", "LOCAL_RANK", "WORLD_SIZE"},
        {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_SIZE"},
        {"MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_SIZE"},
        {"PMI_RANK", "MPI_LOCALRANKID", "PMI_SIZE"},
        {"PMIX_RANK", "PMIX_LOCAL_RANK", "PMIX_SIZE"},
        {"SLURM_PROCID", "SLURM_LOCALID", "SLURM_NTASKS"},
    };
    *rank = (struct launcher_rank){-1, number("LOCAL_RANK"), -1};
    for (size_t i = 0; i < sizeof launchers / sizeof *launchers; i++) {
        const int32_t found = number(launchers[i].rank), world = number(launchers[i].world);
        if (found < 0 || (i > 0 && world == 1)) /* all that a batch job of one task starts would be rank 0 */
            continue;
        rank->rank = found;
        rank->world = world;
        rank->local = rank->local >= 0 ? rank->local : number(launchers[i].local);
        rank->local = rank->local >= 0 ? rank->local : found;
        return true;
    }
    return false;
}
