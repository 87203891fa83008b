#include "base/gap.h"
#include "base/clock.h"
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define GAP_NS 400000000u /* a busy machine keeps a thread that slept waiting for less */
#define SLEPT_NS 50000000u
#define LATE_NS                                                                                                        \
    200000000u /* a thread that waits for no processor wakes when it means to, give or take a page that is read */

static uint64_t read_clock(clockid_t id)
{
    struct timespec time;
    return clock_gettime(id, &time) == 0 ? (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec : 0;
}

uint64_t patience_look(struct patience *patience)
{
    const uint64_t now = clock_now(), passed = patience->looked ? now - patience->looked : 0;
    patience->waited += passed < GAP_LOOK_NS ? passed : GAP_LOOK_NS;
    patience->looked = now;
    return patience->waited;
}

bool gap_is(uint64_t passed, uint64_t used, uint64_t slept, bool continued)
{
    return continued || slept > SLEPT_NS || (passed > GAP_NS && used < passed / 8);
}

bool gap_is_late(uint64_t passed, uint64_t interval, uint64_t waited)
{
    return passed > interval + waited + LATE_NS;
}

/* "time on a processor, time waited for one, slices", ns. All are 0 where the kernel was built with the file and does not count. */
static bool read_waited(const struct owned *schedule, uint64_t *ns)
{
    char text[96];
    unsigned long long ran, waited;
    const int fd = owned_fd(schedule);
    const ssize_t got = fd < 0 ? -1 : pread(fd, text, sizeof text - 1, 0);
    if (got <= 0)
        return false;
    text[got] = 0;
    if (sscanf(text, "%llu %llu", &ran, &waited) != 2 || !ran)
        return false;
    *ns = ran + waited; /* in neither it was stopped */
    return true;
}

static void read_clocks(struct gap_clocks *clocks)
{
    clocks->looked = clock_now();
    clocks->used = read_clock(CLOCK_PROCESS_CPUTIME_ID);
    clocks->slept = clocks->slept_most = 0;
#ifdef CLOCK_BOOTTIME
    const uint64_t before = clock_now(), boot = read_clock(CLOCK_BOOTTIME), after = clock_now();
    clocks->slept = boot > after ? boot - after : 0;
    clocks->slept_most = boot > before ? boot - before : 0;
#endif
}

void gap_begin(struct gap_clocks *clocks)
{
    *clocks = (struct gap_clocks){.schedule = OWNED_NONE};
    read_clocks(clocks);
}

void gap_begin_thread(struct gap_clocks *clocks, uint64_t interval)
{
    gap_begin(clocks);
    clocks->interval = interval;
    clocks->schedule = owned_take(open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC));
    read_waited(&clocks->schedule, &clocks->waited); /* a thread that has only just begun may have run for 0 ns */
}

void gap_end(struct gap_clocks *clocks)
{
    owned_close(&clocks->schedule);
}

uint64_t gap_look(struct gap_clocks *clocks, bool continued, uint64_t *start, uint64_t *end)
{
    const struct gap_clocks before = *clocks;
    read_clocks(clocks);
    const uint64_t passed = clocks->looked - before.looked;
    const uint64_t asleep = clocks->slept > before.slept_most ? clocks->slept - before.slept_most : 0;
    *start = before.looked;
    *end = clocks->looked;
    const bool told = clocks->interval && read_waited(&clocks->schedule, &clocks->waited);
    const bool gap =
        told ? continued || asleep > SLEPT_NS || gap_is_late(passed, clocks->interval, clocks->waited - before.waited)
             : gap_is(passed, clocks->used - before.used, asleep, continued);
    return gap ? passed + asleep : 0;
}
