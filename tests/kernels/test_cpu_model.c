/* Whole models on the CPU, eager and fused, against the same plan in double: loss, every gradient, and the parameters
 * after three steps of AdamW; and the same bits twice. */
#include "kernels/cpu/cpu_device.h"
#include "kernels/device.h"
#include "tests/kernels/agree.h"
#include "tests/kernels/whole.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TOLERANCE 1e-5

static const struct whole_shape shapes[] = {
    {{.name = "d16", .d_model = 48, .d_ff = 72, .num_layers = 2, .num_heads = 3, .vocab_size = 101}, 2, 33},
    {{.name = "one token", .d_model = 64, .d_ff = 96, .num_layers = 1, .num_heads = 2, .vocab_size = 1003}, 1, 1},
    {{.name = "d80", .d_model = 80, .d_ff = 104, .num_layers = 1, .num_heads = 1, .vocab_size = 67}, 1, 257},
};
#define SHAPES (sizeof shapes / sizeof *shapes)

static struct plan *build(const struct whole_shape *shape, unsigned fusions)
{
    return whole_plan(shape, PRECISION_FP32, fusions, cpu_device_class.overlap);
}

/* With one position the softmax is constant and the gradients of q and k are zero but for rounding, which AdamW, dividing
 * by its size, makes into whole steps of either sign. */
static bool is_noise(const struct whole_shape *shape, const struct tensor *t)
{
    return shape->context == 1 && t->kind != TENSOR_GRADIENT &&
           (strstr(t->name, "q_proj") || strstr(t->name, "k_proj"));
}

/* What the comparison looks at: loss, gradients, parameters, m and v; not the regions that hold them together. */
static bool is_compared(const struct plan *plan, int32_t tensor)
{
    const struct tensor *t = &plan->tensors[tensor];
    if (tensor == plan->loss)
        return true;
    return (t->kind == TENSOR_GRADIENT || t->kind == TENSOR_PARAMETER || t->kind == TENSOR_OPTIMIZER) &&
           t->parameter != TENSOR_NONE;
}

/* Three training steps; the compared tensors' values follow each other in the result, malloc'ed. */
static float *train(const struct device_class *class, const struct plan *plan, bool compile, const char *cache,
                    size_t *count)
{
    struct error error = {0};
    struct device *device = class->open(0, &error);
    const struct prepare_options options = {.compile = compile, .threads = 2, .cache_folder = cache};
    assert_non_null(device);
    struct program *program = whole_ready(class, device, plan, &options);
    size_t total = 0;
    for (int32_t i = 0; i < plan->tensor_count; i++)
        total += is_compared(plan, i) ? (size_t)tensor_elements(&plan->tensors[i]) : 0;
    float *result = malloc(total * sizeof *result);
    assert_non_null(result);
    for (int step = 0; step < 3; step++)
        assert_true(class->run(program, PHASES_TRAIN_STEP, (uint64_t)step, NULL, NULL, &error));
    size_t at = 0;
    for (int32_t i = 0; i < plan->tensor_count; i++) {
        if (!is_compared(plan, i))
            continue;
        assert_true(class->read(program, i, result + at, &error));
        at += (size_t)tensor_elements(&plan->tensors[i]);
    }
    class->release(program);
    class->close(device);
    *count = total;
    return result;
}

static void models_agree_with_double(void **state)
{
    (void)state;
    for (size_t s = 0; s < SHAPES; s++)
        for (int fused = 0; fused < 2; fused++) {
            struct plan *plan = build(&shapes[s], fused ? FUSE_ALL : 0);
            size_t count, again_count;
            float *expected = train(&reference_device_class, plan, false, NULL, &count);
            float *got = train(&cpu_device_class, plan, false, NULL, &again_count);
            assert_int_equal(count, again_count);
            size_t at = 0;
            double worst = 0;
            for (int32_t i = 0; i < plan->tensor_count; i++) {
                if (!is_compared(plan, i))
                    continue;
                const size_t elements = (size_t)tensor_elements(&plan->tensors[i]);
                const double error = agree_floats(got + at, expected + at, elements);
                if (!(error <= TOLERANCE) && !is_noise(&shapes[s], &plan->tensors[i]))
                    fail_msg("shape %zu, %s: %s is off by %.3g", s, fused ? "fused" : "eager", plan->tensors[i].name,
                             error);
                worst = error > worst && !is_noise(&shapes[s], &plan->tensors[i]) ? error : worst;
                at += elements;
            }
            print_message("shape %zu, %s: worst relative L2 error of %zu values %.2e\n", s, fused ? "fused" : "eager",
                          count, worst);
            free(expected);
            free(got);
            plan_free(plan);
        }
}

/* Which GEMM is fastest for a shape is timed, and kept in the cache folder: with one, two programs give the same bits. */
static void training_repeats_bitwise(void **state)
{
    (void)state;
    char cache[] = "/tmp/steptop-cpu-model-XXXXXX", command[64];
    assert_non_null(mkdtemp(cache));
    for (int fused = 0; fused < 2; fused++) {
        struct plan *plan = build(&shapes[0], fused ? FUSE_ALL : 0);
        size_t count;
        float *first = train(&cpu_device_class, plan, false, cache, &count);
        float *second = train(&cpu_device_class, plan, false, cache, &count);
        assert_memory_equal(first, second, count * sizeof *first);
        free(first);
        free(second);
        plan_free(plan);
    }
    snprintf(command, sizeof command, "rm -r %s", cache);
    assert_int_equal(system(command), 0);
}

/* Prepares the plan and gives back what its preparation noted of the choices; malloc'ed. */
static char *choices_note(const struct plan *plan, const char *cache)
{
    struct error error = {0};
    struct device *device = cpu_device_class.open(0, &error);
    const struct prepare_options options = {.cache_folder = cache};
    struct prepare_report report = {0};
    struct program *program = device ? cpu_device_class.prepare(device, plan, &options, &report, &error) : NULL;
    if (!program)
        fail_msg("%s", error.text);
    char *note = NULL;
    for (int i = 0; i < report.note_count; i++)
        if (strcmp(report.notes[i].key, "gemm choices") == 0)
            note = strdup(report.notes[i].text);
    cpu_device_class.release(program);
    cpu_device_class.close(device);
    assert_non_null(note);
    return note;
}

static size_t lines_in(const char *path)
{
    size_t lines = 0;
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    for (int c; (c = getc(file)) != EOF;)
        lines += c == '\n';
    fclose(file);
    return lines;
}

/* However many shapes were seen before: new ones are timed and kept, the oldest make room, and it is said. */
static void a_full_cache_takes_new_shapes(void **state)
{
    (void)state;
    char cache[] = "/tmp/steptop-cpu-model-XXXXXX", command[200];
    assert_non_null(mkdtemp(cache));
    struct plan *plan = build(&shapes[0], 0), *other = build(&shapes[1], 0);
    char *note = choices_note(plan, cache);
    assert_non_null(strstr(note, "timed now, 0 known"));
    free(note);
    snprintf(command, sizeof command,
             "for i in $(seq 3000); do echo nt ${i}x7x9 1 1.0 2.0 3.0; done >> $(echo %s/cpu-gemm-*)", cache);
    assert_int_equal(system(command), 0);
    note = choices_note(other, cache);
    assert_null(strstr(note, " 0 timed now"));
    if (!strstr(note, "oldest made room"))
        fail_msg("%s", note);
    free(note);
    note = choices_note(other, cache);
    assert_non_null(strstr(note, " 0 timed now"));
    free(note);
    snprintf(command, sizeof command, "mv %s/cpu-gemm-*.txt %s/all", cache, cache);
    assert_int_equal(system(command), 0);
    snprintf(command, sizeof command, "%s/all", cache);
    assert_int_equal(lines_in(command), 1 + 2048);
    /* Where nothing can be kept, it is timed all the same. */
    snprintf(command, sizeof command, "%s/all/below", cache);
    note = choices_note(other, command);
    assert_null(strstr(note, " 0 timed now"));
    assert_non_null(strstr(note, "not kept: "));
    free(note);
    plan_free(plan);
    plan_free(other);
    snprintf(command, sizeof command, "rm -r %s", cache);
    assert_int_equal(system(command), 0);
}

/* Compile mode may take another GEMM for a shape: the same within the tolerance. */
static void compiled_agrees_with_eager(void **state)
{
    (void)state;
    struct plan *plan = build(&shapes[0], FUSE_ALL);
    size_t count;
    float *eager = train(&cpu_device_class, plan, false, NULL, &count);
    float *compiled = train(&cpu_device_class, plan, true, NULL, &count);
    assert_true(agree_floats(compiled, eager, count) <= TOLERANCE);
    free(eager);
    free(compiled);
    plan_free(plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(models_agree_with_double),
        cmocka_unit_test(training_repeats_bitwise),
        cmocka_unit_test(a_full_cache_takes_new_shapes),
        cmocka_unit_test(compiled_agrees_with_eager),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
