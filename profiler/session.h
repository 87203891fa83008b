/* A session runs its subjects one after the other, each in one process a rank, and never blocks: the caller's loop polls its
 * descriptors and calls session_step. */
#pragma once
#include "base/error.h"
#include "kernels/device.h"
#include "profiler/aggregate.h"
#include "profiler/machine.h"
#include "profiler/places.h"
#include "profiler/statistics.h"
#include "profiles/profile.h"
#include <poll.h>
#include <sys/types.h>

enum status {
    STATUS_PENDING,
    STATUS_RUNNING,
    STATUS_OK,
    STATUS_OOM,
    STATUS_TIMEOUT,
    STATUS_ERROR,
    STATUS_KILLED,
    STATUS_SKIPPED,
    STATUS_UNSUPPORTED,
    STATUS_UNRELIABLE,
    STATUS_INTERRUPTED,
    STATUS_COUNT
};
const char *status_name(enum status status);

enum step_kind { STEP_WARMUP, STEP_TIMED, STEP_PROFILED, STEP_KIND_COUNT };

/* One step of one pass as the worker timed it. */
struct sample {
    uint8_t pass, kind;
    uint32_t step;    /* index within (pass, kind) */
    uint32_t step_id; /* of the session's records */
    uint64_t start, wall_ns;
    uint64_t phase_ns[PHASE_COUNT]; /* UNKNOWN_U64 where not known */
};

#define SAMPLES_KEPT 4096 /* of a pass and kind, when a run goes on for ever: the newest */

struct note {
    char *key, *text;
};

/* What an attached process was seen to do over its measured steps, for the verdict. UNKNOWN_U64 where not known; times in ns. */
struct program_facts {
    uint64_t steps, wall_ns;              /* measured so far */
    uint64_t compiled_steps, compiled_ns; /* of them, those in which a graph was compiled, and their time */
    uint64_t graph_breaks;
    uint64_t wait_ns, wait_cpu_ns; /* for the data loader, on the thread that trains; its own computing in it */
    uint64_t loader_workers;       /* processes of the loader */
    uint64_t workers_ns, workers_cpu_ns,
        workers_disk_ns; /* how long they were watched; on a processor, waiting for a disk, of all */
    uint64_t resident[3],
        device_bytes[3]; /* bytes of the process and of its tensors on the card: medians of the run's thirds */
    uint64_t reserved_bytes, allocator_retries; /* of the card's allocator */
    uint64_t threads;                           /* that PyTorch computes with on the processor */
    uint64_t processors; /* that the threads which compute may run on: of all their masks together */
    uint64_t batches;    /* the least calls of the first outermost module in a step: 2 and more add gradients up */
    uint64_t peak_bytes; /* of tensors on the card, ever */
    uint64_t room_bytes; /* that the process could have there: what is free and what its allocator holds */
};

/* One process of a run: what it is, what it said, and what its records add up to. A cell of ours on one device is one rank. */
struct rank {
    uint32_t index; /* in its run */
    pid_t process;  /* 0 when none */
    struct places places;
    struct aggregate *aggregate;
    struct device_info device; /* as the process opened it */
    struct device_telemetry telemetry;
    struct program_facts program;             /* of an attached one; no steps: nothing was said */
    VEC(struct sample) samples;               /* bounded for STEPS_FOREVER: the newest SAMPLES_KEPT of each kind */
    struct running profiled_wall[PASS_COUNT]; /* ns, of all profiled steps: like the kernels' sums, not bounded */
    uint64_t resident_peak;                   /* bytes, of the process; UNKNOWN_U64 */
    uint64_t resident_base;                   /* before the arena was allocated */
    uint64_t dropped;                         /* records lost, ring and device */
};

/* What the worker said of its plan. With the cell it is enough to build the plan again (report/, for the ledger of memory). */
struct plan_named {
    bool known;
    uint64_t digest;
    uint32_t fusions;
    struct overlap overlap;
};

#define RUN_COUNTERS 4      /* values of a record of counters */
#define RUN_COUNTER_NAME 32 /* bytes, with the end */

/* How often and how long processes of a run were kept from running: stopped, frozen, asleep with the machine. The steps that
 * this fell into are in no figure. */
struct suspension {
    uint64_t ns;
    uint32_t times, steps;
};

/* How busy others keep the machine: the part of its processors' time that the host took away since the run began, 0 to 1, and the load
 * average of the last minute. NaN where not known. */
struct machine_load {
    double steal, load_average;
};

/* Everything known of one run, live. Owned by the session; readable between session_step calls. */
struct run {
    uint32_t id;         /* stable */
    const char *command; /* the subject: a command of the user's, as a person would type it; NULL: the cell */
    struct cell cell;
    VEC(struct rank *) ranks; /* one at least, from the beginning */
    enum status status;
    char reason[256];            /* one line, no '|' */
    enum error_kind unstarted;   /* what kind of error kept a command from starting, where one did */
    char activity[96];           /* "warm-up 1/1", "fwd_bwd 3/5 profiled", "preparing" */
    struct machine_use use;      /* of the processors, since it began */
    uint64_t started, ended;     /* CLOCK_MONOTONIC ns, 0 */
    struct suspension suspended; /* of its ranks' processes */
    struct machine_load machine; /* as the first rank saw it last */
    struct plan_named plan;
    uint64_t planned_bytes; /* before it began, by session_plan; UNKNOWN_U64 */
    uint64_t compile_ns, workspace_bytes, prepare_ns;
    VEC(struct note) notes;                             /* effective configuration, counter tier and reason … */
    char counter_names[RUN_COUNTERS][RUN_COUNTER_NAME]; /* as its process said; all "" where nothing is counted */
    uint64_t counter_own[RUN_COUNTERS]; /* of each value, what the reading of it alone counts; UNKNOWN_U64 */
    double ceiling_flops_per_s;         /* measured on this device at the cell's precision; NaN unknown */
    double ceiling_bytes_per_s;
    bool replayed;    /* fed from a recording, not from a worker */
    uint64_t version; /* grows with each change that a screen could show */
};

/* The rank of a run by its number, or NULL. */
static inline struct rank *run_rank(const struct run *run, size_t index)
{
    return index < run->ranks.count ? run->ranks.items[index] : NULL;
}
/* The rank that speaks for the run where only one can be shown: the first. */
static inline struct rank *run_lead(const struct run *run)
{
    return run->ranks.items[0];
}

struct log_line {
    uint64_t time;
    uint32_t run;
    bool is_error;
    bool is_event; /* the session's own word of what the run is at, printed by nobody */
    const char *text;
};

#define RING_RECORDS (1u << 17)
#define TIMELINE_RECORDS ((size_t)1 << 16)

struct launcher;
struct session_options {
    const char *program;     /* this binary, to start workers: normally /proc/self/exe */
    const char *record_file; /* --record, or NULL */
    const char *cache_folder;
    uint32_t ring_records;   /* 0: the default; a power of two */
    size_t timeline_records; /* 0: the default */
    const struct launcher *launcher; /* whose other ranks join (profiler/hosts.h); NULL: all are on this host */
    uint64_t join_ns;                /* how long they may be missing; 0: the default */
    uint32_t first_id;       /* ids of runs begin after this one: a report that is resumed has them already */
};

struct session;
struct session *session_create(const struct session_options *options, struct error *error);
void session_free(struct session *session); /* ends the workers, waits for them, leaves nothing behind */

uint32_t session_add(struct session *session, const struct cell *cell); /* queues a cell; its run id */
size_t session_run_count(const struct session *session);
const struct run *session_run(const struct session *session, size_t index);
const struct run *session_find(const struct session *session, uint32_t id);
/* What a queued run is planned to take; said where its profile has on_oom: skip_larger. Once such a run was out of memory, those
 * queued on the same device of which it was said, too, and that are planned to take no less, are skipped, with the reason. */
void session_plan(struct session *session, uint32_t id, uint64_t planned_bytes);
bool session_idle(const struct session *session);        /* nothing queued or running */
void session_stop(struct session *session, uint32_t id); /* ends one run, keeping its data: interrupted */
void session_stop_all(struct session *session);
void session_remove(struct session *session, uint32_t id);

/* Plays a recording: its runs appear as they began and take the place of workers until it ends; queued cells wait. `speed`
 * 1 is that of the recording, 10 ten times as fast, 0 as fast as it is read. Several may be given; they play one after the
 * other. The file is checked as it is read: a broken one ends its run as an error that names the place. */
bool session_replay(struct session *session, const char *path, double speed, struct error *error);
/* Why one was not played to its end: it was not whole, or found no memory; NULL: it was. Its run's reason says so, too. */
const struct error *session_recording_cut(const struct session *session);

/* Descriptors to poll (up to max) and the longest time to wait in ms (-1: any). */
int session_poll(const struct session *session, struct pollfd *fds, int max, int *timeout_ms);
/* Handles what is ready: messages, log output, rings (a bounded number of records a call), timeouts, ends of workers,
 * starts the next cell. True when anything changed. */
bool session_step(struct session *session);

/* Log lines of all runs, bounded (newest 10 000); index 0 is the oldest kept. */
size_t session_log_count(const struct session *session);
const struct log_line *session_log(const struct session *session, size_t index);
