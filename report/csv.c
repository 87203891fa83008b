/* CSV, one row a cell, pass and phase: the statistics of its steps, for a spreadsheet or a data frame. */
#include "report/axis.h"
#include "report/emit.h"
#include "report/escape.h"
#include "report/fields.h"
#include <inttypes.h>
#include <string.h>

struct csv_row {
    const struct report_cell *cell;
    const struct report_phase *phase; /* NULL: a cell without steps */
    int pass, which;
};

static void put_number(struct strbuf *out, double value)
{
    if (is_known(value))
        number_print(out, value);
}

static void put_bytes(struct strbuf *out, uint64_t value)
{
    if (is_known_u64(value))
        strbuf_unsigned(out, value);
}

#define TEXT(name, expression)                                                                                         \
    static void name(const struct csv_row *row, struct strbuf *out)                                                    \
    {                                                                                                                  \
        escape_csv(out, expression);                                                                                   \
    }
/* Of what was asked for, where the report says it. */
#define ASKED(name, key, expression)                                                                                   \
    static void name(const struct csv_row *row, struct strbuf *out)                                                    \
    {                                                                                                                  \
        if (requested_is_known(row->cell, key))                                                                        \
            strbuf_unsigned(out, (uint64_t)(expression));                                                              \
    }
#define ASKED_TEXT(name, key, expression)                                                                              \
    static void name(const struct csv_row *row, struct strbuf *out)                                                    \
    {                                                                                                                  \
        if (requested_is_known(row->cell, key))                                                                        \
            escape_csv(out, expression);                                                                               \
    }
#define STATISTIC(name, member)                                                                                        \
    static void name(const struct csv_row *row, struct strbuf *out)                                                    \
    {                                                                                                                  \
        if (row->phase && row->phase->summary.n)                                                                       \
            put_number(out, row->phase->summary.member);                                                               \
    }

TEXT(put_status, status_name(row->cell->status))
TEXT(put_reason, row->cell->reason ? row->cell->reason : "")
TEXT(put_device, row->cell->requested.device)
TEXT(put_model, row->cell->requested.model.name)
ASKED(put_d_model, "d_model", row->cell->requested.model.d_model)
ASKED(put_d_ff, "d_ff", row->cell->requested.model.d_ff)
ASKED(put_vocab, "vocab_size", row->cell->requested.model.vocab_size)
ASKED(put_ranks, "ranks", row->cell->requested.ranks)
ASKED_TEXT(put_parallel, "parallel", parallel_name(row->cell->requested.parallel))
ASKED_TEXT(put_collective, "collective", collective_name(row->cell->requested.collective))
ASKED(put_bucket, "bucket_mb", row->cell->requested.bucket_mb)
ASKED_TEXT(put_gradients, "grad_dtype", gradient_dtype_name(row->cell->requested.gradient_dtype))
ASKED(put_threads, "threads", row->cell->requested.threads)
ASKED(put_warmup, "warmup", row->cell->requested.warmup)
ASKED(put_seed, "seed", row->cell->requested.seed)
ASKED(put_layers, "num_layers", row->cell->requested.model.num_layers)
ASKED(put_heads, "num_heads", row->cell->requested.model.num_heads)
ASKED(put_batch, "batch_size", row->cell->requested.batch_size)
ASKED(put_context, "context_length", row->cell->requested.context_length)
ASKED_TEXT(put_dtype, "dtype", precision_name(row->cell->requested.dtype))
ASKED_TEXT(put_compile, "compile", row->cell->requested.compile ? "true" : "false")
ASKED_TEXT(put_checkpoint, "checkpoint", checkpoint_name(row->cell->requested.checkpoint))
ASKED(put_repetition, "repetition", row->cell->requested.repetition)
TEXT(put_pass, row->phase ? pass_name((enum pass)row->pass) : "")
TEXT(put_phase, !row->phase ? "" : row->which == PHASE_COUNT ? "total" : phase_name((enum phase)row->which))
STATISTIC(put_mean, mean)
STATISTIC(put_sd, sd)
STATISTIC(put_median, median)
STATISTIC(put_low, median_low)
STATISTIC(put_high, median_high)
STATISTIC(put_mad, mad)
STATISTIC(put_min, min)
STATISTIC(put_max, max)
STATISTIC(put_p5, p5)
STATISTIC(put_p95, p95)
STATISTIC(put_p99, p99)

static void put_id(const struct csv_row *row, struct strbuf *out)
{
    strbuf_unsigned(out, row->cell->run_id);
}

static void put_n(const struct csv_row *row, struct strbuf *out)
{
    strbuf_unsigned(out, row->phase ? row->phase->summary.n : 0);
}

static void put_overhead(const struct csv_row *row, struct strbuf *out)
{
    if (row->phase && row->which == PHASE_COUNT)
        put_number(out, row->cell->passes[row->pass].overhead.median);
}

static void put_flops(const struct csv_row *row, struct strbuf *out)
{
    if (row->phase && row->which == PHASE_COUNT)
        put_number(out, row->cell->flops[row->pass]);
}

static void put_planned(const struct csv_row *row, struct strbuf *out)
{
    put_bytes(out, row->cell->memory.planned_total);
}
static void put_resident(const struct csv_row *row, struct strbuf *out)
{
    put_bytes(out, row->cell->memory.resident_peak);
}

/* Of several ranks, where the pass is the one that they are told of: the longest. */
static const struct report_cell *ranks_of(const struct csv_row *row)
{
    int last = PASS_COUNT - 1;
    while (last > 0 && !row->cell->passes[last].present)
        last--;
    return row->phase && row->which == PHASE_COUNT && row->pass == last && row->cell->rank_count > 1 ? row->cell : NULL;
}
#define RANKS(name, member)                                                                                            \
    static void name(const struct csv_row *row, struct strbuf *out)                                                    \
    {                                                                                                                  \
        const struct report_cell *cell = ranks_of(row);                                                                \
        double sum = 0;                                                                                                \
        for (size_t r = 0; cell && r < cell->rank_count; r++)                                                          \
            sum += cell->ranks[r].member;                                                                              \
        if (cell)                                                                                                      \
            put_number(out, sum / (double)cell->rank_count);                                                           \
    }
RANKS(put_communication, communication_ns)
RANKS(put_exposed, exposed_ns)
RANKS(put_wait, wait_ns)
RANKS(put_transfer, transfer_ns)
RANKS(put_product_slow, product_slow)

static void put_slowest(const struct csv_row *row, struct strbuf *out)
{
    const struct report_cell *cell = ranks_of(row);
    double most = UNKNOWN_DOUBLE;
    for (size_t r = 0; cell && r < cell->rank_count; r++)
        most = most >= cell->ranks[r].step_ns ? most : cell->ranks[r].step_ns;
    put_number(out, most);
}

static void put_tokens(const struct csv_row *row, struct strbuf *out)
{
    if (row->phase && row->which == PHASE_COUNT && row->phase->summary.n &&
        row->cell->requested.collective == COLLECTIVE_NONE)
        put_number(out, cell_tokens(row->cell) / row->phase->summary.mean * 1e9);
}

static const struct csv_column {
    const char *name;
    void (*put)(const struct csv_row *row, struct strbuf *out);
} columns[] = {
    {"cell", put_id},
    {"status", put_status},
    {"device", put_device},
    {"model", put_model},
    {"d_model", put_d_model},
    {"d_ff", put_d_ff},
    {"num_layers", put_layers},
    {"num_heads", put_heads},
    {"vocab_size", put_vocab},
    {"batch_size", put_batch},
    {"context_length", put_context},
    {"dtype", put_dtype},
    {"compile", put_compile},
    {"checkpoint", put_checkpoint},
    {"ranks", put_ranks},
    {"parallel", put_parallel},
    {"collective", put_collective},
    {"bucket_mb", put_bucket},
    {"grad_dtype", put_gradients},
    {"threads", put_threads},
    {"warmup", put_warmup},
    {"seed", put_seed},
    {"repetition", put_repetition},
    {"pass", put_pass},
    {"phase", put_phase},
    {"n", put_n},
    {"mean_ns", put_mean},
    {"sd_ns", put_sd},
    {"median_ns", put_median},
    {"median_low_ns", put_low},
    {"median_high_ns", put_high},
    {"mad_ns", put_mad},
    {"min_ns", put_min},
    {"max_ns", put_max},
    {"p5_ns", put_p5},
    {"p95_ns", put_p95},
    {"p99_ns", put_p99},
    {"overhead", put_overhead},
    {"tokens_per_s", put_tokens},
    {"slowest_rank_ns", put_slowest},
    {"communication_ns", put_communication},
    {"exposed_ns", put_exposed},
    {"wait_ns", put_wait},
    {"transfer_ns", put_transfer},
    {"product_slow", put_product_slow},
    {"step_flops", put_flops},
    {"planned_bytes", put_planned},
    {"resident_peak_bytes", put_resident},
    {"reason", put_reason},
};
#define COLUMNS (sizeof columns / sizeof *columns)

static void put_row(const struct csv_row *row, struct strbuf *out)
{
    for (size_t c = 0; c < COLUMNS; c++) {
        strbuf_puts(out, c ? "," : "");
        columns[c].put(row, out);
    }
    strbuf_puts(out, "\r\n");
}

void emit_csv(const struct report *report, struct strbuf *out)
{
    for (size_t c = 0; c < COLUMNS; c++)
        strbuf_printf(out, "%s%s", c ? "," : "", columns[c].name);
    strbuf_puts(out, "\r\n");
    for (size_t i = 0; i < report->cells.count; i++) {
        struct csv_row row = {.cell = report->cells.items[i]};
        size_t rows = 0;
        for (row.pass = 0; row.pass < PASS_COUNT; row.pass++)
            for (row.which = 0; row.which <= PHASE_COUNT && row.cell->passes[row.pass].present; row.which++) {
                row.phase = &row.cell->passes[row.pass].phases[row.which];
                if (!row.phase->summary.n)
                    continue;
                put_row(&row, out);
                rows++;
            }
        row.phase = NULL;
        row.pass = row.which = 0;
        if (!rows)
            put_row(&row, out); /* a cell that failed is a row too */
    }
}
