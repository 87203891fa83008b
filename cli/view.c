/* steptop view: an old report on the screen; steptop replay: a recording, as if it ran now. */
#include "base/limits.h"
#include "base/system.h"
#include "cli/kept.h"
#include "cli/kind.h"
#include "cli/run.h"
#include "cli/screen.h"
#include "cli/verdict.h"
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *file_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

int command_view(const struct arguments *arguments)
{
    const int count = arguments->positional_count;
    struct report *reports = calloc((size_t)count, sizeof *reports);
    struct outputs outputs = {0};
    struct error error = {0};
    int code = EXIT_FAILED;
    if (!reports)
        memory_exhausted((size_t)count, "reports");
    for (int i = 0; i < count; i++) {
        char path[PATH_MAX];
        if (!kept_path(arguments->positional[i], path, sizeof path, &error) || !file_is(path, KIND_REPORT, &error) ||
            !report_read(path, &reports[i], &error)) {
            code = fail(&error);
            goto cleanup;
        }
        if (i > 0)
            report_join(&reports[0], &reports[i], file_name(arguments->positional[i]));
        else
            for (size_t c = 0; count > 1 && c < reports[0].cells.count; c++)
                reports[0].cells.items[c]->source = file_name(arguments->positional[0]);
    }
    bool known = true;
    if (!screen_possible(&known)) {
        error_set(&error, ERROR_USAGE, "view needs a terminal%s%s%s; 'steptop report %s' prints the report",
                  known ? "" : ", and this system does not know how to draw on TERM=", known ? "" : getenv("TERM"),
                  known ? "" : " (most work with TERM=xterm-256color)", arguments->positional[0]);
        code = fail(&error);
    } else {
        struct screen screen = {arguments, NULL, &reports[0], &outputs, false};
        code = screen_run(&screen);
    }
cleanup:
    for (int i = 0; i < count; i++)
        report_free(&reports[i]);
    free(reports);
    return code;
}

/* "2", "0.5", "max": how many times as fast as it was recorded; 0 is as fast as it can be read. */
static bool read_speed(const char *text, double *speed, struct error *error)
{
    if (!text)
        return true;
    if (strcmp(text, "max") == 0) {
        *speed = 0;
        return true;
    }
    char *end;
    *speed = strtod(text, &end);
    if (*end || !(*speed > 0 && *speed <= 1e6))
        return error_set(error, ERROR_USAGE, "--speed %s: it is a number above 0, or max", text);
    return true;
}

int command_replay(const struct arguments *arguments)
{
    struct report report = {0};
    struct outputs outputs;
    enum report_format format;
    struct session *session = NULL;
    struct error error = {0};
    const bool on_screen = screen_wanted(arguments);
    double speed = on_screen ? 1 : 0;
    int code = EXIT_FAILED;
    char program[PATH_MAX];
    const struct session_options options = {.program = program_self(program, sizeof program)};
    if (!fail_on_check(arguments, &error) || !format_take(arguments, &format, &error) ||
        !read_speed(arguments->value[OPTION_SPEED], &speed, &error) ||
        !outputs_take(&outputs, arguments, FORMAT_YAML, &error))
        return fail(&error);
    if (!file_is(arguments->positional[0], KIND_RECORDING, &error))
        return fail(&error);
    report_init(&report);
    report.profile_name = "replay";
    session = session_create(&options, &error);
    if (!session || !session_replay(session, arguments->positional[0], speed, &error)) {
        code = fail(&error);
        goto cleanup;
    }
    if (on_screen) {
        struct screen screen = {arguments, session, &report, &outputs, false};
        code = screen_run(&screen);
    } else {
        struct batch batch = {arguments, session, &report, &outputs, format};
        code = batch_run(&batch);
    }
cleanup:
    session_free(session);
    report_free(&report);
    return code;
}
