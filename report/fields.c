#include "report/fields.h"
#include "report/escape.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

uint64_t field_unsigned(const void *place, size_t size)
{
    uint64_t value = 0;
    memcpy(&value, place, size); /* little-endian machines alone are supported */
    return value;
}

void field_set_unsigned(void *place, size_t size, uint64_t value)
{
    memcpy(place, &value, size);
}

const void *pointer_at(const void *item, size_t offset)
{
    const void *pointer;
    memcpy(&pointer, (const char *)item + offset, sizeof pointer);
    return pointer;
}

static int64_t field_signed(const void *place, size_t size)
{
    if (size == 4) {
        int32_t value;
        memcpy(&value, place, sizeof value);
        return value;
    }
    int64_t value;
    memcpy(&value, place, sizeof value);
    return value;
}

bool field_is_known(const struct field *field, const void *item)
{
    const void *place = (const char *)item + field->offset;
    double number;
    const char *text;
    switch (field->kind) {
    case FIELD_STRING:
        memcpy(&text, place, sizeof text);
        return text && *text;
    case FIELD_CHARS:
        return *(const char *)place != 0;
    case FIELD_UNSIGNED:
        if (field->special && !*field->special && field_unsigned(place, field->size) == UINT32_MAX)
            return false;
        return field->size < 8 || is_known_u64(field_unsigned(place, 8));
    case FIELD_DOUBLE:
    case FIELD_ROUNDED:
        memcpy(&number, place, sizeof number);
        return is_known(number);
    case FIELD_NAMES:
        memcpy(&text, place, sizeof text);
        return text && *text;
    case FIELD_SERIES:
    case FIELD_LIST:
    case FIELD_TABLE:
        return field_unsigned((const char *)item + field->count_offset, sizeof(size_t)) > 0;
    case FIELD_MAP:
        return !field->present || field->present(place);
    case FIELD_BOOL:
        return !field->present || field->present(item);
    default:
        return true;
    }
}

void keys_absent(const struct field_set *set, void *item, uint64_t mask)
{
    if (set->absent)
        memcpy((char *)item + set->absent, &mask, sizeof mask);
}

bool key_is_known(const struct field_set *set, int key, const void *item)
{
    const struct field *field = &set->fields[key];
    uint64_t absent = 0;
    if (set->absent)
        memcpy(&absent, (const char *)item + set->absent, sizeof absent);
    if (absent >> key & 1)
        return false;
    if (field->kind == FIELD_UNSIGNED && field->zero &&
        !field_unsigned((const char *)item + field->offset, field->size))
        return false;
    return field_is_known(field, item);
}

void fields_clear(const struct field_set *set, void *item)
{
    keys_absent(set, item, UINT64_MAX);
    for (int i = 0; i < set->count; i++) {
        const struct field *field = &set->fields[i];
        char *place = (char *)item + field->offset;
        const double unknown = UNKNOWN_DOUBLE;
        const char *empty = "";
        switch (field->kind) {
        case FIELD_STRING:
        case FIELD_WORD:
        case FIELD_REST:
            memcpy(place, &empty, sizeof empty);
            break;
        case FIELD_DOUBLE:
        case FIELD_ROUNDED:
            memcpy(place, &unknown, sizeof unknown);
            break;
        case FIELD_UNSIGNED:
            field_set_unsigned(place, field->size,
                               field->size == 8 && !field->zero ? UNKNOWN_U64
                               : field->special                 ? UINT32_MAX
                                                                : 0);
            break;
        case FIELD_INDEX:
            field_set_unsigned(place, field->size, UINT64_MAX);
            break;
        case FIELD_NAMES:
            for (int name = 0; name < field->count; name++)
                memcpy(place + (size_t)name * sizeof empty, &empty, sizeof empty);
            break;
        case FIELD_MAP:
            fields_clear(field->fields, place);
            break;
        case FIELD_KEYED:
            for (int index = 0; index < field->count; index++)
                fields_clear(field->fields, place + (size_t)index * field->fields->size);
            break;
        case FIELD_SERIES:
        case FIELD_LIST:
        case FIELD_TABLE:
            memset(place, 0, sizeof(void *));
            memset((char *)item + field->count_offset, 0, sizeof(size_t));
            break;
        case FIELD_CHARS:
        case FIELD_BOOL:
        case FIELD_SIGNED:
        case FIELD_FLAGS:
            memset(place, 0, field->size);
            break;
        case FIELD_ENUM:
            field_set_unsigned(place, field->size, (uint64_t)field->otherwise);
            break;
        case FIELD_DERIVED:
        case FIELD_CELLS:
            break;
        }
    }
}

int field_enum(const struct field *field, const char *text, size_t length)
{
    for (int i = 0; i < field->count; i++) {
        const char *name = field->name(i);
        if (strlen(name) == length && memcmp(name, text, length) == 0) /* text may hold a NUL */
            return i;
    }
    return -1;
}

void put_count(struct strbuf *out, uint64_t value)
{
    if (is_known_u64(value))
        strbuf_unsigned(out, value);
    else
        strbuf_puts(out, "n/a");
}

void number_print(struct strbuf *out, double value)
{
    char text[40];
    if (value == 0)
        value = 0; /* no -0 */
    if (fabs(value) >= 1e6 && fabs(value) < 0x1p53)
        value = round(value); /* of a million nanoseconds, bytes or FLOPs nobody needs the fraction */
    if (fabs(value) < 0x1p53 && value == (double)(int64_t)value) {
        strbuf_puts(out, value < 0 ? "-" : "");
        strbuf_unsigned(out, (uint64_t)fabs(value));
        return;
    }
    snprintf(text, sizeof text, "%.9g", value);
    strbuf_puts(out, text);
}

bool column_is_known(const struct field *field, const struct report_cell *cell, const void *row, size_t index)
{
    const void *place = (const char *)row + field->offset;
    switch (field->kind) {
    case FIELD_UNSIGNED:
    case FIELD_DOUBLE:
    case FIELD_ROUNDED:
        return field_is_known(field, row);
    case FIELD_INDEX:
        return field_signed(place, field->size) >= 0;
    case FIELD_DERIVED:
        return !field->derive || is_known(field->derive(cell, index));
    case FIELD_WORD:
    case FIELD_REST: {
        const char *text = pointer_at(row, field->offset);
        return text && text[strspn(text, " ")];
    }
    default:
        return true;
    }
}

/* Cleaned and without blanks at its ends, so that the reader finds the same column and the same text. */
static void text_print(struct strbuf *out, const char *text, bool word)
{
    const size_t start = out->length;
    clean_text(out, text + strspn(text, " "), strlen(text + strspn(text, " ")));
    while (out->length > start && out->text[out->length - 1] == ' ')
        out->text[--out->length] = 0;
    for (size_t i = start; word && i < out->length; i++)
        if (out->text[i] == ' ')
            out->text[i] = '_';
    if (out->length == start) /* of control characters alone */
        strbuf_putc(out, '-');
}

void column_print(struct strbuf *out, const struct field *field, const struct report_cell *cell, const void *row,
                  size_t index)
{
    const void *place = (const char *)row + field->offset;
    double number;
    if (!column_is_known(field, cell, row, index)) {
        strbuf_putc(out, '-');
        return;
    }
    switch (field->kind) {
    case FIELD_UNSIGNED:
    case FIELD_INDEX:
        strbuf_unsigned(out, field_unsigned(place, field->size));
        return;
    case FIELD_BOOL:
        strbuf_puts(out, *(const bool *)place ? "true" : "false");
        return;
    case FIELD_ENUM:
        strbuf_puts(out, field->name((int)field_unsigned(place, field->size)));
        return;
    case FIELD_DOUBLE:
    case FIELD_ROUNDED:
        memcpy(&number, place, sizeof number);
        number_print(out, field->kind == FIELD_ROUNDED ? round(number) : number);
        return;
    case FIELD_DERIVED:
        if (!field->derive) {
            strbuf_unsigned(out, index);
            return;
        }
        number = field->derive(cell, index);
        strbuf_printf(out, fabs(number) < 1000 ? "%.4g" : "%.0f", number);
        return;
    case FIELD_WORD:
    case FIELD_REST:
        text_print(out, pointer_at(row, field->offset), field->kind == FIELD_WORD);
        return;
    default:
        strbuf_putc(out, '-'); /* no other kind is a column */
    }
}
