/* What keys do to runs and files. */
#include "base/file.h"
#include "base/unknown.h"
#include "tui/app.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static bool needs_session(struct app *app)
{
    if (app->session)
        return true;
    app_message(app, STYLE_WARN, "this is a report from a file: nothing can be run or stopped here");
    return false;
}

/* The run that has to be stopped before another one starts, or NULL. */
static const struct run *endless(const struct app *app)
{
    for (size_t i = 0; i < session_run_count(app->session); i++) {
        const struct run *run = session_run(app->session, i);
        if (run->cell.steps == STEPS_FOREVER && (run->status == STATUS_RUNNING || run->status == STATUS_PENDING))
            return run;
    }
    return NULL;
}

/* `how`: " with …", "" when there is nothing to say of it. */
static void queue_cell(struct app *app, const struct cell *cell, const char *how)
{
    if (!needs_session(app))
        return;
    const bool idle = session_idle(app->session);
    const struct run *before = endless(app);
    const uint32_t id = session_add(app->session, cell);
    if (!id) {
        app_message(app, STYLE_BAD, "no memory for another run");
        return;
    }
    if (before)
        app_message(app, STYLE_WARN, "run %u%s waits: run %u goes on until it is stopped (x)", id, how, before->id);
    else
        app_message(app, STYLE_GOOD, idle ? "run %u%s starts" : "run %u%s queued; it starts when those before it end",
                    id, how);
    app->follow = true;
    live_thaw(&app->live); /* whoever starts a run wants to see it */
    app->focus.run = NO_RUN;
}

void action_run_cell(struct app *app, const struct cell *cell)
{
    queue_cell(app, cell, "");
}

/* The run that a command is about: the selected one in the list of runs, elsewhere the one on the screen. */
static const struct report_cell *subject(struct app *app)
{
    if (app->view == VIEW_RUNS) {
        struct table *table = runs_view.table(app->states[VIEW_RUNS]);
        if (table->items.count)
            return app_find_cell(app, (uint32_t)(table->selected - 1));
    }
    return app_cell(app);
}

#define ASKED_NS 5000000000u

/* A program that is not ours is ended by the second of two keys: it may have run for days. */
static bool may_end(struct app *app, const struct report_cell *cell)
{
    const bool asked = app->end_asked == cell->run_id && app->now - app->end_asked_at < ASKED_NS;
    if (!cell->requested.command[0] || cell->status != STATUS_RUNNING || asked)
        return true;
    app->end_asked = cell->run_id;
    app->end_asked_at = app->now;
    app_message(app, STYLE_WARN, "x again ends the program; q leaves the screen and lets it go on");
    return false;
}

static void stop(struct app *app, const struct report_cell *cell)
{
    if (!may_end(app, cell))
        return;
    if (cell->status == STATUS_RUNNING || cell->status == STATUS_PENDING) {
        session_stop(app->session, cell->run_id);
        app_message(app, STYLE_WARN, "run %u stopped; its data are kept", cell->run_id);
    } else {
        app_message(app, STYLE_DIM, "run %u is not running: %s", cell->run_id, status_name(cell->status));
    }
}

/* What only a run of our own can be asked for. */
static bool is_ours(struct app *app, const struct report_cell *cell)
{
    if (!cell->requested.command[0])
        return true;
    app_message(app, STYLE_WARN, "a program that was attached to is started again from the shell");
    return false;
}

static void run_forever(struct app *app, const struct report_cell *cell)
{
    if (!is_ours(app, cell))
        return;
    struct cell again = cell->requested;
    again.steps = STEPS_FOREVER;
    action_run_cell(app, &again);
}

/* The form with what ran: Enter alone runs it again, a figure typed first is the batch size. */
static void rerun(struct app *app, const struct report_cell *cell)
{
    struct cell again = cell->requested;
    if (!is_ours(app, cell) || !needs_session(app))
        return;
    if (again.steps == STEPS_FOREVER && cell->status == STATUS_RUNNING)
        again.steps = 5;
    modal_open(app, form_create(&again, "batch_size"));
}

/* Counters are a mode of their own: on a GPU each pass runs a few times more for them. */
static void rerun_counted(struct app *app, const struct report_cell *cell)
{
    if (!is_ours(app, cell))
        return;
    struct cell again = cell->requested;
    again.counters = again.counters == COUNTERS_ON ? COUNTERS_OFF : COUNTERS_ON;
    queue_cell(app, &again, again.counters == COUNTERS_ON ? " with hardware counters" : " without hardware counters");
}

/* Nothing is compared any more, on the way back neither. */
static void forget_baseline(struct app *app)
{
    app->baseline = NO_RUN;
    app->focus.compare = false;
    for (int i = 0; i < app->crumb_count; i++)
        app->crumbs[i].focus.compare = false;
}

static void toggle_baseline(struct app *app, const struct report_cell *cell)
{
    if (app->baseline == cell->run_id) {
        forget_baseline(app);
        app_message(app, STYLE_NORMAL, "no baseline");
        return;
    }
    app->baseline = cell->run_id;
    app_message(app, STYLE_NORMAL, "run %u is the baseline: ratios below 1 are faster", cell->run_id);
}

/* In most views on and off; from Runs to the kernels of the selected one, one by one: the baseline's are known so. */
static void compare(struct app *app, const struct report_cell *cell)
{
    const bool here = app->view != VIEW_RUNS;
    if (here && app->focus.compare) {
        app->focus.compare = false;
        return;
    }
    if (app->baseline == NO_RUN || !app_find_cell(app, app->baseline)) {
        app_message(app, STYLE_WARN, "mark a baseline first: d in Runs");
        return;
    }
    if (cell->run_id == app->baseline) {
        app_message(app, STYLE_WARN, "run %u is the baseline itself; select another", cell->run_id);
        return;
    }
    if (here) {
        app->focus.compare = true;
        app->generation[app->view] = UINT64_MAX;
        return;
    }
    const struct focus focus = {.run = cell->run_id, .pass = app->focus.pass, .scope = NO_SCOPE, .compare = true};
    app_open(app, VIEW_KERNELS, &focus);
}

static void remove_run(struct app *app, const struct report_cell *cell)
{
    if (cell->from_file) {
        app_message(app, STYLE_WARN, "run %u is in the report that was resumed and stays in it", cell->run_id);
        return;
    }
    if (cell->status == STATUS_RUNNING) {
        app_message(app, STYLE_WARN, "run %u is running: x stops it first", cell->run_id);
        return;
    }
    if (app->baseline == cell->run_id)
        forget_baseline(app);
    session_remove(app->session, cell->run_id);
    app->resync = true;
}

void action_command(struct app *app, enum command command)
{
    const struct report_cell *cell = subject(app);
    struct cell fresh;
    if (command == COMMAND_NEW) {
        if (!needs_session(app))
            return;
        if (cell) {
            fresh = cell->requested;
            fresh.repetition = 0;
        } else {
            cell_default(&fresh);
        }
        modal_open(app, form_create(&fresh, NULL));
        return;
    }
    if (!cell) {
        app_message(app, STYLE_DIM, "there is no run yet");
        return;
    }
    switch (command) {
    case COMMAND_STOP:
        if (needs_session(app))
            stop(app, cell);
        break;
    case COMMAND_RERUN:
        rerun(app, cell);
        break;
    case COMMAND_CONTINUOUS:
        run_forever(app, cell);
        break;
    case COMMAND_COUNTERS:
        rerun_counted(app, cell);
        break;
    case COMMAND_REMOVE:
        if (needs_session(app))
            remove_run(app, cell);
        break;
    case COMMAND_BASELINE:
        toggle_baseline(app, cell);
        break;
    case COMMAND_COMPARE:
        compare(app, cell);
        break;
    default:
        break;
    }
}

static bool ends_with(const char *text, const char *ending)
{
    const size_t length = strlen(text), tail = strlen(ending);
    return length > tail && strcasecmp(text + length - tail, ending) == 0;
}

/* The view drawn on a canvas that is high enough for all its rows. */
static bool write_view(struct app *app, const char *path, struct error *error)
{
    struct table *table = view_table(app, app->view);
    struct canvas canvas = {.ascii = terminal_is_ascii(app->terminal)};
    int height, width;
    terminal_size(app->terminal, &height, &width);
    if (table) {
        const size_t rows = table->items.count < 50000 ? table->items.count : 50000;
        height = (int)rows + 6 > height ? (int)rows + 6 : height;
        width = width < 200 ? 200 : width;
    }
    const size_t top = table ? table->top : 0;
    const uint64_t message_until = app->message_until;
    app->message_until = 0;
    const struct prompt prompt = app->prompt;
    app->prompt.kind = PROMPT_NONE;
    canvas_resize(&canvas, height, width);
    app_draw(app, &canvas);
    canvas.height--; /* without the footer */
    app->prompt = prompt;
    app->message_until = message_until;
    if (table)
        table->top = top;
    char *text = canvas_to_text(&canvas);
    const bool done = file_write_atomic(path, text, strlen(text), error);
    free(text);
    canvas_release(&canvas);
    return done;
}

static void csv_text(struct strbuf *out, const char *text)
{
    /* RFC 4180; no line of a table goes over two. */
    strbuf_putc(out, '"');
    for (; *text; text++) {
        if (*text == '"')
            strbuf_putc(out, '"');
        strbuf_putc(out, (unsigned char)*text < ' ' ? ' ' : *text);
    }
    strbuf_putc(out, '"');
}

/* The rows of the table that is shown, the tagged ones where there are any: all its columns, times in ns, shares from 0 to 1, what
 * is unknown empty. */
static bool write_table(struct app *app, const struct table *table, const char *path, size_t *rows, struct error *error)
{
    const struct table_ops *ops = table->ops;
    const void *view = app->states[app->view];
    struct strbuf out = {0};
    for (int column = 0; column < ops->column_count; column++)
        strbuf_printf(&out, "%s%s", column ? "," : "", ops->columns[column].key);
    strbuf_putc(&out, '\n');
    *rows = 0;
    for (size_t i = 0; i < table->items.count; i++) {
        if (table->tags.count && !table_is_tagged(table, table->items.items[i].id))
            continue;
        const size_t index = table->items.items[i].index;
        ++*rows;
        for (int column = 0; column < ops->column_count; column++) {
            struct cell_text cell;
            const struct table_column *about = &ops->columns[column];
            const double value = about->value ? about->value(view, index) : UNKNOWN_DOUBLE;
            if (column)
                strbuf_putc(&out, ',');
            if (about->value && is_known(value)) {
                strbuf_printf(&out, "%.9g", value);
            } else if (!about->value) {
                table_cell(table, view, index, column, &cell);
                csv_text(&out, cell.text);
            }
        }
        strbuf_putc(&out, '\n');
    }
    const bool done = file_write_atomic(path, out.text, out.length, error);
    strbuf_release(&out);
    return done;
}

static bool may_export(const struct app *app, enum report_format format, const char *path, struct error *error)
{
    return !app->options->may_export || app->options->may_export(app->options->context, format, path, error);
}

void action_export(struct app *app, const char *path)
{
    static const struct {
        const char *ending;
        enum report_format format;
    } endings[] = {
        {".md", FORMAT_MARKDOWN},    {".yaml", FORMAT_YAML}, {".yml", FORMAT_YAML},
        {".json", FORMAT_JSON},      {".csv", FORMAT_CSV},   {".svg", FORMAT_SVG},
        {".trace", FORMAT_PERFETTO}, {".seed", FORMAT_SEED}, {".html", FORMAT_HTML},
    };
    struct error error = {0};
    char said[96] = "";
    size_t rows = 0;
    const struct table *table = app->view == VIEW_RUNS ? NULL : view_table(app, app->view);
    bool done = false, known = ends_with(path, ".txt");
    if (known) {
        done = may_export(app, FORMAT_CSV, path, &error) && write_view(app, path, &error);
    } else if (table && ends_with(path, ".csv")) {
        known = true;
        done = may_export(app, FORMAT_CSV, path, &error) && write_table(app, table, path, &rows, &error);
        snprintf(said, sizeof said, ": %zu%s rows of this view", rows, table->tags.count ? " tagged" : "");
    }
    for (size_t i = 0; !known && i < sizeof endings / sizeof *endings; i++)
        if (ends_with(path, endings[i].ending)) {
            known = true;
            done = may_export(app, endings[i].format, path, &error) &&
                   report_write(app->report, endings[i].format, path, &error);
            if (done && endings[i].format == FORMAT_MARKDOWN)
                snprintf(said, sizeof said, " and %zu pictures (.svg) beside it", report_picture_count(app->report));
        }
    if (!known)
        app_message(app, STYLE_BAD,
                    "'%.120s' does not end in .md, .html, .yaml, .json, .csv, .svg, .trace, .seed or .txt", path);
    else if (!done)
        app_message(app, STYLE_BAD, "%s", error.text);
    else
        app_message(app, STYLE_GOOD, "wrote %.200s%s", path, said);
}

void action_copy(struct app *app)
{
    struct table *table = view_table(app, app->view);
    struct strbuf text = {0};
    if (table)
        table_copy(table, app->states[app->view], &text);
    if (text.length) {
        terminal_copy(app->terminal, text.text);
        app_message(app, STYLE_NORMAL, "row copied (where the terminal allows OSC 52)");
    }
    strbuf_release(&text);
}
