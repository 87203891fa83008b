/* Errors in a file, printed as compilers print them. */
#include "profiles/tree.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define SHOWN_MAX 8
#define SOURCE_WIDTH 100 /* characters of the source line that are shown */

/* Bytes of the UTF-8 character that starts at `text`. */
static size_t character_bytes(const char *text, size_t left)
{
    size_t bytes = 1;
    while (bytes < left && ((unsigned char)text[bytes] & 0xc0) == 0x80)
        bytes++;
    return bytes;
}

/* The line that holds `place`, cut to a window around it, and a caret under the column. */
static void add_source(struct diagnostics *diagnostics, struct place place)
{
    const char *at = diagnostics->text, *end = diagnostics->text + diagnostics->length;
    for (size_t line = 1; line < place.line; line++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        if (!newline)
            return;
        at = newline + 1;
    }
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    if (newline)
        end = newline;
    const size_t first = place.column > SOURCE_WIDTH * 3 / 4 ? place.column - SOURCE_WIDTH / 2 : 1;
    size_t column = 1;
    struct strbuf caret = {0};
    strbuf_puts(&diagnostics->out, first > 1 ? "\n  …" : "\n  ");
    strbuf_puts(&caret, first > 1 ? "\n   " : "\n  ");
    while (at < end && column < first + SOURCE_WIDTH) {
        const size_t bytes = character_bytes(at, (size_t)(end - at));
        if (column >= first) {
            const bool control = (unsigned char)*at < 0x20 || *at == 0x7f;
            if (control)
                strbuf_putc(&diagnostics->out, ' ');
            else
                strbuf_add(&diagnostics->out, at, bytes);
            if (column < place.column)
                strbuf_putc(&caret, ' ');
        }
        at += bytes;
        column++;
    }
    for (; column < place.column && column < first + SOURCE_WIDTH; column++)
        strbuf_putc(&caret, ' ');
    strbuf_puts(&diagnostics->out, at < end ? "…" : "");
    strbuf_printf(&diagnostics->out, "%s^", caret.text);
    strbuf_release(&caret);
}

void diagnose(struct diagnostics *diagnostics, struct place place, const char *format, ...)
{
    if (diagnostics->count++ >= SHOWN_MAX)
        return;
    char sentence[512];
    va_list list;
    va_start(list, format);
    vsnprintf(sentence, sizeof sentence, format, list);
    va_end(list);
    if (diagnostics->out.length)
        strbuf_putc(&diagnostics->out, '\n');
    if (place.line == 0) {
        strbuf_printf(&diagnostics->out, "%s%s%s", diagnostics->file ? diagnostics->file : "",
                      diagnostics->file ? ": " : "", sentence);
        return;
    }
    strbuf_printf(&diagnostics->out, "%s:%zu:%zu: error: %s", diagnostics->file, place.line, place.column, sentence);
    add_source(diagnostics, place);
}

bool diagnostics_finish(struct diagnostics *diagnostics, struct error *error)
{
    const bool none = diagnostics->count == 0;
    if (!none && error) {
        char more[64] = "";
        const int hidden = diagnostics->count - SHOWN_MAX;
        if (hidden > 0)
            snprintf(more, sizeof more, "\nand %d more error%s", hidden, hidden == 1 ? "" : "s");
        /* Cut at the end of a line when it is too long for the error's text. */
        size_t length = diagnostics->out.length;
        const size_t room = sizeof error->text - sizeof more - 8;
        if (length > room) {
            length = room;
            while (length && diagnostics->out.text[length] != '\n')
                length--;
        }
        error_set(error, ERROR_INPUT, "%.*s%s", (int)length, diagnostics->out.text, more);
    }
    strbuf_release(&diagnostics->out);
    return none;
}
