/* From argv to struct arguments, by getopt_long over the option table. */
#include "base/suggest.h"
#include "cli/cli.h"
#include "tui/style.h"
#include <getopt.h>
#include <stdio.h>
#include <string.h>

/* The first value of getopt's results that cannot be a letter. */
#define LONG_BASE 1000

static bool belongs(const struct option_info *info, enum subcommand command)
{
    return info->commands & (1u << command);
}

/* Words like "steptop report": for messages. */
static const char *command_words(enum subcommand command)
{
    const struct subcommand_info *info = subcommand_info(command);
    return info ? info->name : "steptop";
}

static bool unknown_option(const char *given, enum subcommand command, struct error *error)
{
    const char *names[OPTION_COUNT] = {0};
    const char *bare = given + strspn(given, "-");
    char word[64];
    snprintf(word, sizeof word, "%.*s", (int)strcspn(bare, "="), bare);
    unsigned elsewhere = 0;
    for (int i = 0; i < OPTION_COUNT; i++) {
        const struct option_info *info = option_info((enum option_id)i);
        if (belongs(info, command))
            names[i] = info->name;
        else if (strcmp(info->name, word) == 0)
            elsewhere = info->commands;
    }
    for (int i = 0; i < SUBCOMMAND_COUNT; i++) {
        if (elsewhere & (1u << i) && subcommand_info((enum subcommand)i))
            return error_set(error, ERROR_USAGE, "--%s is an option of '%s', not of '%s'", word,
                             command_words((enum subcommand)i), command_words(command));
    }
    /* getopt_long takes unambiguous beginnings; an ambiguous one lands here. */
    const char *begins[2] = {0};
    for (int i = 0; i < OPTION_COUNT && word[0] && !begins[1]; i++) {
        if (names[i] && strncmp(names[i], word, strlen(word)) == 0)
            begins[begins[0] != NULL] = names[i];
    }
    if (begins[1])
        return error_set(error, ERROR_USAGE, "'--%s' could be --%s or --%s; write it in full", word, begins[0],
                         begins[1]);
    const char *near = suggest(word, names, OPTION_COUNT);
    return error_set(error, ERROR_USAGE, "'%.*s' is not an option of '%s'%s%s%s", (int)strcspn(given, "="), given,
                     command_words(command), near ? "; did you mean '--" : "", near ? near : "", near ? "'?" : "");
}

static bool check_words(const struct arguments *arguments, struct error *error)
{
    const struct subcommand_info *info = subcommand_info(arguments->command);
    const int count = arguments->positional_count;
    if (!info)
        return true;
    if (count > info->positional_max)
        return error_set(error, ERROR_USAGE, "'%s' is one word too many for '%s', which takes %s",
                         arguments->positional[info->positional_max], info->name,
                         info->positional_max ? info->positional : "none");
    if (count < info->positional_min)
        return error_set(error, ERROR_USAGE, "'%s' needs %s", info->name, info->positional);
    return true;
}

/* Puts one option in its place; `argument` is NULL for an option without one. */
static bool take(struct arguments *arguments, enum option_id option, const char *argument, struct error *error)
{
    const struct option_info *info = option_info(option);
    if (!argument)
        arguments->value[option] = "";
    else if (arguments->value[option])
        return error_set(error, ERROR_USAGE, "--%s is given twice ('%s' and '%s')%s", info->name,
                         arguments->value[option], argument,
                         info->argument && strcmp(info->argument, "LIST") == 0 ? "; several values are one comma list"
                                                                               : "; leave one out");
    else if (argument[0] == 0)
        return error_set(error, ERROR_USAGE, "--%s is given an empty %s", info->name, info->argument);
    else
        arguments->value[option] = argument;
    return true;
}

bool arguments_parse(int argc, char **argv, struct arguments *arguments, struct error *error)
{
    struct option longs[OPTION_COUNT + 1] = {0};
    char shorts[2 * OPTION_COUNT + 3] = ":";
    size_t count = 0, used = 1;
    if (arguments->command == SUBCOMMAND_ATTACH) { /* what comes after the command's first word is the command's */
        shorts[0] = '+';
        shorts[used++] = ':';
    }
    for (int i = 0; i < OPTION_COUNT; i++) {
        const struct option_info *info = option_info((enum option_id)i);
        if (!belongs(info, arguments->command))
            continue;
        const int has = info->argument ? required_argument : no_argument;
        longs[count++] = (struct option){info->name, has, NULL, LONG_BASE + i};
        if (info->letter) {
            shorts[used++] = info->letter;
            if (info->argument)
                shorts[used++] = ':';
        }
    }
    optind = 0; /* glibc: start afresh, so that tests may parse many lines */
    opterr = 0;
    for (;;) {
        /* Where a bad option stands: the word that getopt is in the middle of, or the one it is about to read. */
        const int at = optind ? optind : 1;
        const int got = getopt_long(argc, argv, shorts, longs, NULL);
        if (got < 0)
            break;
        if (got == '?' || got == ':') {
            const char *word = optind > at || optind == 0 ? argv[optind - 1] : argv[at];
            if (got == ':')
                return error_set(error, ERROR_USAGE, "%s needs an argument", word);
            if (optopt >= LONG_BASE)
                return error_set(error, ERROR_USAGE, "--%s takes no argument",
                                 option_info((enum option_id)(optopt - LONG_BASE))->name);
            char letter[3] = {'-', (char)optopt, 0};
            return unknown_option(strncmp(word, "--", 2) == 0 || !optopt ? word : letter, arguments->command, error);
        }
        int option = got - LONG_BASE;
        for (int i = 0; got < LONG_BASE && i < OPTION_COUNT; i++) {
            if (option_info((enum option_id)i)->letter == got &&
                belongs(option_info((enum option_id)i), arguments->command))
                option = i;
        }
        if (!take(arguments, (enum option_id)option, optarg, error))
            return false;
    }
    arguments->positional = (const char *const *)argv + optind;
    arguments->positional_count = argc - optind;
    if (arguments->value[OPTION_HELP] || arguments->value[OPTION_VERSION])
        return true;
    const char *theme = arguments->value[OPTION_THEME];
    if (theme && theme_find(theme) < 0) /* with or without a terminal */
        return error_set(error, ERROR_USAGE,
                         "--theme: there is no theme '%.60s'; there are default, light, mono and contrast", theme);
    return check_words(arguments, error);
}
