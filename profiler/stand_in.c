#include "profiler/stand_in.h"
#include "base/clock.h"
#include "base/unknown.h"
#include "profiler/hosts.h"
#include "profiler/ring.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ASK_NS 200000000u /* from question to question about the other clock … */
#define ASK_FIRST_NS 5000000u
#define ASK_FIRST 10 /* … after the first few */

struct stand_in {
    int control, connection;
    struct ring *ring;
    struct inbox orders, inbox;
    struct outbox outbox;
    struct clock_apart clocks;
    uint64_t ask_at, dropped;
    int32_t rank;
    uint32_t asked;
    bool ended, exited; /* the worker said its last word; it has ended */
};

void clock_answered(struct clock_apart *clocks, uint64_t asked, uint64_t theirs, uint64_t answered)
{
    if (answered < asked)
        return;
    struct clock_answer *answer = &clocks->answers[clocks->count++ % CLOCK_ASKED];
    answer->error = (answered - asked + 1) / 2;
    answer->at = asked + (answered - asked) / 2;
    answer->ahead = (int64_t)(theirs - answer->at);
}

bool clock_ahead(const struct clock_apart *clocks, uint64_t now, int64_t *ahead, uint64_t *error)
{
    *error = UNKNOWN_U64;
    for (uint32_t i = 0; i < CLOCK_ASKED && i < clocks->count; i++) {
        const struct clock_answer *answer = &clocks->answers[i];
        const uint64_t age = now > answer->at ? now - answer->at : 0, may_be = answer->error + age / CLOCK_DRIFT;
        if (may_be < *error) {
            *error = may_be;
            *ahead = answer->ahead;
        }
    }
    return is_known_u64(*error);
}

/* A time of the other host's on this one's clock. */
static uint64_t here(uint64_t time, int64_t ahead)
{
    return is_known_u64(time) ? time - (uint64_t)ahead : time;
}

/* The front is gone: nobody is left to tell. */
static bool tell(struct stand_in *stand_in, uint32_t type, const void *first, size_t first_length, const void *second,
                 size_t second_length)
{
    return message_send(stand_in->control, type, first, first_length, second, second_length, NULL);
}

static bool tell_clock(struct stand_in *stand_in)
{
    int64_t ahead;
    uint64_t error;
    char key[48], text[200];
    if (!clock_ahead(&stand_in->clocks, clock_now(), &ahead, &error))
        return true;
    snprintf(key, sizeof key, "clock of rank %d", stand_in->rank);
    snprintf(
        text, sizeof text,
        "another host's, %.6f s ahead of rank 0's by %u questions; its times are turned by that and may be wrong by "
        "%.1f us, waiting and transfer with them",
        (double)ahead / 1e9, stand_in->clocks.count,
        (double)(stand_in->clocks.worst ? stand_in->clocks.worst : error) / 1e3);
    return tell(stand_in, MESSAGE_NOTE, key, strlen(key) + 1, text, strlen(text));
}

static void count_dropped(struct stand_in *stand_in, uint64_t dropped)
{
    if (dropped > stand_in->dropped)
        ring_count_dropped(stand_in->ring, dropped - stand_in->dropped);
    stand_in->dropped = dropped;
}

static void take_records(struct stand_in *stand_in, const void *payload, size_t length)
{
    int64_t ahead = 0;
    uint64_t error = 0;
    const bool known = clock_ahead(&stand_in->clocks, clock_now(), &ahead, &error);
    if (known && error > stand_in->clocks.worst)
        stand_in->clocks.worst = error;
    for (size_t at = 0; at + sizeof(struct record) <= length; at += sizeof(struct record)) {
        struct record record;
        memcpy(&record, (const char *)payload + at, sizeof record);
        if (record.kind != RECORD_COUNTERS) {
            if (!known) { /* it answers before it has anything to record */
                ring_count_dropped(stand_in->ring, 1);
                continue;
            }
            record.start = here(record.start, ahead);
            record.end = here(record.end, ahead);
            record.launch = here(record.launch, ahead);
        }
        ring_pass(stand_in->ring, &record);
    }
}

static bool take_sample(struct stand_in *stand_in, const void *payload)
{
    struct sample sample;
    int64_t ahead = 0;
    uint64_t error;
    memcpy(&sample, payload, sizeof sample);
    if (clock_ahead(&stand_in->clocks, clock_now(), &ahead, &error))
        sample.start = here(sample.start, ahead);
    return tell(stand_in, MESSAGE_SAMPLE, &sample, sizeof sample, NULL, 0);
}

static bool take_line(const unsigned char *payload, size_t length)
{
    const int fd = payload[0] ? STDERR_FILENO : STDOUT_FILENO;
    for (size_t at = 1; at < length;) {
        const ssize_t put = write(fd, payload + at, length - at);
        if (put < 0 && errno != EINTR)
            return false;
        at += put > 0 ? (size_t)put : 0;
    }
    return true;
}

/* A word of the other host's. False: the front is gone. */
static bool take_word(struct stand_in *stand_in, const struct message_header *header, const void *payload)
{
    switch ((enum message_type)header->type) {
    case MESSAGE_PONG: {
        const struct message_pong *pong = payload;
        clock_answered(&stand_in->clocks, pong->sent, pong->clock, clock_now());
        count_dropped(stand_in, pong->dropped);
        return true;
    }
    case MESSAGE_RECORDS:
        take_records(stand_in, payload, header->length);
        return true;
    case MESSAGE_SAMPLE:
        return take_sample(stand_in, payload);
    case MESSAGE_LOG:
        return take_line(payload, header->length);
    case MESSAGE_EXIT: {
        const struct message_exit *gone = payload;
        stand_in->exited = true;
        count_dropped(stand_in, gone->dropped);
        return tell(stand_in, MESSAGE_EXIT, gone, sizeof *gone, NULL, 0);
    }
    case MESSAGE_END:
        stand_in->ended = true;
        if (!tell_clock(stand_in))
            return false;
        /* fall through */
    default: /* the front looks at each, as at a worker's own */
        return tell(stand_in, header->type, payload, header->length, NULL, 0);
    }
}

/* *lost: what is wrong with the connection; NULL: nothing. False: the front is gone. */
static bool take_words(struct stand_in *stand_in, const char **lost)
{
    while (!stand_in->exited) {
        struct message_header header;
        const void *payload;
        errno = 0;
        switch (inbox_next(&stand_in->inbox, stand_in->connection, &header, &payload)) {
        case INBOX_EMPTY:
            return true;
        case INBOX_CLOSED:
            *lost = errno == ETIMEDOUT || errno == EHOSTUNREACH || errno == ENETUNREACH
                        ? "the other host does not answer any more"
                        : "the steptop there is gone";
            return true;
        case INBOX_BROKEN:
            *lost = "what came is no word of this version of steptop";
            return true;
        case INBOX_MESSAGE:
            if (!take_word(stand_in, &header, payload))
                return false;
            break;
        }
    }
    return true;
}

/* False: the front is gone. */
static bool take_orders(struct stand_in *stand_in)
{
    for (;;) {
        struct message_header header;
        const void *payload;
        switch (inbox_next(&stand_in->orders, stand_in->control, &header, &payload)) {
        case INBOX_EMPTY:
            return true;
        case INBOX_CLOSED:
        case INBOX_BROKEN:
            return false;
        case INBOX_MESSAGE:
            if (header.type == MESSAGE_CELL)
                stand_in->rank = ((const struct message_cell *)payload)->rank;
            outbox_add(&stand_in->outbox, header.type, payload, header.length, NULL, 0);
            break;
        }
    }
}

static void ask(struct stand_in *stand_in)
{
    const uint64_t now = clock_now();
    if (now < stand_in->ask_at || stand_in->rank < 0) /* not before there is a worker */
        return;
    const struct message_ping ping = {.sent = now};
    outbox_add(&stand_in->outbox, MESSAGE_PING, &ping, sizeof ping, NULL, 0);
    stand_in->ask_at = now + (stand_in->asked++ < ASK_FIRST ? ASK_FIRST_NS : ASK_NS);
}

/* False: the front is gone. */
static bool hand_on(struct stand_in *stand_in)
{
    const char *lost = NULL;
    while (!stand_in->exited && !lost) {
        const uint64_t now = clock_now();
        struct pollfd fds[2] = {{.fd = stand_in->control, .events = POLLIN},
                                {.fd = stand_in->connection,
                                 .events = (short)(POLLIN | (outbox_waiting(&stand_in->outbox) ? POLLOUT : 0))}};
        poll(fds, 2, stand_in->ask_at > now ? (int)((stand_in->ask_at - now) / 1000000) + 1 : 1);
        if (!take_orders(stand_in))
            return false;
        ask(stand_in);
        if (!outbox_flush(&stand_in->outbox, stand_in->connection))
            lost = "the steptop there is gone";
        /* What it said before it went is taken all the same. */
        if (!take_words(stand_in, &lost))
            return false;
    }
    if (!lost || stand_in->ended)
        return true;
    char why[160];
    const struct message_end end = {.status = STATUS_ERROR};
    snprintf(why, sizeof why, "the connection was lost: %s", lost);
    return tell_clock(stand_in) && tell(stand_in, MESSAGE_END, &end, sizeof end, why, strlen(why));
}

int stand_in_main(int control, int ring, int connection)
{
    struct stand_in *stand_in = calloc(1, sizeof *stand_in);
    struct error error = {0};
    if (!stand_in)
        return 1;
    signal(SIGPIPE, SIG_IGN);
    stand_in->control = control;
    stand_in->connection = connection;
    stand_in->rank = -1;
    stand_in->ring = ring_attach(ring, &error);
    if (!stand_in->ring)
        fprintf(stderr, "%s\n", error.text);
    const bool ok = stand_in->ring && hand_on(stand_in) && stand_in->exited;
    ring_close(stand_in->ring);
    outbox_release(&stand_in->outbox);
    free(stand_in);
    return ok ? 0 : 1;
}
