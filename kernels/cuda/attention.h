/* Fused causal attention: several ways to run it, candidates, one of which is taken for each shape by timing.
 *
 * All candidates agree on what lies in memory, so that any forward goes with any backward and each direction is chosen alone:
 *   qkv  (B·T, 3·H·D), rows row_stride apart: head h of q, k, v in columns h·D of the three thirds, not yet turned by RoPE
 *   o    (B·T, H·D)
 *   lse  (B, H, T) fp32: the natural logarithm of Σ_j exp(scale·q·k_j), j up to the diagonal, q and k turned
 *   dqkv as qkv, of which dq and dk are turned back; delta (B, H, T) fp32 is scratch of the backward pass
 * Everything is deterministic: the same bits from run to run. */
#pragma once
#include "kernels/cuda/cuda_internal.h"

struct choice_cache;

/* What decides the choice. Equal shapes have equal bytes. */
struct cuda_attention_shape {
    int64_t batch, context, heads, head_dim;
    int64_t stride_qkv, stride_o, stride_do, stride_dqkv; /* elements; 0 where there is none */
    uint32_t align;                                       /* bytes that divide the addresses of all operands */
    float scale;
    uint8_t backward, rope;
    uint8_t type_qkv, type_o, type_do, type_dqkv; /* enum dtype */
    uint8_t precision;                            /* enum precision: fp32 operands may stand for tf32 */
    uint8_t pad;
};

/* One attention node with its operands, tagged addresses still. */
struct cuda_attention_call {
    struct cuda_attention_shape shape;
    struct operand qkv, table, o, lse; /* table.address 0: no RoPE */
    struct operand d_o, dqkv, delta;   /* backward only */
};

/* The interface of a candidate. */
struct cuda_attention_candidate {
    const char *name; /* at most 23 bytes; as reports show it */
    /* Can it run this shape on this device, as far as can be told at little cost? `why` gets the reason when not. */
    bool (*serves)(struct device *device, const struct cuda_attention_shape *shape, char *why, size_t why_size);
    /* Appends its launches: lower_kernel for kernels that take plain arguments, lower_call for what the host has to set up at
     * each launch; lower_scratch for a workspace. Only for what it serves; false, with the reason and nothing appended, where it
     * turns out only now that it cannot. */
    bool (*lower)(struct lowering *lowering, const struct cuda_attention_call *call, char *why, size_t why_size);
    bool last_resort; /* taken only where no other one serves: never timed */
};

/* The order is that of preference where nothing is timed. */
extern const struct cuda_attention_candidate *const cuda_attention_candidates[];
extern const int cuda_attention_candidate_count;
#define CUDA_ATTENTION_MAX_CANDIDATES 8

extern const struct cuda_attention_candidate cuda_attention_hopper;   /* attention_hopper.c */
extern const struct cuda_attention_candidate cuda_attention_mma;      /* attention_mma.c */
extern const struct cuda_attention_candidate cuda_attention_cudnn;    /* attention_cudnn.c */
extern const struct cuda_attention_candidate cuda_attention_products; /* attention_products.c */

struct cuda_attention_choice {
    struct cuda_attention_shape shape;
    int32_t node;  /* the plan's first of this shape */
    int candidate; /* -1: none serves */
    bool serves[CUDA_ATTENTION_MAX_CANDIDATES];
    char why[CUDA_ATTENTION_MAX_CANDIDATES][120]; /* why one does not */
    double us[CUDA_ATTENTION_MAX_CANDIDATES];     /* NaN: not timed, or it did not run */
    int tried;                                    /* how many were timed, now or when the cache was written */
    bool from_cache;
};

/* Compile mode, before lowering: a choice for every attention node of the plan, from the cache or by timing those that serve on
 * random operands in memory of the plan's size, which is given back. A candidate that fails is passed over. */
bool cuda_attention_choose(struct program *program, const struct prepare_options *options, struct choice_cache *cache,
                           struct error *error);

/* cuDNN's plan for a shape, or for the largest part of its batches and heads that needs no more than `most_workspace` bytes; NULL
 * with the reason. For a test without a device. */
struct cuda_attention_part {
    int64_t batches, heads;
};
struct cudnn;
struct cudnn_plan *cuda_attention_cudnn_plan(struct cudnn *cudnn, const struct cuda_attention_shape *shape,
                                             uint64_t most_workspace, struct cuda_attention_part *part, char *why,
                                             size_t why_size);
void cuda_attention_cudnn_close(struct device *device);

/* The choice for a shape, made without timing where there is none yet. */
struct cuda_attention_choice *cuda_attention_find(struct program *program, const struct cuda_attention_shape *shape,
                                                  int32_t node);

struct cuda_attention_call cuda_attention_call_of(const struct lowering *lowering, const struct node *node);

/* "mma.sync, 740.1 us, best of 2 (cuDNN 812.0 us)", "mma.sync; cuDNN: no libcudnn.so.9 …". */
void cuda_attention_describe(const struct cuda_attention_candidate *const *candidates, int count,
                             const struct cuda_attention_choice *choice, char *text, size_t size);

/* The part that decides, apart from any device: asks each and picks; picks again from serves and us. */
void cuda_attention_ask(const struct cuda_attention_candidate *const *candidates, int count, struct device *device,
                        struct cuda_attention_choice *choice);

void cuda_attention_pick(const struct cuda_attention_candidate *const *candidates, int count, struct device *device,
                         struct cuda_attention_choice *choice);

/* What the cache knows of it; `stamp` stands for the kernels' sources and libraries. False: it has to be timed. */
bool cuda_attention_recall(const struct cuda_attention_candidate *const *candidates, int count, uint64_t stamp,
                           struct choice_cache *cache, struct cuda_attention_choice *choice);
void cuda_attention_remember(const struct cuda_attention_candidate *const *candidates, int count, uint64_t stamp,
                             struct choice_cache *cache, const struct cuda_attention_choice *choice);
