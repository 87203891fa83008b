/* The streaming statistics: a log histogram and Welford's mean. Both sit on the path of every record. */
#include "base/limits.h"
#include "base/unknown.h"
#include "profiler/statistics.h"
#include <stdlib.h>
#include <string.h>

#define OCTAVES 40
#define BINS HISTOGRAM_BINS_PER_OCTAVE

/* Where bin b of an octave begins: ceil((2^(b/32) − 1)·2^64), the fraction of a value above its power of two. */
static const uint64_t bin_edges[BINS] = {
    0x0000000000000000u, 0x059b0d31585743afu, 0x0b5586cf9890f62au, 0x11301d0125b50a4fu, 0x172b83c7d517adceu,
    0x1d4873168b9aa781u, 0x2387a6e75623866du, 0x29e9df51fdee12c3u, 0x306fe0a31b7152dfu, 0x371a7373aa9caa72u,
    0x3dea64c12342235cu, 0x44e086061892d032u, 0x4bfdad5362a271d5u, 0x5342b569d4f81df1u, 0x5ab07dd48542958du,
    0x6247eb03a5584b20u, 0x6a09e667f3bcc909u, 0x71f75e8ec5f73dd3u, 0x7a11473eb0186d7eu, 0x82589994cce128adu,
    0x8ace5422aa0db5bbu, 0x93737b0cdc5e4f46u, 0x9c49182a3f0901c8u, 0xa5503b23e255c8b5u, 0xae89f995ad3ad5e9u,
    0xb7f76f2fb5e46eabu, 0xc199bdd85529c223u, 0xcb720dcef9069151u, 0xd5818dcfba48725eu, 0xdfc97337b9b5eb97u,
    0xea4afa2a490d9859u, 0xf50765b6e4540675u};

/* The bin in which each 64th of an octave begins; such a slice crosses at most one edge. */
static const uint8_t first_bin[64] = {0,  0,  1,  2,  2,  3,  4,  4,  5,  6,  6,  7,  7,  8,  9,  9,
                                      10, 10, 11, 12, 12, 13, 13, 14, 14, 15, 15, 16, 16, 17, 17, 18,
                                      18, 19, 19, 20, 20, 21, 21, 21, 22, 22, 23, 23, 24, 24, 25, 25,
                                      25, 26, 26, 27, 27, 27, 28, 28, 29, 29, 29, 30, 30, 30, 31, 31};

static uint32_t *octave_bins(struct histogram *histogram, int octave)
{
    if (!histogram->octave[octave] && !(histogram->octave[octave] = calloc(BINS, sizeof(uint32_t))))
        memory_exhausted(BINS, "bins of a histogram");
    return histogram->octave[octave];
}

static void bin_add(uint32_t *bin, uint32_t count)
{
    *bin = *bin > UINT32_MAX - count ? UINT32_MAX : *bin + count;
}

static uint32_t *bin_of(struct histogram *histogram, uint64_t value)
{
    const int octave = value > 1 ? 63 - __builtin_clzll(value) : 0;
    if (octave >= OCTAVES)
        return &octave_bins(histogram, OCTAVES - 1)[BINS - 1];
    const uint64_t fraction = octave ? value << (64 - octave) : 0;
    int bin = first_bin[fraction >> 58];
    if (bin + 1 < BINS && fraction >= bin_edges[bin + 1])
        bin++;
    return &octave_bins(histogram, octave)[bin];
}

void histogram_add(struct histogram *histogram, uint64_t value)
{
    histogram_add_times(histogram, value, 1);
}

void histogram_add_all(struct histogram *histogram, const uint32_t *values, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        bin_add(bin_of(histogram, values[i]), 1);
    histogram->count += count;
}

void histogram_add_times(struct histogram *histogram, uint64_t value, uint32_t times)
{
    histogram->count += times;
    bin_add(bin_of(histogram, value), times);
}

void histogram_remove(struct histogram *histogram, uint64_t value)
{
    uint32_t *bin = bin_of(histogram, value);
    if (!*bin || !histogram->count)
        return;
    histogram->count--;
    *bin -= *bin != UINT32_MAX; /* a full bin counts no more */
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    into->count += from->count;
    for (int octave = 0; octave < OCTAVES; octave++) {
        if (!from->octave[octave])
            continue;
        uint32_t *bins = octave_bins(into, octave);
        for (int bin = 0; bin < BINS; bin++)
            bin_add(&bins[bin], from->octave[octave][bin]);
    }
}

double histogram_bin_low(int octave, int bin)
{
    return exp2(octave + (double)bin / BINS);
}

static uint64_t octave_total(const uint32_t *bins)
{
    uint64_t total = 0;
    for (int bin = 0; bins && bin < BINS; bin++)
        total += bins[bin];
    return total;
}

/* Of the bins, which saturate, where count does not. */
static uint64_t bins_total(const struct histogram *histogram)
{
    uint64_t total = 0;
    if (histogram->count < UINT32_MAX / 2)
        return histogram->count;
    for (int octave = 0; octave < OCTAVES; octave++)
        total += octave_total(histogram->octave[octave]);
    return total;
}

static double place_of(double q, uint64_t total)
{
    return (q < 0 ? 0 : q > 1 ? 1 : q) * (double)(total - 1);
}

void histogram_quantiles(const struct histogram *histogram, const double *q, double *values, int count)
{
    const uint64_t total = bins_total(histogram);
    int next = 0;
    uint64_t below = 0;
    double place = count ? place_of(q[0], total) : 0;
    for (int octave = 0; total && octave < OCTAVES && next < count; octave++) {
        const uint64_t in_octave = octave_total(histogram->octave[octave]);
        if (!in_octave || place >= (double)(below + in_octave)) {
            below += in_octave;
            continue;
        }
        for (int bin = 0; bin < BINS && next < count; bin++) {
            const uint64_t here = histogram->octave[octave][bin];
            while (here && next < count && place < (double)(below + here)) {
                /* The bin's values are taken as spread evenly over its logarithm, each in the middle of its part. A
                 * place between the last value here and the first of the next bin stays in this one. */
                const double part = (place - (double)below + 0.5) / (double)here;
                values[next] = exp2(octave + (bin + (part > 1 ? 1 : part)) / BINS);
                if (++next < count)
                    place = place_of(q[next], total);
            }
            below += here;
        }
    }
    for (; next < count; next++)
        values[next] = UNKNOWN_DOUBLE;
}

double histogram_quantile(const struct histogram *histogram, double q)
{
    double value;
    histogram_quantiles(histogram, &q, &value, 1);
    return value;
}

void histogram_clear(struct histogram *histogram)
{
    for (int octave = 0; octave < OCTAVES; octave++)
        if (histogram->octave[octave])
            memset(histogram->octave[octave], 0, BINS * sizeof(uint32_t));
    histogram->count = 0;
}

void histogram_release(struct histogram *histogram)
{
    for (int octave = 0; octave < OCTAVES; octave++)
        free(histogram->octave[octave]);
    *histogram = (struct histogram){0};
}

void running_add(struct running *running, uint64_t value)
{
    if (!running->n || value < running->min)
        running->min = value;
    if (value > running->max)
        running->max = value;
    running->total += value;
    running->n++;
    const double delta = (double)value - running->mean;
    running->mean += delta / (double)running->n;
    running->m2 += delta * ((double)value - running->mean);
}

void running_merge(struct running *into, const struct running *from)
{
    if (!from->n)
        return;
    if (!into->n) {
        *into = *from;
        return;
    }
    const double a = (double)into->n, b = (double)from->n, delta = from->mean - into->mean;
    into->m2 += from->m2 + delta * delta * a * b / (a + b);
    into->mean += delta * b / (a + b);
    into->n += from->n;
    into->total += from->total;
    if (from->min < into->min)
        into->min = from->min;
    if (from->max > into->max)
        into->max = from->max;
}

double running_sd(const struct running *running)
{
    return running->n < 2 ? UNKNOWN_DOUBLE : sqrt(running->m2 / (double)(running->n - 1));
}
