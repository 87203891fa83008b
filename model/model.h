/* The model family of CS336 assignment 2 and the plan of its training step. Names are those of the reference state dict. */
#pragma once
#include "base/error.h"
#include "kernels/device.h"
#include "kernels/plan.h"
#include <stdbool.h>
#include <stdint.h>

#define MODEL_NAME_MAX 48

enum model_kind { MODEL_LM, MODEL_ATTENTION }; /* attention: q, k, v, scores, softmax, values alone (handout 4.1) */

struct model_config {
    char name[MODEL_NAME_MAX]; /* "S", "tiny", or the user's own */
    char preset[24];           /* "cs336-2025", "" for own sizes */
    enum model_kind kind;
    int64_t d_model, d_ff, num_layers, num_heads, vocab_size;
};

struct model_preset {
    const char *family;
    struct model_config config;
};

/* All presets, `count` of them: cs336-2025 (S M L XL 2p7), cs336-2026 (small medium large xl 10B), steptop (tiny). */
const struct model_preset *model_presets(int *count);

/* Finds "S", "cs336-2026/small", "tiny". A plain name means the first family that has it (2025 before 2026; the seed's
 * capitals are 2025's, so the names do not clash). Names are case-sensitive; the error suggests near ones. */
bool model_preset_find(const char *name, struct model_config *config, struct error *error);

/* The largest sizes: BLAS and kernels index rows and columns with 32 bits. Profiles, flags, schemas and reports all take them
 * from here. */
#define MODEL_SIZE_MOST (INT32_MAX / 4)
#define MODEL_LAYERS_MOST 1000

/* Refuses sizes that are impossible (d_model not a multiple of num_heads, an odd head_dim, zero, beyond int32 rows …) and
 * puts a warning (d_ff not a multiple of 8) in `warning`, "" when there is none. */
bool model_config_check(const struct model_config *config, int64_t batch, int64_t context, char *warning,
                        size_t warning_size, struct error *error);

uint64_t model_parameter_count(const struct model_config *config);

/* Fusion passes of compile mode, in the order they run. Each is a function in model/fuse_*.c and a bit here. */
enum fusion {
    FUSE_QKV,       /* q, k, v projections in one GEMM */
    FUSE_GATE_UP,   /* W1 and W3 in one GEMM */
    FUSE_ATTENTION, /* RoPE, scores, softmax, values in one kernel, forward and backward */
    FUSE_SWIGLU,
    FUSE_ADD_RMSNORM,   /* residual + norm; in backward the residual's gradient joins the norm's */
    FUSE_CROSS_ENTROPY, /* loss and gradient in one pass, in place */
    FUSE_CAST,          /* bf16: norms and SwiGLU write bf16, weights have persistent bf16 copies */
    FUSE_ADAMW,         /* all tensors in one launch */
    FUSE_OVERLAP,       /* plan_request.overlap: what some nodes read stays for some more: they may run beside those */
    FUSE_COUNT
};
/* All that make less work. FUSE_OVERLAP costs memory and is for devices that run nodes beside one another. */
#define FUSE_ALL ((1u << FUSE_OVERLAP) - 1)
const char *fusion_name(enum fusion fusion);
/* Why a pass is left out, by pass; "" where it is not. */
struct left_out {
    char why[FUSE_COUNT][160];
};
/* The passes whose ops the device runs at this precision: what compile mode asks plan_build for. `left_out` may be NULL. */
unsigned model_supported_fusions(const struct device_class *class, const struct device *device,
                                 enum precision precision, struct left_out *left_out);

enum checkpoint { CHECKPOINT_NONE, CHECKPOINT_BLOCK, CHECKPOINT_COUNT };
const char *checkpoint_name(enum checkpoint checkpoint);

/* How the ranks of one model train it on their own batches (model/parallel.c, model/fsdp.c). */
enum parallel {
    PARALLEL_NONE,    /* each for itself: what communication is held against */
    PARALLEL_NAIVE,   /* after backward, an all-reduce a parameter */
    PARALLEL_FLAT,    /* after backward, one for all gradients */
    PARALLEL_OVERLAP, /* a parameter's as soon as its gradient is there, beside the rest of backward */
    PARALLEL_BUCKET,  /* the same, some megabytes at a time */
    PARALLEL_ZERO1,   /* reduce-scatter in buckets, AdamW on this rank's shard, all-gather of the parameters */
    PARALLEL_FSDP,    /* parameters in shards, gathered a layer at a time, at most two layers ahead */
    PARALLEL_COUNT
};
const char *parallel_name(enum parallel parallel);

/* Megabytes (10⁶ bytes) of a bucket where nothing else is said: what PyTorch's DDP takes, whose unit is 2²⁰. */
#define BUCKET_MB_DEFAULT 25

/* Instead of a model, one collective alone: what `steptop run collectives` measures (model/collectives.c). */
enum collective {
    COLLECTIVE_NONE,
    COLLECTIVE_ALL_REDUCE,
    COLLECTIVE_REDUCE_SCATTER,
    COLLECTIVE_ALL_GATHER,
    COLLECTIVE_BROADCAST,
    COLLECTIVE_COUNT
};
const char *collective_name(enum collective collective); /* its op's, or "none" */
/* Bus bandwidth is bytes of the whole ÷ time × this factor: 2(n−1)/n for all_reduce, (n−1)/n for reduce_scatter and all_gather, 1 for
 * broadcast (nccl-tests, PERFORMANCE.md). NaN for another op. */
double collective_bus_factor(const char *op, int ranks);
/* How many of them, one after another, a step of so many bytes has. */
int collective_series(int64_t bytes);

struct ranks_request {
    int32_t rank, ranks; /* 0, 0: one rank alone */
    enum collective
        collective; /* then bucket_bytes are the whole's, and bf16_gradients is its type; of the model nothing is read */
    enum parallel parallel;
    int64_t bucket_bytes; /* of fp32 gradients; bucket and zero1. 0: BUCKET_MB_DEFAULT */
    bool bf16_gradients;  /* over the wire; the sums that AdamW reads are fp32 */
};

/* Bytes of a collective's whole: bucket_bytes, down to what divides among the ranks. */
int64_t collective_bytes(const struct ranks_request *ranks);

struct plan_request {
    struct model_config model;
    int64_t batch, context;
    enum precision precision;
    unsigned fusions;       /* 0 is eager; a pass that does not apply does nothing */
    struct overlap overlap; /* the device's, for FUSE_OVERLAP */
    unsigned phases; /* PHASES_FWD … PHASES_TRAIN_STEP. The memory plan always is that of a training forward: saved
                          activations are kept even when only fwd runs, unless `inference` */
    bool inference;
    enum checkpoint checkpoint;
    struct adamw adamw; /* zero learning_rate: the course's values */
    struct ranks_request ranks;
};

struct plan_result {
    unsigned fired;                  /* fusions that changed the plan */
    int32_t fired_count[FUSE_COUNT]; /* how often each */
};

/* Builds the plan: forward from the module tree, autodiff over the op table, fusion, memory plan, FLOPs and bytes. The same
 * request gives the same plan, digest and all. NULL with the reason on failure; the caller frees with plan_free. */
struct plan *plan_build(const struct plan_request *request, struct plan_result *result, struct error *error);

/* Whether the threads that make initial values can be started; asked once, before them, where no device has asked. */
bool model_threads_start(struct error *error);

/* The initial value of one parameter or constant (fp32, tensor_elements values): linear N(0, 2/(in+out)) cut at ±3σ,
 * embedding N(0,1) cut at ±3, norms 1; the RoPE table. Parallel over OpenMP; depends on (seed, name) alone, so an eager
 * and a fused plan get the same weights. */
bool model_initial_value(const struct plan *plan, int32_t tensor, uint64_t seed, float *values, struct error *error);

/* The same for a part of a parameter that a shard holds, part.count values. */
bool model_initial_part(const struct plan_part *part, uint64_t seed, float *values, struct error *error);

/* Random tokens in [0, vocab) for tensor tokens or targets. */
void model_random_tokens(const struct plan *plan, int32_t tensor, uint64_t seed, int32_t *values);
