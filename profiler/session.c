#include "profiler/session.h"
#include "base/clock.h"
#include "base/processors.h"
#include "base/unknown.h"
#include "profiler/attach_internal.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *status_name(enum status status)
{
    static const char *const names[STATUS_COUNT] = {
        "pending", "running", "ok",          "oom",        "timeout",     "error",
        "killed",  "skipped", "unsupported", "unreliable", "interrupted",
    };
    return (unsigned)status < STATUS_COUNT ? names[status] : "?";
}

struct session *session_create(const struct session_options *options, struct error *error)
{
    struct session *session = calloc(1, sizeof *session);
    if (!session) {
        error_set(error, ERROR_MEMORY, "no memory for a session");
        return NULL;
    }
    session->ring_records = options->ring_records ? options->ring_records : RING_RECORDS;
    session->timeline_records = options->timeline_records ? options->timeline_records : TIMELINE_RECORDS;
    session->meeting = -1;
    session->next_id = options->first_id;
    session->program = strdup(options->program);
    session->cache_folder = strdup(options->cache_folder ? options->cache_folder : "");
    session->batch = calloc(BATCH, sizeof *session->batch);
    if (!session->program || !session->cache_folder || !session->batch) {
        error_set(error, ERROR_MEMORY, "no memory for a session");
        goto failed;
    }
    if (options->launcher &&
        !(session->hosts = hosts_open(options->launcher, options->join_ns ? options->join_ns : HOSTS_JOIN_NS, error)))
        goto failed;
    if (options->record_file && !(session->recording = recording_create(options->record_file, error)))
        goto failed;
    return session;
failed:
    session_free(session);
    return NULL;
}

void session_free(struct session *session)
{
    if (!session)
        return;
    ranks_release(session);
    hosts_close(session->hosts);
    vec_release(&session->links);
    attach_free(session->attach);
    for (size_t i = 0; i < session->replays.count; i++)
        replay_close(session->replays.items[i]);
    vec_release(&session->replays);
    for (size_t i = 0; i < session->runs.count; i++)
        live_free(session->runs.items[i]);
    vec_release(&session->runs);
    vec_release(&session->ceilings);
    recording_close(session->recording);
    log_release(&session->log);
    free(session->batch);
    free(session->cache_folder);
    free(session->program);
    free(session);
}

struct live_run *session_append(struct session *session, const struct cell *cell, struct error *error)
{
    struct live_run *live = live_create(session->next_id + 1, cell, session->timeline_records, error);
    if (!live)
        return NULL;
    session->next_id++;
    vec_push(&session->runs, live);
    return live;
}

uint32_t session_add(struct session *session, const struct cell *cell)
{
    struct error error = {0};
    struct live_run *live = session_append(session, cell, &error);
    if (!live) {
        log_add(&session->log, 0, true, error.text, strlen(error.text));
        return 0;
    }
    return live->run.id;
}

void session_plan(struct session *session, uint32_t id, uint64_t planned_bytes)
{
    for (size_t i = 0; i < session->runs.count; i++)
        if (session->runs.items[i]->run.id == id)
            session->runs.items[i]->run.planned_bytes = planned_bytes;
}

size_t session_run_count(const struct session *session)
{
    return session->runs.count;
}

const struct run *session_run(const struct session *session, size_t index)
{
    return index < session->runs.count ? &session->runs.items[index]->run : NULL;
}

static struct live_run *find(const struct session *session, uint32_t id)
{
    for (size_t i = 0; i < session->runs.count; i++)
        if (session->runs.items[i]->run.id == id)
            return session->runs.items[i];
    return NULL;
}

const struct run *session_find(const struct session *session, uint32_t id)
{
    const struct live_run *live = find(session, id);
    return live ? &live->run : NULL;
}

static struct live_run *next_pending(const struct session *session)
{
    for (size_t i = 0; i < session->runs.count; i++)
        if (session->runs.items[i]->run.status == STATUS_PENDING)
            return session->runs.items[i];
    return NULL;
}

bool session_idle(const struct session *session)
{
    return !session->active && !session->replays.count && !next_pending(session);
}

static void forget(struct session *session, struct live_run *live)
{
    size_t kept = 0;
    for (size_t i = 0; i < session->runs.count; i++)
        if (session->runs.items[i] != live)
            session->runs.items[kept++] = session->runs.items[i];
    session->runs.count = kept;
    live_free(live);
}

void session_record(struct session *session, uint32_t run, uint32_t rank, uint32_t type, const void *first,
                    size_t first_length, const void *second, size_t second_length)
{
    struct error error = {0};
    if (session->recording &&
        !recording_write(session->recording, run, rank, type, first, first_length, second, second_length, &error))
        log_add(&session->log, run, true, error.text, strlen(error.text));
}

/* A device's ceilings do not change from cell to cell: the next worker need not measure them again. */
static void keep_ceilings(struct session *session, const struct run *run)
{
    if (run->cell.ranks > 1) /* a rank's share of the machine */
        return;
    if (!is_known(run->ceiling_flops_per_s) || !is_known(run->ceiling_bytes_per_s))
        return;
    for (size_t i = 0; i < session->ceilings.count; i++)
        if (session->ceilings.items[i].precision == run->cell.dtype &&
            session->ceilings.items[i].threads == run->cell.threads &&
            strcmp(session->ceilings.items[i].device, run->cell.device) == 0)
            return;
    struct ceiling ceiling = {.precision = run->cell.dtype,
                              .threads = run->cell.threads,
                              .flops_per_s = run->ceiling_flops_per_s,
                              .bytes_per_s = run->ceiling_bytes_per_s};
    memcpy(ceiling.device, run->cell.device, sizeof ceiling.device);
    vec_push(&session->ceilings, ceiling);
}

/* Queued runs on the same device that are planned to take no less than this one, which was out of memory. */
static void skip_larger(struct session *session, const struct run *failed)
{
    size_t number = 0;
    while (number < session->runs.count && &session->runs.items[number]->run != failed)
        number++;
    for (size_t i = 0; i < session->runs.count && is_known_u64(failed->planned_bytes); i++) {
        struct live_run *other = session->runs.items[i];
        if (other->run.status != STATUS_PENDING || strcmp(other->run.cell.device, failed->cell.device) != 0 ||
            !is_known_u64(other->run.planned_bytes) || other->run.planned_bytes < failed->planned_bytes)
            continue;
        char reason[200];
        snprintf(reason, sizeof reason, "plans %.0f MiB, not less than the %.0f MiB of cell %zu, which did not fit",
                 (double)other->run.planned_bytes / 0x1p20, (double)failed->planned_bytes / 0x1p20, number + 1);
        session_finish(session, other, STATUS_SKIPPED, reason);
    }
}

#define LOOK_SHARE 200     /* of the time at most a part of so many: a command may have many processes and threads */
#define LOOK_DIFFERS 0.005 /* of the processors' time: what a screen would show */

static bool differs(double a, double b)
{
    return is_known(a) != is_known(b) || fabs(a - b) >= LOOK_DIFFERS;
}

/* Who has used the processors since the run began. Known while it goes on, so that a screen says the same of it as its report. */
static bool look_at_machine(struct session *session, struct live_run *live, bool ended)
{
    const uint64_t looks = clock_now();
    if (!ended && (looks < session->look_at || session_is_guest(session)))
        return false;
    struct machine_look now;
    machine_look(&now);
    const bool told = is_known_u64(now.living) && is_known_u64(session->began.living);
    if (ended && !told) /* and nobody of the run lives */
        now.living = session->began.living = 0;
    /* What a process that was here before has used is not ours to be told. */
    const struct machine_use before = live->run.use,
                             use = session_is_guest(session) || !(told || ended)
                                       ? MACHINE_UNKNOWN
                                       : machine_between(&session->began, &now, processors_allowed().allowed);
    const uint64_t took = clock_now() - looks, pause = took * LOOK_SHARE;
    session->look_at = looks + took + (pause > MACHINE_LOOK_NS ? pause : MACHINE_LOOK_NS);
    if (!ended && !differs(before.steal, use.steal) && !differs(before.others, use.others) &&
        !differs(before.idle, use.idle) && !differs(before.throttled, use.throttled))
        return false;
    live->run.use = use;
    live->run.version++;
    session_record(session, live->run.id, 0, MESSAGE_USE, &live->run.use, sizeof live->run.use, NULL, 0);
    return true;
}

void session_finish(struct session *session, struct live_run *live, enum status status, const char *reason)
{
    if (live->run.started && !live->run.replayed) {
        look_at_machine(session, live, true);
        for (size_t i = 1; i < live->run.ranks.count; i++) {
            const struct message_dropped dropped = {run_rank(&live->run, i)->dropped};
            if (dropped.dropped)
                session_record(session, live->run.id, (uint32_t)i, MESSAGE_DROPPED, &dropped, sizeof dropped, NULL, 0);
        }
        const struct message_result result = {.status = status, .dropped = run_lead(&live->run)->dropped};
        session_record(session, live->run.id, 0, MESSAGE_RESULT, &result, sizeof result, reason, strlen(reason));
        struct error error = {0};
        if (session->recording && !recording_flush(session->recording, &error))
            log_add(&session->log, live->run.id, true, error.text, strlen(error.text));
        keep_ceilings(session, &live->run);
    }
    live_finish(live, status, reason);
    if (session->active == live)
        session->active = NULL;
    if (status == STATUS_OOM)
        skip_larger(session, &live->run);
    if (live->remove_when_ended)
        forget(session, live);
}

void session_stop(struct session *session, uint32_t id)
{
    struct live_run *live = find(session, id);
    if (!live)
        return;
    if (live == session->active)
        ranks_stop(session, STATUS_INTERRUPTED, "stopped", false);
    else if (live->run.status == STATUS_PENDING)
        session_finish(session, live, STATUS_INTERRUPTED, "stopped before it began");
    else if (live->run.status == STATUS_RUNNING && session->replays.count)
        replay_stop(session, session->replays.items[0], id);
}

void session_stop_all(struct session *session)
{
    if (session->active && session_is_guest(session)) { /* it was here before us */
        session_detach(session);
        return;
    }
    for (size_t i = 0; i < session->runs.count; i++)
        session_stop(session, session->runs.items[i]->run.id);
    while (session->replays.count) {
        replay_stop(session, session->replays.items[0], 0);
        replay_close(session->replays.items[0]);
        memmove(session->replays.items, session->replays.items + 1,
                --session->replays.count * sizeof *session->replays.items);
    }
}

void session_remove(struct session *session, uint32_t id)
{
    struct live_run *live = find(session, id);
    if (!live)
        return;
    if (live == session->active) {
        live->remove_when_ended = true;
        ranks_stop(session, STATUS_INTERRUPTED, "removed", true);
        return;
    }
    if (live->run.status == STATUS_RUNNING && session->replays.count)
        replay_stop(session, session->replays.items[0], id);
    forget(session, live);
}

const struct error *session_recording_cut(const struct session *session)
{
    return session->recording_cut.kind == ERROR_NONE ? NULL : &session->recording_cut;
}

bool session_replay(struct session *session, const char *path, double speed, struct error *error)
{
    if (!(speed >= 0))
        return error_set(error, ERROR_USAGE, "a replay at speed %g: it must be 0 (at once) or more", speed);
    struct replay *replay = replay_open(path, speed, error);
    if (!replay)
        return false;
    vec_push(&session->replays, replay);
    return true;
}

static void poll_add(struct pollfd *fds, int max, int *count, int fd)
{
    if (fd >= 0 && *count < max)
        fds[(*count)++] = (struct pollfd){.fd = fd, .events = POLLIN};
}

static int least(int a, int b)
{
    return a < 0 ? b : b < 0 ? a : a < b ? a : b;
}

/* The ring has no descriptor: a process that had to write to one for each record would be measuring that. It is looked at by
 * the clock, and at once while there is more in it than was taken. */
static void link_poll(const struct session *session, const struct link *link, struct pollfd *fds, int max, int *count,
                      int *timeout_ms)
{
    poll_add(fds, max, count, link->process.control);
    poll_add(fds, max, count, link->process.output);
    poll_add(fds, max, count, link->process.errors);
    if (link->done)
        return;
    if (!link->ring) { /* of a command: its processes have links of their own */
        *timeout_ms = least(*timeout_ms, TICK_MS);
        return;
    }
    int wait = link->ring && ring_waiting(link->ring) >= session->ring_records / 2 ? 0 : TICK_MS;
    if (link->exited)
        wait = 0;
    else if (link->process.control < 0)
        wait = wait < 2 ? wait : 2; /* its end is near, and nothing else will tell of it */
    *timeout_ms = least(*timeout_ms, wait);
}

/* Only others' comings and goings move on what is not there yet. */
#define JOIN_MS 200

int session_poll(const struct session *session, struct pollfd *fds, int max, int *timeout_ms)
{
    int count = session->hosts ? hosts_poll(session->hosts, fds, max) : 0;
    *timeout_ms = -1;
    if (session->active) {
        for (size_t i = 0; i < session->links.count; i++)
            link_poll(session, session->links.items[i], fds, max, &count, timeout_ms);
        if (session->active->run.command)
            count += attach_poll(session, fds + count, max - count, timeout_ms);
        const uint64_t now = clock_now();
        const uint64_t deadlines[2] = {session->ending.timeout_at, session->ending.kill_at};
        for (int i = 0; i < 2; i++)
            if (deadlines[i])
                *timeout_ms =
                    least(*timeout_ms, deadlines[i] <= now ? 0 : (int)((deadlines[i] - now) / 1000000 % 100000) + 1);
    } else if (session->replays.count) {
        *timeout_ms = replay_timeout(session->replays.items[0]);
    } else if (next_pending(session)) {
        *timeout_ms = session->hosts && !hosts_ready(session->hosts) ? JOIN_MS : 0;
    }
    return count;
}

/* Are the ranks of other hosts there? Queued runs wait for them; when they have been missing for too long, they end. */
static bool all_joined(struct session *session)
{
    char why[sizeof((struct run *)0)->reason];
    if (!session->hosts || hosts_ready(session->hosts))
        return true;
    struct live_run *next;
    while (hosts_late(session->hosts, why, sizeof why) && (next = next_pending(session)))
        session_finish(session, next, STATUS_ERROR, why);
    return false;
}

bool session_step(struct session *session)
{
    bool changed = session->hosts && hosts_step(session->hosts, &session->log);
    const bool was_active = session->active != NULL;
    if (was_active)
        changed |= ranks_step(session);
    else if (session->replays.count) {
        bool ended = false;
        changed |= replay_step(session, session->replays.items[0], &ended);
        if (ended) {
            replay_close(session->replays.items[0]);
            memmove(session->replays.items, session->replays.items + 1,
                    --session->replays.count * sizeof *session->replays.items);
        }
    }
    if (was_active && session->active)
        changed |= look_at_machine(session, session->active, false);
    /* Between the end of a run and the next one's beginning the caller has a word: it may skip what is queued. */
    if (!was_active && !session->active && !session->replays.count) {
        struct live_run *next = next_pending(session);
        if (next && all_joined(session)) {
            ranks_begin(session, next);
            changed = true;
        }
    }
    return changed;
}

size_t session_log_count(const struct session *session)
{
    return session->log.count;
}

const struct log_line *session_log(const struct session *session, size_t index)
{
    return log_line_at(&session->log, index);
}
