#include "report/escape.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define REPLACEMENT "\ufffd"

size_t utf8_decode(const char *text, size_t length, unsigned *code_point)
{
    const unsigned char *bytes = (const unsigned char *)text;
    if (length == 0)
        return 0;
    if (bytes[0] < 0x80) {
        *code_point = bytes[0];
        return 1;
    }
    const size_t need = bytes[0] >= 0xf0 && bytes[0] <= 0xf4 ? 4 : bytes[0] >= 0xe0 ? 3 : 2;
    if (bytes[0] < 0xc2 || bytes[0] > 0xf4 || length < need)
        return 0;
    unsigned value = bytes[0] & (need == 4 ? 0x07 : need == 3 ? 0x0f : 0x1f);
    for (size_t i = 1; i < need; i++) {
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (bytes[i] & 0x3f);
    }
    if ((need == 3 && value < 0x800) || (need == 4 && value < 0x10000) || value > 0x10ffff ||
        (value >= 0xd800 && value <= 0xdfff))
        return 0;
    *code_point = value;
    return need;
}

/* What can move a cursor, break a line or turn the reading direction. */
static bool is_unsafe(unsigned c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029 || c == 0xfeff || c == 0xfffe ||
           c == 0xffff || c == 0x061c || c == 0x200e || c == 0x200f || (c >= 0x202a && c <= 0x202e) ||
           (c >= 0x2066 && c <= 0x2069);
}

bool text_is_clean(const char *text, size_t length)
{
    for (size_t at = 0; at < length;) {
        unsigned c;
        if (text[at] >= 0x20 && text[at] < 0x7f) { /* nearly always */
            at++;
            continue;
        }
        const size_t used = utf8_decode(text + at, length - at, &c);
        if (used == 0 || is_unsafe(c))
            return false;
        at += used;
    }
    return true;
}

void clean_text(struct strbuf *out, const char *text, size_t length)
{
    for (size_t at = 0; at < length;) {
        unsigned c;
        const size_t used = utf8_decode(text + at, length - at, &c);
        if (used == 0)
            strbuf_puts(out, REPLACEMENT);
        else if (c == '\n' || c == '\t' || c == '\r')
            strbuf_putc(out, ' ');
        else if (is_unsafe(c))
            strbuf_puts(out, REPLACEMENT);
        else
            strbuf_add(out, text + at, used);
        at += used ? used : 1;
    }
}

const char *clean_copy(struct arena *arena, const char *text)
{
    const size_t length = strlen(text);
    if (text_is_clean(text, length))
        return arena_strndup(arena, text, length);
    struct strbuf clean = {0};
    clean_text(&clean, text, length);
    const char *copy = arena_strndup(arena, clean.text, clean.length);
    strbuf_release(&clean);
    return copy;
}

/* Appends `text` cleaned, each byte of ASCII replaced by what `replace` gives for it, NULL to keep it. */
static void escape_with(struct strbuf *out, const char *text, const char *(*replace)(char c))
{
    struct strbuf clean = {0};
    clean_text(&clean, text, strlen(text));
    for (size_t i = 0; i < clean.length; i++) {
        const char *instead = replace(clean.text[i]);
        if (instead)
            strbuf_puts(out, instead);
        else
            strbuf_putc(out, clean.text[i]);
    }
    strbuf_release(&clean);
}

static const char *markdown_replacement(char c)
{
    switch (c) {
    case '|':
        return "\\|";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '&':
        return "&amp;";
    case '`':
        return "\\`";
    case '*':
        return "\\*";
    case '[':
        return "\\[";
    case ']':
        return "\\]";
    case '\\':
        return "\\\\";
    default:
        return NULL;
    }
}

void escape_markdown_cell(struct strbuf *out, const char *text)
{
    struct strbuf escaped = {0};
    escape_with(&escaped, text, markdown_replacement);
    /* An underscore inside a word is only an underscore; at its edge it could open emphasis. */
    for (size_t i = 0; i < escaped.length; i++) {
        const char c = escaped.text[i];
        if (c == '_' &&
            (i == 0 || !isalnum((unsigned char)escaped.text[i - 1]) || !isalnum((unsigned char)escaped.text[i + 1])))
            strbuf_putc(out, '\\');
        strbuf_putc(out, c);
    }
    strbuf_release(&escaped);
}

static const char *json_replacement(char c)
{
    return c == '"' ? "\\\"" : c == '\\' ? "\\\\" : NULL;
}

void escape_json(struct strbuf *out, const char *text)
{
    strbuf_putc(out, '"');
    escape_with(out, text, json_replacement);
    strbuf_putc(out, '"');
}

/* Words that YAML 1.1 or 1.2 readers take for something else than a string. */
static bool is_reserved_word(const char *text)
{
    static const char *const words[] = {"true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan", "inf"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcasecmp(text, words[i]) == 0)
            return true;
    return false;
}

/* Plain only from letters on, and of characters that mean nothing anywhere, flow collections included. */
static bool is_plain(const char *text)
{
    if (!isalpha((unsigned char)text[0]) || is_reserved_word(text))
        return false;
    for (const char *c = text; *c; c++) {
        const bool separator = (*c == ' ' || *c == ':') && c[1] && c[1] != ' ' && c[1] != ':';
        if (!isalnum((unsigned char)*c) && !strchr("_-./+@()=", *c) && !separator)
            return false;
    }
    return true;
}

void escape_yaml(struct strbuf *out, const char *text)
{
    if (is_plain(text))
        strbuf_puts(out, text);
    else
        escape_json(out, text);
}

void escape_csv(struct strbuf *out, const char *text)
{
    struct strbuf clean = {0};
    clean_text(&clean, text, strlen(text));
    strbuf_puts(&clean, "");
    char *end;
    strtod(clean.text, &end);
    const bool formula = clean.length && strchr("=+-@", clean.text[0]) && (end == clean.text || *end);
    if (formula || strpbrk(clean.text, ",\"")) {
        strbuf_putc(out, '"');
        if (formula)
            strbuf_putc(out, '\'');
        for (size_t i = 0; i < clean.length; i++) {
            if (clean.text[i] == '"')
                strbuf_putc(out, '"');
            strbuf_putc(out, clean.text[i]);
        }
        strbuf_putc(out, '"');
    } else
        strbuf_add(out, clean.text, clean.length);
    strbuf_release(&clean);
}

static const char *xml_replacement(char c)
{
    switch (c) {
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '&':
        return "&amp;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return NULL;
    }
}

void escape_xml(struct strbuf *out, const char *text)
{
    escape_with(out, text, xml_replacement);
}

size_t utf8_length(const char *text)
{
    size_t count = 0;
    for (; *text; text++)
        count += ((unsigned char)*text & 0xc0) != 0x80;
    return count;
}
