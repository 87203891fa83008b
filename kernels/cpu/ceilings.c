/* The two ceilings of the roofline, from a short measurement on this machine now. */
#include "base/clock.h"
#include "base/processes.h"
#include "kernels/cpu/bf16.h"
#include "kernels/cpu/cpu.h"
#include <omp.h>
#include <string.h>

/* Shapes like those of a mid-sized layer: operands beyond L2, work enough to spread over the threads. */
#define GEMM_ROWS 1024
#define GEMM_WIDTH 1024
#define BF16_WIDTH 2048 /* rows, too: the work of a square of 1024 is over before all threads have begun */
#define COPY_BYTES ((size_t)128 << 20) /* beyond any last-level cache slice of one core */

static void fill(float *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        values[i] = (float)(i % 17) * 0.125f - 1.0f;
}

/* Of all the GEMMs there are, in turns. */
static double best_gemm_rate(const struct cpu_blas *blas, uint64_t budget_ns, float *a, float *b, float *c,
                             float *scratch, int threads)
{
    const struct gemm gemm = {.m = GEMM_ROWS,
                              .n = GEMM_WIDTH,
                              .k = GEMM_WIDTH,
                              .a = a,
                              .a_rs = GEMM_WIDTH,
                              .a_ks = 1,
                              .b = b,
                              .b_ks = 1,
                              .b_cs = GEMM_WIDTH,
                              .c = c,
                              .ldc = GEMM_WIDTH};
    const struct cpu_isa *isa = cpu_isa_best();
    const double flops = 2.0 * GEMM_ROWS * GEMM_WIDTH * GEMM_WIDTH;
    const uint64_t deadline = clock_now() + budget_ns;
    double best = 0;
    const int first = cpu_gemm_first(blas), choices = GEMM_CHOICES - first;
    int turn = 0;
    do {
        const uint64_t start = clock_now();
        cpu_gemm_run(blas, isa, (enum gemm_choice)(first + turn++ % choices), &gemm, threads, scratch,
                     GEMM_SCRATCH_FLOATS);
        const double rate = flops / (double)(clock_now() - start) * 1e9;
        best = rate > best ? rate : best;
    } while (clock_now() < deadline || turn < 2 * choices);
    return best;
}

/* The same of bf16, which has one product: `memory` holds both operands, the result and the threads' scratch. */
static double best_bf16_rate(uint64_t budget_ns, float *memory, int threads)
{
    const size_t square = (size_t)BF16_WIDTH * BF16_WIDTH;
    uint16_t *a = (uint16_t *)(void *)memory;
    float *c = memory + square;
    for (size_t i = 0; i < 2 * square; i++)
        a[i] = bf16_make((float)(i % 17) * 0.125f - 1.0f);
    const struct gemm_bf16 gemm = {.m = BF16_WIDTH,
                                   .n = BF16_WIDTH,
                                   .k = BF16_WIDTH,
                                   .a = a,
                                   .a_rs = BF16_WIDTH,
                                   .a_ks = 1,
                                   .b = a + square,
                                   .b_ks = 1,
                                   .b_cs = BF16_WIDTH,
                                   .c = c,
                                   .ldc = BF16_WIDTH};
    const double flops = 2.0 * BF16_WIDTH * BF16_WIDTH * BF16_WIDTH;
    const uint64_t deadline = clock_now() + budget_ns;
    const bool amx = cpu_amx_ready();
    double best = 0;
    int turn = 0;
    do {
        const uint64_t start = clock_now();
        cpu_isa_best()->gemm_bf16(&gemm, amx, threads, c + square, GEMM_SCRATCH_FLOATS);
        const double rate = flops / (double)(clock_now() - start) * 1e9;
        best = rate > best ? rate : best;
    } while (clock_now() < deadline || ++turn < 3);
    return best;
}

/* Bytes read and written per second. */
static double best_copy_rate(uint64_t budget_ns, char *from, char *to, int threads)
{
    const uint64_t deadline = clock_now() + budget_ns;
    double best = 0;
    do {
        const uint64_t start = clock_now();
#pragma omp parallel num_threads(threads)
        {
            int64_t begin, end;
            cpu_split((int64_t)COPY_BYTES, 4096, omp_get_thread_num(), omp_get_num_threads(), &begin, &end);
            memcpy(to + begin, from + begin, (size_t)(end - begin));
        }
        const double rate = 2.0 * (double)COPY_BYTES / (double)(clock_now() - start) * 1e9;
        best = rate > best ? rate : best;
    } while (clock_now() < deadline);
    return best;
}

bool cpu_measure_ceilings(struct device *device, enum precision precision, int budget_ms, double *flops_per_s,
                          double *bytes_per_s, struct error *error)
{
    char why[160];
    if (!cpu_precision_works(precision, why, sizeof why))
        return error_set(error, ERROR_UNSUPPORTED, "%s", why);
    const struct cpu_blas *blas = cpu_blas_of(device);
    const int threads = cpu_thread_count(0);
    if (!threads_start(threads, error))
        return false;
    const bool narrow = precision == PRECISION_BF16;
    const size_t operands = narrow ? 2 * (size_t)BF16_WIDTH * BF16_WIDTH
                                   : (size_t)GEMM_WIDTH * GEMM_WIDTH + 2 * (size_t)GEMM_ROWS * GEMM_WIDTH;
    const size_t gemm_floats = operands + (size_t)threads * GEMM_SCRATCH_FLOATS;
    const size_t bytes = 2 * COPY_BYTES > gemm_floats * sizeof(float) ? 2 * COPY_BYTES : gemm_floats * sizeof(float);
    char *memory = cpu_memory_map(bytes);
    if (!memory)
        return error_set(error, ERROR_MEMORY, "the ceilings need %zu MiB for a moment and the system refuses",
                         bytes >> 20);
    cpu_memory_touch(memory, bytes, threads);
    if (blas)
        blas->set_threads(threads);
    const uint64_t half = (uint64_t)(budget_ms > 0 ? budget_ms : 1) * 500000u;
    *bytes_per_s = best_copy_rate(half, memory, memory + COPY_BYTES, threads);
    float *a = (float *)memory, *b = a + (size_t)GEMM_ROWS * GEMM_WIDTH, *c = b + (size_t)GEMM_WIDTH * GEMM_WIDTH;
    if (!narrow)
        fill(a, (size_t)(c - a));
    *flops_per_s = narrow ? best_bf16_rate(half, a, threads)
                          : best_gemm_rate(blas, half, a, b, c, c + (size_t)GEMM_ROWS * GEMM_WIDTH, threads);
    cpu_memory_unmap(memory, bytes);
    return true;
}
