/* Reading a report of 1 000 cells × 500 kernels, and comparing two: seconds and the reading process's peak memory.
 * Usage: bench_report [CELLS [KERNELS]], bench_report make FILE [CELLS [KERNELS [STREAM]]], bench_report read FILE. The files are made first, in a temporary folder, and removed. Each kernel row comes
 * with a row of the kernel in a layer and a histogram of 12 bins; each cell with 2 passes of 10 steps and a tree of 85
 * layers. */
#include "base/clock.h"
#include "base/random.h"
#include "report/diff.h"
#include "report/report.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SEED 11
#define BINS 12
#define LAYERS 85
#define STEPS 10

static uint64_t noisy(uint64_t value, uint64_t stream, uint64_t index)
{
    return (uint64_t)((double)value * (0.97 + 0.06 * random_uniform(SEED, stream, index)));
}

static void put_pass(FILE *file, const char *name, uint64_t cell, uint64_t stream)
{
    static const char *const phases[] = {"fwd", "loss", "bwd", "total"};
    fprintf(file, "      %s:\n        phases:\n", name);
    for (int phase = 0; phase < 4; phase++) {
        fprintf(file, "          %s:\n            samples_ns: [", phases[phase]);
        for (uint64_t step = 0; step < STEPS; step++)
            fprintf(file, "%s%llu", step ? ", " : "",
                    (unsigned long long)noisy(300000000, stream + cell * 16 + (uint64_t)phase, step));
        fprintf(file, "]\n            profiled_ns: [");
        for (uint64_t step = 0; step < STEPS; step++)
            fprintf(file, "%s%llu", step ? ", " : "", (unsigned long long)noisy(301000000, stream + cell, step));
        fprintf(file, "]\n");
    }
    fprintf(file, "        profiled_steps: %d\n", STEPS);
}

static void put_cell(FILE *file, uint64_t cell, uint64_t kernels, uint64_t stream)
{
    fprintf(
        file,
        "  - id: %llu\n    status: ok\n    requested:\n      device: cpu\n      model: {name: S, preset: cs336-2025, "
        "kind: "
        "lm, d_model: 768, d_ff: 3072, num_layers: 12, num_heads: 12, vocab_size: 10000}\n      batch_size: 4\n      "
        "context_length: %llu\n      dtype: fp32\n      compile: false\n      passes: [fwd, fwd_bwd]\n    passes:\n",
        (unsigned long long)cell, (unsigned long long)(128 + cell));
    put_pass(file, "fwd", cell, stream);
    put_pass(file, "fwd_bwd", cell, stream + 1000000);
    fprintf(file,
            "    layers: |\n      id parent fwd_ns bwd_ns saved_bytes parameter_bytes path\n      0 - 1 1 1 1 model\n");
    for (int layer = 1; layer < LAYERS; layer++)
        fprintf(file, "      %d %d 2932731 1016794 1052672 1024 layers.%d.part\n", layer, (layer - 1) / 4, layer);
    fprintf(
        file,
        "    kernels: |\n      id pass phase class op share_pct calls total_ns min_ns max_ns sd_ns median_ns p95_ns "
        "p99_ns flops bytes name\n");
    for (uint64_t k = 0; k < kernels; k++) {
        const uint64_t total = noisy(120 * 400000, stream + k, cell);
        fprintf(file,
                "      %llu fwd_bwd %s matmul linear_backward_weight 0.2 120 %llu %llu %llu 12345 400123 440123 450123 "
                "69164072960 827473920 kernel_%llu<float, 6, 16>(int, float const*)\n",
                (unsigned long long)k, k % 2 ? "fwd" : "bwd", (unsigned long long)total,
                (unsigned long long)total / 130, (unsigned long long)total / 110, (unsigned long long)k);
    }
    fprintf(
        file,
        "    kernel_layers: |\n      kernel layer calls total_ns min_ns max_ns sd_ns median_ns p95_ns flops bytes\n");
    for (uint64_t k = 0; k < kernels; k++)
        fprintf(file, "      %llu %llu 120 %llu 380123 420123 12345 400123 440123 69164072960 827473920\n",
                (unsigned long long)k, (unsigned long long)(k % LAYERS),
                (unsigned long long)noisy(120 * 400000, stream + k, cell));
    fprintf(file, "    histograms: |\n      kernel warmup bins\n");
    for (uint64_t k = 0; k < kernels; k++) {
        fprintf(file, "      %llu false", (unsigned long long)k);
        for (int bin = 0; bin < BINS; bin++)
            fprintf(file, " %d:10", 590 + 2 * bin);
        fputc('\n', file);
    }
}

static void make_file(const char *path, uint64_t cells, uint64_t kernels, uint64_t stream)
{
    FILE *file = fopen(path, "w");
    if (!file) {
        perror(path);
        exit(1);
    }
    fprintf(file, "schema: steptop/report/1\ncells:\n");
    for (uint64_t cell = 0; cell < cells; cell++)
        put_cell(file, cell, kernels, stream);
    fprintf(file, "complete: true\n");
    fflush(file);
    fsync(fileno(file)); /* or the disk is still being written to while the first run is timed */
    fclose(file);
}

/* Reads the file in a process of its own: seconds on stdout, the peak through its resource usage. */
static int read_once(const char *path)
{
    struct report report;
    struct error error = {0};
    const uint64_t start = clock_now();
    if (!report_read(path, &report, &error)) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    printf("read      %.3f s, %zu cells × %zu kernels\n", (double)(clock_now() - start) * 1e-9, report.cells.count,
           report.cells.items[0]->kernel_count);
    return 0; /* the process ends: nothing is given back one by one */
}

static void run(char *const arguments[])
{
    struct rusage usage;
    int status;
    const pid_t child = fork();
    if (child == 0) {
        execv("/proc/self/exe", arguments);
        _exit(127);
    }
    if (child < 0 || wait4(child, &status, 0, &usage) != child || !WIFEXITED(status)) {
        perror("bench_report");
        exit(1);
    }
    printf("          %.1f MiB at the most, %.3f s of CPU\n", (double)usage.ru_maxrss / 1024,
           (double)usage.ru_utime.tv_sec + (double)usage.ru_utime.tv_usec * 1e-6);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    char folder[] = "/tmp/steptop-bench-XXXXXX", a[64], b[64];
    struct stat stat_;
    if (argc == 3 && strcmp(argv[1], "read") == 0)
        return read_once(argv[2]);
    if (argc >= 3 && strcmp(argv[1], "make") == 0) { /* FILE [CELLS [KERNELS [STREAM]]]: to keep one, for a profiler */
        make_file(argv[2], argc > 3 ? strtoull(argv[3], NULL, 10) : 1000, argc > 4 ? strtoull(argv[4], NULL, 10) : 500,
                  argc > 5 ? strtoull(argv[5], NULL, 10) : 1);
        return 0;
    }
    const uint64_t cells = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000,
                   kernels = argc > 2 ? strtoull(argv[2], NULL, 10) : 500;
    if (!mkdtemp(folder)) {
        perror("mkdtemp");
        return 1;
    }
    snprintf(a, sizeof a, "%s/a.yaml", folder);
    snprintf(b, sizeof b, "%s/b.yaml", folder);
    make_file(a, cells, kernels, 1);
    make_file(b, cells, kernels, 5000000);
    if (stat(a, &stat_) == 0)
        printf("file      %.1f MB\n", (double)stat_.st_size * 1e-6);
    fflush(stdout);
    for (int i = 0; i < 3; i++)
        run((char *[]){argv[0], (char[]){"read"}, a, NULL});
    char command[512];
    snprintf(command, sizeof command, "'%s' diff %s %s > /dev/null", STEPTOP_BINARY, a, b);
    for (int i = 0; i < 3; i++) {
        const uint64_t start = clock_now();
        const int status = system(command);
        printf("diff      %.3f s, exit %d\n", (double)(clock_now() - start) * 1e-9, WEXITSTATUS(status));
        fflush(stdout);
    }
    unlink(a);
    unlink(b);
    rmdir(folder);
    return 0;
}
