/* The oracle itself: every gradient op against central differences of its forward op, in double. */
#include "kernels/reference/reference.h"
#include "tests/kernels/made.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Gradient op `backward` writes, as output `out`, the gradient of forward op's input `wrt`; it reads the gradient of the
 * forward's first output as input `dy`, and the forward's input or output (from | FROM_OUTPUT) as its other inputs. */
#define FROM_OUTPUT 100
#define NOTHING (-1)
struct pair {
    enum op forward, backward;
    int wrt, out, dy;
    int from[NODE_MAX_INPUTS];
    int inputs, outputs; /* of the backward op, as many as are given */
};

static const struct pair pairs[] = {
    {OP_EMBEDDING, OP_EMBEDDING_BACKWARD, 1, 0, 1, {0, NOTHING}, 2, 1},
    {OP_RMSNORM, OP_RMSNORM_BACKWARD, 0, 0, 0, {NOTHING, 0, 1, FROM_OUTPUT + 1}, 4, 2},
    {OP_RMSNORM, OP_RMSNORM_BACKWARD, 1, 1, 0, {NOTHING, 0, 1, FROM_OUTPUT + 1}, 4, 2},
    {OP_LINEAR, OP_LINEAR_BACKWARD_INPUT, 0, 0, 0, {NOTHING, 1}, 2, 1},
    {OP_LINEAR, OP_LINEAR_BACKWARD_WEIGHT, 1, 0, 0, {NOTHING, 0}, 2, 1},
    {OP_ROPE, OP_ROPE_BACKWARD, 0, 0, 0, {NOTHING, 1}, 2, 1},
    {OP_ATTN_SCORES, OP_ATTN_SCORES_BACKWARD_Q, 0, 0, 0, {NOTHING, 1}, 2, 1},
    {OP_ATTN_SCORES, OP_ATTN_SCORES_BACKWARD_K, 1, 0, 0, {NOTHING, 0}, 2, 1},
    {OP_CAUSAL_SOFTMAX, OP_CAUSAL_SOFTMAX_BACKWARD, 0, 0, 0, {NOTHING, FROM_OUTPUT}, 2, 1},
    {OP_SILU, OP_SILU_BACKWARD, 0, 0, 0, {NOTHING, 0}, 2, 1},
    {OP_SWIGLU, OP_SWIGLU_BACKWARD, 0, 0, 0, {NOTHING, 0}, 2, 1},
    {OP_ATTENTION, OP_ATTENTION_BACKWARD, 0, 0, 0, {NOTHING, 0, FROM_OUTPUT, FROM_OUTPUT + 1, 1}, 5, 2},
    {OP_CROSS_ENTROPY, OP_CROSS_ENTROPY_BACKWARD, 0, 0, NOTHING, {0, 1, FROM_OUTPUT + 1}, 3, 1},
};

static const struct made_sizes sizes = {
    .batch = 2, .context = 5, .heads = 2, .head_dim = 4, .d_in = 7, .d_out = 6, .vocab = 11};

struct fixture {
    struct made made;
    struct device *device;
    struct program *program;
};

static void fixture_start(struct fixture *fixture)
{
    struct error error = {0};
    fixture->device = reference_device_class.open(0, &error);
    fixture->program = reference_device_class.prepare(fixture->device, &fixture->made.plan, NULL, NULL, &error);
    assert_non_null(fixture->program);
    for (int32_t i = 0; i < fixture->made.plan.tensor_count; i++) {
        if (fixture->made.fill[i] == FILL_NONE)
            continue;
        void *values = made_values(&fixture->made, i, 11);
        assert_true(reference_device_class.write(fixture->program, i, values, &error));
        free(values);
    }
}

static void fixture_run(struct fixture *fixture)
{
    assert_true(reference_device_class.run(fixture->program, PHASES_TRAIN_STEP, 0, NULL, NULL, NULL));
}

static void fixture_end(struct fixture *fixture)
{
    reference_device_class.release(fixture->program);
    reference_device_class.close(fixture->device);
}

/* Σ weight · output, the scalar whose gradient dy = weight asks for. */
static double scalar(struct fixture *fixture, int32_t output, const double *weight, int64_t count)
{
    fixture_run(fixture);
    const double *values = reference_values(fixture->program, output);
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += values[i] * (weight ? weight[i] : 1);
    return sum;
}

static void gradients_match_central_differences(void **state)
{
    (void)state;
    for (size_t p = 0; p < sizeof pairs / sizeof *pairs; p++) {
        const struct pair *pair = &pairs[p];
        static struct fixture f;
        /* The gradient op's own plan has its forward op first only where it needs it; so build the pair from two plans. */
        made_op(&f.made, pair->forward, &sizes, false);
        struct node forward = f.made.nodes[0];
        const struct tensor *wrt = &f.made.tensors[forward.input[pair->wrt]];
        const struct tensor *y = &f.made.tensors[forward.output[0]];

        static struct made whole;
        whole = f.made;
        const int32_t dx = whole.plan.tensor_count++, dy = whole.plan.tensor_count++, spare = whole.plan.tensor_count++;
        whole.tensors[dx] = *wrt;
        whole.tensors[dx].name = "dx";
        whole.tensors[dy] = *y;
        whole.tensors[dy].name = "dy";
        whole.tensors[spare] = *wrt;
        whole.tensors[spare].bytes *= 4;
        whole.tensors[spare].name = "spare";
        for (int32_t i = dx; i <= spare; i++) {
            whole.tensors[i].offset = whole.plan.memory.total;
            whole.plan.memory.total += whole.tensors[i].bytes + PLAN_ALIGNMENT;
            whole.plan.memory.total -= whole.plan.memory.total % PLAN_ALIGNMENT;
        }
        whole.fill[dx] = whole.fill[spare] = FILL_NONE;
        whole.fill[dy] = FILL_NORMAL;
        struct node *backward = &whole.nodes[whole.plan.node_count++];
        *backward = forward;
        backward->op = pair->backward;
        for (int k = 0; k < NODE_MAX_INPUTS; k++) {
            const int from = pair->from[k];
            backward->input[k] = k == pair->dy ? dy : TENSOR_NONE;
            if (k != pair->dy && from >= 0 && (from > 0 || k == 0 || pair->from[k] == 0))
                backward->input[k] = from >= FROM_OUTPUT ? forward.output[from - FROM_OUTPUT] : forward.input[from];
        }
        for (int k = pair->inputs; k < NODE_MAX_INPUTS; k++)
            backward->input[k] = TENSOR_NONE;
        for (int k = 0; k < NODE_MAX_OUTPUTS; k++)
            backward->output[k] = k == pair->out ? dx : k < pair->outputs ? spare : TENSOR_NONE;
        whole.plan.tensors = whole.tensors;
        whole.plan.nodes = whole.nodes;
        whole.plan.scopes = &whole.scope;
        for (int phase = 1; phase <= PHASE_COUNT; phase++)
            whole.plan.phase_first[phase] = whole.plan.node_count;
        f.made = whole;
        f.made.plan.tensors = f.made.tensors;
        f.made.plan.nodes = f.made.nodes;

        fixture_start(&f);
        const int64_t outputs = (int64_t)(f.made.tensors[forward.output[0]].bytes / 4);
        const int64_t inputs = (int64_t)(f.made.tensors[forward.input[pair->wrt]].bytes / 4);
        const double *weight = pair->dy == NOTHING ? NULL : reference_values(f.program, dy);
        double *x = reference_values(f.program, forward.input[pair->wrt]);
        double error = 0, norm = 0;
        fixture_run(&f);
        double *gradient = malloc((size_t)inputs * sizeof *gradient);
        memcpy(gradient, reference_values(f.program, dx), (size_t)inputs * sizeof *gradient);
        for (int64_t i = 0; i < inputs; i++) {
            const double h = 1e-5, kept = x[i];
            x[i] = kept + h;
            const double above = scalar(&f, forward.output[0], weight, outputs);
            x[i] = kept - h;
            const double below = scalar(&f, forward.output[0], weight, outputs);
            x[i] = kept;
            const double difference = (above - below) / (2 * h) - gradient[i];
            error += difference * difference;
            norm += gradient[i] * gradient[i];
        }
        free(gradient);
        assert_true(norm > 0);
        if (!(sqrt(error / norm) <= 1e-6))
            fail_msg("%s, input %d: relative error %.3g", op_info(pair->backward)->name, pair->wrt, sqrt(error / norm));
        fixture_end(&f);
    }
}

/* The fused ops are the separate ones put together. */
static void fused_ops_are_their_parts(void **state)
{
    (void)state;
    static struct fixture f;
    made_op(&f.made, OP_CROSS_ENTROPY_BACKWARD, &sizes, false);
    fixture_start(&f);
    fixture_run(&f);
    const int32_t dlogits = f.made.nodes[1].output[0], loss = f.made.nodes[0].output[0];
    const int64_t count = (int64_t)(f.made.tensors[dlogits].bytes / 4);
    double expected[256], expected_loss = *reference_values(f.program, loss);
    assert_true(count <= 256);
    memcpy(expected, reference_values(f.program, dlogits), (size_t)count * sizeof *expected);
    fixture_end(&f);

    made_op(&f.made, OP_CROSS_ENTROPY_FUSED, &sizes, false);
    fixture_start(&f);
    fixture_run(&f);
    const double *got = reference_values(f.program, f.made.nodes[0].output[1]);
    assert_true(fabs(*reference_values(f.program, f.made.nodes[0].output[0]) - expected_loss) < 1e-14);
    for (int64_t i = 0; i < count; i++)
        assert_true(fabs(got[i] - expected[i]) < 1e-14);
    fixture_end(&f);
}

/* Two steps by hand: m = v = 0 and a constant gradient g make Δp = lr at each step, but for ε and the decay. */
static void adamw_counts_its_steps(void **state)
{
    (void)state;
    static struct fixture f;
    made_op(&f.made, OP_ADAMW, &sizes, false);
    fixture_start(&f);
    const struct node *node = &f.made.nodes[0];
    double *p = reference_values(f.program, node->input[0]), *g = reference_values(f.program, node->input[1]),
           *m = reference_values(f.program, node->input[2]), *v = reference_values(f.program, node->input[3]);
    p[0] = 2;
    g[0] = 0.5;
    m[0] = v[0] = 0;
    double expected = 2;
    for (int step = 1; step <= 3; step++) {
        fixture_run(&f);
        expected = expected * (1 - (double)1e-3f * (double)0.01f) - (double)1e-3f;
        assert_true(fabs(p[0] - expected) < 1e-8);
    }
    fixture_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_match_central_differences),
        cmocka_unit_test(fused_ops_are_their_parts),
        cmocka_unit_test(adamw_counts_its_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
