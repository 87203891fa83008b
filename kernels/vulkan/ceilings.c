/* The two rates that set the roof: matrix products and copies, measured on random data by the device's own stamps. */
#include "base/clock.h"
#include "base/unknown.h"
#include "kernels/vulkan/vulkan_internal.h"
#include <stdlib.h>
#include <string.h>

/* Seconds of one copy of half the buffer to its other half, the fastest that fits in the budget. */
static bool copy_time(struct program *program, int budget_ms, double *seconds, struct error *error)
{
    struct device *device = program->device;
    uint64_t until = clock_now() + (uint64_t)budget_ms * 1000000u, half = program->arena.bytes / 2, stamps[2];
    uint32_t bits = device->traits.stamp_bits;
    *seconds = UNKNOWN_DOUBLE;
    do {
        VkBufferCopy region = {0, half, half};
        if (!vulkan_begin(device, error))
            return false;
        device->api.vkCmdResetQueryPool(device->transfer, program->stamps, 0, 2);
        vulkan_barrier(device, device->transfer);
        device->api.vkCmdWriteTimestamp(device->transfer, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, program->stamps, 0);
        device->api.vkCmdCopyBuffer(device->transfer, program->arena.buffer, program->arena.buffer, 1, &region);
        vulkan_barrier(device, device->transfer);
        device->api.vkCmdWriteTimestamp(device->transfer, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, program->stamps, 1);
        if (!vulkan_finish(device, error) ||
            !VULKAN_OK(device,
                       vkGetQueryPoolResults(device->handle, program->stamps, 0, 2, sizeof stamps, stamps,
                                             sizeof *stamps, VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT),
                       error))
            return false;
        uint64_t ticks = (stamps[1] - stamps[0]) & (bits < 64 ? (UINT64_C(1) << bits) - 1 : UINT64_MAX);
        double took = (double)ticks * (double)device->traits.properties.limits.timestampPeriod * 1e-9;
        if (took > 0 && (!is_known(*seconds) || took < *seconds))
            *seconds = took;
    } while (clock_now() < until);
    return is_known(*seconds) || error_set(error, ERROR_INTERNAL, "%s: its timestamps stand still", device->name);
}

bool vulkan_measure_ceilings(struct device *device, enum precision precision, int budget_ms, double *flops_per_s,
                             double *bytes_per_s, struct error *error)
{
    const int64_t size = device->traits.software ? 128 : 4096;
    const bool narrow = precision == PRECISION_BF16;
    /* A plan of nothing: the product's operands lie in the arena, and the copy's two halves afterwards. */
    struct plan plan = {.precision = precision, .memory.total = device->traits.software ? 16u << 20 : 1u << 30};
    struct program *program = vulkan_prepare(device, &plan, &(struct prepare_options){0}, NULL, error);
    struct vulkan_gemm_shape shape;
    double seconds;
    bool done = false;
    if (!program)
        return false;
    memset(&shape, 0, sizeof shape);
    shape.m = shape.n = shape.k = shape.lda = shape.ldb = shape.ldd = size;
    shape.batch = shape.heads = 1;
    shape.transpose_b = shape.vector_a = shape.vector_b = shape.vector_d = 1;
    shape.type_a = shape.type_b = shape.type_d = narrow ? DTYPE_BF16 : DTYPE_F32;
    program->compile = true; /* all candidates; none is split: their parts would need workspace */
    program->fill_pipeline = vulkan_fill_pipeline(program);
    struct vulkan_launch launch = {.shader = NULL, .gemm = vulkan_gemm_find(program, &shape)};
    const uint64_t bytes = (uint64_t)(size * size) * (narrow ? 2 : 4);
    for (int i = 0; i < 3; ++i)
        launch.push.a[i].address = program->arena.address + (uint64_t)i * bytes;
    for (int i = 0; i < 6; ++i)
        launch.push.d[i] = (uint32_t)size;
    const float one = 1.0f;
    launch.push.d[7] = 1;
    memcpy(&launch.push.d[8], &one, sizeof one);
    program->launches = malloc(sizeof launch);
    if (!program->launches) {
        error_set(error, ERROR_MEMORY, "out of memory on the host");
        goto cleanup;
    }
    program->launches[0] = launch;
    program->launch_count = 1;
    if (!vulkan_pipelines_build(device, &program->pipelines, error) || !vulkan_fill_random(program, error) ||
        !vulkan_gemm_choose(program, NULL, true, error) || !copy_time(program, budget_ms / 2, &seconds, error))
        goto cleanup;
    *flops_per_s = 2.0 * (double)size * (double)size * (double)size / (program->gemms.items[0].best_us * 1e-6);
    *bytes_per_s = (double)program->arena.bytes / seconds; /* half of it read, half written */
    done = true;
cleanup:
    vulkan_release(program);
    return done;
}
