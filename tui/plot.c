#include "tui/plot.h"
#include "base/limits.h"
#include <math.h>
#include <stdlib.h>

int scale_to(double place, int most)
{
    if (isnan(place) || most < 0)
        return -1;
    return place <= 0 ? 0 : place >= 1 ? most : (int)lround(place * most);
}

bool plot_fits(const struct area *area)
{
    const bool fits = area->height >= 7 && area->width >= 60;
    if (!fits)
        area_text_fit(area, 0, 0, area->width, STYLE_DIM, "no room");
    return fits;
}

void plot_bars(const struct area *area, const double *heights, int count, enum style style, const uint8_t *styles)
{
    for (int x = 0; x < count && x < area->width; x++) {
        const enum style own = styles ? (enum style)styles[x] : style;
        if (!(heights[x] > 0))
            continue;
        int eighths = scale_to(heights[x], area->height * 8);
        if (eighths == 0)
            eighths = 1; /* what is there is seen, however rare */
        for (int y = area->height - 1; y >= 0 && eighths > 0; y--, eighths -= 8)
            area_put(area, y, x, own, eighths >= 8 ? 0x2588 : 0x2580 + eighths);
    }
}

void plot_stack(const struct area *area, const double *values, int columns, int kinds, double top, enum style first,
                const wchar_t *glyphs, bool braille)
{
    static const wchar_t quarters[] = {0x2800, 0x28c0, 0x28e4, 0x28f6, 0x28ff}; /* rows of dots from below */
    if (!(top > 0))
        return;
    for (int x = 0; x < columns && x < area->width; x++) {
        const double *column = values + (size_t)x * (size_t)kinds;
        double below = 0, sum = 0;
        for (int kind = 0; kind < kinds; kind++)
            sum += column[kind];
        int kind = 0;
        for (int y = area->height - 1; y >= 0; y--) {
            /* The kind that the middle of this cell falls in; the last cell is as high as the rest of the sum. */
            const double low = (area->height - 1 - y) * top / area->height, high = low + top / area->height;
            if (sum <= low)
                break;
            const double middle = ((sum < high ? sum : high) + low) / 2;
            while (kind < kinds - 1 && below + column[kind] <= middle)
                below += column[kind++];
            const int eighths = sum >= high ? 8 : scale_to((sum - low) / (high - low), 8);
            if (eighths > 0)
                area_put(area, y, x, (enum style)(first + kind),
                         eighths >= 8 ? glyphs[kind]
                         : braille    ? quarters[(eighths + 1) / 2]
                                      : 0x2580 + eighths);
        }
    }
}

void dots_init(struct dots *dots, int height, int width, bool braille)
{
    const size_t cells = (size_t)(height > 0 ? height : 0) * (size_t)(width > 0 ? width : 0) + 1;
    *dots = (struct dots){height, width, braille, calloc(cells, 1), calloc(cells, 1)};
    if (!dots->bits || !dots->styles)
        memory_exhausted(cells, "characters of a plot");
}

void dots_release(struct dots *dots)
{
    free(dots->bits);
    free(dots->styles);
}

void dots_put(struct dots *dots, double x, double y, enum style style)
{
    /* Bits of the dots of a braille cell, U+2800 and up: column, row from above. */
    static const uint8_t bit[2][4] = {{0x01, 0x02, 0x04, 0x40}, {0x08, 0x10, 0x20, 0x80}};
    if (!(x >= 0 && x <= 1 && y >= 0 && y <= 1) || dots->height <= 0 || dots->width <= 0)
        return;
    const int fine_x = scale_to(x, dots->width * 2 - 1), fine_y = scale_to(1 - y, dots->height * 4 - 1);
    const size_t at = (size_t)(fine_y / 4) * (size_t)dots->width + (size_t)(fine_x / 2);
    dots->bits[at] |= dots->braille ? bit[fine_x % 2][fine_y % 4] : 1;
    dots->styles[at] = (uint8_t)style;
}

void dots_draw(const struct dots *dots, const struct area *area, wchar_t mark)
{
    for (int y = 0; y < dots->height; y++)
        for (int x = 0; x < dots->width; x++) {
            const size_t at = (size_t)y * (size_t)dots->width + (size_t)x;
            if (dots->bits[at])
                area_put(area, y, x, (enum style)dots->styles[at], dots->braille ? 0x2800 + dots->bits[at] : mark);
        }
}

double plot_tick(double least)
{
    const double power = pow(10, floor(log10(least)));
    const double factor = least / power;
    return power * (factor <= 1 ? 1 : factor <= 2 ? 2 : factor <= 5 ? 5 : 10);
}
