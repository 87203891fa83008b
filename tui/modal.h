/* What lies on top of the views until it is closed: the help page, forms and pickers. */
#pragma once
#include "tui/canvas.h"

struct app;
struct modal;
struct cell;

/* A key of what lies on top, for the footer: it is shown, and a click on it is the key. */
struct modal_key {
    const char *name, *label;
    int code;
};

struct modal_ops {
    void (*draw)(struct app *app, struct modal *modal, const struct area *screen);
    void (*key)(struct app *app, struct modal *modal, int key); /* may close it: modal_close */
    void (*release)(struct modal *modal);
    const struct modal_key *keys;                      /* ends with a name of NULL */
    void (*paste)(struct modal *modal, int character); /* into its field; NULL: it has none */
};
struct modal {
    const struct modal_ops *ops;
}; /* first member of each kind */

void modal_open(struct app *app, struct modal *modal); /* takes it over */
void modal_close(struct app *app);

struct modal *help_create(const struct app *app);
/* The new-run form, filled from `cell`; the cursor is in the field of that key, NULL: the first. */
struct modal *form_create(const struct cell *cell, const char *key);

/* A list to choose from. Choosing calls back and closes, unless the callback says to stay. */
struct picker_item {
    char *label, *detail; /* detail: shown below the list, wrapped */
    char *value;          /* what choosing it is about: a path, a device's name; NULL */
    bool enabled;
    int mark; /* −1 none, 0 empty box, 1 ticked box */
};
typedef bool picker_choose(struct app *app, struct modal *modal, int index, int key); /* true: stay open */
struct modal *picker_create(const char *title, const char *hint, picker_choose *choose);
void picker_add(struct modal *modal, const char *label, const char *detail, bool enabled, int mark);
void picker_label(struct modal *modal, int index, const char *label); /* another one */
void picker_set_value(struct modal *modal, const char *value);        /* of the item that was added last */
void picker_select(struct modal *modal, int index);
struct picker_item *picker_item(struct modal *modal, int index);

void pick_profile(struct app *app);
void pick_device(struct app *app);
void pick_device_step(struct app *app); /* while app->devices is asked: takes what the child answered */
void pick_sort(struct app *app);
void pick_setup(struct app *app);
struct report_cell;
void pick_facts(struct app *app, const struct report_cell *cell); /* all that is noted of a run */
