/* Runs: a row a cell of the matrix. Medians of the timed steps, profiler off. */
#include "report/axis.h"
#include "tui/answer.h"
#include "tui/app.h"
#include "tui/cells.h"
#include "tui/rank_table.h"
#include <stdlib.h>
#include <string.h>

enum column {
    RUN,
    DEVICE,
    MODEL,
    SHAPE,
    DTYPE,
    MODE,
    RANKS,
    STATUS,
    FWD,
    BWD,
    OPT,
    TOTAL,
    RATIO,
    TOKENS,
    THOUSAND,
    FLOPS,
    PLANNED,
    RESIDENT,
    COMPILE_TIME,
    STEPS,
    SOURCE,
    COLUMNS_COUNT
};

struct row {
    const struct report_cell *cell;
    int pass; /* the most complete one with timed steps */
    bool is_base;
    struct ratio ratio;
    enum verdict verdict;
};

/* The bootstrap of a ratio is kept until one of its two runs has new samples. */
struct comparison {
    uint32_t run, base;
    size_t samples, base_samples;
    int pass;
    struct ratio ratio;
};

struct runs {
    struct table table;
    VEC(struct row) rows;
    VEC(uint64_t) ids;
    VEC(struct comparison) comparisons;
    struct answer *answer;
    bool in_answer; /* the cursor is below the list */
};

static const struct report_phase *total_of(const struct report_cell *cell, int pass)
{
    return &cell->passes[pass].phases[PHASE_COUNT];
}

static int timed_pass(const struct report_cell *cell)
{
    int best = NO_PASS;
    for (int pass = 0; pass < PASS_COUNT; pass++)
        if (cell->passes[pass].present && total_of(cell, pass)->sample_count)
            best = pass;
    return best;
}

static const struct report_phase *phase_of(const struct row *row, int phase)
{
    return row->pass == NO_PASS ? NULL : &row->cell->passes[row->pass].phases[phase];
}

static double median_of(const struct row *row, int phase)
{
    const struct report_phase *found = phase_of(row, phase);
    return found && found->sample_count ? found->summary.median : UNKNOWN_DOUBLE;
}

static double tokens_per_s(const struct row *row)
{
    const struct cell *cell = &row->cell->requested;
    if (cell->command[0])
        return UNKNOWN_DOUBLE;
    return rate_per_s(cell_tokens(row->cell), median_of(row, PHASE_COUNT));
}

static double flops_per_s(const struct row *row)
{
    return row->pass == NO_PASS ? UNKNOWN_DOUBLE : rate_per_s(row->cell->flops[row->pass], median_of(row, PHASE_COUNT));
}

static double planned(const struct row *row)
{
    const struct report_memory *memory = &row->cell->memory;
    if (!is_known_u64(memory->planned_total) || memory->planned_total == 0)
        return UNKNOWN_DOUBLE;
    return (double)memory->planned_total + (is_known_u64(memory->workspace) ? (double)memory->workspace : 0);
}

static double resident(const struct row *row)
{
    const uint64_t peak = row->cell->memory.resident_peak;
    return peak ? known_or_nan(peak) : UNKNOWN_DOUBLE;
}

static enum style status_style(enum status status)
{
    switch (status) {
    case STATUS_OK:
        return STYLE_GOOD;
    case STATUS_RUNNING:
        return STYLE_BOLD;
    case STATUS_PENDING:
    case STATUS_SKIPPED:
        return STYLE_DIM;
    case STATUS_UNSUPPORTED:
    case STATUS_UNRELIABLE:
    case STATUS_INTERRUPTED:
        return STYLE_WARN;
    default:
        return STYLE_BAD;
    }
}

static const struct row *row_at(const void *context, size_t index)
{
    return &((const struct runs *)context)->rows.items[index];
}

#define VALUE(name, expression)                                                                                        \
    static double name(const void *context, size_t index)                                                              \
    {                                                                                                                  \
        const struct row *row = row_at(context, index);                                                                \
        return expression;                                                                                             \
    }

VALUE(run_value, row->cell->run_id)
VALUE(fwd_value, median_of(row, PHASE_FWD))
VALUE(bwd_value, median_of(row, PHASE_BWD))
VALUE(opt_value, median_of(row, PHASE_OPT))
VALUE(total_value, median_of(row, PHASE_COUNT))
VALUE(ratio_value, row->is_base ? 1 : row->ratio.median)
VALUE(tokens_value, tokens_per_s(row))
VALUE(a_thousand_value, 1e12 / tokens_per_s(row))
VALUE(flops_value, flops_per_s(row))
VALUE(planned_value, planned(row))
VALUE(resident_value, resident(row))
VALUE(compile_value, row->cell->requested.compile ? known_or_nan(row->cell->compile_ns) : UNKNOWN_DOUBLE)
VALUE(steps_value, row->pass == NO_PASS ? UNKNOWN_DOUBLE : (double)phase_of(row, PHASE_COUNT)->sample_count)

static void run_text(const void *context, size_t index, struct cell_text *out)
{
    snprintf(out->text, sizeof out->text, "%u", row_at(context, index)->cell->run_id);
}

static void device_text(const void *context, size_t index, struct cell_text *out)
{
    cell_string(out, row_at(context, index)->cell->requested.device);
}

/* What only a model has. */
static bool is_command(const void *context, size_t index, struct cell_text *out)
{
    if (!row_at(context, index)->cell->requested.command[0])
        return false;
    cell_string(out, "-");
    return true;
}

static void model_text(const void *context, size_t index, struct cell_text *out)
{
    const struct cell *asked = &row_at(context, index)->cell->requested;
    const struct model_config *model = &asked->model;
    if (asked->command[0]) {
        command_name(asked->command, out->text, sizeof out->text);
        return;
    }
    snprintf(out->text, sizeof out->text, "%s%s%s", model->preset, model->preset[0] ? "/" : "", model->name);
}

static void shape_text(const void *context, size_t index, struct cell_text *out)
{
    const struct cell *asked = &row_at(context, index)->cell->requested;
    if (is_command(context, index, out))
        return;
    snprintf(out->text, sizeof out->text, "b%lld·c%lld", (long long)asked->batch_size,
             (long long)asked->context_length);
}

static void dtype_text(const void *context, size_t index, struct cell_text *out)
{
    if (!is_command(context, index, out))
        cell_string(out, precision_name(row_at(context, index)->cell->effective_dtype));
}

static void mode_text(const void *context, size_t index, struct cell_text *out)
{
    if (!is_command(context, index, out))
        cell_string(out, cell_mode(row_at(context, index)->cell));
}

static void ranks_text(const void *context, size_t index, struct cell_text *out)
{
    cell_ranks(row_at(context, index)->cell, out->text, sizeof out->text);
}

static void status_text(const void *context, size_t index, struct cell_text *out)
{
    const enum status status = row_at(context, index)->cell->status;
    cell_string(out, status_name(status));
    out->style = status_style(status);
}

static void median_text(struct cell_text *out, const struct row *row, int phase)
{
    const struct report_phase *found = phase_of(row, phase);
    char text[FORMAT_SIZE];
    if (!found || !found->sample_count || !is_known(found->summary.median)) {
        cell_string(out, "n/a");
        out->style = STYLE_DIM;
        return;
    }
    const double relative = found->summary.mad / found->summary.median * 100;
    if (is_known(relative) && found->sample_count > 1)
        snprintf(out->text, sizeof out->text, "%s ±%.1f%%", format_duration(text, found->summary.median), relative);
    else
        snprintf(out->text, sizeof out->text, "%s", format_duration(text, found->summary.median));
}

static void source_text(const void *context, size_t index, struct cell_text *out)
{
    cell_string(out, row_at(context, index)->cell->source);
}

static void fwd_text(const void *context, size_t index, struct cell_text *out)
{
    median_text(out, row_at(context, index), PHASE_FWD);
}

static void bwd_text(const void *context, size_t index, struct cell_text *out)
{
    median_text(out, row_at(context, index), PHASE_BWD);
}

static void opt_text(const void *context, size_t index, struct cell_text *out)
{
    median_text(out, row_at(context, index), PHASE_OPT);
}

/* A narrow window has no column for the status, and why there is no figure matters more than that. */
static void total_text(const void *context, size_t index, struct cell_text *out)
{
    median_text(out, row_at(context, index), PHASE_COUNT);
    if (!is_known(total_value(context, index)))
        status_text(context, index, out);
}

static void ratio_text(const void *context, size_t index, struct cell_text *out)
{
    const struct row *row = row_at(context, index);
    verdict_cell(out, &row->ratio, row->verdict);
    if (row->is_base) {
        cell_string(out, "baseline");
        out->style = STYLE_BOLD;
    }
}

static const struct table_column columns[COLUMNS_COUNT] = {
    [RUN] = {"run", "run", "number of the run", 4, 0, 0, run_value, NULL, run_text},
    [DEVICE] = {"device", "device", "device it ran on", 8, 7, COLUMN_LEFT | COLUMN_TELLS, NULL, NULL, device_text},
    [MODEL] = {"model", "model", "model: preset/name or own sizes", 0, 0, COLUMN_LEFT, NULL, NULL, model_text},
    [SHAPE] = {"shape", "shape", "sequences a step (b) and tokens a sequence (c)", 10, 2, COLUMN_LEFT | COLUMN_TELLS,
               NULL, NULL, shape_text},
    [DTYPE] = {"dtype", "dtype", "precision that ran", 5, 5, COLUMN_LEFT | COLUMN_TELLS, NULL, NULL, dtype_text},
    [MODE] = {"mode", "mode", "what ran: eager (one kernel an op) or compile (fused, tuned)", 7, 3,
              COLUMN_LEFT | COLUMN_TELLS, NULL, NULL, mode_text},
    [RANKS] = {"ranks", "ranks", "processes that train one model, and how they bring gradients together", 17, 3,
               COLUMN_LEFT | COLUMN_AUTOMATIC | COLUMN_HIDDEN, NULL, NULL, ranks_text},
    [STATUS] = {"status", "status", "running, or how it ended; the first line has the reason", 11, 4,
                COLUMN_LEFT | COLUMN_TELLS, NULL, NULL, status_text},
    [FWD] = {"fwd", "fwd ±MAD", "forward: median of the timed steps ± median absolute deviation in %", 15, 9, 0,
             fwd_value, NULL, fwd_text},
    [BWD] = {"bwd", "bwd ±MAD", "backward: median ± MAD in %, timed in the same step", 15, 5, 0, bwd_value, NULL,
             bwd_text},
    [OPT] = {"opt", "opt ±MAD", "optimizer: median ± MAD in %", 15, 10, COLUMN_HIDDEN, opt_value, NULL, opt_text},
    [TOTAL] = {"total", "total ±MAD", "the whole step of the most complete pass: median ± MAD in %", 15, 1, 0,
               total_value, NULL, total_text},
    [RATIO] = {"ratio", "vs baseline",
               "total over the baseline's, where the shapes differ of a thousand tokens; and whether "
               "that is beyond noise (95 % interval)",
               15, 2, COLUMN_LEFT | COLUMN_AUTOMATIC | COLUMN_HIDDEN, ratio_value, NULL, ratio_text},
    [TOKENS] = {"tokens", "tok/s", "tokens a second at the median, of all ranks", 8, 10, 0, tokens_value, format_rate,
                NULL},
    [THOUSAND] = {"thousand", "/1k tok", "time of a thousand tokens at the median", 8, 16, COLUMN_HIDDEN,
                  a_thousand_value, format_duration, NULL},
    [FLOPS] = {"flops", "FLOP/s", "modelled FLOPs of the step over its median", 8, 11, 0, flops_value, format_rate,
               NULL},
    [PLANNED] = {"planned", "planned", "memory of the plan: arena and workspace", 9, 12, 0, planned_value, format_bytes,
                 NULL},
    [RESIDENT] = {"resident", "resident", "measured: the worker's highest resident memory", 9, 13, 0, resident_value,
                  format_bytes, NULL},
    [COMPILE_TIME] = {"compile", "compile", "what compile mode cost before the first step", 9, 14, COLUMN_HIDDEN,
                      compile_value, format_duration, NULL},
    [SOURCE] = {"file", "file", "the report that it is from", 16, 3, COLUMN_LEFT | COLUMN_AUTOMATIC | COLUMN_HIDDEN,
                NULL, NULL, source_text},
    [STEPS] = {"steps", "n", "timed steps so far", 5, 15, 0, steps_value, format_count, NULL},
};

static const struct table_ops ops = {
    .columns = columns,
    .column_count = COLUMNS_COUNT,
    .order = ORDER_COLUMN,
    .flexible_least = 14,
    .slot = VIEW_RUNS,
};

/* A ratio of times; where one step has more tokens than the other's, of a thousand tokens. */
static struct ratio compared(struct runs *runs, const struct report_cell *cell, const struct report_cell *base,
                             int pass)
{
    const struct report_phase *own = total_of(cell, pass), *other = total_of(base, pass);
    struct comparison *found = NULL;
    for (size_t i = 0; i < runs->comparisons.count && !found; i++)
        if (runs->comparisons.items[i].run == cell->run_id)
            found = &runs->comparisons.items[i];
    if (!found) {
        const struct comparison fresh = {.run = cell->run_id, .pass = NO_PASS};
        vec_push(&runs->comparisons, fresh);
        found = &runs->comparisons.items[runs->comparisons.count - 1];
    }
    if (found->base != base->run_id || found->pass != pass || found->samples != own->sample_count ||
        found->base_samples != other->sample_count) {
        *found = (struct comparison){.run = cell->run_id,
                                     .base = base->run_id,
                                     .samples = own->sample_count,
                                     .base_samples = other->sample_count,
                                     .pass = pass,
                                     .ratio = compare_phases(other, own)};
    }
    const double tokens = cell_tokens(base) / cell_tokens(cell);
    struct ratio ratio = found->ratio;
    ratio.median *= tokens;
    ratio.low *= tokens;
    ratio.high *= tokens;
    return ratio;
}

static void make_rows(struct app *app, struct runs *runs)
{
    const struct report_cell *base = app->baseline == NO_RUN ? NULL : app_find_cell(app, app->baseline);
    runs->rows.count = runs->ids.count = 0;
    for (size_t i = 0; i < app->report->cells.count; i++) {
        const struct report_cell *cell = app->report->cells.items[i];
        struct row row = {.cell = cell,
                          .pass = timed_pass(cell),
                          .is_base = base == cell,
                          .ratio = {UNKNOWN_DOUBLE, UNKNOWN_DOUBLE, UNKNOWN_DOUBLE, 0, 0},
                          .verdict = VERDICT_AMBIGUOUS};
        if (base && base != cell && row.pass != NO_PASS && base->passes[row.pass].present &&
            total_of(base, row.pass)->sample_count) {
            row.ratio = compared(runs, cell, base, row.pass);
            row.verdict = compare_verdict(&row.ratio, COMPARE_THRESHOLD);
        }
        vec_push(&runs->rows, row);
        vec_push(&runs->ids, (uint64_t)cell->run_id + 1);
    }
    /* Columns that are there when there is something to compare with, more than one file, or several ranks. */
    runs->table.shown &= ~(1u << RATIO | 1u << SOURCE | 1u << RANKS);
    for (size_t i = 0; i < app->report->cells.count; i++)
        if (!app->report->cells.items[i]->requested.command[0] && app->report->cells.items[i]->requested.ranks > 1)
            runs->table.shown |= 1u << RANKS;
    if (base)
        runs->table.shown |= 1u << RATIO;
    if (app->report->cells.count && app->report->cells.items[0]->source)
        runs->table.shown |= 1u << SOURCE;
}

static void runs_init(struct app *app, void *state)
{
    struct runs *runs = state;
    table_init(&runs->table, &ops, RUN);
    runs->table.ascending = true;
    runs->answer = answer_create();
    app_configure_table(app, &runs->table);
}

static void runs_release(void *state)
{
    struct runs *runs = state;
    table_release(&runs->table);
    vec_release(&runs->rows);
    vec_release(&runs->ids);
    vec_release(&runs->comparisons);
    answer_free(runs->answer);
}

static void runs_update(struct app *app, void *state)
{
    struct runs *runs = state;
    make_rows(app, runs);
    if (!runs->table.any_selected && app_cell(app))
        runs->table.selected = (uint64_t)app_cell(app)->run_id + 1;
    table_update(&runs->table, runs, runs->ids.items, runs->ids.count, app->now);
    if (!runs->table.any_selected && app_cell(app)) {
        table_select(&runs->table, (uint64_t)app_cell(app)->run_id + 1);
        runs->table.any_selected = false;
    }
    size_t index;
    const bool any = table_selected(&runs->table, &index);
    if (answer_update(runs->answer, app, any ? runs->rows.items[index].cell : NULL))
        runs->table.pending = true;
}

/* The list keeps what its rows need, up to a third of a low screen and half of a high one; below it is the answer. */
static void runs_draw(struct app *app, void *state, const struct area *area)
{
    struct runs *runs = state;
    size_t index;
    const bool any = table_selected(&runs->table, &index);
    const char *reason = any ? runs->rows.items[index].cell->reason : NULL;
    const bool has_reason = reason && reason[0];
    const int rows = (int)(runs->table.items.count < 1000 ? runs->table.items.count : 1000) + 1 + has_reason;
    int height = rows < 3 ? 3 : rows;
    const int most = area->height < 24 ? area->height / 3 : area->height / 2;
    height = height > most && area->height - most >= ANSWER_LEAST_HEIGHT ? most : height;
    /* In a low window the answer is a line each of phases, modules and kernels, without one between it and the list. */
    const bool low = area->height - height - 1 < ANSWER_LEAST_HEIGHT;
    /* The verdict above them, where that hides no run. */
    const int answer_lines = rows + ANSWER_LINES <= area->height ? ANSWER_LINES : ANSWER_LINES - 1;
    if (low && !answer_any(runs->answer))
        height = area->height;
    else if (low)
        height = rows < area->height - answer_lines ? rows : area->height - answer_lines;
    const struct area list = area_part(area, 0, 0, height - has_reason, area->width);
    table_draw(&runs->table, runs, &list, cell_has_none(app, NULL, "runs"));
    if (has_reason) {
        const int x = area_printf(area, height - 1, 0, STYLE_BOLD, "run %u: ", runs->rows.items[index].cell->run_id);
        area_text_fit(area, height - 1, x, area->width - x, STYLE_WARN, reason);
    }
    const int gap = low && height + 1 + answer_lines > area->height ? 0 : 1;
    int top = height + gap;
    const int ranks = any ? rank_table_height(runs->rows.items[index].cell) : 0;
    if (!low && ranks && area->height - top - ranks - 1 >= ANSWER_LEAST_HEIGHT) {
        const struct area lines = area_part(area, top, 0, ranks, area->width);
        rank_table_draw(runs->rows.items[index].cell, &lines);
        top += ranks + 1;
    }
    const struct area below = area_part(area, top, 0, area->height - top, area->width);
    answer_draw(runs->answer, &below, runs->in_answer);
    /* Lines that were made anew can be chosen again once they are drawn. */
    runs->in_answer = runs->in_answer && answer_selectable(runs->answer);
}

static void runs_status(const struct app *app, const void *state, char *text, size_t size)
{
    const struct runs *runs = state;
    size_t ended = 0;
    for (size_t i = 0; i < app->report->cells.count; i++)
        ended += app->report->cells.items[i]->status > STATUS_RUNNING;
    snprintf(text, size, "%zu of %zu runs ended", ended, app->report->cells.count);
    table_asked(&runs->table, text, size);
}

/* The run that is selected is the one that other views show. */
static void follow_selection(struct app *app, struct runs *runs)
{
    const uint32_t run = (uint32_t)(runs->table.selected - 1);
    if (!runs->table.items.count || app->focus.run == run)
        return;
    app->focus = (struct focus){.run = run,
                                .pass = app->focus.pass,
                                .scope = NO_SCOPE,
                                .compare = app->focus.compare,
                                .grouping = app->focus.grouping};
    app->follow = false;
}

static bool answer_command(struct app *app, struct runs *runs, enum command command)
{
    switch (command) {
    case COMMAND_UP:
    case COMMAND_DOWN:
    case COMMAND_LEFT:
    case COMMAND_RIGHT:
        if (!answer_move(runs->answer, command))
            runs->in_answer = command != COMMAND_UP && command != COMMAND_LEFT;
        return true;
    case COMMAND_PAGE_UP:
    case COMMAND_FIRST:
    case COMMAND_BACK:
        runs->in_answer = false;
        return true;
    case COMMAND_OPEN:
        answer_open(runs->answer, app);
        return true;
    default:
        return false;
    }
}

static bool runs_command(struct app *app, void *state, enum command command)
{
    struct runs *runs = state;
    struct table *table = &runs->table;
    const bool at_end = table->items.count == 0 || table->position + 1 == table->items.count;
    if (command == COMMAND_ANSWER || (command == COMMAND_DOWN && at_end && !runs->in_answer)) {
        runs->in_answer = !runs->in_answer && answer_selectable(runs->answer);
        answer_first(runs->answer);
        return true;
    }
    if (runs->in_answer && answer_command(app, runs, command))
        return true;
    if (command == COMMAND_OPEN || command == COMMAND_RIGHT) {
        size_t index;
        if (!table_selected(table, &index))
            return true;
        const struct focus focus = {.run = runs->rows.items[index].cell->run_id,
                                    .pass = NO_PASS,
                                    .scope = NO_SCOPE,
                                    .compare = app->focus.compare,
                                    .grouping = app->focus.grouping};
        app->follow = false;
        app_open(app, VIEW_KERNELS, &focus);
        return true;
    }
    const uint64_t before = table->selected;
    if (!table_command(table, command, app->now))
        return false;
    if (command == COMMAND_SORT_LEFT || command == COMMAND_SORT_RIGHT || command == COMMAND_INVERT)
        app_keep_order(app, table);
    if (table->selected != before)
        follow_selection(app, runs);
    return true;
}

static bool runs_click(struct app *app, void *state, int y, int x)
{
    struct runs *runs = state;
    (void)app;
    const bool again = answer_click(runs->answer, y, x, runs->in_answer);
    if (answer_hit(runs->answer, y, x)) {
        runs->in_answer = true;
        if (again)
            answer_open(runs->answer, app);
        return true;
    }
    runs->in_answer = false;
    follow_selection(app, runs);
    return true;
}

static struct table *runs_table(void *state)
{
    return &((struct runs *)state)->table;
}

const struct view_ops runs_view = {
    .name = "Runs",
    .state_size = sizeof(struct runs),
    .init = runs_init,
    .release = runs_release,
    .update = runs_update,
    .draw = runs_draw,
    .status = runs_status,
    .command = runs_command,
    .table = runs_table,
    .click = runs_click,
};
