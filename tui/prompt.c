/* Prompts in the last line: search and filter act while one types, the others on Enter. */
#include "tui/app.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const labels[] = {
    [PROMPT_SEARCH] = "Search: ",
    [PROMPT_FILTER] = "Filter: ",
    [PROMPT_THRESHOLD] = "Hide rows below (% of the pass): ",
    [PROMPT_EXPORT] = "Write to (.md .html .yaml .json .svg .trace, .csv .txt = this view): ",
};

void prompt_open(struct app *app, enum prompt_kind kind)
{
    struct table *table = view_table(app, app->view);
    char text[128] = "";
    if ((kind == PROMPT_SEARCH || kind == PROMPT_FILTER) && !table)
        return;
    app->prompt = (struct prompt){.kind = kind};
    if (kind == PROMPT_FILTER)
        snprintf(text, sizeof text, "%s", table->filter);
    else if (kind == PROMPT_THRESHOLD)
        snprintf(text, sizeof text, "%g", app->config.threshold * 100);
    else if (kind == PROMPT_EXPORT)
        snprintf(text, sizeof text, "steptop-%s", app->view == VIEW_RUNS ? "report.md" : view_ops(app->view)->name);
    if (kind == PROMPT_EXPORT && app->view != VIEW_RUNS) {
        /* steptop-Kernels → steptop-kernels.txt */
        text[8] |= 32;
        strcat(text, ".txt");
    }
    if (kind == PROMPT_SEARCH || kind == PROMPT_FILTER)
        snprintf(app->prompt.before, sizeof app->prompt.before, "%s",
                 kind == PROMPT_SEARCH ? table->search : table->filter);
    edit_set(&app->prompt.edit, text);
    app->prompt.untouched = true;
}

static void apply_threshold(struct app *app)
{
    char *end;
    const double percent = strtod(app->prompt.edit.text, &end);
    if (*end || end == app->prompt.edit.text || !(percent >= 0 && percent <= 100))
        app_message(app, STYLE_BAD, "'%.40s' is not a percentage from 0 to 100; the threshold stays %g %%",
                    app->prompt.edit.text, app->config.threshold * 100);
    else if (app->config.threshold != percent / 100) {
        app->config.threshold = percent / 100;
        app_save_config(app);
    }
}

/* True when the prompt is finished with. An existing file takes a second Enter. */
static bool apply_export(struct app *app)
{
    const char *path = app->prompt.edit.text;
    if (!path[0])
        return true;
    if (access(path, F_OK) == 0 && strcmp(app->prompt.before, path) != 0) {
        memcpy(app->prompt.before, path, strlen(path) + 1);
        return false;
    }
    action_export(app, path);
    return true;
}

static void cancel(struct app *app)
{
    struct table *table = view_table(app, app->view);
    if (app->prompt.kind == PROMPT_SEARCH)
        snprintf(table->search, sizeof table->search, "%.127s", app->prompt.before);
    else if (app->prompt.kind == PROMPT_FILTER)
        snprintf(table->filter, sizeof table->filter, "%.127s", app->prompt.before);
    app->prompt.kind = PROMPT_NONE;
}

static void accept(struct app *app)
{
    bool finished = true;
    switch (app->prompt.kind) {
    case PROMPT_SEARCH:
        if (view_table(app, app->view)->search[0] &&
            !table_find(view_table(app, app->view), app->states[app->view], 1, true))
            app_message(app, STYLE_WARN, "no row contains '%s'", view_table(app, app->view)->search);
        break;
    case PROMPT_THRESHOLD:
        apply_threshold(app);
        break;
    case PROMPT_EXPORT:
        finished = apply_export(app);
        break;
    default:
        break;
    }
    if (finished)
        app->prompt.kind = PROMPT_NONE;
}

void prompt_key(struct app *app, int key)
{
    struct table *table = view_table(app, app->view);
    if (key == KEY_CODE_ESCAPE) {
        cancel(app);
        return;
    }
    if (key == KEY_CODE_ENTER) {
        accept(app);
        return;
    }
    /* A letter begins anew; whoever moves first goes on with what is there. */
    if (app->prompt.untouched && key >= ' ' && key < KEY_CODE_UP && key != 127)
        edit_set(&app->prompt.edit, "");
    app->prompt.untouched = false;
    edit_key(&app->prompt.edit, key);
    if (app->prompt.kind == PROMPT_SEARCH) {
        snprintf(table->search, sizeof table->search, "%.127s", app->prompt.edit.text);
        table_find(table, app->states[app->view], 1, true);
    } else if (app->prompt.kind == PROMPT_FILTER) {
        snprintf(table->filter, sizeof table->filter, "%.127s", app->prompt.edit.text);
    }
}

void prompt_draw(const struct app *app, const struct area *area)
{
    const struct edit *edit = &app->prompt.edit;
    const bool exists =
        app->prompt.kind == PROMPT_EXPORT && edit->text[0] && strcmp(app->prompt.before, edit->text) == 0;
    const char *label = exists ? "The file exists; Enter replaces it: " : labels[app->prompt.kind];
    /* In a narrow window the explanation yields to what is typed. */
    int x = area_text_fit(area, 0, 0, area->width * 2 / 3, exists ? STYLE_WARN : STYLE_BOLD, label);
    edit_draw(edit, area, 0, x, area->width - x, STYLE_NORMAL, true);
}
