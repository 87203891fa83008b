#include "kernels/build_cache.h"
#include "base/file.h"
#include "base/sha256.h"
#include "base/strbuf.h"
#include "base/vec.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CACHE_MAGIC "steptop-cache-1\n"
#define CACHE_LIMIT ((size_t)64 << 20)

bool build_cache_folder(const char *folder, const char *device, char *path, size_t size, struct error *error)
{
    if ((size_t)snprintf(path, size, "%s/%s", folder, device) >= size)
        return error_set(error, ERROR_SYSTEM, "cache folder %s: the path is too long", folder);
    if (!directory_create(path, 0700, error))
        return false;
    struct stat status;
    if (lstat(path, &status) != 0)
        return error_set(error, ERROR_SYSTEM, "cache folder %s: %s", path, strerror(errno));
    if (!S_ISDIR(status.st_mode) || status.st_uid != geteuid() || (status.st_mode & 022) != 0)
        return error_set(
            error, ERROR_SYSTEM,
            "cache folder %s is not used: it must be a directory of your own that nobody else can write to", path);
    return true;
}

/* magic, "<key length> <content length> <hash>\n", key, content */
char *build_cache_read(const char *path, const char *key, size_t *size, char *why, size_t why_size)
{
    char *text = NULL, *content = NULL;
    size_t length = 0, magic = strlen(CACHE_MAGIC), key_length = strlen(key);
    const char *reason = NULL;
    if (why_size)
        why[0] = '\0';
    struct stat status;
    if (lstat(path, &status) != 0)
        return NULL;
    if (!S_ISREG(status.st_mode) || status.st_uid != geteuid() || (status.st_mode & 022) != 0) {
        reason = "not a file of the user's own";
        goto done;
    }
    struct error ignored = {0};
    if (!file_read(path, CACHE_LIMIT, &text, &length, &ignored)) {
        reason = "cannot be read";
        goto done;
    }
    if (length < magic || memcmp(text, CACHE_MAGIC, magic) != 0) {
        reason = "not a cache file of this version";
        goto done;
    }
    unsigned long long stored_key, stored_content;
    char stored_hash[65];
    int used = 0;
    if (sscanf(text + magic, "%llu %llu %64[0-9a-f]%n", &stored_key, &stored_content, stored_hash, &used) != 3 ||
        used <= 0 || magic + (size_t)used + 1 > length || text[magic + (size_t)used] != '\n') {
        reason = "damaged header";
        goto done;
    }
    const char *body = text + magic + used + 1;
    size_t left = length - magic - (size_t)used - 1;
    if (stored_key > left || stored_content != left - stored_key) {
        reason = "cut short";
        goto done;
    }
    char name[65];
    sha256_hex(body, left, name);
    if (strcmp(name, stored_hash) != 0) {
        reason = "damaged";
        goto done;
    }
    if (stored_key != key_length || memcmp(body, key, key_length) != 0) {
        reason = "made from something else";
        goto done;
    }
    content = malloc((size_t)stored_content + 1);
    if (content) {
        memcpy(content, body + key_length, (size_t)stored_content);
        content[stored_content] = '\0';
        *size = (size_t)stored_content;
        utimensat(AT_FDCWD, path, NULL, AT_SYMLINK_NOFOLLOW); /* a folder that is not ours to change keeps its times */
    }
done:
    free(text);
    if (reason && why_size)
        snprintf(why, why_size, "%s", reason);
    return content;
}

bool build_cache_write(const char *path, const char *key, const void *content, size_t size, struct error *error)
{
    struct strbuf body = {0}, file = {0};
    char name[65];
    strbuf_puts(&body, key);
    strbuf_add(&body, content, size);
    sha256_hex(body.text, body.length, name);
    strbuf_printf(&file, "%s%zu %zu %s\n", CACHE_MAGIC, strlen(key), size, name);
    strbuf_add(&file, body.text, body.length);
    bool done = file_write_atomic(path, file.text, file.length, error);
    strbuf_release(&body);
    strbuf_release(&file);
    return done;
}

struct cached_file {
    char *path;
    uint64_t bytes;
    struct timespec used;
};

static int older_first(const void *left, const void *right)
{
    const struct timespec a = ((const struct cached_file *)left)->used, b = ((const struct cached_file *)right)->used;
    if (a.tv_sec != b.tv_sec)
        return a.tv_sec < b.tv_sec ? -1 : 1;
    return (a.tv_nsec > b.tv_nsec) - (a.tv_nsec < b.tv_nsec);
}

size_t build_cache_trim(const char *folder, const char *suffix, uint64_t most)
{
    VEC(struct cached_file) files = {0};
    uint64_t bytes = 0;
    size_t gone = 0;
    DIR *stream = opendir(folder);
    const struct dirent *entry;
    while (stream && (entry = readdir(stream))) {
        struct stat status;
        const size_t length = strlen(entry->d_name), end = strlen(suffix);
        if (length < end || strcmp(entry->d_name + length - end, suffix) != 0 ||
            fstatat(dirfd(stream), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(status.st_mode))
            continue;
        struct strbuf path = {0};
        strbuf_printf(&path, "%s/%s", folder, entry->d_name);
        vec_push(&files,
                 ((struct cached_file){.path = path.text, .bytes = (uint64_t)status.st_size, .used = status.st_mtim}));
        bytes += (uint64_t)status.st_size;
    }
    if (stream)
        closedir(stream);
    if (files.count)
        qsort(files.items, files.count, sizeof *files.items, older_first);
    for (size_t i = 0; i < files.count; i++) {
        if (bytes > most && unlink(files.items[i].path) == 0) {
            bytes -= files.items[i].bytes;
            gone++;
        }
        free(files.items[i].path);
    }
    vec_release(&files);
    return gone;
}
