/* The document as YAML: block style, plain scalars where no reader could mistake them, tables as literal blocks. */
#include "report/emit.h"
#include "report/escape.h"
#include "report/fields.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SERIES_COLUMN 116 /* lists of numbers are broken before it */

static void write_map(struct strbuf *out, const struct field_set *set, const void *item, const struct report_cell *cell,
                      int depth);

static void indent(struct strbuf *out, int depth)
{
    for (int i = 0; i < depth; i++)
        strbuf_puts(out, "  ");
}

static void write_series(struct strbuf *out, const uint64_t *values, size_t count, int depth)
{
    size_t line = out->length;
    while (line > 0 && out->text[line - 1] != '\n')
        line--;
    strbuf_putc(out, '[');
    for (size_t i = 0; i < count; i++) {
        if (out->length - line > SERIES_COLUMN - 22 && i) {
            strbuf_puts(out, ",\n");
            line = out->length;
            indent(out, depth + 1);
        } else if (i)
            strbuf_puts(out, ", ");
        strbuf_unsigned(out, values[i]);
    }
    strbuf_puts(out, "]\n");
}

static void write_flags(struct strbuf *out, const struct field *field, uint64_t bits)
{
    bool first = true;
    strbuf_putc(out, '[');
    for (int i = 0; i < field->count; i++)
        if (bits >> i & 1) {
            strbuf_puts(out, first ? "" : ", ");
            strbuf_puts(out, field->name(i));
            first = false;
        }
    strbuf_puts(out, "]\n");
}

static void write_table(struct strbuf *out, const struct field *field, const void *item, const struct report_cell *cell,
                        int depth)
{
    const struct field_set *columns = field->fields;
    const char *rows = pointer_at(item, field->offset);
    const size_t count = field_unsigned((const char *)item + field->count_offset, sizeof(size_t));
    strbuf_puts(out, "|\n");
    indent(out, depth + 1);
    for (int c = 0; c < columns->count; c++) {
        strbuf_puts(out, c ? " " : "");
        strbuf_puts(out, columns->fields[c].key);
    }
    strbuf_putc(out, '\n');
    for (size_t r = 0; r < count; r++) {
        indent(out, depth + 1);
        for (int c = 0; c < columns->count; c++) {
            if (c)
                strbuf_putc(out, ' ');
            column_print(out, &columns->fields[c], cell, rows + r * columns->size, r);
        }
        strbuf_putc(out, '\n');
    }
}

static void write_list(struct strbuf *out, const struct field *field, const void *item, const struct report_cell *cell,
                       int depth)
{
    const char *rows = pointer_at(item, field->offset);
    const size_t count = field_unsigned((const char *)item + field->count_offset, sizeof(size_t));
    strbuf_putc(out, '\n');
    for (size_t r = 0; r < count; r++) {
        const size_t start = out->length;
        write_map(out, field->fields, rows + r * field->fields->size, cell, depth + 2);
        if (out->length > start)
            out->text[start + 2 * (size_t)depth + 2] = '-'; /* the first key's indentation carries the dash */
    }
}

static void write_keyed(struct strbuf *out, const struct field *field, const void *item, const struct report_cell *cell,
                        int depth)
{
    strbuf_putc(out, '\n');
    for (int i = 0; i < field->count; i++) {
        const char *one = (const char *)item + field->offset + (size_t)i * field->fields->size;
        if (!field->present(one))
            continue;
        indent(out, depth + 1);
        strbuf_puts(out, field->name(i));
        strbuf_puts(out, ":\n");
        const size_t start = out->length;
        write_map(out, field->fields, one, cell, depth + 2);
        if (out->length == start) { /* there, and nothing known of it */
            out->text[--out->length] = 0;
            strbuf_puts(out, " {}\n");
        }
    }
}

static void write_cells(struct strbuf *out, const struct report *report)
{
    strbuf_puts(out, report->cells.count ? "\n" : " []\n");
    for (size_t i = 0; i < report->cells.count; i++) {
        struct arena arena = {0};
        struct file_cell file;
        file_cell_make(&file, report, report->cells.items[i], &arena);
        const size_t start = out->length;
        write_map(out, &cell_fields, &file, report->cells.items[i], 2);
        out->text[start + 2] = '-';
        arena_release(&arena);
    }
}

static bool any_present(const struct field *field, const void *item)
{
    for (int i = 0; i < field->count; i++)
        if (field->present((const char *)item + field->offset + (size_t)i * field->fields->size))
            return true;
    return false;
}

static bool any_known(const struct field_set *set, const void *item)
{
    for (int i = 0; i < set->count; i++)
        if (key_is_known(set, i, item))
            return true;
    return false;
}

static void write_value(struct strbuf *out, const struct field *field, const void *item, const struct report_cell *cell,
                        int depth)
{
    const char *place = (const char *)item + field->offset;
    double number;
    switch (field->kind) {
    case FIELD_STRING:
    case FIELD_CHARS:
        strbuf_putc(out, ' ');
        escape_yaml(out, field->kind == FIELD_CHARS ? place : pointer_at(item, field->offset));
        strbuf_putc(out, '\n');
        return;
    case FIELD_BOOL:
        strbuf_puts(out, *(const bool *)place ? " true\n" : " false\n");
        return;
    case FIELD_UNSIGNED:
        if (field->special && field_unsigned(place, field->size) == UINT32_MAX)
            strbuf_printf(out, " %s\n", field->special);
        else
            strbuf_printf(out, " %" PRIu64 "\n", field_unsigned(place, field->size));
        return;
    case FIELD_SIGNED:
        strbuf_printf(out, " %" PRId64 "\n",
                      field->size == 8 ? *(const int64_t *)(const void *)place : *(const int32_t *)(const void *)place);
        return;
    case FIELD_DOUBLE:
        memcpy(&number, place, sizeof number);
        strbuf_putc(out, ' ');
        number_print(out, number);
        strbuf_putc(out, '\n');
        return;
    case FIELD_ENUM:
        strbuf_putc(out, ' ');
        escape_yaml(out, field->name((int)field_unsigned(place, field->size)));
        strbuf_putc(out, '\n');
        return;
    case FIELD_FLAGS:
        strbuf_putc(out, ' ');
        write_flags(out, field, field_unsigned(place, field->size));
        return;
    case FIELD_SERIES:
        strbuf_putc(out, ' ');
        write_series(out, pointer_at(item, field->offset),
                     field_unsigned((const char *)item + field->count_offset, sizeof(size_t)), depth);
        return;
    case FIELD_NAMES:
        strbuf_puts(out, " [");
        for (int i = 0; i < field->count; i++) {
            const char *name = pointer_at(item, field->offset + (size_t)i * sizeof name);
            if (!name || !*name)
                break;
            strbuf_puts(out, i ? ", " : "");
            escape_yaml(out, name);
        }
        strbuf_puts(out, "]\n");
        return;
    case FIELD_MAP:
        strbuf_putc(out, '\n');
        write_map(out, field->fields, place, cell, depth + 1);
        return;
    case FIELD_KEYED:
        write_keyed(out, field, item, cell, depth);
        return;
    case FIELD_LIST:
        write_list(out, field, item, cell, depth);
        return;
    case FIELD_TABLE:
        strbuf_putc(out, ' ');
        write_table(out, field, item, cell, depth);
        return;
    case FIELD_CELLS:
        write_cells(out, item);
        return;
    case FIELD_WORD:
    case FIELD_REST:
    case FIELD_INDEX:
    case FIELD_ROUNDED:
    case FIELD_DERIVED:
        return; /* columns of tables alone */
    }
}

static void write_map(struct strbuf *out, const struct field_set *set, const void *item, const struct report_cell *cell,
                      int depth)
{
    for (int i = 0; i < set->count; i++) {
        const struct field *field = &set->fields[i];
        if (!key_is_known(set, i, item))
            continue;
        if (field->kind == FIELD_KEYED && !any_present(field, item))
            continue;
        if (field->kind == FIELD_MAP && !any_known(field->fields, (const char *)item + field->offset))
            continue;
        indent(out, depth);
        strbuf_puts(out, field->key);
        strbuf_putc(out, ':');
        write_value(out, field, item, cell, depth);
    }
}

void emit_yaml(const struct report *report, struct strbuf *out)
{
    strbuf_printf(out, "schema: " REPORT_SCHEMA "%d\n", REPORT_SCHEMA_VERSION);
    write_map(out, &report_fields, report, NULL, 0);
    /* The last line says that nothing was cut off. */
    strbuf_puts(out, "complete: true\n");
}
