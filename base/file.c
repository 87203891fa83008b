#include "base/file.h"
#include "base/random.h"
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int file_open(const char *path, struct error *error)
{
    struct stat stat;
    if (strcmp(path, "-") == 0)
        return STDIN_FILENO;
    /* O_NONBLOCK: opening a FIFO that nobody writes to must not hang. */
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &stat) != 0) {
        error_set(error, ERROR_INPUT, "cannot read %s: %s", path, strerror(errno));
        goto failed;
    }
    if (!S_ISREG(stat.st_mode)) {
        error_set(error, ERROR_INPUT, "cannot read %s: it is %s, not a file", path,
                  S_ISDIR(stat.st_mode) ? "a folder" : "a device or pipe (use - for standard input)");
        goto failed;
    }
    return fd;
failed:
    if (fd >= 0)
        close(fd);
    return -1;
}

bool file_read(const char *path, size_t limit, char **text, size_t *length, struct error *error)
{
    const bool standard_input = strcmp(path, "-") == 0;
    const char *name = standard_input ? "standard input" : path;
    char *bytes = NULL;
    size_t used = 0, capacity = 0;
    bool done = false;
    struct stat stat;
    const int fd = file_open(path, error);
    if (fd < 0)
        return false;
    if (fstat(fd, &stat) != 0) {
        error_set(error, ERROR_INPUT, "cannot read %s: %s", name, strerror(errno));
        goto cleanup;
    }
    for (;;) {
        if (used > limit) {
            error_set(error, ERROR_INPUT, "%s is larger than %zu bytes, the most that is read", name, limit);
            goto cleanup;
        }
        if (capacity - used < 65536) {
            capacity = capacity ? capacity * 2 : (size_t)(S_ISREG(stat.st_mode) ? stat.st_size : 0) + 65537;
            char *grown = realloc(bytes, capacity);
            if (!grown) {
                error_set(error, ERROR_MEMORY, "no memory for %zu bytes of %s", capacity, name);
                goto cleanup;
            }
            bytes = grown;
        }
        const ssize_t got = read(fd, bytes + used, capacity - used - 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            error_set(error, ERROR_INPUT, "cannot read %s: %s", name, strerror(errno));
            goto cleanup;
        }
        if (got == 0)
            break;
        used += (size_t)got;
    }
    bytes[used] = 0;
    *text = bytes;
    *length = used;
    bytes = NULL;
    done = true;
cleanup:
    free(bytes);
    if (fd >= 0 && !standard_input)
        close(fd);
    return done;
}

static bool write_all(int fd, const char *bytes, size_t length)
{
    while (length) {
        const ssize_t put = write(fd, bytes, length);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return false;
        bytes += put;
        length -= (size_t)put;
    }
    return true;
}

/* A file in this folder that has no name yet; -1 where there is no such thing. */
static int unnamed_file(const char *folder)
{
#ifdef O_TMPFILE
    /* Its name is given through /proc. */
    return access("/proc/self/fd", X_OK) == 0 ? open(folder, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600) : -1;
#else
    (void)folder;
    return -1;
#endif
}

/* Gives it a name that nobody has: the X of `name` are filled in. */
static bool name_file(int fd, char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    char link[64], *end = name + strlen(name) - 6;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    for (uint64_t attempt = 0; attempt < 100; attempt++) {
        for (int i = 0; i < 6; i++)
            end[i] = letters[random_bits((uint64_t)getpid(), attempt, (uint64_t)i) % (sizeof letters - 1)];
        if (linkat(AT_FDCWD, link, AT_FDCWD, name, AT_SYMLINK_FOLLOW) == 0)
            return true;
        if (errno != EEXIST)
            return false;
    }
    return false;
}

bool file_write_atomic(const char *path, const void *bytes, size_t length, struct error *error)
{
    bool done = false, named = false, unnamed_used = false;
    int fd = -1, folder = -1;
    char temporary[4200] = "", parent[4096];
    struct stat stat;
    if (strlen(path) >= sizeof parent)
        return error_set(error, ERROR_SYSTEM, "cannot write %.60s…: the path is too long", path);
    const bool existed = lstat(path, &stat) == 0;
    if (existed && !S_ISREG(stat.st_mode))
        return error_set(error, ERROR_SYSTEM, "cannot write %s: it is %s; name another file", path,
                         S_ISDIR(stat.st_mode)   ? "a folder"
                         : S_ISLNK(stat.st_mode) ? "a symbolic link, which is not followed"
                                                 : "not a plain file");
    /* Without a name where the file system can: a process that is killed while it writes leaves nothing behind. */
    strcpy(parent, path);
    fd = unnamed_file(dirname(parent));
    const bool unnamed = unnamed_used = fd >= 0;
    snprintf(temporary, sizeof temporary, "%s.XXXXXX", path);
    if (!unnamed)
        fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0) {
        error_set(error, ERROR_SYSTEM, "cannot write %s: %s", path, strerror(errno));
        temporary[0] = 0;
        goto cleanup;
    }
    /* The permissions of the file that is replaced, or those that open(2) would have given. */
    const mode_t mask = umask(0);
    umask(mask);
    if (fchmod(fd, existed ? stat.st_mode & 07777 : 0666 & ~mask) != 0 || !write_all(fd, bytes, length) ||
        fsync(fd) != 0) {
        error_set(error, ERROR_SYSTEM, "cannot write %s: %s", path, strerror(errno));
        goto cleanup;
    }
    if (unnamed && !name_file(fd, temporary)) {
        error_set(error, ERROR_SYSTEM, "cannot write %s: %s", path, strerror(errno));
        temporary[0] = 0;
        goto cleanup;
    }
    named = true;
    if (rename(temporary, path) != 0) {
        error_set(error, ERROR_SYSTEM, "cannot replace %s: %s", path, strerror(errno));
        goto cleanup;
    }
    temporary[0] = 0;
    strcpy(parent, path);
    folder = open(dirname(parent), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder >= 0)
        fsync(folder);
    done = true;
cleanup:
    if (folder >= 0)
        close(folder);
    if (fd >= 0)
        close(fd);
    if (temporary[0] && (named || !unnamed_used))
        unlink(temporary);
    return done;
}

bool directory_create(const char *path, unsigned mode, struct error *error)
{
    char partial[4096];
    if (strlen(path) >= sizeof partial)
        return error_set(error, ERROR_SYSTEM, "cannot make the folder %.60s…: the path is too long", path);
    strcpy(partial, path);
    for (char *slash = partial + 1;; slash++) {
        if (*slash != '/' && *slash != 0)
            continue;
        const char end = *slash;
        *slash = 0;
        struct stat stat;
        if (mkdir(partial, mode) != 0 && (errno != EEXIST || lstat(partial, &stat) != 0))
            return error_set(error, ERROR_SYSTEM, "cannot make the folder %s: %s", partial, strerror(errno));
        *slash = end;
        if (!end)
            return true;
    }
}
