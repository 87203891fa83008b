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
                    for (int c = 0; c < CHECKPOINT_COUNT; c++) {
                        struct plan_request request = request_of(presets[m].config.name, phases[p]);
                        request.precision = (enum precision)d;
                        request.checkpoint = (enum checkpoint)c;
                        request.fusions = f ? FUSE_ALL : 0;
                        plan_free(build_checked(&request));
                        request.inference = true;
                        if (p == 0 && c == 0)
                            plan_free(build_checked(&request));
                    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_plan_keeps_the_rules),
    };
    (void)gemm_flops;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
