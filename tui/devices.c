#include "tui/devices.h"
#include "base/clock.h"
#include "base/processes.h"
#include "base/strbuf.h"
#include "base/system.h"
#include "base/unknown.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ANSWER_LIMIT 65536
#define PATIENCE_NS 5000000000u

extern char **environ;

/* The next CSV field of *text into `field`; false at the end of the line. Quotes as RFC 4180. */
static bool csv_field(const char **text, char *field, size_t size)
{
    const char *c = *text;
    size_t used = 0;
    if (*c == 0 || *c == '\n')
        return false;
    const bool quoted = *c == '"';
    c += quoted;
    while (*c && (quoted || (*c != ',' && *c != '\n' && *c != '\r'))) {
        if (quoted && *c == '"') {
            if (c[1] != '"')
                break;
            c++;
        }
        if (used + 1 < size)
            field[used++] = *c;
        c++;
    }
    field[used] = 0;
    c += quoted && *c == '"';
    c += *c == '\r';
    c += *c == ',';
    *text = c;
    return true;
}

static double number_or_unknown(const char *text)
{
    char *end;
    const double value = strtod(text, &end);
    return end == text || *end ? UNKNOWN_DOUBLE : value;
}

static void set_field(struct device_listing *device, const char *column, const char *value)
{
    if (strcmp(column, "name") == 0)
        snprintf(device->name, sizeof device->name, "%.31s", value);
    else if (strcmp(column, "model") == 0)
        snprintf(device->model, sizeof device->model, "%.95s", value);
    else if (strcmp(column, "architecture") == 0)
        snprintf(device->architecture, sizeof device->architecture, "%.31s", value);
    else if (strcmp(column, "units") == 0)
        snprintf(device->units, sizeof device->units, "%.15s", value);
    else if (strcmp(column, "precisions") == 0)
        snprintf(device->precisions, sizeof device->precisions, "%.63s", value);
    else if (strcmp(column, "memory_bytes") == 0)
        device->memory_bytes = number_or_unknown(value);
    else if (strcmp(column, "free_bytes") == 0)
        device->free_bytes = number_or_unknown(value);
    else if (strcmp(column, "status") == 0)
        device->available = strcmp(value, "ok") == 0 || strcmp(value, "available") == 0;
    else if (strcmp(column, "reason") == 0)
        snprintf(device->reason, sizeof device->reason, "%.399s", value);
}

int devices_parse(const char *csv, struct device_listing *listings, int max, struct error *error)
{
    char columns[16][32], field[512];
    int column_count = 0, count = 0;
    while (column_count < 16 && csv_field(&csv, columns[column_count], sizeof columns[0]))
        column_count++;
    if (column_count == 0 || strcmp(columns[0], "name") != 0) {
        error_set(error, ERROR_INTERNAL, "the list of devices does not begin with its column names");
        return -1;
    }
    csv += *csv == '\n';
    while (*csv && count < max) {
        struct device_listing *device = &listings[count];
        *device = (struct device_listing){.memory_bytes = UNKNOWN_DOUBLE, .free_bytes = UNKNOWN_DOUBLE};
        for (int i = 0; csv_field(&csv, field, sizeof field); i++)
            if (i < column_count)
                set_field(device, columns[i], field);
        csv += *csv == '\n';
        count += device->name[0] != 0;
    }
    return count;
}

static pid_t spawn_listing(int output, struct error *error)
{
    char *const arguments[] = {"steptop", "devices", "--format", "csv", NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    char program[PATH_MAX];
    pid_t child = -1;
    sigset_t none;
    sigemptyset(&none);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    const int failed =
        posix_spawn(&child, program_self(program, sizeof program), &actions, &attributes, arguments, environ);
    if (failed) {
        error_no_process(error, "cannot ask for the devices", failed);
        child = -1;
    }
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return child;
}

bool devices_start(struct devices_query *query, struct error *error)
{
    int ends[2];
    if (!pipe_make(ends)) {
        error_set(error, ERROR_SYSTEM, "cannot ask for the devices: %s", strerror(errno));
        return false;
    }
    const pid_t child = spawn_listing(ends[1], error);
    close(ends[1]);
    if (child < 0) {
        close(ends[0]);
        return false;
    }
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    *query = (struct devices_query){.child = child, .output = ends[0], .deadline = clock_now() + PATIENCE_NS};
    return true;
}

bool devices_asked(const struct devices_query *query)
{
    return query->child > 0;
}

/* The child is killed unless it has ended; one that a driver holds in the kernel stays, and is nobody's business then. */
void devices_cancel(struct devices_query *query)
{
    if (!devices_asked(query))
        return;
    if (waitpid(query->child, NULL, WNOHANG) == 0) {
        kill(query->child, SIGKILL);
        for (int i = 0; i < 50 && waitpid(query->child, NULL, WNOHANG) == 0; i++)
            poll(NULL, 0, 1);
    }
    close(query->output);
    strbuf_release(&query->answer);
    *query = (struct devices_query){.child = 0};
}

bool devices_step(struct devices_query *query, struct device_listing *listings, int max, int *count,
                  struct error *error)
{
    char block[4096];
    ssize_t got;
    while ((got = read(query->output, block, sizeof block)) > 0 && query->answer.length < ANSWER_LIMIT)
        strbuf_add(&query->answer, block, (size_t)got);
    const bool finished = got == 0;
    if (!finished && query->answer.length < ANSWER_LIMIT && clock_now() < query->deadline)
        return false;
    *count = -1;
    if (!finished)
        error_set(error, ERROR_DEVICE, "listing the devices took longer than 5 s; a driver hangs");
    else if (!query->answer.text)
        error_set(error, ERROR_DEVICE, "listing the devices ended without an answer");
    else
        *count = devices_parse(query->answer.text, listings, max, error);
    devices_cancel(query);
    return true;
}
