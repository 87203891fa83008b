#include "report/pipe_table.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* Expected text: tabulate 0.10, tablefmt="pipe", of the same values. */
static void test_alignment_on_the_point(void **state)
{
    (void)state;
    static const double values[3][4] = {
        {1e-05, 1.5e-05, NAN, 123456789.0}, {2, 1234567, 1e100, 0.5}, {-0.00270001, 1e5, 0, -3}};
    static const char *const texts[3][3] = {{"cpu", "S", "ok"}, {"cuda:0", "own é", "oom: x"}, {"c", "M", "nan"}};
    static const int64_t integers[3][2] = {{0, 4}, {1, 16}, {10, 1}};
    struct pipe_table table = {0};
    struct strbuf out = {0};
    pipe_add_column(&table, "", PIPE_NUMBER);
    pipe_add_column(&table, "device", PIPE_TEXT);
    pipe_add_column(&table, "batch_size", PIPE_NUMBER);
    pipe_add_column(&table, "compile", PIPE_TEXT);
    pipe_add_column(&table, "model", PIPE_TEXT);
    pipe_add_column(&table, "a", PIPE_NUMBER);
    pipe_add_column(&table, "b", PIPE_NUMBER);
    pipe_add_column(&table, "c", PIPE_NUMBER);
    pipe_add_column(&table, "dddddddddddddddddddd", PIPE_NUMBER);
    pipe_add_column(&table, "status", PIPE_TEXT);
    for (int r = 0; r < 3; r++) {
        pipe_integer(&table, integers[r][0]);
        pipe_text(&table, texts[r][0]);
        pipe_integer(&table, integers[r][1]);
        pipe_bool(&table, r > 0);
        pipe_text(&table, texts[r][1]);
        for (int c = 0; c < 4; c++)
            pipe_general(&table, values[r][c]);
        pipe_text(&table, texts[r][2]);
    }
    pipe_finish(&table, &out);
    assert_string_equal(
        out.text,
        "|    | device   |   batch_size | compile   | model   |           a |                b |        c |   "
        "dddddddddddddddddddd | status   |\n"
        "|---:|:---------|-------------:|:----------|:--------|------------:|-----------------:|---------:|---------"
        "--------------:|:---------|\n"
        "|  0 | cpu      |            4 | False     | S       |  1e-05      |      1.5e-05     | nan      |            "
        "1.23457e+08 | ok       |\n"
        "|  1 | cuda:0   |           16 | True      | own é   |  2          |      1.23457e+06 |   1e+100 |            "
        "0.5         | oom: x   |\n"
        "| 10 | c        |            1 | True      | M       | -0.00270001 | 100000           |   0      |           "
        "-3           | nan      |\n");
    strbuf_release(&out);
}

static void test_a_column_without_data(void **state)
{
    (void)state;
    struct pipe_table table = {0};
    struct strbuf out = {0};
    pipe_add_column(&table, "", PIPE_NUMBER);
    pipe_add_column(&table, "a", PIPE_NUMBER);
    pipe_add_column(&table, "s", PIPE_TEXT);
    for (int r = 0; r < 2; r++) {
        pipe_integer(&table, r);
        pipe_general(&table, r ? -(double)NAN : (double)NAN);
        pipe_text(&table, r ? "y" : "x");
    }
    pipe_finish(&table, &out);
    assert_string_equal(out.text, "|    |   a | s   |\n|---:|----:|:----|\n|  0 | nan | x   |\n|  1 | nan | y   |\n");
    strbuf_clear(&out);
    pipe_add_column(&table, "a", PIPE_NUMBER);
    pipe_finish(&table, &out);
    assert_string_equal(out.text, "|   a |\n|----:|\n");
    strbuf_release(&out);
}

static void test_strangers_text_stays_in_its_cell(void **state)
{
    (void)state;
    struct pipe_table table = {0};
    struct strbuf out = {0};
    pipe_add_column(&table, "status", PIPE_TEXT);
    pipe_text(&table, "error: a|b\n\033[31m<b>x</b>");
    pipe_finish(&table, &out);
    const char *row = strchr(strchr(out.text, '\n') + 1, '\n') + 1;
    assert_string_equal(row, "| error: a\\|b \ufffd\\[31m&lt;b&gt;x&lt;/b&gt; |\n");
    strbuf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alignment_on_the_point),
        cmocka_unit_test(test_a_column_without_data),
        cmocka_unit_test(test_strangers_text_stays_in_its_cell),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
