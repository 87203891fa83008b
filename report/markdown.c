#include "report/markdown.h"
#include "report/emit.h"
#include "report/escape.h"
#include <string.h>

void markdown_title(const struct report_cell *cell, struct strbuf *out)
{
    char title[256];
    cell_title(&cell->requested, false, title, sizeof title);
    escape_markdown_cell(out, title);
}

int cell_longest_pass(const struct report_cell *cell)
{
    for (int pass = PASS_COUNT - 1; pass >= 0; pass--)
        if (cell->passes[pass].present && cell->passes[pass].profiled_steps && !cell->passes[pass].warmup_rows)
            return pass;
    return -1;
}

bool cell_has_kernels(const struct report_cell *cell)
{
    return cell->kernel_count && cell_longest_pass(cell) >= 0;
}

void emit_markdown(const struct report *report, struct strbuf *out)
{
    strbuf_puts(out, "# steptop report\n\n");
    strbuf_puts(out, "Times are measured unless a column says otherwise: FLOPs and bytes are modelled from the plan, "
                     "clocks and power are sampled.\n\n");
    strbuf_puts(out, "## End to End Benchmarks (");
    escape_markdown_cell(out, report->host.hostname && *report->host.hostname ? report->host.hostname : "unknown host");
    strbuf_puts(out, ")\n");
    report_seed_table(report, out);
    report_seed_head(report, out);
    strbuf_puts(
        out, "\navg is the mean and std the sample standard deviation over the timed steps; back is the difference of "
             "the two means, its std the root of both variances.\n");
    markdown_failures(report, out);
    markdown_steps(report, out);
    markdown_warmup(report, out);
    markdown_overhead(report, out);
    markdown_classes(report, out);
    markdown_kernels(report, out);
    markdown_counters(report, out);
    markdown_layers(report, out);
    markdown_attention(report, out);
    markdown_memory(report, out);
    markdown_compare(report, out);
    markdown_attention_sweep(report, out);
    markdown_method(report, out);
}
