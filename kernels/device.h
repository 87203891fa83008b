/* The one device interface. All but the reference are plugins that export `steptop_device_class`. A device is opened
 * in the worker process alone. Functions marked optional may be NULL. */
#pragma once
#include "base/error.h"
#include "kernels/plan.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DEVICE_ABI 9u
#define DEVICE_NAME_MAX 32

struct device_info {
    char name[DEVICE_NAME_MAX];         /* "cpu", "cuda:0" */
    char model[96];                     /* "AMD EPYC", "NVIDIA H200" */
    char architecture[32];              /* "x86-64-v3", "sm_90" */
    char driver[64];                    /* driver, or for the CPU the BLAS: "OpenBLAS 0.3.21, 2 threads" */
    uint64_t memory_bytes;              /* total; UNKNOWN_U64 where not known */
    uint64_t free_bytes;                /* now */
    uint32_t units;                     /* cores, multiprocessors */
    double clock_mhz;                   /* highest; NaN where not known */
    uint32_t precisions;                /* bit (1 << precision) for each that works */
    char why_not[PRECISION_COUNT][160]; /* for the others, the reason */
};

#define DEVICE_COUNTERS 4 /* values of one record of counters */
/* Notes of two devices' counters that a line of the screen shows as they are: a few words, and why it is no better tier. */
#define NOTE_COUNTER_TIER "counter tier"
#define NOTE_COUNTER_TIER_WHY "why that tier"
#define NOTE_ATTRIBUTION "attribution" /* of an attached program: by what its work is told apart, */
#define NOTE_ATTRIBUTION_LACKS                                                                                         \
    "attribution lacks"          /* and what cannot be told by it, and why; absent where it is whole */
#define NOTE_CEILINGS "ceilings" /* when they were measured, or why not */

/* One execution of one kernel, as a device reports it. Times are CLOCK_MONOTONIC ns. */
enum kernel_event_kind {
    EVENT_KERNEL,
    EVENT_COPY,
    EVENT_MEMSET,
    EVENT_SYNC,     /* the host waits; no node */
    EVENT_OVERHEAD, /* the profiler's or the driver's own; no node */
    EVENT_COUNTERS /* no times: start, end, launch and bytes are four values of the node's hardware counters, UNKNOWN_U64
                       where not known; the probe's `counters` was told their names */
};
/* Which way a copy goes. */
enum copy_direction {
    COPY_NONE, /* no copy, or it was not said */
    COPY_TO_DEVICE,
    COPY_TO_HOST,
    COPY_ON_DEVICE,
    COPY_ON_HOST,
    COPY_BETWEEN_DEVICES,
    COPY_FILL, /* memset: what is written was read nowhere */
    COPY_OTHER,
    COPY_DIRECTIONS
};

#define EVENT_NODE_NONE (-1) /* not one of the plan's nodes: unattributed */

struct kernel_event {
    uint64_t start, end;
    uint64_t launch;      /* when the host issued it; equals start on the CPU */
    uint32_t correlation; /* launch id; 0 where the device has none */
    int32_t node;
    uint32_t name;   /* from probe->intern */
    uint16_t stream; /* stream, or thread */
    uint8_t kind;
    uint8_t device; /* of a program that uses several; else 0 */
    uint8_t copy;   /* enum copy_direction */
    bool
        pageable; /* the host's side of it is not pinned: it goes through a buffer of the driver's, and the host waits */
    uint64_t bytes; /* copies; of a synchronisation 1 where the host waits */
};

/* Where a profiled run sends its events. All callbacks come from one thread at a time. */
struct probe {
    void *context;
    /* Id of a kernel name; the same text gives the same id. Called in prepare or rarely after. */
    uint32_t (*intern)(void *context, const char *name);
    /* Devices that run kernels on the calling thread bracket each with these two and let the probe read clock and
     * counters; `name` was interned in prepare. */
    void (*enter)(void *context, int32_t node);
    void (*leave)(void *context, int32_t node, uint32_t name);
    /* Devices with an activity source of their own hand whole events over, from any time after the run; `step` is the
     * step_id that was given to run. */
    void (*event)(void *context, uint64_t step, const struct kernel_event *event);
    void (*dropped)(void *context, uint64_t count);
    /* What the values of its EVENT_COUNTERS are, in that order: names of letters, digits and _; NULL behind the last. Before the
     * first of them; optional. */
    void (*counters)(void *context, const char *const names[DEVICE_COUNTERS]);
    /* Lines for the log and for the report's notes: what the source could not get, and why. */
    void (*note)(void *context, const char *key, const char *text);
};

struct communicator;
struct prepare_options {
    struct communicator *communicator; /* kernels/communicator.h; NULL: one rank alone. Outlives the program */
    bool compile;                      /* packing, algorithm timing, generated kernels, captured graph allowed */
    int threads;                       /* CPU: 0 = all */
    const char *cache_folder;          /* NULL: no cache on disk */
    const struct probe *probe;         /* for interning names; NULL when nothing will be profiled */
    bool emulate;  /* also what this machine has no instructions for, slowly: for tests of the kernels */
    bool counters; /* hardware counters of the device wanted, where it can */
    bool no_tiles; /* bf16 without the processor's tile unit: for tests of the other kernels, and to time them */
    /* What prepare is at, "building kernels", piece by piece: `done` of `total` are there. May come from any thread, one at a time;
     * NULL: nobody asks. */
    void (*progress)(void *context, const char *what, int done, int total);
    /* Was the process kept from running in this time (ns): stopped, frozen, asleep? What was timed meanwhile is no time. NULL: nobody
     * knows. */
    bool (*held)(void *context, uint64_t start, uint64_t end);
    void *progress_context; /* of both */
};

static inline bool prepare_held(const struct prepare_options *options, uint64_t start, uint64_t end)
{
    return options && options->held && options->held(options->progress_context, start, end);
}

static inline void prepare_progress(const struct prepare_options *options, const char *what, int done, int total)
{
    if (options->progress)
        options->progress(options->progress_context, what, done, total);
}

/* What prepare did: goes to the report as the effective configuration. */
struct prepare_note {
    const char *key, *text;
};
struct prepare_report {
    uint64_t compile_ns;        /* spent on what compile mode adds; 0 in eager */
    uint64_t workspace_bytes;   /* beyond the plan's arena */
    uint64_t device_free_bytes; /* before allocating; UNKNOWN_U64 */
    struct prepare_note
        notes[32]; /* e.g. {"gemm layers.*.ffn.w1", "own 6x16, 2 threads"}; strings live in the program */
    int note_count;
};
/* Adds a line; beyond its room the line is dropped. Both strings live as long as the program. */
static inline void prepare_say(struct prepare_report *report, const char *key, const char *text)
{
    if (report->note_count < (int)(sizeof report->notes / sizeof *report->notes))
        report->notes[report->note_count++] = (struct prepare_note){key, text};
}

struct step_times {
    uint64_t start, end;            /* of the whole call, device synchronised at both ends */
    uint64_t phase_ns[PHASE_COUNT]; /* UNKNOWN_U64 where not run or not known */
};

struct device_telemetry {
    double sm_clock_mhz, memory_clock_mhz, power_w, power_limit_w, temperature_c;
    uint32_t other_processes; /* on the device; UINT32_MAX where not known */
    char throttle[96];        /* "" or the reasons */
    double
        link_bytes_per_s; /* what its links to other devices move in one direction, as the driver says: all of them together */
};

/* Which nodes a compiled program may run beside those after them: those of these ops (OP_BIT). A plan that is made for the device
 * leaves what they read alone for so many nodes more, at a price in memory; beyond that the device waits. No ops: none. */
struct overlap {
    uint64_t ops;
    int32_t nodes;
};

struct device; /* each device's own */
struct program;

struct device_class {
    uint32_t abi;     /* DEVICE_ABI */
    const char *name; /* "cpu", "cuda" */

    /* Fills up to `max` infos and the count. An empty machine is ERROR_DEVICE with a sentence that says what is missing. */
    bool (*enumerate)(struct device_info *infos, int max, int *count, struct error *error);

    struct device *(*open)(int index, struct error *error);
    void (*close)(struct device *device);

    /* Can this op run at this precision? `why` gets the reason when not. */
    bool (*supports)(const struct device *device, enum op op, enum precision precision, char *why, size_t why_size);

    /* Allocates the plan's arena and makes everything ready; ERROR_MEMORY with planned and free bytes when it does not
     * fit. The plan must outlive the program. Parameters are not initialised. */
    struct program *(*prepare)(struct device *device, const struct plan *plan, const struct prepare_options *options,
                               struct prepare_report *report, struct error *error);
    void (*release)(struct program *program);

    /* Runs the nodes of the phases in `phases` (a PHASE_BIT mask, contiguous) once, synchronised at the end. With a probe
     * the run is profiled. `step_id` is handed back with the events. Allocates nothing. */
    bool (*run)(struct program *program, unsigned phases, uint64_t step_id, const struct probe *probe,
                struct step_times *times, struct error *error);

    /* Hands over events that are still under way, waiting for them; optional (NULL: run leaves none). */
    bool (*flush)(struct program *program, const struct probe *probe, struct error *error);

    /* Whole tensors, in the tensor's own dtype. Writing a parameter also renews its copies. */
    bool (*write)(struct program *program, int32_t tensor, const void *bytes, struct error *error);
    bool (*read)(struct program *program, int32_t tensor, void *bytes, struct error *error);

    /* Ceilings from a short measurement (about `budget_ms`): GEMM rate in FLOP/s at `precision` and copy bandwidth in
     * bytes/s (read + written). */
    bool (*measure_ceilings)(struct device *device, enum precision precision, int budget_ms, double *flops_per_s,
                             double *bytes_per_s, struct error *error);

    /* State for the header and the noise record: clocks, power, temperature, throttling, other processes. NaN where not
     * known; optional. */
    bool (*telemetry)(struct device *device, struct device_telemetry *out);

    struct overlap overlap;

    /* Devices that run kernels on threads of this process; both or neither. How many a program has that is prepared with
     * `wanted` threads (0: all), once it is sure that they can be started; 0 with the reason. */
    int (*host_threads)(const struct device *device, int wanted, struct error *error);
    /* Calls `body` once on each of them; 0 is the calling one. */
    void (*each_thread)(int threads, void (*body)(void *argument, int thread), void *argument);
};

/* The device named "cpu", "cuda:0" …: finds the class (loading the plugin steptop-<class>.so from beside the program, then
 * from libdir) and the index. A plugin that is missing, of another ABI or that fails to load is ERROR_DEVICE. */
const struct device_class *device_find(const char *name, int *index, struct error *error);

/* Does a device of this name compute on the host's processors? Then it is one for all ranks of a run; others are one each. Known by
 * the name alone, in a process that loads no driver. */
bool device_is_host(const char *name);
/* The first of `ranks` (its number) that surely has no device when the first is on `name` and each other on the next, and how many there
 * are: by the nodes that a driver makes in `folder` (/dev), one a card, without loading it. -1: none is known to be missing. */
int device_missing(const char *name, int ranks, const char *folder, int *there);
/* Classes that are worth listing: cpu, and each plugin known by name. */
int device_class_names(const char *const **names);

extern const struct device_class reference_device_class; /* "reference": double precision, the oracle */
