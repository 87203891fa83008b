#include "base/limits.h"
#include "report/findings.h"
#include "tui/answer_internal.h"
#include "tui/app.h"
#include "tui/plot.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CURVE_ROWS 13 /* with the time below it */

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

/* From the shortest step to the longest, but a twentieth of it at least: steps that differ by less are no mountains. */
static void curve_axis(const struct answer *answer, double *low, double *high)
{
    const double least = answer->step_high / 20, missing = least - (answer->step_high - answer->step_low);
    *low = answer->step_low - (missing > 0 ? missing / 2 : 0);
    *high = answer->step_high + (missing > 0 ? missing / 2 : 0);
}

/* Each step from where it began to where it ended, as high as it was long; of several in one column the mean. The last fits the
 * column that time ends in. */
static void draw_curve(const struct answer *answer, const struct area *area)
{
    double low, high;
    curve_axis(answer, &low, &high);
    const double range = high - low;
    const bool braille = answer->braille && !area->canvas->ascii && area->height > 1;
    const int columns = braille ? area->width * 2 : area->width;
    double *sums = calloc(2 * (size_t)(columns > 0 ? columns : 0) + 1, sizeof *sums);
    if (!sums)
        memory_exhausted((size_t)columns, "columns of a plot");
    double *counts = sums + columns;
    for (int i = 0; i < answer->step_count && columns > 0; i++) {
        const double end = answer->step_at[i] + answer->steps[i];
        const int from = scale_to(answer->step_at[i] / answer->step_end, columns),
                  to = scale_to(end / answer->step_end, columns);
        for (int x = from < columns ? from : columns - 1; x < (to > from ? to : from + 1) && x < columns; x++) {
            sums[x] += range > 0 ? (answer->steps[i] - low) / range : 0.5;
            counts[x]++;
        }
    }
    struct dots dots;
    dots_init(&dots, area->height, area->width, true);
    for (int x = 0; x < columns; x++) {
        if (!(counts[x] > 0))
            continue;
        const double level = sums[x] / counts[x];
        if (braille) {
            dots_put(&dots, (x + 0.5) / columns, level, STYLE_BAR);
            /* Down from what a step begins above to where the one before was, so that it reads as one line. */
            const double before = x > 0 && counts[x - 1] > 0 ? sums[x - 1] / counts[x - 1] : level;
            for (int k = 0; k <= area->height * 4; k++) {
                const double y = (double)k / (area->height * 4);
                if ((y > before) != (y > level))
                    dots_put(&dots, (x + 0.5) / columns, y, STYLE_BAR);
            }
            continue;
        }
        int eighths = 1 + scale_to(level, area->height * 8 - 1);
        for (int y = area->height - 1; y >= 0 && eighths > 0; y--, eighths -= 8)
            area_put(area, y, x, STYLE_BAR, eighths >= 8 ? 0x2588 : 0x2580 + eighths);
    }
    if (braille)
        dots_draw(&dots, area, 0x2588);
    dots_release(&dots);
    free(sums);
}

/* Between two marks there is room for a word and air. */
static void draw_minutes(const struct answer *answer, const struct area *area)
{
    static const double seconds[] = {0.001, 0.01, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120};
    const int count = sizeof seconds / sizeof *seconds;
    int at = 0;
    while (at < count - 1 && seconds[at] * 1e9 / answer->step_end * area->width < 12)
        at++;
    for (int i = 0;; i++) {
        const double ago = i * seconds[at];
        const int x = area->width - 1 - scale_to(ago * 1e9 / answer->step_end, area->width - 1);
        char text[32];
        if (ago * 1e9 > answer->step_end || x < 0)
            return;
        if (i == 0)
            snprintf(text, sizeof text, answer->live ? "now│" : "end│");
        else if (ago < 60)
            snprintf(text, sizeof text, "-%g s│", ago);
        else if (fmod(ago, 60) > 0)
            snprintf(text, sizeof text, "-%d:%02d min│", (int)ago / 60, (int)ago % 60);
        else
            snprintf(text, sizeof text, "-%g min│", ago / 60);
        const int columns = text_columns(text, area->canvas->ascii);
        if (x - columns + 1 >= 0)
            area_text(area, 0, x - columns + 1, -1, STYLE_AXIS, text);
    }
}

/* The curve under its title: the ends of its axis beside it, and where there is room the time below it. */
static void draw_steps(const struct answer *answer, const struct area *area)
{
    char text[FORMAT_SIZE];
    const int ticks = area->height >= 3 && answer->step_count > 1;
    const struct area plot = area_part(area, 0, 9, area->height - ticks, area->width - 9);
    if (!answer->step_count)
        return;
    double low, high;
    curve_axis(answer, &low, &high);
    draw_curve(answer, &plot);
    area_text_right(area, 0, 0, 8, STYLE_AXIS, format_duration(text, high));
    if (plot.height > 1)
        area_text_right(area, plot.height - 1, 0, 8, STYLE_AXIS, format_duration(text, low));
    const struct area below = area_part(area, plot.height, 9, 1, area->width - 9);
    if (ticks)
        draw_minutes(answer, &below);
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
        char text[sizeof answer->steps_text + sizeof answer->span_text];
        snprintf(text, sizeof text, "%s%s", answer->steps_text,
                 curve > 1 && answer->step_count ? answer->span_text : "");
        const int x = draw_title(answer, area, y, steps, text, STYLE_NORMAL, active);
        const struct area below = area_part(area, y + 1, 0, curve, area->width),
                          line = area_part(area, y + 1, 8, 1, area->width - 8),
                          beside = area_part(area, y, x + 2, 1, area->width - x - 2);
        if (curve > 1)
            draw_steps(answer, &below);
        else
            draw_curve(answer, curve ? &line : &beside);
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

/* Lines of findings, up to `most`; the lines used. */
static int draw_findings(struct answer *answer, const struct area *area, int most, bool active)
{
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

/* The verdict, then phases, modules and kernels, a line each: names and shares, as many as have room. */
static void draw_short(struct answer *answer, const struct area *area, bool active)
{
    static const enum section lines[ANSWER_LINES] = {FINDINGS, PHASES, MODULES, KERNELS};
    const bool ascii = area->canvas->ascii;
    /* The figures first, if there is no room for all. */
    const int skip = area->height < ANSWER_LINES;
    if (!skip)
        draw_findings(answer, area, 1, active);
    for (int y = !skip; y + skip < ANSWER_LINES && y < area->height; y++) {
        int x = 0;
        for (size_t i = 0; i < answer->items.count; i++) {
            struct item *item = &answer->items.items[i];
            char percent[FORMAT_SIZE];
            if (item->section != lines[y + skip])
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
                           selected                    ? STYLE_SELECTED
                           : lines[y + skip] == PHASES ? item->style
                                                       : STYLE_NORMAL,
                           item->label, NULL);
            area_text(area, y, x + more + label + 1, -1, selected ? STYLE_SELECTED : STYLE_BOLD, percent);
            x += columns + 2;
        }
    }
}

/* Lines of the longest column. */
static int longest_list(const struct answer *answer, int width)
{
    const int sums = count_of(answer, PHASES) + count_of(answer, CLASSES) + 3;
    const int modules = count_of(answer, MODULES) + 1, kernels = count_of(answer, KERNELS) + 1;
    const int right = width >= 120 ? (modules > kernels ? modules : kernels) : modules + kernels + 1;
    return sums > right ? sums : right;
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
    const int findings = draw_findings(answer, whole, whole->height >= 30 ? 4 : whole->height >= 12 ? 1 : 0, active);
    const struct area rest = area_part(whole, findings, 0, whole->height - findings, whole->width), *area = &rest;
    const int lone = count_of(answer, STEPS) + count_of(answer, MEMORY) + count_of(answer, TRUST);
    const int least = area->height >= 30 ? 9 : area->height >= 18 ? 5 : lone;
    /* What the lists do not need is the curve's. */
    const int spare = area->height - longest_list(answer, area->width) - 2;
    const int bottom = area->height < 18 || spare < least ? least : spare < CURVE_ROWS + 5 ? spare : CURVE_ROWS + 5;
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
