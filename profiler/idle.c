#include "profiler/idle.h"
#include "base/limits.h"
#include "base/unknown.h"
#include "base/vec.h"
#include "profiler/places.h"
#include <stdlib.h>
#include <string.h>

#define LATE_NS 250000000u   /* how long after the end of a window its records may still come */
#define PERIOD_NS 100000000u /* windows are looked at together */
#define KEPT_MAX (1u << 19)  /* records, of 40 bytes */
/* From a launch to its kernel's start where nothing is in the way: some microseconds. A kernel launched so shortly before the device
 * ran dry was not queued: the host had fallen back to where the device waits for it. */
#define LATENCY_NS 10000u
#define BACKLOG_NS 100000u
#define ASKERS 64 /* places that synchronise, told apart */

/* What a span of time is to the device, or was to the host. */
enum span_kind { SPAN_WORK, SPAN_COLLECTIVE, SPAN_SYNC, SPAN_DATA };

struct span {
    uint64_t start, end, launch; /* launch: of work; UNKNOWN_U64 */
    int32_t place;
    uint8_t kind;
};

struct window {
    uint64_t start, end;
    uint8_t pass;
};

struct sums {
    uint64_t steps, wall_ns, ns[IDLE_REASONS];
    struct asker {
        int32_t place;
        uint64_t ns;
    } askers[ASKERS];
    int asker_count;
};

struct idle {
    VEC(struct span) spans; /* `sorted` of them in order of start, then as they came */
    size_t sorted;
    VEC(struct window) windows; /* not looked at yet */
    VEC(struct span) waits;     /* to work in: what is no work, of one window */
    uint64_t floor;             /* spans that ended before were let go */
    uint64_t settled;           /* when it was last looked */
    uint64_t looked;            /* the end of the window that was looked at last */
    bool resumed;               /* since steps that were not recorded no recorded work has begun */
    struct sums sums[PASS_COUNT];
};

static const struct {
    const char *name, *text;
} reasons[IDLE_REASONS] = {
    [IDLE_LAUNCH] = {"launch", "launch-bound: the host was in Python, between operators or asleep"},
    [IDLE_SYNC] = {"sync", "after a synchronisation: nothing was queued behind it"},
    [IDLE_DATA] = {"data", "data loading"},
    [IDLE_RANK] = {"rank", "waiting for another rank, or for its bytes"},
    [IDLE_QUEUE] = {"queue", "queued and not begun: dependences, gaps between kernels"},
    [IDLE_UNKNOWN] = {"unknown", "not known"},
};

const char *idle_reason_name(enum idle_reason reason)
{
    return reasons[reason].name;
}

const char *idle_reason_text(enum idle_reason reason)
{
    return reasons[reason].text;
}

struct idle *idle_create(void)
{
    return calloc(1, sizeof(struct idle));
}

void idle_free(struct idle *idle)
{
    if (!idle)
        return;
    vec_release(&idle->spans);
    vec_release(&idle->windows);
    vec_release(&idle->waits);
    free(idle);
}

/* ---- what comes in ---- */

void idle_window(struct idle *idle, unsigned pass, uint64_t start, uint64_t end)
{
    if (pass < PASS_COUNT && end > start && start >= idle->floor)
        vec_push(&idle->windows, ((struct window){start, end, (uint8_t)pass}));
}

static int by_start(const void *left, const void *right)
{
    const struct span *a = left, *b = right;
    return a->start != b->start ? (a->start < b->start ? -1 : 1) : 0;
}

static struct span *spans_copy(const struct span *spans, size_t count)
{
    struct span *copy = malloc(count * sizeof *copy);
    if (copy)
        return memcpy(copy, spans, count * sizeof *copy);
    memory_exhausted(count, "records to put in order");
}

/* What came since is sorted by itself, where it is not as it came, and merged from the back. */
static void sort_spans(struct idle *idle)
{
    struct span *spans = idle->spans.items;
    const size_t count = idle->spans.count, tail = count - idle->sorted;
    bool ordered = true;
    for (size_t i = idle->sorted ? idle->sorted : 1; i < count && ordered; i++)
        ordered = spans[i - 1].start <= spans[i].start;
    if (!ordered) {
        struct span *copy = spans_copy(spans + idle->sorted, tail);
        qsort(copy, tail, sizeof *copy, by_start);
        size_t a = idle->sorted, b = tail, to = count;
        while (b > 0)
            spans[--to] = a > 0 && spans[a - 1].start > copy[b - 1].start ? spans[--a] : copy[--b];
        free(copy);
    }
    idle->sorted = count;
}

static void let_go(struct idle *idle, uint64_t before)
{
    size_t kept = 0;
    for (size_t i = 0; i < idle->spans.count; i++)
        if (idle->spans.items[i].end >= before)
            idle->spans.items[kept++] = idle->spans.items[i];
    idle->spans.count = idle->sorted = kept;
    idle->floor = before > idle->floor ? before : idle->floor;
}

/* No window came for so many records, or its step is longer than what can be kept: the older half goes. */
static __attribute__((noinline)) void make_room(struct idle *idle)
{
    sort_spans(idle);
    let_go(idle, idle->spans.items[idle->spans.count / 2].end);
    size_t kept = 0;
    for (size_t i = 0; i < idle->windows.count; i++)
        if (idle->windows.items[i].start >= idle->floor)
            idle->windows.items[kept++] = idle->windows.items[i];
    idle->windows.count = kept;
}

static __attribute__((noinline)) void span_push(struct idle *idle, const struct record *record, uint8_t kind)
{
    if (idle->spans.count >= KEPT_MAX)
        make_room(idle);
    vec_push(&idle->spans, ((struct span){record->start, record->end, record->launch, record->place, kind}));
}

void idle_record(struct idle *idle, const struct record *record, bool collective)
{
    uint8_t kind = SPAN_WORK;
    if (record->kind == RECORD_WAIT)
        kind = record->payload == WAIT_RANK ? SPAN_COLLECTIVE : SPAN_DATA;
    else if (record->kind == RECORD_SYNC)
        kind = SPAN_SYNC;
    else if (!record_is_work(record->kind))
        return;
    else if (collective)
        kind = SPAN_COLLECTIVE;
    if (kind == SPAN_SYNC && record->payload != SYNC_OF_HOST)
        return; /* one stream waits for another */
    /* Work that goes on while other work is under way makes no gap: together they are one. */
    struct span *last = idle->spans.count > idle->sorted ? &idle->spans.items[idle->spans.count - 1] : NULL;
    if (last && last->kind == SPAN_WORK && kind == SPAN_WORK && record->start >= last->start &&
        record->start <= last->end)
        last->end = record->end > last->end ? record->end : last->end;
    else
        span_push(idle, record, kind);
}

void idle_records(struct idle *idle, const struct record *records, size_t count, const struct places *places)
{
    const struct span none = {.start = UINT64_MAX}; /* nothing begins within it */
    struct span *kept = NULL, last = none;
    for (size_t i = 0; i < count; i++) {
        const struct record *record = &records[i];
        const bool collective = places->collectives && record->place >= 0 &&
                                places_at(places, record->place)->kernel_class == CLASS_COLLECTIVE;
        if (record->start >= last.start && record->start <= last.end && record_is_work(record->kind) && !collective) {
            last.end = record->end > last.end ? record->end : last.end;
            continue;
        }
        if (kept)
            *kept = last;
        idle_record(idle, record, collective);
        kept = idle->spans.count > idle->sorted ? &idle->spans.items[idle->spans.count - 1] : NULL;
        last = kept && kept->kind == SPAN_WORK ? *kept : none;
        if (last.start == UINT64_MAX)
            kept = NULL;
    }
    if (kept)
        *kept = last;
}

/* ---- what a gap is ---- */

static void asked(struct sums *sums, int32_t place, uint64_t ns)
{
    int i = 0;
    while (i < sums->asker_count && sums->askers[i].place != place)
        i++;
    if (i == ASKERS)
        return;
    if (i == sums->asker_count)
        sums->askers[sums->asker_count++] = (struct asker){.place = place};
    sums->askers[i].ns += ns;
}

/* How much of [from, until) the waits of two kinds cover together. They are in order of start and may overlap. */
static uint64_t covered(const struct idle *idle, uint64_t from, uint64_t until, enum span_kind kind,
                        enum span_kind also)
{
    uint64_t total = 0, at = from;
    for (size_t i = 0; i < idle->waits.count && at < until; i++) {
        const struct span *wait = &idle->waits.items[i];
        if (wait->start >= until)
            break;
        if ((wait->kind != kind && wait->kind != also) || wait->end <= at)
            continue;
        const uint64_t low = wait->start > at ? wait->start : at, high = wait->end < until ? wait->end : until;
        total += high - low;
        at = high;
    }
    return total;
}

/* The synchronisation that left the queue empty: it was under way when the device ran dry at `from`, and ended before it went on. */
static const struct span *drained_by(const struct idle *idle, uint64_t from, uint64_t until)
{
    for (size_t i = 0; i < idle->waits.count && idle->waits.items[i].start <= from; i++) {
        const struct span *wait = &idle->waits.items[i];
        if (wait->kind == SPAN_SYNC && wait->end >= from && wait->end < until)
            return wait;
    }
    return NULL;
}

/* The device did nothing in [from, until) of a window; `dry` is since when, `next` what it did then (NULL: not known). */
static void name_gap(struct idle *idle, struct sums *sums, uint64_t from, uint64_t until, uint64_t dry,
                     const struct span *next)
{
    const uint64_t rank = covered(idle, from, until, SPAN_COLLECTIVE, SPAN_COLLECTIVE);
    const bool known = next && is_known_u64(next->launch);
    const bool queued = known && next->launch + LATENCY_NS < dry;
    const uint64_t data = queued ? 0 : covered(idle, from, until, SPAN_DATA, SPAN_COLLECTIVE) - rank;
    const uint64_t rest = until - from - rank - data;
    sums->ns[IDLE_RANK] += rank;
    sums->ns[IDLE_DATA] += data;
    if (!rest)
        return;
    const struct span *sync = queued ? NULL : drained_by(idle, dry, next ? next->start : until);
    sums->ns[queued ? IDLE_QUEUE : sync ? IDLE_SYNC : known ? IDLE_LAUNCH : IDLE_UNKNOWN] += rest;
    if (sync)
        asked(sums, sync->place, rest);
}

/* The step before was not recorded, and the host may be ahead of the device: until the first recorded kernel began, which had been
 * launched long before, the device was at work that nobody saw. */
static bool is_backlog(const struct span *first)
{
    return is_known_u64(first->launch) && first->launch + BACKLOG_NS < first->start;
}

/* Since when the device has done nothing at the end of the window; *from: the first span that matters there. */
static uint64_t look_at(struct idle *idle, const struct window *window, size_t *from)
{
    struct sums *sums = &idle->sums[window->pass];
    const struct span *spans = idle->spans.items, *next = NULL;
    const size_t count = idle->spans.count;
    size_t i = *from;
    uint64_t dry = 0;
    idle->resumed |= window->start != idle->looked;
    idle->looked = window->end;
    for (; i < count && spans[i].start <= window->start; i++)
        if (spans[i].kind == SPAN_WORK && spans[i].end > dry)
            dry = spans[i].end;
    dry = dry ? dry : window->start;
    idle->waits.count = 0;
    for (size_t w = *from; w < count && spans[w].start < window->end; w++)
        if (spans[w].kind != SPAN_WORK && spans[w].end >= dry)
            vec_push(&idle->waits, spans[w]);
    for (; i < count && dry < window->end; i++) {
        if (spans[i].kind != SPAN_WORK)
            continue;
        next = &spans[i];
        const uint64_t low = dry > window->start ? dry : window->start;
        const uint64_t high = next->start < window->end ? next->start : window->end;
        if (high > low && !(idle->resumed && dry <= window->start && is_backlog(next)))
            name_gap(idle, sums, low, high, dry, next);
        if (next->start >= window->end)
            break;
        idle->resumed = false;
        dry = next->end > dry ? next->end : dry;
    }
    if (dry < window->end && !(next && next->start >= window->end))
        name_gap(idle, sums, dry > window->start ? dry : window->start, window->end, dry, NULL);
    sums->steps++;
    sums->wall_ns += window->end - window->start;
    dry = dry < window->end ? dry : window->end;
    while (*from < count && spans[*from].end < dry)
        ++*from;
    return dry;
}

void idle_settle(struct idle *idle, uint64_t now)
{
    size_t ready = 0, from = 0;
    if (!idle->windows.count || (now != UINT64_MAX && now < idle->settled + PERIOD_NS))
        return;
    while (ready < idle->windows.count && (now == UINT64_MAX || idle->windows.items[ready].end + LATE_NS <= now))
        ready++;
    if (!ready)
        return;
    idle->settled = now == UINT64_MAX ? idle->settled : now;
    sort_spans(idle);
    uint64_t dry = 0;
    for (size_t i = 0; i < ready; i++)
        dry = look_at(idle, &idle->windows.items[i], &from);
    let_go(idle, dry);
    idle->windows.count -= ready;
    memmove(idle->windows.items, idle->windows.items + ready, idle->windows.count * sizeof *idle->windows.items);
}

void idle_total(const struct idle *idle, unsigned pass, struct idle_total *total)
{
    *total = (struct idle_total){.sync_place = PLACE_UNKNOWN};
    if (!idle || pass >= PASS_COUNT)
        return;
    const struct sums *sums = &idle->sums[pass];
    total->steps = sums->steps;
    total->wall_ns = sums->wall_ns;
    memcpy(total->ns, sums->ns, sizeof total->ns);
    for (int i = 0; i < sums->asker_count; i++)
        if (sums->askers[i].ns > total->sync_ns) {
            total->sync_place = sums->askers[i].place;
            total->sync_ns = sums->askers[i].ns;
        }
}
