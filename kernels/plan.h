/* The plan: one step of a model as a straight-line program. An array of tensors, each with its place in one arena, and
 * an array of nodes in execution order, each of one op, one scope and one phase. Drill-down, roofline, memory ledger and
 * dry run are all read off the plan, so nothing is counted twice.
 *
 * model/ builds plans; a device runs them; everybody else reads them. */
#pragma once
#include "base/arena.h"
#include "base/error.h"
#include <stdbool.h>
#include <stdint.h>

enum dtype { DTYPE_F32, DTYPE_BF16, DTYPE_F64, DTYPE_I32, DTYPE_COUNT };

/* How matmuls and attention compute. fp32: true fp32. tf32: fp32 storage, tf32 products. bf16: autocast's rules, that is
 * fp32 weights, residual stream, norms, loss and gradients of weights; bf16 operands and outputs of matmul, attention. */
enum precision { PRECISION_FP32, PRECISION_TF32, PRECISION_BF16, PRECISION_COUNT };

/* The phases of a step; a plan's nodes have one of the first PHASE_COUNT. Of what others run (profiler/places.h) two more can be said:
 * that it is forward work done again for backward, and that nobody knows. */
enum phase {
    PHASE_FWD,
    PHASE_LOSS,
    PHASE_BWD,
    PHASE_OPT,
    PHASE_COUNT,
    PHASE_RECOMPUTE = PHASE_COUNT,
    PHASE_NONE,
    PLACE_PHASE_COUNT
};
#define PHASE_BIT(phase) (1u << (phase))
#define PHASES_FWD PHASE_BIT(PHASE_FWD)
#define PHASES_FWD_BWD (PHASE_BIT(PHASE_FWD) | PHASE_BIT(PHASE_LOSS) | PHASE_BIT(PHASE_BWD))
#define PHASES_TRAIN_STEP (PHASES_FWD_BWD | PHASE_BIT(PHASE_OPT))

enum kernel_class {
    CLASS_MATMUL,
    CLASS_ATTENTION, /* scores, values, fused attention */
    CLASS_SOFTMAX,
    CLASS_NORM,
    CLASS_ELEMENTWISE,
    CLASS_EMBEDDING,
    CLASS_LOSS,
    CLASS_OPTIMIZER,
    CLASS_COPY,
    CLASS_COLLECTIVE,
    CLASS_OTHER, /* nobody said what it is */
    CLASS_COUNT
};

enum tensor_kind {
    TENSOR_INPUT,          /* tokens, targets: int32, written before the step */
    TENSOR_CONSTANT,       /* the RoPE table: written once */
    TENSOR_PARAMETER,      /* kept over steps, in order of the reference state dict */
    TENSOR_PARAMETER_COPY, /* bf16 copy of a parameter, kept over steps (compile mode, bf16) */
    TENSOR_GRADIENT,       /* gradient of a parameter */
    TENSOR_OPTIMIZER,      /* AdamW's m and v */
    TENSOR_SAVED,          /* activation that backward reads */
    TENSOR_SCRATCH,        /* everything else that lives inside one step */
    TENSOR_OUTPUT,         /* loss, and logits where no backward pass follows: readable after the step */
    TENSOR_KIND_COUNT
};

#define TENSOR_NONE (-1)
#define TENSOR_MAX_RANK 4

struct tensor {
    const char *name; /* "layers.3.attn.q_proj.weight"; gradients "grad." + that; activations "<scope>.<output>" */
    enum dtype dtype;
    enum tensor_kind kind;
    int rank;
    int64_t shape[TENSOR_MAX_RANK]; /* row-major */
    uint64_t bytes;
    uint64_t offset; /* in the arena; a multiple of PLAN_ALIGNMENT unless a view */
    int32_t view_of; /* TENSOR_NONE, or the tensor whose storage this one shares */
    uint64_t view_offset;
    int64_t row_stride; /* elements from row to row of a matrix that is a column slice of a wider one; 0: packed */
    int32_t scope;      /* that made it */
    /* For gradients, copies and optimizer state the parameter they belong to; a parameter of the state dict names itself.
     * TENSOR_NONE for everything else, and for regions and fused groups ("parameters", "…attn.qkv_proj.weight"), of which
     * the single ones are views: who lists or sums parameters takes those with kind PARAMETER and parameter == own index. */
    int32_t parameter;
    /* Lifetime in a step, inclusive; -1 and node_count for what outlives it. A gradient lives from the node that writes it to
     * node_count: before that, activations may lie there, so a forward pass destroys the gradients of the last backward. */
    int32_t first_node, last_node;
};
#define PLAN_ALIGNMENT 256u

/* Ops. N = batch·context rows, C = d_model, H heads, D head_dim, T context, V vocabulary, F d_ff; all row-major; a
 * head's slice of an (N, C) tensor starts at column head·D. `in` and `out` are indices in node.input and node.output.
 *
 * op                      in                                  out                         meaning
 * EMBEDDING               tokens(N) table(V,C)                x(N,C)
 * EMBEDDING_BACKWARD      tokens dx                           dtable(V,C)                 every row written
 * RMSNORM                 x(N,C) w(C)                         y(N,C) rstd(N)              y = x·rstd·w
 * RMSNORM_BACKWARD        dy x w rstd [dres(N,C)]             dx dw [dx16]                dx += dres when given; dx16 = dx in bf16
 * LINEAR                  x(N,I) w(O,I)                       y(N,O)                      y = x wᵀ
 * LINEAR_BACKWARD_INPUT   dy(N,O) w(O,I)                      dx(N,I)                     dx = dy w
 * LINEAR_BACKWARD_WEIGHT  dy(N,O) x(N,I)                      dw(O,I)                     dw = dyᵀ x
 * ROPE                    x(N,C) table(T,D/2,2)               y(N,C)                      pairs (2j,2j+1) turned; table = cos,sin
 * ROPE_BACKWARD           dy table                            dx                          turned back
 * ATTN_SCORES             q(N,C) k(N,C)                       s(B,H,T,T)                  s = q kᵀ · scale
 * ATTN_SCORES_BACKWARD_Q  ds k                                dq(N,C)
 * ATTN_SCORES_BACKWARD_K  ds q                                dk(N,C)
 * CAUSAL_SOFTMAX          s                                   p(B,H,T,T)                  zero above the diagonal
 * CAUSAL_SOFTMAX_BACKWARD dp p                                ds
 * ATTN_VALUES             p v(N,C)                            o(N,C)
 * ATTN_VALUES_BACKWARD_P  do v                                dp(B,H,T,T)
 * ATTN_VALUES_BACKWARD_V  p do                                dv(N,C)
 * ADD                     a b                                 c                           residual, and sums of gradients
 * SILU                    x                                   y
 * SILU_BACKWARD           dy x                                dx
 * MUL                     a b                                 c
 * CROSS_ENTROPY           logits(N,V) targets(N)              loss(1) lse(N)              mean over N, always fp32
 * CROSS_ENTROPY_BACKWARD  logits targets lse                  dlogits(N,V)                d of the mean, divided by N; may be in
 *                                                                                         place: dlogits a view of logits
 * CAST                    x                                   y                           between dtypes
 * ADAMW                   p g m v                             p m v [copy]                in place; outputs name the same tensors
 *
 * made by fusion:
 * ADD_RMSNORM             x r w                               z(N,C) y(N,C) rstd(N)       z = x + r, y = rmsnorm(z)
 * ATTENTION               qkv(N,3C) [table]                   o(N,C) lse(B,H,T)           RoPE, causal softmax, values
 * ATTENTION_BACKWARD      do qkv o lse [table]                dqkv(N,3C) delta(B,H,T)     dq, dk turned back
 * SWIGLU                  h(N,2F)                             y(N,F)                      silu(h[:, :F]) · h[:, F:]
 * SWIGLU_BACKWARD         dy h                                dh(N,2F) [y(N,F)]           y: the forward product once more
 * CROSS_ENTROPY_FUSED     logits targets                      loss(1) dlogits             dlogits is a view of logits: in place
 * ADAMW_ALL               p g m v                             p m v [copy]                the four are the whole regions
 *
 * between ranks, n = dims.ranks of them, k elements a piece; the operands have one dtype, f32 or bf16, and are packed:
 * ALL_REDUCE              x(E)                                y(E)                        y = scale · Σ x over ranks, in their order;
 *                                                                                         in place: y names x
 * REDUCE_SCATTER          x(n·k)                              y(k)                        y = scale · Σ over ranks of their x's piece
 *                                                                                         number `rank`; y may be that piece of x
 * ALL_GATHER              x(k)                                y(n·k)                      y = the ranks' x one after another; x may be
 *                                                                                         piece `rank` of y
 * BROADCAST               x(E)                                y(E)                        y = rank 0's x; in place: y names x
 *
 * An (N, C) operand of RoPE, linear or attention may be a column slice of a wider (N, W) tensor: tensor.row_stride says so.
 *
 * Rules that hold for all of them:
 * - Every element of an output is written, nothing is added to what was there, so nothing needs zeroing beforehand. One
 *   exception: scores and dp (outputs of ATTN_SCORES and ATTN_VALUES_BACKWARD_P) above the diagonal are unspecified and
 *   never read; p and ds are zero there.
 * - Outputs do not overlap inputs except where "in place" is said.
 * - table is TENSOR_NONE for attention without RoPE. lse is log Σ exp of the scaled scores; delta is Σ do·o of a row, a
 *   workspace that nobody else reads. rstd, lse, delta and loss are always f32.
 * - qkv holds q, k and v beside one another: columns [0,C), [C,2C), [2C,3C); so do dqkv and the weight (3C,C).
 * - ADAMW_ALL's copy holds the bf16 of the first elements(copy) elements of p.
 * - The arena is zero after prepare: m and v rely on it. What lies in a region between its tensors has no meaning.
 *
 * Dtypes. fp32, tf32: every float tensor is f32. bf16: the two operands of LINEAR…, ATTN_… and ATTENTION… have one dtype,
 * the output may be f32 or bf16 on its own (a weight's gradient is f32 in a fused plan). All other ops take f32 or bf16 for
 * each (N, …), elementwise or (B,H,T,T) operand separately and compute in f32: norms' weights and their gradients,
 * embedding tables and optimizer state are f32. */
enum op {
    OP_EMBEDDING,
    OP_EMBEDDING_BACKWARD,
    OP_RMSNORM,
    OP_RMSNORM_BACKWARD,
    OP_LINEAR,
    OP_LINEAR_BACKWARD_INPUT,
    OP_LINEAR_BACKWARD_WEIGHT,
    OP_ROPE,
    OP_ROPE_BACKWARD,
    OP_ATTN_SCORES,
    OP_ATTN_SCORES_BACKWARD_Q,
    OP_ATTN_SCORES_BACKWARD_K,
    OP_CAUSAL_SOFTMAX,
    OP_CAUSAL_SOFTMAX_BACKWARD,
    OP_ATTN_VALUES,
    OP_ATTN_VALUES_BACKWARD_P,
    OP_ATTN_VALUES_BACKWARD_V,
    OP_ADD,
    OP_SILU,
    OP_SILU_BACKWARD,
    OP_MUL,
    OP_CROSS_ENTROPY,
    OP_CROSS_ENTROPY_BACKWARD,
    OP_CAST,
    OP_ADAMW,
    OP_ADD_RMSNORM,
    OP_ATTENTION,
    OP_ATTENTION_BACKWARD,
    OP_SWIGLU,
    OP_SWIGLU_BACKWARD,
    OP_CROSS_ENTROPY_FUSED,
    OP_ADAMW_ALL,
    OP_ALL_REDUCE,
    OP_REDUCE_SCATTER,
    OP_ALL_GATHER,
    OP_BROADCAST,
    OP_COUNT
};
#define OP_BIT(op) (UINT64_C(1) << (op))
_Static_assert(OP_COUNT <= 64, "a set of ops is one number");

#define NODE_MAX_INPUTS 6
#define NODE_MAX_OUTPUTS 4

/* Sizes that an op needs beyond its tensors' shapes; each op reads the ones its name calls for. */
struct node_dims {
    int64_t batch, context, heads, head_dim; /* attention, RoPE, softmax */
    int64_t rows;                            /* N */
    int64_t d_in, d_out;                     /* linear; norms and embedding: d_in = C; SwiGLU: d_out = F */
    int64_t vocab;                           /* embedding, cross entropy */
    int64_t elements;                        /* elementwise, cast, optimizer; collectives: E, or k of a piece */
    int64_t ranks;                           /* collectives: n */
};

struct adamw {
    float learning_rate, beta1, beta2, epsilon, weight_decay;
};

struct node {
    enum op op;
    enum phase phase;
    int32_t scope;
    bool recompute;                 /* a forward op run again in backward (checkpointing) */
    int32_t input[NODE_MAX_INPUTS]; /* TENSOR_NONE where absent */
    int32_t output[NODE_MAX_OUTPUTS];
    struct node_dims dims;
    float epsilon; /* norms */
    float scale;   /* attention: 1/sqrt(D); collectives that reduce: 1/n */
    /* May run beside the nodes after it: on a stream of its own, in order with others like it, after all nodes before it. Who
     * touches its memory later waits for it (kernels/schedule.h), and so does the end of its phase. */
    bool aside;
    struct adamw adamw; /* optimizer ops; the step number is the device's to count, from 1 */
    double flops;       /* modelled: op_flops */
    double bytes;       /* modelled least traffic: op_bytes */
};

/* What a linear op multiplies: d (m, n) = a (m, k) · b (k, n), of which each may lie transposed. */
struct linear_product {
    int64_t m, n, k;
    bool transpose_a, transpose_b;
};
struct linear_product linear_product_of(const struct node *node);

/* The module tree of the reference model. Scope 0 is the model itself with path "model". Children come after parents. */
struct scope {
    const char *path; /* "layers.3.attn.q_proj" */
    const char *name; /* "q_proj" */
    int32_t parent;   /* -1 for the root */
    int32_t depth;
    int32_t layer; /* 3, or -1 outside the blocks */
};

/* A stretch of a parameter that a shard of this rank holds: elements [first, first + count) of `name` lie from element `at` on. */
struct plan_part {
    int32_t shard; /* tensor: a parameter of the plan, a piece of several of the state dict's */
    const char *name;
    int rank;
    int64_t shape[TENSOR_MAX_RANK]; /* of the whole parameter */
    int64_t first, count, at;
};

struct plan_memory {
    uint64_t by_kind[TENSOR_KIND_COUNT]; /* bytes; saved and scratch: their highest simultaneous sum of that kind */
    uint64_t persistent; /* inputs, constants, parameters, copies, gradients, optimizer state, outputs */
    uint64_t
        total; /* the arena: persistent, and what saved and scratch need beside the room of gradients not yet written */
    uint64_t peak_live; /* the largest sum of live bytes over the step, and the node where it is */
    int32_t peak_node;
};

struct plan {
    struct arena arena;
    struct tensor *tensors;
    int32_t tensor_count;
    struct node *nodes; /* phases in order: fwd, loss, bwd, opt; each phase is one contiguous range */
    int32_t node_count;
    int32_t phase_first[PHASE_COUNT + 1]; /* nodes of phase p: [phase_first[p], phase_first[p + 1]) */
    struct scope *scopes;
    int32_t scope_count;
    enum precision precision;
    struct plan_memory memory;
    /* Tensors that callers address by role; TENSOR_NONE where the plan has none. */
    int32_t tokens, targets, rope_table, logits,
        loss; /* logits: readable after a run of fwd alone where the plan has a backward pass */
    int64_t batch, context, vocab;
    int32_t rank, ranks;     /* whose plan it is, of how many; ranks ≥ 1 */
    struct plan_part *parts; /* in plan.arena; none where parameters are whole */
    int32_t part_count;
    uint64_t digest; /* of everything a device reads, but `rank`; equal plans have equal digests */
};

struct op_info {
    const char *name; /* "linear_backward_weight" */
    enum kernel_class kernel_class;
    double (*flops)(const struct plan *plan, const struct node *node);
    double (*bytes)(const struct plan *plan, const struct node *node);
};

/* The table of ops, kernels/ops.c. */
const struct op_info *op_info(enum op op);
const char *kernel_class_name(enum kernel_class kernel_class);
const char *phase_name(enum phase phase); /* also "recompute" and "none" */
const char *tensor_kind_name(enum tensor_kind kind);
const char *precision_name(enum precision precision); /* "fp32", "tf32", "bf16" */
bool precision_parse(const char *text, enum precision *precision);
uint64_t dtype_size(enum dtype dtype);
int64_t tensor_elements(const struct tensor *tensor);

/* Index of the tensor called `name`, or TENSOR_NONE. */
int32_t plan_find_tensor(const struct plan *plan, const char *name);

/* The tensor whose storage `tensor` shares, itself when it is no view. */
int32_t plan_storage(const struct plan *plan, int32_t tensor);
/* Does a tensor of this kind keep its bytes to the end of a step and beyond (all but saved and scratch)? */
bool tensor_kind_persists(enum tensor_kind kind);

/* Checks the plan's own rules: counts of inputs and outputs, shapes against dims, every input written before it is read,
 * no two live tensors overlapping in the arena. A broken rule is ERROR_INTERNAL with the node's name. */
bool plan_check(const struct plan *plan, struct error *error);

/* Of everything a device reads; what plan_build puts in plan.digest. */
uint64_t plan_digest(const struct plan *plan);

/* tensors, nodes and scopes are malloc'ed, strings live in plan.arena, the plan itself is malloc'ed. */
void plan_free(struct plan *plan);
