/* The CPU's training step against what the machine can do: step times of one model, the time of its GEMMs alone at the
 * best sgemm rate seen in the same run, and where the rest went.
 *
 * usage: bench_cpu [--model NAME] [--batch N] [--context N] [--steps N] [--compile] [--pass fwd|fwd_bwd|train_step]
 *                  [--dtype fp32|bf16] [--no-tiles] [--kernels] [--serve]
 * --serve answers each line on standard input, for interleaving with another program: "step" with
 * "seconds loss peak_resident_bytes optimizer_seconds" of one step, "about" with the FLOPs of its GEMMs and the number of
 * parameters, "rates" with the machine's best sgemm rate in FLOP/s and its copy rate in bytes/s. */
#include "base/clock.h"
#include "base/unknown.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/cpu_device.h"
#include "kernels/device.h"
#include "model/model.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct settings {
    const char *model, *pass;
    int64_t batch, context;
    int steps;
    enum precision precision;
    bool compile, no_tiles, kernels, serve;
};

struct bench {
    struct plan *plan;
    struct device *device;
    struct program *program;
    struct prepare_report report;
    unsigned phases;
    uint64_t entered;
    double *node_ns; /* by node, summed over profiled steps */
    int profiled;
    double optimizer_s; /* of the last step */
};

static uint32_t probe_intern(void *context, const char *name)
{
    (void)context, (void)name;
    return 0;
}

static void probe_enter(void *context, int32_t node)
{
    (void)node;
    ((struct bench *)context)->entered = clock_now();
}

static void probe_leave(void *context, int32_t node, uint32_t name)
{
    (void)name;
    struct bench *bench = context;
    bench->node_ns[node] += (double)(clock_now() - bench->entered);
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, by_value);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

static bool bench_start(struct bench *bench, const struct settings *settings, const struct probe *probe,
                        struct error *error)
{
    struct plan_request request = {.batch = settings->batch,
                                   .context = settings->context,
                                   .precision = settings->precision,
                                   .fusions = settings->compile ? FUSE_ALL : 0};
    bench->phases = strcmp(settings->pass, "fwd") == 0          ? PHASES_FWD
                    : strcmp(settings->pass, "train_step") == 0 ? PHASES_TRAIN_STEP
                                                                : PHASES_FWD_BWD;
    request.phases = bench->phases;
    struct plan_result result;
    if (!model_preset_find(settings->model, &request.model, error))
        return false;
    bench->plan = plan_build(&request, &result, error);
    if (!bench->plan)
        return false;
    bench->node_ns = calloc((size_t)bench->plan->node_count, sizeof *bench->node_ns);
    bench->device = cpu_device_class.open(0, error);
    if (!bench->device || !bench->node_ns)
        return false;
    const struct prepare_options options = {
        .compile = settings->compile, .no_tiles = settings->no_tiles, .probe = probe};
    bench->program = cpu_device_class.prepare(bench->device, bench->plan, &options, &bench->report, error);
    if (!bench->program)
        return false;
    uint64_t largest = 0;
    for (int32_t i = 0; i < bench->plan->tensor_count; i++)
        largest = bench->plan->tensors[i].bytes > largest ? bench->plan->tensors[i].bytes : largest;
    void *values = malloc(largest);
    bool ok = values != NULL;
    for (int32_t i = 0; ok && i < bench->plan->tensor_count; i++) {
        const struct tensor *t = &bench->plan->tensors[i];
        if (t->kind == TENSOR_INPUT)
            model_random_tokens(bench->plan, i, 1, values);
        else if (t->kind == TENSOR_CONSTANT || (t->kind == TENSOR_PARAMETER && t->parameter == i))
            ok = model_initial_value(bench->plan, i, 1, values, error);
        else
            continue;
        ok = ok && cpu_device_class.write(bench->program, i, values, error);
    }
    free(values);
    return ok;
}

static void bench_end(struct bench *bench)
{
    if (bench->program)
        cpu_device_class.release(bench->program);
    if (bench->device)
        cpu_device_class.close(bench->device);
    plan_free(bench->plan);
    free(bench->node_ns);
}

/* Of this process alone (getrusage's starts with the parent's), in bytes; 0 where the system does not say. */
static long long peak_resident(void)
{
    FILE *status = fopen("/proc/self/status", "re");
    char line[128];
    long long kib = 0;
    while (status && fgets(line, sizeof line, status) && sscanf(line, "VmHWM: %lld", &kib) != 1)
        ;
    if (status)
        fclose(status);
    return kib * 1024;
}

static bool one_step(struct bench *bench, const struct probe *probe, double *seconds, struct error *error)
{
    struct step_times times;
    if (!cpu_device_class.run(bench->program, bench->phases, 0, probe, &times, error))
        return false;
    *seconds = (double)(times.end - times.start) / 1e9;
    bench->optimizer_s = bench->phases & PHASE_BIT(PHASE_OPT) ? (double)times.phase_ns[PHASE_OPT] / 1e9 : 0;
    bench->profiled += probe != NULL;
    return true;
}

struct kernel_row {
    const char *name;
    double seconds, flops;
    int calls;
};

static int by_time(const void *a, const void *b)
{
    const double x = ((const struct kernel_row *)a)->seconds, y = ((const struct kernel_row *)b)->seconds;
    return (x < y) - (x > y);
}

static void print_kernels(const struct bench *bench)
{
    struct kernel_row rows[256];
    int count = 0;
    for (int32_t i = 0; i < bench->plan->node_count; i++) {
        if (!(bench->phases & PHASE_BIT(bench->plan->nodes[i].phase)))
            continue;
        const char *name = cpu_kernel_name(bench->program, i);
        int row = 0;
        while (row < count && strcmp(rows[row].name, name) != 0)
            row++;
        if (row == 256)
            continue;
        if (row == count)
            rows[count++] = (struct kernel_row){.name = name};
        rows[row].seconds += bench->node_ns[i] / 1e9 / bench->profiled;
        rows[row].flops += bench->plan->nodes[i].flops;
        rows[row].calls++;
    }
    qsort(rows, (size_t)count, sizeof *rows, by_time);
    printf("%-48s %6s %10s %9s\n", "kernel", "calls", "ms a step", "GFLOP/s");
    for (int row = 0; row < count; row++)
        printf("%-48s %6d %10.2f %9.1f\n", rows[row].name, rows[row].calls, rows[row].seconds * 1e3,
               rows[row].flops / rows[row].seconds / 1e9);
}

static void print_summary(struct bench *bench, const struct settings *settings, double *step, double rate, double copy)
{
    double gemm_flops = 0, attention_flops = 0, gemm_s = 0, rest_s = 0, opt_s = 0, opt_elements = 0;
    for (int32_t i = 0; i < bench->plan->node_count; i++) {
        const struct node *node = &bench->plan->nodes[i];
        if (!(bench->phases & PHASE_BIT(node->phase)))
            continue;
        const double seconds = bench->node_ns[i] / 1e9 / bench->profiled;
        const bool matmul = op_info(node->op)->kernel_class == CLASS_MATMUL;
        gemm_flops += matmul ? node->flops : 0;
        attention_flops += op_info(node->op)->kernel_class == CLASS_ATTENTION ? node->flops : 0;
        *(matmul ? &gemm_s : node->phase == PHASE_OPT ? &opt_s : &rest_s) += seconds;
        opt_elements += node->phase == PHASE_OPT ? (double)node->dims.elements : 0;
    }
    const double middle = median(step, settings->steps);
    printf("%s batch %lld context %lld %s %s: median %.3f s (min %.3f, max %.3f, n %d)\n", settings->model,
           (long long)settings->batch, (long long)settings->context, settings->pass,
           settings->compile ? "compile" : "eager", middle, step[0], step[settings->steps - 1], settings->steps);
    printf("GEMM %.1f GFLOP; best sgemm rate in this run %.1f GFLOP/s, so %.3f s alone; step over that: %.3f\n",
           gemm_flops / 1e9, rate / 1e9, gemm_flops / rate, middle / (gemm_flops / rate));
    const double products = gemm_flops + attention_flops; /* eager's attention is products anyway */
    printf("with fused attention's products %.1f GFLOP, %.3f s alone; step over that: %.3f\n", products / 1e9,
           products / rate, middle / (products / rate));
    printf("GEMM nodes %.3f s at %.1f GFLOP/s; other kernels %.3f s\n", gemm_s, gemm_flops / gemm_s / 1e9, rest_s);
    if (opt_elements > 0)
        printf("optimizer %.3f s; 28 bytes a parameter at the copy rate %.1f GB/s: %.3f s; ratio %.3f\n", opt_s,
               copy / 1e9, 28 * opt_elements / copy, opt_s / (28 * opt_elements / copy));
    printf("arena %.0f MiB planned, peak resident %.0f MiB with what the rates need, compile %.3f s\n",
           (double)bench->plan->memory.total / 0x1p20, (double)peak_resident() / 0x1p20,
           (double)bench->report.compile_ns / 1e9);
    for (int i = 0; i < bench->report.note_count; i++)
        printf("note %s: %s\n", bench->report.notes[i].key, bench->report.notes[i].text);
}

static bool measure(struct bench *bench, const struct settings *settings, const struct probe *probe,
                    struct error *error)
{
    double *step = calloc((size_t)settings->steps, sizeof *step), best_rate = 0, best_copy = 0, ignored;
    bool ok = step != NULL && one_step(bench, NULL, &ignored, error);
    for (int i = 0; ok && i < settings->steps; i++) {
        double rate = 0, copy = 0;
        ok = one_step(bench, NULL, &step[i], error) && one_step(bench, probe, &ignored, error) &&
             cpu_device_class.measure_ceilings(bench->device, bench->plan->precision, 400, &rate, &copy, error);
        best_rate = rate > best_rate ? rate : best_rate;
        best_copy = copy > best_copy ? copy : best_copy;
    }
    if (ok) {
        print_summary(bench, settings, step, best_rate, best_copy);
        if (settings->kernels)
            print_kernels(bench);
    }
    free(step);
    return ok;
}

static void print_about(const struct bench *bench)
{
    double flops = 0, parameters = 0;
    for (int32_t i = 0; i < bench->plan->node_count; i++)
        if (bench->phases & PHASES_FWD_BWD & PHASE_BIT(bench->plan->nodes[i].phase) &&
            op_info(bench->plan->nodes[i].op)->kernel_class == CLASS_MATMUL)
            flops += bench->plan->nodes[i].flops;
    for (int32_t i = 0; i < bench->plan->tensor_count; i++)
        if (bench->plan->tensors[i].kind == TENSOR_PARAMETER && bench->plan->tensors[i].parameter == i)
            parameters += (double)tensor_elements(&bench->plan->tensors[i]);
    printf("%.0f %.0f\n", flops, parameters);
}

static bool serve(struct bench *bench, struct error *error)
{
    char line[64];
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = '\0';
        if (strcmp(line, "about") == 0) {
            print_about(bench);
        } else if (strcmp(line, "rates") == 0) {
            double rate, copy;
            if (!cpu_device_class.measure_ceilings(bench->device, bench->plan->precision, 600, &rate, &copy, error))
                return false;
            printf("%.0f %.0f\n", rate, copy);
        } else {
            double seconds;
            float loss = NAN;
            if (!one_step(bench, NULL, &seconds, error))
                return false;
            if (bench->plan->loss != TENSOR_NONE && bench->phases != PHASES_FWD &&
                !cpu_device_class.read(bench->program, bench->plan->loss, &loss, error))
                return false;
            printf("%.6f %.7g %lld %.6f\n", seconds, (double)loss, peak_resident(), bench->optimizer_s);
        }
        fflush(stdout);
    }
    return true;
}

static bool parse(int argc, char **argv, struct settings *settings)
{
    for (int i = 1; i < argc; i++) {
        const char *flag = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(flag, "--compile") == 0)
            settings->compile = true;
        else if (strcmp(flag, "--no-tiles") == 0)
            settings->no_tiles = true;
        else if (strcmp(flag, "--kernels") == 0)
            settings->kernels = true;
        else if (strcmp(flag, "--serve") == 0)
            settings->serve = true;
        else if (!value)
            return false;
        else if (strcmp(flag, "--model") == 0)
            settings->model = argv[++i];
        else if (strcmp(flag, "--pass") == 0)
            settings->pass = argv[++i];
        else if (strcmp(flag, "--dtype") == 0 && precision_parse(value, &settings->precision))
            i++;
        else if (strcmp(flag, "--batch") == 0)
            settings->batch = atoll(argv[++i]);
        else if (strcmp(flag, "--context") == 0)
            settings->context = atoll(argv[++i]);
        else if (strcmp(flag, "--steps") == 0)
            settings->steps = atoi(argv[++i]);
        else
            return false;
    }
    return settings->steps > 0;
}

int main(int argc, char **argv)
{
    struct settings settings = {.model = "S", .pass = "fwd_bwd", .batch = 4, .context = 256, .steps = 5};
    if (!parse(argc, argv, &settings)) {
        fprintf(stderr, "usage: bench_cpu [--model NAME] [--batch N] [--context N] [--steps N] [--compile] "
                        "[--pass fwd|fwd_bwd|train_step] [--dtype fp32|bf16] [--no-tiles] [--kernels] [--serve]\n");
        return 2;
    }
    struct bench bench = {0};
    struct error error = {0};
    const struct probe probe = {.context = &bench, .intern = probe_intern, .enter = probe_enter, .leave = probe_leave};
    const bool ok = bench_start(&bench, &settings, &probe, &error) &&
                    (settings.serve ? serve(&bench, &error) : measure(&bench, &settings, &probe, &error));
    if (!ok)
        fprintf(stderr, "bench_cpu: %s\n", error.text[0] ? error.text : "out of memory");
    bench_end(&bench);
    return ok ? 0 : 1;
}
