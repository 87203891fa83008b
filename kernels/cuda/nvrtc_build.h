/* Kernels are CUDA C that travels inside the plugin and is built by NVRTC for the device at hand, once for each set of
 * macro definitions; the machine code is kept on disk. */
#pragma once
#include "base/arena.h"
#include "base/error.h"
#include "kernels/cuda/cuda_libraries.h"
#include "kernels/device.h"
#include <stdbool.h>
#include <stdint.h>

/* The embedded sources; made from kernels/cuda/device at build time. */
struct cuda_source {
    const char *name, *text;
};
extern const struct cuda_source cuda_sources[];
extern const int cuda_source_count;

#define CUDA_MAX_DEFINES 24

struct cuda_build {
    const char *file;                      /* "norm.cu" */
    const char *defines[CUDA_MAX_DEFINES]; /* "COLUMNS=768" */
    int define_count;
    char *image; /* cubin */
    size_t image_size;
    CUmodule module;
    bool from_cache;
    char *log; /* NVRTC's, with the resource report when that was asked for; malloc'ed, NULL when there is none */
};

#define CUDA_BUILD_KEPT ((uint64_t)256 << 20) /* bytes of images that the cache holds: those used last */

struct cuda_build_options {
    int architecture;                        /* 90 */
    const char *cache_folder;                /* NULL: none */
    int threads;                             /* builds at a time; 0: one a core, at most 8 */
    const struct prepare_options *preparing; /* is told how many are built; NULL */
    bool report_resources;                   /* registers and spills of each kernel into the log; skips the cache */
    size_t *dropped;                         /* gets how many of the cache's oldest images made room; may be NULL */
};

/* Builds all images that are not there yet, from the cache or by NVRTC in parallel. An error names the file, its
 * definitions and the compiler's first lines. A cache file that is not what it should be is ignored and written anew. */
bool cuda_build_all(const struct cuda_libraries *libraries, struct cuda_build *builds, int count,
                    const struct cuda_build_options *options, struct error *error);
void cuda_build_release(const struct cuda_libraries *libraries, struct cuda_build *build);
