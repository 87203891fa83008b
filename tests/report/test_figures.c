/* Figures that cannot be true: reports whose right reading is known, through diff and Markdown. */
#include "base/text.h"
#include "profiler/protocol.h"
#include "report/build.h"
#include "report/diff.h"
#include "report/escape.h"
#include "report/pipe_table.h"
#include "report/svg.h"
#include "synthetic.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define INPUTS TEST_SOURCE_DIR "/report/inputs/"

static void parse(struct report *report, const char *host, const char *passes, const char *rest)
{
    struct error error = {0};
    struct strbuf text = {0};
    strbuf_printf(
        &text,
        "schema: steptop/report/1\n%scells:\n  - id: 1\n    status: ok\n    requested:\n      device: cpu\n"
        "      model: {name: one, kind: lm, d_model: 64, d_ff: 128, num_layers: 1, num_heads: 2, vocab_size: 9}\n"
        "      batch_size: 1\n      context_length: 16\n      profile_every: 1\n    passes:\n%s%scomplete: true\n",
        host, passes, rest);
    if (!report_parse(text.text, text.length, "made", report, &error))
        fail_msg("%s\n%s", error.text, text.text);
    strbuf_release(&text);
}

static void read_input(struct report *report, const char *name)
{
    struct error error = {0};
    char path[512];
    snprintf(path, sizeof path, INPUTS "%s", name);
    if (!report_read(path, report, &error))
        fail_msg("%s", error.text);
}

static char *emitted(const struct report *report, enum report_format format)
{
    struct strbuf out = {0};
    report_emit(report, format, &out);
    return out.text;
}

/* The text of a diff of two reports, which are released. */
static char *difference(struct report *a, struct report *b, bool *regression)
{
    struct diff diff;
    struct strbuf text = {0};
    diff_make(&diff, a, b, 0.02);
    diff_text(&diff, "a", "b", &text);
    *regression = diff.regression;
    diff_free(&diff);
    report_free(a);
    report_free(b);
    return text.text;
}

static char *difference_of(const char *before, const char *after, bool *regression)
{
    struct report a, b;
    parse(&a, "", before, "");
    parse(&b, "", after, "");
    return difference(&a, &b, regression);
}

static void has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("no '%s' in\n%s", part, text);
}

static void has_not(const char *text, const char *part)
{
    if (strstr(text, part))
        fail_msg("'%s' in\n%s", part, text);
}

static void test_same_is_within(void **state)
{
    (void)state;
    struct report a, b;
    bool regression;
    read_input(&a, "r-before.yaml");
    read_input(&b, "r-after-slower-one-outlier.yaml");
    char *text = difference(&a, &b, &regression);
    has(text, "1 same, 1 ambiguous");
    has(text, "ambiguous fwd total");
    assert_false(regression);
    free(text);
}

static void test_few_steps(void **state)
{
    (void)state;
    bool regression;
    char *text = difference_of("      fwd: {phases: {total: {samples_ns: [1000000, 1040000, 1010000, 1030000]}}}\n",
                               "      fwd: {phases: {total: {samples_ns: [3000000, 4700000, 2880000, 3100000]}}}\n",
                               &regression);
    has(text, "1 slower");
    has(text, "in 2.9 % of cases (4 steps)");
    assert_true(regression);
    free(text);
    /* The other way round it is faster, and one step that overlaps makes it nothing. */
    text = difference_of("      fwd: {phases: {total: {samples_ns: [3000000, 4700000, 2880000, 3100000]}}}\n",
                         "      fwd: {phases: {total: {samples_ns: [1000000, 1040000, 1010000, 1030000]}}}\n",
                         &regression);
    has(text, "1 faster");
    free(text);
    text = difference_of("      fwd: {phases: {total: {samples_ns: [1000000, 1040000, 1010000, 2900000]}}}\n",
                         "      fwd: {phases: {total: {samples_ns: [3000000, 4700000, 2880000, 3100000]}}}\n",
                         &regression);
    has(text, "1 ambiguous");
    assert_false(regression);
    free(text);
    /* All above, and yet by less than what counts. */
    text = difference_of("      fwd: {phases: {total: {samples_ns: [1000000, 1000001, 1000002, 1000003]}}}\n",
                         "      fwd: {phases: {total: {samples_ns: [1010000, 1010001, 1010002, 1010003]}}}\n",
                         &regression);
    has(text, "1 same");
    assert_false(regression);
    free(text);
    for (int steps = 1; steps <= 3; steps++) {
        char before[128], after[128];
        static const char *const b[] = {"1000000", "1000000, 1040000", "1000000, 1040000, 1010000"},
                                 *const c[] = {"3000000", "3000000, 3040000", "3000000, 3040000, 3010000"};
        snprintf(before, sizeof before, "      fwd: {phases: {total: {samples_ns: [%s]}}}\n", b[steps - 1]);
        snprintf(after, sizeof after, "      fwd: {phases: {total: {samples_ns: [%s]}}}\n", c[steps - 1]);
        text = difference_of(before, after, &regression);
        has(text, "1 unclear");
        has(text, "unclear   fwd total");
        has(text, steps == 1 ? "+200.00 %" : "+1");
        assert_false(regression);
        free(text);
    }
}

static void test_no_deviations_of_nanoseconds(void **state)
{
    (void)state;
    static const char *const inputs[] = {"r-nanosecond-drift.yaml", "r-three-steps-two-alike.yaml"};
    for (size_t i = 0; i < 2; i++) {
        struct report report;
        read_input(&report, inputs[i]);
        char *text = emitted(&report, FORMAT_MARKDOWN);
        has_not(text, "deviations (MAD)");
        has_not(text, "is an outlier");
        free(text);
        report_free(&report);
    }
}

/* With fwd_bwd or train_step alone the phases of the same steps fill the first table, and it says so. */
static void test_first_table_of_one_pass(void **state)
{
    (void)state;
    struct report report;
    parse(&report, "",
          "      fwd_bwd:\n        phases:\n          fwd: {samples_ns: [1000000000, 1000000000, 1000000000]}\n"
          "          loss: {samples_ns: [500000000, 250000000, 0]}\n"
          "          bwd: {samples_ns: [2000000000, 2250000000, 2500000000]}\n"
          "          total: {samples_ns: [4000000000, 4000000000, 4000000000]}\n",
          "");
    char *text = emitted(&report, FORMAT_SEED);
    has(text, "|               1 |               0 |              2.5 |                0 |                      4 |"
              "                      0 | ok");
    has(text, "No forward pass ran by itself: fwd is the phase fwd of fwd_bwd");
    has_not(text, "nan");
    free(text);
    report_free(&report);
    parse(
        &report, "",
        "      train_step:\n        phases:\n          fwd: {samples_ns: [1000000000, 1000000000]}\n"
        "          loss: {samples_ns: [500000000, 250000000]}\n          bwd: {samples_ns: [2000000000, 2250000000]}\n"
        "          opt: {samples_ns: [7000000000, 7000000000]}\n"
        "          total: {samples_ns: [11000000000, 11000000000]}\n",
        "");
    text = emitted(&report, FORMAT_MARKDOWN);
    has(text, "|              2.5 |                0 |                    3.5 |                      0 | ok");
    has(text, "fwd is the phase fwd of train_step");
    free(text);
    report_free(&report);
    /* The seed's rule where forward ran by itself. */
    parse(&report, "",
          "      fwd: {phases: {total: {samples_ns: [1500000000, 1500000000]}}}\n"
          "      fwd_bwd: {phases: {fwd: {samples_ns: [1, 1]}, total: {samples_ns: [4000000000, 4000000000]}}}\n",
          "");
    text = emitted(&report, FORMAT_SEED);
    has(text, "|             1.5 |               0 |              2.5 |");
    has_not(text, "by itself");
    free(text);
    report_free(&report);
}

static void test_overhead(void **state)
{
    (void)state;
    static const struct {
        struct ratio ratio;
        const char *text;
    } cases[] = {
        {{1.0199, 1.01, 1.03, 9, 0}, "+1.99 %"}, {{0.99, 0.97, 1.01, 9, 0}, "≈ 0"}, {{0.99, NAN, NAN, 3, 0}, "≈ 0"},
        {{0.9, 0.85, 0.95, 9, 0}, "-10.00 %"},   {{NAN, NAN, NAN, 0, 0}, "n/a"},    {{1.01, NAN, NAN, 2, 0}, "+1.00 %"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[32];
        overhead_text(&cases[i].ratio, text, sizeof text);
        assert_string_equal(text, cases[i].text);
    }
    struct report report;
    parse(&report, "",
          "      fwd:\n        profiled_steps: 6\n        wall_ns: 1000\n        phases: {total: {samples_ns: [1000, "
          "1010, "
          "990, 1000, 1010, 1000], profiled_ns: [990, 1011, 989, 990, 1000, 990]}}\n",
          "");
    char *text = emitted(&report, FORMAT_MARKDOWN);
    has(text, " ≈ 0 ");
    free(text);
    report_free(&report);
}

static void test_contended(void **state)
{
    (void)state;
    static const char fwd[] = "      fwd: {phases: {total: {samples_ns: [1000000, 1040000, 1010000, 1030000]}}}\n";
    struct report a, b;
    bool regression;
    parse(&a, "host: {cores: 8, load_average: 6.5}\n", fwd, "");
    parse(&b, "host: {cores: 8, load_average: 0.4}\n", fwd, "    notes:\n      - {key: steal, text: 12.50 %}\n");
    char *text = difference(&a, &b, &regression);
    has(text, "contended: a was taken with a load average of 6.50 on 8 cores when it began");
    has(text, "contended: b was taken with up to 12.50 % of the processors' time stolen in 1 of 1 cells");
    free(text);
    parse(&a, "host: {cores: 8, load_average: 0.4}\n", fwd, "");
    parse(&b, "", fwd, "    machine: {steal: 0.003, load_average: 7}\n");
    text = difference(&a, &b, &regression);
    has_not(text, "contended");
    free(text);
}

/* What a file does not say is n/a in every format, and absent when it is written again: no sentinel, no zero, no default. */
static void test_absent_stays_absent(void **state)
{
    (void)state;
    static const char minimal[] = "schema: steptop/report/1\ncells:\n  - id: 1\n    status: ok\n    requested:\n"
                                  "      device: cpu\n      model: {name: one}\n      batch_size: 1\n"
                                  "      context_length: 16\n%scomplete: true\n";
    static const char *const rests[] = {
        "",
        "    passes:\n      fwd: {}\n      fwd_bwd: {phases: {total: {n: 3, mean_ns: 5}}}\n",
        "    effective: {compile: true}\n    device: {name: cpu}\n    memory: {planned_total: 5}\n"
        "    telemetry: {power_w: 3}\n",
        "    passes: {fwd: {profiled_steps: 1, phases: {total: {samples_ns: [5]}}}}\n    layers: |\n      parent path\n"
        "      - m\n    kernels: |\n      pass phase calls total_ns name\n      fwd fwd 1 5 k\n    kernel_layers: |\n"
        "      kernel layer calls total_ns\n      0 0 1 5\n    timeline: |\n      kernel start_ns duration_ns\n"
        "      0 1 2\n    memory: {planned_total: 7}\n",
    };
    static const char *const leaks[] = {"18446744073709", "1.8446744", "1.84467e", "4294967295", "18447",
                                        "17592186044",    "nan\"",     "forever",  "-1 ",        "17179869184"};
    for (size_t r = 0; r < sizeof rests / sizeof *rests; r++) {
        struct report report, again;
        struct error error = {0};
        struct strbuf text = {0};
        strbuf_printf(&text, minimal, rests[r]);
        if (!report_parse(text.text, text.length, "made", &report, &error))
            fail_msg("%s\n%s", error.text, text.text);
        for (int format = 0; format < FORMAT_COUNT; format++) {
            char *out = emitted(&report, (enum report_format)format);
            for (size_t l = 0; out && l < sizeof leaks / sizeof *leaks; l++)
                if (strstr(out, leaks[l]))
                    fail_msg("%zu, %s: '%s' in\n%.*s", r, report_format_name((enum report_format)format), leaks[l], 300,
                             strstr(out, leaks[l]) - 100 > out ? strstr(out, leaks[l]) - 100 : out);
            free(out);
        }
        /* No key but those that were there. */
        char *yaml = emitted(&report, FORMAT_YAML);
        static const char *const keys[] = {"warmup:", " steps:",  "seed:",    "threads:",       "d_model:",
                                           "kind:",   "counters", "records:", "profile_every:", "warmup_rows:"};
        for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
            has_not(yaml, keys[k]);
        if (!strstr(rests[r], "dtype"))
            has_not(yaml, "dtype:");
        if (!strstr(rests[r], "compile"))
            has_not(yaml, "compile:");
        if (!report_parse(yaml, strlen(yaml), "again", &again, &error))
            fail_msg("%s\n%s", error.text, yaml);
        char *twice = emitted(&again, FORMAT_YAML);
        assert_string_equal(yaml, twice);
        free(twice);
        free(yaml);
        report_free(&again);
        report_free(&report);
        strbuf_release(&text);
    }
    struct report report;
    struct error error = {0};
    if (!report_read(TEST_SOURCE_DIR "/report/seed.yaml", &report, &error))
        fail_msg("%s", error.text);
    char *text = emitted(&report, FORMAT_MARKDOWN);
    has(text, "- steptop: n/a, commit n/a");
    has(text, "- records: n/a received, n/a lost");
    has_not(text, "18446744073709551615");
    free(text);
    report_free(&report);
}

/* Words that YAML 1.1 reads as booleans are quoted in what is written, and read quoted. */
static void test_reserved_words(void **state)
{
    (void)state;
    struct report report, again;
    struct error error = {0};
    static const char text[] = "schema: steptop/report/1\ncells:\n  - id: 1\n    status: ok\n    requested:\n"
                               "      device: cpu\n      model: {name: \"no\", kind: lm}\n      batch_size: 1\n"
                               "      context_length: 16\n      counters: off\ncomplete: true\n";
    if (!report_parse(text, strlen(text), "made", &report, &error))
        fail_msg("%s", error.text);
    char *yaml = emitted(&report, FORMAT_YAML);
    has(yaml, "counters: \"off\"");
    has(yaml, "name: \"no\"");
    if (!report_parse(yaml, strlen(yaml), "again", &again, &error))
        fail_msg("%s", error.text);
    assert_int_equal(again.cells.items[0]->requested.counters, COUNTERS_OFF);
    free(yaml);
    report_free(&report);
    report_free(&again);
    /* A byte order mark says nothing; 010 is neither ten nor eight. */
    read_input(&report, "r-bom-report.yaml");
    assert_int_equal(report.cells.count, 1);
    report_free(&report);
    static const char eight[] = "schema: steptop/report/1\ncells:\n  - id: 1\n    status: ok\n    requested:\n"
                                "      device: cpu\n      model: {name: one}\n      batch_size: 010\n"
                                "      context_length: 16\ncomplete: true\n";
    assert_false(report_parse(eight, strlen(eight), "made", &report, &error));
    has(error.text, "'010' is not a whole number");
}

/* Launches that cross keep their times: what does not nest gets another track. */
static void test_crossing_launches(void **state)
{
    (void)state;
    struct report report;
    read_input(&report, "r-two-launches-cross.yaml");
    char *text = emitted(&report, FORMAT_PERFETTO);
    for (size_t i = 0; i < report.cells.items[0]->launch_count; i++) {
        const struct report_launch *launch = &report.cells.items[0]->timeline[i];
        char times[96];
        snprintf(times, sizeof times, "\"ts\":%llu.%03u,\"dur\":%llu.%03u",
                 (unsigned long long)(launch->start_ns / 1000), (unsigned)(launch->start_ns % 1000),
                 (unsigned long long)(launch->duration_ns / 1000), (unsigned)(launch->duration_ns % 1000));
        has(text, times);
    }
    has(text, "beside (2)");
    /* The layers above them are as long as they are, and cross, too. */
    has(text, "\"tid\":1,\"name\":\"a\",\"ts\":0.000,\"dur\":9.000,");
    has(text, "layers, beside (2)");
    free(text);
    report_free(&report);
}

/* Steps of no time have no rate. */
static void test_no_time(void **state)
{
    (void)state;
    static const char text[] = "schema: steptop/report/1\ncells:\n  - id: 1\n    status: ok\n    requested:\n"
                               "      device: cpu\n      model: {name: one}\n      batch_size: 1\n"
                               "      context_length: 16\n      passes: [fwd]\n    passes:\n"
                               "      fwd: {phases: {total: {samples_ns: [0, 0, 0, 0, 0, 5000]}}}\n"
                               "complete: true\n";
    struct report report;
    struct error error = {0};
    assert_true(report_parse(text, strlen(text), "made", &report, &error));
    static const enum report_format formats[] = {FORMAT_MARKDOWN, FORMAT_HTML, FORMAT_CSV, FORMAT_JSON, FORMAT_SVG};
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        char *out = emitted(&report, formats[i]);
        assert_null(strstr(out, "inf "));
        assert_null(strstr(out, "inf,"));
        free(out);
    }
    report_free(&report);
}

static void test_strangers_text_in_markdown(void **state)
{
    (void)state;
    static const struct {
        const char *text, *markdown;
    } cases[] = {
        {"~~gone~~", "\\~\\~gone\\~\\~"},
        {"@somebody", "@&#8203;somebody"},
        {"see #123", "see #&#8203;123"},
        {"GH-7 and agh-7", "GH-&#8203;7 and agh-7"},
        {"https://a.b", "https:&#8203;//a.b"},
        {"www.a.b", "www&#8203;.a.b"},
        {"a@b.c", "a@&#8203;b.c"},
        {"$x$", "\\$x\\$"},
        {"at::native::k<float>", "at::native::k&lt;float&gt;"},
        {"C# @ 5 # 3", "C# @ 5 # 3"},
        {"a :tada: :+1:", "a :&#8203;tada: :&#8203;+1:"},
        {"2026-11-27T08:43:32Z cuda:0", "2026-11-27T08:43:32Z cuda:0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct strbuf out = {0};
        escape_markdown_cell(&out, cases[i].text);
        assert_string_equal(out.text, cases[i].markdown);
        strbuf_release(&out);
    }
}

/* A cell that no profile could ask for does not come in by bytes either, so no report holds one. */
static void test_lying_cells(void **state)
{
    (void)state;
    struct cell good, cell;
    struct error error = {0};
    cell_default(&good);
    assert_true(cell_from_bytes(&cell, &good, sizeof good, &error));
    struct cell lies[10];
    for (size_t i = 0; i < 10; i++)
        lies[i] = good;
    lies[0].model.num_layers = -4294967295;
    lies[1].threads = -3;
    lies[2].model.name[0] = 0;
    lies[3].device[0] = 0;
    lies[4].model.d_model = INT64_MAX;
    lies[5].batch_size = 0;
    lies[6].steps = 0;
    lies[7].warmup = UINT32_MAX;
    lies[8].seed = UINT64_MAX;
    strcpy(lies[9].device, "c p u");
    for (size_t i = 0; i < 10; i++)
        if (cell_from_bytes(&cell, &lies[i], sizeof cell, &error))
            fail_msg("lie %zu is believed", i);
}

/* What is counted is said in fields of its own: the note of that name is for reading, and an old recording's. */
static void test_counters_are_named_in_fields(void **state)
{
    (void)state;
    struct report report;
    struct run *run = synthetic_run("tiny", false, 3, 1);
    assert_non_null(run);
    synthetic_counters(run, "instructions,cycles,a,b"); /* as a note */
    strcpy(run->counter_names[0], "cycles");
    strcpy(run->counter_names[1], "instructions");
    report_init(&report);
    struct report_cell *cell = report_add_cell(&report);
    cell_build(cell, run);
    assert_string_equal(cell->counter_names[0], "cycles");
    assert_string_equal(cell->counter_names[1], "instructions");
    assert_string_equal(cell->counter_names[2], "");
    run->counter_names[0][0] = 0;
    cell_build(cell, run);
    assert_string_equal(cell->counter_names[0], "instructions");
    report_free(&report);
    synthetic_free(run);
}

static void test_summary_folds_the_rest(void **state)
{
    (void)state;
    struct report report;
    synthetic_report(&report, "tiny", false, 10, 1);
    char *text = emitted(&report, FORMAT_MARKDOWN);
    size_t lines = 0;
    const char *end = strstr(text, "## End to End Benchmarks");
    assert_non_null(end);
    for (const char *at = text; at < end; at = strchr(at, '\n') + 1)
        lines++;
    assert_true(lines <= 14);
    has(text, "- **1 cell**, 1 ok");
    has(text, "% of kernel time");
    /* Each later section is in a fold of its own, opened and closed. */
    size_t open = 0, closed = 0;
    for (const char *at = text; (at = strstr(at, "<details><summary>")); at++)
        open++;
    for (const char *at = text; (at = strstr(at, "</details>")); at++)
        closed++;
    assert_true(open >= 5 && open == closed);
    /* The seed's table is the same by itself and in its place. */
    char *seed = emitted(&report, FORMAT_SEED);
    has(text, seed);
    free(seed);
    free(text);
    report_free(&report);
}

static void test_html_is_one_file(void **state)
{
    (void)state;
    struct report report;
    synthetic_report(&report, "tiny", false, 10, 1);
    report.host.hostname = "<script>alert(1)</script>";
    char *text = emitted(&report, FORMAT_HTML);
    has_not(text, "<script>alert");
    has(text, "&lt;script&gt;alert(1)&lt;/script&gt;");
    has(text, "<table>");
    has(text, "<svg ");
    has(text, "modelled");
    /* Each column of figures says what kind they are of, and what was asked for is none. */
    has(text, "<th class=\"n\">fwd avg (sec)<small>measured</small></th>");
    has(text, "<small>modelled</small></th>");
    has(text, "<th class=\"n\">context_length</th>");
    size_t heads = 0, labels = 0;
    for (const char *at = text; (at = strstr(at, "ms</th>")); at++)
        heads++;
    for (const char *at = text; (at = strstr(at, "<small>measured</small>")); at++)
        labels++;
    assert_int_equal(heads, 0);
    assert_true(labels > 20);
    /* Nothing is loaded: the only address is the name of SVG's language. */
    for (const char *at = text; (at = strstr(at, "://")); at++)
        assert_memory_equal(at - 4, "http://www.w3.org/2000/svg", 26);
    static const char *const loads[] = {"src=", "href=", "@import", "url("};
    for (size_t i = 0; i < sizeof loads / sizeof *loads; i++)
        has_not(text, loads[i]);
    free(text);
    report_free(&report);
}

/* Marks on axes are 1, 2 or 5 times a power of ten apart. */
static void test_round_marks(void **state)
{
    (void)state;
    static const struct {
        double most, step;
        int marks;
    } cases[] = {{1, 0.2, 5},    {0.99, 0.2, 5}, {1.16, 0.5, 5}, {189, 50, 5},
                 {1000, 200, 5}, {1001, 500, 5}, {3e-7, 1e-7, 5}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_true(fabs(round_step(cases[i].most, cases[i].marks) / cases[i].step - 1) < 1e-9);
    const char *unit;
    assert_true(byte_unit(1536 * 1048576.0, &unit) == 1073741824.0);
    assert_string_equal(unit, "GiB");
    assert_true(time_unit(1160e6, &unit) == 1e9);
    assert_string_equal(unit, "s");
}

/* Points of a roofline whose middle a name of a kernel lies over; a letter is 6 wide and 10 high. */
static int hidden_points(const char *picture)
{
    int hidden = 0;
    for (const char *name = picture; (name = strstr(name, "<text x=")); name++) {
        double x, y;
        char anchor[8], text[200];
        if (sscanf(name, "<text x=\"%lf\" y=\"%lf\" text-anchor=\"%7[a-z]\">%199[^<]", &x, &y, anchor, text) != 4 ||
            !strstr(text, " %"))
            continue;
        const double width = 6 * (double)utf8_length(text), left = strcmp(anchor, "end") == 0 ? x - width : x;
        for (const char *dot = picture; (dot = strstr(dot, "<circle cx=")); dot++) {
            double cx, cy;
            if (sscanf(dot, "<circle cx=\"%lf\" cy=\"%lf\"", &cx, &cy) == 2)
                hidden += cx >= left && cx <= left + width && cy >= y - 10 && cy <= y + 2;
        }
    }
    return hidden;
}

/* Eager and compiled on one scale; what is swept as lines, time and memory; both among the first pictures of the Markdown. */
static void test_overviews(void **state)
{
    (void)state;
    struct report report, other;
    struct strbuf one = {0}, cells = {0}, sweep = {0};
    synthetic_report(&report, "tiny", false, 10, 1);
    assert_false(overview_draw(OVERVIEW_CELLS, &report, &one)); /* one cell compares with nothing */
    assert_false(overview_draw(OVERVIEW_SWEEP, &report, &one));
    const size_t alone = report_picture_count(&report);
    synthetic_report(&other, "tiny", true, 10, 0.5);
    report_join(&report, &other, "other.yaml");
    assert_true(overview_draw(OVERVIEW_CELLS, &report, &cells));
    assert_false(overview_draw(OVERVIEW_SWEEP, &report, &one)); /* no axis of numbers */
    has(cells.text, "eager");
    has(cells.text, "compile");
    assert_int_equal(report_picture_count(&report), 2 * alone + 1);
    report.cells.items[1]->requested.compile = false;
    report.cells.items[1]->requested.context_length = 4 * report.cells.items[0]->requested.context_length;
    report.cells.items[1]->memory.planned_total = UNKNOWN_U64; /* a gap, not a guess */
    assert_true(overview_draw(OVERVIEW_SWEEP, &report, &sweep));
    has(sweep.text, "fwd_bwd, by context_length</text>");
    has(sweep.text, "planned memory, by context_length</text>");
    has(sweep.text, ">tiny · b4 · fp32 · eager · cpu, context_length 256 to 1024<");
    size_t lines = 0, dots = 0;
    for (const char *at = sweep.text; (at = strstr(at, "stroke-width=\"2\"")); at++)
        lines++;
    for (const char *at = sweep.text; (at = strstr(at, "<circle")); at++)
        dots++;
    assert_int_equal(lines, 1);
    assert_int_equal(dots, 3);
    /* The largest kernels are named beside their points. */
    struct strbuf roofline = {0};
    assert_true(picture_draw(PICTURE_ROOFLINE, report.cells.items[0], &roofline));
    size_t names = 0;
    for (const char *at = roofline.text; (at = strstr(at, " %</text>")); at++)
        names++;
    assert_in_range(names, 2, 6);
    assert_int_equal(hidden_points(roofline.text), 0);
    strbuf_release(&one);
    strbuf_release(&cells);
    strbuf_release(&sweep);
    strbuf_release(&roofline);
    report_free(&report);
    report_free(&other);
}

static void test_wide_names(void **state)
{
    (void)state;
    struct report report;
    read_input(&report, "r-wide-names.yaml");
    char *text = emitted(&report, FORMAT_SEED);
    /* Every row is as wide as the head. */
    size_t width = 0;
    for (char *line = strtok(text, "\n"); line && *line == '|'; line = strtok(NULL, "\n")) {
        if (width)
            assert_int_equal(utf8_width(line), width);
        width = utf8_width(line);
    }
    free(text);
    report_free(&report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_is_within),
        cmocka_unit_test(test_few_steps),
        cmocka_unit_test(test_no_deviations_of_nanoseconds),
        cmocka_unit_test(test_first_table_of_one_pass),
        cmocka_unit_test(test_overhead),
        cmocka_unit_test(test_contended),
        cmocka_unit_test(test_absent_stays_absent),
        cmocka_unit_test(test_reserved_words),
        cmocka_unit_test(test_crossing_launches),
        cmocka_unit_test(test_no_time),
        cmocka_unit_test(test_strangers_text_in_markdown),
        cmocka_unit_test(test_lying_cells),
        cmocka_unit_test(test_counters_are_named_in_fields),
        cmocka_unit_test(test_summary_folds_the_rest),
        cmocka_unit_test(test_html_is_one_file),
        cmocka_unit_test(test_round_marks),
        cmocka_unit_test(test_overviews),
        cmocka_unit_test(test_wide_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
