#include "cli/kind.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define LOOKED_AT 4096

static const char *const kinds[KIND_COUNT] = {"file", "profile", "report", "recording"};

/* The value of a key `schema` at the start of a line, or in JSON. */
static enum file_kind kind_of_text(const char *text)
{
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += strspn(line, "\r\n \t{\xef\xbb\xbf\"");
        if (strncmp(line, "schema", 6) != 0)
            continue;
        const char *value = line + 6 + strspn(line + 6, "\" :'");
        if (strncmp(value, "steptop/report/", 15) == 0)
            return KIND_REPORT;
        if (strncmp(value, "steptop/profile/", 16) == 0)
            return KIND_PROFILE;
    }
    return KIND_UNKNOWN;
}

static enum file_kind kind_of(const char *path)
{
    char start[LOOKED_AT + 1];
    struct stat status;
    if (stat(path, &status) != 0 || !S_ISREG(status.st_mode))
        return KIND_UNKNOWN;
    FILE *file = fopen(path, "re");
    if (!file)
        return KIND_UNKNOWN;
    const size_t length = fread(start, 1, LOOKED_AT, file);
    fclose(file);
    start[length] = 0;
    return strncmp(start, "steptop recording ", 18) == 0 ? KIND_RECORDING : kind_of_text(start);
}

bool file_is(const char *path, enum file_kind wanted, struct error *error)
{
    const enum file_kind kind = strcmp(path, "-") == 0 ? KIND_UNKNOWN : kind_of(path);
    char opens[600];
    if (kind == KIND_UNKNOWN || kind == wanted)
        return true;
    if (kind == KIND_REPORT)
        snprintf(opens, sizeof opens, "'steptop view %.250s' shows it, 'steptop report %.250s' prints it", path, path);
    else
        snprintf(opens, sizeof opens, "'steptop %s %.250s' %s it", kind == KIND_PROFILE ? "run" : "replay", path,
                 kind == KIND_PROFILE ? "runs" : "plays");
    return error_set(error, ERROR_INPUT, "%.250s is a %s, not a %s: %s", path, kinds[kind], kinds[wanted], opens);
}
