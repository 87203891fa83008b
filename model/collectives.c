/* The plan of a benchmark: one collective, over and over, on a buffer of its own. As in training nothing is copied: all-reduce and
 * broadcast work in place, a piece lies where it belongs in the whole. */
#include "base/unknown.h"
#include "model/builder.h"
#include <string.h>

static const struct {
    const char *name;
    enum op op;
} collectives[COLLECTIVE_COUNT] = {
    [COLLECTIVE_NONE] = {"none", OP_COUNT},
    [COLLECTIVE_ALL_REDUCE] = {"all_reduce", OP_ALL_REDUCE},
    [COLLECTIVE_REDUCE_SCATTER] = {"reduce_scatter", OP_REDUCE_SCATTER},
    [COLLECTIVE_ALL_GATHER] = {"all_gather", OP_ALL_GATHER},
    [COLLECTIVE_BROADCAST] = {"broadcast", OP_BROADCAST},
};

const char *collective_name(enum collective collective)
{
    return (unsigned)collective < COLLECTIVE_COUNT ? collectives[collective].name : "?";
}

double collective_bus_factor(const char *op, int ranks)
{
    const double n = ranks;
    for (int i = 1; i < COLLECTIVE_COUNT; i++)
        if (strcmp(op, collectives[i].name) == 0)
            return i == COLLECTIVE_ALL_REDUCE ? 2 * (n - 1) / n : i == COLLECTIVE_BROADCAST ? 1 : (n - 1) / n;
    return UNKNOWN_DOUBLE;
}

/* A call costs the host some microseconds, and ranks do not come to the millionth of a second: of short ones many are timed at once. */
#define SERIES_BYTES 400000000
#define SERIES_MOST 20
int collective_series(int64_t bytes)
{
    const int64_t fitting = bytes > 0 ? SERIES_BYTES / bytes : 1;
    return fitting < 1 ? 1 : fitting > SERIES_MOST ? SERIES_MOST : (int)fitting;
}

int64_t collective_bytes(const struct ranks_request *ranks)
{
    const int64_t size = ranks->bf16_gradients ? 2 : 4, step = 64 * (int64_t)ranks->ranks;
    const int64_t elements = ranks->bucket_bytes / size / step * step;
    return (elements > step ? elements : step) * size;
}

void collective_build(struct builder *builder)
{
    const struct ranks_request *ranks = &builder->request->ranks;
    const enum op op = collectives[ranks->collective].op;
    const enum dtype dtype = ranks->bf16_gradients ? DTYPE_BF16 : DTYPE_F32;
    const int64_t elements = collective_bytes(ranks) / (int64_t)dtype_size(dtype), piece = elements / ranks->ranks;
    scope_child(builder, -1, "model", -1);
    const int32_t scope = scope_child(builder, 0, collective_name(ranks->collective), -1);
    const int32_t whole = tensor_add(builder, "buffer", dtype, TENSOR_PARAMETER, scope, SHAPE(elements));
    int32_t x = whole, y = whole;
    if (op == OP_REDUCE_SCATTER || op == OP_ALL_GATHER) {
        const int32_t own =
            view_add(builder, "buffer.piece", whole, (uint64_t)(piece * ranks->rank) * dtype_size(dtype), SHAPE(piece));
        *(op == OP_ALL_GATHER ? &x : &y) = own;
    }
    const struct node node = collective_node(builder, op, PHASE_FWD, scope, x, y, x == y ? elements : piece);
    for (int i = collective_series(collective_bytes(ranks)); i > 0; i--)
        node_push(builder, &node);
}
