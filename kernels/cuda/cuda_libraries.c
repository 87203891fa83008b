#include "kernels/cuda/cuda_libraries.h"
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

void *cuda_library_open(const char *const *names, char *tried, size_t tried_size)
{
    static const char *const folders[] = {"", "/usr/local/cuda/lib64/", STEPTOP_CUDA_LIBRARY_FOLDER};
    size_t used = 0;
    tried[0] = '\0';
    for (size_t n = 0; names[n]; ++n) {
        for (size_t f = 0; f < sizeof folders / sizeof *folders; ++f) {
            char path[512];
            if (f > 0 && !folders[f][0])
                continue;
            snprintf(path, sizeof path, "%s%s", folders[f], names[n]);
            void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
            if (handle)
                return handle;
        }
        int length = snprintf(tried + used, tried_size - used, "%s%s", used ? ", " : "", names[n]);
        if (length > 0 && used + (size_t)length < tried_size)
            used += (size_t)length;
    }
    return NULL;
}

#define CUDA_NAME_(name) #name
#define CUDA_NAME(name) CUDA_NAME_(name)
#define CUDA_RESOLVE(name)                                                                                             \
    *(void **)&libraries->name = dlsym(handle, CUDA_NAME(name));                                                       \
    if (!libraries->name && !lacking)                                                                                  \
        lacking = CUDA_NAME(name);

bool cuda_libraries_open_driver(struct cuda_libraries *libraries, struct error *error)
{
    if (libraries->driver_handle)
        return true;
    static const char *const names[] = {"libcuda.so.1", "libcuda.so", NULL};
    char tried[256];
    void *handle = cuda_library_open(names, tried, sizeof tried);
    if (!handle)
        return error_set(error, ERROR_DEVICE,
                         "no NVIDIA driver: %s cannot be loaded; install the NVIDIA driver, or choose --device cpu",
                         tried);
    const char *lacking = NULL;
    CUDA_DRIVER_FUNCTIONS(CUDA_RESOLVE)
    if (lacking) {
        dlclose(handle);
        return error_set(error, ERROR_DEVICE,
                         "the NVIDIA driver is too old: libcuda has no %s; steptop needs a driver for CUDA %d.%d",
                         lacking, CUDA_VERSION / 1000, CUDA_VERSION % 1000 / 10);
    }
    CUresult result = libraries->cuInit(0);
    if (result == CUDA_SUCCESS)
        result = libraries->cuDriverGetVersion(&libraries->driver_version);
    if (result != CUDA_SUCCESS) {
        const char *name = NULL, *text = NULL;
        libraries->cuGetErrorName(result, &name);
        libraries->cuGetErrorString(result, &text);
        dlclose(handle);
        if (result == CUDA_ERROR_NO_DEVICE)
            return error_set(error, ERROR_DEVICE,
                             "the NVIDIA driver is there but no CUDA device: none is installed or visible "
                             "(CUDA_VISIBLE_DEVICES hides them, too)");
        if (result == CUDA_ERROR_STUB_LIBRARY)
            return error_set(error, ERROR_DEVICE,
                             "no NVIDIA driver: the libcuda that was found is the toolkit's stub; install the NVIDIA "
                             "driver, or choose --device cpu");
        return error_set(error, ERROR_DEVICE, "the NVIDIA driver does not start: cuInit: %s, %s",
                         name ? name : "unknown error", text ? text : "no text");
    }
    libraries->driver_handle = handle;
    return true;
}

bool cuda_libraries_open_nvrtc(struct cuda_libraries *libraries, struct error *error)
{
    if (libraries->nvrtc_handle)
        return true;
    static const char *const names[] = {"libnvrtc.so.13", "libnvrtc.so.12", NULL};
    char tried[256];
    void *handle = cuda_library_open(names, tried, sizeof tried);
    if (!handle)
        return error_set(error, ERROR_DEVICE,
                         "no NVRTC: %s cannot be loaded; steptop builds its kernels with it: install the CUDA "
                         "toolkit's NVRTC, or point LD_LIBRARY_PATH at it",
                         tried);
    const char *lacking = NULL;
    CUDA_NVRTC_FUNCTIONS(CUDA_RESOLVE)
    if (lacking || libraries->nvrtcVersion(&libraries->nvrtc_major, &libraries->nvrtc_minor) != NVRTC_SUCCESS) {
        dlclose(handle);
        return error_set(error, ERROR_DEVICE,
                         "NVRTC was found but cannot be used: %s fails; steptop needs NVRTC 12 or newer",
                         lacking ? lacking : "nvrtcVersion");
    }
    libraries->nvrtc_handle = handle;
    return true;
}

bool cuda_libraries_open_blaslt(struct cuda_libraries *libraries, struct error *error)
{
    if (libraries->blaslt_handle)
        return true;
    static const char *const names[] = {"libcublasLt.so.13", "libcublasLt.so.12", NULL};
    char tried[256];
    void *handle = cuda_library_open(names, tried, sizeof tried);
    if (!handle)
        return error_set(error, ERROR_DEVICE,
                         "no cuBLASLt: %s cannot be loaded; steptop's matmuls need it: install the CUDA toolkit's "
                         "cuBLAS, or point LD_LIBRARY_PATH at it",
                         tried);
    const char *lacking = NULL;
    CUDA_BLASLT_FUNCTIONS(CUDA_RESOLVE)
    if (lacking) {
        dlclose(handle);
        return error_set(error, ERROR_DEVICE, "cuBLASLt was found but has no %s; steptop needs cuBLASLt 12 or newer",
                         lacking);
    }
    libraries->blaslt_version = libraries->cublasLtGetVersion();
    libraries->blaslt_handle = handle;
    return true;
}

void cuda_libraries_close(struct cuda_libraries *libraries)
{
    if (libraries->blaslt_handle)
        dlclose(libraries->blaslt_handle);
    if (libraries->nvrtc_handle)
        dlclose(libraries->nvrtc_handle);
    /* The driver stays loaded: once started it may own threads. */
    memset(libraries, 0, sizeof *libraries);
}

bool cuda_failed(const struct cuda_libraries *libraries, CUresult result, const char *what, struct error *error)
{
    const char *name = NULL, *text = NULL;
    libraries->cuGetErrorName(result, &name);
    libraries->cuGetErrorString(result, &text);
    enum error_kind kind = ERROR_INTERNAL;
    if (result == CUDA_ERROR_OUT_OF_MEMORY)
        kind = ERROR_MEMORY;
    else if (result == CUDA_ERROR_DEVICE_UNAVAILABLE || result == CUDA_ERROR_ECC_UNCORRECTABLE ||
             result == CUDA_ERROR_NO_DEVICE || result == CUDA_ERROR_SYSTEM_NOT_READY)
        kind = ERROR_DEVICE;
    return error_set(error, kind, "%s: %s, %s", what, name ? name : "unknown CUDA error", text ? text : "no text");
}
