#include "report/diff.h"
#include "base/limits.h"
#include "base/vec.h"
#include "report/contention.h"
#include "report/markdown.h"
#include <stdlib.h>
#include <string.h>

#define FEW_CELLS 100 /* up to here every phase gets its interval */

/* For each cell of `a`, the index of its partner in `b` or -1; each partner once. Cells that asked for the same to the letter
 * come together first (a sweep over warm-ups), then those that are the same experiment. */
static int32_t *match_cells(const struct report *a, const struct report *b, bool *taken)
{
    int32_t *partner = malloc((a->cells.count + 1) * sizeof *partner);
    struct cell *keys = malloc((b->cells.count + 1) * sizeof *keys);
    if (!partner || !keys)
        memory_exhausted(a->cells.count + b->cells.count, "cells to compare");
    for (size_t i = 0; i < a->cells.count; i++)
        partner[i] = -1;
    for (int exact = 1; exact >= 0; exact--) {
        for (size_t j = 0; j < b->cells.count; j++)
            keys[j] = exact ? b->cells.items[j]->requested : experiment_of(b->cells.items[j]);
        for (size_t i = 0; i < a->cells.count; i++) {
            const struct cell key = exact ? a->cells.items[i]->requested : experiment_of(a->cells.items[i]);
            /* Two runs of one profile have their cells in the same places. */
            for (size_t n = 0; n < b->cells.count && partner[i] < 0; n++) {
                const size_t j = (i + n) % b->cells.count;
                if (taken[j] || !cell_equal(&key, &keys[j]))
                    continue;
                partner[i] = (int32_t)j;
                taken[j] = true;
            }
        }
    }
    free(keys);
    return partner;
}

static void diff_steps(struct diff *diff, struct diff_cell *cell)
{
    cell->steps = arena_array(&diff->arena, struct diff_row, PASS_COUNT * (PHASE_COUNT + 1));
    for (int p = 0; p < PASS_COUNT; p++) {
        const struct report_pass *a = &cell->a->passes[p], *b = &cell->b->passes[p];
        bool changed = diff->few;
        for (int n = 0; n <= PHASE_COUNT && a->present && b->present; n++) {
            const int phase = n == 0 ? PHASE_COUNT : n - 1; /* the whole pass first */
            const struct report_phase *x = &a->phases[phase], *y = &b->phases[phase];
            if (!x->summary.n || !y->summary.n)
                continue;
            struct diff_row *row = &cell->steps[cell->step_count++];
            *row = (struct diff_row){
                .name = phase == PHASE_COUNT ? "total" : phase_name((enum phase)phase),
                .pass = (uint8_t)p,
                .phase = (uint8_t)phase,
                .a_ns = (is_known(x->summary.median) ? x->summary.median : x->summary.mean) * cell->scale_a,
                .b_ns = (is_known(y->summary.median) ? y->summary.median : y->summary.mean) * cell->scale_b,
            };
            /* In a large sweep the parts of a pass get an interval only where the pass as a whole changed. */
            row->ratio = phase == PHASE_COUNT || changed ? compare_phases(x, y) : compare_medians(x, y);
            row->ratio.median *= cell->scale_b / cell->scale_a;
            row->ratio.low *= cell->scale_b / cell->scale_a;
            row->ratio.high *= cell->scale_b / cell->scale_a;
            row->verdict = compare_verdict(&row->ratio, diff->threshold);
            if (phase != PHASE_COUNT)
                continue;
            changed = diff->few || row->verdict == VERDICT_SLOWER || row->verdict == VERDICT_FASTER;
            diff->verdicts[row->verdict]++;
            cell->regression = cell->regression || row->verdict == VERDICT_SLOWER;
        }
    }
}

static bool has_rows(const struct report_pass *pass)
{
    return pass->present && pass->profiled_steps && !pass->warmup_rows;
}

/* The longest pass that both profiled; -1. */
static int common_pass(const struct diff_cell *cell)
{
    for (int pass = PASS_COUNT - 1; pass >= 0; pass--)
        if (has_rows(&cell->a->passes[pass]) && has_rows(&cell->b->passes[pass]))
            return pass;
    return -1;
}

static int by_name(const void *a, const void *b)
{
    const struct report_kernel *x = *(const struct report_kernel *const *)a,
                               *y = *(const struct report_kernel *const *)b;
    if (x->phase != y->phase)
        return x->phase < y->phase ? -1 : 1;
    if (x->kernel_class != y->kernel_class)
        return x->kernel_class < y->kernel_class ? -1 : 1;
    return strcmp(x->name, y->name);
}

static const struct report_kernel **sorted_kernels(const struct report_cell *cell, int pass, size_t *count)
{
    const struct report_kernel **kernels = malloc((cell->kernel_count + 1) * sizeof *kernels);
    if (!kernels)
        memory_exhausted(cell->kernel_count, "kernels to compare");
    *count = 0;
    for (size_t k = 0; k < cell->kernel_count; k++)
        if (cell->kernels[k].pass == pass && cell->kernels[k].calls)
            kernels[(*count)++] = &cell->kernels[k];
    qsort(kernels, *count, sizeof *kernels, by_name);
    return kernels;
}

/* Variance of each kernel's time a step: the sum over its layers of calls · sd² / steps². The spread between layers is no
 * noise: a linear layer and the head run the same kernel for different times. */
static double *kernel_variances(const struct report_cell *cell, int pass)
{
    double *variance = calloc(cell->kernel_count + 1, sizeof *variance);
    const double steps = pass_steps(&cell->passes[pass]);
    if (!variance)
        memory_exhausted(cell->kernel_count, "kernels to compare");
    for (size_t e = 0; e < cell->entry_count; e++)
        variance[cell->entries[e].kernel] +=
            cell->entries[e].sd_ns * cell->entries[e].sd_ns * (double)cell->entries[e].calls / (steps * steps);
    return variance;
}

static void diff_kernels(struct diff *diff, struct diff_cell *cell, int pass)
{
    size_t count_a, count_b;
    const struct report_kernel **a = sorted_kernels(cell->a, pass, &count_a),
                               **b = sorted_kernels(cell->b, pass, &count_b);
    const double steps_a = pass_steps(&cell->a->passes[pass]), steps_b = pass_steps(&cell->b->passes[pass]);
    double *variance_a = kernel_variances(cell->a, pass), *variance_b = kernel_variances(cell->b, pass);
    cell->kernels = arena_array(&diff->arena, struct diff_row, count_a + count_b + 1);
    for (size_t i = 0, j = 0; i < count_a || j < count_b;) {
        const int order = i == count_a ? 1 : j == count_b ? -1 : by_name(&a[i], &b[j]);
        struct diff_row *row = &cell->kernels[cell->kernel_count++];
        *row = (struct diff_row){
            .name = order > 0 ? b[j]->name : a[i]->name,
            .pass = (uint8_t)pass,
            .phase = order > 0 ? b[j]->phase : a[i]->phase,
            .a_ns = order > 0 ? UNKNOWN_DOUBLE : (double)a[i]->total_ns / steps_a * cell->scale_a,
            .b_ns = order < 0 ? UNKNOWN_DOUBLE : (double)b[j]->total_ns / steps_b * cell->scale_b,
            .ratio = {UNKNOWN_DOUBLE, UNKNOWN_DOUBLE, UNKNOWN_DOUBLE, 0, 0},
            .verdict = VERDICT_UNCLEAR,
        };
        if (order) {
            i += order < 0;
            j += order > 0;
            continue;
        }
        row->ratio = compare_means(row->a_ns, sqrt(variance_a[a[i] - cell->a->kernels]) * cell->scale_a, row->b_ns,
                                   sqrt(variance_b[b[j] - cell->b->kernels]) * cell->scale_b, cell->row_steps);
        row->verdict = compare_verdict(&row->ratio, diff->threshold);
        i++;
        j++;
    }
    free(a);
    free(b);
    free(variance_a);
    free(variance_b);
}

/* Variance of each layer's inclusive time a step, by phase: the sum of its entries', carried up the tree. */
static double *layer_variances(const struct report_cell *cell, int pass)
{
    double *variance = calloc((cell->layer_count + 1) * PLACE_PHASE_COUNT, sizeof *variance);
    const double steps = pass_steps(&cell->passes[pass]);
    if (!variance)
        memory_exhausted(cell->layer_count, "layers to compare");
    for (size_t e = 0; e < cell->entry_count; e++) {
        const struct report_entry *entry = &cell->entries[e];
        if (entry->pass == pass && entry->scope >= 0)
            variance[(size_t)entry->scope * PLACE_PHASE_COUNT + entry->phase] +=
                entry->sd_ns * entry->sd_ns * (double)entry->calls / (steps * steps);
    }
    for (size_t l = cell->layer_count; l-- > 0;)
        for (int phase = 0; cell->layers[l].parent >= 0 && phase < PLACE_PHASE_COUNT; phase++)
            variance[(size_t)cell->layers[l].parent * PLACE_PHASE_COUNT + (size_t)phase] +=
                variance[l * PLACE_PHASE_COUNT + (size_t)phase];
    return variance;
}

static int by_path(const void *a, const void *b)
{
    return strcmp((*(const struct report_layer *const *)a)->path, (*(const struct report_layer *const *)b)->path);
}

static const struct report_layer **sorted_layers(const struct report_cell *cell)
{
    const struct report_layer **layers = malloc((cell->layer_count + 1) * sizeof *layers);
    if (!layers)
        memory_exhausted(cell->layer_count, "layers to compare");
    for (size_t l = 0; l < cell->layer_count; l++)
        layers[l] = &cell->layers[l];
    qsort(layers, cell->layer_count, sizeof *layers, by_path);
    return layers;
}

static void add_layer(struct diff *diff, struct diff_cell *cell, int pass, const struct report_layer *a,
                      const struct report_layer *b, const double *variance_a, const double *variance_b)
{
    const size_t index_a = (size_t)(a - cell->a->layers), index_b = (size_t)(b - cell->b->layers);
    for (int phase = 0; phase < PLACE_PHASE_COUNT; phase++) {
        const double before = a->phase[pass][phase]->inclusive_ns * cell->scale_a,
                     after = b->phase[pass][phase]->inclusive_ns * cell->scale_b;
        if (before <= 0 || after <= 0)
            continue;
        struct diff_row *row = &cell->layers[cell->layer_count++];
        *row = (struct diff_row){
            .name = b->path, .pass = (uint8_t)pass, .phase = (uint8_t)phase, .a_ns = before, .b_ns = after};
        row->ratio = compare_means(
            before, sqrt(variance_a[index_a * PLACE_PHASE_COUNT + (size_t)phase]) * cell->scale_a, after,
            sqrt(variance_b[index_b * PLACE_PHASE_COUNT + (size_t)phase]) * cell->scale_b, cell->row_steps);
        row->verdict = compare_verdict(&row->ratio, diff->threshold);
    }
}

static void diff_layers(struct diff *diff, struct diff_cell *cell, int pass)
{
    const struct report_layer **a = sorted_layers(cell->a), **b = sorted_layers(cell->b);
    double *variance_a = layer_variances(cell->a, pass), *variance_b = layer_variances(cell->b, pass);
    const size_t most = cell->a->layer_count < cell->b->layer_count ? cell->a->layer_count : cell->b->layer_count;
    cell->layers = arena_array(&diff->arena, struct diff_row, most * PLACE_PHASE_COUNT + 1);
    for (size_t i = 0, j = 0; i < cell->a->layer_count && j < cell->b->layer_count;) {
        const int order = by_path(&a[i], &b[j]);
        if (!order)
            add_layer(diff, cell, pass, a[i], b[j], variance_a, variance_b);
        i += order <= 0;
        j += order >= 0;
    }
    free(a);
    free(b);
    free(variance_a);
    free(variance_b);
}

static bool ran(const struct report_cell *cell)
{
    return cell->status == STATUS_OK || cell->status == STATUS_UNRELIABLE;
}

static void diff_pair(struct diff *diff, struct diff_cell *cell)
{
    diff->matched++;
    /* An unreliable cell ran: a noisy moment is no regression. */
    cell->status_worse = ran(cell->a) && !ran(cell->b) && cell->b->status != STATUS_SKIPPED &&
                         cell->b->status != STATUS_PENDING && cell->b->status != STATUS_INTERRUPTED;
    cell->regression = cell->status_worse;
    diff_steps(diff, cell);
    const int pass = common_pass(cell);
    if (pass >= 0) {
        const uint64_t before = cell->a->passes[pass].profiled_steps, after = cell->b->passes[pass].profiled_steps;
        cell->row_steps = before < after ? before : after;
        diff_kernels(diff, cell, pass);
        diff_layers(diff, cell, pass);
    }
    diff->regression = diff->regression || cell->regression;
}

static const char *contention_of(struct diff *diff, const struct report *report)
{
    struct strbuf text = {0};
    const char *copy = report_contention(report, &text) ? arena_strdup(&diff->arena, text.text) : NULL;
    strbuf_release(&text);
    return copy;
}

void diff_make(struct diff *diff, const struct report *a, const struct report *b, double threshold)
{
    bool *taken = calloc(b->cells.count + 1, sizeof *taken);
    if (!taken)
        memory_exhausted(b->cells.count, "cells to compare");
    *diff = (struct diff){.threshold = threshold, .few = a->cells.count <= FEW_CELLS};
    diff->cells = arena_array(&diff->arena, struct diff_cell, a->cells.count + b->cells.count + 1);
    diff->contended[0] = contention_of(diff, a);
    diff->contended[1] = contention_of(diff, b);
    int32_t *partner = match_cells(a, b, taken);
    for (size_t i = 0; i < a->cells.count; i++) {
        struct diff_cell *cell = &diff->cells[diff->cell_count++];
        cell->a = a->cells.items[i];
        cell->scale_a = cell->scale_b = 1;
        if (partner[i] >= 0) {
            cell->b = b->cells.items[partner[i]];
            diff_pair(diff, cell);
        }
    }
    for (size_t j = 0; j < b->cells.count; j++)
        if (!taken[j])
            diff->cells[diff->cell_count++].b = b->cells.items[j];
    free(partner);
    free(taken);
}

void diff_across(struct diff *diff, const struct report *report, const struct axis *axis, double threshold)
{
    *diff = (struct diff){.threshold = threshold, .few = report->cells.count <= FEW_CELLS, .axis = axis};
    diff->cells = arena_array(&diff->arena, struct diff_cell, report->cells.count + 1);
    diff->contended[0] = contention_of(diff, report);
    for (size_t i = 0; i < report->cells.count; i++) {
        const struct report_cell *after = report->cells.items[i], *before = axis_base(report, axis, after);
        const double tokens_a = before ? cell_tokens(before) : UNKNOWN_DOUBLE, tokens_b = cell_tokens(after);
        if (!before)
            continue;
        struct diff_cell *cell = &diff->cells[diff->cell_count++];
        *cell = (struct diff_cell){.a = before, .b = after, .scale_a = 1, .scale_b = 1};
        if (axis->shape) {
            cell->scale_a = 1000 / tokens_a;
            cell->scale_b = 1000 / tokens_b;
        }
        diff_pair(diff, cell);
    }
    diff->regression = false; /* nothing was before */
}

void diff_free(struct diff *diff)
{
    arena_release(&diff->arena);
    *diff = (struct diff){0};
}
