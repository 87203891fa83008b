#include "base/cgroup.h"
#include "base/unknown.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMBERSHIP "/proc/self/cgroup"
#define MOUNT "/sys/fs/cgroup"
#define NO_LIMIT ((uint64_t)1 << 62) /* version 1 writes its largest number of pages where there is none */

/* The names of the two versions' files. */
struct version {
    const char *folder, *limit, *usage, *cache, *events;
};
static const struct version versions[2] = {
    {"/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file", "memory.oom_control"},
    {"", "memory.max", "memory.current", "inactive_file", "memory.events"},
};

/* The number in folder/name: the file's own, or that after `key` at the start of a line. */
static uint64_t number_in(const char *folder, const char *name, const char *key)
{
    char path[4500], line[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "re");
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

/* The folder of this process's group, and of which version it is; NULL when it is in none that counts memory. `mounted` gets
 * the length of the part of the path that is the mount point. */
static const struct version *group_find(const char *membership, const char *mount, char *path, size_t size,
                                        size_t *mounted)
{
    FILE *file = fopen(membership, "re");
    if (!file)
        return NULL;
    const struct version *found = NULL;
    char line[4200];
    while (fgets(line, sizeof line, file)) { /* number:controllers:path */
        line[strcspn(line, "\n")] = 0;
        char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group)
            continue;
        *controllers++ = *group++ = 0;
        const bool one = strcmp(controllers, "memory") == 0, two = !*controllers;
        if (!one && (!two || found)) /* with both mounted, memory is version 1's */
            continue;
        found = &versions[two];
        *mounted = (size_t)snprintf(path, size, "%s%s", mount, found->folder);
        snprintf(path + *mounted, size - *mounted, "%s", strcmp(group, "/") == 0 ? "" : group);
    }
    fclose(file);
    return found;
}

uint64_t cgroup_memory_left_at(const char *membership, const char *mount)
{
    char path[4300];
    size_t mounted;
    uint64_t least = UNKNOWN_U64;
    const struct version *version = group_find(membership, mount, path, sizeof path, &mounted);
    /* From the own group up: each may have a limit. Inside a container the path may be the host's and not be there. */
    for (char *slash; version; *slash = 0) {
        const uint64_t limit = number_in(path, version->limit, NULL), usage = number_in(path, version->usage, NULL);
        const uint64_t cache = number_in(path, "memory.stat", version->cache);
        if (is_known_u64(usage) && limit < NO_LIMIT) {
            const uint64_t used = usage - (is_known_u64(cache) && cache < usage ? cache : 0);
            const uint64_t left = limit > used ? limit - used : 0;
            least = left < least ? left : least;
        }
        slash = strrchr(path, '/');
        if (!slash || (size_t)(slash - path) < mounted)
            break;
    }
    return least;
}

uint64_t cgroup_memory_left(void)
{
    return cgroup_memory_left_at(MEMBERSHIP, MOUNT);
}

uint64_t cgroup_out_of_memory_kills(void)
{
    char path[4300];
    size_t mounted;
    const struct version *version = group_find(MEMBERSHIP, MOUNT, path, sizeof path, &mounted);
    if (!version)
        return UNKNOWN_U64;
    const uint64_t own = number_in(path, version->events, "oom_kill");
    path[mounted] = 0;
    return is_known_u64(own) ? own : number_in(path, version->events, "oom_kill");
}
