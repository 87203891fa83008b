#include "base/cgroup.h"
#include "base/unknown.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MEMBERSHIP "/proc/self/cgroup"
#define MOUNT "/sys/fs/cgroup"
#define NO_LIMIT ((uint64_t)1 << 62) /* version 1 writes its largest number of pages where there is none */

/* The names of the two versions' files. */
struct version {
    const char *limit, *usage, *cache, *events;
};
static const struct version versions[2] = {
    {"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file", "memory.oom_control"},
    {"memory.max", "memory.current", "inactive_file", "memory.events"},
};

/* Opens folder/name. */
static FILE *group_file(const char *folder, const char *name)
{
    char path[4600];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return fopen(path, "re");
}

/* The number in folder/name: the file's own, or that after `key` at the start of a line. */
static uint64_t number_in(const char *folder, const char *name, const char *key)
{
    char line[256];
    FILE *file = group_file(folder, name);
    if (!file)
        return UNKNOWN_U64;
    const size_t length = key ? strlen(key) : 0;
    uint64_t value = UNKNOWN_U64;
    while (value == UNKNOWN_U64 && fgets(line, sizeof line, file)) {
        char *end;
        if (length && (strncmp(line, key, length) != 0 || line[length] != ' '))
            continue;
        const unsigned long long number = strtoull(line + length, &end, 10);
        if (end != line + length) /* not "max" */
            value = number;
    }
    fclose(file);
    return value;
}

/* Is `name` one of a comma list? */
static bool listed(const char *list, const char *name)
{
    const size_t length = strlen(name);
    for (const char *at = list; at; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, name, length) == 0 && (at[length] == ',' || !at[length]))
            return true;
    }
    return false;
}

/* This process's group of one controller. */
struct group {
    int version; /* 1 or 2; 0: in none that counts it */
    char path[4300];
    size_t mounted; /* how much of the path is the mount point */
};

/* False: in none. */
static bool group_find(const char *membership, const char *mount, const char *controller, struct group *group)
{
    group->version = 0;
    FILE *file = fopen(membership, "re");
    if (!file)
        return false;
    char line[4200];
    while (fgets(line, sizeof line, file)) { /* number:controllers:path */
        line[strcspn(line, "\n")] = 0;
        char *controllers = strchr(line, ':'), *own = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!own)
            continue;
        *controllers++ = *own++ = 0;
        const bool one = listed(controllers, controller), two = !*controllers;
        if (!one && (!two || group->version)) /* with both mounted, what version 1 counts is version 1's */
            continue;
        group->version = two ? 2 : 1;
        /* Where its tree is mounted: version 1 by the list of its controllers or by the one; version 2 in a folder of its own
         * beside version 1, or instead of it. */
        const char *const folders[2] = {two ? "/unified" : controllers - 1, two ? "" : controller};
        controllers[-1] = '/';
        for (int i = 0; i < 2; i++) {
            group->mounted = (size_t)snprintf(group->path, sizeof group->path, "%s%s%s", mount,
                                              folders[i][0] && folders[i][0] != '/' ? "/" : "", folders[i]);
            if (access(group->path, F_OK) == 0)
                break;
        }
        if (group->mounted < sizeof group->path)
            snprintf(group->path + group->mounted, sizeof group->path - group->mounted, "%s",
                     strcmp(own, "/") == 0 ? "" : own);
    }
    fclose(file);
    return group->version != 0;
}

/* To the group above; false at the mount point. Each group on the way may have a limit. Inside a container the path may be the
 * host's and not be there, but for the mount point. */
static bool group_up(struct group *group)
{
    char *slash = strrchr(group->path, '/');
    if (!slash || (size_t)(slash - group->path) < group->mounted)
        return false;
    *slash = 0;
    return true;
}

uint64_t cgroup_memory_left_at(const char *membership, const char *mount)
{
    struct group group;
    uint64_t least = UNKNOWN_U64;
    for (bool in = group_find(membership, mount, "memory", &group); in; in = group_up(&group)) {
        const struct version *version = &versions[group.version - 1];
        const uint64_t limit = number_in(group.path, version->limit, NULL),
                       usage = number_in(group.path, version->usage, NULL);
        const uint64_t cache = number_in(group.path, "memory.stat", version->cache);
        if (is_known_u64(usage) && limit < NO_LIMIT) {
            const uint64_t used = usage - (is_known_u64(cache) && cache < usage ? cache : 0);
            const uint64_t left = limit > used ? limit - used : 0;
            least = left < least ? left : least;
        }
    }
    return least;
}

uint64_t cgroup_memory_left(void)
{
    return cgroup_memory_left_at(MEMBERSHIP, MOUNT);
}

uint64_t cgroup_processes_at(const char *membership, const char *mount)
{
    struct group group;
    uint64_t least = UNKNOWN_U64;
    for (bool in = group_find(membership, mount, "pids", &group); in; in = group_up(&group)) {
        const uint64_t limit = number_in(group.path, "pids.max", NULL); /* "max" is none */
        least = limit < least ? limit : least;
    }
    return least;
}

uint64_t cgroup_processes(void)
{
    return cgroup_processes_at(MEMBERSHIP, MOUNT);
}

/* Processors that one group may keep busy; NaN without a limit. */
static double group_quota(const struct group *group)
{
    double quota = UNKNOWN_DOUBLE;
    if (group->version == 1) {
        const uint64_t microseconds = number_in(group->path, "cpu.cfs_quota_us", NULL);
        const uint64_t period = number_in(group->path, "cpu.cfs_period_us", NULL);
        /* −1 is no limit, and reads as a number beyond any. */
        if (microseconds < NO_LIMIT && is_known_u64(period) && period)
            quota = (double)microseconds / (double)period;
        return quota;
    }
    FILE *file = group_file(group->path, "cpu.max"); /* "max 100000", "150000 100000" */
    double microseconds, period;
    if (file && fscanf(file, "%lf %lf", &microseconds, &period) == 2 && microseconds > 0 && period > 0)
        quota = microseconds / period;
    if (file)
        fclose(file);
    return quota;
}

double cgroup_processors_at(const char *membership, const char *mount)
{
    struct group group;
    double least = UNKNOWN_DOUBLE;
    for (bool in = group_find(membership, mount, "cpu", &group); in; in = group_up(&group)) {
        const double quota = group_quota(&group);
        if (is_known(quota) && !(least <= quota))
            least = quota;
    }
    return least;
}

uint64_t cgroup_throttled_ns_at(const char *membership, const char *mount)
{
    struct group group;
    uint64_t most = UNKNOWN_U64;
    for (bool in = group_find(membership, mount, "cpu", &group); in; in = group_up(&group)) {
        uint64_t ns = number_in(group.path, "cpu.stat", group.version == 2 ? "throttled_usec" : "throttled_time");
        if (is_known_u64(ns) && group.version == 2)
            ns *= 1000;
        if (is_known_u64(ns) && (!is_known_u64(most) || ns > most))
            most = ns;
    }
    return most;
}

uint64_t cgroup_throttled_ns(void)
{
    return cgroup_throttled_ns_at(MEMBERSHIP, MOUNT);
}

double cgroup_processors(void)
{
    return cgroup_processors_at(MEMBERSHIP, MOUNT);
}

/* Version 1's own state counts, which the groups above give it; version 2, which may be there beside it and freeze as well, says it
 * among its events. */
bool cgroup_frozen_at(const char *membership, const char *mount)
{
    struct group group;
    group_find(membership, mount, "", &group); /* that of no controller is version 2's */
    if (group.version == 2 && number_in(group.path, "cgroup.events", "frozen") == 1)
        return true;
    group_find(membership, mount, "freezer", &group);
    if (group.version == 2)
        return false;
    char state[16] = "";
    FILE *file = group.version ? group_file(group.path, "freezer.state") : NULL;
    if (file && !fgets(state, sizeof state, file))
        state[0] = 0;
    if (file)
        fclose(file);
    return strncmp(state, "FR", 2) == 0; /* FROZEN, FREEZING */
}

bool cgroup_frozen(const char *membership)
{
    return cgroup_frozen_at(membership, MOUNT);
}

uint64_t cgroup_out_of_memory_kills(void)
{
    struct group group;
    group_find(MEMBERSHIP, MOUNT, "memory", &group);
    if (!group.version)
        return UNKNOWN_U64;
    const char *events = versions[group.version - 1].events;
    const uint64_t own = number_in(group.path, events, "oom_kill");
    group.path[group.mounted] = 0;
    return is_known_u64(own) ? own : number_in(group.path, events, "oom_kill");
}
