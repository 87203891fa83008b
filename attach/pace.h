/* Which steps are recorded. Where recording costs little, all but one in fifty, which shows what it costs. Where it costs more (each
 * kernel on a card is watched as it is launched, PyTorch names each operator on a processor), bursts of steps with pauses between: so
 * long that of the program's time recording takes no more than its share. What it costs is measured, by the steps of either kind; on a
 * processor it is taken to be no less than what was told of in a step costs anywhere. */
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
#define PACE_GUESS 0.4   /* what a recorded step costs, until then, where nothing can be counted */
#define PACE_FIRST 16 /* steps that can be counted in are recorded before the first pause: a short program as a whole */
#define PACE_SHARE_LAYERS 0.005 /* of the program's time, where layers alone are asked for */
/* What PyTorch takes to tell of an operator, and of a node of the backward pass, whose name it makes anew: the least that was seen on an
 * EPYC of 2021 with PyTorch 2.12 and 2.15, a callback that does nothing included. */
#define PACE_OP_NS 500
#define PACE_NODE_NS 1500

struct pace {
    bool on;      /* pauses are made */
    bool blind;   /* the lengths of steps do not say what recording costs: they are launches, of which many may wait */
    double share; /* of the program's time that recording may take; 0: PACE_SHARE */
    double counted; /* what a recorded step costs at least, by what is counted in it; 0: nothing can be */
    uint32_t left;  /* steps of the burst or the pause under way */
    uint32_t place; /* so many of it have been */
    uint32_t pause; /* the latest one's length */
    struct pace_walls {
        uint64_t ns[PACE_COMPARED];
        uint32_t count; /* ever */
    } recorded, paused;
};

/* The step before number `step` took `wall_ns` and was `recorded` or not. Is `step`? */
bool pace_next(struct pace *pace, uint32_t step, bool recorded, uint64_t wall_ns);
/* A recorded step of `wall_ns` was told of so many ops and nodes. */
void pace_count(struct pace *pace, uint64_t ops, uint64_t nodes, uint64_t wall_ns);
/* By how much of an unrecorded step a recorded one is longer, measured; 0 where that is not known. */
double pace_cost(const struct pace *pace);
/* What it is taken to be. */
double pace_taken(const struct pace *pace);
bool pace_known(const struct pace *pace); /* have enough steps of either kind been seen? */
bool pace_cheap(const struct pace *pace); /* then bursts are so long that all steps but one in PACE_EVERY are in them */
