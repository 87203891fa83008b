#include "profiler/machine.h"
#include "base/cgroup.h"
#include "base/processors.h"
#include "base/unknown.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static uint64_t time_ns(struct timeval time)
{
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_usec * 1000u;
}

static uint64_t own_ns(void)
{
    struct rusage own, children;
    if (getrusage(RUSAGE_SELF, &own) != 0 || getrusage(RUSAGE_CHILDREN, &children) != 0)
        return UNKNOWN_U64;
    return time_ns(own.ru_utime) + time_ns(own.ru_stime) + time_ns(children.ru_utime) + time_ns(children.ru_stime);
}

/* user, nice, system, idle, iowait, irq, softirq, steal; what guests use is in user and nice already. */
static bool add_line(struct machine_look *look, const char *counts, uint64_t tick)
{
    unsigned long long t[8];
    if (sscanf(counts, "%llu %llu %llu %llu %llu %llu %llu %llu", &t[0], &t[1], &t[2], &t[3], &t[4], &t[5], &t[6],
               &t[7]) != 8)
        return false;
    look->busy += (t[0] + t[1] + t[2] + t[5] + t[6]) * tick;
    look->idle += (t[3] + t[4]) * tick;
    look->steal += t[7] * tick;
    look->total = look->busy + look->idle + look->steal;
    look->processors++;
    return true;
}

bool machine_read(struct machine_look *look, FILE *stat, long hertz, const bool *bound, int count)
{
    char line[512];
    struct machine_look all = {0}, ours = {0};
    if (hertz <= 0)
        return false;
    const uint64_t tick = 1000000000u / (uint64_t)hertz;
    int processors = 0; /* a line each, those that are off have none */
    while (fgets(line, sizeof line, stat) && strncmp(line, "cpu", 3) == 0) {
        char *counts = line + 3;
        if (*counts == ' ') {
            if (!add_line(&all, counts, tick))
                return false;
            continue;
        }
        const long cpu = strtol(counts, &counts, 10);
        processors++;
        if (bound && cpu >= 0 && cpu < count && bound[cpu])
            add_line(&ours, counts, tick);
    }
    all.processors = processors ? processors : (int)sysconf(_SC_NPROCESSORS_ONLN);
    const struct machine_look *told = ours.total ? &ours : &all;
    if (!told->total)
        return false;
    look->total = told->total;
    look->busy = told->busy;
    look->idle = told->idle;
    look->steal = told->steal;
    look->processors = told->processors;
    return true;
}

void machine_look(struct machine_look *look)
{
    bool bound[1024];
    const int count = (int)(sizeof bound / sizeof *bound);
    *look =
        (struct machine_look){UNKNOWN_U64, UNKNOWN_U64, UNKNOWN_U64, UNKNOWN_U64, own_ns(), cgroup_throttled_ns(), 0};
    FILE *file = fopen("/proc/stat", "re");
    if (!file)
        return;
    machine_read(look, file, sysconf(_SC_CLK_TCK), processors_bound(bound, count) ? bound : NULL, count);
    fclose(file);
}

static double share(uint64_t before, uint64_t now, double whole)
{
    if (!is_known_u64(before) || !is_known_u64(now) || now < before || !(whole > 0)) /* the host's counts may go back */
        return UNKNOWN_DOUBLE;
    return fmin(1, (double)(now - before) / whole);
}

struct machine_use machine_between(const struct machine_look *before, const struct machine_look *now, int allowed)
{
    struct machine_use use = MACHINE_UNKNOWN;
    if (!is_known_u64(before->total) || !is_known_u64(now->total) || now->total <= before->total ||
        now->processors != before->processors) /* one was switched off: the sums are of other ones */
        return use;
    const double whole = (double)(now->total - before->total);
    use.steal = share(before->steal, now->steal, whole);
    use.idle = share(before->idle, now->idle, whole);
    const double busy = share(before->busy, now->busy, whole), own = share(before->own, now->own, whole);
    if (is_known(busy) && is_known(own))
        use.others = fmax(0, busy - own);
    if (now->processors > 0 && allowed > 0)
        use.throttled = share(before->throttled, now->throttled, whole / now->processors * allowed);
    return use;
}

static double believed(double value)
{
    return value >= 0 && value <= 1 ? value : UNKNOWN_DOUBLE;
}

struct machine_use machine_believed(struct machine_use use)
{
    return (struct machine_use){believed(use.steal), believed(use.others), believed(use.idle), believed(use.throttled)};
}
