#include "report/modules.h"
#include <ctype.h>
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

static void modules_add(struct modules *modules, const struct report_layer *layer, int pass)
{
    char path[sizeof((struct module *)0)->path];
    general_path(layer->path, path, sizeof path);
    struct module *found = NULL;
    for (size_t i = 0; i < modules->list.count && !found; i++)
        if (strcmp(modules->list.items[i].path, path) == 0)
            found = &modules->list.items[i];
    if (!found) {
        struct module module = {.depth = layer->depth};
        memcpy(module.path, path, sizeof path);
        vec_push(&modules->list, module);
        found = &modules->list.items[modules->list.count - 1];
    }
    const struct report_layer_phase *times = layer->phase[pass];
    found->count++;
    found->forward_ns += times[PHASE_FWD].inclusive_ns;
    found->backward_ns += times[PHASE_BWD].inclusive_ns;
    found->forward_flops += times[PHASE_FWD].flops;
    found->backward_flops += times[PHASE_BWD].flops;
    found->saved += layer->saved_bytes;
    found->parameters += layer->parameter_bytes;
}

void modules_make(struct modules *modules, const struct report_cell *cell, int pass)
{
    for (size_t l = 0; l < cell->layer_count; l++)
        modules_add(modules, &cell->layers[l], pass);
}

void modules_release(struct modules *modules)
{
    vec_release(&modules->list);
}

const char *module_label(const struct module *module)
{
    const char *dot = strrchr(module->path, '.');
    return dot && dot[1] && dot[1] != '*' ? dot + 1 : module->path;
}
