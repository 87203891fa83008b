/* Kernel rows and the finest rows of a cell. An update comes ten times a second, and a frame later somebody looks at it: so
 * the grouping of the aggregate's entries into kernels, the order of the rows and all that is worked out of histograms stay
 * from one update to the next, and only kernels that ran in between are looked at again. */
#include "base/limits.h"
#include "base/system.h"
#include "report/build.h"
#include "report/escape.h"
#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX

/* One kernel name × class × phase × pass. */
struct key {
    uint32_t name;
    uint8_t kernel_class, phase, pass;
};

/* One entry of the aggregate: the group it belongs to, and how many of its launches are in the group's rows. */
struct seen {
    uint32_t group, next; /* next entry of the group, by scope; NONE */
    uint64_t launches;
};

typedef VEC(uint32_t) words;

struct group {
    struct key key;
    uint32_t first; /* entry */
    bool changed, named;
    struct report_kernel kernel;
    struct report_counters counters;
    uint32_t recent[ENTRY_RECENT];
    words bins, warmup_bins;
    uint64_t warmups;                 /* that warmup_bins are of */
    VEC(struct report_entry) entries; /* of each scope */
};

/* Of all kernels of a place. */
struct place_total {
    uint64_t ns, calls, before; /* before: calls the last time */
};

struct build_rows {
    const struct rank *rank;              /* that the grouping was made of */
    size_t known_places;                  /* then */
    bool early;                           /* a place had records before it was said: the grouping will be another one */
    VEC(uint32_t) carriers;               /* place × pass: the entry that the place's work is booked on, + 1 */
    VEC(struct place_total) place_totals; /* place × pass; of a program that is attached to */
    bool warmup_rows[PASS_COUNT], open[PASS_COUNT];
    uint64_t steps[PASS_COUNT]; /* profiled, when the rows were made */
    VEC(struct seen) seen;      /* by index of the aggregate's entry */
    VEC(struct group) groups;   /* in order of their first launch */
    VEC(uint32_t) order;        /* groups as rows, the last order first */
    VEC(int32_t) row_of;        /* by group */
    uint32_t *slots;            /* open addressing: group + 1, or 0 */
    size_t slot_count;
    struct histogram merged, warmup; /* to work in */
    struct arena arena;              /* names */
    VEC(struct report_kernel) kernels;
    VEC(struct report_entry) entries;
};

static void groups_release(struct build_rows *rows)
{
    for (size_t g = 0; g < rows->groups.count; g++) {
        vec_release(&rows->groups.items[g].bins);
        vec_release(&rows->groups.items[g].warmup_bins);
        vec_release(&rows->groups.items[g].entries);
    }
    rows->groups.count = rows->seen.count = rows->order.count = rows->carriers.count = rows->place_totals.count = 0;
    rows->early = false;
    free(rows->slots);
    rows->slots = NULL;
    rows->slot_count = 0;
    arena_release(&rows->arena);
}

void build_rows_free(struct build_rows *rows)
{
    if (!rows)
        return;
    groups_release(rows);
    histogram_release(&rows->merged);
    histogram_release(&rows->warmup);
    vec_release(&rows->seen);
    vec_release(&rows->place_totals);
    vec_release(&rows->carriers);
    vec_release(&rows->groups);
    vec_release(&rows->order);
    vec_release(&rows->row_of);
    vec_release(&rows->kernels);
    vec_release(&rows->entries);
    free(rows);
}

static struct key key_of(const struct rank *rank, uint32_t name, int32_t id, int pass, int kind)
{
    const struct place *place = places_at(&rank->places, id);
    const unsigned kernel_class = id < 0 && kind != RECORD_KERNEL ? CLASS_COPY : place->kernel_class;
    return (struct key){name, (uint8_t)kernel_class, place->phase, (uint8_t)pass};
}

static bool same_key(struct key a, struct key b)
{
    return a.name == b.name && a.kernel_class == b.kernel_class && a.phase == b.phase && a.pass == b.pass;
}

/* The key's slot: of its group, or a free one. */
static uint32_t *slot_of(const struct build_rows *rows, struct key key)
{
    const uint64_t mixed =
        ((uint64_t)key.name << 24 | (uint64_t)key.kernel_class << 16 | (uint64_t)key.phase << 8 | key.pass) *
        0x9e3779b97f4a7c15u;
    for (size_t at = (size_t)(mixed >> 32) & (rows->slot_count - 1);; at = (at + 1) & (rows->slot_count - 1))
        if (!rows->slots[at] || same_key(rows->groups.items[rows->slots[at] - 1].key, key))
            return &rows->slots[at];
}

int32_t build_rows_find(const struct build_rows *rows, const struct record *record)
{
    if (!rows || !rows->slot_count)
        return -1;
    const uint32_t slot = *slot_of(rows, key_of(rows->rank, record->name, record->place, record->pass, record->kind));
    return slot ? rows->row_of.items[slot - 1] : -1;
}

static void slots_grow(struct build_rows *rows)
{
    if (rows->slot_count > rows->groups.count * 2)
        return;
    rows->slot_count = rows->slot_count ? rows->slot_count * 2 : 256;
    free(rows->slots);
    rows->slots = calloc(rows->slot_count, sizeof *rows->slots);
    if (!rows->slots)
        memory_exhausted(rows->slot_count, "places of kernels");
    for (size_t g = 0; g < rows->groups.count; g++)
        *slot_of(rows, rows->groups.items[g].key) = (uint32_t)g + 1;
}

static void group_name(struct build_rows *rows, struct group *group, const struct rank *rank)
{
    const char *name = aggregate_name_text(rank->aggregate, group->key.name);
    group->named = name && *name;
    group->kernel.name = "(unnamed)";
    if (!group->named)
        return;
    struct strbuf clean = {0};
    clean_text(&clean, name, strlen(name));
    group->kernel.name = arena_strndup(&rows->arena, clean.text ? clean.text : "", clean.length);
    strbuf_release(&clean);
}

static uint32_t group_for(struct build_rows *rows, struct key key, const struct rank *rank)
{
    slots_grow(rows);
    uint32_t *slot = slot_of(rows, key);
    if (*slot)
        return *slot - 1;
    struct group group = {.key = key, .first = NONE};
    group_name(rows, &group, rank);
    vec_push(&rows->groups, group);
    vec_push(&rows->order, (uint32_t)rows->groups.count - 1);
    *slot = (uint32_t)rows->groups.count;
    return *slot - 1;
}

static int32_t scope_of(const struct build_rows *rows, const struct entry *entry)
{
    return places_at(&rows->rank->places, entry->place)->scope;
}

/* Entries are listed by scope, those of the same scope as they came. */
static void group_insert(struct build_rows *rows, struct group *group, const struct entry *entries, uint32_t entry)
{
    const int32_t scope = scope_of(rows, &entries[entry]);
    uint32_t *link = &group->first;
    while (*link != NONE && scope_of(rows, &entries[*link]) <= scope)
        link = &rows->seen.items[*link].next;
    rows->seen.items[entry].next = *link;
    *link = entry;
}

static uint32_t *carrier_of(struct build_rows *rows, const struct entry *entry)
{
    const size_t at = (size_t)entry->place * PASS_COUNT + entry->pass;
    while (rows->carriers.count <= at)
        vec_push(&rows->carriers, 0);
    return &rows->carriers.items[at];
}

/* The work of a place is done once an execution, whatever it launches for it: a memset before a product, the reduction after it.
 * It is booked on the kernel (else the copy) of the place that takes most time. */
static void find_carrier(struct build_rows *rows, const struct entry *entries, uint32_t e)
{
    if (entries[e].place < 0)
        return;
    uint32_t *carrier = carrier_of(rows, &entries[e]);
    const struct entry *old = *carrier ? &entries[*carrier - 1] : NULL;
    if (old == &entries[e])
        return;
    const bool kernel = entries[e].kind == RECORD_KERNEL, old_kernel = old && old->kind == RECORD_KERNEL;
    if (old &&
        (kernel != old_kernel ? old_kernel
                              : entries[e].time.total + entries[e].warmup.total <= old->time.total + old->warmup.total))
        return;
    if (old)
        rows->groups.items[rows->seen.items[*carrier - 1].group].changed = true;
    *carrier = e + 1;
    rows->groups.items[rows->seen.items[e].group].changed = true;
}

/* What is known of all kernels of the entry's place; NULL: nothing. */
static struct place_total *total_of(struct build_rows *rows, const struct entry *entry)
{
    const size_t at = (size_t)entry->place * PASS_COUNT + entry->pass;
    return entry->place >= 0 && entry->kind == RECORD_KERNEL && at < rows->place_totals.count
               ? &rows->place_totals.items[at]
               : NULL;
}

/* The time and the launches of each place's kernels, where its work is theirs by their time. */
static void count_places(struct build_rows *rows, const struct entry *entries, size_t count)
{
    if (rows->rank->places.whole || !rows->rank->places.works)
        return;
    const size_t places = rows->rank->places.list.count * PASS_COUNT;
    while (rows->place_totals.count < places)
        vec_push(&rows->place_totals, ((struct place_total){0}));
    for (size_t i = 0; i < places; i++) {
        struct place_total *total = &rows->place_totals.items[i];
        total->before = total->calls;
        total->ns = total->calls = 0;
    }
    for (size_t e = 0; e < count; e++) {
        struct place_total *total = total_of(rows, &entries[e]);
        if (!total)
            continue;
        total->ns += entries[e].time.total;
        total->calls += entries[e].time.n;
    }
}

/* Groups the entries that are new, and finds the groups that were launched since the last time. */
static void find_changes(struct build_rows *rows, const struct report_cell *cell, const struct rank *rank)
{
    size_t count;
    const struct entry *entries = aggregate_entries(rank->aggregate, &count);
    /* Work follows from how many steps there are, and from the place's other kernels. */
    const bool shared = !rank->places.whole && rank->places.works;
    count_places(rows, entries, count);
    for (size_t e = 0; e < count; e++) {
        const struct entry *entry = &entries[e];
        if (e == rows->seen.count) {
            const struct seen fresh = {.group = NONE, .next = NONE};
            vec_push(&rows->seen, fresh);
            if (!record_is_work(entry->kind) || entry->pass >= PASS_COUNT || !cell->passes[entry->pass].present)
                continue;
            rows->early |= entry->place >= (int32_t)rows->known_places;
            const uint32_t group =
                group_for(rows, key_of(rank, entry->name, entry->place, entry->pass, entry->kind), rank);
            rows->seen.items[e].group = group;
            group_insert(rows, &rows->groups.items[group], entries, (uint32_t)e);
        }
        struct seen *seen = &rows->seen.items[e];
        if (seen->group == NONE)
            continue;
        struct group *group = &rows->groups.items[seen->group];
        const uint64_t launches = entry->time.n + entry->warmup.n + entry->counter_samples;
        const struct place_total *total = shared ? total_of(rows, entry) : NULL;
        if (launches != seen->launches || (total && total->calls != total->before))
            group->changed = true;
        seen->launches = launches;
        if (!group->named)
            group_name(rows, group, rank);
        find_carrier(rows, entries, (uint32_t)e);
    }
    for (size_t g = 0; g < rows->groups.count; g++) {
        const int pass = rows->groups.items[g].key.pass;
        rows->groups.items[g].changed |= rows->warmup_rows[pass] != cell->passes[pass].warmup_rows;
        rows->groups.items[g].changed |= shared && (rows->steps[pass] != cell->passes[pass].profiled_steps ||
                                                    rows->open[pass] != (cell->passes[pass].missing > 0));
    }
    for (int pass = 0; pass < PASS_COUNT; pass++) {
        rows->warmup_rows[pass] = cell->passes[pass].warmup_rows;
        rows->steps[pass] = cell->passes[pass].profiled_steps;
        rows->open[pass] = cell->passes[pass].missing > 0;
    }
}

/* What the rows of the entry's pass show. */
static const struct running *time_of(const struct build_rows *rows, const struct entry *entry)
{
    return rows->warmup_rows[entry->pass] ? &entry->warmup : &entry->time;
}

static const struct histogram *histogram_of(const struct build_rows *rows, const struct entry *entry)
{
    return rows->warmup_rows[entry->pass] ? &entry->warmup_histogram : &entry->histogram;
}

/* What the model says of an entry's launches, in all: the place's FLOPs or bytes for each of its executions where the entry
 * carries them; unknown where it does not. A place of a plan runs once a step, so that a kernel which it launches m times a step
 * counts for 1/m. */
struct work {
    double flops, bytes;
};

/* How often a place's work was done: once in each step. Of the step that is under way it may have been done, in part, or not yet; what
 * it launches in a step says how much: as many kernels as come out even over the whole steps and about half of that one. */
static double executions(const struct report_pass *pass, uint64_t calls)
{
    const double steps = (double)pass->profiled_steps;
    if (!(pass->missing > 0))
        return steps;
    const double a_step = fmax(1, round((double)calls / (steps - 0.5)));
    return fmin(steps, fmax(steps - 1, (double)calls / a_step));
}

/* Of a program that is attached to a place is all of a class in a layer, which may be several kernels: its work is theirs by their time. */
static struct work shared_work(struct build_rows *rows, const struct report_cell *cell, const struct entry *entry)
{
    const struct place *place = places_at(&rows->rank->places, entry->place);
    const struct report_pass *pass = &cell->passes[entry->pass];
    const struct place_total *all = total_of(rows, entry);
    if (!all || !all->ns || !pass->profiled_steps || rows->warmup_rows[entry->pass])
        return (struct work){UNKNOWN_DOUBLE, UNKNOWN_DOUBLE};
    const double share = executions(pass, all->calls) * (double)entry->time.total / (double)all->ns;
    return (struct work){place->flops * share, place->bytes * share};
}

static struct work modelled(struct build_rows *rows, const struct report_cell *cell, const struct entry *entries,
                            uint32_t e, uint64_t calls)
{
    const struct entry *entry = &entries[e];
    const struct place *place = places_at(&rows->rank->places, entry->place);
    if (entry->place >= 0 && !rows->rank->places.whole)
        return shared_work(rows, cell, entry);
    if (entry->place < 0 || *carrier_of(rows, entry) != e + 1)
        return (struct work){UNKNOWN_DOUBLE, UNKNOWN_DOUBLE};
    const double steps = (double)cell->passes[entry->pass].profiled_steps;
    const double often = steps > 0 ? fmax(1, round((double)calls / steps)) : 1;
    return (struct work){place->flops * (double)calls / often, place->bytes * (double)calls / often};
}

/* Sums of what is known; unknown while nothing is. */
static void work_add(double *flops, double *bytes, struct work work)
{
    if (is_known(work.flops))
        *flops = (is_known(*flops) ? *flops : 0) + work.flops;
    if (is_known(work.bytes))
        *bytes = (is_known(*bytes) ? *bytes : 0) + work.bytes;
}

/* Whole nanoseconds, as the file has them: a report that is read shows the figures that the run showed. A quantile of the
 * histogram is that of its bin; it cannot lie beyond what was seen. */
static double within(double value, const struct running *time)
{
    if (!time->n || !is_known(value))
        return UNKNOWN_DOUBLE;
    return round(fmin(fmax(value, (double)time->min), (double)time->max));
}

/* A row of the finest table from the group's entries of one scope, from `first` on; the first entry of the next one. Of a group that
 * is one entry the kernel's quantiles are its own. */
static uint32_t scope_row(struct build_rows *rows, const struct report_cell *cell, const struct entry *entries,
                          uint32_t first, const struct report_kernel *single, struct report_entry *row)
{
    static const double q[] = {0.5, 0.95};
    const struct entry *start = &entries[first];
    const struct histogram *histogram = histogram_of(rows, start);
    struct running time = {0};
    uint32_t at = first, members = 0;
    const struct place *place = places_at(&rows->rank->places, start->place);
    *row = (struct report_entry){.scope = place->scope,
                                 .phase = place->phase,
                                 .pass = start->pass,
                                 .flops = UNKNOWN_DOUBLE,
                                 .bytes = UNKNOWN_DOUBLE};
    for (; at != NONE && scope_of(rows, &entries[at]) == place->scope; at = rows->seen.items[at].next, members++) {
        const struct running *one = time_of(rows, &entries[at]);
        running_merge(&time, one);
        work_add(&row->flops, &row->bytes, modelled(rows, cell, entries, at, one->n));
        if (members == 0)
            continue;
        if (members == 1) {
            histogram_clear(&rows->merged);
            histogram_merge(&rows->merged, histogram);
            histogram = &rows->merged;
        }
        histogram_merge(&rows->merged, histogram_of(rows, &entries[at]));
    }
    double values[2];
    if (!single)
        histogram_quantiles(histogram, q, values, 2);
    row->live = members == 1 ? start : NULL;
    row->calls = time.n;
    row->total_ns = time.total;
    row->min_ns = time.n ? time.min : UNKNOWN_U64;
    row->max_ns = time.n ? time.max : UNKNOWN_U64;
    row->sd_ns = round(running_sd(&time));
    row->median_ns = single ? single->median_ns : within(values[0], &time);
    row->p95_ns = single ? single->p95_ns : within(values[1], &time);
    return at;
}

static void add_counters(struct group *group, const struct entry *entry)
{
    if (!entry->counter_samples)
        return;
    for (int c = 0; c < REPORT_COUNTERS; c++) {
        uint64_t *value = &group->counters.values[c];
        if (!group->counters.samples)
            *value = entry->counters[c];
        else
            *value =
                is_known_u64(*value) && is_known_u64(entry->counters[c]) ? *value + entry->counters[c] : UNKNOWN_U64;
    }
    group->counters.samples += entry->counter_samples;
}

static void copy_recent(struct group *group, const struct entry *entry)
{
    const uint32_t next = entry->recent_next, oldest = next < ENTRY_RECENT ? 0 : next % ENTRY_RECENT;
    const uint32_t count = next < ENTRY_RECENT ? next : ENTRY_RECENT, behind = count - oldest;
    memcpy(group->recent, entry->recent + oldest, behind * sizeof *group->recent);
    memcpy(group->recent + behind, entry->recent, oldest * sizeof *group->recent);
    group->kernel.recent_count = count;
}

/* What the entries of a group add up to. */
static void group_totals(struct build_rows *rows, struct group *group, const struct report_cell *cell,
                         const struct entry *entries, struct running *time, const struct histogram **histogram,
                         const struct histogram **warmup)
{
    struct report_kernel *kernel = &group->kernel;
    const struct entry *largest = &entries[group->first];
    const bool single = rows->seen.items[group->first].next == NONE;
    const char *before = kernel->op; /* the document may outlive the run's places: it has a copy, made once */
    kernel->flops = kernel->bytes = UNKNOWN_DOUBLE;
    group->counters = (struct report_counters){.samples = 0};
    if (!single) {
        histogram_clear(&rows->merged);
        histogram_clear(&rows->warmup);
    }
    for (uint32_t at = group->first; at != NONE; at = rows->seen.items[at].next) {
        const struct entry *entry = &entries[at];
        const char *op = entry->place < 0 ? "unattributed" : places_at(&rows->rank->places, entry->place)->op;
        if (at == group->first)
            kernel->op = op;
        else if (strcmp(op, kernel->op) != 0)
            kernel->op = ""; /* serves several */
        running_merge(time, time_of(rows, entry));
        work_add(&kernel->flops, &kernel->bytes, modelled(rows, cell, entries, at, time_of(rows, entry)->n));
        add_counters(group, entry);
        if (time_of(rows, entry)->total > time_of(rows, largest)->total)
            largest = entry;
        if (single)
            continue;
        histogram_merge(&rows->merged, histogram_of(rows, entry));
        histogram_merge(&rows->warmup, &entry->warmup_histogram);
    }
    kernel->copy = entries[group->first].copy; /* a name is of one kind of copy */
    kernel->pageable = entries[group->first].pageable;
    kernel->op = before && strcmp(before, kernel->op) == 0 ? before : arena_strdup(&rows->arena, kernel->op);
    *histogram = single ? histogram_of(rows, largest) : &rows->merged;
    *warmup = single ? &largest->warmup_histogram : &rows->warmup;
    copy_recent(group, largest);
}

static void words_pack(words *list, const struct histogram *histogram)
{
    vec_reserve(list, report_bins_room(histogram));
    list->count = report_bins_pack(list->items, histogram);
}

static void group_update(struct build_rows *rows, struct group *group, const struct report_cell *cell,
                         const struct entry *entries)
{
    static const double q[] = {0.5, 0.95, 0.99};
    struct report_kernel *kernel = &group->kernel;
    struct running time = {0};
    const struct histogram *histogram, *warmup;
    double values[3];
    kernel->kernel_class = group->key.kernel_class;
    kernel->phase = group->key.phase;
    kernel->pass = group->key.pass;
    group_totals(rows, group, cell, entries, &time, &histogram, &warmup);
    kernel->calls = time.n;
    kernel->total_ns = time.total;
    kernel->min_ns = time.n ? time.min : UNKNOWN_U64;
    kernel->max_ns = time.n ? time.max : UNKNOWN_U64;
    kernel->sd_ns = round(running_sd(&time));
    histogram_quantiles(histogram, q, values, 3);
    kernel->median_ns = within(values[0], &time);
    kernel->p95_ns = within(values[1], &time);
    kernel->p99_ns = time.n >= 100 ? within(values[2], &time) : UNKNOWN_DOUBLE;
    words_pack(&group->bins, histogram);
    if (group->warmups != warmup->count)
        words_pack(&group->warmup_bins, warmup);
    group->warmups = warmup->count;
    group->entries.count = 0;
    const bool single = rows->seen.items[group->first].next == NONE;
    for (uint32_t at = group->first; at != NONE;) {
        struct report_entry row;
        at = scope_row(rows, cell, entries, at, single ? kernel : NULL, &row);
        vec_push(&group->entries, row);
    }
    group->changed = false;
}

static bool comes_before(const struct group *a, const struct group *b)
{
    if (a->key.pass != b->key.pass)
        return a->key.pass < b->key.pass;
    if (a->kernel.total_ns != b->kernel.total_ns)
        return a->kernel.total_ns > b->kernel.total_ns;
    return a < b;
}

/* The longest pass last as measured, within it the kernel that takes the most time first. From one update to the next few
 * change places, so the last order is mended; one that is far off costs too much that way and is sorted. */
static int by_pass_and_time(const void *a, const void *b, void *groups)
{
    const struct group *x = (const struct group *)groups + *(const uint32_t *)a;
    const struct group *y = (const struct group *)groups + *(const uint32_t *)b;
    return x == y ? 0 : comes_before(x, y) ? -1 : 1;
}

static void order_groups(struct build_rows *rows)
{
    const struct group *groups = rows->groups.items;
    uint32_t *order = rows->order.items;
    size_t moves = 0;
    for (size_t i = 1; groups && i < rows->order.count && moves < 8 * rows->order.count; i++) {
        const uint32_t group = order[i];
        size_t place = i;
        for (; place > 0 && comes_before(&groups[group], &groups[order[place - 1]]); place--, moves++)
            order[place] = order[place - 1];
        order[place] = group;
    }
    if (moves >= 8 * rows->order.count && rows->order.count)
        sort_with(order, rows->order.count, sizeof *order, by_pass_and_time, rows->groups.items);
    vec_reserve(&rows->row_of, rows->groups.count + 1);
    rows->row_of.count = rows->groups.count;
    for (size_t row = 0; row < rows->order.count; row++)
        rows->row_of.items[order[row]] = (int32_t)row;
}

static void place_entry(struct build_rows *rows, struct report_cell *cell, const struct report_entry *from, size_t row,
                        double attributed[PASS_COUNT])
{
    struct report_entry entry = *from;
    entry.kernel = (uint32_t)row;
    if (entry.scope < 0 || (size_t)entry.scope >= cell->layer_count)
        entry.scope = -1;
    else
        attributed[entry.pass] += (double)entry.total_ns;
    vec_push(&rows->entries, entry);
}

/* A nanosecond a step is what roundings leave: all of it belongs to layers then, and not more than all. */
static double of_all(double attributed_ns, double kernel_ns)
{
    return fabs(attributed_ns - kernel_ns) < 1 ? kernel_ns : attributed_ns;
}

void cell_build_rows(struct report_cell *cell, const struct run *run)
{
    const struct rank *rank = run_lead(run);
    if (!rank || (!cell->rows && !(cell->rows = calloc(1, sizeof *cell->rows))))
        memory_exhausted(1, "document of a run");
    struct build_rows *rows = cell->rows;
    size_t entry_count;
    if (rows->rank != rank || (rows->early && rows->known_places != rank->places.list.count))
        groups_release(rows);
    rows->rank = rank;
    rows->known_places = rank->places.list.count;
    find_changes(rows, cell, rank);
    const struct entry *entries = aggregate_entries(rank->aggregate, &entry_count);
    struct group *groups = rows->groups.items;
    for (size_t g = 0; groups && g < rows->groups.count; g++)
        if (groups[g].changed)
            group_update(rows, &groups[g], cell, entries);
    order_groups(rows);
    rows->kernels.count = rows->entries.count = 0;
    double attributed[PASS_COUNT] = {0};
    for (size_t row = 0; row < rows->order.count; row++) {
        struct group *group = &rows->groups.items[rows->order.items[row]];
        struct report_kernel kernel = group->kernel;
        kernel.histogram = (struct report_bins){group->bins.items, (uint32_t)group->bins.count};
        kernel.warmup_histogram = (struct report_bins){group->warmup_bins.items, (uint32_t)group->warmup_bins.count};
        kernel.counters = group->counters.samples ? &group->counters : NULL;
        kernel.recent = group->recent;
        vec_push(&rows->kernels, kernel);
        for (size_t e = 0; e < group->entries.count; e++)
            place_entry(rows, cell, &group->entries.items[e], row, attributed);
    }
    cell->kernels = rows->kernels.items;
    cell->kernel_count = rows->kernels.count;
    cell->entries = rows->entries.items;
    cell->entry_count = rows->entries.count;
    for (int p = 0; p < PASS_COUNT; p++)
        if (cell->passes[p].present && cell->passes[p].profiled_steps)
            cell->passes[p].attributed_ns =
                of_all(attributed[p] / pass_steps(&cell->passes[p]), cell->passes[p].kernel_ns);
}
