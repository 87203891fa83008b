#include "report/compare.h"
#include <stdio.h>

const char *verdict_name(enum verdict verdict)
{
    static const char *const names[VERDICT_COUNT] = {"same", "faster", "slower", "ambiguous", "unclear"};
    return names[verdict];
}

struct ratio compare_medians(const struct report_phase *a, const struct report_phase *b)
{
    struct ratio ratio = {UNKNOWN_DOUBLE, UNKNOWN_DOUBLE, UNKNOWN_DOUBLE, 0, 0};
    if (a->summary.n && b->summary.n) {
        const bool medians = is_known(a->summary.median) && is_known(b->summary.median);
        ratio.median = medians ? b->summary.median / a->summary.median : b->summary.mean / a->summary.mean;
        ratio.n = a->summary.n < b->summary.n ? a->summary.n : b->summary.n;
    }
    return ratio;
}

struct ratio compare_phases(const struct report_phase *a, const struct report_phase *b)
{
    struct ratio ratio;
    if (!a->sample_count || !b->sample_count)
        return compare_medians(a, b);
    ratio_of_medians(b->samples_ns, b->sample_count, a->samples_ns, a->sample_count, &ratio);
    ratio.n = a->sample_count < b->sample_count ? a->sample_count : b->sample_count;
    return ratio;
}

/* Student's t: 97.5 % are below it. Abramowitz & Stegun 26.7.5, within 0.3 % from 4 degrees of freedom on. */
static double student_975(double freedom)
{
    const double z = 1.959963984540054, z2 = z * z;
    const double first = (z2 + 1) * z / 4, second = ((5 * z2 + 16) * z2 + 3) * z / 96,
                 third = (((3 * z2 + 19) * z2 + 17) * z2 - 15) * z / 384;
    return z + (first + (second + third / freedom) / freedom) / freedom;
}

struct ratio compare_means(double a, double error_a, double b, double error_b, uint64_t steps)
{
    struct ratio ratio = {UNKNOWN_DOUBLE, UNKNOWN_DOUBLE, UNKNOWN_DOUBLE, steps, 0};
    if (!(a > 0) || !(b > 0))
        return ratio;
    ratio.median = b / a;
    if (steps < COMPARE_LEAST_STEPS)
        return ratio;
    const double relative = sqrt(error_a / a * (error_a / a) + error_b / b * (error_b / b));
    /* Of the logarithm, whose error this is, too: no time becomes shorter than nothing. */
    const double factor = exp(student_975((double)(steps - 1)) * relative);
    ratio.low = ratio.median / factor;
    ratio.high = ratio.median * factor;
    return ratio;
}

enum verdict compare_verdict(const struct ratio *ratio, double threshold)
{
    const double change = ratio->median - 1;
    if (!is_known(change) || !is_known(ratio->low) || !is_known(ratio->high))
        return VERDICT_UNCLEAR;
    if (ratio->low > 1 && change > threshold)
        return VERDICT_SLOWER;
    if (ratio->high < 1 && -change > threshold)
        return VERDICT_FASTER;
    if (ratio->low >= 1 - threshold && ratio->high <= 1 + threshold)
        return VERDICT_SAME;
    return VERDICT_AMBIGUOUS;
}

void overhead_text(const struct ratio *overhead, char *text, size_t size)
{
    if (!is_known(overhead->median))
        snprintf(text, size, "n/a");
    else if (overhead->median < 1 && !(overhead->high < 1))
        snprintf(text, size, "≈ 0");
    else
        snprintf(text, size, "%+.2f %%", (overhead->median - 1) * 100);
}
