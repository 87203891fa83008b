/* plan_build: forward, fusion, precision, autodiff, optimizer, memory, in that order. Fusion works on the forward nodes
 * and every op, fused or not, has a gradient rule, so a fused backward follows by itself. */
#include "model/builder.h"
#include <stdio.h>
#include <stdlib.h>

static bool request_check(const struct plan_request *request, struct error *error)
{
    const unsigned phases = request->phases;
    if (phases != PHASES_FWD && phases != (PHASES_FWD | PHASE_BIT(PHASE_LOSS)) && phases != PHASES_FWD_BWD &&
        phases != PHASES_TRAIN_STEP)
        return error_set(error, ERROR_INTERNAL, "phases %#x are not the start of a step", phases);
    if (request->inference && phases & (PHASE_BIT(PHASE_BWD) | PHASE_BIT(PHASE_OPT)))
        return error_set(error, ERROR_UNSUPPORTED, "inference keeps nothing for a backward pass: choose the pass fwd");
    if ((unsigned)request->precision >= PRECISION_COUNT || (unsigned)request->checkpoint >= CHECKPOINT_COUNT)
        return error_set(error, ERROR_INTERNAL, "precision %d or checkpoint %d does not exist", (int)request->precision,
                         (int)request->checkpoint);
    const struct ranks_request *ranks = &request->ranks;
    if ((unsigned)ranks->parallel >= PARALLEL_COUNT || ranks->rank < 0 || ranks->ranks < 0 ||
        (ranks->ranks && ranks->rank >= ranks->ranks))
        return error_set(error, ERROR_INTERNAL, "rank %d of %d, or parallel %d, does not exist", ranks->rank,
                         ranks->ranks, (int)ranks->parallel);
    if (ranks->collective != COLLECTIVE_NONE)
        return (ranks->ranks > 1 && (unsigned)ranks->collective < COLLECTIVE_COUNT) ||
               error_set(error, ERROR_UNSUPPORTED, "a collective takes two ranks at least: --ranks 2");
    if (ranks->parallel != PARALLEL_NONE && ranks->ranks < 2)
        return error_set(error, ERROR_UNSUPPORTED, "parallel %s takes two ranks at least: --ranks 2",
                         parallel_name(ranks->parallel));
    if (ranks->parallel != PARALLEL_NONE && request->model.kind == MODEL_ATTENTION)
        return error_set(error, ERROR_UNSUPPORTED, "the attention-only model has no weights for ranks to share");
    return model_config_check(&request->model, request->batch, request->context, NULL, 0, error);
}

/* Hands the arrays over to the plan and fills in what is read off them. */
static void plan_finish(struct builder *builder)
{
    struct plan *plan = builder->plan;
    plan->tensors = builder->tensors.items;
    plan->tensor_count = (int32_t)builder->tensors.count;
    plan->nodes = builder->nodes.items;
    plan->node_count = (int32_t)builder->nodes.count;
    plan->scopes = builder->scopes.items;
    plan->scope_count = (int32_t)builder->scopes.count;
    builder->tensors.items = NULL;
    builder->nodes.items = NULL;
    builder->scopes.items = NULL;
    int32_t node = 0;
    for (int phase = 0; phase < PHASE_COUNT; phase++) {
        plan->phase_first[phase] = node;
        while (node < plan->node_count && plan->nodes[node].phase == (enum phase)phase)
            node++;
    }
    plan->phase_first[PHASE_COUNT] = node;
    for (int32_t i = 0; i < plan->node_count; i++) {
        const struct op_info *info = op_info(plan->nodes[i].op);
        plan->nodes[i].flops = info->flops(plan, &plan->nodes[i]);
        plan->nodes[i].bytes = info->bytes(plan, &plan->nodes[i]);
    }
    plan->digest = plan_digest(plan);
}

/* Passes over the f32 forward nodes; casts are fused after autocast has made them, AdamW where the optimizer is built. */
static const struct {
    enum fusion fusion;
    void (*run)(struct builder *builder);
} passes[] = {
    {FUSE_QKV, fuse_qkv},       {FUSE_GATE_UP, fuse_gate_up},         {FUSE_ATTENTION, fuse_attention},
    {FUSE_SWIGLU, fuse_swiglu}, {FUSE_ADD_RMSNORM, fuse_add_rmsnorm}, {FUSE_CROSS_ENTROPY, fuse_cross_entropy},
};

static bool plan_fill(struct builder *builder, struct error *error)
{
    const struct plan_request *request = builder->request;
    if (request->ranks.collective != COLLECTIVE_NONE) {
        collective_build(builder);
        return memory_plan(builder, error) && scopes_arrange(builder, error);
    }
    if (!forward_build(builder, error))
        return false;
    for (size_t i = 0; i < sizeof passes / sizeof *passes; i++)
        if (wants_fusion(builder, passes[i].fusion))
            passes[i].run(builder);
    if (request->precision == PRECISION_BF16) {
        autocast(builder);
        if (wants_fusion(builder, FUSE_CAST)) {
            region_add(builder, "parameters.bf16", "bf16.", TENSOR_PARAMETER_COPY, DTYPE_BF16);
            fuse_cast(builder);
        }
    }
    if (!request->inference) {
        region_add(builder, "gradients", "grad.", TENSOR_GRADIENT, DTYPE_F32);
        if (!autodiff(builder, error))
            return false;
        parallel_gradients(builder);
    }
    if (request->ranks.parallel == PARALLEL_FSDP) {
        fsdp_build(builder); /* the optimizer, too */
    } else if (wants_phase(builder, PHASE_OPT) && request->ranks.parallel == PARALLEL_ZERO1) {
        optimizer_build(builder);
    } else if (wants_phase(builder, PHASE_OPT)) {
        region_add(builder, "adamw.m", "m.", TENSOR_OPTIMIZER, DTYPE_F32);
        region_add(builder, "adamw.v", "v.", TENSOR_OPTIMIZER, DTYPE_F32);
        optimizer_build(builder);
    }
    return memory_plan(builder, error) && scopes_arrange(builder, error);
}

struct plan *plan_build(const struct plan_request *request, struct plan_result *result, struct error *error)
{
    if (!request_check(request, error))
        return NULL;
    struct plan *plan = calloc(1, sizeof *plan);
    if (!plan) {
        error_set(error, ERROR_MEMORY, "no memory for a plan");
        return NULL;
    }
    struct builder builder = {.request = request, .plan = plan, .output_gradient = TENSOR_NONE};
    plan->tokens = plan->targets = plan->rope_table = plan->logits = plan->loss = TENSOR_NONE;
    plan->precision = request->precision;
    plan->rank = request->ranks.rank;
    plan->ranks = request->ranks.ranks > 1 ? request->ranks.ranks : 1;
    if (request->ranks.collective == COLLECTIVE_NONE) {
        plan->batch = request->batch;
        plan->context = request->context;
        plan->vocab = request->model.kind == MODEL_LM ? request->model.vocab_size : 0;
    }
    const bool ok = plan_fill(&builder, error);
    if (ok)
        plan_finish(&builder);
    if (ok && result)
        *result = builder.result;
    vec_release(&builder.tensors);
    vec_release(&builder.nodes);
    vec_release(&builder.scopes);
    vec_release(&builder.parameters);
    vec_release(&builder.groups);
    vec_release(&builder.gradient);
    vec_release(&builder.contributions);
    vec_release(&builder.again);
    vec_release(&builder.buckets);
    if (!ok) {
        plan_free(plan);
        return NULL;
    }
    return plan;
}
