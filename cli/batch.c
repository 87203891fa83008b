/* Running without a screen. */
#include "base/system.h"
#include "base/unknown.h"
#include "cli/ending.h"
#include "cli/progress.h"
#include "cli/run.h"
#include "cli/verdict.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DESCRIPTORS_MAX 32
#define SIGNALS_MAX 64
#define SECOND_CHANCE "steptop: stopping the run; what was measured is kept (^C again quits at once)"

struct loop {
    struct batch *batch;
    struct progress *progress;
    enum status *seen; /* of each run, as last handled */
    size_t count;
    size_t log_shown;
    int signals[2]; /* a pipe that the handler writes their numbers to */
    int taken[SIGNALS_MAX], taken_count;
    struct sigaction before[SIGNALS_MAX];
    int signal;               /* the first that came, or 0 */
    bool quit;                /* a second came */
    struct error write_error; /* of the latest attempt */
    bool write_failed;
};

static bool is_end(enum status status)
{
    return status != STATUS_PENDING && status != STATUS_RUNNING;
}

static int signal_pipe = -1; /* where the handler writes; the loop polls the other end */

static void on_signal(int number, siginfo_t *info, void *context)
{
    const int saved = errno;
    (void)context;
    if (signal_is_crash(number, info)) {
        crash(number);
        return;
    }
    const unsigned char byte = (unsigned char)number;
    const ssize_t put = write(signal_pipe, &byte, 1);
    (void)put; /* a full pipe: so many are waiting that one more changes nothing */
    errno = saved;
}

/* ^C, and every other signal that would end the process, become readable events, but a SIGHUP below nohup. Workers get the default
 * actions back when they are started. */
static bool open_signals(struct loop *loop)
{
    if (!pipe_make(loop->signals))
        return false;
    for (int i = 0; i < 2; i++)
        fcntl(loop->signals[i], F_SETFL, O_NONBLOCK);
    signal_pipe = loop->signals[1];
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_RESTART | SA_SIGINFO};
    sigemptyset(&action.sa_mask);
    int numbers[SIGNALS_MAX];
    const int count = signals_that_end(numbers, SIGNALS_MAX);
    for (int i = 0; i < count; i++) {
        if (numbers[i] == SIGHUP && signal_is_ignored(SIGHUP))
            continue;
        loop->taken[loop->taken_count] = numbers[i];
        sigaction(numbers[i], &action, &loop->before[loop->taken_count++]);
    }
    return true;
}

static void close_signals(struct loop *loop)
{
    if (loop->signals[0] < 0)
        return;
    for (int i = 0; i < loop->taken_count; i++)
        sigaction(loop->taken[i], &loop->before[i], NULL);
    close(loop->signals[0]);
    close(loop->signals[1]);
    signal_pipe = -1;
}

static void take_signals(struct loop *loop)
{
    unsigned char number;
    while (read(loop->signals[0], &number, 1) == 1) {
        if (loop->signal) {
            loop->quit = true;
            return;
        }
        loop->signal = number;
        progress_message(loop->progress, SECOND_CHANCE);
        session_stop_all(loop->batch->session);
    }
}

/* Files are renewed after each cell; a failure is told at once and tried again with the next. */
static void write_outputs(struct loop *loop)
{
    struct batch *batch = loop->batch;
    if (!batch->outputs->count)
        return;
    loop->write_error = (struct error){0};
    loop->write_failed = !files_renew(batch->outputs, batch->report, batch->session, &loop->write_error);
    if (loop->write_failed) {
        char text[sizeof loop->write_error.text + 32];
        snprintf(text, sizeof text, "steptop: warning: %s", loop->write_error.text);
        progress_message(loop->progress, text);
    }
}

static void take_ends(struct loop *loop)
{
    bool any = false;
    for (size_t i = 0; i < loop->count; i++) {
        const struct run *run = session_run(loop->batch->session, i);
        if (loop->seen[i] == run->status)
            continue;
        loop->seen[i] = run->status;
        if (!is_end(run->status))
            continue;
        any = true;
        progress_ended(loop->progress, loop->batch->session, i);
    }
    if (any)
        write_outputs(loop);
}

/* What workers complain about belongs on stderr as well. */
static void show_log(struct loop *loop)
{
    const struct session *session = loop->batch->session;
    const size_t count = session_log_count(session);
    for (; loop->log_shown < count; loop->log_shown++) {
        const struct log_line *line = session_log(session, loop->log_shown);
        if (line && line->is_error && !loop->batch->arguments->value[OPTION_QUIET])
            progress_message(loop->progress, line->text);
    }
}

static void run_loop(struct loop *loop)
{
    struct session *session = loop->batch->session;
    while (!session_idle(session) && !loop->quit) {
        struct pollfd fds[DESCRIPTORS_MAX] = {{.fd = loop->signals[0], .events = POLLIN}};
        int timeout = -1;
        const int count = session_poll(session, fds + 1, DESCRIPTORS_MAX - 1, &timeout);
        if (timeout < 0 || timeout > 200)
            timeout = 200;
        if (poll(fds, (nfds_t)count + 1, timeout) < 0 && errno != EINTR)
            break;
        take_signals(loop);
        session_step(session);
        show_log(loop);
        take_ends(loop);
        progress_update(loop->progress, session);
    }
    take_ends(loop);
}

int batch_run(struct batch *batch)
{
    const struct arguments *arguments = batch->arguments;
    struct loop loop = {.batch = batch, .count = session_run_count(batch->session), .signals = {-1, -1}};
    struct error error = {0};
    struct strbuf text = {0};
    int code = EXIT_FAILED;
    const bool opened = open_signals(&loop);
    loop.seen = calloc(loop.count + 1, sizeof *loop.seen);
    loop.progress =
        progress_create(batch->session, arguments->value[OPTION_QUIET] != NULL, arguments->value[OPTION_ASCII] != NULL);
    if (!opened || !loop.seen || !loop.progress) {
        error_set(&error, ERROR_SYSTEM, "cannot start the run: %s", strerror(errno));
        code = fail(&error);
        goto cleanup;
    }
    run_loop(&loop);
    write_outputs(&loop);
    progress_free(loop.progress);
    loop.progress = NULL;
    code = session_exit_code(batch->session, loop.signal); /* a replay's runs appear as it goes */
    if (session_recording_cut(batch->session) && arguments->value[OPTION_QUIET])
        fail(session_recording_cut(batch->session)); /* its line in the log was left out */
    if (loop.quit)
        goto cleanup;
    report_update(batch->report, batch->session);
    report_emit(batch->report, batch->format, &text);
    if (!print_all(text.text, text.length, &error)) {
        const int failure = fail(&error);
        code = code == EXIT_OK ? failure : code;
    } else if (loop.write_failed && code == EXIT_OK)
        code = fail(&loop.write_error);
    verdict_print(arguments, batch->report);
    if (code == EXIT_OK && fail_on_fires(arguments, batch->report))
        code = EXIT_FINDING;
cleanup:
    progress_free(loop.progress);
    free(loop.seen);
    strbuf_release(&text);
    close_signals(&loop);
    return code;
}
