/* Layers and memory of a cell: what the plan says before anything runs, and what was measured of the whole process. */
#include "base/limits.h"
#include "report/build.h"
#include <stdlib.h>
#include <string.h>

#define LARGEST 64

static uint64_t plus(uint64_t a, uint64_t b)
{
    return is_known_u64(b) ? (is_known_u64(a) ? a + b : b) : a;
}

static void build_layers(struct report_cell *cell, const struct places *places)
{
    cell->layer_count = places->scopes.count;
    cell->layers = arena_array(&cell->fixed, struct report_layer, cell->layer_count + 1);
    for (size_t s = 0; s < cell->layer_count; s++) {
        const struct place_scope *scope = &places->scopes.items[s];
        cell->layers[s] = (struct report_layer){
            .path = arena_strdup(&cell->fixed, scope->path),
            .name = arena_strdup(&cell->fixed, scope->name),
            .parent = scope->parent,
            .depth = scope->depth,
            .saved_bytes = places->whole ? 0 : UNKNOWN_U64,
            .parameter_bytes = scope->parameter_bytes,
            .peak_bytes = {scope->peak_bytes[0], scope->peak_bytes[1]},
        };
    }
    for (size_t p = 0; p < places->list.count; p++) {
        const struct place *place = &places->list.items[p];
        if (place->scope >= 0)
            cell->layers[place->scope].saved_bytes = plus(cell->layers[place->scope].saved_bytes, place->saved_bytes);
    }
    for (size_t s = cell->layer_count; s-- > 0;) {
        const struct report_layer *layer = &cell->layers[s];
        if (layer->parent < 0)
            continue;
        struct report_layer *above = &cell->layers[layer->parent];
        above->saved_bytes = plus(above->saved_bytes, layer->saved_bytes);
        above->parameter_bytes = plus(above->parameter_bytes, layer->parameter_bytes);
        for (int way = 0; way < 2; way++)
            above->peak_bytes[way] = report_highest(above->peak_bytes[way], layer->peak_bytes[way]);
    }
}

/* Live bytes after each node by kind: +bytes at a tensor's first node, −bytes after its last. */
static void build_curve(struct report_memory *memory, const struct plan *plan, struct arena *arena)
{
    const int32_t nodes = plan->node_count;
    memory->curve = arena_array(arena, uint64_t, (size_t)(nodes + 1) * TENSOR_KIND_COUNT);
    memory->curve_phase = arena_array(arena, uint8_t, nodes + 1);
    memory->curve_count = nodes;
    for (int32_t t = 0; t < plan->tensor_count; t++) {
        const struct tensor *tensor = &plan->tensors[t];
        /* A gradient comes to life when backward writes it, each for itself: before, activations may lie in its place. */
        const bool gradient = tensor->kind == TENSOR_GRADIENT;
        if (gradient ? tensor->parameter == TENSOR_NONE : tensor->view_of != TENSOR_NONE)
            continue;
        const bool kept = tensor_kind_persists(tensor->kind) && !gradient;
        const int32_t first = kept || tensor->first_node < 0 ? 0 : tensor->first_node;
        if (first >= nodes)
            continue;
        memory->curve[(size_t)first * TENSOR_KIND_COUNT + tensor->kind] += tensor->bytes;
        if (!kept && tensor->last_node >= 0 && tensor->last_node + 1 < nodes)
            memory->curve[(size_t)(tensor->last_node + 1) * TENSOR_KIND_COUNT + tensor->kind] -= tensor->bytes;
    }
    for (int32_t n = 0; n < nodes; n++) {
        memory->curve_phase[n] = (uint8_t)plan->nodes[n].phase;
        for (int kind = 0; n > 0 && kind < TENSOR_KIND_COUNT; kind++)
            memory->curve[(size_t)n * TENSOR_KIND_COUNT + (size_t)kind] +=
                memory->curve[(size_t)(n - 1) * TENSOR_KIND_COUNT + (size_t)kind];
    }
}

static int by_bytes(const void *a, const void *b)
{
    const struct tensor *x = *(const struct tensor *const *)a, *y = *(const struct tensor *const *)b;
    if (x->bytes != y->bytes)
        return x->bytes > y->bytes ? -1 : 1;
    return x < y ? -1 : x > y;
}

/* A tensor that stands for itself: not a view, and of the parameters and what belongs to them each one, not the region. */
static bool is_single(const struct tensor *tensor)
{
    switch (tensor->kind) {
    case TENSOR_PARAMETER:
    case TENSOR_PARAMETER_COPY:
    case TENSOR_GRADIENT:
    case TENSOR_OPTIMIZER:
        return tensor->parameter != TENSOR_NONE;
    default:
        return tensor->view_of == TENSOR_NONE;
    }
}

/* `scopes`: how many layers the cell has; they are the plan's when there are as many. */
static void build_largest(struct report_memory *memory, const struct plan *plan, size_t scopes, struct arena *arena)
{
    const bool same = scopes == (size_t)plan->scope_count;
    const struct tensor **tensors = malloc(((size_t)plan->tensor_count + 1) * sizeof *tensors);
    size_t count = 0;
    if (!tensors)
        memory_exhausted((size_t)plan->tensor_count, "tensors");
    for (int32_t t = 0; t < plan->tensor_count; t++)
        if (is_single(&plan->tensors[t]))
            tensors[count++] = &plan->tensors[t];
    qsort(tensors, count, sizeof *tensors, by_bytes);
    memory->largest_count = count < LARGEST ? count : LARGEST;
    memory->largest = arena_array(arena, struct report_tensor, memory->largest_count + 1);
    for (size_t i = 0; i < memory->largest_count; i++)
        memory->largest[i] = (struct report_tensor){arena_strdup(arena, tensors[i]->name), tensors[i]->kind,
                                                    tensors[i]->bytes, same ? tensors[i]->scope : -1};
    free(tensors);
}

static void build_memory(struct report_cell *cell, const struct plan *plan)
{
    struct report_memory *memory = &cell->memory;
    const int32_t peak = plan->memory.peak_node;
    memcpy(memory->by_kind, plan->memory.by_kind, sizeof memory->by_kind);
    memory->planned_total = plan->memory.total;
    memory->planned_peak_live = plan->memory.peak_live;
    if (peak >= 0 && peak < plan->node_count) {
        const struct node *node = &plan->nodes[peak];
        memory->peak_at = arena_printf(&cell->fixed, "%s %s %s", phase_name(node->phase),
                                       node->scope >= 0 ? plan->scopes[node->scope].path : "", op_info(node->op)->name);
    }
    if (!cell->requested.memory)
        return;
    build_curve(memory, plan, &cell->fixed);
    build_largest(memory, plan, cell->layer_count, &cell->fixed);
}

static void clear_memory(struct report_memory *memory)
{
    *memory = (struct report_memory){.peak_at = "", .planned_total = UNKNOWN_U64, .planned_peak_live = UNKNOWN_U64};
    for (int kind = 0; kind < TENSOR_KIND_COUNT; kind++)
        memory->by_kind[kind] = UNKNOWN_U64;
}

/* The plan that the worker named, built once more from the cell: only for the ledger of memory and the step's FLOPs. NULL when this
 * program does not build the same one. */
static struct plan *plan_again(const struct run *run, unsigned *fired)
{
    struct plan_request request;
    struct plan_result result;
    struct error error = {0};
    cell_plan_request(&run->cell, run->plan.fusions, &request);
    request.overlap = run->plan.overlap;
    struct plan *plan = plan_build(&request, &result, &error);
    if (plan && plan->digest != run->plan.digest) {
        plan_free(plan);
        plan = NULL;
    }
    *fired = plan ? result.fired : 0;
    return plan;
}

static void build_step_flops(struct report_cell *cell, const struct plan *plan)
{
    for (int pass = 0; pass < PASS_COUNT; pass++) {
        cell->flops[pass] = UNKNOWN_DOUBLE;
        if (!plan || !(cell->requested.passes >> pass & 1))
            continue;
        cell->flops[pass] = 0;
        for (int32_t n = 0; n < plan->node_count; n++)
            if (pass_phases((enum pass)pass) >> plan->nodes[n].phase & 1)
                cell->flops[pass] += plan->nodes[n].flops;
    }
}

/* Of a program that is attached to: what is known of its places, all in a step of its one kind. */
static void build_places_flops(struct report_cell *cell, const struct places *places)
{
    double sum = 0;
    for (size_t i = 0; i < places->list.count; i++)
        sum += is_known(places->list.items[i].flops) ? places->list.items[i].flops : 0;
    if (sum > 0)
        cell->flops[PASS_TRAIN_STEP] = sum;
}

void cell_build_plan(struct report_cell *cell, const struct run *run)
{
    const struct rank *rank = run_lead(run);
    const uint64_t digest = run->plan.known ? run->plan.digest : 0;
    if (digest != cell->plan_digest || !cell->layers || cell->layer_count != rank->places.scopes.count ||
        cell->place_count != rank->places.list.count + rank->places.works + rank->places.peaks) {
        struct plan *plan = run->plan.known ? plan_again(run, &cell->fired) : NULL;
        arena_release(&cell->fixed);
        clear_memory(&cell->memory);
        cell->plan_digest = digest;
        cell->place_count = rank->places.list.count + rank->places.works + rank->places.peaks;
        build_layers(cell, &rank->places);
        build_step_flops(cell, plan);
        if (!plan && run->command)
            build_places_flops(cell, &rank->places);
        if (plan)
            build_memory(cell, plan);
        plan_free(plan);
    }
    cell->memory.workspace = run->plan.known ? run->workspace_bytes : UNKNOWN_U64;
    cell->memory.resident_peak = rank->resident_peak;
    cell->memory.resident_base = rank->resident_base;
    cell->memory.device_free = rank->device.name[0] ? rank->device.free_bytes : UNKNOWN_U64;
}
