#include "kernels/cuda/timing.h"
#include "kernels/choice.h"
#include "kernels/cuda/cuda_internal.h"

static void timing_done(void *context)
{
    struct cuda_timing *timing = context;
    if (timing->executable)
        timing->program->device->libraries.cuGraphExecDestroy(timing->executable);
    if (timing->graph)
        timing->program->device->libraries.cuGraphDestroy(timing->graph);
    timing->executable = NULL, timing->graph = NULL;
}

/* A graph, as the step will be: some of cuBLASLt's algorithms clear a counter first, which costs a node there. */
static bool timing_ready(void *context, int candidate, int repeats, struct error *error)
{
    struct cuda_timing *timing = context;
    struct device *device = timing->program->device;
    if (repeats == 1 && (!timing->issue(timing->context, candidate, true, error) ||
                         !CUDA_OK(device, cuStreamSynchronize(device->stream), error)))
        return false;
    if (!CUDA_OK(device, cuStreamBeginCapture(device->stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL), error))
        return false;
    bool issued = true;
    for (int repeat = 0; repeat < repeats && issued; ++repeat)
        issued = timing->issue(timing->context, candidate, false, error);
    struct error second = {0};
    return CUDA_OK(device, cuStreamEndCapture(device->stream, &timing->graph), issued ? error : &second) && issued &&
           CUDA_OK(device, cuGraphInstantiate(&timing->executable, timing->graph, 0), error);
}

static bool timing_round(void *context, double *us, struct error *error)
{
    struct cuda_timing *timing = context;
    struct device *device = timing->program->device;
    CUevent start = timing->program->timing[0], end = timing->program->timing[1];
    float ms = 0.0f;
    if (!CUDA_OK(device, cuEventRecord(start, device->stream), error) ||
        !CUDA_OK(device, cuGraphLaunch(timing->executable, device->stream), error) ||
        !CUDA_OK(device, cuEventRecord(end, device->stream), error) ||
        !CUDA_OK(device, cuEventSynchronize(end), error) ||
        !CUDA_OK(device, cuEventElapsedTime(&ms, start, end), error))
        return false;
    *us = (double)ms * 1e3;
    return true;
}

int cuda_timing_fastest(struct cuda_timing *timing, int candidates, double *times, int *tried, struct error *why)
{
    const struct choice_timer timer = {timing,      timing_ready, timing_round, timing_done, timing->program->preparing,
                                       timing->runs};
    return choice_fastest(&timer, candidates, times, tried, why);
}
