/* What the screen offers and how it can be read: help's search, the footer, names beside points, the curve of the steps. */
#include "document.h"
#include "view_screen.h"
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* Help shows what contains a text, of keys, columns of all views and words; Esc shows all again, and closes then. */
static void test_help_search(void **state)
{
    struct app *app = view_open(document_make);
    (void)state;
    view_type(app, "2?");
    view_expect(app, "Columns of Kernels");
    view_type(app, "/steal");
    view_expect(app, "time that the host took from this virtual machine");
    view_expect_not(app, "Columns of Kernels");
    view_expect_not(app, "incremental search");
    view_type(app, "<Enter><Esc>/zoom out");
    view_expect(app, "- o ");
    view_expect_not(app, "+ z ");
    view_type(app, "<Esc>/nothing of this");
    view_expect(app, "nothing here says that");
    view_type(app, "<Esc>/saved<Enter>");
    view_expect(app, "activations that are kept for the backward pass");
    view_expect(app, "(Layers)"); /* a column of another view */
    view_type(app, "<Esc>");
    view_expect(app, "Columns of Kernels");
    view_type(app, "<Esc>");
    view_expect_not(app, "Keys ");
    view_close(app);
}

/* Keys that would only say why not are not offered: of a run without launches, of one phase, with nothing that runs. */
static void test_offers(void **state)
{
    static const struct {
        const char *keys, *offered, *not_offered;
    } views[] = {{"", "dBaseline", "xStop"},
                 {"2", "pPass", "wWindow"},
                 {"2\\nosuchkernel<Enter>", "\\Filter", "EnterOpen"},
                 {"<Down><Down>6", "?Help", "mMode"},
                 {"8", "EscBack", "sSort"},
                 {"5", "mMode", "ZPause"}};
    (void)state;
    for (size_t i = 0; i < sizeof views / sizeof *views; i++) {
        struct app *app = view_open(document_make);
        view_type(app, views[i].keys);
        app->message_until = 0;
        char *screen = view_text(app, 40, 200), *footer = screen;
        for (char *line = strchr(screen, '\n'); line && line[1]; line = strchr(line + 1, '\n'))
            footer = line + 1;
        if (!strstr(footer, views[i].offered))
            fail_msg("after '%s' the footer lacks %s: %s", views[i].keys, views[i].offered, footer);
        if (strstr(footer, views[i].not_offered))
            fail_msg("after '%s' the footer offers %s: %s", views[i].keys, views[i].not_offered, footer);
        free(screen);
        view_close(app);
    }
    /* A run that runs can be stopped. */
    struct app *app = view_open(document_make);
    struct cell cell;
    cell_default(&cell);
    assert_int_not_equal(session_add(view_session(app), &cell), 0);
    report_update(app->report, app->session);
    view_expect(app, "xStop");
    view_close(app);
}

/* Points of the roofline have their names beside them, those worth most first, and none over another; steps have the time below. */
static void test_labels(void **state)
{
    struct app *app = view_open(document_make);
    (void)state;
    view_type(app, "7");
    view_expect(app, "● silu_bwd");
    view_expect(app, "rmsnorm_bwd ●");
    view_expect(app, "sgemm_tn ◆ sgemm_nn");
    app->config.braille = true;
    view_type(app, "1");
    view_expect(app, "; 765.0 ms in all");
    view_expect(app, "153.6 ms");
    view_expect(app, "-0.3 s│");
    view_expect(app, "end│");
    char *screen = view_text(app, 40, 160);
    assert_true(strstr(screen, "⠒") || strstr(screen, "⠤") || strstr(screen, "⠉")); /* the curve in dots */
    /* Steps that differ by less than a twentieth are no mountains: the axis goes beyond the shortest and the longest. */
    assert_non_null(strstr(screen, "156.8 ms"));
    assert_non_null(strstr(screen, "149.2 ms"));
    free(screen);
    view_type(app, "6");
    screen = view_text(app, 40, 160);
    assert_true(strstr(screen, "⣀") || strstr(screen, "⣤") || strstr(screen, "⣶"));
    assert_null(strstr(screen, "▅"));
    free(screen);
    view_close(app);
}

/* A comma list in the form is a run of each value, of all combinations; what one of them cannot be is said before anything starts, and
 * so is what they will take. */
static void test_lists(void **state)
{
    struct app *app = view_open(document_make);
    struct session *session = view_session(app);
    (void)state;
    view_type(app, "r");
    view_expect(app, " parameters, ");
    view_expect(app, "FLOP a ");
    view_expect(app, "plan ");
    view_expect(app, "as fast as run ");
    view_type(app, "1,2,x");
    view_expect_not(app, "3 runs; the largest");
    view_type(app, "<Enter>");
    assert_int_equal(session_run_count(session), 0);
    app_key(app, KEY_CODE_BACKSPACE, &(const struct mouse){0});
    view_type(app, "8");
    view_expect(app, "3 runs; the largest: ");
    view_type(app, "<Down>128,256<Enter>");
    assert_int_equal(session_run_count(session), 6);
    for (size_t i = 0; i < 6; i++) {
        static const int batches[] = {1, 1, 2, 2, 8, 8};
        assert_int_equal(session_run(session, i)->cell.batch_size, batches[i]);
        assert_int_equal(session_run(session, i)->cell.context_length, i % 2 ? 256 : 128);
    }
    view_expect(app, "6 runs queued");
    /* More than can be meant. */
    view_type(app, "r1,2,3,4,5,6,7,8,9<Down>1,2,4,8,16,32,64,128");
    view_expect(app, "more than 64 runs");
    view_type(app, "<Esc>");
    view_close(app);
}

/* Memory beside the baseline's: layers, tensors, categories. And the least screen says what bounds the step. */
static void test_memory_compare(void **state)
{
    struct app *app = view_open(document_make);
    (void)state;
    char *least = view_text(app, 13, 60); /* at 12 lines of up to two runs */
    assert_non_null(strstr(least, "Compiled, this cell takes"));
    assert_non_null(strstr(least, "layers.*.ffn"));
    free(least);
    view_type(app, "d<Down>6m=");
    view_expect(app, "Memory against run 1");
    view_expect(app, "saved       base  ratio");
    view_expect(app, "1.000");
    view_type(app, "m");
    view_expect(app, "bytes       base  ratio");
    view_type(app, "m");
    view_expect(app, "highest      base");
    view_type(app, "=m");
    view_expect_not(app, "ratio");
    view_close(app);
}

/* Marks of the curve are minutes and seconds, not thirds of a minute. */
static void test_minutes(void **state)
{
    struct app *app = view_open(document_make);
    struct report_phase *total = &app->report->cells.items[0]->passes[PASS_FWD_BWD].phases[PHASE_COUNT];
    (void)state;
    for (size_t i = 0; i < total->sample_count; i++)
        total->samples_ns[i] *= 280;
    app->report->cells.items[0]->version++;
    view_type(app, "1");
    view_expect(app, "-40 s│");
    view_expect(app, "-1 min│");
    view_expect(app, "-1:20 min│");
    view_close(app);
}

/* What a program of the user's own has: operators beside modules, no plan, long paths. Modules come first, operators by their time;
 * Memory is what its layers keep; the histogram is of the kernel that the cursor is on, wherever that is. */
static void test_strangers(void **state)
{
    struct app *app = view_open(document_make);
    struct report_cell *cell = app->report->cells.items[0];
    (void)state;
    for (size_t e = 0; e < cell->entry_count; e++)
        if (strncmp(cell->kernels[cell->entries[e].kernel].name, "embedding", 9) == 0)
            cell->entries[e].scope = 0; /* the model's own */
    snprintf(cell->requested.command, sizeof cell->requested.command, "python gpt.py");
    cell->memory.curve = NULL;
    cell->memory.curve_count = 0;
    cell->memory.largest_count = 0;
    view_type(app, "3b");
    char *screen = view_text(app, 40, 120);
    const char *module = strstr(screen, "layers.3"), *large = strstr(screen, "· bwd embedding"),
               *small = strstr(screen, "· fwd embedding");
    assert_true(module && large && small && module < large && large < small);
    free(screen);
    view_type(app, "/embedding_bwd<Enter>4");
    view_expect(app, "Histogram");
    view_expect(app, "embedding_bwd  bwd  embedding");
    view_type(app, "7/rmsnorm<Enter>4");
    view_expect(app, "rmsnorm  fwd  norm");
    view_type(app, "6");
    view_expect(app, "saved by layer, measured");
    view_expect(app, "layers.0");
    view_type(app, "m");
    view_expect(app, "saved by layer, measured");
    view_close(app);
}

/* Figures and sentences of the histogram are whole at any width: what has no room is left out, or goes to a second line. */
static void test_whole_lines(void **state)
{
    struct app *app = view_open(document_make);
    (void)state;
    view_type(app, "2<Enter>");
    for (int width = 60; width <= 130; width++) {
        char *screen = view_text(app, 24, width), *line = strstr(screen, "\nn ");
        assert_non_null(line);
        line[1 + strcspn(line + 1, "\n")] = 0;
        assert_non_null(strstr(line, "p50 1.422 ms"));
        const char *cv = strstr(line, "CV ");
        assert_true(!cv || strchr(cv, '%'));
        assert_null(strstr(line, "…"));
        free(screen);
    }
    view_close(app);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_help_search), cmocka_unit_test(test_offers),         cmocka_unit_test(test_labels),
        cmocka_unit_test(test_lists),       cmocka_unit_test(test_memory_compare), cmocka_unit_test(test_minutes),
        cmocka_unit_test(test_strangers),   cmocka_unit_test(test_whole_lines),
    };
    setlocale(LC_ALL, "C.UTF-8");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
