/* Cooperative matrices: what a driver announces, what of it our kernels need, and what a device enables. */
#include "kernels/vulkan/vulkan_internal.h"
#include <stdio.h>
#include <string.h>

static const struct {
    unsigned bit;
    const char *name;
} extension_names[] = {
    {VULKAN_MATRIX_SUBGROUPS, VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME},
    {VULKAN_MATRIX_BF16, VK_KHR_SHADER_BFLOAT16_EXTENSION_NAME},
};
#define EXTENSIONS (sizeof extension_names / sizeof *extension_names)

unsigned vulkan_matrix_extension(const char *name)
{
    for (size_t i = 0; i < EXTENSIONS; ++i)
        if (strcmp(name, extension_names[i].name) == 0)
            return extension_names[i].bit;
    return 0;
}

uint32_t vulkan_matrix_names(unsigned extensions, const char **names)
{
    uint32_t count = 0;
    for (size_t i = 0; i < EXTENSIONS; ++i)
        if (extensions & extension_names[i].bit)
            names[count++] = extension_names[i].name;
    return count;
}

void *vulkan_matrix_chain(struct vulkan_matrix_features *features, unsigned extensions)
{
    void *head = NULL;
    memset(features, 0, sizeof *features);
    features->subgroups.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR;
    features->bf16.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_BFLOAT16_FEATURES_KHR;
    if (extensions & VULKAN_MATRIX_BF16)
        head = &features->bf16;
    if (extensions & VULKAN_MATRIX_SUBGROUPS) {
        features->subgroups.pNext = head;
        head = &features->subgroups;
    }
    return head;
}

/* Names what is multiplied and summed up in fp32; true where bf16 in 16 × 16 × 16 is among it. */
static bool subgroups_list(const struct vulkan_api *api, VkPhysicalDevice physical, struct vulkan_traits *traits)
{
    VkCooperativeMatrixPropertiesKHR properties[128];
    uint32_t count = 128;
    bool fp16 = false, bf16 = false;
    for (uint32_t i = 0; i < count; ++i)
        properties[i] =
            (VkCooperativeMatrixPropertiesKHR){.sType = VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES_KHR};
    if (!api->vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR ||
        api->vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR(physical, &count, properties) < VK_SUCCESS)
        return false;
    for (uint32_t i = 0; i < count; ++i) {
        const VkCooperativeMatrixPropertiesKHR *p = &properties[i];
        if (p->ResultType != VK_COMPONENT_TYPE_FLOAT32_KHR || p->CType != p->ResultType || p->AType != p->BType ||
            p->scope != VK_SCOPE_SUBGROUP_KHR)
            continue;
        fp16 = fp16 || p->AType == VK_COMPONENT_TYPE_FLOAT16_KHR;
        bf16 =
            bf16 || (p->AType == VK_COMPONENT_TYPE_BFLOAT16_KHR && p->MSize == 16 && p->NSize == 16 && p->KSize == 16);
    }
    snprintf(traits->matrices, sizeof traits->matrices, "%s%s%s", bf16 ? "bf16" : "", bf16 && fp16 ? "+" : "",
             fp16 ? "fp16" : "");
    return bf16;
}

void vulkan_matrices_judge(const struct vulkan_api *api, VkPhysicalDevice physical,
                           const struct vulkan_matrix_features *features,
                           const VkPhysicalDeviceVulkan12Features *features12, struct vulkan_traits *traits)
{
    const unsigned needed = VULKAN_MATRIX_SUBGROUPS | VULKAN_MATRIX_BF16;
    bool listed = (traits->matrix_extensions & VULKAN_MATRIX_SUBGROUPS) && subgroups_list(api, physical, traits);
    traits->matrix_bf16 = listed && (traits->matrix_extensions & needed) == needed &&
                          features->subgroups.cooperativeMatrix && features->bf16.shaderBFloat16Type &&
                          features->bf16.shaderBFloat16CooperativeMatrix && features12->vulkanMemoryModel;
    traits->matrix_extensions = traits->matrix_bf16 ? needed : 0;
}

void vulkan_matrices_enable(struct vulkan_matrix_features *features, const struct vulkan_traits *traits)
{
    features->subgroups.cooperativeMatrix = traits->matrix_bf16;
    features->bf16.shaderBFloat16Type = features->bf16.shaderBFloat16CooperativeMatrix = traits->matrix_bf16;
}
