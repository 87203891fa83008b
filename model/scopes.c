/* The module tree as people read it. */
#include "model/builder.h"
#include <stdlib.h>

/* Puts the scopes in the order in which the step enters them, children right after their parents' other children, and drops
 * those that fusion left without nodes and parameters. */
bool scopes_arrange(struct builder *builder, struct error *error)
{
    const int32_t count = (int32_t)builder->scopes.count;
    struct scope *scopes = builder->scopes.items;
    int64_t *entered = malloc((size_t)count * sizeof *entered); /* first node below the scope; INT64_MAX: none */
    int32_t *place = malloc((size_t)count * sizeof *place);
    struct scope *sorted = malloc((size_t)count * sizeof *sorted);
    const bool ok = entered && place && sorted;
    if (!ok) {
        error_set(error, ERROR_MEMORY, "no memory to arrange %d scopes", count);
        goto done;
    }
    for (int32_t i = 0; i < count; i++) {
        entered[i] = INT64_MAX;
        place[i] = -1;
    }
    for (size_t i = 0; i < builder->nodes.count; i++)
        if (entered[builder->nodes.items[i].scope] == INT64_MAX)
            entered[builder->nodes.items[i].scope] = (int64_t)i;
    for (size_t i = 0; i < builder->tensors.count; i++) {
        int64_t *at = &entered[builder->tensors.items[i].scope]; /* only parameters there: after those with nodes */
        if (*at == INT64_MAX)
            *at = INT32_MAX + (int64_t)i;
    }
    for (int32_t i = count - 1; i > 0; i--) /* children come after parents */
        if (entered[i] < entered[scopes[i].parent])
            entered[scopes[i].parent] = entered[i];
    int32_t placed = 0;
    sorted[placed] = scopes[0];
    place[0] = placed++;
    /* Depth first: the next scope is the earliest entered child, not placed yet, of the deepest open scope. */
    for (int32_t open = 0; open >= 0;) {
        int32_t next = -1;
        for (int32_t i = open + 1; i < count; i++)
            if (scopes[i].parent == open && place[i] < 0 && entered[i] != INT64_MAX &&
                (next < 0 || entered[i] < entered[next]))
                next = i;
        if (next < 0) {
            open = scopes[open].parent;
            continue;
        }
        sorted[placed] = scopes[next];
        sorted[placed].parent = place[open];
        place[next] = placed++;
        open = next;
    }
    for (size_t i = 0; i < builder->nodes.count; i++)
        builder->nodes.items[i].scope = place[builder->nodes.items[i].scope];
    for (size_t i = 0; i < builder->tensors.count; i++)
        builder->tensors.items[i].scope = place[builder->tensors.items[i].scope];
    for (int32_t i = 0; i < placed; i++)
        scopes[i] = sorted[i];
    builder->scopes.count = (size_t)placed;
done:
    free(entered);
    free(place);
    free(sorted);
    return ok;
}
