/* Names of kernels, models, hosts and reasons are strangers' data. What enters the document is cleaned once; each format
 * then escapes what has a meaning of its own there. */
#pragma once
#include "base/arena.h"
#include "base/strbuf.h"
#include "base/text.h"
#include <stdbool.h>
#include <stddef.h>

/* Appends one line of valid UTF-8: control characters (terminal escapes among them), line and paragraph separators,
 * byte order marks and direction overrides become U+FFFD, as do bytes that are no UTF-8; newlines and tabs become a
 * space. */
void clean_text(struct strbuf *out, const char *text, size_t length);
const char *clean_copy(struct arena *arena, const char *text); /* the same, the arena's */
bool text_is_clean(const char *text, size_t length);

/* Markdown, inside a table cell or a line: cleaned, without a bare |, HTML, emphasis or formula, and nothing that a forge turns
 * into a mention, a reference or a link by itself. */
void escape_markdown_cell(struct strbuf *out, const char *text);
/* A double-quoted JSON string, quotes included. Cleaned. */
void escape_json(struct strbuf *out, const char *text);
/* A YAML scalar: plain when no reader could take it for anything but this string, else double-quoted. Cleaned. */
void escape_yaml(struct strbuf *out, const char *text);
/* A CSV field (RFC 4180), quoted when it must be; a leading = + - @ gets an apostrophe unless it is a number, because
 * spreadsheets run such cells. */
void escape_csv(struct strbuf *out, const char *text);
/* XML character data and attribute values. Cleaned. */
void escape_xml(struct strbuf *out, const char *text);
