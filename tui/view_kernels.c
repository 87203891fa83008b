/* Kernels: where the time of a pass went, by kernel and phase; or by class, layer, phase; or within one layer. */
#include "base/unknown.h"
#include "model/model.h"
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
    GAIN,
    STEP,
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
    OWN,
    BASE,
    RATIO,
    BUS,
    LINK,
    SPARK,
    OP,
    IPC,
    MISSES,
    DRAM,
    OCCUPANCY,
    COLUMNS_COUNT
};

#define SPARK_WIDTH 12
#define COMPARED (1u << OWN | 1u << BASE | 1u << RATIO)

struct kernels {
    struct table table;
    kernel_rows rows;
    VEC(uint64_t) ids;
    struct modules modules;         /* the cell's tree, for groups and words */
    bool window;                    /* asked for */
    const struct report_cell *cell; /* of this frame */
    struct kernel_query query;      /* and for */
};

static const struct kernel_row *row_at(const void *context, size_t index)
{
    return &((const struct kernels *)context)->rows.items[index];
}

/* Counters are kept by kernel: groups of several have none. */
static const struct report_kernel *counted(const void *context, size_t index)
{
    const struct kernels *kernels = context;
    const struct kernel_row *row = row_at(context, index);
    return row->kernel >= 0 && (size_t)row->kernel < kernels->cell->kernel_count && !kernels->query.window
               ? &kernels->cell->kernels[row->kernel]
               : NULL;
}

/* A column's value is an expression of its row. */
#define VALUE(name, expression)                                                                                        \
    static double name(const void *context, size_t index)                                                              \
    {                                                                                                                  \
        const struct report_cell *cell = ((const struct kernels *)context)->cell;                                      \
        const struct kernel_row *row = row_at(context, index);                                                         \
        (void)cell;                                                                                                    \
        return expression;                                                                                             \
    }
#define COUNTED(name, expression)                                                                                      \
    static double name(const void *context, size_t index)                                                              \
    {                                                                                                                  \
        const struct report_cell *cell = ((const struct kernels *)context)->cell;                                      \
        const struct report_kernel *kernel = counted(context, index);                                                  \
        return kernel ? expression : UNKNOWN_DOUBLE;                                                                   \
    }

VALUE(layers_value, row->sum.layers)
VALUE(calls_value, (double)row->sum.calls)
VALUE(total_value, (double)row->sum.total_ns)
VALUE(share_value, row->sum.share)
VALUE(roof_value, roof_share(cell, row->sum.flops, row->sum.bytes, (double)row->sum.total_ns))
VALUE(gain_value,
      roof_gain(row->sum.share, roof_share(cell, row->sum.flops, row->sum.bytes, (double)row->sum.total_ns)))
VALUE(step_value,
      ((const struct kernels *)context)->query.window
          ? UNKNOWN_DOUBLE
          : per_unit(cell, ((const struct kernels *)context)->query.pass, (double)row->sum.total_ns, UNIT_STEP))
VALUE(mean_value, row->sum.mean_ns)
VALUE(median_value, row->sum.median_ns)
VALUE(p95_value, row->sum.p95_ns)
VALUE(p99_value, row->sum.p99_ns)
VALUE(min_value, known_ns(row->sum.min_ns))
VALUE(max_value, known_ns(row->sum.max_ns))
VALUE(cv_value, row->sum.cv)
VALUE(bytes_value, rate_per_s(row->sum.bytes, (double)row->sum.total_ns))
VALUE(flops_value, rate_per_s(row->sum.flops, (double)row->sum.total_ns))
/* By nccl-tests' factor; what is read and written is the plan's: an all-reduce in place counts its bytes twice. */
static double bus_bytes(const struct report_cell *cell, const struct kernel_row *row)
{
    const int ranks = (int)cell->requested.ranks;
    if (row->kernel_class != CLASS_COLLECTIVE || ranks < 2 || !row->sum.op)
        return UNKNOWN_DOUBLE;
    const bool whole = strcmp(row->sum.op, "all_reduce") == 0 || strcmp(row->sum.op, "broadcast") == 0;
    return (whole ? row->sum.bytes / 2 : row->sum.bytes * ranks / (ranks + 1.0)) *
           collective_bus_factor(row->sum.op, ranks);
}
VALUE(bus_value, rate_per_s(bus_bytes(cell, row), (double)row->sum.total_ns))
VALUE(link_value, cell->telemetry.link_bytes_per_s > 0
                      ? rate_per_s(bus_bytes(cell, row), (double)row->sum.total_ns) / cell->telemetry.link_bytes_per_s
                      : UNKNOWN_DOUBLE)
VALUE(own_value, row->own_ns)
VALUE(base_value, row->base_ns)
VALUE(ratio_value, row->ratio.median)
COUNTED(ipc_value, counted_ipc(cell, kernel))
COUNTED(misses_value,
        counted_mostly_own(cell, kernel, "cache_misses") ? UNKNOWN_DOUBLE : counted_mean(cell, kernel, "cache_misses"))
COUNTED(dram_value, rate_per_s(counted_sum(cell, kernel, "dram_bytes"), counted_sum(cell, kernel, "gpu_ns")))
COUNTED(occupancy_value, counted_occupancy(cell, kernel))

static void name_text(const void *context, size_t index, struct cell_text *out)
{
    cell_string(out, row_at(context, index)->sum.name);
}

static void phase_text(const void *context, size_t index, struct cell_text *out)
{
    const int phase = row_at(context, index)->phase;
    cell_string(out, phase < 0 ? "all" : phase_name((enum phase)phase));
    if (phase >= 0)
        out->style = (enum style)(STYLE_PHASE + phase);
}

static void class_text(const void *context, size_t index, struct cell_text *out)
{
    const int kernel_class = row_at(context, index)->kernel_class;
    cell_string(out, kernel_class < 0 ? "several" : kernel_class_name((enum kernel_class)kernel_class));
    if (kernel_class >= 0)
        out->style = (enum style)(STYLE_CLASS + kernel_class);
}

static void spark_text(const void *context, size_t index, struct cell_text *out)
{
    const struct kernel_row *row = row_at(context, index);
    format_spark(out->text, sizeof out->text, row->sum.recent, row->sum.recent_count, out->width);
    out->style = STYLE_BAR;
}

static void op_text(const void *context, size_t index, struct cell_text *out)
{
    cell_string(out, row_at(context, index)->sum.op);
}

static void ratio_text(const void *context, size_t index, struct cell_text *out)
{
    const struct kernel_row *row = row_at(context, index);
    verdict_cell(out, &row->ratio, row->verdict);
}

static const struct table_column columns[COLUMNS_COUNT] = {
    [NAME] = {"kernel", "kernel", "name of the kernel, or of the group", 0, 0, COLUMN_LEFT, NULL, NULL, name_text},
    [PHASE] = {"phase", "phase", "fwd, loss, bwd or opt", 5, 2, COLUMN_LEFT, NULL, NULL, phase_text},
    [CLASS] = {"class", "class", "matmul, attention, softmax …", 11, 14, COLUMN_LEFT | COLUMN_HIDDEN, NULL, NULL,
               class_text},
    [LAYERS] = {"layers", "layers", "how many modules of the model it serves", 6, 12, 0, layers_value, format_count,
                NULL},
    [CALLS] = {"calls", "calls", "launches in the profiled steps", 6, 5, 0, calls_value, format_count, NULL},
    [TOTAL] = {"total", "total", "time in all its launches", 8, 1, 0, total_value, format_duration, NULL},
    [SHARE] = {"share", "self%", "of the kernel time of the pass, or of its part that is shown", 6, 2, 0, share_value,
               format_percent, NULL},
    [GAIN] = {"gain", "gain%",
              "of that time, what would be saved at the ceilings: self% · (1 − roof); what is worth "
              "making faster",
              6, 9, 0, gain_value, format_percent, NULL},
    [STEP] = {"step", "a step", "time in a profiled step", 8, 20, COLUMN_HIDDEN, step_value, format_duration, NULL},
    [MEAN] = {"mean", "mean", "of a launch", 8, 15, COLUMN_HIDDEN, mean_value, format_duration, NULL},
    [MEDIAN] = {"median", "median", "of a launch, warm-up left out", 8, 3, 0, median_value, format_duration, NULL},
    [P95] = {"p95", "p95", "95 of 100 launches take no longer", 8, 6, 0, p95_value, format_duration, NULL},
    [P99] = {"p99", "p99", "99 of 100; from 100 launches on", 8, 16, COLUMN_HIDDEN, p99_value, format_duration, NULL},
    [MIN] = {"min", "min", "shortest launch", 8, 17, COLUMN_HIDDEN, min_value, format_duration, NULL},
    [MAX] = {"max", "max", "longest launch", 8, 8, 0, max_value, format_duration, NULL},
    [CV] = {"cv", "CV%", "standard deviation over mean", 6, 10, 0, cv_value, format_percent, NULL},
    [BYTES] = {"bytes", "B/s", "modelled least traffic over time", 8, 11, 0, bytes_value, format_rate, NULL},
    [FLOPS] = {"flops", "FLOP/s", "modelled FLOPs over time", 8, 7, 0, flops_value, format_rate, NULL},
    [ROOF] = {"roof", "roof%", "of what the measured ceilings allow (sgemm, copy)", 6, 8, 0, roof_value, format_roof,
              NULL},
    [OWN] = {"own", "this",
             "beside the baseline: the median launch of a kernel, of a group its time a step; where the "
             "shapes differ, of a thousand tokens",
             8, 1, COLUMN_AUTOMATIC | COLUMN_HIDDEN, own_value, format_duration, NULL},
    [BASE] = {"base", "base", "the same of what has the same name in the baseline", 8, 2,
              COLUMN_AUTOMATIC | COLUMN_HIDDEN, base_value, format_duration, NULL},
    [RATIO] = {"ratio", "vs baseline", "this over the baseline's, and whether that is beyond noise (95 % interval)", 15,
               1, COLUMN_LEFT | COLUMN_AUTOMATIC | COLUMN_HIDDEN, ratio_value, NULL, ratio_text},
    [BUS] = {"bus", "bus B/s",
             "of collectives: bus bandwidth (nccl-tests') over their time, waiting for ranks included", 8, 7,
             COLUMN_AUTOMATIC | COLUMN_HIDDEN, bus_value, format_rate, NULL},
    [LINK] = {"link", "link%", "of collectives: that of what all links of a card move in one direction, by its driver",
              6, 13, COLUMN_AUTOMATIC | COLUMN_HIDDEN, link_value, format_percent, NULL},
    [SPARK] = {"recent", "recent", "the last launches, oldest first, scaled to the longest", SPARK_WIDTH, 13,
               COLUMN_LEFT | COLUMN_SLOW | COLUMN_WIDE, NULL, NULL, spark_text},
    [OP] = {"op", "op", "operation of the plan that it computes", 22, 18, COLUMN_LEFT | COLUMN_HIDDEN, NULL, NULL,
            op_text},
    [IPC] = {"ipc", "ins/cy", "instructions a cycle, counted", 6, 19, COLUMN_HIDDEN, ipc_value, format_ratio, NULL},
    [MISSES] = {"misses", "misses", "cache misses a launch, counted", 8, 20, COLUMN_HIDDEN, misses_value, format_count,
                NULL},
    [DRAM] = {"dram", "DRAM/s", "bytes to and from the device's memory over time, counted", 8, 21, COLUMN_HIDDEN,
              dram_value, format_rate, NULL},
    [OCCUPANCY] = {"occupancy", "occ%", "warps active of those that fit, counted", 6, 22, COLUMN_HIDDEN,
                   occupancy_value, format_percent, NULL},
};

/* A filter finds a kernel by its class, its operation and the modules that it serves, too. */
static void kernels_words(const void *context, size_t index, struct cell_text *out)
{
    const struct kernels *kernels = context;
    const struct kernel_row *row = row_at(context, index);
    size_t used = (size_t)snprintf(out->text, sizeof out->text, "%s %s",
                                   row->kernel_class < 0 ? "" : kernel_class_name((enum kernel_class)row->kernel_class),
                                   row->sum.op ? row->sum.op : "");
    int32_t last = -1;
    for (size_t i = 0; row->kernel >= 0 && i < kernels->cell->entry_count && used < sizeof out->text; i++) {
        const struct report_entry *entry = &kernels->cell->entries[i];
        if ((int32_t)entry->kernel != row->kernel || entry->scope < 0 ||
            (size_t)entry->scope >= kernels->cell->layer_count || !kernels->modules.layer_count)
            continue;
        const int32_t module = kernels->modules.of_layer[entry->scope];
        if (module != last)
            used += (size_t)snprintf(out->text + used, sizeof out->text - used, " %s",
                                     kernels->modules.layers[module].path);
        last = module;
    }
}

/* Other figures of a row change only with its calls. The share does with those of all rows: what is drawn of it counts. */
static uint64_t kernels_version(const void *context, size_t index)
{
    const struct kernels *kernels = context;
    const struct kernel_row *row = row_at(context, index);
    uint64_t version = version_mix((uint64_t)row->sum.layers, (double)row->sum.calls);
    version = version_mix(version, (double)row->sum.total_ns);
    version = version_mix(version, row->sum.median_ns);
    version = version_mix(version, row->base_ns);
    /* Those of a GPU come after the launches that they are of. */
    const struct report_kernel *kernel = counted(context, index);
    version = version_mix(version, kernel && kernel->counters ? (double)kernel->counters->samples : 0);
    version = version_mix(version, round(row->sum.share * 1000));
    return version_mix(version_mix(version, kernels->cell->ceilings.flops_per_s), kernels->cell->ceilings.bytes_per_s);
}

static const struct table_ops ops = {
    .columns = columns,
    .column_count = COLUMNS_COUNT,
    .order = ORDER_COLUMN,
    .flexible_least = 24,
    .long_names = true,
    .version = kernels_version,
    .words = kernels_words,
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
    modules_release(&kernels->modules);
}

static void make_rows(struct app *app, struct kernels *kernels)
{
    const struct report_cell *cell = kernels->cell;
    const struct kernel_query query = {
        .pass = app_pass(app, cell),
        .scope = app->focus.scope,
        .part = app->focus.part,
        .grouping = app->focus.grouping,
        .window = kernels->window && app->session,
        .live = &app->live,
        .threshold = app->config.threshold,
        .baseline = app->focus.compare ? app_find_cell(app, app->baseline) : NULL,
    };
    if (app->focus.compare)
        kernels->table.shown |= COMPARED;
    else
        kernels->table.shown &= ~COMPARED;
    /* Of a kernel "this" is its median launch. */
    kernels->table.spared = cell && app->focus.compare && kernel_unit(cell, &query) == UNIT_LAUNCH ? 1u << MEDIAN : 0;
    kernels->table.shown &= ~(1u << BUS | 1u << LINK);
    if (cell && cell->requested.ranks > 1)
        kernels->table.shown |= 1u << BUS | (cell->telemetry.link_bytes_per_s > 0 ? 1u << LINK : 0);
    kernels->rows.count = kernels->ids.count = 0;
    kernels->query = query;
    if (!cell || query.pass == NO_PASS)
        return;
    if (query.grouping == GROUP_MODULE || query.part.chosen[GROUP_MODULE] || kernels->table.filter[0] ||
        kernels->table.search[0])
        modules_tree(&kernels->modules, cell);
    else
        modules_release(&kernels->modules);
    kernel_rows_make(cell, &kernels->modules, &query, &kernels->rows);
    for (size_t i = 0; i < kernels->rows.count; i++)
        vec_push(&kernels->ids, kernels->rows.items[i].id);
}

static void kernels_update(struct app *app, void *state)
{
    struct kernels *kernels = state;
    kernels->cell = app_cell(app);
    make_rows(app, kernels);
    table_update(&kernels->table, kernels, kernels->ids.items, kernels->ids.count, app->now);
}

static void kernels_draw(struct app *app, void *state, const struct area *area)
{
    struct kernels *kernels = state;
    const struct report_cell *cell = kernels->cell;
    table_draw(&kernels->table, kernels, area,
               !cell || !cell->kernel_count ? cell_has_none(app, cell, "kernels")
                                            : "no kernel of this pass is above the threshold; L changes it");
}

/* ", 3 tagged: 12.3 ms, 45.6%": what they add up to, of those that are shown. */
static size_t tagged_text(const struct kernels *kernels, char *text, size_t size)
{
    double total = 0, share = 0;
    size_t count = 0;
    char time[FORMAT_SIZE], percent[FORMAT_SIZE];
    for (size_t i = 0; kernels->table.tags.count && i < kernels->rows.count; i++) {
        const struct kernel_row *row = &kernels->rows.items[i];
        if (!table_is_tagged(&kernels->table, row->id))
            continue;
        count++;
        total += (double)row->sum.total_ns;
        share += row->sum.share;
    }
    text[0] = 0;
    if (!count)
        return 0;
    return (size_t)snprintf(text, size, ", %zu tagged: %s, %s%%", count, format_duration(time, total),
                            format_percent(percent, share));
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
    if (used < size) {
        table_asked(table, text, size);
        used = strlen(text);
    }
    if (kernels->query.baseline && kernels->cell && used < size)
        used += (size_t)snprintf(text + used, size - used, ", by %s",
                                 unit_name(kernel_unit(kernels->cell, &kernels->query)));
    if (used < size)
        used += tagged_text(kernels, text + used, size - used);
    if (used < size)
        snprintf(text + used, size - used, ", %zu of %zu", table->items.count ? table->position + 1 : 0,
                 table->items.count);
}

static uint64_t kernels_kernel(const void *state)
{
    const struct kernels *kernels = state;
    size_t index;
    const bool any = kernels->query.grouping == GROUP_KERNEL && table_selected(&kernels->table, &index);
    return any ? row_at(kernels, index)->id : 0;
}

/* Enter: a kernel to its histogram; a class, block or phase to its kernels. */
static void open_row(struct app *app, struct kernels *kernels)
{
    size_t index;
    if (!table_selected(&kernels->table, &index))
        return;
    const struct kernel_row *row = row_at(kernels, index);
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
        app_keep_choice(app, VIEW_KERNELS, (int)app->focus.grouping);
        return true;
    case COMMAND_WINDOW:
        if (!app->session)
            app_message(app, STYLE_WARN, "the last 10 s are known of a live run only");
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
    .update = kernels_update,
    .draw = kernels_draw,
    .status = kernels_status,
    .command = kernels_command,
    .table = kernels_table,
    .kernel = kernels_kernel,
};
