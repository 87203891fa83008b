#include "report/modules.h"
#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* The layers whose numbers do not matter: those that lie side by side under one name but for its number, and are alike. What a
 * Sequential numbers is a convolution, a norm, an activation: each is itself. */
struct blocks {
    const struct report_layer *layers;
    int32_t *first_child, *next_sibling; /* −1: none */
    bool *folds;
};

/* Writes `path` with * for the numbers of blocks, and of what is no layer itself. `layer` has this path, or this name. */
static void general_path(const struct blocks *blocks, int32_t layer, const char *path, char *general, size_t size)
{
    size_t used = 0;
    const size_t whole = strlen(path);
    for (const char *c = path; *c && used + 1 < size;) {
        const size_t digits = (c == path || c[-1] == '.') && isdigit((unsigned char)*c) ? strspn(c, "0123456789") : 0;
        if (!digits || (c[digits] != '.' && c[digits])) {
            general[used++] = *c++;
            continue;
        }
        /* The layer that this number ends is as many bytes before the end as `layer` is deeper. */
        const size_t behind = whole - (size_t)(c + digits - path);
        int32_t at = layer;
        while (at >= 0 && strlen(blocks->layers[layer].path) - strlen(blocks->layers[at].path) < behind)
            at = blocks->layers[at].parent;
        const bool is_layer = at >= 0 && strlen(blocks->layers[layer].path) - strlen(blocks->layers[at].path) == behind;
        if (is_layer && !blocks->folds[at]) {
            const size_t room = size - 1 - used < digits ? size - 1 - used : digits;
            memcpy(general + used, c, room);
            used += room;
        } else {
            general[used++] = '*';
        }
        c += digits;
    }
    general[used] = 0;
}

static bool same_but_number(const char *a, const char *b)
{
    for (;;) {
        const size_t digits_a = strspn(a, "0123456789"), digits_b = strspn(b, "0123456789");
        if (!digits_a != !digits_b)
            return false;
        a += digits_a;
        b += digits_b;
        if (*a != *b || !*a)
            return *a == *b;
        a++;
        b++;
    }
}

static bool is_numbered(const char *name)
{
    const char *dot = strrchr(name, '.');
    const char *last = dot ? dot + 1 : name;
    return *last && last[strspn(last, "0123456789")] == 0;
}

/* Parts are the same modules in the same order, or at least half of them; what has no parts has as many parameters. */
static bool are_alike(const struct blocks *blocks, int32_t a, int32_t b)
{
    int32_t in_a = blocks->first_child[a], in_b = blocks->first_child[b], behind = in_b;
    size_t common = 0, parts_a = 0, parts_b = 0;
    if (in_a < 0 || in_b < 0) {
        const uint64_t bytes = blocks->layers[a].parameter_bytes;
        return in_a == in_b && is_known_u64(bytes) && bytes && bytes == blocks->layers[b].parameter_bytes;
    }
    for (int32_t part = in_b; part >= 0; part = blocks->next_sibling[part])
        parts_b++;
    for (; in_a >= 0; in_a = blocks->next_sibling[in_a]) {
        int32_t found = behind >= 0 ? behind : in_b; /* mostly it has the same place */
        size_t looked = 0;
        while (looked < parts_b && strcmp(blocks->layers[found].name, blocks->layers[in_a].name) != 0) {
            found = blocks->next_sibling[found] >= 0 ? blocks->next_sibling[found] : in_b;
            looked++;
        }
        if (looked < parts_b) {
            common++;
            behind = blocks->next_sibling[found];
        }
        parts_a++;
    }
    return 2 * common >= (parts_a < parts_b ? parts_a : parts_b);
}

/* Another with this one's name but for the number, before or behind it. */
static bool has_sibling(const struct blocks *blocks, int32_t l)
{
    const struct report_layer *layer = &blocks->layers[l];
    int32_t other = layer->parent >= 0 ? blocks->first_child[layer->parent] : -1;
    for (; other >= 0; other = blocks->next_sibling[other])
        if (other != l && is_numbered(blocks->layers[other].name) &&
            same_but_number(layer->name, blocks->layers[other].name))
            return true;
    return false;
}

static void blocks_find(struct blocks *blocks, struct arena *arena, const struct report_cell *cell)
{
    const size_t count = cell->layer_count;
    blocks->layers = cell->layers;
    blocks->first_child = arena_array(arena, int32_t, count + 1);
    blocks->next_sibling = arena_array(arena, int32_t, count + 1);
    blocks->folds = arena_array(arena, bool, count + 1);
    memset(blocks->first_child, -1, (count + 1) * sizeof *blocks->first_child);
    memset(blocks->next_sibling, -1, (count + 1) * sizeof *blocks->next_sibling);
    for (size_t l = count; l-- > 0;) {
        const int32_t parent = cell->layers[l].parent;
        if (parent < 0 || (size_t)parent >= l)
            continue;
        blocks->next_sibling[l] = blocks->first_child[parent];
        blocks->first_child[parent] = (int32_t)l;
    }
    for (size_t l = 0; l < count; l++) {
        if (!is_numbered(cell->layers[l].name) || blocks->folds[l])
            continue;
        /* With all behind it, or not at all. One alone is a block when it has parts. */
        const char *name = cell->layers[l].name;
        bool alike = true, behind = false;
        for (int32_t other = blocks->next_sibling[l]; other >= 0 && alike; other = blocks->next_sibling[other])
            if (is_numbered(cell->layers[other].name) && same_but_number(name, cell->layers[other].name)) {
                alike = are_alike(blocks, (int32_t)l, other);
                behind = true;
            }
        if (!alike || (!behind && (blocks->first_child[l] < 0 || has_sibling(blocks, (int32_t)l))))
            continue;
        blocks->folds[l] = true;
        for (int32_t other = blocks->next_sibling[l]; other >= 0; other = blocks->next_sibling[other])
            if (is_numbered(cell->layers[other].name) && same_but_number(name, cell->layers[other].name))
                blocks->folds[other] = true;
    }
}

/* Blocks follow each other with the same modules in the same order: the one behind the last found is nearly always it. */
static int32_t find_module(const struct modules *modules, const char *path, int32_t last)
{
    const int32_t count = (int32_t)modules->layer_count;
    for (int32_t i = 0; i < count; i++) {
        const int32_t at = (last + 1 + i) % count;
        if (strcmp(modules->layers[at].path, path) == 0)
            return at;
    }
    return -1;
}

static int32_t module_for(struct modules *modules, const struct blocks *blocks, int32_t l, int32_t last)
{
    const struct report_layer *layer = &blocks->layers[l];
    char path[sizeof((struct module *)0)->path];
    general_path(blocks, l, layer->path, path, sizeof path);
    const int32_t found = find_module(modules, path, last);
    if (found >= 0)
        return found;
    /* What only a later block has comes after its module's parent all the same, so that parents are first. */
    const bool own = strcmp(path, layer->path) == 0;
    const int32_t fresh = (int32_t)modules->layer_count++;
    char name[sizeof path];
    general_path(blocks, l, layer->name, name, sizeof name);
    modules->layers[fresh] = (struct report_layer){
        .path = own ? layer->path : arena_strdup(&modules->arena, path),
        .name = own ? layer->name : arena_strdup(&modules->arena, name),
        .parent = layer->parent >= 0 ? modules->of_layer[layer->parent] : -1,
        .depth = layer->depth,
        .peak_bytes = {UNKNOWN_U64, UNKNOWN_U64},
    };
    return fresh;
}

/* Sums of what is known; unknown while nothing is. */
static double add_known(double a, double b)
{
    return !is_known(a) ? b : is_known(b) ? a + b : a;
}

static void add_times(struct report_layer_phase *to, const struct report_layer_phase *from)
{
    to->calls += from->calls;
    to->inclusive_ns += from->inclusive_ns;
    to->exclusive_ns += from->exclusive_ns;
    to->flops = add_known(to->flops, from->flops);
    to->bytes = add_known(to->bytes, from->bytes);
}

static uint64_t add_bytes(uint64_t a, uint64_t b)
{
    return is_known_u64(a) && is_known_u64(b) ? a + b : UNKNOWN_U64;
}

void modules_tree(struct modules *modules, const struct report_cell *cell)
{
    const size_t most = cell->layer_count + 1;
    arena_release(&modules->arena);
    modules->layer_count = 0;
    modules->layers = arena_array(&modules->arena, struct report_layer, most);
    modules->of_layer = arena_array(&modules->arena, int32_t, most);
    modules->members = arena_array(&modules->arena, int32_t, most);
    struct blocks blocks;
    blocks_find(&blocks, &modules->arena, cell);
    for (size_t l = 0; l < cell->layer_count; l++) {
        const int32_t at = module_for(modules, &blocks, (int32_t)l, l ? modules->of_layer[l - 1] : -1);
        struct report_layer *module = &modules->layers[at];
        modules->of_layer[l] = at;
        modules->members[at]++;
        module->saved_bytes = add_bytes(module->saved_bytes, cell->layers[l].saved_bytes);
        module->parameter_bytes = add_bytes(module->parameter_bytes, cell->layers[l].parameter_bytes);
        for (int way = 0; way < 2; way++)
            module->peak_bytes[way] = report_highest(module->peak_bytes[way], cell->layers[l].peak_bytes[way]);
    }
    for (int pass = 0; pass < PASS_COUNT; pass++) {
        struct report_layer_phase *times =
            arena_array(&modules->arena, struct report_layer_phase, modules->layer_count * PLACE_PHASE_COUNT + 1);
        for (size_t l = 0; l < cell->layer_count; l++)
            for (int phase = 0; phase < PLACE_PHASE_COUNT; phase++)
                add_times(&times[(size_t)modules->of_layer[l] * PLACE_PHASE_COUNT + (size_t)phase],
                          cell->layers[l].phase[pass][phase]);
        for (size_t m = 0; m < modules->layer_count * PLACE_PHASE_COUNT; m++)
            modules->layers[m / PLACE_PHASE_COUNT].phase[pass][m % PLACE_PHASE_COUNT] = times + m;
    }
}

void modules_make(struct modules *modules, const struct report_cell *cell, int pass)
{
    modules_tree(modules, cell);
    modules->list.count = 0;
    for (size_t m = 0; m < modules->layer_count; m++) {
        const struct report_layer *layer = &modules->layers[m];
        const struct report_layer_phase *const *times = layer->phase[pass];
        struct module module = {
            .depth = layer->depth,
            .count = modules->members[m],
            .forward_ns = times[PHASE_FWD]->inclusive_ns,
            .backward_ns = times[PHASE_BWD]->inclusive_ns,
            .forward_flops = times[PHASE_FWD]->flops,
            .backward_flops = times[PHASE_BWD]->flops,
            .saved = layer->saved_bytes,
            .parameters = layer->parameter_bytes,
            .peaks = {layer->peak_bytes[0], layer->peak_bytes[1]},
        };
        snprintf(module.path, sizeof module.path, "%s", layer->path);
        vec_push(&modules->list, module);
    }
}

void modules_release(struct modules *modules)
{
    vec_release(&modules->list);
    arena_release(&modules->arena);
    modules->layer_count = 0;
}

const char *module_label(const struct module *module)
{
    const char *dot = strrchr(module->path, '.');
    return dot && dot[1] && dot[1] != '*' ? dot + 1 : module->path;
}
