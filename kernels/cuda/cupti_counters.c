#include <stdbool.h> /* cupti_range_profiler.h and its kin lean on what comes before them */
#include <stddef.h>

#include "base/unknown.h"
#include "kernels/cuda/cupti_api.h"
#include "kernels/cuda/cupti_counters.h"
#include "kernels/cuda/cupti_source.h"
#include <cupti_profiler_host.h>
#include <cupti_profiler_target.h>
#include <cupti_range_profiler.h>
#include <cupti_target.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Ranges of one replay; a plan with more nodes takes several, each with its own passes. */
#define RANGES_MAX 2048
#define PASSES_MAX 64 /* far above what any chip needs: a replay that does not end is a fault, not patience */

/* X(field, function): the Range Profiler, in the order of its use. */
#define COUNTER_FUNCTIONS(X)                                                                                           \
    X(initialize, cuptiProfilerInitialize)                                                                             \
    X(deinitialize, cuptiProfilerDeInitialize)                                                                         \
    X(chip_name, cuptiDeviceGetChipName)                                                                               \
    X(host_initialize, cuptiProfilerHostInitialize)                                                                    \
    X(host_deinitialize, cuptiProfilerHostDeinitialize)                                                                \
    X(host_properties, cuptiProfilerHostGetMetricProperties)                                                           \
    X(host_add, cuptiProfilerHostConfigAddMetrics)                                                                     \
    X(host_image_size, cuptiProfilerHostGetConfigImageSize)                                                            \
    X(host_image, cuptiProfilerHostGetConfigImage)                                                                     \
    X(host_passes, cuptiProfilerHostGetNumOfPasses)                                                                    \
    X(host_evaluate, cuptiProfilerHostEvaluateToGpuValues)                                                             \
    X(enable, cuptiRangeProfilerEnable)                                                                                \
    X(disable, cuptiRangeProfilerDisable)                                                                              \
    X(data_size, cuptiRangeProfilerGetCounterDataSize)                                                                 \
    X(data_initialize, cuptiRangeProfilerCounterDataImageInitialize)                                                   \
    X(set_config, cuptiRangeProfilerSetConfig)                                                                         \
    X(start, cuptiRangeProfilerStart)                                                                                  \
    X(stop, cuptiRangeProfilerStop)                                                                                    \
    X(push, cuptiRangeProfilerPushRange)                                                                               \
    X(pop, cuptiRangeProfilerPopRange)                                                                                 \
    X(decode, cuptiRangeProfilerDecodeData)                                                                            \
    X(data_info, cuptiRangeProfilerGetCounterDataInfo)                                                                 \
    X(range_info, cuptiRangeProfilerCounterDataGetRangeInfo)

/* Where a metric's value goes: added to a field, times a factor. */
struct metric {
    const char *name;
    size_t field;
    double factor;
    unsigned precisions; /* bits */
};
#define PRECISION_BIT(precision) (1u << (precision))
#define ALL_PRECISIONS (PRECISION_BIT(PRECISION_COUNT) - 1)
static const struct metric metrics[] = {
    {"gpu__time_duration.sum", offsetof(struct counter_values, gpu_ns), 1, ALL_PRECISIONS},
    {"dram__bytes.sum", offsetof(struct counter_values, dram_bytes), 1, ALL_PRECISIONS},
    {"smsp__sass_thread_inst_executed_op_fadd_pred_on.sum", offsetof(struct counter_values, fp32_flops), 1,
     ALL_PRECISIONS},
    {"smsp__sass_thread_inst_executed_op_fmul_pred_on.sum", offsetof(struct counter_values, fp32_flops), 1,
     ALL_PRECISIONS},
    {"smsp__sass_thread_inst_executed_op_ffma_pred_on.sum", offsetof(struct counter_values, fp32_flops), 2,
     ALL_PRECISIONS},
    {"sm__warps_active.avg.pct_of_peak_sustained_active", offsetof(struct counter_values, occupancy), 0.01,
     ALL_PRECISIONS},
    {"sm__ops_path_tensor_src_bf16_dst_fp32.sum", offsetof(struct counter_values, tensor_flops), 1,
     PRECISION_BIT(PRECISION_BF16)},
    {"sm__ops_path_tensor_src_tf32_dst_fp32.sum", offsetof(struct counter_values, tensor_flops), 1,
     PRECISION_BIT(PRECISION_TF32) | PRECISION_BIT(PRECISION_FP32)}, /* in fp32: that there are none */
};
#define METRICS (sizeof metrics / sizeof *metrics)

/* What the host half works out for a chip: which metrics it has, and the image that schedules them. */
struct schedule {
    CUpti_Profiler_Host_Object *host;
    char chip[32];
    const struct metric *chosen[METRICS];
    const char *names[METRICS];
    size_t count, passes, image_size;
    uint8_t *image;
};

const char *const cupti_counter_names[DEVICE_COUNTERS] = {"dram_bytes", "flops", "occupancy_permille_ns", "gpu_ns"};

struct cupti_counters {
    struct cupti_api library;
    struct counter_api {
#define COUNTER_FIELD(field, function) __typeof__(function) *field;
        COUNTER_FUNCTIONS(COUNTER_FIELD)
#undef COUNTER_FIELD
    } api;
    bool initialized;
    CUcontext context;
    int32_t node_count;
    struct schedule schedule;
    char tier[64], metrics[512];

    /* While collecting. */
    CUpti_RangeProfiler_Object *profiler;
    uint8_t *data;
    size_t data_size;
    int32_t first, last; /* nodes that get ranges in this replay: [first, last) */
    bool in_pass, in_range;
    CUptiResult range_result; /* the first failure of a push or pop */

    struct counter_values *values; /* one a node */
    bool *has_values;
};

/* Parameter structures all begin with their size and a private pointer. */
#define PARAMETERS(type, ...)                                                                                          \
    (type)                                                                                                             \
    {                                                                                                                  \
        .structSize = type##_STRUCT_SIZE, __VA_ARGS__                                                                  \
    }

/* /proc/driver/nvidia/params says whether the driver keeps counters for administrators. */
static bool counters_restricted(void)
{
    char text[4096] = "";
    int file = open("/proc/driver/nvidia/params", O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return false;
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    return length > 0 && strstr(text, "RmProfilingAdminOnly: 1");
}

static bool counters_call(const struct cupti_counters *counters, CUptiResult result, const char *what,
                          struct error *error)
{
    char text[256];
    switch (result) {
    case CUPTI_SUCCESS:
        return true;
    case CUPTI_ERROR_INSUFFICIENT_PRIVILEGES:
    case CUPTI_ERROR_VIRTUALIZED_DEVICE_INSUFFICIENT_PRIVILEGES:
        return error_set(
            error, ERROR_DEVICE,
            "the driver keeps the card's counters for administrators (CUPTI error %d%s): run as root or with "
            "CAP_SYS_ADMIN, or load the nvidia module with NVreg_RestrictProfilingToAdminUsers=0",
            (int)result, counters_restricted() ? ", RmProfilingAdminOnly is 1" : "");
    case CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED:
    case CUPTI_ERROR_HARDWARE_BUSY:
        return error_set(error, ERROR_DEVICE,
                         "another profiler holds the card's counters (CUPTI error %d): end it and run again",
                         (int)result);
    default:
        return error_set(error, ERROR_DEVICE, "%s failed: %s", what,
                         cupti_result_text(&counters->library, result, text, sizeof text));
    }
}

static bool functions_load(struct cupti_counters *counters, struct error *error)
{
    if (!cupti_api_load(&counters->library, error))
        return false;
#define COUNTER_LOAD(field, function)                                                                                  \
    counters->api.field = (__typeof__(counters->api.field))cupti_symbol(&counters->library, #function);                \
    if (!counters->api.field)                                                                                          \
        return error_set(error, ERROR_DEVICE, "%s has no " #function ": no counters", counters->library.path);
    COUNTER_FUNCTIONS(COUNTER_LOAD)
#undef COUNTER_LOAD
    return true;
}

/* ---- the host's half: metrics, passes, values ---- */

static bool metric_exists(const struct cupti_counters *counters, const char *name)
{
    CUpti_Profiler_Host_GetMetricProperties_Params properties = PARAMETERS(
        CUpti_Profiler_Host_GetMetricProperties_Params, .pHostObject = counters->schedule.host, .pMetricName = name);
    return counters->api.host_properties(&properties) == CUPTI_SUCCESS;
}

static void schedule_describe(struct cupti_counters *counters)
{
    const struct schedule *schedule = &counters->schedule;
    size_t used = 0;
    snprintf(counters->tier, sizeof counters->tier, "%zu passes on %.40s", schedule->passes, schedule->chip);
    for (size_t i = 0; i < schedule->count && used < sizeof counters->metrics; i++)
        used += (size_t)snprintf(counters->metrics + used, sizeof counters->metrics - used, "%s%s", i ? ", " : "",
                                 schedule->names[i]);
}

/* Has the chip every metric that adds to a field? A sum of only some of them would pass for the whole. */
static bool field_is_whole(const struct cupti_counters *counters, size_t field, enum precision precision)
{
    for (size_t i = 0; i < METRICS; i++)
        if (metrics[i].field == field && metrics[i].precisions & PRECISION_BIT(precision) &&
            !metric_exists(counters, metrics[i].name))
            return false;
    return true;
}

/* `chip` as CUPTI names it, for instance GH100. */
static bool schedule_make(struct cupti_counters *counters, const char *chip, enum precision precision,
                          struct error *error)
{
    struct schedule *schedule = &counters->schedule;
    const struct counter_api *api = &counters->api;
    snprintf(schedule->chip, sizeof schedule->chip, "%s", chip);
    CUpti_Profiler_Host_Initialize_Params host =
        PARAMETERS(CUpti_Profiler_Host_Initialize_Params, .profilerType = CUPTI_PROFILER_TYPE_RANGE_PROFILER,
                   .pChipName = schedule->chip);
    if (!counters_call(counters, api->host_initialize(&host), "finding the chip's counters", error))
        return error_prefix(error, "%s", chip);
    schedule->host = host.pHostObject;

    for (size_t i = 0; i < METRICS; i++)
        if (metrics[i].precisions & PRECISION_BIT(precision) && field_is_whole(counters, metrics[i].field, precision)) {
            schedule->chosen[schedule->count] = &metrics[i];
            schedule->names[schedule->count++] = metrics[i].name;
        }
    if (!schedule->count)
        return error_set(error, ERROR_DEVICE, "CUPTI knows none of the counters on %s", chip);

    CUpti_Profiler_Host_ConfigAddMetrics_Params add =
        PARAMETERS(CUpti_Profiler_Host_ConfigAddMetrics_Params, .pHostObject = schedule->host,
                   .ppMetricNames = schedule->names, .numMetrics = schedule->count);
    CUpti_Profiler_Host_GetConfigImageSize_Params size =
        PARAMETERS(CUpti_Profiler_Host_GetConfigImageSize_Params, .pHostObject = schedule->host);
    if (!counters_call(counters, api->host_add(&add), "choosing the counters", error) ||
        !counters_call(counters, api->host_image_size(&size), "scheduling the counters", error))
        return false;
    schedule->image_size = size.configImageSize;
    schedule->image = malloc(schedule->image_size);
    if (!schedule->image)
        return error_set(error, ERROR_MEMORY, "no memory for the counters' schedule");

    CUpti_Profiler_Host_GetConfigImage_Params image =
        PARAMETERS(CUpti_Profiler_Host_GetConfigImage_Params, .pHostObject = schedule->host,
                   .configImageSize = schedule->image_size, .pConfigImage = schedule->image);
    CUpti_Profiler_Host_GetNumOfPasses_Params passes =
        PARAMETERS(CUpti_Profiler_Host_GetNumOfPasses_Params, .configImageSize = schedule->image_size,
                   .pConfigImage = schedule->image);
    if (!counters_call(counters, api->host_image(&image), "scheduling the counters", error) ||
        !counters_call(counters, api->host_passes(&passes), "counting the counters' passes", error))
        return false;
    schedule->passes = passes.numOfPasses;
    schedule_describe(counters);
    return true;
}

/* A field's first metric sets it, the others add to it; one that is not a number leaves the sum unknown. */
static void values_add(struct counter_values *values, const struct schedule *schedule, size_t index, double value)
{
    const struct metric *metric = schedule->chosen[index];
    double *field = (double *)((char *)values + metric->field);
    bool first = true;
    for (size_t i = 0; i < index; i++)
        first = first && schedule->chosen[i]->field != metric->field;
    *field = (first ? 0 : *field) + value * metric->factor;
}

/* Reads the values of every range that was decoded; a range's name is its node's number. */
static bool values_read(struct cupti_counters *counters, struct error *error)
{
    const struct schedule *schedule = &counters->schedule;
    CUpti_RangeProfiler_GetCounterDataInfo_Params info =
        PARAMETERS(CUpti_RangeProfiler_GetCounterDataInfo_Params, .pCounterDataImage = counters->data,
                   .counterDataImageSize = counters->data_size);
    if (!counters_call(counters, counters->api.data_info(&info), "reading the counters", error))
        return false;
    for (size_t range = 0; range < info.numTotalRanges; range++) {
        double numbers[METRICS];
        CUpti_RangeProfiler_CounterData_GetRangeInfo_Params name =
            PARAMETERS(CUpti_RangeProfiler_CounterData_GetRangeInfo_Params, .pCounterDataImage = counters->data,
                       .counterDataImageSize = counters->data_size, .rangeIndex = range, .rangeDelimiter = "/");
        CUpti_Profiler_Host_EvaluateToGpuValues_Params evaluate = PARAMETERS(
            CUpti_Profiler_Host_EvaluateToGpuValues_Params, .pHostObject = schedule->host,
            .pCounterDataImage = counters->data, .counterDataImageSize = counters->data_size, .rangeIndex = range,
            .ppMetricNames = (const char **)schedule->names, .numMetrics = schedule->count, .pMetricValues = numbers);
        if (!counters_call(counters, counters->api.range_info(&name), "reading a range's name", error) ||
            !counters_call(counters, counters->api.host_evaluate(&evaluate), "evaluating the counters", error))
            return false;
        long node = name.rangeName ? strtol(name.rangeName, NULL, 10) : -1;
        if (node < 0 || node >= counters->node_count)
            return error_set(error, ERROR_INTERNAL, "CUPTI gave back a range \"%s\" that was never pushed",
                             name.rangeName ? name.rangeName : "");
        struct counter_values *values = &counters->values[node];
        *values =
            (struct counter_values){UNKNOWN_DOUBLE, UNKNOWN_DOUBLE, UNKNOWN_DOUBLE, UNKNOWN_DOUBLE, UNKNOWN_DOUBLE};
        for (size_t i = 0; i < schedule->count; i++)
            values_add(values, schedule, i, numbers[i]);
        counters->has_values[node] = true;
    }
    return true;
}

/* ---- the device's half: ranges and passes ---- */

void cupti_counters_push(struct cupti_counters *counters, int32_t node)
{
    if (!counters || !counters->in_pass || node < counters->first || node >= counters->last)
        return;
    char name[16];
    snprintf(name, sizeof name, "%d", (int)node);
    CUpti_RangeProfiler_PushRange_Params push = PARAMETERS(
        CUpti_RangeProfiler_PushRange_Params, .pRangeProfilerObject = counters->profiler, .pRangeName = name);
    CUptiResult result = counters->api.push(&push);
    counters->in_range = result == CUPTI_SUCCESS;
    if (counters->range_result == CUPTI_SUCCESS)
        counters->range_result = result;
}

void cupti_counters_pop(struct cupti_counters *counters)
{
    if (!counters || !counters->in_range)
        return;
    counters->in_range = false;
    CUpti_RangeProfiler_PopRange_Params pop =
        PARAMETERS(CUpti_RangeProfiler_PopRange_Params, .pRangeProfilerObject = counters->profiler);
    CUptiResult result = counters->api.pop(&pop);
    if (counters->range_result == CUPTI_SUCCESS)
        counters->range_result = result;
}

/* The counter data of one replay: sized for its ranges, empty. */
static bool data_make(struct cupti_counters *counters, struct error *error)
{
    size_t ranges = (size_t)(counters->last - counters->first);
    CUpti_RangeProfiler_GetCounterDataSize_Params size =
        PARAMETERS(CUpti_RangeProfiler_GetCounterDataSize_Params, .pRangeProfilerObject = counters->profiler,
                   .pMetricNames = (const char **)counters->schedule.names, .numMetrics = counters->schedule.count,
                   .maxNumOfRanges = ranges, .maxNumRangeTreeNodes = (uint32_t)ranges);
    if (!counters_call(counters, counters->api.data_size(&size), "sizing the counter data", error))
        return false;
    free(counters->data);
    counters->data_size = size.counterDataSize;
    counters->data = calloc(1, counters->data_size);
    if (!counters->data)
        return error_set(error, ERROR_MEMORY, "no memory for %zu bytes of counter data", counters->data_size);
    CUpti_RangeProfiler_CounterDataImage_Initialize_Params initialize =
        PARAMETERS(CUpti_RangeProfiler_CounterDataImage_Initialize_Params, .pRangeProfilerObject = counters->profiler,
                   .counterDataSize = counters->data_size, .pCounterData = counters->data);
    CUpti_RangeProfiler_SetConfig_Params config =
        PARAMETERS(CUpti_RangeProfiler_SetConfig_Params, .pRangeProfilerObject = counters->profiler,
                   .configSize = counters->schedule.image_size, .pConfig = counters->schedule.image,
                   .counterDataImageSize = counters->data_size, .pCounterDataImage = counters->data,
                   .range = CUPTI_UserRange, .replayMode = CUPTI_UserReplay, .maxRangesPerPass = ranges,
                   .numNestingLevels = 1, .minNestingLevel = 1, .passIndex = 0, .targetNestingLevel = 1);
    return counters_call(counters, counters->api.data_initialize(&initialize), "clearing the counter data", error) &&
           counters_call(counters, counters->api.set_config(&config), "configuring the counters", error);
}

/* One pass over the step. `all` says whether CUPTI has what it needs. */
static bool pass_run(struct cupti_counters *counters, bool (*step)(void *context, struct error *error), void *context,
                     bool *all, struct error *error)
{
    CUpti_RangeProfiler_Start_Params start =
        PARAMETERS(CUpti_RangeProfiler_Start_Params, .pRangeProfilerObject = counters->profiler);
    CUpti_RangeProfiler_Stop_Params stop =
        PARAMETERS(CUpti_RangeProfiler_Stop_Params, .pRangeProfilerObject = counters->profiler);
    if (!counters_call(counters, counters->api.start(&start), "starting a counter pass", error))
        return false;
    counters->in_pass = true;
    counters->range_result = CUPTI_SUCCESS;
    bool ran = step(context, error);
    cupti_counters_pop(counters); /* a step that failed may have left its range open */
    counters->in_pass = false;
    CUptiResult stopped = counters->api.stop(&stop);
    *all = stop.isAllPassSubmitted;
    return ran && counters_call(counters, counters->range_result, "marking a node's range", error) &&
           counters_call(counters, stopped, "ending a counter pass", error);
}

static bool replay_run(struct cupti_counters *counters, bool (*step)(void *context, struct error *error), void *context,
                       struct error *error)
{
    bool all = false;
    if (!data_make(counters, error))
        return false;
    for (int pass = 0; pass < PASSES_MAX && !all; pass++)
        if (!pass_run(counters, step, context, &all, error))
            return false;
    if (!all)
        return error_set(error, ERROR_DEVICE, "the counters were not complete after %d passes", PASSES_MAX);

    CUpti_RangeProfiler_DecodeData_Params decode =
        PARAMETERS(CUpti_RangeProfiler_DecodeData_Params, .pRangeProfilerObject = counters->profiler);
    if (!counters_call(counters, counters->api.decode(&decode), "decoding the counters", error))
        return false;
    if (decode.numOfRangeDropped)
        return error_set(error, ERROR_DEVICE, "CUPTI dropped %zu of the counters' ranges", decode.numOfRangeDropped);
    return values_read(counters, error);
}

bool cupti_counters_collect(struct cupti_counters *counters, bool (*step)(void *context, struct error *error),
                            void *context, struct error *error)
{
    memset(counters->has_values, 0, sizeof *counters->has_values * (size_t)counters->node_count);
    bool done = true;
    for (int32_t first = 0; done && first < counters->node_count; first += RANGES_MAX) {
        /* Enabled anew for each replay and never between: an enabled profiler slows every launch of its context. */
        CUpti_RangeProfiler_Enable_Params enable =
            PARAMETERS(CUpti_RangeProfiler_Enable_Params, .ctx = counters->context);
        if (!counters_call(counters, counters->api.enable(&enable), "taking hold of the card's counters", error))
            return false;
        counters->profiler = enable.pRangeProfilerObject;
        counters->first = first;
        counters->last = first + RANGES_MAX < counters->node_count ? first + RANGES_MAX : counters->node_count;
        done = replay_run(counters, step, context, error);

        CUpti_RangeProfiler_Disable_Params disable =
            PARAMETERS(CUpti_RangeProfiler_Disable_Params, .pRangeProfilerObject = counters->profiler);
        CUptiResult disabled = counters->api.disable(&disable);
        counters->profiler = NULL;
        done = done && counters_call(counters, disabled, "letting go of the card's counters", error);
    }
    free(counters->data);
    counters->data = NULL;
    return done;
}

/* ---- opening, closing, handing over ---- */

static void schedule_free(struct cupti_counters *counters)
{
    if (counters->schedule.host) {
        CUpti_Profiler_Host_Deinitialize_Params deinitialize =
            PARAMETERS(CUpti_Profiler_Host_Deinitialize_Params, .pHostObject = counters->schedule.host);
        counters->api.host_deinitialize(&deinitialize);
    }
    free(counters->schedule.image);
}

void cupti_counters_close(struct cupti_counters *counters)
{
    if (!counters)
        return;
    schedule_free(counters);
    if (counters->initialized) {
        CUpti_Profiler_DeInitialize_Params deinitialize = {.structSize =
                                                               CUpti_Profiler_DeInitialize_Params_STRUCT_SIZE};
        counters->api.deinitialize(&deinitialize);
    }
    free(counters->values);
    free(counters->has_values);
    free(counters);
}

static bool counters_start(struct cupti_counters *counters, int device, enum precision precision, struct error *error)
{
    CUpti_Profiler_Initialize_Params initialize = {.structSize = CUpti_Profiler_Initialize_Params_STRUCT_SIZE};
    CUpti_Device_GetChipName_Params chip = PARAMETERS(CUpti_Device_GetChipName_Params, .deviceIndex = (size_t)device);
    if (!functions_load(counters, error) ||
        !counters_call(counters, counters->api.initialize(&initialize), "starting CUPTI's profiler", error))
        return false;
    counters->initialized = true;
    return counters_call(counters, counters->api.chip_name(&chip), "asking CUPTI for the chip's name", error) &&
           schedule_make(counters, chip.pChipName, precision, error);
}

struct cupti_counters *cupti_counters_open(CUcontext context, int device, int32_t node_count, enum precision precision,
                                           struct error *error)
{
    struct cupti_counters *counters = calloc(1, sizeof *counters);
    if (!counters)
        goto no_memory;
    counters->context = context;
    counters->node_count = node_count;
    counters->values = calloc((size_t)node_count, sizeof *counters->values);
    counters->has_values = calloc((size_t)node_count, sizeof *counters->has_values);
    if (!counters->values || !counters->has_values)
        goto no_memory;
    if (counters_start(counters, device, precision, error))
        return counters;
    cupti_counters_close(counters);
    return NULL;

no_memory:
    cupti_counters_close(counters);
    error_set(error, ERROR_MEMORY, "no memory for the counters of %d nodes", (int)node_count);
    return NULL;
}

bool cupti_counters_values(const struct cupti_counters *counters, int32_t node, struct counter_values *values)
{
    if (!counters || node < 0 || node >= counters->node_count || !counters->has_values[node])
        return false;
    *values = counters->values[node];
    return true;
}

static uint64_t counter_round(double value)
{
    return is_known(value) && value >= 0 ? (uint64_t)(value + 0.5) : UNKNOWN_U64;
}

void cupti_counters_deliver(const struct cupti_counters *counters, const struct cupti_source *source,
                            const struct probe *probe, uint64_t step_id)
{
    for (int32_t node = 0; counters && node < counters->node_count; node++) {
        struct counter_values values;
        uint32_t name;
        if (!cupti_counters_values(counters, node, &values) || !cupti_source_kernel(source, node, &name))
            continue;
        struct kernel_event event = {
            .start = counter_round(values.dram_bytes),
            .end = counter_round(values.fp32_flops + values.tensor_flops),
            .launch = counter_round(values.occupancy * 1000 * values.gpu_ns),
            .bytes = counter_round(values.gpu_ns),
            .node = node,
            .name = name,
            .kind = EVENT_COUNTERS,
        };
        probe->event(probe->context, step_id, &event);
    }
}

const char *cupti_counters_tier(const struct cupti_counters *counters)
{
    return counters->tier;
}

const char *cupti_counters_metrics(const struct cupti_counters *counters)
{
    return counters->metrics;
}

bool cupti_counters_plan(const char *chip, enum precision precision, size_t *passes, char *named, size_t size,
                         struct error *error)
{
    struct cupti_counters *counters = calloc(1, sizeof *counters);
    if (!counters)
        return error_set(error, ERROR_MEMORY, "no memory for the counters' schedule");
    bool done = functions_load(counters, error) && schedule_make(counters, chip, precision, error);
    if (done) {
        *passes = counters->schedule.passes;
        snprintf(named, size, "%s", counters->metrics);
    }
    cupti_counters_close(counters);
    return done;
}
