#include "tui/live.h"
#include <string.h>

static uint64_t records_now(const struct live *live)
{
    uint64_t records = 0;
    for (size_t i = 0; live->session && i < session_run_count(live->session); i++) {
        struct aggregate_counts counts = {0};
        aggregate_counts(run_lead(session_run(live->session, i))->aggregate, &counts);
        records += counts.records;
    }
    return records;
}

static const struct live_kept *kept_of(const struct live *live, uint32_t run)
{
    for (size_t i = 0; i < live->runs.count; i++)
        if (live->runs.items[i].run == run)
            return &live->runs.items[i];
    return NULL;
}

static int newest_pass(const struct run *run)
{
    uint64_t first;
    const struct aggregate *aggregate = run_lead(run)->aggregate;
    const size_t kept = aggregate_kept(aggregate, &first);
    return kept ? aggregate_record(aggregate, first + kept - 1)->pass : -1;
}

static void keep_run(struct live_kept *kept, const struct run *run)
{
    for (size_t r = 0; r < LIVE_RANKS && r < run->ranks.count; r++) {
        uint64_t first;
        const struct aggregate *aggregate = run_rank(run, r)->aggregate;
        const size_t count = aggregate_kept(aggregate, &first);
        vec_reserve(&kept->launches[r].list, count);
        for (size_t i = 0; i < count; i++)
            vec_push(&kept->launches[r].list, *aggregate_record(aggregate, first + i));
    }
    kept->newest_pass = newest_pass(run);
    memcpy(kept->activity, run->activity, sizeof kept->activity);
}

static void keep_cell(struct live *live, const struct report_cell *cell)
{
    struct live_kept kept = {.run = cell->run_id, .newest_pass = -1};
    const struct run *run = live_run_of(live, cell);
    vec_reserve(&kept.entries, cell->entry_count);
    for (size_t i = 0; i < cell->entry_count; i++) {
        struct entry entry = {0};
        if (cell->entries[i].live) {
            entry = *cell->entries[i].live;
            entry.histogram = entry.warmup_histogram = (struct histogram){0};
            histogram_merge(&entry.histogram, &cell->entries[i].live->histogram);
            for (int half = 0; half < 2; half++) {
                entry.window_histogram[half] = (struct histogram){0};
                histogram_merge(&entry.window_histogram[half], &cell->entries[i].live->window_histogram[half]);
            }
        }
        vec_push(&kept.entries, entry);
    }
    if (run)
        keep_run(&kept, run);
    vec_push(&live->runs, kept);
}

void live_freeze(struct live *live, const struct report *report)
{
    live_thaw(live);
    for (size_t i = 0; i < report->cells.count; i++) {
        const struct report_cell *cell = report->cells.items[i];
        if (!cell->from_file && (cell->status == STATUS_RUNNING || cell->status == STATUS_PENDING))
            keep_cell(live, cell);
    }
    for (size_t i = 0; i < live_log_count(live); i++) {
        struct log_line line = *live_log(live, i);
        line.text = arena_strdup(&live->texts, line.text);
        vec_push(&live->log, line);
    }
    live->records = records_now(live);
    live->frozen = true;
}

void live_thaw(struct live *live)
{
    for (size_t r = 0; r < live->runs.count; r++) {
        struct live_kept *kept = &live->runs.items[r];
        for (size_t i = 0; i < kept->entries.count; i++) {
            histogram_release(&kept->entries.items[i].histogram);
            for (int half = 0; half < 2; half++)
                histogram_release(&kept->entries.items[i].window_histogram[half]);
        }
        vec_release(&kept->entries);
        for (size_t rank = 0; rank < LIVE_RANKS; rank++)
            vec_release(&kept->launches[rank].list);
    }
    vec_release(&live->runs);
    vec_release(&live->log);
    arena_release(&live->texts);
    live->frozen = false;
}

uint64_t live_waiting(const struct live *live)
{
    const uint64_t now = records_now(live);
    return live->frozen && now > live->records ? now - live->records : 0;
}

const struct entry *live_entry(const struct live *live, const struct report_cell *cell, size_t index)
{
    if (!live || !cell->entries[index].live)
        return NULL;
    const struct live_kept *kept = kept_of(live, cell->run_id);
    return !kept ? cell->entries[index].live : index < kept->entries.count ? &kept->entries.items[index] : NULL;
}

const struct run *live_run_of(const struct live *live, const struct report_cell *cell)
{
    return live->session ? session_find(live->session, cell->run_id) : NULL;
}

bool live_launches(const struct live *live, const struct run *run, size_t rank, const struct record **launches,
                   size_t *count)
{
    const struct live_kept *kept = kept_of(live, run->id);
    *launches = kept ? kept->launches[rank].list.items : NULL;
    *count = kept ? kept->launches[rank].list.count : 0;
    return kept != NULL;
}

int live_newest_pass(const struct live *live, const struct report_cell *cell)
{
    const struct live_kept *kept = kept_of(live, cell->run_id);
    const struct run *run = live_run_of(live, cell);
    if (cell->status != STATUS_RUNNING || kept)
        return kept ? kept->newest_pass : -1;
    return run && run->status == STATUS_RUNNING ? newest_pass(run) : -1;
}

const char *live_doing(const struct live *live, const struct report_cell *cell)
{
    const struct live_kept *kept = kept_of(live, cell->run_id);
    const struct run *run = live_run_of(live, cell);
    return kept ? kept->activity : run ? run->activity : "";
}

size_t live_log_count(const struct live *live)
{
    return live->frozen ? live->log.count : live->session ? session_log_count(live->session) : 0;
}

const struct log_line *live_log(const struct live *live, size_t index)
{
    return live->frozen ? &live->log.items[index] : session_log(live->session, index);
}
