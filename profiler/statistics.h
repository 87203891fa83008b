/* Statistics over samples and streams. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of a list of samples, in the samples' unit (ns). NaN where undefined: sd below n = 2, p99 below n = 100. */
struct summary {
    uint64_t n;
    double mean, sd, median, mad, min, max, p5, p95, p99;
    double median_low, median_high; /* 95 % interval of the median by order statistics (binomial) */
    double cv;
    bool first_is_outlier;          /* |x0 − median| / MAD > 1.4826·10 among the counted samples */
    uint32_t outliers;
    double drift;                   /* (median of last third − median of first third) / MAD; NaN below n = 6 */
};
void summary_of(const uint64_t *samples, size_t count, struct summary *summary);

/* Median of pairwise ratios a[i]/b[i] with its 95 % interval by order statistics. */
struct ratio { double median, low, high; uint64_t n; };
void ratio_of_pairs(const uint64_t *a, const uint64_t *b, size_t count, struct ratio *ratio);
/* Of fewer samples there is no interval of a ratio. The resampled medians would span too little: of equal runs, "95 %" would
 * leave out 1 in a third of cases with two samples, in a tenth with three. */
#define RATIO_LEAST_SAMPLES 5
/* Ratio of medians of unpaired samples, interval by a seeded bootstrap. */
void ratio_of_medians(const uint64_t *a, size_t count_a, const uint64_t *b, size_t count_b, struct ratio *ratio);

/* A log histogram: 32 bins an octave (within ±1.1 %), octaves allocated when first hit. Mergeable. */
#define HISTOGRAM_BINS_PER_OCTAVE 32
struct histogram {
    uint64_t count;
    uint32_t *octave[40]; /* 2^0 … 2^39 ns */
};
void histogram_add(struct histogram *histogram, uint64_t value);
void histogram_add_times(struct histogram *histogram, uint64_t value, uint32_t times);
void histogram_remove(struct histogram *histogram, uint64_t value); /* one that was added */
void histogram_merge(struct histogram *into, const struct histogram *from);
double histogram_quantile(const struct histogram *histogram, double q); /* NaN when empty; interpolated in the bin */
/* count quantiles in one go, in ascending order of q. */
void histogram_quantiles(const struct histogram *histogram, const double *q, double *values, int count);
void histogram_clear(struct histogram *histogram); /* keeps the octaves' storage */
double histogram_bin_low(int octave, int bin);  /* lower edge in ns */
void histogram_release(struct histogram *histogram);

/* Welford's running mean and variance with extremes (Knuth, vol. 2, 4.2.2). Mergeable (Chan). */
struct running { uint64_t n; double mean, m2; uint64_t min, max, total; };
void running_add(struct running *running, uint64_t value);
/* Takes a value out that was added. The extremes stay: they still bound what is left. */
void running_remove(struct running *running, uint64_t value);
void running_merge(struct running *into, const struct running *from);
double running_sd(const struct running *running); /* NaN below n = 2 */
