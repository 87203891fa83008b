#include "base/vec.h"
#include "base/limits.h"
#include <stdint.h>

void *vec_grow(void *items, size_t *capacity, size_t wanted, size_t item_size)
{
    if (wanted <= *capacity)
        return items;
    size_t size = *capacity ? *capacity * 2 : 16;
    if (size < wanted)
        size = wanted;
    void *grown = size <= SIZE_MAX / item_size ? realloc(items, size * item_size) : NULL;
    if (!grown)
        memory_exhausted(size * item_size, "bytes for a list");
    *capacity = size;
    return grown;
}
