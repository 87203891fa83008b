/* A program of somebody else's, as small as it can be: what test_attach.c attaches to. Each mode is one way in or one thing that goes
 * wrong. It prints "program: done" at its end, and knows of steptop nothing but the environment,
 * and what is said to the front where it says that itself. */
#include "nvtx_program.h"
#include "profiler/protocol.h"
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- NVTX ---- */

static int nvtx_begin(void)
{
    const char *path = getenv("NVTX_INJECTION64_PATH");
    void *library = path ? dlopen(path, RTLD_LAZY | RTLD_LOCAL) : NULL;
    int (*begin)(const void *(*)(uint32_t)) =
        library ? (int (*)(const void *(*)(uint32_t)))dlsym(library, "InitializeInjectionNvtx2") : NULL;
    return begin && begin(export_table) && push_a && pop;
}

static void rest(long ns)
{
    nanosleep(&(struct timespec){ns / 1000000000, ns % 1000000000}, NULL);
}

static void step(void)
{
    push_a("step");
    push_a("encoder");
    rest(300000);
    pop();
    push_a("decoder");
    push_a("attention, seq = 7, op_id = 5");
    rest(200000);
    pop();
    pop();
    push_w(L"l\u00e4sst schreiben");
    push_registered(register_a(NULL, "write"));
    rest(100000);
    domain_pop(NULL);
    pop();
    pop();
}

static void *flood(void *argument)
{
    const long count = (long)argument;
    for (long i = 0; i < count; i++) {
        push_a("tiny");
        pop();
    }
    return NULL;
}

/* Children of a process whose other threads are in the library at that moment: each goes on, with a thread of its own, and ends. */
static int forks(int count)
{
    pthread_t threads[4];
    int code = 0;
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, flood, (void *)200000L);
    for (int i = 0; i < count; i++) {
        push_a("forking");
        const pid_t child = fork();
        if (child == 0) {
            pthread_t thread;
            alarm(20);
            pop();
            pthread_create(&thread, NULL, flood, (void *)10L);
            pthread_join(thread, NULL);
            exit(0);
        }
        int status = 1;
        waitpid(child, &status, 0);
        code |= status;
        pop();
    }
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    return code != 0;
}

/* ---- ITT ---- */

struct function {
    const char *name;
    void **place;
    void *first, *nothing;
    int group;
};
struct global {
    unsigned char magic[8];
    unsigned long major, minor, build;
    volatile long initialized, mutex_initialized, counter;
    pthread_mutex_t mutex;
    void *library, *error_handler;
    const char **path;
    struct function *functions;
};
struct id {
    unsigned long long values[3];
};

/* Does as the Python hook does where RecordFunction cannot be called: asks PyTorch to say its ops and nodes by ranges. */
static bool ask_for_ops(void *library)
{
    int (*open)(void) = (int (*)(void))dlsym(library, "steptop_attach_open");
    void (*told)(int) = (void (*)(int))dlsym(library, "steptop_attach_told");
    if (!open || !told || !open())
        return false;
    told(1);
    return true;
}

static int itt(int steps, bool of_torch, bool compiled)
{
    void *(*domain_create)(const char *) = NULL, *(*string_create)(const char *) = NULL;
    void (*begin)(void *, struct id, struct id, void *) = NULL, (*end)(void *) = NULL;
    void *other = NULL;
    struct function functions[] = {{"__itt_domain_create", (void **)&domain_create, NULL, NULL, 1},
                                   {"__itt_string_handle_create", (void **)&string_create, NULL, NULL, 1},
                                   {"__itt_task_begin", (void **)&begin, NULL, NULL, 1},
                                   {"__itt_task_end", (void **)&end, NULL, NULL, 1},
                                   {"__itt_pause", &other, NULL, NULL, 1},
                                   {0}};
    struct global global = {.functions = functions};
    const char *path = getenv("INTEL_LIBITTNOTIFY64");
    void *library = path ? dlopen(path, RTLD_LAZY) : NULL;
    void (*init)(struct global *, int) =
        library ? (void (*)(struct global *, int))dlsym(library, "__itt_api_init") : NULL;
    if (!init)
        return 1;
    init(&global, 0xffff);
    if (!begin || other)
        return 1;
    void *domain = domain_create("oneDNN"), *name = string_create("convolution");
    if (string_create("convolution") != name)
        return 1;
    if (of_torch && !ask_for_ops(library))
        return 1;
    static const char *const words[][2] = {{"aten::linear", "aten::addmm"},
                                           {"autograd::engine::evaluate_function: AddmmBackward0", "aten::mm"},
                                           {"torch::autograd::AccumulateGrad", "AddmmBackward0"},
                                           {"enumerate(DataLoader)#_BaseDataLoaderIter.__next__", "a range"}};
    for (int i = 0; of_torch && !compiled && i < steps; i++)
        for (size_t word = 0; word < sizeof words / sizeof *words; word++) {
            begin(domain, (struct id){0}, (struct id){0}, string_create(words[word][0]));
            begin(domain, (struct id){0}, (struct id){0}, string_create(words[word][1]));
            rest(200000);
            end(domain);
            end(domain);
        }
    for (int i = 0; compiled && i < steps; i++) {
        begin(domain, (struct id){0}, (struct id){0}, string_create("CompiledFunction"));
        for (int product = 0; product < 2; product++) {
            rest(200000);
            begin(domain, (struct id){0}, (struct id){0}, string_create("aten::addmm"));
            rest(200000);
            end(domain);
        }
        rest(200000);
        end(domain);
    }
    for (int i = 0; !of_torch && i < steps; i++) {
        begin(domain, (struct id){0}, (struct id){0}, name);
        rest(200000);
        end(domain);
    }
    return 0;
}

/* ---- lies ---- */

static int front_connect(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = getenv("STEPTOP_ATTACH_SOCKET");
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path ? path : "");
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address))
        exit(1);
    return fd;
}

static void lie(unsigned seed)
{
    const int fd = front_connect();
    unsigned char bytes[2048];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)((seed = seed * 1103515245u + 12345u) >> 16);
    if (send(fd, bytes, seed % sizeof bytes, MSG_NOSIGNAL) < 0)
        exit(1);
    rest(seed % 3 * 10000000);
    close(fd);
}

/* Greets as a program does, and then says what only a worker may. True: its link was cut for it. */
static bool say_a_plan(void)
{
    const struct {
        struct message_header header;
        struct message_hello hello;
    } first = {{MESSAGE_HELLO, sizeof(struct message_hello)},
               {.version = PROTOCOL_VERSION,
                .record_bytes = sizeof(struct record),
                .process = (uint32_t)getpid(),
                .rank = -1,
                .local = -1,
                .world = -1}};
    const struct {
        struct message_header header;
        struct message_plan plan;
    } second = {.header = {MESSAGE_PLAN, sizeof(struct message_plan)}};
    char answer[256];
    const int fd = front_connect();
    ssize_t got = -1;
    if (send(fd, &first, sizeof first, MSG_NOSIGNAL) == (ssize_t)sizeof first &&
        recv(fd, answer, sizeof answer, 0) > 0 &&
        send(fd, &second, sizeof second, MSG_NOSIGNAL) == (ssize_t)sizeof second)
        got = recv(fd, answer, sizeof answer, 0);
    close(fd);
    return got == 0;
}

/* A fork that is asleep as one that waits for a disk is: until a child of its own has ended, which ends with it. */
static void waiting_worker(void)
{
    if (fork() != 0)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (syscall(SYS_clone, CLONE_VFORK | SIGCHLD, NULL, NULL, NULL, NULL) == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            pause();
    }
    _exit(0);
}

/* ---- two ways in at a time ---- */

static bool two_ways;
static int32_t early_scope = -1;

static void *other_way(void *unused)
{
    (void)unused;
    void *library = dlopen(getenv("NVTX_INJECTION64_PATH"), RTLD_LAZY | RTLD_NOLOAD);
    int32_t (*scope)(int32_t, const char *, int64_t) =
        library ? (int32_t(*)(int32_t, const char *, int64_t))dlsym(library, "steptop_attach_scope") : NULL;
    early_scope = scope ? scope(-1, "early", 0) : 0;
    return NULL;
}

/* The library asks for it when it makes up its greeting: just then another thread has something to tell. */
__attribute__((visibility("default"))) pid_t getppid(void)
{
    pthread_t other;
    if (two_ways && pthread_create(&other, NULL, other_way, NULL) == 0)
        pthread_join(other, NULL);
    two_ways = false;
    return (pid_t)syscall(SYS_getppid);
}

/* As a daemon does: whatever is open is closed, and the program's own file has the numbers at once. */
static int closes(int count)
{
    const int mine = memfd_create("mine", MFD_CLOEXEC);
    int code = mine < 0;
    for (int i = 0; i < count; i++)
        step();
    rest(100000000);
    for (int fd = 3; fd < 512; fd++)
        code |= dup2(mine, fd) != fd;
    for (int i = 0; i < count; i++)
        step();
    rest(200000000);
    for (int fd = 3; fd < 512; fd++) {
        struct stat about;
        code |= fstat(fd, &about) != 0 || about.st_size != 0 || lseek(fd, 0, SEEK_CUR) != 0;
    }
    return code;
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    const int count = argc > 2 ? atoi(argv[2]) : 20;
    int code = 0;
    if (strcmp(mode, "lies") == 0)
        for (int i = 0; i < count; i++)
            lie((unsigned)i + 1);
    else if (strcmp(mode, "plan") == 0)
        code = !say_a_plan();
    else if (strcmp(mode, "exit") == 0)
        code = count;
    else if (strcmp(mode, "itt") == 0 || strcmp(mode, "told") == 0 || strcmp(mode, "compiled") == 0)
        code = itt(count, strcmp(mode, "itt") != 0, strcmp(mode, "compiled") == 0);
    else if (strcmp(mode, "nothing") != 0 && !nvtx_begin())
        code = 1;
    for (int i = 0; !code && strcmp(mode, "chatty") == 0 && i < count; i++) {
        step();
        printf("%1023d\n", i);
        fprintf(stderr, "%1023d\n", i);
        code = fflush(stdout) != 0;
    }
    two_ways = strcmp(mode, "greeting") == 0;
    if (!code && (two_ways || strcmp(mode, "ranges") == 0 || strcmp(mode, "fork") == 0 || strcmp(mode, "kill") == 0))
        for (int i = 0; i < count; i++)
            step();
    for (int i = 0; !code && strcmp(mode, "asleep") == 0 && i < count; i++) {
        step();
        rest(5000000);
    }
    if (!code && strcmp(mode, "worker") == 0) {
        waiting_worker();
        for (int i = 0; i < count; i++)
            step();
    }
    if (!code && strcmp(mode, "fork") == 0) {
        push_a("outer");
        const pid_t child = fork();
        if (child == 0) {
            pop();
            for (int i = 0; i < count; i++)
                step();
            _exit(0);
        }
        int status = 1;
        waitpid(child, &status, 0);
        code = status != 0;
        rest(20000000);
        pop();
        step();
        step();
    }
    if (!code && strcmp(mode, "forks") == 0)
        code = forks(count);
    if (!code && strcmp(mode, "closes") == 0)
        code = closes(count);
    if (!code && strcmp(mode, "exec") == 0) {
        step();
        rest(200000000); /* exec ends the thread that tells of places, whatever it has left to say */
        execl(argv[0], argv[0], "ranges", argv[2], (char *)NULL);
        code = 1;
    }
    if (!code && strcmp(mode, "kill") == 0)
        raise(SIGKILL);
    if (!code && strcmp(mode, "flood") == 0) {
        pthread_t threads[4];
        push_a("tiny");
        pop();
        for (int i = 0; i < 4; i++)
            pthread_create(&threads[i], NULL, flood, (void *)(long)count);
        for (int i = 0; i < 4; i++)
            pthread_join(threads[i], NULL);
        rest(900000000);
    }
    if (!code && strcmp(mode, "many") == 0) {
        for (int i = 0; i < count; i++)
            if (fork() == 0) {
                execl(argv[0], argv[0], "ranges", "5", (char *)NULL);
                _exit(1);
            }
        int status;
        while (wait(&status) > 0)
            code |= status != 0;
    }
    if (strcmp(mode, "greeting") == 0 && (two_ways || early_scope != -1)) /* it was not asked, or told too early */
        code = 3;
    printf("program: done\n");
    fprintf(stderr, "program: a word on stderr\n");
    return code;
}
