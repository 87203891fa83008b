#include "tui/canvas.h"
#include "base/limits.h"
#include "base/strbuf.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_HEAD 4 /* columns of a name's beginning that are shown in any case */

void canvas_resize(struct canvas *canvas, int height, int width)
{
    if (height != canvas->height || width != canvas->width) {
        free(canvas->cells);
        canvas->cells = calloc((size_t)height * (size_t)width + 1, sizeof *canvas->cells);
        if (!canvas->cells)
            memory_exhausted((size_t)height * (size_t)width, "characters of a screen");
        canvas->height = height;
        canvas->width = width;
    }
    canvas_clear(canvas);
}

void canvas_clear(struct canvas *canvas)
{
    const struct glyph blank = {.base = L' ', .style = STYLE_NORMAL, .width = 1};
    const size_t count = (size_t)canvas->height * (size_t)canvas->width;
    /* One row, and then rows of it. */
    for (size_t i = 0; i < count && i < (size_t)canvas->width; i++)
        canvas->cells[i] = blank;
    for (int y = 1; y < canvas->height; y++)
        memcpy(canvas->cells + (size_t)y * (size_t)canvas->width, canvas->cells, (size_t)canvas->width * sizeof blank);
}

void canvas_release(struct canvas *canvas)
{
    free(canvas->cells);
    canvas->cells = NULL;
    canvas->height = canvas->width = 0;
}

struct area canvas_area(struct canvas *canvas)
{
    return (struct area){canvas, 0, 0, canvas->height, canvas->width};
}

struct area area_part(const struct area *area, int y, int x, int height, int width)
{
    if (y < 0) {
        height += y;
        y = 0;
    }
    if (x < 0) {
        width += x;
        x = 0;
    }
    if (y + height > area->height)
        height = area->height - y;
    if (x + width > area->width)
        width = area->width - x;
    return (struct area){area->canvas, area->y + y, area->x + x, height > 0 ? height : 0, width > 0 ? width : 0};
}

/* UTF-8 as RFC 3629 has it: shortest form, no surrogates, up to U+10FFFF. */
wchar_t text_next(const char **text)
{
    const unsigned char *byte = (const unsigned char *)*text;
    if (byte[0] < 0x80) {
        *text += byte[0] != 0;
        return byte[0];
    }
    const int extra = byte[0] >= 0xf0 && byte[0] <= 0xf4 ? 3 : byte[0] >= 0xe0 ? 2 : byte[0] >= 0xc2 ? 1 : 0;
    uint32_t code = byte[0] & (0x3fu >> extra);
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    for (int i = 1; i <= extra; i++) {
        if ((byte[i] & 0xc0) != 0x80) {
            *text += 1;
            return 0xfffd;
        }
        code = code << 6 | (byte[i] & 0x3f);
    }
    if (!extra || byte[0] > 0xf4 || code < least[extra] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) {
        *text += 1;
        return 0xfffd;
    }
    *text += extra + 1;
    return (wchar_t)code;
}

/* Stand-ins of the characters that views draw with, in order of code point. */
static char ascii_of(wchar_t c)
{
    static const struct {
        wchar_t code;
        char stand_in;
    } table[] = {
        {0xb1, '~'},   {0xb5, 'u'},   {0xb7, '.'},   {0xd7, '*'},   {0x2013, '-'}, {0x2026, '.'}, {0x203a, '>'},
        {0x2190, '<'}, {0x2191, '^'}, {0x2192, '>'}, {0x2193, 'v'}, {0x2248, '='}, {0x2264, '<'}, {0x2265, '>'},
        {0x2500, '-'}, {0x2502, '|'}, {0x250c, '+'}, {0x2510, '+'}, {0x2514, '+'}, {0x2518, '+'}, {0x251c, '|'},
        {0x2524, '|'}, {0x252c, '+'}, {0x2534, '+'}, {0x253c, '+'}, {0x2581, '_'}, {0x2582, '.'}, {0x2583, ','},
        {0x2584, '-'}, {0x2585, '='}, {0x2586, '+'}, {0x2587, '*'}, {0x2588, '#'}, {0x2589, '#'}, {0x258a, '#'},
        {0x258b, '='}, {0x258c, '='}, {0x258d, '-'}, {0x258e, '-'}, {0x258f, '|'}, {0x2591, '.'}, {0x2592, ':'},
        {0x2593, '%'}, {0x259a, 'w'}, {0x25a0, '#'}, {0x25aa, '*'}, {0x25b2, '^'}, {0x25b6, '>'}, {0x25b8, '+'},
        {0x25bc, 'v'}, {0x25be, '-'}, {0x25c6, '*'}, {0x25c7, '+'}, {0x25cf, 'o'},
    };
    size_t low = 0, high = sizeof table / sizeof *table;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (table[middle].code < c)
            low = middle + 1;
        else
            high = middle;
    }
    return low < sizeof table / sizeof *table && table[low].code == c ? table[low].stand_in : '?';
}

static bool is_control(wchar_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0);
}

/* Characters that would reorder or hide text beside them (bidirectional controls, zero-width ones, line separators). */
static bool is_invisible(wchar_t c)
{
    return c == 0xad || (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) ||
           c == 0xfeff || (c >= 0xfff9 && c <= 0xfffb) || (c >= 0xe0000 && c < 0xe1000);
}

/* What to draw for a character, and its columns: 0 for a combining mark that joins the glyph before. */
static int glyph_of(wchar_t *c, bool ascii)
{
    if (*c >= 0x20 && *c < 0x7f)
        return 1;
    if (is_control(*c))
        *c = *c < 0x20 ? 0x2400 + *c : *c == 0x7f ? 0x2421 : 0xfffd;
    else if (is_invisible(*c))
        *c = 0xfffd;
    if (ascii) {
        *c = (unsigned char)ascii_of(*c);
        return 1;
    }
    /* Latin letters, lines and blocks are most of what is not ASCII. */
    if (*c < 0x300 || (*c >= 0x2500 && *c < 0x2600))
        return 1;
    const int width = wcwidth(*c);
    if (width < 0) {
        *c = 0xfffd;
        return 1;
    }
    return width > 2 ? 2 : width;
}

static void put(const struct area *area, int y, int x, enum style style, wchar_t c, int width)
{
    struct canvas *canvas = area->canvas;
    struct glyph *row = &canvas->cells[(size_t)(area->y + y) * (size_t)canvas->width];
    const int at = area->x + x;
    /* What was half covered becomes blank: a wide glyph is never left as one half. */
    if (row[at].width == 0 && at > 0)
        row[at - 1] = (struct glyph){.base = L' ', .style = row[at - 1].style, .width = 1};
    const int after = at + width;
    if (after < canvas->width && row[after].width == 0)
        row[after] = (struct glyph){.base = L' ', .style = row[after].style, .width = 1};
    row[at] = (struct glyph){.base = (uint32_t)c & 0x1fffff, .style = style & 0x1ff, .width = width & 3};
    if (width == 2)
        row[at + 1] = (struct glyph){.base = L' ', .style = style & 0x1ff, .width = 0};
}

/* The plain ASCII that most texts begin with, over glyphs that are whole: as put does it, without looking aside. */
static int plain_text(const struct area *area, int y, int x, int width, enum style style, const char **text)
{
    if (x < 0 || width < 1)
        return 0;
    const struct canvas *canvas = area->canvas;
    struct glyph *row = &canvas->cells[(size_t)(area->y + y) * (size_t)canvas->width];
    const int from = area->x + x;
    if (row[from].width == 0)
        return 0;
    int used = 0;
    for (const char *at = *text; used < width && *at >= 0x20 && *at < 0x7f; at++, used++) {
        struct glyph *glyph = &row[from + used];
        if (from + used + 1 < canvas->width && glyph[1].width == 0)
            break;
        *glyph = (struct glyph){.base = (uint32_t)*at, .style = style & 0x1ff, .width = 1};
    }
    *text += used;
    return used;
}

int area_text(const struct area *area, int y, int x, int width, enum style style, const char *text)
{
    if (y < 0 || y >= area->height || x >= area->width)
        return 0;
    if (width < 0 || width > area->width - x)
        width = area->width - x; /* x may be negative: then the first −x columns are cut off */
    int used = plain_text(area, y, x, width, style, &text);
    for (wchar_t c = text_next(&text); c; c = text_next(&text)) {
        const int columns = glyph_of(&c, area->canvas->ascii);
        if (columns == 0) {
            if (used > 0 && x + used > 0) {
                struct glyph *row = &area->canvas->cells[(size_t)(area->y + y) * (size_t)area->canvas->width];
                struct glyph *last = &row[area->x + x + used - 1];
                if (last->width == 0)
                    last--;
                if (!last->mark)
                    last->mark = (uint32_t)c;
            }
            continue;
        }
        if (used + columns > width)
            break;
        if (x + used >= 0)
            put(area, y, x + used, style, c, columns);
        used += columns;
    }
    return used;
}

int area_printf(const struct area *area, int y, int x, enum style style, const char *format, ...)
{
    char text[1024];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    return area_text(area, y, x, -1, style, text);
}

int text_columns(const char *text, bool ascii)
{
    int used = 0;
    for (; *text >= 0x20 && *text < 0x7f; text++)
        used++;
    for (wchar_t c = text_next(&text); c; c = text_next(&text))
        used += glyph_of(&c, ascii);
    return used;
}

int area_text_fit(const struct area *area, int y, int x, int width, enum style style, const char *text)
{
    if (width < 0 || width > area->width - x)
        width = area->width - x;
    if (text_columns(text, area->canvas->ascii) <= width)
        return area_text(area, y, x, width, style, text);
    if (width < 1)
        return 0;
    const int used = area_text(area, y, x, width - 1, style, text);
    area_put(area, y, x + used, style, 0x2026);
    return used + 1;
}

/* How much of its end a name shows that is cut in the middle. Half, but rather all of its last word with two letters before it,
 * for "sgem…nt 64x256x256" tells two kernels apart; and no more of it than the whole first word leaves where both have room:
 * "gemm_batched_tn…64x64x64". */
static int end_columns(const char *text, int columns, int width, bool ascii)
{
    const char *first = text + strspn(text, " "), *last = strrchr(text, ' ');
    int end = width / 2;
    if (!last || last < first)
        return end;
    const int head = columns - text_columns(first + strcspn(first, " "), ascii), tail = text_columns(last + 1, ascii);
    if (end < tail + 3 && tail + 3 <= width - 1 - LEAST_HEAD)
        end = tail + 3;
    if (end > width - 1 - head && tail <= width - 1 - head)
        end = width - 1 - head;
    return end;
}

const char *text_short(const char *text, int width, bool ascii)
{
    while (width >= 0 && strlen(text) > (size_t)width && text_columns(text, ascii) > width) {
        if (strncmp(text, "void ", 5) == 0) { /* of a template's instance in C++ */
            text += 5;
            continue;
        }
        const size_t word = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789");
        if (!word || strncmp(text + word, "::", 2) != 0 || !text[word + 2])
            break;
        text += word + 2;
    }
    return text;
}

/* Of a module's path the first words go: those of "transformer.h.*.attn" are its neighbours', too. What is left of it with a mark
 * before it; NULL where the last word alone has no room, or it is no path. */
static const char *path_end(const char *text, int width)
{
    const size_t length = strlen(text);
    const char *at = strchr(text, '.');
    if (!at || strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789.*") != length)
        return NULL;
    while (at && (int)(length - (size_t)(at + 1 - text)) + 1 > width)
        at = strchr(at + 1, '.');
    return at && at[1] ? at + 1 : NULL;
}

int area_text_ends(const struct area *area, int y, int x, int width, enum style style, const char *text, int *kept)
{
    if (width < 0 || width > area->width - x)
        width = area->width - x;
    text = text_short(text, width, area->canvas->ascii);
    const int columns = text_columns(text, area->canvas->ascii);
    if (kept)
        *kept = -1;
    if (columns <= width)
        return area_text(area, y, x, width, style, text);
    if (width < 1)
        return 0;
    const char *path = path_end(text, width);
    if (path) {
        if (kept)
            *kept = 0;
        area_put(area, y, x, style, 0x2026);
        return 1 + area_text(area, y, x + 1, width - 1, style, path);
    }
    const int end = end_columns(text, columns, width, area->canvas->ascii), begin = width - 1 - end;
    area_fill(area, y, x, 1, width, style, L' '); /* half of a wide character is left blank */
    area_text(area, y, x, begin, style, text);
    area_put(area, y, x + begin, style, 0x2026);
    const struct area tail = area_part(area, y, x + begin + 1, 1, end);
    area_text(&tail, 0, end - columns, columns, style, text);
    if (kept)
        *kept = begin;
    return width;
}

void area_text_right(const struct area *area, int y, int x, int width, enum style style, const char *text)
{
    const int columns = text_columns(text, area->canvas->ascii);
    if (columns > width)
        area_text_fit(area, y, x, width, style, text);
    else
        area_text(area, y, x + width - columns, columns, style, text);
}

void area_put(const struct area *area, int y, int x, enum style style, wchar_t glyph)
{
    if (y < 0 || x < 0 || y >= area->height || x >= area->width)
        return;
    const int columns = glyph_of(&glyph, area->canvas->ascii);
    if (columns == 1)
        put(area, y, x, style, glyph, 1);
}

void area_fill(const struct area *area, int y, int x, int height, int width, enum style style, wchar_t glyph)
{
    const struct area part = area_part(area, y, x, height, width);
    if (glyph_of(&glyph, area->canvas->ascii) != 1 || part.width < 1)
        return;
    const struct glyph one = {.base = (uint32_t)glyph & 0x1fffff, .style = style & 0x1ff, .width = 1};
    for (int row = 0; row < part.height; row++) {
        /* Only at the ends can half of a wide glyph be left. */
        put(&part, row, 0, style, glyph, 1);
        put(&part, row, part.width - 1, style, glyph, 1);
        struct glyph *glyphs = area_row(&part, row);
        for (int column = 1; column < part.width - 1; column++)
            glyphs[column] = one;
    }
}

struct glyph *area_row(const struct area *area, int y)
{
    return &area->canvas->cells[(size_t)(area->y + y) * (size_t)area->canvas->width + (size_t)area->x];
}

void area_restyle(const struct area *area, int y, int x, int width, enum style style)
{
    const struct area part = area_part(area, y, x, 1, width);
    if (part.height < 1)
        return;
    struct glyph *row = &part.canvas->cells[(size_t)part.y * (size_t)part.canvas->width + (size_t)part.x];
    for (int i = 0; i < part.width; i++)
        row[i].style = style & 0x1ff;
}

void area_box(const struct area *area, const char *title)
{
    const int bottom = area->height - 1, right = area->width - 1;
    area_fill(area, 0, 0, area->height, area->width, STYLE_NORMAL, L' ');
    for (int x = 1; x < right; x++) {
        area_put(area, 0, x, STYLE_BORDER, 0x2500);
        area_put(area, bottom, x, STYLE_BORDER, 0x2500);
    }
    for (int y = 1; y < bottom; y++) {
        area_put(area, y, 0, STYLE_BORDER, 0x2502);
        area_put(area, y, right, STYLE_BORDER, 0x2502);
    }
    area_put(area, 0, 0, STYLE_BORDER, 0x250c);
    area_put(area, 0, right, STYLE_BORDER, 0x2510);
    area_put(area, bottom, 0, STYLE_BORDER, 0x2514);
    area_put(area, bottom, right, STYLE_BORDER, 0x2518);
    if (title && area->width > 6) {
        char text[128];
        snprintf(text, sizeof text, " %s ", title);
        area_text_fit(area, 0, 2, area->width - 4, STYLE_BOLD, text);
    }
}

static void add_utf8(struct strbuf *out, wchar_t c)
{
    if (c < 0x80) {
        strbuf_putc(out, (char)c);
    } else if (c < 0x800) {
        strbuf_putc(out, (char)(0xc0 | c >> 6));
        strbuf_putc(out, (char)(0x80 | (c & 0x3f)));
    } else if (c < 0x10000) {
        strbuf_putc(out, (char)(0xe0 | c >> 12));
        strbuf_putc(out, (char)(0x80 | (c >> 6 & 0x3f)));
        strbuf_putc(out, (char)(0x80 | (c & 0x3f)));
    } else {
        strbuf_putc(out, (char)(0xf0 | c >> 18));
        strbuf_putc(out, (char)(0x80 | (c >> 12 & 0x3f)));
        strbuf_putc(out, (char)(0x80 | (c >> 6 & 0x3f)));
        strbuf_putc(out, (char)(0x80 | (c & 0x3f)));
    }
}

char *canvas_to_text(const struct canvas *canvas)
{
    struct strbuf out = {0};
    strbuf_puts(&out, "");
    for (int y = 0; y < canvas->height; y++) {
        const struct glyph *row = &canvas->cells[(size_t)y * (size_t)canvas->width];
        int end = canvas->width;
        while (end > 0 && row[end - 1].base == L' ' && row[end - 1].width == 1)
            end--;
        for (int x = 0; x < end; x++) {
            if (row[x].width == 0)
                continue;
            add_utf8(&out, (wchar_t)row[x].base);
            if (row[x].mark)
                add_utf8(&out, (wchar_t)row[x].mark);
        }
        strbuf_putc(&out, '\n');
    }
    return out.text;
}
