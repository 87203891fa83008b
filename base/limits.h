/* The limit that the system sets this process's address space (RLIMIT_AS, `ulimit -v`), and what is said when memory ends. */
#pragma once
#include "base/error.h"
#include <stddef.h>
#include <stdint.h>

uint64_t address_space_limit(void); /* bytes; UNKNOWN_U64 without one */
uint64_t address_space_left(void);  /* below the limit; UNKNOWN_U64 without one */

/* Adds the limit, where there is one, to the sentence of an ERROR_MEMORY. */
void error_name_limit(struct error *error);
/* What the failure of a system call is: ERROR_MEMORY for ENOMEM, ERROR_SYSTEM for the others. */
enum error_kind error_kind_of(int number);

#define OUT_OF_MEMORY "out of memory"
/* For what cannot go on without: says OUT_OF_MEMORY on stderr, with the limit, and aborts. */
_Noreturn void memory_exhausted(size_t count, const char *what);
