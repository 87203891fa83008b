/* Memory at three points of training, by category: when it begins, before the optimizer's step and after it. */
#include "tui/memory_points.h"
#include "base/unknown.h"
#include "report/derive.h"
#include "tui/cells.h"
#include "tui/format.h"
#include "tui/plot.h"

#define NAME_WIDTH 18
#define COLUMN_WIDTH 18

static void draw_row(const struct area *area, int y, enum style style, const char *name,
                     const double values[MEMORY_POINTS], const double base[MEMORY_POINTS], bool compared)
{
    char text[FORMAT_SIZE];
    area_text(area, y, 2, NAME_WIDTH - 2, style, name);
    for (int point = 0; point < MEMORY_POINTS; point++) {
        const int x = NAME_WIDTH + point * COLUMN_WIDTH * (compared ? 2 : 1);
        area_text_right(area, y, x, COLUMN_WIDTH, style, format_bytes(text, values[point]));
        if (compared)
            area_text_right(area, y, x + COLUMN_WIDTH, COLUMN_WIDTH, STYLE_DIM, format_bytes(text, base[point]));
    }
}

void memory_points_draw(const struct area *area, const struct report_cell *cell, const struct report_cell *base)
{
    static const char *const points[MEMORY_POINTS] = {"after init", "before optimizer", "after optimizer"};
    const bool compared =
        base && is_known(memory_point(base, 0, -1)) && area->width >= NAME_WIDTH + 2 * MEMORY_POINTS * COLUMN_WIDTH;
    int y = 0;
    area_text(area, y, 2, -1, STYLE_HEAD, "category");
    for (int point = 0; point < MEMORY_POINTS; point++) {
        const int x = NAME_WIDTH + point * COLUMN_WIDTH * (compared ? 2 : 1);
        area_text_right(area, y, x, COLUMN_WIDTH, STYLE_HEAD, points[point]);
        if (compared)
            area_text_right(area, y, x + COLUMN_WIDTH, COLUMN_WIDTH, STYLE_HEAD, "base");
    }
    y++;
    for (int kind = TENSOR_KIND_COUNT; kind >= 0 && y < area->height; kind--) {
        const int which = kind == 0 ? -1 : kind - 1; /* all of them last */
        double values[MEMORY_POINTS], bases[MEMORY_POINTS];
        bool any = which < 0;
        for (int point = 0; point < MEMORY_POINTS; point++) {
            values[point] = memory_point(cell, point, which);
            bases[point] = compared ? memory_point(base, point, which) : UNKNOWN_DOUBLE;
            any |= values[point] > 0 || bases[point] > 0;
        }
        if (!any)
            continue;
        if (which >= 0)
            area_put(area, y, 0, (enum style)(STYLE_KIND + which),
                     kind_shade((enum tensor_kind)which, area->canvas->ascii));
        draw_row(area, y++, which < 0 ? STYLE_BOLD : STYLE_NORMAL,
                 which < 0 ? "live" : tensor_kind_name((enum tensor_kind)which), values, bases, compared);
    }
    if (cell->requested.ranks > 1 && y + 1 < area->height)
        area_text_fit(area, y + 1, 2, area->width - 3, STYLE_DIM,
                      cell->requested.parallel == PARALLEL_ZERO1 || cell->requested.parallel == PARALLEL_FSDP
                          ? "of one rank, which holds its shard alone; compare with a way that does not shard (c)"
                          : "of one rank; each holds as much");
}
