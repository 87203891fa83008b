/* One file to send to somebody: the Markdown report, whose few forms are known here, as HTML, with the pictures in it. Nothing is
 * loaded, and nothing needs a script; with one, a click on a column's head sorts its table. */
#include "report/emit.h"
#include "report/escape.h"
#include "report/markdown.h"
#include "report/svg.h"
#include <ctype.h>
#include <string.h>

#define PICTURE_CELLS 4

static const char head[] =
    "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src "
    "'unsafe-inline'\">\n<title>steptop report</title>\n<style>\n"
    ":root { color-scheme: light dark; }\n"
    "body { font: 15px/1.5 system-ui, sans-serif; max-width: 110em; margin: 2em auto; padding: 0 1em; }\n"
    "table { border-collapse: collapse; font-variant-numeric: tabular-nums; }\n"
    ".wide { overflow-x: auto; margin: 1em 0; }\n"
    "th, td { padding: .15em .7em; border-bottom: 1px solid #8884; text-align: left; white-space: nowrap; }\n"
    "th { cursor: pointer; vertical-align: bottom; }\nth small { display: block; font-weight: 400; opacity: .65; }\n.n "
    "{ text-align: right; }\n"
    "details { border-top: 1px solid #8886; padding: .4em 0; }\nsummary { font-weight: 600; cursor: pointer; }\n"
    "svg { max-width: 100%; height: auto; }\ncode { font-family: ui-monospace, monospace; }\n"
    "</style>\n</head>\n<body>\n";

static const char script[] =
    "<script>\n"
    "for (const th of document.querySelectorAll('th')) th.addEventListener('click', () => {\n"
    "  const table = th.closest('table'), at = [...th.parentNode.children].indexOf(th), body = table.tBodies[0];\n"
    "  const up = th.dataset.up !== '1', value = row => row.cells[at].textContent.trim();\n"
    "  th.dataset.up = up ? '1' : '0';\n"
    "  [...body.rows].sort((a, b) => {\n"
    "    const x = value(a), y = value(b), p = parseFloat(x), q = parseFloat(y);\n"
    "    const order = isNaN(p) || isNaN(q) ? (isNaN(p) ? 1 : 0) - (isNaN(q) ? 1 : 0) || x.localeCompare(y) : p - q;\n"
    "    return up ? order : -order;\n"
    "  }).forEach(row => body.append(row));\n"
    "});\n</script>\n";

/* A line's text: entities are HTML's already, a backslash makes the next character plain, ** is bold and ` code. */
static void inline_text(struct strbuf *out, const char *text, size_t length)
{
    bool bold = false, code = false;
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '\\' && i + 1 < length && ispunct((unsigned char)text[i + 1]))
            i++;
        else if (text[i] == '*' && i + 1 < length && text[i + 1] == '*') {
            strbuf_puts(out, bold ? "</b>" : "<b>");
            bold = !bold;
            i++;
            continue;
        } else if (text[i] == '`') {
            strbuf_puts(out, code ? "</code>" : "<code>");
            code = !code;
            continue;
        } else if (length - i >= 7 && strncmp(text + i, "&#8203;", 7) == 0) { /* only forges need it */
            i += 6;
            continue;
        } else if (text[i] == '&') { /* of an entity */
            strbuf_putc(out, '&');
            continue;
        }
        const char c = text[i];
        strbuf_puts(out, c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '&' ? "&amp;" : c == '"' ? "&quot;" : "");
        if (!strchr("<>&\"", c))
            strbuf_putc(out, c);
    }
    strbuf_puts(out, bold ? "</b>" : "");
    strbuf_puts(out, code ? "</code>" : "");
}

/* What kind of figure a column of numbers holds, by the first of these words that is in its head (= before it: that is the head); the
 * rest is measured. */
static const char *kind_of(const char *text, size_t length)
{
    static const struct {
        const char *words, *kind;
    } kinds[] = {{"counted", "measured"},
                 {"modelled", "modelled"},
                 {"resident", "measured"},
                 {"bw GB/s", "measured"},
                 {"FLOP", "modelled"},
                 {"byte", "modelled"},
                 {"B/s", "modelled"},
                 {"intensity", "modelled"},
                 {"planned", "modelled"},
                 {"saved", "modelled"},
                 {"parameter", "modelled"},
                 {"wd peak", "sampled"}, /* an attached program's; the plan's own are "peak bwd" */
                 {"peak ", "modelled"},
                 {"MiB", "modelled"},
                 {"residual", "modelled"},
                 {"of the block", "modelled"},
                 {"gradient", "modelled"},
                 {"optimizer", "modelled"},
                 {"copies", "modelled"},
                 {"=input", "modelled"},
                 {"=output", "modelled"},
                 {"=constant", "modelled"},
                 {"=scratch", "modelled"},
                 {"after init", "modelled"},
                 {"before step", "modelled"},
                 {"after step", "modelled"},
                 {"=MB", "modelled"},
                 {"=rank", ""},
                 {"MHz", "sampled"},
                 {" W", "sampled"},
                 {"°C", "sampled"},
                 {"load", "sampled"},
                 {"batch_size", ""},
                 {"context", ""},
                 {"d_model", ""},
                 {"heads", ""},
                 {"warm-up", ""},
                 {"threads", ""},
                 {"ranks", ""},
                 {"seed", ""},
                 {"repetition", ""},
                 {"batch", ""}};
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        if (*kinds[k].words == '=' ? length == strlen(kinds[k].words) - 1 && !memcmp(text, kinds[k].words + 1, length)
                                   : memmem(text, length, kinds[k].words, strlen(kinds[k].words)) != NULL)
            return kinds[k].kind;
    return length ? "measured" : "";
}

/* The cells of a row; `numbers` has a bit for each that stands to the right. */
static void row(struct strbuf *out, const char *line, size_t length, const char *tag, uint64_t numbers)
{
    strbuf_puts(out, "<tr>");
    for (size_t at = 1, column = 0; at < length; column++) {
        size_t end = at;
        while (end < length && line[end] != '|')
            end += line[end] == '\\' && end + 1 < length ? 2 : 1;
        if (end >= length)
            break;
        size_t first = at, last = end;
        while (first < last && line[first] == ' ')
            first++;
        while (last > first && line[last - 1] == ' ')
            last--;
        strbuf_printf(out, "<%s%s>", tag, column < 64 && numbers >> column & 1 ? " class=\"n\"" : "");
        inline_text(out, line + first, last - first);
        if (tag[1] == 'h' && column < 64 && numbers >> column & 1) {
            const char *kind = kind_of(line + first, last - first);
            strbuf_printf(out, *kind ? "<small>%s</small>" : "%s", kind);
        }
        strbuf_printf(out, "</%s>", tag);
        at = end + 1;
    }
    strbuf_puts(out, "</tr>\n");
}

/* |---:|:---| : a bit a column that is numbers. */
static uint64_t alignment(const char *line, size_t length)
{
    uint64_t numbers = 0;
    for (size_t i = 1, column = 0; i < length; i++)
        if (line[i] == '|') {
            numbers |= column < 64 && line[i - 1] == ':' ? UINT64_C(1) << column : 0;
            column++;
        }
    return numbers;
}

static size_t line_length(const char *text)
{
    return strcspn(text, "\n");
}

static const char *next_line(const char *text)
{
    text += line_length(text);
    return *text ? text + 1 : text;
}

static const char *table(struct strbuf *out, const char *text)
{
    const char *rule = next_line(text);
    const uint64_t numbers = alignment(rule, line_length(rule));
    strbuf_puts(out, "<div class=\"wide\"><table>\n<thead>");
    row(out, text, line_length(text), "th", numbers);
    strbuf_puts(out, "</thead>\n<tbody>\n");
    for (text = next_line(rule); *text == '|'; text = next_line(text))
        row(out, text, line_length(text), "td", numbers);
    strbuf_puts(out, "</tbody>\n</table></div>\n");
    return text;
}

static void blocks(struct strbuf *out, const char *text)
{
    static const char open[] = "<details>", close[] = "</details>";
    bool list = false;
    while (*text) {
        const size_t length = line_length(text);
        const bool item = strncmp(text, "- ", 2) == 0;
        if (list != item) {
            strbuf_puts(out, list ? "</ul>\n" : "");
            strbuf_puts(out, item ? "<ul>\n" : "");
            list = item;
        }
        if (item) {
            strbuf_puts(out, "<li>");
            inline_text(out, text + 2, length - 2);
            strbuf_puts(out, "</li>\n");
        } else if (*text == '|') {
            text = table(out, text);
            continue;
        } else if (strncmp(text, open, sizeof open - 1) == 0 || strncmp(text, close, sizeof close - 1) == 0) {
            strbuf_add(out, text, length); /* markdown_compose writes them, with a title of its own */
            strbuf_putc(out, '\n');
        } else if (*text == '#') {
            const int level = (int)strspn(text, "#");
            strbuf_printf(out, "<h%d>", level);
            inline_text(out, text + level + 1, length > (size_t)level ? length - (size_t)level - 1 : 0);
            strbuf_printf(out, "</h%d>\n", level);
        } else if (length) {
            strbuf_puts(out, "<p>");
            inline_text(out, text, length);
            strbuf_puts(out, "</p>\n");
        }
        text = next_line(text);
    }
    strbuf_puts(out, list ? "</ul>\n" : "");
}

/* Where markdown_compose is to put pictures: a line that no text of the report can be, for what is strange in it is escaped. */
#define HERE "[[pictures]]"

void emit_html(const struct report *report, struct strbuf *out)
{
    struct strbuf markdown = {0}, pictures = {0};
    bool folded = false;
    strbuf_puts(out, head);
    markdown_compose(report, "\n" HERE "\n", "", &markdown);
    size_t drawn = 0; /* the first two are seen at once, the others on demand */
    for (int o = 0; o < OVERVIEW_COUNT; o++)
        drawn += overview_draw((enum overview)o, report, &pictures);
    for (size_t i = 0; i < report->cells.count && i < PICTURE_CELLS; i++)
        for (int p = 0; p < PICTURE_COUNT; p++) {
            if (drawn >= 2 && !folded)
                strbuf_puts(&pictures, "<details><summary>More pictures</summary>\n");
            folded = drawn >= 2;
            drawn += picture_draw((enum picture)p, report->cells.items[i], &pictures);
        }
    char *here = strstr(markdown.text, HERE);
    *here = 0;
    blocks(out, markdown.text);
    if (pictures.length) {
        strbuf_add(out, pictures.text, pictures.length);
        if (folded)
            strbuf_puts(out, "</details>\n");
    }
    blocks(out, here + strlen(HERE));
    strbuf_puts(out, script);
    strbuf_puts(out, "</body>\n</html>\n");
    strbuf_release(&markdown);
    strbuf_release(&pictures);
}
