#include "tests/profiler/fake_worker.h"
#include "base/limits.h"
#include "profiler/ring.h"
#include "profiler/session.h"
#include "tests/profiler/worker_voice.h"
#include "worker/last_word.h"
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

static void say_end(uint32_t status, const char *reason)
{
    char bytes[256] = {0};
    memcpy(bytes, &status, sizeof status);
    memcpy(bytes + 4, reason, strlen(reason));
    say(MESSAGE_END, bytes, 4 + strlen(reason) + 1);
}

static struct cell received_cell(void)
{
    struct {
        struct message_header header;
        struct message_cell message;
    } cell;
    for (size_t got = 0; got < sizeof cell;) {
        const ssize_t part = recv(3, (char *)&cell + got, sizeof cell - got, 0);
        if (part <= 0)
            _exit(9);
        got += (size_t)part;
    }
    return cell.message.cell;
}

static uint64_t plan_digest_of(const struct cell *cell)
{
    struct plan_request request;
    struct plan_result result;
    struct error error = {0};
    struct cell real = *cell;
    struct model_config tiny;
    model_preset_find("tiny", &tiny, &error);
    memcpy(real.model.name, cell->model.name, sizeof real.model.name);
    cell_plan_request(&real, 0, &request);
    struct plan *plan = plan_build(&request, &result, &error);
    const uint64_t digest = plan ? plan->digest : 0;
    plan_free(plan);
    return digest;
}

static struct record some_record(uint32_t i)
{
    return (struct record){.start = 1000 + i * 10ull,
                           .end = 1005 + i * 10ull,
                           .launch = 1000 + i * 10ull,
                           .place = PLACE_UNKNOWN,
                           .name = 0,
                           .step = 1,
                           .pass = PASS_FWD};
}

static void push_many(struct ring *ring, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct record record = some_record(i);
        ring_push(ring, &record);
    }
}

static void crash_with(int number)
{
    signal(number, SIG_DFL); /* a sanitizer's own handler would tell another story */
    kill(getpid(), number);
    pause();
}

/* Two steps and the half of a third; `told` of them were told of before the end. */
static void steps_until_killed(struct ring *ring, uint32_t told)
{
    for (uint32_t i = 0; i < 25; i++) {
        struct record record = some_record(i);
        record.step = 1 + i / 10;
        ring_push(ring, &record);
    }
    for (uint32_t step = 1; step <= told; step++) {
        const struct sample sample = {
            .pass = PASS_FWD, .kind = STEP_PROFILED, .step = step - 1, .step_id = step, .wall_ns = 100};
        say(MESSAGE_SAMPLE, &sample, sizeof sample);
    }
    crash_with(SIGKILL);
}

static void say_name(uint32_t id, const char *name)
{
    char bytes[600];
    memcpy(bytes, &id, sizeof id);
    memcpy(bytes + 4, name, strlen(name) + 1);
    say(MESSAGE_NAME, bytes, 4 + strlen(name) + 1);
}

static void say_scope(int32_t parent, const char *name)
{
    char bytes[256];
    const struct message_scope head = {.parent = parent, .parameter_bytes = 8};
    memcpy(bytes, &head, sizeof head);
    memcpy(bytes + sizeof head, name, strlen(name) + 1);
    say(MESSAGE_SCOPE, bytes, sizeof head + strlen(name) + 1);
}

static void say_place(int32_t scope, unsigned phase, unsigned kernel_class)
{
    static const char texts[] = "aten::mm\0twice\33[1m";
    char bytes[256];
    const struct message_place head = {.scope = scope,
                                       .phase = (uint8_t)phase,
                                       .kernel_class = (uint8_t)kernel_class,
                                       .flops = 100,
                                       .bytes = NAN,
                                       .saved_bytes = 7};
    memcpy(bytes, &head, sizeof head);
    memcpy(bytes + sizeof head, texts, sizeof texts);
    say(MESSAGE_PLACE, bytes, sizeof head + sizeof texts);
}

static void behave_well(struct ring *ring, const struct cell *cell)
{
    struct device_info info = {.name = "fake:0", .model = "A \x1b[31mfake", .units = 3};
    memset(info.driver, 'd', sizeof info.driver); /* without an end */
    say(MESSAGE_DEVICE, &info, sizeof info);
    say_scope(-1, "model");
    say_scope(0, "layers.0");
    say_scope(1, "attn");
    say_place(2, PHASE_BWD, CLASS_MATMUL);
    say_place(-1, PHASE_NONE, CLASS_OTHER);
    const struct message_plan plan = {.digest = plan_digest_of(cell)};
    say(MESSAGE_PLAN, &plan, sizeof plan);
    say_name(0, "kernel\tone\x1b[2J");
    say(MESSAGE_NOTE, "counter tier\0none", 18);
    say(MESSAGE_NOTE, "counter tier\0clock only", 24);
    say(MESSAGE_ACTIVITY, "fwd 1/1", 7);
    const struct sample sample = {.pass = PASS_FWD, .kind = STEP_TIMED, .start = 1, .wall_ns = 77};
    say(MESSAGE_SAMPLE, &sample, sizeof sample);
    say(MESSAGE_MEMORY, &(struct message_memory){10, 20}, sizeof(struct message_memory));
    say(MESSAGE_CEILINGS, &(struct message_ceilings){1e9, NAN}, sizeof(struct message_ceilings));
    push_many(ring, 1000);
    printf("to the output\n");
    fflush(stdout);
    fprintf(stderr, "to the errors, without an end");
    fflush(stderr);
    say_end(STATUS_OK, "");
}

static int behave(const char *way, const struct cell *cell)
{
    struct error error = {0};
    struct ring *ring = ring_attach(4, &error);
    if (!ring)
        return 8;
    if (strcmp(way, "well") == 0) {
        behave_well(ring, cell);
    } else if (strcmp(way, "garbage") == 0) {
        char bytes[5000];
        memset(bytes, 0xa5, sizeof bytes);
        send_raw(bytes, sizeof bytes);
        pause();
    } else if (strcmp(way, "long") == 0) {
        say(MESSAGE_NOTE, NULL, 0);
        pause();
    } else if (strcmp(way, "sample") == 0) {
        const struct sample sample = {.pass = 200, .kind = STEP_TIMED};
        say(MESSAGE_SAMPLE, &sample, sizeof sample);
        pause();
    } else if (strcmp(way, "pass") == 0) {
        const struct sample sample = {.pass = PASS_TRAIN_STEP, .kind = STEP_TIMED};
        say(MESSAGE_SAMPLE, &sample, sizeof sample);
        pause();
    } else if (strcmp(way, "parent") == 0) {
        say_scope(-1, "model");
        say_scope(1, "its own child");
        pause();
    } else if (strcmp(way, "place") == 0) {
        say_place(0, PHASE_FWD, CLASS_MATMUL);
        pause();
    } else if (strcmp(way, "phase") == 0) {
        say_place(-1, PLACE_PHASE_COUNT, CLASS_MATMUL);
        pause();
    } else if (strcmp(way, "class") == 0) {
        say_place(-1, PHASE_NONE, CLASS_COUNT);
        pause();
    } else if (strcmp(way, "late") == 0 || strcmp(way, "twice") == 0) {
        const struct message_plan plan = {.digest = 1};
        say(MESSAGE_PLAN, &plan, sizeof plan);
        if (strcmp(way, "late") == 0)
            say_place(-1, PHASE_NONE, CLASS_OTHER);
        else
            say(MESSAGE_PLAN, &plan, sizeof plan);
        pause();
    } else if (strcmp(way, "status") == 0) {
        say_end(99, "");
        pause();
    } else if (strcmp(way, "running") == 0) {
        say_end(STATUS_RUNNING, "");
        pause();
    } else if (strcmp(way, "rename") == 0) {
        say_name(1, "one");
        say_name(1, "two");
        pause();
    } else if (strcmp(way, "record") == 0) {
        const struct record record = some_record(0);
        say(MESSAGE_RECORDS, &record, sizeof record); /* a recording's frame, not a worker's */
        pause();
    } else if (strcmp(way, "half") == 0) {
        const struct message_header header = {MESSAGE_SAMPLE, sizeof(struct sample)};
        send_raw(&header, sizeof header);
        return 0;
    } else if (strcmp(way, "oom") == 0) {
        say_end(STATUS_OOM, "needs 9 | has 3");
        return 1;
    } else if (strcmp(way, "exit") == 0) {
        fprintf(stderr, "first\nno such luck\n");
        return 3;
    } else if (strcmp(way, "segv") == 0) {
        push_many(ring, 10);
        crash_with(SIGSEGV);
    } else if (strcmp(way, "kill") == 0) {
        crash_with(SIGKILL);
    } else if (strcmp(way, "term") == 0) {
        crash_with(SIGTERM);
    } else if (strcmp(way, "abort") == 0) { /* of its own */
        last_word_prepare();
        memory_exhausted(7, "items of 8 bytes");
    } else if (strcmp(way, "library") == 0 ||
               strcmp(way, "thrown") == 0) { /* in a library's words, which are none of ours */
        const struct rlimit limit = {(rlim_t)1 << 20, (rlim_t)1 << 20};
        last_word_prepare();
        fprintf(stderr, "no luck\n");
        if (setrlimit(RLIMIT_AS, &limit) == 0 && way[0] == 'l')
            exit(1);
        abort();
    } else if (strcmp(way, "words") == 0) { /* whoever says so and has plenty */
        last_word_prepare();
        fprintf(stderr, "the chapter is called 'Out of memory'\n");
        abort();
    } else if (strcmp(way, "stages") == 0) {
        static const struct {
            enum message_type type;
            const char *text;
        } said[] = {{MESSAGE_STAGE, "opening cuda:0"},
                    {MESSAGE_STAGE, "preparing: 2 products"},
                    {MESSAGE_ACTIVITY, "preparing: 2 products 1/3"},
                    {MESSAGE_ACTIVITY, "preparing: 2 products 3/3"},
                    {MESSAGE_STAGE, "preparing: building kernels"},
                    {MESSAGE_ACTIVITY, "preparing: building kernels 2/2"},
                    {MESSAGE_STAGE, "steps"},
                    {MESSAGE_ACTIVITY, "fwd warm-up 1/1"},
                    {MESSAGE_ACTIVITY, "fwd 1/2"},
                    {MESSAGE_STAGE, "steps"},
                    {MESSAGE_ACTIVITY, "train_step 1/2 profiled"},
                    {MESSAGE_ACTIVITY, "fwd 2/2"}};
        for (size_t i = 0; i < sizeof said / sizeof *said; i++)
            say(said[i].type, said[i].text, strlen(said[i].text));
        say_end(STATUS_OK, "");
    } else if (strcmp(way, "deaf") == 0) {
        say(MESSAGE_ACTIVITY, "deaf", 4);
        push_many(ring, 5);
        for (;;)
            pause();
    } else if (strcmp(way, "flood") == 0) {
        push_many(ring, 1 << 20);
        say_end(STATUS_OK, "");
    } else if (strcmp(way, "lie") == 0) {
        unsigned char *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 4, 0);
        struct ring_counts counts = {0};
        push_many(ring, 5);
        while (counts.drained < 5) /* what came before the lie is taken */
            ring_counts(ring, &counts);
        for (int i = 0; i < 2000; i++) {
            memset(shared, 0xee, 4096); /* more records and more losses than there can be, on every look of the front */
            sched_yield();
        }
        say_end(STATUS_OK, "");
    } else if (strcmp(way, "print") == 0) {
        for (int i = 0; i < 30000; i++)
            printf("line %d\n", i);
        for (int i = 0; i < 200000; i++)
            putchar('x');
        printf("\nthe \x1b[1mlast\r\n");
        fflush(stdout);
        say_end(STATUS_OK, "");
    } else if (strcmp(way, "child") == 0) {
        if (fork() == 0) {
            close(3);
            for (;;)
                pause(); /* holds the pipes */
        }
        say_end(STATUS_OK, "");
    } else if (strcmp(way, "samples") == 0) {
        for (uint32_t i = 0; i < 50000; i++) {
            const struct sample sample = {.pass = PASS_FWD, .kind = STEP_TIMED, .step = i, .wall_ns = 1000 + i};
            say(MESSAGE_SAMPLE, &sample, sizeof sample);
        }
        say_end(STATUS_OK, "");
    } else if (strcmp(way, "cut") == 0) {
        steps_until_killed(ring, 2);
    } else if (strcmp(way, "lost") == 0) {
        steps_until_killed(ring, 3);
    } else if (strcmp(way, "unreliable") == 0) {
        for (uint32_t i = 0; i < 9; i++) {
            struct sample sample = {.pass = PASS_FWD, .kind = STEP_TIMED, .step = i};
            sample.wall_ns = sample.phase_ns[PHASE_FWD] = i % 3 == 0 ? 1000 : i % 3 == 1 ? 100000 : 50;
            say(MESSAGE_SAMPLE, &sample, sizeof sample);
        }
        say_end(STATUS_OK, "");
    } else {
        return 7;
    }
    ring_close(ring);
    return 0;
}

int fake_worker(void)
{
    const struct cell cell = received_cell();
    const int code = behave(cell.model.name, &cell);
    fflush(NULL);
    return code;
}
