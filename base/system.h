/* What Linux has and other systems do not, each with a stand-in: SYSTEM_LINUX says which of the two a file gets. Building with
 * -DSTEPTOP_STANDINS takes the stand-ins on Linux too, so that they can be tried. */
#pragma once
#include "base/error.h"
#include <signal.h>
#include <stddef.h>

#if defined(__linux__) && !defined(STEPTOP_STANDINS)
#define SYSTEM_LINUX 1
#endif

/* This program's file, links resolved. */
bool program_path(char *path, size_t size);
/* How this program is started again: on Linux the very file that runs, even when another was installed in its place. `path` is
 * room for the answer. */
const char *program_self(char *path, size_t size);

/* A file without a name, that only its descriptors hold; -1 with the reason. On Linux its size can be sealed. */
int memory_file(const char *what, struct error *error);
/* Its size. The limit of files (`ulimit -f`) is the kernel's for these, too: where only the lower of its two values is in the way
 * it is lifted for the moment, else the error names it. */
bool memory_file_size(int fd, size_t bytes, const char *what, struct error *error);

/* The signals whose default ends a process, but for SIGKILL, and SIGPIPE and SIGXFSZ, which are errors of a write: their numbers,
 * at most `max`, and how many. */
int signals_that_end(int *numbers, int max);
/* Is it one that a crash raises, SIGABRT among them? */
bool signal_of_crashes(int number);
/* Was this one, as a handler got it, raised by what the process itself did (a crash, abort), and not sent by another, as any wish to
 * end may be? Safe in a handler. */
bool signal_is_crash(int number, const siginfo_t *info);

/* Does nobody hear of it, as nohup has it for SIGHUP? Then it shall stay so, in this process and in what it starts for a user. */
bool signal_is_ignored(int number);

/* A pipe whose ends no program that is started inherits. */
bool pipe_make(int ends[2]);

/* qsort with a context, whose arguments glibc and BSD have in different orders. */
void sort_with(void *items, size_t count, size_t size, int (*compare)(const void *, const void *, void *),
               void *context);
