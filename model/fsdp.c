/* Fully sharded: of every layer's weights a rank keeps one piece, in fp32 with AdamW's state, and the ranks put the pieces together
 * when the layer's turn comes, in the type that computes: before its forward, again before its backward, two layers ahead at most.
 * Each gradient is reduced straight into its owner's piece. Norms' weights, a ten-thousandth of a model, stay whole.
 *
 * A unit is what is gathered at once: a layer, or the embedding, or the head. Its weights lie side by side in the region that
 * forward_build laid out; here that region becomes a buffer a unit, for as long as the unit is in use. The head's buffer stays from
 * forward to backward, which begins with it; the embedding's table is not read in backward. */
#include "model/builder.h"
#include <stdio.h>

#define AHEAD 2 /* layers */

struct unit {
    uint64_t start, end; /* elements of the region */
    int32_t layer;       /* −1: embedding, head */
    int32_t scope;
    bool is_copied;                                 /* the buffer holds the weights' bf16 copies */
    int32_t forward, backward, gradient;            /* buffers; TENSOR_NONE: not in use */
    int32_t shard, copy, reduced, moment1, moment2; /* this rank's piece: p, its bf16, g, m, v */
    size_t enters, enters_again,
        leaves; /* nodes: first that reads it, first of backward, last that writes a gradient */
    bool read, read_again;
};

struct sharding {
    struct builder *builder;
    int32_t parameters, copies, gradients; /* the regions that were */
    uint64_t norms, norms_end;             /* where norms' weights lie in them */
    VEC(struct unit) units;
};

static int64_t piece_of(const struct sharding *sharding, const struct unit *unit)
{
    return (int64_t)(unit->end - unit->start) / sharding->builder->request->ranks.ranks;
}

static uint64_t rounded(const struct builder *builder, uint64_t elements)
{
    const uint64_t alignment = place_alignment(builder);
    return (elements + alignment - 1) / alignment * alignment;
}

static void units_find(struct sharding *sharding)
{
    struct builder *builder = sharding->builder;
    sharding->norms = UINT64_MAX;
    for (size_t i = 0; i < builder->parameters.count; i++) {
        const struct parameter *parameter = &builder->parameters.items[i];
        const struct tensor *tensor = &builder->tensors.items[parameter->tensor];
        const uint64_t start = parameter->place, end = rounded(builder, start + (uint64_t)tensor_elements(tensor));
        if (tensor->rank == 1) {
            sharding->norms = start < sharding->norms ? start : sharding->norms;
            sharding->norms_end = end > sharding->norms_end ? end : sharding->norms_end;
            continue;
        }
        const int32_t layer = builder->scopes.items[tensor->scope].layer;
        size_t at = 0;
        while (at < sharding->units.count && (layer < 0 || sharding->units.items[at].layer != layer))
            at++;
        if (at == sharding->units.count) {
            int32_t scope = tensor->scope;
            while (layer >= 0 && builder->scopes.items[builder->scopes.items[scope].parent].layer == layer)
                scope = builder->scopes.items[scope].parent;
            const struct unit unit = {.start = start,
                                      .end = end,
                                      .layer = layer,
                                      .scope = scope,
                                      .is_copied = parameter->copy != TENSOR_NONE,
                                      .forward = TENSOR_NONE,
                                      .backward = TENSOR_NONE,
                                      .gradient = TENSOR_NONE};
            vec_push(&sharding->units, unit);
        }
        struct unit *unit = &sharding->units.items[at];
        unit->start = start < unit->start ? start : unit->start;
        unit->end = end > unit->end ? end : unit->end;
    }
}

static struct unit *unit_at(struct sharding *sharding, uint64_t place)
{
    for (size_t i = 0; i < sharding->units.count; i++)
        if (place >= sharding->units.items[i].start && place < sharding->units.items[i].end)
            return &sharding->units.items[i];
    return NULL;
}

static int32_t buffer_add(struct sharding *sharding, const struct unit *unit, const char *what, enum dtype dtype)
{
    char name[160];
    snprintf(name, sizeof name, "%s.%s", what, sharding->builder->scopes.items[unit->scope].path);
    return tensor_add(sharding->builder, name, dtype, TENSOR_SCRATCH, unit->scope,
                      SHAPE((int64_t)(unit->end - unit->start)));
}

/* A region of this rank's pieces, unit after unit, with the whole of the norms behind them; views of both. */
static void pieces_add(struct sharding *sharding, const char *name, const char *prefix, enum tensor_kind kind,
                       enum dtype dtype, size_t member, int32_t *norms)
{
    struct builder *builder = sharding->builder;
    const bool copies = kind == TENSOR_PARAMETER_COPY;
    int64_t elements = 0;
    for (size_t i = 0; i < sharding->units.count; i++)
        elements += !copies || sharding->units.items[i].is_copied ? piece_of(sharding, &sharding->units.items[i]) : 0;
    const int64_t whole = copies ? 0 : (int64_t)(sharding->norms_end - sharding->norms);
    if (elements + whole == 0)
        return;
    const int32_t region = tensor_add(builder, name, dtype, kind, 0, SHAPE(elements + whole));
    uint64_t at = 0;
    for (size_t i = 0; i < sharding->units.count; i++) {
        struct unit *unit = &sharding->units.items[i];
        if (copies && !unit->is_copied)
            continue;
        char text[200];
        snprintf(text, sizeof text, "%s%s", prefix, builder->scopes.items[unit->scope].path);
        const int64_t piece = piece_of(sharding, unit);
        const int32_t view = view_add(builder, text, region, at * dtype_size(dtype), SHAPE(piece));
        *(int32_t *)(void *)((char *)unit + member) = view;
        builder->tensors.items[view].scope = unit->scope;
        builder->tensors.items[view].parameter = unit->shard;
        at += (uint64_t)piece;
    }
    if (whole)
        *norms = view_add(builder, arena_printf(&builder->plan->arena, "%snorms", prefix), region,
                          at * dtype_size(dtype), SHAPE(whole));
}

/* Which stretches of the state dict's parameters a unit's shard holds. */
static void parts_find(struct sharding *sharding)
{
    struct builder *builder = sharding->builder;
    struct plan *plan = builder->plan;
    plan->parts =
        arena_array(&plan->arena, struct plan_part, builder->parameters.count + 1); /* each lies in one unit */
    for (size_t u = 0; u < sharding->units.count; u++) {
        const struct unit *unit = &sharding->units.items[u];
        const uint64_t piece = (uint64_t)piece_of(sharding, unit);
        const uint64_t own = unit->start + piece * (uint64_t)builder->request->ranks.rank, own_end = own + piece;
        for (size_t i = 0; i < builder->parameters.count; i++) {
            const struct parameter *parameter = &builder->parameters.items[i];
            const struct tensor *tensor = &builder->tensors.items[parameter->tensor];
            const uint64_t start = parameter->place, end = start + (uint64_t)tensor_elements(tensor);
            const uint64_t from = start > own ? start : own, to = end < own_end ? end : own_end;
            if (tensor->rank == 1 || from >= to)
                continue;
            struct plan_part *part = &plan->parts[plan->part_count++];
            *part = (struct plan_part){.shard = unit->shard,
                                       .name = tensor->name,
                                       .rank = tensor->rank,
                                       .first = (int64_t)(from - start),
                                       .count = (int64_t)(to - from),
                                       .at = (int64_t)(from - own)};
            for (int k = 0; k < tensor->rank; k++)
                part->shape[k] = tensor->shape[k];
        }
    }
}

/* Tensors that lay in the regions lie in the units' buffers now, or among the norms. */
static void views_move(struct sharding *sharding, int32_t norms, int32_t norm_gradients)
{
    struct builder *builder = sharding->builder;
    const size_t count = builder->tensors.count;
    for (size_t i = 0; i < count; i++) {
        const int32_t region = builder->tensors.items[i].view_of;
        if (region == TENSOR_NONE ||
            (region != sharding->parameters && region != sharding->copies && region != sharding->gradients))
            continue;
        const uint64_t size = dtype_size(builder->tensors.items[region].dtype);
        const uint64_t place = builder->tensors.items[i].view_offset / size;
        struct unit *unit = unit_at(sharding, place);
        int32_t to;
        if (!unit) {
            to = region == sharding->gradients ? norm_gradients : norms;
        } else if (region == sharding->gradients) {
            if (unit->gradient == TENSOR_NONE)
                unit->gradient = buffer_add(sharding, unit, "gradients", DTYPE_F32);
            to = unit->gradient;
        } else if (region == sharding->parameters && unit->is_copied) {
            to = buffer_add(sharding, unit, "unread", DTYPE_F32); /* the products read the copy: goes with all unread */
        } else {
            if (unit->forward == TENSOR_NONE)
                unit->forward = buffer_add(sharding, unit, "weights", unit->is_copied ? DTYPE_BF16 : DTYPE_F32);
            to = unit->forward;
        }
        struct tensor *tensor = &builder->tensors.items[i];
        const struct tensor *around =
            &builder->tensors.items[to]; /* the norms' is a view itself: what is in it, lies in its region */
        tensor->view_of = unit ? to : around->view_of;
        tensor->view_offset =
            (place - (unit ? unit->start : sharding->norms)) * size + (unit ? 0 : around->view_offset);
        tensor->kind = around->kind;
        if (unit)
            tensor->parameter = TENSOR_NONE;
    }
}

/* Backward reads buffers of its own, filled again, but for the head's. */
static void backward_moves(struct sharding *sharding)
{
    struct builder *builder = sharding->builder;
    VEC(int32_t) moved = {0};
    const size_t count = builder->tensors.count;
    for (size_t i = 0; i < count; i++)
        vec_push(&moved, TENSOR_NONE);
    for (size_t n = 0; n < builder->nodes.count; n++) {
        for (int k = 0; k < NODE_MAX_INPUTS; k++) {
            const int32_t tensor = builder->nodes.items[n].input[k];
            const int32_t buffer = tensor == TENSOR_NONE ? TENSOR_NONE : builder->tensors.items[tensor].view_of;
            for (size_t u = 0; u < sharding->units.count && buffer != TENSOR_NONE; u++) {
                struct unit *unit = &sharding->units.items[u];
                if (unit->forward != buffer)
                    continue;
                if (!unit->read)
                    unit->enters = n;
                unit->read = true;
                if (builder->nodes.items[n].phase != PHASE_BWD || unit->layer < 0)
                    continue;
                if (!unit->read_again)
                    unit->enters_again = n;
                unit->read_again = true;
                if (unit->backward == TENSOR_NONE)
                    unit->backward = buffer_add(sharding, unit, "weights.again", builder->tensors.items[buffer].dtype);
                if (moved.items && moved.items[tensor] == TENSOR_NONE) {
                    moved.items[tensor] = tensor_like(builder, "again", tensor);
                    builder->tensors.items[moved.items[tensor]].view_of = unit->backward;
                    builder->tensors.items[moved.items[tensor]].view_offset =
                        builder->tensors.items[tensor].view_offset;
                }
                if (moved.items)
                    builder->nodes.items[n].input[k] = moved.items[tensor];
            }
        }
        for (int k = 0; k < NODE_MAX_OUTPUTS; k++) {
            const int32_t tensor = builder->nodes.items[n].output[k];
            const int32_t buffer = tensor == TENSOR_NONE ? TENSOR_NONE : builder->tensors.items[tensor].view_of;
            for (size_t u = 0; u < sharding->units.count && buffer != TENSOR_NONE; u++)
                if (sharding->units.items[u].gradient == buffer)
                    sharding->units.items[u].leaves = n;
        }
    }
    vec_release(&moved);
}

static int compare_enters(const struct unit *a, const struct unit *b, bool again)
{
    const size_t x = again ? a->enters_again : a->enters, y = again ? b->enters_again : b->enters;
    return x < y ? -1 : x > y;
}

/* The node at which the unit's gather is issued: where the unit AHEAD before it in this direction enters, else `first`. */
static size_t gather_place(const struct sharding *sharding, const struct unit *unit, bool again, size_t first)
{
    size_t place = first;
    int before = 0;
    const struct unit *at = unit;
    while (before < AHEAD) {
        const struct unit *previous = NULL;
        for (size_t i = 0; i < sharding->units.count; i++) {
            const struct unit *other = &sharding->units.items[i];
            if ((again ? other->read_again : other->read) && compare_enters(other, at, again) < 0 &&
                (!previous || compare_enters(other, previous, again) > 0))
                previous = other;
        }
        if (!previous)
            return first;
        at = previous;
        before++;
        place = again ? at->enters_again : at->enters;
    }
    return place;
}

static void gather_add(struct sharding *sharding, struct insertions *insertions, const struct unit *unit, bool again)
{
    struct builder *builder = sharding->builder;
    size_t first = 0;
    while (again && builder->nodes.items[first].phase != PHASE_BWD)
        first++;
    const size_t place = gather_place(sharding, unit, again, first);
    struct node node = collective_node(
        builder, OP_ALL_GATHER, builder->nodes.items[place].phase, scope_child(builder, unit->scope, "all_gather", -1),
        unit->is_copied ? unit->copy : unit->shard, again ? unit->backward : unit->forward, piece_of(sharding, unit));
    node.aside = true;
    insertion_add(insertions, place, &node);
}

static struct node cast_of(const struct builder *builder, int32_t scope, int32_t from, int32_t to)
{
    struct node cast = node_elementwise(builder, OP_CAST, scope, from);
    cast.phase = PHASE_BWD;
    cast.input[0] = from;
    cast.output[0] = to;
    return cast;
}

static void scatter_add(struct sharding *sharding, struct insertions *insertions, const struct unit *unit)
{
    struct builder *builder = sharding->builder;
    const int64_t piece = piece_of(sharding, unit);
    const int32_t scope = scope_child(builder, unit->scope, "reduce_scatter", -1);
    int32_t from = unit->gradient, to = unit->reduced;
    if (builder->request->ranks.bf16_gradients) {
        from = buffer_add(sharding, unit, "wire", DTYPE_BF16);
        to = tensor_add(builder,
                        arena_printf(&builder->plan->arena, "wire.shard.%s", builder->scopes.items[unit->scope].path),
                        DTYPE_BF16, TENSOR_SCRATCH, scope, SHAPE(piece));
        const struct node narrow = cast_of(builder, scope, unit->gradient, from);
        insertion_add(insertions, unit->leaves + 1, &narrow);
    }
    struct node node = collective_node(builder, OP_REDUCE_SCATTER, PHASE_BWD, scope, from, to, piece);
    node.aside = true;
    insertion_add(insertions, unit->leaves + 1, &node);
    if (builder->request->ranks.bf16_gradients) {
        const struct node widen = cast_of(builder, scope, to, unit->reduced);
        insertion_add(insertions, builder->nodes.count, &widen);
    }
}

void fsdp_build(struct builder *builder)
{
    struct sharding sharding = {.builder = builder};
    const bool trains = wants_phase(builder, PHASE_OPT), backward = !builder->request->inference;
    int32_t norms = TENSOR_NONE, norm_gradients = TENSOR_NONE, norm_m = TENSOR_NONE, norm_v = TENSOR_NONE;
    sharding.parameters = storage_of(builder, builder->parameters.items[0].tensor);
    sharding.gradients = storage_of(builder, builder->parameters.items[0].gradient);
    sharding.copies = TENSOR_NONE;
    for (size_t i = 0; i < builder->parameters.count && sharding.copies == TENSOR_NONE; i++)
        sharding.copies = storage_of(builder, builder->parameters.items[i].copy);
    units_find(&sharding);
#define PIECES(name, prefix, kind, dtype, member, whole)                                                               \
    pieces_add(&sharding, name, prefix, kind, dtype, offsetof(struct unit, member), whole)
    PIECES("parameters", "shard.", TENSOR_PARAMETER, DTYPE_F32, shard, &norms);
    for (size_t i = 0; i < sharding.units.count; i++) {
        const int32_t shard = sharding.units.items[i].shard;
        builder->tensors.items[shard].parameter = shard;
    }
    PIECES("parameters.bf16", "bf16.shard.", TENSOR_PARAMETER_COPY, DTYPE_BF16, copy, &norms);
    if (backward)
        PIECES("gradients", "grad.shard.", TENSOR_GRADIENT, DTYPE_F32, reduced, &norm_gradients);
    if (trains) {
        PIECES("adamw.m", "m.shard.", TENSOR_OPTIMIZER, DTYPE_F32, moment1, &norm_m);
        PIECES("adamw.v", "v.shard.", TENSOR_OPTIMIZER, DTYPE_F32, moment2, &norm_v);
    }
#undef PIECES
    parts_find(&sharding);
    views_move(&sharding, norms, norm_gradients);
    backward_moves(&sharding);
    struct insertions insertions = {0};
    for (int again = 0; again < 2; again++)
        for (size_t i = 0; i < sharding.units.count; i++)
            if (again ? sharding.units.items[i].read_again : sharding.units.items[i].read)
                gather_add(&sharding, &insertions, &sharding.units.items[i], again);
    for (size_t i = 0; i < sharding.units.count && backward; i++)
        scatter_add(&sharding, &insertions, &sharding.units.items[i]);
    if (backward && norm_gradients != TENSOR_NONE) {
        const struct node node =
            collective_node(builder, OP_ALL_REDUCE, PHASE_BWD, scope_child(builder, 0, "norms", -1), norm_gradients,
                            norm_gradients, (int64_t)(sharding.norms_end - sharding.norms));
        insertion_add(&insertions, builder->nodes.count, &node);
    }
    insertions_apply(builder, &insertions);
    const int32_t scope = trains ? scope_child(builder, 0, "optimizer", -1) : 0;
    for (size_t i = 0; i < sharding.units.count && trains; i++) {
        const struct unit *unit = &sharding.units.items[i];
        const struct node node = adamw_node(builder, OP_ADAMW, scope, unit->shard, unit->reduced, unit->moment1,
                                            unit->moment2, unit->is_copied ? unit->copy : TENSOR_NONE);
        node_push(builder, &node);
    }
    if (trains && norms != TENSOR_NONE) {
        const struct node node =
            adamw_node(builder, OP_ADAMW, scope, norms, norm_gradients, norm_m, norm_v, TENSOR_NONE);
        node_push(builder, &node);
    }
    vec_release(&sharding.units);
}
