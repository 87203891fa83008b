#include "gpu_chains.h"
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

/* The driver makes machine code of it for the card at hand. */
static const char empty_kernel[] = ".version 7.8\n.target sm_80\n.address_size 64\n"
                                   ".visible .entry soak_tick()\n{\n    ret;\n}\n";

/* The device itself never makes a graph node by node, so its table lacks these. */
struct graph_calls {
    __typeof__(&cuGraphCreate) create;
    __typeof__(&cuGraphAddKernelNode) add;
};

static bool graph_calls_find(const struct device *device, struct graph_calls *calls, struct error *error)
{
    *(void **)&calls->create = dlsym(device->libraries.driver_handle, "cuGraphCreate");
    *(void **)&calls->add = dlsym(device->libraries.driver_handle, "cuGraphAddKernelNode_v2");
    return (calls->create && calls->add) || error_set(error, ERROR_DEVICE, "the driver has no cuGraphAddKernelNode_v2");
}

static bool graph_make(struct gpu_chains *chains, const struct graph_calls *calls, CUfunction function, int count,
                       int length, CUgraphExec *executable, struct error *error)
{
    struct device *device = chains->run->device;
    const struct cuda_libraries *libraries = &device->libraries;
    struct cupti_source *source = gpu_source(chains->run);
    CUDA_KERNEL_NODE_PARAMS parameters = {
        .func = function, .gridDimX = 1, .gridDimY = 1, .gridDimZ = 1, .blockDimX = 32, .blockDimY = 1, .blockDimZ = 1};
    CUgraphNode *last = calloc((size_t)count, sizeof *last);
    CUgraph graph = NULL;
    CUresult result = last ? calls->create(&graph, 0) : CUDA_ERROR_OUT_OF_MEMORY;
    for (int i = 0; i < count * length && result == CUDA_SUCCESS; i++) {
        CUgraphNode node, before = last[i % count];
        cupti_source_node(source, i % chains->run->plan->node_count);
        result = calls->add(&node, graph, before ? &before : NULL, before != NULL, &parameters);
        last[i % count] = node;
    }
    cupti_source_node(source, EVENT_NODE_NONE);
    if (result == CUDA_SUCCESS)
        result = libraries->cuGraphInstantiate(executable, graph, 0);
    if (graph)
        libraries->cuGraphDestroy(graph);
    free(last);
    return result == CUDA_SUCCESS || cuda_failed(libraries, result, "making a graph of chains", error);
}

bool gpu_chains_open(struct gpu_chains *chains, struct gpu_run *run, int streams, int count, int length,
                     struct error *error)
{
    struct device *device = run->device;
    struct graph_calls calls;
    CUfunction function;
    *chains = (struct gpu_chains){.run = run, .streams = streams, .kernels = (uint32_t)(count * length)};
    bool done = graph_calls_find(device, &calls, error) && CUDA_OK(device, cuCtxSetCurrent(device->context), error) &&
                CUDA_OK(device, cuModuleLoadData(&chains->module, empty_kernel), error) &&
                CUDA_OK(device, cuModuleGetFunction(&function, chains->module, "soak_tick"), error);
    for (int s = 0; s < streams && done; s++)
        done = CUDA_OK(device, cuStreamCreate(&chains->stream[s], CU_STREAM_NON_BLOCKING), error) &&
               graph_make(chains, &calls, function, count, length, &chains->executable[s], error) &&
               CUDA_OK(device, cuGraphUpload(chains->executable[s], chains->stream[s]), error) &&
               CUDA_OK(device, cuStreamSynchronize(chains->stream[s]), error);
    if (!done)
        gpu_chains_close(chains);
    return done;
}

void gpu_chains_close(struct gpu_chains *chains)
{
    if (!chains->run || !chains->run->device)
        return;
    const struct cuda_libraries *libraries = &chains->run->device->libraries;
    for (int s = 0; s < chains->streams; s++) {
        if (chains->stream[s])
            libraries->cuStreamSynchronize(chains->stream[s]);
        if (chains->executable[s])
            libraries->cuGraphExecDestroy(chains->executable[s]);
        if (chains->stream[s])
            libraries->cuStreamDestroy(chains->stream[s]);
    }
    if (chains->module)
        libraries->cuModuleUnload(chains->module);
    *chains = (struct gpu_chains){0};
}

static bool launch_all(struct gpu_chains *chains, int times, struct error *error)
{
    struct device *device = chains->run->device;
    struct cupti_source *source = gpu_source(chains->run);
    bool done = true;
    for (int i = 0; i < times && done; i++)
        for (int s = 0; s < chains->streams && done; s++) {
            cupti_source_graph(source, chains->kernels);
            done = CUDA_OK(device, cuGraphLaunch(chains->executable[s], chains->stream[s]), error);
        }
    for (int s = 0; s < chains->streams; s++)
        done = CUDA_OK(device, cuStreamSynchronize(chains->stream[s]), error) && done;
    return done;
}

bool gpu_chains_step(struct gpu_chains *chains, int times, uint64_t step, bool profiled, struct error *error)
{
    struct cupti_source *source = gpu_source(chains->run);
    if (!profiled) {
        cupti_source_quiet(source);
        return launch_all(chains, times, error);
    }
    if (cupti_source_arm(source) && !launch_all(chains, 1, error)) /* pays for the switching on, in no step */
        return false;
    cupti_source_start(source, step);
    bool done = launch_all(chains, times, error);
    cupti_source_stop(source);
    return done;
}
