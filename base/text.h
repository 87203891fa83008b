/* UTF-8 text, and a line of a source file with a caret under a place in it. */
#pragma once
#include "base/strbuf.h"
#include <stdbool.h>
#include <stddef.h>

/* One code point from text[0..length): its bytes consumed, 0 when they are no UTF-8 (RFC 3629). */
size_t utf8_decode(const char *text, size_t length, unsigned *code_point);

/* Does it begin with the mark of UTF-16, of either order? */
static inline bool text_utf16(const char *text, size_t length)
{
    return length >= 2 && ((text[0] == '\xff' && text[1] == '\xfe') || (text[0] == '\xfe' && text[1] == '\xff'));
}

/* Code points, which is how tabulate counts columns without its optional wcwidth. */
size_t utf8_length(const char *text);

/* Columns that a terminal or a fixed-width font gives it: two for what is wide in East Asia and for pictures, none for marks that
 * combine. */
size_t utf8_width(const char *text);

/* What can move a cursor, break a line or turn the reading direction, and what nobody sees. */
bool is_unsafe_character(unsigned code_point);

/* Text that is not ours on its way to a terminal: what could act there or cannot be read (control characters, ESC and its like
 * of either length, marks that turn the reading direction, what is no UTF-8) is shown as \x1b or \u202e. `lines`: line ends and
 * tabs stay. */
void text_terminal(struct strbuf *out, const char *text, bool lines);

/* Appends, each on a line of its own and indented, the source line and a caret under `column` (characters from 0), as
 * compilers print them: a window of it where it is long, nothing that a terminal could act on. */
void source_show(struct strbuf *out, const char *line, size_t length, size_t column);
