/* The only place that prints: what it is given may hold text that is not ours. */
#include "cli/terminal.h"
#include "base/text.h"
#include "report/escape.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void put(const char *text)
{
    fputs(text, stderr);
    fflush(stderr);
}

void say(const char *format, ...)
{
    struct strbuf clean = {0};
    va_list list;
    va_start(list, format);
    char *made = NULL;
    if (vasprintf(&made, format, list) >= 0)
        text_terminal(&clean, made, true);
    va_end(list);
    free(made);
    strbuf_putc(&clean, '\n');
    put(clean.text);
    strbuf_release(&clean);
}

void say_over(const char *text)
{
    struct strbuf clean = {0};
    strbuf_puts(&clean, "\r\033[K");
    text_terminal(&clean, text, false);
    put(clean.text);
    strbuf_release(&clean);
}

bool print_all(const char *text, size_t length, struct error *error)
{
    struct strbuf clean = {0};
    /* What emitters made is clean already, and may be large. */
    bool good = true;
    for (size_t at = 0, end; good && at < length; at = end + 1) {
        const char *stop = memchr(text + at, '\n', length - at);
        end = stop ? (size_t)(stop - text) : length;
        const size_t line = end - at - (end > at && text[end - 1] == '\r');
        for (size_t part = 0, tab; good && part <= line; part = tab + 1) {
            const char *found = memchr(text + at + part, '\t', line - part);
            tab = found ? (size_t)(found - text - at) : line;
            good = text_is_clean(text + at + part, tab - part);
        }
    }
    if (!good) {
        strbuf_puts(&clean, "");
        for (size_t at = 0; at < length; at += strlen(text + at) + 1) {
            text_terminal(&clean, text + at, true);
        }
        text = clean.text;
        length = clean.length;
    }
    bool done = true;
    while (length && done) {
        const ssize_t wrote = write(STDOUT_FILENO, text, length);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0 && errno == EPIPE)
            break;
        if (wrote <= 0) {
            done = error_set(error, ERROR_SYSTEM, "cannot write to standard output: %s", strerror(errno));
            break;
        }
        text += wrote;
        length -= (size_t)wrote;
    }
    strbuf_release(&clean);
    return done;
}
