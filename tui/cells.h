/* Figures into table cells: formatted, and dim where they are not known. */
#pragma once
#include "base/unknown.h"
#include "tui/format.h"
#include "tui/table.h"
#include <stdio.h>

typedef const char *format_function(char text[FORMAT_SIZE], double value);

static inline void cell_figure(struct cell_text *out, format_function *format, double value)
{
    char text[FORMAT_SIZE];
    snprintf(out->text, sizeof out->text, "%s", format(text, value));
    if (!isfinite(value))
        out->style = STYLE_DIM;
}

static inline void cell_string(struct cell_text *out, const char *text)
{
    snprintf(out->text, sizeof out->text, "%s", text ? text : "");
}

static inline double known_or_nan(uint64_t value)
{
    return value == UNKNOWN_U64 ? UNKNOWN_DOUBLE : (double)value;
}
