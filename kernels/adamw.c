#include "kernels/adamw.h"
#include <math.h>

int adamw_slot(struct adamw *known, int *count, int most, const struct adamw *wanted)
{
    for (int i = 0; i < *count; i++)
        if (known[i].learning_rate == wanted->learning_rate && known[i].beta1 == wanted->beta1 &&
            known[i].beta2 == wanted->beta2)
            return i;
    if (*count == most)
        return -1;
    known[*count] = *wanted;
    return (*count)++;
}

double adamw_rate(const struct adamw *adamw, int64_t t)
{
    const double beta1 = (double)adamw->beta1, beta2 = (double)adamw->beta2;
    return (double)adamw->learning_rate * sqrt(1 - pow(beta2, (double)t)) / (1 - pow(beta1, (double)t));
}
