/* The course's questions, answered in their order: what is there, and the command for what is not. */
#include "synthetic.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("no '%s' in\n%s", part, text);
}

static void test_handout(void **state)
{
    (void)state;
    struct report report;
    struct strbuf text = {0};
    synthetic_report(&report, "tiny", false, 10, 1);
    report_handout(&report, false, &text);
    has(text.text, "## 2.1.3 b: ");
    has(text.text,
        "## 5.1: The collectives alone, by size and number of ranks\n\nNot in this report."); /* no empty table */
    has(text.text, "## 4.2 b: The whole model, compiled against eager\n\nNot in this report. It takes: `steptop run");
    /* All of them, in order. */
    static const char *const order[] = {"2.1.3 b", "2.1.3 c", "2.1.4 a", "2.1.4 b", "2.1.4 c", "2.1.4 d", "2.1.4 e",
                                        "2.1.5 c", "2.1.6 a", "2.1.6 b", "2.1.6 c", "2.1.6 d", "2.1.6 e", "2.1.6 f",
                                        "3.2 b",   "4.1.1",   "4.2 a",   "4.2 b",   "5.1",     "5.2",     "5.3.1",
                                        "5.3.2",   "5.3.3",   "6 a/b",   "7 a/b"};
    const char *at = text.text;
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        char heading[32];
        snprintf(heading, sizeof heading, "\n## %s", order[i]);
        at = strstr(at, heading);
        if (!at)
            fail_msg("%s does not come in its place", order[i]);
        at++;
    }
    has(text.text, "--ranks 1,2 --parallel naive -o report.yaml`");
    strbuf_clear(&text);
    report_handout(&report, true, &text);
    has(text.text, "question,cell,figure,value,unit\r\n2.1.3 b,");
    has(text.text, ",,not in this report; it takes,");
    at = text.text;
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) { /* the figures of all cells, question by question */
        char row[32];
        snprintf(row, sizeof row, "\r\n%s", order[i]);
        const char *first = strstr(text.text, row);
        if (first && first < at)
            fail_msg("%s comes too early", order[i]);
        at = first ? first : at;
    }
    /* The residual stream of tiny is 4 · 256 · 256 floats; a block's parameters are 1.5 MiB, and so are its gradients. */
    has(text.text, "\r\n2.1.6 e,");
    has(text.text, ",layers.0 keeps for backward (modelled),");
    has(text.text, ",gradients of layers.0 (modelled),");
    has(text.text, "\r\n2.1.6 f,");
    size_t rows = 0;
    for (const char *row = strstr(text.text, "\r\n2.1.6 f,"); row; row = strstr(row + 2, "\r\n2.1.6 f,"))
        rows++;
    assert_int_equal(rows % 7, 0); /* what is kept, the gradients, five modules */
    strbuf_release(&text);
    report_free(&report);
}

/* A colleague's run of several ranks: which way costs what, from figures that are known. */
static void test_handout_of_ranks(void **state)
{
    (void)state;
    struct report report, other;
    struct strbuf text = {0};
    static struct report_rank naive[2] = {
        {.rank = 0, .steps = 3, .step_ns = 9e6, .exposed_ns = 4e6, .resident_peak = 3 << 20},
        {.rank = 1, .steps = 3, .step_ns = 9e6, .exposed_ns = 6e6, .resident_peak = 5 << 20}};
    static struct report_rank flat[2] = {
        {.rank = 0, .steps = 3, .step_ns = 9e6, .exposed_ns = 1e6, .resident_peak = 4 << 20},
        {.rank = 1, .steps = 3, .step_ns = 9e6, .exposed_ns = 2e6, .resident_peak = 4 << 20}};
    synthetic_report(&report, "tiny", false, 10, 1);
    synthetic_report(&other, "tiny", false, 10, 0.5);
    report_join(&report, &other, "other.yaml");
    for (int i = 0; i < 2; i++) {
        struct report_cell *cell = report.cells.items[i];
        cell->requested.ranks = 2;
        cell->requested.parallel = i ? PARALLEL_FLAT : PARALLEL_NAIVE;
        cell->passes[PASS_TRAIN_STEP] = cell->passes[PASS_FWD_BWD];
        cell->ranks = i ? flat : naive;
        cell->rank_count = 2;
    }
    report_handout(&report, false, &text);
    has(text.text, "| flat       | naive  |");
    has(text.text, "|         0.500 |        1.500 |             5.000 |");
    has(text.text, "4.0 |        5.0 |");
    strbuf_clear(&text);
    report_handout(&report, true, &text);
    has(text.text, "\"rank 1, exposed communication\",0.006,s\r\n");
    strbuf_release(&text);
    for (int i = 0; i < 2; i++)
        report.cells.items[i]->rank_count = 0;
    report_free(&report);
    report_free(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_handout),
        cmocka_unit_test(test_handout_of_ranks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
