#include "document.h"
#include "base/unknown.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LAYERS 4
#define STEPS 5

static struct report_cell *new_cell(struct report *report, const char *device, bool compile, enum status status)
{
    struct report_cell *cell = calloc(1, sizeof *cell);
    if (!cell)
        abort();
    cell->run_id = (uint32_t)report->cells.count + 1;
    snprintf(cell->requested.device, sizeof cell->requested.device, "%s", device);
    snprintf(cell->requested.model.name, sizeof cell->requested.model.name, "tiny");
    snprintf(cell->requested.model.preset, sizeof cell->requested.model.preset, "steptop");
    cell->requested.model.d_model = 256;
    cell->requested.model.d_ff = 1024;
    cell->requested.model.num_layers = LAYERS;
    cell->requested.model.num_heads = 4;
    cell->requested.model.vocab_size = 10000;
    cell->requested.batch_size = 4;
    cell->requested.context_length = 256;
    cell->requested.compile = compile;
    cell->requested.passes = PASS_BIT(PASS_FWD) | PASS_BIT(PASS_FWD_BWD);
    cell->requested.warmup = 1;
    cell->requested.steps = STEPS;
    cell->effective_compile = compile;
    cell->status = status;
    cell->reason = "";
    cell->version = 1;
    cell->machine = (struct machine_load){UNKNOWN_DOUBLE, UNKNOWN_DOUBLE};
    cell->use = MACHINE_UNKNOWN;
    cell->ceilings = (struct report_ceilings){UNKNOWN_DOUBLE, UNKNOWN_DOUBLE};
    cell->memory.planned_total = cell->memory.planned_peak_live = cell->memory.workspace = UNKNOWN_U64;
    cell->memory.resident_peak = cell->memory.resident_base = cell->memory.device_free = UNKNOWN_U64;
    cell->compile_ns = compile ? 123400000 : 0;
    snprintf(cell->device.name, sizeof cell->device.name, "%s", device);
    snprintf(cell->device.model, sizeof cell->device.model, "Test CPU");
    cell->telemetry = (struct device_telemetry){
        UNKNOWN_DOUBLE, UNKNOWN_DOUBLE, UNKNOWN_DOUBLE, UNKNOWN_DOUBLE, UNKNOWN_DOUBLE, UINT32_MAX, "", UNKNOWN_DOUBLE};
    for (int i = 0; i < REPORT_COUNTERS; i++)
        cell->counter_names[i] = "";
    vec_push(&report->cells, cell);
    return cell;
}

static void fill_phase(struct report_cell *cell, struct report_phase *phase, const char *name, double median)
{
    phase->name = name;
    phase->samples_ns = arena_array(&cell->arena, uint64_t, STEPS);
    phase->sample_count = STEPS;
    for (int i = 0; i < STEPS; i++)
        phase->samples_ns[i] = (uint64_t)(median * (1 + 0.002 * (i - STEPS / 2)));
    summary_of(phase->samples_ns, STEPS, &phase->summary);
}

static void fill_pass(struct report_cell *cell, enum pass pass, double fwd, double loss, double bwd)
{
    struct report_pass *about = &cell->passes[pass];
    *about = (struct report_pass){
        .present = true, .pass = pass, .profiled_steps = STEPS, .overhead = {1.0042, 1.001, 1.008, STEPS, 0}};
    fill_phase(cell, &about->phases[PHASE_FWD], "fwd", fwd);
    if (bwd > 0) {
        fill_phase(cell, &about->phases[PHASE_LOSS], "loss", loss);
        fill_phase(cell, &about->phases[PHASE_BWD], "bwd", bwd);
    }
    fill_phase(cell, &about->phases[PHASE_COUNT], "total", fwd + loss + bwd);
}

/* A module of a block and the kernels that it runs: median in ns, FLOPs and bytes a launch. */
struct module {
    const char *name;
    int parent; /* index in the table; −1: the block */
    const char *forward, *backward[2];
    enum kernel_class kernel_class;
    double forward_ns, backward_ns, flops, bytes;
    uint64_t saved, parameters;
};

static const struct module modules[] = {
    {"ln1", -1, "rmsnorm", {"rmsnorm_bwd"}, CLASS_NORM, 41e3, 92e3, 1.3e6, 2.1e6, 1 << 20, 1 << 10},
    {"attn", -1, NULL, {NULL}, CLASS_MATMUL, 0, 0, 0, 0, 0, 0},
    {"q_proj", 1, "sgemm_nt", {"sgemm_nn", "sgemm_tn"}, CLASS_MATMUL, 1.31e6, 1.4e6, 134e6, 2.4e6, 1 << 20, 1 << 18},
    {"softmax", 1, "causal_softmax", {"causal_softmax_bwd"}, CLASS_SOFTMAX, 610e3, 700e3, 4.2e6, 8.4e6, 4 << 20, 0},
    {"output_proj",
     1,
     "sgemm_nt",
     {"sgemm_nn", "sgemm_tn"},
     CLASS_MATMUL,
     1.29e6,
     1.4e6,
     134e6,
     2.4e6,
     1 << 20,
     1 << 18},
    {"ffn", -1, NULL, {NULL}, CLASS_MATMUL, 0, 0, 0, 0, 0, 0},
    {"w1", 5, "sgemm_nt", {"sgemm_nn", "sgemm_tn"}, CLASS_MATMUL, 5.2e6, 5.4e6, 537e6, 6.3e6, 4 << 20, 1 << 20},
    {"silu", 5, "silu", {"silu_bwd"}, CLASS_ELEMENTWISE, 390e3, 500e3, 5.2e6, 8.4e6, 4 << 20, 0},
};
enum { MODULES = sizeof modules / sizeof *modules };

static int32_t add_layer(struct report_cell *cell, const char *path, const char *name, int32_t parent, int32_t depth)
{
    struct report_layer *layer = &cell->layers[cell->layer_count];
    layer->path = arena_strdup(&cell->arena, path);
    layer->name = arena_strdup(&cell->arena, name);
    layer->parent = parent;
    layer->depth = depth;
    layer->peak_bytes[0] = layer->peak_bytes[1] = UNKNOWN_U64;
    for (int pass = 0; pass < PASS_COUNT; pass++)
        for (int phase = 0; phase < PLACE_PHASE_COUNT; phase++)
            layer->phase[pass][phase] = arena_array(&cell->arena, struct report_layer_phase, 1);
    return (int32_t)cell->layer_count++;
}

static uint32_t find_kernel(struct report_cell *cell, const char *name, enum kernel_class kernel_class, int phase,
                            int pass)
{
    for (size_t i = 0; i < cell->kernel_count; i++)
        if (strcmp(cell->kernels[i].name, name) == 0 && cell->kernels[i].phase == phase &&
            cell->kernels[i].pass == pass)
            return (uint32_t)i;
    struct report_kernel *kernel = &cell->kernels[cell->kernel_count];
    kernel->name = arena_strdup(&cell->arena, name);
    kernel->op = "";
    kernel->kernel_class = kernel_class;
    kernel->phase = (uint8_t)phase;
    kernel->pass = (uint8_t)pass;
    return (uint32_t)cell->kernel_count++;
}

/* Launch i of a median: a fixed spread of ±4 %, with one straggler. */
static uint64_t launch_ns(double median, int i)
{
    return (uint64_t)(median * (i == 13 ? 1.6 : 1 + 0.004 * ((i * 7) % 21 - 10)));
}

static void add_entry(struct report_cell *cell, uint32_t kernel, int32_t scope, int phase, int pass, double median,
                      double flops, double bytes)
{
    struct report_entry *entry = &cell->entries[cell->entry_count++];
    *entry = (struct report_entry){.kernel = kernel,
                                   .scope = scope,
                                   .phase = (uint8_t)phase,
                                   .pass = (uint8_t)pass,
                                   .calls = STEPS,
                                   .median_ns = median,
                                   .p95_ns = median * 1.04,
                                   .mean_ns = median,
                                   .sd_ns = median * 0.02,
                                   .flops = flops * STEPS,
                                   .bytes = bytes * STEPS};
    for (int i = 0; i < STEPS; i++) {
        const uint64_t ns = launch_ns(median, i + scope);
        entry->total_ns += ns;
        entry->min_ns = entry->min_ns && entry->min_ns < ns ? entry->min_ns : ns;
        entry->max_ns = entry->max_ns > ns ? entry->max_ns : ns;
    }
    for (int32_t at = scope; at >= 0; at = cell->layers[at].parent) {
        struct report_layer_phase *times = (struct report_layer_phase *)(uintptr_t)cell->layers[at].phase[pass][phase];
        times->inclusive_ns += (double)entry->total_ns / STEPS;
        times->flops += flops;
        times->bytes += bytes;
        if (at == scope) {
            times->exclusive_ns += (double)entry->total_ns / STEPS;
            times->calls += STEPS;
        }
    }
}

/* Kernel rows out of the entries, histograms and all. */
static void bins_copy(struct report_bins *bins, struct arena *arena, const struct histogram *histogram)
{
    bins->words = arena_array(arena, uint32_t, report_bins_room(histogram));
    bins->word_count = report_bins_pack(bins->words, histogram);
}

static void sum_kernels(struct report_cell *cell)
{
    double pass_total[PASS_COUNT] = {0};
    for (size_t k = 0; k < cell->kernel_count; k++) {
        struct report_kernel *kernel = &cell->kernels[k];
        struct histogram histogram = {0}, warmup = {0};
        uint64_t *samples = calloc((cell->entry_count + 1) * STEPS, sizeof *samples);
        uint32_t *recent = arena_array(&cell->arena, uint32_t, ENTRY_RECENT);
        size_t count = 0;
        struct summary summary;
        for (size_t i = 0; i < cell->entry_count; i++) {
            const struct report_entry *entry = &cell->entries[i];
            if (entry->kernel != k)
                continue;
            kernel->layers++;
            kernel->flops += entry->flops;
            kernel->bytes += entry->bytes;
            for (int step = 0; step < STEPS; step++)
                samples[count++] = launch_ns(entry->median_ns, step + entry->scope);
            histogram_add(&warmup, (uint64_t)(entry->median_ns * 2));
        }
        for (size_t i = 0; i < count; i++) {
            histogram_add(&histogram, samples[i]);
            kernel->total_ns += samples[i];
            recent[kernel->recent_count % ENTRY_RECENT] = (uint32_t)samples[i];
            kernel->recent_count += kernel->recent_count < ENTRY_RECENT;
        }
        summary_of(samples, count, &summary);
        kernel->recent = recent;
        kernel->calls = count;
        kernel->min_ns = (uint64_t)summary.min;
        kernel->max_ns = (uint64_t)summary.max;
        kernel->mean_ns = summary.mean;
        kernel->sd_ns = summary.sd;
        kernel->median_ns = summary.median;
        kernel->p95_ns = summary.p95;
        kernel->p99_ns = summary.p99;
        kernel->cv = summary.cv;
        bins_copy(&kernel->histogram, &cell->arena, &histogram);
        bins_copy(&kernel->warmup_histogram, &cell->arena, &warmup);
        histogram_release(&histogram);
        histogram_release(&warmup);
        free(samples);
        pass_total[kernel->pass] += (double)kernel->total_ns;
    }
    for (size_t k = 0; k < cell->kernel_count; k++)
        cell->kernels[k].share = (double)cell->kernels[k].total_ns / pass_total[cell->kernels[k].pass];
    for (int pass = 0; pass < PASS_COUNT; pass++)
        cell->passes[pass].kernel_ns = cell->passes[pass].attributed_ns = pass_total[pass] / STEPS;
}

static void add_module(struct report_cell *cell, const struct module *module, int32_t scope, double speed)
{
    for (int pass = PASS_FWD; pass <= PASS_FWD_BWD; pass++) {
        if (!module->forward)
            continue;
        add_entry(cell, find_kernel(cell, module->forward, module->kernel_class, PHASE_FWD, pass), scope, PHASE_FWD,
                  pass, module->forward_ns * speed, module->flops, module->bytes);
        for (int i = 0; pass == PASS_FWD_BWD && i < 2 && module->backward[i]; i++)
            add_entry(cell, find_kernel(cell, module->backward[i], module->kernel_class, PHASE_BWD, pass), scope,
                      PHASE_BWD, pass, module->backward_ns * speed, module->flops, module->bytes);
    }
    for (int32_t at = scope; at >= 0; at = cell->layers[at].parent) {
        cell->layers[at].saved_bytes += module->saved;
        cell->layers[at].parameter_bytes += module->parameters;
    }
}

static void fill_layers(struct report_cell *cell, double speed)
{
    char path[128];
    cell->layers = arena_array(&cell->arena, struct report_layer, 3 + LAYERS * (MODULES + 1));
    cell->kernels = arena_array(&cell->arena, struct report_kernel, 64);
    cell->entries = arena_array(&cell->arena, struct report_entry, 4 * LAYERS * MODULES + 8);
    add_layer(cell, "model", "model", -1, 0);
    const struct module embedding = {
        "token_embeddings", -1, "embedding", {"embedding_bwd"}, CLASS_EMBEDDING, 210e3, 900e3, 0, 2.1e6, 0, 10 << 20};
    add_module(cell, &embedding, add_layer(cell, "token_embeddings", "token_embeddings", 0, 1), speed);
    for (int layer = 0; layer < LAYERS; layer++) {
        char name[32];
        int32_t scope[MODULES];
        snprintf(name, sizeof name, "layers.%d", layer);
        const int32_t block = add_layer(cell, name, name, 0, 1);
        for (int i = 0; i < MODULES; i++) {
            const int parent = modules[i].parent;
            snprintf(path, sizeof path, "%s%s%s.%s", name, parent >= 0 ? "." : "",
                     parent >= 0 ? modules[parent].name : "", modules[i].name);
            scope[i] = add_layer(cell, path, modules[i].name, parent >= 0 ? scope[parent] : block, parent >= 0 ? 3 : 2);
            add_module(cell, &modules[i], scope[i], speed);
        }
    }
    const struct module head = {"lm_head",    -1,      "sgemm_nt", {"sgemm_nn", "sgemm_tn"},
                                CLASS_MATMUL, 12e6,    12.5e6,     1.3e9,
                                51e6,         1 << 20, 10 << 20};
    add_module(cell, &head, add_layer(cell, "lm_head", "lm_head", 0, 1), speed);
    sum_kernels(cell);
    cell->records = cell->entry_count * STEPS;
    cell->flops[PASS_FWD] = 4.6e9;
    cell->flops[PASS_FWD_BWD] = 13.9e9;
}

/* Parameters and gradients lie still; saved activations rise to the loss and fall in backward. */
static void fill_memory(struct report_cell *cell)
{
    struct report_memory *memory = &cell->memory;
    const int count = 96;
    memory->curve = arena_array(&cell->arena, uint64_t, count * TENSOR_KIND_COUNT);
    memory->curve_phase = arena_array(&cell->arena, uint8_t, count);
    memory->curve_count = count;
    for (int node = 0; node < count; node++) {
        uint64_t *live = memory->curve + (size_t)node * TENSOR_KIND_COUNT;
        const uint64_t rise = (uint64_t)(node < 36 ? node : node < 40 ? 36 : (96 - node) * 36 / 56);
        live[TENSOR_PARAMETER] = 40u << 20;
        live[TENSOR_GRADIENT] = 40u << 20;
        live[TENSOR_SAVED] = rise << 20;
        live[TENSOR_SCRATCH] = (uint64_t)(node % 6 == 5 ? 8 : 3) << 20;
        memory->curve_phase[node] = node < 36 ? PHASE_FWD : node < 40 ? PHASE_LOSS : PHASE_BWD;
        for (int kind = 0; kind < TENSOR_KIND_COUNT; kind++)
            memory->by_kind[kind] = live[kind] > memory->by_kind[kind] ? live[kind] : memory->by_kind[kind];
    }
    memory->planned_total = 130u << 20;
    memory->planned_peak_live = 121u << 20;
    memory->workspace = 2u << 20;
    memory->resident_peak = 171u << 20;
    memory->peak_at = "loss lm_head cross_entropy";
    static const struct report_tensor largest[] = {
        {"lm_head.weight", TENSOR_PARAMETER, 10u << 20, -1},
        {"token_embeddings.weight", TENSOR_PARAMETER, 10u << 20, 1},
        {"grad.lm_head.weight", TENSOR_GRADIENT, 10u << 20, -1},
        {"layers.0.attn.softmax.p", TENSOR_SAVED, 4u << 20, 5},
        {"layers.0.ffn.w1.y", TENSOR_SAVED, 4u << 20, 8},
    };
    memory->largest_count = sizeof largest / sizeof *largest;
    memory->largest = arena_array(&cell->arena, struct report_tensor, memory->largest_count);
    memcpy(memory->largest, largest, sizeof largest);
}

/* One step: the launches of all entries in order, with a gap after each and a long one before backward; every fifth on a
 * second stream. */
static void fill_timeline(struct report_cell *cell)
{
    cell->timeline = arena_array(&cell->arena, struct report_launch, cell->entry_count);
    for (int pass = 0; pass < PASS_COUNT; pass++) {
        uint64_t at = 0;
        int phase = PHASE_FWD, number = 0;
        for (int round = 0; round < 2; round++)
            for (size_t i = 0; i < cell->entry_count; i++) {
                const struct report_entry *entry = &cell->entries[i];
                if (entry->pass != pass || (entry->phase == PHASE_BWD) != (round == 1))
                    continue;
                at += entry->phase != phase ? 6000000 : 30000;
                phase = entry->phase;
                cell->timeline[cell->launch_count++] = (struct report_launch){.start_ns = at,
                                                                              .duration_ns = (uint64_t)entry->median_ns,
                                                                              .kernel = entry->kernel,
                                                                              .scope = entry->scope,
                                                                              .stream = number++ % 5 == 4,
                                                                              .kind = RECORD_KERNEL,
                                                                              .phase = entry->phase,
                                                                              .pass = entry->pass};
                at += (uint64_t)entry->median_ns;
            }
    }
}

static void fill_notes(struct report_cell *cell)
{
    cell->note_count = 1;
    cell->notes = arena_array(&cell->arena, struct report_note, 1);
    cell->notes[0] = (struct report_note){"counter tier", "software"};
}

static void full_cell(struct report *report, bool compile, double speed)
{
    struct report_cell *cell = new_cell(report, "cpu", compile, STATUS_OK);
    fill_pass(cell, PASS_FWD, 48e6 * speed, 0, 0);
    fill_pass(cell, PASS_FWD_BWD, 49e6 * speed, 2e6 * speed, 102e6 * speed);
    fill_layers(cell, speed);
    fill_memory(cell);
    fill_timeline(cell);
    fill_notes(cell);
    cell->ceilings = (struct report_ceilings){118e9, 21e9};
}

/* Of a machine that is quiet, whatever this one does. */
static void document_begin(struct report *report)
{
    report_init(report);
    report->host.load_average = 0.1;
}

void document_make(struct report *report)
{
    document_begin(report);
    full_cell(report, false, 1);
    full_cell(report, true, 0.8);
    struct report_cell *failed = new_cell(report, "cpu", false, STATUS_OOM);
    snprintf(failed->requested.model.name, sizeof failed->requested.model.name, "XL");
    snprintf(failed->requested.model.preset, sizeof failed->requested.model.preset, "cs336-2025");
    failed->reason = "needs 61.2 GiB, free are 7.4 GiB";
    failed->passes[PASS_FWD].present = failed->passes[PASS_FWD_BWD].present = true;
    failed->passes[PASS_FWD].overhead.median = failed->passes[PASS_FWD_BWD].overhead.median = UNKNOWN_DOUBLE;
}

/* As a GPU's counters tell it: a tenth more traffic than modelled, the FLOPs of the model. */
void document_make_counted(struct report *report)
{
    static const char *const names[REPORT_COUNTERS] = {"dram_bytes", "flops", "occupancy_permille_ns", "gpu_ns"};
    document_begin(report);
    full_cell(report, false, 1);
    struct report_cell *cell = report->cells.items[0];
    for (int c = 0; c < REPORT_COUNTERS; c++)
        cell->counter_names[c] = names[c];
    for (size_t k = 0; k < cell->kernel_count; k++) {
        struct report_kernel *kernel = &cell->kernels[k];
        struct report_counters *counters = arena_array(&cell->arena, struct report_counters, 1);
        counters->samples = kernel->calls / 5;
        counters->values[0] = (uint64_t)(kernel->bytes / 5 * 1.1);
        counters->values[1] = (uint64_t)(kernel->flops / 5);
        counters->values[2] = kernel->total_ns / 5 * 410;
        counters->values[3] = kernel->total_ns / 5;
        kernel->counters = counters;
    }
    cell->notes[0] = (struct report_note){"counter tier", "2 passes on GH100"};
    cell->telemetry = (struct device_telemetry){1830, 3201, 512.3, 700, 61, 2, "power cap", UNKNOWN_DOUBLE};
}

static void lone_kernels(struct report *report, const char *const *names, int count)
{
    struct report_cell *cell = new_cell(report, "cpu", false, STATUS_OK);
    char name[64];
    fill_pass(cell, PASS_FWD_BWD, 49e6, 2e6, 102e6);
    cell->layers = arena_array(&cell->arena, struct report_layer, 1);
    cell->kernels = arena_array(&cell->arena, struct report_kernel, count);
    cell->entries = arena_array(&cell->arena, struct report_entry, count);
    add_layer(cell, "model", "model", -1, 0);
    for (int i = 0; i < count; i++) {
        struct report_kernel *kernel = &cell->kernels[cell->kernel_count++];
        snprintf(name, sizeof name, "kernel_%05d", i);
        kernel->name = arena_strdup(&cell->arena, names ? names[i] : name);
        kernel->op = "";
        kernel->pass = PASS_FWD_BWD;
        kernel->calls = 10;
        kernel->layers = 1;
        kernel->mean_ns = kernel->median_ns = kernel->p95_ns = 1000.0 * (count - i);
        kernel->p99_ns = UNKNOWN_DOUBLE;
        kernel->min_ns = kernel->max_ns = (uint64_t)kernel->median_ns;
        kernel->total_ns = kernel->min_ns * 10;
        kernel->flops = kernel->bytes = UNKNOWN_DOUBLE;
        add_entry(cell, (uint32_t)i, 0, PHASE_FWD, PASS_FWD_BWD, kernel->median_ns, UNKNOWN_DOUBLE, UNKNOWN_DOUBLE);
    }
}

void document_make_names(struct report *report)
{
    char *endless = malloc(501);
    if (!endless)
        abort();
    for (int i = 0; i < 500; i++)
        endless[i] = (char)('a' + i % 26);
    endless[500] = 0;
    const char *const names[] = {
        endless,
        "核心矩阵乘法_ワイド文字_커널",                      /* two columns a character */
        "combi\xcc\x81ni\xcc\x88ng\xcc\x81\xcc\x82\xcc\x83", /* several marks on one letter */
        "escape\033[2J\033]0;title\a end",
        "line\nbreak\ttab\rreturn\bback",
        "del\x7f c1\xc2\x9b"
        "31m",
        "broken \xff\xfe\xc3( utf8 \xe2\x82",
        "\xe2\x80\xaeright to left\xe2\x80\xac", /* an override of the writing direction */
        "zero\xe2\x80\x8bwidth\xef\xbb\xbf",
        "",
        "emoji 🚀 rocket",
    };
    document_begin(report);
    lone_kernels(report, names, sizeof names / sizeof *names);
    free(endless);
}

void document_make_many(struct report *report, int count)
{
    document_begin(report);
    lone_kernels(report, NULL, count);
}

void document_make_empty(struct report *report)
{
    document_begin(report);
    struct report_cell *cell = new_cell(report, "cpu", false, STATUS_ERROR);
    cell->reason = "the worker ended before its first step";
    cell->passes[PASS_FWD].present = true;
    cell->passes[PASS_FWD].overhead.median = UNKNOWN_DOUBLE;
}
