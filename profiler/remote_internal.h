/* What remote.c and remote_symbols.c share. */
#pragma once
#include "base/system.h"
#include "profiler/remote.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(SYSTEM_LINUX) && defined(__x86_64__)
#define REMOTE_KNOWN 1

/* Addresses of functions in the process, all of one file: the program or a libpython. False: no file has them all. */
bool remote_find(pid_t pid, const char *const *names, uint64_t *found, int count);
uint64_t remote_find_syscall(pid_t pid); /* of an instruction that calls the kernel; 0: none */
bool remote_read(pid_t pid, uint64_t address, void *to, size_t length);
#endif
