/* Runs: a row a cell of the matrix. Medians of the timed steps, profiler off. */
#include "tui/app.h"
#include "tui/cells.h"
#include <stdlib.h>
#include <string.h>

enum column {
    RUN,
    DEVICE,
    MODEL,
    SHAPE,
    DTYPE,
    MODE,
    STATUS,
    FWD,
    BWD,
    OPT,
    TOTAL,
    RATIO,
    TOKENS,
    FLOPS,
    PLANNED,
    RESIDENT,
    COMPILE_TIME,
    STEPS,
    COLUMNS_COUNT
};

static const struct table_column columns[COLUMNS_COUNT] = {
    [RUN] = {"run", "run", "number of the run", 4, 0, false, false},
    [DEVICE] = {"device", "device", "device it ran on", 8, 7, true, false},
    [MODEL] = {"model", "model", "model: preset/name or own sizes", 0, 0, true, false},
    [SHAPE] = {"shape", "shape", "sequences a step (b) and tokens a sequence (c)", 10, 9, true, false},
    [DTYPE] = {"dtype", "dtype", "precision that ran", 5, 8, true, false},
    [MODE] = {"mode", "mode", "what ran: eager (one kernel an op) or compile (fused, tuned)", 7, 3, true, false},
    [STATUS] = {"status", "status", "running, or how it ended; the first line has the reason", 11, 6, true, false},
    [FWD] = {"fwd", "fwd ±MAD", "forward: median of the timed steps ± median absolute deviation in %", 15, 5, false,
             false},
    [BWD] = {"bwd", "bwd ±MAD", "backward: median ± MAD in %, timed in the same step", 15, 4, false, false},
    [OPT] = {"opt", "opt ±MAD", "optimizer: median ± MAD in %", 15, 10, false, true},
    [TOTAL] = {"total", "total ±MAD", "the whole step of the most complete pass: median ± MAD in %", 15, 1, false,
               false},
    [RATIO] = {"ratio", "vs baseline", "total over the baseline's, and whether that is beyond noise (95 % interval)",
               14, 2, true, false},
    [TOKENS] = {"tokens", "tok/s", "tokens a second at the median", 8, 10, false, false},
    [FLOPS] = {"flops", "FLOP/s", "modelled FLOPs of the step over its median", 8, 11, false, false},
    [PLANNED] = {"planned", "planned", "memory of the plan: arena and workspace", 9, 12, false, false},
    [RESIDENT] = {"resident", "resident", "measured: the worker's highest resident memory", 9, 13, false, false},
    [COMPILE_TIME] = {"compile", "compile", "what compile mode cost before the first step", 9, 14, false, true},
    [STEPS] = {"steps", "n", "timed steps so far", 5, 15, false, false},
};

struct row {
    const struct report_cell *cell;
    int pass; /* the most complete one with timed steps */
    char verdict[48];
    double ratio;
    enum style verdict_style;
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
    return rate_per_s((double)(cell->batch_size * cell->context_length), median_of(row, PHASE_COUNT));
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

static void runs_text(const void *context, size_t index, int column, struct cell_text *out)
{
    const struct row *row = &((const struct runs *)context)->rows.items[index];
    const struct report_cell *cell = row->cell;
    const struct cell *asked = &cell->requested;
    switch (column) {
    case RUN:
        snprintf(out->text, sizeof out->text, "%u", cell->run_id);
        break;
    case DEVICE:
        cell_string(out, asked->device);
        break;
    case MODEL:
        snprintf(out->text, sizeof out->text, "%s%s%s", asked->model.preset, asked->model.preset[0] ? "/" : "",
                 asked->model.name);
        break;
    case SHAPE:
        snprintf(out->text, sizeof out->text, "b%lld·c%lld", (long long)asked->batch_size,
                 (long long)asked->context_length);
        break;
    case DTYPE:
        cell_string(out, precision_name(cell->effective_dtype));
        break;
    case MODE:
        cell_string(out, cell_mode(cell));
        break;
    case STATUS:
        cell_string(out, status_name(cell->status));
        out->style = status_style(cell->status);
        break;
    case FWD:
    case BWD:
    case OPT:
        median_text(out, row, column == FWD ? PHASE_FWD : column == BWD ? PHASE_BWD : PHASE_OPT);
        break;
    case TOTAL:
        median_text(out, row, PHASE_COUNT);
        /* A narrow window has no column for it, and why there is no figure matters more than that. */
        if (!is_known(median_of(row, PHASE_COUNT))) {
            cell_string(out, status_name(cell->status));
            out->style = status_style(cell->status);
        }
        break;
    case RATIO:
        cell_string(out, row->verdict);
        out->style = row->verdict_style;
        break;
    case TOKENS:
        cell_figure(out, format_rate, tokens_per_s(row));
        break;
    case FLOPS:
        cell_figure(out, format_rate, flops_per_s(row));
        break;
    case PLANNED:
        cell_figure(out, format_bytes, planned(row));
        break;
    case RESIDENT:
        cell_figure(out, format_bytes, resident(row));
        break;
    case COMPILE_TIME:
        cell_figure(out, format_duration, asked->compile ? known_or_nan(cell->compile_ns) : UNKNOWN_DOUBLE);
        break;
    default:
        cell_figure(out, format_count,
                    row->pass == NO_PASS ? UNKNOWN_DOUBLE : (double)phase_of(row, PHASE_COUNT)->sample_count);
    }
}

static double runs_value(const void *context, size_t index, int column)
{
    const struct row *row = &((const struct runs *)context)->rows.items[index];
    switch (column) {
    case RUN:
        return row->cell->run_id;
    case FWD:
    case BWD:
    case OPT:
        return median_of(row, column == FWD ? PHASE_FWD : column == BWD ? PHASE_BWD : PHASE_OPT);
    case TOTAL:
        return median_of(row, PHASE_COUNT);
    case TOKENS:
        return tokens_per_s(row);
    case FLOPS:
        return flops_per_s(row);
    case PLANNED:
        return planned(row);
    case RESIDENT:
        return resident(row);
    case COMPILE_TIME:
        return known_or_nan(row->cell->compile_ns);
    case RATIO:
        return row->ratio;
    default:
        return row->pass == NO_PASS ? UNKNOWN_DOUBLE : (double)phase_of(row, PHASE_COUNT)->sample_count;
    }
}

static const struct table_ops ops = {
    .columns = columns,
    .column_count = COLUMNS_COUNT,
    .text = runs_text,
    .value = runs_value,
    .flexible_least = 14,
    .by_value = 1u << RATIO,
    .automatic = 1u << RATIO,
    .slot = VIEW_RUNS,
};

static const struct ratio *compared(struct runs *runs, const struct report_cell *cell, const struct report_cell *base,
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
                                     .pass = pass};
        ratio_of_medians(own->samples_ns, own->sample_count, other->samples_ns, other->sample_count, &found->ratio);
    }
    return &found->ratio;
}

/* Same: the interval holds 1, or the difference is under half a percent. An interval that holds 1 and is wider than a
 * tenth says nothing either way. */
static void judge(struct row *row, const struct ratio *ratio)
{
    const char *verdict = "same";
    row->ratio = ratio->median;
    row->verdict_style = STYLE_NORMAL;
    if (!is_known(ratio->median) || !is_known(ratio->low)) {
        snprintf(row->verdict, sizeof row->verdict, "n/a");
        row->verdict_style = STYLE_DIM;
        row->ratio = UNKNOWN_DOUBLE;
        return;
    }
    /* Of two runs of three steps one is all faster than the other in a tenth of cases, though nothing differs; from four
     * steps on that is rarer than the twentieth that the interval allows. */
    const bool enough = ratio->n >= 4;
    const bool beyond = (ratio->low > 1 || ratio->high < 1) && fabs(ratio->median - 1) >= 0.005;
    if (beyond && enough) {
        verdict = ratio->median < 1 ? "faster" : "slower";
        row->verdict_style = ratio->median < 1 ? STYLE_GOOD : STYLE_BAD;
    } else if (!enough || ratio->high - ratio->low > 0.1) {
        verdict = "unclear";
        row->verdict_style = STYLE_WARN;
    }
    snprintf(row->verdict, sizeof row->verdict, "%.3f %s", ratio->median, verdict);
}

static void make_rows(struct app *app, struct runs *runs)
{
    const struct report_cell *base = app->baseline == NO_RUN ? NULL : app_find_cell(app, app->baseline);
    runs->rows.count = runs->ids.count = 0;
    for (size_t i = 0; i < app->report->cells.count; i++) {
        const struct report_cell *cell = app->report->cells.items[i];
        struct row row = {.cell = cell, .pass = timed_pass(cell), .ratio = UNKNOWN_DOUBLE};
        if (base == cell) {
            row.ratio = 1;
            snprintf(row.verdict, sizeof row.verdict, "baseline");
            row.verdict_style = STYLE_BOLD;
        } else if (base && row.pass != NO_PASS && base->passes[row.pass].present &&
                   total_of(base, row.pass)->sample_count) {
            judge(&row, compared(runs, cell, base, row.pass));
        } else if (base) {
            snprintf(row.verdict, sizeof row.verdict, "n/a");
            row.verdict_style = STYLE_DIM;
        }
        vec_push(&runs->rows, row);
        vec_push(&runs->ids, (uint64_t)cell->run_id + 1);
    }
    /* The column is there when there is something to compare with. */
    if (base)
        runs->table.shown |= 1u << RATIO;
    else
        runs->table.shown &= ~(1u << RATIO);
}

static void runs_init(struct app *app, void *state)
{
    struct runs *runs = state;
    table_init(&runs->table, &ops, RUN);
    runs->table.ascending = true;
    app_configure_table(app, &runs->table);
}

static void runs_release(void *state)
{
    struct runs *runs = state;
    table_release(&runs->table);
    vec_release(&runs->rows);
    vec_release(&runs->ids);
    vec_release(&runs->comparisons);
}

static void runs_draw(struct app *app, void *state, const struct area *area)
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
    const char *reason = any ? runs->rows.items[index].cell->reason : NULL;
    const bool has_reason = reason && reason[0];
    const struct area list = area_part(area, 0, 0, area->height - has_reason, area->width);
    table_draw(&runs->table, runs, &list, "no run yet: n starts one");
    if (has_reason) {
        const int x =
            area_printf(area, area->height - 1, 0, STYLE_BOLD, "run %u: ", runs->rows.items[index].cell->run_id);
        area_text_fit(area, area->height - 1, x, area->width - x, STYLE_WARN, reason);
    }
}

static void runs_status(const struct app *app, const void *state, char *text, size_t size)
{
    const struct runs *runs = state;
    size_t ended = 0;
    for (size_t i = 0; i < app->report->cells.count; i++)
        ended += app->report->cells.items[i]->status > STATUS_RUNNING;
    snprintf(text, size, "%zu of %zu runs ended%s%s", ended, app->report->cells.count,
             runs->table.filter[0] ? ", filter: " : "", runs->table.filter);
}

static bool runs_command(struct app *app, void *state, enum command command)
{
    struct runs *runs = state;
    size_t index;
    if (command != COMMAND_OPEN)
        return false;
    if (!table_selected(&runs->table, &index))
        return true;
    const struct report_cell *cell = runs->rows.items[index].cell;
    const struct focus focus = {
        .run = cell->run_id, .pass = NO_PASS, .scope = NO_SCOPE, .grouping = app->focus.grouping};
    app->follow = false;
    app_open(app, VIEW_KERNELS, &focus);
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
    .draw = runs_draw,
    .status = runs_status,
    .command = runs_command,
    .table = runs_table,
};
