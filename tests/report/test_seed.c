/* The seed's table, byte for byte, from the seed's own numbers. */
#include "base/file.h"
#include "report/pipe_table.h"
#include "report/seed_rule.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The one table of seed-report.md: from its header line to the blank line after it. */
static char *seed_table(void)
{
    struct error error = {0};
    char *text;
    size_t length;
    if (!file_read(TEST_SOURCE_DIR "/report/seed-report.md", 1 << 20, &text, &length, &error))
        fail_msg("%s", error.text);
    char *start = strstr(text, "|    | device"), *end = strstr(start, "\n\n");
    end[1] = 0;
    memmove(text, start, strlen(start) + 1);
    return text;
}

static char *trimmed(char *cell)
{
    while (*cell == ' ')
        cell++;
    for (char *end = cell + strlen(cell); end > cell && end[-1] == ' ';)
        *--end = 0;
    return cell;
}

/* Takes the table apart to headers and values, and lays them out again. */
static void test_layout(void **state)
{
    (void)state;
    char *expected = seed_table(), *text = strdup(expected), *rest = text, *line;
    struct pipe_table table = {0};
    struct strbuf out = {0};
    for (int row = 0; (line = strsep(&rest, "\n")) && *line; row++) {
        char *cell;
        int column = 0;
        line[strlen(line) - 1] = 0;
        line++;
        if (row > 2 && (row - 2) % 3 == 0)
            pipe_new_block(&table);
        for (; row != 1 && (cell = strsep(&line, "|")); column++) {
            const bool is_text = column == 1 || column == 3 || column == 4 || column == 12;
            cell = trimmed(cell);
            if (row == 0)
                pipe_add_column(&table, cell, is_text ? PIPE_TEXT : PIPE_NUMBER);
            else if (is_text)
                pipe_text(&table, cell);
            else
                pipe_general(&table, strtod(cell, NULL));
        }
    }
    assert_int_equal(table.row_count, 12);
    pipe_finish(&table, &out);
    assert_string_equal(out.text, expected);
    strbuf_release(&out);
    free(expected);
    free(text);
}

/* The document with the seed's samples (seed.yaml), through the emitter: backward by the seed's rule, index and blocks. */
static void test_emitter(void **state)
{
    (void)state;
    struct report report;
    struct error error = {0};
    struct strbuf out = {0};
    char *expected = seed_table();
    if (!report_read(TEST_SOURCE_DIR "/report/seed.yaml", &report, &error))
        fail_msg("%s", error.text);
    report_emit(&report, FORMAT_SEED, &out);
    assert_int_equal(report.cells.count, 12);
    assert_string_equal(out.text, expected);
    strbuf_release(&out);
    report_free(&report);
    free(expected);
}

/* What went wrong in the seed's own benchmark: backward below zero, and smaller than its deviation. */
static bool unreliable(const struct report_cell *cell, char *reason, size_t size)
{
    struct first_figures figures;
    first_figures_of_cell(cell, &figures);
    return first_figures_unreliable(&figures, reason, size);
}

static void test_unreliable(void **state)
{
    (void)state;
    struct report report;
    struct error error = {0};
    char reason[256];
    if (!report_read(TEST_SOURCE_DIR "/report/seed.yaml", &report, &error))
        fail_msg("%s", error.text);
    struct report_cell *cell = report.cells.items[0];
    struct summary *both = &cell->passes[PASS_FWD_BWD].phases[PHASE_COUNT].summary;
    assert_false(unreliable(cell, reason, sizeof reason));
    both->mean = cell->passes[PASS_FWD].phases[PHASE_COUNT].summary.mean - 2.7e6;
    assert_true(unreliable(cell, reason, sizeof reason));
    assert_non_null(strstr(reason, "negative"));
    both->mean += 38.3e6;
    both->sd = 79e6;
    assert_true(unreliable(cell, reason, sizeof reason));
    assert_non_null(strstr(reason, "smaller than its own deviation"));
    both->mean += 600e6;
    assert_false(unreliable(cell, reason, sizeof reason));
    /* Every figure of the table: forward, and both. */
    struct summary *forward = &cell->passes[PASS_FWD].phases[PHASE_COUNT].summary;
    const double calm = forward->sd;
    forward->sd = forward->mean * 5;
    assert_true(unreliable(cell, reason, sizeof reason));
    assert_non_null(strstr(reason, "forward ("));
    forward->sd = calm;
    both->sd = both->mean * 1.01;
    assert_true(unreliable(cell, reason, sizeof reason));
    /* Without a forward pass the phases of the same steps are judged. */
    both->sd = calm;
    cell->passes[PASS_FWD].present = false;
    struct report_phase *direct = &cell->passes[PASS_FWD_BWD].phases[PHASE_BWD];
    direct->summary.n = 5;
    direct->summary.mean = 1e6;
    direct->summary.sd = 2e6;
    assert_true(unreliable(cell, reason, sizeof reason));
    assert_non_null(strstr(reason, "directly"));
    report_free(&report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_emitter),
        cmocka_unit_test(test_unreliable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
