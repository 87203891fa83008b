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

static bool set_line(struct config *config, const char *key, const char *value)
{
    if (strcmp(key, "theme") == 0) {
        config->theme = theme_find(value);
        return config->theme >= 0;
    }
    if (strcmp(key, "plots") == 0) {
        config->braille = strcmp(value, "braille") == 0;
        return config->braille || strcmp(value, "blocks") == 0;
    }
    if (strcmp(key, "mouse") == 0) {
        config->mouse = strcmp(value, "on") == 0;
        return config->mouse || strcmp(value, "off") == 0;
    }
    char *end;
    if (strcmp(key, "refresh_ms") == 0) {
        const long refresh = strtol(value, &end, 10);
        if (*end || refresh < 100 || refresh > 10000)
            return false;
        config->refresh_ms = (int)refresh;
        return true;
    }
    if (strcmp(key, "threshold_percent") == 0) {
        const double percent = strtod(value, &end);
        if (*end || !(percent >= 0 && percent <= 100))
            return false;
        config->threshold = percent / 100;
        return true;
    }
    for (int table = 0; table < CONFIG_TABLES; table++) {
        const size_t length = strlen(table_keys[table]);
        if (strncmp(key, table_keys[table], length) != 0 || key[length] != '.')
            continue;
        const char *what = key + length + 1;
        if (strcmp(what, "columns") == 0) {
            config->columns[table] = (uint32_t)strtoul(value, &end, 16);
            return !*end;
        }
        if (strcmp(what, "shows") == 0 && table < VIEW_COUNT) {
            const long choice = strtol(value, &end, 10);
            if (*end || choice < 0 || choice > 99)
                return false;
            config->choice[table] = (int)choice;
            return true;
        }
        if (strcmp(what, "sort") == 0) {
            config->ascending[table] = value[0] == '+';
            config->sort[table] = (int)strtol(value + 1, &end, 10);
            return !*end && (value[0] == '+' || value[0] == '-') && config->sort[table] >= 0;
        }
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
