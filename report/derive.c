#include "report/derive.h"
#include <string.h>

static const struct report_layer_phase no_times[PHASE_COUNT];

void pass_derive(struct report_pass *pass)
{
    const struct report_phase *total = &pass->phases[PHASE_COUNT];
    for (int p = 0; p <= PHASE_COUNT; p++) {
        struct report_phase *phase = &pass->phases[p];
        if (phase->sample_count)
            summary_of(phase->samples_ns, phase->sample_count, &phase->summary);
    }
    /* Timed and profiled steps take turns, so the n-th of each are neighbours in time. */
    const size_t pairs = total->sample_count < total->profiled_count ? total->sample_count : total->profiled_count;
    if (pairs)
        ratio_of_pairs(total->profiled_ns, total->samples_ns, pairs, &pass->overhead);
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
    struct report_layer_phase *times[PASS_COUNT] = {0};
    bool measured[PASS_COUNT] = {false}; /* has rows: a thousand cells must not hold zeros for the others */
    for (size_t l = 0; l < cell->layer_count; l++)
        for (int pass = 0; pass < PASS_COUNT; pass++)
            cell->layers[l].phase[pass] = no_times;
    for (size_t e = 0; e < cell->entry_count; e++)
        measured[cell->entries[e].pass] = true;
    for (int pass = 0; pass < PASS_COUNT; pass++)
        if (measured[pass] && cell->passes[pass].present && cell->passes[pass].profiled_steps) {
            times[pass] = arena_array(&cell->arena, struct report_layer_phase, cell->layer_count * PHASE_COUNT + 1);
            for (size_t l = 0; l < cell->layer_count; l++)
                cell->layers[l].phase[pass] = times[pass] + l * PHASE_COUNT;
        }
    for (size_t e = 0; e < cell->entry_count; e++) {
        const struct report_entry *entry = &cell->entries[e];
        if (entry->scope < 0 || !times[entry->pass])
            continue;
        struct report_layer_phase *time = &times[entry->pass][(size_t)entry->scope * PHASE_COUNT + entry->phase];
        const double steps = (double)cell->passes[entry->pass].profiled_steps;
        const double total = (double)entry->total_ns / steps;
        time->calls += entry->calls;
        time->exclusive_ns += total;
        time->inclusive_ns += total;
        time->flops += entry->flops / steps;
        time->bytes += entry->bytes / steps;
    }
    /* Children come after their parents: one sweep from the end carries everything up. */
    for (size_t l = cell->layer_count; l-- > 0;) {
        const int32_t parent = cell->layers[l].parent;
        for (int pass = 0; parent >= 0 && pass < PASS_COUNT; pass++)
            for (int phase = 0; times[pass] && phase < PHASE_COUNT; phase++) {
                const struct report_layer_phase *from = &times[pass][l * PHASE_COUNT + (size_t)phase];
                struct report_layer_phase *to = &times[pass][(size_t)parent * PHASE_COUNT + (size_t)phase];
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
    for (int pass = 0; pass < PASS_COUNT; pass++)
        if (cell->passes[pass].present)
            pass_derive(&cell->passes[pass]);
    rows_derive(cell);
}
