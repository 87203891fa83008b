#include "worker/watch.h"
#include "base/clock.h"
#include <signal.h>
#include <string.h>
#include <time.h>

#define LOOK_NS 50000000u
#define PATIENCE_NS 2000000000u /* a thread that does not get to look for so long will not be waited for */

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
    pthread_mutex_lock(&watch->lock);
    gap_begin_thread(&watch->clocks, LOOK_NS);
    while (!atomic_load(&watch->ends)) {
        pthread_mutex_unlock(&watch->lock);
        nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
        pthread_mutex_lock(&watch->lock);
        look(watch);
        pthread_cond_broadcast(&watch->looked);
    }
    gap_end(&watch->clocks);
    pthread_mutex_unlock(&watch->lock);
    return NULL;
}

void watch_start(struct watch *watch, struct reporter *reporter)
{
    struct sigaction action = {.sa_handler = on_continue, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGCONT, &action, NULL);
    watch->reporter = reporter;
    pthread_mutex_init(&watch->lock, NULL);
    pthread_cond_init(&watch->looked, NULL);
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
    pthread_cond_destroy(&watch->looked);
    pthread_mutex_destroy(&watch->lock);
}

/* With the lock: the thread has looked since `end`, or it was about to and nothing speaks for a gap. It alone can tell whether it came
 * late by waiting for a processor, so it is waited for where it should have looked. */
static void be_up_to_date(struct watch *watch)
{
    if (!atomic_load(&watch->runs)) {
        look(watch);
        return;
    }
    const uint64_t since = clock_now();
    while (watch->continued != continued || clock_now() - watch->clocks.looked > 2 * LOOK_NS) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += LOOK_NS;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&watch->looked, &watch->lock, &until);
        if (clock_now() - since > PATIENCE_NS)
            break;
    }
}

uint64_t watch_gap_ns(struct watch *watch, uint64_t start, uint64_t end)
{
    uint64_t ns = 0;
    pthread_mutex_lock(&watch->lock);
    be_up_to_date(watch);
    for (unsigned i = 0; i < WATCH_KEPT && i < watch->gap_count; i++) {
        const uint64_t from = watch->gaps[i].start > start ? watch->gaps[i].start : start;
        const uint64_t to = watch->gaps[i].end < end ? watch->gaps[i].end : end;
        ns += to > from ? to - from : 0;
    }
    pthread_mutex_unlock(&watch->lock);
    return ns;
}

bool watch_gap_in(struct watch *watch, uint64_t start, uint64_t end)
{
    return watch_gap_ns(watch, start, end) > 0;
}
