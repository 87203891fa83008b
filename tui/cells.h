/* Texts of table cells: figures formatted, and dim where they are not known. */
#pragma once
#include "base/unknown.h"
#include "report/compare.h"
#include "tui/format.h"
#include "tui/table.h"
#include <stdio.h>

static inline void cell_string(struct cell_text *out, const char *text)
{
    snprintf(out->text, sizeof out->text, "%s", text ? text : "");
}

static inline double known_or_nan(uint64_t value)
{
    return value == UNKNOWN_U64 ? UNKNOWN_DOUBLE : (double)value;
}

/* "0.857 faster": a ratio to the baseline's, and what of it is beyond noise. */
static inline void verdict_cell(struct cell_text *out, const struct ratio *ratio, enum verdict verdict)
{
    static const enum style styles[VERDICT_COUNT] = {STYLE_NORMAL, STYLE_GOOD, STYLE_BAD, STYLE_WARN, STYLE_WARN};
    char text[FORMAT_SIZE];
    if (!is_known(ratio->median)) {
        cell_string(out, "n/a");
        out->style = STYLE_DIM;
        return;
    }
    snprintf(out->text, sizeof out->text, "%s %s", format_ratio(text, ratio->median), verdict_name(verdict));
    out->style = styles[verdict];
}
