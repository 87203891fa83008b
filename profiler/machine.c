#include "profiler/machine.h"
#include "base/cgroup.h"
#include "base/processors.h"
#include "base/unknown.h"
#include "base/vec.h"
#include <dirent.h>
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

/* The process time of a living process and of those of its children that have ended, ns; 0: it is gone. */
static uint64_t process_ns(int pid, uint64_t tick)
{
    char path[40], line[1024];
    unsigned long long t[4];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "re");
    const bool got = file && fgets(line, sizeof line, file);
    if (file)
        fclose(file);
    const char *end = got ? strrchr(line, ')') : NULL; /* the name before it may hold anything */
    if (!end || sscanf(end + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %llu %llu", &t[0], &t[1], &t[2],
                       &t[3]) != 4)
        return 0;
    return (t[0] + t[1] + t[2] + t[3]) * tick;
}

typedef VEC(int) pids;

/* The living children of a process, whichever of its threads has started them. False: the system does not tell. */
static bool add_children(pids *list, int pid)
{
    char path[80];
    bool told = false;
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *folder = opendir(path);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        const int thread = atoi(entry->d_name);
        snprintf(path, sizeof path, "/proc/%d/task/%d/children", pid, thread);
        FILE *file = thread ? fopen(path, "re") : NULL;
        told |= file != NULL;
        for (int child; file && fscanf(file, "%d", &child) == 1;)
            vec_push(list, child);
        if (file)
            fclose(file);
    }
    if (folder)
        closedir(folder);
    return told;
}

#define LIVING_MOST 4096

/* Each before its children: one that ends meanwhile is missed for this look, and none is counted twice. */
static uint64_t living_ns(long hertz)
{
    pids list = {0};
    uint64_t ns = 0;
    bool told = hertz > 0 && add_children(&list, (int)getpid());
    for (size_t i = 0; told && i < list.count; i++) {
        ns += process_ns(list.items[i], 1000000000u / (uint64_t)hertz);
        add_children(&list, list.items[i]);
        told = list.count <= LIVING_MOST;
    }
    vec_release(&list);
    return told ? ns : UNKNOWN_U64;
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
    const long hertz = sysconf(_SC_CLK_TCK);
    *look = (struct machine_look){UNKNOWN_U64, UNKNOWN_U64, UNKNOWN_U64, UNKNOWN_U64, own_ns(), 0, 0, 0};
    look->living = living_ns(hertz);
    look->throttled = cgroup_throttled_ns();
    FILE *file = fopen("/proc/stat", "re");
    if (!file)
        return;
    machine_read(look, file, hertz, processors_bound(bound, count) ? bound : NULL, count);
    fclose(file);
}

static double share(uint64_t before, uint64_t now, double whole)
{
    if (!is_known_u64(before) || !is_known_u64(now) || now < before || !(whole > 0)) /* the host's counts may go back */
        return UNKNOWN_DOUBLE;
    return fmin(1, (double)(now - before) / whole);
}

static uint64_t all_own(const struct machine_look *look)
{
    return is_known_u64(look->own) && is_known_u64(look->living) ? look->own + look->living : UNKNOWN_U64;
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
    const double busy = share(before->busy, now->busy, whole), own = share(all_own(before), all_own(now), whole);
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
