#include "profiler/process.h"
#include "base/cgroup.h"
#include "base/processes.h"
#include "base/processors.h"
#include "base/system.h"
#include "base/unknown.h"
#include "base/vec.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef SYSTEM_LINUX
#include <sys/prctl.h>
#endif

extern char **environ;

/* How long a thread spins at a barrier before it sleeps, in turns of libgomp's loop: some ten microseconds, enough to meet
 * the next parallel region awake. libgomp's own 300 000 turns make a step twenty times slower on a machine whose processors
 * others want as well (tiny, forward, load of 10 on 2 cores: 43 ms sleeping at once, 815 ms with the default). */
#define SPIN "GOMP_SPINCOUNT=1000"

/* The environment of this process with the worker's thread settings in place of the user's: the profile rules. Only how
 * threads wait may be said from outside. */
static char **process_environment(const struct cell *cell, char threads[static 40])
{
    static const char *const own[] = {"OMP_NUM_THREADS=",      "OMP_DYNAMIC=",      "OMP_THREAD_LIMIT=",
                                      "OPENBLAS_NUM_THREADS=", "GOTO_NUM_THREADS=", "NCCL_NVLS_ENABLE="};
    VEC(char *) list = {0};
    for (char **variable = environ; *variable; variable++) {
        bool keep = true;
        for (size_t i = 0; i < sizeof own / sizeof *own; i++)
            keep = keep && strncmp(*variable, own[i], strlen(own[i])) != 0;
        if (keep)
            vec_push(&list, *variable);
    }
    snprintf(threads, 40, "OMP_NUM_THREADS=%d", process_threads(cell));
    vec_push(&list, threads);
    /* Multicast between cards is set up for the whole host, and a worker that is killed meanwhile may leave them unusable. */
    vec_push(&list, "NCCL_NVLS_ENABLE=0");
    vec_push(&list, "OMP_DYNAMIC=false");
    if (!getenv("GOMP_SPINCOUNT") && !getenv("OMP_WAIT_POLICY"))
        vec_push(&list, SPIN);
    vec_push(&list, NULL);
    return list.items;
}

int process_threads(const struct cell *cell)
{
    const int all = cell->threads > 0 ? (int)cell->threads : processors_allowed().allowed;
    return all > cell->ranks ? all / cell->ranks : 1;
}

#ifdef SYSTEM_LINUX
/* The processors of one of several ranks on the CPU: as many as it has threads, beside those of the others. False: not enough for
 * that, or it is not the processors that compute. */
static bool rank_processors(const struct cell *cell, int rank, cpu_set_t *own)
{
    cpu_set_t all;
    const int threads = process_threads(cell);
    if (cell->ranks < 2 || !device_is_host(cell->device) || sched_getaffinity(0, sizeof all, &all) != 0 ||
        CPU_COUNT(&all) < threads * cell->ranks)
        return false;
    CPU_ZERO(own);
    for (int processor = 0, at = 0; processor < CPU_SETSIZE; processor++) {
        if (!CPU_ISSET(processor, &all))
            continue;
        if (at >= rank * threads && at < (rank + 1) * threads)
            CPU_SET(processor, own);
        at++;
    }
    return true;
}
#endif

void process_default_signals(void)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    static const int handled[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGQUIT, SIGTSTP, SIGCHLD, SIGWINCH};
    for (size_t i = 0; i < sizeof handled / sizeof *handled; i++)
        signal(handled[i], SIG_DFL);
}

/* In the child: the front reads the sentence as the worker's last line. 126 is a shell's code for a program that cannot be executed;
 * 127 is the loader's. */
static _Noreturn void end_unstarted(int errors, const char *sentence)
{
    _exit(write(errors, sentence, strlen(sentence)) < 0 ? 125 : 126);
}

/* After fork: only calls that are safe there. Descriptors go to their places by way of higher numbers, for any of them may
 * sit on the place of another. */
static void become_worker(const char *program, char *const *argv, char *const *environment, const int *descriptors,
                          int count, const struct cell *cell, int rank, pid_t parent)
{
    setpgid(0, 0);
#ifdef SYSTEM_LINUX
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent)
        _exit(125); /* nobody is left to read a sentence */
    cpu_set_t own;
    if (cell && rank_processors(cell, rank, &own))
        sched_setaffinity(0, sizeof own, &own);
#else
    (void)parent, (void)cell, (void)rank;
#endif
    process_default_signals();
    int high[6];
    bool placed = true;
    for (int i = 0; i < count; i++)
        placed &= (high[i] = fcntl(descriptors[i], F_DUPFD, count)) >= 0;
    for (int i = 0; placed && i < count; i++)
        placed &= dup2(high[i], i) == i;
    if (!placed)
        end_unstarted(high[2] < 0 ? descriptors[2] : high[2],
                      "steptop: cannot start the worker: no descriptors are left for it (ulimit -n)\n");
#ifdef SYSTEM_LINUX
    close_range((unsigned)count, ~0u, 0);
#else
    for (int fd = count; fd < 256; fd++)
        close(fd);
#endif
    execve(program, argv, environment);
    end_unstarted(STDERR_FILENO, "steptop: cannot start the worker: the program file cannot be executed\n");
}

static bool pipe_open(int ends[2])
{
    if (!pipe_make(ends)) {
        ends[0] = ends[1] = -1;
        return false;
    }
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    return true;
}

static void close_ends(int ends[2])
{
    for (int i = 0; i < 2; i++)
        if (ends[i] >= 0)
            close(ends[i]);
}

bool process_start(struct process *process, const char *program, const struct cell *cell, int rank, int ring,
                   int meeting, enum process_role role, struct error *error)
{
    *process =
        (struct process){.control = -1, .output = -1, .errors = -1, .out_of_memory_kills = out_of_memory_kills()};
    int control[2] = {-1, -1}, output[2] = {-1, -1}, errors[2] = {-1, -1}, null = -1;
    char threads[40];
    char **environment = process_environment(cell, threads);
    char *argv[] = {"steptop", "worker", "3", "4", role == PROCESS_STAND_IN ? "5" : NULL, NULL};

    null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, control) || !pipe_open(output) || !pipe_open(errors)) {
        error_set(error, ERROR_SYSTEM, "cannot make the worker's pipes: %s", strerror(errno));
        goto failed;
    }
    for (int i = 0; i < 2; i++) {
        fcntl(control[i], F_SETFD, FD_CLOEXEC);
#ifdef SO_NOSIGPIPE /* where sendmsg has no MSG_NOSIGNAL */
        setsockopt(control[i], SOL_SOCKET, SO_NOSIGPIPE, &(int){1}, sizeof(int));
#endif
    }
    const int descriptors[6] = {null, output[1], errors[1], control[1], ring, meeting};
    const pid_t parent = getpid();
    const pid_t pid = fork();
    if (pid < 0) {
        error_no_process(error, "cannot start a worker: fork", errno);
        goto failed;
    }
    if (pid == 0)
        become_worker(program, argv, environment, descriptors, meeting < 0 ? WORKER_MEETING : WORKER_MEETING + 1,
                      role == PROCESS_WORKER ? cell : NULL, rank, parent);
    setpgid(pid, pid); /* on both sides: a kill of the group must not come before the group */
    process->pid = pid;
    process->control = control[0];
    process->output = output[0];
    process->errors = errors[0];
    close(control[1]);
    close(output[1]);
    close(errors[1]);
    close(null);
    free(environment);
    return true;
failed:
    close_ends(control);
    close_ends(output);
    close_ends(errors);
    if (null >= 0)
        close(null);
    free(environment);
    return false;
}

enum process_event process_poll(struct process *process, int *status)
{
    if (!process->pid)
        return PROCESS_ENDED;
    siginfo_t info = {0};
    if (waitid(P_PID, (id_t)process->pid, &info, WEXITED | WSTOPPED | WCONTINUED | WNOHANG | WNOWAIT)) {
        if (errno == EINTR)
            return PROCESS_RUNS;
        *status = 0; /* somebody else has reaped it */
        process->pid = 0;
        return PROCESS_ENDED;
    }
    if (info.si_pid == 0)
        return PROCESS_RUNS;
    /* What it may have started ends with it, while the number of its group cannot have gone to anybody else. */
    if (info.si_code == CLD_EXITED || info.si_code == CLD_KILLED || info.si_code == CLD_DUMPED)
        kill(-process->pid, SIGKILL);
    if (waitpid(process->pid, status, WNOHANG | WUNTRACED | WCONTINUED) != process->pid)
        return PROCESS_RUNS;
    if (WIFSTOPPED(*status))
        return PROCESS_STOPPED;
    if (WIFCONTINUED(*status))
        return PROCESS_CONTINUED;
    process->pid = 0;
    return PROCESS_ENDED;
}

bool process_held(pid_t pid)
{
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    const bool got = file && fgets(line, sizeof line, file);
    if (file)
        fclose(file);
    const char *end = got ? strrchr(line, ')') : NULL; /* the name before it may hold anything */
    if (end && (end[2] == 'T' || end[2] == 't'))
        return true;
    snprintf(path, sizeof path, "/proc/%d/cgroup", (int)pid);
    return pid && cgroup_frozen(path);
}

void process_kill(struct process *process)
{
    if (process->pid && kill(-process->pid, SIGKILL))
        kill(process->pid, SIGKILL);
}

void process_release(struct process *process)
{
    int status;
    process_kill(process);
    while (process->pid && waitpid(process->pid, &status, 0) < 0 && errno == EINTR)
        ;
    process->pid = 0;
    const int ends[3] = {process->control, process->output, process->errors};
    for (int i = 0; i < 3; i++)
        if (ends[i] >= 0)
            close(ends[i]);
    process->control = process->output = process->errors = -1;
}

/* Kills in the whole machine, where that is to be seen, and those in the own group. */
uint64_t out_of_memory_kills(void)
{
    const uint64_t group = cgroup_out_of_memory_kills();
    uint64_t machine = UNKNOWN_U64;
    char line[256];
    FILE *file = fopen("/proc/vmstat", "re");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, "oom_kill ", 9) == 0)
            machine = strtoull(line + 9, NULL, 10);
    if (file)
        fclose(file);
    return !is_known_u64(machine) ? group : !is_known_u64(group) ? machine : machine + group;
}

const char *signal_text(int number, char text[SIGNAL_TEXT])
{
    static const struct {
        int number;
        const char *name;
    } names[] = {{SIGHUP, "SIGHUP"},   {SIGINT, "SIGINT"},   {SIGQUIT, "SIGQUIT"},     {SIGILL, "SIGILL"},
                 {SIGTRAP, "SIGTRAP"}, {SIGABRT, "SIGABRT"}, {SIGBUS, "SIGBUS"},       {SIGFPE, "SIGFPE"},
                 {SIGKILL, "SIGKILL"}, {SIGSEGV, "SIGSEGV"}, {SIGPIPE, "SIGPIPE"},     {SIGALRM, "SIGALRM"},
                 {SIGTERM, "SIGTERM"}, {SIGXCPU, "SIGXCPU"}, {SIGXFSZ, "SIGXFSZ"},     {SIGSYS, "SIGSYS"},
                 {SIGUSR1, "SIGUSR1"}, {SIGUSR2, "SIGUSR2"}, {SIGVTALRM, "SIGVTALRM"}, {SIGPROF, "SIGPROF"},
                 {SIGIO, "SIGIO"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].number == number)
            return names[i].name;
    snprintf(text, SIGNAL_TEXT, "signal %d", number);
    return text;
}
