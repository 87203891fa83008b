/* Where profiles are found. */
#include "base/file.h"
#include "base/suggest.h"
#include "base/system.h"
#include "base/xdg.h"
#include "profiles/profile.h"
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDERS_MAX 5
#define LISTED_MAX 256

struct folders {
    char path[FOLDERS_MAX][512];
    int count;
};

static void add_folder(struct folders *folders, const char *base, const char *below)
{
    char joined[PATH_MAX], real[PATH_MAX];
    const int length = snprintf(joined, sizeof joined, "%s%s", base, below);
    if (length < 0 || (size_t)length >= sizeof joined || !realpath(joined, real) ||
        strlen(real) >= sizeof folders->path[0])
        return;
    for (int i = 0; i < folders->count; i++) {
        if (strcmp(folders->path[i], real) == 0)
            return;
    }
    strcpy(folders->path[folders->count++], real);
}

static void find_folders(struct folders *folders)
{
    *folders = (struct folders){0};
    char path[PATH_MAX];
    const char *variable = getenv("STEPTOP_PROFILE_FOLDER");
    if (variable && variable[0] == '/')
        add_folder(folders, variable, "");
    if (xdg_path(XDG_CONFIG, "profiles", path, sizeof path, NULL))
        add_folder(folders, path, "");
    if (program_path(path, sizeof path)) {
        char *slash = strrchr(path, '/');
        *slash = 0;
        /* A build's folder has a link to the source's; an installation is found wherever it was moved to. */
        add_folder(folders, path, "/share/profiles");
        add_folder(folders, path, "/../share/steptop/profiles");
    }
    add_folder(folders, STEPTOP_DATA_FOLDER, "/steptop/profiles");
}

static bool is_profile_file(const char *name)
{
    const size_t length = strlen(name);
    return name[0] != '.' && length > 5 && length - 5 < sizeof((struct profile_listing *)0)->name &&
           strcmp(name + length - 5, ".yaml") == 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct profile_listing *)a)->name, ((const struct profile_listing *)b)->name);
}

/* The description, or the first sentence of what is wrong with the file. */
static void describe(struct profile_listing *listing)
{
    struct profile profile;
    struct error error = {0};
    char *text = NULL;
    size_t length;
    listing->description[0] = 0;
    if (!file_read(listing->path, PROFILE_BYTES_MAX, &text, &length, &error) ||
        !profile_parse(text, length, listing->path, &profile, &error)) {
        snprintf(listing->description, sizeof listing->description, "invalid: steptop run %.64s says why",
                 listing->name);
    } else {
        snprintf(listing->description, sizeof listing->description, "%s", profile.description);
        profile_free(&profile);
    }
    free(text);
}

int profile_list(struct profile_listing *listings, int max)
{
    struct folders folders;
    find_folders(&folders);
    int count = 0;
    for (int i = 0; i < folders.count; i++) {
        DIR *folder = opendir(folders.path[i]);
        for (struct dirent *entry; folder && (entry = readdir(folder)) && count < max;) {
            if (!is_profile_file(entry->d_name))
                continue;
            struct profile_listing *listing = &listings[count];
            snprintf(listing->name, sizeof listing->name, "%.*s", (int)(strlen(entry->d_name) - 5), entry->d_name);
            bool seen = false;
            for (int j = 0; j < count && !seen; j++)
                seen = strcmp(listings[j].name, listing->name) == 0;
            const int length = snprintf(listing->path, sizeof listing->path, "%s/%s", folders.path[i], entry->d_name);
            if (seen || length < 0 || (size_t)length >= sizeof listing->path)
                continue;
            count++;
        }
        if (folder)
            closedir(folder);
    }
    for (int i = 0; i < count; i++)
        describe(&listings[i]);
    if (count)
        qsort(listings, (size_t)count, sizeof *listings, by_name);
    return count;
}

/* "seed" → the path of seed.yaml in the first folder that has it. */
static bool find_by_name(const char *name, char *path, size_t size)
{
    struct folders folders;
    find_folders(&folders);
    for (int i = 0; i < folders.count; i++) {
        const int length = snprintf(path, size, "%s/%s.yaml", folders.path[i], name);
        struct stat stat;
        /* A link that leads nowhere or in a circle is one that is there: opening it says what is wrong with it. */
        if (length > 0 && (size_t)length < size && lstat(path, &stat) == 0)
            return true;
    }
    return false;
}

static bool no_profile(const char *name, struct error *error)
{
    struct profile_listing *listings = calloc(LISTED_MAX, sizeof *listings);
    const int count = listings ? profile_list(listings, LISTED_MAX) : 0;
    const char *names[LISTED_MAX];
    for (int i = 0; i < count; i++)
        names[i] = strcmp(listings[i].name, name) ? listings[i].name : NULL;
    const char *near = suggest(name, names, (size_t)count);
    error_set(error, ERROR_INPUT, "there is no profile '%.128s'%s%s%s", name,
              near ? "; did you mean '"
                   : "; 'steptop profiles' lists those there are, and a file is named with its path",
              near ? near : "", near ? "'?" : "");
    free(listings);
    return false;
}

/* A bare name is looked for in the folders first. */
static bool is_bare(const char *name)
{
    const size_t length = strlen(name);
    return strcmp(name, "-") != 0 && !strchr(name, '/') && !(length > 5 && strcmp(name + length - 5, ".yaml") == 0);
}

bool profile_path(const char *name, char *path, size_t size)
{
    if (is_bare(name) && find_by_name(name, path, size))
        return true;
    const int length = snprintf(path, size, "%s", name);
    return length >= 0 && (size_t)length < size;
}

bool profile_read(const char *path, struct profile *profile, struct error *error)
{
    char found[1024], *text = NULL;
    size_t length;
    struct stat stat;
    if (is_bare(path) && find_by_name(path, found, sizeof found))
        path = found;
    else if (is_bare(path) && lstat(path, &stat) != 0)
        return no_profile(path, error);
    if (!file_read(path, PROFILE_BYTES_MAX, &text, &length, error))
        return false;
    const bool done = profile_parse(text, length, strcmp(path, "-") == 0 ? "standard input" : path, profile, error);
    free(text);
    return done;
}
