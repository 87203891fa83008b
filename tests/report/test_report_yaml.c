/* The report file: written, read, written again to the same bytes; and everything a file can be that is not a report. */
#include "base/unknown.h"
#include "emitted.h"
#include "report/build.h"
#include "synthetic.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void parse(const char *text, struct report *report)
{
    struct error error = {0};
    if (!report_parse(text, strlen(text), "test.yaml", report, &error))
        fail_msg("%s", error.text);
}

static void refused(const char *text, const char *message)
{
    struct report report;
    struct error error = {0};
    if (report_parse(text, strlen(text), "test.yaml", &report, &error))
        fail_msg("accepted: %s", text);
    if (!strstr(error.text, message))
        fail_msg("'%s' is not in: %s", message, error.text);
    assert_int_equal(error.kind, ERROR_INPUT);
}

static void test_round_trip(void **state)
{
    (void)state;
    for (int compile = 0; compile < 2; compile++) {
        struct report report, read;
        synthetic_report(&report, "tiny", compile != 0, 7, 1);
        char *first = emit(&report);
        parse(first, &read);
        char *second = emit(&read);
        assert_string_equal(first, second);
        const struct report_cell *a = report.cells.items[0], *b = read.cells.items[0];
        assert_int_equal(a->kernel_count, b->kernel_count);
        assert_int_equal(a->entry_count, b->entry_count);
        assert_int_equal(a->layer_count, b->layer_count);
        assert_int_equal(a->launch_count, b->launch_count);
        assert_true(a->launch_count > 100);
        assert_int_equal(a->memory.curve_count, b->memory.curve_count);
        assert_memory_equal(a->memory.curve, b->memory.curve,
                            (size_t)a->memory.curve_count * TENSOR_KIND_COUNT * sizeof(uint64_t));
        for (size_t k = 0; k < a->kernel_count; k++) {
            assert_int_equal(a->kernels[k].total_ns, b->kernels[k].total_ns);
            assert_int_equal(a->kernels[k].layers, b->kernels[k].layers);
            /* What a report says of a run is what it says of its file. */
            assert_true(a->kernels[k].median_ns == b->kernels[k].median_ns &&
                        a->kernels[k].p95_ns == b->kernels[k].p95_ns);
            assert_true(a->kernels[k].sd_ns == b->kernels[k].sd_ns || !is_known(a->kernels[k].sd_ns));
            assert_int_equal(a->kernels[k].histogram.word_count, b->kernels[k].histogram.word_count);
            assert_memory_equal(a->kernels[k].histogram.words, b->kernels[k].histogram.words,
                                a->kernels[k].histogram.word_count * sizeof(uint32_t));
        }
        for (size_t l = 0; l < a->layer_count; l++) {
            const struct report_layer_phase *const *x = a->layers[l].phase[PASS_FWD_BWD], *const *y =
                                                                                              b->layers[l]
                                                                                                  .phase[PASS_FWD_BWD];
            for (int phase = 0; phase < PHASE_COUNT; phase++)
                assert_true(x[phase]->inclusive_ns == y[phase]->inclusive_ns && x[phase]->calls == y[phase]->calls);
            assert_int_equal(a->layers[l].saved_bytes, b->layers[l].saved_bytes);
            assert_string_equal(a->layers[l].path, b->layers[l].path);
            assert_string_equal(a->layers[l].name, b->layers[l].name);
        }
        free(first);
        free(second);
        report_free(&report);
        report_free(&read);
    }
}

/* The layers' times plus what belongs to none equal the kernels' time, and busy + idle is the wall. */
static void test_sums(void **state)
{
    (void)state;
    struct report report;
    synthetic_report(&report, "tiny", false, 5, 1);
    const struct report_cell *cell = report.cells.items[0];
    for (int p = 0; p < PASS_COUNT; p++) {
        const struct report_pass *pass = &cell->passes[p];
        if (!pass->present)
            continue;
        double layers = 0, kernels = 0, exclusive = 0;
        for (int phase = 0; phase < PHASE_COUNT; phase++)
            layers += cell->layers[0].phase[p][phase]->inclusive_ns;
        for (size_t l = 0; l < cell->layer_count; l++)
            for (int phase = 0; phase < PHASE_COUNT; phase++)
                exclusive += cell->layers[l].phase[p][phase]->exclusive_ns;
        for (size_t k = 0; k < cell->kernel_count; k++)
            if (cell->kernels[k].pass == p)
                kernels += (double)cell->kernels[k].total_ns / (double)pass->profiled_steps;
        assert_float_equal(layers / kernels, 1, 1e-9);
        assert_float_equal(exclusive / kernels, 1, 1e-9);
        assert_float_equal(pass->attributed_ns / kernels, 1, 1e-9);
        assert_float_equal(pass->kernel_ns / kernels, 1, 1e-9);
        assert_float_equal((pass->busy_ns + pass->idle_ns) / pass->wall_ns, 1, 1e-9);
        assert_true(pass->idle_ns > 0);
    }
    report_free(&report);
}

/* While nothing was counted the rows show the warm-up, and say so; counted steps take their place. */
static void test_warmup_rows(void **state)
{
    (void)state;
    struct run *warm = synthetic_warmup("tiny"), *counted = synthetic_run("tiny", false, 2, 1);
    struct report report, read;
    assert_non_null(warm);
    assert_non_null(counted);
    report_init(&report);
    struct report_cell *cell = report_add_cell(&report);
    cell_build(cell, warm);
    assert_true(cell->passes[PASS_FWD].warmup_rows);
    assert_int_equal(cell->passes[PASS_FWD].profiled_steps, 1);
    assert_true(cell->kernel_count > 10);
    for (size_t k = 0; k < cell->kernel_count; k++) {
        assert_true(cell->kernels[k].calls > 0 && cell->kernels[k].total_ns > 0);
        assert_true(is_known(cell->kernels[k].median_ns) && cell->kernels[k].flops >= 0);
    }
    assert_true(cell->layers[0].phase[PASS_FWD][PHASE_FWD]->inclusive_ns > 0);
    char *first = emit(&report);
    parse(first, &read);
    char *second = emit(&read);
    assert_string_equal(first, second);
    assert_true(read.cells.items[0]->passes[PASS_FWD].warmup_rows);
    counted->version = 2;
    cell_build(cell, counted);
    assert_false(cell->passes[PASS_FWD].warmup_rows);
    assert_int_equal(cell->passes[PASS_FWD].profiled_steps, 2);
    free(first);
    free(second);
    report_free(&report);
    report_free(&read);
    synthetic_free(warm);
    synthetic_free(counted);
}

#define HEAD "schema: steptop/report/1\n"
#define ASKED "requested: {device: cpu, model: {name: S}, batch_size: 4, context_length: 256}"
#define CELL "cells:\n  - status: ok\n    " ASKED "\n"

static void test_refusals(void **state)
{
    (void)state;
    refused("", "must begin with 'schema");
    refused("- a\n", "must begin with 'schema");
    refused("a: b\n", "test.yaml:1:1: error: this is no steptop report");
    refused("schema: steptop/report/2\nwhatever: 1\n", "newer steptop (schema 2)");
    refused("schema: steptop/profile/1\n", "its schema is 'steptop/profile/1'");
    refused(HEAD "cells: []\n", "the file ends early");
    refused(HEAD "cells: []\ncomplete: tru\n", "cut off");
    refused(HEAD "complete: true\n", "lacks the key 'cells'");
    refused(HEAD "cells: []\ncells: []\ncomplete: true\n",
            "test.yaml:3:1: error: 'cells' is there twice, first on line 2");
    refused(HEAD "cels: []\n", "did you mean 'cells'?");
    refused(HEAD "cells: []\ncomplete: true\n---\na: b\n", "one document");
    refused(HEAD "cells: &a []\ncomplete: true\n", "anchors are not read");
    refused(HEAD "cells: !x []\ncomplete: true\n", "tags are not read");
    refused(HEAD "created: *x\n", "aliases are not read");
    refused(HEAD "cells:\n  - status: okay\n", "'okay' is not one of its names");
    refused(HEAD "cells:\n  - status: ok\ncomplete: true\n", "a cell has neither a map 'requested' nor 'attached'");
    refused(HEAD CELL "    memory: 3\n", "memory must be a map");
    refused(HEAD CELL "    records: -1\n", "'-1' is not a whole number that fits");
    refused(HEAD CELL "    records: \"1\"\n", "must be a whole number, not a string");
    refused(HEAD CELL "    kernels: |\n      id pass phase calls total_ns name\n      0 fwd fwd 1 x sgemm\n",
            "test.yaml:7:19: error: kernels: total_ns: 'x' is not a whole number");
    refused(HEAD CELL "    kernels: |\n      pass phase calls name\ncomplete: true\n", "lacks the column 'total_ns'");
    refused(HEAD CELL "    kernels: |\n      pass phase call total_ns name\n", "did you mean 'calls'?");
    refused(HEAD CELL "    kernels: |\n      name pass\n", "must be the last column");
    refused(HEAD CELL "    kernels: |\n      pass phase calls total_ns name\n      fwd fwd 1 2 k\ncomplete: true\n",
            "its pass is not one of the cell's passes");
    refused(HEAD CELL "    layers: |\n      parent path\n      0 model\ncomplete: true\n", "after its parent");
    refused(HEAD CELL "    kernel_layers: |\n      kernel layer calls total_ns\n      9 0 1 1\ncomplete: true\n",
            "there is no such kernel");
#define TWO_PASSES                                                                                                     \
    "    passes: {fwd: {profiled_steps: 1}, train_step: {profiled_steps: 1}}\n"                                        \
    "    kernels: |\n      pass phase calls total_ns name\n      fwd fwd 1 1 a\n      train_step fwd 1 1 b\n"
    refused(HEAD CELL TWO_PASSES
            "    kernel_layers: |\n      kernel layer calls total_ns\n      2 - 1 1\ncomplete: true\n",
            "kernel_layers, row 0: there is no such kernel"); /* the one behind the last */
    refused(HEAD CELL TWO_PASSES
            "    timeline: |\n      start_ns duration_ns pass kernel\n      1 1 fwd 2\ncomplete: true\n",
            "timeline, row 0: there is no such kernel");
    refused(HEAD CELL TWO_PASSES "    timeline: |\n      start_ns duration_ns pass kernel\n      1 1 train_step 1\n    "
                                 "  1 1 fwd 0\ncomplete: true\n",
            "timeline, row 1: passes must be in order");
    refused(HEAD CELL "    records: 18446744073709551616\n", "is not a whole number that fits");
    refused(HEAD CELL "    kernels: |\n      pass phase calls total_ns name\n      fwd fwd 99999999999999999999 1 k\n",
            "'99999999999999999999' is not a whole number that fits");
    refused(HEAD CELL "    kernels: |\n      pass phase calls total_ns flops name\n      fwd fwd 1 1 1e999 k\n",
            "'1e999' is not a number");
    refused(HEAD CELL "    memory_curve: |\n      node phase kind live_bytes\n      0 fwd saved 1\ncomplete: true\n",
            "phase_nodes must have 4 values");
    refused(HEAD CELL "    phase_nodes: [1000000, 0, 0, 0]\ncomplete: true\n", "far more nodes");
    refused(HEAD "cells:\n  - status: ok\n    requested: {device: 0123456789012345678901234567890123456789}\n",
            "device is longer than 31 bytes");
    refused(HEAD "created: \"a\xff\"\n", "UTF-8");
    refused("{\"schema\": \"steptop/report/1\", \"cells\": [{\"status\": \"ok\", \"layers\": [{\"id\": 0}]}]}",
            "layers is a list, as in the JSON");
    refused(HEAD "created: a\tb: {[\n", "test.yaml:2:");
}

static void test_nul_and_limits(void **state)
{
    (void)state;
    static const char nul[] = HEAD "created: a\0b\n";
    struct report report;
    struct error error = {0};
    assert_false(report_parse(nul, sizeof nul - 1, "nul.yaml", &report, &error));
    assert_non_null(strstr(error.text, "control characters"));
    static const char in_table[] =
        HEAD CELL "    kernels: |\n      pass phase calls total_ns name\n      fwd\0 fwd 1 1 k\n";
    assert_false(report_parse(in_table, sizeof in_table - 1, "nul.yaml", &report, &error));
    assert_non_null(strstr(error.text, "is not one of its names"));
    struct strbuf text = {0};
    strbuf_puts(&text, HEAD "cells:\n");
    for (int i = 0; i < 1000000; i++)
        strbuf_puts(&text, "- {status: ok, " ASKED "}\n");
    assert_false(report_parse(text.text, text.length, "many.yaml", &report, &error));
    assert_non_null(strstr(error.text, "more than 20000 cells"));
    strbuf_clear(&text);
    strbuf_puts(&text, HEAD "created: ");
    for (int i = 0; i < 100000; i++)
        strbuf_puts(&text, "[{a: ");
    assert_false(report_parse(text.text, text.length, "deep.yaml", &report, &error));
    assert_non_null(strstr(error.text, "created must be a string"));
    /* Kilobytes of counts that stand for gigabytes in memory. */
    strbuf_clear(&text);
    strbuf_puts(&text, HEAD CELL "    passes: {fwd: {profiled_steps: 1}}\n    kernels: |\n"
                                 "      pass phase calls total_ns name\n");
    for (int k = 0; k < 20; k++)
        strbuf_printf(&text, "      fwd fwd 1 1 k%d\n", k);
    strbuf_puts(&text, "    histograms: |\n      kernel bins\n");
    for (int k = 0; k < 20; k++) {
        strbuf_printf(&text, "      %d", k);
        for (int bin = 0; bin < 250; bin++)
            strbuf_printf(&text, " %d:4294967295", bin);
        strbuf_puts(&text, "\n");
    }
    strbuf_puts(&text, "complete: true\n");
    assert_false(report_parse(text.text, text.length, "counts.yaml", &report, &error));
    assert_int_equal(error.kind, ERROR_INPUT);
    assert_non_null(strstr(error.text, "more launches than can be"));
    strbuf_release(&text);
}

/* Cut at any byte: never a shorter report that looks whole. */
static void test_truncation(void **state)
{
    (void)state;
    struct report report, read;
    synthetic_report(&report, "tiny", true, 2, 1);
    report.cells.items[0]->launch_count = 40; /* fewer of what is all alike, so that every byte's turn comes */
    char *text = emit(&report);
    const size_t length = strlen(text);
    const size_t stride = length / 4000 + 1;
    for (size_t cut = 0; cut + 1 < length; cut += cut + 300 > length || cut < 3000 ? 1 : stride) {
        struct error error = {0};
        if (report_parse(text, cut, "cut.yaml", &read, &error))
            fail_msg("a report cut at byte %zu of %zu was read", cut, length);
        assert_int_equal(error.kind, ERROR_INPUT);
        assert_true(error.text[0] != 0);
    }
    free(text);
    report_free(&report);
}

/* A statistic may stand without its samples: a table typed in by hand. */
static void test_by_hand(void **state)
{
    (void)state;
    struct report report;
    parse(HEAD "cells:\n"
               "  - status: ok\n    " ASKED "\n"
               "    passes:\n"
               "      fwd: {phases: {total: {n: 10, mean_ns: 2e9, sd_ns: 1000000}}}\n"
               "      fwd_bwd: {phases: {total: {n: 10, mean_ns: 5e9, sd_ns: 0}}}\n"
               "complete: true\n",
          &report);
    struct strbuf out = {0};
    report_seed_table(&report, &out);
    assert_non_null(strstr(out.text, "|  0 | cpu      |            4 | False     | S       |              256 |"
                                     "               2 |           0.001 |                3 |            0.001 |"));
    strbuf_release(&out);
    report_free(&report);
}

/* What a layer keeps and holds is not known where the file does not say: an absent column, or a dash. */
static void bytes_of_layers_are_not_guessed(void **state)
{
    (void)state;
    static const char *const tables[] = {"id parent path\n      0 - model\n",
                                         "id parent saved_bytes parameter_bytes path\n      0 - - - model\n"};
    for (size_t i = 0; i < 2; i++) {
        struct report report;
        struct error error = {0};
        struct strbuf text = {0};
        char file[600];
        snprintf(file, sizeof file,
                 "schema: steptop/report/1\ncells:\n  - id: 1\n    status: ok\n    requested:\n      device: cpu\n     "
                 " model: {name: "
                 "one, kind: lm, d_model: 8, d_ff: 8, num_layers: 1, num_heads: 1, vocab_size: 9}\n      batch_size: "
                 "1\n      "
                 "context_length: 8\n      passes: [fwd]\n    layers: |\n      %scomplete: true\n",
                 tables[i]);
        if (!report_parse(file, strlen(file), "test.yaml", &report, &error))
            fail_msg("%s", error.text);
        assert_int_equal(report.cells.items[0]->layer_count, 1);
        assert_false(is_known_u64(report.cells.items[0]->layers[0].saved_bytes));
        assert_false(is_known_u64(report.cells.items[0]->layers[0].parameter_bytes));
        report_emit(&report, FORMAT_YAML, &text);
        assert_null(strstr(text.text, "18446744"));
        assert_null(strstr(text.text, " 0 0 model"));
        strbuf_release(&text);
        report_free(&report);
    }
}

/* Which way a copy goes is a field; a file from before it was a column has the names that steptop gave them then. */
static void copies_have_a_direction(void **state)
{
    (void)state;
    static const char *const tables[] = {"id pass phase calls total_ns name\n"
                                         "      0 fwd none 1 10 memcpy host to device, pageable\n"
                                         "      1 fwd none 1 10 memcpy device to host\n"
                                         "      2 fwd none 1 10 host to device and back\n",
                                         "id pass phase copy pageable calls total_ns name\n"
                                         "      0 fwd none to_device true 1 10 HtoD\n"
                                         "      1 fwd none to_host false 1 10 memset\n"
                                         "      2 fwd none none false 1 10 memcpy host to device, pageable\n"};
    for (size_t i = 0; i < 2; i++) {
        struct report report, again;
        char file[900];
        snprintf(file, sizeof file,
                 "schema: steptop/report/1\ncells:\n  - id: 1\n    status: ok\n    requested:\n      device: cpu\n"
                 "      model: {name: one, kind: lm, d_model: 8, d_ff: 8, num_layers: 1, num_heads: 1, vocab_size: 9}\n"
                 "      batch_size: 1\n      context_length: 8\n      passes: [fwd]\n"
                 "    passes:\n      fwd:\n        profiled_steps: 1\n    kernels: |\n      %scomplete: true\n",
                 tables[i]);
        parse(file, &report);
        char *text = emit(&report);
        parse(text, &again);
        for (int read = 0; read < 2; read++) {
            const struct report_kernel *kernels = (read ? &again : &report)->cells.items[0]->kernels;
            assert_true(kernels[0].copy == COPY_TO_DEVICE && kernels[0].pageable);
            assert_true(kernels[1].copy == COPY_TO_HOST && !kernels[1].pageable);
            assert_true(kernels[2].copy == COPY_NONE && !kernels[2].pageable);
        }
        free(text);
        report_free(&report);
        report_free(&again);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_have_a_direction),
        cmocka_unit_test(bytes_of_layers_are_not_guessed),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_sums),
        cmocka_unit_test(test_warmup_rows),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_nul_and_limits),
        cmocka_unit_test(test_truncation),
        cmocka_unit_test(test_by_hand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
