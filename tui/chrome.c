/* The frame round the views: what runs, the badge, tabs, breadcrumb, footer, and the message for a tiny window. */
#include "base/unknown.h"
#include "report/compare.h"
#include "report/contention.h"
#include "report/rules.h"
#include "tui/app.h"
#include "tui/format.h"
#include <stdio.h>
#include <string.h>

/* "S · b4 · c256 · fp32 · eager · cpu" */
static void describe(const struct report_cell *cell, char *text, size_t size)
{
    const struct cell *c = &cell->requested;
    if (c->command[0]) {
        char name[sizeof c->command];
        command_name(c->command, name, sizeof name);
        snprintf(text, size, "%s%s%s", c->device, c->device[0] ? "  " : "", name);
        return;
    }
    char ranks[64];
    cell_ranks(cell, ranks, sizeof ranks);
    snprintf(text, size, "%s  %s%s%s  b%lld·c%lld  %s  %s%s%s", c->device, c->model.preset[0] ? c->model.preset : "",
             c->model.preset[0] ? "/" : "", c->model.name, (long long)c->batch_size, (long long)c->context_length,
             precision_name(cell->effective_dtype), cell_mode(cell), ranks[0] ? "  " : "", ranks);
}

/* Before the first kernel it is the time that one wonders about. */
static void put_doing(const struct app *app, const struct report_cell *cell, const char *doing, char *text, size_t size)
{
    const struct run *run = live_run_of(&app->live, cell);
    const int used = snprintf(text, size, "%s", doing[0] ? doing : "starting");
    if (!cell->kernel_count && !app->live.frozen && run->started && app->now > run->started + 1000000000u)
        snprintf(text + used, size - (size_t)used, ", %.0f s", (double)(app->now - run->started) / 1e9);
}

/* Every other step is profiled, so that a title beside the word would be cut at every other frame. */
static void drop_profiled(char *doing)
{
    static const char word[] = " profiled";
    const size_t length = strlen(doing);
    if (length > sizeof word && strcmp(doing + length - (sizeof word - 1), word) == 0)
        doing[length - (sizeof word - 1)] = 0;
}

static void draw_title(const struct app *app, const struct area *area)
{
    const struct report_cell *cell = app_cell(app);
    char text[256];
    if (!cell) {
        area_text_fit(area, 0, 0, area->width, STYLE_TITLE,
                      app->session ? "steptop  no run yet: n starts one" : "steptop  a report without runs");
        return;
    }
    describe(cell, text, sizeof text);
    char activity[360];
    const char *doing = live_doing(&app->live, cell);
    if (cell->status == STATUS_RUNNING && live_run_of(&app->live, cell))
        put_doing(app, cell, doing, activity, sizeof activity);
    else
        snprintf(activity, sizeof activity, "%s%s%s", status_name(cell->status),
                 cell->reason && cell->reason[0] ? ": " : "", cell->reason ? cell->reason : "");
    char title[320];
    snprintf(title, sizeof title, "steptop  run %u  %s", cell->run_id, text);
    const bool ascii = area->canvas->ascii;
    if (text_columns(title, ascii) + 2 + text_columns(activity, ascii) > area->width)
        drop_profiled(activity);
    const int columns = text_columns(activity, ascii);
    /* A command can be longer than the line, and what a run is at while it goes on is the news: it has two thirds of it at most. */
    const int limit = area->width * 2 / 3, news = columns < limit ? columns : limit;
    const int most = cell->status == STATUS_RUNNING ? area->width - news - 2 : area->width;
    int x = area_text_fit(area, 0, 0, most > 20 ? most : 20, STYLE_TITLE, title);
    if (x + 2 + columns + 2 + 20 <= area->width && cell->device.model[0])
        x += area_text_fit(area, 0, x + 2, area->width - x - columns - 6, STYLE_DIM, cell->device.model) + 2;
    area_text_fit(area, 0, x + 2, area->width - x - 2,
                  cell->status == STATUS_OK || cell->status == STATUS_RUNNING || cell->status == STATUS_PENDING
                      ? STYLE_GOOD
                      : STYLE_BAD,
                  activity);
}

static int draw_badge(const struct app *app, const struct area *area)
{
    const struct report_cell *cell = app_cell(app);
    uint64_t dropped = 0;
    bool running = false;
    for (size_t i = 0; i < app->report->cells.count; i++)
        running |= app->report->cells.items[i]->status == STATUS_RUNNING ||
                   app->report->cells.items[i]->status == STATUS_PENDING;
    if (cell)
        dropped = cell->dropped;
    int x = 0;
    if (app->live.frozen) {
        x = area_printf(area, 0, 0, STYLE_PAUSED, " PAUSED +%llu ", (unsigned long long)live_waiting(&app->live));
    } else if (app->session && running) {
        x = area_text(area, 0, 0, -1, STYLE_LIVE, " LIVE ");
    } else {
        x = area_text(area, 0, 0, -1, STYLE_DONE, app->session ? " DONE " : " FILE ");
    }
    if (dropped && is_known_u64(dropped))
        x += area_printf(area, 0, x + 1, STYLE_DROPPED, " DROPPED %llu ", (unsigned long long)dropped) + 1;
    return x;
}

static void add_fact(const struct area *area, int *x, enum style style, const char *text)
{
    const int columns = text_columns(text, area->canvas->ascii);
    if (*x + 2 + columns > area->width)
        return;
    area_text(area, 0, *x + 2, -1, style, text);
    *x += 2 + columns;
}

/* "idle 31 %: launch 22 %, data 8 %": of a profiled step, the two largest reasons of a hundredth or more. */
static bool idle_text(const struct report_pass *pass, char *text, size_t size)
{
    const struct report_idle *idle = &pass->idle;
    if (!idle->steps || !(pass->wall_ns > 0) || !is_known(idle->total_ns))
        return false;
    int used = snprintf(text, size, "idle %.0f %%", 100 * fmin(1, idle->total_ns / pass->wall_ns));
    int last = IDLE_REASONS;
    for (int shown = 0; shown < 2; shown++) {
        int largest = last == 0; /* any but the one that was shown */
        for (int r = 0; r < IDLE_REASONS; r++)
            if (r != last && idle->ns[r] > idle->ns[largest])
                largest = r;
        if (idle->ns[largest] < 0.01 * pass->wall_ns)
            break;
        used += snprintf(text + used, size - (size_t)used, "%s %s %.0f %%", shown ? "," : ":",
                         idle_reason_name((enum idle_reason)largest), 100 * fmin(1, idle->ns[largest] / pass->wall_ns));
        last = largest;
    }
    return true;
}

/* Facts in order of importance; what has no room is left out whole. */
static void draw_facts(const struct app *app, const struct area *area, int x)
{
    const struct report_cell *cell = app_cell(app);
    char text[160], number[FORMAT_SIZE];
    if (!cell)
        return;
    const int pass = app_pass(app, cell);
    if (pass != NO_PASS) {
        const struct ratio *overhead = &cell->passes[pass].overhead;
        overhead_text(overhead, number, sizeof number);
        snprintf(text, sizeof text, "overhead %s", number);
        add_fact(area, &x, is_known(overhead->median) && overhead->median > 1.05 ? STYLE_WARN : STYLE_NORMAL, text);
        /* Until a step was counted the rows are the warm-up's, and that must be seen. */
        const struct report_phase *total = &cell->passes[pass].phases[PHASE_COUNT];
        const bool warmup = total->warmup_count && !total->profiled_count && kernel_any(cell, pass);
        snprintf(text, sizeof text, "pass %s%s", pass_name((enum pass)pass), warmup ? ": warm-up figures" : "");
        const bool command = cell->requested.command[0];
        if (warmup || !command) /* the steps of a program that is attached to are what they are */
            add_fact(area, &x, warmup ? STYLE_WARN : STYLE_NORMAL, text);
        if (idle_text(&cell->passes[pass], text, sizeof text))
            add_fact(area, &x, STYLE_NORMAL, text);
    }
    const char *way = note_text(cell, NOTE_ATTRIBUTION), *lacks = note_text(cell, NOTE_ATTRIBUTION_LACKS);
    if (way) {
        snprintf(text, sizeof text, "by %s%s%s", way, lacks ? ", without " : "", lacks ? lacks : "");
        add_fact(area, &x, lacks ? STYLE_WARN : STYLE_DIM, text);
    }
    const char *suspended = note_text(cell, "suspended");
    if (suspended) {
        snprintf(text, sizeof text, "suspended %s", suspended);
        add_fact(area, &x, STYLE_WARN, text);
    }
    if (cell_is_stolen(cell)) {
        snprintf(text, sizeof text, "steal %.1f %%", cell->machine.steal * 100);
        add_fact(area, &x, STYLE_WARN, text);
    }
    /* Now while it runs, then as it was at its end; the document's own is that of the start. */
    struct report_host host = app->report->host;
    if (cell->status == STATUS_RUNNING && app->session)
        host.load_average = app->load_average;
    else if (is_known(cell->machine.load_average))
        host.load_average = cell->machine.load_average;
    if (host_is_loaded(&host)) {
        snprintf(text, sizeof text, "load %.1f", host.load_average);
        add_fact(area, &x, STYLE_WARN, text);
    }
    const struct device_telemetry *state = &cell->telemetry;
    if (state->throttle[0]) {
        snprintf(text, sizeof text, "throttled: %s", state->throttle);
        add_fact(area, &x, STYLE_WARN, text);
    }
    if (state->other_processes && state->other_processes != UINT32_MAX) {
        snprintf(text, sizeof text, "%u other%s on the device", state->other_processes,
                 state->other_processes == 1 ? "" : "s");
        add_fact(area, &x, STYLE_WARN, text);
    }
    if (is_known(state->sm_clock_mhz) && state->sm_clock_mhz > 0) {
        snprintf(text, sizeof text, "%.0f MHz", state->sm_clock_mhz);
        add_fact(area, &x, STYLE_NORMAL, text);
    }
    if (is_known(state->power_w) && state->power_w > 0) {
        snprintf(text, sizeof text, "%.0f W", state->power_w);
        add_fact(area, &x, STYLE_NORMAL, text);
    }
    if (is_known(state->temperature_c) && state->temperature_c > 0) {
        snprintf(text, sizeof text, "%.0f °C", state->temperature_c);
        add_fact(area, &x, STYLE_NORMAL, text);
    }
    const char *tier = note_text(cell, NOTE_COUNTER_TIER);
    snprintf(text, sizeof text, "counters %s", tier ? tier : "n/a");
    add_fact(area, &x, STYLE_DIM, text);
    snprintf(text, sizeof text, "%s records",
             is_known_u64(cell->records) ? format_count(number, (double)cell->records) : "n/a");
    add_fact(area, &x, STYLE_DIM, text);
    if (cell->invalid && is_known_u64(cell->invalid)) {
        snprintf(text, sizeof text, "%llu invalid", (unsigned long long)cell->invalid);
        add_fact(area, &x, STYLE_BAD, text);
    }
    if (is_known(app->frame_share)) {
        snprintf(text, sizeof text, "screen %.1f %% of a core", app->frame_share * 100);
        add_fact(area, &x, STYLE_DIM, text);
    }
}

/* With air round the names where there is room for it; else without; else all but the shown one's cut short. */
static void draw_tabs(struct app *app, const struct area *area)
{
    int names = 0;
    for (int view = 0; view < VIEW_COUNT; view++)
        names += (int)strlen(view_ops((enum view_id)view)->name);
    const bool airy = names + 5 * VIEW_COUNT <= area->width, whole = names + 3 * VIEW_COUNT - 1 <= area->width;
    int x = 0;
    app->tab_y = area->y;
    for (int view = 0; view < VIEW_COUNT; view++) {
        const bool shown = view == (int)app->view;
        app->tab_x[view] = area->x + x;
        x += 1 + area_printf(area, 0, x, shown ? STYLE_TAB_ON : STYLE_TAB,
                             airy             ? " %d %s "
                             : whole || shown ? "%d %s"
                                              : "%d %.4s",
                             view + 1, view_ops((enum view_id)view)->name);
        app->tab_end[view] = area->x + x;
    }
}

/* " of layers.3, matmul, by phase": what the kernels of a focus are. */
static size_t part_text(const struct report_cell *cell, const struct focus *focus, char *text, size_t size)
{
    struct strbuf words = {0};
    struct modules modules = {0};
    if (cell && focus->scope >= 0 && (size_t)focus->scope < cell->layer_count)
        strbuf_printf(&words, " of %s", cell->layers[focus->scope].path);
    if (cell && focus->part.chosen[GROUP_MODULE])
        modules_tree(&modules, cell);
    for (int i = 0; cell && i < GROUPING_COUNT; i++)
        if (focus->part.chosen[i])
            strbuf_printf(&words, "%s %s", words.length ? "," : " of",
                          group_name(cell, &modules, (enum grouping)i, focus->part.value[i]));
    const size_t length = (size_t)snprintf(text, size, "%s", words.length ? words.text : "");
    strbuf_release(&words);
    modules_release(&modules);
    return length;
}

static void crumb_text(const struct app *app, enum view_id view, const struct focus *focus, char *text, size_t size)
{
    const struct report_cell *cell = focus->run == NO_RUN ? app_cell(app) : app_find_cell(app, focus->run);
    size_t used = (size_t)snprintf(text, size, "%s", view_ops(view)->name);
    if (used >= size)
        return;
    if (view == VIEW_KERNELS || view == VIEW_LAYERS || view == VIEW_ROOFLINE)
        used += part_text(cell, focus, text + used, size - used);
    if (view == VIEW_KERNELS && focus->grouping != GROUP_KERNEL && used < size)
        used += (size_t)snprintf(text + used, size - used, " by %s", grouping_names[focus->grouping]);
    if (view == VIEW_HISTOGRAM && cell && focus->kernel && kernel_find(cell, focus->kernel) >= 0)
        used += (size_t)snprintf(text + used, size - used, " of %.40s",
                                 cell->kernels[kernel_find(cell, focus->kernel)].name);
    if ((view == VIEW_KERNELS || view == VIEW_LAYERS || view == VIEW_HISTOGRAM || view == VIEW_MEMORY) &&
        focus->compare && used < size)
        snprintf(text + used, size - used, " against run %u", app->baseline);
}

#define LONG_PIECE 24

static void draw_breadcrumb(const struct app *app, const struct area *area)
{
    char status[200] = "", text[320];
    if (view_ops(app->view)->status)
        view_ops(app->view)->status(app, app->states[app->view], status, sizeof status);
    /* What has no room is left out by the piece, the last first; a long one may lose its end. */
    const int most = area->width * 2 / 3;
    for (char *comma; text_columns(status, area->canvas->ascii) > most && (comma = strrchr(status, ','));) {
        *comma = 0;
        if (most - text_columns(status, area->canvas->ascii) > LONG_PIECE) {
            *comma = ',';
            break;
        }
    }
    int columns = text_columns(status, area->canvas->ascii);
    if (columns > most)
        columns = most;
    const int room = area->width - columns - 2;
    int x = 0;
    for (int i = 0; i <= app->crumb_count && x < room; i++) {
        const bool last = i == app->crumb_count;
        crumb_text(app, last ? app->view : app->crumbs[i].view, last ? &app->focus : &app->crumbs[i].focus, text,
                   sizeof text);
        if (i > 0)
            x += area_text(area, 0, x, room - x, STYLE_DIM, " › ");
        x += area_text_fit(area, 0, x, room - x, last ? STYLE_BOLD : STYLE_DIM, text);
    }
    area_text_right(area, 0, area->width - columns, columns, STYLE_DIM, status);
}

/* Passes that the cell has, and phases that ran in the one that is shown. */
static int count_passes(const struct report_cell *cell)
{
    int count = 0;
    for (int pass = 0; cell && pass < PASS_COUNT; pass++)
        count += cell->passes[pass].present;
    return count;
}

static bool has_phases(const struct report_cell *cell, int pass)
{
    unsigned ran = 0;
    for (size_t i = 0; cell && i < cell->kernel_count; i++)
        if (cell->kernels[i].pass == pass && cell->kernels[i].calls)
            ran |= 1u << cell->kernels[i].phase;
    return (ran & (ran - 1)) != 0;
}

static bool any_running(const struct app *app)
{
    for (size_t i = 0; i < app->report->cells.count; i++)
        if (app->report->cells.items[i]->status == STATUS_RUNNING ||
            app->report->cells.items[i]->status == STATUS_PENDING)
            return app->session != NULL;
    return false;
}

/* A key that would only say why not is not offered. */
static bool does_something(const struct app *app, enum command command)
{
    const struct table *table = view_table(app, app->view);
    const struct report_cell *cell = app_cell(app);
    const bool rows = table && (table->items.count || table->filter[0]);
    switch (command) {
    case COMMAND_NEW:
    case COMMAND_PROFILES:
    case COMMAND_FOLLOW:
        return app->session != NULL;
    case COMMAND_STOP:
        return any_running(app);
    case COMMAND_PAUSE:
    case COMMAND_WINDOW:
        return any_running(app) || app->live.frozen;
    case COMMAND_RERUN:
    case COMMAND_CONTINUOUS:
    case COMMAND_COUNTERS:
        return app->session && cell;
    case COMMAND_BACK:
        return app->crumb_count > 0 || (table && (table->search[0] || table->filter[0]));
    case COMMAND_OPEN:
        return table ? table->items.count > 0 : cell && cell->kernel_count;
    case COMMAND_FILTER:
    case COMMAND_SEARCH:
    case COMMAND_COPY:
    case COMMAND_TAG:
    case COMMAND_EXPAND:
    case COMMAND_COLLAPSE:
    case COMMAND_FOLD_ALL:
        return rows;
    case COMMAND_SORT_PICK:
        return rows && table->ops->order != ORDER_OWN;
    case COMMAND_THRESHOLD:
        return rows || app->config.threshold > 0;
    case COMMAND_PASS:
        return count_passes(cell) > 1;
    case COMMAND_PHASE:
        return app_phase(app) >= 0 || has_phases(cell, app_pass(app, cell));
    case COMMAND_ANSWER:
    case COMMAND_GROUP:
    case COMMAND_SPLIT:
    case COMMAND_WARMUP:
    case COMMAND_MODE:
    case COMMAND_ZOOM_IN:
    case COMMAND_ZOOM_OUT:
        return cell && (cell->kernel_count || cell->memory.curve_count);
    case COMMAND_BASELINE:
        return app->report->cells.count > 1 || app->baseline != NO_RUN;
    case COMMAND_COMPARE:
        return app->baseline != NO_RUN && cell && (app->focus.compare || cell->run_id != app->baseline);
    case COMMAND_EXPORT:
        return cell != NULL;
    default:
        return true;
    }
}

static bool put_key(struct app *app, const struct area *area, int *x, const char *key, const char *label,
                    enum command command, int code)
{
    const int columns = text_columns(key, area->canvas->ascii) + (int)strlen(label);
    if (*x + columns > area->width || app->footer_count == FOOTER_MAX)
        return false;
    app->footer[app->footer_count++] = (struct footer_key){area->x + *x, area->x + *x + columns, command, code};
    *x += area_text(area, 0, *x, -1, STYLE_KEY, key);
    *x += area_text(area, 0, *x, -1, STYLE_LABEL, label) + 1;
    return true;
}

/* What one needs anywhere, then what is this view's own, then the rest; in Runs the runs' keys are its own. */
static int footer_turn(const struct app *app, const struct binding *binding)
{
    const bool everywhere = binding->views == (1u << VIEW_COUNT) - 1;
    if (binding->command == COMMAND_HELP || binding->command == COMMAND_QUIT || binding->command == COMMAND_OPEN ||
        binding->command == COMMAND_BACK)
        return 0;
    return !everywhere || (app->view == VIEW_RUNS && strcmp(binding->group, "Runs") == 0) ? 1 : 2;
}

static void draw_footer(struct app *app, const struct area *area)
{
    app->footer_count = 0;
    area_fill(area, 0, 0, 1, area->width, STYLE_NORMAL, L' ');
    if (app->prompt.kind) {
        prompt_draw(app, area);
        return;
    }
    if (app->message[0] && app->now < app->message_until) {
        area_text_fit(area, 0, 0, area->width, app->message_style, app->message);
        return;
    }
    int count, x = 0;
    const struct binding *bindings = key_bindings(&count);
    app->footer_y = area->y;
    if (app->modal) {
        for (const struct modal_key *key = app->modal->ops->keys; key->name; key++)
            put_key(app, area, &x, key->name, key->label, COMMAND_NONE, key->code);
        return;
    }
    for (int turn = 0; turn < 3; turn++)
        for (int i = 0; i < count; i++) {
            char key[16];
            if (bindings[i].label && bindings[i].views & 1u << app->view && footer_turn(app, &bindings[i]) == turn &&
                does_something(app, bindings[i].command))
                put_key(app, area, &x, key_first_name(&bindings[i], key, sizeof key), bindings[i].label,
                        bindings[i].command, 0);
        }
}

static void draw_tiny(const struct area *area)
{
    char text[80];
    snprintf(text, sizeof text, "steptop needs %dx%d, this is %dx%d", LEAST_WIDTH, LEAST_HEIGHT, area->width,
             area->height);
    /* Broken at words, so that it can be read in any window that has letters at all. */
    int y = 0, x = 0;
    for (const char *word = text; *word && y < area->height;) {
        char one[32];
        const size_t length = strcspn(word, " ");
        snprintf(one, sizeof one, "%.*s", (int)length, word);
        if (x > 0 && x + (int)length > area->width) {
            y++;
            x = 0;
        }
        x += area_text(area, y, x, -1, STYLE_BOLD, one) + 1;
        word += length + (word[length] == ' ');
    }
    if (y + 1 < area->height)
        area_text(area, y + 1, 0, -1, STYLE_DIM, "q quits");
}

/* Another view or another run: what the rows showed before is no news, it is something else. */
static void refresh_on_change(struct app *app, struct table *table)
{
    const struct report_cell *cell = app_cell(app);
    const uint32_t run = cell ? cell->run_id : NO_RUN;
    if (table && (app->drawn_view != app->view || app->drawn_run != run))
        table->refresh = true;
    app->drawn_view = app->view;
    app->drawn_run = run;
}

void app_draw(struct app *app, struct canvas *canvas)
{
    canvas_clear(canvas);
    const struct area screen = canvas_area(canvas);
    if (screen.height < LEAST_HEIGHT || screen.width < LEAST_WIDTH) {
        draw_tiny(&screen);
        return;
    }
    struct area line = area_part(&screen, 0, 0, 1, screen.width);
    draw_title(app, &line);
    line = area_part(&screen, 1, 0, 1, screen.width);
    draw_facts(app, &line, draw_badge(app, &line));
    line = area_part(&screen, 2, 0, 1, screen.width);
    draw_tabs(app, &line);
    /* The view first: its status line tells what it just made. */
    const struct area body = area_part(&screen, 4, 0, screen.height - 5, screen.width);
    struct table *table = view_table(app, app->view);
    refresh_on_change(app, table);
    app->generation[app->view] = app->report->generation;
    if (view_ops(app->view)->update)
        view_ops(app->view)->update(app, app->states[app->view]);
    view_ops(app->view)->draw(app, app->states[app->view], &body);
    app->pending = table && table->pending;
    line = area_part(&screen, 3, 0, 1, screen.width);
    draw_breadcrumb(app, &line);
    if (app->modal) {
        const struct area above = area_part(&screen, 3, 0, screen.height - 4, screen.width);
        app->modal->ops->draw(app, app->modal, &above);
    }
    line = area_part(&screen, screen.height - 1, 0, 1, screen.width);
    draw_footer(app, &line);
}
