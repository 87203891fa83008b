#include "tui/edit.h"
#include "tui/terminal.h"
#include <stdio.h>
#include <string.h>

void edit_set(struct edit *edit, const char *text)
{
    snprintf(edit->text, sizeof edit->text, "%s", text);
    edit->cursor = strlen(edit->text);
}

static size_t previous(const struct edit *edit, size_t at)
{
    while (at > 0 && ((unsigned char)edit->text[--at] & 0xc0) == 0x80) {
    }
    return at;
}

static size_t next(const struct edit *edit, size_t at)
{
    if (!edit->text[at])
        return at;
    while (((unsigned char)edit->text[++at] & 0xc0) == 0x80) {
    }
    return at;
}

static void erase(struct edit *edit, size_t from, size_t to)
{
    memmove(edit->text + from, edit->text + to, strlen(edit->text + to) + 1);
    edit->cursor = from;
}

static void insert(struct edit *edit, int key)
{
    char bytes[5] = {0};
    size_t length;
    if (key < 0x80) {
        bytes[0] = (char)key;
        length = 1;
    } else if (key < 0x800) {
        bytes[0] = (char)(0xc0 | key >> 6);
        bytes[1] = (char)(0x80 | (key & 0x3f));
        length = 2;
    } else if (key < 0x10000) {
        bytes[0] = (char)(0xe0 | key >> 12);
        bytes[1] = (char)(0x80 | (key >> 6 & 0x3f));
        bytes[2] = (char)(0x80 | (key & 0x3f));
        length = 3;
    } else {
        bytes[0] = (char)(0xf0 | key >> 18);
        bytes[1] = (char)(0x80 | (key >> 12 & 0x3f));
        bytes[2] = (char)(0x80 | (key >> 6 & 0x3f));
        bytes[3] = (char)(0x80 | (key & 0x3f));
        length = 4;
    }
    const size_t used = strlen(edit->text);
    if (used + length >= sizeof edit->text)
        return;
    memmove(edit->text + edit->cursor + length, edit->text + edit->cursor, used - edit->cursor + 1);
    memcpy(edit->text + edit->cursor, bytes, length);
    edit->cursor += length;
}

bool edit_key(struct edit *edit, int key)
{
    switch (key) {
    case KEY_CODE_LEFT:
    case 'B' & 31:
        edit->cursor = previous(edit, edit->cursor);
        return true;
    case KEY_CODE_RIGHT:
    case 'F' & 31:
        edit->cursor = next(edit, edit->cursor);
        return true;
    case KEY_CODE_HOME:
    case 'A' & 31:
        edit->cursor = 0;
        return true;
    case KEY_CODE_END:
    case 'E' & 31:
        edit->cursor = strlen(edit->text);
        return true;
    case KEY_CODE_BACKSPACE:
        erase(edit, previous(edit, edit->cursor), edit->cursor);
        return true;
    case KEY_CODE_DELETE:
    case 'D' & 31:
        erase(edit, edit->cursor, next(edit, edit->cursor));
        return true;
    case 'U' & 31:
        erase(edit, 0, edit->cursor);
        return true;
    case 'K' & 31:
        edit->text[edit->cursor] = 0;
        return true;
    case 'W' & 31: {
        size_t from = edit->cursor;
        while (from > 0 && edit->text[from - 1] == ' ')
            from--;
        while (from > 0 && edit->text[from - 1] != ' ')
            from--;
        erase(edit, from, edit->cursor);
        return true;
    }
    default:
        break;
    }
    if (key < ' ' || key == 127 || key >= KEY_CODE_UP)
        return false;
    insert(edit, key);
    return true;
}

void edit_draw(const struct edit *edit, const struct area *area, int y, int x, int width, enum style style, bool active)
{
    const struct area line = area_part(area, y, x, 1, width);
    area_fill(&line, 0, 0, 1, line.width, style, L' ');
    char before[sizeof edit->text];
    memcpy(before, edit->text, edit->cursor);
    before[edit->cursor] = 0;
    const int cursor = text_columns(before, area->canvas->ascii);
    const int shift = cursor >= line.width ? cursor - line.width + 1 : 0;
    /* area_text clips what a negative column puts to the left of the line. */
    area_text(&line, 0, -shift, line.width + shift, style, edit->text);
    if (active)
        area_restyle(&line, 0, cursor - shift, 1, STYLE_CURSOR);
}
