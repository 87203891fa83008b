/* The worker's state, and its steps. */
#pragma once
#include "worker/probe.h"

#define CEILINGS_MS 150

struct worker {
    struct reporter reporter;
    struct inbox inbox;
    struct ring *ring;
    struct cell cell;
    int rank;                                     /* of cell.ranks */
    char place[sizeof((struct cell *)0)->device]; /* the rank's own device */
    struct communicator *communicator;            /* NULL: one rank alone */
    const struct device_class *class;
    struct device *device;
    struct device_info info;
    struct plan *plan;
    struct program *program;
    struct probe_state probe;
    struct watch watch;
    uint64_t resident_base;
    uint64_t told;              /* when memory, telemetry and the machine's load were sent last */
    struct machine_ticks began; /* of the machine, when the run did */
    const char *progress_of;    /* what prepare said that it is at, */
    uint64_t progress_at;       /* and when the front was told of it last */
    uint32_t step_id;
    bool stopped;
    struct error rank_error; /* why the ranks could not agree on the next step */
};

/* Did the front ask to stop, or end? Asked between steps. Of several ranks all answer the same: none begins a step that another
 * does not. */
bool worker_stopped(struct worker *worker);

/* All passes of the cell: for each its warm-up steps, then timed steps with profiled ones between them. Ends early, well,
 * when stopped. False when a step failed. */
bool measure_passes(struct worker *worker, struct error *error);
