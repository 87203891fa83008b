#include "base/net.h"
#include "base/clock.h"
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* SO_NOSIGPIPE is set instead */
#endif
#define BACKLOG 64

bool net_split(const char *text, char *host, size_t size, uint16_t *port, struct error *error)
{
    const char *end = text[0] == '[' ? strchr(text, ']') : NULL;
    const char *begin = end ? text + 1 : text, *colon = strrchr(end ? end : text, ':');
    if (!end && colon && strchr(text, ':') != colon) /* of version 6, without a port */
        colon = NULL;
    if (!end)
        end = colon ? colon : text + strlen(text);
    if ((text[0] == '[' && !colon && begin == text) || end == begin || (size_t)(end - begin) >= size ||
        (begin != text && end[1] && colon != end + 1))
        return error_set(error, ERROR_USAGE, "'%.80s' is no address: HOST or HOST:PORT", text);
    if (colon) {
        char *rest;
        const unsigned long number = strtoul(colon + 1, &rest, 10);
        if (colon[1] < '0' || colon[1] > '9' || *rest || number < 1 || number > 65535)
            return error_set(error, ERROR_USAGE, "'%.80s' has no port from 1 to 65535", text);
        *port = (uint16_t)number;
    }
    memcpy(host, begin, (size_t)(end - begin));
    host[end - begin] = 0;
    return true;
}

static struct addrinfo *resolve(const char *host, uint16_t port, int flags, struct error *error)
{
    char service[8];
    struct addrinfo *list = NULL;
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = flags};
    snprintf(service, sizeof service, "%u", port);
    const int failed = getaddrinfo(host, service, &hints, &list);
    if (failed) {
        error_set(error, ERROR_SYSTEM, "%s: %s", host ? host : "any address", gai_strerror(failed));
        return NULL;
    }
    return list;
}

void net_ready(int fd)
{
    const int on = 1;
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
#ifdef SO_NOSIGPIPE
    setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on);
#endif
#ifdef TCP_USER_TIMEOUT /* Linux: of what was sent and not acknowledged, and of questions whether there is anybody */
    const unsigned ms = NET_DEAD_S * 1000;
    const int idle = NET_DEAD_S / 3, apart = NET_DEAD_S / 6, count = 4;
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof ms);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &apart, sizeof apart);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
#endif
}

static int listen_at(const struct addrinfo *list)
{
    int fd = -1, reason = EADDRNOTAVAIL;
    for (; list && fd < 0; list = list->ai_next) {
        const int on = 1;
        fd = socket(list->ai_family, SOCK_STREAM, 0);
        if (fd >= 0) {
            fcntl(fd, F_SETFD, FD_CLOEXEC);
            fcntl(fd, F_SETFL, O_NONBLOCK);
            setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
            if (bind(fd, list->ai_addr, list->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
                return fd;
        }
        reason = errno;
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
    errno = reason;
    return -1;
}

int net_listen(const char *host, uint16_t port, struct error *error)
{
    struct addrinfo *list = resolve(host, port, AI_PASSIVE, error);
    if (!list)
        return -1;
    int fd = listen_at(list);
    int reason = errno;
    freeaddrinfo(list);
    if (fd < 0 && host && reason == EADDRNOTAVAIL && (list = resolve(NULL, port, AI_PASSIVE, error))) {
        fd = listen_at(list);
        reason = errno;
        freeaddrinfo(list);
    }
    if (fd < 0)
        error_set(error, ERROR_SYSTEM, "cannot listen at %s port %u: %s", host ? host : "any address", port,
                  strerror(reason));
    return fd;
}

bool net_wait(int fd, short events, uint64_t until)
{
    for (;;) {
        const uint64_t now = clock_now();
        struct pollfd one = {.fd = fd, .events = events};
        const uint64_t left = until > now ? (until - now) / 1000000 + 1 : 0;
        const int ready = poll(&one, 1, left > 60000 ? 60000 : (int)left);
        if (ready > 0)
            return true;
        if ((ready < 0 && errno != EINTR) || clock_now() >= until)
            return false;
    }
}

/* errno says why not. */
static int connect_to(const struct addrinfo *one, uint64_t until)
{
    const int fd = socket(one->ai_family, SOCK_STREAM, 0);
    if (fd < 0)
        return -1;
    net_ready(fd);
    int reason = connect(fd, one->ai_addr, one->ai_addrlen) == 0 ? 0 : errno;
    if (reason == EINPROGRESS || reason == EINTR) {
        socklen_t size = sizeof reason;
        if (!net_wait(fd, POLLOUT, until))
            reason = ETIMEDOUT;
        else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &reason, &size))
            reason = errno;
    }
    if (!reason)
        return fd;
    close(fd);
    errno = reason;
    return -1;
}

int net_connect(const char *host, uint16_t port, uint64_t until, struct error *error)
{
    struct addrinfo *list = resolve(host, port, 0, error);
    if (!list)
        return -1;
    int fd = -1;
    for (const struct addrinfo *one = list; one && fd < 0; one = one->ai_next)
        fd = connect_to(one, until);
    if (fd < 0)
        error_set(error, ERROR_SYSTEM, "cannot connect to %s port %u: %s", host, port, strerror(errno));
    freeaddrinfo(list);
    return fd;
}

static bool address_text(const struct sockaddr_storage *from, socklen_t length, struct net_address *address)
{
    char port[8];
    *address = (struct net_address){{0}, 0, {0}};
    if (getnameinfo((const struct sockaddr *)from, length, address->host, sizeof address->host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV))
        return false;
    if (strncmp(address->host, "::ffff:", 7) == 0 && strchr(address->host, '.')) /* of version 4, seen by one of 6 */
        memmove(address->host, address->host + 7, strlen(address->host + 7) + 1);
    address->port = (uint16_t)atoi(port);
    return true;
}

bool net_own(int fd, struct net_address *address)
{
    struct sockaddr_storage own;
    socklen_t length = sizeof own;
    return getsockname(fd, (struct sockaddr *)&own, &length) == 0 && address_text(&own, length, address);
}

bool net_peer(int fd, struct net_address *address)
{
    struct sockaddr_storage peer;
    socklen_t length = sizeof peer;
    return getpeername(fd, (struct sockaddr *)&peer, &length) == 0 && address_text(&peer, length, address);
}

bool net_send(int fd, const void *bytes, size_t length, uint64_t until)
{
    for (size_t done = 0; done < length;) {
        const ssize_t sent = send(fd, (const char *)bytes + done, length - done, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent >= 0)
            done += (size_t)sent;
        else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
            return false;
        else if (!net_wait(fd, POLLOUT, until)) {
            errno = ETIMEDOUT;
            return false;
        }
    }
    return true;
}

bool net_receive(int fd, void *bytes, size_t length, uint64_t until)
{
    for (size_t done = 0; done < length;) {
        const ssize_t got = recv(fd, (char *)bytes + done, length - done, MSG_DONTWAIT);
        if (got > 0) {
            done += (size_t)got;
        } else if (got == 0) {
            errno = ECONNRESET;
            return false;
        } else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
            return false;
        } else if (!net_wait(fd, POLLIN, until)) {
            errno = ETIMEDOUT;
            return false;
        }
    }
    return true;
}

bool net_random(void *bytes, size_t length)
{
    return getentropy(bytes, length) == 0;
}

bool net_equal(const void *a, const void *b, size_t length)
{
    unsigned char differ = 0;
    for (size_t i = 0; i < length; i++)
        differ |= ((const volatile unsigned char *)a)[i] ^ ((const volatile unsigned char *)b)[i];
    return differ == 0;
}
