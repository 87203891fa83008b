#include "attach/pace.h"

static void walls_add(struct pace_walls *walls, uint64_t ns)
{
    walls->ns[walls->count++ % PACE_COMPARED] = ns;
}

static double walls_median(const struct pace_walls *walls)
{
    uint64_t sorted[PACE_COMPARED] = {0};
    const uint32_t count = walls->count < PACE_COMPARED ? walls->count : PACE_COMPARED;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = i;
        for (; at > 0 && sorted[at - 1] > walls->ns[i]; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = walls->ns[i];
    }
    return count ? (double)sorted[count / 2] : 0;
}

double pace_cost(const struct pace *pace)
{
    const double without = walls_median(&pace->paused), with = walls_median(&pace->recorded);
    return without > 0 && with > without ? with / without - 1 : 0;
}

/* A burst of b steps and a pause of p, each recorded step e longer: b·e / (b + p) is the share. */
static uint32_t pause_of(const struct pace *pace)
{
    if (!pace->paused.count)
        return PACE_BURST;
    const double steps = PACE_BURST * (pace_cost(pace) / PACE_SHARE - 1);
    return steps <= 1 ? 1 : steps < PACE_PAUSE ? (uint32_t)(steps + 0.999) : PACE_PAUSE;
}

bool pace_next(struct pace *pace, uint32_t step, bool recorded, uint64_t wall_ns)
{
    if (!pace->on)
        return step % PACE_EVERY != 0;
    walls_add(recorded ? &pace->recorded : &pace->paused, wall_ns);
    if (pace->left == 0)
        pace->left = PACE_BURST; /* the first of all */
    if (--pace->left)
        return recorded;
    if (recorded)
        pace->left = pause_of(pace);
    else
        pace->left = pace_cost(pace) > PACE_SHARE ? PACE_BURST : PACE_EVERY - 1;
    return !recorded;
}
