#include "profiler/statistics.h"
#include "base/limits.h"
#include "base/random.h"
#include "base/unknown.h"
#include <stdlib.h>
#include <string.h>

/* What differs by less than this part of the median is neither an outlier nor a drift, however quiet the other steps were:
 * steps that agree to nanoseconds must not make one of a few tens of them. */
#define NOTABLE 0.005
#define OUTLIER_DEVIATIONS (1.4826 * 10)
#define DRIFT_DEVIATIONS 3 /* from where on a drift is told of: NOTABLE is as many deviations */

static int compare_u64(const void *left, const void *right)
{
    const uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

static int compare_double(const void *left, const void *right)
{
    const double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);
    if (!memory)
        memory_exhausted(count, "values for statistics");
    return memory;
}

/* Quantile of sorted values, linear between the two nearest order statistics (Hyndman and Fan 1996, type 7). */
static double quantile(const double *sorted, size_t count, double q)
{
    const double place = q * (double)(count - 1);
    const size_t below = (size_t)place;
    if (below + 1 >= count)
        return sorted[count - 1];
    return sorted[below] + (place - (double)below) * (sorted[below + 1] - sorted[below]);
}

static double median_of(const double *values, size_t count)
{
    double *sorted = allocate(count, sizeof *sorted);
    memcpy(sorted, values, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, compare_double);
    const double median = quantile(sorted, count, 0.5);
    free(sorted);
    return median;
}

/* The order statistics that bound the median with at least 95 %: the largest l with P(Bin(n, 1/2) < l) <= 2.5 %, and
 * n + 1 - l (David and Nagaraja, Order Statistics, 7.1). Returns l from 1, or 0 where n < 6 and no such pair exists. */
static size_t median_interval_rank(size_t count)
{
    int sign;
    const double all = lgamma_r((double)count + 1, &sign) - (double)count * log(2);
    double below = 0;
    for (size_t k = 0; k < count; k++) {
        below += exp(all - lgamma_r((double)k + 1, &sign) - lgamma_r((double)(count - k) + 1, &sign));
        if (below > 0.025)
            return k;
    }
    return 0;
}

static void median_interval(const double *sorted, size_t count, double *low, double *high)
{
    const size_t rank = median_interval_rank(count);
    *low = rank ? sorted[rank - 1] : UNKNOWN_DOUBLE;
    *high = rank ? sorted[count - rank] : UNKNOWN_DOUBLE;
}

void summary_of(const uint64_t *samples, size_t count, struct summary *summary)
{
    const double nan = UNKNOWN_DOUBLE;
    *summary = (struct summary){.n = count,
                                .mean = nan,
                                .sd = nan,
                                .median = nan,
                                .mad = nan,
                                .min = nan,
                                .max = nan,
                                .p5 = nan,
                                .p95 = nan,
                                .p99 = nan,
                                .median_low = nan,
                                .median_high = nan,
                                .cv = nan,
                                .outliers = UNKNOWN_U32,
                                .drift = nan};
    if (!count)
        return;
    double *values = allocate(count, sizeof *values), *sorted = allocate(count, sizeof *sorted);
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += values[i] = sorted[i] = (double)samples[i];
    qsort(sorted, count, sizeof *sorted, compare_double);

    summary->mean = sum / (double)count;
    summary->min = sorted[0];
    summary->max = sorted[count - 1];
    summary->median = quantile(sorted, count, 0.5);
    summary->p5 = quantile(sorted, count, 0.05);
    summary->p95 = quantile(sorted, count, 0.95);
    if (count >= 100)
        summary->p99 = quantile(sorted, count, 0.99);
    median_interval(sorted, count, &summary->median_low, &summary->median_high);
    if (count >= 2) {
        double squares = 0;
        for (size_t i = 0; i < count; i++)
            squares += (values[i] - summary->mean) * (values[i] - summary->mean);
        summary->sd = sqrt(squares / (double)(count - 1));
        if (summary->mean > 0)
            summary->cv = summary->sd / summary->mean;
    }

    for (size_t i = 0; i < count; i++)
        sorted[i] = fabs(values[i] - summary->median);
    summary->mad = median_of(sorted, count);
    /* Clocks tick in whole nanoseconds: a spread below one tick is not a spread. */
    const double notable = NOTABLE * summary->median, spread = fmax(summary->mad, 1);
    if (count >= SUMMARY_LEAST_OUTLIERS) {
        const double limit = fmax(OUTLIER_DEVIATIONS * spread, notable);
        summary->outliers = 0;
        for (size_t i = 0; i < count; i++)
            summary->outliers += fabs(values[i] - summary->median) > limit;
        summary->first_is_outlier = fabs(values[0] - summary->median) > limit;
    }
    if (count >= 6 && summary->median > 0) {
        const size_t third = count / 3;
        summary->drift = (median_of(values + count - third, third) - median_of(values, third)) /
                         fmax(spread, notable / DRIFT_DEVIATIONS);
    }
    free(values);
    free(sorted);
}

static const struct ratio no_ratio = {.median = NAN, .low = NAN, .high = NAN};

void ratio_of_pairs(const uint64_t *a, const uint64_t *b, size_t count, struct ratio *ratio)
{
    *ratio = no_ratio;
    double *ratios = allocate(count, sizeof *ratios);
    size_t used = 0;
    for (size_t i = 0; i < count; i++)
        if (b[i] > 0)
            ratios[used++] = (double)a[i] / (double)b[i];
    if (used) {
        qsort(ratios, used, sizeof *ratios, compare_double);
        ratio->n = used;
        ratio->median = quantile(ratios, used, 0.5);
        median_interval(ratios, used, &ratio->low, &ratio->high);
    }
    free(ratios);
}

#define RESAMPLES 1000

/* Median of one resample with replacement of `sorted`; `hits` (count of them) is scratch. Only how often each value was
 * drawn matters, so nothing is sorted. */
static double resampled_median(const uint64_t *sorted, size_t count, uint32_t *hits, uint64_t stream)
{
    memset(hits, 0, count * sizeof *hits);
    for (size_t draw = 0; draw < count; draw++)
        hits[(size_t)(random_uniform(0x73746570746f70u, stream, draw) * (double)count)]++;
    const size_t lower = (count - 1) / 2, upper = count / 2;
    size_t seen = 0, i = 0;
    while (seen + hits[i] <= lower)
        seen += hits[i++];
    const double low = (double)sorted[i];
    while (seen + hits[i] <= upper)
        seen += hits[i++];
    return (low + (double)sorted[i]) / 2;
}

/* The largest k with P(U < k) ≤ 2.5 %, U being Mann and Whitney's statistic of `m` and `n` samples that do not differ: the
 * coefficients of the Gaussian binomial (m + n over m) count the orders by U. *below becomes that probability. */
static size_t rank_of_interval(size_t m, size_t n, double *below)
{
    const size_t half = m * n / 2 + 1;
    double *orders = allocate(half, sizeof *orders), all = 1, sum = 0;
    size_t k = 0;
    orders[0] = 1;
    for (size_t i = 1; i <= m; i++) {
        all *= (double)(n + i) / (double)i;
        for (size_t u = half; u-- > n + i;)
            orders[u] -= orders[u - n - i];
        for (size_t u = i; u < half; u++)
            orders[u] += orders[u - i];
    }
    for (*below = 0; k < half; k++) {
        sum += orders[k] / all;
        if (sum > 0.025)
            break;
        *below = sum;
    }
    free(orders);
    return k;
}

/* The ratios that the exact rank test does not refuse: between two of all pairs' ratios, which stand in order. */
static void exact_interval(const uint64_t *a, size_t count_a, const uint64_t *b, size_t count_b, struct ratio *ratio)
{
    const bool fewer = count_a < count_b;
    double below;
    const size_t k = rank_of_interval(fewer ? count_a : count_b, fewer ? count_b : count_a, &below);
    double *ratios = allocate(count_a * count_b, sizeof *ratios);
    size_t used = 0;
    for (size_t i = 0; i < count_a; i++)
        for (size_t j = 0; j < count_b; j++)
            if (b[j] > 0)
                ratios[used++] = (double)a[i] / (double)b[j];
    if (k && used == count_a * count_b) {
        qsort(ratios, used, sizeof *ratios, compare_double);
        ratio->low = fmin(ratios[k - 1], ratio->median);
        ratio->high = fmax(ratios[used - k], ratio->median);
        ratio->level = 2 * below;
    }
    free(ratios);
}

void ratio_of_medians(const uint64_t *a, size_t count_a, const uint64_t *b, size_t count_b, struct ratio *ratio)
{
    *ratio = no_ratio;
    if (!count_a || !count_b)
        return;
    const size_t larger = count_a > count_b ? count_a : count_b;
    uint64_t *sorted_a = allocate(count_a, sizeof *sorted_a), *sorted_b = allocate(count_b, sizeof *sorted_b);
    uint32_t *hits = allocate(larger, sizeof *hits);
    double *ratios = allocate(RESAMPLES, sizeof *ratios);
    memcpy(sorted_a, a, count_a * sizeof *a);
    memcpy(sorted_b, b, count_b * sizeof *b);
    qsort(sorted_a, count_a, sizeof *a, compare_u64);
    qsort(sorted_b, count_b, sizeof *b, compare_u64);
    const double median_a = ((double)sorted_a[(count_a - 1) / 2] + (double)sorted_a[count_a / 2]) / 2;
    const double median_b = ((double)sorted_b[(count_b - 1) / 2] + (double)sorted_b[count_b / 2]) / 2;
    if (median_b > 0) {
        ratio->median = median_a / median_b;
        ratio->n = count_a < count_b ? count_a : count_b;
        if (ratio->n >= RATIO_LEAST_SAMPLES && ratio->n <= RATIO_EXACT_SAMPLES)
            exact_interval(sorted_a, count_a, sorted_b, count_b, ratio);
        else if (ratio->n > RATIO_EXACT_SAMPLES) {
            size_t used = 0;
            for (uint64_t i = 0; i < RESAMPLES; i++) {
                const double below = resampled_median(sorted_b, count_b, hits, 2 * i + 1);
                if (below > 0)
                    ratios[used++] = resampled_median(sorted_a, count_a, hits, 2 * i) / below;
            }
            if (used) {
                qsort(ratios, used, sizeof *ratios, compare_double);
                ratio->low = quantile(ratios, used, 0.025);
                ratio->high = quantile(ratios, used, 0.975);
            }
        }
    }
    free(sorted_a);
    free(sorted_b);
    free(hits);
    free(ratios);
}
