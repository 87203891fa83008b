/* Reads a report file: libyaml's events held against the tables of report/schema.c. */
#include "base/suggest.h"
#include "report/escape.h"
#include "report/fields.h"
#include "report/table_reader.h"
#include "report/yaml_source.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FILE ((size_t)1 << 30)
#define MAX_CELLS 20000
#define MAX_ITEMS (1u << 20) /* of a list */
#define MAX_TEXT 4096        /* bytes of a string */
#define MAX_KEYS 64          /* of a map */

struct reader {
    struct yaml_source source;
    struct report *report;
    struct arena *arena;  /* of what is being read: the report's, then a cell's */
    struct arena scratch; /* of rows that are handed on at the end of their cell */
    struct intern names;
};

static bool read_map(struct reader *reader, const struct field_set *set, void *item);

static const char *scalar_text(const struct reader *reader)
{
    return (const char *)reader->source.event.data.scalar.value;
}

static size_t scalar_length(const struct reader *reader)
{
    return reader->source.event.data.scalar.length;
}

#define FAIL(reader, ...) yaml_source_fail_here(&(reader)->source, __VA_ARGS__)

static bool expect(struct reader *reader, yaml_event_type_t type, const char *key, const char *what)
{
    return reader->source.event.type == type || FAIL(reader, "%s must be %s", key, what);
}

/* A plain scalar: numbers, booleans and names are never quoted. */
static bool expect_plain(struct reader *reader, const char *key, const char *what)
{
    if (!expect(reader, YAML_SCALAR_EVENT, key, what))
        return false;
    return reader->source.event.data.scalar.plain_implicit || FAIL(reader, "%s must be %s, not a string", key, what);
}

static bool expect_string(struct reader *reader, const char *key)
{
    if (!expect(reader, YAML_SCALAR_EVENT, key, "a string"))
        return false;
    if (scalar_length(reader) > MAX_TEXT)
        return FAIL(reader, "%s is longer than %d bytes", key, MAX_TEXT);
    return true;
}

/* A number in the message, cut to a bearable length. */
#define SHOWN(reader) (int)(scalar_length(reader) < 60 ? scalar_length(reader) : 60), scalar_text(reader)

static bool read_unsigned(struct reader *reader, const struct field *field, void *place)
{
    uint64_t value;
    if (!expect_plain(reader, field->key, "a whole number"))
        return false;
    if (field->special && *field->special && strcmp(scalar_text(reader), field->special) == 0)
        value = UINT32_MAX;
    else if (!unsigned_parse(scalar_text(reader), scalar_length(reader), &value) ||
             (field->size < 8 && value >> (8 * field->size)) || (field->most && value > field->most))
        return FAIL(reader, "%s: '%.*s' is not a whole number that fits", field->key, SHOWN(reader));
    field_set_unsigned(place, field->size, value);
    return true;
}

static bool read_chars(struct reader *reader, const struct field *field, char *place)
{
    struct strbuf clean = {0};
    if (!expect_string(reader, field->key))
        return false;
    clean_text(&clean, scalar_text(reader), scalar_length(reader));
    strbuf_puts(&clean, "");
    const bool fits = clean.length < field->size;
    if (fits)
        memcpy(place, clean.text, clean.length + 1);
    strbuf_release(&clean);
    return fits || FAIL(reader, "%s is longer than %zu bytes", field->key, field->size - 1);
}

static bool read_text(struct reader *reader, const char *key, const char **place)
{
    if (!expect_string(reader, key))
        return false;
    struct strbuf clean = {0};
    clean_text(&clean, scalar_text(reader), scalar_length(reader));
    *place = intern_text(&reader->names, clean.text, clean.length);
    strbuf_release(&clean);
    return true;
}

static bool read_flags(struct reader *reader, const struct field *field, void *place)
{
    unsigned bits = 0;
    if (!expect(reader, YAML_SEQUENCE_START_EVENT, field->key, "a list of names"))
        return false;
    for (;;) {
        if (!yaml_source_next(&reader->source))
            return false;
        if (reader->source.event.type == YAML_SEQUENCE_END_EVENT)
            break;
        if (!expect_plain(reader, field->key, "a list of names"))
            return false;
        const int index = field_enum(field, scalar_text(reader), scalar_length(reader));
        if (index < 0)
            return FAIL(reader, "%s: '%.*s' is not one of its names", field->key, SHOWN(reader));
        bits |= 1u << index;
    }
    memcpy(place, &bits, sizeof bits);
    return true;
}

static bool read_series(struct reader *reader, const struct field *field, void *item)
{
    VEC(uint64_t) values = {0};
    bool done = false;
    uint64_t value;
    if (!expect(reader, YAML_SEQUENCE_START_EVENT, field->key, "a list of whole numbers"))
        return false;
    for (;;) {
        if (!yaml_source_next(&reader->source))
            goto cleanup;
        if (reader->source.event.type == YAML_SEQUENCE_END_EVENT)
            break;
        if (!expect_plain(reader, field->key, "a list of whole numbers"))
            goto cleanup;
        if (!unsigned_parse(scalar_text(reader), scalar_length(reader), &value) || value > INT64_MAX) {
            FAIL(reader, "%s: '%.*s' is not a whole number", field->key, SHOWN(reader));
            goto cleanup;
        }
        if (values.count >= MAX_ITEMS) {
            FAIL(reader, "%s has more than %u values", field->key, MAX_ITEMS);
            goto cleanup;
        }
        vec_push(&values, value);
    }
    uint64_t *copy = arena_array(reader->arena, uint64_t, values.count + 1);
    if (values.count)
        memcpy(copy, values.items, values.count * sizeof *copy);
    memcpy((char *)item + field->offset, &copy, sizeof copy);
    memcpy((char *)item + field->count_offset, &values.count, sizeof values.count);
    done = true;
cleanup:
    vec_release(&values);
    return done;
}

static bool read_names(struct reader *reader, const struct field *field, void *place)
{
    const char **names = place;
    int count = 0;
    if (!expect(reader, YAML_SEQUENCE_START_EVENT, field->key, "a list of names"))
        return false;
    for (;; count++) {
        if (!yaml_source_next(&reader->source))
            return false;
        if (reader->source.event.type == YAML_SEQUENCE_END_EVENT)
            return true;
        if (count == field->count)
            return FAIL(reader, "%s has more than %d names", field->key, field->count);
        if (!read_text(reader, field->key, &names[count]))
            return false;
    }
}

static bool read_list(struct reader *reader, const struct field *field, void *item)
{
    const size_t size = field->fields->size;
    char *rows = NULL;
    size_t count = 0, capacity = 0;
    bool done = false;
    if (!expect(reader, YAML_SEQUENCE_START_EVENT, field->key, "a list"))
        return false;
    for (;; count++) {
        if (!yaml_source_next(&reader->source))
            goto cleanup;
        if (reader->source.event.type == YAML_SEQUENCE_END_EVENT)
            break;
        if (count >= 4096) {
            FAIL(reader, "%s has more than 4096 items", field->key);
            goto cleanup;
        }
        rows = vec_grow(rows, &capacity, count + 1, size);
        if (!read_map(reader, field->fields, rows + count * size))
            goto cleanup;
    }
    char *copy = arena_alloc(reader->arena, count * size + 1);
    if (count)
        memcpy(copy, rows, count * size);
    memcpy((char *)item + field->offset, &copy, sizeof copy);
    memcpy((char *)item + field->count_offset, &count, sizeof count);
    done = true;
cleanup:
    free(rows);
    return done;
}

static bool read_table(struct reader *reader, const struct field *field, void *item)
{
    struct table_problem problem;
    struct strbuf text = {0};
    if (reader->source.event.type == YAML_SEQUENCE_START_EVENT)
        return FAIL(reader, "%s is a list, as in the JSON of a report; the YAML of it (-o) can be read", field->key);
    if (!expect(reader, YAML_SCALAR_EVENT, field->key, "a table: a block of text after '|'") ||
        !yaml_source_table(&reader->source, &text))
        return false;
    strbuf_puts(&text, "");
    const bool done =
        table_parse(field, item, text.text, text.length, field->scratch ? &reader->scratch : reader->arena,
                    field->scratch ? NULL : &reader->names, &problem);
    strbuf_release(&text);
    if (done)
        return true;
    const yaml_event_t *event = &reader->source.event;
    if (event->data.scalar.style != YAML_LITERAL_SCALAR_STYLE)
        return FAIL(reader, "%s, line %zu of the table: %s", field->key, problem.line + 1, problem.text);
    /* The block begins on the line after the '|'; its indentation is what yaml took off the line. */
    return yaml_source_fail_in_block(&reader->source, event->start_mark.line + 1 + problem.line, problem.column,
                                     "%s: %s", field->key, problem.text);
}

static bool read_keyed(struct reader *reader, const struct field *field, void *item)
{
    unsigned seen = 0;
    if (!expect(reader, YAML_MAPPING_START_EVENT, field->key, "a map"))
        return false;
    for (;;) {
        if (!yaml_source_next(&reader->source))
            return false;
        if (reader->source.event.type == YAML_MAPPING_END_EVENT)
            return true;
        if (!expect(reader, YAML_SCALAR_EVENT, field->key, "a map of names"))
            return false;
        const int index = field_enum(field, scalar_text(reader), scalar_length(reader));
        if (index < 0)
            return FAIL(reader, "'%.*s' is not one of the names in %s", SHOWN(reader), field->key);
        if (seen >> index & 1)
            return FAIL(reader, "'%s' is there twice in %s", field->name(index), field->key);
        seen |= 1u << index;
        char *one = (char *)item + field->offset + (size_t)index * field->fields->size;
        if (!yaml_source_next(&reader->source) || !read_map(reader, field->fields, one))
            return false;
        field->mark(one, index);
    }
}

static bool read_cells(struct reader *reader)
{
    struct report *report = reader->report;
    if (!expect(reader, YAML_SEQUENCE_START_EVENT, "cells", "a list"))
        return false;
    for (;;) {
        if (!yaml_source_next(&reader->source))
            return false;
        if (reader->source.event.type == YAML_SEQUENCE_END_EVENT)
            return true;
        if (report->cells.count >= MAX_CELLS)
            return FAIL(reader, "more than %d cells", MAX_CELLS);
        const size_t line = reader->source.event.start_mark.line, column = reader->source.event.start_mark.column;
        struct report_cell *cell = report_add_cell(report);
        struct file_cell file = {0};
        struct error problem = {0};
        /* The cell is built in a copy; its arena goes back with it whatever happens, so that it is released. */
        reader->arena = &file.cell.arena;
        const bool read = read_map(reader, &cell_fields, &file);
        const bool good = read && file_cell_finish(&file, &problem);
        reader->arena = &report->arena;
        arena_release(&reader->scratch);
        *cell = file.cell;
        cell->from_file = true;
        if (read && !good)
            return yaml_source_fail(&reader->source, line, column, "%s", problem.text);
        if (!good)
            return false;
    }
}

static bool read_value(struct reader *reader, const struct field *field, void *item)
{
    void *place = (char *)item + field->offset;
    double number;
    const char *text;
    int index;
    switch (field->kind) {
    case FIELD_STRING:
        if (!read_text(reader, field->key, &text))
            return false;
        if (field->required && (!text || !*text)) /* nothing is written of an empty text */
            return FAIL(reader, "%s must not be empty", field->key);
        memcpy(place, &text, sizeof text);
        return true;
    case FIELD_CHARS:
        if (!read_chars(reader, field, place))
            return false;
        return !field->required || *(const char *)place || FAIL(reader, "%s must not be empty", field->key);
    case FIELD_BOOL:
        if (!expect_plain(reader, field->key, "true or false"))
            return false;
        text = scalar_text(reader);
        if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
            return FAIL(reader, "%s must be true or false", field->key);
        *(bool *)place = *text == 't';
        return true;
    case FIELD_UNSIGNED:
    case FIELD_SIGNED: /* none of the file's signed fields may be negative */
        return read_unsigned(reader, field, place);
    case FIELD_DOUBLE:
        if (!expect_plain(reader, field->key, "a number"))
            return false;
        if (!number_parse(scalar_text(reader), scalar_length(reader), &number))
            return FAIL(reader, "%s: '%.*s' is not a number", field->key, SHOWN(reader));
        memcpy(place, &number, sizeof number);
        return true;
    case FIELD_ENUM: /* off, on and the like are quoted */
        if (!expect_string(reader, field->key))
            return false;
        index = field_enum(field, scalar_text(reader), scalar_length(reader));
        if (index < 0)
            return FAIL(reader, "%s: '%.*s' is not one of its names", field->key, SHOWN(reader));
        field_set_unsigned(place, field->size, (uint64_t)index);
        return true;
    case FIELD_FLAGS:
        return read_flags(reader, field, place);
    case FIELD_SERIES:
        return read_series(reader, field, item);
    case FIELD_NAMES:
        return read_names(reader, field, place);
    case FIELD_MAP:
        return read_map(reader, field->fields, place);
    case FIELD_KEYED:
        return read_keyed(reader, field, item);
    case FIELD_LIST:
        return read_list(reader, field, item);
    case FIELD_TABLE:
        return read_table(reader, field, item);
    case FIELD_CELLS:
        return read_cells(reader);
    default:
        return FAIL(reader, "%s is not read here", field->key);
    }
}

static int find_key(const struct field_set *set, const char *key, int expected)
{
    for (int i = 0; i < set->count; i++) {
        const int at = (expected + i) % set->count;
        if (strcmp(set->fields[at].key, key) == 0)
            return at;
    }
    return -1;
}

static bool fail_unknown(struct reader *reader, const struct field_set *set)
{
    const char *keys[MAX_KEYS];
    char key[64];
    for (int i = 0; i < set->count; i++)
        keys[i] = set->fields[i].key;
    snprintf(key, sizeof key, "%.*s", SHOWN(reader));
    const char *near = suggest(key, keys, (size_t)set->count);
    return FAIL(reader, "'%s' is not a key of %s%s%s%s", key, set->name, near ? "; did you mean '" : "",
                near ? near : "", near ? "'?" : "");
}

/* The current event starts the map. */
static bool read_map(struct reader *reader, const struct field_set *set, void *item)
{
    size_t seen[MAX_KEYS] = {0}; /* line + 1 of each key */
    int expected = 0;
    assert(set->count <= MAX_KEYS);
    if (!expect(reader, YAML_MAPPING_START_EVENT, set->name, "a map"))
        return false;
    const size_t line = reader->source.event.start_mark.line, column = reader->source.event.start_mark.column;
    fields_clear(set, item);
    for (;;) {
        if (!yaml_source_next(&reader->source))
            return false;
        if (reader->source.event.type == YAML_MAPPING_END_EVENT)
            break;
        if (!expect(reader, YAML_SCALAR_EVENT, set->name, "a map of plain keys"))
            return false;
        const int at = find_key(set, scalar_text(reader), expected);
        if (at < 0)
            return fail_unknown(reader, set);
        const struct field *field = &set->fields[at];
        if (seen[at])
            return FAIL(reader, "'%s' is there twice, first on line %zu", field->key, seen[at]);
        seen[at] = reader->source.event.start_mark.line + 1;
        expected = at + 1;
        if (!yaml_source_next(&reader->source) || !read_value(reader, field, item))
            return false;
    }
    uint64_t absent = 0;
    for (int i = 0; i < set->count; i++)
        absent |= (uint64_t)!seen[i] << i;
    keys_absent(set, item, absent);
    for (int i = 0; i < set->count; i++)
        if (set->fields[i].required && !seen[i])
            return yaml_source_fail(&reader->source, line, column, "%s lacks the key '%s'", set->name,
                                    set->fields[i].key);
    return true;
}

/* `schema: steptop/report/N` comes first, so that a newer file is told from a broken one. */
static bool read_schema(struct reader *reader)
{
    uint64_t version;
    const size_t prefix = sizeof REPORT_SCHEMA - 1;
    if (!yaml_source_next(&reader->source))
        return false;
    if (reader->source.event.type != YAML_SCALAR_EVENT || strcmp(scalar_text(reader), "schema") != 0)
        return FAIL(reader, "this is no steptop report: it must begin with 'schema: " REPORT_SCHEMA "%d'",
                    REPORT_SCHEMA_VERSION);
    if (!yaml_source_next(&reader->source) || !expect(reader, YAML_SCALAR_EVENT, "schema", "a name"))
        return false;
    if (strncmp(scalar_text(reader), REPORT_SCHEMA, prefix) != 0 ||
        !unsigned_parse(scalar_text(reader) + prefix, scalar_length(reader) - prefix, &version))
        return FAIL(reader, "this is no steptop report: its schema is '%.*s', not '" REPORT_SCHEMA "%d'", SHOWN(reader),
                    REPORT_SCHEMA_VERSION);
    if (version > REPORT_SCHEMA_VERSION)
        return FAIL(reader, "this report was written by a newer steptop (schema %" PRIu64 "); this one reads up to %d",
                    version, REPORT_SCHEMA_VERSION);
    return version == REPORT_SCHEMA_VERSION || FAIL(reader, "there is no schema %" PRIu64, version);
}

static bool read_root(struct reader *reader)
{
    size_t seen[MAX_KEYS] = {0}, completed = 0;
    const struct field_set *set = &report_fields;
    const yaml_event_type_t opening[] = {YAML_STREAM_START_EVENT, YAML_DOCUMENT_START_EVENT, YAML_MAPPING_START_EVENT};
    for (size_t i = 0; i < sizeof opening / sizeof *opening; i++) {
        if (!yaml_source_next(&reader->source))
            return false;
        if (reader->source.event.type != opening[i])
            return FAIL(reader, "this is no steptop report: it must begin with 'schema: " REPORT_SCHEMA "%d'",
                        REPORT_SCHEMA_VERSION);
    }
    if (!read_schema(reader))
        return false;
    for (;;) {
        if (!yaml_source_next(&reader->source))
            return false;
        if (reader->source.event.type == YAML_MAPPING_END_EVENT)
            break;
        if (!expect(reader, YAML_SCALAR_EVENT, "a report", "a map of plain keys"))
            return false;
        if (strcmp(scalar_text(reader), "complete") == 0 && !completed) {
            completed = reader->source.event.start_mark.line + 1;
            if (!yaml_source_next(&reader->source))
                return false;
            if (reader->source.event.type != YAML_SCALAR_EVENT || strcmp(scalar_text(reader), "true") != 0)
                return FAIL(reader, "complete must be true; was the end of the file cut off?");
            continue;
        }
        const int at = find_key(set, scalar_text(reader), 0);
        if (at < 0)
            return fail_unknown(reader, set);
        if (seen[at])
            return FAIL(reader, "'%s' is there twice, first on line %zu", set->fields[at].key, seen[at]);
        seen[at] = reader->source.event.start_mark.line + 1;
        if (!yaml_source_next(&reader->source) || !read_value(reader, &set->fields[at], reader->report))
            return false;
    }
    if (!completed)
        return FAIL(reader, "the file ends early: its last line, 'complete: true', is missing");
    for (int i = 0; i < set->count; i++)
        if (set->fields[i].required && !seen[i])
            return FAIL(reader, "the report lacks the key '%s'", set->fields[i].key);
    // NOLINTNEXTLINE(misc-redundant-expression): the end of the document, then that of the stream
    if (!yaml_source_next(&reader->source) || !yaml_source_next(&reader->source))
        return false;
    if (reader->source.event.type != YAML_STREAM_END_EVENT)
        return FAIL(reader, "a report is one document");
    return yaml_source_finish(&reader->source);
}

static bool read_report(struct reader *reader, struct report *report)
{
    struct error *error = reader->source.error;
    *report = (struct report){0};
    fields_clear(&report_fields, report);
    reader->report = report;
    reader->arena = &report->arena;
    intern_init(&reader->names, &report->arena);
    const bool done = read_root(reader);
    intern_release(&reader->names);
    unsigned told = 0;
    for (size_t i = 1; i < report->cells.count; i++)
        told |= cell_tell(&report->cells.items[0]->requested, &report->cells.items[i]->requested);
    for (size_t i = 0; i < report->cells.count; i++)
        report->cells.items[i]->requested.told = (uint8_t)told;
    if (!done) {
        report_free(report);
        if (error)
            error->kind = error->kind == ERROR_NONE ? ERROR_INPUT : error->kind;
    }
    return done;
}

bool report_read(const char *path, struct report *report, struct error *error)
{
    struct reader reader = {0};
    const bool done = yaml_source_open(&reader.source, path, MAX_FILE, error) && read_report(&reader, report);
    yaml_source_close(&reader.source);
    return done;
}

bool report_parse(const char *text, size_t length, const char *file_name, struct report *report, struct error *error)
{
    struct reader reader = {0};
    const bool done = yaml_source_text(&reader.source, text, length, file_name, error) && read_report(&reader, report);
    yaml_source_close(&reader.source);
    return done;
}
