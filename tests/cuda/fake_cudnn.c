/* A stand-in for libcudnn: takes every graph and proposes four engines, of which only the last is of use: the first varies from
 * run to run, the second cannot be made, the third needs a gigabyte. With FAULT_SYMBOL it lacks a function; with FAULT_START it
 * does not start. */
#include <cudnn_graph.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
struct cudnnContext {
    int unused;
};
static struct cudnnContext context;
struct fake {
    cudnnBackendDescriptorType_t type;
    int engine;
};

EXPORT size_t cudnnGetVersion(void)
{
    return 90000;
}
EXPORT const char *cudnnGetErrorString(cudnnStatus_t status)
{
    return status == CUDNN_STATUS_NOT_SUPPORTED ? "not supported by the fake" : "a fault of the fake";
}
EXPORT void cudnnGetLastErrorString(char *message, size_t max_size)
{
    if (max_size)
        message[0] = '\0';
}
EXPORT cudnnStatus_t cudnnCreate(cudnnHandle_t *handle)
{
#ifdef FAULT_START
    (void)handle;
    return CUDNN_STATUS_NOT_INITIALIZED;
#endif
    *handle = &context;
    return CUDNN_STATUS_SUCCESS;
}
EXPORT cudnnStatus_t cudnnDestroy(cudnnHandle_t handle)
{
    return handle == &context ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_BAD_PARAM;
}
#ifndef FAULT_SYMBOL
EXPORT cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream)
{
    (void)handle, (void)stream;
    return CUDNN_STATUS_SUCCESS;
}
#endif
EXPORT cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t *made)
{
    struct fake *fake = calloc(1, sizeof *fake);
    fake->type = type;
    *made = fake;
    return CUDNN_STATUS_SUCCESS;
}
EXPORT cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t descriptor)
{
    free(descriptor);
    return CUDNN_STATUS_SUCCESS;
}
EXPORT cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                                              cudnnBackendAttributeType_t type, int64_t count, const void *values)
{
    struct fake *fake = descriptor;
    (void)type, (void)count;
    if (name == CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG)
        fake->engine = (*(struct fake *const *)values)->engine;
    return CUDNN_STATUS_SUCCESS;
}
EXPORT cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t descriptor)
{
    const struct fake *fake = descriptor;
    return fake->type == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR && fake->engine == 1 ? CUDNN_STATUS_NOT_SUPPORTED
                                                                                      : CUDNN_STATUS_SUCCESS;
}
EXPORT cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t const descriptor,
                                              cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                                              int64_t requested, int64_t *count, void *values)
{
    const struct fake *fake = descriptor;
    struct fake **fakes = values;
    (void)type;
    *count = 1;
    if (name == CUDNN_ATTR_ENGINEHEUR_RESULTS) {
        *count = requested < 4 ? requested : 4;
        for (int i = 0; i < *count; ++i)
            fakes[i]->engine = i;
    } else if (name == CUDNN_ATTR_ENGINECFG_ENGINE)
        fakes[0]->engine = fake->engine;
    else if (name == CUDNN_ATTR_ENGINE_NUMERICAL_NOTE)
        *(cudnnBackendNumericalNote_t *)values =
            fake->engine == 0 ? CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC : CUDNN_NUMERICAL_NOTE_TENSOR_CORE;
    else if (name == CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE)
        *(int64_t *)values = fake->engine == 2 ? INT64_C(1) << 30 : 1 << 20;
    return CUDNN_STATUS_SUCCESS;
}
EXPORT cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan,
                                         cudnnBackendDescriptor_t pack)
{
    (void)handle, (void)pack;
    return ((struct fake *)plan)->engine == 3 ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_EXECUTION_FAILED;
}
