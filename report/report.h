/* The report document: all that the screen shows and the files hold. Filled from a live session or read from a file; both
 * give the same document, and every emitter and view works from it alone. */
#pragma once
#include "base/arena.h"
#include "base/error.h"
#include "base/strbuf.h"
#include "base/unknown.h"
#include "profiler/session.h"

struct report_phase { /* of a pass: "fwd", "loss", "bwd", "opt", and "total" */
    const char *name;
    uint64_t *samples_ns; /* timed steps (profiler off): the headline numbers */
    uint64_t *warmup_ns;
    uint64_t *profiled_ns;
    size_t sample_count, warmup_count, profiled_count;
    struct summary summary; /* of samples_ns */
};

/* Why the device did nothing, a profiled step: means over `steps` of them; the reasons of profiler/idle.h. Their sum is what no kernel
 * but a collective covers, so that total_ns is idle_ns and the time in which only collectives ran. */
struct report_idle {
    uint64_t steps;
    double total_ns, ns[IDLE_REASONS];
    const char *sync_layer; /* that asked for most of IDLE_SYNC; "" */
    double sync_layer_ns;
};

struct report_pass {
    bool present; /* the pass was asked for */
    enum pass pass;
    uint64_t profiled_steps; /* that the kernel rows sum over */
    double missing;          /* how much of the last of them has not come yet: 0 to 1, and 0 where none is under way */
    bool warmup_rows;        /* no step was counted yet: the kernel, entry and layer rows are the warm-up's */
    uint64_t derived_at, derive_ns; /* when the statistics were worked out, and how long that took; of a live run */
    uint64_t sample_key;            /* changes with the samples: the statistics are worked out anew only then */
    struct report_phase phases[PHASE_COUNT + 1];     /* in order of enum phase; the last is the total (wall) */
    struct ratio overhead;                           /* profiled ÷ timed; NaN when no profiled steps */
    double busy_ns, idle_ns, wall_ns, attributed_ns; /* per profiled step, means; NaN when unknown */
    double kernel_ns; /* sum of kernel times a step; above busy_ns where streams overlap */
    struct report_idle idle;
};

/* By how many steps a sum over its kernels is to be divided. */
static inline double pass_steps(const struct report_pass *pass)
{
    return (double)pass->profiled_steps - pass->missing;
}

/* A log histogram as the document keeps it: the bins that were hit, ascending. A word holds a bin (octave · 32 + bin)
 * in its upper 12 bits and a count in its lower 20; a larger count takes several words. */
struct report_bins {
    uint32_t *words;
    uint32_t word_count;
};
/* A histogram's bins as words; returns how many they are, at most report_bins_room. */
size_t report_bins_room(const struct histogram *histogram);
uint32_t report_bins_pack(uint32_t *words, const struct histogram *histogram);
/* Adds the bins to *histogram, which the caller releases. */
void report_bins_expand(const struct report_bins *bins, struct histogram *histogram);

/* Sums over the launches that were counted, UNKNOWN_U64 where there is none; the cell's counter_names say what of. */
#define REPORT_COUNTERS 4
struct report_counters {
    uint64_t values[REPORT_COUNTERS], samples;
};

/* kernel name × scope × phase × pass: the finest row. */
struct report_entry {
    uint32_t kernel; /* index in kernels of the same cell */
    int32_t scope;   /* index in layers; -1: unattributed */
    uint8_t phase, pass;
    uint64_t calls, total_ns, min_ns, max_ns;
    double mean_ns, sd_ns, median_ns, p95_ns;
    double flops, bytes;      /* modelled, sum over calls; NaN when unknown */
    const struct entry *live; /* histogram, recent launches; NULL in a document that was read */
};

struct report_kernel { /* kernel name × phase × pass */
    const char *name;
    const char *op; /* "linear_backward_weight" or "" */
    enum kernel_class kernel_class;
    uint8_t phase, pass;
    uint8_t copy;  /* enum copy_direction */
    bool pageable; /* of a copy: its side on the host is not pinned */
    uint64_t calls, total_ns, min_ns, max_ns;
    double share; /* of the pass's kernel time, 0–1 */
    double mean_ns, sd_ns, median_ns, p95_ns, p99_ns, cv;
    double flops, bytes;          /* modelled, sum over calls */
    struct report_bins histogram; /* without warm-up */
    struct report_bins warmup_histogram;
    const struct report_counters *counters; /* NULL when nothing was counted */
    const uint32_t *recent;                 /* last durations in ns, newest last; none in a document that was read */
    uint32_t recent_count;
    int32_t layers; /* how many scopes it serves */
};

/* Times and work per profiled step, inclusive but for exclusive_ns; calls: exclusive, over all profiled steps. */
struct report_layer_phase {
    uint64_t calls;
    double inclusive_ns, exclusive_ns, flops, bytes;
};
struct report_layer { /* a scope of the plan, parents first; index = scope index */
    const char *path, *name;
    int32_t parent, depth;
    /* Never NULL: all zero where the pass was not run, or has nothing of the phase. */
    const struct report_layer_phase *phase[PASS_COUNT][PLACE_PHASE_COUNT];
    uint64_t saved_bytes;     /* inclusive: activations kept for backward; UNKNOWN_U64 */
    uint64_t parameter_bytes; /* inclusive; UNKNOWN_U64 */
    uint64_t peak_bytes
        [2]; /* most in use beyond the step's beginning, inclusive, forward and backward: sampled at borders of
                                 operators; UNKNOWN_U64 */
};

/* Of two that may not be known. */
static inline uint64_t report_highest(uint64_t a, uint64_t b)
{
    return !is_known_u64(a) || (is_known_u64(b) && b > a) ? b : a;
}

struct report_tensor {
    const char *name;
    enum tensor_kind kind;
    uint64_t bytes;
    int32_t scope;
};
struct report_memory {
    uint64_t by_kind[TENSOR_KIND_COUNT];
    uint64_t planned_total, planned_peak_live, workspace, resident_peak, resident_base, device_free;
    const char *peak_at; /* "bwd layers.11.ffn swiglu_backward" */
    /* Live bytes after each node, by category, for the memory view: node_count × TENSOR_KIND_COUNT; NULL when absent. */
    uint64_t *curve;
    uint8_t *curve_phase; /* phase of each node */
    int32_t curve_count;
    struct report_tensor *largest; /* up to 64 */
    size_t largest_count;
};

/* One execution in the timeline: the latest complete profiled step of each pass. */
struct report_launch {
    uint64_t start_ns, duration_ns; /* start: since the step's first record */
    uint64_t bytes;                 /* of a copy; else 0 */
    uint32_t kernel;                /* index in kernels */
    int32_t scope;                  /* index in layers; -1 */
    uint16_t stream;
    uint8_t kind, phase, pass;
};

/* What the device can do at best, measured in the same run; NaN where not known. Roofline and "% of roof" use it. */
struct report_ceilings {
    double flops_per_s, bytes_per_s;
};

struct report_note {
    const char *key, *text;
};

/* One of several ranks: means over `steps` profiled steps of the longest pass, step_ns over the timed ones. NaN where not known. */
struct report_rank {
    uint32_t rank;
    uint64_t steps;
    double step_ns, compute_ns, communication_ns, exposed_ns, wait_ns, transfer_ns;
    double backward_ns;  /* of compute_ns, in backward */
    double product_slow; /* matrix products beside a collective ÷ the same ones alone, by total time */
    uint64_t resident_peak;
};
/* A collective of the plan: means over its calls on all ranks. */
struct report_collective {
    uint32_t place;
    const char *op, *scope;
    uint64_t bytes; /* of the whole */
    uint64_t calls;
    double wait_ns, transfer_ns;
};

struct report_cell {
    uint32_t run_id;
    struct cell requested;
    enum precision effective_dtype;
    bool effective_compile; /* what actually ran */
    unsigned fired;         /* fusion passes */
    enum status status;
    const char *reason;
    struct report_pass passes[PASS_COUNT]; /* present where requested.passes has the bit */
    struct report_entry *entries;
    size_t entry_count;
    struct report_kernel *kernels;
    size_t kernel_count;
    struct report_layer *layers;
    size_t layer_count;
    struct report_memory memory;
    struct report_rank *ranks;
    size_t rank_count; /* none where there is one */
    struct report_collective *collectives;
    size_t collective_count; /* in the order in which a step first comes to them */
    struct report_note *notes;
    size_t note_count; /* effective configuration, counter tier, noise */
    struct report_launch *timeline;
    size_t launch_count;
    struct report_ceilings ceilings;
    const char *counter_names[REPORT_COUNTERS]; /* "cycles", "dram_bytes" …; "" for an unused one */
    uint64_t counter_own[REPORT_COUNTERS];      /* what the reading of it counts itself, a launch; UNKNOWN_U64 */
    uint64_t compile_ns, prepare_ns;
    uint64_t records, dropped, invalid, unattributed;
    double flops[PASS_COUNT]; /* modelled, a step */
    struct device_info device;
    struct device_telemetry telemetry;
    struct machine_load machine;
    struct machine_use use;       /* of the processors, while the run went on */
    struct program_facts program; /* of an attached one; no steps: nothing is known */
    struct build_rows *rows; /* what kernels and entries are made of, kept between updates; NULL in one that was read */
    struct arena arena;      /* of this cell's other data; made anew by report_update */
    struct arena fixed;      /* of what follows from the plan alone: layers, memory; kept while plan_digest stays */
    uint64_t plan_digest;
    size_t place_count; /* places, and words of what they do, that fixed was made from */
    uint64_t version;   /* of the run it was made from */
    bool from_file;     /* read, not measured by this process */
    struct report_absent {
        uint64_t requested, model, effective, device;
    } absent;           /* a bit a key that the file did not give */
    const char *source; /* the file that it is from, where several are shown together; NULL */
};

/* Of what was requested: did the file say it? Always true of a cell that was measured here. */
bool requested_is_known(const struct report_cell *cell, const char *key);

struct report_host {
    const char *hostname, *os, *kernel, *cpu, *governor;
    uint32_t cores;          /* processors; UINT32_MAX: not known */
    uint32_t physical_cores; /* that these are; UINT32_MAX: cannot be known */
    uint64_t memory_bytes;
    double load_average;
};

struct report {
    struct arena arena;
    const char *tool_version, *commit;
    bool dirty;
    const char *created; /* RFC 3339 */
    const char *profile_name, *profile_digest;
    struct report_host host;
    VEC(struct report_cell *) cells;
    uint64_t generation; /* grows whenever report_update changed a cell: pointers into cells are then of the past */
};

void report_init(struct report *report); /* fills tool and host */
void report_free(struct report *report);
/* Makes a report that was read one that goes on here and now: tool, host and time are this program's, and each of its cells
 * has a note of where and when it was measured. */
void report_take_on(struct report *report);
/* Makes the document agree with the session: cells that changed are made anew. Cheap enough for ten times a second with
 * 400 kernels. Pointers into a cell (entries, kernels …) are valid until the next update of that cell. */
void report_update(struct report *report, const struct session *session);

/* Of that the part which cannot wait: cells of runs that the session has no more leave. */
void report_drop_removed(struct report *report, const struct session *session);

/* An empty cell at the end; the report's. */
struct report_cell *report_add_cell(struct report *report);
/* The cells of `from` behind those of `into`, under numbers of their own, each with `source` (kept, not copied). Their texts stay with
 * `from`, which must outlive them. */
void report_join(struct report *into, struct report *from, const char *source);
void report_cell_free(struct report_cell *cell); /* of one that was taken out of its report */

bool report_read(const char *path, struct report *report, struct error *error);
bool report_parse(const char *text, size_t length, const char *file_name, struct report *report, struct error *error);

enum report_format {
    FORMAT_YAML,
    FORMAT_MARKDOWN,
    FORMAT_SEED,
    FORMAT_JSON,
    FORMAT_CSV,
    FORMAT_PERFETTO,
    FORMAT_SVG,
    FORMAT_HTML,
    FORMAT_KERNELS,
    FORMAT_COUNT
};
const char *report_format_name(enum report_format format);
bool report_format_parse(const char *text, enum report_format *format, struct error *error);
/* The course's handout: for each of its questions, in its order, the tables that answer it, or the command that would. */
void report_handout(const struct report *report, bool csv, struct strbuf *out);
void report_emit(const struct report *report, enum report_format format, struct strbuf *out);
/* Atomic. Beside a Markdown file go the pictures of the report, <path without .md>-<picture>.svg, and of its first cells,
 * <path without .md>-<cell>-<picture>.svg, and the text shows them; where one cannot be written, the text goes without it, and the failure is returned all the same. */
bool report_write(const struct report *report, enum report_format format, const char *path, struct error *error);
/* The n-th file that may be written beside a Markdown file; false behind the last. */
bool report_picture_path(const char *markdown, size_t n, struct strbuf *out);

/* How many pictures go beside a Markdown file of this report. */
size_t report_picture_count(const struct report *report);

/* The seed's table of these cells (reference: tabulate's "pipe" format), without a heading. */
void report_seed_table(const struct report *report, struct strbuf *out);
/* A sentence for the rows whose forward had no pass of its own; nothing where there are none. */
void report_seed_head(const struct report *report, struct strbuf *out);
