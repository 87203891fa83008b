/* The command line: one table of options and one of subcommands, from which usage, --help, the man page and the shell
 * completions are made. A subcommand is one function in a file of its own; it returns the exit code. */
#pragma once
#include "base/error.h"
#include "base/strbuf.h"
#include "cli/terminal.h"
#include <stdbool.h>
#include <stddef.h>

enum exit_code {
    EXIT_OK = 0,
    EXIT_FAILED = 1, /* some cell failed, or a file could not be written */
    EXIT_USAGE = 2,
    EXIT_INPUT = 3, /* invalid profile, report, recording, reference */
    EXIT_DEVICE = 4,
    EXIT_REGRESSION = 5,
    EXIT_FINDING = 6, /* --fail-on */
    EXIT_INTERRUPTED = 130,
    EXIT_TERMINATED = 143, /* 128 + SIGTERM */
};

enum subcommand {
    SUBCOMMAND_RUN,
    SUBCOMMAND_ATTACH,
    SUBCOMMAND_REPORT,
    SUBCOMMAND_DIFF,
    SUBCOMMAND_DEVICES,
    SUBCOMMAND_PROFILES,
    SUBCOMMAND_VERIFY,
    SUBCOMMAND_VIEW,
    SUBCOMMAND_REPLAY,
    SUBCOMMAND_HELP,
    SUBCOMMAND_VERSION,
    SUBCOMMAND_WORKER,
    SUBCOMMAND_COUNT
};
#define FOR(subcommand) (1u << SUBCOMMAND_##subcommand)

enum option_id {
    /* what to measure; each is a key of the profile too */
    OPTION_DEVICE,
    OPTION_MODEL,
    OPTION_D_MODEL,
    OPTION_D_FF,
    OPTION_NUM_LAYERS,
    OPTION_NUM_HEADS,
    OPTION_VOCAB_SIZE,
    OPTION_BATCH_SIZE,
    OPTION_CONTEXT_LENGTH,
    OPTION_DTYPE,
    OPTION_COMPILE,
    OPTION_CHECKPOINT,
    OPTION_RANKS,
    OPTION_PARALLEL,
    OPTION_COLLECTIVE,
    OPTION_BUCKET_MB,
    OPTION_GRAD_DTYPE,
    OPTION_THREADS,
    OPTION_PASSES,
    OPTION_WARMUP,
    OPTION_STEPS,
    OPTION_SEED,
    OPTION_TIMEOUT,
    OPTION_REPETITIONS,
    OPTION_INTERLEAVE,
    OPTION_ON_OOM,
    OPTION_PROFILE_EVERY,
    OPTION_COUNTERS,
    OPTION_NO_MEMORY,
    /* how to run */
    OPTION_JOIN,
    OPTION_BATCH,
    OPTION_DRY_RUN,
    OPTION_RESUME,
    OPTION_WINDOW, /* --steps of attach */
    OPTION_SKIP,
    OPTION_PID,
    OPTION_FOR,
    OPTION_DETAIL,
    OPTION_RECORD,
    OPTION_REFERENCE,
    OPTION_ACROSS,
    OPTION_THRESHOLD,
    OPTION_SPEED,
    /* where results go */
    OPTION_FORMAT,
    OPTION_DEVICES_FORMAT, /* --format of devices */
    OPTION_DIFF_FORMAT,    /* --format of diff */
    OPTION_OUTPUT,
    OPTION_MARKDOWN,
    OPTION_CSV,
    OPTION_JSON,
    OPTION_PERFETTO,
    OPTION_SVG,
    OPTION_HTML,
    OPTION_HANDOUT,
    OPTION_FINDINGS,
    OPTION_FAIL_ON,
    OPTION_FORCE,
    OPTION_QUIET,
    /* the screen */
    OPTION_ASCII,
    OPTION_NO_COLOR,
    OPTION_NO_MOUSE,
    OPTION_THEME,
    OPTION_HELP,
    OPTION_VERSION,
    OPTION_COUNT
};

/* What a shell can complete an argument with. */
enum argument_kind { ARGUMENT_NONE, ARGUMENT_TEXT, ARGUMENT_FILE, ARGUMENT_CHOICE };

struct option_info {
    const char *name; /* without the dashes; NULL ends a table of choices */
    char letter;      /* or 0 */
    enum argument_kind kind;
    const char *argument; /* "FILE"; NULL where there is none */
    const char *choices;  /* of ARGUMENT_CHOICE its own words, separated by spaces; NULL: option_choices finds them */
    const char *key;      /* the profile's key that it overrides, or NULL */
    const char *value;    /* the value that a flag without an argument stands for, where it has a key */
    unsigned commands;    /* FOR(...) mask */
    const char *help;     /* one sentence, no full stop */
};

struct arguments {
    enum subcommand command;
    const char *value[OPTION_COUNT]; /* NULL: not given; "" for an option without an argument */
    const char *const *positional;   /* what is left, positional_count of them */
    int positional_count;
};

/* How many words a subcommand takes is in its line of the table; those that are missing or too many are refused before the
 * function is called. `run` is given checked arguments and returns the exit code. */
struct subcommand_info {
    const char *name;
    const char *positional; /* "[PROFILE]", for the usage line */
    int positional_min, positional_max;
    bool hidden;
    int (*run)(const struct arguments *arguments);
    const char *help; /* one sentence, no full stop */
};

const struct option_info *option_info(enum option_id option);
/* The words of ARGUMENT_CHOICE, separated by spaces, also offered for lists: its own, or those of the table that its value is of. */
void option_choices(const struct option_info *info, struct strbuf *out);
const struct subcommand_info *subcommand_info(enum subcommand command); /* NULL: not in this build */
bool subcommand_find(const char *name, enum subcommand *command);

/* Reads the command line after argv[0] and, where there is one, the subcommand's name. Unknown and repeated options, missing
 * arguments, options of other subcommands and wrong numbers of words are ERROR_USAGE. */
bool arguments_parse(int argc, char **argv, struct arguments *arguments, struct error *error);

/* Prints `steptop: error: <text>` on stderr, with a hint to --help for usage errors, and returns the exit code for its kind.
 * Control characters in the text are shown as \xNN. */
int fail(const struct error *error);

/* In a signal's handler: ends the process as where nobody takes the signal; where memory has ended, which was said with the limit, that is a
 * failure like others, and no crash with a core. */
void crash(int number);

/* TERM names a terminal that can be drawn on. */
bool terminal_draws(void);

/* `text` to standard output, or into the file at `path` (atomically), unless that is NULL or "-". */
bool write_all(const char *path, const char *text, size_t length, struct error *error);

/* help.c: what --help, the man page and the completions say, each made from the tables. */
void help_usage(struct strbuf *out);
void help_command(enum subcommand command, struct strbuf *out);
bool help_topic(const char *topic, struct strbuf *out, struct error *error); /* one of HELP_TOPICS, or a subcommand */

/* One function a subcommand. */
int command_run(const struct arguments *arguments);
int command_attach(const struct arguments *arguments);
int command_report(const struct arguments *arguments);
int command_diff(const struct arguments *arguments);
int command_devices(const struct arguments *arguments);
int command_profiles(const struct arguments *arguments);
int command_verify(const struct arguments *arguments);
int command_view(const struct arguments *arguments);
int command_replay(const struct arguments *arguments);
int command_help(const struct arguments *arguments);
int command_version(const struct arguments *arguments);
int command_worker(const struct arguments *arguments);
