#include "screen_internal.h"
#include <string.h>

#define CELL_WIDTH 8.4
#define CELL_HEIGHT 18.0
#define BASELINE 13.5
#define MARGIN 12.0

struct look {
    uint32_t ink, ground; /* 0xrrggbb */
    bool bold, underline;
};

void screen_add_code(struct strbuf *out, uint32_t code)
{
    char bytes[8];
    int length = 0;
    if (code < 0x80) {
        bytes[length++] = (char)code;
    } else if (code < 0x800) {
        bytes[length++] = (char)(0xc0 | code >> 6);
        bytes[length++] = (char)(0x80 | (code & 63));
    } else {
        if (code >= 0x10000) {
            bytes[length++] = (char)(0xf0 | code >> 18);
            bytes[length++] = (char)(0x80 | (code >> 12 & 63));
        } else {
            bytes[length++] = (char)(0xe0 | code >> 12);
        }
        bytes[length++] = (char)(0x80 | (code >> 6 & 63));
        bytes[length++] = (char)(0x80 | (code & 63));
    }
    strbuf_add(out, bytes, (size_t)length);
}

/* The first sixteen colours, as a dark terminal has them; the others are xterm's. */
static uint32_t rgb_of(const struct screen *screen, VTermColor color, bool ground)
{
    static const uint32_t sixteen[16] = {0x20262e, 0xe5635d, 0x6fbf73, 0xd9a441, 0x6ca4e8, 0xb58be0,
                                         0x56b6c2, 0xc9d1d9, 0x6e7681, 0xff7b72, 0x85d48a, 0xe3b341,
                                         0x82b8ff, 0xc8a4f0, 0x76d0da, 0xf0f6fc};
    if (ground ? VTERM_COLOR_IS_DEFAULT_BG(&color) : VTERM_COLOR_IS_DEFAULT_FG(&color))
        return ground ? 0x0d1117 : 0xc9d1d9;
    if (VTERM_COLOR_IS_INDEXED(&color) && color.indexed.idx < 16)
        return sixteen[color.indexed.idx];
    vterm_screen_convert_color_to_rgb(screen->screen, &color);
    return (uint32_t)color.rgb.red << 16 | (uint32_t)color.rgb.green << 8 | color.rgb.blue;
}

static struct look look_of(const struct screen *screen, const VTermScreenCell *cell)
{
    struct look look = {rgb_of(screen, cell->fg, false), rgb_of(screen, cell->bg, true), cell->attrs.bold,
                        cell->attrs.underline != 0};
    if (cell->attrs.reverse) {
        const uint32_t ink = look.ink;
        look.ink = look.ground;
        look.ground = ink;
    }
    return look;
}

static void rect(struct strbuf *out, double x, double y, double width, double height, uint32_t color, double opacity)
{
    strbuf_printf(out, "<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" fill=\"#%06x\"", x, y, width, height,
                  color);
    if (opacity < 1)
        strbuf_printf(out, " fill-opacity=\"%.2f\"", opacity);
    strbuf_puts(out, "/>\n");
}

/* Eighths and halves of a cell and its shades, which fonts draw with gaps. False for any other character. */
static bool block(struct strbuf *out, double x, double y, uint32_t code, uint32_t color)
{
    if (code == 0x2580)
        rect(out, x, y, CELL_WIDTH, CELL_HEIGHT / 2, color, 1);
    else if (code >= 0x2581 && code <= 0x2588)
        rect(out, x, y + CELL_HEIGHT * (0x2588 - code) / 8, CELL_WIDTH, CELL_HEIGHT * (code - 0x2580) / 8, color, 1);
    else if (code >= 0x2589 && code <= 0x258f)
        rect(out, x, y, CELL_WIDTH * (0x2590 - code) / 8, CELL_HEIGHT, color, 1);
    else if (code == 0x2590)
        rect(out, x + CELL_WIDTH / 2, y, CELL_WIDTH / 2, CELL_HEIGHT, color, 1);
    else if (code >= 0x2591 && code <= 0x2593)
        rect(out, x, y, CELL_WIDTH, CELL_HEIGHT, color, 0.25 * (code - 0x2590));
    else
        return false;
    return true;
}

static bool same_look(const struct look *a, const struct look *b)
{
    return a->ink == b->ink && a->ground == b->ground && a->bold == b->bold && a->underline == b->underline;
}

static void put_text(struct strbuf *out, double x, double y, const struct look *look, const char *text, int columns)
{
    strbuf_printf(out, "<text x=\"%.2f\" y=\"%.2f\" fill=\"#%06x\" textLength=\"%.2f\"%s%s>", x, y + BASELINE,
                  look->ink, columns * CELL_WIDTH, look->bold ? " font-weight=\"bold\"" : "",
                  look->underline ? " text-decoration=\"underline\"" : "");
    strbuf_puts(out, text);
    strbuf_puts(out, "</text>\n");
}

/* One row: grounds first, then blocks, then the text in stretches of one look, which a blank ends: fonts differ least over a word. */
static void put_row(struct screen *screen, struct strbuf *out, int row, int width)
{
    struct strbuf text = {0};
    const double y = MARGIN + row * CELL_HEIGHT;
    VTermScreenCell cell;
    for (int x = 0, end; x < width; x = end) {
        vterm_screen_get_cell(screen->screen, (VTermPos){row, x}, &cell);
        const uint32_t ground = look_of(screen, &cell).ground;
        for (end = x + 1; end < width; end++) {
            vterm_screen_get_cell(screen->screen, (VTermPos){row, end}, &cell);
            if (look_of(screen, &cell).ground != ground)
                break;
        }
        if (ground != 0x0d1117)
            rect(out, MARGIN + x * CELL_WIDTH, y, (end - x) * CELL_WIDTH, CELL_HEIGHT, ground, 1);
    }
    struct look look = {0};
    int start = 0, columns = 0;
    for (int x = 0; x <= width; x++) {
        struct look here = {0};
        uint32_t code = ' ';
        if (x < width) {
            vterm_screen_get_cell(screen->screen, (VTermPos){row, x}, &cell);
            here = look_of(screen, &cell);
            code = cell.chars[0] ? cell.chars[0] : ' ';
        }
        if (code == (uint32_t)-1) { /* right half of a wide one */
            columns++;
            continue;
        }
        const bool blank = code == ' ' || block(out, MARGIN + x * CELL_WIDTH, y, code, here.ink);
        if (columns && (blank || !same_look(&look, &here))) {
            put_text(out, MARGIN + start * CELL_WIDTH, y, &look, text.text, columns);
            strbuf_clear(&text);
            columns = 0;
        }
        if (blank)
            continue;
        if (!columns) {
            start = x;
            look = here;
        }
        if (code == '<' || code == '&')
            strbuf_puts(&text, code == '<' ? "&lt;" : "&amp;");
        else
            screen_add_code(&text, code);
        columns++;
    }
    strbuf_release(&text);
}

char *screen_svg(struct screen *screen, const char *title)
{
    struct strbuf out = {0};
    int height, width;
    vterm_get_size(screen->vterm, &height, &width);
    const double w = width * CELL_WIDTH + 2 * MARGIN, h = height * CELL_HEIGHT + 2 * MARGIN;
    strbuf_printf(&out,
                  "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" width=\"%.0f\" height=\"%.0f\" "
                  "role=\"img\" font-family=\"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace\" "
                  "font-size=\"14\" shape-rendering=\"crispEdges\">\n<title>%s</title>\n"
                  "<rect x=\".5\" y=\".5\" width=\"%.0f\" height=\"%.0f\" rx=\"8\" fill=\"#0d1117\" "
                  "stroke=\"#7d8590\"/>\n",
                  w, h, w, h, title, w - 1, h - 1);
    for (int row = 0; row < height; row++)
        put_row(screen, &out, row, width);
    strbuf_puts(&out, "</svg>\n");
    return out.text;
}
