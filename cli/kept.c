#include "cli/kept.h"
#include "base/file.h"
#include "base/vec.h"
#include "base/xdg.h"
#include "cli/terminal.h"
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static bool is_report(const struct dirent *entry)
{
    const size_t length = strlen(entry->d_name);
    return length > 5 && strcmp(entry->d_name + length - 5, ".yaml") == 0;
}

static int select_report(const struct dirent *entry)
{
    return is_report(entry);
}

/* Names begin with the time: the newest comes last. */
static int list(const char *folder, struct dirent ***entries)
{
    const int count = scandir(folder, entries, select_report, alphasort);
    return count < 0 ? 0 : count;
}

static void release(struct dirent **entries, int count)
{
    for (int i = 0; i < count; i++)
        free(entries[i]);
    if (count)
        free(entries);
}

static bool anything_measured(const struct report *report)
{
    for (size_t i = 0; i < report->cells.count; i++)
        for (int pass = 0; pass < PASS_COUNT; pass++)
            if (!report->cells.items[i]->from_file &&
                report->cells.items[i]->passes[pass].phases[PHASE_COUNT].sample_count)
                return true;
    return false;
}

void kept_save(const struct report *report)
{
    char folder[PATH_MAX - 64], path[PATH_MAX], stamp[32];
    struct error error = {0};
    struct tm now;
    const time_t seconds = time(NULL);
    if (!anything_measured(report))
        return;
    gmtime_r(&seconds, &now);
    strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", &now);
    if (!xdg_path(XDG_STATE, "reports", folder, sizeof folder, &error) || !directory_create(folder, 0700, &error))
        goto failed;
    snprintf(path, sizeof path, "%s/%s-%ld.yaml", folder, stamp, (long)getpid());
    if (!report_write(report, FORMAT_YAML, path, &error))
        goto failed;
    struct dirent **entries;
    const int count = list(folder, &entries);
    for (int i = 0; i < count - KEPT_REPORTS; i++) {
        char old[PATH_MAX];
        snprintf(old, sizeof old, "%s/%.60s", folder, entries[i]->d_name);
        unlink(old);
    }
    release(entries, count);
    struct strbuf words = {0};
    strbuf_printf(&words, "kept: %s\nsteptop view last, steptop report last, steptop diff last~1 last\n", path);
    print_all(words.text, words.length, NULL);
    strbuf_release(&words);
    return;
failed:
    say("steptop: the report is not kept: %s", error.text);
}

bool kept_path(const char *argument, char *path, size_t size, struct error *error)
{
    char folder[PATH_MAX];
    char *end = NULL;
    long back = 0;
    const bool plain = strcmp(argument, "last") == 0;
    if (strncmp(argument, "last~", 5) == 0)
        back = strtol(argument + 5, &end, 10);
    if ((!plain && (!end || end == argument + 5 || *end || back < 0)) || access(argument, F_OK) == 0) {
        const int length = snprintf(path, size, "%s", argument);
        return (length >= 0 && (size_t)length < size) ||
               error_set(error, ERROR_USAGE, "the path '%.60s…' is too long", argument);
    }
    if (!xdg_path(XDG_STATE, "reports", folder, sizeof folder, error))
        return false;
    struct dirent **entries;
    const int count = list(folder, &entries);
    const bool found = back < count;
    if (found)
        snprintf(path, size, "%s/%.60s", folder, entries[count - 1 - back]->d_name);
    else
        error_set(error, ERROR_INPUT, "%s: %d report%s kept in %s; one is when a run on the screen is left", argument,
                  count, count == 1 ? " is" : "s are", folder);
    release(entries, count);
    return found;
}
