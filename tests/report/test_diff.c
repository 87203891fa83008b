/* diff: what matches, what is slower, and what the program says and returns about it. */
#include "base/file.h"
#include "report/diff.h"
#include "report/emit.h"
#include "synthetic.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static size_t count_verdicts(const struct diff_row *rows, size_t count, enum verdict verdict)
{
    size_t found = 0;
    for (size_t r = 0; r < count; r++)
        found += rows[r].verdict == verdict;
    return found;
}

static void compare(double slow, struct report *a, struct report *b, struct diff *diff)
{
    synthetic_report(a, "tiny", false, 20, 1);
    synthetic_report(b, "tiny", false, 20, slow);
    diff_make(diff, a, b, 0.02);
}

static void release(struct report *a, struct report *b, struct diff *diff)
{
    diff_free(diff);
    report_free(a);
    report_free(b);
}

static void test_slower_faster_same(void **state)
{
    (void)state;
    static const struct {
        double slow;
        enum verdict verdict;
    } cases[] = {{1.1, VERDICT_SLOWER}, {0.9, VERDICT_FASTER}, {1, VERDICT_SAME}};
    for (size_t i = 0; i < 3; i++) {
        struct report a, b;
        struct diff diff;
        compare(cases[i].slow, &a, &b, &diff);
        const struct diff_cell *cell = &diff.cells[0];
        assert_int_equal(diff.cell_count, 1);
        assert_int_equal(diff.matched, 1);
        assert_int_equal(diff.verdicts[cases[i].verdict], 2);
        assert_int_equal(diff.regression, cases[i].verdict == VERDICT_SLOWER);
        assert_int_equal(cell->step_count, 6);
        assert_int_equal(count_verdicts(cell->steps, cell->step_count, cases[i].verdict), 6);
        assert_true(cell->kernel_count > 10);
        assert_true(cell->layer_count > 50);
        assert_true(count_verdicts(cell->kernels, cell->kernel_count, cases[i].verdict) > cell->kernel_count * 9 / 10);
        assert_true(count_verdicts(cell->layers, cell->layer_count, cases[i].verdict) > cell->layer_count * 8 / 10);
        for (size_t r = 0; r < cell->step_count; r++) {
            const struct diff_row *row = &cell->steps[r];
            assert_true(row->ratio.low <= row->ratio.median && row->ratio.median <= row->ratio.high);
            assert_true(fabs(row->ratio.median - cases[i].slow) < 0.02);
        }
        release(&a, &b, &diff);
    }
}

/* One kernel twice as slow shows up among the kernels and in its layer, whatever the step as a whole does. */
static void test_one_kernel(void **state)
{
    (void)state;
    struct report a, b;
    struct diff diff;
    synthetic_report(&a, "tiny", false, 20, 1);
    synthetic_report(&b, "tiny", false, 20, 1);
    struct report_cell *cell = b.cells.items[0];
    size_t victim = 0;
    while (strcmp(cell->kernels[victim].name, "synthetic_causal_softmax") != 0 ||
           cell->kernels[victim].pass != PASS_FWD_BWD)
        victim++;
    cell->kernels[victim].total_ns *= 2;
    diff_make(&diff, &a, &b, 0.02);
    assert_false(diff.regression);
    assert_int_equal(count_verdicts(diff.cells[0].kernels, diff.cells[0].kernel_count, VERDICT_SLOWER), 1);
    struct strbuf out = {0};
    diff_markdown(&diff, "a.yaml", "b.yaml", &out);
    assert_non_null(strstr(out.text, "synthetic_causal_softmax"));
    assert_non_null(strstr(out.text, "**No regression.** 1 cell in both"));
    strbuf_release(&out);
    release(&a, &b, &diff);
}

/* Within one report: eager against compiled, and contexts by the thousand tokens. */
static void test_across(void **state)
{
    (void)state;
    struct report report, other;
    struct diff diff;
    synthetic_report(&report, "tiny", false, 20, 1);
    synthetic_report(&other, "tiny", false, 20, 1.5);
    report_join(&report, &other, "other.yaml");
    struct cell *first = &report.cells.items[0]->requested, *second = &report.cells.items[1]->requested;
    assert_int_not_equal(report.cells.items[0]->run_id, report.cells.items[1]->run_id);
    second->compile = true;
    second->steps = 7; /* how long it was measured does not keep them apart */
    diff_across(&diff, &report, axis_of(AXIS_COMPILE), 0.02);
    assert_int_equal(diff.matched, 1);
    assert_ptr_equal(diff.cells[0].a, report.cells.items[0]);
    assert_ptr_equal(diff.cells[0].b, report.cells.items[1]);
    assert_true(fabs(diff.cells[0].steps[0].ratio.median - 1.5) < 0.02);
    assert_int_equal(diff.cells[0].steps[0].verdict, VERDICT_SLOWER);
    assert_false(diff.regression);
    const double eager = diff.cells[0].steps[0].a_ns, compiled = diff.cells[0].steps[0].b_ns;
    double widths[64] = {0};
    for (size_t r = 0; r < diff.cells[0].layer_count && r < 64; r++)
        widths[r] = diff.cells[0].layers[r].ratio.high / diff.cells[0].layers[r].ratio.median;
    assert_true(diff.cells[0].layer_count > 3 && is_known(widths[0]) && widths[0] > 1);
    struct strbuf out = {0};
    diff_text(&diff, "r.yaml", "", &out);
    assert_non_null(strstr(out.text, "r.yaml across compile\n1 cell compared"));
    assert_non_null(strstr(out.text, ": eager → compiled\n"));
    assert_null(strstr(out.text, "egression"));
    diff_free(&diff);
    /* The base is eager wherever it stands. */
    first->compile = true;
    second->compile = false;
    diff_across(&diff, &report, axis_of(AXIS_COMPILE), 0.02);
    assert_ptr_equal(diff.cells[0].a, report.cells.items[1]);
    diff_free(&diff);
    first->compile = false;
    /* Four times the context in 1.5 times the time. */
    second->context_length = 4 * first->context_length;
    diff_across(&diff, &report, axis_of(AXIS_CONTEXT_LENGTH), 0.02);
    assert_int_equal(diff.matched, 1);
    const double thousand = 1000.0 / (double)(first->batch_size * first->context_length);
    assert_true(fabs(diff.cells[0].steps[0].a_ns / (eager * thousand) - 1) < 1e-9);
    assert_true(fabs(diff.cells[0].steps[0].b_ns / (compiled * thousand / 4) - 1) < 1e-9);
    assert_true(fabs(diff.cells[0].steps[0].ratio.median - 1.5 / 4) < 0.01);
    assert_true(diff.cells[0].steps[0].ratio.low <= diff.cells[0].steps[0].ratio.median);
    assert_int_equal(diff.cells[0].steps[0].verdict, VERDICT_FASTER);
    for (size_t r = 0; r < diff.cells[0].layer_count; r++)
        assert_true(fabs(diff.cells[0].layers[r].ratio.median - 1.5 / 4) < 0.05);
    for (size_t r = 0; r < diff.cells[0].layer_count && r < 64; r++) /* how sure one is does not hang on the unit */
        assert_true(fabs(diff.cells[0].layers[r].ratio.high / diff.cells[0].layers[r].ratio.median / widths[r] - 1) <
                    1e-9);
    strbuf_clear(&out);
    diff_markdown(&diff, "r.yaml", "", &out);
    assert_non_null(strstr(out.text, "## steptop diff: r.yaml across context\\_length\n") ||
                    strstr(out.text, "## steptop diff: r.yaml across context_length\n"));
    assert_non_null(strstr(out.text, "in ms a thousand tokens"));
    diff_free(&diff);
    diff_across(&diff, &report, axis_of(AXIS_DTYPE), 0.02);
    assert_int_equal(diff.matched, 0);
    diff_free(&diff);
    strbuf_release(&out);
    report_free(&report);
    report_free(&other);
}

/* Every axis has a word, a value and a level that makes two of its values one. */
static void test_axes(void **state)
{
    (void)state;
    struct error error = {0};
    for (int i = 0; i < AXIS_COUNT; i++) {
        char text[96];
        struct cell cell;
        cell_default(&cell);
        assert_ptr_equal(axis_find(axis_of((enum axis_id)i)->key, NULL), axis_of((enum axis_id)i));
        axis_of((enum axis_id)i)->print(&cell, text, sizeof text);
        assert_true(text[0]);
        axis_of((enum axis_id)i)->level(&cell);
    }
    assert_ptr_equal(axis_find("context", NULL), axis_of(AXIS_CONTEXT_LENGTH));
    assert_ptr_equal(axis_find("batch-size", NULL), axis_of(AXIS_BATCH_SIZE));
    assert_null(axis_find("colour", &error));
    assert_non_null(strstr(error.text, "'colour'"));
}

static void test_unmatched_and_status(void **state)
{
    (void)state;
    struct report a, b;
    struct diff diff;
    synthetic_report(&a, "tiny", false, 3, 1);
    synthetic_report(&b, "tiny", false, 3, 1);
    b.cells.items[0]->requested.context_length = 128;
    diff_make(&diff, &a, &b, 0.02);
    assert_int_equal(diff.matched, 0);
    assert_int_equal(diff.cell_count, 2);
    diff_free(&diff);
    b.cells.items[0]->requested = a.cells.items[0]->requested;
    b.cells.items[0]->requested.steps = 99; /* how often it was measured does not make it another cell */
    b.cells.items[0]->status = STATUS_OOM;
    diff_make(&diff, &a, &b, 0.02);
    assert_int_equal(diff.matched, 1);
    assert_true(diff.regression);
    struct strbuf out = {0};
    diff_text(&diff, "a", "b", &out);
    assert_non_null(strstr(out.text, "was ok, is oom"));
    diff_free(&diff);
    a.cells.items[0]->status = STATUS_UNRELIABLE;
    diff_make(&diff, &a, &b, 0.02);
    strbuf_clear(&out);
    diff_text(&diff, "a", "b", &out);
    assert_non_null(strstr(out.text, "was unreliable, is oom"));
    strbuf_clear(&out);
    diff_markdown(&diff, "a", "b", &out);
    assert_non_null(strstr(out.text, "was unreliable and is oom"));
    strbuf_release(&out);
    release(&a, &b, &diff);
}

/* Few profiled steps: kernels and layers have no interval and no verdict; from five on Student's, wider than the normal's. */
static void test_few_steps(void **state)
{
    (void)state;
    struct report a, b;
    struct diff diff;
    for (uint32_t steps = 4; steps <= 5; steps++) {
        synthetic_report(&a, "tiny", false, steps, 1);
        synthetic_report(&b, "tiny", false, 20, 1.3);
        diff_make(&diff, &a, &b, 0.02);
        const struct diff_cell *cell = &diff.cells[0];
        struct strbuf out = {0};
        diff_text(&diff, "a", "b", &out);
        assert_int_equal(cell->row_steps, steps);
        assert_true(cell->kernel_count > 10 && cell->layer_count > 50);
        const size_t changed = count_verdicts(cell->kernels, cell->kernel_count, VERDICT_SLOWER) +
                               count_verdicts(cell->layers, cell->layer_count, VERDICT_SLOWER);
        const bool said = strstr(out.text, "fewer than 5 profiled steps have no interval") != NULL;
        if (steps < 5)
            assert_true(changed == 0 && said && !is_known(cell->kernels[0].ratio.low));
        else
            assert_true(changed > 20 && !said);
        strbuf_release(&out);
        release(&a, &b, &diff);
    }
}

/* One kernel in one layer, five steps of 100 and 100 ns with a deviation of 2 ns a launch: 2.776 standard errors. */
static void test_students_interval(void **state)
{
    (void)state;
    struct report reports[2];
    struct diff diff;
    for (int i = 0; i < 2; i++) {
        report_init(&reports[i]);
        struct report_cell *cell = report_add_cell(&reports[i]);
        cell_default(&cell->requested);
        cell->reason = "";
        cell->passes[PASS_FWD] = (struct report_pass){.present = true, .profiled_steps = 5};
        cell->kernels = arena_array(&cell->arena, struct report_kernel, 1);
        cell->kernels[0] = (struct report_kernel){.name = "k", .op = "", .calls = 5, .total_ns = 500};
        cell->entries = arena_array(&cell->arena, struct report_entry, 1);
        cell->entries[0] = (struct report_entry){.scope = -1, .calls = 5, .total_ns = 500, .sd_ns = 2};
        cell->kernel_count = cell->entry_count = 1;
    }
    diff_make(&diff, &reports[0], &reports[1], 0.02);
    const struct ratio *ratio = &diff.cells[0].kernels[0].ratio;
    /* Relative error of each mean: 2 / √5 / 100; of the ratio √2 times that. */
    const double half = 2.776 * sqrt(2) * 2 / sqrt(5) / 100;
    assert_true(ratio->median == 1);
    assert_true(fabs(log(ratio->high) - half) < 0.005 * half && fabs(log(ratio->low) + half) < 0.005 * half);
    release(&reports[0], &reports[1], &diff);
}

/* A kernel that only one report has is said to be new or gone, with its time. */
static void test_new_and_gone(void **state)
{
    (void)state;
    struct report a, b;
    struct diff diff;
    synthetic_report(&a, "tiny", false, 3, 1);
    synthetic_report(&b, "tiny", false, 3, 1);
    struct report_cell *cell = b.cells.items[0];
    size_t victim = 0;
    while (strcmp(cell->kernels[victim].name, "synthetic_causal_softmax") != 0 ||
           cell->kernels[victim].pass != PASS_FWD_BWD)
        victim++;
    cell->kernels[victim].name = "better_softmax";
    diff_make(&diff, &a, &b, 0.02);
    const struct diff_row *came = NULL, *went = NULL;
    for (size_t k = 0; k < diff.cells[0].kernel_count; k++) {
        const struct diff_row *row = &diff.cells[0].kernels[k];
        came = strcmp(row->name, "better_softmax") == 0 ? row : came;
        went = strcmp(row->name, "synthetic_causal_softmax") == 0 && !is_known(row->b_ns) ? row : went;
    }
    assert_non_null(came);
    assert_non_null(went);
    assert_false(is_known(came->a_ns));
    assert_true(came->b_ns == went->a_ns && came->b_ns > 0);
    assert_false(diff.regression);
    struct strbuf out = {0};
    diff_markdown(&diff, "a", "b", &out);
    assert_non_null(strstr(out.text, "| better_softmax "));
    assert_non_null(strstr(out.text, "| new "));
    assert_non_null(strstr(out.text, "| gone "));
    strbuf_clear(&out);
    diff_text(&diff, "a", "b", &out);
    assert_non_null(strstr(out.text, "new       fwd better_softmax"));
    assert_non_null(strstr(out.text, "gone      fwd synthetic_causal_softmax"));
    strbuf_release(&out);
    release(&a, &b, &diff);
}

static void add_cell_of(struct report *report, double slow, uint32_t warmup)
{
    struct report other;
    synthetic_report(&other, "tiny", false, 20, slow);
    other.cells.items[0]->requested.warmup = warmup;
    vec_push(&report->cells, other.cells.items[0]);
    other.cells.count = 0;
    report_free(&other);
}

/* Two sweeps over the warm-up in opposite order: each finds its own; and a cell that became unreliable is no regression. */
static void test_warmups_match(void **state)
{
    (void)state;
    struct report a, b;
    struct diff diff;
    report_init(&a);
    report_init(&b);
    add_cell_of(&a, 1, 0), add_cell_of(&a, 2, 5);
    add_cell_of(&b, 2, 5), add_cell_of(&b, 1, 0);
    b.cells.items[0]->status = STATUS_UNRELIABLE;
    diff_make(&diff, &a, &b, 0.02);
    assert_int_equal(diff.matched, 2);
    assert_int_equal(diff.verdicts[VERDICT_SAME], 4);
    assert_true(diff.cells[0].b == b.cells.items[1] && diff.cells[1].b == b.cells.items[0]);
    assert_false(diff.regression);
    diff_free(&diff);
    /* Where there is no such warm-up, the experiment is the same all the same. */
    b.cells.items[0]->requested.warmup = 7;
    diff_make(&diff, &a, &b, 0.02);
    assert_int_equal(diff.matched, 2);
    assert_true(diff.cells[1].b == b.cells.items[0]);
    diff_free(&diff);
    b.cells.items[0]->status = STATUS_TIMEOUT;
    diff_make(&diff, &a, &b, 0.02);
    assert_true(diff.regression);
    release(&a, &b, &diff);
}

static char folder[] = "/tmp/steptop-diff-XXXXXX";

static void write_report(const char *name, double slow)
{
    struct report report;
    struct error error = {0};
    char path[128];
    synthetic_report(&report, "tiny", false, 20, slow);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (!report_write(&report, FORMAT_YAML, path, &error))
        fail_msg("%s", error.text);
    report_free(&report);
}

/* Runs the program in the folder; its output, stdout and stderr together, in `output`. */
static int steptop(const char *arguments, char *output, size_t size)
{
    char command[512];
    snprintf(command, sizeof command, "cd %s && '%s' %s 2>&1", folder, STEPTOP_BINARY, arguments);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    const size_t got = fread(output, 1, size - 1, pipe);
    output[got] = 0;
    char rest[4096];
    while (fread(rest, 1, sizeof rest, pipe) > 0)
        ;
    const int status = pclose(pipe);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_program(void **state)
{
    (void)state;
    char output[65536], path[128];
    assert_non_null(mkdtemp(folder));
    write_report("a.yaml", 1);
    write_report("b.yaml", 1.1);
    const int code = steptop("diff a.yaml b.yaml", output, sizeof output);
    if (code != 5)
        fail_msg("%d: %s", code, output);
    assert_non_null(strstr(output, "2 slower"));
    assert_int_equal(steptop("diff b.yaml a.yaml --format markdown", output, sizeof output), 0);
    assert_non_null(strstr(output, "2 faster"));
    assert_int_equal(steptop("diff a.yaml b.yaml --threshold 20%", output, sizeof output), 0);
    assert_int_equal(steptop("diff a.yaml b.yaml --threshold x", output, sizeof output), 2);
    assert_int_equal(steptop("diff a.yaml missing.yaml", output, sizeof output), 3);
    assert_non_null(strstr(output, "missing.yaml"));
    assert_int_equal(steptop("diff a.yaml b.yaml --format yaml", output, sizeof output), 2);
    assert_int_equal(steptop("report a.yaml --format seed", output, sizeof output), 0);
    assert_non_null(strstr(output, "fws & back avg (sec) |"));
    assert_int_equal(steptop("report a.yaml --format nothing", output, sizeof output), 2);
    assert_int_equal(steptop("report a.yaml --format yaml -o c.yaml && cmp a.yaml c.yaml", output, sizeof output), 0);
    assert_int_equal(steptop("report . --format seed", output, sizeof output), 3);
    /* What is refused leaves the old file alone. */
    assert_int_equal(steptop("report missing.yaml -o c.yaml; cmp a.yaml c.yaml", output, sizeof output), 0);
    static const char *const names[] = {"a.yaml", "b.yaml", "c.yaml"};
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slower_faster_same),
        cmocka_unit_test(test_one_kernel),
        cmocka_unit_test(test_across),
        cmocka_unit_test(test_axes),
        cmocka_unit_test(test_unmatched_and_status),
        cmocka_unit_test(test_few_steps),
        cmocka_unit_test(test_students_interval),
        cmocka_unit_test(test_new_and_gone),
        cmocka_unit_test(test_warmups_match),
        cmocka_unit_test(test_program),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
