/* The verdict: each rule on a document that is bound in exactly that way, and on its cured twin; with values. */
#include "report/derive.h"
#include "report/diff.h"
#include "report/emit.h"
#include "report/findings.h"
#include "report/markdown.h"
#include "tests/report/ill_documents.h"
#include "tests/report/synthetic.h"
#include "tests/report/verdicts.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char *emitted(const struct report *report, enum report_format format) /* malloc'ed */
{
    struct strbuf out = {0};
    report_emit(report, format, &out);
    return out.text;
}

static void test_each_rule_and_its_cure(void **state)
{
    (void)state;
    for (size_t i = 0; i < ill_count; i++) {
        struct report report;
        print_message("%s\n", ills[i].rule);
        ills[i].make(&report, false);
        is_first(&report, ills[i].rule, ills[i].gain);
        ills[i].make(&report, true);
        is_healthy(&report);
    }
    /* Each rule is one of them; `shape` needs a card and is looked at below. */
    for (size_t r = 0; r < rule_count(); r++) {
        bool shown = strcmp(rule_info(r).name, "shape") == 0;
        for (size_t i = 0; i < ill_count; i++)
            shown |= strcmp(rule_info(r).name, ills[i].rule) == 0;
        assert_true(shown);
        assert_true(rule_info(r).condition[0] && rule_info(r).remedy[0]);
    }
}

static void test_shape(void **state)
{
    (void)state;
    for (int cured = 0; cured < 2; cured++) {
        struct report report;
        struct report_cell *cell = document(&report, 20);
        card(cell);
        cell->requested.model.vocab_size = cured ? 50304 : 50257;
        kernel(cell, "gemm", CLASS_MATMUL, PHASE_FWD, 0.96, 20);
        cured ? is_healthy(&report) : is_first(&report, "shape", -1);
    }
}

/* On a card, by what a product fills: 1024 rows of a width of 512 are 8 × 4 tiles. */
static void test_batch_of_a_card(void **state)
{
    (void)state;
    for (int cured = 0; cured < 2; cured++) {
        struct report report;
        struct report_cell *cell = document(&report, 20);
        card(cell);
        cell->requested.batch_size = 4, cell->requested.context_length = 256;
        cell->requested.model.d_model = 512;
        cell->device.units = cured ? 32 : 33;
        kernel(cell, "gemm", CLASS_MATMUL, PHASE_FWD, 0.96, 20);
        cured ? is_healthy(&report) : is_first(&report, "batch", -1);
    }
}

/* More threads than processors, of one process and of all ranks together. */
static void test_too_many_threads(void **state)
{
    (void)state;
    struct arena arena = {0};
    for (int ranks = 1; ranks <= 2; ranks++) {
        struct report report;
        struct findings findings;
        struct report_cell *cell = document(&report, 20);
        attached(cell);
        kernel(cell, "aten::mm", CLASS_MATMUL, PHASE_FWD, 0.96, 20);
        cell->program = (struct program_facts){.steps = 20, .threads = ranks == 1 ? 8 : 2, .processors = 2};
        if (ranks > 1) {
            cell->ranks = arena_array(&cell->arena, struct report_rank, 2);
            for (int r = 0; r < 2; r++)
                cell->ranks[r].compute_ns = cell->ranks[r].exposed_ns = cell->ranks[r].product_slow = UNKNOWN_DOUBLE;
            cell->rank_count = 2;
        }
        cell_derive(cell);
        findings_make(&findings, &report, cell, &arena);
        assert_int_equal(findings.count, 1);
        assert_string_equal(findings.items[0].rule, "threads");
        assert_string_equal(findings.items[0].sentence,
                            ranks == 1
                                ? "8 threads share 2 processors, so that they wait for each other."
                                : "4 threads of all ranks share 2 processors, so that they wait for each other.");
        assert_false(is_known(findings.items[0].gain));
        report_free(&report);
    }
    arena_release(&arena);
}

/* Threads that a binding makes too many are the binding's matter. */
static void test_affinity_alone(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct report report;
    struct findings findings;
    ills_make("affinity", &report);
    report.cells.items[0]->program.threads = 2;
    cell_derive(report.cells.items[0]);
    findings_make(&findings, &report, report.cells.items[0], &arena);
    assert_int_equal(findings.count, 1);
    assert_string_equal(findings.items[0].sentence,
                        "The program is bound to 1 of 2 processors, which its 2 threads share, so that they wait for "
                        "each other.");
    assert_true(fabs(findings.items[0].gain - 0.96) < 0.005); /* not half: they wait for each other */
    report_free(&report);
    arena_release(&arena);
}

/* The idle time of steps that stand still is theirs, and no launches'. */
static void test_standing_still_is_no_launching(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct report report;
    struct findings findings;
    make_stall(&report, false);
    struct report_cell *cell = report.cells.items[0];
    attached(cell);
    cell->passes[PASS_TRAIN_STEP].wall_ns = STEP * 1.5; /* a mean: 20 medians once in 40 */
    cell->passes[PASS_TRAIN_STEP].idle_ns = STEP * 0.54;
    cell_derive(cell);
    findings_make(&findings, &report, cell, &arena);
    assert_int_equal(findings.count, 1);
    assert_string_equal(findings.items[0].rule, "stall");
    report_free(&report);
    arena_release(&arena);
}

/* Nor is what waits for another rank. */
static void test_waiting_for_a_rank_is_no_launching(void **state)
{
    (void)state;
    for (int waits = 0; waits < 2; waits++) {
        struct report report;
        struct report_cell *cell = document(&report, 20);
        attached(cell);
        kernel(cell, "aten::mm", CLASS_MATMUL, PHASE_FWD, 0.75, 20);
        if (waits)
            reason(cell, IDLE_RANK, 0.24);
        waits ? is_healthy(&report) : is_first(&report, "launch", 0.25);
    }
}

/* Why a data loader is waited for, in words. */
static void test_causes_of_a_loader(void **state)
{
    (void)state;
    const struct {
        struct program_facts program;
        const char *says, *remedy;
    } cases[] = {
        {{.steps = 20, .wait_ns = 100, .wait_cpu_ns = 90},
         "Input-bound: the host waits 40 % of the step for its data loader, which has no workers and computes on the "
         "thread that trains.",
         "num_workers"},
        {{.steps = 20, .wait_ns = 100, .wait_cpu_ns = 10},
         "mostly waits itself: a disk, a network, a lock.",
         "num_workers"},
        {{.steps = 20, .wait_ns = 100, .loader_workers = 2, .workers_ns = 1000, .workers_cpu_ns = 1900},
         "whose 2 workers compute all the time on 2 processors.",
         "Less work for a sample"},
        {{.steps = 20, .wait_ns = 100, .loader_workers = 1, .workers_ns = 1000, .workers_cpu_ns = 900},
         "whose 1 worker computes all the time.",
         "More loader workers"},
        {{.steps = 20,
          .wait_ns = 100,
          .loader_workers = 1,
          .workers_ns = 1000,
          .workers_cpu_ns = 100,
          .workers_disk_ns = 800},
         "whose 1 worker mostly waits: for a disk.",
         "A faster disk"},
        {{.steps = 20, .wait_ns = 100, .loader_workers = 4, .workers_ns = 1000, .workers_cpu_ns = 100},
         "whose 4 workers mostly wait: not for a processor, nor for a disk, as far as was seen.",
         "What its workers wait for"},
        {{.steps = 0}, "for its data loader.", "More loader workers"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena arena = {0};
        struct report report;
        struct findings findings;
        make_loader(&report, false);
        report.cells.items[0]->program = cases[i].program;
        cell_derive(report.cells.items[0]);
        findings_make(&findings, &report, report.cells.items[0], &arena);
        assert_string_equal(findings.items[0].rule, "input");
        assert_non_null(strstr(findings.items[0].sentence, cases[i].says));
        assert_int_equal(strncmp(findings.items[0].remedy, cases[i].remedy, strlen(cases[i].remedy)), 0);
        arena_release(&arena);
        report_free(&report);
    }
}

/* From pageable memory or from pinned: the sentence says which. A stall in which nothing was compiled is no recompilation. */
static void test_other_causes(void **state)
{
    (void)state;
    for (int pageable = 0; pageable < 2; pageable++) {
        struct arena arena = {0};
        struct report report;
        struct findings findings;
        struct report_cell *cell = document(&report, 20);
        card(cell);
        copy_of(cell, COPY_TO_DEVICE, pageable, 0.3, 2);
        kernel(cell, "gemm", CLASS_MATMUL, PHASE_FWD, 0.66, 20);
        cell_derive(cell);
        findings_make(&findings, &report, cell, &arena);
        assert_string_equal(findings.items[0].rule, "copies");
        assert_int_equal(strstr(findings.items[0].sentence, "pageable") != NULL, pageable);
        assert_true(findings.items[0].evidence[1].value == (pageable ? 100 : 0));
        arena_release(&arena);
        report_free(&report);

        make_stall(&report, false);
        cell = report.cells.items[0];
        cell->program.steps = pageable ? 40 : 0;
        cell_derive(cell);
        findings_make(&findings, &report, cell, &arena);
        assert_string_equal(findings.items[0].rule, "stall");
        assert_int_equal(strstr(findings.items[0].sentence, "Nothing was compiled in them") != NULL, pageable);
        arena_release(&arena);
        report_free(&report);
    }
}

/* Cells with the same fault have one sentence, and those that have another keep theirs. */
static void test_one_sentence_for_many_cells(void **state)
{
    (void)state;
    struct report report, healthy;
    struct strbuf text = {0};
    make_stall(&report, false);
    cell_derive(report.cells.items[0]);
    cell_derive(document(&healthy, 20));
    struct report_cell *const stalls = report.cells.items[0];
    vec_push(&report.cells, stalls);
    vec_push(&report.cells, healthy.cells.items[0]);
    vec_push(&report.cells, stalls);
    markdown_verdict(&report, &text);
    const char *const first = strstr(text.text, "stand still"), *const same =
                                                                    strstr(text.text,
                                                                           "; the same comes first in 2 more cells)");
    assert_true(first && same && first < same);
    assert_null(strstr(first + 1, "stand still"));
    assert_non_null(strstr(same, "\n\n**"));
    strbuf_release(&text);
    report.cells.count = 1;
    report_free(&report);
    report_free(&healthy);
}

/* Two steps stand still, and a graph was compiled in one step: nobody knows in which. */
static void test_one_of_the_stalls_compiled(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct report report;
    struct findings findings;
    make_stall(&report, false);
    struct report_cell *cell = report.cells.items[0];
    cell->passes[PASS_TRAIN_STEP].phases[PHASE_COUNT].samples_ns[17] = (uint64_t)(STEP * 21);
    cell->program = (struct program_facts){.steps = 40, .wall_ns = (uint64_t)(STEP * 80), .compiled_steps = 1};
    cell_derive(cell);
    findings_make(&findings, &report, cell, &arena);
    assert_string_equal(findings.items[0].rule, "stall");
    assert_null(strstr(findings.items[0].sentence, "Nothing was compiled"));
    assert_non_null(strstr(findings.items[0].sentence, "whether recompilation, garbage collection"));
    arena_release(&arena);
    cell->passes[PASS_TRAIN_STEP].phases[PHASE_COUNT].samples_ns[17] = 11400000000u; /* and no 1.14e+04 ms */
    cell_derive(cell);
    findings_make(&findings, &report, cell, &arena);
    assert_non_null(strstr(findings.items[0].sentence, "up to 11.4 s,"));
    arena_release(&arena);
    report_free(&report);
}

/* Beside one that does nothing at all, none is late. */
static void test_no_rank_is_late_beside_nothing(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct report report;
    struct findings findings;
    ills_make("straggler", &report);
    report.cells.items[0]->ranks[0].compute_ns = 0;
    cell_derive(report.cells.items[0]);
    findings_make(&findings, &report, report.cells.items[0], &arena);
    assert_null(find(&findings, "straggler"));
    arena_release(&arena);
    report_free(&report);
}

/* What follows from a cause is in its gain: launches without a queue after each synchronisation; the host's own copy of pageable
 * memory; phases that run slower after a wait. */
static void test_what_follows_from_a_cause(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct report report;
    struct findings findings;
    struct report_cell *cell = document(&report, 20);
    card(cell);
    kernel(cell, "gemm", CLASS_MATMUL, PHASE_FWD, 0.6, 20);
    reason(cell, IDLE_SYNC, 0.15);
    cell->passes[PASS_TRAIN_STEP].idle.ns[IDLE_LAUNCH] = 0.25 * STEP;
    cell_derive(cell);
    findings_make(&findings, &report, cell, &arena);
    assert_string_equal(findings.items[0].rule, "sync"); /* not launch, with its 25 % */
    assert_true(fabs(findings.items[0].gain - 0.40) < 0.001);
    report_free(&report);

    for (int pageable = 0; pageable < 2; pageable++) {
        cell = document(&report, 20);
        card(cell);
        copy_of(cell, COPY_TO_DEVICE, pageable, 0.2, 2);
        kernel(cell, "gemm", CLASS_MATMUL, PHASE_FWD, 0.71, 20);
        reason(cell, IDLE_LAUNCH, 0.08);
        cell_derive(cell);
        findings_make(&findings, &report, cell, &arena);
        assert_string_equal(findings.items[0].rule, "copies");
        assert_true(fabs(findings.items[0].gain - (pageable ? 0.28 : 0.20)) < 0.001);
        report_free(&report);
    }
    arena_release(&arena);
}

/* The roof was measured when the processors were this run's: products are not called slow for what others take. */
static void test_no_roof_beside_others(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct report report;
    struct findings findings;
    ills_make("products", &report);
    report.cells.items[0]->use = (struct machine_use){0, 0.8, 0, UNKNOWN_DOUBLE};
    cell_derive(report.cells.items[0]);
    findings_make(&findings, &report, report.cells.items[0], &arena);
    assert_int_equal(findings.count, 1);
    assert_string_equal(findings.items[0].rule, "neighbours");
    report_free(&report);
    ills_make("products", &report); /* and where others leave processors idle, which may be threads of the same cores */
    report.cells.items[0]->use = (struct machine_use){0, 0.4, 0.4, UNKNOWN_DOUBLE};
    is_healthy(&report);
    arena_release(&arena);
}

/* Steps that spread while others take the processors: that is said, and no spread beside it. */
static void test_spread_has_a_cause(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct report report;
    struct findings findings;
    for (int room = 0; room < 2; room++)
        for (int drifts = 0; drifts < 2; drifts++) {
            drifts ? make_drift(&report, false) : make_spread(&report, false);
            report.cells.items[0]->use = (struct machine_use){0, 0.4, room ? 0.3 : 0.05, UNKNOWN_DOUBLE};
            cell_derive(report.cells.items[0]);
            findings_make(&findings, &report, report.cells.items[0], &arena);
            assert_int_equal(findings.count, 1);
            assert_string_equal(findings.items[0].rule, "neighbours");
            assert_string_equal(
                findings.items[0].sentence,
                !room    ? "The machine is shared: other programs use 40 % of the processors' time and leave 5 % idle, "
                           "so that the run waits for them."
                : drifts ? "The machine is shared: the steps become slower while other programs use 40 % of the "
                           "processors' time. Cannot tell how much of that is theirs, because processors were idle as "
                           "well."
                         : "The machine is shared: the steps spread while other programs use 40 % of the processors' "
                           "time. Cannot tell how much of that is theirs, because processors were idle as well.");
            assert_int_equal(is_known(findings.items[0].gain), !room);
            report_free(&report);
        }
    make_spread(&report, false); /* on a card others take the host's processors, idle or not */
    card(report.cells.items[0]);
    report.cells.items[0]->use = (struct machine_use){0, 0.4, 0.05, UNKNOWN_DOUBLE};
    cell_derive(report.cells.items[0]);
    findings_make(&findings, &report, report.cells.items[0], &arena);
    const struct finding *shared = find(&findings, "neighbours");
    assert_non_null(shared);
    assert_non_null(strstr(shared->sentence, "because the card works beside them."));
    report_free(&report);
    arena_release(&arena);
}

/* Steps that differ more than the remedy would give: no rule fires. With few steps it is said that they are few. */
static void test_noise_and_few_steps(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct findings findings;
    struct report report;
    struct report_cell *cell = document(&report, 10);
    attached(cell);
    kernel(cell, "aten::copy_", CLASS_COPY, PHASE_FWD, 0.1, 20);
    kernel(cell, "aten::mm", CLASS_MATMUL, PHASE_FWD, 0.87, 20);
    uint64_t *samples = cell->passes[PASS_TRAIN_STEP].phases[PHASE_COUNT].samples_ns;
    cell_derive(cell);
    findings_make(&findings, &report, cell, &arena);
    assert_non_null(find(&findings, "layout"));
    for (size_t i = 0; i < 10; i++)
        samples[i] = (uint64_t)(STEP * (i % 2 ? 1.3 : 0.7));
    cell_derive(cell);
    findings_make(&findings, &report, cell, &arena);
    assert_null(find(&findings, "layout"));
    report_free(&report);

    cell = document(&report, 3);
    attached(cell);
    kernel(cell, "aten::copy_", CLASS_COPY, PHASE_FWD, 0.5, 20);
    cell_derive(cell);
    findings_make(&findings, &report, cell, &arena);
    assert_int_equal(findings.count, 0);
    assert_string_equal(findings.verdict,
                        "Cannot tell what bounds the step: 3 steps were timed, and 5 are the least for that.");
    report_free(&report);

    report_init(&report);
    cell = report_add_cell(&report);
    cell_default(&cell->requested);
    cell->status = STATUS_RUNNING;
    cell->telemetry.other_processes = UNKNOWN_U32;
    findings_make(&findings, &report, cell, &arena);
    assert_string_equal(findings.verdict, "Cannot tell yet what bounds the step: no step was timed.");
    report_free(&report);
    arena_release(&arena);
}

/* Others take the processor in another phase of each step: the phases' medians are short, and nothing is outside of them. */
static void test_no_time_outside(void **state)
{
    (void)state;
    struct report report;
    struct report_cell *cell = document(&report, 20);
    attached(cell);
    kernel(cell, "aten::mm", CLASS_MATMUL, PHASE_FWD, 0.96, 20);
    reason(cell, IDLE_LAUNCH, 0.01);
    for (int p = 0; p < 4; p++) {
        struct report_phase *phase = &cell->passes[PASS_TRAIN_STEP].phases[p];
        phase->samples_ns = arena_array(&cell->arena, uint64_t, 20);
        phase->sample_count = 20;
        for (size_t i = 0; i < 20; i++)
            phase->samples_ns[i] = (uint64_t)(STEP * ((int)(i % 4) == p ? 0.55 : 0.15));
    }
    is_healthy(&report);
}

static void test_gain_in_words(void **state)
{
    (void)state;
    char text[64];
    gain_text(0.61, text, sizeof text);
    assert_string_equal(text, "at most 61 % of the step (2.6 ×)");
    gain_text(UNKNOWN_DOUBLE, text, sizeof text);
    assert_string_equal(text, "cannot tell how much");
    gain_text(1, text, sizeof text);
    assert_string_equal(text, "at most 100 % of the step");
}

/* Written, read and written again: the same, in YAML; and each format has the sentence on top. */
static void test_files(void **state)
{
    (void)state;
    struct report report, again;
    struct error error = {0};
    synthetic_report(&report, "tiny", false, 10, 1);
    report.cells.items[0]->machine.steal = 0.12;
    char *text = emitted(&report, FORMAT_YAML);
    assert_non_null(strstr(text, "    verdict: "));
    assert_non_null(strstr(text, "    findings:\n      - rule: "));
    assert_true(report_parse(text, strlen(text), "r.yaml", &again, &error));
    char *second = emitted(&again, FORMAT_YAML);
    assert_string_equal(text, second);
    free(text);
    free(second);
    text = emitted(&again, FORMAT_MARKDOWN);
    assert_int_equal(strncmp(text, "# steptop report\n\n**", 20), 0);
    assert_non_null(strstr(text, "## Findings"));
    free(text);
    text = emitted(&again, FORMAT_JSON);
    assert_non_null(strstr(text, "\"findings\": ["));
    free(text);
    struct strbuf plain = {0};
    findings_text(&again, &plain);
    assert_non_null(strstr(plain.text, "\n1. "));
    assert_non_null(strstr(plain.text, "wrong if: "));
    strbuf_release(&plain);
    report_free(&report);
    report_free(&again);
}

/* A cause that is merely possible does not lead before one that is likely, however much it would give. */
static void test_possible_is_behind(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct findings findings;
    struct report report;
    make_spread(&report, false);
    struct report_cell *cell = report.cells.items[0];
    attached(cell);
    kernel(cell, "aten::copy_", CLASS_COPY, PHASE_FWD, 0.085, 20);
    cell_derive(cell);
    findings_make(&findings, &report, cell, &arena);
    assert_int_equal(findings.count, 2);
    assert_string_equal(findings.items[0].rule, "layout");
    assert_string_equal(findings.items[1].rule, "spread");
    assert_true(findings.items[1].gain > findings.items[0].gain);
    report_free(&report);
    arena_release(&arena);
}

/* Where memory grows, that a run becomes slower follows from it, likely: that is behind what is known. */
static void test_what_grows_comes_first(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct findings findings;
    struct report report;
    make_drift(&report, false);
    struct report_cell *cell = report.cells.items[0];
    attached(cell);
    cell->program = (struct program_facts){.steps = 30, .wall_ns = (uint64_t)(STEP * 30)};
    for (int third = 0; third < 3; third++) {
        cell->program.resident[third] = (uint64_t)(100 + 200 * third) << 20;
        cell->program.device_bytes[third] = UNKNOWN_U64;
    }
    cell_derive(cell);
    findings_make(&findings, &report, cell, &arena);
    assert_int_equal(findings.count, 2);
    assert_string_equal(findings.items[0].rule, "creep");
    assert_false(is_known(findings.items[0].gain));
    assert_string_equal(findings.items[1].rule, "drift");
    assert_int_equal(findings.items[1].confidence, CONFIDENCE_POSSIBLE);
    report_free(&report);
    arena_release(&arena);
}

/* diff says which findings came and which went. */
static void test_diff(void **state)
{
    (void)state;
    struct report before, after;
    struct strbuf text = {0};
    make_attention(&before, false);
    make_layout(&after, false);
    cell_derive(before.cells.items[0]);
    cell_derive(after.cells.items[0]);
    const struct diff_cell cell = {.a = before.cells.items[0], .b = after.cells.items[0]};
    diff_findings(&cell, false, &text);
    assert_non_null(
        strstr(text.text, "  finding gone: attention, at most 50 % of the step (2.0 ×): Attention is not one kernel"));
    assert_non_null(strstr(text.text, "  finding new: layout, at most 30 % of the step (1.43 ×): Copies of layout"));
    strbuf_release(&text);
    report_free(&before);
    report_free(&after);
}

/* Of an attached program with six things to find, or with one more, its first step, that promises most. */
static void make_six(struct report *report, bool seven)
{
    struct report_cell *cell = document(report, 40);
    attached(cell);
    kernel(cell, "aten::mm", CLASS_MATMUL, PHASE_FWD, 0.30, 20);
    kernel(cell, "aten::nll_loss", CLASS_LOSS, PHASE_LOSS, 0.17, 1);
    kernel(cell, "aten::mul_", CLASS_ELEMENTWISE, PHASE_OPT, 0.14, 60);
    copy_of(cell, COPY_TO_DEVICE, false, 0.12, 2);
    kernel(cell, "aten::softmax", CLASS_SOFTMAX, PHASE_FWD, 0.10, 8);
    kernel(cell, "aten::copy_", CLASS_COPY, PHASE_FWD, 0.09, 20);
    cell->passes[PASS_TRAIN_STEP].phases[PHASE_COUNT].samples_ns[7] = (uint64_t)(STEP * 21);
    if (seven)
        cell->passes[PASS_TRAIN_STEP].phases[PHASE_COUNT].samples_ns[0] = (uint64_t)(STEP * 61);
    cell_derive(cell);
}

/* Five are shown. The others were found all the same: --fail-on asks for them, and what is no longer among five is not gone. */
static void test_more_than_are_shown(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct report before, after;
    struct findings findings;
    struct strbuf text = {0};
    make_six(&before, false);
    make_six(&after, true);
    findings_make(&findings, &before, before.cells.items[0], &arena);
    assert_int_equal(findings.count, FINDINGS_MOST);
    assert_int_equal(findings.all, 6);
    assert_string_equal(findings.items[5].rule, "layout");
    const struct diff_cell cell = {.a = before.cells.items[0], .b = after.cells.items[0]};
    diff_findings(&cell, false, &text);
    assert_int_equal(strncmp(text.text, "  finding new: warmup, ", 23), 0);
    assert_ptr_equal(strchr(text.text, '\n') + 1, text.text + text.length);
    strbuf_release(&text);
    arena_release(&arena);
    report_free(&before);
    report_free(&after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_rule_and_its_cure),
        cmocka_unit_test(test_shape),
        cmocka_unit_test(test_batch_of_a_card),
        cmocka_unit_test(test_too_many_threads),
        cmocka_unit_test(test_affinity_alone),
        cmocka_unit_test(test_standing_still_is_no_launching),
        cmocka_unit_test(test_waiting_for_a_rank_is_no_launching),
        cmocka_unit_test(test_causes_of_a_loader),
        cmocka_unit_test(test_what_follows_from_a_cause),
        cmocka_unit_test(test_spread_has_a_cause),
        cmocka_unit_test(test_no_roof_beside_others),
        cmocka_unit_test(test_other_causes),
        cmocka_unit_test(test_one_of_the_stalls_compiled),
        cmocka_unit_test(test_one_sentence_for_many_cells),
        cmocka_unit_test(test_no_rank_is_late_beside_nothing),
        cmocka_unit_test(test_noise_and_few_steps),
        cmocka_unit_test(test_no_time_outside),
        cmocka_unit_test(test_gain_in_words),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_diff),
        cmocka_unit_test(test_what_grows_comes_first),
        cmocka_unit_test(test_possible_is_behind),
        cmocka_unit_test(test_more_than_are_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
