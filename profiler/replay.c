/* A recording in the place of a worker. What it holds goes through the same checks as a worker's messages. */
#include "base/clock.h"
#include "profiler/attach_internal.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FRAMES_A_STEP 512

struct replay {
    struct recording_reader *reader;
    double speed;
    uint64_t began, first; /* this session's clock and the recording's, at its first frame */
    bool waiting;          /* frame and payload are read but not due */
    struct recording_frame frame;
    const void *payload;
    struct live_run *live; /* the run that is fed now */
    uint32_t recorded_run; /* its id in the recording */
};

struct replay *replay_open(const char *path, double speed, struct error *error)
{
    struct recording_reader *reader = recording_open(path, error);
    struct replay *replay = reader ? calloc(1, sizeof *replay) : NULL;
    if (reader && !replay) {
        error_set(error, ERROR_MEMORY, "no memory to replay %s", path);
        recording_reader_close(reader);
    }
    if (replay)
        *replay = (struct replay){.reader = reader, .speed = speed};
    return replay;
}

void replay_close(struct replay *replay)
{
    if (replay)
        recording_reader_close(replay->reader);
    free(replay);
}

static uint64_t due_at(const struct replay *replay)
{
    if (replay->speed == 0 || replay->frame.time <= replay->first)
        return replay->began;
    const double after = (double)(replay->frame.time - replay->first) / replay->speed;
    return after < 1e18 ? replay->began + (uint64_t)after : UINT64_MAX;
}

int replay_timeout(const struct replay *replay)
{
    if (!replay->waiting)
        return 0;
    const uint64_t due = due_at(replay), now = clock_now();
    return due <= now ? 0 : due - now > 50000000 ? 50 : (int)((due - now) / 1000000) + 1;
}

void replay_stop(struct session *session, struct replay *replay, uint32_t run)
{
    struct live_run *live = replay->live;
    if (!live || (run && live->run.id != run))
        return;
    replay->live = NULL;
    session_finish(session, live, STATUS_INTERRUPTED, "stopped while it was replayed");
}

static bool begin_run(struct session *session, struct replay *replay, struct error *error)
{
    const struct message_run *begin = replay->payload;
    struct cell cell;
    char warning[256];
    if (begin->version != PROTOCOL_VERSION || begin->cell_bytes != sizeof(struct cell))
        return error_set(error, ERROR_INPUT, "the recording is of another version of steptop");
    if (!cell_from_bytes(&cell, &begin->cell, sizeof begin->cell, error) ||
        (!cell.command[0] && !cell_check(&cell, warning, sizeof warning, error))) /* a command has no model to check */
        return false;
    if (replay->live)
        session_finish(session, replay->live, STATUS_INTERRUPTED, "the recording does not hold its end");
    replay->live = session_append(session, &cell, error);
    if (!replay->live)
        return false;
    if (cell.command[0] && !(replay->live->run.command = strdup(cell.command)))
        return error_set(error, ERROR_MEMORY, "no memory for a command");
    replay->recorded_run = replay->frame.run;
    replay->live->run.replayed = true;
    replay->live->run.started = clock_now();
    replay->live->run.status = STATUS_RUNNING;
    return true;
}

static bool end_run(struct session *session, struct replay *replay, struct error *error)
{
    struct message_result result;
    memcpy(&result, replay->payload, sizeof result);
    if (result.status <= STATUS_RUNNING || result.status >= STATUS_COUNT)
        return error_set(error, ERROR_INPUT, "a run with status %u, which there is not", result.status);
    char reason[sizeof replay->live->run.reason];
    text_copy(reason, sizeof reason, (const char *)replay->payload + sizeof result,
              replay->frame.length - sizeof result);
    struct live_run *live = replay->live;
    if (result.dropped <= BELIEVABLE)
        run_lead(&live->run)->dropped = result.dropped;
    replay->live = NULL;
    session_finish(session, live, (enum status)result.status, reason);
    return true;
}

static bool take_frame(struct session *session, struct replay *replay, struct error *error)
{
    const struct recording_frame *frame = &replay->frame;
    if (frame->type == MESSAGE_RUN)
        return begin_run(session, replay, error);
    if (!replay->live || frame->run != replay->recorded_run)
        return true; /* of a run that was stopped or removed here */
    while (frame->rank < ATTACH_RANKS_MAX &&
           replay->live->run.ranks.count <= frame->rank) /* of a command, in any order */
        if (!live_rank_add(replay->live, error))
            return false;
    struct live_rank *rank = live_rank_at(replay->live, frame->rank);
    if (!rank)
        return error_set(error, ERROR_INPUT, "rank %u, and %u are the most", frame->rank, ATTACH_RANKS_MAX);
    switch ((enum message_type)frame->type) {
    case MESSAGE_RESULT:
        return end_run(session, replay, error);
    case MESSAGE_RECORDS:
        for (size_t at = 0, count = frame->length / sizeof(struct record), part; at < count; at += part) {
            part = count - at < BATCH ? count - at : BATCH;
            memcpy(session->batch, (const struct record *)replay->payload + at, part * sizeof(struct record));
            live_records(replay->live, rank, session->batch, part);
        }
        return true;
    case MESSAGE_DROPPED: {
        struct message_dropped lost;
        memcpy(&lost, replay->payload, sizeof lost);
        if (lost.dropped <= BELIEVABLE)
            rank->rank.dropped = lost.dropped;
        return true;
    }
    case MESSAGE_LOG: {
        const char *line = replay->payload;
        log_add(&session->log, replay->live->run.id, line[0] == 1, line + 1, frame->length - 1);
        return true;
    }
    default:
        return live_message(replay->live, rank, frame->type, replay->payload, frame->length, error);
    }
}

bool replay_step(struct session *session, struct replay *replay, bool *ended)
{
    bool changed = false;
    for (int i = 0; i < FRAMES_A_STEP; i++) {
        struct error error = {0};
        enum status cut = STATUS_ERROR; /* how a run is called that does not come to its end */
        if (!replay->waiting) {
            switch (recording_next(replay->reader, &replay->frame, &replay->payload, &error)) {
            case RECORDING_END:
                error_set(&error, ERROR_INPUT, "the recording ends before the run does");
                cut = STATUS_INTERRUPTED;
                goto end;
            case RECORDING_BROKEN:
                goto broken;
            case RECORDING_FRAME:
                break;
            }
            if (!replay->began) {
                replay->began = clock_now();
                replay->first = replay->frame.time;
            }
            replay->waiting = true;
        }
        if (due_at(replay) > clock_now())
            return changed;
        replay->waiting = false;
        changed = true;
        if (take_frame(session, replay, &error))
            continue;
    broken:
        session->recording_cut = error;
        log_add(&session->log, replay->live ? replay->live->run.id : 0, true, error.text, strlen(error.text));
    end:
        if (replay->live) {
            struct live_run *live = replay->live;
            replay->live = NULL;
            session->recording_cut = error;
            session_finish(session, live, cut, error.text);
        }
        *ended = true;
        return true;
    }
    return changed;
}
