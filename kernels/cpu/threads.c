/* The thread pool: how large, and whether it can be. */
#include "base/limits.h"
#include "base/processors.h"
#include "base/unknown.h"
#include "kernels/cpu/cpu.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

int cpu_thread_count(int wanted)
{
    return wanted > 0 ? wanted : processors_allowed().allowed;
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

/* Tried with threads of our own, all there at once. The calling thread is the pool's first; those that the pool has already
 * are asked for again, an error of some stacks on the side of caution. */
bool cpu_threads_start(int threads, struct error *error)
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
    pthread_mutex_unlock(&trial.lock);
    for (int i = 0; i < count; i++)
        pthread_join(started[i], NULL);
    free(started);
    if (!failure)
        return true;
    /* The same number where a stack finds no room and where there may be no more processes: only the first is memory. */
    struct memory_limit limit;
    const bool stacks = failure == ENOMEM || memory_limited(&limit);
    return error_set(error, stacks ? ERROR_MEMORY : ERROR_SYSTEM, "%d threads cannot be started, only %d: %s", threads,
                     count + 1, strerror(failure));
}

void cpu_each_thread(int threads, void (*body)(void *argument, int thread), void *argument)
{
    /* A static loop of one iteration a thread: iteration i runs on thread i of the pool, and 0 is the calling one. */
#pragma omp parallel for schedule(static, 1) num_threads(threads)
    for (int thread = 0; thread < threads; thread++)
        body(argument, thread);
}
