/* What the control group of this process leaves it: Linux's versions 1 and 2, its own group and all those above. Elsewhere, and
 * without a limit, unknown. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

uint64_t cgroup_memory_left(void); /* bytes until the nearest limit; file cache that can be dropped counts as left */
uint64_t cgroup_out_of_memory_kills(void); /* processes of the group that the kernel killed for memory so far */
double cgroup_processors(void);            /* how many the group may keep busy: 1.5; NaN */

uint64_t cgroup_processes(void); /* the least pids.max: processes and threads that there may be */

/* ns that the quota kept the group from running so far, the worst of it and those above it, summed over processors; unknown
 * where there is no such count. */
uint64_t cgroup_throttled_ns(void);

/* Is the group frozen whose membership file this is (/proc/PID/cgroup)? */
bool cgroup_frozen(const char *membership);

/* The same for any membership file and mount point; for tests. */
uint64_t cgroup_memory_left_at(const char *membership, const char *mount);
bool cgroup_frozen_at(const char *membership, const char *mount);
uint64_t cgroup_throttled_ns_at(const char *membership, const char *mount);
uint64_t cgroup_processes_at(const char *membership, const char *mount);
double cgroup_processors_at(const char *membership, const char *mount);
