#include "cli/screen.h"
#include "base/clock.h"
#include "tui/tui.h"
#include <poll.h>
#include <unistd.h>

#define SETTLE_NS 5000000000u

bool screen_possible(void)
{
    return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && terminal_draws();
}

/* Ends what still runs, so that the files say how it ended. */
static void settle(struct session *session)
{
    const uint64_t end = clock_now() + SETTLE_NS;
    session_stop_all(session);
    while (!session_idle(session) && clock_now() < end) {
        struct pollfd fds[32];
        int timeout;
        const int count = session_poll(session, fds, 32, &timeout);
        poll(fds, (nfds_t)count, timeout < 0 || timeout > 50 ? 50 : timeout);
        session_step(session);
    }
}

int screen_run(struct screen *screen)
{
    const struct arguments *arguments = screen->arguments;
    const char *theme = arguments->value[OPTION_THEME];
    struct error error = {0};
    bool interrupted = false;
    int signal = 0;
    const struct tui_options options = {
        .session = screen->session,
        .report = screen->report,
        .profile = screen->profile,
        .yaml_path = outputs_path(screen->outputs, FORMAT_YAML),
        .markdown_path = outputs_path(screen->outputs, FORMAT_MARKDOWN),
        .ascii = arguments->value[OPTION_ASCII] != NULL,
        .mouse = arguments->value[OPTION_NO_MOUSE] == NULL,
        .theme = theme                               ? theme
                 : arguments->value[OPTION_NO_COLOR] ? "mono"
                                                     : NULL,
    };
    if (!tui_run(&options, &interrupted, &signal, &error))
        return fail(&error);
    if (screen->session) {
        settle(screen->session);
        report_update(screen->report, screen->session);
    }
    if (!outputs_write(screen->outputs, screen->report, &error))
        return fail(&error);
    if (signal)
        return 128 + signal;
    if (interrupted)
        return EXIT_INTERRUPTED;
    for (size_t i = 0; screen->session && i < session_run_count(screen->session); i++) {
        const enum status status = session_run(screen->session, i)->status;
        if (status != STATUS_OK && status != STATUS_UNRELIABLE && status != STATUS_INTERRUPTED)
            return EXIT_FAILED;
    }
    return EXIT_OK;
}
