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

#define OUT_OF_MEMORY "out of memory"
/* For what cannot go on without: says OUT_OF_MEMORY on stderr, with the limit, and aborts. */
_Noreturn void memory_exhausted(size_t count, const char *what);
