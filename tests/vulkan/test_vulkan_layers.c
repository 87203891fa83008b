/* The validation layers have nothing to say: whole training steps, eager, compiled and profiled, under Khronos' layer with its checks of
 * synchronization, and any message fails. That a wrong call is seen is tried, too. Skipped (77) without a device or without the layer
 * (Debian: vulkan-validationlayers). */
#include "kernels/vulkan/vulkan_device.h"
#include "kernels/vulkan/vulkan_internal.h"
#include "model/model.h"
#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define LAYER "VK_LAYER_KHRONOS_validation"

static const struct device_class *const vulkan = &steptop_device_class;
static char folder[] = "/tmp/steptop-test-XXXXXX";
static char log_path[64];

static bool layer_installed(void)
{
    VkLayerProperties layers[64];
    uint32_t count = 64;
    void *loader = dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
    PFN_vkEnumerateInstanceLayerProperties enumerate = NULL;
    if (loader)
        *(void **)&enumerate = dlsym(loader, "vkEnumerateInstanceLayerProperties");
    if (!enumerate || enumerate(&count, layers) < VK_SUCCESS)
        count = 0;
    bool found = false;
    for (uint32_t i = 0; i < count; i++)
        found = found || strcmp(layers[i].layerName, LAYER) == 0;
    if (loader)
        dlclose(loader);
    return found;
}

/* Before the first instance: the layer reads its settings then. */
static bool layer_choose(void)
{
    char settings[64];
    if (!mkdtemp(folder))
        return false;
    snprintf(log_path, sizeof log_path, "%s/messages", folder);
    snprintf(settings, sizeof settings, "%s/vk_layer_settings.txt", folder);
    FILE *file = fopen(settings, "w");
    if (!file)
        return false;
    fprintf(file,
            "khronos_validation.debug_action = VK_DBG_LAYER_ACTION_LOG_MSG\n"
            "khronos_validation.report_flags = error,warn,perf\n"
            "khronos_validation.enables = VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT\n"
            "khronos_validation.log_filename = %s\n",
            log_path);
    fclose(file);
    return setenv("VK_LAYER_SETTINGS_PATH", settings, 1) == 0 && setenv("VK_INSTANCE_LAYERS", LAYER, 1) == 0;
}

/* What the layer has written so far, the first 4000 bytes of it. */
static void messages(char *text, size_t size)
{
    FILE *file = fopen(log_path, "r");
    size_t length = file ? fread(text, 1, size - 1, file) : 0;
    text[length] = 0;
    if (file)
        fclose(file);
}

static uint32_t no_intern(void *context, const char *name)
{
    (void)context, (void)name;
    return 1;
}
static void no_event(void *context, uint64_t step, const struct kernel_event *event)
{
    (void)context, (void)step, (void)event;
}

static void steps(struct device *device, bool compile)
{
    struct error error = {0};
    struct probe probe = {.intern = no_intern, .event = no_event};
    struct plan_request request = {
        .model = {.name = "small", .d_model = 32, .d_ff = 44, .num_layers = 1, .num_heads = 2, .vocab_size = 101},
        .batch = 2,
        .context = 21,
        .precision = PRECISION_FP32,
        .fusions = compile ? FUSE_ALL | 1u << FUSE_OVERLAP : 0,
        .phases = PHASES_TRAIN_STEP};
    struct plan *plan = plan_build(&request, NULL, &error);
    if (!plan)
        fail_msg("%s", error.text);
    struct prepare_options options = {.compile = compile, .probe = &probe};
    struct program *program = vulkan->prepare(device, plan, &options, NULL, &error);
    if (!program)
        fail_msg("%s", error.text);
    for (int32_t i = 0; i < plan->tensor_count; i++)
        if (i == plan->tokens || i == plan->targets) {
            int32_t *tokens = malloc(plan->tensors[i].bytes);
            assert_non_null(tokens);
            model_random_tokens(plan, i, 5, tokens);
            if (!vulkan->write(program, i, tokens, &error))
                fail_msg("%s", error.text);
            free(tokens);
        }
    for (uint64_t step = 0; step < 3; step++) {
        struct step_times times;
        if (!vulkan->run(program, PHASES_TRAIN_STEP, step, step == 1 ? &probe : NULL, &times, &error))
            fail_msg("%s", error.text);
    }
    float loss;
    assert_int_equal(plan->tensors[plan->loss].bytes, sizeof loss);
    if (!vulkan->read(program, plan->loss, &loss, &error))
        fail_msg("%s", error.text);
    vulkan->release(program);
    plan_free(plan);
}

static void the_layers_are_silent(void **state)
{
    (void)state;
    static char text[4001];
    struct error error = {0};
    struct device *device = vulkan->open(0, &error);
    if (!device)
        fail_msg("%s", error.text);
    for (int compile = 0; compile < 2; compile++)
        steps(device, compile);
    double flops, bytes;
    if (!vulkan->measure_ceilings(device, PRECISION_FP32, 10, &flops, &bytes, &error))
        fail_msg("%s", error.text);
    vulkan->close(device);
    messages(text, sizeof text);
    if (text[0])
        fail_msg("%s", text);
}

static void a_wrong_call_is_seen(void **state)
{
    (void)state;
    static char text[4001];
    struct error error = {0};
    struct device *device = vulkan->open(0, &error);
    if (!device)
        fail_msg("%s", error.text);
    VkBufferCreateInfo info = {.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
                               .size = 0, /* no buffer is empty */
                               .usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT};
    VkBuffer buffer = VK_NULL_HANDLE;
    if (device->api.vkCreateBuffer(device->handle, &info, NULL, &buffer) == VK_SUCCESS)
        device->api.vkDestroyBuffer(device->handle, buffer, NULL);
    vulkan->close(device);
    messages(text, sizeof text);
    assert_non_null(strstr(text, "VUID-VkBufferCreateInfo-size"));
}

int main(void)
{
    struct device_info info;
    struct error error = {0};
    char command[64];
    int count = 0;
    if (!layer_installed()) {
        printf("skipped: " LAYER " is not installed (Debian: vulkan-validationlayers)\n");
        return 77;
    }
    if (!layer_choose()) {
        perror(folder);
        return 1;
    }
    if (!vulkan->enumerate(&info, 1, &count, &error)) {
        printf("skipped: %s\n", error.text);
        return 77;
    }
    printf("%s, %s, %s\n", info.model, info.architecture, info.driver);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_layers_are_silent),
        cmocka_unit_test(a_wrong_call_is_seen),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command) == 0 ? failed : 1;
}
