/* Collectives alone: the course's table of sizes and processes, by nccl-tests' formulas. */
#include "report/markdown.h"
#include "report/pipe_table.h"
#include <math.h>
#include <stdio.h>

static bool is_collective(const struct report_cell *cell)
{
    return cell->requested.collective != COLLECTIVE_NONE;
}

bool report_has_collectives(const struct report *report)
{
    for (size_t i = 0; i < report->cells.count; i++)
        if (is_collective(report->cells.items[i]))
            return true;
    return false;
}

void collectives_table(const struct report *report, struct strbuf *out)
{
    struct pipe_table table = {0};
    pipe_add_columns(&table, PIPE_TEXT, "device", "collective", "type");
    pipe_add_columns(&table, PIPE_NUMBER, "MB", "ranks", "n", "mean ms", "sd ms", "least rank ms", "most rank ms",
                     "algbw GB/s", "busbw GB/s");
    pipe_add_column(&table, "status", PIPE_TEXT);
    for (size_t i = 0; i < report->cells.count; i++) {
        const struct report_cell *cell = report->cells.items[i];
        if (!is_collective(cell))
            continue;
        const struct cell *asked = &cell->requested;
        struct plan_request request;
        cell_plan_request(asked, 0, &request);
        const int64_t bytes = collective_bytes(&request.ranks);
        const double calls = collective_series(bytes), ranks = (double)cell->rank_count;
        double mean = 0, least = INFINITY, most = 0;
        for (size_t r = 0; r < cell->rank_count; r++) {
            const double own = cell->ranks[r].step_ns / calls;
            mean += own / ranks;
            least = fmin(least, own);
            most = fmax(most, own);
        }
        const struct summary *summary = &cell->passes[PASS_FWD].phases[PHASE_COUNT].summary;
        const bool known = cell->rank_count > 0 && summary->n > 0;
        if (!known)
            mean = least = most = UNKNOWN_DOUBLE;
        const double rate = (double)bytes / mean; /* bytes a ns are GB/s */
        pipe_text(&table, asked->device);
        pipe_text(&table, collective_name(asked->collective));
        pipe_text(&table, gradient_dtype_name(asked->gradient_dtype));
        pipe_integer(&table, asked->bucket_mb);
        pipe_integer(&table, asked->ranks);
        pipe_integer(&table, (int64_t)summary->n);
        pipe_number(&table, "%.4f", mean / 1e6);
        pipe_number(&table, "%.4f", known ? summary->sd / calls / 1e6 : UNKNOWN_DOUBLE);
        pipe_number(&table, "%.4f", least / 1e6);
        pipe_number(&table, "%.4f", most / 1e6);
        pipe_number(&table, "%.3f", rate);
        pipe_number(&table, "%.3f", rate * collective_bus_factor(collective_name(asked->collective), asked->ranks));
        pipe_text(&table, status_name(cell->status));
    }
    pipe_finish(&table, out);
}

void markdown_collectives(const struct report *report, struct strbuf *out)
{
    if (!report_has_collectives(report))
        return;
    strbuf_puts(
        out,
        "\n## Collectives\n\nMeasured, after the warm-up steps; MB are 10^6 bytes of the whole. Up to 20 calls are "
        "timed "
        "in a row, 400 MB together at most, and a call is their mean. sd: between steps, of rank 0; least and most "
        "rank: the means of the fastest and of the slowest rank. algbw is bytes by mean time; busbw is algbw times "
        "2(n-1)/n for all-reduce, (n-1)/n for reduce-scatter and all-gather, 1 for broadcast.\n\n");
    collectives_table(report, out);
}
