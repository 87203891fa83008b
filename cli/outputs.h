/* The files that a report is written to, renewed as a run goes on. */
#pragma once
#include "cli/cli.h"
#include "report/report.h"

struct output {
    enum report_format format;
    const char *path;
};

struct outputs {
    struct output items[8];
    int count;
};

/* The files that the options name; -o's is of `format`. Each is checked before anything runs: its folder is there and can be
 * written to, it is no folder or link itself, and no two are the same. Nothing is written yet. */
bool outputs_take(struct outputs *outputs, const struct arguments *arguments, enum report_format format,
                  struct error *error);

/* Writes all of them, each atomically; goes on after a failure and returns the first. */
bool outputs_write(const struct outputs *outputs, const struct report *report, struct error *error);
