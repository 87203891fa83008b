#include "cli/outputs.h"
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The checks of file_write_atomic, before an hour of measuring and not after it. */
static bool check_path(const char *flag, const char *path, struct error *error)
{
    struct stat stat;
    char parent[PATH_MAX];
    if (strcmp(path, "-") == 0)
        return error_set(error, ERROR_USAGE,
                         "%s -: this file is written whole and renewed, which standard output cannot be; --format "
                         "prints a report there (a file called - is ./-)",
                         flag);
    if (strlen(path) >= sizeof parent)
        return error_set(error, ERROR_USAGE, "%s: the path is too long", flag);
    if (lstat(path, &stat) == 0 && !S_ISREG(stat.st_mode))
        return error_set(error, ERROR_USAGE, "%s %s: that is %s; name another file", flag, path,
                         S_ISDIR(stat.st_mode)   ? "a folder"
                         : S_ISLNK(stat.st_mode) ? "a symbolic link, which is not followed"
                                                 : "not a plain file");
    strcpy(parent, path);
    const char *folder = dirname(parent);
    if (lstat(folder, &stat) != 0)
        return error_set(error, ERROR_USAGE, "%s %s: there is no folder %s", flag, path, folder);
    if (access(folder, W_OK | X_OK) != 0)
        return error_set(error, ERROR_USAGE, "%s %s: cannot write to the folder %s: %s", flag, path, folder,
                         strerror(errno));
    return true;
}

/* Do both name the same place, however it is spelled? The files need not exist, their folders do. */
static bool same_file(const char *a, const char *b)
{
    char copies[2][PATH_MAX], bases[2][PATH_MAX], folders[2][PATH_MAX];
    const char *paths[2] = {a, b};
    for (int i = 0; i < 2; i++) {
        strcpy(copies[i], paths[i]);
        if (!realpath(dirname(copies[i]), folders[i]))
            return false;
        strcpy(copies[i], paths[i]);
        strcpy(bases[i], basename(copies[i]));
    }
    return strcmp(folders[0], folders[1]) == 0 && strcmp(bases[0], bases[1]) == 0;
}

static bool add(struct outputs *outputs, enum report_format format, enum option_id option, const char *path,
                struct error *error)
{
    char flag[48];
    snprintf(flag, sizeof flag, "--%s", option_info(option)->name);
    if (!check_path(flag, path, error))
        return false;
    for (int i = 0; i < outputs->count; i++) {
        if (same_file(outputs->items[i].path, path))
            return error_set(error, ERROR_USAGE, "%s %s: another option writes to this file already", flag, path);
    }
    outputs->items[outputs->count++] = (struct output){format, path};
    return true;
}

/* Pictures are written beside a Markdown file: is one of them a file that another option names? */
static bool pictures_apart(const struct outputs *outputs, const char *markdown, struct error *error)
{
    struct strbuf picture = {0};
    bool apart = true;
    for (size_t n = 0; apart && report_picture_path(markdown, n, &picture); n++, strbuf_clear(&picture))
        for (int i = 0; apart && i < outputs->count; i++)
            if (same_file(outputs->items[i].path, picture.text))
                apart = error_set(error, ERROR_USAGE, "%s: a picture beside %s is written to this file; name another",
                                  outputs->items[i].path, markdown);
    strbuf_release(&picture);
    return apart;
}

bool outputs_take(struct outputs *outputs, const struct arguments *arguments, enum report_format format,
                  struct error *error)
{
    /* What goes on from a report goes on in that file. */
    const enum option_id first = arguments->value[OPTION_OUTPUT] ? OPTION_OUTPUT : OPTION_RESUME;
    const struct {
        enum option_id option;
        enum report_format format;
    } options[] = {
        {first, format},
        {OPTION_MARKDOWN, FORMAT_MARKDOWN},
        {OPTION_CSV, FORMAT_CSV},
        {OPTION_JSON, FORMAT_JSON},
        {OPTION_PERFETTO, FORMAT_PERFETTO},
        {OPTION_SVG, FORMAT_SVG},
    };
    *outputs = (struct outputs){0};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        const char *path = arguments->value[options[i].option];
        if (path && !add(outputs, options[i].format, options[i].option, path, error))
            return false;
    }
    for (int i = 0; i < outputs->count; i++)
        if (outputs->items[i].format == FORMAT_MARKDOWN && !pictures_apart(outputs, outputs->items[i].path, error))
            return false;
    return true;
}

bool outputs_write(const struct outputs *outputs, const struct report *report, struct error *error)
{
    bool done = true;
    for (int i = 0; i < outputs->count; i++) {
        struct error problem = {0};
        if (!report_write(report, outputs->items[i].format, outputs->items[i].path, &problem) && done) {
            done = false;
            *error = problem;
        }
    }
    return done;
}
