#include "base/text.h"
#include <string.h>

#define SOURCE_WIDTH 100 /* characters of a source line that are shown */

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

size_t utf8_length(const char *text)
{
    size_t count = 0;
    for (; *text; text++)
        count += ((unsigned char)*text & 0xc0) != 0x80;
    return count;
}

size_t utf8_width(const char *text)
{
    static const struct {
        unsigned first, last, width;
    } ranges[] = {
        {0x300, 0x36f, 0},     {0x1100, 0x115f, 2},   {0x1ab0, 0x1aff, 0},   {0x1dc0, 0x1dff, 0},   {0x200b, 0x200d, 0},
        {0x20d0, 0x20ff, 0},   {0x2e80, 0x303e, 2},   {0x3041, 0xa4cf, 2},   {0xac00, 0xd7a3, 2},   {0xf900, 0xfaff, 2},
        {0xfe00, 0xfe0f, 0},   {0xfe20, 0xfe2f, 0},   {0xfe30, 0xfe6f, 2},   {0xff00, 0xff60, 2},   {0xffe0, 0xffe6, 2},
        {0x1f300, 0x1f64f, 2}, {0x1f680, 0x1f6ff, 2}, {0x1f900, 0x1f9ff, 2}, {0x20000, 0x3fffd, 2},
    };
    size_t columns = 0;
    while (*text) {
        unsigned c;
        const size_t used = utf8_decode(text, strnlen(text, 4), &c);
        unsigned width = 1;
        for (size_t i = 0; used > 1 && i < sizeof ranges / sizeof *ranges; i++)
            if (c >= ranges[i].first && c <= ranges[i].last)
                width = ranges[i].width;
        columns += width;
        text += used ? used : 1;
    }
    return columns;
}

bool is_unsafe_character(unsigned c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029 || c == 0xfeff || c == 0xfffe ||
           c == 0xffff || c == 0x00ad || c == 0x180e || c == 0x200b || (c >= 0x2060 && c <= 0x2064) ||
           (c >= 0xfff9 && c <= 0xfffb) || (c >= 0xe0000 && c <= 0xe007f) || c == 0x061c || c == 0x200e ||
           c == 0x200f || (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

void text_terminal(struct strbuf *out, const char *text, bool lines)
{
    const size_t length = strlen(text);
    for (size_t at = 0; at < length;) {
        unsigned c;
        const size_t used = utf8_decode(text + at, length - at, &c);
        if (!used)
            strbuf_printf(out, "\\x%02x", (unsigned char)text[at]);
        else if (is_unsafe_character(c) && !(lines && (c == '\n' || c == '\t')))
            strbuf_printf(out, c < 0x100 ? "\\x%02x" : "\\u%04x", c);
        else
            strbuf_add(out, text + at, used);
        at += used ? used : 1;
    }
}

void source_show(struct strbuf *out, const char *line, size_t length, size_t column)
{
    const size_t first = column >= SOURCE_WIDTH * 3 / 4 ? column - SOURCE_WIDTH / 2 : 0;
    size_t at = 0;
    strbuf_puts(out, first ? "\n  …" : "\n  ");
    for (size_t seen = 0; at < length && seen < first + SOURCE_WIDTH; seen++) {
        unsigned c;
        const size_t used = utf8_decode(line + at, length - at, &c);
        if (seen >= first && used && !is_unsafe_character(c))
            strbuf_add(out, line + at, used);
        else if (seen >= first)
            strbuf_putc(out, used && c < 0x20 ? ' ' : '?');
        at += used ? used : 1;
    }
    strbuf_puts(out, at < length ? "…" : "");
    strbuf_printf(out, "\n%*s^", (int)(column - first + (first ? 3 : 2)), "");
}
