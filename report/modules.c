#include "report/modules.h"
#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* "layers.3.attn" becomes "layers.*.attn". */
static void general_path(const char *path, char *general, size_t size)
{
    size_t used = 0;
    for (const char *c = path; *c && used + 1 < size;) {
        if ((c == path || c[-1] == '.') && isdigit((unsigned char)*c)) {
            const size_t digits = strspn(c, "0123456789");
            if (c[digits] == '.' || !c[digits]) {
                general[used++] = '*';
                c += digits;
                continue;
            }
        }
        general[used++] = *c++;
    }
    general[used] = 0;
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

static int32_t module_for(struct modules *modules, const struct report_layer *layer, int32_t last)
{
    char path[sizeof((struct module *)0)->path];
    general_path(layer->path, path, sizeof path);
    const int32_t found = find_module(modules, path, last);
    if (found >= 0)
        return found;
    /* What only a later block has comes after its module's parent all the same, so that parents are first. */
    const bool own = strcmp(path, layer->path) == 0;
    const int32_t fresh = (int32_t)modules->layer_count++;
    char name[sizeof path];
    general_path(layer->name, name, sizeof name);
    modules->layers[fresh] = (struct report_layer){
        .path = own ? layer->path : arena_strdup(&modules->arena, path),
        .name = own ? layer->name : arena_strdup(&modules->arena, name),
        .parent = layer->parent >= 0 ? modules->of_layer[layer->parent] : -1,
        .depth = layer->depth,
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
    for (size_t l = 0; l < cell->layer_count; l++) {
        const int32_t at = module_for(modules, &cell->layers[l], l ? modules->of_layer[l - 1] : -1);
        struct report_layer *module = &modules->layers[at];
        modules->of_layer[l] = at;
        modules->members[at]++;
        module->saved_bytes = add_bytes(module->saved_bytes, cell->layers[l].saved_bytes);
        module->parameter_bytes = add_bytes(module->parameter_bytes, cell->layers[l].parameter_bytes);
    }
    for (int pass = 0; pass < PASS_COUNT; pass++) {
        struct report_layer_phase *times =
            arena_array(&modules->arena, struct report_layer_phase, modules->layer_count * PLACE_PHASE_COUNT + 1);
        for (size_t l = 0; l < cell->layer_count; l++)
            for (int phase = 0; phase < PLACE_PHASE_COUNT; phase++)
                add_times(&times[(size_t)modules->of_layer[l] * PLACE_PHASE_COUNT + (size_t)phase],
                          &cell->layers[l].phase[pass][phase]);
        for (size_t m = 0; m < modules->layer_count; m++)
            modules->layers[m].phase[pass] = times + m * PLACE_PHASE_COUNT;
    }
}

void modules_make(struct modules *modules, const struct report_cell *cell, int pass)
{
    modules_tree(modules, cell);
    modules->list.count = 0;
    for (size_t m = 0; m < modules->layer_count; m++) {
        const struct report_layer *layer = &modules->layers[m];
        const struct report_layer_phase *times = layer->phase[pass];
        struct module module = {
            .depth = layer->depth,
            .count = modules->members[m],
            .forward_ns = times[PHASE_FWD].inclusive_ns,
            .backward_ns = times[PHASE_BWD].inclusive_ns,
            .forward_flops = times[PHASE_FWD].flops,
            .backward_flops = times[PHASE_BWD].flops,
            .saved = layer->saved_bytes,
            .parameters = layer->parameter_bytes,
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
