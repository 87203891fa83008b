#include "report/estimate.h"
#include "base/unknown.h"
#include "kernels/ops.h"

double cell_steps(const struct cell *cell)
{
    const double steps = cell->steps == STEPS_FOREVER ? 1 : cell->steps;
    return cell->warmup + steps + (cell->profile_every ? (steps + cell->profile_every - 1) / cell->profile_every : 0);
}

bool estimate_cell(const struct cell *cell, struct estimate *estimate, struct error *error)
{
    struct plan_request request;
    struct plan_result result;
    cell_plan_request(cell, cell->compile ? FUSE_ALL : 0, &request);
    struct plan *plan = plan_build(&request, &result, error);
    if (!plan)
        return false;
    *estimate = (struct estimate){.memory = plan->memory.total};
    for (int pass = 0; pass < PASS_COUNT; pass++) {
        estimate->flops[pass] = estimate->full_flops[pass] = UNKNOWN_DOUBLE;
        if (!(cell->passes & PASS_BIT(pass)))
            continue;
        estimate->flops[pass] = estimate->full_flops[pass] = 0;
        /* What the causal mask leaves is T(T + 1)/2 of the T² pairs. */
        const double whole = 2.0 * (double)cell->context_length / ((double)cell->context_length + 1);
        for (int32_t i = 0; i < plan->node_count; i++) {
            const struct node *node = &plan->nodes[i];
            if (!(pass_phases((enum pass)pass) & PHASE_BIT(node->phase)))
                continue;
            const enum kernel_class class = op_info(node->op)->kernel_class;
            estimate->flops[pass] += node->flops;
            estimate->full_flops[pass] +=
                class == CLASS_ATTENTION || class == CLASS_SOFTMAX ? node->flops * whole : node->flops;
        }
        estimate->work += estimate->flops[pass] * cell_steps(cell);
    }
    plan_free(plan);
    return true;
}
