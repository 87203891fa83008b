#include "tui/flame.h"
#include "base/limits.h"
#include <stdlib.h>
#include <string.h>

const char *const flame_titles[FLAME_LEVELS] = {"phase", "block", "part"};

/* "layers.3", "3" below "h", "encoder_layer_3". */
static bool is_numbered(const char *name)
{
    size_t end = strlen(name);
    const size_t length = end;
    while (end > 0 && name[end - 1] >= '0' && name[end - 1] <= '9')
        end--;
    return end < length && (end == 0 || name[end - 1] == '.' || name[end - 1] == '_');
}

void flame_make(struct flame *flame, const struct report_cell *cell)
{
    flame->cell = cell;
    flame->holds = calloc(cell->layer_count + 1, sizeof *flame->holds);
    if (!flame->holds)
        memory_exhausted(cell->layer_count, "layers");
    /* Parents are before their children. */
    for (size_t i = cell->layer_count; i-- > 0;) {
        const int32_t parent = cell->layers[i].parent;
        if (parent >= 0 && (size_t)parent < i)
            flame->holds[parent] |= flame->holds[i] || is_numbered(cell->layers[i].name);
    }
}

void flame_release(struct flame *flame)
{
    free(flame->holds);
    *flame = (struct flame){0};
}

/* A number alone is told with what it counts: the end of the layer's path. */
static const char *block_name(const struct report_cell *cell, int32_t layer)
{
    const struct report_layer *own = &cell->layers[layer];
    if (own->parent < 0 || own->name[strspn(own->name, "0123456789")])
        return own->name;
    const size_t length = strlen(own->path), tail = strlen(own->name) + 1 + strlen(cell->layers[own->parent].name);
    return length >= tail && cell->layers[own->parent].parent >= 0 ? own->path + length - tail : own->name;
}

const char *flame_name(const struct flame *flame, int phase, int32_t scope, int level)
{
    const struct report_cell *cell = flame->cell;
    int32_t path[64];
    int depth = 0;
    if (level == 0)
        return phase_name((enum phase)phase);
    for (; scope >= 0 && (size_t)scope < cell->layer_count && depth < 64; scope = cell->layers[scope].parent)
        path[depth++] = scope;
    if (depth == 0)
        return level == 1 ? "(no module)" : "";
    /* path: from the module up to the model. What only holds the blocks (transformer, and h in it) is passed over. */
    int block = depth > 1 ? depth - 2 : 0;
    while (block > 0 && flame->holds[path[block]] && !is_numbered(cell->layers[path[block]].name))
        block--;
    block -= level - 1;
    return block < 0 ? "" : level == 1 ? block_name(cell, path[block]) : cell->layers[path[block]].name;
}

void flame_stretch(const struct area *area, int y, int from, int to, enum style style, const char *name)
{
    if (!name || !*name)
        return;
    const int room = to - from - 1;
    const char *last = strrchr(name, '.'); /* of "layers.2" what tells it from its neighbours */
    if (last && last[1] && text_columns(name, false) > room && text_columns(last + 1, false) <= room)
        name = last + 1;
    area_put(area, y, from, style, 0x258f);
    /* An ellipsis alone says nothing, a first letter a little. */
    if (room < 3)
        area_text(area, y, from + 1, room > 0 ? room : 0, style, name);
    else
        area_text_fit(area, y, from + 1, room, style, name);
}
