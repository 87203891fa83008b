#include "report/contention.h"
#include <stdlib.h>
#include <string.h>

#define LOAD_OF_CORES 0.25
#define STEAL_PERCENT 1.0

/* Workers write it as a note: "3.20 %". */
static double stolen(const struct report_cell *cell)
{
    for (size_t n = 0; n < cell->note_count; n++) {
        if (strcmp(cell->notes[n].key, "steal") != 0)
            continue;
        char *end;
        const double percent = strtod(cell->notes[n].text, &end);
        return end == cell->notes[n].text ? UNKNOWN_DOUBLE : percent;
    }
    return UNKNOWN_DOUBLE;
}

bool report_contention(const struct report *report, struct strbuf *out)
{
    const struct report_host *host = &report->host;
    const bool cores = host->cores && host->cores != UNKNOWN_U32;
    const size_t before = out->length;
    double most = 0;
    size_t cells = 0;
    if (is_known(host->load_average) && host->load_average >= fmax(1, cores ? LOAD_OF_CORES * host->cores : 1)) {
        strbuf_printf(out, "a load average of %.2f", host->load_average);
        if (cores)
            strbuf_printf(out, " on %u core%s", host->cores, host->cores == 1 ? "" : "s");
        strbuf_puts(out, " when it began");
    }
    for (size_t i = 0; i < report->cells.count; i++) {
        const double percent = stolen(report->cells.items[i]);
        cells += percent >= STEAL_PERCENT;
        most = percent > most ? percent : most;
    }
    if (cells)
        strbuf_printf(out, "%sup to %.2f %% of the processors' time stolen in %zu of %zu cells",
                      out->length > before ? ", " : "", most, cells, report->cells.count);
    return out->length > before;
}
