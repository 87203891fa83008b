/* A growing array of one type, for the few places that need it:  VEC(struct cell) cells = {0};  vec_push(&cells, cell); */
#pragma once
#include <stddef.h>
#include <stdlib.h>

#define VEC(type)                                                                                                      \
    struct {                                                                                                           \
        type *items;                                                                                                   \
        size_t count, capacity;                                                                                        \
    }

void *vec_grow(void *items, size_t *capacity, size_t wanted, size_t item_size);

#define vec_reserve(vec, wanted)                                                                                       \
    ((vec)->items = vec_grow((vec)->items, &(vec)->capacity, (wanted), sizeof *(vec)->items))
#define vec_push(vec, item) (vec_reserve((vec), (vec)->count + 1), (vec)->items[(vec)->count++] = (item))
#define vec_release(vec) (free((vec)->items), (vec)->items = NULL, (vec)->count = (vec)->capacity = 0)
