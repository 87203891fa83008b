/* The rows of a table as they stand on the screen. A figure that changes ten times a second cannot be read, and it would
 * cost a line of bytes each time; so of the rows that changed, a frame shows the newest figures of a few, those first that
 * waited longest. What a key asked for, what is new on the screen and the selected row never wait. */
#pragma once
#include "base/strbuf.h"
#include "base/vec.h"
#include "tui/canvas.h"
#include <stdint.h>
#include <string.h>

#define LINES_COLUMNS 32
#define LINES_A_FRAME 8           /* rows that only changed and are shown anew in one frame */
#define LINES_LEAST_A_FRAME 3     /* as few as that where frames are too large */
#define LINES_SLOW_NS 1000000000u /* how long a slow column (a picture, not a figure) stays */

struct line {
    uint64_t id, version;
    uint64_t shown_at, slow_at; /* when its figures, its slow columns were made; 0: not yet */
    uint32_t columns;           /* bit a column that it has */
    struct strbuf text;         /* the columns one behind the other, each with its end */
    uint32_t at[LINES_COLUMNS];
    uint8_t style[LINES_COLUMNS];
    VEC(struct glyph) glyphs; /* as it was drawn last, */
    uint64_t drawn;           /* and under which circumstances; 0: not since it was made */
    bool stale;               /* this frame: it differs from what it stands for */
};

struct lines {
    VEC(struct line) items, before;
};

/* For a row's version: mixes one more value into what there is. */
static inline uint64_t version_mix(uint64_t version, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    version = (version ^ bits) * 0x9e3779b97f4a7c15u;
    return version ^ version >> 29;
}

void lines_release(struct lines *lines);
/* Starts a frame of `count` rows; lines_place then gives each its line: the one it had, or an empty one. */
void lines_begin(struct lines *lines, size_t count);
struct line *lines_place(struct lines *lines, size_t row, uint64_t id);
/* After all are placed: lets go of the others, and leaves `stale` only at the rows that shall be made anew in this frame,
 * `most` of those that only changed (0: LINES_A_FRAME). Returns how many stay behind. */
size_t lines_choose(struct lines *lines, size_t selected, int most);
