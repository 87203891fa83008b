/* The tables of a report file: a header line that names the columns, then a row a line. */
#pragma once
#include "report/fields.h"
#include "report/intern.h"

struct table_problem {
    size_t line, column;
    char text[320];
}; /* line 0 is the header; column in bytes */

/* Parses `text` into rows of field->fields at field->offset of `item`, and their number, in `arena`; texts go to
 * `names`, or with NULL to `arena`. The header may leave out columns that are not required and order them as it likes, a text column last. */
bool table_parse(const struct field *field, void *item, const char *text, size_t length, struct arena *arena,
                 struct intern *names, struct table_problem *problem);

/* A number as the files have it: ASCII, whole `length`. */
bool number_parse(const char *text, size_t length, double *value);
bool unsigned_parse(const char *text, size_t length, uint64_t *value);
