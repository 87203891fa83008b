/* steptop report FILE: an old report in another form. */
#include "report/report.h"
#include "cli/cli.h"
#include "cli/kept.h"
#include "cli/kind.h"
#include "cli/outputs.h"
#include "cli/verdict.h"
#include "report/findings.h"
#include <limits.h>
#include <string.h>

static bool write_handout(const struct report *report, enum report_format format, const char *path, struct error *error)
{
    struct strbuf text = {0};
    if (format != FORMAT_MARKDOWN && format != FORMAT_CSV)
        return error_set(error, ERROR_USAGE, "--handout is written as markdown or csv, not as %s",
                         report_format_name(format));
    report_handout(report, format == FORMAT_CSV, &text);
    const bool done = write_all(path, text.text, text.length, error);
    strbuf_release(&text);
    return done;
}

int command_report(const struct arguments *given)
{
    struct arguments arguments = *given;
    const char *named = arguments.value[OPTION_FORMAT], *output = arguments.value[OPTION_OUTPUT];
    const bool dash = output && strcmp(output, "-") == 0; /* standard output, said aloud */
    enum report_format format;
    struct report report = {0};
    struct outputs outputs = {0};
    struct strbuf text = {0};
    struct error error = {0};
    char path[PATH_MAX];
    int code = EXIT_OK;
    const bool handout = arguments.value[OPTION_HANDOUT] != NULL, only = arguments.value[OPTION_FINDINGS] != NULL;
    if (handout && only) {
        error_set(&error, ERROR_USAGE, "--handout and --findings: one of the two");
        return fail(&error);
    }
    if (dash || handout || only)
        arguments.value[OPTION_OUTPUT] = NULL;
    if (!fail_on_check(&arguments, &error) || !format_take(&arguments, &format, &error) ||
        !outputs_take(&outputs, &arguments, format, &error) ||
        !kept_path(arguments.positional[0], path, sizeof path, &error) || !file_is(path, KIND_REPORT, &error) ||
        !report_read(path, &report, &error))
        return fail(&error);
    const struct named_file files[] = {{"report", path, false, false}, {"--output", output, true, false}};
    if ((handout || only) && output && !dash &&
        (!check_path("--output", output, &error) || !files_apart(files, 2, &error))) {
        report_free(&report);
        return fail(&error);
    }
    if (handout)
        code = write_handout(&report, format, output, &error) ? EXIT_OK : fail(&error);
    if (only) {
        findings_text(&report, &text);
        code = write_all(output, text.text, text.length, &error) ? EXIT_OK : fail(&error);
    }
    if (code == EXIT_OK && !outputs_write(&outputs, &report, &error))
        code = fail(&error);
    /* Without a file for it, the report goes to standard output. */
    else if (!handout && !only && (dash || (!output && (named || outputs.count == 0)))) {
        report_emit(&report, format, &text);
        code = print_all(text.text, text.length, &error) ? EXIT_OK : fail(&error);
    }
    if (code == EXIT_OK && fail_on_fires(&arguments, &report))
        code = EXIT_FINDING;
    strbuf_release(&text);
    report_free(&report);
    return code;
}
