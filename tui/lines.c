#include "tui/lines.h"

static void release(struct line *line)
{
    strbuf_release(&line->text);
    vec_release(&line->glyphs);
}

void lines_release(struct lines *lines)
{
    for (size_t i = 0; i < lines->items.count; i++)
        release(&lines->items.items[i]);
    vec_release(&lines->items);
    vec_release(&lines->before);
}

void lines_begin(struct lines *lines, size_t count)
{
    const struct line none = {0};
    lines->before.count = 0;
    for (size_t i = 0; i < lines->items.count; i++)
        vec_push(&lines->before, lines->items.items[i]);
    lines->items.count = 0;
    while (lines->items.count < count)
        vec_push(&lines->items, none);
}

/* Rows mostly stay where they were, or move together. */
struct line *lines_place(struct lines *lines, size_t row, uint64_t id)
{
    struct line *line = &lines->items.items[row];
    const size_t count = lines->before.count;
    for (size_t i = 0; i < count; i++) {
        struct line *old = &lines->before.items[(row + i) % count];
        if (old->id != id || !old->shown_at)
            continue;
        *line = *old;
        *old = (struct line){0};
        return line;
    }
    line->id = id;
    return line;
}

size_t lines_choose(struct lines *lines, size_t selected, int most)
{
    const size_t limit = most > 0 && most < LINES_A_FRAME ? (size_t)most : LINES_A_FRAME;
    for (size_t i = 0; i < lines->before.count; i++)
        release(&lines->before.items[i]);
    lines->before.count = 0;
    uint64_t oldest[LINES_A_FRAME];
    size_t chosen = 0, waiting = 0;
    /* The times of those that waited longest, ascending; a row is then due when it is not younger than the last of them. */
    for (size_t i = 0; i < lines->items.count; i++) {
        const struct line *line = &lines->items.items[i];
        if (!line->stale || !line->shown_at || i == selected)
            continue;
        waiting++;
        size_t place = chosen;
        while (place > 0 && oldest[place - 1] > line->shown_at)
            place--;
        if (place == limit)
            continue;
        if (chosen < limit)
            chosen++;
        memmove(oldest + place + 1, oldest + place, (chosen - place - 1) * sizeof *oldest);
        oldest[place] = line->shown_at;
    }
    /* All that are older than the youngest of them, and as many of its age as there is room for. */
    const uint64_t youngest = chosen ? oldest[chosen - 1] : 0;
    size_t left = chosen;
    for (size_t i = 0; i < chosen; i++)
        left -= oldest[i] < youngest;
    for (size_t i = 0; i < lines->items.count; i++) {
        struct line *line = &lines->items.items[i];
        if (!line->stale || !line->shown_at || i == selected)
            continue;
        const bool same = line->shown_at == youngest;
        line->stale = line->shown_at < youngest || (same && left > 0);
        left -= same && line->stale;
    }
    return waiting > limit ? waiting - limit : 0;
}
