/* The help page, made of the key table, the tables' columns and a list of words: what a key does is said nowhere else. */
#include "base/limits.h"
#include "tui/app.h"
#include "tui/words.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct help {
    struct modal modal;
    enum view_id view;
    int top, lines, page;
    bool typing; /* the text that lines must contain */
    struct edit filter;
};

static const char *const groups[] = {"Move", "Find", "View", "Tree", "Runs", "Program"};
#define EVERYWHERE ((1u << VIEW_COUNT) - 1)
#define TWO_COLUMNS 116

/* Where the page is written to: lines are numbered so that scrolling is only a question of where to begin. */
struct page {
    const struct help *help;
    const struct area *area;
    int columns, line;
};

static void put_line(const struct page *page, int number, const char *keys, const char *text, enum style style)
{
    const int height = page->area->height - 2;
    const int at = number - page->help->top, width = page->area->width / page->columns;
    if (at < 0 || height < 1 || at >= height * page->columns)
        return;
    const int y = 1 + at % height, x = at / height * width;
    if (keys)
        area_text_fit(page->area, y, x + 2, 16, STYLE_KEY, keys);
    area_text_fit(page->area, y, x + (keys ? 19 : 2), width - (keys ? 19 : 2) - 2, style, text);
}

/* Wrapped at words into the text column. */
static void put_wrapped(struct page *page, const char *keys, const char *text, enum style style)
{
    const int width = page->area->width / page->columns, room = width - 21 > 20 ? width - 21 : 20;
    bool first = true;
    do {
        char line[300];
        size_t length = strlen(text);
        if (text_columns(text, page->area->canvas->ascii) > room) {
            length = (size_t)room < length ? (size_t)room : length;
            while (length > 0 && text[length] != ' ')
                length--;
            if (length == 0)
                length = (size_t)room;
        }
        snprintf(line, sizeof line, "%.*s", (int)length, text);
        put_line(page, page->line++, first ? keys : "", line, style);
        text += length + (text[length] == ' ');
        first = false;
    } while (*text);
}

static bool is_asked(const struct page *page, const char *a, const char *b, const char *c)
{
    const char *wanted = page->help->filter.text;
    return !wanted[0] || strcasestr(a, wanted) || strcasestr(b, wanted) || (c && strcasestr(c, wanted));
}

static void put_head(struct page *page, const char *text)
{
    if (page->help->filter.text[0])
        return; /* what was found stands by itself */
    page->line += page->line > 0;
    put_line(page, page->line++, NULL, text, STYLE_BOLD);
}

static void views_text(const struct binding *binding, char *text, size_t size)
{
    text[0] = 0;
    if (binding->views == EVERYWHERE)
        return;
    size_t used = 0;
    for (int view = 0; view < VIEW_COUNT; view++)
        if (binding->views & 1u << view && used < size)
            used += (size_t)snprintf(text + used, size - used, "%s%s", used ? ", " : " (",
                                     view_ops((enum view_id)view)->name);
    if (used && used < size)
        snprintf(text + used, size - used, ")");
}

/* Of this view's keys nobody asks where they work. */
static void put_binding(struct page *page, const struct binding *binding)
{
    const bool here = binding->views & 1u << page->help->view;
    char text[512], views[128] = "";
    if (!here)
        views_text(binding, views, sizeof views);
    snprintf(text, sizeof text, "%s%s", binding->help, views);
    if (is_asked(page, binding->keys, text, binding->label))
        put_wrapped(page, binding->keys, text, here ? STYLE_NORMAL : STYLE_DIM);
}

static bool is_own(const struct help *help, const struct binding *binding)
{
    return binding->views & 1u << help->view && binding->views != EVERYWHERE;
}

static void put_columns(struct page *page, const struct app *app, enum view_id view)
{
    const struct table *table = view_table(app, view);
    char head[64];
    if (!table)
        return;
    snprintf(head, sizeof head, "Columns of %s", view_ops(view)->name);
    put_head(page, head);
    for (int i = 0; i < table->ops->column_count; i++) {
        const struct table_column *column = &table->ops->columns[i];
        const char *name = column->title[0] ? column->title : column->key;
        char text[400];
        snprintf(text, sizeof text, "%s%s%s%s", column->help, view == page->help->view ? "" : " (",
                 view == page->help->view ? "" : view_ops(view)->name, view == page->help->view ? "" : ")");
        if (is_asked(page, name, column->help, NULL))
            put_wrapped(page, name, text, view == page->help->view ? STYLE_NORMAL : STYLE_DIM);
    }
}

/* What is particular to the view that one comes from, its columns, then everything, then what words mean. */
static void put_page(struct page *page, const struct app *app)
{
    const struct help *help = page->help;
    int count;
    const struct binding *bindings = key_bindings(&count);
    put_head(page, view_ops(help->view)->name);
    for (int i = 0; i < count; i++)
        if (is_own(help, &bindings[i]))
            put_binding(page, &bindings[i]);
    put_columns(page, app, help->view);
    for (size_t group = 0; group < sizeof groups / sizeof *groups; group++) {
        put_head(page, groups[group]);
        for (int i = 0; i < count; i++)
            if (strcmp(bindings[i].group, groups[group]) == 0 && !is_own(help, &bindings[i]))
                put_binding(page, &bindings[i]);
    }
    put_head(page, "What words mean");
    for (const struct word *word = screen_words; word->word; word++)
        if (is_asked(page, word->word, word->meaning, NULL))
            put_wrapped(page, word->word, word->meaning, STYLE_NORMAL);
    for (int view = 0; view < VIEW_COUNT; view++)
        if (view != (int)help->view)
            put_columns(page, app, (enum view_id)view);
}

static void help_draw(struct app *app, struct modal *modal, const struct area *screen)
{
    struct help *help = (struct help *)modal;
    struct page page = {help, screen, screen->width >= TWO_COLUMNS ? 2 : 1, 0};
    area_box(screen, "Keys   j k PgUp PgDn move, / searches, Esc closes");
    help->page = (screen->height - 2) * page.columns;
    put_page(&page, app);
    help->lines = page.line;
    if (help->filter.text[0] && !page.line)
        put_line(&page, 0, NULL, "nothing here says that", STYLE_DIM);
    if (help->typing || help->filter.text[0]) {
        const int x = 2 + area_text(screen, screen->height - 1, 2, -1, STYLE_BOLD, " Search: ");
        edit_draw(&help->filter, screen, screen->height - 1, x, 30, STYLE_FIELD_ON, help->typing);
    }
}

/* Typing: the page shows what contains the text; Enter keeps it, Esc shows all again. */
static void type(struct help *help, int key)
{
    if (key == KEY_CODE_ESCAPE)
        edit_set(&help->filter, "");
    if (key == KEY_CODE_ESCAPE || key == KEY_CODE_ENTER)
        help->typing = false;
    else
        edit_key(&help->filter, key);
    help->top = 0;
}

static void help_key(struct app *app, struct modal *modal, int key)
{
    struct help *help = (struct help *)modal;
    const int last = help->lines > help->page ? help->lines - help->page : 0;
    const bool moves =
        key == KEY_CODE_UP || key == KEY_CODE_DOWN || key == KEY_CODE_PAGE_UP || key == KEY_CODE_PAGE_DOWN;
    if (help->typing && !moves) {
        type(help, key);
        return;
    }
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
    case COMMAND_SEARCH:
    case COMMAND_FILTER:
        help->typing = true;
        break;
    case COMMAND_BACK:
        if (help->filter.text[0]) {
            edit_set(&help->filter, "");
            break;
        }
        modal_close(app);
        return;
    case COMMAND_QUIT:
    case COMMAND_HELP:
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

static void help_paste(struct modal *modal, int character)
{
    struct help *help = (struct help *)modal;
    if (help->typing)
        type(help, character);
}

static void help_release(struct modal *modal)
{
    free(modal);
}

struct modal *help_create(const struct app *app)
{
    static const struct modal_key keys[] = {{"/", "Search", '/'},
                                            {"Esc", "Close", KEY_CODE_ESCAPE},
                                            {"PgDn", "Next page", KEY_CODE_PAGE_DOWN},
                                            {"PgUp", "Page before", KEY_CODE_PAGE_UP},
                                            {0}};
    static const struct modal_ops ops = {help_draw, help_key, help_release, keys, help_paste};
    struct help *help = calloc(1, sizeof *help);
    if (!help)
        memory_exhausted(1, "page of help");
    help->modal.ops = &ops;
    help->view = app->view;
    return &help->modal;
}
