/* Whole training steps on the GPU: gradients and updated parameters against the double reference, eager and fused, in each
 * precision, at odd shapes; bitwise from run to run; the captured graph against the stream, bitwise; and a plan that does
 * not fit. Skipped (77) without a device. */
#include "kernels/cuda/attention.h"
#include "kernels/cuda/cuda_device.h"
#include "kernels/cuda/cuda_internal.h"
#include "tests/kernels/whole.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const struct device_class *const cuda = &steptop_device_class;

static struct plan *build(const struct whole_shape *shape, enum precision precision, bool fused)
{
    return whole_plan(shape, precision, fused ? FUSE_ALL | 1u << FUSE_OVERLAP : 0, steptop_device_class.overlap);
}

static struct program *ready(struct device *device, const struct plan *plan, bool compile, const char *cache)
{
    return whole_ready(cuda, device, plan, &(struct prepare_options){.compile = compile, .cache_folder = cache});
}

static struct device *device_open(void)
{
    struct error error = {0};
    struct device *device = cuda->open(0, &error);
    if (!device)
        fail_msg("%s", error.text);
    return device;
}

static void steps_agree_with_the_reference(void **state)
{
    (void)state;
    static const double tolerances[PRECISION_COUNT] = {1e-5, 2e-3, 1e-2};
    struct device *device = device_open();
    whole_steps_agree(cuda, device, whole_shapes, WHOLE_SHAPES, tolerances);
    cuda->close(device);
}

static void repeats_bitwise(void **state)
{
    (void)state;
    char folder[] = "/tmp/steptop-test-XXXXXX";
    assert_non_null(mkdtemp(folder));
    struct device *device = device_open();
    for (int precision = 0; precision < PRECISION_COUNT; precision++)
        for (int fused = 0; fused < 2; fused++) {
            struct plan *plan = build(&whole_shapes[1], (enum precision)precision, fused);
            struct program *first = ready(device, plan, fused, folder), *second = ready(device, plan, fused, folder);
            struct program *stream = ready(device, plan, fused, folder);
            assert_int_equal(first->graph_count, fused ? 3 : 0);
            for (int32_t i = 0; fused && i < second->gemms.count; i++)
                assert_true(second->gemms.items[i].from_cache); /* the algorithms the first one stored */
            for (int32_t i = 0; fused && i < second->attentions.count; i++)
                assert_true(second->attentions.items[i].from_cache || second->attentions.items[i].tried == 0);
            stream->graph_count = 0; /* so it walks the launches instead */
            for (int step = 0; step < 3; step++) {
                whole_run(cuda, first);
                whole_run(cuda, second);
                whole_run(cuda, stream);
            }
            whole_same(cuda, plan, first, second, "two programs");
            whole_same(cuda, plan, first, stream, "graph and stream");
            for (int i = 0; i < 3; i++)
                cuda->release(i == 0 ? first : i == 1 ? second : stream);
            plan_free(plan);
        }
    cuda->close(device);
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    assert_int_equal(system(command), 0);
}

/* Weights' products aside, the optimizer's pieces early, both, neither: the same bits as one launch after the other. */
static void every_arrangement_repeats_bitwise(void **state)
{
    (void)state;
    static const struct whole_shape wide = {
        {.name = "wide", .d_model = 256, .d_ff = 1024, .num_layers = 4, .num_heads = 4, .vocab_size = 8000}, 2, 128};
    char folder[] = "/tmp/steptop-test-XXXXXX";
    struct error error = {0};
    assert_non_null(mkdtemp(folder));
    struct device *device = device_open();
    for (int precision = PRECISION_TF32; precision < PRECISION_COUNT; precision++) {
        struct plan *plan = build(&wide, (enum precision)precision, true);
        struct program *stream = ready(device, plan, true, folder);
        stream->graph_count = 0;
        for (int step = 0; step < 3; step++)
            whole_run(cuda, stream);
        for (unsigned kind = 0; kind < CUDA_ARRANGEMENTS; kind++) {
            struct program *program = ready(device, plan, true, folder);
            assert_true(program->pieces > 2);
            for (int i = 0; i < program->graph_count; i++)
                device->libraries.cuGraphExecDestroy(program->graphs[i].executable);
            program->graph_count = 0;
            program->arrangement = kind;
            if (!cuda_capture_graphs(program, &error))
                fail_msg("%s", error.text);
            for (int step = 0; step < 3; step++)
                whole_run(cuda, program);
            whole_same(cuda, plan, program, stream, kind & CUDA_OPTIMIZER_EARLY ? "optimizer early" : "optimizer last");
            cuda->release(program);
        }
        cuda->release(stream);
        plan_free(plan);
    }
    cuda->close(device);
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    assert_int_equal(system(command), 0);
}

static void a_plan_that_does_not_fit_is_told(void **state)
{
    (void)state;
    struct device *device = device_open();
    struct plan *plan = build(&whole_shapes[0], PRECISION_FP32, true);
    uint64_t total = plan->memory.total;
    plan->memory.total = UINT64_C(1) << 50;
    struct error error = {0};
    struct prepare_options options = {0};
    struct prepare_report report;
    assert_null(cuda->prepare(device, plan, &options, &report, &error));
    assert_int_equal(error.kind, ERROR_MEMORY);
    assert_non_null(strstr(error.text, "bytes: 1073741824 MiB for the plan")); /* 2^50 bytes */
    assert_non_null(strstr(error.text, "free"));
    plan->memory.total = total;
    plan_free(plan);
    cuda->close(device);
}

int main(void)
{
    struct device_info info;
    struct error error = {0};
    int count = 0;
    if (!cuda->enumerate(&info, 1, &count, &error)) {
        printf("skipped: %s\n", error.text);
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_agree_with_the_reference),
        cmocka_unit_test(repeats_bitwise),
        cmocka_unit_test(every_arrangement_repeats_bitwise),
        cmocka_unit_test(a_plan_that_does_not_fit_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
