/* Plans of every preset in every mode keep the plan's rules; their work, memory and names are those of the model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "model/model.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct plan_request request_of(const char *model, unsigned phases)
{
    struct plan_request request = {.batch = 4, .context = 256, .phases = phases};
    struct error error;
    assert_true(model_preset_find(model, &request.model, &error));
    return request;
}

static struct plan *build(const struct plan_request *request, struct plan_result *result)
{
    struct error error = {0};
    struct plan *plan = plan_build(request, result, &error);
    if (!plan)
        fail_msg("%s: %s", request->model.name, error.text);
    return plan;
}

static struct plan *build_checked(const struct plan_request *request)
{
    struct plan_result result;
    struct plan *plan = build(request, &result);
    struct error error = {0};
    if (!plan_check(plan, &error))
        fail_msg("%s %s fusions %#x phases %#x: %s", request->model.name, precision_name(request->precision),
                 request->fusions, request->phases, error.text);
    return plan;
}

static double gemm_flops(const struct plan *plan, bool recomputed)
{
    double flops = 0;
    for (int32_t i = 0; i < plan->node_count; i++)
        if (op_info(plan->nodes[i].op)->kernel_class == CLASS_MATMUL && plan->nodes[i].recompute == recomputed)
            flops += plan->nodes[i].flops;
    return flops;
}

/* Every preset × phases × precision × checkpoint, eager and fused. */
static void every_plan_keeps_the_rules(void **state)
{
    (void)state;
    static const unsigned phases[] = {PHASES_FWD, PHASES_FWD_BWD, PHASES_TRAIN_STEP};
    int count;
    const struct model_preset *presets = model_presets(&count);
    for (int m = 0; m < count; m++)
        for (int f = 0; f < 2; f++)
            for (size_t p = 0; p < 3; p++)
                for (int d = 0; d < PRECISION_COUNT; d++)
                    for (int c = 0; c < (p == 2 ? CHECKPOINT_COUNT : 1); c++) {
                        struct plan_request request = request_of(presets[m].config.name, phases[p]);
                        request.precision = (enum precision)d;
                        request.checkpoint = (enum checkpoint)c;
                        request.fusions = f ? FUSE_ALL : 0;
                        plan_free(build_checked(&request));
                        request.inference = true;
                        if (p == 0 && c == 0)
                            plan_free(build_checked(&request));
                    }
    for (int way = 0; way < 4 * PRECISION_COUNT;
         way++) { /* attention alone begins backward with a gradient that is given */
        struct plan_request request = request_of("attention", phases[way % 2]);
        request.precision = (enum precision)(way / 4);
        request.fusions = way / 2 % 2 ? FUSE_ALL : 0;
        plan_free(build_checked(&request));
    }
}

/* Reference figures: 743 GFLOP of GEMM a forward and backward step of S at 4 × 256, fused or not; a third of it forward. */
static void gemm_flops_are_the_models(void **state)
{
    (void)state;
    for (int fused = 0; fused < 2; fused++) {
        struct plan_request request = request_of("S", PHASES_FWD_BWD);
        request.fusions = fused ? FUSE_ALL : 0;
        struct plan *plan = build_checked(&request);
        assert_true(gemm_flops(plan, false) > 742.5e9 && gemm_flops(plan, false) < 743.5e9);
        /* 6·N·(weights of all GEMMs), exactly */
        assert_true(gemm_flops(plan, false) == 6.0 * 1024 * (12.0 * (4 * 768 * 768 + 3 * 768 * 3072) + 10000.0 * 768));
        plan_free(plan);
        request.phases = PHASES_FWD;
        plan = build_checked(&request);
        assert_true(gemm_flops(plan, false) == 2.0 * 1024 * (12.0 * (4 * 768 * 768 + 3 * 768 * 3072) + 10000.0 * 768));
        plan_free(plan);
    }
}

/* Attention forward is 4·B·T(T+1)/2·C products eager and fused, and RoPE 6NC more when it is inside. */
static void attention_flops_agree(void **state)
{
    (void)state;
    double flops[2] = {0, 0};
    for (int fused = 0; fused < 2; fused++) {
        struct plan_request request = request_of("S", PHASES_FWD);
        request.fusions = fused ? FUSE_ALL : 0;
        struct plan *plan = build_checked(&request);
        for (int32_t i = 0; i < plan->node_count; i++) {
            const enum op op = plan->nodes[i].op;
            if (op == OP_ATTN_SCORES || op == OP_ATTN_VALUES || op == OP_ATTENTION || op == OP_ROPE)
                flops[fused] += plan->nodes[i].flops;
        }
        plan_free(plan);
    }
    assert_true(flops[0] == flops[1]);
    assert_true(flops[0] == 12.0 * (4.0 * 4 * (256.0 * 257 / 2) * 768 + 6.0 * 1024 * 768));
}

/* The fused step moves 28 bytes a parameter in AdamW, gaps between parameters aside. */
static void adamw_moves_28_bytes_a_parameter(void **state)
{
    (void)state;
    struct plan_request request = request_of("M", PHASES_TRAIN_STEP);
    const double parameters = (double)model_parameter_count(&request.model);
    for (int fused = 0; fused < 2; fused++) {
        request.fusions = fused ? FUSE_ALL : 0;
        struct plan *plan = build_checked(&request);
        double bytes = 0;
        for (int32_t i = plan->phase_first[PHASE_OPT]; i < plan->node_count; i++)
            bytes += plan->nodes[i].bytes;
        assert_true(bytes >= 28 * parameters && bytes < 28.001 * parameters);
        plan_free(plan);
    }
}

static uint64_t parameter_elements(const struct plan *plan)
{
    uint64_t elements = 0;
    for (int32_t i = 0; i < plan->tensor_count; i++)
        if (plan->tensors[i].kind == TENSOR_PARAMETER && plan->tensors[i].parameter == i)
            elements += (uint64_t)tensor_elements(&plan->tensors[i]);
    return elements;
}

static void parameters_are_counted(void **state)
{
    (void)state;
    struct plan_request request = request_of("S", PHASES_TRAIN_STEP);
    assert_int_equal(model_parameter_count(&request.model), 128625408);
    int count;
    const struct model_preset *presets = model_presets(&count);
    assert_int_equal(count, 11);
    for (int m = 0; m < count; m++)
        for (int fused = 0; fused < 2; fused++) {
            request.model = presets[m].config;
            request.fusions = fused ? FUSE_ALL : 0;
            request.precision = fused ? PRECISION_BF16 : PRECISION_FP32;
            struct plan *plan = build_checked(&request);
            assert_int_equal(parameter_elements(plan), model_parameter_count(&request.model));
            plan_free(plan);
        }
}

/* Names and order of the reference state dict. */
static void names_are_the_state_dicts(void **state)
{
    (void)state;
    struct plan_request request = request_of("tiny", PHASES_FWD);
    struct plan *plan = build_checked(&request);
    static const char *const first[] = {
        "token_embeddings.weight",     "layers.0.attn.q_proj.weight",      "layers.0.attn.k_proj.weight",
        "layers.0.attn.v_proj.weight", "layers.0.attn.output_proj.weight", "layers.0.ffn.w1.weight",
        "layers.0.ffn.w2.weight",      "layers.0.ffn.w3.weight",           "layers.0.ln1.weight",
        "layers.0.ln2.weight",         "layers.1.attn.q_proj.weight"};
    size_t seen = 0;
    for (int32_t i = 0; i < plan->tensor_count && seen < sizeof first / sizeof *first; i++)
        if (plan->tensors[i].kind == TENSOR_PARAMETER && plan->tensors[i].parameter == i)
            assert_string_equal(plan->tensors[i].name, first[seen++]);
    assert_int_equal(seen, sizeof first / sizeof *first);
    for (int32_t i = 0; i < plan->tensor_count; i++)
        assert_int_equal(plan_find_tensor(plan, plan->tensors[i].name), i); /* names are unique */
    plan_free(plan);
}

/* What one block keeps for backward, tensor by tensor (issue: "what one block saves"), fused fp32: the norms' outputs,
 * rstd, qkv, attention's output and lse, both residual sums, gate and up; not their product, which backward makes again. */
static void a_block_saves_what_backward_reads(void **state)
{
    (void)state;
    struct plan_request request = request_of("S", PHASES_FWD_BWD);
    request.fusions = FUSE_ALL;
    struct plan *plan = build_checked(&request);
    const uint64_t n = 1024, c = 768, f = 3072, rows = 4 * n;
    uint64_t saved = 0;
    for (int32_t i = 0; i < plan->tensor_count; i++)
        if (plan->tensors[i].kind == TENSOR_SAVED && plan->tensors[i].view_of == TENSOR_NONE &&
            plan->scopes[plan->tensors[i].scope].layer == 5)
            saved += plan->tensors[i].bytes;
    assert_int_equal(saved, 4 * n * (2 * c /* h, h2 */ + 3 * c /* qkv */ + c /* o */ + 2 * c /* sums */ + 2 * f) +
                                2 * rows /* rstd */ + 4 * 4 * 12 * 256 /* lse */);
    plan_free(plan);
}

/* With overlap, nothing is laid over what a weight's product reads until eight nodes after it, where a device says that it may run
 * them beside those; without it, something is. The price is small: at most 4 % of the arena. What may run so is the device's to
 * say: a device that names other ops has those nodes' operands kept, and no others. */
static void overlap_keeps_what_products_read(void **state)
{
    (void)state;
    uint64_t total[2];
    for (int overlap = 0; overlap < 2; overlap++) {
        struct plan_request request = request_of("S", PHASES_FWD_BWD);
        request.fusions = FUSE_ALL | (overlap ? 1u << FUSE_OVERLAP : 0u);
        request.overlap = (struct overlap){.ops = OP_BIT(OP_LINEAR_BACKWARD_WEIGHT), .nodes = 8};
        struct plan_result result;
        struct error error = {0};
        struct plan *plan = plan_build(&request, &result, &error);
        assert_non_null(plan);
        assert_true(plan_check(plan, &error));
        int products = 0, overwritten = 0;
        for (int32_t i = 0; i < plan->node_count; i++) {
            if (plan->nodes[i].op != OP_LINEAR_BACKWARD_WEIGHT)
                continue;
            products++;
            for (int k = 0; k < 2; k++)
                for (int32_t later = i + 1; later <= i + 8 && later < plan->node_count; later++)
                    for (int o = 0; o < NODE_MAX_OUTPUTS; o++) {
                        const int32_t output = plan->nodes[later].output[o];
                        if (output == TENSOR_NONE)
                            continue;
                        const struct tensor *read = &plan->tensors[plan->nodes[i].input[k]];
                        const struct tensor *written = &plan->tensors[output];
                        overwritten += written->offset < read->offset + read->bytes &&
                                       read->offset < written->offset + written->bytes;
                    }
        }
        assert_int_equal(products, 12 * 4 + 1);
        assert_int_equal(result.fired_count[FUSE_OVERLAP], overlap ? products : 0);
        assert_int_equal(result.fired >> FUSE_OVERLAP & 1, overlap);
        if (overlap)
            assert_int_equal(overwritten, 0);
        else
            assert_true(overwritten > 0);
        total[overlap] = plan->memory.total;
        plan_free(plan);
    }
    assert_true(total[1] > total[0] && total[1] < total[0] + total[0] * 4 / 100);

    struct plan_request request = request_of("S", PHASES_FWD_BWD);
    struct plan_result result;
    struct error error = {0};
    request.fusions = FUSE_ALL | 1u << FUSE_OVERLAP;
    request.overlap = (struct overlap){.ops = OP_BIT(OP_LINEAR_BACKWARD_INPUT) | OP_BIT(OP_SWIGLU), .nodes = 3};
    struct plan *plan = plan_build(&request, &result, &error);
    assert_non_null(plan);
    int32_t named = 0;
    for (int32_t i = 0; i < plan->node_count; i++) {
        const struct node *node = &plan->nodes[i];
        if (!(request.overlap.ops & OP_BIT(node->op)))
            continue;
        named++;
        for (int k = 0; k < NODE_MAX_INPUTS; k++)
            if (node->input[k] != TENSOR_NONE && plan->tensors[node->input[k]].last_node < i + 3)
                assert_true(i + 3 >= plan->node_count);
    }
    assert_true(named > 12);
    assert_int_equal(result.fired_count[FUSE_OVERLAP], named);
    plan_free(plan);
}

/* The arena is at most 3 % above the largest sum of live bytes, which no placement can beat; 7 % on tiny, where the
 * fixed place of the head's gradient and the logits weigh more. */
static void memory_is_packed(void **state)
{
    (void)state;
    int count;
    const struct model_preset *presets = model_presets(&count);
    for (int m = 0; m < count; m++)
        for (int variant = 0; variant < 8; variant++) {
            struct plan_request request = request_of(presets[m].config.name, PHASES_TRAIN_STEP);
            request.fusions = variant & 1 ? FUSE_ALL : 0;
            request.precision = variant & 2 ? PRECISION_BF16 : PRECISION_FP32;
            request.checkpoint = variant & 4 ? CHECKPOINT_BLOCK : CHECKPOINT_NONE;
            struct plan *plan = build_checked(&request);
            assert_true(plan->memory.total >= plan->memory.peak_live);
            const double most = strcmp(presets[m].config.name, "tiny") == 0 ? 1.07 : 1.03;
            if ((double)plan->memory.total > most * (double)plan->memory.peak_live)
                fail_msg("%s variant %d: %.3f", presets[m].config.name, variant,
                         (double)plan->memory.total / (double)plan->memory.peak_live);
            plan_free(plan);
        }
}

static struct plan_memory memory_of(const struct plan_request *request)
{
    struct plan *plan = build_checked(request);
    const struct plan_memory memory = plan->memory;
    plan_free(plan);
    return memory;
}

static void modes_keep_what_they_should(void **state)
{
    (void)state;
    struct plan_request request = request_of("M", PHASES_FWD_BWD);
    const struct plan_memory training = memory_of(&request);
    assert_int_equal(training.by_kind[TENSOR_OPTIMIZER], 0);
    request.checkpoint = CHECKPOINT_BLOCK;
    const struct plan_memory checkpointed = memory_of(&request);
    assert_true(checkpointed.total - checkpointed.persistent < (training.total - training.persistent) / 4);
    request.checkpoint = CHECKPOINT_NONE;
    /* A training forward alone keeps all that backward would read, and needs no gradients. */
    request.phases = PHASES_FWD;
    const struct plan_memory forward = memory_of(&request);
    assert_int_equal(forward.by_kind[TENSOR_SAVED], training.by_kind[TENSOR_SAVED] - 4 * 1024 /* lse, of the loss */ -
                                                        4 * 1024 * 10000 /* logits: an output here */);
    assert_int_equal(forward.by_kind[TENSOR_OUTPUT], 4 * 1024 * 10000);
    assert_int_equal(training.by_kind[TENSOR_OUTPUT], 4); /* loss: the logits' gradient is written over them */
    assert_int_equal(forward.by_kind[TENSOR_GRADIENT], 0);
    request.inference = true;
    const struct plan_memory inference = memory_of(&request);
    assert_int_equal(inference.by_kind[TENSOR_SAVED], 0);
    assert_true(inference.total - inference.persistent < (forward.total - forward.persistent) / 20);
    struct error error;
    request.phases = PHASES_FWD_BWD;
    assert_null(plan_build(&request, NULL, &error));
    assert_int_equal(error.kind, ERROR_UNSUPPORTED);
}

/* Activations lie where gradients will be written: S, forward and backward, fits into far less than parameters, gradients
 * and saved activations side by side; and no gradient is written while something that still lives is there (plan_check). */
static void gradients_and_activations_share(void **state)
{
    (void)state;
    struct plan_request request = request_of("S", PHASES_FWD_BWD);
    request.fusions = FUSE_ALL;
    const struct plan_memory memory = memory_of(&request);
    const uint64_t apart = memory.persistent + memory.by_kind[TENSOR_SAVED];
    assert_true(memory.total < apart * 8 / 10);
    struct plan *plan = build_checked(&request);
    const int32_t early = plan_find_tensor(plan, "grad.lm_head.weight"),
                  late = plan_find_tensor(plan, "grad.layers.0.ln1.weight");
    assert_true(plan->tensors[early].first_node < plan->tensors[late].first_node);
    assert_int_equal(plan->tensors[early].last_node, plan->node_count);
    /* A saved tensor put over a gradient that is written while it lives is found. */
    int32_t saved = 0;
    while (plan->tensors[saved].kind != TENSOR_SAVED ||
           plan->tensors[saved].last_node < plan->tensors[early].first_node + 4)
        saved++;
    struct error error = {0};
    plan->tensors[saved].offset = plan->tensors[early].offset / PLAN_ALIGNMENT * PLAN_ALIGNMENT;
    assert_false(plan_check(plan, &error));
    assert_non_null(strstr(error.text, "share memory while both live"));
    plan_free(plan);
}

/* What a sharded plan says of its parts takes room by the parameters, not by their square. */
static void shards_take_no_room(void **state)
{
    (void)state;
    struct plan_request request = request_of("tiny", PHASES_TRAIN_STEP);
    request.model.num_layers = 120;
    request.ranks = (struct ranks_request){.ranks = 2, .parallel = PARALLEL_FSDP};
    struct plan *plan = build(&request, NULL);
    assert_true(plan->part_count > 0 && plan->part_count <= 2 + 7 * 120);
    assert_true(plan->arena.bytes < (size_t)4 << 20);
    plan_free(plan);
}

static bool has_scope(const struct plan *plan, const char *name)
{
    for (int32_t i = 0; i < plan->scope_count; i++)
        if (strcmp(plan->scopes[i].name, name) == 0)
            return true;
    return false;
}

/* A bucket's name is all that lies in it. */
static void buckets_name_what_they_carry(void **state)
{
    (void)state;
    struct plan_request request = request_of("tiny", PHASES_TRAIN_STEP);
    request.ranks = (struct ranks_request){.ranks = 2, .parallel = PARALLEL_BUCKET, .bucket_bytes = 100000000};
    struct plan *plan = build(&request, NULL);
    assert_true(has_scope(plan, "bucket 0 (layers 0 to 3, token_embeddings, ln_final)"));
    assert_true(has_scope(plan, "bucket 1 (layers 0 to 3, lm_head)"));
    plan_free(plan);
    request.ranks.bucket_bytes = 1000000;
    plan = build(&request, NULL);
    assert_true(has_scope(plan, "bucket 0 (layers 0 to 3, ln_final)"));
    assert_true(has_scope(plan, "bucket 1 (token_embeddings)"));
    assert_true(has_scope(plan, "bucket 2 (lm_head)"));
    plan_free(plan);
}

static void digests_tell_plans_apart(void **state)
{
    (void)state;
    struct plan_request request = request_of("tiny", PHASES_TRAIN_STEP);
    struct plan *a = build_checked(&request), *b = build_checked(&request);
    assert_true(a->digest == b->digest);
    plan_free(b);
    struct plan_request others[6];
    for (size_t i = 0; i < 6; i++)
        others[i] = request;
    others[0].batch = 5;
    others[1].fusions = FUSE_ALL;
    others[2].precision = PRECISION_TF32;
    others[3].checkpoint = CHECKPOINT_BLOCK;
    others[4].adamw = (struct adamw){2e-3f, 0.9f, 0.999f, 1e-8f, 0.01f};
    others[5].phases = PHASES_FWD_BWD;
    for (size_t i = 0; i < 6; i++) {
        b = build_checked(&others[i]);
        assert_true(a->digest != b->digest);
        plan_free(b);
    }
    plan_free(a);
}

/* plan_check finds each of these. */
enum damage {
    OVERLAP,
    SWAP,
    SHAPE,
    MISSING,
    SURPLUS,
    PHASE,
    LIFETIME,
    UNALIGNED,
    ALIAS,
    FLOPS,
    VIEW,
    INPUT_WRITTEN,
    DAMAGES
};

static void damage_plan(struct plan *plan, enum damage damage)
{
    struct node *const nodes = plan->nodes;
    struct tensor *const tensors = plan->tensors;
    int32_t saved = 0;
    while (tensors[saved].kind != TENSOR_SAVED)
        saved++;
    switch (damage) {
    case OVERLAP: { /* a saved tensor onto another one */
        int32_t other = saved + 1;
        while (tensors[other].kind != TENSOR_SAVED || tensors[other].first_node == tensors[saved].first_node)
            other++;
        tensors[other].offset = tensors[saved].offset;
        break;
    }
    case SWAP: {
        const struct node kept = nodes[1];
        nodes[1] = nodes[2];
        nodes[2] = kept;
        break;
    }
    case SHAPE:
        nodes[2].dims.d_out++;
        break;
    case MISSING:
        nodes[2].input[1] = TENSOR_NONE;
        break;
    case SURPLUS:
        nodes[2].input[2] = nodes[2].input[0];
        break;
    case PHASE:
        nodes[2].phase = PHASE_BWD;
        break;
    case LIFETIME:
        tensors[saved].last_node = tensors[saved].first_node;
        break;
    case UNALIGNED:
        tensors[saved].offset += 4;
        break;
    case ALIAS: /* a residual sum in place */
        for (int32_t i = 0;; i++)
            if (nodes[i].op == OP_ADD) {
                nodes[i].output[0] = nodes[i].input[0];
                return;
            }
    case FLOPS:
        nodes[2].flops = -1;
        break;
    case VIEW:
        for (int32_t i = 0;; i++)
            if (tensors[i].view_of != TENSOR_NONE) {
                tensors[i].view_offset += 1u << 30;
                return;
            }
    case INPUT_WRITTEN:
        tensors[nodes[2].output[0]].kind = TENSOR_CONSTANT;
        break;
    default:
        break;
    }
}

static void broken_plans_are_found(void **state)
{
    (void)state;
    struct plan_request request = request_of("tiny", PHASES_TRAIN_STEP);
    for (int damage = 0; damage < DAMAGES; damage++) {
        struct plan *plan = build_checked(&request);
        struct error error = {0};
        damage_plan(plan, (enum damage)damage);
        if (plan_check(plan, &error))
            fail_msg("damage %d is not found", damage);
        assert_int_equal(error.kind, ERROR_INTERNAL);
        assert_true(strlen(error.text) > 10);
        plan_free(plan);
    }
}

/* With a name: the one test that is called so. */
int main(int count, char **arguments)
{
    if (count > 1)
        cmocka_set_test_filter(arguments[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_plan_keeps_the_rules),
        cmocka_unit_test(gemm_flops_are_the_models),
        cmocka_unit_test(attention_flops_agree),
        cmocka_unit_test(adamw_moves_28_bytes_a_parameter),
        cmocka_unit_test(parameters_are_counted),
        cmocka_unit_test(names_are_the_state_dicts),
        cmocka_unit_test(a_block_saves_what_backward_reads),
        cmocka_unit_test(overlap_keeps_what_products_read),
        cmocka_unit_test(memory_is_packed),
        cmocka_unit_test(modes_keep_what_they_should),
        cmocka_unit_test(gradients_and_activations_share),
        cmocka_unit_test(shards_take_no_room),
        cmocka_unit_test(buckets_name_what_they_carry),
        cmocka_unit_test(digests_tell_plans_apart),
        cmocka_unit_test(broken_plans_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
