#include "report/yaml_source.h"
#include "base/file.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "report/escape.h"
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The byte order mark that some editors put in front of UTF-8 says nothing here. */
static size_t mark_length(const char *text, size_t length)
{
    return length >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
}

/* The next piece of the text into the filter. */
static bool read_piece(struct yaml_source *source)
{
    char piece[1 << 13]; /* a stack may be small */
    if (source->text) {
        const size_t left = source->length - source->bytes, count = left < sizeof piece ? left : sizeof piece;
        const size_t mark = source->bytes ? 0 : mark_length(source->text, count);
        table_filter_add(&source->filter, source->text + source->bytes + mark, count - mark, count == left);
        source->utf16 |= !source->bytes && text_utf16(source->text, count);
        source->bytes += count;
        source->ended = count == left;
        return true;
    }
    ssize_t count;
    do
        count = read(source->fd, piece, sizeof piece);
    while (count < 0 && errno == EINTR);
    source->failed = count < 0;
    if (count < 0)
        return false;
    source->bytes += (size_t)count;
    source->too_large = source->bytes > source->limit;
    source->ended = count == 0;
    source->utf16 |= source->bytes == (size_t)count && text_utf16(piece, (size_t)count);
    const size_t mark = source->bytes == (size_t)count ? mark_length(piece, (size_t)count) : 0;
    table_filter_add(&source->filter, piece + mark, (size_t)count - mark, count == 0);
    return !source->too_large;
}

static int read_some(void *context, unsigned char *buffer, size_t size, size_t *got)
{
    struct yaml_source *source = context;
    while ((*got = table_filter_take(&source->filter, buffer, size)) == 0 && !source->ended)
        if (!read_piece(source))
            return 0;
    return 1;
}

static bool start(struct yaml_source *source)
{
    if (!yaml_parser_initialize(&source->parser))
        return error_set(source->error, ERROR_MEMORY, "no memory to read %s", source->name);
    source->has_parser = true;
    yaml_parser_set_encoding(&source->parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input(&source->parser, read_some, source);
    return true;
}

bool yaml_source_open(struct yaml_source *source, const char *path, size_t limit, struct error *error)
{
    *source =
        (struct yaml_source){.name = strcmp(path, "-") == 0 ? "standard input" : path, .limit = limit, .error = error};
    source->fd = file_open(path, error);
    return source->fd >= 0 && start(source);
}

bool yaml_source_text(struct yaml_source *source, const char *text, size_t length, const char *name,
                      struct error *error)
{
    *source = (struct yaml_source){.name = name, .text = text, .length = length, .fd = -1, .error = error};
    return start(source);
}

void yaml_source_close(struct yaml_source *source)
{
    if (source->has_event)
        yaml_event_delete(&source->event);
    if (source->has_parser)
        yaml_parser_delete(&source->parser);
    table_filter_release(&source->filter);
    if (source->fd > STDERR_FILENO)
        close(source->fd);
    *source = (struct yaml_source){.fd = -1};
}

/* Line `number` (0-based) of the source in malloc'ed memory; NULL when it cannot be had again (standard input). */
static char *source_line(const struct yaml_source *source, size_t number)
{
    char *line = NULL;
    size_t capacity = 0;
    ssize_t length = -1;
    FILE *file = NULL;
    if (source->text && source->length)
        file = fmemopen((void *)(uintptr_t)source->text, source->length, "r");
    else if (!source->text && source->fd > STDERR_FILENO) {
        const int again = open(source->name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        file = again >= 0 ? fdopen(again, "r") : NULL;
    }
    if (!file)
        return NULL;
    for (size_t i = 0; i <= number; i++)
        if ((length = getline(&line, &capacity, file)) < 0)
            break;
    fclose(file);
    if (length < 0) {
        free(line);
        return NULL;
    }
    while (length > 0 && (line[length - 1] == '\n' || line[length - 1] == '\r'))
        line[--length] = 0;
    return line;
}

static bool fail_at(struct yaml_source *source, size_t line, size_t column, bool in_block, const char *problem)
{
    struct strbuf message = {0}, clean = {0};
    char *text = source_line(source, line);
    if (in_block && text)
        column += strspn(text, " ");
    clean_text(&clean, problem, strlen(problem));
    strbuf_printf(&message, "%s:%zu:%zu: error: %s", source->name, line + 1, column + 1, clean.text);
    if (text && *text)
        source_show(&message, text, strlen(text), column);
    error_set(source->error, ERROR_INPUT, "%s", message.text);
    if (source->error)
        source->error->placed = true;
    free(text);
    strbuf_release(&clean);
    strbuf_release(&message);
    return false;
}

bool yaml_source_fail(struct yaml_source *source, size_t line, size_t column, const char *format, ...)
{
    char problem[600];
    va_list list;
    va_start(list, format);
    vsnprintf(problem, sizeof problem, format, list);
    va_end(list);
    return fail_at(source, line, column, false, problem);
}

bool yaml_source_fail_in_block(struct yaml_source *source, size_t line, size_t column, const char *format, ...)
{
    char problem[600];
    va_list list;
    va_start(list, format);
    vsnprintf(problem, sizeof problem, format, list);
    va_end(list);
    return fail_at(source, line, column, true, problem);
}

static bool fail_parser(struct yaml_source *source)
{
    const yaml_parser_t *parser = &source->parser;
    if (source->too_large)
        return error_set(source->error, ERROR_INPUT, "%s is larger than %zu bytes, the most that is read", source->name,
                         source->limit);
    if (source->failed)
        return error_set(source->error, ERROR_INPUT, "cannot read %s: %s", source->name, strerror(errno));
    if (parser->error == YAML_MEMORY_ERROR)
        return error_set(source->error, ERROR_MEMORY, "no memory to read %s", source->name);
    if (parser->error == YAML_READER_ERROR)
        return yaml_source_fail(source, parser->mark.line, parser->mark.column, "%s (byte %zu)%s", parser->problem,
                                parser->problem_offset, source->utf16 ? ": this is UTF-16; save it as UTF-8" : "");
    return yaml_source_fail(source, parser->problem_mark.line, parser->problem_mark.column, "%s%s%s", parser->problem,
                            parser->context ? ", " : "", parser->context ? parser->context : "");
}

bool yaml_source_next(struct yaml_source *source)
{
    if (source->has_event)
        yaml_event_delete(&source->event);
    source->has_event = false;
    if (!yaml_parser_parse(&source->parser, &source->event))
        return fail_parser(source);
    source->has_event = true;
    const yaml_event_t *event = &source->event;
    const yaml_char_t *anchor = NULL, *tag = NULL;
    if (event->type == YAML_ALIAS_EVENT)
        return yaml_source_fail_here(source, "aliases are not read here");
    if (event->type == YAML_SCALAR_EVENT)
        anchor = event->data.scalar.anchor, tag = event->data.scalar.tag;
    else if (event->type == YAML_SEQUENCE_START_EVENT)
        anchor = event->data.sequence_start.anchor, tag = event->data.sequence_start.tag;
    else if (event->type == YAML_MAPPING_START_EVENT)
        anchor = event->data.mapping_start.anchor, tag = event->data.mapping_start.tag;
    if (anchor || tag)
        return yaml_source_fail_here(source, "%s are not read here", anchor ? "anchors" : "tags");
    return true;
}

bool yaml_source_table(struct yaml_source *source, struct strbuf *text)
{
    const yaml_event_t *event = &source->event;
    size_t left;
    if (table_filter_left_over(&source->filter, event->start_mark.line, &left))
        return yaml_source_fail(source, left, 0, "a table where none belongs");
    if (!table_filter_table(&source->filter, event->start_mark.line, text))
        strbuf_add(text, (const char *)event->data.scalar.value, event->data.scalar.length);
    return true;
}

bool yaml_source_finish(struct yaml_source *source)
{
    size_t left;
    return !table_filter_left_over(&source->filter, SIZE_MAX, &left) ||
           yaml_source_fail(source, left, 0, "a table where none belongs");
}
