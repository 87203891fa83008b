#include "base/xdg.h"
#include <stdio.h>
#include <stdlib.h>

bool xdg_path(enum xdg_folder folder, const char *name, char *path, size_t size, struct error *error)
{
    static const struct {
        const char *variable, *fallback;
    } folders[] = {
        [XDG_CONFIG] = {"XDG_CONFIG_HOME", ".config"},
        [XDG_CACHE] = {"XDG_CACHE_HOME", ".cache"},
        [XDG_STATE] = {"XDG_STATE_HOME", ".local/state"},
    };
    const char *base = getenv(folders[folder].variable);
    const char *home = getenv("HOME");
    int length;
    if (base && base[0] == '/')
        length = snprintf(path, size, "%s/steptop%s%s", base, name ? "/" : "", name ? name : "");
    else if (home && home[0] == '/')
        length = snprintf(path, size, "%s/%s/steptop%s%s", home, folders[folder].fallback, name ? "/" : "",
                          name ? name : "");
    else
        return error_set(error, ERROR_SYSTEM, "no folder for steptop's files: neither %s nor HOME is an absolute path",
                         folders[folder].variable);
    if (length < 0 || (size_t)length >= size)
        return error_set(error, ERROR_SYSTEM, "the path of steptop's folder under %s is longer than %zu characters",
                         folders[folder].variable, size);
    return true;
}
