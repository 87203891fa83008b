/* What the Vulkan device says where the loader, a driver or a device is missing; no GPU needed. */
#include "kernels/vulkan/vulkan_device.h"
#include "kernels/vulkan/vulkan_internal.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void one_sentence(const struct error *error, const char *says)
{
    assert_int_equal(error->kind, ERROR_DEVICE);
    assert_null(strchr(error->text, '\n'));
    if (!strstr(error->text, says))
        fail_msg("%s", error->text);
}

static void without_a_loader(void **state)
{
    (void)state;
    static const char *const names[] = {"libnothing-of-the-kind.so.1", NULL}, *const strange[] = {"libm.so.6", NULL};
    struct vulkan_api api;
    struct error error = {0};
    assert_false(vulkan_api_open(&api, names, &error));
    one_sentence(&error, "no Vulkan: libnothing-of-the-kind.so.1 cannot be loaded");
    memset(&error, 0, sizeof error);
    assert_false(vulkan_api_open(&api, strange, &error));
    one_sentence(&error, "is no Vulkan loader");
}

static void without_a_driver(void **state)
{
    (void)state;
    struct vulkan_api api;
    struct error error = {0};
    struct device_info info;
    int count = 7;
    setenv("VK_DRIVER_FILES", "/nonexistent/driver.json", 1);
    setenv("VK_ICD_FILENAMES", "/nonexistent/driver.json", 1); /* its older name */
    if (!vulkan_api_open(&api, NULL, &error) && strstr(error.text, "cannot be loaded")) {
        print_message("skipped: %s\n", error.text);
        skip();
    }
    vulkan_api_close(&api);
    memset(&error, 0, sizeof error);
    assert_false(steptop_device_class.enumerate(&info, 1, &count, &error));
    assert_int_equal(count, 0);
    one_sentence(&error, "driver");
    memset(&error, 0, sizeof error);
    assert_null(steptop_device_class.open(0, &error));
    assert_int_equal(error.kind, ERROR_DEVICE);
    unsetenv("VK_DRIVER_FILES");
    unsetenv("VK_ICD_FILENAMES");
}

static void without_that_device(void **state)
{
    (void)state;
    struct device_info info;
    struct error error = {0};
    int count = 0;
    if (!steptop_device_class.enumerate(&info, 1, &count, &error)) {
        print_message("skipped: %s\n", error.text);
        skip();
    }
    assert_null(steptop_device_class.open(15, &error));
    one_sentence(&error, "there is no ");
}

/* The results of Vulkan's calls, by what they mean for a run. */
static void results_have_kinds(void **state)
{
    (void)state;
    static const struct {
        VkResult result;
        enum error_kind kind;
        const char *says;
    } cases[] = {
        {VK_ERROR_DEVICE_LOST, ERROR_DEVICE, "vkQueueSubmit: device lost"},
        {VK_ERROR_OUT_OF_DEVICE_MEMORY, ERROR_MEMORY, "out of device memory"},
        {VK_ERROR_OUT_OF_HOST_MEMORY, ERROR_MEMORY, "out of host memory"},
        {VK_ERROR_UNKNOWN, ERROR_INTERNAL, "(-13)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error error = {0};
        assert_false(vulkan_failed(cases[i].result, "vkQueueSubmit(queue, 1, &submit, fence)", &error));
        assert_int_equal(error.kind, cases[i].kind);
        assert_non_null(strstr(error.text, cases[i].says));
    }
}

/* A timestamp of few bits that ran over, before and after the moment of calibration. */
static void ticks_run_over(void **state)
{
    (void)state;
    struct device *device = calloc(1, sizeof *device);
    assert_non_null(device);
    device->traits.stamp_bits = 36;
    device->traits.properties.limits.timestampPeriod = 2.0f;
    const uint64_t most = (UINT64_C(1) << 36) - 1;
    const struct vulkan_clock clock = {.ticks = most - 9, .host = 1000000};
    assert_int_equal(vulkan_clock_convert(device, &clock, most - 9), 1000000);
    assert_int_equal(vulkan_clock_convert(device, &clock, 90), 1000200);
    assert_int_equal(vulkan_clock_convert(device, &clock, most - 109), 999800);
    free(device);
}

/* A card's families: graphics and all, copies alone, compute without timestamps, compute alone. */
static uint32_t vendor;
static bool pools, by_host;
static struct vulkan_api real;
static void VKAPI_CALL families(VkPhysicalDevice physical, uint32_t *count, VkQueueFamilyProperties *out)
{
    (void)physical;
    static const struct {
        VkQueueFlags flags;
        uint32_t bits;
    } all[] = {{VK_QUEUE_GRAPHICS_BIT | VK_QUEUE_COMPUTE_BIT | VK_QUEUE_TRANSFER_BIT, 64},
               {VK_QUEUE_TRANSFER_BIT, 64},
               {VK_QUEUE_COMPUTE_BIT, 0},
               {VK_QUEUE_COMPUTE_BIT | VK_QUEUE_TRANSFER_BIT, 48}};
    *count = sizeof all / sizeof *all;
    for (uint32_t i = 0; i < *count; i++)
        out[i] =
            (VkQueueFamilyProperties){.queueFlags = all[i].flags, .queueCount = 1, .timestampValidBits = all[i].bits};
}
static void VKAPI_CALL properties(VkPhysicalDevice physical, VkPhysicalDeviceProperties *out)
{
    real.vkGetPhysicalDeviceProperties(physical, out);
    out->vendorID = vendor;
}
static VkResult VKAPI_CALL extensions(VkPhysicalDevice physical, const char *layer, uint32_t *count,
                                      VkExtensionProperties *out)
{
    VkResult result = real.vkEnumerateDeviceExtensionProperties(physical, layer, count, out);
    strcpy(out[(*count)++].extensionName, VK_KHR_PERFORMANCE_QUERY_EXTENSION_NAME);
    return result;
}
static void VKAPI_CALL features(VkPhysicalDevice physical, VkPhysicalDeviceFeatures2 *out)
{
    VkBaseOutStructure *before = (VkBaseOutStructure *)out, *queries = before;
    while (queries && queries->sType != VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PERFORMANCE_QUERY_FEATURES_KHR)
        before = queries, queries = queries->pNext;
    assert_non_null(queries);       /* asked, as the extension is there */
    before->pNext = queries->pNext; /* this driver does not know it */
    real.vkGetPhysicalDeviceFeatures2(physical, out);
    before->pNext = queries;
    ((VkPhysicalDevicePerformanceQueryFeaturesKHR *)queries)->performanceCounterQueryPools = pools;
    for (VkBaseOutStructure *at = (VkBaseOutStructure *)out; at; at = at->pNext)
        if (at->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES)
            ((VkPhysicalDeviceVulkan12Features *)at)->hostQueryReset = by_host;
}
static VkResult VKAPI_CALL no_counters(VkPhysicalDevice physical, uint32_t family, uint32_t *count,
                                       VkPerformanceCounterKHR *counters, VkPerformanceCounterDescriptionKHR *said)
{
    (void)physical, (void)family, (void)counters, (void)said;
    *count = 0;
    return VK_SUCCESS;
}
static void VKAPI_CALL no_passes(VkPhysicalDevice physical, const VkQueryPoolPerformanceCreateInfoKHR *info,
                                 uint32_t *count)
{
    (void)physical, (void)info;
    *count = 0;
}

/* Which queue is taken, by whose card it is; and counters are there only with all that reading them takes. */
static void traits_of_a_driver(void **state)
{
    (void)state;
    struct error error = {0};
    struct vulkan_api api;
    struct vulkan_traits traits;
    VkPhysicalDevice physical[VULKAN_MAX_DEVICES];
    int count = 0;
    if (!vulkan_api_open(&api, NULL, &error) || !vulkan_physical_devices(&api, physical, &count, &error)) {
        print_message("skipped: %s\n", error.text);
        vulkan_api_close(&api);
        skip();
    }
    real = api;
    api.vkGetPhysicalDeviceQueueFamilyProperties = families;
    api.vkGetPhysicalDeviceProperties = properties;
    vendor = VULKAN_NVIDIA;
    vulkan_traits_fill(&api, physical[0], &traits);
    assert_true(traits.family == 3 && traits.stamp_bits == 48);
    vendor = 0x1002;
    vulkan_traits_fill(&api, physical[0], &traits);
    assert_true(traits.family == 0 && traits.stamp_bits == 64);

    api.vkEnumerateDeviceExtensionProperties = extensions;
    api.vkGetPhysicalDeviceFeatures2 = features;
    api.vkEnumeratePhysicalDeviceQueueFamilyPerformanceQueryCountersKHR = no_counters;
    api.vkGetPhysicalDeviceQueueFamilyPerformanceQueryPassesKHR = no_passes;
    for (int which = 0; which < 4; which++) {
        pools = which & 1, by_host = which & 2;
        vulkan_traits_fill(&api, physical[0], &traits);
        assert_int_equal(traits.counters, which == 3);
        assert_true(traits.addresses); /* what the chain holds besides came through */
    }
    vulkan_api_close(&api);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_loader),   cmocka_unit_test(without_a_driver), cmocka_unit_test(without_that_device),
        cmocka_unit_test(results_have_kinds), cmocka_unit_test(ticks_run_over),   cmocka_unit_test(traits_of_a_driver),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
