#include "cli/screen.h"
#include "base/clock.h"
#include "cli/ending.h"
#include "cli/kept.h"
#include "cli/terminal.h"
#include "cli/verdict.h"
#include "tui/terminal.h"
#include "tui/tui.h"
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#define SETTLE_NS 5000000000u

bool screen_possible(bool *known)
{
    const bool terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && terminal_draws();
    *known = !terminal || terminal_type_works();
    return terminal && *known;
}

bool screen_wanted(const struct arguments *arguments)
{
    bool known = true;
    if (arguments->value[OPTION_BATCH] || arguments->value[OPTION_FORMAT])
        return false;
    struct error error = {0};
    if (screen_possible(&known)) {
        if (terminal_fits(&error))
            return true;
        if (!arguments->value[OPTION_QUIET])
            say("steptop: no screen: %s", error.text);
        return false;
    }
    if (!known && !arguments->value[OPTION_QUIET])
        say("steptop: no screen: this system does not know how to draw on TERM=%s; most terminals work with "
            "TERM=xterm-256color",
            getenv("TERM"));
    return false;
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

static bool renew_files(void *context, struct error *error)
{
    const struct screen *screen = context;
    return files_renew(screen->outputs, screen->report, screen->session, error);
}

static bool may_export(void *context, enum report_format format, const char *path, struct error *error)
{
    const struct screen *screen = context;
    return outputs_spare(screen->arguments, format, path, error);
}

int screen_run(struct screen *screen)
{
    const struct arguments *arguments = screen->arguments;
    const char *theme = arguments->value[OPTION_THEME];
    struct error error = {0};
    int signal = 0;
    const struct tui_options options = {
        .session = screen->session,
        .report = screen->report,
        .renew_files = screen->outputs->count ? renew_files : NULL,
        .may_export = may_export,
        .context = screen,
        .ascii = arguments->value[OPTION_ASCII] != NULL,
        .mouse = arguments->value[OPTION_NO_MOUSE] == NULL,
        .theme = theme                               ? theme
                 : arguments->value[OPTION_NO_COLOR] ? "mono"
                                                     : NULL,
    };
    if (!tui_run(&options, &signal, &error))
        return fail(&error);
    if (!screen->session)
        return signal ? 128 + signal : EXIT_OK;
    if (!screen->keeps_running)
        settle(screen->session);
    if (!files_renew(screen->outputs, screen->report, screen->session, &error))
        return fail(&error);
    kept_save(screen->report);
    const int code = session_exit_code(screen->session, signal);
    return code == EXIT_OK && !screen->keeps_running && fail_on_fires(arguments, screen->report) ? EXIT_FINDING : code;
}
