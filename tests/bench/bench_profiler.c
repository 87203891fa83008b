/* How fast records travel and what profiling costs. Usage: bench_profiler [ring|aggregate|latency|overhead MODEL STEPS …] */
#include "base/clock.h"
#include "base/unknown.h"
#include "profiler/ring.h"
#include "profiler/session.h"
#include "worker/worker.h"
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const struct places no_places; /* records may come before their places */

static double processor_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* One process pushes `total` records, this one takes them. The producer waits where a real one would drop, so that the
 * figure is what the ring carries, and says how often. */
static void bench_ring(void)
{
    const uint64_t total = 10000000;
    struct error error = {0};
    struct ring *ring = ring_create(1u << 17, &error);
    static struct record batch[4096];
    if (!ring) {
        fprintf(stderr, "%s\n", error.text);
        return;
    }
    const uint64_t start = clock_now();
    const pid_t child = fork();
    if (child == 0) {
        struct ring *mine = ring_attach(dup(ring_fd(ring)), &error);
        for (uint64_t i = 0; mine && i < total; i++) {
            struct record record = {.start = i + 1, .end = i + 2, .launch = i + 1, .name = (uint32_t)i};
            while (!ring_push(mine, &record))
                sched_yield();
        }
        _exit(mine ? 0 : 1);
    }
    uint64_t received = 0, wrong = 0;
    uint32_t last = 0;
    while (received < total) {
        const size_t count = ring_drain(ring, batch, 4096);
        for (size_t i = 0; i < count; i++) {
            wrong += received + i > 0 && batch[i].name != last + 1;
            last = batch[i].name;
        }
        received += count;
        if (!count)
            sched_yield();
    }
    const double seconds = (double)(clock_now() - start) / 1e9;
    int status;
    waitpid(child, &status, 0);
    printf("ring across two processes: %.1f M records/s (%.0f M in %.2f s, %llu out of order), goal 10\n",
           (double)total / seconds / 1e6, (double)total / 1e6, seconds, (unsigned long long)wrong);

    ring_close(ring);
    if (!(ring = ring_create(1u << 17, &error)))
        return;
    const uint64_t own = 2000000;
    double push = 0, drain = 0;
    for (uint64_t done = 0; done < own;) {
        const uint64_t a = clock_now();
        for (int i = 0; i < 100000; i++) {
            struct record record = {.start = done + 1, .end = done + 2, .launch = done + 1, .name = (uint32_t)i};
            ring_push(ring, &record);
        }
        const uint64_t b = clock_now();
        size_t got = 0, count;
        while ((count = ring_drain(ring, batch, 4096)))
            got += count;
        drain += (double)(clock_now() - b);
        push += (double)(b - a);
        done += got;
    }
    printf("ring in one process: push %.1f ns, drain %.1f ns a record\n", push / (double)own, drain / (double)own);
    ring_close(ring);
}

/* Records of a step of `kernels` kernels, round and round, as a run sends them. */
static void bench_aggregate(void)
{
    static const uint32_t sizes[] = {400, 1600, 10000};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        const uint32_t kernels = sizes[s];
        struct record *step = calloc(kernels, sizeof *step);
        struct aggregate *aggregate = aggregate_create(1u << 16, &no_places);
        if (!step || !aggregate)
            return;
        uint64_t at = 1000000000;
        uint32_t sequence = 0;
        double seconds = 0;
        const uint64_t total = 8000000;
        uint64_t added = 0;
        for (uint32_t round = 0; added < total; round++) {
            for (uint32_t i = 0; i < kernels; i++) {
                const uint64_t length = 900 + (i * 7919 + round * 104729) % 50000;
                step[i] = (struct record){.start = at,
                                          .end = at + length,
                                          .launch = at,
                                          .place = (int32_t)i,
                                          .name = i % 97,
                                          .step = round,
                                          .sequence = sequence++,
                                          .pass = PASS_FWD_BWD};
                at += length + 100;
            }
            const double before = processor_seconds();
            aggregate_add(aggregate, step, kernels);
            seconds += processor_seconds() - before;
            added += kernels;
        }
        printf("aggregate, %5u kernels a step: %.1f ns a record, so 1 M records/s are %.1f %% of a core\n", kernels,
               seconds / (double)added * 1e9, seconds / (double)added * 1e8);
        aggregate_free(aggregate);
        free(step);
    }
}

static bool step_session(struct session *session)
{
    struct pollfd fds[16];
    int timeout;
    const int count = session_poll(session, fds, 16, &timeout);
    poll(fds, (nfds_t)count, timeout < 0 ? 100 : timeout);
    return session_step(session);
}

static int compare(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static struct cell cell_of(const char *model, uint32_t steps)
{
    struct cell cell;
    struct error error = {0};
    cell_default(&cell);
    if (!model_preset_find(model, &cell.model, &error)) {
        fprintf(stderr, "%s\n", error.text);
        exit(2);
    }
    cell.steps = steps;
    return cell;
}

/* From a kernel's end to the moment when its record is in the totals, as an idle front sees it. */
static void bench_latency(const char *program)
{
    struct error error = {0};
    const struct session_options options = {.program = program};
    struct session *session = session_create(&options, &error);
    struct cell cell = cell_of("tiny", STEPS_FOREVER);
    cell.context_length = 64;
    const uint32_t id = session_add(session, &cell);
    static uint64_t late[1 << 16];
    static struct record recent[1 << 12];
    size_t count = 0;
    uint64_t seen = 0, end = 0;
    const double processor = processor_seconds();
    uint64_t from = 0;
    while (!session_idle(session) && (!end || clock_now() < end)) {
        step_session(session);
        const uint64_t now = clock_now();
        const struct run *run = session_find(session, id);
        struct aggregate_counts counts;
        aggregate_counts(run_lead(run)->aggregate, &counts);
        if (counts.records > seen) {
            if (!end) {
                end = now + 5000000000u;
                from = now;
            }
            const size_t fresh = counts.records - seen < 4096 ? (size_t)(counts.records - seen) : 4096;
            const size_t got = aggregate_recent(run_lead(run)->aggregate, recent, fresh);
            for (size_t i = 0; i < got && count < sizeof late / sizeof *late; i++)
                late[count++] = now - recent[i].end;
            seen = counts.records;
        }
    }
    const double share = (processor_seconds() - processor) / ((double)(clock_now() - from) / 1e9);
    qsort(late, count, sizeof *late, compare);
    if (count)
        printf("kernel end to totals: median %.1f ms, p99 %.1f ms, max %.1f ms of %zu kernels (goal p99 250 to the "
               "screen); "
               "the session takes %.2f %% of a core\n",
               (double)late[count / 2] / 1e6, (double)late[count * 99 / 100] / 1e6, (double)late[count - 1] / 1e6,
               count, share * 100);
    session_free(session);
}

/* Profiled over timed steps of one run, pair by pair, as the report has it. */
static void bench_overhead(const char *program, const char *model, uint32_t steps)
{
    struct error error = {0};
    const struct session_options options = {.program = program};
    struct session *session = session_create(&options, &error);
    struct cell cell = cell_of(model, steps);
    cell.passes = PASS_BIT(PASS_FWD_BWD);
    const uint32_t id = session_add(session, &cell);
    while (!session_idle(session))
        step_session(session);
    const struct run *run = session_find(session, id);
    uint64_t *timed = calloc(steps, sizeof *timed), *profiled = calloc(steps, sizeof *profiled), wall = 0;
    size_t a = 0, b = 0;
    for (size_t i = 0; i < run_lead(run)->samples.count; i++) {
        const struct sample *sample = &run_lead(run)->samples.items[i];
        if (sample->kind == STEP_TIMED && a < steps)
            timed[a++] = sample->wall_ns;
        if (sample->kind == STEP_PROFILED && b < steps) {
            profiled[b++] = sample->wall_ns;
            wall += sample->wall_ns;
        }
    }
    struct ratio ratio;
    struct summary summary;
    struct step_cover cover;
    ratio_of_pairs(profiled, timed, a < b ? a : b, &ratio);
    summary_of(timed, a, &summary);
    aggregate_cover(run_lead(run)->aggregate, PASS_FWD_BWD, &cover);
    printf("overhead on %s: %s %s, profiled/timed %.4f [%.4f, %.4f] of %zu pairs, step %.1f ms, kernels cover %.2f %% "
           "of the "
           "profiled wall (goal: overhead 1.01)\n",
           model, status_name(run->status), run->reason, ratio.median, ratio.low, ratio.high, a < b ? a : b,
           summary.median / 1e6, wall ? 100.0 * (double)cover.busy_ns / (double)wall : UNKNOWN_DOUBLE);
    free(timed);
    free(profiled);
    session_free(session);
}

int main(int argc, char **argv)
{
    char folder[] = STEPTOP_BINARY; /* the devices lie beside it */
    *strrchr(folder, '/') = 0;
    setenv("STEPTOP_PLUGIN_FOLDER", folder, 0);
    if (argc == 4 && strcmp(argv[1], "worker") == 0)
        return worker_main(atoi(argv[2]), atoi(argv[3]));
    setvbuf(stdout, NULL, _IOLBF, 0);
    const char *what = argc > 1 ? argv[1] : "all";
    const bool all = strcmp(what, "all") == 0;
    if (all || strcmp(what, "ring") == 0)
        bench_ring();
    if (all || strcmp(what, "aggregate") == 0)
        bench_aggregate();
    if (all || strcmp(what, "latency") == 0)
        bench_latency("/proc/self/exe");
    if (all || strcmp(what, "overhead") == 0)
        bench_overhead("/proc/self/exe", argc > 2 ? argv[2] : "S", argc > 3 ? (uint32_t)atoi(argv[3]) : 10);
    return 0;
}
