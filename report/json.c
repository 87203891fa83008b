/* JSON from the same tables as the YAML: maps as objects, tables as arrays of objects, unknown values left out. */
#include "report/emit.h"
#include "report/escape.h"
#include "report/fields.h"
#include <inttypes.h>
#include <string.h>

static void write_map(struct strbuf *out, const struct field_set *set, const void *item, const struct report_cell *cell,
                      int depth);

void json_newline(struct strbuf *out, int depth)
{
    strbuf_putc(out, '\n');
    for (int i = 0; i < depth; i++)
        strbuf_puts(out, "  ");
}

static void put_key(struct strbuf *out, const char *key)
{
    strbuf_putc(out, '"');
    strbuf_puts(out, key);
    strbuf_puts(out, "\": ");
}

static bool is_text(const struct field *field)
{
    return field->kind == FIELD_ENUM || field->kind == FIELD_WORD || field->kind == FIELD_REST;
}

/* A row on a line of its own; what is unknown, and empty text, is left out. */
static void write_row(struct strbuf *out, const struct field_set *set, const void *row, const struct report_cell *cell,
                      size_t index)
{
    struct strbuf value = {0};
    bool first = true;
    strbuf_putc(out, '{');
    for (int c = 0; c < set->count; c++) {
        const struct field *field = &set->fields[c];
        if (!column_is_known(field, cell, row, index))
            continue;
        strbuf_puts(out, first ? "" : ", ");
        put_key(out, field->key);
        first = false;
        if (!is_text(field)) {
            column_print(out, field, cell, row, index);
            continue;
        }
        strbuf_clear(&value);
        column_print(&value, field, cell, row, index);
        escape_json(out, value.text);
    }
    strbuf_putc(out, '}');
    strbuf_release(&value);
}

static void write_rows(struct strbuf *out, const struct field *field, const void *item, const struct report_cell *cell,
                       int depth)
{
    const char *rows = pointer_at(item, field->offset);
    const size_t count = field_unsigned((const char *)item + field->count_offset, sizeof(size_t));
    strbuf_putc(out, '[');
    for (size_t r = 0; r < count; r++) {
        strbuf_puts(out, r ? "," : "");
        json_newline(out, depth + 1);
        if (field->kind == FIELD_TABLE)
            write_row(out, field->fields, rows + r * field->fields->size, cell, r);
        else
            write_map(out, field->fields, rows + r * field->fields->size, cell, depth + 1);
    }
    if (count)
        json_newline(out, depth);
    strbuf_putc(out, ']');
}

static void write_cells(struct strbuf *out, const struct report *report, int depth)
{
    strbuf_putc(out, '[');
    for (size_t i = 0; i < report->cells.count; i++) {
        struct arena arena = {0};
        struct file_cell file;
        file_cell_make(&file, report, report->cells.items[i], &arena);
        strbuf_puts(out, i ? "," : "");
        json_newline(out, depth + 1);
        write_map(out, &cell_fields, &file, report->cells.items[i], depth + 1);
        arena_release(&arena);
    }
    if (report->cells.count)
        json_newline(out, depth);
    strbuf_putc(out, ']');
}

static void write_keyed(struct strbuf *out, const struct field *field, const void *item, const struct report_cell *cell,
                        int depth)
{
    bool first = true;
    strbuf_putc(out, '{');
    for (int i = 0; i < field->count; i++) {
        const char *one = (const char *)item + field->offset + (size_t)i * field->fields->size;
        if (!field->present(one))
            continue;
        strbuf_puts(out, first ? "" : ",");
        json_newline(out, depth + 1);
        put_key(out, field->name(i));
        write_map(out, field->fields, one, cell, depth + 1);
        first = false;
    }
    if (!first)
        json_newline(out, depth);
    strbuf_putc(out, '}');
}

static void write_names(struct strbuf *out, const struct field *field, const char *place)
{
    bool first = true;
    strbuf_putc(out, '[');
    for (int i = 0; i < field->count; i++) {
        const char *name = NULL;
        if (field->kind == FIELD_NAMES)
            memcpy(&name, place + (size_t)i * sizeof name, sizeof name);
        else if (field_unsigned(place, field->size) >> i & 1)
            name = field->name(i);
        if (!name || !*name)
            continue;
        strbuf_puts(out, first ? "" : ", ");
        escape_json(out, name);
        first = false;
    }
    strbuf_putc(out, ']');
}

static void write_value(struct strbuf *out, const struct field *field, const void *item, const struct report_cell *cell,
                        int depth)
{
    const char *place = (const char *)item + field->offset;
    double number;
    switch (field->kind) {
    case FIELD_STRING:
        escape_json(out, pointer_at(item, field->offset));
        return;
    case FIELD_CHARS:
        escape_json(out, place);
        return;
    case FIELD_BOOL:
        strbuf_puts(out, *(const bool *)place ? "true" : "false");
        return;
    case FIELD_UNSIGNED:
        if (field->special && field_unsigned(place, field->size) == UINT32_MAX)
            escape_json(out, field->special);
        else
            strbuf_unsigned(out, field_unsigned(place, field->size));
        return;
    case FIELD_SIGNED: /* none of the file's is negative */
        strbuf_unsigned(out, field_unsigned(place, field->size));
        return;
    case FIELD_DOUBLE:
        memcpy(&number, place, sizeof number);
        number_print(out, number);
        return;
    case FIELD_ENUM:
        escape_json(out, field->name((int)field_unsigned(place, field->size)));
        return;
    case FIELD_FLAGS:
    case FIELD_NAMES:
        write_names(out, field, place);
        return;
    case FIELD_SERIES: {
        const uint64_t *values = pointer_at(item, field->offset);
        const size_t count = field_unsigned((const char *)item + field->count_offset, sizeof(size_t));
        for (size_t i = 0; i < count; i++) {
            strbuf_puts(out, i ? ", " : "[");
            strbuf_unsigned(out, values[i]);
        }
        strbuf_puts(out, count ? "]" : "[]");
        return;
    }
    case FIELD_MAP:
        write_map(out, field->fields, place, cell, depth);
        return;
    case FIELD_KEYED:
        write_keyed(out, field, item, cell, depth);
        return;
    case FIELD_LIST:
    case FIELD_TABLE:
        write_rows(out, field, item, cell, depth);
        return;
    case FIELD_CELLS:
        write_cells(out, item, depth);
        return;
    default:
        strbuf_puts(out, "null"); /* columns of tables alone */
        return;
    }
}

/* The members of an object, behind `first` or others that were written; true when there is any. */
static bool write_members(struct strbuf *out, const struct field_set *set, const void *item,
                          const struct report_cell *cell, int depth, bool first)
{
    for (int i = 0; i < set->count; i++) {
        const struct field *field = &set->fields[i];
        if (!key_is_known(set, i, item))
            continue;
        strbuf_puts(out, first ? "" : ",");
        json_newline(out, depth + 1);
        put_key(out, field->key);
        write_value(out, field, item, cell, depth + 1);
        first = false;
    }
    return !first;
}

static void write_map(struct strbuf *out, const struct field_set *set, const void *item, const struct report_cell *cell,
                      int depth)
{
    strbuf_putc(out, '{');
    if (write_members(out, set, item, cell, depth, true))
        json_newline(out, depth);
    strbuf_putc(out, '}');
}

void emit_json(const struct report *report, struct strbuf *out)
{
    strbuf_printf(out, "{\n  \"schema\": \"" REPORT_SCHEMA "%d\"", REPORT_SCHEMA_VERSION);
    write_members(out, &report_fields, report, NULL, 0, false);
    strbuf_puts(out, "\n}\n");
}
