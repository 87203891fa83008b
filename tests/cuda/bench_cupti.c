/* What profiling on a card costs, in one call; and recordings of activity buffers for the replay test.
 *
 * usage: bench_cupti figures [ROUNDS]                      all of them, each against its limit; exit 1 when one is missed
 *        bench_cupti measure none|idle|profiled MODEL bf16|tf32|fp32 eager|compile STEPS
 *        bench_cupti parts MODEL bf16|tf32|fp32 STEPS      where the cost of an eager step's profiling lies
 *        bench_cupti record FILE
 *
 * none and idle cannot be had in one process (a CUPTI that was loaded stays), so `figures` starts a process for each, in
 * turns, and compares medians. */
#include "gpu_run.h"
#include "recorded.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS_MAX 16

struct measured {
    double timed_ms, profiled_ms; /* medians; profiled 0 when not asked for */
};

/* Steps of forward and backward; with `profiled` each timed one is followed by a profiled one. */
static bool measure(const char *model, enum precision precision, bool compile, enum gpu_profiling profiling,
                    bool profiled, int steps, struct measured *measured, struct error *error)
{
    struct gpu_run run;
    struct step_times times;
    double *timed_ms = calloc((size_t)steps, sizeof *timed_ms),
           *profiled_ms = calloc((size_t)steps, sizeof *profiled_ms);
    if (!gpu_open_model(&run, model, precision, compile, profiling, error)) {
        free(timed_ms);
        free(profiled_ms);
        return false;
    }
    run.heard.keep = false;
    bool done = profiling == GPU_PLAIN || gpu_source(&run) || error_set(error, ERROR_DEVICE, "%s", run.heard.notes);
    for (int warmup = 0; warmup < 5 && done; warmup++)
        done = gpu_step(&run, PHASES_FWD_BWD, (uint64_t)warmup, profiled, &times, error);
    for (int i = 0; i < steps && done; i++) {
        done = gpu_step(&run, PHASES_FWD_BWD, 0, false, &times, error);
        timed_ms[i] = (double)(times.end - times.start) / 1e6;
        if (done && profiled) {
            done = gpu_step(&run, PHASES_FWD_BWD, (uint64_t)(100 + i), true, &times, error);
            profiled_ms[i] = (double)(times.end - times.start) / 1e6;
        }
    }
    if (done && profiling != GPU_PLAIN) {
        struct cupti_counts counts;
        gpu_flush(&run, error);
        cupti_source_counts(gpu_source(&run), &counts);
        fprintf(stderr,
                "  %llu launches, %llu records, %llu dropped, %llu invalid, %llu missing, longest flush %.2f ms\n",
                (unsigned long long)counts.launches, (unsigned long long)counts.records,
                (unsigned long long)counts.dropped, (unsigned long long)counts.invalid,
                (unsigned long long)counts.missing, (double)counts.longest_flush_ns / 1e6);
        fprintf(stderr, "%s", run.heard.notes);
    }
    measured->timed_ms = gpu_median(timed_ms, (size_t)steps);
    measured->profiled_ms = gpu_median(profiled_ms, (size_t)steps);
    gpu_close(&run);
    free(timed_ms);
    free(profiled_ms);
    return done;
}

/* The same in a process of its own. */
static bool measure_apart(const char *program, const char *mode, const char *model, const char *precision,
                          const char *compile, int steps, struct measured *measured)
{
    char command[1024];
    snprintf(command, sizeof command, "'%s' measure %s %s %s %s %d", program, mode, model, precision, compile, steps);
    FILE *child = popen(command, "r");
    bool read = child && fscanf(child, "%lf %lf", &measured->timed_ms, &measured->profiled_ms) == 2;
    int status = child ? pclose(child) : -1;
    if (!read || status != 0)
        fprintf(stderr, "%s: failed\n", command);
    return read && status == 0;
}

static bool figure(const char *what, double value, double limit)
{
    printf("%-46s %6.3f x   limit %.2f   %s\n", what, value, limit, value <= limit ? "ok" : "MISSED");
    return value <= limit;
}

static bool idle_figure(const char *program, const char *compile, int rounds)
{
    double ratios[ROUNDS_MAX];
    char what[96];
    struct measured none, idle;
    for (int i = 0; i < rounds; i++) {
        /* none first in even rounds, idle first in odd ones */
        const char *first = i % 2 ? "idle" : "none", *second = i % 2 ? "none" : "idle";
        if (!measure_apart(program, first, "S", "bf16", compile, 200, i % 2 ? &idle : &none) ||
            !measure_apart(program, second, "S", "bf16", compile, 200, i % 2 ? &none : &idle))
            return false;
        ratios[i] = idle.timed_ms / none.timed_ms;
    }
    snprintf(what, sizeof what, "S bf16 %s: CUPTI loaded and idle, %.3f ms", compile, idle.timed_ms);
    return figure(what, gpu_median(ratios, (size_t)rounds), 1.01);
}

static bool profiled_figure(const char *program, const char *precision, const char *compile, double limit)
{
    char what[96];
    struct measured both;
    if (!measure_apart(program, "profiled", "S", precision, compile, 100, &both))
        return false;
    snprintf(what, sizeof what, "S %s %s: profiled step, %.3f ms", precision, compile, both.profiled_ms);
    return figure(what, both.profiled_ms / both.timed_ms, limit);
}

static int figures(const char *program, int rounds)
{
    bool good = idle_figure(program, "compile", rounds);
    good = profiled_figure(program, "bf16", "compile", 1.15) && good;
    good = profiled_figure(program, "bf16", "eager", 1.10) && good;
    good = profiled_figure(program, "tf32", "eager", 1.10) && good;
    return good ? 0 : 1;
}

enum part { PART_OFF, PART_CALLBACKS, PART_KINDS, PART_BOTH, PART_WHOLE, PART_COUNT };

/* Eager steps with one part of the profiling on at a time, in turns; medians. */
static bool parts(const char *model, enum precision precision, int steps, struct error *error)
{
    static const char *const names[PART_COUNT] = {"off", "callbacks", "activity kinds", "both, outside a step", "all"};
    static const CUpti_ActivityKind kinds[] = {CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL, CUPTI_ACTIVITY_KIND_MEMCPY,
                                               CUPTI_ACTIVITY_KIND_MEMSET, CUPTI_ACTIVITY_KIND_SYNCHRONIZATION,
                                               CUPTI_ACTIVITY_KIND_OVERHEAD};
    struct gpu_run run;
    struct step_times times;
    double *ms = calloc((size_t)(steps * PART_COUNT), sizeof *ms);
    if (!gpu_open_model(&run, model, precision, false, GPU_PROFILED, error)) {
        free(ms);
        return false;
    }
    run.heard.keep = false;
    struct cupti_source *source = gpu_source(&run);
    bool done = source || error_set(error, ERROR_DEVICE, "%s", run.heard.notes);
    for (int i = -2; i < steps && done; i++)
        for (int part = 0; part < PART_COUNT && done; part++) {
            bool calls = part == PART_CALLBACKS || part == PART_BOTH, records = part == PART_KINDS || part == PART_BOTH;
            if (calls)
                cupti_launch_callbacks(source, true);
            for (size_t k = 0; records && k < sizeof kinds / sizeof *kinds; k++)
                source->api->enable(kinds[k]);
            done = gpu_step(&run, PHASES_FWD_BWD, (uint64_t)(i + 2), part == PART_WHOLE, &times, error);
            if (i >= 0)
                ms[part * steps + i] = (double)(times.end - times.start) / 1e6;
            if (part == PART_WHOLE)
                continue; /* the next step's quiet switches it off */
            for (size_t k = 0; records && k < sizeof kinds / sizeof *kinds; k++)
                source->api->disable(kinds[k]);
            if (calls)
                cupti_launch_callbacks(source, false);
            if (records)
                cupti_flush_ask(source, REQUEST_FLUSH);
        }
    for (int part = 0; part < PART_COUNT && done; part++)
        printf("%-24s %.3f ms\n", names[part], gpu_median(ms + part * steps, (size_t)steps));
    if (done && gpu_flush(&run, error) && run.heard.notes[0])
        printf("%s", run.heard.notes);
    gpu_close(&run);
    free(ms);
    return done;
}

/* One step as a graph and one on the stream of a small model, as the buffers came. */
static bool record(const char *path, struct error *error)
{
    struct gpu_run run;
    struct step_times times;
    struct recorder *recorder = recorder_create();
    bool done = gpu_open_model(&run, "tiny", PRECISION_FP32, true, GPU_PROFILED, error);
    if (!done) {
        recorder_free(recorder);
        return false;
    }
    struct cupti_source *source = gpu_source(&run);
    done = source || error_set(error, ERROR_DEVICE, "%s", run.heard.notes);
    if (done) {
        source->options.tap_context = recorder; /* the thread sleeps: nothing was traced yet */
        source->options.tap = recorder_tap;
        done =
            gpu_step(&run, PHASES_TRAIN_STEP, 1, true, &times, error) && /* a graph of exactly these phases */
            gpu_step(&run, PHASE_BIT(PHASE_FWD) | PHASE_BIT(PHASE_LOSS), 2, true, &times, error) && /* none: a stream */
            gpu_flush(&run, error) && recorder_write(recorder, source, path, error);
        source->options.tap = NULL;
    }
    gpu_close(&run);
    recorder_free(recorder);
    return done;
}

int main(int argc, char **argv)
{
    struct error error = {0};
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc >= 2 && !strcmp(argv[1], "figures")) {
        int rounds = argc > 2 ? atoi(argv[2]) : 3;
        return figures(argv[0], rounds < 1 ? 1 : rounds > ROUNDS_MAX ? ROUNDS_MAX : rounds);
    }
    if (argc == 3 && !strcmp(argv[1], "record")) {
        if (record(argv[2], &error))
            return 0;
        fprintf(stderr, "bench_cupti: %s\n", error.text);
        return 1;
    }
    enum precision precision;
    if (argc == 5 && !strcmp(argv[1], "parts") && precision_parse(argv[3], &precision)) {
        if (parts(argv[2], precision, atoi(argv[4]) > 0 ? atoi(argv[4]) : 1, &error))
            return 0;
        fprintf(stderr, "bench_cupti: %s\n", error.text);
        return 1;
    }
    if (argc != 7 || strcmp(argv[1], "measure") || !precision_parse(argv[4], &precision)) {
        fprintf(stderr, "usage: bench_cupti figures [ROUNDS] | record FILE | measure none|idle|profiled MODEL DTYPE "
                        "eager|compile STEPS\n");
        return 2;
    }
    struct measured measured = {0};
    bool plain = !strcmp(argv[2], "none"), profiled = !strcmp(argv[2], "profiled");
    int steps = atoi(argv[6]) > 0 ? atoi(argv[6]) : 1;
    if (!measure(argv[3], precision, !strcmp(argv[5], "compile"), plain ? GPU_PLAIN : GPU_PROFILED, profiled, steps,
                 &measured, &error)) {
        fprintf(stderr, "bench_cupti: %s\n", error.text);
        return 1;
    }
    printf("%.6f %.6f\n", measured.timed_ms, measured.profiled_ms);
    return 0;
}
