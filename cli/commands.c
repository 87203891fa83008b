/* The table of subcommands. */
#include "cli/cli.h"
#include "cli/help.h"
#include <limits.h>
#include <string.h>

#define OR_TOPIC(name, print) "|" name

static const struct subcommand_info commands[SUBCOMMAND_COUNT] = {
    [SUBCOMMAND_RUN] = {"run", "[PROFILE]", 0, 1, false, command_run,
                        "Run a profile (a file, - for standard input, or the name of one of `steptop profiles`)"},
    [SUBCOMMAND_ATTACH] = {"attach", "-- COMMAND…", 0, INT_MAX, false, command_attach,
                           "Run any PyTorch, CUDA or NVTX program and see where its steps spend their time"},
    [SUBCOMMAND_DEVICES] = {"devices", "", 0, 0, false, command_devices,
                            "List the devices there are, and for the others what is missing"},
    [SUBCOMMAND_PROFILES] = {"profiles", "[new NAME]", 0, 2, false, command_profiles,
                             "List the profiles there are, or write a commented new one"},
    [SUBCOMMAND_VIEW] =
        {"view", "REPORT...", 1, 16, false, command_view,
         "Look through old reports on the screen, several side by side; last is the newest that was kept"},
    [SUBCOMMAND_REPLAY] = {"replay", "RECORDING", 1, 1, false, command_replay,
                           "Play a recording (run --record) as if it ran now"},
    [SUBCOMMAND_WORKER] = {"worker", "CONTROL_FD RING_FD [CONNECTION_FD]", 2, 3, true, command_worker,
                           "Run one cell; started by run"},
    [SUBCOMMAND_REPORT] = {"report", "REPORT", 1, 1, false, command_report,
                           "Render an old report again; last is the newest that was kept"},
    [SUBCOMMAND_DIFF] =
        {"diff", "BEFORE AFTER | --across AXIS REPORT...", 1, 16, false, command_diff,
         "Compare two reports (exit 5 when a pass became slower beyond the threshold), or cells of one"},
    [SUBCOMMAND_VERIFY] = {"verify", "", 0, 0, false, command_verify,
                           "Compare a device's results with PyTorch's or with the double-precision reference"},
    [SUBCOMMAND_HELP] =
        {"help", "[SUBCOMMAND" HELP_TOPICS(OR_TOPIC) "]", 0, 1, false, command_help,
         "Show help on a subcommand, or print the man page, a shell's completions, a schema or the rules of findings"},
    [SUBCOMMAND_VERSION] = {"version", "", 0, 0, false, command_version,
                            "Print the version and the commit it was built from"},
};

const struct subcommand_info *subcommand_info(enum subcommand command)
{
    return commands[command].name ? &commands[command] : NULL;
}

bool subcommand_find(const char *name, enum subcommand *command)
{
    for (int i = 0; i < SUBCOMMAND_COUNT; i++) {
        if (commands[i].name && strcmp(name, commands[i].name) == 0) {
            *command = (enum subcommand)i;
            return true;
        }
    }
    return false;
}
