/* Where the CUDA device's kernel events come from: CUPTI's activity records, checked, attributed to the plan's nodes and
 * handed to the probe, live, from a thread of the source's own.
 *
 * What the device does around it (a NULL source is allowed everywhere and does nothing, so no call needs an `if`):
 *
 *     prepare, with options->probe:   source = cupti_source_open(options->probe, &error);     before any graph is captured;
 *                                     NULL: probe->note("profiler", error.text), and the run goes on without kernel rows
 *     each node's launches:           cupti_source_node(source, node); … launch …             in stream mode and in capture
 *     each graph launch:              cupti_source_graph(source, activities); cuGraphLaunch(…)
 *     run with a probe:               if (cupti_source_arm(source)) put any small activity on the device;
 *                                     synchronize; cupti_source_start(…); clock; work; synchronize; clock; cupti_source_stop
 *     run without:                    cupti_source_quiet(source); clock; work; …
 *     flush:                          cupti_source_flush(source)
 *     release:                        cupti_source_close(source) after the graphs are destroyed and the device is idle
 *
 * That the host waits for the device within a step is an event as well (EVENT_SYNC): told by the calls themselves, for CUPTI's records of
 * synchronisations would slow down the timed steps that come later.
 *
 * Threads: node, graph, start, stop, quiet, flush and close come from one thread, the one that launches. The probe's
 * intern, event, dropped and note are called from the source's thread between start and the end of flush (or quiet). */
#pragma once
#include "base/error.h"
#include "kernels/device.h"
#include <stdbool.h>
#include <stdint.h>

struct cupti_source;

/* Loads libcupti, checks its version, subscribes and starts the flush thread; nothing is traced yet. `probe` is copied by
 * reference and must outlive the source. One source a process: CUPTI has one subscriber. NULL with a sentence when there
 * is no library, a wrong version, no driver, or another tool that holds CUPTI. */
struct cupti_source *cupti_source_open(const struct probe *probe, struct error *error);

/* Waits for what is under way, stops tracing, unsubscribes, joins the thread, frees everything. */
void cupti_source_close(struct cupti_source *source);

/* The node whose launches come next; EVENT_NODE_NONE for what belongs to none. One store. */
void cupti_source_node(struct cupti_source *source, int32_t node);

/* The next cuGraphLaunch runs `activities` kernel, memcpy and memset nodes. */
void cupti_source_graph(struct cupti_source *source, uint32_t activities);

/* Switches tracing on. True when it was off: then the next activity pays for CUPTI's setting up (0.35 ms on an H200), and
 * that had better not be a step's first kernel. What runs before start is in no step. */
bool cupti_source_arm(struct cupti_source *source);

/* For a program that is not ours: all that is launched from here to the end is traced, in the steps that options.step says. */
void cupti_source_watch(struct cupti_source *source);
/* In between nothing that is launched is traced, nor costs anything; what was launched before is still handed over. From any thread, but
 * one at a time. */
void cupti_source_pause(struct cupti_source *source);
void cupti_source_resume(struct cupti_source *source);

/* Between these two, on an idle device at both ends, launches are traced as step `step_id`. Tracing stays switched on after
 * stop, so that a run of profiled steps alone does not pay for switching; quiet switches it off. When CUPTI fails here, a
 * note says so and the step runs untraced: nothing of the profiler's makes a step fail. */
void cupti_source_start(struct cupti_source *source, uint64_t step_id);
void cupti_source_stop(struct cupti_source *source);

/* Before a timed step: waits until every record under way was handed over, then switches tracing off. Costs nothing when
 * it is off. */
void cupti_source_quiet(struct cupti_source *source);

/* Waits until the records of all stopped steps were handed over; the device must be idle. */
void cupti_source_flush(struct cupti_source *source);

/* Id of the kernel that took longest in any one execution for `node`; what else belongs to the node can be booked on it.
 * Only after flush or quiet. False when no kernel of the node was seen. */
bool cupti_source_kernel(const struct cupti_source *source, int32_t node, uint32_t *name);

/* launches = records + dropped + invalid + missing once flushed. */
struct cupti_counts {
    uint64_t launches;     /* activities issued inside steps: stream launches, and each node of a graph launch */
    uint64_t records;      /* of those, handed to the probe */
    uint64_t dropped;      /* counted by CUPTI, or by us when no buffer was free */
    uint64_t invalid;      /* no time, end before start, start before launch: refused */
    uint64_t missing;      /* none of these: also reported as dropped */
    uint64_t surplus;      /* records of activities that no launch was seen for: handed over, unattributed */
    uint64_t outside;      /* records of what ran between steps: not handed over */
    uint64_t unattributed; /* of `records`, those without a node */
    uint64_t invalid_no_time, invalid_backwards; /* the parts of `invalid` */
    uint64_t buffers;                            /* allocated so far: flat memory means that this stops growing */
    uint64_t flushes, longest_flush_ns;
};
void cupti_source_counts(struct cupti_source *source, struct cupti_counts *counts);
