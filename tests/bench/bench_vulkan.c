/* Matrix products of a Vulkan device: every candidate of a shape, by time; and a copy of 512 MiB in every way that the device has.
 *
 * usage: bench_vulkan [fp32|bf16|copy] [M N K [nn|nt|tn]]
 * Without sizes 4096 x 4096 x 4096 and the products of model S at batch 4 x context 256, then the copies. One line a candidate, "product
 * PRECISION MxNxK FORM TFLOP/s NAME", the fastest first, and one a copy, "copy GB/s NAME". Exit status 77 without a device. */
#include "base/unknown.h"
#include "kernels/vulkan/vulkan_device.h"
#include "kernels/vulkan/vulkan_internal.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct product {
    int64_t m, n, k;
    const char *form;
};
static const struct product usual[] = {
    {4096, 4096, 4096, "nt"}, {1024, 768, 768, "nt"},   {1024, 3072, 768, "nt"}, {1024, 768, 3072, "nt"},
    {1024, 10000, 768, "nt"}, {1024, 768, 3072, "nn"},  {768, 3072, 1024, "tn"}, {10000, 768, 1024, "tn"},
    {4096, 4096, 4096, "nn"}, {4096, 4096, 4096, "tn"},
};

static int by_time(const void *a, const void *b)
{
    double x = ((const struct vulkan_candidate *)a)->us, y = ((const struct vulkan_candidate *)b)->us;
    return (x > y) - (x < y);
}

static bool product_print(struct device *device, const struct product *product, enum precision precision)
{
    struct error error = {0};
    char name[64];
    const uint64_t bytes =
        4 * (uint64_t)(product->m * product->k + product->n * product->k + product->m * product->n) + 16384;
    const struct plan plan = {.precision = precision, .memory.total = bytes};
    const struct vulkan_gemm_shape shape = vulkan_product_shape(
        product->m, product->n, product->k, product->form[0] == 't', product->form[1] == 't', precision);
    struct program *program = vulkan_product_measure(device, &plan, &shape, &error);
    if (!program) {
        fprintf(stderr, "%s\n", error.text);
        return false;
    }
    struct vulkan_gemm *gemm = &program->gemms.items[0];
    const double flops = 2.0 * (double)product->m * (double)product->n * (double)product->k;
    int known = 0; /* the timed ones to the front */
    for (int i = 0; i < gemm->candidate_count; ++i)
        if (is_known(gemm->candidates[i].us))
            gemm->candidates[known++] = gemm->candidates[i];
    qsort(gemm->candidates, (size_t)known, sizeof *gemm->candidates, by_time);
    for (int i = 0; i < known; ++i) {
        vulkan_gemm_name(&shape, &gemm->candidates[i], name, sizeof name);
        printf("product %s %lldx%lldx%lld %s %.1f %s\n", precision_name(precision), (long long)product->m,
               (long long)product->n, (long long)product->k, product->form, flops / gemm->candidates[i].us * 1e-6,
               name);
    }
    if (known < gemm->candidate_count && gemm->candidate_count > 1)
        printf("product %s %lldx%lldx%lld %s: %d of %d candidates did not run\n", precision_name(precision),
               (long long)product->m, (long long)product->n, (long long)product->k, product->form,
               gemm->candidate_count - known, gemm->candidate_count);
    fflush(stdout);
    vulkan_release(program);
    return true;
}

/* Read and written bytes together, as everywhere. */
static bool copies_print(struct device *device)
{
    struct error error = {0};
    double seconds[VULKAN_COPY_WAYS];
    const struct plan plan = {.precision = PRECISION_FP32, .memory.total = UINT64_C(1) << 30};
    const struct vulkan_gemm_shape shape = vulkan_product_shape(128, 128, 128, false, true, PRECISION_FP32);
    struct program *program = vulkan_product_measure(device, &plan, &shape, &error);
    bool done = program && vulkan_copy_times(program, 500, seconds, &error);
    for (int way = 0; done && way < VULKAN_COPY_WAYS; ++way)
        if (is_known(seconds[way]))
            printf("copy %.0f %s\n", (double)plan.memory.total / seconds[way] * 1e-9, vulkan_copy_way_name(way));
    if (!done)
        fprintf(stderr, "%s\n", error.text);
    fflush(stdout);
    vulkan_release(program);
    return done;
}

int main(int argc, char **argv)
{
    struct error error = {0};
    const bool copies = argc > 1 && strcmp(argv[1], "copy") == 0;
    const struct device_class *class = &steptop_device_class;
    enum precision only = argc > 1 && strcmp(argv[1], "fp32") == 0 ? PRECISION_FP32 : PRECISION_BF16;
    struct device *device = class->open(0, &error);
    bool done = true;
    if (!device) {
        printf("skipped: %s\n", error.text);
        return 77;
    }
    struct product own = {0, 0, 0, "nt"};
    if (argc > 4) {
        own = (struct product){atoll(argv[2]), atoll(argv[3]), atoll(argv[4]), argc > 5 ? argv[5] : "nt"};
        done = own.m > 0 && own.n > 0 && own.k > 0 && product_print(device, &own, only);
    }
    for (size_t i = 0; argc <= 4 && !copies && i < sizeof usual / sizeof *usual; ++i)
        for (int precision = 0; precision < PRECISION_COUNT; ++precision)
            if (precision != PRECISION_TF32 && (argc < 2 || precision == (int)only))
                done = product_print(device, &usual[i], (enum precision)precision) && done;
    if (argc < 2 || copies)
        done = copies_print(device) && done;
    class->close(device);
    return done ? 0 : 1;
}
