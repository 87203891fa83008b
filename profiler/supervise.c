/* The front's side of a run's ranks: what they say, what they print, what lies in their rings, and how they end. */
#include "base/clock.h"
#include "base/limits.h"
#include "base/system.h"
#include "base/unknown.h"
#include "kernels/communicator.h"
#include "kernels/device.h"
#include "profiler/attach_internal.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

void ranks_release(struct session *session)
{
    for (size_t i = 0; i < session->links.count; i++) {
        if (session->active && session->active->run.command)
            session->links.items[i]->process.pid = 0; /* a command of the user's goes on without us */
        process_release(&session->links.items[i]->process);
        ring_close(session->links.items[i]->ring);
        if (session->links.items[i]->host)
            hosts_ended(session->hosts, (int)session->links.items[i]->rank->rank.index,
                        session->links.items[i]->told_exit);
        free(session->links.items[i]);
    }
    session->links.count = 0;
    if (session->meeting >= 0)
        close(session->meeting);
    session->meeting = -1;
}

/* Those that wait for the others need not wait any more. */
static void meeting_fail(const struct session *session, int rank, const char *why)
{
    struct communicator *communicator = session->meeting < 0 ? NULL : communicator_join(session->meeting, rank, NULL);
    if (communicator)
        communicator_fail(communicator, why);
    communicator_leave(communicator);
}

static bool send_cell(const struct session *session, const struct link *link, const struct live_run *live,
                      struct error *error)
{
    struct message_cell message = {.version = PROTOCOL_VERSION,
                                   .cell_bytes = sizeof(struct cell),
                                   .cell = live->run.cell,
                                   .ceiling_flops_per_s = UNKNOWN_DOUBLE,
                                   .ceiling_bytes_per_s = UNKNOWN_DOUBLE,
                                   .rank = (int32_t)link->rank->rank.index,
                                   .meeting = session->meeting < 0 && !session->hosts ? -1 : WORKER_MEETING,
                                   .apart = session->hosts != NULL};
    if (session->hosts) {
        hosts_peers(session->hosts, message.rank, &message.peers);
        message.sharing = hosts_sharing(session->hosts, message.rank, &message.share);
    }
    if (strlen(session->cache_folder) < sizeof message.cache_folder)
        memcpy(message.cache_folder, session->cache_folder, strlen(session->cache_folder));
    for (size_t i = 0; i < session->ceilings.count; i++) {
        const struct ceiling *ceiling = &session->ceilings.items[i];
        if (live->run.cell.ranks == 1 && ceiling->precision == live->run.cell.dtype &&
            ceiling->threads == live->run.cell.threads && strcmp(ceiling->device, live->run.cell.device) == 0) {
            message.ceiling_flops_per_s = ceiling->flops_per_s;
            message.ceiling_bytes_per_s = ceiling->bytes_per_s;
        }
    }
    return message_send(link->process.control, MESSAGE_CELL, &message, sizeof message, NULL, 0, error);
}

/* A link to a rank, without a process yet; NULL when there is no memory or no descriptor. */
struct link *rank_link_add(struct session *session, struct live_rank *rank, struct error *error)
{
    struct link *link = calloc(1, sizeof *link);
    if (!link) {
        error_set(error, ERROR_MEMORY, "no memory for a rank");
        return NULL;
    }
    link->rank = rank;
    link->process = (struct process){.control = -1, .output = -1, .errors = -1};
    link->ring = ring_create(session->ring_records, error);
    if (!link->ring) {
        free(link);
        return NULL;
    }
    vec_push(&session->links, link);
    return link;
}

/* The worker, or who stands in for it. */
static bool link_process(struct session *session, const struct live_run *live, struct link *link, struct error *error)
{
    const int rank = (int)link->rank->rank.index;
    struct cell here = live->run.cell; /* as those on this host share it */
    int meeting = session->meeting;
    if (session->hosts) {
        int share;
        const int all = hosts_local_world(session->hosts), sharing = hosts_sharing(session->hosts, rank, &share);
        hosts_cell_here(&here, all, sharing > 0 ? sharing : all);
        meeting = rank > 0 ? hosts_connection(session->hosts, rank, &link->host) : hosts_listening(session->hosts);
    }
    return process_start(&link->process, session->program, &here, rank, ring_fd(link->ring), meeting,
                         link->host ? PROCESS_STAND_IN : PROCESS_WORKER, error);
}

static bool link_begin(struct session *session, struct live_run *live, struct live_rank *rank, struct error *error)
{
    struct link *link = rank ? rank_link_add(session, rank, error) : NULL;
    if (!link || !link_process(session, live, link, error))
        return false;
    rank->rank.process = link->process.pid;
    if (link->host)
        link->process.out_of_memory_kills = UNKNOWN_U64; /* of this machine, where it does not run */
    /* A worker that is already dead closes the socket; its end tells more than the failed write. */
    return send_cell(session, link, live, error) || errno == EPIPE || errno == ECONNRESET;
}

/* Before any worker starts: are there the devices, and a place where they meet? Else the run has ended. */
static bool ranks_can_begin(struct session *session, struct live_run *live)
{
    struct error error = {0};
    char reason[160];
    const int ranks = live->run.cell.ranks, here = session->hosts ? hosts_local_world(session->hosts) : ranks;
    int there = 0;
    if (session->hosts && ranks != hosts_world(session->hosts)) {
        snprintf(reason, sizeof reason, "%d ranks are asked for, and the launcher started %d", ranks,
                 hosts_world(session->hosts));
        session_finish(session, live, STATUS_UNSUPPORTED, reason);
        return false;
    }
    /* Said before sixty workers have opened the driver at once. */
    const int missing = here > 1 ? device_missing(live->run.cell.device, here, "/dev", &there) : -1;
    if (missing >= 0) {
        snprintf(reason, sizeof reason,
                 "rank %d has no device: from %s on, %d ranks need as many, and this machine has %d", missing,
                 live->run.cell.device, here, there);
        session_finish(session, live, STATUS_UNSUPPORTED, reason);
        return false;
    }
    bool ok = true;
    if (session->hosts)
        ok = hosts_begin(session->hosts, &error);
    else if (ranks > 1)
        ok = (session->meeting = communicator_file(ranks, &error)) >= 0;
    if (!ok)
        session_finish(session, live, STATUS_ERROR, error.text);
    return ok;
}

bool ranks_begin(struct session *session, struct live_run *live)
{
    struct error error = {0};
    session->ending = (struct ending){.forced = STATUS_PENDING, .status = STATUS_OK, .stepped_at = clock_now()};
    machine_look(&session->began);
    session->look_at = clock_now() + MACHINE_LOOK_NS;
    live->run.started = clock_now();
    live->run.status = STATUS_RUNNING;
    live_activity(live, "starting");
    session->active = live;
    struct message_run begin = {.version = PROTOCOL_VERSION, .cell_bytes = sizeof(struct cell), .cell = live->run.cell};
    session_record(session, live->run.id, 0, MESSAGE_RUN, &begin, sizeof begin, NULL, 0);
    if (live->run.command) {
        if (attach_begin(session, live, &error))
            return true;
        live->run.unstarted = error.kind;
        ranks_release(session);
        session_finish(session, live, STATUS_ERROR, error.text);
        return false;
    }
    if (!ranks_can_begin(session, live))
        return false;
    for (size_t i = 0; i < live->run.ranks.count; i++)
        if (!link_begin(session, live, live_rank_at(live, i), &error)) {
            ranks_release(session);
            error_name_limit(&error);
            session_finish(session, live, error.kind == ERROR_MEMORY ? STATUS_OOM : STATUS_ERROR, error.text);
            return false;
        }
    session->ending.timeout_ns = live->run.cell.timeout_s * (uint64_t)1000000000;
    if (live->run.cell.timeout_s)
        session->ending.timeout_at = live->run.started + session->ending.timeout_ns;
    return true;
}

/* Decides how the run will be called when its ranks have ended, and sees to it that they end. The first decision stays. */
void ranks_stop(struct session *session, enum status status, const char *reason, bool at_once)
{
    struct ending *ending = &session->ending;
    if (session->active->run.command) {
        attach_stop(session, status, reason, at_once);
        return;
    }
    if (ending->forced == STATUS_PENDING) {
        ending->forced = status;
        text_copy(ending->forced_reason, sizeof ending->forced_reason, reason, strlen(reason));
    }
    const bool again = ending->kill_at != 0;
    for (size_t i = 0; i < session->links.count; i++) {
        struct link *link = session->links.items[i];
        if (!at_once && !again && link->process.control >= 0 &&
            message_send(link->process.control, MESSAGE_STOP, NULL, 0, NULL, 0, NULL))
            ending->kill_at = clock_now() + STOP_GRACE_NS;
        else
            process_kill(&link->process);
    }
}

#define EXIT_LOADER 127 /* ld.so's */
#define FOREVER_NS ((uint64_t)1 << 53)

static void close_descriptor(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void move_timeout(struct ending *ending, uint64_t ns);

/* What has come of a step lies in the ring when it is taken back. Timeouts move by what they were not moved by yet. */
static void take_suspended(struct session *session, struct link *link, struct live_run *live,
                           const struct message_suspended *message)
{
    if (message->is_step) {
        while (rank_take_records(session, link, live))
            ;
        return;
    }
    if (message->ns > link->credited && message->ns < FOREVER_NS)
        move_timeout(&session->ending, message->ns - link->credited);
    link->credited = 0;
}

/* It has nothing more to say: what is left to it is to end. The other ranks may have much to do yet. */
static void leaves(struct link *link)
{
    if (!link->exit_by)
        link->exit_by = clock_now() + EXIT_GRACE_NS;
}

/* Each thing that the first rank was at goes to the log with its time when the next one begins. */
static void end_stage(struct session *session, const struct link *link)
{
    if (link->stage[0])
        log_event(&session->log, session->active->run.id, "%s: %.2f s", link->stage,
                  (double)(clock_now() - link->stage_at) / 1e9);
}

static void take_stage(struct session *session, struct link *link, const char *text, size_t length)
{
    char stage[sizeof link->stage];
    text_copy(stage, sizeof stage, text, length);
    if (link->rank->rank.index > 0 || strcmp(stage, link->stage) == 0)
        return;
    end_stage(session, link);
    memcpy(link->stage, stage, sizeof stage);
    link->stage_at = clock_now();
}

static bool take_messages(struct session *session, struct link *link, struct live_run *live)
{
    for (int i = 0; i < MESSAGES_A_STEP; i++) {
        struct message_header header;
        const void *payload;
        struct error error = {0};
        if (link->process.control < 0)
            return i > 0;
        switch (inbox_next(&link->inbox, link->process.control, &header, &payload)) {
        case INBOX_EMPTY:
            return i > 0;
        case INBOX_CLOSED:
            close_descriptor(&link->process.control);
            leaves(link);
            return true;
        case INBOX_BROKEN:
            error_set(&error, ERROR_INTERNAL, "the worker sent what is no message (type %u, %u bytes)", header.type,
                      header.length);
            break;
        case INBOX_MESSAGE:
            if (header.type == MESSAGE_SUSPENDED)
                take_suspended(session, link, live, payload);
            if (header.type == MESSAGE_EXIT && link->host) {
                link->told_exit = true;
                memcpy(&link->exit, payload, sizeof link->exit);
                leaves(link);
                continue;
            }
            if (header.type == MESSAGE_STAGE)
                take_stage(session, link, payload, header.length);
            if (live_message(live, link->rank, header.type, payload, header.length, &error)) {
                session_record(session, live->run.id, link->rank->rank.index, header.type, payload, header.length, NULL,
                               0);
                if (link->rank->ended)
                    leaves(link);
                continue;
            }
            break;
        }
        close_descriptor(&link->process.control); /* nothing after this can be made sense of */
        ranks_stop(session, STATUS_ERROR, error.text, true);
        return true;
    }
    return true;
}

struct log_target {
    struct session *session;
    struct link *link;
    bool is_error;
};

static void take_line(void *context, const char *line, size_t length)
{
    const struct log_target *target = context;
    struct session *session = target->session;
    const uint32_t run = session->active->run.id;
    const unsigned char is_error = target->is_error;
    log_add(&session->log, run, target->is_error, line, length);
    session_record(session, run, target->link->rank->rank.index, MESSAGE_LOG, &is_error, 1, line, length);
    if (target->is_error && length)
        text_copy(target->link->last_error, sizeof target->link->last_error, line, length);
}

bool rank_take_output(struct session *session, struct link *link, bool is_error)
{
    int *fd = is_error ? &link->process.errors : &link->process.output;
    struct log_stream *stream = is_error ? &link->errors : &link->output;
    struct log_target target = {session, link, is_error};
    bool changed = false;
    for (size_t total = 0; *fd >= 0 && total < LOG_BYTES_A_STEP;) {
        char bytes[4096];
        const ssize_t got = read(*fd, bytes, sizeof bytes);
        if (got > 0) {
            log_stream_add(stream, bytes, (size_t)got, take_line, &target);
            total += (size_t)got;
            changed = true;
        } else if (got < 0 && errno == EINTR) {
            continue;
        } else if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            break;
        } else {
            log_stream_end(stream, take_line, &target);
            close_descriptor(fd);
        }
    }
    return changed;
}

bool rank_take_records(struct session *session, struct link *link, struct live_run *live)
{
    struct rank *rank = &link->rank->rank;
    bool changed = false;
    for (size_t taken = 0, count; taken < RECORDS_A_STEP; taken += count) {
        count = ring_drain(link->ring, session->batch, BATCH);
        if (!count)
            break;
        live_records(live, link->rank, session->batch, count);
        const size_t frame = MESSAGE_MAX / sizeof(struct record);
        for (size_t at = 0; session->recording && at < count; at += frame) {
            const size_t part = count - at < frame ? count - at : frame;
            session_record(session, live->run.id, rank->index, MESSAGE_RECORDS, session->batch + at,
                           part * sizeof(struct record), NULL, 0);
        }
        changed = true;
    }
    struct ring_counts counts;
    ring_counts(link->ring, &counts);
    if (counts.dropped != rank->dropped && counts.dropped <= BELIEVABLE) {
        rank->dropped = counts.dropped;
        live->run.version++;
        changed = true;
    }
    return changed;
}

void rank_end_output(struct session *session, struct link *link)
{
    struct log_target output = {session, link, false}, errors = {session, link, true};
    log_stream_end(&link->output, take_line, &output);
    log_stream_end(&link->errors, take_line, &errors);
}

/* Did it end for want of memory? We and the libraries that we call end with a code of their own then (worker/last_word.h). The
 * loader, which comes before them, has but one for all that it lacks: it found everything when this program was loaded. */
static bool ended_without_memory(const struct link *link)
{
    const int status = link->exit_status;
    struct memory_limit limit;
    if (link->told_exit && link->exit.no_memory)
        return true;
    return WIFEXITED(status) &&
           (WEXITSTATUS(status) == EXIT_NO_MEMORY || (WEXITSTATUS(status) == EXIT_LOADER && memory_limited(&limit)));
}

/* How a rank is called whose process has ended: what it said, or what its exit tells. */
static enum status verdict(const struct link *link, char *reason, size_t size)
{
    const struct live_rank *rank = link->rank;
    const int status = link->exit_status;
    if (rank->ended) {
        snprintf(reason, size, "%s", rank->end_reason);
        return rank->end_status;
    }
    if (ended_without_memory(link)) {
        snprintf(reason, size, "the worker had no memory to go on with%s%.180s", link->last_error[0] ? ": " : "",
                 link->last_error);
        return STATUS_OOM;
    }
    if (WIFEXITED(status)) {
        snprintf(reason, size, "the worker ended with exit code %d%s%.180s", WEXITSTATUS(status),
                 link->last_error[0] ? ": " : " and no word why", link->last_error);
        return STATUS_ERROR;
    }
    const int number = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    if (number == SIGKILL) {
        const uint64_t now = out_of_memory_kills();
        if (is_known_u64(now) && is_known_u64(link->process.out_of_memory_kills) &&
            now > link->process.out_of_memory_kills) {
            snprintf(reason, size,
                     "killed by SIGKILL, likely by the kernel's out-of-memory killer, which struck meanwhile");
            return STATUS_OOM;
        }
        snprintf(reason, size, "the worker was killed by SIGKILL");
        return STATUS_KILLED;
    }
    const bool crash = signal_of_crashes(number);
    char text[SIGNAL_TEXT];
    snprintf(reason, size, "the worker %s %s%s%.180s", crash ? "crashed with" : "was killed by",
             signal_text(number, text), link->last_error[0] ? ": " : "", link->last_error);
    return crash ? STATUS_ERROR : STATUS_KILLED;
}

/* All of a rank's words and records are taken: the first that did not end well gives the run its name, and ends the others. */
static void judge(struct session *session, struct link *link)
{
    struct ending *ending = &session->ending;
    char reason[sizeof ending->reason] = "";
    if (link->told_exit)
        link->exit_status = link->exit.status;
    const enum status status = verdict(link, reason, sizeof reason);
    link->done = true;
    if (status == STATUS_OK)
        return;
    meeting_fail(session, (int)link->rank->rank.index, reason);
    /* One that was interrupted may have been so by another's failure: whatever that one says counts more. */
    if (ending->status != STATUS_OK && (ending->status != STATUS_INTERRUPTED || status == STATUS_INTERRUPTED))
        return;
    ending->status = status;
    if (session->links.count == 1) {
        memcpy(ending->reason, reason, sizeof reason);
        return;
    }
    snprintf(ending->reason, sizeof ending->reason, "rank %u%s%s: %.160s", link->rank->rank.index,
             link->host ? " on " : "", link->host ? link->host : "", reason);
    if (ending->forced == STATUS_PENDING && status != STATUS_INTERRUPTED)
        ranks_stop(session, status, ending->reason, false);
}

static void finish(struct session *session, struct live_run *live)
{
    const struct ending *ending = &session->ending;
    char reason[sizeof ending->reason];
    enum status status = ending->status;
    bool all_well = true; /* said by themselves, whatever was decided here meanwhile */
    for (size_t i = 0; i < session->links.count; i++)
        all_well &= session->links.items[i]->rank->ended && session->links.items[i]->rank->end_status == STATUS_OK;
    memcpy(reason, ending->reason, sizeof reason);
    if (ending->forced != STATUS_PENDING && !all_well) {
        status = ending->forced;
        snprintf(reason, sizeof reason, "%s", ending->forced_reason);
    } else if (session->hosts && status == STATUS_INTERRUPTED) /* by nobody here: ranks lost each other */
        status = STATUS_ERROR;
    if (session->links.count)
        end_stage(session, session->links.items[0]);
    log_event(&session->log, live->run.id, "%s%s%s after %.1f s", status_name(status), reason[0] ? ": " : "", reason,
              (double)(clock_now() - live->run.started) / 1e9);
    ranks_release(session);
    session_finish(session, live, status, reason);
}

/* True when anything came, or the process ended. */
static bool link_step(struct session *session, struct link *link, struct live_run *live)
{
    bool changed = take_messages(session, link, live);
    changed |= rank_take_output(session, link, false);
    changed |= rank_take_output(session, link, true);
    changed |= rank_take_records(session, link, live);
    if (link->exited) {
        /* All that it left has been taken when a step finds nothing new; a grandchild may hold the pipes open for ever. */
        if (changed || link->done)
            return changed;
        rank_end_output(session, link);
        judge(session, link);
        return true;
    }
    switch (process_poll(&link->process, &link->exit_status)) {
    case PROCESS_RUNS:
        break;
    case PROCESS_STOPPED:
        link->stopped = true;
        live_activity(live, "stopped by a signal, waiting for SIGCONT");
        return true;
    case PROCESS_CONTINUED:
        link->stopped = false;
        live_activity(live, live->last_activity);
        return true;
    case PROCESS_ENDED:
        link->exited = true;
        return true;
    }
    return changed;
}

/* Never to further than its whole time from now: a night of sleep, which this clock does not count, is no night more. */
static void move_timeout(struct ending *ending, uint64_t ns)
{
    const uint64_t most = clock_now() + ending->timeout_ns;
    if (ending->timeout_at)
        ending->timeout_at = ns < most && ending->timeout_at < most - ns ? ending->timeout_at + ns : most;
}

/* What a rank is kept from is not its fault: the time that it stands still, as far as this side sees it, and the time that this
 * side did not look, in which it may have done all it had to. Whoever is asked to end has no such claim. */
static void move_ends(struct session *session, uint64_t now)
{
    struct ending *ending = &session->ending;
    const uint64_t passed = ending->stepped_at ? now - ending->stepped_at : 0;
    bool held = passed > AWAY_NS;
    if (held && ending->kill_at)
        ending->kill_at += passed;
    ending->stepped_at = now;
    for (size_t i = 0; i < session->links.count; i++) {
        struct link *link = session->links.items[i];
        if (link->stopped)
            link->credited += passed;
        if (link->exit_by && (held || link->stopped))
            link->exit_by += passed;
        held |= link->stopped;
    }
    if (held)
        move_timeout(ending, passed);
    for (size_t i = 0; ending->timeout_at && now >= ending->timeout_at && i < session->links.count; i++) {
        struct link *link = session->links.items[i];
        if (link->stopped || link->exited || !process_held(link->process.pid))
            continue;
        const uint64_t more = now - ending->timeout_at + HELD_NS;
        link->credited += more;
        move_timeout(ending, more);
    }
}

bool ranks_step(struct session *session)
{
    struct ending *ending = &session->ending;
    struct live_run *live = session->active;
    if (live->run.command)
        return attach_step(session);
    bool changed = false, over = true, all_exited = true;
    for (size_t i = 0; i < session->links.count; i++) {
        changed |= link_step(session, session->links.items[i], live);
        over &= session->links.items[i]->done;
        all_exited &= session->links.items[i]->exited;
    }
    if (over) {
        finish(session, live);
        return true;
    }
    if (all_exited)
        return changed;
    const uint64_t now = clock_now();
    move_ends(session, now);
    if (ending->timeout_at && now >= ending->timeout_at) {
        char reason[64];
        snprintf(reason, sizeof reason, "not done after its %u s", live->run.cell.timeout_s);
        ending->timeout_at = 0;
        ranks_stop(session, STATUS_TIMEOUT, reason, true);
        changed = true;
    }
    const bool all = ending->kill_at && now >= ending->kill_at;
    if (all)
        ending->kill_at = now + EXIT_GRACE_NS; /* once more then, should one still be there */
    for (size_t i = 0; i < session->links.count; i++) {
        struct link *link = session->links.items[i];
        const bool late = link->exit_by && now >= link->exit_by && !link->exited;
        if (late)
            link->exit_by = now + EXIT_GRACE_NS;
        if (all || late)
            process_kill(&link->process);
    }
    return changed;
}
