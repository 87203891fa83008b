/* Errors travel up as values: a function that can fail returns false (or NULL) and fills a struct error with what was
 * tried, on what, and why it failed. Only cli/ turns an error into an exit code. */
#pragma once
#include <stdarg.h>
#include <stdbool.h>

enum error_kind {
    ERROR_NONE,
    ERROR_USAGE,       /* a bad flag or value on the command line: exit 2 */
    ERROR_INPUT,       /* a bad profile, report, recording or reference file: exit 3 */
    ERROR_DEVICE,      /* the device, its plugin, library or driver is not there: exit 4 */
    ERROR_UNSUPPORTED, /* understood, but this build or device cannot do it */
    ERROR_MEMORY,      /* does not fit: status oom */
    ERROR_SYSTEM,      /* a system call failed */
    ERROR_INTERRUPTED,
    ERROR_INTERNAL, /* steptop broke its own rules */
};

struct error {
    enum error_kind kind;
    bool placed;      /* the text begins with a place in a file, as compilers' do: file:line:column */
    bool names_limit; /* and what the address space is limited to is said in it (base/limits.h) */
    char text[2048];  /* one sentence; profile errors are several lines, each file:line:col */
};

/* Fills *error (which may be NULL) and returns false, so that `return error_set(...)` reads well. */
bool error_set(struct error *error, enum error_kind kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts `prefix: ` before the text that is there; keeps the kind; returns false. */
bool error_prefix(struct error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

#ifdef __clang_analyzer__
/* A linter sees one file at a time; it is told here what these return, or it follows paths that there are not. */
#define error_set(...) (error_set(__VA_ARGS__), false)
#define error_prefix(...) (error_prefix(__VA_ARGS__), false)
#endif
