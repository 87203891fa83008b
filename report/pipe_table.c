#include "report/pipe_table.h"
#include "base/limits.h"
#include "base/unknown.h"
#include "base/vec.h"
#include "report/escape.h"
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_PADDING 2 /* tabulate's MIN_PADDING */

struct pipe_column {
    char *header;
    enum pipe_align align;
    VEC(char *) cells;
    size_t width;
    int decimals; /* of the block that is being written */
};

void pipe_add_column(struct pipe_table *table, const char *header, enum pipe_align align)
{
    const size_t index = table->column_count++;
    struct pipe_column *grown = realloc(table->columns, table->column_count * sizeof *grown);
    if (!grown)
        memory_exhausted(table->column_count, "columns of a table");
    table->columns = grown;
    table->columns[index] = (struct pipe_column){.header = strdup(header), .align = align};
    if (!table->columns[index].header)
        memory_exhausted(strlen(header), "bytes for a table");
}

void pipe_add_list(struct pipe_table *table, enum pipe_align align, const char *const *headers)
{
    for (; *headers; headers++)
        pipe_add_column(table, *headers, align);
}

static void add_cell(struct pipe_table *table, const char *text)
{
    assert(table->column_count > 0);
    if (table->row_count == 0 || table->filled == table->column_count) {
        table->row_count++;
        table->filled = 0;
    }
    char *copy = strdup(text);
    if (!copy)
        memory_exhausted(strlen(text), "bytes for a table");
    vec_push(&table->columns[table->filled].cells, copy);
    table->filled++;
}

void pipe_text(struct pipe_table *table, const char *text)
{
    struct strbuf cell = {0};
    strbuf_puts(&cell, "");
    const bool indented = table->columns[table->filled % table->column_count].align == PIPE_INDENTED;
    size_t spaces = 0;
    while (indented && text[spaces] == ' ')
        spaces++;
    for (size_t i = 0; i < spaces; i++)
        strbuf_puts(&cell, "\u00a0");
    escape_markdown_cell(&cell, text + spaces);
    add_cell(table, cell.text);
    strbuf_release(&cell);
}

void pipe_integer(struct pipe_table *table, int64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)value);
    add_cell(table, text);
}

void pipe_count(struct pipe_table *table, uint64_t value)
{
    struct strbuf text = {0};
    strbuf_unsigned(&text, value);
    add_cell(table, is_known_u64(value) ? text.text : "n/a");
    strbuf_release(&text);
}

void pipe_general(struct pipe_table *table, double value)
{
    char text[32];
    /* printf may write -nan; the file never does. */
    snprintf(text, sizeof text, "%g", isnan(value) ? (double)NAN : value);
    add_cell(table, isnan(value) ? "nan" : text);
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
void pipe_number(struct pipe_table *table, const char *format, double value)
{
    char text[64];
    snprintf(text, sizeof text, format, value);
    add_cell(table, isfinite(value) ? text : "n/a"); /* a ratio to nothing is as unknown as its parts */
}
#pragma GCC diagnostic pop

void pipe_bool(struct pipe_table *table, bool value)
{
    add_cell(table, value ? "True" : "False");
}

/* tabulate's _afterpoint: characters after the decimal point, or after the exponent's letter where there is no point; -1
 * for what has neither: integers, nan, text. */
static int after_point(const char *text)
{
    char *end;
    strtod(text, &end);
    if (end == text || *end)
        return -1;
    const char *mark = strrchr(text, '.');
    if (!mark)
        mark = strpbrk(text, "eE");
    return mark ? (int)strlen(mark + 1) : -1;
}

static void pad(struct strbuf *out, char c, size_t count)
{
    for (size_t i = 0; i < count; i++)
        strbuf_putc(out, c);
}

void pipe_new_block(struct pipe_table *table)
{
    size_t *grown = realloc(table->blocks, (table->block_count + 1) * sizeof *grown);
    if (!grown)
        memory_exhausted(table->block_count, "blocks of a table");
    table->blocks = grown;
    table->blocks[table->block_count++] = table->row_count;
}

static size_t block_start(const struct pipe_table *table, size_t block)
{
    return block == 0 ? 0 : block <= table->block_count ? table->blocks[block - 1] : table->row_count;
}

/* The most digits after the point in a column, over the rows of one block; -1 for text and for integers alone. */
static int block_decimals(const struct pipe_table *table, const struct pipe_column *column, size_t block)
{
    int most = -1;
    if (column->align == PIPE_NUMBER)
        for (size_t row = block_start(table, block); row < block_start(table, block + 1); row++) {
            const int decimals = after_point(column->cells.items[row]);
            most = decimals > most ? decimals : most;
        }
    return most;
}

static size_t cell_tail(const struct pipe_column *column, int decimals, const char *text)
{
    return column->align == PIPE_NUMBER ? (size_t)(decimals - after_point(text)) : 0;
}

static size_t column_width(const struct pipe_table *table, const struct pipe_column *column)
{
    size_t most = utf8_width(column->header) + HEADER_PADDING;
    for (size_t block = 0; block <= table->block_count; block++) {
        const int decimals = block_decimals(table, column, block);
        for (size_t row = block_start(table, block); row < block_start(table, block + 1); row++) {
            const char *text = column->cells.items[row];
            const size_t width = utf8_width(text) + cell_tail(column, decimals, text);
            most = width > most ? width : most;
        }
    }
    return most;
}

/* `tail`: blanks that stand for digits after the point. */
static void write_cell(struct strbuf *out, const struct pipe_column *column, const char *text, size_t tail)
{
    const bool number = column->align == PIPE_NUMBER;
    const size_t rest = column->width - utf8_width(text) - tail;
    strbuf_putc(out, ' ');
    pad(out, ' ', number ? rest : 0);
    strbuf_puts(out, text);
    pad(out, ' ', number ? tail : rest);
    strbuf_puts(out, " |");
}

static void write_block(struct strbuf *out, const struct pipe_table *table, size_t block)
{
    for (size_t c = 0; c < table->column_count; c++)
        table->columns[c].decimals = block_decimals(table, &table->columns[c], block);
    for (size_t row = block_start(table, block); row < block_start(table, block + 1); row++) {
        strbuf_putc(out, '|');
        for (size_t c = 0; c < table->column_count; c++) {
            const struct pipe_column *column = &table->columns[c];
            const char *text = column->cells.items[row];
            write_cell(out, column, text, cell_tail(column, column->decimals, text));
        }
        strbuf_putc(out, '\n');
    }
}

static void release(struct pipe_table *table)
{
    for (size_t c = 0; c < table->column_count; c++) {
        for (size_t r = 0; r < table->columns[c].cells.count; r++)
            free(table->columns[c].cells.items[r]);
        vec_release(&table->columns[c].cells);
        free(table->columns[c].header);
    }
    free(table->columns);
    free(table->blocks);
    *table = (struct pipe_table){0};
}

void pipe_finish(struct pipe_table *table, struct strbuf *out)
{
    assert(table->row_count == 0 || table->filled == table->column_count);
    strbuf_putc(out, '|');
    for (size_t c = 0; c < table->column_count; c++) {
        table->columns[c].width = column_width(table, &table->columns[c]);
        write_cell(out, &table->columns[c], table->columns[c].header, 0);
    }
    strbuf_puts(out, "\n|");
    for (size_t c = 0; c < table->column_count; c++) {
        const bool number = table->columns[c].align == PIPE_NUMBER;
        strbuf_putc(out, number ? '-' : ':');
        pad(out, '-', table->columns[c].width);
        strbuf_puts(out, number ? ":|" : "-|");
    }
    strbuf_putc(out, '\n');
    for (size_t block = 0; block <= table->block_count; block++)
        write_block(out, table, block);
    release(table);
}

bool pipe_section(struct pipe_table *table, const char *head, struct strbuf *out)
{
    if (!table->row_count) {
        release(table);
        return false;
    }
    strbuf_puts(out, head);
    pipe_finish(table, out);
    return true;
}
