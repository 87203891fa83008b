/* A CUDA program of somebody else's without a GPU: its "driver" loads what CUDA_INJECTION64_PATH names, its CUPTI is FAKE_CUPTI. Two threads
 * launch, each in ranges of its own, and a graph that one of them captured is launched in every step. A step takes 2 ms, and half as much
 * again while anything is traced. attach_cuda STEPS [fatal|finalize|graph|nested|work|launcher|waits|late]; graph: nothing but
 * one graph, again and again; nested: all launches by the runtime, and many; waits: the first thread waits for its device in each step. */
#include "nvtx_program.h"
#include "tests/cuda/fake_cupti.h"
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const struct fake_device *device;
static atomic_bool over;

static void *load(const char *variable, int flags)
{
    const char *path = getenv(variable);
    return path ? dlopen(path, RTLD_NOW | flags) : NULL;
}

/* As the hook for Python does in a program that runs already: nobody was injected when the driver began. */
static bool begin_late(const char *socket)
{
    void *library = load("CUDA_INJECTION64_PATH", 0);
    void (*const use)(const char *) = library ? (void (*)(const char *))dlsym(library, "steptop_attach_socket") : NULL;
    int (*const open)(void) = library ? (int (*)(void))dlsym(library, "steptop_attach_open") : NULL;
    int (*const inject)(void) = library ? (int (*)(void))dlsym(library, "InitializeInjection") : NULL;
    if (!use || !open || !inject)
        return false;
    use(socket);
    return open() && inject();
}

static int no_push(const char *name)
{
    return name != NULL;
}

static int no_pop(void)
{
    return 0;
}

static bool begin(bool late)
{
    void *cupti = load("FAKE_CUPTI", RTLD_GLOBAL), *driver = load("CUDA_INJECTION64_PATH", 0),
         *nvtx = load("NVTX_INJECTION64_PATH", 0);
    int (*inject)(void) = driver ? (int (*)(void))dlsym(driver, "InitializeInjection") : NULL;
    int (*ranges)(const void *(*)(uint32_t)) =
        nvtx ? (int (*)(const void *(*)(uint32_t)))dlsym(nvtx, "InitializeInjectionNvtx2") : NULL;
    device = cupti ? dlsym(cupti, "fake_device") : NULL;
    if (late) { /* ranges cannot be had late */
        push_a = no_push;
        pop = no_pop;
        return device;
    }
    return device && inject && inject() && ranges && ranges(export_table) && push_a && pop;
}

static void rest(long ns)
{
    nanosleep(&(struct timespec){.tv_nsec = ns}, NULL);
}

/* As the hook for Python does: two products of a step in the range under way, and one where nothing runs. */
static void tell_work(void)
{
    void *library = load("CUDA_INJECTION64_PATH", 0);
    int32_t (*const name)(const char *) = (int32_t(*)(const char *))dlsym(library, "steptop_attach_name");
    void (*const work)(int32_t, double, double) =
        (void (*)(int32_t, double, double))dlsym(library, "steptop_attach_work");
    double (*const worked)(double *) = (double (*)(double *))dlsym(library, "steptop_attach_worked"), lost;
    rest(200000000); /* what ran so far has been told of */
    work(name("aten::mm"), 3e6, 2e5);
    work(name("aten::addmm"), 1e6, 1e5);
    push_a("elsewhere");
    work(name("aten::mm"), 5e5, 1e5);
    pop();
    if (worked(&lost) != 4.5e6 || lost != 5e5)
        fprintf(stderr, "attach_cuda: %g lost\n", lost);
}

static void *copies(void *unused)
{
    push_a("loader");
    while (!atomic_load(&over)) {
        device->launch("copy_kernel", FAKE_GOOD, false);
        rest(100000);
    }
    pop();
    return unused;
}

int main(int argc, char **argv)
{
    const int steps = argc > 1 ? atoi(argv[1]) : 10;
    static struct fake_graph graph;
    pthread_t thread;
    const bool late = argc > 2 && strcmp(argv[2], "late") == 0;
    char socket[200] = "";
    if (late && getenv("STEPTOP_ATTACH_SOCKET")) {
        snprintf(socket, sizeof socket, "%s", getenv("STEPTOP_ATTACH_SOCKET"));
        unsetenv("STEPTOP_ATTACH_SOCKET");
    }
    if (!begin(late)) {
        fprintf(stderr, "attach_cuda: no CUPTI, or nobody to inject\n");
        return 1;
    }
    if (argc > 2 && strcmp(argv[2], "launcher") == 0) { /* looks for cards, and starts ranks of which it is none */
        setenv("LOCAL_RANK", "0", 1);
        const pid_t child = fork();
        if (child == 0) {
            execl(argv[0], argv[0], argv[1], (char *)NULL);
            _exit(1);
        }
        int status = 1;
        return waitpid(child, &status, 0) != child || status;
    }
    if (argc > 2 && strcmp(argv[2], "graph") == 0) {
        push_a("captured");
        for (int i = 0; i < 3; i++)
            device->capture(&graph, "node_kernel");
        device->instantiate(&graph, false);
        pop();
        for (int step = 0; step < steps; step++) {
            device->graph_launch(&graph);
            rest(2000000);
        }
        return 0;
    }
    for (int step = 0; step < steps; step++) {
        if (late && step == steps / 4 && !begin_late(socket))
            return 1;
        push_a("step");
        if (step == 0) {
            pthread_create(&thread, NULL, copies, NULL);
            push_a("captured");
            for (int i = 0; i < 3; i++)
                device->capture(&graph, "node_kernel");
            device->instantiate(&graph, false);
            pop();
        }
        if (argc > 2 && strcmp(argv[2], "fatal") == 0 && step == steps / 2)
            device->fatal("hardware");
        if (argc > 2 && strcmp(argv[2], "finalize") == 0 && step == steps / 2)
            device->finalize();
        push_a("encoder");
        const bool nested = argc > 2 && strcmp(argv[2], "nested") == 0;
        for (int i = 0; i < (nested ? 200 : 10); i++)
            device->launch("gemm_kernel", FAKE_GOOD, nested || i % 2);
        if (argc > 2 && strcmp(argv[2], "work") == 0 && step == 8)
            tell_work();
        if (argc > 2 && strcmp(argv[2], "waits") == 0)
            device->synchronize(300000);
        if (device->state().waits_traced)
            return 4; /* nobody lets go of that again */
        pop();
        device->graph_launch(&graph);
        rest(device->state().enabled_kinds ? 3000000 : 2000000);
        pop();
    }
    atomic_store(&over, true);
    pthread_join(thread, NULL);
    printf("program: done\n");
    return argc > 2 && strcmp(argv[2], "left") == 0 && device->state().enabled_kinds ? 3 : 0;
}
