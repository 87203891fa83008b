/* The picture of one frame: a grid of glyphs with a meaning each. Views draw here and nowhere else; the terminal then
 * sends what differs from the frame before. Every write is clipped to its area, and no control character, escape or
 * broken UTF-8 from a kernel's name gets through to a glyph. */
#pragma once
#include "tui/style.h"
#include <stdbool.h>
#include <stddef.h>
#include <wchar.h>

/* Eight bytes, for whole screens of them are cleared and compared in every frame. */
struct glyph {
    uint32_t base : 21;
    uint32_t width : 2; /* 1 or 2; 0 is the right half of the wide glyph before it */
    uint32_t style : 9;
    uint32_t mark; /* one combining character on top, or 0 */
};

struct canvas {
    int height, width;
    bool ascii;          /* everything outside ASCII gets a stand-in */
    int lines_a_frame;   /* rows that only changed and may be shown anew (tui/lines.h); 0: LINES_A_FRAME */
    struct glyph *cells; /* height × width */
};

/* A rectangle of a canvas: coordinates below are relative to it, and nothing is drawn outside. */
struct area {
    struct canvas *canvas;
    int y, x, height, width;
};

void canvas_resize(struct canvas *canvas, int height, int width); /* and clears */
void canvas_clear(struct canvas *canvas);
void canvas_release(struct canvas *canvas);
struct area canvas_area(struct canvas *canvas);
struct area area_part(const struct area *area, int y, int x, int height, int width); /* clipped */

/* Draws UTF-8 text in at most `width` columns (-1: to the area's edge); returns the columns used. */
int area_text(const struct area *area, int y, int x, int width, enum style style, const char *text);
int area_printf(const struct area *area, int y, int x, enum style style, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
/* The same, ending at column x + width. Text that is too long loses its end and gets an ellipsis. */
void area_text_right(const struct area *area, int y, int x, int width, enum style style, const char *text);
/* As area_text, but text that is too long ends in an ellipsis. */
int area_text_fit(const struct area *area, int y, int x, int width, enum style style, const char *text);
/* The same with the ellipsis in the middle: a kernel's shape, a layer's last name stay. `kept` (may be
 * NULL) gets the columns before the ellipsis, -1 when the text fits. */
/* Namespaces before the name ("aten::mm") are left out first, as many as must be: text_short. */
int area_text_ends(const struct area *area, int y, int x, int width, enum style style, const char *text, int *kept);
void area_put(const struct area *area, int y, int x, enum style style, wchar_t glyph);
void area_fill(const struct area *area, int y, int x, int height, int width, enum style style, wchar_t glyph);
/* A row of glyphs as it was drawn before: out of the canvas, and back again. */
struct glyph *area_row(const struct area *area, int y);
void area_restyle(const struct area *area, int y, int x, int width, enum style style);
void area_box(const struct area *area, const char *title); /* border around the whole area, cleared inside */

/* Columns that the text takes on a canvas. */
int text_columns(const char *text, bool ascii);
/* From where on `text` fits `width` columns when the namespaces that it begins with are left out; behind the last of them where it
 * does not fit even so. */
const char *text_short(const char *text, int width, bool ascii);
/* One character of UTF-8 from *text, which is moved past it; U+FFFD for what is not UTF-8. 0 at the end. */
wchar_t text_next(const char **text);

/* The canvas as UTF-8 lines without trailing blanks, malloc'ed: exports and tests. */
char *canvas_to_text(const struct canvas *canvas);
