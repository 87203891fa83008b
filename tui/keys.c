#include "tui/keys.h"
#include "tui/terminal.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IN(view) (1u << VIEW_##view)
#define ALL ((1u << VIEW_COUNT) - 1)
#define LISTS (IN(RUNS) | IN(KERNELS) | IN(LAYERS) | IN(ROOFLINE) | IN(LOG))
#define TABLES (IN(RUNS) | IN(KERNELS) | IN(LAYERS) | IN(ROOFLINE))
#define PLOTS (IN(HISTOGRAM) | IN(TIMELINE) | IN(MEMORY))

/* In the order of the footer: what is likeliest to be needed in a view comes first. */
static const struct binding bindings[] = {
    {COMMAND_HELP, "? F1 h", ALL, "Help", "this page", "Program"},
    {COMMAND_QUIT, "q F10", ALL, "Quit", "quit; runs are stopped, the report is kept", "Program"},
    {COMMAND_OPEN, "Enter", (LISTS & ~IN(LOG)) | IN(HISTOGRAM) | IN(MEMORY) | IN(TIMELINE), "Open",
     "zoom in: run → kernels → histogram → layers; unfold a layer, then its kernels; timeline: the launch's kernel; "
     "memory: next mode",
     "Move"},
    {COMMAND_BACK, "Esc", ALL, "Back", "back out, one step of the breadcrumb; clears a search or filter first", "Move"},
    {COMMAND_ANSWER, "a", IN(RUNS), "Answer",
     "to what is said of the selected run below the list, and back; so does the last row's Down", "Move"},
    {COMMAND_NEW, "n F7", ALL, "New run", "start another run: a form (while a search is active: next match)", "Runs"},
    {COMMAND_STOP, "x", ALL, "Stop", "stop the run and keep its data", "Runs"},
    {COMMAND_RERUN, "r", ALL, "Rerun",
     "run this configuration again: the form filled with it, at the batch size; Enter alone runs the same", "Runs"},
    {COMMAND_PASS, "p", IN(KERNELS) | IN(LAYERS) | IN(HISTOGRAM) | IN(ROOFLINE) | IN(TIMELINE), "Pass",
     "next pass: fwd, fwd_bwd, train_step", "View"},
    {COMMAND_PHASE, "f", IN(KERNELS) | IN(LAYERS) | IN(ROOFLINE), "Phase",
     "only one phase: backward, forward, the others that there are, and all again; layers come costliest first",
     "View"},
    {COMMAND_GROUP, "b", IN(KERNELS) | IN(LAYERS) | IN(ROOFLINE), "Group",
     "group by kernel, class, module, layer, phase (roofline: kernel, layer); layers: all blocks as one, or each",
     "View"},
    {COMMAND_FILTER, "\\ F4", TABLES | IN(LOG), "Filter", "show only rows that contain a text", "Find"},
    {COMMAND_SEARCH, "/ F3", TABLES | IN(LOG), "Search", "incremental search", "Find"},
    {COMMAND_SORT_PICK, "s F6", TABLES, "Sort", "choose the sort column", "View"},
    {COMMAND_BASELINE, "d", IN(RUNS), "Baseline", "mark the baseline; the other runs show their ratio to it", "Runs"},
    {COMMAND_COMPARE, "=", IN(RUNS) | IN(KERNELS) | IN(LAYERS) | IN(HISTOGRAM) | IN(MEMORY), "Compare",
     "compare this run's kernels, layers, memory or one kernel's launches with the baseline's", "Runs"},
    {COMMAND_WARMUP, "u", IN(HISTOGRAM), "Warm-up", "include or leave out warm-up launches", "View"},
    {COMMAND_SPLIT, "v", IN(HISTOGRAM), "Split", "split by nothing, phase, layer", "View"},
    {COMMAND_MODE, "m", IN(MEMORY) | IN(TIMELINE), "Mode",
     "memory: curve, layers, tensors; timeline: colour by phase, class", "View"},
    {COMMAND_ZOOM_IN, "+ z", IN(TIMELINE) | IN(HISTOGRAM) | IN(MEMORY), "Zoom in", "zoom in around the cursor", "View"},
    {COMMAND_ZOOM_OUT, "- o", IN(TIMELINE) | IN(HISTOGRAM) | IN(MEMORY), "Zoom out", "zoom out", "View"},
    {COMMAND_FOLLOW, "F", ALL, "Follow", "follow the newest: the running cell, the timeline's end, the log's end",
     "View"},
    {COMMAND_PAUSE, "Z", ALL, "Pause", "freeze the screen; collection goes on and is counted", "View"},
    {COMMAND_THRESHOLD, "L", IN(KERNELS) | IN(LAYERS), "Threshold", "hide rows below a percentage", "View"},
    {COMMAND_EXPAND, "E", IN(LAYERS), "Expand", "expand the whole tree", "Tree"},
    {COMMAND_COLLAPSE, "C", IN(LAYERS), "Collapse", "collapse the whole tree", "Tree"},
    {COMMAND_UNFOLD, "+", IN(LAYERS), NULL, "unfold the selected layer", "Tree"},
    {COMMAND_FOLD, "-", IN(LAYERS), NULL, "fold the selected layer", "Tree"},
    {COMMAND_FOLD_ALL, "*", IN(LAYERS), "Fold all", "fold or unfold all layers of the selected one's depth", "Tree"},
    {COMMAND_CONTINUOUS, "c", ALL, "Forever", "run this configuration until stopped", "Runs"},
    {COMMAND_COUNTERS, "C", ALL & ~IN(LAYERS), "Counters",
     "run this configuration again with hardware counters required, or without them", "Runs"},
    {COMMAND_WINDOW, "w", IN(KERNELS), "Window",
     "statistics over the last 10 s (quantiles: 5 to 10 s) or over everything", "View"},
    {COMMAND_EXPORT, "P F9", ALL, "Export", "write the report or this view to a file; its ending says the format",
     "Program"},
    {COMMAND_PROFILES, "O", ALL, "Profiles", "choose a run profile and queue its cells", "Runs"},
    {COMMAND_DEVICES, "D", ALL, "Devices", "what each device can do, and why another is not available", "Runs"},
    {COMMAND_REMOVE, "Delete", IN(RUNS), NULL, "remove a finished run from the list", "Runs"},
    {COMMAND_SETUP, "S F2", ALL, "Setup", "columns, theme, braille curves, mouse, refresh; kept for next time",
     "Program"},
    {COMMAND_COPY, "y", LISTS, "Copy", "copy the selected row to the clipboard (OSC 52)", "Program"},
    {COMMAND_TAG, "Space", TABLES, "Tag", "tag or untag the row", "Find"},
    {COMMAND_SEARCH_PREVIOUS, "N", TABLES | IN(LOG), NULL, "previous match", "Find"},
    {COMMAND_SORT_LEFT, "<", TABLES, NULL, "sort by the column to the left", "View"},
    {COMMAND_SORT_RIGHT, ">", TABLES, NULL, "sort by the column to the right", "View"},
    {COMMAND_INVERT, "I", TABLES, NULL, "invert the sort order", "View"},
    {COMMAND_UP, "k Up ^P", ALL, NULL, "up; in plots the row above", "Move"},
    {COMMAND_DOWN, "j Down ^N", ALL, NULL, "down", "Move"},
    {COMMAND_LEFT, "Left", PLOTS | IN(RUNS), NULL,
     "cursor or picture to the left; in the answer, too, and back to the list", "Move"},
    {COMMAND_RIGHT, "Right l", PLOTS | IN(RUNS), NULL,
     "cursor or picture to the right; in the answer, too; in the list the same as Enter", "Move"},
    {COMMAND_OPEN, "Right l", LISTS & ~IN(LOG) & ~IN(RUNS), NULL, "the same as Enter", "Move"},
    {COMMAND_BACK, "Left", LISTS & ~IN(RUNS), NULL, "the same as Esc", "Move"},
    {COMMAND_PAGE_UP, "PgUp ^B", ALL, NULL, "a page up", "Move"},
    {COMMAND_PAGE_DOWN, "PgDn ^F", ALL, NULL, "a page down", "Move"},
    {COMMAND_HALF_UP, "^U", ALL, NULL, "half a page up", "Move"},
    {COMMAND_HALF_DOWN, "^D", ALL, NULL, "half a page down", "Move"},
    {COMMAND_FIRST, "g Home", ALL, NULL, "first row", "Move"},
    {COMMAND_LAST, "G End", ALL, NULL, "last row", "Move"},
    {COMMAND_VIEW, "1 2 3 4 5 6 7 8", ALL, NULL, "Runs, Kernels, Layers, Histogram, Timeline, Memory, Roofline, Log",
     "Move"},
    {COMMAND_NEXT_VIEW, "Tab", ALL, NULL, "next view", "Move"},
    {COMMAND_PREVIOUS_VIEW, "BackTab", ALL, NULL, "previous view (Shift-Tab)", "Move"},
    {COMMAND_REDRAW, "^L", ALL, NULL, "draw the whole screen again", "Program"},
    {COMMAND_SUSPEND, "^Z", ALL, NULL, "suspend; fg comes back", "Program"},
    {COMMAND_INTERRUPT, "^C", ALL, NULL, "stop what runs and keep its data; a second time: quit", "Program"},
};

static const struct {
    const char *name;
    int code;
} names[] = {
    {"Up", KEY_CODE_UP},
    {"Down", KEY_CODE_DOWN},
    {"Left", KEY_CODE_LEFT},
    {"Right", KEY_CODE_RIGHT},
    {"Home", KEY_CODE_HOME},
    {"End", KEY_CODE_END},
    {"PgUp", KEY_CODE_PAGE_UP},
    {"PgDn", KEY_CODE_PAGE_DOWN},
    {"BackTab", KEY_CODE_BACKTAB},
    {"Tab", KEY_CODE_TAB},
    {"Enter", KEY_CODE_ENTER},
    {"Esc", KEY_CODE_ESCAPE},
    {"Space", ' '},
    {"Delete", KEY_CODE_DELETE},
};

const struct binding *key_bindings(int *count)
{
    *count = sizeof bindings / sizeof *bindings;
    return bindings;
}

int key_parse(const char *name, size_t length)
{
    if (length == 1)
        return (unsigned char)name[0];
    if (length == 2 && name[0] == '^')
        return name[1] & 31;
    if (name[0] == 'F' && name[1] >= '1' && name[1] <= '9')
        return KEY_CODE_F1 + atoi(name + 1) - 1;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i].name) == length && strncmp(names[i].name, name, length) == 0)
            return names[i].code;
    return 0;
}

enum command key_command(int key, enum view_id view)
{
    for (size_t i = 0; i < sizeof bindings / sizeof *bindings; i++) {
        if (!(bindings[i].views & 1u << view))
            continue;
        for (const char *name = bindings[i].keys; *name;) {
            const size_t length = strcspn(name, " ");
            if (key_parse(name, length) == key)
                return bindings[i].command;
            name += length + (name[length] == ' ');
        }
    }
    return COMMAND_NONE;
}

const char *key_first_name(const struct binding *binding, char *text, size_t size)
{
    snprintf(text, size, "%.*s", (int)strcspn(binding->keys, " "), binding->keys);
    return text;
}
