/* The table of options. One line gives an option its name, argument, help and subcommands; everything that shows or reads
 * options works from here. */
#include "cli/cli.h"
#include "profiles/keys.h"
#include "report/axis.h"
#include "report/report.h"
#include "tui/style.h"
#include <string.h>

#define SCREEN (FOR(RUN) | FOR(ATTACH) | FOR(VIEW) | FOR(REPLAY))
#define EVERY ((1u << SUBCOMMAND_COUNT) - 1)

/* An axis: `key` of the profile, a comma list sweeps it. */
#define AXIS(name, key, argument, help)                                                                                \
    {                                                                                                                  \
        name, 0, ARGUMENT_TEXT, argument, NULL, key, NULL, FOR(RUN), help                                              \
    }

static const struct option_info options[OPTION_COUNT] = {
    [OPTION_DEVICE] = {"device", 'd', ARGUMENT_CHOICE, "LIST", NULL, "device", NULL, FOR(RUN) | FOR(VERIFY),
                       "Devices to run on"},
    [OPTION_MODEL] = {"model", 'm', ARGUMENT_CHOICE, "LIST", NULL, "model", NULL, FOR(RUN) | FOR(VERIFY),
                      "Models: presets such as S, tiny or cs336-2026/small, or attention"},
    [OPTION_D_MODEL] = AXIS("d-model", "d_model", "LIST", "Width of the residual stream, instead of the preset's"),
    [OPTION_D_FF] = AXIS("d-ff", "d_ff", "LIST", "Width of the feed-forward layer, instead of the preset's"),
    [OPTION_NUM_LAYERS] = AXIS("num-layers", "num_layers", "LIST", "Number of blocks, instead of the preset's"),
    [OPTION_NUM_HEADS] = AXIS("num-heads", "num_heads", "LIST", "Number of attention heads, instead of the preset's"),
    [OPTION_VOCAB_SIZE] = AXIS("vocab-size", "vocab_size", "LIST", "Number of tokens, instead of the preset's"),
    [OPTION_BATCH_SIZE] = {"batch-size", 'b', ARGUMENT_TEXT, "LIST", NULL, "batch_size", NULL, FOR(RUN) | FOR(VERIFY),
                           "Sequences a step"},
    [OPTION_CONTEXT_LENGTH] = {"context-length", 'c', ARGUMENT_TEXT, "LIST", NULL, "context_length", NULL,
                               FOR(RUN) | FOR(VERIFY), "Tokens a sequence"},
    [OPTION_DTYPE] = {"dtype", 't', ARGUMENT_CHOICE, "LIST", NULL, "dtype", NULL, FOR(RUN) | FOR(VERIFY),
                      "Precisions of the matrix products"},
    [OPTION_COMPILE] = {"compile", 0, ARGUMENT_CHOICE, "LIST", NULL, "compile", NULL, FOR(RUN) | FOR(VERIFY),
                        "Eager (false), fused and tuned (true), or both"},
    [OPTION_CHECKPOINT] = {"checkpoint", 0, ARGUMENT_CHOICE, "LIST", NULL, "checkpoint", NULL, FOR(RUN),
                           "Keep all activations (none) or recompute each block in backward (block)"},
    [OPTION_RANKS] =
        AXIS("ranks", "ranks", "LIST", "Processes that train one model, each on a device and a batch of its own"),
    [OPTION_PARALLEL] = {"parallel", 0, ARGUMENT_CHOICE, "LIST", NULL, "parallel", NULL, FOR(RUN),
                         "How ranks bring their gradients together: docs/ranks.md"},
    [OPTION_COLLECTIVE] = {"collective", 0, ARGUMENT_CHOICE, "LIST", NULL, "collective", NULL, FOR(RUN),
                           "Instead of a model, a collective of --bucket-mb and --grad-dtype: steptop run collectives"},
    [OPTION_BUCKET_MB] =
        AXIS("bucket-mb", "bucket_mb", "LIST", "Megabytes of gradients that bucket and zero1 send at once"),
    [OPTION_GRAD_DTYPE] = {"grad-dtype", 0, ARGUMENT_CHOICE, "LIST", NULL, "grad_dtype", NULL, FOR(RUN),
                           "Type of gradients between ranks"},
    [OPTION_THREADS] = AXIS("threads", "threads", "LIST", "CPU threads, divided among the ranks; 0 is all"),
    [OPTION_PASSES] = {"passes", 'p', ARGUMENT_CHOICE, "LIST", NULL, "passes", NULL, FOR(RUN),
                       "What a step runs; a list runs each"},
    [OPTION_WARMUP] = {"warmup", 'w', ARGUMENT_TEXT, "LIST", NULL, "warmup", NULL, FOR(RUN),
                       "Warm-up steps before the counted ones; a list sweeps it"},
    [OPTION_STEPS] = {"steps", 'n', ARGUMENT_TEXT, "N", NULL, "steps", NULL, FOR(RUN),
                      "Timed steps of each pass, or forever"},
    [OPTION_SEED] = AXIS("seed", "seed", "LIST", "Seed of weights and tokens"),
    [OPTION_TIMEOUT] = AXIS("timeout", "timeout_s", "SECONDS", "End a cell after this long; 0 is never"),
    [OPTION_REPETITIONS] = {"repetitions", 0, ARGUMENT_TEXT, "N", NULL, "repetitions", NULL, FOR(RUN),
                            "Run the whole matrix this often"},
    [OPTION_INTERLEAVE] = {"interleave", 0, ARGUMENT_NONE, NULL, NULL, "interleave", "true", FOR(RUN),
                           "With repetitions: all cells once, then all again, in an order turned each time"},
    [OPTION_ON_OOM] = {"on-oom", 0, ARGUMENT_CHOICE, "WHAT", NULL, "on_oom", NULL, FOR(RUN),
                       "After a cell that does not fit: go on, or skip the cells that need more"},
    [OPTION_PROFILE_EVERY] = {"profile-every", 0, ARGUMENT_TEXT, "N", NULL, "every", NULL, FOR(RUN),
                              "A profiled step after every N timed ones; 0 is never"},
    [OPTION_COUNTERS] = {"counters", 0, ARGUMENT_CHOICE, "MODE", NULL, "counters", NULL, FOR(RUN),
                         "Hardware counters: off, where they can be had (auto), or required (on)"},
    [OPTION_NO_MEMORY] = {"no-memory", 0, ARGUMENT_NONE, NULL, NULL, "memory", "false", FOR(RUN),
                          "Leave the memory ledger out of the report"},
    [OPTION_JOIN] = {"join", 0, ARGUMENT_TEXT, "WHERE", NULL, NULL, NULL, FOR(RUN),
                     "Started by torchrun, mpirun or srun, be one of their ranks: launcher, or HOST:PORT of rank 0 "
                     "(docs/ranks.md)"},
    [OPTION_BATCH] = {"batch", 'B', ARGUMENT_NONE, NULL, NULL, NULL, NULL, FOR(RUN) | FOR(ATTACH) | FOR(REPLAY),
                      "No screen: progress on stderr, the table on stdout, as without a terminal"},
    [OPTION_DRY_RUN] = {"dry-run", 0, ARGUMENT_NONE, NULL, NULL, NULL, NULL, FOR(RUN),
                        "Run nothing: list the cells with FLOPs, planned memory and whether they fit"},
    [OPTION_RESUME] = {"resume", 0, ARGUMENT_FILE, "REPORT", NULL, NULL, NULL, FOR(RUN),
                       "Keep the finished cells of this report and run the others"},
    [OPTION_WINDOW] = {"steps", 'n', ARGUMENT_TEXT, "N", NULL, NULL, NULL, FOR(ATTACH),
                       "Measure so many steps, then leave the program alone; its end is still waited for"},
    [OPTION_PID] = {"pid", 0, ARGUMENT_TEXT, "N", NULL, NULL, NULL, FOR(ATTACH),
                    "Instead of a COMMAND, a Python process with PyTorch that runs already; it is left as it was"},
    [OPTION_SKIP] = {"skip", 0, ARGUMENT_TEXT, "N", NULL, NULL, NULL, FOR(ATTACH),
                     "Steps that are warm-up and not counted, beyond the first"},
    [OPTION_FOR] = {"for", 0, ARGUMENT_TEXT, "TIME", NULL, NULL, NULL, FOR(ATTACH),
                    "The same as --steps by the clock, from the first record on: 30s, 5m, 1h"},
    [OPTION_DETAIL] = {"detail", 0, ARGUMENT_CHOICE, "WHAT", "ops layers", NULL, NULL, FOR(ATTACH),
                       "On the CPU: each op (ops), or modules and phases alone, which costs less (layers)"},
    [OPTION_RECORD] = {"record", 0, ARGUMENT_FILE, "FILE", NULL, NULL, NULL, FOR(RUN),
                       "Write every record to this file, for steptop replay"},
    [OPTION_REFERENCE] = {"reference", 0, ARGUMENT_FILE, "FOLDER", NULL, NULL, NULL, FOR(VERIFY),
                          "Compare with what PyTorch wrote to this folder (tests/peers/make_reference.py)"},
    [OPTION_ACROSS] = {"across", 0, ARGUMENT_CHOICE, "AXIS", NULL, NULL, NULL, FOR(DIFF),
                       "Compare the cells of one report, or of several together, that differ in this alone: compile, "
                       "dtype, context, batch or another key of a profile"},
    [OPTION_THRESHOLD] = {"threshold", 0, ARGUMENT_TEXT, "PERCENT", NULL, NULL, NULL, FOR(DIFF),
                          "The smallest change that counts as faster or slower (default 2%)"},
    [OPTION_SPEED] = {"speed", 0, ARGUMENT_TEXT, "FACTOR", NULL, NULL, NULL, FOR(REPLAY),
                      "How many times as fast as it was recorded (default 1 on a screen, else max)"},
    [OPTION_FORMAT] = {"format", 'f', ARGUMENT_CHOICE, "FORMAT", NULL, NULL, NULL,
                       FOR(RUN) | FOR(ATTACH) | FOR(REPORT) | FOR(REPLAY),
                       "Format of the report on stdout (default markdown); kernels is their CSV"},
    [OPTION_DEVICES_FORMAT] = {"format", 'f', ARGUMENT_CHOICE, "FORMAT", "markdown csv", NULL, NULL, FOR(DEVICES),
                               "Format of the list on stdout (default markdown)"},
    [OPTION_DIFF_FORMAT] = {"format", 'f', ARGUMENT_CHOICE, "FORMAT", "text markdown", NULL, NULL, FOR(DIFF),
                            "For reading here (text, the default) or for a pull request (markdown)"},
    [OPTION_OUTPUT] = {"output", 'o', ARGUMENT_FILE, "FILE", NULL, NULL, NULL,
                       FOR(RUN) | FOR(ATTACH) | FOR(REPORT) | FOR(REPLAY) | FOR(DIFF) | FOR(PROFILES) | FOR(VERIFY),
                       "Write to this file (run, replay: the YAML report, renewed after every cell; the others: - is "
                       "standard output)"},
    [OPTION_MARKDOWN] = {"markdown", 0, ARGUMENT_FILE, "FILE", NULL, NULL, NULL,
                         FOR(RUN) | FOR(ATTACH) | FOR(REPORT) | FOR(REPLAY),
                         "Write the Markdown report to this file as well, and its pictures (.svg) beside it"},
    [OPTION_CSV] = {"csv", 0, ARGUMENT_FILE, "FILE", NULL, NULL, NULL,
                    FOR(RUN) | FOR(ATTACH) | FOR(REPORT) | FOR(REPLAY),
                    "Write the figures as CSV to this file as well"},
    [OPTION_JSON] = {"json", 0, ARGUMENT_FILE, "FILE", NULL, NULL, NULL,
                     FOR(RUN) | FOR(ATTACH) | FOR(REPORT) | FOR(REPLAY),
                     "Write the report as JSON to this file as well"},
    [OPTION_PERFETTO] = {"perfetto", 0, ARGUMENT_FILE, "FILE", NULL, NULL, NULL,
                         FOR(RUN) | FOR(ATTACH) | FOR(REPORT) | FOR(REPLAY),
                         "Write a trace for ui.perfetto.dev to this file as well"},
    [OPTION_SVG] = {"svg", 0, ARGUMENT_FILE, "FILE", NULL, NULL, NULL,
                    FOR(RUN) | FOR(ATTACH) | FOR(REPORT) | FOR(REPLAY), "Draw the report to this SVG file as well"},
    [OPTION_HTML] = {"html", 0, ARGUMENT_FILE, "FILE", NULL, NULL, NULL,
                     FOR(RUN) | FOR(ATTACH) | FOR(REPORT) | FOR(REPLAY),
                     "Write the report as one self-contained HTML file as well"},
    [OPTION_HANDOUT] = {"handout", 0, ARGUMENT_NONE, NULL, NULL, NULL, NULL, FOR(REPORT),
                        "Answer the questions of the course's handout, in its order (markdown or csv)"},
    [OPTION_FINDINGS] = {"findings", 0, ARGUMENT_NONE, NULL, NULL, NULL, NULL, FOR(REPORT),
                         "Say what bounds each step, with evidence and what to try (steptop help findings)"},
    [OPTION_FAIL_ON] = {"fail-on", 0, ARGUMENT_TEXT, "RULES", NULL, NULL, NULL,
                        FOR(RUN) | FOR(ATTACH) | FOR(REPORT) | FOR(REPLAY),
                        "End with exit code 6 when one of these findings is there: rules, or any"},
    [OPTION_FORCE] = {"force", 0, ARGUMENT_NONE, NULL, NULL, NULL, NULL, FOR(PROFILES),
                      "Replace the file when there is one"},
    [OPTION_QUIET] = {"quiet", 'q', ARGUMENT_NONE, NULL, NULL, NULL, NULL,
                      FOR(RUN) | FOR(REPLAY) | FOR(VERIFY) | FOR(PROFILES),
                      "No progress on stderr; profiles: names only"},
    [OPTION_ASCII] = {"ascii", 0, ARGUMENT_NONE, NULL, NULL, NULL, NULL, SCREEN, "Draw with ASCII characters only"},
    [OPTION_NO_COLOR] = {"no-color", 0, ARGUMENT_NONE, NULL, NULL, NULL, NULL, SCREEN,
                         "No colours (as with NO_COLOR set)"},
    [OPTION_NO_MOUSE] = {"no-mouse", 0, ARGUMENT_NONE, NULL, NULL, NULL, NULL, SCREEN,
                         "Leave the mouse to the terminal, for selecting text"},
    [OPTION_THEME] = {"theme", 0, ARGUMENT_CHOICE, "NAME", NULL, NULL, NULL, SCREEN, "Colours of the screen"},
    [OPTION_HELP] = {"help", 'h', ARGUMENT_NONE, NULL, NULL, NULL, NULL, EVERY, "Show this help"},
    [OPTION_VERSION] = {"version", 'V', ARGUMENT_NONE, NULL, NULL, NULL, NULL, EVERY,
                        "Print the version and the commit it was built from"},
};

const struct option_info *option_info(enum option_id option)
{
    return &options[option];
}

static void word(struct strbuf *out, const char *text)
{
    strbuf_printf(out, "%s%s", out->length ? " " : "", text);
}

static void key_words(const struct profile_key *key, struct strbuf *out)
{
    char names[64][KEY_CHOICE_SIZE];
    const int count = key_choices(key, names, sizeof names / sizeof *names);
    for (int i = 0; i < count; i++) {
        const char *family = strchr(names[i], '/'); /* names of models are given with it or without */
        if (!strchr(names[i], ','))                 /* a list is made of the words */
            word(out, family ? family + 1 : names[i]);
    }
    if (key->type == VALUE_MODEL)
        word(out, "attention");
}

static void axis_words(struct strbuf *out)
{
    for (int i = 0; i < AXIS_COUNT; i++)
        word(out, axis_of((enum axis_id)i)->key);
}

void option_choices(const struct option_info *info, struct strbuf *out)
{
    int count;
    const struct profile_key *keys = profile_keys(&count);
    if (info->kind != ARGUMENT_CHOICE)
        return;
    if (info->choices)
        word(out, info->choices);
    for (int i = 0; info->key && i < count; i++)
        if (strcmp(keys[i].name, info->key) == 0)
            key_words(&keys[i], out);
    if (info == &options[OPTION_ACROSS])
        axis_words(out);
    for (int i = 0; info == &options[OPTION_FORMAT] && i < FORMAT_COUNT; i++)
        word(out, report_format_name((enum report_format)i));
    for (int i = 0; info == &options[OPTION_THEME] && i < THEME_COUNT; i++)
        word(out, theme_names[i]);
}
