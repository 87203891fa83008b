#include "tui/rows.h"
#include "base/unknown.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const grouping_names[GROUPING_COUNT] = {"kernel", "class", "layer", "phase"};

/* FNV-1a, 64 bits. */
uint64_t text_id(const char *text, uint64_t seed)
{
    uint64_t hash = 0xcbf29ce484222325u ^ seed * 0x9e3779b97f4a7c15u;
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3u;
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

/* What a row sums up while its members are added. */
struct sum {
    struct kernel_row row;
    struct running time; /* of windowed rows */
    struct histogram histogram;
    bool histogram_complete; /* every member had one */
    int members;
    double single_median, single_p95, single_cv;
};

struct sums {
    VEC(struct sum) list;
};

static struct sum *sum_for(struct sums *sums, uint64_t id)
{
    for (size_t i = 0; i < sums->list.count; i++)
        if (sums->list.items[i].row.id == id)
            return &sums->list.items[i];
    const struct sum fresh = {.row = {.id = id,
                                      .kernel_class = -2,
                                      .phase = -2,
                                      .kernel = -2,
                                      .min_ns = UNKNOWN_DOUBLE,
                                      .max_ns = UNKNOWN_DOUBLE,
                                      .base_ns = UNKNOWN_DOUBLE},
                              .histogram_complete = true};
    vec_push(&sums->list, fresh);
    return &sums->list.items[sums->list.count - 1];
}

/* −2: nothing yet, −1: several. */
static void join(int *value, int other)
{
    *value = *value == -2 || *value == other ? other : -1;
}

static void add_times(struct kernel_row *row, uint64_t calls, double total, double low, double high, double flops,
                      double bytes)
{
    row->calls += calls;
    row->total_ns += total;
    row->flops += flops;
    row->bytes += bytes;
    if (!(row->min_ns <= low))
        row->min_ns = low;
    if (!(row->max_ns >= high))
        row->max_ns = high;
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

static int32_t group_of(const struct report_cell *cell, const struct report_kernel *kernel, int32_t scope,
                        enum grouping grouping)
{
    switch (grouping) {
    case GROUP_CLASS:
        return (int32_t)kernel->kernel_class;
    case GROUP_PHASE:
        return kernel->phase;
    case GROUP_LAYER: {
        const int32_t block = block_of(cell, scope);
        return block >= 0 && (size_t)block < cell->layer_count ? block : -1;
    }
    default:
        return (int32_t)(kernel - cell->kernels);
    }
}

const char *group_name(const struct report_cell *cell, enum grouping grouping, int32_t group)
{
    switch (grouping) {
    case GROUP_CLASS:
        return kernel_class_name((enum kernel_class)group);
    case GROUP_PHASE:
        return phase_name((enum phase)group);
    case GROUP_LAYER:
        return group >= 0 && (size_t)group < cell->layer_count ? cell->layers[group].path : "(unattributed)";
    default:
        return cell->kernels[group].name;
    }
}

static uint64_t group_id(const struct report_cell *cell, enum grouping grouping, int32_t group)
{
    if (grouping != GROUP_KERNEL)
        return text_id(group_name(cell, grouping, group), 100 + (uint64_t)grouping);
    const struct report_kernel *kernel = &cell->kernels[group];
    return kernel_id(kernel->name, kernel->phase, kernel->pass);
}

static bool in_part(const struct kernel_part *part, const struct report_cell *cell, const struct report_kernel *kernel,
                    int32_t scope, enum grouping grouping)
{
    return !part->chosen[grouping] || part->value[grouping] == group_of(cell, kernel, scope, grouping);
}

/* A kernel as a whole has a class and a phase; in which layers it ran only its entries say. */
static bool kernel_in_part(const struct kernel_part *part, const struct report_cell *cell,
                           const struct report_kernel *kernel)
{
    return in_part(part, cell, kernel, -1, GROUP_CLASS) && in_part(part, cell, kernel, -1, GROUP_PHASE);
}

static bool entry_is_asked(const struct report_cell *cell, const struct kernel_query *query,
                           const struct report_entry *entry)
{
    if (entry->pass != query->pass || entry->kernel >= cell->kernel_count || (query->window && !entry->live))
        return false;
    const struct report_kernel *kernel = &cell->kernels[entry->kernel];
    return (query->scope < 0 || scope_within(cell, entry->scope, query->scope)) &&
           kernel_in_part(&query->part, cell, kernel) && in_part(&query->part, cell, kernel, entry->scope, GROUP_LAYER);
}

static bool within_layers(const struct kernel_query *query)
{
    return query->scope >= 0 || query->part.chosen[GROUP_LAYER];
}

bool kernel_query_same(const struct kernel_query *a, const struct kernel_query *b)
{
    bool same = a->pass == b->pass && a->scope == b->scope && a->grouping == b->grouping && a->window == b->window &&
                a->threshold == b->threshold && a->baseline == b->baseline;
    for (int i = 0; i < GROUPING_COUNT; i++)
        same &= a->part.chosen[i] == b->part.chosen[i] && a->part.value[i] == b->part.value[i];
    return same;
}

static void add_member(struct sum *sum, const struct report_cell *cell, const struct report_kernel *kernel)
{
    const int index = (int)(kernel - cell->kernels);
    join(&sum->row.kernel_class, (int)kernel->kernel_class);
    join(&sum->row.phase, kernel->phase);
    join(&sum->row.kernel, index);
    if (sum->members == 0) {
        sum->row.op = kernel->op;
        sum->row.recent = kernel->recent;
        sum->row.recent_count = kernel->recent_count;
    } else if (sum->row.kernel < 0) {
        sum->row.op = "";
        sum->row.recent_count = 0;
    }
    sum->members++;
}

static void add_entry(struct sum *sum, const struct report_entry *entry, bool frozen)
{
    add_times(&sum->row, entry->calls, (double)entry->total_ns, known_ns(entry->min_ns), known_ns(entry->max_ns),
              entry->flops, entry->bytes);
    sum->row.layers++;
    sum->single_median = entry->median_ns;
    sum->single_p95 = entry->p95_ns;
    sum->single_cv = entry->sd_ns / entry->mean_ns;
    if (entry->live && !frozen)
        histogram_merge(&sum->histogram, &entry->live->histogram);
    else
        sum->histogram_complete = false;
}

/* A kernel as a whole: the document has all its bins. */
static void add_kernel(struct sum *sum, const struct report_kernel *kernel)
{
    add_times(&sum->row, kernel->calls, (double)kernel->total_ns, known_ns(kernel->min_ns), known_ns(kernel->max_ns),
              kernel->flops, kernel->bytes);
    sum->row.layers += kernel->layers;
    sum->single_median = kernel->median_ns;
    sum->single_p95 = kernel->p95_ns;
    sum->single_cv = kernel->cv;
    if (kernel->histogram.word_count)
        report_bins_expand(&kernel->histogram, &sum->histogram);
    else
        sum->histogram_complete = false;
}

/* The last ten one-second slots up to the newest one of the cell. */
static void add_window(struct sum *sum, const struct report_entry *entry, uint64_t newest)
{
    struct running window;
    entry_window(entry->live, newest * 1000000000u, &window);
    if (window.n == 0)
        return;
    const double part = entry->calls ? (double)window.n / (double)entry->calls : 0;
    add_times(&sum->row, window.n, (double)window.total, (double)window.min, (double)window.max, entry->flops * part,
              entry->bytes * part);
    running_merge(&sum->time, &window);
    sum->row.layers++;
    entry_window_histogram(entry->live, newest * 1000000000u, &sum->histogram);
}

static uint64_t newest_second(const struct report_cell *cell)
{
    uint64_t newest = 0;
    for (size_t i = 0; i < cell->entry_count; i++)
        for (int slot = 0; cell->entries[i].live && slot < 10; slot++)
            if (cell->entries[i].live->window[slot].n && cell->entries[i].live->window[slot].second > newest)
                newest = cell->entries[i].live->window[slot].second;
    return newest;
}

/* A quantile is that of a bin; it cannot lie beyond what was seen. */
static double quantile_of(const struct sum *sum, double q)
{
    const double value = histogram_quantile(&sum->histogram, q);
    return value < sum->row.min_ns ? sum->row.min_ns : value > sum->row.max_ns ? sum->row.max_ns : value;
}

static void finish(struct sum *sum, bool window)
{
    struct kernel_row *row = &sum->row;
    row->mean_ns = row->calls ? row->total_ns / (double)row->calls : UNKNOWN_DOUBLE;
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

/* A call of the kernel of the same name and phase in another cell, mean in ns. */
static double baseline_mean(const struct report_cell *baseline, int pass, const struct report_kernel *kernel)
{
    for (size_t i = 0; i < baseline->kernel_count; i++) {
        const struct report_kernel *other = &baseline->kernels[i];
        if (other->pass == pass && other->phase == kernel->phase && strcmp(other->name, kernel->name) == 0 &&
            other->calls)
            return (double)other->total_ns / (double)other->calls;
    }
    return UNKNOWN_DOUBLE;
}

static struct sum *sum_of(struct sums *sums, const struct report_cell *cell, const struct kernel_query *query,
                          const struct report_kernel *kernel, int32_t scope)
{
    const int32_t group = group_of(cell, kernel, scope, query->grouping);
    struct sum *sum = sum_for(sums, group_id(cell, query->grouping, group));
    sum->row.group = group;
    sum->row.name = group_name(cell, query->grouping, group);
    add_member(sum, cell, kernel);
    return sum;
}

static void take_sums(struct sums *sums, const struct report_cell *cell, const struct kernel_query *query,
                      kernel_rows *rows)
{
    for (size_t i = 0; i < sums->list.count; i++) {
        finish(&sums->list.items[i], query->window);
        struct kernel_row *row = &sums->list.items[i].row;
        if (within_layers(query))
            row->recent_count = 0; /* the last launches are of the whole kernel */
        else if (query->baseline && query->grouping == GROUP_KERNEL && row->kernel >= 0)
            row->base_ns = baseline_mean(query->baseline, query->pass, &cell->kernels[row->kernel]);
        if (row->calls)
            vec_push(rows, *row);
    }
    vec_release(&sums->list);
}

static void rows_from_entries(const struct report_cell *cell, const struct kernel_query *query, kernel_rows *rows)
{
    struct sums sums = {0};
    const uint64_t newest = query->window ? newest_second(cell) : 0;
    for (size_t i = 0; i < cell->entry_count; i++) {
        const struct report_entry *entry = &cell->entries[i];
        if (!entry_is_asked(cell, query, entry))
            continue;
        struct sum *sum = sum_of(&sums, cell, query, &cell->kernels[entry->kernel], entry->scope);
        if (query->window)
            add_window(sum, entry, newest);
        else
            add_entry(sum, entry, query->frozen);
    }
    take_sums(&sums, cell, query, rows);
}

static bool kernel_is_asked(const struct report_cell *cell, const struct kernel_query *query,
                            const struct report_kernel *kernel)
{
    return kernel->pass == query->pass && kernel->calls && kernel_in_part(&query->part, cell, kernel);
}

/* By class or phase. */
static void rows_from_groups(const struct report_cell *cell, const struct kernel_query *query, kernel_rows *rows)
{
    struct sums sums = {0};
    for (size_t i = 0; i < cell->kernel_count; i++)
        if (kernel_is_asked(cell, query, &cell->kernels[i]))
            add_kernel(sum_of(&sums, cell, query, &cell->kernels[i], -1), &cell->kernels[i]);
    take_sums(&sums, cell, query, rows);
}

static void rows_from_kernels(const struct report_cell *cell, const struct kernel_query *query, kernel_rows *rows)
{
    for (size_t i = 0; i < cell->kernel_count; i++) {
        const struct report_kernel *kernel = &cell->kernels[i];
        if (!kernel_is_asked(cell, query, kernel))
            continue;
        const struct kernel_row row = {
            .id = kernel_id(kernel->name, kernel->phase, kernel->pass),
            .name = kernel->name,
            .op = kernel->op,
            .kernel_class = (int)kernel->kernel_class,
            .phase = kernel->phase,
            .kernel = (int32_t)i,
            .group = (int32_t)i,
            .calls = kernel->calls,
            .total_ns = (double)kernel->total_ns,
            .min_ns = known_ns(kernel->min_ns),
            .max_ns = known_ns(kernel->max_ns),
            .mean_ns = kernel->mean_ns,
            .median_ns = kernel->median_ns,
            .p95_ns = kernel->p95_ns,
            .p99_ns = kernel->p99_ns,
            .cv = kernel->cv,
            .flops = kernel->flops,
            .bytes = kernel->bytes,
            .base_ns = query->baseline ? baseline_mean(query->baseline, query->pass, kernel) : UNKNOWN_DOUBLE,
            .recent = kernel->recent,
            .recent_count = kernel->recent_count,
            .layers = kernel->layers,
        };
        vec_push(rows, row);
    }
}

void kernel_rows_make(const struct report_cell *cell, const struct kernel_query *query, kernel_rows *rows)
{
    rows->count = 0;
    /* Kernels as they are, or groups of whole kernels, where nothing asks for what only their parts in the layers tell. */
    if (within_layers(query) || query->window || query->grouping == GROUP_LAYER)
        rows_from_entries(cell, query, rows);
    else if (query->grouping == GROUP_KERNEL)
        rows_from_kernels(cell, query, rows);
    else
        rows_from_groups(cell, query, rows);
    double total = 0;
    for (size_t i = 0; i < rows->count; i++)
        total += rows->items[i].total_ns;
    size_t kept = 0;
    for (size_t i = 0; i < rows->count; i++) {
        struct kernel_row *row = &rows->items[i];
        row->share = total > 0 ? row->total_ns / total : UNKNOWN_DOUBLE;
        if (query->threshold > 0 && row->share < query->threshold)
            continue;
        rows->items[kept++] = *row;
    }
    rows->count = kept;
}
