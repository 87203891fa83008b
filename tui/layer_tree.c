#include "tui/layer_tree.h"
#include "tui/rows.h"
#include <string.h>

uint64_t tree_layer_id(const struct tree *tree, int32_t layer)
{
    return text_id(tree->layers[layer].path, 201);
}

uint64_t tree_leaf_id(const struct tree *tree, const struct report_entry *leaf)
{
    return text_id(tree->cell->kernels[leaf->kernel].name, tree_layer_id(tree, leaf->scope) + leaf->phase + 1);
}

void tree_release(struct tree *tree)
{
    modules_release(&tree->modules);
    vec_release(&tree->leaves);
    vec_release(&tree->first_leaf);
    vec_release(&tree->next_leaf);
    vec_release(&tree->first_child);
    vec_release(&tree->next_sibling);
    vec_release(&tree->holds_blocks);
}

bool tree_is_block(const struct tree *tree, int32_t layer)
{
    const char *path = tree->layers[layer].path;
    return path[0] && path[strlen(path) - 1] == '*';
}

/* A kernel that several blocks launch is one row of the module that they have in common. */
static void add_leaf(struct tree *tree, const struct report_entry *entry, int32_t layer)
{
    for (int32_t at = tree->first_leaf.items[layer]; at >= 0; at = tree->next_leaf.items[at]) {
        struct report_entry *leaf = &tree->leaves.items[at];
        if (leaf->kernel != entry->kernel)
            continue;
        leaf->calls += entry->calls;
        leaf->total_ns += entry->total_ns;
        leaf->flops = sum_known(leaf->flops, entry->flops);
        leaf->bytes = sum_known(leaf->bytes, entry->bytes);
        return;
    }
    struct report_entry leaf = *entry;
    leaf.scope = layer;
    vec_push(&tree->leaves, leaf);
    vec_push(&tree->next_leaf, tree->first_leaf.items[layer]);
    tree->first_leaf.items[layer] = (int32_t)tree->leaves.count - 1;
}

void tree_make(struct tree *tree, const struct report_cell *cell, int pass, bool blocks_apart)
{
    const bool same = tree->made && tree->run == cell->run_id && tree->version == cell->version && tree->pass == pass &&
                      tree->blocks_apart == blocks_apart;
    tree->cell = cell;
    if (same)
        return;
    tree->made = true;
    tree->run = cell->run_id;
    tree->version = cell->version;
    tree->blocks_apart = blocks_apart;
    tree->pass = pass;
    modules_tree(&tree->modules, cell);
    tree->layers = blocks_apart ? cell->layers : tree->modules.layers;
    tree->count = (int32_t)(blocks_apart ? cell->layer_count : tree->modules.layer_count);
    tree->leaves.count = tree->next_leaf.count = tree->first_leaf.count = 0;
    tree->first_child.count = tree->next_sibling.count = tree->holds_blocks.count = 0;
    for (int32_t i = 0; i < tree->count; i++) {
        vec_push(&tree->first_leaf, -1);
        vec_push(&tree->first_child, -1);
        vec_push(&tree->next_sibling, -1);
        vec_push(&tree->holds_blocks, false);
    }
    /* From behind, so that both lists are in the order of what they are made of. */
    for (size_t i = cell->entry_count; i-- > 0;) {
        const struct report_entry *entry = &cell->entries[i];
        if (entry->pass == pass && entry->scope >= 0 && (size_t)entry->scope < cell->layer_count)
            add_leaf(tree, entry, blocks_apart ? entry->scope : tree->modules.of_layer[entry->scope]);
    }
    for (int32_t i = tree->count; i-- > 0;) {
        const int32_t parent = tree->layers[i].parent;
        if (parent < 0 || parent >= i)
            continue;
        tree->next_sibling.items[i] = tree->first_child.items[parent];
        tree->first_child.items[parent] = i;
        tree->holds_blocks.items[parent] |= tree->holds_blocks.items[i] || tree_is_block(tree, i);
    }
}

/* The layer of the same path in another tree; mostly it has the same place. */
int32_t tree_same(const struct tree *tree, const struct tree *other, int32_t layer)
{
    const char *path = tree->layers[layer].path;
    for (int32_t i = 0; i < other->count; i++) {
        const int32_t at = (layer + i) % other->count;
        if (strcmp(other->layers[at].path, path) == 0)
            return at;
    }
    return -1;
}

double tree_phase(const struct tree *tree, struct spot at, int phase, bool exclusive)
{
    if (at.leaf < 0) {
        const struct report_layer_phase *times = tree->layers[at.layer].phase[tree->pass][phase];
        return exclusive ? times->exclusive_ns : times->inclusive_ns;
    }
    const struct report_entry *leaf = &tree->leaves.items[at.leaf];
    const double steps = pass_steps(&tree->cell->passes[tree->pass]);
    if (leaf->phase != phase)
        return 0;
    return steps > 0 ? (double)leaf->total_ns / steps : UNKNOWN_DOUBLE;
}

double tree_work(const struct tree *tree, struct spot at, bool flops)
{
    if (at.leaf >= 0) {
        const double steps = pass_steps(&tree->cell->passes[tree->pass]);
        const struct report_entry *leaf = &tree->leaves.items[at.leaf];
        return steps > 0 ? (flops ? leaf->flops : leaf->bytes) / steps : UNKNOWN_DOUBLE;
    }
    double sum = 0;
    for (int phase = 0; phase < PLACE_PHASE_COUNT; phase++) {
        const struct report_layer_phase *times = tree->layers[at.layer].phase[tree->pass][phase];
        sum = sum_known(sum, flops ? times->flops : times->bytes);
    }
    return sum;
}

double tree_time(const struct tree *tree, struct spot at, bool exclusive)
{
    double sum = 0;
    for (int phase = 0; phase < PLACE_PHASE_COUNT; phase++)
        sum += tree_phase(tree, at, phase, exclusive);
    return sum;
}

double tree_calls(const struct tree *tree, struct spot at)
{
    uint64_t calls = 0;
    if (at.leaf >= 0)
        return (double)tree->leaves.items[at.leaf].calls;
    for (int phase = 0; phase < PLACE_PHASE_COUNT; phase++)
        calls += tree->layers[at.layer].phase[tree->pass][phase]->calls;
    return (double)calls;
}
