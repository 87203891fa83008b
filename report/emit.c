#include "report/emit.h"
#include "base/file.h"
#include "report/markdown.h"
#include "report/svg.h"
#include <string.h>

static void emit_seed(const struct report *report, struct strbuf *out)
{
    report_seed_table(report, out);
    report_seed_head(report, out);
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
    [FORMAT_HTML] = {"html", emit_html},
    [FORMAT_KERNELS] = {"kernels", emit_kernels},
};

const char *report_format_name(enum report_format format)
{
    return formats[format].name;
}

bool report_format_parse(const char *text, enum report_format *format, struct error *error)
{
    struct strbuf names = {0};
    for (int i = 0; i < FORMAT_COUNT; i++) {
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

void report_emit(const struct report *report, enum report_format format, struct strbuf *out)
{
    formats[format].emit(report, out);
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

/* The pictures that go beside a Markdown file: first those of the report as a whole, then the first cells'. */
#define PICTURES (OVERVIEW_COUNT + PICTURE_CELLS * PICTURE_COUNT)

bool report_picture_path(const char *markdown, size_t n, struct strbuf *out)
{
    if (n >= PICTURES)
        return false;
    stem_of(markdown, out);
    if (n < OVERVIEW_COUNT) {
        strbuf_printf(out, "-%s.svg", overview_name((enum overview)n));
        return true;
    }
    n -= OVERVIEW_COUNT;
    strbuf_printf(out, "-%zu-%s.svg", n / PICTURE_COUNT + 1, picture_name((enum picture)(n % PICTURE_COUNT)));
    return true;
}

/* The n-th picture and what it is called; false where there is no data for it. */
static bool draw_nth(const struct report *report, size_t n, struct strbuf *picture, struct strbuf *title)
{
    if (n < OVERVIEW_COUNT) {
        strbuf_printf(title, "%s of the report", overview_name((enum overview)n));
        return overview_draw((enum overview)n, report, picture);
    }
    n -= OVERVIEW_COUNT;
    if (n / PICTURE_COUNT >= report->cells.count)
        return false;
    const struct report_cell *cell = report->cells.items[n / PICTURE_COUNT];
    strbuf_printf(title, "%s of ", picture_name((enum picture)(n % PICTURE_COUNT)));
    markdown_title(cell, title);
    return picture_draw((enum picture)(n % PICTURE_COUNT), cell, picture);
}

size_t report_picture_count(const struct report *report)
{
    struct strbuf picture = {0}, title = {0};
    size_t count = 0;
    for (size_t n = 0; n < PICTURES; n++)
        count += draw_nth(report, n, &picture, &title);
    strbuf_release(&picture);
    strbuf_release(&title);
    return count;
}

/* Writes the pictures and the links that show them: the first two to `first`, the others as a section to `rest`. The text does not
 * wait for a picture that cannot be written: it is left out, and the first such failure is returned. */
static bool write_pictures(const struct report *report, const char *path, struct strbuf *first, struct strbuf *rest,
                           struct error *error)
{
    size_t shown = 0;
    struct strbuf picture = {0}, file = {0}, title = {0};
    bool done = true;
    for (size_t n = 0; n < PICTURES; n++) {
        struct error problem = {0};
        strbuf_clear(&picture);
        strbuf_clear(&file);
        strbuf_clear(&title);
        if (!draw_nth(report, n, &picture, &title))
            continue;
        report_picture_path(path, n, &file);
        if (!file_write_atomic(file.text, picture.text, picture.length, &problem)) {
            if (done)
                *error = problem;
            done = false;
            continue;
        }
        const char *slash = strrchr(file.text, '/');
        struct strbuf *markdown = shown < 2 ? first : rest;
        strbuf_puts(markdown, shown == 2 ? "\n## Pictures\n\n" : "\n");
        shown++;
        strbuf_printf(markdown, "![%s](", title.text);
        put_target(markdown, slash ? slash + 1 : file.text);
        strbuf_puts(markdown, ")\n");
    }
    if (shown > 2 && report->cells.count > PICTURE_CELLS)
        strbuf_printf(rest, "\nOf the first %d of %zu cells.\n", PICTURE_CELLS, report->cells.count);
    strbuf_release(&picture);
    strbuf_release(&file);
    strbuf_release(&title);
    return done;
}

bool report_write(const struct report *report, enum report_format format, const char *path, struct error *error)
{
    struct strbuf out = {0};
    struct error problem = {0};
    bool drawn = true;
    if (format == FORMAT_MARKDOWN) {
        struct strbuf first = {0}, rest = {0};
        strbuf_puts(&first, "");
        strbuf_puts(&rest, "");
        drawn = write_pictures(report, path, &first, &rest, &problem);
        markdown_compose(report, first.text, rest.text, &out);
        strbuf_release(&first);
        strbuf_release(&rest);
    } else
        report_emit(report, format, &out);
    const bool done = file_write_atomic(path, out.text, out.length, error);
    if (done && !drawn)
        *error = problem;
    strbuf_release(&out);
    return done && drawn;
}
