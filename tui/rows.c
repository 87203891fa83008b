#include "tui/rows.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/unknown.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const grouping_names[GROUPING_COUNT] = {"kernel", "class", "module", "layer", "phase"};

const char *unit_name(enum unit unit)
{
    static const char *const names[] = {"a launch (median)", "a step", "a thousand tokens"};
    return names[unit];
}

uint64_t text_id(const char *text, uint64_t seed)
{
    /* Eight bytes at a time: each frame asks for the id of every kernel. */
    uint64_t hash = HASH_START ^ seed * 0x9e3779b97f4a7c15u, word;
    for (size_t left = strlen(text); left > 0;) {
        const size_t part = left < sizeof word ? left : sizeof word;
        word = 0;
        if (part == sizeof word)
            memcpy(&word, text, sizeof word);
        else
            memcpy(&word, text, part);
        hash = (hash ^ word ^ part << 60) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 29;
        text += part;
        left -= part;
    }
    return hash ? hash : 1;
}

uint64_t kernel_id(const char *name, int phase, int pass)
{
    return text_id(name, 1 + (uint64_t)phase * PASS_COUNT + (uint64_t)pass);
}

int32_t kernel_find(const struct report_cell *cell, uint64_t id)
{
    for (size_t i = 0; i < cell->kernel_count; i++)
        if (kernel_id(cell->kernels[i].name, cell->kernels[i].phase, cell->kernels[i].pass) == id)
            return (int32_t)i;
    return -1;
}

bool kernel_any(const struct report_cell *cell, int pass)
{
    for (size_t i = 0; i < cell->kernel_count; i++)
        if (cell->kernels[i].pass == pass && cell->kernels[i].calls)
            return true;
    return false;
}

int32_t kernel_largest(const struct report_cell *cell, int pass)
{
    int32_t largest = -1;
    for (size_t i = 0; i < cell->kernel_count; i++)
        if (cell->kernels[i].pass == pass && cell->kernels[i].calls &&
            (largest < 0 || cell->kernels[i].total_ns > cell->kernels[largest].total_ns))
            largest = (int32_t)i;
    return largest;
}

bool scope_within(const struct report_cell *cell, int32_t scope, int32_t ancestor)
{
    while (scope >= 0 && scope != ancestor && (size_t)scope < cell->layer_count)
        scope = cell->layers[scope].parent;
    return scope == ancestor;
}

double sum_known(double a, double b)
{
    return !is_known(a) ? b : is_known(b) ? a + b : a;
}

double known_ns(uint64_t ns)
{
    return is_known_u64(ns) ? (double)ns : UNKNOWN_DOUBLE;
}

double rate_per_s(double amount, double ns)
{
    return ns > 0 ? amount / ns * 1e9 : UNKNOWN_DOUBLE;
}

double roof_share(const struct report_cell *cell, double flops, double bytes, double ns)
{
    const double peak = cell->ceilings.flops_per_s, bandwidth = cell->ceilings.bytes_per_s;
    if (!is_known(flops) || !is_known(bytes) || !(ns > 0) || !is_known(peak) || !is_known(bandwidth))
        return UNKNOWN_DOUBLE;
    /* The time that the ceilings allow at least, over the time taken; this holds for copies (0 FLOPs) too. */
    const double compute = flops / peak * 1e9, memory = bytes / bandwidth * 1e9;
    const double least = compute > memory ? compute : memory;
    return least > 0 ? least / ns : UNKNOWN_DOUBLE;
}

double roof_gain(double share, double roof)
{
    return share * (roof < 1 ? 1 - roof : roof >= 1 ? 0 : UNKNOWN_DOUBLE);
}

double per_unit(const struct report_cell *cell, int pass, double total_ns, enum unit unit)
{
    const double steps = pass_steps(&cell->passes[pass]);
    const double tokens = (double)cell->requested.batch_size * (double)cell->requested.context_length;
    if (!(steps > 0) || unit == UNIT_LAUNCH || (unit == UNIT_TOKENS && !(tokens > 0)))
        return UNKNOWN_DOUBLE;
    return total_ns / steps / (unit == UNIT_TOKENS ? tokens / 1000 : 1);
}

enum unit kernel_unit(const struct report_cell *cell, const struct kernel_query *query)
{
    const struct cell *a = &cell->requested, *b = query->baseline ? &query->baseline->requested : a;
    if (a->batch_size * a->context_length != b->batch_size * b->context_length)
        return UNIT_TOKENS;
    return query->grouping == GROUP_KERNEL && query->scope < 0 ? UNIT_LAUNCH : UNIT_STEP;
}

/* What a row sums up while its members are added. */
struct sum {
    struct kernel_row row;
    struct running time; /* of windowed rows */
    struct histogram histogram;
    bool histogram_complete; /* every member had one */
    int members;
    double single_median, single_p95, single_cv;
};

struct making {
    const struct report_cell *cell;
    const struct modules *modules;
    const struct kernel_query *query;
    VEC(struct sum) sums;
};

static struct sum *sum_for(struct making *making, uint64_t id)
{
    for (size_t i = 0; i < making->sums.count; i++)
        if (making->sums.items[i].row.id == id)
            return &making->sums.items[i];
    const struct sum fresh = {.row = {.id = id,
                                      .kernel_class = -2,
                                      .phase = -2,
                                      .kernel = -2,
                                      .sum = {.min_ns = UNKNOWN_U64,
                                              .max_ns = UNKNOWN_U64,
                                              .flops = UNKNOWN_DOUBLE,
                                              .bytes = UNKNOWN_DOUBLE}},
                              .histogram_complete = true};
    vec_push(&making->sums, fresh);
    return &making->sums.items[making->sums.count - 1];
}

/* −2: nothing yet, −1: several. */
static void join(int *value, int other)
{
    *value = *value == -2 || *value == other ? other : -1;
}

static void add_times(struct report_kernel *sum, uint64_t calls, uint64_t total, uint64_t low, uint64_t high,
                      double flops, double bytes)
{
    sum->calls += calls;
    sum->total_ns += total;
    sum->flops = sum_known(sum->flops, flops);
    sum->bytes = sum_known(sum->bytes, bytes);
    if (is_known_u64(low) && (!is_known_u64(sum->min_ns) || low < sum->min_ns))
        sum->min_ns = low;
    if (is_known_u64(high) && (!is_known_u64(sum->max_ns) || high > sum->max_ns))
        sum->max_ns = high;
}

/* The layer that a scope belongs to for grouping: the block ("layers.3") or the module directly below the model. */
static int32_t block_of(const struct report_cell *cell, int32_t scope)
{
    while (scope > 0 && (size_t)scope < cell->layer_count) {
        const int32_t parent = cell->layers[scope].parent;
        if (parent <= 0)
            return scope;
        const char *name = cell->layers[scope].name;
        if (name[0] >= '0' && name[0] <= '9' && cell->layers[parent].parent <= 0)
            return scope; /* layers → 3 */
        scope = parent;
    }
    return scope;
}

static int32_t group_of(const struct making *making, const struct report_kernel *kernel, int32_t scope,
                        enum grouping grouping)
{
    const struct report_cell *cell = making->cell;
    const bool placed = scope >= 0 && (size_t)scope < cell->layer_count;
    switch (grouping) {
    case GROUP_CLASS:
        return (int32_t)kernel->kernel_class;
    case GROUP_PHASE:
        return kernel->phase;
    case GROUP_MODULE:
        return placed && making->modules ? making->modules->of_layer[scope] : -1;
    case GROUP_LAYER:
        return placed ? block_of(cell, scope) : -1;
    default:
        return (int32_t)(kernel - cell->kernels);
    }
}

const char *group_name(const struct report_cell *cell, const struct modules *modules, enum grouping grouping,
                       int32_t group)
{
    switch (grouping) {
    case GROUP_CLASS:
        return kernel_class_name((enum kernel_class)group);
    case GROUP_PHASE:
        return phase_name((enum phase)group);
    case GROUP_MODULE:
        return modules && group >= 0 && (size_t)group < modules->layer_count ? modules->layers[group].path
                                                                             : "(unattributed)";
    case GROUP_LAYER:
        return group >= 0 && (size_t)group < cell->layer_count ? cell->layers[group].path : "(unattributed)";
    default:
        return cell->kernels[group].name;
    }
}

static uint64_t group_id(const struct making *making, enum grouping grouping, int32_t group)
{
    if (grouping != GROUP_KERNEL)
        return text_id(group_name(making->cell, making->modules, grouping, group), 100 + (uint64_t)grouping);
    const struct report_kernel *kernel = &making->cell->kernels[group];
    return kernel_id(kernel->name, kernel->phase, kernel->pass);
}

static bool in_part(const struct making *making, const struct report_kernel *kernel, int32_t scope,
                    enum grouping grouping)
{
    const struct kernel_part *part = &making->query->part;
    /* A module is meant with all below it. */
    if (part->chosen[grouping] && grouping == GROUP_MODULE && part->value[grouping] >= 0 && making->modules) {
        int32_t at = group_of(making, kernel, scope, grouping);
        while (at >= 0 && at != part->value[grouping])
            at = making->modules->layers[at].parent;
        return at >= 0;
    }
    return !part->chosen[grouping] || part->value[grouping] == group_of(making, kernel, scope, grouping);
}

/* A kernel as a whole has a class and a phase; in which layers it ran only its entries say. */
static bool kernel_in_part(const struct making *making, const struct report_kernel *kernel)
{
    return in_part(making, kernel, -1, GROUP_CLASS) && in_part(making, kernel, -1, GROUP_PHASE);
}

/* What is behind an entry, or NULL: nothing that moves. */
static const struct entry *live_of(const struct making *making, const struct report_entry *entry)
{
    return live_entry(making->query->live, making->cell, (size_t)(entry - making->cell->entries));
}

static bool entry_is_asked(const struct making *making, const struct report_entry *entry)
{
    const struct report_cell *cell = making->cell;
    const struct kernel_query *query = making->query;
    if (entry->pass != query->pass || entry->kernel >= cell->kernel_count)
        return false;
    if (query->window && !live_of(making, entry))
        return false;
    const struct report_kernel *kernel = &cell->kernels[entry->kernel];
    return (query->scope < 0 || scope_within(cell, entry->scope, query->scope)) && kernel_in_part(making, kernel) &&
           in_part(making, kernel, entry->scope, GROUP_LAYER) && in_part(making, kernel, entry->scope, GROUP_MODULE);
}

static bool within_layers(const struct kernel_query *query)
{
    return query->scope >= 0 || query->part.chosen[GROUP_LAYER] || query->part.chosen[GROUP_MODULE];
}

static void add_member(struct sum *sum, const struct report_cell *cell, const struct report_kernel *kernel)
{
    const int index = (int)(kernel - cell->kernels);
    join(&sum->row.kernel_class, (int)kernel->kernel_class);
    join(&sum->row.phase, kernel->phase);
    join(&sum->row.kernel, index);
    if (sum->members == 0) {
        sum->row.sum.op = kernel->op;
        sum->row.sum.recent = kernel->recent;
        sum->row.sum.recent_count = kernel->recent_count;
    } else if (sum->row.kernel < 0) {
        sum->row.sum.op = "";
        sum->row.sum.recent_count = 0;
    }
    sum->members++;
}

static void add_entry(struct sum *sum, const struct report_entry *entry, const struct entry *live)
{
    add_times(&sum->row.sum, entry->calls, entry->total_ns, entry->min_ns, entry->max_ns, entry->flops, entry->bytes);
    sum->row.sum.layers++;
    sum->single_median = entry->median_ns;
    sum->single_p95 = entry->p95_ns;
    sum->single_cv = entry->sd_ns / entry->mean_ns;
    if (live)
        histogram_merge(&sum->histogram, &live->histogram);
    else
        sum->histogram_complete = false;
}

/* A kernel as a whole: the document has all its bins. */
static void add_kernel(struct sum *sum, const struct report_kernel *kernel)
{
    add_times(&sum->row.sum, kernel->calls, kernel->total_ns, kernel->min_ns, kernel->max_ns, kernel->flops,
              kernel->bytes);
    sum->row.sum.layers += kernel->layers;
    sum->single_median = kernel->median_ns;
    sum->single_p95 = kernel->p95_ns;
    sum->single_cv = kernel->cv;
    if (kernel->histogram.word_count)
        report_bins_expand(&kernel->histogram, &sum->histogram);
    else
        sum->histogram_complete = false;
}

/* The last ten one-second slots up to the newest one of the cell. */
static void add_window(struct sum *sum, const struct report_entry *entry, const struct entry *live, uint64_t newest)
{
    struct running window;
    entry_window(live, newest * 1000000000u, &window);
    if (window.n == 0)
        return;
    const double part = entry->calls ? (double)window.n / (double)entry->calls : 0;
    add_times(&sum->row.sum, window.n, window.total, window.min, window.max, entry->flops * part, entry->bytes * part);
    running_merge(&sum->time, &window);
    sum->row.sum.layers++;
    entry_window_histogram(live, newest * 1000000000u, &sum->histogram);
}

static uint64_t newest_second(const struct making *making)
{
    uint64_t newest = 0;
    for (size_t i = 0; i < making->cell->entry_count; i++) {
        const struct entry *live = live_of(making, &making->cell->entries[i]);
        for (int slot = 0; live && slot < ENTRY_WINDOW; slot++)
            if (live->window[slot].n && live->window[slot].second > newest)
                newest = live->window[slot].second;
    }
    return newest;
}

/* A quantile is that of a bin; it cannot lie beyond what was seen. */
static double quantile_of(const struct sum *sum, double q)
{
    const double value = histogram_quantile(&sum->histogram, q);
    const double least = known_ns(sum->row.sum.min_ns), most = known_ns(sum->row.sum.max_ns); /* a file need not say */
    return value < least ? least : value > most ? most : value;
}

static void finish(struct sum *sum, bool window)
{
    struct report_kernel *row = &sum->row.sum;
    row->mean_ns = row->calls ? (double)row->total_ns / (double)row->calls : UNKNOWN_DOUBLE;
    row->p99_ns = UNKNOWN_DOUBLE;
    if (window || (sum->histogram_complete && sum->histogram.count)) {
        row->median_ns = quantile_of(sum, 0.5);
        row->p95_ns = quantile_of(sum, 0.95);
        row->p99_ns = row->calls >= 100 ? quantile_of(sum, 0.99) : UNKNOWN_DOUBLE;
        row->cv = window              ? running_sd(&sum->time) / sum->time.mean
                  : sum->members == 1 ? sum->single_cv
                                      : UNKNOWN_DOUBLE;
    } else {
        const bool single = sum->members == 1;
        row->median_ns = single ? sum->single_median : UNKNOWN_DOUBLE;
        row->p95_ns = single ? sum->single_p95 : UNKNOWN_DOUBLE;
        row->cv = single ? sum->single_cv : UNKNOWN_DOUBLE;
    }
    histogram_release(&sum->histogram);
}

static struct sum *sum_of(struct making *making, const struct report_kernel *kernel, int32_t scope)
{
    const enum grouping grouping = making->query->grouping;
    const int32_t group = group_of(making, kernel, scope, grouping);
    struct sum *sum = sum_for(making, group_id(making, grouping, group));
    sum->row.group = group;
    sum->row.sum.name = group_name(making->cell, making->modules, grouping, group);
    add_member(sum, making->cell, kernel);
    return sum;
}

static void take_sums(struct making *making, kernel_rows *rows)
{
    for (size_t i = 0; i < making->sums.count; i++) {
        finish(&making->sums.items[i], making->query->window);
        struct kernel_row *row = &making->sums.items[i].row;
        if (within_layers(making->query))
            row->sum.recent_count = 0; /* the last launches are of the whole kernel */
        if (row->sum.calls)
            vec_push(rows, *row);
    }
    vec_release(&making->sums);
}

static void rows_from_entries(struct making *making, kernel_rows *rows)
{
    const struct report_cell *cell = making->cell;
    const struct kernel_query *query = making->query;
    const uint64_t newest = query->window ? newest_second(making) : 0;
    for (size_t i = 0; i < cell->entry_count; i++) {
        const struct report_entry *entry = &cell->entries[i];
        if (!entry_is_asked(making, entry))
            continue;
        struct sum *sum = sum_of(making, &cell->kernels[entry->kernel], entry->scope);
        if (query->window)
            add_window(sum, entry, live_of(making, entry), newest);
        else
            add_entry(sum, entry, live_of(making, entry));
    }
    take_sums(making, rows);
}

static bool kernel_is_asked(const struct making *making, const struct report_kernel *kernel)
{
    return kernel->pass == making->query->pass && kernel->calls && kernel_in_part(making, kernel);
}

/* By class or phase. */
static void rows_from_groups(struct making *making, kernel_rows *rows)
{
    const struct report_cell *cell = making->cell;
    for (size_t i = 0; i < cell->kernel_count; i++)
        if (kernel_is_asked(making, &cell->kernels[i]))
            add_kernel(sum_of(making, &cell->kernels[i], -1), &cell->kernels[i]);
    take_sums(making, rows);
}

static void rows_from_kernels(const struct making *making, kernel_rows *rows)
{
    const struct report_cell *cell = making->cell;
    vec_reserve(rows, cell->kernel_count + 1);
    for (size_t i = 0; i < cell->kernel_count; i++) {
        const struct report_kernel *kernel = &cell->kernels[i];
        if (!kernel_is_asked(making, kernel))
            continue;
        struct kernel_row *row = &rows->items[rows->count++];
        row->id = kernel_id(kernel->name, kernel->phase, kernel->pass);
        row->sum = *kernel;
        row->kernel_class = (int)kernel->kernel_class;
        row->phase = kernel->phase;
        row->kernel = row->group = (int32_t)i;
    }
}

static void make_rows(struct making *making, kernel_rows *rows)
{
    const struct kernel_query *query = making->query;
    rows->count = 0;
    /* Kernels as they are, or groups of whole kernels, where nothing asks for what only their parts in the layers tell. */
    if (within_layers(query) || query->window || query->grouping == GROUP_LAYER || query->grouping == GROUP_MODULE)
        rows_from_entries(making, rows);
    else if (query->grouping == GROUP_KERNEL)
        rows_from_kernels(making, rows);
    else
        rows_from_groups(making, rows);
}

/* Variance of each row's time a step: the sum over its entries of calls · sd² / steps². The spread between layers is no noise. */
static double *row_variances(struct making *making, const kernel_rows *rows)
{
    const struct report_cell *cell = making->cell;
    const double steps = pass_steps(&cell->passes[making->query->pass]);
    double *variances = calloc(rows->count + 1, sizeof *variances);
    if (!variances)
        memory_exhausted(rows->count, "rows");
    for (size_t e = 0; e < cell->entry_count; e++) {
        const struct report_entry *entry = &cell->entries[e];
        if (!entry_is_asked(making, entry) || !is_known(entry->sd_ns))
            continue;
        const enum grouping grouping = making->query->grouping;
        const uint64_t id =
            group_id(making, grouping, group_of(making, &cell->kernels[entry->kernel], entry->scope, grouping));
        for (size_t i = 0; i < rows->count; i++)
            if (rows->items[i].id == id) {
                variances[i] += entry->sd_ns * entry->sd_ns * (double)entry->calls / (steps * steps);
                break;
            }
    }
    return variances;
}

static double unit_value(const struct making *making, const struct kernel_row *row, enum unit unit)
{
    if (unit == UNIT_LAUNCH)
        return row->sum.median_ns;
    return making->query->window ? UNKNOWN_DOUBLE
                                 : per_unit(making->cell, making->query->pass, (double)row->sum.total_ns, unit);
}

/* The part of the baseline that the same names stand for: scopes and modules are other numbers there. */
static bool part_in_baseline(const struct making *own, const struct making *base, struct kernel_query *query)
{
    if (query->scope >= 0) {
        const char *path = own->cell->layers[query->scope].path;
        query->scope = -1;
        for (size_t i = 0; i < base->cell->layer_count && query->scope < 0; i++)
            if (strcmp(base->cell->layers[i].path, path) == 0)
                query->scope = (int32_t)i;
        if (query->scope < 0)
            return false;
    }
    for (int g = GROUP_MODULE; g <= GROUP_LAYER; g++) {
        if (!query->part.chosen[g] || query->part.value[g] < 0)
            continue;
        const char *name = group_name(own->cell, own->modules, (enum grouping)g, query->part.value[g]);
        const struct report_layer *layers = g == GROUP_MODULE ? base->modules->layers : base->cell->layers;
        const size_t count = g == GROUP_MODULE ? base->modules->layer_count : base->cell->layer_count;
        int32_t found = -1;
        for (size_t i = 0; i < count && found < 0; i++)
            if (strcmp(layers[i].path, name) == 0)
                found = (int32_t)i;
        if (found < 0)
            return false;
        query->part.value[g] = found;
    }
    return true;
}

/* Beside each row that of the same name in the baseline. The launches of a step are not independent of each other: it is the
 * steps, the fewer of both runs, that an interval rests on. */
static void compare_rows(struct making *making, kernel_rows *rows)
{
    const struct kernel_query *query = making->query;
    const struct report_cell *cell = making->cell, *baseline = query->baseline;
    const enum unit unit = kernel_unit(cell, query);
    struct modules modules = {0};
    struct kernel_query other = *query;
    kernel_rows base = {0};
    other.baseline = NULL;
    other.window = false;
    other.live = NULL; /* the document alone */
    modules_tree(&modules, baseline);
    struct making its = {.cell = baseline, .modules = &modules, .query = &other};
    if (baseline->passes[query->pass].present && part_in_baseline(making, &its, &other))
        make_rows(&its, &base);
    double *own_variances = row_variances(making, rows), *base_variances = row_variances(&its, &base);
    const uint64_t a = cell->passes[query->pass].profiled_steps, b = baseline->passes[query->pass].profiled_steps;
    for (size_t i = 0; i < rows->count; i++) {
        struct kernel_row *row = &rows->items[i];
        row->own_ns = unit_value(making, row, unit);
        for (size_t k = 0; k < base.count; k++) {
            if (base.items[k].id != row->id)
                continue;
            row->base_ns = unit_value(&its, &base.items[k], unit);
            const double own_error =
                             sqrt(own_variances[i]) / per_unit(cell, query->pass, (double)row->sum.total_ns, UNIT_STEP),
                         base_error = sqrt(base_variances[k]) /
                                      per_unit(baseline, query->pass, (double)base.items[k].sum.total_ns, UNIT_STEP);
            row->ratio = compare_means(row->base_ns, base_error * row->base_ns, row->own_ns, own_error * row->own_ns,
                                       a < b ? a : b);
            row->verdict = compare_verdict(&row->ratio, COMPARE_THRESHOLD);
        }
    }
    free(own_variances);
    free(base_variances);
    vec_release(&base);
    modules_release(&modules);
}

void kernel_rows_make(const struct report_cell *cell, const struct modules *modules, const struct kernel_query *query,
                      kernel_rows *rows)
{
    struct making making = {.cell = cell, .modules = modules, .query = query};
    make_rows(&making, rows);
    double total = 0;
    for (size_t i = 0; i < rows->count; i++)
        total += (double)rows->items[i].sum.total_ns;
    size_t kept = 0;
    for (size_t i = 0; i < rows->count; i++) {
        struct kernel_row *row = &rows->items[i];
        row->sum.share = total > 0 ? (double)row->sum.total_ns / total : UNKNOWN_DOUBLE;
        row->own_ns = row->base_ns = UNKNOWN_DOUBLE;
        row->ratio = (struct ratio){UNKNOWN_DOUBLE, UNKNOWN_DOUBLE, UNKNOWN_DOUBLE, 0, 0};
        row->verdict = VERDICT_AMBIGUOUS;
        if (query->threshold > 0 && row->sum.share < query->threshold)
            continue;
        if (kept != i)
            rows->items[kept] = *row;
        kept++;
    }
    rows->count = kept;
    if (query->baseline)
        compare_rows(&making, rows);
}
