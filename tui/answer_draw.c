#include "report/findings.h"
#include "tui/answer_internal.h"
#include "tui/app.h"
#include "tui/plot.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static void place(struct item *item, const struct area *area, int y, int x, int height, int width)
{
    item->y = area->y + y;
    item->x = area->x + x;
    item->height = height;
    item->width = width;
}

static double largest_of(const struct answer *answer, enum section section)
{
    double largest = 0;
    for (size_t i = 0; i < answer->items.count; i++)
        if (answer->items.items[i].section == section)
            largest = fmax(largest, answer->items.items[i].fraction);
    return largest;
}

/* label ▆▆▆▆ 55.1 8.29 ms; the bars beside the largest of its section */
static void draw_line(const struct answer *answer, const struct area *area, int y, struct item *item, bool active)
{
    const bool selected = active && item == &answer->items.items[answer->selected];
    /* A kernel's name says more than its bar. */
    const bool kernel = item->section == KERNELS;
    const int bar = kernel              ? (area->width >= 50 ? area->width / 8 : 4)
                    : area->width >= 50 ? area->width / 3
                                        : area->width / 5;
    const int more = item->more[0] ? 5 : 0, label = area->width - bar - 6 - 10 - 2 - more;
    char percent[FORMAT_SIZE], blocks[128];
    const enum style style = selected ? STYLE_SELECTED : STYLE_NORMAL;
    place(item, area, y, 0, 1, area->width);
    if (selected)
        area_fill(area, y, 0, 1, area->width, style, L' ');
    area_text_ends(area, y, more, label, style, item->label, NULL);
    if (more)
        area_text(area, y, 0, more - 1, selected ? style : item->style, item->more);
    format_bar(blocks, sizeof blocks, item->fraction / largest_of(answer, item->section), bar);
    area_text(area, y, more + label + 1, bar, selected ? style : item->style, blocks);
    area_text_right(area, y, more + label + 1 + bar, 6, style, format_percent(percent, item->fraction));
    area_text_right(area, y, more + label + bar + 8, 9,
                    selected                          ? style
                    : strcmp(item->right, "n/a") == 0 ? STYLE_DIM
                                                      : STYLE_NORMAL,
                    item->right);
}

static const struct {
    const char *title, *right;
} heads[] = {[PHASES] = {"phases", "a step"},
             [CLASSES] = {"classes", "a step"},
             [MODULES] = {"modules, all blocks", "a step"},
             [KERNELS] = {"kernels", "roof%"}};

static int count_of(const struct answer *answer, enum section section)
{
    int count = 0;
    for (size_t i = 0; i < answer->items.count; i++)
        count += answer->items.items[i].section == section;
    return count;
}

/* A section's head and as many of its lines as there is room for; the lines used. */
static int draw_section(struct answer *answer, const struct area *area, int y, int height, enum section section,
                        bool active)
{
    const int count = count_of(answer, section);
    if (count == 0 || height < 2 || y >= area->height)
        return 0;
    area_fill(area, y, 0, 1, area->width, STYLE_HEAD, L' ');
    area_text_fit(area, y, 0, area->width - 17, STYLE_HEAD, heads[section].title);
    area_text_right(area, y, area->width - 16, 6, STYLE_HEAD, "%");
    area_text_right(area, y, area->width - 9, 9, STYLE_HEAD, heads[section].right);
    int used = 1;
    for (size_t i = 0; i < answer->items.count && used < height; i++)
        if (answer->items.items[i].section == section)
            draw_line(answer, area, y + used++, &answer->items.items[i], active);
    return used;
}

static struct item *lone_item(struct answer *answer, enum section section)
{
    for (size_t i = 0; i < answer->items.count; i++)
        if (answer->items.items[i].section == section)
            return &answer->items.items[i];
    return NULL;
}

/* "steps   " and what is said of them, selected or not; the column behind. */
static int draw_title(const struct answer *answer, const struct area *area, int y, struct item *item, const char *text,
                      enum style style, bool active)
{
    const bool selected = active && item == &answer->items.items[answer->selected];
    if (selected)
        area_fill(area, y, 0, 1, area->width, STYLE_SELECTED, L' ');
    area_text(area, y, 0, 8, selected ? STYLE_SELECTED : STYLE_HEAD, item->label);
    return 8 + area_text_fit(area, y, 8, area->width - 8, selected ? STYLE_SELECTED : style, text);
}

/* The newest steps, a column each or several the mean of a column, between the shortest and the longest. */
static void draw_curve(const struct answer *answer, const struct area *area)
{
    const double range = answer->step_high - answer->step_low;
    const int columns = answer->step_count < area->width ? answer->step_count : area->width;
    const int wide = columns && area->width / columns >= 2 ? 2 : 1;
    for (int x = 0; x < columns; x++) {
        const int from = (int)((int64_t)x * answer->step_count / columns),
                  to = (int)((int64_t)(x + 1) * answer->step_count / columns);
        double sum = 0;
        for (int i = from; i < to; i++)
            sum += answer->steps[i];
        const double level = range > 0 ? (sum / (to - from) - answer->step_low) / range : 0.5;
        int eighths = 1 + scale_to(level, area->height * 8 - 1);
        for (int y = area->height - 1; y >= 0 && eighths > 0; y--, eighths -= 8)
            area_fill(area, y, x * wide, 1, wide, STYLE_BAR, eighths >= 8 ? 0x2588 : 0x2580 + eighths);
    }
}

/* What is live at the peak, largest first: a stretch of the line each, with its name where it has room. */
static void draw_kinds(const struct answer *answer, const struct area *area)
{
    bool drawn[TENSOR_KIND_COUNT] = {false};
    int x = 0;
    for (;;) {
        int largest = -1;
        char text[64], bytes[FORMAT_SIZE];
        for (int kind = 0; kind < TENSOR_KIND_COUNT; kind++)
            if (!drawn[kind] && answer->kinds[kind] > 0 &&
                (largest < 0 || answer->kinds[kind] > answer->kinds[largest]))
                largest = kind;
        if (largest < 0)
            return;
        drawn[largest] = true;
        const double share = answer->kinds[largest] / answer->peak;
        int width = scale_to(share, area->width);
        if (width < 1)
            continue;
        if (x + width > area->width)
            width = area->width - x;
        area_fill(area, 0, x, 1, width, (enum style)(STYLE_KIND + largest),
                  kind_shade((enum tensor_kind)largest, area->canvas->ascii));
        snprintf(text, sizeof text, " %s %s ", tensor_kind_name((enum tensor_kind)largest),
                 format_bytes(bytes, answer->kinds[largest]));
        if (text_columns(text, area->canvas->ascii) + 1 < width)
            area_text(area, 0, x + 1, -1, STYLE_NORMAL, text);
        x += width;
    }
}

static void draw_bottom(struct answer *answer, const struct area *area, bool active)
{
    struct item *steps = lone_item(answer, STEPS), *memory = lone_item(answer, MEMORY),
                *trust = lone_item(answer, TRUST);
    const int curve = area->height >= 8 ? area->height - 5 : area->height >= 5 ? 1 : 0;
    int y = 0;
    if (steps && y < area->height) {
        const int x = draw_title(answer, area, y, steps, answer->steps_text, STYLE_NORMAL, active);
        const struct area plot = curve ? area_part(area, y + 1, 8, curve, area->width - 8)
                                       : area_part(area, y, x + 2, 1, area->width - x - 2);
        draw_curve(answer, &plot);
        place(steps, area, y, 0, 1 + curve, area->width);
        y += 1 + curve;
    }
    if (memory && y < area->height) {
        const int x = draw_title(answer, area, y, memory, answer->memory_text, STYLE_NORMAL, active);
        const struct area line =
            curve ? area_part(area, y + 1, 8, 1, area->width - 8) : area_part(area, y, x + 2, 1, area->width - x - 2);
        draw_kinds(answer, &line);
        place(memory, area, y, 0, 1 + (curve > 0), area->width);
        y += 1 + (curve > 0);
    }
    if (trust && y < area->height) {
        draw_title(answer, area, y, trust, answer->trust_text, answer->trust_style, active);
        place(trust, area, y, 0, 1, area->width);
    }
}

/* Phases, modules and kernels, a line each: names and shares, as many as have room. */
static void draw_short(struct answer *answer, const struct area *area, bool active)
{
    static const enum section lines[ANSWER_LINES] = {PHASES, MODULES, KERNELS};
    const bool ascii = area->canvas->ascii;
    for (int y = 0; y < ANSWER_LINES && y < area->height; y++) {
        int x = 0;
        for (size_t i = 0; i < answer->items.count; i++) {
            struct item *item = &answer->items.items[i];
            char percent[FORMAT_SIZE];
            if (item->section != lines[y])
                continue;
            format_percent(percent, item->fraction);
            const int name = text_columns(item->label, ascii), label = name < 24 ? name : 24;
            const int more = item->more[0] ? text_columns(item->more, ascii) + 1 : 0;
            const int columns = more + label + 1 + (int)strlen(percent);
            if (x + columns > area->width)
                break;
            const bool selected = active && item == &answer->items.items[answer->selected];
            if (selected)
                area_fill(area, y, x, 1, columns, STYLE_SELECTED, L' ');
            place(item, area, y, x, 1, columns);
            area_text(area, y, x, more, selected ? STYLE_SELECTED : item->style, item->more);
            area_text_ends(area, y, x + more, label,
                           selected             ? STYLE_SELECTED
                           : lines[y] == PHASES ? item->style
                                                : STYLE_NORMAL,
                           item->label, NULL);
            area_text(area, y, x + more + label + 1, -1, selected ? STYLE_SELECTED : STYLE_BOLD, percent);
            x += columns + 2;
        }
    }
}

/* As many lines of findings as the height allows; the lines used. */
static int draw_findings(struct answer *answer, const struct area *area, bool active)
{
    const int most = area->height >= 30 ? 4 : area->height >= 16 ? 1 : 0;
    int y = 0;
    for (size_t i = 0; i < answer->items.count && y < most; i++) {
        struct item *item = &answer->items.items[i];
        if (item->section != FINDINGS)
            continue;
        const bool selected = active && item == &answer->items.items[answer->selected];
        const enum style style = selected ? STYLE_SELECTED : y == 0 ? STYLE_BOLD : STYLE_NORMAL;
        if (selected)
            area_fill(area, y, 0, 1, area->width, style, L' ');
        area_text_fit(area, y, 0, area->width, style, item->label);
        place(item, area, y++, 0, 1, area->width);
    }
    return y;
}

void answer_draw(struct answer *answer, const struct area *whole, bool active)
{
    for (size_t i = 0; i < answer->items.count; i++)
        answer->items.items[i].height = 0;
    if (answer->items.count == 0)
        return;
    if (whole->height < ANSWER_LEAST_HEIGHT) {
        draw_short(answer, whole, active);
        return;
    }
    const int findings = draw_findings(answer, whole, active);
    const struct area rest = area_part(whole, findings, 0, whole->height - findings, whole->width), *area = &rest;
    const int lone = count_of(answer, STEPS) + count_of(answer, MEMORY) + count_of(answer, TRUST);
    const int bottom = area->height >= 30 ? 9 : area->height >= 18 ? 5 : lone;
    const int lists = area->height - bottom - (area->height > 12);
    const struct area below = area_part(area, area->height - bottom, 0, bottom, area->width);
    draw_bottom(answer, &below, active);
    const int across = area->width >= 120 ? 3 : 2, gap = 2;
    /* Beyond what a word, a bar and two figures need the width is the kernels'. */
    const int width = across == 3 ? (area->width - 2 * gap) * 3 / 10 : (area->width - gap) / 2;
    struct area column = area_part(area, 0, 0, lists, width);
    /* Where it is low, the phases leave room for the largest classes. */
    int y = draw_section(answer, &column, 0, lists / 2 + 1, PHASES, active);
    y += y && lists - y > 8;
    draw_section(answer, &column, y, lists - y, CLASSES, active);
    column = area_part(area, 0, width + gap, lists, across == 3 ? width : area->width - width - gap);
    const int modules = count_of(answer, MODULES) ? 1 + count_of(answer, MODULES) : 0;
    const int room = across == 3 ? lists : lists / 2 + lists % 2;
    y = draw_section(answer, &column, 0, modules < room ? modules : room, MODULES, active);
    if (across == 3)
        column = area_part(area, 0, 2 * (width + gap), lists, area->width - 2 * (width + gap));
    y = across == 3 ? 0 : y + (y && lists > 16);
    draw_section(answer, &column, y, lists - y, KERNELS, active);
}
