#include "worker/watch.h"
#include "base/clock.h"
#include <signal.h>
#include <string.h>
#include <time.h>

#define LOOK_NS 50000000u
#define GAP_NS 400000000u /* a busy machine keeps a thread that slept waiting for less */
#define SLEPT_NS 50000000u

static volatile sig_atomic_t continued; /* how often SIGCONT came */

static void on_continue(int number)
{
    (void)number;
    continued = continued + 1;
}

static uint64_t read_clock(clockid_t id)
{
    struct timespec time;
    return clock_gettime(id, &time) == 0 ? (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec : 0;
}

bool watch_is_gap(uint64_t passed, uint64_t used, uint64_t slept, bool was_continued)
{
    return was_continued || slept > SLEPT_NS || (passed > GAP_NS && used < passed / 8);
}

/* With the lock. */
static void look(struct watch *watch)
{
    const uint64_t now = clock_now(), used = read_clock(CLOCK_PROCESS_CPUTIME_ID);
    uint64_t slept = 0;
#ifdef CLOCK_BOOTTIME
    const uint64_t boot = read_clock(CLOCK_BOOTTIME);
    slept = boot > now ? boot - now : 0;
#endif
    const int seen = continued;
    const uint64_t passed = now - watch->looked, asleep = slept > watch->slept ? slept - watch->slept : 0;
    if (watch_is_gap(passed, used - watch->used, asleep, seen != watch->continued)) {
        watch->gaps[watch->gap_count % WATCH_KEPT].start = watch->looked;
        watch->gaps[watch->gap_count++ % WATCH_KEPT].end = now;
        const struct message_suspended message = {.ns = passed + asleep};
        reporter_send(watch->reporter, MESSAGE_SUSPENDED, &message, sizeof message, NULL, 0);
    }
    watch->looked = now;
    watch->used = used;
    watch->slept = slept;
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
    watch->looked = clock_now();
    watch->used = read_clock(CLOCK_PROCESS_CPUTIME_ID);
#ifdef CLOCK_BOOTTIME
    const uint64_t boot = read_clock(CLOCK_BOOTTIME);
    watch->slept = boot > watch->looked ? boot - watch->looked : 0;
#endif
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
