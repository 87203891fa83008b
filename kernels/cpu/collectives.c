/* Collectives over shared memory. Every rank's arena lies in a file that all of them map, so nothing is copied to be sent: in an
 * all-reduce each rank adds up its piece of all arenas and writes the sum into all of them, once. The order of the sum is that of
 * the ranks, whoever makes it, so all ranks get the same bits.
 *
 * Nodes that are `aside` run on a thread of their own, which the step's thread waits for where memory says so. */
#include "base/clock.h"
#include "kernels/communicator.h"
#include "kernels/cpu/bf16.h"
#include "kernels/cpu/cpu_collectives.h"
#include "kernels/schedule.h"
#include <omp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cpu_ranks {
    struct communicator *communicator;
    int rank, world;
    char *arena[COMMUNICATOR_MAX_RANKS]; /* of all; none where they have no memory in common */
    char *store;                         /* then, of what comes of the others */
    int32_t *wait;                       /* by node: schedule_waits */
    uint64_t *times;                     /* by node: start and end of those that were aside, this step */
    /* The thread and what it is told, under the lock. */
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t lock;
    pthread_cond_t change;
    int32_t *queue;
    int32_t queued, done; /* of the step */
    bool leave, failed;
    struct error error;
};

void collective_sum(const char *const *from, int world, enum dtype dtype, int64_t first, int64_t count, float scale,
                    float *restrict sum)
{
    for (int rank = 0; rank < world; rank++) {
        if (dtype == DTYPE_BF16) {
            const uint16_t *restrict x = (const uint16_t *)(const void *)from[rank] + first;
            for (int64_t i = 0; i < count && rank == 0; i++)
                sum[i] = bf16_get(x[i]);
            for (int64_t i = 0; i < count && rank > 0; i++)
                sum[i] += bf16_get(x[i]);
        } else {
            const float *restrict x = (const float *)(const void *)from[rank] + first;
            if (rank == 0)
                memcpy(sum, x, (size_t)count * sizeof *sum);
            else
                for (int64_t i = 0; i < count; i++)
                    sum[i] += x[i];
        }
    }
    for (int64_t i = 0; i < count; i++)
        sum[i] *= scale;
}

const void *collective_pack(enum dtype dtype, const float *restrict sum, int64_t count, uint16_t *restrict narrow)
{
    if (dtype == DTYPE_F32)
        return sum;
    for (int64_t i = 0; i < count; i++)
        narrow[i] = bf16_make(sum[i]);
    return narrow;
}

/* This rank's part of the work, by `threads` threads. */
static void collective_work(const struct program *program, const struct node *node, int threads)
{
    const struct cpu_ranks *ranks = program->ranks;
    const struct tensor *x = &program->plan->tensors[node->input[0]], *y = &program->plan->tensors[node->output[0]];
    const enum dtype dtype = x->dtype;
    const int64_t size = (int64_t)dtype_size(dtype), world = ranks->world, elements = node->dims.elements;
    const bool reduces = node->op == OP_ALL_REDUCE || node->op == OP_REDUCE_SCATTER;
    int64_t begin = 0, end = elements; /* of x, the elements that this rank reads */
    if (node->op == OP_ALL_REDUCE)
        cpu_split(elements, 64, ranks->rank, ranks->world, &begin, &end);
    else if (node->op == OP_REDUCE_SCATTER)
        begin = ranks->rank * elements, end = begin + elements;
    else if (node->op == OP_BROADCAST && ranks->rank == 0)
        end = 0; /* the others come and get it */
    const char *from_rank[COMMUNICATOR_MAX_RANKS];
    for (int rank = 0; rank < world; rank++)
        from_rank[rank] = ranks->arena[rank] + x->offset;
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        int64_t at, until;
        float sum[COLLECTIVE_BLOCK];
        uint16_t narrow[COLLECTIVE_BLOCK];
        cpu_split(end - begin, 64, omp_get_thread_num(), omp_get_num_threads(), &at, &until);
        for (at += begin, until += begin; at < until; at += COLLECTIVE_BLOCK) {
            const int64_t count = until - at < COLLECTIVE_BLOCK ? until - at : COLLECTIVE_BLOCK;
            if (reduces) {
                collective_sum(from_rank, ranks->world, dtype, at, count, node->scale, sum);
                const void *packed = collective_pack(dtype, sum, count, narrow);
                if (node->op == OP_REDUCE_SCATTER)
                    memcpy((char *)program->arena + y->offset + (at - begin) * size, packed, (size_t)(count * size));
                else
                    for (int64_t rank = 0; rank < world; rank++)
                        memcpy(ranks->arena[rank] + y->offset + at * size, packed, (size_t)(count * size));
                continue;
            }
            const bool gathers = node->op == OP_ALL_GATHER;
            const char *from = (gathers ? (char *)program->arena : ranks->arena[0]) + x->offset + at * size;
            for (int64_t rank = 0; rank < (gathers ? world : 1); rank++) {
                char *to = gathers ? ranks->arena[rank] + y->offset + (ranks->rank * elements + at) * size
                                   : (char *)program->arena + y->offset + at * size;
                if (to != from)
                    memcpy(to, from, (size_t)(count * size));
            }
        }
    }
}

static bool collective_run(const struct program *program, const struct node *node, int threads, struct error *error)
{
    struct communicator *communicator = program->ranks->communicator;
    char what[160];
    snprintf(what, sizeof what, "the %s of %s", op_info(node->op)->name, program->plan->scopes[node->scope].path);
    if (communicator_apart(communicator))
        return cpu_apart_run(program, communicator, node, program->ranks->store, threads, what, error);
    /* Nobody reads before all have written, nobody goes on before all have read. */
    if (!communicator_meet(communicator, what, error))
        return false;
    collective_work(program, node, threads);
    return communicator_meet(communicator, what, error);
}

/* Without a rank beside it there is nothing to run: cpu_run never gets here. */
void cpu_collective(struct program *program, const struct node *node)
{
    (void)program, (void)node;
}

static void *aside_loop(void *argument)
{
    const struct program *program = argument;
    struct cpu_ranks *ranks = program->ranks;
    pthread_mutex_lock(&ranks->lock);
    for (;;) {
        while (!ranks->leave && ranks->done == ranks->queued)
            pthread_cond_wait(&ranks->change, &ranks->lock);
        if (ranks->leave)
            break;
        const int32_t node = ranks->queue[ranks->done];
        bool ok = !ranks->failed;
        pthread_mutex_unlock(&ranks->lock);
        struct error error = {0};
        ranks->times[2 * node] = clock_now();
        ok = ok && collective_run(program, &program->plan->nodes[node], 1, &error);
        ranks->times[2 * node + 1] = clock_now();
        pthread_mutex_lock(&ranks->lock);
        if (!ok && !ranks->failed) {
            ranks->failed = true;
            ranks->error = error;
        }
        ranks->done++;
        pthread_cond_broadcast(&ranks->change);
    }
    pthread_mutex_unlock(&ranks->lock);
    return NULL;
}

static bool plan_has(const struct plan *plan, bool aside)
{
    for (int32_t i = 0; i < plan->node_count; i++)
        if (op_info(plan->nodes[i].op)->kernel_class == CLASS_COLLECTIVE && (!aside || plan->nodes[i].aside))
            return true;
    return false;
}

static bool share_arenas(struct program *program, struct communicator *communicator, struct error *error)
{
    struct cpu_ranks *ranks = program->ranks;
    void *pieces[COMMUNICATOR_MAX_RANKS];
    if (!communicator_share(communicator, program->arena_bytes, pieces, error))
        return false;
    for (int rank = 0; rank < ranks->world; rank++)
        ranks->arena[rank] = pieces[rank];
    program->arena = pieces[ranks->rank];
    return true;
}

bool cpu_ranks_open(struct program *program, struct communicator *communicator, struct error *error)
{
    const struct plan *plan = program->plan;
    if (!plan_has(plan, false))
        return true;
    if (!communicator || communicator_world(communicator) != plan->ranks ||
        communicator_rank(communicator) != plan->rank)
        return error_set(error, ERROR_INTERNAL, "a plan of rank %d of %d was given to a rank that is not that one",
                         plan->rank, plan->ranks);
    struct cpu_ranks *ranks = program->ranks = calloc(1, sizeof *ranks);
    const size_t room = (size_t)plan->node_count + 1;
    if (ranks) {
        pthread_mutex_init(&ranks->lock, NULL);
        pthread_cond_init(&ranks->change, NULL);
        ranks->communicator = communicator;
        ranks->rank = plan->rank;
        ranks->world = plan->ranks;
        ranks->wait = calloc(room, sizeof *ranks->wait);
        ranks->queue = calloc(room, sizeof *ranks->queue);
        ranks->times = calloc(2 * room, sizeof *ranks->times);
    }
    if (!ranks || !ranks->wait || !ranks->queue || !ranks->times)
        return error_set(error, ERROR_MEMORY, "no memory for a rank");
    schedule_waits(plan, ranks->wait);
    if (communicator_apart(communicator)) {
        const size_t store = cpu_apart_store(plan);
        if (store && !(ranks->store = malloc(store)))
            return error_set(error, ERROR_MEMORY, "no memory for the other ranks' pieces, %.1f MiB",
                             (double)store / 0x1p20);
    } else if (!share_arenas(program, communicator, error)) {
        return false;
    }
    if (!plan_has(plan, true))
        return true;
    const int failed = pthread_create(&ranks->thread, NULL, aside_loop, program);
    ranks->has_thread = !failed;
    return !failed || error_set(error, ERROR_SYSTEM, "no thread for the ranks' collectives: %s", strerror(failed));
}

void cpu_ranks_close(struct program *program)
{
    struct cpu_ranks *ranks = program->ranks;
    if (!ranks)
        return;
    if (ranks->has_thread) {
        pthread_mutex_lock(&ranks->lock);
        ranks->leave = true;
        pthread_cond_broadcast(&ranks->change);
        pthread_mutex_unlock(&ranks->lock);
        pthread_join(ranks->thread, NULL);
    }
    if (ranks->arena[ranks->rank])
        program->arena = NULL; /* the communicator's */
    pthread_mutex_destroy(&ranks->lock);
    pthread_cond_destroy(&ranks->change);
    free(ranks->store);
    free(ranks->wait);
    free(ranks->queue);
    free(ranks->times);
    free(ranks);
    program->ranks = NULL;
}

/* Waits until the thread has done `count` of the step's. */
static bool aside_wait(struct cpu_ranks *ranks, int32_t count, struct error *error)
{
    pthread_mutex_lock(&ranks->lock);
    while (ranks->done < count)
        pthread_cond_wait(&ranks->change, &ranks->lock);
    const bool failed = ranks->failed;
    if (failed && error)
        *error = ranks->error;
    pthread_mutex_unlock(&ranks->lock);
    return !failed;
}

bool cpu_ranks_before(struct program *program, int32_t node, struct error *error)
{
    struct cpu_ranks *ranks = program->ranks;
    const struct node *next = &program->plan->nodes[node];
    /* Collectives go in the order of all of them, which is the same on every rank. What one of the step's thread waits for those
     * before it is not its own time: it has not come to the other ranks yet. */
    if (!next->aside && op_info(next->op)->kernel_class == CLASS_COLLECTIVE)
        return aside_wait(ranks, ranks->queued, error);
    const int32_t wait = ranks->wait[node];
    if (wait < 0)
        return true;
    int32_t count = 0;
    while (ranks->queue[count] != wait)
        count++;
    return aside_wait(ranks, count + 1, error);
}

bool cpu_ranks_run(struct program *program, int32_t index, struct error *error)
{
    struct cpu_ranks *ranks = program->ranks;
    const struct node *node = &program->plan->nodes[index];
    if (!node->aside)
        return collective_run(program, node, program->threads, error);
    pthread_mutex_lock(&ranks->lock);
    ranks->queue[ranks->queued++] = index;
    pthread_cond_broadcast(&ranks->change);
    pthread_mutex_unlock(&ranks->lock);
    return true;
}

bool cpu_ranks_apart(const struct program *program)
{
    return program->ranks && communicator_apart(program->ranks->communicator);
}

bool cpu_ranks_phase_end(struct program *program, struct error *error)
{
    return aside_wait(program->ranks, program->ranks->queued, error);
}

void cpu_ranks_step_end(struct program *program, uint64_t step_id, const struct probe *probe)
{
    struct cpu_ranks *ranks = program->ranks;
    for (int32_t i = 0; i < ranks->queued && probe; i++) {
        const int32_t node = ranks->queue[i];
        const struct kernel_event event = {.start = ranks->times[2 * node],
                                           .end = ranks->times[2 * node + 1],
                                           .launch = ranks->times[2 * node],
                                           .node = node,
                                           .name = program->steps[node].interned,
                                           .stream = 1,
                                           .kind = EVENT_KERNEL};
        probe->event(probe->context, step_id, &event);
    }
    ranks->queued = ranks->done = 0; /* the thread sleeps: all of the step is done */
}
