/* steptop worker CONTROL_FD RING_FD: the process that runs one cell; started by a session. With CONNECTION_FD it stands in for one on
 * another host. */
#include "worker/worker.h"
#include "cli/cli.h"
#include "profiler/stand_in.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

/* An open descriptor written in decimal, or -1. */
static int descriptor(const char *text)
{
    if (!text[0] || text[strspn(text, "0123456789")] || strlen(text) > 6)
        return -1;
    const int fd = atoi(text);
    return fcntl(fd, F_GETFD) < 0 ? -1 : fd;
}

int command_worker(const struct arguments *arguments)
{
    const int control = descriptor(arguments->positional[0]), ring = descriptor(arguments->positional[1]);
    const int connection = arguments->positional_count > 2 ? descriptor(arguments->positional[2]) : -1;
    if (control < 0 || ring < 0 || (arguments->positional_count > 2 && connection < 0)) {
        struct error error;
        error_set(&error, ERROR_USAGE, "worker is not for people: a run starts its workers itself");
        return fail(&error);
    }
    return connection < 0 ? worker_main(control, ring) : stand_in_main(control, ring, connection);
}
