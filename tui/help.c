/* The help page, made of the key table: what a key does is said nowhere else. */
#include "tui/app.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct help {
    struct modal modal;
    enum view_id view;
    int top, lines, page;
};

static const char *const groups[] = {"Move", "Find", "View", "Tree", "Runs", "Program"};
#define EVERYWHERE ((1u << VIEW_COUNT) - 1)
#define TWO_COLUMNS 150

static void views_text(const struct binding *binding, char *text, size_t size)
{
    text[0] = 0;
    if (binding->views == (1u << VIEW_COUNT) - 1)
        return;
    size_t used = 0;
    for (int view = 0; view < VIEW_COUNT; view++)
        if (binding->views & 1u << view && used < size)
            used += (size_t)snprintf(text + used, size - used, "%s%s", used ? ", " : " (",
                                     view_ops((enum view_id)view)->name);
    if (used && used < size)
        snprintf(text + used, size - used, ")");
}

/* One line of the page; lines are numbered so that scrolling is only a question of where to begin. */
static void put_line(const struct help *help, const struct area *area, int number, const char *keys, const char *text,
                     enum style style)
{
    const int height = area->height - 2, columns = area->width >= TWO_COLUMNS ? 2 : 1;
    const int at = number - help->top, width = area->width / columns;
    if (at < 0 || height < 1 || at >= height * columns)
        return;
    const int y = 1 + at % height, x = at / height * width;
    if (keys)
        area_text_fit(area, y, x + 2, 16, STYLE_KEY, keys);
    area_text_fit(area, y, x + (keys ? 19 : 2), width - (keys ? 19 : 2) - 2, style, text);
}

/* Wraps at words into the text column; returns the lines used. */
static int put_wrapped(const struct help *help, const struct area *area, int number, const char *keys, const char *text,
                       enum style style)
{
    const int width = area->width >= TWO_COLUMNS ? area->width / 2 : area->width;
    const int room = width - 21 > 20 ? width - 21 : 20;
    int used = 0;
    do {
        char line[300];
        size_t length = strlen(text);
        if (text_columns(text, area->canvas->ascii) > room) {
            length = (size_t)room < length ? (size_t)room : length;
            while (length > 0 && text[length] != ' ')
                length--;
            if (length == 0)
                length = (size_t)room;
        }
        snprintf(line, sizeof line, "%.*s", (int)length, text);
        put_line(help, area, number + used, used == 0 ? keys : "", line, style);
        text += length + (text[length] == ' ');
        used++;
    } while (*text);
    return used;
}

static int put_binding(const struct help *help, const struct area *area, int line, const struct binding *binding)
{
    char text[512], views[128];
    views_text(binding, views, sizeof views);
    snprintf(text, sizeof text, "%s%s", binding->help, views);
    const bool here = binding->views & 1u << help->view;
    return put_wrapped(help, area, line, binding->keys, text, here ? STYLE_NORMAL : STYLE_DIM);
}

/* What is particular to the view that one comes from, then everything, then what its columns say. */
static void help_draw(struct app *app, struct modal *modal, const struct area *screen)
{
    struct help *help = (struct help *)modal;
    int count, line = 0;
    const struct binding *bindings = key_bindings(&count);
    const struct table *table = view_table(app, help->view);
    area_box(screen, "Keys   j k PgUp PgDn move, Esc closes");
    help->page = (screen->height - 2) * (screen->width >= TWO_COLUMNS ? 2 : 1);
    put_line(help, screen, line++, NULL, view_ops(help->view)->name, STYLE_BOLD);
    for (int i = 0; i < count; i++)
        if (bindings[i].views & 1u << help->view && bindings[i].views != EVERYWHERE)
            line += put_binding(help, screen, line, &bindings[i]);
    for (size_t group = 0; group < sizeof groups / sizeof *groups; group++) {
        put_line(help, screen, ++line, NULL, groups[group], STYLE_BOLD);
        line++;
        for (int i = 0; i < count; i++)
            if (strcmp(bindings[i].group, groups[group]) == 0 &&
                !(bindings[i].views & 1u << help->view && bindings[i].views != EVERYWHERE))
                line += put_binding(help, screen, line, &bindings[i]);
    }
    if (table) {
        put_line(help, screen, ++line, NULL, "What the columns say", STYLE_BOLD);
        line++;
        for (int i = 0; i < table->ops->column_count; i++) {
            const struct table_column *column = &table->ops->columns[i];
            line += put_wrapped(help, screen, line, column->title[0] ? column->title : column->key, column->help,
                                STYLE_NORMAL);
        }
    }
    help->lines = line;
}

static void help_key(struct app *app, struct modal *modal, int key)
{
    struct help *help = (struct help *)modal;
    const int last = help->lines > help->page ? help->lines - help->page : 0;
    switch (key_command(key, VIEW_LOG)) {
    case COMMAND_UP:
        help->top--;
        break;
    case COMMAND_DOWN:
        help->top++;
        break;
    case COMMAND_PAGE_UP:
    case COMMAND_HALF_UP:
        help->top -= help->page - 1;
        break;
    case COMMAND_PAGE_DOWN:
    case COMMAND_HALF_DOWN:
        help->top += help->page - 1;
        break;
    case COMMAND_FIRST:
        help->top = 0;
        break;
    case COMMAND_LAST:
        help->top = last;
        break;
    case COMMAND_QUIT:
    case COMMAND_HELP:
    case COMMAND_BACK:
    case COMMAND_OPEN:
        modal_close(app);
        return;
    default:
        if (key == ' ')
            help->top += help->page - 1;
        break;
    }
    if (help->top > last)
        help->top = last;
    if (help->top < 0)
        help->top = 0;
}

static void help_release(struct modal *modal)
{
    free(modal);
}

struct modal *help_create(const struct app *app)
{
    static const struct modal_ops ops = {help_draw, help_key, help_release};
    struct help *help = calloc(1, sizeof *help);
    if (!help)
        abort();
    help->modal.ops = &ops;
    help->view = app->view;
    return &help->modal;
}
