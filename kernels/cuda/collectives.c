/* Collectives between cards, by NCCL: on a stream of their own where the plan lets them run beside other nodes, with an event for
 * each that later nodes wait for where the plan's memory says so. All of it can be captured in a graph. */
#include "base/clock.h"
#include "base/gap.h"
#include "kernels/communicator.h"
#include "kernels/cuda/cuda_internal.h"
#include "kernels/cuda/nccl.h"
#include "kernels/schedule.h"
#include <stdatomic.h>
#include <stdlib.h>

struct cuda_ranks {
    struct nccl nccl;
    nccl_communicator handle;
    struct communicator *communicator;
    CUstream stream;
    CUevent ready, *done; /* done: by node, of those aside */
    int32_t *wait;        /* by node: schedule_waits */
    int32_t last;         /* the newest node issued aside that the main stream has not waited for; −1: none */
    uint64_t steps;
    bool failed;
    _Atomic uint32_t *ended; /* the host's memory: the card writes the number of the step that it has ended */
    struct turn *turns;      /* the optimizer's launches in the order in which they are issued; NULL: as they come */
};

struct turn {
    int32_t launch, wait; /* wait: the node aside in backward whose end it needs; −1: none */
};

static bool is_collective(const struct node *node)
{
    return op_info(node->op)->kernel_class == CLASS_COLLECTIVE;
}

void lower_collective(struct lowering *lowering, const struct node *node)
{
    struct operand x = lower_input(lowering, 0), y = lower_output(lowering, 0);
    if (x.dtype != y.dtype || (x.dtype != DTYPE_F32 && x.dtype != DTYPE_BF16)) {
        lower_fail(lowering, "its operands have two types");
        return;
    }
    struct cuda_launch *launch = lower_launch(lowering);
    launch->kind = CUDA_LAUNCH_COLLECTIVE;
    launch->name = op_info(node->op)->name;
    launch->a = x.address;
    launch->d = y.address;
}

bool cuda_ranks_open(struct program *program, struct communicator *communicator, struct error *error)
{
    const struct plan *plan = program->plan;
    struct device *device = program->device;
    bool any = false;
    for (int32_t i = 0; i < plan->node_count; ++i)
        any |= is_collective(&plan->nodes[i]);
    if (!any)
        return true;
    if (!communicator || communicator_world(communicator) != plan->ranks ||
        communicator_rank(communicator) != plan->rank)
        return error_set(error, ERROR_INTERNAL, "a plan of rank %d of %d was given to a rank that is not that one",
                         plan->rank, plan->ranks);
    struct cuda_ranks *ranks = program->ranks = calloc(1, sizeof *ranks);
    if (ranks) {
        ranks->communicator = communicator;
        ranks->last = -1;
        ranks->done = calloc((size_t)plan->node_count + 1, sizeof *ranks->done);
        ranks->wait = calloc((size_t)plan->node_count + 1, sizeof *ranks->wait);
    }
    if (!ranks || !ranks->done || !ranks->wait)
        return error_set(error, ERROR_MEMORY, "out of memory on the host");
    schedule_waits(plan, ranks->wait);
    struct nccl_id id = {{0}};
    if (!nccl_open(&ranks->nccl, error))
        return false;
    int result = NCCL_SUCCESS;
    if (plan->rank == 0 && (result = ranks->nccl.ncclGetUniqueId(&id)) != NCCL_SUCCESS)
        return nccl_failed(&ranks->nccl, NULL, result, "starting NCCL", error);
    if (!communicator_tell(communicator, &id, sizeof id, error))
        return false;
    if ((result = ranks->nccl.ncclCommInitRank(&ranks->handle, plan->ranks, id, plan->rank)) != NCCL_SUCCESS)
        return nccl_failed(&ranks->nccl, NULL, result, "joining the ranks", error);
    void *ended = NULL;
    if (!CUDA_OK(device, cuMemHostAlloc(&ended, sizeof *ranks->ended, CU_MEMHOSTALLOC_DEVICEMAP), error))
        return false;
    ranks->ended = ended;
    atomic_init(ranks->ended, 0);
    int lowest = 0, highest = 0; /* a collective's few blocks must not wait behind a product's many */
    if (!CUDA_OK(device, cuCtxGetStreamPriorityRange(&lowest, &highest), error) ||
        !CUDA_OK(device, cuStreamCreateWithPriority(&ranks->stream, CU_STREAM_NON_BLOCKING, highest), error) ||
        !CUDA_OK(device, cuEventCreate(&ranks->ready, CU_EVENT_DISABLE_TIMING), error))
        return false;
    for (int32_t i = 0; i < plan->node_count; ++i)
        if (plan->nodes[i].aside && !CUDA_OK(device, cuEventCreate(&ranks->done[i], CU_EVENT_DISABLE_TIMING), error))
            return false;
    return true;
}

void cuda_ranks_close(struct program *program)
{
    struct cuda_ranks *ranks = program->ranks;
    const struct cuda_libraries *libraries = &program->device->libraries;
    if (!ranks)
        return;
    for (int32_t i = 0; ranks->done && i < program->plan->node_count; ++i)
        if (ranks->done[i])
            libraries->cuEventDestroy(ranks->done[i]);
    if (ranks->ready)
        libraries->cuEventDestroy(ranks->ready);
    if (ranks->handle) {
        /* An orderly end waits for the other ranks; when one is gone, that would be for ever. */
        if (ranks->failed)
            ranks->nccl.ncclCommAbort(ranks->handle);
        else
            ranks->nccl.ncclCommDestroy(ranks->handle);
    }
    if (ranks->stream)
        libraries->cuStreamDestroy(ranks->stream);
    if (ranks->ended)
        libraries->cuMemFreeHost((void *)ranks->ended);
    free(ranks->turns);
    free(ranks->done);
    free(ranks->wait);
    free(ranks);
    program->ranks = NULL;
}

int cuda_ranks_version(const struct program *program)
{
    return program->ranks ? program->ranks->nccl.version : 0;
}

bool cuda_ranks_before(struct program *program, int32_t node, struct error *error)
{
    struct cuda_ranks *ranks = program->ranks;
    if (!ranks || ranks->wait[node] < 0)
        return true;
    if (ranks->wait[node] == ranks->last)
        ranks->last = -1;
    return CUDA_OK(program->device, cuStreamWaitEvent(program->device->stream, ranks->done[ranks->wait[node]], 0),
                   error);
}

bool cuda_ranks_join(struct program *program, struct error *error)
{
    struct cuda_ranks *ranks = program->ranks;
    if (!ranks || ranks->last < 0)
        return true;
    const int32_t last = ranks->last;
    ranks->last = -1; /* the stream is in order: the last one covers those before */
    return CUDA_OK(program->device, cuStreamWaitEvent(program->device->stream, ranks->done[last], 0), error);
}

static bool turn_needs(const struct plan *plan, const struct cuda_launch *launch, const struct node *collective)
{
    if (!launch->piece)
        return schedule_depends(plan, &plan->nodes[launch->node], collective);
    for (int e = 0; e < 3; ++e)
        if (launch->extent[e][1] && schedule_touches(plan, collective, launch->extent[e][0], launch->extent[e][1]))
            return true;
    return false;
}

bool cuda_ranks_place(struct program *program, struct error *error)
{
    const struct plan *plan = program->plan;
    const int32_t first = program->phase_launch[PHASE_OPT], end = program->phase_launch[PHASE_OPT + 1];
    bool in_order = false;
    struct turn *turns = program->ranks->turns = calloc((size_t)(end - first) + 1, sizeof *turns);
    if (!turns)
        return error_set(error, ERROR_MEMORY, "out of memory on the host");
    for (int32_t i = first; i < end; ++i) {
        const struct cuda_launch *launch = &program->launches[i];
        const enum op op = plan->nodes[launch->node].op;
        turns[i - first] = (struct turn){i, -1};
        for (int32_t n = plan->phase_first[PHASE_BWD]; n < plan->phase_first[PHASE_BWD + 1]; ++n)
            if (plan->nodes[n].aside && turn_needs(plan, launch, &plan->nodes[n]))
                turns[i - first].wait = n;
        in_order |= op != OP_ADAMW && op != OP_ADAMW_ALL;
    }
    /* Updates of different weights know no order among themselves: the one whose gradients are whole first goes first. */
    for (int32_t i = 1; i < end - first && !in_order; ++i) {
        const struct turn turn = turns[i];
        int32_t at = i;
        for (; at > 0 && turns[at - 1].wait > turn.wait; --at)
            turns[at] = turns[at - 1];
        turns[at] = turn;
    }
    return true;
}

bool cuda_ranks_defers(const struct program *program)
{
    return program->ranks && program->ranks->turns;
}

bool cuda_ranks_turn(struct program *program, int32_t place, int32_t *launch, struct error *error)
{
    struct cuda_ranks *ranks = program->ranks;
    const struct turn *turn = &ranks->turns[place - program->phase_launch[PHASE_OPT]];
    *launch = turn->launch;
    if (turn->wait < 0)
        return true;
    if (turn->wait == ranks->last)
        ranks->last = -1;
    return CUDA_OK(program->device, cuStreamWaitEvent(program->device->stream, ranks->done[turn->wait], 0), error);
}

bool cuda_ranks_issue(struct program *program, const struct cuda_launch *launch, struct error *error)
{
    struct cuda_ranks *ranks = program->ranks;
    struct device *device = program->device;
    const struct node *node = &program->plan->nodes[launch->node];
    const int type = program->plan->tensors[node->input[0]].dtype == DTYPE_BF16 ? NCCL_BFLOAT16 : NCCL_FLOAT32;
    const size_t count = (size_t)node->dims.elements;
    const void *from = (const void *)(uintptr_t)launch->a;
    void *to = (void *)(uintptr_t)launch->d;
    CUstream stream = device->stream;
    if (node->aside) {
        stream = ranks->stream;
        if (!CUDA_OK(device, cuEventRecord(ranks->ready, device->stream), error) ||
            !CUDA_OK(device, cuStreamWaitEvent(stream, ranks->ready, 0), error))
            return false;
    } else if (!cuda_ranks_join(program, error)) { /* in the order of all of them, which is the same on every rank */
        return false;
    }
    int result = NCCL_SUCCESS;
    switch (node->op) {
    case OP_ALL_REDUCE:
        result = ranks->nccl.ncclAllReduce(from, to, count, type, NCCL_AVERAGE, ranks->handle, stream);
        break;
    case OP_REDUCE_SCATTER:
        result = ranks->nccl.ncclReduceScatter(from, to, count, type, NCCL_AVERAGE, ranks->handle, stream);
        break;
    case OP_ALL_GATHER:
        result = ranks->nccl.ncclAllGather(from, to, count, type, ranks->handle, stream);
        break;
    default:
        result = ranks->nccl.ncclBroadcast(from, to, count, type, 0, ranks->handle, stream);
        break;
    }
    if (result != NCCL_SUCCESS)
        return nccl_failed(&ranks->nccl, ranks->handle, result, launch->name, error);
    if (!node->aside)
        return true;
    ranks->last = launch->node;
    return CUDA_OK(device, cuEventRecord(ranks->done[launch->node], stream), error);
}

bool cuda_ranks_after_side(struct program *program, CUevent side, struct error *error)
{
    return CUDA_OK(program->device, cuStreamWaitEvent(program->ranks->stream, side, 0), error);
}

#define LOOK_NS 1000000u

/* Why a step that has not ended will not: fills *error; false: it may yet end. */
static bool step_is_lost(struct program *program, uint64_t waited, struct error *error)
{
    struct cuda_ranks *ranks = program->ranks;
    int asynchronous = NCCL_SUCCESS;
    const int result = ranks->nccl.ncclCommGetAsyncError(ranks->handle, &asynchronous);
    const int behind = communicator_behind(ranks->communicator);
    const bool late = waited > communicator_limit_ns(ranks->communicator);
    if (result != NCCL_SUCCESS || (asynchronous != NCCL_SUCCESS && asynchronous != NCCL_IN_PROGRESS))
        return !nccl_failed(&ranks->nccl, ranks->handle, result != NCCL_SUCCESS ? result : asynchronous, "in a step",
                            error);
    if (communicator_failed(ranks->communicator, error))
        return true;
    if (late && behind >= 0)
        return !error_set(error, ERROR_DEVICE, "rank %d did not come to the step within %.0f s", behind,
                          (double)communicator_limit_ns(ranks->communicator) / 1e9);
    return late && !error_set(error, ERROR_DEVICE, "the step's collectives did not end within %.0f s",
                              (double)communicator_limit_ns(ranks->communicator) / 1e9);
}

/* The host looks at its own memory, for each question to the driver is a record of the profiler's. */
bool cuda_ranks_wait(struct program *program, struct error *error)
{
    struct cuda_ranks *ranks = program->ranks;
    struct device *device = program->device;
    communicator_progress(ranks->communicator, ++ranks->steps);
    const uint32_t step = (uint32_t)ranks->steps;
    struct patience patience = {0};
    if (!CUDA_OK(device, cuStreamWriteValue32(device->stream, (CUdeviceptr)(uintptr_t)ranks->ended, step, 0), error)) {
        ranks->failed = true;
        return false;
    }
    for (uint64_t look = clock_now() + LOOK_NS; atomic_load_explicit(ranks->ended, memory_order_acquire) != step;) {
#ifdef __x86_64__
        __builtin_ia32_pause();
#endif
        if (clock_now() < look)
            continue;
        look = clock_now() + LOOK_NS;
        const CUresult state = device->libraries.cuStreamQuery(device->stream);
        if (state == CUDA_SUCCESS)
            break;
        if (state != CUDA_ERROR_NOT_READY) {
            ranks->failed = true;
            return cuda_failed(&device->libraries, state, "the step", error);
        }
        if (!step_is_lost(program, patience_look(&patience), error))
            continue;
        ranks->failed = true;
        communicator_fail(ranks->communicator, error ? error->text : "a step failed");
        /* What is under way spins on the card until its peers come; abort ends it. */
        ranks->nccl.ncclCommAbort(ranks->handle);
        ranks->handle = NULL;
        device->libraries.cuStreamSynchronize(device->stream);
        return false;
    }
    return CUDA_OK(device, cuStreamSynchronize(device->stream), error);
}
