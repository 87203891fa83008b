/* Compile mode: which GEMM is the fastest for each shape on this machine, by timing them against each other. */
#include "base/clock.h"
#include "kernels/cpu/cpu.h"
#include <string.h>

#define TRIALS 3

const char *cpu_gemm_choice_name(enum gemm_choice choice)
{
    static const char *const names[GEMM_CHOICES] = {"OpenBLAS", "own 192x384", "own 96x768"};
    return names[choice];
}

static bool is_linear(enum op op)
{
    return op == OP_LINEAR || op == OP_LINEAR_BACKWARD_INPUT || op == OP_LINEAR_BACKWARD_WEIGHT;
}

static bool same_shape(const struct node *a, const struct node *b)
{
    return a->op == b->op && a->dims.rows == b->dims.rows && a->dims.d_in == b->dims.d_in &&
           a->dims.d_out == b->dims.d_out;
}

/* The quickest of TRIALS interleaved runs of each choice, on memory of its own: the arena's zeros stay. */
static enum gemm_choice fastest(const struct program *program, struct gemm gemm, float *memory, uint64_t deadline,
                                uint64_t best[GEMM_CHOICES])
{
    gemm.c = memory;
    gemm.ldc = gemm.n;
    gemm.a = memory + gemm.m * gemm.n;
    gemm.b = gemm.a + gemm.m * gemm.k;
    if (gemm.a_ks == 1)
        gemm.a_rs = gemm.k;
    else
        gemm.a_ks = gemm.m;
    if (gemm.b_cs == 1)
        gemm.b_ks = gemm.n;
    else
        gemm.b_cs = gemm.k;
    for (int choice = 0; choice < GEMM_CHOICES; choice++)
        best[choice] = UINT64_MAX;
    for (int trial = 0; trial < TRIALS && (trial == 0 || clock_now() < deadline); trial++)
        for (int choice = 0; choice < GEMM_CHOICES; choice++) {
            const uint64_t start = clock_now();
            cpu_gemm_run(program->isa, (enum gemm_choice)choice, &gemm, program->threads, program->scratch,
                         program->scratch_stride);
            const uint64_t took = clock_now() - start;
            best[choice] = took < best[choice] ? took : best[choice];
        }
    enum gemm_choice choice = GEMM_OPENBLAS;
    for (int other = 1; other < GEMM_CHOICES; other++)
        choice = best[other] < best[choice] ? (enum gemm_choice)other : choice;
    return choice;
}

static const char *gemm_letters(enum op op)
{
    return op == OP_LINEAR ? "nt" : op == OP_LINEAR_BACKWARD_INPUT ? "nn" : "tn";
}

bool cpu_gemm_choose(struct program *program, uint64_t budget_ns, struct prepare_report *report, struct error *error)
{
    const struct plan *plan = program->plan;
    size_t floats = 0;
    for (int32_t i = 0; i < plan->node_count; i++) {
        if (!is_linear(plan->nodes[i].op))
            continue;
        const struct gemm g = cpu_gemm_of(program, &plan->nodes[i]);
        const size_t wanted = (size_t)(g.m * g.n + g.m * g.k + g.k * g.n);
        floats = wanted > floats ? wanted : floats;
    }
    if (floats == 0)
        return true;
    float *memory = cpu_memory_map(floats * sizeof *memory);
    if (!memory)
        return error_set(error, ERROR_MEMORY, "timing the GEMMs needs %.1f MiB for a moment and the system refuses it",
                         (double)floats * sizeof *memory / 0x1p20);
    cpu_memory_touch(memory, floats * sizeof *memory, program->threads);
    const uint64_t deadline = clock_now() + budget_ns;
    for (int32_t i = 0; i < plan->node_count; i++) {
        const struct node *node = &plan->nodes[i];
        if (!is_linear(node->op))
            continue;
        int32_t known = 0;
        while (known < i && !same_shape(&plan->nodes[known], node))
            known++;
        if (known < i) {
            program->steps[i].gemm = program->steps[known].gemm;
            continue;
        }
        uint64_t best[GEMM_CHOICES];
        const struct gemm g = cpu_gemm_of(program, node);
        const enum gemm_choice choice = fastest(program, g, memory, deadline, best);
        program->steps[i].gemm = choice;
        const double flops = 2.0 * (double)g.m * (double)g.n * (double)g.k;
        cpu_note(report,
                 arena_printf(&program->strings, "gemm %s %lldx%lldx%lld", gemm_letters(node->op), (long long)g.m,
                              (long long)g.n, (long long)g.k),
                 arena_printf(&program->strings, "%s (GFLOP/s: OpenBLAS %.0f, own 192x384 %.0f, own 96x768 %.0f)",
                              cpu_gemm_choice_name(choice), flops / (double)best[GEMM_OPENBLAS],
                              flops / (double)best[GEMM_OWN_FLAT], flops / (double)best[GEMM_OWN_DEEP]));
    }
    cpu_memory_unmap(memory, floats * sizeof *memory);
    return true;
}
