/* Every view, every page and every size from 1×1 to 80×30: nothing crashes (the sanitizers watch), and nothing is drawn
 * outside the area that was given. Below the least size of the whole screen, too: a view must not rely on it. */
#include "document.h"
#include "tui/app.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define HEIGHT 30
#define WIDTH 80
#define MARGIN 3

/* A view and what is done to it before it is drawn. */
static const struct {
    enum view_id view;
    enum command commands[6];
} screens[] = {
    {VIEW_RUNS, {COMMAND_NONE}},
    {VIEW_RUNS, {COMMAND_BASELINE}},
    {VIEW_KERNELS, {COMMAND_NONE}},
    {VIEW_KERNELS, {COMMAND_GROUP}},
    {VIEW_KERNELS, {COMMAND_GROUP, COMMAND_GROUP, COMMAND_LAST}},
    {VIEW_LAYERS, {COMMAND_NONE}},
    {VIEW_LAYERS, {COMMAND_EXPAND, COMMAND_LAST}},
    {VIEW_HISTOGRAM, {COMMAND_LAST}},
    {VIEW_HISTOGRAM, {COMMAND_ZOOM_IN, COMMAND_ZOOM_IN, COMMAND_WARMUP}},
    {VIEW_HISTOGRAM, {COMMAND_SPLIT}},
    {VIEW_HISTOGRAM, {COMMAND_SPLIT, COMMAND_DOWN}},
    {VIEW_TIMELINE, {COMMAND_FIRST}},
    {VIEW_TIMELINE, {COMMAND_ZOOM_IN, COMMAND_ZOOM_IN, COMMAND_LEFT}},
    {VIEW_TIMELINE, {COMMAND_MODE, COMMAND_LAST, COMMAND_DOWN}},
    {VIEW_MEMORY, {COMMAND_RIGHT}},
    {VIEW_MEMORY, {COMMAND_MODE}},
    {VIEW_MEMORY, {COMMAND_MODE}},
    {VIEW_ROOFLINE, {COMMAND_DOWN}},
    {VIEW_ROOFLINE, {COMMAND_GROUP}},
    {VIEW_LOG, {COMMAND_LAST}},
};

static struct app *new_app(void (*make)(struct report *), struct report *report)
{
    static struct tui_options options;
    struct app *app = calloc(1, sizeof *app);
    assert_non_null(app);
    make(report);
    options = (struct tui_options){.report = report};
    app_init(app, &options, NULL);
    return app;
}

static void free_app(struct app *app)
{
    report_free(app->report);
    app_release(app);
    free(app);
}

static bool is_sentinel(const struct glyph *glyph)
{
    return glyph->base == L'~' && glyph->style == STYLE_BORDER && glyph->width == 1 && !glyph->mark;
}

static void expect_inside(const struct canvas *canvas, int height, int width, const char *what)
{
    for (int y = 0; y < canvas->height; y++)
        for (int x = 0; x < canvas->width; x++) {
            const bool inside = y >= MARGIN && y < MARGIN + height && x >= MARGIN && x < MARGIN + width;
            if (!inside && !is_sentinel(&canvas->cells[(size_t)y * (size_t)canvas->width + (size_t)x]))
                fail_msg("%s at %dx%d draws at row %d, column %d outside its area", what, width, height, y - MARGIN,
                         x - MARGIN);
        }
}

/* A canvas of sentinels with an empty area in the middle, and what `draw` makes of it. */
static void draw_at(struct app *app, int height, int width, bool ascii, const char *what,
                    void (*draw)(struct app *app, const struct area *area))
{
    struct canvas canvas = {.ascii = ascii};
    canvas_resize(&canvas, height + 2 * MARGIN, width + 2 * MARGIN);
    const struct area whole = canvas_area(&canvas);
    area_fill(&whole, 0, 0, whole.height, whole.width, STYLE_BORDER, L'~');
    area_fill(&whole, MARGIN, MARGIN, height, width, STYLE_NORMAL, L' ');
    const struct area area = area_part(&whole, MARGIN, MARGIN, height, width);
    draw(app, &area);
    expect_inside(&canvas, height, width, what);
    canvas_release(&canvas);
}

static void draw_view(struct app *app, const struct area *area)
{
    char status[200];
    app->now += 100000000u;
    view_ops(app->view)->draw(app, app->states[app->view], area);
    if (view_ops(app->view)->status)
        view_ops(app->view)->status(app, app->states[app->view], status, sizeof status);
}

static void draw_modal(struct app *app, const struct area *area)
{
    app->modal->ops->draw(app, app->modal, area);
}

static void all_sizes(struct app *app, bool ascii, const char *what,
                      void (*draw)(struct app *app, const struct area *area))
{
    for (int height = 1; height <= HEIGHT; height++)
        for (int width = 1; width <= WIDTH; width++)
            draw_at(app, height, width, ascii, what, draw);
}

static void sweep(void (*make)(struct report *))
{
    struct report report = {0};
    struct app *app = new_app(make, &report);
    for (size_t i = 0; i < sizeof screens / sizeof *screens; i++) {
        app_switch(app, screens[i].view);
        draw_at(app, 24, 80, false, "before", draw_view); /* keys act on what was on the screen */
        for (int c = 0; screens[i].commands[c] != COMMAND_NONE; c++)
            app_command(app, screens[i].commands[c], 0);
        all_sizes(app, i % 2, view_ops(screens[i].view)->name, draw_view);
    }
    free_app(app);
}

static void test_views(void **state)
{
    (void)state;
    sweep(document_make);
}

static void test_hostile_names(void **state)
{
    (void)state;
    sweep(document_make_names);
}

static void test_no_kernels(void **state)
{
    (void)state;
    sweep(document_make_empty);
}

static void test_pages(void **state)
{
    struct report report = {0};
    struct app *app = new_app(document_make, &report);
    struct cell cell;
    (void)state;
    cell_default(&cell);
    app_switch(app, VIEW_KERNELS);
    draw_at(app, 24, 80, false, "before", draw_view);
    modal_open(app, help_create(app));
    all_sizes(app, false, "the help", draw_modal);
    modal_open(app, form_create(&cell, NULL));
    all_sizes(app, false, "the form", draw_modal);
    pick_sort(app);
    all_sizes(app, true, "the sort columns", draw_modal);
    pick_setup(app);
    all_sizes(app, false, "the setup", draw_modal);
    free_app(app);
}

/* The whole screen, where it is too small the message. */
static void test_screen(void **state)
{
    struct report report = {0};
    struct app *app = new_app(document_make, &report);
    (void)state;
    for (int view = 0; view < VIEW_COUNT; view++) {
        app_switch(app, (enum view_id)view);
        for (int height = 1; height <= HEIGHT; height++)
            for (int width = 1; width <= WIDTH; width++) {
                struct canvas canvas = {.ascii = view % 2};
                canvas_resize(&canvas, height, width);
                app_draw(app, &canvas);
                char *text = canvas_to_text(&canvas);
                const bool tiny = height < LEAST_HEIGHT || width < LEAST_WIDTH;
                if (!tiny && !strstr(text, view_ops((enum view_id)view)->name))
                    fail_msg("at %dx%d the screen does not name the view", width, height);
                if (tiny && height >= 4 && width >= 20)
                    assert_non_null(strstr(text, "60x12"));
                free(text);
                canvas_release(&canvas);
            }
    }
    free_app(app);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_views), cmocka_unit_test(test_hostile_names), cmocka_unit_test(test_no_kernels),
        cmocka_unit_test(test_pages), cmocka_unit_test(test_screen),
    };
    setenv("XDG_CONFIG_HOME", "/dev/null/none", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
