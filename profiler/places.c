#include "profiler/places.h"
#include "base/unknown.h"
#include "profiler/protocol.h"
#include <math.h>
#include <string.h>

static const struct place nowhere = {.scope = -1,
                                     .phase = PHASE_NONE,
                                     .kernel_class = CLASS_OTHER,
                                     .op = "",
                                     .label = "",
                                     .flops = UNKNOWN_DOUBLE,
                                     .bytes = UNKNOWN_DOUBLE,
                                     .saved_bytes = UNKNOWN_U64};

void places_release(struct places *places)
{
    vec_release(&places->list);
    vec_release(&places->scopes);
    arena_release(&places->arena);
    *places = (struct places){0};
}

static const char *keep(struct places *places, const char *text)
{
    char clean[PLACE_TEXT_MAX];
    if (!text || !*text)
        return "";
    text_copy(clean, sizeof clean, text, strlen(text));
    return arena_strdup(&places->arena, clean);
}

bool places_add_scope(struct places *places, int32_t parent, const char *name, uint64_t parameter_bytes,
                      struct error *error)
{
    const int32_t count = (int32_t)places->scopes.count;
    if (count >= (int32_t)PLACE_SCOPES_MAX)
        return error_set(error, ERROR_INTERNAL, "more than %u scopes", PLACE_SCOPES_MAX);
    if (parent < -1 || parent >= count)
        return error_set(error, ERROR_INTERNAL, "scope %d has parent %d, which was not said before it", count, parent);
    struct place_scope scope = {
        .parent = parent, .parameter_bytes = parameter_bytes, .peak_bytes = {UNKNOWN_U64, UNKNOWN_U64}};
    scope.name = keep(places, *name ? name : "?");
    scope.path = scope.name;
    if (parent >= 0) {
        const struct place_scope *above = &places->scopes.items[parent];
        scope.depth = above->depth + 1;
        if (parent > 0) /* the model's name is no part of a path; that of another module beside it is */
            scope.path = arena_printf(&places->arena, "%s.%s", above->path, scope.name);
    }
    if (scope.depth > PLACE_DEPTH_MAX || strlen(scope.path) >= PLACE_PATH_MAX)
        return error_set(error, ERROR_INTERNAL, "scope %d lies too deep: '%.60s…'", count, scope.path);
    vec_push(&places->scopes, scope);
    return true;
}

/* Work beyond what a card does in an hour by a wide margin is a lie or a fault, and so is a part of one operation; pictures divide
 * one by the other. */
static double believed_work(double work)
{
    return work == 0 || (work >= 1 && work <= 1e24) ? work : UNKNOWN_DOUBLE;
}

bool places_add(struct places *places, const struct place *place, struct error *error)
{
    const uint32_t count = (uint32_t)places->list.count;
    if (count >= PLACES_MAX)
        return error_set(error, ERROR_INTERNAL, "more than %u places", PLACES_MAX);
    if (places->whole)
        return error_set(error, ERROR_INTERNAL, "place %u came after the last one", count);
    if (place->scope < -1 || place->scope >= (int32_t)places->scopes.count || place->phase >= PLACE_PHASE_COUNT ||
        place->kernel_class >= CLASS_COUNT)
        return error_set(error, ERROR_INTERNAL, "place %u has scope %d, phase %u, class %u, which cannot be", count,
                         place->scope, place->phase, place->kernel_class);
    struct place copy = *place;
    copy.op = keep(places, place->op);
    copy.label = keep(places, place->label);
    copy.flops = believed_work(place->flops);
    copy.bytes = believed_work(place->bytes);
    places->collectives |= copy.kernel_class == CLASS_COLLECTIVE;
    vec_push(&places->list, copy);
    return true;
}

bool places_work(struct places *places, int32_t id, double flops, double bytes, struct error *error)
{
    if (id < 0 || (size_t)id >= places->list.count || places->whole)
        return error_set(error, ERROR_INTERNAL, "work of place %d, which is none", id);
    places->list.items[id].flops = believed_work(flops);
    places->list.items[id].bytes = believed_work(bytes);
    places->works++;
    return true;
}

bool places_peak(struct places *places, int32_t scope, uint32_t phase, uint64_t bytes, struct error *error)
{
    if (scope < 0 || (size_t)scope >= places->scopes.count || (phase != PHASE_FWD && phase != PHASE_BWD))
        return error_set(error, ERROR_INTERNAL, "a peak of scope %d in phase %u, which is none", scope, phase);
    uint64_t *peak = &places->scopes.items[scope].peak_bytes[phase == PHASE_BWD];
    if (is_known_u64(bytes) && (!is_known_u64(*peak) || bytes > *peak))
        *peak = bytes;
    places->peaks++;
    return true;
}

const struct place *places_at(const struct places *places, int32_t id)
{
    return id >= 0 && (size_t)id < places->list.count ? &places->list.items[id] : &nowhere;
}

bool places_of_plan(struct places *places, const struct plan *plan, struct error *error)
{
    bool ok = true;
    for (int32_t s = 0; ok && s < plan->scope_count; s++) {
        uint64_t parameters = 0;
        for (int32_t t = 0; t < plan->tensor_count; t++)
            if (plan->tensors[t].scope == s && plan->tensors[t].kind == TENSOR_PARAMETER &&
                plan->tensors[t].parameter == t)
                parameters += plan->tensors[t].bytes;
        ok = places_add_scope(places, plan->scopes[s].parent, plan->scopes[s].name, parameters, error);
    }
    for (int32_t n = 0; ok && n < plan->node_count; n++) {
        const struct node *node = &plan->nodes[n];
        uint64_t saved = 0;
        for (int i = 0; i < NODE_MAX_OUTPUTS; i++) {
            const struct tensor *output = node->output[i] == TENSOR_NONE ? NULL : &plan->tensors[node->output[i]];
            if (output && output->kind == TENSOR_SAVED && output->view_of == TENSOR_NONE)
                saved += output->bytes;
        }
        const struct place place = {.scope = node->scope,
                                    .phase = (uint8_t)node->phase,
                                    .kernel_class = (uint8_t)op_info(node->op)->kernel_class,
                                    .op = op_info(node->op)->name,
                                    .flops = node->flops,
                                    .bytes = node->bytes,
                                    .saved_bytes = saved};
        ok = places_add(places, &place, error);
    }
    places->whole = ok;
    return ok;
}
