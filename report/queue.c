#include "report/queue.h"
#include "report/estimate.h"

/* Cells of the resumed report that need not run again; the others' old figures give way to new ones. Where the device was
 * not even opened, that the cell is unsupported says nothing of the next time. */
static bool kept(const struct report *report, const struct cell *cell)
{
    for (size_t i = 0; report && i < report->cells.count; i++) {
        const struct report_cell *old = report->cells.items[i];
        if (old->from_file && cell_equal(&old->requested, cell))
            return old->status == STATUS_OK || old->status == STATUS_UNRELIABLE ||
                   (old->status == STATUS_UNSUPPORTED && old->device.name[0]);
    }
    return false;
}

bool profile_queue(const struct profile *profile, struct session *session, const struct report *report, size_t *queued,
                   struct error *error)
{
    struct estimates estimates = {0};
    bool done = true;
    *queued = 0;
    for (size_t i = 0; i < profile->cells.count; i++) {
        const struct cell *cell = &profile->cells.items[i];
        if (kept(report, cell))
            continue;
        const uint32_t id = session_add(session, cell);
        if (!id) {
            done = error_set(error, ERROR_MEMORY, "no memory for %zu cells", profile->cells.count);
            break;
        }
        ++*queued;
        struct estimate estimate;
        struct error unknown = {0}; /* the worker will say what is wrong with the cell */
        if (profile->on_oom == ON_OOM_SKIP_LARGER && estimates_cell(&estimates, cell, &estimate, &unknown))
            session_plan(session, id, estimate.memory);
    }
    estimates_release(&estimates);
    return done;
}
