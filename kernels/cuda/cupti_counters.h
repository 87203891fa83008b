/* Hardware counters of the card for each node of a plan, by CUPTI's Range Profiler. A mode of its own: the step is run
 * again for each pass that the counters need (two on Hopper), with a range around each node's launches, so these times are
 * never those of the live tables. The step must be deterministic in what it launches; an optimizer phase advances with
 * each pass.
 *
 * The device's part:
 *
 *     prepare, with options->counters:  counters = cupti_counters_open(context, index, plan->node_count, plan->precision)
 *                                       NULL: they were asked for, so prepare fails
 *     after a profiled step, once for each set of phases:
 *                                       cupti_source_quiet(…); cupti_counters_collect(counters, run_the_step, …);
 *                                       cupti_counters_deliver(counters, source, probe, step_id)
 *     run_the_step:                     walks the launches on the stream, never a graph, and synchronizes; around each node
 *                                       cupti_counters_push(counters, node); … launch …; cupti_counters_pop(counters)
 *     release:                          cupti_counters_close(counters)
 *
 * All from the launching thread. */
#pragma once
#include "base/error.h"
#include "kernels/device.h"
#include "kernels/plan.h"
#include <cuda.h>

struct cupti_counters;
struct cupti_source;

/* Of one node in one step; NaN where the chip has no such counter or the node launched nothing. */
struct counter_values {
    double gpu_ns;     /* of the range, which the counters slow down */
    double dram_bytes; /* read and written */
    double
        fp32_flops; /* executed fp32 additions, multiplications and, twice, fused multiply-adds, outside tensor cores */
    double
        tensor_flops; /* operations of the tensor cores at the plan's precision: 2 a multiply-add; 0 for fp32 plans */
    double occupancy; /* active warps ÷ most possible, over the cycles with any, 0–1 */
};

/* What the four values of EVENT_COUNTERS are, for probe->counters. */
extern const char *const cupti_counter_names[DEVICE_COUNTERS];

/* Finds the chip's counters and plans the passes; measures nothing yet. `device` is CUDA's ordinal. NULL with a sentence
 * when there is no library, no such chip, or no permission (error 35: how to get it). */
struct cupti_counters *cupti_counters_open(CUcontext context, int device, int32_t node_count, enum precision precision,
                                           struct error *error);
void cupti_counters_close(struct cupti_counters *counters);

/* Runs `step` until all passes over all nodes are in. The values replace those of an earlier call. */
bool cupti_counters_collect(struct cupti_counters *counters, bool (*step)(void *context, struct error *error),
                            void *context, struct error *error);

/* Around a node's launches; outside collect they do nothing, nor with a NULL `counters`. */
void cupti_counters_push(struct cupti_counters *counters, int32_t node);
void cupti_counters_pop(struct cupti_counters *counters);

/* False when the node had no range in the last collect. */
bool cupti_counters_values(const struct cupti_counters *counters, int32_t node, struct counter_values *values);

/* One EVENT_COUNTERS for each node that has values, under the name of the node's longest kernel (several kernels of a node
 * share one range): start = DRAM bytes, end = FLOPs (fp32 + tensor), launch = occupancy in thousandths · ns, bytes = ns.
 * UNKNOWN_U64 where not known. Nothing is delivered for nodes of which `source` saw no kernel. */
void cupti_counters_deliver(const struct cupti_counters *counters, const struct cupti_source *source,
                            const struct probe *probe, uint64_t step_id);

/* "2 passes on GH100", and "dram__bytes.sum, …", for the report's notes. */
const char *cupti_counters_tier(const struct cupti_counters *counters);
const char *cupti_counters_metrics(const struct cupti_counters *counters);

/* The host's half alone, which needs no card: how many passes the counters of `precision` take on `chip` ("GH100"). */
bool cupti_counters_plan(const char *chip, enum precision precision, size_t *passes, char *metrics, size_t size,
                         struct error *error);
