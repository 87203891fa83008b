/* The three libraries the CUDA device stands on: the driver, NVRTC and cuBLASLt. All are opened at run time, so that the
 * plugin loads, and says exactly what is missing, on a machine that has none of them. */
#pragma once
#include "base/error.h"
#include <cublasLt.h>
#include <cuda.h>
#include <nvrtc.h>
#include <stddef.h>

/* The names go through the headers' own versioning macros (cuMemAlloc is cuMemAlloc_v2). */
#define CUDA_DRIVER_FUNCTIONS(X)                                                                                       \
    X(cuInit)                                                                                                          \
    X(cuDriverGetVersion)                                                                                              \
    X(cuDeviceGetCount)                                                                                                \
    X(cuDeviceGet)                                                                                                     \
    X(cuDeviceGetName)                                                                                                 \
    X(cuDeviceGetAttribute) X(cuDeviceTotalMem) X(cuDeviceGetPCIBusId) X(cuDevicePrimaryCtxRetain)                     \
        X(cuDevicePrimaryCtxRelease) X(cuCtxSetCurrent) X(cuMemGetInfo) X(cuMemAlloc) X(cuMemFree)                     \
            X(cuMemcpyHtoDAsync) X(cuMemcpyDtoHAsync) X(cuMemcpyDtoDAsync) X(cuMemcpy2DAsync) X(cuMemsetD8Async)       \
                X(cuMemsetD32Async) X(cuStreamCreate) X(cuStreamCreateWithPriority) X(cuCtxGetStreamPriorityRange)     \
                    X(cuStreamDestroy) X(cuStreamWaitEvent) X(cuStreamSynchronize) X(cuStreamQuery) X(cuStreamWriteValue32) X(cuMemHostAlloc) X(cuMemFreeHost) X(cuEventCreate) X(cuEventDestroy)  \
                        X(cuEventRecord) X(cuEventRecordWithFlags) X(cuEventSynchronize) X(cuEventElapsedTime)         \
                            X(cuModuleLoadData) X(cuModuleUnload) X(cuModuleGetFunction) X(cuFuncSetAttribute)         \
                                X(cuFuncGetAttribute) X(cuLaunchKernel) X(cuTensorMapEncodeTiled)                      \
                                    X(cuStreamBeginCapture) X(cuStreamEndCapture) X(cuGraphGetNodes)                   \
                                        X(cuGraphNodeGetType) X(cuGraphInstantiate) X(cuGraphLaunch) X(cuGraphUpload)  \
                                            X(cuGraphExecDestroy) X(cuGraphDestroy) X(cuGetErrorName)                  \
                                                X(cuGetErrorString)

#define CUDA_NVRTC_FUNCTIONS(X)                                                                                        \
    X(nvrtcVersion)                                                                                                    \
    X(nvrtcGetErrorString)                                                                                             \
    X(nvrtcCreateProgram)                                                                                              \
    X(nvrtcDestroyProgram)                                                                                             \
    X(nvrtcCompileProgram) X(nvrtcGetProgramLogSize) X(nvrtcGetProgramLog) X(nvrtcGetCUBINSize) X(nvrtcGetCUBIN)

#define CUDA_BLASLT_FUNCTIONS(X)                                                                                       \
    X(cublasLtGetVersion)                                                                                              \
    X(cublasLtGetStatusName)                                                                                           \
    X(cublasLtCreate)                                                                                                  \
    X(cublasLtDestroy)                                                                                                 \
    X(cublasLtMatmul)                                                                                                  \
    X(cublasLtMatmulDescCreate)                                                                                        \
    X(cublasLtMatmulDescDestroy) X(cublasLtMatmulDescSetAttribute) X(cublasLtMatrixLayoutCreate)                       \
        X(cublasLtMatrixLayoutDestroy) X(cublasLtMatrixLayoutSetAttribute) X(cublasLtMatmulPreferenceCreate)           \
            X(cublasLtMatmulPreferenceDestroy) X(cublasLtMatmulPreferenceSetAttribute)                                 \
                X(cublasLtMatmulAlgoGetHeuristic) X(cublasLtMatmulAlgoCheck) X(cublasLtMatmulAlgoConfigGetAttribute)

struct cuda_libraries {
    void *driver_handle, *nvrtc_handle, *blaslt_handle;
#define CUDA_MEMBER(name) __typeof__(&name) name;
    CUDA_DRIVER_FUNCTIONS(CUDA_MEMBER)
    CUDA_NVRTC_FUNCTIONS(CUDA_MEMBER)
    CUDA_BLASLT_FUNCTIONS(CUDA_MEMBER)
#undef CUDA_MEMBER
    int driver_version; /* 13000 for 13.0 */
    int nvrtc_major, nvrtc_minor;
    size_t blaslt_version;
};

/* Opens the first of `names` (up to a NULL) that is found: by the loader's own search, then in the toolkit's usual folder, then in
 * the one this was built with. NULL when none is; `tried` gets their names. */
void *cuda_library_open(const char *const *names, char *tried, size_t tried_size);

/* Each opens one library and resolves its functions; ERROR_DEVICE names the library, or the function it lacks, and the
 * remedy. The driver is also initialised. Fields that are already there stay. */
bool cuda_libraries_open_driver(struct cuda_libraries *libraries, struct error *error);
bool cuda_libraries_open_nvrtc(struct cuda_libraries *libraries, struct error *error);
bool cuda_libraries_open_blaslt(struct cuda_libraries *libraries, struct error *error);
void cuda_libraries_close(struct cuda_libraries *libraries);

/* Fills *error with "<what>: CUDA_ERROR_…, <text>" and returns false; out of memory is ERROR_MEMORY, a device that is
 * lost or broken ERROR_DEVICE, all else ERROR_INTERNAL. */
bool cuda_failed(const struct cuda_libraries *libraries, CUresult result, const char *what, struct error *error);
