#include "report/escape.h"
#include "report/markdown.h"
#include "report/pipe_table.h"
#include <stdio.h>
#include <string.h>

#define MIB 0x1p20

double markdown_mib(uint64_t bytes)
{
    return is_known_u64(bytes) ? (double)bytes / MIB : UNKNOWN_DOUBLE;
}

/* The most bytes alive at once in a phase, by the plan; NaN without a curve. */
static double phase_peak(const struct report_memory *memory, int phase)
{
    double most = UNKNOWN_DOUBLE;
    for (int32_t n = 0; n < memory->curve_count; n++) {
        if (memory->curve_phase[n] != phase)
            continue;
        double live = 0;
        for (int kind = 0; kind < TENSOR_KIND_COUNT; kind++)
            live += (double)memory->curve[(size_t)n * TENSOR_KIND_COUNT + (size_t)kind];
        most = is_known(most) ? fmax(most, live) : live;
    }
    return most / MIB;
}

static void peak_table(const struct report *report, struct strbuf *out)
{
    struct pipe_table table = {0};
    pipe_add_column(&table, "cell", PIPE_TEXT);
    pipe_add_columns(&table, PIPE_NUMBER, "planned total", "peak fwd", "peak loss", "peak bwd", "peak opt", "workspace",
                     "resident peak");
    pipe_add_columns(&table, PIPE_TEXT, "highest at", "status");
    for (size_t i = 0; i < report->cells.count; i++) {
        const struct report_cell *cell = report->cells.items[i];
        const struct report_memory *memory = &cell->memory;
        char title[256];
        cell_title(&cell->requested, false, title, sizeof title);
        if (!is_known_u64(memory->planned_total))
            continue;
        pipe_text(&table, title);
        pipe_number(&table, "%.1f", markdown_mib(memory->planned_total));
        for (int phase = 0; phase < PHASE_COUNT; phase++)
            pipe_number(&table, "%.1f", phase_peak(memory, phase));
        pipe_number(&table, "%.1f", markdown_mib(memory->workspace));
        pipe_number(&table, "%.1f", markdown_mib(memory->resident_peak));
        pipe_text(&table, memory->peak_at ? memory->peak_at : "");
        pipe_text(&table, status_name(cell->status));
    }
    pipe_finish(&table, out);
}

static void kind_table(const struct report *report, struct strbuf *out)
{
    struct pipe_table table = {0};
    pipe_add_column(&table, "cell", PIPE_TEXT);
    for (int kind = 0; kind < TENSOR_KIND_COUNT; kind++)
        pipe_add_column(&table, tensor_kind_name((enum tensor_kind)kind), PIPE_NUMBER);
    pipe_add_columns(&table, PIPE_NUMBER, "residual stream", "saved by a block");
    for (size_t i = 0; i < report->cells.count; i++) {
        const struct report_cell *cell = report->cells.items[i];
        char title[256];
        cell_title(&cell->requested, false, title, sizeof title);
        if (!is_known_u64(cell->memory.planned_total))
            continue;
        pipe_text(&table, title);
        for (int kind = 0; kind < TENSOR_KIND_COUNT; kind++)
            pipe_number(&table, "%.1f", markdown_mib(cell->memory.by_kind[kind]));
        /* (B, T, C) in fp32: the residual stream keeps full precision in every mode. */
        const struct cell *asked = &cell->requested;
        const bool whole = asked->model.kind == MODEL_LM;
        pipe_number(&table, "%.3f",
                    whole ? (double)asked->batch_size * (double)asked->context_length * (double)asked->model.d_model *
                                4 / MIB
                          : UNKNOWN_DOUBLE);
        double block = UNKNOWN_DOUBLE;
        for (size_t l = 0; l < cell->layer_count; l++)
            if (strcmp(cell->layers[l].path, "layers.0") == 0)
                block = markdown_mib(cell->layers[l].saved_bytes);
        pipe_number(&table, "%.3f", block);
    }
    pipe_finish(&table, out);
}

static bool has_gradients(const struct report_cell *cell)
{
    return is_known_u64(cell->memory.by_kind[TENSOR_GRADIENT]) && cell->memory.by_kind[TENSOR_GRADIENT] > 0;
}

/* What one block keeps for backward, by module, with its parameters and their gradients beside it; of a forward pass alone
 * the parameters. */
static void block_table(const struct report_cell *cell, struct strbuf *out)
{
    const bool backward = has_gradients(cell);
    struct pipe_table table = {0};
    int32_t block = -1;
    for (size_t l = 0; l < cell->layer_count && block < 0; l++)
        if (strcmp(cell->layers[l].path, "layers.0") == 0)
            block = (int32_t)l;
    if (block < 0)
        return;
    const double whole = markdown_mib(cell->layers[block].saved_bytes);
    pipe_add_column(&table, "in layers.0", PIPE_INDENTED);
    if (backward) {
        pipe_add_columns(&table, PIPE_NUMBER, "saved MiB", "of the block %");
    }
    pipe_add_column(&table, backward ? "parameters and their gradients MiB" : "parameters MiB", PIPE_NUMBER);
    for (size_t l = (size_t)block; l < cell->layer_count; l++) {
        const struct report_layer *layer = &cell->layers[l];
        if (l > (size_t)block && layer->depth <= cell->layers[block].depth)
            break;
        char label[256];
        snprintf(label, sizeof label, "%*s%.200s", 2 * (layer->depth - cell->layers[block].depth), "", layer->name);
        pipe_text(&table, label);
        if (backward) {
            pipe_number(&table, "%.3f", markdown_mib(layer->saved_bytes));
            pipe_number(&table, "%.1f", whole > 0 ? markdown_mib(layer->saved_bytes) / whole * 100 : UNKNOWN_DOUBLE);
        }
        pipe_number(&table, "%.3f", (backward ? 2 : 1) * markdown_mib(layer->parameter_bytes));
    }
    pipe_finish(&table, out);
}

static void largest_table(const struct report_cell *cell, struct strbuf *out)
{
    struct pipe_table table = {0};
    pipe_add_columns(&table, PIPE_TEXT, "tensor", "kind");
    pipe_add_column(&table, "MiB", PIPE_NUMBER);
    pipe_add_column(&table, "layer", PIPE_TEXT);
    for (size_t i = 0; i < cell->memory.largest_count && i < 10; i++) {
        const struct report_tensor *tensor = &cell->memory.largest[i];
        pipe_text(&table, tensor->name);
        pipe_text(&table, tensor_kind_name(tensor->kind));
        pipe_number(&table, "%.3f", markdown_mib(tensor->bytes));
        pipe_text(&table, tensor->scope >= 0 && (size_t)tensor->scope < cell->layer_count
                              ? cell->layers[tensor->scope].path
                              : "");
    }
    pipe_finish(&table, out);
}

/* An earlier cell with the same plan: it differs in how it was measured alone. */
static bool planned_before(const struct report *report, size_t index)
{
    const struct cell *cell = &report->cells.items[index]->requested;
    for (size_t i = 0; i < index; i++) {
        struct cell like = report->cells.items[i]->requested;
        if (!report->cells.items[i]->memory.largest_count)
            continue;
        like.warmup = cell->warmup;
        like.steps = cell->steps;
        like.seed = cell->seed;
        like.threads = cell->threads;
        like.timeout_s = cell->timeout_s;
        like.profile_every = cell->profile_every;
        like.counters = cell->counters;
        like.repetition = cell->repetition;
        if (cell_equal(&like, cell))
            return true;
    }
    return false;
}

static bool has_block(const struct report_cell *cell)
{
    for (size_t l = 0; l < cell->layer_count; l++)
        if (strcmp(cell->layers[l].path, "layers.0") == 0)
            return true;
    return false;
}

static bool is_planned(const struct report *report)
{
    size_t planned = 0;
    for (size_t i = 0; i < report->cells.count; i++)
        planned += is_known_u64(report->cells.items[i]->memory.planned_total);
    return planned > 0;
}

void markdown_memory_peaks(const struct report *report, struct strbuf *out)
{
    if (!is_planned(report))
        return;
    strbuf_puts(out, "\nMiB. Planned before anything runs; the peak of a phase counts every tensor that is alive at "
                     "once in it, parameters and all. Resident peak is measured on the worker's process.\n\n");
    peak_table(report, out);
}

void markdown_memory_kinds(const struct report *report, struct strbuf *out)
{
    if (!is_planned(report))
        return;
    strbuf_puts(out, "\nBy kind, saved and scratch at their own highest; a residual-stream tensor is batch × context × "
                     "d_model in fp32:\n\n");
    kind_table(report, out);
}

/* Of each of the first cells with a plan of its own, what `part` says. */
static void each_plan(const struct report *report, const char *heading,
                      void (*part)(const struct report_cell *cell, struct strbuf *out), struct strbuf *out)
{
    for (size_t i = 0; i < report->cells.count && i < MARKDOWN_DETAIL_CELLS && is_planned(report); i++) {
        const struct report_cell *cell = report->cells.items[i];
        if (!cell->memory.largest_count || planned_before(report, i))
            continue;
        strbuf_printf(out, "\n### %s", heading);
        markdown_title(cell, out);
        strbuf_putc(out, '\n');
        part(cell, out);
    }
}

static void largest_part(const struct report_cell *cell, struct strbuf *out)
{
    strbuf_puts(out, "\nThe largest tensors:\n\n");
    largest_table(cell, out);
}

static void block_part(const struct report_cell *cell, struct strbuf *out)
{
    if (!has_block(cell))
        return;
    strbuf_puts(out, has_gradients(cell) ? "\nWhat one block keeps for backward:\n\n"
                                         : "\nThe parameters of one block (a forward pass keeps nothing):\n\n");
    block_table(cell, out);
}

static void both_parts(const struct report_cell *cell, struct strbuf *out)
{
    largest_part(cell, out);
    block_part(cell, out);
}

void markdown_memory_largest(const struct report *report, struct strbuf *out)
{
    each_plan(report, "", largest_part, out);
}

void markdown_memory_blocks(const struct report *report, struct strbuf *out)
{
    each_plan(report, "", block_part, out);
}

void markdown_memory(const struct report *report, struct strbuf *out)
{
    if (!is_planned(report))
        return;
    strbuf_puts(out, "\n## Memory\n");
    markdown_memory_peaks(report, out);
    markdown_memory_kinds(report, out);
    each_plan(report, "Memory of ", both_parts, out);
}
