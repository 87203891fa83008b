/* Which columns of a table there is room for, and how wide they are. */
#include "tui/table.h"
#include <string.h>

#define NAMES_LOOKED_AT 2000

/* What the longest name takes, of all rows, so that the columns stay where they are while somebody scrolls. Renewed when a key was
 * pressed and when the order was; between that it only grows. */
static int name_need(const struct table *table, const void *context, int column)
{
    struct cell_text cell;
    int need = text_columns(table->ops->columns[column].title, false) + 1;
    for (size_t i = 0; i < table->items.count && i < NAMES_LOOKED_AT; i++) {
        table_cell(table, context, table->items.items[i].index, column, &cell);
        const int columns = strlen(cell.text) > (size_t)need ? text_columns(cell.text, false) : 0; /* no more than bytes */
        need = columns > need ? columns : need;
    }
    return need;
}

static int flexible_column(const struct table *table)
{
    for (int i = 0; i < table->ops->column_count; i++)
        if (table->ops->columns[i].width == 0 && table->shown & 1u << i)
            return i;
    return -1;
}

/* What the name keeps at least: where names are long a tenth of what the window has beyond 80 columns, for a wide one shows whole
 * names before it shows the last figures; but no more than they need. */
static int name_least(const struct table *table, int width)
{
    int least = table->ops->flexible_least ? table->ops->flexible_least : 12;
    if (table->ops->long_names && width > 80)
        least += (width - 80) / 10;
    return table->name_need && table->name_need < least ? table->name_need : least;
}

/* Columns leave by priority until the rest fits; returns what is left over. */
static int choose_columns(const struct table *table, int width, int least, uint32_t *drawn)
{
    *drawn = table->shown;
    for (;;) {
        int used = -1, worst = -1;
        for (int i = 0; i < table->ops->column_count; i++) {
            if (!(*drawn & 1u << i))
                continue;
            const struct table_column *column = &table->ops->columns[i];
            used += (column->width ? column->width : least) + 1;
            if (column->priority > 0 && (worst < 0 || column->priority >= table->ops->columns[worst].priority))
                worst = i;
        }
        if (used <= width || worst < 0)
            return width > used ? width - used : 0;
        *drawn &= ~(1u << worst);
    }
}

/* Of those that left, the most useful that fit beside names at their need come back. */
static void fill_up(const struct table *table, int *left, int name_more, uint32_t *drawn)
{
    for (;;) {
        int best = -1;
        for (int i = 0; i < table->ops->column_count; i++) {
            const struct table_column *column = &table->ops->columns[i];
            if (table->shown & ~*drawn & 1u << i && column->width && column->width + 1 <= *left - name_more &&
                (best < 0 || column->priority < table->ops->columns[best].priority))
                best = i;
        }
        if (best < 0)
            return;
        *drawn |= 1u << best;
        *left -= table->ops->columns[best].width + 1;
    }
}

void table_lay_out(struct table *table, const void *context, int width, struct table_layout *layout)
{
    *layout = (struct table_layout){0};
    const int name = flexible_column(table);
    if (name >= 0 && (table->refresh || table->sorted_at == table->now || !table->name_need || !table->ops->version))
        table->name_need = name_need(table, context, name);
    const int least = name_least(table, width);
    int left = choose_columns(table, width, least, &layout->drawn), wide = 0;
    fill_up(table, &left, table->name_need > least ? table->name_need - least : 0, &layout->drawn);
    for (int i = 0; i < table->ops->column_count; i++) {
        layout->width[i] = table->ops->columns[i].width ? table->ops->columns[i].width : least;
        wide += layout->drawn >> i & 1 && table->ops->columns[i].flags & COLUMN_WIDE;
    }
    /* First the names at their need, then the pictures; what is left then is nobody's. */
    if (name >= 0 && table->name_need > least) {
        const int more = table->name_need - least < left ? table->name_need - least : left;
        layout->width[name] += more;
        left -= more;
    }
    for (int i = 0; wide && i < table->ops->column_count; i++) {
        const struct table_column *column = &table->ops->columns[i];
        if (!(layout->drawn >> i & 1) || !(column->flags & COLUMN_WIDE))
            continue;
        const int share = left / wide--, most = COLUMN_WIDEST - column->width, more = share < most ? share : most;
        layout->width[i] += more;
        left -= more;
    }
    int at = 0;
    for (int i = 0; i < table->ops->column_count; i++)
        if (layout->drawn >> i & 1) {
            layout->x[i] = at;
            at += layout->width[i] + 1;
        }
    layout->changed = memcmp(layout->width, table->width, sizeof table->width) != 0;
    memcpy(table->width, layout->width, sizeof table->width);
}
