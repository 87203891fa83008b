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

/* Nothing but commands has no table of models; a report without cells keeps its empty one. */
static bool has_model(const struct report *report)
{
    bool any = report->cells.count == 0;
    for (size_t i = 0; i < report->cells.count; i++)
        any |= !report->cells.items[i]->requested.command[0];
    return any;
}

/* Appends the sections of `text`, each of which begins with "\n## Title\n", folded: a forge shows the title to click on. */
static void fold(struct strbuf *out, const char *text)
{
    while (text && *text) {
        const char *title = text + strlen("\n## "), *end = strchr(title, '\n'), *next = strstr(title, "\n## ");
        if (!end)
            return;
        const size_t length = next ? (size_t)(next - text) : strlen(text);
        strbuf_printf(out, "\n<details><summary>%.*s</summary>\n", (int)(end - title), title);
        strbuf_add(out, text, length);
        strbuf_puts(out, "\n</details>\n");
        text = next;
    }
}

void markdown_compose(const struct report *report, const char *first, const char *rest, struct strbuf *out)
{
    static void (*const sections[])(const struct report *report, struct strbuf *out) = {
        markdown_findings, markdown_steps,   markdown_warmup,   markdown_overhead,        markdown_idle,
        markdown_classes,  markdown_kernels, markdown_counters, markdown_layers,          markdown_attention,
        markdown_memory,   markdown_ranks,   markdown_compare,  markdown_attention_sweep, markdown_method,
    };
    strbuf_puts(out, "# steptop report\n\n");
    markdown_verdict(report, out);
    markdown_summary(report, out);
    strbuf_puts(out, first);
    strbuf_puts(out, "\nTimes are measured unless a column says otherwise: FLOPs and bytes are modelled from the plan, "
                     "clocks and power are sampled.\n\n");
    if (has_model(report)) {
        strbuf_puts(out, "## End to End Benchmarks (");
        escape_markdown_cell(out,
                             report->host.hostname && *report->host.hostname ? report->host.hostname : "unknown host");
        strbuf_puts(out, ")\n");
        report_seed_table(report, out);
        report_seed_head(report, out);
        strbuf_puts(
            out, "\navg is the mean and std the sample standard deviation over the timed steps; back is the difference "
                 "of the two means, its std the root of both variances.\n");
    }
    markdown_failures(report, out);
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
        struct strbuf text = {0};
        sections[i](report, &text);
        fold(out, text.text);
        strbuf_release(&text);
    }
    fold(out, rest);
}

void emit_markdown(const struct report *report, struct strbuf *out)
{
    markdown_compose(report, "", "", out);
}
