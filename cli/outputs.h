/* The files that a report is written to, renewed as a run goes on. */
#pragma once
#include "cli/cli.h"
#include "report/report.h"

struct output {
    enum report_format format;
    const char *path;
};

#define OUTPUTS_MOST 8
struct outputs {
    struct output items[OUTPUTS_MOST];
    int count;
};

/* The files that the options name; -o's is of `format`. Each is checked before anything runs: its folder is there and can be
 * written to, it is no folder or link itself, and no two are the same. Nothing is written yet. */
bool outputs_take(struct outputs *outputs, const struct arguments *arguments, enum report_format format,
                  struct error *error);

/* The format that --format names; Markdown without one. */
bool format_take(const struct arguments *arguments, enum report_format *format, struct error *error);

/* May the screen export to `path` while this command goes on? Not to what it reads or writes. */
bool outputs_spare(const struct arguments *arguments, enum report_format format, const char *path, struct error *error);

/* A file that a command reads or writes. `renewed`: it may be read and written. */
struct named_file {
    const char *flag, *path; /* "--output"; - is standard input */
    bool written, renewed;
};
/* False, with a usage error, when a file that is written is another of them, however it is spelled: by device and inode where
 * both are there, else by folder and name. */
bool files_apart(const struct named_file *files, int count, struct error *error);
/* Can a file be written there? Before an hour of measuring and not after it. */
bool check_path(const char *flag, const char *path, struct error *error);

/* Writes all of them, each atomically; goes on after a failure and returns the first. */
bool outputs_write(const struct outputs *outputs, const struct report *report, struct error *error);
