/* Reading a plan: finding tensors, checking the plan's rules, its digest. */
#include "kernels/plan.h"
#include "base/hash.h"
#include "base/system.h"
#include "kernels/ops.h"
#include <stdlib.h>
#include <string.h>

int32_t plan_find_tensor(const struct plan *plan, const char *name)
{
    for (int32_t i = 0; i < plan->tensor_count; i++)
        if (strcmp(plan->tensors[i].name, name) == 0)
            return i;
    return TENSOR_NONE;
}

int32_t plan_storage(const struct plan *plan, int32_t tensor)
{
    while (plan->tensors[tensor].view_of != TENSOR_NONE)
        tensor = plan->tensors[tensor].view_of;
    return tensor;
}

bool tensor_kind_persists(enum tensor_kind kind)
{
    return kind != TENSOR_SAVED && kind != TENSOR_SCRATCH;
}

static bool node_fails(const struct plan *plan, int32_t index, struct error *error)
{
    const struct node *node = &plan->nodes[index];
    const char *op = node->op < OP_COUNT ? op_info(node->op)->name : "unknown op";
    const char *scope = node->scope >= 0 && node->scope < plan->scope_count ? plan->scopes[node->scope].path : "?";
    return error_prefix(error, "plan node %d (%s %s %s)", index, phase_name(node->phase), scope, op);
}

static bool check_scopes(const struct plan *plan, struct error *error)
{
    for (int32_t i = 0; i < plan->scope_count; i++) {
        const struct scope *scope = &plan->scopes[i];
        if (i == 0 ? scope->parent != -1 : scope->parent < 0 || scope->parent >= i)
            return error_set(error, ERROR_INTERNAL, "plan scope %d (%s) has parent %d", i, scope->path, scope->parent);
    }
    return plan->scope_count > 0 || error_set(error, ERROR_INTERNAL, "the plan has no scopes");
}

static bool check_phases(const struct plan *plan, struct error *error)
{
    if (plan->phase_first[0] != 0 || plan->phase_first[PHASE_COUNT] != plan->node_count)
        return error_set(error, ERROR_INTERNAL, "the plan's phases do not cover its nodes");
    for (int phase = 0; phase < PHASE_COUNT; phase++)
        for (int32_t i = plan->phase_first[phase]; i < plan->phase_first[phase + 1]; i++)
            if (plan->nodes[i].phase != (enum phase)phase)
                return error_set(error, ERROR_INTERNAL, "plan node %d is of phase %s but stands among those of %s", i,
                                 phase_name(plan->nodes[i].phase), phase_name((enum phase)phase));
    return true;
}

static bool check_tensor(const struct plan *plan, int32_t index, struct error *error)
{
    const struct tensor *tensor = &plan->tensors[index];
    if (tensor->rank < 1 || tensor->rank > TENSOR_MAX_RANK)
        return error_set(error, ERROR_INTERNAL, "plan tensor %s has rank %d", tensor->name, tensor->rank);
    for (int i = 0; i < tensor->rank; i++)
        if (tensor->shape[i] < 1)
            return error_set(error, ERROR_INTERNAL, "plan tensor %s has an axis of %lld", tensor->name,
                             (long long)tensor->shape[i]);
    if (tensor->bytes != (uint64_t)tensor_elements(tensor) * dtype_size(tensor->dtype))
        return error_set(error, ERROR_INTERNAL, "plan tensor %s: %llu bytes do not agree with its shape", tensor->name,
                         (unsigned long long)tensor->bytes);
    if (tensor->view_of == TENSOR_NONE) {
        if (tensor->offset % PLAN_ALIGNMENT || tensor->offset + tensor->bytes > plan->memory.total)
            return error_set(error, ERROR_INTERNAL, "plan tensor %s lies unaligned or outside the arena", tensor->name);
        return true;
    }
    if (tensor->view_of < 0 || tensor->view_of >= plan->tensor_count || tensor->view_of == index)
        return error_set(error, ERROR_INTERNAL, "plan tensor %s is a view of tensor %d", tensor->name, tensor->view_of);
    const struct tensor *whole = &plan->tensors[tensor->view_of];
    /* A column slice reaches to the end of its last row; it has rows of row_stride elements. */
    uint64_t extent = tensor->bytes;
    if (tensor->row_stride) {
        const int64_t width = tensor->shape[tensor->rank - 1], rows = tensor_elements(tensor) / width;
        extent = (uint64_t)((rows - 1) * tensor->row_stride + width) * dtype_size(tensor->dtype);
    }
    if (tensor->view_offset + extent > whole->bytes || tensor->offset != whole->offset + tensor->view_offset)
        return error_set(error, ERROR_INTERNAL, "plan tensor %s does not lie inside %s", tensor->name, whole->name);
    return true;
}

/* Tensors that share one storage, as lists, and which of them hold values so far. */
struct storage_map {
    int32_t *root, *first, *next; /* per tensor: its storage; per storage: a list of the tensors on it */
    bool *written;
    int32_t *first_use, *last_use; /* per storage */
};

static bool storage_map_make(const struct plan *plan, struct storage_map *map)
{
    const size_t count = (size_t)plan->tensor_count + 1;
    map->root = malloc(count * sizeof *map->root);
    map->first = malloc(count * sizeof *map->first);
    map->next = malloc(count * sizeof *map->next);
    map->first_use = malloc(count * sizeof *map->first_use);
    map->last_use = malloc(count * sizeof *map->last_use);
    map->written = calloc(count, sizeof *map->written);
    if (!map->root || !map->first || !map->next || !map->first_use || !map->last_use || !map->written)
        return false;
    for (int32_t i = 0; i < plan->tensor_count; i++) {
        map->first[i] = map->first_use[i] = map->last_use[i] = -1;
    }
    for (int32_t i = plan->tensor_count - 1; i >= 0; i--) {
        const int32_t root = plan_storage(plan, i);
        map->root[i] = root;
        map->next[i] = map->first[root];
        map->first[root] = i;
    }
    return true;
}

static void storage_map_free(struct storage_map *map)
{
    free(map->root);
    free(map->first);
    free(map->next);
    free(map->first_use);
    free(map->last_use);
    free(map->written);
}

static bool tensor_inside(const struct tensor *inner, const struct tensor *outer)
{
    return inner->offset >= outer->offset && inner->offset + inner->bytes <= outer->offset + outer->bytes;
}

static bool tensors_meet(const struct tensor *a, const struct tensor *b)
{
    return a->offset < b->offset + b->bytes && b->offset < a->offset + a->bytes;
}

/* Does the tensor hold values: itself, as a part of one that was written, or by all its parts having been written? Gaps
 * between the parts are the region's alignment and have no meaning. */
static bool tensor_holds_values(const struct plan *plan, const struct storage_map *map, int32_t tensor)
{
    const struct tensor *wanted = &plan->tensors[tensor];
    switch (plan->tensors[map->root[tensor]].kind) {
    case TENSOR_INPUT:
    case TENSOR_CONSTANT:
    case TENSOR_PARAMETER:
    case TENSOR_PARAMETER_COPY:
    case TENSOR_OPTIMIZER:
        return true;
    default:
        break;
    }
    bool parts = false, all_parts = true;
    for (int32_t i = map->first[map->root[tensor]]; i >= 0; i = map->next[i]) {
        const struct tensor *other = &plan->tensors[i];
        if (map->written[i] && tensor_inside(wanted, other))
            return true;
        if (i != tensor && other->bytes < wanted->bytes && tensor_inside(other, wanted)) {
            parts = true;
            bool held = map->written[i];
            for (int32_t j = map->first[map->root[tensor]]; j >= 0 && !held; j = map->next[j])
                held = map->written[j] && (tensor_inside(other, &plan->tensors[j]));
            /* A group stands for its members: its own flag is unset when they were written one by one. */
            if (!held && plan->tensors[i].parameter != TENSOR_NONE)
                all_parts = false;
        }
    }
    return parts && all_parts;
}

static bool check_use(const struct plan *plan, struct storage_map *map, int32_t node, int32_t tensor,
                      struct error *error)
{
    const struct tensor *used = &plan->tensors[tensor];
    if (node < used->first_node || node > used->last_node)
        return error_set(error, ERROR_INTERNAL, "%s is used outside its lifetime, nodes %d to %d", used->name,
                         used->first_node, used->last_node);
    const int32_t root = map->root[tensor];
    if (map->first_use[root] < 0)
        map->first_use[root] = node;
    map->last_use[root] = node;
    return true;
}

/* Outputs may share storage with inputs where the op works in place; otherwise they are apart. */
static bool check_aliasing(const struct plan *plan, const struct node *node, struct error *error)
{
    const bool in_place = node->op == OP_ADAMW || node->op == OP_ADAMW_ALL || node->op == OP_CROSS_ENTROPY_FUSED ||
                          node->op == OP_CROSS_ENTROPY_BACKWARD || op_info(node->op)->kernel_class == CLASS_COLLECTIVE;
    for (int o = 0; o < NODE_MAX_OUTPUTS && !in_place; o++)
        for (int i = 0; i < NODE_MAX_INPUTS && node->output[o] != TENSOR_NONE; i++)
            if (node->input[i] != TENSOR_NONE &&
                tensors_meet(&plan->tensors[node->output[o]], &plan->tensors[node->input[i]]))
                return error_set(error, ERROR_INTERNAL, "output %s lies over input %s",
                                 plan->tensors[node->output[o]].name, plan->tensors[node->input[i]].name);
    for (int o = 0; o < NODE_MAX_OUTPUTS; o++)
        for (int p = o + 1; p < NODE_MAX_OUTPUTS; p++)
            if (node->output[o] != TENSOR_NONE && node->output[p] != TENSOR_NONE &&
                tensors_meet(&plan->tensors[node->output[o]], &plan->tensors[node->output[p]]))
                return error_set(error, ERROR_INTERNAL, "outputs %s and %s overlap",
                                 plan->tensors[node->output[o]].name, plan->tensors[node->output[p]].name);
    return true;
}

/* No device multiplies operands of two types. */
static bool check_product(const struct plan *plan, const struct node *node, struct error *error)
{
    const enum kernel_class class = op_info(node->op)->kernel_class;
    if (class != CLASS_MATMUL && (class != CLASS_ATTENTION || node->op == OP_ATTENTION))
        return true;
    const struct tensor *a = &plan->tensors[node->input[0]], *b = &plan->tensors[node->input[1]];
    return a->dtype == b->dtype || error_set(error, ERROR_INTERNAL, "%s and %s differ in type", a->name, b->name);
}

static bool check_node(const struct plan *plan, struct storage_map *map, int32_t index, struct error *error)
{
    const struct node *node = &plan->nodes[index];
    if (node->op >= OP_COUNT)
        return error_set(error, ERROR_INTERNAL, "op %d does not exist", (int)node->op);
    if (node->scope < 0 || node->scope >= plan->scope_count)
        return error_set(error, ERROR_INTERNAL, "scope %d does not exist", node->scope);
    if (!op_check_shapes(plan, node, error) || !check_product(plan, node, error) || !check_aliasing(plan, node, error))
        return false;
    for (int i = 0; i < NODE_MAX_INPUTS; i++) {
        const int32_t tensor = node->input[i];
        if (tensor == TENSOR_NONE)
            continue;
        if (!check_use(plan, map, index, tensor, error))
            return false;
        if (!tensor_holds_values(plan, map, tensor))
            return error_set(error, ERROR_INTERNAL, "%s is read before anything wrote it", plan->tensors[tensor].name);
    }
    for (int i = 0; i < NODE_MAX_OUTPUTS; i++) {
        const int32_t tensor = node->output[i];
        if (tensor == TENSOR_NONE)
            continue;
        if (!check_use(plan, map, index, tensor, error))
            return false;
        const enum tensor_kind kind = plan->tensors[map->root[tensor]].kind;
        if (kind == TENSOR_INPUT || kind == TENSOR_CONSTANT)
            return error_set(error, ERROR_INTERNAL, "%s is an input and is written", plan->tensors[tensor].name);
        map->written[tensor] = true;
    }
    if (!(node->flops >= 0) || !(node->bytes > 0))
        return error_set(error, ERROR_INTERNAL, "FLOPs or bytes are not filled in");
    return true;
}

static int compare_offsets(const void *left, const void *right, void *context)
{
    const struct plan *plan = context;
    const struct tensor *a = &plan->tensors[*(const int32_t *)left], *b = &plan->tensors[*(const int32_t *)right];
    return a->offset < b->offset ? -1 : a->offset > b->offset;
}

/* No two storages share bytes while both live. */
static bool check_overlap(const struct plan *plan, const struct storage_map *map, struct error *error)
{
    int32_t *order = malloc(((size_t)plan->tensor_count + 1) * sizeof *order);
    if (!order)
        return error_set(error, ERROR_MEMORY, "no memory to check a plan of %d tensors", plan->tensor_count);
    int32_t count = 0;
    for (int32_t i = 0; i < plan->tensor_count; i++) {
        /* The region of gradients comes to life part by part. */
        const bool gradient = plan->tensors[map->root[i]].kind == TENSOR_GRADIENT;
        if (gradient ? plan->tensors[i].parameter != TENSOR_NONE : map->root[i] == i)
            order[count++] = i;
    }
    sort_with(order, (size_t)count, sizeof *order, compare_offsets, (void *)plan);
    bool ok = true;
    for (int32_t i = 0; i < count && ok; i++) {
        const struct tensor *a = &plan->tensors[order[i]];
        for (int32_t j = i + 1; j < count && ok; j++) {
            const struct tensor *b = &plan->tensors[order[j]];
            if (b->offset >= a->offset + a->bytes)
                break;
            if (a->first_node <= b->last_node && b->first_node <= a->last_node)
                ok = error_set(error, ERROR_INTERNAL,
                               "plan tensors %s (nodes %d to %d) and %s (nodes %d to %d) share memory while both live",
                               a->name, a->first_node, a->last_node, b->name, b->first_node, b->last_node);
        }
    }
    free(order);
    return ok;
}

bool plan_check(const struct plan *plan, struct error *error)
{
    struct storage_map map = {0};
    bool ok = check_scopes(plan, error) && check_phases(plan, error);
    for (int32_t i = 0; i < plan->tensor_count && ok; i++)
        ok = check_tensor(plan, i, error);
    if (ok && !storage_map_make(plan, &map))
        ok = error_set(error, ERROR_MEMORY, "no memory to check a plan of %d tensors", plan->tensor_count);
    for (int32_t i = 0; i < plan->node_count && ok; i++)
        ok = check_node(plan, &map, i, error) || node_fails(plan, i, error);
    ok = ok && check_overlap(plan, &map, error);
    storage_map_free(&map);
    return ok;
}

/* Field by field: padding between fields is not part of a plan. */
#define DIGEST(value) digest = hash_bytes(digest, &(value), sizeof(value))
uint64_t plan_digest(const struct plan *plan)
{
    uint64_t digest = HASH_START;
    for (int32_t i = 0; i < plan->tensor_count; i++) {
        const struct tensor *tensor = &plan->tensors[i];
        digest = hash_bytes(digest, tensor->name, strlen(tensor->name) + 1);
        DIGEST(tensor->dtype), DIGEST(tensor->kind), DIGEST(tensor->rank), DIGEST(tensor->shape),
            DIGEST(tensor->offset);
        DIGEST(tensor->view_of), DIGEST(tensor->row_stride), DIGEST(tensor->parameter);
    }
    for (int32_t i = 0; i < plan->node_count; i++) {
        const struct node *node = &plan->nodes[i];
        DIGEST(node->op), DIGEST(node->phase), DIGEST(node->scope), DIGEST(node->recompute), DIGEST(node->input);
        DIGEST(node->output), DIGEST(node->dims), DIGEST(node->epsilon), DIGEST(node->scale), DIGEST(node->adamw),
            DIGEST(node->aside);
    }
    for (int32_t i = 0; i < plan->scope_count; i++)
        digest = hash_bytes(digest, plan->scopes[i].path, strlen(plan->scopes[i].path) + 1);
    DIGEST(plan->precision), DIGEST(plan->memory.total), DIGEST(plan->batch), DIGEST(plan->context),
        DIGEST(plan->vocab), DIGEST(plan->ranks);
    return digest;
}
#undef DIGEST

void plan_free(struct plan *plan)
{
    if (!plan)
        return;
    free(plan->tensors);
    free(plan->nodes);
    free(plan->scopes);
    struct arena arena = plan->arena;
    arena_release(&arena);
    free(plan);
}
