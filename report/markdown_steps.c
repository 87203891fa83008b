#include "report/compare.h"
#include "report/derive.h"
#include "report/escape.h"
#include "report/markdown.h"
#include "report/pipe_table.h"
#include <stdio.h>

/* A phase with samples, in a pass that is there. */
static bool has_phase(const struct report_cell *cell, int pass, int phase)
{
    return cell->passes[pass].present && cell->passes[pass].phases[phase].summary.n > 0;
}

/* A first step that is slower than the others points at the warm-up; a faster one is odd, and no more is known of it. */
static const char *first_step(const struct report_cell *cell, const struct report_phase *total)
{
    if (!total->summary.first_is_outlier || !has_first_steps(cell, total))
        return "";
    if (!total->sample_count)
        return "the first timed step is an outlier";
    return (double)total->samples_ns[0] > total->summary.median
               ? "the first timed step is an outlier, slower than the others: the warm-up may have been too short"
               : "the first timed step is an outlier, faster than the others";
}

static void warn(struct strbuf *warnings, const struct report_cell *cell, int pass)
{
    const struct report_phase *total = &cell->passes[pass].phases[PHASE_COUNT];
    const double drift = total->summary.drift;
    const bool drifts = is_known(drift) && fabs(drift) > 3;
    const char *first = first_step(cell, total);
    if (!*first && !drifts)
        return;
    strbuf_puts(warnings, "- ");
    markdown_title(cell, warnings);
    strbuf_printf(warnings, ", %s: %s", pass_name((enum pass)pass), first);
    if (drifts)
        strbuf_printf(warnings, "%sthe last third of the steps is %.1f deviations (MAD) %s than the first",
                      *first ? "; " : "", fabs(drift), drift > 0 ? "slower" : "faster");
    strbuf_puts(warnings, "\n");
}

void markdown_steps(const struct report *report, struct strbuf *out)
{
    struct pipe_table table = {0};
    struct strbuf warnings = {0};
    pipe_add_columns(&table, PIPE_TEXT, "cell", "pass", "phase");
    pipe_add_columns(&table, PIPE_NUMBER, "n", "mean ms", "sd ms", "median ms", "95 % low", "95 % high", "MAD ms",
                     "p5 ms", "p95 ms", "CV %", "outliers");
    for (size_t i = 0; i < report->cells.count; i++) {
        const struct report_cell *cell = report->cells.items[i];
        char title[256];
        cell_title(&cell->requested, false, title, sizeof title);
        for (int pass = 0; pass < PASS_COUNT; pass++)
            for (int phase = 0; phase <= PHASE_COUNT; phase++) {
                if (!has_phase(cell, pass, phase))
                    continue;
                const struct summary *s = &cell->passes[pass].phases[phase].summary;
                pipe_text(&table, title);
                pipe_text(&table, pass_name((enum pass)pass));
                pipe_text(&table, phase == PHASE_COUNT ? "total" : phase_name((enum phase)phase));
                pipe_integer(&table, (int64_t)s->n);
                pipe_number(&table, "%.3f", s->mean * 1e-6);
                pipe_number(&table, "%.3f", s->sd * 1e-6);
                pipe_number(&table, "%.3f", s->median * 1e-6);
                pipe_number(&table, "%.3f", s->median_low * 1e-6);
                pipe_number(&table, "%.3f", s->median_high * 1e-6);
                pipe_number(&table, "%.3f", s->mad * 1e-6);
                pipe_number(&table, "%.3f", s->p5 * 1e-6);
                pipe_number(&table, "%.3f", s->p95 * 1e-6);
                pipe_number(&table, "%.2f", s->cv * 100);
                pipe_count(&table, widened(s->outliers));
                if (phase == PHASE_COUNT)
                    warn(&warnings, cell, pass);
            }
    }
    if (pipe_section(&table,
                     "\n## Forward, backward, optimizer\n\n"
                     "Each phase timed directly inside its pass, profiler off. 95 % is the interval of the median by "
                     "order statistics.\n\n",
                     out)) {
        if (warnings.length)
            strbuf_printf(out, "\n%s", warnings.text);
    }
    strbuf_release(&warnings);
}

#define FIRST_STEPS 8

void markdown_warmup(const struct report *report, struct strbuf *out)
{
    struct pipe_table table = {0};
    pipe_add_columns(&table, PIPE_TEXT, "cell", "pass");
    pipe_add_columns(&table, PIPE_NUMBER, "warm-up", "mean ms", "sd ms", "1st / median");
    pipe_add_column(&table, "steps in order, ms (w: warm-up)", PIPE_TEXT);
    for (size_t i = 0; i < report->cells.count; i++) {
        const struct report_cell *cell = report->cells.items[i];
        char title[256];
        cell_title(&cell->requested, false, title, sizeof title);
        for (int pass = 0; pass < PASS_COUNT; pass++) {
            const struct report_phase *total = &cell->passes[pass].phases[PHASE_COUNT];
            if (!cell->passes[pass].present || !total->sample_count)
                continue;
            const bool whole = has_first_steps(cell, total);
            struct strbuf series = {0};
            size_t shown = 0;
            for (size_t s = 0; s < total->warmup_count && shown < FIRST_STEPS; s++, shown++)
                strbuf_printf(&series, "%sw%.3f", shown ? " " : "", (double)total->warmup_ns[s] * 1e-6);
            for (size_t s = 0; whole && s < total->sample_count && shown < FIRST_STEPS; s++, shown++)
                strbuf_printf(&series, "%s%.3f", shown ? " " : "", (double)total->samples_ns[s] * 1e-6);
            const double first = total->warmup_count ? (double)total->warmup_ns[0]
                                 : whole             ? (double)total->samples_ns[0]
                                                     : UNKNOWN_DOUBLE;
            pipe_text(&table, title);
            pipe_text(&table, pass_name((enum pass)pass));
            pipe_integer(&table, (int64_t)total->warmup_count);
            pipe_number(&table, "%.3f", total->summary.mean * 1e-6);
            pipe_number(&table, "%.3f", total->summary.sd * 1e-6);
            pipe_number(&table, "%.3f", first / total->summary.median);
            if (total->warmup_count + total->sample_count > shown)
                strbuf_puts(&series, shown ? " …" : "…");
            pipe_text(&table, series.text);
            strbuf_release(&series);
        }
    }
    pipe_section(
        &table,
        "\n## Warm-up\n\nWhat the first steps cost, and what leaving them out does: mean and sd are those of the "
        "counted steps alone.\n\n",
        out);
}

void markdown_overhead(const struct report *report, struct strbuf *out)
{
    struct pipe_table table = {0};
    pipe_add_columns(&table, PIPE_TEXT, "cell", "pass");
    pipe_add_columns(&table, PIPE_NUMBER, "steps", "wall ms", "busy ms", "idle ms", "idle %", "sum of kernels ms",
                     "in layers %", "overhead", "95 % low %", "95 % high %");
    for (size_t i = 0; i < report->cells.count; i++) {
        const struct report_cell *cell = report->cells.items[i];
        char title[256];
        cell_title(&cell->requested, false, title, sizeof title);
        for (int p = 0; p < PASS_COUNT; p++) {
            const struct report_pass *pass = &cell->passes[p];
            if (!pass->present || !pass->profiled_steps || pass->warmup_rows)
                continue;
            pipe_text(&table, title);
            pipe_text(&table, pass_name((enum pass)p));
            pipe_integer(&table, (int64_t)pass->profiled_steps);
            pipe_number(&table, "%.3f", pass->wall_ns * 1e-6);
            pipe_number(&table, "%.3f", pass->busy_ns * 1e-6);
            pipe_number(&table, "%.3f", pass->idle_ns * 1e-6);
            pipe_number(&table, "%.2f", pass->idle_ns / pass->wall_ns * 100);
            pipe_number(&table, "%.3f", pass->kernel_ns * 1e-6);
            pipe_number(&table, "%.2f", pass->attributed_ns / pass->kernel_ns * 100);
            char overhead[32];
            overhead_text(&pass->overhead, overhead, sizeof overhead);
            pipe_text(&table, overhead);
            pipe_number(&table, "%+.2f", (pass->overhead.low - 1) * 100);
            pipe_number(&table, "%+.2f", (pass->overhead.high - 1) * 100);
        }
    }
    pipe_section(
        &table,
        "\n## Wall clock against kernels\n\n"
        "A profiled step: busy is the union of all kernel intervals, idle what is left of the wall clock; "
        "overhead is profiled over timed steps of the same run, taken in turns; ≈ 0 where they differ by less than "
        "their own interval.\n\n",
        out);
}

/* Of several processes of a command: each one's step, and how much of it went to waiting for the others. */
static void command_ranks(const struct report *report, struct strbuf *out)
{
    struct pipe_table table = {0};
    pipe_add_column(&table, "cell", PIPE_TEXT);
    pipe_add_columns(&table, PIPE_NUMBER, "rank", "steps", "step ms", "device works ms", "only a collective ms");
    for (size_t i = 0; i < report->cells.count; i++) {
        const struct report_cell *cell = report->cells.items[i];
        char title[256];
        cell_title(&cell->requested, false, title, sizeof title);
        for (size_t r = 0; cell->requested.command[0] && cell->rank_count > 1 && r < cell->rank_count; r++) {
            const struct report_rank *rank = &cell->ranks[r];
            pipe_text(&table, title);
            pipe_integer(&table, rank->rank);
            pipe_integer(&table, (int64_t)rank->steps);
            pipe_number(&table, "%.3f", rank->step_ns * 1e-6);
            pipe_number(&table, "%.3f", rank->compute_ns * 1e-6);
            pipe_number(&table, "%.3f", rank->exposed_ns * 1e-6);
        }
    }
    pipe_section(&table, "\nIts processes, by recorded step:\n\n", out);
}

void markdown_idle(const struct report *report, struct strbuf *out)
{
    struct pipe_table table = {0};
    struct strbuf head = {0};
    pipe_add_columns(&table, PIPE_TEXT, "cell", "pass");
    pipe_add_columns(&table, PIPE_NUMBER, "steps", "idle ms");
    for (int r = 0; r < IDLE_REASONS; r++) {
        char name[32];
        snprintf(name, sizeof name, "%s ms", idle_reason_name((enum idle_reason)r));
        pipe_add_column(&table, name, PIPE_NUMBER);
    }
    pipe_add_column(&table, "sync asked for by", PIPE_TEXT);
    for (size_t i = 0; i < report->cells.count; i++) {
        const struct report_cell *cell = report->cells.items[i];
        char title[256];
        cell_title(&cell->requested, false, title, sizeof title);
        for (int p = 0; p < PASS_COUNT; p++) {
            const struct report_idle *idle = &cell->passes[p].idle;
            if (!cell->passes[p].present || !idle->steps)
                continue;
            pipe_text(&table, title);
            pipe_text(&table, pass_name((enum pass)p));
            pipe_integer(&table, (int64_t)idle->steps);
            pipe_number(&table, "%.3f", idle->total_ns * 1e-6);
            for (int r = 0; r < IDLE_REASONS; r++)
                pipe_number(&table, "%.3f", idle->ns[r] * 1e-6);
            pipe_text(&table, idle->sync_layer);
        }
    }
    strbuf_puts(&head, "\n## Idle time\n\nOf a profiled step: how long no kernel ran but a collective, and why.\n\n");
    for (int r = 0; r < IDLE_REASONS; r++)
        strbuf_printf(&head, "- *%s*: %s\n", idle_reason_name((enum idle_reason)r),
                      idle_reason_text((enum idle_reason)r));
    strbuf_putc(&head, '\n');
    if (pipe_section(&table, head.text, out))
        command_ranks(report, out);
    strbuf_release(&head);
}
