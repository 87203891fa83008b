/* steptop attach: a command of the user's, on the screen or beside it. */
#include "profiler/attach.h"
#include "base/clock.h"
#include "base/system.h"
#include "cli/ending.h"
#include "cli/outputs.h"
#include "cli/screen.h"
#include "cli/verdict.h"
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RENEW_NS 5000000000u /* the files of a program that may run for days are renewed this often */

struct places_of_library {
    char library[PATH_MAX], python[PATH_MAX];
};

/* Beside the program (a build), or in the libdir seen from it. */
static bool find_library(struct places_of_library *found, struct error *error)
{
    static const char *const folders[] = {".", STEPTOP_LIBDIR_FROM_PROGRAM};
    char own[PATH_MAX];
    char *slash = program_path(own, sizeof own) ? strrchr(own, '/') : NULL;
    if (slash)
        *slash = 0;
    for (size_t i = 0; slash && i < sizeof folders / sizeof *folders; i++) {
        char path[2 * PATH_MAX];
        snprintf(path, sizeof path, "%s/%s/libsteptop-attach.so", own, folders[i]);
        if (!realpath(path, found->library))
            continue;
        snprintf(path, sizeof path, "%s/%s/attach-python", own, folders[i]);
        if (realpath(path, found->python))
            return true;
    }
    return error_set(error, ERROR_DEVICE,
                     "there is no libsteptop-attach.so with its attach-python beside this program (%s) or in %s/%s",
                     slash ? own : "?", slash ? own : "?", STEPTOP_LIBDIR_FROM_PROGRAM);
}

static bool take_number(const struct arguments *arguments, enum option_id option, uint32_t *number, struct error *error)
{
    const char *text = arguments->value[option];
    char *end;
    *number = 0;
    if (!text)
        return true;
    errno = 0;
    const unsigned long value = strtoul(text, &end, 10);
    if (errno || *end || text[0] < '0' || text[0] > '9' || value > 1000000000)
        return error_set(error, ERROR_USAGE, "--%s: '%s' is not a number of steps", option_info(option)->name, text);
    *number = (uint32_t)value;
    return true;
}

/* "30s", "5m", "1h", "250ms"; without a unit: seconds. */
static bool take_time(const char *text, uint64_t *ns, struct error *error)
{
    static const struct {
        const char *unit;
        double ns;
    } units[] = {{"", 1e9}, {"s", 1e9}, {"ms", 1e6}, {"m", 60e9}, {"h", 3600e9}};
    char *end;
    *ns = 0;
    if (!text)
        return true;
    const double value = strtod(text, &end);
    for (size_t i = 0; end != text && i < sizeof units / sizeof *units; i++)
        if (strcmp(end, units[i].unit) == 0 && value > 0 && value * units[i].ns < 1e17) {
            *ns = (uint64_t)(value * units[i].ns);
            return true;
        }
    return error_set(error, ERROR_USAGE, "--for: '%s' is not a time: write 30s, 5m or 1h", text);
}

/* A command, or --pid: one of the two. */
static bool take_process(const struct arguments *arguments, pid_t *pid, struct error *error)
{
    const char *text = arguments->value[OPTION_PID];
    char *end;
    *pid = 0;
    if (!text && !arguments->positional_count)
        return error_set(error, ERROR_USAGE, "'attach' needs -- COMMAND… or --pid N");
    if (!text)
        return true;
    if (arguments->positional_count)
        return error_set(error, ERROR_USAGE,
                         "--pid %s is a process that runs already: a COMMAND beside it is one too many", text);
    errno = 0;
    const long value = strtol(text, &end, 10);
    if (errno || *end || text[0] < '1' || text[0] > '9' || value > INT_MAX)
        return error_set(error, ERROR_USAGE, "--pid: '%s' is not a process's number", text);
    *pid = (pid_t)value;
    return true;
}

static bool take_options(const struct arguments *arguments, struct attach_options *options, struct error *error)
{
    const char *detail = arguments->value[OPTION_DETAIL];
    if (detail && strcmp(detail, "layers") != 0 && strcmp(detail, "ops") != 0)
        return error_set(error, ERROR_USAGE, "--detail: '%s' is none of ops, layers", detail);
    options->layers_only = detail && strcmp(detail, "layers") == 0;
    return take_process(arguments, &options->pid, error) &&
           take_number(arguments, OPTION_WINDOW, &options->steps, error) &&
           take_number(arguments, OPTION_SKIP, &options->skip, error) &&
           take_time(arguments->value[OPTION_FOR], &options->for_ns, error);
}

/* ---- without a screen ---- */

static volatile sig_atomic_t interrupted; /* by ^C, which the program has got as well: it decides */

static void on_interrupt(int number, siginfo_t *info, void *context)
{
    (void)context;
    interrupted = number;
    if (signal_is_crash(number, info))
        crash(number);
}

/* Whatever would end this process; but what is ignored (nohup, a script's &) is so for the program, too. */
static void take_signals(void)
{
    int numbers[64];
    const int count = signals_that_end(numbers, 64);
    const struct sigaction action = {.sa_sigaction = on_interrupt, .sa_flags = SA_RESTART | SA_SIGINFO};
    for (int i = 0; i < count; i++)
        if (!signal_is_ignored(numbers[i]))
            sigaction(numbers[i], &action, NULL);
}

static void wait_for_end(struct session *session, struct report *report, struct outputs *outputs)
{
    uint64_t renewed = clock_now();
    bool told = false;
    while (!session_idle(session)) {
        struct pollfd fds[600];
        int timeout;
        const int count = session_poll(session, fds, 600, &timeout);
        if (poll(fds, (nfds_t)count, timeout < 0 || timeout > 200 ? 200 : timeout) < 0 && errno != EINTR)
            break;
        session_step(session);
        if (interrupted && (session_is_guest(session) || (interrupted != SIGINT && interrupted != SIGQUIT))) {
            interrupted = 0;
            session_stop_all(session); /* it was for us alone: the program gets one of its own, or is let go of */
        }
        struct error error = {0};
        const bool window_over = session_detached(session) && !told;
        if (outputs->count && (window_over || clock_now() - renewed > RENEW_NS)) {
            told |= window_over;
            if (!files_renew(outputs, report, session, &error))
                say("steptop: warning: %s", error.text);
            renewed = clock_now();
        }
    }
}

static int run_without_screen(const struct arguments *arguments, struct session *session, struct report *report,
                              struct outputs *outputs, enum report_format format)
{
    struct error error = {0};
    take_signals();
    wait_for_end(session, report, outputs);
    report_update(report, session);
    bool written = outputs_write(outputs, report, &error);
    const bool ran = session_command_exit(session) >= 0; /* else there is one sentence to say, and no report */
    if (written && ran && (!outputs->count || arguments->value[OPTION_FORMAT])) {
        struct strbuf text = {0};
        report_emit(report, format, &text);
        written = print_all(text.text, text.length, &error);
        strbuf_release(&text);
    }
    if (ran)
        verdict_print(arguments, report);
    const int ended = session_command_exit(session);
    if (written && ended == 0 && fail_on_fires(arguments, report))
        return EXIT_FINDING;
    return written ? -1 : fail(&error);
}

/* After the screen was left while the program runs: what it prints comes through until it ends. */
static void pass_through(struct session *session)
{
    size_t shown = session_log_count(session);
    session_detach(session);
    if (!session_idle(session))
        say("steptop: the program goes on%s", session_is_guest(session) ? "" : "; its output follows (^C ends it)");
    while (!session_idle(session)) {
        struct pollfd fds[600];
        int timeout;
        const int count = session_poll(session, fds, 600, &timeout);
        poll(fds, (nfds_t)count, timeout < 0 || timeout > 200 ? 200 : timeout);
        session_step(session);
        for (; shown < session_log_count(session); shown++) {
            const struct log_line *line = session_log(session, shown);
            if (line->is_error) {
                say("%s", line->text);
                continue;
            }
            struct strbuf text = {0};
            strbuf_printf(&text, "%s\n", line->text);
            print_all(text.text, text.length, NULL);
            strbuf_release(&text);
        }
        if (interrupted) {
            interrupted = 0;
            session_stop_all(session);
        }
    }
}

static int run_on_screen(const struct arguments *arguments, struct session *session, struct report *report,
                         struct outputs *outputs)
{
    struct screen screen = {
        .arguments = arguments, .session = session, .report = report, .outputs = outputs, .keeps_running = true};
    const int code = screen_run(&screen);
    take_signals();
    pass_through(session);
    struct error error = {0};
    if (!files_renew(outputs, report, session, &error))
        return fail(&error);
    if (code != EXIT_OK && code != EXIT_FAILED)
        return code;
    return session_command_exit(session) == 0 && fail_on_fires(arguments, report) ? EXIT_FINDING : -1;
}

int command_attach(const struct arguments *arguments)
{
    struct places_of_library found;
    struct attach_options options = {0};
    struct outputs outputs;
    enum report_format format;
    struct report report = {0};
    struct session *session = NULL;
    struct error error = {0};
    char program[PATH_MAX];
    int code = EXIT_FAILED;
    if (!fail_on_check(arguments, &error) || !format_take(arguments, &format, &error) ||
        !take_options(arguments, &options, &error) || !outputs_take(&outputs, arguments, FORMAT_YAML, &error) ||
        !find_library(&found, &error))
        return fail(&error);
    const bool on_screen = screen_wanted(arguments);
    options.command = options.pid ? NULL : arguments->positional;
    options.library = found.library;
    options.python_folder = found.python;
    options.through = !on_screen;
    report_init(&report);
    session = session_create(&(struct session_options){.program = program_self(program, sizeof program)}, &error);
    if (!session || !session_attach(session, &options, &error)) {
        code = fail(&error);
        goto cleanup;
    }
    code = on_screen ? run_on_screen(arguments, session, &report, &outputs)
                     : run_without_screen(arguments, session, &report, &outputs, format);
    if (code < 0) {
        code = session_command_exit(session);
        const struct run *run = session_run(session, 0);
        if (code < 0) { /* it never started */
            error_set(&error, run ? run->unstarted : ERROR_SYSTEM, "%s",
                      run && run->reason[0] ? run->reason : "the command did not start");
            code = fail(&error);
        }
    }
cleanup:
    session_free(session);
    report_free(&report);
    return code;
}
