#include "kernels/cuda/cupti_names.h"
#include "base/hash.h"
#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef char *demangle_function(const char *symbol, char *buffer, size_t *length, int *status);

/* The C++ ABI's own demangler, where a C++ runtime is installed (cuBLAS brings one into most processes). */
static char *symbol_demangle(const char *symbol)
{
    if (strncmp(symbol, "_Z", 2))
        return NULL;
    void *library = dlopen("libstdc++.so.6", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return NULL;
    demangle_function *demangle = (demangle_function *)dlsym(library, "__cxa_demangle");
    int status = -1;
    char *text = demangle ? demangle(symbol, NULL, NULL, &status) : NULL;
    dlclose(library);
    return status ? NULL : text;
}

/* Cuts the parameter list: from the parenthesis that the last one closes. "(anonymous namespace)" before it stays. */
static void parameters_cut(char *text)
{
    size_t length = strlen(text);
    if (!length || text[length - 1] != ')')
        return;
    int depth = 0;
    for (size_t i = length; i-- > 0;) {
        depth += text[i] == ')';
        depth -= text[i] == '(';
        if (!depth) {
            if (i)
                text[i] = '\0';
            return;
        }
    }
}

void kernel_name_tidy(const char *symbol, char *name, size_t size)
{
    char *demangled = symbol_demangle(symbol);
    const char *text = symbol;
    if (demangled) {
        parameters_cut(demangled);
        text = strncmp(demangled, "void ", 5) ? demangled : demangled + 5;
    }
    size_t limit = size < KERNEL_NAME_MAX ? size : KERNEL_NAME_MAX;
    size_t length = strlen(text);
    if (length < limit)
        memcpy(name, text, length + 1);
    else
        snprintf(name, limit, "%.*s~%08x", (int)(limit - 10), text, (unsigned)hash_text(HASH_START, text));
    free(demangled);
}

#define NAME_SLOTS 4096u

struct name_slot {
    const char *key;
    char *text; /* what `key` pointed to */
    uint32_t id;
};

struct name_cache {
    const struct probe *probe;
    uint32_t used;
    struct name_slot slots[NAME_SLOTS];
};

struct name_cache *name_cache_create(const struct probe *probe)
{
    struct name_cache *cache = calloc(1, sizeof *cache);
    if (cache)
        cache->probe = probe;
    return cache;
}

void name_cache_free(struct name_cache *cache)
{
    if (!cache)
        return;
    for (uint32_t i = 0; i < NAME_SLOTS; i++)
        free(cache->slots[i].text);
    free(cache);
}

static uint32_t name_intern(const struct name_cache *cache, const char *text, bool is_symbol)
{
    char tidy[KERNEL_NAME_MAX];
    if (is_symbol)
        kernel_name_tidy(text, tidy, sizeof tidy);
    return cache->probe->intern(cache->probe->context, is_symbol ? tidy : text);
}

static uint32_t name_find(struct name_cache *cache, const char *key, bool is_symbol)
{
    uint32_t at = (uint32_t)(((uintptr_t)key * 0x9e3779b97f4a7c15u) >> 40);
    for (uint32_t i = 0; i < NAME_SLOTS; i++, at++) {
        struct name_slot *slot = &cache->slots[at % NAME_SLOTS];
        if (slot->key == key) {
            if (strcmp(slot->text, key)) {
                char *text = strdup(key);
                if (!text)
                    break;
                free(slot->text);
                slot->text = text;
                slot->id = name_intern(cache, key, is_symbol);
            }
            return slot->id;
        }
        if (slot->key)
            continue;
        if (cache->used >= NAME_SLOTS * 3 / 4 || !(slot->text = strdup(key)))
            break;
        slot->key = key;
        slot->id = name_intern(cache, key, is_symbol);
        cache->used++;
        return slot->id;
    }
    return name_intern(cache, key, is_symbol); /* the cache is full: the probe finds the id itself, more slowly */
}

uint32_t name_cache_symbol(struct name_cache *cache, const char *symbol)
{
    return name_find(cache, symbol ? symbol : "(kernel without a name)", symbol != NULL);
}

uint32_t name_cache_text(struct name_cache *cache, const char *text)
{
    return name_find(cache, text, false);
}
