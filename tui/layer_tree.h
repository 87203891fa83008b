/* The modules of a run as a tree with the kernels of each as its leaves: a cell's layers as they are, or those of all blocks as
 * one. Times are per profiled step. */
#pragma once
#include "base/vec.h"
#include "report/modules.h"

/* A module, or a kernel of it. */
struct spot {
    int32_t layer; /* index in the tree */
    int32_t leaf;  /* index in the leaves; −1: the module itself */
};

struct tree {
    const struct report_cell *cell;
    uint32_t run;     /* made of this run's */
    uint64_t version; /* of then */
    bool blocks_apart, made;
    int pass;
    const struct report_layer *layers;
    int32_t count;
    struct modules modules;
    VEC(struct report_entry) leaves; /* kernels: scope is the index in layers */
    VEC(int32_t) first_leaf, next_leaf, first_child, next_sibling;
    VEC(bool) holds_blocks; /* somewhere below it: layers.*, transformer.h.* */
};

/* Brings the tree up to date; what did not change is kept. */
void tree_make(struct tree *tree, const struct report_cell *cell, int pass, bool blocks_apart);
void tree_release(struct tree *tree);

bool tree_is_block(const struct tree *tree, int32_t layer); /* all blocks as one: "layers.*" */
double tree_phase(const struct tree *tree, struct spot at, int phase, bool exclusive);
double tree_time(const struct tree *tree, struct spot at, bool exclusive); /* all phases */
double tree_work(const struct tree *tree, struct spot at, bool flops);     /* modelled FLOPs or bytes of a step */
double tree_calls(const struct tree *tree, struct spot at);                /* exclusive, over all profiled steps */
/* The layer of the same path in another tree, or −1. */
int32_t tree_same(const struct tree *tree, const struct tree *other, int32_t layer);
uint64_t tree_layer_id(const struct tree *tree, int32_t layer);
uint64_t tree_leaf_id(const struct tree *tree, const struct report_entry *leaf);
