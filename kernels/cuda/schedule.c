/* Which launches of the backward phase may run beside the others. A weight's gradient is read by nobody before the
 * optimizer (a norm's neither: its last sum goes aside as well), and neither a small model's products nor the kernels that
 * wait for memory fill the card; so in the captured graph the weights' products go to a second stream. A launch waits when
 * its memory overlaps that of a product still under way; FUSE_OVERLAP laid the plan's memory out so that this is rare. */
#include "kernels/schedule.h"
#include "kernels/cuda/cuda_internal.h"
#include <stdlib.h>

static void step_add(struct program *program, int32_t node, int32_t launch, int32_t count, int32_t *waited)
{
    const struct plan *plan = program->plan;
    struct cuda_step *step = &program->steps[program->step_count++];
    *step = (struct cuda_step){.launch = launch, .count = count, .side = -1, .wait = -1};
    if (plan->nodes[node].op == OP_LINEAR_BACKWARD_WEIGHT || program->launches[launch].aside) {
        step->side = program->side_count++;
        return;
    }
    for (int32_t s = 0; s + 1 < program->step_count; ++s) {
        const struct cuda_step *earlier = &program->steps[s];
        if (earlier->side > *waited && !program->launches[earlier->launch].aside &&
            schedule_depends(plan, &plan->nodes[node], &plan->nodes[program->launches[earlier->launch].node]))
            step->wait = earlier->side; /* the stream is in order: the last one covers those before */
    }
    if (step->wait > *waited)
        *waited = step->wait;
}

/* The launches of the node that `launch` belongs to. */
static int32_t launches_of_node(const struct program *program, int32_t launch, int32_t end)
{
    int32_t count = 0;
    while (launch + count < end && program->launches[launch + count].node == program->launches[launch].node)
        ++count;
    return count;
}

bool cuda_schedule(struct program *program, struct error *error)
{
    struct device *device = program->device;
    int32_t first = program->phase_launch[PHASE_BWD], end = program->phase_launch[PHASE_BWD + 1], waited = -1;
    if (first == end)
        return true;
    program->steps = calloc((size_t)(end - first), sizeof *program->steps);
    if (!program->steps)
        return error_set(error, ERROR_MEMORY, "out of memory on the host");
    for (int32_t i = first; i < end;) {
        int32_t node = program->launches[i].node, count = launches_of_node(program, i, end);
        int32_t apart = count > 1 && program->launches[i + count - 1].aside; /* the last one */
        step_add(program, node, i, count - apart, &waited);
        if (apart)
            step_add(program, node, i + count - 1, 1, &waited);
        i += count;
    }
    int lowest = 0, highest = 0; /* what the next product waits for goes first */
    if (!CUDA_OK(device, cuCtxGetStreamPriorityRange(&lowest, &highest), error) ||
        !CUDA_OK(device, cuStreamCreateWithPriority(&program->side_stream, CU_STREAM_NON_BLOCKING, lowest), error) ||
        !CUDA_OK(device, cuEventCreate(&program->fork, CU_EVENT_DISABLE_TIMING), error))
        return false;
    program->side_done = calloc((size_t)program->side_count + 1, sizeof(CUevent));
    if (!program->side_done)
        return error_set(error, ERROR_MEMORY, "out of memory on the host");
    for (int32_t i = 0; i < program->side_count; ++i)
        if (!CUDA_OK(device, cuEventCreate(&program->side_done[i], CU_EVENT_DISABLE_TIMING), error))
            return false;
    return true;
}

bool cuda_schedule_issue(struct program *program, struct error *error)
{
    struct device *device = program->device;
    for (int32_t s = 0; s < program->step_count; ++s) {
        const struct cuda_step *step = &program->steps[s];
        bool side = step->side >= 0;
        cuda_source_node(program, program->launches[step->launch].node);
        if (side ? !CUDA_OK(device, cuEventRecord(program->fork, device->stream), error) ||
                       !CUDA_OK(device, cuStreamWaitEvent(program->side_stream, program->fork, 0), error)
                 : step->wait >= 0 &&
                       !CUDA_OK(device, cuStreamWaitEvent(device->stream, program->side_done[step->wait], 0), error))
            return false;
        for (int32_t i = 0; i < step->count; ++i) {
            const struct cuda_launch *launch = &program->launches[step->launch + i];
            if (!cuda_issue_launch(program, launch, side, error))
                return error_prefix(error, "%s of %s", op_info(program->plan->nodes[launch->node].op)->name,
                                    program->plan->scopes[program->plan->nodes[launch->node].scope].path);
        }
        if (side && !CUDA_OK(device, cuEventRecord(program->side_done[step->side], program->side_stream), error))
            return false;
    }
    return program->side_count == 0 ||
           CUDA_OK(device, cuStreamWaitEvent(device->stream, program->side_done[program->side_count - 1], 0), error);
}

void cuda_schedule_release(struct program *program)
{
    const struct cuda_libraries *libraries = &program->device->libraries;
    for (int32_t i = 0; program->side_done && i < program->side_count; ++i)
        if (program->side_done[i])
            libraries->cuEventDestroy(program->side_done[i]);
    if (program->fork)
        libraries->cuEventDestroy(program->fork);
    if (program->side_stream)
        libraries->cuStreamDestroy(program->side_stream);
    free(program->side_done);
    free(program->steps);
}
