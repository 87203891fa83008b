/* How many processes and threads there may be (RLIMIT_NPROC, `ulimit -u`; pids.max of the control groups). */
#pragma once
#include "base/error.h"
#include <stdbool.h>

/* That a process could not be started, `number` is why: "WHAT: Resource temporarily unavailable; processes are limited to 5 here
 * (ulimit -u)". */
bool error_no_process(struct error *error, const char *what, int number);
/* Whether so many threads can be at once, the calling one among them: tried, for libgomp ends the process where one cannot. ERROR_MEMORY
 * where stacks find no room. */
bool threads_start(int threads, struct error *error);
