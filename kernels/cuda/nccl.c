#include "kernels/cuda/nccl.h"
#include "kernels/cuda/cuda_libraries.h"
#include <dlfcn.h>
#include <stdio.h>

bool nccl_open(struct nccl *nccl, struct error *error)
{
    static const char *const names[] = {"libnccl.so.2", NULL};
    char tried[256];
    void *handle = cuda_library_open(names, tried, sizeof tried);
    if (!handle)
        return error_set(
            error, ERROR_DEVICE,
            "no NCCL: %s cannot be loaded; several ranks on GPUs talk through it: install NCCL 2, or point "
            "LD_LIBRARY_PATH at it",
            tried);
    const struct {
        const char *name;
        void *place;
    } functions[] = {
        {"ncclGetVersion", &nccl->ncclGetVersion},         {"ncclGetUniqueId", &nccl->ncclGetUniqueId},
        {"ncclCommInitRank", &nccl->ncclCommInitRank},     {"ncclCommDestroy", &nccl->ncclCommDestroy},
        {"ncclCommAbort", &nccl->ncclCommAbort},           {"ncclCommGetAsyncError", &nccl->ncclCommGetAsyncError},
        {"ncclGetErrorString", &nccl->ncclGetErrorString}, {"ncclAllReduce", &nccl->ncclAllReduce},
        {"ncclReduceScatter", &nccl->ncclReduceScatter},   {"ncclAllGather", &nccl->ncclAllGather},
        {"ncclBroadcast", &nccl->ncclBroadcast},
    };
    for (size_t i = 0; i < sizeof functions / sizeof *functions; ++i) {
        *(void **)functions[i].place = dlsym(handle, functions[i].name);
        if (!*(void **)functions[i].place) {
            dlclose(handle);
            return error_set(error, ERROR_DEVICE, "NCCL was found but has no %s: it must be 2.10 or newer",
                             functions[i].name);
        }
    }
    *(void **)&nccl->ncclGetLastError = dlsym(handle, "ncclGetLastError");
    if (nccl->ncclGetVersion(&nccl->version) != NCCL_SUCCESS || nccl->version < NCCL_OLDEST) {
        const int version = nccl->version;
        dlclose(handle);
        return error_set(error, ERROR_DEVICE, "NCCL is too old: it calls itself %d.%d; steptop needs 2.10 or newer",
                         version >= 10000 ? version / 10000 : version / 1000,
                         version >= 10000 ? version / 100 % 100 : version / 100 % 10);
    }
    nccl->handle = handle;
    return true;
}

bool nccl_failed(const struct nccl *nccl, nccl_communicator communicator, int result, const char *what,
                 struct error *error)
{
    const char *last = nccl->ncclGetLastError ? nccl->ncclGetLastError(communicator) : NULL;
    return error_set(error, ERROR_DEVICE, "%s: NCCL says: %s%s%.200s", what, nccl->ncclGetErrorString(result),
                     last && last[0] ? ": " : "", last ? last : "");
}
