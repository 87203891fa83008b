#include "report/escape.h"
#include "report/markdown.h"
#include "report/modules.h"
#include "report/pipe_table.h"
#include <stdio.h>
#include <string.h>

/* "4 of 20 cells have tables of their own" where there are more. */
static void note_left_out(const struct report *report, struct strbuf *out)
{
    if (report->cells.count > MARKDOWN_DETAIL_CELLS)
        strbuf_printf(out, "\nThe first %d of %zu cells; the YAML report has all.\n", MARKDOWN_DETAIL_CELLS,
                      report->cells.count);
}

static size_t detailed(const struct report *report)
{
    return report->cells.count < MARKDOWN_DETAIL_CELLS ? report->cells.count : MARKDOWN_DETAIL_CELLS;
}

/* A column of what nobody could name only where there is such. */
static bool any_other(const struct report *report)
{
    for (size_t i = 0; i < report->cells.count; i++)
        for (size_t k = 0; k < report->cells.items[i]->kernel_count; k++)
            if (report->cells.items[i]->kernels[k].kernel_class == CLASS_OTHER)
                return true;
    return false;
}

static void class_row(struct pipe_table *table, const struct report_cell *cell, int pass, int phase, int classes)
{
    double by_class[CLASS_COUNT] = {0}, total = 0, flops = 0, matmul_ns = 0;
    for (size_t k = 0; k < cell->kernel_count; k++) {
        const struct report_kernel *kernel = &cell->kernels[k];
        if (kernel->pass != pass || (phase < PLACE_PHASE_COUNT && kernel->phase != phase))
            continue;
        by_class[kernel->kernel_class] += (double)kernel->total_ns;
        total += (double)kernel->total_ns;
        if (kernel->kernel_class == CLASS_MATMUL) {
            flops += is_known(kernel->flops) ? kernel->flops : 0; /* unknown: another kernel carries its work */
            matmul_ns += (double)kernel->total_ns;
        }
    }
    if (total <= 0)
        return;
    char title[256];
    cell_title(&cell->requested, false, title, sizeof title);
    pipe_text(table, title);
    pipe_text(table, pass_name((enum pass)pass));
    pipe_text(table, phase == PLACE_PHASE_COUNT ? "all" : phase_name((enum phase)phase));
    pipe_number(table, "%.3f", total / pass_steps(&cell->passes[pass]) * 1e-6);
    for (int c = 0; c < classes; c++)
        pipe_number(table, "%.1f", by_class[c] / total * 100);
    pipe_number(table, "%.1f", flops > 0 ? flops / matmul_ns : UNKNOWN_DOUBLE);
}

void markdown_classes(const struct report *report, struct strbuf *out)
{
    struct pipe_table table = {0};
    pipe_add_columns(&table, PIPE_TEXT, "cell", "pass", "phase");
    pipe_add_column(&table, "kernels ms", PIPE_NUMBER);
    const int classes = any_other(report) ? CLASS_COUNT : CLASS_OTHER; /* the last */
    for (int c = 0; c < classes; c++)
        pipe_add_column(&table, kernel_class_name((enum kernel_class)c), PIPE_NUMBER);
    pipe_add_column(&table, "matmul GFLOP/s", PIPE_NUMBER);
    for (size_t i = 0; i < report->cells.count; i++) {
        const struct report_cell *cell = report->cells.items[i];
        for (int pass = 0; pass < PASS_COUNT; pass++)
            for (int phase = 0; phase <= PLACE_PHASE_COUNT && cell->passes[pass].present &&
                                cell->passes[pass].profiled_steps && !cell->passes[pass].warmup_rows;
                 phase++)
                class_row(&table, cell, pass, phase, classes);
    }
    pipe_section(&table,
                 "\n## Kernel classes by phase\n\n"
                 "Share of the phase's kernel time in %. The pass fwd alone is inference's share, train_step a "
                 "training step's, fwd_bwd a training step's without its optimizer.\n\n",
                 out);
}

static void kernel_row(struct pipe_table *table, const struct report_kernel *kernel, uint64_t steps)
{
    pipe_text(table, phase_name((enum phase)kernel->phase));
    pipe_text(table, kernel->name);
    pipe_text(table, kernel_class_name(kernel->kernel_class));
    pipe_number(table, "%.4g", (double)kernel->calls / (double)steps);
    pipe_number(table, "%.3f", (double)kernel->total_ns / (double)steps * 1e-6);
    pipe_number(table, "%.1f", kernel->share * 100);
    pipe_number(table, "%.1f", kernel->median_ns * 1e-3);
    pipe_number(table, "%.1f", kernel->p95_ns * 1e-3);
    pipe_number(table, "%.1f", is_known_u64(kernel->max_ns) ? (double)kernel->max_ns * 1e-3 : UNKNOWN_DOUBLE);
    pipe_number(table, "%.1f", kernel->flops > 0 ? kernel->flops / (double)kernel->total_ns : UNKNOWN_DOUBLE);
    pipe_number(table, "%.1f", kernel->bytes > 0 ? kernel->bytes / (double)kernel->total_ns : UNKNOWN_DOUBLE);
    pipe_integer(table, kernel->layers);
}

/* Kernels are sorted by time within a pass: the first so many of each phase are its largest. */
static void kernel_table(const struct report_cell *cell, int pass, struct strbuf *out)
{
    struct pipe_table table = {0};
    pipe_add_columns(&table, PIPE_TEXT, "phase", "kernel", "class");
    pipe_add_columns(&table, PIPE_NUMBER, "calls", "ms a step", "share %", "median us", "p95 us", "max us", "GFLOP/s",
                     "GB/s", "layers");
    for (int phase = 0; phase < PLACE_PHASE_COUNT; phase++) {
        int shown = 0;
        for (size_t k = 0; k < cell->kernel_count && shown < MARKDOWN_TOP; k++)
            if (cell->kernels[k].pass == pass && cell->kernels[k].phase == phase && cell->kernels[k].calls) {
                kernel_row(&table, &cell->kernels[k], cell->passes[pass].profiled_steps);
                shown++;
            }
    }
    pipe_finish(&table, out);
}

void markdown_kernels(const struct report *report, struct strbuf *out)
{
    bool any = false;
    for (size_t i = 0; i < detailed(report); i++) {
        const struct report_cell *cell = report->cells.items[i];
        const int pass = cell_has_kernels(cell) ? cell_longest_pass(cell) : -1;
        if (pass < 0)
            continue;
        if (!any)
            strbuf_printf(
                out,
                "\n## Kernels\n\nThe %d largest of each phase, in the longest pass that was profiled; calls and ms "
                "a step. GFLOP/s and GB/s are modelled work over measured time.\n",
                MARKDOWN_TOP);
        any = true;
        strbuf_puts(out, "\n### ");
        markdown_title(cell, out);
        strbuf_printf(out, ", %s\n\n", pass_name((enum pass)pass));
        kernel_table(cell, pass, out);
    }
    if (any)
        note_left_out(report, out);
}

static void layer_table(const struct report_cell *cell, int pass, struct strbuf *out)
{
    struct modules modules = {0};
    struct pipe_table table = {0};
    const double whole = cell->passes[pass].kernel_ns;
    bool peaks = false;
    for (size_t l = 0; l < cell->layer_count; l++)
        peaks |= is_known_u64(cell->layers[l].peak_bytes[0]) || is_known_u64(cell->layers[l].peak_bytes[1]);
    pipe_add_column(&table, "layer", PIPE_INDENTED);
    pipe_add_columns(&table, PIPE_NUMBER, "how many", "fwd ms", "bwd ms", "share %", "fwd GFLOP/s", "bwd GFLOP/s",
                     cell->requested.command[0] ? "counted saved MiB" : "saved MiB", "parameters MiB");
    for (int way = 0; peaks && way < 2; way++)
        pipe_add_column(&table, way ? "bwd peak MiB" : "fwd peak MiB", PIPE_NUMBER);
    modules_make(&modules, cell, pass);
    for (size_t m = 0; m < modules.list.count; m++) {
        const struct module *module = &modules.list.items[m];
        char label[sizeof module->path + 64];
        snprintf(label, sizeof label, "%*s%s", module->depth > 16 ? 32 : module->depth * 2, "", module_label(module));
        pipe_text(&table, label);
        pipe_integer(&table, module->count);
        pipe_number(&table, "%.3f", module->forward_ns * 1e-6);
        pipe_number(&table, "%.3f", module->backward_ns * 1e-6);
        pipe_number(&table, "%.1f",
                    whole > 0 ? (module->forward_ns + module->backward_ns) / whole * 100 : UNKNOWN_DOUBLE);
        pipe_number(&table, "%.1f",
                    module->forward_flops > 0 ? module->forward_flops / module->forward_ns : UNKNOWN_DOUBLE);
        pipe_number(&table, "%.1f",
                    module->backward_flops > 0 ? module->backward_flops / module->backward_ns : UNKNOWN_DOUBLE);
        pipe_number(&table, "%.2f", markdown_mib(module->saved));
        pipe_number(&table, "%.2f", markdown_mib(module->parameters));
        for (int way = 0; peaks && way < 2; way++)
            pipe_number(&table, "%.2f", markdown_mib(module->peaks[way]));
    }
    pipe_finish(&table, out);
    if (peaks)
        strbuf_puts(
            out,
            "\nPeaks: the most memory in use beyond that at the step's beginning while a layer ran, sampled at the "
            "borders of its operators in one step: what an operator needs for itself may be missing.\n");
    modules_release(&modules);
}

void markdown_layers(const struct report *report, struct strbuf *out)
{
    bool any = false;
    for (size_t i = 0; i < detailed(report); i++) {
        const struct report_cell *cell = report->cells.items[i];
        const int pass = cell_has_kernels(cell) && cell->layer_count ? cell_longest_pass(cell) : -1;
        if (pass < 0)
            continue;
        if (!any)
            strbuf_puts(
                out,
                "\n## Layers\n\nA profiled step by module, with everything inside it; the blocks are added up. Share: "
                "forward and backward of the step's kernel time. Saved: kept for backward, as planned.\n");
        any = true;
        strbuf_puts(out, "\n### ");
        markdown_title(cell, out);
        strbuf_printf(out, ", %s\n\n", pass_name((enum pass)pass));
        layer_table(cell, pass, out);
        const struct report_pass *times = &cell->passes[pass];
        if (is_known(times->kernel_ns - times->attributed_ns))
            strbuf_printf(out, "\nUnattributed: %.3f ms a step.\n", (times->kernel_ns - times->attributed_ns) * 1e-6);
    }
    if (any)
        note_left_out(report, out);
}

/* Time and FLOPs of a class in a phase of the attention modules; fused attention is one kernel and counts as attention. */
struct attention_sum {
    double ns, flops;
};

static bool in_attention(const struct report_cell *cell, int32_t layer)
{
    for (; layer >= 0; layer = cell->layers[layer].parent) {
        const char *name = cell->layers[layer].name;
        if (strcmp(name, "attn") == 0 || (layer == 0 && cell->requested.model.kind == MODEL_ATTENTION))
            return true;
    }
    return false;
}

static void attention_rows(struct pipe_table *table, const struct report_cell *cell, int pass)
{
    struct attention_sum sums[PLACE_PHASE_COUNT][CLASS_COUNT] = {0};
    const double steps = pass_steps(&cell->passes[pass]);
    for (size_t e = 0; e < cell->entry_count; e++) {
        const struct report_entry *entry = &cell->entries[e];
        if (entry->pass != pass || entry->scope < 0 || !in_attention(cell, entry->scope))
            continue;
        struct attention_sum *sum = &sums[entry->phase][cell->kernels[entry->kernel].kernel_class];
        sum->ns += (double)entry->total_ns / steps;
        sum->flops += is_known(entry->flops) ? entry->flops / steps : 0;
    }
    char title[256];
    cell_title(&cell->requested, false, title, sizeof title);
    for (int phase = 0; phase < PLACE_PHASE_COUNT; phase++) {
        const struct attention_sum *softmax = &sums[phase][CLASS_SOFTMAX], *products = &sums[phase][CLASS_ATTENTION],
                                   *projections = &sums[phase][CLASS_MATMUL];
        if (products->ns + projections->ns <= 0)
            continue;
        pipe_text(table, title);
        pipe_text(table, phase_name((enum phase)phase));
        /* In a fused kernel softmax has no time of its own: that is not known, not zero. */
        pipe_number(table, "%.3f", softmax->ns > 0 ? softmax->ns * 1e-6 : UNKNOWN_DOUBLE);
        pipe_number(table, "%.3f", products->ns * 1e-6);
        pipe_number(table, "%.3f", projections->ns * 1e-6);
        pipe_number(table, "%.3f", softmax->ns > 0 ? softmax->ns / (products->ns + projections->ns) : UNKNOWN_DOUBLE);
        pipe_number(table, "%.6f", softmax->ns > 0 ? softmax->flops * 1e-9 : UNKNOWN_DOUBLE);
        pipe_number(table, "%.6f", products->flops * 1e-9);
        pipe_number(table, "%.6f", projections->flops * 1e-9);
        pipe_number(table, "%.5f",
                    softmax->flops > 0 ? softmax->flops / (products->flops + projections->flops) : UNKNOWN_DOUBLE);
    }
}

void markdown_attention(const struct report *report, struct strbuf *out)
{
    struct pipe_table table = {0};
    pipe_add_columns(&table, PIPE_TEXT, "cell", "phase");
    pipe_add_columns(&table, PIPE_NUMBER, "softmax ms", "QK and PV ms", "projections ms", "softmax / matmul time",
                     "softmax GFLOP", "QK and PV GFLOP", "projections GFLOP", "softmax / matmul FLOPs");
    for (size_t i = 0; i < report->cells.count; i++) {
        const struct report_cell *cell = report->cells.items[i];
        if (cell_has_kernels(cell) && cell->layer_count)
            attention_rows(&table, cell, cell_longest_pass(cell));
    }
    pipe_section(
        &table,
        "\n## Softmax against matmul in attention\n\n"
        "A profiled step, all blocks: measured times, modelled FLOPs. Where attention is fused into one kernel, "
        "softmax is inside QK and PV.\n\n",
        out);
}
