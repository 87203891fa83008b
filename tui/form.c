/* The new-run form. Each value goes into the cell through the profile's own checks; what they refuse is said beside the
 * field, and nothing starts while anything is refused. */
#include "base/limits.h"
#include "base/strbuf.h"
#include "profiles/keys.h"
#include "tui/app.h"
#include "tui/form_estimate.h"
#include "tui/format.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One row a key that a cell has: the profile's table says what there is, in its order. */
#define FIELDS_MAX PROFILE_KEY_MAX
#define CHOICES_MAX 32
#define CELLS_MAX 64 /* that lists may make */

struct form {
    struct modal modal;
    struct cell cell;
    const struct profile_key *keys[FIELDS_MAX];
    int count;
    struct edit edits[FIELDS_MAX];
    char refused[FIELDS_MAX][256];
    bool listed[FIELDS_MAX]; /* "1,2,4": a run of each, of all combinations */
    char problem[512], warning[256];
    char says[FORM_LINES][FORM_LINE];
    bool stale; /* what it says */
    int selected, top;
    bool touched; /* the selected field was typed in: what is typed first takes the place of what it held */
};

/* One field may change others: a preset sets the sizes, own sizes change the model's name. */
static void show_cell(struct form *form, int but)
{
    for (int i = 0; i < form->count; i++) {
        if (i == but || form->refused[i][0] || form->listed[i])
            continue;
        struct strbuf text = {0};
        key_text(form->keys[i], &form->cell, &text);
        if (text.text && strcmp(form->edits[i].text, text.text) != 0)
            edit_set(&form->edits[i], text.text);
        strbuf_release(&text);
    }
}

static int count_parts(const char *text)
{
    int count = 1;
    for (; *text; text++)
        count += *text == ',';
    return count;
}

/* Part `index` of "a,b,c". */
static void part_of(const char *text, int index, char *part, size_t size)
{
    for (; index > 0; index--)
        text += strcspn(text, ",") + 1;
    const int length = (int)strcspn(text, ",");
    snprintf(part, size, "%.*s", length, text);
}

static int count_cells(const struct form *form)
{
    int count = 1;
    for (int i = 0; i < form->count && count <= CELLS_MAX; i++)
        count *= form->listed[i] ? count_parts(form->edits[i].text) : 1;
    return count;
}

/* One of the combinations; the last list turns fastest. */
static bool take_cell(const struct form *form, int number, struct cell *cell, struct error *error)
{
    int index[FIELDS_MAX] = {0};
    for (int i = form->count - 1; i >= 0; i--)
        if (form->listed[i]) {
            index[i] = number % count_parts(form->edits[i].text);
            number /= count_parts(form->edits[i].text);
        }
    *cell = form->cell;
    for (int i = 0; i < form->count; i++) {
        char part[sizeof form->edits->text];
        if (!form->listed[i])
            continue;
        part_of(form->edits[i].text, index[i], part, sizeof part);
        if (!cell_set(cell, form->keys[i]->name, part, error))
            return false;
    }
    return true;
}

static void check(struct form *form)
{
    struct error error = {0};
    struct cell cell;
    form->problem[0] = form->warning[0] = 0;
    form->stale = true;
    for (int i = 0; i < form->count; i++)
        if (form->refused[i][0])
            return;
    const int count = count_cells(form);
    if (count > CELLS_MAX)
        snprintf(form->problem, sizeof form->problem,
                 "these lists are more than %d runs; a profile is made for that (O)", CELLS_MAX);
    for (int i = 0; i < count && count <= CELLS_MAX && !form->problem[0]; i++)
        if (!take_cell(form, i, &cell, &error) || !cell_check(&cell, form->warning, sizeof form->warning, &error))
            snprintf(form->problem, sizeof form->problem, "%.500s", error.text);
}

/* A list is what its parts are, each as good as if it stood alone; a key that takes a list itself (passes) has one value. */
static bool take_list(struct form *form, int field, struct error *error)
{
    const char *text = form->edits[field].text;
    struct cell cell = form->cell;
    char part[sizeof form->edits->text];
    for (int i = count_parts(text) - 1; i >= 0; i--) {
        part_of(text, i, part, sizeof part);
        cell = form->cell;
        if (!cell_set(&cell, form->keys[field]->name, part, error))
            return false;
    }
    form->cell = cell;
    return true;
}

static void field_changed(struct form *form, int field)
{
    struct error error = {0}, alone = {0};
    form->refused[field][0] = 0;
    form->listed[field] = false;
    struct cell cell = form->cell;
    const bool single = cell_set(&cell, form->keys[field]->name, form->edits[field].text, &alone);
    if (single)
        form->cell = cell;
    else
        form->listed[field] = strchr(form->edits[field].text, ',') && take_list(form, field, &error);
    if (!single && !form->listed[field])
        snprintf(form->refused[field], sizeof form->refused[field], "%.250s", error.text[0] ? error.text : alone.text);
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

static void renew_estimate(const struct app *app, struct form *form)
{
    struct cell cells[CELLS_MAX];
    struct error error = {0};
    int count = 0;
    form->stale = false;
    memset(form->says, 0, sizeof form->says);
    if (form->problem[0])
        return;
    for (int i = 0; i < form->count; i++)
        if (form->refused[i][0])
            return;
    for (int i = 0; i < count_cells(form); i++)
        count += take_cell(form, i, &cells[count], &error);
    form_estimate(app->report, cells, count, form->says);
}

static void form_draw(struct app *app, struct modal *modal, const struct area *screen)
{
    struct form *form = (struct form *)modal;
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
    if (form->stale)
        renew_estimate(app, form);
    area_text_fit(&box, foot + 1, 2, box.width - 4, STYLE_DIM, form->says[1]);
    if (form->refused[form->selected][0])
        area_text_fit(&box, foot, 2, box.width - 4, STYLE_BAD, form->refused[form->selected]);
    else if (form->problem[0])
        area_text_fit(&box, foot, 2, box.width - 4, STYLE_BAD, form->problem);
    else if (form->warning[0])
        area_text_fit(&box, foot, 2, box.width - 4, STYLE_WARN, form->warning);
    else
        area_text_fit(&box, foot, 2, box.width - 4, STYLE_DIM, form->says[0]);
    area_text_fit(&box, box.height - 2, 2, box.width - 4, STYLE_KEY,
                  form->top + page < form->count
                      ? "Enter starts  Esc leaves  Tab next  (more fields below)"
                      : "Enter starts   Esc leaves   Tab ↑ ↓ next field   ← → choose   1,2,4: a run of each");
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
    struct cell cells[CELLS_MAX];
    struct error error = {0};
    int count = 0;
    for (int i = 0; i < count_cells(form); i++)
        count += take_cell(form, i, &cells[count], &error);
    modal_close(app);
    for (int i = 0; i < count; i++)
        action_run_cell(app, &cells[i]);
    if (count > 1)
        app_message(app, STYLE_GOOD, "%d runs queued", count);
}

/* Into the selected field: a letter begins anew. */
static void type(struct form *form, int key)
{
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
    type(form, key);
}

static void form_paste(struct modal *modal, int character)
{
    struct form *form = (struct form *)modal;
    if (character != ' ' || !has_choices(form->keys[form->selected]))
        type(form, character);
}

static void form_release(struct modal *modal)
{
    free(modal);
}

struct modal *form_create(const struct cell *cell, const char *key)
{
    static const struct modal_key form_keys[] = {{"Enter", "Start", KEY_CODE_ENTER},
                                                 {"Esc", "Leave", KEY_CODE_ESCAPE},
                                                 {"Tab", "Next field", KEY_CODE_TAB},
                                                 {"BackTab", "Field before", KEY_CODE_BACKTAB},
                                                 {0}};
    static const struct modal_ops ops = {form_draw, form_key, form_release, form_keys, form_paste};
    struct form *form = calloc(1, sizeof *form);
    if (!form)
        memory_exhausted(1, "form");
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
