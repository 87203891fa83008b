/* The device class "cuda": finding, opening and describing devices. */
#include "kernels/device.h"
#include "base/unknown.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/cuda_device.h"
#include "kernels/cuda/cuda_internal.h"
#include "kernels/cuda/nvml.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* About a block's backward. On an H200 more gained nothing, half as many cost 1 to 2 % of a tf32 step. */
#define OVERLAP_NODES 8
#define OLDEST_ARCHITECTURE 80

static int attribute(const struct cuda_libraries *libraries, CUdevice device, CUdevice_attribute which)
{
    int value = 0;
    return libraries->cuDeviceGetAttribute(&value, which, device) == CUDA_SUCCESS ? value : 0;
}

static int architecture_of(const struct cuda_libraries *libraries, CUdevice device)
{
    return attribute(libraries, device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) * 10 +
           attribute(libraries, device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
}

/* "580.159.04, CUDA 13.0": the module's own version from the file it keeps in /proc, where there is one. */
static void driver_text(const struct cuda_libraries *libraries, char *text, size_t size)
{
    char line[256] = "", version[64] = "";
    FILE *file = fopen("/proc/driver/nvidia/version", "re");
    if (file) {
        if (fgets(line, sizeof line, file)) {
            for (char *word = strtok(line, " "); word; word = strtok(NULL, " "))
                if (word[0] >= '1' && word[0] <= '9' && strchr(word, '.') && strlen(word) < 32) {
                    snprintf(version, sizeof version, "%.32s, ", word);
                    break;
                }
        }
        fclose(file);
    }
    snprintf(text, size, "%sCUDA %d.%d", version, libraries->driver_version / 1000,
             libraries->driver_version % 1000 / 10);
}

static void info_fill(const struct cuda_libraries *libraries, int index, CUdevice device, struct device_info *info)
{
    memset(info, 0, sizeof *info);
    size_t total = 0, available = 0;
    int architecture = architecture_of(libraries, device);
    snprintf(info->name, sizeof info->name, "cuda:%d", index);
    if (libraries->cuDeviceGetName(info->model, (int)sizeof info->model, device) != CUDA_SUCCESS)
        snprintf(info->model, sizeof info->model, "unknown NVIDIA device");
    snprintf(info->architecture, sizeof info->architecture, "sm_%d", architecture);
    driver_text(libraries, info->driver, sizeof info->driver);
    info->memory_bytes = libraries->cuDeviceTotalMem(&total, device) == CUDA_SUCCESS ? total : UNKNOWN_U64;
    info->free_bytes = UNKNOWN_U64;
    CUcontext context = NULL;
    if (libraries->cuDevicePrimaryCtxRetain(&context, device) == CUDA_SUCCESS) {
        if (libraries->cuCtxSetCurrent(context) == CUDA_SUCCESS &&
            libraries->cuMemGetInfo(&available, &total) == CUDA_SUCCESS)
            info->free_bytes = available;
        libraries->cuCtxSetCurrent(NULL);
        libraries->cuDevicePrimaryCtxRelease(device);
    }
    info->units = (uint32_t)attribute(libraries, device, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
    int khz = attribute(libraries, device, CU_DEVICE_ATTRIBUTE_CLOCK_RATE);
    info->clock_mhz = khz > 0 ? khz / 1000.0 : UNKNOWN_DOUBLE;
    for (int precision = 0; precision < PRECISION_COUNT; ++precision) {
        if (architecture >= OLDEST_ARCHITECTURE)
            info->precisions |= 1u << precision;
        else
            snprintf(info->why_not[precision], sizeof info->why_not[precision],
                     "sm_%d is older than sm_%d, the oldest that steptop's kernels are built for", architecture,
                     OLDEST_ARCHITECTURE);
    }
}

/* One sentence for a machine on which nothing can run, whichever of the three libraries it is that lacks. */
static bool libraries_open(struct cuda_libraries *libraries, struct error *error)
{
    return cuda_libraries_open_driver(libraries, error) && cuda_libraries_open_nvrtc(libraries, error) &&
           cuda_libraries_open_blaslt(libraries, error);
}

static bool device_count(const struct cuda_libraries *libraries, int *count, struct error *error)
{
    CUresult result = libraries->cuDeviceGetCount(count);
    if (result != CUDA_SUCCESS)
        return cuda_failed(libraries, result, "cuDeviceGetCount", error);
    if (*count == 0)
        return error_set(error, ERROR_DEVICE,
                         "the NVIDIA driver is there but no CUDA device: none is installed or visible "
                         "(CUDA_VISIBLE_DEVICES hides them, too)");
    return true;
}

static bool cuda_enumerate(struct device_info *infos, int max, int *count, struct error *error)
{
    struct cuda_libraries libraries = {0};
    *count = 0;
    bool done = libraries_open(&libraries, error) && device_count(&libraries, count, error);
    for (int i = 0; done && i < *count && i < max; ++i) {
        CUdevice device;
        if (libraries.cuDeviceGet(&device, i) == CUDA_SUCCESS)
            info_fill(&libraries, i, device, &infos[i]);
    }
    if (done && *count > max)
        *count = max;
    cuda_libraries_close(&libraries);
    return done;
}

static void cuda_close(struct device *device)
{
    if (!device)
        return;
    const struct cuda_libraries *libraries = &device->libraries;
    nvml_close(device->nvml);
    if (device->context) {
        libraries->cuCtxSetCurrent(device->context);
        cuda_attention_cudnn_close(device);
        if (device->blaslt)
            libraries->cublasLtDestroy(device->blaslt);
        if (device->stream)
            libraries->cuStreamDestroy(device->stream);
        libraries->cuCtxSetCurrent(NULL);
        libraries->cuDevicePrimaryCtxRelease(device->handle);
    }
    cuda_libraries_close(&device->libraries);
    free(device);
}

static struct device *cuda_open(int index, struct error *error)
{
    struct device *device = calloc(1, sizeof *device);
    int count = 0, lowest = 0, highest = 0;
    if (!device) {
        error_set(error, ERROR_MEMORY, "out of memory on the host");
        return NULL;
    }
    struct cuda_libraries *libraries = &device->libraries;
    device->index = index;
    if (!libraries_open(libraries, error) || !device_count(libraries, &count, error))
        goto failed;
    if (index < 0 || index >= count) {
        error_set(error, ERROR_DEVICE, "there is no cuda:%d: this machine shows %d CUDA device%s, cuda:0%s", index,
                  count, count == 1 ? "" : "s", count == 1 ? "" : " and on");
        goto failed;
    }
    if (!CUDA_OK(device, cuDeviceGet(&device->handle, index), error))
        goto failed;
    device->architecture = architecture_of(libraries, device->handle);
    if (device->architecture < OLDEST_ARCHITECTURE) {
        error_set(error, ERROR_UNSUPPORTED, "cuda:%d is sm_%d; steptop's kernels need sm_%d or newer", index,
                  device->architecture, OLDEST_ARCHITECTURE);
        goto failed;
    }
    device->units = attribute(libraries, device->handle, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
    device->shared_limit = attribute(libraries, device->handle, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
    device->shared_in_unit =
        attribute(libraries, device->handle, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR);
    size_t memory = 0;
    if (!CUDA_OK(device, cuDeviceTotalMem(&memory, device->handle), error) ||
        !CUDA_OK(device, cuDeviceGetName(device->name, (int)sizeof device->name, device->handle), error) ||
        !CUDA_OK(device, cuDeviceGetPCIBusId(device->pci_bus_id, (int)sizeof device->pci_bus_id, device->handle),
                 error) ||
        !CUDA_OK(device, cuDevicePrimaryCtxRetain(&device->context, device->handle), error) ||
        !CUDA_OK(device, cuCtxSetCurrent(device->context), error) ||
        !CUDA_OK(device, cuCtxGetStreamPriorityRange(&lowest, &highest), error) ||
        !CUDA_OK(device, cuStreamCreateWithPriority(&device->stream, CU_STREAM_NON_BLOCKING, highest), error))
        goto failed;
    device->memory_bytes = memory;
    cublasStatus_t status = libraries->cublasLtCreate(&device->blaslt);
    if (status != CUBLAS_STATUS_SUCCESS) {
        error_set(error, ERROR_DEVICE, "cuBLASLt does not start on cuda:%d: %s", index,
                  libraries->cublasLtGetStatusName(status));
        goto failed;
    }
    struct error ignored = {0};
    device->nvml = nvml_open(device->pci_bus_id, &ignored);
    return device;
failed:
    cuda_close(device);
    return NULL;
}

static bool cuda_supports(const struct device *device, enum op op, enum precision precision, char *why, size_t why_size)
{
    (void)device;    /* open refuses what is too old for any of it */
    (void)precision; /* each lowering takes the types that its tensors have */
    if (cuda_has_lowering(op))
        return true;
    snprintf(why, why_size, "the CUDA device has no kernel for it");
    return false;
}

static bool cuda_telemetry(struct device *device, struct device_telemetry *out)
{
    return nvml_read(device->nvml, out);
}

__attribute__((visibility("default"))) const struct device_class steptop_device_class = {
    .abi = DEVICE_ABI,
    .name = "cuda",
    .enumerate = cuda_enumerate,
    .open = cuda_open,
    .close = cuda_close,
    .supports = cuda_supports,
    .prepare = cuda_prepare,
    .release = cuda_release,
    .run = cuda_run,
    .flush = cuda_flush,
    .write = cuda_write,
    .read = cuda_read,
    .measure_ceilings = cuda_measure_ceilings,
    .telemetry = cuda_telemetry,
    .overlap = {.ops = CUDA_OPS_BESIDE, .nodes = OVERLAP_NODES},
};
