#include "tui/app.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/unknown.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct view_ops *view_ops(enum view_id view)
{
#define VIEW_ROW(id, name) &name##_view,
    static const struct view_ops *const views[VIEW_COUNT] = {VIEWS(VIEW_ROW)};
    return views[view];
}

struct table *view_table(const struct app *app, enum view_id view)
{
    return view_ops(view)->table ? view_ops(view)->table(app->states[view]) : NULL;
}

void app_configure_table(const struct app *app, struct table *table)
{
    const int slot = table->ops->slot, sort = app->config.sort[slot];
    if (app->config.columns[slot])
        table->shown = app->config.columns[slot] & ((1u << table->ops->column_count) - 1);
    if (table->ops->order != ORDER_OWN && sort >= 0 && sort < table->ops->column_count) {
        table->sort = sort;
        table->ascending = app->config.ascending[slot];
    }
}

void app_save_config(struct app *app)
{
    struct error error = {0};
    if (!config_save(&app->config, &error))
        app_message(app, STYLE_WARN, "not kept for next time: %s", error.text);
}

int app_kept_choice(const struct app *app, enum view_id view, int count)
{
    return app->session && app->config.choice[view] < count ? app->config.choice[view] : 0;
}

void app_keep_choice(struct app *app, enum view_id view, int choice)
{
    /* As with an order: what somebody did in a file is no wish for the next run. */
    if (!app->session || app->config.choice[view] == choice)
        return;
    app->config.choice[view] = choice;
    app_save_config(app);
}

void app_keep_order(struct app *app, const struct table *table)
{
    const int slot = table->ops->slot;
    /* Somebody looked at a file in an order of theirs: the next run has nothing to do with that. */
    if (!app->session)
        return;
    if (app->config.sort[slot] == table->sort && app->config.ascending[slot] == table->ascending)
        return;
    app->config.sort[slot] = table->sort;
    app->config.ascending[slot] = table->ascending;
    app_save_config(app);
}

void app_init(struct app *app, const struct tui_options *options, struct terminal *terminal)
{
    *app = (struct app){
        .options = options,
        .session = options->session,
        .live = {.session = options->session},
        .report = options->report,
        .terminal = terminal,
        .focus = {.run = NO_RUN, .pass = NO_PASS, .scope = NO_SCOPE},
        .baseline = NO_RUN,
        .follow = options->session != NULL,
        .frame_share = UNKNOWN_DOUBLE,
        .load_average = UNKNOWN_DOUBLE,
        .now = clock_now(),
    };
    struct error error = {0};
    config_load(&app->config, &error);
    app->focus.grouping = (enum grouping)app_kept_choice(app, VIEW_KERNELS, GROUPING_COUNT);
    for (int view = 0; view < VIEW_COUNT; view++) {
        app->states[view] = calloc(1, view_ops((enum view_id)view)->state_size);
        if (!app->states[view])
            memory_exhausted(1, "screen");
        view_ops((enum view_id)view)->init(app, app->states[view]);
        app->generation[view] = UINT64_MAX;
    }
    /* Several files beside each other are there to be compared: the first run of the first. */
    if (app->report->cells.count && app->report->cells.items[0]->source)
        app->baseline = app->report->cells.items[0]->run_id;
    if (error.kind)
        app_message(app, STYLE_WARN, "%s", error.text);
}

void app_release(struct app *app)
{
    if (app->modal)
        modal_close(app);
    devices_cancel(&app->devices);
    for (int view = 0; view < VIEW_COUNT; view++) {
        if (view_ops((enum view_id)view)->release)
            view_ops((enum view_id)view)->release(app->states[view]);
        free(app->states[view]);
    }
    live_thaw(&app->live);
}

const struct report_cell *app_find_cell(const struct app *app, uint32_t run)
{
    for (size_t i = 0; i < app->report->cells.count; i++)
        if (app->report->cells.items[i]->run_id == run)
            return app->report->cells.items[i];
    return NULL;
}

/* What the screen follows: the cell that runs, else the last that has something to show, else the first. */
static const struct report_cell *followed(const struct app *app)
{
    const struct report_cell *best = NULL;
    for (size_t i = 0; i < app->report->cells.count; i++) {
        const struct report_cell *cell = app->report->cells.items[i];
        if (cell->status == STATUS_RUNNING)
            return cell;
        if (!best || (app->session && cell->status != STATUS_PENDING))
            best = cell;
    }
    return best;
}

const struct report_cell *app_cell(const struct app *app)
{
    const struct report_cell *cell = app->focus.run == NO_RUN ? NULL : app_find_cell(app, app->focus.run);
    return cell ? cell : followed(app);
}

const char *cell_mode(const struct report_cell *cell)
{
    const bool settled =
        cell->status == STATUS_OK || cell->status == STATUS_UNRELIABLE || cell->status == STATUS_INTERRUPTED;
    return (settled ? cell->effective_compile : cell->requested.compile) ? "compile" : "eager";
}

const char *cell_ranks(const struct report_cell *cell, char *text, size_t size)
{
    const struct cell *c = &cell->requested;
    const bool alone = c->collective != COLLECTIVE_NONE, buckets = alone || parallel_has_buckets(c->parallel);
    int used = 0;
    text[0] = 0;
    if (c->command[0] || c->ranks < 2)
        return text;
    used = snprintf(text, size, "%d × %s", (int)c->ranks,
                    alone ? collective_name(c->collective) : parallel_name(c->parallel));
    if (buckets && used > 0 && (size_t)used < size)
        used += snprintf(text + used, size - (size_t)used, " %d MB", (int)c->bucket_mb);
    if (c->gradient_dtype == GRADIENTS_BF16 && used > 0 && (size_t)used < size)
        snprintf(text + used, size - (size_t)used, " bf16");
    return text;
}

int app_pass(const struct app *app, const struct report_cell *cell)
{
    if (!cell)
        return NO_PASS;
    if (app->focus.pass != NO_PASS && cell->passes[app->focus.pass].present)
        return app->focus.pass;
    /* The most complete pass that has kernels already; while there are none, the most complete one. */
    int most = NO_PASS, with_kernels = NO_PASS, counted = NO_PASS;
    for (int pass = 0; pass < PASS_COUNT; pass++) {
        if (!cell->passes[pass].present)
            continue;
        most = pass;
        if (!kernel_any(cell, pass))
            continue;
        with_kernels = pass;
        if (!cell->passes[pass].warmup_rows)
            counted = pass;
    }
    /* What a command turns out to take may be another pass than its warm-up was booked as, which gets no more. */
    if (cell->requested.command[0] && counted != NO_PASS)
        return counted;
    /* While the cell runs it is the pass that the newest launch is of. An endless run's passes take turns: it does not go back to
     * one less complete, or the tables would change all the time. */
    const int newest = live_newest_pass(&app->live, cell);
    if (newest != NO_PASS && newest < PASS_COUNT && cell->passes[newest].present)
        return newest > with_kernels ? newest : with_kernels;
    return with_kernels != NO_PASS ? with_kernels : most;
}

void app_message(struct app *app, enum style style, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(app->message, sizeof app->message, format, list);
    va_end(list);
    app->message_style = style;
    app->message_until = clock_now() + (style == STYLE_BAD ? 8000000000u : 4000000000u);
    app->dirty = true;
}

const char *cell_has_none(struct app *app, const struct report_cell *cell, const char *what)
{
    static const char *const words[] = {"kernels", "layers", "launches", "memory", "points"};
    static const char *const running[] = {
        "no kernel yet: the first ones come with the warm-up", "the layers come with the plan, when the run has begun",
        "no launch to show: the first profiled step comes after the warm-up",
        "the memory comes with the plan, when the run has begun", "no kernel with modelled FLOPs and bytes yet"};
    static const char *const never[] = {
        "this run ended before it had a kernel", "this run ended before it had a plan: it has no layers",
        "this run ended before a step was profiled: it has no launches",
        "this run ended before it had a plan of its memory", "this run has no kernel with modelled FLOPs and bytes"};
    if (!cell)
        return app->session ? "no run yet: n starts one" : "this report holds no run";
    if (cell->status == STATUS_PENDING)
        return "this run waits for those before it";
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(words[i], what) != 0)
            continue;
        if (cell->status == STATUS_RUNNING)
            return running[i];
        if (cell->status == STATUS_OK)
            return never[i];
        const bool reason = cell->reason && cell->reason[0];
        snprintf(app->none, sizeof app->none, "%s (%s%s%s)", never[i], status_name(cell->status), reason ? ": " : "",
                 reason ? cell->reason : "");
        return app->none;
    }
    return "";
}

void app_sync(struct app *app)
{
    const struct view_ops *ops = view_ops(app->view);
    if (app->generation[app->view] == app->report->generation)
        return;
    app->generation[app->view] = app->report->generation;
    if (ops->update)
        ops->update(app, app->states[app->view]);
}

static uint64_t selected_id(const struct app *app, enum view_id view)
{
    const struct table *table = view_table(app, view);
    return table && table->items.count ? table->selected : 0;
}

void app_open(struct app *app, enum view_id view, const struct focus *focus)
{
    const int most = sizeof app->crumbs / sizeof *app->crumbs;
    if (app->crumb_count == most) {
        memmove(app->crumbs, app->crumbs + 1, (size_t)(most - 1) * sizeof *app->crumbs);
        app->crumb_count--;
    }
    app->crumbs[app->crumb_count++] = (struct crumb){app->view, app->focus, selected_id(app, app->view)};
    app->focus = *focus;
    app->view = view;
    app->generation[view] = UINT64_MAX;
    if (view_table(app, view))
        table_restart(view_table(app, view));
}

bool app_back(struct app *app)
{
    if (app->crumb_count == 0)
        return false;
    const struct crumb crumb = app->crumbs[--app->crumb_count];
    app->view = crumb.view;
    app->focus = crumb.focus;
    app->generation[crumb.view] = UINT64_MAX;
    struct table *table = view_table(app, crumb.view);
    if (table && crumb.selected)
        table_select(table, crumb.selected);
    return true;
}

void app_open_layer(struct app *app, const struct report_cell *cell, int pass, int32_t scope)
{
    const struct focus focus = {.run = cell->run_id, .pass = pass, .scope = scope, .compare = app->focus.compare};
    app->follow = false;
    app_open(app, VIEW_KERNELS, &focus);
}

void app_open_module(struct app *app, const struct report_cell *cell, int pass, const char *path)
{
    struct modules modules = {0};
    modules_tree(&modules, cell);
    for (size_t i = 0; i < modules.layer_count; i++)
        if (strcmp(modules.layers[i].path, path) == 0)
            app_open_group(app, cell, pass, GROUP_MODULE, (int32_t)i);
    modules_release(&modules);
}

void app_open_group(struct app *app, const struct report_cell *cell, int pass, enum grouping grouping, int32_t group)
{
    struct focus focus = app->focus;
    focus.run = cell->run_id;
    focus.pass = pass;
    focus.grouping = GROUP_KERNEL;
    focus.part.chosen[grouping] = true;
    focus.part.value[grouping] = group;
    app->follow = false;
    app_open(app, VIEW_KERNELS, &focus);
}

/* Going to a view by its number keeps the run and shows all of it; the way back is to the list of runs. */
void app_switch(struct app *app, enum view_id view)
{
    const struct report_cell *cell = app_cell(app);
    /* The kernel that the cursor is on is the one that its histogram is of, as Enter has it. */
    const struct view_ops *from = view_ops(app->view);
    const uint64_t kernel = view == VIEW_HISTOGRAM && from->kernel ? from->kernel(app->states[app->view]) : 0;
    if (kernel)
        app->focus.kernel = kernel;
    struct focus whole = app->focus;
    whole.scope = NO_SCOPE;
    whole.part = (struct kernel_part){0};
    app->crumb_count = 0;
    if (view == VIEW_KERNELS || view == VIEW_LAYERS || view == VIEW_ROOFLINE)
        app->focus = whole;
    if (view != VIEW_RUNS)
        app->crumbs[app->crumb_count++] = (struct crumb){VIEW_RUNS, whole, cell ? (uint64_t)cell->run_id + 1 : 0};
    app->view = view;
    app->generation[view] = UINT64_MAX;
    if (view_table(app, view))
        table_restart(view_table(app, view));
    if (view == VIEW_RUNS && cell && !app->follow)
        table_select(view_table(app, view), (uint64_t)cell->run_id + 1);
}

static void next_pass(struct app *app)
{
    const struct report_cell *cell = app_cell(app);
    const int now = app_pass(app, cell);
    for (int i = 1; now != NO_PASS && i <= PASS_COUNT; i++) {
        const int pass = (now + i) % PASS_COUNT;
        if (cell->passes[pass].present) {
            app->focus.pass = pass;
            app->focus.kernel = 0; /* kernels of another pass are other rows */
            if (pass == now)
                app_message(app, STYLE_NORMAL, "this run has one pass only: %s", pass_name((enum pass)pass));
            return;
        }
    }
}

int app_phase(const struct app *app)
{
    return app->focus.part.chosen[GROUP_PHASE] ? app->focus.part.value[GROUP_PHASE] : -1;
}

/* Backward first: it is what is asked for most. Phases in which nothing ran are left out. */
void app_next_phase(struct app *app)
{
    static const enum phase order[] = {PHASE_BWD, PHASE_FWD, PHASE_OPT, PHASE_LOSS, PHASE_RECOMPUTE, PHASE_NONE};
    const int count = sizeof order / sizeof *order, now = app_phase(app);
    const struct report_cell *cell = app_cell(app);
    const int pass = app_pass(app, cell);
    bool ran[PLACE_PHASE_COUNT] = {false};
    int at = -1;
    for (size_t i = 0; cell && i < cell->kernel_count; i++)
        ran[cell->kernels[i].phase] |= cell->kernels[i].pass == pass && cell->kernels[i].calls > 0;
    for (int i = 0; i < count; i++)
        if (now == (int)order[i])
            at = i;
    for (at++; at < count && !ran[order[at]];)
        at++;
    app->focus.part.chosen[GROUP_PHASE] = at < count;
    app->focus.part.value[GROUP_PHASE] = at < count ? (int32_t)order[at] : 0;
    app_message(app, STYLE_NORMAL, at < count ? "only %s; f goes on" : "%s phases",
                at < count ? phase_name(order[at]) : "all");
}

/* One step back: a search or filter goes first, then the way through the views. Never out of the program. */
static void escape(struct app *app, int key)
{
    struct table *table = view_table(app, app->view);
    if (table && key == KEY_CODE_ESCAPE && (table->search[0] || table->filter[0])) {
        app_message(app, STYLE_NORMAL, table->search[0] ? "search for '%s' ends" : "filter '%s' ends",
                    table->search[0] ? table->search : table->filter);
        if (table->search[0])
            table->search[0] = 0;
        else
            table->filter[0] = 0;
    } else if (!app_back(app)) {
        app_message(app, STYLE_DIM, "this is the top; q quits");
    }
}

static void toggle_pause(struct app *app)
{
    if (!app->session) {
        app_message(app, STYLE_DIM, "nothing is running: this is a report from a file");
        return;
    }
    if (app->live.frozen) {
        live_thaw(&app->live);
        return;
    }
    report_update(app->report, app->session); /* the document and what is behind it are of one moment */
    live_freeze(&app->live, app->report);
}

static void search_step(struct app *app, int step)
{
    struct table *table = view_table(app, app->view);
    if (table && table->search[0] && !table_find(table, app->states[app->view], step, false))
        app_message(app, STYLE_WARN, "no row contains '%s'", table->search);
}

static void toggle_follow(struct app *app)
{
    app->follow = !app->follow;
    if (app->follow)
        app->focus =
            (struct focus){.run = NO_RUN, .pass = app->focus.pass, .scope = NO_SCOPE, .grouping = app->focus.grouping};
    else if (app_cell(app))
        app->focus.run = app_cell(app)->run_id;
    app_message(app, STYLE_NORMAL, app->follow ? "following the newest" : "staying here");
}

static bool common_command(struct app *app, enum command command, int key)
{
    switch (command) {
    case COMMAND_QUIT:
        app->quit = true;
        return true;
    case COMMAND_VIEW:
        app_switch(app, (enum view_id)(key - '1'));
        return true;
    case COMMAND_NEXT_VIEW:
        app_switch(app, (enum view_id)((app->view + 1) % VIEW_COUNT));
        return true;
    case COMMAND_PREVIOUS_VIEW:
        app_switch(app, (enum view_id)((app->view + VIEW_COUNT - 1) % VIEW_COUNT));
        return true;
    case COMMAND_BACK:
        escape(app, key);
        return true;
    case COMMAND_HELP:
        modal_open(app, help_create(app));
        return true;
    case COMMAND_REDRAW:
        terminal_redraw(app->terminal);
        return true;
    case COMMAND_SUSPEND:
        terminal_suspend(app->terminal);
        return true;
    case COMMAND_PASS:
        next_pass(app);
        return true;
    case COMMAND_PHASE:
        app_next_phase(app);
        return true;
    case COMMAND_FOLLOW:
        toggle_follow(app);
        return true;
    case COMMAND_PAUSE:
        toggle_pause(app);
        return true;
    case COMMAND_SEARCH:
        prompt_open(app, PROMPT_SEARCH);
        return true;
    case COMMAND_FILTER:
        prompt_open(app, PROMPT_FILTER);
        return true;
    case COMMAND_THRESHOLD:
        prompt_open(app, PROMPT_THRESHOLD);
        return true;
    case COMMAND_EXPORT:
        prompt_open(app, PROMPT_EXPORT);
        return true;
    case COMMAND_SEARCH_PREVIOUS:
        search_step(app, -1);
        return true;
    case COMMAND_SETUP:
        pick_setup(app);
        return true;
    case COMMAND_SORT_PICK:
        pick_sort(app);
        return true;
    case COMMAND_PROFILES:
        pick_profile(app);
        return true;
    case COMMAND_DEVICES:
        pick_device(app);
        return true;
    case COMMAND_COPY:
        action_copy(app);
        return true;
    default:
        return false;
    }
}

void app_command(struct app *app, enum command command, int key)
{
    app_sync(app);
    struct table *table = view_table(app, app->view);
    if (command == COMMAND_NEW && key == 'n' && table && table->search[0]) {
        search_step(app, 1);
        return;
    }
    app->dirty = true;
    if (view_ops(app->view)->command && view_ops(app->view)->command(app, app->states[app->view], command))
        return;
    if (common_command(app, command, key))
        return;
    if (table && table_command(table, command, app->now)) {
        if (command == COMMAND_SORT_LEFT || command == COMMAND_SORT_RIGHT || command == COMMAND_INVERT)
            app_keep_order(app, table);
        return;
    }
    action_command(app, command);
}

static const struct footer_key *footer_hit(const struct app *app, const struct mouse *mouse)
{
    for (int i = 0; mouse->y == app->footer_y && i < app->footer_count; i++)
        if (mouse->x >= app->footer[i].x && mouse->x < app->footer[i].end)
            return &app->footer[i];
    return NULL;
}

static void mouse_command(struct app *app, const struct mouse *mouse)
{
    struct table *table = view_table(app, app->view);
    if (mouse->action == MOUSE_WHEEL_UP || mouse->action == MOUSE_WHEEL_DOWN) {
        for (int i = 0; i < 3; i++)
            app_command(app, mouse->action == MOUSE_WHEEL_UP ? COMMAND_UP : COMMAND_DOWN, 0);
        return;
    }
    for (int view = 0; mouse->y == app->tab_y && view < VIEW_COUNT; view++)
        if (app->tab_x[view] >= 0 && mouse->x >= app->tab_x[view] && mouse->x < app->tab_end[view]) {
            app_switch(app, (enum view_id)view);
            return;
        }
    if (footer_hit(app, mouse)) {
        app_command(app, footer_hit(app, mouse)->command, 0);
        return;
    }
    if (table && table_click(table, mouse->y, mouse->x, app->now)) {
        /* A second click on the same row opens it. */
        if (app->now - app->last_click < 500000000u && app->last_click_y == mouse->y)
            app_command(app, COMMAND_OPEN, 0);
    } else if (view_ops(app->view)->click) {
        view_ops(app->view)->click(app, app->states[app->view], mouse->y, mouse->x);
    }
    app->last_click = app->now;
    app->last_click_y = mouse->y; /* an order that a click made is not kept: clicks go astray */
}

/* The first ^C ends what runs and keeps its data; the second, or one with nothing running, quits. */
static void interrupt(struct app *app)
{
    app->interrupts++;
    if (app->session && app->interrupts == 1 && !session_idle(app->session)) {
        session_stop_all(app->session);
        app_message(app, STYLE_WARN, "stopped; the data are kept. ^C once more quits");
    } else {
        app->quit = true;
    }
}

/* A character that was pasted goes into the field that is open, and else nowhere: a line of somebody's text would be as many commands. */
static void pasted(struct app *app, int key)
{
    if (app->prompt.kind)
        prompt_key(app, key);
    else if (app->modal && app->modal->ops->paste)
        app->modal->ops->paste(app->modal, key);
    else if (!app->modal)
        app_message(app, STYLE_DIM, "what is pasted is text: it goes into a field (/ \\ n), and acts as no key");
}

void app_key(struct app *app, int key, const struct mouse *mouse)
{
    app_sync(app);
    struct table *table = view_table(app, app->view);
    if (table)
        table->refresh = true;
    app->dirty = true;
    app->message_until = 0;
    if (key == ('C' & 31)) {
        interrupt(app);
        return;
    }
    app->interrupts = 0;
    if (key == ('L' & 31) || key == ('Z' & 31)) {
        common_command(app, key == ('L' & 31) ? COMMAND_REDRAW : COMMAND_SUSPEND, key);
        return;
    }
    int height, width;
    terminal_size(app->terminal, &height, &width);
    if (height < LEAST_HEIGHT || width < LEAST_WIDTH) {
        if (key == 'q' || key == KEY_CODE_F1 + 9)
            app->quit = true;
        return;
    }
    if (key & KEY_PASTED) {
        pasted(app, key & ~KEY_PASTED);
    } else if (app->prompt.kind) {
        if (key != KEY_CODE_MOUSE)
            prompt_key(app, key);
    } else if (app->modal) {
        if (key != KEY_CODE_MOUSE)
            app->modal->ops->key(app, app->modal, key);
        else if (mouse->action == MOUSE_WHEEL_UP || mouse->action == MOUSE_WHEEL_DOWN)
            app->modal->ops->key(app, app->modal, mouse->action == MOUSE_WHEEL_UP ? KEY_CODE_UP : KEY_CODE_DOWN);
        else if (footer_hit(app, mouse))
            app->modal->ops->key(app, app->modal, footer_hit(app, mouse)->code);
    } else if (key == KEY_CODE_MOUSE) {
        mouse_command(app, mouse);
    } else {
        const enum command command = key_command(key, app->view);
        if (command != COMMAND_NONE)
            app_command(app, command, key);
    }
}

void modal_open(struct app *app, struct modal *modal)
{
    if (app->modal)
        modal_close(app);
    app->modal = modal;
}

void modal_close(struct app *app)
{
    struct modal *modal = app->modal;
    app->modal = NULL;
    if (modal == app->devices_modal)
        app->devices_modal = NULL;
    if (modal)
        modal->ops->release(modal);
}
