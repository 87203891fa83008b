#include "report/counted.h"
#include "base/unknown.h"
#include <string.h>

static int find(const struct report_cell *cell, const char *name)
{
    for (int c = 0; c < REPORT_COUNTERS; c++)
        if (cell->counter_names[c] && strcmp(cell->counter_names[c], name) == 0)
            return c;
    return -1;
}

double counted_sum(const struct report_cell *cell, const struct report_kernel *kernel, const char *name)
{
    const int c = find(cell, name);
    return c >= 0 && kernel->counters && is_known_u64(kernel->counters->values[c]) ? (double)kernel->counters->values[c]
                                                                                   : UNKNOWN_DOUBLE;
}

double counted_mean(const struct report_cell *cell, const struct report_kernel *kernel, const char *name)
{
    const double sum = counted_sum(cell, kernel, name);
    return is_known(sum) && kernel->counters->samples ? sum / (double)kernel->counters->samples : UNKNOWN_DOUBLE;
}

bool counted_mostly_own(const struct report_cell *cell, const struct report_kernel *kernel, const char *name)
{
    const int c = find(cell, name);
    const double mean = counted_mean(cell, kernel, name);
    return is_known(mean) && is_known_u64(cell->counter_own[c]) && cell->counter_own[c] > 0 &&
           mean < 2 * (double)cell->counter_own[c];
}

bool counted_work(const struct report_cell *cell)
{
    return find(cell, "dram_bytes") >= 0 && find(cell, "flops") >= 0 && find(cell, "gpu_ns") >= 0;
}

double counted_ipc(const struct report_cell *cell, const struct report_kernel *kernel)
{
    const double cycles = counted_sum(cell, kernel, "cycles");
    if (counted_mostly_own(cell, kernel, "cycles") || counted_mostly_own(cell, kernel, "instructions"))
        return UNKNOWN_DOUBLE;
    return cycles > 0 ? counted_sum(cell, kernel, "instructions") / cycles : UNKNOWN_DOUBLE;
}

double counted_occupancy(const struct report_cell *cell, const struct report_kernel *kernel)
{
    /* Weighted by time, so that sums over launches stay sums. */
    const double ns = counted_sum(cell, kernel, "gpu_ns");
    return ns > 0 ? counted_sum(cell, kernel, "occupancy_permille_ns") / 1000 / ns : UNKNOWN_DOUBLE;
}

double modelled_mean(const struct report_kernel *kernel, bool flops)
{
    const double sum = flops ? kernel->flops : kernel->bytes;
    return kernel->calls ? sum / (double)kernel->calls : UNKNOWN_DOUBLE;
}
