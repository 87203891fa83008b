/* Every candidate of a product, not the chosen one alone: each tile, split and kind of matrices against the double reference, at shapes
 * with full tiles and with edges, in each of the three forms of a linear layer. Skipped (77) without a device. With an argument on any
 * device at shapes for a GPU, and all matrices that it has. */
#include "kernels/vulkan/vulkan_device.h"
#include "kernels/vulkan/vulkan_internal.h"
#include "tests/kernels/agree.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const struct device_class *const vulkan = &steptop_device_class;
static const enum op forms[] = {OP_LINEAR, OP_LINEAR_BACKWARD_INPUT, OP_LINEAR_BACKWARD_WEIGHT};

/* Rows are batch · context. The small ones are for lavapipe. */
static const struct made_sizes small[] = {
    {.batch = 1, .context = 64, .heads = 1, .head_dim = 8, .d_in = 48, .d_out = 32, .vocab = 8},
    {.batch = 1, .context = 37, .heads = 1, .head_dim = 8, .d_in = 30, .d_out = 41, .vocab = 8},
};
static const struct made_sizes large[] = {
    {.batch = 2, .context = 256, .heads = 1, .head_dim = 8, .d_in = 256, .d_out = 512, .vocab = 8},  /* full tiles */
    {.batch = 1, .context = 336, .heads = 1, .head_dim = 8, .d_in = 1040, .d_out = 208, .vocab = 8}, /* edges */
    {.batch = 1, .context = 272, .heads = 1, .head_dim = 8, .d_in = 176, .d_out = 2064, .vocab = 8}, /* edges, splits */
};
static bool many;

static int wanted, offered, refused;
static char taken[64];
static struct program *prepared; /* of the shape in hand: prepared once, run with each candidate */

/* As the device's own, but the candidate is not the fastest one but the one that is asked for. */
static struct program *prepare_wanted(struct device *device, const struct plan *plan,
                                      const struct prepare_options *options, struct prepare_report *report,
                                      struct error *error)
{
    if (!prepared)
        prepared = vulkan->prepare(device, plan, options, report, error);
    if (!prepared)
        return NULL;
    assert_int_equal(prepared->gemms.count, 1);
    struct vulkan_gemm *gemm = &prepared->gemms.items[0];
    offered = gemm->candidate_count;
    struct vulkan_candidate *candidate = &gemm->candidates[wanted];
    vulkan_gemm_name(&gemm->shape, candidate, taken, sizeof taken);
    if (prepared->pipelines.items[candidate->pipeline].handle)
        gemm->chosen = wanted;
    else
        ++refused;
    for (int i = 0; i < prepared->recording_count; i++)
        prepared->recordings[i].phases = 0; /* recorded anew, with this candidate */
    return prepared;
}

static void release_later(struct program *program)
{
    (void)program;
}

static void candidates_agree(enum precision precision, double tolerance)
{
    struct error error = {0};
    char why[160];
    struct device *device = vulkan->open(0, &error), *reference = reference_device_class.open(0, &error);
    if (!device)
        fail_msg("%s", error.text);
    struct device_class steered = *vulkan;
    steered.prepare = prepare_wanted;
    steered.release = release_later;
    const struct made_sizes *sizes = many ? large : small;
    const int count = many ? (int)(sizeof large / sizeof *large) : (int)(sizeof small / sizeof *small);
    int failures = 0, ran = 0;
    if (!vulkan->supports(device, OP_LINEAR, precision, why, sizeof why)) {
        print_message("skipped: %s\n", why);
        goto done;
    }
    for (size_t form = 0; form < sizeof forms / sizeof *forms; form++)
        for (int s = 0; s < count; s++) {
            static struct made made;
            made_op(&made, forms[form], &sizes[s], false);
            made.plan.precision = precision;
            if (precision == PRECISION_BF16)
                agree_make_bf16(&made, forms[form]);
            struct agree_results expected, got;
            agree_run(&reference_device_class, reference, &made, false, 1, &expected);
            double largest = 0;
            offered = 1;
            for (wanted = 0; wanted < offered; wanted++) {
                agree_run(&steered, device, &made, true, 1, &got);
                double worst = agree_worst(&made, &got, &expected);
                if (!(worst <= tolerance)) {
                    print_error("%s %s, shape %d, %s: relative L2 error %.3g\n", precision_name(precision),
                                op_info(forms[form])->name, s, taken, worst);
                    failures++;
                }
                largest = worst > largest || isnan(worst) ? worst : largest;
                agree_free(&got);
                ran++;
            }
            print_message("%s %-24s shape %d: %d candidates, worst %.2e\n", precision_name(precision),
                          op_info(forms[form])->name, s, offered, largest);
            agree_free(&expected);
            vulkan->release(prepared);
            prepared = NULL;
        }
    print_message("%d candidates ran, %d of them refused by the driver\n", ran, refused);
    assert_true(ran > refused);
done:
    vulkan->close(device);
    reference_device_class.close(reference);
    assert_int_equal(failures, 0);
}

static void fp32_candidates_agree(void **state)
{
    (void)state, candidates_agree(PRECISION_FP32, 2e-6);
}
static void bf16_candidates_agree(void **state)
{
    (void)state, candidates_agree(PRECISION_BF16, 1e-2);
}

/* A driver that refuses a kernel costs a candidate, and where it is the one that is needed, the reason is told. */
static PFN_vkCreateComputePipelines real_create;
#define ANY UINT32_MAX /* but 0 */
static uint32_t refused_constant, refused_value;
static int refusals;
static VkResult VKAPI_CALL create_or_refuse(VkDevice device, VkPipelineCache cache, uint32_t count,
                                            const VkComputePipelineCreateInfo *infos,
                                            const VkAllocationCallbacks *callbacks, VkPipeline *pipelines)
{
    uint32_t special[VULKAN_SPECIALS];
    memcpy(special, infos->stage.pSpecializationInfo->pData, sizeof special);
    if (special[refused_constant] != refused_value && !(refused_value == ANY && special[refused_constant]))
        return real_create(device, cache, count, infos, callbacks, pipelines);
    refusals++;
    return VK_ERROR_UNKNOWN;
}

static void refuse(struct device *device, uint32_t constant, uint32_t value)
{
    real_create = device->api.vkCreateComputePipelines;
    device->api.vkCreateComputePipelines = create_or_refuse;
    refused_constant = constant, refused_value = value;
    refusals = 0;
}

static void a_refused_kernel_falls_out(void **state)
{
    (void)state;
    struct error error = {0};
    struct device *device = vulkan->open(0, &error);
    if (!device)
        fail_msg("%s", error.text);
    refuse(device, VULKAN_VARIANT, 7);
    for (int optional = 0; optional < 2; optional++) {
        struct vulkan_pipelines pipelines = {0};
        uint32_t special[VULKAN_SPECIALS] = {0};
        for (int i = VULKAN_VARIANT; i < VULKAN_TYPES; i++)
            special[i] = 1;
        special[VULKAN_THREADS] = 256;
        int32_t good = vulkan_pipeline_find(&pipelines, "elementwise.comp", special);
        special[VULKAN_VARIANT] = 7;
        int32_t bad = vulkan_pipeline_find(&pipelines, "elementwise.comp", special);
        pipelines.items[bad].optional = optional;
        refusals = 0;
        assert_int_equal(vulkan_pipelines_build(device, &pipelines, &error), optional);
        assert_int_equal(refusals, 1);
        assert_true(!pipelines.items[bad].handle && pipelines.items[bad].refused == optional);
        if (optional) {
            assert_true(pipelines.items[good].handle);
            assert_true(vulkan_pipelines_build(device, &pipelines, &error)); /* and it is not asked again */
            assert_int_equal(refusals, 1);
        } else {
            assert_non_null(strstr(error.text, "shader elementwise.comp"));
        }
        vulkan_pipelines_release(device, &pipelines);
    }
    vulkan->close(device);
}

/* A linear layer of small[0], by a device whose driver was told what to refuse; what comes out must be right all the same. */
static void right_in_spite(struct device *device, enum precision precision, bool compile, double tolerance)
{
    static struct made made;
    struct agree_results expected, got;
    struct error error = {0};
    struct device *reference = reference_device_class.open(0, &error);
    made_op(&made, OP_LINEAR, &small[0], false);
    made.plan.precision = precision;
    if (precision == PRECISION_BF16)
        agree_make_bf16(&made, OP_LINEAR);
    agree_run(&reference_device_class, reference, &made, false, 1, &expected);
    agree_run(vulkan, device, &made, compile, 1, &got);
    assert_true(refusals > 0);
    assert_true(agree_worst(&made, &got, &expected) <= tolerance);
    agree_free(&expected);
    agree_free(&got);
    reference_device_class.close(reference);
}

/* It builds a product's kernel in its general form, and not with the sizes of the shape as constants: the general one serves. */
static void a_refused_shape_is_computed_in_general(void **state)
{
    (void)state;
    struct error error = {0};
    struct device *device = vulkan->open(0, &error);
    if (!device)
        fail_msg("%s", error.text);
    refuse(device, 0, ANY);
    right_in_spite(device, PRECISION_FP32, true, 2e-6);
    vulkan->close(device);
}

/* Eager, where nothing is timed: its matrices promised and refused, single multiplications serve. */
static void refused_matrices_are_multiplied_one_by_one(void **state)
{
    (void)state;
    struct error error = {0};
    char why[160];
    struct device *device = vulkan->open(0, &error);
    if (!device)
        fail_msg("%s", error.text);
    if (!vulkan->supports(device, OP_LINEAR, PRECISION_BF16, why, sizeof why)) {
        vulkan->close(device);
        skip();
    }
    device->traits.matrix_bf16 = true;
    device->traits.software = false;
    device->traits.properties.vendorID = VULKAN_NVIDIA;
    device->traits.subgroup = 32;
    refuse(device, VULKAN_VARIANT + 6, 2); /* tiles that wait: of small[0]'s matrix kernel two, of any plain one 1 */
    right_in_spite(device, PRECISION_BF16, false, 1e-2);
    vulkan->close(device);
}

/* Copies of sizes that no workgroup divides, by every kernel that the ceiling tries: all of it, and nothing beyond. */
static void every_kernel_copies(void **state)
{
    (void)state;
    enum { BYTES = 16 * 5003, AWAY = 98304, ALL = AWAY + BYTES + 4096 };
    static const uint32_t ways[][2] = {{256, 1}, {256, 4}, {512, 2}, {128, 8}, {1024, 1}};
    static char before[ALL], after[ALL];
    struct error error = {0};
    struct device *device = vulkan->open(0, &error);
    if (!device)
        fail_msg("%s", error.text);
    const struct plan plan = {.precision = PRECISION_FP32, .memory.total = ALL};
    const struct vulkan_gemm_shape shape = vulkan_product_shape(16, 16, 16, false, true, PRECISION_FP32);
    for (size_t way = 0; way < sizeof ways / sizeof *ways; way++) {
        struct program *program = vulkan_product_measure(device, &plan, &shape, &error);
        if (!program)
            fail_msg("%s", error.text);
        int32_t kernel = vulkan_copy_pipeline(program, ways[way][0], ways[way][1]);
        assert_true(vulkan_pipelines_build(device, &program->pipelines, &error));
        assert_true(vulkan_copy(device, &program->arena, 0, 1, ALL, ALL, before, false, &error));
        assert_true(vulkan_begin(device, &error));
        vulkan_barrier(device, device->transfer);
        vulkan_copy_dispatch(program, kernel, program->arena.address, program->arena.address + AWAY, BYTES);
        vulkan_barrier(device, device->transfer);
        assert_true(vulkan_finish(device, &error));
        assert_true(vulkan_copy(device, &program->arena, 0, 1, ALL, ALL, after, false, &error));
        assert_memory_not_equal(before + AWAY, before, BYTES);
        memcpy(before + AWAY, before, BYTES);
        assert_memory_equal(after, before, ALL);
        vulkan_release(program);
    }
    vulkan->close(device);
}

int main(int argc, char **argv)
{
    struct device_info info;
    struct error error = {0};
    int count = 0;
    if (!vulkan->enumerate(&info, 1, &count, &error)) {
        printf("skipped: %s\n", error.text);
        return 77;
    }
    printf("%s, %s, %s\n", info.model, info.architecture, info.driver);
    many = argc > 1;
    if (argc > 2)
        cmocka_set_test_filter(argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fp32_candidates_agree),
        cmocka_unit_test(bf16_candidates_agree),
        cmocka_unit_test(a_refused_kernel_falls_out),
        cmocka_unit_test(a_refused_shape_is_computed_in_general),
        cmocka_unit_test(refused_matrices_are_multiplied_one_by_one),
        cmocka_unit_test(every_kernel_copies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
