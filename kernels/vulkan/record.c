/* Launches to command buffers: barriers where a node's memory demands them, stamps or queries where the profiler does. */
#include "kernels/schedule.h"
#include "kernels/vulkan/vulkan_internal.h"

#define PART_DISPATCHES 64 /* of a submitted part in eager mode: the device starts while the rest is recorded */
#define LONG_PART 1024     /* in compile mode, where a part is a step but for very long ones */
#define WINDOW 64          /* nodes between two barriers that are looked at */

void vulkan_dispatch(const struct program *program, VkCommandBuffer commands, int32_t pipeline, const uint32_t *grid,
                     const struct vulkan_push *push)
{
    const struct device *device = program->device;
    device->api.vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, program->pipelines.items[pipeline].handle);
    device->api.vkCmdPushConstants(commands, device->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof *push, push);
    device->api.vkCmdDispatch(commands, grid[0], grid[1], grid[2]);
}

struct recorder {
    struct program *program;
    struct vulkan_recording *recording;
    enum recording_kind kind;
    bool submit;
    VkCommandBuffer commands; /* of the part in hand */
    int32_t in_part, part_limit;
    int32_t since[WINDOW]; /* launches since the last barrier */
    int since_count;
    bool scratch_since;
    struct error *error;
};

static bool part_begin(struct recorder *recorder)
{
    struct program *program = recorder->program;
    struct device *device = program->device;
    struct vulkan_recording *recording = recorder->recording;
    if (recording->part_count == VULKAN_MAX_PARTS)
        return error_set(recorder->error, ERROR_INTERNAL, "a step of more than %d parts", VULKAN_MAX_PARTS);
    VkCommandBuffer *commands = &recording->parts[recording->part_count];
    if (!*commands) {
        VkCommandBufferAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                            .commandPool = program->eager_pool,
                                            .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                            .commandBufferCount = 1};
        if (!VULKAN_OK(device, vkAllocateCommandBuffers(device->handle, &info, commands), recorder->error)) {
            *commands = VK_NULL_HANDLE;
            return false;
        }
    }
    ++recording->part_count;
    recorder->commands = *commands;
    recorder->in_part = 0;
    VkCommandBufferBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    return VULKAN_OK(device, vkBeginCommandBuffer(recorder->commands, &begin), recorder->error);
}

static bool part_end(struct recorder *recorder, bool last)
{
    struct device *device = recorder->program->device;
    return VULKAN_OK(device, vkEndCommandBuffer(recorder->commands), recorder->error) &&
           (!recorder->submit || vulkan_submit(device, recorder->commands, last, recorder->error));
}

static void barrier(struct recorder *recorder)
{
    vulkan_barrier(recorder->program->device, recorder->commands);
    recorder->since_count = 0;
    recorder->scratch_since = false;
    ++recorder->recording->barriers;
}

static void stamp(struct recorder *recorder, uint32_t index)
{
    recorder->program->device->api.vkCmdWriteTimestamp(recorder->commands, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT,
                                                       recorder->program->stamps, index);
}

/* Must what was issued since the last barrier have ended before this launch? */
static bool must_wait(const struct recorder *recorder, const struct vulkan_launch *launch, bool scratch)
{
    const struct program *program = recorder->program;
    const struct plan *plan = program->plan;
    if (recorder->kind != RECORD_TIMED || !program->compile || (scratch && recorder->scratch_since) ||
        recorder->since_count == WINDOW)
        return true;
    for (int i = 0; i < recorder->since_count; ++i) {
        int32_t earlier = program->launches[recorder->since[i]].node;
        if (earlier == launch->node || schedule_depends(plan, &plan->nodes[launch->node], &plan->nodes[earlier]))
            return true;
    }
    return false;
}

static void dispatch_begins(struct recorder *recorder)
{
    const struct program *program = recorder->program;
    const uint32_t dispatch = (uint32_t)recorder->recording->dispatch_count;
    if (recorder->kind == RECORD_PROFILED)
        stamp(recorder, PHASE_COUNT + 1 + 2 * dispatch);
    if (recorder->kind == RECORD_COUNTED)
        program->device->api.vkCmdBeginQuery(recorder->commands, program->counters.pool, dispatch, 0);
}

static void dispatch_ends(struct recorder *recorder)
{
    const struct program *program = recorder->program;
    const uint32_t dispatch = (uint32_t)recorder->recording->dispatch_count;
    if (recorder->kind == RECORD_PROFILED)
        stamp(recorder, PHASE_COUNT + 2 + 2 * dispatch);
    if (recorder->kind == RECORD_COUNTED)
        program->device->api.vkCmdEndQuery(recorder->commands, program->counters.pool, dispatch);
}

static bool launch_record(struct recorder *recorder, int32_t index)
{
    struct program *program = recorder->program;
    struct vulkan_recording *recording = recorder->recording;
    const struct vulkan_launch *launch = &program->launches[index];
    const struct vulkan_candidate *candidate = NULL;
    if (launch->gemm >= 0)
        candidate = &program->gemms.items[launch->gemm].candidates[program->gemms.items[launch->gemm].chosen];
    int parts = candidate ? vulkan_gemm_dispatches(candidate) : 1;
    bool scratch = launch->scratch || parts > 1;
    if (must_wait(recorder, launch, scratch))
        barrier(recorder);
    for (int part = 0; part < parts; ++part) {
        if (part > 0)
            barrier(recorder);
        dispatch_begins(recorder);
        if (candidate)
            vulkan_gemm_dispatch(program, recorder->commands, launch, candidate, part);
        else
            vulkan_dispatch(program, recorder->commands, launch->pipeline, launch->grid, &launch->push);
        dispatch_ends(recorder);
        if (recording->dispatches)
            recording->dispatches[recording->dispatch_count] = (struct vulkan_dispatch){
                launch->node, program->launch_names ? program->launch_names[2 * index + part] : 0};
        ++recording->dispatch_count;
        ++recorder->in_part;
    }
    if (recorder->since_count < WINDOW)
        recorder->since[recorder->since_count++] = index;
    recorder->scratch_since = recorder->scratch_since || scratch;
    return recorder->in_part < recorder->part_limit || (part_end(recorder, false) && part_begin(recorder));
}

bool vulkan_record(struct program *program, unsigned phases, enum recording_kind kind, bool submit,
                   struct vulkan_recording *recording, struct error *error)
{
    struct recorder recorder = {
        .program = program, .recording = recording, .kind = kind, .submit = submit, .error = error};
    const struct plan *plan = program->plan;
    int last = -1;
    recording->phases = phases;
    recording->profiled = kind == RECORD_PROFILED;
    recording->part_count = recording->dispatch_count = recording->barriers = 0;
    recorder.part_limit = submit ? PART_DISPATCHES : LONG_PART;
    while (program->most_dispatches / recorder.part_limit >= VULKAN_MAX_PARTS - 1)
        recorder.part_limit *= 2;
    if (!part_begin(&recorder))
        return false;
    program->device->api.vkCmdResetQueryPool(recorder.commands, program->stamps, 0, program->stamp_count);
    for (int phase = 0; phase < PHASE_COUNT; ++phase) {
        if (!(phases & PHASE_BIT(phase)))
            continue;
        last = phase;
        barrier(&recorder);
        stamp(&recorder, (uint32_t)phase);
        for (int32_t i = program->phase_launch[phase]; i < program->phase_launch[phase + 1]; ++i)
            if (!launch_record(&recorder, i))
                return error_prefix(error, "%s of %s", op_info(plan->nodes[program->launches[i].node].op)->name,
                                    plan->scopes[plan->nodes[program->launches[i].node].scope].path);
    }
    if (last >= 0) {
        barrier(&recorder);
        stamp(&recorder, (uint32_t)last + 1);
    }
    return part_end(&recorder, true);
}
