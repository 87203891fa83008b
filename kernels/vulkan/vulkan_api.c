#include "kernels/vulkan/vulkan_api.h"
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#ifdef __APPLE__
static const char *const usual_names[] = {"libvulkan.1.dylib",
                                          "libMoltenVK.dylib",
                                          "/opt/homebrew/lib/libvulkan.1.dylib",
                                          "/opt/homebrew/lib/libMoltenVK.dylib",
                                          "/usr/local/lib/libvulkan.1.dylib",
                                          NULL};
#define INSTALL_HINT "install the Vulkan SDK, or MoltenVK by `brew install molten-vk vulkan-loader`"
#else
static const char *const usual_names[] = {"libvulkan.so.1", "libvulkan.so", NULL};
#define INSTALL_HINT "install it (Debian: libvulkan1) with the GPU's driver (Debian: mesa-vulkan-drivers, or NVIDIA's)"
#endif

/* Vulkan 1.2 has what every kernel here needs: addresses of buffers, and subgroups. */
#define OLDEST_VERSION VK_API_VERSION_1_2

const char *vulkan_result_name(VkResult result)
{
    static const struct {
        VkResult result;
        const char *name;
    } names[] = {
        {VK_SUCCESS, "success"},
        {VK_TIMEOUT, "timeout"},
        {VK_NOT_READY, "not ready"},
        {VK_ERROR_OUT_OF_HOST_MEMORY, "out of host memory"},
        {VK_ERROR_OUT_OF_DEVICE_MEMORY, "out of device memory"},
        {VK_ERROR_INITIALIZATION_FAILED, "initialization failed"},
        {VK_ERROR_DEVICE_LOST, "device lost"},
        {VK_ERROR_MEMORY_MAP_FAILED, "memory cannot be mapped"},
        {VK_ERROR_LAYER_NOT_PRESENT, "layer not present"},
        {VK_ERROR_EXTENSION_NOT_PRESENT, "extension not present"},
        {VK_ERROR_FEATURE_NOT_PRESENT, "feature not present"},
        {VK_ERROR_INCOMPATIBLE_DRIVER, "incompatible driver"},
        {VK_ERROR_TOO_MANY_OBJECTS, "too many objects"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; ++i)
        if (names[i].result == result)
            return names[i].name;
    return "an error that steptop has no word for";
}

bool vulkan_failed(VkResult result, const char *what, struct error *error)
{
    enum error_kind kind = ERROR_INTERNAL;
    const char *more = "";
    if (result == VK_ERROR_OUT_OF_DEVICE_MEMORY || result == VK_ERROR_OUT_OF_HOST_MEMORY) {
        kind = ERROR_MEMORY;
    } else if (result == VK_ERROR_DEVICE_LOST) {
        kind = ERROR_DEVICE;
        more = "; the driver reset it, or a watchdog ended a launch that took too long";
    } else if (result == VK_ERROR_INITIALIZATION_FAILED || result == VK_ERROR_INCOMPATIBLE_DRIVER) {
        kind = ERROR_DEVICE;
    }
    int length = (int)strcspn(what, "(");
    return error_set(error, kind, "%.*s: %s (%d)%s", length, what, vulkan_result_name(result), (int)result, more);
}

#define VULKAN_NAME_(name) #name
#define RESOLVE_INSTANCE(name)                                                                                         \
    api->name = (PFN_##name)api->vkGetInstanceProcAddr(api->instance, VULKAN_NAME_(name));                             \
    if (!api->name && !lacking)                                                                                        \
        lacking = VULKAN_NAME_(name);

static bool has_extension(const VkExtensionProperties *extensions, uint32_t count, const char *name)
{
    for (uint32_t i = 0; i < count; ++i)
        if (strcmp(extensions[i].extensionName, name) == 0)
            return true;
    return false;
}

static bool instance_make(struct vulkan_api *api, struct error *error)
{
    uint32_t version = 0, count = 128;
    VkExtensionProperties extensions[128];
    if (api->vkEnumerateInstanceVersion(&version) != VK_SUCCESS || version < OLDEST_VERSION)
        return error_set(error, ERROR_DEVICE, "the Vulkan loader is too old: it speaks %u.%u and steptop needs 1.2",
                         VK_API_VERSION_MAJOR(version), VK_API_VERSION_MINOR(version));
    VkResult result = api->vkEnumerateInstanceExtensionProperties(NULL, &count, extensions);
    if (result < VK_SUCCESS)
        count = 0;
    const char *wanted[1];
    VkApplicationInfo application = {.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
                                     .pApplicationName = "steptop",
                                     .apiVersion =
                                         version < VK_API_VERSION_1_3 ? VK_API_VERSION_1_2 : VK_API_VERSION_1_3};
    VkInstanceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
                                 .pApplicationInfo = &application,
                                 .ppEnabledExtensionNames = wanted};
    /* Without it the loader hides drivers that do not do all of Vulkan: MoltenVK. */
    if (has_extension(extensions, count, VK_KHR_PORTABILITY_ENUMERATION_EXTENSION_NAME)) {
        info.flags |= VK_INSTANCE_CREATE_ENUMERATE_PORTABILITY_BIT_KHR;
        wanted[info.enabledExtensionCount++] = VK_KHR_PORTABILITY_ENUMERATION_EXTENSION_NAME;
    }
    result = api->vkCreateInstance(&info, NULL, &api->instance);
    if (result == VK_ERROR_INCOMPATIBLE_DRIVER)
        return error_set(error, ERROR_DEVICE,
                         "the Vulkan loader is there but no driver: none is installed, or VK_DRIVER_FILES hides it");
    if (result != VK_SUCCESS)
        return error_set(error, ERROR_DEVICE, "the Vulkan loader does not start: %s (%d)", vulkan_result_name(result),
                         (int)result);
    const char *lacking = NULL;
    VULKAN_INSTANCE_FUNCTIONS(RESOLVE_INSTANCE)
    api->vkGetPhysicalDeviceCalibrateableTimeDomainsEXT =
        (PFN_vkGetPhysicalDeviceCalibrateableTimeDomainsEXT)api->vkGetInstanceProcAddr(
            api->instance, "vkGetPhysicalDeviceCalibrateableTimeDomainsEXT");
    if (!api->vkGetPhysicalDeviceCalibrateableTimeDomainsEXT)
        api->vkGetPhysicalDeviceCalibrateableTimeDomainsEXT =
            (PFN_vkGetPhysicalDeviceCalibrateableTimeDomainsEXT)api->vkGetInstanceProcAddr(
                api->instance, "vkGetPhysicalDeviceCalibrateableTimeDomainsKHR");
    api->vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR =
        (PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR)api->vkGetInstanceProcAddr(
            api->instance, "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR");
    api->vkEnumeratePhysicalDeviceQueueFamilyPerformanceQueryCountersKHR =
        (PFN_vkEnumeratePhysicalDeviceQueueFamilyPerformanceQueryCountersKHR)api->vkGetInstanceProcAddr(
            api->instance, "vkEnumeratePhysicalDeviceQueueFamilyPerformanceQueryCountersKHR");
    api->vkGetPhysicalDeviceQueueFamilyPerformanceQueryPassesKHR =
        (PFN_vkGetPhysicalDeviceQueueFamilyPerformanceQueryPassesKHR)api->vkGetInstanceProcAddr(
            api->instance, "vkGetPhysicalDeviceQueueFamilyPerformanceQueryPassesKHR");
    return !lacking || error_set(error, ERROR_DEVICE, "the Vulkan loader has no %s", lacking);
}

bool vulkan_api_open(struct vulkan_api *api, const char *const *names, struct error *error)
{
    const char *lacking = NULL;
    memset(api, 0, sizeof *api);
    if (!names)
        names = usual_names;
    for (int i = 0; names[i] && !api->handle; ++i)
        api->handle = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (!api->handle)
        return error_set(error, ERROR_DEVICE,
                         "no Vulkan: %s cannot be loaded; " INSTALL_HINT ", or choose --device cpu", names[0]);
    *(void **)&api->vkGetInstanceProcAddr = dlsym(api->handle, "vkGetInstanceProcAddr");
    if (!api->vkGetInstanceProcAddr)
        return error_set(error, ERROR_DEVICE, "%s is no Vulkan loader: it has no vkGetInstanceProcAddr", names[0]);
    VULKAN_GLOBAL_FUNCTIONS(RESOLVE_INSTANCE)
    if (lacking)
        return error_set(error, ERROR_DEVICE, "the Vulkan loader is too old: it has no %s; steptop needs Vulkan 1.2",
                         lacking);
    if (instance_make(api, error))
        return true;
    vulkan_api_close(api);
    return false;
}

void vulkan_api_close(struct vulkan_api *api)
{
    if (api->instance && api->vkDestroyInstance)
        api->vkDestroyInstance(api->instance, NULL);
    api->instance = VK_NULL_HANDLE;
}

#define RESOLVE_DEVICE(name)                                                                                           \
    api->name = (PFN_##name)api->vkGetDeviceProcAddr(device, VULKAN_NAME_(name));                                      \
    if (!api->name && !lacking)                                                                                        \
        lacking = VULKAN_NAME_(name);

bool vulkan_api_device(struct vulkan_api *api, VkDevice device, const char *what, struct error *error)
{
    const char *lacking = NULL;
    VULKAN_DEVICE_FUNCTIONS(RESOLVE_DEVICE)
    api->vkGetCalibratedTimestampsEXT =
        (PFN_vkGetCalibratedTimestampsEXT)api->vkGetDeviceProcAddr(device, "vkGetCalibratedTimestampsEXT");
    if (!api->vkGetCalibratedTimestampsEXT)
        api->vkGetCalibratedTimestampsEXT =
            (PFN_vkGetCalibratedTimestampsEXT)api->vkGetDeviceProcAddr(device, "vkGetCalibratedTimestampsKHR");
    api->vkAcquireProfilingLockKHR =
        (PFN_vkAcquireProfilingLockKHR)api->vkGetDeviceProcAddr(device, "vkAcquireProfilingLockKHR");
    api->vkReleaseProfilingLockKHR =
        (PFN_vkReleaseProfilingLockKHR)api->vkGetDeviceProcAddr(device, "vkReleaseProfilingLockKHR");
    return !lacking || error_set(error, ERROR_DEVICE, "%s: its driver has no %s", what, lacking);
}
