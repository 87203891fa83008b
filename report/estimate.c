#include "report/estimate.h"
#include "base/hash.h"
#include "base/unknown.h"
#include "kernels/ops.h"

double cell_steps(const struct cell *cell)
{
    const double steps = cell->steps == STEPS_FOREVER ? 1 : cell->steps;
    return cell->warmup + steps + (cell->profile_every ? (steps + cell->profile_every - 1) / cell->profile_every : 0);
}

/* FLOPs of all steps, from those of one. */
static void work(const struct cell *cell, struct estimate *estimate)
{
    estimate->work = 0;
    for (int pass = 0; pass < PASS_COUNT; pass++)
        if (cell->passes & PASS_BIT(pass))
            estimate->work += estimate->flops[pass] * cell_steps(cell);
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
    }
    plan_free(plan);
    work(cell, estimate);
    return true;
}

struct known_estimate {
    struct cell cell;
    struct estimate estimate;
};

/* Of a cell what its plan is made from; the rest is the same for all. */
static struct cell plan_of(const struct cell *cell)
{
    struct cell plan;
    cell_default(&plan);
    plan.model = cell->model;
    plan.batch_size = cell->batch_size;
    plan.context_length = cell->context_length;
    plan.dtype = cell->dtype;
    plan.compile = cell->compile;
    plan.checkpoint = cell->checkpoint;
    plan.passes = cell->passes;
    plan.ranks = cell->ranks;
    plan.parallel = cell->parallel;
    plan.bucket_mb = cell->bucket_mb;
    plan.gradient_dtype = cell->gradient_dtype;
    plan.collective = cell->collective;
    return plan;
}

static uint64_t plan_hash(const struct cell *plan)
{
    const struct model_config *model = &plan->model;
    const int64_t values[] = {model->d_model,
                              model->d_ff,
                              model->num_layers,
                              model->num_heads,
                              model->vocab_size,
                              plan->batch_size,
                              plan->context_length,
                              (int64_t)plan->dtype,
                              plan->compile,
                              (int64_t)plan->checkpoint,
                              plan->passes,
                              plan->ranks,
                              (int64_t)plan->parallel,
                              plan->bucket_mb,
                              (int64_t)plan->gradient_dtype,
                              (int64_t)plan->collective};
    uint64_t hash = HASH_START;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        hash = hash_step(hash, (uint64_t)values[i]);
    return hash ^ hash >> 32;
}

/* The slot of this plan, or the free one where it would go. */
static uint32_t *slot_of(const struct estimates *estimates, const struct cell *plan)
{
    size_t at = plan_hash(plan) & (estimates->slot_count - 1);
    while (estimates->slots[at] && !cell_equal(&estimates->known.items[estimates->slots[at] - 1].cell, plan))
        at = (at + 1) & (estimates->slot_count - 1);
    return &estimates->slots[at];
}

static bool slots_grow(struct estimates *estimates)
{
    if (estimates->slot_count > 2 * estimates->known.count)
        return true;
    const size_t wanted = estimates->slot_count ? 4 * estimates->slot_count : 64;
    uint32_t *slots = calloc(wanted, sizeof *slots);
    if (!slots)
        return false;
    free(estimates->slots);
    estimates->slots = slots;
    estimates->slot_count = wanted;
    for (size_t i = 0; i < estimates->known.count; i++)
        *slot_of(estimates, &estimates->known.items[i].cell) = (uint32_t)i + 1;
    return true;
}

bool estimates_cell(struct estimates *estimates, const struct cell *cell, struct estimate *estimate,
                    struct error *error)
{
    const struct cell plan = plan_of(cell);
    if (!slots_grow(estimates))
        return estimate_cell(cell, estimate, error);
    uint32_t *slot = slot_of(estimates, &plan);
    if (!*slot) {
        struct known_estimate new = {.cell = plan};
        if (!estimate_cell(&plan, &new.estimate, error))
            return false;
        vec_push(&estimates->known, new);
        *slot = (uint32_t)estimates->known.count;
    }
    *estimate = estimates->known.items[*slot - 1].estimate;
    work(cell, estimate);
    return true;
}

void estimates_release(struct estimates *estimates)
{
    free(estimates->slots);
    vec_release(&estimates->known);
    *estimates = (struct estimates){0};
}
