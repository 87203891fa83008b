#include "report/table_filter.h"
#include <string.h>

static const char *const table_keys[] = {"layers",   "kernels",  "kernel_layers", "histograms",
                                         "counters", "timeline", "memory_curve",  "largest"};

static size_t indent_of(const char *line, size_t length)
{
    size_t spaces = 0;
    while (spaces < length && line[spaces] == ' ')
        spaces++;
    return spaces;
}

/* Is this `   key: |` of a table? */
static bool opens_table(const char *line, size_t length, size_t indent)
{
    for (size_t i = 0; i < sizeof table_keys / sizeof *table_keys; i++) {
        const size_t key = strlen(table_keys[i]);
        if (length == indent + key + 3 && memcmp(line + indent, table_keys[i], key) == 0 &&
            memcmp(line + indent + key, ": |", 3) == 0)
            return true;
    }
    return false;
}

static void open_table(struct table_filter *filter, size_t indent)
{
    const struct filtered_table table = {.line = filter->line};
    vec_push(&filter->tables, table);
    filter->in_table = true;
    filter->key_indent = indent;
    filter->row_indent = 0;
    filter->blank_lines = 0;
}

/* Takes the line as a row of the open table; false when it ends the table. */
static bool take_row(struct table_filter *filter, const char *line, size_t length, size_t indent)
{
    struct strbuf *text = &filter->tables.items[filter->tables.count - 1].text;
    if (indent == length) { /* blank: part of the table only when rows follow */
        filter->blank_lines++;
        return true;
    }
    if (!filter->row_indent && indent > filter->key_indent)
        filter->row_indent = indent;
    if (!filter->row_indent || indent < filter->row_indent)
        return false;
    for (; filter->blank_lines; filter->blank_lines--)
        strbuf_putc(text, '\n');
    strbuf_add(text, line + filter->row_indent, length - filter->row_indent);
    strbuf_putc(text, '\n');
    return true;
}

/* One line without its newline. */
static void take_line(struct table_filter *filter, const char *line, size_t length, bool newline)
{
    const size_t whole = length;
    if (length && line[length - 1] == '\r')
        length--;
    const size_t indent = indent_of(line, length);
    if (filter->in_table && take_row(filter, line, length, indent)) {
        if (newline)
            strbuf_putc(&filter->ready, '\n');
    } else {
        filter->in_table = false;
        if (newline && opens_table(line, length, indent))
            open_table(filter, indent);
        strbuf_add(&filter->ready, line, whole);
        if (newline)
            strbuf_putc(&filter->ready, '\n');
    }
    filter->line++;
}

void table_filter_add(struct table_filter *filter, const char *text, size_t length, bool last)
{
    while (length) {
        const char *newline = memchr(text, '\n', length);
        const size_t piece = newline ? (size_t)(newline - text) : length;
        if (!newline || filter->carry.length)
            strbuf_add(&filter->carry, text, piece);
        if (newline && filter->carry.length) {
            take_line(filter, filter->carry.text, filter->carry.length, true);
            strbuf_clear(&filter->carry);
        } else if (newline)
            take_line(filter, text, piece, true);
        text += piece + (newline != NULL);
        length -= piece + (newline != NULL);
    }
    if (last && filter->carry.length) {
        take_line(filter, filter->carry.text, filter->carry.length, false);
        strbuf_clear(&filter->carry);
    }
}

size_t table_filter_take(struct table_filter *filter, unsigned char *buffer, size_t size)
{
    const size_t left = filter->ready.length - filter->taken, count = left < size ? left : size;
    if (count)
        memcpy(buffer, filter->ready.text + filter->taken, count);
    filter->taken += count;
    if (filter->taken == filter->ready.length) {
        strbuf_clear(&filter->ready);
        filter->taken = 0;
    }
    return count;
}

bool table_filter_table(struct table_filter *filter, size_t line, struct strbuf *text)
{
    if (!filter->tables.count || filter->tables.items[0].line != line)
        return false;
    *text = filter->tables.items[0].text;
    filter->tables.count--;
    memmove(filter->tables.items, filter->tables.items + 1, filter->tables.count * sizeof *filter->tables.items);
    return true;
}

bool table_filter_left_over(const struct table_filter *filter, size_t line, size_t *left)
{
    if (!filter->tables.count || filter->tables.items[0].line >= line)
        return false;
    *left = filter->tables.items[0].line;
    return true;
}

void table_filter_release(struct table_filter *filter)
{
    for (size_t i = 0; i < filter->tables.count; i++)
        strbuf_release(&filter->tables.items[i].text);
    vec_release(&filter->tables);
    strbuf_release(&filter->carry);
    strbuf_release(&filter->ready);
}
