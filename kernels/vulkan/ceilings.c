/* The two rates that set the roof: matrix products and copies, measured on random data by the device's own stamps. */
#include "base/clock.h"
#include "base/unknown.h"
#include "kernels/vulkan/vulkan_internal.h"
#include <stdlib.h>
#include <string.h>

/* Seconds of one copy of half the buffer to its other half, the fastest that fits in the budget: by the driver's own command, or by a
 * kernel, which a driver's command can be far behind. */
static bool copy_time(struct program *program, int budget_ms, double *seconds, struct error *error)
{
    struct device *device = program->device;
    uint64_t until = clock_now() + (uint64_t)budget_ms * 1000000u, half = program->arena.bytes / 2, stamps[2];
    uint32_t bits = device->traits.stamp_bits;
    const int32_t kernel = vulkan_copy_pipeline(program);
    if (!vulkan_pipelines_build(device, &program->pipelines, error))
        return false;
    *seconds = UNKNOWN_DOUBLE;
    for (int round = 0; round < 2 || clock_now() < until; ++round) {
        VkBufferCopy region = {0, half, half};
        if (!vulkan_begin(device, error))
            return false;
        device->api.vkCmdResetQueryPool(device->transfer, program->stamps, 0, 2);
        vulkan_barrier(device, device->transfer);
        device->api.vkCmdWriteTimestamp(device->transfer, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, program->stamps, 0);
        if (round % 2)
            device->api.vkCmdCopyBuffer(device->transfer, program->arena.buffer, program->arena.buffer, 1, &region);
        else
            vulkan_copy_dispatch(program, kernel, program->arena.address, program->arena.address + half, half);
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
    }
    return is_known(*seconds) || error_set(error, ERROR_INTERNAL, "%s: its timestamps stand still", device->name);
}

struct program *vulkan_product_measure(struct device *device, const struct plan *plan,
                                       const struct vulkan_gemm_shape *shape, struct error *error)
{
    struct program *program = vulkan_prepare(device, plan, &(struct prepare_options){0}, NULL, error);
    if (!program)
        return NULL;
    const uint64_t size = shape->type_a == DTYPE_BF16 ? 2 : 4;
    const uint64_t bytes[2] = {(uint64_t)(shape->m * shape->k) * size, (uint64_t)(shape->n * shape->k) * size};
    const int64_t sizes[] = {shape->m, shape->n, shape->k, shape->lda, shape->ldb, shape->ldd};
    const float one = 1.0f;
    program->compile = true; /* all candidates; none is split: their parts would need workspace */
    program->fill_pipeline = vulkan_fill_pipeline(program);
    struct vulkan_launch launch = {.shader = NULL, .gemm = vulkan_gemm_find(program, shape)};
    launch.push.a[0].address = program->arena.address;
    launch.push.a[1].address = launch.push.a[0].address + (bytes[0] + 255) / 256 * 256;
    launch.push.a[2].address = launch.push.a[1].address + (bytes[1] + 255) / 256 * 256;
    for (int i = 0; i < 6; ++i)
        launch.push.d[i] = (uint32_t)sizes[i];
    launch.push.d[7] = 1;
    memcpy(&launch.push.d[8], &one, sizeof one);
    program->launches = malloc(sizeof launch);
    if (!program->launches) {
        error_set(error, ERROR_MEMORY, "out of memory on the host");
        goto failed;
    }
    program->launches[0] = launch;
    program->launch_count = 1;
    if (vulkan_pipelines_build(device, &program->pipelines, error) && vulkan_fill_random(program, error) &&
        vulkan_gemm_choose(program, NULL, true, error))
        return program;
failed:
    vulkan_release(program);
    return NULL;
}

struct vulkan_gemm_shape vulkan_product_shape(int64_t m, int64_t n, int64_t k, bool transpose_a, bool transpose_b,
                                              enum precision precision)
{
    struct vulkan_gemm_shape shape;
    memset(&shape, 0, sizeof shape); /* shapes are compared by their bytes */
    shape.m = m, shape.n = n, shape.k = k;
    shape.lda = transpose_a ? m : k;
    shape.ldb = transpose_b ? k : n;
    shape.ldd = n;
    shape.batch = shape.heads = 1;
    shape.transpose_a = transpose_a, shape.transpose_b = transpose_b;
    shape.vector_a = shape.lda % 4 == 0, shape.vector_b = shape.ldb % 4 == 0, shape.vector_d = n % 4 == 0;
    shape.eights = shape.lda % 8 == 0 && shape.ldb % 8 == 0;
    shape.type_a = shape.type_b = shape.type_d = precision == PRECISION_BF16 ? DTYPE_BF16 : DTYPE_F32;
    return shape;
}

bool vulkan_measure_ceilings(struct device *device, enum precision precision, int budget_ms, double *flops_per_s,
                             double *bytes_per_s, struct error *error)
{
    const int64_t size = device->traits.software ? 128 : 4096;
    /* A plan of nothing: the product's operands lie in the arena, and the copy's two halves afterwards. */
    const struct plan plan = {.precision = precision, .memory.total = device->traits.software ? 16u << 20 : 1u << 30};
    const struct vulkan_gemm_shape shape = vulkan_product_shape(size, size, size, false, true, precision);
    double seconds;
    struct program *program = vulkan_product_measure(device, &plan, &shape, error);
    if (!program)
        return false;
    bool done = copy_time(program, budget_ms / 2, &seconds, error);
    if (done) {
        *flops_per_s = 2.0 * (double)size * (double)size * (double)size / (program->gemms.items[0].best_us * 1e-6);
        *bytes_per_s = (double)program->arena.bytes / seconds; /* half of it read, half written */
    }
    vulkan_release(program);
    return done;
}
