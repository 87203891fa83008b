/* A report's text on its way through libyaml: from memory or streamed from a file, so that a large file is never held
 * whole. Errors point at file:line:col and show the line with a caret. */
#pragma once
#include "base/error.h"
#include "report/table_filter.h"
#include <stdbool.h>
#include <stddef.h>
#include <yaml.h>

struct yaml_source {
    const char *name; /* for messages */
    const char *text; /* NULL when it comes from fd */
    size_t length;
    int fd;
    size_t bytes, limit;    /* read so far, and the most that is read */
    bool ended, utf16;
    struct table_filter filter;
    bool too_large, failed; /* why reading stopped */
    struct error *error;
    yaml_parser_t parser;
    yaml_event_t event; /* the current one */
    bool has_parser, has_event;
};

bool yaml_source_open(struct yaml_source *source, const char *path, size_t limit, struct error *error);
bool yaml_source_text(struct yaml_source *source, const char *text, size_t length, const char *name,
                      struct error *error);
void yaml_source_close(struct yaml_source *source);

/* Moves to the next event. Anchors, aliases and tags are refused. False with the error filled. */
bool yaml_source_next(struct yaml_source *source);

/* The rows of the table that the current event, a scalar, is: text for the caller to release. False with the error filled
 * when tables stand where none belong. */
bool yaml_source_table(struct yaml_source *source, struct strbuf *text);
/* At the end: no table was left over. */
bool yaml_source_finish(struct yaml_source *source);

/* Fills the error for a place (0-based line and column) and returns false. */
bool yaml_source_fail(struct yaml_source *source, size_t line, size_t column, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* The same for a byte of a literal block's line: `column` counts from the block's indentation. */
bool yaml_source_fail_in_block(struct yaml_source *source, size_t line, size_t column, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* The same at the current event. */
#define yaml_source_fail_here(source, ...)                                                                             \
    yaml_source_fail((source), (source)->event.start_mark.line, (source)->event.start_mark.column, __VA_ARGS__)
