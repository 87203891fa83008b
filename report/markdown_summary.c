/* What a reader wants who reads ten lines: where it ran, what each of the first cells took, what took most of it, and what may have
 * to be excused. */
#include "report/axis.h"
#include "report/compare.h"
#include "report/contention.h"
#include "report/escape.h"
#include "report/markdown.h"
#include "report/seed_rule.h"
#include <stdio.h>
#include <string.h>

#define CELLS 3 /* with the findings above them, ten lines */

static void host_line(const struct report *report, struct strbuf *out)
{
    size_t ok = 0;
    for (size_t i = 0; i < report->cells.count; i++)
        ok += report->cells.items[i]->status == STATUS_OK;
    strbuf_printf(out, "- **%zu cell%s**, %zu ok", report->cells.count, report->cells.count == 1 ? "" : "s", ok);
    for (int status = 0; status < STATUS_COUNT; status++) {
        size_t count = 0;
        for (size_t i = 0; i < report->cells.count; i++)
            count += report->cells.items[i]->status == (enum status)status;
        if (count && status != STATUS_OK)
            strbuf_printf(out, ", %zu %s", count, status_name((enum status)status));
    }
    const struct report_cell *first = report->cells.count ? report->cells.items[0] : NULL;
    const char *const facts[] = {report->host.hostname,
                                 first && first->device.model[0] ? first->device.model : report->host.cpu,
                                 report->created};
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++)
        if (facts[i] && *facts[i]) {
            strbuf_puts(out, i == 0 ? "; on " : ", ");
            escape_markdown_cell(out, facts[i]);
        }
    strbuf_putc(out, '\n');
}

/* The most complete pass with timed steps; -1. */
static int timed_pass(const struct report_cell *cell)
{
    for (int pass = PASS_COUNT - 1; pass >= 0; pass--)
        if (cell->passes[pass].present && cell->passes[pass].phases[PHASE_COUNT].summary.n)
            return pass;
    return -1;
}

static void largest(const struct report_cell *cell, int pass, struct strbuf *out)
{
    double classes[CLASS_COUNT] = {0}, most = 0;
    const struct report_kernel *top = NULL;
    int class = 0;
    for (size_t k = 0; k < cell->kernel_count; k++) {
        const struct report_kernel *kernel = &cell->kernels[k];
        if (kernel->pass != pass || !is_known(kernel->share))
            continue;
        classes[kernel->kernel_class] += kernel->share;
        if (!top || kernel->total_ns > top->total_ns)
            top = kernel;
    }
    for (int c = 0; c < CLASS_COUNT; c++)
        if (classes[c] > most) {
            most = classes[c];
            class = c;
        }
    if (!top)
        return;
    strbuf_printf(out,
                  "; %s %.0f %% of kernel time, most of one kernel: ", kernel_class_name((enum kernel_class) class),
                  most * 100);
    escape_markdown_cell(out, top->name);
    strbuf_printf(out, " (%s) %.0f %%", phase_name((enum phase)top->phase), top->share * 100);
}

static void cell_line(const struct report_cell *cell, struct strbuf *out)
{
    const int pass = timed_pass(cell);
    strbuf_puts(out, "- ");
    markdown_title(cell, out);
    if (pass < 0) {
        strbuf_printf(out, ": %s, no timed step\n", status_name(cell->status));
        return;
    }
    const struct report_pass *times = &cell->passes[pass];
    const struct summary *total = &times->phases[PHASE_COUNT].summary;
    const double step = is_known(total->median) ? total->median : total->mean;
    strbuf_printf(out, ": **%s %.4g ms**", pass_name((enum pass)pass), step * 1e-6);
    if (is_known(total->median_low))
        strbuf_printf(out, " [%.4g, %.4g]", total->median_low * 1e-6, total->median_high * 1e-6);
    for (int phase = 0; phase < PHASE_COUNT; phase++)
        if (times->phases[phase].summary.n && pass != PASS_FWD)
            strbuf_printf(out, ", %s %.4g", phase_name((enum phase)phase), times->phases[phase].summary.median * 1e-6);
    /* A command's tokens are not known, and a step of no time has no rate. */
    if (cell->requested.collective == COLLECTIVE_NONE && is_known(cell_tokens(cell) / step))
        strbuf_printf(out, "; %.4g tokens/s%s", cell_tokens(cell) / step * 1e9,
                      cell->requested.ranks > 1 ? " of all ranks" : "");
    if (is_known(cell->flops[pass] / step))
        strbuf_printf(out, ", %.4g GFLOP/s (modelled)", cell->flops[pass] / step);
    if (is_known_u64(cell->memory.planned_total))
        strbuf_printf(out, ", %.4g MiB planned", (double)cell->memory.planned_total / 0x1p20);
    if (!times->warmup_rows)
        largest(cell, pass, out);
    if (is_known(times->overhead.median)) {
        char overhead[32];
        overhead_text(&times->overhead, overhead, sizeof overhead);
        strbuf_printf(out, "; profiler's overhead %s", overhead);
    }
    strbuf_putc(out, '\n');
}

void markdown_summary(const struct report *report, struct strbuf *out)
{
    struct strbuf contended = {0};
    host_line(report, out);
    for (size_t i = 0; i < report->cells.count && i < CELLS; i++)
        cell_line(report->cells.items[i], out);
    if (report->cells.count > CELLS)
        strbuf_printf(out, "- and %zu more cell%s, below\n", report->cells.count - CELLS,
                      report->cells.count == CELLS + 1 ? "" : "s");
    if (report_contention(report, &contended))
        strbuf_printf(out, "- Contended: taken with %s; these times may be those of other work\n", contended.text);
    strbuf_release(&contended);
}
