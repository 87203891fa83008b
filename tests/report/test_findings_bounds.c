/* What the verdict's figures may not say: idle time that kernels leave no room for, two numbers of one thing, a promise that a machine's
 * topology does not allow, an accident. */
#include "report/derive.h"
#include "report/findings.h"
#include "tests/report/ill_documents.h"
#include "tests/report/verdicts.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Of a card whose host is ahead, or slower only while it records: the steps that are not recorded have no room for the idle time. */
static void test_no_idle_time_beside_kernels(void **state)
{
    (void)state;
    for (int why = 0; why < 2; why++) {
        struct report report;
        struct report_cell *cell = document(&report, 20);
        card(cell);
        attached(cell);
        kernel(cell, "gemm", CLASS_MATMUL, PHASE_FWD, 0.98, 200);
        reason(cell, why ? IDLE_SYNC : IDLE_LAUNCH, 0.45);
        is_healthy(&report);
    }
}

/* A loader is ranked by all that passes outside the phases: then it says so, and not only what the host waits. */
static void test_input_says_its_rank(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct report report;
    struct findings findings;
    struct report_cell *cell = document(&report, 20);
    attached(cell);
    kernel(cell, "aten::mm", CLASS_MATMUL, PHASE_FWD, 0.55, 20);
    reason(cell, IDLE_DATA, 0.11);
    struct report_phase *phase = &cell->passes[PASS_TRAIN_STEP].phases[PHASE_FWD];
    phase->samples_ns = arena_array(&cell->arena, uint64_t, 20);
    phase->sample_count = 20;
    for (size_t i = 0; i < 20; i++)
        phase->samples_ns[i] = (uint64_t)(STEP * 0.6);
    cell_derive(cell);
    findings_make(&findings, &report, cell, &arena);
    assert_string_equal(findings.items[0].rule, "input");
    assert_true(findings.items[0].gain > 0.35 && findings.items[0].gain < 0.45);
    char said[80];
    snprintf(said, sizeof said, "; at most %.0f %% pass outside forward, loss, backward and optimizer, were these",
             findings.items[0].gain * 100);
    said[strlen(said) - 1] = 0;
    assert_non_null(strstr(findings.items[0].sentence, said));
    assert_non_null(strstr(findings.items[0].sentence, "waits 11 % of the step"));
    /* A loader without workers computes on the thread that waits for it: its operators are its time, too. */
    cell->program = (struct program_facts){.steps = 20, .wall_ns = 1000, .wait_ns = 390};
    findings_make(&findings, &report, cell, &arena);
    assert_non_null(strstr(findings.items[0].sentence, "waits 39 % of the step"));
    assert_null(strstr(findings.items[0].sentence, "at most"));
    arena_release(&arena);
    report_free(&report);
}

/* What passes outside the phases is ranked by a bound, which the sentence holds where it is more than it says: phases as short as their
 * shortest, and no more than a fifth shorter than their median, however much they spread. */
static void test_outside_says_its_rank(void **state)
{
    (void)state;
    struct arena arena = {0};
    for (int spreads = 0; spreads < 2; spreads++) {
        struct report report;
        struct findings findings;
        struct report_cell *cell = document(&report, 40);
        attached(cell);
        kernel(cell, "aten::mm", CLASS_MATMUL, PHASE_FWD, 0.84, 20);
        reason(cell, IDLE_LAUNCH, 0.12);
        struct report_phase *phase = &cell->passes[PASS_TRAIN_STEP].phases[PHASE_FWD];
        struct report_phase *total = &cell->passes[PASS_TRAIN_STEP].phases[PHASE_COUNT];
        phase->samples_ns = arena_array(&cell->arena, uint64_t, 40);
        phase->sample_count = 40;
        for (size_t i = 0; i < 40; i++) {
            if (i % 8 == 0)
                total->samples_ns[i] = (uint64_t)(STEP * (spreads ? 1.5 : 0.67));
            phase->samples_ns[i] = i % 8 ? (uint64_t)(STEP * 0.88) : total->samples_ns[i] - (uint64_t)(STEP * 0.12);
            if (spreads && i % 8 == 1) {
                total->samples_ns[i] = (uint64_t)(STEP * 0.67);
                phase->samples_ns[i] = (uint64_t)(STEP * 0.55);
            }
        }
        cell_derive(cell);
        findings_make(&findings, &report, cell, &arena);
        const struct finding *outside = find(&findings, "outside");
        assert_non_null(outside);
        assert_non_null(strstr(outside->sentence, "12 % of the step"));
        assert_non_null(strstr(outside->sentence, "at most 30 %"));
        assert_true(fabs(outside->gain - 0.296) < 0.01);
        report_free(&report);
    }
    arena_release(&arena);
}

/* Blocks of a Sequential have no name: they are said in words, and the path stays what views look for. */
static void says_blocks(const char *const paths[6], const char *const names[6], const char *words, const char *layer)
{
    static const struct report_layer_phase none;
    struct arena arena = {0};
    struct report report;
    struct findings findings;
    struct report_cell *cell = document(&report, 20);
    attached(cell);
    card(cell);
    cell->layers = arena_array(&cell->arena, struct report_layer, 6);
    cell->entries = arena_array(&cell->arena, struct report_entry, 6);
    for (int l = 0; l < 6; l++) {
        cell->layers[l] = (struct report_layer){.path = paths[l],
                                                .name = names[l],
                                                .parent = l % 3 ? l / 3 * 3 : -1,
                                                .depth = l % 3 > 0,
                                                .parameter_bytes = l % 3 ? 100 * l % 3 : 300,
                                                .saved_bytes = UNKNOWN_U64};
        for (int pass = 0; pass < PASS_COUNT; pass++)
            for (int phase = 0; phase < PLACE_PHASE_COUNT; phase++)
                cell->layers[l].phase[pass][phase] = &none;
    }
    cell->layer_count = 6;
    kernel(cell, "gemm", CLASS_MATMUL, PHASE_FWD, 0.4, 800);
    for (int l = 1; l < 6; l += 3)
        cell->entries[cell->entry_count++] =
            (struct report_entry){.scope = l, .pass = PASS_TRAIN_STEP, .total_ns = cell->kernels[0].total_ns / 2};
    cell_derive(cell);
    findings_make(&findings, &report, cell, &arena);
    assert_string_equal(findings.items[0].rule, "launch");
    assert_non_null(strstr(findings.items[0].sentence, words));
    assert_string_equal(findings.items[0].layer, layer);
    report_free(&report);
    arena_release(&arena);
}

static void test_layers_without_a_name(void **state)
{
    (void)state;
    static const char *const named[2][6] = {{"0", "0.a", "0.b", "1", "1.a", "1.b"}, {"0", "a", "b", "1", "a", "b"}};
    static const char *const numbered[2][6] = {{"0", "0.0", "0.1", "1", "1.0", "1.1"}, {"0", "0", "1", "1", "0", "1"}};
    says_blocks(named[0], named[1], "most of their time in a of each block", "*.a");
    says_blocks(numbered[0], numbered[1], "most of their time in part 0 of each block", "*.0");
}

/* One thread of two processors has half of their roof: its products are not slow for that. */
static void test_products_of_fewer_threads(void **state)
{
    (void)state;
    struct arena arena = {0};
    for (int threads = 0; threads < 2; threads++) {
        struct report report;
        struct findings findings;
        struct report_cell *cell = document(&report, 20);
        cell->requested.threads = threads;
        struct report_kernel *gemm = kernel(cell, "gemm", CLASS_MATMUL, PHASE_FWD, 0.96, 20);
        gemm->flops = 0.45 * cell->ceilings.flops_per_s * (double)gemm->total_ns * 1e-9;
        gemm->bytes = gemm->flops / 1000;
        cell_derive(cell);
        findings_make(&findings, &report, cell, &arena);
        assert_int_equal(find(&findings, "products") != NULL, threads == 0);
        report_free(&report);
    }
    arena_release(&arena);
}

/* Whether two processors are one core a virtual machine does not say: the promise is a range then, and what is sure stands before it. */
static void test_threads_of_cores_that_nobody_tells(void **state)
{
    (void)state;
    struct arena arena = {0};
    static const uint32_t cores[] = {UNKNOWN_U32, 1, 2};
    for (size_t i = 0; i < 3; i++) {
        struct report report;
        struct findings findings;
        ills_make("threads", &report);
        report.host.physical_cores = cores[i];
        cell_derive(report.cells.items[0]);
        findings_make(&findings, &report, report.cells.items[0], &arena);
        assert_string_equal(findings.items[0].rule, "threads");
        assert_int_equal(findings.items[0].confidence, i < 2 ? CONFIDENCE_POSSIBLE : CONFIDENCE_LIKELY);
        assert_int_equal(strstr(findings.items[0].sentence, "between nothing and 48 %") != NULL, i == 0);
        assert_int_equal(strstr(findings.items[0].sentence, "These are 1 core,") != NULL, i == 1);
        report_free(&report);
    }
    arena_release(&arena);
}

/* One long step of a hundred is an accident, or a wait for a card that its host had run ahead of; one of twenty medians and more is said. */
static void test_one_long_step(void **state)
{
    (void)state;
    for (int times = 6; times < 30; times += 20) {
        struct report report;
        struct report_cell *cell = document(&report, 100);
        kernel(cell, "gemm", CLASS_MATMUL, PHASE_FWD, 0.96, 20);
        cell->passes[PASS_TRAIN_STEP].phases[PHASE_COUNT].samples_ns[2] = (uint64_t)(STEP * times);
        if (times == 6)
            is_healthy(&report);
        else
            is_first(&report, "stall", 25.0 / 125);
    }
}

/* Steps that are long one after the other from the first on are one warm-up, and stand still for no other reason. */
static void test_warm_up_of_several_steps(void **state)
{
    (void)state;
    for (int last = 0; last < 2; last++) {
        struct report report;
        struct report_cell *cell = document(&report, 40);
        struct arena arena = {0};
        struct findings findings;
        uint64_t *samples = cell->passes[PASS_TRAIN_STEP].phases[PHASE_COUNT].samples_ns;
        kernel(cell, "gemm", CLASS_MATMUL, PHASE_FWD, 0.96, 20);
        const double times[] = {3, 6, 6, 2};
        for (size_t i = 0; i < 4; i++)
            samples[i] = (uint64_t)(STEP * times[i]);
        samples[30] = (uint64_t)(STEP * (last ? 30 : 1)); /* that one is its own */
        cell_derive(cell);
        findings_make(&findings, &report, cell, &arena);
        const struct finding *warm = find(&findings, "warmup"), *stall = find(&findings, "stall");
        const double whole = 53 + (last ? 29 : 0);
        assert_true(warm && fabs(warm->gain - 13 / whole) < 0.002);
        assert_non_null(strstr(warm->sentence, "The first 4 counted steps take up to "));
        assert_int_equal(stall != NULL, last);
        assert_true(!stall || fabs(stall->gain - 29 / whole) < 0.002);
        arena_release(&arena);
        report_free(&report);
    }
}

/* What a program does between operators in its first steps is warm-up's, and no launching in a step. */
static void test_warm_up_is_no_launching(void **state)
{
    (void)state;
    struct report report;
    struct report_cell *cell = document(&report, 20);
    attached(cell);
    cell->passes[PASS_TRAIN_STEP].phases[PHASE_COUNT].samples_ns[0] = (uint64_t)(STEP * 6);
    cell->passes[PASS_TRAIN_STEP].wall_ns = STEP * 1.25; /* a mean: 6 medians once in 20 */
    cell->passes[PASS_TRAIN_STEP].idle_ns = STEP * 0.29;
    kernel(cell, "aten::mm", CLASS_MATMUL, PHASE_FWD, 0.96, 20);
    is_first(&report, "warmup", 5.0 / 25);
}

/* What fills memory copies nothing, whatever the kernel is called. */
static void test_filling_is_no_copy(void **state)
{
    (void)state;
    struct report report;
    struct report_cell *cell = document(&report, 20);
    attached(cell);
    card(cell);
    kernel(cell, "at::native::vectorized_elementwise_kernel<4, at::native::FillFunctor<float>>", CLASS_COPY, PHASE_BWD,
           0.3, 2);
    kernel(cell, "gemm", CLASS_MATMUL, PHASE_FWD, 0.66, 20);
    is_healthy(&report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_idle_time_beside_kernels),
        cmocka_unit_test(test_input_says_its_rank),
        cmocka_unit_test(test_outside_says_its_rank),
        cmocka_unit_test(test_layers_without_a_name),
        cmocka_unit_test(test_products_of_fewer_threads),
        cmocka_unit_test(test_threads_of_cores_that_nobody_tells),
        cmocka_unit_test(test_one_long_step),
        cmocka_unit_test(test_warm_up_of_several_steps),
        cmocka_unit_test(test_warm_up_is_no_launching),
        cmocka_unit_test(test_filling_is_no_copy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
