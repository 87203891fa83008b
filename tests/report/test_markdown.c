/* The Markdown report: a section for each question that the data answers, and none that could be misread. */
#include "report/compare.h"
#include "report/emit.h"
#include "synthetic.h"
#include <setjmp.h>
#include <stdarg.h>
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
        for (size_t i = 0; i < length; i++) {
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

static void verdict_is(double low, double median, double high, enum verdict expected)
{
    const struct ratio ratio = {median, low, high, 10};
    assert_int_equal(compare_verdict(&ratio, 0.02), expected);
}

static void test_verdicts(void **state)
{
    (void)state;
    verdict_is(0.99, 1.004, 1.2, VERDICT_SAME); /* under half a percent */
    verdict_is(0.995, 1.01, 1.019, VERDICT_SAME);
    verdict_is(0.98, 1.05, 1.12, VERDICT_AMBIGUOUS); /* the interval holds 1 */
    verdict_is(1.03, 1.05, 1.07, VERDICT_SLOWER);
    verdict_is(1.001, 1.05, 1.07, VERDICT_SLOWER);
    verdict_is(1.001, 1.01, 1.1, VERDICT_AMBIGUOUS); /* maybe beyond the threshold, maybe not */
    verdict_is(0.90, 0.93, 0.95, VERDICT_FASTER);
    verdict_is(NAN, 1.5, NAN, VERDICT_AMBIGUOUS);
    verdict_is(NAN, 1.01, NAN, VERDICT_SAME);
    verdict_is(NAN, NAN, NAN, VERDICT_AMBIGUOUS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sections),
        cmocka_unit_test(test_hostile_names),
        cmocka_unit_test(test_verdicts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
