#include "report/compare.h"
#include "report/escape.h"
#include "report/markdown.h"
#include "report/pipe_table.h"
#include <stdio.h>
#include <string.h>

/* An axis on which two cells of one report are compared: all else equal, `a` as the base has one value, `b` another. */
struct axis {
    const char *heading, *intro, *base;
    bool (*is_base)(const struct cell *cell);
    void (*level)(struct cell *cell); /* brings the axis to the base's value */
    const char *(*value)(const struct cell *cell);
};

static bool is_eager(const struct cell *cell)
{
    return !cell->compile;
}
static void make_eager(struct cell *cell)
{
    cell->compile = false;
}
static const char *compile_value(const struct cell *cell)
{
    return cell->compile ? "compiled" : "eager";
}
static bool is_fp32(const struct cell *cell)
{
    return cell->dtype == PRECISION_FP32;
}
static void make_fp32(struct cell *cell)
{
    cell->dtype = PRECISION_FP32;
}
static const char *dtype_value(const struct cell *cell)
{
    return precision_name(cell->dtype);
}
static bool is_kept(const struct cell *cell)
{
    return cell->checkpoint == CHECKPOINT_NONE;
}
static void make_kept(struct cell *cell)
{
    cell->checkpoint = CHECKPOINT_NONE;
}
static const char *checkpoint_value(const struct cell *cell)
{
    return checkpoint_name(cell->checkpoint);
}

static const struct axis axes[] = {
    {"Compiled against eager", "Compile time is spent once and is not in the steps.", "eager", is_eager, make_eager,
     compile_value},
    {"Precision", "Against true fp32 of the same cell.", "fp32", is_fp32, make_fp32, dtype_value},
    {"Checkpointing", "Recomputing blocks in backward against keeping their activations.", "none", is_kept, make_kept,
     checkpoint_value},
};

static const struct report_cell *base_of(const struct report *report, const struct axis *axis,
                                         const struct report_cell *cell)
{
    // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): a report's cells are never NULL
    struct cell wanted = cell->requested;
    axis->level(&wanted);
    for (size_t i = 0; i < report->cells.count; i++)
        if (axis->is_base(&report->cells.items[i]->requested) &&
            cell_equal(&report->cells.items[i]->requested, &wanted))
            return report->cells.items[i];
    return NULL;
}

static void compare_row(struct pipe_table *table, const struct axis *axis, const struct report_cell *base,
                        const struct report_cell *cell, int pass, int phase)
{
    const struct report_phase *a = &base->passes[pass].phases[phase], *b = &cell->passes[pass].phases[phase];
    if (!a->summary.n || !b->summary.n)
        return;
    const struct ratio ratio = compare_phases(a, b);
    char title[256];
    cell_title(&cell->requested, false, title, sizeof title);
    pipe_text(table, title);
    pipe_text(table, axis->value(&cell->requested));
    pipe_text(table, pass_name((enum pass)pass));
    pipe_text(table, phase == PHASE_COUNT ? "total" : phase_name((enum phase)phase));
    pipe_number(table, "%.3f", a->summary.median * 1e-6);
    pipe_number(table, "%.3f", b->summary.median * 1e-6);
    /* Speed-up: base over this one, so the interval turns round. */
    pipe_number(table, "%.3f", 1 / ratio.median);
    pipe_number(table, "%.3f", 1 / ratio.high);
    pipe_number(table, "%.3f", 1 / ratio.low);
    pipe_text(table, verdict_name(compare_verdict(&ratio, COMPARE_THRESHOLD)));
    pipe_number(table, "%.1f",
                is_known_u64(cell->memory.planned_total) && is_known_u64(base->memory.planned_total)
                    ? ((double)cell->memory.planned_total - (double)base->memory.planned_total) / 0x1p20
                    : UNKNOWN_DOUBLE);
    pipe_number(table, "%.3f",
                cell->requested.compile && is_known_u64(cell->compile_ns) ? (double)cell->compile_ns * 1e-9
                                                                          : UNKNOWN_DOUBLE);
}

static void compare_axis(const struct report *report, const struct axis *axis, struct strbuf *out)
{
    struct pipe_table table = {0};
    struct strbuf head = {0};
    char base[64];
    snprintf(base, sizeof base, "%s ms", axis->base);
    pipe_add_columns(&table, PIPE_TEXT, "cell", "is", "pass", "phase");
    pipe_add_column(&table, base, PIPE_NUMBER);
    pipe_add_columns(&table, PIPE_NUMBER, "this ms", "speed-up", "95 % low", "95 % high");
    pipe_add_column(&table, "verdict", PIPE_TEXT);
    pipe_add_columns(&table, PIPE_NUMBER, "planned MiB more", "compile s");
    for (size_t i = 0; i < report->cells.count; i++) {
        const struct report_cell *cell = report->cells.items[i];
        const struct report_cell *other = axis->is_base(&cell->requested) ? NULL : base_of(report, axis, cell);
        for (int pass = 0; other && pass < PASS_COUNT; pass++)
            // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): a report's cells are never NULL
            for (int phase = 0; phase <= PHASE_COUNT && cell->passes[pass].present && other->passes[pass].present;
                 phase++)
                compare_row(&table, axis, other, cell, pass, phase);
    }
    strbuf_printf(&head,
                  "\n## %s\n\n%s Medians; speed-up is %s over this, above 1 is faster. Called faster or slower is "
                  "what is so by more than %g %%, with its whole interval on that side of 1.\n\n",
                  axis->heading, axis->intro, axis->base, COMPARE_THRESHOLD * 100);
    pipe_section(&table, head.text, out);
    strbuf_release(&head);
}

void markdown_compare_axis(const struct report *report, enum compare_axis axis, struct strbuf *out)
{
    compare_axis(report, &axes[axis], out);
}

void markdown_compare(const struct report *report, struct strbuf *out)
{
    for (size_t i = 0; i < sizeof axes / sizeof *axes; i++)
        compare_axis(report, &axes[i], out);
}

/* What attention cells may differ in besides device, mode, width, heads and context: a column where they do. */
struct setting {
    const char *name;
    bool number;
    void (*print)(const struct cell *cell, char *text, size_t size);
};

static void print_batch(const struct cell *cell, char *text, size_t size)
{
    snprintf(text, size, "%lld", (long long)cell->batch_size);
}
static void print_dtype(const struct cell *cell, char *text, size_t size)
{
    snprintf(text, size, "%s", precision_name(cell->dtype));
}
static void print_checkpoint(const struct cell *cell, char *text, size_t size)
{
    snprintf(text, size, "%s", checkpoint_name(cell->checkpoint));
}
static void print_threads(const struct cell *cell, char *text, size_t size)
{
    snprintf(text, size, "%d", cell->threads);
}
static void print_warmup(const struct cell *cell, char *text, size_t size)
{
    snprintf(text, size, "%u", cell->warmup);
}
static void print_seed(const struct cell *cell, char *text, size_t size)
{
    snprintf(text, size, "%llu", (unsigned long long)cell->seed);
}
static void print_repetition(const struct cell *cell, char *text, size_t size)
{
    snprintf(text, size, "%u", cell->repetition + 1);
}

static const struct setting settings[] = {
    {"batch", true, print_batch},           {"dtype", false, print_dtype},   {"checkpoint", false, print_checkpoint},
    {"threads", true, print_threads},       {"warm-up", true, print_warmup}, {"seed", true, print_seed},
    {"repetition", true, print_repetition},
};
#define SETTINGS (sizeof settings / sizeof *settings)
#define SETTING_MAX 32

bool cell_is_attention(const struct report_cell *cell)
{
    return cell->requested.model.kind == MODEL_ATTENTION;
}

/* Which settings differ between the report's attention cells. */
static void find_varying(const struct report *report, bool varies[SETTINGS])
{
    const struct cell *first = NULL;
    memset(varies, 0, SETTINGS * sizeof *varies);
    for (size_t i = 0; i < report->cells.count; i++) {
        const struct cell *cell = &report->cells.items[i]->requested;
        if (!cell_is_attention(report->cells.items[i]))
            continue;
        first = first ? first : cell;
        for (size_t s = 0; s < SETTINGS; s++) {
            char text[SETTING_MAX], base[SETTING_MAX];
            settings[s].print(cell, text, sizeof text);
            settings[s].print(first, base, sizeof base);
            varies[s] |= strcmp(text, base) != 0;
        }
    }
}

/* Same but for the context length. */
static bool same_row(const struct cell *a, const struct cell *b)
{
    struct cell like = *a;
    like.context_length = b->context_length;
    return cell_equal(&like, b);
}

static void frontier_line(const struct cell *cell, const bool varies[SETTINGS], int64_t fits, int64_t ends,
                          struct strbuf *out)
{
    strbuf_puts(out, "- ");
    escape_markdown_cell(out, cell->device);
    strbuf_printf(out, ", %s, d_model %lld, %lld head%s", cell->compile ? "compiled" : "eager",
                  (long long)cell->model.d_model, (long long)cell->model.num_heads,
                  cell->model.num_heads == 1 ? "" : "s");
    for (size_t s = 0; s < SETTINGS; s++) {
        char text[SETTING_MAX];
        settings[s].print(cell, text, sizeof text);
        if (varies[s])
            strbuf_printf(out, ", %s %s", settings[s].name, text);
    }
    if (fits)
        strbuf_printf(out, ": context %lld fits, %lld does not\n", (long long)fits, (long long)ends);
    else
        strbuf_printf(out, ": context %lld does not fit\n", (long long)ends);
}

/* Where memory ends: of each width, number of heads and setting the longest context that ran and the shortest that did not
 * fit. */
static void frontier(const struct report *report, const bool varies[SETTINGS], struct strbuf *out)
{
    for (size_t i = 0; i < report->cells.count; i++) {
        const struct cell *cell = &report->cells.items[i]->requested;
        int64_t fits = 0, ends = 0;
        bool seen = !cell_is_attention(report->cells.items[i]);
        for (size_t j = 0; j < i && !seen; j++)
            seen = same_row(&report->cells.items[j]->requested, cell);
        for (size_t j = i; j < report->cells.count && !seen; j++) {
            const struct report_cell *other = report->cells.items[j];
            const int64_t context = other->requested.context_length;
            if (!same_row(&other->requested, cell))
                continue;
            if ((other->status == STATUS_OK || other->status == STATUS_UNRELIABLE) && context > fits)
                fits = context;
            if ((other->status == STATUS_OOM || other->status == STATUS_SKIPPED) && (!ends || context < ends))
                ends = context;
        }
        if (!seen && ends)
            frontier_line(cell, varies, fits, ends, out);
    }
}

static double median_ms(const struct report_phase *phase)
{
    return phase->summary.n ? phase->summary.median * 1e-6 : UNKNOWN_DOUBLE;
}

static void attention_row(struct pipe_table *table, const struct report_cell *cell, const bool varies[SETTINGS])
{
    const struct cell *asked = &cell->requested;
    const struct report_pass *both = &cell->passes[PASS_FWD_BWD];
    pipe_text(table, asked->device);
    pipe_text(table, asked->compile ? "compiled" : "eager");
    for (size_t s = 0; s < SETTINGS; s++) {
        char text[SETTING_MAX];
        settings[s].print(asked, text, sizeof text);
        if (varies[s])
            pipe_text(table, text);
    }
    pipe_integer(table, asked->model.num_heads);
    pipe_integer(table, asked->model.d_model);
    pipe_integer(table, asked->context_length);
    pipe_number(table, "%.3f", median_ms(&cell->passes[PASS_FWD].phases[PHASE_COUNT]));
    pipe_number(table, "%.3f", median_ms(&both->phases[PHASE_BWD]));
    pipe_number(table, "%.3f", median_ms(&both->phases[PHASE_COUNT]));
    pipe_number(table, "%.1f", markdown_mib(cell->memory.by_kind[TENSOR_SAVED]));
    pipe_number(table, "%.1f", markdown_mib(cell->memory.planned_total));
    pipe_text(table, status_name(cell->status));
}

void markdown_attention_sweep(const struct report *report, struct strbuf *out)
{
    struct pipe_table table = {0};
    struct strbuf list = {0};
    bool varies[SETTINGS];
    find_varying(report, varies);
    pipe_add_columns(&table, PIPE_TEXT, "device", "mode");
    for (size_t s = 0; s < SETTINGS; s++)
        if (varies[s])
            pipe_add_column(&table, settings[s].name, settings[s].number ? PIPE_NUMBER : PIPE_TEXT);
    pipe_add_columns(&table, PIPE_NUMBER, "heads", "d_model", "context", "fwd ms", "bwd ms", "fwd_bwd ms", "saved MiB",
                     "planned MiB");
    pipe_add_column(&table, "status", PIPE_TEXT);
    for (size_t i = 0; i < report->cells.count; i++)
        if (cell_is_attention(report->cells.items[i]))
            attention_row(&table, report->cells.items[i], varies);
    if (pipe_section(
            &table,
            "\n## Attention alone\n\nMedians by width and context; saved is what forward leaves for backward, as "
            "planned. Where the status is oom, memory ended.\n\n",
            out)) {
        frontier(report, varies, &list);
        if (list.length)
            strbuf_printf(out, "\nWhere memory ends:\n\n%s", list.text);
    }
    strbuf_release(&list);
}
