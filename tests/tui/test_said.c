/* What the screen once did not say, or said wrong; and what its smallest windows show. */
#include "document.h"
#include "tui/modes.h"
#include "view_screen.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* A kernel that ran in warm-up alone is in no row of its layer: it was one of dashes above all modules. */
static void test_kernel_that_did_not_run(void **state)
{
    (void)state;
    for (int ran = 0; ran < 2; ran++) {
        struct app *app = view_open(document_make);
        struct report_cell *cell = app->report->cells.items[0];
        for (size_t i = 0; i < cell->entry_count && !ran; i++)
            if (strcmp(cell->kernels[cell->entries[i].kernel].name, "silu") == 0)
                cell->entries[i].calls = cell->entries[i].total_ns = 0;
        view_type(app, "3\\silu<Enter>E");
        (ran ? view_expect : view_expect_not)(app, "fwd silu ");
        view_close(app);
    }
}

/* The smallest screen says where the time went, too, and each part leads there. */
static void test_short_answer(void **state)
{
    struct app *app = view_open(document_make);
    (void)state;
    char *screen = view_text(app, 12, 60);
    assert_non_null(strstr(screen, "fwd 33.0  bwd 67.0"));
    assert_non_null(strstr(screen, "layers.*.ffn 47.4"));
    assert_non_null(strstr(screen, "bwd sgemm_nn 31.4"));
    assert_non_null(strstr(screen, "cs336-2025/XL")); /* and all runs are there still */
    free(screen);
    const struct mouse none = {0};
    for (const char *keys = "ajj\r"; *keys; keys++) {
        app_key(app, *keys, &none);
        free(view_text(app, 12, 60));
    }
    view_expect(app, "Histogram of sgemm_nn");
    view_type(app, "1G"); /* a run that has nothing to say leaves the room to the list */
    screen = view_text(app, 12, 60);
    assert_null(strstr(screen, "layers.*"));
    free(screen);
    view_close(app);
}

/* What is tagged is added up. */
static void test_tagged_sum(void **state)
{
    struct app *app = view_open(document_make);
    (void)state;
    view_type(app, "2 ");
    view_expect(app, ", 1 tagged: 226.6 ms, 31.4%");
    view_type(app, " ");
    view_expect(app, ", 2 tagged: 453.3 ms, 62.8%");
    view_close(app);
}

/* A search is seen wherever it is, so that Esc visibly ends it. */
static void test_search_is_seen(void **state)
{
    static const char *const views[] = {"1/tiny<Enter>", "2/sgemm<Enter>", "3/ffn<Enter>", "7/sgemm<Enter>"};
    (void)state;
    for (size_t i = 0; i < sizeof views / sizeof *views; i++) {
        struct app *app = view_open(document_make);
        view_type(app, views[i]);
        view_expect(app, ", search: ");
        view_type(app, "<Esc>");
        view_expect_not(app, ", search: ");
        view_close(app);
    }
}

/* Every view of a run that did not fit says so, and none that something is still to come. */
static void test_out_of_memory(void **state)
{
    struct app *app = view_open(document_make);
    (void)state;
    view_type(app, "G");
    for (const char *key = "234567"; *key; key++) {
        const char keys[] = {*key, 0};
        view_type(app, keys);
        view_expect(app, "(oom: needs 61.2 GiB, free are 7.4 GiB)");
        view_expect_not(app, " yet");
        view_expect_not(app, "n/a a step");
        view_type(app, "1");
    }
    view_close(app);
}

/* What is asked for behind a run that never ends says what it waits for. */
static void test_behind_endless(void **state)
{
    struct app *app = view_open(document_make);
    const struct session *session = view_session(app);
    (void)state;
    view_type(app, "2c");
    assert_non_null(strstr(app->message, "run 1 starts"));
    view_type(app, "C");
    assert_string_equal(app->message, "run 2 with hardware counters waits: run 1 goes on until it is stopped (x)");
    view_type(app, "r<Enter>");
    assert_string_equal(app->message, "run 3 waits: run 1 goes on until it is stopped (x)");
    assert_int_equal(session_run_count(session), 3);
    assert_int_equal(session_run(session, 1)->cell.counters, COUNTERS_ON);
    view_close(app);
}

/* A kernel of a comparison: its launches above, the baseline's below on the same axis. */
static void test_compare_histogram(void **state)
{
    struct app *app = view_open(document_make);
    (void)state;
    view_type(app, "dj=<Enter>");
    view_expect(app, "Histogram of sgemm_nn against run 1");
    view_expect(app, "run 1, baseline: n 65  p50 1.422 ms  p95 12.00 ms  p50 is 0.800 of it");
    view_expect(app, "; baseline ");
    view_expect_order(app, "cursor ", "run 1, baseline");
    view_type(app, "=");
    view_expect_not(app, "baseline");
    view_type(app, "=");
    view_expect(app, "run 1, baseline");
    struct report_cell *base = app->report->cells.items[0];
    for (size_t i = 0; i < base->kernel_count; i++)
        base->kernels[i].name = "fused";
    view_expect(app, "run 1, the baseline, has no kernel of this name, phase and pass");
    view_close(app);
}

/* Products whose names differ in the middle or at one end are told apart in every window that has the list beside the picture. */
static void test_roofline_names(void **state)
{
    static const char *const names[] = {"sgemm_avx2_nn 128x256x10000", "sgemm_avx2_tn 10000x256x128",
                                        "sgemm_nt 128x10000x256",      "sgemm_avx2_nn 128x256x1024",
                                        "sgemm_avx2_tn 1024x256x128",  "sgemm_avx2_nt 128x1024x256",
                                        "sgemm_avx2_nt 128x256x1024",  "sgemm_avx2_nn 128x1024x256"};
    struct app *app = view_open(document_make);
    struct report_cell *cell = app->report->cells.items[0];
    (void)state;
    for (size_t i = 0; i < cell->kernel_count; i++)
        if (cell->kernels[i].pass == PASS_FWD_BWD)
            cell->kernels[i].name = names[i % 8];
    view_type(app, "7");
    for (int width = 60; width <= 200; width += 10) {
        char *screen = view_text(app, 24, width), *rows[64];
        int count = 0;
        for (char *line = strtok(screen, "\n"); line; line = strtok(NULL, "\n")) {
            char *at = strstr(line, "bwd s");
            at = at ? at : strstr(line, "fwd s");
            if (!at || strstr(line, "by kernel"))
                continue;
            at[strcspn(at + 4, " ") + 4 + 1 + strcspn(at + 4 + strcspn(at + 4, " ") + 1, " ")] = 0;
            rows[count++] = at;
        }
        assert_true(count >= 4);
        for (int i = 0; i < count; i++)
            for (int k = 0; k < i; k++)
                if (strcmp(rows[i], rows[k]) == 0)
                    fail_msg("%d columns: '%s' twice", width, rows[i]);
        free(screen);
    }
    view_close(app);
}

/* Puts `levels` modules between the model and its blocks, as other people's models have them: transformer.h.0.attn. */
static void put_above_blocks(struct report_cell *cell, const char *const *names, int32_t levels)
{
    const size_t count = cell->layer_count;
    int32_t *new = calloc(count, sizeof *new);
    struct report_layer *layers = arena_array(&cell->arena, struct report_layer, count + (size_t)levels);
    size_t made = 0, prefix_length = 0;
    char prefix[100] = "";
    bool put = false;
    for (size_t i = 0; i < count; i++) {
        const struct report_layer *old = &cell->layers[i];
        const bool in_block = strncmp(old->path, "layers.", 7) == 0;
        for (int32_t level = 0; in_block && !put && level < levels; level++) {
            prefix_length += (size_t)snprintf(prefix + prefix_length, sizeof prefix - prefix_length, "%s%s",
                                              level ? "." : "", names[level]);
            layers[made] = (struct report_layer){.path = arena_strdup(&cell->arena, prefix),
                                                 .name = names[level],
                                                 .parent = level ? (int32_t)made - 1 : 0,
                                                 .depth = level + 1,
                                                 .peak_bytes = {UNKNOWN_U64, UNKNOWN_U64}};
            for (int pass = 0; pass < PASS_COUNT; pass++)
                for (int phase = 0; phase < PLACE_PHASE_COUNT; phase++)
                    layers[made].phase[pass][phase] = arena_array(&cell->arena, struct report_layer_phase, 1);
            made++;
        }
        put |= in_block;
        new[i] = (int32_t)made;
        layers[made] = *old;
        if (in_block) {
            char path[200];
            const bool block = old->parent == 0;
            snprintf(path, sizeof path, "%s.%s", prefix, old->path + 7);
            layers[made].path = arena_strdup(&cell->arena, path);
            layers[made].name = block ? arena_strdup(&cell->arena, old->path + 7) : old->name;
            layers[made].depth += levels;
            layers[made].parent =
                block ? new[1] + levels : new[old->parent]; /* the embedding is layer 1, the new ones follow it */
            for (int32_t above = layers[made].parent; block && above > 0; above = layers[above].parent)
                for (int pass = 0; pass < PASS_COUNT; pass++)
                    for (int phase = 0; phase < PLACE_PHASE_COUNT; phase++)
                        ((struct report_layer_phase *)(uintptr_t)layers[above].phase[pass][phase])->inclusive_ns +=
                            old->phase[pass][phase]->inclusive_ns;
        } else if (old->parent >= 0) {
            layers[made].parent = new[old->parent];
        }
        made++;
    }
    for (size_t i = 0; i < cell->entry_count; i++)
        if (cell->entries[i].scope >= 0)
            cell->entries[i].scope = new[cell->entries[i].scope];
    for (size_t i = 0; i < cell->launch_count; i++)
        if (cell->timeline[i].scope >= 0)
            cell->timeline[i].scope = new[cell->timeline[i].scope];
    cell->layers = layers;
    cell->layer_count = made;
    free(new);
}

/* What holds the blocks, however far above them, is seen in its parts, and does not stand beside them. */
static void test_modules_above_blocks(void **state)
{
    (void)state;
    static const char *const names[] = {"tower", "h", "x"};
    for (int32_t levels = 1; levels <= 3; levels++) {
        struct app *app = view_open(document_make);
        put_above_blocks(app->report->cells.items[0], names, levels);
        static const char *const shown[] = {"tower.*.ffn ", "tower.h.*.ffn ", "tower.h.x.*.ffn "};
        view_type(app, "1");
        view_expect(app, shown[levels - 1]);
        view_expect(app, "lm_head ");
        view_expect_not(app, "tower ");
        view_expect_not(app, "tower.h ");
        view_expect_not(app, "tower.h.x ");
        view_close(app);
    }
}

/* Two humps are explained by whole names: a name that is a word of another, or many of them, is no overlap. */
static void test_modes_by_whole_names(void **state)
{
    (void)state;
    enum { MANY = 60 };
    static char names[MANY][32];
    struct report_layer layers[MANY] = {0};
    struct report_entry entries[MANY] = {0};
    struct report_cell cell = {.layers = layers, .layer_count = 2, .entries = entries, .entry_count = 2};
    char text[600];
    for (int i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], "module number %d", i);
        layers[i].name = names[i];
        entries[i] = (struct report_entry){.scope = i, .median_ns = i == 1 ? 9000 : 1000, .calls = 1, .total_ns = 1000};
    }
    layers[0].name = "attention, seq = 7";
    layers[1].name = "seq";
    modes_explain(&cell, 0, 5000, text, sizeof text);
    assert_non_null(strstr(text, "two groups: attention, seq = 7 (about "));
    assert_non_null(strstr(text, " and seq (about "));
    cell.layer_count = cell.entry_count = MANY; /* the last is on both sides, and beyond what is printed */
    layers[1].name = names[MANY - 1];
    modes_explain(&cell, 0, 5000, text, sizeof text);
    assert_non_null(strstr(text, "do not explain them"));
    layers[1].name = "seq";
    modes_explain(&cell, 0, 5000, text, sizeof text);
    assert_non_null(strstr(text, " … (about "));
    assert_non_null(strstr(text, " and seq (about "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_short_answer),
        cmocka_unit_test(test_modules_above_blocks),
        cmocka_unit_test(test_modes_by_whole_names),
        cmocka_unit_test(test_tagged_sum),
        cmocka_unit_test(test_kernel_that_did_not_run),
        cmocka_unit_test(test_search_is_seen),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_behind_endless),
        cmocka_unit_test(test_compare_histogram),
        cmocka_unit_test(test_roofline_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
