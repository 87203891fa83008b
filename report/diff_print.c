#include "base/limits.h"
#include "report/diff.h"
#include "report/escape.h"
#include "report/pipe_table.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DETAIL_CELLS 16 /* with tables of kernels and layers */
#define DETAIL_ROWS 15  /* of each, the largest changes */

static void title_of(const struct diff_cell *cell, char *title, size_t size)
{
    cell_title(&(cell->b ? cell->b : cell->a)->requested, false, title, size);
}

/* What the cell is on the axis, and what it is compared with: "compiled", "eager"; nothing for two reports. */
static void values_of(const struct diff *diff, const struct diff_cell *cell, char *is, char *base, size_t size)
{
    *is = *base = 0;
    if (!diff->axis)
        return;
    diff->axis->print(&cell->b->requested, is, size);
    diff->axis->print(&cell->a->requested, base, size);
}

#define VALUE 96

static const char *unit_of(const struct diff *diff)
{
    return diff->axis && diff->axis->shape ? "a thousand tokens" : "a profiled step";
}

/* A kernel that only one of the reports has: its time is all change. */
static double known_or_0(double value)
{
    return is_known(value) ? value : 0;
}

static int by_change(const void *a, const void *b)
{
    const struct diff_row *x = *(const struct diff_row *const *)a, *y = *(const struct diff_row *const *)b;
    const double p = fabs(known_or_0(x->b_ns) - known_or_0(x->a_ns)),
                 q = fabs(known_or_0(y->b_ns) - known_or_0(y->a_ns));
    return p > q ? -1 : p < q;
}

/* Faster, slower, new or gone; and what might be, where there were too few steps to tell. */
static bool is_change(const struct diff *diff, const struct diff_row *row)
{
    return row->verdict == VERDICT_FASTER || row->verdict == VERDICT_SLOWER || !is_known(row->a_ns) ||
           !is_known(row->b_ns) || (row->verdict == VERDICT_UNCLEAR && fabs(row->ratio.median - 1) > diff->threshold);
}

static const char *change_name(const struct diff_row *row)
{
    return !is_known(row->a_ns) ? "new" : !is_known(row->b_ns) ? "gone" : verdict_name(row->verdict);
}

/* Change in percent, its interval, and the verdict: the columns that all tables end with. */
static void change_columns(const struct diff *diff, struct pipe_table *table)
{
    pipe_add_column(table, diff->axis ? "base ms" : "before ms", PIPE_NUMBER);
    pipe_add_column(table, diff->axis ? "this ms" : "after ms", PIPE_NUMBER);
    pipe_add_column(table, "change %", PIPE_NUMBER);
    pipe_add_column(table, "95 % low", PIPE_NUMBER);
    pipe_add_column(table, "95 % high", PIPE_NUMBER);
    pipe_add_column(table, "verdict", PIPE_TEXT);
}

static void change_cells(struct pipe_table *table, const struct diff_row *row)
{
    pipe_number(table, "%.3f", row->a_ns * 1e-6);
    pipe_number(table, "%.3f", row->b_ns * 1e-6);
    pipe_number(table, "%+.2f", (row->ratio.median - 1) * 100);
    pipe_number(table, "%+.2f", (row->ratio.low - 1) * 100);
    pipe_number(table, "%+.2f", (row->ratio.high - 1) * 100);
    pipe_text(table, change_name(row));
}

static void step_table(const struct diff *diff, struct strbuf *out)
{
    struct pipe_table table = {0};
    pipe_add_column(&table, "cell", PIPE_TEXT);
    if (diff->axis) {
        pipe_add_column(&table, diff->axis->key, PIPE_TEXT);
        pipe_add_column(&table, "base", PIPE_TEXT);
    }
    pipe_add_column(&table, "pass", PIPE_TEXT);
    pipe_add_column(&table, "phase", PIPE_TEXT);
    change_columns(diff, &table);
    for (size_t i = 0; i < diff->cell_count; i++)
        for (size_t r = 0; r < diff->cells[i].step_count; r++) {
            const struct diff_row *row = &diff->cells[i].steps[r];
            char title[256], is[VALUE], base[VALUE];
            title_of(&diff->cells[i], title, sizeof title);
            values_of(diff, &diff->cells[i], is, base, VALUE);
            pipe_text(&table, title);
            if (diff->axis) {
                pipe_text(&table, is);
                pipe_text(&table, base);
            }
            pipe_text(&table, pass_name((enum pass)row->pass));
            pipe_text(&table, row->name);
            change_cells(&table, row);
        }
    pipe_finish(&table, out);
}

/* The rows that changed, the largest difference in time first; *found of them. The caller frees. */
static const struct diff_row **changed_rows(const struct diff *diff, const struct diff_row *rows, size_t count,
                                            size_t *found)
{
    const struct diff_row **changed = malloc((count + 1) * sizeof *changed);
    *found = 0;
    if (!changed)
        memory_exhausted(count, "rows of a comparison");
    for (size_t r = 0; r < count; r++)
        if (is_change(diff, &rows[r]))
            changed[(*found)++] = &rows[r];
    qsort(changed, *found, sizeof *changed, by_change);
    return changed;
}

static void row_table(const struct diff *diff, const char *what, const struct diff_row *rows, size_t count,
                      struct strbuf *out)
{
    struct pipe_table table = {0};
    size_t found;
    const struct diff_row **changed = changed_rows(diff, rows, count, &found);
    if (found) {
        pipe_add_column(&table, "phase", PIPE_TEXT);
        pipe_add_column(&table, what, PIPE_TEXT);
        change_columns(diff, &table);
        for (size_t r = 0; r < found && r < DETAIL_ROWS; r++) {
            pipe_text(&table, phase_name((enum phase)changed[r]->phase));
            pipe_text(&table, changed[r]->name);
            change_cells(&table, changed[r]);
        }
        strbuf_putc(out, '\n');
        pipe_finish(&table, out);
        if (found > DETAIL_ROWS)
            strbuf_printf(out, "\n%zu more changed.\n", found - DETAIL_ROWS);
    }
    free(changed);
}

static bool has_change(const struct diff *diff, const struct diff_row *rows, size_t count)
{
    for (size_t r = 0; r < count; r++)
        if (is_change(diff, &rows[r]))
            return true;
    return false;
}

static void details(const struct diff *diff, const char *heading, struct strbuf *out)
{
    size_t shown = 0, left = 0;
    for (size_t i = 0; i < diff->cell_count; i++) {
        const struct diff_cell *cell = &diff->cells[i];
        char title[256], is[VALUE], base[VALUE];
        if (!has_change(diff, cell->kernels, cell->kernel_count) && !has_change(diff, cell->layers, cell->layer_count))
            continue;
        if (shown == DETAIL_CELLS) {
            left++;
            continue;
        }
        shown++;
        title_of(cell, title, sizeof title);
        strbuf_printf(out, "\n%s", heading);
        escape_markdown_cell(out, title);
        values_of(diff, cell, is, base, VALUE);
        if (diff->axis)
            strbuf_printf(out, " against %s", base);
        strbuf_printf(out, ": kernels and layers that changed, %s\n", unit_of(diff));
        row_table(diff, "kernel", cell->kernels, cell->kernel_count, out);
        row_table(diff, "layer", cell->layers, cell->layer_count, out);
    }
    if (left)
        strbuf_printf(out, "\nKernels changed in %zu more cells.\n", left);
}

static void unmatched(const struct diff *diff, const char *name_a, const char *name_b, struct strbuf *out)
{
    for (size_t i = 0; i < diff->cell_count; i++) {
        const struct diff_cell *cell = &diff->cells[i];
        char title[256];
        title_of(cell, title, sizeof title);
        const bool both = cell->a && cell->b;
        if (both && !cell->status_worse)
            continue;
        strbuf_puts(out, "- ");
        escape_markdown_cell(out, title);
        if (both) {
            if (diff->axis)
                strbuf_printf(out, " is %s, its base %s", status_name(cell->b->status), status_name(cell->a->status));
            else
                strbuf_printf(out, " was %s and is %s", status_name(cell->a->status), status_name(cell->b->status));
            if (cell->b->reason && *cell->b->reason) {
                strbuf_puts(out, ": ");
                escape_markdown_cell(out, cell->b->reason);
            }
        } else {
            strbuf_puts(out, " is only in ");
            escape_markdown_cell(out, cell->a ? name_a : name_b);
        }
        strbuf_putc(out, '\n');
    }
}

static void few_steps_line(const struct diff *diff, struct strbuf *out)
{
    for (size_t i = 0; i < diff->cell_count; i++) {
        const uint64_t steps = diff->cells[i].row_steps;
        if (steps == 0 || steps >= COMPARE_LEAST_STEPS)
            continue;
        strbuf_printf(out,
                      "\nKernels and layers of fewer than %d profiled steps have no interval: none of them is called "
                      "faster or slower.\n",
                      COMPARE_LEAST_STEPS);
        return;
    }
}

/* Where steps were few, what the verdicts rest on: each level once. */
static void levels_line(const struct diff *diff, struct strbuf *out)
{
    bool said[RATIO_EXACT_SAMPLES + 1] = {false}, any = false;
    for (size_t i = 0; i < diff->cell_count; i++)
        for (size_t r = 0; r < diff->cells[i].step_count; r++) {
            const struct ratio *ratio = &diff->cells[i].steps[r].ratio;
            if (ratio->level <= 0 || ratio->n > RATIO_EXACT_SAMPLES || said[ratio->n])
                continue;
            strbuf_puts(out,
                        any ? ", " : "\nFew steps are judged by the exact rank test, whose interval equal runs leave ");
            strbuf_printf(out, "in %.2g %% of cases (%llu steps)", ratio->level * 100, (unsigned long long)ratio->n);
            said[ratio->n] = any = true;
        }
    if (any)
        strbuf_puts(out, ".\n");
    for (size_t i = 0; i < diff->cell_count; i++)
        for (size_t r = 0; r < diff->cells[i].step_count; r++)
            if (diff->cells[i].steps[r].verdict == VERDICT_UNCLEAR) {
                strbuf_printf(
                    out,
                    "\nunclear: fewer than %d steps on a side, or steps whose times the report does not hold, tell "
                    "nothing of the next ones.\n",
                    RATIO_LEAST_SAMPLES);
                return;
            }
}

/* What may excuse a difference. */
static void contention_lines(const struct diff *diff, const char *name_a, const char *name_b, bool markdown,
                             struct strbuf *out)
{
    for (int side = 0; side < 2; side++) {
        const char *name = side ? name_b : name_a;
        if (!diff->contended[side])
            continue;
        if (markdown) {
            strbuf_puts(out, "\nContended: ");
            escape_markdown_cell(out, name);
        } else {
            strbuf_puts(out, "contended: ");
            clean_text(out, name, strlen(name));
        }
        strbuf_printf(out, " was taken with %s; its times may be those of other work.\n", diff->contended[side]);
    }
}

static void summary_line(const struct diff *diff, struct strbuf *out)
{
    strbuf_printf(out,
                  "%zu cell%s %s; passes: %zu slower, %zu faster, %zu same, %zu ambiguous, %zu unclear (threshold "
                  "%.3g %%).\n",
                  diff->matched, diff->matched == 1 ? "" : "s", diff->axis ? "compared" : "in both",
                  diff->verdicts[VERDICT_SLOWER], diff->verdicts[VERDICT_FASTER], diff->verdicts[VERDICT_SAME],
                  diff->verdicts[VERDICT_AMBIGUOUS], diff->verdicts[VERDICT_UNCLEAR], diff->threshold * 100);
}

void diff_markdown(const struct diff *diff, const char *name_a, const char *name_b, struct strbuf *out)
{
    strbuf_puts(out, "## steptop diff: ");
    escape_markdown_cell(out, name_a);
    if (diff->axis) {
        strbuf_printf(out, " across %s\n\n", diff->axis->key);
    } else {
        strbuf_puts(out, " → ");
        escape_markdown_cell(out, name_b);
        strbuf_printf(out, "\n\n**%s** ", diff->regression ? "Regression." : "No regression.");
    }
    summary_line(diff, out);
    contention_lines(diff, name_a, name_b, true, out);
    strbuf_putc(out, '\n');
    if (diff->matched)
        step_table(diff, out);
    if (diff->axis)
        strbuf_printf(out,
                      "\nMedians of timed steps, profiler off%s; this over its base, with the 95 %% interval of the "
                      "ratio.\n",
                      diff->axis->shape ? ", in ms a thousand tokens" : "");
    else
        strbuf_puts(
            out, "\nMedians of timed steps, profiler off; after over before, with the 95 % interval of the ratio.\n");
    struct strbuf list = {0};
    unmatched(diff, name_a, name_b, &list);
    for (size_t i = 0; i < diff->cell_count && !diff->axis; i++)
        if (diff->cells[i].a && diff->cells[i].b)
            diff_findings(&diff->cells[i], true, &list);
    if (list.length)
        strbuf_printf(out, "\n%s", list.text);
    strbuf_release(&list);
    details(diff, "### ", out);
    levels_line(diff, out);
    few_steps_line(diff, out);
}

static void text_row(const struct diff_row *row, const char *label, struct strbuf *out)
{
    char interval[64] = "";
    if (is_known(row->ratio.low) && is_known(row->ratio.high))
        snprintf(interval, sizeof interval, "[%+.2f, %+.2f]", (row->ratio.low - 1) * 100, (row->ratio.high - 1) * 100);
    for (int side = 0; side < 2; side++) {
        const double ns = side ? row->b_ns : row->a_ns;
        if (is_known(ns))
            strbuf_printf(out, "%s%12.3f ms", side ? " " : "  ", ns * 1e-6);
        else
            strbuf_printf(out, "%s%12s   ", side ? " " : "  ", "-");
    }
    if (is_known(row->ratio.median))
        strbuf_printf(out, " %+8.2f %%", (row->ratio.median - 1) * 100);
    else
        strbuf_printf(out, " %8s  ", "");
    strbuf_printf(out, " %-18s %-9s ", interval, change_name(row));
    clean_text(out, label, strlen(label));
    strbuf_putc(out, ' ');
    clean_text(out, row->name, strlen(row->name));
    strbuf_putc(out, '\n');
}

static void text_changes(const struct diff *diff, const char *what, const struct diff_row *rows, size_t count,
                         struct strbuf *out)
{
    size_t found;
    const struct diff_row **changed = changed_rows(diff, rows, count, &found);
    if (found)
        strbuf_printf(out, " %s\n", what);
    for (size_t r = 0; r < found && r < DETAIL_ROWS; r++)
        text_row(changed[r], phase_name((enum phase)changed[r]->phase), out);
    if (found > DETAIL_ROWS)
        strbuf_printf(out, "  … %zu more\n", found - DETAIL_ROWS);
    free(changed);
}

void diff_text(const struct diff *diff, const char *name_a, const char *name_b, struct strbuf *out)
{
    clean_text(out, name_a, strlen(name_a));
    if (diff->axis) {
        strbuf_printf(out, " across %s%s", diff->axis->key,
                      diff->axis->shape ? ", milliseconds a thousand tokens" : "");
    } else {
        strbuf_puts(out, " → ");
        clean_text(out, name_b, strlen(name_b));
    }
    strbuf_puts(out, "\n");
    summary_line(diff, out);
    contention_lines(diff, name_a, name_b, false, out);
    for (size_t i = 0; i < diff->cell_count; i++) {
        const struct diff_cell *cell = &diff->cells[i];
        char title[256], is[VALUE], base[VALUE];
        title_of(cell, title, sizeof title);
        strbuf_putc(out, '\n');
        clean_text(out, title, strlen(title));
        values_of(diff, cell, is, base, VALUE);
        if (diff->axis) {
            strbuf_puts(out, ": ");
            clean_text(out, base, strlen(base));
            strbuf_puts(out, " → ");
            clean_text(out, is, strlen(is));
        }
        if (!cell->a || !cell->b) {
            strbuf_puts(out, ": only in ");
            clean_text(out, cell->a ? name_a : name_b, strlen(cell->a ? name_a : name_b));
            strbuf_putc(out, '\n');
            continue;
        }
        if (cell->status_worse)
            strbuf_printf(out, diff->axis ? ", of which the first is %s, the second %s" : ": was %s, is %s",
                          status_name(cell->a->status), status_name(cell->b->status));
        strbuf_putc(out, '\n');
        for (size_t r = 0; r < cell->step_count; r++)
            text_row(&cell->steps[r], pass_name((enum pass)cell->steps[r].pass), out);
        char what[64];
        snprintf(what, sizeof what, "kernels that changed, %s", unit_of(diff));
        text_changes(diff, what, cell->kernels, cell->kernel_count, out);
        snprintf(what, sizeof what, "layers that changed, %s", unit_of(diff));
        text_changes(diff, what, cell->layers, cell->layer_count, out);
        if (!diff->axis)
            diff_findings(cell, false, out);
    }
    levels_line(diff, out);
    few_steps_line(diff, out);
    if (!diff->axis)
        strbuf_puts(out, diff->regression ? "\nRegression.\n" : "\nNo regression.\n");
}
