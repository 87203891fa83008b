/* Collectives in double, as their definitions read: every rank makes the whole sum for itself, in an order of its own. */
#include "kernels/communicator.h"
#include "kernels/reference/internal.h"
#include <stdlib.h>
#include <string.h>

static bool is_collective(enum op op)
{
    return op == OP_ALL_REDUCE || op == OP_REDUCE_SCATTER || op == OP_ALL_GATHER || op == OP_BROADCAST;
}

bool reference_ranks_open(struct program *program, struct communicator *communicator, struct error *error)
{
    const struct plan *plan = program->plan;
    bool any = false;
    for (int32_t i = 0; i < plan->node_count; i++)
        any |= is_collective(plan->nodes[i].op);
    if (!any)
        return true;
    if (!communicator || communicator_world(communicator) != plan->ranks ||
        communicator_rank(communicator) != plan->rank)
        return error_set(error, ERROR_INTERNAL, "a plan of %d ranks without them", plan->ranks);
    program->communicator = communicator;
    for (int dtype = 0; dtype < DTYPE_COUNT; dtype++) {
        if (!program->arena_bytes[dtype])
            continue;
        program->peer[dtype] = calloc((size_t)plan->ranks, sizeof *program->peer[dtype]);
        if (!program->peer[dtype])
            return error_set(error, ERROR_MEMORY, "no memory for the reference's ranks");
        if (!communicator_share(communicator, program->arena_bytes[dtype], (void **)program->peer[dtype], error))
            return false;
        program->arena[dtype] = program->peer[dtype][plan->rank];
    }
    return true;
}

void reference_ranks_close(struct program *program)
{
    for (int dtype = 0; dtype < DTYPE_COUNT; dtype++) {
        free(program->peer[dtype]);
        if (program->communicator)
            program->arena[dtype] = NULL; /* the communicator's */
    }
}

/* Rank `rank`'s tensor. A rank's own slice lies elsewhere on each, so only whole tensors may be asked of another. */
static const double *values_of(const struct program *program, int32_t tensor, int32_t rank)
{
    const struct tensor *t = &program->plan->tensors[tensor];
    return program->peer[t->dtype][rank] + t->offset / dtype_size(t->dtype);
}

bool reference_collective(struct program *program, const struct node *node, struct error *error)
{
    const struct plan *plan = program->plan;
    const int64_t ranks = plan->ranks, rank = plan->rank, piece = node->dims.elements;
    const bool gathers = node->op == OP_ALL_GATHER;
    const int64_t count = gathers ? piece * ranks : piece;
    double *result = malloc((size_t)count * sizeof *result);
    double *y = (double *)(uintptr_t)values_of(program, node->output[0], (int32_t)rank);
    if (!result)
        return error_set(error, ERROR_MEMORY, "no memory for a collective of the reference");
    /* What a rank gathers lies where its own plan says; there it is first put into its place in y. */
    if (gathers)
        memmove(y + rank * piece, values_of(program, node->input[0], (int32_t)rank), (size_t)piece * sizeof *y);
    bool ok = communicator_meet(program->communicator, op_info(node->op)->name, error);
    for (int64_t i = 0; i < count && ok; i++) {
        result[i] = 0;
        if (gathers) {
            result[i] = values_of(program, node->output[0], (int32_t)(i / piece))[i];
        } else if (node->op == OP_BROADCAST) {
            result[i] = values_of(program, node->input[0], 0)[i];
        } else {
            const int64_t at = node->op == OP_REDUCE_SCATTER ? rank * piece + i : i;
            for (int32_t r = (int32_t)ranks - 1; r >= 0; r--)
                result[i] += values_of(program, node->input[0], r)[at];
            result[i] *= (double)node->scale;
        }
    }
    ok = ok && communicator_meet(program->communicator, op_info(node->op)->name, error);
    if (ok)
        memcpy(y, result, (size_t)count * sizeof *y);
    free(result);
    return ok && communicator_meet(program->communicator, op_info(node->op)->name, error);
}
