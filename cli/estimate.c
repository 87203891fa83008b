#include "cli/estimate.h"
#include "base/unknown.h"

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
        estimate->flops[pass] = UNKNOWN_DOUBLE;
        if (!(cell->passes & PASS_BIT(pass)))
            continue;
        estimate->flops[pass] = 0;
        for (int32_t i = 0; i < plan->node_count; i++) {
            if (pass_phases((enum pass)pass) & PHASE_BIT(plan->nodes[i].phase))
                estimate->flops[pass] += plan->nodes[i].flops;
        }
        estimate->work += estimate->flops[pass] * cell_steps(cell);
    }
    plan_free(plan);
    return true;
}
