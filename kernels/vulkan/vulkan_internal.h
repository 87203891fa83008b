/* Inside the Vulkan device: what the files of this folder share.
 *
 * prepare lowers the plan to a list of launches, each a shader with constant push constants and specialisation, in the order of the
 * plan's nodes. A launch becomes one dispatch, a product split along k two. Eager records and submits them anew each step, compile
 * records each usual range of phases once. Every launch knows its plan node. */
#pragma once
#include "kernels/device.h"
#include "kernels/vulkan/vulkan_api.h"
#include <stdint.h>

#define VULKAN_NVIDIA 0x10deu /* the vendor's number */

/* What a physical device has and how it is to be treated. */
struct vulkan_traits {
    VkPhysicalDeviceProperties properties;
    char driver[128]; /* "NVIDIA 580.159.04" */
    char kind[24];    /* "discrete GPU", "software" */
    bool software;
    uint32_t subgroup, family; /* its subgroups' size; the queue family that is used */
    uint32_t stamp_bits;       /* of a timestamp; 0: none */
    uint64_t memory_bytes, free_bytes, largest_allocation;
    uint32_t heap;
    bool addresses, arithmetic, narrow; /* buffer addresses, subgroup sums, 16-bit storage */
    bool budget, calibrated, portability;
    bool counters;              /* VK_KHR_performance_query, with all that reading it takes */
    unsigned matrix_extensions; /* of VULKAN_MATRIX_…; once judged, those that are used */
    bool matrix_bf16;           /* a subgroup's matrices 16 × 16 × 16 of bf16, summed in fp32 */
    char matrices[64];
    char why_not[160]; /* "" or why steptop cannot use it */
};

struct vulkan_buffer {
    VkBuffer buffer;
    VkDeviceMemory memory;
    uint64_t address, bytes;
    void *mapped; /* host-visible ones */
};

struct device {
    struct vulkan_api api;
    struct vulkan_traits traits;
    int index;
    char name[DEVICE_NAME_MAX];
    VkPhysicalDevice physical;
    VkDevice handle;
    VkQueue queue;
    VkCommandPool pool;
    VkPipelineLayout layout; /* of every shader: 128 bytes of push constants */
    VkFence fence;
    VkCommandBuffer transfer;
    struct vulkan_buffer staging;
};

/* The first `max` physical devices that are worth a name, and how many there are. */
#define VULKAN_MAX_DEVICES 16
bool vulkan_physical_devices(struct vulkan_api *api, VkPhysicalDevice *devices, int *count, struct error *error);
void vulkan_traits_fill(const struct vulkan_api *api, VkPhysicalDevice physical, struct vulkan_traits *traits);

/* Cooperative matrices: which extensions there are, whether what our kernels need is in them, and what a device enables. */
#define VULKAN_MATRIX_SUBGROUPS 1u
#define VULKAN_MATRIX_BF16 2u
struct vulkan_matrix_features {
    VkPhysicalDeviceCooperativeMatrixFeaturesKHR subgroups;
    VkPhysicalDeviceShaderBfloat16FeaturesKHR bf16;
};
unsigned vulkan_matrix_extension(const char *name); /* its bit, 0 for others */
uint32_t vulkan_matrix_names(unsigned extensions, const char **names);
/* Empties `features` and links those of these extensions; the chain's head, or NULL. */
void *vulkan_matrix_chain(struct vulkan_matrix_features *features, unsigned extensions);
void vulkan_matrices_judge(const struct vulkan_api *api, VkPhysicalDevice physical,
                           const struct vulkan_matrix_features *features,
                           const VkPhysicalDeviceVulkan12Features *features12, struct vulkan_traits *traits);
void vulkan_matrices_enable(struct vulkan_matrix_features *features, const struct vulkan_traits *traits);

/* Memory. `visible`: mapped, coherent with the host. */
bool vulkan_buffer_make(struct device *device, uint64_t bytes, bool visible, struct vulkan_buffer *out,
                        struct error *error);
void vulkan_buffer_release(struct device *device, struct vulkan_buffer *buffer);
/* Free bytes of the device's largest local heap, now; UNKNOWN_U64 where the driver does not tell. */
uint64_t vulkan_free_bytes(const struct device *device);
/* Begins the device's own command buffer; ends, submits and waits for it. */
bool vulkan_begin(struct device *device, struct error *error);
bool vulkan_finish(struct device *device, struct error *error);
/* Submits and, with `wait`, waits for everything that was submitted. */
bool vulkan_submit(struct device *device, VkCommandBuffer commands, bool wait, struct error *error);
/* `rows` rows of `width` bytes, `pitch` apart in the buffer and packed at the host. */
bool vulkan_copy(struct device *device, const struct vulkan_buffer *buffer, uint64_t offset, uint64_t rows,
                 uint64_t width, uint64_t pitch, void *host, bool write, struct error *error);
/* Everything written before is seen by everything after. */
void vulkan_barrier(const struct device *device, VkCommandBuffer commands);

/* Shaders: SPIR-V inside the plugin, made from shaders/ at build time. */
struct vulkan_shader_code {
    const char *name; /* "norm.comp", "norm.comp narrow" */
    const uint32_t *words;
    uint32_t bytes;
};
extern const struct vulkan_shader_code vulkan_shaders[];
extern const int vulkan_shader_count;

/* Constants by id: sizes 0 … 11, variants 12 … 18, types 19, invocations of a workgroup 20 (shaders/common.glsl). */
#define VULKAN_SPECIALS 21
#define VULKAN_VARIANT 12
#define VULKAN_TYPES 19
#define VULKAN_THREADS 20
#define VULKAN_SIZES 8 /* so many sizes may be constants */

struct vulkan_pipeline {
    const char *shader; /* "norm.comp" */
    uint32_t special[VULKAN_SPECIALS];
    bool optional; /* the driver may refuse it: its candidate then falls out */
    bool refused;
    VkPipeline handle;
};

struct vulkan_pipelines {
    struct vulkan_pipeline *items;
    int32_t count, capacity;
    VkPipelineCache cache;
    bool from_cache; /* it was filled from disk */
    bool overfull;   /* what is on disk had grown too large, and begins anew */
};
/* Index of the pipeline of this shader and these constants, made ready later. */
int32_t vulkan_pipeline_find(struct vulkan_pipelines *pipelines, const char *shader, const uint32_t *special);
/* Opens the cache (folder NULL: an empty one); builds all that are not built, of which the optional ones may fail; writes the cache
 * where it grew, and tells how many files of others made room for it. */
bool vulkan_pipelines_open(struct device *device, struct vulkan_pipelines *pipelines, const char *cache_folder,
                           struct error *error);
bool vulkan_pipelines_build(struct device *device, struct vulkan_pipelines *pipelines, struct error *error);
size_t vulkan_pipelines_keep(struct device *device, struct vulkan_pipelines *pipelines, const char *cache_folder);
void vulkan_pipelines_release(struct device *device, struct vulkan_pipelines *pipelines);

/* The push constants of every shader. */
struct vulkan_push {
    union {
        uint64_t address; /* tagged until memory is there */
        uint32_t pair[2];
    } a[8];
    uint32_t d[16];
};

/* Until memory is allocated addresses are offsets with a tag that says in what; 0 is no address. */
#define VULKAN_IN_ARENA (UINT64_C(1) << 62)
#define VULKAN_IN_WORKSPACE (UINT64_C(1) << 63)
#define VULKAN_IN_RATES (UINT64_C(1) << 61)
#define VULKAN_OFFSET(address) ((address) & ~(VULKAN_IN_ARENA | VULKAN_IN_WORKSPACE | VULKAN_IN_RATES))

struct vulkan_launch {
    int32_t node;
    int32_t pipeline;  /* -1: a product, whose candidate is chosen later */
    int32_t gemm;      /* index in program.gemms, or -1 */
    bool scratch;      /* uses the workspace that other nodes use, too */
    uint32_t pointers; /* bit i: a[i] is an address */
    const char *name;
    uint32_t grid[3];
    uint32_t special[VULKAN_SPECIALS];
    const char *shader;
    struct vulkan_push push;
};

/* d (m, n) = alpha · op(a) · op(b); see shaders/gemm.comp. `batch` × `heads` of them. Equal shapes have equal bytes. */
struct vulkan_gemm_shape {
    int64_t m, n, k, lda, ldb, ldd;
    int64_t batch, heads;
    uint8_t transpose_a, transpose_b, type_a, type_b, type_d, vector_a, vector_b, vector_d;
    uint8_t eights, pad[7]; /* a and b may be read in eights */
};

#define VULKAN_MAX_CANDIDATES 64
struct vulkan_candidate {
    int tile;                       /* index in the table of tiles */
    int splits;                     /* along k */
    int32_t pipeline, sum_pipeline; /* -1: none */
    double us;                      /* NaN: not timed, or it did not run */
};
struct vulkan_gemm {
    struct vulkan_gemm_shape shape;
    struct vulkan_candidate candidates[VULKAN_MAX_CANDIDATES];
    int candidate_count, chosen;
    int tried;
    double best_us; /* NaN when not timed */
    bool from_cache;
    char name[64];
};
struct vulkan_gemm_set {
    struct vulkan_gemm *items;
    int32_t count, capacity;
    uint64_t parts_bytes; /* of workspace, for the splits */
};

/* What is recorded: a dispatch with its node and name, which the profiler's stamps belong to. */
struct vulkan_dispatch {
    int32_t node;
    uint32_t name;
};

#define VULKAN_MAX_PARTS 64
struct vulkan_recording {
    unsigned phases;
    bool profiled;
    VkCommandBuffer parts[VULKAN_MAX_PARTS]; /* submitted one after the other */
    int part_count;
    struct vulkan_dispatch *dispatches;
    int32_t dispatch_count, barriers;
};
#define VULKAN_MAX_RECORDINGS 6
/* Counters by VK_KHR_performance_query; `pool` is NULL where nothing is counted. */
#define VULKAN_COUNTER_NAME 32
struct vulkan_counters {
    VkQueryPool pool; /* a query a dispatch */
    uint32_t count;   /* of counters, at most DEVICE_COUNTERS */
    uint32_t indices[DEVICE_COUNTERS];
    VkPerformanceCounterStorageKHR storages[DEVICE_COUNTERS];
    char names[DEVICE_COUNTERS][VULKAN_COUNTER_NAME];
    VkPerformanceCounterResultKHR *results; /* `count` a dispatch */
    struct vulkan_recording recording;
    unsigned done[VULKAN_MAX_RECORDINGS]; /* sets of phases that were counted */
    int done_count;
};
#define VULKAN_MAX_OPTIMIZERS 8
#define VULKAN_RATES_BYTES 256

struct program {
    struct device *device;
    size_t choices_dropped; /* answers and pipelines of the cache that made room */
    size_t choices_refused; /* answers that cannot be */
    const struct plan *plan;
    const struct prepare_options *preparing; /* while it is made ready */
    struct arena memory;                     /* names and notes */
    bool compile;
    struct vulkan_buffer arena, workspace, rates;
    uint64_t scratch_bytes;
    struct vulkan_launch *launches;
    int32_t launch_count, launch_capacity;
    int32_t phase_launch[PHASE_COUNT + 1];
    int32_t most_dispatches;
    struct vulkan_pipelines pipelines;
    struct vulkan_gemm_set gemms;
    struct vulkan_recording recordings[VULKAN_MAX_RECORDINGS];
    int recording_count;
    struct vulkan_recording eager; /* recorded anew each step */
    struct vulkan_counters counters;
    VkCommandPool eager_pool;
    VkQueryPool stamps; /* PHASE_COUNT + 1 boundaries, then a pair a dispatch */
    uint32_t stamp_count;
    uint64_t *stamp_values;
    struct adamw optimizers[VULKAN_MAX_OPTIMIZERS];
    int optimizer_count;
    uint64_t optimizer_step;
    uint32_t *launch_names; /* the probe's ids */
    int32_t renewal_pipeline, fill_pipeline;
    uint32_t correlation;
    double worst_deviation_ns; /* of the clocks' calibrations; NaN: none yet */
    double worst_drift_ns;
    bool clock_noted;
};

/* An operand as a kernel sees it. */
struct operand {
    uint64_t address; /* tagged offset; 0 where absent */
    enum dtype dtype;
    int64_t elements, row_stride;
};

struct lowering {
    struct program *program;
    const struct plan *plan;
    int32_t node;
    uint64_t scratch_used, scratch_peak;
    struct error *error;
    bool failed;
};

bool vulkan_lower(struct program *program, struct error *error);
bool vulkan_has_lowering(enum op op);

/* For lower_*.c. */
struct operand lower_tensor(const struct lowering *lowering, int32_t tensor);
struct operand lower_input(const struct lowering *lowering, int i);
struct operand lower_output(const struct lowering *lowering, int i);
struct operand lower_scratch(struct lowering *lowering, int64_t elements, int64_t row_stride); /* fp32 */
struct operand operand_columns(struct operand operand, int64_t first);
struct vulkan_launch *lower_launch(struct lowering *lowering, const char *shader, const char *name, unsigned threads);
void lower_groups(struct lowering *lowering, struct vulkan_launch *launch, uint64_t groups);
void lower_operand(struct vulkan_launch *launch, int slot, struct operand operand); /* with its type's bit */
void lower_size(struct lowering *lowering, struct vulkan_launch *launch, int slot, int64_t value);
void lower_variant(struct vulkan_launch *launch, int slot, int64_t value);
void lower_float(struct vulkan_launch *launch, int slot, float value);
bool lower_fail(struct lowering *lowering, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* May `columns` be read in fours, at these addresses and strides? */
bool lower_fours(int64_t columns, const struct operand *operands, int count);
static inline uint64_t lower_blocks(int64_t items, int64_t each)
{
    return (uint64_t)((items + each - 1) / each);
}

void lower_elementwise(struct lowering *lowering, const struct node *node);
void lower_norm(struct lowering *lowering, const struct node *node);
void lower_embedding(struct lowering *lowering, const struct node *node);
void lower_loss(struct lowering *lowering, const struct node *node);
void lower_optimizer(struct lowering *lowering, const struct node *node);
void lower_linear(struct lowering *lowering, const struct node *node);
void lower_rope(struct lowering *lowering, const struct node *node);
void lower_attention_product(struct lowering *lowering, const struct node *node);
void lower_softmax(struct lowering *lowering, const struct node *node);
void lower_attention(struct lowering *lowering, const struct node *node);

/* Products. `find` registers the shape and its candidates' pipelines; `choose` times the candidates (compile), or takes the
 * first that fits. `record` appends the dispatches of one launch, a barrier between the product and the sum of its splits. */
int32_t vulkan_gemm_find(struct program *program, const struct vulkan_gemm_shape *shape);
bool vulkan_gemm_choose(struct program *program, const char *cache_folder, bool measure, struct error *error);
void vulkan_gemm_dispatch(const struct program *program, VkCommandBuffer commands, const struct vulkan_launch *launch,
                          const struct vulkan_candidate *candidate, int part);
int vulkan_gemm_dispatches(const struct vulkan_candidate *candidate);
/* "gemm nt 128x128x32 matrices 64x64": what a candidate is called. */
void vulkan_gemm_name(const struct vulkan_gemm_shape *shape, const struct vulkan_candidate *candidate, char *name,
                      size_t size);
/* A product of packed matrices, and a program whose only work it is, every candidate timed on random values; `plan` has no nodes, and
 * memory for the operands. */
struct vulkan_gemm_shape vulkan_product_shape(int64_t m, int64_t n, int64_t k, bool transpose_a, bool transpose_b,
                                              enum precision precision);
struct program *vulkan_product_measure(struct device *device, const struct plan *plan,
                                       const struct vulkan_gemm_shape *shape, struct error *error);

/* Recording. Stamps are written in profiled recordings alone, but for the phases' boundaries; queries in counted ones. `submit`: each
 * part is submitted as soon as it is recorded. */
enum recording_kind { RECORD_TIMED, RECORD_PROFILED, RECORD_COUNTED };
bool vulkan_record(struct program *program, unsigned phases, enum recording_kind kind, bool submit,
                   struct vulkan_recording *recording, struct error *error);
void vulkan_dispatch(const struct program *program, VkCommandBuffer commands, int32_t pipeline, const uint32_t *grid,
                     const struct vulkan_push *push);

/* The device's clock against CLOCK_MONOTONIC: `ticks` and `host` were the same moment, give or take deviation_ns. */
struct vulkan_clock {
    uint64_t ticks, host;
    double deviation_ns;
};
bool vulkan_clock_read(struct device *device, VkQueryPool stamps, struct vulkan_clock *clock, struct error *error);
uint64_t vulkan_clock_convert(const struct device *device, const struct vulkan_clock *clock, uint64_t ticks);

/* Counters were required: ERROR_UNSUPPORTED where there are none. `once`: after a profiled step its phases are run again, without the
 * optimizer's, the first time they come; each dispatch's values go to the probe. */
bool vulkan_counters_open(struct program *program, const struct probe *probe, struct error *error);
void vulkan_counters_once(struct program *program, unsigned phases, uint64_t step_id, const struct probe *probe);
void vulkan_counters_release(struct program *program);

int32_t vulkan_fill_pipeline(struct program *program);
bool vulkan_fill_random(struct program *program, struct error *error); /* the arena, by that pipeline */

/* A kernel that copies `bytes`, a multiple of 16, `pieces` fours of floats an invocation; into the device's own command buffer. */
int32_t vulkan_copy_pipeline(struct program *program, uint32_t threads, uint32_t pieces);
void vulkan_copy_dispatch(const struct program *program, int32_t pipeline, uint64_t from, uint64_t to, uint64_t bytes);

/* Seconds of a copy of half of the program's arena to its other half, in each of the ways that there are: the least of what fits into the
 * budget, in turns; NaN for a way that the device cannot go. */
#define VULKAN_COPY_WAYS 6
bool vulkan_copy_times(struct program *program, int budget_ms, double *seconds, struct error *error);
const char *vulkan_copy_way_name(int way);

bool vulkan_supports(const struct device *device, enum op op, enum precision precision, char *why, size_t why_size);
struct program *vulkan_prepare(struct device *device, const struct plan *plan, const struct prepare_options *options,
                               struct prepare_report *report, struct error *error);
void vulkan_release(struct program *program);
bool vulkan_run(struct program *program, unsigned phases, uint64_t step_id, const struct probe *probe,
                struct step_times *times, struct error *error);
bool vulkan_write(struct program *program, int32_t tensor, const void *bytes, struct error *error);
bool vulkan_read(struct program *program, int32_t tensor, void *bytes, struct error *error);
bool vulkan_measure_ceilings(struct device *device, enum precision precision, int budget_ms, double *flops_per_s,
                             double *bytes_per_s, struct error *error);
