/* What the worker says and what lies in its ring goes to rank 0 in the order in which it came: records before the word that was said
 * after them. A slow connection never holds the worker up: its words are few and wait here, its records in the ring, where those
 * that find no room are lost and counted, as on the front's own host. */
#include "profiler/joiner.h"
#include "base/clock.h"
#include "base/system.h"
#include "base/unknown.h"
#include "profiler/hosts.h"
#include "profiler/process.h"
#include "profiler/ring.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define TICK_MS 10                        /* how long records may wait in the ring */
#define IDLE_MS 200                       /* between runs: until a signal is seen */
#define RECORDS_WAITING ((size_t)8 << 20) /* bytes on their way beyond which records stay in the ring */
#define WORDS_WAITING ((size_t)256 << 20) /* beyond which the connection does not do */
#define ANSWER_NS 10000000000u            /* rank 0's, when it is there */
#define AGAIN_NS 300000000u               /* between tries */
#define AGAIN_WAIT_NS 15000000000u        /* for a rank 0 that broke a run off: it may have another */
#define GOODBYE_NS 10000000000u           /* from a signal to leaving without rank 0's word */
#define BATCH (MESSAGE_MAX / sizeof(struct record))

struct joiner {
    const struct joiner_options *options;
    int front, listening; /* the connection; where the other ranks' workers come to */
    struct inbox inbox;
    struct outbox outbox;
    /* Of the run under way */
    bool runs, exited;
    int exit_status;
    struct process process;
    struct ring *ring;
    struct inbox words;
    int signal;
    uint64_t signalled;
    struct record batch[BATCH];
};

static bool take_signal(struct joiner *joiner)
{
    static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    sigset_t pending;
    sigpending(&pending);
    for (size_t i = 0; i < sizeof ends / sizeof *ends && !joiner->signal; i++)
        if (sigismember(&pending, ends[i])) {
            joiner->signal = ends[i];
            joiner->signalled = clock_now();
        }
    return joiner->signal && clock_now() - joiner->signalled > GOODBYE_NS;
}

static bool signal_error(const struct joiner *joiner, struct error *error)
{
    char text[SIGNAL_TEXT];
    return error_set(error, ERROR_INTERRUPTED, "rank %d was ended by %s", joiner->options->launcher->rank,
                     signal_text(joiner->signal, text));
}

static void end_run(struct joiner *joiner)
{
    if (!joiner->runs)
        return;
    process_release(&joiner->process);
    ring_close(joiner->ring);
    joiner->ring = NULL;
    joiner->words = (struct inbox){0};
    joiner->runs = joiner->exited = false;
}

static void front_close(struct joiner *joiner)
{
    if (joiner->front >= 0)
        close(joiner->front);
    if (joiner->listening >= 0)
        close(joiner->listening);
    joiner->front = joiner->listening = -1;
    joiner->inbox = (struct inbox){0};
    outbox_release(&joiner->outbox);
}

/* The next frame, of this type; else *error says what came instead. */
static bool expect(struct joiner *joiner, enum message_type type, const void **payload, struct error *error)
{
    const uint64_t until = clock_now() + ANSWER_NS;
    struct message_header header;
    for (;;) {
        switch (inbox_next(&joiner->inbox, joiner->front, &header, payload)) {
        case INBOX_MESSAGE:
            if (header.type == MESSAGE_REFUSED) {
                char why[512];
                text_copy(why, sizeof why, *payload, header.length);
                return error_set(error, ERROR_USAGE, "rank 0 sent this rank away: %s", why);
            }
            return header.type == type || error_set(error, ERROR_INPUT, "a %s message where a %s was expected",
                                                    message_name(header.type), message_name(type));
        case INBOX_EMPTY:
            if (net_wait(joiner->front, POLLIN, until))
                break;
            return error_set(error, ERROR_SYSTEM, "it does not answer");
        case INBOX_CLOSED:
            return error_set(error, ERROR_SYSTEM, "it ended the connection");
        case INBOX_BROKEN:
            return error_set(error, ERROR_INPUT, "what it says is no word of this version of steptop");
        }
    }
}

static bool shake_hands(struct joiner *joiner, struct error *error)
{
    const struct launcher *launcher = joiner->options->launcher;
    struct message_challenge challenge;
    const void *payload;
    if (!expect(joiner, MESSAGE_CHALLENGE, &payload, error))
        return false;
    memcpy(&challenge, payload, sizeof challenge);
    if (challenge.magic != HOSTS_MAGIC || challenge.version != PROTOCOL_VERSION)
        return error_set(error, ERROR_INPUT, "it is no steptop of this version");
    struct net_address own;
    struct message_join join;
    memset(&join, 0, sizeof join);
    join.magic = HOSTS_MAGIC;
    join.build = hosts_build();
    join.version = PROTOCOL_VERSION;
    join.rank = launcher->rank;
    join.world = launcher->world;
    if (!net_own(joiner->front, &own) || (joiner->listening = net_listen(own.host, 0, error)) < 0 ||
        !net_own(joiner->listening, &own) || !net_random(join.nonce, sizeof join.nonce))
        return error_prefix(error, "rank %d cannot listen for the other ranks", launcher->rank);
    join.port = own.port;
    gethostname(join.host, sizeof join.host - 1);
    where_here(&join.where);
    hosts_prove_join(launcher->token, &challenge, &join, join.proof);
    if (!message_send(joiner->front, MESSAGE_JOIN, &join, sizeof join, NULL, 0, error) ||
        !expect(joiner, MESSAGE_JOINED, &payload, error))
        return false;
    char proof[NET_PROOF];
    hosts_prove_joined(launcher->token, &join, proof);
    return net_equal(((const struct message_joined *)payload)->proof, proof, sizeof proof) ||
           error_set(error, ERROR_INPUT, "it does not know this run's token");
}

/* Until rank 0 is there, or `wait_ns` are over. Whoever is sent away is not told otherwise by asking again, but where rank 0 may not
 * have noticed yet that a connection is broken (`again`). */
static bool join(struct joiner *joiner, uint64_t wait_ns, bool again, struct error *error)
{
    const struct launcher *launcher = joiner->options->launcher;
    const uint64_t until = clock_now() + wait_ns;
    for (;;) {
        *error = (struct error){0};
        joiner->front = net_connect(launcher->host, launcher->port, until, error);
        if (joiner->front >= 0 && shake_hands(joiner, error))
            return true;
        front_close(joiner);
        const bool away = error->kind == ERROR_USAGE || error->kind == ERROR_INPUT;
        if ((away && !again) || clock_now() + AGAIN_NS > until)
            return error_prefix(error, "rank %d cannot join rank 0 at %s port %u", launcher->rank, launcher->host,
                                launcher->port);
        nanosleep(&(struct timespec){.tv_nsec = AGAIN_NS}, NULL);
        take_signal(joiner);
        if (joiner->signal)
            return signal_error(joiner, error);
    }
}

static void say_end(struct joiner *joiner, enum status status, const char *why)
{
    const struct message_end end = {.status = status};
    const struct message_exit gone = {.status = 1 << 8};
    outbox_add(&joiner->outbox, MESSAGE_END, &end, sizeof end, why, strlen(why));
    outbox_add(&joiner->outbox, MESSAGE_EXIT, &gone, sizeof gone, NULL, 0);
}

/* A cell: a worker for it. What keeps it from starting is that rank's end. */
static void begin(struct joiner *joiner, const void *payload)
{
    const struct joiner_options *options = joiner->options;
    struct message_cell message;
    struct cell cell;
    struct error error = {0};
    memcpy(&message, payload, sizeof message);
    memset(message.cache_folder, 0, sizeof message.cache_folder); /* which is rank 0's */
    if (options->cache_folder && strlen(options->cache_folder) < sizeof message.cache_folder)
        memcpy(message.cache_folder, options->cache_folder, strlen(options->cache_folder));
    message.local = options->launcher->local;
    bool ok = cell_from_bytes(&cell, &((const struct message_cell *)payload)->cell, sizeof cell, &error);
    if (ok && (cell.command[0] || !message.apart || message.rank != options->launcher->rank))
        ok = error_set(&error, ERROR_INTERNAL, "rank 0 sent what is no cell of this rank's");
    joiner->ring = ok ? ring_create(options->ring_records ? options->ring_records : RING_RECORDS, &error) : NULL;
    const bool known = message.sharing > 0;
    const int all = options->launcher->local_world;
    if (ok)
        hosts_cell_here(&cell, all, known ? message.sharing : all);
    ok = joiner->ring &&
         process_start(&joiner->process, options->program, &cell, known ? message.share : options->launcher->local,
                       ring_fd(joiner->ring), joiner->listening, PROCESS_WORKER, &error);
    if (!ok) {
        ring_close(joiner->ring);
        joiner->ring = NULL;
        say_end(joiner, error.kind == ERROR_MEMORY ? STATUS_OOM : STATUS_ERROR, error.text);
        return;
    }
    joiner->runs = true;
    /* One that is dead already tells by its end. */
    message_send(joiner->process.control, MESSAGE_CELL, &message, sizeof message, NULL, 0, NULL);
}

static uint64_t dropped(const struct joiner *joiner)
{
    struct ring_counts counts;
    ring_counts(joiner->ring, &counts);
    return counts.dropped;
}

/* A word of rank 0's. *over: that was the last. */
static void take_order(struct joiner *joiner, const struct message_header *header, const void *payload, bool *over)
{
    switch ((enum message_type)header->type) {
    case MESSAGE_CELL:
        if (!joiner->runs)
            begin(joiner, payload);
        break;
    case MESSAGE_STOP:
        if (joiner->runs && joiner->process.control >= 0)
            message_send(joiner->process.control, MESSAGE_STOP, NULL, 0, NULL, 0, NULL);
        break;
    case MESSAGE_PING:
        if (joiner->runs) { /* after a run's end nobody waits for it */
            const struct message_pong pong = {
                .sent = ((const struct message_ping *)payload)->sent, .clock = clock_now(), .dropped = dropped(joiner)};
            outbox_add(&joiner->outbox, MESSAGE_PONG, &pong, sizeof pong, NULL, 0);
        }
        break;
    case MESSAGE_BYE:
        *over = true;
        break;
    default:
        break;
    }
}

/* False: the connection is over; *error is untouched. */
static bool take_orders(struct joiner *joiner, bool *over)
{
    for (;;) {
        struct message_header header;
        const void *payload;
        switch (inbox_next(&joiner->inbox, joiner->front, &header, &payload)) {
        case INBOX_EMPTY:
            return true;
        case INBOX_CLOSED:
        case INBOX_BROKEN:
            return false;
        case INBOX_MESSAGE:
            take_order(joiner, &header, payload, over);
            if (*over)
                return true;
            break;
        }
    }
}

static bool pass_records(struct joiner *joiner)
{
    bool any = false;
    while (outbox_waiting(&joiner->outbox) < RECORDS_WAITING) {
        const size_t count = ring_drain(joiner->ring, joiner->batch, BATCH);
        if (!count)
            break;
        outbox_add(&joiner->outbox, MESSAGE_RECORDS, joiner->batch, count * sizeof *joiner->batch, NULL, 0);
        any = true;
    }
    return any;
}

static bool pass_words(struct joiner *joiner)
{
    bool any = false;
    while (joiner->process.control >= 0) {
        struct message_header header;
        const void *payload;
        const enum inbox_state state = inbox_next(&joiner->words, joiner->process.control, &header, &payload);
        if (state == INBOX_EMPTY)
            break;
        any = true;
        if (state != INBOX_MESSAGE) {
            close(joiner->process.control);
            joiner->process.control = -1;
            if (state == INBOX_BROKEN)
                process_kill(&joiner->process);
            break;
        }
        pass_records(joiner);
        outbox_add(&joiner->outbox, header.type, payload, header.length, NULL, 0);
    }
    return any;
}

static bool pass_output(struct joiner *joiner, bool is_error)
{
    int *fd = is_error ? &joiner->process.errors : &joiner->process.output;
    const unsigned char flag = is_error;
    char bytes[4096];
    const ssize_t got = *fd < 0 ? 0 : read(*fd, bytes, sizeof bytes);
    if (*fd < 0 || (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)))
        return false;
    if (got > 0) {
        outbox_add(&joiner->outbox, MESSAGE_LOG, &flag, 1, bytes, (size_t)got);
        return true;
    }
    close(*fd);
    *fd = -1;
    return true;
}

static void pass_end(struct joiner *joiner)
{
    const uint64_t kills = out_of_memory_kills(), before = joiner->process.out_of_memory_kills;
    const bool killed = WIFSIGNALED(joiner->exit_status) && WTERMSIG(joiner->exit_status) == SIGKILL;
    const struct message_exit gone = {.status = joiner->exit_status,
                                      .no_memory =
                                          killed && is_known_u64(kills) && is_known_u64(before) && kills > before,
                                      .dropped = dropped(joiner)};
    outbox_add(&joiner->outbox, MESSAGE_EXIT, &gone, sizeof gone, NULL, 0);
    end_run(joiner);
}

/* What the worker left goes on its way; its end when there is no more. */
static void pass_on(struct joiner *joiner)
{
    bool any = pass_words(joiner);
    any |= pass_output(joiner, false);
    any |= pass_output(joiner, true);
    any |= pass_records(joiner);
    if (joiner->exited) {
        if (!any && !ring_waiting(joiner->ring))
            pass_end(joiner);
        return;
    }
    joiner->exited = process_poll(&joiner->process, &joiner->exit_status) == PROCESS_ENDED;
}

static void wait_for_any(const struct joiner *joiner)
{
    struct pollfd fds[4] = {
        {.fd = joiner->front, .events = (short)(POLLIN | (outbox_waiting(&joiner->outbox) ? POLLOUT : 0))},
        {.fd = joiner->runs ? joiner->process.control : -1, .events = POLLIN},
        {.fd = joiner->runs ? joiner->process.output : -1, .events = POLLIN},
        {.fd = joiner->runs ? joiner->process.errors : -1, .events = POLLIN}};
    poll(fds, 4, !joiner->runs ? IDLE_MS : joiner->exited ? 0 : TICK_MS);
}

/* Serves one connection to its end. True: rank 0 said goodbye. False with an error: this rank leaves; without: the connection is over,
 * *busy: in a run. */
static bool serve(struct joiner *joiner, bool *busy, struct error *error)
{
    bool over = false;
    for (;;) {
        if (take_signal(joiner))
            return signal_error(joiner, error);
        wait_for_any(joiner);
        *busy = joiner->runs || outbox_waiting(&joiner->outbox);
        if (!take_orders(joiner, &over))
            return false;
        if (over)
            return true;
        if (joiner->runs)
            pass_on(joiner);
        if (!outbox_flush(&joiner->outbox, joiner->front))
            return false;
        if (outbox_waiting(&joiner->outbox) > WORDS_WAITING)
            return error_set(error, ERROR_SYSTEM, "the connection to rank 0 takes far less than this rank has to say");
    }
}

bool joiner_run(const struct joiner_options *options, int *signal_number, struct error *error)
{
    struct joiner *joiner = calloc(1, sizeof *joiner);
    sigset_t ends, before;
    if (!joiner)
        return error_set(error, ERROR_MEMORY, "no memory to join rank 0");
    *joiner = (struct joiner){.options = options, .front = -1, .listening = -1};
    /* Whatever ends processes is looked at here: rank 0 is asked to end as well, and its goodbye is the better end. */
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGQUIT);
    if (!signal_is_ignored(SIGHUP))
        sigaddset(&ends, SIGHUP);
    sigprocmask(SIG_BLOCK, &ends, &before);
    bool done = false, ok = join(joiner, options->wait_ns, false, error);
    while (ok && !done) {
        bool busy = false;
        *error = (struct error){0};
        done = serve(joiner, &busy, error);
        if (done)
            break;
        end_run(joiner);
        front_close(joiner);
        ok = error->kind == ERROR_NONE;
        if (!ok)
            break;
        if (joiner->signal) {
            ok = signal_error(joiner, error);
        } else if (!busy) {
            ok = error_set(error, ERROR_SYSTEM, "rank %d: rank 0's steptop is gone, without a goodbye",
                           options->launcher->rank);
        } else if (!(ok = join(joiner, AGAIN_WAIT_NS, true, error))) {
            error_prefix(error, "rank 0's steptop ended in a run, or the connection to it");
        }
    }
    end_run(joiner);
    front_close(joiner);
    *signal_number = ok ? 0 : joiner->signal;
    sigset_t pending;
    sigpending(&pending);
    for (int number = 1; number < 32; number++) /* taken: not to end this process when they may come again */
        if (sigismember(&pending, number) && sigismember(&ends, number)) {
            signal(number, SIG_IGN);
            signal(number, SIG_DFL);
        }
    sigprocmask(SIG_SETMASK, &before, NULL);
    free(joiner);
    return ok;
}
