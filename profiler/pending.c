#include "profiler/pending.h"
#include <math.h>

#define HALF_WINDOW (ENTRY_WINDOW / 2)
#define WINDOW_WHOLE 2048u /* launches of an entry in half a window that are all counted */
#define WINDOW_STRIDE 8u

/* The sum of squared distances from the mean: S − D²/n, of S and D about the first duration. In whole numbers where they fit, which is
 * up to a million launches that differ by minutes. */
static double squares_about_mean(const struct entry *entry)
{
    const uint64_t n = entry->time.n, apart = entry->time.total - n * entry->first;
    const uint64_t distance = (int64_t)apart < 0 ? 0 - apart : apart;
    const unsigned __int128 square = (unsigned __int128)distance * distance;
    unsigned __int128 whole;
    if (!__builtin_mul_overflow(entry->squares, (unsigned __int128)n, &whole))
        return whole > square ? (double)(whole - square) / (double)n : 0;
    return fmax(0, (double)entry->squares - (double)distance * ((double)distance / (double)n));
}

static unsigned __int128 square_of(uint64_t duration, uint64_t first)
{
    const uint64_t distance = duration > first ? duration - first : first - duration;
    return (unsigned __int128)distance * distance;
}

static void settle(struct entry *entry)
{
    entry->time.mean = (double)entry->time.total / (double)entry->time.n;
    entry->time.m2 = squares_about_mean(entry);
}

/* Of some durations, what both the entry and its second add up. */
struct batch {
    uint64_t total, min, max;
};

static void sums_add(struct entry *entry, const struct batch *batch, unsigned count, uint64_t first)
{
    struct running *time = &entry->time;
    if (!time->n) {
        entry->first = first;
        time->min = batch->min;
    }
    time->n += count;
    time->total += batch->total;
    time->min = batch->min < time->min ? batch->min : time->min;
    time->max = batch->max > time->max ? batch->max : time->max;
}

/* For the quantiles of the last seconds. A bin more for each of a million records a second would be felt: beyond some
 * thousands one of eight is enough to know a quantile to the width of a bin. `number`: how many launches there were before. */
static void window_add(struct entry *entry, uint64_t half, uint64_t duration, uint64_t number)
{
    struct histogram *histogram = &entry->window_histogram[half & 1];
    if (entry->window_half[half & 1] != half) {
        entry->window_half[half & 1] = half;
        histogram_clear(histogram);
    }
    if (histogram->count < WINDOW_WHOLE)
        histogram_add(histogram, duration);
    else if (number % WINDOW_STRIDE == 0)
        histogram_add_times(histogram, duration, WINDOW_STRIDE);
}

static struct entry_second *second_of(struct entry *entry, uint64_t second, uint64_t duration)
{
    struct entry_second *slot = &entry->window[second % ENTRY_WINDOW];
    if (slot->second != second || !slot->n)
        *slot = (struct entry_second){.second = second, .min = duration, .first = duration};
    return slot;
}

static void second_add(struct entry_second *slot, const struct batch *batch, unsigned count)
{
    slot->n += count;
    slot->total += batch->total;
    slot->min = batch->min < slot->min ? batch->min : slot->min;
    slot->max = batch->max > slot->max ? batch->max : slot->max;
}

static void recent_add(struct entry *entry, uint64_t duration)
{
    entry->recent[entry->recent_next++ % ENTRY_RECENT] = duration > UINT32_MAX ? UINT32_MAX : (uint32_t)duration;
}

void pending_book(struct pending *pending, struct entry *entry)
{
    const unsigned count = pending->count;
    const uint32_t *durations = pending->durations;
    if (!count)
        return;
    const uint64_t before = entry->time.n;
    struct batch batch = {.min = durations[0], .max = durations[0]};
    for (unsigned i = 0; i < count; i++) {
        batch.total += durations[i];
        batch.min = durations[i] < batch.min ? durations[i] : batch.min;
        batch.max = durations[i] > batch.max ? durations[i] : batch.max;
        recent_add(entry, durations[i]);
    }
    sums_add(entry, &batch, count, durations[0]);
    struct entry_second *slot = second_of(entry, pending->second, durations[0]);
    second_add(slot, &batch, count);
    unsigned __int128 squares = entry->squares;
    double slot_squares = slot->squares;
    for (unsigned i = 0; i < count; i++) {
        const double distance = (double)(int64_t)(durations[i] - slot->first);
        slot_squares += distance * distance;
        squares += square_of(durations[i], entry->first);
    }
    entry->squares = squares;
    slot->squares = slot_squares;
    settle(entry);
    histogram_add_all(&entry->histogram, durations, count);
    for (unsigned i = 0; i < count; i++)
        window_add(entry, pending->second / HALF_WINDOW, durations[i], before + i + 1);
    pending->count = 0;
}

void entry_add(struct entry *entry, uint64_t duration, uint64_t second, bool warmup)
{
    recent_add(entry, duration);
    if (warmup) {
        running_add(&entry->warmup, duration);
        histogram_add(&entry->warmup_histogram, duration);
        return;
    }
    const struct batch batch = {duration, duration, duration};
    sums_add(entry, &batch, 1, duration);
    entry->squares += square_of(duration, entry->first);
    settle(entry);
    struct entry_second *slot = second_of(entry, second, duration);
    const double distance = (double)(int64_t)(duration - slot->first);
    second_add(slot, &batch, 1);
    slot->squares += distance * distance;
    histogram_add(&entry->histogram, duration);
    window_add(entry, second / HALF_WINDOW, duration, entry->time.n);
}

void entry_remove(struct entry *entry, uint64_t duration)
{
    struct running *time = &entry->time;
    histogram_remove(&entry->histogram, duration);
    if (time->n <= 1) {
        *time = (struct running){0};
        entry->squares = 0;
        return;
    }
    time->n--;
    time->total -= duration;
    entry->squares -= square_of(duration, entry->first);
    settle(entry);
}

/* Of a duration of 0 and 1 ns, too. */
static int octave_of(uint32_t duration)
{
    return 31 - __builtin_clz(duration | 1);
}

void pending_prefetch(const struct pending *pending, const struct entry *entry)
{
    const int octave = octave_of(pending->durations[0]);
    const uint64_t second = pending->second;
    __builtin_prefetch(&entry->time, 1);
    __builtin_prefetch(&entry->squares, 1);
    __builtin_prefetch(&entry->histogram.octave[octave]);
    __builtin_prefetch(&entry->window[second % ENTRY_WINDOW], 1);
    __builtin_prefetch(&entry->window_histogram[second / HALF_WINDOW & 1].octave[octave]);
    __builtin_prefetch(&entry->recent[entry->recent_next % ENTRY_RECENT], 1);
}

/* The bin of a value lies about as far into its octave as the value itself: on the same line, or nearly. */
static void prefetch_bin(const struct histogram *histogram, uint32_t duration)
{
    const uint32_t *bins = histogram->octave[octave_of(duration)];
    if (bins)
        __builtin_prefetch(bins + ((uint64_t)(duration | 1) << 1 << __builtin_clzll(duration | 1) >> 59), 1);
}

void pending_prefetch_bins(const struct pending *pending, const struct entry *entry)
{
    const struct histogram *window = &entry->window_histogram[pending->second / HALF_WINDOW & 1];
    const bool whole = window->count < WINDOW_WHOLE;
    for (unsigned i = 0; i < pending->count; i += 3) { /* most are alike */
        prefetch_bin(&entry->histogram, pending->durations[i]);
        if (whole)
            prefetch_bin(window, pending->durations[i]);
    }
}
