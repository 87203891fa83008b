#include "worker/perf_events.h"
#include "base/system.h"
#include "base/unknown.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct group {
    int fd[COUNTERS_PER_KERNEL];    /* −1: not opened; the first that is open leads */
    int place[COUNTERS_PER_KERNEL]; /* its place in what a read of the leader gives */
    int leader, count;
    int error; /* errno of the event that failed first */
    struct perf_event_mmap_page *page[COUNTERS_PER_KERNEL];
};

struct counters {
    struct counters_calls calls;
    enum counters_tier tier;
    int threads;
    char reason[256];
    counters_each_thread *each_thread; /* the system's */
    struct group groups[COUNTERS_MAX_THREADS];
};

const char *counters_tier_name(enum counters_tier tier)
{
    static const char *const names[] = {"rdpmc", "read(2)", "software events", "clock only"};
    return names[tier];
}

enum counters_tier counters_tier(const struct counters *counters)
{
    return counters->tier;
}

const char *counters_reason(const struct counters *counters)
{
    return counters->reason;
}

const char *const *counters_names(const struct counters *counters)
{
    static const char *const hardware[COUNTERS_PER_KERNEL] = {"cycles", "instructions", "cache_misses", "page_faults"};
    static const char *const software[COUNTERS_PER_KERNEL] = {"task_clock_ns", "page_faults", "context_switches",
                                                              "migrations"};
    static const char *const none[COUNTERS_PER_KERNEL] = {NULL};
    return counters->tier == TIER_CLOCK ? none : counters->tier == TIER_SOFTWARE ? software : hardware;
}

int counters_threads(const struct counters *counters)
{
    return counters->tier == TIER_CLOCK ? 0 : counters->threads;
}

#ifdef SYSTEM_LINUX
#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

struct event {
    uint32_t type;
    uint64_t config;
    bool needs_kernel; /* happens in the kernel alone: counted there or not at all */
};

static const struct event hardware_events[COUNTERS_PER_KERNEL] = {
    {PERF_TYPE_HARDWARE, PERF_COUNT_HW_CPU_CYCLES, false},
    {PERF_TYPE_HARDWARE, PERF_COUNT_HW_INSTRUCTIONS, false},
    {PERF_TYPE_HARDWARE, PERF_COUNT_HW_CACHE_MISSES, false},
    {PERF_TYPE_SOFTWARE, PERF_COUNT_SW_PAGE_FAULTS, false},
};
static const struct event software_events[COUNTERS_PER_KERNEL] = {
    {PERF_TYPE_SOFTWARE, PERF_COUNT_SW_TASK_CLOCK, false},
    {PERF_TYPE_SOFTWARE, PERF_COUNT_SW_PAGE_FAULTS, false},
    {PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CONTEXT_SWITCHES, true},
    {PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CPU_MIGRATIONS, true},
};

static int system_open(void *context, struct perf_event_attr *attr, int group)
{
    (void)context;
    const long fd = syscall(SYS_perf_event_open, attr, 0, -1, group, PERF_FLAG_FD_CLOEXEC);
    return fd < 0 ? -errno : (int)fd;
}

static void system_enable(void *context, int leader)
{
    (void)context;
    ioctl(leader, PERF_EVENT_IOC_ENABLE, PERF_IOC_FLAG_GROUP);
}

static ssize_t system_read(void *context, int fd, void *bytes, size_t size)
{
    (void)context;
    return read(fd, bytes, size);
}

static struct perf_event_mmap_page *system_map(void *context, int fd)
{
    (void)context;
    void *page = mmap(NULL, (size_t)sysconf(_SC_PAGESIZE), PROT_READ, MAP_SHARED, fd, 0);
    return page == MAP_FAILED ? NULL : page;
}

static void system_unmap(void *context, struct perf_event_mmap_page *page)
{
    (void)context;
    munmap(page, (size_t)sysconf(_SC_PAGESIZE));
}

static void system_close(void *context, int fd)
{
    (void)context;
    close(fd);
}

#ifdef __x86_64__
static uint64_t system_rdpmc(void *context, uint32_t counter)
{
    (void)context;
    return __builtin_ia32_rdpmc((int)counter);
}
#define SYSTEM_RDPMC system_rdpmc
#else
#define SYSTEM_RDPMC NULL
#endif

static void system_each_thread(void *context, int threads, void (*body)(void *argument, int thread), void *argument)
{
    ((const struct counters *)context)->each_thread(threads, body, argument);
}

static const struct counters_calls system_calls = {
    .open = system_open,
    .enable = system_enable,
    .read = system_read,
    .map = system_map,
    .unmap = system_unmap,
    .rdpmc = SYSTEM_RDPMC,
    .close = system_close,
    .each_thread = system_each_thread,
};

static void group_close(const struct counters_calls *calls, struct group *group)
{
    /* The leader goes last: closing it first would leave the others on their own. */
    for (int i = COUNTERS_PER_KERNEL - 1; i >= 0; i--) {
        if (group->page[i])
            calls->unmap(calls->context, group->page[i]);
        if (group->fd[i] >= 0)
            calls->close(calls->context, group->fd[i]);
        group->page[i] = NULL;
        group->fd[i] = -1;
    }
    group->count = 0;
}

/* Opens the events for the calling thread as one group. An event that is not here is left out; the first must be. */
static bool group_open(const struct counters_calls *calls, const struct event *events, bool in_kernel,
                       struct group *group)
{
    *group = (struct group){.fd = {-1, -1, -1, -1}, .leader = -1};
    for (int i = 0; i < COUNTERS_PER_KERNEL; i++) {
        if (events[i].needs_kernel && !in_kernel)
            continue;
        struct perf_event_attr attr = {
            .type = events[i].type,
            .size = sizeof attr,
            .config = events[i].config,
            .read_format = PERF_FORMAT_GROUP | PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING,
            .exclude_kernel = !in_kernel,
            .exclude_hv = 1,
            /* An event that joins a group which is on already may stay off until the next context switch (seen with page
             * faults behind the task clock on Linux 6.18): the group is switched on when it is whole. */
            .disabled = group->leader < 0,
        };
        const int fd = calls->open(calls->context, &attr, group->leader);
        if (fd < 0 && !group->error)
            group->error = -fd;
        if (fd < 0 && i == 0)
            return false;
        if (fd < 0)
            continue;
        if (group->leader < 0)
            group->leader = fd;
        group->fd[i] = fd;
        group->place[i] = group->count++;
    }
    calls->enable(calls->context, group->leader);
    return true;
}

struct opening {
    struct counters *counters;
    const struct event *events;
    bool in_kernel, opened[COUNTERS_MAX_THREADS];
};

static void open_on_thread(void *argument, int thread)
{
    struct opening *opening = argument;
    opening->opened[thread] =
        group_open(&opening->counters->calls, opening->events, opening->in_kernel, &opening->counters->groups[thread]);
}

/* One group on every counted thread, or none: *error is that of the first event that failed. */
static bool open_groups(struct counters *counters, const struct event *events, bool in_kernel, int *error)
{
    struct opening opening = {counters, events, in_kernel, {false}};
    for (int i = 0; i < counters->threads; i++)
        counters->groups[i] = (struct group){.fd = {-1, -1, -1, -1}, .leader = -1};
    counters->calls.each_thread(counters->calls.context, counters->threads, open_on_thread, &opening);
    bool all = true;
    *error = 0;
    for (int i = 0; i < counters->threads; i++) {
        all = all && opening.opened[i];
        if (!*error)
            *error = counters->groups[i].error;
    }
    for (int i = 0; !all && i < counters->threads; i++)
        group_close(&counters->calls, &counters->groups[i]);
    return all;
}

static const char *absence(int error)
{
    switch (error) {
    case ENOENT:
    case EOPNOTSUPP:
    case ENXIO:
    case ENODEV:
        return "this processor or virtual machine does not offer them";
    case EACCES:
    case EPERM:
        return "not permitted (kernel.perf_event_paranoid, or a container's rules)";
    case ENOSYS:
        return "this kernel has no perf events";
    case EMFILE:
    case ENFILE:
        return "too many open files";
    default:
        return strerror(error);
    }
}

/* Whether the calling thread's counters may be read in user space. The kernel can take this back at any time, so every
 * read looks again. */
static bool map_pages(struct counters *counters)
{
    struct group *group = &counters->groups[0];
    if (!counters->calls.rdpmc)
        return false;
    bool any = false;
    for (int i = 0; i < 3; i++) {
        if (group->fd[i] < 0)
            continue;
        group->page[i] = counters->calls.map(counters->calls.context, group->fd[i]);
        if (!group->page[i] || !group->page[i]->cap_user_rdpmc || !group->page[i]->index)
            return false;
        any = true;
    }
    return any;
}

struct counters *counters_open(int threads, counters_each_thread *each_thread, const struct counters_calls *calls)
{
    struct counters *counters = calloc(1, sizeof *counters);
    if (!counters)
        return NULL;
    counters->calls = calls ? *calls : system_calls;
    counters->each_thread = each_thread;
    if (!calls)
        counters->calls.context = counters;
    counters->threads = threads < 1 || threads > COUNTERS_MAX_THREADS ? 1 : threads;
    int error;
    if (open_groups(counters, hardware_events, false, &error)) {
        counters->tier = map_pages(counters) ? TIER_RDPMC : TIER_READ;
        if (counters->tier == TIER_READ)
            snprintf(counters->reason, sizeof counters->reason, "the kernel does not let user space read the counters");
        return counters;
    }
    char why[128];
    snprintf(why, sizeof why, "hardware events: %s", absence(error));
    /* Context switches and migrations happen in the kernel, so it is asked for first; where it is refused they are left
     * unknown rather than zero. */
    if (open_groups(counters, software_events, true, &error)) {
        counters->tier = TIER_SOFTWARE;
        snprintf(counters->reason, sizeof counters->reason, "%s", why);
    } else if (open_groups(counters, software_events, false, &error)) {
        counters->tier = TIER_SOFTWARE;
        snprintf(counters->reason, sizeof counters->reason, "%s; switches and migrations: %s", why, absence(EACCES));
    } else {
        counters->tier = TIER_CLOCK;
        snprintf(counters->reason, sizeof counters->reason, "%s; software events: %s", why, absence(error));
    }
    return counters;
}

void counters_close(struct counters *counters)
{
    if (!counters)
        return;
    for (int i = 0; counters->tier != TIER_CLOCK && i < counters->threads; i++)
        group_close(&counters->calls, &counters->groups[i]);
    free(counters);
}

/* The kernel changes the page on this very processor, so that only the compiler could put the reads out of order. */
static inline void compiler_barrier(void)
{
    __asm__ volatile("" ::: "memory");
}

/* One counter in user space: the page's sequence lock tells whether the kernel moved it meanwhile, and index 0 that it is
 * not on the processor now (perf_event.h's own recipe). False: only the system call can tell. */
static bool read_page(const struct counters *counters, const struct perf_event_mmap_page *page, uint64_t *value)
{
    const volatile struct perf_event_mmap_page *shared = page;
    uint32_t sequence;
    do {
        sequence = shared->lock;
        compiler_barrier();
        const uint32_t index = shared->index;
        if (!shared->cap_user_rdpmc || !index || shared->time_enabled != shared->time_running)
            return false; /* a shared counter is scaled by times that only the kernel has exactly */
        const unsigned unused = 64 - shared->pmc_width;
        const uint64_t raw = counters->calls.rdpmc(counters->calls.context, index - 1);
        *value = (uint64_t)shared->offset + (uint64_t)((int64_t)(raw << unused) >> unused);
        compiler_barrier();
    } while (shared->lock != sequence);
    return true;
}

static bool read_pages(const struct counters *counters, const struct group *group, uint64_t values[COUNTERS_PER_KERNEL])
{
    for (int i = 0; i < 3; i++)
        if (group->fd[i] >= 0 && !read_page(counters, group->page[i], &values[i]))
            return false;
    return true;
}

static bool read_group(const struct counters *counters, const struct group *group, uint64_t values[COUNTERS_PER_KERNEL],
                       bool *scaled)
{
    struct {
        uint64_t count, enabled, running, values[COUNTERS_PER_KERNEL];
    } got;
    const ssize_t length = counters->calls.read(counters->calls.context, group->leader, &got, sizeof got);
    if (length < (ssize_t)(3 * sizeof(uint64_t)) || got.count != (uint64_t)group->count || !got.running)
        return false;
    for (int i = 0; i < COUNTERS_PER_KERNEL; i++) {
        if (group->fd[i] < 0)
            continue;
        values[i] = got.values[group->place[i]];
        if (got.running < got.enabled) {
            values[i] = (uint64_t)((double)values[i] * ((double)got.enabled / (double)got.running));
            *scaled = true;
        }
    }
    return true;
}

bool counters_read(struct counters *counters, uint64_t values[COUNTERS_PER_KERNEL], bool *scaled)
{
    *scaled = false;
    for (int i = 0; i < COUNTERS_PER_KERNEL; i++)
        values[i] = UNKNOWN_U64;
    if (counters->tier == TIER_CLOCK)
        return false;
    for (int thread = 0; thread < counters->threads; thread++) {
        uint64_t own[COUNTERS_PER_KERNEL] = {UNKNOWN_U64, UNKNOWN_U64, UNKNOWN_U64, UNKNOWN_U64};
        const struct group *group = &counters->groups[thread];
        /* rdpmc reads the processor that it runs on: for the calling thread alone. */
        const bool in_user_space = counters->tier == TIER_RDPMC && thread == 0 && read_pages(counters, group, own);
        if (!in_user_space && !read_group(counters, group, own, scaled))
            return false;
        for (int i = 0; i < COUNTERS_PER_KERNEL; i++) {
            /* A sum is known where every thread's part is. */
            if (thread == 0)
                values[i] = own[i];
            else
                values[i] = values[i] == UNKNOWN_U64 || own[i] == UNKNOWN_U64 ? UNKNOWN_U64 : values[i] + own[i];
        }
        if (in_user_space)
            values[3] = UNKNOWN_U64; /* page faults are counted by the kernel, and it was not asked */
    }
    return true;
}

#else /* no perf events outside Linux */

struct counters *counters_open(int threads, counters_each_thread *each_thread, const struct counters_calls *calls)
{
    (void)threads;
    (void)calls, (void)each_thread;
    struct counters *counters = calloc(1, sizeof *counters);
    if (counters) {
        counters->tier = TIER_CLOCK;
        snprintf(counters->reason, sizeof counters->reason, "this system has no perf events");
    }
    return counters;
}

void counters_close(struct counters *counters)
{
    free(counters);
}

bool counters_read(struct counters *counters, uint64_t values[COUNTERS_PER_KERNEL], bool *scaled)
{
    (void)counters;
    *scaled = false;
    for (int i = 0; i < COUNTERS_PER_KERNEL; i++)
        values[i] = UNKNOWN_U64;
    return false;
}
#endif
