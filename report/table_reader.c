#include "report/table_reader.h"
#include "base/suggest.h"
#include "report/escape.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_COLUMNS 24
#define MAX_ROWS (1u << 20)
#define MAX_TEXT 4096

struct cursor {
    const char *start, *line, *at, *end; /* of the table, of the row, here, of the table */
    size_t row;                          /* line number in the table */
    struct table_problem *problem;
};

static bool fail(const struct cursor *cursor, const char *token, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static bool fail(const struct cursor *cursor, const char *token, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(cursor->problem->text, sizeof cursor->problem->text, format, list);
    va_end(list);
    cursor->problem->line = cursor->row;
    cursor->problem->column = (size_t)(token - cursor->line);
    return false;
}

bool unsigned_parse(const char *text, size_t length, uint64_t *value)
{
    uint64_t sum = 0;
    if (length == 0 || length > 20 || (length > 1 && *text == '0')) /* 010 is ten or eight, who knows */
        return false;
    for (size_t i = 0; i < length; i++) {
        const unsigned digit = (unsigned)text[i] - '0';
        if (digit > 9)
            return false;
        if (i < 19) /* below 10^19 nothing can overflow */
            sum = sum * 10 + digit;
        else if (__builtin_mul_overflow(sum, (uint64_t)10, &sum) || __builtin_add_overflow(sum, digit, &sum))
            return false;
    }
    *value = sum;
    return true;
}

bool number_parse(const char *text, size_t length, double *value)
{
    char copy[64], *end;
    uint64_t integer;
    if (length < 16 && unsigned_parse(text, length, &integer)) {
        *value = (double)integer; /* below 2^53: exact, and the common case */
        return true;
    }
    if (length == 0 || length >= sizeof copy || strspn(text, "0123456789+-.eE") < length ||
        (length > 1 && *text == '0' && text[1] >= '0' && text[1] <= '9'))
        return false;
    memcpy(copy, text, length);
    copy[length] = 0;
    *value = strtod(copy, &end);
    return !*end && isfinite(*value);
}

/* The next token of the row; NULL at its end. Rows end with the line. */
static const char *token_next(struct cursor *cursor, size_t *length)
{
    while (cursor->at < cursor->end && *cursor->at == ' ')
        cursor->at++;
    const char *start = cursor->at;
    while (cursor->at < cursor->end && *cursor->at != ' ' && *cursor->at != '\n')
        cursor->at++;
    *length = (size_t)(cursor->at - start);
    return *length ? start : NULL;
}

static const char *rest_of_line(struct cursor *cursor, size_t *length)
{
    while (cursor->at < cursor->end && *cursor->at == ' ')
        cursor->at++;
    const char *start = cursor->at;
    while (cursor->at < cursor->end && *cursor->at != '\n')
        cursor->at++;
    const char *end = cursor->at;
    while (end > start && end[-1] == ' ')
        end--;
    *length = (size_t)(end - start);
    return *length ? start : NULL;
}

static bool line_end(struct cursor *cursor)
{
    size_t length;
    const char *extra = token_next(cursor, &length);
    if (extra)
        return fail(cursor, extra, "'%.*s' is one column too many", (int)(length < 60 ? length : 60), extra);
    if (cursor->at < cursor->end)
        cursor->at++; /* the newline */
    cursor->line = cursor->at;
    cursor->row++;
    return true;
}

static bool read_header(struct cursor *cursor, const struct field_set *set, const struct field **columns, int *count)
{
    const char *keys[MAX_COLUMNS], *token;
    size_t length;
    bool rest = false;
    for (int i = 0; i < set->count; i++)
        keys[i] = set->fields[i].key;
    *count = 0;
    while ((token = token_next(cursor, &length))) {
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)(length < 63 ? length : 63), token);
        const struct field *field = NULL;
        for (int i = 0; i < set->count; i++)
            if (strcmp(name, keys[i]) == 0)
                field = &set->fields[i];
        if (!field) {
            const char *near = suggest(name, keys, (size_t)set->count);
            return fail(cursor, token, "'%s' is not a column of this table%s%s%s", name, near ? "; did you mean '" : "",
                        near ? near : "", near ? "'?" : "");
        }
        for (int i = 0; i < *count; i++)
            if (columns[i] == field)
                return fail(cursor, token, "the column '%s' is named twice", name);
        if (rest)
            return fail(cursor, token, "'%s' must be the last column: its text may hold blanks",
                        columns[*count - 1]->key);
        rest = field->kind == FIELD_REST;
        columns[(*count)++] = field;
    }
    for (int i = 0; i < set->count; i++) {
        bool found = !set->fields[i].required;
        for (int c = 0; c < *count; c++)
            found = found || columns[c] == &set->fields[i];
        if (!found)
            return fail(cursor, cursor->line, "the table lacks the column '%s'", keys[i]);
    }
    return line_end(cursor);
}

static bool integer_fits(const struct field *field, uint64_t value)
{
    const uint64_t most = field->most ? field->most : field->size >= 8 ? UINT64_MAX : (1ull << (8 * field->size)) - 1;
    return value <= most;
}

static bool read_cell(struct cursor *cursor, const struct field *field, void *row, struct arena *arena,
                      struct intern *names)
{
    size_t length;
    const char *token = field->kind == FIELD_REST ? rest_of_line(cursor, &length) : token_next(cursor, &length);
    void *place = (char *)row + field->offset;
    const int shown = (int)(length < 60 ? length : 60);
    uint64_t integer;
    double number;
    int index;
    if (!token)
        return fail(cursor, cursor->at, "the row ends before its column '%s'", field->key);
    const bool unknown = length == 1 && *token == '-';
    switch (field->kind) {
    case FIELD_UNSIGNED:
        if (unknown && field->size == 8) {
            field_set_unsigned(place, 8, field->zero ? 0 : UNKNOWN_U64);
            return true;
        }
        if (!unsigned_parse(token, length, &integer) || !integer_fits(field, integer))
            return fail(cursor, token, "%s: '%.*s' is not a whole number that fits", field->key, shown, token);
        field_set_unsigned(place, field->size, integer);
        return true;
    case FIELD_INDEX:
        if (!unknown && (!unsigned_parse(token, length, &integer) || integer > INT32_MAX))
            return fail(cursor, token, "%s: '%.*s' is not the number of a row", field->key, shown, token);
        field_set_unsigned(place, field->size, unknown ? UINT64_MAX : integer);
        return true;
    case FIELD_DOUBLE:
    case FIELD_ROUNDED:
    case FIELD_DERIVED:
        number = UNKNOWN_DOUBLE;
        if (!unknown && !number_parse(token, length, &number))
            return fail(cursor, token, "%s: '%.*s' is not a number", field->key, shown, token);
        if (field->kind != FIELD_DERIVED)
            memcpy(place, &number, sizeof number);
        return true;
    case FIELD_BOOL:
        if (!(length == 4 && memcmp(token, "true", 4) == 0) && !(length == 5 && memcmp(token, "false", 5) == 0))
            return fail(cursor, token, "%s: '%.*s' is neither true nor false", field->key, shown, token);
        *(bool *)place = length == 4;
        return true;
    case FIELD_ENUM:
        index = field_enum(field, token, length);
        if (index < 0)
            return fail(cursor, token, "%s: '%.*s' is not one of its names", field->key, shown, token);
        field_set_unsigned(place, field->size, (uint64_t)index);
        return true;
    case FIELD_WORD:
    case FIELD_REST: {
        if (length > MAX_TEXT)
            return fail(cursor, token, "%s: longer than %d bytes", field->key, MAX_TEXT);
        if (!text_is_clean(token, length))
            return fail(cursor, token, "%s: holds characters that are no text", field->key);
        const char *text = unknown ? ""
                           : names ? intern_text(names, token, length)
                                   : arena_strndup(arena, token, length);
        memcpy(place, &text, sizeof text);
        return true;
    }
    default:
        return fail(cursor, token, "%s is no column", field->key);
    }
}

bool table_parse(const struct field *field, void *item, const char *text, size_t length, struct arena *arena,
                 struct intern *names, struct table_problem *problem)
{
    const struct field_set *set = field->fields;
    const struct field *columns[MAX_COLUMNS];
    struct cursor cursor = {text, text, text, text + length, 0, problem};
    int count;
    size_t lines = 0;
    if (!read_header(&cursor, set, columns, &count))
        return false;
    for (const char *at = cursor.at; at < cursor.end; lines++) {
        const char *newline = memchr(at, '\n', (size_t)(cursor.end - at));
        at = newline ? newline + 1 : cursor.end;
    }
    if (lines > MAX_ROWS)
        return fail(&cursor, cursor.line, "more than %u rows", MAX_ROWS);
    char *rows = arena_alloc(arena, lines * set->size + 1);
    for (size_t r = 0; r < lines; r++) {
        char *row = rows + r * set->size;
        if (count < set->count)
            fields_clear(set, row);
        for (int c = 0; c < count; c++)
            if (!read_cell(&cursor, columns[c], row, arena, names))
                return false;
        if (!line_end(&cursor))
            return false;
    }
    memcpy((char *)item + field->offset, &rows, sizeof rows);
    memcpy((char *)item + field->count_offset, &lines, sizeof lines);
    return true;
}
