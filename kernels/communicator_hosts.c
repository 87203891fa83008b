/* Ranks of several hosts: each is connected with each. Everything is one move, communicator_swap: each rank sends something to each
 * other, and takes something from it, be it nothing. Between these a rank may say that it failed, and how far it is. */
#include "base/clock.h"
#include "base/gap.h"
#include "kernels/communicator_internal.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif
#define HELLO_MAGIC 0x74706f7470657473u /* "steptopt" */
#define HELLO_NS 5000000000u            /* from a connection to its first word */
#define STRANGERS 16                    /* connections that have not said yet who they are */
#define WHY_MAX 256
#define SLICE ((size_t)1 << 20) /* moved on one connection before the next has its turn */

struct hello {
    uint64_t magic;
    uint32_t rank, world;
    unsigned char key[COMMUNICATOR_KEY];
};

enum frame_kind { FRAME_DATA = 0x5d01, FRAME_FAILED, FRAME_PROGRESS };
struct frame {
    uint32_t kind, number; /* number: of the swap */
    uint64_t bytes;        /* that follow; of FRAME_PROGRESS, what is said */
};

struct peer {
    int fd;
    struct frame head; /* of what comes */
    size_t head_filled;
    uint64_t progress;
    /* Of the swap under way: bytes gone and come, with the header; all of it */
    struct frame out_head;
    uint64_t out_done, out_all, in_done, in_all;
};

struct hosts {
    struct peer peers[COMMUNICATOR_MAX_RANKS];
    uint32_t number; /* swaps so far */
    uint64_t progress;
    bool failed;
    char why[WHY_MAX + 64];
};

static bool lost(struct hosts *hosts, enum error_kind kind, struct error *error, const char *why)
{
    hosts->failed = true;
    snprintf(hosts->why, sizeof hosts->why, "%s", why);
    return error_set(error, kind, "%s", hosts->why);
}

static bool peer_gone(struct hosts *hosts, int rank, int reason, struct error *error)
{
    char why[160];
    snprintf(why, sizeof why, "rank %d is gone: %s", rank, reason ? strerror(reason) : "it ended the connection");
    return lost(hosts, ERROR_INTERRUPTED, error, why);
}

/* The sentence behind a header that says so. */
static bool take_failure(struct hosts *hosts, int rank, struct error *error)
{
    struct peer *peer = &hosts->peers[rank];
    char said[WHY_MAX] = "", why[WHY_MAX + 48];
    const uint64_t bytes = peer->head.bytes;
    if (bytes < sizeof said)
        net_receive(peer->fd, said, (size_t)bytes, clock_now() + 1000000000u);
    snprintf(why, sizeof why, "rank %d failed: %s", rank, said[0] ? said : "it did not say why");
    return lost(hosts, ERROR_INTERRUPTED, error, why);
}

/* Reads what stands between swaps, without waiting. False: a rank failed, or is gone, which in a swap one may be whose part is here. */
static bool listen_between(struct hosts *hosts, const struct communicator *communicator, bool in_swap,
                           struct error *error)
{
    for (int rank = 0; rank < communicator->world; rank++) {
        struct peer *peer = &hosts->peers[rank];
        struct frame head;
        const bool between = peer->head_filled == 0 && (peer->in_done == 0 || peer->in_done == peer->in_all);
        while (peer->fd >= 0 && between) {
            const ssize_t got = recv(peer->fd, &head, sizeof head, MSG_PEEK | MSG_DONTWAIT);
            if (in_swap && peer->in_done == peer->in_all && got <= 0)
                break;
            if (got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR))
                return peer_gone(hosts, rank, got ? errno : 0, error);
            if (got < (ssize_t)sizeof head || head.kind == FRAME_DATA)
                break;
            if (recv(peer->fd, &peer->head, sizeof head, MSG_DONTWAIT) != (ssize_t)sizeof head)
                break;
            if (head.kind != FRAME_PROGRESS)
                return take_failure(hosts, rank, error);
            peer->progress = head.bytes;
        }
    }
    return true;
}

/* Takes what has come of the other's part of a swap. False: it failed, is gone, or speaks of something else. */
static bool take_part(struct hosts *hosts, int rank, const struct communicator_part *in, bool *moved,
                      struct error *error)
{
    struct peer *peer = &hosts->peers[rank];
    for (size_t slice = 0; peer->in_done < peer->in_all && slice < SLICE;) {
        const bool heading = peer->in_done < sizeof peer->head;
        char *to =
            heading ? (char *)&peer->head + peer->head_filled : (char *)in->bytes + (peer->in_done - sizeof peer->head);
        size_t wanted = heading ? sizeof peer->head - peer->head_filled : (size_t)(peer->in_all - peer->in_done);
        const ssize_t got = recv(peer->fd, to, wanted > SLICE ? SLICE : wanted, MSG_DONTWAIT);
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
            return true;
        if (got <= 0)
            return peer_gone(hosts, rank, got ? errno : 0, error);
        *moved = true;
        slice += (size_t)got;
        if (!heading) {
            peer->in_done += (uint64_t)got;
            continue;
        }
        peer->head_filled += (size_t)got;
        if (peer->head_filled < sizeof peer->head)
            continue;
        const struct frame head = peer->head;
        peer->head_filled = 0;
        if (head.kind == FRAME_PROGRESS) {
            peer->progress = head.bytes;
            continue;
        }
        if (head.kind == FRAME_FAILED)
            return take_failure(hosts, rank, error);
        if (head.kind != FRAME_DATA || head.number != hosts->number || head.bytes != in->size) {
            char why[192];
            snprintf(
                why, sizeof why,
                "rank %d sent %llu bytes (its %u. word) where %llu (the %u.) were expected: the ranks do not run the "
                "same plan",
                rank, (unsigned long long)head.bytes, head.number, (unsigned long long)in->size, hosts->number);
            return lost(hosts, ERROR_INTERNAL, error, why);
        }
        peer->in_done = sizeof head;
    }
    return true;
}

static bool send_part(struct hosts *hosts, int rank, const struct communicator_part *out, bool *moved,
                      struct error *error)
{
    struct peer *peer = &hosts->peers[rank];
    for (size_t slice = 0; peer->out_done < peer->out_all && slice < SLICE;) {
        const bool heading = peer->out_done < sizeof peer->out_head;
        const char *from = heading ? (const char *)&peer->out_head + peer->out_done
                                   : (const char *)out->bytes + (peer->out_done - sizeof peer->out_head);
        const uint64_t left = (heading ? sizeof peer->out_head : peer->out_all) - peer->out_done;
        const ssize_t sent = send(peer->fd, from, left > SLICE ? SLICE : (size_t)left, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
            return true;
        if (sent < 0) {
            const int reason = errno;
            /* Its last word may lie there yet. */
            return listen_between(hosts, &(struct communicator){.world = rank + 1}, false, error)
                       ? peer_gone(hosts, rank, reason, error)
                       : false;
        }
        *moved = true;
        slice += (size_t)sent;
        peer->out_done += (uint64_t)sent;
    }
    return true;
}

/* Waits until something can move on a connection where something is to. */
static void wait_for_any(const struct communicator *communicator)
{
    struct pollfd fds[COMMUNICATOR_MAX_RANKS];
    nfds_t count = 0;
    for (int rank = 0; rank < communicator->world; rank++) {
        const struct peer *peer = &communicator->hosts->peers[rank];
        short events = 0;
        if (peer->fd >= 0 && peer->in_done < peer->in_all)
            events |= POLLIN;
        if (peer->fd >= 0 && peer->out_done < peer->out_all)
            events |= POLLOUT;
        if (events)
            fds[count++] = (struct pollfd){.fd = peer->fd, .events = events};
    }
    poll(fds, count, 100);
}

static bool give_up(struct communicator *communicator, const char *what, struct error *error)
{
    int missing = 0;
    for (int rank = communicator->world - 1; rank >= 0; rank--) {
        const struct peer *peer = &communicator->hosts->peers[rank];
        if (peer->fd >= 0 && (peer->in_done < peer->in_all || peer->out_done < peer->out_all))
            missing = rank;
    }
    char why[200];
    snprintf(why, sizeof why, "rank %d did not come to %.100s within %.0f s", missing, what,
             (double)communicator->limit / 1e9);
    communicator_fail(communicator, why);
    return error_set(error, ERROR_DEVICE, "%s", why);
}

bool communicator_swap(struct communicator *communicator, const struct communicator_part *out,
                       const struct communicator_part *in, const char *what, struct error *error)
{
    struct hosts *hosts = communicator->hosts;
    if (hosts->failed)
        return error_set(error, ERROR_INTERRUPTED, "%s", hosts->why);
    hosts->number++;
    for (int rank = 0; rank < communicator->world; rank++) {
        struct peer *peer = &hosts->peers[rank];
        peer->out_head = (struct frame){FRAME_DATA, hosts->number, out[rank].size};
        peer->out_all = sizeof(struct frame) + out[rank].size;
        peer->in_all = sizeof(struct frame) + in[rank].size;
        peer->out_done = peer->in_done = 0;
    }
    struct patience patience = {0};
    for (;;) {
        bool moved = false, all = true;
        for (int rank = 0; rank < communicator->world; rank++) {
            struct peer *peer = &hosts->peers[rank];
            if (peer->fd < 0)
                continue;
            if (!send_part(hosts, rank, &out[rank], &moved, error) || !take_part(hosts, rank, &in[rank], &moved, error))
                return false;
            all &= peer->out_done == peer->out_all && peer->in_done == peer->in_all;
        }
        if (all)
            break;
        if (moved)
            patience = (struct patience){0};
        else if (!listen_between(hosts, communicator, true,
                                 error)) /* one whose part is here may have failed meanwhile */
            return false;
        else if (patience_look(&patience) > communicator->limit)
            return give_up(communicator, what, error);
        else
            wait_for_any(communicator);
    }
    return true;
}

bool hosts_meet(struct communicator *communicator, const char *what, struct error *error)
{
    const struct communicator_part none[COMMUNICATOR_MAX_RANKS] = {{0}};
    return communicator_swap(communicator, none, none, what, error);
}

bool hosts_any(struct communicator *communicator, bool mine, const char *what, bool *any, struct error *error)
{
    unsigned char says = mine, said[COMMUNICATOR_MAX_RANKS] = {0};
    struct communicator_part out[COMMUNICATOR_MAX_RANKS], in[COMMUNICATOR_MAX_RANKS];
    for (int rank = 0; rank < communicator->world; rank++) {
        out[rank] = (struct communicator_part){&says, 1};
        in[rank] = (struct communicator_part){&said[rank], 1};
    }
    if (!communicator_swap(communicator, out, in, what, error))
        return false;
    *any = mine;
    for (int rank = 0; rank < communicator->world; rank++)
        *any |= said[rank] != 0;
    return true;
}

bool hosts_tell(struct communicator *communicator, void *bytes, size_t size, struct error *error)
{
    struct communicator_part out[COMMUNICATOR_MAX_RANKS] = {{0}}, in[COMMUNICATOR_MAX_RANKS] = {{0}};
    if (communicator->rank == 0)
        for (int rank = 1; rank < communicator->world; rank++)
            out[rank] = (struct communicator_part){bytes, size};
    else
        in[0] = (struct communicator_part){bytes, size};
    return communicator_swap(communicator, out, in, "hear rank 0", error);
}

/* One who is in the middle of a swap with this one can be told nothing; the end of the connection tells enough. */
static void say(const struct communicator *communicator, const struct frame *frame, const char *text)
{
    for (int rank = 0; rank < communicator->world; rank++) {
        struct peer *peer = &communicator->hosts->peers[rank];
        if (peer->fd < 0)
            continue;
        const bool between = peer->out_done == 0 || peer->out_done == peer->out_all;
        const uint64_t until = clock_now() + 100000000u;
        if (!between || !net_send(peer->fd, frame, sizeof *frame, until) ||
            (text && !net_send(peer->fd, text, (size_t)frame->bytes, until)))
            shutdown(peer->fd, SHUT_RDWR);
    }
}

void hosts_fail(struct communicator *communicator, const char *why)
{
    struct hosts *hosts = communicator->hosts;
    if (hosts->failed)
        return;
    hosts->failed = true;
    snprintf(hosts->why, sizeof hosts->why, "rank %d failed: %.255s", communicator->rank, why);
    char text[WHY_MAX];
    snprintf(text, sizeof text, "%.255s", why);
    say(communicator, &(struct frame){FRAME_FAILED, 0, strlen(text)}, text);
}

void hosts_progress(struct communicator *communicator, uint64_t done)
{
    communicator->hosts->progress = done;
    if (!communicator->hosts->failed)
        say(communicator, &(struct frame){FRAME_PROGRESS, 0, done}, NULL);
}

int hosts_behind(const struct communicator *communicator)
{
    const struct hosts *hosts = communicator->hosts;
    uint64_t least = hosts->progress;
    int behind = -1;
    hosts_failed(communicator, NULL); /* reads how far they say they are */
    for (int rank = 0; rank < communicator->world; rank++)
        if (hosts->peers[rank].fd >= 0 && hosts->peers[rank].progress < least) {
            least = hosts->peers[rank].progress;
            behind = rank;
        }
    return behind;
}

bool hosts_failed(const struct communicator *communicator, struct error *error)
{
    struct hosts *hosts = communicator->hosts;
    if (!hosts->failed)
        return !listen_between(hosts, communicator, false, error);
    error_set(error, ERROR_INTERRUPTED, "%s", hosts->why);
    return true;
}

void hosts_leave(struct communicator *communicator)
{
    for (int rank = 0; rank < COMMUNICATOR_MAX_RANKS; rank++)
        if (communicator->hosts->peers[rank].fd >= 0)
            close(communicator->hosts->peers[rank].fd);
    free(communicator->hosts);
}

struct stranger {
    int fd;
    uint64_t until;
    size_t filled;
    struct hello hello;
};

/* What it says is not this run's, or nothing more will come: false. *rank: whose it is when all is said; −1 until then. */
static bool stranger_listen(struct stranger *stranger, const struct communicator *communicator,
                            const struct communicator_peers *peers, int *rank)
{
    *rank = -1;
    while (stranger->filled < sizeof stranger->hello) {
        const ssize_t got = recv(stranger->fd, (char *)&stranger->hello + stranger->filled,
                                 sizeof stranger->hello - stranger->filled, MSG_DONTWAIT);
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
            return clock_now() < stranger->until;
        if (got <= 0)
            return false;
        stranger->filled += (size_t)got;
    }
    const struct hello *hello = &stranger->hello;
    if (hello->magic != HELLO_MAGIC || hello->world != (uint32_t)peers->world ||
        hello->rank >= (uint32_t)peers->world || !net_equal(hello->key, peers->key, sizeof peers->key) ||
        (int)hello->rank <= communicator->rank || communicator->hosts->peers[hello->rank].fd >= 0)
        return false;
    *rank = (int)hello->rank;
    return true;
}

/* The ranks after this one come here. Others may, too: nothing that they do keeps these waiting. */
static bool accept_later(struct communicator *communicator, int listening, const struct communicator_peers *peers,
                         uint64_t until, struct error *error)
{
    struct stranger strangers[STRANGERS];
    int count = 0, missing = peers->world - 1 - communicator->rank;
    while (missing > 0 && clock_now() < until) {
        struct pollfd fds[STRANGERS + 1] = {{.fd = count < STRANGERS ? listening : -1, .events = POLLIN}};
        for (int i = 0; i < count; i++)
            fds[i + 1] = (struct pollfd){.fd = strangers[i].fd, .events = POLLIN};
        poll(fds, (nfds_t)count + 1, 100);
        const int fd = count < STRANGERS ? accept(listening, NULL, NULL) : -1;
        if (fd >= 0) {
            net_ready(fd);
            strangers[count++] = (struct stranger){.fd = fd, .until = clock_now() + HELLO_NS};
        }
        for (int i = count - 1; i >= 0; i--) {
            int rank;
            const bool goes_on = stranger_listen(&strangers[i], communicator, peers, &rank);
            if (goes_on && rank < 0)
                continue;
            if (goes_on) {
                communicator->hosts->peers[rank].fd = strangers[i].fd;
                missing--;
            } else {
                close(strangers[i].fd);
            }
            strangers[i] = strangers[--count];
        }
    }
    while (count > 0)
        close(strangers[--count].fd);
    for (int rank = communicator->rank + 1; rank < peers->world; rank++)
        if (communicator->hosts->peers[rank].fd < 0)
            return error_set(error, ERROR_DEVICE, "rank %d did not connect to rank %d within %.0f s", rank,
                             communicator->rank, (double)communicator->limit / 1e9);
    return true;
}

struct communicator *communicator_connect(int listening, int rank, const struct communicator_peers *peers,
                                          uint64_t limit_ns, struct error *error)
{
    const uint64_t until = clock_now() + limit_ns;
    struct communicator *communicator = NULL;
    struct hosts *hosts = NULL;
    if (peers->world < 1 || peers->world > COMMUNICATOR_MAX_RANKS || rank < 0 || rank >= peers->world) {
        error_set(error, ERROR_INTERNAL, "rank %d of %d cannot meet the others", rank, peers->world);
        return NULL;
    }
    communicator = calloc(1, sizeof *communicator);
    hosts = calloc(1, sizeof *hosts);
    if (!communicator || !hosts) {
        error_set(error, ERROR_MEMORY, "no memory for a rank");
        free(communicator);
        free(hosts);
        return NULL;
    }
    *communicator =
        (struct communicator){.hosts = hosts, .fd = -1, .rank = rank, .world = peers->world, .limit = limit_ns};
    for (int peer = 0; peer < COMMUNICATOR_MAX_RANKS; peer++)
        hosts->peers[peer].fd = -1;
    struct hello hello = {.magic = HELLO_MAGIC, .rank = (uint32_t)rank, .world = (uint32_t)peers->world};
    memcpy(hello.key, peers->key, sizeof hello.key);
    for (int peer = 0; peer < rank; peer++) {
        const struct net_address *at = &peers->at[peer];
        if ((hosts->peers[peer].fd = net_connect(at->host, at->port, until, error)) < 0) {
            error_prefix(error, "rank %d wants to meet rank %d", rank, peer);
            goto failed;
        }
        if (!net_send(hosts->peers[peer].fd, &hello, sizeof hello, until)) {
            peer_gone(hosts, peer, errno, error);
            goto failed;
        }
    }
    if (accept_later(communicator, listening, peers, until, error))
        return communicator;
failed:
    communicator_leave(communicator);
    return NULL;
}

bool communicator_apart(const struct communicator *communicator)
{
    return communicator->hosts != NULL;
}
