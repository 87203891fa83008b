#include "attach/away.h"
#include "attach/link.h"
#include "base/clock.h"
#include "base/gap.h"
#include <pthread.h>
#include <time.h>

#define LONG_NS 20000000u     /* worth a look at the clocks */
#define STALE_NS 200000000u   /* no gap is shorter; the link's thread has looked within it where there was none */
#define PATIENCE_NS 30000000u /* for the link's thread, which runs at once when a program goes on that was stopped */
#define KEPT 16

static struct {
    pthread_mutex_t lock;
    pthread_cond_t looked;
    struct gap_clocks clocks;
    bool begun;
    uint64_t in_vain; /* the last look when somebody ran out of patience: nobody else waits for the next */
    struct {
        uint64_t start, end;
    } gaps[KEPT]; /* the latest */
    unsigned count;
} away = {.lock = PTHREAD_MUTEX_INITIALIZER, .looked = PTHREAD_COND_INITIALIZER};

void away_begin(uint64_t interval)
{
    pthread_mutex_lock(&away.lock);
    gap_begin_thread(&away.clocks, interval);
    away.begun = true;
    pthread_mutex_unlock(&away.lock);
}

/* With the lock. */
static void look(void)
{
    uint64_t start, end;
    const uint64_t ns = away.begun ? gap_look(&away.clocks, false, &start, &end) : 0;
    if (!ns)
        return;
    away.gaps[away.count % KEPT].start = start;
    away.gaps[away.count++ % KEPT].end = end;
    const struct message_suspended message = {.ns = ns};
    link_send(MESSAGE_SUSPENDED, &message, sizeof message, NULL, 0);
}

void away_look(void)
{
    pthread_mutex_lock(&away.lock);
    look();
    pthread_cond_broadcast(&away.looked);
    pthread_mutex_unlock(&away.lock);
}

void away_end(void)
{
    pthread_mutex_lock(&away.lock);
    away.begun = false;
    gap_end(&away.clocks);
    pthread_mutex_unlock(&away.lock);
}

/* With the lock. The link's thread alone can tell whether it came late because it waited for a processor, as in a program that others
 * starve: the system says how long it did when it runs again. One that does not run meanwhile waits for a processor still. */
static void be_up_to_date(void)
{
    if (away.clocks.schedule.fd < 0) { /* the system does not say */
        look();
        return;
    }
    const uint64_t seen = away.clocks.looked, since = clock_now();
    if (since - seen < STALE_NS || seen == away.in_vain)
        return;
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += PATIENCE_NS;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    while (away.begun && away.clocks.looked == seen)
        if (pthread_cond_timedwait(&away.looked, &away.lock, &until)) {
            away.in_vain = seen;
            return;
        }
}

bool away_in(uint64_t start, uint64_t end)
{
    bool met = false;
    if (end - start < LONG_NS || !link_is_open()) /* the lock may be held for ever in a child */
        return false;
    pthread_mutex_lock(&away.lock);
    be_up_to_date();
    for (unsigned i = 0; i < KEPT && i < away.count; i++)
        met |= away.gaps[i].start < end && away.gaps[i].end > start;
    pthread_mutex_unlock(&away.lock);
    return met;
}
