#include "kernels/cuda/nvrtc_build.h"
#include "base/sha256.h"
#include "base/strbuf.h"
#include "kernels/build_cache.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_BUILD_THREADS 8
#define MAX_HEADERS 32

static const char *source_text(const char *file)
{
    for (int i = 0; i < cuda_source_count; ++i)
        if (strcmp(cuda_sources[i].name, file) == 0)
            return cuda_sources[i].text;
    return NULL;
}

/* wgmma and what belongs to it are only in the architecture's own set, sm_90a. */
static const char *architecture_suffix(int architecture)
{
    return architecture == 90 ? "a" : "";
}

/* Everything the machine code depends on, as text. */
static void build_key(const struct cuda_libraries *libraries, const struct cuda_build *build, int architecture,
                      struct strbuf *key)
{
    strbuf_printf(key, "nvrtc %d.%d sm_%d%s c++17\n", libraries->nvrtc_major, libraries->nvrtc_minor, architecture,
                  architecture_suffix(architecture));
    for (int i = 0; i < build->define_count; ++i)
        strbuf_printf(key, "-D%s\n", build->defines[i]);
    strbuf_printf(key, "%s\n%s\n", build->file, source_text(build->file));
    for (int i = 0; i < cuda_source_count; ++i) {
        const char *dot = strrchr(cuda_sources[i].name, '.');
        if (dot && strcmp(dot, ".cuh") == 0)
            strbuf_printf(key, "%s\n%s\n", cuda_sources[i].name, cuda_sources[i].text);
    }
}

static char *program_log(const struct cuda_libraries *libraries, nvrtcProgram program)
{
    size_t size = 0;
    if (libraries->nvrtcGetProgramLogSize(program, &size) != NVRTC_SUCCESS || size <= 1)
        return NULL;
    char *log = calloc(size + 1, 1);
    if (log)
        libraries->nvrtcGetProgramLog(program, log);
    return log;
}

static bool build_failed(const struct cuda_build *build, const char *what, const char *log, struct error *error)
{
    struct strbuf defines = {0};
    for (int i = 0; i < build->define_count; ++i)
        strbuf_printf(&defines, " %s", build->defines[i]);
    error_set(error, ERROR_INTERNAL, "building kernel source %s (%s): %s%s%.900s", build->file,
              defines.text ? defines.text + 1 : "", what, log ? ": " : "", log ? log : "");
    strbuf_release(&defines);
    return false;
}

static bool build_compile(const struct cuda_libraries *libraries, struct cuda_build *build,
                          const struct cuda_build_options *options, struct error *error)
{
    const char *text = source_text(build->file);
    if (!text)
        return build_failed(build, "there is no such source in the plugin", NULL, error);
    const char *names[MAX_HEADERS], *texts[MAX_HEADERS];
    int headers = 0;
    for (int i = 0; i < cuda_source_count; ++i) {
        const char *dot = strrchr(cuda_sources[i].name, '.');
        if (dot && strcmp(dot, ".cuh") == 0) {
            if (headers == MAX_HEADERS)
                return build_failed(build, "the plugin has more headers than it can hand over", NULL, error);
            names[headers] = cuda_sources[i].name;
            texts[headers++] = cuda_sources[i].text;
        }
    }
    char architecture[48], defines[CUDA_MAX_DEFINES][96];
    const char *flags[CUDA_MAX_DEFINES + 8];
    int flag_count = 0;
    snprintf(architecture, sizeof architecture, "--gpu-architecture=sm_%d%s", options->architecture,
             architecture_suffix(options->architecture));
    flags[flag_count++] = architecture;
    flags[flag_count++] = "--std=c++17";
    if (options->report_resources)
        flags[flag_count++] = "--ptxas-options=-v";
    for (int i = 0; i < build->define_count; ++i) {
        snprintf(defines[i], sizeof defines[i], "-D%s", build->defines[i]);
        flags[flag_count++] = defines[i];
    }
    nvrtcProgram program = NULL;
    bool done = false;
    nvrtcResult result = libraries->nvrtcCreateProgram(&program, text, build->file, headers, texts, names);
    if (result != NVRTC_SUCCESS)
        return build_failed(build, libraries->nvrtcGetErrorString(result), NULL, error);
    result = libraries->nvrtcCompileProgram(program, flag_count, flags);
    build->log = program_log(libraries, program);
    if (result != NVRTC_SUCCESS) {
        build_failed(build, libraries->nvrtcGetErrorString(result), build->log, error);
        goto cleanup;
    }
    result = libraries->nvrtcGetCUBINSize(program, &build->image_size);
    if (result == NVRTC_SUCCESS && build->image_size > 0) {
        build->image = malloc(build->image_size);
        if (!build->image)
            build_failed(build, "out of memory", NULL, error);
        else if ((result = libraries->nvrtcGetCUBIN(program, build->image)) == NVRTC_SUCCESS)
            done = true;
    }
    if (!done && build->image_size > 0 && result != NVRTC_SUCCESS)
        build_failed(build, libraries->nvrtcGetErrorString(result), NULL, error);
    else if (!done && build->image_size == 0)
        build_failed(build, "NVRTC gave no machine code", NULL, error);
cleanup:
    libraries->nvrtcDestroyProgram(&program);
    return done;
}

/* What the building threads share: each takes the next build that is missing. */
struct build_queue {
    const struct cuda_libraries *libraries;
    struct cuda_build *builds;
    const struct cuda_build_options *options;
    char folder[512]; /* "" without a cache */
    pthread_mutex_t lock;
    int next, done, count;
    bool failed;
    struct error error;
};

static bool build_one(struct build_queue *queue, struct cuda_build *build, struct error *error)
{
    if (build->image)
        return true;
    struct strbuf key = {0};
    char path[600] = "", name[65];
    if (queue->folder[0] && !queue->options->report_resources && source_text(build->file)) {
        build_key(queue->libraries, build, queue->options->architecture, &key);
        sha256_hex(key.text, key.length, name);
        snprintf(path, sizeof path, "%s/%s.cubin", queue->folder, name);
        build->image = build_cache_read(path, key.text, &build->image_size, NULL, 0);
        build->from_cache = build->image != NULL;
    }
    bool done = build->image || build_compile(queue->libraries, build, queue->options, error);
    if (done && !build->from_cache && path[0]) {
        struct error ignored = {0}; /* a full disk costs the next start some seconds, nothing else */
        build_cache_write(path, key.text, build->image, build->image_size, &ignored);
    }
    strbuf_release(&key);
    return done;
}

static void *build_thread(void *argument)
{
    struct build_queue *queue = argument;
    for (;;) {
        pthread_mutex_lock(&queue->lock);
        int mine = queue->failed ? queue->count : queue->next++;
        pthread_mutex_unlock(&queue->lock);
        if (mine >= queue->count)
            return NULL;
        struct error error = {0};
        if (!build_one(queue, &queue->builds[mine], &error)) {
            pthread_mutex_lock(&queue->lock);
            if (!queue->failed)
                queue->error = error;
            queue->failed = true;
            pthread_mutex_unlock(&queue->lock);
            continue;
        }
        pthread_mutex_lock(&queue->lock);
        queue->done++;
        if (queue->options->preparing)
            prepare_progress(queue->options->preparing, "building kernels", queue->done, queue->count);
        pthread_mutex_unlock(&queue->lock);
    }
}

bool cuda_build_all(const struct cuda_libraries *libraries, struct cuda_build *builds, int count,
                    const struct cuda_build_options *options, struct error *error)
{
    struct build_queue queue = {.libraries = libraries,
                                .builds = builds,
                                .options = options,
                                .count = count,
                                .lock = PTHREAD_MUTEX_INITIALIZER};
    if (options->cache_folder) {
        struct error ignored = {0};
        if (!build_cache_folder(options->cache_folder, "cuda", queue.folder, sizeof queue.folder, &ignored))
            queue.folder[0] = '\0';
    }
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int wanted = options->threads > 0 ? options->threads : (int)(cores > 0 ? cores : 1);
    if (wanted > MAX_BUILD_THREADS)
        wanted = MAX_BUILD_THREADS;
    if (wanted > count)
        wanted = count;
    pthread_t threads[MAX_BUILD_THREADS];
    int started = 0;
    while (started + 1 < wanted && pthread_create(&threads[started], NULL, build_thread, &queue) == 0)
        ++started;
    build_thread(&queue); /* this one works, too */
    for (int i = 0; i < started; ++i)
        pthread_join(threads[i], NULL);
    pthread_mutex_destroy(&queue.lock);
    bool wrote = false;
    for (int i = 0; i < count; ++i)
        wrote |= builds[i].image && !builds[i].from_cache;
    if (options->dropped)
        *options->dropped = 0;
    if (wrote && queue.folder[0] && !options->report_resources) {
        size_t dropped = build_cache_trim(queue.folder, ".cubin", CUDA_BUILD_KEPT);
        if (options->dropped)
            *options->dropped = dropped;
    }
    if (queue.failed && error)
        *error = queue.error;
    return !queue.failed;
}

void cuda_build_release(const struct cuda_libraries *libraries, struct cuda_build *build)
{
    if (build->module)
        libraries->cuModuleUnload(build->module);
    free(build->image);
    free(build->log);
    build->module = NULL;
    build->image = build->log = NULL;
}
