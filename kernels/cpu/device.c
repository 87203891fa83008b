/* Device class "cpu". */
#include "base/processes.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/cpu_device.h"
#include <stdio.h>
#include <stdlib.h>

struct device {
    bool has_blas;
    struct cpu_blas blas;
    char reason[200]; /* why there is none */
};

const struct cpu_blas *cpu_blas_of(const struct device *device)
{
    return device && device->has_blas ? &device->blas : NULL;
}

const char *cpu_blas_reason(const struct device *device)
{
    return device ? device->reason : "no device is open";
}

static bool cpu_enumerate(struct device_info *infos, int max, int *count, struct error *error)
{
    (void)error;
    struct cpu_blas blas;
    *count = 1;
    if (max >= 1)
        cpu_machine_info(cpu_blas_open(&blas, NULL) ? &blas : NULL, &infos[0]);
    return true;
}

static struct device *cpu_open(int index, struct error *error)
{
    if (index != 0) {
        error_set(error, ERROR_DEVICE, "there is no cpu:%d: all cores together are the one device cpu", index);
        return NULL;
    }
    struct device *device = calloc(1, sizeof *device);
    if (!device) {
        error_set(error, ERROR_MEMORY, "cannot open the CPU device: out of memory");
        return NULL;
    }
    struct error why = {0};
    device->has_blas = cpu_blas_open(&device->blas, &why);
    snprintf(device->reason, sizeof device->reason, "%.199s", why.text);
    return device;
}

static void cpu_close(struct device *device)
{
    free(device);
}

static bool cpu_supports(const struct device *device, enum op op, enum precision precision, char *why, size_t why_size)
{
    (void)device;
    if (!cpu_precision_works(precision, why, why_size))
        return false;
    if ((unsigned)op < OP_COUNT && cpu_find_kernel(cpu_isa_best(), op))
        return true;
    snprintf(why, why_size, "the CPU has no kernel for %s", (unsigned)op < OP_COUNT ? op_info(op)->name : "this op");
    return false;
}

static int cpu_host_threads(const struct device *device, int wanted, struct error *error)
{
    (void)device;
    const int threads = cpu_thread_count(wanted);
    return threads_start(threads, error) ? threads : 0;
}

#ifdef STEPTOP_PLUGIN
#define cpu_device_class steptop_device_class
__attribute__((visibility("default")))
#endif
const struct device_class cpu_device_class = {
    .abi = DEVICE_ABI,
    .name = "cpu",
    .enumerate = cpu_enumerate,
    .open = cpu_open,
    .close = cpu_close,
    .supports = cpu_supports,
    .prepare = cpu_prepare,
    .release = cpu_release,
    .run = cpu_run,
    .write = cpu_write,
    .read = cpu_read,
    .measure_ceilings = cpu_measure_ceilings,
    .host_threads = cpu_host_threads,
    .each_thread = cpu_each_thread,
};
