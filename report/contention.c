#include "report/contention.h"

#define LOAD_OF_CORES 0.25
#define STEAL_LEAST_SAID 0.01

bool host_is_loaded(const struct report_host *host)
{
    const bool cores = host->cores && host->cores != UNKNOWN_U32;
    return is_known(host->load_average) && host->load_average >= fmax(1, cores ? LOAD_OF_CORES * host->cores : 1);
}

bool cell_is_stolen(const struct report_cell *cell)
{
    return cell->machine.steal >= STEAL_LEAST_SAID;
}

bool report_contention(const struct report *report, struct strbuf *out)
{
    const struct report_host *host = &report->host;
    const bool cores = host->cores && host->cores != UNKNOWN_U32;
    const size_t before = out->length;
    double most = 0;
    size_t cells = 0;
    if (host_is_loaded(host)) {
        strbuf_printf(out, "a load average of %.2f", host->load_average);
        if (cores)
            strbuf_printf(out, " on %u core%s", host->cores, host->cores == 1 ? "" : "s");
        strbuf_puts(out, " when it began");
    }
    for (size_t i = 0; i < report->cells.count; i++) {
        const double steal = report->cells.items[i]->machine.steal;
        cells += cell_is_stolen(report->cells.items[i]);
        most = steal > most ? steal : most;
    }
    if (cells)
        strbuf_printf(out, "%sup to %.2f %% of the processors' time stolen in %zu of %zu cells",
                      out->length > before ? ", " : "", 100 * most, cells, report->cells.count);
    return out->length > before;
}
