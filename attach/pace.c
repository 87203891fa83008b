#include "attach/pace.h"

#define UNKNOWN_SPACE_NS 2000000000u /* between two bursts while it is not known what they cost: a screen shall live */

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

bool pace_known(const struct pace *pace)
{
    return !pace->blind && pace->recorded.count >= PACE_KNOWN && pace->paused.count >= PACE_KNOWN;
}

void pace_count(struct pace *pace, uint64_t ops, uint64_t nodes, uint64_t wall_ns)
{
    const double cost = (double)(ops * PACE_OP_NS + nodes * PACE_NODE_NS);
    pace->counted = wall_ns && cost > 0 ? cost / (double)wall_ns : pace->counted;
}

double pace_taken(const struct pace *pace)
{
    if (!pace_known(pace))
        return pace->counted > 0 ? pace->counted : PACE_GUESS;
    const double cost = pace_cost(pace);
    return cost > pace->counted ? cost : pace->counted;
}

static double share_of(const struct pace *pace)
{
    return pace->share > 0 ? pace->share : PACE_SHARE;
}

bool pace_cheap(const struct pace *pace)
{
    const double share = share_of(pace), cheap = share < PACE_CHEAP ? share : PACE_CHEAP;
    return (pace_known(pace) || pace->counted > 0) && pace_taken(pace) <= cheap;
}

/* A burst of b steps and a pause of p, each recorded step e longer: b·e / (b + p) is the share. Until e is known it is taken for what was
 * counted, or for what was seen of eager programs that wait for their host. */
static uint32_t pause_of(const struct pace *pace, uint64_t wall_ns)
{
    double steps = PACE_BURST * (pace_taken(pace) / share_of(pace) - 1);
    if (!pace_known(pace) && steps * (double)wall_ns > UNKNOWN_SPACE_NS)
        steps = (double)UNKNOWN_SPACE_NS / (double)wall_ns;
    if (pace_known(pace) && pace->pause) { /* not all at once by a few slow steps */
        steps = steps > 2.0 * pace->pause ? 2.0 * pace->pause : steps;
        steps = steps < 0.5 * pace->pause ? 0.5 * pace->pause : steps;
    }
    return steps <= PACE_BURST ? PACE_BURST : steps < PACE_PAUSE ? (uint32_t)(steps + 0.999) : PACE_PAUSE;
}

bool pace_next(struct pace *pace, uint32_t step, bool recorded, uint64_t wall_ns)
{
    if (!pace->on)
        return step % PACE_EVERY != 0;
    /* The first after a switch is of neither kind, and of either kind as many in a row count: what the machine does meanwhile shall weigh
     * on both. */
    if (pace->place > 0 && pace->place < PACE_BURST)
        walls_add(recorded ? &pace->recorded : &pace->paused, wall_ns);
    if (pace->left == 0)
        pace->left = pace->counted > 0 ? PACE_FIRST : PACE_BURST; /* the first of all */
    pace->place++;
    if (--pace->left)
        return recorded;
    pace->place = 0;
    if (!recorded)
        pace->left = pace_cheap(pace) ? PACE_BURST * (PACE_EVERY - 1) : PACE_BURST;
    else
        pace->left = pace->pause = pause_of(pace, wall_ns);
    return !recorded;
}
