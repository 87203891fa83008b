#include "tui/rank_table.h"
#include "base/unknown.h"
#include "tui/format.h"
#include <stdio.h>

static const struct {
    const char *title, *narrow;
} heads[] = {{"step", "step"},         {"communication", "comm"}, {"exposed", "exposed"},  {"wait", "wait"},
             {"transfer", "transfer"}, {"overlap%", "over%"},     {"products ×", "prod ×"}};
#define HEADS ((int)(sizeof heads / sizeof *heads))

int rank_table_height(const struct report_cell *cell)
{
    if (!cell || cell->rank_count < 2)
        return 0;
    return 1 + (int)(cell->rank_count < RANK_LINES ? cell->rank_count : RANK_LINES);
}

static void draw_rank(const struct report_rank *rank, const struct area *area, int y, int width, bool slowest)
{
    char text[FORMAT_SIZE];
    const double hidden = rank->communication_ns - rank->exposed_ns;
    const double times[] = {rank->step_ns, rank->communication_ns, rank->exposed_ns, rank->wait_ns, rank->transfer_ns};
    int x = 8;
    area_printf(area, y, 0, slowest ? STYLE_BOLD : STYLE_NORMAL, "rank %u", rank->rank);
    for (int i = 0; i < 5; i++, x += width)
        area_text_right(area, y, x, width - 1, is_known(times[i]) ? STYLE_NORMAL : STYLE_DIM,
                        format_duration(text, times[i]));
    area_text_right(
        area, y, x, width - 1, STYLE_NORMAL,
        format_percent(text, rank->communication_ns > 0 ? hidden / rank->communication_ns : UNKNOWN_DOUBLE));
    area_text_right(area, y, x + width, width - 1, STYLE_NORMAL, format_ratio(text, rank->product_slow));
}

void rank_table_draw(const struct report_cell *cell, const struct area *area)
{
    const int lines = rank_table_height(cell);
    const bool wide = area->width >= 8 + HEADS * 15;
    const int width = wide ? 15 : (area->width - 8) / HEADS;
    if (!lines || width < 6)
        return;
    size_t slowest = 0;
    for (size_t r = 1; r < cell->rank_count; r++)
        if (cell->ranks[r].step_ns > cell->ranks[slowest].step_ns)
            slowest = r;
    area_fill(area, 0, 0, 1, area->width, STYLE_HEAD, L' ');
    area_text(area, 0, 0, 7, STYLE_HEAD, "ranks");
    for (int i = 0; i < HEADS; i++)
        area_text_right(area, 0, 8 + i * width, width - 1, STYLE_HEAD, wide ? heads[i].title : heads[i].narrow);
    for (int y = 1; y < lines; y++) {
        const size_t r = (size_t)y - 1;
        if (y == RANK_LINES && cell->rank_count > RANK_LINES)
            area_printf(area, y, 0, STYLE_DIM, "and %zu more: the report has all", cell->rank_count - RANK_LINES + 1);
        else
            draw_rank(&cell->ranks[r], area, y, width, r == slowest);
    }
}
