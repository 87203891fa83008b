/* Growing a plan: scopes, tensors, nodes. */
#include "model/builder.h"
#include <stdio.h>
#include <string.h>

int32_t scope_child(struct builder *builder, int32_t parent, const char *name, int32_t layer)
{
    for (size_t i = 0; i < builder->scopes.count; i++)
        if (builder->scopes.items[i].parent == parent && strcmp(builder->scopes.items[i].name, name) == 0)
            return (int32_t)i;
    struct arena *arena = &builder->plan->arena;
    struct scope scope = {.name = arena_strdup(arena, name), .parent = parent, .layer = layer};
    if (parent <= 0) {
        scope.path = scope.name;
        scope.depth = parent < 0 ? 0 : 1;
    } else {
        const struct scope *above = &builder->scopes.items[parent];
        scope.path = arena_printf(arena, "%s.%s", above->path, name);
        scope.depth = above->depth + 1;
        if (layer < 0)
            scope.layer = above->layer;
    }
    vec_push(&builder->scopes, scope);
    return (int32_t)builder->scopes.count - 1;
}

void tensor_set_dtype(struct tensor *tensor, enum dtype dtype)
{
    tensor->dtype = dtype;
    tensor->bytes = (uint64_t)tensor_elements(tensor) * dtype_size(dtype);
}

int32_t tensor_add(struct builder *builder, const char *name, enum dtype dtype, enum tensor_kind kind, int32_t scope,
                   int rank, const int64_t *shape)
{
    struct tensor tensor = {
        .name = arena_strdup(&builder->plan->arena, name),
        .kind = kind,
        .rank = rank,
        .view_of = TENSOR_NONE,
        .scope = scope,
        .parameter = TENSOR_NONE,
        .first_node = -1,
        .last_node = -1,
    };
    memcpy(tensor.shape, shape, (size_t)rank * sizeof *shape);
    tensor_set_dtype(&tensor, dtype);
    vec_push(&builder->tensors, tensor);
    return (int32_t)builder->tensors.count - 1;
}

int32_t activation_add(struct builder *builder, int32_t scope, const char *suffix, int rank, const int64_t *shape)
{
    char name[160];
    snprintf(name, sizeof name, "%s.%s", builder->scopes.items[scope].path, suffix);
    return tensor_add(builder, name, DTYPE_F32, TENSOR_SCRATCH, scope, rank, shape);
}

int32_t tensor_like(struct builder *builder, const char *prefix, int32_t tensor)
{
    const struct tensor model = builder->tensors.items[tensor];
    char name[200];
    snprintf(name, sizeof name, "%s.%s", prefix, model.name);
    return tensor_add(builder, name, model.dtype, TENSOR_SCRATCH, model.scope, model.rank, model.shape);
}

int32_t view_add(struct builder *builder, const char *name, int32_t whole, uint64_t offset, int rank,
                 const int64_t *shape)
{
    const struct tensor storage = builder->tensors.items[whole];
    const int32_t view = tensor_add(builder, name, storage.dtype, storage.kind, storage.scope, rank, shape);
    builder->tensors.items[view].view_of = whole;
    builder->tensors.items[view].view_offset = offset;
    return view;
}

struct node node_make(enum op op, int32_t scope)
{
    struct node node = {.op = op, .phase = PHASE_FWD, .scope = scope};
    for (int i = 0; i < NODE_MAX_INPUTS; i++)
        node.input[i] = TENSOR_NONE;
    for (int i = 0; i < NODE_MAX_OUTPUTS; i++)
        node.output[i] = TENSOR_NONE;
    return node;
}

void node_push(struct builder *builder, const struct node *node)
{
    vec_push(&builder->nodes, *node);
}

struct node node_elementwise(const struct builder *builder, enum op op, int32_t scope, int32_t tensor)
{
    struct node node = node_make(op, scope);
    node.dims.elements = tensor_elements(&builder->tensors.items[tensor]);
    return node;
}

void nodes_compact(struct builder *builder)
{
    size_t kept = 0;
    for (size_t i = 0; i < builder->nodes.count; i++)
        if (builder->nodes.items[i].op != OP_COUNT)
            builder->nodes.items[kept++] = builder->nodes.items[i];
    builder->nodes.count = kept;
}

int32_t node_producer(const struct builder *builder, int32_t tensor)
{
    for (size_t i = 0; i < builder->nodes.count; i++)
        for (int o = 0; o < NODE_MAX_OUTPUTS; o++)
            if (builder->nodes.items[i].op != OP_COUNT && builder->nodes.items[i].output[o] == tensor)
                return (int32_t)i;
    return -1;
}

int node_readers(const struct builder *builder, int32_t tensor)
{
    int readers = 0;
    for (size_t i = 0; i < builder->nodes.count; i++)
        for (int k = 0; k < NODE_MAX_INPUTS; k++)
            readers += builder->nodes.items[i].op != OP_COUNT && builder->nodes.items[i].input[k] == tensor;
    return readers;
}

struct parameter *parameter_of(struct builder *builder, int32_t tensor)
{
    for (size_t i = 0; i < builder->parameters.count; i++)
        if (builder->parameters.items[i].tensor == tensor || builder->parameters.items[i].copy == tensor)
            return &builder->parameters.items[i];
    return NULL;
}

struct weight_fusion *group_of(struct builder *builder, int32_t tensor)
{
    for (size_t i = 0; i < builder->groups.count; i++)
        if (builder->groups.items[i].tensor == tensor || builder->groups.items[i].copy == tensor)
            return &builder->groups.items[i];
    return NULL;
}

void tensor_make_slice(struct builder *builder, int32_t tensor, int32_t whole, int64_t first)
{
    struct tensor *slice = &builder->tensors.items[tensor];
    const struct tensor *storage = &builder->tensors.items[whole];
    slice->view_of = whole;
    slice->view_offset = (uint64_t)first * dtype_size(storage->dtype);
    slice->row_stride = storage->shape[1];
    slice->kind = storage->kind;
}

int32_t slices_of_one(const struct builder *builder, const int32_t *tensors, int count)
{
    const int32_t whole = builder->tensors.items[tensors[0]].view_of;
    if (whole == TENSOR_NONE || builder->tensors.items[whole].rank != 2)
        return TENSOR_NONE;
    const struct tensor *storage = &builder->tensors.items[whole];
    int64_t column = 0;
    for (int i = 0; i < count; i++) {
        const struct tensor *slice = &builder->tensors.items[tensors[i]];
        if (slice->view_of != whole || slice->row_stride != storage->shape[1] ||
            slice->view_offset != (uint64_t)column * dtype_size(storage->dtype))
            return TENSOR_NONE;
        column += slice->shape[1];
    }
    return column == storage->shape[1] ? whole : TENSOR_NONE;
}
