/* The terminal UI as the subcommands start it. */
#pragma once
#include "cli/cli.h"
#include "cli/outputs.h"
#include "profiles/profile.h"
#include "report/report.h"

struct screen {
    const struct arguments *arguments;
    const struct profile *profile; /* NULL for view and replay */
    struct session *session;       /* NULL for view */
    struct report *report;
    struct outputs *outputs;
};

/* Opens the screen until the user leaves; writes the files once more. Returns the exit code. */
int screen_run(struct screen *screen);
