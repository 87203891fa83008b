#include "profiler/hosts.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/processors.h"
#include "base/sha256.h"
#include "base/system.h"
#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define STRANGERS 16
#define STRANGER_NS 5000000000u /* from a connection to its proof */
#define REFUSALS_LOGGED 20      /* whoever knocks all day fills no log */
#define PATIENCE_NS 3000000000u /* until a line says for whom it waits */

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

struct guest {
    int fd; /* −1: not there */
    bool runs;
    char name[NET_NAME];
    struct net_address reached, worker; /* where it reached this side; where its worker listens */
};

struct stranger {
    int fd;
    uint64_t until;
    struct message_challenge challenge;
    struct inbox inbox;
};

struct hosts {
    struct launcher launcher;
    int listening, workers; /* for steptops; for the other workers, by rank 0's */
    uint64_t build, wait_ns, missing_since;
    unsigned refusals;
    bool told; /* for whom it waits */
    unsigned char key[COMMUNICATOR_KEY];
    struct guest guests[COMMUNICATOR_MAX_RANKS];
    struct message_where where[COMMUNICATOR_MAX_RANKS];
    struct stranger *strangers[STRANGERS];
    int stranger_count;
};

uint64_t hosts_build(void)
{
    char path[PATH_MAX];
    unsigned char bytes[65536];
    uint64_t digest = HASH_START;
    FILE *file = fopen(program_self(path, sizeof path), "re");
    size_t got, all = 0;
    while (file && (got = fread(bytes, 1, sizeof bytes, file)) > 0) {
        digest = hash_bytes(digest, bytes, got);
        all += got;
    }
    if (file)
        fclose(file);
    return all ? digest : 0;
}

void hosts_prove_join(const char *token, const struct message_challenge *challenge, const struct message_join *join,
                      char proof[NET_PROOF])
{
    unsigned char text[NET_NONCE + offsetof(struct message_join, proof)];
    memcpy(text, challenge->nonce, NET_NONCE);
    memcpy(text + NET_NONCE, join, offsetof(struct message_join, proof));
    hmac_sha256_hex(token, strlen(token), text, sizeof text, proof);
}

void hosts_prove_joined(const char *token, const struct message_join *join, char proof[NET_PROOF])
{
    unsigned char text[NET_NONCE + NET_PROOF];
    memcpy(text, join->nonce, NET_NONCE);
    memcpy(text + NET_NONCE, join->proof, NET_PROOF);
    hmac_sha256_hex(token, strlen(token), text, sizeof text, proof);
}

void outbox_add(struct outbox *outbox, uint32_t type, const void *first, size_t first_length, const void *second,
                size_t second_length)
{
    const struct message_header header = {type, (uint32_t)(first_length + second_length)};
    if (outbox->sent && outbox->sent >= outbox->bytes.count / 2) {
        memmove(outbox->bytes.items, outbox->bytes.items + outbox->sent, outbox->bytes.count - outbox->sent);
        outbox->bytes.count -= outbox->sent;
        outbox->sent = 0;
    }
    vec_reserve(&outbox->bytes, outbox->bytes.count + sizeof header + header.length);
    unsigned char *to = outbox->bytes.items + outbox->bytes.count;
    memcpy(to, &header, sizeof header);
    if (first_length)
        memcpy(to + sizeof header, first, first_length);
    if (second_length)
        memcpy(to + sizeof header + first_length, second, second_length);
    outbox->bytes.count += sizeof header + header.length;
}

bool outbox_flush(struct outbox *outbox, int fd)
{
    while (outbox->sent < outbox->bytes.count) {
        const ssize_t sent = send(fd, outbox->bytes.items + outbox->sent, outbox->bytes.count - outbox->sent,
                                  MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK;
        outbox->sent += (size_t)sent;
    }
    outbox->sent = outbox->bytes.count = 0;
    return true;
}

size_t outbox_waiting(const struct outbox *outbox)
{
    return outbox->bytes.count - outbox->sent;
}

void outbox_release(struct outbox *outbox)
{
    vec_release(&outbox->bytes);
    outbox->sent = 0;
}

struct hosts *hosts_open(const struct launcher *launcher, uint64_t wait_ns, struct error *error)
{
    struct hosts *hosts = calloc(1, sizeof *hosts);
    if (!hosts) {
        error_set(error, ERROR_MEMORY, "no memory for the other hosts");
        return NULL;
    }
    *hosts = (struct hosts){.launcher = *launcher,
                            .listening = -1,
                            .workers = -1,
                            .build = hosts_build(),
                            .wait_ns = wait_ns,
                            .missing_since = clock_now()};
    for (int rank = 0; rank < COMMUNICATOR_MAX_RANKS; rank++)
        hosts->guests[rank].fd = -1;
    where_here(&hosts->where[0]);
    hosts->listening = net_listen(launcher->host, launcher->port, error);
    if (hosts->listening >= 0)
        hosts->workers = net_listen(launcher->host, 0, error);
    if (hosts->workers < 0) {
        error_prefix(error, "rank 0 (another port or host: --join HOST:PORT, for all ranks)");
        hosts_close(hosts);
        return NULL;
    }
    return hosts;
}

void hosts_close(struct hosts *hosts)
{
    if (!hosts)
        return;
    for (int rank = 0; rank < COMMUNICATOR_MAX_RANKS; rank++)
        if (hosts->guests[rank].fd >= 0) {
            if (!hosts->guests[rank].runs)
                message_send(hosts->guests[rank].fd, MESSAGE_BYE, NULL, 0, NULL, 0, NULL);
            shutdown(hosts->guests[rank].fd, SHUT_WR); /* a stand-in may hold it, too */
            close(hosts->guests[rank].fd);
        }
    for (int i = 0; i < hosts->stranger_count; i++) {
        close(hosts->strangers[i]->fd);
        free(hosts->strangers[i]);
    }
    if (hosts->listening >= 0)
        close(hosts->listening);
    if (hosts->workers >= 0)
        close(hosts->workers);
    free(hosts);
}

int hosts_world(const struct hosts *hosts)
{
    return hosts->launcher.world;
}

int hosts_local_world(const struct hosts *hosts)
{
    return hosts->launcher.local_world;
}

void where_here(struct message_where *where)
{
    bool bound[8 * sizeof where->processors];
    memset(where, 0, sizeof *where);
    processors_bound(bound, (int)(sizeof bound / sizeof *bound));
    for (size_t i = 0; i < sizeof bound / sizeof *bound; i++)
        where->processors[i / 8] |= (unsigned char)(bound[i] << i % 8);
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (file && fgets(where->machine, sizeof where->machine, file))
        where->machine[strcspn(where->machine, "\n")] = 0;
    if (file)
        fclose(file);
}

static bool meets(const struct message_where *a, const struct message_where *b)
{
    bool common = false;
    for (size_t i = 0; i < sizeof a->processors; i++)
        common |= a->processors[i] & b->processors[i];
    return common && memcmp(a->machine, b->machine, sizeof a->machine) == 0;
}

int where_sharing(const struct message_where *where, int world, int rank, int *share)
{
    int sharing = 0;
    *share = 0;
    for (int other = 0; other < world && where[rank].machine[0]; other++) {
        const bool shares = meets(&where[rank], &where[other]);
        *share += shares && other < rank;
        sharing += shares;
    }
    return sharing;
}

int hosts_sharing(const struct hosts *hosts, int rank, int *share)
{
    return where_sharing(hosts->where, hosts->launcher.world, rank, share);
}

void hosts_cell_here(struct cell *cell, int local_world, int sharing)
{
    if (cell->threads > 0) /* what was asked for is divided among all ranks of the host, whatever they share */
        cell->threads = cell->threads * sharing > local_world ? cell->threads * sharing / local_world : 1;
    cell->ranks = sharing;
}

int hosts_poll(const struct hosts *hosts, struct pollfd *fds, int max)
{
    int count = 0;
    if (count < max && hosts->stranger_count < STRANGERS)
        fds[count++] = (struct pollfd){.fd = hosts->listening, .events = POLLIN};
    for (int i = 0; i < hosts->stranger_count && count < max; i++)
        fds[count++] = (struct pollfd){.fd = hosts->strangers[i]->fd, .events = POLLIN};
    for (int rank = 1; rank < hosts->launcher.world && count < max; rank++)
        if (hosts->guests[rank].fd >= 0 && !hosts->guests[rank].runs)
            fds[count++] = (struct pollfd){.fd = hosts->guests[rank].fd, .events = POLLIN};
    return count;
}

static void refuse(struct hosts *hosts, struct stranger *stranger, struct log *log, const char *why)
{
    struct net_address from = {"?", 0, {0}};
    net_peer(stranger->fd, &from);
    message_send(stranger->fd, MESSAGE_REFUSED, why, strlen(why), NULL, 0, NULL);
    if (hosts->refusals++ < REFUSALS_LOGGED)
        log_event(log, 0, "a connection from %s was sent away: %s", from.host, why);
}

/* Is it one of those that are missing? Else *why is what it is told. */
static bool welcome(struct hosts *hosts, struct stranger *stranger, const struct message_join *join, char *why,
                    size_t size)
{
    char proof[NET_PROOF];
    const struct launcher *launcher = &hosts->launcher;
    hosts_prove_join(launcher->token, &stranger->challenge, join, proof);
    if (join->magic != HOSTS_MAGIC || !net_equal(join->proof, proof, sizeof proof)) {
        snprintf(why, size,
                 "it does not know this run's token (STEPTOP_TOKEN, or the name that the launcher gave the run)");
        return false;
    }
    if (join->version != PROTOCOL_VERSION || join->build != hosts->build || !hosts->build) {
        snprintf(why, size, "it is another build of steptop: all ranks must run the same program file");
        return false;
    }
    if (join->world != launcher->world || join->rank < 1 || join->rank >= launcher->world) {
        snprintf(why, size, "it is rank %d of %d, and this run has ranks 0 to %d", join->rank, join->world,
                 launcher->world - 1);
        return false;
    }
    struct guest *guest = &hosts->guests[join->rank];
    if (guest->fd >= 0) {
        snprintf(why, size, "rank %d has joined already", join->rank);
        return false;
    }
    struct guest new = {.fd = stranger->fd};
    if (!net_own(stranger->fd, &new.reached) || !net_peer(stranger->fd, &new.worker)) {
        snprintf(why, size, "its address cannot be read");
        return false;
    }
    new.worker.port = join->port;
    text_copy(new.name, sizeof new.name, join->host, sizeof join->host);
    *guest = new;
    hosts->where[join->rank] = join->where;
    return true;
}

/* False: it is no stranger any more, or gone. */
static bool hear_stranger(struct hosts *hosts, struct stranger *stranger, struct log *log)
{
    struct message_header header;
    const void *payload;
    switch (inbox_next(&stranger->inbox, stranger->fd, &header, &payload)) {
    case INBOX_EMPTY:
        if (clock_now() < stranger->until)
            return true;
        refuse(hosts, stranger, log, "it did not say who it is");
        break;
    case INBOX_CLOSED:
        break;
    case INBOX_BROKEN:
        refuse(hosts, stranger, log, "what it says is no word of steptop's");
        break;
    case INBOX_MESSAGE: {
        char why[200];
        struct message_join join;
        if (header.type != MESSAGE_JOIN || stranger->inbox.filled != stranger->inbox.taken) {
            refuse(hosts, stranger, log, "what it says is no word of steptop's");
            break;
        }
        memcpy(&join, payload, sizeof join);
        if (!welcome(hosts, stranger, &join, why, sizeof why)) {
            refuse(hosts, stranger, log, why);
            break;
        }
        struct message_joined joined;
        hosts_prove_joined(hosts->launcher.token, &join, joined.proof);
        struct guest *guest = &hosts->guests[join.rank];
        if (!message_send(guest->fd, MESSAGE_JOINED, &joined, sizeof joined, NULL, 0, NULL)) {
            guest->fd = -1;
            break;
        }
        log_event(log, 0, "rank %d joined: %s (%s)", join.rank, guest->name, guest->worker.host);
        stranger->fd = -1;
        return false;
    }
    }
    close(stranger->fd);
    return false;
}

static void let_in(struct hosts *hosts)
{
    while (hosts->stranger_count < STRANGERS) {
        const int fd = accept(hosts->listening, NULL, NULL);
        if (fd < 0)
            return;
        net_ready(fd);
        struct stranger *stranger = calloc(1, sizeof *stranger);
        if (!stranger || !net_random(stranger->challenge.nonce, NET_NONCE)) {
            free(stranger);
            close(fd);
            return;
        }
        stranger->fd = fd;
        stranger->until = clock_now() + STRANGER_NS;
        stranger->challenge.magic = HOSTS_MAGIC;
        stranger->challenge.version = PROTOCOL_VERSION;
        message_send(fd, MESSAGE_CHALLENGE, &stranger->challenge, sizeof stranger->challenge, NULL, 0, NULL);
        hosts->strangers[hosts->stranger_count++] = stranger;
    }
}

/* The ranks that are not there: "rank 1", "ranks 1, 3". */
static const char *missing_text(const struct hosts *hosts, char *text, size_t size)
{
    size_t length = 0;
    int count = 0;
    for (int rank = 1; rank < hosts->launcher.world; rank++)
        count += hosts->guests[rank].fd < 0;
    length = (size_t)snprintf(text, size, "rank%s", count == 1 ? "" : "s");
    for (int rank = 1, told = 0; rank < hosts->launcher.world && length < size; rank++)
        if (hosts->guests[rank].fd < 0)
            length += (size_t)snprintf(text + length, size - length, "%s %d", told++ ? "," : "", rank);
    return text;
}

bool hosts_step(struct hosts *hosts, struct log *log)
{
    bool changed = false;
    let_in(hosts);
    for (int i = hosts->stranger_count - 1; i >= 0; i--)
        if (!hear_stranger(hosts, hosts->strangers[i], log)) {
            changed |= hosts->strangers[i]->fd < 0;
            free(hosts->strangers[i]);
            hosts->strangers[i] = hosts->strangers[--hosts->stranger_count];
        }
    for (int rank = 1; rank < hosts->launcher.world; rank++) {
        struct guest *guest = &hosts->guests[rank];
        char byte;
        if (guest->fd < 0 || guest->runs)
            continue;
        const ssize_t got = recv(guest->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
            continue;
        log_event(log, 0, "rank %d (%s) left", rank, guest->name); /* it has nothing to say between runs */
        hosts_ended(hosts, rank, false);
        changed = true;
    }
    if (!hosts_ready(hosts) && !hosts->told && clock_now() - hosts->missing_since > PATIENCE_NS) {
        char who[300], line[sizeof who + LAUNCHER_HOST_MAX + 64];
        hosts->told = true;
        const int length = snprintf(line, sizeof line, "steptop: waiting for %s to join at %s port %u",
                                    missing_text(hosts, who, sizeof who), hosts->launcher.host, hosts->launcher.port);
        log_add(log, 0, true, line, (size_t)length);
    }
    return changed;
}

bool hosts_ready(const struct hosts *hosts)
{
    for (int rank = 1; rank < hosts->launcher.world; rank++)
        if (hosts->guests[rank].fd < 0)
            return false;
    return true;
}

bool hosts_late(const struct hosts *hosts, char *why, size_t size)
{
    char who[300];
    if (hosts_ready(hosts) || clock_now() - hosts->missing_since < hosts->wait_ns)
        return false;
    snprintf(why, size, "%s did not join at %s port %u within %.0f s", missing_text(hosts, who, sizeof who),
             hosts->launcher.host, hosts->launcher.port, (double)hosts->wait_ns / 1e9);
    return true;
}

bool hosts_begin(struct hosts *hosts, struct error *error)
{
    if (!net_random(hosts->key, sizeof hosts->key))
        return error_set(error, ERROR_SYSTEM, "no random numbers for the run's key: %s", strerror(errno));
    for (int rank = 1; rank < hosts->launcher.world; rank++)
        hosts->guests[rank].runs = true;
    return true;
}

void hosts_peers(const struct hosts *hosts, int rank, struct communicator_peers *peers)
{
    *peers = (struct communicator_peers){.world = hosts->launcher.world};
    memcpy(peers->key, hosts->key, sizeof peers->key);
    for (int i = 1; i < hosts->launcher.world; i++)
        peers->at[i] = hosts->guests[i].worker;
    if (rank > 0 && rank < COMMUNICATOR_MAX_RANKS && net_own(hosts->workers, &peers->at[0]))
        memcpy(peers->at[0].host, hosts->guests[rank].reached.host, sizeof peers->at[0].host);
}

int hosts_connection(const struct hosts *hosts, int rank, const char **name)
{
    *name = hosts->guests[rank].name;
    return hosts->guests[rank].fd;
}

int hosts_listening(const struct hosts *hosts)
{
    return hosts->workers;
}

void hosts_ended(struct hosts *hosts, int rank, bool orderly)
{
    struct guest *guest = &hosts->guests[rank];
    guest->runs = false;
    if (orderly || guest->fd < 0)
        return;
    shutdown(guest->fd, SHUT_RDWR);
    close(guest->fd);
    guest->fd = -1;
    hosts->missing_since = clock_now();
    hosts->told = false;
}
