#include "profiler/ring.h"
#include "base/limits.h"
#include "base/system.h"
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define RING_MAGIC 0x676e697270657473u /* "steprings" cut to eight */
#define RING_VERSION 1u
#define RING_HEADER 4096u
#define RING_MAX_RECORDS (1u << 24)

/* What both processes map. Each index has a cache line to itself, so that the producer's stores never take the line that
 * the consumer spins on, and the other way round. */
struct shared {
    uint64_t magic;
    uint32_t version, record_size, capacity;
    _Alignas(64) _Atomic uint64_t head; /* records ever written; the producer's */
    _Alignas(64) _Atomic uint64_t dropped;
    _Alignas(64) _Atomic uint64_t tail; /* records ever taken; the consumer's */
};
_Static_assert(sizeof(struct shared) <= RING_HEADER, "the header fits its page");

struct ring {
    struct shared *shared;
    struct record *records;
    size_t bytes;
    int fd;
    uint32_t capacity, mask; /* private: what the other side writes over the header changes nothing here */
    uint32_t sequence;       /* producer's next */
    uint64_t head, tail;     /* own index, and the other's as last seen */
};

static size_t ring_bytes(uint32_t capacity)
{
    return RING_HEADER + (size_t)capacity * sizeof(struct record);
}

static struct ring *ring_map(int fd, uint32_t capacity, struct error *error)
{
    struct ring *ring = calloc(1, sizeof *ring);
    void *place = MAP_FAILED;
    if (ring)
        place = mmap(NULL, ring_bytes(capacity), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (place == MAP_FAILED) {
        error_set(error, error_kind_of(errno), "cannot map the record ring of %zu bytes: %s", ring_bytes(capacity),
                  strerror(errno));
        free(ring);
        return NULL;
    }
    *ring = (struct ring){.shared = place,
                          .records = (struct record *)((char *)place + RING_HEADER),
                          .bytes = ring_bytes(capacity),
                          .fd = fd,
                          .capacity = capacity,
                          .mask = capacity - 1};
    return ring;
}

struct ring *ring_create(uint32_t capacity, struct error *error)
{
    if (capacity < 2 || capacity > RING_MAX_RECORDS || (capacity & (capacity - 1))) {
        error_set(error, ERROR_INTERNAL, "a ring of %u records: not a power of two from 2 to %u", capacity,
                  RING_MAX_RECORDS);
        return NULL;
    }
    const int fd = memory_file("steptop-ring", error);
    if (fd < 0)
        return NULL;
    struct ring *ring = NULL;
    if (!memory_file_size(fd, ring_bytes(capacity), "the ring of records", error))
        goto failed;
#ifdef SYSTEM_LINUX
    /* Without the seals a worker could cut the file short under the front's mapping, and the next drain would be SIGBUS. */
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) {
        error_set(error, ERROR_SYSTEM, "cannot seal the record ring: %s", strerror(errno));
        goto failed;
    }
#endif
    ring = ring_map(fd, capacity, error);
    if (!ring)
        goto failed;
    ring->shared->version = RING_VERSION;
    ring->shared->record_size = sizeof(struct record);
    ring->shared->capacity = capacity;
    ring->shared->magic = RING_MAGIC;
    return ring;
failed:
    close(fd);
    return NULL;
}

struct ring *ring_attach(int fd, struct error *error)
{
    struct stat status;
    struct shared header;
    if (fstat(fd, &status) || status.st_size < (off_t)RING_HEADER ||
        pread(fd, &header, sizeof header, 0) != sizeof header) {
        error_set(error, ERROR_INPUT, "descriptor %d is not a record ring", fd);
        return NULL;
    }
    if (header.magic != RING_MAGIC || header.version != RING_VERSION || header.record_size != sizeof(struct record)) {
        error_set(error, ERROR_INPUT, "descriptor %d is not a record ring of this version of steptop", fd);
        return NULL;
    }
    const uint32_t capacity = header.capacity;
    if (capacity < 2 || capacity > RING_MAX_RECORDS || (capacity & (capacity - 1)) ||
        status.st_size != (off_t)ring_bytes(capacity)) {
        error_set(error, ERROR_INPUT, "the record ring in descriptor %d says %u records and has %lld bytes", fd,
                  capacity, (long long)status.st_size);
        return NULL;
    }
    struct ring *ring = ring_map(fd, capacity, error);
    if (ring) {
        ring->head = atomic_load_explicit(&ring->shared->head, memory_order_acquire);
        ring->tail = atomic_load_explicit(&ring->shared->tail, memory_order_acquire);
        ring->sequence = (uint32_t)ring->head;
    }
    return ring;
}

int ring_fd(const struct ring *ring)
{
    return ring->fd;
}

void ring_close(struct ring *ring)
{
    if (!ring)
        return;
    munmap(ring->shared, ring->bytes);
    close(ring->fd);
    free(ring);
}

bool ring_push(struct ring *ring, struct record *record)
{
    record->sequence = ring->sequence++;
    return ring_pass(ring, record);
}

bool ring_pass(struct ring *ring, const struct record *record)
{
    struct shared *shared = ring->shared;
    /* The consumer's index is read again only when the ring looks full: its line stays with the consumer otherwise. */
    if (ring->head - ring->tail >= ring->capacity) {
        ring->tail = atomic_load_explicit(&shared->tail, memory_order_acquire);
        if (ring->head - ring->tail >= ring->capacity) {
            atomic_fetch_add_explicit(&shared->dropped, 1, memory_order_relaxed);
            return false;
        }
    }
    ring->records[ring->head & ring->mask] = *record;
    atomic_store_explicit(&shared->head, ++ring->head, memory_order_release);
    return true;
}

void ring_count_dropped(struct ring *ring, uint64_t count)
{
    atomic_fetch_add_explicit(&ring->shared->dropped, count, memory_order_relaxed);
}

/* Records that may be read. More than the ring holds cannot be: then the producer wrote nonsense, and what it left is
 * skipped up to where it says it is. */
static size_t ring_ready(const struct ring *ring, uint64_t *head)
{
    *head = atomic_load_explicit(&ring->shared->head, memory_order_acquire);
    return *head - ring->tail <= ring->capacity ? (size_t)(*head - ring->tail) : 0;
}

size_t ring_drain(struct ring *ring, struct record *records, size_t max)
{
    uint64_t head;
    size_t count = ring_ready(ring, &head);
    if (!count) {
        ring->tail = head;
    } else {
        if (count > max)
            count = max;
        const size_t first = (size_t)(ring->tail & ring->mask), whole = ring->capacity - first;
        const size_t part = count < whole ? count : whole;
        memcpy(records, ring->records + first, part * sizeof *records);
        memcpy(records + part, ring->records, (count - part) * sizeof *records);
        ring->tail += count;
    }
    atomic_store_explicit(&ring->shared->tail, ring->tail, memory_order_release);
    return count;
}

size_t ring_waiting(const struct ring *ring)
{
    uint64_t head;
    return ring_ready(ring, &head);
}

void ring_counts(const struct ring *ring, struct ring_counts *counts)
{
    counts->pushed = atomic_load_explicit(&ring->shared->head, memory_order_acquire);
    counts->dropped = atomic_load_explicit(&ring->shared->dropped, memory_order_relaxed);
    counts->drained = atomic_load_explicit(&ring->shared->tail, memory_order_acquire);
}
