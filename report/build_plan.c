/* Layers and memory of a cell: what the plan says before anything runs, and what was measured of the whole process. */
#include "report/build.h"
#include <stdlib.h>
#include <string.h>

#define LARGEST 64

static void build_layers(struct report_cell *cell, const struct plan *plan)
{
    cell->layer_count = (size_t)plan->scope_count;
    cell->layers = arena_array(&cell->fixed, struct report_layer, cell->layer_count + 1);
    for (size_t s = 0; s < cell->layer_count; s++) {
        const struct scope *scope = &plan->scopes[s];
        cell->layers[s] = (struct report_layer){
            .path = arena_strdup(&cell->fixed, scope->path),
            .name = arena_strdup(&cell->fixed, scope->name),
            .parent = scope->parent,
            .depth = scope->depth,
        };
    }
    for (int32_t t = 0; t < plan->tensor_count; t++) {
        const struct tensor *tensor = &plan->tensors[t];
        if (tensor->scope < 0 || tensor->scope >= plan->scope_count)
            continue;
        if (tensor->kind == TENSOR_SAVED && tensor->view_of == TENSOR_NONE)
            cell->layers[tensor->scope].saved_bytes += tensor->bytes;
        if (tensor->kind == TENSOR_PARAMETER && tensor->parameter == t)
            cell->layers[tensor->scope].parameter_bytes += tensor->bytes;
    }
    for (size_t s = cell->layer_count; s-- > 1;)
        if (cell->layers[s].parent >= 0) {
            cell->layers[cell->layers[s].parent].saved_bytes += cell->layers[s].saved_bytes;
            cell->layers[cell->layers[s].parent].parameter_bytes += cell->layers[s].parameter_bytes;
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

static void build_largest(struct report_memory *memory, const struct plan *plan, struct arena *arena)
{
    const struct tensor **tensors = malloc(((size_t)plan->tensor_count + 1) * sizeof *tensors);
    size_t count = 0;
    if (!tensors)
        abort();
    for (int32_t t = 0; t < plan->tensor_count; t++)
        if (is_single(&plan->tensors[t]))
            tensors[count++] = &plan->tensors[t];
    qsort(tensors, count, sizeof *tensors, by_bytes);
    memory->largest_count = count < LARGEST ? count : LARGEST;
    memory->largest = arena_array(arena, struct report_tensor, memory->largest_count + 1);
    for (size_t i = 0; i < memory->largest_count; i++)
        memory->largest[i] = (struct report_tensor){arena_strdup(arena, tensors[i]->name), tensors[i]->kind,
                                                    tensors[i]->bytes, tensors[i]->scope};
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
    build_largest(memory, plan, &cell->fixed);
}

static void clear_memory(struct report_memory *memory)
{
    *memory = (struct report_memory){.peak_at = "", .planned_total = UNKNOWN_U64, .planned_peak_live = UNKNOWN_U64};
    for (int kind = 0; kind < TENSOR_KIND_COUNT; kind++)
        memory->by_kind[kind] = UNKNOWN_U64;
}

void cell_build_plan(struct report_cell *cell, const struct run *run)
{
    const struct plan *plan = run->plan;
    if (!plan || plan->digest != cell->plan_digest || !cell->layers) {
        arena_release(&cell->fixed);
        clear_memory(&cell->memory);
        cell->layers = NULL;
        cell->layer_count = 0;
        cell->plan_digest = plan ? plan->digest : 0;
        for (int pass = 0; pass < PASS_COUNT; pass++)
            cell->flops[pass] = UNKNOWN_DOUBLE;
        if (plan) {
            build_layers(cell, plan);
            build_memory(cell, plan);
            for (int pass = 0; pass < PASS_COUNT; pass++) {
                cell->flops[pass] = 0;
                for (int32_t n = 0; n < plan->node_count; n++)
                    if (pass_phases((enum pass)pass) >> plan->nodes[n].phase & 1)
                        cell->flops[pass] += plan->nodes[n].flops;
                if (!(cell->requested.passes >> pass & 1))
                    cell->flops[pass] = UNKNOWN_DOUBLE;
            }
        }
    }
    cell->memory.workspace = plan ? run->workspace_bytes : UNKNOWN_U64;
    cell->memory.resident_peak = run->resident_peak;
    cell->memory.resident_base = run->resident_base;
    cell->memory.device_free = run->device.name[0] ? run->device.free_bytes : UNKNOWN_U64;
}
