/* The JSON Schema (draft 2020-12) of a report, from the tables that the reader uses. A table is a block of text in the YAML
 * file and an array of objects in the JSON one: both are allowed. */
#include "report/json_schema.h"
#include "report/emit.h"
#include "report/escape.h"
#include "report/fields.h"
#include <string.h>

static void write_set(struct strbuf *out, const struct field_set *set, int depth);

static void write_enum(struct strbuf *out, const struct field *field)
{
    strbuf_puts(out, "\"enum\": [");
    for (int i = 0; i < field->count; i++) {
        strbuf_puts(out, i ? ", " : "");
        escape_json(out, field->name(i));
    }
    strbuf_putc(out, ']');
}

static void write_integer(struct strbuf *out, const struct field *field)
{
    strbuf_puts(out, "\"type\": \"integer\", \"minimum\": 0");
    const uint64_t most = field->most                      ? field->most
                          : field->size && field->size < 8 ? (1ull << (8 * field->size)) - 1
                                                           : 0;
    if (most) {
        strbuf_puts(out, ", \"maximum\": ");
        strbuf_unsigned(out, most);
    }
}

static void write_keyed(struct strbuf *out, const struct field *field, int depth)
{
    strbuf_puts(out, "\"type\": \"object\", \"additionalProperties\": false, \"properties\": {");
    for (int i = 0; i < field->count; i++) {
        strbuf_puts(out, i ? "," : "");
        json_newline(out, depth + 1);
        escape_json(out, field->name(i));
        strbuf_puts(out, ": ");
        write_set(out, field->fields, depth + 1);
    }
    json_newline(out, depth);
    strbuf_putc(out, '}');
}

static void write_type(struct strbuf *out, const struct field *field, int depth)
{
    switch (field->kind) {
    case FIELD_STRING:
    case FIELD_WORD:
    case FIELD_REST:
        strbuf_puts(out, "\"type\": \"string\"");
        return;
    case FIELD_CHARS:
        strbuf_printf(out, "\"type\": \"string\", \"maxLength\": %zu", field->size - 1);
        return;
    case FIELD_BOOL:
        strbuf_puts(out, "\"type\": \"boolean\"");
        return;
    case FIELD_UNSIGNED:
    case FIELD_SIGNED:
    case FIELD_INDEX:
        if (field->special && *field->special) {
            strbuf_puts(out, "\"oneOf\": [{");
            write_integer(out, field);
            strbuf_puts(out, "}, {\"const\": ");
            escape_json(out, field->special);
            strbuf_puts(out, "}]");
        } else
            write_integer(out, field);
        return;
    case FIELD_DOUBLE:
    case FIELD_ROUNDED:
    case FIELD_DERIVED:
        strbuf_puts(out, "\"type\": \"number\"");
        return;
    case FIELD_ENUM:
        write_enum(out, field);
        return;
    case FIELD_FLAGS:
        strbuf_puts(out, "\"type\": \"array\", \"items\": {");
        write_enum(out, field);
        strbuf_putc(out, '}');
        return;
    case FIELD_SERIES:
        strbuf_puts(out, "\"type\": \"array\", \"items\": {\"type\": \"integer\", \"minimum\": 0}");
        return;
    case FIELD_NAMES:
        strbuf_printf(out, "\"type\": \"array\", \"maxItems\": %d, \"items\": {\"type\": \"string\"}", field->count);
        return;
    case FIELD_KEYED:
        write_keyed(out, field, depth);
        return;
    case FIELD_LIST:
    case FIELD_CELLS:
        strbuf_puts(out, "\"type\": \"array\", \"items\": ");
        write_set(out, field->fields, depth);
        return;
    case FIELD_TABLE:
        strbuf_puts(out, "\"oneOf\": [{\"type\": \"string\"}, {\"type\": \"array\", \"items\": ");
        write_set(out, field->fields, depth);
        strbuf_puts(out, "}]");
        return;
    case FIELD_MAP:
        return; /* write_field hands it to write_set */
    }
}

static void write_field(struct strbuf *out, const struct field *field, int depth)
{
    if (field->kind == FIELD_MAP) {
        write_set(out, field->fields, depth);
        return;
    }
    strbuf_putc(out, '{');
    if (field->about && *field->about) {
        strbuf_puts(out, "\"description\": ");
        escape_json(out, field->about);
        strbuf_puts(out, ", ");
    }
    write_type(out, field, depth);
    strbuf_putc(out, '}');
}

static void write_properties(struct strbuf *out, const struct field_set *set, int depth)
{
    for (int i = 0; i < set->count; i++) {
        strbuf_puts(out, i ? "," : "");
        json_newline(out, depth);
        escape_json(out, set->fields[i].key);
        strbuf_puts(out, ": ");
        write_field(out, &set->fields[i], depth);
    }
}

static void write_required(struct strbuf *out, const struct field_set *set)
{
    bool first = true;
    for (int i = 0; i < set->count; i++)
        if (set->fields[i].required) {
            strbuf_puts(out, first ? ", \"required\": [" : ", ");
            escape_json(out, set->fields[i].key);
            first = false;
        }
    if (!first)
        strbuf_putc(out, ']');
}

static void write_set(struct strbuf *out, const struct field_set *set, int depth)
{
    strbuf_puts(out, "{\"type\": \"object\", \"additionalProperties\": false");
    write_required(out, set);
    strbuf_puts(out, ", \"properties\": {");
    write_properties(out, set, depth + 1);
    json_newline(out, depth);
    strbuf_puts(out, "}}");
}

void report_schema(struct strbuf *out)
{
    strbuf_puts(
        out, "{\n  \"$schema\": \"https://json-schema.org/draft/2020-12/schema\",\n  \"title\": \"steptop report\",\n"
             "  \"type\": \"object\",\n  \"additionalProperties\": false,\n  \"required\": [\"schema\", \"cells\"],\n"
             "  \"properties\": {\n");
    strbuf_printf(out, "    \"schema\": {\"const\": \"" REPORT_SCHEMA "%d\"},\n    \"complete\": {\"const\": true},",
                  REPORT_SCHEMA_VERSION);
    write_properties(out, &report_fields, 2);
    strbuf_puts(out, "\n  }\n}\n");
}
