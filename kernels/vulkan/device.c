/* The device class "vulkan": finding, opening and describing devices. */
#include "kernels/device.h"
#include "base/unknown.h"
#include "kernels/vulkan/vulkan_device.h"
#include "kernels/vulkan/vulkan_internal.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_EXTENSIONS 512
#define OVERLAP_NODES 8 /* as on CUDA, where it was measured */

bool vulkan_physical_devices(struct vulkan_api *api, VkPhysicalDevice *devices, int *count, struct error *error)
{
    uint32_t found = VULKAN_MAX_DEVICES;
    VkResult result = api->vkEnumeratePhysicalDevices(api->instance, &found, devices);
    if (result < VK_SUCCESS)
        return vulkan_failed(result, "vkEnumeratePhysicalDevices", error);
    if (found == 0)
        return error_set(
            error, ERROR_DEVICE,
            "the Vulkan loader is there but no device: no driver found a GPU, or VK_DRIVER_FILES hides it");
    *count = (int)found;
    return true;
}

static const char *kind_name(VkPhysicalDeviceType type)
{
    switch (type) {
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
        return "discrete GPU";
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
        return "integrated GPU";
    case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU:
        return "virtual GPU";
    case VK_PHYSICAL_DEVICE_TYPE_CPU:
        return "software, no GPU";
    default:
        return "GPU";
    }
}

/* The compute queue whose timestamps work. When there is a choice: on NVIDIA's cards one without graphics, where a step of model S in
 * bf16 took 0.88 of the time (docs/bench-h200.md); on others, which could not be tried, graphics' own. */
static void queue_choose(const struct vulkan_api *api, VkPhysicalDevice physical, struct vulkan_traits *traits)
{
    VkQueueFamilyProperties families[32];
    uint32_t count = 32;
    int best = -1, best_score = -1;
    const bool alone = traits->properties.vendorID == VULKAN_NVIDIA;
    api->vkGetPhysicalDeviceQueueFamilyProperties(physical, &count, families);
    for (uint32_t i = 0; i < count; ++i) {
        if (!(families[i].queueFlags & VK_QUEUE_COMPUTE_BIT))
            continue;
        bool graphics = (families[i].queueFlags & VK_QUEUE_GRAPHICS_BIT) != 0;
        int score = (families[i].timestampValidBits > 0) * 2 + (graphics != alone);
        if (score > best_score) {
            best = (int)i;
            best_score = score;
        }
    }
    if (best < 0) {
        snprintf(traits->why_not, sizeof traits->why_not, "it has no queue for compute");
        return;
    }
    traits->family = (uint32_t)best;
    traits->stamp_bits = families[best].timestampValidBits;
}

static void memory_measure(const struct vulkan_api *api, VkPhysicalDevice physical, struct vulkan_traits *traits)
{
    VkPhysicalDeviceMemoryBudgetPropertiesEXT budget = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT};
    VkPhysicalDeviceMemoryProperties2 memory = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2,
                                                .pNext = traits->budget ? &budget : NULL};
    api->vkGetPhysicalDeviceMemoryProperties2(physical, &memory);
    traits->memory_bytes = 0;
    for (uint32_t i = 0; i < memory.memoryProperties.memoryHeapCount; ++i) {
        const VkMemoryHeap *heap = &memory.memoryProperties.memoryHeaps[i];
        if ((heap->flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) && heap->size > traits->memory_bytes) {
            traits->memory_bytes = heap->size;
            traits->heap = i;
        }
    }
    traits->free_bytes = UNKNOWN_U64;
    if (traits->budget && budget.heapBudget[traits->heap] > 0)
        traits->free_bytes = budget.heapBudget[traits->heap] > budget.heapUsage[traits->heap]
                                 ? budget.heapBudget[traits->heap] - budget.heapUsage[traits->heap]
                                 : 0;
}

static bool clock_is_ours(const struct vulkan_api *api, VkPhysicalDevice physical)
{
    VkTimeDomainEXT domains[16];
    uint32_t count = 16;
    bool device = false, host = false;
    if (!api->vkGetPhysicalDeviceCalibrateableTimeDomainsEXT ||
        api->vkGetPhysicalDeviceCalibrateableTimeDomainsEXT(physical, &count, domains) < VK_SUCCESS)
        return false;
    for (uint32_t i = 0; i < count; ++i) {
        device = device || domains[i] == VK_TIME_DOMAIN_DEVICE_EXT;
        host = host || domains[i] == VK_TIME_DOMAIN_CLOCK_MONOTONIC_EXT;
    }
    return device && host;
}

void vulkan_traits_fill(const struct vulkan_api *api, VkPhysicalDevice physical, struct vulkan_traits *traits)
{
    memset(traits, 0, sizeof *traits);
    api->vkGetPhysicalDeviceProperties(physical, &traits->properties);
    const VkPhysicalDeviceProperties *properties = &traits->properties;
    snprintf(traits->kind, sizeof traits->kind, "%s", kind_name(properties->deviceType));
    traits->software = properties->deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU;
    traits->free_bytes = UNKNOWN_U64;
    if (properties->apiVersion < VK_API_VERSION_1_2) {
        snprintf(traits->why_not, sizeof traits->why_not, "its driver speaks Vulkan %u.%u and steptop needs 1.2",
                 VK_API_VERSION_MAJOR(properties->apiVersion), VK_API_VERSION_MINOR(properties->apiVersion));
        memory_measure(api, physical, traits);
        return;
    }
    VkExtensionProperties *extensions = calloc(MAX_EXTENSIONS, sizeof *extensions);
    uint32_t count = extensions ? MAX_EXTENSIONS : 0;
    if (count && api->vkEnumerateDeviceExtensionProperties(physical, NULL, &count, extensions) < VK_SUCCESS)
        count = 0;
    bool calibrated = false;
    for (uint32_t i = 0; i < count; ++i) {
        const char *name = extensions[i].extensionName;
        traits->budget = traits->budget || strcmp(name, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME) == 0;
        calibrated = calibrated || strcmp(name, VK_EXT_CALIBRATED_TIMESTAMPS_EXTENSION_NAME) == 0;
        traits->counters = traits->counters || strcmp(name, VK_KHR_PERFORMANCE_QUERY_EXTENSION_NAME) == 0;
        traits->matrix_extensions |= vulkan_matrix_extension(name);
        traits->portability = traits->portability || strcmp(name, "VK_KHR_portability_subset") == 0;
    }
    free(extensions);
    VkPhysicalDeviceDriverProperties driver = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES};
    VkPhysicalDeviceSubgroupProperties subgroup = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES,
                                                   .pNext = &driver};
    VkPhysicalDeviceMaintenance3Properties maintenance = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_3_PROPERTIES, .pNext = &subgroup};
    VkPhysicalDeviceProperties2 more = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &maintenance};
    api->vkGetPhysicalDeviceProperties2(physical, &more);
    snprintf(traits->driver, sizeof traits->driver, "%.50s %.50s", driver.driverName, driver.driverInfo);
    traits->subgroup = subgroup.subgroupSize;
    traits->arithmetic = (subgroup.supportedOperations & VK_SUBGROUP_FEATURE_ARITHMETIC_BIT) != 0 &&
                         (subgroup.supportedStages & VK_SHADER_STAGE_COMPUTE_BIT) != 0;
    traits->largest_allocation = maintenance.maxMemoryAllocationSize;
    struct vulkan_matrix_features matrices;
    VkPhysicalDevicePerformanceQueryFeaturesKHR queries = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PERFORMANCE_QUERY_FEATURES_KHR,
        .pNext = vulkan_matrix_chain(&matrices, traits->matrix_extensions)};
    VkPhysicalDeviceVulkan12Features features12 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
                                                   .pNext = traits->counters ? &queries : queries.pNext};
    VkPhysicalDeviceVulkan11Features features11 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES,
                                                   .pNext = &features12};
    VkPhysicalDeviceFeatures2 features = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, .pNext = &features11};
    api->vkGetPhysicalDeviceFeatures2(physical, &features);
    traits->addresses = features12.bufferDeviceAddress;
    traits->narrow = features11.storageBuffer16BitAccess;
    traits->counters = traits->counters && queries.performanceCounterQueryPools && features12.hostQueryReset &&
                       api->vkEnumeratePhysicalDeviceQueueFamilyPerformanceQueryCountersKHR &&
                       api->vkGetPhysicalDeviceQueueFamilyPerformanceQueryPassesKHR;
    vulkan_matrices_judge(api, physical, &matrices, &features12, traits);
    traits->calibrated = calibrated && clock_is_ours(api, physical);
    memory_measure(api, physical, traits);
    queue_choose(api, physical, traits);
    if (!traits->addresses)
        snprintf(traits->why_not, sizeof traits->why_not, "its driver has no bufferDeviceAddress");
    else if (!traits->arithmetic)
        snprintf(traits->why_not, sizeof traits->why_not, "its driver has no subgroup arithmetic in compute shaders");
    else if (properties->limits.maxComputeWorkGroupInvocations < 256)
        snprintf(traits->why_not, sizeof traits->why_not, "its workgroups hold %u invocations and steptop needs 256",
                 properties->limits.maxComputeWorkGroupInvocations);
    else if (traits->stamp_bits == 0)
        snprintf(traits->why_not, sizeof traits->why_not, "its queue has no timestamps");
}

/* On a Mac the Apple GPU is called as PyTorch calls it. */
static void name_device(int index, char *name, size_t size)
{
#ifdef __APPLE__
    if (index == 0)
        snprintf(name, size, "mps");
    else
        snprintf(name, size, "mps:%d", index);
#else
    snprintf(name, size, "vulkan:%d", index);
#endif
}

static void info_fill(const struct vulkan_traits *traits, int index, struct device_info *info)
{
    memset(info, 0, sizeof *info);
    uint32_t version = traits->properties.apiVersion;
    name_device(index, info->name, sizeof info->name);
    snprintf(info->model, sizeof info->model, "%.90s", traits->properties.deviceName);
    snprintf(info->architecture, sizeof info->architecture, "%.16s%s%.9s", traits->kind,
             traits->matrices[0] ? ", mma " : "", traits->matrices);
    snprintf(info->driver, sizeof info->driver, "%.44s, Vulkan %u.%u", traits->driver, VK_API_VERSION_MAJOR(version),
             VK_API_VERSION_MINOR(version));
    info->memory_bytes = traits->memory_bytes;
    info->free_bytes = traits->free_bytes;
    info->units = 0;
    info->clock_mhz = UNKNOWN_DOUBLE;
    for (int precision = 0; precision < PRECISION_COUNT; ++precision) {
        char *why = info->why_not[precision];
        if (traits->why_not[0])
            snprintf(why, sizeof info->why_not[0], "%s", traits->why_not);
        else if (precision == PRECISION_TF32)
            snprintf(why, sizeof info->why_not[0],
                     "tf32 is a format of NVIDIA's that Vulkan has no name for: choose fp32 or bf16");
        else if (precision == PRECISION_BF16 && !traits->narrow)
            snprintf(why, sizeof info->why_not[0], "the driver has no 16-bit storage (storageBuffer16BitAccess)");
        else
            info->precisions |= 1u << precision;
    }
}

static bool vulkan_enumerate(struct device_info *infos, int max, int *count, struct error *error)
{
    struct vulkan_api api;
    VkPhysicalDevice devices[VULKAN_MAX_DEVICES];
    *count = 0;
    if (!vulkan_api_open(&api, NULL, error))
        return false;
    bool done = vulkan_physical_devices(&api, devices, count, error);
    for (int i = 0; done && i < *count && i < max; ++i) {
        struct vulkan_traits traits;
        vulkan_traits_fill(&api, devices[i], &traits);
        info_fill(&traits, i, &infos[i]);
    }
    if (done && *count > max)
        *count = max;
    vulkan_api_close(&api);
    return done;
}

static void vulkan_close(struct device *device)
{
    if (!device)
        return;
    struct vulkan_api *api = &device->api;
    if (device->handle && api->vkDestroyDevice) {
        vulkan_buffer_release(device, &device->staging);
        if (device->fence)
            api->vkDestroyFence(device->handle, device->fence, NULL);
        if (device->layout)
            api->vkDestroyPipelineLayout(device->handle, device->layout, NULL);
        if (device->pool)
            api->vkDestroyCommandPool(device->handle, device->pool, NULL);
        api->vkDestroyDevice(device->handle, NULL);
    }
    vulkan_api_close(api);
    free(device);
}

static bool logical_make(struct device *device, struct error *error)
{
    const struct vulkan_traits *traits = &device->traits;
    const float priority = 1.0f;
    VkDeviceQueueCreateInfo queue = {.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
                                     .queueFamilyIndex = traits->family,
                                     .queueCount = 1,
                                     .pQueuePriorities = &priority};
    struct vulkan_matrix_features matrices;
    VkPhysicalDevicePerformanceQueryFeaturesKHR queries = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PERFORMANCE_QUERY_FEATURES_KHR,
        .pNext = vulkan_matrix_chain(&matrices, traits->matrix_extensions),
        .performanceCounterQueryPools = VK_TRUE};
    vulkan_matrices_enable(&matrices, traits);
    VkPhysicalDeviceVulkan12Features features12 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
                                                   .pNext = traits->counters ? &queries : queries.pNext,
                                                   .hostQueryReset = traits->counters,
                                                   .bufferDeviceAddress = VK_TRUE,
                                                   .vulkanMemoryModel = traits->matrix_bf16};
    VkPhysicalDeviceVulkan11Features features11 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES,
                                                   .pNext = &features12,
                                                   .storageBuffer16BitAccess = traits->narrow};
    const char *extensions[8];
    uint32_t count = 0;
    if (traits->calibrated)
        extensions[count++] = VK_EXT_CALIBRATED_TIMESTAMPS_EXTENSION_NAME;
    if (traits->budget)
        extensions[count++] = VK_EXT_MEMORY_BUDGET_EXTENSION_NAME;
    if (traits->counters)
        extensions[count++] = VK_KHR_PERFORMANCE_QUERY_EXTENSION_NAME;
    if (traits->portability)
        extensions[count++] = "VK_KHR_portability_subset";
    count += vulkan_matrix_names(traits->matrix_extensions, extensions + count);
    VkDeviceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
                               .pNext = &features11,
                               .queueCreateInfoCount = 1,
                               .pQueueCreateInfos = &queue,
                               .enabledExtensionCount = count,
                               .ppEnabledExtensionNames = extensions};
    if (!VULKAN_OK(device, vkCreateDevice(device->physical, &info, NULL, &device->handle), error)) {
        device->handle = VK_NULL_HANDLE;
        return false;
    }
    if (!vulkan_api_device(&device->api, device->handle, device->name, error))
        return false;
    device->api.vkGetDeviceQueue(device->handle, traits->family, 0, &device->queue);
    VkPushConstantRange range = {.stageFlags = VK_SHADER_STAGE_COMPUTE_BIT, .size = sizeof(struct vulkan_push)};
    VkPipelineLayoutCreateInfo layout = {.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
                                         .pushConstantRangeCount = 1,
                                         .pPushConstantRanges = &range};
    VkCommandPoolCreateInfo pool = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                    .flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT,
                                    .queueFamilyIndex = traits->family};
    VkFenceCreateInfo fence = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
    if (!VULKAN_OK(device, vkCreatePipelineLayout(device->handle, &layout, NULL, &device->layout), error) ||
        !VULKAN_OK(device, vkCreateCommandPool(device->handle, &pool, NULL, &device->pool), error) ||
        !VULKAN_OK(device, vkCreateFence(device->handle, &fence, NULL, &device->fence), error))
        return false;
    VkCommandBufferAllocateInfo buffers = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                           .commandPool = device->pool,
                                           .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                           .commandBufferCount = 1};
    return VULKAN_OK(device, vkAllocateCommandBuffers(device->handle, &buffers, &device->transfer), error);
}

static struct device *vulkan_open(int index, struct error *error)
{
    struct device *device = calloc(1, sizeof *device);
    VkPhysicalDevice devices[VULKAN_MAX_DEVICES];
    int count = 0;
    if (!device) {
        error_set(error, ERROR_MEMORY, "out of memory on the host");
        return NULL;
    }
    device->index = index;
    name_device(index, device->name, sizeof device->name);
    if (!vulkan_api_open(&device->api, NULL, error) || !vulkan_physical_devices(&device->api, devices, &count, error))
        goto failed;
    if (index < 0 || index >= count) {
        error_set(error, ERROR_DEVICE, "there is no %s: this machine shows %d Vulkan device%s", device->name, count,
                  count == 1 ? "" : "s");
        goto failed;
    }
    device->physical = devices[index];
    vulkan_traits_fill(&device->api, device->physical, &device->traits);
    if (device->traits.why_not[0]) {
        error_set(error, ERROR_UNSUPPORTED, "%s, %s, cannot be used: %s", device->name,
                  device->traits.properties.deviceName, device->traits.why_not);
        goto failed;
    }
    if (!logical_make(device, error)) {
        error_prefix(error, "opening %s, %s", device->name, device->traits.properties.deviceName);
        goto failed;
    }
    return device;
failed:
    vulkan_close(device);
    return NULL;
}

bool vulkan_supports(const struct device *device, enum op op, enum precision precision, char *why, size_t why_size)
{
    struct device_info info;
    info_fill(&device->traits, device->index, &info);
    if (!vulkan_has_lowering(op))
        snprintf(why, why_size, "the Vulkan device has no kernel for it");
    else if (!(info.precisions >> precision & 1))
        snprintf(why, why_size, "%s", info.why_not[precision]);
    else
        return true;
    return false;
}

__attribute__((visibility("default"))) const struct device_class steptop_device_class = {
    .abi = DEVICE_ABI,
    .name = "vulkan",
    .enumerate = vulkan_enumerate,
    .open = vulkan_open,
    .close = vulkan_close,
    .supports = vulkan_supports,
    .prepare = vulkan_prepare,
    .release = vulkan_release,
    .run = vulkan_run,
    .write = vulkan_write,
    .read = vulkan_read,
    .measure_ceilings = vulkan_measure_ceilings,
    .overlap = {.ops = OP_BIT(OP_LINEAR_BACKWARD_WEIGHT), .nodes = OVERLAP_NODES},
};
