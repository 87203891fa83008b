/* The keys of a report file. Order here is the order in the file. */
#include "report/schema_tables.h"
#include <string.h>

/* Enumerations, each through the function that owns its names. */
#define NAMES(id, type, function)                                                                                      \
    static const char *id(int value)                                                                                   \
    {                                                                                                                  \
        return function((type)value);                                                                                  \
    }
NAMES(name_pass, enum pass, pass_name)
NAMES(name_phase, enum phase, phase_name)
NAMES(name_precision, enum precision, precision_name)
NAMES(name_class, enum kernel_class, kernel_class_name)
NAMES(name_tensor_kind, enum tensor_kind, tensor_kind_name)
NAMES(name_fusion, enum fusion, fusion_name)
NAMES(name_checkpoint, enum checkpoint, checkpoint_name)
NAMES(name_parallel, enum parallel, parallel_name)
NAMES(name_gradient_dtype, enum gradient_dtype, gradient_dtype_name)
NAMES(name_collective, enum collective, collective_name)
NAMES(name_status, enum status, status_name)
NAMES(name_evidence_label, enum evidence_label, evidence_label_name)
NAMES(name_confidence, enum confidence, confidence_name)
NAMES(name_evidence_view, enum evidence_view, evidence_view_name)

static const char *name_model_kind(int value)
{
    return value == MODEL_ATTENTION ? "attention" : "lm";
}

static const char *name_counters(int value)
{
    static const char *const names[] = {"off", "auto", "on"};
    return names[value];
}

static const char *name_record_kind(int value)
{
    static const char *const names[RECORD_KIND_COUNT] = {"kernel",   "copy",     "memset", "sync",
                                                         "overhead", "counters", "wait"};
    return names[value];
}

static const char *name_copy(int value)
{
    static const char *const names[COPY_DIRECTIONS] = {
        [COPY_NONE] = "none",           [COPY_TO_DEVICE] = "to_device", [COPY_TO_HOST] = "to_host",
        [COPY_ON_DEVICE] = "on_device", [COPY_ON_HOST] = "on_host",     [COPY_BETWEEN_DEVICES] = "between_devices",
        [COPY_FILL] = "fill",           [COPY_OTHER] = "other",
    };
    return names[value];
}

static const char *name_phase_or_total(int value)
{
    return value == PHASE_COUNT ? "total" : phase_name((enum phase)value);
}

#define PASS_NAMES .name = name_pass, .count = PASS_COUNT
#define PHASE_NAMES .name = name_phase, .count = PLACE_PHASE_COUNT

/* What was asked for. */
static const struct field model_list[] = {
    {"name", FIELD_CHARS, AT(struct model_config, name), "preset's or own name", .required = true},
    {"preset", FIELD_CHARS, AT(struct model_config, preset), "family of the preset"},
    {"kind", FIELD_ENUM, AT(struct model_config, kind), "whole language model or attention alone",
     .name = name_model_kind, .count = 2},
    {"d_model", FIELD_SIGNED, AT(struct model_config, d_model), "width of the residual stream",
     .most = MODEL_SIZE_MOST},
    {"d_ff", FIELD_SIGNED, AT(struct model_config, d_ff), "width of the feed-forward layer", .most = MODEL_SIZE_MOST},
    {"num_layers", FIELD_SIGNED, AT(struct model_config, num_layers), "blocks", .most = MODEL_LAYERS_MOST},
    {"num_heads", FIELD_SIGNED, AT(struct model_config, num_heads), "attention heads", .most = MODEL_SIZE_MOST},
    {"vocab_size", FIELD_SIGNED, AT(struct model_config, vocab_size), "tokens", .most = MODEL_SIZE_MOST},
};
SET_ABSENT(model, struct model_config, "a model", requested.model, absent.model);

static const struct field requested_list[] = {
    {"device", FIELD_CHARS, AT(struct cell, device), "cpu, cuda:0 …", .required = true},
    {"model", FIELD_MAP, AT(struct cell, model), "the model's sizes", .fields = &model_fields, .required = true},
    {"batch_size", FIELD_SIGNED, AT(struct cell, batch_size), "sequences", .most = MODEL_SIZE_MOST, .required = true},
    {"context_length", FIELD_SIGNED, AT(struct cell, context_length), "tokens a sequence", .most = MODEL_SIZE_MOST,
     .required = true},
    {"dtype", FIELD_ENUM, AT(struct cell, dtype), "how matmuls compute", .name = name_precision,
     .count = PRECISION_COUNT},
    {"compile", FIELD_BOOL, AT(struct cell, compile), "compile mode asked for"},
    {"checkpoint", FIELD_ENUM, AT(struct cell, checkpoint), "activation checkpointing", .name = name_checkpoint,
     .count = CHECKPOINT_COUNT},
    {"passes", FIELD_FLAGS, AT(struct cell, passes), "what was timed", PASS_NAMES},
    {"warmup", FIELD_UNSIGNED, AT(struct cell, warmup), "uncounted steps a pass"},
    {"steps", FIELD_UNSIGNED, AT(struct cell, steps), "timed steps a pass", .special = "forever"},
    {"seed", FIELD_UNSIGNED, AT(struct cell, seed), "of weights and tokens", .most = INT64_MAX},
    {"timeout_s", FIELD_UNSIGNED, AT(struct cell, timeout_s), "0: none"},
    {"threads", FIELD_SIGNED, AT(struct cell, threads), "of all ranks; 0: all", .most = THREADS_MOST},
    {"ranks", FIELD_SIGNED, AT(struct cell, ranks), "processes that trained one model", .most = RANKS_MAX},
    {"parallel", FIELD_ENUM, AT(struct cell, parallel), "how ranks brought their gradients together",
     .name = name_parallel, .count = PARALLEL_COUNT},
    {"collective", FIELD_ENUM, AT(struct cell, collective), "that was measured instead of a model",
     .name = name_collective, .count = COLLECTIVE_COUNT},
    {"bucket_mb", FIELD_SIGNED, AT(struct cell, bucket_mb), "gradients sent at once, 10^6 bytes", .most = INT32_MAX},
    {"grad_dtype", FIELD_ENUM, AT(struct cell, gradient_dtype), "of gradients between ranks",
     .name = name_gradient_dtype, .count = 2},
    {"profile_every", FIELD_UNSIGNED, AT(struct cell, profile_every),
     "a profiled step after every n timed ones; 0: never"},
    {"counters", FIELD_ENUM, AT(struct cell, counters), "hardware counters", .name = name_counters, .count = 3},
    {"memory", FIELD_BOOL, AT(struct cell, memory), "memory ledger kept"},
    {"repetition", FIELD_UNSIGNED, AT(struct cell, repetition), "from 0"},
};
SET_ABSENT(requested, struct cell, "what was requested", requested, absent.requested);

static const struct field attached_list[] = {
    {"command", FIELD_CHARS, AT(struct cell, command), "as a person would type it", .required = true},
    {"device", FIELD_CHARS, AT(struct cell, device), "that it uses: cpu, cuda:0 …"},
    {"passes", FIELD_FLAGS, AT(struct cell, passes), "what its steps may be", PASS_NAMES},
    {"warmup", FIELD_UNSIGNED, AT(struct cell, warmup), "uncounted steps"},
    {"steps", FIELD_UNSIGNED, AT(struct cell, steps), "steps after which it was left alone", .special = "forever"},
};
SET(attached, struct cell, "what was attached to");

/* What ran. */
static const struct field effective_list[] = {
    {"dtype", FIELD_ENUM, AT(struct report_cell, effective_dtype), "that ran", .name = name_precision,
     .count = PRECISION_COUNT},
    {"compile", FIELD_BOOL, AT(struct report_cell, effective_compile), "that ran"},
    {"fusions", FIELD_FLAGS, AT(struct report_cell, fired), "passes that changed the plan", .name = name_fusion,
     .count = FUSE_COUNT},
    {"compile_ns", FIELD_UNSIGNED, AT(struct report_cell, compile_ns), "spent on what compile mode adds"},
    {"prepare_ns", FIELD_UNSIGNED, AT(struct report_cell, prepare_ns), "from opening the device to the first step"},
};
SET_ABSENT(effective, struct report_cell, "what ran", run_id, absent.effective);

/* Times of steps. */
static bool outliers_known(const void *item)
{
    return ((const struct report_phase *)item)->summary.outliers != UNKNOWN_U32;
}

static const struct field phase_list[] = {
    {"n", FIELD_UNSIGNED, AT(struct report_phase, summary.n), "timed steps, profiler off", .zero = true},
    {"mean_ns", FIELD_DOUBLE, AT(struct report_phase, summary.mean), "measured"},
    {"sd_ns", FIELD_DOUBLE, AT(struct report_phase, summary.sd), "sample standard deviation, n - 1"},
    {"median_ns", FIELD_DOUBLE, AT(struct report_phase, summary.median), "measured"},
    {"median_low_ns", FIELD_DOUBLE, AT(struct report_phase, summary.median_low), "95 % interval of the median"},
    {"median_high_ns", FIELD_DOUBLE, AT(struct report_phase, summary.median_high), "95 % interval of the median"},
    {"mad_ns", FIELD_DOUBLE, AT(struct report_phase, summary.mad), "median absolute deviation"},
    {"min_ns", FIELD_DOUBLE, AT(struct report_phase, summary.min), "measured"},
    {"max_ns", FIELD_DOUBLE, AT(struct report_phase, summary.max), "measured"},
    {"p5_ns", FIELD_DOUBLE, AT(struct report_phase, summary.p5), "measured"},
    {"p95_ns", FIELD_DOUBLE, AT(struct report_phase, summary.p95), "measured"},
    {"p99_ns", FIELD_DOUBLE, AT(struct report_phase, summary.p99), "from 100 samples on"},
    {"cv", FIELD_DOUBLE, AT(struct report_phase, summary.cv), "sd / mean"},
    {"outliers", FIELD_UNSIGNED, AT(struct report_phase, summary.outliers),
     "|x - median| above 14.826 MAD and above 0.5 % of the median; from 5 samples on", .special = ""},
    {"first_is_outlier", FIELD_BOOL, AT(struct report_phase, summary.first_is_outlier), "the first counted step is one",
     .present = outliers_known},
    {"drift", FIELD_DOUBLE, AT(struct report_phase, summary.drift),
     "(median of the last third - of the first) / MAD, or / a 600th of the median where that is more"},
    {"samples_ns", FIELD_SERIES, AND_COUNT(struct report_phase, samples_ns, sample_count), "timed steps in order"},
    {"warmup_ns", FIELD_SERIES, AND_COUNT(struct report_phase, warmup_ns, warmup_count), "uncounted steps in order"},
    {"profiled_ns", FIELD_SERIES, AND_COUNT(struct report_phase, profiled_ns, profiled_count),
     "steps with the profiler on"},
};
SET(phase, struct report_phase, "a phase");

static bool phase_present(const void *item)
{
    const struct report_phase *phase = item;
    return phase->sample_count || phase->warmup_count || phase->profiled_count || phase->summary.n;
}

static void phase_mark(void *item, int index)
{
    ((struct report_phase *)item)->name = name_phase_or_total(index);
}

static const struct field ratio_list[] = {
    {"median", FIELD_DOUBLE, AT(struct ratio, median), "of the pairs' ratios"},
    {"low", FIELD_DOUBLE, AT(struct ratio, low), "95 % interval"},
    {"high", FIELD_DOUBLE, AT(struct ratio, high), "95 % interval"},
    {"n", FIELD_UNSIGNED, AT(struct ratio, n), "pairs", .zero = true},
};
SET(ratio, struct ratio, "a ratio");

static bool ratio_present(const void *item)
{
    return ((const struct ratio *)item)->n > 0;
}

static bool warmup_rows(const void *item)
{
    return ((const struct report_pass *)item)->warmup_rows;
}

#define IDLE(key, reason, text)                                                                                        \
    {                                                                                                                  \
        key "_ns", FIELD_DOUBLE, AT(struct report_idle, ns[reason]), text                                              \
    }
static const struct field idle_list[] = {
    {"steps", FIELD_UNSIGNED, AT(struct report_idle, steps), "profiled steps that were looked at", .zero = true},
    {"total_ns", FIELD_DOUBLE, AT(struct report_idle, total_ns),
     "of a step: no kernel but a collective ran; the sum of these"},
    IDLE("launch", IDLE_LAUNCH, "launch-bound: the host was in Python, between operators or asleep"),
    IDLE("sync", IDLE_SYNC, "after a synchronisation that let the queue run dry"),
    IDLE("data", IDLE_DATA, "the host waited for its data loader"),
    IDLE("rank", IDLE_RANK, "only a collective was under way: waiting for another rank, or for bytes"),
    IDLE("queue", IDLE_QUEUE, "launched, and not begun: dependences, gaps between kernels"),
    IDLE("unknown", IDLE_UNKNOWN, "nothing is known of what came next"),
    {"sync_layer", FIELD_STRING, AT(struct report_idle, sync_layer), "that asked for most of sync_ns"},
    {"sync_layer_ns", FIELD_DOUBLE, AT(struct report_idle, sync_layer_ns), "of sync_ns"},
};
SET(idle, struct report_idle, "idle time");

static bool idle_present(const void *item)
{
    return ((const struct report_idle *)item)->steps > 0;
}

static const struct field pass_list[] = {
    {"phases", FIELD_KEYED, AT(struct report_pass, phases), "wall time by phase, and in total", .fields = &phase_fields,
     .name = name_phase_or_total, .count = PHASE_COUNT + 1, .present = phase_present, .mark = phase_mark},
    {"overhead", FIELD_MAP, AT(struct report_pass, overhead), "profiled / timed steps of this run",
     .fields = &ratio_fields, .present = ratio_present},
    {"profiled_steps", FIELD_UNSIGNED, AT(struct report_pass, profiled_steps), "that the kernel rows sum over",
     .zero = true},
    {"warmup_rows", FIELD_BOOL, AT(struct report_pass, warmup_rows),
     "cut off before a step was counted: rows of warm-up", .present = warmup_rows},
    {"wall_ns", FIELD_DOUBLE, AT(struct report_pass, wall_ns), "mean profiled step"},
    {"busy_ns", FIELD_DOUBLE, AT(struct report_pass, busy_ns), "union of kernel intervals a step"},
    {"idle_ns", FIELD_DOUBLE, AT(struct report_pass, idle_ns), "wall - busy"},
    {"kernel_ns", FIELD_DOUBLE, AT(struct report_pass, kernel_ns), "sum of kernel times a step"},
    {"idle", FIELD_MAP, AT(struct report_pass, idle), "why the device did nothing, a profiled step",
     .fields = &idle_fields, .present = idle_present},
    {"attributed_ns", FIELD_DOUBLE, AT(struct report_pass, attributed_ns), "sum of those that belong to a layer"},
};
SET(pass, struct report_pass, "a pass");

static bool pass_present(const void *item)
{
    return ((const struct report_pass *)item)->present;
}

static void pass_mark(void *item, int index)
{
    struct report_pass *pass = item;
    pass->present = true;
    pass->pass = (enum pass)index;
}

#define FLOPS(pass) AT(struct report_cell, flops[pass]), "modelled"
static const struct field flops_list[] = {
    {"fwd", FIELD_DOUBLE, FLOPS(PASS_FWD)},
    {"fwd_bwd", FIELD_DOUBLE, FLOPS(PASS_FWD_BWD)},
    {"train_step", FIELD_DOUBLE, FLOPS(PASS_TRAIN_STEP)},
};
SET(flops, struct report_cell, "FLOPs by pass");

/* Memory. */
#define BY_KIND(key, kind)                                                                                             \
    {                                                                                                                  \
        key, FIELD_UNSIGNED, AT(struct report_memory, by_kind[kind]), "planned"                                        \
    }
static const struct field by_kind_list[] = {
    BY_KIND("input", TENSOR_INPUT),         BY_KIND("constant", TENSOR_CONSTANT),
    BY_KIND("parameter", TENSOR_PARAMETER), BY_KIND("parameter_copy", TENSOR_PARAMETER_COPY),
    BY_KIND("gradient", TENSOR_GRADIENT),   BY_KIND("optimizer", TENSOR_OPTIMIZER),
    BY_KIND("saved", TENSOR_SAVED),         BY_KIND("scratch", TENSOR_SCRATCH),
    BY_KIND("output", TENSOR_OUTPUT),
};
SET(by_kind, struct report_memory, "bytes by kind");
_Static_assert(sizeof by_kind_list / sizeof *by_kind_list == TENSOR_KIND_COUNT, "one row a kind of tensor");

static const struct field tensor_list[] = {
    {"bytes", FIELD_UNSIGNED, AT(struct report_tensor, bytes), "planned"},
    {"kind", FIELD_ENUM, AT(struct report_tensor, kind), "", .name = name_tensor_kind, .count = TENSOR_KIND_COUNT},
    {"layer", FIELD_INDEX, AT(struct report_tensor, scope), "id in layers"},
    {"name", FIELD_REST, AT(struct report_tensor, name), ""},
};
SET(tensor, struct report_tensor, "a tensor");

static const struct field memory_list[] = {
    {"by_kind", FIELD_MAP, .offset = 0, .fields = &by_kind_fields,
     .about = "planned bytes; saved and scratch: their peak"},
    {"planned_total", FIELD_UNSIGNED, AT(struct report_memory, planned_total), "bytes of the arena"},
    {"planned_peak_live", FIELD_UNSIGNED, AT(struct report_memory, planned_peak_live), "most bytes alive at once"},
    {"peak_at", FIELD_STRING, AT(struct report_memory, peak_at), "phase, layer and op of that peak"},
    {"workspace", FIELD_UNSIGNED, AT(struct report_memory, workspace), "bytes the device takes beyond the plan"},
    {"resident_base", FIELD_UNSIGNED, AT(struct report_memory, resident_base), "measured before the arena"},
    {"resident_peak", FIELD_UNSIGNED, AT(struct report_memory, resident_peak), "measured: the worker's peak"},
    {"device_free", FIELD_UNSIGNED, AT(struct report_memory, device_free), "measured before allocating"},
    {"largest", FIELD_TABLE, AND_COUNT(struct report_memory, largest, largest_count), "largest tensors",
     .fields = &tensor_fields},
};
SET(memory, struct report_memory, "memory");

static const struct field note_list[] = {
    {"key", FIELD_STRING, AT(struct report_note, key), "what it is about", .required = true},
    {"text", FIELD_STRING, AT(struct report_note, text), "one line"},
};
SET(note, struct report_note, "a note");

/* Rows. */
static double layer_inclusive(const struct report_cell *cell, size_t row, enum phase phase)
{
    for (int pass = PASS_COUNT - 1; pass >= 0; pass--)
        if (cell->passes[pass].present && cell->passes[pass].profiled_steps)
            return cell->layers[row].phase[pass][phase]->inclusive_ns;
    return NAN;
}

static double layer_forward(const struct report_cell *cell, size_t row)
{
    return layer_inclusive(cell, row, PHASE_FWD);
}
static double layer_backward(const struct report_cell *cell, size_t row)
{
    return layer_inclusive(cell, row, PHASE_BWD);
}

static const struct field layer_list[] = {
    {"id", FIELD_DERIVED, .about = "number of the row"},
    {"parent", FIELD_INDEX, AT(struct report_layer, parent), "id of the layer it is in"},
    {"fwd_ns", FIELD_DERIVED, .derive = layer_forward, .about = "a profiled step of the longest pass, inclusive"},
    {"bwd_ns", FIELD_DERIVED, .derive = layer_backward, .about = "a profiled step of the longest pass, inclusive"},
    {"saved_bytes", FIELD_UNSIGNED, AT(struct report_layer, saved_bytes), "kept for backward, inclusive"},
    {"parameter_bytes", FIELD_UNSIGNED, AT(struct report_layer, parameter_bytes), "inclusive"},
    {"peak_fwd_bytes", FIELD_UNSIGNED, AT(struct report_layer, peak_bytes[0]),
     "most in use beyond the step's beginning, inclusive; sampled at borders of operators"},
    {"peak_bwd_bytes", FIELD_UNSIGNED, AT(struct report_layer, peak_bytes[1]), "the same in the backward pass"},
    {"path", FIELD_REST, AT(struct report_layer, path), "module path", .required = true},
};
SET(layer, struct report_layer, "a layer");

static double kernel_percent(const struct report_cell *cell, size_t row)
{
    return cell->kernels[row].share * 100;
}

static const struct field kernel_list[] = {
    {"id", FIELD_DERIVED, .about = "number of the row"},
    {"pass", FIELD_ENUM, AT(struct report_kernel, pass), "", PASS_NAMES, .required = true},
    {"phase", FIELD_ENUM, AT(struct report_kernel, phase), "", PHASE_NAMES, .required = true},
    {"class", FIELD_ENUM, AT(struct report_kernel, kernel_class), "", .name = name_class, .count = CLASS_COUNT,
     .otherwise = CLASS_OTHER},
    {"copy", FIELD_ENUM, AT(struct report_kernel, copy), "which way", .name = name_copy, .count = COPY_DIRECTIONS,
     .otherwise = COPY_UNSAID},
    {"pageable", FIELD_BOOL, AT(struct report_kernel, pageable), "a copy whose side on the host is not pinned"},
    {"op", FIELD_WORD, AT(struct report_kernel, op), "of the plan"},
    {"share_pct", FIELD_DERIVED, .derive = kernel_percent, .about = "of the pass's kernel time"},
    {"calls", FIELD_UNSIGNED, AT(struct report_kernel, calls), "in all profiled steps", .required = true},
    {"total_ns", FIELD_UNSIGNED, AT(struct report_kernel, total_ns), "measured", .required = true},
    {"min_ns", FIELD_UNSIGNED, AT(struct report_kernel, min_ns), "measured"},
    {"max_ns", FIELD_UNSIGNED, AT(struct report_kernel, max_ns), "measured"},
    {"sd_ns", FIELD_ROUNDED, AT(struct report_kernel, sd_ns), "sample standard deviation"},
    {"median_ns", FIELD_ROUNDED, AT(struct report_kernel, median_ns), "from the histogram, within 1.1 %"},
    {"p95_ns", FIELD_ROUNDED, AT(struct report_kernel, p95_ns), "from the histogram"},
    {"p99_ns", FIELD_ROUNDED, AT(struct report_kernel, p99_ns), "from 100 calls on"},
    {"flops", FIELD_DOUBLE, AT(struct report_kernel, flops), "modelled, over all calls"},
    {"bytes", FIELD_DOUBLE, AT(struct report_kernel, bytes), "modelled least traffic, over all calls"},
    {"name", FIELD_REST, AT(struct report_kernel, name), "as the device reports it", .required = true},
};
SET(kernel, struct report_kernel, "a kernel");

static const struct field entry_list[] = {
    {"kernel", FIELD_UNSIGNED, AT(struct report_entry, kernel), "id in kernels", .required = true},
    {"layer", FIELD_INDEX, AT(struct report_entry, scope), "id in layers; - is unattributed", .required = true},
    {"calls", FIELD_UNSIGNED, AT(struct report_entry, calls), "in all profiled steps", .required = true},
    {"total_ns", FIELD_UNSIGNED, AT(struct report_entry, total_ns), "measured", .required = true},
    {"min_ns", FIELD_UNSIGNED, AT(struct report_entry, min_ns), "measured"},
    {"max_ns", FIELD_UNSIGNED, AT(struct report_entry, max_ns), "measured"},
    {"sd_ns", FIELD_ROUNDED, AT(struct report_entry, sd_ns), "sample standard deviation"},
    {"median_ns", FIELD_ROUNDED, AT(struct report_entry, median_ns), "from a histogram, within 1.1 %"},
    {"p95_ns", FIELD_ROUNDED, AT(struct report_entry, p95_ns), "from a histogram"},
    {"flops", FIELD_DOUBLE, AT(struct report_entry, flops), "modelled, over all calls"},
    {"bytes", FIELD_DOUBLE, AT(struct report_entry, bytes), "modelled, over all calls"},
};
SET(entry, struct report_entry, "a kernel in a layer");

static const struct field launch_list[] = {
    {"start_ns", FIELD_UNSIGNED, AT(struct report_launch, start_ns), "since the step's first record", .required = true},
    {"duration_ns", FIELD_UNSIGNED, AT(struct report_launch, duration_ns), "measured", .required = true},
    {"stream", FIELD_UNSIGNED, AT(struct report_launch, stream), "stream or thread"},
    {"kind", FIELD_ENUM, AT(struct report_launch, kind), "", .name = name_record_kind, .count = RECORD_KIND_COUNT},
    {"pass", FIELD_ENUM, AT(struct report_launch, pass), "", PASS_NAMES},
    {"phase", FIELD_ENUM, AT(struct report_launch, phase), "", PHASE_NAMES},
    {"kernel", FIELD_UNSIGNED, AT(struct report_launch, kernel), "id in kernels", .required = true},
    {"layer", FIELD_INDEX, AT(struct report_launch, scope), "id in layers"},
    {"bytes", FIELD_UNSIGNED, AT(struct report_launch, bytes), "of a copy"},
};
SET(launch, struct report_launch, "a launch");

static const struct field histogram_list[] = {
    {"kernel", FIELD_UNSIGNED, AT(struct report_histogram_row, kernel), "id in kernels", .required = true},
    {"warmup", FIELD_BOOL, AT(struct report_histogram_row, warmup), "of warm-up steps"},
    {"bins", FIELD_REST, AT(struct report_histogram_row, bins),
     "bin:count; a bin starts at 2^(bin / 32) ns, 32 an octave", .required = true},
};
SET(histogram, struct report_histogram_row, "a histogram");

static const struct field counter_list[] = {
    {"kernel", FIELD_UNSIGNED, AT(struct report_counter_row, kernel), "id in kernels", .required = true},
    {"counter", FIELD_WORD, AT(struct report_counter_row, counter), "one of counter_names", .required = true},
    {"value", FIELD_UNSIGNED, AT(struct report_counter_row, value), "measured: sum over the samples", .required = true},
    {"samples", FIELD_UNSIGNED, AT(struct report_counter_row, samples), "launches that were counted"},
    {"own", FIELD_UNSIGNED, AT(struct report_counter_row, own), "measured: what the reading itself counts, a launch"},
};
SET(counter, struct report_counter_row, "a counter");

static const struct field curve_list[] = {
    {"node", FIELD_UNSIGNED, AT(struct report_curve_row, node), "of the plan", .required = true},
    {"phase", FIELD_ENUM, AT(struct report_curve_row, phase), "", PHASE_NAMES},
    {"kind", FIELD_ENUM, AT(struct report_curve_row, kind), "", .name = name_tensor_kind, .count = TENSOR_KIND_COUNT},
    {"live_bytes", FIELD_UNSIGNED, AT(struct report_curve_row, live_bytes), "from this node on", .required = true},
};
SET(curve, struct report_curve_row, "a change of memory");

/* There was a plan that could run: of a cell that got no further nothing is effective. */
static bool effective_present(const void *item)
{
    const struct report_cell *cell = item;
    bool ran = cell->layer_count > 0;
    if (cell->requested.command[0])
        return false;
    for (int pass = 0; pass < PASS_COUNT; pass++)
        ran |= cell->passes[pass].present && cell->passes[pass].phases[PHASE_COUNT].summary.n;
    return ran;
}

static bool device_present(const void *item)
{
    return ((const struct device_info *)item)->name[0] != 0;
}

static bool machine_present(const void *item)
{
    const struct machine_load *machine = item;
    return is_known(machine->steal) || is_known(machine->load_average);
}

static bool telemetry_present(const void *item)
{
    const struct device_telemetry *telemetry = item;
    return is_known(telemetry->power_w) || is_known(telemetry->sm_clock_mhz) || is_known(telemetry->temperature_c);
}

static bool use_present(const void *item)
{
    const struct machine_use *use = item;
    return is_known(use->steal) || is_known(use->others) || is_known(use->idle) || is_known(use->throttled);
}

static bool program_present(const void *item)
{
    return ((const struct program_facts *)item)->steps > 0;
}

static bool ceilings_present(const void *item)
{
    const struct report_ceilings *ceilings = item;
    return is_known(ceilings->flops_per_s) || is_known(ceilings->bytes_per_s);
}

static const struct field rank_list[] = {
    {"rank", FIELD_UNSIGNED, AT(struct report_rank, rank), "its number", .most = RANKS_MAX},
    {"steps", FIELD_UNSIGNED, AT(struct report_rank, steps), "profiled ones"},
    {"step_ns", FIELD_DOUBLE, AT(struct report_rank, step_ns), "mean timed step"},
    {"compute_ns", FIELD_DOUBLE, AT(struct report_rank, compute_ns), "union of other kernels' times"},
    {"communication_ns", FIELD_DOUBLE, AT(struct report_rank, communication_ns), "union of collectives' times"},
    {"exposed_ns", FIELD_DOUBLE, AT(struct report_rank, exposed_ns), "of that, beside nothing else"},
    {"wait_ns", FIELD_DOUBLE, AT(struct report_rank, wait_ns), "until the last rank came"},
    {"transfer_ns", FIELD_DOUBLE, AT(struct report_rank, transfer_ns), "from then on"},
    {"backward_ns", FIELD_DOUBLE, AT(struct report_rank, backward_ns), "of compute_ns, in backward"},
    {"product_slow", FIELD_DOUBLE, AT(struct report_rank, product_slow), "products beside a collective ÷ alone"},
    {"resident_peak", FIELD_UNSIGNED, AT(struct report_rank, resident_peak), "bytes of the process"},
};
SET(rank, struct report_rank, "a rank");

static const struct field collective_list[] = {
    {"place", FIELD_UNSIGNED, AT(struct report_collective, place), "node of the plan", .most = INT32_MAX},
    {"op", FIELD_WORD, AT(struct report_collective, op), "all_reduce …"},
    {"bytes", FIELD_UNSIGNED, AT(struct report_collective, bytes), "of the whole"},
    {"calls", FIELD_UNSIGNED, AT(struct report_collective, calls), "on all ranks"},
    {"wait_ns", FIELD_DOUBLE, AT(struct report_collective, wait_ns), "until the last rank came"},
    {"transfer_ns", FIELD_DOUBLE, AT(struct report_collective, transfer_ns), "from then on"},
    {"scope", FIELD_REST, AT(struct report_collective, scope), "whose gradients or weights"},
};
SET(collective, struct report_collective, "a collective");

static const struct field evidence_list[] = {
    {"name", FIELD_STRING, AT(struct evidence, name), "what it is", .required = true},
    {"value", FIELD_DOUBLE, AT(struct evidence, value), "four digits"},
    {"unit", FIELD_STRING, AT(struct evidence, unit), ""},
    {"low", FIELD_DOUBLE, AT(struct evidence, low), "95 % interval"},
    {"high", FIELD_DOUBLE, AT(struct evidence, high), "95 % interval"},
    {"label", FIELD_ENUM, AT(struct evidence, label), "where it comes from", .name = name_evidence_label,
     .count = EVIDENCE_LABEL_COUNT},
};
SET(evidence, struct evidence, "a figure");

static const struct field finding_list[] = {
    {"rule", FIELD_STRING, AT(struct finding, rule), "one of those that steptop help findings lists", .required = true},
    {"sentence", FIELD_STRING, AT(struct finding, sentence), "what it says"},
    {"gain", FIELD_DOUBLE, AT(struct finding, gain),
     "at most, of the step's time: 0 to 1; left out where nobody can tell how much"},
    {"confidence", FIELD_ENUM, AT(struct finding, confidence), "how sure", .name = name_confidence,
     .count = CONFIDENCE_COUNT},
    {"layer", FIELD_STRING, AT(struct finding, layer), "module over all blocks"},
    {"kernel", FIELD_STRING, AT(struct finding, kernel), "as the device reports it"},
    {"remedy", FIELD_STRING, AT(struct finding, remedy), "what to try"},
    {"disproof", FIELD_STRING, AT(struct finding, disproof), "it is wrong if"},
    {"view", FIELD_ENUM, AT(struct finding, view), "that shows the evidence", .name = name_evidence_view,
     .count = SHOWN_IN_COUNT},
    {"evidence", FIELD_LIST, AND_COUNT(struct finding, evidence, evidence_count), "figures that it rests on",
     .fields = &evidence_fields},
};
SET(finding, struct finding, "a finding");

static bool memory_present(const void *item)
{
    const struct report_memory *memory = item;
    return is_known_u64(memory->planned_total) || is_known_u64(memory->resident_peak);
}

static bool is_model(const void *item)
{
    return !((const struct cell *)item)->command[0];
}

static bool is_command(const void *item)
{
    return !is_model(item);
}

#define CELL(member) AT(struct report_cell, member)
static const struct field cell_list[] = {
    {"id", FIELD_UNSIGNED, CELL(run_id), "of the run"},
    {"status", FIELD_ENUM, CELL(status), "how it ended", .name = name_status, .count = STATUS_COUNT, .required = true},
    {"reason", FIELD_STRING, CELL(reason), "one line"},
    {"verdict", FIELD_STRING, AT(struct file_cell, findings.verdict), "what bounds the step, in a sentence"},
    {"findings", FIELD_LIST, AND_COUNT(struct file_cell, findings.items, findings.count),
     "by what they can give; worked out anew when the file is read", .fields = &finding_fields},
    {"requested", FIELD_MAP, CELL(requested), "the cell of the profile", .fields = &requested_fields,
     .present = is_model},
    {"attached", FIELD_MAP, CELL(requested), "a command of the user's instead of a cell", .fields = &attached_fields,
     .present = is_command},
    {"effective", FIELD_MAP, .offset = 0, .about = "what actually ran; left out when nothing could",
     .fields = &effective_fields, .present = effective_present},
    {"device", FIELD_MAP, CELL(device), "as the worker opened it", .fields = &device_fields, .present = device_present},
    {"telemetry", FIELD_MAP, CELL(telemetry), "sampled", .fields = &telemetry_fields, .present = telemetry_present},
    {"machine", FIELD_MAP, CELL(machine), "sampled", .fields = &machine_fields, .present = machine_present},
    {"processors", FIELD_MAP, CELL(use), "measured shares of all processors' time while the run went on",
     .fields = &use_fields, .present = use_present},
    {"program", FIELD_MAP, CELL(program), "what an attached program was seen to do", .fields = &program_fields,
     .present = program_present},
    {"ceilings", FIELD_MAP, CELL(ceilings), "measured; the note `ceilings` says when, where not in this run",
     .fields = &ceilings_fields, .present = ceilings_present},
    {"passes", FIELD_KEYED, CELL(passes), "times", .fields = &pass_fields, PASS_NAMES, .present = pass_present,
     .mark = pass_mark},
    {"step_flops", FIELD_MAP, .offset = 0, .about = "modelled FLOPs a step", .fields = &flops_fields},
    {"memory", FIELD_MAP, CELL(memory), "planned and measured bytes", .fields = &memory_fields,
     .present = memory_present},
    {"records", FIELD_UNSIGNED, CELL(records), "received"},
    {"dropped", FIELD_UNSIGNED, CELL(dropped), "lost on the way"},
    {"invalid", FIELD_UNSIGNED, CELL(invalid), "refused: times or indices out of order"},
    {"unattributed", FIELD_UNSIGNED, CELL(unattributed), "of no layer"},
    {"notes", FIELD_LIST, AND_COUNT(struct report_cell, notes, note_count), "effective settings, counter tier, noise",
     .fields = &note_fields},
    {"ranks", FIELD_TABLE, AND_COUNT(struct report_cell, ranks, rank_count), "several ranks: means a step",
     .fields = &rank_fields},
    {"collectives", FIELD_TABLE, AND_COUNT(struct report_cell, collectives, collective_count),
     "several ranks: means a call", .fields = &collective_fields},
    {"counter_names", FIELD_NAMES, CELL(counter_names), "what was counted", .count = REPORT_COUNTERS},
    {"layers", FIELD_TABLE, AND_COUNT(struct report_cell, layers, layer_count), "module tree, parents first",
     .fields = &layer_fields},
    {"kernels", FIELD_TABLE, AND_COUNT(struct report_cell, kernels, kernel_count), "by name, phase and pass",
     .fields = &kernel_fields},
    {"kernel_layers", FIELD_TABLE, AND_COUNT(struct report_cell, entries, entry_count), "kernels by layer",
     .fields = &entry_fields},
    {"histograms", FIELD_TABLE, AND_COUNT(struct file_cell, histograms, histogram_count),
     "times of a kernel's launches", .fields = &histogram_fields, .scratch = true},
    {"counters", FIELD_TABLE, AND_COUNT(struct file_cell, counters, counter_count), "hardware counters by kernel",
     .fields = &counter_fields, .scratch = true},
    {"timeline", FIELD_TABLE, AND_COUNT(struct report_cell, timeline, launch_count),
     "latest profiled step of each pass", .fields = &launch_fields},
    {"phase_nodes", FIELD_SERIES, AND_COUNT(struct file_cell, phase_nodes, phase_nodes_count), "plan nodes a phase"},
    {"memory_curve", FIELD_TABLE, AND_COUNT(struct file_cell, curve, curve_count), "changes of planned live bytes",
     .fields = &curve_fields, .scratch = true},
};
const struct field_set cell_fields = {"a cell", cell_list, COUNT(cell_list), sizeof(struct file_cell), 0};

#define REPORT(member) AT(struct report, member)
static bool has_commit(const void *item)
{
    const struct report *report = item;
    return report->commit && *report->commit;
}

static const struct field tool_list[] = {
    {"version", FIELD_STRING, REPORT(tool_version), "of steptop"},
    {"commit", FIELD_STRING, REPORT(commit), "it was built from"},
    {"dirty", FIELD_BOOL, REPORT(dirty), "with changes of its own", .present = has_commit},
};
SET(tool, struct report, "the tool");

static const struct field origin_list[] = {
    {"name", FIELD_STRING, REPORT(profile_name), "of the run profile"},
    {"digest", FIELD_STRING, REPORT(profile_digest), "of its cells"},
};
SET(origin, struct report, "the profile");

static const struct field host_list[] = {
    {"hostname", FIELD_STRING, AT(struct report_host, hostname), ""},
    {"os", FIELD_STRING, AT(struct report_host, os), ""},
    {"kernel", FIELD_STRING, AT(struct report_host, kernel), ""},
    {"cpu", FIELD_STRING, AT(struct report_host, cpu), ""},
    {"cores", FIELD_UNSIGNED, AT(struct report_host, cores), "that may be used", .special = ""},
    {"physical_cores", FIELD_UNSIGNED, AT(struct report_host, physical_cores),
     "that these are; left out where a virtual machine does not tell", .special = ""},
    {"memory_bytes", FIELD_UNSIGNED, AT(struct report_host, memory_bytes), ""},
    {"governor", FIELD_STRING, AT(struct report_host, governor), "of the CPU's clock"},
    {"load_average", FIELD_DOUBLE, AT(struct report_host, load_average), "of the last minute, at the start"},
};
SET(host, struct report_host, "the host");

static const struct field report_list[] = {
    {"created", FIELD_STRING, REPORT(created), "RFC 3339"},
    {"tool", FIELD_MAP, .offset = 0, .about = "what wrote this", .fields = &tool_fields},
    {"profile", FIELD_MAP, .offset = 0, .about = "what was asked for", .fields = &origin_fields},
    {"host", FIELD_MAP, REPORT(host), "where it ran", .fields = &host_fields},
    {"cells", FIELD_CELLS, .about = "one a run", .fields = &cell_fields, .required = true},
};
const struct field_set report_fields = {"a report", report_list, COUNT(report_list), sizeof(struct report), 0};

void fields_clear_phase(struct report_phase *phase)
{
    fields_clear(&phase_fields, phase);
}

void fields_clear_pass(struct report_pass *pass)
{
    *pass = (struct report_pass){0};
    fields_clear(&pass_fields, pass);
}

bool requested_is_known(const struct report_cell *cell, const char *key)
{
    static const char *const of_models[] = {"batch_size", "context_length", "dtype", "compile", "checkpoint"};
    static const char *const of_cells[] = {"threads",   "seed",       "parallel",     "collective",
                                           "bucket_mb", "grad_dtype", "profile_every"};
    const bool command = cell->requested.command[0] != 0,
               model = !command && cell->requested.collective == COLLECTIVE_NONE;
    /* What has a value, and no meaning. */
    for (size_t i = 0; i < sizeof of_models / sizeof *of_models && !model; i++)
        if (strcmp(of_models[i], key) == 0)
            return false;
    for (size_t i = 0; i < sizeof of_cells / sizeof *of_cells && command; i++)
        if (strcmp(of_cells[i], key) == 0)
            return false;
    for (int i = 0; i < requested_fields.count; i++)
        if (strcmp(requested_fields.fields[i].key, key) == 0)
            return !(cell->absent.requested >> i & 1);
    for (int i = 0; i < model_fields.count; i++)
        if (strcmp(model_fields.fields[i].key, key) == 0)
            return model && !(cell->absent.model >> i & 1);
    return false;
}
