/* The way over NCCL without a card: a library of our own with NCCL's interface (fake_nccl.c), a driver whose streams do everything at
 * once, and ranks in processes of their own. What is ours really runs: opening, versions, the unique id, each collective on either
 * stream, waiting, errors, and the end by ncclCommAbort. */
#include "base/clock.h"
#include "kernels/communicator.h"
#include "kernels/cuda/cuda_internal.h"
#include "kernels/cuda/nccl.h"
#include "kernels/schedule.h"
#include "model/model.h"
#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define RANKS_MOST 3

static CUresult stream_state;
static int events_made;
static CUevent waited_for; /* the last event that a stream was told to wait for */

static CUresult CUDAAPI fake_priorities(int *least, int *greatest)
{
    *least = 0;
    *greatest = -5;
    return CUDA_SUCCESS;
}
static CUresult CUDAAPI fake_stream(CUstream *stream, unsigned flags, int priority)
{
    (void)flags, (void)priority;
    *stream = (CUstream)malloc(1);
    return CUDA_SUCCESS;
}
static CUresult CUDAAPI fake_stream_end(CUstream stream)
{
    free(stream);
    return CUDA_SUCCESS;
}
static CUresult CUDAAPI fake_event(CUevent *event, unsigned flags)
{
    (void)flags;
    int *number = malloc(sizeof *number);
    *number = events_made++;
    *event = (CUevent)(void *)number;
    return CUDA_SUCCESS;
}
static CUresult CUDAAPI fake_event_end(CUevent event)
{
    free(event);
    return CUDA_SUCCESS;
}
static CUresult CUDAAPI fake_record(CUevent event, CUstream stream)
{
    (void)stream;
    return event ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}
static CUresult CUDAAPI fake_wait(CUstream stream, CUevent event, unsigned flags)
{
    (void)stream, (void)flags;
    waited_for = event;
    return event ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}
static CUresult CUDAAPI fake_query(CUstream stream)
{
    (void)stream;
    return stream_state;
}
static CUresult CUDAAPI fake_write(CUstream stream, CUdeviceptr address, cuuint32_t value, unsigned flags)
{
    (void)stream, (void)flags;
    if (stream_state == CUDA_SUCCESS)
        *(cuuint32_t *)(uintptr_t)address = value; /* NOLINT(performance-no-int-to-ptr) */
    return CUDA_SUCCESS;
}
static CUresult CUDAAPI fake_host_memory(void **memory, size_t bytes, unsigned flags)
{
    *memory = flags & CU_MEMHOSTALLOC_DEVICEMAP ? malloc(bytes) : NULL;
    return *memory ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}
static CUresult CUDAAPI fake_host_memory_end(void *memory)
{
    free(memory);
    return CUDA_SUCCESS;
}
static CUresult CUDAAPI fake_synchronize(CUstream stream)
{
    (void)stream;
    return CUDA_SUCCESS;
}

static void fake_driver(struct device *device)
{
    *device = (struct device){0};
    *(void **)&device->libraries.cuCtxGetStreamPriorityRange = (void *)fake_priorities;
    *(void **)&device->libraries.cuStreamCreateWithPriority = (void *)fake_stream;
    *(void **)&device->libraries.cuStreamDestroy = (void *)fake_stream_end;
    *(void **)&device->libraries.cuEventCreate = (void *)fake_event;
    *(void **)&device->libraries.cuEventDestroy = (void *)fake_event_end;
    *(void **)&device->libraries.cuEventRecord = (void *)fake_record;
    *(void **)&device->libraries.cuStreamWaitEvent = (void *)fake_wait;
    *(void **)&device->libraries.cuStreamQuery = (void *)fake_query;
    *(void **)&device->libraries.cuStreamWriteValue32 = (void *)fake_write;
    *(void **)&device->libraries.cuMemHostAlloc = (void *)fake_host_memory;
    *(void **)&device->libraries.cuMemFreeHost = (void *)fake_host_memory_end;
    *(void **)&device->libraries.cuStreamSynchronize = (void *)fake_synchronize;
}

/* What NCCL's name means from here on in this process: a library with that soname that is open already. */
static void load(const char *variant)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s/libnccl.so.2", FAKE_FOLDER, variant);
    if (!dlopen(path, RTLD_NOW | RTLD_LOCAL)) {
        fprintf(stderr, "%s\n", dlerror());
        _exit(3);
    }
}

enum fault { FAULT_NONE, FAULT_MISSING_RANK, FAULT_ASYNC };

struct rank_task {
    enum collective collective;
    bool half, aside, turns;
    enum fault fault;
    int ranks, fd;
    int there[2]; /* a pipe that nobody writes to: it ends with the last rank that holds its end */
};

static float value_of(int rank, int64_t i)
{
    return (float)(2 * ((i + 5 * rank) % 16)); /* means of two and sums are exact in bf16 */
}

#define CHECK(condition, ...)                                                                                          \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "rank %d: %s: ", rank, #condition);                                                        \
            fprintf(stderr, __VA_ARGS__);                                                                              \
            fputc('\n', stderr);                                                                                       \
            return 1;                                                                                                  \
        }                                                                                                              \
    } while (0)

static int rank_main(const struct rank_task *task, int rank)
{
    struct error error = {0};
    struct plan_request request = {.phases = PHASES_FWD,
                                   .ranks = {.rank = rank,
                                             .ranks = task->ranks,
                                             .collective = task->collective,
                                             .bucket_bytes = 4096,
                                             .bf16_gradients = task->half}};
    load("whole");
    struct plan *plan = plan_build(&request, NULL, &error);
    CHECK(plan, "%s", error.text);
    plan->nodes[0].aside = task->aside;
    struct communicator *communicator = communicator_join(task->fd, rank, &error);
    CHECK(communicator, "%s", error.text);
    const struct tensor *whole = &plan->tensors[plan_find_tensor(plan, "buffer")];
    const int64_t elements = tensor_elements(whole), piece = elements / task->ranks;
    float *values = calloc((size_t)elements, sizeof *values);
    uint16_t *halves = calloc((size_t)elements, sizeof *halves);
    for (int64_t i = 0; i < elements; i++) {
        uint32_t bits;
        values[i] = value_of(rank, i);
        memcpy(&bits, &values[i], sizeof bits);
        halves[i] = (uint16_t)(bits >> 16);
    }
    char *memory = task->half ? (char *)halves : (char *)values;
    struct device device;
    fake_driver(&device);
    struct program program = {.device = &device, .plan = plan};
    CHECK(cuda_ranks_open(&program, communicator, &error), "%s", error.text);
    CHECK(cuda_ranks_version(&program) == 22809, "%d", cuda_ranks_version(&program));
    communicator_limit(communicator, 300000000);
    const struct node *node = &plan->nodes[0];
    const struct cuda_launch launch = {
        .kind = CUDA_LAUNCH_COLLECTIVE,
        .node = 0,
        .name = op_info(node->op)->name,
        .a = (uintptr_t)(memory + (plan->tensors[node->input[0]].offset - whole->offset)),
        .d = (uintptr_t)(memory + (plan->tensors[node->output[0]].offset - whole->offset))};
    if (task->fault == FAULT_MISSING_RANK && rank == 1) { /* stays away until the other has given it up and ended */
        char byte;
        close(task->there[1]);
        _exit(read(task->there[0], &byte, 1) == 0 ? 0 : 1);
    }
    if (task->fault != FAULT_NONE) {
        stream_state = CUDA_ERROR_NOT_READY;
        if (task->fault == FAULT_ASYNC)
            setenv("FAKE_NCCL_ASYNC", "6", 1);
        CHECK(!cuda_ranks_wait(&program, &error), "it did not fail");
        const char *wanted =
            task->fault == FAULT_ASYNC
                ? "in a step: NCCL says: remote process exited or there was a network error: a last word"
                : "rank 1 did not come to the step within 0 s";
        CHECK(strstr(error.text, wanted) || (task->fault == FAULT_ASYNC && strstr(error.text, "failed: in a step")),
              "%s", error.text);
        cuda_ranks_close(&program);
        return 0;
    }
    CHECK(cuda_ranks_issue(&program, &launch, &error), "%s", error.text);
    CHECK(cuda_ranks_join(&program, &error), "%s", error.text);
    CHECK(cuda_ranks_wait(&program, &error), "%s", error.text);
    for (int64_t i = 0; i < elements; i++) {
        float got = values[i], wanted = 0, sum = 0;
        if (task->half) {
            const uint32_t bits = (uint32_t)halves[i] << 16;
            memcpy(&got, &bits, sizeof got);
        }
        for (int r = 0; r < task->ranks; r++)
            sum += value_of(r, i);
        wanted = task->collective == COLLECTIVE_ALL_REDUCE   ? sum / (float)task->ranks
                 : task->collective == COLLECTIVE_ALL_GATHER ? value_of((int)(i / piece), i)
                 : task->collective == COLLECTIVE_BROADCAST  ? value_of(0, i)
                 : i / piece == rank                         ? sum / (float)task->ranks
                                                             : value_of(rank, i);
        CHECK(got == wanted, "element %lld of %s is %g, not %g", (long long)i, launch.name, (double)got,
              (double)wanted);
    }
    cuda_ranks_close(&program);
    communicator_leave(communicator);
    plan_free(plan);
    free(values);
    free(halves);
    return 0;
}

/* AdamW in pieces, as a compiled program has it: each waits for the last bucket that holds gradients of its own, the ones that are
 * whole first go first, and the first does not wait for the last bucket. */
#define PIECES 8
static int turns_main(const struct rank_task *task, int rank)
{
    struct error error = {0};
    struct plan_request request = {.phases = PHASES_TRAIN_STEP, .batch = 1, .context = 16, .fusions = FUSE_ALL};
    CHECK(model_preset_find("tiny", &request.model, &error), "%s", error.text);
    request.ranks = (struct ranks_request){
        .rank = rank, .ranks = task->ranks, .parallel = PARALLEL_BUCKET, .bucket_bytes = 1000000};
    load("whole");
    struct plan *plan = plan_build(&request, NULL, &error);
    CHECK(plan, "%s", error.text);
    struct communicator *communicator = communicator_join(task->fd, rank, &error);
    CHECK(communicator, "%s", error.text);
    struct device device;
    fake_driver(&device);
    struct cuda_launch launches[PIECES] = {0};
    struct program program = {.device = &device, .plan = plan, .launches = launches, .launch_count = PIECES};
    program.phase_launch[PHASE_OPT + 1] = PIECES;
    const int32_t update = plan->phase_first[PHASE_OPT];
    CHECK(plan->nodes[update].op == OP_ADAMW_ALL, "it is %s", op_info(plan->nodes[update].op)->name);
    const struct tensor *gradients = &plan->tensors[plan->nodes[update].input[1]];
    for (int i = 0; i < PIECES; i++) {
        launches[i] = (struct cuda_launch){.node = update, .piece = true};
        launches[i].extent[0][0] = gradients->offset + gradients->bytes / PIECES * (unsigned)i;
        launches[i].extent[0][1] = gradients->bytes / PIECES;
    }
    CHECK(cuda_ranks_open(&program, communicator, &error), "%s", error.text);
    CHECK(!cuda_ranks_defers(&program), "before its turns are known");
    CHECK(cuda_ranks_place(&program, &error) && cuda_ranks_defers(&program), "%s", error.text);
    bool seen[PIECES] = {false};
    int before = -1, first = -1;
    for (int i = 0; i < PIECES; i++) {
        int32_t launch = -1;
        waited_for = NULL;
        CHECK(cuda_ranks_turn(&program, i, &launch, &error), "%s", error.text);
        CHECK(launch >= 0 && launch < PIECES && !seen[launch], "launch %d", (int)launch);
        CHECK(waited_for, "turn %d waits for nothing", i);
        const int number = *(const int *)(const void *)waited_for;
        CHECK(number >= before, "turn %d waits for less than the one before it", i);
        int needed = -1; /* the first event is no bucket's; the buckets' are made in their order */
        for (int32_t n = 0, event = 0; n < plan->node_count; n++)
            if (plan->nodes[n].aside && ++event &&
                schedule_touches(plan, &plan->nodes[n], launches[launch].extent[0][0], launches[launch].extent[0][1]))
                needed = event;
        CHECK(number == needed, "launch %d waits for bucket %d, not %d", (int)launch, number, needed);
        seen[launch] = true;
        before = number;
        first = first < 0 ? number : first;
    }
    CHECK(first < before, "all wait for one bucket");
    cuda_ranks_close(&program);
    communicator_leave(communicator);
    plan_free(plan);
    return 0;
}

/* Every rank in a process; all must end well. `ends` gets what NCCL was told at the end. */
static void ranks_run(struct rank_task task, char *ends, size_t size)
{
    struct error error = {0};
    char path[] = "/tmp/steptop-nccl-XXXXXX";
    const int log = mkstemp(path);
    pid_t pids[RANKS_MOST];
    task.fd = communicator_file(task.ranks, &error);
    setenv("FAKE_NCCL_ENDS", path, 1);
    assert_int_equal(pipe(task.there), 0);
    for (int rank = 0; rank < task.ranks; rank++)
        if ((pids[rank] = fork()) == 0)
            _exit(task.turns ? turns_main(&task, rank) : rank_main(&task, rank));
    close(task.there[0]);
    close(task.there[1]);
    int bad = 0;
    for (int rank = 0; rank < task.ranks; rank++) {
        int status = 0;
        assert_int_equal(waitpid(pids[rank], &status, 0), pids[rank]);
        bad += status != 0;
    }
    const ssize_t got = read(log, ends, size - 1);
    ends[got > 0 ? got : 0] = 0;
    close(log);
    unlink(path);
    close(task.fd);
    assert_int_equal(bad, 0);
}

static void each_collective_goes_over_it(void **state)
{
    (void)state;
    for (int k = 0; k < 4 * (COLLECTIVE_COUNT - 1); k++) {
        char ends[256];
        const struct rank_task task = {
            .collective = (enum collective)(1 + k / 4), .half = k % 2, .aside = k / 2 % 2, .ranks = 2};
        ranks_run(task, ends, sizeof ends);
        assert_non_null(strstr(ends, "destroy 0"));
        assert_non_null(strstr(ends, "destroy 1"));
    }
    char ends[256];
    ranks_run((struct rank_task){.collective = COLLECTIVE_REDUCE_SCATTER, .ranks = 3}, ends, sizeof ends);
}

static void the_optimizer_waits_bucket_by_bucket(void **state)
{
    (void)state;
    char ends[256];
    ranks_run((struct rank_task){.turns = true, .ranks = 2}, ends, sizeof ends);
}

static void a_missing_rank_ends_it(void **state)
{
    (void)state;
    char ends[256];
    ranks_run((struct rank_task){.collective = COLLECTIVE_ALL_REDUCE, .ranks = 2, .fault = FAULT_MISSING_RANK}, ends,
              sizeof ends);
    assert_string_equal(ends, "abort 0\n");
}

static void an_error_beside_the_step_ends_it(void **state)
{
    (void)state;
    char ends[256];
    ranks_run((struct rank_task){.collective = COLLECTIVE_ALL_REDUCE, .ranks = 2, .fault = FAULT_ASYNC}, ends,
              sizeof ends);
    assert_non_null(strstr(ends, "abort 0"));
    assert_non_null(strstr(ends, "abort 1"));
    assert_null(strstr(ends, "destroy"));
}

/* In a process of its own: what is open stays open. NULL: the machine's, which there should be none of. */
static void opening_says(const char *variant, const char *wanted)
{
    int words[2], status = 0;
    char text[1024] = "";
    assert_int_equal(pipe(words), 0);
    const pid_t pid = fork();
    if (pid == 0) {
        struct nccl nccl = {0};
        struct error error = {0};
        if (variant)
            load(variant);
        const bool opened = nccl_open(&nccl, &error);
        const char *said = opened ? "opened" : error.text;
        _exit(write(words[1], said, strlen(said)) < 0 || (!opened && error.kind != ERROR_DEVICE));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    const ssize_t got = read(words[0], text, sizeof text - 1);
    text[got > 0 ? got : 0] = 0;
    close(words[0]);
    close(words[1]);
    assert_int_equal(status, 0);
    if (!strstr(text, wanted) && !(!variant && strcmp(text, "opened") == 0))
        fail_msg("%s: not \"%s\" but \"%s\"", variant ? variant : "none", wanted, text);
}

static void what_is_wrong_with_it_is_said(void **state)
{
    (void)state;
    opening_says("whole", "opened");
    opening_says("old", "NCCL is too old: it calls itself 2.9; steptop needs 2.10 or newer");
    opening_says("symbol", "NCCL was found but has no ncclReduceScatter: it must be 2.10 or newer");
    opening_says(NULL, "no NCCL: libnccl.so.2 cannot be loaded; several ranks on GPUs talk through it");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_wrong_with_it_is_said),        cmocka_unit_test(each_collective_goes_over_it),
        cmocka_unit_test(the_optimizer_waits_bucket_by_bucket), cmocka_unit_test(a_missing_rank_ends_it),
        cmocka_unit_test(an_error_beside_the_step_ends_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
