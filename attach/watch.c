#include "attach/watch.h"
#include "attach/link.h"
#include "attach/stat.h"
#include "attach/where.h"
#include "base/clock.h"
#include "base/unknown.h"
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TELL_EVERY_NS 1000000000u
#define LOOK_EVERY_NS 100000000u /* at the process's memory: a hundred µs where its files have gone from the caches */
#define HISTORY 64
#define COMPUTES 0.01 /* of the process's time on a processor: a thread that uses less does not compute */
#define WATCHED_MOST 1024
#define STATES_EVERY_NS 100000000u /* at what loader workers are doing: one short file each */
#define WORKERS_MOST 32            /* that are looked at so */

/* Values over the run, evenly spaced in steps: when it is full every second one goes. */
struct history {
    uint64_t values[HISTORY];
    unsigned count, stride, seen;
};

static struct {
    pthread_mutex_t lock;
    struct program_facts facts;
    struct history resident, device;
    uint64_t looked;
    uint64_t told, states_at;    /* the link's thread's */
    pid_t workers[WORKERS_MOST]; /* as they were when it told last */
    unsigned worker_count;
    uint64_t states, waiting;  /* looks at workers in the measured steps, and how many were asleep for a disk */
    uint64_t compiled, breaks; /* of the hook's last word */
    uint64_t compiled_before;  /* when the last step ended */
    uint64_t workers_cpu, workers_disk; /* when the measured steps began */
    uint64_t allocated;                 /* now; 0: not told */
    uint64_t calls;                     /* of the first outermost module, in this step */
    int32_t root;                       /* its scope */
    bool rooted;
    _Atomic bool told_collisions;
} watch = {.lock = PTHREAD_MUTEX_INITIALIZER,
           .facts = {.threads = UNKNOWN_U64,
                     .processors = UNKNOWN_U64,
                     .batches = UNKNOWN_U64,
                     .peak_bytes = UNKNOWN_U64,
                     .room_bytes = UNKNOWN_U64}};

uint64_t watch_thread_cpu(void)
{
    struct timespec now;
    return clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) == 0
               ? (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec
               : 0;
}

static void history_add(struct history *history, uint64_t value)
{
    if (!history->stride)
        history->stride = 1;
    if (history->seen++ % history->stride != 0)
        return;
    history->values[history->count++] = value;
    if (history->count < HISTORY)
        return;
    for (unsigned i = 0; i < HISTORY / 2; i++)
        history->values[i] = history->values[2 * i];
    history->count = HISTORY / 2;
    history->stride *= 2;
}

static int ascending(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x > y ? 1 : x < y ? -1 : 0;
}

static void thirds(const struct history *history, uint64_t medians[3])
{
    const unsigned third = history->count / 3;
    for (unsigned part = 0; part < 3; part++) {
        uint64_t sorted[HISTORY];
        medians[part] = UNKNOWN_U64;
        if (!third)
            continue;
        const unsigned first = part < 2 ? part * third : history->count - third;
        memcpy(sorted, history->values + first, third * sizeof *sorted);
        qsort(sorted, third, sizeof *sorted, ascending);
        medians[part] = sorted[third / 2];
    }
}

/* What `path` holds, ended by 0; its length, 0 when there is nothing. */
static size_t contents(const char *path, char *text, size_t size)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t length = fd >= 0 ? read(fd, text, size - 1) : -1;
    if (fd >= 0)
        close(fd);
    text[length > 0 ? length : 0] = 0;
    return length > 0 ? (size_t)length : 0;
}

static uint64_t resident(void)
{
    char text[128];
    unsigned long long pages;
    return contents("/proc/self/statm", text, sizeof text) && sscanf(text, "%*u %llu", &pages) == 1
               ? pages * (uint64_t)sysconf(_SC_PAGESIZE)
               : UNKNOWN_U64;
}

/* Loader workers are forks of this process, with its command line, or say their name. */
static bool is_worker(const char *pid, const char *own, size_t own_length)
{
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%.20s/comm", pid);
    if (contents(path, text, sizeof text) && strncmp(text, "pt_data", 7) == 0)
        return true;
    snprintf(path, sizeof path, "/proc/%.20s/cmdline", pid);
    return contents(path, text, sizeof text) == own_length && memcmp(text, own, own_length) == 0;
}

/* How many there are, and their time on a processor and waiting for a disk, ns (0 where the kernel does not count it). The first
 * WORKERS_MOST of them into `pids`. */
static unsigned workers(uint64_t *cpu_ns, uint64_t *disk_ns, pid_t *pids)
{
    char path[64], children[4096], own[512], text[1024];
    unsigned count = 0;
    *cpu_ns = *disk_ns = 0;
    const long ticks = sysconf(_SC_CLK_TCK);
    const size_t own_length = contents("/proc/self/cmdline", own, sizeof own);
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *task; tasks && (task = readdir(tasks));) {
        snprintf(path, sizeof path, "/proc/self/task/%.20s/children", task->d_name);
        if (task->d_name[0] == '.' || !contents(path, children, sizeof children))
            continue;
        char *rest = NULL;
        for (char *pid = strtok_r(children, " ", &rest); pid; pid = strtok_r(NULL, " ", &rest)) {
            if (!is_worker(pid, own, own_length))
                continue;
            snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
            if (!contents(path, text, sizeof text))
                continue;
            if (count < WORKERS_MOST)
                pids[count] = (pid_t)strtol(pid, NULL, 10);
            count++;
            *cpu_ns += (stat_field(text, STAT_UTIME) + stat_field(text, STAT_STIME)) * 1000000000u / (uint64_t)ticks;
            *disk_ns += stat_field(text, STAT_DISK) * 1000000000u / (uint64_t)ticks;
        }
    }
    if (tasks)
        closedir(tasks);
    return count;
}

/* Time of a thread of this process on a processor, in ticks. */
static unsigned long long thread_ticks(const char *thread)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/self/task/%.20s/stat", thread);
    return contents(path, text, sizeof text) ? stat_field(text, STAT_UTIME) + stat_field(text, STAT_STIME) : 0;
}

/* How many processors the threads that compute may run on, together. A thread may be bound to one, and the next to another. */
static uint64_t processors(void)
{
    pid_t ids[WATCHED_MOST];
    unsigned long long ticks[WATCHED_MOST], all = 0;
    size_t count = 0;
    cpu_set_t together, mask;
    CPU_ZERO(&together);
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *task; tasks && count < WATCHED_MOST && (task = readdir(tasks));) {
        if (task->d_name[0] == '.')
            continue;
        ids[count] = (pid_t)strtol(task->d_name, NULL, 10);
        ticks[count] = thread_ticks(task->d_name);
        all += ticks[count++];
    }
    if (tasks)
        closedir(tasks);
    for (size_t i = 0; i < count; i++) {
        if (ids[i] != getpid() && !((double)ticks[i] >= COMPUTES * (double)all))
            continue;
        if (sched_getaffinity(ids[i], sizeof mask, &mask) != 0) /* gone, or more processors than the set holds */
            continue;
        CPU_OR(&together, &together, &mask);
    }
    const int found = CPU_COUNT(&together);
    return found > 0 ? (uint64_t)found : UNKNOWN_U64;
}

/* Where the workers' time stands, as far as it is of the measured steps. With the lock. */
static void count_workers(unsigned count, uint64_t cpu, uint64_t disk)
{
    struct program_facts *facts = &watch.facts;
    if (!facts->steps) {
        watch.workers_cpu = cpu;
        watch.workers_disk = disk;
        watch.states = watch.waiting = 0;
    } else if (count >= facts->loader_workers &&
               cpu >= watch.workers_cpu) { /* those that ended take their time with them */
        facts->loader_workers = count;
        facts->workers_cpu_ns = cpu - watch.workers_cpu;
        facts->workers_disk_ns = disk - watch.workers_disk;
        facts->workers_ns = facts->wall_ns;
        if (!facts->workers_disk_ns &&
            watch.states) /* most kernels count no waiting for disks: of the looks at them, then */
            facts->workers_disk_ns =
                (uint64_t)((double)facts->wall_ns * count * (double)watch.waiting / (double)watch.states);
    }
}

/* What the loader's workers are doing now. On the link's thread. */
static void look_at_workers(void)
{
    char path[64], text[1024];
    pid_t pids[WORKERS_MOST];
    unsigned seen = 0, waiting = 0;
    pthread_mutex_lock(&watch.lock);
    const unsigned count = watch.worker_count;
    memcpy(pids, watch.workers, count * sizeof *pids);
    pthread_mutex_unlock(&watch.lock);
    for (unsigned i = 0; i < count; i++) {
        snprintf(path, sizeof path, "/proc/%d/stat", (int)pids[i]);
        if (!contents(path, text, sizeof text))
            continue;
        seen++;
        waiting += stat_state(text) == 'D';
    }
    pthread_mutex_lock(&watch.lock);
    watch.states += seen;
    watch.waiting += waiting;
    pthread_mutex_unlock(&watch.lock);
}

void watch_tell(void)
{
    struct program_facts *facts = &watch.facts;
    uint64_t cpu, disk;
    if (!link_is_open())
        return;
    if (where_has_collisions() && !atomic_exchange(&watch.told_collisions, true))
        link_note("attribution lacks",
                  "backward of some nodes: modules are called on several threads at a time, and PyTorch "
                  "numbers nodes by thread; those of one number have no layer");
    pid_t pids[WORKERS_MOST];
    const unsigned count = workers(&cpu, &disk, pids); /* many files to read: not with the lock */
    const uint64_t allowed = processors();
    pthread_mutex_lock(&watch.lock);
    facts->processors = allowed;
    watch.worker_count = count < WORKERS_MOST ? count : WORKERS_MOST;
    memcpy(watch.workers, pids, watch.worker_count * sizeof *pids);
    count_workers(count, cpu, disk);
    if (facts->steps) {
        thirds(&watch.resident, facts->resident);
        thirds(&watch.device, facts->device_bytes);
        link_send(MESSAGE_PROGRAM, facts, sizeof *facts, NULL, 0);
    }
    pthread_mutex_unlock(&watch.lock);
}

void watch_tick(void)
{
    const uint64_t now = clock_now();
    if (now - watch.states_at >= STATES_EVERY_NS) {
        watch.states_at = now;
        look_at_workers();
    }
    if (now - watch.told < TELL_EVERY_NS)
        return;
    watch.told = now;
    watch_tell();
}

void watch_step(uint64_t started, uint64_t now, bool warmup)
{
    pthread_mutex_lock(&watch.lock);
    struct program_facts *facts = &watch.facts;
    const bool compiled = watch.compiled > watch.compiled_before;
    watch.compiled_before = watch.compiled;
    if (warmup) {
        facts->wait_ns = facts->wait_cpu_ns = 0;
        facts->batches = UNKNOWN_U64;
    } else {
        if (watch.calls && (facts->batches > watch.calls || !facts->steps))
            facts->batches = watch.calls;
        facts->steps++;
        facts->wall_ns += now - started;
        facts->graph_breaks = watch.breaks;
        if (compiled) {
            facts->compiled_steps++;
            facts->compiled_ns += now - started;
        }
        if (now - watch.looked >= LOOK_EVERY_NS) {
            watch.looked = now;
            const uint64_t bytes = resident();
            if (bytes != UNKNOWN_U64)
                history_add(&watch.resident, bytes);
            if (watch.allocated)
                history_add(&watch.device, watch.allocated);
        }
    }
    watch.calls = 0;
    pthread_mutex_unlock(&watch.lock);
}

void watch_threads(uint64_t threads)
{
    if (!link_is_open())
        return;
    pthread_mutex_lock(&watch.lock);
    watch.facts.threads = threads;
    pthread_mutex_unlock(&watch.lock);
}

void watch_root(int32_t scope)
{
    pthread_mutex_lock(&watch.lock);
    if (!watch.rooted) {
        watch.rooted = true;
        watch.root = scope;
    }
    watch.calls += scope == watch.root;
    pthread_mutex_unlock(&watch.lock);
}

void watch_wait(uint64_t wall_ns, uint64_t cpu_ns)
{
    if (!link_is_open())
        return;
    pthread_mutex_lock(&watch.lock);
    watch.facts.wait_ns += wall_ns;
    watch.facts.wait_cpu_ns += cpu_ns;
    pthread_mutex_unlock(&watch.lock);
}

void watch_compiled(uint64_t compilations, uint64_t breaks)
{
    if (!link_is_open())
        return;
    pthread_mutex_lock(&watch.lock);
    watch.compiled = compilations;
    watch.breaks = breaks;
    pthread_mutex_unlock(&watch.lock);
}

void watch_memory(uint64_t allocated, uint64_t reserved, uint64_t retries, uint64_t peak, uint64_t free)
{
    if (!link_is_open())
        return;
    pthread_mutex_lock(&watch.lock);
    watch.allocated = allocated;
    watch.facts.reserved_bytes = reserved;
    watch.facts.allocator_retries = retries;
    if (!is_known_u64(watch.facts.peak_bytes) || peak > watch.facts.peak_bytes) /* the program may begin its own anew */
        watch.facts.peak_bytes = peak;
    if (is_known_u64(free))
        watch.facts.room_bytes = free + reserved;
    pthread_mutex_unlock(&watch.lock);
}
