/* steptop report FILE: an old report in another form. */
#include "report/report.h"
#include "cli/cli.h"
#include "cli/outputs.h"

int command_report(const struct arguments *arguments)
{
    const char *named = arguments->value[OPTION_FORMAT];
    enum report_format format = FORMAT_MARKDOWN;
    struct report report = {0};
    struct outputs outputs = {0};
    struct strbuf text = {0};
    struct error error = {0};
    int code = EXIT_OK;
    if ((named && !report_format_parse(named, &format, &error)) || !outputs_take(&outputs, arguments, format, &error) ||
        !report_read(arguments->positional[0], &report, &error))
        return fail(&error);
    if (!outputs_write(&outputs, &report, &error))
        code = fail(&error);
    /* Without a file for it, the report goes to standard output. */
    else if (!arguments->value[OPTION_OUTPUT] && (named || outputs.count == 0) &&
             (!report_emit(&report, format, &text, &error) || !print_all(text.text, text.length, &error)))
        code = fail(&error);
    strbuf_release(&text);
    report_free(&report);
    return code;
}
