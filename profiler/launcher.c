#include "profiler/launcher.h"
#include "base/launcher.h"
#include "base/net.h"
#include "kernels/communicator.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PORT 29701 /* where nothing says another: next to torchrun's, which begins at 29500 */

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
static bool find_first(struct launcher *launcher, const struct launcher_variables *its, struct error *error)
{
    const char *address = getenv("MASTER_ADDR"), *nodes = its->nodes ? getenv(its->nodes) : NULL;
    if (address && address[0] && strlen(address) < sizeof launcher->host)
        snprintf(launcher->host, sizeof launcher->host, "%s", address);
    else if (launcher->local_world == launcher->world)
        snprintf(launcher->host, sizeof launcher->host, "127.0.0.1");
    else if (!nodes || !launcher_first_host(nodes, launcher->host, sizeof launcher->host))
        return error_set(
            error, ERROR_USAGE,
            "%s does not say where rank 0 is: --join HOST:PORT, the same for all, with a host that all reach "
            "rank 0 at",
            launcher->name);
    return true;
}

static bool is_there(const struct launcher_variables *its)
{
    return getenv(its->rank) && getenv(its->world) && (!its->also || getenv(its->also));
}

bool launcher_read(const char *where, struct launcher *launcher, struct error *error)
{
    size_t which = 0, count;
    const struct launcher_variables *all = launchers(&count);
    while (which < count && !is_there(&all[which]))
        which++;
    const struct launcher_variables *its = &all[which < count ? which : 0];
    *launcher = (struct launcher){.name = which < count ? its->launcher : "", .local_world = 1, .port = PORT};
    if (which == count)
        return error_set(
            error, ERROR_USAGE,
            "--join is for a steptop that torchrun, mpirun or srun started, and none of their variables is "
            "set: RANK, WORLD_SIZE and MASTER_ADDR; OMPI_COMM_WORLD_RANK; SLURM_PROCID of a step; PMI_RANK");
    if (!number(its->world, 1, COMMUNICATOR_MAX_RANKS, &launcher->world, error) ||
        !number(its->rank, 0, launcher->world - 1, &launcher->rank, error))
        return false;
    if (getenv(its->local_world) && !number(its->local_world, 1, launcher->world, &launcher->local_world, error))
        return false;
    if (getenv(its->local) && !number(its->local, 0, COMMUNICATOR_MAX_RANKS - 1, &launcher->local, error))
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
            ? !find_first(launcher, its, error)
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
        run[i] = its->run[i] && getenv(its->run[i]) ? getenv(its->run[i]) : "";
    snprintf(launcher->token, sizeof launcher->token, "%s %.100s %.100s %u", launcher->name, run[0], run[1],
             launcher->port);
    return true;
}
