/* Arithmetic that rules and tables share, each on figures that one can work out by hand. */
#include "base/unknown.h"
#include "kernels/ops.h"
#include "profiler/live.h"
#include "report/build.h"
#include "report/derive.h"
#include "report/emit.h"
#include "report/estimate.h"
#include "report/findings.h"
#include "report/markdown.h"
#include "report/modules.h"
#include "report/rules.h"
#include "report/svg.h"
#include "tests/report/ill_documents.h"
#include "tests/report/synthetic.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static bool near(double value, double expected)
{
    return fabs(value - expected) <= 1e-9 * fabs(expected);
}

/* The roof is FLOPs a second over the ceiling's; the noise half the median's interval over the median. */
static void roof_and_noise(void **state)
{
    (void)state;
    struct report report;
    struct arena arena = {0};
    struct facts facts;
    struct report_cell *cell = document(&report, 20);
    /* 5 ms a step for 2.5e8 FLOPs are 50 GFLOP/s, of 100. */
    kernel(cell, "gemm", CLASS_MATMUL, PHASE_FWD, 0.5, 10)->flops = 2.5e8 * 20;
    cell_derive(cell);
    struct summary *summary = &cell->passes[PASS_TRAIN_STEP].phases[PHASE_COUNT].summary;
    summary->median = 10e6;
    summary->median_low = 9e6;
    summary->median_high = 11e6;
    assert_true(facts_make(&facts, &report, cell, &arena));
    assert_true(near(facts.matmul_roof, 0.5));
    assert_true(near(facts.noise, 0.1));
    assert_true(near(class_ns(&facts, CLASS_MATMUL), 5e6));
    arena_release(&arena);
    report_free(&report);
}

static double gain_of(struct report *report, const char *rule, struct arena *arena)
{
    struct findings findings;
    cell_derive(report->cells.items[0]);
    findings_make(&findings, report, report->cells.items[0], arena);
    for (size_t i = 0; i < findings.all; i++)
        if (strcmp(findings.items[i].rule, rule) == 0)
            return findings.items[i].gain;
    return UNKNOWN_DOUBLE;
}

/* Communication that nothing hides is a share of the step, of which ranks spend a part beside their kernels. */
static void exposed_is_of_the_whole_step(void **state)
{
    (void)state;
    for (size_t i = 0; i < ill_count; i++) {
        struct report report;
        struct arena arena = {0};
        if (strcmp(ills[i].rule, "communication") != 0 || ills[i].gain != 0.35)
            continue;
        ills[i].make(&report, false);
        for (int r = 0; r < 2; r++)
            report.cells.items[0]->ranks[r].compute_ns = 0.15 * STEP; /* half of the step is the host's */
        assert_true(near(gain_of(&report, "communication", &arena), 0.35));
        arena_release(&arena);
        report_free(&report);
    }
}

/* What was queued behind nothing begins no sooner: it goes with the waits. */
static void waits_and_what_is_behind_them(void **state)
{
    (void)state;
    double gains[2] = {0};
    for (int queued = 0; queued < 2; queued++)
        for (size_t i = 0; i < ill_count && !gains[queued]; i++) {
            struct report report;
            struct arena arena = {0};
            if (strcmp(ills[i].rule, "sync") != 0)
                continue;
            ills[i].make(&report, false);
            if (queued) {
                report.cells.items[0]->passes[PASS_TRAIN_STEP].idle.ns[IDLE_QUEUE] = 0.07 * STEP;
                report.cells.items[0]->passes[PASS_TRAIN_STEP].busy_ns -= 0.07 * STEP;
            }
            gains[queued] = gain_of(&report, "sync", &arena);
            arena_release(&arena);
            report_free(&report);
        }
    assert_true(fabs(gains[1] - gains[0] - 0.07) < 1e-4);
}

/* What is full FLOPs of attention is all pairs: of T² the causal mask leaves T(T + 1)/2. */
static void full_flops_are_of_all_pairs(void **state)
{
    (void)state;
    struct cell cell;
    struct error error = {0};
    struct estimate estimate;
    cell_default(&cell);
    assert_true(model_preset_find("tiny", &cell.model, &error));
    cell.batch_size = 1;
    cell.context_length = 3;
    cell.passes = PASS_BIT(PASS_FWD);
    assert_true(estimate_cell(&cell, &estimate, &error));
    struct plan_request request;
    struct plan_result result;
    cell_plan_request(&cell, 0, &request);
    struct plan *plan = plan_build(&request, &result, &error);
    double attention = 0;
    for (int32_t n = 0; n < plan->node_count; n++) {
        const enum kernel_class class = op_info(plan->nodes[n].op)->kernel_class;
        attention += class == CLASS_ATTENTION || class == CLASS_SOFTMAX ? plan->nodes[n].flops : 0;
    }
    assert_true(attention > 0);
    assert_true(near(estimate.full_flops[PASS_FWD] - estimate.flops[PASS_FWD], attention / 2)); /* 9 pairs for 6 */
    plan_free(plan);
}

/* The table's microseconds are the document's nanoseconds. */
static void kernels_are_in_microseconds(void **state)
{
    (void)state;
    struct report report;
    struct strbuf text = {0};
    char wanted[96];
    synthetic_report(&report, "tiny", false, 10, 1);
    const struct report_cell *cell = report.cells.items[0];
    const struct report_kernel *kernel = NULL;
    for (size_t k = 0; k < cell->kernel_count; k++)
        if (cell->kernels[k].pass == cell_longest_pass(cell) && !kernel)
            kernel = &cell->kernels[k];
    assert_non_null(kernel);
    markdown_kernels(&report, &text);
    const char *row = strstr(text.text, kernel->name);
    assert_non_null(row);
    for (int i = 0; i < 3; i++) {
        const double ns[] = {kernel->median_ns, kernel->p95_ns, (double)kernel->max_ns};
        snprintf(wanted, sizeof wanted, " %.1f |", ns[i] / 1000);
        const char *end = strchr(row, '\n'), *at = strstr(row, wanted);
        assert_true(at && at < end);
    }
    strbuf_release(&text);
    report_free(&report);
}

/* The roof rises to the ridge and goes on level from there: the two lines meet. */
static void roof_has_one_ridge(void **state)
{
    (void)state;
    struct report report;
    struct strbuf picture = {0};
    struct report_cell *cell = document(&report, 20);
    struct report_kernel *low = kernel(cell, "a", CLASS_MATMUL, PHASE_FWD, 0.4, 10),
                         *high = kernel(cell, "b", CLASS_MATMUL, PHASE_FWD, 0.4, 10);
    low->flops = 1e8, low->bytes = 1e9;
    high->flops = 1e9, high->bytes = 1e7;
    cell_derive(cell);
    assert_true(picture_draw(PICTURE_ROOFLINE, cell, &picture));
    double before[4] = {0}, own[4];
    int ridges = 0;
    for (const char *at = picture.text; (at = strstr(at, "<line ")); at++) {
        if (sscanf(at, "<line x1=\"%lf\" y1=\"%lf\" x2=\"%lf\" y2=\"%lf\"", &own[0], &own[1], &own[2], &own[3]) != 4)
            continue;
        ridges += own[1] == own[3] && before[1] != before[3] && before[0] != before[2] && before[2] == own[0] &&
                  before[3] == own[1];
        memcpy(before, own, sizeof own);
    }
    assert_int_equal(ridges, 1);
    strbuf_release(&picture);
    report_free(&report);
}

/* From the middle of the first third of the steps to that of the last are two thirds of them. */
static void growth_is_of_a_step(void **state)
{
    (void)state;
    struct report report;
    struct arena arena = {0};
    struct findings findings;
    struct report_cell *cell = document(&report, 30);
    attached(cell);
    kernel(cell, "gemm", CLASS_MATMUL, PHASE_FWD, 0.96, 20);
    cell->program = (struct program_facts){.steps = 30,
                                           .wall_ns = (uint64_t)(STEP * 30),
                                           .resident = {100u << 20, 300u << 20, 500u << 20},
                                           .device_bytes = {UNKNOWN_U64, UNKNOWN_U64, UNKNOWN_U64}};
    cell_derive(cell);
    findings_make(&findings, &report, cell, &arena);
    assert_true(findings.count > 0);
    assert_string_equal(findings.items[0].rule, "creep");
    assert_non_null(strstr(findings.items[0].sentence, ": 20 MiB more with each step")); /* 400 in 20 steps */
    arena_release(&arena);
    report_free(&report);
}

/* What is live before the optimizer's first node, and after its last. */
static void points_of_the_ledger(void **state)
{
    (void)state;
    static uint64_t curve[4 * TENSOR_KIND_COUNT];
    static uint8_t phases[4] = {PHASE_FWD, PHASE_BWD, PHASE_OPT, PHASE_OPT};
    struct report_cell cell = {
        .memory = {.planned_total = 1000, .curve = curve, .curve_phase = phases, .curve_count = 4}};
    cell.memory.by_kind[TENSOR_PARAMETER] = 100;
    cell.memory.by_kind[TENSOR_OPTIMIZER] = 200;
    for (int node = 0; node < 4; node++) {
        curve[node * TENSOR_KIND_COUNT + TENSOR_PARAMETER] = 100;
        curve[node * TENSOR_KIND_COUNT + TENSOR_GRADIENT] = (uint64_t)node * 10;
    }
    assert_true(memory_point(&cell, 0, -1) == 300);
    assert_true(memory_point(&cell, 1, -1) == 110);
    assert_true(memory_point(&cell, 1, TENSOR_GRADIENT) == 10);
    assert_true(memory_point(&cell, 2, -1) == 130);
}

/* Three sizes of buckets whose exposure is s/(n w) + n o to the letter: w, o and the best number come out again. */
static void buckets_are_fitted(void **state)
{
    (void)state;
    static const size_t counts[] = {5, 10, 25};
    struct report_rank ranks[3][2];
    struct report report;
    struct strbuf text = {0};
    report_init(&report);
    for (int i = 0; i < 3; i++) {
        struct report_cell *cell = report_add_cell(&report);
        cell_default(&cell->requested);
        cell->requested.ranks = 2;
        cell->requested.parallel = PARALLEL_BUCKET;
        cell->requested.bucket_mb = 1 + i;
        cell->requested.passes = PASS_BIT(PASS_TRAIN_STEP);
        cell->passes[PASS_TRAIN_STEP].present = true;
        cell->collective_count = counts[i];
        cell->collectives = arena_array(&cell->arena, struct report_collective, 25);
        for (size_t c = 0; c < counts[i]; c++)
            cell->collectives[c] = (struct report_collective){
                .op = "all_reduce", .scope = "", .bytes = 100000000 / counts[i], .calls = 1, .transfer_ns = 1e6};
        const double exposed = 0.1 * 1e8 / (double)counts[i] + 20000.0 * (double)counts[i];
        for (uint32_t r = 0; r < 2; r++)
            ranks[i][r] = (struct report_rank){.rank = r,
                                               .steps = 1,
                                               .step_ns = 20e6 - i * 1e6,
                                               .exposed_ns = exposed,
                                               .communication_ns = 5 * exposed,
                                               .compute_ns = 18e6};
        cell->ranks = ranks[i];
        cell->rank_count = 2;
    }
    markdown_ranks(&report, &text);
    assert_non_null(strstr(text.text,
                           "w is 10.00 GB/s and o 20.0 us a bucket, so sqrt(s/(o w)) = 22.4 buckets should be "
                           "best; the fastest step that was measured had 25."));
    assert_non_null(strstr(text.text, " 80.0 |")); /* four fifths of communication are beside something */
    /* Bytes that nobody said are no number. */
    report.cells.items[0]->collectives[0].bytes = UNKNOWN_U64;
    text.length = 0;
    markdown_ranks(&report, &text);
    assert_null(strstr(text.text, "18446744"));
    assert_null(strstr(text.text, "w is"));
    strbuf_release(&text);
    report_free(&report);
}

/* Half of the parts are enough: blocks that have a part more or another one are blocks. */
static void half_of_the_parts(void **state)
{
    (void)state;
    static const struct report_layer_phase none;
    static const struct {
        const char *path, *name;
        int parent;
    } rows[] = {{"m", "m", -1},    {"b.0", "b.0", 0}, {"b.0.x", "x", 1}, {"b.0.y", "y", 1},
                {"b.1", "b.1", 0}, {"b.1.x", "x", 4}, {"b.1.z", "z", 4}};
    struct report_layer layers[7] = {0};
    struct report_cell cell = {.layers = layers, .layer_count = 7};
    struct modules modules = {0};
    for (int i = 0; i < 7; i++) {
        layers[i] = (struct report_layer){
            .path = rows[i].path, .name = rows[i].name, .parent = rows[i].parent, .saved_bytes = UNKNOWN_U64};
        for (int pass = 0; pass < PASS_COUNT; pass++)
            for (int phase = 0; phase < PLACE_PHASE_COUNT; phase++)
                layers[i].phase[pass][phase] = &none;
    }
    modules_tree(&modules, &cell);
    assert_string_equal(modules.layers[modules.of_layer[1]].path, "b.*");
    assert_int_equal(modules.of_layer[1], modules.of_layer[4]);
    modules_release(&modules);
}

/* A run without end keeps its newest steps: the first of those is no first step, and stands still like any other. */
static void first_step_of_a_run_without_end(void **state)
{
    (void)state;
    for (int endless = 0; endless < 2; endless++) {
        struct report report;
        struct report_cell *cell = document(&report, SAMPLES_KEPT);
        kernel(cell, "sgemm", CLASS_MATMUL, PHASE_FWD, 0.96, 20);
        cell->requested.steps = endless ? STEPS_FOREVER : SAMPLES_KEPT;
        cell->passes[PASS_TRAIN_STEP].phases[PHASE_COUNT].samples_ns[0] *= 200;
        struct arena arena = {0};
        assert_true(fabs(gain_of(&report, endless ? "stall" : "warmup", &arena) - 199.0 / (SAMPLES_KEPT + 199)) <
                    0.001);
        assert_false(is_known(gain_of(&report, endless ? "warmup" : "stall", &arena)));
        arena_release(&arena);
        report_free(&report);
    }
}

/* Of a command nobody said batch, type or mode: CSV leaves them empty. */
static void csv_of_a_command(void **state)
{
    (void)state;
    struct report report;
    struct report_cell *cell = document(&report, 20);
    attached(cell);
    kernel(cell, "aten::addmm", CLASS_MATMUL, PHASE_FWD, 0.9, 20);
    cell_derive(cell);
    struct strbuf kernels = {0}, steps = {0};
    report_emit(&report, FORMAT_KERNELS, &kernels);
    report_emit(&report, FORMAT_CSV, &steps);
    assert_non_null(strstr(kernels.text, ",,,,,train_step,fwd,matmul"));
    assert_null(strstr(kernels.text, "fp32"));
    assert_null(strstr(steps.text, "fp32"));
    assert_null(strstr(steps.text, "false"));
    strbuf_release(&kernels);
    strbuf_release(&steps);
    report_free(&report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(roof_and_noise),
                                       cmocka_unit_test(exposed_is_of_the_whole_step),
                                       cmocka_unit_test(growth_is_of_a_step),
                                       cmocka_unit_test(waits_and_what_is_behind_them),
                                       cmocka_unit_test(full_flops_are_of_all_pairs),
                                       cmocka_unit_test(kernels_are_in_microseconds),
                                       cmocka_unit_test(roof_has_one_ridge),
                                       cmocka_unit_test(points_of_the_ledger),
                                       cmocka_unit_test(buckets_are_fitted),
                                       cmocka_unit_test(half_of_the_parts),
                                       cmocka_unit_test(first_step_of_a_run_without_end),
                                       cmocka_unit_test(csv_of_a_command)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
