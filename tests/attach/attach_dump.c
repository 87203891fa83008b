/* attach_dump [--steps N] [--skip N] [--layers] COMMAND…: runs a command under steptop's library and prints what came, for the tests and
 * for golden lists: notes, counts, and a line for each scope, phase and op with its number of records. Exits as the command did. */
#include "base/clock.h"
#include "base/unknown.h"
#include "profiler/attach.h"
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_rank(const struct rank *rank)
{
    struct aggregate_counts counts;
    aggregate_counts(rank->aggregate, &counts);
    printf("rank %u: %llu records, %llu lost, %llu invalid, %llu dropped, %zu scopes, %zu places, %zu samples\n",
           rank->index, (unsigned long long)counts.records, (unsigned long long)counts.lost,
           (unsigned long long)counts.invalid, (unsigned long long)rank->dropped, rank->places.scopes.count,
           rank->places.list.count, rank->samples.count);
    unsigned kinds[STEP_KIND_COUNT] = {0};
    for (size_t i = 0; i < rank->samples.count; i++)
        kinds[rank->samples.items[i].kind]++;
    printf("rank %u: steps: %u warm-up, %u timed, %u profiled\n", rank->index, kinds[STEP_WARMUP], kinds[STEP_TIMED],
           kinds[STEP_PROFILED]);
    size_t count;
    const struct entry *entries = aggregate_entries(rank->aggregate, &count);
    for (size_t i = 0; i < count; i++) {
        const struct place *place = places_at(&rank->places, entries[i].place);
        printf(
            "rank %u|%s|%s|%s|%s|%llu|%.3f\n", rank->index,
            place->scope >= 0 ? rank->places.scopes.items[place->scope].path : "-", phase_name(place->phase),
            kernel_class_name(place->kernel_class), aggregate_name_text(rank->aggregate, entries[i].name),
            (unsigned long long)(entries[i].time.n + entries[i].warmup.n),
            (entries[i].time.mean * (double)entries[i].time.n + entries[i].warmup.mean * (double)entries[i].warmup.n) /
                1e6);
    }
}

int main(int argc, char **argv)
{
    struct error error = {0};
    struct attach_options options = {0};
    int at = 1;
    for (; at < argc && strncmp(argv[at], "--", 2) == 0; at++)
        if (strcmp(argv[at], "--layers") == 0)
            options.layers_only = true;
        else if (strcmp(argv[at], "--through") == 0)
            options.through = true;
        else if (strcmp(argv[at], "--steps") == 0 && at + 1 < argc)
            options.steps = (uint32_t)atoi(argv[++at]);
        else if (strcmp(argv[at], "--skip") == 0 && at + 1 < argc)
            options.skip = (uint32_t)atoi(argv[++at]);
    options.command = (const char *const *)argv + at;
    options.library = getenv("STEPTOP_TEST_LIBRARY");
    options.python_folder = getenv("STEPTOP_TEST_PYTHON");
    if (at >= argc || !options.library || !options.python_folder)
        return 2;
    struct session *session = session_create(&(struct session_options){.program = "/proc/self/exe"}, &error);
    if (!session || !session_attach(session, &options, &error)) {
        fprintf(stderr, "attach_dump: %s\n", error.text);
        return 2;
    }
    while (!session_idle(session)) {
        struct pollfd fds[512];
        int timeout;
        const int count = session_poll(session, fds, 512, &timeout);
        poll(fds, (nfds_t)count, timeout);
        session_step(session);
    }
    const struct run *run = session_run(session, 0);
    printf("status %s: %s\n", status_name(run->status), run->reason);
    for (size_t i = 0; i < session_log_count(session); i++)
        printf("log %s: %s\n", session_log(session, i)->is_error ? "stderr" : "stdout", session_log(session, i)->text);
    for (size_t i = 0; i < run->notes.count; i++)
        printf("note %s: %s\n", run->notes.items[i].key, run->notes.items[i].text);
    for (size_t i = 0; i < run->ranks.count; i++)
        print_rank(run->ranks.items[i]);
    const int code = session_command_exit(session);
    session_free(session);
    return code < 0 ? 2 : code;
}
