/* steptop diff BEFORE AFTER: what became slower or faster, and whether that is more than noise. */
#include "report/diff.h"
#include "base/limits.h"
#include "cli/cli.h"
#include "cli/kept.h"
#include "cli/kind.h"
#include "cli/outputs.h"
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* "2%", "2", "0.5 %": percent. */
static bool threshold_parse(const char *text, double *threshold, struct error *error)
{
    char *end;
    const double percent = strtod(text, &end);
    while (*end == ' ')
        end++;
    if (*end == '%')
        end++;
    if (end == text || *end || !(percent >= 0 && percent <= 1000))
        return error_set(error, ERROR_USAGE, "--threshold: '%s' is not a percentage such as 2%%", text);
    *threshold = percent / 100;
    return true;
}

struct reading {
    const char *path;
    struct report report;
    struct error error;
    bool done;
};

static void *read_report(void *context)
{
    struct reading *reading = context;
    reading->done = report_read(reading->path, &reading->report, &reading->error);
    return NULL;
}

/* Both files at the same time: a large report takes a second. */
static bool read_both(struct reading *before, struct reading *after, struct error *error)
{
    pthread_t thread;
    const bool threaded = pthread_create(&thread, NULL, read_report, before) == 0;
    read_report(after);
    if (threaded)
        pthread_join(thread, NULL);
    else
        read_report(before);
    if (!before->done)
        *error = before->error;
    else if (!after->done)
        *error = after->error;
    return before->done && after->done;
}

/* --across AXIS REPORT…: the cells of one report, or of several together, with each other. */
static int diff_cells(const struct arguments *arguments, double threshold)
{
    const char *format = arguments->value[OPTION_DIFF_FORMAT], *path = arguments->value[OPTION_OUTPUT];
    const int count = arguments->positional_count;
    const bool to_file = path && strcmp(path, "-") != 0;
    struct error error = {0};
    const struct axis *axis = axis_find(arguments->value[OPTION_ACROSS], &error);
    struct report *reports = calloc((size_t)count, sizeof *reports);
    struct diff diff = {0};
    struct strbuf text = {0}, names = {0};
    int code = EXIT_OK;
    if (!reports)
        memory_exhausted((size_t)count, "reports");
    bool done = axis && (!to_file || check_path("--output", path, &error));
    for (int i = 0; done && i < count; i++) {
        char file[PATH_MAX];
        const struct named_file files[] = {{"diff", file, false, false}, {"--output", path, true, false}};
        done = kept_path(arguments->positional[i], file, sizeof file, &error) &&
               files_apart(files, to_file ? 2 : 1, &error) && file_is(file, KIND_REPORT, &error) &&
               report_read(file, &reports[i], &error);
        if (done && i > 0)
            report_join(&reports[0], &reports[i], arguments->positional[i]);
        strbuf_printf(&names, "%s%s", i ? " + " : "", arguments->positional[i]);
    }
    if (done) {
        diff_across(&diff, &reports[0], axis, threshold);
        if (!diff.matched)
            done = error_set(&error, ERROR_INPUT, "%.200s: no two cells differ in %s alone", names.text, axis->key);
    }
    if (done && format && strcmp(format, "markdown") == 0)
        diff_markdown(&diff, names.text, "", &text);
    else if (done)
        diff_text(&diff, names.text, "", &text);
    if (!done || !write_all(path, text.text, text.length, &error))
        code = fail(&error);
    diff_free(&diff);
    for (int i = 0; i < count; i++)
        report_free(&reports[i]);
    free(reports);
    strbuf_release(&text);
    strbuf_release(&names);
    return code;
}

int command_diff(const struct arguments *arguments)
{
    const char *format = arguments->value[OPTION_DIFF_FORMAT], *path = arguments->value[OPTION_OUTPUT];
    char first[PATH_MAX], second[PATH_MAX];
    struct reading before = {.path = first}, after = {.path = second};
    struct diff diff = {0};
    struct strbuf text = {0};
    struct error error = {0};
    double threshold = COMPARE_THRESHOLD;
    int code = EXIT_OK;
    if (arguments->value[OPTION_THRESHOLD] && !threshold_parse(arguments->value[OPTION_THRESHOLD], &threshold, &error))
        return fail(&error);
    if (format && strcmp(format, "text") != 0 && strcmp(format, "markdown") != 0) {
        error_set(&error, ERROR_USAGE, "--format: diff writes text or markdown, not '%s'", format);
        return fail(&error);
    }
    if (arguments->value[OPTION_ACROSS])
        return diff_cells(arguments, threshold);
    if (arguments->positional_count != 2) {
        error_set(&error, ERROR_USAGE, "'diff' needs BEFORE AFTER, or --across and one report or more");
        return fail(&error);
    }
    if (!kept_path(arguments->positional[0], first, sizeof first, &error) ||
        !kept_path(arguments->positional[1], second, sizeof second, &error) || !file_is(first, KIND_REPORT, &error) ||
        !file_is(second, KIND_REPORT, &error))
        return fail(&error);
    if (strcmp(before.path, "-") == 0 && strcmp(after.path, "-") == 0) {
        error_set(&error, ERROR_USAGE, "only one of the two reports can come from standard input");
        return fail(&error);
    }
    const bool to_file = path && strcmp(path, "-") != 0;
    const struct named_file files[] = {
        {"diff", before.path, false, false}, {"diff", after.path, false, false}, {"--output", path, true, false}};
    if ((to_file && !check_path("--output", path, &error)) || !files_apart(files, to_file ? 3 : 2, &error))
        return fail(&error);
    if (!read_both(&before, &after, &error)) {
        code = fail(&error);
        goto cleanup;
    }
    diff_make(&diff, &before.report, &after.report, threshold);
    if (!diff.matched) {
        error_set(
            &error, ERROR_INPUT,
            "%s and %s have no cell in common: no model, shape, dtype, device, mode and number of threads is in both",
            before.path, after.path);
        code = fail(&error);
        goto cleanup;
    }
    if (format && strcmp(format, "markdown") == 0)
        diff_markdown(&diff, before.path, after.path, &text);
    else
        diff_text(&diff, before.path, after.path, &text);
    if (!write_all(path, text.text, text.length, &error))
        code = fail(&error);
    else
        code = diff.regression ? EXIT_REGRESSION : EXIT_OK;
cleanup:
    diff_free(&diff);
    if (before.done)
        report_free(&before.report);
    if (after.done)
        report_free(&after.report);
    strbuf_release(&text);
    return code;
}
