/* The Markdown report: a section for each question that the data answers, and none that could be misread. */
#include "report/compare.h"
#include "report/emit.h"
#include "synthetic.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char *markdown(const struct report *report)
{
    struct strbuf out = {0};
    emit_markdown(report, &out);
    return out.text;
}

static void has(const char *text, const char *what)
{
    if (!strstr(text, what))
        fail_msg("the report lacks '%s'", what);
}

/* Every table row has as many cells as its header, and no line holds what a renderer would take for HTML or an escape. */
static void check_lines(const char *text)
{
    int columns = 0;
    for (const char *line = text; *line;) {
        const size_t length = strcspn(line, "\n");
        int bars = 0;
        /* The folds are the report's own. */
        static const char open[] = "<details><summary>", shut[] = "</summary>", close[] = "</details>";
        const bool fold = (strncmp(line, open, sizeof open - 1) == 0 && length > sizeof open + sizeof shut &&
                           strncmp(line + length - (sizeof shut - 1), shut, sizeof shut - 1) == 0 &&
                           !memchr(line + sizeof open - 1, '<', length - (sizeof open - 1) - (sizeof shut - 1))) ||
                          (length == sizeof close - 1 && strncmp(line, close, length) == 0);
        for (size_t i = 0; i < length && !fold; i++) {
            assert_false((unsigned char)line[i] < 0x20);
            assert_false(line[i] == '<');
            bars += line[i] == '|' && (i == 0 || line[i - 1] != '\\');
        }
        if (line[0] == '|') {
            if (columns && bars != columns)
                fail_msg("%d bars where the header has %d: %.*s", bars, columns, (int)length, line);
            columns = bars;
        } else
            columns = 0;
        line += length + (line[length] == '\n');
    }
}

static void test_sections(void **state)
{
    (void)state;
    struct report report, other;
    synthetic_report(&report, "tiny", false, 12, 1);
    synthetic_report(&other, "tiny", true, 12, 0.5);
    struct report_cell *compiled = other.cells.items[0];
    vec_push(&report.cells, compiled);
    other.cells.count = 0;
    char *text = markdown(&report);
    static const char *const sections[] = {
        "## End to End Benchmarks",
        "## Forward, backward, optimizer",
        "## Warm-up",
        "## Wall clock against kernels",
        "## Kernel classes by phase",
        "## Kernels",
        "## Layers",
        "## Softmax against matmul in attention",
        "## Memory",
        "## Compiled against eager",
        "## How this was measured",
    };
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++)
        has(text, sections[i]);
    has(text, "Called faster or slower is what is so by more than 2 %, with its whole interval on that side of 1.");
    assert_null(strstr(text, "## Precision"));
    assert_null(strstr(text, "## Attention alone"));
    assert_null(strstr(text, "## Cells that are not ok"));
    has(text, "software events: no hardware counters here");
    check_lines(text);
    free(text);
    report_free(&report);
    report_free(&other);
}

static void test_hostile_names(void **state)
{
    (void)state;
    struct report report;
    synthetic_report(&report, "tiny", false, 2, 1);
    struct report_cell *cell = report.cells.items[0];
    cell->status = STATUS_ERROR;
    cell->reason = "bad|reason\nwith <script>alert(1)</script> and \033]0;title\007";
    cell->kernels[0].name = "| <img src=x onerror=y> \033[2J `k` [a](http://b) |\n| fake | row |";
    cell->layers[1].path = cell->layers[1].name = "x|y\n<z>";
    strcpy(cell->requested.model.name, "a|b\n<c>");
    report.host.hostname = "host\n# heading";
    char *text = markdown(&report);
    check_lines(text);
    assert_null(strstr(text, "\n# heading"));
    assert_null(strstr(text, "\n| fake"));
    has(text, "error: bad\\|reason with");
    free(text);
    report_free(&report);
}

/* The part of the text between a heading and the next of its rank. */
static char *section(const char *text, const char *heading)
{
    const char *start = strstr(text, heading);
    assert_non_null(start);
    const char *end = strstr(start + 1, "\n## ");
    return strndup(start, end ? (size_t)(end - start) : strlen(start));
}

/* An attention sweep: where memory ends is said for each width, from oom and skipped cells alike. */
static void test_frontier(void **state)
{
    (void)state;
    static const struct {
        int64_t d_model, heads, context;
        enum status status;
    } cells[] = {
        {16, 1, 256, STATUS_OK},       {16, 1, 1024, STATUS_UNRELIABLE}, {16, 1, 4096, STATUS_OOM},
        {16, 1, 8192, STATUS_SKIPPED}, {16, 4, 256, STATUS_OK},          {16, 4, 1024, STATUS_SKIPPED},
        {64, 1, 256, STATUS_OK},       {64, 1, 1024, STATUS_ERROR},      {128, 1, 256, STATUS_OOM},
    };
    struct report report;
    report_init(&report);
    for (size_t i = 0; i < sizeof cells / sizeof *cells; i++) {
        struct report_cell *cell = report_add_cell(&report);
        cell_default(&cell->requested);
        assert_true(model_preset_find("attention", &cell->requested.model, NULL));
        cell->requested.model.d_model = cells[i].d_model;
        cell->requested.model.num_heads = cells[i].heads;
        cell->requested.context_length = cells[i].context;
        cell->status = cells[i].status;
        cell->reason = "";
        cell->from_file = true;
    }
    char *text = markdown(&report);
    has(text, "Where memory ends:\n\n"
              "- cpu, eager, d_model 16, 1 head: context 1024 fits, 4096 does not\n"
              "- cpu, eager, d_model 16, 4 heads: context 256 fits, 1024 does not\n"
              "- cpu, eager, d_model 128, 1 head: context 256 does not fit\n\n");
    check_lines(text);
    free(text);
    report_free(&report);
}

/* What attention cells differ in besides is said in the table and where memory ends; a device's name is text like others. */
static void test_frontier_settings(void **state)
{
    (void)state;
    struct report report;
    report_init(&report);
    for (int i = 0; i < 4; i++) {
        struct report_cell *cell = report_add_cell(&report);
        cell_default(&cell->requested);
        assert_true(model_preset_find("attention", &cell->requested.model, NULL));
        strcpy(cell->requested.device, "x|*y*:0");
        cell->requested.model.d_model = 16;
        cell->requested.model.num_heads = 1;
        cell->requested.batch_size = i < 2 ? 2 : 8;
        cell->requested.dtype = i < 2 ? PRECISION_FP32 : PRECISION_BF16;
        cell->requested.context_length = i % 2 ? 1024 : 256;
        cell->status = i % 2 ? STATUS_OOM : STATUS_OK;
        cell->reason = "";
    }
    char *text = markdown(&report), *part = section(text, "## Attention alone");
    has(part, "|   batch | dtype   |   heads |");
    has(part, "- x\\|\\*y\\*:0, eager, d_model 16, 1 head, batch 2, dtype fp32: context 256 fits, 1024 does not\n"
              "- x\\|\\*y\\*:0, eager, d_model 16, 1 head, batch 8, dtype bf16: context 256 fits, 1024 does not\n");
    assert_null(strstr(part, "threads"));
    check_lines(text);
    free(part);
    free(text);
    report_free(&report);
}

/* A forward pass has no gradients and keeps nothing; where one ceiling is known only that is given; a kernel without a time
 * has no rate. */
static void test_what_is_not_there(void **state)
{
    (void)state;
    struct report report;
    synthetic_report(&report, "tiny", false, 3, 1);
    struct report_cell *cell = report.cells.items[0];
    char *text = markdown(&report);
    has(text, "What one block keeps for backward:");
    has(text, "parameters and their gradients MiB");
    has(text, "60.0 GFLOP/s matmul, 12.0 GB/s copy\n");
    free(text);
    memset(cell->memory.by_kind + TENSOR_GRADIENT, 0, sizeof *cell->memory.by_kind);
    cell->ceilings.bytes_per_s = UNKNOWN_DOUBLE;
    for (size_t k = 0; k < cell->kernel_count; k++)
        cell->kernels[k].total_ns = 0;
    cell->counter_names[0] = "a|<b>*c*";
    static struct report_counters counters = {{7, UNKNOWN_U64, UNKNOWN_U64, UNKNOWN_U64}, 1};
    for (size_t k = 0; k < cell->kernel_count; k++)
        cell->kernels[k].counters = &counters;
    text = markdown(&report);
    has(text, "The parameters of one block (a forward pass keeps nothing):");
    assert_null(strstr(text, "gradients MiB"));
    has(text, "60.0 GFLOP/s matmul\n");
    has(text, " a\\|&lt;b&gt;\\*c\\* |");
    assert_null(strstr(text, "| inf"));
    assert_null(strstr(text, "| nan | n/a"));
    check_lines(text);
    free(text);
    report_free(&report);
}

/* A cell with `count` timed steps of a pass, given in ms. */
static struct report_cell *timed_cell(struct report *report, const double *ms, size_t count)
{
    struct report_cell *cell = report_add_cell(report);
    cell_default(&cell->requested);
    cell->status = STATUS_OK;
    cell->reason = "";
    cell->passes[PASS_FWD] = (struct report_pass){.present = true, .pass = PASS_FWD};
    struct report_phase *total = &cell->passes[PASS_FWD].phases[PHASE_COUNT];
    total->name = "total";
    total->samples_ns = arena_array(&cell->arena, uint64_t, count);
    total->sample_count = count;
    for (size_t i = 0; i < count; i++)
        total->samples_ns[i] = (uint64_t)(ms[i] * 1e6);
    summary_of(total->samples_ns, count, &total->summary);
    return cell;
}

static void test_what_did_not_run(void **state)
{
    (void)state;
    static const double ms[] = {1, 2};
    struct report report;
    report_init(&report);
    struct report_cell *cell = timed_cell(&report, ms, 2);
    cell->effective_compile = true;
    char *text = markdown(&report);
    has(text, "- configuration: asked for fp32 eager, ran fp32 compiled\n");
    struct strbuf before = {0};
    emit_yaml(&report, &before);
    has(before.text, "    effective:\n      dtype: fp32\n      compile: true\n");
    strbuf_release(&before);
    has(text, "a profiled step beside each timed step\n");
    free(text);
    cell->fired = 3;
    cell->requested.profile_every = 5;
    text = markdown(&report);
    has(text, "ran fp32 compiled; fused: ");
    has(text, "a profiled step beside one timed step in 5\n");
    free(text);
    cell->passes[PASS_FWD] = (struct report_pass){.present = true};
    cell->status = STATUS_UNSUPPORTED;
    cell->fired = 0;
    text = markdown(&report);
    has(text, "- configuration: asked for fp32 eager, took no step\n");
    free(text);
    struct strbuf yaml = {0};
    emit_yaml(&report, &yaml);
    assert_null(strstr(yaml.text, "effective:"));
    strbuf_release(&yaml);
    report_free(&report);
}

/* The share of a layer is of the whole step, of what belongs to no layer too. */
static void test_layer_share(void **state)
{
    (void)state;
    struct report report;
    synthetic_report(&report, "tiny", false, 3, 1);
    struct report_pass *pass = &report.cells.items[0]->passes[PASS_FWD_BWD];
    for (int half = 0; half < 2; half++) {
        char *text = markdown(&report), *part = section(text, "## Layers"), *row = strstr(part, "| transformer");
        double forward, backward, share;
        row = row ? row : strstr(part, "\n|:");
        assert_non_null(row);
        row = row[0] == '\n' ? strchr(row + 1, '\n') + 1 : row;
        assert_int_equal(sscanf(row, "| %*s | %*d | %lf | %lf | %lf", &forward, &backward, &share), 3);
        const double whole = pass->kernel_ns * 1e-6;
        assert_true(fabs(share - (forward + backward) / whole * 100) < 0.06);
        pass->kernel_ns *= 2;
        free(part);
        free(text);
    }
    report_free(&report);
}

/* Eager: softmax has a time and FLOPs; fused into attention it has none that is known, which is not zero. */
static void test_softmax(void **state)
{
    (void)state;
    for (int compile = 0; compile < 2; compile++) {
        struct report report;
        synthetic_report(&report, "tiny", compile != 0, 4, 1);
        char *text = markdown(&report), *part = section(text, "## Softmax against matmul"),
             *row = strstr(part, "| fwd ");
        double softmax, products, projections;
        assert_non_null(row);
        if (compile)
            assert_int_equal(sscanf(row, "| fwd | n/a | %lf | %lf", &products, &projections), 2);
        else {
            assert_int_equal(sscanf(row, "| fwd | %lf | %lf | %lf", &softmax, &products, &projections), 3);
            assert_true(softmax > 0);
        }
        assert_true(products > 0 && projections > products);
        free(part);
        free(text);
        report_free(&report);
    }
}

/* A sweep over the warm-up: a row each, told apart, with mean and deviation of the counted steps alone. */
static void test_warmup_axis(void **state)
{
    (void)state;
    struct report report, read;
    struct error error = {0};
    struct strbuf yaml = {0};
    report_init(&report);
    for (uint32_t warmup = 0; warmup < 3; warmup += 2) {
        struct report_cell *cell = report_add_cell(&report);
        cell_default(&cell->requested);
        cell->requested.warmup = warmup;
        cell->status = STATUS_OK;
        cell->reason = "";
        cell->passes[PASS_FWD] = (struct report_pass){.present = true, .pass = PASS_FWD};
        struct report_phase *total = &cell->passes[PASS_FWD].phases[PHASE_COUNT];
        total->name = "total";
        total->samples_ns = arena_array(&cell->arena, uint64_t, 3);
        total->warmup_ns = arena_array(&cell->arena, uint64_t, 2);
        total->sample_count = 3;
        total->warmup_count = warmup;
        for (uint64_t i = 0; i < 3; i++)
            total->samples_ns[i] = 10000000 + i * 1000000;
        for (uint64_t i = 0; i < warmup; i++)
            total->warmup_ns[i] = 55000000;
    }
    emit_yaml(&report, &yaml);
    if (!report_parse(yaml.text, yaml.length, "warm.yaml", &read, &error))
        fail_msg("%s", error.text);
    char *text = markdown(&read), *part = section(text, "## Warm-up");
    has(part, "| S · b4 · c256 · fp32 · eager · cpu · warm-up 0 | fwd    |         0 |    11.000 |   1.000 |          "
              "0.909 | "
              "10.000 11.000 12.000 ");
    has(part, "| S · b4 · c256 · fp32 · eager · cpu · warm-up 2 | fwd    |         2 |    11.000 |   1.000 |          "
              "5.000 | "
              "w55.000 w55.000 10.000 11.000 12.000 ");
    free(part);
    free(text);
    strbuf_release(&yaml);
    report_free(&read);
    report_free(&report);
}

/* A first step that stands out says something of the warm-up only where it was slower. */
static void test_first_step(void **state)
{
    (void)state;
    static const double slower[] = {90, 10, 11, 10.5, 10.2, 10.8}, faster[] = {1, 50, 51, 50.5, 50.2, 50.8};
    struct report report;
    report_init(&report);
    timed_cell(&report, slower, 6);
    timed_cell(&report, faster, 6)->requested.batch_size = 2;
    char *text = markdown(&report);
    has(text,
        "- S · b4 · c256 · fp32 · eager · cpu, fwd: the first timed step is an outlier, slower than the others: the "
        "warm-up may have been too short");
    has(text, "- S · b2 · c256 · fp32 · eager · cpu, fwd: the first timed step is an outlier, faster than the others");
    assert_null(strstr(strstr(text, "faster than the others"), "too short"));
    free(text);
    report_free(&report);
}

/* A run without end keeps its newest steps: they are not shown as its first. */
static void test_endless(void **state)
{
    (void)state;
    static double ms[SAMPLES_KEPT];
    struct report report;
    report_init(&report);
    for (size_t i = 0; i < SAMPLES_KEPT; i++)
        ms[i] = i == 0 ? 777 : 20 + (double)(i % 3);
    timed_cell(&report, ms, SAMPLES_KEPT)->requested.steps = STEPS_FOREVER;
    char *text = markdown(&report), *part = section(text, "## Warm-up");
    has(part, " n/a | … ");
    assert_null(strstr(part, "777"));
    assert_null(strstr(text, "the first timed step is an outlier"));
    free(part);
    free(text);
    report_free(&report);
}

static void verdict_is(double low, double median, double high, enum verdict expected)
{
    const struct ratio ratio = {median, low, high, 10, 0};
    assert_int_equal(compare_verdict(&ratio, 0.02), expected);
}

static void test_verdicts(void **state)
{
    (void)state;
    verdict_is(0.9985, 1, 10.0005, VERDICT_AMBIGUOUS); /* the medians agree, the interval does not */
    verdict_is(0.995, 1.01, 1.019, VERDICT_SAME);
    verdict_is(0.98, 1.05, 1.12, VERDICT_AMBIGUOUS); /* the interval holds 1 */
    verdict_is(1.03, 1.05, 1.07, VERDICT_SLOWER);
    verdict_is(1.001, 1.05, 1.07, VERDICT_SLOWER);
    verdict_is(1.001, 1.01, 1.1, VERDICT_AMBIGUOUS); /* maybe beyond the threshold, maybe not */
    verdict_is(0.90, 0.93, 0.95, VERDICT_FASTER);
    verdict_is(NAN, 1.5, NAN, VERDICT_UNCLEAR);
    verdict_is(NAN, 1.01, NAN, VERDICT_UNCLEAR);
    verdict_is(NAN, NAN, NAN, VERDICT_UNCLEAR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sections),          cmocka_unit_test(test_hostile_names),
        cmocka_unit_test(test_frontier),          cmocka_unit_test(test_frontier_settings),
        cmocka_unit_test(test_what_is_not_there), cmocka_unit_test(test_layer_share),
        cmocka_unit_test(test_what_did_not_run),  cmocka_unit_test(test_softmax),
        cmocka_unit_test(test_warmup_axis),       cmocka_unit_test(test_first_step),
        cmocka_unit_test(test_endless),           cmocka_unit_test(test_verdicts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
