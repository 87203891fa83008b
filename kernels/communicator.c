#include "base/gap.h"
#include "base/system.h"
#include "kernels/communicator_internal.h"
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#ifdef SYSTEM_LINUX
#include <linux/futex.h>
#include <sys/syscall.h>
#endif

#define MEETING_MAGIC 0x73746d65u
#define SPINS 256 /* looks before sleeping: ranks that share cores must not burn them */
#define SHARE_ALIGNMENT ((uint64_t)2 << 20)

struct seat {
    _Alignas(64) _Atomic uint32_t arrived; /* meetings this rank came to */
    _Atomic uint32_t says;                 /* of communicator_any: bit (meeting & 1) */
    _Atomic uint64_t bytes;                /* of communicator_share */
    _Atomic uint64_t progress;
};

struct meeting {
    uint32_t magic, world;
    _Alignas(64) _Atomic uint32_t changes; /* grows with each arrival; what sleepers sleep on */
    _Atomic uint32_t failing, failed;      /* somebody writes the sentence; it is there */
    int32_t failed_rank;
    char why[256];
    unsigned char word[COMMUNICATOR_WORD_MAX];
    struct seat seats[COMMUNICATOR_MAX_RANKS];
};
#define MEETING_BYTES ((sizeof(struct meeting) + SHARE_ALIGNMENT - 1) / SHARE_ALIGNMENT * SHARE_ALIGNMENT)

struct shared {
    void *memory;
    uint64_t bytes;
    struct shared *next;
};

int communicator_file(int world, struct error *error)
{
    if (world < 1 || world > COMMUNICATOR_MAX_RANKS) {
        error_set(error, ERROR_UNSUPPORTED, "%d ranks: 1 to %d can meet", world, COMMUNICATOR_MAX_RANKS);
        return -1;
    }
    const int fd = memory_file("steptop-ranks", error);
    if (fd < 0)
        return -1;
    const struct {
        uint32_t magic, world;
    } head = {MEETING_MAGIC, (uint32_t)world};
    if (!memory_file_size(fd, MEETING_BYTES, "the place where ranks meet", error)) {
        close(fd);
        return -1;
    }
    if (pwrite(fd, &head, sizeof head, 0) != (ssize_t)sizeof head) {
        error_set(error, ERROR_SYSTEM, "cannot make room for the ranks to meet: %s", strerror(errno));
        close(fd);
        return -1;
    }
    return fd;
}

struct communicator *communicator_join(int fd, int rank, struct error *error)
{
    struct communicator *communicator = calloc(1, sizeof *communicator);
    if (!communicator) {
        error_set(error, ERROR_MEMORY, "no memory for a rank");
        return NULL;
    }
    void *memory = mmap(NULL, sizeof(struct meeting), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) {
        error_set(error, ERROR_SYSTEM, "rank %d cannot map the meeting place: %s", rank, strerror(errno));
        free(communicator);
        return NULL;
    }
    *communicator = (struct communicator){
        .meeting = memory, .fd = fd, .rank = rank, .limit = COMMUNICATOR_SETUP_NS, .end = MEETING_BYTES};
    communicator->world = (int)communicator->meeting->world;
    if (communicator->meeting->magic != MEETING_MAGIC || rank < 0 || rank >= communicator->world ||
        communicator->world > COMMUNICATOR_MAX_RANKS) {
        error_set(error, ERROR_INTERNAL, "rank %d was handed no meeting place of its own", rank);
        communicator_leave(communicator);
        return NULL;
    }
    return communicator;
}

void communicator_leave(struct communicator *communicator)
{
    if (!communicator)
        return;
    while (communicator->shared) {
        struct shared *shared = communicator->shared;
        communicator->shared = shared->next;
        munmap(shared->memory, shared->bytes);
        free(shared);
    }
    if (communicator->hosts)
        hosts_leave(communicator);
    else
        munmap(communicator->meeting, sizeof(struct meeting));
    free(communicator);
}

int communicator_rank(const struct communicator *communicator)
{
    return communicator->rank;
}
int communicator_world(const struct communicator *communicator)
{
    return communicator->world;
}
void communicator_limit(struct communicator *communicator, uint64_t ns)
{
    communicator->limit = ns;
}

/* Sleeps until `word` is no longer `seen`, some milliseconds at most. */
static void sleep_on(_Atomic uint32_t *word, uint32_t seen)
{
    const struct timespec while_ = {0, 5000000};
#ifdef SYSTEM_LINUX
    syscall(SYS_futex, word, FUTEX_WAIT, seen, &while_, NULL, 0);
#else
    (void)word, (void)seen;
    nanosleep(&(struct timespec){0, while_.tv_nsec / 100}, NULL);
#endif
}

static void wake(_Atomic uint32_t *word)
{
    atomic_fetch_add_explicit(word, 1, memory_order_release);
#ifdef SYSTEM_LINUX
    syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
#endif
}

/* The first rank that has not come to meeting `number`; −1: all have. */
static int missing_rank(const struct communicator *communicator, uint32_t number)
{
    for (int rank = 0; rank < communicator->world; rank++) {
        const uint32_t arrived =
            atomic_load_explicit(&communicator->meeting->seats[rank].arrived, memory_order_acquire);
        if ((int32_t)(arrived - number) < 0)
            return rank;
    }
    return -1;
}

static bool wait_for_all(struct communicator *communicator, uint32_t number, const char *what, struct error *error)
{
    struct meeting *meeting = communicator->meeting;
    struct patience patience = {0};
    for (int spin = 0;; spin++) {
        const uint32_t changes = atomic_load_explicit(&meeting->changes, memory_order_acquire);
        const int missing = missing_rank(communicator, number);
        if (missing < 0)
            return true;
        if (communicator_failed(communicator, error))
            return false;
        if (spin < SPINS) {
#ifdef __x86_64__
            __builtin_ia32_pause();
#endif
            continue;
        }
        if (patience_look(&patience) > communicator->limit) {
            char why[160];
            snprintf(why, sizeof why, "rank %d did not come to %s within %.0f s", missing, what,
                     (double)communicator->limit / 1e9);
            communicator_fail(communicator, why);
            return error_set(error, ERROR_DEVICE, "%s", why);
        }
        sleep_on(&meeting->changes, changes);
    }
}

bool communicator_meet(struct communicator *communicator, const char *what, struct error *error)
{
    if (communicator->hosts)
        return hosts_meet(communicator, what, error);
    struct meeting *meeting = communicator->meeting;
    const uint32_t number = ++communicator->came;
    atomic_store_explicit(&meeting->seats[communicator->rank].arrived, number, memory_order_release);
    wake(&meeting->changes);
    return wait_for_all(communicator, number, what, error);
}

bool communicator_any(struct communicator *communicator, bool mine, const char *what, bool *any, struct error *error)
{
    if (communicator->hosts)
        return hosts_any(communicator, mine, what, any, error);
    /* Two meetings of the same kind cannot be mixed up: a rank is at most one meeting ahead of another. */
    const uint32_t bit = 1u << (communicator->came & 1);
    _Atomic uint32_t *const says = &communicator->meeting->seats[communicator->rank].says;
    const uint32_t before = atomic_load_explicit(says, memory_order_relaxed);
    atomic_store_explicit(says, mine ? before | bit : before & ~bit, memory_order_relaxed);
    if (!communicator_meet(communicator, what, error))
        return false;
    *any = false;
    for (int rank = 0; rank < communicator->world; rank++)
        *any |= atomic_load_explicit(&communicator->meeting->seats[rank].says, memory_order_relaxed) & bit;
    return true;
}

bool communicator_tell(struct communicator *communicator, void *bytes, size_t size, struct error *error)
{
    if (size > COMMUNICATOR_WORD_MAX)
        return error_set(error, ERROR_INTERNAL, "%zu bytes are too long a word to all ranks", size);
    if (communicator->hosts)
        return hosts_tell(communicator, bytes, size, error);
    if (communicator->rank == 0)
        memcpy(communicator->meeting->word, bytes, size);
    if (!communicator_meet(communicator, "hear rank 0", error))
        return false;
    if (communicator->rank != 0)
        memcpy(bytes, communicator->meeting->word, size);
    return communicator_meet(communicator, "hear rank 0", error); /* before the next word is written */
}

void communicator_fail(struct communicator *communicator, const char *why)
{
    if (communicator->hosts) {
        hosts_fail(communicator, why);
        return;
    }
    struct meeting *meeting = communicator->meeting;
    uint32_t nobody = 0;
    if (!atomic_compare_exchange_strong(&meeting->failing, &nobody, 1))
        return;
    meeting->failed_rank = communicator->rank;
    snprintf(meeting->why, sizeof meeting->why, "%.255s", why);
    atomic_store_explicit(&meeting->failed, 1, memory_order_release);
    wake(&meeting->changes);
}

void communicator_progress(struct communicator *communicator, uint64_t done)
{
    if (communicator->hosts)
        hosts_progress(communicator, done);
    else
        atomic_store_explicit(&communicator->meeting->seats[communicator->rank].progress, done, memory_order_release);
}

int communicator_behind(const struct communicator *communicator)
{
    if (communicator->hosts)
        return hosts_behind(communicator);
    const struct seat *seats = communicator->meeting->seats;
    uint64_t least = atomic_load_explicit(&seats[communicator->rank].progress, memory_order_acquire);
    int behind = -1;
    for (int rank = 0; rank < communicator->world; rank++) {
        const uint64_t theirs = atomic_load_explicit(&seats[rank].progress, memory_order_acquire);
        if (theirs < least) {
            least = theirs;
            behind = rank;
        }
    }
    return behind;
}

bool communicator_failed(const struct communicator *communicator, struct error *error)
{
    if (communicator->hosts)
        return hosts_failed(communicator, error);
    const struct meeting *meeting = communicator->meeting;
    if (!atomic_load_explicit(&meeting->failed, memory_order_acquire))
        return false;
    error_set(error, ERROR_INTERRUPTED, "rank %d failed: %s", meeting->failed_rank, meeting->why);
    return true;
}

uint64_t communicator_limit_ns(const struct communicator *communicator)
{
    return communicator->limit;
}

bool communicator_share(struct communicator *communicator, uint64_t bytes, void **piece, struct error *error)
{
    if (communicator->hosts)
        return error_set(error, ERROR_UNSUPPORTED, "ranks of several hosts have no memory in common");
    struct meeting *meeting = communicator->meeting;
    const uint64_t stride = (bytes + SHARE_ALIGNMENT - 1) / SHARE_ALIGNMENT * SHARE_ALIGNMENT;
    const uint64_t start = communicator->end, total = stride * (uint64_t)communicator->world;
    atomic_store(&meeting->seats[communicator->rank].bytes, bytes);
    if (!communicator_meet(communicator, "share its memory", error))
        return false;
    for (int rank = 0; rank < communicator->world; rank++) {
        const uint64_t theirs = atomic_load(&meeting->seats[rank].bytes);
        if (theirs != bytes)
            return error_set(error, ERROR_INTERNAL,
                             "rank %d has memory of %llu bytes and rank %d of %llu: the ranks do not run the same plan",
                             communicator->rank, (unsigned long long)bytes, rank, (unsigned long long)theirs);
    }
    if (communicator->rank == 0 && !memory_file_size(communicator->fd, start + total, "what the ranks share", error)) {
        communicator_fail(communicator, error ? error->text : "no memory that the ranks share");
        return false;
    }
    if (!communicator_meet(communicator, "share its memory", error))
        return false;
    struct shared *shared = calloc(1, sizeof *shared);
    char *memory = shared && total
                       ? mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_SHARED, communicator->fd, (off_t)start)
                       : MAP_FAILED;
    if (memory == MAP_FAILED) {
        free(shared);
        return error_set(error, ERROR_MEMORY, "no memory that %d ranks share, %.1f MiB each: %s", communicator->world,
                         (double)bytes / 0x1p20, strerror(errno));
    }
#ifdef MADV_HUGEPAGE
    madvise(memory, total, MADV_HUGEPAGE); /* advice: where shared memory has huge pages */
#endif
    *shared = (struct shared){memory, total, communicator->shared};
    communicator->shared = shared;
    communicator->end = start + total;
    for (int rank = 0; rank < communicator->world; rank++)
        piece[rank] = memory + stride * (uint64_t)rank;
    return true;
}
