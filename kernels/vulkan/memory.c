/* Buffers, and what moves between them and the host. */
#include "base/unknown.h"
#include "kernels/vulkan/vulkan_internal.h"
#include <string.h>

#define STAGING_BYTES ((uint64_t)16 << 20)
#define MAX_REGIONS 1024

static VkPhysicalDeviceMemoryProperties memory_properties(const struct device *device)
{
    VkPhysicalDeviceMemoryProperties2 properties = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2};
    device->api.vkGetPhysicalDeviceMemoryProperties2(device->physical, &properties);
    return properties.memoryProperties;
}

/* The first type with all of `needed` and as many of `liked` as can be; -1: none. */
static int memory_type(const struct device *device, uint32_t allowed, VkMemoryPropertyFlags needed,
                       VkMemoryPropertyFlags liked)
{
    VkPhysicalDeviceMemoryProperties properties = memory_properties(device);
    int best = -1, best_score = -1;
    for (uint32_t i = 0; i < properties.memoryTypeCount; ++i) {
        VkMemoryPropertyFlags flags = properties.memoryTypes[i].propertyFlags;
        int score = __builtin_popcount(flags & liked);
        if ((allowed >> i & 1) && (flags & needed) == needed && score > best_score) {
            best = (int)i;
            best_score = score;
        }
    }
    return best;
}

bool vulkan_buffer_make(struct device *device, uint64_t bytes, bool visible, struct vulkan_buffer *out,
                        struct error *error)
{
    memset(out, 0, sizeof *out);
    out->bytes = bytes;
    VkBufferCreateInfo info = {.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
                               .size = bytes,
                               .usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT |
                                        VK_BUFFER_USAGE_TRANSFER_DST_BIT | VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT};
    if (!VULKAN_OK(device, vkCreateBuffer(device->handle, &info, NULL, &out->buffer), error))
        return false;
    VkMemoryRequirements needs;
    device->api.vkGetBufferMemoryRequirements(device->handle, out->buffer, &needs);
    int type = visible ? memory_type(device, needs.memoryTypeBits,
                                     VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT,
                                     VK_MEMORY_PROPERTY_HOST_CACHED_BIT)
                       : memory_type(device, needs.memoryTypeBits, 0, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT);
    if (type < 0) {
        error_set(error, ERROR_DEVICE, "%s has no %s memory for buffers", device->name,
                  visible ? "host-visible" : "device-local");
        goto failed;
    }
    VkMemoryAllocateFlagsInfo flags = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO,
                                       .flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT};
    VkMemoryAllocateInfo allocate = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
                                     .pNext = &flags,
                                     .allocationSize = needs.size,
                                     .memoryTypeIndex = (uint32_t)type};
    if (!VULKAN_OK(device, vkAllocateMemory(device->handle, &allocate, NULL, &out->memory), error)) {
        out->memory = VK_NULL_HANDLE;
        error_prefix(error, "%.0f MiB in one piece%s", (double)bytes / 0x1p20,
                     needs.size > device->traits.largest_allocation ? ", more than this driver promises" : "");
        goto failed;
    }
    if (!VULKAN_OK(device, vkBindBufferMemory(device->handle, out->buffer, out->memory, 0), error))
        goto failed;
    if (visible &&
        !VULKAN_OK(device, vkMapMemory(device->handle, out->memory, 0, VK_WHOLE_SIZE, 0, &out->mapped), error))
        goto failed;
    VkBufferDeviceAddressInfo address = {.sType = VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO, .buffer = out->buffer};
    out->address = device->api.vkGetBufferDeviceAddress(device->handle, &address);
    return true;
failed:
    vulkan_buffer_release(device, out);
    return false;
}

void vulkan_buffer_release(struct device *device, struct vulkan_buffer *buffer)
{
    if (buffer->buffer)
        device->api.vkDestroyBuffer(device->handle, buffer->buffer, NULL);
    if (buffer->memory)
        device->api.vkFreeMemory(device->handle, buffer->memory, NULL); /* unmaps, too */
    memset(buffer, 0, sizeof *buffer);
}

uint64_t vulkan_free_bytes(const struct device *device)
{
    struct vulkan_traits now;
    vulkan_traits_fill(&device->api, device->physical, &now);
    return now.free_bytes;
}

bool vulkan_begin(struct device *device, struct error *error)
{
    VkCommandBufferBeginInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
                                     .flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT};
    return VULKAN_OK(device, vkBeginCommandBuffer(device->transfer, &info), error);
}

bool vulkan_submit(struct device *device, VkCommandBuffer commands, bool wait, struct error *error)
{
    VkSubmitInfo submit = {
        .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO, .commandBufferCount = 1, .pCommandBuffers = &commands};
    if (!wait)
        return VULKAN_OK(device, vkQueueSubmit(device->queue, 1, &submit, VK_NULL_HANDLE), error);
    return VULKAN_OK(device, vkQueueSubmit(device->queue, 1, &submit, device->fence), error) &&
           VULKAN_OK(device, vkWaitForFences(device->handle, 1, &device->fence, VK_TRUE, UINT64_MAX), error) &&
           VULKAN_OK(device, vkResetFences(device->handle, 1, &device->fence), error);
}

bool vulkan_finish(struct device *device, struct error *error)
{
    return VULKAN_OK(device, vkEndCommandBuffer(device->transfer), error) &&
           vulkan_submit(device, device->transfer, true, error);
}

void vulkan_barrier(const struct device *device, VkCommandBuffer commands)
{
    VkMemoryBarrier barrier = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
                               .srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT,
                               .dstAccessMask = VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT |
                                                VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT};
    const VkPipelineStageFlags stages = VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT;
    device->api.vkCmdPipelineBarrier(commands, stages, stages, 0, 1, &barrier, 0, NULL, 0, NULL);
}

/* What was copied to the staging buffer is seen by the host. */
static void host_barrier(const struct device *device, VkCommandBuffer commands)
{
    VkMemoryBarrier barrier = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
                               .srcAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT,
                               .dstAccessMask = VK_ACCESS_HOST_READ_BIT};
    device->api.vkCmdPipelineBarrier(commands, VK_PIPELINE_STAGE_TRANSFER_BIT, VK_PIPELINE_STAGE_HOST_BIT, 0, 1,
                                     &barrier, 0, NULL, 0, NULL);
}

/* One load of the staging buffer: `count` regions of `width` bytes. */
static bool copy_some(struct device *device, const struct vulkan_buffer *buffer, uint64_t offset, uint64_t count,
                      uint64_t width, uint64_t pitch, void *host, bool write, struct error *error)
{
    VkBufferCopy regions[MAX_REGIONS];
    for (uint64_t i = 0; i < count; ++i) {
        uint64_t there = offset + i * pitch, here = i * width;
        regions[i] = (VkBufferCopy){write ? here : there, write ? there : here, width};
    }
    if (write)
        memcpy(device->staging.mapped, host, count * width);
    if (!vulkan_begin(device, error))
        return false;
    vulkan_barrier(device, device->transfer);
    device->api.vkCmdCopyBuffer(device->transfer, write ? device->staging.buffer : buffer->buffer,
                                write ? buffer->buffer : device->staging.buffer, (uint32_t)count, regions);
    if (write)
        vulkan_barrier(device, device->transfer);
    else
        host_barrier(device, device->transfer);
    if (!vulkan_finish(device, error))
        return false;
    if (!write)
        memcpy(host, device->staging.mapped, count * width);
    return true;
}

bool vulkan_copy(struct device *device, const struct vulkan_buffer *buffer, uint64_t offset, uint64_t rows,
                 uint64_t width, uint64_t pitch, void *host, bool write, struct error *error)
{
    if (!device->staging.buffer && !vulkan_buffer_make(device, STAGING_BYTES, true, &device->staging, error))
        return false;
    char *bytes = host;
    if (width == pitch || rows == 1) { /* one region, in pieces */
        uint64_t total = rows * width;
        for (uint64_t done = 0; done < total;) {
            uint64_t piece = total - done < STAGING_BYTES ? total - done : STAGING_BYTES;
            if (!copy_some(device, buffer, offset + done, 1, piece, piece, bytes + done, write, error))
                return false;
            done += piece;
        }
        return true;
    }
    if (width > STAGING_BYTES)
        return error_set(error, ERROR_INTERNAL, "a row of %llu bytes", (unsigned long long)width);
    uint64_t most = STAGING_BYTES / width < MAX_REGIONS ? STAGING_BYTES / width : MAX_REGIONS;
    for (uint64_t done = 0; done < rows;) {
        uint64_t piece = rows - done < most ? rows - done : most;
        if (!copy_some(device, buffer, offset + done * pitch, piece, width, pitch, bytes + done * width, write, error))
            return false;
        done += piece;
    }
    return true;
}
