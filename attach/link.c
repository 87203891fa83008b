#include "attach/link.h"
#include "attach/away.h"
#include "base/clock.h"
#include "base/launcher.h"
#include "base/owned.h"
#include "profiler/ring.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Bytes, half of them sent: a million places; a front that lets so much wait has stopped. */
#define QUEUE_MAX (32u << 20)
#define PERIOD_MS 20
#define SPINS 2000
#define EARLY 4096 /* records that are kept until the front has answered, which may be held up longer than we wait */

/* One link a process: what injects us calls in without a handle. */
static struct {
    _Atomic int state;
    _Atomic bool ready;   /* the ring is there */
    pthread_mutex_t lock; /* of the queue and of opening; never held across a call that can wait */
    pthread_cond_t changed;
    char path[sizeof((struct sockaddr_un *)0)->sun_path]; /* of the socket; "": as the environment says */
    struct owned front, wake;                             /* wake: an eventfd, so that what is said goes at once */
    _Atomic bool woken;
    char *queue;
    size_t taken, queued, capacity; /* bytes of the queue: sent, put into it, room for */
    struct ring *ring;
    atomic_flag pushing;
    _Atomic uint64_t lost;
    struct record early[EARLY];
    size_t early_count;
    struct attach_settings settings;
    void (*_Atomic tick)(void);
    void (*_Atomic shut)(void);
    struct owned
        output[2]; /* reading ends of the program's own output and errors; none where it does not go to the front */
    pid_t pid;
} self = {.lock = PTHREAD_MUTEX_INITIALIZER,
          .changed = PTHREAD_COND_INITIALIZER,
          .front = {.fd = -1},
          .wake = {.fd = -1},
          .output = {{.fd = -1}, {.fd = -1}},
          .pushing = ATOMIC_FLAG_INIT};

bool link_is_open(void)
{
    return atomic_load_explicit(&self.state, memory_order_relaxed) == LINK_OPEN;
}

/* Written once, before the ring is there. */
const struct attach_settings *link_settings(void)
{
    static const struct attach_settings none;
    return atomic_load_explicit(&self.ready, memory_order_acquire) ? &self.settings : &none;
}

void link_shut(void)
{
    atomic_store(&self.state, LINK_OFF);
}

/* Only the thread that forked lives in the child, and the lock may be held for ever by one that does not: nothing of ours is
 * touched again but the descriptor, which would keep the front waiting for an end that has come. */
static void after_fork(void)
{
    atomic_store(&self.state, LINK_OFF);
    owned_close(&self.front);
    owned_close(&self.wake);
    for (int i = 0; i < 2; i++)
        owned_close(&self.output[i]);
}

/* ---- the queue ---- */

/* What was sent goes out when it is half of all, so that a byte is moved once. */
static void queue_take(size_t sent)
{
    self.taken += sent;
    if (self.taken < self.queued && self.taken < self.queued / 2)
        return;
    self.queued -= self.taken;
    memmove(self.queue, self.queue + self.taken, self.queued);
    self.taken = 0;
}

static bool queue_room(size_t length)
{
    if (self.queued + length <= self.capacity)
        return true;
    size_t capacity = self.capacity ? self.capacity : 64u << 10;
    while (capacity < self.queued + length)
        capacity *= 2;
    char *grown = capacity <= QUEUE_MAX ? realloc(self.queue, capacity) : NULL;
    if (!grown)
        return false;
    self.queue = grown;
    self.capacity = capacity;
    return true;
}

void link_count_lost(uint64_t count)
{
    if (atomic_load_explicit(&self.ready, memory_order_acquire))
        ring_count_dropped(self.ring, count);
    else
        atomic_fetch_add_explicit(&self.lost, count, memory_order_relaxed);
}

void link_wake(void)
{
    const uint64_t one = 1;
    if (self.wake.fd < 0 || atomic_exchange(&self.woken, true))
        return;
    const ssize_t put = write(owned_fd(&self.wake), &one, sizeof one);
    (void)put; /* full: it is awake */
}

/* With the lock. */
static void queue_put(uint32_t type, const void *first, size_t first_length, const void *second, size_t second_length)
{
    const struct message_header header = {type, (uint32_t)(first_length + second_length)};
    if (type == MESSAGE_SAMPLE && self.queued > QUEUE_MAX / 4) {
        link_count_lost(1); /* a step stands for itself: without it all else is still right */
    } else if (queue_room(sizeof header + header.length)) {
        char *to = self.queue + self.queued;
        memcpy(to, &header, sizeof header);
        if (first_length)
            memcpy(to + sizeof header, first, first_length);
        if (second_length)
            memcpy(to + sizeof header + first_length, second, second_length);
        self.queued += sizeof header + header.length;
    } else {
        link_shut(); /* ids of places count what was sent: one that is left out would shift all that follow */
    }
}

/* The word of a step's end waits for the next period: to wake a thread on another processor takes the program some 20 µs. */
void link_send(uint32_t type, const void *first, size_t first_length, const void *second, size_t second_length)
{
    if (!link_is_open() || !message_length_valid(type, (uint32_t)(first_length + second_length)))
        return;
    pthread_mutex_lock(&self.lock);
    queue_put(type, first, first_length, second, second_length);
    pthread_mutex_unlock(&self.lock);
    if (type != MESSAGE_SAMPLE)
        link_wake();
}

void link_note(const char *key, const char *text)
{
    char whole[512];
    const int length = snprintf(whole, sizeof whole, "%s%c%s", key, 0, text);
    if (length > 0)
        link_send(MESSAGE_NOTE, whole, (size_t)length < sizeof whole ? (size_t)length : sizeof whole - 1, NULL, 0);
}

/* ---- records ---- */

/* False: the ring is there by now. */
static bool keep_early(const struct record *record)
{
    pthread_mutex_lock(&self.lock);
    const bool ready = atomic_load_explicit(&self.ready, memory_order_relaxed);
    if (!ready && self.early_count < EARLY)
        self.early[self.early_count++] = *record;
    else if (!ready)
        link_count_lost(1);
    pthread_mutex_unlock(&self.lock);
    return !ready;
}

/* The ring has one producer: threads take turns, which last some ten nanoseconds. One that is held up with the turn in its hand
 * (its processor was taken away) makes the others lose records, not time. */
void link_push(struct record *record)
{
    if (!link_is_open()) /* a forked child has its parent's ring, which has one producer, and what the parent had begun ends in it, too */
        return;
    if (!atomic_load_explicit(&self.ready, memory_order_acquire) && keep_early(record))
        return;
    for (int i = 0; atomic_flag_test_and_set_explicit(&self.pushing, memory_order_acquire); i++)
        if (i == SPINS) {
            ring_count_dropped(self.ring, 1);
            return;
        }
    ring_push(self.ring, record);
    atomic_flag_clear_explicit(&self.pushing, memory_order_release);
}

/* ---- the link's thread ---- */

void link_use(const char *path)
{
    if (strlen(path) < sizeof self.path)
        strcpy(self.path, path);
}

static const char *socket_path(void)
{
    return self.path[0] ? self.path : getenv(ATTACH_SOCKET_VARIABLE);
}

static bool connect_front(void)
{
    const char *path = socket_path();
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!path || !*path || strlen(path) >= sizeof address.sun_path)
        return false;
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    /* Out of the way of programs that count on low numbers. */
    const int high = fcntl(fd, F_DUPFD_CLOEXEC, 200);
    if (high >= 0) {
        close(fd);
        fd = high;
    }
    fcntl(fd, F_SETFL, O_NONBLOCK);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        close(fd);
        return false;
    }
    self.front = owned_take(fd);
    return true;
}

/* With the lock, and before anybody else finds the link open: to who says something else first the front does not listen. */
static void say_hello(void)
{
    struct message_hello hello = {.version = PROTOCOL_VERSION,
                                  .record_bytes = sizeof(struct record),
                                  .process = (uint32_t)self.pid,
                                  .parent = (uint32_t)getppid()};
    struct launcher_rank who;
    launcher_rank(&who);
    hello.rank = who.rank, hello.local = who.local, hello.world = who.world;
    char command[1024];
    const int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t length = fd >= 0 ? read(fd, command, sizeof command) : -1;
    if (fd >= 0)
        close(fd);
    length = length > 0 ? length - 1 : 0; /* without the last end */
    for (ssize_t i = 0; i < length; i++)
        command[i] = command[i] ? command[i] : ' ';
    queue_put(MESSAGE_HELLO, &hello, sizeof hello, command, (size_t)length);
}

/* The front's answer: its settings, and the ring beside them. False: the front is gone. */
static bool take_answer(void)
{
    struct {
        struct message_header header;
        struct message_attach attach;
    } answer;
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(3 * sizeof(int))];
    } control = {0};
    struct iovec part = {&answer, sizeof answer};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    const ssize_t got = recvmsg(owned_fd(&self.front), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got < 0)
        return errno == EAGAIN || errno == EINTR;
    const struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    if (got < (ssize_t)sizeof(struct message_header))
        return false;
    if (answer.header.type != MESSAGE_ATTACH)
        return answer.header.type != MESSAGE_STOP && got > 0;
    if (got != (ssize_t)sizeof answer || !head || head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS)
        return false;
    int fds[3] = {-1, -1, -1};
    const size_t length = head->cmsg_len - CMSG_LEN(0);
    memcpy(fds, CMSG_DATA(head), length < sizeof fds ? length : sizeof fds);
    self.output[0] = owned_take(fds[1]);
    self.output[1] = owned_take(fds[2]);
    struct ring *ring = ring_attach(fds[0], NULL);
    if (!ring) {
        close(fds[0]);
        return false;
    }
    pthread_mutex_lock(&self.lock);
    self.settings = (struct attach_settings){.skip = answer.attach.skip, .layers_only = answer.attach.layers_only};
    self.ring = ring;
    for (size_t i = 0; i < self.early_count; i++) /* nobody else pushes yet */
        ring_push(ring, &self.early[i]);
    atomic_store_explicit(&self.ready, true, memory_order_release);
    pthread_cond_broadcast(&self.changed);
    pthread_mutex_unlock(&self.lock);
    ring_count_dropped(ring, atomic_exchange(&self.lost, 0));
    return true;
}

/* Sends what was queued when it began; what is left stays at the front of the queue. False: the front is gone. */
static bool send_queue(void)
{
    char part[16384];
    for (;;) {
        pthread_mutex_lock(&self.lock);
        const size_t waiting = self.queued - self.taken, length = waiting < sizeof part ? waiting : sizeof part;
        if (length)
            memcpy(part, self.queue + self.taken, length);
        pthread_mutex_unlock(&self.lock);
        if (!length)
            return true;
        const ssize_t sent = send(owned_fd(&self.front), part, length, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0)
            return errno == EAGAIN || errno == EINTR || errno == ENOBUFS;
        pthread_mutex_lock(&self.lock);
        queue_take((size_t)sent);
        pthread_mutex_unlock(&self.lock);
    }
}

void link_tick(void (*tick)(void))
{
    atomic_store(&self.tick, tick);
}

void link_at_shut(void (*shut)(void))
{
    atomic_store(&self.shut, shut);
}

/* The front is gone, and the program's output went to it: somebody must read on, or the program dies of its next line, or waits for ever
 * when the pipe is full. What it says is lost, as it is on a closed terminal. */
static void drain_output(void)
{
    char nothing[4096];
    for (;;) {
        struct pollfd pollers[2] = {{.fd = owned_fd(&self.output[0]), .events = POLLIN},
                                    {.fd = owned_fd(&self.output[1]), .events = POLLIN}};
        if (pollers[0].fd < 0 && pollers[1].fd < 0)
            return;
        poll(pollers, 2, -1);
        for (int i = 0; i < 2; i++) {
            if (pollers[i].fd < 0 || !pollers[i].revents)
                continue;
            const ssize_t got = read(owned_fd(&self.output[i]), nothing, sizeof nothing);
            if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
                self.output[i] = OWNED_NONE;
        }
    }
}

/* It may have asked for the program to be left alone, and goes on reading what the program says. */
static void await_end_of_front(void)
{
    char nothing[256];
    for (;;) {
        struct pollfd poller = {.fd = owned_fd(&self.front), .events = POLLIN};
        if (poller.fd < 0)
            return;
        poll(&poller, 1, -1);
        const ssize_t got = recv(owned_fd(&self.front), nothing, sizeof nothing, MSG_DONTWAIT);
        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
            return;
    }
}

static void *link_thread(void *unused)
{
    (void)unused;
    away_begin(PERIOD_MS * UINT64_C(1000000));
    while (link_is_open()) {
        struct pollfd pollers[2] = {{.fd = owned_fd(&self.front), .events = POLLIN},
                                    {.fd = owned_fd(&self.wake), .events = POLLIN}};
        uint64_t count;
        poll(pollers, 2, PERIOD_MS);
        away_look();
        if (pollers[1].revents && read(owned_fd(&self.wake), &count, sizeof count) < 0 && errno != EAGAIN)
            pollers[1].revents = 0; /* without it the period has to do */
        atomic_store(&self.woken, false);
        if (pollers[0].fd < 0 || !send_queue() || (pollers[0].revents && !take_answer()))
            link_shut();
        void (*tick)(void) = atomic_load(&self.tick);
        if (tick)
            tick();
    }
    away_end();
    pthread_mutex_lock(&self.lock);
    pthread_cond_broadcast(&self.changed);
    pthread_mutex_unlock(&self.lock);
    void (*shut)(void) = atomic_load(&self.shut);
    if (shut)
        shut();
    if (self.output[0].fd >= 0 || self.output[1].fd >= 0) {
        await_end_of_front();
        drain_output();
    }
    owned_close(&self.front);
    return NULL;
}

static bool start_thread(void)
{
    /* The program's signals are the program's threads' to take. */
    sigset_t all, before;
    pthread_attr_t attributes;
    pthread_t thread;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, 256u << 10);
    const bool started = pthread_create(&thread, &attributes, link_thread, NULL) == 0;
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

static struct timespec deadline_in(int ms)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += ms % 1000 * 1000000L;
    until.tv_sec += ms / 1000 + until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    return until;
}

bool link_may_open(void)
{
    const char *path = socket_path();
    return link_is_open() || (atomic_load(&self.state) == LINK_NEVER && path && access(path, W_OK) == 0);
}

bool link_open(int wait_ms)
{
    if (atomic_load(&self.state) != LINK_NEVER)
        return link_is_open();
    pthread_mutex_lock(&self.lock);
    const bool first = atomic_load(&self.state) == LINK_NEVER;
    if (first) {
        self.pid = getpid();
        const bool connected = connect_front() && pthread_atfork(NULL, NULL, after_fork) == 0;
        self.wake = owned_take(connected ? eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : -1);
        if (connected)
            say_hello();
        atomic_store(&self.state, connected && self.queued ? LINK_OPEN : LINK_OFF);
    }
    pthread_mutex_unlock(&self.lock);
    if (first && link_is_open() && !start_thread())
        link_shut();
    if (first)
        link_wake();
    const struct timespec until = deadline_in(wait_ms);
    pthread_mutex_lock(&self.lock);
    while (wait_ms > 0 && link_is_open() && !atomic_load(&self.ready))
        if (pthread_cond_timedwait(&self.changed, &self.lock, &until) == ETIMEDOUT)
            break;
    pthread_mutex_unlock(&self.lock);
    return link_is_open();
}

void link_flush(int wait_ms)
{
    const uint64_t until = clock_now() + (uint64_t)wait_ms * 1000000u;
    if (link_is_open())
        link_wake();
    while (link_is_open() && clock_now() < until) {
        pthread_mutex_lock(&self.lock);
        const bool empty = self.queued == self.taken && (self.early_count == 0 || atomic_load(&self.ready));
        pthread_mutex_unlock(&self.lock);
        if (empty)
            return;
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
}

/* What a program has said by its end goes out, whichever way in it came. */
__attribute__((destructor)) static void at_end(void)
{
    if (link_is_open() && getpid() == self.pid)
        link_flush(300);
}
