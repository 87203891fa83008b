/* Whole files, read with a limit and written atomically. */
#pragma once
#include "base/error.h"
#include <stddef.h>

/* Opens `path` ("-": standard input) for reading; a folder, a device or a pipe is refused. -1 with the reason on failure. */
int file_open(const char *path, struct error *error);

/* Reads all of `path` ("-" is standard input) into *text, terminated, malloc'ed, the caller's to free. Refuses a file
 * larger than `limit` bytes, a directory, a device. */
bool file_read(const char *path, size_t limit, char **text, size_t *length, struct error *error);

/* Writes a temporary file beside `path`, fsyncs it and renames it over `path`: a reader sees the old file or the new
 * one, never half. Refuses a path that is a directory or a symbolic link; on any failure the old file is intact. */
bool file_write_atomic(const char *path, const void *bytes, size_t length, struct error *error);

/* Creates `path` and its missing parents with `mode`. */
bool directory_create(const char *path, unsigned mode, struct error *error);
