/* What runs under way have and the document has not: histograms and windows of the entries behind its rows, launches, the pass of the
 * newest, what they are doing, and what they printed. Views ask here and nowhere else, so that one freeze stops the whole screen:
 * from then on every answer is of that moment, while the runs go on underneath. */
#pragma once
#include "base/arena.h"
#include "base/vec.h"
#include "profiler/session.h"
#include "report/report.h"

#define LIVE_RANKS 8 /* as many of a run's are shown beside each other */

/* A run as it was when the screen was frozen. */
struct live_kept {
    uint32_t run;
    VEC(struct entry) entries; /* in the order of the document's; their histograms are copies */
    struct live_records {
        VEC(struct record) list;
    } launches[LIVE_RANKS]; /* of its first ranks */
    int newest_pass;
    char activity[sizeof((struct run *)0)->activity];
};

struct live {
    const struct session *session; /* NULL: nothing runs, all is in the document */
    bool frozen;
    VEC(struct live_kept) runs; /* those that may still move */
    VEC(struct log_line) log;
    struct arena texts; /* of its lines */
    uint64_t records; /* that had come */
};

/* From here on the screen stands still; the document, which must not change until the thaw but for cells that leave it, says which
 * rows there are. */
void live_freeze(struct live *live, const struct report *report);
void live_thaw(struct live *live);              /* and lets go of all copies */
uint64_t live_waiting(const struct live *live); /* records that came since the freeze */

/* What is behind a row of the document, a cell's entry by its index; NULL where there is the document alone. */
const struct entry *live_entry(const struct live *live, const struct report_cell *cell, size_t index);
/* The run of a cell, for what never changes of it: names, places; NULL. */
const struct run *live_run_of(const struct live *live, const struct report_cell *cell);
/* The launches that were copied of a rank below LIVE_RANKS of a run, oldest first; false: none were, those that the run keeps stand for themselves. */
bool live_launches(const struct live *live, const struct run *run, size_t rank, const struct record **launches,
                   size_t *count);
/* The pass that the newest launch of a cell that runs is of; -1: none. */
int live_newest_pass(const struct live *live, const struct report_cell *cell);
/* What a cell that runs is doing; "" when it did not say. */
const char *live_doing(const struct live *live, const struct report_cell *cell);

/* Lines of the log; index 0 is the oldest. */
size_t live_log_count(const struct live *live);
const struct log_line *live_log(const struct live *live, size_t index);
