#include "command.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

#define NOBODY 54321 /* a user without processes: root is bound by no limit of them */

static void limit(int what, size_t value)
{
    const struct rlimit limits = {value, value};
    if (value && setrlimit(what, &limits) != 0)
        _exit(99);
}

static void use_one_processor(void)
{
    cpu_set_t all, first;
    CPU_ZERO(&first);
    if (sched_getaffinity(0, sizeof all, &all) != 0)
        _exit(96);
    for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&first) == 0; i++) {
        if (CPU_ISSET(i, &all))
            CPU_SET(i, &first);
    }
    if (sched_setaffinity(0, sizeof first, &first) != 0)
        _exit(96);
}

static void join(const char *group)
{
    char path[200];
    snprintf(path, sizeof path, "%s/cgroup.procs", group);
    FILE *file = fopen(path, "w");
    if (!file || fprintf(file, "%d\n", (int)getpid()) < 0 || fclose(file) != 0)
        _exit(95);
}

static void become(const struct command *command, int input, int output, int errors)
{
    const char *words[64] = {STEPTOP_BINARY};
    for (int i = 0; command->arguments && command->arguments[i] && i < 62; i++)
        words[i + 1] = command->arguments[i];
    for (const char *const *variable = command->environment; variable && *variable; variable++) {
        if (strchr(*variable, '='))
            putenv((char *)(uintptr_t)*variable);
        else
            unsetenv(*variable);
    }
    if (command->folder && chdir(command->folder) != 0)
        _exit(98);
    const int to = command->output_to ? open(command->output_to, O_WRONLY) : output;
    dup2(input, STDIN_FILENO);
    dup2(to, STDOUT_FILENO);
    dup2(errors, STDERR_FILENO);
    if (command->close_input)
        close(STDIN_FILENO);
    if (command->close_output)
        close(STDOUT_FILENO);
    if (command->close_errors)
        close(STDERR_FILENO);
    if (command->one_processor)
        use_one_processor();
    if (command->group)
        join(command->group);
    signal(SIGXFSZ, SIG_IGN);
    signal(SIGPIPE, SIG_DFL);
    limit(RLIMIT_FSIZE, command->file_limit);
    limit(RLIMIT_AS, command->memory_limit);
    limit(RLIMIT_DATA, command->data_limit);
    if (command->process_limit && geteuid() == 0 &&
        (setgroups(0, NULL) != 0 || setgid(NOBODY) != 0 || setuid(NOBODY) != 0))
        _exit(96);
    limit(RLIMIT_NPROC, command->process_limit);
    execv(words[0], (char *const *)(uintptr_t)words);
    _exit(97);
}

/* A growing text fed from a descriptor. */
struct stream {
    int fd;
    char *text;
    size_t length;
};

static void take(struct stream *stream)
{
    char bytes[4096];
    const ssize_t got = read(stream->fd, bytes, sizeof bytes);
    if (got < 0 && errno == EINTR)
        return;
    if (got <= 0) {
        close(stream->fd);
        stream->fd = -1;
        return;
    }
    stream->text = realloc(stream->text, stream->length + (size_t)got + 1);
    memcpy(stream->text + stream->length, bytes, (size_t)got);
    stream->length += (size_t)got;
    stream->text[stream->length] = 0;
}

void command_execute(const struct command *command, struct outcome *outcome)
{
    int output[2], errors[2], input = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (command->input) {
        FILE *file = tmpfile();
        fputs(command->input, file);
        rewind(file);
        dup2(fileno(file), input);
        fclose(file);
        lseek(input, 0, SEEK_SET);
    }
    if (pipe2(output, O_CLOEXEC) != 0 || pipe2(errors, O_CLOEXEC) != 0)
        abort();
    const double start = now(), end = start + (command->timeout_s ? command->timeout_s : 60);
    const pid_t child = fork();
    if (child == 0)
        become(command, input, output[1], errors[1]);
    close(input);
    close(output[1]);
    close(errors[1]);
    struct stream streams[2] = {{.fd = output[0], .text = calloc(1, 1)}, {.fd = errors[0], .text = calloc(1, 1)}};
    const char *signal_after = command->signal ? command->signal_after : NULL;
    while (streams[0].fd >= 0 || streams[1].fd >= 0) {
        struct pollfd wait[2] = {{.fd = streams[0].fd, .events = POLLIN}, {.fd = streams[1].fd, .events = POLLIN}};
        poll(wait, 2, 20);
        for (int i = 0; i < 2; i++) {
            if (streams[i].fd >= 0 && wait[i].revents)
                take(&streams[i]);
        }
        if (signal_after && (strstr(streams[0].text, signal_after) || strstr(streams[1].text, signal_after)) &&
            (signal_after != command->signal_after || workers_alive() > 0)) {
            kill(child, command->signal);
            signal_after = signal_after == command->signal_after ? command->second_signal_after : NULL;
        }
        if (now() > end) {
            fprintf(stderr, "killed after its time: %s\n", command->arguments[0]);
            kill(child, SIGKILL);
            break;
        }
    }
    for (int i = 0; i < 2; i++) {
        if (streams[i].fd >= 0)
            close(streams[i].fd);
    }
    int status;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    *outcome = (struct outcome){.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
                                .output = streams[0].text,
                                .errors = streams[1].text,
                                .seconds = now() - start};
}

void outcome_release(struct outcome *outcome)
{
    free(outcome->output);
    free(outcome->errors);
    *outcome = (struct outcome){0};
}

void steptop_run(struct outcome *outcome, ...)
{
    const char *words[64] = {0};
    va_list list;
    va_start(list, outcome);
    for (int i = 0; i < 63 && (words[i] = va_arg(list, const char *)); i++)
        ;
    va_end(list);
    command_execute(&(struct command){.arguments = words}, outcome);
}

char *folder_new(void)
{
    char *path = strdup("/tmp/steptop-cli-XXXXXX");
    return mkdtemp(path) ? path : NULL;
}

static int delete_one(const char *path, const struct stat *stat, int type, struct FTW *walk)
{
    (void)stat, (void)type, (void)walk;
    return remove(path);
}

void folder_delete(char *folder)
{
    nftw(folder, delete_one, 8, FTW_DEPTH | FTW_PHYS);
    free(folder);
}

char *path_in(const char *folder, const char *name)
{
    char *path = malloc(strlen(folder) + strlen(name) + 2);
    sprintf(path, "%s/%s", folder, name);
    return path;
}

void file_put(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    if (!file || fputs(text, file) < 0 || fclose(file) != 0)
        abort();
}

char *file_get(const char *path)
{
    FILE *file = fopen(path, "r");
    if (!file)
        return NULL;
    struct stream stream = {.fd = dup(fileno(file)), .text = calloc(1, 1)};
    fclose(file);
    while (stream.fd >= 0)
        take(&stream);
    return stream.text;
}

#define MARK "STEPTOP_TEST_PROCESS" /* of the test that all this started under; workers hand it on */

__attribute__((constructor)) static void mark(void)
{
    char number[24];
    snprintf(number, sizeof number, "%d", (int)getpid());
    setenv(MARK, number, 1);
}

static bool is_marked(const char *process)
{
    char path[300], wanted[64], environment[16384];
    snprintf(path, sizeof path, "/proc/%s/environ", process);
    snprintf(wanted, sizeof wanted, MARK "=%s", getenv(MARK));
    FILE *file = fopen(path, "r");
    if (!file)
        return false;
    const size_t length = fread(environment, 1, sizeof environment - 1, file);
    fclose(file);
    environment[length] = 0;
    bool found = false;
    for (size_t at = 0; at < length && !found; at += strlen(environment + at) + 1)
        found = strcmp(environment + at, wanted) == 0;
    return found;
}

int workers_alive(void)
{
    DIR *folder = opendir("/proc");
    int count = 0;
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        char path[300], words[64] = "", stat_text[512] = "";
        snprintf(path, sizeof path, "/proc/%s/cmdline", entry->d_name);
        FILE *file = entry->d_name[0] >= '1' && entry->d_name[0] <= '9' ? fopen(path, "r") : NULL;
        if (!file)
            continue;
        const size_t got = fread(words, 1, sizeof words - 1, file);
        fclose(file);
        if (got < 15 || strcmp(words, "steptop") != 0 || strcmp(words + 8, "worker") != 0)
            continue;
        /* Of this test, and not a zombie that somebody is about to reap. */
        snprintf(path, sizeof path, "/proc/%s/stat", entry->d_name);
        if ((file = fopen(path, "r"))) {
            if (!fgets(stat_text, sizeof stat_text, file))
                stat_text[0] = 0;
            fclose(file);
        }
        const char *state = strrchr(stat_text, ')');
        count += is_marked(entry->d_name) && state && state[2] != 'Z';
    }
    if (folder)
        closedir(folder);
    return count;
}

void expect(const struct outcome *outcome, int code, const char *in_output, const char *in_errors)
{
    if (outcome->code != code || (in_output && !strstr(outcome->output, in_output)) ||
        (in_errors && !strstr(outcome->errors, in_errors)))
        fail_msg("code %d (wanted %d)\n--- stdout (wanted '%s')\n%s\n--- stderr (wanted '%s')\n%s", outcome->code, code,
                 in_output ? in_output : "", outcome->output, in_errors ? in_errors : "", outcome->errors);
}

int count_of(const char *text, const char *part)
{
    int count = 0;
    for (; (text = strstr(text, part)); text++)
        count++;
    return count;
}

int folder_setup(void **state)
{
    *state = folder_new();
    return *state ? 0 : -1;
}

int folder_teardown(void **state)
{
    for (int i = 0; i < 50 && workers_alive(); i++)
        usleep(100000);
    const int left = workers_alive();
    folder_delete(*state);
    return left;
}
