/* The two rates that set the roof: matrix products and copies, measured on random data by the device's own stamps. */
#include "base/clock.h"
#include "base/unknown.h"
#include "kernels/vulkan/vulkan_internal.h"
#include <stdlib.h>
#include <string.h>

/* How half a buffer is copied to its other half: by the driver's own command (threads 0), which can be far behind, or by a kernel whose
 * invocations move so many times 16 bytes. */
static const struct copy_way {
    uint32_t threads, pieces;
    const char *name;
} ways[VULKAN_COPY_WAYS] = {
    {256, 1, "kernel, 256 x 16 bytes"},     {256, 4, "kernel, 256 x 4 x 16 bytes"},
    {512, 2, "kernel, 512 x 2 x 16 bytes"}, {128, 8, "kernel, 128 x 8 x 16 bytes"},
    {1024, 1, "kernel, 1024 x 16 bytes"},   {0, 0, "vkCmdCopyBuffer"},
};

const char *vulkan_copy_way_name(int way)
{
    return ways[way].name;
}

static bool copy_once(struct program *program, const struct copy_way *way, int32_t kernel, double *seconds,
                      struct error *error)
{
    struct device *device = program->device;
    uint64_t half = program->arena.bytes / 2, stamps[2];
    uint32_t bits = device->traits.stamp_bits;
    VkBufferCopy region = {0, half, half};
    if (!vulkan_begin(device, error))
        return false;
    device->api.vkCmdResetQueryPool(device->transfer, program->stamps, 0, 2);
    vulkan_barrier(device, device->transfer);
    device->api.vkCmdWriteTimestamp(device->transfer, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, program->stamps, 0);
    if (way->threads == 0)
        device->api.vkCmdCopyBuffer(device->transfer, program->arena.buffer, program->arena.buffer, 1, &region);
    else
        vulkan_copy_dispatch(program, kernel, program->arena.address, program->arena.address + half, half);
    vulkan_barrier(device, device->transfer);
    device->api.vkCmdWriteTimestamp(device->transfer, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, program->stamps, 1);
    if (!vulkan_finish(device, error) ||
        !VULKAN_OK(device,
                   vkGetQueryPoolResults(device->handle, program->stamps, 0, 2, sizeof stamps, stamps, sizeof *stamps,
                                         VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT),
                   error))
        return false;
    uint64_t ticks = (stamps[1] - stamps[0]) & (bits < 64 ? (UINT64_C(1) << bits) - 1 : UINT64_MAX);
    double took = (double)ticks * (double)device->traits.properties.limits.timestampPeriod * 1e-9;
    if (took > 0 && (!is_known(*seconds) || took < *seconds))
        *seconds = took;
    return true;
}

bool vulkan_copy_times(struct program *program, int budget_ms, double *seconds, struct error *error)
{
    const struct device *device = program->device;
    const VkPhysicalDeviceLimits *limits = &device->traits.properties.limits;
    uint64_t until = clock_now() + (uint64_t)budget_ms * 1000000u;
    int32_t kernels[VULKAN_COPY_WAYS];
    bool known = false;
    for (int way = 0; way < VULKAN_COPY_WAYS; ++way) {
        seconds[way] = UNKNOWN_DOUBLE;
        kernels[way] = -1;
        if (ways[way].threads > 0 && ways[way].threads <= limits->maxComputeWorkGroupInvocations &&
            ways[way].threads <= limits->maxComputeWorkGroupSize[0] && !(device->traits.software && way > 0))
            kernels[way] = vulkan_copy_pipeline(program, ways[way].threads, ways[way].pieces);
    }
    if (!vulkan_pipelines_build(program->device, &program->pipelines, error))
        return false;
    for (int round = 0; round < 2 || clock_now() < until; ++round)
        for (int way = 0; way < VULKAN_COPY_WAYS; ++way)
            if ((ways[way].threads == 0 || kernels[way] >= 0) &&
                !copy_once(program, &ways[way], kernels[way], &seconds[way], error))
                return false;
    for (int way = 0; way < VULKAN_COPY_WAYS; ++way)
        known = known || is_known(seconds[way]);
    return known || error_set(error, ERROR_INTERNAL, "%s: its timestamps stand still", device->name);
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
    double seconds[VULKAN_COPY_WAYS];
    struct program *program = vulkan_product_measure(device, &plan, &shape, error);
    if (!program)
        return false;
    bool done = vulkan_copy_times(program, budget_ms / 2, seconds, error);
    if (done) {
        double least = UNKNOWN_DOUBLE;
        for (int way = 0; way < VULKAN_COPY_WAYS; ++way)
            if (is_known(seconds[way]) && !(least <= seconds[way]))
                least = seconds[way];
        *flops_per_s = 2.0 * (double)size * (double)size * (double)size / (program->gemms.items[0].best_us * 1e-6);
        *bytes_per_s = (double)program->arena.bytes / least; /* half of it read, half written */
    }
    vulkan_release(program);
    return done;
}
