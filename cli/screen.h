/* The terminal UI as the subcommands start it. */
#pragma once
#include "cli/cli.h"
#include "cli/outputs.h"
#include "report/report.h"

struct screen {
    const struct arguments *arguments;
    struct session *session; /* NULL for view */
    struct report *report;
    struct outputs *outputs;
    bool keeps_running; /* what runs when the user leaves is not ended */
};

/* True when the terminal UI can open here: stdin and stdout are terminals and TERM is one that can be drawn on. *known is
 * false when they are, and this system has no description of TERM. */
bool screen_possible(bool *known);

/* It can, and the arguments ask for nothing else; says why not where a terminal would be there. */
bool screen_wanted(const struct arguments *arguments);

/* Opens the screen until the user leaves; writes the files once more. Returns the exit code. */
int screen_run(struct screen *screen);
