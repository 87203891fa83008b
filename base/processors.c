#include "base/processors.h"
#include "base/cgroup.h"
#include "base/system.h"
#include "base/unknown.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#ifdef SYSTEM_LINUX
#include <sched.h>
#endif

#define MASK_LARGEST (1 << 22) /* processors: beyond any kernel's */

static int online(void)
{
    const long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count > 0 ? (int)count : 1;
}

#ifdef SYSTEM_LINUX
static int system_mask(size_t bytes, cpu_set_t *set)
{
    return sched_getaffinity(0, bytes, set);
}

int processors_in_mask(int (*get)(size_t bytes, cpu_set_t *set))
{
    /* The kernel refuses a mask that is smaller than its own, whose size it does not tell. */
    for (int room = 1024; room <= MASK_LARGEST; room *= 2) {
        cpu_set_t *set = CPU_ALLOC((size_t)room);
        const size_t bytes = CPU_ALLOC_SIZE((size_t)room);
        if (!set)
            return 0;
        CPU_ZERO_S(bytes, set);
        const bool got = get(bytes, set) == 0;
        const int reason = errno, count = got ? CPU_COUNT_S(bytes, set) : 0;
        CPU_FREE(set);
        if (got)
            return count;
        if (reason != EINVAL)
            return 0;
    }
    return 0;
}
#endif

static int in_mask(void)
{
#ifdef SYSTEM_LINUX
    const int count = processors_in_mask(system_mask);
    if (count > 0)
        return count;
#endif
    return online();
}

struct processors processors_of(int affinity, double quota)
{
    struct processors processors = {.affinity = affinity, .quota = quota, .allowed = affinity};
    /* Whole processors: one thread more than the quota feeds is stopped for a part of every period, and all wait for it. */
    if (is_known(quota) && quota < affinity)
        processors.allowed = quota < 1 ? 1 : (int)quota;
    if (processors.allowed < 1)
        processors.allowed = 1;
    return processors;
}

struct processors processors_allowed(void)
{
    return processors_of(in_mask(), cgroup_processors());
}

#ifdef SYSTEM_LINUX
static bool is_virtual(const char *root)
{
    char line[8192], path[512];
    bool found = false;
    snprintf(path, sizeof path, "%s/proc/cpuinfo", root);
    FILE *file = fopen(path, "re");
    while (file && !found && fgets(line, sizeof line, file))
        found = strncmp(line, "flags", 5) == 0 && strstr(line, " hypervisor");
    if (file)
        fclose(file);
    return found;
}

/* The first of the processors that share a core with `cpu`; *alone: there is no other. −1: not told. */
static int first_of_core(const char *root, int cpu, bool *alone)
{
    char path[512], text[256] = "";
    int first = -1;
    snprintf(path, sizeof path, "%s/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", root, cpu);
    FILE *file = fopen(path, "re");
    if (file && fgets(text, sizeof text, file) && sscanf(text, "%d", &first) != 1)
        first = -1;
    *alone = !strpbrk(text, ",-");
    if (file)
        fclose(file);
    return first;
}
#endif

int processors_cores(const char *root)
{
#ifdef SYSTEM_LINUX
    cpu_set_t mask, firsts;
    bool alone = true, single;
    CPU_ZERO(&firsts);
    if (sched_getaffinity(0, sizeof mask, &mask) != 0)
        return 0;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &mask))
            continue;
        const int first = first_of_core(root, cpu, &single);
        if (first < 0 || first >= CPU_SETSIZE)
            return 0;
        CPU_SET(first, &firsts);
        alone = alone && single;
    }
    return alone && is_virtual(root) ? 0 : CPU_COUNT(&firsts);
#else
    (void)root;
    return 0;
#endif
}

int processors_bound(bool *bound, int most)
{
    int count = 0;
    memset(bound, 0, (size_t)most * sizeof *bound);
#ifdef SYSTEM_LINUX
    cpu_set_t mask;
    if (sched_getaffinity(0, sizeof mask, &mask) != 0)
        return 0;
    for (int cpu = 0; cpu < most && cpu < CPU_SETSIZE; cpu++) {
        bound[cpu] = CPU_ISSET(cpu, &mask);
        count += bound[cpu];
    }
#endif
    return count;
}

void processors_text(const struct processors *processors, char *text, size_t size)
{
    if (processors->allowed >= processors->affinity)
        snprintf(text, size, "%d: all processors that this process may use", processors->allowed);
    else
        snprintf(text, size, "%d: control group's quota of %.2f of %d processors", processors->allowed,
                 processors->quota, processors->affinity);
}
