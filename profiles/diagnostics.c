/* Errors in a file, printed as compilers print them. */
#include "base/text.h"
#include "profiles/tree.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEPT_MAX 64
#define SHOWN_MAX 8

/* The line that holds `place`, and a caret under the column. */
static void add_source(const struct diagnostics *diagnostics, struct place place, struct strbuf *out)
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
    source_show(out, at, (size_t)(end - at), place.column - 1);
}

void diagnose(struct diagnostics *diagnostics, struct place place, const char *format, ...)
{
    diagnostics->count++;
    if (diagnostics->list.count >= KEPT_MAX)
        return;
    char sentence[512];
    va_list list;
    va_start(list, format);
    vsnprintf(sentence, sizeof sentence, format, list);
    va_end(list);
    struct strbuf text = {0};
    if (diagnostics->file)
        strbuf_printf(&text, "%s:", diagnostics->file);
    if (place.line)
        strbuf_printf(&text, "%zu:%zu: error:", place.line, place.column);
    strbuf_printf(&text, "%s%s", text.length ? " " : "", sentence);
    if (place.line)
        add_source(diagnostics, place, &text);
    vec_push(&diagnostics->list, ((struct diagnostic){place, text.text}));
}

static int by_place(const void *left, const void *right)
{
    const struct place a = ((const struct diagnostic *)left)->place, b = ((const struct diagnostic *)right)->place;
    if (a.line != b.line)
        return a.line < b.line ? -1 : 1;
    return (a.column > b.column) - (a.column < b.column);
}

bool diagnostics_finish(struct diagnostics *diagnostics, struct error *error)
{
    const bool none = diagnostics->count == 0;
    struct strbuf out = {0};
    if (!none && error) {
        bool all = true, any = false;
        for (size_t i = 0; i < diagnostics->list.count; i++) {
            all = all && diagnostics->list.items[i].place.line;
            any = any || diagnostics->list.items[i].place.line;
        }
        if (all)
            qsort(diagnostics->list.items, diagnostics->list.count, sizeof *diagnostics->list.items, by_place);
        /* As many whole ones as the error's text holds. */
        size_t shown = 0;
        while (shown < diagnostics->list.count && shown < SHOWN_MAX) {
            const char *text = diagnostics->list.items[shown].text;
            if (shown && out.length + strlen(text) + 32 > sizeof error->text)
                break;
            strbuf_printf(&out, "%s%s", shown++ ? "\n" : "", text);
        }
        const size_t hidden = (size_t)diagnostics->count - shown;
        if (hidden)
            strbuf_printf(&out, "\nand %zu more error%s", hidden, hidden == 1 ? "" : "s");
        error_set(error, ERROR_INPUT, "%s", out.text);
        error->placed = any;
    }
    for (size_t i = 0; i < diagnostics->list.count; i++)
        free(diagnostics->list.items[i].text);
    vec_release(&diagnostics->list);
    strbuf_release(&out);
    return none;
}
