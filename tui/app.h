/* The state of the screen: which view of which run, what was asked, what is on top of it. Views draw from the report
 * document; nothing here measures anything. */
#pragma once
#include "tui/canvas.h"
#include "tui/config.h"
#include "tui/devices.h"
#include "tui/edit.h"
#include "tui/keys.h"
#include "tui/live.h"
#include "tui/modal.h"
#include "tui/rows.h"
#include "tui/table.h"
#include "tui/terminal.h"
#include "tui/tui.h"

#define LEAST_HEIGHT 12
#define LEAST_WIDTH 60
#define NO_RUN UINT32_MAX
#define NO_PASS (-1)
#define NO_SCOPE (-1)

struct focus {
    uint32_t run;            /* NO_RUN: what the screen follows */
    int pass;                /* NO_PASS: the most complete one that the run has */
    int32_t scope;           /* only kernels within this layer; NO_SCOPE: all */
    uint64_t kernel;         /* kernel_id; 0: the one with most time */
    bool compare;            /* kernels beside those of the baseline */
    enum grouping grouping;  /* of the kernels */
    struct kernel_part part; /* only these kernels */
};

struct crumb {
    enum view_id view;
    struct focus focus;
    uint64_t selected;
};

struct app;

struct view_ops {
    const char *name;
    size_t state_size;
    void (*init)(struct app *app, void *state);
    void (*release)(void *state);
    /* Makes what is shown of the document anew. A view keeps pointers into the document from one update to the next, and is
     * updated before anything else is asked of it once the document has changed (app_sync). */
    void (*update)(struct app *app, void *state);
    void (*draw)(struct app *app, void *state, const struct area *area);
    /* The right end of the breadcrumb's line: what is shown of how much, sorted how. */
    void (*status)(const struct app *app, const void *state, char *text, size_t size);
    bool (*command)(struct app *app, void *state, enum command command); /* false: not this view's */
    struct table *(*table)(void *state); /* NULL when the view has none; its context is the state */
    bool (*click)(struct app *app, void *state, int y, int x); /* on a plot; optional */
    uint64_t (*kernel)(const void *state); /* kernel_id of what the cursor is on, 0: no kernel; optional */
};

enum prompt_kind { PROMPT_NONE, PROMPT_SEARCH, PROMPT_FILTER, PROMPT_THRESHOLD, PROMPT_EXPORT };
struct prompt {
    enum prompt_kind kind;
    bool untouched; /* what is typed takes the place of the text that was offered */
    struct edit edit;
    char before[512]; /* the text that Esc brings back; for an export the file that a second Enter replaces */
};

#define FOOTER_MAX 40
struct footer_key {
    int x, end;
    enum command command;
    int code; /* what is on top gets this key; 0: a command of the view */
};

struct app {
    const struct tui_options *options;
    struct session *session; /* to start and stop runs; NULL: an old report */
    struct live live;        /* what is shown beside the document */
    struct report *report;
    struct terminal *terminal;
    struct config config;
    enum view_id view;
    struct focus focus;
    struct crumb crumbs[16];
    int crumb_count;
    void *states[VIEW_COUNT];
    struct modal *modal; /* on top of everything; NULL */
    struct devices_query devices;
    struct modal *devices_modal; /* waits for their answer; NULL: it was closed */
    struct prompt prompt;
    char none[480]; /* why a view is empty, of the last one that was drawn */
    char message[320];
    enum style message_style;
    uint64_t message_until;
    uint64_t now; /* of this frame, ns */
    bool follow, quit, dirty;
    bool pending;            /* a later frame has more to show although nothing changes meanwhile */
    enum view_id drawn_view; /* of the frame before */
    uint32_t drawn_run;
    bool resync;                     /* the document must follow the session at once: what it points to goes away */
    uint64_t generation[VIEW_COUNT]; /* of the document that a view was updated with */
    uint32_t baseline;               /* run id; NO_RUN */
    uint32_t end_asked;              /* run that x was pressed for once; 0 */
    uint64_t end_asked_at;
    double frame_share;  /* of one core that the front process took lately; NaN at first */
    double load_average; /* of the last minute, now; NaN where not known */
    int interrupts;      /* ^C so far */
    uint64_t last_click;
    int last_click_y;
    int tab_x[VIEW_COUNT], tab_end[VIEW_COUNT], tab_y;
    struct footer_key footer[FOOTER_MAX]; /* as it was drawn, for the mouse */
    int footer_count, footer_y;
};

#define VIEW_DECLARATION(id, name) extern const struct view_ops name##_view;
VIEWS(VIEW_DECLARATION)
const struct view_ops *view_ops(enum view_id view);
struct table *view_table(const struct app *app, enum view_id view); /* NULL: it shows none now */
/* What the Layers view shows when it is opened next: each block by itself, with the kernel selected; all blocks as one, with
 * the module ("layers.*.ffn") selected. */
void layers_show_kernel(struct app *app, const struct report_cell *cell, int32_t kernel);
void layers_show_module(struct app *app, const char *path);

void app_init(struct app *app, const struct tui_options *options, struct terminal *terminal);
void app_release(struct app *app);

/* The cell that the screen is about, or NULL: there is none yet. */
const struct report_cell *app_cell(const struct app *app);
const struct report_cell *app_find_cell(const struct app *app, uint32_t run);
int app_pass(const struct app *app, const struct report_cell *cell); /* NO_PASS when the cell has none */

/* "eager" or "compile": what ran once that is settled, before it what was asked for. */
const char *cell_mode(const struct report_cell *cell);
/* "2 × bucket 25 MB", "4 × all_reduce 100 MB bf16": what tells runs of several ranks apart; empty for one. Returns `text`. */
const char *cell_ranks(const struct report_cell *cell, char *text, size_t size);
/* The phase that is shown alone, or −1: all. */
int app_phase(const struct app *app);
void app_next_phase(struct app *app);

void app_key(struct app *app, int key, const struct mouse *mouse);
void app_command(struct app *app, enum command command, int key);
/* Brings the view that is shown up to date when the document has changed behind it: before keys act on it. */
void app_sync(struct app *app);
/* Why there is nothing to show of a cell yet, or for ever, and then how the run ended. Valid until the next call. */
const char *cell_has_none(struct app *app, const struct report_cell *cell, const char *what);
/* Leaves a crumb and goes to a view. */
void app_open(struct app *app, enum view_id view, const struct focus *focus);
/* The kernels one by one of a layer, or of a group of kernels. */
void app_open_layer(struct app *app, const struct report_cell *cell, int pass, int32_t scope);
void app_open_module(struct app *app, const struct report_cell *cell, int pass, const char *path);
void app_open_group(struct app *app, const struct report_cell *cell, int pass, enum grouping grouping, int32_t group);
bool app_back(struct app *app);
void app_switch(struct app *app, enum view_id view);
/* A new table's columns and order as they were kept; the order kept for next time, of a screen with runs of its own; all settings
 * written. */
void app_configure_table(const struct app *app, struct table *table);
void app_keep_order(struct app *app, const struct table *table);
/* How a view shows things (its group, mode, split or colours) is kept for next time, too, of a screen with runs of its own. */
void app_keep_choice(struct app *app, enum view_id view, int choice);
int app_kept_choice(const struct app *app, enum view_id view, int count); /* 0 … count − 1 */
void app_save_config(struct app *app);
void app_message(struct app *app, enum style style, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The whole frame. */
void app_draw(struct app *app, struct canvas *canvas);

/* Things done to runs and files (actions.c). */
void action_run_cell(struct app *app, const struct cell *cell);
void action_command(struct app *app, enum command command); /* new, rerun, stop, forever, baseline … */
void action_export(struct app *app, const char *path);
void action_copy(struct app *app);

/* Prompts in the last line (prompt.c). */
void prompt_open(struct app *app, enum prompt_kind kind);
void prompt_key(struct app *app, int key);
void prompt_draw(const struct app *app, const struct area *area);
