#include "base/vec.h"
#include <stdio.h>

void *vec_grow(void *items, size_t *capacity, size_t wanted, size_t item_size)
{
    if (wanted <= *capacity)
        return items;
    size_t size = *capacity ? *capacity * 2 : 16;
    if (size < wanted)
        size = wanted;
    void *grown = reallocarray(items, size, item_size);
    if (!grown) {
        fprintf(stderr, "steptop: out of memory: %zu items of %zu bytes\n", size, item_size);
        abort();
    }
    *capacity = size;
    return grown;
}
