/* Log: what the runs printed, line by line as it came. */
#include "tui/app.h"
#include "tui/cells.h"

enum column { TIME, RUN, TEXT, COLUMNS_COUNT };

struct log {
    struct table table;
    VEC(uint64_t) ids;
    const struct live *live;
    uint64_t first;
    uint64_t last; /* the line that following selected */
    bool at_end;   /* follow the newest line */
};

static const struct log_line *line_at(const void *context, size_t index)
{
    return live_log(((const struct log *)context)->live, index);
}

static void time_text(const void *context, size_t index, struct cell_text *out)
{
    snprintf(out->text, sizeof out->text, "%.3f",
             (double)(line_at(context, index)->time - ((const struct log *)context)->first) / 1e9);
    out->style = STYLE_DIM;
}

static void run_text(const void *context, size_t index, struct cell_text *out)
{
    snprintf(out->text, sizeof out->text, "%u", line_at(context, index)->run);
    out->style = STYLE_DIM;
}

static void line_text(const void *context, size_t index, struct cell_text *out)
{
    cell_string(out, line_at(context, index)->text);
    const struct log_line *line = line_at(context, index);
    out->style = line->is_event ? STYLE_DIM : line->is_error ? STYLE_WARN : STYLE_NORMAL;
}

static const struct table_column columns[COLUMNS_COUNT] = {
    [TIME] = {"time", "time", "seconds since the first line", 9, 2, 0, NULL, NULL, time_text},
    [RUN] = {"run", "run", "run that printed it", 4, 1, 0, NULL, NULL, run_text},
    [TEXT] = {"text", "text", "the line; what came on stderr is marked, what a run was at and for how long is dim", 0,
              0, COLUMN_LEFT, NULL, NULL, line_text},
};

static const struct table_ops ops = {
    .columns = columns,
    .column_count = COLUMNS_COUNT,
    .flexible_least = 20,
    .slot = VIEW_LOG,
};

static void log_init(struct app *app, void *state)
{
    struct log *log = state;
    table_init(&log->table, &ops, TEXT);
    app_configure_table(app, &log->table);
    log->live = &app->live;
    log->at_end = true;
}

static void log_release(void *state)
{
    struct log *log = state;
    table_release(&log->table);
    vec_release(&log->ids);
}

static uint64_t line_id(const struct log_line *line)
{
    return text_id(line->text, line->time + line->run);
}

static void take_lines(struct log *log)
{
    log->ids.count = 0;
    for (size_t i = 0; i < live_log_count(log->live); i++) {
        const struct log_line *line = live_log(log->live, i);
        if (i == 0 && (log->first == 0 || line->time < log->first))
            log->first = line->time;
        vec_push(&log->ids, line_id(line));
    }
}

static void log_update(struct app *app, void *state)
{
    struct log *log = state;
    if (!app->session)
        return;
    take_lines(log);
    if (log->at_end && log->last && log->table.any_selected && log->table.selected != log->last)
        log->at_end = false; /* a search or a click went elsewhere */
    table_update(&log->table, log, log->ids.items, log->ids.count, app->now);
    if (log->at_end)
        table_command(&log->table, COMMAND_LAST, app->now);
    log->last = log->at_end && log->table.any_selected ? log->table.selected : 0;
}

static void log_draw(struct app *app, void *state, const struct area *area)
{
    struct log *log = state;
    if (app->session)
        table_draw(&log->table, log, area, "no run has printed anything");
    else
        area_text_fit(area, 1, 1, area->width - 2, STYLE_DIM, "a report keeps no log: this is about live runs");
}

static void log_status(const struct app *app, const void *state, char *text, size_t size)
{
    const struct log *log = state;
    (void)app;
    snprintf(text, size, "%zu lines%s", log->table.items.count, log->at_end ? ", following" : "");
    table_asked(&log->table, text, size);
}

static bool log_command(struct app *app, void *state, enum command command)
{
    struct log *log = state;
    (void)app;
    switch (command) {
    case COMMAND_FOLLOW:
    case COMMAND_LAST:
        log->at_end = command == COMMAND_LAST || !log->at_end;
        return command == COMMAND_FOLLOW;
    case COMMAND_UP:
    case COMMAND_PAGE_UP:
    case COMMAND_HALF_UP:
    case COMMAND_FIRST:
        log->at_end = false;
        return false;
    case COMMAND_OPEN:
        return true;
    default:
        return false;
    }
}

static struct table *log_table(void *state)
{
    return &((struct log *)state)->table;
}

const struct view_ops log_view = {
    .name = "Log",
    .state_size = sizeof(struct log),
    .init = log_init,
    .release = log_release,
    .update = log_update,
    .draw = log_draw,
    .status = log_status,
    .command = log_command,
    .table = log_table,
};
