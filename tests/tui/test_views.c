/* What keys do to the views of a document, on a canvas. */
#include "base/unknown.h"
#include "document.h"
#include "profiler/session_internal.h"
#include "tui/plot.h"
#include "view_screen.h"
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* Enter on a group shows its kernels and no others; Esc leads back to the groups, to the same row. */
static void test_groups(void **state)
{
    struct app *app = view_open(document_make);
    (void)state;
    view_type(app, "2b<Down>"); /* by class: the second is softmax */
    view_expect(app, "Kernels by class");
    view_type(app, "<Enter>");
    view_expect(app, "Kernels by class › Kernels of softmax");
    view_expect(app, "causal_softmax_bwd");
    view_expect_not(app, "sgemm");
    view_expect(app, "1 of 2"); /* from the first row on, by time */
    view_type(app, "<Esc>");
    view_expect(app, "Kernels by class");
    view_expect(app, "2 of 5");
    view_type(app, "b<Down>bb"); /* by module, by layer, then by phase */
    view_expect(app, "Kernels by phase");
    view_type(app, "<Enter>");
    view_expect(app, "Kernels by phase › Kernels of bwd");
    view_expect(app, "sgemm_tn");
    view_expect_not(app, "sgemm_nt");
    view_close(app);
}

/* A group within a group; and the groups of a part are of that part. */
static void test_groups_of_groups(void **state)
{
    struct app *app = view_open(document_make);
    (void)state;
    view_type(app, "2b<Enter>"); /* matmul */
    view_expect(app, "1 of 3");
    view_type(app, "bbb"); /* its layers: four blocks and the head; embedding has none of it */
    view_expect(app, "Kernels of matmul by layer");
    view_expect(app, "1 of 5");
    view_expect_not(app, "token_embeddings");
    view_type(app, "/lm_head<Enter><Enter>");
    view_expect(app, "Kernels of matmul, lm_head");
    view_expect(app, "1 of 3");
    view_type(app, "2");
    view_expect_not(app, "matmul, lm_head");
    view_expect(app, "1 of 11");
    view_close(app);
}

/* Kernels that no layer can be told for are a group of their own. */
static void test_unattributed(void **state)
{
    struct app *app = view_open(document_make);
    struct report_cell *cell = app->report->cells.items[0];
    (void)state;
    for (size_t i = 0; i < cell->entry_count; i++)
        if (strcmp(cell->kernels[cell->entries[i].kernel].name, "silu") == 0)
            cell->entries[i].scope = -1;
    view_type(app, "2bbb/unattr<Enter><Enter>");
    view_expect(app, "Kernels of (unattributed)");
    view_expect(app, "1 of 1");
    view_expect(app, "silu ");
    view_expect_not(app, "silu_bwd");
    view_close(app);
}

/* A group of whole kernels has the quantiles of all their launches, in a report as live. */
static void test_group_medians(void **state)
{
    struct app *app = view_open(document_make);
    const struct report_cell *cell = app->report->cells.items[0];
    const struct kernel_query query = {.pass = PASS_FWD_BWD, .scope = -1, .grouping = GROUP_CLASS};
    kernel_rows rows = {0};
    (void)state;
    kernel_rows_make(cell, NULL, &query, &rows);
    assert_int_equal(rows.count, 5);
    for (size_t i = 0; i < rows.count; i++) {
        struct histogram all = {0};
        uint64_t calls = 0;
        int layers = 0;
        for (size_t k = 0; k < cell->kernel_count; k++)
            if (cell->kernels[k].pass == PASS_FWD_BWD &&
                (int32_t)cell->kernels[k].kernel_class == rows.items[i].group) {
                report_bins_expand(&cell->kernels[k].histogram, &all);
                calls += cell->kernels[k].calls;
                layers += cell->kernels[k].layers;
            }
        assert_int_equal(rows.items[i].sum.calls, calls);
        assert_int_equal(rows.items[i].sum.layers, layers);
        assert_true(rows.items[i].sum.median_ns == histogram_quantile(&all, 0.5));
        /* Of a bin, but no longer than the longest launch was. */
        assert_true(rows.items[i].sum.p95_ns == fmin(histogram_quantile(&all, 0.95), (double)rows.items[i].sum.max_ns));
        histogram_release(&all);
    }
    vec_release(&rows);
    view_close(app);
}

/* Key 2 shows all of the run, from within the kernels of a layer, too. */
static void test_whole_run(void **state)
{
    struct app *app = view_open(document_make);
    (void)state;
    view_type(app, "3<Down><Enter><Enter>");
    view_expect(app, "Kernels of token_embeddings");
    view_expect_not(app, "sgemm");
    view_type(app, "2");
    view_expect_not(app, "token_embeddings");
    view_expect(app, "sgemm_nt");
    view_close(app);
}

/* What others take of the machine is on line 2 from where it matters on; what only a cache explains is no share of the roof. */
static void test_contended(void **state)
{
    struct app *app = view_open(document_make);
    struct report_cell *cell = app->report->cells.items[0];
    (void)state;
    app->report->host.cores = 2;
    app->report->host.load_average = 9; /* of the start: the run's own counts */
    cell->machine = (struct machine_load){0.009, 0.9};
    view_type(app, "2");
    view_expect_not(app, "steal");
    view_expect_not(app, "  load");
    cell->machine.load_average = 1.25;
    cell->machine.steal = 0.123;
    view_expect(app, "  steal 12.3 %  load 1.2  ");
    view_expect(app, " cache? "); /* rmsnorm, whose rows fit one */
    cell->ceilings.bytes_per_s *= 10;
    app->report->generation++;
    view_type(app, "b"); /* other rows, made at once */
    view_expect(app, "roof%");
    view_expect_not(app, "cache?");
    char text[FORMAT_SIZE];
    assert_string_equal(format_roof(text, 0.9994), "99.9");
    assert_string_equal(format_roof(text, 1.04), "≈100");
    assert_string_equal(format_roof(text, 1.051), "cache?");
    assert_string_equal(format_roof(text, UNKNOWN_DOUBLE), "n/a");
    assert_string_equal(format_roof(text, INFINITY), "n/a");
    view_close(app);
}

/* From Runs = compares the selected run, whatever was compared before; without a baseline nothing is. */
static void test_compare(void **state)
{
    struct app *app = view_open(document_make);
    (void)state;
    view_type(app, "d<Down>=");
    view_expect(app, "Runs › Kernels against run 1");
    view_expect(app, " vs baseline");
    view_type(app, "1="); /* the focus compares still: = goes there again */
    view_expect(app, "Runs › Kernels against run 1");
    char *narrow;
    view_type(app, "1");
    narrow = view_text(app, 24, 80); /* the verdict is what one marks a baseline for */
    assert_non_null(strstr(narrow, "vs baseline"));
    free(narrow);
    view_type(app, "=");
    view_type(app, "=");
    view_expect_not(app, "against");
    view_expect_not(app, " vs baseline");
    view_type(app, "==1<Up>d"); /* on, and the baseline goes */
    view_expect(app, "no baseline");
    view_type(app, "2");
    view_expect_not(app, "against");
    view_expect_not(app, " vs baseline");
    view_close(app);
}

/* A baseline without a ledger (--no-memory, or a cell that did not run) has no memory that is known. */
static void test_compare_without_a_ledger(void **state)
{
    struct app *app = view_open(document_make);
    (void)state;
    struct report_memory *memory = &app->report->cells.items[0]->memory;
    for (int kind = 0; kind < TENSOR_KIND_COUNT; kind++)
        memory->by_kind[kind] = UNKNOWN_U64;
    memory->planned_total = memory->planned_peak_live = memory->resident_peak = UNKNOWN_U64;
    view_type(app, "d<Down>=6");
    view_expect(app, "at cursor");
    view_expect(app, "n/a");
    view_expect_not(app, "EiB");
    view_close(app);
}

/* A file need not have the shortest and longest launch: what was not seen bounds no quantile. */
static void test_groups_without_extremes(void **state)
{
    struct app *app = view_open(document_make);
    struct report_cell *cell = app->report->cells.items[0];
    const struct kernel_query query = {.pass = PASS_FWD_BWD, .scope = -1, .grouping = GROUP_CLASS};
    kernel_rows rows = {0};
    (void)state;
    for (size_t k = 0; k < cell->kernel_count; k++)
        cell->kernels[k].min_ns = cell->kernels[k].max_ns = UNKNOWN_U64;
    kernel_rows_make(cell, NULL, &query, &rows);
    assert_true(rows.count > 2);
    for (size_t i = 0; i < rows.count; i++)
        assert_true(rows.items[i].sum.median_ns > 0 && rows.items[i].sum.median_ns < 1e10);
    vec_release(&rows);
    view_close(app);
}

/* A kernel's last ten seconds are compared as all of its time is. */
static void test_compare_window(void **state)
{
    struct app *app = view_open(document_make);
    struct report_cell *cell = app->report->cells.items[1];
    struct entry *live = calloc(cell->entry_count, sizeof *live);
    kernel_rows rows = {0};
    (void)state;
    assert_non_null(live);
    for (size_t i = 0; i < cell->entry_count; i++) {
        cell->entries[i].live = &live[i];
        live[i].window[3] =
            (struct entry_second){.second = 13, .n = 4, .total = 4000, .min = 900, .max = 1100, .first = 900};
    }
    const struct kernel_query query = {
        .pass = PASS_FWD_BWD, .scope = -1, .window = true, .live = &app->live, .baseline = app->report->cells.items[0]};
    kernel_rows_make(cell, NULL, &query, &rows);
    assert_int_equal(rows.count, 11);
    for (size_t i = 0; i < rows.count; i++) {
        const struct report_kernel *other = &query.baseline->kernels[rows.items[i].kernel];
        assert_true(rows.items[i].sum.mean_ns == 1000);
        assert_true(rows.items[i].base_ns == other->median_ns);
    }
    for (size_t i = 0; i < cell->entry_count; i++)
        cell->entries[i].live = NULL;
    vec_release(&rows);
    free(live);
    view_close(app);
}

/* What was read from a resumed report is no run of this session: it cannot be taken from the list. */
static void test_remove_from_file(void **state)
{
    struct app *app = view_open(document_make);
    struct error error = {0};
    struct session *session = session_create(&(struct session_options){.program = "/nonexistent"}, &error);
    (void)state;
    assert_non_null(session);
    app->session = session;
    for (size_t i = 0; i < app->report->cells.count; i++)
        app->report->cells.items[i]->from_file = true;
    view_type(app, "1g<Delete>");
    view_expect(app, "run 1 is in the report that was resumed and stays in it");
    app->session = NULL;
    session_free(session);
    view_close(app);
}

/* Whatever somebody sets is there next time: columns, order, threshold; and each table has its own. */
static void test_kept(void **state)
{
    char folder[] = "/tmp/steptop-views-XXXXXX", path[64];
    (void)state;
    assert_non_null(mkdtemp(folder));
    setenv("XDG_CONFIG_HOME", folder, 1);
    struct app *app = view_open(document_make);
    view_type(app, "2>I"); /* of a file: nothing for the next run */
    view_expect(app, "self%▲");
    view_close(app);
    app = view_open(document_make);
    view_session(app);
    view_type(app, "2");
    view_expect(app, "total▼");
    struct table *table = view_table(app, VIEW_KERNELS);
    int median = 0;
    while (strcmp(table->ops->columns[median].key, "median") != 0)
        median++;
    const struct mouse click = {MOUSE_PRESS, table->head_y, table->column_x[median]};
    app_key(app, KEY_CODE_MOUSE, &click); /* nor does a click say what somebody always wants */
    view_expect(app, "median▼");
    view_close(app);
    app = view_open(document_make);
    view_session(app);
    view_type(app, "2>I"); /* one to the right of total, upside down */
    view_expect(app, "self%▲");
    view_type(app, "L5<Enter>");
    view_expect(app, "≥5%");
    view_type(app, "6mmSG<Space><Esc>"); /* the last column of the tensors: layer */
    view_expect_not(app, " layer ");
    view_type(app, "SGk<Space><Esc>"); /* and the bar */
    view_expect_not(app, "█");
    view_close(app);
    app = view_open(document_make);
    view_type(app, "2");
    view_expect(app, "self%▲");
    view_expect(app, "≥5%");
    view_type(app, "6m");
    view_expect(app, "█");
    view_type(app, "m");
    view_expect(app, "kind ");
    view_expect_not(app, " layer ");
    view_expect_not(app, "█");
    view_close(app);
    setenv("XDG_CONFIG_HOME", "/dev/null/none", 1);
    snprintf(path, sizeof path, "%s/steptop/screen", folder);
    assert_int_equal(unlink(path), 0);
    snprintf(path, sizeof path, "%s/steptop", folder);
    assert_int_equal(rmdir(path) | rmdir(folder), 0);
}

/* What cannot be chosen has no box: columns that come by themselves, the name. It tells how things are. */
static void test_setup(void **state)
{
    struct app *app = view_open(document_make);
    (void)state;
    view_type(app, "2S");
    view_expect(app, "│     column base");
    view_expect(app, "│  x  column kernel");
    view_expect(app, "│ [x] column phase");
    view_type(app, "<Esc>1d<Down>=S");
    view_expect(app, "│  x  column base");
    view_type(app, "/");             /* no key of the setup */
    for (int i = 0; i < 6 + 20; i++) /* to the column "base" */
        view_type(app, "j");
    view_expect(app, "comes and goes by itself");
    view_type(app, "<Space>");
    view_expect(app, "│  x  column base");
    view_close(app);
}

static void expect_at(struct app *app, int height, int width, const char *text)
{
    char *screen = view_text(app, height, width);
    if (!strstr(screen, text))
        fail_msg("at %dx%d the screen does not hold '%s':\n%s", width, height, text, screen);
    free(screen);
}

/* What is said of two groups of launches takes nothing from the cursor's line. */
static void test_histogram_hint(void **state)
{
    static const struct {
        int height, width;
        const char *hint;
    } sizes[] = {{12, 60, "two groups; all"}, {24, 80, "two groups: q_proj"}, {40, 160, "two groups: q_proj"}};
    struct app *app = view_open(document_make);
    (void)state;
    view_type(app, "2<Enter>");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        expect_at(app, sizes[i].height, sizes[i].width, "cursor 1.");
        expect_at(app, sizes[i].height, sizes[i].width, sizes[i].hint);
    }
    view_type(app, "u");
    view_expect(app, "all launches, warm-up included");
    view_type(app, "v");
    view_expect(app, "by phase, warm-up left out");
    view_type(app, "u");
    view_expect(app, "the parts of a split hold no warm-up");
    view_close(app);
}

/* However often one zooms in, one step out is seen. */
static void test_zoom(void **state)
{
    static const char *const views[] = {"2<Enter>", "6"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct app *app = view_open(document_make);
        view_type(app, views[i]);
        view_type(app, "++++++++++++");
        char *near = view_text(app, 40, 160);
        view_type(app, "-");
        char *far = view_text(app, 40, 160);
        assert_string_not_equal(near, far);
        free(near);
        free(far);
        view_close(app);
    }
}

/* Numbers in names count as numbers, and a verdict by its ratio: the baseline's is 1. */
static void test_orders(void **state)
{
    static const uint64_t lengths[] = {1024, 256, 512};
    struct app *app = view_open(document_make);
    (void)state;
    for (size_t i = 0; i < 3; i++)
        app->report->cells.items[i]->requested.context_length = lengths[i];
    view_type(app, ">>>");
    view_expect(app, "shape▲");
    view_expect_order(app, "b4·c256 ", "b4·c512 ");
    view_expect_order(app, "b4·c512 ", "b4·c1024   ");
    view_close(app);
    app = view_open(document_make);
    view_type(app, "<Down>d");
    while (view_table(app, VIEW_RUNS)->sort != 12) /* vs baseline */
        view_type(app, ">");
    view_expect(app, "vs baseline▲");
    view_expect_order(app, " baseline  ", " 1.25");
    view_expect_order(app, " 1.25", " n/a  ");
    view_type(app, "I");
    view_expect_order(app, " 1.25", " baseline  ");
    view_close(app);
}

/* Where a low picture has more powers of ten than lines, a line shows one of them. */
static void test_roofline_axis(void **state)
{
    struct app *app = view_open(document_make);
    (void)state;
    app->report->cells.items[0]->ceilings.flops_per_s = 118e13;
    view_type(app, "7");
    char *screen = view_text(app, 12, 60);
    int labels = 0;
    for (char *line = strtok(screen, "\n"); line; line = strtok(NULL, "\n")) {
        double power;
        char unit;
        if (strncmp(line, " ", 1) != 0 || sscanf(line, "%lf %c", &power, &unit) != 2 || !strchr("kMGTPE", unit))
            continue;
        labels++;
        if (power != 1 && power != 10 && power != 100)
            fail_msg("the axis has %g %c", power, unit);
    }
    assert_true(labels >= 3);
    free(screen);
    view_close(app);
}

/* What is typed takes the place of what a prompt offers; whoever moves in it first goes on with it. */
static void test_prompt(void **state)
{
    struct app *app = view_open(document_make);
    (void)state;
    view_type(app, "2L5<Enter>");
    view_expect(app, "≥5%");
    view_type(app, "L0<Enter>");
    view_expect_not(app, "≥");
    view_type(app, "L5<Enter>L<End>0<Enter>");
    view_expect(app, "≥50%");
    view_type(app, "L0<Enter>");
    struct cell fresh;
    cell_default(&fresh);
    fresh.batch_size = 4;
    modal_open(app, form_create(&fresh, NULL));
    view_type(app, "<Down><Down><Down><Down><Down><Down><Down><Down><Down>16<Down>");
    view_expect(app, "batch_size      16 ");
    view_type(app, "<Esc>/sgemm<Enter><Esc>");
    assert_non_null(strstr(app->message, "search for 'sgemm' ends"));
    view_close(app);
}

/* The cursor sent to an end, and zoomed before the next frame: once not a number. And ceilings whose ratio no double holds. */
static void test_scales(void **state)
{
    static const double places[] = {NAN, -INFINITY, INFINITY, -1, 0, 0.5, 1, 1e300};
    static const int steps[] = {-1, 0, 10, 0, 0, 5, 10, 10};
    const struct mouse none = {0};
    struct app *app = view_open(document_make);
    (void)state;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        assert_int_equal(scale_to(places[i], 10), steps[i]);
    view_type(app, "5");
    for (const char *keys = "g+G-g-+G+"; *keys; keys++)
        app_key(app, *keys, &none);
    view_expect(app, "at ");
    app->report->cells.items[0]->ceilings = (struct report_ceilings){1e300, 1e-300};
    view_type(app, "7");
    view_expect(app, "no kernel with modelled FLOPs and bytes yet");
    view_close(app);
}

/* Eager beside compiled, to the kernels of a class and to the modules: base and ratio everywhere. */
static void test_compare_groups(void **state)
{
    struct app *app = view_open(document_make);
    (void)state;
    view_type(app, "d<Down>=b");
    view_expect(app, "Kernels by class against run 1");
    view_expect(app, "by a step");
    view_expect(app, "0.800 faster");
    view_type(app, "bb<Enter>"); /* the kernels of a block */
    view_expect(app, "0.800 faster");
    view_type(app, "3");
    view_expect(app, "Layers against run 1");
    view_expect(app, "layers.*");
    view_expect(app, "0.800");
    view_type(app, "b");
    view_expect(app, "layers.3");
    view_expect(app, "0.800");
    app->report->cells.items[1]->requested.context_length *= 2;
    app->report->cells.items[1]->version++;
    view_expect(app, "ratio by a thousand tokens");
    view_expect(app, "0.400");
    view_close(app);
}

/* The run under the cursor is the one that every view shows, and Esc leads back to it. */
static void test_selection(void **state)
{
    struct app *app = view_open(document_make);
    (void)state;
    view_type(app, "j6");
    view_expect(app, "steptop  run 2 ");
    view_expect(app, "Runs › Memory");
    view_type(app, "<Esc>");
    view_expect(app, "steptop  run 2 ");
    view_type(app, "k3");
    view_expect(app, "steptop  run 1 ");
    view_type(app, "2/causal<Enter>4");
    view_expect(app, "Runs › Histogram");
    view_expect(app, "causal_softmax");
    view_close(app);
}

/* Each line below the list of runs is a thing to press Enter on. */
static void test_answer(void **state)
{
    struct app *app = view_open(document_make);
    (void)state;
    view_expect(app, "layers.*.ffn");
    view_type(app, "a<Enter>");
    view_expect(app, "Runs › Kernels of fwd");
    /* The cursor stays below the list when its lines are made anew. */
    view_type(app, "<Esc>");
    app->report->cells.items[0]->version++;
    view_type(app, "<Enter>");
    view_expect(app, "Runs › Kernels of fwd");
    view_type(app, "<Esc>l<Enter>");
    view_expect(app, "Runs › Layers");
    view_expect(app, "layers.*");
    view_type(app, "<Esc>l<Enter>");
    view_expect(app, "Histogram of sgemm_nn");
    view_type(app, "<Esc><Esc>ajjjjjjjjjjjjjj<Enter>");
    view_expect(app, "What is noted of run 1");
    /* Above it is what bounds the step, which opens the view of its evidence. */
    view_type(app, "<Esc>");
    view_expect(app, "Compiled, this cell takes 0.80 of the time (run 2). Try: Compile mode. Gain: at most 20 %");
    view_type(app, "<Esc><Esc>ak<Enter>");
    view_expect(app, "What is noted of run 1");
    view_close(app);
}

/* A filter finds what is folded, and kernels by more than their name. */
static void test_filters(void **state)
{
    struct app *app = view_open(document_make);
    (void)state;
    view_type(app, "3\\softmax_bwd<Enter>");
    view_expect(app, "layers.*");
    view_expect(app, "causal_softmax_bwd");
    view_expect_not(app, "lm_head");
    view_type(app, "2\\matmul<Enter>");
    view_expect(app, "sgemm_nt");
    view_expect_not(app, "rmsnorm");
    view_type(app, "\\layers.*.ffn<Enter>");
    view_expect(app, "silu");
    view_expect_not(app, "softmax");
    view_close(app);
}

/* Many streams become as few lanes as what runs at once needs; what they are part of stands above, and Enter leads to a kernel. */
static void test_lanes(void **state)
{
    struct app *app = view_open(document_make);
    struct report_cell *cell = app->report->cells.items[0];
    (void)state;
    for (size_t i = 0; i < cell->launch_count; i++)
        cell->timeline[i].stream = (uint16_t)(i % 27);
    view_type(app, "5");
    view_expect(app, "streams packed");
    view_expect(app, "phase▏fwd");
    view_expect(app, "▏layers.0");
    view_expect(app, "▏ffn");
    view_expect(app, "▶  1 ");
    view_expect_not(app, "   3 ·"); /* none runs beside another here */
    view_type(app, "<Enter>");
    view_expect(app, "Runs › Timeline › Histogram of ");
    view_close(app);
}

/* The bottom line offers what does something, and a click is the key; tabs are whole words at 80 columns. */
static void test_footer(void **state)
{
    struct app *app = view_open(document_make);
    (void)state;
    char *screen = view_text(app, 24, 80);
    assert_non_null(strstr(screen, "1 Runs 2 Kernels 3 Layers 4 Histogram 5 Timeline 6 Memory 7 Roofline 8 Log"));
    char *footer = strrchr(screen, '?');
    assert_non_null(footer);
    assert_null(strstr(footer, "nNew"));
    assert_null(strstr(footer, "=Compare"));
    assert_null(strstr(footer, "EscBack"));
    const struct mouse click = {MOUSE_PRESS, 23, 2};
    app_key(app, KEY_CODE_MOUSE, &click);
    view_expect(app, "Keys ");
    view_type(app, "G");
    view_expect(app, "Columns of Layers");
    view_expect(app, "EscClose");
    /* What lies on top has the footer, and its keys are clicked like others. */
    view_expect_not(app, "EnterOpen");
    free(screen);
    const struct mouse close = {MOUSE_PRESS, 39, 10};
    app_key(app, KEY_CODE_MOUSE, &close);
    view_expect_not(app, "Keys ");
    view_type(app, "d<Down>");
    app->message_until = 0;
    view_expect(app, "=Compare");
    view_type(app, "7?/causal<Enter>"); /* whose FLOPs of attention these are stands where a rate is explained */
    view_expect(app, "causal half, T(T + 1)/2 pairs a head");
    view_expect(app, "T x T");
    view_close(app);
}

/* A table as CSV: what is shown, row by row, tagged ones alone where there are any. */
static void test_csv(void **state)
{
    char folder[] = "/tmp/steptop-csv-XXXXXX", path[64], keys[96], line[1024];
    struct app *app = view_open(document_make);
    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/k.csv", folder);
    snprintf(keys, sizeof keys, "P%s<Enter>", path);
    for (int tagged = 0; tagged < 2; tagged++) {
        view_type(app, tagged ? "<Space><Space>" : "2\\sgemm<Enter>");
        view_type(app, keys);
        view_type(app, tagged ? "<Enter>" : ""); /* the file exists by then */
        assert_non_null(strstr(app->message, tagged ? "2 tagged rows of this view" : "3 rows of this view"));
        FILE *file = fopen(path, "r");
        assert_non_null(file);
        int lines = 0;
        while (fgets(line, sizeof line, file)) {
            assert_true(strncmp(line, lines ? "\"sgemm_" : "kernel,phase,class,", lines ? 7 : 19) == 0);
            lines++;
        }
        fclose(file);
        assert_int_equal(lines, tagged ? 3 : 4);
        app->message_until = 0;
    }
    unlink(path);
    assert_int_equal(rmdir(folder), 0);
    view_close(app);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_groups_of_groups),
        cmocka_unit_test(test_unattributed),
        cmocka_unit_test(test_whole_run),
        cmocka_unit_test(test_group_medians),
        cmocka_unit_test(test_contended),
        cmocka_unit_test(test_compare),
        cmocka_unit_test(test_compare_window),
        cmocka_unit_test(test_remove_from_file),
        cmocka_unit_test(test_kept),
        cmocka_unit_test(test_setup),
        cmocka_unit_test(test_histogram_hint),
        cmocka_unit_test(test_zoom),
        cmocka_unit_test(test_orders),
        cmocka_unit_test(test_roofline_axis),
        cmocka_unit_test(test_prompt),
        cmocka_unit_test(test_csv),
        cmocka_unit_test(test_lanes),
        cmocka_unit_test(test_footer),
        cmocka_unit_test(test_scales),
        cmocka_unit_test(test_compare_groups),
        cmocka_unit_test(test_compare_without_a_ledger),
        cmocka_unit_test(test_groups_without_extremes),
        cmocka_unit_test(test_selection),
        cmocka_unit_test(test_answer),
        cmocka_unit_test(test_filters),
    };
    setlocale(LC_ALL, "C.UTF-8");
    setenv("XDG_CONFIG_HOME", "/dev/null/none", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
