/* The terminal UI: one thread, one poll loop, one curses screen over the report document. */
#pragma once
#include "base/error.h"
#include "profiler/session.h"
#include "report/report.h"

/* What the screen costs, counted for the bench: processor time of the loop's thread and bytes to the terminal. */
struct tui_statistics {
    uint64_t frames, keys;
    uint64_t update_ns; /* the document follows the session */
    uint64_t draw_ns;   /* views, canvas, curses, write */
    uint64_t drain_ns;  /* taking what the workers sent */
    uint64_t bytes;
};

struct tui_options {
    struct session *session; /* NULL for `steptop view`: the report is all there is */
    struct report *report;
    /* Brings the report up to date and writes the files asked for; called after each cell. NULL: none are. */
    bool (*renew_files)(void *context, struct error *error);
    /* Is `path` none of the files that the command reads or writes? NULL: it is. */
    bool (*may_export)(void *context, enum report_format format, const char *path, struct error *error);
    void *context;
    bool ascii, mouse;
    const char *theme;                 /* "default", "light", "mono", "contrast"; NULL: configured or by NO_COLOR */
    struct tui_statistics *statistics; /* NULL: nobody asks */
};

/* Runs until the user quits; restores the terminal on every way out. False with the reason when the terminal cannot be
 * used. *signal: the one that it was left by, ^C being SIGINT; 0: none. */
bool tui_run(const struct tui_options *options, int *signal, struct error *error);
