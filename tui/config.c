#include "tui/config.h"
#include "base/file.h"
#include "base/strbuf.h"
#include "base/xdg.h"
#include "tui/style.h"
#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONFIG_LIMIT 65536

#define VIEW_NAME(id, name) #name,
static const char *const table_keys[CONFIG_TABLES] = {VIEWS(VIEW_NAME) "memory_tensors"};

void config_default(struct config *config)
{
    *config = (struct config){.theme = -1, .mouse = true, .refresh_ms = 100};
    for (int table = 0; table < CONFIG_TABLES; table++)
        config->sort[table] = -1;
}

/* A whole number of `base` from `least` to `most`, and nothing behind it. */
static bool take_number(const char *text, int base, long least, long most, long *number)
{
    char *end;
    *number = strtol(text, &end, base);
    return end != text && !*end && *number >= least && *number <= most;
}

static bool take_word(const char *text, const char *yes, const char *no, bool *setting)
{
    const bool is_yes = strcmp(text, yes) == 0;
    if (!is_yes && strcmp(text, no) != 0)
        return false;
    *setting = is_yes;
    return true;
}

/* `what` of a table: "columns", "shows", "sort". */
static bool set_table(struct config *config, int table, const char *what, const char *value)
{
    long number;
    if (strcmp(what, "columns") == 0) {
        if (!take_number(value, 16, 0, UINT32_MAX, &number))
            return false;
        config->columns[table] = (uint32_t)number;
        return true;
    }
    if (strcmp(what, "shows") == 0 && table < VIEW_COUNT) {
        if (!take_number(value, 10, 0, 99, &number))
            return false;
        config->choice[table] = (int)number;
        return true;
    }
    if (strcmp(what, "sort") != 0 || (value[0] != '+' && value[0] != '-') ||
        !take_number(value + 1, 10, 0, 99, &number))
        return false;
    config->ascending[table] = value[0] == '+';
    config->sort[table] = (int)number;
    return true;
}

/* False: nothing is set. */
static bool set_line(struct config *config, const char *key, const char *value)
{
    long number;
    if (strcmp(key, "theme") == 0) {
        const int theme = theme_find(value);
        config->theme = theme >= 0 ? theme : config->theme;
        return theme >= 0;
    }
    if (strcmp(key, "plots") == 0)
        return take_word(value, "braille", "blocks", &config->braille);
    if (strcmp(key, "mouse") == 0)
        return take_word(value, "on", "off", &config->mouse);
    if (strcmp(key, "refresh_ms") == 0) {
        if (!take_number(value, 10, 100, 10000, &number))
            return false;
        config->refresh_ms = (int)number;
        return true;
    }
    if (strcmp(key, "threshold_percent") == 0) {
        char *end;
        const double percent = strtod(value, &end);
        if (end == value || *end || !(percent >= 0 && percent <= 100))
            return false;
        config->threshold = percent / 100;
        return true;
    }
    for (int table = 0; table < CONFIG_TABLES; table++) {
        const size_t length = strlen(table_keys[table]);
        if (strncmp(key, table_keys[table], length) == 0 && key[length] == '.')
            return set_table(config, table, key + length + 1, value);
    }
    return false;
}

void config_load(struct config *config, struct error *error)
{
    char path[4096];
    char *text = NULL, *rest = NULL;
    size_t length;
    struct error reading = {0};
    config_default(config);
    if (!xdg_path(XDG_CONFIG, "screen", path, sizeof path, &reading) || access(path, F_OK) != 0)
        return;
    if (!file_read(path, CONFIG_LIMIT, &text, &length, &reading)) {
        error_set(error, reading.kind, "%s", reading.text);
        return;
    }
    int number = 0;
    for (char *line = text; line && *line; line = rest) {
        rest = strchr(line, '\n');
        if (rest)
            *rest++ = 0;
        number++;
        char *value = strchr(line, ' ');
        if (line[0] == '#' || line[0] == 0)
            continue;
        if (value)
            *value++ = 0;
        if (!value || !set_line(config, line, value))
            error_set(error, ERROR_INPUT, "%s:%d: '%.40s' is not a setting with a value that it can have; left out",
                      path, number, line);
    }
    free(text);
}

bool config_save(const struct config *config, struct error *error)
{
    char path[4096], folder[4096];
    struct strbuf out = {0};
    if (!xdg_path(XDG_CONFIG, "screen", path, sizeof path, error))
        return false;
    snprintf(folder, sizeof folder, "%s", path);
    if (!directory_create(dirname(folder), 0700, error))
        return false;
    strbuf_puts(&out, "# steptop's screen; written by its setup page\n");
    if (config->theme >= 0)
        strbuf_printf(&out, "theme %s\n", theme_names[config->theme]);
    strbuf_printf(&out, "plots %s\nmouse %s\nrefresh_ms %d\nthreshold_percent %g\n",
                  config->braille ? "braille" : "blocks", config->mouse ? "on" : "off", config->refresh_ms,
                  config->threshold * 100);
    for (int view = 0; view < VIEW_COUNT; view++)
        if (config->choice[view])
            strbuf_printf(&out, "%s.shows %d\n", table_keys[view], config->choice[view]);
    for (int table = 0; table < CONFIG_TABLES; table++) {
        if (config->columns[table])
            strbuf_printf(&out, "%s.columns %x\n", table_keys[table], config->columns[table]);
        if (config->sort[table] >= 0)
            strbuf_printf(&out, "%s.sort %c%d\n", table_keys[table], config->ascending[table] ? '+' : '-',
                          config->sort[table]);
    }
    const bool done = file_write_atomic(path, out.text, out.length, error);
    strbuf_release(&out);
    return done;
}
