/* Layers of all blocks under one name: "layers.3.attn" is part of "layers.*.attn". */
#pragma once
#include "report/report.h"

struct module {
    char path[192];
    int32_t depth;
    int64_t count;
    double forward_ns, backward_ns, forward_flops, backward_flops; /* a profiled step, inclusive */
    uint64_t saved, parameters;                                    /* bytes */
};

struct modules {
    VEC(struct module) list;
};

void modules_make(struct modules *modules, const struct report_cell *cell, int pass);
void modules_release(struct modules *modules);
const char *module_label(const struct module *module); /* the last part of its path, the path for a block */
