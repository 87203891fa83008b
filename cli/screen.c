#include "cli/screen.h"
#include "tui/tui.h"
#include <unistd.h>

bool screen_possible(void)
{
    return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && terminal_draws();
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
        session_stop_all(screen->session);
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
