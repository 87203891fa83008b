/* A bump allocator for documents and plans: everything that belongs to one of them dies with it. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

struct arena_block;
struct arena {
    struct arena_block *blocks;
    size_t bytes; /* handed out so far */
};

/* All zero is an empty arena. Memory comes zeroed and aligned for any type. Running out of memory is fatal for the
 * caller's job and cannot be handled better far below: these abort with a message. */
void *arena_alloc(struct arena *arena, size_t bytes);
char *arena_strdup(struct arena *arena, const char *text);
char *arena_strndup(struct arena *arena, const char *text, size_t length);
char *arena_printf(struct arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));
void arena_release(struct arena *arena);

#define arena_array(arena, type, count) ((type *)arena_alloc((arena), sizeof(type) * (size_t)(count)))
