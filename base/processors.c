#include "base/processors.h"
#include "base/cgroup.h"
#include "base/system.h"
#include "base/unknown.h"
#include <errno.h>
#include <stdio.h>
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

void processors_text(const struct processors *processors, char *text, size_t size)
{
    if (processors->allowed >= processors->affinity)
        snprintf(text, size, "%d: all processors that this process may use", processors->allowed);
    else
        snprintf(text, size, "%d: control group's quota of %.2f of %d processors", processors->allowed,
                 processors->quota, processors->affinity);
}
