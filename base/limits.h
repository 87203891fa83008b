/* The limits that the system sets what this process maps (RLIMIT_AS, `ulimit -v`; RLIMIT_DATA, `ulimit -d`), and what is said when
 * memory ends. */
#pragma once
#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct memory_limit {
    const char *what, *option; /* "the address space", "ulimit -v" */
    uint64_t bytes, left;      /* UNKNOWN_U64 where the system does not say how much is used */
};
/* That which leaves least; false without one, both numbers unknown then. */
bool memory_limited(struct memory_limit *limit);

/* Adds the limit, where there is one, to the sentence of an ERROR_MEMORY. */
void error_name_limit(struct error *error);
/* What the failure of a system call is: ERROR_MEMORY for ENOMEM, ERROR_SYSTEM for the others. */
enum error_kind error_kind_of(int number);

/* For what cannot go on without: says so on stderr, with the limit, and aborts. (cppcheck 2.10 does not know _Noreturn.) */
__attribute__((noreturn)) void memory_exhausted(size_t count, const char *what);
/* Is that why this process ends? And what was said then, a line. Safe in a signal handler. */
bool memory_ended(void);
const char *memory_last_word(void);
/* Is that so, or is nothing left that a library could go on with? Safe in a signal handler. */
bool memory_is_exhausted(void);
/* The exit code of a worker of which that is so: all that it can say then to the one who started it (worker/last_word.h). */
#define EXIT_NO_MEMORY 12 /* ENOMEM's number */
