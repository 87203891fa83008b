/* The kernels of this instruction set. */
#include "kernels/cpu/simd/simd.h"

cpu_gemm ISA(gemm);
cpu_kernel ISA(embedding), ISA(embedding_backward), ISA(rmsnorm), ISA(add_rmsnorm), ISA(rmsnorm_backward), ISA(rope),
    ISA(rope_backward), ISA(causal_softmax), ISA(causal_softmax_backward), ISA(add), ISA(mul), ISA(silu),
    ISA(silu_backward), ISA(cast), ISA(swiglu), ISA(swiglu_backward), ISA(cross_entropy), ISA(cross_entropy_backward),
    ISA(cross_entropy_fused), ISA(adamw), ISA(attention), ISA(attention_backward);

#define TEXT_(name) #name
#define TEXT(name) TEXT_(name)

const struct cpu_isa ISA(cpu_isa) = {
    .name = TEXT(ISA_NAME),
    .gemm = ISA(gemm),
    .gemm_name = "sgemm_" TEXT(ISA_NAME),
    .kernels =
        {
            [OP_EMBEDDING] = ISA(embedding),
            [OP_EMBEDDING_BACKWARD] = ISA(embedding_backward),
            [OP_RMSNORM] = ISA(rmsnorm),
            [OP_RMSNORM_BACKWARD] = ISA(rmsnorm_backward),
            [OP_ADD_RMSNORM] = ISA(add_rmsnorm),
            [OP_ROPE] = ISA(rope),
            [OP_ROPE_BACKWARD] = ISA(rope_backward),
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
