/* A list to choose from, with room for what there is to say about the chosen item. */
#include "base/limits.h"
#include "base/vec.h"
#include "tui/app.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct picker {
    struct modal modal;
    char *title, *hint;
    VEC(struct picker_item) items;
    int selected, top, page;
    picker_choose *choose;
};

/* Words wrapped into an area, clipped at its foot. */
static void draw_detail(const struct area *area, const char *text)
{
    int y = 0, x = 0;
    while (*text && y < area->height) {
        char word[256];
        const size_t length = strcspn(text, " \n");
        snprintf(word, sizeof word, "%.*s", (int)length, text);
        const int columns = text_columns(word, area->canvas->ascii);
        if (x > 0 && x + columns > area->width) {
            y++;
            x = 0;
        }
        x += area_text(area, y, x, -1, STYLE_DIM, word) + 1;
        text += length;
        if (*text == '\n') {
            y++;
            x = 0;
        }
        text += *text != 0;
    }
}

static void picker_draw(struct app *app, struct modal *modal, const struct area *screen)
{
    struct picker *picker = (struct picker *)modal;
    (void)app;
    int widest = text_columns(picker->hint, screen->canvas->ascii);
    bool any_detail = false;
    for (size_t i = 0; i < picker->items.count; i++) {
        const int columns = text_columns(picker->items.items[i].label, screen->canvas->ascii) + 4;
        widest = columns > widest ? columns : widest;
        any_detail |= picker->items.items[i].detail[0] != 0;
    }
    const int detail = any_detail ? 4 : 0;
    int width = (any_detail && widest < 56 ? 56 : widest) + 4, height = (int)picker->items.count + detail + 3;
    width = width > screen->width ? screen->width : width;
    height = height > screen->height ? screen->height : height;
    const struct area box =
        area_part(screen, (screen->height - height) / 2, (screen->width - width) / 2, height, width);
    area_box(&box, picker->title);
    picker->page = box.height - 3 - detail > 1 ? box.height - 3 - detail : 1;
    if (picker->selected < picker->top)
        picker->top = picker->selected;
    if (picker->selected >= picker->top + picker->page)
        picker->top = picker->selected - picker->page + 1;
    for (int row = 0; row < picker->page && picker->top + row < (int)picker->items.count; row++) {
        const struct picker_item *item = &picker->items.items[picker->top + row];
        const bool selected = picker->top + row == picker->selected;
        const enum style style = selected ? STYLE_SELECTED : item->enabled ? STYLE_NORMAL : STYLE_DIM;
        area_fill(&box, 1 + row, 1, 1, box.width - 2, style, L' ');
        /* Without its box a mark only tells how things are. */
        const char *mark = item->mark < 0  ? ""
                           : item->enabled ? (item->mark ? "[x] " : "[ ] ")
                                           : (item->mark ? " x  " : "    ");
        const int x = 2 + area_text(&box, 1 + row, 2, -1, style, mark);
        area_text_fit(&box, 1 + row, x, box.width - 2 - x, style, item->label);
    }
    area_text_fit(&box, box.height - 2, 2, box.width - 4, STYLE_KEY, picker->hint);
    if ((int)picker->items.count > picker->page) {
        char place[32];
        snprintf(place, sizeof place, " %d of %zu ", picker->selected + 1, picker->items.count);
        area_text_right(&box, 0, 2, box.width - 4, STYLE_BORDER, place);
    }
    if (detail && picker->selected < (int)picker->items.count) {
        const struct area below = area_part(&box, box.height - 2 - detail, 2, detail, box.width - 4);
        draw_detail(&below, picker->items.items[picker->selected].detail);
    }
}

static void picker_key(struct app *app, struct modal *modal, int key)
{
    struct picker *picker = (struct picker *)modal;
    const int last = (int)picker->items.count - 1;
    switch (key) {
    case KEY_CODE_UP:
    case 'k':
        picker->selected--;
        break;
    case KEY_CODE_DOWN:
    case 'j':
        picker->selected++;
        break;
    case KEY_CODE_PAGE_UP:
        picker->selected -= picker->page;
        break;
    case KEY_CODE_PAGE_DOWN:
        picker->selected += picker->page;
        break;
    case KEY_CODE_HOME:
    case 'g':
        picker->selected = 0;
        break;
    case KEY_CODE_END:
    case 'G':
        picker->selected = last;
        break;
    case KEY_CODE_ESCAPE:
    case 'q':
    case KEY_CODE_LEFT:
        modal_close(app);
        return;
    default:
        if (last >= 0 && !picker->choose(app, modal, picker->selected, key) && app->modal == modal)
            modal_close(app);
        return;
    }
    if (picker->selected > last)
        picker->selected = last;
    if (picker->selected < 0)
        picker->selected = 0;
}

static void picker_release(struct modal *modal)
{
    struct picker *picker = (struct picker *)modal;
    for (size_t i = 0; i < picker->items.count; i++) {
        free(picker->items.items[i].label);
        free(picker->items.items[i].detail);
        free(picker->items.items[i].value);
    }
    vec_release(&picker->items);
    free(picker->title);
    free(picker->hint);
    free(picker);
}

static char *copy(const char *text)
{
    char *result = strdup(text);
    if (!result)
        memory_exhausted(strlen(text), "bytes for a list");
    return result;
}

struct modal *picker_create(const char *title, const char *hint, picker_choose *choose)
{
    static const struct modal_key picker_keys[] = {{"Enter", "Choose", KEY_CODE_ENTER},
                                                   {"Esc", "Leave", KEY_CODE_ESCAPE},
                                                   {"Up", "Up", KEY_CODE_UP},
                                                   {"Down", "Down", KEY_CODE_DOWN},
                                                   {0}};
    static const struct modal_ops ops = {picker_draw, picker_key, picker_release, picker_keys, NULL};
    struct picker *picker = calloc(1, sizeof *picker);
    if (!picker)
        memory_exhausted(1, "list");
    picker->modal.ops = &ops;
    picker->title = copy(title);
    picker->hint = copy(hint);
    picker->choose = choose;
    return &picker->modal;
}

void picker_add(struct modal *modal, const char *label, const char *detail, bool enabled, int mark)
{
    struct picker *picker = (struct picker *)modal;
    const struct picker_item item = {copy(label), copy(detail), NULL, enabled, mark};
    vec_push(&picker->items, item);
}

void picker_label(struct modal *modal, int index, const char *label)
{
    struct picker_item *item = picker_item(modal, index);
    free(item->label);
    item->label = copy(label);
}

void picker_set_value(struct modal *modal, const char *value)
{
    struct picker *picker = (struct picker *)modal;
    picker->items.items[picker->items.count - 1].value = copy(value);
}

void picker_select(struct modal *modal, int index)
{
    ((struct picker *)modal)->selected = index;
}

struct picker_item *picker_item(struct modal *modal, int index)
{
    return &((struct picker *)modal)->items.items[index];
}
