/* The devices' cache on disk: what they built, measured or chose, one object a file, with its key and a hash inside, so that
 * whatever is not exactly what was asked for is treated as missing. */
#pragma once
#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A device's folder in the cache, made with mode 0700: "<folder>/<device>", e.g. device "cuda". False, with the reason, when it
 * cannot be made, belongs to somebody else or can be written by others. */
bool build_cache_folder(const char *folder, const char *device, char *path, size_t size, struct error *error);

/* Whole cached objects: a header with kind, key and a hash over key and content, then the content. Reading gives NULL for
 * a file that is missing, short, foreign or damaged; `why` (may be NULL) then says which. What is read is malloc'ed, and its
 * file's time becomes that of its last use. */
char *build_cache_read(const char *path, const char *key, size_t *size, char *why, size_t why_size);
bool build_cache_write(const char *path, const char *key, const void *content, size_t size, struct error *error);

/* The folder's files whose names end in `suffix` take `most` bytes at most afterwards: those go that were not used for longest.
 * Returns how many went. */
size_t build_cache_trim(const char *folder, const char *suffix, uint64_t most);
