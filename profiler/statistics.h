/* Statistics over samples and streams. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SUMMARY_LEAST_OUTLIERS 5 /* of fewer samples two that are alike would make an outlier of any third */

/* Of a list of samples, in the samples' unit (ns). NaN where undefined: sd below n = 2, p99 below n = 100. */
struct summary {
    uint64_t n;
    double mean, sd, median, mad, min, max, p5, p95, p99;
    double median_low, median_high; /* 95 % interval of the median by order statistics (binomial) */
    double cv;
    bool first_is_outlier; /* |x0 − median| above 1.4826·10 MAD and above 0.5 % of the median */
    uint32_t outliers;     /* how many are; UNKNOWN_U32 below SUMMARY_LEAST_OUTLIERS */
    double drift;          /* (median of last third − of first third) ÷ MAD, which counts as at least a 600th of
                                       the median: from 3 on it is told of; NaN below n = 6 */
};
void summary_of(const uint64_t *samples, size_t count, struct summary *summary);

/* Median of pairwise ratios a[i]/b[i] with its 95 % interval by order statistics. */
struct ratio {
    double median, low, high;
    uint64_t n;
    double level; /* of the exact test that made the interval: how often equal runs leave it; 0: 5 % by another way */
};
void ratio_of_pairs(const uint64_t *a, const uint64_t *b, size_t count, struct ratio *ratio);
/* Of fewer samples on a side there is no interval of a ratio: of two times three equal runs one is all faster than the other
 * in a tenth of cases. */
#define RATIO_LEAST_SAMPLES 4
/* Up to here the interval is that of the exact rank test (Mann and Whitney 1947): two runs of four steps that do not overlap
 * differ at a level of 2 / 70. */
#define RATIO_EXACT_SAMPLES 9
/* Ratio of medians of unpaired samples; interval by the exact test where a side has few samples, else by a seeded bootstrap. */
void ratio_of_medians(const uint64_t *a, size_t count_a, const uint64_t *b, size_t count_b, struct ratio *ratio);

/* A log histogram: 32 bins an octave (within ±1.1 %), octaves allocated when first hit. Mergeable. */
#define HISTOGRAM_BINS_PER_OCTAVE 32
struct histogram {
    uint64_t count;
    uint32_t *octave[40]; /* 2^0 … 2^39 ns */
};
void histogram_add(struct histogram *histogram, uint64_t value);
void histogram_add_all(struct histogram *histogram, const uint32_t *values, unsigned count);
void histogram_add_times(struct histogram *histogram, uint64_t value, uint32_t times);
void histogram_remove(struct histogram *histogram, uint64_t value); /* one that was added */
void histogram_merge(struct histogram *into, const struct histogram *from);
double histogram_quantile(const struct histogram *histogram, double q); /* NaN when empty; interpolated in the bin */
/* count quantiles in one go, in ascending order of q. */
void histogram_quantiles(const struct histogram *histogram, const double *q, double *values, int count);
void histogram_clear(struct histogram *histogram); /* keeps the octaves' storage */
double histogram_bin_low(int octave, int bin);     /* lower edge in ns */
void histogram_release(struct histogram *histogram);

/* Welford's running mean and variance with extremes (Knuth, vol. 2, 4.2.2). Mergeable (Chan). */
struct running {
    uint64_t n;
    double mean, m2;
    uint64_t min, max, total;
};
void running_add(struct running *running, uint64_t value);
void running_merge(struct running *into, const struct running *from);
double running_sd(const struct running *running); /* NaN below n = 2 */
