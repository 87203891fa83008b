/* Collectives between cards, by NCCL: on a stream of their own where the plan lets them run beside other nodes, with an event for
 * each that later nodes wait for where the plan's memory says so. All of it can be captured in a graph. */
#include "base/clock.h"
#include "kernels/communicator.h"
#include "kernels/cuda/cuda_internal.h"
#include "kernels/cuda/nccl.h"
#include "kernels/schedule.h"
#include <sched.h>
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

bool cuda_ranks_wait(struct program *program, struct error *error)
{
    struct cuda_ranks *ranks = program->ranks;
    struct device *device = program->device;
    communicator_progress(ranks->communicator, ++ranks->steps);
    const uint64_t until = clock_now() + communicator_limit_ns(ranks->communicator);
    for (uint64_t look = clock_now() + LOOK_NS;;) {
        const CUresult state = device->libraries.cuStreamQuery(device->stream);
        if (state == CUDA_SUCCESS)
            return true;
        if (state != CUDA_ERROR_NOT_READY) {
            ranks->failed = true;
            return cuda_failed(&device->libraries, state, "the step", error);
        }
        const uint64_t now = clock_now();
        if (now < look)
            continue;
        look = now + LOOK_NS;
        int asynchronous = NCCL_SUCCESS;
        const int result = ranks->nccl.ncclCommGetAsyncError(ranks->handle, &asynchronous);
        const int behind = communicator_behind(ranks->communicator);
        if (result != NCCL_SUCCESS || (asynchronous != NCCL_SUCCESS && asynchronous != NCCL_IN_PROGRESS))
            nccl_failed(&ranks->nccl, ranks->handle, result != NCCL_SUCCESS ? result : asynchronous, "in a step",
                        error);
        else if (communicator_failed(ranks->communicator, error))
            ;
        else if (now > until && behind >= 0)
            error_set(error, ERROR_DEVICE, "rank %d did not come to the step within %.0f s", behind,
                      (double)communicator_limit_ns(ranks->communicator) / 1e9);
        else if (now > until)
            error_set(error, ERROR_DEVICE, "the step's collectives did not end within %.0f s",
                      (double)communicator_limit_ns(ranks->communicator) / 1e9);
        else
            continue;
        ranks->failed = true;
        communicator_fail(ranks->communicator, error ? error->text : "a step failed");
        /* What is under way spins on the card until its peers come; abort ends it. */
        ranks->nccl.ncclCommAbort(ranks->handle);
        ranks->handle = NULL;
        device->libraries.cuStreamSynchronize(device->stream);
        return false;
    }
}
