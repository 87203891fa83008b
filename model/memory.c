/* The static memory plan. What outlives a step lies one after another, gradients last; saved and scratch tensors share one
 * region by lifetime, which starts where the gradients do: until backward reaches a layer, the place of its gradients is
 * free, and what later layers saved is dead by then. The problem is packing rectangles (nodes alive × bytes), solved by greedy
 * placement in several orders, each mended a few times; the best is kept. The tests hold it against the largest sum of live
 * bytes, which no placement can beat. */
#include "model/builder.h"
#include <stdlib.h>
#include <string.h>

static int32_t root_of(const struct builder *builder, int32_t tensor)
{
    while (builder->tensors.items[tensor].view_of != TENSOR_NONE)
        tensor = builder->tensors.items[tensor].view_of;
    return tensor;
}

/* FUSE_OVERLAP: what the device may run beside the nodes after it keeps its operands for some of them. `index` counts the nodes
 * that stay. */
static void lifetimes_stretch(struct builder *builder, int32_t index)
{
    const struct overlap *overlap = &builder->request->overlap;
    for (int32_t i = 0; i < index; i++) {
        const struct node *node = &builder->nodes.items[i];
        if (!(overlap->ops & OP_BIT(node->op)))
            continue;
        fusion_fired(builder, FUSE_OVERLAP);
        for (int k = 0; k < NODE_MAX_INPUTS; k++) {
            if (node->input[k] == TENSOR_NONE)
                continue;
            struct tensor *root = &builder->tensors.items[root_of(builder, node->input[k])];
            const int32_t until = overlap->nodes < index - i ? i + overlap->nodes : index - 1;
            if (root->last_node < until)
                root->last_node = until;
        }
    }
}

/* A collective that runs beside the nodes after it: what it reads and writes stays until the next but one of them, by when it
 * should be over; a device waits where it is not. */
static void aside_stretch(struct builder *builder, int32_t index)
{
    for (int32_t i = 0; i < index; i++) {
        const struct node *node = &builder->nodes.items[i];
        int32_t until = i, more = 0;
        if (!node->aside)
            continue;
        while (until + 1 < index && builder->nodes.items[until + 1].phase == node->phase && more < 2)
            more += builder->nodes.items[++until].aside;
        for (int k = 0; k < NODE_MAX_INPUTS + NODE_MAX_OUTPUTS; k++) {
            const int32_t tensor = k < NODE_MAX_INPUTS ? node->input[k] : node->output[k - NODE_MAX_INPUTS];
            if (tensor == TENSOR_NONE)
                continue;
            struct tensor *root = &builder->tensors.items[root_of(builder, tensor)];
            if (root->last_node < until)
                root->last_node = until;
        }
    }
}

/* Kinds and lifetimes from the nodes. A tensor is saved when forward or loss makes it and backward reads it, even if
 * backward was not asked for: then it lives to the end of the step, as it would in training. */
static bool lifetimes(struct builder *builder, struct error *error)
{
    struct tensor *tensors = builder->tensors.items;
    int32_t index = 0;
    for (size_t i = 0; i < builder->tensors.count; i++)
        tensors[i].first_node = tensors[i].last_node = -2; /* unused */
    for (size_t i = 0; i < builder->nodes.count; i++) {
        const struct node *node = &builder->nodes.items[i];
        const bool kept = wants_phase(builder, node->phase);
        const bool backward = node->phase == PHASE_BWD;
        for (int k = 0; k < NODE_MAX_INPUTS + NODE_MAX_OUTPUTS; k++) {
            const bool is_output = k >= NODE_MAX_INPUTS;
            const int32_t tensor = is_output ? node->output[k - NODE_MAX_INPUTS] : node->input[k];
            if (tensor == TENSOR_NONE)
                continue;
            struct tensor *root = &tensors[root_of(builder, tensor)];
            if (!is_output && backward && root->kind == TENSOR_SCRATCH && root->first_node >= 0 &&
                builder->nodes.items[root->first_node].phase != PHASE_BWD)
                root->kind = TENSOR_SAVED;
            if (root->first_node == -2 && (kept || !backward))
                root->first_node = (int32_t)i; /* for now an index into all nodes */
            if (kept && root->first_node >= 0)
                root->last_node = (int32_t)i;
            if (kept && tensors[tensor].first_node == -2)
                tensors[tensor].first_node = (int32_t)i; /* marks a view as used */
        }
    }
    /* From indices into all nodes to indices into those that stay. */
    int32_t *renumber = malloc((builder->nodes.count + 1) * sizeof *renumber);
    if (!renumber)
        return error_set(error, ERROR_MEMORY, "no memory to plan %zu nodes", builder->nodes.count);
    for (size_t i = 0; i < builder->nodes.count; i++) {
        renumber[i] = index;
        index += wants_phase(builder, builder->nodes.items[i].phase);
    }
    for (size_t i = 0; i < builder->tensors.count; i++) {
        struct tensor *tensor = &tensors[i];
        if (tensor->first_node < 0)
            continue;
        const bool kept_first = wants_phase(builder, builder->nodes.items[tensor->first_node].phase);
        tensor->first_node = kept_first ? renumber[tensor->first_node] : -2;
        if (tensor->kind == TENSOR_SAVED && !wants_phase(builder, PHASE_BWD))
            tensor->last_node = index;
        else
            tensor->last_node = tensor->last_node >= 0 ? renumber[tensor->last_node] : -2;
    }
    free(renumber);
    size_t kept = 0;
    for (size_t i = 0; i < builder->nodes.count; i++)
        if (wants_phase(builder, builder->nodes.items[i].phase))
            builder->nodes.items[kept++] = builder->nodes.items[i];
    builder->nodes.count = kept;
    if (wants_fusion(builder, FUSE_OVERLAP))
        lifetimes_stretch(builder, (int32_t)kept);
    aside_stretch(builder, (int32_t)kept);
    for (size_t i = 0; i < builder->tensors.count; i++) {
        struct tensor *tensor = &tensors[i];
        const struct tensor *root = &tensors[root_of(builder, (int32_t)i)];
        if (tensor_kind_persists(root->kind)) {
            /* What belongs to a single parameter stays even where fused nodes name only the whole: it is read by name. */
            const bool used = tensor->first_node != -2 || (tensor->parameter != TENSOR_NONE &&
                                                           (root->kind == TENSOR_PARAMETER || root->first_node != -2));
            tensor->kind = root->kind;
            if (!used)
                tensor->first_node = -2;
            else if (root->kind != TENSOR_GRADIENT || tensor->first_node == -2)
                tensor->first_node = -1;
            tensor->last_node = (int32_t)kept;
        } else if (tensor->view_of != TENSOR_NONE && tensor->first_node != -2) {
            tensor->kind = root->kind;
            tensor->first_node = root->first_node;
            tensor->last_node = root->last_node;
        }
    }
    return true;
}

/* A gradient holds nothing before it is written, in the step after as in the first. Members of a fused weight are written
 * with it. */
static void gradient_lifetimes(struct builder *builder)
{
    struct tensor *tensors = builder->tensors.items;
    for (size_t i = 0; i < builder->parameters.count; i++) {
        const struct parameter *parameter = &builder->parameters.items[i];
        if (parameter->gradient == TENSOR_NONE || parameter->fused < 0)
            continue;
        struct tensor *member = &tensors[parameter->gradient];
        const struct tensor *group = &tensors[builder->groups.items[parameter->fused].gradient];
        if (member->first_node != -2)
            member->first_node = group->first_node;
    }
}

static void renumber_tensor(int32_t *tensor, const int32_t *place)
{
    if (*tensor != TENSOR_NONE)
        *tensor = place[*tensor];
}

/* Removes tensors that no node names, keeping what a view lies in and all parameters. */
static bool drop_unused(struct builder *builder, struct error *error)
{
    struct tensor *tensors = builder->tensors.items;
    int32_t *place = malloc((builder->tensors.count + 1) * sizeof *place);
    if (!place)
        return error_set(error, ERROR_MEMORY, "no memory to plan %zu tensors", builder->tensors.count);
    for (size_t i = 0; i < builder->tensors.count; i++)
        if (tensors[i].first_node != -2)
            for (int32_t t = tensors[i].view_of; t != TENSOR_NONE; t = tensors[t].view_of)
                if (tensors[t].first_node == -2)
                    tensors[t].first_node = tensors[i].first_node, tensors[t].last_node = tensors[i].last_node;
    int32_t kept = 0;
    for (size_t i = 0; i < builder->tensors.count; i++)
        place[i] = tensors[i].first_node == -2 ? TENSOR_NONE : kept++;
    for (size_t i = 0; i < builder->tensors.count; i++) {
        if (place[i] == TENSOR_NONE)
            continue;
        struct tensor tensor = tensors[i];
        renumber_tensor(&tensor.view_of, place);
        renumber_tensor(&tensor.parameter, place);
        tensors[place[i]] = tensor;
    }
    builder->tensors.count = (size_t)kept;
    for (size_t i = 0; i < builder->nodes.count; i++) {
        struct node *node = &builder->nodes.items[i];
        for (int k = 0; k < NODE_MAX_INPUTS; k++)
            renumber_tensor(&node->input[k], place);
        for (int k = 0; k < NODE_MAX_OUTPUTS; k++)
            renumber_tensor(&node->output[k], place);
    }
    struct plan *plan = builder->plan;
    int32_t *const roles[] = {&plan->tokens, &plan->targets, &plan->rope_table, &plan->logits, &plan->loss};
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        renumber_tensor(roles[i], place);
    for (int32_t i = 0; i < plan->part_count; i++)
        renumber_tensor(&plan->parts[i].shard, place);
    free(place);
    return true;
}

static uint64_t aligned(uint64_t bytes)
{
    return (bytes + PLAN_ALIGNMENT - 1) / PLAN_ALIGNMENT * PLAN_ALIGNMENT;
}

#define ROUNDS 8 /* of mending an order */

/* One tensor of the shared region. */
struct rectangle {
    int32_t tensor, first, last;
    uint64_t bytes, offset;
};

static int larger_first(const void *left, const void *right)
{
    const struct rectangle *a = left, *b = right;
    if (a->bytes != b->bytes)
        return a->bytes < b->bytes ? 1 : -1;
    if (a->last - a->first != b->last - b->first)
        return b->last - b->first - (a->last - a->first);
    return a->first != b->first ? a->first - b->first : a->tensor - b->tensor;
}

static int longer_first(const void *left, const void *right)
{
    const struct rectangle *a = left, *b = right;
    if (a->last - a->first != b->last - b->first)
        return b->last - b->first - (a->last - a->first);
    return larger_first(left, right);
}

static int earlier_first(const void *left, const void *right)
{
    const struct rectangle *a = left, *b = right;
    return a->first != b->first ? a->first - b->first : larger_first(left, right);
}

static int later_first(const void *left, const void *right)
{
    const struct rectangle *a = left, *b = right;
    return a->last != b->last ? b->last - a->last : larger_first(left, right);
}

static double area(const struct rectangle *item)
{
    return (double)item->bytes * (item->last - item->first + 1);
}

static int wider_first(const void *left, const void *right)
{
    const double a = area(left), b = area(right);
    return a != b ? (a < b ? 1 : -1) : larger_first(left, right);
}

/* What the search for a place reads of a rectangle that has one. */
struct placed {
    int32_t first, last;
    uint64_t offset, end;
};

static struct placed placed_of(const struct rectangle *item)
{
    return (struct placed){item->first, item->last, item->offset, item->offset + item->bytes};
}

/* The lowest offset where `item` meets none of `placed`, which lie in order of offset, that is alive with it. */
static uint64_t lowest_place(const struct rectangle *item, const struct placed *placed, int32_t count)
{
    uint64_t at = 0;
    for (int32_t j = 0; j < count; j++) {
        if (placed[j].first > item->last || item->first > placed[j].last)
            continue;
        if (placed[j].offset >= at + item->bytes)
            break; /* fits below this one, and all further ones start higher */
        if (placed[j].end > at)
            at = placed[j].end;
    }
    return at;
}

static void insert_by_offset(struct placed *placed, int32_t count, struct placed item)
{
    int32_t low = 0, high = count;
    while (low < high) {
        const int32_t middle = low + (high - low) / 2;
        if (placed[middle].offset > item.offset)
            high = middle;
        else
            low = middle + 1;
    }
    memmove(placed + low + 1, placed + low, (size_t)(count - low) * sizeof *placed);
    placed[low] = item;
}

/* Places each rectangle from `fixed` on, in the order given; those before have their place, in order of offset. Returns the
 * height. `placed` is room for as many. */
static uint64_t place_all(struct rectangle *items, int32_t fixed, int32_t count, struct placed *placed)
{
    uint64_t height = 0;
    for (int32_t i = 0; i < count; i++) {
        if (i >= fixed)
            items[i].offset = lowest_place(&items[i], placed, i);
        const struct placed item = placed_of(&items[i]);
        insert_by_offset(placed, i, item);
        height = item.end > height ? item.end : height;
    }
    return height;
}

/* The largest sum of bytes alive at one node: no placement can be lower. */
static uint64_t lower_bound(const struct rectangle *items, int32_t count, int32_t node_count, int64_t *change)
{
    memset(change, 0, ((size_t)node_count + 2) * sizeof *change);
    for (int32_t i = 0; i < count; i++) {
        change[items[i].first] += (int64_t)items[i].bytes;
        change[items[i].last + 1] -= (int64_t)items[i].bytes;
    }
    int64_t live = 0, most = 0;
    for (int32_t i = 0; i <= node_count; i++) {
        live += change[i];
        if (live > most)
            most = live;
    }
    return (uint64_t)most;
}

static int lower_first(const void *left, const void *right)
{
    const struct rectangle *a = left, *b = right;
    return a->offset != b->offset ? (a->offset < b->offset ? -1 : 1) : a->tensor - b->tensor;
}

/* Is this the gradient of one parameter, a part of the region of gradients? */
static bool is_gradient(const struct tensor *tensor)
{
    return tensor->kind == TENSOR_GRADIENT && tensor->parameter != TENSOR_NONE;
}

/* Gradients as rectangles whose place is given, widened to whole units of alignment. Returns how many. */
static int32_t gradient_rectangles(const struct builder *builder, struct rectangle *items)
{
    int32_t count = 0;
    for (size_t i = 0; i < builder->tensors.count; i++) {
        const struct tensor *tensor = &builder->tensors.items[i];
        if (!is_gradient(tensor))
            continue;
        const uint64_t offset = tensor->view_offset / PLAN_ALIGNMENT * PLAN_ALIGNMENT;
        /* A collective over several gradients writes between them, too. */
        const uint64_t unit = builder->plan->ranks > 1 ? place_alignment(builder) * sizeof(float) : PLAN_ALIGNMENT;
        const uint64_t end = (tensor->view_offset + tensor->bytes + unit - 1) / unit * unit;
        items[count++] = (struct rectangle){.tensor = (int32_t)i,
                                            .first = tensor->first_node,
                                            .last = tensor->last_node,
                                            .offset = offset,
                                            .bytes = end - offset};
    }
    qsort(items, (size_t)count, sizeof *items, lower_first);
    return count;
}

/* Moves what ends at `height` to the front of the order, behind the fixed ones: placed first, it will lie low. */
static void highest_to_front(struct rectangle *items, int32_t fixed, int32_t count, uint64_t height)
{
    for (int32_t i = fixed, front = fixed; i < count; i++) {
        const struct rectangle item = items[i];
        if (item.offset + item.bytes < height)
            continue;
        memmove(items + front + 1, items + front, (size_t)(i - front) * sizeof *items);
        items[front++] = item;
    }
}

/* Places saved and scratch tensors from `start` on; *end is the end of the highest, or of the gradients. */
static bool place_activations(struct builder *builder, uint64_t start, uint64_t *end, struct error *error)
{
    typedef int (*order)(const void *, const void *);
    static const order orders[] = {larger_first, longer_first, earlier_first, later_first, wider_first};
    struct tensor *tensors = builder->tensors.items;
    const size_t room = builder->tensors.count + 1;
    struct rectangle *items = malloc(room * sizeof *items);
    struct placed *placed = malloc(room * sizeof *placed);
    int64_t *change = malloc((builder->nodes.count + 2) * sizeof *change);
    bool ok = items && placed && change;
    if (!ok) {
        error_set(error, ERROR_MEMORY, "no memory to plan %zu tensors", builder->tensors.count);
        goto done;
    }
    const int32_t fixed = gradient_rectangles(builder, items);
    int32_t count = fixed;
    for (size_t i = 0; i < builder->tensors.count; i++)
        if (tensors[i].view_of == TENSOR_NONE && !tensor_kind_persists(tensors[i].kind))
            items[count++] = (struct rectangle){.tensor = (int32_t)i,
                                                .first = tensors[i].first_node,
                                                .last = tensors[i].last_node,
                                                .bytes = aligned(tensors[i].bytes)};
    const uint64_t bound = lower_bound(items, count, (int32_t)builder->nodes.count, change);
    uint64_t best = UINT64_MAX;
    for (size_t i = 0; i < sizeof orders / sizeof *orders && best > bound; i++) {
        qsort(items + fixed, (size_t)(count - fixed), sizeof *items, orders[i]);
        for (int round = 0; round < ROUNDS && best > bound; round++) {
            const uint64_t height = place_all(items, fixed, count, placed);
            if (height < best) {
                best = height;
                for (int32_t k = fixed; k < count; k++)
                    tensors[items[k].tensor].offset = start + items[k].offset;
            }
            highest_to_front(items, fixed, count, height);
        }
    }
    *end = start + best;
done:
    free(items);
    free(placed);
    free(change);
    return ok;
}

/* Sums by kind, and the highest sums over the step of saved, of scratch, and of everything. */
static bool account(struct builder *builder, struct error *error)
{
    struct plan_memory *memory = &builder->plan->memory;
    const size_t steps = builder->nodes.count + 2;
    int64_t *saved = calloc(steps, sizeof *saved), *scratch = calloc(steps, sizeof *scratch);
    int64_t *gradients = calloc(steps, sizeof *gradients);
    const bool ok = saved && scratch && gradients;
    if (!ok) {
        error_set(error, ERROR_MEMORY, "no memory to plan %zu nodes", builder->nodes.count);
        goto done;
    }
    uint64_t persistent = 0;
    for (size_t i = 0; i < builder->tensors.count; i++) {
        const struct tensor *tensor = &builder->tensors.items[i];
        if (is_gradient(tensor))
            gradients[tensor->first_node < 0 ? 0 : tensor->first_node] += (int64_t)tensor->bytes;
        if (tensor->view_of != TENSOR_NONE)
            continue;
        if (tensor_kind_persists(tensor->kind)) {
            memory->by_kind[tensor->kind] += tensor->bytes;
            persistent += tensor->kind == TENSOR_GRADIENT ? 0 : tensor->bytes;
            continue;
        }
        int64_t *change = tensor->kind == TENSOR_SAVED ? saved : scratch;
        change[tensor->first_node] += (int64_t)tensor->bytes;
        change[tensor->last_node + 1] -= (int64_t)tensor->bytes;
    }
    int64_t live_saved = 0, live_scratch = 0;
    for (size_t i = 0; i < builder->nodes.count; i++) {
        live_saved += saved[i];
        live_scratch += scratch[i];
        persistent += (uint64_t)gradients[i];
        const uint64_t live = persistent + (uint64_t)live_saved + (uint64_t)live_scratch;
        if (live > memory->peak_live) {
            memory->peak_live = live;
            memory->peak_node = (int32_t)i;
        }
        if ((uint64_t)live_saved > memory->by_kind[TENSOR_SAVED])
            memory->by_kind[TENSOR_SAVED] = (uint64_t)live_saved;
        if ((uint64_t)live_scratch > memory->by_kind[TENSOR_SCRATCH])
            memory->by_kind[TENSOR_SCRATCH] = (uint64_t)live_scratch;
    }
done:
    free(saved);
    free(scratch);
    free(gradients);
    return ok;
}

bool memory_plan(struct builder *builder, struct error *error)
{
    if (!lifetimes(builder, error))
        return false;
    gradient_lifetimes(builder);
    if (!drop_unused(builder, error))
        return false;
    struct plan_memory *memory = &builder->plan->memory;
    uint64_t at = 0, shared = 0, end = 0;
    /* By kind, so that parameters, copies and optimizer state are each one stretch; gradients last. */
    for (int k = 0; k <= TENSOR_KIND_COUNT; k++) {
        const enum tensor_kind kind = k == TENSOR_KIND_COUNT ? TENSOR_GRADIENT : (enum tensor_kind)k;
        if (k == TENSOR_GRADIENT || !tensor_kind_persists(kind))
            continue;
        if (kind == TENSOR_GRADIENT)
            shared = at;
        for (size_t i = 0; i < builder->tensors.count; i++) {
            struct tensor *tensor = &builder->tensors.items[i];
            if (tensor->kind != kind || tensor->view_of != TENSOR_NONE)
                continue;
            tensor->offset = at;
            at += aligned(tensor->bytes);
        }
    }
    memory->persistent = at;
    if (!place_activations(builder, shared, &end, error) || !account(builder, error))
        return false;
    memory->total = end > at ? end : at;
    for (size_t i = 0; i < builder->tensors.count; i++) {
        struct tensor *tensor = &builder->tensors.items[i];
        uint64_t offset = 0;
        int32_t root = (int32_t)i;
        for (; builder->tensors.items[root].view_of != TENSOR_NONE; root = builder->tensors.items[root].view_of)
            offset += builder->tensors.items[root].view_offset;
        tensor->offset = builder->tensors.items[root].offset + offset;
    }
    return true;
}
