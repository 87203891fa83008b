#include "attach/away.h"
#include "attach/link.h"
#include "base/gap.h"
#include <pthread.h>

#define LONG_NS 20000000u /* worth a look at the clocks */
#define KEPT 16

static struct {
    pthread_mutex_t lock;
    struct gap_clocks clocks;
    bool begun;
    struct {
        uint64_t start, end;
    } gaps[KEPT]; /* the latest */
    unsigned count;
} away = {.lock = PTHREAD_MUTEX_INITIALIZER};

void away_begin(void)
{
    pthread_mutex_lock(&away.lock);
    gap_begin(&away.clocks);
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
    pthread_mutex_unlock(&away.lock);
}

bool away_in(uint64_t start, uint64_t end)
{
    bool met = false;
    if (end - start < LONG_NS || !link_is_open()) /* the lock may be held for ever in a child */
        return false;
    pthread_mutex_lock(&away.lock);
    look();
    for (unsigned i = 0; i < KEPT && i < away.count; i++)
        met |= away.gaps[i].start < end && away.gaps[i].end > start;
    pthread_mutex_unlock(&away.lock);
    return met;
}
