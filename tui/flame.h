/* What a launch is part of, level by level, for the rows above the Timeline's lanes: phase, block, part. */
#pragma once
#include "tui/canvas.h"
#include "tui/live.h"
#include <stdint.h>

#define FLAME_LEVELS 3
extern const char *const flame_titles[FLAME_LEVELS];

struct flame {
    const struct report_cell *cell;
    bool *holds; /* by layer: blocks lie somewhere below it */
};

/* The cell must stay as it is until the release. */
void flame_make(struct flame *flame, const struct report_cell *cell);
void flame_release(struct flame *flame);
/* The name at a level: "fwd"; the block ("layers.3", "h.3") or, outside of blocks, the module; the part of it; "" where there is
 * none. Stretches are told apart by these texts. */
const char *flame_name(const struct flame *flame, int phase, int32_t scope, int level);
/* A stretch of a row, with as much of its name as has room. */
void flame_stretch(const struct area *area, int y, int from, int to, enum style style, const char *name);
