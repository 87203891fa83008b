#include "base/processes.h"
#include "base/system.h"
#include "profiler/attach_internal.h"
#include "profiler/process.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* Variables that say where the library is. One that the user has set already stays: two tools cannot both be injected there. */
static const char *const injections[] = {"CUDA_INJECTION64_PATH", "NVTX_INJECTION64_PATH", "INTEL_LIBITTNOTIFY64"};
#define INJECTIONS (sizeof injections / sizeof *injections)

struct environment {
    VEC(char *) list;
    VEC(char *) own; /* to free */
    bool failed;
};

static void put(struct environment *environment, const char *name, const char *value, const char *rest)
{
    char *text = NULL;
    if (asprintf(&text, "%s=%s%s%s", name, value, rest ? ":" : "", rest ? rest : "") < 0) {
        environment->failed = true;
        return;
    }
    vec_push(&environment->own, text);
    vec_push(&environment->list, text);
}

static bool is_ours(const char *variable)
{
    static const char *const replaced[] = {"PYTHONPATH=", "STEPTOP_ATTACH_SOCKET=", "STEPTOP_ATTACH_LIBRARY="};
    for (size_t i = 0; i < sizeof replaced / sizeof *replaced; i++)
        if (strncmp(variable, replaced[i], strlen(replaced[i])) == 0)
            return true;
    return false;
}

static void environment_make(struct environment *environment, const struct attach *attach)
{
    const char *python_path = getenv("PYTHONPATH");
    for (char **variable = environ; *variable; variable++)
        if (!is_ours(*variable))
            vec_push(&environment->list, *variable);
    put(environment, "PYTHONPATH", attach->options.python_folder, python_path && *python_path ? python_path : NULL);
    put(environment, "STEPTOP_ATTACH_SOCKET", attach->path, NULL);
    put(environment, "STEPTOP_ATTACH_LIBRARY", attach->options.library, NULL);
    for (size_t i = 0; i < INJECTIONS; i++)
        if (!getenv(injections[i]))
            put(environment, injections[i], attach->options.library, NULL);
    /* Else the program's own torch.profiler takes CUPTI down, for us as well, when it is done. */
    if (!getenv("TEARDOWN_CUPTI"))
        put(environment, "TEARDOWN_CUPTI", "0", NULL);
    /* Into a pipe Python would keep what it prints for itself until it is 8 KiB, and the Log would stay empty. */
    if (!attach->options.through && !getenv("PYTHONUNBUFFERED"))
        put(environment, "PYTHONUNBUFFERED", "1", NULL);
    vec_push(&environment->list, NULL);
}

static void environment_release(struct environment *environment)
{
    for (size_t i = 0; i < environment->own.count; i++)
        free(environment->own.items[i]);
    vec_release(&environment->own);
    vec_release(&environment->list);
}

/* As if nobody stood between: what is ignored (nohup, a script's &) stays so, and SIGPIPE and SIGXFSZ, which steptop ignores, are as ever. */
static void program_signals(void)
{
    static const int kept[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
    bool ignored[sizeof kept / sizeof *kept];
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        ignored[i] = signal_is_ignored(kept[i]);
    process_default_signals();
    signal(SIGXFSZ, SIG_DFL);
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if (ignored[i])
            signal(kept[i], SIG_IGN);
}

/* After fork. `descriptors`: input, output, errors; −1: as they are. `report` closes when the program runs; else it gets errno. */
static void become_command(char *const *argv, char *const *environment, const int descriptors[3], bool own_group,
                           int report)
{
    if (own_group)
        setpgid(0, 0);
    program_signals();
    bool ready = true;
    for (int i = 0; i < 3; i++)
        ready = ready && (descriptors[i] < 0 || dup2(descriptors[i], i) == i);
    if (ready)
        execvpe(argv[0], argv, environment);
    const int code = errno;
    if (write(report, &code, sizeof code) < 0)
        _exit(126);
    _exit(127);
}

static void close_all(int *descriptors, int count)
{
    for (int i = 0; i < count; i++)
        if (descriptors[i] >= 0)
            close(descriptors[i]);
}

bool attach_process_start(struct process *process, const struct attach *attach, struct error *error)
{
    *process =
        (struct process){.control = -1, .output = -1, .errors = -1, .out_of_memory_kills = out_of_memory_kills()};
    struct environment environment = {0};
    int output[2] = {-1, -1}, errors[2] = {-1, -1}, report[2] = {-1, -1}, null = -1, code = 0;
    const bool piped = !attach->options.through;
    environment_make(&environment, attach);
    if (environment.failed || !pipe_make(report) || (piped && (!pipe_make(output) || !pipe_make(errors))) ||
        (piped && (null = open("/dev/null", O_RDONLY | O_CLOEXEC)) < 0)) {
        error_set(error, ERROR_SYSTEM, "cannot make the command's pipes: %s", strerror(errno));
        goto failed;
    }
    const pid_t pid = fork();
    if (pid < 0) {
        error_no_process(error, "cannot start the command: fork", errno);
        goto failed;
    }
    if (pid == 0)
        become_command(attach->command, environment.list.items, (const int[3]){null, output[1], errors[1]}, piped,
                       report[1]);
    if (piped)
        setpgid(pid, pid);
    close(report[1]);
    report[1] = -1;
    ssize_t got;
    while ((got = read(report[0], &code, sizeof code)) < 0 && errno == EINTR)
        ;
    if (got == (ssize_t)sizeof code) {
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
        error_set(error, ERROR_INPUT, "cannot start '%s': %s", attach->command[0], strerror(code));
        goto failed;
    }
    process->pid = pid;
    process->output = output[0];
    process->errors = errors[0];
    for (int i = 0; piped && i < 2; i++)
        fcntl(i ? errors[0] : output[0], F_SETFL, O_NONBLOCK);
    close_all((int[]){output[1], errors[1], report[0], null}, 4);
    environment_release(&environment);
    return true;
failed:
    close_all((int[]){output[0], output[1], errors[0], errors[1], report[0], report[1], null}, 7);
    environment_release(&environment);
    return false;
}
