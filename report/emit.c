#include "report/emit.h"
#include "base/file.h"
#include "report/svg.h"
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
    [FORMAT_SVG] = {"svg", emit_svg},
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

#define PICTURE_CELLS 4 /* cells whose pictures go beside a Markdown file */

/* The path without its ".md". */
static void stem_of(const char *path, struct strbuf *stem)
{
    const size_t length = strlen(path);
    strbuf_add(stem, path, length > 3 && strcmp(path + length - 3, ".md") == 0 ? length - 3 : length);
}

/* One character of a link's target: what Markdown could end the link with is written as %XX. */
static void put_target(struct strbuf *out, const char *name)
{
    for (const unsigned char *c = (const unsigned char *)name; *c; c++) {
        if (*c <= 0x20 || *c == 0x7f || strchr("()<>[]%\\\"|", *c))
            strbuf_printf(out, "%%%02X", *c);
        else
            strbuf_putc(out, (char)*c);
    }
}

/* Writes the pictures and appends the section that shows them. */
static bool write_pictures(const struct report *report, const char *path, struct strbuf *markdown, struct error *error)
{
    struct strbuf stem = {0}, picture = {0}, file = {0};
    bool done = true, any = false;
    stem_of(path, &stem);
    for (size_t i = 0; done && i < report->cells.count && i < PICTURE_CELLS; i++)
        for (int p = 0; done && p < PICTURE_COUNT; p++) {
            strbuf_clear(&picture);
            strbuf_clear(&file);
            if (!picture_draw((enum picture)p, report->cells.items[i], &picture))
                continue;
            strbuf_printf(&file, "%s-%zu-%s.svg", stem.text, i + 1, picture_name((enum picture)p));
            done = file_write_atomic(file.text, picture.text, picture.length, error);
            const char *slash = strrchr(file.text, '/');
            strbuf_puts(markdown, any ? "\n" : "\n## Pictures\n\n");
            any = true;
            strbuf_puts(markdown, "![");
            strbuf_puts(markdown, picture_name((enum picture)p));
            strbuf_puts(markdown, "](");
            put_target(markdown, slash ? slash + 1 : file.text);
            strbuf_puts(markdown, ")\n");
        }
    strbuf_release(&stem);
    strbuf_release(&picture);
    strbuf_release(&file);
    return done;
}

bool report_write(const struct report *report, enum report_format format, const char *path, struct error *error)
{
    struct strbuf out = {0};
    const bool done = report_emit(report, format, &out, error) &&
                      (format != FORMAT_MARKDOWN || write_pictures(report, path, &out, error)) &&
                      file_write_atomic(path, out.text, out.length, error);
    strbuf_release(&out);
    return done;
}
