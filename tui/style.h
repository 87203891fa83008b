/* What a piece of the screen means. Views name meanings; a theme (theme.c) turns them into colours and attributes. */
#pragma once
#include "kernels/plan.h"
#include <stdbool.h>
#include <wchar.h>

enum style {
    STYLE_NORMAL,
    STYLE_DIM, /* n/a, units, what is beside the point */
    STYLE_BOLD,
    STYLE_TITLE, /* first line */
    STYLE_TAB,
    STYLE_TAB_ON,
    STYLE_HEAD,     /* column titles */
    STYLE_HEAD_ON,  /* of the sort column */
    STYLE_SELECTED, /* row under the cursor */
    STYLE_TAGGED,
    STYLE_MATCH, /* text that a search found */
    STYLE_KEY,   /* footer: the key */
    STYLE_LABEL, /* footer: what it does */
    STYLE_GOOD,
    STYLE_WARN,
    STYLE_BAD,
    STYLE_LIVE, /* badges */
    STYLE_PAUSED,
    STYLE_DROPPED,
    STYLE_DONE,
    STYLE_AXIS,
    STYLE_BAR,
    STYLE_CURSOR, /* the bin or instant under the plot's cursor */
    STYLE_BORDER,
    STYLE_FIELD, /* a form's value */
    STYLE_FIELD_ON,
    STYLE_PHASE,                                  /* + enum phase */
    STYLE_KIND = STYLE_PHASE + PLACE_PHASE_COUNT, /* + enum tensor_kind */
    STYLE_CLASS = STYLE_KIND + TENSOR_KIND_COUNT, /* + enum kernel_class */
    STYLE_COUNT = STYLE_CLASS + CLASS_COUNT
};

/* What a category of memory is filled with: without colours the shades tell them apart, in ASCII a letter each. */
wchar_t kind_shade(enum tensor_kind kind, bool ascii);

struct theme_style {
    short foreground, background;
    unsigned attributes;
}; /* colours 0–15, -1 the terminal's own */

enum theme_attribute { ATTRIBUTE_BOLD = 1, ATTRIBUTE_DIM = 2, ATTRIBUTE_REVERSE = 4, ATTRIBUTE_UNDERLINE = 8 };

#define THEME_COUNT 4
extern const char *const theme_names[THEME_COUNT]; /* "default", "light", "mono", "contrast" */
int theme_find(const char *name);                  /* -1: no such theme */
struct theme_style theme_style(int theme, enum style style);
