/* The parts of steptop run. */
#pragma once
#include "cli/cli.h"
#include "cli/outputs.h"
#include "profiles/profile.h"
#include "report/report.h"

/* --dry-run: prints the table of cells. */
int dry_run(const struct profile *profile);

struct batch {
    const struct arguments *arguments;
    struct session *session;
    struct report *report;
    struct outputs *outputs;
    enum report_format format; /* of the report on standard output */
};

/* Runs what is queued in the session without a screen: progress on stderr, files renewed after each cell, the report on stdout
 * at the end. Returns the exit code. */
int batch_run(struct batch *batch);
