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

/* True when the terminal UI can open here: stdin and stdout are terminals and TERM is one that can be drawn on. */
bool screen_possible(void);

/* Opens the screen until the user leaves; writes the files once more. Returns the exit code. */
int screen_run(struct screen *screen);
