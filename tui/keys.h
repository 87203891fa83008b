/* The one table of keys: what a key does, the footer and the help page all come from it. */
#pragma once
#include "base/strbuf.h"
#include <stdbool.h>
#include <stdint.h>

/* The views in the order of their numbers. A row registers one: VIEW_RUNS, its `runs_view`, the name that its table's settings
 * are kept under. */
#define VIEWS(X)                                                                                                       \
    X(RUNS, runs)                                                                                                      \
    X(KERNELS, kernels)                                                                                                \
    X(LAYERS, layers)                                                                                                  \
    X(HISTOGRAM, histogram)                                                                                            \
    X(TIMELINE, timeline)                                                                                              \
    X(MEMORY, memory)                                                                                                  \
    X(ROOFLINE, roofline)                                                                                              \
    X(LOG, log)
#define VIEW_ID(id, name) VIEW_##id,
enum view_id { VIEWS(VIEW_ID) VIEW_COUNT };

enum command {
    COMMAND_NONE,
    COMMAND_UP,
    COMMAND_DOWN,
    COMMAND_LEFT,
    COMMAND_RIGHT,
    COMMAND_PAGE_UP,
    COMMAND_PAGE_DOWN,
    COMMAND_HALF_UP,
    COMMAND_HALF_DOWN,
    COMMAND_FIRST,
    COMMAND_LAST,
    COMMAND_OPEN,
    COMMAND_ANSWER,
    COMMAND_BACK,
    COMMAND_VIEW, /* 1 … 8 */
    COMMAND_NEXT_VIEW,
    COMMAND_PREVIOUS_VIEW,
    COMMAND_SEARCH,
    COMMAND_SEARCH_NEXT,
    COMMAND_SEARCH_PREVIOUS,
    COMMAND_FILTER,
    COMMAND_SORT_PICK,
    COMMAND_SORT_LEFT,
    COMMAND_SORT_RIGHT,
    COMMAND_INVERT,
    COMMAND_GROUP,
    COMMAND_PASS,
    COMMAND_PHASE,
    COMMAND_WINDOW,
    COMMAND_SPLIT,
    COMMAND_WARMUP,
    COMMAND_THRESHOLD,
    COMMAND_TAG,
    COMMAND_FOLD_ALL,
    COMMAND_EXPAND,
    COMMAND_COLLAPSE,
    COMMAND_UNFOLD,
    COMMAND_FOLD,
    COMMAND_ZOOM_IN,
    COMMAND_ZOOM_OUT,
    COMMAND_MODE,
    COMMAND_FOLLOW,
    COMMAND_PAUSE,
    COMMAND_NEW,
    COMMAND_RERUN,
    COMMAND_STOP,
    COMMAND_REMOVE,
    COMMAND_CONTINUOUS,
    COMMAND_COUNTERS,
    COMMAND_BASELINE,
    COMMAND_COMPARE,
    COMMAND_PROFILES,
    COMMAND_DEVICES,
    COMMAND_EXPORT,
    COMMAND_COPY,
    COMMAND_SETUP,
    COMMAND_HELP,
    COMMAND_REDRAW,
    COMMAND_SUSPEND,
    COMMAND_INTERRUPT,
    COMMAND_QUIT,
    COMMAND_COUNT
};

struct binding {
    enum command command;
    const char *keys;  /* names separated by blanks, the one to show first */
    unsigned views;    /* bit (1 << view): where it works */
    const char *label; /* in the footer; NULL: help only */
    const char *help;
    const char *group; /* heading on the help page */
};

const struct binding *key_bindings(int *count);
/* The command that a key stands for in a view; COMMAND_NONE when for nothing. */
enum command key_command(int key, enum view_id view);
int key_parse(const char *name, size_t length); /* "F6", "^D", "Space", "j"; 0: no such name */
/* The name to show for the first key of a binding; "" when it has none. */
const char *key_first_name(const struct binding *binding, char *text, size_t size);
