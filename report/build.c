/* A cell of the document from a live run: samples, kernels and the kernels' layers. */
#include "report/build.h"
#include "report/derive.h"
#include "report/escape.h"
#include "report/fields.h"
#include "report/seed_rule.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *clean_copy(struct arena *arena, const char *text)
{
    const size_t length = strlen(text);
    if (text_is_clean(text, length))
        return arena_strndup(arena, text, length);
    struct strbuf clean = {0};
    clean_text(&clean, text, length);
    const char *copy = arena_strndup(arena, clean.text, clean.length);
    strbuf_release(&clean);
    return copy;
}

/* Samples. */

static uint64_t sample_value(const struct sample *sample, int phase)
{
    return phase == PHASE_COUNT ? sample->wall_ns : sample->phase_ns[phase];
}

static uint64_t *copy_samples(const struct run *run, struct arena *arena, int pass, int phase, int kind, size_t *count)
{
    size_t wanted = 0;
    *count = 0;
    for (size_t i = 0; i < run->samples.count; i++)
        wanted += run->samples.items[i].pass == pass && run->samples.items[i].kind == kind &&
                  is_known_u64(sample_value(&run->samples.items[i], phase));
    if (!wanted)
        return NULL;
    uint64_t *values = arena_array(arena, uint64_t, wanted);
    for (size_t i = 0; i < run->samples.count; i++) {
        const struct sample *sample = &run->samples.items[i];
        if (sample->pass == pass && sample->kind == kind && is_known_u64(sample_value(sample, phase)))
            values[(*count)++] = sample_value(sample, phase);
    }
    return values;
}

static uint64_t sample_key(const struct run *run, int pass)
{
    uint64_t key = 0;
    for (size_t i = 0; i < run->samples.count; i++)
        if (run->samples.items[i].pass == pass)
            key = key * 31 + run->samples.items[i].start + run->samples.items[i].kind + 1;
    return key;
}

/* The mean of the profiled steps of a pass, in ns. */
static double profiled_wall(const struct report_pass *pass)
{
    const struct report_phase *total = &pass->phases[PHASE_COUNT];
    double sum = 0;
    for (size_t i = 0; i < total->profiled_count; i++)
        sum += (double)total->profiled_ns[i];
    return total->profiled_count ? sum / (double)total->profiled_count : UNKNOWN_DOUBLE;
}

static bool has_warmup(const struct run *run, enum pass pass)
{
    size_t count = 0;
    const struct entry *entries = run->aggregate ? aggregate_entries(run->aggregate, &count) : NULL;
    for (size_t e = 0; e < count; e++)
        if (entries[e].pass == pass && entries[e].warmup.n)
            return true;
    return false;
}

static void build_pass(struct report_cell *cell, const struct run *run, enum pass which)
{
    struct report_pass *pass = &cell->passes[which];
    const uint64_t key = sample_key(run, which);
    const bool fresh = !pass->present || pass->sample_key != key;
    pass->present = true;
    pass->pass = which;
    pass->sample_key = key;
    for (int p = 0; p <= PHASE_COUNT; p++) {
        struct report_phase *phase = &pass->phases[p];
        if (fresh)
            fields_clear_phase(phase);
        phase->name = p == PHASE_COUNT ? "total" : phase_name((enum phase)p);
        phase->samples_ns = copy_samples(run, &cell->arena, which, p, STEP_TIMED, &phase->sample_count);
        phase->warmup_ns = copy_samples(run, &cell->arena, which, p, STEP_WARMUP, &phase->warmup_count);
        phase->profiled_ns = copy_samples(run, &cell->arena, which, p, STEP_PROFILED, &phase->profiled_count);
    }
    if (fresh) {
        pass->overhead = (struct ratio){UNKNOWN_DOUBLE, UNKNOWN_DOUBLE, UNKNOWN_DOUBLE, 0};
        pass_derive(pass);
    }
    pass->profiled_steps = 0;
    pass->warmup_rows = false;
    pass->wall_ns = pass->busy_ns = pass->idle_ns = pass->kernel_ns = pass->attributed_ns = UNKNOWN_DOUBLE;
    struct step_cover cover = {0};
    if (run->aggregate)
        aggregate_cover(run->aggregate, which, &cover);
    if (!cover.steps) {
        /* Something to look at from the first kernel on; the first warm-up step may still be under way. */
        const size_t steps = pass->phases[PHASE_COUNT].warmup_count;
        pass->warmup_rows = has_warmup(run, which);
        pass->profiled_steps = pass->warmup_rows ? (steps ? steps : 1) : 0;
        return;
    }
    pass->profiled_steps = cover.steps;
    pass->wall_ns = profiled_wall(pass);
    pass->busy_ns = (double)cover.busy_ns / (double)cover.steps;
    pass->kernel_ns = (double)cover.sum_ns / (double)cover.steps;
    pass->idle_ns = pass->wall_ns - pass->busy_ns;
}

/* Kernels. */

struct kernel_key kernel_key_of(const struct plan *plan, uint32_t name, int32_t node, int phase, int pass, int kind)
{
    enum kernel_class kernel_class = kind == RECORD_KERNEL ? CLASS_ELEMENTWISE : CLASS_COPY;
    if (plan && node >= 0 && node < plan->node_count)
        kernel_class = op_info(plan->nodes[node].op)->kernel_class;
    return (struct kernel_key){name, (uint8_t)kernel_class, (uint8_t)phase, (uint8_t)pass};
}

struct kernel_slot *kernel_index_find(const struct kernel_index *index, struct kernel_key key)
{
    const uint64_t mixed =
        ((uint64_t)key.name << 24 | (uint64_t)key.kernel_class << 16 | (uint64_t)key.phase << 8 | key.pass) *
        0x9e3779b97f4a7c15u;
    for (size_t at = (size_t)(mixed >> 32) & (index->capacity - 1);; at = (at + 1) & (index->capacity - 1)) {
        struct kernel_slot *slot = &index->slots[at];
        if (slot->kernel < 0 || (slot->key.name == key.name && slot->key.kernel_class == key.kernel_class &&
                                 slot->key.phase == key.phase && slot->key.pass == key.pass))
            return slot;
    }
}

/* One live entry and the rows it belongs to. */
struct member {
    const struct entry *entry;
    int32_t kernel;
};

static bool is_work(const struct entry *entry)
{
    return entry->kind == RECORD_KERNEL || entry->kind == RECORD_COPY || entry->kind == RECORD_MEMSET;
}

static void kernel_index_init(struct kernel_index *index, size_t entries)
{
    index->capacity = 64;
    while (index->capacity < entries * 2)
        index->capacity *= 2;
    index->slots = calloc(index->capacity, sizeof *index->slots);
    if (!index->slots)
        abort();
    for (size_t i = 0; i < index->capacity; i++)
        index->slots[i].kernel = -1;
}

static void kernel_start(struct report_kernel *kernel, const struct run *run, const struct entry *entry,
                         enum kernel_class kernel_class, struct arena *arena)
{
    const char *name = aggregate_name_text(run->aggregate, entry->name);
    const bool attributed = run->plan && entry->node >= 0 && entry->node < run->plan->node_count;
    *kernel = (struct report_kernel){
        .name = name && *name ? clean_copy(arena, name) : "(unnamed)",
        .op = attributed ? op_info(run->plan->nodes[entry->node].op)->name : "unattributed",
        .kernel_class = kernel_class,
        .phase = entry->phase,
        .pass = entry->pass,
        .min_ns = UNKNOWN_U64,
        .max_ns = UNKNOWN_U64,
    };
}

/* What the rows of the entry's pass show. */
static const struct running *time_of(const struct report_cell *cell, const struct entry *entry)
{
    return cell->passes[entry->pass].warmup_rows ? &entry->warmup : &entry->time;
}

static const struct histogram *histogram_of(const struct report_cell *cell, const struct entry *entry)
{
    return cell->passes[entry->pass].warmup_rows ? &entry->warmup_histogram : &entry->histogram;
}

static double modelled(const struct run *run, const struct entry *entry, uint64_t calls, bool flops)
{
    if (!run->plan || entry->node < 0 || entry->node >= run->plan->node_count)
        return UNKNOWN_DOUBLE;
    const struct node *node = &run->plan->nodes[entry->node];
    return (flops ? node->flops : node->bytes) * (double)calls;
}

static void kernel_add(struct report_kernel *kernel, const struct report_cell *cell, const struct run *run,
                       const struct entry *entry)
{
    const struct running *time = time_of(cell, entry);
    const char *op = run->plan && entry->node >= 0 && entry->node < run->plan->node_count
                         ? op_info(run->plan->nodes[entry->node].op)->name
                         : "unattributed";
    // NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): kernel_start came before
    if (strcmp(op, kernel->op) != 0)
        kernel->op = ""; /* serves several */
    kernel->calls += time->n;
    kernel->total_ns += time->total;
    if (time->n) {
        kernel->min_ns = !is_known_u64(kernel->min_ns) || time->min < kernel->min_ns ? time->min : kernel->min_ns;
        kernel->max_ns = !is_known_u64(kernel->max_ns) || time->max > kernel->max_ns ? time->max : kernel->max_ns;
    }
    kernel->flops += modelled(run, entry, time->n, true);
    kernel->bytes += modelled(run, entry, time->n, false);
}

static void add_counters(struct report_kernel *kernel, const struct entry *entry, struct arena *arena)
{
    if (!entry->counter_samples)
        return;
    struct report_counters *counters = (struct report_counters *)(uintptr_t)kernel->counters; /* made here below */
    if (!counters) {
        counters = arena_array(arena, struct report_counters, 1);
        for (int c = 0; c < REPORT_COUNTERS; c++)
            counters->values[c] = entry->counters[c];
        kernel->counters = counters;
    } else
        for (int c = 0; c < REPORT_COUNTERS; c++)
            counters->values[c] = is_known_u64(counters->values[c]) && is_known_u64(entry->counters[c])
                                      ? counters->values[c] + entry->counters[c]
                                      : UNKNOWN_U64;
    counters->samples += entry->counter_samples;
}

static void copy_recent(struct report_kernel *kernel, const struct entry *entry, struct arena *arena)
{
    const uint32_t count = entry->recent_next < ENTRY_RECENT ? entry->recent_next : ENTRY_RECENT;
    uint32_t *recent = arena_array(arena, uint32_t, count + 1);
    for (uint32_t i = 0; i < count; i++)
        recent[i] = entry->recent[(entry->recent_next - count + i) % ENTRY_RECENT];
    kernel->recent = recent;
    kernel->recent_count = count;
}

/* A quantile of the histogram is that of its bin; it cannot lie beyond what was seen. */
static double quantile_within(const struct histogram *histogram, double q, const struct running *time)
{
    const double value = histogram_quantile(histogram, q);
    if (!time->n || !is_known(value))
        return UNKNOWN_DOUBLE;
    return fmin(fmax(value, (double)time->min), (double)time->max);
}

/* What a run of members (sorted by kernel) adds up to: spread, quantiles, histograms. */
static void kernel_finish(struct report_kernel *kernel, const struct report_cell *cell, const struct member *members,
                          size_t count, struct arena *arena)
{
    struct running time = {0};
    struct histogram histogram = {0}, warmup = {0};
    const struct entry *largest = members[0].entry;
    for (size_t i = 0; i < count; i++) {
        running_merge(&time, time_of(cell, members[i].entry));
        histogram_merge(&histogram, histogram_of(cell, members[i].entry));
        histogram_merge(&warmup, &members[i].entry->warmup_histogram);
        add_counters(kernel, members[i].entry, arena);
        if (time_of(cell, members[i].entry)->total > time_of(cell, largest)->total)
            largest = members[i].entry;
    }
    kernel->sd_ns = running_sd(&time);
    kernel->median_ns = quantile_within(&histogram, 0.5, &time);
    kernel->p95_ns = quantile_within(&histogram, 0.95, &time);
    kernel->p99_ns = kernel->calls >= 100 ? quantile_within(&histogram, 0.99, &time) : UNKNOWN_DOUBLE;
    report_bins_pack(&kernel->histogram, arena, &histogram);
    report_bins_pack(&kernel->warmup_histogram, arena, &warmup);
    histogram_release(&histogram);
    histogram_release(&warmup);
    copy_recent(kernel, largest, arena);
}

/* A row of the finest table from the members of one kernel in one layer. */
static void entry_finish(struct report_entry *row, const struct report_cell *cell, const struct run *run,
                         const struct member *members, size_t count)
{
    struct running time = {0};
    struct histogram histogram = {0};
    *row = (struct report_entry){
        .kernel = (uint32_t)members[0].kernel,
        .scope = members[0].entry->scope,
        .phase = members[0].entry->phase,
        .pass = members[0].entry->pass,
        .live = count == 1 ? members[0].entry : NULL,
    };
    for (size_t i = 0; i < count; i++) {
        const struct running *one = time_of(cell, members[i].entry);
        running_merge(&time, one);
        row->flops += modelled(run, members[i].entry, one->n, true);
        row->bytes += modelled(run, members[i].entry, one->n, false);
        if (count > 1)
            histogram_merge(&histogram, histogram_of(cell, members[i].entry));
    }
    const struct histogram *all = count > 1 ? &histogram : histogram_of(cell, members[0].entry);
    row->calls = time.n;
    row->total_ns = time.total;
    row->min_ns = time.n ? time.min : UNKNOWN_U64;
    row->max_ns = time.n ? time.max : UNKNOWN_U64;
    row->sd_ns = running_sd(&time);
    row->median_ns = quantile_within(all, 0.5, &time);
    row->p95_ns = quantile_within(all, 0.95, &time);
    histogram_release(&histogram);
}

static int by_kernel_and_scope(const void *a, const void *b)
{
    const struct member *x = a, *y = b;
    if (x->kernel != y->kernel)
        return x->kernel < y->kernel ? -1 : 1;
    return x->entry->scope < y->entry->scope ? -1 : x->entry->scope > y->entry->scope;
}

struct ranked {
    struct report_kernel kernel;
    int32_t was;
};

/* The longest pass last as measured, within it the kernel that takes the most time first. */
static int by_pass_and_time(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->kernel.pass != y->kernel.pass)
        return x->kernel.pass < y->kernel.pass ? -1 : 1;
    if (x->kernel.total_ns != y->kernel.total_ns)
        return x->kernel.total_ns > y->kernel.total_ns ? -1 : 1;
    return x->was < y->was ? -1 : x->was > y->was;
}

static void rank_kernels(struct ranked *ranked, size_t count, struct member *members, size_t member_count,
                         struct kernel_index *index)
{
    int32_t *now = malloc((count + 1) * sizeof *now);
    if (!now)
        abort();
    qsort(ranked, count, sizeof *ranked, by_pass_and_time);
    for (size_t k = 0; k < count; k++)
        now[ranked[k].was] = (int32_t)k;
    for (size_t m = 0; m < member_count; m++)
        members[m].kernel = now[members[m].kernel];
    for (size_t s = 0; s < index->capacity; s++)
        if (index->slots[s].kernel >= 0)
            index->slots[s].kernel = now[index->slots[s].kernel];
    free(now);
}

static void build_rows(struct report_cell *cell, const struct run *run, struct kernel_index *index)
{
    size_t entry_count, member_count = 0, kernel_count = 0;
    const struct entry *entries = aggregate_entries(run->aggregate, &entry_count);
    struct member *members = malloc((entry_count + 1) * sizeof *members);
    struct ranked *ranked = malloc((entry_count + 1) * sizeof *ranked);
    if (!members || !ranked)
        abort();
    kernel_index_init(index, entry_count);
    for (size_t e = 0; e < entry_count; e++) {
        const struct entry *entry = &entries[e];
        if (!is_work(entry) || entry->phase >= PHASE_COUNT || entry->pass >= PASS_COUNT ||
            !cell->passes[entry->pass].present)
            continue;
        const struct kernel_key key =
            kernel_key_of(run->plan, entry->name, entry->node, entry->phase, entry->pass, entry->kind);
        struct kernel_slot *slot = kernel_index_find(index, key);
        if (slot->kernel < 0) {
            *slot = (struct kernel_slot){key, (int32_t)kernel_count};
            kernel_start(&ranked[kernel_count].kernel, run, entry, (enum kernel_class)key.kernel_class, &cell->arena);
            ranked[kernel_count].was = (int32_t)kernel_count;
            kernel_count++;
        }
        kernel_add(&ranked[slot->kernel].kernel, cell, run, entry);
        members[member_count++] = (struct member){entry, slot->kernel};
    }
    rank_kernels(ranked, kernel_count, members, member_count, index);
    qsort(members, member_count, sizeof *members, by_kernel_and_scope);
    cell->kernels = arena_array(&cell->arena, struct report_kernel, kernel_count + 1);
    cell->entries = arena_array(&cell->arena, struct report_entry, member_count + 1);
    cell->kernel_count = kernel_count;
    for (size_t k = 0; k < kernel_count; k++)
        cell->kernels[k] = ranked[k].kernel;
    double attributed[PASS_COUNT] = {0};
    for (size_t first = 0, next, scope_next; first < member_count; first = next) {
        const int32_t kernel = members[first].kernel;
        for (next = first; next < member_count && members[next].kernel == kernel; next++)
            ;
        kernel_finish(&cell->kernels[kernel], cell, members + first, next - first, &cell->arena);
        for (size_t at = first; at < next; at = scope_next) {
            for (scope_next = at; scope_next < next && members[scope_next].entry->scope == members[at].entry->scope;
                 scope_next++)
                ;
            struct report_entry *row = &cell->entries[cell->entry_count++];
            entry_finish(row, cell, run, members + at, scope_next - at);
            if (row->scope < 0 || (size_t)row->scope >= cell->layer_count)
                row->scope = -1;
            else
                attributed[row->pass] += (double)row->total_ns;
        }
    }
    for (int p = 0; p < PASS_COUNT; p++)
        if (cell->passes[p].present && cell->passes[p].profiled_steps)
            cell->passes[p].attributed_ns = attributed[p] / (double)cell->passes[p].profiled_steps;
    free(ranked);
    free(members);
}

static void build_notes(struct report_cell *cell, const struct run *run)
{
    cell->notes = arena_array(&cell->arena, struct report_note, run->notes.count + 1);
    for (int c = 0; c < REPORT_COUNTERS; c++)
        cell->counter_names[c] = "";
    for (size_t i = 0; i < run->notes.count; i++) {
        const struct note *note = &run->notes.items[i];
        cell->notes[cell->note_count++] =
            (struct report_note){clean_copy(&cell->arena, note->key), clean_copy(&cell->arena, note->text)};
        if (strcmp(note->key, "counters") != 0)
            continue;
        /* "cycles,instructions,…": what the four values are. */
        const char *at = note->text;
        for (int c = 0; c < REPORT_COUNTERS && *at; c++) {
            const size_t length = strcspn(at, ", ");
            cell->counter_names[c] = arena_strndup(&cell->arena, at, length);
            at += length + strspn(at + length, ", ");
        }
    }
}

void cell_build(struct report_cell *cell, const struct run *run)
{
    struct kernel_index index = {0};
    char reason[256];
    if (cell->from_file) { /* it was read from a report that this run goes on from */
        struct report_cell empty = {0};
        arena_release(&cell->arena);
        *cell = empty;
    }
    arena_release(&cell->arena);
    cell->run_id = run->id;
    cell->version = run->version;
    cell->requested = run->cell;
    cell->status = run->status;
    cell->effective_dtype = run->plan ? run->plan->precision : run->cell.dtype;
    cell->fired = run->plan_result.fired;
    cell->effective_compile = run->plan && run->cell.compile;
    cell->compile_ns = run->compile_ns;
    cell->prepare_ns = run->prepare_ns;
    cell->device = run->device;
    cell->telemetry = run->telemetry;
    cell->ceilings = (struct report_ceilings){run->ceiling_flops_per_s, run->ceiling_bytes_per_s};
    cell->entries = NULL;
    cell->kernels = NULL;
    cell->timeline = NULL;
    cell->entry_count = cell->kernel_count = cell->launch_count = cell->note_count = 0;
    cell_build_plan(cell, run);
    for (int pass = 0; pass < PASS_COUNT; pass++)
        if (run->cell.passes >> pass & 1)
            build_pass(cell, run, (enum pass)pass);
        else
            fields_clear_pass(&cell->passes[pass]);
    build_notes(cell, run);
    struct aggregate_counts counts = {0};
    if (run->aggregate) {
        build_rows(cell, run, &index);
        aggregate_counts(run->aggregate, &counts);
        if (run->ended)
            cell_build_timeline(cell, run, &index);
    }
    cell->records = counts.records;
    cell->dropped = run->dropped;
    cell->invalid = counts.invalid;
    cell->unattributed = counts.unattributed;
    rows_derive(cell);
    cell->reason = clean_copy(&cell->arena, run->reason);
    if (cell->status == STATUS_OK && seed_unreliable(cell, reason, sizeof reason)) {
        cell->status = STATUS_UNRELIABLE;
        cell->reason = arena_strdup(&cell->arena, reason);
    }
    free(index.slots);
}
