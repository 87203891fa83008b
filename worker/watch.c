#include "worker/watch.h"
#include <signal.h>
#include <string.h>
#include <time.h>

#define LOOK_NS 50000000u

static volatile sig_atomic_t continued; /* how often SIGCONT came */

static void on_continue(int number)
{
    (void)number;
    continued = continued + 1;
}

/* With the lock. */
static void look(struct watch *watch)
{
    const int seen = continued;
    uint64_t start, end;
    const uint64_t ns = gap_look(&watch->clocks, seen != watch->continued, &start, &end);
    if (ns) {
        watch->gaps[watch->gap_count % WATCH_KEPT].start = start;
        watch->gaps[watch->gap_count++ % WATCH_KEPT].end = end;
        const struct message_suspended message = {.ns = ns};
        reporter_send(watch->reporter, MESSAGE_SUSPENDED, &message, sizeof message, NULL, 0);
    }
    watch->continued = seen;
}

static void *look_on(void *argument)
{
    struct watch *watch = argument;
    while (!atomic_load(&watch->ends)) {
        nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
        pthread_mutex_lock(&watch->lock);
        look(watch);
        pthread_mutex_unlock(&watch->lock);
    }
    return NULL;
}

void watch_start(struct watch *watch, struct reporter *reporter)
{
    struct sigaction action = {.sa_handler = on_continue, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGCONT, &action, NULL);
    watch->reporter = reporter;
    pthread_mutex_init(&watch->lock, NULL);
    gap_begin(&watch->clocks);
    watch->continued = continued;
    /* Without the thread the steps' own looks are all there is. */
    atomic_store(&watch->runs, pthread_create(&watch->thread, NULL, look_on, watch) == 0);
}

void watch_stop(struct watch *watch)
{
    if (!watch->reporter)
        return;
    atomic_store(&watch->ends, true);
    if (atomic_load(&watch->runs))
        pthread_join(watch->thread, NULL);
    pthread_mutex_destroy(&watch->lock);
}

bool watch_gap_in(struct watch *watch, uint64_t start, uint64_t end)
{
    bool met = false;
    pthread_mutex_lock(&watch->lock);
    look(watch);
    for (unsigned i = 0; i < WATCH_KEPT && i < watch->gap_count; i++)
        met |= watch->gaps[i].start < end && watch->gaps[i].end > start;
    pthread_mutex_unlock(&watch->lock);
    return met;
}
