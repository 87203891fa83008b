#include "cli/probe.h"
#include "base/clock.h"
#include "base/processes.h"
#include "base/system.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROBE_SECONDS 30

struct answer {
    bool found;
    int count;
    struct error error;
    struct device_info infos[PROBE_DEVICES_MAX];
};

static void ask(const char *class_name, struct answer *answer)
{
    int index;
    const struct device_class *class = device_find(class_name, &index, &answer->error);
    answer->found = class && class->enumerate(answer->infos, PROBE_DEVICES_MAX, &answer->count, &answer->error);
}

/* Reads all of `bytes` until the other end closes or the time is over. */
static size_t read_answer(int fd, void *bytes, size_t size)
{
    const uint64_t end = clock_now() + PROBE_SECONDS * 1000000000ull;
    size_t used = 0;
    while (used < size) {
        const uint64_t now = clock_now();
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        const int ready = now < end ? poll(&wait, 1, (int)((end - now) / 1000000 + 1)) : 0;
        if (ready < 0 && errno == EINTR)
            continue;
        const ssize_t got = ready > 0 ? read(fd, (char *)bytes + used, size - used) : 0;
        if (got <= 0)
            break;
        used += (size_t)got;
    }
    return used;
}

bool probe_class(const char *class_name, struct device_info *infos, int *count, struct error *error)
{
    struct answer answer = {0};
    int ends[2];
    if (!pipe_make(ends))
        return error_set(error, ERROR_SYSTEM, "cannot ask for devices: %s", strerror(errno));
    const pid_t child = fork();
    const int failure = errno;
    if (child == 0) {
        close(ends[0]);
        ask(class_name, &answer);
        size_t used = 0;
        for (ssize_t put;
             used < sizeof answer && (put = write(ends[1], (char *)&answer + used, sizeof answer - used)) > 0;)
            used += (size_t)put;
        _exit(0);
    }
    close(ends[1]);
    if (child < 0) {
        close(ends[0]);
        return error_no_process(error, "cannot ask for devices", failure);
    }
    const bool whole = read_answer(ends[0], &answer, sizeof answer) == sizeof answer;
    close(ends[0]);
    int status = 0;
    if (!whole)
        kill(child, SIGKILL);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (!whole)
        return error_set(error, ERROR_DEVICE, "looking for %s devices ended without an answer (the driver %s)",
                         class_name,
                         WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL ? "crashed" : "did not come back");
    if (!answer.found) {
        *error = answer.error;
        return false;
    }
    *count = answer.count;
    memcpy(infos, answer.infos, sizeof answer.infos);
    return true;
}

bool probe_device(const char *name, struct device_info *info, struct error *error)
{
    struct device_info infos[PROBE_DEVICES_MAX];
    char class_name[DEVICE_NAME_MAX];
    int count = 0;
    const char *colon = strchr(name, ':');
    snprintf(class_name, sizeof class_name, "%.*s", (int)strcspn(name, ":"), name);
    if (!probe_class(class_name, infos, &count, error))
        return false;
    for (int i = 0; i < count; i++) {
        if (strcmp(infos[i].name, name) == 0 || (!colon && i == 0) || (colon && strcmp(colon, ":0") == 0 && i == 0)) {
            *info = infos[i];
            return true;
        }
    }
    return error_set(error, ERROR_DEVICE, "there is no device '%s'; of %s there are %d", name, class_name, count);
}
