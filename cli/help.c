/* What --help, the man page and `steptop help` say. */
#include "cli/help.h"
#include "base/version.h"
#include "cli/cli.h"
#include "profiler/session.h"
#include "profiles/profile.h"
#include "report/findings.h"
#include "report/json_schema.h"
#include <stdio.h>
#include <string.h>

#define HELP_COLUMN 32

static const struct {
    int code;
    const char *meaning;
} exit_codes[] = {
    {EXIT_OK, "all went well"},
    {EXIT_FAILED, "some cell failed, or a file could not be written"},
    {EXIT_USAGE, "a bad option or value on the command line"},
    {EXIT_INPUT, "an invalid profile, report, recording or reference file"},
    {EXIT_DEVICE, "the device, its plugin, library or driver is not there"},
    {EXIT_REGRESSION, "diff found a regression"},
    {EXIT_FINDING, "a finding that --fail-on names is there"},
    {EXIT_INTERRUPTED, "interrupted by ^C; what was measured until then is in the report"},
    {EXIT_TERMINATED, "the same by SIGTERM; by another signal 128 and its number"},
};

static const char *const statuses[STATUS_COUNT] = {
    [STATUS_PENDING] = "its turn has not come: of a report that was written while the run went on",
    [STATUS_RUNNING] = "under way, likewise",
    [STATUS_OK] = "it ran",
    [STATUS_OOM] = "it does not fit into memory; the reason has planned and free bytes",
    [STATUS_TIMEOUT] = "not done after its timeout_s",
    [STATUS_ERROR] = "its worker ended with an error or crashed; its last words are the reason",
    [STATUS_KILLED] = "a signal from outside ended its worker",
    [STATUS_SKIPPED] = "not run: a smaller cell was out of memory (on_oom: skip_larger)",
    [STATUS_UNSUPPORTED] = "this build, machine or device cannot do it",
    [STATUS_UNRELIABLE] = "it ran, but a figure is smaller than its own deviation; the reason says which",
    [STATUS_INTERRUPTED] = "stopped; what was measured until then is kept",
};

static const struct {
    const char *name, *meaning;
} variables[] = {
    {"NO_COLOR", "set and not empty: no colours"},
    {"TERM", "\"dumb\" or unset: no screen, no progress bar"},
    {"XDG_CONFIG_HOME, XDG_CACHE_HOME, XDG_STATE_HOME", "folders for settings and own profiles, caches, history"},
    {"STEPTOP_PROFILE_FOLDER", "an absolute path: the first folder in which profiles are looked for by name"},
    {"STEPTOP_PLUGIN_FOLDER", "an absolute path: the folder in which the devices' plugins are looked for first"},
    {"STEPTOP_CUDNN_FOLDER", "the folder in which NVIDIA's cuDNN is looked for first"},
    {"STEPTOP_TOKEN", "of ranks on several hosts (--join): who knows it may join; the same on all of them"},
};

/* "-o, --output FILE" */
static void option_words(const struct option_info *info, struct strbuf *out)
{
    if (info->letter)
        strbuf_printf(out, "-%c, --%s", info->letter, info->name);
    else
        strbuf_printf(out, "    --%s", info->name);
    if (info->argument)
        strbuf_printf(out, " %s", info->argument);
}

static void pad_to(struct strbuf *out, size_t line_start, size_t column)
{
    if (out->length - line_start >= column) {
        strbuf_putc(out, '\n');
        line_start = out->length;
    }
    while (out->length - line_start < column)
        strbuf_putc(out, ' ');
}

static void options_of(enum subcommand command, struct strbuf *out)
{
    for (int i = 0; i < OPTION_COUNT; i++) {
        const struct option_info *info = option_info((enum option_id)i);
        if (!(info->commands & (1u << command)))
            continue;
        const size_t start = out->length;
        strbuf_puts(out, "  ");
        option_words(info, out);
        pad_to(out, start, HELP_COLUMN);
        strbuf_puts(out, info->help);
        if (info->kind == ARGUMENT_CHOICE) {
            strbuf_puts(out, ":\n");
            struct strbuf words = {0};
            option_choices(info, &words);
            strbuf_printf(out, "%*s%s", HELP_COLUMN, "", words.text);
            strbuf_release(&words);
        }
        strbuf_putc(out, '\n');
    }
}

void help_usage(struct strbuf *out)
{
    strbuf_puts(out,
                "steptop: top for a training step. Runs a transformer's forward and backward passes on a device and\n"
                "shows the time of every kernel and layer while they run.\n\n"
                "usage: steptop [OPTION...]                       run the quickstart profile\n");
    for (int i = 0; i < SUBCOMMAND_COUNT; i++) {
        const struct subcommand_info *info = subcommand_info((enum subcommand)i);
        if (info && !info->hidden && i != SUBCOMMAND_HELP && i != SUBCOMMAND_VERSION)
            strbuf_printf(out, "       steptop %s [OPTION...]%s%s\n", info->name, info->positional[0] ? " " : "",
                          info->positional);
    }
    strbuf_puts(out, "\nsubcommands:\n");
    for (int i = 0; i < SUBCOMMAND_COUNT; i++) {
        const struct subcommand_info *info = subcommand_info((enum subcommand)i);
        if (info && !info->hidden)
            strbuf_printf(out, "  %-10s %s\n", info->name, info->help);
    }
    strbuf_puts(out, "\noptions of run (the others have theirs: steptop SUBCOMMAND --help):\n");
    options_of(SUBCOMMAND_RUN, out);
    strbuf_puts(out, "\nexit codes:\n");
    for (size_t i = 0; i < sizeof exit_codes / sizeof *exit_codes; i++)
        strbuf_printf(out, "  %3d  %s\n", exit_codes[i].code, exit_codes[i].meaning);
}

void help_command(enum subcommand command, struct strbuf *out)
{
    const struct subcommand_info *info = subcommand_info(command);
    strbuf_printf(out, "usage: steptop %s [OPTION...]%s%s\n\n%s.\n\noptions:\n", info->name,
                  info->positional[0] ? " " : "", info->positional, info->help);
    options_of(command, out);
}

/* Roff: a dash that is typed is \-, a backslash is \e, and a line must not begin with a dot or a quote. */
static void roff(const char *text, struct strbuf *out)
{
    if (*text == '.' || *text == '\'')
        strbuf_puts(out, "\\&");
    for (; *text; text++) {
        if (*text == '-')
            strbuf_puts(out, "\\-");
        else if (*text == '\\')
            strbuf_puts(out, "\\e");
        else
            strbuf_putc(out, *text);
    }
}

static void man_options(enum subcommand command, struct strbuf *out)
{
    for (int i = 0; i < OPTION_COUNT; i++) {
        const struct option_info *info = option_info((enum option_id)i);
        if (!(info->commands & (1u << command)))
            continue;
        strbuf_puts(out, ".TP\n");
        if (info->letter)
            strbuf_printf(out, "\\fB\\-%c\\fR, ", info->letter);
        strbuf_puts(out, "\\fB\\-\\-");
        roff(info->name, out);
        strbuf_puts(out, "\\fR");
        if (info->argument)
            strbuf_printf(out, " \\fI%s\\fR", info->argument);
        strbuf_putc(out, '\n');
        roff(info->help, out);
        if (info->kind == ARGUMENT_CHOICE) {
            strbuf_puts(out, ": ");
            struct strbuf words = {0};
            option_choices(info, &words);
            roff(words.text, out);
            strbuf_release(&words);
        }
        strbuf_puts(out, ".\n");
    }
}

static void help_man(struct strbuf *out)
{
    strbuf_printf(out, ".TH STEPTOP 1 \"\" \"steptop %s\" \"User Commands\"\n", version_number());
    strbuf_puts(out, ".SH NAME\nsteptop \\- top for a training step\n.SH SYNOPSIS\n.B steptop\n[\\fIOPTION\\fR...]\n");
    for (int i = 0; i < SUBCOMMAND_COUNT; i++) {
        const struct subcommand_info *info = subcommand_info((enum subcommand)i);
        if (!info || info->hidden)
            continue;
        strbuf_printf(out, ".br\n.B steptop %s\n[\\fIOPTION\\fR...] ", info->name);
        roff(info->positional, out);
        strbuf_putc(out, '\n');
    }
    strbuf_puts(out,
                ".SH DESCRIPTION\n"
                "Runs the forward and backward passes of a transformer on a device, one worker process for each cell\n"
                "of a profile, and shows the time of every kernel, layer and phase while they run. The same figures\n"
                "are written as YAML and Markdown. Without a terminal, or with \\fB\\-\\-batch\\fR, progress goes to\n"
                "standard error and the table to standard output.\n.SH SUBCOMMANDS\n");
    for (int i = 0; i < SUBCOMMAND_COUNT; i++) {
        const struct subcommand_info *info = subcommand_info((enum subcommand)i);
        if (!info || info->hidden)
            continue;
        strbuf_printf(out, ".SS steptop %s ", info->name);
        roff(info->positional, out);
        strbuf_putc(out, '\n');
        roff(info->help, out);
        strbuf_puts(out, ".\n");
        man_options((enum subcommand)i, out);
    }
    strbuf_puts(out, ".SH EXIT STATUS\n");
    for (size_t i = 0; i < sizeof exit_codes / sizeof *exit_codes; i++) {
        strbuf_printf(out, ".TP\n.B %d\n", exit_codes[i].code);
        roff(exit_codes[i].meaning, out);
        strbuf_puts(out, ".\n");
    }
    strbuf_puts(out, ".SH STATUS OF A CELL\n");
    for (int i = 0; i < STATUS_COUNT; i++) {
        strbuf_printf(out, ".TP\n.B %s\n", status_name((enum status)i));
        roff(statuses[i], out);
        strbuf_puts(out, ".\n");
    }
    strbuf_puts(out, ".SH ENVIRONMENT\n");
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
        strbuf_printf(out, ".TP\n.B %s\n", variables[i].name);
        roff(variables[i].meaning, out);
        strbuf_puts(out, ".\n");
    }
    strbuf_puts(out, ".SH EXAMPLES\n.nf\nsteptop\n"
                     "steptop run seed \\-\\-model S \\-\\-steps 3 \\-o r.yaml \\-\\-markdown r.md\n"
                     "steptop run \\-\\-model S,M \\-\\-context\\-length 128,256 \\-\\-dry\\-run\n"
                     "steptop report r.yaml \\-\\-format seed\n"
                     ".fi\n");
}

static void help_findings(struct strbuf *out)
{
    strbuf_puts(
        out,
        "A finding is what a rule sees in a report. Each says at most how much its remedy gives; none fires within the "
        "interval of the step.\n");
    for (size_t i = 0; i < rule_count(); i++) {
        const struct rule_info rule = rule_info(i);
        strbuf_printf(out, "\n%s\n  when: %s\n  try:  %s\n", rule.name, rule.condition, rule.remedy);
    }
}

#define ROW(name, print) {name, print},
#define AND_NAME(name, print) ", " name

bool help_topic(const char *topic, struct strbuf *out, struct error *error)
{
    static const struct {
        const char *name;
        void (*print)(struct strbuf *out);
    } topics[] = {HELP_TOPICS(ROW)};
    enum subcommand command;
    for (size_t i = 0; i < sizeof topics / sizeof *topics; i++)
        if (strcmp(topic, topics[i].name) == 0) {
            topics[i].print(out);
            return true;
        }
    if (!subcommand_find(topic, &command))
        return error_set(error, ERROR_USAGE,
                         "there is no help on '%s'; topics are the subcommands" HELP_TOPICS(AND_NAME), topic);
    help_command(command, out);
    return true;
}

int command_help(const struct arguments *arguments)
{
    struct strbuf text = {0};
    struct error error = {0};
    bool done = true;
    if (arguments->positional_count)
        done = help_topic(arguments->positional[0], &text, &error);
    else
        help_usage(&text);
    done = done && print_all(text.text, text.length, &error);
    strbuf_release(&text);
    return done ? EXIT_OK : fail(&error);
}

int command_version(const struct arguments *arguments)
{
    (void)arguments;
    char text[128];
    struct error error = {0};
    const int length = snprintf(text, sizeof text, "steptop %s (commit %s%s)\n", version_number(), version_commit(),
                                version_dirty() ? ", with changes" : "");
    return print_all(text, (size_t)length, &error) ? EXIT_OK : fail(&error);
}
