/* The front's side of one worker: what it says, what it prints, what lies in its ring, and how it ends. */
#include "base/clock.h"
#include "base/unknown.h"
#include "profiler/session_internal.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

void rank_release(struct session *session)
{
    process_release(&session->worker.process);
    ring_close(session->worker.ring);
    session->worker.ring = NULL;
}

static bool send_cell(struct session *session, const struct live_run *live, struct error *error)
{
    struct message_cell message = {.version = PROTOCOL_VERSION,
                                   .cell_bytes = sizeof(struct cell),
                                   .cell = live->run.cell,
                                   .ceiling_flops_per_s = UNKNOWN_DOUBLE,
                                   .ceiling_bytes_per_s = UNKNOWN_DOUBLE};
    if (strlen(session->cache_folder) < sizeof message.cache_folder)
        memcpy(message.cache_folder, session->cache_folder, strlen(session->cache_folder));
    for (size_t i = 0; i < session->ceilings.count; i++) {
        const struct ceiling *ceiling = &session->ceilings.items[i];
        if (ceiling->precision == live->run.cell.dtype && ceiling->threads == live->run.cell.threads &&
            strcmp(ceiling->device, live->run.cell.device) == 0) {
            message.ceiling_flops_per_s = ceiling->flops_per_s;
            message.ceiling_bytes_per_s = ceiling->bytes_per_s;
        }
    }
    return message_send(session->worker.process.control, MESSAGE_CELL, &message, sizeof message, NULL, 0, error);
}

bool rank_begin(struct session *session, struct live_run *live)
{
    struct worker_state *worker = &session->worker;
    struct error error = {0};
    worker->inbox.filled = worker->inbox.taken = 0;
    worker->output.length = worker->errors.length = 0;
    worker->output.cut = worker->errors.cut = false;
    worker->last_error[0] = worker->forced_reason[0] = 0;
    worker->forced = STATUS_PENDING;
    worker->timeout_at = worker->kill_at = 0;
    worker->exited = false;

    live->run.started = clock_now();
    live->run.status = STATUS_RUNNING;
    live_activity(live, "starting");
    session->active = live;
    struct message_run begin = {.version = PROTOCOL_VERSION, .cell_bytes = sizeof(struct cell), .cell = live->run.cell};
    session_record(session, live->run.id, MESSAGE_RUN, &begin, sizeof begin, NULL, 0);

    worker->ring = ring_create(session->ring_records, &error);
    if (!worker->ring ||
        !process_start(&worker->process, session->program, &live->run.cell, ring_fd(worker->ring), &error))
        goto failed;
    /* A worker that is already dead closes the socket; its end tells more than the failed write. */
    if (!send_cell(session, live, &error) && errno != EPIPE && errno != ECONNRESET)
        goto failed;
    live->run.worker = worker->process.pid;
    if (live->run.cell.timeout_s)
        worker->timeout_at = live->run.started + live->run.cell.timeout_s * (uint64_t)1000000000;
    return true;
failed:
    rank_release(session);
    session_finish(session, live, STATUS_ERROR, error.text);
    return false;
}

/* Decides how the run will be called when its worker has ended, and sees to it that it ends. The first decision stays. */
void rank_stop(struct session *session, enum status status, const char *reason, bool at_once)
{
    struct worker_state *worker = &session->worker;
    if (worker->forced == STATUS_PENDING) {
        worker->forced = status;
        text_copy(worker->forced_reason, sizeof worker->forced_reason, reason, strlen(reason));
    }
    if (!at_once && !worker->kill_at && worker->process.control >= 0 &&
        message_send(worker->process.control, MESSAGE_STOP, NULL, 0, NULL, 0, NULL))
        worker->kill_at = clock_now() + STOP_GRACE_NS;
    else
        process_kill(&worker->process);
}

static void close_descriptor(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static bool take_messages(struct session *session, struct live_run *live)
{
    struct worker_state *worker = &session->worker;
    for (int i = 0; i < MESSAGES_A_STEP; i++) {
        struct message_header header;
        const void *payload;
        struct error error = {0};
        if (worker->process.control < 0)
            return i > 0;
        switch (inbox_next(&worker->inbox, worker->process.control, &header, &payload)) {
        case INBOX_EMPTY:
            return i > 0;
        case INBOX_CLOSED:
            close_descriptor(&worker->process.control);
            if (!worker->kill_at)
                worker->kill_at = clock_now() + EXIT_GRACE_NS;
            return true;
        case INBOX_BROKEN:
            error_set(&error, ERROR_INTERNAL, "the worker sent what is no message (type %u, %u bytes)", header.type,
                      header.length);
            break;
        case INBOX_MESSAGE:
            if (live_message(live, header.type, payload, header.length, &error)) {
                session_record(session, live->run.id, header.type, payload, header.length, NULL, 0);
                if (live->ended && !worker->kill_at)
                    worker->kill_at = clock_now() + EXIT_GRACE_NS;
                continue;
            }
            break;
        }
        close_descriptor(&worker->process.control); /* nothing after this can be made sense of */
        rank_stop(session, STATUS_ERROR, error.text, true);
        return true;
    }
    return true;
}

struct log_target {
    struct session *session;
    bool is_error;
};

static void take_line(void *context, const char *line, size_t length)
{
    const struct log_target *target = context;
    struct session *session = target->session;
    const uint32_t run = session->active->run.id;
    const unsigned char is_error = target->is_error;
    log_add(&session->log, run, target->is_error, line, length);
    session_record(session, run, MESSAGE_LOG, &is_error, 1, line, length);
    if (target->is_error && length)
        text_copy(session->worker.last_error, sizeof session->worker.last_error, line, length);
}

static bool take_output(struct session *session, int *fd, struct log_stream *stream, bool is_error)
{
    struct log_target target = {session, is_error};
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

static bool take_records(struct session *session, struct live_run *live)
{
    bool changed = false;
    for (size_t taken = 0, count; taken < RECORDS_A_STEP; taken += count) {
        count = ring_drain(session->worker.ring, session->batch, BATCH);
        if (!count)
            break;
        live_records(live, session->batch, count);
        const size_t frame = MESSAGE_MAX / sizeof(struct record);
        for (size_t at = 0; session->recording && at < count; at += frame) {
            const size_t part = count - at < frame ? count - at : frame;
            session_record(session, live->run.id, MESSAGE_RECORDS, session->batch + at, part * sizeof(struct record),
                           NULL, 0);
        }
        changed = true;
    }
    struct ring_counts counts;
    ring_counts(session->worker.ring, &counts);
    if (counts.dropped != live->run.dropped) {
        live->run.dropped = counts.dropped;
        live->run.version++;
        changed = true;
    }
    return changed;
}

/* How a run is called whose worker has ended: what was decided here, what the worker said, or what its exit tells. */
static enum status verdict(const struct session *session, const struct live_run *live, char *reason, size_t size)
{
    const struct worker_state *worker = &session->worker;
    const int status = worker->exit_status;
    if (worker->forced != STATUS_PENDING && !(live->ended && live->end_status == STATUS_OK)) {
        snprintf(reason, size, "%s", worker->forced_reason);
        return worker->forced;
    }
    if (live->ended) {
        snprintf(reason, size, "%s", live->end_reason);
        if (live->end_status == STATUS_OK && live_unreliable(&live->run, reason, size))
            return STATUS_UNRELIABLE;
        return live->end_status;
    }
    /* Allocators that cannot go on say so in their last line before they abort. */
    const bool memory =
        strstr(worker->last_error, "out of memory") || strstr(worker->last_error, "annot allocate memory");
    if (WIFEXITED(status)) {
        snprintf(reason, size, "the worker ended with exit code %d%s%.180s", WEXITSTATUS(status),
                 worker->last_error[0] ? ": " : " and no word why", worker->last_error);
        return memory ? STATUS_OOM : STATUS_ERROR;
    }
    const int number = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    if (number == SIGKILL) {
        const uint64_t now = out_of_memory_kills();
        if (is_known_u64(now) && is_known_u64(worker->process.out_of_memory_kills) &&
            now > worker->process.out_of_memory_kills) {
            snprintf(reason, size,
                     "killed by SIGKILL, likely by the kernel's out-of-memory killer, which struck meanwhile");
            return STATUS_OOM;
        }
        snprintf(reason, size, "the worker was killed by SIGKILL");
        return STATUS_KILLED;
    }
    const bool crash = number == SIGSEGV || number == SIGBUS || number == SIGILL || number == SIGFPE ||
                       number == SIGABRT || number == SIGSYS || number == SIGTRAP;
    snprintf(reason, size, "the worker %s %s%s%.180s", crash ? "crashed with" : "was killed by", signal_text(number),
             worker->last_error[0] ? ": " : "", worker->last_error);
    return memory ? STATUS_OOM : crash ? STATUS_ERROR : STATUS_KILLED;
}

bool rank_step(struct session *session)
{
    struct worker_state *worker = &session->worker;
    struct live_run *live = session->active;
    bool changed = take_messages(session, live);
    changed |= take_output(session, &worker->process.output, &worker->output, false);
    changed |= take_output(session, &worker->process.errors, &worker->errors, true);
    changed |= take_records(session, live);

    if (worker->exited) {
        /* All that it left has been taken when a step finds nothing new; a grandchild may hold the pipes open for ever. */
        if (changed)
            return true;
        struct log_target output = {session, false}, errors = {session, true};
        log_stream_end(&worker->output, take_line, &output);
        log_stream_end(&worker->errors, take_line, &errors);
        char reason[sizeof live->run.reason] = "";
        const enum status status = verdict(session, live, reason, sizeof reason);
        rank_release(session);
        session_finish(session, live, status, reason);
        return true;
    }
    switch (process_poll(&worker->process, &worker->exit_status)) {
    case PROCESS_RUNS:
        break;
    case PROCESS_STOPPED:
        live_activity(live, "stopped by a signal, waiting for SIGCONT");
        changed = true;
        break;
    case PROCESS_CONTINUED:
        live_activity(live, live->last_activity);
        changed = true;
        break;
    case PROCESS_ENDED:
        worker->exited = true;
        return true;
    }
    const uint64_t now = clock_now();
    if (worker->timeout_at && now >= worker->timeout_at) {
        char reason[64];
        snprintf(reason, sizeof reason, "not done after its %u s", live->run.cell.timeout_s);
        worker->timeout_at = 0;
        rank_stop(session, STATUS_TIMEOUT, reason, true);
        changed = true;
    }
    if (worker->kill_at && now >= worker->kill_at) {
        worker->kill_at = now + EXIT_GRACE_NS; /* once more then, should it still be there */
        process_kill(&worker->process);
    }
    return changed;
}
