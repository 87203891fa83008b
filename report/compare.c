#include "report/compare.h"

const char *verdict_name(enum verdict verdict)
{
    static const char *const names[VERDICT_COUNT] = {"same", "faster", "slower", "ambiguous"};
    return names[verdict];
}

struct ratio compare_medians(const struct report_phase *a, const struct report_phase *b)
{
    struct ratio ratio = {UNKNOWN_DOUBLE, UNKNOWN_DOUBLE, UNKNOWN_DOUBLE, 0};
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

enum verdict compare_verdict(const struct ratio *ratio, double threshold)
{
    const double change = ratio->median - 1;
    if (!is_known(change))
        return VERDICT_AMBIGUOUS;
    if (fabs(change) < COMPARE_SAME)
        return VERDICT_SAME;
    if (!is_known(ratio->low) || !is_known(ratio->high))
        return fabs(change) <= threshold ? VERDICT_SAME : VERDICT_AMBIGUOUS;
    if (ratio->low > 1 && change > threshold)
        return VERDICT_SLOWER;
    if (ratio->high < 1 && -change > threshold)
        return VERDICT_FASTER;
    if (ratio->low >= 1 - threshold && ratio->high <= 1 + threshold)
        return VERDICT_SAME;
    return VERDICT_AMBIGUOUS;
}
