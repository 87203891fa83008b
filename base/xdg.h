/* The user's folders by the XDG base directory rules: an environment variable counts only when it is absolute. */
#pragma once
#include "base/error.h"
#include <stddef.h>

enum xdg_folder { XDG_CONFIG, XDG_CACHE, XDG_STATE };

/* Writes "<folder>/steptop[/name]" to `path`; false when neither the variable nor HOME gives one. Creates nothing. */
bool xdg_path(enum xdg_folder folder, const char *name, char *path, size_t size, struct error *error);
