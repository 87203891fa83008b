/* A virtual list with columns: only what is visible is formatted. The selection is an id, not an index, and while somebody
 * navigates the order rests, so that rows do not jump under the cursor. */
#pragma once
#include "base/strbuf.h"
#include "base/vec.h"
#include "tui/canvas.h"
#include "tui/format.h"
#include "tui/keys.h"
#include "tui/lines.h"

struct cell_text {
    char text[512];
    enum style style; /* STYLE_NORMAL unless the view says otherwise */
    int width;        /* that the column has on the screen: for pictures */
};

enum column_flag {
    COLUMN_LEFT = 1,      /* text; else a figure, aligned right */
    COLUMN_HIDDEN = 2,    /* unless chosen */
    COLUMN_AUTOMATIC = 4, /* the view shows it while there is something in it, and nobody else does */
    COLUMN_SLOW = 8,      /* costs a picture rather than a figure: made anew once a second at most */
    COLUMN_WIDE = 16,     /* a picture: up to COLUMN_WIDEST columns where the window has room */
    COLUMN_TELLS = 32,    /* tells rows apart: where it says the same of all, it is the first to leave */
};
#define COLUMN_WIDEST 32

typedef const char *format_function(char text[FORMAT_SIZE], double value);

/* All that there is to say of a column, in one row of a view's table. */
struct table_column {
    const char *key; /* name in the configuration */
    const char *title;
    const char *help;
    int width;    /* 0: takes what is left; the row's name */
    int priority; /* the highest leaves first when the window narrows; 0 never leaves */
    unsigned flags;
    /* What row `index` is sorted by, and shows where there is a format; NaN (unknown) comes last either way. NULL: sorted by
     * its text. */
    double (*value)(const void *context, size_t index);
    format_function *format;
    /* The text where it is no figure; or, after the format, its style. */
    void (*text)(const void *context, size_t index, struct cell_text *out);
};

#define TABLE_COLUMNS_MAX LINES_COLUMNS

enum table_order {
    ORDER_OWN,    /* the rows come in their own order, and stay in it */
    ORDER_COLUMN, /* the table sorts them by a column */
    ORDER_VIEW,   /* a column is chosen here, and the view orders its rows by it (a tree) */
};

struct table_ops {
    const struct table_column *columns;
    int column_count;
    enum table_order order;
    int flexible_least; /* columns that the name keeps at least; 0: 12 */
    bool long_names;    /* and some more in a wide window; both ends of one that is too long are shown */
    /* A number that is another one when the row's texts are. With it rows that only changed take turns (lines.h); NULL: all
     * are made anew in every frame. */
    uint64_t (*version)(const void *context, size_t index);
    /* More that a search or a filter finds a row by, beside the texts that are shown; optional. */
    void (*words)(const void *context, size_t index, struct cell_text *out);
    int slot; /* in the configuration (config.h) */
};

struct table_item {
    uint64_t id;
    uint32_t index; /* of the view's row */
    uint32_t rank;  /* place in the order before */
    double value;
    const char *text;
};

struct table_rank {
    uint64_t id;
    uint32_t rank;
};

struct table {
    const struct table_ops *ops;
    VEC(struct table_item) items; /* after filter, in order */
    VEC(struct table_rank) ranks; /* the last order, sorted by id */
    VEC(struct table_rank) last;  /* the rows of the last frame as the view gave them */
    VEC(uint64_t) tags;
    VEC(char) texts; /* of text columns, while sorting */
    uint64_t selected;
    bool any_selected;
    size_t position; /* of the selected in items */
    size_t top;
    int page;                                                       /* rows visible */
    int body_y, head_y;                                             /* where it was drawn, for the mouse */
    int column_x[TABLE_COLUMNS_MAX], column_end[TABLE_COLUMNS_MAX]; /* -1: not drawn */
    int width[TABLE_COLUMNS_MAX];                                   /* as it was drawn last */
    int name_need;                                                  /* columns of the longest name; 0: not known yet */
    int sort;
    bool ascending;
    uint32_t shown;      /* bit a column */
    uint32_t spared;     /* of these what another column says now: not drawn */
    uint32_t alike;      /* columns that say the same of all rows, of those that tell rows apart */
    uint64_t rest_until; /* ns; the order rests until then */
    uint64_t now, sorted_at;
    int sorted_by; /* column of the order, and its direction */
    bool sorted_ascending;
    struct lines lines;
    bool refresh; /* somebody asked: the next frame shows and orders everything as it is */
    bool pending; /* a later frame has more to show or to order */
    bool costly;  /* frames are too large already: rows change places half as often */
    char filter[128], search[128];
    size_t total; /* rows before the filter */
};

/* Which columns are drawn, where and how wide (table_layout.c). */
struct table_layout {
    uint32_t drawn; /* bit a column */
    int x[TABLE_COLUMNS_MAX], width[TABLE_COLUMNS_MAX];
    bool changed; /* since the frame before */
};
void table_lay_out(struct table *table, const void *context, int width, struct table_layout *layout);

#define TABLE_REST_NS 2000000000u
#define TABLE_SORT_NS 1000000000u /* a live order changes once a second at most */

void table_init(struct table *table, const struct table_ops *ops, int sort);
void table_release(struct table *table);

/* Takes this frame's rows: ids[count]. Filters, sorts (unless the order rests), keeps the selection on its id; when that
 * row is gone, on its neighbour. `now` in ns. */
void table_update(struct table *table, const void *context, const uint64_t *ids, size_t count, uint64_t now);
/* Titles and the visible rows. `empty` is the sentence for a table without rows. */
void table_draw(struct table *table, const void *context, const struct area *area, const char *empty);

/* Moves, sorts, tags; false when the command is not a table's. */
bool table_command(struct table *table, enum command command, uint64_t now);
void table_select(struct table *table, uint64_t id);
/* Other rows come next: in their own order, from the first on unless the selected one is among them. */
void table_restart(struct table *table);
bool table_selected(const struct table *table, size_t *index);
bool table_is_tagged(const struct table *table, uint64_t id);
/* Goes to the next row (step 1) or the one before (-1) that contains the search text, from the selection on; `stay`: the
 * selected row itself counts too. False when none does. */
bool table_find(struct table *table, const void *context, int step, bool stay);
void table_sort_by(struct table *table, int column);
/* A click: on a title sorts by it, on a row selects it; true when it was on the row that was selected already. */
bool table_click(struct table *table, int y, int x, uint64_t now);
/* Bit a column that the view shows by itself. */
uint32_t table_automatic(const struct table_ops *ops);
/* What a row shows in a column. */
void table_cell(const struct table *table, const void *context, size_t index, int column, struct cell_text *out);
/* Adds ", filter: x, search: y" where they are set. */
void table_asked(const struct table *table, char *text, size_t size);
/* The row as tab-separated text. */
void table_copy(const struct table *table, const void *context, struct strbuf *out);
