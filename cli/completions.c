#include "cli/cli.h"
#include "cli/help.h"
#include <string.h>

static bool visible(int command)
{
    const struct subcommand_info *info = subcommand_info((enum subcommand)command);
    return info && !info->hidden;
}

static bool takes(int command, int option)
{
    return visible(command) && option_info((enum option_id)option)->commands & (1u << command);
}

static bool takes_anywhere(int option)
{
    for (int i = 0; i < SUBCOMMAND_COUNT; i++) {
        if (takes(i, option))
            return true;
    }
    return false;
}

#define BLANK_AND(name, print) " " name
#define TOPICS HELP_TOPICS(BLANK_AND) /* each with a blank before it */

/* Another option of the same name, of other subcommands: --format. */
static bool has_namesake(int option)
{
    for (int i = 0; i < OPTION_COUNT; i++) {
        if (i != option && strcmp(option_info((enum option_id)i)->name, option_info((enum option_id)option)->name) == 0)
            return true;
    }
    return false;
}

static bool is_list(const struct option_info *info)
{
    return info->kind == ARGUMENT_CHOICE && strcmp(info->argument, "LIST") == 0;
}

static void bash_pattern(const char *command, const struct option_info *info, struct strbuf *out)
{
    strbuf_printf(out, "%s,--%s", command, info->name);
    if (info->letter)
        strbuf_printf(out, "|%s,-%c", command, info->letter);
}

/* "*,--output|*,-o": subcommand and option, the subcommand named only where it matters. */
static void bash_patterns(int option, struct strbuf *out)
{
    const struct option_info *info = option_info((enum option_id)option);
    const char *separator = "";
    if (!has_namesake(option)) {
        bash_pattern("*", info, out);
        return;
    }
    for (int i = 0; i < SUBCOMMAND_COUNT; i++) {
        if (!takes(i, option))
            continue;
        strbuf_puts(out, separator);
        bash_pattern(subcommand_info((enum subcommand)i)->name, info, out);
        separator = "|";
    }
}

static void command_names(struct strbuf *out)
{
    for (int i = 0; i < SUBCOMMAND_COUNT; i++) {
        if (visible(i))
            strbuf_printf(out, "%s%s", i ? " " : "", subcommand_info((enum subcommand)i)->name);
    }
}

/* Words of one subcommand; `run`'s also serve the command line without one. */
static void option_names(int command, struct strbuf *out)
{
    for (int i = 0; i < OPTION_COUNT; i++) {
        if (takes(command, i))
            strbuf_printf(out, " --%s", option_info((enum option_id)i)->name);
    }
}

void completion_bash(struct strbuf *out)
{
    strbuf_puts(out, "# bash completion for steptop, made by `steptop help bash`\n"
                     "_steptop() {\n"
                     "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command=run\n"
                     "    COMPREPLY=()\n"
                     "    [[ $COMP_CWORD -gt 1 && ${COMP_WORDS[1]} != -* ]] && command=${COMP_WORDS[1]}\n"
                     "    local before=\n"
                     "    [[ $cur == *,* ]] && before=${cur%,*},\n"
                     "    case $command,$prev in\n");
    for (int i = 0; i < OPTION_COUNT; i++) {
        const struct option_info *info = option_info((enum option_id)i);
        struct strbuf words = {0};
        if (info->kind == ARGUMENT_NONE || !takes_anywhere(i))
            continue;
        option_choices(info, &words);
        strbuf_puts(out, "    ");
        bash_patterns(i, out);
        strbuf_puts(out, ") ");
        if (info->kind == ARGUMENT_FILE)
            strbuf_puts(out, "COMPREPLY=($(compgen -f -- \"$cur\")); ");
        else if (is_list(info)) /* the word after the last comma */
            strbuf_printf(out, "COMPREPLY=($(compgen -P \"$before\" -W '%s' -- \"${cur##*,}\")); ", words.text);
        else if (info->kind == ARGUMENT_CHOICE)
            strbuf_printf(out, "COMPREPLY=($(compgen -W '%s' -- \"$cur\")); ", words.text);
        strbuf_puts(out, "return ;;\n");
        strbuf_release(&words);
    }
    strbuf_puts(out, "    esac\n    local options words=\n    case $command in\n");
    for (int i = 0; i < SUBCOMMAND_COUNT; i++) {
        if (!visible(i))
            continue;
        strbuf_printf(out, "    %s) options='", subcommand_info((enum subcommand)i)->name);
        option_names(i, out);
        strbuf_puts(out, "'");
        if (i == SUBCOMMAND_HELP) {
            strbuf_puts(out, " words='");
            command_names(out);
            strbuf_puts(out, TOPICS "'");
        }
        strbuf_puts(out, " ;;\n");
    }
    strbuf_puts(out, "    esac\n"
                     "    if [[ $cur == -* ]]; then\n"
                     "        COMPREPLY=($(compgen -W \"$options\" -- \"$cur\"))\n"
                     "    elif [[ $COMP_CWORD -eq 1 ]]; then\n"
                     "        COMPREPLY=($(compgen -W '");
    command_names(out);
    strbuf_puts(out, "' -- \"$cur\"))\n"
                     "    elif [[ $words ]]; then\n"
                     "        COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
                     "    elif [[ $command == run ]]; then\n"
                     "        COMPREPLY=($(compgen -f -- \"$cur\") $(compgen -W \"$(steptop profiles --quiet "
                     "2>/dev/null)\" -- \"$cur\"))\n"
                     "    elif [[ $command == profiles ]]; then\n"
                     "        COMPREPLY=($(compgen -W 'new' -- \"$cur\"))\n"
                     "    else\n"
                     "        COMPREPLY=($(compgen -f -- \"$cur\"))\n"
                     "    fi\n"
                     "}\n"
                     "complete -o filenames -F _steptop steptop\n");
}

/* In single quotes, for zsh and fish; `special` characters get a backslash. */
static void quoted(const char *text, const char *special, struct strbuf *out)
{
    for (; *text; text++) {
        if (*text == '\'')
            strbuf_puts(out, "'\\''");
        else {
            if (strchr(special, *text))
                strbuf_putc(out, '\\');
            strbuf_putc(out, *text);
        }
    }
}

static void zsh_option(const struct option_info *info, struct strbuf *out)
{
    /* '(-o --output)'{-o,--output}'[help]:FILE:_files' */
    struct strbuf words = {0};
    option_choices(info, &words);
    if (info->letter)
        strbuf_printf(out, "            '(-%c --%s)'{-%c,--%s}'[", info->letter, info->name, info->letter, info->name);
    else
        strbuf_printf(out, "            '--%s[", info->name);
    quoted(info->help, "[]:", out);
    strbuf_putc(out, ']');
    if (info->kind == ARGUMENT_FILE)
        strbuf_printf(out, ":%s:_files", info->argument);
    else if (is_list(info))
        strbuf_printf(out, ":%s:_sequence compadd - %s", info->argument, words.text);
    else if (info->kind == ARGUMENT_CHOICE)
        strbuf_printf(out, ":%s:(%s)", info->argument, words.text);
    else if (info->kind == ARGUMENT_TEXT)
        strbuf_printf(out, ":%s: ", info->argument);
    strbuf_puts(out, "' \\\n");
    strbuf_release(&words);
}

void completion_zsh(struct strbuf *out)
{
    strbuf_puts(out, "#compdef steptop\n# zsh completion for steptop, made by `steptop help zsh`\n"
                     "_steptop() {\n    local -a commands\n    commands=(\n");
    for (int i = 0; i < SUBCOMMAND_COUNT; i++) {
        if (!visible(i))
            continue;
        strbuf_printf(out, "        '%s:", subcommand_info((enum subcommand)i)->name);
        quoted(subcommand_info((enum subcommand)i)->help, ":", out);
        strbuf_puts(out, "'\n");
    }
    strbuf_puts(out, "    )\n"
                     "    if (( CURRENT == 2 )) && [[ $words[2] != -* ]]; then\n"
                     "        _describe subcommand commands\n        return\n    fi\n"
                     "    local command=run\n"
                     "    if [[ $words[2] != -* ]]; then command=$words[2]; shift words; (( CURRENT-- )); fi\n"
                     "    case $command in\n");
    for (int i = 0; i < SUBCOMMAND_COUNT; i++) {
        if (!visible(i))
            continue;
        strbuf_printf(out, "    %s)\n        _arguments -s \\\n", subcommand_info((enum subcommand)i)->name);
        for (int j = 0; j < OPTION_COUNT; j++) {
            if (takes(i, j))
                zsh_option(option_info((enum option_id)j), out);
        }
        if (i == SUBCOMMAND_HELP) {
            strbuf_puts(out, "            '1:topic:(");
            command_names(out);
            strbuf_puts(out, TOPICS ")' ;;\n");
        } else if (i == SUBCOMMAND_PROFILES)
            strbuf_puts(out, "            '1:action:(new)' '2:name: ' ;;\n");
        else
            strbuf_puts(out, "            '*:file:_files' ;;\n");
    }
    strbuf_puts(out, "    esac\n}\n_steptop \"$@\"\n");
}

void completion_fish(struct strbuf *out)
{
    strbuf_puts(out, "# fish completion for steptop, made by `steptop help fish`\n"
                     "complete -c steptop -n __fish_use_subcommand -f\n");
    for (int i = 0; i < SUBCOMMAND_COUNT; i++) {
        if (!visible(i))
            continue;
        strbuf_printf(out, "complete -c steptop -n __fish_use_subcommand -a %s -d '",
                      subcommand_info((enum subcommand)i)->name);
        quoted(subcommand_info((enum subcommand)i)->help, "", out);
        strbuf_puts(out, "'\n");
    }
    for (int i = 0; i < OPTION_COUNT; i++) {
        const struct option_info *info = option_info((enum option_id)i);
        struct strbuf words = {0};
        if (!takes_anywhere(i))
            continue;
        option_choices(info, &words);
        strbuf_puts(out, "complete -c steptop -n '");
        if (takes(SUBCOMMAND_RUN, i))
            strbuf_puts(out, "__fish_use_subcommand; or ");
        strbuf_puts(out, "__fish_seen_subcommand_from");
        for (int j = 0; j < SUBCOMMAND_COUNT; j++) {
            if (takes(j, i))
                strbuf_printf(out, " %s", subcommand_info((enum subcommand)j)->name);
        }
        strbuf_printf(out, "' -l %s", info->name);
        if (info->letter)
            strbuf_printf(out, " -s %c", info->letter);
        if (info->kind == ARGUMENT_FILE)
            strbuf_puts(out, " -r -F");
        else if (is_list(info))
            strbuf_printf(out, " -x -a '(__fish_append , %s)'", words.text);
        else if (info->kind == ARGUMENT_CHOICE)
            strbuf_printf(out, " -x -a '%s'", words.text);
        else if (info->kind == ARGUMENT_TEXT)
            strbuf_puts(out, " -x");
        strbuf_puts(out, " -d '");
        quoted(info->help, "", out);
        strbuf_puts(out, "'\n");
        strbuf_release(&words);
    }
    strbuf_puts(out, "complete -c steptop -n '__fish_seen_subcommand_from help' -f -a '");
    command_names(out);
    strbuf_puts(out, TOPICS "'\ncomplete -c steptop -n '__fish_seen_subcommand_from profiles' -f -a new\n");
}
