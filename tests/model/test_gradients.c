/* The gradients of autodiff against central differences of the loss, all in double on the reference device: every element
 * of every parameter, eager and with each way of fusing and recomputing. */
#include "harness.h"
#include "kernels/reference/reference.h"
#include <stdio.h>
#include <stdlib.h>

static const double step = 1e-5, tolerance = 1e-6;

/* d loss / d parameter by (f(w+h) − f(w−h)) / 2h for each element. */
static double *differences(struct harness *harness, int32_t parameter)
{
    const int64_t count = tensor_elements(&harness->plan->tensors[parameter]);
    double *gradient = malloc((size_t)count * sizeof *gradient);
    assert_non_null(gradient);
    double *values = reference_values(harness->program, parameter);
    for (int64_t i = 0; i < count; i++) {
        const double value = values[i];
        values[i] = value + step;
        harness_run(harness, PHASES_FWD | PHASE_BIT(PHASE_LOSS));
        const double above = harness_loss(harness);
        values[i] = value - step;
        harness_run(harness, PHASES_FWD | PHASE_BIT(PHASE_LOSS));
        gradient[i] = (above - harness_loss(harness)) / (2 * step);
        values[i] = value;
    }
    return gradient;
}

/* The worst relative error over all parameters of one plan. */
static double worst_error(const struct plan_request *request, bool print)
{
    struct harness harness;
    harness_open(&harness, request, "reference");
    harness_fill(&harness, 7);
    const struct plan *plan = harness.plan;
    double worst = 0;
    int checked = 0;
    for (int32_t i = 0; i < plan->tensor_count; i++) {
        const int32_t parameter = plan->tensors[i].parameter;
        if (plan->tensors[i].kind != TENSOR_GRADIENT || parameter == TENSOR_NONE)
            continue;
        harness_run(&harness, PHASES_FWD_BWD);
        double *exact = harness_read(&harness, i), *approximate = differences(&harness, parameter);
        const double error = relative_l2(exact, approximate, tensor_elements(&plan->tensors[i]));
        if (print || error > tolerance)
            printf("    %-40s %.1e\n", plan->tensors[parameter].name, error);
        if (!(error <= worst))
            worst = error;
        free(exact);
        free(approximate);
        checked++;
    }
    assert_int_equal(checked, 2 * 9 + 3);
    harness_close(&harness);
    return worst;
}

static void gradients_are_derivatives(void **state)
{
    (void)state;
    const struct plan_request request = harness_small_request();
    assert_true(worst_error(&request, true) <= tolerance);
}

/* A rule that is wrong in one place must not pass: the same check on plans with one node's meaning changed. */
static void a_wrong_rule_is_found(void **state)
{
    (void)state;
    struct harness harness;
    const struct plan_request request = harness_small_request();
    static const enum op ops[] = {OP_RMSNORM_BACKWARD, OP_ROPE_BACKWARD, OP_SILU_BACKWARD};
    for (size_t k = 0; k < sizeof ops / sizeof *ops; k++) {
        harness_open(&harness, &request, "reference");
        harness_fill(&harness, 7);
        for (int32_t i = 0; i < harness.plan->node_count; i++) {
            struct node *node = &harness.plan->nodes[i];
            if (node->op != ops[k])
                continue;
            if (ops[k] == OP_RMSNORM_BACKWARD)
                node->input[4] = node->input[0]; /* a residual that is none */
            else
                node->op = OP_ADD, node->input[1] = node->input[0], /* 2·dy */
                    node->dims.elements = tensor_elements(&harness.plan->tensors[node->output[0]]);
        }
        const int32_t gradient = plan_find_tensor(harness.plan, "grad.layers.0.attn.q_proj.weight");
        assert_true(gradient >= 0);
        harness_run(&harness, PHASES_FWD_BWD);
        double *exact = harness_read(&harness, gradient);
        double *approximate = differences(&harness, harness.plan->tensors[gradient].parameter);
        assert_true(relative_l2(exact, approximate, 16 * 16) > 1e3 * tolerance);
        free(exact);
        free(approximate);
        harness_close(&harness);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_are_derivatives),
        cmocka_unit_test(a_wrong_rule_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
