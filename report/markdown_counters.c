#include "report/counted.h"
#include "report/escape.h"
#include "report/markdown.h"
#include "report/pipe_table.h"
#include <stdio.h>
#include <string.h>

static bool counts_cycles(const struct report_cell *cell)
{
    for (int c = 0; c < REPORT_COUNTERS; c++)
        if (cell->counter_names[c] && strcmp(cell->counter_names[c], "cycles") == 0)
            return true;
    return false;
}

static void add_columns(struct pipe_table *table, const struct report_cell *cell)
{
    pipe_add_columns(table, PIPE_TEXT, "phase", "kernel");
    pipe_add_column(table, "counted", PIPE_NUMBER);
    if (counted_work(cell)) {
        pipe_add_columns(table, PIPE_NUMBER, "counted MB", "modelled MB", "counted / modelled", "counted GFLOP",
                         "modelled GFLOP", "counted / modelled", "occupancy %", "counted GB/s");
        return;
    }
    for (int c = 0; c < REPORT_COUNTERS; c++) {
        struct strbuf name = {0};
        if (!cell->counter_names[c] || !cell->counter_names[c][0])
            continue;
        escape_markdown_cell(&name, cell->counter_names[c]);
        pipe_add_column(table, name.text ? name.text : "", PIPE_NUMBER);
        strbuf_release(&name);
    }
    if (counts_cycles(cell))
        pipe_add_column(table, "instructions a cycle", PIPE_NUMBER);
}

/* What is mostly the counter's own reading is no measurement of the kernel: it is less than that. */
static void add_mean(struct pipe_table *table, const struct report_cell *cell, const struct report_kernel *kernel,
                     const char *name)
{
    const double mean = counted_mean(cell, kernel, name);
    char text[40];
    snprintf(text, sizeof text, "≤ %.6g", mean);
    if (counted_mostly_own(cell, kernel, name))
        pipe_text(table, text);
    else
        pipe_number(table, "%.6g", mean);
}

static void add_row(struct pipe_table *table, const struct report_cell *cell, const struct report_kernel *kernel)
{
    pipe_text(table, phase_name((enum phase)kernel->phase));
    pipe_text(table, kernel->name);
    pipe_integer(table, (int64_t)kernel->counters->samples);
    if (!counted_work(cell)) {
        for (int c = 0; c < REPORT_COUNTERS; c++)
            if (cell->counter_names[c] && cell->counter_names[c][0])
                add_mean(table, cell, kernel, cell->counter_names[c]);
        if (counts_cycles(cell))
            pipe_number(table, "%.2f", counted_ipc(cell, kernel));
        return;
    }
    const double bytes = counted_mean(cell, kernel, "dram_bytes"), flops = counted_mean(cell, kernel, "flops");
    const double bytes_model = modelled_mean(kernel, false), flops_model = modelled_mean(kernel, true);
    pipe_number(table, "%.3f", bytes * 1e-6);
    pipe_number(table, "%.3f", bytes_model * 1e-6);
    pipe_number(table, "%.2f", bytes_model > 0 ? bytes / bytes_model : UNKNOWN_DOUBLE);
    pipe_number(table, "%.4g", flops * 1e-9);
    pipe_number(table, "%.4g", flops_model * 1e-9);
    pipe_number(table, "%.3f", flops_model > 0 ? flops / flops_model : UNKNOWN_DOUBLE);
    pipe_number(table, "%.1f", counted_occupancy(cell, kernel) * 100);
    pipe_number(table, "%.1f", bytes / counted_mean(cell, kernel, "gpu_ns"));
}

/* Kernels are sorted by time within a pass: the first so many of each phase are its largest. */
static bool counter_table(const struct report_cell *cell, int pass, struct strbuf *out)
{
    struct pipe_table table = {0};
    add_columns(&table, cell);
    for (int phase = 0; phase < PLACE_PHASE_COUNT; phase++) {
        int shown = 0;
        for (size_t k = 0; k < cell->kernel_count && shown < MARKDOWN_TOP; k++) {
            const struct report_kernel *kernel = &cell->kernels[k];
            if (kernel->pass == pass && kernel->phase == phase && kernel->counters && kernel->counters->samples) {
                add_row(&table, cell, kernel);
                shown++;
            }
        }
    }
    const bool any = table.row_count > 0;
    pipe_finish(&table, out);
    return any;
}

void markdown_counters(const struct report *report, struct strbuf *out)
{
    bool any = false;
    for (size_t i = 0; i < report->cells.count && i < MARKDOWN_DETAIL_CELLS; i++) {
        const struct report_cell *cell = report->cells.items[i];
        const int pass = cell_has_kernels(cell) ? cell_longest_pass(cell) : -1;
        struct strbuf table = {0};
        if (pass >= 0 && counter_table(cell, pass, &table)) {
            if (!any)
                strbuf_puts(out,
                            "\n## Counters\n\nThe mean launch of those that were counted (not the warm-up), measured; "
                            "n/a where the machine does not tell, ≤ where more than half is the reading of the counter "
                            "itself. Which tier they come from is said at the end.\n");
            any = true;
            strbuf_puts(out, "\n### ");
            markdown_title(cell, out);
            strbuf_printf(out, ", %s\n\n", pass_name((enum pass)pass));
            strbuf_add(out, table.text, table.length);
        }
        strbuf_release(&table);
    }
}
