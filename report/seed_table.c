#include "report/pipe_table.h"
#include "report/report.h"
#include "report/seed_rule.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* The seed made one table for each device and compile setting: the index starts again there, and so does the alignment. */
static bool same_block(const struct report_cell *a, const struct report_cell *b)
{
    return strcmp(a->requested.device, b->requested.device) == 0 && a->requested.compile == b->requested.compile;
}

void report_seed_table(const struct report *report, struct strbuf *out)
{
    struct pipe_table table = {0};
    pipe_add_column(&table, "", PIPE_NUMBER);
    pipe_add_column(&table, "device", PIPE_TEXT);
    pipe_add_column(&table, "batch_size", PIPE_NUMBER);
    pipe_add_columns(&table, PIPE_TEXT, "compile", "model");
    pipe_add_column(&table, "context_length", PIPE_NUMBER);
    pipe_add_columns(&table, PIPE_NUMBER, "fwd avg (sec)", "fwd std (sec)", "back avg (sec)", "back std (sec)",
                     "fws & back avg (sec)", "fws & back std (sec)");
    pipe_add_column(&table, "status", PIPE_TEXT);
    int64_t index = 0;
    for (size_t i = 0; i < report->cells.count; i++) {
        const struct report_cell *cell = report->cells.items[i];
        if (cell->requested.command[0])
            continue;
        const bool first = i == 0 || !same_block(cell, report->cells.items[i - 1]);
        if (first && i > 0)
            pipe_new_block(&table);
        index = first ? 0 : index + 1;
        struct first_figures t;
        first_figures_of_cell(cell, &t);
        char status[512];
        const bool reason = cell->status != STATUS_OK && cell->reason && cell->reason[0];
        snprintf(status, sizeof status, "%s%s%s", status_name(cell->status), reason ? ": " : "",
                 reason ? cell->reason : "");
        pipe_integer(&table, index);
        pipe_text(&table, cell->requested.device);
        pipe_integer(&table, cell->requested.batch_size);
        pipe_bool(&table, cell->requested.compile);
        pipe_text(&table, cell->requested.model.name);
        pipe_integer(&table, cell->requested.context_length);
        pipe_general(&table, t.forward.mean * 1e-9);
        pipe_general(&table, t.forward.sd * 1e-9);
        pipe_general(&table, t.backward.mean * 1e-9);
        pipe_general(&table, t.backward.sd * 1e-9);
        pipe_general(&table, t.both.mean * 1e-9);
        pipe_general(&table, t.both.sd * 1e-9);
        pipe_text(&table, status);
    }
    pipe_finish(&table, out);
}

/* Which rows do not follow the seed's rule, since their forward had no pass of its own. */
void report_seed_head(const struct report *report, struct strbuf *out)
{
    size_t together[PASS_COUNT] = {0};
    for (size_t i = 0; i < report->cells.count; i++) {
        struct first_figures figures;
        first_figures_of_cell(report->cells.items[i], &figures);
        if (!figures.apart && isfinite(figures.forward.mean))
            together[figures.steps]++;
    }
    for (int pass = 0; pass < PASS_COUNT; pass++) {
        if (!together[pass])
            continue;
        const bool all = together[pass] == report->cells.count;
        strbuf_printf(out, "\n%s", all ? "No forward pass ran by itself" : "In ");
        if (!all)
            strbuf_printf(out, "%zu of the %zu rows no forward pass ran by itself", together[pass],
                          report->cells.count);
        strbuf_printf(
            out, ": fwd is the phase fwd of %s, back the sum of its phases loss and bwd, timed in the same step%s.\n",
            pass_name((enum pass)pass),
            pass == PASS_TRAIN_STEP ? ", fws & back the sum of these without the optimizer" : "");
    }
}
