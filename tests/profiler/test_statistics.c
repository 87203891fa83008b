/* Summaries, ratios, histograms and running statistics against values worked out by hand or by brute force. */
#include "base/random.h"
#include "base/unknown.h"
#include "profiler/statistics.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define assert_near(value, expected, relative)                                                                         \
    assert_true(fabs((value) - (expected)) <= (relative)*fabs((double)(expected)))

static void summary_by_hand(void **state)
{
    (void)state;
    /* mean 30, deviations −20 −10 0 10 20: sd = sqrt(1000/4); quantiles linear between order statistics. */
    const uint64_t samples[] = {50, 10, 30, 20, 40};
    struct summary s;
    summary_of(samples, COUNT(samples), &s);
    assert_int_equal(s.n, 5);
    assert_near(s.mean, 30, 1e-15);
    assert_near(s.sd, sqrt(250), 1e-15);
    assert_near(s.cv, sqrt(250) / 30, 1e-15);
    assert_near(s.median, 30, 1e-15);
    assert_near(s.mad, 10, 1e-15);
    assert_near(s.min, 10, 0);
    assert_near(s.max, 50, 0);
    assert_near(s.p5, 12, 1e-15);  /* place 0.2 */
    assert_near(s.p95, 48, 1e-15); /* place 3.8 */
    assert_false(is_known(s.p99));
    assert_false(is_known(s.median_low)); /* five samples bound the median with 93.75 % at best */
    assert_false(is_known(s.drift));
    assert_int_equal(s.outliers, 0);
    assert_false(s.first_is_outlier);

    const uint64_t even[] = {4, 1, 3, 2};
    summary_of(even, 4, &s);
    assert_int_equal(s.outliers, UNKNOWN_U32); /* too few to tell */
    assert_near(s.median, 2.5, 1e-15);
    assert_near(s.mad, 1, 1e-15); /* of 1.5 1.5 0.5 0.5 */

    const uint64_t one[] = {7};
    summary_of(one, 1, &s);
    assert_near(s.mean, 7, 0);
    assert_false(is_known(s.sd));
    assert_near(s.p95, 7, 0);

    summary_of(NULL, 0, &s);
    assert_int_equal(s.n, 0);
    assert_false(is_known(s.mean));
    assert_false(is_known(s.median));
}

/* Tables of the sign test: 95 % intervals of a median are [x1, xn] for n = 6, [x2, x9] for 10, [x6, x15] for 20, [x40, x61]
 * for 100. */
static void median_interval_of_tables(void **state)
{
    (void)state;
    static const struct {
        size_t n, low, high;
    } table[] = {{6, 1, 6}, {8, 1, 8}, {9, 2, 8}, {10, 2, 9}, {20, 6, 15}, {100, 40, 61}};
    for (size_t t = 0; t < COUNT(table); t++) {
        uint64_t samples[100];
        for (size_t i = 0; i < table[t].n; i++)
            samples[i] = i + 1;
        struct summary s;
        summary_of(samples, table[t].n, &s);
        assert_near(s.median_low, (double)table[t].low, 0);
        assert_near(s.median_high, (double)table[t].high, 0);
    }
}

static void p99_from_a_hundred(void **state)
{
    (void)state;
    uint64_t samples[100];
    for (size_t i = 0; i < 100; i++)
        samples[i] = (i * 37) % 100 + 1; /* 1 … 100 in a shuffled order */
    struct summary s;
    summary_of(samples, 100, &s);
    assert_near(s.p99, 99.01, 1e-12);
    summary_of(samples, 99, &s);
    assert_false(is_known(s.p99));
}

static void outliers_and_drift(void **state)
{
    (void)state;
    /* median 100, |x − median|: 400 1 1 0 1 0 1 → MAD 1, limit 14.826 */
    const uint64_t first[] = {500, 99, 101, 100, 99, 100, 101};
    struct summary s;
    summary_of(first, COUNT(first), &s);
    assert_true(s.first_is_outlier);
    assert_int_equal(s.outliers, 1);
    const uint64_t later[] = {99, 500, 101, 100, 99, 100, 101};
    summary_of(later, COUNT(later), &s);
    assert_false(s.first_is_outlier);
    assert_int_equal(s.outliers, 1);
    /* first third 10 20, last third 50 60, median 35, MAD of 25 15 5 5 15 25 = 15 */
    const uint64_t rising[] = {10, 20, 30, 40, 50, 60};
    summary_of(rising, COUNT(rising), &s);
    assert_near(s.drift, (55.0 - 15.0) / 15.0, 1e-15);
    /* Nanoseconds of milliseconds are neither, however quiet the other steps were. */
    const uint64_t quiet[] = {50000100, 50000000, 50000000, 50000000, 50000000, 50000000, 50000008, 50000008, 50000008};
    summary_of(quiet, COUNT(quiet), &s);
    assert_int_equal(s.outliers, 0);
    assert_false(s.first_is_outlier);
    assert_true(fabs(s.drift) < 0.001);
    /* Beyond half a percent they are. */
    const uint64_t loud[] = {50300000, 50000000, 50000001, 50000000, 50000002, 50000000, 50400000, 50400000, 50400000};
    summary_of(loud, COUNT(loud), &s);
    assert_true(s.first_is_outlier && s.outliers == 4 && s.drift > 3);
    /* Two of three that are alike make no outlier of the third. */
    const uint64_t alike[] = {41983000, 41988000, 39619000};
    summary_of(alike, COUNT(alike), &s);
    assert_int_equal(s.outliers, UNKNOWN_U32);
    assert_false(s.first_is_outlier);
    /* equal samples have a spread of one tick, not of nothing */
    const uint64_t equal[] = {100, 100, 100, 100, 100, 101};
    summary_of(equal, COUNT(equal), &s);
    assert_int_equal(s.outliers, 0);
}

static void ratios_of_pairs(void **state)
{
    (void)state;
    const uint64_t a[] = {110, 220, 330, 120, 5}, b[] = {100, 200, 300, 100, 0};
    struct ratio r;
    ratio_of_pairs(a, b, 5, &r); /* 1.1 1.1 1.1 1.2; the pair over zero is no ratio */
    assert_int_equal(r.n, 4);
    assert_near(r.median, 1.1, 1e-15);
    assert_false(is_known(r.low));
    uint64_t x[10], y[10];
    for (uint64_t i = 0; i < 10; i++) {
        x[i] = 100 + i;
        y[i] = 100;
    }
    ratio_of_pairs(x, y, 10, &r);
    assert_near(r.median, 1.045, 1e-12);
    assert_near(r.low, 1.01, 1e-12);
    assert_near(r.high, 1.08, 1e-12);
    ratio_of_pairs(a, b, 0, &r);
    assert_false(is_known(r.median));
}

static void ratio_of_medians_covers(void **state)
{
    (void)state;
    /* 200 experiments with a true ratio of 1.25: a 95 % interval holds it in most of them, and is narrow. */
    int covered = 0;
    double width = 0;
    for (uint64_t trial = 0; trial < 200; trial++) {
        uint64_t a[40], b[30];
        for (uint64_t i = 0; i < 40; i++)
            a[i] = (uint64_t)(125000 + 5000 * random_normal_cut3(1, trial, i));
        for (uint64_t i = 0; i < 30; i++)
            b[i] = (uint64_t)(100000 + 4000 * random_normal_cut3(2, trial, i));
        struct ratio r, again;
        ratio_of_medians(a, 40, b, 30, &r);
        ratio_of_medians(a, 40, b, 30, &again);
        assert_memory_equal(&r, &again, sizeof r); /* the resampling is seeded */
        assert_int_equal(r.n, 30);
        covered += r.low <= 1.25 && 1.25 <= r.high;
        width += r.high - r.low;
    }
    assert_in_range(covered, 175, 200);
    assert_true(width / 200 < 0.08 && width / 200 > 0.02);
    const uint64_t one = 5, zero = 0;
    struct ratio r;
    /* No interval of fewer than four samples: it would be far narrower than it says. */
    const uint64_t few[5] = {100, 101, 102, 103, 104}, more[5] = {110, 111, 112, 113, 114};
    ratio_of_medians(more, 3, few, 3, &r);
    assert_near(r.median, 111.0 / 101, 1e-12);
    assert_false(is_known(r.low));
    ratio_of_medians(more, 5, few, 5, &r);
    assert_true(r.low > 1 && r.low <= r.median && r.high >= r.median);
    ratio_of_medians(&one, 1, &one, 1, &r);
    assert_near(r.median, 1, 0);
    assert_false(is_known(r.low));
    ratio_of_medians(&one, 1, &zero, 1, &r);
    assert_false(is_known(r.median));
}

/* Mann and Whitney's table of critical values, two-sided 5 %: the interval leaves out as many of the ordered ratios at each end
 * as the largest U that is refused, and one more. */
static void small_samples_are_judged_exactly(void **state)
{
    (void)state;
    static const struct {
        size_t m, n;
        int critical;
    } table[] = {{4, 4, 0}, {4, 6, 2},  {5, 5, 2},  {5, 9, 7},   {6, 6, 5},
                 {7, 7, 8}, {8, 8, 13}, {9, 9, 17}, {9, 20, 48}, {4, 20, 14}};
    for (size_t t = 0; t < COUNT(table); t++) {
        const size_t m = table[t].m, n = table[t].n, all = m * n, k = (size_t)table[t].critical + 1;
        uint64_t a[20], b[20];
        double ratios[400];
        for (size_t i = 0; i < m; i++)
            a[i] = 1000000 + 1009 * i * i;
        for (size_t j = 0; j < n; j++)
            b[j] = 1000000 + 7919 * j;
        for (size_t i = 0, at = 0; i < m; i++)
            for (size_t j = 0; j < n; j++, at++) {
                const double ratio = (double)a[i] / (double)b[j];
                size_t place = at;
                for (; place > 0 && ratios[place - 1] > ratio; place--)
                    ratios[place] = ratios[place - 1];
                ratios[place] = ratio;
            }
        struct ratio r;
        ratio_of_medians(a, m, b, n, &r);
        assert_near(r.low, ratios[k - 1], 0);
        assert_near(r.high, ratios[all - k], 0);
        assert_true(r.level > 0 && r.level <= 0.05);
    }
    const uint64_t quick[] = {100, 104, 101, 103}, slow[] = {300, 470, 288, 310};
    struct ratio r;
    ratio_of_medians(slow, 4, quick, 4, &r);
    assert_near(r.level, 2.0 / 70, 1e-12);
    assert_near(r.low, 288.0 / 104, 1e-12);
    assert_near(r.high, 470.0 / 100, 1e-12);
    /* Thousands against few: no overflow, and still a level below 5 %. */
    static uint64_t many[4096];
    for (size_t i = 0; i < COUNT(many); i++)
        many[i] = 1000 + i % 97;
    ratio_of_medians(many, COUNT(many), slow, 4, &r);
    assert_true(r.level > 0.045 && r.level <= 0.05 && r.low < r.median && r.median < r.high);
}

static void welford_against_two_passes(void **state)
{
    (void)state;
    /* A large mean and a small deviation, where a plain sum of squares loses all digits. */
    struct running all = {0}, part[3] = {{0}};
    uint64_t values[9001];
    double mean = 0, squares = 0;
    for (size_t i = 0; i < COUNT(values); i++) {
        values[i] = 1000000000u + (uint64_t)(100 * random_uniform(7, 0, i));
        mean += (double)(values[i] - 1000000000u) / COUNT(values);
        running_add(&all, values[i]);
        running_add(&part[i < 100 ? 0 : i < 5000 ? 1 : 2], values[i]);
    }
    for (size_t i = 0; i < COUNT(values); i++)
        squares += ((double)(values[i] - 1000000000u) - mean) * ((double)(values[i] - 1000000000u) - mean);
    const double sd = sqrt(squares / (COUNT(values) - 1));
    assert_near(all.mean - 1e9, mean, 1e-5);
    assert_near(running_sd(&all), sd, 1e-5);

    struct running merged = {0};
    for (int i = 0; i < 3; i++)
        running_merge(&merged, &part[i]);
    running_merge(&merged, &(struct running){0});
    assert_int_equal(merged.n, COUNT(values));
    assert_int_equal(merged.total, all.total);
    assert_int_equal(merged.min, all.min);
    assert_int_equal(merged.max, all.max);
    assert_near(merged.mean - 1e9, mean, 1e-5);
    assert_near(running_sd(&merged), sd, 1e-5);
    assert_false(is_known(running_sd(&(struct running){.n = 1, .mean = 4})));
}

static int compare(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* The exact quantile must lie within the stated 1.1 % of what the bins say. */
static void histogram_against_sorting(void **state)
{
    (void)state;
    enum { N = 20000 };
    uint64_t *values = calloc(N, sizeof *values);
    struct histogram whole = {0}, half[2] = {{0}};
    for (size_t i = 0; i < N; i++) {
        values[i] = (uint64_t)exp(5 + 14 * random_uniform(3, 1, i)); /* 148 ns to 178 s, even in the logarithm */
        histogram_add(&whole, values[i]);
        histogram_add(&half[i & 1], values[i]);
    }
    qsort(values, N, sizeof *values, compare);
    static const double quantiles[] = {0, 0.001, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999, 1};
    struct histogram merged = {0};
    histogram_merge(&merged, &half[0]);
    histogram_merge(&merged, &half[1]);
    for (size_t i = 0; i < COUNT(quantiles); i++) {
        const double exact = (double)values[(size_t)(quantiles[i] * (N - 1))];
        assert_near(histogram_quantile(&whole, quantiles[i]), exact, 0.0225); /* a bin is 2.19 % wide */
        assert_true(histogram_quantile(&merged, quantiles[i]) == histogram_quantile(&whole, quantiles[i]));
    }
    histogram_release(&whole);
    for (int i = 0; i < 2; i++)
        histogram_release(&half[i]);
    histogram_release(&merged);
    free(values);
}

/* One value, from each bin's own range: it comes back within ±1.1 %, and its bin's edges enclose it. */
static void histogram_of_one_value(void **state)
{
    (void)state;
    for (uint64_t value = 1; value < (1u << 20); value += 1 + value / 97) {
        struct histogram h = {0};
        histogram_add(&h, value);
        const double middle = histogram_quantile(&h, 0.5);
        assert_near(middle, (double)value, 0.0111);
        bool found = false;
        for (int octave = 0; octave < 40; octave++)
            for (int bin = 0; h.octave[octave] && bin < HISTOGRAM_BINS_PER_OCTAVE; bin++)
                if (h.octave[octave][bin]) {
                    assert_false(found);
                    found = true;
                    const double low = histogram_bin_low(octave, bin), high = histogram_bin_low(octave, bin + 1);
                    assert_true(low <= (double)value * (1 + 1e-15) && (double)value < high);
                }
        assert_true(found);
        histogram_release(&h);
    }
}

static void histogram_at_its_ends(void **state)
{
    (void)state;
    struct histogram h = {0};
    assert_false(is_known(histogram_quantile(&h, 0.5)));
    histogram_add(&h, 0);
    histogram_add(&h, 1);
    assert_int_equal(h.octave[0][0], 2);
    histogram_add(&h, UINT64_MAX);
    histogram_add(&h, (uint64_t)1 << 40);
    histogram_add(&h, ((uint64_t)1 << 40) - 1);
    assert_int_equal(h.octave[39][31], 3);
    assert_int_equal(h.count, 5);
    h.octave[0][0] = UINT32_MAX;
    histogram_add(&h, 1);
    assert_int_equal(h.octave[0][0], UINT32_MAX); /* full, not zero */
    histogram_release(&h);
    assert_int_equal(h.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(summary_by_hand),
        cmocka_unit_test(median_interval_of_tables),
        cmocka_unit_test(p99_from_a_hundred),
        cmocka_unit_test(outliers_and_drift),
        cmocka_unit_test(ratios_of_pairs),
        cmocka_unit_test(ratio_of_medians_covers),
        cmocka_unit_test(small_samples_are_judged_exactly),
        cmocka_unit_test(welford_against_two_passes),
        cmocka_unit_test(histogram_against_sorting),
        cmocka_unit_test(histogram_of_one_value),
        cmocka_unit_test(histogram_at_its_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
