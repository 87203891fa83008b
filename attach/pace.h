/* Which steps are recorded. Where recording costs little, all but one in fifty, which shows what it costs. Where it costs more (each
 * kernel on a card is watched as it is launched), bursts of steps with pauses between: so long that of the program's time recording
 * takes no more than its share. What it costs is measured, by the steps of either kind. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define PACE_EVERY 50    /* one step of so many is not recorded where that is cheap */
#define PACE_BURST 4     /* steps in a row: idle time is read from the second on */
#define PACE_SHARE 0.05  /* of the program's time */
#define PACE_CHEAP 0.015 /* what costs no more is not worth pauses */
#define PACE_PAUSE 120   /* steps, at most: a screen shall live */
#define PACE_COMPARED 24 /* latest steps of either kind */
#define PACE_KNOWN 12    /* of either kind are needed before their cost is believed: hosts wander by a third */
#define PACE_GUESS 0.4   /* what a recorded step costs, until then */

struct pace {
    bool on;       /* pauses are made */
    bool blind;    /* the lengths of steps do not say what recording costs: they are launches, of which many may wait */
    uint32_t left; /* steps of the burst or the pause under way */
    uint32_t place; /* so many of it have been */
    uint32_t pause; /* the latest one's length */
    struct pace_walls {
        uint64_t ns[PACE_COMPARED];
        uint32_t count; /* ever */
    } recorded, paused;
};

/* The step before number `step` took `wall_ns` and was `recorded` or not. Is `step`? */
bool pace_next(struct pace *pace, uint32_t step, bool recorded, uint64_t wall_ns);
/* By how much of an unrecorded step a recorded one is longer; 0 where that is not known. */
double pace_cost(const struct pace *pace);
bool pace_known(const struct pace *pace); /* have enough steps of either kind been seen? */
bool pace_cheap(const struct pace *pace); /* then bursts are so long that all steps but one in PACE_EVERY are in them */
