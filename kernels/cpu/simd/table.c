/* The kernels of this instruction set. */
#include "kernels/cpu/simd/simd.h"

cpu_gemm ISA(gemm);
cpu_gemm_bf16 ISA(gemm_bf16);
cpu_kernel ISA(embedding), ISA(embedding_backward), ISA(rmsnorm), ISA(add_rmsnorm), ISA(rmsnorm_backward), ISA(rope),
    ISA(rope_backward), ISA(causal_softmax), ISA(causal_softmax_backward), ISA(add), ISA(mul), ISA(silu),
    ISA(silu_backward), ISA(cast), ISA(swiglu), ISA(swiglu_backward), ISA(cross_entropy), ISA(cross_entropy_backward),
    ISA(cross_entropy_fused), ISA(adamw), ISA(attention), ISA(attention_backward), ISA(attn_scores),
    ISA(attn_scores_backward_q), ISA(attn_scores_backward_k), ISA(attn_values), ISA(attn_values_backward_p),
    ISA(attn_values_backward_v);

#define TEXT_(name) #name
#define TEXT(name) TEXT_(name)

const struct cpu_isa ISA(cpu_isa) = {
    .name = TEXT(ISA_NAME),
    .gemm = ISA(gemm),
    .gemm_name = "sgemm_" TEXT(ISA_NAME),
    .gemm_bf16 = ISA(gemm_bf16),
    .gemm_bf16_name = "gemm_bf16_" TEXT(ISA_NAME),
    .kernels =
        {
            [OP_EMBEDDING] = ISA(embedding),
            [OP_EMBEDDING_BACKWARD] = ISA(embedding_backward),
            [OP_RMSNORM] = ISA(rmsnorm),
            [OP_RMSNORM_BACKWARD] = ISA(rmsnorm_backward),
            [OP_ADD_RMSNORM] = ISA(add_rmsnorm),
            [OP_ROPE] = ISA(rope),
            [OP_ROPE_BACKWARD] = ISA(rope_backward),
            [OP_ATTN_SCORES] = ISA(attn_scores),
            [OP_ATTN_SCORES_BACKWARD_Q] = ISA(attn_scores_backward_q),
            [OP_ATTN_SCORES_BACKWARD_K] = ISA(attn_scores_backward_k),
            [OP_ATTN_VALUES] = ISA(attn_values),
            [OP_ATTN_VALUES_BACKWARD_P] = ISA(attn_values_backward_p),
            [OP_ATTN_VALUES_BACKWARD_V] = ISA(attn_values_backward_v),
            [OP_CAUSAL_SOFTMAX] = ISA(causal_softmax),
            [OP_CAUSAL_SOFTMAX_BACKWARD] = ISA(causal_softmax_backward),
            [OP_ADD] = ISA(add),
            [OP_MUL] = ISA(mul),
            [OP_SILU] = ISA(silu),
            [OP_SILU_BACKWARD] = ISA(silu_backward),
            [OP_CAST] = ISA(cast),
            [OP_ATTENTION] = ISA(attention),
            [OP_ATTENTION_BACKWARD] = ISA(attention_backward),
            [OP_SWIGLU] = ISA(swiglu),
            [OP_SWIGLU_BACKWARD] = ISA(swiglu_backward),
            [OP_CROSS_ENTROPY] = ISA(cross_entropy),
            [OP_CROSS_ENTROPY_BACKWARD] = ISA(cross_entropy_backward),
            [OP_CROSS_ENTROPY_FUSED] = ISA(cross_entropy_fused),
            [OP_ADAMW] = ISA(adamw),
            [OP_ADAMW_ALL] = ISA(adamw),
        },
};
