/* Projections of the same input as one GEMM: q, k, v and the gate and up projections of the SwiGLU. Their weights lie side by
 * side in the region of parameters, so the fused weight is a view and nothing is copied; gradients and bf16 copies mirror
 * that. The outputs become column slices of one tensor, which the attention and SwiGLU passes take whole. */
#include "model/builder.h"
#include <stdio.h>
#include <string.h>

enum { MOST_MEMBERS = 3 };

/* Members of the group that starts with parameter `first`, in order of place. Returns how many. */
static int group_members(const struct builder *builder, size_t first, size_t *members)
{
    const struct parameter *head = &builder->parameters.items[first];
    uint64_t place = head->place;
    int count = 0;
    for (size_t i = first; i < builder->parameters.count && count < MOST_MEMBERS; i++) {
        const struct parameter *parameter = &builder->parameters.items[i];
        if (parameter->group != head->group || parameter->place != place)
            continue;
        members[count++] = i;
        place += (uint64_t)tensor_elements(&builder->tensors.items[parameter->tensor]);
    }
    return count;
}

/* The LINEAR node that reads weight `tensor`, or -1. */
static int32_t linear_of_weight(const struct builder *builder, int32_t tensor)
{
    for (size_t i = 0; i < builder->nodes.count; i++)
        if (builder->nodes.items[i].op == OP_LINEAR && builder->nodes.items[i].input[1] == tensor)
            return (int32_t)i;
    return -1;
}

/* The fused weight as a view over its members in the region of parameters. */
static int32_t group_weight(struct builder *builder, const size_t *members, int count, int32_t scope)
{
    const struct parameter *head = &builder->parameters.items[members[0]];
    const struct tensor first = builder->tensors.items[head->tensor];
    int64_t rows = 0;
    for (int i = 0; i < count; i++)
        rows += builder->tensors.items[builder->parameters.items[members[i]].tensor].shape[0];
    char name[200];
    snprintf(name, sizeof name, "%s.weight", builder->scopes.items[scope].path);
    const int32_t weight = view_add(builder, name, first.view_of, first.view_offset, SHAPE(rows, first.shape[1]));
    builder->tensors.items[weight].scope = scope;
    const struct weight_fusion group = {
        .tensor = weight, .gradient = TENSOR_NONE, .copy = TENSOR_NONE, .first = (int32_t)members[0]};
    for (int i = 0; i < count; i++)
        builder->parameters.items[members[i]].fused = (int32_t)builder->groups.count;
    vec_push(&builder->groups, group);
    return weight;
}

static void fuse_group(struct builder *builder, enum fusion fusion, enum weight_group kind, int wanted,
                       const char *name)
{
    for (size_t p = 0; p < builder->parameters.count; p++) {
        size_t members[MOST_MEMBERS];
        int32_t nodes[MOST_MEMBERS];
        if (builder->parameters.items[p].group != kind || builder->parameters.items[p].fused >= 0 ||
            group_members(builder, p, members) != wanted)
            continue;
        bool same_input = true;
        for (int i = 0; i < wanted; i++) {
            nodes[i] = linear_of_weight(builder, builder->parameters.items[members[i]].tensor);
            same_input = same_input && nodes[i] >= 0 &&
                         builder->nodes.items[nodes[i]].input[0] == builder->nodes.items[nodes[0]].input[0];
        }
        if (!same_input)
            continue;
        struct node fused = builder->nodes.items[nodes[0]];
        const int32_t module = builder->scopes.items[fused.scope].parent;
        fused.scope = scope_child(builder, module, name, -1);
        fused.input[1] = group_weight(builder, members, wanted, fused.scope);
        fused.dims.d_out = builder->tensors.items[fused.input[1]].shape[0];
        const int32_t whole = activation_add(builder, fused.scope, "y", SHAPE(fused.dims.rows, fused.dims.d_out));
        int64_t column = 0;
        for (int i = 0; i < wanted; i++) {
            struct node *node = &builder->nodes.items[nodes[i]];
            tensor_make_slice(builder, node->output[0], whole, column);
            column += node->dims.d_out;
            node->op = OP_COUNT;
        }
        fused.output[0] = whole;
        builder->nodes.items[nodes[0]] = fused;
        fusion_fired(builder, fusion);
    }
    nodes_compact(builder);
}

/* Fires only together with fused attention, which takes (N, 3C): the single attention ops want packed operands. */
void fuse_qkv(struct builder *builder)
{
    if (wants_fusion(builder, FUSE_ATTENTION))
        fuse_group(builder, FUSE_QKV, GROUP_QKV, 3, "qkv_proj");
}

/* Likewise only together with fused SwiGLU, which takes (N, 2F). */
void fuse_gate_up(struct builder *builder)
{
    if (wants_fusion(builder, FUSE_SWIGLU))
        fuse_group(builder, FUSE_GATE_UP, GROUP_GATE_UP, 2, "gate_up_proj");
}
