#include "profiler/remote_internal.h"

#ifndef REMOTE_KNOWN

bool remote_run_python(pid_t pid, const char *script, struct error *error)
{
    (void)script;
    return error_set(error, ERROR_UNSUPPORTED,
                     "process %d: attaching to a running process is known on Linux with x86-64 processors alone; "
                     "start it by steptop attach -- COMMAND instead",
                     (int)pid);
}

#else

#include "base/clock.h"
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STOP_NS 2000000000u /* until a thread that was asked to stops: one in the kernel's hands may be long */
#define CALL_NS 500000000u  /* for what takes a microsecond */
#define RED_ZONE 128u       /* bytes below the stack's end that a function may use without saying so */
#define HELD_BACK 32

/* A thread that is held, all of whose registers are kept. */
struct held {
    pid_t pid; /* and the id of its first thread, which is the one */
    uint64_t kernel_at;
    struct user_regs_struct registers;
    unsigned char *vectors; /* registers of floating point and vectors */
    size_t vectors_length;
    int signals[HELD_BACK], signal_count; /* that came meanwhile, for later */
};

bool remote_read(pid_t pid, uint64_t address, void *to, size_t length)
{
    const struct iovec ours = {to, length}, theirs = {(void *)(uintptr_t)address, length};
    return process_vm_readv(pid, &ours, 1, &theirs, 1, 0) == (ssize_t)length;
}

static bool remote_write(pid_t pid, uint64_t address, const void *from, size_t length)
{
    const struct iovec ours = {(void *)(uintptr_t)from, length}, theirs = {(void *)(uintptr_t)address, length};
    return process_vm_writev(pid, &ours, 1, &theirs, 1, 0) == (ssize_t)length;
}

/* ---- what can be said before anything is touched ---- */

/* A number in /proc/PID/status; −1. */
static long status_number(pid_t pid, const char *key)
{
    char path[64], line[512];
    long value = -1;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, key, strlen(key)) == 0 && line[strlen(key)] == ':')
            value = strtol(line + strlen(key) + 1, NULL, 10);
    if (file)
        fclose(file);
    return value;
}

/* One letter of /proc/PID/stat; 0: there is no such process. */
static char state_of(pid_t pid)
{
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    const size_t length = file ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file)
        fclose(file);
    text[length] = 0;
    const char *name_end = strrchr(text, ')');
    return name_end && name_end[1] == ' ' ? name_end[2] : 0;
}

static bool refused(pid_t pid, int number, struct error *error)
{
    const long tracer = status_number(pid, "TracerPid"), user = status_number(pid, "Uid");
    if (number == ESRCH)
        return error_set(error, ERROR_INPUT, "there is no process %d", (int)pid);
    if (number != EPERM && number != EACCES)
        return error_set(error, ERROR_SYSTEM, "cannot hold process %d: %s", (int)pid, strerror(number));
    if (tracer > 0)
        return error_set(error, ERROR_SYSTEM,
                         "process %d is watched by process %ld already (a debugger, strace): end that first", (int)pid,
                         tracer);
    if (user >= 0 && geteuid() != 0 && (uid_t)user != geteuid())
        return error_set(error, ERROR_SYSTEM, "process %d is another user's (%ld): attach as that user, or with sudo",
                         (int)pid, user);
    FILE *file = fopen("/proc/sys/kernel/yama/ptrace_scope", "re");
    char scope[8] = "";
    if (file && !fgets(scope, sizeof scope, file))
        scope[0] = 0;
    if (file)
        fclose(file);
    if (scope[0] == '3')
        return error_set(error, ERROR_SYSTEM,
                         "process %d: this kernel lets nobody attach to a process until it is started anew "
                         "(kernel.yama.ptrace_scope = 3): start the program by steptop attach -- COMMAND",
                         (int)pid);
    if (scope[0] == '1' || scope[0] == '2')
        return error_set(error, ERROR_SYSTEM,
                         "process %d: this kernel lets a program attach to none that it did not start "
                         "(kernel.yama.ptrace_scope = %c): run steptop with sudo, or allow it by "
                         "sudo sysctl kernel.yama.ptrace_scope=0",
                         (int)pid, scope[0]);
    return error_set(error, ERROR_SYSTEM,
                     "process %d may not be attached to: in a container it takes --cap-add=SYS_PTRACE, elsewhere sudo",
                     (int)pid);
}

static bool has_shadow_stack(pid_t pid)
{
    char path[64], line[512];
    bool found = false;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file))
        found |= strncmp(line, "x86_Thread_features:", 20) == 0 && strstr(line, "shstk");
    if (file)
        fclose(file);
    return found;
}

/* ---- holding ---- */

/* The next stop of the thread. 0: none in time, or it ended. */
static int next_stop(const struct held *held, uint64_t within_ns)
{
    const uint64_t until = clock_now() + within_ns;
    for (;;) {
        int status = 0;
        const pid_t got = waitpid(held->pid, &status, __WALL | WNOHANG);
        if (got == held->pid)
            return WIFSTOPPED(status) ? status : 0;
        if (got < 0 && errno != EINTR)
            return 0;
        if (clock_now() >= until)
            return 0;
        nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
    }
}

static bool go_on(const struct held *held, int request, int number)
{
    return ptrace(request, held->pid, NULL, (void *)(uintptr_t)number) == 0;
}

#define IS_EVENT(status) ((status) >> 16 == PTRACE_EVENT_STOP)
#define IS_KERNEL(status) (WSTOPSIG(status) == (SIGTRAP | 0x80))

/* Stops where signals are taken, so that a call of the kernel that was broken off is begun again as after any signal. */
static bool hold(struct held *held, struct error *error)
{
    const pid_t pid = held->pid;
    if (ptrace(PTRACE_SEIZE, pid, NULL, (void *)(uintptr_t)PTRACE_O_TRACESYSGOOD) != 0)
        return refused(pid, errno, error);
    if (ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) != 0)
        return refused(pid, errno, error);
    for (;;) {
        const int status = next_stop(held, STOP_NS);
        if (!status)
            return error_set(error, ERROR_SYSTEM,
                             "process %d cannot be held: it is ending, or waits in the kernel for a device or a disk "
                             "and hears nobody; try again",
                             (int)pid);
        if (IS_EVENT(status) && WSTOPSIG(status) != SIGTRAP) {
            ptrace(PTRACE_DETACH, pid, NULL, NULL);
            return error_set(error, ERROR_INPUT, "process %d is stopped: kill -CONT %d lets it go on", (int)pid,
                             (int)pid);
        }
        if (IS_EVENT(status))
            return true;
        go_on(held, PTRACE_CONT, WSTOPSIG(status)); /* a signal of its own, before our stop */
    }
}

static bool keep_registers(struct held *held)
{
    struct iovec vectors = {held->vectors, held->vectors_length};
    if (ptrace(PTRACE_GETREGS, held->pid, NULL, &held->registers) != 0 ||
        ptrace(PTRACE_GETREGSET, held->pid, (void *)(uintptr_t)NT_X86_XSTATE, &vectors) != 0)
        return false;
    held->vectors_length = vectors.iov_len;
    return true;
}

/* Goes on to the next border between program and kernel. Signals wait meanwhile; one that the call itself raised ends it. */
static bool to_border(struct held *held, uint64_t until)
{
    for (;;) {
        const uint64_t now = clock_now();
        if (now >= until || !go_on(held, PTRACE_SYSCALL, 0))
            return false;
        const int status = next_stop(held, until - now);
        if (!status)
            return false;
        if (IS_KERNEL(status))
            return true;
        const int number = WSTOPSIG(status);
        if (IS_EVENT(status))
            continue;
        if (number == SIGSEGV || number == SIGBUS || number == SIGILL || number == SIGFPE || number == SIGTRAP)
            return false;
        if (held->signal_count < HELD_BACK)
            held->signals[held->signal_count++] = number;
    }
}

static bool kernel_call(struct held *held, long number, const uint64_t arguments[6], uint64_t *result)
{
    struct user_regs_struct now = held->registers;
    now.rip = held->kernel_at;
    now.rax = (uint64_t)number;
    now.orig_rax = (uint64_t)-1;
    now.rdi = arguments[0], now.rsi = arguments[1], now.rdx = arguments[2];
    now.r10 = arguments[3], now.r8 = arguments[4], now.r9 = arguments[5];
    const uint64_t until = clock_now() + CALL_NS;
    if (ptrace(PTRACE_SETREGS, held->pid, NULL, &now) != 0 || !to_border(held, until) || !to_border(held, until) ||
        ptrace(PTRACE_GETREGS, held->pid, NULL, &now) != 0)
        return false;
    *result = now.rax;
    return true;
}

/* Calls int f(a, b), whose way back is the instruction that calls the kernel: there it is met, and that call is not made. */
static bool function_call(struct held *held, uint64_t function, uint64_t a, uint64_t b, int *result)
{
    struct user_regs_struct now = held->registers;
    const uint64_t stack = ((now.rsp - RED_ZONE - 64) & ~UINT64_C(15)) - 8; /* as after a call: 8 beside 16 */
    now.rip = function;
    now.rsp = stack;
    now.rdi = a, now.rsi = b;
    now.rax = 0;
    now.orig_rax = (uint64_t)-1;
    now.eflags &= ~UINT64_C(0x400); /* direction: forward, as functions expect */
    const uint64_t until = clock_now() + CALL_NS;
    if (!remote_write(held->pid, stack, &held->kernel_at, sizeof held->kernel_at) ||
        ptrace(PTRACE_SETREGS, held->pid, NULL, &now) != 0)
        return false;
    for (;;) {
        if (!to_border(held, until) || ptrace(PTRACE_GETREGS, held->pid, NULL, &now) != 0)
            return false;
        if (now.rip == held->kernel_at + 2 && now.rsp == stack + 8)
            break;
        if (!to_border(held, until)) /* a call of the function's own comes back */
            return false;
    }
    *result = (int)now.orig_rax; /* what would be the number of the kernel's call is what the function returned */
    now.orig_rax = (uint64_t)-1;
    return ptrace(PTRACE_SETREGS, held->pid, NULL, &now) == 0 && to_border(held, until);
}

/* Every register as it was, at a stop like the first, and off it goes. */
static void let_go(struct held *held)
{
    struct iovec vectors = {held->vectors, held->vectors_length};
    ptrace(PTRACE_INTERRUPT, held->pid, NULL, NULL);
    ptrace(PTRACE_CONT, held->pid, NULL, NULL);
    for (int status; (status = next_stop(held, STOP_NS)) && !IS_EVENT(status);) {
        if (!IS_KERNEL(status) && held->signal_count < HELD_BACK)
            held->signals[held->signal_count++] = WSTOPSIG(status);
        ptrace(PTRACE_CONT, held->pid, NULL, NULL);
    }
    ptrace(PTRACE_SETREGSET, held->pid, (void *)(uintptr_t)NT_X86_XSTATE, &vectors);
    ptrace(PTRACE_SETREGS, held->pid, NULL, &held->registers);
    for (int i = 0; i < held->signal_count; i++)
        syscall(SYS_tgkill, held->pid, held->pid, held->signals[i]);
    ptrace(PTRACE_DETACH, held->pid, NULL, NULL);
}

/* ---- Python ---- */

enum { IS_INITIALIZED, ADD_PENDING, RUN_STRING, FUNCTIONS };
static const char *const functions[FUNCTIONS] = {"Py_IsInitialized", "Py_AddPendingCall", "PyRun_SimpleString"};

static bool tell_python(struct held *held, const uint64_t *at, const char *script, struct error *error)
{
    const size_t length = strlen(script) + 1;
    uint64_t memory = 0;
    int ready = 0, full = 1;
    if (!function_call(held, at[IS_INITIALIZED], 0, 0, &ready))
        return error_set(error, ERROR_SYSTEM, "process %d did not answer: it goes on as it was", (int)held->pid);
    if (!ready)
        return error_set(error, ERROR_UNSUPPORTED, "process %d has a Python that has not been started", (int)held->pid);
    const uint64_t wanted[6] = {0, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, (uint64_t)-1, 0};
    if (!kernel_call(held, SYS_mmap, wanted, &memory) || memory >= (uint64_t)-4095 ||
        !remote_write(held->pid, memory, script, length))
        return error_set(error, ERROR_SYSTEM, "process %d got no page of memory for our word to its Python",
                         (int)held->pid);
    if (!function_call(held, at[ADD_PENDING], at[RUN_STRING], memory, &full) || full)
        return error_set(error, ERROR_SYSTEM, "the Python in process %d takes no call just now: try again",
                         (int)held->pid);
    return true;
}

struct order {
    pid_t pid;
    const char *script;
    struct error *error;
    bool done;
};

/* On a thread of its own: what a thread holds is let go of by the kernel when the thread ends, however that comes. */
static void *carry_out(void *context)
{
    struct order *order = context;
    struct held held = {.pid = order->pid, .vectors_length = 64u << 10};
    uint64_t at[FUNCTIONS];
    held.vectors = malloc(held.vectors_length);
    if (!held.vectors) {
        error_set(order->error, ERROR_MEMORY, "no memory for the registers of process %d", (int)order->pid);
        return NULL;
    }
    if (!hold(&held, order->error))
        goto cleanup;
    /* Now that nothing moves in it, and its maps may be read. */
    held.kernel_at = remote_find_syscall(held.pid);
    if (!remote_find(held.pid, functions, at, FUNCTIONS)) {
        error_set(order->error, ERROR_UNSUPPORTED,
                  "process %d is no Python (neither its program nor a libpython in it has %s)", (int)held.pid,
                  functions[ADD_PENDING]);
        ptrace(PTRACE_DETACH, held.pid, NULL, NULL);
    } else if (!held.kernel_at || has_shadow_stack(held.pid) || !keep_registers(&held)) {
        error_set(order->error, ERROR_UNSUPPORTED, "process %d runs in a way that is not known here%s", (int)held.pid,
                  has_shadow_stack(held.pid) ? ": it has a shadow stack" : "");
        ptrace(PTRACE_DETACH, held.pid, NULL, NULL);
    } else {
        order->done = tell_python(&held, at, order->script, order->error);
        let_go(&held);
    }
cleanup:
    free(held.vectors);
    return NULL;
}

bool remote_run_python(pid_t pid, const char *script, struct error *error)
{
    const char state = state_of(pid);
    if (!state)
        return refused(pid, ESRCH, error);
    if (state == 'Z' || state == 'X')
        return error_set(error, ERROR_INPUT, "process %d has ended already", (int)pid);
    if (status_number(pid, "Tgid") != pid)
        return error_set(error, ERROR_INPUT, "%d is a thread of process %ld: attach to that", (int)pid,
                         status_number(pid, "Tgid"));
    if (pid == getpid())
        return error_set(error, ERROR_INPUT, "process %d is this one", (int)pid);
    struct order order = {.pid = pid, .script = script, .error = error};
    pthread_t thread;
    if (pthread_create(&thread, NULL, carry_out, &order) != 0)
        return error_set(error, ERROR_SYSTEM, "no thread to attach with");
    pthread_join(thread, NULL);
    return order.done;
}

#endif
