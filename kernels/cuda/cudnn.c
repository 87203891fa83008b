#include "kernels/cuda/cudnn.h"
#include "base/limits.h"
#include "kernels/cuda/cuda_libraries.h"
#include <dlfcn.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if __has_include(<cudnn_graph.h>)
#include <cudnn_graph.h>

#define FUNCTIONS(X)                                                                                                   \
    X(cudnnGetVersion)                                                                                                 \
    X(cudnnGetErrorString)                                                                                             \
    X(cudnnGetLastErrorString)                                                                                         \
    X(cudnnCreate)                                                                                                     \
    X(cudnnDestroy)                                                                                                    \
    X(cudnnSetStream)                                                                                                  \
    X(cudnnBackendCreateDescriptor)                                                                                    \
    X(cudnnBackendDestroyDescriptor)                                                                                   \
    X(cudnnBackendSetAttribute) X(cudnnBackendGetAttribute) X(cudnnBackendFinalize) X(cudnnBackendExecute)

struct cudnn {
    void *library;
    cudnnHandle_t handle;            /* NULL: the device is described */
    cudnnBackendDescriptor_t device; /* then this */
#define MEMBER(name) __typeof__(&name) name;
    FUNCTIONS(MEMBER)
#undef MEMBER
};

#define MAX_DESCRIPTORS 160
#define MAX_TENSORS 48
#define MAX_OPERATIONS 32
#define MAX_CONFIGURATIONS 8

struct cudnn_graph {
    struct cudnn *cudnn;
    cudnnBackendDescriptor_t descriptors[MAX_DESCRIPTORS]; /* all that were made, to be destroyed */
    int descriptor_count;
    cudnnBackendDescriptor_t tensors[MAX_TENSORS], operations[MAX_OPERATIONS];
    enum cudnn_place places[MAX_TENSORS];
    float numbers[MAX_TENSORS];
    int tensor_count, operation_count;
    bool failed;
    char why[160];
};

struct cudnn_plan {
    struct cudnn_graph *graph;
    cudnnBackendDescriptor_t plan;
    int64_t workspace;
};

static bool succeeded(struct cudnn_graph *graph, cudnnStatus_t status, const char *what)
{
    if (status == CUDNN_STATUS_SUCCESS)
        return !graph->failed;
    if (!graph->failed) {
        char last[128] = "";
        graph->cudnn->cudnnGetLastErrorString(last, sizeof last);
        snprintf(graph->why, sizeof graph->why, "%s: %s%s%.90s", what, graph->cudnn->cudnnGetErrorString(status),
                 last[0] ? ", " : "", last);
    }
    graph->failed = true;
    return false;
}

static cudnnBackendDescriptor_t descriptor_new(struct cudnn_graph *graph, cudnnBackendDescriptorType_t type)
{
    cudnnBackendDescriptor_t descriptor = NULL;
    if (graph->failed)
        return NULL;
    if (graph->descriptor_count == MAX_DESCRIPTORS)
        abort(); /* the graphs are ours: none has more */
    if (succeeded(graph, graph->cudnn->cudnnBackendCreateDescriptor(type, &descriptor), "a descriptor"))
        graph->descriptors[graph->descriptor_count++] = descriptor;
    return descriptor;
}

static void attribute_set(struct cudnn_graph *graph, cudnnBackendDescriptor_t descriptor,
                          cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t count,
                          const void *values)
{
    if (!graph->failed)
        succeeded(graph, graph->cudnn->cudnnBackendSetAttribute(descriptor, name, type, count, values), "an attribute");
}

static void attribute_set_descriptor(struct cudnn_graph *graph, cudnnBackendDescriptor_t descriptor,
                                     cudnnBackendAttributeName_t name, cudnnBackendDescriptor_t value)
{
    attribute_set(graph, descriptor, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value);
}

static bool finalize(struct cudnn_graph *graph, cudnnBackendDescriptor_t descriptor, const char *what)
{
    return !graph->failed && succeeded(graph, graph->cudnn->cudnnBackendFinalize(descriptor), what);
}

static void *library_find(char *tried, size_t tried_size)
{
    static const char *const names[] = {"libcudnn.so.9", NULL};
    const char *folder = getenv("STEPTOP_CUDNN_FOLDER"), *environment = getenv("VIRTUAL_ENV");
    char path[512];
    if (folder && folder[0]) {
        snprintf(path, sizeof path, "%s/%s", folder, names[0]);
        void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (handle)
            return handle;
    }
    void *handle = cuda_library_open(names, tried, tried_size);
    if (handle || !environment)
        return handle;
    glob_t found;
    snprintf(path, sizeof path, "%s/lib/python3*/site-packages/nvidia/cudnn/lib/%s", environment, names[0]);
    if (glob(path, 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc && !handle; ++i)
            handle = dlopen(found.gl_pathv[i], RTLD_NOW | RTLD_LOCAL);
        globfree(&found);
    }
    return handle;
}

static struct cudnn *library_start(char *why, size_t why_size)
{
    char tried[256];
    struct cudnn *cudnn = calloc(1, sizeof *cudnn);
    if (!cudnn) {
        snprintf(why, why_size, "out of memory on the host");
        return NULL;
    }
    cudnn->library = library_find(tried, sizeof tried);
    const char *lacking = NULL;
    if (cudnn->library) {
#define RESOLVE(name)                                                                                                  \
    *(void **)&cudnn->name = dlsym(cudnn->library, #name);                                                             \
    if (!cudnn->name && !lacking)                                                                                      \
        lacking = #name;
        FUNCTIONS(RESOLVE)
#undef RESOLVE
    }
    if (cudnn->library && !lacking)
        return cudnn;
    if (cudnn->library)
        snprintf(why, why_size, "libcudnn was found but has no %s", lacking);
    else
        snprintf(why, why_size, "%s cannot be loaded", tried);
    cudnn_close(cudnn);
    return NULL;
}

struct cudnn *cudnn_open(char *why, size_t why_size)
{
    return library_start(why, why_size);
}

bool cudnn_start(struct cudnn *cudnn, char *why, size_t why_size)
{
    if (cudnn->handle || cudnn->device)
        return true;
    cudnnStatus_t status = cudnn->cudnnCreate(&cudnn->handle);
    if (status == CUDNN_STATUS_SUCCESS)
        return true;
    snprintf(why, why_size, "cuDNN %zu does not start: %s", cudnn->cudnnGetVersion(),
             cudnn->cudnnGetErrorString(status));
    cudnn->handle = NULL;
    return false;
}

struct cudnn *cudnn_open_described(const char *json, char *why, size_t why_size)
{
    struct cudnn *cudnn = library_start(why, why_size);
    if (!cudnn)
        return NULL;
    cudnnStatus_t status = cudnn->cudnnBackendCreateDescriptor(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, &cudnn->device);
    if (status == CUDNN_STATUS_SUCCESS)
        status = cudnn->cudnnBackendSetAttribute(cudnn->device, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION,
                                                 CUDNN_TYPE_CHAR, (int64_t)strlen(json), json);
    if (status == CUDNN_STATUS_SUCCESS)
        status = cudnn->cudnnBackendFinalize(cudnn->device);
    if (status == CUDNN_STATUS_SUCCESS)
        return cudnn;
    snprintf(why, why_size, "cuDNN %zu takes no description of a device: %s", cudnn->cudnnGetVersion(),
             cudnn->cudnnGetErrorString(status));
    cudnn_close(cudnn);
    return NULL;
}

void cudnn_close(struct cudnn *cudnn)
{
    if (!cudnn)
        return;
    if (cudnn->device)
        cudnn->cudnnBackendDestroyDescriptor(cudnn->device);
    if (cudnn->handle)
        cudnn->cudnnDestroy(cudnn->handle);
    /* The library stays loaded: it holds code on the device that other users of the context may share. */
    free(cudnn);
}

uint64_t cudnn_version(const struct cudnn *cudnn)
{
    return cudnn->cudnnGetVersion();
}

struct cudnn_graph *cudnn_graph_new(struct cudnn *cudnn)
{
    struct cudnn_graph *graph = calloc(1, sizeof *graph);
    if (!graph)
        memory_exhausted(1, "graph of cuDNN's");
    graph->cudnn = cudnn;
    return graph;
}

static void graph_free(struct cudnn_graph *graph)
{
    for (int i = graph->descriptor_count - 1; i >= 0; --i)
        graph->cudnn->cudnnBackendDestroyDescriptor(graph->descriptors[i]);
    free(graph);
}

int cudnn_graph_tensor(struct cudnn_graph *graph, enum cudnn_type type, enum cudnn_place place,
                       struct cudnn_layout layout)
{
    static const cudnnDataType_t types[] = {[CUDNN_TENSOR_BF16] = CUDNN_DATA_BFLOAT16,
                                            [CUDNN_TENSOR_F32] = CUDNN_DATA_FLOAT,
                                            [CUDNN_TENSOR_I32] = CUDNN_DATA_INT32,
                                            [CUDNN_TENSOR_BOOL] = CUDNN_DATA_BOOLEAN};
    if (graph->tensor_count == MAX_TENSORS)
        abort();
    int index = graph->tensor_count++;
    int64_t id = index, alignment = 16;
    bool yes = true;
    cudnnBackendDescriptor_t tensor = descriptor_new(graph, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    attribute_set(graph, tensor, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &types[type]);
    attribute_set(graph, tensor, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, layout.size);
    attribute_set(graph, tensor, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, layout.stride);
    attribute_set(graph, tensor, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &id);
    attribute_set(graph, tensor, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment);
    if (place == CUDNN_VIRTUAL)
        attribute_set(graph, tensor, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &yes);
    if (place == CUDNN_NUMBER)
        attribute_set(graph, tensor, CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, 1, &yes);
    finalize(graph, tensor, "a tensor");
    graph->tensors[index] = tensor;
    graph->places[index] = place;
    return index;
}

int cudnn_graph_number(struct cudnn_graph *graph, float value)
{
    int number =
        cudnn_graph_tensor(graph, CUDNN_TENSOR_F32, CUDNN_NUMBER, (struct cudnn_layout){{1, 1, 1, 1}, {1, 1, 1, 1}});
    graph->numbers[number] = value;
    return number;
}

static void operation_add(struct cudnn_graph *graph, cudnnBackendDescriptor_t operation, const char *what)
{
    if (graph->operation_count == MAX_OPERATIONS)
        abort();
    if (finalize(graph, operation, what))
        graph->operations[graph->operation_count++] = operation;
}

void cudnn_graph_pointwise(struct cudnn_graph *graph, enum cudnn_pointwise function, int x, int b, int t, int y,
                           int axis)
{
    static const cudnnPointwiseMode_t modes[] = {[CUDNN_MUL] = CUDNN_POINTWISE_MUL,
                                                 [CUDNN_ADD] = CUDNN_POINTWISE_ADD,
                                                 [CUDNN_SUB] = CUDNN_POINTWISE_SUB,
                                                 [CUDNN_DIV] = CUDNN_POINTWISE_DIV,
                                                 [CUDNN_EXP] = CUDNN_POINTWISE_EXP,
                                                 [CUDNN_LOG] = CUDNN_POINTWISE_LOG,
                                                 [CUDNN_INDEX] = CUDNN_POINTWISE_GEN_INDEX,
                                                 [CUDNN_GE] = CUDNN_POINTWISE_CMP_GE,
                                                 [CUDNN_SELECT] = CUDNN_POINTWISE_BINARY_SELECT,
                                                 [CUDNN_COPY] = CUDNN_POINTWISE_IDENTITY};
    cudnnDataType_t arithmetic = function == CUDNN_GE ? CUDNN_DATA_BOOLEAN : CUDNN_DATA_FLOAT;
    int64_t along = axis;
    cudnnBackendDescriptor_t mode = descriptor_new(graph, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    attribute_set(graph, mode, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &modes[function]);
    attribute_set(graph, mode, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &arithmetic);
    if (function == CUDNN_INDEX)
        attribute_set(graph, mode, CUDNN_ATTR_POINTWISE_AXIS, CUDNN_TYPE_INT64, 1, &along);
    finalize(graph, mode, "a pointwise function");
    cudnnBackendDescriptor_t operation = descriptor_new(graph, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    attribute_set_descriptor(graph, operation, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, mode);
    attribute_set_descriptor(graph, operation, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, graph->tensors[x]);
    if (b != CUDNN_NO_TENSOR)
        attribute_set_descriptor(graph, operation, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, graph->tensors[b]);
    if (t != CUDNN_NO_TENSOR)
        attribute_set_descriptor(graph, operation, CUDNN_ATTR_OPERATION_POINTWISE_TDESC, graph->tensors[t]);
    attribute_set_descriptor(graph, operation, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, graph->tensors[y]);
    operation_add(graph, operation, "a pointwise operation");
}

void cudnn_graph_product(struct cudnn_graph *graph, int a, int b, int c)
{
    cudnnDataType_t arithmetic = CUDNN_DATA_FLOAT;
    cudnnBackendDescriptor_t product = descriptor_new(graph, CUDNN_BACKEND_MATMUL_DESCRIPTOR);
    attribute_set(graph, product, CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &arithmetic);
    finalize(graph, product, "a product");
    cudnnBackendDescriptor_t operation = descriptor_new(graph, CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR);
    attribute_set_descriptor(graph, operation, CUDNN_ATTR_OPERATION_MATMUL_DESC, product);
    attribute_set_descriptor(graph, operation, CUDNN_ATTR_OPERATION_MATMUL_ADESC, graph->tensors[a]);
    attribute_set_descriptor(graph, operation, CUDNN_ATTR_OPERATION_MATMUL_BDESC, graph->tensors[b]);
    attribute_set_descriptor(graph, operation, CUDNN_ATTR_OPERATION_MATMUL_CDESC, graph->tensors[c]);
    operation_add(graph, operation, "a product");
}

void cudnn_graph_reduce(struct cudnn_graph *graph, bool maximum, int x, int y)
{
    cudnnDataType_t arithmetic = CUDNN_DATA_FLOAT;
    cudnnReduceTensorOp_t operator_ = maximum ? CUDNN_REDUCE_TENSOR_MAX : CUDNN_REDUCE_TENSOR_ADD;
    cudnnBackendDescriptor_t reduction = descriptor_new(graph, CUDNN_BACKEND_REDUCTION_DESCRIPTOR);
    attribute_set(graph, reduction, CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &arithmetic);
    attribute_set(graph, reduction, CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, 1, &operator_);
    finalize(graph, reduction, "a reduction");
    cudnnBackendDescriptor_t operation = descriptor_new(graph, CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR);
    attribute_set_descriptor(graph, operation, CUDNN_ATTR_OPERATION_REDUCTION_DESC, reduction);
    attribute_set_descriptor(graph, operation, CUDNN_ATTR_OPERATION_REDUCTION_XDESC, graph->tensors[x]);
    attribute_set_descriptor(graph, operation, CUDNN_ATTR_OPERATION_REDUCTION_YDESC, graph->tensors[y]);
    operation_add(graph, operation, "a reduction");
}

void cudnn_graph_reshape(struct cudnn_graph *graph, int x, int y)
{
    cudnnBackendDescriptor_t operation = descriptor_new(graph, CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR);
    attribute_set_descriptor(graph, operation, CUDNN_ATTR_OPERATION_RESHAPE_XDESC, graph->tensors[x]);
    attribute_set_descriptor(graph, operation, CUDNN_ATTR_OPERATION_RESHAPE_YDESC, graph->tensors[y]);
    operation_add(graph, operation, "a reshape");
}

/* Engines say of themselves when they add in an order that varies. */
static bool repeats_bitwise(struct cudnn_graph *graph, cudnnBackendDescriptor_t configuration)
{
    cudnnBackendDescriptor_t engine = descriptor_new(graph, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    cudnnBackendNumericalNote_t notes[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
    int64_t count = 0;
    if (graph->failed ||
        graph->cudnn->cudnnBackendGetAttribute(configuration, CUDNN_ATTR_ENGINECFG_ENGINE,
                                               CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &count,
                                               &engine) != CUDNN_STATUS_SUCCESS ||
        graph->cudnn->cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
                                               CUDNN_NUMERICAL_NOTE_TYPE_COUNT, &count, notes) != CUDNN_STATUS_SUCCESS)
        return false;
    for (int64_t i = 0; i < count && i < CUDNN_NUMERICAL_NOTE_TYPE_COUNT; ++i)
        if (notes[i] == CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC)
            return false;
    return true;
}

/* The configurations that the heuristics propose, best first. */
static int configurations_find(struct cudnn_graph *graph, cudnnBackendDescriptor_t *configurations)
{
    struct cudnn *cudnn = graph->cudnn;
    cudnnBackendHeurMode_t mode = CUDNN_HEUR_MODE_A;
    int64_t count = 0;
    cudnnBackendDescriptor_t whole = descriptor_new(graph, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    attribute_set(graph, whole, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, graph->operation_count,
                  graph->operations);
    if (cudnn->handle)
        attribute_set(graph, whole, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &cudnn->handle);
    finalize(graph, whole, "the graph");
    cudnnBackendDescriptor_t heuristics = descriptor_new(graph, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    attribute_set_descriptor(graph, heuristics, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, whole);
    attribute_set(graph, heuristics, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    if (cudnn->device)
        attribute_set_descriptor(graph, heuristics, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, cudnn->device);
    finalize(graph, heuristics, "no engine");
    for (int i = 0; i < MAX_CONFIGURATIONS; ++i)
        configurations[i] = descriptor_new(graph, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    if (!graph->failed)
        succeeded(graph,
                  cudnn->cudnnBackendGetAttribute(heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                                  CUDNN_TYPE_BACKEND_DESCRIPTOR, MAX_CONFIGURATIONS, &count,
                                                  configurations),
                  "the engines");
    return graph->failed ? 0 : (int)(count < MAX_CONFIGURATIONS ? count : MAX_CONFIGURATIONS);
}

struct cudnn_plan *cudnn_graph_plan(struct cudnn_graph *graph, uint64_t most_workspace, uint64_t *needed, char *why,
                                    size_t why_size)
{
    struct cudnn *cudnn = graph->cudnn;
    cudnnBackendDescriptor_t configurations[MAX_CONFIGURATIONS];
    int count = configurations_find(graph, configurations);
    int64_t smallest = -1;
    bool varying = false;
    for (int i = 0; i < count; ++i) {
        if (!repeats_bitwise(graph, configurations[i])) {
            varying = true;
            continue;
        }
        cudnnBackendDescriptor_t plan = descriptor_new(graph, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
        attribute_set_descriptor(graph, plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, configurations[i]);
        if (cudnn->handle)
            attribute_set(graph, plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &cudnn->handle);
        if (cudnn->device)
            attribute_set_descriptor(graph, plan, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, cudnn->device);
        int64_t workspace = 0, returned = 0;
        if (!finalize(graph, plan, "its engine") ||
            !succeeded(graph,
                       cudnn->cudnnBackendGetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64,
                                                       1, &returned, &workspace),
                       "its workspace")) {
            graph->failed = false; /* another one may do */
            continue;
        }
        if ((uint64_t)workspace > most_workspace) {
            smallest = smallest < 0 || workspace < smallest ? workspace : smallest;
            continue;
        }
        struct cudnn_plan *made = calloc(1, sizeof *made);
        if (!made)
            memory_exhausted(1, "plan of cuDNN's");
        *made = (struct cudnn_plan){graph, plan, workspace};
        return made;
    }
    *needed = smallest > 0 ? (uint64_t)smallest : 0;
    if (smallest >= 0)
        snprintf(why, why_size, "it needs %lld MiB of workspace", (long long)smallest >> 20);
    else if (graph->why[0])
        snprintf(why, why_size, "%s", graph->why);
    else
        snprintf(why, why_size, "%s", varying ? "its engines do not repeat bit by bit" : "it has no engine");
    graph_free(graph);
    return NULL;
}

uint64_t cudnn_plan_workspace(const struct cudnn_plan *plan)
{
    return (uint64_t)plan->workspace;
}

void cudnn_plan_release(struct cudnn_plan *plan)
{
    if (!plan)
        return;
    graph_free(plan->graph);
    free(plan);
}

bool cudnn_plan_run(const struct cudnn_plan *plan, const CUdeviceptr *addresses, CUdeviceptr workspace, CUstream stream,
                    struct error *error)
{
    const struct cudnn_graph *graph = plan->graph;
    struct cudnn *cudnn = graph->cudnn;
    int64_t ids[MAX_TENSORS], count = 0;
    const void *pointers[MAX_TENSORS], *scratch = (const void *)workspace;
    for (int i = 0; i < graph->tensor_count; ++i)
        if (graph->places[i] != CUDNN_VIRTUAL) {
            ids[count] = i;
            pointers[count++] = graph->places[i] == CUDNN_NUMBER ? &graph->numbers[i] : (const void *)addresses[i];
        }
    cudnnBackendDescriptor_t pack = NULL;
    cudnnStatus_t status = cudnn->cudnnSetStream(cudnn->handle, (cudaStream_t)stream);
    if (status == CUDNN_STATUS_SUCCESS)
        status = cudnn->cudnnBackendCreateDescriptor(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &pack);
    if (status == CUDNN_STATUS_SUCCESS)
        status =
            cudnn->cudnnBackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, count, ids);
    if (status == CUDNN_STATUS_SUCCESS)
        status = cudnn->cudnnBackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR,
                                                 count, pointers);
    if (status == CUDNN_STATUS_SUCCESS)
        status =
            cudnn->cudnnBackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &scratch);
    if (status == CUDNN_STATUS_SUCCESS)
        status = cudnn->cudnnBackendFinalize(pack);
    if (status == CUDNN_STATUS_SUCCESS)
        status = cudnn->cudnnBackendExecute(cudnn->handle, plan->plan, pack);
    if (pack)
        cudnn->cudnnBackendDestroyDescriptor(pack);
    return status == CUDNN_STATUS_SUCCESS ||
           error_set(error, ERROR_INTERNAL, "cuDNN: %s", cudnn->cudnnGetErrorString(status));
}

#else

/* Nobody has one to ask. */
uint64_t cudnn_version(const struct cudnn *cudnn)
{
    (void)cudnn;
    return 0;
}
#endif
