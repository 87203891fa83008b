/* Device class "cpu". */
#include "kernels/cpu/cpu.h"
#include <stdio.h>
#include <stdlib.h>

struct device {
    int index;
};

static bool cpu_enumerate(struct device_info *infos, int max, int *count, struct error *error)
{
    (void)error;
    *count = 1;
    if (max >= 1)
        cpu_machine_info(&infos[0]);
    return true;
}

static struct device *cpu_open(int index, struct error *error)
{
    if (index != 0) {
        error_set(error, ERROR_DEVICE, "there is no cpu:%d: all cores together are the one device cpu", index);
        return NULL;
    }
    struct device *device = calloc(1, sizeof *device);
    if (!device)
        error_set(error, ERROR_SYSTEM, "cannot open the CPU device: out of memory");
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

static bool cpu_synchronize(struct device *device, struct error *error)
{
    (void)device; /* run returns when its work is done */
    (void)error;
    return true;
}

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
    .synchronize = cpu_synchronize,
    .write = cpu_write,
    .read = cpu_read,
    .kernel_name = cpu_kernel_name,
    .measure_ceilings = cpu_measure_ceilings,
};
