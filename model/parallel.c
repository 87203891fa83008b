/* Training on several ranks: the collectives that bring the gradients together, where in backward they stand, and the optimizer in
 * shards. The gradients of all parameters lie in one region, in the order of the state dict; backward makes them from its end to its
 * beginning, so any number of neighbours that were made one after the other are one tensor, and no bucket needs to be packed. */
#include "model/builder.h"
#include <stdio.h>
#include <string.h>

static const char *const parallels[PARALLEL_COUNT] = {
    [PARALLEL_NONE] = "none",       /* each rank for itself, without communication */
    [PARALLEL_NAIVE] = "naive",     /* after backward, one all-reduce a parameter */
    [PARALLEL_FLAT] = "flat",       /* after backward, one all-reduce of all gradients */
    [PARALLEL_OVERLAP] = "overlap", /* an all-reduce a parameter, beside the rest of backward */
    [PARALLEL_BUCKET] = "bucket",   /* an all-reduce a bucket of gradients, beside the rest of backward */
    [PARALLEL_ZERO1] = "zero1",     /* reduce-scatter, AdamW on a shard, all-gather of the parameters */
    [PARALLEL_FSDP] = "fsdp",       /* parameters in shards, gathered at most two layers ahead */
};

const char *parallel_name(enum parallel parallel)
{
    return (unsigned)parallel < PARALLEL_COUNT ? parallels[parallel] : "?";
}

/* Places in a region start at multiples of this many elements, so that they are aligned in a bf16 copy as well. */
#define PLACE_ALIGNMENT (PLAN_ALIGNMENT / 2)

uint64_t place_alignment(const struct builder *builder)
{
    const int32_t ranks = builder->request->ranks.ranks;
    return is_sharded(builder) ? (uint64_t)PLACE_ALIGNMENT * (uint64_t)ranks : PLACE_ALIGNMENT;
}

void insertion_add(struct insertions *insertions, size_t before, const struct node *node)
{
    vec_push(&insertions->list, ((struct insertion){before, *node}));
}

void insertions_apply(struct builder *builder, struct insertions *insertions)
{
    const size_t count = builder->nodes.count;
    struct node *nodes = builder->nodes.items;
    builder->nodes.items = NULL;
    builder->nodes.count = builder->nodes.capacity = 0;
    for (size_t i = 0; i <= count; i++) {
        for (size_t k = 0; k < insertions->list.count; k++)
            if (insertions->list.items[k].before == i)
                vec_push(&builder->nodes, insertions->list.items[k].node);
        if (i < count)
            vec_push(&builder->nodes, nodes[i]);
    }
    free(nodes);
    vec_release(&insertions->list);
}

struct node collective_node(const struct builder *builder, enum op op, enum phase phase, int32_t scope, int32_t x,
                            int32_t y, int64_t elements)
{
    struct node node = node_make(op, scope);
    node.phase = phase;
    node.dims.elements = elements;
    node.dims.ranks = builder->request->ranks.ranks;
    node.scale = 1.0f / (float)builder->request->ranks.ranks;
    node.input[0] = x;
    node.output[0] = y;
    return node;
}

/* The node that writes `tensor` in backward. */
static size_t written_by(const struct builder *builder, int32_t tensor)
{
    for (size_t i = builder->nodes.count; i-- > 0;)
        for (int k = 0; k < NODE_MAX_OUTPUTS; k++)
            if (builder->nodes.items[i].output[k] == tensor)
                return i;
    return 0;
}

/* A stretch a gradient: of a fused weight as one unless `single`. In order of place. */
static void gradient_stretches(struct builder *builder, bool single)
{
    for (size_t i = 0; i < builder->parameters.count; i++) {
        const struct parameter *parameter = &builder->parameters.items[i];
        const struct weight_fusion *group = parameter->fused >= 0 ? &builder->groups.items[parameter->fused] : NULL;
        if (group && !single && group->first != (int32_t)i)
            continue;
        const int32_t gradient = group ? group->gradient : parameter->gradient;
        const struct tensor *whole = &builder->tensors.items[group && !single ? group->gradient : parameter->gradient];
        const struct stretch stretch = {.start = whole->view_offset / sizeof(float),
                                        .end = whole->view_offset / sizeof(float) + (uint64_t)tensor_elements(whole),
                                        .ready = written_by(builder, gradient),
                                        .scope = builder->tensors.items[parameter->gradient].scope};
        size_t at = builder->buckets.count;
        vec_push(&builder->buckets, stretch);
        for (; at > 0 && builder->buckets.items[at - 1].start > stretch.start; at--)
            builder->buckets.items[at] = builder->buckets.items[at - 1];
        builder->buckets.items[at] = stretch;
    }
}

/* "bucket 3 (layers 34 to 35, lm_head)": all whose gradients lie in stretches [lower, upper). */
static int32_t bucket_scope(struct builder *builder, size_t number, size_t lower, size_t upper)
{
    char layers[32] = "", outside[96] = "", name[160];
    int32_t first = INT32_MAX, last = -1;
    for (size_t i = lower; i < upper; i++) {
        const struct scope *scope = &builder->scopes.items[builder->buckets.items[i].scope];
        const size_t used = strlen(outside);
        if (scope->layer < 0)
            snprintf(outside + used, sizeof outside - used, "%s%s", used ? ", " : "", scope->path);
        first = scope->layer >= 0 && scope->layer < first ? scope->layer : first;
        last = scope->layer > last ? scope->layer : last;
    }
    if (last >= 0 && first == last)
        snprintf(layers, sizeof layers, "layer %d", first);
    else if (last >= 0)
        snprintf(layers, sizeof layers, "layers %d to %d", first, last);
    snprintf(name, sizeof name, "bucket %zu (%s%s%s)", number, layers, layers[0] && outside[0] ? ", " : "", outside);
    return scope_child(builder, scope_child(builder, 0, "gradients", -1), name, -1);
}

/* Does a product's weight start here? Those come first in the region. */
static bool is_matrix_place(const struct builder *builder, uint64_t place)
{
    for (size_t i = 0; i < builder->parameters.count; i++)
        if (builder->parameters.items[i].place == place)
            return builder->parameters.items[i].is_linear;
    return false;
}

/* Joins neighbours, from the end of the region to its beginning, until a bucket has `bytes`. What backward makes last, the
 * embedding and the first norms, lies behind the weights of the products, so it makes buckets of its own. */
static void buckets_join(struct builder *builder, uint64_t bytes)
{
    VEC(struct stretch) joined = {0};
    size_t upper = builder->buckets.count;
    while (upper > 0) {
        size_t lower = upper;
        struct stretch bucket = builder->buckets.items[upper - 1];
        const bool matrices = is_matrix_place(builder, bucket.start);
        while (lower > 0) {
            const struct stretch *next = &builder->buckets.items[lower - 1];
            const bool divides = !is_sharded(builder) || bucket.start % place_alignment(builder) == 0;
            if (lower < upper && divides &&
                ((bucket.end - next->start) * sizeof(float) > bytes ||
                 is_matrix_place(builder, next->start) != matrices))
                break;
            bucket.start = next->start;
            bucket.ready = next->ready > bucket.ready ? next->ready : bucket.ready;
            lower--;
        }
        /* To where the next one begins: the gap between is nobody's. */
        if (upper < builder->buckets.count && is_sharded(builder))
            bucket.end = builder->buckets.items[upper].start;
        else if (is_sharded(builder))
            bucket.end =
                (bucket.end + place_alignment(builder) - 1) / place_alignment(builder) * place_alignment(builder);
        bucket.scope = bucket_scope(builder, joined.count, lower, upper);
        vec_push(&joined, bucket);
        upper = lower;
    }
    vec_release(&builder->buckets);
    for (size_t i = 0; i < joined.count; i++)
        vec_push(&builder->buckets, joined.items[i]);
    vec_release(&joined);
}

/* A view of a stretch of a region. */
static int32_t stretch_view(struct builder *builder, const char *prefix, size_t number, int32_t region, uint64_t start,
                            uint64_t end)
{
    char name[64];
    snprintf(name, sizeof name, "%s.%zu", prefix, number);
    return view_add(builder, name, region, start * dtype_size(builder->tensors.items[region].dtype),
                    SHAPE((int64_t)(end - start)));
}

static struct node cast_node(const struct builder *builder, int32_t scope, int32_t from, int32_t to)
{
    struct node cast = node_elementwise(builder, OP_CAST, scope, from);
    cast.phase = PHASE_BWD;
    cast.input[0] = from;
    cast.output[0] = to;
    return cast;
}

void parallel_gradients(struct builder *builder)
{
    const struct ranks_request *ranks = &builder->request->ranks;
    if (ranks->parallel == PARALLEL_NONE || ranks->parallel == PARALLEL_FSDP)
        return;
    const bool single = ranks->parallel == PARALLEL_NAIVE || ranks->parallel == PARALLEL_OVERLAP;
    const bool aside = ranks->parallel != PARALLEL_NAIVE && ranks->parallel != PARALLEL_FLAT;
    const uint64_t bytes = ranks->parallel == PARALLEL_FLAT ? UINT64_MAX
                           : ranks->bucket_bytes            ? (uint64_t)ranks->bucket_bytes
                                                            : BUCKET_MB_DEFAULT * (uint64_t)1000000;
    const int32_t region = storage_of(builder, builder->parameters.items[0].gradient);
    const size_t end = builder->nodes.count;
    gradient_stretches(builder, single);
    if (ranks->parallel == PARALLEL_FLAT) {
        const struct stretch whole = {.start = 0,
                                      .end = (uint64_t)tensor_elements(&builder->tensors.items[region]),
                                      .scope = scope_child(builder, 0, "gradients", -1)};
        builder->buckets.count = 0;
        vec_push(&builder->buckets, whole);
    } else if (!single) {
        buckets_join(builder, bytes);
    }
    struct insertions insertions = {0};
    for (size_t i = 0; i < builder->buckets.count; i++) {
        const struct stretch *bucket = &builder->buckets.items[i];
        const size_t at = aside ? bucket->ready + 1 : end;
        const int64_t elements = (int64_t)(bucket->end - bucket->start), piece = elements / ranks->ranks;
        const int32_t view = stretch_view(builder, "bucket", i, region, bucket->start, bucket->end);
        const bool scatters = ranks->parallel == PARALLEL_ZERO1;
        const uint64_t own = bucket->start + (uint64_t)(piece * ranks->rank);
        int32_t from = view, to = view, shard = view;
        if (scatters)
            to = shard = stretch_view(builder, "bucket.shard", i, region, own, own + (uint64_t)piece);
        builder->tensors.items[view].scope = builder->tensors.items[shard].scope = bucket->scope;
        if (ranks->bf16_gradients) {
            from = to = tensor_like(builder, "wire", view);
            tensor_set_dtype(&builder->tensors.items[from], DTYPE_BF16);
            if (scatters)
                to = view_add(builder, arena_printf(&builder->plan->arena, "wire.shard.%zu", i), from,
                              (uint64_t)(piece * ranks->rank) * dtype_size(DTYPE_BF16), SHAPE(piece));
            const struct node narrow = cast_node(builder, bucket->scope, view, from);
            insertion_add(&insertions, at, &narrow);
        }
        struct node node = collective_node(builder, scatters ? OP_REDUCE_SCATTER : OP_ALL_REDUCE, PHASE_BWD,
                                           bucket->scope, from, to, scatters ? piece : elements);
        node.aside = aside;
        insertion_add(&insertions, at, &node);
        if (ranks->bf16_gradients) {
            const struct node widen = cast_node(builder, bucket->scope, to, shard);
            insertion_add(&insertions, end, &widen);
        }
    }
    insertions_apply(builder, &insertions);
}

void zero1_optimizer(struct builder *builder)
{
    const struct ranks_request *ranks = &builder->request->ranks;
    const int32_t parameters = storage_of(builder, builder->parameters.items[0].tensor);
    const int32_t gradients = storage_of(builder, builder->parameters.items[0].gradient);
    const int32_t scope = scope_child(builder, 0, "optimizer", -1);
    const int64_t share = tensor_elements(&builder->tensors.items[parameters]) / ranks->ranks;
    const int32_t m = tensor_add(builder, "adamw.m", DTYPE_F32, TENSOR_OPTIMIZER, 0, SHAPE(share));
    const int32_t v = tensor_add(builder, "adamw.v", DTYPE_F32, TENSOR_OPTIMIZER, 0, SHAPE(share));
    int32_t copy = TENSOR_NONE;
    for (size_t i = 0; i < builder->parameters.count && copy == TENSOR_NONE; i++)
        copy = storage_of(builder, builder->parameters.items[i].copy);
    const uint64_t copied = copy == TENSOR_NONE ? 0 : (uint64_t)tensor_elements(&builder->tensors.items[copy]);
    uint64_t at = 0;
    for (size_t i = 0; i < builder->buckets.count; i++) {
        const struct stretch *bucket = &builder->buckets.items[i];
        const uint64_t piece = (bucket->end - bucket->start) / (uint64_t)ranks->ranks;
        const uint64_t own = bucket->start + piece * (uint64_t)ranks->rank;
        /* Of weights that compute as copies, the copies are all that the others need: half of the way. */
        const bool as_copy = bucket->end <= copied;
        const int32_t p = stretch_view(builder, "parameters.shard", i, parameters, own, own + piece);
        const int32_t c = as_copy ? stretch_view(builder, "copies.shard", i, copy, own, own + piece) : TENSOR_NONE;
        const struct node node = adamw_node(builder, OP_ADAMW, scope, p,
                                            stretch_view(builder, "gradients.shard", i, gradients, own, own + piece),
                                            stretch_view(builder, "adamw.m.shard", i, m, at, at + piece),
                                            stretch_view(builder, "adamw.v.shard", i, v, at, at + piece), c);
        at += piece;
        node_push(builder, &node);
        /* It goes while the next bucket's shard is updated. */
        const int32_t whole = stretch_view(builder, as_copy ? "copies.bucket" : "parameters.bucket", i,
                                           as_copy ? copy : parameters, bucket->start, bucket->end);
        struct node gather =
            collective_node(builder, OP_ALL_GATHER, PHASE_OPT, bucket->scope, as_copy ? c : p, whole, (int64_t)piece);
        gather.aside = true;
        node_push(builder, &gather);
    }
    /* What a bucket has beyond them came whole, and is copied after its own gather, behind all updates. */
    for (size_t i = 0; i < builder->buckets.count; i++) {
        const struct stretch *bucket = &builder->buckets.items[i];
        if (bucket->end <= copied || bucket->start >= copied)
            continue;
        struct node cast =
            cast_node(builder, scope, stretch_view(builder, "parameters.copied", i, parameters, bucket->start, copied),
                      stretch_view(builder, "copies.bucket", i, copy, bucket->start, copied));
        cast.phase = PHASE_OPT;
        node_push(builder, &cast);
    }
}
