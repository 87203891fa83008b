/* OpenBLAS, opened at run time: its constructor takes memory and, where an address limit refuses it, tries again for ever. So
 * whether it fits is asked before it is loaded. */
#include "base/limits.h"
#include "base/processes.h"
#include "base/processors.h"
#include "base/unknown.h"
#include "kernels/cpu/cpu.h"
#include <dlfcn.h>
#include <omp.h>
#include <stdlib.h>

/* Address space that OpenBLAS 0.3 takes on x86-64, measured: the library with those it needs, and 128 MiB for each thread and
 * once more. */
#define LIBRARY_BYTES ((uint64_t)64 << 20)
#define BUFFER_BYTES ((uint64_t)128 << 20)
#define WARM_SIZE 512 /* a product that all threads take part in */

static const char *const names[] = {
#ifdef __APPLE__
    "libopenblas.0.dylib",
    "libopenblas.dylib",
#else
    "libopenblas.so.0",
    "libopenblas.so",
#endif
};

/* Where memory is limited: does OpenBLAS fit below it and leave the plan as much again? */
static bool fits(int threads, bool *limited, struct error *error)
{
    struct memory_limit limit;
    memory_limited(&limit);
    const uint64_t wanted = LIBRARY_BYTES + BUFFER_BYTES * ((uint64_t)threads + 1);
    *limited = is_known_u64(limit.left);
    if (!*limited || wanted <= limit.left / 2)
        return true;
    error_set(error, ERROR_MEMORY,
              "with %d threads it takes %llu MiB of memory, and the limit of %llu MiB (%s) leaves %llu", threads,
              (unsigned long long)(wanted >> 20), (unsigned long long)(limit.bytes >> 20), limit.option,
              (unsigned long long)(limit.left >> 20));
    if (error)
        error->names_limit = true;
    return false;
}

/* Its buffers come with the first product of each thread, and must not have to fit beside what is mapped until then. */
static void warm_up(const struct cpu_blas *blas, int threads)
{
    float *values = calloc(3 * (size_t)WARM_SIZE * WARM_SIZE, sizeof *values);
    if (!values)
        return;
    blas->set_threads(threads);
    blas->sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, WARM_SIZE, WARM_SIZE, WARM_SIZE, 1, values, WARM_SIZE,
                values + WARM_SIZE * WARM_SIZE, WARM_SIZE, 0, values + 2 * WARM_SIZE * WARM_SIZE, WARM_SIZE);
    free(values);
}

bool cpu_blas_open(struct cpu_blas *blas, struct error *error)
{
    *blas = (struct cpu_blas){0};
    const int own = omp_get_max_threads(), allowed = processors_allowed().allowed,
              threads = own > allowed ? own : allowed;
    bool limited;
    if (!fits(threads, &limited, error) || !threads_start(threads, error))
        return false;
    void *library = NULL;
    for (size_t i = 0; !library && i < sizeof names / sizeof *names; i++)
        library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return error_set(error, ERROR_DEVICE, "%s cannot be loaded (on Debian: apt-get install libopenblas0-openmp)",
                         names[0]);
    *(void **)&blas->sgemm = dlsym(library, "cblas_sgemm");
    *(void **)&blas->set_threads = dlsym(library, "openblas_set_num_threads");
    *(void **)&blas->config = dlsym(library, "openblas_get_config");
    *(void **)&blas->core = dlsym(library, "openblas_get_corename");
    if (!blas->sgemm || !blas->set_threads || !blas->config || !blas->core) {
        *blas = (struct cpu_blas){0};
        return error_set(error, ERROR_DEVICE, "%s is there but is not OpenBLAS", names[0]);
    }
    if (limited)
        warm_up(blas, threads);
    return true;
}
