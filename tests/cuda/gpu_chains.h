/* Graphs of empty kernels in parallel chains: what a soak needs to make records faster than a model does, whose kernels
 * wait for each other. */
#pragma once
#include "gpu_run.h"
#include "kernels/cuda/cuda_internal.h"

#define GPU_CHAINS_STREAMS 8

struct gpu_chains {
    struct gpu_run *run;
    int streams;
    uint32_t kernels; /* in one graph */
    CUmodule module;
    CUstream stream[GPU_CHAINS_STREAMS];
    CUgraphExec executable[GPU_CHAINS_STREAMS];
};

/* One graph a stream, each of `chains` chains of `length` kernels; the kernels belong to the run's plan's nodes, round and
 * round. The run must be profiled. */
bool gpu_chains_open(struct gpu_chains *chains, struct gpu_run *run, int streams, int count, int length,
                     struct error *error);
void gpu_chains_close(struct gpu_chains *chains);

/* Launches every stream's graph `times` times and waits; as step `step` of the profiler's, or untraced. */
bool gpu_chains_step(struct gpu_chains *chains, int times, uint64_t step, bool profiled, struct error *error);
