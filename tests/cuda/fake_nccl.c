/* A libnccl.so.2 with NCCL's interface and no card: memory is the host's, a stream does at once what it is given, and ranks meet in a
 * file whose name is the unique id. FAULT_OLD says that it is 2.9, FAULT_SYMBOL has no ncclReduceScatter. */
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define RANKS_MOST 8
#define ROOM ((size_t)4 << 20)

struct meeting {
    _Atomic uint32_t arrived;
    _Alignas(64) unsigned char room[RANKS_MOST][ROOM];
};
struct ncclComm {
    struct meeting *meeting;
    int rank, ranks;
    uint32_t meetings;
};
struct id {
    char bytes[128];
};

#define API __attribute__((visibility("default")))
API int ncclGetVersion(int *version);
API int ncclGetUniqueId(struct id *id);
API int ncclCommInitRank(struct ncclComm **communicator, int ranks, struct id id, int rank);
API int ncclCommDestroy(struct ncclComm *communicator);
API int ncclCommAbort(struct ncclComm *communicator);
API int ncclCommGetAsyncError(struct ncclComm *communicator, int *error);
API const char *ncclGetErrorString(int result);
API const char *ncclGetLastError(struct ncclComm *communicator);
API int ncclAllReduce(const void *from, void *to, size_t count, int type, int op, struct ncclComm *c, void *stream);
API int ncclReduceScatter(const void *from, void *to, size_t count, int type, int op, struct ncclComm *c, void *stream);
API int ncclAllGather(const void *from, void *to, size_t count, int type, struct ncclComm *c, void *stream);
API int ncclBroadcast(const void *from, void *to, size_t count, int type, int root, struct ncclComm *c, void *stream);

int ncclGetVersion(int *version)
{
#ifdef FAULT_OLD
    *version = 2908;
#else
    *version = 22809;
#endif
    return 0;
}

int ncclGetUniqueId(struct id *id)
{
    memset(id, 0, sizeof *id);
    snprintf(id->bytes, sizeof id->bytes, "/steptop-fake-nccl-%ld", (long)getpid());
    shm_unlink(id->bytes);
    return 0;
}

/* All have come as often as this one, or two seconds are over. */
static int meet(struct ncclComm *communicator)
{
    const uint32_t wanted = ++communicator->meetings * (uint32_t)communicator->ranks;
    atomic_fetch_add(&communicator->meeting->arrived, 1);
    for (int i = 0; i < 20000; i++) {
        if (atomic_load(&communicator->meeting->arrived) >= wanted)
            return 0;
        nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
    }
    return 6;
}

int ncclCommInitRank(struct ncclComm **communicator, int ranks, struct id id, int rank)
{
    const int fd = shm_open(id.bytes, O_CREAT | O_RDWR, 0600);
    if (fd < 0 || ranks > RANKS_MOST || ftruncate(fd, sizeof(struct meeting)) < 0)
        return 2;
    struct ncclComm *new = calloc(1, sizeof *new);
    new->meeting = mmap(NULL, sizeof(struct meeting), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    new->rank = rank;
    new->ranks = ranks;
    *communicator = new;
    const int result = meet(new);
    if (rank == 0)
        shm_unlink(id.bytes);
    return result;
}

static void leave(struct ncclComm *communicator, const char *how)
{
    const char *path = getenv("FAKE_NCCL_ENDS");
    FILE *file = path ? fopen(path, "a") : NULL;
    if (file) {
        fprintf(file, "%s %d\n", how, communicator->rank);
        fclose(file);
    }
    munmap(communicator->meeting, sizeof(struct meeting));
    free(communicator);
}

int ncclCommDestroy(struct ncclComm *communicator)
{
    leave(communicator, "destroy");
    return 0;
}
int ncclCommAbort(struct ncclComm *communicator)
{
    leave(communicator, "abort");
    return 0;
}

int ncclCommGetAsyncError(struct ncclComm *communicator, int *error)
{
    (void)communicator;
    const char *said = getenv("FAKE_NCCL_ASYNC");
    *error = said ? atoi(said) : 0;
    return 0;
}

const char *ncclGetErrorString(int result)
{
    return result == 6 ? "remote process exited or there was a network error" : "some error";
}
const char *ncclGetLastError(struct ncclComm *communicator)
{
    (void)communicator;
    return "a last word";
}

static float get(const unsigned char *room, size_t i, int type)
{
    uint32_t bits = 0;
    if (type == 9) {
        uint16_t half;
        memcpy(&half, room + 2 * i, 2);
        bits = (uint32_t)half << 16;
    } else {
        memcpy(&bits, room + 4 * i, 4);
    }
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void put(void *to, size_t i, int type, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint16_t half = (uint16_t)(bits >> 16);
    if (type == 9)
        memcpy((unsigned char *)to + 2 * i, &half, 2);
    else
        memcpy((unsigned char *)to + 4 * i, &bits, 4);
}

/* `given` elements from each; then rank r's elements from `first` on are averaged, or those of `root`, or all one after another. */
enum what { AVERAGE, COPY, GATHER };
static int all_do(struct ncclComm *c, const void *from, void *to, size_t given, size_t first, size_t taken, int type,
                  enum what what)
{
    const size_t size = type == 9 ? 2 : 4;
    if ((type != 7 && type != 9) || given * size > ROOM)
        return 4;
    memcpy(c->meeting->room[c->rank], from, given * size);
    int result = meet(c);
    for (size_t i = 0; result == 0 && i < taken; i++) {
        float sum = 0;
        for (int r = 0; r < c->ranks; r++)
            sum += get(c->meeting->room[r], first + i, type);
        if (what == AVERAGE)
            put(to, i, type, sum / (float)c->ranks);
        else
            put(to, i, type,
                get(c->meeting->room[what == GATHER ? i / given : 0], what == GATHER ? i % given : i, type));
    }
    return result ? result : meet(c);
}

int ncclAllReduce(const void *from, void *to, size_t count, int type, int op, struct ncclComm *c, void *stream)
{
    (void)stream;
    return op == 4 ? all_do(c, from, to, count, 0, count, type, AVERAGE) : 4;
}
#ifndef FAULT_SYMBOL
int ncclReduceScatter(const void *from, void *to, size_t count, int type, int op, struct ncclComm *c, void *stream)
{
    (void)stream;
    const size_t whole = count * (size_t)c->ranks;
    return op == 4 ? all_do(c, from, to, whole, count * (size_t)c->rank, count, type, AVERAGE) : 4;
}
#endif
int ncclAllGather(const void *from, void *to, size_t count, int type, struct ncclComm *c, void *stream)
{
    (void)stream;
    return all_do(c, from, to, count, 0, count * (size_t)c->ranks, type, GATHER);
}
int ncclBroadcast(const void *from, void *to, size_t count, int type, int root, struct ncclComm *c, void *stream)
{
    (void)stream;
    return root == 0 ? all_do(c, from, to, count, 0, count, type, COPY) : 4;
}
