/* Markdown tables in the layout of tabulate's `pipe` format, which pandas' to_markdown writes: columns padded to the
 * widest cell, headers at least two wider than their text, text left, numbers right and aligned on the decimal point. */
#pragma once
#include "base/strbuf.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum pipe_align {
    PIPE_NUMBER,  /* right, on the decimal point */
    PIPE_TEXT,    /* left */
    PIPE_INDENTED /* left; leading spaces are kept, as tree rows need (written as no-break spaces) */
};

struct pipe_column;
struct pipe_table {
    struct pipe_column *columns;
    size_t column_count, row_count, filled; /* filled: cells of the last row */
    size_t *blocks, block_count;            /* first rows of the later blocks */
};

/* Columns first, then cells row by row. Text is cleaned and escaped here; callers hand over what they have. */
void pipe_add_column(struct pipe_table *table, const char *header, enum pipe_align align);
/* Several of one alignment: pipe_add_columns(&table, PIPE_TEXT, "cell", "pass"). */
#define pipe_add_columns(table, align, ...) pipe_add_list(table, align, (const char *const[]){__VA_ARGS__, NULL})
void pipe_add_list(struct pipe_table *table, enum pipe_align align, const char *const *headers); /* the last is NULL */
void pipe_text(struct pipe_table *table, const char *text);
void pipe_integer(struct pipe_table *table, int64_t value);
void pipe_count(struct pipe_table *table, uint64_t value); /* "n/a" when unknown */
void pipe_general(struct pipe_table *table, double value); /* "%g"; "nan" when unknown, as pandas writes it */
/* A number or "n/a" by a printf format; `value` alone decides whether it is known. */
void pipe_number(struct pipe_table *table, const char *format, double value);
void pipe_bool(struct pipe_table *table, bool value); /* True, False */

/* The rows from here on are aligned on the decimal point among themselves: the seed's table is one table a device and
 * compile setting, put together under one heading. */
void pipe_new_block(struct pipe_table *table);

/* Appends the table and releases it. Every row must be full. */
void pipe_finish(struct pipe_table *table, struct strbuf *out);
/* The same below `head`, as it stands in the file; neither is there when the table has no rows. Were there any? */
bool pipe_section(struct pipe_table *table, const char *head, struct strbuf *out);
