/* Whether others used the machine while a report was taken: what its figures may have to be excused with. */
#pragma once
#include "report/report.h"

/* One line for each report, or nothing: the load average before it began, from a quarter of the cores (and from 1) on; and the
 * largest share of the processors' time that the host took away during a cell, from 1 % on. Own threads do not count: the load
 * is that of the minute before. */
bool host_is_loaded(const struct report_host *host); /* the first of both */
bool cell_is_stolen(const struct report_cell *cell); /* the second, of one cell */
bool report_contention(const struct report *report, struct strbuf *out);
