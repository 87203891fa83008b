/* The CUDA device's training step: step times of one model, memory, start-up, and where the time of a step goes.
 *
 * usage: bench_cuda [--model NAME] [--batch N] [--context N] [--vocab N] [--d-ff N] [--heads N] [--precision fp32|tf32|bf16] [--steps N] [--warmup N] [--eager] [--train]
 *                   [--kernels] [--timeline] [--ceilings] [--cache FOLDER]
 * Prints one line of "key value" pairs; --kernels adds a table of kernels by time, --timeline when each
 * of one step ran, --ceilings the card's own rates. */
#include "base/clock.h"
#include "base/unknown.h"
#include "kernels/cuda/cuda_device.h"
#include "model/model.h"
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_NAMES 256

struct settings {
    const char *model, *cache;
    enum precision precision;
    int64_t batch, context, vocab, d_ff, heads; /* the last three: 0 keeps the preset's */
    int steps, warmup;
    bool compile, train, kernels, timeline, ceilings;
};

struct kernel_row {
    char *name;
    uint64_t count;
    double ns;
    int32_t node; /* the first it was seen on */
};

#define MAX_LINES 4096
struct line {
    uint64_t start, end;
    uint32_t name, stream;
    int32_t node;
};

struct tally {
    struct line lines[MAX_LINES]; /* of the last step */
    uint64_t line_step;
    int line_count;
    struct kernel_row rows[MAX_NAMES];
    int count;
    double total_ns;
    uint64_t first, last, dropped;
};

static uint32_t tally_intern(void *context, const char *name)
{
    struct tally *tally = context;
    for (int i = 0; i < tally->count; i++)
        if (strcmp(tally->rows[i].name, name) == 0)
            return (uint32_t)i;
    if (tally->count == MAX_NAMES)
        return MAX_NAMES - 1;
    tally->rows[tally->count].name = strdup(name);
    tally->rows[tally->count].node = EVENT_NODE_NONE;
    return (uint32_t)tally->count++;
}

static void tally_event(void *context, uint64_t step, const struct kernel_event *event)
{
    struct tally *tally = context;
    if (event->kind != EVENT_KERNEL && event->kind != EVENT_COPY && event->kind != EVENT_MEMSET)
        return;
    struct kernel_row *row = &tally->rows[event->name < MAX_NAMES ? event->name : MAX_NAMES - 1];
    if (step != tally->line_step)
        tally->line_step = step, tally->line_count = 0;
    if (tally->line_count < MAX_LINES)
        tally->lines[tally->line_count++] =
            (struct line){event->start, event->end, event->name, event->stream, event->node};
    row->count++;
    row->ns += (double)(event->end - event->start);
    row->node = event->node;
    tally->total_ns += (double)(event->end - event->start);
}

static void tally_dropped(void *context, uint64_t count)
{
    ((struct tally *)context)->dropped += count;
}
static void tally_note(void *context, const char *key, const char *text)
{
    (void)context;
    fprintf(stderr, "note %s: %s\n", key, text);
}

static int by_time(const void *a, const void *b)
{
    double x = ((const struct kernel_row *)a)->ns, y = ((const struct kernel_row *)b)->ns;
    return (x < y) - (x > y);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, by_value);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

static bool weights_write(const struct device_class *class, struct program *program, const struct plan *plan,
                          struct error *error)
{
    bool done = true;
    for (int32_t i = 0; i < plan->tensor_count && done; i++) {
        const struct tensor *tensor = &plan->tensors[i];
        bool own = tensor->kind == TENSOR_PARAMETER && tensor->parameter == i;
        if (!own && tensor->kind != TENSOR_CONSTANT && i != plan->tokens && i != plan->targets)
            continue;
        void *values = malloc(tensor->bytes + 4);
        if (tensor->dtype == DTYPE_I32)
            model_random_tokens(plan, i, 1, values);
        else
            done = model_initial_value(plan, i, 1, values, error);
        done = done && class->write(program, i, values, error);
        free(values);
    }
    return done;
}

static bool steps_time(const struct device_class *class, struct program *program, unsigned phases, int warmup,
                       int steps, double *step_ms, double *phase_ms, struct error *error)
{
    double *times = calloc((size_t)steps, sizeof *times), *parts[PHASE_COUNT];
    bool done = true;
    for (int p = 0; p < PHASE_COUNT; p++)
        parts[p] = calloc((size_t)steps, sizeof **parts);
    for (int step = -warmup; step < steps && done; step++) {
        struct step_times t;
        done = class->run(program, phases, 0, NULL, &t, error);
        if (!done || step < 0)
            continue;
        times[step] = (double)(t.end - t.start) * 1e-6;
        for (int p = 0; p < PHASE_COUNT; p++)
            parts[p][step] = is_known_u64(t.phase_ns[p]) ? (double)t.phase_ns[p] * 1e-6 : NAN;
    }
    *step_ms = median(times, steps);
    for (int p = 0; p < PHASE_COUNT; p++) {
        phase_ms[p] = median(parts[p], steps);
        free(parts[p]);
    }
    free(times);
    return done;
}

static void kernels_print(struct tally *tally, const struct plan *plan, int steps)
{
    qsort(tally->rows, (size_t)tally->count, sizeof *tally->rows, by_time);
    printf("  %9s %7s %6s  %-28s %s\n", "us/step", "launch", "us", "op", "kernel");
    for (int i = 0; i < tally->count && i < 24 && tally->rows[i].count; i++) {
        const struct kernel_row *row = &tally->rows[i];
        printf("  %9.1f %7.1f %6.2f  %-28s %.90s\n", row->ns * 1e-3 / steps, (double)row->count / steps,
               row->ns * 1e-3 / (double)row->count, row->node >= 0 ? op_info(plan->nodes[row->node].op)->name : "-",
               row->name);
    }
    printf("  %9.1f us of kernels a step, %llu records dropped\n", tally->total_ns * 1e-3 / steps,
           (unsigned long long)tally->dropped);
}

static int by_start(const void *a, const void *b)
{
    const struct line *x = a, *y = b;
    return (x->start > y->start) - (x->start < y->start);
}

/* When each kernel of the last step ran, on which stream: what overlaps and what waits. */
static void timeline_print(struct tally *tally, const struct plan *plan)
{
    qsort(tally->lines, (size_t)tally->line_count, sizeof *tally->lines, by_start);
    printf("  %9s %8s %6s  %-34s %-22s %s\n", "start us", "us", "stream", "scope", "op", "kernel");
    for (int i = 0; i < tally->line_count; i++) {
        const struct line *line = &tally->lines[i];
        const struct node *node = line->node >= 0 ? &plan->nodes[line->node] : NULL;
        printf("  %9.1f %8.1f %6u  %-34s %-22s %.60s\n", (double)(line->start - tally->lines[0].start) * 1e-3,
               (double)(line->end - line->start) * 1e-3, line->stream, node ? plan->scopes[node->scope].path : "-",
               node ? op_info(node->op)->name : "-", line->name < MAX_NAMES ? tally->rows[line->name].name : "?");
    }
}

static bool bench(const struct settings *settings, struct error *error)
{
    const struct device_class *class = &steptop_device_class;
    static struct tally tally;
    struct probe probe = {
        .context = &tally, .intern = tally_intern, .event = tally_event, .dropped = tally_dropped, .note = tally_note};
    struct plan_request request = {.batch = settings->batch,
                                   .context = settings->context,
                                   .precision = settings->precision,
                                   .fusions = settings->compile ? FUSE_ALL | 1u << FUSE_OVERLAP : 0,
                                   .overlap = steptop_device_class.overlap,
                                   .phases = settings->train ? PHASES_TRAIN_STEP : PHASES_FWD_BWD};
    struct plan *plan = NULL;
    struct program *program = NULL;
    uint64_t start = clock_now();
    struct device *device = class->open(0, error);
    bool done = false;
    if (!device || !model_preset_find(settings->model, &request.model, error) ||
        (settings->vocab && !(request.model.vocab_size = settings->vocab)) ||
        (settings->d_ff && !(request.model.d_ff = settings->d_ff)) ||
        (settings->heads && !(request.model.num_heads = settings->heads)) ||
        !(plan = plan_build(&request, NULL, error)))
        goto cleanup;
    struct prepare_options options = {
        .compile = settings->compile, .cache_folder = settings->cache, .probe = settings->kernels ? &probe : NULL};
    struct prepare_report report;
    program = class->prepare(device, plan, &options, &report, error);
    if (!program)
        goto cleanup;
    double ready_s = (double)(clock_now() - start) * 1e-9;
    if (!weights_write(class, program, plan, error))
        goto cleanup;
    double step_ms, phase_ms[PHASE_COUNT], fwd_ms, unused[PHASE_COUNT];
    if (!steps_time(class, program, PHASES_FWD, settings->warmup, settings->steps, &fwd_ms, unused, error) ||
        !steps_time(class, program, request.phases, settings->warmup, settings->steps, &step_ms, phase_ms, error))
        goto cleanup;
    float loss;
    if (!class->read(program, plan->loss, &loss, error))
        goto cleanup;
    printf("model %s precision %s mode %s fwd_ms %.3f step_ms %.3f phase_fwd %.3f phase_loss %.3f phase_bwd %.3f "
           "phase_opt %.3f "
           "memory_mib %.0f parameters %llu nodes %d loss %.4f open_to_ready_s %.2f compile_s %.2f\n",
           settings->model, precision_name(settings->precision), settings->compile ? "compile" : "eager", fwd_ms,
           step_ms, phase_ms[PHASE_FWD], phase_ms[PHASE_LOSS], phase_ms[PHASE_BWD], phase_ms[PHASE_OPT],
           (double)(plan->memory.total + report.workspace_bytes) / 1048576.0,
           (unsigned long long)model_parameter_count(&request.model), plan->node_count, loss, ready_s,
           (double)report.compile_ns * 1e-9);
    if (settings->kernels) {
        int steps = 5;
        for (int step = 0; step < steps; step++)
            if (!class->run(program, request.phases, (uint64_t)step, &probe, NULL, error))
                goto cleanup;
        if (!class->flush(program, &probe, error))
            goto cleanup;
        if (settings->timeline)
            timeline_print(&tally, plan);
        kernels_print(&tally, plan, steps);
        for (int i = 0; i < report.note_count; i++)
            printf("  note %s: %s\n", report.notes[i].key, report.notes[i].text);
    }
    if (settings->ceilings) {
        double flops, bytes;
        class->release(program);
        program = NULL;
        if (!class->measure_ceilings(device, settings->precision, 400, &flops, &bytes, error))
            goto cleanup;
        printf("ceilings precision %s tflops %.1f copy_gb_s %.0f\n", precision_name(settings->precision), flops * 1e-12,
               bytes * 1e-9);
    }
    done = true;
cleanup:
    if (program)
        class->release(program);
    class->close(device);
    if (plan)
        plan_free(plan);
    return done;
}

int main(int argc, char **argv)
{
    struct settings settings = {.model = "S",
                                .precision = PRECISION_BF16,
                                .batch = 4,
                                .context = 256,
                                .steps = 20,
                                .warmup = 5,
                                .compile = true};
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--model") == 0)
            settings.model = value, i++;
        else if (strcmp(argv[i], "--cache") == 0)
            settings.cache = value, i++;
        else if (strcmp(argv[i], "--batch") == 0)
            settings.batch = atoll(value), i++;
        else if (strcmp(argv[i], "--context") == 0)
            settings.context = atoll(value), i++;
        else if (strcmp(argv[i], "--vocab") == 0)
            settings.vocab = atoll(value), i++;
        else if (strcmp(argv[i], "--d-ff") == 0)
            settings.d_ff = atoll(value), i++;
        else if (strcmp(argv[i], "--heads") == 0)
            settings.heads = atoll(value), i++;
        else if (strcmp(argv[i], "--steps") == 0)
            settings.steps = atoi(value), i++;
        else if (strcmp(argv[i], "--warmup") == 0)
            settings.warmup = atoi(value), i++;
        else if (strcmp(argv[i], "--precision") == 0 && precision_parse(value, &settings.precision))
            i++;
        else if (strcmp(argv[i], "--eager") == 0)
            settings.compile = false;
        else if (strcmp(argv[i], "--train") == 0)
            settings.train = true;
        else if (strcmp(argv[i], "--kernels") == 0)
            settings.kernels = true;
        else if (strcmp(argv[i], "--timeline") == 0)
            settings.kernels = settings.timeline = true;
        else if (strcmp(argv[i], "--ceilings") == 0)
            settings.ceilings = true;
        else {
            fprintf(stderr, "bench_cuda: unknown option or bad value: %s %s\n", argv[i], value);
            return 2;
        }
    }
    struct error error = {0};
    if (settings.steps < 1 || !bench(&settings, &error)) {
        fprintf(stderr, "bench_cuda: %s\n", error.text[0] ? error.text : "--steps must be at least 1");
        return error.kind == ERROR_DEVICE ? 4 : 1;
    }
    return 0;
}
