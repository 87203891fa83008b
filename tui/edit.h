/* A line editor: one line of UTF-8 with a cursor, as prompts and form fields need it. */
#pragma once
#include "tui/canvas.h"

struct edit {
    char text[512];
    size_t cursor; /* byte offset, at a character's start */
};

void edit_set(struct edit *edit, const char *text); /* cursor at the end */
bool edit_key(struct edit *edit, int key);          /* false: not a key of the editor */
/* Draws the text in `width` columns, scrolled so that the cursor shows; the cursor when `active`. */
void edit_draw(const struct edit *edit, const struct area *area, int y, int x, int width, enum style style,
               bool active);
