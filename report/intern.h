/* Each distinct text once: a report of a thousand cells names the same few kernels in each. */
#pragma once
#include "base/arena.h"
#include <stddef.h>
#include <stdint.h>

struct intern_slot {
    const char *text;
    uint64_t hash;
};
struct intern {
    struct arena *arena; /* the texts' */
    struct intern_slot *slots;
    size_t count, capacity;
    uint64_t seed; /* so that nobody can prepare texts that collide */
};

void intern_init(struct intern *intern, struct arena *arena);
const char *intern_text(struct intern *intern, const char *text, size_t length);
void intern_release(struct intern *intern); /* the texts stay in the arena */
