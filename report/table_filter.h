/* Takes the big tables out of a report's text before libyaml sees it: their rows are digits that libyaml would decode one
 * character at a time, which is most of the time a large report takes to read. A line `key: |` of a table opens one; the
 * deeper indented lines after it are kept here, and libyaml gets an empty line for each, so that its line numbers stay true. */
#pragma once
#include "base/strbuf.h"
#include "base/vec.h"
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct filtered_table {
    size_t line;        /* of its key, 0-based */
    struct strbuf text; /* rows without their indentation, each ended by a newline */
};

struct table_filter {
    struct strbuf carry;               /* the beginning of a line that goes on in the next piece */
    struct strbuf ready;               /* for libyaml */
    size_t taken;                      /* of `ready` */
    VEC(struct filtered_table) tables; /* not yet asked for, in order of their lines */
    size_t line, key_indent, row_indent, blank_lines;
    bool in_table;
};

/* Passes on a piece of the text; `last` says that no more follows. */
void table_filter_add(struct table_filter *filter, const char *text, size_t length, bool last);
/* Copies what is ready; its length, 0 when there is nothing. */
size_t table_filter_take(struct table_filter *filter, unsigned char *buffer, size_t size);
/* The table whose key is on `line`, the caller's to release; false when there is none. */
bool table_filter_table(struct table_filter *filter, size_t line, struct strbuf *text);
/* True with the line of the oldest table before `line` that nobody asked for. */
bool table_filter_left_over(const struct table_filter *filter, size_t line, size_t *left);
void table_filter_release(struct table_filter *filter);
