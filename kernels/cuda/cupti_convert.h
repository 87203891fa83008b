/* Activity records → kernel events. Reads nothing but its arguments, so that recorded buffers replay without a GPU. */
#pragma once
#include "kernels/cuda/cupti_attribution.h"
#include "kernels/cuda/cupti_names.h"
#include "kernels/device.h"
#include <cupti_activity.h>

/* The profiled steps, oldest first, in CLOCK_MONOTONIC ns; `end` is UINT64_MAX while a step runs. */
struct step_window {
    uint64_t step, start, end;
};

struct conversion {
    const struct launch_table *launches;
    const struct graph_table *graphs;
    struct name_cache *names;
    const struct step_window *windows;
    size_t window_count;
};

enum verdict {
    VERDICT_EVENT,     /* of an activity whose launch was seen in a step: counts against the launches */
    VERDICT_SURPLUS,   /* an activity inside a step whose launch was not seen: handed over without a node */
    VERDICT_HOST,      /* CUPTI's overhead inside a step: host time, no launch */
    VERDICT_OUTSIDE,   /* ran between steps, or not of a kind that was asked for: nobody wants it */
    VERDICT_NO_TIME,   /* refused: start or end is zero: CUPTI got no time for it */
    VERDICT_BACKWARDS, /* refused: ends before it starts */
    VERDICT_COUNT
};

/* Fills `event` and `step` for the first three verdicts. The three refusals are of activities whose launch was seen: they
 * count against the launches as well. */
enum verdict activity_convert(const struct conversion *conversion, const CUpti_Activity *record,
                              struct kernel_event *event, uint64_t *step);

/* The correlation id of a device activity's record, 0 for others. */
uint32_t activity_correlation(const CUpti_Activity *record);
