#include "report/emit.h"
#include "base/file.h"
#include <string.h>

static void emit_seed(const struct report *report, struct strbuf *out)
{
    report_seed_table(report, out);
}

static const struct format {
    const char *name;
    void (*emit)(const struct report *report, struct strbuf *out);
} formats[FORMAT_COUNT] = {
    [FORMAT_YAML] = {"yaml", emit_yaml},
    [FORMAT_MARKDOWN] = {"markdown", emit_markdown},
    [FORMAT_JSON] = {"json", emit_json},
    [FORMAT_CSV] = {"csv", emit_csv},
    [FORMAT_PERFETTO] = {"perfetto", emit_perfetto},
    [FORMAT_SEED] = {"seed", emit_seed},
};

const char *report_format_name(enum report_format format)
{
    return formats[format].name;
}

bool report_format_parse(const char *text, enum report_format *format, struct error *error)
{
    struct strbuf names = {0};
    for (int i = 0; i < FORMAT_COUNT; i++) {
        if (!formats[i].name)
            continue;
        if (strcmp(text, formats[i].name) == 0) {
            *format = (enum report_format)i;
            strbuf_release(&names);
            return true;
        }
        strbuf_printf(&names, "%s%s", names.length ? ", " : "", formats[i].name);
    }
    error_set(error, ERROR_USAGE, "'%s' is not a report format; there are %s", text, names.text);
    strbuf_release(&names);
    return false;
}

bool report_emit(const struct report *report, enum report_format format, struct strbuf *out, struct error *error)
{
    if (!formats[format].emit)
        return error_set(error, ERROR_UNSUPPORTED, "this build cannot write that format");
    formats[format].emit(report, out);
    return true;
}

bool report_write(const struct report *report, enum report_format format, const char *path, struct error *error)
{
    struct strbuf out = {0};
    const bool done = report_emit(report, format, &out, error) && file_write_atomic(path, out.text, out.length, error);
    strbuf_release(&out);
    return done;
}
