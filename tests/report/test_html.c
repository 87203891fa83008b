/* The report as one HTML file: what its columns say they are, and what is folded. */
#include "report/build.h"
#include "report/derive.h"
#include "report/emit.h"
#include "synthetic.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
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

/* The kind of the first column of figures with this head; NULL: there is none. */
static const char *kind_said(const char *text, const char *head)
{
    char wanted[96];
    snprintf(wanted, sizeof wanted, "<th class=\"n\">%s<", head);
    const char *at = strstr(text, wanted);
    if (!at)
        return NULL;
    at += strlen(wanted);
    return strncmp(at, "small>modelled", 14) == 0   ? "modelled"
           : strncmp(at, "small>measured", 14) == 0 ? "measured"
           : strncmp(at, "small>sampled", 13) == 0  ? "sampled"
                                                    : "";
}

/* What the plan says is modelled, whatever the head of its column, and what was counted was measured. */
static void kinds_are_said(void **state)
{
    static const struct {
        const char *head, *kind;
    } columns[] = {{"planned total", "modelled"}, {"peak bwd", "modelled"},          {"workspace", "measured"},
                   {"resident peak", "measured"}, {"gradient", "modelled"},          {"scratch", "modelled"},
                   {"input", "modelled"},         {"residual stream", "modelled"},   {"saved by a block", "modelled"},
                   {"MiB", "modelled"},           {"of the block %", "modelled"},    {"counted MB", "measured"},
                   {"modelled MB", "modelled"},   {"counted GFLOP", "measured"},     {"modelled GFLOP", "modelled"},
                   {"counted GB/s", "measured"},  {"counted / modelled", "measured"}};
    (void)state;
    struct report report;
    report_init(&report);
    struct run *run = synthetic_run("tiny", false, 10, 1);
    synthetic_counters(run, "dram_bytes flops gpu_ns occupancy_permille_ns");
    cell_build(report_add_cell(&report), run);
    cell_derive(report.cells.items[0]);
    char *text = emitted(&report, FORMAT_HTML);
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
        const char *kind = kind_said(text, columns[i].head);
        if (!kind || strcmp(kind, columns[i].kind) != 0)
            fail_msg("%s is %s", columns[i].head, kind ? kind : "no column");
    }
    free(text);
    report_free(&report);
    synthetic_free(run);
}

/* What an attached program's layers keep and take was seen in its steps, and no plan says it. */
static void an_attached_program_has_no_plan(void **state)
{
    (void)state;
    struct report report;
    synthetic_report(&report, "tiny", false, 10, 1);
    struct report_cell *cell = report.cells.items[0];
    assert_true(cell->layer_count > 0);
    cell->layers[0].peak_bytes[0] = cell->layers[0].peak_bytes[1] = 1 << 20;
    for (int attached = 0; attached < 2; attached++) {
        snprintf(cell->requested.command, sizeof cell->requested.command, "%s", attached ? "python train.py" : "");
        char *text = emitted(&report, FORMAT_HTML);
        const char *saved = kind_said(text, attached ? "counted saved MiB" : "saved MiB");
        const char *peak = kind_said(text, "fwd peak MiB");
        assert_non_null(saved);
        assert_non_null(peak);
        assert_string_equal(saved, attached ? "measured" : "modelled");
        assert_string_equal(peak, "sampled");
        free(text);
    }
    report_free(&report);
}

/* However many pictures of the whole report there are, those on demand are in one fold that is opened and closed. */
static void pictures_are_folded(void **state)
{
    (void)state;
    struct report report, other;
    synthetic_report(&report, "tiny", false, 10, 1);
    synthetic_report(&other, "tiny", false, 10, 0.5);
    report_join(&report, &other, "other.yaml");
    for (size_t i = 0; i < 2; i++) {
        report.cells.items[i]->requested.ranks = 2;
        report.cells.items[i]->requested.parallel = PARALLEL_FLAT;
    }
    report.cells.items[1]->requested.context_length *= 2;
    char *text = emitted(&report, FORMAT_HTML);
    size_t open = 0, closed = 0;
    for (const char *at = text; (at = strstr(at, "<details>")); at++)
        open++;
    for (const char *at = text; (at = strstr(at, "</details>")); at++)
        closed++;
    assert_non_null(strstr(text, "rank 0, the latest profiled step"));
    assert_non_null(strstr(text, "More pictures"));
    assert_int_equal(open, closed);
    free(text);
    report_free(&report);
    report_free(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(kinds_are_said),
                                       cmocka_unit_test(an_attached_program_has_no_plan),
                                       cmocka_unit_test(pictures_are_folded)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
