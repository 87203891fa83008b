#include "base/arena.h"
#include "base/limits.h"
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct arena_block {
    struct arena_block *next;
    size_t used, size;
    max_align_t data[];
};

void *arena_alloc(struct arena *arena, size_t bytes)
{
    const size_t align = _Alignof(max_align_t);
    if (bytes > SIZE_MAX / 4)
        memory_exhausted(bytes, "bytes for a document");
    bytes = (bytes + align - 1) / align * align;
    struct arena_block *block = arena->blocks;
    if (!block || block->size - block->used < bytes) {
        /* Blocks double up to 1 MiB; a large request gets its own, behind the current one, so that one stays in use. */
        size_t size = block ? block->size * 2 : 4096;
        if (size > 1u << 20)
            size = 1u << 20;
        const bool own = bytes > size / 2;
        struct arena_block *fresh = calloc(1, sizeof *fresh + (own ? bytes : size));
        if (!fresh)
            memory_exhausted(bytes, "bytes for a document");
        fresh->size = own ? bytes : size;
        if (own && block) {
            fresh->next = block->next;
            block->next = fresh;
        } else {
            fresh->next = block;
            arena->blocks = fresh;
        }
        block = fresh;
    }
    void *place = (char *)block->data + block->used;
    block->used += bytes;
    arena->bytes += bytes;
    return place;
}

char *arena_strndup(struct arena *arena, const char *text, size_t length)
{
    char *copy = arena_alloc(arena, length + 1);
    memcpy(copy, text, length);
    return copy;
}

char *arena_strdup(struct arena *arena, const char *text)
{
    return arena_strndup(arena, text, strlen(text));
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    const int length = vsnprintf(NULL, 0, format, list);
    va_end(list);
    char *text = arena_alloc(arena, (size_t)length + 1);
    va_start(list, format);
    vsnprintf(text, (size_t)length + 1, format, list);
    va_end(list);
    return text;
}

void arena_release(struct arena *arena)
{
    for (struct arena_block *block = arena->blocks; block;) {
        struct arena_block *next = block->next;
        free(block);
        block = next;
    }
    *arena = (struct arena){0};
}
