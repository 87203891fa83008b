/* NCCL, opened when a plan has collectives. What is used of it is declared here, so that building needs no header of it: names and
 * numbers are those of NCCL's stable interface (2.10 and newer). */
#pragma once
#include "base/error.h"
#include <cuda.h>
#include <stddef.h>

#define NCCL_OLDEST 21000 /* 2.10: averages */

typedef struct ncclComm *nccl_communicator;
struct nccl_id {
    char bytes[128];
};
enum { NCCL_SUCCESS = 0, NCCL_IN_PROGRESS = 7 };
enum { NCCL_FLOAT32 = 7, NCCL_BFLOAT16 = 9 };
enum { NCCL_AVERAGE = 4 };

struct nccl {
    void *handle;
    int version; /* 22809 for 2.28.9 */
    int (*ncclGetVersion)(int *version);
    int (*ncclGetUniqueId)(struct nccl_id *id);
    int (*ncclCommInitRank)(nccl_communicator *communicator, int ranks, struct nccl_id id, int rank);
    int (*ncclCommDestroy)(nccl_communicator communicator);
    int (*ncclCommAbort)(nccl_communicator communicator);
    int (*ncclCommGetAsyncError)(nccl_communicator communicator, int *error);
    const char *(*ncclGetErrorString)(int result);
    const char *(*ncclGetLastError)(nccl_communicator communicator); /* may be missing: 2.13 */
    int (*ncclAllReduce)(const void *from, void *to, size_t count, int type, int op, nccl_communicator communicator,
                         CUstream stream);
    int (*ncclReduceScatter)(const void *from, void *to, size_t count, int type, int op, nccl_communicator communicator,
                             CUstream stream);
    int (*ncclAllGather)(const void *from, void *to, size_t count, int type, nccl_communicator communicator,
                         CUstream stream);
    int (*ncclBroadcast)(const void *from, void *to, size_t count, int type, int root, nccl_communicator communicator,
                         CUstream stream);
};

/* ERROR_DEVICE with what is missing and what to do. */
bool nccl_open(struct nccl *nccl, struct error *error);
/* Fills *error with "<what>: <NCCL's words>" and returns false. */
bool nccl_failed(const struct nccl *nccl, nccl_communicator communicator, int result, const char *what,
                 struct error *error);
