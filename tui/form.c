/* The new-run form. Each value goes into the cell through the profile's own checks; what they refuse is said beside the
 * field, and nothing starts while anything is refused. */
#include "base/strbuf.h"
#include "profiles/keys.h"
#include "tui/app.h"
#include "tui/format.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One row a key that a cell has: the profile's table says what there is, in its order. */
#define FIELDS_MAX PROFILE_KEY_MAX
#define CHOICES_MAX 32

struct form {
    struct modal modal;
    struct cell cell;
    const struct profile_key *keys[FIELDS_MAX];
    int count;
    struct edit edits[FIELDS_MAX];
    char refused[FIELDS_MAX][256];
    char problem[512], warning[256];
    int selected, top;
    bool touched; /* the selected field was typed in: what is typed first takes the place of what it held */
};

/* One field may change others: a preset sets the sizes, own sizes change the model's name. */
static void show_cell(struct form *form, int but)
{
    for (int i = 0; i < form->count; i++) {
        if (i == but || form->refused[i][0])
            continue;
        struct strbuf text = {0};
        key_text(form->keys[i], &form->cell, &text);
        if (text.text && strcmp(form->edits[i].text, text.text) != 0)
            edit_set(&form->edits[i], text.text);
        strbuf_release(&text);
    }
}

static void check(struct form *form)
{
    struct error error = {0};
    form->problem[0] = form->warning[0] = 0;
    for (int i = 0; i < form->count; i++)
        if (form->refused[i][0])
            return;
    if (!cell_check(&form->cell, form->warning, sizeof form->warning, &error))
        snprintf(form->problem, sizeof form->problem, "%.500s", error.text);
}

static void field_changed(struct form *form, int field)
{
    struct error error = {0};
    form->refused[field][0] = 0;
    if (!cell_set(&form->cell, form->keys[field]->name, form->edits[field].text, &error))
        snprintf(form->refused[field], sizeof form->refused[field], "%.250s", error.text);
    else
        show_cell(form, field);
    check(form);
}

static void cycle(struct form *form, int step)
{
    char names[CHOICES_MAX][KEY_CHOICE_SIZE];
    const int count = key_choices(form->keys[form->selected], names, CHOICES_MAX);
    if (count == 0)
        return;
    int at = step > 0 ? -1 : 0;
    for (int i = 0; i < count; i++)
        if (strcmp(names[i], form->edits[form->selected].text) == 0)
            at = i;
    edit_set(&form->edits[form->selected], names[(at + step + count) % count]);
    field_changed(form, form->selected);
}

static bool has_choices(const struct profile_key *key)
{
    char names[1][KEY_CHOICE_SIZE];
    return key_choices(key, names, 1) > 0;
}

static void draw_field(const struct form *form, const struct area *box, int y, int field)
{
    const struct profile_key *key = form->keys[field];
    const bool selected = field == form->selected, chosen = selected && has_choices(key);
    area_text(box, y, 2, -1, selected ? STYLE_BOLD : STYLE_NORMAL, key->name);
    edit_draw(&form->edits[field], box, y, 18, 24, selected ? STYLE_FIELD_ON : STYLE_FIELD, selected && !chosen);
    const int x = 43, room = box->width - x - 2;
    if (form->refused[field][0])
        area_text_fit(box, y, x, room, STYLE_BAD, form->refused[field]);
    else if (selected)
        area_text_fit(box, y, x, room, STYLE_DIM, chosen ? "← → choose" : key->help);
}

static void form_draw(struct app *app, struct modal *modal, const struct area *screen)
{
    struct form *form = (struct form *)modal;
    (void)app;
    const int width = screen->width < 100 ? screen->width : 100;
    const int height = screen->height < form->count + 6 ? screen->height : form->count + 6;
    const struct area box =
        area_part(screen, (screen->height - height) / 2, (screen->width - width) / 2, height, width);
    area_box(&box, "New run");
    const int page = box.height - 5;
    if (form->selected < form->top)
        form->top = form->selected;
    if (form->selected >= form->top + page)
        form->top = form->selected - page + 1;
    if (form->top + page > form->count)
        form->top = form->count > page ? form->count - page : 0;
    for (int row = 0; row < page && form->top + row < form->count; row++)
        draw_field(form, &box, 1 + row, form->top + row);
    const int foot = box.height - 4;
    char parameters[FORMAT_SIZE];
    if (form->refused[form->selected][0])
        area_text_fit(&box, foot, 2, box.width - 4, STYLE_BAD, form->refused[form->selected]);
    else if (form->problem[0])
        area_text_fit(&box, foot, 2, box.width - 4, STYLE_BAD, form->problem);
    else if (form->warning[0])
        area_text_fit(&box, foot, 2, box.width - 4, STYLE_WARN, form->warning);
    else
        area_printf(&box, foot, 2, STYLE_DIM, "%s parameters",
                    format_rate(parameters, (double)model_parameter_count(&form->cell.model)));
    area_text_fit(&box, box.height - 2, 2, box.width - 4, STYLE_KEY,
                  form->top + page < form->count ? "Enter starts  Esc leaves  Tab next  (more fields below)"
                                                 : "Enter starts   Esc leaves   Tab ↑ ↓ next field   ← → choose");
}

static void start(struct app *app, struct form *form)
{
    for (int i = 0; i < form->count; i++)
        if (form->refused[i][0]) {
            form->selected = i;
            return;
        }
    if (form->problem[0])
        return;
    const struct cell cell = form->cell;
    modal_close(app);
    action_run_cell(app, &cell);
}

static void form_key(struct app *app, struct modal *modal, int key)
{
    struct form *form = (struct form *)modal;
    switch (key) {
    case KEY_CODE_ESCAPE:
        modal_close(app);
        return;
    case KEY_CODE_ENTER:
        start(app, form);
        return;
    case KEY_CODE_UP:
    case KEY_CODE_BACKTAB:
        form->selected = (form->selected + form->count - 1) % form->count;
        form->touched = false;
        return;
    case KEY_CODE_DOWN:
    case KEY_CODE_TAB:
        form->selected = (form->selected + 1) % form->count;
        form->touched = false;
        return;
    case KEY_CODE_LEFT:
    case KEY_CODE_RIGHT:
    case ' ':
        if (has_choices(form->keys[form->selected])) {
            cycle(form, key == KEY_CODE_LEFT ? -1 : 1);
            return;
        }
        break;
    default:
        break;
    }
    const size_t before = strlen(form->edits[form->selected].text);
    char text[sizeof form->edits->text];
    snprintf(text, sizeof text, "%s", form->edits[form->selected].text);
    if (!form->touched && key > ' ' && key < KEY_CODE_UP && key != 127)
        edit_set(&form->edits[form->selected], "");
    form->touched = true;
    if (edit_key(&form->edits[form->selected], key) &&
        (before != strlen(form->edits[form->selected].text) || strcmp(text, form->edits[form->selected].text) != 0))
        field_changed(form, form->selected);
}

static void form_release(struct modal *modal)
{
    free(modal);
}

struct modal *form_create(const struct cell *cell, const char *key)
{
    static const struct modal_ops ops = {form_draw, form_key, form_release};
    struct form *form = calloc(1, sizeof *form);
    if (!form)
        abort();
    form->modal.ops = &ops;
    form->cell = *cell;
    int keys;
    const struct profile_key *all = profile_keys(&keys);
    for (int i = 0; i < keys && form->count < FIELDS_MAX; i++)
        if (all[i].width && all[i].sections & (SECTION_MATRIX | SECTION_MEASURE | SECTION_PROFILE))
            form->keys[form->count++] = &all[i];
    for (int i = 0; key && i < form->count; i++)
        if (strcmp(form->keys[i]->name, key) == 0)
            form->selected = i;
    show_cell(form, -1);
    check(form);
    return &form->modal;
}
