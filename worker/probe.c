#include "worker/probe.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/unknown.h"
#include <stdlib.h>
#include <string.h>

#define LONG_NS 20000000u /* a launch this long is worth a look at the clocks */

struct name_slot {
    char *text; /* NULL: free */
    uint32_t id;
};

static struct name_slot *find_slot(struct name_slot *slots, uint32_t count, const char *text)
{
    uint32_t place = (uint32_t)hash_text(HASH_START, text) & (count - 1);
    while (slots[place].text && strcmp(slots[place].text, text) != 0)
        place = (place + 1) & (count - 1);
    return &slots[place];
}

static bool names_grow(struct probe_state *state)
{
    struct name_slot *slots = calloc((size_t)state->name_slots * 2, sizeof *slots);
    if (!slots)
        return false;
    for (uint32_t i = 0; i < state->name_slots; i++)
        if (state->names[i].text)
            *find_slot(slots, state->name_slots * 2, state->names[i].text) = state->names[i];
    free(state->names);
    state->names = slots;
    state->name_slots *= 2;
    return true;
}

/* The front refuses what is beyond its bounds, so names are cut here, and those beyond the number share the last id. */
static uint32_t probe_intern(void *context, const char *name)
{
    struct probe_state *state = context;
    char text[AGGREGATE_NAME_MAX];
    text_copy(text, sizeof text, *name ? name : "?", strlen(*name ? name : "?"));
    pthread_mutex_lock(&state->names_lock);
    struct name_slot *slot = find_slot(state->names, state->name_slots, text);
    uint32_t id = slot->text ? slot->id : state->name_count;
    if (!slot->text && (state->name_count >= AGGREGATE_MAX_NAMES - 1 || !(slot->text = strdup(text)))) {
        id = AGGREGATE_MAX_NAMES - 1;
    } else if (id == state->name_count) {
        slot->id = state->name_count++;
        reporter_send(state->reporter, MESSAGE_NAME, &(struct message_name){id}, sizeof(struct message_name), text,
                      strlen(text) + 1);
        if (state->name_count * 2 > state->name_slots && !names_grow(state))
            state->name_count = AGGREGATE_MAX_NAMES; /* no more of them */
    }
    pthread_mutex_unlock(&state->names_lock);
    return id;
}

/* What lies between two readings and is not the kernel: the readings' own, and a little of the probe. */
static void reading_seen(struct probe_readings *readings, uint64_t now, uint64_t kernel_ns)
{
    const uint64_t between = now - readings->at, own = between > kernel_ns ? between - kernel_ns : 0;
    const int power = own ? 63 - __builtin_clzll(own) : 0;
    readings->count[power]++;
    readings->time_ns[power] += own;
    readings->counted++;
}

/* No launch keeps more processors busy than there are threads: what the task clock shows beyond that is the readings', and that of
 * threads which wait meanwhile. */
static void excess_seen(struct probe_readings *readings, uint64_t task_clock_ns, uint64_t kernel_ns)
{
    const uint64_t most = kernel_ns * (uint64_t)readings->threads;
    if (is_known_u64(task_clock_ns) && task_clock_ns > most)
        readings->excess_ns += task_clock_ns - most;
}

static void push_counters(struct probe_state *state, const struct record *kernel)
{
    uint64_t now[COUNTERS_PER_KERNEL], used[COUNTERS_PER_KERNEL];
    bool scaled;
    if (!counters_read(state->counters, now, &scaled)) {
        state->counting = false; /* the next one would be counted from before this one on */
        return;
    }
    const uint64_t at = clock_now();
    for (int i = 0; i < COUNTERS_PER_KERNEL; i++) {
        const bool known = now[i] != UNKNOWN_U64 && state->counted[i] != UNKNOWN_U64 && now[i] >= state->counted[i];
        used[i] = known ? now[i] - state->counted[i] : UNKNOWN_U64;
        state->counted[i] = now[i];
    }
    struct record record = *kernel;
    record.kind = RECORD_COUNTERS;
    memcpy(record.counters, used, sizeof record.counters);
    if (scaled && !state->told_scaled) {
        state->told_scaled = true;
        reporter_note(state->reporter, "counters shared",
                      "extrapolated from part of the time: there are fewer counters than events");
    }
    if (state->counting && !(record.flags & RECORD_WARMUP)) { /* as with times: warm-up is in no sum */
        ring_push(state->ring, &record);
        reading_seen(&state->readings, at, kernel->end - kernel->start);
        if (state->readings.is_clock)
            excess_seen(&state->readings, used[0], kernel->end - kernel->start);
    }
    state->readings.at = at;
    state->counting = true;
}

/* The clock is read last on the way in and first on the way out: the probe's own work falls between kernels. */
static void probe_enter(void *context, int32_t node)
{
    struct probe_state *state = context;
    (void)node;
    state->entered = clock_now();
}

static void probe_leave(void *context, int32_t node, uint32_t name)
{
    const uint64_t now = clock_now();
    struct probe_state *state = context;
    struct record record = {.start = state->entered,
                            .end = now,
                            .launch = state->entered,
                            .correlation = ++state->launches,
                            .place = node,
                            .name = name,
                            .step = state->step,
                            .kind = RECORD_KERNEL,
                            .pass = state->pass,
                            .flags = state->flags};
    /* A launch that the process was kept from has no time of its own. */
    if (now - state->entered < LONG_NS || !state->watch || !watch_gap_in(state->watch, state->entered, now))
        ring_push(state->ring, &record);
    /* One reading a kernel: what one kernel ends with, the next begins with. */
    if (state->counters)
        push_counters(state, &record);
}

static void probe_event(void *context, uint64_t step, const struct kernel_event *event)
{
    struct probe_state *state = context;
    const uint64_t known = atomic_load_explicit(&state->steps[step % PROBE_STEPS], memory_order_acquire);
    if (known >> 16 != step) { /* of a step that is long over */
        ring_count_dropped(state->ring, 1);
        return;
    }
    const bool of_node = event->node >= 0 && event->node < state->plan->node_count;
    struct record record = {.start = event->start,
                            .end = event->end,
                            .launch = event->launch,
                            .payload = event->bytes,
                            .correlation = event->correlation,
                            .place = of_node ? event->node : PLACE_UNKNOWN,
                            .name = event->name,
                            .step = (uint32_t)step,
                            .stream = event->stream,
                            .kind = event->kind,
                            .pass = (uint8_t)(known >> 8),
                            .flags = (uint8_t)((uint8_t)known | (event->pageable ? RECORD_PAGEABLE : 0)),
                            .copy = event->copy};
    ring_push(state->ring, &record);
}

static void probe_dropped(void *context, uint64_t count)
{
    ring_count_dropped(((struct probe_state *)context)->ring, count);
}

static void probe_note(void *context, const char *key, const char *text)
{
    reporter_note(((struct probe_state *)context)->reporter, key, "%s", text);
}

static void probe_counters(void *context, const char *const names[DEVICE_COUNTERS])
{
    reporter_counters(((struct probe_state *)context)->reporter, names, NULL);
}

static int ascending(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Launches that take no time, counted as any other. */
static bool readings_try(struct counters *counters, struct probe_readings *readings)
{
    enum { TRIALS = 65 };
    uint64_t seen[COUNTERS_PER_KERNEL][TRIALS], took[TRIALS], before[COUNTERS_PER_KERNEL], now[COUNTERS_PER_KERNEL];
    bool scaled;
    if (!counters_read(counters, before, &scaled))
        return false;
    uint64_t at = clock_now();
    for (int i = 0; i < TRIALS; i++) {
        if (!counters_read(counters, now, &scaled))
            return false;
        took[i] = clock_now() - at;
        at += took[i];
        for (int c = 0; c < COUNTERS_PER_KERNEL; c++) {
            seen[c][i] = now[c] != UNKNOWN_U64 && now[c] >= before[c] ? now[c] - before[c] : UNKNOWN_U64;
            before[c] = now[c];
        }
    }
    for (int c = 0; c < COUNTERS_PER_KERNEL; c++) {
        qsort(seen[c], TRIALS, sizeof seen[c][0], ascending);
        readings->own[c] = seen[c][TRIALS / 2];
    }
    qsort(took, TRIALS, sizeof *took, ascending);
    readings->wall_ns = took[TRIALS / 2];
    return true;
}

void probe_calibrate(struct probe_state *state)
{
    const bool known = readings_try(state->counters, &state->readings);
    state->readings.threads = counters_threads(state->counters);
    state->readings.is_clock = counters_tier(state->counters) == TIER_SOFTWARE;
    if (!known)
        state->readings.wall_ns = 0;
    reporter_counters(state->reporter, counters_names(state->counters), known ? state->readings.own : NULL);
}

void probe_own_stretched(const struct probe_readings *readings, uint64_t own[COUNTERS_PER_KERNEL])
{
    uint64_t count = 0, time_ns = 0;
    for (int power = 0; power < 64 && count < readings->counted * 19 / 20; power++) {
        count += readings->count[power];
        time_ns += readings->time_ns[power];
    }
    const double took = count ? (double)time_ns / (double)count : 0, before = (double)readings->wall_ns;
    const double stretch = before > 0 && took > before ? took / before : 1;
    for (int c = 0; c < COUNTERS_PER_KERNEL; c++)
        own[c] = is_known_u64(readings->own[c]) ? (uint64_t)((double)readings->own[c] * stretch) : UNKNOWN_U64;
    const uint64_t excess = readings->is_clock && readings->counted ? readings->excess_ns / readings->counted : 0;
    if (is_known_u64(own[0]) && excess > own[0])
        own[0] = excess;
}

void probe_tell_own(struct probe_state *state)
{
    uint64_t own[COUNTERS_PER_KERNEL];
    if (!state->counters || !state->readings.wall_ns || state->readings.counted == state->readings.told)
        return;
    probe_own_stretched(&state->readings, own);
    reporter_counters_own(state->reporter, counters_names(state->counters), own);
    state->readings.told = state->readings.counted;
}

bool probe_init(struct probe_state *state, struct ring *ring, struct reporter *reporter, const struct plan *plan,
                struct error *error)
{
    *state = (struct probe_state){.ring = ring, .reporter = reporter, .plan = plan, .name_slots = 256};
    state->probe = (struct probe){.context = state,
                                  .intern = probe_intern,
                                  .enter = probe_enter,
                                  .leave = probe_leave,
                                  .event = probe_event,
                                  .dropped = probe_dropped,
                                  .counters = probe_counters,
                                  .note = probe_note};
    pthread_mutex_init(&state->names_lock, NULL);
    state->names = calloc(state->name_slots, sizeof *state->names);
    return state->names || error_set(error, ERROR_MEMORY, "no memory for the names of kernels");
}

void probe_release(struct probe_state *state)
{
    for (uint32_t i = 0; state->names && i < state->name_slots; i++)
        free(state->names[i].text);
    free(state->names);
    counters_close(state->counters);
    if (state->ring)
        pthread_mutex_destroy(&state->names_lock);
    *state = (struct probe_state){0};
}

void probe_begin_step(struct probe_state *state, uint32_t step, uint8_t pass, bool warmup)
{
    state->step = step;
    state->pass = pass;
    state->flags = warmup ? RECORD_WARMUP : 0;
    atomic_store_explicit(&state->steps[step % PROBE_STEPS], (uint64_t)step << 16 | (uint64_t)pass << 8 | state->flags,
                          memory_order_release);
    state->counting = false;
    bool scaled;
    if (!state->counters)
        return;
    if (state->readings.counted > 2 * state->readings.told)
        probe_tell_own(state);
    /* Where the step's first kernel begins to count. */
    state->counting = counters_read(state->counters, state->counted, &scaled);
    state->readings.at = clock_now();
}
