#include "tui/signals.h"
#include "base/limits.h"
#include "base/system.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const int orderly[] = {SIGWINCH, SIGTSTP, SIGCONT, SIGPIPE}; /* and those that end a process */
enum { ORDERLY = sizeof orderly / sizeof *orderly, TAKEN_MAX = ORDERLY + 64 };

#define HANDLER_STACK 65536

struct signals {
    int pipe[2];
    int taken[TAKEN_MAX], taken_count;
    struct sigaction before[TAKEN_MAX];
    stack_t old_stack;
    void *stack;
};

/* A signal handler gets no argument of ours: this is what it needs, written before the handlers are installed. */
static struct {
    int pipe, terminal, flags;
    struct termios saved;
    struct sigaction abort; /* as it was before us */
    char restore[256];
    size_t restore_length;
} handler_state;

/* What was said when memory ended went with the screen: it is said again. And it is a failure like others then, as whoever had the signal
 * before us has it. */
static void die_of_memory(void)
{
    struct termios terminal;
    const char *text = memory_last_word();
    if (tcgetattr(STDERR_FILENO, &terminal) == 0) {
        const ssize_t put = write(STDERR_FILENO, text, strlen(text));
        (void)put;
    }
    sigaction(SIGABRT, &handler_state.abort, NULL);
}

static void die(int number)
{
    /* Only calls that are safe in a handler. The terminal must not block us while we die. */
    if (handler_state.restore_length) {
        fcntl(handler_state.terminal, F_SETFL, handler_state.flags | O_NONBLOCK);
        const ssize_t put = write(handler_state.terminal, handler_state.restore, handler_state.restore_length);
        (void)put;
        fcntl(handler_state.terminal, F_SETFL, handler_state.flags);
        tcsetattr(handler_state.terminal, TCSANOW, &handler_state.saved);
    }
    if (number == SIGABRT && memory_ended())
        die_of_memory();
    else
        signal(number, SIG_DFL);
    raise(number); /* it takes the process when we return */
}

static void on_orderly(int number, siginfo_t *info, void *context)
{
    (void)context;
    const int error = errno;
    if (signal_is_crash(number, info)) {
        die(number);
        return;
    }
    /* Writing to a reader that is gone raises SIGPIPE in this very process: write(2) says EPIPE as well, and that is
     * handled there. Only a SIGPIPE that somebody sent is a wish to end. */
    if (number != SIGPIPE || info->si_pid != getpid()) {
        const unsigned char byte = (unsigned char)number;
        const ssize_t put = write(handler_state.pipe, &byte, 1);
        (void)put; /* full: there is plenty to wake the loop up already */
    }
    errno = error;
}

struct signals *signals_install(int fd, const struct termios *saved, int flags, struct error *error)
{
    struct signals *signals = calloc(1, sizeof *signals);
    if (!signals)
        memory_exhausted(1, "screen");
    if (!pipe_make(signals->pipe)) {
        error_set(error, ERROR_SYSTEM, "cannot make the pipe for signals: %s", strerror(errno));
        free(signals);
        return NULL;
    }
    for (int i = 0; i < 2; i++)
        fcntl(signals->pipe[i], F_SETFL, O_NONBLOCK);
    handler_state.pipe = signals->pipe[1];
    handler_state.terminal = fd;
    handler_state.flags = flags;
    handler_state.saved = *saved;
    handler_state.restore_length = 0;

    signals->stack = malloc(HANDLER_STACK);
    const stack_t stack = {.ss_sp = signals->stack, .ss_size = HANDLER_STACK};
    if (signals->stack)
        sigaltstack(&stack, &signals->old_stack);
    sigaction(SIGABRT, NULL, &handler_state.abort);
    struct sigaction action = {.sa_sigaction = on_orderly, .sa_flags = SA_RESTART | SA_SIGINFO | SA_ONSTACK};
    sigfillset(&action.sa_mask);
    memcpy(signals->taken, orderly, sizeof orderly);
    signals->taken_count = ORDERLY + signals_that_end(signals->taken + ORDERLY, TAKEN_MAX - ORDERLY);
    for (int i = 0; i < signals->taken_count; i++)
        sigaction(signals->taken[i], &action, &signals->before[i]);
    return signals;
}

static void add(const char *text)
{
    if (!text)
        return;
    const size_t length = strlen(text);
    if (handler_state.restore_length + length > sizeof handler_state.restore)
        return;
    memcpy(handler_state.restore + handler_state.restore_length, text, length);
    handler_state.restore_length += length;
}

void signals_arm(struct signals *signals, const char *leave_screen, const char *show_cursor, const char *attributes,
                 const char *keypad)
{
    (void)signals;
    handler_state.restore_length = 0;
    /* Marks of pastes off, and mouse reports, in each of the ways they may have been turned on. */
    add("\033[?2004l\033[?1006l\033[?1003l\033[?1002l\033[?1000l");
    add(attributes);
    add(keypad);
    add(show_cursor);
    add(leave_screen);
}

void signals_restore(struct signals *signals)
{
    if (!signals)
        return;
    handler_state.restore_length = 0;
    for (int i = 0; i < signals->taken_count; i++)
        sigaction(signals->taken[i], &signals->before[i], NULL);
    if (signals->stack) {
        const stack_t off = {.ss_flags = SS_DISABLE};
        sigaltstack(signals->old_stack.ss_sp ? &signals->old_stack : &off, NULL);
        free(signals->stack);
    }
    close(signals->pipe[0]);
    close(signals->pipe[1]);
    free(signals);
}

int signals_descriptor(const struct signals *signals)
{
    return signals->pipe[0];
}

int signals_next(struct signals *signals)
{
    unsigned char byte;
    return read(signals->pipe[0], &byte, 1) == 1 ? byte : 0;
}

void signals_suspend(struct signals *signals)
{
    struct sigaction stop = {.sa_handler = SIG_DFL}, before;
    sigemptyset(&stop.sa_mask);
    sigaction(SIGTSTP, &stop, &before);
    kill(0, SIGTSTP);
    sigaction(SIGTSTP, &before, NULL);
    (void)signals;
}
