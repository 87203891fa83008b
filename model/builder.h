/* What the parts of the plan builder share. A builder holds the plan while it grows: forward nodes first, then fusion and
 * precision rewrite them, then autodiff, recomputation and the optimizer append, and memory.c gives every tensor a place. */
#pragma once
#include "base/vec.h"
#include "model/model.h"

/* Tensors that must lie side by side, so that one GEMM can take them as one weight: q, k, v; w1, w3. */
enum weight_group { GROUP_NONE, GROUP_QKV, GROUP_GATE_UP };

/* A parameter of the state dict and what belongs to it; indices of tensors, TENSOR_NONE while there is none. */
struct parameter {
    int32_t tensor, gradient, moment1, moment2, copy;
    enum weight_group group;
    bool is_linear; /* a GEMM's weight: has a bf16 copy under FUSE_CAST */
    uint64_t place; /* elements from the start of its region */
    int32_t fused;  /* index in builder.groups, or -1 */
};

/* A fused weight: parameters that lie side by side, seen as one tensor. */
struct weight_fusion {
    int32_t tensor, gradient, copy;
    int32_t first; /* parameter: the fused weight starts at its place */
};

/* A stretch of the regions of parameters and gradients, in elements, and the node after which its gradients are complete. */
struct stretch {
    uint64_t start, end;
    size_t ready;
    int32_t scope;
};

struct builder {
    const struct plan_request *request;
    struct plan *plan; /* owns the strings from the start, everything at the end */
    struct plan_result result;
    VEC(struct tensor) tensors;
    VEC(struct node) nodes;
    VEC(struct scope) scopes;
    VEC(struct parameter) parameters;
    VEC(struct weight_fusion) groups;
    VEC(int32_t) gradient;      /* per tensor: its gradient so far; may be shorter than tensors */
    VEC(int32_t) contributions; /* per tensor: how many tensors were named after its gradient */
    VEC(int32_t) again;         /* per tensor: its recomputed copy (checkpointing) */
    VEC(struct stretch) buckets; /* parallel.c: zero1's, from gradients to optimizer */
    int32_t output_gradient;    /* attention alone: the constant that backward starts from */
};

/* Index of the child scope `name` of `parent`, made when it is not there. `layer` -1 inherits the parent's. */
int32_t scope_child(struct builder *builder, int32_t parent, const char *name, int32_t layer);

/* A new tensor, packed, without a place. The name is copied. */
int32_t tensor_add(struct builder *builder, const char *name, enum dtype dtype, enum tensor_kind kind, int32_t scope,
                   int rank, const int64_t *shape);
#define SHAPE(...)                                                                                                     \
    (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[])                                       \
    {                                                                                                                  \
        __VA_ARGS__                                                                                                    \
    }
/* An activation: scratch until memory.c sees that backward reads it; named "<scope>.<suffix>". */
int32_t activation_add(struct builder *builder, int32_t scope, const char *suffix, int rank, const int64_t *shape);
/* Shape, dtype and scope of `tensor`, scratch; named "<prefix>.<its name>". */
int32_t tensor_like(struct builder *builder, const char *prefix, int32_t tensor);
/* A view of `whole` from `offset` bytes on. */
int32_t view_add(struct builder *builder, const char *name, int32_t whole, uint64_t offset, int rank,
                 const int64_t *shape);

void tensor_set_dtype(struct tensor *tensor, enum dtype dtype);

/* A node with no operands yet; phase forward. Push it with node_push once it is filled. */
struct node node_make(enum op op, int32_t scope);
void node_push(struct builder *builder, const struct node *node);
/* A tensor's elements as an elementwise node of `op` over them. */
struct node node_elementwise(const struct builder *builder, enum op op, int32_t scope, int32_t tensor);

/* Forward nodes that rewriting removed have op OP_COUNT until nodes_compact. */
void nodes_compact(struct builder *builder);
/* The node that writes `tensor` and how many nodes read it, among the nodes so far. -1 when nobody writes it. */
int32_t node_producer(const struct builder *builder, int32_t tensor);
int node_readers(const struct builder *builder, int32_t tensor);

static inline bool wants_phase(const struct builder *builder, enum phase phase)
{
    return builder->request->phases & PHASE_BIT(phase);
}
static inline bool wants_fusion(const struct builder *builder, enum fusion fusion)
{
    return builder->request->fusions & (1u << fusion);
}
/* Counts one more firing of a pass. */
static inline void fusion_fired(struct builder *builder, enum fusion fusion)
{
    builder->result.fired |= 1u << fusion;
    builder->result.fired_count[fusion]++;
}

/* The parameter whose tensor, copy (or fused weight's …) this is; NULL when it is none. */
struct parameter *parameter_of(struct builder *builder, int32_t tensor);
struct weight_fusion *group_of(struct builder *builder, int32_t tensor);

/* forward.c: parameters, regions, scopes and the forward and loss nodes, eager. */
bool forward_build(struct builder *builder, struct error *error);
/* The persistent region for one kind of per-parameter tensors, with a view for each parameter. */
void region_add(struct builder *builder, const char *name, const char *prefix, enum tensor_kind kind, enum dtype dtype);

/* Fusion passes over the forward nodes, in the order of enum fusion; each says in its file what it looks for and what
 * puts in its place, and counts its firings. Those that do not find their pattern change nothing. */
void fuse_qkv(struct builder *builder);           /* fuse_projections.c */
void fuse_gate_up(struct builder *builder);       /* fuse_projections.c */
void fuse_attention(struct builder *builder);     /* fuse_attention.c */
void fuse_swiglu(struct builder *builder);        /* fuse_swiglu.c */
void fuse_add_rmsnorm(struct builder *builder);   /* fuse_norm.c */
void fuse_cross_entropy(struct builder *builder); /* fuse_loss.c */
void fuse_cast(struct builder *builder);          /* fuse_cast.c; after autocast */

/* Column slices: `columns` of `whole` (N, W) from `first` on, as a tensor of its own with a row stride. */
void tensor_make_slice(struct builder *builder, int32_t tensor, int32_t whole, int64_t first);
/* Are the tensors slices of one whole, one after another and as wide together? Returns the whole, else TENSOR_NONE. */
int32_t slices_of_one(const struct builder *builder, const int32_t *tensors, int count);

/* precision.c: bf16 by autocast's rules, with the CAST nodes that the reference framework would dispatch. */
void autocast(struct builder *builder);

/* autodiff.c: appends the backward nodes of every forward node, last to first. */
bool autodiff(struct builder *builder, struct error *error);
/* Adds a contribution to the gradient of `tensor`: the first one is the gradient, the next is summed by an ADD node. */
void gradient_contribute(struct builder *builder, int32_t tensor, int32_t contribution);

/* checkpoint.c: before the backward of block `layer`, its forward nodes once more, into fresh tensors. */
void checkpoint_recompute(struct builder *builder, int32_t layer, size_t forward_count);
/* Drops recomputed nodes whose values nobody reads. */
void checkpoint_drop_unread(struct builder *builder);

/* optimizer.c */
void optimizer_build(struct builder *builder);

/* Nodes to be put among those that are there: before node `before`, those for one place in the order of adding. */
struct insertion {
    size_t before;
    struct node node;
};
struct insertions {
    VEC(struct insertion) list;
};
void insertion_add(struct insertions *insertions, size_t before, const struct node *node);
/* Puts them in and empties the list. */
void insertions_apply(struct builder *builder, struct insertions *insertions);

/* parallel.c: several ranks. */
static inline bool is_sharded(const struct builder *builder)
{
    return builder->request->ranks.parallel == PARALLEL_ZERO1 || builder->request->ranks.parallel == PARALLEL_FSDP;
}
/* Elements that the places of parameters are multiples of: any stretch between two places divides among the ranks. */
uint64_t place_alignment(const struct builder *builder);
/* A collective over whole tensors or views; `elements` as its op counts them. */
struct node collective_node(const struct builder *builder, enum op op, enum phase phase, int32_t scope, int32_t x,
                            int32_t y, int64_t elements);
/* The AdamW node of any stretch of parameters; copy may be TENSOR_NONE. */
struct node adamw_node(const struct builder *builder, enum op op, int32_t scope, int32_t p, int32_t g, int32_t m,
                       int32_t v, int32_t copy);
/* The tensor whose storage `tensor` shares; TENSOR_NONE for none. */
int32_t storage_of(const struct builder *builder, int32_t tensor);
/* After autodiff: the gradients' way to the other ranks. */
void parallel_gradients(struct builder *builder);
/* collectives.c: the whole plan of a collective alone. */
void collective_build(struct builder *builder);
/* In place of optimizer_build for zero1. */
void zero1_optimizer(struct builder *builder);
/* fsdp.c: after autodiff, parameters and gradients in shards, gathers and scatters, and the optimizer's nodes. */
void fsdp_build(struct builder *builder);

/* memory.c: kinds, lifetimes and places of all tensors; phases that were not asked for go. */
bool memory_plan(struct builder *builder, struct error *error);

/* scopes.c: the tree in the order in which the step enters it, without scopes that fusion emptied. */
bool scopes_arrange(struct builder *builder, struct error *error);
