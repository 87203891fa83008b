/* Linear layers: one GEMM each, by OpenBLAS or by our own. */
#include "kernels/cpu/cpu.h"

void cpu_gemm_run(const struct cpu_blas *blas, const struct cpu_isa *isa, enum gemm_choice choice, const struct gemm *g,
                  int threads, float *scratch, size_t scratch_stride)
{
    if (choice == GEMM_OPENBLAS) {
        const bool at = g->a_ks != 1, bt = g->b_cs != 1;
        blas->sgemm(CblasRowMajor, at ? CblasTrans : CblasNoTrans, bt ? CblasTrans : CblasNoTrans, (blasint)g->m,
                    (blasint)g->n, (blasint)g->k, 1, g->a, (blasint)(at ? g->a_ks : g->a_rs), g->b,
                    (blasint)(bt ? g->b_cs : g->b_ks), 0, g->c, (blasint)g->ldc);
    } else {
        isa->gemm(g, choice == GEMM_OWN_DEEP ? GEMM_BLOCK_DEEP : GEMM_BLOCK_FLAT, threads, scratch, scratch_stride);
    }
}

struct gemm cpu_gemm_of(const struct program *program, const struct node *node)
{
    const float *first = cpu_input(program, node, 0), *second = cpu_input(program, node, 1);
    float *out = cpu_output(program, node, 0);
    const int64_t s0 = cpu_stride(program, node->input[0]), s1 = cpu_stride(program, node->input[1]),
                  so = cpu_stride(program, node->output[0]);
    const struct linear_product p = linear_product_of(node);
    return (struct gemm){.m = p.m,
                         .n = p.n,
                         .k = p.k,
                         .a = first,
                         .a_rs = p.transpose_a ? 1 : s0,
                         .a_ks = p.transpose_a ? s0 : 1,
                         .b = second,
                         .b_ks = p.transpose_b ? 1 : s1,
                         .b_cs = p.transpose_b ? s1 : 1,
                         .c = out,
                         .ldc = so};
}

bool cpu_gemm_is_bf16(const struct program *program, const struct node *node)
{
    return program->plan->tensors[node->input[0]].dtype == DTYPE_BF16;
}

struct gemm_bf16 cpu_gemm_bf16_of(const struct program *program, const struct node *node)
{
    const struct gemm g = cpu_gemm_of(program, node);
    return (struct gemm_bf16){.m = g.m,
                              .n = g.n,
                              .k = g.k,
                              .a = (const uint16_t *)(const void *)g.a,
                              .a_rs = g.a_rs,
                              .a_ks = g.a_ks,
                              .b = (const uint16_t *)(const void *)g.b,
                              .b_ks = g.b_ks,
                              .b_cs = g.b_cs,
                              .c = g.c,
                              .ldc = g.ldc,
                              .narrow = program->plan->tensors[node->output[0]].dtype == DTYPE_BF16};
}

static void multiply(struct program *program, const struct node *node)
{
    if (cpu_gemm_is_bf16(program, node)) {
        const struct gemm_bf16 narrow = cpu_gemm_bf16_of(program, node);
        program->isa->gemm_bf16(&narrow, program->amx, program->threads, program->scratch, program->scratch_stride);
        return;
    }
    const struct gemm gemm = cpu_gemm_of(program, node);
    cpu_gemm_run(program->blas, program->isa, program->steps[node - program->plan->nodes].gemm, &gemm, program->threads,
                 program->scratch, program->scratch_stride);
}

void cpu_linear(struct program *program, const struct node *node)
{
    multiply(program, node);
}
void cpu_linear_backward_input(struct program *program, const struct node *node)
{
    multiply(program, node);
}
void cpu_linear_backward_weight(struct program *program, const struct node *node)
{
    multiply(program, node);
}
