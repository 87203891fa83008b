/* The one way in which a profile's cells come into a session's queue, from the command line and from the screen. */
#pragma once
#include "profiler/session.h"
#include "report/report.h"

/* Queues the cells, but those that `report` has from a report that is resumed (NULL: none) and that need not run again. With on_oom:
 * skip_larger each is planned, so that the session skips those that need no less than one that did not fit. *queued: how many. */
bool profile_queue(const struct profile *profile, struct session *session, const struct report *report, size_t *queued,
                   struct error *error);
