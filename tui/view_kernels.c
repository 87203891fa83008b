/* Kernels: where the time of a pass went, by kernel and phase; or by class, layer, phase; or within one layer. */
#include "base/unknown.h"
#include "report/counted.h"
#include "tui/app.h"
#include "tui/cells.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum column {
    NAME,
    PHASE,
    CLASS,
    LAYERS,
    CALLS,
    TOTAL,
    SHARE,
    MEAN,
    MEDIAN,
    P95,
    P99,
    MIN,
    MAX,
    CV,
    BYTES,
    FLOPS,
    ROOF,
    BASE,
    RATIO,
    SPARK,
    OP,
    IPC,
    MISSES,
    DRAM,
    OCCUPANCY,
    COLUMNS_COUNT
};

#define SPARK_WIDTH 12
#define COMPARED (1u << BASE | 1u << RATIO)

static const struct table_column columns[COLUMNS_COUNT] = {
    [NAME] = {"kernel", "kernel", "name of the kernel, or of the group", 0, 0, true, false},
    [PHASE] = {"phase", "phase", "fwd, loss, bwd or opt", 5, 4, true, false},
    [CLASS] = {"class", "class", "matmul, attention, softmax …", 11, 14, true, true},
    [LAYERS] = {"layers", "layers", "how many modules of the model it serves", 6, 12, false, false},
    [CALLS] = {"calls", "calls", "launches in the profiled steps", 6, 5, false, false},
    [TOTAL] = {"total", "total", "time in all its launches", 8, 2, false, false},
    [SHARE] = {"share", "self%", "of the kernel time of the pass, or of its part that is shown", 6, 1, false, false},
    [MEAN] = {"mean", "mean", "of a launch", 8, 15, false, true},
    [MEDIAN] = {"median", "median", "of a launch, warm-up left out", 8, 3, false, false},
    [P95] = {"p95", "p95", "95 of 100 launches take no longer", 8, 6, false, false},
    [P99] = {"p99", "p99", "99 of 100; from 100 launches on", 8, 16, false, true},
    [MIN] = {"min", "min", "shortest launch", 8, 17, false, true},
    [MAX] = {"max", "max", "longest launch", 8, 8, false, false},
    [CV] = {"cv", "CV%", "standard deviation over mean", 6, 9, false, false},
    [BYTES] = {"bytes", "B/s", "modelled least traffic over time", 8, 10, false, false},
    [FLOPS] = {"flops", "FLOP/s", "modelled FLOPs over time", 8, 7, false, false},
    [ROOF] = {"roof", "roof%", "of what the measured ceilings allow (sgemm, copy)", 6, 11, false, false},
    [BASE] = {"base", "base", "mean launch of the same kernel in the baseline", 8, 3, false, true},
    [RATIO] = {"ratio", "ratio", "mean launch over the baseline's", 6, 2, false, true},
    [SPARK] = {"recent", "recent", "the last launches, oldest first, scaled to the longest", SPARK_WIDTH, 13, true,
               false},
    [OP] = {"op", "op", "operation of the plan that it computes", 22, 18, true, true},
    [IPC] = {"ipc", "ins/cy", "instructions a cycle, counted", 6, 19, false, true},
    [MISSES] = {"misses", "misses", "cache misses a launch, counted", 8, 20, false, true},
    [DRAM] = {"dram", "DRAM/s", "bytes to and from the device's memory over time, counted", 8, 21, false, true},
    [OCCUPANCY] = {"occupancy", "occ%", "warps active of those that fit, counted", 6, 22, false, true},
};

struct kernels {
    struct table table;
    kernel_rows rows;
    VEC(uint64_t) ids;
    bool window;                    /* asked for */
    const struct report_cell *cell; /* of this frame */
    const struct report_cell *made_of;
    uint64_t made_version;     /* of that cell */
    struct kernel_query query; /* that the rows are made for */
};

static const char *phase_text(int phase)
{
    return phase < 0 ? "all" : phase_name((enum phase)phase);
}

static double kernels_value(const void *context, size_t index, int column)
{
    const struct kernels *kernels = context;
    const struct kernel_row *row = &kernels->rows.items[index];
    switch (column) {
    case LAYERS:
        return row->layers;
    case CALLS:
        return (double)row->calls;
    case TOTAL:
        return row->total_ns;
    case SHARE:
        return row->share;
    case MEAN:
        return row->mean_ns;
    case MEDIAN:
        return row->median_ns;
    case P95:
        return row->p95_ns;
    case P99:
        return row->p99_ns;
    case MIN:
        return row->min_ns;
    case MAX:
        return row->max_ns;
    case CV:
        return row->cv;
    case BYTES:
        return rate_per_s(row->bytes, row->total_ns);
    case FLOPS:
        return rate_per_s(row->flops, row->total_ns);
    case ROOF:
        return roof_share(kernels->cell, row->flops, row->bytes, row->total_ns);
    case BASE:
        return row->base_ns;
    case RATIO:
        return row->mean_ns / row->base_ns;
    default:
        break;
    }
    /* Counters are kept by kernel: groups of several have none. */
    const struct report_kernel *kernel =
        row->kernel >= 0 && (size_t)row->kernel < kernels->cell->kernel_count && !kernels->query.window
            ? &kernels->cell->kernels[row->kernel]
            : NULL;
    switch (kernel ? column : COLUMNS_COUNT) {
    case IPC:
        return counted_ipc(kernels->cell, kernel);
    case MISSES:
        return counted_mean(kernels->cell, kernel, "cache_misses");
    case DRAM:
        return rate_per_s(counted_sum(kernels->cell, kernel, "dram_bytes"),
                          counted_sum(kernels->cell, kernel, "gpu_ns"));
    case OCCUPANCY:
        return counted_occupancy(kernels->cell, kernel);
    default:
        return UNKNOWN_DOUBLE;
    }
}

static void kernels_text(const void *context, size_t index, int column, struct cell_text *out)
{
    const struct kernels *kernels = context;
    const struct kernel_row *row = &kernels->rows.items[index];
    const double value = columns[column].left ? 0 : kernels_value(context, index, column);
    switch (column) {
    case NAME:
        cell_string(out, row->name);
        break;
    case PHASE:
        cell_string(out, phase_text(row->phase));
        if (row->phase >= 0)
            out->style = (enum style)(STYLE_PHASE + row->phase);
        break;
    case CLASS:
        cell_string(out, row->kernel_class < 0 ? "several" : kernel_class_name((enum kernel_class)row->kernel_class));
        if (row->kernel_class >= 0)
            out->style = (enum style)(STYLE_CLASS + row->kernel_class);
        break;
    case SPARK:
        format_spark(out->text, sizeof out->text, row->recent, row->recent_count, SPARK_WIDTH);
        out->style = STYLE_BAR;
        break;
    case OP:
        cell_string(out, row->op);
        break;
    case LAYERS:
    case CALLS:
    case MISSES:
        cell_figure(out, format_count, value);
        break;
    case SHARE:
    case CV:
    case ROOF:
    case OCCUPANCY:
        cell_figure(out, format_percent, value);
        break;
    case BYTES:
    case FLOPS:
    case DRAM:
        cell_figure(out, format_rate, value);
        break;
    case IPC:
        cell_figure(out, format_ratio, value);
        break;
    case RATIO:
        cell_figure(out, format_ratio, value);
        if (value > 1.05)
            out->style = STYLE_BAD;
        else if (value < 0.95)
            out->style = STYLE_GOOD;
        break;
    default:
        cell_figure(out, format_duration, value);
    }
}

/* Other figures of a row change only with its calls. The share does with those of all rows: what is drawn of it counts. */
static uint64_t kernels_version(const void *context, size_t index)
{
    const struct kernels *kernels = context;
    const struct kernel_row *row = &kernels->rows.items[index];
    uint64_t version = version_mix((uint64_t)row->layers, (double)row->calls);
    version = version_mix(version, row->total_ns);
    version = version_mix(version, row->median_ns);
    version = version_mix(version, row->base_ns);
    /* Those of a GPU come after the launches that they are of. */
    const struct report_counters *counters = row->kernel >= 0 && (size_t)row->kernel < kernels->cell->kernel_count
                                                 ? kernels->cell->kernels[row->kernel].counters
                                                 : NULL;
    version = version_mix(version, counters ? (double)counters->samples : 0);
    version = version_mix(version, round(row->share * 1000));
    return version_mix(version_mix(version, kernels->cell->ceilings.flops_per_s), kernels->cell->ceilings.bytes_per_s);
}

static const struct table_ops ops = {
    .columns = columns,
    .column_count = COLUMNS_COUNT,
    .text = kernels_text,
    .value = kernels_value,
    .flexible_least = 24,
    .long_names = true,
    .version = kernels_version,
    .slow = 1u << SPARK,
    .automatic = COMPARED,
    .slot = VIEW_KERNELS,
};

static void kernels_init(struct app *app, void *state)
{
    struct kernels *kernels = state;
    table_init(&kernels->table, &ops, TOTAL);
    app_configure_table(app, &kernels->table);
}

static void kernels_release(void *state)
{
    struct kernels *kernels = state;
    table_release(&kernels->table);
    vec_release(&kernels->rows);
    vec_release(&kernels->ids);
}

static void make_rows(struct app *app, struct kernels *kernels)
{
    struct kernel_query query = {
        .pass = app_pass(app, kernels->cell),
        .scope = app->focus.scope,
        .part = app->focus.part,
        .grouping = app->focus.grouping,
        .window = kernels->window && app->session,
        .threshold = app->config.threshold,
        .baseline = app->focus.compare ? app_find_cell(app, app->baseline) : NULL,
    };
    if (app->focus.compare)
        kernels->table.shown |= COMPARED;
    else
        kernels->table.shown &= ~COMPARED;
    /* A frozen screen keeps what it showed: the last ten seconds and the bins of groups go on moving underneath. Other rows
     * than those that it has it makes of what the document holds, which stands still. */
    query.frozen = app->paused && kernels->cell && kernels->cell->status == STATUS_RUNNING;
    if (query.frozen && kernels->made_of == kernels->cell && kernels->made_version == kernels->cell->version &&
        kernel_query_same(&kernels->query, &query))
        return;
    query.window &= !query.frozen;
    kernels->rows.count = kernels->ids.count = 0;
    kernels->query = query;
    kernels->made_of = kernels->cell;
    if (!kernels->cell || query.pass == NO_PASS)
        return;
    kernels->made_version = kernels->cell->version;
    kernel_rows_make(kernels->cell, &query, &kernels->rows);
    for (size_t i = 0; i < kernels->rows.count; i++)
        vec_push(&kernels->ids, kernels->rows.items[i].id);
}

static void kernels_draw(struct app *app, void *state, const struct area *area)
{
    struct kernels *kernels = state;
    kernels->cell = app_cell(app);
    make_rows(app, kernels);
    table_update(&kernels->table, kernels, kernels->ids.items, kernels->ids.count, app->now);
    table_draw(&kernels->table, kernels, area,
               !kernels->cell                            ? "no run yet: n starts one"
               : kernels->cell->status == STATUS_RUNNING ? "no kernel yet: the first ones come with the warm-up"
               : kernels->cell->status == STATUS_PENDING ? "this run waits for those before it"
               : kernels->cell->kernel_count             ? "no kernel of this pass is above the threshold; L changes it"
                                                         : "this run has no kernels");
    if (kernels->cell && !kernels->cell->kernel_count && kernels->cell->reason && area->height > 4)
        area_text_fit(area, 3, 1, area->width - 2, STYLE_WARN, kernels->cell->reason);
}

static void kernels_status(const struct app *app, const void *state, char *text, size_t size)
{
    const struct kernels *kernels = state;
    const struct table *table = &kernels->table;
    const int pass = app_pass(app, kernels->cell);
    size_t used = (size_t)snprintf(text, size, "%s", pass == NO_PASS ? "" : pass_name((enum pass)pass));
    if (kernels->query.window && used < size)
        used += (size_t)snprintf(text + used, size - used, ", last 10 s");
    if (app->config.threshold > 0 && used < size)
        used += (size_t)snprintf(text + used, size - used, ", ≥%g%%", app->config.threshold * 100);
    if (table->filter[0] && used < size)
        used += (size_t)snprintf(text + used, size - used, ", filter: %s", table->filter);
    if (table->search[0] && used < size)
        used += (size_t)snprintf(text + used, size - used, ", search: %s", table->search);
    if (used < size)
        snprintf(text + used, size - used, ", %zu of %zu", table->items.count ? table->position + 1 : 0,
                 table->items.count);
}

/* Enter: a kernel to its histogram; a class, block or phase to its kernels. */
static void open_row(struct app *app, struct kernels *kernels)
{
    size_t index;
    if (!table_selected(&kernels->table, &index))
        return;
    const struct kernel_row *row = &kernels->rows.items[index];
    const enum grouping grouping = kernels->query.grouping;
    if (grouping != GROUP_KERNEL) {
        app_open_group(app, kernels->cell, kernels->query.pass, grouping, row->group);
        return;
    }
    struct focus focus = app->focus;
    focus.run = kernels->cell->run_id;
    focus.pass = kernels->query.pass;
    focus.kernel = row->id;
    app->follow = false;
    app_open(app, VIEW_HISTOGRAM, &focus);
}

static bool kernels_command(struct app *app, void *state, enum command command)
{
    struct kernels *kernels = state;
    switch (command) {
    case COMMAND_OPEN:
        open_row(app, kernels);
        return true;
    case COMMAND_GROUP:
        app->focus.grouping = (enum grouping)((app->focus.grouping + 1) % GROUPING_COUNT);
        return true;
    case COMMAND_WINDOW:
        if (!app->session)
            app_message(app, STYLE_WARN, "the last 10 s are known of a live run only");
        else if (app->paused)
            app_message(app, STYLE_WARN, "the screen is frozen; Z goes on");
        else
            kernels->window = !kernels->window;
        return true;
    default:
        return false;
    }
}

static struct table *kernels_table(void *state)
{
    return &((struct kernels *)state)->table;
}

const struct view_ops kernels_view = {
    .name = "Kernels",
    .state_size = sizeof(struct kernels),
    .init = kernels_init,
    .release = kernels_release,
    .draw = kernels_draw,
    .status = kernels_status,
    .command = kernels_command,
    .table = kernels_table,
};
