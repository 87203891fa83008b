/* How many processors this process may keep busy: those of its affinity mask, and no more than the quota of its control group. */
#pragma once
#include "base/system.h"
#include <stdbool.h>
#include <stddef.h>
#ifdef SYSTEM_LINUX
#include <sched.h>
#endif

struct processors {
    int affinity; /* in the mask, or all that are online where there is none */
    double quota; /* of the control groups, 1.5; NaN: no limit */
    int allowed;  /* the lesser, in whole ones; at least 1 */
};

struct processors processors_allowed(void);
/* "1: control group's quota of 1.00 of 2 processors" */
void processors_text(const struct processors *processors, char *text, size_t size);

/* Cores of their own that the processors of this process's mask are, as the kernel tells which of them share one; 0: cannot be known, as
 * in a virtual machine that tells of none, where they may be threads of a core all the same. `root`: of /proc and /sys; "" but in tests. */
int processors_cores(const char *root);

/* Which of the first `most` processors are in this process's mask, and how many these are; 0: there is no mask that could be read. */
int processors_bound(bool *bound, int most);

/* For tests. */
struct processors processors_of(int affinity, double quota);
#ifdef SYSTEM_LINUX
/* Processors in the mask that `get` gives, which fails with EINVAL while the set is smaller than its own; 0: it has none. */
int processors_in_mask(int (*get)(size_t bytes, cpu_set_t *set));
#endif
