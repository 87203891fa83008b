/* verify against the committed PyTorch fixture and against the double reference; and that it finds what is broken on purpose:
 * a wrong epsilon, a missing weight decay, an attention that sees the future. */
#include "harness.h"
#include "kernels/cpu/cpu_device.h"
#include "kernels/reference/internal.h"
#include "kernels/reference/reference.h"
#include "model/verify.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIXTURE TEST_SOURCE_DIR "/model/reference"

static void report(const struct verify_outcome *outcome)
{
    for (size_t i = 0; i < outcome->rows.count; i++)
        if (!(outcome->rows.items[i].error <= outcome->rows.items[i].tolerance))
            printf("    %s: %.2e > %.2e\n", outcome->rows.items[i].name, outcome->rows.items[i].error,
                   outcome->rows.items[i].tolerance);
    if (!outcome->repeats)
        printf("    two runs differ\n");
}

static struct verify_outcome verify(const struct device_class *class, const struct truth *truth,
                                    enum precision precision, bool compile)
{
    struct error error = {0};
    struct verify_outcome outcome = {0};
    struct device *device = class->open(0, &error);
    if (!device || !verify_device(class, device, truth, precision, compile, 0, &outcome, &error))
        fail_msg("%s: %s", class->name, error.text);
    class->close(device);
    return outcome;
}

static struct truth fixture(void)
{
    struct truth truth;
    struct error error;
    if (!truth_read(FIXTURE, &truth, &error))
        fail_msg("%s", error.text);
    return truth;
}

/* PyTorch in double and the reference device, each written for itself, agree far beyond fp32: what is left are the constants
 * that a plan holds as floats (1/√D, AdamW's) and the rounding of reading parameters back as fp32. */
static void reference_agrees_with_pytorch(void **state)
{
    (void)state;
    struct truth truth = fixture();
    for (int compile = 0; compile < 2; compile++)
        for (int precision = 0; precision < PRECISION_COUNT; precision++) {
            struct verify_outcome outcome =
                verify(&reference_device_class, &truth, (enum precision)precision, compile != 0);
            assert_int_equal(outcome.rows.count, 2 + 2 * 21);
            for (size_t i = 0; i < outcome.rows.count; i++)
                if (!(outcome.rows.items[i].error <= (precision == PRECISION_BF16 ? 3e-3 : 2e-7)))
                    fail_msg("%s: %.2e", outcome.rows.items[i].name, outcome.rows.items[i].error);
            assert_true(outcome.repeats && outcome.failed == 0);
            assert_int_equal(outcome.fired != 0, compile);
            verify_outcome_free(&outcome);
        }
    truth_free(&truth);
}

static void cpu_agrees_with_pytorch(void **state)
{
    (void)state;
    struct truth truth = fixture();
    for (int compile = 0; compile < 2; compile++) {
        struct verify_outcome outcome = verify(&cpu_device_class, &truth, PRECISION_FP32, compile != 0);
        report(&outcome);
        assert_int_equal(outcome.failed, 0);
        verify_outcome_free(&outcome);
    }
    truth_free(&truth);
}

/* Odd shapes: one token, an odd context, a vocabulary that is no multiple of anything, D = 80. */
static void cpu_agrees_with_the_reference(void **state)
{
    (void)state;
    static const struct {
        int64_t c, f, layers, heads, vocab, batch, context;
    } shapes[] = {{64, 172, 2, 1, 101, 1, 1},
                  {160, 200, 1, 2, 1003, 1, 257},
                  {48, 100, 2, 6, 77, 3, 17},
                  {128, 96, 1, 2, 64, 2, 64}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const struct plan_request request = {.model = {.name = "odd",
                                                       .d_model = shapes[i].c,
                                                       .d_ff = shapes[i].f,
                                                       .num_layers = shapes[i].layers,
                                                       .num_heads = shapes[i].heads,
                                                       .vocab_size = shapes[i].vocab},
                                             .batch = shapes[i].batch,
                                             .context = shapes[i].context};
        struct truth truth;
        struct error error;
        if (!truth_compute(&request, 2, 1, &truth, &error))
            fail_msg("%s", error.text);
        for (int compile = 0; compile < 2; compile++) {
            struct verify_outcome outcome = verify(&cpu_device_class, &truth, PRECISION_FP32, compile != 0);
            report(&outcome);
            assert_int_equal(outcome.failed, 0);
            verify_outcome_free(&outcome);
        }
        truth_free(&truth);
    }
}

/* Mutants: the reference device with one thing wrong. */
static struct program *prepare_mutant(struct device *device, const struct plan *plan,
                                      const struct prepare_options *options, struct prepare_report *notes,
                                      struct error *error, void (*mutate)(struct node *))
{
    for (int32_t i = 0; i < plan->node_count; i++)
        mutate(&plan->nodes[i]);
    return reference_device_class.prepare(device, plan, options, notes, error);
}

static void wrong_epsilon(struct node *node)
{
    node->epsilon *= 10;
}
static void no_decay(struct node *node)
{
    node->adamw.weight_decay = 0;
}

static struct program *prepare_wrong_epsilon(struct device *device, const struct plan *plan,
                                             const struct prepare_options *options, struct prepare_report *notes,
                                             struct error *error)
{
    return prepare_mutant(device, plan, options, notes, error, wrong_epsilon);
}

static struct program *prepare_no_decay(struct device *device, const struct plan *plan,
                                        const struct prepare_options *options, struct prepare_report *notes,
                                        struct error *error)
{
    return prepare_mutant(device, plan, options, notes, error, no_decay);
}

/* Softmax over all T scores, the future as well. */
static void softmax_without_mask(struct program *program, const struct plan *plan, const struct node *scores,
                                 const struct node *softmax)
{
    (void)plan;
    const struct node_dims *dims = &scores->dims;
    const double *q = reference_values(program, scores->input[0]), *k = reference_values(program, scores->input[1]);
    double *p = reference_values(program, softmax->output[0]);
    const int64_t width = dims->heads * dims->head_dim;
    for (int64_t b = 0; b < dims->batch; b++)
        for (int64_t h = 0; h < dims->heads; h++)
            for (int64_t t = 0; t < dims->context; t++) {
                double *row = p + ((b * dims->heads + h) * dims->context + t) * dims->context, sum = 0;
                for (int64_t u = 0; u < dims->context; u++) {
                    double dot = 0;
                    for (int64_t d = 0; d < dims->head_dim; d++)
                        dot += q[(b * dims->context + t) * width + h * dims->head_dim + d] *
                               k[(b * dims->context + u) * width + h * dims->head_dim + d];
                    sum += row[u] = exp(dot * (double)scores->scale);
                }
                for (int64_t u = 0; u < dims->context; u++)
                    row[u] /= sum;
            }
}

/* Runs forward one node at a time, each as a phase of its own, and puts its own softmax after each causal one. */
static bool run_no_mask(struct program *program, unsigned phases, uint64_t step, const struct probe *probe,
                        struct step_times *times, struct error *error)
{
    struct plan *plan = (struct plan *)program->plan;
    int32_t kept[PHASE_COUNT + 1];
    memcpy(kept, plan->phase_first, sizeof kept);
    bool ok = true;
    for (int32_t i = 0; i < kept[PHASE_LOSS] && ok; i++) {
        plan->phase_first[0] = i;
        plan->phase_first[1] = i + 1;
        ok = reference_device_class.run(program, PHASES_FWD, step, probe, times, error);
        if (ok && plan->nodes[i].op == OP_CAUSAL_SOFTMAX)
            softmax_without_mask(program, plan, &plan->nodes[i - 1], &plan->nodes[i]);
    }
    memcpy(plan->phase_first, kept, sizeof kept);
    const unsigned rest = phases & ~PHASES_FWD;
    return ok && (!rest || reference_device_class.run(program, rest, step, probe, times, error));
}

static void mutants_are_found(void **state)
{
    (void)state;
    struct device_class epsilon = reference_device_class, decay = reference_device_class, mask = reference_device_class;
    epsilon.prepare = prepare_wrong_epsilon;
    decay.prepare = prepare_no_decay;
    mask.run = run_no_mask;
    const struct {
        const struct device_class *class;
        const char *finds;
        int at_least;
    } mutants[] = {{&epsilon, "logits", 20}, {&decay, "after.", 15}, {&mask, "logits", 20}};
    struct truth truth = fixture();
    for (size_t m = 0; m < sizeof mutants / sizeof *mutants; m++) {
        struct verify_outcome outcome = verify(mutants[m].class, &truth, PRECISION_FP32, false);
        bool found = false;
        for (size_t i = 0; i < outcome.rows.count; i++)
            found = found || (strncmp(outcome.rows.items[i].name, mutants[m].finds, strlen(mutants[m].finds)) == 0 &&
                              outcome.rows.items[i].error > outcome.rows.items[i].tolerance);
        if (!found || outcome.failed < mutants[m].at_least)
            fail_msg("mutant %zu: %d rows fail", m, outcome.failed);
        verify_outcome_free(&outcome);
    }
    truth_free(&truth);
}

static char *file_bytes(const char *folder, const char *name, size_t *length)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s.safetensors", folder, name);
    FILE *file = fopen(path, "rb");
    char *bytes = malloc(1 << 20);
    assert_non_null(file);
    assert_non_null(bytes);
    *length = fread(bytes, 1, 1 << 20, file);
    fclose(file);
    return bytes;
}

/* What has as many elements and another shape, or a number of heads that is none, is no reference. */
static void misshapen_references_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *file, *was, *is, *says;
    } cases[] = {
        {"weights", "\"layers.1.ffn.w2.weight\": {\"dtype\": \"F32\", \"shape\": [16, 24]",
         "\"layers.1.ffn.w2.weight\": {\"dtype\": \"F32\", \"shape\": [24, 16]",
         "axis 0 of tensor 'layers.1.ffn.w2.weight' is 24 long; 16 are due"},
        {"weights", "\"num_heads\": \"2\", \"steps\": \"3\", ", "\"num_heads\":\"2.5\", \"steps\": \"3\",",
         "'num_heads' is no whole number"},
        {"weights", "\"steps\": \"3\", ", "\"steps\": \".5\",", "'steps' is no number from 1"},
    };
    static const char *const names[] = {"weights", "inputs", "expected"};
    char folder[] = "/tmp/steptop-verify-XXXXXX", path[512];
    assert_non_null(mkdtemp(folder));
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        for (int i = 0; i < 3; i++) {
            size_t length;
            char *bytes = file_bytes(FIXTURE, names[i], &length);
            if (strcmp(names[i], cases[c].file) == 0) {
                char *at = memmem(bytes, length, cases[c].was, strlen(cases[c].was));
                assert_non_null(at);
                memset(at, ' ', strlen(cases[c].was));
                memcpy(at, cases[c].is, strlen(cases[c].is));
            }
            snprintf(path, sizeof path, "%s/%s.safetensors", folder, names[i]);
            FILE *file = fopen(path, "wb");
            assert_non_null(file);
            assert_int_equal(fwrite(bytes, 1, length, file), length);
            fclose(file);
            free(bytes);
        }
        struct truth truth;
        struct error error = {0};
        if (truth_read(folder, &truth, &error))
            fail_msg("taken: %s", cases[c].says);
        if (error.kind != ERROR_INPUT || !strstr(error.text, cases[c].says))
            fail_msg("says: %s", error.text);
    }
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s.safetensors", folder, names[i]);
        unlink(path);
    }
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reference_agrees_with_pytorch),    cmocka_unit_test(cpu_agrees_with_pytorch),
        cmocka_unit_test(cpu_agrees_with_the_reference),    cmocka_unit_test(mutants_are_found),
        cmocka_unit_test(misshapen_references_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
