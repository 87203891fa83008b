#include "report/derive.h"
#include "base/limits.h"
#include <stdlib.h>
#include <string.h>

static const struct report_layer_phase no_times;

/* Profiled steps over the timed ones beside them: a profiled step goes with every `every`-th timed one (worker/measure.c).
 * An endless run keeps only the newest of each kind; when their numbers do not match, they are paired from the end, which is
 * right to less than `every` steps. */
static void overhead_derive(struct report_pass *pass, uint32_t every)
{
    const struct report_phase *total = &pass->phases[PHASE_COUNT];
    const size_t timed = total->sample_count, profiled = total->profiled_count;
    if (!timed || !profiled || !every)
        return;
    const size_t due = (timed + every - 1) / every;
    const bool whole = profiled == due || profiled + 1 == due || profiled == due + 1;
    uint64_t *base = malloc(profiled * sizeof *base), *over = malloc(profiled * sizeof *over);
    size_t pairs = 0;
    if (!base || !over)
        memory_exhausted(profiled, "steps' times");
    for (size_t i = 0; i < profiled; i++) {
        const size_t back = (profiled - 1 - i) * every; /* steps before the last */
        if (!whole && back >= timed)
            continue;
        const size_t at = whole ? i * every : timed - 1 - back;
        if (at >= timed)
            break;
        over[pairs] = total->profiled_ns[i];
        base[pairs++] = total->samples_ns[at];
    }
    if (pairs)
        ratio_of_pairs(over, base, pairs, &pass->overhead);
    free(base);
    free(over);
}

void pass_derive(struct report_pass *pass, uint32_t profile_every)
{
    for (int p = 0; p <= PHASE_COUNT; p++) {
        struct report_phase *phase = &pass->phases[p];
        if (phase->sample_count)
            summary_of(phase->samples_ns, phase->sample_count, &phase->summary);
    }
    overhead_derive(pass, profile_every);
}

static void derive_kernels(struct report_cell *cell)
{
    uint64_t totals[PASS_COUNT] = {0};
    for (size_t k = 0; k < cell->kernel_count; k++)
        totals[cell->kernels[k].pass] += cell->kernels[k].total_ns;
    for (size_t k = 0; k < cell->kernel_count; k++) {
        struct report_kernel *kernel = &cell->kernels[k];
        const uint64_t total = totals[kernel->pass];
        kernel->mean_ns = kernel->calls ? (double)kernel->total_ns / (double)kernel->calls : UNKNOWN_DOUBLE;
        kernel->cv = kernel->mean_ns > 0 ? kernel->sd_ns / kernel->mean_ns : UNKNOWN_DOUBLE;
        kernel->share = total ? (double)kernel->total_ns / (double)total : UNKNOWN_DOUBLE;
        kernel->layers = 0;
    }
    for (size_t e = 0; e < cell->entry_count; e++) {
        struct report_entry *entry = &cell->entries[e];
        struct report_kernel *kernel = &cell->kernels[entry->kernel];
        entry->pass = kernel->pass;
        entry->phase = kernel->phase;
        entry->mean_ns = entry->calls ? (double)entry->total_ns / (double)entry->calls : UNKNOWN_DOUBLE;
        kernel->layers += entry->scope >= 0;
    }
}

static void derive_layers(struct report_cell *cell)
{
    struct report_layer_phase *times[PASS_COUNT][PLACE_PHASE_COUNT] = {0}; /* [pass][phase][layer] */
    /* Has rows: a thousand cells must not hold zeros for what has none. */
    bool measured[PASS_COUNT][PLACE_PHASE_COUNT] = {0};
    for (size_t e = 0; e < cell->entry_count; e++)
        measured[cell->entries[e].pass][cell->entries[e].phase] = true;
    for (int pass = 0; pass < PASS_COUNT; pass++)
        for (int phase = 0; phase < PLACE_PHASE_COUNT; phase++) {
            if (measured[pass][phase] && cell->passes[pass].present && cell->passes[pass].profiled_steps)
                times[pass][phase] = arena_array(&cell->arena, struct report_layer_phase, cell->layer_count + 1);
            for (size_t l = 0; l < cell->layer_count; l++)
                cell->layers[l].phase[pass][phase] = times[pass][phase] ? &times[pass][phase][l] : &no_times;
        }
    for (size_t e = 0; e < cell->entry_count; e++) {
        const struct report_entry *entry = &cell->entries[e];
        if (entry->scope < 0 || !times[entry->pass][entry->phase])
            continue;
        struct report_layer_phase *time = &times[entry->pass][entry->phase][entry->scope];
        const double steps = pass_steps(&cell->passes[entry->pass]);
        const double total = (double)entry->total_ns / steps;
        time->calls += entry->calls;
        time->exclusive_ns += total;
        time->inclusive_ns += total;
        /* What carries no work of its own (a memset beside a product) adds none. */
        time->flops += is_known(entry->flops) ? entry->flops / steps : 0;
        time->bytes += is_known(entry->bytes) ? entry->bytes / steps : 0;
    }
    /* Children come after their parents: one sweep from the end carries everything up. */
    for (size_t l = cell->layer_count; l-- > 0;) {
        const int32_t parent = cell->layers[l].parent;
        for (int pass = 0; parent >= 0 && pass < PASS_COUNT; pass++)
            for (int phase = 0; phase < PLACE_PHASE_COUNT; phase++) {
                if (!times[pass][phase])
                    continue;
                const struct report_layer_phase *from = &times[pass][phase][l];
                struct report_layer_phase *to = &times[pass][phase][parent];
                to->inclusive_ns += from->inclusive_ns;
                to->flops += from->flops;
                to->bytes += from->bytes;
            }
    }
}

void rows_derive(struct report_cell *cell)
{
    derive_kernels(cell);
    derive_layers(cell);
}

void cell_derive(struct report_cell *cell)
{
    if (cell->requested.ranks == 0) /* a report from before there were ranks */
        cell->requested.ranks = 1;
    if (cell->requested.bucket_mb == 0)
        cell->requested.bucket_mb = BUCKET_MB_DEFAULT;
    for (int pass = 0; pass < PASS_COUNT; pass++)
        if (cell->passes[pass].present)
            pass_derive(&cell->passes[pass], cell->requested.profile_every);
    rows_derive(cell);
}

bool has_first_steps(const struct report_cell *cell, const struct report_phase *phase)
{
    return cell->requested.steps != STEPS_FOREVER || phase->sample_count < SAMPLES_KEPT;
}

static bool is_kept(int kind)
{
    return kind == TENSOR_INPUT || kind == TENSOR_CONSTANT || kind == TENSOR_PARAMETER ||
           kind == TENSOR_PARAMETER_COPY || kind == TENSOR_OPTIMIZER || kind == TENSOR_OUTPUT;
}

double memory_point(const struct report_cell *cell, int point, int kind)
{
    const struct report_memory *memory = &cell->memory;
    double sum = 0;
    int before = -1; /* the last node before the optimizer */
    if (!is_known_u64(memory->planned_total) || (point && !memory->by_kind[TENSOR_OPTIMIZER]))
        return UNKNOWN_DOUBLE;
    const bool ledger = memory->curve && memory->curve_phase && memory->curve_count > 0 &&
                        memory->curve_phase[memory->curve_count - 1] == PHASE_OPT;
    for (int32_t n = 0; ledger && n < memory->curve_count && memory->curve_phase[n] != PHASE_OPT; n++)
        before = n;
    const int node = point == 1 ? before : memory->curve_count - 1;
    for (int k = 0; k < TENSOR_KIND_COUNT; k++) {
        const uint64_t bytes = point && ledger && node >= 0
                                   ? memory->curve[(size_t)node * TENSOR_KIND_COUNT + (size_t)k]
                               : is_kept(k) || (point && k == TENSOR_GRADIENT) ? memory->by_kind[k]
                                                                               : 0;
        sum += kind < 0 || k == kind ? (double)bytes : 0;
    }
    return sum;
}
