#include "report/intern.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/random.h"
#include <stdlib.h>
#include <string.h>

void intern_init(struct intern *intern, struct arena *arena)
{
    *intern = (struct intern){.arena = arena};
    intern->seed = random_bits(clock_now(), (uint64_t)(uintptr_t)intern, 0);
}

void intern_release(struct intern *intern)
{
    free(intern->slots);
    *intern = (struct intern){0};
}

/* Eight bytes at a time through a multiply and a fold. */
static uint64_t hash_of(uint64_t seed, const char *text, size_t length)
{
    uint64_t hash = seed ^ length;
    for (; length >= 8; text += 8, length -= 8) {
        uint64_t word;
        memcpy(&word, text, 8);
        const __uint128_t product = (__uint128_t)(hash ^ word) * 0x9e3779b97f4a7c15u;
        hash = (uint64_t)product ^ (uint64_t)(product >> 64);
    }
    uint64_t word = 0;
    memcpy(&word, text, length);
    const __uint128_t product = (__uint128_t)(hash ^ word ^ seed) * 0xbf58476d1ce4e5b9u;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static struct intern_slot *find(struct intern_slot *slots, size_t capacity, uint64_t hash, const char *text,
                                size_t length)
{
    for (size_t at = hash & (capacity - 1);; at = (at + 1) & (capacity - 1)) {
        struct intern_slot *slot = &slots[at];
        if (!slot->text || (slot->hash == hash && strncmp(slot->text, text, length) == 0 && !slot->text[length]))
            return slot;
    }
}

static void grow(struct intern *intern)
{
    const size_t capacity = intern->capacity ? intern->capacity * 2 : 256;
    struct intern_slot *slots = calloc(capacity, sizeof *slots);
    if (!slots)
        memory_exhausted(intern->count, "names");
    for (size_t i = 0; i < intern->capacity; i++) {
        const struct intern_slot *old = &intern->slots[i];
        if (!old->text)
            continue;
        size_t at = old->hash & (capacity - 1);
        while (slots[at].text)
            at = (at + 1) & (capacity - 1);
        slots[at] = *old;
    }
    free(intern->slots);
    intern->slots = slots;
    intern->capacity = capacity;
}

const char *intern_text(struct intern *intern, const char *text, size_t length)
{
    if (length == 0)
        return "";
    if ((intern->count + 1) * 4 > intern->capacity * 3)
        grow(intern);
    const uint64_t hash = hash_of(intern->seed, text, length);
    struct intern_slot *slot = find(intern->slots, intern->capacity, hash, text, length);
    if (!slot->text) {
        *slot = (struct intern_slot){arena_strndup(intern->arena, text, length), hash};
        intern->count++;
    }
    return slot->text;
}
