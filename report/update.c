/* Keeps the document in step with a session. */
#include "report/build.h"
#include "report/report.h"

/* The document's cell of a run: its own, or one that was read and asked for the same (a resumed report). */
static struct report_cell *find_cell(const struct report *report, const struct run *run)
{
    for (size_t i = 0; i < report->cells.count; i++)
        if (!report->cells.items[i]->from_file && report->cells.items[i]->run_id == run->id)
            return report->cells.items[i];
    for (size_t i = 0; i < report->cells.count; i++)
        if (report->cells.items[i]->from_file && cell_equal(&report->cells.items[i]->requested, &run->cell))
            return report->cells.items[i];
    return NULL;
}

void report_drop_removed(struct report *report, const struct session *session)
{
    size_t kept = 0;
    for (size_t i = 0; i < report->cells.count; i++) {
        struct report_cell *cell = report->cells.items[i];
        if (cell->from_file || session_find(session, cell->run_id))
            report->cells.items[kept++] = cell;
        else
            report_cell_free(cell);
    }
    report->generation += kept != report->cells.count;
    report->cells.count = kept;
}

/* A run that never got to a step has nothing to put in the place of what was measured before. */
static bool has_nothing(const struct run *run)
{
    return !run_lead(run)->samples.count &&
           (run->status == STATUS_PENDING || run->status == STATUS_RUNNING || run->status == STATUS_INTERRUPTED);
}

void report_update(struct report *report, const struct session *session)
{
    report_drop_removed(report, session);
    for (size_t i = 0; i < session_run_count(session); i++) {
        const struct run *run = session_run(session, i);
        struct report_cell *cell = find_cell(report, run);
        if (!cell)
            cell = report_add_cell(report);
        else if (cell->from_file ? has_nothing(run) : cell->version == run->version)
            continue;
        cell_build(cell, run);
        report->generation++;
    }
}
