/* steptop profiles: those there are; steptop profiles new NAME: a commented one to start from. */
#include "base/file.h"
#include "base/text.h"
#include "base/xdg.h"
#include "cli/cli.h"
#include "cli/outputs.h"
#include "profiles/profile.h"
#include "report/escape.h"
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define LISTED_MAX 256

static void put_line(struct strbuf *out, const char *text)
{
    text_terminal(out, text, false);
    strbuf_putc(out, '\n');
}

static int list_profiles(bool names_only)
{
    struct profile_listing *listings = calloc(LISTED_MAX, sizeof *listings);
    struct strbuf text = {0};
    struct error error = {0};
    const int count = listings ? profile_list(listings, LISTED_MAX) : 0;
    for (int i = 0; i < count; i++) {
        if (names_only) {
            put_line(&text, listings[i].name);
            continue;
        }
        struct strbuf name = {0};
        text_terminal(&name, listings[i].name, false);
        strbuf_printf(&text, "%-12s ", name.text ? name.text : "");
        strbuf_release(&name);
        put_line(&text, listings[i].description);
        strbuf_puts(&text, "             ");
        put_line(&text, listings[i].path);
    }
    bool done = true;
    if (count)
        done = print_all(text.text, text.length, &error);
    else if (!names_only)
        say("No profiles found; `steptop profiles new NAME` writes one.");
    free(listings);
    strbuf_release(&text);
    return done ? EXIT_OK : fail(&error);
}

/* Letters, digits, - _ . and no dot in front: it becomes a file's name. */
static bool name_good(const char *name)
{
    return name[0] && name[0] != '.' && name[0] != '-' && strlen(name) < 60 &&
           !name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")];
}

/* A name that was given as the file that it will be: the ending comes by itself. */
static void without_ending(const char *given, char *name, size_t size)
{
    snprintf(name, size, "%s", given);
    const size_t length = strlen(name);
    if (length > 5 && strcmp(name + length - 5, ".yaml") == 0)
        name[length - 5] = 0;
}

static int new_profile(const struct arguments *arguments, const char *given)
{
    struct error error = {0};
    char name[256];
    struct strbuf text = {0};
    struct stat stat;
    char folder[PATH_MAX], path[PATH_MAX + 264]; /* a name of a file has at most 255 bytes */
    const char *output = arguments->value[OPTION_OUTPUT];
    bool done = false;
    without_ending(given, name, sizeof name);
    if (!name_good(name)) {
        error_set(&error, ERROR_USAGE, "'%.80s' cannot be a profile's name: letters, digits, - _ and . can be in it",
                  name);
        return fail(&error);
    }
    const bool to_output = output && strcmp(output, "-") == 0;
    struct strbuf run_as = {0}; /* in the user's folder it is found by its name, elsewhere by its path */
    clean_text(&run_as, output && !to_output ? output : name, strlen(output && !to_output ? output : name));
    strbuf_puts(&run_as, "");
    profile_template(name, run_as.text, &text);
    strbuf_release(&run_as);
    if (to_output) {
        done = print_all(text.text, text.length, &error);
        goto cleanup;
    }
    if (output)
        snprintf(path, sizeof path, "%s", output);
    else if (!xdg_path(XDG_CONFIG, "profiles", folder, sizeof folder, &error) ||
             !directory_create(folder, 0777, &error))
        goto cleanup;
    else
        snprintf(path, sizeof path, "%s/%s.yaml", folder, name);
    if (!arguments->value[OPTION_FORCE] && lstat(path, &stat) == 0) {
        error_set(&error, ERROR_SYSTEM, "%s is there already; --force replaces it", path);
        goto cleanup;
    }
    if (!files_apart(&(struct named_file){"--output", path, true, false}, 1, &error) ||
        !file_write_atomic(path, text.text, text.length, &error))
        goto cleanup;
    strbuf_clear(&text);
    put_line(&text, path);
    done = print_all(text.text, text.length, &error);
cleanup:
    strbuf_release(&text);
    return done ? EXIT_OK : fail(&error);
}

int command_profiles(const struct arguments *arguments)
{
    struct error error = {0};
    if (arguments->positional_count == 0)
        return list_profiles(arguments->value[OPTION_QUIET] != NULL);
    if (strcmp(arguments->positional[0], "new") != 0) {
        error_set(&error, ERROR_USAGE, "'%.80s' is not something that profiles can do; it is: profiles new NAME",
                  arguments->positional[0]);
        return fail(&error);
    }
    if (arguments->positional_count < 2) {
        error_set(&error, ERROR_USAGE, "profiles new needs a name: profiles new NAME");
        return fail(&error);
    }
    return new_profile(arguments, arguments->positional[1]);
}
