#include "cli/outputs.h"
#include "base/arena.h"
#include "base/vec.h"
#include "base/xdg.h"
#include "cli/kept.h"
#include "profiles/profile.h"
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STDOUT_PATH "/dev/stdout"
#define TEMPORARY_SUFFIX 7 /* what file_write_atomic adds to a name */

/* The checks of file_write_atomic, before an hour of measuring and not after it. */
bool check_path(const char *flag, const char *path, struct error *error)
{
    struct stat status;
    char parent[PATH_MAX];
    if (strcmp(path, "-") == 0)
        return error_set(error, ERROR_USAGE,
                         "%s -: this file is written whole and renewed, which standard output cannot be; --format "
                         "prints a report there (a file called - is ./-)",
                         flag);
    if (strlen(path) + TEMPORARY_SUFFIX >= sizeof parent)
        return error_set(error, ERROR_USAGE, "%s: the path is too long", flag);
    strcpy(parent, path);
    const char *base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    if (!*base || strcmp(base, ".") == 0 || strcmp(base, "..") == 0)
        return error_set(error, ERROR_USAGE, "%s %s: that is a folder; name a file", flag, path);
    if (lstat(path, &status) == 0 && !S_ISREG(status.st_mode))
        return error_set(error, ERROR_USAGE, "%s %s: that is %s; name another file", flag, path,
                         S_ISDIR(status.st_mode)   ? "a folder"
                         : S_ISLNK(status.st_mode) ? "a symbolic link, which is not followed"
                                                   : "not a plain file");
    const char *folder = dirname(parent);
    if (stat(folder, &status) != 0 || !S_ISDIR(status.st_mode))
        return error_set(error, ERROR_USAGE, "%s %s: there is no folder %s", flag, path, folder);
    if (access(folder, W_OK | X_OK) != 0)
        return error_set(error, ERROR_USAGE, "%s %s: cannot write to the folder %s: %s", flag, path, folder,
                         strerror(errno));
    const long longest = pathconf(folder, _PC_NAME_MAX);
    if (longest > 0 && strlen(base) + TEMPORARY_SUFFIX > (size_t)longest)
        return error_set(error, ERROR_USAGE, "%s %.40s…: the name is too long; %ld bytes are possible", flag, path,
                         longest - TEMPORARY_SUFFIX);
    return true;
}

/* What a path means: the file it leads to, or where it would be. */
struct identity {
    bool there;
    dev_t device;
    ino_t inode;
    char folder[PATH_MAX], base[NAME_MAX + 1];
};

static bool identify(const char *path, struct identity *identity)
{
    struct stat status;
    char copy[PATH_MAX];
    *identity = (struct identity){0};
    const bool input = strcmp(path, "-") == 0;
    if (input ? fstat(STDIN_FILENO, &status) == 0 && S_ISREG(status.st_mode) : stat(path, &status) == 0) {
        identity->there = true;
        identity->device = status.st_dev;
        identity->inode = status.st_ino;
    }
    if (input || strlen(path) >= sizeof copy)
        return identity->there;
    strcpy(copy, path);
    if (!realpath(dirname(copy), identity->folder))
        identity->folder[0] = 0;
    strcpy(copy, path);
    snprintf(identity->base, sizeof identity->base, "%s", basename(copy));
    return identity->there || identity->folder[0];
}

static bool same_file(const struct identity *a, const struct identity *b)
{
    if (a->there && b->there)
        return a->device == b->device && a->inode == b->inode;
    return a->folder[0] && strcmp(a->folder, b->folder) == 0 && strcmp(a->base, b->base) == 0;
}

/* Where standard output is a plain file, it is one of those that are written: a file that is renamed over it would be all that is left. */
static bool to_plain_file(void)
{
    struct stat status;
    return fstat(STDOUT_FILENO, &status) == 0 && S_ISREG(status.st_mode);
}

static bool within(const char *folder, enum xdg_folder kind, const char *name)
{
    char path[PATH_MAX], real[PATH_MAX];
    if (!xdg_path(kind, name, path, sizeof path, NULL) || !realpath(path, real))
        return false;
    const size_t length = strlen(real);
    return strncmp(folder, real, length) == 0 && (!folder[length] || folder[length] == '/');
}

static bool is_machine_code(const char *path)
{
    char magic[4] = "";
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    const bool found = fd >= 0 && read(fd, magic, sizeof magic) == (ssize_t)sizeof magic &&
                       (memcmp(magic, "\177ELF", 4) == 0 || memcmp(magic, "\xcf\xfa\xed\xfe", 4) == 0);
    if (fd >= 0)
        close(fd);
    return found;
}

/* What every command reads without being told to: the screen's settings, what is kept of a device, its own libraries and code. NULL: none
 * of these. */
static const char *own_file(const char *path, const struct identity *identity)
{
    struct identity settings;
    char name[PATH_MAX];
    const char *folder = strrchr(identity->folder, '/');
    if (!identity->there)
        return NULL;
    if (xdg_path(XDG_CONFIG, "screen", name, sizeof name, NULL) && identify(name, &settings) && settings.there &&
        same_file(identity, &settings))
        return "the settings of the screen";
    if (within(identity->folder, XDG_CACHE, NULL))
        return "a file of the cache, which holds what was measured of a device";
    if (folder && strcmp(folder, "/attach-python") == 0)
        return "a part of steptop";
    return is_machine_code(path) ? "a program or a library" : NULL;
}

bool files_apart(const struct named_file *named, int count, struct error *error)
{
    struct named_file *files = calloc((size_t)count + 1, sizeof *files);
    struct identity *identities = calloc((size_t)count + 1, sizeof *identities);
    bool apart = (files && identities) || error_set(error, ERROR_MEMORY, "no memory for %d names", count);
    if (apart && count)
        memcpy(files, named, (size_t)count * sizeof *files);
    if (apart && to_plain_file())
        files[count++] = (struct named_file){.flag = "standard output", .path = STDOUT_PATH, .written = true};
    for (int i = 0; apart && i < count; i++)
        identify(files[i].path, &identities[i]);
    for (int i = 0; apart && i < count; i++) {
        const char *own = files[i].written ? own_file(files[i].path, &identities[i]) : NULL;
        if (own)
            apart = error_set(error, ERROR_USAGE, "%s %s: that is %s; name another file", files[i].flag, files[i].path,
                              own);
    }
    for (int i = 0; apart && i < count; i++)
        for (int j = 0; apart && j < i; j++) {
            const struct named_file *a = &files[j], *b = &files[i]; /* b is told of: a file that is written */
            if ((!a->written && !b->written) || (a->renewed && b->renewed) ||
                !same_file(&identities[i], &identities[j]))
                continue;
            if (!b->written) {
                b = &files[j];
                a = &files[i];
            }
            if (!a->written)
                apart = error_set(error, ERROR_USAGE, "%s %s: that is the file that %s reads; name another", b->flag,
                                  b->path, a->flag);
            else
                apart = error_set(error, ERROR_USAGE, "%s %s: %s writes to this file already; name another", b->flag,
                                  b->path, a->flag);
        }
    free(identities);
    free(files);
    return apart;
}

struct file_list {
    struct named_file *items;
    size_t count, capacity;
};

/* A word of the user's command may be a file that it reads or its own, so may be what stands behind a =. */
static void command_word(const char *word, struct file_list *files)
{
    struct stat status;
    const char *const parts[] = {word, strchr(word, '=')};
    for (int i = 0; i < 2; i++) {
        const char *path = parts[i] && i ? parts[i] + 1 : parts[i];
        if (path && stat(path, &status) == 0 && S_ISREG(status.st_mode))
            vec_push(files, ((struct named_file){.flag = "the command", .path = path}));
    }
}

/* All that this command reads and writes, the pictures beside a Markdown file among it. */
static bool all_apart(const struct outputs *outputs, const struct arguments *arguments,
                      const char *const flags[OUTPUTS_MOST], const struct output *exported, struct error *error)
{
    struct file_list files = {0};
    struct arena arena = {0};
    struct strbuf picture = {0};
    const enum subcommand command = arguments->command;
    const char *first = arguments->positional_count ? arguments->positional[0] : NULL;
    const char *resumed = command == SUBCOMMAND_RUN ? arguments->value[OPTION_RESUME] : NULL;
    const char *record = command == SUBCOMMAND_RUN ? arguments->value[OPTION_RECORD] : NULL;
    char profile[PATH_MAX];
    for (int i = 0; command == SUBCOMMAND_ATTACH && i < arguments->positional_count; i++)
        command_word(arguments->positional[i], &files);
    if (first && command == SUBCOMMAND_RUN && profile_path(first, profile, sizeof profile))
        vec_push(&files, ((struct named_file){.flag = "the profile", .path = profile}));
    const bool kept = command == SUBCOMMAND_REPORT || command == SUBCOMMAND_VIEW;
    for (int i = 0; command != SUBCOMMAND_RUN && command != SUBCOMMAND_ATTACH && i < arguments->positional_count; i++) {
        char path[PATH_MAX];
        const bool other = kept && kept_path(arguments->positional[i], path, sizeof path, NULL);
        vec_push(&files, ((struct named_file){.flag = subcommand_info(command)->name,
                                              .path = other ? arena_strdup(&arena, path) : arguments->positional[i]}));
    }
    if (resumed) /* what goes on from a report may go on in that file */
        vec_push(&files, ((struct named_file){.flag = "--resume", .path = resumed, .renewed = true}));
    if (record)
        vec_push(&files, ((struct named_file){.flag = "--record", .path = record, .written = true}));
    for (int i = 0; i < outputs->count + (exported ? 1 : 0); i++) {
        const bool listed = i < outputs->count;
        const struct output *output = listed ? &outputs->items[i] : exported;
        vec_push(&files, ((struct named_file){.flag = listed ? flags[i] : "export",
                                              .path = output->path,
                                              .written = true,
                                              .renewed = listed && i == 0 && resumed}));
        for (size_t n = 0; output->format == FORMAT_MARKDOWN && report_picture_path(output->path, n, &picture); n++) {
            vec_push(&files, ((struct named_file){.flag = "a picture beside the Markdown",
                                                  .path = arena_strdup(&arena, picture.text),
                                                  .written = true}));
            strbuf_clear(&picture);
        }
    }
    const bool apart =
        (!record || check_path("--record", record, error)) && files_apart(files.items, (int)files.count, error);
    strbuf_release(&picture);
    arena_release(&arena);
    vec_release(&files);
    return apart;
}

/* The options that name files, in the order of outputs->items. What goes on from a report goes on in that file. */
static const enum option_id file_options[] = {OPTION_OUTPUT, OPTION_RESUME,   OPTION_MARKDOWN, OPTION_CSV,
                                              OPTION_JSON,   OPTION_PERFETTO, OPTION_SVG,      OPTION_HTML};

static enum report_format file_format(enum option_id option, enum report_format format)
{
    switch (option) {
    case OPTION_MARKDOWN:
        return FORMAT_MARKDOWN;
    case OPTION_CSV:
        return FORMAT_CSV;
    case OPTION_JSON:
        return FORMAT_JSON;
    case OPTION_PERFETTO:
        return FORMAT_PERFETTO;
    case OPTION_SVG:
        return FORMAT_SVG;
    case OPTION_HTML:
        return FORMAT_HTML;
    default:
        return format;
    }
}

struct flags {
    char names[OUTPUTS_MOST][32];
    const char *list[OUTPUTS_MOST];
};

/* The files that the options name, not yet checked. */
static void outputs_named(struct outputs *outputs, const struct arguments *arguments, enum report_format format,
                          struct flags *flags)
{
    *outputs = (struct outputs){0};
    for (size_t i = 0; i < sizeof file_options / sizeof *file_options; i++) {
        const enum option_id option = file_options[i];
        const char *path = arguments->value[option];
        if (!path || (option == OPTION_RESUME && arguments->value[OPTION_OUTPUT]))
            continue;
        const int at = outputs->count++;
        snprintf(flags->names[at], sizeof flags->names[at], "--%s", option_info(option)->name);
        flags->list[at] = flags->names[at];
        outputs->items[at] = (struct output){file_format(option, format), path};
    }
}

bool outputs_take(struct outputs *outputs, const struct arguments *arguments, enum report_format format,
                  struct error *error)
{
    struct flags flags;
    outputs_named(outputs, arguments, format, &flags);
    for (int i = 0; i < outputs->count; i++)
        if (!check_path(flags.list[i], outputs->items[i].path, error))
            return false;
    return all_apart(outputs, arguments, flags.list, NULL, error);
}

bool format_take(const struct arguments *arguments, enum report_format *format, struct error *error)
{
    *format = FORMAT_MARKDOWN;
    return !arguments->value[OPTION_FORMAT] || report_format_parse(arguments->value[OPTION_FORMAT], format, error);
}

bool outputs_spare(const struct arguments *arguments, enum report_format format, const char *path, struct error *error)
{
    struct outputs outputs;
    struct flags flags;
    const struct output exported = {format, path};
    outputs_named(&outputs, arguments, FORMAT_YAML, &flags);
    return check_path("export", path, error) && all_apart(&outputs, arguments, flags.list, &exported, error);
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
