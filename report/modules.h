/* Layers of all blocks under one name: "layers.3.attn" is part of "layers.*.attn". Numbered siblings are blocks when they are alike: at
 * least half of their parts have the same names, or without parts they have as many parameters. */
#pragma once
#include "report/report.h"

struct module {
    char path[192];
    int32_t depth;
    int64_t count;
    double forward_ns, backward_ns, forward_flops, backward_flops; /* a profiled step, inclusive */
    uint64_t saved, parameters;                                    /* bytes */
    uint64_t peaks[2]; /* forward and backward: the highest of all that it stands for */
};

/* The tree of modules in the form of a cell's layers: each the sum of those that it stands for, and their highest peak. */
struct modules {
    struct report_layer *layers; /* parents first */
    size_t layer_count;
    int32_t *of_layer; /* the module of each of the cell's layers */
    int32_t *members;  /* how many layers a module stands for */
    struct arena arena;
    VEC(struct module) list; /* the same for one pass: modules_make */
};

void modules_tree(struct modules *modules, const struct report_cell *cell); /* zeroed, or made before: made anew */
void modules_make(struct modules *modules, const struct report_cell *cell, int pass);
void modules_release(struct modules *modules);
const char *module_label(const struct module *module); /* the last part of its path, the path for a block */
