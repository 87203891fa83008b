#include "base/processes.h"
#include "base/cgroup.h"
#include "base/limits.h"
#include "base/unknown.h"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

/* Behind the failure of a fork or a thread's start: the limit that can be why, or "". */
enum { PROCESS_LIMIT_TEXT = 96 };
static const char *process_limit_text(int number, char text[PROCESS_LIMIT_TEXT])
{
    struct rlimit set;
    const uint64_t group = cgroup_processes();
    const bool user = getrlimit(RLIMIT_NPROC, &set) == 0 && set.rlim_cur != RLIM_INFINITY && geteuid() != 0;
    text[0] = 0;
    if (number == EAGAIN && is_known_u64(group) && (!user || group < set.rlim_cur))
        snprintf(text, PROCESS_LIMIT_TEXT, "; processes are limited to %llu here (pids.max of the control group)",
                 (unsigned long long)group);
    else if (number == EAGAIN && user)
        snprintf(text, PROCESS_LIMIT_TEXT, "; processes are limited to %llu here (ulimit -u)",
                 (unsigned long long)set.rlim_cur);
    return text;
}

bool error_no_process(struct error *error, const char *what, int number)
{
    char limit[PROCESS_LIMIT_TEXT];
    return error_set(error, error_kind_of(number), "%s: %s%s", what, strerror(number),
                     process_limit_text(number, limit));
}

struct trial {
    pthread_mutex_t lock;
};

static void *wait_for_the_others(void *argument)
{
    struct trial *trial = argument;
    pthread_mutex_lock(&trial->lock);
    pthread_mutex_unlock(&trial->lock);
    return NULL;
}

/* Is there room for one more stack? */
static bool stack_fits(void)
{
    pthread_attr_t attributes;
    size_t bytes = 0;
    if (pthread_attr_init(&attributes) != 0)
        return false;
    pthread_attr_getstacksize(&attributes, &bytes);
    pthread_attr_destroy(&attributes);
    void *stack = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack == MAP_FAILED)
        return false;
    munmap(stack, bytes);
    return true;
}

/* Tried with threads of our own, all there at once. The calling thread is the pool's first; those that the pool has already
 * are asked for again, an error of some stacks on the side of caution. */
bool threads_start(int threads, struct error *error)
{
    if (threads < 2)
        return true;
    struct trial trial = {PTHREAD_MUTEX_INITIALIZER};
    pthread_t *started = calloc((size_t)threads, sizeof *started);
    if (!started)
        return error_set(error, ERROR_MEMORY, "no memory for %d threads", threads);
    int count = 0, failure = 0;
    pthread_mutex_lock(&trial.lock);
    while (count < threads - 1 && !(failure = pthread_create(&started[count], NULL, wait_for_the_others, &trial)))
        count++;
    /* The same number where a stack finds no room and where there may be no more processes: only the first is memory. */
    const bool stacks = failure == ENOMEM || (failure && !stack_fits());
    pthread_mutex_unlock(&trial.lock);
    for (int i = 0; i < count; i++)
        pthread_join(started[i], NULL);
    free(started);
    if (!failure)
        return true;
    char processes[PROCESS_LIMIT_TEXT];
    return error_set(error, stacks ? ERROR_MEMORY : ERROR_SYSTEM, "%d threads cannot be started, only %d: %s%s",
                     threads, count + 1, strerror(failure), stacks ? "" : process_limit_text(failure, processes));
}
