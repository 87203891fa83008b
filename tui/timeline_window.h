/* What the Timeline shows: the launches of a run's ranks on one clock, the window on them, and the rows in which they lie. */
#pragma once
#include "tui/app.h"
#include "tui/launches.h"

#define TIMELINE_STREAMS 64

/* What one of several ranks ran: all of them on one clock, in rows of their own. */
struct rank_lanes {
    struct launches launches;
    size_t begin, end; /* of these, all that the picture shows */
    uint16_t streams[TIMELINE_STREAMS];
    int stream_count;
    VEC(uint8_t) lane_of; /* of each launch from `begin` on, where streams are packed into lanes */
    VEC(uint32_t) order;  /* these by when they begin, counted from `begin` on: to work in */
    int lane_count;
    bool packed;
};

struct timeline {
    struct rank_lanes ranks[LIVE_RANKS], *own; /* own: the one that is spoken of; between frames the selected one */
    int rank_count, rank, stream;              /* the selected row: a rank's stream, or lane */
    uint32_t run;
    int pass;
    uint64_t origin;   /* of the times shown */
    double from, span; /* visible, ns since origin; span 0: choose */
    double cursor;     /* ns since origin */
    bool at_end, by_class;
    int width; /* columns of the picture */
    int plot_x;
};

/* The launches of a cell as they are now; of another cell than before the window begins anew. */
void timeline_choose(struct app *app, struct timeline *timeline, const struct report_cell *cell);
/* The window lies within what there is, the cursor within it. */
void timeline_place_window(struct timeline *timeline);
/* Of `own`: what the picture shows, and the streams that it has met so far: these stay. */
void timeline_find_visible(struct timeline *timeline);
/* Many streams become as few lanes as what runs at once needs: each launch goes to the first lane that is free when it starts. */
void timeline_pack_lanes(struct timeline *timeline);
int timeline_row_count(const struct timeline *timeline);
int timeline_row_of(const struct timeline *timeline, size_t launch);      /* −1: none */
double timeline_since(const struct timeline *timeline, uint64_t time);    /* ns since the origin */
uint64_t timeline_instant(const struct timeline *timeline, double place); /* of a place in the picture */
