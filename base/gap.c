#include "base/gap.h"
#include "base/clock.h"

#define GAP_NS 400000000u /* a busy machine keeps a thread that slept waiting for less */
#define SLEPT_NS 50000000u

static uint64_t read_clock(clockid_t id)
{
    struct timespec time;
    return clock_gettime(id, &time) == 0 ? (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec : 0;
}

bool gap_is(uint64_t passed, uint64_t used, uint64_t slept, bool continued)
{
    return continued || slept > SLEPT_NS || (passed > GAP_NS && used < passed / 8);
}

static void read_clocks(struct gap_clocks *clocks)
{
    clocks->looked = clock_now();
    clocks->used = read_clock(CLOCK_PROCESS_CPUTIME_ID);
    clocks->slept = 0;
#ifdef CLOCK_BOOTTIME
    const uint64_t boot = read_clock(CLOCK_BOOTTIME);
    clocks->slept = boot > clocks->looked ? boot - clocks->looked : 0;
#endif
}

void gap_begin(struct gap_clocks *clocks)
{
    read_clocks(clocks);
}

uint64_t gap_look(struct gap_clocks *clocks, bool continued, uint64_t *start, uint64_t *end)
{
    const struct gap_clocks before = *clocks;
    read_clocks(clocks);
    const uint64_t passed = clocks->looked - before.looked;
    const uint64_t asleep = clocks->slept > before.slept ? clocks->slept - before.slept : 0;
    *start = before.looked;
    *end = clocks->looked;
    return gap_is(passed, clocks->used - before.used, asleep, continued) ? passed + asleep : 0;
}
