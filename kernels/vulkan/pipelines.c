/* Shaders with their constants to pipelines, and the driver's pipeline cache on disk. */
#include "base/limits.h"
#include "base/sha256.h"
#include "base/strbuf.h"
#include "kernels/build_cache.h"
#include "kernels/vulkan/vulkan_internal.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_BUILD_THREADS 16
#define BLOB_MOST ((size_t)24 << 20) /* bytes of a driver's pipelines beyond which they begin anew */
#define BLOBS_MOST ((uint64_t)96 << 20)

int32_t vulkan_pipeline_find(struct vulkan_pipelines *pipelines, const char *shader, const uint32_t *special)
{
    for (int32_t i = pipelines->count - 1; i >= 0; --i)
        if (strcmp(pipelines->items[i].shader, shader) == 0 &&
            memcmp(pipelines->items[i].special, special, sizeof pipelines->items[i].special) == 0)
            return i;
    if (pipelines->count == pipelines->capacity) {
        pipelines->capacity = pipelines->capacity ? pipelines->capacity * 2 : 32;
        struct vulkan_pipeline *grown = realloc(pipelines->items, sizeof *grown * (size_t)pipelines->capacity);
        if (!grown)
            memory_exhausted((size_t)pipelines->capacity, "pipelines");
        pipelines->items = grown;
    }
    struct vulkan_pipeline *pipeline = &pipelines->items[pipelines->count];
    *pipeline = (struct vulkan_pipeline){.shader = shader};
    memcpy(pipeline->special, special, sizeof pipeline->special);
    return pipelines->count++;
}

/* Operands in bf16 need the shader's second build, where it has two. */
static const struct vulkan_shader_code *code_find(const struct vulkan_pipeline *pipeline)
{
    char narrow[64];
    const struct vulkan_shader_code *plain = NULL;
    snprintf(narrow, sizeof narrow, "%s narrow", pipeline->shader);
    for (int i = 0; i < vulkan_shader_count; ++i) {
        if (pipeline->special[VULKAN_TYPES] && strcmp(vulkan_shaders[i].name, narrow) == 0)
            return &vulkan_shaders[i];
        if (strcmp(vulkan_shaders[i].name, pipeline->shader) == 0)
            plain = &vulkan_shaders[i];
    }
    return plain;
}

/* All that the driver's blob depends on; the driver checks its own header again. */
static bool cache_place(const struct device *device, const char *folder, char *path, size_t size, struct strbuf *key)
{
    char own[512], digest[65];
    struct error ignored = {0};
    const VkPhysicalDeviceProperties *p = &device->traits.properties;
    if (!folder || !build_cache_folder(folder, "vulkan", own, sizeof own, &ignored))
        return false;
    strbuf_printf(key, "pipelines 1, %x:%x %s, %s, driver %x, ", p->vendorID, p->deviceID, p->deviceName,
                  device->traits.driver, p->driverVersion);
    for (int i = 0; i < (int)VK_UUID_SIZE; ++i)
        strbuf_printf(key, "%02x", p->pipelineCacheUUID[i]);
    for (int i = 0; i < vulkan_shader_count; ++i) {
        sha256_hex((const char *)vulkan_shaders[i].words, vulkan_shaders[i].bytes, digest);
        strbuf_printf(key, "\n%s %s", vulkan_shaders[i].name, digest);
    }
    strbuf_puts(key, "\n");
    sha256_hex(key->text, key->length, digest);
    snprintf(path, size, "%s/%.32s.pipelines", own, digest);
    return true;
}

bool vulkan_pipelines_open(struct device *device, struct vulkan_pipelines *pipelines, const char *cache_folder,
                           struct error *error)
{
    struct strbuf key = {0};
    char path[600], *stored = NULL;
    size_t size = 0;
    if (cache_place(device, cache_folder, path, sizeof path, &key))
        stored = build_cache_read(path, key.text, &size, NULL, 0);
    if (stored && size > BLOB_MOST) { /* the driver only ever adds to it */
        free(stored);
        stored = NULL;
        pipelines->overfull = true;
    }
    VkPipelineCacheCreateInfo info = {.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO,
                                      .initialDataSize = stored ? size : 0,
                                      .pInitialData = stored};
    bool done = VULKAN_OK(device, vkCreatePipelineCache(device->handle, &info, NULL, &pipelines->cache), error);
    pipelines->from_cache = done && stored;
    free(stored);
    strbuf_release(&key);
    return done;
}

static bool pipeline_build(struct device *device, struct vulkan_pipelines *pipelines, struct vulkan_pipeline *pipeline,
                           struct error *error)
{
    VkSpecializationMapEntry entries[VULKAN_SPECIALS];
    for (uint32_t i = 0; i < VULKAN_SPECIALS; ++i)
        entries[i] = (VkSpecializationMapEntry){i, i * 4, 4};
    VkSpecializationInfo special = {VULKAN_SPECIALS, entries, sizeof pipeline->special, pipeline->special};
    const struct vulkan_shader_code *code = code_find(pipeline);
    if (!code)
        return error_set(error, ERROR_INTERNAL, "there is no shader %s in the plugin", pipeline->shader);
    VkShaderModuleCreateInfo module = {
        .sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO, .codeSize = code->bytes, .pCode = code->words};
    VkComputePipelineCreateInfo info = {.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
                                        .stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                                                  .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                                                  .pName = "main",
                                                  .pSpecializationInfo = &special},
                                        .layout = device->layout};
    if (!VULKAN_OK(device, vkCreateShaderModule(device->handle, &module, NULL, &info.stage.module), error))
        return error_prefix(error, "shader %s", code->name);
    bool done = VULKAN_OK(
        device, vkCreateComputePipelines(device->handle, pipelines->cache, 1, &info, NULL, &pipeline->handle), error);
    device->api.vkDestroyShaderModule(device->handle, info.stage.module, NULL);
    if (!done) {
        pipeline->handle = VK_NULL_HANDLE;
        error_prefix(error, "shader %s", code->name);
    }
    return done;
}

/* What the building threads share: each takes the next pipeline that is missing. */
struct build_queue {
    struct device *device;
    struct vulkan_pipelines *pipelines;
    pthread_mutex_t lock;
    int32_t next;
    bool failed;
    struct error error;
};

static bool is_missing(const struct vulkan_pipeline *pipeline)
{
    return !pipeline->handle && !pipeline->refused;
}

static void *build_thread(void *argument)
{
    struct build_queue *queue = argument;
    for (;;) {
        pthread_mutex_lock(&queue->lock);
        while (queue->next < queue->pipelines->count && !is_missing(&queue->pipelines->items[queue->next]))
            ++queue->next;
        int32_t mine = queue->failed ? queue->pipelines->count : queue->next++;
        pthread_mutex_unlock(&queue->lock);
        if (mine >= queue->pipelines->count)
            return NULL;
        struct error error = {0};
        struct vulkan_pipeline *pipeline = &queue->pipelines->items[mine];
        if (!pipeline_build(queue->device, queue->pipelines, pipeline, &error)) {
            pipeline->refused = pipeline->optional && error.kind != ERROR_DEVICE;
            if (pipeline->refused)
                continue;
            pthread_mutex_lock(&queue->lock);
            if (!queue->failed)
                queue->error = error;
            queue->failed = true;
            pthread_mutex_unlock(&queue->lock);
        }
    }
}

bool vulkan_pipelines_build(struct device *device, struct vulkan_pipelines *pipelines, struct error *error)
{
    struct build_queue queue = {.device = device, .pipelines = pipelines, .lock = PTHREAD_MUTEX_INITIALIZER};
    pthread_t threads[MAX_BUILD_THREADS];
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int started = 0, missing = 0;
    for (int32_t i = 0; i < pipelines->count; ++i)
        missing += is_missing(&pipelines->items[i]);
    int wanted = missing < cores ? missing : (int)cores;
    while (started + 1 < wanted && started < MAX_BUILD_THREADS &&
           pthread_create(&threads[started], NULL, build_thread, &queue) == 0)
        ++started;
    build_thread(&queue); /* this one works, too */
    for (int i = 0; i < started; ++i)
        pthread_join(threads[i], NULL);
    pthread_mutex_destroy(&queue.lock);
    if (queue.failed && error)
        *error = queue.error;
    return !queue.failed;
}

size_t vulkan_pipelines_keep(struct device *device, struct vulkan_pipelines *pipelines, const char *cache_folder)
{
    struct strbuf key = {0};
    struct error ignored = {0}; /* without the file the next start builds again */
    char path[600], *stored = NULL, *now = NULL;
    size_t size = 0, old = 0, dropped = 0;
    if (!cache_place(device, cache_folder, path, sizeof path, &key))
        goto done;
    if (device->api.vkGetPipelineCacheData(device->handle, pipelines->cache, &size, NULL) != VK_SUCCESS || size == 0)
        goto done;
    stored = build_cache_read(path, key.text, &old, NULL, 0);
    now = malloc(size);
    if (now && (!stored || old != size) &&
        device->api.vkGetPipelineCacheData(device->handle, pipelines->cache, &size, now) == VK_SUCCESS &&
        build_cache_write(path, key.text, now, size, &ignored)) {
        *strrchr(path, '/') = 0;
        dropped = build_cache_trim(path, ".pipelines", BLOBS_MOST); /* those of drivers and shaders that are gone */
    }
done:
    free(stored);
    free(now);
    strbuf_release(&key);
    return dropped;
}

void vulkan_pipelines_release(struct device *device, struct vulkan_pipelines *pipelines)
{
    for (int32_t i = 0; i < pipelines->count; ++i)
        if (pipelines->items[i].handle)
            device->api.vkDestroyPipeline(device->handle, pipelines->items[i].handle, NULL);
    if (pipelines->cache)
        device->api.vkDestroyPipelineCache(device->handle, pipelines->cache, NULL);
    free(pipelines->items);
    memset(pipelines, 0, sizeof *pipelines);
}
