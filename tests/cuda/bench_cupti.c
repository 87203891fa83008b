/* What profiling on a card costs, in one call; and recordings of activity buffers for the replay test.
 *
 * usage: bench_cupti figures                               all of them, each against its limit; exit 1 when one is missed
 *        bench_cupti parts MODEL bf16|tf32|fp32 ROUNDS [VARIANT]   where the cost of an eager step's profiling lies
 *        bench_cupti variants MODEL bf16|tf32|fp32 ROUNDS  the same whole cost for other buffers and periods
 *        bench_cupti record FILE
 *        bench_cupti serve none|idle MODEL DTYPE eager|compile STEPS       (for `figures`)
 *        bench_cupti profiled MODEL DTYPE eager|compile STEPS [VARIANT]    (for `figures` and `variants`)
 * VARIANT is plain or of buffer=KIB,period=MS,pinned,shared (bench_cupti_parts.h).
 *
 * A CUPTI that was loaded stays, so none and idle cannot be had in one process: `figures` keeps a process of each, which take
 * turns of a few steps, and compares turn by turn. */
#include "base/clock.h"
#include "bench_cupti_parts.h"
#include "gpu_run.h"
#include "profiler/statistics.h"
#include "recorded.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define TURNS 24      /* of a pair of processes */
#define TURN_STEPS 20 /* timed in a turn */
#define TURN_WARMUP 3 /* before them: the other process had the card */
#define PAIRS 4       /* of processes: how memory and code came to lie differs from one to the next */
#define PROFILED_PROCESSES 3

_Noreturn static void usage(void)
{
    fprintf(
        stderr,
        "usage: bench_cupti figures | parts MODEL DTYPE ROUNDS [VARIANT] | variants MODEL DTYPE ROUNDS | record FILE "
        "| serve none|idle MODEL DTYPE eager|compile STEPS | profiled MODEL DTYPE eager|compile STEPS [VARIANT]\n");
    exit(2);
}

static int failed(const struct error *error)
{
    fprintf(stderr, "bench_cupti: %s\n", error->text);
    return 1;
}

/* Answers each byte on standard input with the median of a turn's steps, in ns. */
static bool serve(bool idle, const char *model, enum precision precision, bool compile, int steps, struct error *error)
{
    struct gpu_run run;
    struct step_times times;
    uint64_t *ns = calloc((size_t)steps, sizeof *ns);
    char byte;
    if (!ns || !gpu_open_model(&run, model, precision, compile, idle ? GPU_PROFILED : GPU_PLAIN, error)) {
        free(ns);
        return false;
    }
    run.heard.keep = false;
    bool done = !idle || gpu_source(&run) || error_set(error, ERROR_DEVICE, "%s", run.heard.notes);
    for (int warmup = 0; warmup < 5 && done; warmup++) /* idle: after it was in use, as between profiled steps */
        done = gpu_step(&run, PHASES_FWD_BWD, (uint64_t)warmup, idle, &times, error);
    while (done && read(STDIN_FILENO, &byte, 1) == 1) {
        for (int i = -TURN_WARMUP; i < steps && done; i++) {
            done = gpu_step(&run, PHASES_FWD_BWD, 0, false, &times, error);
            if (i >= 0)
                ns[i] = times.end - times.start;
        }
        struct summary summary;
        summary_of(ns, (size_t)steps, &summary);
        printf("%.0f\n", summary.median);
        fflush(stdout);
    }
    gpu_close(&run);
    free(ns);
    return done;
}

struct server {
    pid_t process;
    int ask;
    FILE *answers;
};

static bool server_start(struct server *server, const char *mode, const char *precision, const char *compile)
{
    int ask[2], answer[2];
    char steps[16];
    snprintf(steps, sizeof steps, "%d", TURN_STEPS);
    if (pipe2(ask, O_CLOEXEC) != 0 || pipe2(answer, O_CLOEXEC) != 0)
        return false;
    server->process = fork();
    if (server->process == 0) {
        dup2(ask[0], STDIN_FILENO);
        dup2(answer[1], STDOUT_FILENO);
        execl("/proc/self/exe", "bench_cupti", "serve", mode, "S", precision, compile, steps, (char *)NULL);
        _exit(127);
    }
    close(ask[0]);
    close(answer[1]);
    server->ask = ask[1];
    server->answers = fdopen(answer[0], "r");
    return server->process > 0 && server->answers;
}

static uint64_t server_turn(struct server *server)
{
    double ns = 0;
    if (write(server->ask, "t", 1) != 1 || fscanf(server->answers, "%lf", &ns) != 1)
        return 0;
    return (uint64_t)ns;
}

static bool server_stop(struct server *server)
{
    int status = -1;
    close(server->ask);
    fclose(server->answers);
    waitpid(server->process, &status, 0);
    return status == 0;
}

static bool figure(const char *what, const struct ratio *ratio, double limit)
{
    printf("%-46s %6.3f x   limit %.2f   %s   95 %% [%.3f, %.3f] of %llu\n", what, ratio->median, limit,
           ratio->median <= limit ? "ok" : "MISSED", ratio->low, ratio->high, (unsigned long long)ratio->n);
    return ratio->median <= limit;
}

static bool idle_figure(const char *precision, const char *compile)
{
    uint64_t idle[PAIRS * TURNS], none[PAIRS * TURNS];
    char what[96];
    struct ratio ratio, all;
    for (int pair = 0; pair < PAIRS; pair++) {
        struct server servers[2] = {{0}};
        uint64_t *const turns[2] = {none + pair * TURNS, idle + pair * TURNS};
        bool good = server_start(&servers[0], "none", precision, compile) &&
                    server_start(&servers[1], "idle", precision, compile);
        for (int turn = -1; turn < TURNS && good;
             turn++) /* the first, while one may still be opening, is not counted */
            for (int i = 0; i < 2 && good; i++) {
                int which = (i + turn + pair) & 1;
                uint64_t ns = server_turn(&servers[which]);
                good = ns > 0;
                if (turn >= 0)
                    turns[which][turn] = ns;
            }
        for (int i = 0; i < 2; i++)
            if (servers[i].process > 0)
                good = server_stop(&servers[i]) && good;
        if (!good) {
            fprintf(stderr, "idle %s %s: a process failed\n", precision, compile);
            return false;
        }
        ratio_of_pairs(turns[1], turns[0], TURNS, &ratio);
        printf("  S %s %s idle, processes %d: %.4f x [%.4f, %.4f]\n", precision, compile, pair + 1, ratio.median,
               ratio.low, ratio.high);
    }
    ratio_of_pairs(idle, none, PAIRS * TURNS, &all);
    snprintf(what, sizeof what, "S %s %s: CUPTI loaded and idle", precision, compile);
    return figure(what, &all, 1.01);
}

/* Timed and profiled steps in turns: the pairs on standard output, one a line, in ns. */
static bool profiled(const char *model, enum precision precision, bool compile, const struct source_variant *variant,
                     int steps, struct error *error)
{
    struct gpu_run run;
    struct step_times timed, traced;
    if (compile ? !gpu_open_model(&run, model, precision, true, GPU_PROFILED, error)
                : !source_variant_open(&run, model, precision, variant, error))
        return false;
    run.heard.keep = false;
    bool done = gpu_source(&run) || error_set(error, ERROR_DEVICE, "%s", run.heard.notes);
    for (int i = -5; i < steps && done; i++) {
        done = gpu_step(&run, PHASES_FWD_BWD, 0, false, &timed, error) &&
               gpu_step(&run, PHASES_FWD_BWD, (uint64_t)(i + 6), true, &traced, error);
        if (done && i >= 0)
            printf("%llu %llu\n", (unsigned long long)(timed.end - timed.start),
                   (unsigned long long)(traced.end - traced.start));
    }
    struct cupti_counts counts;
    done = done && gpu_flush(&run, error);
    cupti_source_counts(gpu_source(&run), &counts);
    fprintf(stderr,
            "  %llu launches, %llu records, %llu dropped, %llu invalid, %llu missing, longest flush %.2f ms\n%s",
            (unsigned long long)counts.launches, (unsigned long long)counts.records, (unsigned long long)counts.dropped,
            (unsigned long long)counts.invalid, (unsigned long long)counts.missing,
            (double)counts.longest_flush_ns / 1e6, run.heard.notes);
    gpu_close(&run);
    return done;
}

/* The same in a process of its own; returns the pairs it got. */
static size_t profiled_apart(const char *model, const char *precision, const char *compile, const char *variant,
                             int steps, uint64_t *timed, uint64_t *traced)
{
    char command[1024], self[512];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    self[length > 0 ? length : 0] = '\0';
    snprintf(command, sizeof command, "'%s' profiled %s %s %s %d %s", self, model, precision, compile, steps, variant);
    FILE *child = popen(command, "r");
    size_t count = 0;
    unsigned long long a, b;
    while (child && count < (size_t)steps && fscanf(child, "%llu %llu", &a, &b) == 2) {
        timed[count] = a;
        traced[count++] = b;
    }
    if (!child || pclose(child) != 0 || count < (size_t)steps) {
        fprintf(stderr, "%s: failed\n", command);
        return 0;
    }
    return count;
}

static bool profiled_figure(const char *precision, const char *compile, double limit)
{
    enum { STEPS = 60 };
    uint64_t timed[PROFILED_PROCESSES * STEPS], traced[PROFILED_PROCESSES * STEPS];
    struct ratio ratio;
    char what[96];
    for (int i = 0; i < PROFILED_PROCESSES; i++) {
        if (!profiled_apart("S", precision, compile, "plain", STEPS, timed + i * STEPS, traced + i * STEPS))
            return false;
        ratio_of_pairs(traced + i * STEPS, timed + i * STEPS, STEPS, &ratio);
        printf("  S %s %s profiled, process %d: %.4f x [%.4f, %.4f]\n", precision, compile, i + 1, ratio.median,
               ratio.low, ratio.high);
    }
    ratio_of_pairs(traced, timed, PROFILED_PROCESSES * STEPS, &ratio);
    snprintf(what, sizeof what, "S %s %s: profiled step", precision, compile);
    return figure(what, &ratio, limit);
}

static int figures(void)
{
    bool good = idle_figure("bf16", "compile");
    good = idle_figure("bf16", "eager") && good;
    good = profiled_figure("bf16", "compile", 1.15) && good;
    good = profiled_figure("bf16", "eager", 1.10) && good;
    good = profiled_figure("tf32", "eager", 1.10) && good;
    return good ? 0 : 1;
}

/* Whole profiled eager steps with other buffers and periods, process by process, each `rounds` times in turn. */
static int variants(const char *model, const char *precision, int rounds)
{
    static const char *const names[] = {"plain",      "buffer=128", "buffer=2048", "buffer=8192",
                                        "period=100", "pinned",     "shared",      "pinned,buffer=2048"};
    enum { COUNT = sizeof names / sizeof *names, STEPS = 30 };
    size_t size = (size_t)rounds * STEPS;
    uint64_t *timed = calloc(size * COUNT, sizeof *timed), *traced = calloc(size * COUNT, sizeof *traced);
    bool good[COUNT];
    memset(good, 1, sizeof good);
    for (int round = 0; round < rounds && timed && traced; round++)
        for (int i = 0; i < COUNT; i++) {
            int which = (round + i) % COUNT;
            size_t at = (size_t)which * size + (size_t)round * STEPS;
            good[which] =
                profiled_apart(model, precision, "eager", names[which], STEPS, timed + at, traced + at) && good[which];
        }
    for (int i = 0; i < COUNT && timed && traced; i++) {
        struct ratio ratio;
        if (!good[i])
            continue;
        ratio_of_pairs(traced + (size_t)i * size, timed + (size_t)i * size, size, &ratio);
        printf("%-24s %6.3f x [%.3f, %.3f] of %llu\n", names[i], ratio.median, ratio.low, ratio.high,
               (unsigned long long)ratio.n);
    }
    free(timed);
    free(traced);
    return 0;
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
    enum precision precision;
    struct source_variant variant;
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGPIPE, SIG_IGN);
    if (argc == 2 && !strcmp(argv[1], "figures"))
        return figures();
    if (argc == 3 && !strcmp(argv[1], "record"))
        return record(argv[2], &error) ? 0 : failed(&error);
    const char *dtype = argc > 3 ? argv[!strcmp(argv[1], "serve") ? 4 : 3] : NULL;
    if (!dtype || !precision_parse(dtype, &precision))
        usage();
    const char *wanted = argc == 6 && !strcmp(argv[1], "parts")      ? argv[5]
                         : argc == 7 && !strcmp(argv[1], "profiled") ? argv[6]
                                                                     : "plain";
    if (!source_variant_parse(wanted, &variant))
        usage();
    if (argc >= 5 && argc <= 6 && !strcmp(argv[1], "parts"))
        return parts_print(argv[2], precision, &variant, atoi(argv[4]) > 0 ? atoi(argv[4]) : 1, &error)
                   ? 0
                   : failed(&error);
    if (argc == 5 && !strcmp(argv[1], "variants"))
        return variants(argv[2], argv[3], atoi(argv[4]) > 0 ? atoi(argv[4]) : 1);
    if (argc == 7 && !strcmp(argv[1], "serve") && atoi(argv[6]) > 0)
        return serve(!strcmp(argv[2], "idle"), argv[3], precision, !strcmp(argv[5], "compile"), atoi(argv[6]), &error)
                   ? 0
                   : failed(&error);
    if (argc >= 6 && argc <= 7 && !strcmp(argv[1], "profiled") && atoi(argv[5]) > 0)
        return profiled(argv[2], precision, !strcmp(argv[4], "compile"), &variant, atoi(argv[5]), &error)
                   ? 0
                   : failed(&error);
    usage();
}
