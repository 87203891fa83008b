/* The double-precision reference, inside: every op as plain loops over matrices of doubles. */
#pragma once
#include "base/error.h"
#include "kernels/plan.h"

/* One arena of doubles for each dtype of the plan: element i of a tensor of dtype d at byte offset o is
 * arena[d][o / dtype_size(d) + i]. So views, regions and storage that is reused by lifetime mean here what they mean in
 * the plan's arena. Pages that nothing touches cost nothing. */
struct program {
    const struct plan *plan;
    double *arena[DTYPE_COUNT];
    uint64_t arena_bytes[DTYPE_COUNT];
    uint32_t *names;    /* interned op names by node; NULL without a probe */
    int64_t steps_done; /* of the optimizer */
    struct communicator *communicator; /* NULL in a plan without collectives */
    double **peer[DTYPE_COUNT];        /* by dtype and rank: its arena; NULL without a communicator */
};

/* A tensor as a matrix: the last dimension is the columns. */
struct matrix {
    double *v;
    int64_t rows, columns, stride;
};
struct matrix reference_matrix(const struct program *program, int32_t tensor);

typedef void reference_kernel(struct program *program, const struct node *node);

reference_kernel reference_embedding, reference_embedding_backward, reference_rmsnorm, reference_rmsnorm_backward,
    reference_linear, reference_linear_backward_input, reference_linear_backward_weight, reference_rope,
    reference_rope_backward, reference_add, reference_silu, reference_silu_backward, reference_mul, reference_cast,
    reference_add_rmsnorm, reference_swiglu, reference_swiglu_backward;
reference_kernel reference_attn_scores, reference_attn_scores_backward_q, reference_attn_scores_backward_k,
    reference_causal_softmax, reference_causal_softmax_backward, reference_attn_values,
    reference_attn_values_backward_p, reference_attn_values_backward_v, reference_attention,
    reference_attention_backward;
/* collectives.c: shares the arenas among the ranks in place of allocating them; runs a collective. */
bool reference_ranks_open(struct program *program, struct communicator *communicator, struct error *error);
void reference_ranks_close(struct program *program);
bool reference_collective(struct program *program, const struct node *node, struct error *error);

reference_kernel reference_cross_entropy, reference_cross_entropy_backward, reference_cross_entropy_fused,
    reference_adamw;
