/* Plans made by hand for tests of devices: one op, after the forward op whose results it needs. */
#pragma once
#include "kernels/device.h"

enum fill { FILL_NONE, FILL_NORMAL, FILL_POSITIVE, FILL_TOKENS, FILL_TURNS };

#define MADE_TENSORS 24
struct made {
    struct plan plan;
    struct tensor tensors[MADE_TENSORS];
    enum fill fill[MADE_TENSORS];
    struct node nodes[4];
    struct scope scope;
};

/* Sizes that every op can be made with; rows are batch · context. */
struct made_sizes {
    int64_t batch, context, heads, head_dim, d_in, d_out, vocab;
};

/* The plan of `op` at these sizes. Operands that the op reads and no earlier node writes have a fill. `sliced` makes the
 * operands that may be column slices so. */
void made_op(struct made *made, enum op op, const struct made_sizes *sizes, bool sliced);

/* Values for one tensor by its fill, from (seed, tensor): floats, or int32 for tokens. Malloc'ed. */
void *made_values(const struct made *made, int32_t tensor, uint64_t seed);

/* The only node's or last node's index. */
int32_t made_last(const struct made *made);
