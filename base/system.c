#include "base/system.h"
#include "base/limits.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>
#ifdef __APPLE__
#include <mach-o/dyld.h>
#endif

bool program_path(char *path, size_t size)
{
#ifdef __APPLE__
    char given[PATH_MAX], real[PATH_MAX];
    uint32_t length = sizeof given;
    if (_NSGetExecutablePath(given, &length) != 0 || !realpath(given, real) || strlen(real) >= size)
        return false;
    strcpy(path, real);
    return true;
#else
    const ssize_t length = readlink("/proc/self/exe", path, size - 1);
    path[length > 0 ? length : 0] = '\0';
    return length > 0 && (size_t)length < size - 1;
#endif
}

const char *program_self(char *path, size_t size)
{
#ifdef SYSTEM_LINUX
    (void)path, (void)size;
    return "/proc/self/exe";
#else
    return program_path(path, size) ? path : "steptop";
#endif
}

int memory_file(const char *what, struct error *error)
{
#ifdef SYSTEM_LINUX
    const int fd = memfd_create(what, MFD_CLOEXEC | MFD_ALLOW_SEALING);
#else
    /* A shared memory object whose name is taken back as soon as it is open. */
    char name[40];
    snprintf(name, sizeof name, "/steptop-%ld-%x", (long)getpid(), (unsigned)rand());
    const int fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600); /* closes on exec, says POSIX */
    if (fd >= 0)
        shm_unlink(name);
#endif
    if (fd < 0)
        error_set(error, ERROR_SYSTEM, "cannot make the memory file %s: %s", what, strerror(errno));
    return fd;
}

bool memory_file_size(int fd, size_t bytes, const char *what, struct error *error)
{
    struct rlimit limit = {0};
    const bool low = getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < bytes;
    const struct rlimit lifted = {.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
    if (low)
        setrlimit(RLIMIT_FSIZE, &lifted);
    const bool done = ftruncate(fd, (off_t)bytes) == 0;
    const int number = errno;
    if (low)
        setrlimit(RLIMIT_FSIZE, &limit);
    if (done)
        return true;
    if (number == EFBIG && low)
        return error_set(
            error, ERROR_SYSTEM,
            "%s takes %.1f MiB of shared memory, and files are limited to %llu bytes here (ulimit -f), which counts "
            "for it, too",
            what, (double)bytes / 0x1p20, (unsigned long long)limit.rlim_cur);
    return error_set(error, error_kind_of(number), "%s: no %.1f MiB of shared memory: %s", what, (double)bytes / 0x1p20,
                     strerror(number));
}

int signals_that_end(int *numbers, int max)
{
    static const int others[] = {SIGKILL, SIGSTOP, SIGCONT,  SIGTSTP, SIGTTIN, SIGTTOU,
                                 SIGCHLD, SIGURG,  SIGWINCH, SIGPIPE, SIGXFSZ};
#ifdef SIGRTMAX
    const int first_more = SIGRTMIN, last = SIGRTMAX; /* some before the first are the C library's own */
#else
    const int first_more = 32, last = 31;
#endif
    int count = 0;
    for (int number = 1; number <= last && count < max; number++) {
        bool other = number > 31 && number < first_more;
        for (size_t i = 0; i < sizeof others / sizeof *others; i++)
            other |= others[i] == number;
        if (!other)
            numbers[count++] = number;
    }
    return count;
}

bool signal_of_crashes(int number)
{
    static const int crashes[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP};
    bool crash = false;
    for (size_t i = 0; i < sizeof crashes / sizeof *crashes; i++)
        crash |= crashes[i] == number;
    return crash;
}

bool signal_is_crash(int number, const siginfo_t *info)
{
    return signal_of_crashes(number) && (info->si_code > 0 || info->si_pid == getpid());
}

bool signal_is_ignored(int number)
{
    struct sigaction now;
    return sigaction(number, NULL, &now) == 0 && now.sa_handler == SIG_IGN;
}

bool pipe_make(int ends[2])
{
#ifdef SYSTEM_LINUX
    return pipe2(ends, O_CLOEXEC) == 0;
#else
    if (pipe(ends) != 0)
        return false;
    for (int i = 0; i < 2; i++)
        fcntl(ends[i], F_SETFD, FD_CLOEXEC);
    return true;
#endif
}

#ifdef __APPLE__
struct comparison {
    int (*compare)(const void *, const void *, void *);
    void *context;
};

static int compare_swapped(void *comparison, const void *a, const void *b)
{
    const struct comparison *of = comparison;
    return of->compare(a, b, of->context);
}
#endif

void sort_with(void *items, size_t count, size_t size, int (*compare)(const void *, const void *, void *),
               void *context)
{
#ifdef __APPLE__
    qsort_r(items, count, size, &(struct comparison){compare, context}, compare_swapped);
#else
    qsort_r(items, count, size, compare, context);
#endif
}
