/* Which columns of a table there is room for, and how wide they are. */
#include "tui/table.h"
#include <string.h>

#define NAMES_LOOKED_AT 2000
#define PRIORITY_ALIKE 100

/* What the longest name takes, of all rows, so that the columns stay where they are while somebody scrolls. Renewed when a key was
 * pressed and when the order was; between that it only grows. */
static int name_need(const struct table *table, const void *context, int column)
{
    struct cell_text cell;
    int need = text_columns(table->ops->columns[column].title, false) + 1;
    for (size_t i = 0; i < table->items.count && i < NAMES_LOOKED_AT; i++) {
        table_cell(table, context, table->items.items[i].index, column, &cell);
        const int columns =
            strlen(cell.text) > (size_t)need ? text_columns(cell.text, false) : 0; /* no more than bytes */
        need = columns > need ? columns : need;
    }
    return need;
}

/* Columns of which no two rows differ, or of one row nothing is said. */
static uint32_t alike_columns(const struct table *table, const void *context)
{
    uint32_t alike = 0;
    for (int column = 0; column < table->ops->column_count; column++) {
        if (!(table->ops->columns[column].flags & COLUMN_TELLS) || table->items.count == 0)
            continue;
        struct cell_text first, other;
        bool same = true;
        table_cell(table, context, table->items.items[0].index, column, &first);
        for (size_t i = 1; same && i < table->items.count && i < NAMES_LOOKED_AT; i++) {
            table_cell(table, context, table->items.items[i].index, column, &other);
            same = strcmp(first.text, other.text) == 0;
        }
        if (same && (table->items.count > 1 || strcmp(first.text, "-") == 0))
            alike |= 1u << column;
    }
    return alike;
}

static int priority_of(const struct table *table, int column)
{
    const int own = table->ops->columns[column].priority;
    return own && table->alike >> column & 1 ? own + PRIORITY_ALIKE : own;
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
    *drawn = table->shown & ~table->spared;
    for (;;) {
        int used = -1, worst = -1;
        for (int i = 0; i < table->ops->column_count; i++) {
            if (!(*drawn & 1u << i))
                continue;
            const struct table_column *column = &table->ops->columns[i];
            used += (column->width ? column->width : least) + 1;
            if (column->priority > 0 && (worst < 0 || priority_of(table, i) >= priority_of(table, worst)))
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
            if (table->shown & ~table->spared & ~*drawn & 1u << i && column->width &&
                column->width + 1 <= *left - name_more &&
                (best < 0 || priority_of(table, i) < priority_of(table, best)))
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
    if (table->refresh || table->sorted_at == table->now || !table->name_need || !table->ops->version) {
        if (name >= 0)
            table->name_need = name_need(table, context, name);
        table->alike = alike_columns(table, context);
    }
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
