/* Collectives of ranks that have no memory in common, over their connections: the same pieces and the same order of the sum as in
 * memory (collectives.c), so the same bits. What a rank sums up of the others it takes into a store of its own first. */
#include "kernels/communicator.h"
#include "kernels/cpu/cpu_collectives.h"
#include <omp.h>
#include <string.h>

struct call {
    const struct program *program;
    struct communicator *communicator;
    const struct node *node;
    char *x, *y;
    enum dtype dtype;
    int64_t size, elements; /* bytes of an element; of the node */
    int rank, world;
    struct communicator_part out[COMMUNICATOR_MAX_RANKS], in[COMMUNICATOR_MAX_RANKS];
};

/* The elements that rank `rank` sums up. */
static void piece_of(const struct call *call, int rank, int64_t *begin, int64_t *end)
{
    if (call->node->op == OP_ALL_REDUCE) {
        cpu_split(call->elements, 64, rank, call->world, begin, end);
        return;
    }
    *begin = rank * call->elements;
    *end = *begin + call->elements;
}

/* y, `count` elements of it, = the sum of what lies at each from[rank]. */
static void sum_piece(const struct call *call, const char *const *from, char *y, int64_t count, int threads)
{
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        int64_t at, until;
        float sum[COLLECTIVE_BLOCK];
        uint16_t narrow[COLLECTIVE_BLOCK];
        cpu_split(count, 64, omp_get_thread_num(), omp_get_num_threads(), &at, &until);
        for (; at < until; at += COLLECTIVE_BLOCK) {
            const int64_t block = until - at < COLLECTIVE_BLOCK ? until - at : COLLECTIVE_BLOCK;
            collective_sum(from, call->world, call->dtype, at, block, call->node->scale, sum);
            memcpy(y + at * call->size, collective_pack(call->dtype, sum, block, narrow), (size_t)(block * call->size));
        }
    }
}

static bool reduce(struct call *call, char *store, int threads, const char *what, struct error *error)
{
    const char *from[COMMUNICATOR_MAX_RANKS];
    int64_t own, own_end;
    piece_of(call, call->rank, &own, &own_end);
    const uint64_t piece = (uint64_t)((own_end - own) * call->size);
    for (int rank = 0, kept = 0; rank < call->world; rank++) {
        int64_t begin, end;
        piece_of(call, rank, &begin, &end);
        call->out[rank] =
            (struct communicator_part){call->x + begin * call->size, (uint64_t)((end - begin) * call->size)};
        call->in[rank] = (struct communicator_part){store + piece * (uint64_t)kept, piece};
        from[rank] = rank == call->rank ? call->x + own * call->size : call->in[rank].bytes;
        kept += rank != call->rank;
    }
    if (!communicator_swap(call->communicator, call->out, call->in, what, error))
        return false;
    char *const y = call->node->op == OP_ALL_REDUCE ? call->y + own * call->size : call->y;
    sum_piece(call, from, y, own_end - own, threads);
    if (call->node->op == OP_REDUCE_SCATTER)
        return true;
    for (int rank = 0; rank < call->world; rank++) {
        int64_t begin, end;
        piece_of(call, rank, &begin, &end);
        call->out[rank] = (struct communicator_part){y, piece};
        call->in[rank] =
            (struct communicator_part){call->y + begin * call->size, (uint64_t)((end - begin) * call->size)};
    }
    return communicator_swap(call->communicator, call->out, call->in, what, error);
}

/* Each rank's x to all, or rank 0's alone. */
static bool spread(struct call *call, const char *what, struct error *error)
{
    const uint64_t bytes = (uint64_t)(call->elements * call->size);
    const bool gathers = call->node->op == OP_ALL_GATHER;
    for (int rank = 0; rank < call->world; rank++) {
        if (gathers || call->rank == 0)
            call->out[rank] = (struct communicator_part){call->x, bytes};
        if (gathers || rank == 0)
            call->in[rank] = (struct communicator_part){call->y + (gathers ? (uint64_t)rank * bytes : 0), bytes};
    }
    char *const own = call->y + (gathers ? (uint64_t)call->rank * bytes : 0);
    if ((gathers || call->rank == 0) && own != call->x)
        memcpy(own, call->x, bytes);
    return communicator_swap(call->communicator, call->out, call->in, what, error);
}

size_t cpu_apart_store(const struct plan *plan)
{
    int64_t most = 0;
    for (int32_t i = 0; i < plan->node_count; i++) {
        const struct node *node = &plan->nodes[i];
        if (node->op != OP_ALL_REDUCE && node->op != OP_REDUCE_SCATTER)
            continue;
        int64_t piece = node->dims.elements;
        if (node->op == OP_ALL_REDUCE) /* in whole grains, so one more at most */
            piece = piece / plan->ranks + 64;
        piece *= (int64_t)dtype_size(plan->tensors[node->input[0]].dtype) * (plan->ranks - 1);
        most = piece > most ? piece : most;
    }
    return (size_t)most;
}

bool cpu_apart_run(const struct program *program, struct communicator *communicator, const struct node *node,
                   char *store, int threads, const char *what, struct error *error)
{
    const struct tensor *x = &program->plan->tensors[node->input[0]], *y = &program->plan->tensors[node->output[0]];
    struct call call = {.program = program,
                        .communicator = communicator,
                        .node = node,
                        .x = (char *)program->arena + x->offset,
                        .y = (char *)program->arena + y->offset,
                        .dtype = x->dtype,
                        .size = (int64_t)dtype_size(x->dtype),
                        .elements = node->dims.elements,
                        .rank = communicator_rank(communicator),
                        .world = communicator_world(communicator)};
    return node->op == OP_ALL_REDUCE || node->op == OP_REDUCE_SCATTER ? reduce(&call, store, threads, what, error)
                                                                      : spread(&call, what, error);
}
