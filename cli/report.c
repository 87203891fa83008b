/* steptop report FILE: an old report in another form. */
#include "report/report.h"
#include "cli/cli.h"
#include "cli/kept.h"
#include "cli/outputs.h"
#include <limits.h>
#include <string.h>

int command_report(const struct arguments *given)
{
    struct arguments arguments = *given;
    const char *named = arguments.value[OPTION_FORMAT], *output = arguments.value[OPTION_OUTPUT];
    const bool dash = output && strcmp(output, "-") == 0; /* standard output, said aloud */
    enum report_format format = FORMAT_MARKDOWN;
    struct report report = {0};
    struct outputs outputs = {0};
    struct strbuf text = {0};
    struct error error = {0};
    char path[PATH_MAX];
    int code = EXIT_OK;
    if (dash)
        arguments.value[OPTION_OUTPUT] = NULL;
    if ((named && !report_format_parse(named, &format, &error)) ||
        !outputs_take(&outputs, &arguments, format, &error) ||
        !kept_path(arguments.positional[0], path, sizeof path, &error) || !report_read(path, &report, &error))
        return fail(&error);
    if (!outputs_write(&outputs, &report, &error))
        code = fail(&error);
    /* Without a file for it, the report goes to standard output. */
    else if (dash || (!output && (named || outputs.count == 0))) {
        report_emit(&report, format, &text);
        code = print_all(text.text, text.length, &error) ? EXIT_OK : fail(&error);
    }
    strbuf_release(&text);
    report_free(&report);
    return code;
}
