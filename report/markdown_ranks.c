/* Several ranks: the questions of the course's distributed part, in its table shapes. */
#include "report/derive.h"
#include "report/escape.h"
#include "report/markdown.h"
#include "report/pipe_table.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static bool has_ranks(const struct report_cell *cell)
{
    return cell->requested.ranks > 1 && cell->rank_count > 1 && cell->requested.collective == COLLECTIVE_NONE;
}

static double bytes_of(const struct report_collective *collective)
{
    return is_known_u64(collective->bytes) ? (double)collective->bytes : UNKNOWN_DOUBLE;
}

static double ms(double ns)
{
    return ns / 1e6;
}

/* The slowest rank's, which is the step that a person waits for. */
static double slowest_step(const struct report_cell *cell)
{
    double slowest = UNKNOWN_DOUBLE;
    for (size_t r = 0; r < cell->rank_count; r++)
        if (!(cell->ranks[r].step_ns <= slowest))
            slowest = cell->ranks[r].step_ns;
    return slowest;
}

static void rank_table(const struct report *report, struct strbuf *out)
{
    struct pipe_table table = {0};
    pipe_add_column(&table, "cell", PIPE_TEXT);
    pipe_add_columns(&table, PIPE_NUMBER, "rank", "step ms", "communication ms", "share %", "wait ms", "transfer ms",
                     "exposed ms", "overlap %", "products x");
    for (size_t i = 0; i < report->cells.count; i++) {
        const struct report_cell *cell = report->cells.items[i];
        for (size_t r = 0; has_ranks(cell) && r < cell->rank_count; r++) {
            const struct report_rank *rank = &cell->ranks[r];
            char title[256];
            cell_title(&cell->requested, false, title, sizeof title);
            const double busy = rank->compute_ns + rank->exposed_ns;
            const double hidden = rank->communication_ns - rank->exposed_ns;
            pipe_text(&table, title);
            pipe_integer(&table, rank->rank);
            pipe_number(&table, "%.3f", ms(rank->step_ns));
            pipe_number(&table, "%.3f", ms(rank->communication_ns));
            pipe_number(&table, "%.1f", 100 * rank->communication_ns / busy);
            pipe_number(&table, "%.3f", ms(rank->wait_ns));
            pipe_number(&table, "%.3f", ms(rank->transfer_ns));
            pipe_number(&table, "%.3f", ms(rank->exposed_ns));
            pipe_number(&table, "%.1f",
                        rank->communication_ns > 0 ? 100 * hidden / rank->communication_ns : UNKNOWN_DOUBLE);
            pipe_number(&table, "%.2f", rank->product_slow);
        }
    }
    pipe_finish(&table, out);
}

/* Gradients can be on their way while backward makes others: where that is the whole of communication, is backward long enough, and
 * if it is, is no more exposed than the last bucket and a tenth of the rest? */
#define HIDDEN_REST 0.1

static void hiding_said(const struct report *report, struct strbuf *out)
{
    for (size_t i = 0; i < report->cells.count; i++) {
        const struct report_cell *cell = report->cells.items[i];
        double transfer = 0, backward = 0, exposed = 0, wait = 0;
        if (!has_ranks(cell) || !cell->collective_count ||
            (cell->requested.parallel != PARALLEL_OVERLAP && cell->requested.parallel != PARALLEL_BUCKET))
            continue;
        for (size_t r = 0; r < cell->rank_count; r++) {
            transfer += cell->ranks[r].transfer_ns / (double)cell->rank_count;
            backward += cell->ranks[r].backward_ns / (double)cell->rank_count;
            exposed += cell->ranks[r].exposed_ns / (double)cell->rank_count;
            wait += cell->ranks[r].wait_ns / (double)cell->rank_count;
        }
        const double last = cell->collectives[cell->collective_count - 1].transfer_ns;
        if (!is_known(transfer) || !is_known(backward) || !is_known(exposed))
            continue;
        strbuf_puts(out, "\n");
        markdown_title(cell, out);
        if (transfer > backward)
            strbuf_printf(
                out, ": communication cannot hide: it moves bytes for %.3f ms and backward computes for %.3f ms.%s\n",
                ms(transfer), ms(backward),
                cell->requested.gradient_dtype == GRADIENTS_FP32
                    ? " Gradients in bf16 (--grad-dtype bf16) take half of the way."
                    : "");
        else
            strbuf_printf(out,
                          ": communication %s behind backward (%.3f ms): of its %.3f ms (%.3f of them wait for a "
                          "rank) %.3f are exposed; the last one moves bytes for %.3f ms.\n",
                          exposed <= last + HIDDEN_REST * (wait + transfer) ? "hides" : "could hide and does not",
                          ms(backward), ms(wait + transfer), ms(wait), ms(exposed), ms(last));
    }
}

#define MOST_COLLECTIVES 12

static void collective_table(const struct report *report, struct strbuf *out)
{
    struct pipe_table table = {0};
    pipe_add_columns(&table, PIPE_TEXT, "cell", "collective", "of");
    pipe_add_columns(&table, PIPE_NUMBER, "MB", "calls", "wait ms", "transfer ms", "algbw GB/s", "busbw GB/s",
                     "link %");
    for (size_t i = 0; i < report->cells.count; i++) {
        const struct report_cell *cell = report->cells.items[i];
        const double link = cell->telemetry.link_bytes_per_s / 1e9;
        for (size_t c = 0; has_ranks(cell) && c < cell->collective_count && c < MOST_COLLECTIVES; c++) {
            const struct report_collective *one = &cell->collectives[c];
            char title[256];
            cell_title(&cell->requested, false, title, sizeof title);
            const double rate = bytes_of(one) / one->transfer_ns; /* bytes a ns are GB/s */
            pipe_text(&table, title);
            pipe_text(&table, one->op);
            pipe_text(&table, one->scope);
            pipe_number(&table, "%.3f", bytes_of(one) / 1e6);
            pipe_integer(&table, (int64_t)one->calls);
            pipe_number(&table, "%.3f", ms(one->wait_ns));
            pipe_number(&table, "%.3f", ms(one->transfer_ns));
            pipe_number(&table, "%.2f", rate);
            const double bus = rate * collective_bus_factor(one->op, cell->requested.ranks);
            pipe_number(&table, "%.2f", bus);
            pipe_number(&table, "%.1f", link > 0 ? 100 * bus / link : UNKNOWN_DOUBLE);
        }
    }
    pipe_finish(&table, out);
}

/* By the plan: what a rank holds when training begins, before the optimizer's step, and after it. */
static void memory_table(const struct report *report, struct strbuf *out)
{
    struct pipe_table table = {0};
    pipe_add_column(&table, "cell", PIPE_TEXT);
    pipe_add_columns(&table, PIPE_NUMBER, "parameters", "copies", "optimizer", "gradients", "after init", "before step",
                     "after step");
    for (size_t i = 0; i < report->cells.count; i++) {
        const struct report_cell *cell = report->cells.items[i];
        const uint64_t *kind = cell->memory.by_kind;
        if (!has_ranks(cell) || !is_known_u64(cell->memory.planned_total))
            continue;
        char title[256];
        cell_title(&cell->requested, false, title, sizeof title);
        pipe_text(&table, title);
        const double columns[] = {(double)kind[TENSOR_PARAMETER], (double)kind[TENSOR_PARAMETER_COPY],
                                  (double)kind[TENSOR_OPTIMIZER], (double)kind[TENSOR_GRADIENT],
                                  memory_point(cell, 0, -1),      memory_point(cell, 1, -1),
                                  memory_point(cell, 2, -1)};
        for (size_t c = 0; c < sizeof columns / sizeof *columns; c++)
            pipe_number(&table, "%.1f", columns[c] / 0x1p20);
    }
    pipe_finish(&table, out);
}

/* Of cells that differ only in the size of their buckets: overhead = a·s/n + o·n by least squares, n buckets of s bytes together, a
 * the time of a byte that nothing hides. */
static void bucket_fit(const struct report *report, struct strbuf *out)
{
    bool done[64] = {false};
    for (size_t i = 0; i < report->cells.count && i < 64; i++) {
        const struct report_cell *base = report->cells.items[i];
        double xx = 0, xy = 0, yy = 0, xt = 0, yt = 0, best = UNKNOWN_DOUBLE, bytes = 0;
        size_t points = 0, best_count = 0;
        for (size_t k = i; k < report->cells.count && k < 64; k++) {
            const struct report_cell *cell = report->cells.items[k];
            struct cell like = cell->requested;
            like.bucket_mb = base->requested.bucket_mb;
            if (done[k] || !has_ranks(cell) || cell->requested.parallel != PARALLEL_BUCKET ||
                !cell_equal(&like, &base->requested) || !cell->collective_count)
                continue;
            double s = 0, exposed = 0;
            for (size_t c = 0; c < cell->collective_count; c++)
                s += bytes_of(&cell->collectives[c]);
            for (size_t r = 0; r < cell->rank_count; r++)
                exposed += cell->ranks[r].exposed_ns / (double)cell->rank_count;
            const double n = (double)cell->collective_count, x = s / n, y = n;
            xx += x * x, xy += x * y, yy += y * y, xt += x * exposed, yt += y * exposed;
            bytes = s;
            if (!(slowest_step(cell) >= best)) {
                best = slowest_step(cell);
                best_count = cell->collective_count;
            }
            done[k] = true;
            points++;
        }
        const double determinant = xx * yy - xy * xy;
        if (points < 3 || !(fabs(determinant) > 1e-9 * xx * yy))
            continue;
        const double a = (xt * yy - yt * xy) / determinant, o = (yt * xx - xt * xy) / determinant;
        strbuf_puts(out, "\nBuckets of ");
        markdown_title(base, out);
        strbuf_printf(out, " and the cells like it: ");
        if (a > 0 && o > 0)
            strbuf_printf(out,
                          "fitted to %zu measured exposures, w is %.2f GB/s and o %.1f us a bucket, so sqrt(s/(o w)) = "
                          "%.1f buckets should be best; the fastest step that was measured had %zu.\n",
                          points, 1 / a, o / 1e3, sqrt(bytes * a / o), best_count);
        else
            strbuf_printf(
                out,
                "%zu measured exposures do not follow s/(n w) + n o (one of the two comes out negative: what "
                "is exposed here is not the last bucket); the fastest step that was measured had %zu buckets.\n",
                points, best_count);
    }
}

void markdown_ranks(const struct report *report, struct strbuf *out)
{
    bool any = false;
    markdown_collectives(report, out);
    for (size_t i = 0; i < report->cells.count; i++)
        any |= has_ranks(report->cells.items[i]);
    if (!any)
        return;
    strbuf_puts(out,
                "\n## Several ranks\n\nMeans over the profiled steps that all ranks hold records of; step ms over the "
                "timed ones. A collective's time is wait, until the last rank comes to it, and transfer. Exposed is "
                "communication beside which the rank computes nothing; overlap is the rest of it; products x: how much "
                "longer the "
                "same matrix products take beside a collective than alone. batch_size is a rank's.\n\n");
    rank_table(report, out);
    hiding_said(report, out);
    strbuf_puts(out,
                "\nBus bandwidth is algbw times 2(n-1)/n for all-reduce, (n-1)/n for reduce-scatter and all-gather, by "
                "the transfer time; the first collectives of a step. link %: of what all links of a card move in one "
                "direction, as its driver says.\n\n");
    collective_table(report, out);
    strbuf_puts(out, "\nMiB a rank, by the plan.\n\n");
    memory_table(report, out);
    bucket_fit(report, out);
}
