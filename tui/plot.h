/* Plots on a canvas: bars in eighth blocks (or braille quarters), with axes. Pure functions of their data. */
#pragma once
#include "tui/canvas.h"
#include <stdint.h>

/* True when the area has room for a plot with its axes; else says so in it. A screen of the least size has. */
bool plot_fits(const struct area *area);

/* The step of 0 … most that a place from 0 to 1 is nearest to; what lies outside is at the end that it is beyond, what is no
 * number at -1. All scales go through here: a conversion of what does not fit is undefined. */
int scale_to(double place, int most);

/* Vertical bars, one a column; heights as fractions of the area's height. `styles` gives each bar's style, or NULL. */
void plot_bars(const struct area *area, const double *heights, int count, enum style style, const uint8_t *styles);

/* One value stacked over another: values[column × kinds + kind], scaled so that `top` fills the height. */
/* Whole cells are filled with `glyphs` [kind]. */
/* With `braille` the edge is drawn in dots of a quarter of a cell. */
void plot_stack(const struct area *area, const double *values, int columns, int kinds, double top, enum style first,
                const wchar_t *glyphs, bool braille);

/* A picture of 2×4 dots a cell (braille) or one mark a cell, for curves and points. */
struct dots {
    int height, width; /* in cells */
    bool braille;
    uint8_t *bits; /* dots of each cell; without braille the mark's presence */
    uint8_t *styles;
};
void dots_init(struct dots *dots, int height, int width, bool braille);
void dots_release(struct dots *dots);
/* x, y in [0, 1], y upwards; outside is not drawn. `mark` is used without braille. */
void dots_put(struct dots *dots, double x, double y, enum style style);
void dots_draw(const struct dots *dots, const struct area *area, wchar_t mark);

/* 1, 2 or 5 times a power of ten: the least that leaves room for a label at each mark. */
double plot_tick(double least);
