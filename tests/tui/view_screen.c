#include "view_screen.h"
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

extern int LINES, COLS; /* of curses, which nobody started here */

struct app *view_open(void (*make)(struct report *))
{
    struct app *app = calloc(1, sizeof *app);
    struct report *report = calloc(1, sizeof *report);
    struct tui_options *options = calloc(1, sizeof *options);
    if (!app || !report || !options)
        abort();
    LINES = 40;
    COLS = 160;
    make(report);
    *options = (struct tui_options){.report = report, .mouse = true};
    app_init(app, options, NULL);
    return app;
}

struct session *view_session(struct app *app)
{
    struct error error = {0};
    app->session = session_create(&(struct session_options){.program = "/bin/true"}, &error);
    assert_non_null(app->session);
    app->live.session = app->session;
    return app->session;
}

void view_close(struct app *app)
{
    struct session *session = app->session;
    const struct tui_options *options = app->options;
    app_release(app);
    report_free(options->report);
    free(options->report);
    free((void *)options);
    if (session)
        session_free(session);
    free(app);
}

char *view_text(struct app *app, int height, int width)
{
    struct canvas canvas = {0};
    app->now += 100000000u;
    canvas_resize(&canvas, height, width);
    app_draw(app, &canvas);
    char *text = canvas_to_text(&canvas);
    canvas_release(&canvas);
    return text;
}

void view_type(struct app *app, const char *keys)
{
    const struct mouse none = {0};
    free(view_text(app, 40, 160));
    while (*keys) {
        const size_t length = *keys == '<' && strchr(keys, '>') ? strcspn(keys, ">") - 1 : 0;
        const int key = length ? key_parse(keys + 1, length) : (unsigned char)*keys;
        assert_int_not_equal(key, 0);
        app_key(app, key, &none);
        keys += length ? length + 2 : 1;
        free(view_text(app, 40, 160));
    }
}

static void expect(struct app *app, const char *text, bool wanted)
{
    char *screen = view_text(app, 40, 160);
    if ((strstr(screen, text) != NULL) != wanted)
        fail_msg("the screen %s '%s':\n%s", wanted ? "does not hold" : "holds", text, screen);
    free(screen);
}

void view_expect(struct app *app, const char *text)
{
    expect(app, text, true);
}

void view_expect_not(struct app *app, const char *text)
{
    expect(app, text, false);
}

void view_expect_order(struct app *app, const char *above, const char *below)
{
    char *screen = view_text(app, 40, 160);
    const char *first = strstr(screen, above), *second = strstr(screen, below);
    if (!first || !second || first > second)
        fail_msg("'%s' does not stand above '%s':\n%s", above, below, screen);
    free(screen);
}
