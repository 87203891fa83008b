#include "tui/table.h"
#include "base/system.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

void table_init(struct table *table, const struct table_ops *ops, int sort)
{
    *table = (struct table){.ops = ops, .sort = sort, .sorted_by = -1};
    for (int i = 0; i < ops->column_count; i++)
        if (!(ops->columns[i].flags & COLUMN_HIDDEN))
            table->shown |= 1u << i;
}

void table_release(struct table *table)
{
    vec_release(&table->items);
    vec_release(&table->ranks);
    vec_release(&table->last);
    vec_release(&table->tags);
    vec_release(&table->texts);
    lines_release(&table->lines);
}

uint32_t table_automatic(const struct table_ops *ops)
{
    uint32_t columns = 0;
    for (int i = 0; i < ops->column_count; i++)
        if (ops->columns[i].flags & COLUMN_AUTOMATIC)
            columns |= 1u << i;
    return columns;
}

void table_cell(const struct table *table, const void *context, size_t index, int column, struct cell_text *out)
{
    const struct table_column *about = &table->ops->columns[column];
    out->text[0] = 0;
    out->style = STYLE_NORMAL;
    out->width = table->width[column] > about->width ? table->width[column] : about->width;
    if (about->format && about->value) {
        char text[FORMAT_SIZE];
        const double value = about->value(context, index);
        snprintf(out->text, sizeof out->text, "%s", about->format(text, value));
        if (!isfinite(value))
            out->style = STYLE_DIM;
    }
    if (about->text)
        about->text(context, index, out);
}

static bool row_contains(const struct table *table, const void *context, size_t index, const char *needle)
{
    struct cell_text cell;
    for (int column = 0; column < table->ops->column_count; column++) {
        if (!(table->ops->columns[column].flags & COLUMN_LEFT) || !(table->shown & 1u << column))
            continue;
        table_cell(table, context, index, column, &cell);
        if (strcasestr(cell.text, needle))
            return true;
    }
    if (!table->ops->words)
        return false;
    cell.text[0] = 0;
    table->ops->words(context, index, &cell);
    return strcasestr(cell.text, needle) != NULL;
}

static int by_id(const void *a, const void *b)
{
    const struct table_rank *left = a, *right = b;
    return left->id < right->id ? -1 : left->id > right->id;
}

static int by_rank(const void *a, const void *b)
{
    const struct table_item *left = a, *right = b;
    if (left->rank != right->rank)
        return left->rank < right->rank ? -1 : 1;
    return left->index < right->index ? -1 : left->index > right->index;
}

/* Unknown values last; ties by the order before, so that equal rows never swap places. */
static int by_value(const void *a, const void *b, void *ascending)
{
    const struct table_item *left = a, *right = b;
    const bool left_unknown = isnan(left->value), right_unknown = isnan(right->value);
    if (left_unknown != right_unknown)
        return left_unknown ? 1 : -1;
    if (!left_unknown && left->value != right->value)
        return (left->value < right->value) == *(bool *)ascending ? -1 : 1;
    return by_rank(a, b);
}

static int by_text(const void *a, const void *b, void *ascending)
{
    const struct table_item *left = a, *right = b;
    const int order = strverscmp(left->text, right->text); /* c256 before c1024 */
    return order == 0 ? by_rank(a, b) : *(bool *)ascending ? order : -order;
}

/* True when these are the rows of the order before, each in its place then. */
static bool rank_items(struct table *table)
{
    bool same = table->items.count == table->ranks.count;
    for (size_t i = 0; i < table->items.count; i++) {
        struct table_item *item = &table->items.items[i];
        /* A view mostly gives its rows as it did in the frame before. */
        if (item->index < table->last.count && table->last.items[item->index].id == item->id) {
            item->rank = table->last.items[item->index].rank;
            continue;
        }
        const struct table_rank key = {.id = item->id};
        const struct table_rank *found = table->ranks.count ? bsearch(&key, table->ranks.items, table->ranks.count,
                                                                      sizeof *table->ranks.items, by_id)
                                                            : NULL;
        item->rank = found ? found->rank : UINT32_MAX;
        same &= found != NULL;
    }
    return same;
}

/* After the order is settled: where the view's rows went. */
static void remember_last(struct table *table)
{
    const struct table_rank none = {.rank = UINT32_MAX};
    while (table->last.count < table->total)
        vec_push(&table->last, none);
    for (size_t i = 0; i < table->total; i++)
        table->last.items[i].id = 0;
    table->last.count = table->total;
    for (size_t i = 0; i < table->items.count; i++)
        table->last.items[table->items.items[i].index] = (struct table_rank){table->items.items[i].id, (uint32_t)i};
}

static void remember_ranks(struct table *table)
{
    table->ranks.count = 0;
    for (size_t i = 0; i < table->items.count; i++) {
        const struct table_rank rank = {table->items.items[i].id, (uint32_t)i};
        vec_push(&table->ranks, rank);
    }
    if (table->ranks.count)
        qsort(table->ranks.items, table->ranks.count, sizeof *table->ranks.items, by_id);
}

static void sort_items(struct table *table, const void *context)
{
    struct table_item *items = table->items.items;
    const size_t count = table->items.count;
    if (count == 0)
        return;
    const struct table_column *about = &table->ops->columns[table->sort];
    if (about->value) {
        for (size_t i = 0; i < count; i++)
            items[i].value = about->value(context, items[i].index);
        sort_with(items, count, sizeof *items, by_value, &table->ascending);
        return;
    }
    table->texts.count = 0;
    for (size_t i = 0; i < count; i++) {
        struct cell_text cell;
        table_cell(table, context, items[i].index, table->sort, &cell);
        const size_t length = strlen(cell.text) + 1;
        vec_reserve(&table->texts, table->texts.count + length);
        memcpy(table->texts.items + table->texts.count, cell.text, length);
        items[i].value = (double)table->texts.count; /* the block may move while it grows */
        table->texts.count += length;
    }
    for (size_t i = 0; i < count; i++)
        items[i].text = table->texts.items + (size_t)items[i].value;
    sort_with(items, count, sizeof *items, by_text, &table->ascending);
}

static bool find_selection(struct table *table)
{
    for (size_t i = 0; table->any_selected && i < table->items.count; i++)
        if (table->items.items[i].id == table->selected) {
            table->position = i;
            return true;
        }
    return false;
}

/* When the selected row is gone, its neighbour takes over. */
static void place_selection(struct table *table)
{
    if (find_selection(table))
        return;
    if (table->position >= table->items.count)
        table->position = table->items.count ? table->items.count - 1 : 0;
    if (table->items.count)
        table->selected = table->items.items[table->position].id;
}

/* Puts the items where they were. */
static void keep_order(struct table *table, bool same)
{
    struct table_item *items = table->items.items;
    if (!same) {
        qsort(items, table->items.count, sizeof *items, by_rank);
        return;
    }
    for (size_t i = 0; i < table->items.count;) {
        const struct table_item item = items[i];
        if (item.rank == i) {
            i++;
            continue;
        }
        if (items[item.rank].rank == item.rank) { /* two rows of one id */
            qsort(items, table->items.count, sizeof *items, by_rank);
            return;
        }
        items[i] = items[item.rank];
        items[item.rank] = item;
    }
}

/* The order is made anew when somebody asked for another one, when rows came or went, and else once a second. */
static void order_items(struct table *table, const void *context)
{
    const uint64_t now = table->now;
    const bool same = rank_items(table), rests = now < table->rest_until && table->ranks.count > 0;
    const bool asked = table->refresh || table->sorted_by != table->sort || table->sorted_ascending != table->ascending;
    if (table->items.count == 0) {
        table->ranks.count = table->last.count = 0;
        return;
    }
    const uint64_t stays = table->costly ? 2 * (uint64_t)TABLE_SORT_NS : TABLE_SORT_NS;
    if (rests || (same && !asked && now >= table->sorted_at && now - table->sorted_at < stays)) {
        keep_order(table, same);
        table->pending = true;
        remember_last(table);
        if (same)
            return;
    } else {
        sort_items(table, context);
        table->sorted_at = now;
        table->sorted_by = table->sort;
        table->sorted_ascending = table->ascending;
        remember_last(table);
    }
    remember_ranks(table);
}

void table_update(struct table *table, const void *context, const uint64_t *ids, size_t count, uint64_t now)
{
    table->total = count;
    table->items.count = 0;
    for (size_t i = 0; i < count; i++) {
        if (table->filter[0] && table->ops->order != ORDER_VIEW && !row_contains(table, context, i, table->filter))
            continue;
        const struct table_item item = {.id = ids[i], .index = (uint32_t)i};
        vec_push(&table->items, item);
    }
    table->now = now;
    table->pending = false;
    if (table->ops->order == ORDER_COLUMN)
        order_items(table, context);
    place_selection(table);
}

static void move_to(struct table *table, size_t position)
{
    if (table->items.count == 0)
        return;
    table->position = position < table->items.count ? position : table->items.count - 1;
    table->selected = table->items.items[table->position].id;
    table->any_selected = true;
}

static void toggle_tag(struct table *table)
{
    if (table->items.count == 0)
        return;
    const uint64_t id = table->items.items[table->position].id;
    for (size_t i = 0; i < table->tags.count; i++)
        if (table->tags.items[i] == id) {
            table->tags.items[i] = table->tags.items[--table->tags.count];
            return;
        }
    vec_push(&table->tags, id);
}

bool table_is_tagged(const struct table *table, uint64_t id)
{
    for (size_t i = 0; i < table->tags.count; i++)
        if (table->tags.items[i] == id)
            return true;
    return false;
}

/* The next visible column to the left or right of the sort column, round the end. */
static void sort_beside(struct table *table, int step)
{
    const int count = table->ops->column_count;
    for (int i = 1; i <= count; i++) {
        const int column = ((table->sort + step * i) % count + count) % count;
        if (table->shown & 1u << column) {
            table_sort_by(table, column);
            return;
        }
    }
}

void table_sort_by(struct table *table, int column)
{
    /* Figures start with the largest, names with A. */
    if (column != table->sort)
        table->ascending = table->ops->columns[column].flags & COLUMN_LEFT;
    table->sort = column;
    table->rest_until = 0;
}

bool table_command(struct table *table, enum command command, uint64_t now)
{
    const size_t page = table->page > 1 ? (size_t)table->page : 1, half = page > 1 ? page / 2 : 1;
    const size_t at = table->position;
    switch (command) {
    case COMMAND_UP:
        move_to(table, at ? at - 1 : 0);
        break;
    case COMMAND_DOWN:
        move_to(table, at + 1);
        break;
    case COMMAND_PAGE_UP:
        move_to(table, at > page ? at - page : 0);
        break;
    case COMMAND_PAGE_DOWN:
        move_to(table, at + page);
        break;
    case COMMAND_HALF_UP:
        move_to(table, at > half ? at - half : 0);
        break;
    case COMMAND_HALF_DOWN:
        move_to(table, at + half);
        break;
    case COMMAND_FIRST:
        move_to(table, 0);
        break;
    case COMMAND_LAST:
        move_to(table, table->items.count ? table->items.count - 1 : 0);
        break;
    case COMMAND_TAG:
        toggle_tag(table);
        move_to(table, at + 1);
        break;
    case COMMAND_SORT_LEFT:
    case COMMAND_SORT_RIGHT:
        if (table->ops->order == ORDER_OWN)
            return false;
        sort_beside(table, command == COMMAND_SORT_LEFT ? -1 : 1);
        return true;
    case COMMAND_INVERT:
        if (table->ops->order == ORDER_OWN)
            return false;
        table->ascending = !table->ascending;
        table->rest_until = 0;
        return true;
    default:
        return false;
    }
    table->rest_until = now + TABLE_REST_NS;
    return true;
}

void table_select(struct table *table, uint64_t id)
{
    table->selected = id;
    table->any_selected = true;
    find_selection(table); /* it may come only with the next update */
}

void table_restart(struct table *table)
{
    table->rest_until = 0;
    table->position = table->top = 0;
    table->refresh = true;
}

bool table_selected(const struct table *table, size_t *index)
{
    if (table->items.count == 0)
        return false;
    *index = table->items.items[table->position].index;
    return true;
}

bool table_find(struct table *table, const void *context, int step, bool stay)
{
    const size_t count = table->items.count;
    if (!table->search[0] || count == 0)
        return false;
    for (size_t i = stay ? 0 : 1; i <= count; i++) {
        const size_t offset = i % count;
        const size_t at = step > 0 ? (table->position + offset) % count : (table->position + count - offset) % count;
        if (row_contains(table, context, table->items.items[at].index, table->search)) {
            move_to(table, at);
            return true;
        }
    }
    return false;
}

bool table_click(struct table *table, int y, int x, uint64_t now)
{
    if (y == table->head_y && table->ops->order != ORDER_OWN) {
        for (int column = 0; column < table->ops->column_count; column++)
            if (table->column_x[column] >= 0 && x >= table->column_x[column] && x <= table->column_end[column]) {
                if (table->sort == column)
                    table->ascending = !table->ascending;
                table_sort_by(table, column);
            }
        return false;
    }
    const int row = y - table->body_y;
    if (row < 0 || row >= table->page || table->top + (size_t)row >= table->items.count)
        return false;
    const bool again = table->position == table->top + (size_t)row && table->any_selected;
    move_to(table, table->top + (size_t)row);
    table->rest_until = now + TABLE_REST_NS;
    return again;
}

static void draw_title(const struct table *table, const struct area *area, int column, int x, int width)
{
    const struct table_column *about = &table->ops->columns[column];
    const bool sorted = table->ops->order != ORDER_OWN && table->sort == column;
    char title[64];
    if (sorted)
        snprintf(title, sizeof title, "%s%s", about->title, table->ascending ? "▲" : "▼");
    else
        snprintf(title, sizeof title, "%s", about->title);
    const enum style style = sorted ? STYLE_HEAD_ON : STYLE_HEAD;
    if (about->flags & COLUMN_LEFT)
        area_text_fit(area, 0, x, width, style, title);
    else
        area_text_right(area, 0, x, width, style, title);
}

/* Marks where the search text stands in a drawn cell, of which the first `kept` columns and the last ones are there (-1: all from
 * the first on), `used` in all. ASCII matches only: a column is a character then. */
static void mark_match(const struct table *table, const struct area *area, int y, int x, int width, const char *text,
                       int kept, int used)
{
    const char *found = table->search[0] ? strcasestr(text, table->search) : NULL;
    if (!found)
        return;
    char before[512];
    snprintf(before, sizeof before, "%.*s", (int)(found - text), text);
    const int length = text_columns(table->search, area->canvas->ascii);
    int at = text_columns(before, area->canvas->ascii);
    if (kept >= 0 && at + length > kept) {
        at -= text_columns(text, area->canvas->ascii) - used;
        if (at <= kept)
            return; /* in what was left out, or in part */
    }
    if (at < width)
        area_restyle(area, y, x + at, at + length > width ? width - at : length, STYLE_MATCH);
}

/* Gives a line the row's texts of now. */
static void make_line(struct line *line, const struct table *table, const void *context, size_t index, uint32_t columns)
{
    const bool anew = line->columns != columns || !line->shown_at;
    const bool slow = anew || table->refresh || table->now - line->slow_at >= LINES_SLOW_NS;
    struct line old = *line;
    line->text = (struct strbuf){0};
    for (int column = 0; column < table->ops->column_count; column++) {
        if (!(columns & 1u << column))
            continue;
        const uint32_t at = (uint32_t)line->text.length;
        if (table->ops->columns[column].flags & COLUMN_SLOW && !slow) {
            strbuf_puts(&line->text, old.text.text + old.at[column]);
        } else {
            struct cell_text cell;
            table_cell(table, context, index, column, &cell);
            strbuf_puts(&line->text, cell.text);
            line->style[column] = (uint8_t)cell.style;
        }
        strbuf_putc(&line->text, 0);
        line->at[column] = at;
    }
    strbuf_release(&old.text);
    line->columns = columns;
    line->drawn = 0;
    line->shown_at = table->now ? table->now : 1;
    if (slow)
        line->slow_at = table->now;
}

static void draw_texts(const struct table *table, const struct line *line, const struct area *area, int y,
                       enum style row_style, const int *x, const int *width)
{
    if (row_style != STYLE_NORMAL)
        area_fill(area, y, 0, 1, area->width, row_style, L' ');
    for (int column = 0; column < table->ops->column_count; column++) {
        if (!(line->columns & 1u << column))
            continue;
        const char *text = line->text.text + line->at[column];
        const enum style style = row_style != STYLE_NORMAL ? row_style : (enum style)line->style[column];
        if (table->ops->columns[column].flags & COLUMN_LEFT) {
            int kept = -1, used;
            if (table->ops->long_names && table->ops->columns[column].width == 0) {
                text = text_short(text, width[column], area->canvas->ascii);
                used = area_text_ends(area, y, x[column], width[column], style, text, &kept);
            } else {
                used = area_text_fit(area, y, x[column], width[column], style, text);
            }
            mark_match(table, area, y, x[column], width[column], text, kept, used);
        } else {
            area_text_right(area, y, x[column], width[column], style, text);
        }
    }
}

/* Most rows are what they were in the frame before: then their glyphs are, too. */
static void draw_row(const struct table *table, struct line *line, const struct area *area, int y, bool selected,
                     const int *x, const int *width)
{
    const bool tagged = table->tags.count && table_is_tagged(table, line->id);
    const enum style row_style = selected ? STYLE_SELECTED : tagged ? STYLE_TAGGED : STYLE_NORMAL;
    /* Columns, styles, search: with a key all lines are made anew, so what is left is the place on the screen. */
    const uint64_t drawn = 1u + (uint64_t)row_style + ((uint64_t)area->width << 16) + ((uint64_t)area->x << 32);
    const size_t columns = (size_t)area->width;
    if (line->drawn == drawn && line->glyphs.count == columns) {
        memcpy(area_row(area, y), line->glyphs.items, columns * sizeof *line->glyphs.items);
        return;
    }
    draw_texts(table, line, area, y, row_style, x, width);
    vec_reserve(&line->glyphs, columns + 1);
    line->glyphs.count = columns;
    memcpy(line->glyphs.items, area_row(area, y), columns * sizeof *line->glyphs.items);
    line->drawn = drawn;
}

/* The visible rows from their lines, of which those that are due are made anew. */
static void draw_rows(struct table *table, const void *context, const struct area *area,
                      const struct table_layout *layout)
{
    const uint32_t columns = layout->drawn;
    const int *x = layout->x, *width = layout->width;
    size_t count = table->items.count - table->top;
    if (count > (size_t)table->page)
        count = (size_t)table->page;
    const struct table_item *items = table->items.items + table->top;
    lines_begin(&table->lines, count);
    for (size_t row = 0; row < count; row++) {
        struct line *line = lines_place(&table->lines, row, items[row].id);
        const uint64_t version = table->ops->version ? table->ops->version(context, items[row].index) : 0;
        if (table->refresh || layout->changed || !table->ops->version || line->columns != columns)
            line->slow_at = line->shown_at = 0;
        line->stale = !line->shown_at || line->version != version;
    }
    table->costly = area->canvas->lines_a_frame && area->canvas->lines_a_frame <= LINES_LEAST_A_FRAME;
    table->pending |= lines_choose(&table->lines, table->position - table->top, area->canvas->lines_a_frame) > 0;
    for (size_t row = 0; row < count; row++) {
        struct line *line = &table->lines.items.items[row];
        if (line->stale) {
            make_line(line, table, context, items[row].index, columns);
            line->version = table->ops->version ? table->ops->version(context, items[row].index) : 0;
        }
        draw_row(table, line, area, 1 + (int)row, table->top + row == table->position, x, width);
    }
}

void table_draw(struct table *table, const void *context, const struct area *area, const char *empty)
{
    struct table_layout layout;
    table_lay_out(table, context, area->width, &layout);
    area_fill(area, 0, 0, 1, area->width, STYLE_HEAD, L' ');
    for (int column = 0; column < table->ops->column_count; column++) {
        const int at = layout.x[column], width = layout.width[column];
        table->column_x[column] = -1;
        if (!(layout.drawn & 1u << column))
            continue;
        draw_title(table, area, column, at, width);
        table->column_x[column] = area->x + at;
        table->column_end[column] = area->x + at + width;
    }
    table->head_y = area->y;
    table->body_y = area->y + 1;
    table->page = area->height > 1 ? area->height - 1 : 0;
    if (table->items.count == 0) {
        area_text_fit(area, 2 < area->height ? 2 : 1, 1, area->width - 2, STYLE_DIM,
                      table->filter[0] && table->total ? "no row matches the filter; \\ changes it, Esc clears it"
                                                       : empty);
        return;
    }
    const size_t page = table->page > 0 ? (size_t)table->page : 1;
    if (table->position < table->top)
        table->top = table->position;
    if (table->position >= table->top + page)
        table->top = table->position - page + 1;
    if (table->top + page > table->items.count)
        table->top = table->items.count > page ? table->items.count - page : 0;
    draw_rows(table, context, area, &layout);
    table->refresh = false;
}

void table_asked(const struct table *table, char *text, size_t size)
{
    const struct {
        const char *name, *asked;
    } both[] = {{"filter", table->filter}, {"search", table->search}};
    for (int i = 0; i < 2; i++) {
        const size_t used = strlen(text);
        if (both[i].asked[0] && used + 1 < size)
            snprintf(text + used, size - used, "%s%s: %s", used ? ", " : "", both[i].name, both[i].asked);
    }
}

void table_copy(const struct table *table, const void *context, struct strbuf *out)
{
    size_t index;
    if (!table_selected(table, &index))
        return;
    bool first = true;
    for (int column = 0; column < table->ops->column_count; column++) {
        if (!(table->shown & 1u << column))
            continue;
        struct cell_text cell;
        table_cell(table, context, index, column, &cell);
        if (!first)
            strbuf_putc(out, '\t');
        first = false;
        /* What is pasted somewhere must not carry control characters from a kernel's name. */
        for (const char *c = cell.text; *c; c++)
            strbuf_putc(out, (unsigned char)*c < ' ' || *c == 127 ? '?' : *c);
    }
}
