/* The pickers: sort column, setup, run profile, device. */
#include "report/queue.h"
#include "tui/app.h"
#include "tui/devices.h"
#include "tui/format.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool choose_sort(struct app *app, struct modal *modal, int index, int key)
{
    struct table *table = view_table(app, app->view);
    (void)modal;
    if (key != KEY_CODE_ENTER && key != ' ')
        return true;
    table_sort_by(table, index);
    app_keep_order(app, table);
    return false;
}

void pick_sort(struct app *app)
{
    struct table *table = view_table(app, app->view);
    if (!table || table->ops->order == ORDER_OWN)
        return;
    struct modal *modal = picker_create("Sort by", "Enter sorts by it  Esc leaves", choose_sort);
    for (int i = 0; i < table->ops->column_count; i++)
        picker_add(modal, table->ops->columns[i].title, table->ops->columns[i].help, true, -1);
    picker_select(modal, table->sort);
    modal_open(app, modal);
}

/* The setup page: theme, plots, mouse, then the columns of the table that is shown. */
enum { SETUP_PLOTS = THEME_COUNT, SETUP_MOUSE, SETUP_REFRESH, SETUP_COLUMNS };
static const int refreshes[] = {100, 200, 500, 1000, 2000, 5000};

/* What is in force, whether it was kept, asked for on the command line or is all that this terminal can do. */
static void mark_setup(struct app *app, struct modal *modal)
{
    const struct table *table = view_table(app, app->view);
    const int theme = terminal_theme(app->terminal);
    for (int i = 0; i < THEME_COUNT; i++)
        picker_item(modal, i)->mark = i == theme;
    picker_item(modal, SETUP_PLOTS)->mark = app->config.braille && !terminal_is_ascii(app->terminal);
    picker_item(modal, SETUP_MOUSE)->mark = terminal_mouse(app->terminal);
    char label[64];
    snprintf(label, sizeof label, "refresh every %g s", app->config.refresh_ms / 1000.0);
    picker_label(modal, SETUP_REFRESH, label);
    for (int i = 0; table && i < table->ops->column_count; i++)
        picker_item(modal, SETUP_COLUMNS + i)->mark = (table->shown >> i & 1) != 0;
}

static bool choose_setup(struct app *app, struct modal *modal, int index, int key)
{
    struct table *table = view_table(app, app->view);
    if ((key != KEY_CODE_ENTER && key != ' ') || !picker_item(modal, index)->enabled)
        return true;
    if (index < THEME_COUNT) {
        app->config.theme = index;
        terminal_set_theme(app->terminal, index);
    } else if (index == SETUP_PLOTS) {
        app->config.braille = !app->config.braille;
    } else if (index == SETUP_MOUSE) {
        app->config.mouse = !terminal_mouse(app->terminal);
        terminal_set_mouse(app->terminal, app->config.mouse);
    } else if (index == SETUP_REFRESH) {
        const int count = sizeof refreshes / sizeof *refreshes;
        int at = 0;
        while (at < count && refreshes[at] <= app->config.refresh_ms)
            at++;
        app->config.refresh_ms = refreshes[at % count];
    } else {
        table->shown ^= 1u << (index - SETUP_COLUMNS);
        app->config.columns[table->ops->slot] = table->shown & ~table_automatic(table->ops);
    }
    mark_setup(app, modal);
    app_save_config(app);
    return true;
}

static void add_themes(const struct app *app, struct modal *modal)
{
    const bool colours = terminal_has_colours(app->terminal);
    for (int i = 0; i < THEME_COUNT; i++) {
        char label[64];
        snprintf(label, sizeof label, "theme %s", theme_names[i]);
        picker_add(modal, label,
                   !colours
                       ? "not available: NO_COLOR is set, or this terminal has no colours; --theme outweighs NO_COLOR"
                   : i == 0 ? "on the terminal's own background, for dark and light ones"
                            : "",
                   colours, 0);
    }
}

static void add_columns(const struct table *table, struct modal *modal)
{
    for (int i = 0; i < table->ops->column_count; i++) {
        const struct table_column *column = &table->ops->columns[i];
        const bool automatic = (column->flags & COLUMN_AUTOMATIC) != 0, shown = table->shown >> i & 1;
        char label[96], detail[300];
        snprintf(label, sizeof label, "column %s", column->title[0] ? column->title : column->key);
        snprintf(detail, sizeof detail, "%s%s", column->help,
                 automatic                         ? "\ncomes and goes by itself, with what there is to show in it"
                 : column->priority == 0           ? "\nalways shown: without it a row says nothing"
                 : shown && table->column_x[i] < 0 ? "\nthis window has no room for it"
                                                   : "");
        picker_add(modal, label, detail, !automatic && column->priority > 0, 0);
    }
}

void pick_setup(struct app *app)
{
    const struct table *table = view_table(app, app->view);
    const bool ascii = terminal_is_ascii(app->terminal);
    struct modal *modal = picker_create("Setup", "Space or Enter changes it, kept at once  Esc leaves", choose_setup);
    add_themes(app, modal);
    picker_add(modal, "curves in braille",
               ascii ? "not available: the screen is drawn in ASCII"
                     : "ceilings, steps, the edge of memory: finer, where the font has them",
               !ascii, 0);
    picker_add(modal, "mouse", "off leaves selecting text to the terminal", true, 0);
    picker_add(modal, "", "how often figures are drawn anew; keys are answered at once", true, -1);
    if (table)
        add_columns(table, modal);
    mark_setup(app, modal);
    modal_open(app, modal);
}

static bool choose_nothing(struct app *app, struct modal *modal, int index, int key)
{
    (void)app;
    (void)modal;
    (void)index;
    return key != KEY_CODE_ENTER;
}

void pick_facts(struct app *app, const struct report_cell *cell)
{
    char title[64];
    snprintf(title, sizeof title, "What is noted of run %u", cell->run_id);
    struct modal *modal = picker_create(title, "Esc leaves", choose_nothing);
    for (size_t i = 0; i < cell->note_count; i++)
        picker_add(modal, cell->notes[i].key, cell->notes[i].text, true, -1);
    if (!cell->note_count)
        picker_add(modal, "nothing", "this run has no notes", true, -1);
    modal_open(app, modal);
}

static bool choose_profile(struct app *app, struct modal *modal, int index, int key)
{
    struct profile profile = {0};
    struct error error = {0};
    if (key != KEY_CODE_ENTER)
        return true;
    char path[512];
    snprintf(path, sizeof path, "%s", picker_item(modal, index)->value);
    if (!app->session) {
        app_message(app, STYLE_WARN, "this is a report from a file: nothing can be run here");
        return false;
    }
    if (!profile_read(path, &profile, &error)) {
        app_message(app, STYLE_BAD, "%s", error.text);
        return false;
    }
    size_t queued;
    if (!profile_queue(&profile, app->session, NULL, &queued, &error))
        app_message(app, STYLE_BAD, "%s; %zu are queued", error.text, queued);
    else
        app_message(app, STYLE_GOOD, "%zu cells of %s queued", queued, profile.name ? profile.name : path);
    profile_free(&profile);
    app->follow = true;
    app->focus.run = NO_RUN;
    return false;
}

void pick_profile(struct app *app)
{
    struct profile_listing listings[64];
    const int count = profile_list(listings, 64);
    if (count <= 0) {
        app_message(app, STYLE_WARN, "no profile found, neither shipped nor in the user's folder");
        return;
    }
    struct modal *modal = picker_create("Run profiles", "Enter queues all its cells  Esc leaves", choose_profile);
    for (int i = 0; i < count; i++) {
        char detail[700];
        snprintf(detail, sizeof detail, "%s\n%s", listings[i].description, listings[i].path);
        picker_add(modal, listings[i].name, detail, true, -1);
        picker_set_value(modal, listings[i].path);
    }
    modal_open(app, modal);
}

/* Enter on a device opens the new-run form with it. */
static bool choose_device(struct app *app, struct modal *modal, int index, int key)
{
    const struct report_cell *cell = app_cell(app);
    struct cell fresh;
    struct error error = {0};
    if (key != KEY_CODE_ENTER)
        return true;
    if (!picker_item(modal, index)->enabled)
        return true;
    char name[64];
    snprintf(name, sizeof name, "%s", picker_item(modal, index)->value);
    if (!app->session) {
        app_message(app, STYLE_WARN, "this is a report from a file: nothing can be run here");
        return false;
    }
    if (cell)
        fresh = cell->requested;
    else
        cell_default(&fresh);
    if (!cell_set(&fresh, "device", name, &error)) {
        app_message(app, STYLE_BAD, "%s", error.text);
        return false;
    }
    modal_open(app, form_create(&fresh, NULL)); /* closes this one */
    return true;
}

/* A driver may take its time, or hang: the question goes to a child process, and the screen goes on meanwhile. */
void pick_device(struct app *app)
{
    struct error error = {0};
    if (!devices_asked(&app->devices) && !devices_start(&app->devices, &error)) {
        app_message(app, STYLE_BAD, "%s", error.text);
        return;
    }
    struct modal *modal = picker_create("Devices", "Esc leaves", choose_nothing);
    picker_add(modal, "asking the drivers; this may take some seconds", "", false, -1);
    modal_open(app, modal);
    app->devices_modal = modal;
}

static void show_devices(struct app *app, const struct device_listing *listings, int count);

void pick_device_step(struct app *app)
{
    struct device_listing listings[32];
    struct error error = {0};
    int count;
    if (!app->devices_modal) {
        devices_cancel(&app->devices); /* nobody waits for the answer any more */
        return;
    }
    if (!devices_step(&app->devices, listings, 32, &count, &error))
        return;
    app->dirty = true;
    if (count < 0) {
        modal_close(app);
        app_message(app, STYLE_BAD, "%s", error.text);
    } else {
        show_devices(app, listings, count);
    }
}

static void show_devices(struct app *app, const struct device_listing *listings, int count)
{
    struct modal *modal = picker_create("Devices", "Enter opens the new-run form with it  Esc leaves", choose_device);
    for (int i = 0; i < count; i++) {
        const struct device_listing *device = &listings[i];
        char label[192], detail[600], memory[FORMAT_SIZE], free_memory[FORMAT_SIZE];
        snprintf(label, sizeof label, "%-10.31s %.100s", device->name,
                 device->available ? device->model : "not available");
        if (device->available)
            snprintf(detail, sizeof detail, "%s, %s units, memory %s, free %s\n%s\n%s", device->architecture,
                     device->units, format_bytes(memory, device->memory_bytes),
                     format_bytes(free_memory, device->free_bytes), device->precisions, device->reason);
        else
            snprintf(detail, sizeof detail, "%s", device->reason);
        picker_add(modal, label, detail, device->available, -1);
        picker_set_value(modal, device->name);
    }
    modal_open(app, modal);
}
