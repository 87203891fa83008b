/* Each fusion pass fires where it should, and a plan that it rewrote computes what the eager one does: loss, logits, every
 * gradient and every parameter after three steps, in double on the reference device. So do recomputation and the casts of
 * bf16, which are exact there. */
#include "harness.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 3, MOST_TENSORS = 64 };
static const double tolerance = 1e-11;

/* What a plan computes, by name. */
struct outcome {
    double loss, *logits;
    int64_t logits_count;
    int count;
    char name[MOST_TENSORS][96];
    double *values[MOST_TENSORS];
    int64_t size[MOST_TENSORS];
};

static void outcome_keep(struct harness *harness, struct outcome *outcome, enum tensor_kind kind)
{
    const struct plan *plan = harness->plan;
    for (int32_t i = 0; i < plan->tensor_count; i++) {
        if (plan->tensors[i].kind != kind || plan->tensors[i].parameter == TENSOR_NONE)
            continue;
        assert_true(outcome->count < MOST_TENSORS);
        snprintf(outcome->name[outcome->count], sizeof *outcome->name, "%s", plan->tensors[i].name);
        outcome->size[outcome->count] = tensor_elements(&plan->tensors[i]);
        outcome->values[outcome->count++] = harness_read(harness, i);
    }
}

static struct outcome outcome_of(const struct plan_request *request, struct plan_result *result)
{
    struct harness harness;
    struct outcome outcome = {0};
    harness_open(&harness, request, "reference");
    harness_fill(&harness, 3);
    harness_run(&harness, PHASES_FWD);
    outcome.logits = harness_read(&harness, harness.plan->logits);
    outcome.logits_count = tensor_elements(&harness.plan->tensors[harness.plan->logits]);
    harness_run(&harness, PHASES_FWD_BWD);
    outcome.loss = harness_loss(&harness);
    outcome_keep(&harness, &outcome, TENSOR_GRADIENT);
    for (int step = 0; step < STEPS && request->phases & PHASE_BIT(PHASE_OPT); step++)
        harness_run(&harness, PHASES_TRAIN_STEP);
    outcome_keep(&harness, &outcome, TENSOR_PARAMETER);
    *result = harness.result;
    harness_close(&harness);
    return outcome;
}

static void outcome_free(struct outcome *outcome)
{
    free(outcome->logits);
    for (int i = 0; i < outcome->count; i++)
        free(outcome->values[i]);
}

static void assert_same(const struct outcome *a, const struct outcome *b)
{
    assert_true(relative_l2(&a->loss, &b->loss, 1) <= tolerance);
    assert_int_equal(a->logits_count, b->logits_count);
    assert_true(relative_l2(a->logits, b->logits, a->logits_count) <= tolerance);
    assert_int_equal(a->count, b->count);
    assert_true(a->count >= 2 * (2 * 9 + 3));
    for (int i = 0; i < a->count; i++) {
        assert_string_equal(a->name[i], b->name[i]);
        assert_int_equal(a->size[i], b->size[i]);
        const double error = relative_l2(a->values[i], b->values[i], a->size[i]);
        if (error > tolerance)
            fail_msg("%s differs by %.1e", a->name[i], error);
    }
}

/* The set of passes that has to be asked for so that `fusion` fires, how often it does on two blocks, and in what dtype. */
static const struct {
    unsigned ask;
    enum precision precision;
    int32_t fires;
} expected[FUSE_COUNT] = {
    [FUSE_QKV] = {1u << FUSE_QKV | 1u << FUSE_ATTENTION, PRECISION_FP32, 2},
    [FUSE_GATE_UP] = {1u << FUSE_GATE_UP | 1u << FUSE_SWIGLU, PRECISION_FP32, 2},
    [FUSE_ATTENTION] = {1u << FUSE_QKV | 1u << FUSE_ATTENTION, PRECISION_FP32, 2},
    [FUSE_SWIGLU] = {1u << FUSE_GATE_UP | 1u << FUSE_SWIGLU, PRECISION_FP32, 2},
    [FUSE_ADD_RMSNORM] = {1u << FUSE_ADD_RMSNORM, PRECISION_FP32, 4},
    [FUSE_CROSS_ENTROPY] = {1u << FUSE_CROSS_ENTROPY, PRECISION_FP32, 1},
    [FUSE_CAST] = {1u << FUSE_CAST, PRECISION_BF16, 2 * 16 + 3},
    [FUSE_ADAMW] = {1u << FUSE_ADAMW, PRECISION_FP32, 1},
};

static void each_pass_fires_and_agrees(void **state)
{
    (void)state;
    struct plan_request request = harness_small_request();
    struct plan_result result;
    struct outcome eager = outcome_of(&request, &result);
    assert_int_equal(result.fired, 0);
    for (int fusion = 0; fusion < FUSE_COUNT; fusion++) {
        request.fusions = expected[fusion].ask;
        request.precision = expected[fusion].precision;
        struct outcome fused = outcome_of(&request, &result);
        if (result.fired != request.fusions || result.fired_count[fusion] != expected[fusion].fires)
            fail_msg("%s: asked %#x, fired %#x, %d times instead of %d", fusion_name((enum fusion)fusion),
                     request.fusions, result.fired, result.fired_count[fusion], expected[fusion].fires);
        assert_same(&fused, &eager);
        outcome_free(&fused);
    }
    outcome_free(&eager);
}

/* Every one and two passes, all but one, and all, with and without checkpoints, give the same numbers. */
static void all_combinations_agree(void **state)
{
    (void)state;
    struct plan_request request = harness_small_request();
    struct plan_result result;
    struct outcome eager = outcome_of(&request, &result);
    for (unsigned fusions = 0; fusions <= FUSE_ALL; fusions++) {
        const int asked = __builtin_popcount(fusions);
        if (asked > 2 && asked < FUSE_COUNT - 1)
            continue;
        for (int c = 0; c < CHECKPOINT_COUNT; c++) {
            request.fusions = fusions;
            request.checkpoint = (enum checkpoint)c;
            request.precision = fusions & (1u << FUSE_CAST) ? PRECISION_BF16 : PRECISION_TF32;
            struct outcome other = outcome_of(&request, &result);
            assert_same(&other, &eager);
            outcome_free(&other);
        }
    }
    outcome_free(&eager);
}

/* Alone, without the pass that takes the slices, a projection pass leaves the plan as it is. */
static void projections_need_their_consumer(void **state)
{
    (void)state;
    static const enum fusion alone[] = {FUSE_QKV, FUSE_GATE_UP, FUSE_ATTENTION, FUSE_SWIGLU};
    struct plan_request request = harness_small_request();
    struct error error;
    struct plan *eager = plan_build(&request, NULL, &error);
    for (size_t i = 0; i < sizeof alone / sizeof *alone; i++) {
        struct plan_result result;
        request.fusions = 1u << alone[i];
        struct plan *plan = plan_build(&request, &result, &error);
        assert_int_equal(result.fired, 0);
        assert_true(plan->digest == eager->digest);
        plan_free(plan);
    }
    plan_free(eager);
}

/* What the fused plan no longer has: T×T tensors, slices, casts of weights, sums of gradients. */
static void the_fused_plan_is_lean(void **state)
{
    (void)state;
    struct plan_request request = harness_small_request();
    request.fusions = FUSE_ALL;
    request.precision = PRECISION_BF16;
    struct plan_result result;
    struct error error;
    struct plan *plan = plan_build(&request, &result, &error);
    assert_int_equal(result.fired, FUSE_ALL);
    for (int32_t i = 0; i < plan->tensor_count; i++) {
        assert_int_equal(plan->tensors[i].row_stride, 0);
        assert_false(plan->tensors[i].rank == 4);
    }
    for (int32_t i = 0; i < plan->node_count; i++)
        assert_false(plan->nodes[i].op == OP_CAST || plan->nodes[i].op == OP_ADD || plan->nodes[i].op == OP_MUL);
    assert_int_equal(plan->node_count,
                     1 + 8 * 2 + 1 + 1 /* fwd */ + 1 /* loss */ + 2 + 1 + 12 * 2 - 0 + 1 /* bwd */ + 1);
    assert_true(plan_find_tensor(plan, "grad.layers.1.attn.k_proj.weight") >= 0);
    assert_true(plan_find_tensor(plan, "bf16.layers.1.attn.k_proj.weight") >= 0);
    plan_free(plan);
}

/* q, k, v and their gradients as one tensor lie exactly over the single ones. */
static void groups_lie_over_their_members(void **state)
{
    (void)state;
    struct plan_request request = harness_small_request();
    request.fusions = FUSE_ALL;
    struct error error;
    struct plan *plan = plan_build(&request, NULL, &error);
    static const char *const prefixes[] = {"", "grad."};
    for (size_t p = 0; p < 2; p++) {
        char name[96];
        snprintf(name, sizeof name, "%slayers.1.attn.qkv_proj.weight", prefixes[p]);
        const struct tensor *whole = &plan->tensors[plan_find_tensor(plan, name)];
        assert_int_equal(whole->parameter, TENSOR_NONE);
        uint64_t at = whole->offset;
        for (const char *member = "qkv"; *member; member++) {
            snprintf(name, sizeof name, "%slayers.1.attn.%c_proj.weight", prefixes[p], *member);
            const struct tensor *single = &plan->tensors[plan_find_tensor(plan, name)];
            assert_true(single->offset == at && single->parameter != TENSOR_NONE);
            at += single->bytes;
        }
        assert_true(at == whole->offset + whole->bytes);
    }
    plan_free(plan);
}

/* Attention alone: eager and fused agree on the output and on the gradients of q, k and v. */
static void attention_alone_agrees(void **state)
{
    (void)state;
    struct plan_request request = {
        .model = {.name = "attention", .kind = MODEL_ATTENTION, .d_model = 12, .num_heads = 2},
        .batch = 2,
        .context = 9,
        .phases = PHASES_FWD_BWD};
    for (int precision = 0; precision < PRECISION_COUNT; precision++) {
        request.precision = (enum precision)precision;
        struct harness eager, fused;
        request.fusions = 0;
        harness_open(&eager, &request, "reference");
        request.fusions = FUSE_ALL;
        harness_open(&fused, &request, "reference");
        assert_int_equal(fused.result.fired & (1u << FUSE_ATTENTION), 1u << FUSE_ATTENTION);
        harness_fill(&eager, 5);
        harness_fill(&fused, 5);
        harness_run(&eager, PHASES_FWD_BWD);
        harness_run(&fused, PHASES_FWD_BWD);
        const int64_t rows = 18, c = 12;
        double *whole = harness_read(&fused, plan_find_tensor(fused.plan, "grad.qkv"));
        static const char *const names[3] = {"grad.q", "grad.k", "grad.v"};
        for (int part = 0; part < 3; part++) {
            double *single = harness_read(&eager, plan_find_tensor(eager.plan, names[part])), slice[18 * 12];
            for (int64_t i = 0; i < rows; i++)
                memcpy(slice + i * c, whole + i * 3 * c + part * c, (size_t)c * sizeof *slice);
            assert_true(relative_l2(slice, single, rows * c) <= tolerance);
            free(single);
        }
        free(whole);
        harness_close(&eager);
        harness_close(&fused);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_pass_fires_and_agrees),      cmocka_unit_test(all_combinations_agree),
        cmocka_unit_test(projections_need_their_consumer), cmocka_unit_test(the_fused_plan_is_lean),
        cmocka_unit_test(groups_lie_over_their_members),   cmocka_unit_test(attention_alone_agrees),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
