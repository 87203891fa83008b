/* Presets and their names, refusal of impossible sizes, initial values and tokens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "model/model.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void presets_are_found(void **state)
{
    (void)state;
    struct model_config model;
    struct error error = {0};
    assert_true(model_preset_find("S", &model, &error));
    assert_true(model.d_model == 768 && model.d_ff == 3072 && model.num_layers == 12 && model.num_heads == 12);
    assert_string_equal(model.preset, "cs336-2025");
    assert_true(model_preset_find("cs336-2026/xl", &model, &error));
    assert_true(model.d_model == 2560 && model.num_layers == 32 && model.num_heads == 32 && model.vocab_size == 10000);
    assert_true(model_preset_find("XL", &model, &error) && model.d_model == 1600);
    assert_true(model_preset_find("attention", &model, &error) && model.kind == MODEL_ATTENTION);
    assert_false(model_preset_find("Small", &model, &error));
    assert_non_null(strstr(error.text, "did you mean 'small'?"));
    assert_false(model_preset_find("cs336-2025/small", &model, &error)); /* the year matters */
    assert_false(model_preset_find("quux", &model, &error));
    assert_non_null(strstr(error.text, "known are S, M, L"));
    assert_null(strstr(error.text, "did you mean"));
}

static void impossible_sizes_are_refused(void **state)
{
    (void)state;
    static const struct {
        int64_t d_model, d_ff, layers, heads, vocab, batch, context;
        const char *says;
    } wrong[] = {
        {0, 8, 1, 1, 10, 1, 1, "d_model is 0"},
        {64, 8, 1, 3, 10, 1, 1, "d_model 64 is not a multiple of num_heads 3"},
        {6, 8, 1, 2, 10, 1, 1, "must be even"},
        {64, -1, 1, 2, 10, 1, 1, "d_ff is -1"},
        {64, 8, 0, 2, 10, 1, 1, "num_layers is 0"},
        {64, 8, 5000, 2, 10, 1, 1, "num_layers is 5000; at most 1000"},
        {64, 8, 1, 2, 0, 1, 1, "vocab_size is 0"},
        {64, 8, 1, 2, 10, 0, 1, "batch_size is 0"},
        {64, 8, 1, 2, 10, 1, 0, "context_length is 0"},
        {64, 8, 1, 2, 10, 1000000, 1000000, "rows; at most"},
        {64, 8, 1, 2, 10, 1, 500000000, "beyond any memory"},
        {500000000, 500000000, 900, 2, 10, 1, 1, "parameters, beyond any memory"},
        {1 << 28, 1 << 28, 256, 2, 10, 1, 1, "parameters, beyond any memory"}, /* 2⁶⁴ times 7, and 1.4e11 */
        {2, 536870911, 1000, 1, 10, 536870911, 1, "values, beyond any memory"},
        {INT64_MAX, 8, 1, 1, 10, 1, 1, "d_model is 9223372036854775807; at most"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const struct model_config model = {.d_model = wrong[i].d_model,
                                           .d_ff = wrong[i].d_ff,
                                           .num_layers = wrong[i].layers,
                                           .num_heads = wrong[i].heads,
                                           .vocab_size = wrong[i].vocab};
        struct error error = {0};
        char warning[128];
        if (model_config_check(&model, wrong[i].batch, wrong[i].context, warning, sizeof warning, &error))
            fail_msg("accepted: %s", wrong[i].says);
        if (error.kind != ERROR_INPUT || !strstr(error.text, wrong[i].says))
            fail_msg("says: %s\n  not: %s", error.text, wrong[i].says);
    }
}

/* The largest that is let through: no sum of its plan's bytes wraps. */
static void what_is_let_through_can_be_counted(void **state)
{
    (void)state;
    struct plan_request request = {
        .model = {.d_model = 2, .d_ff = 536870911, .num_layers = 1, .num_heads = 1, .vocab_size = 10},
        .batch = 1,
        .context = 1,
        .phases = PHASES_TRAIN_STEP};
    struct error error = {0};
    while (model_config_check(&request.model, request.batch * 2, 1, NULL, 0, &error))
        request.batch *= 2;
    struct plan *plan = plan_build(&request, NULL, &error);
    if (!plan)
        fail_msg("%s", error.text);
    double live = 0;
    for (int32_t i = 0; i < plan->tensor_count; i++)
        live += plan->tensors[i].view_of == TENSOR_NONE ? (double)plan->tensors[i].bytes : 0;
    assert_true(request.batch >= 1 << 23 && (double)plan->memory.total <= live);
    assert_true((double)plan->memory.total > 10.0 * (double)request.batch * 536870911.0);
    plan_free(plan);
}

static void odd_d_ff_warns(void **state)
{
    (void)state;
    struct model_config model;
    struct error error = {0};
    char warning[128] = "x";
    assert_true(model_preset_find("M", &model, &error));
    assert_true(model_config_check(&model, 1, 1, warning, sizeof warning, &error));
    assert_string_equal(warning, "");
    model.d_ff = 4098; /* the seed's own slip */
    assert_true(model_config_check(&model, 1, 1, warning, sizeof warning, &error));
    assert_non_null(strstr(warning, "did you mean 4096?"));
}

static struct plan *small_plan(unsigned fusions)
{
    const struct plan_request request = {
        .model = {.d_model = 64, .d_ff = 96, .num_layers = 2, .num_heads = 2, .vocab_size = 500},
        .batch = 3,
        .context = 40,
        .phases = PHASES_TRAIN_STEP,
        .fusions = fusions};
    struct error error = {0};
    struct plan *plan = plan_build(&request, NULL, &error);
    if (!plan)
        fail_msg("%s", error.text);
    return plan;
}

static float *values_of(const struct plan *plan, const char *name, uint64_t seed, int64_t *count)
{
    const int32_t tensor = plan_find_tensor(plan, name);
    struct error error = {0};
    assert_true(tensor >= 0);
    *count = tensor_elements(&plan->tensors[tensor]);
    float *values = malloc((size_t)*count * sizeof *values);
    assert_non_null(values);
    assert_true(model_initial_value(plan, tensor, seed, values, &error));
    return values;
}

/* Mean 0, the standard deviation of the initialisation (cut at 3σ: 0.9866 σ), nothing beyond the cut. */
static void assert_distribution(const struct plan *plan, const char *name, double sigma)
{
    int64_t count;
    float *values = values_of(plan, name, 1, &count);
    double sum = 0, squares = 0, largest = 0;
    for (int64_t i = 0; i < count; i++) {
        sum += (double)values[i];
        squares += (double)values[i] * (double)values[i];
        largest = fmax(largest, fabs((double)values[i]));
    }
    const double sd = sqrt(squares / (double)count), error = 4 / sqrt((double)count);
    assert_true(fabs(sum / (double)count) < error * sigma);
    assert_true(fabs(sd / (0.98658 * sigma) - 1) < error);
    assert_true(largest <= 3.0001 * sigma && largest > 2.5 * sigma);
    free(values);
}

static void initial_values_have_their_distribution(void **state)
{
    (void)state;
    struct plan *plan = small_plan(0);
    assert_distribution(plan, "token_embeddings.weight", 1);
    assert_distribution(plan, "layers.1.ffn.w1.weight", sqrt(2.0 / (64 + 96)));
    assert_distribution(plan, "layers.0.attn.q_proj.weight", sqrt(2.0 / (64 + 64)));
    assert_distribution(plan, "lm_head.weight", sqrt(2.0 / (500 + 64)));
    int64_t count;
    float *ones = values_of(plan, "layers.0.ln2.weight", 1, &count);
    for (int64_t i = 0; i < count; i++)
        assert_true(ones[i] == 1);
    free(ones);
    plan_free(plan);
}

static void values_depend_on_seed_and_name_alone(void **state)
{
    (void)state;
    struct plan *eager = small_plan(0), *fused = small_plan(FUSE_ALL);
    int64_t count;
    float *a = values_of(eager, "layers.0.attn.q_proj.weight", 9, &count);
    float *b = values_of(fused, "layers.0.attn.q_proj.weight", 9, &count);
    float *k = values_of(eager, "layers.0.attn.k_proj.weight", 9, &count);
    float *other = values_of(eager, "layers.0.attn.q_proj.weight", 10, &count);
    assert_memory_equal(a, b, (size_t)count * sizeof *a);
    assert_memory_not_equal(a, k, (size_t)count * sizeof *a);
    assert_memory_not_equal(a, other, (size_t)count * sizeof *a);
    struct error error;
    assert_false(model_initial_value(eager, plan_find_tensor(eager, "parameters"), 1, a, &error));
    free(a);
    free(b);
    free(k);
    free(other);
    plan_free(eager);
    plan_free(fused);
}

static void rope_table_turns_pairs(void **state)
{
    (void)state;
    struct plan *plan = small_plan(0);
    int64_t count;
    float *table = values_of(plan, "rope_table", 0, &count);
    const int64_t pairs = 16; /* D/2 of 64 / 2 heads */
    assert_int_equal(count, 40 * pairs * 2);
    for (int64_t t = 0; t < 40; t++)
        for (int64_t j = 0; j < pairs; j++) {
            const double angle = (double)t / pow(10000.0, 2.0 * (double)j / 32);
            assert_true(fabs((double)table[(t * pairs + j) * 2] - cos(angle)) < 1e-6);
            assert_true(fabs((double)table[(t * pairs + j) * 2 + 1] - sin(angle)) < 1e-6);
        }
    free(table);
    plan_free(plan);
}

static void tokens_fill_the_vocabulary(void **state)
{
    (void)state;
    struct plan *plan = small_plan(0);
    int32_t tokens[120], again[120], targets[120];
    model_random_tokens(plan, plan->tokens, 4, tokens);
    model_random_tokens(plan, plan->tokens, 4, again);
    model_random_tokens(plan, plan->targets, 4, targets);
    assert_memory_equal(tokens, again, sizeof tokens);
    assert_memory_not_equal(tokens, targets, sizeof tokens);
    int32_t largest = 0;
    for (int i = 0; i < 120; i++) {
        assert_true(tokens[i] >= 0 && tokens[i] < 500);
        largest = tokens[i] > largest ? tokens[i] : largest;
    }
    assert_true(largest > 400);
    plan_free(plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(presets_are_found),
        cmocka_unit_test(impossible_sizes_are_refused),
        cmocka_unit_test(what_is_let_through_can_be_counted),
        cmocka_unit_test(odd_d_ff_warns),
        cmocka_unit_test(initial_values_have_their_distribution),
        cmocka_unit_test(values_depend_on_seed_and_name_alone),
        cmocka_unit_test(rope_table_turns_pairs),
        cmocka_unit_test(tokens_fill_the_vocabulary),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
