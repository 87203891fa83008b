#include "profiler/launcher.h"
#include "base/net.h"
#include "kernels/communicator.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PORT 29701 /* where nothing says another: next to torchrun's, which begins at 29500 */

/* In this order: what starts processes inside of another's job comes first. A row is there when all of `told` are. */
static const struct {
    const char *name;
    const char *told[3]; /* rank, world, and what else only this launcher sets */
    const char *local, *local_world, *run[2];
} launchers[] = {
    {"torchrun",
     {"RANK", "WORLD_SIZE", "MASTER_ADDR"},
     "LOCAL_RANK",
     "LOCAL_WORLD_SIZE",
     {"TORCHELASTIC_RUN_ID", "MASTER_PORT"}},
    {"mpirun",
     {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", NULL},
     "OMPI_COMM_WORLD_LOCAL_RANK",
     "OMPI_COMM_WORLD_LOCAL_SIZE",
     {"PMIX_NAMESPACE", "OMPI_MCA_orte_ess_jobid"}},
    {"srun",
     {"SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_STEP_ID"},
     "SLURM_LOCALID",
     "SLURM_STEP_TASKS_PER_NODE", /* "2(x3)", "2,1": the first host's, which is right where all have as many */
     {"SLURM_JOB_ID", "SLURM_STEP_ID"}},
    {"mpirun", {"PMI_RANK", "PMI_SIZE", NULL}, "MPI_LOCALRANKID", "MPI_LOCALNRANKS", {"HYDI_CONTROL_FD", NULL}},
};

static bool number(const char *name, long least, long most, int *value, struct error *error)
{
    const char *text = getenv(name);
    char *end;
    errno = 0;
    const long read = text ? strtol(text, &end, 10) : least - 1;
    if (!text || errno || end == text || (*end && *end != '(' && *end != ',') || read < least || read > most)
        return error_set(error, ERROR_USAGE, "%s=%.40s of the launcher is no number from %ld to %ld", name,
                         text ? text : "", least, most);
    *value = (int)read;
    return true;
}

bool launcher_first_host(const char *list, char *host, size_t size)
{
    const size_t prefix = strcspn(list, "[,");
    size_t digits = 0;
    if (list[prefix] == '[') {
        digits = strspn(list + prefix + 1, "0123456789");
        const size_t end = strcspn(list, "]");
        if (!digits || !list[end] ||
            (list[end + 1] && list[end + 1] != ',')) /* "rack[1-2]-node[1-4]" is not taken apart */
            return false;
    }
    if (prefix + digits == 0 || prefix + digits >= size)
        return false;
    snprintf(host, size, "%.*s%.*s", (int)prefix, list, (int)digits, list + prefix + 1);
    return true;
}

/* Where rank 0 is, if `where` does not say. */
static bool find_first(struct launcher *launcher, struct error *error)
{
    const char *address = getenv("MASTER_ADDR"), *nodes = getenv("SLURM_STEP_NODELIST");
    if (address && address[0] && strlen(address) < sizeof launcher->host)
        snprintf(launcher->host, sizeof launcher->host, "%s", address);
    else if (launcher->local_world == launcher->world)
        snprintf(launcher->host, sizeof launcher->host, "127.0.0.1");
    else if (!nodes || strcmp(launcher->name, "srun") != 0 ||
             !launcher_first_host(nodes, launcher->host, sizeof launcher->host))
        return error_set(
            error, ERROR_USAGE,
            "%s does not say where rank 0 is: --join HOST:PORT, the same for all, with a host that all reach "
            "rank 0 at",
            launcher->name);
    return true;
}

bool launcher_read(const char *where, struct launcher *launcher, struct error *error)
{
    size_t which = 0;
    const size_t count = sizeof launchers / sizeof *launchers;
    while (which < count && !(getenv(launchers[which].told[0]) && getenv(launchers[which].told[1]) &&
                              (!launchers[which].told[2] || getenv(launchers[which].told[2]))))
        which++;
    *launcher = (struct launcher){.name = which < count ? launchers[which].name : "", .local_world = 1, .port = PORT};
    if (which == count)
        return error_set(
            error, ERROR_USAGE,
            "--join is for a steptop that torchrun, mpirun or srun started, and none of their variables is "
            "set: RANK, WORLD_SIZE and MASTER_ADDR; OMPI_COMM_WORLD_RANK; SLURM_PROCID of a step; PMI_RANK");
    if (!number(launchers[which].told[1], 1, COMMUNICATOR_MAX_RANKS, &launcher->world, error) ||
        !number(launchers[which].told[0], 0, launcher->world - 1, &launcher->rank, error))
        return false;
    if (getenv(launchers[which].local_world) &&
        !number(launchers[which].local_world, 1, launcher->world, &launcher->local_world, error))
        return false;
    if (getenv(launchers[which].local) &&
        !number(launchers[which].local, 0, COMMUNICATOR_MAX_RANKS - 1, &launcher->local, error))
        return false;
    if (launcher->local_world <= launcher->local)
        launcher->local_world = launcher->local + 1;
    int port = 0;
    if (getenv("MASTER_PORT")) { /* which is the launcher's own */
        if (!number("MASTER_PORT", 1, 65535, &port, error))
            return false;
        launcher->port = (uint16_t)(port < 65535 ? port + 1 : port - 1);
    }
    if (strcmp(where, "launcher") == 0
            ? !find_first(launcher, error)
            : !net_split(where, launcher->host, sizeof launcher->host, &launcher->port, error))
        return false;
    const char *token = getenv("STEPTOP_TOKEN");
    launcher->secret = token && token[0];
    if (launcher->secret && strlen(token) >= sizeof launcher->token)
        return error_set(error, ERROR_USAGE, "STEPTOP_TOKEN has more than %zu characters", sizeof launcher->token - 1);
    if (launcher->secret) {
        snprintf(launcher->token, sizeof launcher->token, "%s", token);
        return true;
    }
    const char *run[2];
    for (int i = 0; i < 2; i++)
        run[i] = launchers[which].run[i] && getenv(launchers[which].run[i]) ? getenv(launchers[which].run[i]) : "";
    snprintf(launcher->token, sizeof launcher->token, "%s %.100s %.100s %u", launcher->name, run[0], run[1],
             launcher->port);
    return true;
}
