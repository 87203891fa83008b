/* Inside the CUDA device: what the files of this folder share.
 *
 * prepare lowers the plan to a list of launches, each with constant arguments, in the order of the plan's nodes; run walks
 * the list, or launches a graph that was captured from the same walk. Every launch knows its plan node. */
#pragma once
#include "kernels/cuda/cuda_libraries.h"
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/nvrtc_build.h"
#include "kernels/device.h"
#include <pthread.h>
#include <stdint.h>

struct cupti_source;
struct cupti_counters;
struct nvml;
struct cudnn;
struct attention_plan;
struct cuda_ranks;

struct device {
    struct cuda_libraries libraries;
    int index;
    CUdevice handle;
    CUcontext context;
    CUstream stream; /* the one stream everything runs on */
    cublasLtHandle_t blaslt;
    int architecture;   /* 90 for sm_90 */
    int units;          /* multiprocessors */
    int shared_limit;   /* bytes of shared memory a block can ask for */
    int shared_in_unit; /* what all blocks on a multiprocessor have together */
    char pci_bus_id[32];
    char name[96];
    struct nvml *nvml;   /* NULL: no telemetry */
    struct cudnn *cudnn; /* opened when attention first asks; NULL: not there, and why */
    struct attention_plan *cudnn_plans;
    char cudnn_why[120];
    uint64_t memory_bytes; /* the device's */
    int attention_only;    /* 1 + the one attention candidate that may serve; 0: all. For tests. */
};

/* One launch with constant arguments. */
enum cuda_launch_kind { CUDA_LAUNCH_KERNEL, CUDA_LAUNCH_GEMM, CUDA_LAUNCH_COLLECTIVE, CUDA_LAUNCH_CALL };
#define CUDA_LAUNCH_MAX_ARGUMENTS 16

struct cuda_launch;
/* Issues what a launch of kind CALL stands for, on the stream; it must stand being captured. The launch's arguments are located
 * by then, and its function is looked up where it has a module. */
typedef bool (*cuda_launch_call)(struct program *program, const struct cuda_launch *launch, CUstream stream,
                                 struct error *error);

struct cuda_launch {
    enum cuda_launch_kind kind;
    int32_t node; /* the plan's; what is launched for it is attributed to it */
    const char *name;
    bool aside; /* reads what only this node writes, writes a gradient: nobody waits for it before the phase's end */
    uint64_t extent[3][2]; /* optimizer in compile mode: what of the arena it needs for itself: offset, bytes */
    bool piece;            /* it may run as soon as the backward phase is done with those */
    int32_t module;        /* kernels: which build; the function is looked up when all builds are ready */
    CUfunction function;
    unsigned grid[3], block, shared;
    int argument_count;
    uint32_t pointers;                             /* bit i: argument i is an address */
    uint64_t arguments[CUDA_LAUNCH_MAX_ARGUMENTS]; /* each in the first bytes of its slot */
    int32_t gemm;                                  /* index in program.gemms */
    CUdeviceptr a, b, d;                           /* its operands */
    cuda_launch_call call;
    const void *call_context; /* whatever the call needs; outlives the program */
};

/* A captured range of phases, ready to launch. */
struct cuda_graph {
    unsigned phases;
    CUgraphExec executable;
    uint32_t activities; /* kernel, copy and memset nodes in it */
};
#define CUDA_MAX_GRAPHS 3
#define CUDA_MAX_COUNTED 8
#define CUDA_MAX_OPTIMIZERS 8
#define CUDA_RATES_BYTES 256 /* of the workspace's beginning: a float each, and one byte to spare at the end */

/* Ops whose nodes may go to a second stream: nobody reads a weight's gradient before the optimizer. */
#define CUDA_OPS_BESIDE OP_BIT(OP_LINEAR_BACKWARD_WEIGHT)

/* One node of the backward phase in a captured graph; schedule.c says when and beside what it runs. */
struct cuda_step {
    int32_t launch, count; /* a node's launches */
    int32_t side;          /* -1: on the main stream; else its number on the side stream */
    int32_t wait;          /* the side step that must have ended before; -1: none */
    bool collective;       /* on the collectives' stream: it is that stream that waits */
};

/* How the backward phase is issued, chosen by timing the whole step: a set of the first with one of the others or none. */
enum cuda_arrangement {
    CUDA_IN_ORDER = 0,
    CUDA_ASIDE = 1,        /* what nobody waits for goes to the side stream */
    CUDA_EARLY_NARROW = 2, /* a piece of the optimizer runs as soon as its gradients are whole, on 24 multiprocessors */
    CUDA_EARLY_HALF = 4,   /* on 48 */
    CUDA_EARLY_WIDE = 6,   /* wherever there is room */
    CUDA_OPTIMIZER_EARLY = 6, /* the mask of these three */
    CUDA_ARRANGEMENTS = 8
};

struct program {
    struct device *device;
    const struct plan *plan;
    const struct prepare_options *preparing; /* while it is made ready */
    struct arena memory;                     /* names and notes */
    size_t builds_dropped, choices_dropped;  /* that made room in the cache */
    size_t choices_refused;                  /* of the cache, that cannot be */
    bool compile;
    CUdeviceptr arena, workspace; /* the plan's arena; what the kernels need beyond it */
    uint64_t arena_bytes, workspace_bytes;
    struct cuda_step *steps; /* compile mode: the backward phase on two streams */
    int32_t step_count, side_count;
    unsigned arrangement;                     /* enum cuda_arrangement, a set */
    double arrangement_us[CUDA_ARRANGEMENTS]; /* of a step as timed; NaN: not timed */
    int32_t *piece_after;                     /* of each launch of the optimizer: the backward step it waits for */
    int32_t pieces;                           /* of the optimizer that need not wait for the last one */
    CUstream side_stream, optimizer_stream;
    CUevent fork, *side_done; /* side_done: one a side step */
    CUevent optimizer_done;
    CUevent timing[2];
    CUdeviceptr products;       /* the next two */
    CUdeviceptr gemm_workspace; /* of the products on the main stream */
    CUdeviceptr side_workspace; /* of the same size, for the side stream; compile mode only */
    CUdeviceptr side_scratch, own_scratch;
    uint64_t gemm_workspace_bytes;
    CUdeviceptr optimizer_factors; /* one float a distinct set of AdamW values: the step's bias-corrected rate */
    struct adamw optimizers[CUDA_MAX_OPTIMIZERS];
    int optimizer_count;
    uint64_t optimizer_step; /* counts from 1 at the first run of the optimizer phase */
    struct cuda_launch *launches;
    int32_t launch_count, launch_capacity;
    int32_t phase_launch[PHASE_COUNT + 1]; /* launches of phase p: [phase_launch[p], phase_launch[p + 1]) */
    struct cuda_build *builds;             /* modules, built once each */
    int32_t build_count, build_capacity;
    struct cuda_gemm_set gemms;
    struct cuda_attention_set {
        struct cuda_attention_choice *items;
        int32_t count, capacity;
    } attentions; /* attention.h */
    struct cuda_graph graphs[CUDA_MAX_GRAPHS];
    int graph_count;
    CUevent boundary[PHASE_COUNT + 1]; /* start of each phase and the end of the last */
    int32_t renewal_module;            /* the cast that renews a parameter's copy after a write; -1: none */
    CUfunction renewal;
    int32_t fill_module; /* random values for timing, compile mode only; -1: none */
    CUfunction fill;
    struct cuda_ranks *ranks;           /* collectives.c; NULL in a plan without any */
    struct cupti_source *source;        /* NULL when nothing is profiled */
    struct cupti_counters *counters;    /* NULL without counters */
    unsigned counted[CUDA_MAX_COUNTED]; /* sets of phases whose counters were handed over */
    int counted_count;
};

/* Device memory is allocated when lowering has told how much is needed, so until then addresses are offsets with a tag
 * that says in what. 0 is no address. */
#define CUDA_IN_ARENA (UINT64_C(1) << 62)
#define CUDA_IN_WORKSPACE (UINT64_C(1) << 63)
#define CUDA_IN_SIDE (UINT64_C(1) << 61) /* scratch of what may run on the side stream */
#define CUDA_IN_OWN (UINT64_C(1) << 60)  /* scratch of one node alone */
#define CUDA_OFFSET(address) ((address) & ~(CUDA_IN_ARENA | CUDA_IN_WORKSPACE | CUDA_IN_SIDE | CUDA_IN_OWN))

/* An operand as a kernel sees it: a matrix in rows; vectors and whole tensors have one row. */
struct operand {
    uint64_t address; /* tagged offset; 0 where absent */
    enum dtype dtype;
    int64_t elements, row_stride; /* row_stride in elements */
};

/* Where lowering stands; lower_*.c append launches to the program through it. */
struct lowering {
    struct program *program;
    const struct plan *plan;
    int32_t node;
    uint64_t scratch_used, scratch_peak; /* bytes, of the node in hand and of all so far */
    uint64_t side_used, side_peak;
    uint64_t own_bytes;    /* of lower_own_scratch */
    int32_t logits;        /* the plan's, where its rows are laid out anew; -1: nowhere */
    struct operand padded; /* how */
    struct error *error;
    bool failed; /* error holds the first reason */
};

bool cuda_has_lowering(enum op op);

/* Turns the plan into program->launches; modules and GEMMs are registered, not yet built. `scratch_bytes` gets what one
 * node needs at most beyond the plan's arena, from offset `scratch_start` of the workspace. ERROR_UNSUPPORTED names the op. */
bool cuda_lower(struct program *program, uint64_t scratch_start, uint64_t *scratch_bytes, uint64_t *side_bytes,
                uint64_t *own_bytes, struct error *error);

/* For lower_*.c. An absent operand has address 0. */
struct operand lower_tensor(const struct lowering *lowering, int32_t tensor);
struct operand lower_input(const struct lowering *lowering, int i);
struct operand lower_output(const struct lowering *lowering, int i);
struct operand lower_scratch(struct lowering *lowering, enum dtype dtype, int64_t elements, int64_t row_stride);
/* The same for weights' products, which may run beside other nodes but not beside each other; and scratch that no other
 * node of the program shares, zero when the program is ready. */
struct operand lower_side_scratch(struct lowering *lowering, enum dtype dtype, int64_t elements, int64_t row_stride);
struct operand lower_own_scratch(struct lowering *lowering, enum dtype dtype, int64_t elements, int64_t row_stride);
struct operand operand_columns(struct operand operand, int64_t first); /* from column `first` on */
const char *dtype_text(enum dtype dtype);                              /* "float", "bf16" */

/* A module's macros are collected, then it is registered; modules with equal macros are one. */
struct defines {
    int count;
    char text[CUDA_MAX_DEFINES][32];
};
void define_text(struct defines *defines, const char *name, const char *value);
void define_number(struct defines *defines, const char *name, int64_t value);
int32_t lower_module(struct lowering *lowering, const char *file, const struct defines *defines);

struct cuda_launch *lower_kernel(struct lowering *lowering, int32_t module, const char *name, uint64_t blocks_x,
                                 uint64_t blocks_y, unsigned threads);
/* A launch that the host sets up each time: give it arguments, grid and so on as a kernel's. `module` may be -1. */
struct cuda_launch *lower_call(struct lowering *lowering, int32_t module, const char *name, cuda_launch_call call,
                               const void *context);
void lower_pointer(struct cuda_launch *launch, uint64_t address);
void lower_int(struct cuda_launch *launch, int32_t value);
void lower_int64(struct cuda_launch *launch, int64_t value);
void lower_float(struct cuda_launch *launch, float value);
/* An empty launch of the node in hand. */
struct cuda_launch *lower_launch(struct lowering *lowering);
void lower_gemm(struct lowering *lowering, const struct cuda_gemm_shape *shape, uint64_t a, uint64_t b, uint64_t d);
bool lower_fail(struct lowering *lowering, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* 4 when `columns` is a multiple of 4 and all present operands are aligned for accesses of 4 elements, else 1. */
int lower_vector(int64_t columns, const struct operand *operands, int count);
/* The largest power of two, 256 at most, that divides the offset and `step` bytes. */
uint32_t lower_alignment(uint64_t address, uint64_t step);

/* Pieces that fused attention falls back on. */
enum attention_product { PRODUCT_SCORES, PRODUCT_DQ, PRODUCT_DK, PRODUCT_VALUES, PRODUCT_DP, PRODUCT_DV };
void emit_attention_product(struct lowering *lowering, enum attention_product product, const struct node_dims *dims,
                            float alpha, struct operand a, struct operand b, struct operand d);
void emit_rope(struct lowering *lowering, const struct node_dims *dims, bool backward, struct operand x,
               struct operand table, struct operand y);
void emit_softmax(struct lowering *lowering, const struct node_dims *dims, struct operand s, struct operand p,
                  struct operand lse);
void emit_softmax_backward(struct lowering *lowering, const struct node_dims *dims, struct operand dp, struct operand p,
                           struct operand ds);

void lower_collective(struct lowering *lowering, const struct node *node);
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

/* collectives.c: joins the ranks when the plan has collectives. Around a node's launches: before, on the main stream; issue in place
 * of a launch; a side product's event that the next collective aside must wait for; join, at a phase's end. wait, for a step's end:
 * not for ever. A captured optimizer need not wait for all of backward's collectives: place works out its order, defers says whether
 * it did, and turn waits for what the launch at this place of the phase needs and says which launch it is. */
bool cuda_ranks_open(struct program *program, struct communicator *communicator, struct error *error);
void cuda_ranks_close(struct program *program);
bool cuda_ranks_before(struct program *program, int32_t node, struct error *error);
bool cuda_ranks_issue(struct program *program, const struct cuda_launch *launch, struct error *error);
bool cuda_ranks_after_side(struct program *program, CUevent side, struct error *error);
bool cuda_ranks_join(struct program *program, struct error *error);
bool cuda_ranks_place(struct program *program, struct error *error);
bool cuda_ranks_defers(const struct program *program);
bool cuda_ranks_turn(struct program *program, int32_t place, int32_t *launch, struct error *error);
bool cuda_ranks_wait(struct program *program, struct error *error);
int cuda_ranks_version(const struct program *program);

/* Issues the launches of the phases on the stream, in order, telling the activity source each node, with the boundary events
 * between phases; in capture these become event nodes of the graph. */
bool cuda_issue(struct program *program, unsigned phases, bool capturing, struct error *error);

/* Issues one launch, without attribution; `side`: on the side stream. */
bool cuda_issue_launch(struct program *program, const struct cuda_launch *launch, bool side, struct error *error);

/* The same of a kernel or a call on any stream; products have scratch on those two alone. */
bool cuda_launch_on(struct program *program, const struct cuda_launch *launch, CUstream stream, struct error *error);

/* The parts of prepare: an empty program; memory, machine code and functions for what was lowered into it (the launches'
 * addresses are located); random values for timing. cuda_release takes a program from any of them, or NULL. */
struct program *cuda_program_new(struct device *device, const struct plan *plan, bool compile, struct error *error);
bool cuda_program_load(struct program *program, const struct prepare_options *options, uint64_t scratch_bytes,
                       uint64_t side_bytes, uint64_t own_bytes, struct prepare_report *report, struct error *error);
bool cuda_arena_fill(struct program *program, struct error *error);

/* The entry points of the class that lie in program*.c. */
struct program *cuda_prepare(struct device *device, const struct plan *plan, const struct prepare_options *options,
                             struct prepare_report *report, struct error *error);
void cuda_release(struct program *program);
bool cuda_run(struct program *program, unsigned phases, uint64_t step_id, const struct probe *probe,
              struct step_times *times, struct error *error);
bool cuda_flush(struct program *program, const struct probe *probe, struct error *error);
bool cuda_write(struct program *program, int32_t tensor, const void *bytes, struct error *error);
bool cuda_read(struct program *program, int32_t tensor, void *bytes, struct error *error);
bool cuda_measure_ceilings(struct device *device, enum precision precision, int budget_ms, double *flops_per_s,
                           double *bytes_per_s, struct error *error);

/* Compile mode: plans what of the backward phase and of the optimizer may run beside the rest, times the step so and otherwise
 * on whatever the arena holds, which changes it, and issues the phase so, in capture. `optimizer`: its early pieces, too; `join`: with all
 * collectives waited for. */
struct choice_cache;
bool cuda_schedule(struct program *program, struct choice_cache *cache, struct error *error);
bool cuda_schedule_issue(struct program *program, bool optimizer, bool join, struct error *error);
/* The arrangement that is kept for this step (`stamp`), `early`: pieces of the optimizer may come early; false: none that can be. */
bool cuda_schedule_recall(struct program *program, uint64_t stamp, bool early, struct choice_cache *cache);
void cuda_schedule_remember(const struct program *program, uint64_t stamp, struct choice_cache *cache);
void cuda_schedule_describe(const struct program *program, char *text, size_t size);
bool cuda_schedule_is_early(const struct program *program, int32_t launch);
void cuda_schedule_release(struct program *program);

/* What is launched next belongs to this node. */
void cuda_source_node(struct program *program, int32_t node);

/* Captures the three usual ranges of phases that the plan has. */
bool cuda_capture_graphs(struct program *program, struct error *error);

/* For the driver's calls:  if (!CUDA_OK(device, cuStreamSynchronize(stream), error)) goto cleanup; */
#define CUDA_OK(device, call, error) cuda_check(&(device)->libraries, (device)->libraries.call, #call, error)
static inline bool cuda_check(const struct cuda_libraries *libraries, CUresult result, const char *what,
                              struct error *error)
{
    return result == CUDA_SUCCESS || cuda_failed(libraries, result, what, error);
}
